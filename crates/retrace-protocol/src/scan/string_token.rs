//! JSON strings as they stand in a text, and what they mean.

use memchr::memchr;

/// A JSON string that a cursor has passed.
#[derive(Clone, Copy, Debug)]
pub struct StringToken<'a> {
    /// The text between the quotes.
    pub(crate) content: &'a str,
    pub(crate) has_escapes: bool,
}

impl<'a> StringToken<'a> {
    /// Returns the text if it has no escapes.
    #[must_use]
    pub fn plain(self) -> Option<&'a str> {
        (!self.has_escapes).then_some(self.content)
    }

    /// Returns the text. If it has escapes, it is decoded into `buffer`, whose content is replaced; otherwise nothing is copied.
    ///
    /// ```
    /// use retrace_protocol::parse::Cursor;
    ///
    /// let (mut cursor, mut buffer) = (Cursor::new(r#""say \"hi\"\n""#), String::new());
    /// let string = cursor.string().map(|string| string.read(&mut buffer));
    /// assert_eq!(string, Some("say \"hi\"\n"));
    /// ```
    #[must_use]
    pub fn read<'b>(self, buffer: &'b mut String) -> &'b str
    where
        'a: 'b,
    {
        if !self.has_escapes {
            return self.content;
        }
        buffer.clear();
        self.decode(buffer);
        buffer
    }

    /// Appends the text.
    pub(crate) fn decode(self, buffer: &mut String) {
        buffer.reserve(self.content.len());
        let mut rest = self.content;
        while let Some((plain, escape)) = memchr(b'\\', rest.as_bytes()).and_then(|at| rest.split_at_checked(at)) {
            buffer.push_str(plain);
            rest = match decoded(escape) {
                Some((decoded, after)) => {
                    buffer.push(decoded);
                    after
                }
                None => "",
            };
        }
        buffer.push_str(rest);
    }
}

/// Splits a text after the escape that it begins with; returns the character that the escape means. The cursor has found that it
/// means one.
fn decoded(text: &str) -> Option<(char, &str)> {
    /// An escape such as `\u00e9`.
    const UNIT: usize = 6;
    let decoded = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => {
            let unit = |at: usize| u16::from_str_radix(text.get(at + 2..at + UNIT)?, 16).ok();
            let first = unit(0)?;
            let is_pair = matches!(first, 0xD800..=0xDBFF);
            let second = if is_pair { unit(UNIT) } else { None };
            let decoded = char::decode_utf16(std::iter::once(first).chain(second)).next()?.ok()?;
            return Some((decoded, text.get(if is_pair { 2 * UNIT } else { UNIT }..)?));
        }
        other => char::from(*other),
    };
    Some((decoded, text.get(2..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::scan::cursor::Cursor;

    fn check(json: &str) {
        let mut buffer = "before".to_owned();
        let read = Cursor::new(json).string().map(|string| string.read(&mut buffer).to_owned());
        let expected = serde_json::from_str::<String>(json).ok();
        // A strict reader has no U+0000.
        assert_eq!(read, expected.filter(|text| !text.contains('\0')), "{json}");
    }

    #[test]
    fn escapes_are_decoded() {
        for content in [
            "",
            "a",
            r"\n",
            r"a\\",
            r#"\"\/\b\f\r\t"#,
            r"\u00e9\u00E9x",
            r"\ud83d\ude00",
            r"\ud83d",
            r"\ude00",
            r"\u0000",
            r"\u12",
        ] {
            check(&format!("\"{content}\""));
        }
    }

    proptest! {
        #[test]
        fn a_string_is_what_serde_json_reads(text in any::<String>(), pieces in prop::collection::vec(
            prop::sample::select(vec![r"\u00e9", r"\ud83d\ude00", r"\/", r"\\", r#"\""#, "é", "abc", r"\u0041"]), 0..8,
        )) {
            check(&serde_json::to_string(&text).unwrap());
            check(&format!("\"{}\"", pieces.concat()));
        }
    }
}
