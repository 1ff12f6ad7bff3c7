//! Saved resets: listed live, and redeemed once however often the attempt is repeated.

use super::credential::{OpenCredential, WHEN_DUE};
use crate::Inner;
use crate::account::AccountLive;
use crate::admin::{failed, not_found, profile_named};
use crate::grant::Moment;
use crate::limits::{CONTROL_TIMEOUT, REQUEST_ID_MAX_CHARS, REQUEST_IDS_LOOKED_AT_MAX};
use crate::usage::flight;
use claviger_admin::{AccountCreditsView, AdminError, CreditsAsk, CreditsView, ErrorCode, RedeemAsk, RedeemView, SavedResetView};
use claviger_domain::block::{Block, BlockCause};
use claviger_domain::credential::{CredentialKind, Standing};
use claviger_domain::id::AccountId;
use claviger_providers::credits::{self, RedeemOutcome, ResetState, SavedReset, SavedResets};
use claviger_runtime::random_u128;
use claviger_store::StoreError;
use std::sync::Arc;

/// What the audit trail calls a redemption.
const REDEEM: &str = "credits.redeem";

impl Inner {
    /// Lists the saved resets of accounts, one after another, whatever is remembered of them.
    pub(crate) async fn credits_list(self: &Arc<Self>, ask: CreditsAsk) -> Result<CreditsView, AdminError> {
        self.rebuild().await.map_err(failed)?;
        let mut list = CreditsView::default();
        for account in self.accounts_with_resets(&ask)? {
            if let Some(shown) = self.credits_of(&account).await {
                list.accounts.push(shown);
            }
        }
        Ok(list)
    }

    fn accounts_with_resets(&self, ask: &CreditsAsk) -> Result<Vec<Arc<AccountLive>>, AdminError> {
        let view = self.view.load();
        let provider = ask.provider.as_deref().map(|name| profile_named(&view, name)).transpose()?;
        if let Some(id) = ask.account.map(AccountId).filter(|id| !view.accounts.contains_key(id)) {
            return Err(not_found(id));
        }
        let meant = |account: &&Arc<AccountLive>| {
            let of_provider = provider.as_ref().is_none_or(|provider| provider.id == account.profile.id);
            of_provider && ask.account.is_none_or(|id| id == account.row.id.0) && gives_resets(account)
        };
        let mut accounts: Vec<_> = view.accounts.values().filter(meant).map(Arc::clone).collect();
        accounts.retain(|account| ask.account.is_some() || account.row.standing == Standing::Active);
        accounts.sort_by(|one, other| (&one.profile.id, one.row.id).cmp(&(&other.profile.id, other.row.id)));
        Ok(accounts)
    }

    /// `None` where its provider knows none.
    async fn credits_of(self: &Arc<Self>, account: &Arc<AccountLive>) -> Option<AccountCreditsView> {
        let told = match self.open_credential(account, WHEN_DUE).await {
            Ok(credential) => self.ask_resets(account, &credential).await.transpose()?,
            Err(why) => Err(why),
        };
        let (resets, error) = match told {
            Ok(resets) => (resets, None),
            Err(why) => (SavedResets::default(), Some(why)),
        };
        let SavedResets { available, resets, cooldown_until } = resets;
        let view = self.view.load();
        let first = view.providers.get(&account.profile.id).and_then(|provider| provider.ranked(None).first().map(|first| first.row.id));
        Some(AccountCreditsView {
            account: account.row.id.0,
            provider: account.profile.id.to_string(),
            name: account.row.label.clone().or_else(|| account.row.identity.display().map(str::to_owned)),
            active: first == Some(account.row.id),
            available,
            cooldown_until,
            resets: resets.into_iter().map(reset_view).collect(),
            error,
        })
    }

    async fn ask_resets(&self, account: &AccountLive, credential: &OpenCredential) -> Result<Option<SavedResets>, String> {
        credential.may_ask_for_usage(account)?;
        let http = self.control_client(account, CONTROL_TIMEOUT);
        credits::list(&credential.live(account), &http).await.map_err(|error| error.to_string())
    }

