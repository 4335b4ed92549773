//! One pass over a JSON document: its credentials are looked for, and its canonical form is written.

pub(crate) mod canonical;
mod form_filter;
pub(crate) mod last_document;

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use genai_redact::Place;
use memchr::memchr;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use self::canonical::{Canonical, is_call_id};
use self::form_filter::may_hold;

/// Name of the only member of a number where `serde_json` keeps the digits of numbers.
const NUMBER: &str = "$serde_json::private::Number";

/// Credentials that are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// None.
    Nothing,
    /// Those that [`genai_redact::json`] replaces in a body.
    Body,
    /// Those, and in every text those of a known form.
    Request,
}

/// State of a pass.
pub(crate) struct Document {
    rules: Rules,
    /// Absent where the form is not needed.
    pub(crate) canonical: Option<Canonical>,
    /// A credential was found, or a text that cannot be written as it is: one with U+0000.
    pub(crate) is_changed: bool,
    /// Address of the text of the document.
    begin: usize,
    /// Positions in it of texts without escapes in which nothing is looked for; not all of them.
    pub(crate) free_texts: Vec<Range<usize>>,
}

/// Most texts of a document whose positions are kept.
const MAX_FREE_TEXTS: usize = 4;

impl Document {
    pub(crate) fn new(rules: Rules, canonical: Option<Canonical>) -> Self {
        Self { rules, canonical, is_changed: false, begin: 0, free_texts: Vec::new() }
    }

    /// Reads a document.
    pub(crate) fn read<'de, D: Deserializer<'de>>(&mut self, deserializer: D) -> Result<(), D::Error> {
        Node { document: self, place: Place::Body, is_call_id: false }.deserialize(deserializer).map(drop)
    }

    /// Reads the text of a document. `None` if it is no JSON.
    pub(crate) fn read_text(&mut self, text: &str) -> Option<()> {
        self.begin = text.as_ptr().addr();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        self.read(&mut deserializer).ok()?;
        deserializer.end().ok()
    }

    fn write(&mut self, write: impl FnOnce(&mut Canonical)) {
        if let Some(canonical) = &mut self.canonical {
            write(canonical);
        }
    }

    fn check(&mut self, text: &str, place: Place) {
        if self.rules != Rules::Nothing && !self.is_changed {
            self.is_changed =
                holds_credential(text, place) || self.rules == Rules::Request && holds_credential(text, Place::Label);
        }
    }

    /// Keeps the position of a part of the document in which nothing is looked for.
    fn note_free(&mut self, text: &str, place: Place) {
        let is_free = self.rules == Rules::Body && is_free(place) && self.free_texts.len() < MAX_FREE_TEXTS;
        if let Some(at) = text.as_ptr().addr().checked_sub(self.begin).filter(|_| is_free) {
            self.free_texts.push(at..at + text.len());
        }
    }

    fn number(&mut self, number: &Number, place: Place) {
        self.is_changed |= self.rules != Rules::Nothing && place == Place::Credential;
        self.write(|canonical| canonical.number(number));
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

/// A value of a document. Returns true if it is a text.
struct Node<'w> {
    document: &'w mut Document,
    place: Place,
    is_call_id: bool,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let Document { rules, canonical, is_changed, .. } = &*self.document;
        let is_read = canonical.is_some() || *rules == Rules::Request || self.place != Place::Verbatim && !*is_changed;
        if is_read { deserializer.deserialize_any(self) } else { IgnoredAny::deserialize(deserializer).map(|_| false) }
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        self.document.write(Canonical::null);
        Ok(false)
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        self.document.write(|canonical| canonical.bool(value));
        Ok(false)
    }

    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        self.document.number(&number.into(), self.place);
        Ok(false)
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        self.document.number(&number.into(), self.place);
        Ok(false)
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        match Number::from_f64(number) {
            Some(number) => self.document.number(&number, self.place),
            None => self.document.write(Canonical::null),
        }
        Ok(false)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<bool, E> {
        self.document.note_free(text, self.place);
        self.document.check(text, self.place);
        let is_call_id = self.is_call_id;
        self.document.write(|canonical| if is_call_id { canonical.id(text) } else { canonical.text(text) });
        Ok(true)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        // Only an escape stands for it.
        self.document.is_changed |= memchr(0, text.as_bytes()).is_some();
        self.document.check(text, self.place);
        let is_call_id = self.is_call_id;
        self.document.write(|canonical| if is_call_id { canonical.id(text) } else { canonical.text(text) });
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let Self { document, place, .. } = self;
        let place = place.element();
        document.write(Canonical::begin_list);
        while items.next_element_seed(Node { document: &mut *document, place, is_call_id: false })?.is_some() {}
        document.write(Canonical::end_list);
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let Self { document, place, .. } = self;
        let mark = document.canonical.as_mut().map(Canonical::begin_object);
        while let Some(member) = members.next_key_seed(Name { document: &mut *document, place })? {
            let MemberNode { place: inner, is_call_id, is_number } = member;
            if is_number {
                document.write(Canonical::cancel_object);
                let digits: std::borrow::Cow<'_, str> = members.next_value()?;
                document.number(&digits.parse().map_err(A::Error::custom)?, place);
                return Ok(false);
            }
            let place = inner;
            let is_text = members.next_value_seed(Node { document: &mut *document, place, is_call_id })?;
            document.write(|canonical| canonical.end_member(is_text));
        }
        if let (Some(mark), Some(canonical)) = (mark, &mut document.canonical) {
            canonical.end_object(&mark);
        }
        Ok(false)
    }
}

/// Member whose value is next.
struct MemberNode {
    place: Place,
    is_call_id: bool,
    /// The object is no object, but a number.
    is_number: bool,
}

/// Returns true if numbers keep their digits: another crate asked `serde_json` for it.
fn keeps_digits() -> bool {
    static KEEPS_DIGITS: LazyLock<bool> =
        LazyLock::new(|| serde_json::from_str::<Number>("1.00").is_ok_and(|number| number.to_string() == "1.00"));
    *KEEPS_DIGITS
}

/// Name of a member.
struct Name<'w> {
    document: &'w mut Document,
    /// Place of the object.
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = MemberNode;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = MemberNode;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if name == NUMBER && keeps_digits() {
            return Ok(MemberNode { place: self.place, is_call_id: false, is_number: true });
        }
        self.document.is_changed |= memchr(0, name.as_bytes()).is_some();
        self.document.write(|canonical| canonical.name(name));
        let place = match self.document.rules {
            Rules::Nothing => self.place,
            Rules::Body | Rules::Request => self.place.member(name),
        };
        let is_call_id = self.document.canonical.is_some() && is_call_id(name);
        Ok(MemberNode { place, is_call_id, is_number: false })
    }
}
