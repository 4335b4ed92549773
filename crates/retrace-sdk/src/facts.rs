//! Facts of a run or a step on their way into attributes.

use std::collections::BTreeSet;

use opentelemetry::{Array, Key, KeyValue, StringValue, Value as Attribute};
use serde_json::{Map, Value as Json};

use crate::attributes;
use crate::value::Value;

/// Most metadata keys of one run or step. Further keys are dropped.
pub const METADATA_KEYS: usize = 1_024;
/// Metadata values that become attributes of their own. The others share one attribute, since providers limit the attributes
/// of a span.
const OWN_ATTRIBUTES: usize = 32;
/// Most tags of one run or step. Further tags are dropped.
pub(crate) const TAGS: usize = 256;

/// Facts that were stated and are not in attributes yet.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    attributes: Vec<KeyValue>,
    is_truncated: bool,
    /// Most runs and steps have neither metadata nor tags.
    labels: Option<Box<Labels>>,
}

/// Metadata and tags. They are kept when they become attributes, to be merged with later ones.
#[derive(Debug, Default)]
struct Labels {
    metadata: Map<String, Json>,
    tags: Vec<String>,
    /// Metadata that was stated since the last time.
    changed: BTreeSet<String>,
    /// Metadata that has an attribute of its own.
    own: BTreeSet<String>,
    /// Metadata that stands in the shared attribute.
    shared: BTreeSet<String>,
    has_new_tags: bool,
}

impl Facts {
    /// Facts with room for so many attributes.
    pub(crate) fn with_capacity(attributes: usize) -> Self {
        Self { attributes: Vec::with_capacity(attributes), ..Self::default() }
    }

    /// Sets an attribute, in place of an earlier value that was not taken yet.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Attribute>) {
        let value = value.into();
        match self.attributes.iter_mut().find(|pair| pair.key.as_str() == key) {
            Some(pair) => pair.value = value,
            None => self.attributes.push(KeyValue::new(key, value)),
        }
    }

    /// Sets an attribute that counts something.
    pub(crate) fn set_count(&mut self, key: &'static str, count: Option<u64>) {
        if let Some(count) = count.and_then(|count| i64::try_from(count).ok()) {
            self.set(key, count);
        }
    }

    /// The status that was stated since the start.
    pub(crate) fn status(&self) -> Option<&str> {
        let status = self.attributes.iter().find(|pair| pair.key.as_str() == attributes::STATUS);
        status.and_then(|pair| match &pair.value {
            Attribute::String(status) => Some(status.as_str()),
            _ => None,
        })
    }

    /// Hash of the input that was stated since the start, as enforcement checks state it.
    pub(crate) fn arguments_hash(&self) -> Option<String> {
        let input = self.attributes.iter().find(|pair| pair.key.as_str() == attributes::INPUT)?;
        let Attribute::String(text) = &input.value else { return None };
        let arguments = serde_json::from_str(text.as_str()).unwrap_or_else(|_| text.as_str().into());
        Some(retrace_replay::arguments_hash(&arguments))
    }

    /// Adds attributes that are not there yet.
    pub(crate) fn add(&mut self, attributes: impl IntoIterator<Item = KeyValue>) {
        self.attributes.extend(attributes);
    }

    /// Adds what was stated elsewhere. Of what both state the other's holds.
    pub(crate) fn merge(&mut self, other: Self) {
        for pair in other.attributes {
            match self.attributes.iter_mut().find(|own| own.key == pair.key) {
                Some(own) => own.value = pair.value,
                None => self.attributes.push(pair),
            }
        }
        if let Some(other) = other.labels {
            let labels = self.labels.get_or_insert_default();
            for (key, value) in other.metadata {
                labels.metadata.insert(key.clone(), value);
                labels.changed.insert(key);
            }
            other.tags.into_iter().for_each(|tag| self.tag(tag));
        }
        self.is_truncated |= other.is_truncated;
    }

    /// Sets an attribute that holds recorded content.
    pub(crate) fn set_value(&mut self, key: &'static str, value: Value) {
        self.is_truncated |= value.is_cut();
        self.set(key, value.into_attribute());
    }

    pub(crate) fn metadata(&mut self, key: String, value: Value) {
        let labels = self.labels.get_or_insert_default();
        if key.is_empty() || (labels.metadata.len() >= METADATA_KEYS && !labels.metadata.contains_key(&key)) {
            return;
        }
        self.is_truncated |= value.is_cut();
        labels.metadata.insert(key.clone(), value.into_json());
        labels.changed.insert(key);
    }

    pub(crate) fn tag(&mut self, tag: String) {
        let labels = self.labels.get_or_insert_default();
        if labels.tags.len() < TAGS && !labels.tags.contains(&tag) {
            labels.tags.push(tag);
            labels.has_new_tags = true;
        }
    }

    /// Attributes for everything that was stated since the last call. Metadata and tags are kept, to be merged with later ones.
    pub(crate) fn take(&mut self) -> Vec<KeyValue> {
        let mut attributes = std::mem::take(&mut self.attributes);
        if let Some(labels) = &mut self.labels {
            labels.take(&mut attributes);
        }
        if std::mem::take(&mut self.is_truncated) {
            attributes.push(KeyValue::new(attributes::TRUNCATED, true));
        }
        attributes
    }
}

impl Labels {
    /// Adds attributes for what was stated since the last call.
    fn take(&mut self, attributes: &mut Vec<KeyValue>) {
        if std::mem::take(&mut self.has_new_tags) {
            let tags = self.tags.iter().cloned().map(StringValue::from).collect();
            attributes.push(KeyValue::new(attributes::TAGS, Attribute::Array(Array::String(tags))));
        }
        let mut has_shared = false;
        for key in std::mem::take(&mut self.changed) {
            let scalar = self.metadata.get(&key).and_then(scalar);
            let has_room = self.own.contains(&key) || self.own.len() < OWN_ATTRIBUTES;
            match scalar.filter(|_| has_room && !self.shared.contains(&key)) {
                Some(value) => {
                    attributes.push(KeyValue::new(Key::from(format!("{}.{key}", attributes::METADATA)), value));
                    self.own.insert(key);
                }
                None => {
                    self.shared.insert(key);
                    has_shared = true;
                }
            }
        }
        if has_shared {
            let of = |key: &String| Some((key.clone(), self.metadata.get(key)?.clone()));
            let shared: Map<String, Json> = self.shared.iter().filter_map(of).collect();
            attributes.push(KeyValue::new(attributes::METADATA, Json::Object(shared).to_string()));
        }
    }
}

/// The attribute of a value that has an exact form as one.
fn scalar(value: &Json) -> Option<Attribute> {
    match value {
        Json::Bool(value) => Some(Attribute::Bool(*value)),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Some(Attribute::I64(whole)),
            None if number.is_f64() => number.as_f64().map(Attribute::F64),
            None => None,
        },
        Json::String(text) => Some(Attribute::String(text.clone().into())),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}
