//! What goes out and what comes back: headers in both directions, and one attempt.

use crate::error::Fault;
use crate::evidence::{self, Rest};
use crate::gateway::Gateway;
use crate::path::without_keys;
use crate::patience::within;
use bytes::Bytes;
use claviger_contract::{Attempt, Broker, Refusal};
use claviger_domain::attempt::Made;
use claviger_domain::classify::{Class, ClassifyContext, EVIDENCE_BODY_MAX_BYTES, Evidence, classify};
use claviger_domain::id::AccountId;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::virtual_key::PREFIX;
use claviger_egress::{EgressError, InBody, OutBody};
use http::header::CONNECTION;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request, response};

/// Headers that concern one connection only (RFC 9110 §7.6.1), and `expect`, which the connection has dealt with.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "expect"
    )
}

/// Where clients put credentials. They go nowhere, whatever they hold.
fn is_client_credential(name: &HeaderName) -> bool {
    matches!(name.as_str(), "authorization" | "x-api-key" | "x-goog-api-key" | "api-key" | "cookie" | "cookie2" | "x-amz-security-token")
}

/// Whether a header carries a virtual key, under whatever name: it opens this gateway, and is no provider's business.
fn holds_virtual_key(value: &HeaderValue) -> bool {
    value.as_bytes().rsplit(|byte| *byte == b' ').next().is_some_and(|last| last.starts_with(PREFIX.as_bytes()))
}

/// What a provider says to its own connection, or about its own origin and credential, and must not say about ours.
fn is_provider_private(name: &HeaderName) -> bool {
    matches!(name.as_str(), "set-cookie" | "set-cookie2" | "alt-svc" | "strict-transport-security" | "www-authenticate")
}

/// A copy without the headers that `Connection` names, the hop-by-hop ones, and those of `private`. Order, repetition and
/// bytes of all others stay; names go out in lower case, since case means nothing in them (RFC 9110 §5.1).
fn passed_on(headers: &HeaderMap, private: impl Fn(&HeaderName, &HeaderValue) -> bool) -> HeaderMap {
    let named: Vec<&[u8]> = headers.get_all(CONNECTION).iter().flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).collect();
    let is_named = |name: &HeaderName| named.iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()));
    // Room for what is written into it later: a credential and its companions, or the request's id.
    let mut out = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers {
        if !is_hop_by_hop(name) && !private(name, value) && !is_named(name) {
            out.append(name, value.clone());
        }
    }
    out
}

/// A request as it goes to the provider, without any credential. One copy is made for each attempt.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    target: PathAndQuery,
}

impl<'a> Outgoing<'a> {
    /// From what the client sent. `Host` and framing are the connection's business.
    pub(crate) fn new(parts: &'a request::Parts, path: &str) -> Result<Self, Fault> {
        let query = parts.uri.query().and_then(without_keys);
        let target = match &query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_invalid| Fault::PathRefused)?;
        Ok(Self { method: &parts.method, headers: &parts.headers, target })
    }

    /// One copy, from which client credentials are gone before ours is written in.
    pub(crate) fn parts(&self) -> request::Parts {
        let mut parts = Request::new(()).into_parts().0;
        parts.method = self.method.clone();
        parts.uri = Uri::from(self.target.clone());
        parts.headers =
            passed_on(self.headers, |name, value| is_client_credential(name) || *name == http::header::HOST || holds_virtual_key(value));
        parts
    }
}

/// The headers of an answer that the client gets.
pub(crate) fn answer_headers(headers: &HeaderMap) -> HeaderMap {
    passed_on(headers, |name, _| is_provider_private(name))
}

/// An answer of a provider, of an error also the beginning of its body.
pub(crate) struct Answered {
    pub(crate) parts: response::Parts,
    pub(crate) prefix: Bytes,
    pub(crate) rest: Rest,
    pub(crate) account: AccountId,
    pub(crate) class: Class,
}

impl Answered {
    /// The answer for the client, or our own in place of one that may echo a credential.
    pub(crate) fn hand_on(self, profile: &ProviderProfile) -> Result<Self, Fault> {
        let status = self.parts.status;
        let may_echo = match (status, &self.class) {
            (StatusCode::UNAUTHORIZED, _) | (_, Class::Unauthorized) => true,
            (StatusCode::FORBIDDEN, class) => *class != Class::Unrelated,
            _ => false,
        };
        if may_echo { Err(Fault::CredentialRefused { provider: profile.id.clone(), status }) } else { Ok(self) }
    }
}

