//! An interceptor that does what a test states, and keeps what it observes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry_instrumentation_genai::interceptor::{
    Action, CallEnd, CallId, CallView, Interceptor, Outcome, RequestContent,
};

/// Facts of a call that the interceptor saw.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Before { api: &'static str, provider: String, model: Option<String>, body: Result<Vec<u8>, String>, headers: usize },
    Response(u16, usize),
    Chunk(Vec<u8>),
    End { outcome: String, input: Option<u64>, output: Option<u64> },
}

type Decide = dyn Fn(&CallView<'_>) -> Action + Send + Sync;

/// The interceptor. Its clones share what they saw.
#[derive(Clone)]
pub(crate) struct Script {
    decide: Arc<Decide>,
    seen: Arc<Mutex<Vec<(CallId, Seen)>>>,
    elapsed: Arc<Mutex<Vec<Duration>>>,
}

impl Script {
    pub(crate) fn new(decide: impl Fn(&CallView<'_>) -> Action + Send + Sync + 'static) -> Self {
        Self { decide: Arc::new(decide), seen: Arc::default(), elapsed: Arc::default() }
    }

    pub(crate) fn passing() -> Self {
        Self::new(|_| Action::Pass)
    }

    /// What was seen since, without the ids, which must be one.
    #[track_caller]
    pub(crate) fn take(&self) -> Vec<Seen> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let first = seen.first().map(|(id, _)| *id);
        seen.into_iter()
            .map(|(id, seen)| {
                assert_eq!(Some(id), first, "one call");
                seen
            })
            .collect()
    }

    /// The times with which responses, chunks and ends came.
    pub(crate) fn elapsed(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.elapsed.lock().unwrap())
    }

    fn note(&self, id: CallId, seen: Seen, elapsed: Option<Duration>) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push((id, seen));
        self.elapsed.lock().unwrap().extend(elapsed);
    }
}

impl Interceptor for Script {
    fn before(&self, call: &CallView<'_>) -> Action {
        let seen = Seen::Before {
            api: call.api,
            provider: call.provider.to_owned(),
            model: call.model.map(ToOwned::to_owned),
            body: match call.body {
                RequestContent::Whole(bytes) => Ok(bytes.to_vec()),
                RequestContent::Unread(reason) => Err(reason.to_string()),
                _ => panic!("{:?}", call.body),
            },
            headers: call.headers.len(),
        };
        self.note(call.id, seen, None);
        (self.decide)(call)
    }

    fn response(&self, id: CallId, status: u16, headers: &HeaderMap, elapsed: Duration) {
        self.note(id, Seen::Response(status, headers.len()), Some(elapsed));
    }

    fn chunk(&self, id: CallId, bytes: &[u8], elapsed: Duration) {
        self.note(id, Seen::Chunk(bytes.to_vec()), Some(elapsed));
        assert_ne!(bytes, b"panic", "a chunk that this interceptor does not stand");
    }

    fn end(&self, id: CallId, end: &CallEnd<'_>) {
        let outcome = match end.outcome {
            Outcome::Complete => "complete".to_owned(),
            Outcome::Failed(error) => format!("failed: {error}"),
            Outcome::Dropped => "dropped".to_owned(),
            _ => panic!("{:?}", end.outcome),
        };
        let usage = end.facts.usage;
        self.note(id, Seen::End { outcome, input: usage.input, output: usage.output }, Some(end.elapsed));
    }
}
