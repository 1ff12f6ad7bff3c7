//! The catalogue: the providers that the binary brings, with the user's files merged over them key by key.

mod entry;
mod fault;
mod overlay;
mod place;
mod reader;
mod rows;
mod tree;

use claviger_domain::id::ProviderId;
use claviger_domain::profile::{Dialect, ProviderProfile};
use entry::Compiled;
use fault::Faults;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use tree::Node;

pub use entry::{EnvironmentRule, EnvironmentVariable};
pub use fault::{CatalogueError, Fault};
pub use place::{Place, PlaceFile};

/// The entries of the binary: file name and text.
const BUILT_IN: [(&str, &str); 7] = [
    ("anthropic.toml", include_str!("../catalogue/anthropic.toml")),
    ("google.toml", include_str!("../catalogue/google.toml")),
    ("kimi-code.toml", include_str!("../catalogue/kimi-code.toml")),
    ("litellm.toml", include_str!("../catalogue/litellm.toml")),
    ("openai-codex.toml", include_str!("../catalogue/openai-codex.toml")),
    ("openai.toml", include_str!("../catalogue/openai.toml")),
    ("openrouter.toml", include_str!("../catalogue/openrouter.toml")),
];

/// Ids that are routes of the gateway.
const RESERVED: [&str; 5] = ["v1", "v1beta", "healthz", "livez", "readyz"];

/// All providers, compiled. Immutable: a reload makes another one, and its caller keeps the old one when that fails.
#[derive(Debug)]
pub struct Catalogue {
    entries: BTreeMap<ProviderId, Entry>,
    aliases: BTreeMap<String, ProviderId>,
    defaults: BTreeMap<Dialect, ProviderId>,
}

#[derive(Debug)]
struct Entry {
    profile: Arc<ProviderProfile>,
    environment: EnvironmentRule,
    values: Vec<EffectiveValue>,
}

/// One value of an entry and where it comes from; for `config show --origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveValue {
    /// The dotted key, for instance `providers.openai.base_url`.
    pub key: String,
    /// The value as TOML; `"(set)"` for a client secret.
    pub value: String,
    /// Where it was written.
    pub place: Place,
}

static BUILT_IN_CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::load(None).expect("a test compiles the files that are built in"));

impl Catalogue {
    /// What the binary brings, without any file of the user.
    pub fn builtin() -> &'static Self {
        &BUILT_IN_CATALOGUE
    }

    /// The built-in entries with every `*.toml` of a folder merged over them, in the order of their names. A folder that
    /// is not there counts as empty.
    ///
    /// All or nothing: any fault in any file is an error, and the error names all of them.
    pub fn load(overlay_dir: Option<&Path>) -> Result<Self, CatalogueError> {
        let faults = Faults::default();
        let mut written = built_in(&faults);
        let origins = entry::origins_of(&written, &faults);
        if let Some(folder) = overlay_dir {
            tree::merge_all(&mut written, overlay::read(folder, &faults));
        }
        let resolved = overlay::extend(&written, &origins, &faults);
        let mut catalogue = Self { entries: BTreeMap::new(), aliases: BTreeMap::new(), defaults: BTreeMap::new() };
        let mut claims = BTreeMap::new();
        for (id, node) in &resolved {
            let Some(compiled) = entry::compile(id, node, origins.get(id), &faults) else { continue };
            catalogue.claim_dialects(&compiled, &mut claims, &faults);
            let Compiled { profile, environment, .. } = compiled;
            let values = node.leaves(&format!("providers.{id}"));
            catalogue.entries.insert(profile.id.clone(), Entry { profile: Arc::new(profile), environment, values });
        }
        catalogue.name_aliases(&resolved, &faults);
        faults.into_result().map(|()| catalogue)
    }

    /// A provider by its id or one of its aliases.
    pub fn get(&self, name: &str) -> Option<&Arc<ProviderProfile>> {
        self.entry(name).map(|entry| &entry.profile)
    }

    /// All providers, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ProviderProfile>> {
        self.entries.values().map(|entry| &entry.profile)
    }

    /// The provider that serves a dialect's own routes when no configured route says otherwise.
    pub fn default_for(&self, dialect: Dialect) -> Option<&ProviderId> {
        self.defaults.get(&dialect)
    }

    /// The environment variables of a provider, by id or alias.
    pub fn environment(&self, name: &str) -> Option<&EnvironmentRule> {
        self.entry(name).map(|entry| &entry.environment)
    }

    /// Every value of a provider with its origin, in the order of the keys; empty for an unknown name.
    pub fn effective_values(&self, name: &str) -> &[EffectiveValue] {
        self.entry(name).map_or(&[], |entry| &entry.values)
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name).or_else(|| self.entries.get(self.aliases.get(name)?))
    }

    /// A claim in a file of the user replaces a built-in one; two claims of the same rank are a fault of the later one.
    fn claim_dialects(&mut self, compiled: &Compiled, claims: &mut BTreeMap<Dialect, Place>, faults: &Faults) {
        for (dialect, place) in &compiled.default_dialects {
            if let Some(earlier) = claims.get(dialect) {
                if earlier.is_built_in() == place.is_built_in() {
                    let problem = format!("{:?} is claimed at {earlier} already", dialect.as_str());
                    faults.add(place, &format!("providers.{}.default_dialects", compiled.profile.id), problem);
                    continue;
                }
                if place.is_built_in() {
                    continue;
                }
            }
            claims.insert(*dialect, place.clone());
            self.defaults.insert(*dialect, compiled.profile.id.clone());
        }
    }

    fn name_aliases(&mut self, resolved: &BTreeMap<String, Node>, faults: &Faults) {
        for entry in self.entries.values() {
            for alias in &entry.profile.aliases {
                let id = &entry.profile.id;
                let taken = self.entries.contains_key(alias.as_str()) || self.aliases.contains_key(alias);
                if taken || RESERVED.contains(&alias.as_str()) {
                    let place = resolved.get(id.as_str()).and_then(|node| node.child("aliases")).map(|node| node.at.clone());
                    faults.add(&place.unwrap_or_default(), &format!("providers.{id}.aliases"), format!("{alias:?} is taken"));
                } else {
                    self.aliases.insert(alias.clone(), id.clone());
                }
            }
        }
    }
}

fn built_in(faults: &Faults) -> BTreeMap<String, Node> {
    let mut written = BTreeMap::new();
    for (name, text) in BUILT_IN {
        written.extend(tree::providers(&PlaceFile::BuiltIn(name), text, faults));
    }
    written
}