    /// Redeems a saved reset.
    pub(crate) async fn credits_redeem(self: &Arc<Self>, ask: RedeemAsk) -> Result<RedeemView, AdminError> {
        self.rebuild().await.map_err(failed)?;
        if ask.request_id.as_ref().is_some_and(|id| !is_request_id(id)) {
            let message = format!("a request id has at most {REQUEST_ID_MAX_CHARS} letters, digits and dashes");
            return Err(AdminError::new(ErrorCode::Usage, message));
        }
        let Some(account) = self.redeem_target(&ask.target)? else { return Ok(said("no_account", "there is no such account")) };
        let of_account = |view: RedeemView| RedeemView { account: Some(account.row.id.0), ..view };
        if !gives_resets(&account) {
            return Ok(of_account(said("no_credit", &format!("nothing is known of saved resets of {}", account.profile.id))));
        }
        let credential = match self.open_credential(&account, WHEN_DUE).await {
            Ok(credential) => credential,
            Err(why) => return Ok(of_account(said("account_unavailable", &why))),
        };
        let resets = match self.ask_resets(&account, &credential).await {
            Ok(resets) => resets.unwrap_or_default(),
            Err(why) => return Ok(of_account(said("account_unavailable", &why))),
        };
        let earlier = self.credit_of_attempt(&account, ask.request_id.as_deref()).await.map_err(failed)?;
        let listed = |id: &String| resets.resets.iter().find(|reset| reset.id == *id).cloned();
        let reset = match (&earlier, &ask.credit) {
            // What an attempt was for stays what it is for. It may have been spent by it, and then it is in no list.
            (Some(id), _) => listed(id).or_else(|| credits::unlisted(&account.profile, id)),
            (None, Some(id)) => listed(id),
            (None, None) => credits::pick(&resets.resets, self.clock.now()).cloned(),
        };
        let Some(reset) = reset else {
            let why =
                if ask.credit.is_some() { "the account has no such reset" } else { "the account has no reset that can be redeemed now" };
            return Ok(of_account(said("no_credit", why)));
        };
        let turn = if earlier.is_some() { Turn::Again } else { Turn::First };
        self.redeem(&account, &credential, (&reset, ask, turn)).await
    }

    async fn redeem(
        self: &Arc<Self>,
        account: &Arc<AccountLive>,
        credential: &OpenCredential,
        (reset, ask, turn): (&SavedReset, RedeemAsk, Turn),
    ) -> Result<RedeemView, AdminError> {
        let id = account.row.id;
        let request_id = ask.request_id.unwrap_or_else(|| format!("{:032x}", random_u128()));
        let actor = if ask.actor.is_empty() { "unknown" } else { &ask.actor };
        // Before it is sent: who repeats a lost attempt finds here what it was to redeem.
        self.audit_by(actor, REDEEM, subject(id, &reset.id, &request_id)).await?;
        let http = self.control_client(account, CONTROL_TIMEOUT);
        let outcome = credits::redeem(&credential.live(account), reset, &request_id, &http).await.map_err(|error| {
            let message = format!("nobody knows whether reset {} of account {id} was redeemed: {error}", reset.id);
            let again = format!("claviger account credits redeem {id} --credit {} --request-id {request_id}", reset.id);
            AdminError::new(ErrorCode::Failed, message).hint(again)
        })?;
        tracing::info!(account.id = %id, code = outcome.code(), "saved reset redeemed");
        // It was redeemed by this very attempt, whose answer was lost.
        let by_us = turn == Turn::Again && outcome == RedeemOutcome::AlreadyRedeemed;
        let lifted = if outcome.lifts_blocks() || by_us { self.reset_seen(account).await.map_err(failed)? } else { 0 };
        let reason = matches!(outcome, RedeemOutcome::NothingToReset).then(|| "no limit of the account is used up".to_owned());
        Ok(RedeemView {
            code: outcome.code(),
            account: Some(id.0),
            credit: Some(reset.id.clone()),
            request_id: Some(request_id),
            lifted,
            reason,
        })
    }

