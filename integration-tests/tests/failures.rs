//! What a receiver can do wrong, over real sockets. After each of them every span is delivered, or lost for a reason.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration_tests::agent;
use integration_tests::scripted::{Act, ScriptedPeer};
use integration_tests::wait::{HANG, SPENT, deliver, settled, until};
use opentelemetry_retrace::{Compression, LossReason, RetraceExporter, RetraceExporterBuilder, SignalCode, Stats};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};

struct Outcome {
    stats: Stats,
    signals: Vec<(SignalCode, String)>,
}

/// Lets the agent run once against the receiver, and shuts down when the run is delivered or lost.
fn run_against(url: &str, configure: impl FnOnce(RetraceExporterBuilder) -> RetraceExporterBuilder) -> Outcome {
    run_reading(url, "{}", configure)
}

fn run_reading(
    url: &str,
    answer_of_tool: &str,
    configure: impl FnOnce(RetraceExporterBuilder) -> RetraceExporterBuilder,
) -> Outcome {
    let signals = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&signals);
    let builder = RetraceExporter::builder()
        .with_api_key("rt_test_canary")
        .with_transport("http")
        .with_base_url(url)
        .with_flush_timeout(HANG)
        .with_on_error(move |signal| heard.lock().unwrap().push((signal.code, signal.message.clone())));
    let exporter = configure(builder).build().unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    agent::run_reading(&provider, answer_of_tool);
    // Whatever the flush returns, the exporter has the spans, and the shutdown waits for what becomes of them.
    until("the spans are exported", || {
        let _ = provider.force_flush();
        (exporter.stats().accepted == agent::SPANS).then_some(())
    });
    let _ = exporter.shutdown_with_timeout(HANG);
    let stats = exporter.stats();
    assert_eq!(stats.delivered + stats.lost.total() + stats.pending, stats.accepted, "{stats:?}");
    assert_eq!((stats.accepted, stats.pending), (agent::SPANS, 0), "{stats:?}");
    let signals = signals.lock().unwrap().clone();
    for (_, message) in &signals {
        assert!(!message.contains("rt_test_canary"), "{message}");
    }
    Outcome { stats, signals }
}

fn plain(builder: RetraceExporterBuilder) -> RetraceExporterBuilder {
    builder
}

fn codes(outcome: &Outcome) -> Vec<SignalCode> {
    outcome.signals.iter().map(|(code, _)| *code).collect()
}

#[test]
fn a_run_arrives_as_the_protocol_has_it() {
    let peer = ScriptedPeer::playing([Act::status(201)]);
    let outcome = run_against(&peer.url(), |builder| {
        builder.with_project_id("proj-1").with_environment("test").with_header("x-team", "agents")
    });
    assert_eq!((outcome.stats.delivered, outcome.signals.len()), (4, 0));
    let request = peer.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v1/traces"));
    for (name, value) in [
        ("x-retrace-key", "rt_test_canary"),
        ("x-retrace-client", concat!("opentelemetry-retrace/", env!("CARGO_PKG_VERSION"))),
        ("content-type", "application/json"),
        ("x-team", "agents"),
    ] {
        assert_eq!(request.headers[name], value);
    }
    assert!(!request.headers.contains_key("transfer-encoding"), "bodies are of known length");
    let body = request.body;
    assert_eq!(
        (&body["name"], &body["status"], &body["session_id"], &body["project_id"], &body["metadata"]["environment"]),
        (&"weather".into(), &"completed".into(), &"session-1".into(), &"proj-1".into(), &"test".into())
    );
    // The agent, its calls and its tool, and what the tool answered.
    assert_eq!((body["spans"].as_array().unwrap().len(), &body["span_count"]), (5, &5.into()));
    assert_eq!(body["total_tokens"], 240);
}

#[test]
fn connections_are_used_again() {
    let peer = ScriptedPeer::always([], Act::status(201));
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_x")
        .with_base_url(peer.url())
        .with_transport("http")
        .with_flush_timeout(HANG)
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    for _ in 0..5 {
        agent::run(&provider);
        deliver(&provider, &exporter);
    }
    assert_eq!((peer.requests().len(), peer.connections()), (5, 1));
    assert_eq!(exporter.stats().delivered, 20);
}

#[test]
fn pain_10_a_passing_failure_is_waited_out() {
    for failure in [Act::status(503), Act::status(500), Act::status(408), Act::Close, Act::Garbage, Act::ResetMidBody] {
        let peer = ScriptedPeer::playing([failure.clone(), Act::status(201)]);
        let outcome = run_against(&peer.url(), plain);
        assert_eq!(outcome.stats.delivered, 4, "{failure:?}");
        assert_eq!(codes(&outcome), [SignalCode::Unreachable], "{failure:?}: {:?}", outcome.signals);
        let requests = peer.requests();
        if !matches!(failure, Act::ResetMidBody) {
            assert_eq!(requests[0].body, requests[1].body, "what is sent again is the same");
        }
    }
}

