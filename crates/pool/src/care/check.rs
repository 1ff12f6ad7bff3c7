//! The check of one account: a refresh that is due, then what its provider can be asked, then perhaps a completion.

use super::completion;
use super::credential::{OpenCredential, WHEN_DUE};
use crate::Inner;
use crate::account::AccountLive;
use crate::admin::{failed, in_a_vault, not_found};
use crate::control_http::ControlClient;
use crate::grant::Moment;
use crate::limits::COMPLETION_TIMEOUT;
use crate::login::probe_request;
use bytes::Bytes;
use claviger_admin::{AdminError, CHECK_TIMEOUT_MAX, CheckAsk, CheckView, CompletionView, ErrorCode, Unverifiable};
use claviger_contract::{AttemptFacts, AttemptSink, Lease, Report};
use claviger_domain::credential::{CredentialKind, Standing};
use claviger_domain::id::AccountId;
use claviger_domain::refresh::Want;
use claviger_domain::usage::UsageReport;
use claviger_providers::hooks::{ControlAnswer, ControlError, ControlHttp, usage_report};
use claviger_providers::login::{KeyProbe, LoginWay};
use claviger_providers::usage::Parser;
use claviger_runtime::{BoxFuture, Clock};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a provider says of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad(String),
    Nobody(Unverifiable, String),
}

/// What a provider can be asked.
enum Probe {
    Usage,
    Key(KeyProbe),
    None(Unverifiable, String),
}

impl Inner {
    /// Checks one account.
    pub(crate) async fn account_check(self: &Arc<Self>, ask: CheckAsk) -> Result<CheckView, AdminError> {
        let CheckAsk { account: id, timeout_ms, completion } = ask;
        let id = AccountId(id);
        in_a_vault(id)?;
        self.rebuild().await.map_err(failed)?;
        let view = self.view.load_full();
        let Some(account) = view.accounts.get(&id) else { return self.stranded_check(id) };
        if let Standing::Disabled { cause, .. } = &account.row.standing {
            let message = format!("account {id} is switched off, and is not checked: {cause}");
            return Err(AdminError::new(ErrorCode::Refused, message).hint(format!("claviger account enable {id}")));
        }
        let patience = Duration::from_millis(timeout_ms).min(CHECK_TIMEOUT_MAX);
        let opened = self.within(patience, self.open_credential(account, WHEN_DUE)).await;
        let begun = self.clock.boot();
        let verdict = match &opened {
            Ok(Ok(credential)) => match self.within(patience, self.verdict(account, credential, patience)).await {
                Ok(verdict) => verdict,
                Err(late) => Verdict::Bad(late),
            },
            Ok(Err(why)) => Verdict::Bad(why.clone()),
            Err(late) => Verdict::Bad(format!("oauth refresh failed: {late}; it goes on")),
        };
        tracing::debug!(account.id = %id, took_ms = self.since(begun), "account checked");
        let completion = match (completion, opened) {
            (None, _) => None,
            (Some(model), Ok(Ok(_))) => Some(self.completion(id, model).await),
            (Some(model), _) => Some(not_sent(model, "there is no credential to send")),
        };
        Ok(shown(account, verdict, completion))
    }

    /// One whose row cannot be read, or whose provider is in no catalogue.
    fn stranded_check(&self, id: AccountId) -> Result<CheckView, AdminError> {
        let row = self.row(id).ok_or_else(|| not_found(id))?;
        Ok(CheckView {
            account: id.0,
            provider: row.provider.to_string(),
            kind: "unknown".to_owned(),
            name: row.label.clone().or_else(|| row.identity.display().map(str::to_owned)),
            email: row.identity.email,
            account_id: row.identity.account_id,
            ok: Some(false),
            reason: Some("it cannot be used as it stands: see `claviger doctor`".to_owned()),
            unverifiable: None,
            completion: None,
        })
    }

