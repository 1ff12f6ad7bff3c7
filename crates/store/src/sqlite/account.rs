//! Accounts: rows without secrets that refer to grants.

use super::cells::Cells;
use super::fault::Fault;
use super::grant;
use super::guard;
use crate::place::{AccountFacts, GrantPlan, KnownAccount, KnownGrant, PlaceFacts, SPENT_CAUSE, account_after, outcome, parts, plan};
use crate::seal::{Binding, Keyring};
use crate::{AccountDraft, AccountPatch, AccountRow, Placed, PlacedOutcome, RowFault, RowFaultKind, Write};
use claviger_domain::credential::{Source, Standing};
use claviger_domain::id::{AccountId, GrantId, ProviderId, RowRevision};
use claviger_domain::identity::Identity;
use claviger_domain::options::{AccountOptions, ModelPrefix, ProxyUrl, Reserve, Weight};
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

fn source_from_text(text: &str) -> Option<Source> {
    Source::STORED.into_iter().find(|source| source.as_str() == text)
}

fn disabled(standing: &Standing) -> (Option<&str>, Option<i64>) {
    match standing {
        Standing::Active => (None, None),
        Standing::Disabled { cause, since } => (Some(cause), Some(since.0)),
    }
}

fn read(row: &Row<'_>, keyring: &Keyring) -> Result<AccountRow, RowFault> {
    let id = AccountId(row.get("id").unwrap_or_default());
    let cells = Cells::new(row, "accounts", &id);
    let disabled = cells.cause("disabled_cause", "disabled_since")?;
    let provider: ProviderId = cells.parse("provider")?;
    Ok(AccountRow {
        id,
        options: options(&cells, keyring, &provider)?,
        provider,
        grant: cells.get("grant_id").map(GrantId)?,
        revision: RowRevision(cells.revision("revision")?),
        identity: Identity {
            account_id: cells.get("account_id")?,
            email: cells.get("email")?,
            org_id: cells.get("org_id")?,
            org_name: cells.get("org_name")?,
            project_id: cells.get("project_id")?,
            enterprise_url: cells.get("enterprise_url")?,
            api_endpoint: cells.get("api_endpoint")?,
        },
        source: cells.read("source", |text: String| source_from_text(&text))?,
        label: cells.get("label")?,
        priority: cells.get("priority")?,
        standing: disabled.map_or(Standing::Active, |(cause, since)| Standing::Disabled { cause, since }),
        plan: cells.get("plan")?,
        logged_in_at: cells.time_if_any("logged_in_at")?,
        created_at: cells.time("created_at")?,
        updated_at: cells.time("updated_at")?,
    })
}

fn options(cells: &Cells<'_, '_>, keyring: &Keyring, provider: &ProviderId) -> Result<AccountOptions, RowFault> {
    let proxy = ProxyPlace::new(cells.id(), provider);
    // An account whose proxy cannot be read is a fault: it must not be reached without one.
    let proxy = cells.secret_if_any(keyring, &proxy.bind(), PROXY)?.map(|text| text.expose().parse::<ProxyUrl>());
    Ok(AccountOptions {
        reserve: cells.read("reserve_percent", |percent: u8| Reserve::from_percent(percent).ok())?,
        weight: cells.read("weight", |weight: u16| Weight::new(weight).ok())?,
        own_client: cells.parse("own_client")?,
        model_prefix: cells.get::<Option<String>>("model_prefix")?.map(|_| cells.parse("model_prefix")).transpose()?,
        proxy: proxy.transpose().map_err(|_unread| cells.fault(PROXY, RowFaultKind::Malformed))?,
    })
}

/// The sealed column of an account.
pub(super) const PROXY: &str = "proxy";

/// Where the proxy of an account is sealed. It belongs to the account and no revision: a change of the row writes it anew, and
/// it moves with no secret.
pub(super) struct ProxyPlace<'a> {
    row: &'a str,
    provider: &'a ProviderId,
}

impl<'a> ProxyPlace<'a> {
    pub(super) fn new(row: &'a str, provider: &'a ProviderId) -> Self {
        Self { row, provider }
    }

    pub(super) fn bind(&self) -> Binding<'_> {
        Binding { table: "accounts", row: self.row, column: PROXY, revision: 0, provider: self.provider.as_str(), origins: "" }
    }
}

