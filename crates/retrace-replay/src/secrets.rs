//! Secrets that must not reach a file.

use std::fmt;
use std::ops::Range;

use genai_redact::{MARKER, Place};
use memchr::memchr;
use memchr::memmem::{self, Finder};
use retrace_protocol::Json;
use serde_json::value::RawValue;

use crate::document::last_document::LastDocument;

/// Shortest value that counts as a secret, in bytes: shorter ones are found in any text.
const MIN_SECRET_BYTES: usize = 8;

/// Values that must not be written, such as API keys, each with a name that errors may show.
///
/// Besides these values, [`Secrets::redact`] replaces what `genai_redact` knows as a credential. A secret that a stream splits
/// over several events is not found.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Vec<Known>,
}

/// A value that must not be written.
#[derive(Clone)]
struct Known {
    name: String,
    /// Searches for the value, and for it as JSON writes it if that differs.
    forms: Vec<Finder<'static>>,
}

impl Secrets {
    /// Adds a value. Values of less than 8 bytes are ignored, and so is the text `redacted`.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let value = value.into();
        // What replaces a value must not hold it.
        if value.len() >= MIN_SECRET_BYTES && !MARKER.contains(&value) {
            let forms = std::iter::once(value.clone()).chain(escaped(&value));
            let forms = forms.map(|form| Finder::new(&form).into_owned()).collect();
            self.values.push(Known { name: name.into(), forms });
        }
    }

    /// Adds those of these variables of an environment whose names are names of credentials, such as `OPENAI_API_KEY`.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in variables {
            if genai_redact::is_credential(&name) {
                self.add(name, value);
            }
        }
    }

    /// Returns the name of a secret that the text holds, as it is or as JSON writes it.
    #[must_use]
    pub fn find(&self, text: impl AsRef<[u8]>) -> Option<&str> {
        let text = text.as_ref();
        let holds = |form: &Finder<'_>| form.find(text).is_some();
        self.values.iter().find(|known| known.forms.iter().any(holds)).map(|known| known.name.as_str())
    }

    /// A name with its credentials replaced.
    pub(crate) fn redact_label(&self, text: &str) -> String {
        let by_form = Place::Label.text(text);
        let text = by_form.as_deref().unwrap_or(text);
        self.redact_text(text).unwrap_or_else(|| text.to_owned())
    }

    /// Replaces the values in a text. `None` where it holds none.
    pub(crate) fn redact_text(&self, text: &str) -> Option<String> {
        // A value and its marker are text, so that whole characters are replaced.
        self.redact_values(text.as_bytes()).and_then(|redacted| String::from_utf8(redacted).ok())
    }

    pub(crate) fn redact_json(&self, text: &str, place: Place) -> Option<Json> {
        let by_name = genai_redact::json(text, place);
        let by_value = self.redact_text(by_name.as_deref().unwrap_or(text));
        // A value that is a number leaves no JSON behind; the search before writing then finds it. What had a credential by its
        // name is never kept.
        let json = |text: String| RawValue::from_string(text).ok().map(Json::from);
        let has_name = by_name.is_some();
        by_value.and_then(json).or_else(|| by_name.and_then(json)).or_else(|| has_name.then(|| Json::text(MARKER)))
    }

    /// Returns a text in which the JSON documents that hold a value in other escapes than the usual ones, such as `\/`, are
    /// written with the usual ones. `None` where there are none.
    pub(crate) fn in_plain_escapes(&self, text: &str) -> Option<String> {
        let has_escapes =
            |text: &str| ["\\u", "\\/"].iter().any(|escape| memmem::find(text.as_bytes(), escape.as_bytes()).is_some());
        let plain = |document: &str| {
            let tree: serde_json::Value = serde_json::from_str(document).ok()?;
            Some(tree.to_string()).filter(|plain| self.find(plain).is_some())
        };
        if self.values.is_empty() || !has_escapes(text) {
            return None;
        }
        if let Some(plain) = plain(text) {
            return Some(plain);
        }
        let mut changed = None;
        for (at, line) in
            text.split_inclusive('\n').scan(0, |next, line| Some((std::mem::replace(next, *next + line.len()), line)))
        {
            let begin = line.find(['{', '[']).unwrap_or(line.len());
            let document = line.get(begin..).unwrap_or_default().trim_end();
            if let Some(plain) = has_escapes(document).then(|| plain(document)).flatten() {
                let changed = changed.get_or_insert_with(|| text.get(..at).unwrap_or_default().to_owned());
                changed.push_str(line.get(..begin).unwrap_or_default());
                changed.push_str(&plain);
                changed.push_str(line.get(begin + document.len()..).unwrap_or_default());
            } else if let Some(changed) = &mut changed {
                changed.push_str(line);
            }
        }
        changed
    }

    /// Replaces credentials in a body. Adds the positions of the JSON documents in it that have none and stand on one line.
    pub(crate) fn redact_bytes(
        &self,
        bytes: &[u8],
        is_error: bool,
        documents: &mut Vec<Range<usize>>,
    ) -> Option<Vec<u8>> {
        let plain = std::str::from_utf8(bytes).ok().and_then(|text| self.in_plain_escapes(text));
        let bytes = plain.as_deref().map_or(bytes, str::as_bytes);
        let by_form = match std::str::from_utf8(bytes) {
            Ok(text) if is_error => Place::Error.text(text),
            Ok(text) => redact_documents(text, documents),
            // The text of an error is read although some bytes of it are none.
            Err(_) if is_error => Place::Error.text(&String::from_utf8_lossy(bytes)),
            Err(_) => None,
        };
        let by_form = by_form.map(String::into_bytes);
        self.redact_values(by_form.as_deref().unwrap_or(bytes)).or(by_form)
    }

    fn redact_values(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut redacted: Option<Vec<u8>> = None;
        for form in self.values.iter().flat_map(|known| &known.forms) {
            let text = redacted.as_deref().unwrap_or(bytes);
            if form.find(text).is_some() {
                redacted = Some(replaced(text, form));
            }
        }
        redacted
    }
}

