//! The dialects in which libraries say what a GenAI span means.
//!
//! A dialect is a table of attribute keys and the little code that the shape of its messages needs; it fills the
//! [`Slot`]s that all dialects share. [`DIALECTS`] is the order of trust: per slot, the first dialect that says something
//! holds, so a span that speaks two at once is not confused. Adding one touches its own file and that list.

mod adk;
mod agent_framework;
mod braintrust;
mod claude_code;
mod crewai;
mod dify;
mod genkit;
mod haystack;
mod langfuse;
mod langsmith;
mod livekit;
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
mod retrace;
mod spring_ai;
mod vercel;
mod vllm;

pub(crate) use self::otel_events::{MessageEvent, is_message_key};

use std::sync::LazyLock;

use foldhash::{HashMap, HashMapExt as _};
use serde_json::value::RawValue;

use crate::bearing::may_mean;
use crate::indexed::Indexed;
use crate::messages::Turn;
use crate::nested::Nested;
use crate::slot::Slot;

/// How one family of libraries names things.
pub(crate) struct Dialect {
    /// Whether a span that uses one of these keys is a GenAI span.
    pub genai: bool,
    /// Whether its keys mean something on GenAI spans only: names so common that others use them for other things.
    pub guest: bool,
    /// Whether it writes every value as a JSON text, so that a text stands in quotes.
    pub quoted: bool,
    /// Attribute keys and the places they fill.
    pub keys: &'static [(&'static str, Slot)],
    /// Beginnings of the names of its own spans: `claude_code.`. Such a span is a GenAI span, whatever its attributes are.
    pub spans: &'static [&'static str],
    /// Names of the instrumentation scopes of its own spans.
    pub scopes: &'static [&'static str],
    /// Keys without a namespace, and the places they fill on its own spans. On any other span they have no meaning.
    pub own: &'static [(&'static str, Slot)],
    /// Class of one of its own spans by the name of the span, for a span whose attributes state none.
    pub named: fn(&str) -> Option<Class>,
    /// Whether the kind outweighs the operation that a span states beside it. What such a span has for messages is its input
    /// and output where it calls no model.
    pub kind_leads: bool,
    /// Whether its input tokens exclude the tokens that were read from and written to a cache.
    pub cache_beside: bool,
    /// Keys of JSON objects whose members fill places.
    pub nested: &'static [Nested],
    /// Beginnings of keys that share a place.
    pub prefixes: &'static [(&'static str, Slot)],
    /// Places whose value is flattened into many keys.
    pub indexed: &'static [Indexed],
    /// Events whose attributes are read as if they were the span's own, with less trust than those.
    pub events: &'static [&'static str],
    /// Events that are one message each, and where those belong. They are content events too.
    pub message_events: &'static [(&'static str, Slot)],
    /// Beginnings of keys that mark a span as GenAI although this translation gives them no place.
    pub marks: &'static [&'static str],
    /// What an operation of this dialect is.
    pub operation: fn(&str) -> Option<Class>,
    /// Whether such an operation streams its answer.
    pub streams: fn(&str) -> bool,
    /// Keys that only one class of span has, where it names no operation.
    pub hints: &'static [(&'static str, Class)],
    /// Reads messages from their JSON text; `None` when they are not in this dialect's shape. Keys that were flattened
    /// come as the JSON that they are together.
    pub turns: for<'a> fn(&'a str) -> Option<Vec<Turn<'a>>>,
    /// Whether a JSON text that [`Dialect::turns`] reads has more than messages. Such a value stays an attribute too.
    pub wraps: fn(&str) -> bool,
    /// The thing itself in a JSON text that wraps what a span was given or returned; `None` when there is nothing to
    /// unwrap.
    pub unwrapped: for<'a> fn(&'a str) -> Option<&'a RawValue>,
}

