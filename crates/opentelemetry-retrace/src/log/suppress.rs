//! Suppression of telemetry on the worker's threads.
//!
//! An HTTP client may be instrumented, so that the export of a span would create another span, and so on. On
//! the worker's threads OpenTelemetry is suppressed, and `tracing` has no subscriber.

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

/// Suppresses telemetry on this thread from now on.
pub(crate) fn mute_this_thread() {
    MUTE.with_borrow_mut(|mute| *mute = Some(guards()));
}

/// Reverts [`mute_this_thread`], before the thread ends.
pub(crate) fn unmute_this_thread() {
    // A thread that is torn down has no thread-local storage any more, and needs no reversal.
    let _ = MUTE.try_with(|mute| mute.borrow_mut().take());
}

/// Runs a function on a muted thread without the suppression, such as one that logs for the application.
pub(crate) fn unmuted(run: impl FnOnce()) {
    let was_muted = MUTE.try_with(|mute| mute.borrow_mut().take().is_some()).unwrap_or(false);
    run();
    if was_muted {
        mute_this_thread();
    }
}
