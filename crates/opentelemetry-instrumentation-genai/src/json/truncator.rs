//! Incremental truncation of JSON: reads input of any size in one pass and emits small documents.
//!
//! Bytes are read as they arrive. The emitted documents are the top-level objects: a body that is one, lines that each are one,
//! or the elements of a list. In each, long texts are cut, values at the paths that an API names (embeddings) are only counted,
//! and invalid JSON that servers write (`NaN`, half a surrogate pair, a raw line break in a text) is corrected. Memory is
//! bounded for any input.

use std::ops::Range;

use crate::json::Json;
use crate::json::unread_path::{ANY, PathSet, UnreadPath};

/// Limits of a document, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TruncationLimits {
    /// Limit of each text.
    pub text: usize,
    /// Limit of each document: values that begin beyond it are left out.
    pub document: usize,
    /// A document up to this length that arrives in one chunk needs no truncator.
    pub short: usize,
    /// Paths whose lists and texts are counted and not kept.
    pub unread: &'static [UnreadPath],
}

const MAX_DEPTH: usize = 96; // below the 128 at which serde_json gives up
const MAX_KEY: usize = 256;
const MAX_TOKEN: usize = 64;
/// Minimum length of an unfinished text that is kept: shorter texts are names, and half a name is wrong.
const WORTH_KEEPING: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between documents.
    Top,
    /// After invalid JSON: skips to the end of the line.
    Lost,
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    Next,
    Text {
        key: bool,
    },
    Token,
}

#[derive(Debug)]
struct Frame {
    object: bool,
    kept: bool,
    /// True if nothing was written into it yet.
    empty: bool,
    /// Paths that its position has followed.
    paths_so_far: PathSet,
    /// True if its elements are only counted.
    unread: bool,
    /// Number of elements left out.
    cut: u64,
}

/// The truncator. [`Truncator::push`] calls back with each document.
#[derive(Debug)]
pub(crate) struct Truncator {
    limits: TruncationLimits,
    state: State,
    frames: Vec<Frame>,
    /// Number of open containers beyond the tracked depth.
    deeper: u64,
    out: Vec<u8>,
    key: Vec<u8>,
    key_too_long: bool,
    token: Vec<u8>,
    text: Text,
    /// Number of bytes of texts that were left out, over all documents.
    cut: u64,
}

/// A text that is being read.
#[derive(Debug, Default)]
struct Text {
    /// Range of the text in `out`, with what belongs to it.
    span: Range<usize>,
    kept: bool,
    /// True if it is no content, such as an embedding in base64.
    unread: bool,
    limit: usize,
    cut: u64,
    /// An unfinished escape: the backslash and what followed.
    escape: Vec<u8>,
    /// The first half of a surrogate pair, whose second half must follow.
    high: Option<[u8; 6]>,
}

impl Truncator {
    pub(crate) fn new(limits: TruncationLimits) -> Self {
        Self {
            limits,
            state: State::Top,
            frames: Vec::new(),
            deeper: 0,
            out: Vec::new(),
            key: Vec::new(),
            key_too_long: false,
            token: Vec::new(),
            text: Text::default(),
            cut: 0,
        }
    }

