//! A server that starts before its keyring opens, in this process, on a clock and a keyring that the tests move.

use super::ASK_AGAIN_EVERY;
use crate::admin_socket::{self, AdminClient};
use crate::args::{GlobalArgs, SealKind};
use crate::commands::init;
use crate::context::Context;
use crate::env::Env;
use crate::os_keyring::simulated::{Mood, SimKeyring};
use crate::os_keyring::{KEYRING_WITHIN, Keyring};
use crate::server::{Server, ServerOptions};
use crate::wire_up;
use claviger_admin::{Admin, ErrorCode, KeyCreate};
use claviger_runtime::{Clock, Supervisor, TaskEnd};
use claviger_testkit::SimClock;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const CHAT: &str = "/v1/chat/completions";

/// How long the end of a server may take on the real clock before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    keyring: Arc<SimKeyring>,
    clock: Arc<SimClock>,
    context: Context,
    /// A virtual key of the vault.
    key: String,
    _root: TempDir,
}

impl Stage {
    /// A vault whose key is in a keyring that is open.
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = |below: &str| root.path().join(below).display().to_string();
        let env =
            Env::fixed(&[("HOME", &path("user")), ("CLAVIGER_HOME", &path("data")), ("CLAVIGER_CONFIG", &path("settings/config.toml"))]);
        let (keyring, clock) = (Arc::new(SimKeyring::default()), Arc::new(SimClock::new()));
        let time: Arc<dyn Clock> = clock.clone();
        let context = Context::on(env, GlobalArgs::default(), time.clone(), Keyring::new(keyring.clone(), time)).unwrap();
        init::create(&context, SealKind::Keyring).await.unwrap();
        let opened = wire_up::open(&context).await.unwrap();
        let key = opened.pool.key_create(KeyCreate::default()).await.unwrap().key.expose().to_owned();
        opened.close().await;
        Self { keyring, clock, context, key, _root: root }
    }

    /// Starts a server on a free port; a keyring that hangs is given up on this clock.
    async fn start(&self) -> Server {
        let options = ServerOptions {
            over: wire_up::Overrides { listen: Some("127.0.0.1:0".parse().unwrap()), ..wire_up::Overrides::default() },
            ..ServerOptions::default()
        };
        let asked = self.keyring.asked();
        let prepared = Server::prepare(&self.context, options);
        let give_up = async {
            self.keyring.asked_times(asked + 1).await;
            self.clock.sleeping(1).await;
            self.clock.advance(KEYRING_WITHIN);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            server = prepared => server.unwrap(),
            () = give_up => unreachable!("it waits for ever"),
        }
    }

    async fn run(&self, server: Server) -> Running {
        let listen = server.facts().listen.clone();
        let supervisor = Supervisor::new();
        let (ready, is_ready) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        supervisor.spawn("server", async move {
            let say = || {
                ready.send(()).unwrap();
                Ok(())
            };
            ended.send(server.run(say).await).unwrap();
        });
        is_ready.await.unwrap();
        let client = admin_socket::connect(&self.context.paths.socket).await.unwrap().unwrap();
        Running { supervisor, listen, client, end }
    }

    /// Lets the server ask the keyring once more.
    async fn next_question(&self) {
        let asked = self.keyring.asked();
        self.clock.advance(ASK_AGAIN_EVERY);
        self.keyring.asked_times(asked + 1).await;
    }
}

struct Running {
    supervisor: Supervisor,
    listen: String,
    client: AdminClient,
    end: oneshot::Receiver<Result<(), crate::error::CliError>>,
}

impl Running {
    async fn why(&self) -> Option<String> {
        self.client.server_status().await.unwrap().sealed.map(|sealed| sealed.why)
    }

    async fn down(self) {
        self.client.shutdown().await.unwrap();
        self.end.await.unwrap().unwrap();
        assert_eq!(self.supervisor.stop(PATIENCE).await, TaskEnd::Drained);
    }
}

/// A connection of a client, which stays open.
struct Client(TcpStream);

impl Client {
    async fn connect(running: &Running) -> Self {
        Self(TcpStream::connect(&running.listen).await.unwrap())
    }

    /// Status, head and body of one exchange.
    async fn ask(&mut self, method: &str, path: &str, key: &str) -> (u16, String, String) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-length: 2\r\n\r\n{{}}");
        self.0.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8(bytes.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
                if body.len() >= length {
                    return (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned());
                }
            }
            assert!(self.0.read_buf(&mut bytes).await.unwrap() > 0, "the connection ended: {text}");
        }
    }
}

