//! Redaction of entries before they are written.

use std::ops::Range;

use genai_redact::{MARKER, Place};
use memchr::memchr;
use retrace_protocol::Json;
use serde_json::value::RawValue;

use super::entry::{Entry, Outcome};
use crate::{Chunk, Response, Secrets};

impl Secrets {
    /// Replaces credentials in the request and the outcome of an entry.
    pub fn redact(&self, entry: &mut Entry) {
        self.redact_request(entry);
        self.redact_others(entry);
    }

    /// Replaces credentials in the request of an entry.
    pub(super) fn redact_request(&self, entry: &mut Entry) {
        if let Some(request) = self.redact_json(entry.request.as_str(), Place::Body) {
            entry.request = request;
        }
    }

    /// Replaces the values in a request that holds no other credentials.
    pub(super) fn redact_clean(&self, request: Json) -> Json {
        let plain = self.in_plain_escapes(request.as_str());
        let text = plain.as_deref().unwrap_or(request.as_str());
        // As in `redact_json`: what is no JSON then is found by the search before writing.
        let redacted = self.redact_text(text).and_then(|text| RawValue::from_string(text).ok());
        redacted.map_or(request, Json::from)
    }

    /// Replaces credentials in all but the request. Returns the positions of JSON documents without line ends in the body of a
    /// response, in order; not all of them.
    pub(super) fn redact_others(&self, entry: &mut Entry) -> Vec<Range<usize>> {
        let mut documents = Vec::new();
        if let Some(endpoint) = &mut entry.endpoint {
            *endpoint = self
                .redact_text(&genai_redact::url(endpoint))
                .unwrap_or_else(|| genai_redact::url(endpoint).into_owned());
        }
        if let Outcome::Response(response) = &entry.outcome
            && let Some(coding) = compressed(response)
        {
            let reason = format!(
                "the response is compressed ({coding}), and secrets in it cannot be found: let the client decompress below the \
                 instrumentation, or ask for `accept-encoding: identity`"
            );
            entry.outcome = Outcome::NotReplayable(reason);
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
                entry.redacted |= self.redact_chunks(&mut response.chunks, is_error, &mut documents);
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
        documents
    }

    /// Returns true if something was replaced. A credential may lie across the end of a chunk, so the body is read as a whole. It
    /// keeps its cut if each chunk by itself comes to the same.
    fn redact_chunks(&self, chunks: &mut [Chunk], is_error: bool, documents: &mut Vec<Range<usize>>) -> bool {
        let joined: Vec<u8>;
        let body = match &*chunks {
            [only] => &only.bytes,
            several => {
                joined = several.iter().map(|chunk| chunk.bytes.as_slice()).collect::<Vec<_>>().concat();
                &joined
            }
        };
        let redacted = self.redact_bytes(body, is_error, documents);
        // A document between two line ends may have others of the kind inside.
        if redacted.is_some() || memchr(b'\r', body).is_some() {
            documents.clear();
        }
        let Some(redacted) = redacted else { return false };
        for chunk in chunks.iter_mut() {
            if let Some(redacted) = self.redact_bytes(&chunk.bytes, is_error, &mut Vec::new()) {
                chunk.bytes = redacted;
            }
        }
        let is_same = chunks.iter().flat_map(|chunk| &chunk.bytes).eq(&redacted);
        if let (false, Some((first, others))) = (is_same, chunks.split_first_mut()) {
            first.bytes = redacted;
            others.iter_mut().for_each(|chunk| chunk.bytes.clear());
        }
        true
    }
}

/// Coding of a response that is compressed.
fn compressed(response: &Response) -> Option<String> {
    let codings = response.header("content-encoding")?.trim().to_ascii_lowercase();
    let is_plain = codings.split(',').all(|coding| matches!(coding.trim(), "" | "identity"));
    (!is_plain).then(|| codings.chars().filter(|c| !c.is_control()).take(40).collect())
}

#[cfg(test)]
mod tests {
    use memchr::memmem;
    use retrace_protocol::SpanType;
    use serde_json::json;

