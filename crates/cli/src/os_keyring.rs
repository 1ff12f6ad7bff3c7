//! The root key in the keyring of the operating system: which calls there are, how long one may take, and how one fails.

#[cfg(all(feature = "keyring", target_os = "macos"))]
mod keychain;
#[cfg(all(feature = "keyring", target_os = "linux"))]
mod secret_service;

use crate::env::Env;
use crate::error::CliError;
use crate::hex::{hex, unhex};
use claviger_runtime::{BoxFuture, Clock, random_bytes};
use claviger_store::RootSecret;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a call may take. A keyring on this machine answers within milliseconds; one that is slower waits for a person at a
/// screen that nobody may be looking at, and a server must start all the same.
pub const KEYRING_WITHIN: Duration = Duration::from_secs(5);

/// The service under which the keyring lists our entries.
#[cfg_attr(not(feature = "keyring"), expect(dead_code, reason = "no keyring is built in"))]
const SERVICE: &str = "claviger";

/// Bytes of the random part of an entry's name: no two vaults of one user share an entry.
const ENTRY_RANDOM_BYTES: usize = 8;

/// Why the keyring did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The machine's: there is no such service, or no keyring in it.
    #[error("no keyring answers here")]
    #[cfg_attr(all(not(feature = "keyring"), not(test)), expect(dead_code, reason = "no keyring is built in"))]
    Absent(#[source] Option<Cause>),
    /// The user's, who has not unlocked it.
    #[error("the keyring is locked")]
    #[cfg_attr(all(not(feature = "keyring"), not(test)), expect(dead_code, reason = "no keyring is built in"))]
    Locked,
    /// The machine's, or a question on a screen that nobody answers.
    #[error("the keyring gave no answer within {} s", KEYRING_WITHIN.as_secs())]
    TimedOut,
    /// The keyring's: it is there and open, and does not have the key.
    #[error("the keyring has no entry {entry:?}")]
    #[cfg_attr(all(not(feature = "keyring"), not(test)), expect(dead_code, reason = "no keyring is built in"))]
    NoEntry {
        /// Its name.
        entry: String,
    },
    /// The keyring's: somebody wrote something else there.
    #[error("the entry {entry:?} of the keyring holds no key")]
    Malformed {
        /// Its name.
        entry: String,
    },
    /// The keyring's: any other failure.
    #[error("the keyring failed")]
    #[cfg_attr(all(not(feature = "keyring"), not(test)), expect(dead_code, reason = "no keyring is built in"))]
    Broken(#[source] Cause),
    /// The builder's.
    #[error("this program was built without the keyring")]
    #[cfg_attr(all(feature = "keyring", not(test)), expect(dead_code, reason = "a keyring is built in"))]
    NotBuilt,
}

/// The cause below an error of the keyring.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl KeyringError {
    /// Whether the same call may succeed later without anybody changing the vault.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Absent(_) | Self::Locked | Self::TimedOut | Self::Broken(_) => true,
            Self::NoEntry { .. } | Self::Malformed { .. } | Self::NotBuilt => false,
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked => "unlock the keyring, for instance by logging in to the desktop",
            Self::Absent(_) | Self::TimedOut | Self::Broken(_) => {
                "start the keyring and unlock it; without it: claviger seal rewrap --kit FILE --to keyfile"
            }
            Self::NoEntry { .. } | Self::Malformed { .. } | Self::NotBuilt => "claviger seal rewrap --kit FILE --to keyfile",
        }
    }
}

impl From<KeyringError> for CliError {
    fn from(error: KeyringError) -> Self {
        let caused = Self::caused(&error).0.message;
        Self::locked(caused).hint(error.hint())
    }
}

/// A keyring, entry by entry. Its calls may take as long as they like; [`Keyring`] gives up in time.
///
/// Cancel safety: a dropped call may or may not have happened. It leaves nothing behind that would hold up the process.
pub trait OsKeyring: Send + Sync + std::fmt::Debug + 'static {
    /// The text of an entry: 64 hexadecimal digits, which every keyring keeps and people can copy.
    fn read(&self, entry: &str) -> BoxFuture<'static, Result<Zeroizing<String>, KeyringError>>;

    /// Writes an entry, over one that is there.
    fn write(&self, entry: &str, text: Zeroizing<String>) -> BoxFuture<'static, Result<(), KeyringError>>;

    /// Removes an entry.
    fn remove(&self, entry: &str) -> BoxFuture<'static, Result<(), KeyringError>>;
}

/// The keyring behind a time limit. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keyring {
    os: Arc<dyn OsKeyring>,
    clock: Arc<dyn Clock>,
}

impl Keyring {
    /// Over any keyring.
    pub fn new(os: Arc<dyn OsKeyring>, clock: Arc<dyn Clock>) -> Self {
        Self { os, clock }
    }

    /// That of this system.
    pub fn of_system(env: &Env, clock: Arc<dyn Clock>) -> Self {
        Self::new(system(env), clock)
    }

    /// The root key in an entry.
    pub async fn read(&self, entry: &str) -> Result<RootSecret, KeyringError> {
        let text = self.in_time(self.os.read(entry)).await?;
        unhex(text.trim()).map(RootSecret::from_bytes).ok_or_else(|| KeyringError::Malformed { entry: entry.to_owned() })
    }

