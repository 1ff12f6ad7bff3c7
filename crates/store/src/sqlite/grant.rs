//! Grants: secrets under revisions, sealed and opened at their own place only.

use super::cells::{Cells, origins_from_text, origins_text};
use super::fault::Fault;
use super::guard;
use super::journal;
use crate::place::{KnownGrant, SecretMatch, compare};
use crate::seal::{Binding, Keyring};
use crate::{Fingerprint, GrantCommit, GrantDraft, GrantRow, GrantSecret, IntentRow, Rebind, RowFault, Write};
use claviger_domain::credential::{CredentialKind, Custody, GrantState};
use claviger_domain::id::{GrantId, GrantRevision, ProviderId};
use claviger_domain::origin::{Purpose, StoredOrigins};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What the access token or key is bound to.
const BEARER: [Purpose; 2] = [Purpose::Inference, Purpose::Usage];
/// What the refresh token is bound to.
const REFRESH: [Purpose; 1] = [Purpose::Token];

/// Where the fields of a grant are sealed.
pub(super) struct Place<'a> {
    row: String,
    revision: GrantRevision,
    provider: &'a ProviderId,
    bearer_origins: String,
    refresh_origins: String,
}

impl<'a> Place<'a> {
    pub(super) fn new(id: GrantId, revision: GrantRevision, provider: &'a ProviderId, origins: &StoredOrigins) -> Self {
        let (bearer_origins, refresh_origins) = (origins.canonical(&BEARER), origins.canonical(&REFRESH));
        Self { row: id.to_string(), revision, provider, bearer_origins, refresh_origins }
    }

    pub(super) fn bind<'b>(&'b self, column: &'b str) -> Binding<'b> {
        let origins = if column == "refresh_token" { &self.refresh_origins } else { &self.bearer_origins };
        Binding { table: "grants", row: &self.row, column, revision: self.revision.0, provider: self.provider.as_str(), origins }
    }

    fn seal(&self, keyring: &Keyring, secret: &GrantSecret) -> Sealed {
        let field = |column, text: &SecretText| Some(keyring.seal(&self.bind(column), text.expose().as_bytes()));
        match secret {
            GrantSecret::OAuth { access, refresh } => Sealed {
                kind: CredentialKind::OAuth,
                access: field("access_token", access),
                refresh: refresh.as_ref().and_then(|refresh| field("refresh_token", refresh)),
                key: None,
            },
            GrantSecret::ApiKey { key } => Sealed { kind: CredentialKind::ApiKey, access: None, refresh: None, key: field("api_key", key) },
        }
    }
}

