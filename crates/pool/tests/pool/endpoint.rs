//! A token endpoint that sends the bytes it is told to, whatever they are: no HTTP library stands in between.

use claviger_domain::origin::Origin;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What every refresh token at this endpoint begins with; the name of its answer follows.
pub(crate) const REFRESH: &str = "canary-rt-";

/// Answers one request for the refresh token of this name. The connection closes when it has ended.
pub(crate) type Answer = Arc<dyn Fn(String, TcpStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

pub(crate) struct Endpoint {
    origin: Origin,
    posts: watch::Receiver<BTreeMap<String, u32>>,
    #[expect(dead_code, reason = "held for its Drop, which ends the server")]
    server: JoinSet<()>,
}

impl Endpoint {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (counted, posts) = watch::channel(BTreeMap::new());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (answer, counted) = (Arc::clone(&answer), counted.clone());
                connections.spawn(async move {
                    let Some(name) = asked_for(&mut stream).await else { return };
                    counted.send_modify(|posts| *posts.entry(name.clone()).or_default() += 1);
                    answer(name, stream).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { origin, posts, server }
    }

    /// One that sends these bytes, by name, and closes.
    pub(crate) async fn of(answers: BTreeMap<String, Vec<u8>>) -> Self {
        let answers = Arc::new(Mutex::new(answers));
        Self::start(Arc::new(move |name, mut stream| {
            let bytes = answers.lock().unwrap().get(&name).unwrap().clone();
            Box::pin(async move {
                // A client that has had enough closes first.
                drop(stream.write_all(&bytes).await);
                drop(stream.shutdown().await);
            })
        }))
        .await
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// How often the refresh token of this name was sent.
    pub(crate) fn posts(&self, name: &str) -> u32 {
        self.posts.borrow().get(name).copied().unwrap_or_default()
    }
}

/// Reads one request and finds its refresh token's name.
async fn asked_for(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() < length.parse().unwrap() {
            continue;
        }
        let (_, name) = text.split_once(REFRESH).unwrap();
        return Some(name.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect());
    }
}
