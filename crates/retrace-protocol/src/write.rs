//! Serialisation of records to JSON: the same bytes as `serde_json`, at lower cost.
//!
//! A span is mostly names, short texts, and JSON that was written before. `serde_json` checks a text byte by byte, and
//! validates text that is JSON already once more. This writer checks sixteen bytes at a time, and copies a [`crate::Json`].
//! Floats are written by `serde_json`.

use std::fmt::Display;

use serde::{Serialize, Serializer, ser};
use serde_json::Error;

use crate::scan::escape::plain_end;

/// Name of the newtype struct by which [`crate::Json`] passes its text on to be copied.
pub(crate) const VERBATIM: &str = "$retrace_protocol::Verbatim";
/// Prefix of the names of structs by which `serde_json` passes on JSON text: raw values, and numbers with its feature
/// `arbitrary_precision`.
pub(crate) const PRIVATE: &str = "$serde_json::private::";
/// Maximum number of characters of a float.
const NUMBER: usize = 32;
/// Escape of U+0000.
const NUL: &str = "\\u0000";

/// Serialises a value to JSON.
///
/// # Errors
/// Those of `serde_json`: a map whose keys are no strings, or an error of the value's `Serialize`.
///
/// ```
/// use retrace_protocol::{Span, SpanType, Timestamp, write};
///
/// let span = Span::new("s".into(), "t".into(), SpanType::Action, "say \"hi\"", Timestamp::from_unix_micros(1));
/// assert_eq!(write::to_string(&span)?, serde_json::to_string(&span)?);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    let mut out = String::with_capacity(128);
    append(&mut out, value)?;
    Ok(out)
}

/// Appends a value as JSON. After an error a part of it is appended.
///
/// # Errors
/// Those of [`to_string`].
pub fn append<T: Serialize + ?Sized>(out: &mut String, value: &T) -> Result<(), Error> {
    value.serialize(&mut Writer { out, verbatim: false, nul: NUL, leaves_out: None })
}

/// Appends a value as JSON, without the values that `leaves_out` claims. The function is called for each text that is JSON
/// already, such as that of a [`Json`](crate::Json), with its position in `out`; if it returns true, the text is not appended.
///
/// So a large value need not be copied: it can be sent from where it is.
///
/// ```
/// use retrace_protocol::{Json, write};
///
/// let (mut out, mut places) = (String::new(), Vec::new());
/// write::append_but(&mut out, &[Json::text("short"), Json::text("very long")], &mut |at, text| {
///     let is_long = text.len() > 8;
///     places.extend(is_long.then_some(at));
///     is_long
/// })?;
/// assert_eq!((out.as_str(), places), (r#"["short",]"#, vec![9]));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// As [`to_string`].
pub fn append_but<T: Serialize + ?Sized>(
    out: &mut String,
    value: &T,
    leaves_out: &mut dyn FnMut(usize, &str) -> bool,
) -> Result<(), Error> {
    value.serialize(&mut Writer { out, verbatim: false, nul: NUL, leaves_out: Some(leaves_out) })
}

/// Appends a value as JSON with every U+0000 replaced by U+FFFD, because many stores reject U+0000.
///
/// # Errors
/// Those of [`to_string`].
pub fn append_without_nul<T: Serialize + ?Sized>(out: &mut String, value: &T) -> Result<(), Error> {
    value.serialize(&mut Writer { out, verbatim: false, nul: "\u{FFFD}", leaves_out: None })
}

/// Decides whether a text that is JSON is left out.
type LeavesOut<'o> = &'o mut dyn FnMut(usize, &str) -> bool;

struct Writer<'o> {
    out: &'o mut String,
    /// True if the next text is JSON already.
    verbatim: bool,
    /// Replacement of U+0000.
    nul: &'static str,
    leaves_out: Option<LeavesOut<'o>>,
}

impl Writer<'_> {
    fn text(&mut self, text: &str) {
        let out = &mut *self.out;
        out.reserve(text.len() + 2);
        out.push('"');
        let plain = plain_end(text.as_bytes(), 0);
        if plain == text.len() {
            out.push_str(text);
        } else {
            self.escaped(text, plain);
        }
        self.out.push('"');
    }

    /// Writes a text that needs escapes, the first one at `at`.
    fn escaped(&mut self, text: &str, at: usize) {
        let (mut rest, mut at) = (text, at);
        while let Some((plain, tail)) = rest.split_at_checked(at) {
            self.out.push_str(plain);
            let mut tail = tail.chars();
            match tail.next() {
                None => break,
                Some('\0') => self.out.push_str(self.nul),
                Some(escaped) => escape(self.out, escaped),
            }
            rest = tail.as_str();
            at = plain_end(rest.as_bytes(), 0);
        }
    }

    /// Writes a number in the form of `serde_json`.
    fn number<T: Serialize>(&mut self, number: T) -> Result<(), Error> {
        let mut digits = [0; NUMBER];
        let mut left = &mut digits[..];
        serde_json::to_writer(&mut left, &number)?;
        let length = NUMBER - left.len();
        self.out.push_str(digits.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("null"));
        Ok(())
    }
}