impl Dialect {
    /// Says nothing at all.
    const SILENT: Self = Self {
        genai: false,
        guest: false,
        quoted: false,
        keys: &[],
        spans: &[],
        scopes: &[],
        own: &[],
        named: |_| None,
        kind_leads: false,
        cache_beside: false,
        nested: &[],
        prefixes: &[],
        indexed: &[],
        events: &[],
        message_events: &[],
        marks: &[],
        operation: |_| None,
        streams: |_| false,
        hints: &[],
        turns: |_| None,
        wraps: |_| false,
        unwrapped: |_| None,
    };
}

/// What a span is, in the order in which the rules are asked (MAPPING.md, "`span_type`").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// A call of a model.
    Model,
    /// A tool at work.
    Tool,
    /// An agent, a workflow, a plan.
    Agent,
    /// Retrieval, memory and the like.
    Action,
}

/// All dialects, most trusted first.
pub(crate) static DIALECTS: &[&Dialect] = &[
    // One a line.
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
    &crewai::DIALECT,
    &agent_framework::DIALECT,
    &haystack::DIALECT,
    &braintrust::DIALECT,
    &vllm::DIALECT,
    &dify::DIALECT,
    &otel_beside::SPELLED,
    &plain::DIALECT,
];

/// Rank of the counts that are known by the words of their keys.
static SPELLED: LazyLock<usize> =
    LazyLock::new(|| DIALECTS.iter().position(|one| std::ptr::eq(*one, &otel_beside::SPELLED)).unwrap_or_default());

/// Where a whole key leads.
static KEYS: LazyLock<HashMap<&'static str, Meaning<'static>>> = LazyLock::new(|| {
    let mut keys = HashMap::new();
    for (rank, dialect) in DIALECTS.iter().enumerate() {
        for (key, slot) in dialect.keys {
            keys.entry(*key).or_insert(Meaning::One(rank, *slot));
        }
        for (table, nested) in dialect.nested.iter().enumerate() {
            keys.entry(nested.key).or_insert(Meaning::Nest(rank, table));
        }
    }
    keys
});

/// Where the beginnings of keys lead, in the order in which they are tried, by their first byte: a span has many keys that
/// mean nothing here.
static BEGINNINGS: LazyLock<[Vec<(&'static str, Meaning<'static>)>; 256]> = LazyLock::new(|| {
    let places = DIALECTS.iter().enumerate().flat_map(|(rank, dialect)| {
        let many = dialect.prefixes.iter().map(move |(prefix, slot)| (*prefix, Meaning::Many(rank, *slot, "")));
        let parts = dialect.indexed.iter().enumerate();
        many.chain(parts.map(move |(table, indexed)| (indexed.prefix, Meaning::Part(rank, table, ""))))
    });
    let marks = DIALECTS.iter().flat_map(|dialect| dialect.marks).map(|mark| (*mark, Meaning::Mark));
    let mut beginnings = [const { Vec::new() }; 256];
    for (prefix, meaning) in places.chain(marks) {
        let first = prefix.as_bytes().first().map(|first| usize::from(*first));
        if let Some(begins) = first.and_then(|first| beginnings.get_mut(first)) {
            begins.push((prefix, meaning));
        }
    }
    beginnings
});

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'k> {
    /// It fills a place of its own.
    One(usize, Slot),
    /// It is one of many that share a place; the rest of the key tells them apart.
    Many(usize, Slot, &'k str),
    /// It is an object whose members have places: which of the dialect's.
    Nest(usize, usize),
    /// It may be a part of a flattened value: of which of the dialect's, and the rest of the key.
    Part(usize, usize, &'k str),
    /// It marks the span as GenAI and is otherwise unknown.
    Mark,
    /// Nothing.
    Unknown,
}

impl Meaning<'_> {
    /// Whether a span with such a key is a GenAI span.
    pub(crate) fn is_genai(self) -> bool {
        match self {
            Self::One(rank, _) | Self::Nest(rank, _) | Self::Many(rank, ..) | Self::Part(rank, ..) => {
                DIALECTS.get(rank).is_some_and(|dialect| dialect.genai)
            }
            Self::Mark => true,
            Self::Unknown => false,
        }
    }
}

