//! The words of a run, for the full-text index.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Longest indexed part of one text, in bytes.
const TEXT_BYTES: usize = 64 * 1024;
/// Limit of the indexed text of one run, in bytes: names and errors come first.
const RUN_BYTES: usize = 512 * 1024;
/// Length of an ASCII prefix without whitespace from which a text counts as base64 data, which is not indexed.
const DATA_BYTES: usize = 256;

/// Collects texts without duplicates: each model call repeats the whole conversation.
#[derive(Debug, Default)]
pub(crate) struct Words {
    text: String,
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Words {
    /// Adds a text.
    pub(crate) fn add(&mut self, text: &str) {
        let text = text.get(..text.floor_char_boundary(TEXT_BYTES)).unwrap_or(text);
        if text.is_empty() || self.is_full() || is_data(text) || !self.seen.insert(self.hasher.hash_one(text)) {
            return;
        }
        let room = RUN_BYTES.saturating_sub(self.text.len());
        self.text.push_str(text.get(..text.floor_char_boundary(room)).unwrap_or(text));
        self.text.push('\n');
    }

    /// Adds all strings in a JSON text, without the names of members. Invalid JSON adds the strings before the error.
    pub(crate) fn add_json(&mut self, json: &str) {
        if self.is_full() {
            return;
        }
        let mut reader = serde_json::Deserializer::from_str(json);
        // An early end is that of a full index or of invalid JSON.
        let _ = Strings(self).deserialize(&mut reader);
    }

    /// Returns the collected text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn is_full(&self) -> bool {
        self.text.len() >= RUN_BYTES
    }
}

fn is_data(text: &str) -> bool {
    let beginning = text.as_bytes().get(..DATA_BYTES);
    beginning.is_some_and(|beginning| beginning.iter().all(|byte| byte.is_ascii() && !byte.is_ascii_whitespace()))
}

/// Collects the strings of a value.
struct Strings<'a>(&'a mut Words);

impl<'de> DeserializeSeed<'de> for Strings<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.add(text);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Strings(self.0))?.is_some() {
            if self.0.is_full() {
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<serde::de::IgnoredAny>()?.is_some() {
            members.next_value_seed(Strings(self.0))?;
            if self.0.is_full() {
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(json: &str) -> String {
        let mut words = Words::default();
        words.add_json(json);
        words.into_text()
    }

    #[test]
    fn strings_are_decoded_and_names_of_members_are_no_words() {
        assert_eq!(words(r#"{"role":"user","content":["a\nb\u00e9",1,null,true,{"x":"c"}]}"#), "user\na\nbé\nc\n");
        assert_eq!(words(r#""plain""#), "plain\n");
    }

    #[test]
    fn each_text_counts_once_and_data_does_not() {
        let data = "QUJD".repeat(200);
        assert_eq!(words(&format!(r#"["hello","hello","{data}","bye"]"#)), "hello\nbye\n");
    }

    #[test]
    fn what_stands_before_a_fault_counts() {
        assert_eq!(words(r#"["first", "second", oops"#), "first\nsecond\n");
        assert_eq!(words(&"[".repeat(10_000)), "");
    }

    #[test]
    fn a_run_has_a_limit() {
        let mut words = Words::default();
        for each in 0..100 {
            words.add(&format!("{each} {}", "wörter ".repeat(20_000)));
        }
        let text = words.into_text();
        assert!(text.len() <= RUN_BYTES + 1, "{}", text.len());
        assert!(text.len() > RUN_BYTES - 8);
    }
}