/// The secret columns of a grant.
struct Sealed {
    kind: CredentialKind,
    access: Option<Vec<u8>>,
    refresh: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

fn kind_from_text(text: &str) -> Option<CredentialKind> {
    [CredentialKind::OAuth, CredentialKind::ApiKey].into_iter().find(|kind| kind.as_str() == text)
}

fn followed_path(custody: &Custody) -> Option<&[u8]> {
    match custody {
        Custody::Owned => None,
        Custody::Followed { path } => Some(path.as_os_str().as_bytes()),
    }
}

/// Opens one row of `grants`.
pub(super) fn read(row: &Row<'_>, keyring: &Keyring, intent: Option<IntentRow>) -> Result<GrantRow, RowFault> {
    let id = GrantId(row.get("id").unwrap_or_default());
    let cells = Cells::new(row, "grants", &id);
    let provider: ProviderId = cells.parse("provider")?;
    let revision = GrantRevision(cells.revision("revision")?);
    let origins = cells.read("origins", |text: String| origins_from_text(&text))?;
    let place = Place::new(id, revision, &provider, &origins);
    let secret = match cells.read("kind", |text: String| kind_from_text(&text))? {
        CredentialKind::OAuth => GrantSecret::OAuth {
            access: cells.secret(keyring, &place.bind("access_token"), "access_token")?,
            refresh: cells.secret_if_any(keyring, &place.bind("refresh_token"), "refresh_token")?,
        },
        CredentialKind::ApiKey => GrantSecret::ApiKey { key: cells.secret(keyring, &place.bind("api_key"), "api_key")? },
    };
    let path: Option<Vec<u8>> = cells.get("followed_path")?;
    let dead = cells.cause("dead_cause", "dead_since")?;
    Ok(GrantRow {
        id,
        revision,
        secret,
        fingerprint: cells.fingerprint("fingerprint")?,
        expires_at: cells.time_if_any("expires_at")?,
        issued_at: cells.time("issued_at")?,
        custody: path.map_or(Custody::Owned, |path| Custody::Followed { path: std::ffi::OsString::from_vec(path).into() }),
        state: dead.map_or(GrantState::Live, |(cause, since)| GrantState::NeedsLogin { cause, since }),
        quarantined: cells.time_if_any("quarantined_at")?,
        intent,
        provider,
        origins,
    })
}

/// One grant with its intent.
pub(super) fn load(connection: &Connection, keyring: &Keyring, id: GrantId) -> Result<Option<GrantRow>, Fault> {
    let intent = journal::intent(connection, id)?;
    let mut statement = connection.prepare_cached("SELECT * FROM grants WHERE id = ?1")?;
    let mut rows = statement.query([id.0])?;
    Ok(rows.next()?.map(|row| read(row, keyring, intent)).transpose()?)
}

/// The revision of a grant; `None` where it is gone.
pub(super) fn revision(connection: &Connection, id: GrantId) -> Result<Option<GrantRevision>, Fault> {
    let mut statement = connection.prepare_cached("SELECT revision FROM grants WHERE id = ?1")?;
    let mut rows = statement.query([id.0])?;
    Ok(rows.next()?.map(|row| Cells::new(row, "grants", &id).revision("revision").map(GrantRevision)).transpose()?)
}

/// The grant of a provider with the draft's fingerprint, compared with the draft's secret.
pub(super) fn find(
    connection: &Connection,
    keyring: &Keyring,
    provider: &ProviderId,
    secret: &GrantSecret,
) -> Result<Option<KnownGrant>, Fault> {
    let fingerprint = keyring.fingerprint(secret.identifying());
    let mut statement = connection.prepare_cached("SELECT * FROM grants WHERE provider = ?1 AND fingerprint = ?2")?;
    let mut rows = statement.query((provider.as_str(), fingerprint.0))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id = GrantId(row.get("id")?);
    let matched = read(row, keyring, None).map_or(SecretMatch::Unreadable, |stored| compare(&stored.secret, secret));
    // An intent that cannot be read is an open one.
    let intent_open = !matches!(journal::intent(connection, id), Ok(None));
    Ok(Some(KnownGrant { id, secret: matched, intent_open }))
}

/// A new grant.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    provider: &ProviderId,
    draft: &GrantDraft,
) -> Result<GrantId, Fault> {
    // The id is bound to the sealed fields, so it is drawn before the row is written.
    let id = GrantId(transaction.query_row(
        "SELECT 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'grants'), 0)",
        [],
        |row| row.get(0),
    )?);
    let sealed = Place::new(id, GrantRevision::FIRST, provider, &draft.origins).seal(keyring, &draft.secret);
    let insert = "INSERT INTO grants (id, provider, revision, kind, access_token, refresh_token, api_key, fingerprint, expires_at, \
                  issued_at, origins, followed_path) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    transaction.prepare_cached(insert)?.execute((
        id.0,
        provider.as_str(),
        GrantRevision::FIRST.0.cast_signed(),
        sealed.kind.as_str(),
        sealed.access,
        sealed.refresh,
        sealed.key,
        keyring.fingerprint(draft.secret.identifying()).0,
        draft.expires_at.map(|at| at.0),
        draft.issued_at.0,
        origins_text(&draft.origins),
        followed_path(&draft.custody),
    ))?;
    Ok(id)
}

/// Whether the refresh token of a secret was given before and redeemed here since.
pub(super) fn is_spent(connection: &Connection, keyring: &Keyring, provider: &ProviderId, secret: &GrantSecret) -> Result<bool, Fault> {
    let fingerprint = keyring.fingerprint(secret.identifying());
    Ok(connection
        .prepare_cached("SELECT 1 FROM spent WHERE provider = ?1 AND fingerprint = ?2")?
        .exists((provider.as_str(), fingerprint.0))?)
}

/// Remembers that the refresh token of a grant was redeemed, where another one takes its place. Only one that was given from
/// outside can be given again, so that this grows by logins and not by refreshes.
pub(super) fn spend(transaction: &Transaction<'_>, id: GrantId, next: Fingerprint, at: Timestamp) -> Result<(), Fault> {
    let insert = "INSERT INTO spent (provider, fingerprint, spent_at) SELECT provider, fingerprint, ?3 FROM grants \
                  WHERE id = ?1 AND given AND refresh_token IS NOT NULL AND fingerprint <> ?2 ON CONFLICT DO NOTHING";
    transaction.prepare_cached(insert)?.execute((id.0, next.0, at.0))?;
    Ok(())
}

