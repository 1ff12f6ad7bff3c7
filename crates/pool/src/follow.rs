//! Logins that another tool owns: its file is read when it changed, and never written.

use crate::Inner;
use crate::grant::GrantLive;
use crate::limits::FOLLOWED_FILE_MAX_BYTES;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::refresh::{Failure, Outcome};
use claviger_providers::import::{FollowedToken, follow_format_for, read_followed};
use claviger_store::{GrantCommit, GrantRow, GrantSecret, StoreError, Write};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Reads the file of the tool again and stores what is newer. The caller holds the grant's lock.
///
/// A file that is gone, unreadable, logged out or older, or that holds another account's login, changes nothing: the token
/// that is here is used up.
pub(crate) async fn renew(inner: &Arc<Inner>, grant: &Arc<GrantLive>, profile: &ProviderProfile, row: GrantRow, path: &Path) -> Outcome {
    let nothing_new = Outcome::Failed { why: Failure::PutOff, retry_at: None };
    let Some(token) = read(grant, profile, path).await else {
        inner.publish(grant, &row);
        return nothing_new;
    };
    let GrantSecret::OAuth { access, .. } = &row.secret else { return Outcome::Adopted };
    let same = access.expose() == token.access.expose();
    let older = matches!((token.expires_at, row.expires_at), (Some(new), Some(old)) if new < old);
    if same || older {
        inner.publish(grant, &row);
        return Outcome::Adopted;
    }
    if is_anothers(inner, profile, &row, &token) {
        tracing::warn!(grant.id = %grant.id, "a followed file holds the login of another account now: it is left alone");
        inner.publish(grant, &row);
        return nothing_new;
    }
    match commit(inner, &row, token).await {
        Ok(()) => Outcome::Refreshed,
        Err(error) => {
            tracing::error!(grant.id = %grant.id, error = %error, "a followed login could not be stored");
            Outcome::Failed { why: Failure::Storage, retry_at: None }
        }
    }
}

async fn commit(inner: &Arc<Inner>, row: &GrantRow, token: FollowedToken) -> Result<(), StoreError> {
    let secret = GrantSecret::OAuth { access: token.access.into_text(), refresh: None };
    let commit = GrantCommit {
        grant: row.id,
        from: row.revision,
        secret,
        expires_at: token.expires_at,
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

/// Whether a token names another owner than the accounts of its grant. One that names none is taken at the file's word.
fn is_anothers(inner: &Inner, profile: &ProviderProfile, row: &GrantRow, token: &FollowedToken) -> bool {
    let claimed = claviger_oauth::identity_from_claims(&profile.identity, token.access.expose());
    let differs =
        |known: &Option<String>, claimed: &Option<String>| matches!((known, claimed), (Some(known), Some(claimed)) if known != claimed);
    let view = inner.view.load();
    view.accounts_of(row.id).any(|account| {
        let known = &account.row.identity;
        differs(&known.account_id, &claimed.account_id) || (claimed.account_id.is_none() && differs(&known.email, &claimed.email))
    })
}

async fn read(grant: &GrantLive, profile: &ProviderProfile, path: &Path) -> Option<FollowedToken> {
    let format = follow_format_for(profile.id.as_str(), path)?;
    let path = path.to_owned();
    let bytes = tokio::task::spawn_blocking(move || read_file(&path)).await.ok()?;
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(grant.id = %grant.id, error = %error, "a followed file cannot be read");
            return None;
        }
    };
    match read_followed(format, &bytes) {
        Ok(token) => Some(token),
        Err(fault) => {
            tracing::warn!(grant.id = %grant.id, fault = %fault, "a followed file holds no login");
            None
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<zeroize::Zeroizing<Vec<u8>>> {
    // To open a pipe would wait for its writer, with the grant's lock held.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    // The buffer never grows, so that no copy of it is left behind.
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(usize::try_from(FOLLOWED_FILE_MAX_BYTES + 1).unwrap_or_default()));
    std::fs::File::open(path)?.take(FOLLOWED_FILE_MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
