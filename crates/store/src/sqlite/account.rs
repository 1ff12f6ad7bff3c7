//! Accounts: rows without secrets that refer to grants.

use super::cells::Cells;
use super::fault::Fault;
use super::grant;
use super::guard;
use crate::place::{AccountFacts, GrantPlan, KnownAccount, KnownGrant, PlaceFacts, SPENT_CAUSE, account_after, outcome, plan};
use crate::seal::Keyring;
use crate::{AccountDraft, AccountPatch, AccountRow, Placed, PlacedOutcome, RowFault, RowFaultKind, Write};
use claviger_domain::credential::{Source, Standing};
use claviger_domain::id::{AccountId, GrantId, ProviderId, RowRevision};
use claviger_domain::identity::Identity;
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

fn source_from_text(text: &str) -> Option<Source> {
    [Source::Login, Source::Imported].into_iter().find(|source| source.as_str() == text)
}

fn disabled(standing: &Standing) -> (Option<&str>, Option<i64>) {
    match standing {
        Standing::Active => (None, None),
        Standing::Disabled { cause, since } => (Some(cause), Some(since.0)),
    }
}

fn read(row: &Row<'_>) -> Result<AccountRow, RowFault> {
    let id = AccountId(row.get("id").unwrap_or_default());
    let cells = Cells::new(row, "accounts", &id);
    let disabled = cells.cause("disabled_cause", "disabled_since")?;
    Ok(AccountRow {
        id,
        provider: cells.parse("provider")?,
        grant: cells.get("grant_id").map(GrantId)?,
        revision: RowRevision(cells.revision("revision")?),
        identity: Identity {
            account_id: cells.get("account_id")?,
            email: cells.get("email")?,
            org_id: cells.get("org_id")?,
            org_name: cells.get("org_name")?,
            project_id: cells.get("project_id")?,
        },
        source: cells.read("source", |text: String| source_from_text(&text))?,
        label: cells.get("label")?,
        priority: cells.get("priority")?,
        standing: disabled.map_or(Standing::Active, |(cause, since)| Standing::Disabled { cause, since }),
        created_at: cells.time("created_at")?,
        updated_at: cells.time("updated_at")?,
    })
}

/// Reads all accounts into `good` and `faults`. An account of another provider than its grant's is a fault: the secret
/// must not go where the account says.
pub(super) fn load_all(connection: &Connection, (good, faults): (&mut Vec<AccountRow>, &mut Vec<RowFault>)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM accounts ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let account = match read(row) {
            Ok(account) => account,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let cells = Cells::new(row, "accounts", &account.id);
        match grant::provider(connection, account.grant)? {
            Some(provider) if provider == account.provider.as_str() => good.push(account),
            Some(_) => faults.push(cells.fault("provider", RowFaultKind::Swapped)),
            None => faults.push(cells.fault("grant_id", RowFaultKind::Malformed)),
        }
    }
    Ok(())
}

fn load(connection: &Connection, id: AccountId) -> Result<Option<AccountRow>, Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM accounts WHERE id = ?1")?;
    let mut rows = statement.query([id.0])?;
    Ok(rows.next()?.map(read).transpose()?)
}

