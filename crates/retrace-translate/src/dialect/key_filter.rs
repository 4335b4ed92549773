//! What the key of an attribute tells of its span, faster than by looking the key up.
//!
//! Most keys of most spans mean nothing here. That is seen by their first two bytes and their length, and only what could
//! mean something is looked up.

use std::sync::LazyLock;

use crate::dialect::{DIALECTS, Meaning, home_of, is_content_event, meaning};

/// What an attribute tells of the span that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// It is a GenAI span.
    GenAi,
    /// Something that holds for any span: a session, a user, an error.
    General,
    /// Nothing that a run is told of, unless the span itself is.
    None,
}

/// By how a key begins: the lengths of the keys that mean something, a bit for each, and whether a longer key may begin like
/// that.
struct Table([u64; BEGINNINGS]);

/// Five bits of each of the first two bytes, which tell lower-case letters apart.
const BEGINNINGS: usize = 1 << 10;

/// The bit of all lengths from here on, and of beginnings.
const LONG: usize = 63;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = [0; BEGINNINGS];
    let mut note = |key: &str, is_beginning: bool| {
        // Of a beginning every length from its own on.
        let lengths = if is_beginning { u64::MAX << key.len().min(LONG) } else { 1 << key.len().min(LONG) };
        // No beginning is so short that it leaves the second byte open.
        if let Some(known) = table.get_mut(beginning(key)) {
            *known |= lengths;
        }
    };
    for dialect in DIALECTS {
        dialect.keys.iter().for_each(|(key, _)| note(key, false));
        dialect.nested.iter().for_each(|nested| note(nested.key, false));
        dialect.hints.iter().for_each(|(key, _)| note(key, false));
        dialect.prefixes.iter().for_each(|(prefix, _)| note(prefix, true));
        dialect.indexed.iter().for_each(|indexed| note(indexed.prefix, true));
        dialect.marks.iter().for_each(|mark| note(mark, true));
    }
    Table(table)
});

/// Whether some dialect may have the key: `false` for most that none has.
pub(crate) fn may_mean(key: &str) -> bool {
    let lengths = TABLE.0.get(beginning(key)).copied().unwrap_or_default();
    lengths & (1 << key.len().min(LONG)) != 0
}

fn beginning(key: &str) -> usize {
    let byte = |at: usize| usize::from(key.as_bytes().get(at).copied().unwrap_or_default() & 0b1_1111);
    byte(0) << 5 | byte(1)
}

/// What an attribute of this key tells of its span. A few nanoseconds for a key that means nothing.
#[must_use]
pub fn bearing(key: &str) -> Bearing {
    if !may_mean(key) {
        return Bearing::None;
    }
    match meaning(key) {
        meaning if meaning.is_genai() => Bearing::GenAi,
        Meaning::Unknown if !is_hint(key) => Bearing::None,
        _ => Bearing::General,
    }
}

/// Returns true for a span of a library that names its spans, such as `claude_code.llm_request`, or is known by its
/// instrumentation scope. The attributes of such a span may have no namespace: all of them are of interest, whatever
/// [`bearing`] returns for their keys. Costs a comparison with a few names. Where the scope is not known, `scope` is empty.
#[must_use]
pub fn is_own_span(name: &str, scope: &str) -> bool {
    home_of(name, scope).is_some()
}

fn is_hint(key: &str) -> bool {
    DIALECTS.iter().flat_map(|dialect| dialect.hints).any(|(hint, _)| *hint == key)
}

/// Whether an event of this name may say what the attributes of its span say: then it is read with them.
#[must_use]
pub fn event_bears(name: &str) -> bool {
    is_content_event(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::meaning_of_any;
    use proptest::prelude::*;

    /// What is said of a key by who looks it up.
    fn looked_up(key: &str) -> Bearing {
        match meaning_of_any(key) {
            meaning if meaning.is_genai() => Bearing::GenAi,
            Meaning::Unknown if !is_hint(key) => Bearing::None,
            _ => Bearing::General,
        }
    }

    #[test]
    fn no_key_of_any_dialect_is_overlooked() {
        for dialect in DIALECTS {
            let whole = dialect.keys.iter().map(|(key, _)| *key);
            let whole = whole.chain(dialect.nested.iter().map(|nested| nested.key));
            for key in whole.chain(dialect.hints.iter().map(|(key, _)| *key)) {
                assert_ne!(bearing(key), Bearing::None, "{key}");
                assert_eq!(bearing(key), looked_up(key), "{key}");
            }
            let begin = dialect.prefixes.iter().map(|(prefix, _)| *prefix).chain(dialect.marks.iter().copied());
            for prefix in begin.chain(dialect.indexed.iter().map(|indexed| indexed.prefix)) {
                for rest in ["", "x", &"x".repeat(100)] {
                    let key = format!("{prefix}{rest}");
                    assert_eq!(bearing(&key), looked_up(&key), "{key}");
                }
            }
        }
        assert_eq!(bearing("gen_ai.request.model"), Bearing::GenAi);
        assert_eq!(bearing("session.id"), Bearing::General);
        assert_eq!((bearing("http.request.method"), bearing("")), (Bearing::None, Bearing::None));
    }

    #[test]
    fn spans_of_libraries_that_name_them_are_known() {
        for (name, scope, expected) in [
            ("claude_code.llm_request", "", true),
            ("haystack.pipeline.run", "x", true),
            ("run", "agent_framework", true),
            ("claude_code", "", false),
            ("GET /", "http", false),
        ] {
            assert_eq!(is_own_span(name, scope), expected, "{name} {scope}");
        }
        // Every key that such a library has on its own spans is overlooked by `bearing` alone.
        assert_eq!(bearing("cache_read_tokens"), Bearing::None);
    }

    proptest! {
        #[test]
        fn it_says_what_looking_up_says(
            first in prop::sample::select(vec!["", "gen_ai.", "llm.", "lk.", "ai.", "session.", "input.", "metadata", "http."]),
            rest in "[a-z_.0-9]{0,70}",
        ) {
            let key = format!("{first}{rest}");
            prop_assert_eq!(bearing(&key), looked_up(&key));
        }
    }
}
