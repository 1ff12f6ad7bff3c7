//! The rows in memory and what every write does to them.

use crate::place::{
    AccountFacts, GrantPlan, KnownAccount, KnownGrant, PlaceFacts, SPENT_CAUSE, SecretMatch, account_after, compare, outcome, parts, plan,
};
use crate::seal::Keyring;
use crate::{
    APPLIED_REMEMBERED, AccountDraft, AccountPatch, AccountRow, AuditEntry, BLOCKS_PER_ACCOUNT_MAX, Fingerprint, GrantCommit, GrantDraft,
    GrantRow, GrantSecret, GrantTake, GuardState, IntentRow, KeyDraft, KeyRow, LoadedVault, Placed, PlacedOutcome, RUN_KEY_REMEMBERED,
    Rebind, RowFault, RowFaultKind, STICKY_ROWS_MAX, SpillRecord, StickyRow, StoreError, Take, TakenRow, Write,
};
use claviger_domain::block::{Block, BlockScope, longest};
use claviger_domain::credential::{CredentialKind, Custody, GrantState};
use claviger_domain::id::{AccountId, AttemptId, GrantId, GrantRevision, ProviderId, RowRevision};
use claviger_domain::identity::Identity;
use claviger_domain::origin::StoredOrigins;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::{Accessor, KeyKind};
use std::collections::{BTreeMap, BTreeSet};

/// A slot for an answer.
#[derive(Debug)]
pub(super) enum Slot {
    Empty,
    Filled { grant: GrantId, from: GrantRevision, record: SpillRecord },
    Damaged,
}

/// All rows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) closed: bool,
    pub(super) guard: GuardState,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) applied: BTreeMap<AttemptId, Timestamp>,
    pub(super) slots: BTreeMap<AttemptId, Slot>,
    accounts: BTreeMap<AccountId, AccountRow>,
    last_account: i64,
    grants: BTreeMap<GrantId, GrantRow>,
    last_grant: i64,
    damaged: BTreeSet<GrantId>,
    /// Grants whose secret came from outside.
    given: BTreeSet<GrantId>,
    /// Refresh tokens that came from outside and were redeemed since.
    spent: BTreeSet<(ProviderId, Fingerprint)>,
    taken: BTreeMap<GrantId, TakenRow>,
    blocks: BTreeMap<AccountId, BTreeMap<BlockScope, Block>>,
    keys: BTreeMap<Accessor, KeyRow>,
    sticky: BTreeMap<(ProviderId, u64), StickyRow>,
}

fn copy_text(text: &SecretText) -> SecretText {
    SecretText::new(text.expose().to_owned())
}

fn copy_secret(secret: &GrantSecret) -> GrantSecret {
    match secret {
        GrantSecret::OAuth { access, refresh } => {
            GrantSecret::OAuth { access: copy_text(access), refresh: refresh.as_ref().map(copy_text) }
        }
        GrantSecret::ApiKey { key } => GrantSecret::ApiKey { key: copy_text(key) },
    }
}

/// A copy of a grant with its secret. Only a store may make one.
pub(super) fn copy(row: &GrantRow) -> GrantRow {
    let GrantRow { id, provider, revision, secret, fingerprint, expires_at, issued_at, origins, custody, state, intent, quarantined } = row;
    GrantRow {
        id: *id,
        provider: provider.clone(),
        revision: *revision,
        secret: copy_secret(secret),
        fingerprint: *fingerprint,
        expires_at: *expires_at,
        issued_at: *issued_at,
        origins: origins.clone(),
        custody: custody.clone(),
        state: state.clone(),
        intent: intent.clone(),
        quarantined: *quarantined,
    }
}

impl State {
    pub(super) fn damage(&mut self, grant: GrantId) {
        self.damaged.insert(grant);
        self.version += 1;
    }

    fn fault(&self, id: GrantId) -> Option<RowFault> {
        let row = self.grants.get(&id).filter(|_| self.damaged.contains(&id))?;
        let column = match row.secret.kind() {
            CredentialKind::OAuth => "access_token",
            CredentialKind::ApiKey => "api_key",
        };
        Some(RowFault { table: "grants", row: id.to_string(), column, kind: RowFaultKind::Damaged })
    }

    pub(super) fn load(&self) -> LoadedVault {
        LoadedVault {
            version: self.version,
            accounts: self.accounts.values().cloned().collect(),
            grants: self.grants.values().filter(|row| !self.damaged.contains(&row.id)).map(copy).collect(),
            blocks: self.blocks.iter().flat_map(|(id, blocks)| blocks.values().map(|block| (*id, block.clone()))).collect(),
            keys: self.keys.values().cloned().collect(),
            faults: self.damaged.iter().filter_map(|id| self.fault(*id)).collect(),
            guard: self.guard,
        }
    }

