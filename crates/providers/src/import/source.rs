//! The tools that accounts can be imported from, and where each keeps its logins.

use super::file::{read_if_there, read_login_file, warn_if_open};
use super::{FollowFormat, GeminiFiles, Import, ImportError, Skipped, followed_owner};
use super::{claude_code, cliproxyapi, codex, copilot, environment, gemini_cli, keychain, kimi_cli, litellm, omp, opencode};
use crate::catalogue::Catalogue;
use claviger_domain::time::Timestamp;
use std::fmt;
use std::path::{Path, PathBuf};

/// Most files of a folder that are read; people have tens.
const FILES_MAX: usize = 1000;

/// What a source may look at.
#[derive(Clone, Copy)]
pub struct ImportContext<'a> {
    /// The providers that are known here.
    pub catalogue: &'a Catalogue,
    /// Now, to leave out blocks and logins that have ended.
    pub now: Timestamp,
    /// The home folder, where there is one.
    pub home: Option<&'a Path>,
    /// Reads an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl fmt::Debug for ImportContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportContext").field("now", &self.now).field("home", &self.home).finish_non_exhaustive()
    }
}

/// Where a source keeps its credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A file whose accounts are taken over: this tool and Claviger must not both refresh them.
    File,
    /// A file whose logins are followed: the tool goes on refreshing them. Keys in it are taken over.
    FollowedFile,
    /// The environment.
    Environment,
}

/// Which tool it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Omp,
    ClaudeCode,
    Codex,
    GeminiCli,
    KimiCli,
    OpenCode,
    Copilot,
    CliProxyApi,
    LiteLlm,
    Environment,
}

/// A tool that accounts can be imported from.
#[derive(Debug)]
pub struct ImportSource {
    /// The name on the command line.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// Where it keeps its credentials.
    pub kind: SourceKind,
    tool: Tool,
    /// The variable that names the tool's folder, and what stands below it.
    variable: Option<(&'static str, &'static str)>,
    /// The folder below the home folder; `None` where the tool has no place of its own.
    folder: Option<&'static str>,
    /// The file below the folder; empty where the folder as a whole is read.
    file: &'static str,
}

impl ImportSource {
    const fn new(tool: Tool, (name, title): (&'static str, &'static str), kind: SourceKind) -> Self {
        Self { name, title, kind, tool, variable: None, folder: None, file: "" }
    }

    const fn at(self, variable: Option<(&'static str, &'static str)>, folder: &'static str, file: &'static str) -> Self {
        Self { variable, folder: Some(folder), file, ..self }
    }
}

use SourceKind::{Environment, File, FollowedFile};

static SOURCES: [ImportSource; 10] = [
    ImportSource::new(Tool::Omp, ("omp", "oh-my-pi"), File).at(Some(("PI_CODING_AGENT_DIR", "")), ".omp/agent", "agent.db"),
    ImportSource::new(Tool::ClaudeCode, ("claude-code", "Claude Code"), FollowedFile).at(
        Some(("CLAUDE_CONFIG_DIR", "")),
        ".claude",
        ".credentials.json",
    ),
    ImportSource::new(Tool::Codex, ("codex", "Codex"), FollowedFile).at(Some(("CODEX_HOME", "")), ".codex", "auth.json"),
    ImportSource::new(Tool::GeminiCli, ("gemini-cli", "Gemini CLI"), FollowedFile).at(Some(("GEMINI_CLI_HOME", ".gemini")), ".gemini", ""),
    ImportSource::new(Tool::KimiCli, ("kimi-cli", "kimi-cli"), FollowedFile).at(Some(("KIMI_SHARE_DIR", "")), ".kimi", ""),
    ImportSource::new(Tool::OpenCode, ("opencode", "OpenCode"), FollowedFile).at(
        Some(("XDG_DATA_HOME", "opencode")),
        ".local/share/opencode",
        "auth.json",
    ),
    ImportSource::new(Tool::Copilot, ("copilot", "GitHub Copilot"), File).at(
        Some(("XDG_CONFIG_HOME", "github-copilot")),
        ".config/github-copilot",
        "",
    ),
    ImportSource::new(Tool::CliProxyApi, ("cliproxyapi", "CLIProxyAPI"), File).at(None, ".cli-proxy-api", ""),
    ImportSource::new(Tool::LiteLlm, ("litellm", "LiteLLM"), File),
    ImportSource::new(Tool::Environment, ("env", "the environment"), Environment),
];

