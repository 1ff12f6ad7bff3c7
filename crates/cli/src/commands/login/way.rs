//! Which way to log in: what was typed, what the provider has, and where this machine stands.

use crate::args::LoginArgs;
use crate::env::Env;
use crate::error::CliError;
use claviger_admin::LoginWayWord;
use claviger_domain::profile::ProviderProfile;
use claviger_providers::login::{LoginRule, LoginWay};

/// Where a person sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At this machine, with a desktop.
    Desktop,
    /// Elsewhere, over SSH, or at a machine without a desktop: a browser here would be seen by nobody.
    Remote,
}

impl Place {
    /// As the environment tells it.
    pub fn of(env: &Env) -> Self {
        let set = |name: &str| env.lookup(name).is_some();
        let remote = set("SSH_CONNECTION") || set("SSH_TTY");
        let desktop = cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY") || set("BROWSER");
        if desktop && !remote { Self::Desktop } else { Self::Remote }
    }
}

/// Whether a browser is opened on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Browser {
    /// It is.
    Opened,
    /// The person opens the page, here or elsewhere.
    Elsewhere,
}

/// How a login goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which way.
    pub way: LoginWayWord,
    /// Whether a browser is opened here.
    pub browser: Browser,
    /// Whether something can be pasted.
    pub pastes: bool,
}

/// Decides. What was typed wins; over SSH and without a desktop come first the ways that need no browser on this machine.
pub fn plan(profile: &ProviderProfile, rule: &LoginRule, args: &LoginArgs, place: Place) -> Result<Plan, CliError> {
    let id = &profile.id;
    let has = |word| rule.ways.iter().any(|way| word_of(way) == word);
    let first_of = |words: &[LoginWayWord]| words.iter().copied().find(|word| has(*word));
    let in_order = || rule.ways.iter().map(word_of).find(|word| *word != LoginWayWord::Key);
    let elsewhere = [LoginWayWord::Device, LoginWayWord::Vendor, LoginWayWord::Paste, LoginWayWord::Loopback];
    let (found, missing) = if args.with_key {
        (first_of(&[LoginWayWord::Key]), "keys")
    } else if args.device {
        (first_of(&[LoginWayWord::Device, LoginWayWord::Vendor]), "a code that is typed on another device")
    } else if args.paste {
        (first_of(&[LoginWayWord::Paste, LoginWayWord::Loopback]), "anything to paste")
    } else {
        let preferred = if place == Place::Desktop { in_order() } else { first_of(&elsewhere) };
        (preferred.or_else(|| first_of(&[LoginWayWord::Key])), "")
    };
    let Some(way) = found else {
        let (message, hint) = match (args.with_key, rule.ways.is_empty()) {
            (_, true) => (format!("no way to log in to {id} is known"), format!("claviger account add {id} --from-json FILE")),
            (true, false) => (format!("{id} takes logins, and no keys"), format!("claviger login {id}")),
            (false, false) => (format!("{id} has no login by {missing}"), format!("claviger login {id}")),
        };
        return Err(CliError::refused(message).hint(rule.advice.clone().unwrap_or(hint)));
    };
    let browser = if place == Place::Desktop && !args.no_browser { Browser::Opened } else { Browser::Elsewhere };
    Ok(Plan {
        way,
        browser,
        // A person at this machine whose browser comes back by itself is asked for nothing.
        pastes: way == LoginWayWord::Paste || (way == LoginWayWord::Loopback && (browser == Browser::Elsewhere || args.paste)),
    })
}

fn word_of(way: &LoginWay) -> LoginWayWord {
    match way {
        LoginWay::Loopback(_) => LoginWayWord::Loopback,
        LoginWay::Paste(_) => LoginWayWord::Paste,
        LoginWay::Device(_) => LoginWayWord::Device,
        LoginWay::Vendor(_) => LoginWayWord::Vendor,
        LoginWay::Key(_) => LoginWayWord::Key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_providers::catalogue::Catalogue;

    fn args(provider: &str) -> LoginArgs {
        LoginArgs { provider: provider.to_owned(), ..LoginArgs::default() }
    }

    fn planned(args: &LoginArgs, place: Place) -> Plan {
        let catalogue = Catalogue::builtin();
        plan(catalogue.get(&args.provider).unwrap(), catalogue.login(&args.provider).unwrap(), args, place).unwrap()
    }

    #[test]
    fn over_ssh_and_without_a_desktop_no_browser_is_wanted_here() {
        let place = |table: &[(&str, &str)]| Place::of(&Env::fixed(table));
        assert_eq!(place(&[("DISPLAY", ":0")]), Place::Desktop);
        assert_eq!(place(&[("WAYLAND_DISPLAY", "wayland-0")]), Place::Desktop);
        assert_eq!(place(&[("DISPLAY", ":0"), ("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")]), Place::Remote);
        if !cfg!(target_os = "macos") {
            assert_eq!(place(&[]), Place::Remote);
        }
        let codex = planned(&args("openai-codex"), Place::Remote);
        assert_eq!((codex.way, codex.browser), (LoginWayWord::Vendor, Browser::Elsewhere));
    }

    #[test]
    fn a_person_at_a_desktop_is_asked_to_paste_nothing() {
        let codex = planned(&args("openai-codex"), Place::Desktop);
        assert_eq!(codex, Plan { way: LoginWayWord::Loopback, browser: Browser::Opened, pastes: false });
        let typed = LoginArgs { no_browser: true, ..args("openai-codex") };
        assert_eq!(planned(&typed, Place::Desktop), Plan { browser: Browser::Elsewhere, pastes: true, ..codex });
    }

    #[test]
    fn a_key_is_asked_for_only_where_there_is_nothing_else() {
        assert_eq!(planned(&args("openai"), Place::Desktop).way, LoginWayWord::Key);
        assert_eq!(planned(&args("openrouter"), Place::Desktop).way, LoginWayWord::Loopback);
        assert_eq!(planned(&LoginArgs { with_key: true, ..args("openrouter") }, Place::Desktop).way, LoginWayWord::Key);
    }

    #[test]
    fn a_way_that_the_provider_has_not_is_refused_with_what_to_type() {
        let catalogue = Catalogue::builtin();
        for typed in [LoginArgs { device: true, ..args("openai") }, LoginArgs { with_key: true, ..args("openai-codex") }] {
            let (profile, rule) = (catalogue.get(&typed.provider).unwrap(), catalogue.login(&typed.provider).unwrap());
            let error = plan(profile, rule, &typed, Place::Desktop).unwrap_err();
            assert_eq!(error.exit_code(), 5);
            assert!(error.0.hint.is_some());
        }
    }
}