    /// Windows were reset: what was known of their use is forgotten, what it has set aside is lifted, and the provider is asked anew.
    async fn reset_seen(self: &Arc<Self>, account: &Arc<AccountLive>) -> Result<u64, StoreError> {
        account.usage.forget();
        // A block on its way to the vault would come after its end.
        self.writes.flush().await;
        let of_a_quota = |block: &Block| matches!(block.cause(), None | Some(BlockCause::Quota));
        let lifted = account.blocks.lift(Moment::of(&*self.clock), |block, _| of_a_quota(block));
        for block in &lifted {
            tracing::info!(account.id = %account.row.id, scope = %block.scope, "block lifted: a saved reset was redeemed");
            self.store.block_lift(account.row.id, Some(block.scope.clone())).await?;
            account.blocks.lift_persisted(&block.scope);
        }
        // A reading from before may have brought them back meanwhile.
        self.rebuild().await?;
        self.usage_changes.mark(&account.profile.id);
        self.care.mark();
        // Not waited for by the answer to be good: what it tells is taken over where it is told.
        flight::join(self, account).await;
        Ok(lifted.len() as u64)
    }

    /// The account that is meant; `None` where there is none.
    fn redeem_target(&self, target: &str) -> Result<Option<Arc<AccountLive>>, AdminError> {
        let (view, target) = (self.view.load(), target.trim());
        if let Some(account) = target.parse::<AccountId>().ok().and_then(|id| view.accounts.get(&id)) {
            return Ok(Some(Arc::clone(account)));
        }
        let named = |account: &&Arc<AccountLive>| {
            let identity = &account.row.identity;
            let email = identity.email.as_deref().is_some_and(|email| email.eq_ignore_ascii_case(target));
            email || identity.account_id.as_deref() == Some(target)
        };
        let mut found: Vec<_> = view.accounts.values().filter(named).collect();
        if found.iter().any(|account| gives_resets(account)) {
            found.retain(|account| gives_resets(account));
        }
        if found.len() > 1 {
            let mut ids: Vec<String> = found.iter().map(|account| account.row.id.to_string()).collect();
            ids.sort();
            let message = format!("{} accounts are meant by that: {}", ids.len(), ids.join(", "));
            return Err(AdminError::new(ErrorCode::Usage, message).hint("claviger account credits redeem ID"));
        }
        Ok(found.first().map(|account| Arc::clone(account)))
    }

    /// What an attempt of this name was to redeem, where there was one.
    async fn credit_of_attempt(&self, account: &AccountLive, request_id: Option<&str>) -> Result<Option<String>, StoreError> {
        let Some(request_id) = request_id else { return Ok(None) };
        let trail = self.store.audit_list(REQUEST_IDS_LOOKED_AT_MAX).await?;
        let prefix = format!("account {}, credit ", account.row.id);
        let suffix = format!(", request {request_id}");
        let found = trail.iter().filter(|entry| entry.action == REDEEM);
        Ok(found.filter_map(|entry| entry.subject.strip_prefix(&prefix)?.strip_suffix(&suffix)).map(str::to_owned).next())
    }
}

/// Whether an attempt was made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Again,
}

fn gives_resets(account: &AccountLive) -> bool {
    account.kind == CredentialKind::OAuth && credits::gives_resets(&account.profile)
}

fn subject(account: AccountId, credit: &str, request_id: &str) -> String {
    format!("account {account}, credit {credit}, request {request_id}")
}

fn is_request_id(text: &str) -> bool {
    let fits = (1..=REQUEST_ID_MAX_CHARS).contains(&text.len());
    fits && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn said(code: &str, why: &str) -> RedeemView {
    RedeemView { code: code.to_owned(), account: None, credit: None, request_id: None, lifted: 0, reason: Some(why.to_owned()) }
}

fn reset_view(reset: SavedReset) -> SavedResetView {
    let SavedReset { id, program: _, title, state, left, granted_at, expires_at } = reset;
    let state = match state {
        ResetState::Available => "available",
        ResetState::NeedsLimit => "needs_limit",
        ResetState::Gone => "gone",
    };
    SavedResetView { id, title, state: state.to_owned(), left, granted_at, expires_at }
}
