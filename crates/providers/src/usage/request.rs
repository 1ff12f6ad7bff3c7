//! Asking a usage endpoint: what the catalogue says is asked, with the account's own credential and our own user agent.

use super::node::{Node, ParseFault};
use super::{Parser, json, named, xai};
use crate::hooks::{ControlAnswer, ControlHttp, HookError, LiveCredential};
use bytes::Bytes;
use claviger_domain::credential::CredentialKind;
use claviger_domain::origin::{Endpoint, Origin};
use claviger_domain::profile::{HeaderText, UsageEndpoint, UsageScheme, WireRule};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::UsageReport;
use claviger_runtime::best_effort;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

const USAGE: &str = "the usage endpoint";
const OWN_USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("claviger/", env!("CARGO_PKG_VERSION")));

/// Asks what an account has left; `Ok(None)` where its provider has no usage endpoint, or none for this kind of credential, or
/// where the endpoint is not there at all (a host of one's own often lacks it).
///
/// Cancel safety: a dropped future may have sent its request, which changes nothing.
pub async fn ask(credential: &LiveCredential<'_>, http: &dyn ControlHttp) -> Result<Option<UsageReport>, HookError> {
    let Some((endpoint, parser)) = endpoint_of(credential) else { return Ok(None) };
    let first = place(parser, &endpoint.url, credential);
    let answer = http.send(request(endpoint, &first, credential)?).await?;
    let now = http.clock().now();
    let mut report = if is_absent(answer.status) {
        match elsewhere(endpoint, parser, credential, http).await? {
            Some(report) => report,
            None => return Ok(None),
        }
    } else {
        let report = read(parser, &answer, now)?;
        if wants_more(parser, &answer) { with_more(report, endpoint, parser, credential, http).await } else { report }
    };
    named(&credential.profile.usage, &mut report.limits);
    Ok(Some(report))
}

/// The endpoint that answers for this kind of credential, and the code that reads its answer.
fn endpoint_of<'a>(credential: &LiveCredential<'a>) -> Option<(&'a UsageEndpoint, Parser)> {
    let endpoint = credential.profile.usage.endpoint.as_ref()?;
    let parser = Parser::of(credential.profile)?;
    endpoint.kinds.contains(&kind_of(credential)).then_some((endpoint, parser))
}

fn kind_of(credential: &LiveCredential<'_>) -> CredentialKind {
    if credential.is_key { CredentialKind::ApiKey } else { CredentialKind::OAuth }
}

/// The first of the other places that has the endpoint.
async fn elsewhere(
    endpoint: &UsageEndpoint,
    parser: Parser,
    credential: &LiveCredential<'_>,
    http: &dyn ControlHttp,
) -> Result<Option<UsageReport>, HookError> {
    for url in &endpoint.more {
        let answer = http.send(more_request(endpoint, url, parser, credential)?).await?;
        if !is_absent(answer.status) {
            return read(parser, &answer, http.clock().now()).map(Some);
        }
    }
    Ok(None)
}

/// Whether the other places tell a part that this answer lacks.
fn wants_more(parser: Parser, answer: &ControlAnswer) -> bool {
    match parser {
        Parser::Cursor => true,
        Parser::Xai => json(&answer.body).is_ok_and(|value| xai::wants_month(&Node::root(&value))),
        _ => false,
    }
}

/// The report with what the other places tell besides. Without them it still holds, so that their failure is none.
async fn with_more(
    mut report: UsageReport,
    endpoint: &UsageEndpoint,
    parser: Parser,
    credential: &LiveCredential<'_>,
    http: &dyn ControlHttp,
) -> UsageReport {
    for url in &endpoint.more {
        let asked = async { read(parser, &http.send(more_request(endpoint, url, parser, credential)?).await?, http.clock().now()) };
        if let Some(more) = best_effort("the second part of a usage report", asked.await) {
            report.plan = report.plan.or(more.plan);
            let new: Vec<_> = more.limits.into_iter().filter(|limit| report.limit(&limit.id).is_none()).collect();
            report.limits.extend(new);
        }
    }
    report
}

/// The statuses that say that there is no such endpoint here.
fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE | StatusCode::NOT_IMPLEMENTED)
}

fn read(parser: Parser, answer: &ControlAnswer, now: Timestamp) -> Result<UsageReport, HookError> {
    parser.parse(answer.status, &answer.body, now).map_err(|fault| hook_error(USAGE, &fault))
}

/// A fault as a hook tells it: who refused a credential is said apart.
pub(crate) fn hook_error(what: &'static str, fault: &ParseFault) -> HookError {
    match fault {
        ParseFault::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
            HookError::Refused(format!("{what} refused the credential with status {status}"))
        }
        ParseFault::Status(status) => HookError::Refused(format!("{what} answered with status {status}")),
        fault => HookError::Unreadable { what, why: fault.to_string() },
    }
}

