//! Shortening of content that keeps it valid JSON.

use std::borrow::Cow;

use retrace_protocol::Json;
use retrace_protocol::message::decode;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::JsonObject;

/// Shortened content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortened {
    /// The remaining value; valid JSON.
    pub json: Json,
    /// Bytes of JSON that were removed.
    pub removed_bytes: u64,
}

/// Shortens a JSON value to at most `max_bytes`. Returns `None` if it is short enough already.
///
/// The longest texts are cut first, at a character boundary and with a note of the number of bytes cut, so that short texts and
/// the structure are kept. If the structure alone is too large, the result is the beginning of the JSON as a text. Builds a
/// tree of the value and passes over it several times: meant for the rare case.
///
/// ```
/// use retrace_protocol::Json;
/// use retrace_translate::shorten;
///
/// let value = Json::from_serialize(&serde_json::json!({"id": 7, "page": "x".repeat(1_000)}));
/// let short = shorten(&value, 100).unwrap();
/// assert!(short.json.as_str().len() <= 100);
/// assert!(short.json.as_str().starts_with(r#"{"id":7,"page":"xxx"#));
/// ```
#[must_use]
pub fn shorten(json: &Json, max_bytes: usize) -> Option<Shortened> {
    let before = json.as_str().len();
    if before <= max_bytes {
        return None;
    }
    let json = serde_json::from_str(json.as_str())
        .ok()
        .and_then(Node::read)
        .and_then(|tree| shortest_cut(tree, max_bytes))
        .unwrap_or_else(|| beginning(json.as_str(), max_bytes));
    let removed_bytes = before.saturating_sub(json.as_str().len()) as u64;
    Some(Shortened { json, removed_bytes })
}

/// A value parsed as far as cutting needs: numbers keep their digits, objects the order of their keys.
enum Node<'a> {
    Text(Text<'a>),
    List(Vec<Self>),
    Map(Vec<(Cow<'a, str>, Self)>),
    Other(&'a RawValue),
}

impl<'a> Node<'a> {
    fn read(raw: &'a RawValue) -> Option<Self> {
        Some(match raw.get().as_bytes().first()? {
            b'"' => Self::Text(Text::new(decode(raw))),
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
                Self::List(elements.into_iter().map(Self::read).collect::<Option<_>>()?)
            }
            b'{' => {
                let read = |(key, value)| Some((key, Self::read(value)?));
                Self::Map(JsonObject::read(raw.get())?.into_entries().into_iter().map(read).collect::<Option<_>>()?)
            }
            _ => Self::Other(raw),
        })
    }

    /// Returns the JSON size of the value in bytes with every text cut to `keep` bytes and a note.
    fn length(&self, keep: usize) -> usize {
        match self {
            Self::Text(text) => text.cut(keep).map_or(text.length, |cut| cut.length) + 2,
            Self::List(list) => {
                2 + list.len().saturating_sub(1) + list.iter().map(|value| value.length(keep)).sum::<usize>()
            }
            Self::Map(map) => {
                let entries = map.iter().map(|(key, value)| escaped_length(key) + 3 + value.length(keep));
                2 + map.len().saturating_sub(1) + entries.sum::<usize>()
            }
            Self::Other(raw) => raw.get().len(),
        }
    }

    fn cut_texts(&mut self, keep: usize) {
        match self {
            Self::Text(text) => {
                if let Some(cut) = text.cut(keep) {
                    *text = Text { length: cut.length, text: Cow::Owned(format!("{}{}", cut.kept, cut.note)) };
                }
            }
            Self::List(list) => list.iter_mut().for_each(|value| value.cut_texts(keep)),
            Self::Map(map) => map.iter_mut().for_each(|(_, value)| value.cut_texts(keep)),
            Self::Other(_) => {}
        }
    }
}

/// A text with its JSON size.
struct Text<'a> {
    text: Cow<'a, str>,
    length: usize,
}

/// A shortened text.
struct Cut<'t> {
    kept: &'t str,
    /// Note on the removed part.
    note: String,
    /// JSON size of both in bytes.
    length: usize,
}

impl<'a> Text<'a> {
    fn new(text: Cow<'a, str>) -> Self {
        let length = escaped_length(&text);
        Self { text, length }
    }

    /// Cuts the text to at most `keep` bytes of JSON, and a note of the rest; returns `None` if that saves nothing.
    fn cut(&self, keep: usize) -> Option<Cut<'_>> {
        if self.length <= keep {
            return None;
        }
        let (kept, escaped) = prefix(&self.text, keep);
        let note = format!("…[{} bytes cut]", self.text.len() - kept.len());
        let length = escaped + note.len();
        (length < self.length).then_some(Cut { kept, note, length })
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(&text.text),
            Self::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|value| seq.serialize_element(value))?;
                seq.end()
            }
            Self::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                map.iter().try_for_each(|(key, value)| out.serialize_entry(key, value))?;
                out.end()
            }
            Self::Other(raw) => raw.serialize(serializer),
        }
    }
}

