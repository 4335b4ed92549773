//! Runs over a WebSocket, seen while they go on.

use std::time::{Duration, Instant};

use retrace::{SpanType, Trace};
use retrace_protocol::Status;
use serde_json::json;

use crate::support::{LIMIT, Recording, metadata, record_with, span, spans, stored, value};

fn live() -> Recording {
    record_with(|configuration| configuration.with_transport("ws"))
}

/// Waits until the receiver has a run for which `is_so` holds.
fn wait(recording: &Recording, is_so: impl Fn(&Trace) -> bool) -> Trace {
    let began = Instant::now();
    loop {
        if let Some(run) = stored(&recording.server).into_iter().find(&is_so) {
            return run;
        }
        assert!(began.elapsed() < LIMIT, "{:#?}", stored(&recording.server));
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_run_is_there_with_what_it_began_with() {
    let recording = live();
    let run = retrace::run("pipeline").session("s-1").user("u-1").tag("beta").input("tides").metadata("v", 1).start();
    let began = wait(&recording, |_| true);
    assert_eq!((began.name.as_deref(), began.session_id.as_deref()), (Some("pipeline"), Some("s-1")));
    assert_eq!((began.status, value(&began.input)), (Some(Status::Running), json!("tides")));
    assert_eq!((metadata(&began, "v"), metadata(&began, "tags")), (json!(1), json!(["beta"])));
    assert_eq!(metadata(&began, "user_id"), json!("u-1"));

    let _planner = retrace::agent("planner").role("Planner").start();
    let step = run.step("search", SpanType::ToolCall).input("tides").start();
    let began = wait(&recording, |run| spans(run).len() == 2);
    let seen = span(&began, "search");
    assert_eq!((value(&seen.input), seen.agent_id.as_deref()), (json!("tides"), Some("planner")));
    assert!(seen.ended_at.is_none());
    step.output("spring").end();
    run.tag("gold").metadata("v", 2).metadata("w", json!({ "k": 1 })).output("neap");
    drop(step);
    drop(run);

    let run = recording.run();
    assert_eq!((run.status, value(&run.output)), (Some(Status::Completed), json!("neap")));
    assert_eq!((metadata(&run, "v"), metadata(&run, "w")), (json!(2), json!({ "k": 1 })));
    assert_eq!(metadata(&run, "tags"), json!(["beta", "gold"]));
    assert_eq!(value(&span(&run, "search").output), json!("spring"));
}

#[test]
fn the_end_of_a_run_is_live_too() {
    for (status, expected) in [("needs_review", Status::Completed), ("failed", Status::Failed)] {
        let recording = live();
        let run = retrace::run("pipeline").start();
        wait(&recording, |_| true);
        run.status(status);
        run.end();
        let ended = wait(&recording, |run| run.ended_at.is_some());
        assert_eq!(ended.status, Some(expected));
        drop(recording.run());
    }
}
