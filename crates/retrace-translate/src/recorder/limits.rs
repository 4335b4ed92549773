//! How much the recorder holds, and for how long.

use std::time::Duration;

/// Bounds of a [`crate::Recorder`]. A run that passes one is told as far as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderLimits {
    /// How long a run whose root has ended waits for spans that end after it.
    pub linger: Duration,
    /// How long a run that is told while it happens waits for steps that outlive its root.
    pub outlive: Duration,
    /// How long a run may go without a new span before it is told although its root has not ended.
    pub idle: Duration,
    /// Runs that are open at once.
    pub runs: usize,
    /// Spans of one run.
    pub run_spans: usize,
    /// Bytes of all open runs together. What is remembered of runs that came out takes a quarter more at most.
    pub bytes: usize,
}

impl RecorderLimits {
    /// A quarter of a second: what a task that outlives its root by a little needs, and nobody notices at exit.
    pub const LINGER: Duration = Duration::from_millis(250);
    /// Half a minute: what streams on after its root has ended mostly ends by then, and the run is shown as running meanwhile.
    pub const OUTLIVE: Duration = Duration::from_secs(30);
    /// Half an hour: agents wait for people, and what comes later is still told.
    pub const IDLE: Duration = Duration::from_secs(30 * 60);
    /// A service with ten thousand requests under way at once is a large one.
    pub const RUNS: usize = 10_000;
    /// A run of more spans is hardly one that a person looks at.
    pub const RUN_SPANS: usize = 50_000;
    /// 32 MiB.
    pub const BYTES: usize = 32 * 1024 * 1024;
}

impl Default for RecorderLimits {
    fn default() -> Self {
        Self {
            linger: Self::LINGER,
            outlive: Self::OUTLIVE,
            idle: Self::IDLE,
            runs: Self::RUNS,
            run_spans: Self::RUN_SPANS,
            bytes: Self::BYTES,
        }
    }
}
