//! Responses that an interceptor gives.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry::KeyValue;

#[cfg(feature = "_playback")]
use super::timer::{Sleep, Timer};

/// A response that an [`Interceptor`](super::Interceptor) gives in the place of the provider's.
///
/// The client receives the status, the headers and the chunks as they are here, each chunk by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedResponse {
    /// The status. The client treats a status of failure as one that a server sends.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Time from the sending of the request to the head of the response.
    pub head_after: Duration,
    /// The chunks of the body, each with the time from the sending of the request to its arrival.
    pub chunks: Vec<(Duration, Bytes)>,
    /// Name of the error that broke the body off after the last chunk; `None` where the body ended. Clients on `reqwest` and
    /// `rig` receive `PlaybackError`; in `tower` the body ends early, since its error is of another type.
    pub broken: Option<String>,
    /// Pace of the response. Default: [`Pace::Instant`].
    pub pace: Pace,
    /// Attributes of the span of the call, set when it begins.
    pub attributes: Vec<KeyValue>,
}

impl RecordedResponse {
    /// Creates a response without headers and body, delivered at once.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            head_after: Duration::ZERO,
            chunks: Vec::new(),
            broken: None,
            pace: Pace::Instant,
            attributes: Vec::new(),
        }
    }

    /// Returns the wait before the head is delivered; `None` if the pace has none.
    #[cfg(feature = "_playback")]
    pub(crate) fn head_wait(&self, timer: &Timer) -> Option<Sleep> {
        let wait = self.pace.scale(self.head_after);
        (!wait.is_zero()).then(|| timer.sleep(wait))
    }

    /// Returns the body in one piece. Copies unless there is one chunk.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match self.chunks.as_slice() {
            [] => Bytes::new(),
            [(_, only)] => only.clone(),
            chunks => chunks.iter().flat_map(|(_, bytes)| bytes).copied().collect::<Vec<u8>>().into(),
        }
    }
}

/// Pace of a recorded response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Pace {
    /// Without waiting.
    #[default]
    Instant,
    /// At the recorded times.
    Recorded,
    /// At the recorded times, multiplied by this factor: 0.5 is twice as fast. A factor that is not finite or below zero is 0.
    Factor(f64),
}

impl Pace {
    /// Returns how long a recorded duration takes at this pace. Durations beyond a day are cut to a day.
    #[must_use]
    pub fn scale(self, recorded: Duration) -> Duration {
        const DAY: f64 = 86_400.0;
        match self {
            Self::Instant => Duration::ZERO,
            Self::Recorded => recorded.min(Duration::from_secs_f64(DAY)),
            Self::Factor(factor) if factor.is_finite() && factor > 0.0 => {
                Duration::from_secs_f64((recorded.as_secs_f64() * factor).min(DAY))
            }
            Self::Factor(_) => Duration::ZERO,
        }
    }
}
