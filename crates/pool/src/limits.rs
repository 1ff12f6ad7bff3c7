//! Every limit of the pool, with its reason.

use std::time::Duration;

/// How long a flight waits for another process to finish its refresh: that process's exchange, and time to store it.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(45);
/// How long the end of a process waits for refreshes that were sent: an exchange of the default 30 s, and time to store it.
pub const FLIGHT_END_WITHIN: Duration = Duration::from_secs(45);
/// How often a waiting flight tries the lock: short beside an exchange of some 300 ms, rare beside a syscall.
pub const LOCK_POLL: Duration = Duration::from_millis(25);
/// Clocks that differ by more were set, or slept through: less is common drift, and the lead of a request covers it.
pub const CLOCK_STEP_MIN: Duration = Duration::from_mins(1);
/// How long a control-plane change waits for a refresh under way.
pub const ADMIN_LOCK_WAIT_MAX: Duration = Duration::from_secs(15);
/// How often the sweep looks for tokens that are due: a tenth of the shortest lead of the sweep.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How often changes by other processes are looked for; they are to be seen within a second.
pub const CHANGE_POLL: Duration = Duration::from_millis(500);
/// Sessions that are remembered. 65,536 of 16 bytes are 1 MiB; a session that falls out goes to its rendezvous account.
pub const STICKY_SESSIONS_MAX: usize = 65_536;
/// A session that was silent for this long has a cold prompt cache everywhere and loses its account.
pub const STICKY_IDLE_MAX: Duration = Duration::from_hours(24);
/// Writes that wait for the vault's thread; past it they are dropped and counted, since none of them is a secret.
pub const WRITE_BEHIND_QUEUE_MAX: usize = 4096;
/// Writes that go into one transaction.
pub const WRITE_BEHIND_BATCH_MAX: usize = 512;
/// A spill slot that no intent refers to is removed after this long, if it holds no answer or one that is applied: a process
/// that has just created it is about to journal. One that holds an answer which was never applied stays.
pub const ORPHAN_SPILL_AGE: Duration = Duration::from_mins(15);
/// Bytes of a followed file that are read; real ones have a few KiB.
pub const FOLLOWED_FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Letters of a label.
pub const LABEL_MAX_CHARS: usize = 200;
/// The longest life of a virtual key that is given one: ten years.
pub const KEY_LIFETIME_MAX: Duration = Duration::from_hours(10 * 365 * 24);
/// Refreshes that the sweep runs at once: a herd of tokens that end together must not become a herd of connections.
pub const SWEEP_FLIGHTS_MAX: usize = 16;
/// How often a change to a row is tried when other processes change it at the same time.
pub const CHANGE_TURNS_MAX: usize = 3;
/// How often the vault is read again for one view because secrets were published meanwhile: a second reading has them.
pub const REBUILD_TURNS_MAX: usize = 3;
