//! One span of a live run on its way out, and the sink of the run's events.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::options::Options;
use crate::recorder::emitted_runs::EmittedTrace;
use crate::recorder::record::RunIdentity;
use crate::recorder::same_call::CallIdentity;
use crate::recorder::{LiveEvent, LiveUpdate, Output};
use crate::span_reader::{SpanBuilder, SpanReader};
use crate::view::{Kind, SpanView};

/// A span that is emitted now, or deferred until it can be.
#[derive(Debug)]
pub(crate) struct Step {
    pub builder: Box<SpanBuilder>,
    pub session: Option<String>,
    pub user: Option<String>,
    pub response_id: Option<String>,
    pub request_id: Option<String>,
    pub is_server: bool,
    pub executed_call: Option<String>,
    pub end: u64,
    /// True if its messages show tools that were not seen before.
    pub shows_tools: bool,
}

/// Sink of the events of a live run, with their context.
#[derive(Debug)]
pub(crate) struct LiveSink<'r> {
    pub options: &'r Options,
    /// Emitted state of the trace before this run.
    pub before: Option<&'r EmittedTrace>,
    pub outputs: &'r mut VecDeque<Output>,
}

impl LiveSink<'_> {
    pub(crate) fn emit(&mut self, run: &RunIdentity, event: LiveEvent) {
        self.outputs.push_back(Output::Live(Box::new(LiveUpdate { run: run.id.clone(), joined: run.joined, event })));
    }

    pub(crate) fn set_aside(&mut self, spans: u64) {
        if spans > 0 {
            self.outputs.push_back(Output::SetAside { spans });
        }
    }
}

impl Step {
    pub(crate) fn new<V: SpanView>(reader: &SpanReader<'_, V>, builder: Box<SpanBuilder>, shows_tools: bool) -> Self {
        Self {
            session: reader.session(),
            user: reader.user(),
            response_id: reader.response_id(),
            request_id: reader.request_id(),
            is_server: reader.view.kind() == Kind::Server,
            executed_call: reader.executed_call(),
            end: reader.view.end_unix_nanos(),
            builder,
            shows_tools,
        }
    }

    /// Returns the features by which the span is compared with its ancestors and descendants.
    pub(crate) fn identity(&self, operation: Option<Cow<'static, str>>) -> CallIdentity<'_> {
        let SpanBuilder { span, metadata, .. } = &*self.builder;
        CallIdentity {
            is_server: self.is_server,
            ids: [self.response_id.as_deref(), self.request_id.as_deref()].map(|text| text.map(Cow::Borrowed)),
            models: [span.model.as_deref(), metadata.request_model.as_deref()].map(|text| text.map(Cow::Borrowed)),
            operation,
            tokens: [span.input_tokens, span.output_tokens],
        }
    }
}