/// How an attempt ended.
#[expect(clippy::large_enum_variant, reason = "moved once and taken apart; a box would cost every request an allocation")]
pub(crate) enum Tried {
    /// It was seen to an end and reported.
    Seen(Made, Result<Answered, Fault>),
    /// It could not be made at all; nothing is known about the credential.
    Stopped(Fault),
}

/// Sends one request and reports what came of it: at the head of a good answer, and of an error after the beginning of its body.
///
/// Path and origin come from one profile, the request's; the lease says where its credential may go.
pub(crate) async fn send<B: Broker>(
    gateway: &Gateway<B>,
    profile: &ProviderProfile,
    model: Option<&str>,
    attempt: Attempt,
    request: Request<OutBody>,
) -> Tried {
    let egress = gateway.egress.through(attempt.facts().proxy.as_ref());
    let answer = egress.send(attempt.facts().target(), attempt.allowed(), request);
    let head = within(&gateway.clock, gateway.limits.answer_head_timeout, answer).await;
    let account = attempt.facts().account;
    let context = ClassifyContext { kind: attempt.facts().kind, model, now: gateway.clock.now() };
    let (class, result) = match head {
        Some(Ok(response)) => {
            attempt.answered(response.status(), response.headers());
            let answered = read(gateway, profile, context, response, account).await;
            (answered.class.clone(), Ok(answered))
        }
        Some(Err(error)) => match failed(profile, account, error) {
            Ok((evidence, fault)) => (classify(&profile.classes, context, evidence), Err(fault)),
            Err(fault) => return Tried::Stopped(fault),
        },
        None => {
            let fault = Fault::AnswerLate { provider: profile.id.clone(), after: gateway.limits.answer_head_timeout };
            (classify(&profile.classes, context, Evidence::Lost), Err(fault))
        }
    };
    let facts = attempt.facts();
    let made = Made { account: facts.account, grant: facts.grant, revision: facts.revision, class: class.clone() };
    gateway.broker.report(attempt, class);
    Tried::Seen(made, result)
}

/// Classes an answer; an error also by the beginning of its body.
async fn read<B>(
    gateway: &Gateway<B>,
    profile: &ProviderProfile,
    context: ClassifyContext<'_>,
    response: Response<InBody>,
    account: AccountId,
) -> Answered {
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    let (prefix, rest) = if status >= 400 { evidence::read(&gateway.clock, body).await } else { (Bytes::new(), Rest::More(body)) };
    let shown = evidence::readable(&parts.headers, prefix.get(..EVIDENCE_BODY_MAX_BYTES).unwrap_or(&prefix));
    let class = classify(&profile.classes, context, Evidence::Answer { status, headers: &parts.headers, body: &shown });
    Answered { parts, prefix, rest, account, class }
}

/// What a failure on the way proves about the attempt; `Err` where it proves nothing and repeating cannot help.
fn failed(profile: &ProviderProfile, account: AccountId, error: EgressError) -> Result<(Evidence<'static>, Fault), Fault> {
    let provider = profile.id.clone();
    match error {
        EgressError::OriginRefused { .. } => Err(Fault::Refused(Refusal::OriginChanged { provider, account })),
        EgressError::Unsendable => Err(Fault::PathRefused),
        source @ EgressError::AddressRefused { .. } => Err(Fault::Unreachable { provider, source }),
        source if source.nothing_sent() => Ok((Evidence::Unreachable, Fault::Unreachable { provider, source })),
        source => Ok((Evidence::Lost, Fault::Lost { provider, source })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(sent: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut request = Request::post("/x?alt=sse&key=canary-key");
        for (name, value) in sent {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let out = Outgoing::new(&parts, "/y").unwrap().parts();
        assert_eq!(out.uri, "/y?alt=sse");
        out.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn what_connection_names_is_stripped_and_all_else_keeps_its_order_and_repetition() {
        let passed = through(&[
            ("b", "1"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("a", "2"),
            ("te", "trailers"),
            ("connection", "x-other"),
            ("x-other", "1"),
            ("a", " 3"),
            ("content-type", "application/json"),
        ]);
        assert_eq!(passed, ["b: 1", "a: 2", "a:  3", "content-type: application/json"]);
    }

    #[test]
    fn no_slot_of_a_client_credential_passes_whatever_it_holds() {
        let passed = through(&[
            ("authorization", "Basic canary"),
            ("x-api-key", "canary"),
            ("x-goog-api-key", ""),
            ("api-key", "canary"),
            ("cookie", "canary"),
            ("proxy-authorization", "canary"),
            ("host", "localhost"),
            ("accept", "*/*"),
            ("x-other-slot", "clv_canary"),
            ("x-other-slot", "Bearer clv_canary"),
        ]);
        assert_eq!(passed, ["accept: */*"]);
    }
}
