//! A keyring in memory that behaves as badly as it is told to, for tests.

use super::{KeyringError, OsKeyring};
use claviger_runtime::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// How it behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    #[default]
    Open,
    /// It is locked.
    Locked,
    /// It never answers.
    Hangs,
    /// There is none.
    Absent,
    /// It says that it keeps what it is given, and does not.
    Forgets,
}

/// A keyring in memory.
#[derive(Debug, Default)]
pub struct SimKeyring {
    mood: Mutex<Mood>,
    entries: Arc<Mutex<HashMap<String, String>>>,
    asked: watch::Sender<u32>,
}

impl SimKeyring {
    /// Changes how it behaves from the next call on.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Writes an entry from outside.
    pub fn put(&self, entry: &str, text: &str) {
        self.entries.lock().unwrap().insert(entry.to_owned(), text.to_owned());
    }

    /// How many calls there were.
    pub fn asked(&self) -> u32 {
        *self.asked.borrow()
    }

    /// Waits until there were so many calls.
    pub async fn asked_times(&self, count: u32) {
        drop(self.asked.subscribe().wait_for(|asked| *asked >= count).await);
    }

    /// The names of all entries.
    pub fn entries(&self) -> Vec<String> {
        self.entries.lock().unwrap().keys().cloned().collect()
    }

    fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut HashMap<String, String>) -> Result<T, KeyringError>,
    ) -> BoxFuture<'static, Result<T, KeyringError>> {
        self.asked.send_modify(|asked| *asked += 1);
        let answer = match *self.mood.lock().unwrap() {
            Mood::Open => work(&mut self.entries.lock().unwrap()),
            Mood::Forgets => work(&mut HashMap::new()),
            Mood::Locked => Err(KeyringError::Locked),
            Mood::Absent => Err(KeyringError::Absent(None)),
            Mood::Hangs => return Box::pin(std::future::pending()),
        };
        Box::pin(async { answer })
    }
}

impl OsKeyring for SimKeyring {
    fn read(&self, entry: &str) -> BoxFuture<'static, Result<Zeroizing<String>, KeyringError>> {
        let none = KeyringError::NoEntry { entry: entry.to_owned() };
        self.call(|entries| entries.get(entry).cloned().map(Zeroizing::new).ok_or(none))
    }

    fn write(&self, entry: &str, text: Zeroizing<String>) -> BoxFuture<'static, Result<(), KeyringError>> {
        self.call(|entries| {
            entries.insert(entry.to_owned(), text.to_string());
            Ok(())
        })
    }

    fn remove(&self, entry: &str) -> BoxFuture<'static, Result<(), KeyringError>> {
        let none = KeyringError::NoEntry { entry: entry.to_owned() };
        self.call(|entries| entries.remove(entry).map(drop).ok_or(none))
    }
}
