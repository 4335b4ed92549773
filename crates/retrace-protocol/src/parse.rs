//! Deserialisation of JSON that is mostly passed on: the same values as `serde_json`, at lower cost.
//!
//! Messages are long texts within small structures. `serde_json` checks a text byte by byte, and the text of a raw value once
//! more for each level around it. This reader checks sixteen bytes at a time. It knows no numbers and no enums, and leaves
//! everything that a strict reader refuses to `serde_json`.

use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::value::RawValue;

use crate::json::{Json, is_strict};
pub use crate::scan::cursor::Cursor;
pub use crate::scan::string_token::StringToken;
use crate::write::PRIVATE;

/// Deserialises a JSON text; returns `None` if it is no JSON or has another shape. The keys of maps are texts: a map with keys of
/// another type is not read.
///
/// ```
/// use retrace_protocol::parse;
///
/// assert_eq!(parse::from_str::<Vec<&str>>(r#"["a", "b"]"#), Some(vec!["a", "b"]));
/// assert_eq!(parse::from_str::<Vec<&str>>(r#"["a", 7]"#), None);
/// ```
#[must_use]
pub fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    if !*TAKES_RAW {
        return serde_json::from_str(text).ok();
    }
    match read(text) {
        Ok(value) => Some(value),
        Err(Error::Shape) => None,
        Err(Error::Text) => serde_json::from_str(text).ok(),
    }
}

/// True if `serde_json`'s raw values can be read by this reader. They are known by the name of a struct, which is no promise of
/// `serde_json`: with a version that has another name, everything is read by `serde_json`.
static TAKES_RAW: LazyLock<bool> = LazyLock::new(|| read::<&RawValue>("[0]").is_ok_and(|raw| raw.get() == "[0]"));

/// Deserialises a JSON text that a strict reader accepts: see [`is_strict`]. Returns `None` for any
/// other text, and for one that has numbers or enums where `T` does not take it raw.
///
/// Costs one pass: the text need not be checked before.
#[must_use]
pub fn from_strict_str<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    if !*TAKES_RAW {
        return serde_json::from_str::<&RawValue>(text)
            .is_ok_and(|raw| is_strict(raw.get()))
            .then(|| serde_json::from_str(text).ok())?;
    }
    read(text).ok()
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    let mut cursor = Cursor::new(text);
    let value = T::deserialize(Reader(&mut cursor))?;
    cursor.end().map(|()| value).ok_or(Error::Text)
}

/// Why a text is not read. Only [`from_str`] sees it: what it makes of a text is all that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Error {
    /// It has another shape than the type.
    Shape,
    /// It is no JSON, or nothing that this reader knows.
    Text,
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Shape
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not read")
    }
}

impl<'a> Cursor<'a> {
    /// Passes a value; returns it unread.
    #[inline]
    pub fn raw(&mut self) -> Option<&'a RawValue> {
        let name = None;
        <&RawValue>::deserialize(RawToken { name, token: self.value()? }).ok()
    }

    /// Passes a value by `pass`, which must pass one value and nothing else; returns a copy of its text.
    ///
    /// ```
    /// use retrace_protocol::parse::Cursor;
    ///
    /// let (mut cursor, mut items) = (Cursor::new(" [1, 2] "), 0);
    /// let json = cursor.json(|cursor| cursor.list(|cursor| cursor.skip().map(|()| items += 1)));
    /// assert_eq!((json.as_ref().map(|json| json.as_str()), items), (Some("[1, 2]"), 2));
    /// ```
    pub fn json(&mut self, pass: impl FnOnce(&mut Self) -> Option<()>) -> Option<Json> {
        self.peek()?;
        let begin = self.position();
        pass(self)?;
        self.passed(begin).map(Json::from_checked)
    }
}

/// Reads the next value.
struct Reader<'c, 'a>(&'c mut Cursor<'a>);

