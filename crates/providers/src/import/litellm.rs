//! The keys of LiteLLM's `config.yaml`: one a model, by value, by environment variable or by name of a credential.

use super::credential::sendable;
use super::login::{key_draft, variable_draft};
use super::owner::key_owner;
use super::yaml::{self, Node};
use super::{Import, ImportContext, ImportError, ImportedAccount, ImportedCredential, Skipped};
use claviger_domain::secret::SecretText;
use std::collections::BTreeSet;
use std::path::Path;

/// What stands before the name of an environment variable.
const VARIABLE: &str = "os.environ/";

/// The prefixes of LiteLLM that are others in the catalogue.
const PREFIXES: [(&str, &str); 16] = [
    ("gemini", "google"),
    ("google_ai_studio", "google"),
    ("vertex_ai", "google-vertex"),
    ("azure_text", "azure"),
    ("azure_ai", "azure"),
    ("bedrock", "amazon-bedrock"),
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("nvidia_nim", "nvidia"),
    ("github_copilot", "github-copilot"),
    ("vercel_ai_gateway", "vercel-ai-gateway"),
    ("litellm_proxy", "litellm"),
    ("text-completion-openai", "openai"),
    ("anthropic_text", "anthropic"),
    ("ollama_chat", "ollama"),
    ("dashscope", "alibaba-coding-plan"),
];
/// What the names of models without a prefix begin with.
const MODELS: [(&str, &str); 7] = [
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("claude-", "anthropic"),
    ("text-embedding-", "openai"),
];

/// Reads the keys of all models; one key of one provider is one account, however many models use it.
pub fn parse_litellm(context: &ImportContext<'_>, text: &[u8], path: &Path) -> Result<Import, ImportError> {
    let config = yaml::parse(text).map_err(|fault| ImportError::NotItsFile { path: path.to_owned(), fault })?;
    let mut import = Import::default();
    let mut skipped = BTreeSet::new();
    for model in config.list_of("model_list") {
        let name = model.text_of("model_name").unwrap_or("a model without a name");
        let Some(parameters) = model.get("litellm_params") else {
            import.skipped.push(Skipped::new(name, &"it has no litellm_params"));
            continue;
        };
        match account(context, &config, name, parameters) {
            Ok(account) if is_known(&import, &account) => {}
            Ok(account) => import.accounts.push(account),
            // A name stands for several deployments, which may all lack the same.
            Err(why) => {
                if skipped.insert((name.to_owned(), why.clone())) {
                    import.skipped.push(Skipped { row: name.to_owned(), why });
                }
            }
        }
    }
    if !config.list_of("include").is_empty() {
        import.skipped.push(Skipped::new("include", &"other files are not read: import each by its path"));
    }
    if config.get("model_list").is_none() && import.skipped.is_empty() {
        import.skipped.push(Skipped::new("model_list", &"there is none, so this is no configuration of LiteLLM with models"));
    }
    Ok(import)
}

fn is_known(import: &Import, account: &ImportedAccount) -> bool {
    let key = |account: &ImportedAccount| match &account.credential {
        ImportedCredential::ApiKey { key } => Some(SecretText::new(key.expose().to_owned())),
        ImportedCredential::OAuth { .. } => None,
    };
    let Some(wanted) = key(account) else { return false };
    let same = |known: &ImportedAccount| key(known).is_some_and(|known| known.expose() == wanted.expose());
    import.accounts.iter().any(|known| known.provider == account.provider && same(known))
}

fn account(context: &ImportContext<'_>, config: &Node, row: &str, parameters: &Node) -> Result<ImportedAccount, String> {
    let credential = parameters.text_of("litellm_credential_name").and_then(|name| {
        let all = config.list_of("credential_list").iter();
        all.map(|entry| &**entry).find(|entry| entry.text_of("credential_name") == Some(name))?.get("credential_values")
    });
    let value = |name: &str| parameters.text_of(name).or_else(|| credential?.text_of(name));
    let provider = provider(parameters);
    let url = value("api_base").or_else(|| value("base_url")).map(|url| resolved(context, url)).transpose()?;
    let Some(written) = value("api_key") else {
        let of_provider = provider.and_then(|id| context.catalogue.environment(id)?.variables.first());
        let hint = of_provider.map_or_else(String::new, |variable| format!(", such as {}: claviger import env", variable.name));
        return Err(format!("it has no key of its own; LiteLLM takes one from the environment{hint}"));
    };
    let key = resolved(context, written)?;
    let url = url.as_ref().map(SecretText::expose);
    let profile = key_owner(context.catalogue, provider, url).map_err(|fault| fault.to_string())?;
    let Some(name) = written.strip_prefix(VARIABLE).map(str::trim) else {
        return key_draft(row, profile, key).map_err(|fault| fault.to_string());
    };
    // Looked at all the same: what is no key here is none for the server.
    sendable(key).map_err(|fault| format!("{name}: {fault}"))?;
    let mut account = variable_draft(row, profile, name).map_err(|fault| fault.to_string())?;
    account.notes.push(format!("the key stays in {name}, which the server must have in its environment"));
    Ok(account)
}

/// The value of a variable where one is named, else the text itself.
fn resolved(context: &ImportContext<'_>, text: &str) -> Result<SecretText, String> {
    let Some(name) = text.strip_prefix(VARIABLE) else { return Ok(SecretText::new(text.to_owned())) };
    let value = (context.environment)(name.trim()).filter(|value| !value.trim().is_empty());
    value.map(SecretText::new).ok_or_else(|| format!("{} is not set: import again where it is", name.trim()))
}

/// The provider of a model by its prefix, else by what its name begins with.
fn provider(parameters: &Node) -> Option<&str> {
    let model = parameters.text_of("model")?;
    let of_catalogue = |prefix| PREFIXES.iter().find(|(theirs, _)| *theirs == prefix).map_or(prefix, |(_, ours)| *ours);
    let prefix = parameters.text_of("custom_llm_provider").or_else(|| model.split_once('/').map(|(prefix, _)| prefix));
    prefix.map(of_catalogue).or_else(|| MODELS.iter().find(|(start, _)| model.starts_with(start)).map(|(_, ours)| *ours))
}