    /// A grant that can be opened.
    pub(super) fn grant(&self, id: GrantId) -> Result<Option<&GrantRow>, StoreError> {
        self.fault(id).map_or(Ok(self.grants.get(&id)), |fault| Err(fault.into()))
    }

    fn at_revision(&mut self, id: GrantId, from: GrantRevision) -> Option<&mut GrantRow> {
        self.grants.get_mut(&id).filter(|row| row.revision == from)
    }

    pub(super) fn account_place(&mut self, keyring: &Keyring, draft: AccountDraft, now: Timestamp) -> Placed {
        let (provider, secret, facts) = parts(draft);
        let known_grant = self.find_grant(keyring, &provider, &secret.secret);
        let renewed = facts.onto.and_then(|id| self.accounts.get(&id)).filter(|row| row.provider == provider).map(|row| self.known(row));
        let known_account = renewed.or_else(|| self.find_account(&provider, &facts.identity, known_grant));
        let spent = self.spent.contains(&(provider.clone(), keyring.fingerprint(secret.secret.identifying())));
        let plan = plan(&PlaceFacts { account: known_account, grant: known_grant, spent });
        let (grant, grant_changed) = match plan {
            GrantPlan::Insert => (self.grant_insert(keyring, &provider, secret), true),
            GrantPlan::InsertDead => {
                let id = self.grant_insert(keyring, &provider, secret);
                if let Some(row) = self.grants.get_mut(&id) {
                    row.state = GrantState::NeedsLogin { cause: SPENT_CAUSE.to_owned(), since: now };
                }
                (id, true)
            }
            GrantPlan::Keep(id) => (id, false),
            GrantPlan::Replace(id) => {
                self.grant_replace(keyring, id, secret);
                (id, true)
            }
            GrantPlan::Rebind(id) => (id, self.grant_bind_as_given(id, secret)),
        };
        let placed = match known_account {
            None => Placed { account: self.account_insert(provider, grant, facts, now), grant, outcome: PlacedOutcome::Created },
            Some(known) => {
                let after = self.accounts.get(&known.id).and_then(|row| account_after(row, facts, grant, plan, now));
                let account_changed = after.is_some();
                self.accounts.extend(after.map(|after| (known.id, after)));
                if known.grant != grant {
                    self.drop_unreferenced(known.grant);
                }
                Placed { account: known.id, grant, outcome: outcome(account_changed || grant_changed) }
            }
        };
        if placed.outcome != PlacedOutcome::Unchanged {
            self.version += 1;
        }
        placed
    }

    fn find_grant(&self, keyring: &Keyring, provider: &ProviderId, secret: &GrantSecret) -> Option<KnownGrant> {
        let fingerprint = keyring.fingerprint(secret.identifying());
        let row = self.grants.values().find(|row| row.provider == *provider && row.fingerprint == fingerprint)?;
        let damaged = self.damaged.contains(&row.id);
        let secret = if damaged { SecretMatch::Unreadable } else { compare(&row.secret, secret) };
        Some(KnownGrant { id: row.id, secret, intent_open: row.intent.is_some() })
    }

    fn find_account(&self, provider: &ProviderId, identity: &Identity, grant: Option<KnownGrant>) -> Option<KnownAccount> {
        let key = identity.key();
        let found = self.accounts.values().filter(|row| row.provider == *provider).filter(|row| {
            let known = row.identity.key();
            let on_grant = grant.is_some_and(|grant| grant.id == row.grant);
            (key.is_some() && known == key) || (on_grant && (key.is_none() || known.is_none()))
        });
        let row = found.min_by_key(|row| (row.identity.key() != key, row.id))?;
        Some(self.known(row))
    }

    fn known(&self, row: &AccountRow) -> KnownAccount {
        let shares_grant = self.accounts.values().any(|other| other.grant == row.grant && other.id != row.id);
        KnownAccount { id: row.id, grant: row.grant, shares_grant }
    }

    fn account_insert(&mut self, provider: ProviderId, grant: GrantId, facts: AccountFacts, now: Timestamp) -> AccountId {
        let AccountFacts { identity, source, label, priority, options, standing, plan, logged_in_at, onto: _ } = facts;
        self.last_account += 1;
        let id = AccountId(self.last_account);
        let row = AccountRow {
            id,
            provider,
            grant,
            revision: RowRevision::FIRST,
            identity,
            source,
            label,
            priority,
            options,
            standing,
            plan,
            logged_in_at,
            created_at: now,
            updated_at: now,
        };
        self.accounts.insert(id, row);
        id
    }

