//! Logins that another tool owns: its file is read when it changed, and never written. What is wrong with it is kept as the
//! grant's notice, for people.

mod take;

pub(crate) use take::{Refusal, held_back, take_over, taken_from, watch};

use crate::Inner;
use crate::account::AccountLive;
use crate::grant::GrantLive;
use crate::limits::FOLLOWED_READ_MAX;
use claviger_domain::credential::{Custody, GrantState, Source};
use claviger_domain::generation::{Generation, Offer, belongs_to_another, offer};
use claviger_domain::id::AccountId;
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::refresh::{Failure, Outcome};
use claviger_providers::import::{FollowFault, FollowedLogin, ImportError, followed_owner, read_followed, read_login_file};
use claviger_store::{AccountDraft, GrantCommit, GrantRow, GrantSecret, StoreError, Write};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// What becomes of a followed login whose file gives nothing newer.
const USED_UP: &str = "the token that is here serves until it ends";

/// Reads the file of the tool again and stores what is newer. The caller holds the grant's lock.
///
/// A file that is gone, unreadable, logged out or older, or that holds another account's login, changes nothing: the token
/// that is here is used up.
pub(crate) async fn renew(
    inner: &Arc<Inner>,
    grant: &Arc<GrantLive>,
    profile: &Arc<ProviderProfile>,
    row: GrantRow,
    path: &Path,
) -> Outcome {
    let nothing_new = Outcome::Failed { why: Failure::PutOff, retry_at: None };
    let kept = |why: &str| {
        grant.notice(Some(format!("{}: {why}; {USED_UP}", path.display())));
        inner.publish(grant, &row);
    };
    let login = match read(inner, profile, path).await {
        Ok(login) => login,
        Err(fault) => {
            kept(&fault.to_string());
            return nothing_new;
        }
    };
    let GrantSecret::OAuth { access, .. } = &row.secret else { return Outcome::Adopted };
    if access.expose() == login.access.expose() {
        grant.notice(None);
        inner.publish(grant, &row);
        return Outcome::Adopted;
    }
    match offer_to(inner, &row, &login, grant.was_refused(row.revision)) {
        Offer::Newer => {}
        Offer::Older => {
            kept("it holds an older login than the one that is here");
            return Outcome::Adopted;
        }
        Offer::Stub => {
            kept("its tool is logged out");
            return nothing_new;
        }
        Offer::Anothers => {
            kept("it holds the login of another account now and is left alone");
            return nothing_new;
        }
    }
    grant.notice(None);
    match commit(inner, &row, login).await {
        Ok(()) => Outcome::Refreshed,
        Err(error) => {
            tracing::error!(grant.id = %grant.id, error = %error, "a followed login could not be stored");
            Outcome::Failed { why: Failure::Storage, retry_at: None }
        }
    }
}

/// The account that follows the file of a draft already, so that a file which names no owner is not followed twice.
pub(crate) fn follower_of_file(inner: &Inner, draft: &AccountDraft) -> Option<AccountId> {
    let same_file = |account: &&Arc<AccountLive>| {
        account.row.provider == draft.provider
            && account.grant.facts().custody == draft.grant.custody
            && !belongs_to_another(&account.row.identity, &draft.identity)
    };
    let is_imported = matches!(draft.grant.custody, Custody::Followed { .. }) && draft.source == Source::Imported;
    is_imported.then(|| inner.view.load().accounts.values().find(same_file).map(|account| account.row.id)).flatten()
}

