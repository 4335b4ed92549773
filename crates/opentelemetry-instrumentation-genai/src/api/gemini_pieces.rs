//! Arguments of Gemini's function calls that arrive in pieces, each with its JSON path.

use serde_json::{Map, Value};

use crate::json::Json;
use crate::response::ChoiceMut;

/// Maximum number of elements that a path may add to a list; a longer path is ignored.
const MAX_INDEX: usize = 4096;

/// Reads a function call, or what a chunk adds to one: only the first chunk has the name.
pub(super) fn call(call: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    let name = call.get("name").filled();
    let last = answer.calls().last().map(|(key, _)| key);
    let key = match (name, last) {
        (None, Some(last)) => last,
        _ => answer.next_key(),
    };
    let pieces = call.first(&["partialArgs", "partial_args"]).items();
    let goes_on = call.first(&["willContinue", "will_continue"]).as_bool() == Some(true);
    let arguments = call.get("args");
    // The arguments of an open call are a start, to which pieces are added.
    let begun = !pieces.is_empty() || (goes_on && arguments.is_object());
    let written = if begun { String::new() } else { super::openai::arguments(arguments) };
    if name.is_some() || last.is_some() || !written.is_empty() || begun {
        answer.tool_call(key, call.get("id").filled(), name, Some(&written));
    }
    if begun {
        let kept: Vec<(&str, Value)> = pieces.iter().filter_map(|piece| read(piece, answer)).collect();
        let first = || arguments.to_value();
        if let Some(place) = answer.pieces(key, first) {
            kept.into_iter().for_each(|(path, value)| set(place, path, value));
        }
    }
    if !goes_on && name.is_none() {
        answer.close_pieces(key);
    }
}

/// Returns the path of a piece and its value.
fn read<'a>(piece: &'a Json<'_>, answer: &mut ChoiceMut<'_>) -> Option<(&'a str, Value)> {
    let path = piece.first(&["jsonPath", "json_path"]).as_str()?;
    let value = match piece.first(&["stringValue", "string_value"]).as_str() {
        Some(text) => answer.take(text).into(),
        None => piece.first(&["numberValue", "number_value", "boolValue", "bool_value"]).to_value(),
    };
    Some((path, value))
}

/// Sets a value at a path such as `$.places[0].name`. Texts of one path are joined.
fn set(root: &mut Value, path: &str, value: Value) {
    let mut place = root;
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    while !rest.is_empty() {
        let Some((step, after)) = step(rest) else { return };
        rest = after;
        place = match step {
            Step::Member(name) => {
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                let Value::Object(members) = place else { return };
                members.entry(name).or_insert(Value::Null)
            }
            Step::Element(index) => {
                if index > MAX_INDEX {
                    return;
                }
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let Value::Array(items) = place else { return };
                if items.len() <= index {
                    items.resize(index + 1, Value::Null);
                }
                let Some(item) = items.get_mut(index) else { return };
                item
            }
        };
    }
    match (place, value) {
        (Value::String(text), Value::String(more)) => text.push_str(&more),
        (place, value) => *place = value,
    }
}

enum Step {
    Member(String),
    Element(usize),
}

/// Splits a path into its first step and the rest: `.name`, `[0]`, `['name']` or `name`.
fn step(path: &str) -> Option<(Step, &str)> {
    if let Some(inner) = path.strip_prefix('[') {
        for quote in ['\'', '"'] {
            if let Some(quoted) = inner.strip_prefix(quote) {
                let (name, rest) = quoted.split_once(quote)?;
                return Some((Step::Member(name.to_owned()), rest.strip_prefix(']')?));
            }
        }
        let (index, rest) = inner.split_once(']')?;
        return Some((Step::Element(index.parse().ok()?), rest));
    }
    let name = path.strip_prefix('.').unwrap_or(path);
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (name, rest) = name.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    Some((Step::Member(name.to_owned()), rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_are_put_where_their_paths_lead() {
        let mut root = Value::Null;
        for (path, value) in [
            ("$.a.b", json!("x")),
            ("$.a.b", json!("y")),
            ("$.list[1]['k.1']", json!(2)),
            ("$.list[0]", json!(true)),
            ("$.list[999999999]", json!(0)),
            ("$.list[x]", json!(0)),
            ("$..", json!(0)),
        ] {
            set(&mut root, path, value);
        }
        assert_eq!(root, json!({ "a": { "b": "xy" }, "list": [true, { "k.1": 2 }] }));
    }
}
