//! `[events]`: what is told to the outside of what happens to accounts.

use super::Setting;
use claviger_admin::EventKind;
use claviger_domain::origin::Endpoint;
use claviger_domain::value_ref::ValueRef;

/// `[events]`. Takes effect with the next event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// `command`: a program and its arguments, started with each event on its stdin. No shell reads it. Default none.
    pub command: Setting<Vec<String>>,
    /// `webhook`: where each event is posted to. Default nowhere.
    pub webhook: Setting<Option<Endpoint>>,
    /// `webhook_secret`: where the key is that signs what is posted, `env:NAME` or `file:PATH`. Default none.
    pub webhook_secret: Setting<Option<ValueRef>>,
    /// `kinds`: which events are told. Default all.
    pub kinds: Setting<Vec<String>>,
}

impl EventSettings {
    /// Nothing is told to anybody.
    pub(super) fn defaults() -> Self {
        Self {
            command: Setting::default(Vec::new()),
            webhook: Setting::default(None),
            webhook_secret: Setting::default(None),
            kinds: Setting::default(Vec::new()),
        }
    }

    /// Whether events of a kind are told.
    pub fn tells(&self, word: &str) -> bool {
        self.kinds.value.is_empty() || self.kinds.value.iter().any(|kind| kind == word)
    }

    /// The webhook's origin: what follows may be as good as a password.
    pub(super) fn webhook_shown(&self) -> Option<String> {
        self.webhook.value.as_ref().map(|webhook| format!("{}/…", webhook.origin))
    }
}

pub(super) fn command(words: Vec<String>) -> Result<Vec<String>, String> {
    if words.first().is_none_or(String::is_empty) {
        return Err("events.command: a program and its arguments are expected".to_owned());
    }
    Ok(words)
}

/// The text is not repeated in an error: it may be as good as a password.
pub(super) fn webhook(url: &str) -> Result<Endpoint, String> {
    url.parse().map_err(|_source| "events.webhook: an https:// address is expected, or an http:// one of this machine".to_owned())
}

pub(super) fn webhook_secret(text: &str) -> Result<ValueRef, String> {
    match ValueRef::read(text) {
        Ok(place @ (ValueRef::Env(_) | ValueRef::File(_))) => Ok(place),
        Ok(ValueRef::Cmd(_) | ValueRef::Literal(_)) => Err("events.webhook_secret: env:NAME or file:PATH is expected".to_owned()),
        Err(error) => Err(format!("events.webhook_secret: {error}")),
    }
}

pub(super) fn kinds(kinds: Vec<String>) -> Result<Vec<String>, String> {
    match kinds.iter().find(|kind| !EventKind::WORDS.contains(&kind.as_str())) {
        Some(unknown) => Err(format!("events.kinds: {unknown:?} is none of {}", EventKind::WORDS.join(", "))),
        None => Ok(kinds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_repeated_by_no_error_and_shown_nowhere() {
        for error in [webhook("http://hooks.example/canary-path"), webhook("canary-path")].map(Result::unwrap_err) {
            assert!(!error.contains("canary"), "{error}");
        }
        assert!(!webhook_secret("canary-secret").unwrap_err().contains("canary"));
        let settings = EventSettings {
            webhook: Setting::default(Some(webhook("https://hooks.example/canary-path").unwrap())),
            ..EventSettings::defaults()
        };
        assert_eq!(settings.webhook_shown().as_deref(), Some("https://hooks.example:443/…"));
    }

    #[test]
    fn only_known_kinds_are_filtered_by() {
        assert!(kinds(vec!["account_blocked".into()]).is_ok());
        assert!(kinds(vec!["account_bocked".into()]).unwrap_err().contains("account_blocked"));
        let some = EventSettings { kinds: Setting::default(vec!["login_ends".into()]), ..EventSettings::defaults() };
        assert!(some.tells("login_ends") && !some.tells("account_blocked"));
        assert!(EventSettings::defaults().tells("account_blocked"));
    }
}
