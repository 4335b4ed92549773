//! JSON objects whose values are read on demand.

use std::borrow::Cow;
use std::fmt;

use retrace_protocol::message::Text;
use retrace_protocol::parse;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::json::{label_of, text_of};

/// Members of a JSON object, in order, each as its text.
///
/// Unlike a struct with a field for each name, it accepts an object that has one member under two spellings.
#[derive(Debug)]
pub(crate) struct JsonObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> JsonObject<'a> {
    /// Reads an object; returns `None` for anything else. Costs one pass.
    pub(crate) fn read(json: &'a str) -> Option<Self> {
        json.trim_start().starts_with('{').then(|| parse::from_str(json)).flatten()
    }

    /// Returns the value of the first of these names that is present and not `null`.
    pub(crate) fn get(&self, names: &[&str]) -> Option<&'a RawValue> {
        names.iter().find_map(|name| {
            let of_name = self.0.iter().rev().find(|(key, _)| key == name);
            of_name.map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
        })
    }

    /// Returns the value of the first of these names if it is a text.
    pub(crate) fn text(&self, names: &[&str]) -> Option<Text<'a>> {
        self.get(names).and_then(text_of)
    }

    /// Returns the value of the first of these names if it is a short text or a number.
    pub(crate) fn label(&self, names: &[&str]) -> Option<Cow<'a, str>> {
        self.get(names).and_then(label_of)
    }

    /// Returns the value of the first of these names if it is an object.
    pub(crate) fn object(&self, names: &[&str]) -> Option<JsonObject<'a>> {
        JsonObject::read(self.get(names)?.get())
    }

    /// Returns the elements of the value of the first of these names if it is a list.
    pub(crate) fn list(&self, names: &[&str]) -> Option<Vec<&'a RawValue>> {
        elements(self.get(names)?)
    }

    /// Returns the number of members.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the members, in order.
    pub(crate) fn entries(&self) -> &[(Cow<'a, str>, &'a RawValue)] {
        &self.0
    }

    /// Returns the members, in order.
    pub(crate) fn into_entries(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.0
    }
}

/// Returns the elements of a list; `None` for anything else.
pub(crate) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| parse::from_str(raw.get())).flatten()
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = JsonObject<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(JsonObject(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
