//! Requests that come at a bad time, and functions that do what they should not.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use retrace::{Failures, SignalCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::LIMIT;
use crate::{Served, resume};

/// A lease is claimed again so soon.
const SOON: Duration = Duration::from_millis(1);

/// Lets one call of [`slow`] go on for each permit.
static GO_ON: Semaphore = Semaphore::const_new(0);
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicBool = AtomicBool::new(false);

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        DROPPED.store(true, Ordering::SeqCst);
    }
}

#[retrace::record(resumable)]
async fn slow(question: &str) -> String {
    MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let _guard = Guard;
    GO_ON.acquire().await.unwrap().forget();
    question.to_owned()
}

type Gate = Mutex<Option<(Sender<()>, Receiver<()>)>>;

/// The next call of [`blocking`] states that it began, and waits.
static GATE: Gate = Mutex::new(None);

#[retrace::record(resumable)]
fn blocking(question: String) -> usize {
    let gate = GATE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((began, go_on)) = gate {
        began.send(()).unwrap();
        go_on.recv_timeout(LIMIT).unwrap();
    }
    question.len()
}

#[retrace::record(resumable)]
async fn failing(question: String) -> Result<String, String> {
    Err(format!("no answer to {question}"))
}

#[retrace::record(resumable)]
async fn panicking(question: String) -> String {
    panic!("no {question}")
}

#[retrace::record(resumable)]
fn panicking_thread(question: String) -> String {
    panic!("no {question}")
}

#[retrace::record(resumable)]
async fn counting(question: u32) -> u32 {
    question + 1
}

fn functions() -> Vec<retrace::Resumable> {
    vec![
        retrace::resumable!(slow),
        retrace::resumable!(blocking),
        retrace::resumable!(failing),
        retrace::resumable!(panicking),
        retrace::resumable!(panicking_thread),
        retrace::resumable!(counting),
    ]
}

/// Waits until a call of [`slow`] runs. The start of the run reaches the receiver.
fn running(served: &Served, runs: usize) {
    served.peer.wait("a run begins", |_| (RUNNING.load(Ordering::SeqCst) > 0).then_some(()));
    served.peer.wait("the start of a run", |state| (state.count("Fork: slow") >= runs).then_some(()));
}

#[test]
fn superseded_while_it_runs() {
    let served = Served::start();
    DROPPED.store(false, Ordering::SeqCst);
    let _serving = served.serve_with(retrace::serve(functions()).heartbeat(SOON));
    served.peer.answer_claims([200, 200, 409]);
    served.peer.send(resume("slow", json!({})));
    let run = served.peer.ended("Fork: slow");
    assert_eq!((&run["status"], &run["error"]), (&json!("failed"), &json!("cancelled")), "{run:#}");
    assert!(DROPPED.load(Ordering::SeqCst), "the future is dropped");
    assert_eq!(served.peer.claims().len(), 3);
    // Serving goes on.
    GO_ON.add_permits(1);
    served.peer.send(resume("slow", json!({"executionId": null})));
    assert_eq!(served.peer.all_ended("Fork: slow", 2)[1]["output"], "new?");
}

#[test]
fn superseded_while_a_thread_runs_it() {
    let served = Served::start();
    let _serving = served.serve_with(retrace::serve(functions()).heartbeat(SOON));
    let ((began, begins), (go_on, goes_on)) = (channel(), channel());
    *GATE.lock().unwrap() = Some((began, goes_on));
    served.peer.answer_claims([200, 409]);
    served.peer.send(resume("blocking", json!({})));
    begins.recv_timeout(LIMIT).unwrap();
    let run = served.peer.ended("Fork: blocking");
    assert_eq!((&run["status"], &run["error"]), (&json!("failed"), &json!("cancelled")), "{run:#}");
    // The next one waits until the thread is free.
    served.peer.send(resume("blocking", json!({"executionId": "exec-2"})));
    assert_eq!(served.peer.claims().len(), 2);
    go_on.send(()).unwrap();
    assert_eq!(served.peer.all_ended("Fork: blocking", 2)[1]["output"], 4);
    let first = &served.peer.all_ended("Fork: blocking", 2)[0];
    assert_eq!(first["error"], "cancelled", "it stays what it was");
}

#[test]
fn only_a_409_denies_a_claim() {
    let served = Served::start();
    let _serving = served.serve(functions());
    for (number, status) in [200, 204, 400, 401, 404, 500, 503].into_iter().enumerate() {
        served.peer.answer_claims([status]);
        served.peer.send(resume("failing", json!({})));
        served.peer.all_ended("Fork: failing", number + 1);
    }
}

#[test]
fn the_connection_is_lost_while_it_runs() {
    let served = Served::start();
    let _serving = served.serve(functions());
    served.peer.send(resume("slow", json!({})));
    running(&served, 1);
    let before = served.peer.wait("connections", |state| Some(state.auths.len()));
    served.peer.cut();
    GO_ON.add_permits(1);
    let run = served.peer.ended("Fork: slow");
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!("new?")), "{run:#}");
    // The connection comes again by itself, and commands with it.
    served.peer.wait_served_after(before);
    served.peer.send(resume("failing", json!({})));
    served.peer.ended("Fork: failing");
}

#[test]
fn two_at_once_run_one_after_the_other() {
    let served = Served::start();
    MOST.store(0, Ordering::SeqCst);
    let _serving = served.serve(functions());
    for _ in 0..3 {
        served.peer.send(resume("slow", json!({"executionId": null})));
    }
    running(&served, 1);
    GO_ON.add_permits(3);
    served.peer.all_ended("Fork: slow", 3);
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
}

