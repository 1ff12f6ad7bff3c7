//! Reads a table of the merged tree field by field, noting every fault and every key that nobody asked for.

use super::fault::Faults;
use super::place::Place;
use super::tree::{Node, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// One table while it is read. [`TableReader::finish`] notes the keys that were not asked for.
pub(super) struct TableReader<'a> {
    pub(super) key: String,
    pub(super) at: &'a Place,
    fields: &'a BTreeMap<String, Node>,
    asked: RefCell<Vec<&'static str>>,
    faults: &'a Faults,
}

impl<'a> TableReader<'a> {
    /// Notes a fault and returns nothing where the node is no table.
    pub(super) fn new(key: String, node: &'a Node, faults: &'a Faults) -> Option<Self> {
        match &node.value {
            Value::Table(fields) => Some(Self { key, at: &node.at, fields, asked: RefCell::default(), faults }),
            other => {
                faults.add(&node.at, &key, format!("a table is expected, not {}", other.kind()));
                None
            }
        }
    }

    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for (name, node) in self.fields.iter().filter(|(name, _)| !asked.contains(&name.as_str())) {
            self.faults.add(&node.at, &self.key_of(name), format!("unknown key; known here: {}", asked.join(", ")));
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Where a key stands, or the table where it is absent.
    pub(super) fn place_of(&self, name: &str) -> &'a Place {
        self.fields.get(name).map_or(self.at, |node| &node.at)
    }

    pub(super) fn fault(&self, name: &str, problem: impl Into<String>) {
        self.faults.add(self.place_of(name), &self.key_of(name), problem);
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&'a str> {
        let node = self.field(name)?;
        match &node.value {
            Value::Text(text) if !text.is_empty() => Some(text),
            Value::Text(_) => self.refuse(name, "empty text"),
            other => self.refuse(name, &format!("text is expected, not {}", other.kind())),
        }
    }

    /// Text of which an empty one takes away what an extended entry says.
    pub(super) fn text_or_none(&self, name: &'static str) -> Option<&'a str> {
        match self.fields.get(name).map(|node| &node.value) {
            Some(Value::Text(text)) if text.is_empty() => self.field(name).and(None),
            _ => self.text(name),
        }
    }

    pub(super) fn required_text(&self, name: &'static str) -> Option<&'a str> {
        if !self.has(name) {
            self.asked.borrow_mut().push(name);
            self.fault(name, "missing");
            return None;
        }
        self.text(name)
    }

    /// Reads text with `parse`, whose error becomes the fault.
    pub(super) fn parsed<T, E: Display>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text(name)?;
        parse(text).map_err(|error| self.fault(name, error.to_string())).ok()
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |text| one_of(text, words))
    }

    pub(super) fn flag(&self, name: &'static str) -> Option<bool> {
        match self.field(name)?.value {
            Value::Boolean(flag) => Some(flag),
            ref other => self.refuse(name, &format!("true or false is expected, not {}", other.kind())),
        }
    }

    pub(super) fn number(&self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let node = self.field(name)?;
        let expected = format!("a whole number from {} to {} is expected", range.start(), range.end());
        match node.value {
            Value::Integer(number) => match u32::try_from(number) {
                Ok(number) if range.contains(&number) => Some(number),
                _ => self.refuse(name, &expected),
            },
            _ => self.refuse(name, &expected),
        }
    }

    /// A list of texts, each read with `parse`; absent is empty.
    pub(super) fn list<T, E: Display>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        self.items(name)
            .iter()
            .filter_map(|item| match &item.value {
                Value::Text(text) => parse(text).map_err(|error| self.faults.add(&item.at, &self.key_of(name), error.to_string())).ok(),
                other => {
                    self.faults.add(&item.at, &self.key_of(name), format!("text is expected, not {}", other.kind()));
                    None
                }
            })
            .collect()
    }

    pub(super) fn texts(&self, name: &'static str) -> Vec<String> {
        self.list(name, not_empty)
    }

    pub(super) fn statuses(&self, name: &'static str, range: RangeInclusive<u16>) -> Vec<u16> {
        let status = |item: &Node| match item.value {
            Value::Integer(number) => u16::try_from(number).ok().filter(|status| range.contains(status)),
            _ => None,
        };
        let mut statuses = Vec::new();
        for item in self.items(name) {
            match status(item) {
                Some(status) => statuses.push(status),
                None => {
                    self.faults.add(
                        &item.at,
                        &self.key_of(name),
                        format!("a status from {} to {} is expected", range.start(), range.end()),
                    );
                }
            }
        }
        statuses
    }

    /// The items of a list; absent is empty.
    pub(super) fn items(&self, name: &'static str) -> &'a [Node] {
        match self.field(name).map(|node| &node.value) {
            Some(Value::List(items)) => items,
            Some(other) => {
                self.fault(name, format!("a list is expected, not {}", other.kind()));
                &[]
            }
            None => &[],
        }
    }

    /// One text or a list of texts; absent is empty.
    pub(super) fn text_or_texts(&self, name: &'static str) -> Vec<String> {
        match self.fields.get(name).map(|node| &node.value) {
            Some(Value::Text(_)) => self.text(name).map(str::to_owned).into_iter().collect(),
            _ => self.texts(name),
        }
    }

    pub(super) fn table(&self, name: &'static str) -> Option<TableReader<'a>> {
        let node = self.field(name)?;
        TableReader::new(self.key_of(name), node, self.faults)
    }

    /// A list of tables; absent is empty.
    pub(super) fn tables(&self, name: &'static str) -> Vec<TableReader<'a>> {
        let numbered = self.items(name).iter().enumerate();
        numbered.filter_map(|(index, item)| TableReader::new(format!("{}[{index}]", self.key_of(name)), item, self.faults)).collect()
    }

    /// A table of texts under names of the user's choice, each read with `parse`; absent is empty.
    pub(super) fn map<T, E: Display>(&self, name: &'static str, parse: impl Fn(&str, &str) -> Result<T, E>) -> Vec<T> {
        let Some(table) = self.table(name) else { return Vec::new() };
        table
            .fields
            .iter()
            .filter_map(|(key, node)| match &node.value {
                Value::Text(text) => parse(key, text).map_err(|error| table.fault(key, error.to_string())).ok(),
                other => {
                    table.fault(key, format!("text is expected, not {}", other.kind()));
                    None
                }
            })
            .collect()
    }

    /// A table of lists of texts under names of the user's choice; absent is empty.
    pub(super) fn map_of_lists(&self, name: &'static str) -> Vec<(String, Vec<String>)> {
        let Some(table) = self.table(name) else { return Vec::new() };
        let texts = |key: &String, node: &Node| {
            let texts: Option<Vec<String>> = match &node.value {
                Value::List(items) => items.iter().map(|item| item.value.text().map(str::to_owned)).collect(),
                _ => None,
            };
            if texts.is_none() {
                table.fault(key, "a list of texts is expected");
            }
            texts.map(|texts| (key.clone(), texts))
        };
        table.fields.iter().filter_map(|(key, node)| texts(key, node)).collect()
    }

    fn field(&self, name: &'static str) -> Option<&'a Node> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&name) {
            asked.push(name);
        }
        self.fields.get(name)
    }

    fn refuse<T>(&self, name: &str, problem: &str) -> Option<T> {
        self.fault(name, problem);
        None
    }

    fn key_of(&self, name: &str) -> String {
        format!("{}.{name}", self.key)
    }
}

/// Text as it is, unless it is empty.
pub(super) fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("empty text") } else { Ok(text.to_owned()) }
}

/// One of some words.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("{text:?} is none of: {}", known.join(", "))
    })
}
