//! Hash of a tool's arguments, as enforcement checks state it.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Hexadecimal digits of the hash.
const DIGITS: usize = 32;

/// Returns the first 32 hexadecimal digits of SHA-256 over the arguments of a tool: over a text itself, else over JSON with sorted keys
/// and `", "` and `": "` between, other characters than those of ASCII escaped.
#[must_use]
pub fn arguments_hash(arguments: &Value) -> String {
    let text = match arguments {
        Value::String(text) => text.clone(),
        arguments => {
            let mut text = String::new();
            write_value(&mut text, arguments);
            text
        }
    };
    let mut digits = String::with_capacity(2 * DIGITS);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits.truncate(DIGITS);
    digits
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => write_members(out, members),
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

fn write_members(out: &mut String, members: &Map<String, Value>) {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.chars().cmp(other.chars()));
    out.push('{');
    for (at, (name, value)) in sorted.into_iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        write_text(out, name);
        out.push_str(": ");
        write_value(out, value);
    }
    out.push('}');
}

/// Writes a JSON text in ASCII.
fn write_text(out: &mut String, text: &str) {
    for character in Value::from(text).to_string().chars() {
        if character.is_ascii() && character != '\u{7f}' {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_official_sdk() {
        // Captured: `http-u-golden-enforcement`.
        assert_eq!(arguments_hash(&json!({"b": 1, "a": "x"})), "385820f0096fd558f4091319e7fa742c");
        let mut text = String::new();
        write_value(&mut text, &json!({"b": [1, 2.5, null], "a": "é😀\n"}));
        assert_eq!(text, r#"{"a": "\u00e9\ud83d\ude00\n", "b": [1, 2.5, null]}"#);
        assert_eq!(arguments_hash(&json!("abc")), "ba7816bf8f01cfea414140de5dae2223");
    }
}
