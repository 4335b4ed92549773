//! Dialects: the attribute conventions of libraries that record GenAI spans.
//!
//! A dialect is a table of attribute keys and the little code that the shape of its messages needs. It fills the [`Field`]s
//! that all dialects share. [`DIALECTS`] is the order of precedence: for each field, the first dialect with a value wins, so
//! that a span with attributes of two dialects has one meaning. A new dialect is a file of its own and a line in that list.

mod adk;
mod agent_framework;
pub(crate) mod agentops;
mod braintrust;
mod claude_code;
mod crewai;
mod dify;
mod genkit;
mod haystack;
mod key_filter;
mod langfuse;
mod langsmith;
mod litellm;
mod livekit;
mod logfire;
mod mastra;
mod mlflow;
mod openinference;
mod openlit;
mod openllmetry;
mod otel;
mod otel_beside;
mod otel_events;
mod otel_legacy;
mod plain;
mod pydantic_ai;
mod quick_scan;
mod retrace;
mod spring_ai;
mod vercel;
mod vllm;

use self::key_filter::may_mean;
pub use self::key_filter::{KeyRelevance, is_own_span, key_relevance};
pub(crate) use self::otel_events::{MessageEvent, is_message_key};
pub use self::quick_scan::{QuickScan, quick_scan};

use std::sync::LazyLock;

use foldhash::{HashMap, HashMapExt as _};
use serde_json::value::RawValue;

use crate::fields::Field;
use crate::fields::FlattenedKey;
use crate::fields::Nested;
use crate::messages::Turn;

/// Attribute keys, events and message shapes of one family of libraries.
pub(crate) struct Dialect {
    /// True if a span with one of these keys is a GenAI span.
    pub genai: bool,
    /// True if its keys count on GenAI spans only, because other libraries use the same names for other things.
    pub genai_spans_only: bool,
    /// True if every value is JSON, so that a text has quotes.
    pub quoted: bool,
    /// True if a JSON string is meant as the text in it, also where that text is JSON.
    pub is_exact: bool,
    /// Attribute keys and the fields they fill.
    pub keys: &'static [(&'static str, Field)],
    /// Prefixes of the names of its own spans: `claude_code.`, or the first word, as in `invoke_agent planner`. Such a span is a GenAI
    /// span, whatever its attributes are, and so from its start.
    pub spans: &'static [&'static str],
    /// Instrumentation scopes of its own spans.
    pub scopes: &'static [&'static str],
    /// Keys without a namespace and the fields they fill on its own spans. They have no meaning on any other span.
    pub own: &'static [(&'static str, Field)],
    /// Class of one of its own spans by the name of the span, for a span whose attributes state none.
    pub named: fn(&str) -> Option<Class>,
    /// True if the tools that a request offers may be messages of the role `tool`.
    pub offers_as_messages: bool,
    /// True if the kind of a span overrides its operation. The messages of such a span become its input and output unless it
    /// calls a model.
    pub kind_leads: bool,
    /// True if its input tokens exclude the tokens that were read from and written to a cache.
    pub input_excludes_cache: bool,
    /// Keys of JSON objects whose members fill fields.
    pub nested: &'static [Nested],
    /// Prefixes of keys that share a field.
    pub prefixes: &'static [(&'static str, Field)],
    /// Fields whose value is flattened into many keys.
    pub flattened: &'static [FlattenedKey],
    /// Events whose attributes are read as if they were the span's own, at lower precedence.
    pub events: &'static [&'static str],
    /// Events that are one message each, and the fields of those messages. They are content events too.
    pub message_events: &'static [(&'static str, Field)],
    /// Prefixes of keys that mark a GenAI span but fill no field.
    pub marks: &'static [&'static str],
    /// Class of an operation or a kind of this dialect.
    pub operation: fn(&str) -> Option<Class>,
    /// Returns true for an operation that streams its answer.
    pub streams: fn(&str) -> bool,
    /// Keys that only one class of span has, for a span that names no operation.
    pub hints: &'static [(&'static str, Class)],
    /// Reads messages from their JSON text; returns `None` for another shape. Flattened keys arrive assembled into JSON.
    pub turns: for<'a> fn(&'a str) -> Option<Vec<Turn<'a>>>,
    /// Reads messages in the most frequent form, in one pass that also checks that the JSON is strict; returns `None` for anything
    /// else. What it reads, [`Dialect::turns`] reads alike.
    pub usual_turns: for<'a> fn(&'a str) -> Option<Vec<Turn<'a>>>,
    /// Returns true if a JSON text that [`Dialect::turns`] reads has more than messages. Such a value is kept as an attribute too.
    pub wraps: fn(&str) -> bool,
    /// Returns the value inside of a JSON text that wraps an input or output; `None` if there is no wrapper.
    pub unwrapped: for<'a> fn(Field, &'a str) -> Option<&'a RawValue>,
}

