//! Redaction of a JSON tree in place.

use serde_json::Value;

use crate::{MARKER, Place};

/// Replaces the credentials of a value that stands here. Costs one walk.
pub fn value(value: &mut Value, place: Place) {
    match value {
        Value::String(text) => {
            if let Some(redacted) = place.text(text) {
                *text = redacted;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| self::value(item, place.element())),
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| self::value(value, place.member(name))),
        Value::Number(_) if place.hides_numbers() => *value = MARKER.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
