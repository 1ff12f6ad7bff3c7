//! Logins over the control plane: each step is a task of its own, so that a caller who goes away loses no token.

use super::failed;
use crate::limits::LOGIN_STORE_WAIT_MAX;
use crate::login::{LoginFacts, Next, NotThere, Session, Stage};
use crate::{Inner, Pool};
use claviger_admin::{AccountAdded, AdminError, ErrorCode, LoginAsk, LoginContinue, LoginInput, LoginStep};
use claviger_providers::hooks::{FreshLogin, after_login};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Pool {
    pub(super) async fn login_begin(&self, ask: LoginAsk) -> Result<LoginStep, AdminError> {
        let chosen = self.inner.login_choose(ask).await?;
        let facts = Arc::clone(&chosen.facts);
        self.inner.logins.enter(&facts.id, self.inner.clock.boot());
        // Nobody has logged in yet: a caller who goes away ends the question, and the login with it.
        let entered = Entered { inner: &self.inner, facts: &facts };
        let next = self.inner.login_first(chosen).await;
        std::mem::forget(entered);
        let inner = Arc::clone(&self.inner);
        self.in_task(async move { inner.login_next(&facts, next).await }).await
    }

    pub(super) async fn login_continue(&self, next: LoginContinue) -> Result<LoginStep, AdminError> {
        let LoginContinue { login, input } = next;
        let session = self.inner.logins.take(&login, self.inner.clock.boot()).map_err(not_there)?;
        let inner = Arc::clone(&self.inner);
        self.in_task(async move { inner.login_step(session, input).await }).await
    }

    /// Runs a step to its end, whether or not somebody still waits for it. It ends with the supervisor.
    async fn in_task(&self, work: impl Future<Output = Result<LoginStep, AdminError>> + Send + 'static) -> Result<LoginStep, AdminError> {
        let (tell, told) = oneshot::channel();
        self.inner.supervisor.spawn("login", async move {
            // Nobody may be there any more.
            drop(tell.send(work.await));
        });
        told.await.map_err(|_stopped| AdminError::new(ErrorCode::Failed, "the login was ended, since the server stops"))?
    }
}

/// A login whose first question is out. Dropped, it forgets the login: its name was told to nobody.
struct Entered<'a> {
    inner: &'a Inner,
    facts: &'a LoginFacts,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.inner.logins.forget(&self.facts.id, self.inner.clock.boot());
    }
}

impl Inner {
    /// Asks a provider, until the login is given up: nobody waits for the answer then, and the end of the process need not.
    async fn unless_given_up<T>(&self, facts: &LoginFacts, asking: impl Future<Output = Result<T, AdminError>>) -> Result<T, AdminError> {
        tokio::select! {
            answer = asking => answer,
            () = self.logins.given_up(&facts.id, self.clock.boot()) => Err(not_there(NotThere::Gone)),
        }
    }

    /// What a stage makes of what has happened.
    async fn login_go_on(&self, facts: &Arc<LoginFacts>, stage: Stage, input: LoginInput) -> Result<Next, AdminError> {
        self.unless_given_up(facts, crate::login::go_on(self, facts, stage, input)).await
    }

    /// Gives a login up. One that is being stored is not: what comes of it is told to who asked for it.
    pub(super) fn login_cancel(&self, login: &str) -> Result<(), AdminError> {
        if self.logins.give_up(login, self.clock.boot()) {
            return Ok(());
        }
        Err(AdminError::new(ErrorCode::Refused, "the login is being stored: it is too late to give it up").hint("claviger account list"))
    }

    fn login_forget(&self, facts: &LoginFacts) {
        self.logins.forget(&facts.id, self.clock.boot());
    }

    async fn login_step(&self, session: Session, input: LoginInput) -> Result<LoginStep, AdminError> {
        let Session { facts, stage } = session;
        let confirmed = matches!(input, LoginInput::ConfirmIdentity);
        let next = match stage {
            Stage::Confirm(fresh) if confirmed => return self.login_end(&facts, *fresh, Vec::new()).await,
            Stage::Confirm(fresh) => return self.login_settle(&facts, *fresh, Vec::new()).await,
            other => self.login_go_on(&facts, other, input).await,
        };
        self.login_next(&facts, next).await
    }

