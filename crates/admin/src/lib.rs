//! The `Admin` seam: accounts, keys, tokens and status, and the shapes in which they cross a wire.
//!
//! The same types are the bodies of `/api/v1` and what every command prints with `--json`: documented, stable, and
//! without a secret but for the one that was asked for.

mod account;
mod check;
mod credits;
mod error;
mod event;
mod exposed;
mod key;
mod login;
mod status;
pub mod time_text;
mod usage;

pub use account::{
    AccountAdd, AccountAdded, AccountChange, AccountList, AccountOrigins, AccountTaken, AccountView, AddOutcome, BlockView, CredentialAdd,
    IdentityView, ImportReport, LOGIN_ENDS_SOON, OptionsSet, OptionsView, OriginsView, SkippedRow, SourceWord, StandingView, TakeOutcome,
    TokenAsk, TokenList, TokenView,
};
pub use check::{CHECK_TIMEOUT, CHECK_TIMEOUT_MAX, CheckAsk, CheckView, CompletionView, Unverifiable};
pub use credits::{AccountCreditsView, CreditsAsk, CreditsView, RedeemAsk, RedeemView, SavedResetView};
pub use error::{AdminError, ErrorBody, ErrorCode};
pub use event::{EVENTS_WAIT_MAX, EventKind, EventPage, EventView, EventsAsk, Renewal, Unblocking};
pub use exposed::Exposed;
pub use key::{KeyCreate, KeyCreated, KeyList, KeyView};
pub use login::{LoginAsk, LoginContinue, LoginExpects, LoginInput, LoginStep, LoginWayWord};
pub use status::{FaultView, InUse, ProcessList, ProviderStatus, Reloaded, StatusView};
pub use usage::{
    AccountUsageView, AmountView, CostView, LimitView, UsageAsk, UsagePoint, UsageSeries, UsageView, WasteView, role_word, source_word,
};

use claviger_domain::id::AccountId;
use claviger_domain::virtual_key::Accessor;
use claviger_runtime::BoxFuture;

/// The answer of the control plane, later.
pub type AdminAnswer<'a, T> = BoxFuture<'a, Result<T, AdminError>>;

/// The control plane. Implemented by the pool in this process and by a client over the socket.
///
/// Every change is on disk when its future resolves. Cancel safety: dropping a future never undoes a change.
pub trait Admin: Send + Sync + 'static {
    /// How the whole stands.
    fn status(&self) -> AdminAnswer<'_, StatusView>;

    /// What is in use: keys with requests in flight, and the accounts that serve them.
    fn processes(&self) -> AdminAnswer<'_, ProcessList>;

    /// All accounts.
    fn account_list(&self) -> AdminAnswer<'_, AccountList>;

    /// Stores accounts; a row that cannot be stored is skipped by name and harms no other.
    fn account_import(&self, accounts: Vec<AccountAdd>) -> AdminAnswer<'_, ImportReport>;

    /// Stores one account.
    fn account_add(&self, account: AccountAdd) -> AdminAnswer<'_, AccountAdded>;

    /// Changes what a person may set.
    fn account_change(&self, account: AccountId, change: AccountChange) -> AdminAnswer<'_, AccountView>;

    /// Removes an account and, where nothing else uses it, its secret.
    fn account_remove(&self, account: AccountId) -> AdminAnswer<'_, ()>;

    /// Ends the quarantine of an account: its refresh token is this vault's to redeem. So it is for every account on its grant.
    /// Audited before it is done. The login of another tool is refused: it is that tool's.
    fn account_take(&self, account: AccountId) -> AdminAnswer<'_, AccountTaken>;

    /// Where an account's secret may go, and where its provider is now.
    fn account_origins(&self, account: AccountId) -> AdminAnswer<'_, AccountOrigins>;

    /// Binds an account's secret, and with it every account on its grant, to where its provider is now, if that is still `to`:
    /// what somebody has seen and agreed to. Audited before it is done. Refused while a refresh is open. Answers with what was stored before.
    fn account_rebind(&self, account: AccountId, to: OriginsView) -> AdminAnswer<'_, AccountOrigins>;

    /// Lifts the blocks of one account, or of all; says how many were lifted.
    fn account_unblock(&self, account: Option<AccountId>) -> AdminAnswer<'_, u64>;

    /// Asks the provider whether it still takes an account; a login that is due is refreshed first. Nothing that is found here
    /// switches an account off, save that a refresh finds its login dead.
    fn account_check(&self, ask: CheckAsk) -> AdminAnswer<'_, CheckView>;

    /// The saved resets of accounts, asked of their providers one after another; one that fails says why and harms no other.
    fn credits_list(&self, ask: CreditsAsk) -> AdminAnswer<'_, CreditsView>;

    /// Redeems a saved reset. Audited before it is done. What the provider decides is a code and no error; an error says that
    /// nobody knows what came of it, and how to repeat it without spending a second one.
    fn credits_redeem(&self, ask: RedeemAsk) -> AdminAnswer<'_, RedeemView>;

    /// What has happened since a cursor, or happens within a while.
    fn events(&self, ask: EventsAsk) -> AdminAnswer<'_, EventPage>;

    /// Begins a login; answers with what a person does first. What it keeps is in memory alone, for minutes.
    fn login_begin(&self, ask: LoginAsk) -> AdminAnswer<'_, LoginStep>;

    /// Goes on with a login. [`LoginStep::Stored`] comes once the account is on disk; an error ends the login.
    fn login_continue(&self, next: LoginContinue) -> AdminAnswer<'_, LoginStep>;

    /// Forgets a login that was begun; one that is over, or never was, is no error.
    fn login_cancel(&self, login: String) -> AdminAnswer<'_, ()>;

    /// What accounts have left. Accounts that nobody has told anything of are asked for first, all where `fresh` is set; one that
    /// fails shows what was told last, and why it is not newer.
    fn usage(&self, ask: UsageAsk) -> AdminAnswer<'_, UsageView>;

    /// A current access token or key, refreshed if it is due. Audited before it is given.
    fn token(&self, ask: TokenAsk) -> AdminAnswer<'_, TokenList>;

    /// Makes a virtual key; its text is in the answer and nowhere else.
    fn key_create(&self, key: KeyCreate) -> AdminAnswer<'_, KeyCreated>;

    /// All virtual keys, without their text.
    fn key_list(&self) -> AdminAnswer<'_, KeyList>;

    /// Revokes a virtual key.
    fn key_revoke(&self, accessor: Accessor) -> AdminAnswer<'_, KeyView>;
}
