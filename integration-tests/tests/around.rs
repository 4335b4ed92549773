//! Ours around another span processor: the same runs as beside it, and the other one misses nothing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use fastrand::Rng;
use integration_tests::wait::{HANG, flush};
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::{Failures, RetraceSampler, RetraceSpanProcessor, SpanSelection, Transport};
use opentelemetry_sdk::trace::{BatchSpanProcessor, InMemorySpanExporter, SdkTracer, SdkTracerProvider};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::Trace;

/// How both are set up.
#[derive(Clone, Debug)]
struct Setup {
    transport: Transport,
    selection: SpanSelection,
    /// The share of runs that the sampler keeps; the others are held in case they fail.
    sampled: f64,
    /// That of Retrace alone.
    own_rate: Option<f64>,
}

const LIVE: Setup = Setup { transport: Transport::Ws, selection: SpanSelection::GenAi, sampled: 1.0, own_rate: None };

fn processor(server: &Server, setup: &Setup) -> RetraceSpanProcessor {
    let builder = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_transport(setup.transport)
        .with_span_selection(setup.selection.clone())
        .with_failures(Failures::AnySpan)
        // Longer than the test: runs end when somebody flushes.
        .with_linger(Duration::from_secs(600))
        .with_flush_timeout(HANG);
    match setup.own_rate {
        Some(rate) => builder.with_sample_rate(rate).with_sample_seed("seed"),
        None => builder,
    }
    .build()
    .unwrap()
}

/// Every run that is stored, as JSON, by its id.
fn stored(server: &Server) -> Vec<(String, String)> {
    let heads = server.traces(&TraceQuery::default().with_limit(1_000)).unwrap().traces;
    let mut runs: Vec<_> = heads
        .into_iter()
        .map(|head| {
            let run: Trace = server.trace(&head.id.unwrap()).unwrap().unwrap();
            (run.id.as_ref().unwrap().as_text().into_owned(), serde_json::to_string_pretty(&run).unwrap())
        })
        .collect();
    runs.sort();
    runs
}

/// One request that is answered by agents, and by much else.
struct Request<'a> {
    tracer: SdkTracer,
    random: &'a mut Rng,
}

impl Request<'_> {
    fn start(&mut self, parent: &Context) -> Context {
        let mut attributes = vec![KeyValue::new("server.address", "localhost"), KeyValue::new("step", "a".repeat(100))];
        let kind = self.random.u8(0..8);
        let late = self.random.u8(0..6) == 0;
        if kind < 4 && !late {
            attributes.extend(genai(kind));
        }
        if self.random.u8(0..8) == 0 {
            attributes.push(KeyValue::new("session.id", format!("s-{}", self.random.u8(..))));
        }
        if self.random.u8(0..8) == 0 {
            attributes.push(KeyValue::new("agent.name", format!("a-{}", self.random.u8(..))));
        }
        let name = format!("{kind} {}", self.random.u16(..));
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Internal).with_attributes(attributes);
        let mut span = builder.start_with_context(&self.tracer, parent);
        if kind < 4 && late {
            span.set_attributes(genai(kind));
        }
        parent.with_span(span)
    }

    fn end(&mut self, context: &Context) {
        let span = context.span();
        match self.random.u8(0..12) {
            0 => span.set_status(Status::error("it failed")),
            1 => span.set_attribute(KeyValue::new("user.id", format!("u-{}", self.random.u8(..)))),
            2 => span.add_event("exception", vec![KeyValue::new("exception.type", "E")]),
            3 => span.add_event("gen_ai.user.message", vec![KeyValue::new("content", "hello")]),
            4 => span.add_link(span.span_context().clone(), vec![KeyValue::new("k", "v")]),
            _ => {}
        }
        span.end();
    }

    /// Spans that begin and end in any order; `flush` comes between, now and then after the root has ended.
    fn serve(&mut self, flush: impl Fn()) {
        let root = self.tracer.span_builder("POST /ask").with_kind(SpanKind::Server).start(&self.tracer);
        let mut open = vec![Context::new().with_span(root)];
        let mut root_is_open = true;
        for _ in 0..self.random.usize(2..40) {
            if self.random.bool() || open.len() == 1 {
                let parent = open[self.random.usize(..open.len())].clone();
                let span = self.start(&parent);
                open.push(span);
            } else {
                // The root is the first; only rarely does it end before its descendants.
                let first = usize::from(!root_is_open || self.random.u8(0..8) > 0);
                if first < open.len() {
                    let at = self.random.usize(first..open.len());
                    root_is_open &= at != 0;
                    let span = if at == 0 { open[0].clone() } else { open.remove(at) };
                    self.end(&span);
                    if !root_is_open && self.random.bool() {
                        flush();
                    }
                }
            }
        }
        for span in open.drain(usize::from(!root_is_open)..).rev() {
            self.end(&span);
        }
        flush();
    }
}

