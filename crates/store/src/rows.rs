//! The rows of the vault, as the store hands them out and takes them.

use crate::{Fingerprint, RowFault};
use claviger_domain::block::Block;
use claviger_domain::credential::{CredentialKind, Custody, GrantState, Source, Standing};
use claviger_domain::id::{AccountId, AttemptId, GrantId, GrantRevision, InstanceId, ProviderId, RowRevision};
use claviger_domain::identity::Identity;
use claviger_domain::options::{AccountOptions, OptionsChange};
use claviger_domain::origin::StoredOrigins;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::{Accessor, KeyKind};
use std::path::PathBuf;

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write<T> {
    /// It is on disk.
    Done(T),
    /// The row had moved on, or was gone: nothing was written.
    Stale,
}

/// How the rebinding of a grant ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebind {
    /// The secret is sealed under the new origins and this revision.
    Done(GrantRevision),
    /// A refresh was begun and not ended: nothing was written.
    Busy,
    /// The grant had moved on, or was gone: nothing was written.
    Stale,
}

/// Everything that a view is built from.
#[derive(Debug, Default)]
pub struct LoadedVault {
    /// The number that [`crate::Store::version`] would give.
    pub version: u64,
    /// All accounts that can be read and whose grant is one of their provider.
    pub accounts: Vec<AccountRow>,
    /// All grants that could be opened. Where an account's grant is not here, `faults` says why, by table and row.
    pub grants: Vec<GrantRow>,
    /// Blocks whose end lies ahead or behind; the reader compares with its clock.
    pub blocks: Vec<(AccountId, Block)>,
    /// All virtual keys.
    pub keys: Vec<KeyRow>,
    /// Rows that could not be read, each by name.
    pub faults: Vec<RowFault>,
    /// What the guard against copies found when this store was opened.
    pub guard: GuardState,
}

/// What the guard against copies of a vault found when the store was opened.
///
/// The guard compares the count of the database (its epoch) with a mirror outside the vault's folder. It notices a database
/// that was put back; it does not notice one that was copied together with its mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GuardState {
    /// The store was opened without a mirror: nothing was compared.
    #[default]
    Unguarded,
    /// The database is as new as its mirror.
    Current,
    /// There was no mirror, or none that can be read as one, though the vault is in use; it was written. A copy could not be noticed this time.
    MirrorAbsent,
    /// The mirror can neither be read nor written: a copy will not be noticed.
    MirrorUnusable,
    /// The database is older than its mirror: it was put back. Its logins were quarantined.
    Behind {
        /// The epoch of the database as it was found.
        epoch: u64,
        /// The epoch of the mirror.
        mirror: u64,
    },
    /// The mirror is that of another instance of this vault. Its logins were quarantined.
    OtherInstance,
}

/// An account: one identity at one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Its id.
    pub id: AccountId,
    /// Its provider.
    pub provider: ProviderId,
    /// Its grant.
    pub grant: GrantId,
    /// The revision of this row.
    pub revision: RowRevision,
    /// Who it is at the provider.
    pub identity: Identity,
    /// How it came here.
    pub source: Source,
    /// A name given by a person.
    pub label: Option<String>,
    /// Higher is drained first. Default 0.
    pub priority: i32,
    /// What else a person set for it.
    pub options: AccountOptions,
    /// Whether it may be picked.
    pub standing: Standing,
    /// The plan that its provider last told, in the provider's words.
    pub plan: Option<String>,
    /// When a person last logged in; `None` where that is not known, and for keys.
    pub logged_in_at: Option<Timestamp>,
    /// Since when it is here.
    pub created_at: Timestamp,
    /// When this row last changed.
    pub updated_at: Timestamp,
}

/// The secret of a grant.
#[derive(Debug)]
pub enum GrantSecret {
    /// A login.
    OAuth {
        /// The access token.
        access: SecretText,
        /// The refresh token; absent for a followed login whose tool shows none.
        refresh: Option<SecretText>,
    },
    /// A key.
    ApiKey {
        /// The key.
        key: SecretText,
    },
}

