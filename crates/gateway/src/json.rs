//! The parts of a JSON text, found one after the other: nobody reads further into a body than he needs, and no byte twice.
//!
//! What is found is right for every valid text. An invalid one may give parts until it ends, or none: whoever gets it refuses it.

use memchr::memchr;

/// One field of an object, as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    /// What stands between the quotes.
    key: &'a [u8],
    is_escaped: bool,
    /// The value without the space around it.
    pub(crate) value: &'a [u8],
}

impl Field<'_> {
    /// Whether the key is this name, however it is escaped.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.key == name.as_bytes() || (self.is_escaped && means(self.key, name))
    }
}

#[cold]
fn means(key: &[u8], name: &str) -> bool {
    let quoted = [b"\"", key, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).is_ok_and(|key| key == name)
}

/// The fields of an object in their order; none of what is no object.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Text<'a>);

impl<'a> Fields<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self(Text(text).inside(b'{'))
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let key = self.0.value().and_then(|key| key.strip_prefix(b"\"")?.strip_suffix(b"\""))?;
        self.0.eat(b':')?;
        Some(Field { key, is_escaped: key.contains(&b'\\'), value: self.0.item()? })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let field = self.field();
        if field.is_none() {
            self.0 = Text::default();
        }
        field
    }
}

/// The elements of a list; none of what is no list.
#[derive(Debug)]
pub(crate) struct Elements<'a>(Text<'a>);

impl<'a> Elements<'a> {
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self(Text(text).inside(b'['))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.item()
    }
}

/// What is left to read.
#[derive(Debug, Default)]
struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// What follows this bracket; nothing where another byte stands.
    fn inside(mut self, bracket: u8) -> Self {
        self.eat(bracket).map_or_else(Self::default, |()| self)
    }

    /// Takes one byte, if it is the next one after white space.
    fn eat(&mut self, wanted: u8) -> Option<()> {
        self.0 = self.0.trim_ascii_start().strip_prefix(&[wanted])?;
        Some(())
    }

    /// A value, and the comma after it. Without a comma it is the last one.
    fn item(&mut self) -> Option<&'a [u8]> {
        let value = self.value()?;
        if self.eat(b',').is_none() {
            *self = Self::default();
        }
        Some(value)
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        self.0 = self.0.trim_ascii_start();
        let len = match self.0.first()? {
            b'"' => string_len(self.0)?,
            b'{' | b'[' => nested_len(self.0)?,
            _ => self.0.iter().position(|byte| ends_scalar(*byte)).unwrap_or(self.0.len()),
        };
        let (value, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        (!value.is_empty()).then_some(value)
    }
}

fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b'}' | b']' | b'"') || byte.is_ascii_whitespace()
}

/// The length of a string with its quotes, the first of which begins the text.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut len = 1;
    loop {
        let rest = text.get(len..)?;
        let end = memchr(b'"', rest)?;
        len += end + 1;
        let escapes = rest.get(..end)?.iter().rev().take_while(|byte| **byte == b'\\').count();
        if escapes % 2 == 0 {
            return Some(len);
        }
    }
}

/// The length of an object or a list, whose bracket begins the text.
fn nested_len(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut len = 0;
    loop {
        match *text.get(len)? {
            b'"' => {
                len += string_len(text.get(len..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        len += 1;
        if depth == 0 {
            return Some(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn fields(text: &str) -> Vec<(&str, &str)> {
        let text_of = |bytes| std::str::from_utf8(bytes).unwrap();
        Fields::of(text.as_bytes()).map(|field| (text_of(field.key), text_of(field.value))).collect()
    }

    #[test]
    fn fields_are_found_as_they_are_written() {
        let text = " {\"a\" : [1, {\"b\": \"]}\"}] ,\"c\\\"\":\"\\\\\",\n\"d\":-1.5e3,\"e\":{ },\"f\":null } trailing";
        assert_eq!(fields(text), [("a", "[1, {\"b\": \"]}\"}]"), ("c\\\"", "\"\\\\\""), ("d", "-1.5e3"), ("e", "{ }"), ("f", "null")]);
        assert_eq!(fields("{}"), []);
        assert_eq!(fields("[\"a\",1]"), []);
        assert_eq!(fields(""), []);
    }

    #[test]
    fn a_text_that_breaks_gives_what_stood_before() {
        assert_eq!(fields("{\"a\":1,\"b\":\"x"), [("a", "1")]);
        assert_eq!(fields("{\"a\":1,\"b\":[{}"), [("a", "1")]);
        assert_eq!(fields("{\"a\":1 then no JSON at all"), [("a", "1")]);
        assert_eq!(fields("{\"a\":1,\"b\":}"), [("a", "1")]);
        assert_eq!(fields("{\"a\":1,\"b\"}"), [("a", "1")]);
        assert_eq!(fields("{\"a\":1,b:2}"), [("a", "1")]);
        assert_eq!(fields("{\"a\":1}}]]"), [("a", "1")]);
    }

    fn json() -> impl Strategy<Value = Value> {
        let letters = "[a-c\"\\\\{}\\[\\],: \n\u{1}é]{0,6}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            letters.prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(letters, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_valid_text_is_read_as_a_whole_parser_reads_it(value in json(), is_pretty: bool) {
            let text = if is_pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let parsed = |raw: &[u8]| serde_json::from_slice::<Value>(raw).unwrap();
            let found: Vec<_> = Fields::of(&text).collect();
            let fields = value.as_object().map(|object| object.iter().collect::<Vec<_>>()).unwrap_or_default();
            prop_assert_eq!(found.len(), fields.len());
            for (found, (name, value)) in found.iter().zip(fields) {
                prop_assert!(found.is(name));
                prop_assert_eq!(&parsed(found.value), value);
            }
            let elements: Vec<_> = Elements::of(&text).map(parsed).collect();
            prop_assert_eq!(elements.as_slice(), value.as_array().map_or(&[][..], Vec::as_slice));
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>, letters in "[\"\\\\{}\\[\\],:a ]{0,40}") {
            for text in [&bytes, letters.as_bytes()] {
                prop_assert!(Fields::of(text).count() <= text.len());
                prop_assert!(Elements::of(text).count() <= text.len());
            }
        }
    }
}
