//! The gateway and the path of one request through its stages.

use crate::authorize;
use crate::body::{self, Budget, Inbound};
use crate::error::{Fault, name_request};
use crate::forward::{Answered, Outgoing};
use crate::health;
use crate::limits::Limits;
use crate::model_prefix::{self, Prefixed, Without};
use crate::path;
use crate::perimeter::{self, Names};
use crate::record::Settlement;
use crate::retry::{self, Call};
use crate::route::{self, Destination, Target};
use crate::session;
use crate::stream::{self, AnswerBody};
use claviger_contract::{Broker, Denial, Refusal, Routes};
use claviger_domain::id::RequestId;
use claviger_domain::profile::ProviderProfile;
use claviger_egress::Egress;
use claviger_runtime::{Clock, random_u64};
use http::{Request, Response, request};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What an installation may set.
#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// The limits.
    pub limits: Limits,
    /// Host names beside the loopback ones under which the gateway answers, without ports; an IPv6 address in brackets.
    pub allowed_hosts: Vec<String>,
}

/// What goes on in a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayStatus {
    /// Requests whose answer has not ended.
    pub in_flight: usize,
    /// Requests since the start, health checks left out.
    pub total: u64,
    /// Connections of clients, idle ones included.
    pub connections: usize,
    /// Bytes of requests kept for a replay.
    pub replay_bytes: usize,
}

/// Counts for [`GatewayStatus`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) in_flight: AtomicUsize,
    pub(crate) total: AtomicU64,
    pub(crate) connections: AtomicUsize,
}

/// The data plane over a broker. Shared behind an `Arc` by all its listeners.
#[derive(Debug)]
pub struct Gateway<B> {
    pub(crate) broker: B,
    pub(crate) egress: Egress,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<Counters>,
    names: Names,
    replay: Arc<Budget>,
    /// Request ids and seeds are a random start and a counter: unique in this process, without a draw for each request.
    seed: u64,
    serial: AtomicU64,
}

impl<B: Broker> Gateway<B> {
    /// A gateway that listens nowhere yet.
    pub fn new(broker: B, egress: Egress, clock: Arc<dyn Clock>, config: GatewayConfig) -> Self {
        let GatewayConfig { limits, allowed_hosts } = config;
        let names = Names::new(&allowed_hosts);
        let replay = Budget::new(limits.replay_total_max_bytes);
        let counters = Arc::new(Counters::default());
        Self { broker, egress, clock, limits, counters, names, replay, seed: random_u64(), serial: AtomicU64::new(0) }
    }

    /// What goes on now.
    pub fn status(&self) -> GatewayStatus {
        GatewayStatus {
            in_flight: self.counters.in_flight.load(Ordering::Relaxed),
            total: self.counters.total.load(Ordering::Relaxed),
            connections: self.counters.connections.load(Ordering::Relaxed),
            replay_bytes: self.replay.used_bytes(),
        }
    }

    /// Answers one request. Dropping it closes what is open upstream.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<AnswerBody<B>> {
        let (parts, body) = request.into_parts();
        let seed = self.next_word();
        let id = RequestId(seed);
        let routes = self.broker.routes();
        let (dialect, target) = route::find(&routes, &parts);
        let allowed = perimeter::check(&self.names, &parts.uri, &parts.headers);
        if allowed.is_ok()
            && let Some(mut response) = health::answer(&parts, &self.broker)
        {
            name_request(response.headers_mut(), id);
            return stream::own(response, None);
        }
        let mut settlement = Settlement::begin(id, self.broker.clone(), Arc::clone(&self.clock), Arc::clone(&self.counters));
        let mut inbound = Inbound::new(body, &parts.headers);
        let asked = Asked { parts: &parts, peer, routes: &routes, seed };
        let answer = match allowed {
            Ok(()) => self.pass(&asked, target, &mut inbound, &mut settlement).await,
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(answered) => stream::relay(answered, settlement, &self.clock),
            Err(fault) => {
                inbound.discard(&self.clock).await;
                tracing::debug!(request.id = %id, error = &fault as &dyn std::error::Error, "refused");
                settlement.refused = Some(fault.code());
                stream::own(fault.render(dialect, id, self.clock.now()), Some(settlement))
            }
        }
    }

    /// The way to the provider and back: `authorize → body → provider → session → attempts`.
    async fn pass(
        &self,
        asked: &Asked<'_>,
        target: Result<Target<'_>, Fault>,
        inbound: &mut Inbound,
        settlement: &mut Settlement<B>,
    ) -> Result<Answered, Fault> {
        let Asked { parts, peer, routes, seed } = *asked;
        if let Some(refusal) = self.broker.closed() {
            return Err(Fault::Refused(refusal));
        }
        let key = authorize::key(&parts.headers, parts.uri.query())?;
        let admission = settlement.admission.insert(self.broker.admit(&key, Some(peer.ip()))?);
        // Who has no key learns nothing about routes.
        let target = target?;
        let mut payload = body::collect(inbound, &self.replay, &self.limits, &self.clock).await?;
        let mut peek = payload.peek();
        let prefixed = model_prefix::find(routes, &target, &peek);
        let (model_prefix, path) = match &prefixed {
            None => (None, target.path),
            Some(Prefixed { prefix, without: Without::Path(path) }) => (Some(&**prefix), &**path),
            Some(Prefixed { prefix, without: Without::Body(body) }) => {
                payload.replace(body.clone());
                peek.clone_from(body);
                (Some(&**prefix), target.path)
            }
        };
        let mut body = session::Body::of(&peek);
        let model = session::model(path, &mut body);
        let profile = choose(routes, &target, model.as_deref())?;
        settlement.provider = Some(profile.id.clone());
        if !admission.key().admits_provider(&profile.id) {
            return Err(Fault::Refused(Refusal::Denied(Denial::Provider { provider: profile.id.clone() })));
        }
        let path = path::join(&profile.base.path, path, target.to.version_prefix());
        let call = Call {
            admission,
            profile,
            session: session::find(&profile.session, &parts.headers, &mut body, model.as_deref()),
            model: model.as_deref(),
            model_prefix,
            own_client: profile.terms.is_own_client(&parts.headers),
            seed,
            outgoing: Outgoing::new(parts, &path)?,
            payload,
        };
        let outcome = retry::run(self, call).await;
        settlement.attempts = outcome.attempts.made().len();
        settlement.account = outcome.attempts.made().last().map(|made| made.account);
        outcome.answer
    }

    fn next_word(&self) -> u64 {
        // An odd factor maps the counter to words that differ in all their bits, none twice.
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        serial.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.seed)
    }
}

/// A request's head, and where it came from.
#[derive(Clone, Copy)]
struct Asked<'a> {
    parts: &'a request::Parts,
    peer: SocketAddr,
    routes: &'a Routes,
    seed: u64,
}

fn choose<'a>(routes: &'a Routes, target: &'a Target<'_>, model: Option<&str>) -> Result<&'a ProviderProfile, Fault> {
    match &target.to {
        Destination::Provider(profile) => Ok(profile),
        Destination::Chosen => {
            routes.choose(target.dialect, model).map(|profile| &**profile).ok_or(Fault::DialectWithoutProvider { dialect: target.dialect })
        }
    }
}
