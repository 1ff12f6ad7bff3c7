//! Enums of the domain as the words that stand in the log.

use claviger_domain::usage::{LimitRole, LimitStatus, UsageSource};

const STATUSES: [LimitStatus; 4] = [LimitStatus::Unknown, LimitStatus::Ok, LimitStatus::Warning, LimitStatus::Exhausted];

pub(super) fn status(word: &str) -> Option<LimitStatus> {
    STATUSES.into_iter().find(|status| status.as_str() == word)
}

const ROLES: [(LimitRole, &str); 4] =
    [(LimitRole::Primary, "primary"), (LimitRole::Secondary, "secondary"), (LimitRole::Gate, "gate"), (LimitRole::Shown, "shown")];

pub(super) fn role_word(role: LimitRole) -> &'static str {
    ROLES.into_iter().find(|(known, _)| *known == role).map_or("shown", |(_, word)| word)
}

pub(super) fn role(word: &str) -> Option<LimitRole> {
    ROLES.into_iter().find(|(_, known)| *known == word).map(|(role, _)| role)
}

pub(super) const fn source_word(source: UsageSource) -> &'static str {
    match source {
        UsageSource::Headers => "headers",
        UsageSource::Endpoint => "endpoint",
    }
}

pub(super) fn source(word: &str) -> Option<UsageSource> {
    [UsageSource::Headers, UsageSource::Endpoint].into_iter().find(|source| source_word(*source) == word)
}
