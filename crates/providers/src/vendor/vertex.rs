//! Default credentials of Google: access tokens for the login that `gcloud` keeps, and for service accounts
//! (<https://google.aip.dev/auth/4110>, RFC 7523).

use super::ask::{Ask, Secret, public};
use crate::ambient::{AmbientCredential, AmbientError, Lookup, Machine};
use crate::hooks::{ControlHttp, HookError};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use claviger_domain::origin::Endpoint;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use claviger_oauth::LIFE_MAX;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Where tokens are had for default credentials. Files name an address too: it is not asked.
pub(crate) const TOKEN: &str = "default-credentials-token";
/// The variable that names the file.
pub(crate) const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The folder of `gcloud`.
const CLOUDSDK: &str = "CLOUDSDK_CONFIG";

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The life of an assertion: the longest that Google takes.
const ASSERTION_LIFE: Duration = Duration::from_hours(1);
/// The universe whose addresses the catalogue has.
const UNIVERSE: &str = "googleapis.com";

const WHAT: &str = "the question for a token of default credentials";
const LOG_IN: &str = "gcloud auth application-default login";

/// The file that `gcloud auth application-default login` writes.
pub(crate) fn default_file(lookup: Lookup<'_>, home: Option<&Path>) -> Option<PathBuf> {
    let folder = lookup(CLOUDSDK).map(PathBuf::from).or_else(|| Some(home?.join(".config/gcloud")))?;
    Some(folder.join("application_default_credentials.json"))
}

/// Default credentials, read.
#[derive(Debug)]
pub(crate) struct Adc {
    login: Login,
    project: Option<String>,
    /// Where they stand, for people.
    place: String,
}

#[derive(Debug)]
enum Login {
    /// A person, by the refresh token that belongs to `gcloud`. It does not rotate, and goes to the token endpoint alone.
    Person { client: String, client_secret: SecretText, refresh: SecretText },
    /// A service account, by its private key, which goes nowhere.
    Service { email: String, key_id: Option<String>, key: SecretText },
}

/// A file of credentials as it is written. Other fields are of no use here.
#[derive(Deserialize)]
struct File {
    r#type: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    refresh_token: Option<Secret>,
    quota_project_id: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<KeyText>,
    universe_domain: Option<String>,
}

/// A key in PEM.
struct KeyText(SecretText);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(SecretText::new(String::deserialize(deserializer)?)))
    }
}

/// Reads a file of credentials.
pub(crate) async fn read(path: &Path, machine: &dyn Machine) -> Result<Adc, AmbientError> {
    let place = path.display().to_string();
    let text = machine.text(&ValueRef::File(path.to_owned())).await.map_err(AmbientError::Broken)?;
    let text = text.ok_or_else(|| AmbientError::Broken(format!("{place} is not there: {LOG_IN}")))?;
    adc(&text, place).map_err(AmbientError::Broken)
}

fn adc(text: &[u8], place: String) -> Result<Adc, String> {
    // What serde would say of it could quote it.
    let file: File = serde_json::from_slice(text).map_err(|_source| format!("{place} holds no credentials of Google: {LOG_IN}"))?;
    let File {
        r#type,
        client_id,
        client_secret,
        refresh_token,
        quota_project_id,
        client_email,
        private_key_id,
        private_key,
        universe_domain,
    } = file;
    if universe_domain.is_some_and(|universe| universe != UNIVERSE) {
        return Err(format!("{place} is of another universe than {UNIVERSE}, which is not supported"));
    }
    let incomplete = || format!("{place} lacks a field that its type needs: {LOG_IN}");
    let login = match r#type.as_deref() {
        Some("authorized_user") => {
            let (client, Secret(client_secret)) = client_id.zip(client_secret).ok_or_else(incomplete)?;
            Login::Person { client, client_secret, refresh: refresh_token.ok_or_else(incomplete)?.0 }
        }
        Some("service_account") => {
            let (email, KeyText(key)) = client_email.zip(private_key).ok_or_else(incomplete)?;
            Login::Service { email, key_id: private_key_id, key }
        }
        Some(
            kind @ ("external_account" | "external_account_authorized_user" | "impersonated_service_account" | "gdch_service_account"),
        ) => {
            return Err(format!(
                "{place} is an {kind}, which is not supported: use a service account's key file, or {LOG_IN} without impersonation"
            ));
        }
        _ => return Err(format!("{place} holds no credentials of a type that is known: {LOG_IN}")),
    };
    Ok(Adc { login, project: quota_project_id, place })
}

