//! Options of another tool's accounts, turned into ours; what cannot be turned is named in the notes.

use super::ImportedAccount;
use claviger_domain::credential::Standing;
use claviger_domain::options::{AccountOptions, OptionError, ProxyUrl, WEIGHT_MAX, Weight};
use claviger_domain::secret::SecretText;

/// The options as they are written.
#[derive(Debug, Default)]
pub(super) struct RawOptions {
    /// A whole number; higher is used first, as here.
    pub(super) priority: Option<String>,
    /// A whole number; nought and less take an account out of the rotation.
    pub(super) weight: Option<String>,
    /// A URL, which may hold a password; `direct` and `none` stand for no proxy.
    pub(super) proxy: Option<SecretText>,
    /// What a model's name begins with.
    pub(super) prefix: Option<String>,
}

/// The options as ours.
#[derive(Debug, Default)]
pub(super) struct Options {
    options: AccountOptions,
    priority: i32,
    disabled: Option<String>,
    notes: Vec<String>,
}

impl Options {
    pub(super) fn of(raw: RawOptions) -> Self {
        let RawOptions { priority, weight, proxy, prefix } = raw;
        let mut found = Self::default();
        if let Some(text) = priority {
            match text.trim().parse() {
                Ok(priority) => found.priority = priority,
                Err(_) => found.notes.push("its priority is no whole number and is left out".to_owned()),
            }
        }
        if let Some(text) = weight {
            found.weigh(&text);
        }
        if let Some(proxy) = proxy.filter(|proxy| !["direct", "none"].contains(&proxy.expose().trim())) {
            // Without the proxy it must not go: somebody meant that.
            match proxy.expose().parse::<ProxyUrl>() {
                Ok(proxy) => found.options.proxy = Some(proxy),
                Err(why) => found.refuse(&why, "its proxy"),
            }
        }
        if let Some(prefix) = prefix.map(|prefix| prefix.trim().trim_matches('/').to_owned()).filter(|prefix| !prefix.is_empty()) {
            match prefix.parse() {
                Ok(prefix) => found.options.model_prefix = Some(prefix),
                Err(why) => found.refuse(&why, "its prefix"),
            }
        }
        found
    }

    fn weigh(&mut self, text: &str) {
        match text.trim().parse::<f64>() {
            Ok(weight) if weight <= 0.0 => self.disabled = Some("its weight was 0: it was out of the rotation".to_owned()),
            Ok(weight) => {
                if weight > f64::from(WEIGHT_MAX) {
                    self.notes.push(format!("its weight is more than {WEIGHT_MAX}, which it is now"));
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped to what fits")]
                let weight = weight.round().clamp(1.0, f64::from(WEIGHT_MAX)) as u16;
                self.options.weight = Weight::new(weight).unwrap_or_default();
            }
            Err(_) => self.notes.push("its weight is no number and is left out".to_owned()),
        }
    }

    /// Stored switched off, so that it serves nobody in a way that its owner did not mean.
    fn refuse(&mut self, why: &OptionError, what: &str) {
        self.disabled = Some(format!("{what} cannot be taken over: {why}"));
    }

    pub(super) fn apply(self, account: &mut ImportedAccount) {
        let Self { options, priority, disabled, notes } = self;
        account.options = options;
        account.priority = priority;
        account.notes.extend(notes);
        if let (Some(cause), Standing::Active) = (disabled, &account.standing) {
            account.notes.push(cause.clone());
            account.standing = Standing::Disabled { cause, since: claviger_domain::time::Timestamp(0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::options::ModelPrefix;

    fn read(priority: &str, weight: &str, proxy: &str, prefix: &str) -> Options {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let proxy = text(proxy).map(SecretText::new);
        Options::of(RawOptions { priority: text(priority), weight: text(weight), proxy, prefix: text(prefix) })
    }

    #[test]
    fn options_are_taken_over_and_clamped() {
        let found = read("7", "250", "http://n:canary-pw@proxy.example:1", "/team/");
        assert_eq!((found.priority, found.options.weight.get()), (7, 100));
        assert_eq!(found.options.model_prefix.as_ref().map(ModelPrefix::as_str), Some("team"));
        assert_eq!(found.options.proxy.as_ref().map(ProxyUrl::host), Some("proxy.example"));
        assert_eq!((found.disabled.as_deref(), found.notes.len()), (None, 1));
        assert!(!format!("{found:?}").contains("canary"));
        assert_eq!(read("", "", "direct", "").options, AccountOptions::default());
    }

    #[test]
    fn an_account_whose_proxy_cannot_be_spoken_to_does_not_go_without_it() {
        for (weight, proxy, prefix) in [("", "https://canary-pw@h:1", ""), ("0", "", ""), ("", "", "a b")] {
            let cause = read("", weight, proxy, prefix).disabled.unwrap();
            assert!(!cause.contains("canary"), "{cause}");
        }
        assert_eq!(read("first", "heavy", "", "").notes.len(), 2);
    }
}