/// Stores an account as [`crate::Store::account_place`] says.
pub(super) fn place(transaction: &Transaction<'_>, keyring: &Keyring, draft: AccountDraft, now: Timestamp) -> Result<Placed, Fault> {
    let AccountDraft { provider, grant: secret, identity, source, label, standing } = draft;
    let identity = identity.normalized();
    let known_grant = grant::find(transaction, keyring, &provider, &secret.secret)?;
    let known_account = find(transaction, &provider, identity.key().as_deref(), known_grant)?;
    let spent = grant::is_spent(transaction, keyring, &provider, &secret.secret)?;
    let plan = plan(&PlaceFacts { account: known_account, grant: known_grant, spent });
    let (grant, grant_changed) = match plan {
        GrantPlan::Insert => (grant::insert(transaction, keyring, &provider, &secret)?, true),
        GrantPlan::InsertDead => {
            let id = grant::insert(transaction, keyring, &provider, &secret)?;
            grant::mark_dead(transaction, id, SPENT_CAUSE, now)?;
            (id, true)
        }
        GrantPlan::Keep(id) => (id, false),
        GrantPlan::Replace(id) => {
            grant::replace(transaction, keyring, id, &provider, &secret)?;
            (id, true)
        }
        GrantPlan::Rebind(id) => (id, grant::bind_as_given(transaction, keyring, id, &secret)?),
    };
    if plan.moves_secret() {
        guard::advance(transaction)?;
    }
    let facts = AccountFacts { identity, source, label, standing };
    match known_account {
        None => {
            let account = insert(transaction, &provider, grant, &facts, now)?;
            Ok(Placed { account, grant, outcome: PlacedOutcome::Created })
        }
        Some(known) => {
            let row = load(transaction, known.id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            let after = account_after(&row, facts, grant, plan, now);
            let account_changed = after.is_some();
            if let Some(after) = after {
                update(transaction, &after)?;
            }
            if known.grant != grant {
                grant::drop_unreferenced(transaction, known.grant)?;
            }
            Ok(Placed { account: known.id, grant, outcome: outcome(account_changed || grant_changed) })
        }
    }
}

/// The account that a draft is about: by identity; else, on the grant with the same secret, one that has no identity yet,
/// or any if the draft names none.
fn find(
    connection: &Connection,
    provider: &ProviderId,
    key: Option<&str>,
    grant: Option<KnownGrant>,
) -> Result<Option<KnownAccount>, Fault> {
    let grant = grant.map(|grant| grant.id.0);
    let select = "SELECT id, grant_id, \
                  EXISTS (SELECT 1 FROM accounts AS other WHERE other.grant_id = accounts.grant_id AND other.id <> accounts.id) \
                  FROM accounts WHERE provider = ?1 AND (identity_key = ?2 OR (grant_id = ?3 AND (?2 IS NULL OR identity_key IS NULL))) \
                  ORDER BY identity_key IS NOT ?2, id LIMIT 1";
    let found = connection.prepare_cached(select)?.query_row((provider.as_str(), key, grant), |row| {
        Ok(KnownAccount { id: AccountId(row.get(0)?), grant: GrantId(row.get(1)?), shares_grant: row.get(2)? })
    });
    Ok(found.optional()?)
}

fn insert(
    transaction: &Transaction<'_>,
    provider: &ProviderId,
    grant: GrantId,
    facts: &AccountFacts,
    now: Timestamp,
) -> Result<AccountId, Fault> {
    let AccountFacts { identity, source, label, standing } = facts;
    let (cause, since) = disabled(standing);
    let insert = "INSERT INTO accounts (provider, grant_id, revision, source, label, priority, disabled_cause, disabled_since, \
                  created_at, updated_at) \
                  VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?8)";
    let first = RowRevision::FIRST.0.cast_signed();
    transaction.prepare_cached(insert)?.execute((provider.as_str(), grant.0, first, source.as_str(), label, cause, since, now.0))?;
    let id = AccountId(transaction.last_insert_rowid());
    identity_write(transaction, id, identity)?;
    Ok(id)
}

fn update(transaction: &Transaction<'_>, row: &AccountRow) -> Result<(), Fault> {
    let AccountRow { id, provider: _, grant, revision, identity, source, label, priority, standing, created_at: _, updated_at } = row;
    let (cause, since) = disabled(standing);
    let update = "UPDATE accounts SET grant_id = ?2, revision = ?3, source = ?4, label = ?5, priority = ?6, disabled_cause = ?7, \
                  disabled_since = ?8, updated_at = ?9 WHERE id = ?1";
    let revision = revision.0.cast_signed();
    transaction.prepare_cached(update)?.execute((id.0, grant.0, revision, source.as_str(), label, priority, cause, since, updated_at.0))?;
    identity_write(transaction, *id, identity)
}

fn identity_write(transaction: &Transaction<'_>, id: AccountId, identity: &Identity) -> Result<(), Fault> {
    let Identity { account_id, email, org_id, org_name, project_id } = identity;
    let update =
        "UPDATE accounts SET identity_key = ?2, account_id = ?3, email = ?4, org_id = ?5, org_name = ?6, project_id = ?7 WHERE id = ?1";
    transaction.prepare_cached(update)?.execute((id.0, identity.key(), account_id, email, org_id, org_name, project_id))?;
    Ok(())
}

/// Changes what a person may set.
pub(super) fn patch(
    transaction: &Transaction<'_>,
    id: AccountId,
    replaces: RowRevision,
    patch: AccountPatch,
    now: Timestamp,
) -> Result<Write<RowRevision>, Fault> {
    let Some(row) = load(transaction, id)?.filter(|row| row.revision == replaces) else { return Ok(Write::Stale) };
    let after = patch.apply(row, now);
    update(transaction, &after)?;
    Ok(Write::Done(after.revision))
}

/// Removes an account, and its grant with it if nothing else needs it.
pub(super) fn remove(transaction: &Transaction<'_>, id: AccountId, replaces: RowRevision) -> Result<Write<()>, Fault> {
    let delete = "DELETE FROM accounts WHERE id = ?1 AND revision = ?2 RETURNING grant_id";
    let grant =
        transaction.prepare_cached(delete)?.query_row((id.0, replaces.0.cast_signed()), |row| row.get(0).map(GrantId)).optional()?;
    let Some(grant) = grant else { return Ok(Write::Stale) };
    grant::drop_unreferenced(transaction, grant)?;
    Ok(Write::Done(()))
}
