//! Accounts: store, change, remove, unblock, show.

use super::{ADMIN, failed, in_a_vault, not_found, profile_named};
use crate::Inner;
use crate::account::{AccountLive, Reach};
use crate::grant::Moment;
use crate::limits::{ADMIN_LOCK_WAIT_MAX, CAUSE_MAX_CHARS, CHANGE_TURNS_MAX, LABEL_MAX_CHARS};
use claviger_admin::{
    AccountAdd, AccountAdded, AccountChange, AccountList, AccountView, AddOutcome, AdminError, BlockView, CredentialAdd, ErrorCode,
    ImportReport, OptionsSet, OptionsView, SkippedRow, SourceWord, StandingView,
};
use claviger_domain::block::{Block, BlockEnd, BlockScope};
use claviger_domain::credential::{CredentialKind, Custody, GrantState, Source, Standing};
use claviger_domain::id::{AccountId, GrantId};
use claviger_domain::identity::Identity;
use claviger_domain::options::{AccountOptions, OptionsChange, OwnClient};
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::SECRET_MAX_BYTES;
use claviger_store::{AccountDraft, AccountPatch, AccountRow, GrantDraft, GrantLock, GrantSecret, Placed, PlacedOutcome, Write};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// What stands for a cause that nobody gave.
const CAUSE_UNSAID: &str = "disabled";

/// A change to a row that names the revision that it replaces.
enum RowChange {
    Patch(AccountPatch),
    Remove,
}

impl Inner {
    pub(super) async fn account_import(&self, accounts: Vec<AccountAdd>) -> Result<ImportReport, AdminError> {
        let mut stored = Vec::new();
        let mut skipped = Vec::new();
        // What other processes have stored meanwhile: its grants may be among those that are replaced.
        self.rebuild().await.map_err(failed)?;
        for account in accounts {
            let row = account.row.clone();
            match self.store_account(account, ("account.import", ADMIN)).await {
                Ok(placed) => stored.push(placed),
                Err(error) => skipped.push(SkippedRow::new(row, &error)),
            }
        }
        self.rebuild().await.map_err(failed)?;
        let imported = stored.into_iter().map(|placed| self.added(placed)).collect::<Result<_, _>>()?;
        Ok(ImportReport { imported, skipped })
    }

    pub(super) async fn account_add(&self, account: AccountAdd) -> Result<AccountAdded, AdminError> {
        self.rebuild().await.map_err(failed)?;
        let placed = self.store_account(account, ("account.add", ADMIN)).await?;
        self.rebuild().await.map_err(failed)?;
        self.added(placed)
    }

    /// Stores what a login has brought.
    pub(crate) async fn account_login(&self, account: AccountAdd, actor: &str) -> Result<AccountAdded, AdminError> {
        let placed = self.store_account(account, ("account.login", actor)).await?;
        self.rebuild().await.map_err(failed)?;
        self.added(placed)
    }

    async fn store_account(&self, account: AccountAdd, (action, actor): (&str, &str)) -> Result<Placed, AdminError> {
        let profile = profile_named(&self.view.load(), &account.provider)?;
        let blocks = account.blocks.iter().map(block_of).collect::<Result<Vec<_>, _>>()?;
        let draft = self.draft(account, &profile)?;
        // It has no id yet: the trail names it as its owner would.
        let name = draft.identity.display().map(|name| format!(", {name}")).unwrap_or_default();
        self.audit_by(actor, action, format!("{}{name}", profile.id)).await?;
        let placed = self.place(draft).await?;
        for block in blocks {
            self.store.block_put(placed.account, block).await.map_err(failed)?;
        }
        Ok(placed)
    }

    fn added(&self, placed: Placed) -> Result<AccountAdded, AdminError> {
        let outcome = match placed.outcome {
            PlacedOutcome::Created => AddOutcome::Created,
            PlacedOutcome::Updated => AddOutcome::Updated,
            PlacedOutcome::Unchanged => AddOutcome::Unchanged,
        };
        let account = self.account_view(placed.account).ok_or_else(|| not_found(placed.account))?;
        Ok(AccountAdded { outcome, account })
    }

