//! `claviger account add`: stores an account from a JSON object.

use super::one_line;
use super::words::tidy;
use crate::commands::{import, login, provider};
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountAdd, SourceWord};
use claviger_providers::import::{FILE_MAX_BYTES, parse_account_json};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// What the object looks like, for whoever got it wrong.
const SHAPE: &str = r#"{"type":"oauth","access":…,"refresh":…,"expires":EPOCH_MS,"email":…} or {"type":"api_key","key":…}"#;

/// Reads the object, checks it against the provider, and stores it.
pub async fn run(context: &Context, name: String, file: &Path, label: Option<String>) -> Result<(), CliError> {
    let profile = provider::find(&provider::catalogue(context)?, &name)?;
    let label = label.map(|label| one_line("label", &label)).transpose()?.filter(|label| !label.is_empty());
    let (source, text) = read(context, file)?;
    let parsed = parse_account_json(&profile, &text);
    let account = parsed.map_err(|fault| CliError::usage(format!("{source}: {fault}")).hint(format!("what is expected: {SHAPE}")))?;
    for note in &account.notes {
        context.output.note(tidy(note));
    }
    let draft = import::account_add(account);
    let draft = AccountAdd { row: source, label: label.or(draft.label), source: SourceWord::Login, ..draft };
    let added = context.admin().await?.account_add(draft).await?;
    context.output.data(&added, || login::told(&added))
}

/// The text with the name of its source. The buffer is as large as the limit, so that it never grows and leaves a copy behind.
fn read(context: &Context, file: &Path) -> Result<(String, Zeroizing<Vec<u8>>), CliError> {
    let limit = FILE_MAX_BYTES + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(limit).unwrap_or_default()));
    let source = if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() };
    let result = if file == Path::new("-") {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            context.output.note("paste the JSON object, then type Ctrl-D on a line of its own");
        }
        stdin.lock().take(limit).read_to_end(&mut text)
    } else {
        File::open(file).and_then(|file| file.take(limit).read_to_end(&mut text))
    };
    result.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::not_found(format!("{source} is not there")),
        _ => CliError::io("reading", file, &error),
    })?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(CliError::usage(format!("{source} is longer than {FILE_MAX_BYTES} bytes")));
    }
    Ok((source, text))
}
