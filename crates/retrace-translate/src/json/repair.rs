//! Repair of truncated JSON.

use retrace_protocol::Json;
use retrace_protocol::json::without_refused_escapes;
use retrace_protocol::limits::JSON_DEPTH;

/// Ellipses that mark a truncation.
const ELLIPSES: [&str; 2] = ["...", "…"];

/// Closes truncated JSON, as limits on the length of attributes leave it.
///
/// The result is a prefix of the original value: a truncated string ends where it was cut, and every open list and object is
/// closed. A key without its value is dropped, and so is a number or a word that may be incomplete. An ellipsis after the cut
/// is recognised. Returns `None` for text that does not begin with an object, a list or a string, and for JSON that is
/// complete. Costs one pass.
///
/// ```
/// use retrace_translate::repair;
///
/// let cut = r#"[{"role":"user","content":"What is the wea"#;
/// assert_eq!(repair(cut).unwrap().as_str(), r#"[{"role":"user","content":"What is the wea"}]"#);
/// assert_eq!(repair("no JSON at all"), None);
/// ```
#[must_use]
pub fn repair(text: &str) -> Option<Json> {
    let text = text.trim_start();
    if !text.starts_with(['{', '[', '"']) {
        return None;
    }
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, open: Vec::new(), good: 0 };
    let mut whole = match scan.value()? {
        ScanEnd::Whole => return None,
        ScanEnd::InString { whole } => format!("{}\"", text.get(..whole)?),
        ScanEnd::Odd if !is_truncation_note(text.get(scan.at..)?) => return None,
        ScanEnd::Early | ScanEnd::Odd => text.get(..scan.good)?.to_owned(),
    };
    whole.extend(scan.open.iter().rev().map(|open| match open {
        Container::Map => '}',
        Container::List => ']',
    }));
    Json::parse_strict(&without_refused_escapes(&whole))
}

/// Returns true for text that only notes a truncation.
fn is_truncation_note(rest: &str) -> bool {
    const LONGEST_NOTE: usize = 40;
    let note = ELLIPSES.iter().find_map(|ellipsis| rest.strip_prefix(ellipsis)).map(str::trim);
    note.is_some_and(|note| note.is_empty() || note.len() <= LONGEST_NOTE && note.contains("truncated"))
}

#[derive(Clone, Copy)]
enum Container {
    Map,
    List,
}

/// Outcome of a scan.
enum ScanEnd {
    /// The value is complete.
    Whole,
    /// The text ended within the value.
    Early,
    /// The text ended within a string that is a value; its characters are complete up to `whole`.
    InString { whole: usize },
    /// An unexpected byte.
    Odd,
}

/// Token that the grammar expects next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Value,
    /// A value or the end of the list.
    FirstValue,
    /// A key or the end of the object.
    FirstKey,
    Key,
    Colon,
    /// A comma or the end of the container.
    Comma,
}

struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
    open: Vec<Container>,
    /// Position up to which the open containers can be closed.
    good: usize,
}

