//! Limits of the recorder.

use std::time::Duration;

/// Limits of a [`crate::Recorder`]. A run that exceeds one is emitted incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderLimits {
    /// How long a run whose root has ended waits for late spans.
    pub linger: Duration,
    /// How long a live run waits for steps that outlive its root.
    pub outlive: Duration,
    /// How long a run may go without a span before it is emitted although its root has not ended.
    pub idle: Duration,
    /// Maximum number of open runs.
    pub runs: usize,
    /// Maximum number of spans of one run.
    pub run_spans: usize,
    /// Maximum size of all open runs in bytes. The memory of emitted runs takes at most a quarter of that in addition.
    pub bytes: usize,
}

impl RecorderLimits {
    /// A quarter of a second: enough for tasks that slightly outlive their root, and short enough for an exit.
    pub const LINGER: Duration = Duration::from_millis(250);
    /// Half a minute: most streams that outlive their root end by then, and the run is shown as running meanwhile.
    pub const OUTLIVE: Duration = Duration::from_secs(30);
    /// Half an hour: agents wait for people, and later spans are still emitted.
    pub const IDLE: Duration = Duration::from_secs(30 * 60);
    /// A service with ten thousand concurrent requests is a large one.
    pub const RUNS: usize = 10_000;
    /// Few people look at a run of more spans.
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
