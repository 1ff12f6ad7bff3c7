//! An account as requests meet it; its blocks and its credential cell live across views.

use arc_swap::ArcSwap;
use claviger_contract::{Authorization, HeaderEdit, LiveCell, LiveGrant};
use claviger_domain::block::{Block, BlockEnd, PROBE_INTERVAL, longest};
use claviger_domain::cascade::Rung;
use claviger_domain::classify::RESET_MAX;
use claviger_domain::credential::{CredentialKind, Custody, GrantState};
use claviger_domain::identity::Identity;
use claviger_domain::origin::{Origin, Purpose, StoredOrigins};
use claviger_domain::profile::{HeaderMode, HeaderText, ProviderProfile, Rotation, WireRule};
use claviger_domain::time::{Timestamp, millis};
use claviger_store::{AccountRow, BLOCKS_PER_ACCOUNT_MAX, GrantRow, GrantSecret};
use http::HeaderValue;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::grant::{GrantFacts, GrantLive, Moment};

/// An account as requests meet it.
#[derive(Debug)]
pub(crate) struct AccountLive {
    pub(crate) row: AccountRow,
    pub(crate) kind: CredentialKind,
    pub(crate) rung: Rung,
    pub(crate) profile: Arc<ProviderProfile>,
    pub(crate) grant: Arc<GrantLive>,
    pub(crate) cell: Arc<LiveCell>,
    pub(crate) allowed: Arc<BTreeSet<Origin>>,
    pub(crate) reach: Reach,
    /// The same of its refresh token, which goes elsewhere.
    pub(crate) refresh_reach: Reach,
    pub(crate) blocks: Arc<Blocks>,
}

/// Whether an account's credential may go where its provider now is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It may.
    Admitted,
    /// The provider's address is not the one that the account was stored for.
    OriginChanged,
    /// The provider takes no credential of this kind, or the secret cannot stand in a header.
    Unusable,
}

/// Why an account cannot serve a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Set aside until then; a guess may be probed.
    Blocked { until: Timestamp, end: BlockEnd },
}

impl AccountLive {
    /// The reach of a stored grant under a profile.
    pub(crate) fn reach(profile: &ProviderProfile, origins: &StoredOrigins, live: Option<&LiveGrant>) -> Reach {
        if !profile.origins_admitted(origins, Purpose::Inference) {
            return Reach::OriginChanged;
        }
        if live.is_some() { Reach::Admitted } else { Reach::Unusable }
    }

    /// The reach of a refresh token that is ours to send.
    pub(crate) fn refresh_reach(profile: &ProviderProfile, grant: &GrantRow) -> Reach {
        let sent = grant.custody == Custody::Owned && matches!(&grant.secret, GrantSecret::OAuth { refresh: Some(_), .. });
        let moved = sent && profile.refresh.is_some() && !profile.origins_admitted(&grant.origins, Purpose::Token);
        if moved { Reach::OriginChanged } else { Reach::Admitted }
    }

    /// Whether a flight can bring a new token: the grant lives, and there is something to refresh it with. In quarantine that is
    /// only what an earlier flight may have left behind; once it was looked for, the grant rests.
    pub(crate) fn is_renewable(&self, facts: &GrantFacts, resting: Option<Timestamp>) -> bool {
        let way = self.profile.refresh.is_some() || matches!(facts.custody, Custody::Followed { .. });
        let held_up = self.quarantine(facts).is_some() && (!facts.intent_open || resting.is_some());
        let reached = self.refresh_reach == Reach::Admitted;
        facts.renewable && facts.state == GrantState::Live && way && reached && !held_up
    }

    /// Since when its token is not refreshed because another copy of the vault may have done so. A refresh token that is not
    /// consumed by being sent is nobody's in particular.
    pub(crate) fn quarantine(&self, facts: &GrantFacts) -> Option<Timestamp> {
        let consumed = self.profile.refresh.as_ref().is_some_and(|rule| rule.rotation != Rotation::NonRotating);
        let alive = facts.state == GrantState::Live && facts.custody == Custody::Owned;
        facts.quarantined.filter(|_| consumed && alive && facts.renewable)
    }

    /// What stands in the way of a request for `model`, by blocks.
    pub(crate) fn obstacle(&self, model: Option<&str>, moment: Moment) -> Option<Obstacle> {
        if moment.now.0 >= self.blocks.latest_until.load(Ordering::Acquire) {
            return None;
        }
        let blocks = self.blocks.list.load();
        let covering = blocks.iter().filter(|held| held.block.scope.covers(model));
        let (until, held) = covering.filter_map(|held| Some((held.ends_at(moment)?, held))).max_by_key(|(until, _)| *until)?;
        Some(Obstacle::Blocked { until, end: held.block.end })
    }
}

/// The credential of an account as it is written into requests; `None` where the profile has no way to.
pub(crate) fn live_grant(profile: &ProviderProfile, identity: &Identity, grant: &GrantRow) -> Option<LiveGrant> {
    let rule = profile.wire(grant.secret.kind())?;
    let secret = match &grant.secret {
        GrantSecret::OAuth { access, .. } => access,
        GrantSecret::ApiKey { key } => key,
    };
    let edits = header_edits(rule, identity, secret.expose())?;
    Some(LiveGrant::new(grant.revision, Authorization::Headers(edits), rule.query.clone()))
}

