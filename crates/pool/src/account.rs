//! An account as requests meet it; its blocks and its credential cell live across views.

use arc_swap::ArcSwap;
use claviger_contract::{Authorization, HeaderEdit, LiveCell, LiveGrant};
use claviger_domain::block::{Block, BlockEnd, BlockScope, PROBE_INTERVAL, longest};
use claviger_domain::cascade::Rung;
use claviger_domain::classify::RESET_MAX;
use claviger_domain::credential::{CredentialKind, Custody, GrantState};
use claviger_domain::family::Families;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::identity::Identity;
use claviger_domain::options::ModelPrefix;
use claviger_domain::origin::{Origin, Purpose, StoredOrigins};
use claviger_domain::profile::{HeaderMode, HeaderText, ProviderProfile, Rotation, WireRule};
use claviger_domain::secret::masked;
use claviger_domain::time::{Timestamp, millis};
use claviger_store::{AccountRow, BLOCKS_PER_ACCOUNT_MAX, GrantRow, GrantSecret};
use http::HeaderValue;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::ambient::{KeySigner, is_ambient, is_awaited};
use crate::grant::{GrantFacts, GrantLive, Moment};
use crate::usage::live::AccountUsage;

/// An account as requests meet it.
#[derive(Debug)]
pub(crate) struct AccountLive {
    pub(crate) row: AccountRow,
    pub(crate) kind: CredentialKind,
    /// The end of its key.
    pub(crate) masked_key: Option<String>,
    /// Whether it serves the vendor's own client alone.
    pub(crate) own_client_only: bool,
    pub(crate) rung: Rung,
    pub(crate) profile: Arc<ProviderProfile>,
    pub(crate) grant: Arc<GrantLive>,
    pub(crate) cell: Arc<LiveCell>,
    pub(crate) allowed: Arc<BTreeSet<Origin>>,
    /// The one of them that the provider gave to this account, where it gave one.
    pub(crate) origin: Option<Arc<Origin>>,
    pub(crate) reach: Reach,
    /// The same of its refresh token, which goes elsewhere.
    pub(crate) refresh_reach: Reach,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) usage: Arc<AccountUsage>,
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
    /// The origin that the provider gave to an account, if it is one of the provider's own. Any other is left alone: an answer of
    /// a provider says where its requests go among what the catalogue admits, and no further.
    pub(crate) fn origin(profile: &ProviderProfile, identity: &Identity) -> Option<Arc<Origin>> {
        let given: Origin = identity.api_endpoint.as_deref()?.parse().ok()?;
        (given != profile.base.origin && profile.origins.inference.contains(&given)).then(|| Arc::new(given))
    }

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

    /// Whether it serves requests with this model prefix: one that has a prefix serves no others.
    pub(crate) fn answers_to(&self, prefix: Option<&str>) -> bool {
        self.row.options.model_prefix.as_ref().map(ModelPrefix::as_str) == prefix
    }

    /// Whether a flight can bring a new token: the grant lives, and there is something to refresh it with. In quarantine that is
    /// only what an earlier flight may have left behind; once it was looked for, the grant rests. A login of this machine may be
    /// mended where it stands.
    pub(crate) fn is_renewable(&self, facts: &GrantFacts, resting: Option<Timestamp>) -> bool {
        let way = self.profile.refresh.is_some() || matches!(facts.custody, Custody::Followed { .. });
        let held_up = self.quarantine(facts).is_some() && (!facts.intent_open || resting.is_some());
        let reached = self.refresh_reach == Reach::Admitted;
        facts.renewable && (facts.state == GrantState::Live || is_ambient(self.row.grant, &facts.custody)) && way && reached && !held_up
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
        let covering = blocks.iter().filter(|held| held.block.scope.covers_in(model, &self.profile.families));
        let (until, held) = covering.filter_map(|held| Some((held.ends_at(moment)?, held))).max_by_key(|(until, _)| *until)?;
        Some(Obstacle::Blocked { until, end: held.block.end })
    }
}

/// Whether an account serves the vendor's own client alone: by what a person set, else by the vendor's terms, which are about
/// logins and not about keys, and about the vendor's own servers: of a provider that was moved elsewhere they say nothing.
pub(crate) fn own_client_only(profile: &ProviderProfile, row: &AccountRow, kind: CredentialKind) -> bool {
    let ProviderProfile { terms, origins, builtin_origins, .. } = profile;
    let is_vendors = builtin_origins.as_ref().is_none_or(|builtin| builtin.inference == origins.inference);
    row.options.own_client.holds(kind == CredentialKind::OAuth && terms.own_client_only && is_vendors)
}

/// The end of a key. That of a token would say nothing to its owner, and changes with every refresh.
pub(crate) fn masked_key(secret: &GrantSecret) -> Option<String> {
    match secret {
        GrantSecret::ApiKey { key } => Some(masked(key.expose())).filter(|_| !key.expose().is_empty()),
        GrantSecret::OAuth { .. } => None,
    }
}

