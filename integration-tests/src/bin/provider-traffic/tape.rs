//! An interceptor that keeps the last response, and gives it as the answer to the next call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry_instrumentation_genai::interceptor::{
    Action, CallEnd, CallId, CallView, Interceptor, Outcome, RecordedResponse, RequestContent,
};

/// One call, recorded and then answered. Its clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    replays: bool,
    api: &'static str,
    request: Vec<u8>,
    recorded: Option<RecordedResponse>,
    fault: Option<String>,
}

impl Tape {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the next call.
    pub(crate) fn record(&self) {
        *self.state() = State::default();
    }

    /// The API of the recorded call.
    pub(crate) fn api(&self) -> &'static str {
        self.state().api
    }

    /// Answers the next call as the last one. Returns the lengths of the chunks, or the reason for which there is no answer.
    pub(crate) fn replay(&self) -> Result<Vec<usize>, String> {
        let mut state = self.state();
        state.replays = true;
        let recorded = state.recorded.as_ref().ok_or("no response was observed")?;
        let chunks = recorded.chunks.iter().map(|(_, chunk)| chunk.len()).collect();
        state.fault.clone().map_or(Ok(chunks), Err)
    }
}

impl Interceptor for Tape {
    fn before(&self, call: &CallView<'_>) -> Action {
        let mut state = self.state();
        let RequestContent::Whole(body) = call.body else {
            state.fault = Some(format!("{:?}", call.body));
            return Action::Pass;
        };
        if !state.replays {
            (state.api, state.request) = (call.api, body.to_vec());
            return Action::Pass;
        }
        if state.request != body {
            state.fault = Some("the second request is another".to_owned());
        }
        state.recorded.clone().map_or(Action::Pass, Action::Answer)
    }

    fn response(&self, _: CallId, status: u16, headers: &HeaderMap, elapsed: Duration) {
        let mut recorded = RecordedResponse::new(StatusCode::from_u16(status).unwrap_or_default());
        (recorded.headers, recorded.head_after) = (headers.clone(), elapsed);
        self.state().recorded = Some(recorded);
    }

    fn chunk(&self, _: CallId, bytes: &[u8], elapsed: Duration) {
        if let Some(recorded) = &mut self.state().recorded {
            recorded.chunks.push((elapsed, Bytes::copy_from_slice(bytes)));
        }
    }

    fn end(&self, _: CallId, end: &CallEnd<'_>) {
        if end.outcome != Outcome::Complete {
            self.state().fault = Some(format!("the call ended as {:?}", end.outcome));
        }
    }
}
