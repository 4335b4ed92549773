//! Objects of attributes, written without their credentials.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use genai_redact::{MARKER, Place};
use retrace_protocol::Json;
use retrace_protocol::json::{without_nul, without_refused_escapes};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use crate::json::redacted;
use crate::view::Value;

/// Builds a JSON object of attributes without their credentials; for a key that occurs twice the later value holds. Returns
/// `None` without attributes.
pub(crate) fn object<'k, 'v, V: Borrow<Value<'v>>>(attributes: impl Iterator<Item = (&'k str, V)>) -> Option<Json> {
    /// Number of entries that are compared one by one and stored inline; beyond it a map is used.
    const FEW: usize = 24;
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut entries: SmallVec<[(&str, V); FEW]> = SmallVec::new();
    // A bit for each key hash that occurred: a new bit means a new key, which need not be searched.
    let mut kinds = [0_u64; 4];
    attributes.for_each(|(key, value)| {
        let known = match entries.len() {
            _ if is_new_kind(&mut kinds, key) => None,
            ..=FEW => entries.iter().position(|(known, _)| *known == key),
            _ => places.get(key).copied(),
        };
        match known.and_then(|at| entries.get_mut(at)) {
            Some(entry) => entry.1 = value,
            None => {
                entries.push((key, value));
                if entries.len() == FEW + 1 {
                    places.extend(entries.iter().enumerate().map(|(at, (key, _))| (*key, at)));
                } else if entries.len() > FEW {
                    places.insert(key, entries.len() - 1);
                }
            }
        }
    });
    (!entries.is_empty()).then(|| Json::from_serialize(&Entries(&entries)))
}

/// Sets the bit of a cheap hash of the length and the last letters of a key; returns true if it was not set.
#[inline]
fn is_new_kind(kinds: &mut [u64; 4], key: &str) -> bool {
    let (before, last) = match key.as_bytes() {
        [.., before, last] => (*before, *last),
        [last] => (0, *last),
        [] => (0, 0),
    };
    #[allow(clippy::cast_possible_truncation)] // a part of the length distinguishes keys as well
    let length = key.len() as u8;
    let kind = length.wrapping_mul(31).wrapping_add(before).wrapping_mul(31).wrapping_add(last);
    let bit = 1 << (kind % 64);
    kinds.get_mut(usize::from(kind / 64)).is_some_and(|bits| {
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    })
}

/// Attributes that are written as an object. Each value is redacted by its key when it is written, so that the object need not
/// be read again.
struct Entries<'e, 'k, V>(&'e [(&'k str, V)]);

impl<'v, V: Borrow<Value<'v>>> Serialize for Entries<'_, '_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, &Redacted { key, value: value.borrow() })?;
        }
        map.end()
    }
}

/// The value of an attribute, written without its credentials.
struct Redacted<'e, 'v> {
    key: &'e str,
    value: &'e Value<'v>,
}

impl Redacted<'_, '_> {
    fn place(&self) -> Place {
        Place::of_attribute(self.key)
    }

    fn text<S: Serializer>(&self, text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        match self.place().text(&without_nul(text)) {
            Some(redacted) => serializer.serialize_str(&redacted),
            None => serializer.serialize_str(text),
        }
    }
}

