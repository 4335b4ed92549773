//! Values that a dialect flattens into many keys: `llm.input_messages.0.message.role`, `gen_ai.prompt.0.content`.
//!
//! They are assembled into JSON, so that a dialect has one reader for flattened keys, maps and JSON texts. Only keys that the
//! dialect knows are used; any other stays an attribute.

use std::cell::Cell;
use std::cmp::Ordering;

use retrace_protocol::json::is_strict;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::fields::Field;
use crate::view::Value;

/// A field whose value is flattened into many keys.
#[derive(Debug)]
pub(crate) struct FlattenedKey {
    /// Common prefix of the keys, with its last dot.
    pub prefix: &'static str,
    pub field: Field,
    /// Known paths after the prefix; `N` stands for an index.
    pub paths: &'static [(&'static str, LeafType)],
}

/// Type that the value of a key must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeafType {
    /// Any value.
    Any,
    /// Any value; a text that is a JSON list or object becomes that value.
    Json,
    /// Any value; a text that is a JSON list becomes that list.
    Parts,
    /// A text that is not empty, or a number.
    Label,
    /// The role of a response, which carries no information: `assistant` in one of its spellings.
    Assistant,
}

impl FlattenedKey {
    /// Returns the value of the key with the suffix `rest`; `None` if the path is unknown or the value has another type.
    pub(crate) fn read<'a>(&self, rest: &str, value: Value<'a>) -> Option<Value<'a>> {
        let (_, leaf) = self.paths.iter().find(|(path, _)| fits(path, rest))?;
        match leaf {
            LeafType::Any => Some(value),
            LeafType::Json => Some(structured(value, &['[', '{'])),
            LeafType::Parts => Some(structured(value, &['['])),
            LeafType::Label => match &value {
                Value::Str(text) => !text.is_empty(),
                Value::Int(_) => true,
                Value::Float(number) => number.is_finite(),
                Value::Bool(_) | Value::Json(_) => false,
            }
            .then_some(value),
            LeafType::Assistant => {
                let is_known = matches!(&value, Value::Str(text) if matches!(&**text, "assistant" | "model" | "ai"));
                is_known.then_some(value)
            }
        }
    }
}

/// Parses a text that begins with one of `begins` and is JSON. Other values are not changed.
pub(crate) fn structured<'a>(value: Value<'a>, begins: &[char]) -> Value<'a> {
    match value {
        Value::Str(text) if text.starts_with(begins) && is_json(&text) => Value::Json(text),
        other => other,
    }
}

/// Returns true if a text is JSON that a strict reader accepts.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| is_strict(raw.get()))
}

/// Returns true if a key matches a path.
fn fits(path: &str, key: &str) -> bool {
    let (mut path, mut key) = (path.split('.'), key.split('.'));
    loop {
        match (path.next(), key.next()) {
            (None, None) => return true,
            (Some("N"), Some(segment)) if is_index(segment) => {}
            (Some(wanted), Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
}

fn is_index(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

/// One key of a flattened value.
#[derive(Debug)]
pub(crate) struct FlattenedValue<'a> {
    /// Precedence of its dialect.
    pub rank: usize,
    /// Index into the flattened keys of its dialect.
    pub table: usize,
    pub field: Field,
    /// Key without the prefix.
    pub key: &'a str,
    /// Index of the span attribute; `None` for an attribute of an event.
    pub attribute: Option<usize>,
    pub value: Value<'a>,
    /// True if it is part of the assembled value.
    pub used: Cell<bool>,
}

impl FlattenedValue<'_> {
    fn place(&self) -> (usize, usize) {
        (self.rank, self.table)
    }
}

/// Assembles the values of each flattened field, in the order of precedence.
///
/// Indexes may have gaps, any order and any size: only their order counts. For a key that occurs twice the later value holds.
/// Costs a sort.
pub(crate) fn assembled<'f, 'a>(
    flat: &'f mut [FlattenedValue<'a>],
) -> impl Iterator<Item = (&'f mut [FlattenedValue<'a>], Value<'static>)> {
    flat.sort_by(|a, b| a.place().cmp(&b.place()).then_with(|| in_order(a.key, b.key)));
    let whole = |parts: &[FlattenedValue<'a>]| Value::json(&Branch { parts, from: 0 });
    flat.chunk_by_mut(|a, b| a.place() == b.place()).map(move |parts| {
        let value = whole(parts);
        (parts, value)
    })
}

/// Compares two keys segment by segment; indexes compare as numbers and come before names.
fn in_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (one, other) => one.map(weight).cmp(&other.map(weight)),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn weight(segment: &str) -> (bool, usize, &str, usize) {
    if is_index(segment) {
        let digits = segment.trim_start_matches('0');
        (false, digits.len(), digits, segment.len())
    } else {
        (true, 0, segment, 0)
    }
}

/// The keys below one path, in order: a list if an index follows, a map if a name follows.
struct Branch<'f, 'a> {
    parts: &'f [FlattenedValue<'a>],
    /// Position in the key from which on the branch reads.
    from: usize,
}

