//! Runs of agents, made through the OpenTelemetry API from a seed, and what a receiver must have of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use retrace_protocol::{Id, Span, Trace};

/// A run as it was made.
#[derive(Debug)]
pub struct Made {
    /// Its id at the receiver.
    pub id: Id,
    /// Its spans by the first half of their id at the receiver; empty when it is no run of an agent.
    pub spans: BTreeMap<String, MadeSpan>,
}

/// A span as it was made.
#[derive(Debug)]
pub struct MadeSpan {
    name: String,
    /// Whose child it is; not looked at when nobody could know in time that the parent is told too.
    parent: Option<Option<String>>,
    /// A text that stands in its output, when it has one.
    output: Option<String>,
    failed: bool,
}

/// What shapes runs.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Whether some steps may end after their root.
    pub stragglers: bool,
    /// Fewest and most spans of a run.
    pub spans: (usize, usize),
}

struct Making<'a> {
    tracer: SdkTracer,
    random: &'a mut fastrand::Rng,
    /// Steps say what they are when they end, not when they begin.
    late: bool,
    made: BTreeMap<String, MadeSpan>,
}

/// Makes one run. `between` is called now and then while it is under way.
pub fn make(provider: &SdkTracerProvider, random: &mut fastrand::Rng, shape: Shape, mut between: impl FnMut()) -> Made {
    let (fewest, most) = shape.spans;
    let spans = random.usize(fewest..=most);
    let (is_agent, late) = (random.u8(0..12) > 0, random.u8(0..4) == 0);
    let mut making = Making { tracer: provider.tracer("workload"), random, late, made: BTreeMap::new() };
    let root = making.open("agent", &Context::new(), is_agent);
    let id = Id::from_otel_trace(root.span().span_context().trace_id().to_bytes());
    // The agents and tools that are open, innermost last.
    let mut open = vec![root];
    for _ in 1..spans {
        let parent = open.last().unwrap().clone();
        match making.random.u8(0..10) {
            0 if open.len() < 6 => open.push(making.open("agent", &parent, is_agent)),
            1 if open.len() < 6 => open.push(making.open("tool", &parent, is_agent)),
            n => {
                let step = making.open(if n < 6 { "chat" } else { "tool" }, &parent, is_agent);
                making.close(&step, is_agent);
                if n < 4 && open.len() > 1 {
                    let inner = open.pop().unwrap();
                    making.close(&inner, is_agent);
                }
            }
        }
        between();
    }
    let straggler = if shape.stragglers && making.random.u8(0..3) == 0 && open.len() > 1 { open.pop() } else { None };
    while let Some(inner) = open.pop() {
        making.close(&inner, is_agent);
    }
    if let Some(straggler) = straggler {
        making.close(&straggler, is_agent);
    }
    let made = making.made;
    Made { id, spans: if is_agent { made } else { BTreeMap::new() } }
}

impl Making<'_> {
    fn open(&mut self, kind: &'static str, parent: &Context, is_agent: bool) -> Context {
        let name = format!("{kind} {}", self.made.len());
        let mut builder = self.tracer.span_builder(name.clone()).with_kind(SpanKind::Internal);
        if is_agent && !self.late {
            builder = builder.with_attributes(beginning(kind, &name));
        }
        let span = builder.start_with_context(&self.tracer, parent);
        let key = span.span_context().span_id().to_string();
        let parent_span = parent.span().span_context().clone();
        let above = parent_span.is_valid().then(|| parent_span.span_id().to_string());
        self.made.insert(key, MadeSpan { name, parent: (!self.late).then_some(above), output: None, failed: false });
        parent.with_span(span)
    }

    fn close(&mut self, context: &Context, is_agent: bool) {
        let span = context.span();
        let made = self.made.get_mut(&span.span_context().span_id().to_string()).unwrap();
        let kind = ["agent", "chat", "tool"].into_iter().find(|kind| made.name.starts_with(kind)).unwrap();
        if is_agent {
            if self.late {
                span.set_attributes(beginning(kind, &made.name));
            }
            let text = format!("{}-{}", self.random.u64(..), "x".repeat(length(self.random)));
            match kind {
                "tool" => span.set_attribute(KeyValue::new("gen_ai.tool.call.result", text.clone())),
                "chat" => {
                    let message =
                        serde_json::json!([{"role": "assistant", "parts": [{"type": "text", "content": text}]}]);
                    span.set_attribute(KeyValue::new("gen_ai.output.messages", message.to_string()));
                }
                _ => {}
            }
            made.output = (kind != "agent").then_some(text);
        }
        if self.random.u8(0..20) == 0 {
            made.failed = true;
            span.set_status(Status::error("it failed"));
        }
        span.end();
    }
}

