//! Our own traffic is never traced.
//!
//! The HTTP client is instrumented like any other, so a span of its could be exported, which makes another span, and so
//! on. On the worker's threads OpenTelemetry is told not to record, and `tracing` has nobody to talk to.

use std::cell::RefCell;

thread_local! {
    static MUTE: RefCell<Option<Guards>> = const { RefCell::new(None) };
}

struct Guards {
    _telemetry: opentelemetry::ContextGuard,
    _tracing: tracing_core::dispatcher::DefaultGuard,
}

fn guards() -> Guards {
    Guards {
        _telemetry: opentelemetry::Context::enter_telemetry_suppressed_scope(),
        _tracing: tracing_core::dispatcher::set_default(&tracing_core::Dispatch::none()),
    }
}

/// Nothing that happens on this thread from now on is traced.
pub(crate) fn mute_this_thread() {
    MUTE.with_borrow_mut(|mute| *mute = Some(guards()));
}

/// Ends what [`mute_this_thread`] began, before the thread does.
pub(crate) fn unmute_this_thread() {
    // A thread that is being torn down has no such state any more, and nothing to give back.
    let _ = MUTE.try_with(|mute| mute.borrow_mut().take());
}

/// Runs something that the application is to see, such as a log line of ours, on a muted thread.
pub(crate) fn unmuted(run: impl FnOnce()) {
    let was_muted = MUTE.try_with(|mute| mute.borrow_mut().take().is_some()).unwrap_or(false);
    run();
    if was_muted {
        mute_this_thread();
    }
}
