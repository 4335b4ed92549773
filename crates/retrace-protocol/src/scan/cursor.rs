//! Cursor over JSON text: slices it into values, and checks it on the way.

use super::escape::{near_quote, plain_end, plain_end_of_long};
use super::string_token::StringToken;
use crate::limits::JSON_DEPTH;

/// Position in a JSON text.
///
/// A cursor accepts less than the grammar allows: what it has passed is JSON, and strict as `is_strict` has it. Its methods return
/// `None` where they find anything else; the cursor cannot go on then.
///
/// ```
/// use retrace_protocol::parse::Cursor;
///
/// let mut cursor = Cursor::new(r#"{"role": "user", "parts": [1, {}]}"#);
/// let (mut role, mut parts) = (None, 0);
/// let passed = cursor.object(|key, cursor| match key {
///     "role" => cursor.raw().map(|raw| role = Some(raw.get())),
///     _ => cursor.list(|cursor| cursor.skip().map(|()| parts += 1)),
/// });
/// assert_eq!((passed, cursor.end()), (Some(()), Some(())));
/// assert_eq!((role, parts), (Some(r#""user""#), 2));
/// ```
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// Number of open lists and objects.
    depth: usize,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor at the start of a text.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Passes an object. `member` is called for each member with its key and must pass its value. A key with escapes is not
    /// accepted.
    #[inline]
    pub fn object(&mut self, mut member: impl FnMut(&'a str, &mut Self) -> Option<()>) -> Option<()> {
        self.enter(b'{')?;
        if self.peek()? == b'}' {
            return self.leave(b'}');
        }
        loop {
            let key = self.plain_string()?;
            self.expect(b':')?;
            member(key, self)?;
            if self.peek()? != b',' {
                return self.leave(b'}');
            }
            self.at += 1;
        }
    }

    /// Passes a list. `element` is called for each element and must pass it.
    #[inline]
    pub fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.enter(b'[')?;
        if self.peek()? == b']' {
            return self.leave(b']');
        }
        loop {
            element(self)?;
            if self.peek()? != b',' {
                return self.leave(b']');
            }
            self.at += 1;
        }
    }

    /// Passes a value.
    #[inline]
    pub fn skip(&mut self) -> Option<()> {
        self.value().map(|_| ())
    }

    /// Checks that nothing but whitespace follows.
    pub fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// Returns the number of bytes before the cursor.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// Returns the text from `begin` to the cursor.
    pub(crate) fn passed(&self, begin: usize) -> Option<&'a str> {
        self.text.get(begin..self.at)
    }

    /// Skips whitespace; returns the byte after it, such as the first one of a value.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        self.at = space_end(self.text.as_bytes(), self.at);
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips whitespace, then this byte.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Enters a list or an object, whose first byte is `begin`.
    #[inline]
    pub(crate) fn enter(&mut self, begin: u8) -> Option<()> {
        self.depth += 1;
        self.expect(begin).filter(|()| self.depth <= JSON_DEPTH)
    }

    /// Leaves a list or an object, whose last byte is `end`.
    #[inline]
    pub(crate) fn leave(&mut self, end: u8) -> Option<()> {
        self.depth = self.depth.saturating_sub(1);
        self.expect(end)
    }

    /// Passes a value; returns its text.
    #[inline(always)]
    pub fn value(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let first = self.peek()?;
        let begin = self.at;
        self.at = match first {
            b'"' => match near_quote(bytes, begin + 1) {
                Some(quote) => quote + 1,
                None => string_end(bytes, begin + 1)?,
            },
            _ => value_end(bytes, begin, self.depth)?,
        };
        self.text.get(begin..self.at)
    }

    /// Passes a word such as `null`, of which the first byte is known.
    pub(crate) fn word(&mut self, word: &str) -> Option<()> {
        self.at = word_end(self.text.as_bytes(), self.at, word)?;
        Some(())
    }

    /// Passes a string without escapes; returns the text between the quotes.
    #[inline(always)]
    fn plain_string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let (bytes, begin) = (self.text.as_bytes(), self.at);
        let quote = near_quote(bytes, begin).or_else(|| plain_string_end(bytes, begin))?;
        self.at = quote + 1;
        self.text.get(begin..quote)
    }

    /// Passes a string.
    pub fn string(&mut self) -> Option<StringToken<'a>> {
        self.expect(b'"')?;
        let (bytes, begin) = (self.text.as_bytes(), self.at);
        let plain = plain_end(bytes, begin);
        let has_escapes = *bytes.get(plain)? != b'"';
        self.at = if has_escapes { string_end(bytes, plain)? } else { plain + 1 };
        Some(StringToken { content: self.text.get(begin..self.at - 1)?, has_escapes })
    }
}

