//! The delivery of a recorded response, chunk by chunk.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use super::timer::{Sleep, Timer};
use super::{Pace, RecordedResponse};

/// Delivers the chunks of a [`RecordedResponse`] at its pace. A dropped playback leaves nothing behind.
pub(crate) struct Playback {
    chunks: std::vec::IntoIter<(Duration, Bytes)>,
    /// Recorded time of what was delivered last.
    at: Duration,
    /// Never locked: a mutex makes the wait `Sync`, as bodies of `reqwest` have to be.
    waiting: Option<Mutex<Sleep>>,
    left: u64,
    broken: Option<String>,
    pace: Pace,
    timer: Timer,
}

impl Playback {
    /// Takes the chunks out of a response; its status and headers remain.
    pub(crate) fn new(response: &mut RecordedResponse, timer: Timer) -> Self {
        let chunks = std::mem::take(&mut response.chunks);
        let left = chunks.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        Self {
            chunks: chunks.into_iter(),
            at: response.head_after,
            waiting: None,
            left,
            broken: response.broken.take(),
            pace: response.pace,
            timer,
        }
    }

    /// Returns the bytes that are still to be delivered.
    #[cfg(feature = "http-body")]
    pub(crate) fn remaining(&self) -> u64 {
        self.left
    }

    /// Returns true if nothing remains to be delivered, neither bytes nor an error.
    #[cfg(feature = "http-body")]
    pub(crate) fn is_finished(&self) -> bool {
        self.chunks.len() == 0 && self.broken.is_none()
    }

    /// Delivers the next chunk when its time has come, and `None` after the last one.
    ///
    /// # Errors
    ///
    /// Returns an error in the place of the end where the recorded body broke off.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PlaybackError>>> {
        if let Some((at, _)) = self.chunks.as_slice().first() {
            let wait = self.pace.scale(at.saturating_sub(self.at));
            if !wait.is_zero() && self.waiting.is_none() {
                self.waiting = Some(Mutex::new(self.timer.sleep(wait)));
            }
            if let Some(waiting) = &mut self.waiting {
                let waiting = waiting.get_mut().unwrap_or_else(PoisonError::into_inner);
                ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
        }
        Poll::Ready(match self.chunks.next() {
            Some((at, bytes)) => {
                self.at = self.at.max(at);
                self.left = self.left.saturating_sub(bytes.len() as u64);
                Some(Ok(bytes))
            }
            None => self.broken.take().map(|error| Err(PlaybackError { error })),
        })
    }
}

impl fmt::Debug for Playback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Playback")
            .field("remaining", &self.left)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

/// Error of a body that broke off when it was recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct PlaybackError {
    error: String,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for PlaybackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PlaybackError {
    /// The name of the recorded error.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.error
    }
}

impl fmt::Display for PlaybackError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the recorded response body broke off: {}", self.error)
    }
}

impl Error for PlaybackError {}
