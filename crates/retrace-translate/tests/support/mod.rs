//! Spans made by hand, and runs taken from them.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod any;

use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::{Span, Trace};
use retrace_translate::{
    Caller, Dropped, EventView, Kind, LinkView, LiveEvent, LiveUpdate, Options, Output, Parent, Recorder,
    RecorderLimits, Resource, Run, ScopeView, SpanView, StatusView, Value,
};

pub const TRACE: [u8; 16] = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
pub const SECOND: u64 = 1_000_000_000;

/// A span under construction. Times are seconds since 1970.
pub type Attributes = Vec<(String, Value<'static>)>;

#[derive(Clone, Debug)]
pub struct TestSpan {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent: Parent,
    pub name: String,
    pub kind: Kind,
    pub start: u64,
    pub end: u64,
    pub error: Option<String>,
    pub attributes: Attributes,
    pub events: Vec<(String, Attributes)>,
    /// Log records that are events of the span, with their bodies.
    pub records: Vec<(String, Attributes, Value<'static>)>,
    pub links: Vec<([u8; 16], [u8; 8], Attributes)>,
    pub dropped: Dropped,
    pub caller: Option<Caller>,
    /// Name of the instrumentation scope.
    pub scope: &'static str,
}

pub fn id(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

pub fn span(n: u64, parent: u64, name: &str) -> TestSpan {
    TestSpan {
        trace_id: TRACE,
        span_id: id(n),
        parent: if parent == 0 { Parent::None } else { Parent::Local(id(parent)) },
        name: name.to_owned(),
        kind: Kind::Internal,
        start: n * SECOND,
        end: (n + 1) * SECOND,
        error: None,
        attributes: Vec::new(),
        events: Vec::new(),
        records: Vec::new(),
        links: Vec::new(),
        dropped: Dropped::default(),
        caller: None,
        scope: "",
    }
}

pub fn chat(n: u64, parent: u64) -> TestSpan {
    span(n, parent, "chat m").with("gen_ai.operation.name", "chat").with("gen_ai.request.model", "m")
}

pub fn tool(n: u64, parent: u64, name: &'static str, call_id: &'static str) -> TestSpan {
    span(n, parent, "execute_tool")
        .with("gen_ai.operation.name", "execute_tool")
        .with("gen_ai.tool.name", name)
        .with("gen_ai.tool.call.id", call_id)
}

pub fn agent(n: u64, parent: u64, name: &'static str) -> TestSpan {
    span(n, parent, "invoke_agent").with("gen_ai.operation.name", "invoke_agent").with("gen_ai.agent.name", name)
}

impl TestSpan {
    pub fn with(mut self, key: &str, value: &'static str) -> Self {
        self.attributes.push((key.to_owned(), Value::from(value)));
        self
    }

    pub fn with_value(mut self, key: &str, value: Value<'static>) -> Self {
        self.attributes.push((key.to_owned(), value));
        self
    }

    pub fn usage(self, input: i64, output: i64) -> Self {
        self.with_value("gen_ai.usage.input_tokens", Value::Int(input))
            .with_value("gen_ai.usage.output_tokens", Value::Int(output))
    }

    pub fn during(mut self, start: u64, end: u64) -> Self {
        (self.start, self.end) = (start * SECOND, end * SECOND);
        self
    }

    pub fn remote(mut self, parent: u64) -> Self {
        self.parent = Parent::Remote(id(parent));
        self
    }

    pub fn called_by(mut self, caller: Caller) -> Self {
        self.caller = Some(caller);
        self
    }

    pub fn failed(mut self, description: &str) -> Self {
        self.error = Some(description.to_owned());
        self
    }

    pub fn event(mut self, name: &str, attributes: &[(&str, &'static str)]) -> Self {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
        self.events.push((name.to_owned(), attributes));
        self
    }

    pub fn record(mut self, name: &str, body: Value<'static>) -> Self {
        self.records.push((name.to_owned(), Vec::new(), body));
        self
    }

    pub fn link(mut self, trace_id: [u8; 16], span_id: [u8; 8], attributes: &[(&str, &'static str)]) -> Self {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
        self.links.push((trace_id, span_id, attributes));
        self
    }

    /// The span as it is when it begins: its end, its events and its failure are not known, nor are these attributes.
    pub fn begun_without(&self, later: &[&str]) -> Self {
        let mut begun = Self { end: 0, error: None, events: Vec::new(), records: Vec::new(), ..self.clone() };
        begun.attributes.retain(|(key, _)| !later.contains(&key.as_str()));
        begun
    }

    pub fn in_trace(mut self, trace_id: [u8; 16]) -> Self {
        self.trace_id = trace_id;
        self
    }
}

fn borrowed<'a>(attributes: &'a [(String, Value<'static>)]) -> impl Iterator<Item = (&'a str, Value<'a>)> {
    attributes.iter().map(|(key, value)| {
        let value = match value {
            Value::Str(text) => Value::Str(text.as_ref().into()),
            Value::Json(text) => Value::Json(text.as_ref().into()),
            other => other.clone(),
        };
        (key.as_str(), value)
    })
}

impl SpanView for TestSpan {
    fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }
    fn span_id(&self) -> [u8; 8] {
        self.span_id
    }
    fn parent(&self) -> Parent {
        self.parent
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn kind(&self) -> Kind {
        self.kind
    }
    fn start_unix_nanos(&self) -> u64 {
        self.start
    }
    fn end_unix_nanos(&self) -> u64 {
        self.end
    }
    fn status(&self) -> StatusView<'_> {
        self.error.as_deref().map_or(StatusView::Unset, StatusView::Error)
    }
    fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        borrowed(&self.attributes)
    }
    fn events(&self) -> impl Iterator<Item = EventView<'_>> {
        let event = |name, attributes, body| EventView {
            name,
            unix_nanos: self.start,
            attributes: borrowed(attributes).collect(),
            body,
        };
        let events = self.events.iter().map(move |(name, attributes)| event(name, attributes, None));
        let records = self.records.iter();
        events.chain(records.map(move |(name, attributes, body)| event(name, attributes, Some(body.clone()))))
    }
    fn links(&self) -> impl Iterator<Item = LinkView<'_>> {
        self.links.iter().map(|(trace_id, span_id, attributes)| LinkView {
            trace_id: *trace_id,
            span_id: *span_id,
            attributes: borrowed(attributes).collect(),
        })
    }
    fn scope(&self) -> ScopeView<'_> {
        ScopeView { name: self.scope, ..ScopeView::default() }
    }
    fn dropped(&self) -> Dropped {
        self.dropped
    }
    fn caller(&self) -> Option<Caller> {
        self.caller.clone()
    }
}

/// Everything a recorder outputs, sorted into kinds.
#[derive(Debug, Default)]
pub struct Outputs {
    pub runs: Vec<Run>,
    pub corrections: Vec<retrace_translate::Correction>,
    pub set_aside: u64,
    pub live: Vec<LiveUpdate>,
}

impl Outputs {
    pub fn take(&mut self, recorder: &mut Recorder) {
        while let Some(output) = recorder.next_output() {
            match output {
                Output::Run(run) => {
                    self.set_aside += run.set_aside;
                    self.runs.push(*run);
                }
                Output::Correction(correction) => self.corrections.push(*correction),
                Output::SetAside { spans, .. } => self.set_aside += spans,
                Output::Live(live) => self.live.push(*live),
            }
        }
    }

    /// Accepted spans that came out.
    pub fn sources(&self) -> u64 {
        let sent = self.runs.iter().flat_map(|run| &run.spans).map(|recorded| u64::from(recorded.sources)).sum::<u64>();
        let live = self.live.iter().map(|live| match &live.event {
            LiveEvent::SpanEnded(recorded) => u64::from(recorded.sources),
            _ => 0,
        });
        sent + live.sum::<u64>() + self.set_aside
    }

    pub fn one_run(mut self) -> (Trace, Vec<Span>) {
        assert_eq!(self.runs.len(), 1, "{:?}", self.runs);
        let run = self.runs.remove(0);
        (run.trace, run.spans.into_iter().map(|recorded| recorded.span).collect())
    }
}

/// Records spans in the given order, and returns all outputs.
pub fn record_with(options: Options, spans: &[TestSpan]) -> Outputs {
    let mut recorder = Recorder::new(options, RecorderLimits::default());
    for span in spans {
        recorder.record(span, &Arc::new(Resource::default()), Duration::ZERO);
    }
    recorder.finish();
    let mut outputs = Outputs::default();
    outputs.take(&mut recorder);
    assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0), "nothing is left behind");
    assert_eq!(outputs.sources(), spans.len() as u64, "every span came out once");
    outputs
}

pub fn record(spans: &[TestSpan]) -> Outputs {
    record_with(Options::default(), spans)
}

/// The one run of these spans.
pub fn run_of(spans: &[TestSpan]) -> (Trace, Vec<Span>) {
    record(spans).one_run()
}

/// The one sent span of a run that is this span alone.
pub fn span_of(span: &TestSpan) -> Span {
    let (_, mut spans) = run_of(std::slice::from_ref(span));
    spans.remove(0)
}

pub fn metadata(span: &Span) -> serde_json::Value {
    span.metadata.as_ref().map_or(serde_json::Value::Null, |metadata| metadata.to_value().unwrap())
}

pub fn json(json: Option<&retrace_protocol::Json>) -> serde_json::Value {
    json.map_or(serde_json::Value::Null, |json| json.to_value().unwrap())
}