#[inline]
fn space_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Returns the end of the value that begins at `at`, within `depth` open lists and objects.
#[inline(never)]
fn value_end(bytes: &[u8], mut at: usize, depth: usize) -> Option<usize> {
    const { assert!(JSON_DEPTH <= u64::BITS as usize, "a bit for each open list or object") };
    // One bit for each list or object that is open within the value, the innermost one lowest: 1 for an object.
    let (mut open, mut objects) = (0, 0_u64);
    loop {
        let first = *bytes.get(at)?;
        at = match first {
            b'"' => string_end(bytes, at + 1)?,
            b'{' | b'[' => {
                open += 1;
                if depth + open > JSON_DEPTH {
                    return None;
                }
                let is_object = first == b'{';
                objects = objects << 1 | u64::from(is_object);
                at = space_end(bytes, at + 1);
                match bytes.get(at)? {
                    b'}' if is_object => at,
                    b']' if !is_object => at,
                    _ => {
                        at = if is_object { key_end(bytes, at)? } else { at };
                        continue;
                    }
                }
            }
            b't' => word_end(bytes, at, "true")?,
            b'f' => word_end(bytes, at, "false")?,
            b'n' => word_end(bytes, at, "null")?,
            _ => number_end(bytes, at)?,
        };
        loop {
            if open == 0 {
                return Some(at);
            }
            at = space_end(bytes, at);
            let is_object = objects & 1 == 1;
            match bytes.get(at)? {
                b',' => {
                    at = space_end(bytes, at + 1);
                    at = if is_object { key_end(bytes, at)? } else { at };
                    break;
                }
                b'}' if is_object => {}
                b']' if !is_object => {}
                _ => return None,
            }
            at += 1;
            open -= 1;
            objects >>= 1;
        }
    }
}

/// Returns the start of the value after a key.
fn key_end(bytes: &[u8], at: usize) -> Option<usize> {
    let end = (*bytes.get(at)? == b'"').then(|| string_end(bytes, at + 1))??;
    let colon = space_end(bytes, end);
    (*bytes.get(colon)? == b':').then(|| space_end(bytes, colon + 1))
}

fn word_end(bytes: &[u8], at: usize, word: &str) -> Option<usize> {
    bytes.get(at..)?.starts_with(word.as_bytes()).then_some(at + word.len())
}

/// Returns the position of the quote at the end of a string without escapes, of which the text from `at` on is left.
#[inline(never)]
fn plain_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let end = plain_end(bytes, at);
    (*bytes.get(end)? == b'"').then_some(end)
}

/// Returns the end of a string, of which the text from `at` on is left.
#[inline(never)]
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = plain_end_of_long(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                at = match bytes.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at + 2,
                    _ => unicode_escape_end(bytes, at)?,
                }
            }
            _ => return None,
        }
    }
}

/// Returns the end of an escape such as `\u00e9`, or of two that are a surrogate pair.
fn unicode_escape_end(bytes: &[u8], at: usize) -> Option<usize> {
    const LENGTH: usize = 6;
    let unit = |at: usize| {
        let [b'\\', b'u', digits @ ..] = bytes.get(at..)?.first_chunk::<LENGTH>()? else { return None };
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    };
    match unit(at)? {
        0 | 0xDC00..=0xDFFF => None,
        0xD800..=0xDBFF => matches!(unit(at + LENGTH)?, 0xDC00..=0xDFFF).then_some(at + 2 * LENGTH),
        _ => Some(at + LENGTH),
    }
}

fn number_end(bytes: &[u8], begin: usize) -> Option<usize> {
    /// A shorter number without an exponent is below 10^300.
    const PLAINLY_FINITE: usize = 300;

    let mut at = begin + usize::from(bytes.get(begin) == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits_end(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits_end(bytes, at + 1)?;
    }
    let has_exponent = matches!(bytes.get(at), Some(b'e' | b'E'));
    if has_exponent {
        let is_signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = digits_end(bytes, at + 1 + usize::from(is_signed))?;
    }
    if !has_exponent && at - begin < PLAINLY_FINITE {
        return Some(at);
    }
    let number: f64 = std::str::from_utf8(bytes.get(begin..at)?).ok()?.parse().ok()?;
    number.is_finite().then_some(at)
}

/// Returns the end of one digit or more.
fn digits_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = bytes.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then_some(at + digits)
}