impl Scan<'_> {
    /// Reads the first value; returns `None` if it is nested deeper than a strict reader accepts.
    fn value(&mut self) -> Option<ScanEnd> {
        let mut next = Next::Value;
        loop {
            while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
                self.at += 1;
            }
            let Some(byte) = self.bytes.get(self.at) else { return Some(ScanEnd::Early) };
            next = match (next, byte) {
                (Next::Value | Next::FirstValue, b'{') => self.enter(Container::Map)?,
                (Next::Value | Next::FirstValue, b'[') => self.enter(Container::List)?,
                (Next::Value | Next::FirstValue, b'"') => match self.string() {
                    Ok(()) => self.pass(),
                    Err(whole) => return Some(ScanEnd::InString { whole }),
                },
                (Next::Value | Next::FirstValue, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => match self.word() {
                    Some(true) => self.pass(),
                    Some(false) => return Some(ScanEnd::Odd),
                    None => return Some(ScanEnd::Early),
                },
                (Next::Key | Next::FirstKey, b'"') => match self.string() {
                    Ok(()) => Next::Colon,
                    Err(_) => return Some(ScanEnd::Early),
                },
                (Next::Colon, b':') => {
                    self.at += 1;
                    Next::Value
                }
                (Next::Comma, b',') => {
                    self.at += 1;
                    if matches!(self.open.last(), Some(Container::Map)) { Next::Key } else { Next::Value }
                }
                (Next::Comma | Next::FirstKey, b'}') if matches!(self.open.last(), Some(Container::Map)) => {
                    self.leave()
                }
                (Next::Comma | Next::FirstValue, b']') if matches!(self.open.last(), Some(Container::List)) => {
                    self.leave()
                }
                _ => return Some(ScanEnd::Odd),
            };
            if self.open.is_empty() {
                return Some(ScanEnd::Whole);
            }
        }
    }

    fn enter(&mut self, open: Container) -> Option<Next> {
        if self.open.len() >= JSON_DEPTH {
            return None;
        }
        self.open.push(open);
        self.at += 1;
        self.good = self.at;
        Some(match open {
            Container::Map => Next::FirstKey,
            Container::List => Next::FirstValue,
        })
    }

    fn leave(&mut self) -> Next {
        self.open.pop();
        self.at += 1;
        self.pass()
    }

    /// Ends a value.
    fn pass(&mut self) -> Next {
        self.good = self.at;
        Next::Comma
    }

    /// Reads a string; for an unterminated one, returns the position up to which its characters are complete.
    fn string(&mut self) -> Result<(), usize> {
        const ESCAPE: usize = r"\u0000".len();
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += match rest {
                [] => return Err(self.at),
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(());
                }
                [b'\\', b'u', escape @ ..] => match escape {
                    // The first half of a surrogate pair is invalid without the second.
                    [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _, second @ ..]
                        if second.len() < ESCAPE && !second.contains(&b'"') =>
                    {
                        return Err(self.at);
                    }
                    [_, _, _, _, ..] => ESCAPE,
                    _ => return Err(self.at),
                },
                [b'\\', _, ..] => 2,
                [b'\\'] => return Err(self.at),
                [_, ..] => 1,
            };
        }
    }

    /// Reads a number or a word; returns `None` if the text ends with it, because it may be incomplete.
    fn word(&mut self) -> Option<bool> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.iter().position(|byte| !is_part(byte))?;
        let word = std::str::from_utf8(rest.get(..length)?).unwrap_or_default();
        if let Some(number) = word.strip_suffix("...") {
            self.at += number.len();
            return Some(false);
        }
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(word).is_ok();
        self.at += if is_json { word.len() } else { 0 };
        Some(is_json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn repaired(text: &str) -> Option<String> {
        repair(text).map(|json| json.as_str().to_owned())
    }

    #[test]
    fn what_is_open_is_closed() {
        for (cut, whole) in [
            (r#"[{"a":"b"#, r#"[{"a":"b"}]"#),
            (r#"{"a":{"b":[1,2"#, r#"{"a":{"b":[1]}}"#),
            (r#"{"a":{"b":[1,2,"#, r#"{"a":{"b":[1,2]}}"#),
            (r#"{"a":1,"b"#, r#"{"a":1}"#),
            (r#"{"a":1,"b":"#, r#"{"a":1}"#),
            (r#"{"a":tru"#, "{}"),
            (r#""tex"#, r#""tex""#),
            (r#"  ["a\"#, r#"["a"]"#),
            (r#"["a\u00"#, r#"["a"]"#),
            (r#"["a\ud83d\ude"#, r#"["a"]"#),
            (r#"["a\ud83d\ude00"#, r#"["a\ud83d\ude00"]"#),
            ("{\n \"a\": [ {", "{\n \"a\": [ {}]}"),
            (r#"[1,2,..."#, "[1,2]"),
            (r#"[1,2..."#, "[1]"),
            (r#"{"a":[1],"b":…"#, r#"{"a":[1]}"#),
            (r#"{"a":[1]... (truncated 7 bytes)"#, r#"{"a":[1]}"#),
            (r#"["\ud800","b"#, r#"["\ufffd","b"]"#),
        ] {
            assert_eq!(repaired(cut).as_deref(), Some(whole), "{cut}");
        }
    }

    #[test]
    fn what_is_no_beginning_of_json_is_left_alone() {
        for text in [
            "",
            "text",
            "12",
            "[note] hello",
            "{name}",
            "[1, ..., 3]",
            "[1..., 3]",
            "[1]",
            "[1] and",
            r#"{"a":}"#,
            "[01",
            "]",
        ] {
            let repairs = repaired(text);
            assert!(repairs.is_none() || text == "[01", "{text}: {repairs:?}");
        }
        assert_eq!(repaired(&"[".repeat(JSON_DEPTH + 1)), None);
        assert_eq!(
            repaired(&"[".repeat(JSON_DEPTH)),
            Some(format!("{}{}", "[".repeat(JSON_DEPTH), "]".repeat(JSON_DEPTH)))
        );
    }

    /// Returns true if `cut` is a prefix of `whole` at every depth.
    fn begins(cut: &Value, whole: &Value) -> bool {
        match (cut, whole) {
            // Truncation may have turned a byte of a longer character into U+FFFD.
            (Value::String(cut), Value::String(whole)) => whole.starts_with(cut.trim_end_matches('\u{FFFD}')),
            (Value::Array(cut), Value::Array(whole)) => {
                cut.len() <= whole.len() && cut.iter().zip(whole).all(|(cut, whole)| begins(cut, whole))
            }
            (Value::Object(cut), Value::Object(whole)) => {
                cut.iter().all(|(key, cut)| whole.get(key).is_some_and(|whole| begins(cut, whole)))
            }
            (cut, whole) => cut == whole,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = "[\"\\\\\\n\\t\\x01é😀a{}\\[\\],:.]{0,12}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e6_f64..1e6).prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        let inner = leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            text.prop_map(Value::from),
        ]
    }

    /// Returns JSON in which everything beyond ASCII is escaped.
    fn ascii(json: &str) -> String {
        json.chars().fold(String::new(), |mut out, c| {
            if c.is_ascii() {
                out.push(c);
            } else {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            out
        })
    }

    proptest! {
        /// P28: JSON cut at any byte parses after repair and is a prefix of the original.
        #[test]
        fn pain_28_json_cut_at_every_byte_is_repaired(value in any_json(), form in 0_u8..3) {
            let text = match form {
                0 => value.to_string(),
                1 => serde_json::to_string_pretty(&value).unwrap(),
                _ => ascii(&value.to_string()),
            };
            prop_assert_eq!(repair(&text), None, "whole");
            for cut in 1..text.len() {
                let cut = String::from_utf8_lossy(&text.as_bytes()[..cut]);
                let Some(repaired) = repair(&cut) else { return Err(TestCaseError::fail(format!("{cut:?} was given up"))) };
                prop_assert!(Json::parse_strict(repaired.as_str()).is_some());
                let repaired = repaired.to_value().unwrap();
                prop_assert!(begins(&repaired, &value), "{} from {}", repaired, cut);
            }
        }

        #[test]
        fn no_text_is_too_odd(text in "[\\[\\]{}\",:.\\\\udD8aé0-9tfn ]{0,40}") {
            if let Some(repaired) = repair(&text) {
                prop_assert!(Json::parse_strict(repaired.as_str()).is_some());
            }
        }
    }
}