/// Cuts the texts no more than needed; returns `None` if cutting texts does not suffice.
fn shortest_cut(mut tree: Node<'_>, max_bytes: usize) -> Option<Json> {
    let (mut fits, mut too_long) = (0, max_bytes);
    if tree.length(fits) > max_bytes {
        return None;
    }
    while too_long - fits > 1 {
        let middle = fits.midpoint(too_long);
        if tree.length(middle) <= max_bytes {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    tree.cut_texts(fits);
    Some(Json::from_serialize(&tree))
}

/// Returns the longest prefix with a JSON size of at most `escaped` bytes, and its JSON size.
fn prefix(text: &str, escaped: usize) -> (&str, usize) {
    let mut length = 0;
    for (at, c) in text.char_indices() {
        let next = length + escaped_char(c);
        if next > escaped {
            return (text.get(..at).unwrap_or_default(), length);
        }
        length = next;
    }
    (text, length)
}

fn escaped_length(text: &str) -> usize {
    text.chars().map(escaped_char).sum()
}

/// Returns the JSON size of a character as serde writes it.
fn escaped_char(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\x1f' => 6,
        _ => c.len_utf8(),
    }
}

/// Returns the beginning of the JSON as a text.
fn beginning(json: &str, max_bytes: usize) -> Json {
    /// Size of the quotes and of the longest note.
    const AROUND: usize = 48;

    let text = Text::new(Cow::Borrowed(json));
    match text.cut(max_bytes.saturating_sub(AROUND)).filter(|cut| cut.length + 2 <= max_bytes) {
        Some(cut) => Json::text(&format!("{}{}", cut.kept, cut.note)),
        None => Json::text(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn short(value: &Value, max_bytes: usize) -> Value {
        shorten(&Json::from(value), max_bytes).unwrap().json.to_value().unwrap()
    }

    #[test]
    fn what_is_short_stays_whole_and_the_longest_is_cut() {
        let value = json!({"a": "short", "b": "x".repeat(500), "c": ["y".repeat(300), 7]});
        let cut = short(&value, 400);
        assert_eq!((&cut["a"], &cut["c"][1]), (&json!("short"), &json!(7)));
        let (b, c) = (cut["b"].as_str().unwrap(), cut["c"][0].as_str().unwrap());
        assert!(b.starts_with("xxx") && b.ends_with(" bytes cut]"), "{b}");
        assert!(b.len().abs_diff(c.len()) <= 2, "cut to one height: {} and {}", b.len(), c.len());
    }

    #[test]
    fn structure_that_is_too_large_becomes_its_beginning() {
        let value = json!((0..1_000).collect::<Vec<_>>());
        let cut = short(&value, 100);
        assert!(cut.as_str().unwrap().starts_with("[0,1,2,"), "{cut}");
        assert_eq!(short(&value, 1), "");
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(shorten(&Json::text("abc"), 5), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,200}".prop_map(Value::from),
            "[\"\\\\\\n\\t\\x01é😀a]{0,100}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"é]{0,8}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Returns true if the texts of `cut` are prefixes of those of `whole`, at the same positions.
    fn begins(cut: &Value, whole: &Value) -> bool {
        match (cut, whole) {
            (Value::String(cut), Value::String(whole)) => {
                cut == whole || whole.starts_with(cut.rsplit_once("…[").map_or(cut.as_str(), |(kept, _)| kept))
            }
            (Value::Array(cut), Value::Array(whole)) => {
                cut.len() == whole.len() && cut.iter().zip(whole).all(|(cut, whole)| begins(cut, whole))
            }
            (Value::Object(cut), Value::Object(whole)) => {
                cut.len() == whole.len() && cut.iter().all(|(key, cut)| whole.get(key).is_some_and(|w| begins(cut, w)))
            }
            (cut, whole) => cut == whole,
        }
    }

    proptest! {
        /// P28: valid, within the limit, and a prefix of the original.
        #[test]
        fn pain_28_what_is_cut_parses_fits_and_begins_like_the_whole(value in any_json(), max_bytes in 2_usize..600) {
            let json = Json::from(&value);
            let length = Node::read(serde_json::from_str(json.as_str()).unwrap()).unwrap().length(usize::MAX);
            prop_assert_eq!(length, json.as_str().len(), "lengths are counted as serde writes them");
            if let Some(short) = shorten(&json, max_bytes) {
                prop_assert!(short.json.as_str().len() <= max_bytes, "{:?}", short.json);
                prop_assert_eq!(short.removed_bytes, (json.as_str().len() - short.json.as_str().len()) as u64);
                let (cut, value) = (short.json.to_value().unwrap(), json.to_value().unwrap());
                let as_text = Value::from(json.as_str());
                prop_assert!(begins(&cut, &value) || begins(&cut, &as_text), "{} of {}", cut, value);
            } else {
                prop_assert!(json.as_str().len() <= max_bytes);
            }
        }
    }
}
