//! One profile in the shared files of AWS, and what it asks for. Pure.

use super::AwsKeys;
use claviger_domain::value_ref::ValueRef;
use std::collections::BTreeMap;

/// The program of AWS that resolves what is not resolved here.
pub(super) const AWS: &str = "aws";

/// Settings of a profile whose credentials only a conversation with AWS gives.
const CONVERSATIONS: [&str; 5] = ["role_arn", "sso_session", "sso_start_url", "web_identity_token_file", "login_session"];

/// How a profile comes to its keys.
#[derive(Debug)]
pub(super) enum Plan {
    /// These are they.
    Keys(AwsKeys),
    /// A program prints them.
    Program(ValueRef),
}

/// What a profile says, by the texts of the shared configuration and of the shared credentials, which win. First found: a role or
/// a login, keys, a program. The error is for people and says what to do.
pub(super) fn plan(name: &str, (config, credentials): (&str, &str)) -> Result<Plan, String> {
    let in_config = |section: &str| match section.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t'])) {
        Some(rest) => unquoted(rest.trim()) == name,
        None => section == "default" && name == "default",
    };
    let mut settings = section(config, in_config).unwrap_or_default();
    let shared = section(credentials, |section| unquoted(section) == name);
    if settings.is_empty() && shared.is_none() {
        return Err(format!("there is no profile {name:?}: aws configure --profile {name}"));
    }
    settings.extend(shared.unwrap_or_default());
    if CONVERSATIONS.iter().any(|key| settings.contains_key(*key)) {
        let words = [AWS, "configure", "export-credentials", "--format", "process", "--profile", name];
        return Ok(Plan::Program(ValueRef::Cmd(words.map(str::to_owned).to_vec())));
    }
    if let (Some(id), Some(secret)) = (settings.get("aws_access_key_id"), settings.get("aws_secret_access_key")) {
        let keys = AwsKeys::of(id, secret, settings.get("aws_session_token").copied().filter(|token| !token.is_empty()));
        return keys.map(Plan::Keys).ok_or_else(|| format!("the keys of profile {name:?} are no keys: aws configure --profile {name}"));
    }
    if let Some(command) = settings.get("credential_process") {
        let program = ValueRef::read(&format!("cmd:{command}"));
        return program.map(Plan::Program).map_err(|_source| format!("credential_process of profile {name:?} names no program"));
    }
    Err(format!(
        "profile {name:?} has no keys, no login and no credential_process: aws configure --profile {name}; the roles of machines and containers are not asked for here: name a credential_process that gives them"
    ))
}

fn unquoted(name: &str) -> &str {
    let inner = |quote| name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(name)
}

/// The settings of the sections that are meant, the later ones over the earlier; `None` where there is no such section.
///
/// The format is that of the AWS SDKs: comments begin with `#` or `;`, behind a value only after white space; what is indented
/// belongs to the setting above it and is none of those that are asked for here.
fn section<'a>(text: &'a str, is_meant: impl Fn(&str) -> bool) -> Option<BTreeMap<String, &'a str>> {
    let mut found: Option<BTreeMap<String, &'a str>> = None;
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with([' ', '\t']) || line.starts_with(['#', ';']) || line.trim().is_empty() {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            inside = rest.split_once(']').is_some_and(|(title, _)| is_meant(title.trim()));
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            found.get_or_insert_default().insert(key.trim().to_ascii_lowercase(), without_comment(value).trim());
        }
    }
    found
}

fn without_comment(value: &str) -> &str {
    let marks = [" #", " ;", "\t#", "\t;"];
    let end = marks.iter().filter_map(|mark| value.find(mark)).min();
    end.and_then(|end| value.get(..end)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, config: &str, credentials: &str) -> String {
        match plan(name, (config, credentials)) {
            Ok(Plan::Keys(keys)) => keys.into_text().expose().replace('\n', " "),
            Ok(Plan::Program(ValueRef::Cmd(words))) => format!("cmd {words:?}"),
            Ok(Plan::Program(other)) => format!("{other:?}"),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn a_profile_is_found_among_comments_and_other_sections() {
        let config = "# top\n[default]\nregion=eu-west-1\n[profile team]\nregion = us-east-1 ; near\nAWS_ACCESS_KEY_ID = AKIATEAM # its id\naws_secret_access_key=canary-team#not-a-comment\ns3 =\n  aws_session_token = nested\n[profile other]\naws_access_key_id = AKIAOTHER\n";
        assert_eq!(said("team", config, ""), "AKIATEAM canary-team#not-a-comment");
        assert!(said("other", config, "").starts_with("error: profile \"other\" has no keys"));
        assert!(said("default", config, "").starts_with("error: profile \"default\" has no keys"));
    }

    #[test]
    fn credentials_win_over_configuration_and_a_quoted_name_is_found() {
        let config = "[profile \"a b\"]\naws_access_key_id = OLD\naws_secret_access_key = canary-old\n";
        assert_eq!(said("a b", config, ""), "OLD canary-old");
        assert_eq!(
            said("a b", config, "[a b]\naws_access_key_id=NEW\naws_secret_access_key=canary-new\naws_session_token=canary-st\n"),
            "NEW canary-new canary-st"
        );
    }

    #[test]
    fn a_section_of_the_configuration_needs_its_prefix_and_one_of_the_credentials_has_none() {
        assert!(said("team", "[team]\naws_access_key_id=A\naws_secret_access_key=canary\n", "").starts_with("error: there is no profile"));
        assert!(
            said("team", "", "[profile team]\naws_access_key_id=A\naws_secret_access_key=canary\n")
                .starts_with("error: there is no profile")
        );
        assert!(
            said("team", "[profileteam]\naws_access_key_id=A\naws_secret_access_key=canary\n", "")
                .starts_with("error: there is no profile")
        );
    }

    #[test]
    fn what_needs_a_conversation_is_left_to_the_program_of_aws_even_where_there_are_keys() {
        let exported = "cmd [\"aws\", \"configure\", \"export-credentials\", \"--format\", \"process\", \"--profile\", \"x\"]";
        for setting in ["role_arn = arn:aws:iam::1:role/r", "sso_session = s", "sso_start_url = https://s", "web_identity_token_file = /t"]
        {
            let config = format!("[profile x]\n{setting}\naws_access_key_id = A\naws_secret_access_key = canary\n");
            assert_eq!(said("x", &config, ""), exported, "{setting}");
        }
    }

    #[test]
    fn a_credential_process_is_words_and_no_shell() {
        let config = "[default]\ncredential_process = /opt/keys --for \"a b\" '$(id)'\n";
        assert_eq!(said("default", config, ""), "cmd [\"/opt/keys\", \"--for\", \"a b\", \"$(id)\"]");
        assert!(said("default", "[default]\ncredential_process = 'open\n", "").starts_with("error: credential_process"));
    }

    #[test]
    fn no_error_repeats_a_key() {
        for text in
            ["[default]\naws_access_key_id = canary a\naws_secret_access_key = canary b\n", "[default]\naws_secret_access_key=canary\n"]
        {
            let said = said("default", text, "");
            assert!(said.starts_with("error: ") && !said.contains("canary"), "{said}");
        }
    }
}