impl Dialect {
    /// A dialect without any key.
    const EMPTY: Self = Self {
        genai: false,
        genai_spans_only: false,
        quoted: false,
        is_exact: false,
        keys: &[],
        spans: &[],
        scopes: &[],
        own: &[],
        named: |_| None,
        offers_as_messages: false,
        kind_leads: false,
        input_excludes_cache: false,
        nested: &[],
        prefixes: &[],
        flattened: &[],
        events: &[],
        message_events: &[],
        marks: &[],
        operation: |_| None,
        streams: |_| false,
        hints: &[],
        turns: |_| None,
        usual_turns: |_| None,
        wraps: |_| false,
        unwrapped: |_, _| None,
    };
}

/// Class of a span, in the order of the rules in MAPPING.md, "`span_type`".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Call of a model.
    Model,
    /// Execution of a tool.
    Tool,
    /// Agent, workflow or plan.
    Agent,
    /// Anything else, such as retrieval or memory.
    Action,
}

/// All dialects, in the order of precedence.
pub(crate) static DIALECTS: &[&Dialect] = &[
    // One on each line.
    &retrace::DIALECT,
    &otel::DIALECT,
    &otel_legacy::DIALECT,
    &otel_beside::DIALECT,
    &otel_events::DIALECT,
    &openinference::DIALECT,
    &openllmetry::DIALECT,
    &vercel::DIALECT,
    &pydantic_ai::DIALECT,
    &pydantic_ai::PLAIN,
    &langfuse::DIALECT,
    &mlflow::DIALECT,
    &livekit::DIALECT,
    &adk::DIALECT,
    &genkit::DIALECT,
    &spring_ai::DIALECT,
    &claude_code::DIALECT,
    &langsmith::DIALECT,
    &openlit::DIALECT,
    &litellm::DIALECT,
    &agentops::DIALECT,
    &logfire::TRACE,
    &logfire::AGENT,
    &logfire::FUNCTION,
    &crewai::DIALECT,
    &agent_framework::DIALECT,
    &haystack::DIALECT,
    &braintrust::DIALECT,
    &vllm::DIALECT,
    &dify::DIALECT,
    &mastra::DIALECT,
    &otel_beside::SPELLED,
    &plain::DIALECT,
];

/// Rank of the counts that are recognised by the words of their keys.
static SPELLED: LazyLock<usize> =
    LazyLock::new(|| DIALECTS.iter().position(|one| std::ptr::eq(*one, &otel_beside::SPELLED)).unwrap_or_default());

/// Meanings of whole keys.
static KEYS: LazyLock<HashMap<&'static str, KeyMeaning<'static>>> = LazyLock::new(|| {
    let mut keys = HashMap::new();
    for (rank, dialect) in DIALECTS.iter().enumerate() {
        for (key, field) in dialect.keys {
            keys.entry(*key).or_insert(KeyMeaning::Field(rank, *field));
        }
        for (table, nested) in dialect.nested.iter().enumerate() {
            keys.entry(nested.key).or_insert(KeyMeaning::Nested(rank, table));
        }
    }
    keys
});

