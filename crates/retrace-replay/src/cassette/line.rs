//! Lines of entries: [`Entry`] as JSON and back.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;
use retrace_protocol::{Json, SpanType};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chunk_text::{ChunkWriter, ReadChunk};
use super::{Effects, Entry, Outcome, TokenCount};
use crate::{Fingerprint, Lane, Response};

/// Members before the request.
#[derive(Serialize)]
struct Head<'a> {
    ordinal: u64,
    lane: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u32>,
    span_type: &'static str,
    name: &'a str,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<Effects>,
}

/// Members after the request, the value and the response.
#[derive(Serialize)]
struct Tail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_replayable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<TokenCount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    token_ids: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    concurrent: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
}

/// Members of a response before its chunks.
#[derive(Serialize)]
struct ResponseHead<'a> {
    status: u16,
    headers: &'a [(String, String)],
    #[serde(skip_serializing_if = "is_zero")]
    head_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Appends a response. `documents` are the positions of documents in its body that are known to be JSON.
fn push_response(line: &mut Vec<u8>, response: &Response, documents: &[Range<usize>]) -> serde_json::Result<()> {
    let Response { status, headers, head_ms, chunks, broken } = response;
    line.extend_from_slice(b",\"response\":");
    serde_json::to_writer(&mut *line, &ResponseHead { status: *status, headers, head_ms: *head_ms })?;
    line.pop();
    line.extend_from_slice(b",\"chunks\":[");
    let mut body = ChunkWriter::new(documents);
    for (at, chunk) in chunks.iter().enumerate() {
        line.extend_from_slice(if at == 0 { b"" } else { b"," });
        body.append(line, chunk)?;
    }
    line.push(b']');
    if let Some(broken) = broken {
        line.extend_from_slice(b",\"broken\":");
        serde_json::to_writer(&mut *line, broken)?;
    }
    line.push(b'}');
    Ok(())
}

/// Appends a member whose value is JSON. Verbatim JSON may hold line ends between its tokens; a line may not.
fn push_json(line: &mut Vec<u8>, name: &str, json: &Json) -> serde_json::Result<()> {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    match memchr2(b'\n', b'\r', json.as_str().as_bytes()) {
        Some(_) => serde_json::to_writer(line, &json.to_value()?),
        None => {
            line.extend_from_slice(json.as_str().as_bytes());
            Ok(())
        }
    }
}

/// Appends the line of an entry, without its end. `documents` are the positions of documents in the body of its response that
/// are known to be JSON without line ends, in order.
///
/// The JSON of the request and of a value is copied as it stands, between two objects whose braces are left out.
pub(super) fn append(line: &mut Vec<u8>, entry: &Entry, documents: &[Range<usize>]) -> serde_json::Result<()> {
    const OTHERS: usize = 512;
    let outcome = match &entry.outcome {
        Outcome::Response(response) => response.chunks.iter().map(|chunk| chunk.bytes.len() + 16).sum(),
        Outcome::Value(value) => value.as_str().len(),
        _ => 0,
    };
    line.reserve(entry.request.as_str().len() + outcome + outcome / 8 + OTHERS);
    serde_json::to_writer(
        &mut *line,
        &Head {
            ordinal: entry.ordinal,
            lane: entry.lane.to_string(),
            step: entry.step,
            span_type: entry.span_type.as_str(),
            name: &entry.name,
            fingerprint: entry.fingerprint.to_string(),
            endpoint: entry.endpoint.as_deref(),
            model: entry.model.as_deref(),
            effects: entry.effects,
        },
    )?;
    line.pop();
    push_json(line, "request", &entry.request)?;
    if let Outcome::Value(value) = &entry.outcome {
        push_json(line, "value", value)?;
    }
    if let Outcome::Response(response) = &entry.outcome {
        push_response(line, response, documents)?;
    }
    let begin = line.len();
    serde_json::to_writer(
        &mut *line,
        &Tail {
            error: match &entry.outcome {
                Outcome::Error(error) => Some(error),
                _ => None,
            },
            not_replayable: match &entry.outcome {
                Outcome::NotReplayable(reason) => Some(reason),
                _ => None,
            },
            tokens: entry.tokens,
            cost_usd: entry.cost_usd,
            token_ids: &entry.token_ids,
            span_id: entry.span_id.as_deref(),
            concurrent: entry.concurrent,
            redacted: entry.redacted,
        },
    )?;
    match line.len() - begin {
        2 => {
            line.remove(begin);
        }
        _ => line.splice(begin..=begin, *b",").for_each(drop),
    }
    Ok(())
}

