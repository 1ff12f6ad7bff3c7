//! The catalogue: the providers that the binary brings, with the user's files merged over them key by key.

mod base;
mod entry;
mod fault;
mod login;
mod overlay;
mod place;
mod reader;
mod rows;
mod terms;
mod token;
mod tree;
mod usage;
mod wire;

use crate::login::LoginRule;
use claviger_domain::id::ProviderId;
use claviger_domain::profile::{Dialect, ProviderProfile};
use entry::{Compiled, Outcome};
use fault::Faults;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use tree::Node;

pub use entry::{EnvironmentRule, EnvironmentVariable, Facts, NotReady};
pub use fault::{CatalogueError, Fault};
pub use place::{Place, PlaceFile};

/// The entries of the binary: file name and text.
const BUILT_IN: [(&str, &str); 39] = [
    ("alibaba-coding-plan.toml", include_str!("../catalogue/alibaba-coding-plan.toml")),
    ("amazon-bedrock.toml", include_str!("../catalogue/amazon-bedrock.toml")),
    ("anthropic.toml", include_str!("../catalogue/anthropic.toml")),
    ("azure.toml", include_str!("../catalogue/azure.toml")),
    ("cerebras.toml", include_str!("../catalogue/cerebras.toml")),
    ("cloudflare-ai-gateway.toml", include_str!("../catalogue/cloudflare-ai-gateway.toml")),
    ("cursor.toml", include_str!("../catalogue/cursor.toml")),
    ("deepseek.toml", include_str!("../catalogue/deepseek.toml")),
    ("fireworks.toml", include_str!("../catalogue/fireworks.toml")),
    ("github-copilot.toml", include_str!("../catalogue/github-copilot.toml")),
    ("gitlab-duo.toml", include_str!("../catalogue/gitlab-duo.toml")),
    ("google.toml", include_str!("../catalogue/google.toml")),
    ("google-antigravity.toml", include_str!("../catalogue/google-antigravity.toml")),
    ("google-gemini-cli.toml", include_str!("../catalogue/google-gemini-cli.toml")),
    ("google-vertex.toml", include_str!("../catalogue/google-vertex.toml")),
    ("groq.toml", include_str!("../catalogue/groq.toml")),
    ("huggingface.toml", include_str!("../catalogue/huggingface.toml")),
    ("kimi-code.toml", include_str!("../catalogue/kimi-code.toml")),
    ("litellm.toml", include_str!("../catalogue/litellm.toml")),
    ("minimax.toml", include_str!("../catalogue/minimax.toml")),
    ("minimax-code.toml", include_str!("../catalogue/minimax-code.toml")),
    ("minimax-code-cn.toml", include_str!("../catalogue/minimax-code-cn.toml")),
    ("mistral.toml", include_str!("../catalogue/mistral.toml")),
    ("moonshot.toml", include_str!("../catalogue/moonshot.toml")),
    ("nvidia.toml", include_str!("../catalogue/nvidia.toml")),
    ("ollama.toml", include_str!("../catalogue/ollama.toml")),
    ("ollama-cloud.toml", include_str!("../catalogue/ollama-cloud.toml")),
    ("openai.toml", include_str!("../catalogue/openai.toml")),
    ("openai-codex.toml", include_str!("../catalogue/openai-codex.toml")),
    ("opencode-go.toml", include_str!("../catalogue/opencode-go.toml")),
    ("opencode-zen.toml", include_str!("../catalogue/opencode-zen.toml")),
    ("openrouter.toml", include_str!("../catalogue/openrouter.toml")),
    ("perplexity.toml", include_str!("../catalogue/perplexity.toml")),
    ("qwen-portal.toml", include_str!("../catalogue/qwen-portal.toml")),
    ("together.toml", include_str!("../catalogue/together.toml")),
    ("vercel-ai-gateway.toml", include_str!("../catalogue/vercel-ai-gateway.toml")),
    ("xai.toml", include_str!("../catalogue/xai.toml")),
    ("xai-oauth.toml", include_str!("../catalogue/xai-oauth.toml")),
    ("zai.toml", include_str!("../catalogue/zai.toml")),
];

/// Ids that are routes of the gateway.
const RESERVED: [&str; 5] = ["v1", "v1beta", "healthz", "livez", "readyz"];

/// All providers, compiled. Immutable: a reload makes another one, and its caller keeps the old one when that fails.
#[derive(Debug, Default)]
pub struct Catalogue {
    entries: BTreeMap<ProviderId, Entry>,
    not_ready: BTreeMap<ProviderId, NotReady>,
    aliases: BTreeMap<String, ProviderId>,
    defaults: BTreeMap<Dialect, ProviderId>,
}

#[derive(Debug)]
struct Entry {
    profile: Arc<ProviderProfile>,
    environment: EnvironmentRule,
    login: LoginRule,
    facts: Facts,
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
        let mut catalogue = Self::default();
        let mut claims = BTreeMap::new();
        for (id, node) in &resolved {
            let built_in = origins.get(id).and_then(Option::as_ref);
            match entry::compile(id, node, built_in, &faults) {
                Some(Outcome::Ready(compiled)) => {
                    catalogue.claim_dialects(&compiled, &mut claims, &faults);
                    let Compiled { profile, environment, login, facts, .. } = *compiled;
                    let (id, values) = (profile.id.clone(), node.leaves(&format!("providers.{id}")));
                    catalogue.entries.insert(id, Entry { profile: Arc::new(profile), environment, login, facts, values });
                }
                Some(Outcome::NotReady(provider)) => {
                    catalogue.not_ready.insert(provider.id.clone(), provider);
                }
                None => {}
            }
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

    /// The ways to log in to a provider, by id or alias; `None` for an unknown name.
    pub fn login(&self, name: &str) -> Option<&LoginRule> {
        self.entry(name).map(|entry| &entry.login)
    }

    /// What is known of a provider's entry itself, by id or alias.
    pub fn facts(&self, name: &str) -> Option<&Facts> {
        self.entry(name).map(|entry| &entry.facts)
    }

    /// A provider that cannot be used as it stands, by id or alias: [`Catalogue::get`] does not know it.
    pub fn not_ready(&self, name: &str) -> Option<&NotReady> {
        self.not_ready.get(name).or_else(|| self.not_ready.get(self.aliases.get(name)?))
    }

    /// All providers that cannot be used as they stand, in the order of their ids.
    pub fn iter_not_ready(&self) -> impl Iterator<Item = &NotReady> {
        self.not_ready.values()
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
        let ready = self.entries.values().map(|entry| (&entry.profile.id, &entry.profile.aliases));
        let all = ready.chain(self.not_ready.values().map(|provider| (&provider.id, &provider.aliases)));
        for (id, alias) in all.flat_map(|(id, aliases)| aliases.iter().map(move |alias| (id, alias))) {
            let is_id = self.entries.contains_key(alias.as_str()) || self.not_ready.contains_key(alias.as_str());
            if is_id || self.aliases.contains_key(alias) || RESERVED.contains(&alias.as_str()) {
                let place = resolved.get(id.as_str()).and_then(|node| node.child("aliases")).map(|node| node.at.clone());
                faults.add(&place.unwrap_or_default(), &format!("providers.{id}.aliases"), format!("{alias:?} is taken"));
            } else {
                self.aliases.insert(alias.clone(), id.clone());
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
