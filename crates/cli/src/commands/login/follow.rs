//! Follows a login step by step: whatever comes first, the browser, the keyboard, the provider, the clock or Ctrl-C.

use super::callback::{Callback, Hit, Page};
use super::keyboard::{self, Found, Hidden, Keyboard};
use super::saying::{Event, Saying, name};
use super::way::{Browser, Plan};
use super::{browser, key};
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{Admin, ErrorCode, Exposed, IdentityView, LoginAsk, LoginContinue, LoginExpects, LoginInput, LoginStep};
use claviger_domain::profile::ProviderProfile;
use claviger_domain::time::Timestamp;
use claviger_runtime::best_effort;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether another identity may take an account's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// A person is asked.
    Asked,
    /// It was given beforehand.
    Given,
}

/// A person's side of a login.
#[derive(Debug)]
pub struct Side<'a> {
    context: &'a Context,
    saying: Saying,
    callback: Option<Callback>,
    plan: Plan,
    consent: Consent,
    keyboard: Keyboard,
    /// Whether it was said since the last code that nothing has come yet.
    waited: bool,
    /// Until when the browser is waited for.
    ends_at: Timestamp,
    /// The command that begins again.
    again: String,
}

/// What comes first.
enum First {
    Hit(Hit),
    Line(Option<Exposed>),
    TimeIsUp,
}

impl<'a> Side<'a> {
    /// At the beginning of a login.
    pub fn new(context: &'a Context, saying: Saying, callback: Option<Callback>, plan: Plan, consent: Consent) -> Self {
        let keyboard = Keyboard::default();
        Self { context, saying, callback, plan, consent, keyboard, waited: false, ends_at: Timestamp::FAR_FUTURE, again: String::new() }
    }

    /// Logs in. Whatever ends it otherwise, the control plane forgets the login.
    pub async fn login(&mut self, profile: &ProviderProfile, ask: LoginAsk) -> Result<(), CliError> {
        // The vault may ask for its passphrase: Ctrl-C ends that as it does in every command.
        let admin = self.context.admin().await?;
        let mut signals = Signals::new()?;
        let account = ask.account.map(|account| format!(" --account {account}")).unwrap_or_default();
        self.again = format!("claviger login {}{account}", profile.id);
        let step = tokio::select! {
            step = admin.login_begin(ask) => step?,
            () = signals.any() => return Err(given_up(&self.again)),
        };
        let login = step.login().unwrap_or_default().to_owned();
        let ended = tokio::select! {
            // What has ended has ended, whatever was typed at the same time.
            biased;
            ended = self.follow(&admin, step, profile) => ended,
            () = signals.any() => Err(given_up(&self.again)),
        };
        if ended.is_ok() {
            return ended;
        }
        match admin.login_cancel(login).await {
            // It came too late: saying that nothing was stored would be a lie.
            Err(late) if late.code == ErrorCode::Refused => Err(late.into()),
            other => {
                best_effort("give a login up", other);
                ended
            }
        }
    }

    /// Ends the listener, once the browser has its last page.
    pub async fn close(self) {
        if let Some(callback) = self.callback {
            callback.close().await;
        }
    }

    async fn follow(&mut self, admin: &Arc<dyn Admin>, first: LoginStep, profile: &ProviderProfile) -> Result<(), CliError> {
        let mut step = first;
        loop {
            step = match step {
                LoginStep::OpenUrl { login, url, expects, ends_at } => {
                    self.ends_at = ends_at;
                    self.open(&url, &expects, ends_at)?;
                    self.bring(admin, login).await?
                }
                LoginStep::NotTaken { login, why } => {
                    self.saying.tell(&Event::NotTaken { why: &why })?;
                    self.bring(admin, login).await?
                }
                LoginStep::ShowCode { login, url, url_complete, user_code, poll_after_ms, ends_at } => {
                    self.show(&url, url_complete.as_deref(), user_code.as_deref(), ends_at)?;
                    self.poll(admin, login, poll_after_ms).await?
                }
                LoginStep::Waiting { login, poll_after_ms } => self.poll(admin, login, poll_after_ms).await?,
                LoginStep::EnterKey { login, page } => {
                    let text = self.key(profile, page.as_deref()).await?;
                    next(admin, login, LoginInput::Pasted { text }).await?
                }
                LoginStep::ConfirmIdentity { login, was, is } => {
                    self.agree(&was, &is).await?;
                    next(admin, login, LoginInput::ConfirmIdentity).await?
                }
                LoginStep::Stored { added, warnings } => {
                    return self.saying.tell(&Event::Stored { added: &added, warnings: &warnings });
                }
            };
        }
    }

    fn open(&self, url: &str, expects: &LoginExpects, ends_at: Timestamp) -> Result<(), CliError> {
        let (expects, redirect) = match expects {
            LoginExpects::Callback { redirect } if self.callback.is_some() => ("callback", Some(redirect.as_str())),
            LoginExpects::Callback { .. } | LoginExpects::Paste => ("paste", None),
        };
        self.saying.tell(&Event::OpenUrl { url, expects, redirect, ends_at })?;
        self.start_browser(url);
        if self.plan.pastes {
            let also = if self.callback.is_some() { ", unless it comes back by itself" } else { "" };
            self.saying.whisper(&format!("then paste the address that the browser ends at, or the code that it shows{also}:"));
        } else {
            self.saying.whisper("waiting for the browser to come back (Ctrl-C gives it up)");
        }
        Ok(())
    }