impl<'de> Deserializer<'de> for Reader<'_, 'de> {
    type Error = Error;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Self(cursor) = self;
        match cursor.peek().ok_or(Error::Text)? {
            b'"' => {
                let string = cursor.string().ok_or(Error::Text)?;
                match string.plain() {
                    Some(plain) => visitor.visit_borrowed_str(plain),
                    None => {
                        let mut text = String::new();
                        string.decode(&mut text);
                        visitor.visit_string(text)
                    }
                }
            }
            b'{' => {
                cursor.enter(b'{').ok_or(Error::Text)?;
                let value = visitor.visit_map(Items { cursor: &mut *cursor, is_first: true })?;
                cursor.leave(b'}').ok_or(Error::Text)?;
                Ok(value)
            }
            b'[' => {
                cursor.enter(b'[').ok_or(Error::Text)?;
                let value = visitor.visit_seq(Items { cursor: &mut *cursor, is_first: true })?;
                cursor.leave(b']').ok_or(Error::Text)?;
                Ok(value)
            }
            b't' => cursor.word("true").ok_or(Error::Text).and_then(|()| visitor.visit_bool(true)),
            b'f' => cursor.word("false").ok_or(Error::Text).and_then(|()| visitor.visit_bool(false)),
            b'n' => cursor.word("null").ok_or(Error::Text).and_then(|()| visitor.visit_unit()),
            _ => Err(Error::Text),
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.peek() == Some(b'n') {
            return self.0.word("null").ok_or(Error::Text).and_then(|()| visitor.visit_none());
        }
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name.starts_with(PRIVATE) {
            let token = self.0.value().ok_or(Error::Text)?;
            return RawToken { name: None, token }.deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.value().ok_or(Error::Text)?;
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::Text)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier
    }
}

/// Members of an object or elements of a list.
struct Items<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    is_first: bool,
}

impl Items<'_, '_> {
    /// Moves to the next item; returns false if the end is next.
    #[inline]
    fn advance(&mut self, end: u8) -> Result<bool, Error> {
        let is_first = std::mem::take(&mut self.is_first);
        match self.cursor.peek().ok_or(Error::Text)? {
            next if next == end => Ok(false),
            _ if is_first => Ok(true),
            _ => self.cursor.expect(b',').ok_or(Error::Text).map(|()| true),
        }
    }
}

impl<'a> SeqAccess<'a> for Items<'_, 'a> {
    type Error = Error;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if !self.advance(b']')? {
            return Ok(None);
        }
        seed.deserialize(Reader(self.cursor)).map(Some)
    }
}

impl<'a> MapAccess<'a> for Items<'_, 'a> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if !self.advance(b'}')? {
            return Ok(None);
        }
        if self.cursor.peek() != Some(b'"') {
            return Err(Error::Text);
        }
        seed.deserialize(Reader(self.cursor)).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.cursor.expect(b':').ok_or(Error::Text)?;
        seed.deserialize(Reader(self.cursor))
    }
}

/// Text of a raw value, in the form in which `serde_json` passes it on: as the only member of an object.
struct RawToken<'a> {
    name: Option<&'static str>,
    token: &'a str,
}

