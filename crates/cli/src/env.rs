//! The only reader of the environment, and the paths that follow from it.

use crate::args::GlobalArgs;
use crate::error::CliError;
#[cfg(any(test, feature = "demo"))]
use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The environment, as far as this program asks it.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// `CLAVIGER_HOME`: the data folder.
    pub home: Option<PathBuf>,
    /// `CLAVIGER_CONFIG`: the configuration file.
    pub config: Option<PathBuf>,
    /// `CLAVIGER_PASSPHRASE_FILE`: where the passphrase of the vault stands.
    pub passphrase_file: Option<PathBuf>,
    /// `CLAVIGER_LISTEN`: the gateway's address.
    pub listen: Option<String>,
    /// `CLAVIGER_LOG`: what is logged.
    pub log: Option<String>,
    /// `XDG_DATA_HOME`, where it is absolute.
    pub xdg_data_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, where it is absolute.
    pub xdg_config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, where it is absolute.
    pub xdg_state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, where it is absolute.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `HOME`: the user's home, where logins of other tools are looked for.
    pub user_home: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`: what systemd hands over.
    pub credentials_directory: Option<PathBuf>,
    /// The bus of the desktop session, on which its keyring answers: `DBUS_SESSION_BUS_ADDRESS`, else the one in
    /// `XDG_RUNTIME_DIR`.
    #[cfg(all(feature = "keyring", target_os = "linux"))]
    pub session_bus: Option<String>,
    /// The folder for throw-away homes: `TMPDIR`, else the system's.
    #[cfg(feature = "demo")]
    pub temporary: PathBuf,
    variables: Variables,
}

/// Where a variable by name is looked up.
#[derive(Debug, Clone, Default)]
enum Variables {
    /// In the process.
    #[default]
    Process,
    /// In a table, for tests and for a demo.
    #[cfg(any(test, feature = "demo"))]
    Fixed(HashMap<String, OsString>),
}

impl Variables {
    #[expect(clippy::disallowed_methods, reason = "the one reading of the environment")]
    fn get(&self, name: &str) -> Option<OsString> {
        let value = match self {
            Self::Process => std::env::var_os(name),
            #[cfg(any(test, feature = "demo"))]
            Self::Fixed(table) => table.get(name).cloned(),
        };
        value.filter(|value| !value.is_empty())
    }
}

impl Env {
    /// Reads the environment of this process.
    pub fn read() -> Self {
        Self::from_variables(Variables::Process)
    }

    /// From a table, for tests.
    #[cfg(test)]
    pub fn fixed(table: &[(&str, &str)]) -> Self {
        let table = table.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        Self::from_variables(Variables::Fixed(table.collect()))
    }

    fn from_variables(variables: Variables) -> Self {
        let path = |name| variables.get(name).map(PathBuf::from);
        let absolute = |name| path(name).filter(|path| path.is_absolute());
        let text = |name| variables.get(name).and_then(|value| value.into_string().ok());
        Self {
            home: path("CLAVIGER_HOME"),
            config: path("CLAVIGER_CONFIG"),
            passphrase_file: path("CLAVIGER_PASSPHRASE_FILE"),
            listen: text("CLAVIGER_LISTEN"),
            log: text("CLAVIGER_LOG"),
            xdg_data_home: absolute("XDG_DATA_HOME"),
            xdg_config_home: absolute("XDG_CONFIG_HOME"),
            xdg_state_home: absolute("XDG_STATE_HOME"),
            xdg_runtime_dir: absolute("XDG_RUNTIME_DIR"),
            user_home: absolute("HOME"),
            credentials_directory: absolute("CREDENTIALS_DIRECTORY"),
            #[cfg(all(feature = "keyring", target_os = "linux"))]
            session_bus: text("DBUS_SESSION_BUS_ADDRESS").or_else(|| session_bus_in(&absolute("XDG_RUNTIME_DIR")?)),
            #[cfg(feature = "demo")]
            temporary: absolute("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp")),
            variables,
        }
    }

    /// An environment in which nothing is set but the folder for throw-away homes, for a demo.
    #[cfg(feature = "demo")]
    pub fn isolated(&self) -> Self {
        let nothing = Self::from_variables(Variables::Fixed(HashMap::new()));
        Self { temporary: self.temporary.clone(), ..nothing }
    }

    /// A variable by name, for keys that a provider's catalogue entry names and for `import env`. Empty counts as absent.
    pub fn lookup(&self, name: &str) -> Option<String> {
        self.variables.get(name).and_then(|value| value.into_string().ok())
    }

    /// The gateway's address from `CLAVIGER_LISTEN`.
    pub fn listen_address(&self) -> Result<Option<SocketAddr>, CliError> {
        let Some(text) = &self.listen else { return Ok(None) };
        let address = text.parse().map_err(|_malformed| {
            CliError::usage(format!("CLAVIGER_LISTEN {text:?} is not an address")).hint("export CLAVIGER_LISTEN=127.0.0.1:4100")
        })?;
        Ok(Some(address))
    }
}

/// The address of the bus that systemd keeps in the runtime folder.
#[cfg(all(feature = "keyring", target_os = "linux"))]
fn session_bus_in(runtime: &Path) -> Option<String> {
    let socket = runtime.join("bus");
    socket.exists().then(|| format!("unix:path={}", socket.display()))
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The data folder.
    pub home: PathBuf,
    /// The admin socket.
    pub socket: PathBuf,
    /// The configuration file; it need not exist.
    pub config_file: PathBuf,
    /// The folder of overlay files of the catalogue; it need not exist.
    pub providers_dir: PathBuf,
    /// The key file that opens the vault, unless a passphrase does.
    pub master_key: PathBuf,
    /// The folder of the vault's mirror, outside the data folder; `None` where neither `XDG_STATE_HOME` nor `HOME` names one,
    /// so that a vault that is put back is not noticed.
    pub mirrors: Option<PathBuf>,
    /// The log of a detached server.
    pub log_file: PathBuf,
}

impl Paths {
    /// From the environment and the flags; a flag wins.
    ///
    /// The socket is in the runtime folder only for the default data folder: a home that was named has its own, so that
    /// several homes do not collide.
    pub fn resolve(env: &Env, flags: &GlobalArgs) -> Result<Self, CliError> {
        let named_home = flags.home.as_ref().or(env.home.as_ref()).map(|path| absolute(path)).transpose()?;
        let under_home = |name: &str| env.user_home.as_ref().map(|home| home.join(name));
        let no_home = || CliError::usage("HOME is not set").hint("export CLAVIGER_HOME=DIR CLAVIGER_CONFIG=FILE");
        let home = match &named_home {
            Some(home) => home.clone(),
            None => env.xdg_data_home.clone().or_else(|| under_home(".local/share")).ok_or_else(no_home)?.join("claviger"),
        };
        let config_file = match flags.config.as_ref().or(env.config.as_ref()) {
            Some(file) => absolute(file)?,
            None => env.xdg_config_home.clone().or_else(|| under_home(".config")).ok_or_else(no_home)?.join("claviger/config.toml"),
        };
        let runtime = env.xdg_runtime_dir.as_ref().filter(|_| named_home.is_none());
        let socket = runtime.map_or_else(|| home.join(SOCKET_NAME), |runtime| runtime.join("claviger").join(SOCKET_NAME));
        let config_dir = config_file.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self {
            socket,
            config_file,
            providers_dir: config_dir.join("providers.d"),
            master_key: config_dir.join("master.key"),
            mirrors: env.xdg_state_home.clone().or_else(|| under_home(".local/state")).map(|state| state.join("claviger")),
            log_file: home.join("claviger.log"),
            home,
        })
    }
}

/// The socket's file name.
const SOCKET_NAME: &str = "admin.sock";

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| CliError::io("making the path absolute", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: [(&str, &str); 2] = [("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/7")];

    fn paths(table: &[(&str, &str)], flags: &GlobalArgs) -> Paths {
        Paths::resolve(&Env::fixed(table), flags).unwrap()
    }

    #[test]
    fn the_default_home_has_its_socket_in_the_runtime_folder() {
        let paths = paths(&LOGIN, &GlobalArgs::default());
        assert_eq!(paths.home, Path::new("/home/ada/.local/share/claviger"));
        assert_eq!(paths.socket, Path::new("/run/user/7/claviger/admin.sock"));
        assert_eq!(paths.config_file, Path::new("/home/ada/.config/claviger/config.toml"));
        assert_eq!(paths.master_key, Path::new("/home/ada/.config/claviger/master.key"));
        assert_eq!(paths.providers_dir, Path::new("/home/ada/.config/claviger/providers.d"));
    }

    #[test]
    fn a_named_home_has_a_socket_of_its_own() {
        let table = [LOGIN[0], LOGIN[1], ("CLAVIGER_HOME", "/srv/a"), ("CLAVIGER_CONFIG", "/etc/claviger.toml")];
        let by_variable = paths(&table, &GlobalArgs::default());
        assert_eq!(by_variable.socket, Path::new("/srv/a/admin.sock"));
        assert_eq!(by_variable.master_key, Path::new("/etc/master.key"));
        let flags = GlobalArgs { home: Some("/srv/b".into()), config: Some("/srv/c/x.toml".into()), ..GlobalArgs::default() };
        let by_flag = paths(&table, &flags);
        assert_eq!(by_flag.socket, Path::new("/srv/b/admin.sock"));
        assert_eq!(by_flag.config_file, Path::new("/srv/c/x.toml"));
    }

    #[test]
    fn without_a_home_the_error_names_the_variables() {
        let error = Paths::resolve(&Env::fixed(&[("HOME", "")]), &GlobalArgs::default()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_relative_xdg_folder_is_ignored() {
        let paths = paths(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "data"), ("XDG_STATE_HOME", "state")], &GlobalArgs::default());
        assert_eq!(paths.home, Path::new("/home/ada/.local/share/claviger"));
        assert_eq!(paths.socket, Path::new("/home/ada/.local/share/claviger/admin.sock"));
        assert_eq!(paths.mirrors.as_deref(), Some(Path::new("/home/ada/.local/state/claviger")));
    }

    #[test]
    fn the_mirror_of_a_named_home_is_outside_it() {
        let named = [("CLAVIGER_HOME", "/srv/a"), ("CLAVIGER_CONFIG", "/etc/claviger.toml")];
        assert_eq!(paths(&[named[0], named[1], LOGIN[0]], &GlobalArgs::default()).mirrors, Some("/home/ada/.local/state/claviger".into()));
        let state = [named[0], named[1], ("XDG_STATE_HOME", "/var/lib/state")];
        assert_eq!(paths(&state, &GlobalArgs::default()).mirrors, Some("/var/lib/state/claviger".into()));
        assert_eq!(paths(&named, &GlobalArgs::default()).mirrors, None, "nobody says where");
    }
}
