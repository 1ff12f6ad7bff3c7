//! Rows of the log in SQL. A row that cannot be read is left out: others can.

use crate::log::{Cost, CostRow, CostTotal, LOG_ROWS_LISTED_MAX, LogFilter, SAME_END_WITHIN, UsageRow, WasteRow, words};
use claviger_domain::block::BlockScope;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::{Timestamp, millis};
use claviger_domain::usage::{Amount, Limit};
use rusqlite::{Connection, Params, Row, Transaction, named_params};
use std::time::Duration;

pub(super) fn usage_put(transaction: &Transaction<'_>, row: &UsageRow) -> rusqlite::Result<()> {
    let UsageRow { account, provider, limit, plan, source, observed_at } = row;
    let amount = limit.amount.as_ref();
    let upsert = "INSERT INTO usage VALUES (:account, :limit, :bucket, :provider, :label, :scope, :window, :used, :unit, :amount_used, \
                  :amount_limit, :amount_remaining, :resets_at, :status, :role, :plan, :source, :observed_at) \
                  ON CONFLICT (account_id, limit_id, bucket) DO UPDATE SET provider = excluded.provider, label = excluded.label, \
                  scope = excluded.scope, window_ms = excluded.window_ms, used = excluded.used, unit = excluded.unit, \
                  amount_used = excluded.amount_used, amount_limit = excluded.amount_limit, \
                  amount_remaining = excluded.amount_remaining, resets_at = excluded.resets_at, status = excluded.status, \
                  role = excluded.role, plan = excluded.plan, source = excluded.source, observed_at = excluded.observed_at \
                  WHERE excluded.observed_at >= observed_at";
    transaction.prepare_cached(upsert)?.execute(named_params! {
        ":account": account.0,
        ":limit": limit.id,
        ":bucket": row.bucket(),
        ":provider": provider.as_str(),
        ":label": limit.label,
        ":scope": limit.scope.to_string(),
        ":window": limit.window.map(millis),
        ":used": limit.used,
        ":unit": amount.map(|amount| amount.unit.as_str()),
        ":amount_used": amount.and_then(|amount| amount.used),
        ":amount_limit": amount.and_then(|amount| amount.limit),
        ":amount_remaining": amount.and_then(|amount| amount.remaining),
        ":resets_at": limit.resets_at.map(|at| at.0),
        ":status": limit.status.as_str(),
        ":role": words::role_word(limit.role),
        ":plan": plan,
        ":source": words::source_word(*source),
        ":observed_at": observed_at.0,
    })?;
    Ok(())
}

/// What is not named is all.
const MEANT: &str = "(?2 IS NULL OR provider = ?2) AND (?3 IS NULL OR account_id = ?3)";

fn params(filter: &LogFilter) -> (i64, Option<&str>, Option<i64>, u32) {
    let LogFilter { since, provider, account } = filter;
    (since.0, provider.as_ref().map(ProviderId::as_str), account.map(|account| account.0), LOG_ROWS_LISTED_MAX)
}

pub(super) fn usage_list(connection: &Connection, filter: &LogFilter) -> rusqlite::Result<Vec<UsageRow>> {
    let query = format!("SELECT * FROM usage WHERE observed_at >= ?1 AND {MEANT} ORDER BY observed_at DESC, limit_id DESC LIMIT ?4");
    let mut rows = list(connection, &query, params(filter), usage_row)?;
    rows.reverse();
    Ok(rows)
}

pub(super) fn usage_latest(connection: &Connection, (since, until): (Timestamp, Timestamp)) -> rusqlite::Result<Vec<UsageRow>> {
    let query = "SELECT * FROM usage AS row WHERE observed_at BETWEEN ?1 AND ?2 AND bucket = (SELECT max(bucket) FROM usage \
                 WHERE account_id = row.account_id AND limit_id = row.limit_id AND observed_at <= ?2) LIMIT ?3";
    list(connection, query, (since.0, until.0, LOG_ROWS_LISTED_MAX), usage_row)
}

fn usage_row(row: &Row<'_>) -> rusqlite::Result<Option<UsageRow>> {
    let text = |column: &str| row.get::<_, String>(column);
    let unit: Option<String> = row.get("unit")?;
    let amount = match unit {
        Some(unit) => {
            Some(Amount { used: row.get("amount_used")?, limit: row.get("amount_limit")?, remaining: row.get("amount_remaining")?, unit })
        }
        None => None,
    };
    let known = ProviderId::new(&text("provider")?).ok().zip(BlockScope::from_text(&text("scope")?));
    let words = words::status(&text("status")?).zip(words::role(&text("role")?)).zip(words::source(&text("source")?));
    let (Some((provider, scope)), Some(((status, role), source))) = (known, words) else { return Ok(None) };
    let window: Option<i64> = row.get("window_ms")?;
    let resets_at: Option<i64> = row.get("resets_at")?;
    let limit = Limit {
        id: text("limit_id")?,
        label: text("label")?,
        scope,
        window: window.and_then(|window| u64::try_from(window).ok()).map(Duration::from_millis),
        used: row.get("used")?,
        amount,
        resets_at: resets_at.map(Timestamp),
        status,
        role,
    };
    let account = AccountId(row.get("account_id")?);
    Ok(Some(UsageRow { account, provider, limit, plan: row.get("plan")?, source, observed_at: Timestamp(row.get("observed_at")?) }))
}

