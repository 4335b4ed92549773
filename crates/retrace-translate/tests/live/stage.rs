//! A recorder that sees starts and ends of spans.

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use retrace_protocol::{Id, Span, Trace};
use retrace_translate::{LiveEvent, Options, Recorder, RecorderLimits, Resource, SpanSelection};

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A recorder that sees starts and ends. Its outputs are read as short lines.
pub(crate) struct Stage {
    pub recorder: Recorder,
    pub outputs: Outputs,
    pub now: u64,
    pub read: usize,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(Options::default(), RecorderLimits::default())
    }

    pub(crate) fn with(options: Options, limits: RecorderLimits) -> Self {
        Self { recorder: Recorder::new(options, limits), outputs: Outputs::default(), now: 0, read: 0 }
    }

    pub(crate) fn limited(change: impl FnOnce(&mut RecorderLimits)) -> Self {
        let mut limits = RecorderLimits::default();
        change(&mut limits);
        Self::with(Options::default(), limits)
    }

    pub(crate) fn all() -> Self {
        let mut options = Options::default();
        options.selection = SpanSelection::All;
        Self::with(options, RecorderLimits::default())
    }

    /// The span begins, with all its attributes.
    pub(crate) fn starts(&mut self, span: &TestSpan) -> &mut Self {
        self.starts_without(span, &[])
    }

    /// The span begins; these attributes are set later.
    pub(crate) fn starts_without(&mut self, span: &TestSpan, later: &[&str]) -> &mut Self {
        self.recorder.start(&span.begun_without(later), &Arc::new(Resource::default()), ms(self.now));
        self.outputs.take(&mut self.recorder);
        self
    }

    pub(crate) fn ends(&mut self, span: &TestSpan) -> &mut Self {
        self.recorder.record(span, &Arc::new(Resource::default()), ms(self.now));
        self.outputs.take(&mut self.recorder);
        self
    }

    pub(crate) fn at(&mut self, at: u64) -> &mut Self {
        self.now = at;
        self.recorder.advance(ms(at));
        self.outputs.take(&mut self.recorder);
        self
    }

    pub(crate) fn settle(&mut self) -> &mut Self {
        self.recorder.settle();
        self.outputs.take(&mut self.recorder);
        self
    }

    pub(crate) fn finish(&mut self) -> &mut Self {
        self.recorder.finish();
        self.outputs.take(&mut self.recorder);
        assert_eq!((self.recorder.open_spans(), self.recorder.weight()), (0, 0), "nothing is left behind");
        self
    }

    /// Returns the outputs since the last call.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let news = self.outputs.live.iter().skip(self.read).map(|live| match &live.event {
            LiveEvent::RunStarted(trace) => format!("began {}", trace.name.as_deref().unwrap_or_default()),
            LiveEvent::SpanStarted(span) => format!("> {}", span.name),
            LiveEvent::SpanEnded(recorded)
                if recorded.sources == 0 && metadata(&recorded.span).get("otel").is_some() =>
            {
                format!("again {}", recorded.span.name)
            }
            LiveEvent::SpanEnded(recorded) if recorded.sources == 0 => {
                format!("made {} {}", recorded.span.span_type.as_str(), recorded.span.name)
            }
            LiveEvent::SpanEnded(recorded) => format!("< {}", recorded.span.name),
            LiveEvent::RunEnded(trace) => format!("ended {}", trace.status.unwrap().as_str()),
            LiveEvent::RunAbandoned => "let go".to_owned(),
        });
        let news = news.collect();
        self.read = self.outputs.live.len();
        news
    }

    pub(crate) fn last_end(&self) -> &Trace {
        let ends = self.outputs.live.iter().rev().find_map(|live| match &live.event {
            LiveEvent::RunEnded(trace) => Some(trace),
            _ => None,
        });
        ends.unwrap()
    }

    pub(crate) fn last_beginning(&self) -> &Trace {
        let beginnings = self.outputs.live.iter().rev().find_map(|live| match &live.event {
            LiveEvent::RunStarted(trace) => Some(trace),
            _ => None,
        });
        beginnings.unwrap()
    }

    /// Returns the last record of the span.
    pub(crate) fn span(&self, n: u64) -> &Span {
        let of = |span: &Span| span.id.to_otel_span() == Some(id(n));
        let last = self.outputs.live.iter().rev().find_map(|live| match &live.event {
            LiveEvent::SpanStarted(span) => of(span).then_some(span),
            LiveEvent::SpanEnded(recorded) => of(&recorded.span).then_some(&recorded.span),
            _ => None,
        });
        last.unwrap()
    }
}

pub(crate) fn uuid(n: u64) -> Option<Id> {
    Some(Id::from_otel_span(TRACE, id(n)))
}

pub(crate) const NOTHING: [&str; 0] = [];
pub(crate) const ANSWER: &str =
    r#"[{"role":"assistant","parts":[{"type":"text","content":"done"}],"finish_reason":"stop"}]"#;
pub(crate) const QUESTION: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#;
pub(crate) const ASKS: &str = r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}}],
    "finish_reason":"tool_call"}]"#;
pub(crate) const TOOL_HISTORY: &str = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]},
    {"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"look","arguments":{"q":1}}]},
    {"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"found"}]}]"#;
