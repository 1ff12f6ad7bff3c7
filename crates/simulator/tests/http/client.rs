//! A small HTTP client and a clock in the hand, shared by the tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use claviger_simulator::{Simulator, SimulatorConfig, TokenPolicy};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// 2027-01-15T08:00:00Z, a Friday.
pub(crate) const NOW_MS: i64 = 1_800_000_000_000;

/// A simulator whose clock stands still until it is moved, and a client of it.
pub(crate) struct Lab {
    pub(crate) simulator: Simulator,
    clock: Arc<AtomicI64>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the body broke off.
    pub(crate) is_cut: bool,
}

impl Lab {
    pub(crate) async fn new(token: TokenPolicy) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW_MS));
        let hand = Arc::clone(&clock);
        let config = SimulatorConfig { clock: Arc::new(move || hand.load(Ordering::SeqCst)), token, ..SimulatorConfig::default() };
        let simulator = Simulator::start(config).await.unwrap();
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
        Self { simulator, clock, client }
    }

    pub(crate) fn advance_s(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Sends a request; `None` where the connection closes without an answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Response<Incoming>> {
        let mut request =
            Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(format!("{}{path}", self.simulator.origin()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.request(request.body(Full::new(body.into())).unwrap()).await.ok()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        read(self.send(method, path, headers, body).await.expect("an answer")).await
    }

    /// Posts JSON as the bearer of `token`.
    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask("POST", path, &[("authorization", &bearer)], body.to_string()).await
    }

    /// One refresh, in JSON.
    pub(crate) async fn refresh(&self, refresh_token: &str) -> Answer {
        self.ask("POST", "/v1/oauth/token", &[("content-type", "application/json")], refresh_body(refresh_token)).await
    }
}

pub(crate) fn refresh_body(refresh_token: &str) -> String {
    json!({ "grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": "client-1" }).to_string()
}

pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut is_cut) = (Vec::new(), false);
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else {
            is_cut = true;
            break;
        };
        body.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
    }
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.into(), is_cut }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The string at a path of the JSON body.
    pub(crate) fn at(&self, pointer: &str) -> String {
        let found = self.json().pointer(pointer).cloned();
        found.map_or("(absent)".into(), |value| value.as_str().map_or(value.to_string(), str::to_owned))
    }

    /// The data of the server-sent events.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}
