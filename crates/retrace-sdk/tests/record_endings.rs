//! How recorded calls end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::manual_async_fn)] // Each form is a kind of its own.

mod recorded;

use std::error::Error;
use std::fmt;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Waker};

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use serde_json::{Value, json};

use crate::recorded::{Run, start};

#[derive(Debug)]
struct Outer(Inner);

#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection refused")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl Error for Inner {}

/// Recognised by its value, whatever it is called.
type Answer = Result<u8, Outer>;

#[retrace::record(name = "err")]
fn fails() -> Answer {
    Err(Outer(Inner))
}

#[retrace::record(name = "err by ?")]
fn fails_early() -> Answer {
    let value = fails()?;
    Ok(value + 1)
}

#[retrace::record(name = "err of an async fn")]
async fn fails_later() -> Result<u8, Box<dyn Error + Send + Sync>> {
    ready(()).await;
    Err(Outer(Inner))?;
    Ok(1)
}

fn assert_failed(run: &Run, parts: &[&str]) {
    assert_eq!((run.status(), run.output()), ("failed", Value::Null));
    let error = run.error().unwrap();
    for part in parts {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_err_is_a_failure_with_its_sources() {
    let pipeline = start();
    assert!(fails().is_err());
    assert_failed(&pipeline.run("err"), &["Outer", "no answer", "connection refused"]);
    assert!(fails_early().is_err());
    assert_failed(&pipeline.run("err by ?"), &["no answer"]);
    assert!(fails_later().now_or_never().unwrap().is_err());
    assert_failed(&pipeline.run("err of an async fn"), &["no answer", "connection refused"]);
}

#[retrace::record(name = "early return")]
fn returns_early(early: bool) -> &'static str {
    if early {
        return "early";
    }
    "late"
}

#[retrace::record(name = "early return of an async fn")]
async fn returns_early_later(early: bool) -> Option<&'static str> {
    if early {
        return None;
    }
    Some("late")
}

#[test]
fn an_early_return_ends_the_call() {
    let pipeline = start();
    assert_eq!(returns_early(true), "early");
    assert_eq!(pipeline.run("early return").output(), json!("early"));
    assert_eq!(returns_early(false), "late");
    assert_eq!(pipeline.runs("early return").len(), 2);
    assert_eq!(returns_early_later(true).now_or_never().unwrap(), None);
    let run = pipeline.run("early return of an async fn");
    assert_eq!((run.status(), run.output()), ("completed", Value::Null));
    assert_eq!(returns_early_later(false).now_or_never().unwrap(), Some("late"));
    let outputs: Vec<Value> = pipeline.runs("early return of an async fn").iter().map(Run::output).collect();
    assert!(outputs.contains(&json!("late")), "{outputs:?}");
}

#[retrace::record(name = "panic")]
fn panics(reason: &str) -> u8 {
    panic!("{reason}")
}

#[retrace::record(name = "panic of an async fn")]
async fn panics_later() -> u8 {
    ready(()).await;
    panic!("later")
}

#[retrace::record(name = "panic before the future")]
fn panics_before() -> impl Future<Output = u8> {
    assert!(std::env::args().count() > 1_000_000, "before");
    ready(1)
}

#[retrace::record(name = "panic of a stream", stream)]
fn panics_between() -> impl Stream<Item = u8> {
    stream::iter([1, 2]).map(|item| if item == 2 { panic!("between") } else { item })
}

fn payload(result: Result<(), Box<dyn std::any::Any + Send>>) -> String {
    let payload = result.unwrap_err();
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| (*payload.downcast_ref::<&str>().unwrap()).to_owned())
}

#[test]
fn a_panic_is_a_failure_and_goes_on() {
    let pipeline = start();
    let unwound = catch_unwind(|| {
        panics("no tides");
    });
    assert_eq!(payload(unwound), "no tides");
    assert_failed(&pipeline.run("panic"), &["panic", "no tides"]);

    let unwound = catch_unwind(AssertUnwindSafe(|| {
        panics_later().now_or_never();
    }));
    assert_eq!(payload(unwound), "later");
    assert_failed(&pipeline.run("panic of an async fn"), &["later"]);

    let unwound = catch_unwind(AssertUnwindSafe(|| drop(panics_before())));
    assert_eq!(payload(unwound), "before");
    assert_failed(&pipeline.run("panic before the future"), &["before"]);

    let unwound = catch_unwind(AssertUnwindSafe(|| {
        panics_between().collect::<Vec<_>>().now_or_never();
    }));
    assert_eq!(payload(unwound), "between");
    let run = pipeline.run("panic of a stream");
    assert_eq!(run.status(), "failed");
    assert!(run.error().unwrap().contains("between"));
}

#[retrace::record(name = "dropped")]
async fn never_done(topic: &str) -> usize {
    pending::<()>().await;
    topic.len()
}

#[retrace::record(name = "never polled")]
async fn never_polled() {}

#[retrace::record(name = "never polled block")]
fn never_polled_block() -> impl Future<Output = ()> {
    async move {}
}

#[retrace::record(name = "future never polled")]
fn never_polled_future() -> impl Future<Output = ()> {
    let unit = ();
    ready(unit)
}

#[test]
fn a_dropped_future_is_cancelled() {
    let pipeline = start();
    {
        let mut future = pin!(never_done("tides"));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        assert!(future.as_mut().poll(&mut cx).is_pending());
    }
    let run = pipeline.run("dropped");
    assert_failed(&run, &["cancelled"]);
    assert_eq!(run.input(), json!({"topic": "tides"}));

    drop(never_polled());
    drop(never_polled_block());
    drop(never_polled_future());
    assert!(pipeline.runs("never polled").is_empty());
    assert!(pipeline.runs("never polled block").is_empty());
    assert_failed(&pipeline.run("future never polled"), &["cancelled"]);
}

