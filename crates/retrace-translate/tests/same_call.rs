//! Two spans of one model call count once; two calls count twice, whatever their response ids.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use retrace_protocol::Span;
use retrace_translate::{Kind, LiveEvent, Options, Recorder, RecorderLimits, Resource, Value};
use support::*;

/// Total and spans of a run: as an exporter and as a processor have it.
fn both_ways(spans: &[TestSpan]) -> [(u64, Vec<Span>); 2] {
    let (trace, ended) = run_of(spans);
    let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
    let resource = Arc::new(Resource::default());
    let mut schedule: Vec<(u64, bool, &TestSpan)> = Vec::new();
    for span in spans {
        schedule.extend([(span.start, true, span), (span.end, false, span)]);
    }
    schedule.sort_by_key(|(time, begins, span)| (*time, *begins, std::cmp::Reverse(span.start)));
    for (_, begins, span) in schedule {
        match begins {
            true => recorder.start(&span.begun_without(&[]), &resource, Duration::ZERO),
            false => recorder.record(span, &resource, Duration::ZERO),
        }
    }
    recorder.finish();
    let mut outputs = Outputs::default();
    outputs.take(&mut recorder);
    assert_eq!((outputs.runs.len(), recorder.weight()), (0, 0));
    let (mut total, mut live) = (0, Vec::new());
    for event in outputs.live.into_iter().map(|live| live.event) {
        match event {
            LiveEvent::SpanEnded(recorded) => {
                // A record that was emitted again replaces the earlier one.
                live.retain(|span: &Span| span.id != recorded.span.id);
                live.push(recorded.span);
            }
            LiveEvent::RunEnded(trace) => total = trace.total_tokens.unwrap(),
            _ => {}
        }
    }
    [(trace.total_tokens.unwrap(), ended), (total, live)]
}

fn check(spans: &[TestSpan], total: u64, why: &str) {
    for ((found, spans), way) in both_ways(spans).into_iter().zip(["ended", "live"]) {
        assert_eq!(found, total, "{why}, {way}");
        let sum: u64 = spans.iter().map(|span| span.input_tokens.unwrap_or(0) + span.output_tokens.unwrap_or(0)).sum();
        assert_eq!(sum, total, "{why}, {way}: what counts stands on spans");
    }
}

fn answered(n: u64, parent: u64, id: &'static str) -> TestSpan {
    chat(n, parent).usage(10, 1).with("gen_ai.response.id", id)
}

fn root() -> TestSpan {
    agent(1, 0, "helper").during(0, 100)
}

fn of_server(span: TestSpan) -> TestSpan {
    TestSpan { kind: Kind::Server, ..span }
}

#[test]
fn one_id_is_one_call_only_on_one_line_or_at_one_time() {
    let calls = |one: (u64, u64), other: (u64, u64)| {
        [answered(2, 1, "r").during(one.0, one.1), answered(3, 1, "r").during(other.0, other.1), root()]
    };
    check(&calls((1, 3), (3, 5)), 22, "one after the other");
    check(&calls((1, 3), (7, 9)), 22, "long after");
    check(&calls((1, 5), (2, 4)), 11, "two libraries");
    check(&calls((1, 4), (2, 5)), 11, "two libraries that do not end in order");
    let nested = [answered(3, 2, "r").during(3, 4), answered(2, 1, "r").during(2, 5), root()];
    check(&nested, 11, "within each other");
    let late = [answered(2, 1, "r").during(2, 3), answered(3, 2, "r").during(5, 6), root()];
    check(&late, 11, "below one that has ended");
    let embedded = answered(3, 2, "r").during(3, 4).with("gen_ai.operation.name", "embeddings");
    check(&[embedded, answered(2, 1, "r").during(2, 5), root()], 11, "of another operation");
    let by_tool = [
        answered(4, 3, "r").during(4, 5),
        tool(3, 2, "ask", "c").during(3, 6),
        answered(2, 1, "r").during(2, 7),
        root(),
    ];
    check(&by_tool, 22, "made by a tool of another call");
}

#[test]
fn a_third_report_finds_the_call_that_it_repeats() {
    let calls = [
        answered(2, 1, "r").during(1, 3),
        answered(3, 1, "r").during(5, 8),
        answered(4, 1, "r").during(6, 7),
        answered(5, 1, "r").during(9, 10),
        root(),
    ];
    check(&calls, 33, "of three calls one is recorded twice");
    for order in [[3, 2, 1, 0, 4], [1, 3, 0, 2, 4], [4, 2, 0, 3, 1]] {
        let spans = order.map(|at: usize| calls[at].clone());
        assert_eq!(run_of(&spans).0.total_tokens, Some(33), "in whatever order the spans come");
    }
}

proptest! {
    #[test]
    fn calls_one_after_the_other_add_up(
        calls in prop::collection::vec((0_usize..3, 0_u64..3, 0_u64..3, 1_i64..50), 1..12),
        parents in prop::collection::vec(any::<bool>(), 12),
    ) {
        const RESPONSES: [&str; 3] = ["r1", "r2", "r1"];
        let mut now = 1;
        let mut spans = vec![span(2, 1, "step").during(0, 200)];
        for ((at, (id, pause, takes, tokens)), under_root) in calls.iter().enumerate().zip(&parents) {
            let parent = if *under_root { 1 } else { 2 };
            let call = chat(at as u64 + 3, parent).usage(*tokens, 1).with("gen_ai.response.id", RESPONSES[*id]);
            now += pause;
            spans.push(call.during(now, now + takes));
            now += takes;
        }
        spans.push(root().during(0, 200));
        let expected: u64 = calls.iter().map(|(.., tokens)| tokens.unsigned_abs() + 1).sum();
        for (total, spans) in both_ways(&spans) {
            prop_assert_eq!(total, expected);
            for call in spans.iter().filter(|span| span.span_type.as_str() == "llm_call") {
                prop_assert!(call.input_tokens.is_some() && call.output_tokens == Some(1));
            }
        }
    }
}

