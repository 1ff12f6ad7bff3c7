//! Control requests of one provider: how logins, hooks and questions for usage reach it, and how far.

use crate::Inner;
use crate::limits::{CONTROL_ANSWER_MAX_BYTES, CONTROL_TIMEOUT};
use bytes::Bytes;
use claviger_domain::options::ProxyUrl;
use claviger_domain::origin::Origin;
use claviger_domain::profile::ProviderProfile;
use claviger_egress::{Egress, OutBody};
use claviger_providers::hooks::{ControlAnswer, ControlError, ControlHttp};
use claviger_runtime::{BoxFuture, Clock};
use http::header::{ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderValue, Request};
use http_body::Body;
use std::collections::BTreeSet;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Sends control requests of one provider: to its token, usage and login origins, without redirects, and reads answers whole.
#[derive(Debug, Clone)]
pub(crate) struct ControlClient {
    egress: Egress,
    clock: Arc<dyn Clock>,
    allowed: BTreeSet<Origin>,
    patience: Duration,
}

impl ControlClient {
    /// For a provider as it is configured now.
    pub(crate) fn new(inner: &Inner, profile: &ProviderProfile) -> Self {
        Self {
            egress: inner.egress.clone(),
            clock: Arc::clone(&inner.clock),
            allowed: profile.control_origins(),
            patience: CONTROL_TIMEOUT,
        }
    }

    /// With further origins, for what carries a secret that may go there anyway.
    pub(crate) fn reaching<'a>(mut self, origins: impl IntoIterator<Item = &'a Origin>) -> Self {
        self.allowed.extend(origins.into_iter().cloned());
        self
    }

    /// Through the proxy of an account.
    pub(crate) fn through(mut self, proxy: Option<&ProxyUrl>) -> Self {
        self.egress = self.egress.through(proxy);
        self
    }

    /// Waiting for an answer no longer than this.
    pub(crate) fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn exchange(&self, target: &Origin, request: Request<OutBody>) -> Result<ControlAnswer, String> {
        let answer = self.egress.send(target, &self.allowed, request).await.map_err(|error| with_causes(&error))?;
        let (parts, mut incoming) = answer.into_parts();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
            let Ok(data) = frame.map_err(|error| with_causes(&error))?.into_data() else { continue };
            if data.len() > CONTROL_ANSWER_MAX_BYTES - body.len() {
                return Err(format!("the answer is longer than {CONTROL_ANSWER_MAX_BYTES} bytes"));
            }
            append(&mut body, &data);
        }
        Ok(ControlAnswer { status: parts.status, headers: parts.headers, body })
    }
}

impl ControlHttp for ControlClient {
    fn send(&self, mut request: Request<Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>> {
        Box::pin(async move {
            let target = Origin::of(request.uri()).map_err(|error| ControlError::Foreign(error.to_string()))?;
            if !self.allowed.contains(&target) {
                return Err(ControlError::Foreign(target.to_string()));
            }
            let headers = request.headers_mut();
            headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!("claviger/", env!("CARGO_PKG_VERSION"))));
            // Nothing here decodes.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            let unreachable = |why| ControlError::Unreachable { host: target.host().to_owned(), why };
            tokio::select! {
                answer = self.exchange(&target, request.map(OutBody::Full)) => answer.map_err(unreachable),
                () = self.clock.sleep(self.patience) => Err(unreachable(format!("no whole answer within {} s", self.patience.as_secs()))),
            }
        })
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// Appends without leaving a copy of what was read behind.
fn append(body: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    let needed = body.len() + data.len();
    if needed > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * body.capacity())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(data);
}

/// An error with its causes in one line. Errors of egress name origins and never a path or a query.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
