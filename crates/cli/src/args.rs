//! The command line as types; clap derives parsing, help and completions from them.

use clap::{Args, Parser, Subcommand, ValueEnum};
use claviger_domain::id::AccountId;
use claviger_domain::options::{OwnClient, Reserve, Weight};
use claviger_domain::virtual_key::Accessor;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The heading of flags that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Keeps the credentials of AI agents alive.
#[derive(Debug, Parser)]
#[command(name = "claviger", version, propagate_version = true, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalArgs {
    /// Print data as JSON
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// The data folder [env: CLAVIGER_HOME] [default: $XDG_DATA_HOME/claviger]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The configuration file [env: CLAVIGER_CONFIG] [default: $XDG_CONFIG_HOME/claviger/config.toml]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Log more; twice for everything
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up if needed, follow logins of other tools (asks), serve, and say what to do next
    Up(UpArgs),
    /// Stop the running server
    Down(DownArgs),
    /// Print the log of a detached server
    Logs(LogsArgs),
    /// Show virtual keys in use and the accounts that serve them
    Ps(PsArgs),
    /// Show whether a server runs and how providers stand
    Status(StatusArgs),
    /// Create the vault
    Init(InitArgs),
    /// Serve an initialised vault; asks nothing
    Serve(ServeArgs),
    /// Log in to a provider
    Login(LoginArgs),
    /// Forget an account of a provider and its secret
    Logout(LogoutArgs),
    /// Add, list and change accounts at providers
    Account(AccountArgs),
    /// Take over accounts from other tools
    Import(ImportArgs),
    /// Print a current access token
    Token(TokenArgs),
    /// Show what every account has left and when it resets
    Usage(UsageArgs),
    /// Show what has happened to accounts
    Events(EventsArgs),
    /// Create, list and revoke virtual keys
    Key(KeyArgs),
    /// Check, show and reload the configuration
    Config(ConfigArgs),
    /// Look for what is wrong and say what helps
    Doctor(DoctorArgs),
    /// Copy the vault into a file, also while a server runs
    Backup(BackupArgs),
    /// Put a backup into the vault's place
    Restore(RestoreArgs),
    /// Show and change what the vault is sealed with
    Seal(SealArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// `claviger up`
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct UpArgs {
    /// Serve in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Follow every login that is found, without asking
    #[arg(long, conflicts_with = "no_adopt")]
    pub yes: bool,
    /// Follow no login of another tool
    #[arg(long)]
    pub no_adopt: bool,
    /// Try it with a simulated provider, in a throw-away home and on ports of its own
    #[arg(long)]
    #[cfg_attr(not(feature = "demo"), arg(hide = true))]
    pub demo: bool,
    /// The gateway's address [env: CLAVIGER_LISTEN] [default: 127.0.0.1:4100]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// A key for this run alone, before all others: anthropic=env:NAME, =file:PATH or =cmd:PROGRAM ARGUMENTS
    #[arg(long = "api-key", value_name = "PROVIDER=REF")]
    pub api_keys: Vec<String>,
    /// This process is the server in the background of the one that was typed
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// `claviger backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// A new file; one that is there is never overwritten
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `claviger restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A file that `claviger backup` made
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace the vault that is there, without asking
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub from: KitSource,
}

/// `claviger down`
#[derive(Debug, Args)]
pub struct DownArgs {}

/// `claviger logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on printing as the log grows
    #[arg(short, long)]
    pub follow: bool,
}

/// `claviger ps`
#[derive(Debug, Args)]
pub struct PsArgs {}

/// `claviger status`
#[derive(Debug, Args)]
pub struct StatusArgs {}

/// `claviger init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// What opens the vault
    #[arg(long, value_enum, default_value_t = SealKind::Keyfile)]
    pub seal: SealKind,
}

/// What opens the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SealKind {
    /// A key file beside the configuration, readable by you alone
    Keyfile,
    /// A passphrase, from a prompt, CLAVIGER_PASSPHRASE_FILE or a systemd credential
    Passphrase,
    /// A key in the keyring of the operating system
    Keyring,
}

/// `claviger seal kit`
#[derive(Debug, Args)]
pub struct KitArgs {
    /// A new file; one that is there is never overwritten
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Encrypt to the passphrase in this file; default: asks for one
    #[arg(long, value_name = "FILE", conflicts_with = "recipient")]
    pub passphrase_file: Option<PathBuf>,
    /// Encrypt to an age recipient, age1…
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Option<String>,
}

/// `claviger seal check-kit`
#[derive(Debug, Args)]
pub struct CheckKitArgs {
    /// The kit
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub opening: KitOpening,
}

/// A recovery kit in the place of the vault's own key.
#[derive(Debug, Default, Args)]
pub struct KitSource {
    /// Open the vault with this recovery kit, since its own key is lost
    #[arg(long, value_name = "FILE")]
    pub kit: Option<PathBuf>,
    #[command(flatten)]
    pub opening: KitOpening,
}

