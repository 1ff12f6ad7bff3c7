//! The promises of a log, held by both implementations, and those of the file alone.

#![expect(clippy::unwrap_used, reason = "what fails in a test may panic")]

use claviger_domain::block::BlockScope;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Amount, Limit, LimitRole, LimitStatus, UsageSource};
use claviger_runtime::Clock;
use claviger_store::{Cost, CostRow, LOG_REOPEN_AFTER, LogError, LogFilter, LogStore, MemoryLog, SqliteLog, UsageRow, WasteRow};
use claviger_testkit::SimClock;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
/// 10:00 of some day.
const TEN: Timestamp = Timestamp(1_795_341_600_000);

fn at(minutes: u64) -> Timestamp {
    TEN.plus(Duration::from_mins(minutes))
}

fn provider(name: &str) -> ProviderId {
    ProviderId::new(name).unwrap()
}

fn limit(id: &str, used: f64) -> Limit {
    Limit {
        id: id.into(),
        label: id.to_uppercase(),
        scope: BlockScope::Tier("opus".into()),
        window: Some(5 * HOUR),
        used: Some(used),
        amount: Some(Amount { used: Some(3.5), limit: None, remaining: Some(1.0), unit: "usd".into() }),
        resets_at: Some(at(300)),
        status: LimitStatus::Warning,
        role: LimitRole::Secondary,
    }
}

fn row(account: i64, provider_name: &str, limit: Limit, observed_at: Timestamp) -> UsageRow {
    let (account, provider) = (AccountId(account), provider(provider_name));
    UsageRow { account, provider, limit, plan: Some("pro".into()), source: UsageSource::Endpoint, observed_at }
}

fn waste(account: i64, ended_at: Timestamp, unused: f64) -> WasteRow {
    let (account, provider, limit) = (AccountId(account), provider("anthropic"), "5h".to_owned());
    WasteRow { account, provider, label: limit.clone(), limit, unused, ended_at, observed_at: ended_at.minus(HOUR) }
}

fn cost(account: Option<i64>, at: Timestamp, usd: f64) -> CostRow {
    let account = account.map(AccountId);
    CostRow { at, provider: provider("anthropic"), account, model: Some("m".into()), cost: Cost::usd(usd).unwrap() }
}

const ALL: LogFilter = LogFilter::since(Timestamp(0));

struct Sqlite {
    folder: tempfile::TempDir,
    clock: SimClock,
    log: SqliteLog,
}

impl Sqlite {
    fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), SimClock::new());
        let log = SqliteLog::start(folder.path(), Arc::new(clock.clone()));
        Self { folder, clock, log }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("log.db")
    }

    fn start(&self) -> SqliteLog {
        SqliteLog::start(self.folder.path(), Arc::new(self.clock.clone()))
    }
}

/// Runs a promise on both logs.
macro_rules! both {
    ($($(#[$doc:meta])* async fn $name:ident($log:ident: &dyn LogStore) $body:block)*) => {
        mod in_memory {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(&MemoryLog::new()).await; })*
        }
        mod on_disk {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(&Sqlite::new().log).await; })*
        }
        $($(#[$doc])* async fn $name($log: &dyn LogStore) $body)*
    };
}