/// Whether an event carries what the span itself could have said.
pub(crate) fn is_content_event(name: &str) -> bool {
    DIALECTS.iter().any(|dialect| dialect.events.contains(&name))
}

/// The dialect that a rank is of, whether the span or an event said it.
pub(crate) fn of_rank(rank: usize) -> Option<&'static Dialect> {
    DIALECTS.get(rank % DIALECTS.len()).copied()
}

/// Where the message that this event is belongs: the rank of its dialect, and the place.
pub(crate) fn message_event(name: &str) -> Option<(usize, Slot)> {
    DIALECTS.iter().enumerate().find_map(|(rank, dialect)| {
        let (_, slot) = dialect.message_events.iter().find(|(event, _)| *event == name)?;
        Some((rank, *slot))
    })
}

/// Ranks of the dialects that have spans of their own.
static HOMES: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let has_own = |dialect: &Dialect| !dialect.spans.is_empty() || !dialect.scopes.is_empty();
    DIALECTS.iter().enumerate().filter(|(_, dialect)| has_own(dialect)).map(|(rank, _)| rank).collect()
});

/// Rank of the dialect to which a span belongs by its name or its instrumentation scope; `None` for most spans. Compares the
/// name with a few beginnings.
pub(crate) fn home_of(span: &str, scope: &str) -> Option<usize> {
    HOMES.iter().copied().find(|rank| {
        DIALECTS.get(*rank).is_some_and(|dialect| {
            dialect.spans.iter().any(|begin| span.starts_with(begin)) || dialect.scopes.contains(&scope)
        })
    })
}

/// Looks a key up, first among the keys that the dialect of this rank has on its own spans.
pub(crate) fn meaning_at(home: Option<usize>, key: &str) -> Meaning<'_> {
    let own = |rank: usize| {
        let (_, slot) = DIALECTS.get(rank)?.own.iter().find(|(own, _)| *own == key)?;
        Some(Meaning::One(rank, *slot))
    };
    home.and_then(own).unwrap_or_else(|| meaning(key))
}

/// Looks a key up in all dialects.
pub(crate) fn meaning(key: &str) -> Meaning<'_> {
    if may_mean(key) { meaning_of_any(key) } else { Meaning::Unknown }
}

/// The same, without a look at what kinds of keys there are.
pub(crate) fn meaning_of_any(key: &str) -> Meaning<'_> {
    if let Some(meaning) = KEYS.get(key) {
        return *meaning;
    }
    if let Some(slot) = otel_beside::spelled(key) {
        return Meaning::One(*SPELLED, slot);
    }
    let begins = key.as_bytes().first().and_then(|first| BEGINNINGS.get(usize::from(*first)));
    for (prefix, meaning) in begins.into_iter().flatten() {
        if let Some(rest) = key.strip_prefix(prefix) {
            return match *meaning {
                Meaning::Many(rank, slot, _) => Meaning::Many(rank, slot, rest),
                Meaning::Part(rank, table, _) => Meaning::Part(rank, table, rest),
                other => other,
            };
        }
    }
    Meaning::Unknown
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
    fn keys_prefixes_and_marks_are_told_apart() {
        assert_eq!(meaning("gen_ai.request.model"), Meaning::One(1, Slot::RequestModel));
        assert_eq!(meaning("retrace.metadata.a.b"), Meaning::Many(0, Slot::UserMetadata, "a.b"));
        assert_eq!(meaning("gen_ai.something.new"), Meaning::Mark);
        assert_eq!(meaning("http.route"), Meaning::Unknown);
        assert!(meaning("gen_ai.something.new").is_genai());
        assert!(!meaning("session.id").is_genai());
    }
}