/// All sources, in the order in which they are offered.
pub fn sources() -> &'static [ImportSource] {
    &SOURCES
}

/// A source by its name.
pub fn source(name: &str) -> Option<&'static ImportSource> {
    SOURCES.iter().find(|source| source.name == name)
}

impl ImportSource {
    /// Where the tool keeps its file or folder; `None` for the environment, for a tool without a place of its own, and without
    /// a home folder. An item of the keychain of macOS is named like a file, and only where the file is not there.
    pub fn default_path(&self, context: &ImportContext<'_>) -> Option<PathBuf> {
        let home = self.folder?;
        let named = self.variable.and_then(|(variable, below)| {
            let folder = (context.environment)(variable).filter(|folder| !folder.is_empty())?;
            Some(PathBuf::from(folder).join(below))
        });
        let by_home = named.is_none();
        let folder = match named {
            Some(folder) => folder,
            None => context.home?.join(home),
        };
        let path = if self.file.is_empty() { folder } else { folder.join(self.file) };
        let item =
            (self.tool == Tool::ClaudeCode && by_home && !path.exists()).then(|| keychain::place_here(claude_code::KEYCHAIN_SERVICE));
        Some(item.flatten().unwrap_or(path))
    }

    /// Reads the source: the file or folder at `path`, or where the tool keeps it. A file of several that cannot be read is
    /// skipped by name. Nothing is written. Blocks on the file system.
    pub fn read(&self, context: &ImportContext<'_>, path: Option<&Path>) -> Result<Import, ImportError> {
        if self.tool == Tool::Environment {
            return Ok(environment::parse_env(context.catalogue, context.environment));
        }
        let none = || if self.folder.is_none() { ImportError::NoPlace { tool: self.title } } else { ImportError::NoHome };
        let path = path.map(Path::to_owned).or_else(|| self.default_path(context)).ok_or_else(none)?;
        let path = if self.file.is_empty() || !path.is_dir() { path } else { path.join(self.file) };
        match self.tool {
            Tool::Omp => omp::read_omp(context.catalogue, &path, context.now),
            Tool::ClaudeCode => single(&path, |text| {
                let owner = followed_owner(FollowFormat::ClaudeCode, &path).unwrap_or_default();
                claude_code::parse_claude_code(context, text, &path, owner)
            }),
            Tool::Codex => single(&path, |text| codex::parse_codex(context, text, &path)),
            Tool::OpenCode => single(&path, |text| opencode::parse_opencode(context, text, &path)),
            Tool::LiteLlm => single(&path, |text| litellm::parse_litellm(context, text, &path)),
            Tool::GeminiCli => read_gemini(context, &path),
            Tool::KimiCli => read_kimi(context, &path),
            Tool::Copilot => read_copilot(context, &path),
            Tool::CliProxyApi => read_cliproxyapi(context, &path),
            Tool::Environment => Ok(Import::default()),
        }
    }
}

fn single(path: &Path, parse: impl FnOnce(&[u8]) -> Result<Import, ImportError>) -> Result<Import, ImportError> {
    let mut import = parse(&read_login_file(path)?)?;
    warn_if_open(&mut import, path);
    Ok(import)
}

/// Reads one file of several: what is wrong with it as a whole is said of it alone.
fn among(import: &mut Import, path: &Path, parse: impl FnOnce(&[u8]) -> Result<Import, ImportError>) {
    match single(path, parse) {
        Ok(found) => import.append(found),
        Err(error) => import.skipped.push(Skipped::new(&name_of(path), &with_cause(&error))),
    }
}

fn with_cause(error: &ImportError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|found| extensions.iter().any(|extension| found.eq_ignore_ascii_case(extension)))
}