both! {
    async fn within_an_hour_the_latest_row_of_a_limit_stays(log: &dyn LogStore) {
        log.usage_record(vec![row(1, "anthropic", limit("5h", 0.1), at(5))]);
        log.usage_record(vec![row(1, "anthropic", limit("5h", 0.2), at(50))]);
        log.usage_record(vec![row(1, "anthropic", limit("5h", 0.15), at(20))]);
        log.usage_record(vec![row(1, "anthropic", limit("5h", 0.3), at(61))]);
        let rows = log.usage_list(ALL).await.unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.observed_at, row.limit.used)).collect();
        assert_eq!(seen, [(at(50), Some(0.2)), (at(61), Some(0.3))]);
    }

    async fn a_row_reads_back_as_it_was_and_what_is_absent_stays_absent(log: &dyn LogStore) {
        let bare = Limit {
            scope: BlockScope::Account,
            window: None,
            used: None,
            amount: None,
            resets_at: None,
            status: LimitStatus::Unknown,
            role: LimitRole::Gate,
            ..limit("bare", 0.0)
        };
        let rows = vec![
            row(1, "anthropic", limit("5h", 0.1), at(1)),
            UsageRow { plan: None, source: UsageSource::Headers, ..row(2, "openai", bare, at(2)) },
        ];
        log.usage_record(rows.clone());
        assert_eq!(log.usage_list(ALL).await.unwrap(), rows);
    }

    async fn history_is_asked_for_by_time_provider_and_account_oldest_first(log: &dyn LogStore) {
        log.usage_record(vec![
            row(2, "openai", limit("x", 0.3), at(120)),
            row(1, "anthropic", limit("5h", 0.1), at(0)),
            row(1, "anthropic", limit("5h", 0.2), at(60)),
        ]);
        let used = async |filter| log.usage_list(filter).await.unwrap().iter().filter_map(|row| row.limit.used).collect::<Vec<_>>();
        assert_eq!(used(ALL).await, [0.1, 0.2, 0.3]);
        assert_eq!(used(LogFilter::since(at(60))).await, [0.2, 0.3]);
        assert_eq!(used(LogFilter { provider: Some(provider("anthropic")), ..LogFilter::since(at(30)) }).await, [0.2]);
        assert_eq!(used(LogFilter { account: Some(AccountId(2)), ..ALL }).await, [0.3]);
    }

    async fn the_latest_row_of_each_limit_is_found_unless_it_is_too_old(log: &dyn LogStore) {
        log.usage_record(vec![
            row(1, "anthropic", limit("5h", 0.1), at(0)),
            row(1, "anthropic", limit("5h", 0.2), at(120)),
            row(1, "anthropic", limit("7d", 0.3), at(60)),
            row(1, "anthropic", limit("5h", 0.9), at(60 * 24 * 365)),
        ]);
        let mut used: Vec<_> = log.usage_latest(at(0), at(600)).await.unwrap().iter().filter_map(|row| row.limit.used).collect();
        used.sort_by(f64::total_cmp);
        assert_eq!(used, [0.2, 0.3]);
        assert_eq!(log.usage_latest(at(90), at(600)).await.unwrap().len(), 1);
    }

    async fn the_waste_of_a_window_is_noted_once(log: &dyn LogStore) {
        log.waste_append(waste(1, at(300), 0.4));
        log.waste_append(waste(1, at(303), 0.3));
        log.waste_append(waste(2, at(300), 0.2));
        log.waste_append(waste(1, at(600), 0.1));
        let unused: Vec<_> = log.waste_list(ALL).await.unwrap().iter().map(|row| (row.account.0, row.unused)).collect();
        let mut sorted = unused.clone();
        sorted.sort_by_key(|(account, _)| *account);
        assert_eq!(sorted, [(1, 0.4), (1, 0.1), (2, 0.2)]);
        assert_eq!(log.waste_list(LogFilter { account: Some(AccountId(2)), ..ALL }).await.unwrap(), [waste(2, at(300), 0.2)]);
    }

    async fn costs_are_listed_by_account_and_added_up(log: &dyn LogStore) {
        for row in [cost(Some(2), at(3), 0.5), cost(Some(1), at(1), 0.25), cost(Some(1), at(2), 1.0), cost(None, at(4), 2.0)] {
            log.cost_append(row);
        }
        let of_one = log.cost_list(LogFilter { account: Some(AccountId(1)), ..ALL }).await.unwrap();
        assert_eq!(of_one, [cost(Some(1), at(1), 0.25), cost(Some(1), at(2), 1.0)]);
        let totals: Vec<_> = log.cost_totals(ALL).await.unwrap().into_iter().map(|total| (total.account, total.requests, total.usd)).collect();
        assert_eq!(totals, [(None, 1, 2.0), (Some(AccountId(1)), 2, 1.25), (Some(AccountId(2)), 1, 0.5)]);
    }

    async fn what_is_too_old_is_forgotten(log: &dyn LogStore) {
        log.usage_record(vec![row(1, "anthropic", limit("5h", 0.1), at(0)), row(1, "anthropic", limit("5h", 0.2), at(120))]);
        log.waste_append(waste(1, at(0), 0.4));
        log.cost_append(cost(None, at(0), 1.0));
        log.prune(at(60));
        assert_eq!(log.usage_list(ALL).await.unwrap().len(), 1);
        assert_eq!(log.waste_list(ALL).await.unwrap(), []);
        assert_eq!(log.cost_list(ALL).await.unwrap(), []);
    }

    async fn after_its_end_a_log_drops_writes_and_says_so_to_readers(log: &dyn LogStore) {
        log.close().await.unwrap();
        log.usage_record(vec![row(1, "anthropic", limit("5h", 0.1), at(0)), row(1, "anthropic", limit("7d", 0.1), at(0))]);
        assert_eq!(log.dropped(), 2);
        assert!(matches!(log.usage_list(ALL).await, Err(LogError::Closed)));
    }
}

