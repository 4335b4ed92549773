//! Warnings about settings, with the feature `internal-logs` and without: with a subscriber that takes everything, with one
//! on another thread only, and with none. Each case is a process of its own, because environment, subscriber and standard
//! error are.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use opentelemetry_retrace::{BuildError, RetraceExporter};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Metadata, Subscriber, dispatcher};

const WARNING: &str = "RETRACE_TRANSPORT=\"pigeon\" is ignored: use `auto`, `ws`, `http`";
/// Set in the child: `subscriber`, `elsewhere`, `none`, or `error` for a build that fails at last.
const CASE: &str = "WARNINGS_CASE";

static EVENTS: AtomicUsize = AtomicUsize::new(0);

/// Counts the events of this crate.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let is_ours = event.metadata().target() == "opentelemetry-retrace";
        EVENTS.fetch_add(usize::from(is_ours), Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Returns what the child wrote to standard error with this prefix.
fn child(case: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "they_are_logged_or_written_to_standard_error", "--nocapture"]).env(CASE, case);
    child
        .env("RETRACE_API_KEY", "rt_x")
        .env("RETRACE_BASE_URL", "http://127.0.0.1:9")
        .env("RETRACE_TRANSPORT", "pigeon");
    if case == "error" {
        child.env("HTTPS_PROXY", "socks5://127.0.0.1:9");
    }
    let output = child.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    errors.lines().filter_map(|line| line.strip_prefix("opentelemetry-retrace: ")).map(str::to_owned).collect()
}

#[test]
fn they_are_logged_or_written_to_standard_error() {
    let logs = cfg!(feature = "internal-logs");
    if let Some(case) = std::env::var_os(CASE) {
        if case == "subscriber" {
            dispatcher::set_global_default(Dispatch::new(Counter)).unwrap();
        }
        if case == "error" {
            let proxied = RetraceExporter::builder().with_base_url("https://retrace.test").build();
            // Without TLS that is the error before.
            assert!(matches!(proxied, Err(BuildError::Proxy { .. } | BuildError::NoTls { .. })), "{proxied:?}");
            return;
        }
        let build = || {
            let exporter = RetraceExporter::builder().build().unwrap();
            assert_eq!(exporter.warnings(), [WARNING]);
        };
        if case == "elsewhere" {
            // With two, `tracing` evaluates an event that both want on a thread that has neither.
            let _other = Dispatch::new(Counter);
            let barrier = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    dispatcher::with_default(&Dispatch::new(Counter), || {
                        barrier.wait();
                        barrier.wait();
                    });
                });
                barrier.wait();
                build();
                barrier.wait();
            });
        } else {
            build();
        }
        // The warning, and the notice of where runs are sent.
        let events = if logs && case == "subscriber" { 2 } else { 0 };
        assert_eq!(EVENTS.load(Ordering::Relaxed), events);
        return;
    }
    let with_subscriber = child("subscriber");
    assert_eq!(with_subscriber.is_empty(), logs, "{with_subscriber:?}");
    // Nothing is sent, so that there is no line about it.
    assert_eq!(child("error"), [WARNING]);
    for case in ["elsewhere", "none"] {
        let without = child(case);
        assert!(without.len() == 2 && without.iter().any(|line| line == WARNING), "{case}: {without:?}");
    }
}