    fn draft(&self, account: AccountAdd, profile: &ProviderProfile) -> Result<AccountDraft, AdminError> {
        let AccountAdd { row: _, provider: _, credential, identity, label, source, disabled, blocks: _, follows, .. } = account;
        let AccountAdd { priority, options, plan, logged_in_at, onto, .. } = account;
        let now = self.clock.now();
        let mut identity = Identity::from(identity);
        let (secret, expires_at) = match credential {
            CredentialAdd::ApiKey { key } => (GrantSecret::ApiKey { key: key.into_secret() }, None),
            CredentialAdd::Oauth { access, refresh, expires_at } => {
                let claims = |token: &claviger_admin::Exposed| claviger_oauth::identity_from_claims(&profile.identity, token.expose());
                let refresh = refresh.filter(|token| !token.expose().is_empty());
                identity = identity.completed_by(claims(&access));
                identity = refresh.as_ref().map(claims).map_or(identity.clone(), |claimed| identity.completed_by(claimed));
                (
                    GrantSecret::OAuth { access: access.into_secret(), refresh: refresh.map(claviger_admin::Exposed::into_secret) },
                    expires_at,
                )
            }
        };
        check_secret(profile, &secret)?;
        let custody = follows.map_or(Custody::Owned, |path| Custody::Followed { path: PathBuf::from(path) });
        let standing = disabled.map_or(Standing::Active, |cause| Standing::Disabled { cause: checked_cause(&cause), since: now });
        Ok(AccountDraft {
            provider: profile.id.clone(),
            grant: GrantDraft { secret, expires_at, issued_at: now, origins: profile.origins_to_store(), custody },
            identity,
            source: stored_source(source)?,
            label: label.map(checked_label).transpose()?,
            priority,
            options: checked_options(profile, options)?.apply(AccountOptions::default()),
            standing,
            plan: plan.map(|plan| plan.trim().to_owned()).filter(|plan| !plan.is_empty()),
            logged_in_at,
            onto: onto.map(AccountId),
        })
    }

    /// Stores a draft under the locks of the grants that it may replace: a refresh under way ends first.
    async fn place(&self, mut draft: AccountDraft) -> Result<Placed, AdminError> {
        draft.onto = draft.onto.or_else(|| crate::follow::follower_of_file(self, &draft));
        let touched: BTreeSet<GrantId> = {
            let view = self.view.load();
            let key = draft.identity.key();
            let fingerprint = self.store.fingerprint(draft.grant.secret.identifying());
            let renewed = |account: &&Arc<AccountLive>| draft.onto == Some(account.row.id);
            let same = |account: &&Arc<AccountLive>| {
                let known = account.row.identity.key() == key || account.grant.facts().fingerprint == fingerprint;
                account.row.provider == draft.provider && (key.is_none() || known)
            };
            view.accounts.values().filter(|account| same(account) || renewed(account)).map(|account| account.row.grant).collect()
        };
        let _locks = self.locks(touched).await?;
        if let Some(why) = crate::follow::outranked(self, &draft).await.map_err(failed)? {
            return Err(AdminError::new(ErrorCode::Refused, why));
        }
        self.store.account_place(draft, self.clock.now()).await.map_err(failed)
    }

    /// Takes locks in order of their grants, so that two changes never wait for each other.
    pub(super) async fn locks(&self, grants: BTreeSet<GrantId>) -> Result<Vec<GrantLock>, AdminError> {
        let mut locks = Vec::new();
        for grant in grants {
            let lock = crate::refresh::lock(self, grant, ADMIN_LOCK_WAIT_MAX).await.map_err(failed)?;
            locks.push(lock.ok_or_else(|| {
                let message = format!("a refresh of grant {grant} is under way and does not end");
                AdminError::new(ErrorCode::Locked, message).hint("try again in a minute")
            })?);
        }
        Ok(locks)
    }

