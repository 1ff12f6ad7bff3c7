//! Listens on loopback for the browser that comes back from a login (RFC 8252 §7.3): one path, one answer, then polite refusals.

use claviger_admin::Exposed;
use claviger_runtime::{Clock, Supervisor, SystemClock};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Connections at once: a browser opens a few ahead of need.
const CONNECTIONS_MAX: usize = 16;

/// How long a head may take: the browser is on this machine, but it opens connections that it may never use.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of a head: a code may take a few KiB, and a browser sends cookies of other programs on this address.
const HEAD_MAX_BYTES: usize = 32 * 1024;

/// How long the last page has to get to the browser.
const LAST_PAGE_WITHIN: Duration = Duration::from_secs(2);

/// The pause after a failed accept, which means that the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often another free port is tried where the first one is free for one address family alone.
const PORTS_TRIED: usize = 8;

/// A browser that came back.
#[derive(Debug)]
pub struct Hit {
    /// The query of the address that it asked for.
    pub query: Exposed,
    /// What it is shown.
    pub page: oneshot::Sender<Page>,
}

/// What a browser is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The account is stored.
    Done,
    /// The login waits for a word in the terminal.
    Asks,
    /// The login failed; the terminal says why.
    Failed,
    /// That was not this login's answer.
    NotTaken,
    /// This login had its answer, or was given up.
    Over,
    /// Nothing is there.
    Absent,
    /// The address is not one of ours.
    Misdirected,
    /// Only GET.
    Method,
}

/// A listener for one login.
#[derive(Debug)]
pub struct Callback {
    port: u16,
    hits: mpsc::Receiver<Hit>,
    state: Arc<State>,
    supervisor: Supervisor,
}

#[derive(Debug)]
struct State {
    port: u16,
    path: String,
    /// Whether this login's answer has come.
    taken: AtomicBool,
    /// The turn to be looked at. One at a time: an answer that somebody else sends must not turn away the right one, which comes
    /// while it is looked at.
    turn: Semaphore,
    /// Guards the way to the command; held for one copy. `None` once the login is over.
    tell: Mutex<Option<mpsc::Sender<Hit>>>,
}

impl Callback {
    /// Listens on the loopback address that a host means, and on both for `localhost`: a browser may choose either, and whoever
    /// had the other one would get the code. Port 0 is any.
    pub async fn listen(host: &str, port: u16, path: &str) -> io::Result<Self> {
        let listeners = bind(host, port).await?;
        let port = listeners.first().map(TcpListener::local_addr).transpose()?.map_or(port, |address| address.port());
        let (tell, hits) = mpsc::channel(1);
        let (taken, turn, tell) = (AtomicBool::new(false), Semaphore::new(1), Mutex::new(Some(tell)));
        let state = Arc::new(State { port, path: path.to_owned(), taken, turn, tell });
        let supervisor = Supervisor::new();
        for listener in listeners {
            let (state, stopped) = (Arc::clone(&state), supervisor.stopped());
            supervisor.spawn("browser", accept(listener, state, stopped));
        }
        Ok(Self { port, hits, state, supervisor })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next browser that comes back; pending for ever once none can. Cancel safe.
    pub async fn hit(&mut self) -> Hit {
        match self.hits.recv().await {
            Some(hit) => hit,
            None => std::future::pending().await,
        }
    }

    /// Ends it, once the browser has its last page.
    pub async fn close(self) {
        self.state.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.supervisor.stop(LAST_PAGE_WITHIN).await;
    }
}

async fn bind(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        if !address.is_loopback() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the address is beyond loopback"));
        }
        return Ok(vec![TcpListener::bind(SocketAddr::new(address, port)).await?]);
    }
    let mut last = io::Error::from(ErrorKind::AddrInUse);
    for _turn in 0..PORTS_TRIED {
        let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let same = four.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, same)).await {
            Ok(six) => return Ok(vec![four, six]),
            Err(error) if error.kind() != ErrorKind::AddrInUse => return Ok(vec![four]),
            Err(error) if port != 0 => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Accepts until the login is over; what is under way then is still answered.
async fn accept(listener: TcpListener, state: Arc<State>, stopped: impl Future<Output = ()> + Send) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = Supervisor::new();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stopped => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (state, stopped) = (Arc::clone(&state), connections.stopped());
                connections.spawn("browser connection", async move {
                    converse(stream, state, stopped).await;
                    drop(slot);
                });
            }
            Err(_) => SystemClock.sleep(ACCEPT_PAUSE).await,
        }
    }
    connections.stop(LAST_PAGE_WITHIN).await;
}