impl Serialize for Redacted<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Str(text) => self.text(text, serializer),
            Value::Int(_) | Value::Float(_) if self.place().hides_numbers() => serializer.serialize_str(MARKER),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => self.value.serialize(serializer),
            Value::Json(text) => match Json::parse_strict(&without_refused_escapes(text)) {
                Some(json) => redacted(json, self.place()).serialize(serializer),
                None => self.text(text, serializer),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The object, written with its credentials and redacted afterwards.
    fn written_first(attributes: &[(String, Value<'static>)]) -> Option<Json> {
        let mut last: Vec<(&str, &Value<'_>)> = Vec::new();
        for (key, value) in attributes {
            match last.iter_mut().find(|(known, _)| known == key) {
                Some(entry) => entry.1 = value,
                None => last.push((key, value)),
            }
        }
        struct Plain<'a>(Vec<(&'a str, &'a Value<'a>)>);
        impl Serialize for Plain<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().copied())
            }
        }
        (!last.is_empty()).then(|| redacted(Json::from_serialize(&Plain(last)), Place::Attributes))
    }

    fn of(attributes: &[(String, Value<'static>)]) -> Option<Json> {
        object(attributes.iter().map(|(key, value)| (key.as_str(), value)))
    }

    #[test]
    fn values_are_redacted_by_their_keys() {
        let json = |text: &'static str| Value::Json(text.into());
        for (key, value, expected) in [
            ("app.api_key", Value::from("plain"), r#"{"app.api_key":"[redacted]"}"#),
            ("app.api_key", Value::from(""), r#"{"app.api_key":""}"#),
            ("app.api_key", Value::Int(7), r#"{"app.api_key":"[redacted]"}"#),
            ("app.api_key", Value::Float(f64::NAN), r#"{"app.api_key":"[redacted]"}"#),
            ("app.api_key", Value::Bool(true), r#"{"app.api_key":true}"#),
            ("app.api_key", json(r#"["a",{"b":1}]"#), r#"{"app.api_key":["[redacted]",{"b":"[redacted]"}]}"#),
            ("app.api_key", json("[1"), r#"{"app.api_key":"[redacted]"}"#),
            ("app.x", Value::Float(f64::INFINITY), r#"{"app.x":"inf"}"#),
            ("app.x", Value::from("key sk-abcdef1234567890\0"), "{\"app.x\":\"key [redacted]\u{FFFD}\"}"),
            ("app.x", json(r#"[{"api_key":"x"},"\ud800"]"#), r#"{"app.x":[{"api_key":"[redacted]"},"\ufffd"]}"#),
            ("app.x", json(r#"[{"api_key":"x"},1e999]"#), r#"{"app.x":"[{\"api_key\":\"[redacted]\"},1e999]"}"#),
            (
                "gen_ai.tool.call.arguments",
                json(r#"{"api_key":"x"}"#),
                r#"{"gen_ai.tool.call.arguments":{"api_key":"x"}}"#,
            ),
        ] {
            let attributes = [(key.to_owned(), value)];
            let object = of(&attributes);
            assert_eq!(object.as_ref().map(Json::as_str), Some(expected), "{attributes:?}");
            assert_eq!(object, written_first(&attributes), "{attributes:?}");
        }
        assert_eq!(of(&[]), None);
    }

    fn any_key() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "app.api_key",
            "http.request.header.authorization",
            "http.response.header.date",
            "llm.headers",
            "env",
            "url.query",
            "url.full",
            "exception.message",
            "input.value",
            "gen_ai.prompt",
            "gen_ai.tool.call.arguments",
            "llm.tools.0.properties",
            "a\0b",
        ]);
        prop_oneof![known.prop_map(str::to_owned), "[a-c]{0,2}", "[a-z.\"\u{e9}]{0,12}"]
    }

    fn any_text() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "sk-abcdef1234567890",
            "Bearer abcdef1234567890",
            "https://u:p@h/?key=1&a=2",
            "API key: abc",
            r#"{"api_key":"x","a":[1.50,"\u00e9"]}"#,
            r#"[{"messages":[{"content":"sk-abcdef1234567890"}]}]"#,
            r#"{"api_key":"x""#,
            r#"{"a":1e999,"password":1}"#,
            "None",
            "\0",
        ]);
        prop_oneof![known.prop_map(str::to_owned), any::<String>()]
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            any_text().prop_map(serde_json::Value::from),
        ];
        let any = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                // Redacting the whole object writes names anew, which changes their escapes.
                prop::collection::btree_map("api_key|env|message|[a-c]{0,2}", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        });
        any.prop_map(|json| json.to_string())
    }

    fn any_value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_map(Value::Float),
            any_text().prop_map(|text| Value::Str(text.into())),
            any_text().prop_map(|text| Value::Json(text.into())),
            any_json().prop_map(|text| Value::Json(text.into())),
        ]
    }

    proptest! {
        #[test]
        fn an_object_is_what_redacting_it_afterwards_makes_of_it(
            attributes in prop::collection::vec((any_key(), any_value()), 0..40),
        ) {
            prop_assert_eq!(of(&attributes), written_first(&attributes));
        }
    }
}