    pub(super) async fn account_change(&self, id: AccountId, change: AccountChange) -> Result<AccountView, AdminError> {
        in_a_vault(id)?;
        let AccountChange { label, priority, options, disable, enable } = change;
        let now = self.clock.now();
        let standing = match (disable, enable) {
            (Some(_), true) => return Err(AdminError::new(ErrorCode::Usage, "an account cannot be switched on and off at once")),
            (Some(cause), false) => Some(Standing::Disabled { cause: checked_cause(&cause), since: now }),
            (None, true) => Some(Standing::Active),
            (None, false) => None,
        };
        let label = label.map(checked_label).transpose()?;
        let row = self.row(id).ok_or_else(|| not_found(id))?;
        let options = match self.view.load().profile(row.provider.as_str()) {
            Some(profile) => checked_options(profile, options)?,
            None => options.parsed()?,
        };
        let patch = AccountPatch { label, priority, options, standing, plan: None };
        let action = match &patch.standing {
            Some(Standing::Disabled { .. }) => "account.disable",
            Some(Standing::Active) => "account.enable",
            None => "account.change",
        };
        self.change_row(id, action, RowChange::Patch(patch)).await?;
        self.account_view(id).ok_or_else(|| not_found(id))
    }

    pub(super) async fn account_remove(&self, id: AccountId) -> Result<(), AdminError> {
        in_a_vault(id)?;
        let grant = self.row(id).ok_or_else(|| not_found(id))?.grant;
        let _locks = self.locks(BTreeSet::from([grant])).await?;
        self.change_row(id, "account.remove", RowChange::Remove).await
    }

    /// Makes a change that names the row's revision; where the race is lost, again on the row as it is now. Audited before.
    async fn change_row(&self, id: AccountId, action: &str, change: RowChange) -> Result<(), AdminError> {
        self.row(id).ok_or_else(|| not_found(id))?;
        self.audit(action, format!("account {id}")).await?;
        for _turn in 0..CHANGE_TURNS_MAX {
            self.rebuild().await.map_err(failed)?;
            let row = self.row(id).ok_or_else(|| not_found(id))?;
            let stale = match &change {
                RowChange::Patch(patch) => {
                    let written = self.store.account_patch(id, row.revision, patch.clone(), self.clock.now()).await;
                    written.map_err(failed)? == Write::Stale
                }
                RowChange::Remove => self.store.account_remove(id, row.revision).await.map_err(failed)? == Write::Stale,
            };
            if !stale {
                return self.rebuild().await.map_err(failed);
            }
        }
        Err(AdminError::new(ErrorCode::Failed, format!("account {id} is being changed by another process")).hint("try again"))
    }

    pub(crate) fn row(&self, id: AccountId) -> Option<AccountRow> {
        let view = self.view.load();
        let live = view.accounts.get(&id).map(|account| account.row.clone());
        live.or_else(|| view.stranded.iter().find(|row| row.id == id).cloned())
    }

    pub(super) async fn account_unblock(&self, id: Option<AccountId>) -> Result<u64, AdminError> {
        self.writes.flush().await;
        self.rebuild().await.map_err(failed)?;
        let view = self.view.load_full();
        let moment = Moment::of(&*self.clock);
        if let Some(id) = id.filter(|id| !view.accounts.contains_key(id)) {
            return Err(not_found(id));
        }
        self.audit("account.unblock", id.map_or_else(|| "every account".to_owned(), |id| format!("account {id}"))).await?;
        let mut lifted = 0;
        for account in view.accounts.values().filter(|account| id.is_none_or(|id| id == account.row.id)) {
            lifted += account.blocks.current(moment).len() as u64;
            self.store.block_lift(account.row.id, None).await.map_err(failed)?;
            account.blocks.clear();
        }
        // A reading from before may have brought them back meanwhile.
        self.rebuild().await.map_err(failed)?;
        Ok(lifted)
    }

