//! Steps that begin below a step that has ended: a task that outlives the step that spawned it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace::SpanType;
use support::{above, record, record_with};

/// A run in which a task of `early` goes on after its end.
fn run_with_late_step() -> retrace::OpenSpan {
    let run = retrace::run("pipeline").open();
    let late = run.step("early", SpanType::Action).in_scope(|_| {
        retrace::bind(|| {
            retrace::step("late", SpanType::ToolCall).input("tides").start().output("spring");
        })
    });
    late();
    run
}

#[test]
fn a_late_step_stands_below_the_step_that_has_ended() {
    let recording = record();
    run_with_late_step().end();
    let run = recording.run();
    assert_eq!(above(&run, "late"), Some("early"));
    assert_eq!(support::value(&support::span(&run, "late").output), "spring");
}

#[test]
fn a_late_step_of_a_run_that_was_not_sampled_is_sent_when_the_run_fails() {
    let recording = record_with(|configuration| configuration.with_sample_rate(0.0).with_transport("http"));
    run_with_late_step().end();
    run_with_late_step().fail("no");
    let run = recording.run();
    assert_eq!((run.error.as_deref(), above(&run, "late")), (Some("no"), Some("early")));
}
