//! Values that differ in each run, replayed as they were.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::Context;
use opentelemetry_retrace::RetraceIdGenerator;
use opentelemetry_sdk::trace::IdGenerator as _;
use retrace_protocol::{Id, Json, SpanType};
use retrace_replay::cassette::Outcome;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::position::{self, Position};

/// Returns the time. In a replay, the time that it returned in the recording at this place.
///
/// ```
/// let now: std::time::SystemTime = retrace::now();
/// # assert!(now > std::time::UNIX_EPOCH);
/// ```
#[must_use]
pub fn now() -> SystemTime {
    let nanos = memo("retrace.now", || {
        let since = UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    });
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// Returns a random number, of all that a `u64` holds. In a replay, the one that it returned in the recording at this place: seed a
/// generator with it. Not for cryptography.
#[must_use]
pub fn random() -> u64 {
    memo("retrace.random", || u64::from_ne_bytes(RetraceIdGenerator::default().new_span_id().to_bytes()))
}

/// Returns a new UUID of version 4. In a replay, the one that it returned in the recording at this place.
///
/// ```
/// assert_eq!(retrace::uuid().len(), 36);
/// ```
#[must_use]
pub fn uuid() -> String {
    memo("retrace.uuid", || Id::from_otel_trace(RetraceIdGenerator::default().new_trace_id().to_bytes()).to_string())
}

/// Returns the recorded value, or makes one. A value that the recording does not have is made: it has no effects.
fn memo<T: Serialize + DeserializeOwned>(name: &str, make: impl FnOnce() -> T) -> T {
    if !position::is_active() {
        return make();
    }
    let position = Context::map_current(|cx| cx.get::<Position>().cloned());
    let Some((session, position)) = position.and_then(|position| Some((position.session.clone()?, position))) else {
        return make();
    };
    if let Some(entry) = session.value(position.lane(), name)
        && let Outcome::Value(value) = &entry.outcome
        && let Ok(given) = serde_json::from_str(value.as_str())
    {
        session.record_answer(&entry);
        return given;
    }
    let made = make();
    session.record(|recorder| {
        let begun = recorder.call(position.lane(), SpanType::Action, name, None, Value::Null);
        recorder.end(begun, Outcome::Value(Json::from_serialize(&made)), |_| {});
    });
    made
}