async fn converse(stream: TcpStream, state: Arc<State>, stopped: impl Future<Output = ()>) {
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(state.answer(&request).await)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // A browser that leaves is no failure of the login.
    drop(ended);
}

impl State {
    async fn answer(&self, request: &Request<Incoming>) -> Page {
        if !self.is_meant(request) {
            return Page::Misdirected;
        }
        if request.uri().path() != self.path {
            return Page::Absent;
        }
        if request.method() != Method::GET {
            return Page::Method;
        }
        let query = request.uri().query().unwrap_or_default();
        if !query.split('&').any(|pair| pair.starts_with("code=") || pair.starts_with("error=")) {
            return Page::Absent;
        }
        let Ok(_turn) = self.turn.acquire().await else { return Page::Over };
        if self.taken.load(Ordering::Acquire) {
            return Page::Over;
        }
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(tell) = tell else { return Page::Over };
        let (page, shown) = oneshot::channel();
        if tell.send(Hit { query: Exposed::new(query.to_owned()), page }).await.is_err() {
            return Page::Over;
        }
        let page = shown.await.unwrap_or(Page::Over);
        self.taken.store(page != Page::NotTaken, Ordering::Release);
        page
    }

    /// Whether the browser meant this address: a name of somebody else's that leads here is refused.
    fn is_meant(&self, request: &Request<Incoming>) -> bool {
        let Some(host) = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
        let name = host.strip_suffix(&format!(":{}", self.port));
        name.is_some_and(|name| matches!(name.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]"))
    }
}

fn respond(page: Page) -> Response<Full<Bytes>> {
    let (status, title, text) = match page {
        Page::Done => (StatusCode::OK, "You are logged in", "Claviger has stored the account. You can close this page."),
        Page::Asks => (StatusCode::OK, "Almost there", "Claviger asks a question in the terminal. You can close this page."),
        Page::Failed => (StatusCode::OK, "The login did not succeed", "The terminal says why. You can close this page."),
        Page::NotTaken => (StatusCode::BAD_REQUEST, "Not taken", "That is not the answer to the login that is under way."),
        Page::Over => (StatusCode::GONE, "This login is over", "The terminal says how it went. You can close this page."),
        Page::Absent => (StatusCode::NOT_FOUND, "Nothing is here", "This address waits for a login, at another path."),
        Page::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "Not here", "This address answers to its own name alone."),
        Page::Method => (StatusCode::METHOD_NOT_ALLOWED, "Not like this", "This address is opened by a browser alone."),
    };
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n</html>\n"
    );
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if page == Page::Method {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(port: u16, query: &str) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let request = format!("GET /cb?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn read(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_answer_that_comes_while_a_forged_one_is_looked_at_has_its_turn() {
        let mut callback = Callback::listen("127.0.0.1", 0, "/cb").await.unwrap();
        let port = callback.port();
        let forged = ask(port, "code=forged").await;
        let first = callback.hit().await;
        let right = ask(port, "code=right").await;
        first.page.send(Page::NotTaken).unwrap();
        let second = callback.hit().await;
        assert_eq!(second.query.expose(), "code=right");
        second.page.send(Page::Done).unwrap();
        let (forged, right, late) = (read(forged).await, read(right).await, read(ask(port, "code=right").await).await);
        assert!(forged.contains("Not taken") && right.contains("You are logged in"), "{forged}\n{right}");
        assert!(late.starts_with("HTTP/1.1 410"), "{late}");
        callback.close().await;
    }

    #[tokio::test]
    async fn a_browser_that_leaves_at_once_takes_nobodys_turn() {
        let mut callback = Callback::listen("127.0.0.1", 0, "/cb").await.unwrap();
        let port = callback.port();
        drop(ask(port, "code=forged").await);
        let first = callback.hit().await;
        let right = ask(port, "code=right").await;
        // Whether the browser is still there to see it is not known.
        claviger_runtime::best_effort("tell a browser that has left", first.page.send(Page::NotTaken).map_err(|_left| "it has left"));
        let second = callback.hit().await;
        assert_eq!(second.query.expose(), "code=right");
        second.page.send(Page::Done).unwrap();
        assert!(read(right).await.contains("You are logged in"));
        callback.close().await;
    }
}
