//! Events told to the outside: a command that is started, and a webhook that is called, each with one event at a time.
//!
//! Each of the two reads the server's events at its own pace. What it cannot follow is gone from the server's ring and said as a
//! count in the log, so that a slow receiver costs no memory. Nothing is told twice, neither by a reload nor by a restart.

use crate::config::EventSettings;
use crate::env::Env;
use crate::hex::hex;
use crate::sealed::Door;
use crate::server::Known;
use crate::values::{COMMAND_ENVIRONMENT, Group, OutsideValues};
use crate::wire_up::Surroundings;
use claviger_admin::{Admin, EVENTS_WAIT_MAX, EventView, EventsAsk};
use claviger_domain::origin::{Endpoint, Origin};
use claviger_domain::secret::SecretText;
use claviger_domain::value_ref::ValueRef;
use claviger_egress::{Egress, OutBody};
use claviger_pool::ValueSource;
use claviger_runtime::{Clock, best_effort};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, Request, StatusCode, header};
use serde::Serialize;
use sha2::Sha256;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

/// How long a command may take with one event: time to send a message, and little more.
pub const COMMAND_WITHIN: Duration = Duration::from_secs(30);
/// How long one try to call a webhook may take.
pub const WEBHOOK_WITHIN: Duration = Duration::from_secs(10);
/// The pauses before the further tries to call a webhook: with the first one, three in about half a minute.
pub const WEBHOOK_PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(10)];
/// How often it is looked whether a sealed vault has opened.
const OPEN_POLL: Duration = Duration::from_secs(1);
/// The header with the signature of a webhook's body: `sha256=` and the HMAC in hexadecimal digits.
const SIGNATURE: &str = "x-claviger-signature";

/// Where events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// A command.
    Command,
    /// A webhook.
    Webhook,
}

/// What both receivers need.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The way to the events, once the vault is open.
    pub door: Door,
    /// The configuration of the moment.
    pub known: Arc<Mutex<Known>>,
    /// How the outside is reached.
    pub surroundings: Surroundings,
    /// Where commands get their few variables from, and where a secret may stand.
    pub env: Env,
}

/// An event as it is told.
#[derive(Debug, Serialize)]
struct Told<'a> {
    /// Names the process that counts these events; with the event's id it names the event.
    stream: &'a str,
    #[serde(flatten)]
    event: &'a EventView,
}

impl Delivery {
    /// Tells one receiver until the supervisor stops; a command that runs then ends with it.
    pub async fn run(self, receiver: Receiver) {
        let stopped = self.surroundings.supervisor.stopped();
        tokio::select! {
            () = self.tell(receiver) => {}
            () = stopped => {}
        }
    }

    async fn tell(&self, receiver: Receiver) {
        let mut ask = EventsAsk { since: Some(0), wait_s: EVENTS_WAIT_MAX.as_secs(), ..EventsAsk::default() };
        loop {
            let Some(opened) = self.door.opened() else {
                self.surroundings.clock.sleep(OPEN_POLL).await;
                continue;
            };
            let Some(page) = best_effort("read events", opened.pool.events(ask.clone()).await) else {
                self.surroundings.clock.sleep(OPEN_POLL).await;
                continue;
            };
            if page.missed > 0 {
                tracing::warn!(missed = page.missed, ?receiver, "events are gone before they were told");
            }
            for event in &page.events {
                let settings = self.known.lock().await.loaded.config.events.clone();
                if settings.tells(event.kind.word()) {
                    self.tell_one(receiver, &settings, (&page.stream, event)).await;
                }
            }
            ask = EventsAsk { stream: Some(page.stream), since: Some(page.last), ..ask };
        }
    }