    /// The work, or that it took too long.
    async fn within<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::select! {
            done = work => Ok(done),
            () = self.clock.sleep(patience) => Err(format!("no answer within {}", words(patience))),
        }
    }

    fn since(&self, begun: Duration) -> u64 {
        u64::try_from(self.clock.boot().saturating_sub(begun).as_millis()).unwrap_or(u64::MAX)
    }

    async fn verdict(self: &Arc<Self>, account: &Arc<AccountLive>, credential: &OpenCredential, patience: Duration) -> Verdict {
        match self.probe_of(account) {
            Probe::None(why, text) => Verdict::Nobody(why, text),
            Probe::Key(probe) => self.ask_key(account, credential, (&probe, patience)).await,
            Probe::Usage => match self.ask_usage(account, credential, patience).await {
                Asked::Unauthorized(why) => self.once_more(account, credential, (why, patience)).await,
                asked => self.judged(account, asked),
            },
        }
    }

    /// A refused token may have been revoked before its time: a refresh tells, by the ordinary way, whether its login lives. What
    /// is refused after that is only said.
    async fn once_more(
        self: &Arc<Self>,
        account: &Arc<AccountLive>,
        refused: &OpenCredential,
        (why, patience): (String, Duration),
    ) -> Verdict {
        let revision = refused.revision();
        match self.open_credential(account, Want::NewerThan(revision)).await {
            Err(why) => Verdict::Bad(why),
            Ok(credential) if credential.revision() > revision => {
                let asked = self.ask_usage(account, &credential, patience).await;
                self.judged(account, asked)
            }
            Ok(_) => Verdict::Bad(why),
        }
    }

    fn judged(&self, account: &AccountLive, asked: Asked) -> Verdict {
        match asked {
            Asked::Told(report, asked_at) => {
                self.usage_told(account, report, Moment::of(&*self.clock), asked_at);
                Verdict::Good
            }
            Asked::Nothing => {
                Verdict::Nobody(Unverifiable::NoData, format!("{} was asked and had nothing to say of this account", account.profile.id))
            }
            Asked::Unauthorized(why) | Asked::Failed(why) => Verdict::Bad(why),
        }
    }

    fn probe_of(&self, account: &AccountLive) -> Probe {
        let (id, kind) = (&account.profile.id, account.kind);
        let endpoint = account.profile.usage.endpoint.as_ref();
        let answers = endpoint.is_some_and(|endpoint| endpoint.kinds.contains(&kind));
        if answers && Parser::of(&account.profile).is_some() {
            return Probe::Usage;
        }
        let settings = self.settings.load();
        let ways = settings.catalogue.login(id.as_str()).map(|rule| rule.ways.as_slice()).unwrap_or_default();
        let probe = ways.iter().find_map(|way| match way {
            LoginWay::Key(entry) => entry.probe.clone(),
            _ => None,
        });
        match (probe, endpoint) {
            (Some(probe), _) if kind == CredentialKind::ApiKey && account.profile.api_key.is_some() => Probe::Key(probe),
            (None, None) => Probe::None(Unverifiable::NoProbe, format!("nothing is known that {id} could be asked")),
            (_, Some(_)) if answers => {
                Probe::None(Unverifiable::NotValidating, format!("what {id} answers when it is asked proves nothing to this program"))
            }
            _ => Probe::None(Unverifiable::KindUnsupported, format!("{id} cannot be asked about {}", plural(kind))),
        }
    }

    async fn ask_usage(&self, account: &AccountLive, credential: &OpenCredential, patience: Duration) -> Asked {
        if let Err(why) = credential.may_ask_for_usage(account) {
            return Asked::Failed(why);
        }
        let http = Watched { http: self.control_client(account, patience), was_unauthorized: AtomicBool::new(false) };
        let asked_at = self.clock.boot();
        let answer = usage_report(&credential.live(account), &http).await;
        match answer {
            Ok(Some(report)) => Asked::Told(report, asked_at),
            Ok(None) => Asked::Nothing,
            Err(error) if http.was_unauthorized.load(Ordering::Relaxed) => Asked::Unauthorized(error.to_string()),
            Err(error) => Asked::Failed(error.to_string()),
        }
    }

    async fn ask_key(&self, account: &AccountLive, credential: &OpenCredential, (probe, patience): (&KeyProbe, Duration)) -> Verdict {
        let id = &account.profile.id;
        let wire = account.profile.api_key.as_ref();
        let Some(request) = wire.and_then(|wire| probe_request(probe, wire, credential.secret())) else {
            return Verdict::Bad("the key cannot stand in a header".to_owned());
        };
        let http = self.control_client(account, patience).reaching(&account.profile.origins.inference);
        match http.send(request).await {
            Ok(answer) if answer.status.is_success() => Verdict::Good,
            Ok(answer) if is_refusal(answer.status) => {
                Verdict::Bad(format!("{id} refuses this key with status {}", answer.status.as_u16()))
            }
            Ok(answer) => {
                let text = format!("{id} answered with status {}, which says nothing of the key", answer.status.as_u16());
                Verdict::Nobody(Unverifiable::NotValidating, text)
            }
            Err(error) => Verdict::Bad(error.to_string()),
        }
    }

    /// A real request, however little is asked for. What comes of it sets nothing aside and switches nothing off.
    async fn completion(&self, id: AccountId, model: String) -> CompletionView {
        let view = self.view.load_full();
        let Some(account) = view.accounts.get(&id) else { return not_sent(model, "it is gone") };
        if account.own_client_only {
            return not_sent(model, "this account serves its vendor's own client alone, and this program is another one");
        }
        let Some((http, request)) = self.completion_request(account, &model) else {
            return not_sent(model, "how to ask this provider for a completion is not known");
        };
        let begun = self.clock.boot();
        let answer = http.send(request).await;
        let latency_ms = Some(self.since(begun));
        let of = |ok, reason| CompletionView { ok, model: model.clone(), latency_ms, reason };
        match answer {
            Ok(answer) if answer.status.is_success() => of(Some(true), None),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                of(None, Some("answered with status 404: the model, or the path, is not there".to_owned()))
            }
            Ok(answer) => of(Some(false), Some(format!("answered with status {}", answer.status.as_u16()))),
            Err(error) => of(Some(false), Some(error.to_string())),
        }
    }

    fn completion_request(&self, account: &Arc<AccountLive>, model: &str) -> Option<(ControlClient, Request<Bytes>)> {
        let (path, body) = completion::request(account, model)?;
        let target = account.origin.as_deref().unwrap_or(&account.profile.base.origin);
        let request = Request::post(format!("{target}{path}")).body(()).ok()?;
        let (mut parts, ()) = request.into_parts();
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        parts.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let facts = AttemptFacts {
            account: account.row.id,
            grant: account.row.grant,
            revision: account.cell.revision(),
            kind: account.kind,
            provider: Arc::clone(&account.profile),
            session: None,
            proxy: account.row.options.proxy.clone(),
            origin: account.origin.clone(),
        };
        let lease = Lease::new(facts, Arc::clone(&account.cell), Arc::clone(&account.allowed), Arc::new(Unheard));
        let attempt = lease.apply(&mut parts).ok()?;
        let http = self.control_client(account, COMPLETION_TIMEOUT).reaching(attempt.allowed().iter());
        Some((http, Request::from_parts(parts, Bytes::from(body.to_string()))))
    }
}

