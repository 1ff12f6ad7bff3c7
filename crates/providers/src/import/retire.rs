//! What a person does so that a tool no longer refreshes a login that was taken over from it. Its file is never written here.

use super::follow::FollowFormat;
use super::keychain::keychain_item;
use std::path::Path;

/// The steps in order, each a sentence or a command. To move a file aside ends nothing at the provider, and can be undone; a
/// logout by the tool itself may end the login for both.
pub fn retirement(format: FollowFormat, path: &Path) -> Vec<String> {
    let title = format.title();
    let mut steps = vec![format!("close every running session of {title}: it keeps the login in memory")];
    steps.push(match (keychain_item(path), format) {
        (Some(item), _) => format!("security delete-generic-password -s {}", quoted(item)),
        (None, FollowFormat::OpenCode) => format!("take the entry of this provider out of {}, with an editor", path.display()),
        (None, _) => {
            let file = path.display().to_string();
            format!("mv {} {}", quoted(&file), quoted(&format!("{file}.taken")))
        }
    });
    steps.push(format!("do not log out in {title}: that may end the login at the provider, for Claviger as well"));
    let settings = match format {
        FollowFormat::ClaudeCode => "ANTHROPIC_BASE_URL=GATEWAY/anthropic and ANTHROPIC_AUTH_TOKEN=KEY",
        FollowFormat::Codex => "a [model_providers.claviger] with base_url = \"GATEWAY/openai-codex/codex\" and env_key in its config.toml",
        FollowFormat::GeminiCli => "GOOGLE_GEMINI_BASE_URL=GATEWAY/google and GEMINI_API_KEY=KEY",
        FollowFormat::KimiCli => "KIMI_BASE_URL=GATEWAY/kimi-code and KIMI_API_KEY=KEY",
        FollowFormat::OpenCode => "options.baseURL = GATEWAY/PROVIDER and options.apiKey = KEY of the provider in its opencode.json",
    };
    steps.push(format!(
        "let {title} go through the gateway: {settings}; `claviger key create` makes the KEY, `claviger status` names the GATEWAY"
    ));
    steps
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+@:".contains(letter);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_names_the_file_as_a_shell_takes_it() {
        let step = |format, path: &str| retirement(format, Path::new(path)).remove(1);
        assert_eq!(step(FollowFormat::Codex, "/h/.codex/auth.json"), "mv /h/.codex/auth.json /h/.codex/auth.json.taken");
        assert_eq!(step(FollowFormat::ClaudeCode, "/h/it's a"), r"mv '/h/it'\''s a' '/h/it'\''s a.taken'");
        assert_eq!(step(FollowFormat::ClaudeCode, "keychain:A b"), "security delete-generic-password -s 'A b'");
        assert!(step(FollowFormat::OpenCode, "/h/auth.json").contains("/h/auth.json"));
    }
}
