//! Admissions: a client that may ask, and what it used.

use claviger_domain::id::{AccountId, ProviderId, RequestId};
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::{Accessor, KeyKind};
use std::sync::Arc;
use std::time::Duration;

/// What a virtual key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGrant {
    /// Its public part.
    pub accessor: Accessor,
    /// What it is for.
    pub kind: KeyKind,
    /// A name given by a person.
    pub label: Option<String>,
    /// Providers that it may use; empty for all.
    pub providers: Vec<ProviderId>,
    /// Accounts that it may use; empty for all.
    pub accounts: Vec<AccountId>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

impl KeyGrant {
    /// Whether it may use a provider.
    pub fn admits_provider(&self, provider: &ProviderId) -> bool {
        self.providers.is_empty() || self.providers.contains(provider)
    }

    /// Whether it may use an account.
    pub fn admits_account(&self, account: AccountId) -> bool {
        self.accounts.is_empty() || self.accounts.contains(&account)
    }
}

/// What one request used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The request.
    pub request: RequestId,
    /// Its provider.
    pub provider: ProviderId,
    /// The account that answered, where one did.
    pub account: Option<AccountId>,
    /// The status that the client got.
    pub status: u16,
    /// How many attempts it took.
    pub attempts: usize,
    /// From the first byte in to the last byte out.
    pub took: Duration,
}

/// Hears how admissions end. Called on the request's task: it must not wait.
pub trait AdmissionSink: Send + Sync + std::fmt::Debug {
    /// A request of this key ended; without a record where it was dropped before it could say what it used.
    fn ended(&self, key: &KeyGrant, record: Option<&Record>);
}

/// A client that may ask. Settled once; dropped, it ends without a record.
#[derive(Debug)]
pub struct Admission {
    key: Arc<KeyGrant>,
    sink: Option<Arc<dyn AdmissionSink>>,
}

impl Admission {
    /// Admits the holder of a key.
    pub fn new(key: Arc<KeyGrant>, sink: Arc<dyn AdmissionSink>) -> Self {
        Self { key, sink: Some(sink) }
    }

    /// The key.
    pub fn key(&self) -> &KeyGrant {
        &self.key
    }

    /// Ends it with what the request used.
    #[expect(clippy::needless_pass_by_value, reason = "an admission ends once, and so does what is said of it")]
    pub fn settle(mut self, record: Record) {
        if let Some(sink) = self.sink.take() {
            sink.ended(&self.key, Some(&record));
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.ended(&self.key, None);
        }
    }
}
