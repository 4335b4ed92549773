//! JSON values carried as text, and checks of their content.
//!
//! Inputs, outputs and metadata are arbitrary JSON, often large, and mostly passed on. [`Json`] keeps such a value as the text
//! in which it arrived: numbers keep every digit, and writing it costs a copy with [`crate::write`], or a validation with
//! another serialiser.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use memchr::{memchr, memchr2, memmem};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits;
use crate::scan::cursor::Cursor;
use crate::write::{self, VERBATIM};

/// A JSON value, kept as its text.
///
/// ```
/// use retrace_protocol::Json;
///
/// let answer = Json::from_serialize(&serde_json::json!({"answer": 42}));
/// assert_eq!(answer.as_str(), r#"{"answer":42}"#);
/// assert_eq!(Json::text("tab\there").as_str(), r#""tab\there""#);
/// ```
#[derive(Clone)]
pub struct Json(Box<str>);

/// Maximum size in bytes of the buffer that a thread keeps for the next value.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// Buffer in which a value is serialised before it moves to an allocation of its exact size; a long value stays in its
    /// buffer.
    static SPARE: Cell<String> = const { Cell::new(String::new()) };
}

impl Json {
    /// Returns the value `null`.
    #[must_use]
    pub fn null() -> Self {
        Self("null".into())
    }

    /// Creates a JSON string. U+0000 becomes U+FFFD.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::from_serialize(text)
    }

    /// Serialises a value. Floats without a JSON form become `null`, as everywhere in serde; U+0000 in a text becomes U+FFFD,
    /// because many stores reject it.
    ///
    /// A value whose serialisation fails (a map with keys that are no strings) becomes `null`.
    #[must_use]
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Self {
        Self::from_serialize_with_capacity(0, value)
    }

    /// Serialises a value of about `bytes` bytes. For a large value, growing the buffer would cost as much as the
    /// serialisation.
    #[must_use]
    pub fn from_serialize_with_capacity<T: Serialize + ?Sized>(bytes: usize, value: &T) -> Self {
        Self::build(bytes, |text| write::append_without_nul(text, value))
    }

    /// Creates a value of about `bytes` bytes from the JSON that `append` appends; `null` if it fails.
    pub(crate) fn build(bytes: usize, append: impl FnOnce(&mut String) -> Result<(), serde_json::Error>) -> Self {
        let mut text = match bytes > SCRATCH {
            true => String::with_capacity(bytes),
            false => SPARE.try_with(Cell::take).unwrap_or_default(),
        };
        let written = append(&mut text);
        if text.capacity() > SCRATCH {
            return written.map_or_else(|_| Self::null(), |()| Self(text.into_boxed_str()));
        }
        let json = written.map_or_else(|_| Self::null(), |()| Self(text.as_str().into()));
        text.clear();
        // A thread that is exiting keeps no buffer.
        let _ = SPARE.try_with(|spare| spare.set(text));
        json
    }

    /// Parses a text that a strict reader accepts: see [`is_strict`].
    ///
    /// Costs one pass; only the copy is allocated.
    #[must_use]
    pub fn parse_strict(text: &str) -> Option<Self> {
        let mut cursor = Cursor::new(text);
        let json = cursor.value()?;
        cursor.end().map(|()| Self::from_checked(json))
    }

    /// Creates a value from a text that is known to be one JSON value.
    pub(crate) fn from_checked(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the value is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    /// Parses the value into a tree.
    ///
    /// # Errors
    /// Text that the JSON grammar allows and a tree cannot hold: lone surrogates, numbers beyond `f64`, nesting beyond 128.
    pub fn to_value(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

/// Returns the text without a copy.
impl From<Json> for Box<str> {
    fn from(json: Json) -> Self {
        json.0
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw.into())
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        Self::from_serialize(value)
    }
}

/// Compares the text; `1.0` and `1` are not equal.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_verbatim(&self.0, serializer)
    }
}

