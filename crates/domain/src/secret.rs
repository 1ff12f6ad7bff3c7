//! Secrets: opaque, zeroized, not printable, not comparable, not serializable, not cloneable.

use std::fmt;
use zeroize::Zeroize;

/// Most bytes of a secret; the token endpoints' answers are capped at 64 KiB.
pub const SECRET_MAX_BYTES: usize = 64 * 1024;

/// Secret text of no particular kind, as the store moves it. Its memory is overwritten when it is dropped.
///
/// ```compile_fail
/// let secret = claviger_domain::secret::SecretText::new("s".to_owned());
/// let copy = secret.clone();
/// ```
/// ```compile_fail
/// let secret = claviger_domain::secret::SecretText::new("s".to_owned());
/// println!("{secret}");
/// ```
/// ```compile_fail
/// let a = claviger_domain::secret::SecretText::new("s".to_owned());
/// let same = a == a;
/// ```
pub struct SecretText(Box<str>);

impl SecretText {
    /// Takes the text over. A buffer with spare capacity is copied and overwritten, so that no second copy stays behind.
    pub fn new(mut text: String) -> Self {
        if text.capacity() == text.len() {
            return Self(text.into_boxed_str());
        }
        let exact = Box::from(text.as_str());
        text.zeroize();
        Self(exact)
    }

    /// The text. Only where bytes leave: a header, a request body, the sealing of a field.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// What of a secret is shown, so that its owner knows it again: `…` and its last four letters; of one with up to eight letters,
/// of which four would be half, that it is there.
pub fn masked(secret: &str) -> String {
    const SHOWN: usize = 4;
    let letters = secret.chars().count();
    if letters <= 2 * SHOWN {
        return "…[set]".to_owned();
    }
    std::iter::once('…').chain(secret.chars().skip(letters - SHOWN)).collect()
}

/// Defines a kind of secret text. `Debug` prints the type's name only.
#[macro_export]
macro_rules! secret_kind {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name($crate::secret::SecretText);

        impl $name {
            /// Takes the text over.
            pub fn new(text: String) -> Self {
                Self($crate::secret::SecretText::new(text))
            }

            /// From secret text of no particular kind.
            pub fn from_text(text: $crate::secret::SecretText) -> Self {
                Self(text)
            }

            /// The text. Only where bytes leave.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }

            /// Gives the text up, for the store.
            pub fn into_text(self) -> $crate::secret::SecretText {
                self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

secret_kind!(
    /// An OAuth access token.
    AccessToken
);
secret_kind!(
    /// A provider's API key.
    ApiKey
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_the_end_of_a_long_secret_and_nothing_of_a_short_one() {
        for (secret, shown) in [("abcdefgh", "…[set]"), ("", "…[set]"), ("abcdefghi", "…fghi"), ("sk-test-äöüß", "…äöüß")] {
            assert_eq!(masked(secret), shown);
        }
    }

    #[test]
    fn debug_prints_the_name_of_the_type_only() {
        let token = AccessToken::new("canary-at".to_owned());
        assert_eq!(format!("{token:?} {:?}", token.0), "AccessToken SecretText");
    }
}
