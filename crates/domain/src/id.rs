//! Newtype ids: the only keys by which anything is addressed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An id that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {why}")]
pub struct InvalidId {
    /// The kind of id, for instance `account id`.
    pub what: &'static str,
    /// What was given.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                match text.parse::<i64>() {
                    Ok(number) if number > 0 => Ok(Self(number)),
                    _ => Err(InvalidId { what: $what, text: text.to_owned(), why: "a positive whole number is expected" }),
                }
            }
        }
    };
}

row_id!(
    /// An account: one identity at one provider. Never reused after a removal.
    AccountId, "account id"
);
row_id!(
    /// A grant: one login's tokens, or one API key. Several accounts may refer to one grant. Never reused.
    GrantId, "grant id"
);

macro_rules! revision {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The revision of a new row.
            pub const FIRST: Self = Self(1);

            /// The revision after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// Accounts and grants that are in no vault have ids from here on; a vault counts from 1 and never comes this far.
pub const UNSTORED_IDS_FROM: i64 = 2_000_000_000;

impl AccountId {
    /// Whether the account is in no vault: it stands in the configuration or the environment, and is changed there.
    pub const fn is_unstored(self) -> bool {
        self.0 >= UNSTORED_IDS_FROM
    }
}

revision!(
    /// Moves only when the secret of a grant changes. Leases, refresh intents and sealed fields name it.
    GrantRevision
);
revision!(
    /// Moves when anything else of a row changes: label, standing, priority.
    RowRevision
);

/// Most bytes of a provider id; ids stand in URLs and file names.
pub const PROVIDER_ID_MAX_BYTES: usize = 64;

/// A provider's id in the catalogue: lower-case letters, digits, `-`, `_` and `.`, starting with a letter or digit. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(Arc<str>);

impl ProviderId {
    /// Reads an id.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let well_formed = text.len() <= PROVIDER_ID_MAX_BYTES
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        if well_formed {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId {
                what: "provider id",
                text: text.chars().take(PROVIDER_ID_MAX_BYTES).collect(),
                why: "lower-case letters, digits, '-', '_' and '.' are expected, 64 at most",
            })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProviderId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::new(text)
    }
}

impl std::borrow::Borrow<str> for ProviderId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let number = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
                number.map(Self).ok_or_else(|| InvalidId { what: $what, text: text.to_owned(), why: "32 hexadecimal digits are expected" })
            }
        }
    };
}

random_id!(
    /// One POST to a token endpoint: names its journal entry and its spill slot. 128 random bits.
    AttemptId, "attempt id"
);
random_id!(
    /// One running process of Claviger. 128 random bits.
    InstanceId, "instance id"
);

/// One request through the gateway, as `x-claviger-request-id` shows it. 64 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_id_keeps_to_what_is_safe_in_a_url_and_a_file_name() {
        for good in ["vendor", "vendor-two", "a.b_c", "4ever"] {
            assert!(ProviderId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(ProviderId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_random_id_reads_back_what_it_printed() {
        let id = AttemptId(0xabc);
        assert_eq!(id.to_string().parse::<AttemptId>(), Ok(id));
        assert!("abc".parse::<AttemptId>().is_err());
    }

    #[test]
    fn an_account_id_is_a_positive_number() {
        assert_eq!("7".parse::<AccountId>(), Ok(AccountId(7)));
        assert!("0".parse::<AccountId>().is_err());
        assert!("-1".parse::<AccountId>().is_err());
    }
}
