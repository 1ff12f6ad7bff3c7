//! Serves the control plane on the socket: who connects, what is asked, and the answer as JSON.

use super::body::{gathered, written};
use super::routes::{self, ASK_MAX_BYTES, Route, SealedView, ServerFacts, ServerStatus, Unblocked};
use super::socket;
use claviger_admin::{Admin, AdminError, ErrorBody, ErrorCode, Reloaded};
use claviger_domain::id::{AccountId, InvalidId};
use claviger_domain::virtual_key::Accessor;
use claviger_runtime::{BoxFuture, Clock, Supervisor, best_effort};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Most connections at once: commands of one user, each for milliseconds.
const CONNECTIONS_MAX: usize = 64;

/// How long a head may take: the peer is on this machine.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a body may take.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failed accept, which means that the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What only a running server can do.
pub trait ServerControl: Send + Sync + 'static {
    /// The control plane; [`ErrorCode::Sealed`] while the vault is not open yet.
    fn admin(&self) -> Result<&dyn Admin, AdminError>;

    /// Why the vault is not open yet, where it is not.
    fn sealed(&self) -> Option<SealedView>;

    /// The process.
    fn facts(&self) -> ServerFacts;

    /// Reads the configuration again; a bad one changes nothing.
    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, AdminError>>;

    /// Asks the server to stop. Does not wait for its end.
    fn shutdown(&self);
}