/// A new secret in the place of the old one, which need not be readable. The new login wins over an open intent, whose
/// refresh token may have been redeemed.
pub(super) fn replace(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    id: GrantId,
    provider: &ProviderId,
    draft: &GrantDraft,
) -> Result<(), Fault> {
    let next = revision(transaction, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?.next();
    if journal::is_open(transaction, id)? {
        spend(transaction, id, keyring.fingerprint(draft.secret.identifying()), draft.issued_at)?;
    }
    journal::close(transaction, id)?;
    // What a tool's file says of the login before is of no interest any more.
    transaction.prepare_cached("DELETE FROM taken WHERE grant_id = ?1")?.execute([id.0])?;
    let update = "UPDATE grants SET origins = ?2, followed_path = ?3, given = TRUE, quarantined_at = NULL WHERE id = ?1";
    transaction.prepare_cached(update)?.execute((id.0, origins_text(&draft.origins), followed_path(&draft.custody)))?;
    let place = Place::new(id, next, provider, &draft.origins);
    secret_write(transaction, keyring, (id, &place), &draft.secret, (draft.expires_at, draft.issued_at))
}

/// Seals a secret into a row that is there, under the place's revision; the grant is live then.
fn secret_write(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    (id, place): (GrantId, &Place<'_>),
    secret: &GrantSecret,
    (expires_at, issued_at): (Option<Timestamp>, Timestamp),
) -> Result<(), Fault> {
    let sealed = place.seal(keyring, secret);
    let update = "UPDATE grants SET revision = ?2, kind = ?3, access_token = ?4, refresh_token = ?5, api_key = ?6, fingerprint = ?7, \
                  expires_at = ?8, issued_at = ?9, dead_cause = NULL, dead_since = NULL WHERE id = ?1";
    transaction.prepare_cached(update)?.execute((
        id.0,
        place.revision.0.cast_signed(),
        sealed.kind.as_str(),
        sealed.access,
        sealed.refresh,
        sealed.key,
        keyring.fingerprint(secret.identifying()).0,
        expires_at.map(|at| at.0),
        issued_at.0,
    ))?;
    Ok(())
}

/// The draft's origins and custody for a secret that stays under its revision. A key that was given again serves again.
/// Answers whether anything changed; a grant that cannot be opened is left alone.
pub(super) fn bind_as_given(transaction: &Transaction<'_>, keyring: &Keyring, id: GrantId, draft: &GrantDraft) -> Result<bool, Fault> {
    let Ok(Some(row)) = load(transaction, keyring, id) else { return Ok(false) };
    let revived = draft.secret.kind() == CredentialKind::ApiKey && row.state != GrantState::Live;
    if row.origins == draft.origins && row.custody == draft.custody && !revived {
        return Ok(false);
    }
    let sealed = Place::new(id, row.revision, &row.provider, &draft.origins).seal(keyring, &row.secret);
    let update = "UPDATE grants SET access_token = ?2, refresh_token = ?3, api_key = ?4, origins = ?5, followed_path = ?6, \
                  dead_cause = iif(?7, NULL, dead_cause), dead_since = iif(?7, NULL, dead_since) WHERE id = ?1";
    let (origins, path) = (origins_text(&draft.origins), followed_path(&draft.custody));
    transaction.prepare_cached(update)?.execute((id.0, sealed.access, sealed.refresh, sealed.key, origins, path, revived))?;
    Ok(true)
}

/// Seals the secret of a grant under other origins and the next revision, once it has opened under those that it has.
pub(super) fn rebind(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    (id, replaces): (GrantId, GrantRevision),
    origins: &StoredOrigins,
) -> Result<Rebind, Fault> {
    if revision(transaction, id)? != Some(replaces) {
        return Ok(Rebind::Stale);
    }
    if journal::is_open(transaction, id)? {
        return Ok(Rebind::Busy);
    }
    let row = load(transaction, keyring, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let next = replaces.next();
    let sealed = Place::new(id, next, &row.provider, origins).seal(keyring, &row.secret);
    let update = "UPDATE grants SET revision = ?2, access_token = ?3, refresh_token = ?4, api_key = ?5, origins = ?6 WHERE id = ?1";
    transaction.prepare_cached(update)?.execute((
        id.0,
        next.0.cast_signed(),
        sealed.access,
        sealed.refresh,
        sealed.key,
        origins_text(origins),
    ))?;
    Ok(Rebind::Done(next))
}

/// Ends the quarantine of a grant.
pub(super) fn release(transaction: &Transaction<'_>, id: GrantId) -> Result<Write<()>, Fault> {
    let update = "UPDATE grants SET quarantined_at = NULL WHERE id = ?1 AND quarantined_at IS NOT NULL";
    let released = transaction.prepare_cached(update)?.execute([id.0])?;
    Ok(if released == 0 { Write::Stale } else { Write::Done(()) })
}

/// Removes a grant that no account refers to and that has no open intent. With an intent it stays, so that its refresh
/// token, given again, is not taken for unsent.
pub(super) fn drop_unreferenced(transaction: &Transaction<'_>, id: GrantId) -> Result<(), Fault> {
    let delete = "DELETE FROM grants WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM accounts WHERE grant_id = ?1) \
                  AND NOT EXISTS (SELECT 1 FROM intents WHERE grant_id = ?1)";
    transaction.prepare_cached(delete)?.execute([id.0])?;
    Ok(())
}

/// Stores a refreshed secret.
pub(super) fn commit(transaction: &Transaction<'_>, keyring: &Keyring, commit: GrantCommit) -> Result<Write<GrantRevision>, Fault> {
    let GrantCommit { grant: id, from, secret, expires_at, issued_at, attempt } = commit;
    if revision(transaction, id)? != Some(from) {
        return Ok(Write::Stale);
    }
    let row = load(transaction, keyring, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let secret = match (secret, row.secret) {
        // An answer without a refresh token leaves the old one valid; another tool's file means what it says.
        (GrantSecret::OAuth { access, refresh: None }, GrantSecret::OAuth { refresh: old, .. }) if attempt.is_some() => {
            GrantSecret::OAuth { access, refresh: old }
        }
        (secret, _) => secret,
    };
    let twin = absorb_twin(transaction, keyring, (id, &row.provider), &secret)?;
    if twin == Twin::Busy {
        return Ok(Write::Stale);
    }
    if let Some(attempt) = attempt {
        let next = keyring.fingerprint(secret.identifying());
        spend(transaction, id, next, issued_at)?;
        let given = "UPDATE grants SET given = ?3 OR (given AND fingerprint = ?2) WHERE id = ?1";
        transaction.prepare_cached(given)?.execute((id.0, next.0, twin == Twin::Absorbed))?;
        journal::settled(transaction, id, attempt, issued_at)?;
    }
    let place = Place::new(id, from.next(), &row.provider, &row.origins);
    secret_write(transaction, keyring, (id, &place), &secret, (expires_at, issued_at))?;
    journal::close(transaction, id)?;
    drop_unreferenced(transaction, id)?;
    guard::advance(transaction)?;
    Ok(Write::Done(from.next()))
}

/// What became of another grant that had the fingerprint first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twin {
    /// There was none.
    Absent,
    /// Its accounts moved here, and it is gone.
    Absorbed,
    /// Its own refresh is open: the secret is its, and it decides.
    Busy,
}

/// Makes room for a fingerprint that another grant of the provider has, as when the same login came in by another way at
/// the same time.
fn absorb_twin(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    (id, provider): (GrantId, &ProviderId),
    secret: &GrantSecret,
) -> Result<Twin, Fault> {
    let twin = find(transaction, keyring, provider, secret)?.filter(|twin| twin.id != id);
    let Some(twin) = twin else { return Ok(Twin::Absent) };
    if twin.intent_open {
        return Ok(Twin::Busy);
    }
    let moved = "UPDATE accounts SET grant_id = ?2, revision = revision + 1 WHERE grant_id = ?1";
    transaction.prepare_cached(moved)?.execute((twin.id.0, id.0))?;
    drop_unreferenced(transaction, twin.id)?;
    Ok(Twin::Absorbed)
}

/// Marks a grant as dead and closes its intent.
pub(super) fn bury(
    transaction: &Transaction<'_>,
    id: GrantId,
    from: GrantRevision,
    cause: &str,
    now: Timestamp,
) -> Result<Write<()>, Fault> {
    if revision(transaction, id)? != Some(from) {
        return Ok(Write::Stale);
    }
    mark_dead(transaction, id, cause, now)?;
    journal::close(transaction, id)?;
    drop_unreferenced(transaction, id)?;
    Ok(Write::Done(()))
}

/// Marks a grant as one that only a new login helps.
pub(super) fn mark_dead(transaction: &Transaction<'_>, id: GrantId, cause: &str, now: Timestamp) -> Result<(), Fault> {
    transaction.prepare_cached("UPDATE grants SET dead_cause = ?2, dead_since = ?3 WHERE id = ?1")?.execute((id.0, cause, now.0))?;
    Ok(())
}

/// The provider of a grant, whether or not its secret opens.
pub(super) fn provider(connection: &Connection, id: GrantId) -> Result<Option<String>, Fault> {
    Ok(connection.prepare_cached("SELECT provider FROM grants WHERE id = ?1")?.query_row([id.0], |row| row.get(0)).optional()?)
}

/// Reads all grants into `good` and `faults`.
pub(super) fn load_all(
    connection: &Connection,
    keyring: &Keyring,
    (good, faults): (&mut Vec<GrantRow>, &mut Vec<RowFault>),
) -> Result<(), Fault> {
    let mut intents = journal::intents(connection)?;
    let mut statement = connection.prepare_cached("SELECT * FROM grants ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let intent = intents.remove(&GrantId(row.get("id")?)).transpose();
        match intent.and_then(|intent| read(row, keyring, intent)) {
            Ok(grant) => good.push(grant),
            Err(fault) => faults.push(fault),
        }
    }
    Ok(())
}