#[test]
fn what_is_no_price_is_no_cost() {
    for amount in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Cost::usd(amount), None, "{amount}");
    }
    assert_eq!(Cost::usd(0.01).map(Cost::as_usd), Some(0.01));
}

#[tokio::test]
async fn rows_are_there_after_a_restart_in_a_file_for_its_owner_alone() {
    let stage = Sqlite::new();
    assert_eq!(stage.log.usage_list(ALL).await.unwrap(), []);
    assert!(!stage.path().exists(), "reading makes no file");
    stage.log.usage_record(vec![row(1, "anthropic", limit("5h", 0.1), at(0))]);
    stage.log.close().await.unwrap();
    assert_eq!(std::fs::metadata(stage.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(stage.start().usage_list(ALL).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_broken_file_is_put_aside_and_begun_anew() {
    let stage = Sqlite::new();
    broken(&stage.path());
    stage.log.usage_record(vec![row(1, "anthropic", limit("5h", 0.1), at(0))]);
    assert_eq!(stage.log.usage_list(ALL).await.unwrap().len(), 1);
    assert_eq!(stage.log.dropped(), 0);
    assert!(std::fs::read(stage.folder.path().join("log.db.broken")).unwrap().starts_with(b"no database"));
}

fn broken(path: &Path) {
    std::fs::write(path, b"no database at all, and long enough to be taken for one at the first look".repeat(20)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_used_costs_its_rows_alone_and_is_tried_again() {
    let stage = Sqlite::new();
    // Open to others: nothing of ours is written into it.
    std::fs::write(stage.path(), b"").unwrap();
    std::fs::set_permissions(stage.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    stage.log.usage_record(vec![row(1, "anthropic", limit("5h", 0.1), at(0))]);
    stage.log.flush().await.unwrap();
    assert_eq!(stage.log.dropped(), 1);
    assert!(matches!(stage.log.usage_list(ALL).await, Err(LogError::Unusable { .. })));

    std::fs::set_permissions(stage.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    stage.log.usage_record(vec![row(1, "anthropic", limit("5h", 0.2), at(0))]);
    stage.log.flush().await.unwrap();
    assert_eq!(stage.log.dropped(), 2, "it rests");
    stage.clock.advance(LOG_REOPEN_AFTER);
    stage.log.usage_record(vec![row(1, "anthropic", limit("5h", 0.3), at(0))]);
    assert_eq!(stage.log.usage_list(ALL).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_missing_folder_and_a_newer_schema_are_no_harm() {
    let clock = SimClock::new();
    let log = SqliteLog::start(Path::new("/nowhere/at/all"), Arc::new(clock.clone()));
    log.cost_append(cost(None, at(0), 1.0));
    log.close().await.unwrap();
    assert_eq!(log.dropped(), 1);

    let stage = Sqlite::new();
    stage.log.cost_append(cost(None, at(0), 1.0));
    stage.log.close().await.unwrap();
    rusqlite::Connection::open(stage.path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = stage.start();
    newer.cost_append(cost(None, at(1), 1.0));
    assert!(matches!(newer.cost_list(ALL).await, Err(LogError::Unusable { .. })));
    assert_eq!(newer.dropped(), 1);
}

#[tokio::test]
async fn two_processes_write_into_one_log() {
    let stage = Sqlite::new();
    let other = stage.start();
    for turn in 0..20 {
        let log: &dyn LogStore = if turn % 2 == 0 { &stage.log } else { &other };
        log.usage_record(vec![row(1, "anthropic", limit("5h", 0.1), at(60 * turn))]);
    }
    other.flush().await.unwrap();
    stage.log.flush().await.unwrap();
    assert_eq!(stage.log.usage_list(ALL).await.unwrap().len(), 20);
    assert_eq!(stage.log.dropped() + other.dropped(), 0);
    assert!(stage.clock.now() > Timestamp(0));
}