    async fn tell_one(&self, receiver: Receiver, settings: &EventSettings, (stream, event): (&str, &EventView)) {
        let Some(body) = best_effort("an event as JSON", serde_json::to_vec(&Told { stream, event })) else { return };
        let told = match (receiver, settings.command.value.split_first(), &settings.webhook.value) {
            (Receiver::Command, Some((program, arguments)), _) => self.start((program, arguments), &body).await,
            (Receiver::Webhook, _, Some(webhook)) => match self.secret(settings.webhook_secret.value.as_ref()).await {
                Ok(secret) => {
                    let Surroundings { egress, clock, .. } = &self.surroundings;
                    call((egress, &**clock), (webhook, secret.as_ref()), (&body, event.kind.word()), WEBHOOK_PAUSES).await
                }
                Err(why) => Err(why),
            },
            (Receiver::Command, None, _) | (Receiver::Webhook, _, None) => return,
        };
        if let Err(why) = told {
            tracing::error!(?receiver, event = event.kind.word(), account.id = event.account, why, "an event was not told");
        }
    }

    /// Starts the command with the event on its stdin, and waits for its end.
    async fn start(&self, (program, arguments): (&str, &[String]), body: &[u8]) -> Result<(), String> {
        let variables = COMMAND_ENVIRONMENT.iter().filter_map(|name| Some((*name, self.env.lookup(name)?)));
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(variables).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: what the command starts ends with it.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("{program} cannot be started: {error}"))?;
        let group = Group::of(&child);
        let stdin = child.stdin.take();
        let work = async {
            if let Some(mut stdin) = stdin {
                // One that reads nothing may be gone by now, which is its own affair.
                drop(stdin.write_all(body).await);
            }
            child.wait().await
        };
        let ended = tokio::select! {
            ended = work => ended,
            () = self.surroundings.clock.sleep(COMMAND_WITHIN) => {
                return Err(format!("{program} did not end within {} s", COMMAND_WITHIN.as_secs()));
            }
        };
        drop(group);
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{program} failed: {status}")),
            Err(error) => Err(format!("{program} cannot be waited for: {error}")),
        }
    }

    /// The secret as it stands now. Without one that is named nothing is sent: who checks signatures would refuse it anyway.
    async fn secret(&self, place: Option<&ValueRef>) -> Result<Option<SecretText>, String> {
        let Some(place) = place else { return Ok(None) };
        let fetched = OutsideValues::new(self.env.clone()).fetch(place).await;
        fetched.map(Some).map_err(|error| format!("its secret: {error}"))
    }
}

/// Calls the webhook, again after a while where that may help.
async fn call(
    (egress, clock): (&Egress, &dyn Clock),
    (webhook, secret): (&Endpoint, Option<&SecretText>),
    (body, word): (&[u8], &str),
    pauses: [Duration; 2],
) -> Result<(), String> {
    let mut pauses = pauses.into_iter();
    loop {
        let request = request(webhook, secret, (body, word)).ok_or("its address or the event cannot be sent")?;
        let called = call_once(egress, clock, (&webhook.origin, request)).await;
        match (called, pauses.next()) {
            (Ok(()), _) => return Ok(()),
            (Err(Refused { why, .. }), None) | (Err(Refused { why, again: false }), _) => return Err(why),
            (Err(Refused { why, again: true }), Some(pause)) => {
                tracing::warn!(host = webhook.origin.host(), why, "a webhook is called again");
                clock.sleep(pause).await;
            }
        }
    }
}

/// Why a webhook did not take an event, and whether another try may help.
struct Refused {
    why: String,
    again: bool,
}

async fn call_once(egress: &Egress, clock: &dyn Clock, (origin, request): (&Origin, Request<OutBody>)) -> Result<(), Refused> {
    let allowed = BTreeSet::from([origin.clone()]);
    let answer = tokio::select! {
        answer = egress.send(origin, &allowed, request) => answer,
        () = clock.sleep(WEBHOOK_WITHIN) => {
            return Err(Refused { why: format!("no answer within {} s", WEBHOOK_WITHIN.as_secs()), again: true });
        }
    };
    let status = answer.map_err(|error| Refused { why: error.to_string(), again: true })?.status();
    if status.is_success() {
        return Ok(());
    }
    let again = status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    Err(Refused { why: format!("it answered with status {}", status.as_u16()), again })
}

