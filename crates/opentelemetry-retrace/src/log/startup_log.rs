//! Log lines about settings, kept until a subscriber takes them.
//!
//! `tracing-opentelemetry` needs the tracer provider before the subscriber exists, so in the usual set-up no
//! subscriber receives the lines that `build()` logs. Each is therefore kept and offered again: by the worker
//! whenever it takes work from its queue, and by a shutdown. Lines that are left at the shutdown, or when the
//! last handle is dropped, go to standard error.
//!
//! A line is *taken* when its event was enabled in a `tracing` subscriber, or, where `tracing` has its
//! feature `log` and no subscriber was ever set, in a `log` logger. A subscriber that filters the target
//! `opentelemetry-retrace` or the level does not take it; one that takes it may still not show it. Without
//! the feature `internal-logs` no line is ever taken.
//!
//! Warnings of a running pipeline that no subscriber took join them at the end ([`Untaken`]).

mod claims;
mod line;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use tracing_core::LevelFilter;

use self::claims::{Claim, claim, end_claim};
use self::line::{Level, Line};
use crate::fork::Process;
use crate::log;
use crate::log::untaken::{Untaken, Warning};

/// Lines kept of one `build()`, and as many of all builders without a worker.
const LINES: usize = 32;
const PREFIX: &str = "opentelemetry-retrace: ";
/// Cause of the notice that states where runs are sent and with which content.
const STARTED: &str = "started";

/// Lines that are never freed, filled from the front.
type Slots = [OnceLock<Line>];

/// Lines of builders that make no worker: of samplers and propagators. Each text is kept once; any worker offers them.
static SHARED: [OnceLock<Line>; LINES] = [const { OnceLock::new() }; LINES];

/// Warnings of a process that belong to no pipeline, or to parts that do not know theirs.
static SHARED_UNTAKEN: LazyLock<Untaken> = LazyLock::new(Untaken::default);

/// Lines of one `build()`, shared by the clones of what it built. When the last clone is dropped, lines that
/// no subscriber took are written to standard error.
#[derive(Debug)]
pub struct StartupLog {
    lines: Vec<Line>,
    /// The notice of where runs are sent, once the worker runs.
    started: OnceLock<Line>,
    shared: &'static Slots,
    /// Warnings of the running pipeline.
    untaken: Untaken,
    process: Process,
    /// True once a thread was started to offer the lines of a pipeline that has no worker.
    is_detached: AtomicBool,
    /// Handle of that thread. The last attempt joins it.
    detached: Mutex<Option<JoinHandle<()>>>,
}

impl Default for StartupLog {
    fn default() -> Self {
        // The child of a fork cannot wait for a thread of the parent that begins it.
        LazyLock::force(&SHARED_UNTAKEN);
        Self {
            lines: Vec::new(),
            started: OnceLock::new(),
            shared: &SHARED,
            untaken: Untaken::default(),
            process: Process::current(),
            is_detached: AtomicBool::new(false),
            detached: Mutex::new(None),
        }
    }
}

impl StartupLog {
    /// Logs warnings and keeps them.
    pub(crate) fn warn(&mut self, cause: &'static str, warnings: Vec<String>) {
        for text in bounded(warnings) {
            self.add(Line::new(Level::Warning, cause, &text));
        }
    }

    /// Logs a notice and keeps it.
    pub(crate) fn note(&mut self, cause: &'static str, text: &str) {
        self.add(Line::new(Level::Notice, cause, text));
    }

    /// Logs the notice of where runs are sent, and keeps it.
    pub(crate) fn started(&self, text: &str) {
        let line = Line::new(Level::Notice, STARTED, text);
        line.offer(Line::emit);
        // A build starts one worker.
        let _ = self.started.set(line);
    }

    fn add(&mut self, line: Line) {
        line.offer(Line::emit);
        if self.lines.len() < LINES {
            self.lines.push(line);
        }
    }

