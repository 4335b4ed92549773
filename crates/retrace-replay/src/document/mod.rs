//! One pass over a JSON document: its credentials are looked for, and its canonical form is written.

pub(crate) mod canonical;
mod form_filter;
pub(crate) mod last_document;

use std::ops::Range;

use genai_redact::Place;
use retrace_protocol::Json;
use retrace_protocol::parse::{Cursor, StringToken};

use self::canonical::{Canonical, is_call_id};
use self::form_filter::may_hold;

/// Credentials that are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Those that [`genai_redact::json`] replaces in a body.
    Body,
    /// Those, and in every text those of a known form.
    Request,
}

/// A document that is read.
pub(crate) struct Document<'t> {
    rules: Rules,
    text: &'t str,
    /// Absent where the form is not needed.
    pub(crate) canonical: Option<Canonical>,
    /// A credential was found.
    pub(crate) has_credential: bool,
    /// Positions of texts without escapes in which nothing is looked for; not all of them.
    pub(crate) free_texts: Vec<Range<usize>>,
    /// Last text with escapes, decoded.
    decoded: String,
}

/// Most texts of a document whose positions are kept.
const MAX_FREE_TEXTS: usize = 4;

impl<'t> Document<'t> {
    pub(crate) fn new(text: &'t str, rules: Rules, canonical: Option<Canonical>) -> Self {
        Self { rules, text, canonical, has_credential: false, free_texts: Vec::new(), decoded: String::new() }
    }

    /// Reads the document. `None` if a strict reader refuses its text, or a name in it has escapes.
    ///
    /// Costs one pass, and builds no tree.
    pub(crate) fn read(&mut self) -> Option<()> {
        let mut cursor = Cursor::new(self.text);
        self.value(&mut cursor, Place::Body, false)?;
        cursor.end()
    }

    /// [`Document::read`] for a document that is kept; returns it.
    pub(crate) fn read_json(&mut self) -> Option<Json> {
        let mut cursor = Cursor::new(self.text);
        let json = cursor.json(|cursor| self.value(cursor, Place::Body, false).map(drop))?;
        cursor.end().map(|()| json)
    }

    /// Reads a value that stands here. Returns whether it is a text.
    fn value(&mut self, cursor: &mut Cursor<'t>, place: Place, is_call_id: bool) -> Option<bool> {
        let is_needed = self.canonical.is_some()
            || self.rules == Rules::Request
            || place != Place::Verbatim && !self.has_credential;
        if !is_needed {
            return cursor.skip().map(|()| false);
        }
        match cursor.peek()? {
            b'"' => {
                let string = cursor.string()?;
                self.string(string, place, is_call_id);
                return Some(true);
            }
            b'{' => self.object(cursor, place)?,
            b'[' => {
                self.write(Canonical::begin_list);
                cursor.list(|cursor| self.value(cursor, place.element(), false).map(drop))?;
                self.write(Canonical::end_list);
            }
            _ => self.scalar(cursor.value()?, place)?,
        }
        Some(false)
    }

    fn object(&mut self, cursor: &mut Cursor<'t>, place: Place) -> Option<()> {
        let mark = self.canonical.as_mut().map(Canonical::begin_object);
        cursor.object(|name, cursor| {
            self.write(|canonical| canonical.name(name));
            let is_call_id = self.canonical.is_some() && is_call_id(name);
            let is_text = self.value(cursor, place.member(name), is_call_id)?;
            self.write(|canonical| canonical.end_member(is_text));
            Some(())
        })?;
        if let (Some(mark), Some(canonical)) = (mark, &mut self.canonical) {
            canonical.end_object(&mark);
        }
        Some(())
    }

    fn string(&mut self, string: StringToken<'t>, place: Place, is_call_id: bool) {
        let is_free = is_free(place) && self.rules == Rules::Body;
        if is_free && let Some(plain) = string.plain() {
            self.note_free(plain);
        }
        if is_free && self.canonical.is_none() {
            return;
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        let text = string.read(&mut decoded);
        self.has_credential = self.has_credential
            || holds_credential(text, place)
            || self.rules == Rules::Request && holds_credential(text, Place::Label);
        self.write(|canonical| if is_call_id { canonical.id(text) } else { canonical.text(text) });
        self.decoded = decoded;
    }

    /// Reads a number, `true`, `false` or `null`.
    fn scalar(&mut self, text: &str, place: Place) -> Option<()> {
        match text {
            "null" => self.write(Canonical::null),
            "true" | "false" => self.write(|canonical| canonical.bool(text == "true")),
            number => {
                self.has_credential |= place.hides_numbers();
                if let Some(canonical) = &mut self.canonical {
                    canonical.number(&serde_json::from_str(number).ok()?);
                }
            }
        }
        Some(())
    }

    fn write(&mut self, write: impl FnOnce(&mut Canonical)) {
        if let Some(canonical) = &mut self.canonical {
            write(canonical);
        }
    }

    /// Keeps the position of a part of the text in which nothing is looked for.
    fn note_free(&mut self, part: &str) {
        let at = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr());
        if let Some(at) = at.filter(|_| self.free_texts.len() < MAX_FREE_TEXTS) {
            self.free_texts.push(at..at + part.len());
        }
    }
}

/// Returns true if texts that stand here stay as they are.
fn is_free(place: Place) -> bool {
    matches!(place, Place::Content | Place::Verbatim | Place::Names)
}

/// Returns true if a credential in a text that stands here is replaced.
fn holds_credential(text: &str, place: Place) -> bool {
    let is_plain = match place {
        place if is_free(place) => true,
        Place::Label | Place::Url => !may_hold(text),
        // A text may be JSON itself.
        Place::Body => !text.trim_ascii_start().starts_with(['{', '[', '"']) && !may_hold(text),
        _ => false,
    };
    !is_plain && place.text(text).is_some()
}
