//! Why a run or a step failed.

use std::any::{Any, type_name};
use std::error::Error;
use std::fmt::{self, Debug, Display, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use retrace_replay::replay::POISONED;

/// Most bytes of a message.
const MESSAGE_BYTES: usize = 8 * 1024;
/// Most sources of an error that are named.
const SOURCES: usize = 32;

/// A failure: what it is called, and what it states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: Option<String>,
    pub(crate) message: String,
    cause: Cause,
}

/// Who states a failure: an error may have the text of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The application, or the thread that panics.
    Stated,
    /// The future was dropped before it was done.
    Cancelled,
    /// Recording stopped before the end.
    Unfinished,
}

impl Failure {
    fn new(kind: Option<String>, message: String) -> Self {
        Self { kind, message, cause: Cause::Stated }
    }

    /// The future was dropped before it was done.
    pub(crate) fn cancelled() -> Self {
        Self { kind: None, message: "cancelled".to_owned(), cause: Cause::Cancelled }
    }

    /// Returns true if the future was dropped before it was done.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cause == Cause::Cancelled
    }

    /// Returns true if what failed did not come to its end: it was cancelled, or recording stopped before.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.cause != Cause::Stated
    }

    /// A refusal of a replay, which is the cause of what the run failed with.
    pub(crate) fn refused(refusal: &str, ended: Option<Self>) -> Self {
        match ended {
            Some(ended) if ended.message.contains(refusal) => ended,
            // A later refusal states nothing more.
            Some(ended) if !ended.is_cancelled() && !ended.message.contains(POISONED) => {
                let message = bounded(format_args!("{refusal}\nThe run ended with: {}", ended.message));
                Self { message, ..ended }
            }
            _ => Self::message(refusal),
        }
    }

    /// Recording stopped before the end.
    pub(crate) fn unfinished() -> Self {
        Self { kind: None, message: "not ended when recording stopped".to_owned(), cause: Cause::Unfinished }
    }

    /// A panic with this payload.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let message = payload.downcast_ref::<&str>().copied().or_else(|| Some(payload.downcast_ref::<String>()?));
        Self::new(Some("panic".to_owned()), bounded(format_args!("{}", message.unwrap_or("unknown payload"))))
    }

    /// A panic whose payload is not known.
    pub(crate) fn unwound() -> Self {
        Self::new(Some("panic".to_owned()), "the thread panicked".to_owned())
    }

    /// A message.
    pub fn message<T: Display + ?Sized>(message: &T) -> Self {
        // The alternate form of the usual error wrappers names the sources as well.
        Self::new(None, guarded(|| bounded(format_args!("{message:#}"))))
    }

    /// An error with its sources.
    pub fn error<E: Error + ?Sized>(error: &E) -> Self {
        Self::new(short_name(type_name::<E>()), guarded(|| chain(error)))
    }

    /// An error of an unknown type with its sources.
    pub fn dynamic(error: &(dyn Error + 'static)) -> Self {
        Self::new(None, guarded(|| chain(error)))
    }

    /// An error value that has no message but its debug form.
    pub fn debug<E: Debug + ?Sized>(error: &E) -> Self {
        Self::new(short_name(type_name::<E>()), guarded(|| bounded(format_args!("{error:?}"))))
    }

    /// An error value that cannot be read.
    pub fn type_name<E: ?Sized>() -> Self {
        Self::new(None, bounded(format_args!("{}", type_name::<E>())))
    }
}

/// The message of an error and of its sources. A source that the message before it repeats is left out.
fn chain<E: Error + ?Sized>(error: &E) -> String {
    let mut text = bounded(format_args!("{error}"));
    let sources = std::iter::successors(error.source(), |error: &&dyn Error| (**error).source());
    for source in sources.take(SOURCES) {
        let source = bounded(format_args!("{source}"));
        if !source.is_empty() && !text.ends_with(&source) {
            text = bounded(format_args!("{text}: {source}"));
        }
    }
    text
}

/// The name of a type without its path; `None` for types that only wrap some error.
fn short_name(name: &str) -> Option<String> {
    let path = name.split('<').next().unwrap_or(name).trim_start_matches('&');
    let is_wrapper =
        name.starts_with("dyn ") || path.ends_with("::boxed::Box") || path == "str" || path.ends_with("::String");
    let short = path.rsplit("::").next().filter(|_| !is_wrapper)?;
    let is_generic_name = short.is_empty() || !short.chars().all(|c| c.is_alphanumeric() || c == '_');
    (!is_generic_name && !matches!(path, "anyhow::Error" | "eyre::Report")).then(|| short.to_owned())
}

fn guarded(format: impl FnOnce() -> String) -> String {
    catch_unwind(AssertUnwindSafe(format)).unwrap_or_else(|_| "[unreadable: formatting panicked]".to_owned())
}

fn bounded(text: fmt::Arguments<'_>) -> String {
    struct Bounded(String);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = MESSAGE_BYTES.saturating_sub(self.0.len());
            let at = text.floor_char_boundary(room.min(text.len()));
            self.0.push_str(text.get(..at).unwrap_or_default());
            if at < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut bounded = Bounded(String::new());
    // Fails at the bound, or where the value refuses; what was written until then is kept.
    let _ = bounded.write_fmt(text);
    bounded.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_with_the_text_of_a_cancellation_is_none() {
        let stated = Failure::message("cancelled");
        assert!(!stated.is_cancelled() && !stated.is_cut_off());
        assert_eq!(Failure::refused("refused", Some(stated)).message, "refused\nThe run ended with: cancelled");
        assert_eq!(Failure::refused("refused", Some(Failure::cancelled())).message, "refused");
        assert!(Failure::unfinished().is_cut_off() && !Failure::unfinished().is_cancelled());
    }
}
