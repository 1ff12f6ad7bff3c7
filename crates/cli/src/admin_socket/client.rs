//! `Admin` over the socket of a running server, a connection a call.

use super::body::{gathered, written};
use super::routes::{self, ANSWER_MAX_BYTES, ASK_MAX_BYTES, Import, Route, ServerFacts, ServerStatus, Unblock};
use super::socket;
use crate::error::CliError;
use claviger_admin::{
    AccountAdd, AccountAdded, AccountChange, AccountList, AccountOrigins, AccountTaken, AccountView, Admin, AdminAnswer, AdminError,
    CheckAsk, CheckView, CreditsAsk, CreditsView, ErrorBody, ErrorCode, EventPage, EventsAsk, ImportReport, KeyCreate, KeyCreated, KeyList,
    KeyView, LoginAsk, LoginContinue, LoginStep, OriginsView, ProcessList, RedeemAsk, RedeemView, Reloaded, StatusView, TokenAsk,
    TokenList, UsageAsk, UsageView,
};
use claviger_domain::id::AccountId;
use claviger_domain::virtual_key::Accessor;
use claviger_runtime::{Clock, SystemClock};
use http::{Request, Response, header};
use http_body_util::{Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// The longest that a call may take: a token may wait for a refresh, whose own deadline is far below.
const CALL_TIMEOUT: Duration = Duration::from_mins(2);

/// The control plane of a running server.
#[derive(Debug, Clone)]
pub struct AdminClient {
    socket: PathBuf,
}

/// A client for the server on this socket; `None` where none runs.
pub async fn connect(socket: &Path) -> Result<Option<AdminClient>, CliError> {
    let listens = socket::dial(socket).await?.is_some();
    Ok(listens.then(|| AdminClient { socket: socket.to_path_buf() }))
}

impl AdminClient {
    /// The status with the facts of the process.
    pub async fn server_status(&self) -> Result<ServerStatus, AdminError> {
        self.call(&routes::STATUS, "", &()).await
    }

    /// Makes the server read its configuration again.
    pub async fn reload(&self) -> Result<Reloaded, AdminError> {
        self.call(&routes::RELOAD, "", &()).await
    }

    /// Asks the server to stop; its end comes after the answer.
    pub async fn shutdown(&self) -> Result<ServerFacts, AdminError> {
        self.call(&routes::SHUTDOWN, "", &()).await
    }

    async fn call<A: Serialize, R: DeserializeOwned>(&self, route: &Route<A, R>, id: &str, ask: &A) -> Result<R, AdminError> {
        let body = written(ask).map_err(|error| AdminError::failed(&error))?;
        if body.len() > ASK_MAX_BYTES {
            let message = format!("this is more than a running server takes at once, {ASK_MAX_BYTES} bytes");
            return Err(AdminError::new(ErrorCode::Usage, message).hint("claviger down, then the same again"));
        }
        let request = Request::builder()
            .method(route.method.clone())
            .uri(route.path_for(id))
            .header(header::HOST, "claviger")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_owner(body)))
            .map_err(|error| AdminError::failed(&error))?;
        let (status, answer) = tokio::select! {
            answer = self.exchange(request) => answer?,
            () = SystemClock.sleep(CALL_TIMEOUT) => {
                return Err(AdminError::new(ErrorCode::Failed, format!("the server gave no answer within {} s", CALL_TIMEOUT.as_secs())).hint("claviger logs"));
            }
        };
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|error| unreadable(&error));
        }
        Err(serde_json::from_slice::<ErrorBody>(&answer).map_or_else(|error| unreadable(&error), |body| body.error))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(http::StatusCode, Zeroizing<Vec<u8>>), AdminError> {
        let stream = socket::dial(&self.socket).await.map_err(|error| error.0)?.ok_or_else(gone)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::<UnixStream>::new(stream)).await.map_err(|error| lost(&error))?;
        let exchange = async {
            let answer: Response<Incoming> = sender.send_request(request).await.map_err(|error| lost(&error))?;
            let status = answer.status();
            let body = gathered(Limited::new(answer.into_body(), ANSWER_MAX_BYTES)).await;
            let body = body.map_err(|error| AdminError::failed(&*error).hint("claviger logs"))?;
            Ok((status, body))
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection ends by itself once the answer is in the buffers; the exchange then takes it from there.
            ended = connection => {
                ended.map_err(|error| lost(&error))?;
                exchange.await
            }
        }
    }
}

fn gone() -> AdminError {
    AdminError::new(ErrorCode::Failed, "the server has stopped").hint("claviger up -d")
}

fn lost(error: &hyper::Error) -> AdminError {
    let AdminError { message, .. } = AdminError::failed(error);
    AdminError::new(ErrorCode::Failed, format!("the connection to the server was lost: {message}")).hint("claviger status")
}

fn half_said() -> AdminError {
    AdminError::new(ErrorCode::Failed, "the server does not say how the vault stands, it may be another version")
        .hint("claviger down && claviger up -d")
}

