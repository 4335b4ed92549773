//! Each way in which a run can end gives one finished run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use retrace::SpanType;
use retrace_protocol::Status;
use serde_json::json;

use crate::support::{above, metadata, record, span, spans, value};
use crate::{block_on, pause, poll_once};

#[test]
fn a_scope_ends_with_its_body() {
    let recording = record();
    let answer = block_on(retrace::run("pipeline").scope(async |run| {
        pause().await;
        let found = run
            .step("search", SpanType::ToolCall)
            .scope(async {
                pause().await;
                2
            })
            .await;
        let plan = retrace::step("plan", SpanType::Reasoning).scope(async |step: retrace::SpanHandle| {
            pause().await;
            step.output("done");
            1
        });
        let plan = plan.await;
        retrace::step("act", SpanType::Action)
            .scope_with(async |step| {
                step.output(true);
            })
            .await;
        retrace::fork_point("after");
        retrace::current().metadata("from", "anywhere");
        run.output(found + plan);
        found + plan
    }));
    assert_eq!(answer, 3);
    let run = recording.run();
    assert_eq!((run.status, value(&run.output)), (Some(Status::Completed), json!(3)));
    assert_eq!(metadata(&run, "from"), json!("anywhere"));
    for step in ["search", "plan", "act", "after"] {
        assert_eq!(above(&run, step), Some("pipeline"));
        assert!(span(&run, step).ended_at.is_some());
    }
    assert_eq!(value(&span(&run, "plan").output), json!("done"));
    assert_eq!(span(&run, "after").span_type, SpanType::ForkPoint);
}

#[test]
fn an_error_fails_it() {
    let recording = record();
    let result = block_on(retrace::run("pipeline").try_scope(async |run| {
        pause().await;
        run.step("read", SpanType::Action)
            .try_scope(async |_| Err::<(), _>(std::io::Error::other("disk is full")))
            .await
    }));
    assert!(result.is_err());
    let run = recording.run();
    assert_eq!((run.status, run.error.as_deref()), (Some(Status::Failed), Some("disk is full")));
    assert_eq!(span(&run, "read").error.as_deref(), Some("disk is full"));
}

#[test]
fn an_error_is_recorded_with_its_type_and_its_sources() {
    #[derive(Debug)]
    struct LoadError(std::num::ParseIntError);
    impl std::fmt::Display for LoadError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cannot load")
        }
    }
    impl std::error::Error for LoadError {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let recording = record();
    retrace::run("pipeline").start().fail_with(&LoadError("x".parse::<u8>().unwrap_err()));
    let run = recording.run();
    assert_eq!(run.error.as_deref(), Some("LoadError: cannot load: invalid digit found in string"));
}

#[test]
fn a_panic_fails_it_and_goes_on() {
    let recording = record();
    let ways: [(&str, &dyn Fn()); 4] = [
        ("closure", &|| retrace::run("closure").in_scope(|_| panic!("as intended"))),
        ("guard", &|| {
            let _run = retrace::run("guard").start();
            panic!("as intended")
        }),
        ("future", &|| {
            block_on(retrace::run("future").scope(async |_| {
                pause().await;
                panic!("as intended")
            }));
        }),
        ("open", &|| {
            let _run = retrace::run("open").open();
            panic!("as intended")
        }),
    ];
    for (_, way) in &ways {
        assert!(catch_unwind(AssertUnwindSafe(way)).is_err());
        assert!(!retrace::current().is_recorded());
    }
    let runs = recording.runs();
    assert_eq!(runs.len(), ways.len());
    for (name, _) in ways {
        let run = runs.iter().find(|run| run.name.as_deref() == Some(name)).unwrap();
        assert_eq!(run.status, Some(Status::Failed));
        let error = run.error.as_deref().unwrap();
        assert!(error == "panic: as intended" || error == "panic: the thread panicked", "{error}");
    }
}

#[test]
fn a_dropped_future_is_cancelled() {
    let recording = record();
    poll_once(retrace::run("pipeline").scope(async |run| {
        run.step("wait", SpanType::Action).scope(std::future::pending::<()>()).await;
    }));
    drop(retrace::run("never polled").scope(async |_| ()));
    assert!(!retrace::current().is_recorded());
    let run = recording.run();
    assert_eq!((run.status, run.error.as_deref()), (Some(Status::Failed), Some("cancelled")));
    assert_eq!(span(&run, "wait").error.as_deref(), Some("cancelled"));
    assert_eq!(spans(&run).len(), 2);
}

#[test]
fn what_is_open_when_recording_stops_has_failed() {
    let recording = record();
    let run = retrace::run("pipeline").start();
    let step = run.step("wait", SpanType::Action).open();
    let stored = recording.run();
    assert_eq!(
        (stored.status, stored.error.as_deref()),
        (Some(Status::Failed), Some("not ended when recording stopped"))
    );
    assert!(spans(&stored).iter().all(|span| span.ended_at.is_some()));
    // Later ends change nothing.
    step.end();
    run.end();
}

#[test]
fn a_second_end_changes_nothing() {
    let recording = record();
    let run = retrace::run("pipeline").start();
    let handle = (*run).clone();
    handle.output(1).end();
    handle.output(2).fail("no");
    run.end();
    let run = recording.run();
    assert_eq!((run.status, value(&run.output)), (Some(Status::Completed), json!(1)));
}

#[test]
fn a_step_without_a_run_is_a_run() {
    let recording = record();
    retrace::step("plan", SpanType::Reasoning).in_scope(|_| retrace::run("inner").in_scope(|_| ()));
    let run = recording.run();
    assert_eq!(run.name.as_deref(), Some("plan"));
    assert_eq!((span(&run, "inner").span_type, above(&run, "inner")), (SpanType::Reasoning, Some("plan")));
}