    pub(super) fn account_list(&self) -> AccountList {
        let view = self.view.load();
        let mut accounts: Vec<AccountView> = view.accounts.values().map(|account| self.view_of(account)).collect();
        accounts.extend(view.stranded.iter().map(|row| stranded_view(row, &view.faults)));
        accounts.sort_by(|a, b| (&a.provider, a.id).cmp(&(&b.provider, b.id)));
        AccountList { accounts }
    }

    pub(super) fn account_view(&self, id: AccountId) -> Option<AccountView> {
        let view = self.view.load();
        let live = view.accounts.get(&id).map(|account| self.view_of(account));
        live.or_else(|| view.stranded.iter().find(|row| row.id == id).map(|row| stranded_view(row, &view.faults)))
    }

    fn view_of(&self, account: &AccountLive) -> AccountView {
        let facts = account.grant.facts();
        let held = account.quarantine(&facts);
        let standing = match (&account.row.standing, &facts.state, account.reach) {
            (Standing::Disabled { cause, .. }, ..) => StandingView::Disabled { cause: cause.clone() },
            (_, GrantState::NeedsLogin { cause, .. }, _) => StandingView::NeedsLogin { cause: cause.clone() },
            (_, _, Reach::OriginChanged) => StandingView::OriginChanged,
            (_, _, Reach::Admitted) if account.refresh_reach == Reach::OriginChanged => StandingView::OriginChanged,
            (_, _, Reach::Unusable) => StandingView::Damaged { cause: "the provider takes no credential of this kind".to_owned() },
            (Standing::Active, GrantState::Live, Reach::Admitted) => {
                held.map_or(StandingView::Active, |since| StandingView::Quarantined { since })
            }
        };
        let blocks = account.blocks.current(Moment::of(&*self.clock));
        AccountView {
            kind: facts.kind.as_str().to_owned(),
            masked_key: account.masked_key.clone(),
            standing,
            blocks: blocks.into_iter().map(block_view).collect(),
            grant_revision: facts.revision.0,
            expires_at: facts.expires_at,
            options: OptionsView::new(&account.row.options, account.own_client_only),
            follows: match &facts.custody {
                Custody::Owned => None,
                // Its label says what it is, and it has no file that is followed alone.
                Custody::Followed { .. } if account.row.id.is_unstored() => None,
                Custody::Followed { path } => Some(path.display().to_string()),
            },
            notice: account.grant.noticed(),
            login_ends_at: self.login_ends_at(account),
            ..row_view(&account.row)
        }
    }
}

/// The vault keeps what came by login and what was imported, and nothing else.
fn stored_source(word: SourceWord) -> Result<Source, AdminError> {
    match word {
        SourceWord::Login => Ok(Source::Login),
        SourceWord::Imported => Ok(Source::Imported),
        SourceWord::Runtime | SourceWord::Config | SourceWord::Environment => {
            Err(AdminError::new(ErrorCode::Usage, "the vault keeps accounts that came by login or import only"))
        }
    }
}

/// What a row alone says.
fn row_view(row: &AccountRow) -> AccountView {
    AccountView {
        id: row.id.0,
        provider: row.provider.to_string(),
        kind: CredentialKind::OAuth.as_str().to_owned(),
        label: row.label.clone(),
        identity: row.identity.clone().into(),
        masked_key: None,
        standing: StandingView::Active,
        blocks: Vec::new(),
        priority: row.priority,
        options: OptionsView::new(&row.options, row.options.own_client.holds(false)),
        plan: row.plan.clone(),
        source: match row.source {
            Source::Login => SourceWord::Login,
            Source::Imported => SourceWord::Imported,
            Source::Runtime => SourceWord::Runtime,
            Source::Config => SourceWord::Config,
            Source::Environment => SourceWord::Environment,
        },
        grant: row.grant.0,
        grant_revision: 0,
        expires_at: None,
        follows: None,
        notice: None,
        logged_in_at: row.logged_in_at,
        login_ends_at: None,
        created_at: row.created_at,
    }
}

