//! Blocks of accounts: one row per account and scope.

use super::cells::Cells;
use super::fault::Fault;
use crate::RowFault;
use claviger_domain::block::{Block, BlockEnd, BlockScope};
use claviger_domain::id::AccountId;
use rusqlite::{Connection, Row, Transaction};

/// Most blocks of one account. Scopes name models, which clients choose; those that end first are dropped.
pub const BLOCKS_PER_ACCOUNT_MAX: u32 = 256;

const TOLD: &str = "told";
const GUESSED: &str = "guessed";

/// Sets an account aside; of two ends for one scope the later one holds. An account that is gone needs no block.
pub(super) fn put(transaction: &Transaction<'_>, account: AccountId, block: &Block) -> Result<(), Fault> {
    let end = match block.end {
        BlockEnd::Told => TOLD,
        BlockEnd::Guessed => GUESSED,
    };
    let upsert = "INSERT INTO blocks (account_id, scope, until_at, end, reason) \
                  SELECT id, ?2, ?3, ?4, ?5 FROM accounts WHERE id = ?1 \
                  ON CONFLICT (account_id, scope) DO UPDATE SET until_at = excluded.until_at, end = excluded.end, reason = excluded.reason \
                  WHERE excluded.until_at > until_at";
    transaction.prepare_cached(upsert)?.execute((account.0, block.scope.to_string(), block.until.0, end, &block.reason))?;
    let prune = "DELETE FROM blocks WHERE account_id = ?1 AND scope IN \
                 (SELECT scope FROM blocks WHERE account_id = ?1 ORDER BY until_at DESC, scope LIMIT -1 OFFSET ?2)";
    transaction.prepare_cached(prune)?.execute((account.0, BLOCKS_PER_ACCOUNT_MAX))?;
    Ok(())
}

/// Lifts one scope, or all.
pub(super) fn lift(transaction: &Transaction<'_>, account: AccountId, scope: Option<&BlockScope>) -> Result<(), Fault> {
    let delete = "DELETE FROM blocks WHERE account_id = ?1 AND (?2 IS NULL OR scope = ?2)";
    transaction.prepare_cached(delete)?.execute((account.0, scope.map(BlockScope::to_string)))?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<(AccountId, Block), RowFault> {
    let id: i64 = row.get("account_id").unwrap_or_default();
    let cells = Cells::new(row, "blocks", &id);
    let block = Block {
        scope: cells.read("scope", |text: String| BlockScope::from_text(&text))?,
        until: cells.time("until_at")?,
        end: cells.read("end", |text: String| match text.as_str() {
            TOLD => Some(BlockEnd::Told),
            GUESSED => Some(BlockEnd::Guessed),
            _ => None,
        })?,
        reason: cells.get("reason")?,
    };
    Ok((AccountId(id), block))
}

/// Reads all blocks into `good` and `faults`.
pub(super) fn load_all(connection: &Connection, (good, faults): (&mut Vec<(AccountId, Block)>, &mut Vec<RowFault>)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM blocks ORDER BY account_id, scope")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(block) => good.push(block),
            Err(fault) => faults.push(fault),
        }
    }
    Ok(())
}
