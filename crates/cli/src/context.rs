//! What every command is given: the environment, the paths, the output, and the way to the control plane.

use crate::admin_socket;
use crate::args::GlobalArgs;
use crate::config::Config;
use crate::env::{Env, Paths};
use crate::error::CliError;
use crate::os_keyring::Keyring;
use crate::output::Output;
use crate::wire_up::{self, Opened};
use claviger_admin::{Admin, Exposed};
use claviger_domain::secret::SECRET_MAX_BYTES;
use claviger_runtime::{Clock, SystemClock};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// The environment.
    pub env: Env,
    /// Where everything is.
    pub paths: Paths,
    /// How this run prints.
    pub output: Output,
    /// The flags that every command takes.
    pub global: GlobalArgs,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The keyring of the operating system.
    pub keyring: Keyring,
    /// The vault, where a command opened it in this process.
    opened: OnceCell<Opened>,
}

impl Context {
    /// From the environment and the flags.
    pub fn new(env: Env, global: GlobalArgs) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keyring = Keyring::of_system(&env, Arc::clone(&clock));
        Self::on(env, global, clock, keyring)
    }

    /// On another clock and another keyring than the system's.
    pub fn on(env: Env, global: GlobalArgs, clock: Arc<dyn Clock>, keyring: Keyring) -> Result<Self, CliError> {
        let paths = Paths::resolve(&env, &global)?;
        Ok(Self { paths, output: Output::new(global.json), env, global, clock, keyring, opened: OnceCell::new() })
    }

    /// The control plane: that of a running server over its socket, else the vault opened in this process.
    ///
    /// Without a vault the error says `claviger init`.
    pub async fn admin(&self) -> Result<Arc<dyn Admin>, CliError> {
        match admin_socket::connect(&self.paths.socket).await? {
            Some(client) => Ok(Arc::new(client)),
            None => Ok(Arc::new(self.opened.get_or_try_init(|| wire_up::open(self)).await?.pool.clone())),
        }
    }

    /// Closes the vault, if a command opened it in this process. To be called once the command has ended.
    pub async fn close(&self) {
        if let Some(opened) = self.opened.get() {
            opened.close().await;
        }
    }

    /// The effective configuration. A malformed file is an error with line and column.
    pub fn config(&self) -> Result<Config, CliError> {
        Config::load(&self.paths.config_file)
    }

    /// Whether a person can be asked: stdin and stderr are a terminal, and no program reads the output as JSON.
    pub fn is_interactive(&self) -> bool {
        !self.output.is_json() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a yes-or-no question on the terminal; anything but yes is no. Without a terminal nobody is asked: no.
    pub fn confirm(&self, question: &str) -> Result<bool, CliError> {
        if !self.is_interactive() {
            return Ok(false);
        }
        let failed = |error: std::io::Error| CliError::failed(format!("the terminal failed: {error}"));
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(failed)?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// A secret from stdin, or from a hidden prompt where stdin is a terminal. White space around it is dropped.
    #[expect(clippy::unused_self, reason = "whoever asks a person holds a Context")]
    pub fn secret_from_stdin_or_prompt(&self, prompt: &str) -> Result<Exposed, CliError> {
        let failed = |error: std::io::Error| CliError::failed(format!("the secret cannot be read: {error}"));
        let text = if std::io::stdin().is_terminal() {
            zeroize::Zeroizing::new(rpassword::prompt_password(format!("{prompt}: ")).map_err(failed)?)
        } else {
            let limit = SECRET_MAX_BYTES as u64 + 1;
            // The whole capacity at once: growing would leave copies behind.
            let mut text = zeroize::Zeroizing::new(String::with_capacity(SECRET_MAX_BYTES + 64));
            std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(failed)?;
            text
        };
        let secret = text.trim();
        if secret.is_empty() {
            return Err(CliError::usage("the secret is empty"));
        }
        if secret.len() > SECRET_MAX_BYTES {
            return Err(CliError::usage(format!("the secret is longer than {SECRET_MAX_BYTES} bytes")));
        }
        Ok(Exposed::new(secret.to_owned()))
    }
}
