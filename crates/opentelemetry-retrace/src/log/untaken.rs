//! Warnings of a running pipeline that no subscriber took, kept until it ends.
//!
//! An application without a `tracing` subscriber sees no log line. What was lost, and why, is therefore kept and written when the
//! pipeline is shut down or dropped. Repeated warnings are kept once: of a loss the number of spans, of any other cause the latest
//! text and the number of those before it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::line_text::single_line;
use crate::fork::PerProcess;

/// Maximum number of warnings that are kept apart. The spans of further losses are counted with those of the latest one, in one
/// more place if none is kept; other warnings beyond it are dropped.
const KEPT: usize = 16;

/// Warning of a running pipeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Warning<'a> {
    pub(crate) cause: &'static str,
    pub(crate) text: &'a str,
    /// Number of lost spans and the reason, of a warning about a loss; its text has both.
    pub(crate) loss: Option<(u64, &'a str)>,
    /// True if the cause may pass, and the warning is of no interest once everything is delivered.
    pub(crate) may_pass: bool,
}

#[derive(Debug)]
struct Kept {
    cause: &'static str,
    /// Text, or of a loss the reason.
    text: String,
    /// Number of lost spans.
    spans: Option<u64>,
    may_pass: bool,
    /// Number of earlier warnings of the same cause.
    earlier: u64,
}

impl Kept {
    fn into_line(self) -> Line {
        let text = match self.spans {
            Some(spans) => format!("{spans} spans lost: {}", self.text),
            None => self.text,
        };
        Line { cause: self.cause, text, earlier: self.earlier }
    }
}

/// Line to be logged or written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) cause: &'static str,
    pub(super) text: String,
    /// Number of earlier warnings that it stands for.
    pub(super) earlier: u64,
}

/// Warnings that no subscriber took, of this process.
#[derive(Debug)]
pub(crate) struct Untaken(PerProcess<Mutex<Vec<Kept>>>);

impl Default for Untaken {
    fn default() -> Self {
        Self(PerProcess::new(Mutex::default()))
    }
}

impl Untaken {
    /// Keeps a warning.
    pub(crate) fn keep(&self, warning: &Warning<'_>) {
        let mut kept = self.kept();
        let text = single_line(warning.loss.map_or(warning.text, |(_, reason)| reason));
        let is_same = |kept: &Kept| match (&kept.spans, warning.loss) {
            (Some(_), Some(_)) => kept.cause == warning.cause && kept.text == text,
            (None, None) => kept.cause == warning.cause,
            _ => false,
        };
        if let Some(same) = kept.iter().position(is_same) {
            let mut same = kept.remove(same);
            same.text = text;
            same.may_pass = warning.may_pass;
            match (&mut same.spans, warning.loss) {
                (Some(spans), Some((more, _))) => *spans += more,
                _ => same.earlier += 1,
            }
            // The order is that of the latest warnings.
            return kept.push(same);
        }
        let spans = warning.loss.map(|(spans, _)| spans);
        if kept.len() < KEPT {
            let (cause, may_pass) = (warning.cause, warning.may_pass);
            kept.push(Kept { cause, text, spans, may_pass, earlier: 0 });
        } else if let Some(more) = spans {
            match kept.iter_mut().rev().find_map(|kept| Some((kept.spans.as_mut()?, &mut kept.text))) {
                Some((spans, text)) => {
                    *spans += more;
                    "several reasons".clone_into(text);
                }
                None => kept.push(Kept { cause: warning.cause, text, spans, may_pass: warning.may_pass, earlier: 0 }),
            }
        }
    }

    /// Forgets the warnings of a cause, which a log line has counted. Losses stay.
    pub(crate) fn logged(&self, cause: &'static str) {
        self.kept().retain(|kept| kept.spans.is_some() || kept.cause != cause);
    }

    /// Forgets warnings whose cause has passed: everything is delivered.
    pub(crate) fn passed(&self) {
        self.kept().retain(|kept| !kept.may_pass);
    }

    /// Takes the lines, the oldest first.
    pub(super) fn take(&self) -> Vec<Line> {
        self.0.present().map_or_else(Vec::new, |kept| lock(kept).drain(..).map(Kept::into_line).collect())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        lock(self.0.here(|_| Mutex::default()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning<'a>(cause: &'static str, text: &'a str) -> Warning<'a> {
        Warning { cause, text, loss: None, may_pass: cause == "unreachable" }
    }

    fn lost<'a>(spans: u64, reason: &'a str) -> Warning<'a> {
        Warning { loss: Some((spans, reason)), ..warning("spans_lost", "") }
    }

    fn texts(untaken: &Untaken) -> Vec<(String, u64)> {
        untaken.take().into_iter().map(|line| (line.text, line.earlier)).collect()
    }

    #[test]
    fn a_cause_has_one_line_and_each_reason_for_a_loss_its_spans() {
        let untaken = Untaken::default();
        untaken.keep(&warning("unreachable", "refused"));
        untaken.keep(&lost(3, "halted"));
        untaken.keep(&warning("rejected", "run a\nis lost"));
        untaken.keep(&lost(2, "too old"));
        untaken.keep(&lost(4, "halted"));
        untaken.keep(&warning("rejected", "run b is lost"));
        let expected =
            [("refused", 0), ("2 spans lost: too old", 0), ("7 spans lost: halted", 0), ("run b is lost", 1)];
        assert_eq!(texts(&untaken), expected.map(|(text, earlier)| (text.to_owned(), earlier)));
        assert!(texts(&untaken).is_empty());
    }

    #[test]
    fn what_was_logged_or_has_passed_is_forgotten_and_losses_are_not() {
        let untaken = Untaken::default();
        untaken.keep(&warning("unreachable", "refused"));
        untaken.keep(&warning("rejected", "run a is lost"));
        untaken.keep(&lost(3, "halted"));
        untaken.logged("rejected");
        untaken.logged("spans_lost");
        untaken.passed();
        assert_eq!(texts(&untaken), [("3 spans lost: halted".to_owned(), 0)]);
    }

    #[test]
    fn their_number_and_their_length_are_bounded() {
        let untaken = Untaken::default();
        for reason in 0..1_000 {
            untaken.keep(&lost(1, &format!("{reason} {}", "x".repeat(5_000))));
        }
        let lines = untaken.take();
        assert!(lines.len() == KEPT && lines.iter().all(|line| line.text.len() < 600), "{lines:#?}");
        assert!(lines[KEPT - 1].text.ends_with("spans lost: several reasons"), "{lines:#?}");
        let spans = |line: &Line| line.text.split(' ').next().and_then(|spans| spans.parse::<u64>().ok());
        assert_eq!(lines.iter().filter_map(spans).sum::<u64>(), 1_000);
    }

    #[test]
    fn a_loss_is_counted_although_other_warnings_take_all_places() {
        const CAUSES: [&str; KEPT + 1] =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"];
        let untaken = Untaken::default();
        CAUSES.iter().for_each(|cause| untaken.keep(&warning(cause, cause)));
        untaken.keep(&lost(3, "halted"));
        untaken.keep(&lost(4, "too old"));
        let lines = untaken.take();
        assert_eq!((lines.len(), lines[KEPT].text.as_str()), (KEPT + 1, "7 spans lost: several reasons"));
        assert!(lines.iter().all(|line| line.earlier == 0), "{lines:#?}");
    }
}