fn request(webhook: &Endpoint, secret: Option<&SecretText>, (body, word): (&[u8], &str)) -> Option<Request<OutBody>> {
    let mut request = Request::post(webhook.path_and_query())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("claviger/", env!("CARGO_PKG_VERSION")))
        .header("x-claviger-event", word);
    if let Some(secret) = secret {
        request = request.header(SIGNATURE, signature(secret, body)?);
    }
    request.body(OutBody::Full(bytes::Bytes::copy_from_slice(body))).ok()
}

/// The proof that a body comes from who knows the secret.
fn signature(secret: &SecretText, body: &[u8]) -> Option<HeaderValue> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    HeaderValue::from_str(&format!("sha256={}", &*hex(&mac.finalize().into_bytes()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_egress::EgressConfig;
    use claviger_testkit::SimClock;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    /// Answers one call after the other with these statuses; gives what was sent.
    async fn receiver(listener: TcpListener, statuses: &[u16]) -> Vec<String> {
        let mut heard = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"{\"event\":1}") {
                let mut part = [0; 1024];
                let read = stream.read(&mut part).await.unwrap();
                assert!(read > 0, "the caller went away");
                text.extend_from_slice(&part[..read]);
            }
            heard.push(String::from_utf8(text).unwrap());
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        heard
    }

    async fn called(statuses: &[u16]) -> (Result<(), String>, Vec<String>) {
        let clock = SimClock::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let webhook: Endpoint = format!("http://{}/canary-path?x=1", listener.local_addr().unwrap()).parse().unwrap();
        let egress = Egress::new(EgressConfig::default(), Arc::new(clock.clone()));
        let secret = SecretText::new("canary-webhook-secret".to_owned());
        let calling = call((&egress, &clock), (&webhook, Some(&secret)), (b"{\"event\":1}", "account_blocked"), [Duration::ZERO; 2]);
        tokio::join!(calling, receiver(listener, statuses))
    }

    #[tokio::test]
    async fn a_webhook_gets_the_event_signed_and_never_the_secret() {
        let (told, heard) = called(&[204]).await;
        assert_eq!(told, Ok(()));
        let head = heard[0].to_ascii_lowercase();
        assert!(head.starts_with("post /canary-path?x=1 http/1.1\r\n"), "{head}");
        assert!(head.contains("x-claviger-event: account_blocked\r\n") && head.contains("content-type: application/json\r\n"));
        let signed = signature(&SecretText::new("canary-webhook-secret".to_owned()), b"{\"event\":1}").unwrap();
        assert!(head.contains(&format!("x-claviger-signature: {}\r\n", signed.to_str().unwrap())), "{head}");
        assert!(!head.contains("canary-webhook-secret"));
    }

    #[tokio::test]
    async fn a_webhook_that_fails_is_called_three_times_and_no_more() {
        let (told, heard) = called(&[503, 429, 204]).await;
        assert_eq!((told, heard.len()), (Ok(()), 3));
        let (told, heard) = called(&[503, 500, 503]).await;
        assert_eq!((told.unwrap_err().as_str(), heard.len()), ("it answered with status 503", 3));
    }

    #[tokio::test]
    async fn a_webhook_that_refuses_is_not_asked_again_and_its_address_is_not_told() {
        let (told, heard) = called(&[403]).await;
        assert_eq!((told.unwrap_err().as_str(), heard.len()), ("it answered with status 403", 1));
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (clock, webhook) = (SimClock::new(), format!("http://{gone}/canary-path").parse::<Endpoint>().unwrap());
        let egress = Egress::new(EgressConfig::default(), Arc::new(clock.clone()));
        let why = call((&egress, &clock), (&webhook, None), (b"{}", "account_blocked"), [Duration::ZERO; 2]).await.unwrap_err();
        assert!(!why.contains("canary"), "{why}");
    }

    #[test]
    fn a_body_is_signed_with_the_secret() {
        // RFC 4231 §4.3.
        let signed = signature(&SecretText::new("Jefe".to_owned()), b"what do ya want for nothing?").unwrap();
        assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