/// Writes a text that is JSON unchanged. [`crate::write`] copies it, other JSON serialisers validate it, and a format that is
/// not text gets it as a string.
pub(crate) fn serialize_verbatim<S: Serializer>(json: &str, serializer: S) -> Result<S::Ok, S::Error> {
    struct Verbatim<'a>(&'a str);
    impl Serialize for Verbatim<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if !serializer.is_human_readable() {
                return serializer.serialize_str(self.0);
            }
            let raw: &RawValue = serde_json::from_str(self.0).map_err(serde::ser::Error::custom)?;
            raw.serialize(serializer)
        }
    }
    serializer.serialize_newtype_struct(VERBATIM, &Verbatim(json))
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

/// For fields in which `null` and absence differ on the wire: reads `null` as `Some(null)`.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// For fields of which `null` and absence say the same: returns true for both.
#[allow(clippy::ref_option)] // as serde calls it
pub(crate) fn is_unknown(json: &Option<Json>) -> bool {
    json.as_ref().is_none_or(Json::is_null)
}

/// Replaces every U+0000 in `text` by U+FFFD; returns it borrowed if there is none.
#[must_use]
pub fn without_nul(text: &str) -> Cow<'_, str> {
    if has_nul(text.as_bytes()) { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// Returns true if a text has U+0000. Short texts are checked eight bytes at a time, the last ones together with those before
/// them.
fn has_nul(text: &[u8]) -> bool {
    const SHORT: usize = 64;
    const LOW: u64 = u64::MAX / 0xFF;
    if text.len() > SHORT {
        return memchr(0, text).is_some();
    }
    let is_in = |piece: &[u8; 8]| {
        let bytes = u64::from_ne_bytes(*piece);
        bytes.wrapping_sub(LOW) & !bytes & (LOW << 7) != 0
    };
    match text.last_chunk() {
        Some(end) => is_in(end) || text.as_chunks().0.iter().any(is_in),
        None => text.contains(&0),
    }
}

/// Returns true if a strict reader accepts this JSON: no U+0000, no lone surrogate, no number beyond `f64`, nesting of at most
/// [`limits::JSON_DEPTH`].
///
/// `json` must be valid JSON. The grammar allows all of these, so that parsers that skip over a value accept them, and a reader
/// that builds a tree then rejects the whole body.
#[must_use]
pub fn is_strict(json: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = json.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > limits::JSON_DEPTH {
                    return false;
                }
                tail
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                tail
            }
            b'"' => match after_strict_string(tail) {
                Some(after) => after,
                None => return false,
            },
            b'-' | b'0'..=b'9' => match after_finite_number(rest) {
                Some(after) => after,
                None => return false,
            },
            _ => tail,
        };
    }
    true
}

/// Returns the rest after the string that begins at `rest`; `None` if the string has an escape that a strict reader rejects.
fn after_strict_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = memchr2(b'"', b'\\', rest)?;
        rest = match rest.get(at..)? {
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'u', tail @ ..] => match hex4(tail)? {
                (0 | 0xDC00..=0xDFFF, _) => return None,
                (0xD800..=0xDBFF, [b'\\', b'u', low @ ..]) => match hex4(low)? {
                    (0xDC00..=0xDFFF, tail) => tail,
                    _ => return None,
                },
                (0xD800..=0xDBFF, _) => return None,
                (_, tail) => tail,
            },
            [b'\\', _, tail @ ..] => tail,
            _ => return None,
        };
    }
}

fn hex4(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, tail) = bytes.split_first_chunk::<4>()?;
    let text = std::str::from_utf8(digits).ok()?;
    Some((u16::from_str_radix(text, 16).ok()?, tail))
}

/// Returns the rest after the number at the start of `bytes`; `None` if it is too large for an `f64`.
fn after_finite_number(bytes: &[u8]) -> Option<&[u8]> {
    /// A shorter number without an exponent is below 10^300.
    const PLAINLY_FINITE: usize = 300;

    let is_part = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let (number, tail) = bytes.split_at(bytes.iter().position(|b| !is_part(b)).unwrap_or(bytes.len()));
    if number.len() < PLAINLY_FINITE && !number.iter().any(|b| matches!(b, b'e' | b'E')) {
        return Some(tail);
    }
    std::str::from_utf8(number).ok()?.parse::<f64>().ok()?.is_finite().then_some(tail)
}