    use super::*;
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
    fn p6_a_secret_is_replaced_wherever_it_stands() {
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
    fn a_credential_that_nobody_named_is_replaced_however_the_body_is_cut() {
        const KEY: &str = "sk-proj-AbCdEfGhIjKlMnOpQrStUvWx0123456789";
        let error = json!({ "error": { "message": format!("Incorrect API key provided: {KEY}.") } }).to_string();
        let chunk = |bytes: &[u8]| Chunk { ms: 0, bytes: bytes.to_vec() };
        let (head, tail) = error.as_bytes().split_at(error.find("MnOp").unwrap());
        let mut odd = error.clone().into_bytes();
        odd.splice(2..2, [0xff]);
        let with_key = json!({ "metadata": { "api_key": KEY } }).to_string();
        for (status, chunks) in [
            (401, vec![chunk(error.as_bytes())]),
            (401, vec![chunk(head), chunk(tail)]),
            (401, vec![chunk(&odd)]),
            (200, vec![chunk(format!("data: {with_key}\n\n").as_bytes())]),
            (200, vec![chunk(format!("{{}}\n{with_key}\n").as_bytes())]),
            (200, vec![chunk(format!(" [{with_key}]").as_bytes())]),
            (200, vec![chunk(&with_key.as_bytes()[..20]), chunk(&with_key.as_bytes()[20..])]),
        ] {
            let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::null());
            entry.outcome = Outcome::Response(Response { status, chunks: chunks.clone(), ..Response::default() });
            Secrets::default().redact(&mut entry);
            let Outcome::Response(response) = &entry.outcome else { panic!("no response") };
            let body = String::from_utf8_lossy(&response.body()).into_owned();
            assert!(entry.redacted && !body.contains("MnOp"), "{status} {chunks:?}: {body}");
        }
    }