/// Asks for an access token. The refresh token of a person is not consumed by that.
pub(crate) async fn token(adc: &Adc, url: &Endpoint, http: &dyn ControlHttp) -> Result<AmbientCredential, AmbientError> {
    let now = http.clock().now();
    let broken = |why: &str| AmbientError::Broken(format!("{}: {why}", adc.place));
    let url_text = public(url);
    let ask = match &adc.login {
        Login::Person { client, client_secret, refresh } => Ask::form(
            WHAT,
            &url_text,
            &[
                ("grant_type", "refresh_token"),
                ("client_id", client),
                ("client_secret", client_secret.expose()),
                ("refresh_token", refresh.expose()),
            ],
        ),
        Login::Service { email, key_id, key } => {
            let signed = assertion(&Claims::new(email, &url_text, now), key_id.as_deref(), key).map_err(broken)?;
            Ask::form(WHAT, &url_text, &[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &signed)])
        }
    };
    let answer = ask.map_err(of_hook)?.answer(http).await.map_err(of_hook)?;
    match answer.status {
        200 => {
            let Granted { access_token: Secret(secret), expires_in } = answer.read().map_err(of_hook)?;
            let life = Duration::from_secs(expires_in).min(LIFE_MAX);
            Ok(AmbientCredential { secret, expires_at: Some(now.plus(life)), project: adc.project.clone() })
        }
        400 | 401 | 403 => Err(broken(match adc.login {
            Login::Person { .. } => "its login was refused; log in again: gcloud auth application-default login",
            Login::Service { .. } => "its key was refused: it may be deleted, or the clock of this machine may be wrong",
        })),
        status => Err(AmbientError::Unavailable(format!("the token endpoint answered {status}"))),
    }
}

