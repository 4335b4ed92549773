//! Documents that differ from the one before in one text.

use std::ops::Range;

use genai_redact::Place;

use super::{Document, Rules};

/// Last document of a body that was parsed and holds no credential. The events of a stream are mostly the same but for one text, in
/// which no credential is looked for: such an event is compared, not parsed.
#[derive(Default)]
pub(crate) struct LastDocument<'t> {
    text: &'t str,
    /// Positions of those texts.
    free_texts: Vec<Range<usize>>,
}

impl<'t> LastDocument<'t> {
    /// Returns whether a document may hold a credential that is replaced in a body, or `None` if it is no JSON.
    pub(crate) fn find(&mut self, document: &'t str) -> Option<bool> {
        if self.free_texts.iter().any(|free| is_alike(document, self.text, free)) {
            return Some(false);
        }
        let mut read = Document::new(document, Rules::Body, None);
        if read.read().is_none() {
            return genai_redact::has_credential(document, Place::Body);
        }
        if !read.has_credential && !read.free_texts.is_empty() {
            *self = Self { text: document, free_texts: read.free_texts };
        }
        Some(read.has_credential)
    }
}

/// Returns true if the document is the last one with another text here, of which it is plain that JSON may hold it.
fn is_alike(document: &str, last: &str, free: &Range<usize>) -> bool {
    let parts = (last.get(..free.start), last.get(free.end..));
    let (Some(before), Some(after)) = parts else { return false };
    document
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after))
        .is_some_and(|text| is_text_of_json(text.as_bytes()))
}

/// Returns true if the bytes may stand between quotes. Not for all that may.
fn is_text_of_json(mut bytes: &[u8]) -> bool {
    while let [byte, rest @ ..] = bytes {
        bytes = match (byte, rest) {
            (b'\\', [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..]) => rest,
            (b'"' | b'\\' | ..b' ', _) => return false,
            _ => rest,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_event_that_differs_in_a_text_is_known() {
        let event = |text: &str| {
            format!(r#"{{"id":"c-1","choices":[{{"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#)
        };
        let first = event("The ");
        let mut last = LastDocument::default();
        assert_eq!(last.find(&first), Some(false));
        for text in ["tide", "", r#"\n\"rises\\"#, "é"] {
            let alike = event(text);
            assert!(last.free_texts.iter().any(|free| is_alike(&alike, &first, free)), "{text}");
        }
        for text in [r"\", "a\"", "\n", r"\u0041", r#"","api_key":"x"#] {
            let other = event(text);
            assert!(!last.free_texts.iter().any(|free| is_alike(&other, &first, free)), "{text}");
        }
        assert_eq!(LastDocument::default().find(r#"{"id":"sk-abcdef123456"}"#), Some(true));
        // Names with escapes are left to another reader.
        assert_eq!(LastDocument::default().find(r#"{"a\u0070i_key":"hunter2"}"#), Some(true));
        assert_eq!(LastDocument::default().find(r#"{"\u0061":1}"#), Some(false));
        assert_eq!(LastDocument::default().find(r#"{"\u0061":1"#), None);
    }

    proptest! {
        /// As [`genai_redact::json`] finds, whatever came before.
        #[test]
        fn what_came_before_does_not_matter(documents in prop::collection::vec(any_document(), 1..8)) {
            let mut last = LastDocument::default();
            for document in &documents {
                let is_json = serde_json::from_str::<serde_json::Value>(document).is_ok();
                let expected = genai_redact::json(document, Place::Body).is_some();
                prop_assert_eq!(last.find(document), is_json.then_some(expected), "{}", document);
            }
        }
    }

    fn any_document() -> impl Strategy<Value = String> {
        let text = || r#"(a|b c|\\n|\\|"|\\"|sk-abcdef12345|","api_key":"x|\\u0041){0,3}"#;
        let name = "(content|delta|id|api_key|arguments)";
        (name, text(), name, text()).prop_map(|(one, first, other, second)| {
            format!(r#"{{"choices":[{{"{one}":"{first}"}}],"{other}":"{second}"}}"#)
        })
    }
}