    fn grant_insert(&mut self, keyring: &Keyring, provider: &ProviderId, draft: GrantDraft) -> GrantId {
        let GrantDraft { secret, expires_at, issued_at, origins, custody } = draft;
        self.last_grant += 1;
        let id = GrantId(self.last_grant);
        let fingerprint = keyring.fingerprint(secret.identifying());
        let row = GrantRow {
            id,
            provider: provider.clone(),
            revision: GrantRevision::FIRST,
            secret,
            fingerprint,
            expires_at,
            issued_at,
            origins,
            custody,
            state: GrantState::Live,
            intent: None,
            quarantined: None,
        };
        self.grants.insert(id, row);
        self.given.insert(id);
        id
    }

    fn grant_replace(&mut self, keyring: &Keyring, id: GrantId, draft: GrantDraft) {
        let GrantDraft { secret, expires_at, issued_at, origins, custody } = draft;
        self.damaged.remove(&id);
        if self.grants.get(&id).is_some_and(|row| row.intent.is_some()) {
            self.spend(id, keyring.fingerprint(secret.identifying()));
        }
        self.given.insert(id);
        if let Some(row) = self.grants.get_mut(&id) {
            row.revision = row.revision.next();
            row.fingerprint = keyring.fingerprint(secret.identifying());
            (row.secret, row.expires_at, row.issued_at) = (secret, expires_at, issued_at);
            (row.origins, row.custody, row.state, row.intent) = (origins, custody, GrantState::Live, None);
            row.quarantined = None;
            self.taken.remove(&id);
        }
    }

    fn spend(&mut self, id: GrantId, next: Fingerprint) {
        let row = self.grants.get(&id).filter(|row| row.fingerprint != next && self.given.contains(&id));
        let refreshable = |row: &&GrantRow| matches!(&row.secret, GrantSecret::OAuth { refresh: Some(_), .. });
        if let Some(row) = row.filter(refreshable) {
            self.spent.insert((row.provider.clone(), row.fingerprint));
        }
    }

    fn grant_bind_as_given(&mut self, id: GrantId, draft: GrantDraft) -> bool {
        let damaged = self.damaged.contains(&id);
        let Some(row) = self.grants.get_mut(&id).filter(|_| !damaged) else { return false };
        let revived = draft.secret.kind() == CredentialKind::ApiKey && row.state != GrantState::Live;
        let changed = row.origins != draft.origins || row.custody != draft.custody || revived;
        (row.origins, row.custody) = (draft.origins, draft.custody);
        if revived {
            row.state = GrantState::Live;
        }
        changed
    }

    pub(super) fn grant_rebind(&mut self, id: GrantId, replaces: GrantRevision, origins: StoredOrigins) -> Result<Rebind, StoreError> {
        let Some(row) = self.at_revision(id, replaces) else { return Ok(Rebind::Stale) };
        if row.intent.is_some() {
            return Ok(Rebind::Busy);
        }
        if let Some(fault) = self.fault(id) {
            return Err(fault.into());
        }
        let next = replaces.next();
        if let Some(row) = self.grants.get_mut(&id) {
            (row.revision, row.origins) = (next, origins);
        }
        self.version += 1;
        Ok(Rebind::Done(next))
    }

    pub(super) fn quarantine(&mut self, now: Timestamp) {
        let refreshed =
            |row: &&mut GrantRow| row.custody == Custody::Owned && matches!(row.secret, GrantSecret::OAuth { refresh: Some(_), .. });
        for row in self.grants.values_mut().filter(refreshed) {
            row.quarantined.get_or_insert(now);
        }
        self.version += 1;
    }

    pub(super) fn grant_release(&mut self, id: GrantId) -> Write<()> {
        let quarantined = self.grants.get_mut(&id).and_then(|row| row.quarantined.take());
        if quarantined.is_none() {
            return Write::Stale;
        }
        self.version += 1;
        Write::Done(())
    }

    fn drop_unreferenced(&mut self, id: GrantId) {
        let referenced = self.accounts.values().any(|row| row.grant == id);
        if !referenced && self.grants.get(&id).is_some_and(|row| row.intent.is_none()) {
            self.grants.remove(&id);
            self.damaged.remove(&id);
            self.given.remove(&id);
            self.version += 1;
        }
    }

