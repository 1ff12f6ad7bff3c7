//! A clock whose time lies in a file, so that one process moves it for all processes of a run.

use crate::SIM_START;
use claviger_domain::time::{Timestamp, millis};
use claviger_runtime::{BoxFuture, Clock};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The pause between two looks of a sleeper, on the machine's own clock: short beside the 25 ms that a flight waits
/// between two tries of a lock, and cheap for a dozen processes on two cores.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Where the time since boot stands in the file, in milliseconds.
const BOOT_AT: u64 = 0;
/// Where the wall clock's lead over the time since boot stands, in milliseconds.
const LEAD_AT: u64 = 8;

/// A clock in a file. It stands still until somebody moves it; every process that opened the file sees that.
///
/// The file holds two numbers of eight bytes, time since boot and the wall clock's lead over it. Time that goes by moves
/// the first alone and a step of the wall clock the second alone, each by one write of eight aligned bytes in one page, so
/// that no reader sees half of a move. Only one process may move it; its tasks may do so at once.
#[derive(Debug, Clone)]
pub struct FileClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: File,
    /// Guards a move from its reading to its writing, so that of two moves at once none is lost; never held over an await.
    mover: Mutex<()>,
}

impl FileClock {
    /// A new clock at [`SIM_START`], an hour after boot.
    pub fn create(path: &Path) -> io::Result<Self> {
        let clock = Self::of(OpenOptions::new().read(true).write(true).create_new(true).open(path)?);
        let boot = Duration::from_hours(1);
        clock.write(BOOT_AT, millis(boot))?;
        clock.write(LEAD_AT, SIM_START.minus(boot).0)?;
        Ok(clock)
    }

    /// The clock in a file that another process created.
    pub fn open(path: &Path) -> io::Result<Self> {
        let clock = Self::of(OpenOptions::new().read(true).write(true).open(path)?);
        clock.read(LEAD_AT)?;
        Ok(clock)
    }

    fn of(file: File) -> Self {
        Self(Arc::new(Shared { file, mover: Mutex::new(()) }))
    }

    /// Time goes by, for every process.
    ///
    /// # Panics
    /// Where the file can no longer be read or written, as all readings of the clock.
    pub fn advance(&self, by: Duration) {
        let _mover = self.0.mover.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(BOOT_AT, self.number(BOOT_AT).saturating_add(millis(by))).expect("the file of the clock is writable");
    }

    /// Somebody sets the wall clock, in either direction. Boot time and sleepers do not notice.
    ///
    /// # Panics
    /// As [`FileClock::advance`].
    pub fn set(&self, wall: Timestamp) {
        let _mover = self.0.mover.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(LEAD_AT, wall.0.saturating_sub(self.number(BOOT_AT))).expect("the file of the clock is writable");
    }

    fn write(&self, at: u64, number: i64) -> io::Result<()> {
        self.0.file.write_all_at(&number.to_ne_bytes(), at)
    }

    fn read(&self, at: u64) -> io::Result<i64> {
        let mut bytes = [0; 8];
        self.0.file.read_exact_at(&mut bytes, at)?;
        Ok(i64::from_ne_bytes(bytes))
    }

    fn number(&self, at: u64) -> i64 {
        self.read(at).expect("the file of the clock is readable and holds both numbers")
    }
}

impl Clock for FileClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.number(BOOT_AT).saturating_add(self.number(LEAD_AT)))
    }

    fn boot(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.number(BOOT_AT)).unwrap_or(0))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let until = clock.boot().saturating_add(duration);
        Box::pin(async move {
            while clock.boot() < until {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_clocks(name: &str) -> (FileClock, FileClock) {
        let path = std::env::temp_dir().join(format!("claviger-file-clock-{}-{name}", std::process::id()));
        let clocks = (FileClock::create(&path).unwrap(), FileClock::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        clocks
    }

    #[test]
    fn what_one_moves_the_other_shows() {
        let (mover, other) = two_clocks("moved");
        assert_eq!((other.now(), other.boot()), (SIM_START, Duration::from_hours(1)));
        mover.advance(Duration::from_secs(90));
        assert_eq!((other.now(), other.boot()), (SIM_START.plus(Duration::from_secs(90)), Duration::from_secs(3690)));
        mover.set(Timestamp::from_secs(5));
        assert_eq!((other.now(), other.boot()), (Timestamp::from_secs(5), Duration::from_secs(3690)));
        mover.advance(Duration::from_secs(1));
        assert_eq!(other.now(), Timestamp::from_secs(6));
    }

    #[test]
    fn of_moves_at_once_none_is_lost() {
        let (mover, other) = two_clocks("at-once");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2_000).for_each(|_| mover.advance(Duration::from_millis(1))));
            }
        });
        assert_eq!(other.boot(), Duration::from_secs(3608));
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_file_says_so() {
        let (mover, other) = two_clocks("slept");
        let mut sleep = other.sleep(Duration::from_secs(10));
        mover.set(Timestamp::FAR_FUTURE);
        assert!(tokio::time::timeout(Duration::ZERO, &mut sleep).await.is_err(), "a step of the wall clock wakes nobody");
        mover.advance(Duration::from_secs(10));
        sleep.await;
    }
}