    /// Returns true between documents.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Top
    }

    /// Returns true if a whole document of this length may be parsed unchanged. [`Truncator::keeps_all`] then decides.
    pub(crate) fn is_short(&self, length: usize) -> bool {
        length <= self.limits.short
    }

    /// Returns true if the truncator would keep all of a short document, so that parsing it unchanged gives the same.
    ///
    /// May return false for a document of which all would be kept. Costs one walk and no allocation.
    pub(crate) fn keeps_all(&self, document: &Json<'_>, length: usize) -> bool {
        // A text is never longer than its document.
        let text = if length <= self.limits.text { usize::MAX } else { self.limits.text };
        plain(document, PathSet::all(self.limits.unread), 0, (self.limits.unread, text))
    }

    /// Maximum length of a key that is kept: in a document that may be parsed unchanged no key is longer.
    fn max_key(&self) -> usize {
        self.limits.short.max(MAX_KEY)
    }

    /// Number of bytes of texts that were left out so far.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    /// Reads the next bytes; calls `found` with each document that ends in them.
    pub(crate) fn push(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(&[u8])) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                State::Text { key } => {
                    bytes = self.text(bytes, key);
                    continue;
                }
                State::Token => {
                    if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
                        // In a document that may be parsed unchanged no token is longer.
                        if self.token.len() < self.limits.short.max(MAX_TOKEN) {
                            self.token.push(byte);
                        }
                    } else {
                        self.end_token();
                        continue; // the byte is looked at again
                    }
                }
                State::Lost => {
                    if byte == b'\n' {
                        self.reset();
                    }
                }
                _ => self.structure(byte, found),
            }
            bytes = rest;
        }
    }

    /// Drops an open document.
    pub(crate) fn reset(&mut self) {
        self.state = State::Top;
        self.frames.clear();
        self.deeper = 0;
        self.out.clear();
    }

    /// Passes on what there is of an open document.
    pub(crate) fn finish(&mut self, found: &mut dyn FnMut(&[u8])) {
        if let State::Text { key: false } = self.state
            && self.text.kept
        {
            if self.out.len() - self.text.span.end >= WORTH_KEEPING {
                self.end_text();
            } else {
                self.out.truncate(self.text.span.start);
            }
        }
        while let Some(frame) = self.frames.pop() {
            self.close(&frame);
        }
        if !self.out.is_empty() {
            found(&self.out);
        }
        self.reset();
    }

    fn structure(&mut self, byte: u8, found: &mut dyn FnMut(&[u8])) {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return;
        }
        match (self.state, byte) {
            (State::Top, b'{') => self.open(true),
            (State::Top, _) => {}
            (State::Value | State::ValueOrEnd, b'{') => self.open(true),
            (State::Value | State::ValueOrEnd, b'[') => self.open(false),
            (State::Value | State::ValueOrEnd, b'"') => self.begin_text(),
            (State::KeyOrEnd | State::Key, b'"') => {
                self.key.clear();
                self.key_too_long = false;
                self.text.escape.clear();
                self.state = State::Text { key: true };
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::Next, b',') => self.state = if self.in_object() { State::Key } else { State::Value },
            (State::ValueOrEnd | State::KeyOrEnd | State::Next | State::Key, b'}' | b']') => self.end(found),
            (State::Value, b']') => self.end(found), // a comma too many
            (State::Value | State::ValueOrEnd, other) if other.is_ascii_alphanumeric() || b"+-.".contains(&other) => {
                self.token.clear();
                self.token.push(other);
                self.state = State::Token;
            }
            _ => self.state = State::Lost,
        }
    }

    fn in_object(&self) -> bool {
        // Beyond the tracked depth nothing is kept.
        self.deeper == 0 && self.frames.last().is_some_and(|frame| frame.object)
    }

    /// Returns true if a value that begins here is kept.
    fn keeps(&self) -> bool {
        self.frames.last().is_none_or(|frame| {
            let room = self.deeper == 0 && self.out.len() < self.limits.document;
            room && frame.kept && !(frame.object && self.key_too_long)
        })
    }

    /// Returns the paths that a value beginning here has followed, and whether one of them ends here.
    fn paths_so_far(&self) -> (PathSet, bool) {
        let Some(frame) = self.frames.last() else { return (PathSet::all(self.limits.unread), false) };
        if frame.paths_so_far == PathSet::NONE {
            return (PathSet::NONE, false);
        }
        let depth = self.frames.len();
        let step = if frame.object { &self.key } else { ANY.as_bytes() };
        let paths_so_far = frame.paths_so_far.step(self.limits.unread, depth - 1, step);
        (paths_so_far, paths_so_far.end(self.limits.unread, depth))
    }

    /// Counts an element of a list whose elements are not kept; returns false for any other value.
    fn count(&mut self) -> bool {
        let Some(frame) = self.frames.last_mut().filter(|frame| frame.unread && self.deeper == 0) else { return false };
        frame.cut += 1;
        true
    }

    /// Writes what precedes a value: a comma, a key.
    fn lead(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        if !std::mem::replace(&mut frame.empty, false) {
            self.out.push(b',');
        }
        if frame.object {
            self.out.push(b'"');
            self.out.extend_from_slice(&self.key);
            self.out.extend_from_slice(b"\":");
        }
    }

    fn open(&mut self, object: bool) {
        self.state = if object { State::KeyOrEnd } else { State::ValueOrEnd };
        if self.frames.len() >= MAX_DEPTH {
            self.deeper += 1;
            return;
        }
        let (paths_so_far, is_end) = self.paths_so_far();
        let kept = self.keeps() && !self.count();
        if kept {
            self.lead();
            self.out.push(if object { b'{' } else { b'[' });
        }
        let (paths_so_far, unread) = if kept { (paths_so_far, is_end && !object) } else { (PathSet::NONE, false) };
        self.frames.push(Frame { object, kept, empty: true, paths_so_far, unread, cut: 0 });
    }

    fn end(&mut self, found: &mut dyn FnMut(&[u8])) {
        self.state = State::Next;
        if self.deeper > 0 {
            self.deeper -= 1;
            return;
        }
        let Some(frame) = self.frames.pop() else { return self.reset() };
        self.close(&frame);
        if self.frames.is_empty() {
            found(&self.out);
            self.reset();
        }
    }

    fn close(&mut self, frame: &Frame) {
        if !frame.kept {
            return;
        }
        if frame.cut > 0 && !frame.object {
            if !frame.empty {
                self.out.push(b',');
            }
            self.out.extend_from_slice(format!("\"…[{} more]\"", frame.cut).as_bytes());
        }
        self.out.push(if frame.object { b'}' } else { b']' });
    }

    fn end_token(&mut self) {
        self.state = State::Next;
        if !self.keeps() || self.count() {
            return;
        }
        let number = std::str::from_utf8(&self.token).ok().and_then(|token| token.parse::<f64>().ok());
        self.lead();
        // Rust accepts numbers that are not valid JSON.
        let number =
            number.is_some_and(f64::is_finite) && serde_json::from_slice::<serde_json::Number>(&self.token).is_ok();
        let word: &[u8] = if number || matches!(&*self.token, b"true" | b"false") { &self.token } else { b"null" };
        self.out.extend_from_slice(word);
    }

    fn begin_text(&mut self) {
        let (_, unread) = self.paths_so_far();
        let kept = self.keeps() && !self.count();
        let start = self.out.len();
        let limit = if unread { 0 } else { self.limits.text };
        if kept {
            self.lead();
            self.out.push(b'"');
        }
        let escape = std::mem::take(&mut self.text.escape);
        self.text = Text { span: start..self.out.len(), kept, unread, limit, cut: 0, escape, high: None };
        self.text.escape.clear();
        self.state = State::Text { key: false };
    }

    /// Reads the part of a text in `bytes`; returns the rest.
    fn text<'b>(&mut self, bytes: &'b [u8], key: bool) -> &'b [u8] {
        if !self.text.escape.is_empty() {
            return self.escape(bytes, key);
        }
        let special = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let (run, rest) = bytes.split_at(special.unwrap_or(bytes.len()));
        if !run.is_empty() {
            self.unit(run, key);
        }
        let Some((&byte, rest)) = rest.split_first() else { return rest };
        match byte {
            b'"' if key => self.state = State::Colon,
            b'"' => {
                if self.text.kept {
                    self.end_text();
                }
                self.state = State::Next;
            }
            b'\\' => self.text.escape.push(byte),
            control => self.unit(format!("\\u{control:04x}").as_bytes(), key),
        }
        rest
    }

    fn escape<'b>(&mut self, bytes: &'b [u8], key: bool) -> &'b [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        let unicode = self.text.escape.get(1) == Some(&b'u');
        if unicode && !byte.is_ascii_hexdigit() {
            self.text.escape.clear();
            self.unit(b"\\ufffd", key);
            return bytes;
        }
        self.text.escape.push(byte);
        if !(unicode || byte == b'u') {
            let known = matches!(byte, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't');
            self.text.escape.clear();
            if known {
                self.unit(&[b'\\', byte], key);
            } else {
                self.unit(b"\\ufffd", key);
            }
            return rest;
        }
        if let Ok(escape) = <[u8; 6]>::try_from(&*self.text.escape) {
            self.text.escape.clear();
            let [_, _, first, second, ..] = escape.map(|byte| byte.to_ascii_lowercase());
            match (first, second) {
                (b'd', b'8'..=b'b') => {
                    self.lone_half(key);
                    self.text.high = Some(escape);
                }
                (b'd', b'c'..=b'f') => match self.text.high.take() {
                    Some(high) => self.unit(&[high, escape].concat(), key),
                    None => self.unit(b"\\ufffd", key),
                },
                _ => self.unit(&escape, key),
            }
        }
        rest
    }

    fn lone_half(&mut self, key: bool) {
        if self.text.high.take().is_some() {
            self.unit(b"\\ufffd", key);
        }
    }

    /// Adds an indivisible unit or a run of plain bytes to a text.
    fn unit(&mut self, unit: &[u8], key: bool) {
        self.lone_half(key);
        if key {
            if self.key.len() + unit.len() > self.max_key() {
                self.key_too_long = true;
            } else {
                self.key.extend_from_slice(unit);
            }
            return;
        }
        if !self.text.kept {
            return;
        }
        let room = self.text.limit.saturating_sub(self.out.len() - self.text.span.end);
        let escaped = unit.first() == Some(&b'\\');
        let kept = match () {
            () if self.text.cut > 0 => 0,
            () if unit.len() <= room => unit.len(),
            () if escaped => 0,
            () => room,
        };
        let (kept, cut) = unit.split_at(kept);
        self.out.extend_from_slice(kept);
        self.text.cut += if escaped { u64::from(!cut.is_empty()) } else { cut.len() as u64 };
    }

    fn end_text(&mut self) {
        self.text.escape.clear();
        self.lone_half(false);
        if self.text.cut > 0 {
            // A character may cross the limit.
            let kept = self.out.get(self.text.span.end..).unwrap_or_default();
            if let Err(error) = std::str::from_utf8(kept)
                && error.error_len().is_none()
            {
                let valid = self.text.span.end + error.valid_up_to();
                self.text.cut += (self.out.len() - valid) as u64;
                self.out.truncate(valid);
            }
            if !self.text.unread {
                self.cut += self.text.cut;
            }
            self.out.extend_from_slice(cut_mark(self.text.cut).as_bytes());
        }
        self.out.push(b'"');
    }
}