/// The parser's own words quote what it read, and that may be a secret.
fn unreadable(error: &serde_json::Error) -> AdminError {
    let place = format!("line {}, column {}", error.line(), error.column());
    AdminError::new(ErrorCode::Failed, format!("the server's answer cannot be read, it may be another version: {place}"))
        .hint("claviger down && claviger up -d")
}

impl Admin for AdminClient {
    fn status(&self) -> AdminAnswer<'_, StatusView> {
        Box::pin(async {
            let ServerStatus { sealed, status, .. } = self.server_status().await?;
            status.ok_or_else(|| sealed.map_or_else(half_said, |sealed| sealed.error()))
        })
    }

    fn processes(&self) -> AdminAnswer<'_, ProcessList> {
        Box::pin(async { self.call(&routes::PROCESSES, "", &()).await })
    }

    fn account_list(&self) -> AdminAnswer<'_, AccountList> {
        Box::pin(async { self.call(&routes::ACCOUNT_LIST, "", &()).await })
    }

    fn account_import(&self, accounts: Vec<AccountAdd>) -> AdminAnswer<'_, ImportReport> {
        Box::pin(async move { self.call(&routes::ACCOUNT_IMPORT, "", &Import { accounts }).await })
    }

    fn account_add(&self, account: AccountAdd) -> AdminAnswer<'_, AccountAdded> {
        Box::pin(async move { self.call(&routes::ACCOUNT_ADD, "", &account).await })
    }

    fn account_change(&self, account: AccountId, change: AccountChange) -> AdminAnswer<'_, AccountView> {
        Box::pin(async move { self.call(&routes::ACCOUNT_CHANGE, &account.to_string(), &change).await })
    }

    fn account_remove(&self, account: AccountId) -> AdminAnswer<'_, ()> {
        Box::pin(async move { self.call(&routes::ACCOUNT_REMOVE, &account.to_string(), &()).await })
    }

    fn account_take(&self, account: AccountId) -> AdminAnswer<'_, AccountTaken> {
        Box::pin(async move { self.call(&routes::ACCOUNT_TAKE, &account.to_string(), &()).await })
    }

    fn account_origins(&self, account: AccountId) -> AdminAnswer<'_, AccountOrigins> {
        Box::pin(async move { self.call(&routes::ACCOUNT_ORIGINS, &account.to_string(), &()).await })
    }

    fn account_rebind(&self, account: AccountId, to: OriginsView) -> AdminAnswer<'_, AccountOrigins> {
        Box::pin(async move { self.call(&routes::ACCOUNT_REBIND, &account.to_string(), &to).await })
    }

    fn account_unblock(&self, account: Option<AccountId>) -> AdminAnswer<'_, u64> {
        let ask = Unblock { account: account.map(|account| account.0) };
        Box::pin(async move { Ok(self.call(&routes::ACCOUNT_UNBLOCK, "", &ask).await?.lifted) })
    }

    fn account_check(&self, ask: CheckAsk) -> AdminAnswer<'_, CheckView> {
        Box::pin(async move { self.call(&routes::ACCOUNT_CHECK, "", &ask).await })
    }

    fn credits_list(&self, ask: CreditsAsk) -> AdminAnswer<'_, CreditsView> {
        Box::pin(async move { self.call(&routes::CREDITS_LIST, "", &ask).await })
    }

    fn credits_redeem(&self, ask: RedeemAsk) -> AdminAnswer<'_, RedeemView> {
        Box::pin(async move { self.call(&routes::CREDITS_REDEEM, "", &ask).await })
    }

    fn events(&self, ask: EventsAsk) -> AdminAnswer<'_, EventPage> {
        Box::pin(async move { self.call(&routes::EVENTS, "", &ask).await })
    }

    fn login_begin(&self, ask: LoginAsk) -> AdminAnswer<'_, LoginStep> {
        Box::pin(async move { self.call(&routes::LOGIN_BEGIN, "", &ask).await })
    }

    fn login_continue(&self, next: LoginContinue) -> AdminAnswer<'_, LoginStep> {
        Box::pin(async move { self.call(&routes::LOGIN_CONTINUE, "", &next).await })
    }

    fn login_cancel(&self, login: String) -> AdminAnswer<'_, ()> {
        Box::pin(async move { self.call(&routes::LOGIN_CANCEL, &login, &()).await })
    }

    fn usage(&self, ask: UsageAsk) -> AdminAnswer<'_, UsageView> {
        Box::pin(async move { self.call(&routes::USAGE, "", &ask).await })
    }

    fn token(&self, ask: TokenAsk) -> AdminAnswer<'_, TokenList> {
        Box::pin(async move { self.call(&routes::TOKEN, "", &ask).await })
    }

    fn key_create(&self, key: KeyCreate) -> AdminAnswer<'_, KeyCreated> {
        Box::pin(async move { self.call(&routes::KEY_CREATE, "", &key).await })
    }

    fn key_list(&self) -> AdminAnswer<'_, KeyList> {
        Box::pin(async { self.call(&routes::KEY_LIST, "", &()).await })
    }

    fn key_revoke(&self, accessor: Accessor) -> AdminAnswer<'_, KeyView> {
        Box::pin(async move { self.call(&routes::KEY_REVOKE, accessor.as_str(), &()).await })
    }
}