#[tokio::test]
async fn a_server_whose_keyring_hangs_answers_sealed_and_serves_once_it_opens_on_the_same_connection() {
    let stage = Stage::new().await;
    stage.keyring.set(Mood::Hangs);
    let server = stage.start().await;
    assert!(server.sealed().unwrap().why.contains("no answer within 5 s"));
    let running = stage.run(server).await;

    let mut client = Client::connect(&running).await;
    let (status, head, body) = client.ask("POST", CHAT, &stage.key).await;
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: "), "{head}");
    assert!(body.contains(r#""code":"sealed""#) && body.contains("hint: "), "{body}");
    for (path, shape) in [
        ("/v1/messages", r#"{"type":"error","error":{"type":"#),
        ("/anthropic/v1/messages", r#"{"type":"error","error":{"type":"#),
        ("/v1/responses", r#"{"error":{"message":"#),
        ("/v1beta/models/m:generateContent", r#"{"error":{"code":503,"message":"#),
        ("/nobody/knows/this", r#"{"error":{"message":"#),
    ] {
        for key in ["", "clv_k_unknown", &stage.key] {
            let (status, _, body) = client.ask("POST", path, key).await;
            assert!(status == 503 && body.starts_with(shape) && body.contains("the vault is sealed"), "{path}: {status} {body}");
        }
    }
    assert_eq!(client.ask("GET", "/livez", "").await.0, 200);
    let (status, _, body) = client.ask("GET", "/readyz", "").await;
    assert!(status == 503 && body.contains("sealed"), "{status} {body}");

    assert_eq!(running.client.account_list().await.unwrap_err().code, ErrorCode::Sealed);
    assert_eq!(running.client.status().await.unwrap_err().code.exit_code(), 3);
    stage.keyring.set(Mood::Locked);
    stage.next_question().await;
    while running.why().await.as_deref() != Some("the keyring is locked") {}

    stage.keyring.set(Mood::Open);
    stage.next_question().await;
    while running.why().await.is_some() {}
    let (status, _, body) = client.ask("POST", CHAT, &stage.key).await;
    assert!(status == 403 && body.contains(r#""code":"no_credential""#), "{status} {body}");
    assert_eq!(client.ask("GET", "/readyz", "").await.0, 200);
    assert_eq!(running.client.key_list().await.unwrap().keys.len(), 1);
    let asked = stage.keyring.asked();
    stage.clock.advance(ASK_AGAIN_EVERY * 10);
    assert_eq!(running.client.key_list().await.unwrap().keys.len(), 1);
    assert_eq!(stage.keyring.asked(), asked, "an open vault asks the keyring no more");
    running.down().await;
}

#[tokio::test]
async fn a_sealed_server_ends_at_once_while_its_keyring_hangs() {
    let stage = Stage::new().await;
    stage.keyring.set(Mood::Absent);
    let running = stage.run(stage.start().await).await;
    stage.keyring.set(Mood::Hangs);
    stage.next_question().await;
    running.down().await;
    assert!(admin_socket::connect(&stage.context.paths.socket).await.unwrap().is_none());
}

#[tokio::test]
async fn what_no_waiting_helps_is_the_end_of_the_start() {
    let stage = Stage::new().await;
    let entry = stage.keyring.entries().remove(0);
    stage.keyring.put(&entry, "no key");
    let options = || ServerOptions {
        over: wire_up::Overrides { listen: Some("127.0.0.1:0".parse().unwrap()), ..wire_up::Overrides::default() },
        ..ServerOptions::default()
    };
    let error = Server::prepare(&stage.context, options()).await.unwrap_err();
    assert!(error.exit_code() == 3 && error.0.message.contains("holds no key"), "{error}");
    stage.keyring.put(&entry, &"0f".repeat(32));
    let error = Server::prepare(&stage.context, options()).await.unwrap_err();
    assert_eq!(error.exit_code(), 3, "another key is not the vault's: {error}");
}

#[tokio::test]
async fn a_command_that_needs_the_vault_gives_a_hanging_keyring_up() {
    let stage = Stage::new().await;
    stage.keyring.set(Mood::Hangs);
    let asked = stage.keyring.asked();
    let give_up = async {
        stage.keyring.asked_times(asked + 1).await;
        stage.clock.advance(KEYRING_WITHIN);
    };
    let (opened, ()) = tokio::join!(wire_up::open(&stage.context), give_up);
    let error = opened.unwrap_err();
    assert!(error.exit_code() == 3 && error.0.message.contains("no answer within 5 s"), "{error}");
}

#[tokio::test]
async fn init_makes_no_vault_that_its_keyring_does_not_open_and_no_key_for_a_vault_that_is_there() {
    let stage = Stage::new().await;
    let entries = stage.keyring.entries();
    let error = init::create(&stage.context, SealKind::Keyring).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(stage.keyring.entries(), entries);
    std::fs::remove_dir_all(&stage.context.paths.home).unwrap();
    for mood in [Mood::Locked, Mood::Absent, Mood::Forgets] {
        stage.keyring.set(mood);
        let error = init::create(&stage.context, SealKind::Keyring).await.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{mood:?}: {error}");
        assert!(!claviger_store::vault_exists(&stage.context.paths.home), "{mood:?}");
    }
}