/// Returns true if nothing of a value is counted, cut or nested too deep; `depth` containers are around it.
fn plain(value: &Json<'_>, paths_so_far: PathSet, depth: usize, limits: (&[UnreadPath], usize)) -> bool {
    /// Maximum number of bytes that the escape of one byte takes.
    const ESCAPE: usize = r"\u0000".len();
    let (paths, text) = limits;
    let is_unread = || depth > 0 && paths_so_far.end(paths, depth);
    let step = |name: &str| {
        if paths_so_far == PathSet::NONE { paths_so_far } else { paths_so_far.step(paths, depth, name.as_bytes()) }
    };
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => true,
        Json::Text(own) => own.len() <= text / ESCAPE && !is_unread(),
        Json::Array(items) => {
            let paths_so_far = step(ANY);
            depth < MAX_DEPTH && !is_unread() && items.iter().all(|item| plain(item, paths_so_far, depth + 1, limits))
        }
        Json::Object(members) => {
            depth < MAX_DEPTH && members.iter().all(|(name, value)| plain(value, step(name), depth + 1, limits))
        }
    }
}

/// Returns the mark at the end of a text that was cut.
pub(crate) fn cut_mark(bytes: u64) -> String {
    format!("…[{bytes} bytes more]")
}

/// Returns the text before a cut mark and the number of bytes cut.
pub(crate) fn bytes_cut(text: &str) -> Option<(&str, u64)> {
    let (kept, mark) = text.rsplit_once("…[")?;
    Some((kept, mark.strip_suffix(" bytes more]")?.parse().ok()?))
}

/// Returns the number of elements for which the last element of a list stands.
pub(crate) fn elements_cut(text: &str) -> Option<u64> {
    text.strip_prefix("…[")?.strip_suffix(" more]")?.parse().ok()
}

#[cfg(test)]
mod tests;