    fn show(&mut self, url: &str, url_complete: Option<&str>, user_code: Option<&str>, ends_at: Timestamp) -> Result<(), CliError> {
        self.waited = false;
        self.saying.tell(&Event::Code { url, url_complete, user_code, ends_at })?;
        self.start_browser(url_complete.unwrap_or(url));
        Ok(())
    }

    fn start_browser(&self, url: &str) {
        if self.plan.browser == Browser::Opened && browser::open(&self.context.env, url).is_err() {
            self.saying.whisper("no browser could be started here");
        }
    }

    /// Waits for what the browser or the keyboard brings, and hands it over.
    async fn bring(&mut self, admin: &Arc<dyn Admin>, login: String) -> Result<LoginStep, CliError> {
        loop {
            match self.first().await? {
                First::Hit(Hit { query, page }) => {
                    let step = next(admin, login, LoginInput::Callback { query }).await;
                    let shown = match &step {
                        Ok(LoginStep::Stored { .. }) => Page::Done,
                        Ok(LoginStep::NotTaken { .. }) => Page::NotTaken,
                        Ok(_) => Page::Asks,
                        Err(_) => Page::Failed,
                    };
                    // A browser that has left sees nothing.
                    let shown = page.send(shown);
                    best_effort("show the browser how it went", shown.map_err(|_left| "the browser has left"));
                    return step;
                }
                First::Line(Some(text)) if text.expose().is_empty() => {}
                First::Line(Some(text)) => return next(admin, login, LoginInput::Pasted { text }).await,
                First::Line(None) if self.callback.is_some() => {}
                First::Line(None) => {
                    return Err(CliError::failed("nothing was pasted, and the browser cannot come back here")
                        .hint("run it on a terminal, or give the address that the browser ended at on stdin"));
                }
                First::TimeIsUp => return Err(CliError::failed("nobody finished the login in time").hint(&self.again)),
            }
        }
    }

    async fn first(&mut self) -> Result<First, CliError> {
        let left = self.ends_at.until(self.context.clock.now());
        let listens = self.plan.pastes && !self.keyboard.has_ended();
        let callback = &mut self.callback;
        let hit = async {
            match callback {
                Some(callback) => callback.hit().await,
                None => std::future::pending().await,
            }
        };
        let keyboard = &mut self.keyboard;
        tokio::select! {
            hit = hit => Ok(First::Hit(hit)),
            line = keyboard.line(), if listens => line.map(First::Line),
            () = self.context.clock.sleep(left) => Ok(First::TimeIsUp),
        }
    }

    async fn poll(&mut self, admin: &Arc<dyn Admin>, login: String, poll_after_ms: u64) -> Result<LoginStep, CliError> {
        if !self.waited {
            self.waited = true;
            self.saying.tell(&Event::Waiting { poll_after_ms })?;
        }
        self.context.clock.sleep(Duration::from_millis(poll_after_ms)).await;
        next(admin, login, LoginInput::Poll).await
    }

    async fn key(&mut self, profile: &ProviderProfile, page: Option<&str>) -> Result<Exposed, CliError> {
        let prompt = format!("key of {}", profile.name);
        let text = if keyboard::is_terminal() {
            if let Some(page) = page {
                self.saying.whisper(&format!("keys are made at {page}"));
            }
            self.saying.whisper(&format!("{prompt}, which is not shown:"));
            let hidden = Hidden::new()?;
            let line = self.keyboard.line().await;
            drop(hidden);
            line?.unwrap_or_else(|| Exposed::new(String::new()))
        } else {
            self.context.secret_from_stdin_or_prompt(&prompt)?
        };
        key::check(&text)?;
        Ok(text)
    }

    /// Asks whether another identity may take the account's place.
    async fn agree(&mut self, was: &IdentityView, is: &IdentityView) -> Result<(), CliError> {
        self.saying.tell(&Event::OtherIdentity { was, is })?;
        if self.consent == Consent::Given {
            return Ok(());
        }
        if self.context.is_interactive() {
            self.saying.whisper(&format!("shall {} take the place of {}? [y/N]", name(is), name(was)));
            let answer = self.keyboard.line().await?;
            let answer = answer.map(|answer| answer.expose().to_ascii_lowercase());
            if matches!(answer.as_deref(), Some("y" | "yes")) {
                return Ok(());
            }
        }
        let message = format!("the account is {}, and {} has logged in: nothing was stored", name(was), name(is));
        Err(CliError::refused(message)
            .hint(format!("{} --yes, if that is meant; without --account it is stored beside the other", self.again)))
    }
}

async fn next(admin: &Arc<dyn Admin>, login: String, input: LoginInput) -> Result<LoginStep, CliError> {
    Ok(admin.login_continue(LoginContinue { login, input }).await?)
}

fn given_up(again: &str) -> CliError {
    CliError::failed("the login was given up: nothing was stored").hint(again)
}

/// What ends a command from outside, or stops it for a while.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    /// Ctrl-Z: it ends nothing, and the terminal is given back meanwhile.
    suspend: Signal,
    found: Found,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(|error| CliError::failed(format!("signals cannot be listened to: {error}")));
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let suspend = listen(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?;
        Ok(Self { interrupt, terminate, hang_up: listen(SignalKind::hangup())?, suspend, found: Found::now() })
    }

    async fn any(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hang_up.recv() => return,
                _ = self.suspend.recv() => self.found.stop(),
            }
        }
    }
}