fn of_hook(error: HookError) -> AmbientError {
    match error {
        HookError::Control(error) => error.into(),
        other => AmbientError::Unavailable(other.to_string()),
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: u64,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'static str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl<'a> Claims<'a> {
    fn new(email: &'a str, audience: &'a str, now: Timestamp) -> Self {
        Self { iss: email, scope: SCOPE, aud: audience, iat: now.as_secs(), exp: now.plus(ASSERTION_LIFE).as_secs() }
    }
}

/// A signed assertion (RFC 7523 §2.1, RS256). It is a credential for as long as it lives.
fn assertion(claims: &Claims<'_>, key_id: Option<&str>, key: &SecretText) -> Result<Zeroizing<String>, &'static str> {
    let part =
        |json: Result<Vec<u8>, serde_json::Error>| json.map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(|_source| "it makes no assertion");
    let header = part(serde_json::to_vec(&Header { alg: "RS256", typ: "JWT", kid: key_id }))?;
    let signed = format!("{header}.{}", part(serde_json::to_vec(claims))?);
    let key = key_pair(key.expose()).ok_or("its private_key is no RSA key in PEM")?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_source| "its private_key does not sign")?;
    Ok(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// The key in PEM, as PKCS #8.
fn key_pair(pem: &str) -> Option<RsaKeyPair> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (inner, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let mut text = Zeroizing::new(String::with_capacity(inner.len()));
    text.extend(inner.split_ascii_whitespace());
    let der = Zeroizing::new(STANDARD.decode(text.as_bytes()).ok()?);
    RsaKeyPair::from_pkcs8(&der).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::{ControlAnswer, ControlError};
    use bytes::Bytes;
    use claviger_runtime::{BoxFuture, Clock, SystemClock};
    use http::{HeaderMap, Request, StatusCode};
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::{Value, json};
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    const KEY: &str = include_str!("../../tests/fixtures/vertex/test-key.pem");
    const PUBLIC_KEY: &str = include_str!("../../tests/fixtures/vertex/test-key.pub.pem");

    /// A token endpoint that gives one answer and keeps what it was asked.
    struct Endpoint200 {
        status: u16,
        body: &'static str,
        asked: Mutex<Vec<(String, String)>>,
        clock: SystemClock,
    }

    impl ControlHttp for Endpoint200 {
        fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>> {
            let body = String::from_utf8(request.body().to_vec()).unwrap();
            self.asked.lock().unwrap().push((request.uri().to_string(), body));
            let (status, body) = (StatusCode::from_u16(self.status).unwrap(), Zeroizing::new(self.body.as_bytes().to_vec()));
            Box::pin(async move { Ok(ControlAnswer { status, headers: HeaderMap::new(), body }) })
        }

        fn clock(&self) -> &dyn Clock {
            &self.clock
        }
    }

    /// What is ready at once: no fake here waits.
    fn ready<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn asked(file: &Value, status: u16, body: &'static str) -> (Result<AmbientCredential, AmbientError>, Vec<(String, String)>) {
        let endpoint = Endpoint200 { status, body, asked: Mutex::default(), clock: SystemClock };
        let adc = adc(file.to_string().as_bytes(), "/adc.json".to_owned()).unwrap();
        let had = ready(token(&adc, &"https://oauth2.googleapis.com/token".parse().unwrap(), &endpoint));
        (had, endpoint.asked.into_inner().unwrap())
    }

    fn service() -> Value {
        json!({ "type": "service_account", "client_email": "robot@p.example", "private_key_id": "k1", "private_key": KEY, "token_uri": "https://elsewhere.example/token" })
    }

    fn decoded(part: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    #[test]
    fn a_service_account_proves_itself_with_a_signature_that_its_public_key_confirms() {
        let answer = r#"{"access_token":"at-1","expires_in":3599,"token_type":"Bearer"}"#;
        let (had, asked) = asked(&service(), 200, answer);
        let had = had.unwrap();
        assert_eq!(had.secret.expose(), "at-1");
        let (url, body) = &asked[0];
        assert_eq!(url, "https://oauth2.googleapis.com/token", "what the file names is not asked");
        let assertion = body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let der: String = PUBLIC_KEY.lines().filter(|line| !line.starts_with('-')).collect();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, STANDARD.decode(der).unwrap());
        public.verify(signed.as_bytes(), &decoded(signature)).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&decoded(header)).unwrap(), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        let claims: Value = serde_json::from_slice(&decoded(claims)).unwrap();
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("robot@p.example"), &json!("https://oauth2.googleapis.com/token")));
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    }

    #[test]
    fn a_refusal_needs_a_person_and_a_failure_does_not_and_neither_quotes_the_answer() {
        let person = json!({ "type": "authorized_user", "client_id": "c", "client_secret": "canary-cs", "refresh_token": "canary-rt" });
        for file in [&person, &service()] {
            for (status, is_broken) in [(400, true), (401, true), (403, true), (429, false), (500, false), (503, false)] {
                let error = asked(file, status, r#"{"error":"canary-error"}"#).0.unwrap_err();
                assert_eq!(matches!(error, AmbientError::Broken(_)), is_broken, "{status}: {error}");
                assert!(!format!("{error:?}").contains("canary"), "{error:?}");
            }
        }
        assert!(matches!(asked(&person, 200, "{}").0, Err(AmbientError::Unavailable(_))));
    }

    #[test]
    fn what_is_not_supported_is_refused_with_what_to_do_and_without_a_secret() {
        let of = |file: Value| adc(file.to_string().as_bytes(), "/adc.json".to_owned()).map(drop).unwrap_err();
        for kind in ["external_account", "external_account_authorized_user", "impersonated_service_account", "gdch_service_account"] {
            assert!(of(json!({ "type": kind, "client_secret": "canary-cs" })).contains("not supported"));
        }
        for file in [
            json!({}),
            json!({ "type": "authorized_user", "client_secret": "canary-cs" }),
            json!({ "type": "service_account", "private_key": "canary-key" }),
            json!([]),
        ] {
            let why = of(file);
            assert!(why.contains("gcloud auth application-default login") && !why.contains("canary"), "{why}");
        }
        let mut foreign = service();
        foreign["universe_domain"] = json!("elsewhere.example");
        assert!(of(foreign).contains("another universe"));
    }

    #[test]
    fn credentials_print_no_secret() {
        let adc = adc(service().to_string().as_bytes(), "/adc.json".to_owned()).unwrap();
        assert!(!format!("{adc:?}").contains("PRIVATE KEY"));
        assert!(key_pair("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----").is_none());
    }
}
