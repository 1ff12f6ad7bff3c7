//! The login keychain of macOS, as far as one key needs it.

use super::{Cause, KeyringError, OsKeyring, SERVICE};
use claviger_runtime::BoxFuture;
use security_framework::base::Error;
use security_framework::passwords::{PasswordOptions, delete_generic_password, generic_password, set_generic_password};
use std::sync::Arc;
use tokio::sync::Mutex;
use zeroize::{Zeroize, Zeroizing};

/// `errSecItemNotFound`.
const ITEM_NOT_FOUND: i32 = -25300;
/// `errSecInteractionNotAllowed`: it would have to ask, and there is no screen.
const INTERACTION_NOT_ALLOWED: i32 = -25308;
/// `errSecAuthFailed`: it asked, and got a wrong answer.
const AUTH_FAILED: i32 = -25293;
/// `errSecUserCanceled`: it asked, and was sent away.
const USER_CANCELED: i32 = -128;
/// `errSecNotAvailable`.
const NOT_AVAILABLE: i32 = -25291;
/// `errSecNoDefaultKeychain`.
const NO_DEFAULT_KEYCHAIN: i32 = -25307;

/// The login keychain.
#[derive(Debug, Default, Clone)]
pub struct Keychain {
    /// Held on the helper thread for as long as a call takes, which may ask on a screen: calls that were given up do not pile up,
    /// and no second question is shown over the first one.
    one_at_a_time: Arc<Mutex<()>>,
}

impl Keychain {
    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, KeyringError>> {
        let turn = Arc::clone(&self.one_at_a_time).lock_owned();
        Box::pin(async move {
            let turn = turn.await;
            let done = tokio::task::spawn_blocking(move || {
                let result = work();
                drop(turn);
                result
            });
            done.await.unwrap_or_else(|lost| Err(KeyringError::Broken(Box::new(lost))))
        })
    }
}

impl OsKeyring for Keychain {
    fn read(&self, entry: &str) -> BoxFuture<'static, Result<Zeroizing<String>, KeyringError>> {
        let entry = entry.to_owned();
        self.call(move || {
            let options = PasswordOptions::new_generic_password(SERVICE, &entry);
            let mut bytes = generic_password(options).map_err(|error| failure(error, &entry))?;
            let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
            let text = text.map_err(|_not_text| KeyringError::Malformed { entry });
            bytes.zeroize();
            text
        })
    }

    fn write(&self, entry: &str, text: Zeroizing<String>) -> BoxFuture<'static, Result<(), KeyringError>> {
        let entry = entry.to_owned();
        self.call(move || set_generic_password(SERVICE, &entry, text.as_bytes()).map_err(|error| failure(error, &entry)))
    }

    fn remove(&self, entry: &str) -> BoxFuture<'static, Result<(), KeyringError>> {
        let entry = entry.to_owned();
        self.call(move || delete_generic_password(SERVICE, &entry).map_err(|error| failure(error, &entry)))
    }
}

fn failure(error: Error, entry: &str) -> KeyringError {
    let code = error.code();
    let cause: Cause = Box::new(error);
    match code {
        ITEM_NOT_FOUND => KeyringError::NoEntry { entry: entry.to_owned() },
        INTERACTION_NOT_ALLOWED | AUTH_FAILED | USER_CANCELED => KeyringError::Locked,
        NOT_AVAILABLE | NO_DEFAULT_KEYCHAIN => KeyringError::Absent(Some(cause)),
        _ => KeyringError::Broken(cause),
    }
}
