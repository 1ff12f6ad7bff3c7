//! A client that writes requests by hand, since the byte on the wire is what is tested.

use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A request as a list of lines.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &'static str, target: &str) -> Self {
        Self { method, target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes; `Host` and `Content-Length` are added where they were not written.
    pub fn bytes(&self, addr: SocketAddr) -> Vec<u8> {
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target)];
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if !has("host") {
            lines.push(format!("Host: {addr}"));
        }
        if !self.body.is_empty() && !has("content-length") && !has("transfer-encoding") {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        [lines.join("\r\n").as_bytes(), b"\r\n\r\n", &self.body].concat()
    }
}

/// An answer whose body is still coming, over a connection of its own.
pub struct Open {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Incoming,
    connection: tokio::task::JoinSet<()>,
}

impl Open {
    /// The next piece of the body; `None` at its proper end, an error where it broke off.
    pub async fn next(&mut self) -> Option<Result<String, hyper::Error>> {
        let frame = self.body.frame().await?;
        Some(frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()))
    }

    pub async fn whole(self) -> Answer {
        let Self { status, headers, body, connection } = self;
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        drop(connection);
        Answer { status, headers, body }
    }

    /// Closes the connection at once.
    pub async fn hang_up(mut self) {
        self.connection.shutdown().await;
    }
}

/// Sends over a connection of its own and returns with the head of the answer.
pub async fn open(addr: SocketAddr, request: &Request) -> Open {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        drop(connection.await);
    });
    let mut outgoing = http::Request::builder().method(request.method).uri(&request.target);
    for (name, value) in &request.headers {
        outgoing = outgoing.header(name, value);
    }
    if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        outgoing = outgoing.header("host", addr.to_string());
    }
    let body = http_body_util::Full::new(bytes::Bytes::from(request.body.clone()));
    let response = sender.send_request(outgoing.body(body).unwrap()).await.unwrap();
    tasks.spawn(async move {
        // The connection lives as long as somebody could send on it.
        let _sender = sender;
        std::future::pending::<()>().await;
    });
    let (parts, body) = response.into_parts();
    Open { status: parts.status, headers: parts.headers, body, connection: tasks }
}

/// Writes bytes and returns all that comes back until the other side closes.
pub async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as a close.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}