impl GrantSecret {
    /// The kind of credential.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::OAuth { .. } => CredentialKind::OAuth,
            Self::ApiKey { .. } => CredentialKind::ApiKey,
        }
    }

    /// The part by which its grant is known and fingerprinted: the refresh token, else the access token, or the key.
    pub fn identifying(&self) -> &str {
        match self {
            Self::OAuth { access, refresh } => refresh.as_ref().unwrap_or(access).expose(),
            Self::ApiKey { key } => key.expose(),
        }
    }
}

/// A grant with its secret opened.
#[derive(Debug)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// Its provider.
    pub provider: ProviderId,
    /// Moves with the secret only.
    pub revision: GrantRevision,
    /// The secret.
    pub secret: GrantSecret,
    /// Keyed hash of the refresh token, or of the key, or of the access token of a login without refresh token.
    pub fingerprint: Fingerprint,
    /// When the access token ends; `None` for one that does not say, and for keys.
    pub expires_at: Option<Timestamp>,
    /// When the access token was asked for, from which its life is counted.
    pub issued_at: Timestamp,
    /// The origins that the secret is bound to.
    pub origins: StoredOrigins,
    /// Who refreshes it.
    pub custody: Custody,
    /// Whether it can serve.
    pub state: GrantState,
    /// The refresh that was begun and not ended.
    pub intent: Option<IntentRow>,
    /// Since when it is quarantined: another copy of the vault may have used its refresh token up, so that it is not sent
    /// before a person says that it is ours. The access token serves.
    pub quarantined: Option<Timestamp>,
}

/// A refresh that was begun: the journal's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentRow {
    /// The revision whose refresh token was to be sent.
    pub from: GrantRevision,
    /// Keyed hash of that refresh token.
    pub fingerprint: Fingerprint,
    /// Every POST that may have been sent for it, first one first. [`crate::Store::intent_open`] takes exactly one and adds it.
    pub attempts: Vec<AttemptId>,
    /// The process that journalled last.
    pub instance: InstanceId,
    /// When the first attempt was journalled.
    pub opened_at: Timestamp,
}

/// A grant to be stored.
#[derive(Debug)]
pub struct GrantDraft {
    /// The secret.
    pub secret: GrantSecret,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When it was asked for, as far as known.
    pub issued_at: Timestamp,
    /// The origins to bind it to.
    pub origins: StoredOrigins,
    /// Who refreshes it.
    pub custody: Custody,
}

/// An account to be stored.
#[derive(Debug)]
pub struct AccountDraft {
    /// Its provider.
    pub provider: ProviderId,
    /// Its grant.
    pub grant: GrantDraft,
    /// Who it is; normalised.
    pub identity: Identity,
    /// How it came here.
    pub source: Source,
    /// A name given by a person; `None` keeps the one that is there.
    pub label: Option<String>,
    /// The priority of a new account; one that is there keeps its own.
    pub priority: i32,
    /// The options of a new account; one that is there keeps its own.
    pub options: AccountOptions,
    /// The plan that its provider told; `None` keeps what is known.
    pub plan: Option<String>,
    /// When a person logged in; `None` keeps what is known.
    pub logged_in_at: Option<Timestamp>,
    /// Whether it may be picked.
    pub standing: Standing,
    /// The account that it renews, whoever that was; `None` finds the account by its identity and its secret. The caller has
    /// made sure that no other account has the identity.
    pub onto: Option<AccountId>,
}

/// Where an account was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The account.
    pub account: AccountId,
    /// Its grant.
    pub grant: GrantId,
    /// Whether it is new, or replaced the secret of one that was there.
    pub outcome: PlacedOutcome,
}

/// What became of a placed account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlacedOutcome {
    /// It is new.
    Created,
    /// It was there; its secret or facts were replaced.
    Updated,
    /// It was there with this very secret; nothing of the secret changed.
    Unchanged,
}

