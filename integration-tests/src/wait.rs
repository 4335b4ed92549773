//! Waits for events, under one limit that only a hang reaches.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_retrace::{RetraceExporter, Stats};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};

/// Limit of every wait for something that happens. It is far above what the slowest machine takes: a test that reaches it
/// hangs.
pub const HANG: Duration = Duration::from_secs(120);

/// Budget of a wait that cannot succeed, because the peer never answers. A test waits for its end, so it is short.
pub const SPENT: Duration = Duration::from_millis(300);

/// Time between two looks of a poll.
const POLL: Duration = Duration::from_millis(2);

/// Polls `look` until it returns a value.
///
/// # Panics
/// After [`HANG`], with `what`.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + HANG;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {HANG:?}: {what}");
        thread::sleep(POLL);
    }
}

/// Waits until no accepted span is pending, and returns the stats. The worker may publish them after a shutdown has used up
/// its budget.
///
/// # Panics
/// After [`HANG`].
pub fn settled(stats: impl Fn() -> Stats) -> Stats {
    until("spans are pending", || Some(stats()).filter(|stats| stats.pending == 0))
}

/// Flushes until a flush is complete: `BatchSpanProcessor` gives one up after five seconds. Every span that ended before has
/// reached its exporter then.
///
/// # Panics
/// After [`HANG`].
pub fn flush(provider: &SdkTracerProvider) {
    until("a flush is complete", || provider.force_flush().ok());
}

/// Flushes an exporter behind a processor of the SDK: every span that ended before is delivered then. The exporter needs a
/// flush timeout of [`HANG`].
///
/// # Panics
/// After [`HANG`], and when spans are lost.
pub fn deliver(provider: &SdkTracerProvider, exporter: &RetraceExporter) {
    flush(provider);
    exporter.force_flush().unwrap();
}

/// Runs `work` on a thread of its own, and returns what it returns.
///
/// # Panics
/// After [`HANG`], and when `work` panics.
pub fn returns<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, returned) = channel();
    thread::spawn(move || done.send(work()));
    returned.recv_timeout(HANG).unwrap()
}
