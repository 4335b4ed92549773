//! Observation of one call by an interceptor.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use opentelemetry::Context;

use super::{CallEnd, CallId, Interceptor, Outcome};
use crate::response::ResponseFacts;

/// Passes what comes of a call on to an interceptor. After a panic of the interceptor it passes nothing more.
pub(crate) struct Observer {
    interceptor: Option<Arc<dyn Interceptor>>,
    id: CallId,
    since: Instant,
}

impl Observer {
    pub(crate) fn new(interceptor: Arc<dyn Interceptor>, id: CallId) -> Self {
        Self { interceptor: Some(interceptor), id, since: Instant::now() }
    }

    pub(crate) fn response(&mut self, status: u16, headers: &HeaderMap) {
        self.notify(|interceptor, id, elapsed| interceptor.response(id, status, headers, elapsed));
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) {
        self.notify(|interceptor, id, elapsed| interceptor.chunk(id, bytes, elapsed));
    }

    pub(crate) fn end(mut self, outcome: Outcome<'_>, facts: &ResponseFacts, context: &Context) {
        self.notify(|interceptor, id, elapsed| interceptor.end(id, &CallEnd { outcome, elapsed, facts, context }));
    }

    fn notify(&mut self, notify: impl FnOnce(&dyn Interceptor, CallId, Duration)) {
        let Some(interceptor) = &self.interceptor else { return };
        let elapsed = self.since.elapsed();
        if catch_unwind(AssertUnwindSafe(|| notify(&**interceptor, self.id, elapsed))).is_err() {
            self.interceptor = None;
        }
    }
}