/// An account whose provider is in no catalogue, or whose grant cannot be read.
fn stranded_view(row: &AccountRow, faults: &[claviger_store::RowFault]) -> AccountView {
    let fault = faults.iter().find(|fault| fault.table == "grants" && fault.row == row.grant.to_string());
    let cause = fault.map_or_else(|| format!("there is no provider {} in the catalogue", row.provider), ToString::to_string);
    AccountView { kind: "unknown".to_owned(), standing: StandingView::Damaged { cause }, ..row_view(row) }
}

fn block_view(block: Block) -> BlockView {
    let Block { scope, until, end, reason } = block;
    BlockView { scope: scope.to_string(), until, guessed: end == BlockEnd::Guessed, reason }
}

fn block_of(view: &BlockView) -> Result<Block, AdminError> {
    let scope = BlockScope::from_text(&view.scope);
    let scope = scope.ok_or_else(|| AdminError::new(ErrorCode::Usage, format!("{:?} is not the scope of a block", view.scope)))?;
    let end = if view.guessed { BlockEnd::Guessed } else { BlockEnd::Told };
    Ok(Block { scope, until: view.until, end, reason: view.reason.clone() })
}

/// A secret must be able to stand in a header, and its provider must take its kind.
pub(crate) fn check_secret(profile: &ProviderProfile, secret: &GrantSecret) -> Result<(), AdminError> {
    let kind = secret.kind();
    let refused = |message: String| Err(AdminError::new(ErrorCode::Usage, message));
    if profile.wire(kind).is_some_and(|wire| wire.signing.is_some()) {
        return refused(format!("requests to {} are signed by a login of this machine, which is named in the configuration", profile.id));
    }
    if profile.wire(kind).is_none() {
        let other = match kind {
            CredentialKind::OAuth => CredentialKind::ApiKey,
            CredentialKind::ApiKey => CredentialKind::OAuth,
        };
        let message = format!("{} takes no {}; it takes {}", profile.id, kind.as_str(), other.as_str());
        return refused(message);
    }
    let text = match secret {
        GrantSecret::OAuth { access, .. } => access.expose(),
        GrantSecret::ApiKey { key } => key.expose(),
    };
    if text.is_empty() || text.len() > SECRET_MAX_BYTES {
        return refused(format!("the {} is empty or longer than {SECRET_MAX_BYTES} bytes", kind.as_str()));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refused(format!("the {} has blanks or other letters that cannot stand in a header", kind.as_str()));
    }
    Ok(())
}

/// Options that leave the account something to serve.
fn checked_options(profile: &ProviderProfile, options: OptionsSet) -> Result<OptionsChange, AdminError> {
    let options = options.parsed()?;
    if options.own_client == Some(OwnClient::Only) && profile.terms.own_client.is_empty() {
        let message =
            format!("nothing is known by which the vendor's own client of {} is recognised: the account would serve nobody", profile.id);
        let hint = format!("`claviger account disable ID`, or providers.{}.terms.own_client in a file of providers.d", profile.id);
        return Err(AdminError::new(ErrorCode::Usage, message).hint(hint));
    }
    Ok(options)
}

/// A cause as it is kept: in one line, trimmed, and never empty.
fn checked_cause(cause: &str) -> String {
    let tidy: String = cause.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(CAUSE_MAX_CHARS).collect();
    if tidy.is_empty() { CAUSE_UNSAID.to_owned() } else { tidy }
}

pub(crate) fn checked_label(label: String) -> Result<String, AdminError> {
    if label.chars().count() > LABEL_MAX_CHARS || label.chars().any(char::is_control) {
        let message = format!("a label has at most {LABEL_MAX_CHARS} letters and no control characters");
        return Err(AdminError::new(ErrorCode::Usage, message));
    }
    Ok(label)
}
