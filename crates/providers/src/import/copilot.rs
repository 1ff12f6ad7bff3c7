//! The tokens of GitHub that editors keep for Copilot: `apps.json`, before it `hosts.json`. Nobody refreshes them.

use super::json::JsonObject;
use super::login::Login;
use super::{Import, ImportContext, ImportError, Skipped};
use claviger_domain::identity::Identity;
use std::path::Path;

/// The provider in the catalogue.
const PROVIDER: &str = "github-copilot";
/// The files, the newer one first.
pub(super) const FILES: [&str; 2] = ["apps.json", "hosts.json"];
/// The public installation; another host is an enterprise's own.
const PUBLIC_HOST: &str = "github.com";

/// Reads a file whose entries are named `HOST` or `HOST:APP`. Of several tokens of one user, the first is taken.
pub fn parse_copilot(context: &ImportContext<'_>, text: &[u8], path: &Path, import: &mut Import) -> Result<(), ImportError> {
    let file = JsonObject::parse(text).map_err(|fault| ImportError::NotItsFile { path: path.to_owned(), fault })?;
    let profile = context.catalogue.get(PROVIDER);
    for (name, entry) in file.into_objects() {
        let Some(profile) = profile else {
            import.skipped.push(Skipped::no_provider(&name, PROVIDER));
            continue;
        };
        let read = entry.and_then(|mut entry| Ok((entry.take_secret("oauth_token")?, entry.take_text("user")?)));
        let (token, user) = match read {
            Ok(read) => read,
            Err(fault) => {
                import.skipped.push(Skipped::new(&name, &fault));
                continue;
            }
        };
        let host = name.split_once(':').map_or(name.as_str(), |(host, _app)| host);
        let enterprise_url = (host != PUBLIC_HOST).then(|| host.to_owned());
        let identity = Identity { account_id: user, enterprise_url, ..Identity::default() }.normalized();
        match Login::of(token, None, None) {
            Ok(_) if identity.account_id.is_some() && import.accounts.iter().any(|known| known.identity == identity) => {
                import.skipped.push(Skipped::new(&name, &"another token of the same user is taken"));
            }
            Ok(login) => import.accounts.push(Login { identity, ..login }.owned(&name, profile)),
            Err(fault) => import.skipped.push(Skipped::new(&name, &fault)),
        }
    }
    Ok(())
}