#[test]
fn the_receiver_is_left_alone_for_as_long_as_it_asks() {
    let peer = ScriptedPeer::playing([Act::status(429).with_header("retry-after", "1"), Act::status(201)]);
    let outcome = run_against(&peer.url(), plain);
    let requests = peer.requests();
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1));
    assert_eq!((outcome.stats.delivered, codes(&outcome)), (4, vec![SignalCode::RateLimited]));
}

#[test]
fn a_refusal_is_not_repeated_and_is_told_with_its_reason() {
    for (status, reason, code) in [
        (400, LossReason::Rejected, SignalCode::Rejected),
        (401, LossReason::Unauthorized, SignalCode::Unauthorized),
        (403, LossReason::Unauthorized, SignalCode::Unauthorized),
        (402, LossReason::Rejected, SignalCode::CreditsExhausted),
        (404, LossReason::Rejected, SignalCode::Rejected),
        (501, LossReason::Rejected, SignalCode::Rejected),
    ] {
        let peer = ScriptedPeer::playing([Act::refuse(status, "because rt_test_canary")]);
        let outcome = run_against(&peer.url(), plain);
        assert_eq!((outcome.stats.lost.by(reason), codes(&outcome)), (4, vec![code]), "{status}");
        assert!(outcome.signals[0].1.contains("because …"), "{:?}", outcome.signals);
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = ScriptedPeer::playing([]);
    let peer = ScriptedPeer::playing([Act::status(307).with_header("location", elsewhere.url())]);
    let outcome = run_against(&peer.url(), plain);
    assert_eq!((outcome.stats.lost.by(LossReason::Rejected), elsewhere.connections()), (4, 0));
}

#[test]
fn a_conflict_of_a_first_attempt_is_solved_by_an_id_of_its_own() {
    let peer = ScriptedPeer::playing([Act::status(409), Act::status(201)]);
    let outcome = run_against(&peer.url(), plain);
    let requests = peer.requests();
    assert_ne!(requests[1].body["id"], requests[0].body["id"]);
    assert_eq!(requests[1].body["metadata"]["otel"]["continues"], requests[0].body["id"]);
    assert_eq!((outcome.stats.delivered, codes(&outcome)), (4, vec![SignalCode::Conflict]));
}

#[test]
fn a_receiver_that_takes_no_run_at_all_gets_the_end_of_it_by_patch() {
    let peer = ScriptedPeer::playing([Act::status(409), Act::status(409), Act::status(200)]);
    let outcome = run_against(&peer.url(), plain);
    let requests = peer.requests();
    let id = requests[0].body["id"].as_str().unwrap();
    assert_eq!((requests[2].method.as_str(), requests[2].path.as_str()), ("PATCH", &*format!("/api/v1/traces/{id}")));
    assert_eq!((&requests[2].body["status"], &requests[2].body["lossy"]), (&"completed".into(), &true.into()));
    assert_eq!((outcome.stats.lost.by(LossReason::Conflict), codes(&outcome)), (4, vec![SignalCode::Conflict; 2]));
}

/// P11: the write landed, the reply did not.
#[test]
fn pain_11_a_conflict_of_a_second_attempt_is_a_delivery() {
    let peer = ScriptedPeer::playing([Act::Close, Act::status(409)]);
    let outcome = run_against(&peer.url(), plain);
    assert_eq!((outcome.stats.delivered, outcome.stats.lost.total()), (4, 0));
}

/// P12: too large for the receiver.
#[test]
fn pain_12_a_run_that_is_too_large_is_shortened() {
    let peer = ScriptedPeer::playing([Act::status(413), Act::status(413), Act::status(201)]);
    let outcome = run_reading(&peer.url(), &"x".repeat(200_000), plain);
    let requests = peer.requests();
    let length = |at: usize| requests[at].headers["content-length"].parse::<u64>().unwrap();
    assert!(length(2) <= length(1) / 2 && length(1) <= length(0) / 2);
    assert_eq!((outcome.stats.delivered, codes(&outcome)), (4, vec![SignalCode::TooLarge]));
    let spans = requests[2].body["spans"].as_array().unwrap();
    let cut: Vec<_> =
        spans.iter().filter(|span| span["metadata"]["truncated"] == true).map(|span| &span["name"]).collect();
    assert_eq!(cut, ["get_weather", "get_weather"], "the tool and its result; the rest is whole");
    assert!(spans.iter().any(|span| span["output"] == "4 degrees."));
}

#[test]
fn a_receiver_that_never_answers_holds_nobody_longer_than_agreed() {
    let peer = ScriptedPeer::always([], Act::Hang);
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_x")
        .with_base_url(peer.url())
        .with_transport("http")
        // Nothing but the budget of the shutdown ends the request.
        .with_timeout(None)
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    agent::run(&provider);
    let result = exporter.shutdown_with_timeout(SPENT);
    assert!(matches!(result, Err(OTelSdkError::Timeout(_))), "{result:?}");
    assert_eq!(settled(|| exporter.stats()).lost.by(LossReason::Shutdown), 4);
}

#[test]
fn a_request_that_takes_too_long_is_made_again() {
    // On a machine that is busy an answer may be too late as well.
    let peer = ScriptedPeer::always([Act::Hang], Act::status(201));
    let outcome = run_against(&peer.url(), |builder| builder.with_timeout(Duration::from_millis(200)));
    assert_eq!(outcome.stats.delivered, 4);
    assert!(outcome.signals[0].1.contains("timed out"), "{:?}", outcome.signals);
}

#[test]
fn a_receiver_that_is_not_there_costs_the_budget_and_no_more() {
    let nobody = integration_tests::nobody::Nobody::new();
    let (tell, told) = channel();
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_x")
        .with_base_url(nobody.url())
        .with_transport("http")
        .with_on_error(move |signal| tell.send(signal.code).unwrap_or_default())
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    agent::run(&provider);
    assert_eq!(told.recv_timeout(HANG), Ok(SignalCode::Unreachable));
    // A run is kept for a quarter of an hour: what ends the wait is the budget.
    let result = exporter.shutdown_with_timeout(SPENT);
    assert!(matches!(result, Err(OTelSdkError::Timeout(_))), "{result:?}");
    assert_eq!(settled(|| exporter.stats()).lost.by(LossReason::Shutdown), 4);
    assert_eq!(told.recv_timeout(HANG), Ok(SignalCode::SpansLost));
    // The callback goes with the last that could start a worker.
    drop((provider, exporter));
    assert!(told.recv_timeout(HANG).is_err_and(|error| error == RecvTimeoutError::Disconnected));
}

#[test]
fn while_the_receiver_is_away_nothing_is_lost_and_flushes_end_soon() {
    let peer = ScriptedPeer::always([Act::status(503), Act::status(503), Act::status(503)], Act::status(201));
    let (tell, told) = channel();
    let exporter = RetraceExporter::builder()
        .with_api_key("rt_x")
        .with_base_url(peer.url())
        .with_transport("http")
        .with_timeout(HANG)
        .with_flush_timeout(HANG)
        .with_on_error(move |signal| tell.send(signal.code).unwrap())
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    agent::run(&provider);
    assert_eq!(told.recv_timeout(HANG), Ok(SignalCode::Unreachable));
    // The receiver is known to be failing: a flush makes an attempt and tells how it went, instead of using up its time.
    let mut flushes = 0;
    let delivered = loop {
        let flushed = exporter.force_flush();
        flushes += 1;
        let stats = exporter.stats();
        assert_eq!(stats.delivered + stats.pending, 4);
        match flushed {
            Ok(()) => break stats.delivered,
            Err(error) => assert!(error.to_string().contains("spans are kept"), "{error}"),
        }
    };
    assert_eq!(delivered, 4);
    assert!(flushes <= 3 && peer.requests().len() == 4);
}

#[test]
fn what_is_packed_is_understood_and_what_is_refused_for_it_is_sent_plain() {
    let gzip = |builder: RetraceExporterBuilder| builder.with_compression(Compression::Gzip);
    let server = retrace_local::Server::start().unwrap();
    let outcome = run_against(server.url(), gzip);
    assert_eq!((outcome.stats.delivered, outcome.signals.len()), (4, 0));
    let page = server.traces(&retrace_local::TraceQuery::default()).unwrap();
    let stored = server.trace(page.traces[0].id.as_ref().unwrap()).unwrap().unwrap();
    assert_eq!(stored.spans.unwrap().len(), 5);

    let peer = ScriptedPeer::playing([Act::status(415), Act::status(201), Act::status(201)]);
    let exporter = gzip(RetraceExporter::builder().with_api_key("rt_x"))
        .with_base_url(peer.url())
        .with_transport("http")
        .with_flush_timeout(HANG)
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    for _ in 0..2 {
        agent::run(&provider);
        deliver(&provider, &exporter);
    }
    let requests = peer.requests();
    let encodings: Vec<_> = requests.iter().map(|request| request.headers.get("content-encoding")).collect();
    assert_eq!(encodings, [Some(&"gzip".to_owned()), None, None]);
    let lengths: Vec<u64> = requests.iter().map(|request| request.headers["content-length"].parse().unwrap()).collect();
    assert!(lengths[0] * 2 < lengths[1], "{lengths:?}");
    assert_eq!((&requests[0].body, &requests[1].body["name"]), (&serde_json::Value::Null, &"weather".into()));
    assert_eq!((exporter.stats().delivered, exporter.stats().lost.total()), (8, 0));
}