/// Why a draft that follows a file is not to be stored: what is here is worth more. The caller holds the locks of the grants that
/// the draft may replace.
pub(crate) async fn outranked(inner: &Inner, draft: &AccountDraft) -> Result<Option<String>, StoreError> {
    let (Custody::Followed { path }, Source::Imported) = (&draft.grant.custody, draft.source) else { return Ok(None) };
    let GrantSecret::OAuth { access: offered, .. } = &draft.grant.secret else { return Ok(None) };
    let taken: Vec<_> = inner.store.taken_list().await?.into_iter().filter(|taken| taken.path == *path).collect();
    let key = draft.identity.key();
    let (known, taken) = {
        let view = inner.view.load();
        let of_provider = || view.accounts.values().filter(|account| account.row.provider == draft.provider);
        let is_known =
            |account: &&Arc<AccountLive>| draft.onto == Some(account.row.id) || (key.is_some() && account.row.identity.key() == key);
        let was_taken = |account: &&Arc<AccountLive>| {
            let identity = &account.row.identity;
            taken.iter().any(|taken| taken.grant == account.row.grant) && !belongs_to_another(identity, &draft.identity)
        };
        let known = of_provider().find(is_known).map(|account| (account.row.id, account.row.grant));
        (known, of_provider().find(was_taken).map(|account| account.row.id))
    };
    if let Some(account) = taken {
        let why = format!(
            "account {account} was taken over from {}: claviger account take {account} takes over what it holds now",
            path.display()
        );
        return Ok(Some(why));
    }
    let Some((account, grant)) = known else { return Ok(None) };
    let Some(row) = inner.store.grant_load(grant).await? else { return Ok(None) };
    let GrantSecret::OAuth { access: held, refresh } = &row.secret else { return Ok(None) };
    if row.state != GrantState::Live || held.expose() == offered.expose() {
        return Ok(None);
    }
    if row.custody == Custody::Owned && refresh.is_some() {
        return Ok(Some(format!("account {account} has a login of its own that is refreshed here, and needs none of {}", path.display())));
    }
    let now = inner.clock.now();
    let generation = |expires_at| Generation { expires_at, refreshable: true, owner: Identity::default() };
    let is_older = offer(&generation(row.expires_at), &generation(draft.grant.expires_at), false, now) == Offer::Older;
    Ok(is_older.then(|| format!("{} holds an older login of account {account} than the one that is here", path.display())))
}

async fn commit(inner: &Arc<Inner>, row: &GrantRow, login: FollowedLogin) -> Result<(), StoreError> {
    // Its refresh token stays with the tool.
    let secret = GrantSecret::OAuth { access: login.access.into_text(), refresh: None };
    let commit = GrantCommit {
        grant: row.id,
        from: row.revision,
        secret,
        expires_at: login.expires_at,
        issued_at: inner.clock.now(),
        attempt: None,
    };
    let written = inner.store.grant_commit(commit).await?;
    if let Some(row) = inner.store.grant_load(row.id).await?
        && let Some(grant) = inner.view.load().grants.get(&row.id)
    {
        inner.publish(grant, &row);
    }
    if written == Write::Stale {
        tracing::debug!("another process followed the same change first");
    }
    Ok(())
}

/// What becomes of a login that a file offers to a grant. One that names no owner is taken at the file's word.
fn offer_to(inner: &Inner, row: &GrantRow, login: &FollowedLogin, is_refused: bool) -> Offer {
    let view = inner.view.load();
    if view.accounts_of(row.id).any(|account| belongs_to_another(&account.row.identity, &login.identity)) {
        return Offer::Anothers;
    }
    let held = Generation { expires_at: row.expires_at, refreshable: true, owner: Identity::default() };
    let offered = Generation { expires_at: login.expires_at, refreshable: login.refresh.is_some(), owner: Identity::default() };
    offer(&held, &offered, is_refused, inner.clock.now())
}

/// Why a followed file gives no login.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    /// It is not there.
    #[error("it is gone")]
    Gone,
    /// It cannot be read.
    #[error("it cannot be read ({0})")]
    Unreadable(String),
    /// It holds none that serves.
    #[error(transparent)]
    Fault(#[from] FollowFault),
}

impl From<ImportError> for ReadFault {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::NotFound { .. } => Self::Gone,
            ImportError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound => Self::Gone,
            ImportError::Unreadable { source, .. } => Self::Unreadable(source.to_string()),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

/// What a file holds for a provider, with whose it is as far as the tool says so anywhere.
async fn read(inner: &Inner, profile: &Arc<ProviderProfile>, path: &Path) -> Result<FollowedLogin, ReadFault> {
    let (path, profile) = (path.to_owned(), Arc::clone(profile));
    let read = tokio::task::spawn_blocking(move || {
        let text = read_login_file(&path)?;
        let mut login = read_followed(&profile, &text)?;
        if let Some(owner) = followed_owner(login.format, &path) {
            login.identity = login.identity.completed_by(owner);
        }
        Ok(login)
    });
    // A keychain may ask a person, and the grant's lock is held.
    tokio::select! {
        read = read => read.unwrap_or_else(|error| Err(ReadFault::Unreadable(error.to_string()))),
        () = inner.clock.sleep(FOLLOWED_READ_MAX) => Err(ReadFault::Unreadable("the system does not answer".to_owned())),
    }
}