/// A client's call and what its server records of it, as vLLM does.
fn served(server: TestSpan) -> [TestSpan; 3] {
    let client = chat(2, 1).usage(100, 50).with("gen_ai.response.id", "chatcmpl-1").during(2, 10);
    [of_server(server).during(3, 9), client, root()]
}

fn llm_request() -> TestSpan {
    span(3, 2, "llm_request")
        .with("gen_ai.response.model", "m")
        .with_value("gen_ai.usage.prompt_tokens", Value::Int(100))
        .with_value("gen_ai.usage.completion_tokens", Value::Int(50))
}

#[test]
fn a_server_records_the_call_of_its_client() {
    let by_id = served(llm_request().with("gen_ai.request.id", "chatcmpl-1"));
    check(&by_id, 150, "one request");
    check(&served(llm_request()), 150, "the same usage of the same model");
    let [(_, spans), _] = both_ways(&by_id);
    let server = spans.iter().find(|span| span.name == "llm_request").unwrap();
    assert_eq!((server.input_tokens, server.output_tokens), (None, None));
    assert_eq!(metadata(server)["usage"], serde_json::json!({"input_tokens": 100, "output_tokens": 50}));
    assert_eq!(metadata(server)["attributes"]["gen_ai.request.id"], "chatcmpl-1");

    let as_call = llm_request().with("gen_ai.operation.name", "chat").with("gen_ai.response.id", "chatcmpl-1");
    check(&served(as_call), 150, "a server that calls it a model call too");
    let counted_otherwise = span(3, 2, "llm_request")
        .with("gen_ai.request.id", "chatcmpl-1")
        .with_value("gen_ai.usage.prompt_tokens", Value::Int(103));
    assert_eq!(run_of(&served(counted_otherwise)).0.total_tokens, Some(150), "by id whatever it counts");
}

#[test]
fn a_gateway_and_its_server_record_one_call() {
    let [server, client, root] = served(llm_request());
    let gateway = of_server(span(4, 2, "proxy")).with("gen_ai.response.id", "chatcmpl-1").usage(100, 50).during(3, 10);
    let upstream = chat(5, 4).usage(100, 50).with("gen_ai.response.id", "other").during(4, 9);
    let server = TestSpan { parent: retrace_translate::Parent::Local(id(5)), ..server }.during(5, 8);
    check(&[server, upstream, gateway, client, root], 150, "three services");
}

#[test]
fn what_a_server_does_else_is_its_own() {
    let other = span(3, 2, "llm_request")
        .with("gen_ai.response.model", "m")
        .with_value("gen_ai.usage.prompt_tokens", Value::Int(7));
    check(&served(other.clone()), 157, "another usage");
    let other_model = TestSpan { attributes: llm_request().attributes, ..other }.with("gen_ai.response.model", "n");
    check(&served(other_model), 300, "another model");
    let by_tool = [
        of_server(TestSpan { parent: retrace_translate::Parent::Local(id(4)), ..llm_request() }).during(4, 5),
        tool(4, 2, "ask", "c").during(3, 6),
        chat(2, 1).usage(100, 50).during(2, 10),
        root(),
    ];
    check(&by_tool, 300, "a call that a tool makes");
    let [mut server, client, root] = served(llm_request());
    server.kind = Kind::Internal;
    check(&[server, client, root], 300, "not a server");
}

#[test]
fn a_server_that_ends_after_its_client_records_the_same_call() {
    let [server, client, root] = served(llm_request());
    check(&[client, server.during(3, 12), root], 150, "in whatever order they end");
}

#[test]
fn a_step_around_a_call_repeats_its_usage() {
    let step = |n| span(n, 1, "step").with("gen_ai.operation.name", "agent_step").usage(10, 1);
    let spans = [answered(3, 2, "r").during(2, 3), step(2).during(1, 4), step(4).during(5, 6), root()];
    check(&spans, 22, "one step around a call, and one without");
}

#[test]
fn two_libraries_side_by_side_record_one_call() {
    let framework =
        |n: u64, from: u64, to: u64| TestSpan { scope: "framework", ..chat(n, 1).usage(10, 1).during(from, to) };
    let sdk = |n: u64, from: u64, to: u64| TestSpan { scope: "sdk", ..answered(n, 1, "r").during(from, to) };
    check(&[sdk(3, 2, 3), framework(2, 1, 4), root()], 11, "one within the time of the other");
    check(&[sdk(3, 2, 5), framework(2, 1, 4), root()], 22, "they only overlap");
    check(&[sdk(3, 2, 3), framework(2, 1, 4), framework(4, 1, 5), root()], 22, "two calls, one of them recorded twice");
    let other = TestSpan { scope: "sdk", ..framework(2, 1, 4) };
    check(&[sdk(3, 2, 3), other, root()], 22, "one library");
    check(&[sdk(3, 2, 3), framework(2, 1, 4).usage(10, 2), root()], 23, "other counts");
}