/// The prefixes by which accounts are asked for; those of disabled accounts too, so that no request goes elsewhere unawares.
pub(crate) fn model_prefixes(accounts: &HashMap<AccountId, Arc<AccountLive>>) -> HashMap<ProviderId, BTreeSet<ModelPrefix>> {
    let mut prefixes: HashMap<_, BTreeSet<_>> = HashMap::new();
    for account in accounts.values() {
        if let Some(prefix) = &account.row.options.model_prefix {
            prefixes.entry(account.profile.id.clone()).or_default().insert(prefix.clone());
        }
    }
    prefixes
}

/// The credential of an account as it is written into requests; `None` where the profile has no way to.
pub(crate) fn live_grant(profile: &ProviderProfile, identity: &Identity, grant: &GrantRow) -> Option<LiveGrant> {
    let rule = profile.wire(grant.secret.kind())?;
    if is_awaited(grant) {
        return Some(LiveGrant::awaited(grant.revision));
    }
    let secret = match &grant.secret {
        GrantSecret::OAuth { access, .. } => access,
        GrantSecret::ApiKey { key } => key,
    };
    let authorization = match &rule.signing {
        Some(signing) => Authorization::Sign(Arc::new(KeySigner::new(secret.expose(), signing)?)),
        None => Authorization::Headers(header_edits(rule, identity, secret.expose())?),
    };
    Some(LiveGrant::new(grant.revision, authorization, rule.query.clone()))
}

fn header_edits(rule: &WireRule, identity: &Identity, secret: &str) -> Option<Vec<HeaderEdit>> {
    if secret.is_empty() {
        return None;
    }
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
    /// Those that were lifted here, while a reading of the vault may still have them.
    lifted: ArcSwap<Vec<LiftedBlock>>,
    /// Milliseconds since the epoch that no block in the list outlasts. It only grows: a request that meets no block reads no list.
    latest_until: AtomicI64,
    /// Milliseconds on the boot clock from which the next probe is allowed.
    probe_from: AtomicI64,
    /// How many readings of the vault were begun: one that was begun before a block came there has nothing to say of it.
    readings: AtomicU64,
}

/// A request that was let through to an account that is set aside.
#[derive(Debug)]
pub(crate) struct Probe {
    model: Option<String>,
    begun_on_boot_clock: Duration,
}

#[derive(Debug, Clone)]
struct HeldBlock {
    block: Block,
    /// The same end on the boot clock: of the two the earlier one counts, so that a wall clock that is set back holds no account back.
    until_on_boot_clock: Duration,
    /// Since which reading the vault has it, `None` while it is on its way there; only a later reading that lacks it drops it.
    persisted: Option<u64>,
    /// When this process last heard of it: what was told before says nothing against it.
    met: Moment,
}

#[derive(Debug, Clone)]
struct LiftedBlock {
    block: Block,
    /// Since which reading the vault does not have it; `None` while that is on its way there.
    persisted: Option<u64>,
}

impl HeldBlock {
    /// One that is met now. No answer sets an account aside for longer than [`RESET_MAX`], wherever the wall clock stood then.
    fn met(block: Block, persisted: Option<u64>, moment: Moment) -> Self {
        let left = block.until.until(moment.now).min(RESET_MAX);
        Self { block, until_on_boot_clock: moment.boot.saturating_add(left), persisted, met: moment }
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
        self.lifted.rcu(|lifted| lifted.iter().filter(|lifted| lifted.block.scope != block.scope).cloned().collect::<Vec<_>>());
        self.latest_until.fetch_max(block.until.0, Ordering::AcqRel);
        self.list.rcu(|list| {
            let current = list.iter().find(|held| held.block.scope == block.scope);
            held = longest(current.map(|held| held.block.clone()), block.clone());
            let met = HeldBlock::met(block.clone(), None, moment).until_on_boot_clock;
            let until_on_boot_clock = current.map_or(met, |current| current.until_on_boot_clock.max(met));
            let other = |held: &&HeldBlock| held.block.scope != block.scope && held.block.until > moment.now;
            let mut list: Vec<HeldBlock> = list.iter().filter(other).cloned().collect();
            if list.len() >= BLOCKS_PER_ACCOUNT_MAX as usize {
                list.sort_by_key(|held| std::cmp::Reverse(held.block.until));
                list.truncate(BLOCKS_PER_ACCOUNT_MAX as usize - 1);
            }
            list.push(HeldBlock { block: held.clone(), until_on_boot_clock, persisted: None, met: moment });
            list
        });
        held
    }

    /// The vault has this block.
    pub(crate) fn persisted(&self, block: &Block) {
        let reading = self.readings.load(Ordering::Acquire);
        self.list.rcu(|list| {
            let mut list = Vec::clone(list);
            list.iter_mut().filter(|held| held.block == *block).for_each(|held| held.persisted = Some(reading));
            list
        });
    }

