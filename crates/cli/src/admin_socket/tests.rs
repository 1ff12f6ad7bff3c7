//! Every call over a real socket, against a control plane that writes down what it was asked.

use super::routes::ASK_MAX_BYTES;
use super::{AdminServer, SealedView, ServerControl, ServerFacts, SocketLock, connect, is_held};
use claviger_admin::{
    AccountAdd, AccountAdded, AccountChange, AccountList, AccountOrigins, AccountTaken, AccountView, AddOutcome, Admin, AdminAnswer,
    AdminError, CheckAsk, CheckView, CredentialAdd, CreditsAsk, CreditsView, ErrorCode, EventPage, EventsAsk, Exposed, IdentityView,
    ImportReport, KeyCreate, KeyCreated, KeyList, KeyView, LoginAsk, LoginContinue, LoginStep, OriginsView, ProcessList, RedeemAsk,
    RedeemView, Reloaded, SkippedRow, SourceWord, StandingView, StatusView, TakeOutcome, TokenAsk, TokenList, TokenView, UsageAsk,
    UsageView,
};
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Accessor;
use claviger_runtime::{BoxFuture, Supervisor, SystemClock};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    sealed: Mutex<Option<SealedView>>,
}

impl Fake {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }
}

fn account_view() -> AccountView {
    AccountView {
        id: 7,
        provider: "p".into(),
        kind: "api_key".into(),
        label: Some("l".into()),
        identity: IdentityView::default(),
        standing: StandingView::Active,
        blocks: Vec::new(),
        priority: 2,
        masked_key: None,
        options: claviger_admin::OptionsView::default(),
        plan: None,
        source: SourceWord::Login,
        grant: 3,
        grant_revision: 4,
        expires_at: Some(Timestamp(5000)),
        follows: None,
        notice: None,
        logged_in_at: None,
        login_ends_at: None,
        created_at: Timestamp(1000),
    }
}

fn key_view(id: &str) -> KeyView {
    KeyView {
        id: id.into(),
        label: None,
        providers: vec!["p".into()],
        accounts: vec![7],
        created_at: Timestamp(1000),
        expires_at: None,
        revoked_at: None,
        used_at: None,
    }
}

fn status_view() -> StatusView {
    StatusView {
        version: "1".into(),
        started_at: Timestamp(1000),
        providers: Vec::new(),
        degraded: Vec::new(),
        warnings: Vec::new(),
        faults: Vec::new(),
        keys_active: 1,
        requests_in_flight: 2,
        requests_total: 3,
        refreshes_total: 4,
        best_effort_failures: 5,
    }
}

