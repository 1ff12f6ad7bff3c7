//! The folder of CLIProxyAPI: a login a JSON file, each with options of its own, and the keys of its `config.yaml`.

use super::json::{JsonObject, TextFault};
use super::login::{Login, email_of, key_draft};
use super::options::{Options, RawOptions};
use super::owner::key_owner;
use super::yaml::{self, Node};
use super::{Import, ImportContext, ImportError, ImportedAccount, Skipped};
use claviger_domain::credential::{CredentialKind, Standing};
use claviger_domain::identity::Identity;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use std::path::Path;

/// The file of keys.
pub(super) const CONFIG_FILE: &str = "config.yaml";

/// What a login's `type` is in the catalogue.
const LOGIN_TYPES: [(&str, &str); 11] = [
    ("claude", "anthropic"),
    ("codex", "openai-codex"),
    ("gemini", "google-gemini-cli"),
    ("gemini-cli", "google-gemini-cli"),
    ("antigravity", "google-antigravity"),
    ("kimi", "kimi-code"),
    ("qwen", "qwen-portal"),
    ("xai", "xai-oauth"),
    ("grok", "xai-oauth"),
    ("copilot", "github-copilot"),
    ("github-copilot", "github-copilot"),
];
/// What a list of keys is in the catalogue, where its entries name no other address.
const KEY_LISTS: [(&str, &str); 7] = [
    ("gemini-api-key", "google"),
    ("generative-language-api-key", "google"),
    ("interactions-api-key", "google"),
    ("codex-api-key", "openai"),
    ("claude-api-key", "anthropic"),
    ("xai-api-key", "xai"),
    ("vertex-api-key", "google-vertex"),
];
/// Options that have no counterpart; named where they are set, so that nobody wonders.
const LEFT_OUT: [&str; 9] = [
    "headers",
    "model_aliases",
    "model-aliases",
    "excluded_models",
    "excluded-models",
    "request_retry",
    "disable_cooling",
    "cloak_mode",
    "refresh_interval_seconds",
];

/// Reads the file of one login. `name` is how it is called to people.
pub fn parse_cliproxyapi_login(context: &ImportContext<'_>, name: &str, text: &[u8]) -> Import {
    let mut import = Import::default();
    match login(context, name, text) {
        Ok(account) => import.accounts.push(account),
        Err(why) => import.skipped.push(Skipped { row: name.to_owned(), why }),
    }
    import
}

fn login(context: &ImportContext<'_>, name: &str, text: &[u8]) -> Result<ImportedAccount, String> {
    let said = |fault: TextFault| format!("it is not what the tool writes: {fault}");
    let mut file = JsonObject::parse(text).map_err(said)?;
    let kind = file.take_text("type").map_err(said)?.ok_or("it names no type, so it is no login of this tool")?.to_lowercase();
    let id = LOGIN_TYPES.iter().find(|(theirs, _)| *theirs == kind).map(|(_, ours)| *ours);
    let profile = id.and_then(|id| context.catalogue.get(id)).or_else(|| context.catalogue.get(&kind));
    let profile = profile.ok_or_else(|| format!("the catalogue has no provider for the type {kind:?}"))?;
    if profile.wire(CredentialKind::OAuth).is_none() {
        return Err(format!("{} takes no login", profile.id));
    }
    let options = Options::of(raw_options(&mut file).map_err(said)?);
    let read = read(&mut file).map_err(said)?;
    let login = Login::of(read.access, read.refresh, read.expires_at).map_err(|fault| fault.to_string())?;
    if login.has_ended(context.now) {
        return Err("its token has ended and it has no refresh token: log in again".to_owned());
    }
    let login = login.with_claims(read.written, &profile.identity);
    let claimed = email_of(read.id_token.as_ref());
    let mut account = Login { identity: login.identity.completed_by(claimed), ..login }.owned(name, profile);
    account.label = file.take_text("note").ok().flatten();
    if file.take_flag("disabled").map_err(said)? == Some(true) {
        account.standing = Standing::Disabled { cause: "disabled in CLIProxyAPI".to_owned(), since: context.now };
    }
    account.notes.extend(LEFT_OUT.iter().filter(|option| file.has(option)).map(|option| format!("its option {option} is left out")));
    options.apply(&mut account);
    Ok(account)
}

/// The secrets of a login, and whose it is.
struct Fields {
    access: Option<SecretText>,
    refresh: Option<SecretText>,
    id_token: Option<SecretText>,
    expires_at: Option<Timestamp>,
    written: Identity,
}