/// Replaces the bare words `NaN`, `Infinity` and `-Infinity` in `text` by `null`; returns it borrowed if there are none.
///
/// The Python SDK writes them although JSON has no such words (PROTOCOL.md section 3). A receiver that accepts such frames
/// calls this for text that does not parse.
#[must_use]
pub fn non_finite_to_null(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

    let mut out = String::new();
    let mut copied = 0;
    let mut in_string = false;
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'-' | b'I' | b'N' if !in_string => {
                let rest = text.get(at..).unwrap_or_default();
                if let Some(word) = WORDS.iter().find(|word| rest.starts_with(**word)) {
                    out.push_str(text.get(copied..at).unwrap_or_default());
                    out.push_str("null");
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Replaces every escape of a lone surrogate (`\ud800`) in `text` by that of U+FFFD; returns it borrowed if there are none.
///
/// Python writes such escapes for bytes that are no text, such as in file names. The JSON grammar allows them, but no string
/// can hold them. `text` must be JSON; pairs stay unchanged.
#[must_use]
pub fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    without_escapes(text, false)
}

/// Replaces lone surrogates and `\u0000`: no escape remains that [`is_strict`] rejects.
#[must_use]
pub fn without_refused_escapes(text: &str) -> Cow<'_, str> {
    without_escapes(text, true)
}

fn without_escapes(text: &str, nul: bool) -> Cow<'_, str> {
    const REPLACEMENT: &str = "\\ufffd";

    if memmem::find(text.as_bytes(), b"\\u").is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    let bytes = text.as_bytes();
    // Outside of strings JSON has no backslash, so that every backslash begins an escape.
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        let escape = at + found;
        let code = |at: usize| match bytes.get(at..)? {
            [b'\\', b'u', rest @ ..] => Some(hex4(rest)?.0),
            _ => None,
        };
        let refused = match code(escape) {
            Some(0xD800..=0xDBFF) => !matches!(code(escape + REPLACEMENT.len()), Some(0xDC00..=0xDFFF)),
            Some(0xDC00..=0xDFFF) => true,
            Some(0) => nul,
            _ => false,
        };
        at = match code(escape) {
            Some(_) if refused => escape + REPLACEMENT.len(),
            Some(0xD800..=0xDBFF) => escape + 2 * REPLACEMENT.len(),
            _ => escape + 2,
        };
        if refused {
            out.push_str(text.get(copied..escape).unwrap_or_default());
            out.push_str(REPLACEMENT);
            copied = at;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn a_value_is_the_same_however_long_it_was_held_to_be() {
        for length in [10, SCRATCH - 100, SCRATCH + 100, 5 * SCRATCH] {
            let value = ["\0".repeat(9), "x".repeat(length)];
            let json = Json::from_serialize(&value);
            assert!(json.as_str().len() > length && !json.as_str().contains("u0000"));
            for about in [1, length / 2, length, 2 * length] {
                assert_eq!(Json::from_serialize_with_capacity(about, &value), json);
            }
        }
    }

    #[test]
    fn what_a_strict_reader_refuses_is_found() {
        for refused in [
            r#""\u0000""#,
            r#"{"a\u0000b":1}"#,
            r#""\ud800""#,
            r#""\ud800x""#,
            r#""\ud800\n""#,
            r#""\ud800\ud800""#,
            r#""\udc00""#,
            "[1e999]",
            "-1E+400",
            &format!("1{}", "0".repeat(400)),
            &format!("{}{}", "[".repeat(65), "]".repeat(65)),
        ] {
            assert!(serde_json::from_str::<&RawValue>(refused).is_ok(), "{refused} is JSON");
            assert_eq!(Json::parse_strict(refused), None, "{refused}");
        }
        for taken in [
            r#""\ud83d\ude00 \\u0000 \" \/""#,
            r#"{"a":[1,-2.5e3,1e-999,true,null]}"#,
            "123456789012345678901234567890",
            &format!("{}{}", "[".repeat(64), "]".repeat(64)),
        ] {
            assert_eq!(Json::parse_strict(taken).unwrap().as_str(), taken);
        }
        for broken in ["", "{", "nul", "[1,]", "{\"a\":1} x", "NaN"] {
            assert_eq!(Json::parse_strict(broken), None, "{broken}");
        }
    }

    #[test]
    fn words_that_json_lacks_become_null_outside_strings() {
        let text = r#"{"nan": NaN, "s": "NaN \" -Infinity \\", "l": [-Infinity, Infinity, -1]}"#;
        assert_eq!(non_finite_to_null(text), r#"{"nan": null, "s": "NaN \" -Infinity \\", "l": [null, null, -1]}"#);
        assert!(matches!(non_finite_to_null(r#"{"a":"NaN"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn half_a_pair_is_replaced_and_a_whole_one_is_not() {
        for (text, whole) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""a\uDCFFb""#, r#""a\ufffdb""#),
            (r#""\ud83d\ude00\ud83d""#, r#""\ud83d\ude00\ufffd""#),
            (r#""\ud800\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud800\n\udc00""#, r#""\ufffd\n\ufffd""#),
        ] {
            assert_eq!(without_lone_surrogates(text), whole);
            assert!(serde_json::from_str::<String>(whole).is_ok());
        }
        let nul = r#""a\u0000\\u0000\udc00""#;
        assert_eq!(without_lone_surrogates(nul), r#""a\u0000\\u0000\ufffd""#);
        assert_eq!(without_refused_escapes(nul), r#""a\ufffd\\u0000\ufffd""#);
        for fine in [r#"{"é":"\ud83d\ude00 \\ud800 \u00e9 \"","n":1}"#, "", "\\", "\\u12"] {
            assert!(matches!(without_lone_surrogates(fine), Cow::Borrowed(_)), "{fine}");
        }
    }

    #[test]
    fn nul_is_found_wherever_it_stands() {
        for length in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 200] {
            let text = "\u{1}\u{80}".repeat(length).chars().take(length).collect::<String>();
            assert!(!has_nul(text.as_bytes()), "{length}");
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = 0;
                assert!(has_nul(&bytes), "{at} of {length}");
            }
        }
    }

    #[test]
    fn text_never_carries_nul() {
        assert_eq!(Json::text("a\0b").as_str(), "\"a\u{FFFD}b\"");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_strict_unless_it_holds_nul(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(Json::parse_strict(&text).is_some(), !text.contains("\\u0000"));
        }

        #[test]
        fn what_is_strict_builds_a_tree(text in r#"[\[\]{}",:0-9eE+\-.\\u dcDC08a\n]{0,40}"#) {
            if let Some(json) = Json::parse_strict(&text) {
                prop_assert!(json.to_value().is_ok(), "{:?}", json);
            }
        }

        #[test]
        fn replacing_words_leaves_json_alone(value in any_json()) {
            let text = value.to_string();
            prop_assert_eq!(non_finite_to_null(&text), text.as_str());
        }

        #[test]
        fn every_json_string_is_text_once_halves_are_replaced(escapes in r#"(\\u(d[89a-f]|00)[0-9a-f]{2}|\\\\|\\n|u|d8){0,8}"#) {
            let text = format!("\"{escapes}\"");
            let whole = without_lone_surrogates(&text);
            prop_assert!(serde_json::from_str::<String>(&whole).is_ok(), "{} from {}", whole, text);
            if serde_json::from_str::<String>(&text).is_ok() {
                prop_assert_eq!(whole, text.as_str());
            }
            prop_assert!(is_strict(&without_refused_escapes(&text)), "{}", text);
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = without_refused_escapes(&text);
            let _ = non_finite_to_null(&text);
            let _ = is_strict(&text);
        }
    }
}