impl Admin for Fake {
    fn status(&self) -> AdminAnswer<'_, StatusView> {
        Box::pin(async { Ok(status_view()) })
    }
    fn processes(&self) -> AdminAnswer<'_, ProcessList> {
        Box::pin(async { Ok(ProcessList::default()) })
    }
    fn account_list(&self) -> AdminAnswer<'_, AccountList> {
        Box::pin(async { Ok(AccountList { accounts: vec![account_view()] }) })
    }
    fn account_import(&self, accounts: Vec<AccountAdd>) -> AdminAnswer<'_, ImportReport> {
        let rows: Vec<String> = accounts.into_iter().map(|account| account.row).collect();
        self.note(format!("import {}", rows.join("+")));
        Box::pin(async { Ok(ImportReport { imported: Vec::new(), skipped: vec![SkippedRow { row: "row 1".into(), why: "w".into() }] }) })
    }
    fn account_add(&self, account: AccountAdd) -> AdminAnswer<'_, AccountAdded> {
        let CredentialAdd::ApiKey { key } = &account.credential else { panic!("a key was sent") };
        self.note(format!("add {} {}", account.provider, key.expose()));
        Box::pin(async { Ok(AccountAdded { outcome: AddOutcome::Created, account: account_view() }) })
    }
    fn account_change(&self, account: AccountId, change: AccountChange) -> AdminAnswer<'_, AccountView> {
        self.note(format!("change {account} {:?}", change.priority));
        Box::pin(async { Ok(account_view()) })
    }
    fn account_remove(&self, account: AccountId) -> AdminAnswer<'_, ()> {
        self.note(format!("remove {account}"));
        Box::pin(async { Err(AdminError::new(ErrorCode::NotFound, "there is no such account").hint("claviger account list")) })
    }
    fn account_take(&self, account: AccountId) -> AdminAnswer<'_, AccountTaken> {
        self.note(format!("take {account}"));
        Box::pin(async { Ok(AccountTaken { outcome: TakeOutcome::Taken, account: account_view(), steps: Vec::new() }) })
    }
    fn account_origins(&self, account: AccountId) -> AdminAnswer<'_, AccountOrigins> {
        self.note(format!("origins {account}"));
        Box::pin(async {
            Ok(AccountOrigins { account: account_view(), stored: OriginsView::default(), effective: OriginsView::default() })
        })
    }
    fn account_rebind(&self, account: AccountId, to: OriginsView) -> AdminAnswer<'_, AccountOrigins> {
        self.note(format!("rebind {account} {:?}", to.inference));
        Box::pin(async { Ok(AccountOrigins { account: account_view(), stored: OriginsView::default(), effective: to }) })
    }
    fn account_unblock(&self, account: Option<AccountId>) -> AdminAnswer<'_, u64> {
        self.note(format!("unblock {account:?}"));
        Box::pin(async { Ok(2) })
    }
    fn account_check(&self, ask: CheckAsk) -> AdminAnswer<'_, CheckView> {
        self.note(format!("check {} within {} ms", ask.account, ask.timeout_ms));
        Box::pin(async { Err(AdminError::new(ErrorCode::Refused, "it is switched off")) })
    }
    fn credits_list(&self, ask: CreditsAsk) -> AdminAnswer<'_, CreditsView> {
        self.note(format!("credits {:?}", ask.account));
        Box::pin(async { Ok(CreditsView::default()) })
    }
    fn credits_redeem(&self, ask: RedeemAsk) -> AdminAnswer<'_, RedeemView> {
        self.note(format!("redeem {} by {}", ask.target, ask.actor));
        let view =
            RedeemView { code: "reset".into(), account: Some(7), credit: ask.credit, request_id: ask.request_id, lifted: 1, reason: None };
        Box::pin(async move { Ok(view) })
    }
    fn events(&self, ask: EventsAsk) -> AdminAnswer<'_, EventPage> {
        self.note(format!("events {:?}", ask.since));
        Box::pin(async { Ok(EventPage { stream: "s1".into(), events: Vec::new(), missed: 2, last: 9 }) })
    }
    fn login_begin(&self, ask: LoginAsk) -> AdminAnswer<'_, LoginStep> {
        self.note(format!("login {} by {}", ask.provider, ask.actor));
        Box::pin(async { Ok(LoginStep::Waiting { login: "l1".into(), poll_after_ms: 5 }) })
    }
    fn login_continue(&self, next: LoginContinue) -> AdminAnswer<'_, LoginStep> {
        self.note(format!("go on with {}", next.login));
        Box::pin(async move { Ok(LoginStep::NotTaken { login: next.login, why: "w".into() }) })
    }
    fn login_cancel(&self, login: String) -> AdminAnswer<'_, ()> {
        self.note(format!("cancel {login}"));
        Box::pin(async { Ok(()) })
    }
    fn usage(&self, ask: UsageAsk) -> AdminAnswer<'_, UsageView> {
        self.note(format!("usage {:?} {:?}", ask.provider, ask.history_s));
        Box::pin(async { Ok(UsageView::default()) })
    }
    fn token(&self, ask: TokenAsk) -> AdminAnswer<'_, TokenList> {
        self.note(format!("token {} by {}", ask.provider, ask.actor));
        let token = TokenView {
            token: Exposed::new("at-1".into()),
            expires_at: None,
            account: 7,
            provider: "p".into(),
            kind: "oauth".into(),
            identity: IdentityView::default(),
        };
        Box::pin(async { Ok(TokenList { tokens: vec![token], skipped: Vec::new() }) })
    }
    fn key_create(&self, key: KeyCreate) -> AdminAnswer<'_, KeyCreated> {
        self.note(format!("create {:?}", key.label));
        Box::pin(async { Ok(KeyCreated { key: Exposed::new("clv_k1".into()), view: key_view("0123456789") }) })
    }
    fn key_list(&self) -> AdminAnswer<'_, KeyList> {
        Box::pin(async { Ok(KeyList { keys: vec![key_view("0123456789")] }) })
    }
    fn key_revoke(&self, accessor: Accessor) -> AdminAnswer<'_, KeyView> {
        Box::pin(async move { Ok(key_view(accessor.as_str())) })
    }
}