#[test]
fn a_full_queue_is_reported() {
    let (sender, signals) = channel();
    let served = Served::with(|configuration| {
        configuration.with_remote_replay(true).with_on_error(move |signal| drop(sender.send(signal.clone())))
    });
    let serving = served.serve(functions());
    served.peer.send(resume("slow", json!({"executionId": null})));
    running(&served, 1);
    for _ in 0..16 + 3 {
        served.peer.send(resume("slow", json!({"executionId": null})));
    }
    for _ in 0..3 {
        let signal = signals.recv_timeout(LIMIT).unwrap();
        assert_eq!(signal.code, SignalCode::Error);
        assert!(signal.message.contains("16 requests wait"), "{}", signal.message);
    }
    GO_ON.add_permits(17);
    served.peer.all_ended("Fork: slow", 17);
    drop(serving);
    assert_eq!(served.peer.names().len(), 17);
}

#[test]
fn the_end_of_a_handle_ends_what_runs_and_what_waits() {
    let mut served = Served::start();
    let serving = served.serve(functions());
    served.peer.send(resume("slow", json!({"executionId": null})));
    served.peer.send(resume("slow", json!({"executionId": null})));
    running(&served, 1);
    drop(serving);
    let run = served.peer.ended("Fork: slow");
    assert_eq!(run["error"], "cancelled", "{run:#}");
    served.shut_down();
    assert_eq!(served.peer.names().len(), 1);
}

#[test]
fn a_shutdown_ends_serving() {
    let mut served = Served::start();
    let serving = served.serve(functions());
    served.shut_down();
    let ended = served.runtime.block_on(async { tokio::time::timeout(LIMIT, serving).await });
    assert_eq!(ended.unwrap(), Ok(()));
}

#[test]
fn a_fork_is_recorded_whatever_is_sampled() {
    let served = Served::with(|configuration| {
        configuration.with_remote_replay(true).with_sample_rate(0.0).with_failures(Failures::Off)
    });
    let _serving = served.serve(functions());
    served.peer.send(resume("counting", json!({"originalKwargs": {"question": 1}, "modifiedInput": null})));
    assert_eq!(served.peer.ended("Fork: counting")["output"], 2);
}

#[test]
fn a_new_input_of_every_kind() {
    let served = Served::start();
    let _serving = served.serve(functions());
    for (number, (input, status, output)) in [
        (json!(null), "completed", json!(2)),
        (json!("7"), "failed", Value::Null),
        (json!({"question": 7}), "completed", json!(8)),
        (json!({"question": "7"}), "failed", Value::Null),
        (json!({"question": -1}), "failed", Value::Null),
        (json!({"question": null}), "failed", Value::Null),
        (json!({"answer": 7}), "failed", Value::Null),
        (json!({}), "completed", json!(2)),
        (json!(7), "completed", json!(2)),
        (json!(7.5), "completed", json!(2)),
        (json!(true), "completed", json!(2)),
        (json!([7]), "completed", json!(2)),
    ]
    .into_iter()
    .enumerate()
    {
        let call = json!({"originalKwargs": {"question": 1}, "modifiedInput": input, "executionId": null});
        served.peer.send(resume("counting", call));
        let run = served.peer.all_ended("Fork: counting", number + 1).remove(number);
        assert_eq!((&run["status"], &run["output"]), (&json!(status), &output), "{input}: {run:#}");
        if !input.is_null() {
            assert_eq!(run["input"], input);
        }
    }
}

/// A request, and the run that comes of it.
const REQUESTS: [(&str, (&str, &str)); 6] = [
    ("blocking", ("completed", "4")),
    ("failing", ("failed", "no answer to new?")),
    ("panicking", ("failed", "panic: no new?")),
    ("panicking_thread", ("failed", "panic: no new?")),
    ("counting", ("failed", "argument `question` cannot be read")),
    ("unknown", ("failed", "a run of \"unknown\", which is not served")),
];

/// Schedules that are drawn.
const SCHEDULES: u32 = 24;

/// Requests in any order, some of them superseded: each gives the run that it gives alone, in order, and serving goes on.
#[test]
fn requests_in_any_order() {
    let config = ProptestConfig { cases: SCHEDULES, failure_persistence: None, ..ProptestConfig::default() };
    let schedules = proptest::collection::vec((0..REQUESTS.len(), any::<bool>()), 1..8);
    TestRunner::new(config).run(&schedules, in_order).unwrap();
}

fn in_order(schedule: Vec<(usize, bool)>) -> Result<(), TestCaseError> {
    let mut served = Served::start();
    let serving = served.serve(functions());
    let mut expected = Vec::new();
    for (request, is_superseded) in schedule {
        let (name, outcome) = REQUESTS[request];
        served.peer.answer_claims([if is_superseded { 409 } else { 200 }]);
        served.peer.send(resume(name, json!({})));
        if !is_superseded {
            expected.push((format!("Fork: {name}"), outcome));
        }
    }
    served.peer.send(resume("blocking", json!({"executionId": null, "modifiedInput": "last"})));
    served.peer.wait("the last one ends", |state| state.ended().into_iter().find(|run| run["input"] == "last"));
    drop(serving);
    served.shut_down();
    let runs = served.peer.wait("runs", |state| Some(state.ended()));
    prop_assert_eq!(runs.len(), expected.len() + 1, "{:#?}", runs);
    for (run, (name, (status, text))) in runs.iter().zip(&expected) {
        prop_assert_eq!((&run["name"], &run["status"]), (&json!(name), &json!(status)), "{:#}", run);
        let got =
            if *status == "failed" { run["error"].as_str().unwrap().to_owned() } else { run["output"].to_string() };
        prop_assert!(got.contains(text), "{} {:#}", text, run);
    }
    Ok(())
}