/// Meanings of key prefixes, in the order in which they are tried, by first byte.
static BEGINNINGS: LazyLock<[Vec<(&'static str, KeyMeaning<'static>)>; 256]> = LazyLock::new(|| {
    let places = DIALECTS.iter().enumerate().flat_map(|(rank, dialect)| {
        let prefixed =
            dialect.prefixes.iter().map(move |(prefix, field)| (*prefix, KeyMeaning::Prefixed(rank, *field, "")));
        let parts = dialect.flattened.iter().enumerate();
        prefixed.chain(parts.map(move |(table, flattened)| (flattened.prefix, KeyMeaning::Flattened(rank, table, ""))))
    });
    let marks = DIALECTS.iter().flat_map(|dialect| dialect.marks).map(|mark| (*mark, KeyMeaning::Marker));
    let mut beginnings = [const { Vec::new() }; 256];
    for (prefix, meaning) in places.chain(marks) {
        let first = prefix.as_bytes().first().map(|first| usize::from(*first));
        if let Some(begins) = first.and_then(|first| beginnings.get_mut(first)) {
            begins.push((prefix, meaning));
        }
    }
    beginnings
});

/// Meaning of an attribute key. Ranks are indexes into [`DIALECTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyMeaning<'k> {
    /// The key fills a field of its own.
    Field(usize, Field),
    /// The key is one of many that share a field; the rest of the key distinguishes them.
    Prefixed(usize, Field, &'k str),
    /// The value is an object whose members fill fields: rank, and index into [`Dialect::nested`].
    Nested(usize, usize),
    /// The key may be a part of a flattened value: rank, index into [`Dialect::flattened`], and the rest of the key.
    Flattened(usize, usize, &'k str),
    /// The key marks a GenAI span and is otherwise unknown.
    Marker,
    /// No dialect has the key.
    Unknown,
}

impl KeyMeaning<'_> {
    /// Returns true if a span with such a key is a GenAI span.
    #[inline]
    pub(crate) fn is_genai(self) -> bool {
        matches!(self, Self::Marker) || self.dialect().is_some_and(|dialect| dialect.genai)
    }

    /// Returns true if the values of the dialect are exactly as they are written.
    #[inline]
    pub(crate) fn is_exact(self) -> bool {
        self.dialect().is_some_and(|dialect| dialect.is_exact)
    }

    /// Returns the dialect that has the key.
    fn dialect(self) -> Option<&'static Dialect> {
        match self {
            Self::Field(rank, _) | Self::Nested(rank, _) | Self::Prefixed(rank, ..) | Self::Flattened(rank, ..) => {
                DIALECTS.get(rank).copied()
            }
            Self::Marker | Self::Unknown => None,
        }
    }
}

/// Returns true if the attributes of an event with this name are read as if they were the span's own.
#[must_use]
pub fn is_content_event(name: &str) -> bool {
    DIALECTS.iter().any(|dialect| dialect.events.contains(&name))
}

/// Returns the dialect of a rank. Values from events have their dialect's rank plus the number of dialects.
#[inline]
pub(crate) fn dialect_of_rank(rank: usize) -> Option<&'static Dialect> {
    DIALECTS.get(rank % DIALECTS.len()).copied()
}

/// Returns the dialect's rank and the field of an event that is a message.
pub(crate) fn message_event(name: &str) -> Option<(usize, Field)> {
    DIALECTS.iter().enumerate().find_map(|(rank, dialect)| {
        let (_, field) = dialect.message_events.iter().find(|(event, _)| *event == name)?;
        Some((rank, *field))
    })
}

/// Ranks of the dialects that have spans of their own. Those that have keys of their own on them come first: a library may
/// name its spans as the conventions do.
static HOMES: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let has_own = |dialect: &Dialect| !dialect.spans.is_empty() || !dialect.scopes.is_empty();
    let homes = DIALECTS.iter().enumerate().filter(|(_, dialect)| has_own(dialect));
    let mut homes: Vec<(bool, usize)> = homes.map(|(rank, dialect)| (dialect.own.is_empty(), rank)).collect();
    homes.sort_unstable();
    homes.into_iter().map(|(_, rank)| rank).collect()
});

/// Returns the rank of the dialect to which a span belongs by its name or its instrumentation scope; `None` for most spans.
/// Compares the name with a few prefixes.
pub(crate) fn home_of(span: &str, scope: &str) -> Option<usize> {
    HOMES.iter().copied().find(|rank| {
        DIALECTS.get(*rank).is_some_and(|dialect| {
            dialect.spans.iter().any(|begin| is_named(span, begin)) || dialect.scopes.contains(&scope)
        })
    })
}

