//! Values that a dialect nests in one JSON object: usage, cost or parameters.

use std::borrow::Cow;

use retrace_protocol::message::decode;
use serde_json::value::RawValue;

use crate::fields::{Field, Fields};
use crate::json::{JsonObject, elements};
use crate::view::Value;

/// A key whose value is an object, and the fields that its members fill.
#[derive(Debug)]
pub(crate) struct Nested {
    pub key: &'static str,
    pub members: &'static [(&'static str, Field)],
}

impl Nested {
    /// Returns the members that fill a field; none if the value is no object. A member is a path of names and indexes, such as
    /// `replies/0/meta`; the empty path is the whole value. Python's text form of an object of numbers is read as well.
    pub(crate) fn read<'a>(&self, value: &Value<'a>) -> Vec<(Field, Value<'a>)> {
        match value {
            Value::Str(text) if text.starts_with("{'") => {
                let json = text.replace('\'', "\"").replace(": None", ": null").replace(": True", ": true");
                self.placed(&json.replace(": False", ": false"))
                    .map(|(field, value)| (field, value.into_owned()))
                    .collect()
            }
            Value::Str(Cow::Borrowed(text)) | Value::Json(Cow::Borrowed(text)) => self.placed(text).collect(),
            Value::Str(Cow::Owned(text)) | Value::Json(Cow::Owned(text)) => {
                self.placed(text).map(|(field, value)| (field, value.into_owned())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns true if the record carries every member of the value.
    pub(crate) fn is_consumed(&self, value: &Value<'_>, fields: &Fields<'_>) -> bool {
        let Some(text) = value.as_json_text() else { return false };
        let has_whole =
            |field| fields.is_consumed(field) && fields.value(field).and_then(Value::as_json_text) == Some(text);
        let whole = self.members.iter().find(|(member, _)| member.is_empty()).map(|(_, field)| *field);
        if whole.is_some_and(|field| [field, Field::Input, Field::Output].into_iter().any(has_whole)) {
            return true;
        }
        let Some(members) = JsonObject::read(text) else { return false };
        members.into_entries().iter().all(|(name, raw)| {
            let field = self.members.iter().find(|(member, _)| member == name).map(|(_, field)| *field);
            field.is_some_and(|field| fields.is_consumed(field) && fields.value(field) == plain(raw).as_ref())
        })
    }

    fn placed<'a>(&self, text: &'a str) -> impl Iterator<Item = (Field, Value<'a>)> {
        let members = JsonObject::read(text);
        self.members.iter().filter_map(move |(member, field)| {
            let members = members.as_ref()?;
            let value = match member.split_once('/') {
                _ if member.is_empty() => Value::Json(Cow::Borrowed(text)),
                Some((first, rest)) => plain(below(members.get(&[first])?, rest)?)?,
                None => plain(members.get(&[member])?)?,
            };
            Some((*field, value))
        })
    }
}

/// Returns the value at a path of names and indexes.
fn below<'a>(raw: &'a RawValue, path: &str) -> Option<&'a RawValue> {
    path.split('/').try_fold(raw, |raw, name| match name.parse::<usize>() {
        Ok(at) => elements(raw)?.get(at).copied(),
        Err(_) => JsonObject::read(raw.get())?.get(&[name]),
    })
}

/// Returns the value as an attribute would have it; `None` for `null`.
fn plain(raw: &RawValue) -> Option<Value<'_>> {
    let text = raw.get();
    Some(match text.as_bytes().first()? {
        b'"' => Value::Str(decode(raw)),
        b'{' | b'[' => Value::Json(Cow::Borrowed(text)),
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        b'n' => return None,
        _ => match text.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Float(text.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Nested = Nested {
        key: "usage",
        members: &[("in", Field::InputTokens), ("input", Field::InputTokens), ("why", Field::FinishReasons)],
    };

    #[test]
    fn members_come_out_as_attributes_would() {
        let read = USAGE.read(&Value::from(r#"{"in":7,"input":null,"why":["a"],"other":1}"#));
        assert_eq!(
            read,
            [(Field::InputTokens, Value::Int(7)), (Field::FinishReasons, Value::Json(r#"["a"]"#.into())),]
        );
        for other in [Value::from("text"), Value::from("[1]"), Value::from(r#"{"in":"#), Value::Int(1)] {
            assert!(USAGE.read(&other).is_empty(), "{other:?}");
        }
        assert_eq!(
            USAGE.read(&Value::Json(r#"{"why":"a\nb"}"#.to_owned().into())),
            [(Field::FinishReasons, "a\nb".into())]
        );
    }
}