/// Returns the segment of a key that begins at `from`; `None` at its end.
fn segment(key: &str, from: usize) -> Option<&str> {
    key.get(from..)?.split('.').next()
}

impl Serialize for Branch<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let next = |flat: &FlattenedValue<'_>| segment(flat.key, self.from).is_some();
        // In this order a key that ends here comes before the longer keys, which carry more.
        let deeper = self.parts.get(self.parts.partition_point(|flat| !next(flat))..).unwrap_or_default();
        let Some(first) = deeper.first().and_then(|flat| segment(flat.key, self.from)) else {
            let last = self.parts.last();
            last.inspect(|flat| flat.used.set(true));
            return last.map(|flat| &flat.value).serialize(serializer);
        };
        let is_list = is_index(first);
        let below = deeper
            .chunk_by(|a, b| segment(a.key, self.from) == segment(b.key, self.from))
            .filter_map(|parts| Some((parts, segment(parts.first()?.key, self.from)?)))
            .take_while(|(_, name)| is_index(name) == is_list)
            .map(|(parts, name)| (name, Branch { parts, from: self.from + name.len() + 1 }));
        if is_list {
            let mut list = serializer.serialize_seq(None)?;
            for (_, branch) in below {
                list.serialize_element(&branch)?;
            }
            list.end()
        } else {
            let mut map = serializer.serialize_map(None)?;
            for (name, branch) in below {
                map.serialize_entry(name, &branch)?;
            }
            map.end()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: FlattenedKey = FlattenedKey {
        prefix: "m.",
        field: Field::InputMessages,
        paths: &[("N.role", LeafType::Label), ("N.content", LeafType::Parts), ("N.calls.N.name", LeafType::Label)],
    };

    fn flat<'a>(key: &'a str, value: &'a str) -> FlattenedValue<'a> {
        let value = Value::from(value);
        FlattenedValue {
            rank: 1,
            table: 0,
            field: Field::InputMessages,
            key,
            attribute: None,
            value,
            used: Cell::new(false),
        }
    }

    fn json(flat: &mut [FlattenedValue<'_>]) -> String {
        let assembled: Vec<_> = assembled(flat).collect();
        let [(_, Value::Json(json))] = assembled.as_slice() else { panic!("no JSON") };
        json.clone().into_owned()
    }

    #[test]
    fn keys_become_what_they_were() {
        let mut keys = [
            flat("10.role", "c"),
            flat("2.role", "b"),
            flat("0.content", "say \"a\""),
            flat("0.role", "a"),
            flat("999999999999999999999999.role", "d"),
            flat("0.calls.1.name", "g"),
            flat("0.calls.0.name", "f"),
        ];
        assert_eq!(
            json(&mut keys),
            r#"[{"calls":[{"name":"f"},{"name":"g"}],"content":"say \"a\"","role":"a"},{"role":"b"},{"role":"c"},{"role":"d"}]"#
        );
        assert!(keys.iter().all(|flat| flat.used.get()));
    }

    #[test]
    fn what_cannot_stand_beside_the_rest_is_not_used() {
        let mut keys = [flat("0.role", "old"), flat("0", "leaf"), flat("0.role", "new"), flat("count", "1")];
        assert_eq!(json(&mut keys), r#"[{"role":"new"}]"#);
        let unused: Vec<_> = keys.iter().filter(|flat| !flat.used.get()).map(|flat| &flat.value).collect();
        assert_eq!(unused, [&Value::from("leaf"), &Value::from("old"), &Value::from("1")]);
    }

    #[test]
    fn only_what_the_dialect_knows_is_read() {
        let read = |key: &str, value: Value<'static>| MESSAGES.read(key, value);
        assert_eq!(read("0.role", "user".into()), Some("user".into()));
        assert_eq!(read("7.calls.12.name", Value::Int(3)), Some(Value::Int(3)));
        assert_eq!(read("0.content", "[1]".into()), Some(Value::Json("[1]".into())));
        for text in ["[1", "[1e999]", "{}", "plain"] {
            assert_eq!(read("0.content", text.into()), Some(text.into()));
        }
        for key in ["", "0", "0.", "role", "x.role", "-1.role", "0.role.x", "0.calls.name", "0..role"] {
            assert_eq!(read(key, "user".into()), None, "{key}");
        }
        assert_eq!((read("0.role", "".into()), read("0.role", Value::Json("{}".into()))), (None, None));
    }
}