impl ServerControl for Fake {
    fn admin(&self) -> Result<&dyn Admin, AdminError> {
        self.sealed().map_or(Ok(self), |sealed| Err(sealed.error()))
    }
    fn sealed(&self) -> Option<SealedView> {
        self.sealed.lock().unwrap().clone()
    }
    fn facts(&self) -> ServerFacts {
        ServerFacts { pid: 1, listen: "l".into(), home: "h".into(), log: None, simulator: None }
    }
    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, AdminError>> {
        Box::pin(async { Ok(Reloaded { files: vec!["f".into()], providers: 2 }) })
    }
    fn shutdown(&self) {
        self.note("shutdown");
    }
}

struct Running {
    fake: Arc<Fake>,
    socket: PathBuf,
    supervisor: Arc<Supervisor>,
    lock: SocketLock,
    folder: tempfile::TempDir,
}

fn run() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("inner").join("admin.sock");
    let lock = SocketLock::take(&socket).unwrap().unwrap();
    let listener = lock.listen().unwrap();
    let fake = Arc::new(Fake::default());
    let supervisor = Arc::new(Supervisor::new());
    let server = AdminServer { control: fake.clone(), clock: Arc::new(SystemClock) };
    supervisor.spawn("server", server.serve(listener, supervisor.clone()));
    Running { fake, socket, supervisor, lock, folder }
}

fn key_add(row: &str) -> AccountAdd {
    AccountAdd::new(row, "p", CredentialAdd::ApiKey { key: Exposed::new("sk-test-1".into()) })
}