fn read(file: &mut JsonObject<'_>) -> Result<Fields, TextFault> {
    // Of Google's logins the older form keeps the tokens one level down.
    let mut nested = file.take_object("token").ok().flatten();
    let tokens = nested.as_mut();
    let (inner_access, inner_refresh, inner_end) = match tokens {
        Some(tokens) => (tokens.take_secret("access_token")?, tokens.take_secret("refresh_token")?, tokens.take_text("expiry")?),
        None => (None, None, None),
    };
    let end = file.take_text("expired")?.or(file.take_text("expiry_date").ok().flatten()).or(inner_end);
    let first = |file: &mut JsonObject<'_>, names: &[&str]| names.iter().find_map(|name| file.take_text(name).ok().flatten());
    let projects = file.take_text("project_id")?;
    Ok(Fields {
        access: file.take_secret("access_token")?.or(inner_access),
        refresh: file.take_secret("refresh_token")?.or(inner_refresh),
        id_token: file.take_secret("id_token")?,
        expires_at: end.and_then(|end| instant(&end)),
        written: Identity {
            account_id: first(file, &["account_id", "account_uuid"]),
            email: file.take_text("email")?,
            org_id: first(file, &["organization_id", "organization_uuid", "org_id"]),
            org_name: first(file, &["organization_name", "org_name"]),
            // Several stand behind commas; "all" is none.
            project_id: projects.and_then(|all| all.split(',').next().map(str::to_owned)).filter(|id| !id.eq_ignore_ascii_case("all")),
            ..Identity::default()
        },
    })
}

fn instant(text: &str) -> Option<Timestamp> {
    text.trim().parse::<jiff::Timestamp>().ok().map(|stamp| Timestamp(stamp.as_millisecond()))
}

fn raw_options(file: &mut JsonObject<'_>) -> Result<RawOptions, TextFault> {
    Ok(RawOptions {
        priority: file.take_number_text("priority")?,
        weight: file.take_number_text("weight")?,
        proxy: file.take_secret("proxy_url")?,
        prefix: file.take_text("prefix")?,
    })
}

/// Reads the keys of `config.yaml`, and says where its logins are, as it is written there.
pub fn parse_cliproxyapi_config(context: &ImportContext<'_>, text: &[u8], path: &Path) -> Result<(Import, Option<String>), ImportError> {
    let config = yaml::parse(text).map_err(|fault| ImportError::NotItsFile { path: path.to_owned(), fault })?;
    let mut import = Import::default();
    for (list, provider) in KEY_LISTS {
        for (number, entry) in (1..).zip(config.list_of(list)) {
            import.push_key(format!("{list} {number}"), key(context, Some(provider), entry, None));
        }
    }
    for (number, server) in (1..).zip(config.list_of("openai-compatibility")) {
        let name = server.text_of("name").map_or_else(|| number.to_string(), str::to_owned);
        let url = server.text_of("base-url");
        let entries = [server.list_of("api-key-entries"), server.list_of("api-keys")].concat();
        for (number, entry) in (1..).zip(entries) {
            let mut found = key(context, None, &entry, Some(url.unwrap_or_default()));
            if let Ok(account) = &mut found
                && server.is_set("disabled")
            {
                account.standing = Standing::Disabled { cause: "disabled in CLIProxyAPI".to_owned(), since: context.now };
            }
            import.push_key(format!("openai-compatibility {name} {number}"), found);
        }
    }
    if !config.list_of("api-keys").is_empty() {
        let why = "these are keys of its own clients: claviger key create makes ones for ours";
        import.skipped.push(Skipped::new("api-keys", &why));
    }
    Ok((import, config.text_of("auth-dir").map(str::to_owned)))
}

/// An entry of a list: a key alone, or a map with its options.
fn key(context: &ImportContext<'_>, provider: Option<&str>, entry: &Node, url: Option<&str>) -> Result<ImportedAccount, String> {
    let key = entry.text().or_else(|| entry.text_of("api-key")).ok_or("no key")?;
    // An address that is missing where one must be is nobody's.
    let url = url.or_else(|| entry.text_of("base-url"));
    let profile = key_owner(context.catalogue, provider, url).map_err(|fault| fault.to_string())?;
    let mut account = key_draft("", profile, SecretText::new(key.to_owned())).map_err(|fault| fault.to_string())?;
    let text = |name: &str| entry.text_of(name).map(str::to_owned);
    let raw = RawOptions {
        priority: text("priority"),
        weight: text("weight"),
        proxy: text("proxy-url").map(SecretText::new),
        prefix: text("prefix"),
    };
    Options::of(raw).apply(&mut account);
    if entry.is_set("disabled") {
        account.standing = Standing::Disabled { cause: "disabled in CLIProxyAPI".to_owned(), since: context.now };
    }
    let left_out = LEFT_OUT.iter().filter(|option| entry.get(option).is_some());
    account.notes.extend(left_out.map(|option| format!("its option {option} is left out")));
    Ok(account)
}