/// The control plane behind the socket. Cheap to clone.
#[derive(Clone)]
pub struct AdminServer {
    /// The server itself, and the way to the control plane.
    pub control: Arc<dyn ServerControl>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl AdminServer {
    /// Accepts until the supervisor stops; connections are its tasks. A peer of another user is turned away unread.
    pub async fn serve(self, listener: UnixListener, supervisor: Arc<Supervisor>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut stopped = std::pin::pin!(supervisor.stopped());
        loop {
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stopped => return,
            };
            match accepted {
                Ok((stream, _)) if socket::is_own_peer(&stream) => {
                    let server = self.clone();
                    let stopped = supervisor.stopped();
                    supervisor.spawn("admin connection", async move {
                        server.converse(stream, stopped).await;
                        drop(slot);
                    });
                }
                Ok(_) => tracing::warn!("a connection of another user to the admin socket was refused"),
                Err(error) => {
                    tracing::warn!(%error, "the admin socket failed to accept");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// One connection to its end; after a stop, the answer that is under way is still given.
    async fn converse(self, stream: UnixStream, stopped: impl Future<Output = ()>) {
        let service = service_fn(|request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the admin socket broke off");
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let answered = match endpoint(&parts.method, parts.uri.path(), &parts.headers) {
            Ok((endpoint, id)) => match self.read(body).await {
                Ok(body) => (endpoint.work)(self, id, body).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match answered {
            Ok(body) => respond(StatusCode::OK, body),
            Err(error) => {
                let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let body = best_effort("an error as JSON", written(&ErrorBody { error })).unwrap_or_default();
                respond(status, body)
            }
        }
    }

    /// The whole body, within its limits. One that says beforehand that it is too large is not read at all.
    async fn read(&self, body: Incoming) -> Result<Zeroizing<Vec<u8>>, AdminError> {
        let too_large = || AdminError::new(ErrorCode::Usage, format!("the request is larger than {ASK_MAX_BYTES} bytes"));
        if body.size_hint().lower() > ASK_MAX_BYTES as u64 {
            return Err(too_large());
        }
        tokio::select! {
            read = gathered(Limited::new(body, ASK_MAX_BYTES)) => match read {
                Ok(body) => Ok(body),
                Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
                Err(error) => Err(AdminError::failed(&*error)),
            },
            () = self.clock.sleep(BODY_READ_TIMEOUT) => Err(AdminError::new(ErrorCode::Usage, "the request's body did not arrive in time")),
        }
    }
}

/// Which call is meant. Web pages have no business here: a request with `Origin` is refused.
fn endpoint(method: &Method, path: &str, headers: &HeaderMap) -> Result<(Endpoint, String), AdminError> {
    if headers.contains_key(header::ORIGIN) {
        return Err(AdminError::new(ErrorCode::Refused, "requests of web pages are refused"));
    }
    let mut known_path = false;
    for endpoint in endpoints() {
        let Some(id) = routes::matched(endpoint.path, path) else { continue };
        known_path = true;
        if endpoint.method == *method {
            return Ok((endpoint, id.to_owned()));
        }
    }
    if known_path {
        return Err(AdminError::new(ErrorCode::Usage, "the path takes another method"));
    }
    Err(AdminError::new(ErrorCode::NotFound, "there is no such path"))
}

impl std::fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminServer").finish_non_exhaustive()
    }
}

fn respond(status: StatusCode, body: Zeroizing<Vec<u8>>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_owner(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// A call from bytes to bytes.
type Work = Box<dyn FnOnce(AdminServer, String, Zeroizing<Vec<u8>>) -> BoxFuture<'static, Result<Zeroizing<Vec<u8>>, AdminError>> + Send>;

struct Endpoint {
    method: Method,
    path: &'static str,
    work: Work,
}

/// Binds a route of the table to what answers it; the types of the bodies are the route's.
fn on<A, R, F>(route: Route<A, R>, work: impl FnOnce(AdminServer, String, A) -> F + Send + 'static) -> Endpoint
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Future<Output = Result<R, AdminError>> + Send + 'static,
{
    let Route { method, path, .. } = route;
    let work: Work = Box::new(move |server, id, body| {
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        // The parser's own words quote what it read, and that may be a secret.
        let ask = serde_json::from_slice::<A>(body).map_err(|error| {
            AdminError::new(ErrorCode::Usage, format!("the request's body does not fit: line {}, column {}", error.line(), error.column()))
        });
        let answer = ask.map(|ask| work(server, id, ask));
        Box::pin(async move {
            let answer = answer?.await?;
            written(&answer).map_err(|error| AdminError::failed(&error))
        })
    });
    Endpoint { method, path, work }
}

/// Every call. Fixed paths stand before those with an id.
fn endpoints() -> [Endpoint; 25] {
    [
        on(routes::STATUS, |server, _, ()| async move {
            let sealed = server.control.sealed();
            let status = if sealed.is_none() { Some(server.control.admin()?.status().await?) } else { None };
            Ok(ServerStatus { server: server.control.facts(), sealed, status })
        }),
        on(routes::PROCESSES, |server, _, ()| async move { server.control.admin()?.processes().await }),
        on(routes::ACCOUNT_LIST, |server, _, ()| async move { server.control.admin()?.account_list().await }),
        on(routes::ACCOUNT_ADD, |server, _, account| async move { server.control.admin()?.account_add(account).await }),
        on(routes::ACCOUNT_IMPORT, |server, _, import| async move { server.control.admin()?.account_import(import.accounts).await }),
        on(routes::ACCOUNT_UNBLOCK, |server, _, ask| async move {
            let lifted = server.control.admin()?.account_unblock(ask.account.map(AccountId)).await?;
            Ok(Unblocked { lifted })
        }),
        on(routes::ACCOUNT_CHECK, |server, _, ask| async move { server.control.admin()?.account_check(ask).await }),
        on(routes::CREDITS_LIST, |server, _, ask| async move { server.control.admin()?.credits_list(ask).await }),
        on(routes::CREDITS_REDEEM, |server, _, mut ask| async move {
            ask.actor = actor();
            server.control.admin()?.credits_redeem(ask).await
        }),
        on(routes::EVENTS, |server, _, ask| async move { server.control.admin()?.events(ask).await }),
        on(routes::ACCOUNT_CHANGE, |server, id, change| async move { server.control.admin()?.account_change(read(&id)?, change).await }),
        on(routes::ACCOUNT_REMOVE, |server, id, ()| async move { server.control.admin()?.account_remove(read(&id)?).await }),
        on(routes::ACCOUNT_TAKE, |server, id, ()| async move { server.control.admin()?.account_take(read(&id)?).await }),
        on(routes::ACCOUNT_ORIGINS, |server, id, ()| async move { server.control.admin()?.account_origins(read(&id)?).await }),
        on(routes::ACCOUNT_REBIND, |server, id, to| async move { server.control.admin()?.account_rebind(read(&id)?, to).await }),
        on(routes::LOGIN_BEGIN, |server, _, mut ask| async move {
            ask.actor = actor();
            server.control.admin()?.login_begin(ask).await
        }),
        on(routes::LOGIN_CONTINUE, |server, _, next| async move { server.control.admin()?.login_continue(next).await }),
        on(routes::LOGIN_CANCEL, |server, id, ()| async move { server.control.admin()?.login_cancel(id).await }),
        on(routes::USAGE, |server, _, ask| async move { server.control.admin()?.usage(ask).await }),
        on(routes::TOKEN, |server, _, mut ask| async move {
            ask.actor = actor();
            server.control.admin()?.token(ask).await
        }),
        on(routes::KEY_CREATE, |server, _, key| async move { server.control.admin()?.key_create(key).await }),
        on(routes::KEY_LIST, |server, _, ()| async move { server.control.admin()?.key_list().await }),
        on(routes::KEY_REVOKE, |server, id, ()| async move { server.control.admin()?.key_revoke(read::<Accessor>(&id)?).await }),
        on(routes::RELOAD, |server, _, ()| async move { server.control.reload().await }),
        on(routes::SHUTDOWN, |server, _, ()| async move {
            server.control.shutdown();
            Ok(server.control.facts())
        }),
    ]
}

/// Who asks. The peer was checked to be this user; what it says of itself is not believed.
fn actor() -> String {
    format!("uid {}", socket::own_uid())
}

/// The id in a path. What stands there is not repeated: somebody may have pasted a whole key.
fn read<T: std::str::FromStr<Err = InvalidId>>(id: &str) -> Result<T, AdminError> {
    id.parse().map_err(|error: InvalidId| AdminError::new(ErrorCode::Usage, format!("the path holds no {}: {}", error.what, error.why)))
}
