//! Taking over a login that was followed: from then on it is refreshed here, and its tool must not. Its file is not written;
//! what the tool does with it afterwards is noticed.

use super::{offer_to, read};
use crate::Inner;
use crate::grant::GrantLive;
use claviger_domain::generation::Offer;
use claviger_domain::id::GrantId;
use claviger_domain::profile::{ProviderProfile, Rotation};
use claviger_domain::refresh::{Failure, Outcome};
use claviger_providers::import::{FollowedLogin, retirement};
use claviger_runtime::best_effort;
use claviger_store::{GrantRow, GrantSecret, GrantTake, StoreError, Take, TakenRow};
use std::path::Path;
use std::sync::Arc;

/// Why a login is not taken over. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Nobody knows how to refresh it here.
    #[error("logins of {0} cannot be refreshed here")]
    NotRefreshable(String),
    /// The file gives none.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The vault failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A login that is ours now.
#[derive(Debug)]
pub(crate) struct TakenOver {
    /// What a person does so that the tool no longer refreshes it.
    pub(crate) steps: Vec<String>,
}

/// Takes over what the file holds now, which is the newest: the tool may have renewed it since somebody last looked. The caller
/// holds the grant's lock and has read `row` under it.
pub(crate) async fn take_over(
    inner: &Arc<Inner>,
    profile: &Arc<ProviderProfile>,
    row: &GrantRow,
    path: &Path,
) -> Result<TakenOver, Refusal> {
    let refused = |why: String| Refusal::File { path: path.display().to_string(), why };
    if profile.refresh.is_none() {
        return Err(Refusal::NotRefreshable(profile.id.to_string()));
    }
    let login = read(inner, profile, path).await.map_err(|fault| refused(fault.to_string()))?;
    let GrantSecret::OAuth { access, .. } = &row.secret else { return Err(refused("it is a key".to_owned())) };
    let is_refused = inner.view.load().grants.get(&row.id).is_some_and(|grant| grant.was_refused(row.revision));
    match offer_to(inner, row, &login, is_refused) {
        Offer::Newer => {}
        Offer::Older if access.expose() == login.access.expose() => {}
        Offer::Older => return Err(refused("it holds an older login than the one that is here".to_owned())),
        Offer::Stub => return Err(refused("its tool is logged out".to_owned())),
        Offer::Anothers => return Err(refused("it holds the login of another account now".to_owned())),
    }
    let FollowedLogin { format, access, refresh, expires_at, identity: _ } = login;
    let refresh = refresh.ok_or_else(|| refused("it holds no refresh token, so there is nothing to take over".to_owned()))?;
    let take = GrantTake {
        grant: row.id,
        from: row.revision,
        secret: GrantSecret::OAuth { access: access.into_text(), refresh: Some(refresh.into_text()) },
        expires_at,
        taken_at: inner.clock.now(),
        path: path.to_owned(),
    };
    inner.failpoints.pass("take.read").await.map_err(refused)?;
    match inner.store.grant_take(take).await? {
        Take::Done(_) => Ok(TakenOver { steps: retirement(format, path) }),
        Take::Spent => Err(refused("its refresh token was used up here before: log in again".to_owned())),
        Take::Stale => Err(refused("another process is changing this login: try again".to_owned())),
    }
}

/// From where a grant was taken over, if it was and its file holds another login of the same account by now.
pub(crate) async fn taken_from(inner: &Arc<Inner>, profile: &Arc<ProviderProfile>, row: &GrantRow) -> Result<Option<TakenRow>, StoreError> {
    let Some(taken) = taken(inner, row.id).await? else { return Ok(None) };
    Ok(renewed_since(inner, profile, row, &taken).await.then_some(taken))
}

/// Holds a refresh back whose token the tool has used up: it renewed the login after it was taken over, and to send the old
/// token again would end the login for both. The caller holds the grant's lock.
pub(crate) async fn held_back(inner: &Arc<Inner>, grant: &GrantLive, profile: &Arc<ProviderProfile>, row: &GrantRow) -> Option<Outcome> {
    let taken = best_effort("look for where a login was taken from", taken(inner, row.id).await)??;
    // What was refreshed here since is another token, and an answer that may wait in its slot is looked for first.
    if taken.fingerprint != row.fingerprint || row.intent.is_some() || !renewed_since(inner, profile, row, &taken).await {
        return None;
    }
    warn(inner, grant, row.id, &taken);
    inner.publish(grant, row);
    Some(Outcome::Failed { why: Failure::PutOff, retry_at: None })
}

/// Looks at the files of all logins that were taken over, and says where a tool has renewed one.
pub(crate) async fn watch(inner: &Arc<Inner>) {
    let all = best_effort("look for logins that were taken over", inner.store.taken_list().await).unwrap_or_default();
    for taken in all {
        let found = {
            let view = inner.view.load();
            let profile = view.accounts_of(taken.grant).next().map(|account| Arc::clone(&account.profile));
            profile.zip(view.grants.get(&taken.grant).cloned())
        };
        let Some((profile, grant)) = found else { continue };
        let Some(Some(row)) = best_effort("load a grant", inner.store.grant_load(taken.grant).await) else { continue };
        if renewed_since(inner, &profile, &row, &taken).await {
            warn(inner, &grant, row.id, &taken);
        } else {
            grant.notice(None);
        }
    }
}

async fn taken(inner: &Inner, grant: GrantId) -> Result<Option<TakenRow>, StoreError> {
    Ok(inner.store.taken_list().await?.into_iter().find(|taken| taken.grant == grant))
}

/// Whether the file holds another refresh token of the same account than when the login was taken over. A file that is gone, or
/// that holds another account's login, is what was asked for. Where no refresh uses a token up, the two do no harm to each other.
async fn renewed_since(inner: &Inner, profile: &Arc<ProviderProfile>, row: &GrantRow, taken: &TakenRow) -> bool {
    if profile.refresh.as_ref().is_none_or(|rule| rule.rotation == Rotation::NonRotating) {
        return false;
    }
    let Ok(login) = read(inner, profile, &taken.path).await else { return false };
    let Some(refresh) = &login.refresh else { return false };
    let fingerprint = inner.store.fingerprint(refresh.expose());
    let is_another = fingerprint != taken.fingerprint && fingerprint != row.fingerprint;
    is_another && offer_to(inner, row, &login, true) == Offer::Newer
}

fn warn(inner: &Inner, grant: &GrantLive, id: GrantId, taken: &TakenRow) {
    let account = inner.view.load().accounts_of(id).next().map_or_else(|| "ID".to_owned(), |account| account.row.id.to_string());
    grant.notice(Some(format!(
        "{} was renewed by its tool after this login was taken over: one of the two will be logged out; close the tool, then claviger account take {account} takes over what the file holds now",
        taken.path.display()
    )));
}
