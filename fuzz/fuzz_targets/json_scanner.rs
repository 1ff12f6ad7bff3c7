//! The gateway's scanner of JSON: it never panics, and of a valid object it finds every field as a whole parser does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[expect(dead_code, reason = "the gateway uses more of it")]
#[path = "../../crates/gateway/src/json.rs"]
mod json;

fuzz_target!(|bytes: &[u8]| {
    let fields: Vec<_> = json::Fields::of(bytes).collect();
    let elements = json::Elements::of(bytes).count();
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(object)) => {
            assert_eq!(elements, 0);
            for (name, value) in &object {
                // Of a repeated name the last one counts for the whole parser.
                let found = fields.iter().rev().find(|field| field.is(name)).expect("a field of a valid object is found");
                assert_eq!(&serde_json::from_slice::<Value>(found.value).expect("its value is a value"), value);
            }
        }
        Ok(Value::Array(list)) => assert_eq!((fields.len(), elements), (0, list.len())),
        Ok(_) => assert_eq!((fields.len(), elements), (0, 0)),
        Err(_) => {}
    }
});