fn genai(kind: u8) -> Vec<KeyValue> {
    let pair = KeyValue::new::<&'static str, &'static str>;
    match kind {
        0 => vec![pair("gen_ai.operation.name", "invoke_agent"), pair("gen_ai.agent.name", "planner")],
        1 => vec![pair("gen_ai.operation.name", "execute_tool"), pair("gen_ai.tool.name", "search")],
        _ => vec![
            pair("gen_ai.operation.name", "chat"),
            pair("gen_ai.provider.name", "openai"),
            pair("gen_ai.request.model", "gpt-4o-mini"),
            pair("gen_ai.output.messages", r#"[{"role":"assistant","parts":[{"type":"text","content":"yes"}]}]"#),
        ],
    }
}

/// One provider with all of them: beside each other, and ours around the other. All see the same spans.
fn compare(setup: &Setup, requests: u64) -> usize {
    let (server_beside, server_around) = (Server::start().unwrap(), Server::start().unwrap());
    let (beside, around) = (processor(&server_beside, setup), processor(&server_around, setup));
    let (alone, wrapped) = (InMemorySpanExporter::default(), InMemorySpanExporter::default());
    let batches = |exporter: &InMemorySpanExporter| BatchSpanProcessor::builder(exporter.clone()).build();
    let sampler = RetraceSampler::builder().with_sample_rate(setup.sampled).build().unwrap();
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_span_processor(batches(&alone))
        .with_span_processor(beside.clone())
        .with_span_processor(around.around(batches(&wrapped)))
        .build();
    for seed in 0..requests {
        let mut random = Rng::with_seed(seed);
        Request { tracer: provider.tracer("test"), random: &mut random }.serve(|| flush(&provider));
    }
    flush(&provider);
    let [spans, spans_of_wrapped] = [&alone, &wrapped].map(|memory| memory.get_finished_spans().unwrap());
    assert!(spans == spans_of_wrapped && (setup.sampled < 1.0 || !spans.is_empty()), "{setup:?}");
    provider.shutdown_with_timeout(HANG).unwrap();
    assert_eq!(beside.stats(), around.stats(), "{setup:?}");
    let (runs, runs_around) = (stored(&server_beside), stored(&server_around));
    assert_eq!(runs.len(), runs_around.len(), "{setup:?}");
    for ((_, run), (_, run_around)) in runs.iter().zip(&runs_around) {
        assert_eq!(run, run_around, "{setup:?}");
    }
    runs.len()
}

#[test]
fn the_runs_are_the_same_as_with_two_processors_side_by_side() {
    assert!(compare(&LIVE, 150) > 100);
}

#[test]
fn they_are_over_http_and_whatever_is_selected() {
    assert!(compare(&Setup { transport: Transport::Http, ..LIVE }, 40) > 20);
    assert!(compare(&Setup { selection: SpanSelection::All, ..LIVE }, 20) >= 20);
    let policy = SpanSelection::policy(|span| span.attribute("step").is_some() && span.name.starts_with('6'));
    assert!(compare(&Setup { selection: policy, ..LIVE }, 20) > 5);
}

#[test]
fn they_are_of_runs_that_were_not_sampled_and_failed() {
    assert!(compare(&Setup { sampled: 0.0, ..LIVE }, 60) > 10);
    assert!(compare(&Setup { own_rate: Some(0.01), ..LIVE }, 60) > 10);
}