fn escape(out: &mut String, escaped: char) {
    match escaped {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        other => {
            out.push_str("\\u00");
            let code = u32::from(other);
            out.extend([code >> 4, code & 0xF].into_iter().filter_map(|digit| char::from_digit(digit, 16)));
        }
    }
}

/// State of a list or an object that is being written.
struct Parts<'w, 'o> {
    writer: &'w mut Writer<'o>,
    is_first: bool,
    /// True for a struct that only wraps a text.
    verbatim: bool,
    end: &'static str,
}

impl<'w, 'o> Parts<'w, 'o> {
    fn new(writer: &'w mut Writer<'o>, begin: &str, end: &'static str) -> Self {
        writer.out.push_str(begin);
        Self { writer, is_first: true, verbatim: false, end }
    }

    /// Begins a variant of an enum, by its name.
    fn of_variant(writer: &'w mut Writer<'o>, variant: &str, begin: &str, end: &'static str) -> Self {
        writer.out.push('{');
        writer.text(variant);
        writer.out.push(':');
        Self::new(writer, begin, end)
    }

    #[inline]
    fn comma(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.writer.out.push(',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.comma();
        value.serialize(&mut *self.writer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        if self.verbatim {
            self.writer.verbatim = true;
            let written = value.serialize(&mut *self.writer);
            self.writer.verbatim = false;
            return written;
        }
        self.comma();
        self.writer.text(key);
        self.writer.out.push(':');
        value.serialize(&mut *self.writer)
    }

    fn finish(self) {
        self.writer.out.push_str(self.end);
    }
}

macro_rules! integers {
    ($($name:ident: $type:ty,)*) => { $(
        fn $name(self, value: $type) -> Result<(), Error> {
            self.out.push_str(itoa::Buffer::new().format(value));
            Ok(())
        }
    )* };
}

impl<'w, 'o> Serializer for &'w mut Writer<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Parts<'w, 'o>;
    type SerializeTuple = Parts<'w, 'o>;
    type SerializeTupleStruct = Parts<'w, 'o>;
    type SerializeTupleVariant = Parts<'w, 'o>;
    type SerializeMap = Parts<'w, 'o>;
    type SerializeStruct = Parts<'w, 'o>;
    type SerializeStructVariant = Parts<'w, 'o>;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.number(value)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.number(value)
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.out.push_str(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Error> {
        if std::mem::take(&mut self.verbatim) {
            if !self.leaves_out.as_mut().is_some_and(|leaves_out| leaves_out(self.out.len(), value)) {
                self.out.push_str(value);
            }
        } else {
            self.text(value);
        }
        Ok(())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.serialize_str(&value.to_string())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.out.push_str("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Error> {
        self.verbatim = name == VERBATIM;
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut parts = Parts::new(self, "{", "}");
        parts.field(variant, value)?;
        parts.finish();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'w, 'o>, Error> {
        Ok(Parts::new(self, "[", "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'w, 'o>, Error> {
        Ok(Parts::new(self, "[", "]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'w, 'o>, Error> {
        Ok(Parts::new(self, "[", "]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'w, 'o>, Error> {
        Ok(Parts::of_variant(self, variant, "[", "]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'w, 'o>, Error> {
        Ok(Parts::new(self, "{", "}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts<'w, 'o>, Error> {
        if name.starts_with(PRIVATE) {
            return Ok(Parts { verbatim: true, ..Parts::new(self, "", "") });
        }
        Ok(Parts::new(self, "{", "}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'w, 'o>, Error> {
        Ok(Parts::of_variant(self, variant, "{", "}}"))
    }

    /// Only `serialize_verbatim` uses it, to find out whether its text is copied unchanged.
    fn is_human_readable(&self) -> bool {
        !self.verbatim
    }
}

macro_rules! parts {
    ($($trait:ident::$method:ident($($key:ident)?) => $part:ident,)*) => { $(
        impl ser::$trait for Parts<'_, '_> {
            type Ok = ();
            type Error = Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Result<(), Error> {
                self.$part($($key,)? value)
            }

            fn end(self) -> Result<(), Error> {
                self.finish();
                Ok(())
            }
        }
    )* };
}

parts! {
    SerializeSeq::serialize_element() => element,
    SerializeTuple::serialize_element() => element,
    SerializeTupleStruct::serialize_field() => element,
    SerializeTupleVariant::serialize_field() => element,
    SerializeStruct::serialize_field(key) => field,
    SerializeStructVariant::serialize_field(key) => field,
}

impl ser::SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Error;

    /// A number or a boolean gets quotes, as in `serde_json`.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.comma();
        let at = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        let out = &mut *self.writer.out;
        match out.as_bytes().get(at) {
            Some(b'"') => {}
            Some(b'0'..=b'9' | b'-' | b't' | b'f') => {
                out.insert(at, '"');
                out.push('"');
            }
            _ => return Err(ser::Error::custom("key must be a string")),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.writer.out.push(':');
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Json;
    use proptest::prelude::*;
    use serde_json::value::RawValue;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    enum Variant {
        Unit,
        Newtype(u8),
        Tuple(i64, char),
        Struct { a: Option<f32>, b: () },
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Newtype(i8);

    #[derive(Serialize)]
    struct Tuple(u16, i128);

    /// The form in which `serde_json` passes on a number with its feature `arbitrary_precision`.
    #[derive(Serialize)]
    #[serde(rename = "$serde_json::private::Number")]
    struct Number {
        #[serde(rename = "$serde_json::private::Number")]
        digits: &'static str,
    }

    /// A value that makes the calls that no derived type makes.
    struct ByHand;

    impl Serialize for ByHand {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use ser::SerializeTuple as _;
            struct Bytes;
            impl Serialize for Bytes {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_bytes(&[0, 255])
                }
            }
            struct Shown;
            impl Serialize for Shown {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(&format_args!("a {} b", "\"\n"))
                }
            }
            let mut both = serializer.serialize_tuple(2)?;
            both.serialize_element(&Bytes)?;
            both.serialize_element(&Shown)?;
            both.end()
        }
    }

    fn check<T: Serialize + ?Sized>(value: &T) {
        assert_eq!(to_string(value).unwrap(), serde_json::to_string(value).unwrap());
    }

    #[test]
    fn every_shape_is_written_as_serde_json_writes_it() {
        check(&[Variant::Unit, Variant::Newtype(7), Variant::Tuple(-1, '"'), Variant::Struct { a: Some(0.1), b: () }]);
        check(&(Unit, Newtype(-8), Tuple(9, i128::MIN), u128::MAX, i64::MIN, u64::MAX, f32::MAX));
        check(&[f64::MAX, f64::MIN_POSITIVE, -0.0, 1e16, 1.5, f64::NAN, f64::INFINITY]);
        check(&(None::<u8>, Some(""), std::net::Ipv4Addr::LOCALHOST, [(); 0], BTreeMap::<u8, u8>::new()));
        check(&ByHand);
        check(&BTreeMap::from([(1_u64, "a"), (2, "b")]));
        check(&BTreeMap::from([(true, 1)]));
        check(&BTreeMap::from([('\n', Variant::Unit)]));
        assert!(
            to_string(&BTreeMap::from([((), 1)])).is_err()
                && serde_json::to_string(&BTreeMap::from([((), 1)])).is_err()
        );
        assert!(to_string(&BTreeMap::from([(vec![1], 1)])).is_err());
    }

    #[test]
    fn what_is_json_already_is_copied() {
        let text = r#"{"b": [1e2,  "\u00e9"]}"#;
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let json = Json::parse_strict(text).unwrap();
        check(&(raw, &json, BTreeMap::from([("k", &json)]), "after"));
        assert_eq!(to_string(&(raw, json, "\n")).unwrap(), format!(r#"[{text},{text},"\n"]"#));
        assert_eq!(to_string(&[Number { digits: "1e999" }]).unwrap(), "[1e999]");
    }

    proptest! {
        #[test]
        fn every_text_is_written_as_serde_json_writes_it(text: String, ascii in "[ -~\n\t\"\\\\\u{0}-\u{1f}\u{7f}é]{0,80}") {
            for text in [text, ascii] {
                prop_assert_eq!(to_string(&text).unwrap(), serde_json::to_string(&text).unwrap());
                let (mut clean, mut of_clean) = (String::new(), String::new());
                append_without_nul(&mut clean, &text).unwrap();
                append(&mut of_clean, &text.replace('\0', "\u{FFFD}")).unwrap();
                prop_assert_eq!(clean, of_clean);
                prop_assert_eq!(to_string(&BTreeMap::from([(&text, 1)])).unwrap(), serde_json::to_string(&BTreeMap::from([(&text, 1)])).unwrap());
            }
        }

        #[test]
        fn every_number_is_written_as_serde_json_writes_it(float: f64, single: f32, integer: i64, wide: i128) {
            let all = (float, single, integer, wide);
            prop_assert_eq!(to_string(&all).unwrap(), serde_json::to_string(&all).unwrap());
        }
    }
}
