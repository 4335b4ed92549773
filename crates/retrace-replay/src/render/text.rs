//! Texts as streams have them.

use serde_json::{Map, Value};

/// Most bytes of a text in one event of a stream.
const PIECE: usize = 48;

/// Cuts a text into the pieces of a stream, at the ends of characters.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (0..=PIECE.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end))?;
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Arguments as the text that a model writes. A text that is JSON itself is written as a JSON string, else as it is.
pub(super) fn arguments(arguments: Option<&Value>) -> String {
    match arguments {
        None => String::new(),
        Some(Value::String(text)) if serde_json::from_str::<Value>(text).is_err() && !text.trim().is_empty() => {
            text.clone()
        }
        Some(value) => value.to_string(),
    }
}

/// Arguments as an object where they are one, else as the text that the model wrote.
pub(super) fn input(value: &Value) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        other => arguments(Some(other)).into(),
    }
}

/// An object of the members that have a value.
pub(super) fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

/// Sets a member of an object.
pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

/// A text as a value.
pub(super) fn text(text: Option<&String>) -> Option<Value> {
    text.map(|text| text.as_str().into())
}

/// A count as a value.
pub(super) fn count(count: Option<u64>) -> Option<Value> {
    count.map(Into::into)
}