/// Reads all accounts into `good` and `faults`. An account of another provider than its grant's is a fault: the secret
/// must not go where the account says.
pub(super) fn load_all(
    connection: &Connection,
    keyring: &Keyring,
    (good, faults): (&mut Vec<AccountRow>, &mut Vec<RowFault>),
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM accounts ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let account = match read(row, keyring) {
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

fn load(connection: &Connection, keyring: &Keyring, id: AccountId) -> Result<Option<AccountRow>, Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM accounts WHERE id = ?1")?;
    let mut rows = statement.query([id.0])?;
    Ok(rows.next()?.map(|row| read(row, keyring)).transpose()?)
}

/// Stores an account as [`crate::Store::account_place`] says.
pub(super) fn place(transaction: &Transaction<'_>, keyring: &Keyring, draft: AccountDraft, now: Timestamp) -> Result<Placed, Fault> {
    let (provider, secret, facts) = parts(draft);
    let known_grant = grant::find(transaction, keyring, &provider, &secret.secret)?;
    let known_account = match renewed(transaction, &provider, facts.onto)? {
        Some(account) => Some(account),
        None => find(transaction, &provider, facts.identity.key().as_deref(), known_grant)?,
    };
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
    match known_account {
        None => {
            let account = insert(transaction, keyring, (&provider, grant), &facts, now)?;
            Ok(Placed { account, grant, outcome: PlacedOutcome::Created })
        }
        Some(known) => {
            let row = load(transaction, keyring, known.id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            let after = account_after(&row, facts, grant, plan, now);
            let account_changed = after.is_some();
            if let Some(after) = after {
                update(transaction, keyring, &after)?;
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

/// The account that a draft renews; `None` where it names none, or one that is gone.
fn renewed(connection: &Connection, provider: &ProviderId, onto: Option<AccountId>) -> Result<Option<KnownAccount>, Fault> {
    let Some(id) = onto else { return Ok(None) };
    let select = "SELECT grant_id, \
                  EXISTS (SELECT 1 FROM accounts AS other WHERE other.grant_id = accounts.grant_id AND other.id <> accounts.id) \
                  FROM accounts WHERE provider = ?1 AND id = ?2";
    let found = connection
        .prepare_cached(select)?
        .query_row((provider.as_str(), id.0), |row| Ok(KnownAccount { id, grant: GrantId(row.get(0)?), shares_grant: row.get(1)? }));
    Ok(found.optional()?)
}

fn insert(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    (provider, grant): (&ProviderId, GrantId),
    facts: &AccountFacts,
    now: Timestamp,
) -> Result<AccountId, Fault> {
    let AccountFacts { identity, source, label, priority, options, standing, plan, logged_in_at, onto: _ } = facts;
    let (cause, since) = disabled(standing);
    let insert = "INSERT INTO accounts (provider, grant_id, revision, source, label, priority, disabled_cause, disabled_since, \
                  created_at, updated_at) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
    let first = RowRevision::FIRST.0.cast_signed();
    transaction.prepare_cached(insert)?.execute((
        provider.as_str(),
        grant.0,
        first,
        source.as_str(),
        label,
        priority,
        cause,
        since,
        now.0,
    ))?;
    let id = AccountId(transaction.last_insert_rowid());
    identity_write(transaction, id, identity)?;
    told_write(transaction, id, plan.as_deref(), *logged_in_at)?;
    options_write(transaction, keyring, (id, provider), options)?;
    Ok(id)
}

fn update(transaction: &Transaction<'_>, keyring: &Keyring, row: &AccountRow) -> Result<(), Fault> {
    let AccountRow { id, provider, grant, revision, identity, source, label, priority, .. } = row;
    let AccountRow { options, standing, plan, logged_in_at, created_at: _, updated_at, .. } = row;
    let (cause, since) = disabled(standing);
    let update = "UPDATE accounts SET grant_id = ?2, revision = ?3, source = ?4, label = ?5, priority = ?6, disabled_cause = ?7, \
                  disabled_since = ?8, updated_at = ?9 WHERE id = ?1";
    let revision = revision.0.cast_signed();
    transaction.prepare_cached(update)?.execute((id.0, grant.0, revision, source.as_str(), label, priority, cause, since, updated_at.0))?;
    identity_write(transaction, *id, identity)?;
    told_write(transaction, *id, plan.as_deref(), *logged_in_at)?;
    options_write(transaction, keyring, (*id, provider), options)
}

fn identity_write(transaction: &Transaction<'_>, id: AccountId, identity: &Identity) -> Result<(), Fault> {
    let Identity { account_id, email, org_id, org_name, project_id, enterprise_url, api_endpoint } = identity;
    let update = "UPDATE accounts SET identity_key = ?2, account_id = ?3, email = ?4, org_id = ?5, org_name = ?6, project_id = ?7, \
                  enterprise_url = ?8, api_endpoint = ?9 WHERE id = ?1";
    let told = (id.0, identity.key(), account_id, email, org_id, org_name, project_id, enterprise_url, api_endpoint);
    transaction.prepare_cached(update)?.execute(told)?;
    Ok(())
}

fn told_write(transaction: &Transaction<'_>, id: AccountId, plan: Option<&str>, logged_in_at: Option<Timestamp>) -> Result<(), Fault> {
    let update = "UPDATE accounts SET plan = ?2, logged_in_at = ?3 WHERE id = ?1";
    transaction.prepare_cached(update)?.execute((id.0, plan, logged_in_at.map(|at| at.0)))?;
    Ok(())
}

fn options_write(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    (id, provider): (AccountId, &ProviderId),
    options: &AccountOptions,
) -> Result<(), Fault> {
    let AccountOptions { reserve, weight, own_client, model_prefix, proxy } = options;
    let row = id.to_string();
    let place = ProxyPlace::new(&row, provider);
    let proxy = proxy.as_ref().map(|proxy| keyring.seal(&place.bind(), proxy.exposed().as_bytes()));
    let prefix = model_prefix.as_ref().map(ModelPrefix::as_str);
    let update = "UPDATE accounts SET reserve_percent = ?2, weight = ?3, own_client = ?4, model_prefix = ?5, proxy = ?6 WHERE id = ?1";
    transaction.prepare_cached(update)?.execute((id.0, reserve.percent(), weight.get(), own_client.as_str(), prefix, proxy))?;
    Ok(())
}

/// Changes what a person may set.
pub(super) fn patch(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    (id, replaces): (AccountId, RowRevision),
    patch: AccountPatch,
    now: Timestamp,
) -> Result<Write<RowRevision>, Fault> {
    let Some(row) = load(transaction, keyring, id)?.filter(|row| row.revision == replaces) else { return Ok(Write::Stale) };
    let after = patch.apply(row, now);
    update(transaction, keyring, &after)?;
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
