//! A receiver in this process, and the runs that it has of recorded functions.

#![allow(dead_code)] // Each test program uses a part of it.

use std::sync::LazyLock;

use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Json, Span, Trace};
use serde_json::Value;

/// The pipeline of a test program: everything it records goes to a receiver of its own.
pub(crate) struct Pipeline {
    pub(crate) server: Server,
    pub(crate) guard: retrace::Guard,
}

static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let server = Server::start().unwrap();
    let guard = retrace::configure().with_api_key("rt_local").with_base_url(server.url()).install().unwrap();
    Pipeline { server, guard }
});

/// Starts recording. Every test calls it first, because recording begins with it.
pub(crate) fn start() -> &'static Pipeline {
    &PIPELINE
}

impl Pipeline {
    fn provider(&self) -> &SdkTracerProvider {
        self.guard.provider().unwrap()
    }

    /// Returns the only run of this name, with its spans.
    pub(crate) fn run(&self, name: &str) -> Run {
        let mut runs = self.runs(name);
        assert_eq!(runs.len(), 1, "runs named {name}");
        runs.remove(0)
    }

    /// Returns the runs of this name, newest first.
    pub(crate) fn runs(&self, name: &str) -> Vec<Run> {
        self.provider().force_flush().unwrap();
        let query = TraceQuery::new().with_limit(TraceQuery::MAX_LIMIT);
        let traces = self.server.traces(&query).unwrap().traces;
        let named = traces.iter().filter(|trace| trace.name.as_deref() == Some(name));
        named.map(|trace| Run(self.server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap())).collect()
    }
}

/// A run as the receiver has it.
#[derive(Debug)]
pub(crate) struct Run(pub(crate) Trace);

impl Run {
    /// Returns the only span of this name.
    pub(crate) fn span(&self, name: &str) -> &Span {
        let mut spans = self.spans().iter().filter(|span| span.name == name);
        let span = spans.next().unwrap_or_else(|| panic!("no span named {name} in {:#?}", self.0));
        assert!(spans.next().is_none(), "several spans named {name}");
        span
    }

    /// Returns the span of the run itself.
    pub(crate) fn root(&self) -> &Span {
        let mut roots = self.spans().iter().filter(|span| span.parent_id.is_none());
        let root = roots.next().unwrap();
        assert!(roots.next().is_none());
        root
    }

    pub(crate) fn spans(&self) -> &[Span] {
        self.0.spans.as_deref().unwrap()
    }

    pub(crate) fn status(&self) -> &str {
        self.0.status.as_ref().unwrap().as_str()
    }

    pub(crate) fn error(&self) -> Option<&str> {
        self.root().error.as_deref()
    }

    pub(crate) fn input(&self) -> Value {
        json(self.root().input.as_ref())
    }

    pub(crate) fn output(&self) -> Value {
        json(self.root().output.as_ref())
    }

    pub(crate) fn metadata(&self) -> Value {
        json(self.0.metadata.as_ref())
    }
}

/// Returns a value of the receiver, `null` where there is none.
pub(crate) fn json(value: Option<&Json>) -> Value {
    value.map_or(Value::Null, |value| value.to_value().unwrap())
}