    /// Writes a root key and reads it back, so that no vault depends on a keyring that only said that it had kept it.
    pub async fn keep(&self, entry: &str, key: &RootSecret) -> Result<(), KeyringError> {
        self.in_time(self.os.write(entry, hex(key.expose()))).await?;
        let kept = self.read(entry).await?;
        let same = bool::from(subtle::ConstantTimeEq::ct_eq(kept.expose().as_slice(), key.expose().as_slice()));
        if same { Ok(()) } else { Err(KeyringError::Malformed { entry: entry.to_owned() }) }
    }

    /// Removes an entry. One that is not there is no error.
    pub async fn remove(&self, entry: &str) -> Result<(), KeyringError> {
        match self.in_time(self.os.remove(entry)).await {
            Err(KeyringError::NoEntry { .. }) => Ok(()),
            other => other,
        }
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, KeyringError>>) -> Result<T, KeyringError> {
        tokio::select! {
            answer = call => answer,
            () = self.clock.sleep(KEYRING_WITHIN) => Err(KeyringError::TimedOut),
        }
    }
}

/// The name of an entry for a new key.
pub fn entry_name() -> String {
    format!("vault-{}", *hex(&random_bytes::<ENTRY_RANDOM_BYTES>()))
}

#[cfg(all(feature = "keyring", target_os = "linux"))]
fn system(env: &Env) -> Arc<dyn OsKeyring> {
    Arc::new(secret_service::SecretService::new(env.session_bus.clone()))
}

#[cfg(all(feature = "keyring", target_os = "macos"))]
fn system(_env: &Env) -> Arc<dyn OsKeyring> {
    Arc::new(keychain::Keychain::default())
}

#[cfg(not(all(feature = "keyring", any(target_os = "linux", target_os = "macos"))))]
fn system(_env: &Env) -> Arc<dyn OsKeyring> {
    Arc::new(NotBuilt)
}

/// Stands where no keyring is built in.
#[cfg(not(all(feature = "keyring", any(target_os = "linux", target_os = "macos"))))]
#[derive(Debug)]
struct NotBuilt;

#[cfg(not(all(feature = "keyring", any(target_os = "linux", target_os = "macos"))))]
impl OsKeyring for NotBuilt {
    fn read(&self, _entry: &str) -> BoxFuture<'static, Result<Zeroizing<String>, KeyringError>> {
        Box::pin(async { Err(KeyringError::NotBuilt) })
    }

    fn write(&self, _entry: &str, _text: Zeroizing<String>) -> BoxFuture<'static, Result<(), KeyringError>> {
        Box::pin(async { Err(KeyringError::NotBuilt) })
    }

    fn remove(&self, _entry: &str) -> BoxFuture<'static, Result<(), KeyringError>> {
        Box::pin(async { Err(KeyringError::NotBuilt) })
    }
}

#[cfg(test)]
pub mod simulated;

#[cfg(test)]
mod tests {
    use super::simulated::{Mood, SimKeyring};
    use super::*;
    use claviger_testkit::SimClock;

    fn keyring() -> (Arc<SimKeyring>, Keyring, Arc<SimClock>) {
        let (os, clock) = (Arc::new(SimKeyring::default()), Arc::new(SimClock::new()));
        let keyring = Keyring::new(os.clone(), clock.clone());
        (os, keyring, clock)
    }

    #[test]
    fn only_what_somebody_must_mend_ends_a_start() {
        let cause = || Cause::from("c");
        let entry = || "e".to_owned();
        let pass = [KeyringError::Absent(None), KeyringError::Locked, KeyringError::TimedOut, KeyringError::Broken(cause())];
        let stay = [KeyringError::NoEntry { entry: entry() }, KeyringError::Malformed { entry: entry() }, KeyringError::NotBuilt];
        assert!(pass.iter().all(KeyringError::may_pass) && !stay.iter().any(KeyringError::may_pass));
        for error in pass.into_iter().chain(stay) {
            let error = CliError::from(error);
            assert!(error.exit_code() == 3 && error.0.hint.is_some(), "{error}");
        }
    }

    #[tokio::test]
    async fn a_key_comes_back_as_it_was_kept() {
        let (os, keyring, _clock) = keyring();
        let (entry, key) = (entry_name(), RootSecret::generate());
        keyring.keep(&entry, &key).await.unwrap();
        assert_eq!(keyring.read(&entry).await.unwrap().expose(), key.expose());
        keyring.remove(&entry).await.unwrap();
        keyring.remove(&entry).await.unwrap();
        assert!(matches!(keyring.read(&entry).await.unwrap_err(), KeyringError::NoEntry { .. }));
        os.put(&entry, "something else");
        assert!(matches!(keyring.read(&entry).await.unwrap_err(), KeyringError::Malformed { .. }));
        assert_ne!(entry_name(), entry_name());
    }

    #[tokio::test]
    async fn a_keyring_that_forgets_what_it_was_given_is_found_out() {
        let (os, keyring, _clock) = keyring();
        os.set(Mood::Forgets);
        assert!(matches!(keyring.keep("e", &RootSecret::generate()).await.unwrap_err(), KeyringError::NoEntry { .. }));
    }

    #[tokio::test]
    async fn a_keyring_that_hangs_is_given_up_after_the_limit_and_not_before() {
        let (os, keyring, clock) = keyring();
        os.set(Mood::Hangs);
        let mut read = std::pin::pin!(keyring.read("e"));
        assert!(futures_poll(read.as_mut()).await.is_none());
        clock.advance(KEYRING_WITHIN.saturating_sub(Duration::from_millis(1)));
        assert!(futures_poll(read.as_mut()).await.is_none());
        clock.advance(Duration::from_millis(1));
        assert!(matches!(read.await.unwrap_err(), KeyringError::TimedOut));
    }

    /// Polls once.
    async fn futures_poll<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
