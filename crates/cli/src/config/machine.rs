//! `[providers.X] machine_login`: a login of this machine that is used for a provider.

use crate::env::Env;
use claviger_domain::profile::ProviderProfile;
use claviger_providers::ambient::AmbientLogin;

/// A login of this machine, as the configuration names it; what the name means is the provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineLogin(pub String);

impl MachineLogin {
    /// The login for a provider; the error says why there is none.
    pub fn resolve(&self, profile: &ProviderProfile, env: &Env) -> Result<AmbientLogin, String> {
        let found = AmbientLogin::named(profile, &self.0, &|name: &str| env.lookup(name), env.user_home.as_deref());
        found.map_err(|why| format!("providers.{}.machine_login: {why}", profile.id))
    }
}