/// The files of a folder with an extension, by name.
fn files_in(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, ImportError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ImportError::NotFound { path: folder.to_owned() },
        _ => ImportError::Unreadable { path: folder.to_owned(), source },
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)?.take(FILES_MAX) {
        let path = entry.map_err(failed)?.path();
        if has_extension(&path, &[extension]) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_gemini(context: &ImportContext<'_>, path: &Path) -> Result<Import, ImportError> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let login_file = if path.is_dir() { path.join(gemini_cli::LOGIN_FILE) } else { path.to_owned() };
    let login = read_if_there(&login_file)?;
    let env_file = folder.join(gemini_cli::ENV_FILE);
    let (owner, variables) = (read_if_there(&folder.join(gemini_cli::OWNER_FILE))?, read_if_there(&env_file)?);
    if login.is_none() && (variables.is_none() || !path.is_dir()) {
        return Err(ImportError::NotFound { path: login_file });
    }
    let files = GeminiFiles {
        login: login.as_ref().map(|text| text.as_slice()),
        owner: owner.as_ref().map(|text| text.as_slice()),
        variables: variables.as_ref().map(|text| text.as_slice()),
    };
    let mut import = gemini_cli::parse_gemini_cli(context, files, &login_file)?;
    for file in [login_file, env_file] {
        warn_if_open(&mut import, &file);
    }
    Ok(import)
}

fn read_kimi(context: &ImportContext<'_>, path: &Path) -> Result<Import, ImportError> {
    if !path.is_dir() {
        let parse = if has_extension(path, &["toml"]) { kimi_cli::parse_kimi_config } else { kimi_cli::parse_kimi_login };
        return single(path, |text| parse(context, text, path));
    }
    let mut import = Import::default();
    let logins = path.join(kimi_cli::LOGINS);
    if logins.is_dir() {
        for file in files_in(&logins, "json")? {
            among(&mut import, &file, |text| kimi_cli::parse_kimi_login(context, text, &file));
        }
    }
    let config = path.join(kimi_cli::CONFIG_FILE);
    if config.exists() {
        among(&mut import, &config, |text| kimi_cli::parse_kimi_config(context, text, &config));
    }
    Ok(import)
}

fn read_copilot(context: &ImportContext<'_>, path: &Path) -> Result<Import, ImportError> {
    let files = if path.is_dir() { copilot::FILES.map(|file| path.join(file)).to_vec() } else { vec![path.to_owned()] };
    let mut import = Import::default();
    let mut found = false;
    for file in files {
        let Some(text) = read_if_there(&file)? else { continue };
        found = true;
        copilot::parse_copilot(context, &text, &file, &mut import)?;
        warn_if_open(&mut import, &file);
    }
    if found { Ok(import) } else { Err(ImportError::NotFound { path: path.to_owned() }) }
}

fn read_cliproxyapi(context: &ImportContext<'_>, path: &Path) -> Result<Import, ImportError> {
    let mut import = Import::default();
    if has_extension(path, &["yaml", "yml"]) {
        let (found, folder) = cliproxyapi::parse_cliproxyapi_config(context, &read_login_file(path)?, path)?;
        import.append(found);
        warn_if_open(&mut import, path);
        let folder = folder.and_then(|folder| expanded(context, path, &folder));
        if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
            read_logins(context, &folder, &mut import)?;
        }
    } else if path.is_dir() {
        read_logins(context, path, &mut import)?;
        let config = path.join(cliproxyapi::CONFIG_FILE);
        if config.exists() {
            among(&mut import, &config, |text| Ok(cliproxyapi::parse_cliproxyapi_config(context, text, &config)?.0));
        }
    } else {
        import.append(single(path, |text| Ok(cliproxyapi::parse_cliproxyapi_login(context, &name_of(path), text)))?);
    }
    Ok(import)
}

fn read_logins(context: &ImportContext<'_>, folder: &Path, import: &mut Import) -> Result<(), ImportError> {
    for file in files_in(folder, "json")? {
        among(import, &file, |text| Ok(cliproxyapi::parse_cliproxyapi_login(context, &name_of(&file), text)));
    }
    Ok(())
}

/// A folder as it is written in a configuration: `~` is the home folder, and what is relative is so to the file.
fn expanded(context: &ImportContext<'_>, config: &Path, folder: &str) -> Option<PathBuf> {
    match folder.strip_prefix('~') {
        Some(below) => Some(context.home?.join(below.trim_start_matches('/'))),
        None => Some(config.parent()?.join(folder)),
    }
}
