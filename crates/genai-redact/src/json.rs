//! Redaction of JSON texts: one pass that looks, and a copy only where something is found.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::{MARKER, Place};

/// Returns the JSON text with its credentials replaced, or `None` where it has none or is no JSON.
///
/// Members keep their order and numbers their digits. Costs one pass without a copy where nothing is found; a document with a
/// credential is read once more for each level of nesting.
#[must_use]
pub fn json(text: &str, place: Place) -> Option<String> {
    if find(text, place, DEPTH)? { rewrite(text, place, DEPTH) } else { None }
}

/// Returns whether [`json`] finds a credential, or `None` for a text that is no JSON. Writes nothing.
///
/// ```
/// use genai_redact::{Place, has_credential};
///
/// assert_eq!(has_credential(r#"{"api_key":"hunter2"}"#, Place::Body), Some(true));
/// assert_eq!(has_credential(r#"{"model":"m"}"#, Place::Body), Some(false));
/// assert_eq!(has_credential("{", Place::Body), None);
/// ```
#[must_use]
pub fn has_credential(text: &str, place: Place) -> Option<bool> {
    find(text, place, DEPTH)
}

/// JSON texts that stand in each other and are read as JSON, at most.
pub(crate) const DEPTH: u8 = 8;

/// [`json`] for a text that begins as JSON does: one that was cut, or stands too deep, is redacted by the words in it.
pub(crate) fn part(text: &str, place: Place, depth: u8) -> Option<String> {
    match depth.checked_sub(1).and_then(|depth| find(text, place, depth)) {
        Some(true) => rewrite(text, place, depth - 1),
        Some(false) => None,
        None => crate::text::by_words(text),
    }
}

/// Returns true if [`part`] finds a credential. Writes nothing, so that each level of texts in texts is read once.
pub(crate) fn has_part(text: &str, place: Place, depth: u8) -> bool {
    match depth.checked_sub(1).and_then(|depth| find(text, place, depth)) {
        Some(found) => found,
        None => crate::text::by_words(text).is_some(),
    }
}

/// Returns `None` for a text that is no JSON.
fn find(text: &str, place: Place, depth: u8) -> Option<bool> {
    let found = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Find { place, depth, found: &found }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(found.get())
}

fn rewrite(text: &str, place: Place, depth: u8) -> Option<String> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    serde_json::to_string(&Redacted { raw, place, depth }).ok()
}

/// Looks for a credential in a value that stands here.
#[derive(Clone, Copy)]
struct Find<'f> {
    place: Place,
    depth: u8,
    found: &'f Cell<bool>,
}

impl Find<'_> {
    fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    fn text(self, text: &str) {
        if self.place.has_in(text, self.depth) {
            self.found.set(true);
        }
    }

    fn number<E>(self) -> Result<(), E> {
        if self.place.hides_numbers() {
            self.found.set(true);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.found.get() || self.place == Place::Verbatim {
            return IgnoredAny::deserialize(deserializer).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.number()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.number()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.number()
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.at(self.place.element()))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = members.next_key()? {
            members.next_value_seed(self.at(self.place.member(&name)))?;
        }
        Ok(())
    }
}

/// A value that stands here, written without its credentials.
struct Redacted<'a> {
    raw: &'a RawValue,
    place: Place,
    depth: u8,
}

impl Serialize for Redacted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { raw, place, depth } = *self;
        if place == Place::Verbatim {
            return raw.serialize(serializer);
        }
        match raw.get().as_bytes().first() {
            Some(b'{') => {
                let Ok(Entries(entries)) = serde_json::from_str(raw.get()) else { return raw.serialize(serializer) };
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, raw) in entries {
                    map.serialize_entry(&name, &Self { raw, place: place.member(&name), depth })?;
                }
                map.end()
            }
            Some(b'[') => {
                let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
                    return raw.serialize(serializer);
                };
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for raw in items {
                    list.serialize_element(&Self { raw, place: place.element(), depth })?;
                }
                list.end()
            }
            Some(b'"') => {
                let redacted =
                    serde_json::from_str::<Cow<'_, str>>(raw.get()).ok().and_then(|text| place.text_in(&text, depth));
                match redacted {
                    Some(text) => serializer.serialize_str(&text),
                    None => raw.serialize(serializer),
                }
            }
            Some(b'-' | b'0'..=b'9') if place.hides_numbers() => serializer.serialize_str(MARKER),
            _ => raw.serialize(serializer),
        }
    }
}

