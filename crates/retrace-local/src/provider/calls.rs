//! Model calls decided by a replay.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use opentelemetry_instrumentation_genai::interceptor::{Action, CallView, Interceptor, RecordedResponse, Refusal};
use retrace_protocol::SpanType;
use retrace_replay::cassette::{Effects, Entry, Outcome};
use retrace_replay::replay::{Call, Decision, Replay};
use retrace_replay::{Lane, Response};
use serde_json::Value;

/// Answers model calls from a cassette, and rejects all others: there is no upstream provider.
#[derive(Debug)]
pub(super) struct Calls {
    replay: Arc<Mutex<Replay>>,
}

impl Calls {
    pub(super) fn new(replay: Arc<Mutex<Replay>>) -> Self {
        Self { replay }
    }
}

impl Interceptor for Calls {
    fn before(&self, view: &CallView<'_>) -> Action {
        let bytes = view.body.bytes().unwrap_or_default();
        let request = serde_json::from_slice(bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes)));
        let call = Call {
            lane: &Lane::ROOT,
            span_type: SpanType::LlmCall,
            name: view.operation.as_str(),
            model: view.model,
            request,
            effects: Effects::None,
            inner: None,
        };
        match self.replay.lock().unwrap_or_else(PoisonError::into_inner).decide(call) {
            Decision::Answer(entry) => answer(*entry),
            Decision::Refuse(refused) => {
                Action::Refuse(Refusal::new(refused.to_string()).with_error_type(refused.kind()).with_source(*refused))
            }
            _ => {
                let message = "no recorded call is left, and this server has no provider behind it. Record the cassette again if \
                               the call is intended.";
                Action::Refuse(Refusal::new(message).with_error_type("replay_nothing_left"))
            }
        }
    }
}

fn answer(entry: Entry) -> Action {
    let refuse = |message: String| Action::Refuse(Refusal::new(message).with_error_type("replay_not_replayable"));
    let ordinal = entry.ordinal;
    match entry.outcome {
        Outcome::Response(response) => match recorded(response) {
            Some(recorded) => Action::Answer(recorded),
            None => refuse(format!("entry {ordinal} of the cassette has a status that is none; record it again")),
        },
        Outcome::Error(error) => refuse(format!(
            "the recorded call {ordinal} failed without a response: {error}. No HTTP response stands for that."
        )),
        Outcome::NotReplayable(reason) => refuse(format!(
            "the recorded call {ordinal} cannot be replayed: {reason}. Record a tape of the run instead."
        )),
        _ => refuse(format!("entry {ordinal} of the cassette holds no response; record it again")),
    }
}

fn recorded(response: Response) -> Option<RecordedResponse> {
    let mut recorded = RecordedResponse::new(StatusCode::from_u16(response.status).ok()?);
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            recorded.headers.append(name, value);
        }
    }
    recorded.head_after = Duration::from_millis(response.head_ms);
    let chunks = response.chunks.into_iter();
    recorded.chunks = chunks.map(|chunk| (Duration::from_millis(chunk.ms), chunk.bytes.into())).collect();
    recorded.broken = response.broken;
    Some(recorded)
}