/// What came of a question to a usage endpoint.
enum Asked {
    /// What it told, and when it was asked, on the boot clock.
    Told(UsageReport, Duration),
    Nothing,
    Unauthorized(String),
    Failed(String),
}

/// Hears nothing: a check is no request of an agent, and what comes of it is only said.
#[derive(Debug)]
struct Unheard;

impl AttemptSink for Unheard {
    fn ended(&self, _facts: &AttemptFacts, _report: &Report) {}
}

/// Notes whether the last answer was a 401: hooks tell people what failed, and not programs.
struct Watched {
    http: ControlClient,
    was_unauthorized: AtomicBool,
}

impl ControlHttp for Watched {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>> {
        Box::pin(async move {
            let answer = self.http.send(request).await?;
            self.was_unauthorized.store(answer.status == StatusCode::UNAUTHORIZED, Ordering::Relaxed);
            Ok(answer)
        })
    }

    fn clock(&self) -> &dyn Clock {
        self.http.clock()
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn not_sent(model: String, why: &str) -> CompletionView {
    CompletionView { ok: None, model, latency_ms: None, reason: Some(why.to_owned()) }
}

const fn plural(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::OAuth => "logins",
        CredentialKind::ApiKey => "keys",
    }
}

fn words(patience: Duration) -> String {
    if patience.subsec_millis() == 0 { format!("{} s", patience.as_secs()) } else { format!("{} ms", patience.as_millis()) }
}

fn shown(account: &AccountLive, verdict: Verdict, completion: Option<CompletionView>) -> CheckView {
    let row = &account.row;
    let (ok, unverifiable, reason) = match verdict {
        Verdict::Good => (Some(true), None, None),
        Verdict::Bad(why) => (Some(false), None, Some(why)),
        Verdict::Nobody(kind, why) => (None, Some(kind), Some(why)),
    };
    CheckView {
        account: row.id.0,
        provider: row.provider.to_string(),
        kind: account.kind.as_str().to_owned(),
        name: row.label.clone().or_else(|| row.identity.display().map(str::to_owned)),
        email: row.identity.email.clone(),
        account_id: row.identity.account_id.clone(),
        ok,
        reason,
        unverifiable,
        completion,
    }
}