/// Returns true if the name of a span has this prefix: a namespace, or a whole word.
fn is_named(span: &str, prefix: &str) -> bool {
    span.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with('.') || rest.is_empty() || rest.starts_with(' '))
}

/// Looks a key up, first among the keys without a namespace of the dialect with the rank `home`.
#[inline]
pub(crate) fn meaning_at(home: Option<usize>, key: &str) -> KeyMeaning<'_> {
    let own = |rank: usize| {
        let (_, field) = DIALECTS.get(rank)?.own.iter().find(|(own, _)| *own == key)?;
        Some(KeyMeaning::Field(rank, *field))
    };
    home.and_then(own).unwrap_or_else(|| meaning(key))
}

/// Looks a key up in all dialects.
#[inline]
pub(crate) fn meaning(key: &str) -> KeyMeaning<'_> {
    if may_mean(key) { meaning_of_any(key) } else { KeyMeaning::Unknown }
}

/// Looks a key up without the filter of [`key_filter`].
pub(crate) fn meaning_of_any(key: &str) -> KeyMeaning<'_> {
    if let Some(meaning) = KEYS.get(key) {
        return *meaning;
    }
    if let Some(field) = otel_beside::spelled(key) {
        return KeyMeaning::Field(*SPELLED, field);
    }
    let begins = key.as_bytes().first().and_then(|first| BEGINNINGS.get(usize::from(*first)));
    for (prefix, meaning) in begins.into_iter().flatten() {
        if let Some(rest) = key.strip_prefix(prefix) {
            return match *meaning {
                KeyMeaning::Prefixed(rank, field, _) => KeyMeaning::Prefixed(rank, field, rest),
                KeyMeaning::Flattened(rank, table, _) => KeyMeaning::Flattened(rank, table, rest),
                other => other,
            };
        }
    }
    KeyMeaning::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_stands_in_two_tables() {
        let mut seen = HashMap::new();
        for (rank, dialect) in DIALECTS.iter().enumerate() {
            let nested = dialect.nested.iter().map(|nested| nested.key);
            for key in dialect.keys.iter().map(|(key, _)| *key).chain(nested) {
                assert_eq!(seen.insert(key, rank), None, "{key}");
            }
        }
    }

    #[test]
    fn the_fuzz_targets_know_the_keys_of_all_dialects() {
        let mut keys: Vec<String> = include_str!("../../../../fuzz/keys.txt").lines().map(str::to_owned).collect();
        let listed = keys.clone();
        for dialect in DIALECTS {
            let whole = dialect.keys.iter().chain(dialect.own).map(|(key, _)| *key);
            let whole = whole.chain(dialect.nested.iter().map(|nested| nested.key));
            keys.extend(whole.chain(dialect.hints.iter().map(|(key, _)| *key)).map(str::to_owned));
            // One key for each path of a flattened value, and one for each prefix.
            for FlattenedKey { prefix, paths, .. } in dialect.flattened {
                keys.extend(paths.iter().map(|(path, _)| format!("{prefix}{}", path.replace('N', "0"))));
            }
            keys.extend(dialect.prefixes.iter().map(|(prefix, _)| format!("{prefix}x")));
        }
        keys.sort();
        keys.dedup();
        let missing: Vec<&String> = keys.iter().filter(|key| !listed.contains(key)).collect();
        assert!(missing.is_empty(), "{} keys are missing in fuzz/keys.txt; add them: {missing:#?}", missing.len());
        assert!(listed == keys, "fuzz/keys.txt is not sorted, or has a key twice");
    }

    #[test]
    fn keys_prefixes_and_marks_are_distinguished() {
        assert_eq!(meaning("gen_ai.request.model"), KeyMeaning::Field(1, Field::RequestModel));
        assert_eq!(meaning("retrace.metadata.a.b"), KeyMeaning::Prefixed(0, Field::UserMetadata, "a.b"));
        assert_eq!(meaning("gen_ai.something.new"), KeyMeaning::Marker);
        assert_eq!(meaning("http.route"), KeyMeaning::Unknown);
        assert!(meaning("gen_ai.something.new").is_genai());
        assert!(!meaning("session.id").is_genai());
    }
}
