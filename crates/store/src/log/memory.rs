//! The log in memory, for tests and for programs without a folder: the same promises as on disk, and a failure on demand.

use super::{CostRow, CostTotal, LogAnswer, LogError, LogFilter, LogStore, SAME_END_WITHIN, UsageRow, WasteRow};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A log in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    /// Guards all rows; held for one operation, never over an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    usage: BTreeMap<(AccountId, String, i64), UsageRow>,
    waste: Vec<WasteRow>,
    costs: Vec<CostRow>,
    dropped: u64,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stands {
    #[default]
    Open,
    Broken,
    Closed,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on writes are dropped and reads fail, as with a file that cannot be used.
    pub fn fail(&self) {
        self.state().stands = Stands::Broken;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, rows: usize, work: impl FnOnce(&mut State)) {
        let mut state = self.state();
        match state.stands {
            Stands::Open => work(&mut state),
            Stands::Broken | Stands::Closed => state.dropped += rows as u64,
        }
    }

    fn read<T: Send + 'static>(&self, work: impl FnOnce(&State) -> T) -> LogAnswer<'_, T> {
        let state = self.state();
        let answer = match state.stands {
            Stands::Open => Ok(work(&state)),
            Stands::Broken => Err(LogError::Unusable { why: "a test asked for it".to_owned() }),
            Stands::Closed => Err(LogError::Closed),
        };
        drop(state);
        Box::pin(std::future::ready(answer))
    }
}

impl LogStore for MemoryLog {
    fn usage_record(&self, rows: Vec<UsageRow>) {
        self.write(rows.len(), |state| {
            for row in rows {
                let key = (row.account, row.limit.id.clone(), row.bucket());
                if state.usage.get(&key).is_none_or(|old| row.observed_at >= old.observed_at) {
                    state.usage.insert(key, row);
                }
            }
        });
    }

    fn usage_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<UsageRow>> {
        self.read(|state| {
            let meant = |row: &&UsageRow| filter.admits(row.observed_at, &row.provider, Some(row.account));
            let mut rows: Vec<UsageRow> = state.usage.values().filter(meant).cloned().collect();
            rows.sort_by_key(|row| row.observed_at);
            rows
        })
    }

    fn usage_latest(&self, since: Timestamp, until: Timestamp) -> LogAnswer<'_, Vec<UsageRow>> {
        self.read(|state| {
            let mut latest = BTreeMap::new();
            for ((account, limit, _), row) in state.usage.iter().filter(|(_, row)| (since..=until).contains(&row.observed_at)) {
                latest.insert((*account, limit.clone()), row.clone());
            }
            latest.into_values().collect()
        })
    }

    fn waste_append(&self, row: WasteRow) {
        self.write(1, |state| {
            let apart = |known: &WasteRow| known.ended_at.until(row.ended_at).max(row.ended_at.until(known.ended_at));
            let same = |known: &&WasteRow| known.account == row.account && known.limit == row.limit && apart(known) <= SAME_END_WITHIN;
            if state.waste.iter().find(same).is_none() {
                state.waste.push(row);
            }
        });
    }

    fn waste_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<WasteRow>> {
        self.read(|state| {
            let meant = |row: &&WasteRow| filter.admits(row.ended_at, &row.provider, Some(row.account));
            let mut rows: Vec<WasteRow> = state.waste.iter().filter(meant).cloned().collect();
            rows.sort_by_key(|row| row.ended_at);
            rows
        })
    }

    fn cost_append(&self, row: CostRow) {
        self.write(1, |state| state.costs.push(row));
    }

    fn cost_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<CostRow>> {
        self.read(|state| {
            let mut rows: Vec<CostRow> =
                state.costs.iter().filter(|row| filter.admits(row.at, &row.provider, row.account)).cloned().collect();
            rows.sort_by_key(|row| row.at);
            rows
        })
    }

    fn cost_totals(&self, filter: LogFilter) -> LogAnswer<'_, Vec<CostTotal>> {
        self.read(|state| {
            let mut totals: BTreeMap<(ProviderId, Option<AccountId>), (u64, f64)> = BTreeMap::new();
            for row in state.costs.iter().filter(|row| filter.admits(row.at, &row.provider, row.account)) {
                let total = totals.entry((row.provider.clone(), row.account)).or_default();
                *total = (total.0 + 1, total.1 + row.cost.as_usd());
            }
            let total = |((provider, account), (requests, usd))| CostTotal { provider, account, requests, usd };
            totals.into_iter().map(total).collect()
        })
    }

    fn prune(&self, before: Timestamp) {
        self.write(0, |state| {
            state.usage.retain(|_, row| row.observed_at >= before);
            state.waste.retain(|row| row.ended_at >= before);
            state.costs.retain(|row| row.at >= before);
        });
    }

    fn dropped(&self) -> u64 {
        self.state().dropped
    }

    fn flush(&self) -> LogAnswer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) -> LogAnswer<'_, ()> {
        self.state().stands = Stands::Closed;
        Box::pin(std::future::ready(Ok(())))
    }
}