    pub(super) fn account_patch(
        &mut self,
        id: AccountId,
        replaces: RowRevision,
        patch: AccountPatch,
        now: Timestamp,
    ) -> Write<RowRevision> {
        let Some(row) = self.accounts.get_mut(&id).filter(|row| row.revision == replaces) else { return Write::Stale };
        *row = patch.apply(row.clone(), now);
        self.version += 1;
        Write::Done(row.revision)
    }

    pub(super) fn account_remove(&mut self, id: AccountId, replaces: RowRevision) -> Write<()> {
        let Some(grant) = self.accounts.get(&id).filter(|row| row.revision == replaces).map(|row| row.grant) else { return Write::Stale };
        self.accounts.remove(&id);
        self.blocks.remove(&id);
        self.sticky.retain(|_, row| row.account != id);
        self.drop_unreferenced(grant);
        self.version += 1;
        Write::Done(())
    }

    pub(super) fn intent_open(&mut self, grant: GrantId, from: GrantRevision, new: IntentRow) -> Write<()> {
        let Some(row) = self.at_revision(grant, from) else { return Write::Stale };
        match &mut row.intent {
            None => row.intent = Some(new),
            Some(open) if open.from != from => return Write::Stale,
            Some(open) => {
                open.instance = new.instance;
                for attempt in new.attempts {
                    if !open.attempts.contains(&attempt) {
                        open.attempts.push(attempt);
                    }
                }
            }
        }
        Write::Done(())
    }

