//! TOML as a tree in which every value knows its place, so that files can be merged and faults located afterwards.

use super::EffectiveValue;
use super::fault::Faults;
use super::place::{Place, PlaceFile};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The key whose value is not shown.
const CLIENT_SECRET: &str = "client_secret_b64";

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// Where its key stands; for an item of a list, where the item stands.
    pub(super) at: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// Of a type that no key takes; the text names it.
    Other(&'static str),
}

impl Value {
    /// The text, if it is one and not empty.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

impl Node {
    pub(super) fn child(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(fields) => fields.get(key),
            _ => None,
        }
    }

    /// Puts another tree over this one: tables key by key, everything else as a whole.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(fields), Value::Table(new)) => merge_all(fields, new),
            (value, new) => *value = new,
        }
        self.at = over.at;
    }

    /// All values that are not tables, with their keys below `key`.
    pub(super) fn leaves(&self, key: &str) -> Vec<EffectiveValue> {
        if let Value::Table(fields) = &self.value {
            return fields.iter().flat_map(|(name, node)| node.leaves(&format!("{key}.{name}"))).collect();
        }
        let value = if key.ends_with(CLIENT_SECRET) { "\"(set)\"".to_owned() } else { self.to_toml() };
        vec![EffectiveValue { key: key.to_owned(), value, place: self.at.clone() }]
    }

    fn to_toml(&self) -> String {
        match &self.value {
            Value::Text(text) => toml::Value::from(text.as_str()).to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(flag) => flag.to_string(),
            Value::List(items) => format!("[{}]", items.iter().map(Self::to_toml).collect::<Vec<_>>().join(", ")),
            Value::Table(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, node)| format!("{name} = {}", node.to_toml())).collect();
                format!("{{ {} }}", fields.join(", "))
            }
            Value::Other(kind) => format!("({kind})"),
        }
    }
}

/// Merges trees by key into others.
pub(super) fn merge_all(known: &mut BTreeMap<String, Node>, over: BTreeMap<String, Node>) {
    for (key, node) in over {
        match known.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().merge(node),
            Entry::Vacant(free) => {
                free.insert(node);
            }
        }
    }
}

/// The entries under `providers` of one file. Syntax faults and foreign keys are noted; what could be read is returned.
pub(super) fn providers(file: &PlaceFile, text: &str, faults: &Faults) -> BTreeMap<String, Node> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error.span().map_or_else(|| Place::whole(file), |span| Place::of_offset(file, text, span.start));
        faults.add(&place, "", error.message());
    }
    if !errors.is_empty() {
        return BTreeMap::new();
    }
    let source = Source { file, text };
    let mut entries = BTreeMap::new();
    for (key, node) in source.table(document.get_ref()) {
        match node.value {
            Value::Table(fields) if key == "providers" => entries.extend(fields),
            _ if key == "providers" => faults.add(&node.at, &key, format!("a table is expected, not {}", node.value.kind())),
            _ => faults.add(&node.at, &key, "unknown key; a file holds [providers.ID] tables only"),
        }
    }
    entries
}

struct Source<'a> {
    file: &'a PlaceFile,
    text: &'a str,
}

impl Source<'_> {
    fn table(&self, table: &DeTable<'_>) -> BTreeMap<String, Node> {
        let node =
            |key: &Spanned<_>, value: &Spanned<DeValue<'_>>| Node { at: self.place(key.span().start), value: self.value(value.get_ref()) };
        table.iter().map(|(key, value)| (key.get_ref().to_string(), node(key, value))).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .map_or(Value::Other("a number out of range"), Value::Integer),
            DeValue::Array(items) => {
                let item = |item: &Spanned<DeValue<'_>>| Node { at: self.place(item.span().start), value: self.value(item.get_ref()) };
                Value::List(items.iter().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Float(_) => Value::Other("a number with a fraction"),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(_) => Value::Other("a date"),
        }
    }

    fn place(&self, offset: usize) -> Place {
        Place::of_offset(self.file, self.text, offset)
    }
}