    /// Returns the warnings of this build, then those of samplers and propagators that were built in this process.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.lines().filter(|line| line.level == Level::Warning).map(|line| line.text.clone()).collect()
    }

    /// Offers pending lines to the subscriber of this thread. Costs a few loads when there is none, or no
    /// line is pending.
    pub(crate) fn retry(&self) {
        for line in self.lines().filter(|line| line.is_pending()) {
            line.offer(Line::emit_again);
        }
    }

    /// Runs [`StartupLog::retry`] on a thread of its own, at most once, if a warning is pending and a subscriber may take it. For
    /// span callbacks where no worker runs: a subscriber that makes the span may hold a lock that logging needs.
    pub(crate) fn retry_detached(self: &Arc<Self>) {
        if LevelFilter::current() < LevelFilter::WARN
            || !self.lines().any(|line| line.level == Level::Warning && line.is_pending())
            || self.is_detached.load(Ordering::Acquire)
        {
            return;
        }
        let Ok(mut slot) = self.detached.try_lock() else { return };
        if self.is_detached.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::downgrade(self);
        let retry = move || {
            if let Some(this) = this.upgrade() {
                this.retry();
            }
        };
        // Without a thread the lines stay pending until the shutdown.
        *slot = thread::Builder::new().name("retrace-log".to_owned()).spawn(retry).ok();
    }

    /// Warnings of the running pipeline that no subscriber took.
    pub(crate) fn untaken(&self) -> &Untaken {
        &self.untaken
    }

    /// Offers pending lines a last time, and writes those that are left to standard error.
    pub(crate) fn finish(&self) {
        // The child of a fork leaves the parent's thread and lines to the parent. Its own warnings are its own.
        if !self.process.is_left() {
            let detached = self.detached.lock().ok().and_then(|mut detached| detached.take());
            if let Some(detached) = detached {
                let _ = detached.join();
            }
            // A thread that is torn down may be unable to log.
            let _ = catch_unwind(AssertUnwindSafe(|| self.retry()));
        }
        self.write_left();
    }

    /// Writes the lines that are left to standard error. Warnings of the running pipeline are offered to a subscriber first.
    fn write_left(&self) {
        let mut warnings = String::new();
        for line in self.untaken.take().into_iter().chain(SHARED_UNTAKEN.take()) {
            let offer = || log::offer_warning(line.cause, &line.text, line.earlier);
            // A thread that is torn down may be unable to log.
            let is_taken = catch_unwind(AssertUnwindSafe(offer)).unwrap_or(false);
            if !is_taken {
                warnings.extend([PREFIX, &line.text]);
                if line.earlier > 0 {
                    warnings.push_str(&format!(" ({} earlier warnings of this kind)", line.earlier));
                }
                warnings.push('\n');
            }
        }
        let text = if self.process.is_left() {
            warnings
        } else {
            self.take_left(warnings, LevelFilter::current() != LevelFilter::OFF)
        };
        write_to_stderr(&text);
    }

    /// Settles the pending lines, and returns them as they are written to standard error, with `warnings` of the running pipeline
    /// behind those about settings. Without a warning only the start notice is written, and only if `has_subscriber` is false: a
    /// subscriber that filters it out is a decision against it.
    fn take_left(&self, mut warnings: String, has_subscriber: bool) -> String {
        let mut text = String::new();
        for level in [Level::Warning, Level::Notice] {
            let is_start = self.started.get().is_some();
            if level == Level::Notice && text.is_empty() && (has_subscriber || !is_start) {
                break;
            }
            for line in self.lines().filter(|line| line.level == level && line.settle()) {
                if claim(&line.text) == Claim::Mine {
                    end_claim(&line.text, true);
                    text.extend([PREFIX, &line.text, "\n"]);
                }
            }
            text.push_str(&std::mem::take(&mut warnings));
        }
        text
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().chain(self.started.get()).chain(self.shared.iter().map_while(OnceLock::get))
    }
}

impl Drop for StartupLog {
    fn drop(&mut self) {
        self.write_left();
    }
}

/// Logs a warning, or writes it to standard error if no subscriber takes it: for a time at which no pipeline is left that could
/// write it at its end. Not part of the public API.
pub fn warn_at_once(cause: &'static str, text: &str) {
    if !log::offer_warning(cause, text, 0) {
        write_to_stderr(&[PREFIX, text, "\n"].concat());
    }
}

