//! Secrets that must not reach a file.

use std::fmt;

use genai_redact::{MARKER, Place};
use memchr::memmem;
use retrace_protocol::Json;

use crate::Chunk;
use crate::cassette::{Entry, Outcome};

/// Shortest value that counts as a secret, in bytes: shorter ones are found in any text.
const MIN_SECRET_BYTES: usize = 8;

/// Values that must not be written, such as API keys, each with a name that errors may show.
///
/// Besides these values, [`Secrets::redact`] replaces what `genai_redact` knows as a credential. A secret that a stream splits
/// over several events is not found.
#[derive(Clone, Default)]
pub struct Secrets {
    values: Vec<(String, String)>,
}

impl Secrets {
    /// Adds a value. Values of less than 8 bytes are ignored.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let value = value.into();
        if value.len() >= MIN_SECRET_BYTES {
            self.values.push((name.into(), value));
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
    pub fn find(&self, text: &str) -> Option<&str> {
        let holds = |value: &str| text.contains(value) || escaped(value).is_some_and(|value| text.contains(&value));
        self.values.iter().find(|(_, value)| holds(value)).map(|(name, _)| name.as_str())
    }

    /// Replaces credentials in the request and the outcome of an entry.
    pub fn redact(&self, entry: &mut Entry) {
        if let Some(request) = self.redact_json(entry.request.as_str(), Place::Body) {
            entry.request = request;
        }
        if let Some(endpoint) = &mut entry.endpoint {
            *endpoint = self
                .redact_text(&genai_redact::url(endpoint))
                .unwrap_or_else(|| genai_redact::url(endpoint).into_owned());
        }
        match &mut entry.outcome {
            Outcome::Response(response) => {
                for (name, value) in &mut response.headers {
                    match genai_redact::is_credential(name) {
                        true => *value = MARKER.to_owned(),
                        false => {
                            if let Some(redacted) = self.redact_text(value) {
                                *value = redacted;
                            }
                        }
                    }
                }
                let is_error = response.status >= 400;
                entry.redacted |= self.redact_chunks(&mut response.chunks, is_error);
            }
            Outcome::Value(value) => {
                if let Some(redacted) = self.redact_json(value.as_str(), Place::Body) {
                    *value = redacted;
                    entry.redacted = true;
                }
            }
            Outcome::Error(error) => {
                let redacted = genai_redact::error(error);
                let redacted = self.redact_text(&redacted).unwrap_or_else(|| redacted.into_owned());
                entry.redacted |= redacted != *error;
                *error = redacted;
            }
            Outcome::NotReplayable(_) | Outcome::Mark => {}
        }
    }

    /// Replaces the values in a text. `None` where it holds none.
    fn redact_text(&self, text: &str) -> Option<String> {
        let mut redacted: Option<String> = None;
        for (_, value) in &self.values {
            for value in [Some(value.clone()), escaped(value)].into_iter().flatten() {
                if redacted.as_deref().unwrap_or(text).contains(&value) {
                    redacted = Some(redacted.as_deref().unwrap_or(text).replace(&value, MARKER));
                }
            }
        }
        redacted
    }

    fn redact_json(&self, text: &str, place: Place) -> Option<Json> {
        let by_name = genai_redact::json(text, place);
        let by_value = self.redact_text(by_name.as_deref().unwrap_or(text));
        by_value.or(by_name).and_then(|text| Json::parse_strict(&text))
    }

    /// Returns true if something was replaced.
    fn redact_chunks(&self, chunks: &mut [Chunk], is_error: bool) -> bool {
        let mut changed = false;
        for chunk in chunks.iter_mut() {
            if let Some(redacted) = self.redact_bytes(&chunk.bytes, is_error) {
                chunk.bytes = redacted;
                changed = true;
            }
        }
        if chunks.len() < 2 {
            return changed;
        }
        // A value may lie across the end of a chunk.
        let whole: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect();
        if let (Some(redacted), Some((first, others))) = (self.redact_values(&whole), chunks.split_first_mut()) {
            first.bytes = redacted;
            others.iter_mut().for_each(|chunk| chunk.bytes.clear());
            changed = true;
        }
        changed
    }

    fn redact_bytes(&self, bytes: &[u8], is_error: bool) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(bytes).ok();
        let by_form = match text {
            Some(text) if is_error => Place::Error.text(text),
            Some(text) if text.starts_with('{') => genai_redact::json(text, Place::Body),
            _ => None,
        };
        let by_form = by_form.map(String::into_bytes);
        self.redact_values(by_form.as_deref().unwrap_or(bytes)).or(by_form)
    }

