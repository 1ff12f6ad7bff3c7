//! The cascade: which of several sources a credential is taken from.

/// What a source says when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sourced<T, E> {
    /// It has a value.
    Found(T),
    /// It has nothing to say; the next source is asked.
    Absent,
    /// It was meant to have a value and has none that works; the cascade stops here.
    Broken(E),
}

/// The rungs, first asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// Given to this process when it was started; nowhere written down.
    Runtime,
    /// From the configuration.
    Config,
    /// A login that is refreshed.
    OAuth,
    /// A key that a person gave.
    LoginKey,
    /// From the environment of this process.
    Environment,
    /// A key copied from another tool; it may be old.
    ImportedKey,
}

impl Rung {
    /// All rungs, first asked first.
    pub const ORDER: [Self; 6] = [Self::Runtime, Self::Config, Self::OAuth, Self::LoginKey, Self::Environment, Self::ImportedKey];
}

/// Asks the sources in order. Only `Absent` falls through: a broken source never silently becomes another account.
pub fn resolve<T, E, I>(sources: I) -> Sourced<T, E>
where
    I: IntoIterator<Item = Sourced<T, E>>,
{
    sources.into_iter().find(|answer| !matches!(answer, Sourced::Absent)).unwrap_or(Sourced::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absent_falls_through() {
        type S = Sourced<u8, &'static str>;
        assert_eq!(resolve([S::Absent, S::Found(2), S::Found(3)]), S::Found(2));
        assert_eq!(resolve([S::Absent, S::Broken("why"), S::Found(3)]), S::Broken("why"));
        assert_eq!(resolve([S::Absent]), S::Absent);
    }

    #[test]
    fn a_login_precedes_a_key_given_by_a_person_which_precedes_a_copy() {
        assert!(Rung::ORDER.is_sorted());
    }
}