    #[test]
    fn a_secret_is_replaced_in_whichever_escapes_it_stands() {
        const SECRET: &str = "wJalr/XUtn+FEMI-P\u{e4}ss";
        let mut secrets = Secrets::default();
        secrets.add("AWS_SECRET_ACCESS_KEY", SECRET);
        let each = |escape: fn(char) -> String| SECRET.chars().map(escape).collect::<String>();
        let slashes = SECRET.replace('/', "\\/");
        let ascii = each(|c| if c.is_ascii() && c != '+' { c.into() } else { format!("\\u{:04X}", u32::from(c)) });
        let all = each(|c| format!("\\u{:04x}", u32::from(c)));
        for secret in [SECRET, &slashes, &ascii, &all] {
            for body in [
                format!(r#"{{"model":"m","text":"use {secret}"}}"#),
                format!(r#"{{"model":"m","{secret}":1}}"#),
                format!("{{\n  \"model\": \"m\",\n  \"texts\": [\"{secret}\"]\n}}"),
            ] {
                let mut writer = CassetteWriter::begin("c", Vec::new(), &Header::new("run"), secrets.clone()).unwrap();
                let request: serde_json::Value = serde_json::from_str(&body).unwrap();
                let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::from_serialize(&request));
                let chunks =
                    vec![Chunk { ms: 0, bytes: format!("data: {}\n\n", body.replace('\n', " ")).into_bytes() }];
                entry.outcome = Outcome::Response(Response { status: 200, chunks, ..Response::default() });
                match crate::CleanRequest::read("chat", None, body.as_bytes()) {
                    Some(request) => writer.push_clean(entry, request),
                    // A name with escapes.
                    None => writer.push(entry),
                }
                .unwrap();
                let file = writer.finish().unwrap();
                let entry = Cassette::open("c", std::io::Cursor::new(file)).unwrap().entry(0).unwrap().unwrap();
                let Outcome::Response(response) = entry.outcome else { panic!("no response") };
                let response = response.body();
                let response = response.strip_prefix(b"data: ").unwrap();
                let response: serde_json::Value = serde_json::from_slice(response).unwrap();
                for value in [entry.request.to_value().unwrap(), response] {
                    let text = value.to_string();
                    assert!(!text.contains("wJalr") && text.contains(MARKER), "{body}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_document_that_no_strict_reader_takes_is_searched() {
        let deep = format!("{}{}", "[".repeat(140), "]".repeat(140));
        for odd in [r#""\ud83d""#, "1e999", &deep] {
            let document = format!(r#"{{"delta":{odd},"metadata":{{"api_key":"hunter2secret"}}}}"#);
            let lines = document.replace('{', "{\n").replace(',', ",\n");
            for body in [format!("data: {document}\n\n"), document.clone(), lines] {
                let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::null());
                let chunks = vec![Chunk { ms: 0, bytes: body.clone().into_bytes() }];
                entry.outcome = Outcome::Response(Response { status: 200, chunks, ..Response::default() });
                Secrets::default().redact(&mut entry);
                let Outcome::Response(response) = &entry.outcome else { panic!("no response") };
                let text = String::from_utf8_lossy(&response.body()).into_owned();
                assert!(entry.redacted && !text.contains("hunter2"), "{text}");
            }
        }
    }

    #[test]
    fn what_surrounds_a_credential_and_odd_line_ends_is_read_back() {
        let clean = r#"data: {"delta":"a","n":[1,2]}"#;
        for (body, expected) in [
            (
                format!("data: {{\"metadata\":{{\"api_key\":\"hunter2secret\"}}}}\n\n{clean}\n\n"),
                format!("data: {{\"metadata\":{{\"api_key\":\"[redacted]\"}}}}\n\n{clean}\n\n"),
            ),
            (format!("{clean}\r\n\r\ndata: {{\"a\":\r1}}\n\n"), format!("{clean}\r\n\r\ndata: {{\"a\":\r1}}\n\n")),
        ] {
            let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::null());
            let chunks = vec![Chunk { ms: 0, bytes: body.clone().into_bytes() }];
            entry.outcome = Outcome::Response(Response { status: 200, chunks, ..Response::default() });
            let file = written(entry).unwrap();
            let text = String::from_utf8(file.clone()).unwrap();
            assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
            assert!(!text.contains('\r'), "{text:?}");
            let entry = Cassette::open("c", std::io::Cursor::new(file)).unwrap().entry(0).unwrap().unwrap();
            let Outcome::Response(response) = entry.outcome else { panic!("no response") };
            assert_eq!(String::from_utf8(response.body()).unwrap(), expected);
        }
    }

    #[test]
    fn a_request_that_no_strict_reader_takes_keeps_no_credential() {
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        for odd in [r#""\ud800""#, &deep] {
            let text = format!(r#"{{"api_key":"hunter2secret","x":{odd}}}"#);
            let json = Json::from(RawValue::from_string(text).unwrap());
            let mut entry = Entry::new(SpanType::LlmCall, "chat", json);
            Secrets::default().redact(&mut entry);
            assert!(!entry.request.as_str().contains("hunter2"), "{:?}", entry.request);
            assert!(entry.request.as_str().contains(odd), "all else stays: {:?}", entry.request);
        }
    }

    #[test]
    fn a_stream_without_credentials_keeps_its_chunks() {
        let stream = ["data: {\"delta\":\"a\"}\n\nda", "ta: {\"delta\":\"b\"}\n\n", "data: [DONE]\n\n"];
        let chunks: Vec<Chunk> = stream.iter().map(|text| Chunk { ms: 1, bytes: text.as_bytes().to_vec() }).collect();
        let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::null());
        entry.outcome = Outcome::Response(Response { status: 200, chunks: chunks.clone(), ..Response::default() });
        secrets().redact(&mut entry);
        let Outcome::Response(response) = &entry.outcome else { panic!("no response") };
        assert_eq!((&response.chunks, entry.redacted), (&chunks, false));
    }

    #[test]
    fn the_name_of_a_run_holds_no_secret() {
        let mut header = Header::new(format!("debug {CANARY} sk-proj-AbCdEfGhIjKlMnOpQrStUvWx0123456789"));
        let file = CassetteWriter::begin("c", Vec::new(), &header, secrets()).unwrap().finish().unwrap();
        assert_clean(&file);
        assert!(!String::from_utf8(file).unwrap().contains("MnOp"));
        header.run_id = Some(CANARY.to_owned());
        let error = CassetteWriter::begin("c", Vec::new(), &header, secrets()).unwrap_err();
        assert!(matches!(error.problem(), CassetteProblem::Secret { .. }), "{error}");
    }

    #[test]
    fn a_value_that_is_a_number_is_refused_and_the_marker_is_no_value() {
        let mut secrets = Secrets::default();
        secrets.add("DB_PASSWORD", "12345678");
        secrets.add("ODD_TOKEN", "redacted");
        let entry = Entry::new(SpanType::ToolCall, "search", Json::from_serialize(&json!({ "seed": 12_345_678 })));
        let mut writer = CassetteWriter::begin("c", Vec::new(), &Header::new("run"), secrets).unwrap();
        let error = writer.push(entry).unwrap_err();
        assert!(error.to_string().contains("DB_PASSWORD"), "{error}");
        let named = Entry::new(SpanType::ToolCall, "search", Json::from_serialize(&json!({ "api_key": "other" })));
        assert_eq!(writer.push(named).unwrap(), 0);
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
