//! YAML read into a tree whose texts are secret memory, with faults that name a place and never a value.

use super::json::TextFault;
use claviger_domain::secret::SecretText;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most nodes of a document: a configuration of thousands of models has fewer.
const NODES_MAX: usize = 200_000;
/// Deepest nesting of a document; configurations have some six levels.
const DEPTH_MAX: usize = 64;
/// How often a map may take over the fields of another by `<<`.
const MERGES_MAX: usize = 8;

/// A part of a document. An alias is the part that it names, so that a document is no longer in memory than in its file.
#[derive(Debug)]
pub(super) enum Node {
    /// Text, a number, a flag or null, as it is written.
    Scalar { text: SecretText, quoted: bool },
    /// A list.
    List(Vec<Rc<Node>>),
    /// Fields in the order of the file.
    Map(Vec<(String, Rc<Node>)>),
}

impl Node {
    /// A field of a map, its own before those that `<<` brings.
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.get_within(name, MERGES_MAX)
    }

    fn get_within(&self, name: &str, merges: usize) -> Option<&Node> {
        let Self::Map(fields) = self else { return None };
        if let Some((_, value)) = fields.iter().rev().find(|(field, _)| field == name) {
            return Some(value);
        }
        let left = merges.checked_sub(1)?;
        let (_, merged) = fields.iter().find(|(field, _)| field == "<<")?;
        match &**merged {
            Self::List(maps) => maps.iter().find_map(|map| map.get_within(name, left)),
            map => map.get_within(name, left),
        }
    }

    /// The members of a list; none of anything else.
    pub(super) fn members(&self) -> &[Rc<Node>] {
        match self {
            Self::List(members) => members,
            Self::Scalar { .. } | Self::Map(_) => &[],
        }
    }

    /// The text of a scalar; absent for null and for empty text.
    pub(super) fn text(&self) -> Option<&str> {
        let Self::Scalar { text, quoted } = self else { return None };
        let is_null = !quoted && ["", "~", "null", "Null", "NULL"].contains(&text.expose());
        Some(text.expose().trim()).filter(|text| !is_null && !text.is_empty())
    }

    /// The text of a field.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// The members of a field's list.
    pub(super) fn list_of(&self, name: &str) -> &[Rc<Node>] {
        self.get(name).map(Node::members).unwrap_or_default()
    }

    /// Whether a field says yes.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.text_of(name).is_some_and(|text| ["true", "True", "TRUE", "yes", "on"].contains(&text))
    }
}

/// Reads the first document of a text.
pub(super) fn parse(text: &[u8]) -> Result<Node, TextFault> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        TextFault::at_offset(&String::from_utf8_lossy(before), before.len(), "not UTF-8")
    })?;
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| fault(error.marker(), "not valid YAML"))?;
        if event == Event::DocumentEnd {
            break;
        }
        builder.take(event, span)?;
    }
    let empty = || Node::Scalar { text: SecretText::new(String::new()), quoted: false };
    Ok(builder.root.and_then(Rc::into_inner).unwrap_or_else(empty))
}

fn fault(at: &Marker, problem: &str) -> TextFault {
    TextFault { line: at.line(), column: at.col() + 1, problem: problem.to_owned() }
}

/// A list or a map that is not closed yet.
enum Open {
    List { anchor: usize, members: Vec<Rc<Node>> },
    Map { anchor: usize, fields: Vec<(String, Rc<Node>)>, key: Option<String> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), TextFault> {
        let at = &span.start;
        self.nodes += 1;
        if self.nodes > NODES_MAX || self.open.len() > DEPTH_MAX {
            return Err(fault(at, "more, or deeper, than any configuration"));
        }
        match event {
            Event::Scalar(text, style, anchor, _tag) => {
                let text = SecretText::new(text.into_owned());
                self.close(Node::Scalar { text, quoted: style != ScalarStyle::Plain }, anchor, at)
            }
            Event::SequenceStart(anchor, _tag) => {
                self.open.push(Open::List { anchor, members: Vec::new() });
                Ok(())
            }
            Event::MappingStart(anchor, _tag) => {
                self.open.push(Open::Map { anchor, fields: Vec::new(), key: None });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { anchor, members }) => self.close(Node::List(members), anchor, at),
                Some(Open::Map { anchor, fields, .. }) => self.close(Node::Map(fields), anchor, at),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                self.put(known.ok_or_else(|| fault(at, "an alias of what is not complete"))?, at)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
        }
    }

    fn close(&mut self, node: Node, anchor: usize, at: &Marker) -> Result<(), TextFault> {
        let node = Rc::new(node);
        // 0 is the anchor of a node that has none.
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.put(node, at)
    }

    fn put(&mut self, node: Rc<Node>, at: &Marker) -> Result<(), TextFault> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { members, .. }) => members.push(node),
            Some(Open::Map { fields, key, .. }) => {
                if let Some(name) = key.take() {
                    fields.push((name, node));
                } else {
                    let Node::Scalar { text, .. } = &*node else { return Err(fault(at, "the name of a field is not text")) };
                    *key = Some(text.expose().to_owned());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn read(text: &str) -> Node {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn scalars_lists_and_maps_are_read_by_name() {
        let node = read("a: x # a comment\nb: [1, 'two', null, ~, \"\"]\nc:\n  - d: true\n    e: no\n");
        assert_eq!(node.text_of("a"), Some("x"));
        let texts: Vec<_> = node.list_of("b").iter().map(|member| member.text()).collect();
        assert_eq!(texts, [Some("1"), Some("two"), None, None, None]);
        let [entry] = node.list_of("c") else { panic!() };
        assert_eq!((entry.is_set("d"), entry.is_set("e"), entry.is_set("f")), (true, false, false));
        assert_eq!((node.get("a").unwrap().members().len(), read("").text()), (0, None));
    }

    #[test]
    fn a_merged_map_gives_what_a_map_does_not_say_itself() {
        let node = read("base: &base {key: k1, url: u1}\nall:\n  - <<: *base\n    url: u2\n  - <<: [{key: k3}, *base]\n");
        let [first, second] = node.list_of("all") else { panic!() };
        assert_eq!((first.text_of("key"), first.text_of("url")), (Some("k1"), Some("u2")));
        assert_eq!((second.text_of("key"), second.text_of("url")), (Some("k3"), Some("u1")));
    }

    #[test]
    fn a_document_that_names_itself_a_million_times_takes_no_more_memory() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}", level - 1);
            writeln!(text, "a{level}: &a{level} [{}]", vec![below; 10].join(", ")).unwrap();
        }
        assert_eq!(read(&text).list_of("a8").len(), 10);
        assert!(parse(b"a: &a [*a]").is_err());
    }

    #[test]
    fn a_fault_names_the_place_and_never_the_value() {
        let fault = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        assert!(fault("a: canary\n  b: [canary").ends_with("not valid YAML"));
        assert_eq!(fault("? [canary]\n: x"), "line 1, column 10: the name of a field is not text");
        assert!(fault(&"[".repeat(100)).contains("line 1"));
        assert!(parse(b"a: \xff").unwrap_err().to_string().ends_with("not UTF-8"));
    }
}
