//! What the official Python SDK offers, row by row, recorded from Rust and read back from a receiver.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace::{SpanType, Trace};
use retrace_protocol::Status;
use serde_json::{Value, json};
use support::{above, metadata, record, record_with, span, spans, value};

#[test]
fn context_manager_output() {
    let recording = record();
    {
        let run = retrace::run("pipeline").input("tides").start();
        run.output(&json!({ "answer": 42 }));
    }
    let run = recording.run();
    assert_eq!(run.name.as_deref(), Some("pipeline"));
    assert_eq!(value(&run.input), json!("tides"));
    assert_eq!(value(&run.output), json!({ "answer": 42 }));
    assert_eq!(run.status, Some(Status::Completed));
}

#[test]
fn context_manager_metadata() {
    let recording = record();
    {
        let run = retrace::run("pipeline").metadata("version", "1.2.0").metadata("provider", "mine").start();
        run.metadata("attempt", 3).metadata("version", String::from("1.2.1"));
        run.metadata("config", json!({ "k": [1, null] })).metadata("ratio", 0.5).metadata("on", true);
        run.metadata("digits", "42").metadata("large", u64::MAX);
    }
    let run = recording.run();
    for (key, expected) in [
        ("version", json!("1.2.1")),
        ("provider", json!("mine")),
        ("attempt", json!(3)),
        ("config", json!({ "k": [1, null] })),
        ("ratio", json!(0.5)),
        ("on", json!(true)),
        ("digits", json!("42")),
        ("large", json!(u64::MAX)),
    ] {
        assert_eq!(metadata(&run, key), expected, "{key}");
    }
}

#[test]
fn context_manager_status() {
    for (status, expected) in [("failed", Status::Failed), ("completed", Status::Completed)] {
        let recording = record();
        retrace::run("pipeline").start().status(status);
        assert_eq!(recording.run().status, Some(expected), "{status}");
    }
    let recording = record();
    retrace::run("pipeline").start().status("needs_review");
    let run = recording.run();
    assert_eq!(run.status, Some(Status::Completed));
    assert_eq!(metadata(&run, "status"), json!("needs_review"));
}

#[test]
fn context_manager_tags() {
    let recording = record();
    {
        let run = retrace::run("pipeline").tag("beta").start();
        run.tag("gold").tags(["a", "beta"]);
    }
    assert_eq!(metadata(&recording.run(), "tags"), json!(["beta", "gold", "a"]));
}

#[test]
fn context_manager_failing() {
    let recording = record();
    let result = retrace::run("pipeline").try_in_scope(|run| {
        run.step("parse", SpanType::Action).try_in_scope(|_| "x".parse::<u32>().map_err(|error| error.to_string()))
    });
    assert!(result.is_err());
    let run = recording.run();
    assert_eq!(run.status, Some(Status::Failed));
    assert_eq!(run.error.as_deref(), Some("invalid digit found in string"));
    assert_eq!(span(&run, "parse").error.as_deref(), Some("invalid digit found in string"));
}

#[test]
fn manual_spans_of_seven_types() {
    let recording = record();
    {
        let run = retrace::run("pipeline").start();
        for span_type in SpanType::ALL {
            run.step(span_type.as_str(), span_type).input(1).start().output(2);
        }
    }
    let run = recording.run();
    for span_type in SpanType::ALL {
        let step = span(&run, span_type.as_str());
        assert_eq!((step.span_type, value(&step.input), value(&step.output)), (span_type, json!(1), json!(2)));
        assert_eq!(above(&run, span_type.as_str()), Some("pipeline"));
    }
    assert_eq!(spans(&run).len(), 8);
}

#[test]
fn agents() {
    let recording = record();
    {
        let run = retrace::run("pipeline").start();
        retrace::agent("planner").role("Planner").in_scope(|| {
            run.step("plan", SpanType::Reasoning).start().end();
            let _writer = retrace::agent("writer").start();
            retrace::step("write", SpanType::Action).start().end();
        });
        retrace::step("after", SpanType::Action).start().end();
    }
    let run = recording.run();
    let of = |name: &str| {
        let span = span(&run, name);
        (span.agent_id.as_deref(), span.agent_role.as_deref(), span.parent_agent_id.as_deref())
    };
    assert_eq!(of("plan"), (Some("planner"), Some("Planner"), None));
    assert_eq!(of("write"), (Some("writer"), None, Some("planner")));
    assert_eq!(of("after"), (None, None, None));
    assert_eq!(run.name.as_deref(), Some("pipeline"));
}

