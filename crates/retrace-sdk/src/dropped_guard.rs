//! Warning about a guard that was dropped before anything was recorded, as by `let _ = retrace::install()?;`.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_retrace::__private::warn_at_once;

/// A guard was dropped before a span began, and nothing was installed since.
static DROPPED: AtomicBool = AtomicBool::new(false);

/// Notes that a guard was dropped before anything was recorded. A program that ends without a run is right to do so.
pub(crate) fn dropped() {
    DROPPED.store(true, Ordering::Relaxed);
}

/// Notes that something is installed.
pub(crate) fn installed() {
    DROPPED.store(false, Ordering::Relaxed);
}

/// Warns, once, if a run begins that nothing records because the guard was dropped.
#[cold]
pub(crate) fn run_is_not_recorded() {
    if DROPPED.load(Ordering::Relaxed) && DROPPED.swap(false, Ordering::Relaxed) {
        warn_at_once(
            "guard",
            "a run begins after the guard of install() was dropped, and is not recorded: bind the guard to a name such as _retrace \
             until the end of main; let _ = drops it at once",
        );
    }
}