/// Where the endpoint is for this account: GitHub's is on the host of the account's own installation. The request goes out only
/// if that host is among the provider's addresses.
fn place(parser: Parser, url: &Endpoint, credential: &LiveCredential<'_>) -> Endpoint {
    let host = credential.identity.enterprise_url.as_deref().filter(|_| parser == Parser::Copilot);
    let origin = host.and_then(|host| format!("https://api.{host}").parse::<Origin>().ok());
    Endpoint { origin: origin.unwrap_or_else(|| url.origin.clone()), ..url.clone() }
}

fn more_request(
    endpoint: &UsageEndpoint,
    url: &Endpoint,
    parser: Parser,
    credential: &LiveCredential<'_>,
) -> Result<Request<Bytes>, HookError> {
    let mut request = request(endpoint, url, credential)?;
    if parser == Parser::Cursor {
        // This page knows the session cookie of its web site only.
        let user = credential.identity.account_id.as_deref().unwrap_or_default();
        let session = Zeroizing::new(format!("{user}::{}", credential.secret.expose()));
        let cookie = Zeroizing::new(format!("WorkosCursorSessionToken={}", utf8_percent_encode(&session, NON_ALPHANUMERIC)));
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().insert(COOKIE, sensitive(&cookie)?);
    }
    Ok(request)
}

/// The request as the catalogue describes it.
fn request(endpoint: &UsageEndpoint, url: &Endpoint, credential: &LiveCredential<'_>) -> Result<Request<Bytes>, HookError> {
    let body = match (&endpoint.method, credential.identity.project_id.as_deref()) {
        (&Method::GET, _) => None,
        (_, Some(project)) => Some(serde_json::json!({ "project": project })),
        (_, None) => Some(serde_json::json!({})),
    };
    let mut request = build(endpoint.method.clone(), url, body.as_ref())?;
    authorize(&mut request, endpoint, url, credential)?;
    Ok(request)
}

/// A request with an absolute address, our own user agent and, where there is one, a body of JSON.
pub(crate) fn build(method: Method, url: &Endpoint, body: Option<&serde_json::Value>) -> Result<Request<Bytes>, HookError> {
    let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = Request::builder().method(method).uri(url.to_string()).body(bytes);
    let mut request = request.map_err(|_source| HookError::Unreadable { what: USAGE, why: "its address is none".to_owned() })?;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(USER_AGENT, OWN_USER_AGENT);
    if body.is_some() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(request)
}

/// Adds the credential and what the endpoint wants beside it.
///
/// Headers that name the account go with it everywhere. The fixed ones of ordinary requests go only to the host of ordinary
/// requests: another host may refuse them.
pub(crate) fn authorize(
    request: &mut Request<Bytes>,
    endpoint: &UsageEndpoint,
    url: &Endpoint,
    credential: &LiveCredential<'_>,
) -> Result<(), HookError> {
    let wire = credential.profile.wire(kind_of(credential));
    let (name, scheme) = match (endpoint.scheme, wire) {
        (UsageScheme::AsUsual, Some(wire)) => (wire.header.clone(), wire.scheme.as_deref()),
        (UsageScheme::AsUsual | UsageScheme::Bearer, _) => (AUTHORIZATION, Some("Bearer")),
        (UsageScheme::Raw, _) => (AUTHORIZATION, None),
    };
    let secret = credential.secret.expose();
    let text = Zeroizing::new(scheme.map_or_else(|| secret.to_owned(), |scheme| format!("{scheme} {secret}")));
    let headers = request.headers_mut();
    if let Some(wire) = wire {
        beside(headers, wire, url.origin == credential.profile.base.origin, credential);
    }
    for (name, value) in &endpoint.headers {
        headers.insert(name.clone(), value.clone());
    }
    headers.insert(name, sensitive(&text)?);
    Ok(())
}

fn beside(headers: &mut HeaderMap, wire: &WireRule, is_usual_host: bool, credential: &LiveCredential<'_>) {
    let identity = credential.identity;
    for rule in &wire.extra {
        let told = |field: &Option<String>| field.as_deref().and_then(|text| HeaderValue::from_str(text).ok());
        let value = match &rule.value {
            HeaderText::Fixed(value) => is_usual_host.then(|| value.clone()),
            HeaderText::AccountId => told(&identity.account_id),
            HeaderText::ProjectId => told(&identity.project_id),
            HeaderText::OrgId => told(&identity.org_id),
        };
        if let Some(value) = value {
            headers.insert(HeaderName::clone(&rule.name), value);
        }
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, HookError> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_source| HookError::Refused("the credential cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