fn header_edits(rule: &WireRule, identity: &Identity, secret: &str) -> Option<Vec<HeaderEdit>> {
    let text = rule.scheme.as_ref().map(|scheme| zeroize::Zeroizing::new(format!("{scheme} {secret}")));
    let mut value = HeaderValue::from_str(text.as_ref().map_or(secret, |text| text.as_str())).ok()?;
    value.set_sensitive(true);
    let mut edits = vec![HeaderEdit::Set(rule.header.clone(), value)];
    for extra in &rule.extra {
        let value = match &extra.value {
            HeaderText::Fixed(value) => Some(value.clone()),
            HeaderText::AccountId => identity.account_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()),
            HeaderText::ProjectId => identity.project_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()),
            HeaderText::OrgId => identity.org_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()),
        };
        let Some(value) = value else { continue };
        let name = extra.name.clone();
        edits.push(match extra.mode {
            HeaderMode::Set => HeaderEdit::Set(name, value),
            HeaderMode::AddToList => HeaderEdit::AddToList(name, value),
            HeaderMode::IfAbsent => HeaderEdit::IfAbsent(name, value),
        });
    }
    Some(edits)
}

/// The blocks of one account.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    list: ArcSwap<Vec<HeldBlock>>,
    /// Milliseconds since the epoch that no block in the list outlasts. It only grows: a request that meets no block reads no list.
    latest_until: AtomicI64,
    /// Milliseconds on the boot clock from which the next probe is allowed.
    probe_from: AtomicI64,
}

#[derive(Debug, Clone)]
struct HeldBlock {
    block: Block,
    /// The same end on the boot clock: of the two the earlier one counts, so that a wall clock that is set back holds no account back.
    until_on_boot_clock: Duration,
    /// Whether the vault has it; a reload drops only those that it has.
    persisted: bool,
}

impl HeldBlock {
    /// One that is met now. No answer sets an account aside for longer than [`RESET_MAX`], wherever the wall clock stood then.
    fn met(block: Block, persisted: bool, moment: Moment) -> Self {
        let left = block.until.until(moment.now).min(RESET_MAX);
        Self { block, until_on_boot_clock: moment.boot.saturating_add(left), persisted }
    }

    /// When it ends, as the wall clock shows it now; `None` for one that has ended.
    fn ends_at(&self, moment: Moment) -> Option<Timestamp> {
        let left = self.block.until.until(moment.now).min(self.until_on_boot_clock.saturating_sub(moment.boot));
        (left > Duration::ZERO).then(|| moment.now.plus(left))
    }
}

impl Blocks {
    /// Sets a scope aside; of two ends the later one holds. Says which block holds now. What has ended is forgotten, and of too
    /// many those that end first, as the vault does.
    pub(crate) fn put(&self, block: &Block, moment: Moment) -> Block {
        let mut held = block.clone();
        self.latest_until.fetch_max(block.until.0, Ordering::AcqRel);
        self.list.rcu(|list| {
            let current = list.iter().find(|held| held.block.scope == block.scope);
            held = longest(current.map(|held| held.block.clone()), block.clone());
            let met = HeldBlock::met(block.clone(), false, moment).until_on_boot_clock;
            let until_on_boot_clock = current.map_or(met, |current| current.until_on_boot_clock.max(met));
            let other = |held: &&HeldBlock| held.block.scope != block.scope && held.block.until > moment.now;
            let mut list: Vec<HeldBlock> = list.iter().filter(other).cloned().collect();
            if list.len() >= BLOCKS_PER_ACCOUNT_MAX as usize {
                list.sort_by_key(|held| std::cmp::Reverse(held.block.until));
                list.truncate(BLOCKS_PER_ACCOUNT_MAX as usize - 1);
            }
            list.push(HeldBlock { block: held.clone(), until_on_boot_clock, persisted: false });
            list
        });
        held
    }

    /// The vault has this block.
    pub(crate) fn persisted(&self, block: &Block) {
        self.list.rcu(|list| {
            let mut list = Vec::clone(list);
            list.iter_mut().filter(|held| held.block == *block).for_each(|held| held.persisted = true);
            list
        });
    }

    /// Takes over what the vault has; what is still on its way there stays.
    pub(crate) fn adopt(&self, stored: &[Block], moment: Moment) {
        let latest = stored.iter().map(|block| block.until.0).max().unwrap_or(0);
        self.latest_until.fetch_max(latest, Ordering::AcqRel);
        self.list.rcu(|list| {
            let on_its_way = list.iter().filter(|held| !held.persisted).cloned();
            let stored = stored.iter().filter(|block| !list.iter().any(|held| !held.persisted && held.block.scope == block.scope));
            let known = |block: &Block| list.iter().find(|held| held.persisted && held.block == *block).cloned();
            let met = |block: &Block| known(block).unwrap_or_else(|| HeldBlock::met(block.clone(), true, moment));
            stored.map(met).chain(on_its_way).collect::<Vec<_>>()
        });
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.list.store(Arc::default());
    }

    /// Those that have not ended, each with its end.
    pub(crate) fn current(&self, moment: Moment) -> Vec<Block> {
        let list = self.list.load();
        list.iter().filter_map(|held| Some(Block { until: held.ends_at(moment)?, ..held.block.clone() })).collect()
    }

    /// Takes the one probe that is allowed in a while. Of many requests one gets it.
    pub(crate) fn take_probe(&self, boot: Duration) -> bool {
        let from = self.probe_from.load(Ordering::Relaxed);
        let next = millis(boot.saturating_add(PROBE_INTERVAL));
        millis(boot) >= from && self.probe_from.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
