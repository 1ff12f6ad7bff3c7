//! Secret text that crosses the socket because somebody asked for it or brought it.

use claviger_domain::secret::SecretText;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Secret text on its way over the socket or to the terminal: the one type of a secret that serializes.
///
/// It is made where a person asked for a secret or gave one, and nowhere else. Not printable, zeroized on drop.
pub struct Exposed(Zeroizing<String>);

impl Exposed {
    /// Takes the text over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Gives the text to the store.
    pub fn into_secret(mut self) -> SecretText {
        SecretText::new(std::mem::take(&mut *self.0))
    }
}

impl std::fmt::Debug for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exposed")
    }
}

impl Serialize for Exposed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Exposed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}