#[retrace::record(name = "stream", stream)]
fn counts(to: u8) -> impl Stream<Item = u8> {
    stream::iter(0..to)
}

#[retrace::record(name = "boxed stream", stream)]
fn counts_boxed(to: u8) -> Pin<Box<dyn Stream<Item = u8> + Send>> {
    Box::pin(stream::iter(0..to))
}

#[retrace::record(name = "stream of results", stream)]
fn counts_until_it_fails() -> impl Stream<Item = Result<u8, Outer>> {
    stream::iter([Ok(1), Ok(2), Err(Outer(Inner))])
}

#[retrace::record(name = "stream items", stream, output = |item| item * 10)]
fn counts_in_tens() -> impl Stream<Item = u8> {
    stream::iter(1..3)
}

#[retrace::record(name = "stream without output", stream, skip_output)]
fn counts_in_silence() -> impl Stream<Item = u8> {
    stream::iter(1..3)
}

#[retrace::record(name = "empty stream", stream)]
fn counts_to_nothing() -> impl Stream<Item = u8> {
    stream::empty()
}

#[test]
fn a_stream_that_is_read_to_its_end_is_its_items() {
    let pipeline = start();
    assert_eq!(counts(3).collect::<Vec<_>>().now_or_never().unwrap(), [0, 1, 2]);
    let run = pipeline.run("stream");
    assert_eq!((run.status(), run.input(), run.output()), ("completed", json!({"to": 3}), json!([0, 1, 2])));
    assert_eq!(run.metadata().get("partial"), None);
    assert_eq!(counts_boxed(2).collect::<Vec<_>>().now_or_never().unwrap(), [0, 1]);
    assert_eq!(pipeline.run("boxed stream").output(), json!([0, 1]));
    counts_in_tens().collect::<Vec<_>>().now_or_never().unwrap();
    assert_eq!(pipeline.run("stream items").output(), json!([10, 20]));
    counts_in_silence().collect::<Vec<_>>().now_or_never().unwrap();
    assert_eq!(pipeline.run("stream without output").output(), Value::Null);
    counts_to_nothing().collect::<Vec<_>>().now_or_never().unwrap();
    assert_eq!(pipeline.run("empty stream").output(), json!([]));
}

#[test]
fn an_err_in_a_stream_is_a_failure() {
    let pipeline = start();
    assert_eq!(counts_until_it_fails().collect::<Vec<_>>().now_or_never().unwrap().len(), 3);
    let run = pipeline.run("stream of results");
    assert_eq!((run.status(), run.output()), ("failed", json!([1, 2])));
    assert!(run.error().unwrap().contains("no answer"));
}

#[retrace::record(name = "dropped stream", stream)]
fn counts_for_ever(from: u64) -> impl Stream<Item = u64> {
    stream::iter(from..)
}

#[test]
fn a_dropped_stream_is_partial() {
    let pipeline = start();
    assert_eq!(counts_for_ever(5).take(2).collect::<Vec<_>>().now_or_never().unwrap(), [5, 6]);
    let run = pipeline.run("dropped stream");
    assert_eq!((run.output(), &run.metadata()["partial"]), (json!([5, 6]), &json!(true)));
}

#[retrace::record(name = "later stream", stream)]
async fn counts_later(to: u8) -> impl Stream<Item = u8> {
    ready(()).await;
    stream::iter(0..to)
}

#[retrace::record(name = "perhaps a stream", stream)]
async fn counts_perhaps(fails: bool) -> Result<Pin<Box<dyn Stream<Item = u8> + Send>>, Outer> {
    ready(()).await;
    if fails {
        return Err(Outer(Inner));
    }
    Ok(Box::pin(stream::iter(0..2)))
}

#[retrace::record(name = "perhaps an opaque stream", stream)]
async fn counts_perhaps_opaquely(fails: bool) -> Result<impl Stream<Item = u8>, Outer> {
    if fails {
        return Err(Outer(Inner));
    }
    Ok(stream::iter(0..2))
}

#[retrace::record(name = "stream that never comes", stream)]
async fn counts_never() -> impl Stream<Item = u8> {
    pending::<()>().await;
    stream::iter(0..2)
}

#[test]
fn a_stream_may_come_from_a_future() {
    let pipeline = start();
    let stream = counts_later(2).now_or_never().unwrap();
    assert_eq!(stream.collect::<Vec<_>>().now_or_never().unwrap(), [0, 1]);
    assert_eq!(pipeline.run("later stream").output(), json!([0, 1]));

    let stream = counts_perhaps(false).now_or_never().unwrap().unwrap();
    assert_eq!(stream.collect::<Vec<_>>().now_or_never().unwrap(), [0, 1]);
    assert_eq!(pipeline.run("perhaps a stream").output(), json!([0, 1]));
    assert!(counts_perhaps(true).now_or_never().unwrap().is_err());
    assert_failed(
        &pipeline.runs("perhaps a stream").into_iter().find(|run| run.status() == "failed").unwrap(),
        &["no answer"],
    );

    let stream = counts_perhaps_opaquely(false).now_or_never().unwrap().ok().unwrap();
    assert_eq!(stream.collect::<Vec<_>>().now_or_never().unwrap(), [0, 1]);
    assert_eq!(pipeline.run("perhaps an opaque stream").output(), json!([0, 1]));
    assert!(counts_perhaps_opaquely(true).now_or_never().unwrap().is_err());

    assert!(counts_never().now_or_never().is_none());
    assert_failed(&pipeline.run("stream that never comes"), &["cancelled"]);
}