    fn redact_values(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut redacted: Option<Vec<u8>> = None;
        for (_, value) in &self.values {
            for value in [Some(value.clone()), escaped(value)].into_iter().flatten() {
                let text = redacted.as_deref().unwrap_or(bytes);
                if memmem::find(text, value.as_bytes()).is_some() {
                    redacted = Some(replaced(text, value.as_bytes()));
                }
            }
        }
        redacted
    }
}

/// The value as JSON writes it, if that differs.
fn escaped(value: &str) -> Option<String> {
    let quoted = serde_json::to_string(value).ok()?;
    let inner = quoted.trim_start_matches('"').strip_suffix('"')?;
    (inner != value).then(|| inner.to_owned())
}

fn replaced(text: &[u8], value: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memmem::find_iter(text, value) {
        replaced.extend(text.get(from..at).unwrap_or_default());
        replaced.extend(MARKER.as_bytes());
        from = at + value.len();
    }
    replaced.extend(text.get(from..).unwrap_or_default());
    replaced
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|(name, _)| name).collect();
        f.debug_struct("Secrets").field("names", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use retrace_protocol::SpanType;
    use serde_json::json;

    use super::*;
    use crate::Response;
    use crate::cassette::{Cassette, CassetteProblem, CassetteWriter, Header};

    const CANARY: &str = "canary-9f3b\"7c61";

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        secrets.add_environment([
            ("CANARY_API_KEY".to_owned(), CANARY.to_owned()),
            ("HOME".to_owned(), "/home/someone".to_owned()),
        ]);
        secrets
    }

    fn written(entry: Entry) -> Result<Vec<u8>, crate::cassette::CassetteError> {
        let mut writer = CassetteWriter::begin("c", Vec::new(), &Header::new("run"), secrets()).unwrap();
        writer.push(entry)?;
        writer.finish()
    }

    fn assert_clean(file: &[u8]) {
        let text = std::str::from_utf8(file).unwrap();
        assert!(!text.contains("canary-9f3b"), "{text}");
        assert!(text.contains("[redacted]"), "{text}");
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        let request =
            Json::from_serialize(&json!({"messages": [{"content": format!("my key is {CANARY}")}], CANARY: 1}));
        let chunk = |bytes: Vec<u8>| Chunk { ms: 0, bytes };
        let (head, tail) = CANARY.as_bytes().split_at(6);
        let bodies = [
            vec![chunk(format!("plain {CANARY}").into_bytes())],
            vec![chunk(json!({"error": CANARY}).to_string().into_bytes())],
            vec![chunk([&b"\xff"[..], CANARY.as_bytes()].concat())],
            vec![chunk(head.to_vec()), chunk(tail.to_vec())],
            vec![chunk(format!("data: {}\n\n", json!({"a": CANARY})).into_bytes())],
        ];
        for status in [200, 401] {
            for chunks in bodies.clone() {
                let mut entry = Entry::new(SpanType::LlmCall, "chat", request.clone());
                let headers = vec![("x-request-id".to_owned(), format!("id-{CANARY}"))];
                entry.outcome = Outcome::Response(Response { status, headers, chunks, ..Response::default() });
                entry.endpoint = Some(format!("POST https://h/v1?key={CANARY}&alt=sse"));
                let file = written(entry).unwrap();
                assert_clean(&file);
                let entry = Cassette::open("c", std::io::Cursor::new(file)).unwrap().entry(0).unwrap().unwrap();
                let Outcome::Response(response) = entry.outcome else { panic!("no response") };
                assert!(entry.redacted && memmem::find(&response.body(), b"canary").is_none());
            }
        }
        for outcome in [Outcome::Value(Json::text(CANARY)), Outcome::Error(CANARY.to_owned())] {
            let mut entry = Entry::new(SpanType::ToolCall, "search", request.clone());
            entry.outcome = outcome;
            assert_clean(&written(entry).unwrap());
        }
    }

    #[test]
    fn a_secret_in_a_name_is_refused() {
        let entry = Entry::new(SpanType::ToolCall, format!("search {CANARY}"), Json::null());
        let error = written(entry).unwrap_err();
        assert!(matches!(error.problem(), CassetteProblem::Secret { .. }));
        assert!(!error.to_string().contains("canary-9f3b"), "{error}");
        assert!(error.to_string().contains("CANARY_API_KEY"), "{error}");
    }
}
