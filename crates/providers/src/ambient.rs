//! Logins that this machine has already, outside of every vault: a profile of AWS, the default credentials of Google. They belong
//! to their own tools: they are read, never stored, and used because somebody has named them.

use crate::hooks::{ControlError, ControlHttp};
use crate::vendor::{aws, vertex};
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use claviger_runtime::BoxFuture;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub use crate::vendor::aws::{AwsKeys, AwsProfile, sign};

/// Looks a variable of the environment up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A login of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmbientLogin {
    /// The keys of AWS in the environment of the server.
    AwsEnvironment,
    /// A profile of AWS.
    AwsProfile(AwsProfile),
    /// Default credentials of Google, in this file.
    GoogleFile(PathBuf),
}

/// The word for the file that `gcloud` keeps.
const DEFAULT: &str = "default";

impl AmbientLogin {
    /// The one that the environment names for a provider, if any. First found: for AWS its keys, then its profile.
    pub fn of_environment(profile: &ProviderProfile, lookup: Lookup<'_>, home: Option<&Path>) -> Option<Self> {
        if signs(profile) {
            let keys = [aws::KEY_ID, aws::SECRET_KEY].iter().all(|name| lookup(name).is_some());
            let named = || AwsProfile::named(lookup(aws::PROFILE)?, lookup, home).map(Self::AwsProfile);
            return if keys { Some(Self::AwsEnvironment) } else { named() };
        }
        let file = lookup(vertex::CREDENTIALS).filter(|_| mints(profile))?;
        Self::GoogleFile(PathBuf::from(file)).absolute()
    }

    /// The one that a person names for a provider: of AWS the name of a profile; of Google `default`, for what `gcloud` keeps,
    /// or the absolute path of a file. The error says what is expected.
    pub fn named(profile: &ProviderProfile, text: &str, lookup: Lookup<'_>, home: Option<&Path>) -> Result<Self, &'static str> {
        const NO_HOME: &str = "HOME is not set, so that nobody says where it is kept";
        let text = text.trim();
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return Err("a name or a path is expected");
        }
        if signs(profile) {
            return AwsProfile::named(text.to_owned(), lookup, home).map(Self::AwsProfile).ok_or(NO_HOME);
        }
        if !mints(profile) {
            return Err("this provider takes no login of the machine");
        }
        let path = if text == DEFAULT { vertex::default_file(lookup, home).ok_or(NO_HOME)? } else { PathBuf::from(text) };
        Self::GoogleFile(path).absolute().ok_or("\"default\" or an absolute path is expected")
    }

    fn absolute(self) -> Option<Self> {
        match &self {
            Self::GoogleFile(path) if !path.is_absolute() => None,
            _ => Some(self),
        }
    }

    /// Its name for people.
    pub fn label(&self) -> String {
        match self {
            Self::AwsEnvironment => "aws keys of the environment".to_owned(),
            Self::AwsProfile(profile) => format!("aws profile {}", profile.name),
            Self::GoogleFile(_) => "google default credentials".to_owned(),
        }
    }

    /// The file that its own tool keeps; `None` for one that no file holds.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::AwsEnvironment => None,
            Self::AwsProfile(profile) => Some(&profile.credentials),
            Self::GoogleFile(path) => Some(path),
        }
    }

    /// Looks at what is on this machine: files and variables, no program and no network.
    pub async fn look(&self, machine: &dyn Machine) -> Result<Found, AmbientError> {
        match self {
            Self::AwsEnvironment => aws::of_environment(machine).await.map(Found::Here),
            Self::AwsProfile(profile) => aws::of_profile(profile, machine).await,
            Self::GoogleFile(path) => Ok(Found::Elsewhere(Errand(Way::Token(vertex::read(path, machine).await?)))),
        }
    }
}

/// Whether a provider's requests are signed.
fn signs(profile: &ProviderProfile) -> bool {
    profile.oauth.as_ref().is_some_and(|wire| wire.signing.is_some())
}

/// Whether tokens for a provider are had for default credentials.
fn mints(profile: &ProviderProfile) -> bool {
    profile.hook_urls.contains_key(vertex::TOKEN)
}

/// What a look has found.
#[derive(Debug)]
pub enum Found {
    /// The credential itself.
    Here(AmbientCredential),
    /// How it is to be had: worth doing when it is needed, and not at every look.
    Elsewhere(Errand),
}

/// A credential of this machine's login.
#[derive(Debug)]
pub struct AmbientCredential {
    /// An access token, or the keys of AWS as [`AwsKeys::into_text`] writes them.
    pub secret: SecretText,
    /// When it ends; `None` where it does not, or nobody knows.
    pub expires_at: Option<Timestamp>,
    /// The project that its requests are counted against.
    pub project: Option<String>,
}

/// What is yet to be done for a credential: a program that prints it, or a token endpoint that gives it.
#[derive(Debug)]
pub struct Errand(pub(crate) Way);

#[derive(Debug)]
pub(crate) enum Way {
    /// A program prints keys of AWS.
    Program(ValueRef),
    /// A token endpoint gives an access token.
    Token(vertex::Adc),
}

impl Errand {
    /// Does it. Cancel safety: a dropped future may have asked; asking again does no harm.
    pub async fn run(
        &self,
        profile: &ProviderProfile,
        machine: &dyn Machine,
        http: &dyn ControlHttp,
    ) -> Result<AmbientCredential, AmbientError> {
        match &self.0 {
            Way::Program(program) => aws::printed(program, machine).await,
            Way::Token(adc) => {
                let url = profile.hook_urls.get(vertex::TOKEN);
                let url = url.ok_or_else(|| AmbientError::Broken("its provider has no token endpoint".to_owned()))?;
                vertex::token(adc, url, http).await
            }
        }
    }
}

/// What can be had on this machine. Implemented where environment, files and programs are at hand.
pub trait Machine: Send + Sync {
    /// The text of a variable, of a file, or what a program prints; `None` where there is no such thing. The error is for people,
    /// and repeats nothing of the text. Cancel safety: a dropped future leaves no program behind.
    fn text<'a>(&'a self, place: &'a ValueRef) -> BoxFuture<'a, Result<Option<Zeroizing<Vec<u8>>>, String>>;
}

/// Why a credential of this machine's login cannot be had. No secret, and nothing of what a provider answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmbientError {
    /// Only a person can mend it; says how.
    #[error("{0}")]
    Broken(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

impl From<ControlError> for AmbientError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Foreign(_) => Self::Broken(error.to_string()),
            ControlError::Unreachable { .. } => Self::Unavailable(error.to_string()),
        }
    }
}
