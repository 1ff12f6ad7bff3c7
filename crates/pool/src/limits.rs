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
/// How often every provider's accounts are ranked although nothing was told: windows end, and what is left gets more urgent.
pub const RANK_INTERVAL: Duration = Duration::from_secs(30);
/// The pause between two rankings of changed providers, in which changes gather: a thousand answers a second are twenty rankings.
pub const RANK_PAUSE: Duration = Duration::from_millis(50);
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
/// How long the reading of a followed file may take, with the grant's lock held: a keychain may ask a person, and a network
/// file system may stand still.
pub const FOLLOWED_READ_MAX: Duration = Duration::from_secs(5);
/// Letters of the cause for which an account is disabled: it stands in one line of a table.
pub const CAUSE_MAX_CHARS: usize = 200;
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
/// The longest that a control request may take, connecting included: a login, a question for usage, a hook's own.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer to a control request; lists of models and organisations are the longest, with some 200 KiB.
pub const CONTROL_ANSWER_MAX_BYTES: usize = 1024 * 1024;
/// The longest that a key waits for its provider to know it: it is stored anyway, and a person waits.
pub const KEY_PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Logins at once. Each is a person at a browser; past it the one that was touched least recently is forgotten.
pub const LOGINS_MAX: usize = 32;
/// How long a login waits for the next thing that happens to it: a person may have to find a password and a second factor first.
pub const LOGIN_IDLE_MAX: Duration = Duration::from_mins(10);
/// The longest that a login lives, however often its code is asked for anew.
pub const LOGIN_LIFE_MAX: Duration = Duration::from_hours(1);
/// How long a login that has brought its tokens waits for a refresh of what it replaces: longer than the longest flight, since a
/// person would have to log in again.
pub const LOGIN_STORE_WAIT_MAX: Duration = Duration::from_mins(3);
/// Device codes of one login. Past that nobody is there to type them.
pub const DEVICE_CODES_MAX: u32 = 4;
/// How often headers that change the status of no limit are taken over, per account: a busy account costs no more than this.
pub const USAGE_HEADERS_INTERVAL: Duration = Duration::from_secs(1);
/// How often they go into the history, whose rows are of an hour.
pub const USAGE_HISTORY_INTERVAL: Duration = Duration::from_mins(1);
/// A report that nobody renewed is shown and used for this long.
pub const USAGE_KEPT: Duration = Duration::from_hours(24);
/// What was asked for within this time is fresh: a command in a loop is no reason to ask a provider in a loop.
pub const USAGE_FRESH_FOR: Duration = Duration::from_secs(5);
/// The longest that a question to a usage endpoint may take.
pub const USAGE_ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked which endpoints are due: short beside the five minutes of an account in use.
pub const USAGE_TICK: Duration = Duration::from_secs(15);
/// Questions to usage endpoints at once.
pub const USAGE_FLIGHTS_MAX: usize = 16;
/// Reports whose effects wait for their task: four seconds of a thousand busy accounts.
pub const USAGE_EFFECTS_QUEUE_MAX: usize = 4096;
/// Effects that are taken from the queue at once.
pub const USAGE_EFFECTS_BATCH_MAX: usize = 256;
/// Limits of which is remembered what was told of their thresholds: ten thousand accounts of six.
pub const USAGE_PASSED_MAX: usize = 65_536;
/// How often rows of the log that are too old are forgotten.
pub const LOG_PRUNE_INTERVAL: Duration = Duration::from_hours(6);
/// How often files that hold keys are looked at: a person who replaces one waits no longer than this.
pub const VALUE_POLL: Duration = Duration::from_secs(2);
/// How long what a command has printed is taken for its answer; what password managers ask a person for is not asked for often.
pub const COMMAND_VALUE_LIFE: Duration = Duration::from_mins(5);
/// How soon a command is run again when its key was refused, or when it failed; twice as long after each further failure, up to
/// [`COMMAND_VALUE_LIFE`], since it may open a window that asks a person for a password.
pub const SUSPECT_VALUE_PAUSE: Duration = Duration::from_secs(10);
/// How long nobody asks again for a credential of this machine after the same was given: its own tool renews it when it sees fit.
pub const SAME_CREDENTIAL_REST: Duration = Duration::from_mins(1);
/// How long a value is kept that cannot be had any more: a file that is replaced in two steps is gone for a moment, and a
/// password manager may be locked for a while.
pub const VALUE_KEPT: Duration = Duration::from_mins(1);
/// How long a reading of the vault waits for a value that is being fetched: most programs print at once, and nobody is to wait for
/// one that hangs, least of all those who use other accounts.
pub const VALUE_PATIENCE: Duration = Duration::from_secs(2);
/// How long somebody who asks for a key waits for its program: what a program has, and a place in the queue before that.
pub const VALUE_WAIT_MAX: Duration = Duration::from_mins(1);
/// Programs for values that run at once: a start with fifty of them must not be fifty decryptions at once.
pub const COMMAND_VALUES_AT_ONCE_MAX: usize = 8;
/// How often accounts are looked at for what is news although nothing called for it: ends of blocks and of logins come by themselves.
pub const CARE_INTERVAL: Duration = Duration::from_secs(15);
/// The pause between two looks, in which changes gather: what is set and lifted within it is no news.
pub const CARE_PAUSE: Duration = Duration::from_millis(250);
/// A value that cannot be had is told after this long: a file that is replaced in two steps is gone for a moment, and the first
/// fetch takes one.
pub const BROKEN_TOLD_AFTER: Duration = Duration::from_secs(5);
/// Rows of the audit trail in which the announcement of a login's end is looked for. One that is further back is told again.
pub const ANNOUNCED_LOOK_MAX: u32 = 10_000;
/// The longest that a minimal completion of a check may take: reasoning models think before they say that all is well.
pub const COMPLETION_TIMEOUT: Duration = Duration::from_secs(30);
/// Letters of the id by which a person repeats a redemption.
pub const REQUEST_ID_MAX_CHARS: usize = 64;
/// Rows of the audit trail in which an earlier attempt of a redemption is looked for.
pub const REQUEST_IDS_LOOKED_AT_MAX: u32 = 10_000;
