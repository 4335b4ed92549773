//! JSON documents that borrow from the bytes they were read from.

mod truncator;
mod unread_path;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use self::truncator::elements_cut;
pub(crate) use self::truncator::{TruncationLimits, Truncator, bytes_cut, cut_mark};
pub use self::unread_path::UnreadPath;

/// A JSON value as a provider sent it, after long texts were cut, and lists at the paths of
/// [`Api::unread`](crate::Api::unread).
///
/// A value that is absent, or has another type than requested, is [`Json::Null`] or `None`: providers omit and rename fields,
/// and a reader only needs what is present.
///
/// ```
/// use opentelemetry_instrumentation_genai::Json;
///
/// let json = Json::parse(br#"{"usage":{"prompt_tokens":12},"model":"m"}"#).unwrap();
/// assert_eq!(json.get("usage").get("prompt_tokens").as_u64(), Some(12));
/// assert_eq!(json.get("usage").get("total_tokens").as_u64(), None);
/// assert_eq!(json.get("model").as_str(), Some("m"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`, and absent values.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    Array(Vec<Json<'a>>),
    /// An object, its members in order.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

static NULL: Json<'static> = Json::Null;

impl<'a> Json<'a> {
    /// Parses a document; returns `None` for invalid JSON.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns a member of an object; for a duplicate key the last one.
    #[must_use]
    pub fn get(&self, key: &str) -> &Json<'a> {
        let Self::Object(members) = self else { return &NULL };
        members.iter().rev().find_map(|(name, value)| (name == key).then_some(value)).unwrap_or(&NULL)
    }

    /// Returns the value at a path of member names; null if it is absent.
    pub(crate) fn at(&self, path: &[&str]) -> &Json<'a> {
        path.iter().fold(self, |value, name| value.get(name))
    }

    /// Returns the first of several members that is present and not null.
    #[must_use]
    pub fn first(&self, keys: &[&str]) -> &Json<'a> {
        keys.iter().map(|key| self.get(key)).find(|value| !value.is_null()).unwrap_or(&NULL)
    }

    /// Returns the elements of a list; none for other values.
    #[must_use]
    pub fn items(&self) -> &[Json<'a>] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// Returns the members of an object; none for other values.
    #[must_use]
    pub fn members(&self) -> &[(Cow<'a, str>, Json<'a>)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// Returns true if it is null or absent.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns true for an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Returns true for a list.
    #[must_use]
    pub fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// Returns a text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a text that is not empty.
    #[must_use]
    pub fn filled(&self) -> Option<&str> {
        self.as_str().filter(|text| !text.is_empty())
    }

    /// Returns a non-negative integer, also one with a fraction of zero.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i64().and_then(|number| u64::try_from(number).ok()).or_else(|| match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        })
    }

    /// Returns a count: a non-negative integer, also one that is written as a text.
    pub(crate) fn to_count(&self) -> Option<u64> {
        let text = || self.as_str().map(str::trim);
        self.as_u64().or_else(|| text()?.parse().ok()).or_else(|| {
            let number = Number::from_f64(text()?.parse().ok()?)?;
            Json::Number(number).as_u64()
        })
    }

    /// Returns an integer, also one with a fraction of zero.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: above it an f64 is no count
        let Self::Number(number) = self else { return None };
        number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
            #[allow(clippy::cast_possible_truncation)] // it is whole and within 2^53
            Some(float as i64)
        })
    }

    /// Returns a finite number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64().filter(|float| float.is_finite()),
            _ => None,
        }
    }

    /// Returns a boolean.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// Returns the number of elements that the list had before it was cut.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        let Self::Array(items) = self else { return None };
        let cut = items.last().and_then(Self::as_str).and_then(elements_cut);
        let kept = items.len() - usize::from(cut.is_some());
        u64::try_from(kept).ok()?.checked_add(cut.unwrap_or(0))
    }

    /// Copies the value into one that borrows nothing.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.to_string()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => {
                Value::Object(members.iter().map(|(key, value)| (key.to_string(), value.to_value())).collect())
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<Key<'de>, Json<'de>>()? {
            members.push((key.0, value));
        }
        Ok(Json::Object(members))
    }
}

/// A key, borrowed if possible, which serde's own `Cow` never is.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_null() {
        let json = Json::parse(br#"{"a":[1,{"b":"c"}],"n":null,"a":[2.0]}"#).unwrap();
        assert_eq!(json.get("a").items()[0].as_u64(), Some(2));
        assert!(json.get("n").is_null() && json.get("x").get("y").is_null());
        assert_eq!(json.first(&["x", "n", "a"]).count(), Some(1));
    }

    #[test]
    fn texts_and_keys_without_escapes_are_borrowed() {
        let Json::Object(members) = Json::parse(br#"{"key":"plain","other":"esc\"aped"}"#).unwrap() else { panic!() };
        assert!(matches!(members[0], (Cow::Borrowed("key"), Json::Text(Cow::Borrowed("plain")))));
        assert!(matches!(&members[1].1, Json::Text(Cow::Owned(text)) if text == "esc\"aped"));
    }

    #[test]
    fn numbers_keep_what_they_are() {
        let json = Json::parse(b"[10337522019019826656,-1.5,40.0,1e300]").unwrap();
        let [seed, penalty, top_k, huge] = json.items() else { panic!() };
        assert_eq!((seed.as_u64(), seed.as_i64()), (Some(10_337_522_019_019_826_656), None));
        assert_eq!((penalty.as_f64(), penalty.as_i64()), (Some(-1.5), None));
        assert_eq!((top_k.as_u64(), huge.as_u64()), (Some(40), None));
    }
}