#[test]
fn sessions() {
    let recording = record();
    retrace::run("first").session("s-1").user("u-1").start().end();
    retrace::run("second").start().session("s-1");
    let runs = recording.runs();
    assert_eq!(runs.iter().map(|run| run.session_id.as_deref()).collect::<Vec<_>>(), [Some("s-1"); 2]);
    assert_eq!(metadata(&runs[0], "user_id"), json!("u-1"));
}

#[test]
fn transports() {
    for transport in ["http", "ws", "auto"] {
        let recording = record_with(|configuration| configuration.with_transport(transport));
        let run = retrace::run("pipeline").tag("early").metadata("early", 1).input("q").start();
        run.step("search", SpanType::ToolCall).input("tides").start().output(["spring"]);
        run.output("a").tag("late").metadata("late", 2).metadata("early", 3);
        run.end();
        let run = recording.run();
        assert_eq!((value(&run.input), value(&run.output)), (json!("q"), json!("a")), "{transport}");
        assert_eq!(metadata(&run, "tags"), json!(["early", "late"]), "{transport}");
        assert_eq!((metadata(&run, "early"), metadata(&run, "late")), (json!(3), json!(2)), "{transport}");
        let step = span(&run, "search");
        assert_eq!((value(&step.input), value(&step.output)), (json!("tides"), json!(["spring"])), "{transport}");
    }
}

#[test]
fn disabled() {
    let _alone = support::alone();
    let guard = retrace::configure().with_enabled(false).install().unwrap();
    let run = retrace::run("pipeline").input(Unread).start();
    run.output(Unread).metadata("k", Unread);
    assert!(!run.is_recorded() && !retrace::current().is_recorded());
    assert_eq!(guard.stats(), retrace::Stats::default());
    drop(run);
    guard.shutdown().unwrap();
}

/// Must not be serialized.
struct Unread;

impl serde::Serialize for Unread {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("nothing is recorded")
    }
}

#[test]
fn resumable() {
    let recording = record();
    retrace::run("pipeline").resumable().input(json!({ "topic": "tides" })).start().end();
    retrace::run("pipeline").input("tides").resumable().start().end();
    let runs = recording.runs();
    for (run, input) in runs
        .iter()
        .zip([json!({ "args": [], "kwargs": { "topic": "tides" } }), json!({ "args": ["tides"], "kwargs": {} })])
    {
        assert_eq!((metadata(run, "_resumable"), value(&run.input)), (json!(true), input));
    }
}

#[test]
fn sampling_seed() {
    // PROTOCOL.md section 16: with this seed `Agent` is sampled at one half, and `agent` is not.
    let recording = record_with(|configuration| {
        configuration.with_sample_rate(0.5).with_sample_seed("seed").with_transport("http")
    });
    for name in ["Agent", "agent", "Agent"] {
        let run = retrace::run(name).start();
        run.step("step", SpanType::Action).start().end();
    }
    let names: Vec<_> = recording.runs().into_iter().map(|run| run.name.unwrap()).collect();
    assert_eq!(names, ["Agent", "Agent"]);
}

#[test]
fn failures_always() {
    let recording = record_with(|configuration| configuration.with_sample_rate(0.0).with_transport("http"));
    retrace::run("good").start().end();
    retrace::run("bad").start().fail("no");
    let run = recording.run();
    assert_eq!((run.name.as_deref(), run.status), (Some("bad"), Some(Status::Failed)));
    assert_eq!(run.error.as_deref(), Some("no"));
}

#[test]
fn token_ids() {
    let recording = record();
    {
        let run = retrace::run("pipeline").start();
        let call = run.step("chat", SpanType::LlmCall).model("gpt-4o-mini").start();
        call.tokens(12, 3_usize).cost(0.25).token_ids([1_u32, 2, 3]).logprobs(vec![-0.5, -0.25]);
    }
    let run: Trace = recording.run();
    let call = span(&run, "chat");
    assert_eq!(call.token_ids.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(call.logprobs.as_deref(), Some(&[-0.5, -0.25][..]));
    assert_eq!((call.input_tokens, call.output_tokens, call.cost), (Some(12), Some(3), Some(0.25)));
    assert_eq!(call.model.as_deref(), Some("gpt-4o-mini"));
    assert_eq!((run.total_tokens, run.total_cost), (Some(15), Some(0.25)));
    let _: Value = value(&run.output);
}
