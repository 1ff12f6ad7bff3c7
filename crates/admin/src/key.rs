//! Virtual keys as the control plane shows and takes them.

use crate::{Exposed, time_text};
use claviger_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A virtual key to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCreate {
    /// A name given by a person.
    #[serde(default)]
    pub label: Option<String>,
    /// Providers that it may use, by id or alias; empty for all.
    #[serde(default)]
    pub providers: Vec<String>,
    /// Accounts that it may use; empty for all.
    #[serde(default)]
    pub accounts: Vec<i64>,
    /// How long it lives, in seconds; absent for ever.
    #[serde(default)]
    pub lifetime_s: Option<u64>,
}

/// A virtual key that was made. The only place where its text stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeyCreated {
    /// The key's text.
    pub key: Exposed,
    /// All else of it.
    #[serde(flatten)]
    pub view: KeyView,
}

/// A virtual key without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its public part.
    pub id: String,
    /// A name given by a person.
    pub label: Option<String>,
    /// Providers that it may use; empty for all.
    pub providers: Vec<String>,
    /// Accounts that it may use; empty for all.
    pub accounts: Vec<i64>,
    /// When it was made.
    #[serde(with = "time_text")]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[serde(with = "time_text::option")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(with = "time_text::option")]
    pub revoked_at: Option<Timestamp>,
    /// When a request last used it, as far as this process saw.
    #[serde(with = "time_text::option")]
    pub used_at: Option<Timestamp>,
}

/// All virtual keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// Newest first.
    pub keys: Vec<KeyView>,
}
