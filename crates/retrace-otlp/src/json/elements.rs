//! Lists of messages, in which a malformed record does not affect the others.

use std::fmt;

use retrace_protocol::json::without_lone_surrogates;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Message, Of};

/// Number of records that cannot be decoded, and the reason of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Number of records.
    pub count: u64,
    /// Reason of the first, at most 300 characters.
    pub reason: Option<String>,
}

/// Longest reason, in characters.
const REASON_CHARS: usize = 300;

impl Unreadable {
    /// Adds the records that `other` counts.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.reason = self.reason.take().or(other.reason);
    }

    /// Creates the count of one record with its reason.
    pub fn one(reason: &dyn fmt::Display) -> Self {
        Self { count: 1, reason: Some(reason.to_string().chars().take(REASON_CHARS).collect()) }
    }
}

/// The non-empty elements of a list, the number of empty ones, and the records that cannot be decoded.
#[derive(Debug)]
pub(crate) struct Elements<T> {
    pub(crate) those: Vec<T>,
    pub(crate) left_out: u64,
    pub(crate) unreadable: Unreadable,
}

impl<T> Elements<T> {
    /// Returns true if the list has elements or errors.
    pub(super) fn has_something(&self) -> bool {
        !self.those.is_empty() || self.left_out > 0 || self.unreadable.count > 0
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.those.append(&mut other.those);
        self.left_out += other.left_out;
        self.unreadable.add(other.unreadable);
    }
}

impl<T> Default for Elements<T> {
    fn default() -> Self {
        Self { those: Vec::new(), left_out: 0, unreadable: Unreadable::default() }
    }
}

impl<'de, T: Message> Deserialize<'de> for Elements<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct List<T>(Elements<T>);

        impl<'de, T: Message> Visitor<'de> for List<T> {
            type Value = Elements<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(self.0)
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
                let elements = &mut self.0;
                loop {
                    let element = if T::IS_RECORD {
                        let Some(raw) = list.next_element::<&RawValue>()? else { break };
                        match alone::<T>(raw) {
                            Ok(element) => element,
                            Err(unreadable) => {
                                elements.unreadable.add(unreadable);
                                continue;
                            }
                        }
                    } else {
                        let Some(element) = list.next_element::<Option<Of<T>>>()? else { break };
                        element.map(|Of(element)| element)
                    };
                    match element {
                        Some(element) if element.says_something() => elements.those.push(element),
                        _ => elements.left_out += 1,
                    }
                }
                Ok(self.0)
            }
        }

        reader.deserialize_any(List(Self::default()))
    }
}

/// A message that several records share, such as a resource. If it cannot be decoded, it is absent with a reason; the
/// count is 0 because no record is lost.
#[derive(Clone, Debug)]
pub(crate) struct Shared<T> {
    pub(crate) message: Option<T>,
    pub(crate) unreadable: Unreadable,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { message: None, unreadable: Unreadable::default() }
    }
}

impl<'de, T: Message> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        Ok(match alone(<&RawValue>::deserialize(reader)?) {
            Ok(message) => Self { message, unreadable: Unreadable::default() },
            Err(unreadable) => Self { message: None, unreadable: Unreadable { count: 0, ..unreadable } },
        })
    }
}

/// Decodes one message; returns `None` for `null`.
fn alone<T: Message>(raw: &RawValue) -> Result<Option<T>, Unreadable> {
    let read = |text: &str| -> Result<Option<T>, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = serde_path_to_error::deserialize::<_, Option<Of<T>>>(&mut reader);
        read.map(|element| element.map(|Of(element)| element))
            .map_err(|error| format!("{}, at {}", error.inner(), error.path()))
    };
    let text = raw.get();
    // Serde also deserializes a struct from an array, field by field; a message must be an object.
    if text.starts_with('[') {
        return Err(Unreadable::one(&"a message is an object"));
    }
    read(text).or_else(|reason| match without_lone_surrogates(text) {
        std::borrow::Cow::Owned(mended) => read(&mended).map_err(|reason| Unreadable::one(&reason)),
        std::borrow::Cow::Borrowed(_) => Err(Unreadable::one(&reason)),
    })
}

pub(super) fn list<'de, D: Deserializer<'de>, T: Message>(reader: D) -> Result<Vec<T>, D::Error> {
    Ok(Elements::deserialize(reader)?.those)
}