    /// What was lifted of a scope is lifted in the vault too, as far as that could be done.
    pub(crate) fn lift_persisted(&self, scope: &BlockScope) {
        let reading = self.readings.load(Ordering::Acquire);
        self.lifted.rcu(|lifted| {
            let mut lifted = Vec::clone(lifted);
            lifted.iter_mut().filter(|lifted| lifted.block.scope == *scope).for_each(|lifted| lifted.persisted = Some(reading));
            lifted
        });
    }

    /// A reading of the vault begins, which [`Blocks::adopt`] will take over.
    pub(crate) fn note_reading(&self) {
        self.readings.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes over what the vault had when it was read last; what came there or went since, or is on its way, stays as it is here.
    pub(crate) fn adopt(&self, stored: &[Block], moment: Moment) {
        let latest = stored.iter().map(|block| block.until.0).max().unwrap_or(0);
        let reading = self.readings.load(Ordering::Acquire);
        self.latest_until.fetch_max(latest, Ordering::AcqRel);
        let is_pending = |persisted: Option<u64>| persisted.is_none_or(|since| since >= reading);
        self.lifted.rcu(|lifted| lifted.iter().filter(|lifted| is_pending(lifted.persisted)).cloned().collect::<Vec<_>>());
        let lifted = self.lifted.load();
        let is_lifted = |block: &Block| lifted.iter().any(|lifted| lifted.block == *block);
        self.list.rcu(|list| {
            let is_unread = |held: &HeldBlock| is_pending(held.persisted);
            let on_its_way = list.iter().filter(|held| is_unread(held)).cloned();
            let stored = stored
                .iter()
                .filter(|block| !is_lifted(block) && !list.iter().any(|held| is_unread(held) && held.block.scope == block.scope));
            let known = |block: &Block| list.iter().find(|held| !is_unread(held) && held.block == *block).cloned();
            let met =
                |block: &Block| known(block).unwrap_or_else(|| HeldBlock::met(block.clone(), Some(reading.saturating_sub(1)), moment));
            stored.map(met).chain(on_its_way).collect::<Vec<_>>()
        });
    }

    /// Lifts those of which `is_disproved` says so, told when this process last heard of each; says which they were.
    pub(crate) fn lift(&self, moment: Moment, mut is_disproved: impl FnMut(&Block, Moment) -> bool) -> Vec<Block> {
        let mut lifted = Vec::new();
        if self.list.load().is_empty() {
            return lifted;
        }
        self.list.rcu(|list| {
            lifted.clear();
            let (out, kept) = list.iter().cloned().partition::<Vec<_>, _>(|held| is_disproved(&held.block, held.met));
            lifted.extend(out.into_iter().filter(|held| held.ends_at(moment).is_some()).map(|held| held.block));
            kept
        });
        if !lifted.is_empty() {
            self.lifted.rcu(|before| {
                let other = |before: &&LiftedBlock| lifted.iter().all(|block| block.scope != before.block.scope);
                let new = lifted.iter().map(|block| LiftedBlock { block: block.clone(), persisted: None });
                new.chain(before.iter().filter(other).cloned()).take(BLOCKS_PER_ACCOUNT_MAX as usize).collect::<Vec<_>>()
            });
        }
        lifted
    }

    /// Lifts guessed blocks that stood in the way of a probe, which was accepted; says which they were. One that came after the
    /// probe had begun stays.
    pub(crate) fn lift_probed(&self, probe: &Probe, families: &Families, moment: Moment) -> Vec<Block> {
        let Probe { model, begun_on_boot_clock } = probe;
        self.lift(moment, |block, met| {
            block.end == BlockEnd::Guessed && block.scope.covers_in(model.as_deref(), families) && met.boot <= *begun_on_boot_clock
        })
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.list.store(Arc::default());
    }

    /// Those that have not ended, each with its end.
    pub(crate) fn current(&self, moment: Moment) -> Vec<Block> {
        if moment.now.0 >= self.latest_until.load(Ordering::Acquire) {
            return Vec::new();
        }
        let list = self.list.load();
        list.iter().filter_map(|held| Some(Block { until: held.ends_at(moment)?, ..held.block.clone() })).collect()
    }

    /// Takes the one probe that is allowed in a while, for a request for `model`. Of many requests one gets it.
    pub(crate) fn take_probe(&self, model: Option<&str>, boot: Duration) -> Option<Probe> {
        let from = self.probe_from.load(Ordering::Relaxed);
        let next = millis(boot.saturating_add(PROBE_INTERVAL));
        let is_ours = millis(boot) >= from && self.probe_from.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_ours.then(|| Probe { model: model.map(str::to_owned), begun_on_boot_clock: boot })
    }
}
