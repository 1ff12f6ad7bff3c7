//! The corpus of token answers in `crates/oauth/tests/corpus`: each as it stands on the wire, and what it is.

use std::path::{Path, PathBuf};

/// One answer of the corpus, with what its line in `classes.tsv` says of it.
#[derive(Debug, Clone)]
pub struct TokenAnswerCase {
    /// The name of its file, without the ending.
    pub name: String,
    /// The refresh rule that it is read by.
    pub rule: CorpusRule,
    /// What the reader makes of it; `None` where no whole answer comes about that it could be given.
    pub read: Option<String>,
    /// What comes of it over HTTP: a class, or `no_answer`.
    pub wire: String,
    /// All bytes: status line, headers, blank line, body.
    pub bytes: Vec<u8>,
}

/// Which refresh rule an answer is read by. Both have the lists of codes that an entry without lists has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorpusRule {
    /// Codes alone end a grant.
    Plain,
    /// Status 401 without a code ends a grant, too.
    Final401,
}

/// The whole corpus, in the order of its table.
///
/// # Panics
/// Where table and files do not agree.
pub fn token_answers() -> Vec<TokenAnswerCase> {
    let folder = folder();
    let table = std::fs::read_to_string(folder.join("classes.tsv")).expect("the corpus has its table");
    let cases: Vec<_> = table.lines().filter(|line| !line.starts_with('#')).map(|line| case(&folder, line)).collect();
    let files = std::fs::read_dir(&folder).expect("the corpus is a folder");
    let files = files.filter(|file| file.as_ref().expect("the folder is read").path().extension().is_some_and(|end| end == "http"));
    assert_eq!(files.count(), cases.len(), "every answer of the corpus has its line, and every line its answer");
    cases
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../oauth/tests/corpus")
}

fn case(folder: &Path, line: &str) -> TokenAnswerCase {
    let columns: Vec<&str> = line.split('\t').collect();
    let &[name, rule, read, wire] = columns.as_slice() else { panic!("four columns: {line}") };
    let rule = match rule {
        "plain" => CorpusRule::Plain,
        "final_401" => CorpusRule::Final401,
        _ => panic!("an unknown rule: {line}"),
    };
    TokenAnswerCase {
        name: name.to_owned(),
        rule,
        read: (read != "-").then(|| read.to_owned()),
        wire: if wire == "=" { read.to_owned() } else { wire.to_owned() },
        bytes: std::fs::read(folder.join(format!("{name}.http"))).unwrap_or_else(|error| panic!("{name}: {error}")),
    }
}

impl TokenAnswerCase {
    /// The status of the first line, where there is one.
    pub fn status(&self) -> Option<u16> {
        let line = self.bytes.split(|byte| *byte == b'\r').next()?;
        std::str::from_utf8(line).ok()?.split(' ').nth(1)?.parse().ok()
    }

    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(self.split().0).ok()?;
        head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// What follows the blank line.
    pub fn body(&self) -> &[u8] {
        self.split().1
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let at = end.map_or(self.bytes.len(), |end| end + 4);
        self.bytes.split_at(at)
    }
}