impl<'de> Deserializer<'de> for RawToken<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::Text)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Self { name: Some(name), ..self })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'a> MapAccess<'a> for RawToken<'a> {
    type Error = Error;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.name.take().map(|name| seed.deserialize(BorrowedStrDeserializer::new(name))).transpose()
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(BorrowedStrDeserializer::new(self.token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::Value;
    use std::borrow::Cow;
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // All are compared by their debug form.
    struct Message<'a> {
        #[serde(borrow, default)]
        role: Option<&'a RawValue>,
        #[serde(borrow, default, alias = "text")]
        content: Option<Cow<'a, str>>,
        #[serde(borrow)]
        parts: Vec<Part<'a>>,
        #[serde(default)]
        b: IgnoredAny,
        #[serde(default)]
        is_last: bool,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    #[allow(dead_code)]
    struct Part<'a> {
        #[serde(borrow)]
        a: Option<&'a RawValue>,
        b: Option<String>,
        c: Option<Count>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    enum Count {
        Few,
        Many(u64),
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Any {
        Text(String),
        Number(f64),
        List(Vec<Self>),
        Map(BTreeMap<String, Self>),
        Nothing,
    }

    /// Returns what is read as a text, for comparison.
    fn shown<T: Debug>(read: Option<T>) -> Option<String> {
        read.map(|value| format!("{value:?}"))
    }

    fn check<'a, T: Deserialize<'a> + Debug>(text: &'a str) {
        let expected = shown(serde_json::from_str::<T>(text).ok());
        assert_eq!(shown(from_str::<T>(text)), expected, "{text}");
        if let Some(read) = shown(from_strict_str::<T>(text)) {
            assert!(is_strict(text), "{text}");
            assert_eq!(Some(read), expected, "{text}");
        }
    }

    fn check_all(text: &str) {
        check::<&RawValue>(text);
        check::<Vec<&RawValue>>(text);
        check::<BTreeMap<Cow<'_, str>, &RawValue>>(text);
        check::<Vec<Message<'_>>>(text);
        check::<Message<'_>>(text);
        check::<(String, bool)>(text);
        check::<Option<Vec<()>>>(text);
        check::<Any>(text);
        check::<Value>(text);
        let is_read = from_strict_str::<&RawValue>(text).is_some();
        assert_eq!(is_read, serde_json::from_str::<&RawValue>(text).is_ok() && is_strict(text), "{text}");
    }

    #[test]
    fn raw_values_of_this_version_of_serde_json_are_read() {
        assert!(*TAKES_RAW);
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        for text in [
            "",
            " ",
            " \n[ ] ",
            "[1,]",
            "[,1]",
            "[1 2]",
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{a:1}"#,
            r#"{"a":}"#,
            r#"[{"a":1]}"#,
            "[1}",
            "[[1},2]",
            r#"{"a":1]"#,
            r#"[{"a":[]]]"#,
            r#"[["a",true,"more"]]"#,
            r#"["a",true]"#,
            r#"["a",true,1]"#,
            r#"{"parts":[],"role":null,"content":null,"b":[{}]}"#,
            r#"{"parts":[{"a":"x","b":"\u00e9\n","c":"Few"},{"c":{"Many":7}}],"r\u006fle":"user","is_last":true}"#,
            r#"{"parts":[],"content":"a","text":"b"}"#,
            r#"{"parts":null}"#,
            r#"[null,[],null,[[{"parts":[]}]]]"#,
            r#"[null,[],"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"bbbbbbbbbbbbbb\\",{"x":{"y":[{},[]]}}]"#,
            r#"["\ud83d\ude00","\/\b\f\r\t"]"#,
            r#"["\ud83d"]"#,
            r#"["\ude00"]"#,
            r#"["\ud83d\u0041"]"#,
            r#"["\u0000"]"#,
            r#"["\u+123"]"#,
            r#"["\u12"]"#,
            r#"["\x"]"#,
            "[\"a\nb\"]",
            "[\"a\u{7f}b\"]",
            "[\"a",
            "[\"a\\",
            "[0,-0,0.5,-1.5e3,1E+2,1e-2,12345678901234567890123,1e999,-1e999]",
            "[01]",
            "[-]",
            "[1.]",
            "[.5]",
            "[1e]",
            "[1e+]",
            "[+1]",
            "NaN",
            "nul",
            "nulls",
            "[true,false,null]",
            "[tru]",
            "\u{feff}[]",
            "[1]x",
            "[1] []",
            "é",
        ] {
            check_all(text);
        }
        for depth in [63, 64, 65, 127, 128, 200] {
            check_all(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            check_all(&format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)));
        }
        check_all(&format!("[1{}]", "0".repeat(400)));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = "[\"\\\\\\n\\t\\x01é😀abcdefghi{}\\[\\],:.]{0,40}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        let key = "role|content|parts|a|b|c|is_last|[a-z\"é]{0,8}";
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(key, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Damage to a text: a position, and characters that are put in the place of the one there.
    fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, String)>> {
        let odd = "|[\\[\\]{}\",:\\\\ \\n0-9eE.+-]|\\\\u[dD][89c]00|\\\\u0000|null|true";
        prop::collection::vec((any::<prop::sample::Index>(), odd), 0..3)
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_serde_json_reads_it(value in any_json(), pretty: bool, damage in damage()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let mut text: Vec<String> = text.unwrap().chars().map(String::from).collect();
            for (at, odd) in damage {
                let at = at.index(text.len());
                text[at] = odd;
            }
            check_all(&text.concat());
        }

        #[test]
        fn what_is_no_json_is_read_alike(text in r#"[\[\]{}",:0-9eE+\-.\\u dcDC08atrufalsn\n]{0,40}"#) {
            check_all(&text);
        }
    }
}
