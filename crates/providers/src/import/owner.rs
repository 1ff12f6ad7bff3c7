//! Whose a key is: by the name that a tool gives its provider, and by the address that it is sent to.

use crate::catalogue::Catalogue;
use claviger_domain::origin::{Endpoint, Purpose};
use claviger_domain::profile::ProviderProfile;
use std::sync::Arc;

/// Why nobody in the catalogue takes a key. A key goes where its tool sends it, or nowhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OwnerFault {
    /// The name is in no catalogue.
    #[error("the catalogue has no provider {0}: define it in a file of providers.d, then import again")]
    Unknown(String),
    /// Neither a name nor an address.
    #[error("nothing says which provider it is for")]
    Unnamed,
    /// The address is no URL.
    #[error("its base URL is none that a key may be sent to")]
    NoUrl,
    /// The address is nobody's.
    #[error("no provider of the catalogue is at {0}: define it in a file of providers.d, then import again")]
    Elsewhere(String),
}

/// The provider that a key is for. With an address, whoever is there, and the named one first; without, the named one.
pub(super) fn key_owner<'a>(
    catalogue: &'a Catalogue,
    name: Option<&str>,
    url: Option<&str>,
) -> Result<&'a Arc<ProviderProfile>, OwnerFault> {
    let named = name.and_then(|name| catalogue.get(name));
    let Some(url) = url.map(str::trim).filter(|url| !url.is_empty()) else {
        return match (named, name) {
            (Some(profile), _) => Ok(profile),
            (None, Some(name)) => Err(OwnerFault::Unknown(name.to_owned())),
            (None, None) => Err(OwnerFault::Unnamed),
        };
    };
    let address: Endpoint = url.parse().map_err(|_quotes_the_url| OwnerFault::NoUrl)?;
    let is_there = |profile: &&Arc<ProviderProfile>| profile.origins.of(Purpose::Inference).contains(&address.origin);
    if let Some(profile) = named.filter(is_there) {
        return Ok(profile);
    }
    // Of several at one address, the one whose path goes furthest along.
    let along = |profile: &&Arc<ProviderProfile>| {
        let path = &profile.base.path;
        if address.path.starts_with(path.as_str()) { path.len() } else { 0 }
    };
    catalogue.iter().filter(is_there).max_by_key(along).ok_or_else(|| OwnerFault::Elsewhere(address.origin.host().to_owned()))
}