#[tokio::test]
async fn every_call_arrives_and_its_answer_comes_back() {
    let running = run();
    let client = connect(&running.socket).await.unwrap().unwrap();
    assert_eq!(client.status().await, Ok(status_view()));
    assert_eq!(client.server_status().await.unwrap().server, running.fake.facts());
    assert_eq!(client.processes().await, Ok(ProcessList::default()));
    assert_eq!(client.account_list().await.unwrap().accounts, [account_view()]);
    assert_eq!(client.account_import(vec![key_add("row 1"), key_add("row 2")]).await.unwrap().skipped.len(), 1);
    assert_eq!(client.account_add(key_add("row 1")).await.unwrap().account, account_view());
    let change = AccountChange { priority: Some(-3), ..AccountChange::default() };
    assert_eq!(client.account_change(AccountId(7), change).await, Ok(account_view()));
    let refused = AdminError::new(ErrorCode::NotFound, "there is no such account").hint("claviger account list");
    assert_eq!(client.account_remove(AccountId(9)).await, Err(refused));
    assert_eq!(client.account_take(AccountId(7)).await.unwrap().outcome, TakeOutcome::Taken);
    assert_eq!(client.account_origins(AccountId(7)).await.unwrap().stored, OriginsView::default());
    let to = OriginsView { inference: vec!["https://x.example:443".into()], ..OriginsView::default() };
    assert_eq!(client.account_rebind(AccountId(7), to.clone()).await.unwrap().effective, to);
    assert_eq!(client.account_unblock(Some(AccountId(7))).await, Ok(2));
    assert_eq!(client.account_unblock(None).await, Ok(2));
    let ask = TokenAsk { provider: "p".into(), account: None, all: false, session: None, actor: "a liar".into() };
    assert_eq!(client.token(ask).await.unwrap().tokens[0].token.expose(), "at-1");
    let key = KeyCreate { label: Some("ci".into()), ..KeyCreate::default() };
    assert_eq!(client.key_create(key).await.unwrap().key.expose(), "clv_k1");
    assert_eq!(client.key_list().await.unwrap().keys, [key_view("0123456789")]);
    assert_eq!(client.key_revoke("abcdefghij".parse().unwrap()).await, Ok(key_view("abcdefghij")));
    assert_eq!(client.reload().await.unwrap().providers, 2);
    assert_eq!(client.shutdown().await.unwrap().pid, 1);
    let uid = super::socket::own_uid();
    let expected = [
        "import row 1+row 2".to_owned(),
        "add p sk-test-1".to_owned(),
        "change 7 Some(-3)".to_owned(),
        "remove 9".to_owned(),
        "take 7".to_owned(),
        "origins 7".to_owned(),
        "rebind 7 [\"https://x.example:443\"]".to_owned(),
        "unblock Some(AccountId(7))".to_owned(),
        "unblock None".to_owned(),
        format!("token p by uid {uid}"),
        "create Some(\"ci\")".to_owned(),
        "shutdown".to_owned(),
    ];
    assert_eq!(*running.fake.asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_sealed_server_tells_how_it_stands_and_nothing_else() {
    let running = run();
    let sealed = SealedView { why: "the keyring is locked".into(), hint: "unlock it".into(), retry_at: Timestamp(1_000) };
    *running.fake.sealed.lock().unwrap() = Some(sealed.clone());
    let client = connect(&running.socket).await.unwrap().unwrap();
    let full = client.server_status().await.unwrap();
    assert_eq!((full.server, full.sealed, full.status), (running.fake.facts(), Some(sealed.clone()), None));
    for error in [client.status().await.unwrap_err(), client.key_list().await.unwrap_err(), client.account_list().await.unwrap_err()] {
        assert_eq!((error.code, error.code.exit_code()), (ErrorCode::Sealed, 3));
        assert_eq!(error, sealed.error());
    }
    assert_eq!(client.reload().await.unwrap().providers, 2);
    assert_eq!(client.shutdown().await.unwrap().pid, 1);
    assert_eq!(*running.fake.asked.lock().unwrap(), ["shutdown"]);
}

async fn raw(running: &Running, request: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(&running.socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_a_code() {
    let running = run();
    let head = "host: claviger\r\nconnection: close\r\n";
    for (request, status, code) in [
        (format!("GET /api/v1/status HTTP/1.1\r\n{head}origin: http://localhost\r\n\r\n"), "403", "refused"),
        (format!("GET /api/v1/nothing HTTP/1.1\r\n{head}\r\n"), "404", "not_found"),
        (format!("GET /api/v1/shutdown HTTP/1.1\r\n{head}\r\n"), "400", "usage"),
        (format!("DELETE /api/v1/accounts/x HTTP/1.1\r\n{head}\r\n"), "400", "usage"),
        (format!("POST /api/v1/keys HTTP/1.1\r\n{head}content-length: 8\r\n\r\n{{\"no\":1}}"), "400", "usage"),
        (format!("POST /api/v1/keys HTTP/1.1\r\n{head}content-length: {}\r\n\r\n", ASK_MAX_BYTES + 1), "400", "usage"),
    ] {
        let answer = raw(&running, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{request}: {answer}");
    }
    assert!(running.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_does_not_fit_is_never_quoted() {
    let running = run();
    for body in [
        r#"{"row":"x","provider":"p","credential":"canary-key"}"#,
        r#"{"row":"x","provider":"p","credential":{"type":"canary-key"}}"#,
        r#"{"canary-key":1}"#,
    ] {
        let head = format!("POST /api/v1/accounts HTTP/1.1\r\nhost: claviger\r\nconnection: close\r\ncontent-length: {}", body.len());
        let answer = raw(&running, &format!("{head}\r\n\r\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("does not fit"), "{answer}");
        assert!(!answer.contains("canary"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_more_than_a_server_takes_is_refused_before_it_is_sent() {
    let running = run();
    let accounts = vec![key_add(&"x".repeat(ASK_MAX_BYTES))];
    let client = connect(&running.socket).await.unwrap().unwrap();
    let error = client.account_import(accounts).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage);
    assert_eq!(error.hint.as_deref(), Some("claviger down, then the same again"));
}

#[tokio::test]
async fn socket_and_folder_are_closed_to_others_and_the_lock_is_exclusive() {
    let running = run();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&running.socket), 0o600);
    assert_eq!(mode(running.socket.parent().unwrap()), 0o700);
    assert!(SocketLock::take(&running.socket).unwrap().is_none());
    assert!(is_held(&running.socket).unwrap());
    let Running { lock, socket, supervisor, folder, .. } = running;
    drop(lock);
    assert!(!is_held(&socket).unwrap());
    // The socket file of a server that was killed is still there: the next server replaces it.
    let lock = SocketLock::take(&socket).unwrap().unwrap();
    let listener = lock.listen().unwrap();
    assert!(connect(&socket).await.unwrap().is_some());
    drop((listener, supervisor, folder));
    assert!(connect(&socket).await.unwrap().is_none(), "a stale socket counts as no server");
}

#[tokio::test]
async fn a_folder_that_others_can_enter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = SocketLock::take(&open.join("admin.sock")).unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(error.0.hint.unwrap().starts_with("chmod 700 "));
}