pub(super) fn waste_put(transaction: &Transaction<'_>, row: &WasteRow) -> rusqlite::Result<()> {
    let WasteRow { account, provider, limit, label, unused, ended_at, observed_at } = row;
    let insert = "INSERT INTO waste SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS \
                  (SELECT 1 FROM waste WHERE account_id = ?1 AND limit_id = ?2 AND ended_at BETWEEN ?3 - ?8 AND ?3 + ?8)";
    let same = millis(SAME_END_WITHIN);
    transaction.prepare_cached(insert)?.execute((account.0, limit, ended_at.0, provider.as_str(), label, unused, observed_at.0, same))?;
    Ok(())
}

pub(super) fn waste_list(connection: &Connection, filter: &LogFilter) -> rusqlite::Result<Vec<WasteRow>> {
    let query = format!("SELECT * FROM waste WHERE ended_at >= ?1 AND {MEANT} ORDER BY ended_at DESC LIMIT ?4");
    let mut rows = list(connection, &query, params(filter), |row| {
        let Ok(provider) = ProviderId::new(&row.get::<_, String>("provider")?) else { return Ok(None) };
        Ok(Some(WasteRow {
            account: AccountId(row.get("account_id")?),
            provider,
            limit: row.get("limit_id")?,
            label: row.get("label")?,
            unused: row.get("unused")?,
            ended_at: Timestamp(row.get("ended_at")?),
            observed_at: Timestamp(row.get("observed_at")?),
        }))
    })?;
    rows.reverse();
    Ok(rows)
}

pub(super) fn cost_put(transaction: &Transaction<'_>, row: &CostRow) -> rusqlite::Result<()> {
    let CostRow { at, provider, account, model, cost } = row;
    let insert = "INSERT INTO costs (at, provider, account_id, model, usd) VALUES (?1, ?2, ?3, ?4, ?5)";
    let account = account.map(|account| account.0);
    transaction.prepare_cached(insert)?.execute((at.0, provider.as_str(), account, model, cost.as_usd()))?;
    Ok(())
}

pub(super) fn cost_list(connection: &Connection, filter: &LogFilter) -> rusqlite::Result<Vec<CostRow>> {
    let query = format!("SELECT * FROM costs WHERE at >= ?1 AND {MEANT} ORDER BY at DESC, id DESC LIMIT ?4");
    let mut rows = list(connection, &query, params(filter), |row| {
        let known = ProviderId::new(&row.get::<_, String>("provider")?).ok().zip(Cost::usd(row.get("usd")?));
        let Some((provider, cost)) = known else { return Ok(None) };
        let account: Option<i64> = row.get("account_id")?;
        Ok(Some(CostRow { at: Timestamp(row.get("at")?), provider, account: account.map(AccountId), model: row.get("model")?, cost }))
    })?;
    rows.reverse();
    Ok(rows)
}

pub(super) fn cost_totals(connection: &Connection, filter: &LogFilter) -> rusqlite::Result<Vec<CostTotal>> {
    let query = format!(
        "SELECT provider, account_id, count(*) AS requests, sum(usd) AS usd FROM costs WHERE at >= ?1 AND {MEANT} \
         GROUP BY provider, account_id ORDER BY provider, account_id LIMIT ?4"
    );
    list(connection, &query, params(filter), |row| {
        let Ok(provider) = ProviderId::new(&row.get::<_, String>("provider")?) else { return Ok(None) };
        let account: Option<i64> = row.get("account_id")?;
        let requests = u64::try_from(row.get::<_, i64>("requests")?).unwrap_or(0);
        Ok(Some(CostTotal { provider, account: account.map(AccountId), requests, usd: row.get("usd")? }))
    })
}

pub(super) fn prune(transaction: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM usage WHERE observed_at < ?1", [before.0])?;
    transaction.execute("DELETE FROM waste WHERE ended_at < ?1", [before.0])?;
    transaction.execute("DELETE FROM costs WHERE at < ?1", [before.0])?;
    Ok(())
}

fn list<T>(
    connection: &Connection,
    query: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(query)?;
    let rows = statement.query_and_then(params, read)?;
    rows.filter_map(Result::transpose).collect()
}