    pub(super) fn intent_withdraw(&mut self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Write<()> {
        let Some(row) = self.at_revision(grant, from) else { return Write::Stale };
        let Some(open) = row.intent.as_mut().filter(|open| open.attempts.contains(&attempt)) else { return Write::Stale };
        let opened_at = open.opened_at;
        open.attempts.retain(|other| *other != attempt);
        if open.attempts.is_empty() {
            row.intent = None;
            self.drop_unreferenced(grant);
        }
        self.applied.entry(attempt).or_insert(opened_at);
        Write::Done(())
    }

    pub(super) fn grant_commit(&mut self, keyring: &Keyring, commit: GrantCommit) -> Result<Write<GrantRevision>, StoreError> {
        let GrantCommit { grant: id, from, secret, expires_at, issued_at, attempt } = commit;
        if self.at_revision(id, from).is_none() {
            return Ok(Write::Stale);
        }
        let Some(row) = self.grant(id)? else { return Ok(Write::Stale) };
        let secret = match (secret, &row.secret) {
            (GrantSecret::OAuth { access, refresh: None }, GrantSecret::OAuth { refresh: old, .. }) if attempt.is_some() => {
                GrantSecret::OAuth { access, refresh: old.as_ref().map(copy_text) }
            }
            (secret, _) => secret,
        };
        let provider = row.provider.clone();
        let settled: Vec<AttemptId> = row.intent.iter().flat_map(|intent| intent.attempts.iter().copied()).collect();
        let twin = self.find_grant(keyring, &provider, &secret).filter(|twin| twin.id != id);
        if let Some(twin) = twin {
            if twin.intent_open {
                return Ok(Write::Stale);
            }
            for account in self.accounts.values_mut().filter(|account| account.grant == twin.id) {
                (account.grant, account.revision) = (id, account.revision.next());
            }
            self.drop_unreferenced(twin.id);
        }
        if let Some(attempt) = attempt {
            let next = keyring.fingerprint(secret.identifying());
            self.spend(id, next);
            if twin.is_none() && self.grants.get(&id).is_some_and(|row| row.fingerprint != next) {
                self.given.remove(&id);
            } else if twin.is_some() {
                self.given.insert(id);
            }
            for attempt in settled.into_iter().chain([attempt]) {
                self.applied.entry(attempt).or_insert(issued_at);
            }
            self.applied.retain(|_, at| *at >= issued_at.minus(APPLIED_REMEMBERED));
        }
        if let Some(row) = self.grants.get_mut(&id) {
            row.revision = from.next();
            row.fingerprint = keyring.fingerprint(secret.identifying());
            (row.secret, row.expires_at, row.issued_at) = (secret, expires_at, issued_at);
            (row.state, row.intent) = (GrantState::Live, None);
        }
        self.drop_unreferenced(id);
        self.version += 1;
        Ok(Write::Done(from.next()))
    }

    pub(super) fn grant_take(&mut self, keyring: &Keyring, take: GrantTake) -> Result<Take, StoreError> {
        let GrantTake { grant, from, secret, expires_at, taken_at, path } = take;
        let Some(row) = self.at_revision(grant, from) else { return Ok(Take::Stale) };
        let (provider, intent_open) = (row.provider.clone(), row.intent.is_some());
        let fingerprint = keyring.fingerprint(secret.identifying());
        if self.spent.contains(&(provider, fingerprint)) {
            return Ok(Take::Spent);
        }
        if intent_open {
            self.spend(grant, fingerprint);
        }
        let commit = GrantCommit { grant, from, secret, expires_at, issued_at: taken_at, attempt: None };
        let Write::Done(revision) = self.grant_commit(keyring, commit)? else { return Ok(Take::Stale) };
        self.given.insert(grant);
        self.taken.insert(grant, TakenRow { grant, path, fingerprint, taken_at });
        if let Some(row) = self.grants.get_mut(&grant) {
            (row.custody, row.quarantined) = (Custody::Owned, None);
        }
        Ok(Take::Done(revision))
    }

    pub(super) fn taken_list(&self) -> Vec<TakenRow> {
        let owned = |row: &&TakenRow| self.grants.get(&row.grant).is_some_and(|grant| grant.custody == Custody::Owned);
        self.taken.values().filter(owned).cloned().collect()
    }

    pub(super) fn attempts_open(&self) -> BTreeSet<AttemptId> {
        self.grants.values().filter_map(|row| row.intent.as_ref()).flat_map(|intent| intent.attempts.iter().copied()).collect()
    }

    pub(super) fn grant_bury(&mut self, id: GrantId, from: GrantRevision, cause: String, now: Timestamp) -> Write<()> {
        let Some(row) = self.at_revision(id, from) else { return Write::Stale };
        (row.state, row.intent) = (GrantState::NeedsLogin { cause, since: now }, None);
        self.drop_unreferenced(id);
        self.version += 1;
        Write::Done(())
    }

    pub(super) fn block_put(&mut self, account: AccountId, block: Block) {
        if !self.accounts.contains_key(&account) {
            return;
        }
        let blocks = self.blocks.entry(account).or_default();
        let scope = block.scope.clone();
        let held = longest(blocks.remove(&scope), block);
        blocks.insert(scope, held);
        while blocks.len() > BLOCKS_PER_ACCOUNT_MAX as usize {
            let first = blocks.values().min_by_key(|block| block.until).map(|block| block.scope.clone());
            first.and_then(|scope| blocks.remove(&scope));
        }
        self.version += 1;
    }

    pub(super) fn block_lift(&mut self, account: AccountId, scope: Option<&BlockScope>) {
        if let Some(blocks) = self.blocks.get_mut(&account) {
            blocks.retain(|known, _| scope.is_some_and(|scope| scope != known));
            self.version += 1;
        }
    }

    pub(super) fn key_insert(&mut self, key: KeyDraft) -> Result<(), StoreError> {
        if self.keys.contains_key(&key.accessor) {
            return Err(StoreError::Database { doing: "storing a virtual key", source: "the key is there already".into() });
        }
        let horizon = key.created_at.minus(RUN_KEY_REMEMBERED);
        self.keys.retain(|_, row| {
            let ended = [row.key.expires_at, row.revoked_at].into_iter().flatten().min();
            row.key.kind != KeyKind::Run || ended.is_none_or(|ended| ended >= horizon)
        });
        self.keys.insert(key.accessor, KeyRow { key, revoked_at: None });
        self.version += 1;
        Ok(())
    }

    pub(super) fn key_revoke(&mut self, accessor: Accessor, now: Timestamp) -> bool {
        let Some(row) = self.keys.get_mut(&accessor) else { return false };
        row.revoked_at.get_or_insert(now);
        self.version += 1;
        true
    }

    pub(super) fn sticky_put(&mut self, rows: Vec<StickyRow>) {
        for row in rows {
            if self.accounts.contains_key(&row.account) {
                self.sticky.insert((row.provider.clone(), row.session), row);
            }
        }
        while self.sticky.len() > STICKY_ROWS_MAX as usize {
            let oldest = self.sticky.iter().min_by_key(|(_, row)| row.used_at).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.sticky.remove(&key));
        }
    }

    pub(super) fn sticky_load(&self, since: Timestamp) -> Vec<StickyRow> {
        let mut rows: Vec<_> = self.sticky.values().filter(|row| row.used_at >= since).cloned().collect();
        rows.sort_by_key(|row| row.used_at);
        rows
    }
}