fn beginning(kind: &'static str, name: &str) -> Vec<KeyValue> {
    let name = name.to_owned();
    let operation = |name: &'static str| KeyValue::new("gen_ai.operation.name", name);
    match kind {
        "agent" => vec![operation("invoke_agent"), KeyValue::new("gen_ai.agent.name", name)],
        "tool" => vec![operation("execute_tool"), KeyValue::new("gen_ai.tool.name", name)],
        _ => vec![
            operation("chat"),
            KeyValue::new("gen_ai.provider.name", "openai"),
            KeyValue::new("gen_ai.request.model", name),
            KeyValue::new("gen_ai.usage.input_tokens", 10),
            KeyValue::new("gen_ai.usage.output_tokens", 2),
        ],
    }
}

/// Mostly short, sometimes long.
fn length(random: &mut fastrand::Rng) -> usize {
    match random.u8(0..40) {
        0 => random.usize(0..60_000),
        1..10 => random.usize(0..2_000),
        _ => random.usize(0..100),
    }
}

/// What a receiver has.
#[derive(Debug)]
pub struct Stored {
    runs: HashMap<Id, Trace>,
    /// Where each span is that has ended. One that outlived its run has a run of its own.
    ended: BTreeMap<String, Vec<Span>>,
}

impl Stored {
    /// Looks into it.
    #[must_use]
    pub fn new(runs: Vec<Trace>) -> Self {
        let mut ended: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for span in runs.iter().flat_map(|run| run.spans.iter().flatten()).filter(|span| span.ended_at.is_some()) {
            ended.entry(key(&span.id)).or_default().push(span.clone());
        }
        Self { runs: runs.into_iter().filter_map(|run| Some((run.id.clone()?, run))).collect(), ended }
    }

    /// Spans that are there with their end.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.values().map(|spans| spans.len() as u64).sum()
    }

    /// Compares it with what was made; tells how many spans are missing.
    ///
    /// # Errors
    /// Something is there that was never made, or twice, or not as it was made; or something is missing of a run that
    /// does not say so.
    pub fn missing(&self, made: &[Made]) -> Result<u64, String> {
        let all: HashSet<&String> = made.iter().flat_map(|run| run.spans.keys()).collect();
        for span in self.runs.values().flat_map(|run| run.spans.iter().flatten()) {
            if !all.contains(&key(&span.id)) {
                return Err(format!("{} of {} was never made", span.name, span.trace_id));
            }
        }
        made.iter().map(|run| self.missing_of(run)).sum()
    }

    fn missing_of(&self, made: &Made) -> Result<u64, String> {
        let (mut missing, mut elsewhere) = (0, 0);
        for (key, span) in &made.spans {
            match self.ended.get(key).map_or(&[][..], Vec::as_slice) {
                [] => missing += 1,
                [one] => {
                    elsewhere += u64::from(one.trace_id != made.id);
                    span.is(one, one.trace_id == made.id)
                        .map_err(|what| format!("{}: {}: {what}", made.id, one.name))?;
                }
                _ => return Err(format!("{}: {} is there twice", made.id, span.name)),
            }
        }
        let Some(run) = self.runs.get(&made.id) else { return Ok(missing) };
        let count = made.spans.len() as u64;
        if run.lossy == Some(true) {
            return Ok(missing);
        }
        if missing + elsewhere > 0 {
            let status = run.status;
            return Err(format!("{}: {missing} of {count} spans are missing, it is {status:?} and not lossy", made.id));
        }
        if run.span_count != Some(count) {
            return Err(format!("{}: {count} spans, but it says {:?}", made.id, run.span_count));
        }
        Ok(missing)
    }
}

impl MadeSpan {
    fn is(&self, span: &Span, in_its_run: bool) -> Result<(), String> {
        let output = span.output.as_ref().map_or("", |output| output.as_str());
        let said = self.output.as_ref().is_none_or(|made| output.contains(made.as_str()));
        if !span.name.contains(&self.name) || span.error.is_some() != self.failed || !said {
            let (name, error, length) = (&span.name, &span.error, output.len());
            return Err(format!(
                "made as {} and stored as {name} with error {error:?} and an output of {length} bytes",
                self.name
            ));
        }
        let parent = span.parent_id.as_ref().map(key);
        if in_its_run && self.parent.as_ref().is_some_and(|made| *made != parent) {
            return Err(format!("it hangs from {parent:?}, not from {:?}", self.parent));
        }
        Ok(())
    }
}

/// A span id of OpenTelemetry is the first half of one of Retrace.
fn key(id: &Id) -> String {
    id.to_otel_span().map(|bits| opentelemetry::trace::SpanId::from_bytes(bits).to_string()).unwrap_or_default()
}
