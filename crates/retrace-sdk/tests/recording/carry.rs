//! A run across tasks, threads and streams.

use futures_util::StreamExt as _;
use retrace::opentelemetry::Context;
use retrace::{InRun as _, SpanType};

use crate::support::{above, record, span};

fn step(name: &'static str) {
    retrace::step(name, SpanType::Action).start().end();
}

#[test]
fn a_run_goes_along() {
    let recording = record();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(retrace::run("pipeline").scope(async |run| {
        tokio::spawn(async { step("in_run") }.in_run()).await.unwrap();
        retrace::spawn(async { step("spawn") }).await.unwrap();
        retrace::spawn_blocking(|| step("spawn_blocking")).await.unwrap();
        retrace::thread(|| step("thread")).join().unwrap();
        let job = retrace::bind(|| step("bind"));
        std::thread::spawn(job).join().unwrap();
        let cx = Context::current();
        std::thread::spawn(move || {
            let _current = cx.attach();
            step("context");
        })
        .join()
        .unwrap();
        let handle = run.clone();
        std::thread::spawn(move || handle.step("handle", SpanType::Action).start().end()).join().unwrap();
        let agent = retrace::agent("writer").scope(async { retrace::spawn(async { step("agent") }).await.unwrap() });
        agent.await;
        let numbers = futures_util::stream::iter(["stream"]).map(step).in_run();
        tokio::spawn(numbers.collect::<Vec<_>>()).await.unwrap();
        tokio::spawn(async { step("alone") }).await.unwrap();
    }));
    let runs = recording.runs();
    let names: Vec<_> = runs.iter().map(|run| run.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["pipeline", "alone"]);
    let names = ["in_run", "spawn", "spawn_blocking", "thread", "bind", "context", "handle", "agent", "stream"];
    for name in names {
        assert_eq!(above(&runs[0], name), Some("pipeline"), "{name}");
    }
    assert_eq!(span(&runs[0], "agent").agent_id.as_deref(), Some("writer"));
}

/// Compiles only for futures that may move between threads.
fn sendable<F: Future + Send>(future: F) -> F {
    future
}

#[test]
fn futures_stay_send() {
    let name = String::from("pipeline");
    drop(sendable(retrace::run("a").scope(async |run| run.output(&name).end())));
    drop(sendable(retrace::step("b", SpanType::Action).scope(async { crate::pause().await })));
    drop(sendable(retrace::step("c", SpanType::Action).scope_with(async |step| step.output(&name).end())));
    drop(sendable(retrace::run("d").instrument(crate::pause())));
    drop(sendable(retrace::run("e").try_scope(async |_| Ok::<_, String>(1))));
    drop(sendable(retrace::agent("f").scope(crate::pause())));
    drop(sendable(crate::pause().in_run()));
}