    /// Carries out what a step led to: an error and an end take the login out of the table.
    async fn login_next(&self, facts: &Arc<LoginFacts>, next: Result<Next, AdminError>) -> Result<LoginStep, AdminError> {
        match next {
            Ok(Next::Goes(stage, step)) => self.login_waits(facts, stage, step),
            Ok(Next::Done(fresh, warnings)) => self.login_complete(facts, *fresh, warnings).await,
            Err(error) => {
                self.login_forget(facts);
                Err(error)
            }
        }
    }

    fn login_waits(&self, facts: &Arc<LoginFacts>, stage: Stage, step: LoginStep) -> Result<LoginStep, AdminError> {
        let session = Session { facts: Arc::clone(facts), stage };
        self.logins.put_back(session, self.clock.boot()).map(|()| step).map_err(not_there)
    }

    /// Asks the provider's hooks who it is, and for what requests need beside a token.
    async fn login_complete(&self, facts: &Arc<LoginFacts>, fresh: FreshLogin, warnings: Vec<String>) -> Result<LoginStep, AdminError> {
        let known = async {
            let known = after_login(&facts.profile, fresh, &facts.params, &facts.http).await;
            known.map_err(|error| facts.failed(format!("nothing was stored, although {} let the login in: {error}", facts.profile.id)))
        };
        match self.unless_given_up(facts, known).await {
            Ok(fresh) => self.login_settle(facts, fresh, warnings).await,
            Err(error) => {
                self.login_forget(facts);
                Err(error)
            }
        }
    }

    /// Stores who was meant; another identity waits for a person's word.
    async fn login_settle(&self, facts: &Arc<LoginFacts>, fresh: FreshLogin, warnings: Vec<String>) -> Result<LoginStep, AdminError> {
        // Another process may have changed who the account is.
        self.rebuild().await.map_err(failed)?;
        match self.login_conflict(facts, &fresh) {
            Some((was, is)) => {
                let step = LoginStep::ConfirmIdentity { login: facts.id.clone(), was: Box::new(was), is: Box::new(is) };
                self.login_waits(facts, Stage::Confirm(Box::new(fresh)), step)
            }
            None => self.login_end(facts, fresh, warnings).await,
        }
    }

    async fn login_end(&self, facts: &LoginFacts, fresh: FreshLogin, warnings: Vec<String>) -> Result<LoginStep, AdminError> {
        if !self.logins.begin_storing(&facts.id, self.clock.boot()) {
            return Err(not_there(NotThere::Gone));
        }
        let stored = self.login_store_patiently(facts, &fresh).await;
        self.login_forget(facts);
        Ok(LoginStep::Stored { added: Box::new(stored?), warnings })
    }

    /// Stores a login, also where a refresh of what it replaces takes its time: the code is used up, and a person would have to
    /// begin again.
    async fn login_store_patiently(&self, facts: &LoginFacts, fresh: &FreshLogin) -> Result<AccountAdded, AdminError> {
        let begun = self.clock.boot();
        loop {
            match self.login_store(facts, fresh).await {
                Err(error) if error.code == ErrorCode::Locked && self.clock.boot().saturating_sub(begun) < LOGIN_STORE_WAIT_MAX => {
                    if self.supervisor.is_stopping() {
                        return Err(error);
                    }
                }
                ended => return ended,
            }
        }
    }
}

fn not_there(why: NotThere) -> AdminError {
    match why {
        NotThere::Gone => {
            AdminError::new(ErrorCode::NotFound, "there is no such login: it has ended, was given up, or the server was started anew")
                .hint("claviger login PROVIDER")
        }
        NotThere::Busy => AdminError::new(ErrorCode::Refused, "another step of this login is under way"),
    }
}