/// The members of an object, in order.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key, borrowed where it has no escape.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Key(name), raw)) = map.next_entry()? {
                    entries.push((name, raw));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The text redacted, whose tree is redacted alike.
    fn redacted(document: &Value, place: Place) -> Option<Value> {
        let text = json(&document.to_string(), place);
        let mut tree = document.clone();
        crate::value(&mut tree, place);
        let text = text.map(|text| serde_json::from_str(&text).unwrap());
        assert_eq!(text.as_ref().unwrap_or(document), &tree);
        text
    }

    #[test]
    fn credentials_of_a_body_are_replaced_wherever_it_has_them() {
        let secret = "c4n4ry";
        let body = json!({
            "tools": [{ "type": "mcp", "server_url": format!("https://u:{secret}@h/sse?key={secret}&a=1"), "authorization": secret, "headers": { "X": secret } },
                { "type": "function", "function": { "name": "get_api_key", "parameters": { "type": "object", "required": ["api_key"],
                    "properties": { "api_key": { "type": "string", "default": secret }, "headers": { "type": "object" } } } } }],
            "data_sources": [{ "parameters": { "authentication": { "type": "api_key", "key": secret } } }],
            "mcp_servers": [{ "name": "s", "authorization_token": secret, "env": { "A": secret } }],
            "error": { "message": format!("Incorrect API key provided: {secret}. See https://h?key={secret}"), "code": "invalid_api_key" },
            "metadata": format!("{{\"api_key\":\"{secret}\"}}"),
            "password": 1234,
            "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": format!("https://h/a.png?X-Amz-Signature={secret}") } }] }],
        });
        let redacted = redacted(&body, Place::Body).unwrap();
        assert!(!redacted.to_string().contains(secret), "{redacted:#}");
        assert_eq!(redacted["tools"][0]["server_url"], "https://[redacted]@h/sse?key=[redacted]&a=1");
        assert_eq!(
            redacted["tools"][1]["function"]["parameters"]["properties"]["headers"],
            json!({ "type": "object" })
        );
        assert_eq!(
            redacted["data_sources"][0]["parameters"]["authentication"],
            json!({ "type": "api_key", "key": "[redacted]" })
        );
        assert_eq!(
            redacted["error"]["message"],
            "Incorrect API key provided: [redacted]. See https://h?key=[redacted]"
        );
        assert_eq!(
            (&redacted["metadata"], &redacted["password"]),
            (&json!("{\"api_key\":\"[redacted]\"}"), &json!("[redacted]"))
        );
        assert_eq!(json(&redacted.to_string(), Place::Body), None, "once");
    }

    #[test]
    fn a_conversation_stays_as_it_is() {
        let body = json!({
            "messages": [{ "role": "user", "content": "My key is sk-abcdef1234567890, password: hunter2, https://u:p@h/?key=1" },
                { "role": "assistant", "tool_calls": [{ "function": { "name": "login", "arguments": { "password": "p", "headers": { "Authorization": "Bearer abcdef123456" } } } }] },
                { "role": "tool", "content": "token: abcdef123456" }],
            "input": [{ "type": "function_call_output", "output": { "api_key": "sk-abcdef1234567890" } }],
            "contents": [{ "parts": [{ "functionCall": { "args": { "secret": "s" } } }, { "functionResponse": { "response": { "secret": "s" } } }] }],
            "choices": [{ "message": { "content": "Bearer abcdef1234567890abcd" } }],
            "tool_schemas": { "properties": { "password": { "type": "string", "description": "the password" } } },
            "usage": { "prompt_tokens": 1 }, "next_page_token": "abc123def",
        });
        assert_eq!(redacted(&body, Place::Body), None);
        assert_eq!(redacted(&json!({ "password": "p", "a": "sk-abcdef1234567890" }), Place::Verbatim), None);
    }

    #[test]
    fn order_digits_and_what_is_no_json_stay() {
        let text = r#"{"z":1.000000000000000000001,"api_key":"x","a":[10000000000000000000000]}"#;
        let expected = r#"{"z":1.000000000000000000001,"api_key":"[redacted]","a":[10000000000000000000000]}"#;
        assert_eq!(json(text, Place::Body).as_deref(), Some(expected));
        for other in ["", "api_key", r#"{"api_key":"x""#, r#"{"api_key":"x"} and"#] {
            assert_eq!(json(other, Place::Body), None, "{other}");
        }
    }

    /// Each level would double the work if texts in texts were read again for each text around them.
    #[test]
    fn texts_in_texts_are_read_once_for_each_level() {
        let mut text = json!({ "api_key": "c4n4ry", "pad": "x".repeat(100_000) }).to_string();
        for _ in 0..14 {
            text = json!({ "metadata": text }).to_string();
        }
        let redacted = json(&text, Place::Body).unwrap();
        assert!(!redacted.contains("c4n4ry"), "beyond the depth it is found by the words before it");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let names = "(api_key|headers|properties|error|message|messages|arguments|url|env|authentication|type|x|text)";
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "(sk-)?[a-z0-9\"\u{e9}]{0,14}|https://a:b@c/\\?key=d|\\{\"api_key\":\"x\"\\}".prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(names, inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn texts_and_trees_are_redacted_alike_and_once(document in any_json()) {
            for place in [Place::Body, Place::Item, Place::Content, Place::Error, Place::Recorded] {
                if let Some(once) = redacted(&document, place) {
                    prop_assert_eq!(redacted(&once, place), None, "{:?}", place);
                }
            }
        }
    }
}
