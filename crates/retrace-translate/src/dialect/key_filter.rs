//! Filter in front of the key tables of all dialects.
//!
//! Most attribute keys of most spans are in no table. The first two bytes and the length of a key rule nearly all of them out,
//! so that only a few keys are looked up.

use std::sync::LazyLock;

use crate::dialect::{DIALECTS, KeyMeaning, home_of, meaning};

/// Relevance of an attribute key for the run of its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRelevance {
    /// The key marks a GenAI span.
    GenAi,
    /// The key states a fact about any span: a session, a user, an error.
    General,
    /// No dialect has the key. The attribute is carried only if its span is.
    None,
}

/// Lengths of the known keys, as a bit set, for each possible beginning of a key.
struct Table([u64; BEGINNINGS]);

/// Number of beginnings: five bits of each of the first two bytes, enough to distinguish lower-case letters.
const BEGINNINGS: usize = 1 << 10;

/// Length from which on all lengths share a bit.
const LONG: usize = 63;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = [0; BEGINNINGS];
    let mut note = |key: &str, is_beginning: bool| {
        // A prefix matches keys of every length from its own on.
        let lengths = if is_beginning { u64::MAX << key.len().min(LONG) } else { 1 << key.len().min(LONG) };
        // Every prefix has at least two bytes.
        if let Some(known) = table.get_mut(beginning(key)) {
            *known |= lengths;
        }
    };
    for dialect in DIALECTS {
        dialect.keys.iter().for_each(|(key, _)| note(key, false));
        dialect.nested.iter().for_each(|nested| note(nested.key, false));
        dialect.hints.iter().for_each(|(key, _)| note(key, false));
        dialect.prefixes.iter().for_each(|(prefix, _)| note(prefix, true));
        dialect.flattened.iter().for_each(|flattened| note(flattened.prefix, true));
        dialect.marks.iter().for_each(|mark| note(mark, true));
    }
    Table(table)
});

/// Returns false only for keys that no dialect has. Most such keys are recognised.
#[inline]
pub(crate) fn may_mean(key: &str) -> bool {
    let lengths = TABLE.0.get(beginning(key)).copied().unwrap_or_default();
    lengths & (1 << key.len().min(LONG)) != 0
}

#[inline]
fn beginning(key: &str) -> usize {
    let byte = |at: usize| usize::from(key.as_bytes().get(at).copied().unwrap_or_default() & 0b1_1111);
    byte(0) << 5 | byte(1)
}

/// Returns the relevance of an attribute key. Costs a few nanoseconds for a key that no dialect has.
#[must_use]
pub fn key_relevance(key: &str) -> KeyRelevance {
    if !may_mean(key) {
        return KeyRelevance::None;
    }
    match meaning(key) {
        meaning if meaning.is_genai() => KeyRelevance::GenAi,
        KeyMeaning::Unknown if !is_hint(key) => KeyRelevance::None,
        _ => KeyRelevance::General,
    }
}

/// Returns true for a span that is recognised as a GenAI span by its name, such as `claude_code.llm_request`, `invoke_agent planner`
/// or `retrace.plan`, or by its instrumentation scope.
///
/// The attributes of such a span may have no namespace: all of them are relevant, whatever [`key_relevance`] returns for their
/// keys. `scope` is empty if it is not known. Costs a comparison with a few names.
#[must_use]
pub fn is_own_span(name: &str, scope: &str) -> bool {
    home_of(name, scope).is_some()
}

fn is_hint(key: &str) -> bool {
    DIALECTS.iter().flat_map(|dialect| dialect.hints).any(|(hint, _)| *hint == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::meaning_of_any;
    use proptest::prelude::*;

    /// Relevance without the filter.
    fn looked_up(key: &str) -> KeyRelevance {
        match meaning_of_any(key) {
            meaning if meaning.is_genai() => KeyRelevance::GenAi,
            KeyMeaning::Unknown if !is_hint(key) => KeyRelevance::None,
            _ => KeyRelevance::General,
        }
    }

    #[test]
    fn no_key_of_any_dialect_is_overlooked() {
        for dialect in DIALECTS {
            let whole = dialect.keys.iter().map(|(key, _)| *key);
            let whole = whole.chain(dialect.nested.iter().map(|nested| nested.key));
            for key in whole.chain(dialect.hints.iter().map(|(key, _)| *key)) {
                assert_ne!(key_relevance(key), KeyRelevance::None, "{key}");
                assert_eq!(key_relevance(key), looked_up(key), "{key}");
            }
            let begin = dialect.prefixes.iter().map(|(prefix, _)| *prefix).chain(dialect.marks.iter().copied());
            for prefix in begin.chain(dialect.flattened.iter().map(|flattened| flattened.prefix)) {
                for rest in ["", "x", &"x".repeat(100)] {
                    let key = format!("{prefix}{rest}");
                    assert_eq!(key_relevance(&key), looked_up(&key), "{key}");
                }
            }
        }
        assert_eq!(key_relevance("gen_ai.request.model"), KeyRelevance::GenAi);
        assert_eq!(key_relevance("session.id"), KeyRelevance::General);
        assert_eq!((key_relevance("http.request.method"), key_relevance("")), (KeyRelevance::None, KeyRelevance::None));
    }

    #[test]
    fn spans_of_libraries_that_name_them_are_known() {
        for (name, scope, expected) in [
            ("claude_code.llm_request", "", true),
            ("haystack.pipeline.run", "x", true),
            ("run", "agent_framework", true),
            ("claude_code", "", false),
            ("invoke_agent planner", "", true),
            ("invoke_agent", "", true),
            ("create_agent planner", "", true),
            ("invoke_workflow trip", "", true),
            ("execute_tool search", "", true),
            ("retrace.plan", "", true),
            ("invoke_agents", "", false),
            ("retrace", "", false),
            ("chat m", "", false),
            ("plan the trip", "", false),
            ("GET /", "http", false),
        ] {
            assert_eq!(is_own_span(name, scope), expected, "{name} {scope}");
        }
        // `key_relevance` alone does not know the keys of such a library.
        assert_eq!(key_relevance("cache_read_tokens"), KeyRelevance::None);
    }

    proptest! {
        #[test]
        fn the_filter_agrees_with_the_lookup(
            first in prop::sample::select(vec!["", "gen_ai.", "llm.", "lk.", "ai.", "session.", "input.", "metadata", "http."]),
            rest in "[a-z_.0-9]{0,70}",
        ) {
            let key = format!("{first}{rest}");
            prop_assert_eq!(key_relevance(&key), looked_up(&key));
        }
    }
}