/// What opens a recovery kit; without any, a person is asked for its passphrase.
#[derive(Debug, Default, Args)]
pub struct KitOpening {
    /// The passphrase of the kit is in this file
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    pub kit_passphrase_file: Option<PathBuf>,
    /// The age identity of the kit is in this file
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// `claviger serve`
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// The gateway's address [env: CLAVIGER_LISTEN] [default: 127.0.0.1:4100]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// A key for this run alone, before all others: anthropic=env:NAME, =file:PATH or =cmd:PROGRAM ARGUMENTS
    #[arg(long = "api-key", value_name = "PROVIDER=REF")]
    pub api_keys: Vec<String>,
    /// This process is the server in the background of an `up -d`
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// `claviger login`
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct LoginArgs {
    /// The provider, for instance anthropic or openai
    pub provider: String,
    /// Store an API key, from stdin or a hidden prompt, once the provider knows it
    #[arg(long, conflicts_with_all = ["device", "paste", "no_browser"])]
    pub with_key: bool,
    /// Renew this account; another identity is refused unless you agree
    #[arg(long, value_name = "ID")]
    pub account: Option<AccountId>,
    /// A name of your own for the account
    #[arg(long)]
    pub label: Option<String>,
    /// Type a code on another device
    #[arg(long, conflicts_with = "paste")]
    pub device: bool,
    /// Paste what the browser ends at
    #[arg(long)]
    pub paste: bool,
    /// Open no browser; print the address
    #[arg(long)]
    pub no_browser: bool,
    /// Agree that another identity takes the account's place
    #[arg(short, long, requires = "account")]
    pub yes: bool,
    /// Something that the provider's login takes, for instance a cloud project; repeat for several
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
}

/// `claviger logout`
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// The provider, for instance anthropic or openai
    pub provider: String,
    /// This account, where there are several
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub account: Option<AccountId>,
    /// Every account of the provider
    #[arg(long)]
    pub all: bool,
}

/// `claviger account`
#[derive(Debug, Args)]
pub struct AccountArgs {
    #[command(subcommand)]
    pub command: AccountCommand,
}

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Store an account from JSON: {"type":"oauth","access",…} or {"type":"api_key","key"}
    Add {
        /// The provider, for instance anthropic or openai
        provider: String,
        /// A file, or - for stdin
        #[arg(long, value_name = "FILE")]
        from_json: PathBuf,
        /// A name of your own for the account
        #[arg(long)]
        label: Option<String>,
    },
    /// List all accounts
    List {
        /// Those of one provider alone
        provider: Option<String>,
    },
    /// Show one account
    Show {
        /// The account's id
        id: AccountId,
    },
    /// Change what is yours to set
    Set(AccountSetArgs),
    /// Take an account out of service
    Disable {
        /// The account's id
        id: AccountId,
        /// Why, for those who look later
        #[arg(long, default_value = "switched off by hand")]
        cause: String,
    },
    /// Put an account back into service
    Enable {
        /// The account's id
        id: AccountId,
    },
    /// Remove an account and its secret
    Remove {
        /// The account's id
        id: AccountId,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Make a login Claviger's to refresh: one that another tool keeps, or one in quarantine, which this vault alone uses
    Take {
        /// The account's id
        id: AccountId,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Bind an account's secret to where its provider is now
    Rebind {
        /// The account's id
        id: AccountId,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Ask the providers, one account after another, whether they still take what is stored
    Check(AccountCheckArgs),
    /// List and redeem saved resets of rate limits
    #[command(subcommand)]
    Credits(CreditsCommand),
    /// Lift what sets accounts aside
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Unblock {
        /// The account's id
        #[arg(group = "which")]
        id: Option<AccountId>,
        /// Every account
        #[arg(long, group = "which")]
        all: bool,
    },
}

/// `claviger account check`
#[derive(Debug, Args)]
pub struct AccountCheckArgs {
    /// This account alone
    #[arg(conflicts_with = "provider")]
    pub id: Option<AccountId>,
    /// Accounts of this provider alone
    #[arg(long)]
    pub provider: Option<String>,
    /// Fail unless every account is shown to work
    #[arg(long)]
    pub strict: bool,
    /// Try a minimal completion as well, which costs what it costs
    #[arg(long, requires = "model")]
    pub completion: bool,
    /// The model of the completion
    #[arg(long, requires = "completion")]
    pub model: Option<String>,
    /// How long each account may take, up to 60s [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
}

/// What to do with saved resets.
#[derive(Debug, Subcommand)]
pub enum CreditsCommand {
    /// Ask the providers what every account has saved
    List(CreditsListArgs),
    /// Spend a saved reset
    Redeem(CreditsRedeemArgs),
}

/// `claviger account credits list`
#[derive(Debug, Args)]
pub struct CreditsListArgs {
    /// This account alone
    #[arg(conflicts_with = "provider")]
    pub account: Option<AccountId>,
    /// Accounts of this provider alone
    #[arg(long)]
    pub provider: Option<String>,
}

/// `claviger account credits redeem`
#[derive(Debug, Args)]
pub struct CreditsRedeemArgs {
    /// The account: its id here, its e-mail address, or its id at the provider
    pub account: String,
    /// The id of the reset, as the list shows it [default: the one that is lost soonest]
    #[arg(long, value_name = "ID")]
    pub credit: Option<String>,
    /// Repeat the attempt of this name, so that a lost answer spends nothing twice
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `claviger events`
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on printing as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only events of this kind, for instance account_blocked; repeat for several
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
}

/// `claviger account set`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub struct AccountSetArgs {
    /// The account's id
    pub id: AccountId,
    /// Higher is drained first
    #[arg(long, group = "what", allow_hyphen_values = true)]
    pub priority: Option<i32>,
    /// The share of each limit to keep back while other accounts have room, up to 90%
    #[arg(long, group = "what", value_name = "PERCENT")]
    pub reserve: Option<Reserve>,
    /// How many sessions it takes, compared with its equals, from 1 to 100
    #[arg(long, group = "what")]
    pub weight: Option<Weight>,
    /// A name of your own; empty takes it away
    #[arg(long, group = "what")]
    pub label: Option<String>,
    /// Serve the vendor's own client alone: on, off, or default for what the vendor's terms say
    #[arg(long, group = "what", value_name = "WHEN")]
    pub own_client_only: Option<OwnClient>,
    /// Serve only requests for models that begin with this and a /, which is taken off; empty takes it away
    #[arg(long, group = "what", value_name = "PREFIX")]
    pub model_prefix: Option<String>,
    /// Reach it through this http:// or socks5:// proxy; - reads a URL with a password, none takes it away
    #[arg(long, group = "what", value_name = "URL")]
    pub proxy: Option<String>,
}

/// `claviger import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Where from: omp, claude-code, codex, gemini-cli, kimi-cli, opencode, copilot, cliproxyapi, litellm or env
    pub source: String,
    /// Its file or folder; default: where that tool keeps it
    pub path: Option<PathBuf>,
    /// Say what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Follow the login of another tool without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// `claviger token`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The provider, for instance anthropic or openai
    pub provider: String,
    /// This account
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub account: Option<AccountId>,
    /// Every account of the provider
    #[arg(long)]
    pub all: bool,
    /// Pick as the gateway does for this conversation
    #[arg(long, conflicts_with_all = ["all", "account"])]
    pub session: Option<String>,
}