/// Replaces credentials in a body: one JSON document, or several in lines of their own, as in event streams.
fn redact_documents(text: &str, documents: &mut Vec<Range<usize>>) -> Option<String> {
    let document = text.trim_start();
    // A document on one line is its line.
    if memchr(b'\n', document.as_bytes()).is_none() {
        let at = text.find(['{', '[']).unwrap_or(text.len());
        let redacted = redact_line(text, at, &mut LastDocument::default(), documents)?;
        return Some(format!("{}{redacted}", text.get(..at).unwrap_or_default()));
    }
    if document.starts_with(['{', '[']) {
        match LastDocument::default().find(document) {
            Some(false) => return None,
            Some(true) => return genai_redact::json(text, Place::Body),
            // Its grammar is that of JSON, but no parser takes it.
            None if serde_json::from_str::<serde::de::IgnoredAny>(document).is_ok() => return Place::Body.text(text),
            None => {}
        }
    }
    let mut redacted = String::new();
    let (mut copied, mut next) = (0, 0);
    let mut last = LastDocument::default();
    for line in text.split_inclusive('\n') {
        let begin = next;
        next += line.len();
        let at = line.find(['{', '[']).unwrap_or(line.len());
        let known = documents.len();
        let replaced = redact_line(line, at, &mut last, documents);
        documents.iter_mut().skip(known).for_each(|found| *found = found.start + begin..found.end + begin);
        if let Some(replaced) = replaced {
            redacted.push_str(text.get(copied..begin + at).unwrap_or_default());
            redacted.push_str(&replaced);
            copied = begin + line.trim_end().len();
        }
    }
    if copied == 0 {
        return None;
    }
    redacted.push_str(text.get(copied..).unwrap_or_default());
    Some(redacted)
}

/// Replaces credentials in the document that begins here and ends with its line.
fn redact_line<'t>(
    line: &'t str,
    at: usize,
    last: &mut LastDocument<'t>,
    documents: &mut Vec<Range<usize>>,
) -> Option<String> {
    let document = line.trim_end().get(at..).filter(|document| !document.is_empty())?;
    match last.find(document) {
        Some(true) => genai_redact::json(document, Place::Body),
        Some(false) => {
            documents.push(at..at + document.len());
            None
        }
        // It is no JSON, or more than the parser takes: it is searched as a text.
        None => Place::Body.text(document),
    }
}

/// The value as JSON writes it, if that differs.
fn escaped(value: &str) -> Option<String> {
    let quoted = serde_json::to_string(value).ok()?;
    let inner = quoted.trim_start_matches('"').strip_suffix('"')?;
    (inner != value).then(|| inner.to_owned())
}

fn replaced(text: &[u8], value: &Finder<'_>) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in value.find_iter(text) {
        replaced.extend(text.get(from..at).unwrap_or_default());
        replaced.extend(MARKER.as_bytes());
        from = at + value.needle().len();
    }
    replaced.extend(text.get(from..).unwrap_or_default());
    replaced
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|known| &known.name).collect();
        f.debug_struct("Secrets").field("names", &names).finish_non_exhaustive()
    }
}
