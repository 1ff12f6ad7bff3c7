//! Why a broker gives no credential.

use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;

/// Why a broker gives no credential. Messages go to clients: no secret, no account of somebody else in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The provider has no account that this key may use.
    #[error(
        "no account of {provider} that this key may use: add one with `claviger account add {provider} --from-json FILE` or `claviger login {provider} --with-key`"
    )]
    NoCredential {
        /// The provider.
        provider: ProviderId,
    },
    /// All accounts are set aside.
    #[error("all accounts of {provider} are set aside until their limits reset")]
    AllBlocked {
        /// The provider.
        provider: ProviderId,
        /// When the first one is free again.
        retry_at: Timestamp,
    },
    /// All accounts need a new login.
    #[error("every account of {provider} needs a new login: see `claviger account list`")]
    NeedsLogin {
        /// The provider.
        provider: ProviderId,
    },
    /// The provider's address is not the one that the account was stored for.
    #[error("account {account} was stored for another address of {provider}: if the new one is meant, `claviger account rebind {account}`")]
    OriginChanged {
        /// The provider.
        provider: ProviderId,
        /// The account.
        account: AccountId,
    },
    /// The token has ended, and its refresh token may have been used by another copy of the vault.
    #[error(
        "account {account} of {provider} is in quarantine, since this vault was put back from an older copy: if this is the copy in use, `claviger account take {account}`"
    )]
    Quarantined {
        /// The provider.
        provider: ProviderId,
        /// The account.
        account: AccountId,
    },
    /// The accounts that are left serve the vendor's own client alone, and the request comes from another.
    #[error(
        "account {account} of {provider} serves the vendor's own client only, as the vendor's terms or its owner want it: `claviger account set {account} --own-client-only off` if your terms allow more"
    )]
    OwnClientOnly {
        /// The provider.
        provider: ProviderId,
        /// The account.
        account: AccountId,
    },
    /// The key may not do this.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A limit of the key is used up.
    #[error("the limit {which} is used up")]
    OverLimit {
        /// The limit.
        which: String,
        /// When it is free again.
        retry_at: Timestamp,
    },
    /// The vault is not open yet, so nobody can be served.
    #[error("the vault is sealed: {why}")]
    Sealed {
        /// Why, and what helps, in words without a secret.
        why: String,
        /// When it is tried again.
        retry_at: Timestamp,
    },
    /// No token for now: its refresh failed for a reason that may pass.
    #[error("{provider} gives no fresh token at the moment: {why}")]
    Unavailable {
        /// The provider.
        provider: ProviderId,
        /// Why, in words without a secret.
        why: String,
        /// When another try makes sense.
        retry_at: Timestamp,
    },
}

/// Why a key may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No such key.
    #[error("this virtual key is not known here")]
    Unknown,
    /// It was revoked.
    #[error("this virtual key was revoked")]
    Revoked,
    /// Its time is over.
    #[error("this virtual key has expired")]
    Expired,
    /// It may not use this provider.
    #[error("this virtual key may not use {provider}")]
    Provider {
        /// The provider.
        provider: ProviderId,
    },
}