/// The only place where the crate writes to a stream of the process. A closed stream is no error: `eprint!` would panic.
fn write_to_stderr(text: &str) {
    if !text.is_empty() {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Keeps a warning that no subscriber took until a pipeline of the process ends.
pub(crate) fn keep_untaken(cause: &'static str, text: &str) {
    SHARED_UNTAKEN.keep(&Warning { cause, text, loss: None, may_pass: false });
}

/// Logs warnings that no handle keeps, and keeps them for the whole process: those of builders without a
/// worker, and of workers.
pub(crate) fn warn_shared(cause: &'static str, warnings: Vec<String>) {
    for text in bounded(warnings) {
        keep(Line::new(Level::Warning, cause, &text), &SHARED, Line::emit);
    }
}

/// Offers a line and keeps it, unless no slot is free. If a line of the same text is kept, that one is
/// offered instead.
fn keep(mut line: Line, slots: &Slots, emit: impl Fn(&Line) -> bool) {
    if let Some(kept) = slots.iter().map_while(OnceLock::get).find(|kept| kept.text == line.text) {
        kept.offer(&emit);
        return;
    }
    line.offer(&emit);
    for slot in slots {
        match slot.set(line) {
            Ok(()) => break,
            Err(returned) => line = returned,
        }
    }
}

/// Logs a warning about a setting of the crate `retrace-sdk`, and keeps it for the whole process. Not part of the public API.
pub fn warn_of_setting(warning: String) {
    warn_shared("setting", vec![warning]);
}

/// Limits the warnings to the number that is kept; the last one counts those that are left out.
fn bounded(mut warnings: Vec<String>) -> Vec<String> {
    if warnings.len() > LINES {
        let more = warnings.len() - LINES + 1;
        warnings.truncate(LINES - 1);
        warnings.push(format!("{more} further warnings are left out"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(lines: &[(Level, &str)]) -> StartupLog {
        let (notices, warnings): (Vec<_>, Vec<_>) = lines.iter().partition(|(level, _)| *level == Level::Notice);
        let started = OnceLock::new();
        for (level, text) in notices {
            started.set(Line::new(level, STARTED, text)).unwrap();
        }
        StartupLog {
            lines: warnings.iter().map(|(level, text)| Line::new(*level, "setting", text)).collect(),
            started,
            shared: &[],
            untaken: Untaken::default(),
            process: Process::current(),
            is_detached: AtomicBool::new(false),
            detached: Mutex::new(None),
        }
    }

    #[test]
    fn what_is_left_is_written_once() {
        let log = log_of(&[(Level::Warning, "left a"), (Level::Warning, "taken"), (Level::Notice, "left b")]);
        log.lines[1].offer(|_| true);
        assert_eq!(
            log.take_left(String::new(), true),
            "opentelemetry-retrace: left a\nopentelemetry-retrace: left b\n"
        );
        assert_eq!(log.take_left(String::new(), true), "");
        assert_eq!(log.warnings(), ["left a", "taken"]);
    }

    #[test]
    fn a_notice_alone_is_written_where_there_is_no_subscriber() {
        let log = log_of(&[(Level::Notice, "alone without a subscriber")]);
        assert_eq!(log.take_left(String::new(), true), "");
        assert_eq!(log.take_left(String::new(), false), "opentelemetry-retrace: alone without a subscriber\n");
        assert_eq!(log.take_left(String::new(), false), "");
        let log = log_of(&[(Level::Warning, "taken before"), (Level::Notice, "alone")]);
        log.lines[0].offer(|_| true);
        assert_eq!(log.take_left(String::new(), true), "");
        log.started.get().unwrap().settle();
    }

    #[test]
    fn warnings_of_the_running_pipeline_stand_behind_those_about_settings() {
        let log = log_of(&[(Level::Warning, "a setting"), (Level::Notice, "where runs go")]);
        let warnings = "opentelemetry-retrace: lost\n".to_owned();
        let expected = ["a setting", "lost", "where runs go"].map(|text| format!("opentelemetry-retrace: {text}\n"));
        assert_eq!(log.take_left(warnings, true), expected.concat());
        // The start notice stands beside such a warning also where a subscriber exists.
        let log = log_of(&[(Level::Notice, "where other runs go")]);
        let text = log.take_left("opentelemetry-retrace: lost again\n".to_owned(), true);
        assert_eq!(text, "opentelemetry-retrace: lost again\nopentelemetry-retrace: where other runs go\n");
    }

    #[test]
    fn two_pipelines_do_not_repeat_each_other() {
        let lines = [(Level::Warning, "of both"), (Level::Notice, "of both too")];
        let (first, second) = (log_of(&lines), log_of(&lines));
        assert!(first.take_left(String::new(), true).contains("of both"));
        assert_eq!(claim("of both"), Claim::Done);
        assert_eq!(second.take_left(String::new(), true), "");
        assert_eq!(second.warnings(), ["of both"]);
    }

    #[test]
    fn lines_are_bounded_in_number() {
        let many: Vec<String> = (0..100).map(|number| format!("warning {number}")).collect();
        let kept = bounded(many.clone());
        assert_eq!((kept.len(), kept[LINES - 1].as_str()), (LINES, "69 further warnings are left out"));
        assert_eq!(bounded(many[..LINES].to_vec()), many[..LINES]);
        let mut log = log_of(&[]);
        log.warn("setting", many.clone());
        log.warn("setting", many);
        assert!(log.lines.len() == LINES);
        for line in &log.lines {
            line.settle();
        }
    }

    #[test]
    fn lines_without_a_worker_of_their_own_are_kept_once_for_all() {
        static SLOTS: [OnceLock<Line>; 2] = [const { OnceLock::new() }; 2];
        let line = |text: &str| Line::new(Level::Warning, "setting", text);
        for text in ["of a sampler", "of a sampler", "of a propagator", "one too many"] {
            keep(line(text), &SLOTS, |_| false);
        }
        let (mut first, mut second) = (log_of(&[]), log_of(&[(Level::Warning, "of a processor")]));
        (first.shared, second.shared) = (&SLOTS, &SLOTS);
        assert_eq!(second.warnings(), ["of a processor", "of a sampler", "of a propagator"]);
        keep(line("of a propagator"), &SLOTS, |_| true);
        assert_eq!(first.take_left(String::new(), true), "opentelemetry-retrace: of a sampler\n");
        assert_eq!(second.take_left(String::new(), true), "opentelemetry-retrace: of a processor\n");
    }
}
