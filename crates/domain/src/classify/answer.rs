//! The rows of a class table against one answer, and the defaults where no row matches.

use super::body::Body;
use super::{Class, ClassRule, ClassTable, ClassifyContext, ResetPlace, RuleScope, Verdict, reset};
use crate::block::BlockScope;
use crate::time::Timestamp;
use http::HeaderMap;
use std::time::Duration;

/// A throttle that lasts this long is a used-up quota in effect: waiting on it helps nobody, another account does.
pub const THROTTLE_MAX: Duration = Duration::from_mins(5);

/// Codes that say that a quota is used up.
const QUOTA_CODES: [&str; 9] = [
    "insufficient_quota",
    "usage_limit_reached",
    "quota_exceeded",
    "quota_exhausted",
    "billing_hard_limit_reached",
    "insufficient_balance",
    "insufficient_credits",
    "credits_required",
    "budget_exceeded",
];

/// Wording that says that a quota is used up.
const QUOTA_WORDING: [&str; 17] = [
    "exceeded your current quota",
    "exceeded your quota",
    "quota exceeded",
    "quota has been exceeded",
    "quota exhausted",
    "usage limit",
    "monthly limit",
    "weekly limit",
    "daily limit",
    "insufficient quota",
    "insufficient balance",
    "insufficient credit",
    "out of credits",
    "available credits",
    "usage credits are required",
    "spending limit",
    "budget has been exceeded",
];

/// Codes of a throttle.
const THROTTLE_CODES: [&str; 1] = ["rate_limit_exceeded"];

/// Wording of a throttle; a quota's wording may stand beside it.
const THROTTLE_WORDING: [&str; 6] = ["per minute", "per second", "per min ", "per min.", "requests per min", "tokens per min"];

/// Wording of a cap on simultaneous requests.
const CONCURRENCY_WORDING: [&str; 4] = ["concurrent requests", "concurrency limit", "too many simultaneous", "parallel request limit"];

/// Wording of an overloaded provider.
const CAPACITY_WORDING: [&str; 4] = ["overloaded", "at capacity", "over capacity", "no capacity"];

/// Words in a 403 that make it a verdict on the account rather than on the request.
const DENIAL_WORDS: [&str; 13] = [
    "permission",
    "permissions",
    "organization",
    "organisation",
    "workspace",
    "plan",
    "plans",
    "subscription",
    "not allowed",
    "not authorized",
    "not entitled",
    "suspended",
    "deactivated",
];

pub(super) fn classify_answer(table: &ClassTable, context: ClassifyContext<'_>, status: u16, headers: &HeaderMap, body: &[u8]) -> Class {
    let answer = Answer { status, headers, body: Body::new(body), stamp_offset_minutes: table.stamp_offset_minutes };
    if let Some(rule) = table.rules.iter().find(|rule| matches(rule, &context, &answer)) {
        return conclude(rule.verdict, &rule.scope, &rule.resets, &context, &answer);
    }
    if status < 400 {
        return Class::Accepted;
    }
    let (verdict, scope) = default_verdict(&answer);
    conclude(verdict, &scope, &[], &context, &answer)
}

/// One answer, its body read lazily.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Body<'a>,
    pub(super) stamp_offset_minutes: Option<i32>,
}

fn matches(rule: &ClassRule, context: &ClassifyContext<'_>, answer: &Answer<'_>) -> bool {
    let status = if rule.statuses.is_empty() { answer.status >= 400 } else { rule.statuses.contains(&answer.status) };
    status
        && rule.kind.is_none_or(|kind| kind == context.kind)
        && (rule.models.is_empty() || context.model.is_some_and(|model| rule.models.iter().any(|part| model.contains(part.as_str()))))
        && rule.header.as_ref().is_none_or(|(name, values)| {
            let sent = answer.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            sent.into_iter().any(|sent| values.contains(&sent.trim().to_lowercase()))
        })
        && rule.json.as_ref().is_none_or(|(path, values)| answer.body.any_at(path, |found| values.iter().any(|value| value == found)))
        && (rule.text.is_empty() || rule.text.iter().any(|fragment| answer.body.text().contains(fragment.as_str())))
}

fn conclude(verdict: Verdict, scope: &RuleScope, places: &[ResetPlace], context: &ClassifyContext<'_>, answer: &Answer<'_>) -> Class {
    let until = || reset::until(places, answer, context.now);
    match verdict {
        Verdict::Unauthorized => Class::Unauthorized,
        Verdict::UsageLimit => Class::UsageLimit { scope: block_scope(scope, context), until: until() },
        Verdict::Policy => Class::Policy { scope: block_scope(scope, context) },
        Verdict::RateLimited => match until() {
            Some(end) if is_long(end, context.now) => Class::UsageLimit { scope: block_scope(scope, context), until: Some(end) },
            until => Class::RateLimited { until },
        },
        Verdict::Concurrency => Class::Concurrency,
        Verdict::Capacity => Class::Capacity,
        Verdict::Unrelated => Class::Unrelated,
    }
}

fn is_long(end: Timestamp, now: Timestamp) -> bool {
    end.until(now) >= THROTTLE_MAX
}

fn block_scope(scope: &RuleScope, context: &ClassifyContext<'_>) -> BlockScope {
    match (scope, context.model) {
        (RuleScope::Tier(tier), _) => BlockScope::Tier(tier.clone()),
        (RuleScope::RequestedModel, Some(model)) => BlockScope::Model(model.to_owned()),
        (RuleScope::Account, _) | (RuleScope::RequestedModel, None) => BlockScope::Account,
    }
}

/// What an answer of 400 and above means by its status, and by its body where the status leaves it open.
///
/// Bodies are read for 403 and 429 only: the error of a bad request may quote the request, and then any word may occur.
fn default_verdict(answer: &Answer<'_>) -> (Verdict, RuleScope) {
    let verdict = match answer.status {
        401 => Verdict::Unauthorized,
        402 => Verdict::UsageLimit,
        403 => return forbidden(&answer.body),
        429 => too_many(&answer.body),
        503 | 529 => Verdict::Capacity,
        _ => Verdict::Unrelated,
    };
    (verdict, RuleScope::Account)
}

fn too_many(body: &Body<'_>) -> Verdict {
    if body.is_opaque() {
        Verdict::UsageLimit
    } else if body.contains_any(&CONCURRENCY_WORDING) {
        Verdict::Concurrency
    } else if body.has_code(&QUOTA_CODES) {
        Verdict::UsageLimit
    } else if body.has_code(&THROTTLE_CODES) || body.contains_any(&THROTTLE_WORDING) {
        Verdict::RateLimited
    } else if body.contains_any(&QUOTA_WORDING) {
        Verdict::UsageLimit
    } else if body.contains_any(&CAPACITY_WORDING) {
        Verdict::Capacity
    } else {
        Verdict::RateLimited
    }
}

/// A page of a firewall is not the provider's verdict: only a JSON error counts.
fn forbidden(body: &Body<'_>) -> (Verdict, RuleScope) {
    if body.json().is_none() {
        (Verdict::Unrelated, RuleScope::Account)
    } else if body.has_code(&QUOTA_CODES) || body.contains_any(&QUOTA_WORDING) {
        (Verdict::UsageLimit, RuleScope::Account)
    } else if body.says_any(&DENIAL_WORDS) {
        (Verdict::Policy, if body.says_any(&["model"]) { RuleScope::RequestedModel } else { RuleScope::Account })
    } else {
        (Verdict::Unrelated, RuleScope::Account)
    }
}