/// `claviger usage`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct UsageArgs {
    /// This provider alone
    pub provider: Option<String>,
    /// This account alone
    #[arg(long, value_name = "ID")]
    pub account: Option<AccountId>,
    /// Ask the providers now
    #[arg(long)]
    pub fresh: bool,
    /// Show how it went, for instance 7d
    #[arg(long, value_name = "DURATION")]
    pub history: Option<String>,
    /// Show what was paid
    #[arg(long)]
    pub cost: bool,
    /// Show what was unused when windows ended
    #[arg(long)]
    pub waste: bool,
    /// Print comma-separated values
    #[arg(long)]
    pub csv: bool,
}

/// `claviger key`
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// What to do with virtual keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a virtual key and print it, this once
    Create {
        /// A name of your own for it
        #[arg(long)]
        label: Option<String>,
        /// A provider that it may use; repeat for several; default: all
        #[arg(long = "provider", value_name = "PROVIDER")]
        providers: Vec<String>,
        /// An account that it may use; repeat for several; default: all
        #[arg(long = "account", value_name = "ID")]
        accounts: Vec<AccountId>,
        /// How long it works, for instance 12h or 30d; default: until it is revoked
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
    },
    /// List all virtual keys
    List,
    /// End a virtual key
    Revoke {
        /// The key's id, as `key list` shows it
        id: Accessor,
    },
}

/// `claviger config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read everything and report every error
    Check,
    /// Print the effective values
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Make the running server read it again
    Reload,
}

/// `claviger doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {}

/// `claviger seal`
#[derive(Debug, Args)]
pub struct SealArgs {
    #[command(subcommand)]
    pub command: SealCommand,
}

/// What to do with the seal.
#[derive(Debug, Subcommand)]
pub enum SealCommand {
    /// Print what opens the vault, whether a recovery kit does, and the data keys
    Status,
    /// Make a new data key and seal everything anew under it, also while a server runs
    Rotate,
    /// Seal the vault with another passphrase or key; the old one opens it no more
    Rewrap(RewrapArgs),
    /// Make a recovery kit: an age file that opens the vault when its own key is lost
    Kit(KitArgs),
    /// Prove that a recovery kit opens this vault, and change nothing
    CheckKit(CheckKitArgs),
}

/// `claviger seal rewrap`
#[derive(Debug, Args)]
pub struct RewrapArgs {
    /// What opens the vault from then on [default: a new one of the kind that it has]
    #[arg(long, value_enum)]
    pub to: Option<SealKind>,
    /// A file with the new passphrase [default: a prompt]
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub from: KitSource,
}

/// `claviger completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn unblock_asks_for_one_account_or_all() {
        assert!(Cli::try_parse_from(["claviger", "account", "unblock"]).is_err());
        assert!(Cli::try_parse_from(["claviger", "account", "unblock", "1", "--all"]).is_err());
        assert!(Cli::try_parse_from(["claviger", "account", "unblock", "1"]).is_ok());
        assert!(Cli::try_parse_from(["claviger", "account", "unblock", "--all"]).is_ok());
    }
}