/// What a person may set on an account. `None` leaves a field alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountPatch {
    /// A name; empty takes it away.
    pub label: Option<String>,
    /// Higher is drained first.
    pub priority: Option<i32>,
    /// The other options.
    pub options: OptionsChange,
    /// Whether it may be picked.
    pub standing: Option<Standing>,
    /// The plan that its provider told: no person's to set, and kept with what is.
    pub plan: Option<String>,
}

impl AccountPatch {
    /// The row after this change.
    pub(crate) fn apply(self, row: AccountRow, now: Timestamp) -> AccountRow {
        let Self { label, priority, options, standing, plan } = self;
        AccountRow {
            revision: row.revision.next(),
            label: label.map_or(row.label, |label| Some(label).filter(|label| !label.is_empty())),
            priority: priority.unwrap_or(row.priority),
            options: options.apply(row.options),
            standing: standing.unwrap_or(row.standing),
            plan: plan.or(row.plan),
            updated_at: now,
            ..row
        }
    }
}

/// A refreshed secret to be stored.
#[derive(Debug)]
pub struct GrantCommit {
    /// The grant.
    pub grant: GrantId,
    /// The revision that it replaces.
    pub from: GrantRevision,
    /// The new secret.
    pub secret: GrantSecret,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When it was asked for.
    pub issued_at: Timestamp,
    /// The attempt that brought it; `None` where a followed file did, whose secret is taken as it is.
    pub attempt: Option<AttemptId>,
}

/// A login of another tool to be taken over: its refresh token is ours to send from now on.
#[derive(Debug)]
pub struct GrantTake {
    /// The grant.
    pub grant: GrantId,
    /// The revision that it replaces.
    pub from: GrantRevision,
    /// What the tool's file holds, its refresh token with it.
    pub secret: GrantSecret,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// When it is taken.
    pub taken_at: Timestamp,
    /// The file of the tool.
    pub path: PathBuf,
}

/// How the taking over of a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// It is ours, under this revision.
    Done(GrantRevision),
    /// Its refresh token was redeemed here before: nothing was written.
    Spent,
    /// The grant had moved on, or was gone, or the same login is being refreshed elsewhere: nothing was written.
    Stale,
}

/// From where a login was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenRow {
    /// The grant.
    pub grant: GrantId,
    /// The file of the tool.
    pub path: PathBuf,
    /// The refresh token that it held.
    pub fingerprint: Fingerprint,
    /// When.
    pub taken_at: Timestamp,
}

/// A virtual key to be stored: its keyed hash, never its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDraft {
    /// Its public part.
    pub accessor: Accessor,
    /// What it is for.
    pub kind: KeyKind,
    /// Keyed hash of the whole text.
    pub digest: [u8; 32],
    /// A name given by a person.
    pub label: Option<String>,
    /// Providers that it may use; empty for all.
    pub providers: Vec<ProviderId>,
    /// Accounts that it may use; empty for all.
    pub accounts: Vec<AccountId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A virtual key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// As it was stored.
    pub key: KeyDraft,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A session's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickyRow {
    /// The provider.
    pub provider: ProviderId,
    /// The session.
    pub session: u64,
    /// The account.
    pub account: AccountId,
    /// When it was last used.
    pub used_at: Timestamp,
}

/// One line of the audit trail. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// What was done, for instance `token.export`.
    pub action: String,
    /// To what, for instance `account 3`.
    pub subject: String,
    /// By whom, for instance `uid 1000`.
    pub actor: String,
}

/// A raw answer of a token endpoint, as it is spilled before anybody reads it.
#[derive(Debug)]
pub struct SpillRecord {
    /// The status.
    pub status: u16,
    /// The `Date` header, as sent.
    pub date: Option<String>,
    /// The `Retry-After` header, as sent.
    pub retry_after: Option<String>,
    /// The `Content-Type` header, as sent.
    pub content_type: Option<String>,
    /// When the request was sent.
    pub sent_at: Timestamp,
    /// The body, raw. Zeroized on drop.
    pub body: zeroize::Zeroizing<Vec<u8>>,
}
