//! Values by reference: a key that stands elsewhere, named where the key itself could stand.

use crate::secret::SecretText;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a key is to be had.
#[derive(Clone)]
pub enum ValueRef {
    /// `env:NAME`: a variable of the environment of the process that needs it.
    Env(String),
    /// `file:PATH`: the text of a file, without the white space at its ends. The path is absolute.
    File(PathBuf),
    /// `cmd:PROGRAM ARGUMENTS`: what a program prints, without the white space at its ends. No shell reads it.
    Cmd(Vec<String>),
    /// The key itself.
    Literal(Arc<SecretText>),
}

/// Why a text refers to nothing. It never repeats the text, which may be a key after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueRefError {
    /// There is no text.
    #[error("it is empty")]
    Empty,
    /// What follows `env:` is no name.
    #[error("after `env:` the name of a variable is expected: letters, digits and _")]
    Name,
    /// What follows `file:` is not absolute.
    #[error("after `file:` an absolute path is expected")]
    Path,
    /// What follows `cmd:` names no program.
    #[error("after `cmd:` a program and its arguments are expected")]
    Program,
    /// A quote is not closed, or a backslash ends the text.
    #[error("after `cmd:` a quote is not closed")]
    Quote,
}

impl ValueRef {
    /// Reads `env:`, `file:` and `cmd:`; everything else is the key itself.
    ///
    /// The words after `cmd:` are parted by white space. Quotes hold words together, single ones as they are; a backslash takes
    /// the next letter as it is. Nothing else means anything: no variables, no wildcards, no pipes.
    pub fn read(text: &str) -> Result<Self, ValueRefError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ValueRefError::Empty);
        }
        if let Some(name) = text.strip_prefix("env:") {
            let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return if fits { Ok(Self::Env(name.to_owned())) } else { Err(ValueRefError::Name) };
        }
        if let Some(path) = text.strip_prefix("file:") {
            let path = Path::new(path);
            return if path.is_absolute() { Ok(Self::File(path.to_owned())) } else { Err(ValueRefError::Path) };
        }
        if let Some(command) = text.strip_prefix("cmd:") {
            let words = words(command)?;
            return if words.first().is_some_and(|program| !program.is_empty()) {
                Ok(Self::Cmd(words))
            } else {
                Err(ValueRefError::Program)
            };
        }
        Ok(Self::Literal(Arc::new(SecretText::new(text.to_owned()))))
    }

    /// Whether a text refers to a key that stands elsewhere.
    pub fn refers(text: &str) -> bool {
        ["env:", "file:", "cmd:"].iter().any(|scheme| text.trim_start().starts_with(scheme))
    }
}

impl PartialEq for ValueRef {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Env(one), Self::Env(other)) => one == other,
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Cmd(one), Self::Cmd(other)) => one == other,
            // Both come from one file of one person: nobody measures how long this takes.
            (Self::Literal(one), Self::Literal(other)) => one.expose() == other.expose(),
            _ => false,
        }
    }
}

impl Eq for ValueRef {}

impl fmt::Display for ValueRef {
    /// For people: where it is, and of a literal nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Cmd(words) => write!(f, "cmd:{}", words.first().map_or("", String::as_str)),
            Self::Literal(_) => f.write_str("(a key in clear)"),
        }
    }
}

impl fmt::Debug for ValueRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValueRef({self})")
    }
}

fn words(text: &str) -> Result<Vec<String>, ValueRefError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => quoted(letter, &mut letters, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(letters.next().ok_or(ValueRefError::Quote)?),
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(quote: char, letters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), ValueRefError> {
    while let Some(letter) = letters.next() {
        match letter {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => word.push(letters.next().ok_or(ValueRefError::Quote)?),
            other => word.push(other),
        }
    }
    Err(ValueRefError::Quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, ValueRefError> {
        ValueRef::read(text).map(|found| match found {
            ValueRef::Cmd(words) => words.join("|"),
            ValueRef::Literal(key) => format!("={}", key.expose()),
            other => other.to_string(),
        })
    }

    #[test]
    fn a_text_without_a_scheme_is_the_key_itself() {
        assert_eq!(read(" sk-test-1\n").as_deref(), Ok("=sk-test-1"));
        assert_eq!(read("environment:X").as_deref(), Ok("=environment:X"));
        assert!(!ValueRef::refers("sk-test-1") && ValueRef::refers("env:X"));
    }

    #[test]
    fn references_are_read_and_what_refers_to_nothing_is_refused() {
        assert_eq!(read("env:MY_KEY").as_deref(), Ok("env:MY_KEY"));
        assert_eq!(read("file:/run/secrets/key").as_deref(), Ok("file:/run/secrets/key"));
        for (text, why) in [
            ("", ValueRefError::Empty),
            ("env:", ValueRefError::Name),
            ("env:A-B", ValueRefError::Name),
            ("file:key", ValueRefError::Path),
            ("cmd:", ValueRefError::Program),
            ("cmd:''", ValueRefError::Program),
            ("cmd:pass 'a", ValueRefError::Quote),
            ("cmd:pass \\", ValueRefError::Quote),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
    }

    #[test]
    fn words_of_a_command_mean_what_they_say_and_no_shell_reads_them() {
        assert_eq!(read("cmd:pass show  'my key' \"a \\\" b\" c\\ d").as_deref(), Ok("pass|show|my key|a \" b|c d"));
        assert_eq!(read("cmd:echo $HOME; rm *").as_deref(), Ok("echo|$HOME;|rm|*"));
    }

    #[test]
    fn what_is_printed_holds_no_key_and_no_arguments() {
        for text in ["canary-1", "cmd:pass canary-1"] {
            let printed = format!("{0} {0:?}", ValueRef::read(text).unwrap());
            assert!(!printed.contains("canary"), "{printed}");
        }
    }
}