/// Members of an entry that matching needs; the others are skipped.
#[derive(Deserialize)]
pub(super) struct EntryKey<'a> {
    pub(super) ordinal: u64,
    #[serde(default, borrow)]
    pub(super) lane: Cow<'a, str>,
    #[serde(default)]
    pub(super) step: Option<u32>,
    #[serde(borrow)]
    span_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(default, borrow)]
    fingerprint: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request: &'a RawValue,
    #[serde(default)]
    pub(super) span_id: Option<String>,
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    not_replayable: Option<Cow<'a, str>>,
}

impl EntryKey<'_> {
    pub(super) fn span_type(&self) -> SpanType {
        // A type of a newer version is matched by its name.
        SpanType::from_wire(&self.span_type).unwrap_or(SpanType::Action)
    }

    pub(super) fn has_result(&self) -> bool {
        self.response.is_some() || self.value.is_some() || self.error.is_some() || self.not_replayable.is_some()
    }

    /// Fingerprint of the line, or that of its request where the line states none.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, String> {
        fingerprint(self.fingerprint.as_deref(), &self.name, self.model.as_deref(), self.request)
    }
}

/// A member that is there, `null` included.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct ReadResponse {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    head_ms: u64,
    #[serde(default)]
    chunks: Vec<ReadChunk>,
    #[serde(default)]
    broken: Option<String>,
}

/// Members of an entry that only its use needs.
#[derive(Deserialize)]
struct WholeEntry<'a> {
    ordinal: u64,
    #[serde(default, borrow)]
    lane: Cow<'a, str>,
    #[serde(default)]
    step: Option<u32>,
    #[serde(borrow)]
    span_type: Cow<'a, str>,
    name: String,
    #[serde(default, borrow)]
    fingerprint: Option<Cow<'a, str>>,
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    effects: Option<Effects>,
    #[serde(borrow)]
    request: &'a RawValue,
    #[serde(default)]
    response: Option<ReadResponse>,
    #[serde(default, borrow, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    not_replayable: Option<String>,
    #[serde(default)]
    tokens: Option<TokenCount>,
    #[serde(default)]
    cost_usd: Option<f64>,
    #[serde(default)]
    token_ids: Vec<u64>,
    #[serde(default)]
    span_id: Option<String>,
    #[serde(default)]
    concurrent: bool,
    #[serde(default)]
    redacted: bool,
}

/// Reads the line of an entry, in one pass. Members that it does not know are ignored.
pub(super) fn read(line: &str) -> Result<Entry, String> {
    let whole: WholeEntry<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let json = |raw: &RawValue| Json::from(raw.to_owned());
    let outcome = match (whole.response, whole.value, whole.error, whole.not_replayable) {
        (_, _, _, Some(reason)) => Outcome::NotReplayable(reason),
        (Some(ReadResponse { status, headers, head_ms, chunks, broken }), None, None, _) => {
            let chunks = chunks.into_iter().map(|ReadChunk(chunk)| chunk).collect();
            Outcome::Response(Response { status, headers, head_ms, chunks, broken })
        }
        (None, Some(value), None, _) => Outcome::Value(json(value)),
        (None, None, Some(error), _) => Outcome::Error(error),
        (None, None, None, None) => Outcome::Mark,
        _ => return Err("has more than one of `response`, `value` and `error`".to_owned()),
    };
    let print = fingerprint(whole.fingerprint.as_deref(), &whole.name, whole.model.as_deref(), whole.request)?;
    Ok(Entry {
        ordinal: whole.ordinal,
        lane: Lane::parse(&whole.lane),
        step: whole.step,
        span_type: SpanType::from_wire(&whole.span_type).unwrap_or(SpanType::Action),
        fingerprint: print,
        name: whole.name,
        endpoint: whole.endpoint,
        model: whole.model,
        request: json(whole.request),
        outcome,
        effects: whole.effects,
        tokens: whole.tokens,
        cost_usd: whole.cost_usd,
        token_ids: whole.token_ids,
        span_id: whole.span_id,
        concurrent: whole.concurrent,
        redacted: whole.redacted,
    })
}

/// Fingerprint that a line states, or that of its request where it states none.
fn fingerprint(
    stated: Option<&str>,
    name: &str,
    model: Option<&str>,
    request: &RawValue,
) -> Result<Fingerprint, String> {
    match stated {
        Some(text) => Fingerprint::parse(text).ok_or_else(|| "`fingerprint` is not 32 hexadecimal digits".to_owned()),
        None => {
            let request = serde_json::from_str(request.get()).map_err(|error| error.to_string())?;
            Ok(Fingerprint::of(name, model, &request))
        }
    }
}

/// Last line of a cassette.
#[derive(Serialize, Deserialize)]
pub(super) struct End {
    /// Number of entries.
    pub(super) entries: u64,
}
