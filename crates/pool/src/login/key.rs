//! A login by a key that a person has: the provider is asked whether it knows it.

use super::{LoginFacts, Next, Stage};
use crate::admin::check_secret;
use crate::limits::KEY_PROBE_TIMEOUT;
use bytes::Bytes;
use claviger_admin::{AdminError, ErrorCode, LoginInput, LoginStep};
use claviger_domain::identity::Identity;
use claviger_domain::profile::{HeaderText, WireRule};
use claviger_domain::secret::SecretText;
use claviger_providers::hooks::{ControlHttp, FreshLogin};
use claviger_providers::login::{KeyEntry, KeyProbe};
use claviger_store::GrantSecret;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// A key has come.
pub(super) async fn go_on(facts: &LoginFacts, entry: Box<KeyEntry>, input: LoginInput) -> Result<Next, AdminError> {
    let LoginInput::Pasted { text } = input else {
        let step = LoginStep::EnterKey { login: facts.id.clone(), page: entry.page.clone() };
        return Ok(Next::Goes(Stage::Key(entry), step));
    };
    let key = GrantSecret::ApiKey { key: SecretText::new(text.expose().trim().to_owned()) };
    check_secret(&facts.stores_as, &key)?;
    let GrantSecret::ApiKey { key } = key else { return Err(facts.failed("a key is no key")) };
    let doubt = doubt(facts, &entry, &key).await?;
    let fresh = FreshLogin {
        access: key,
        refresh: None,
        id_token: None,
        is_key: true,
        expires_at: None,
        identity: Identity::default(),
        plan: None,
    };
    Ok(Next::Done(Box::new(fresh), doubt.into_iter().collect()))
}

/// Asks the provider. Only its plain refusal is one: a provider that cannot be asked says nothing of the key.
async fn doubt(facts: &LoginFacts, entry: &KeyEntry, key: &SecretText) -> Result<Option<String>, AdminError> {
    let id = &facts.profile.id;
    let (Some(probe), Some(wire)) = (&entry.probe, &facts.stores_as.api_key) else {
        return Ok(Some(format!("the key was not tried: how to ask {id} about a key is not known")));
    };
    let Some(request) = request(probe, wire, key) else { return Err(facts.failed("the key cannot stand in a header")) };
    match facts.http.clone().patient_for(KEY_PROBE_TIMEOUT).send(request).await {
        Ok(answer) if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            let message = format!("{id} refuses this key (status {}): it was not stored", answer.status.as_u16());
            Err(AdminError::new(ErrorCode::Refused, message).hint(page(entry).unwrap_or_else(|| facts.again())))
        }
        Ok(answer) if answer.status.is_success() => Ok(None),
        Ok(answer) => {
            Ok(Some(format!("{id} answered with status {} when asked about the key: it is stored untried", answer.status.as_u16())))
        }
        Err(error) => Ok(Some(format!("the key is stored untried: {error}"))),
    }
}

fn page(entry: &KeyEntry) -> Option<String> {
    entry.page.as_ref().map(|page| format!("keys are made at {page}"))
}

/// The probe with the key written into it as into any other request.
pub(crate) fn request(probe: &KeyProbe, wire: &WireRule, key: &SecretText) -> Option<Request<Bytes>> {
    let mut uri = probe.url.to_string();
    for (name, value) in &wire.query {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.extend(utf8_percent_encode(name, NON_ALPHANUMERIC).chain(["="]).chain(utf8_percent_encode(value, NON_ALPHANUMERIC)));
    }
    let body = probe.body.clone().unwrap_or_default();
    let mut request = Request::builder().method(probe.method.clone()).uri(uri).body(Bytes::from(body)).ok()?;
    write(request.headers_mut(), wire, key)?;
    if probe.body.is_some() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    Some(request)
}

fn write(headers: &mut HeaderMap, wire: &WireRule, key: &SecretText) -> Option<()> {
    for extra in &wire.extra {
        if let HeaderText::Fixed(value) = &extra.value {
            headers.insert(extra.name.clone(), value.clone());
        }
    }
    let text = wire.scheme.as_ref().map(|scheme| zeroize::Zeroizing::new(format!("{scheme} {}", key.expose())));
    let mut value = HeaderValue::from_str(text.as_ref().map_or(key.expose(), |text| text.as_str())).ok()?;
    value.set_sensitive(true);
    headers.insert(wire.header.clone(), value);
    Some(())
}
