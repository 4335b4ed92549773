//! The `traceparent` field: parsed strictly, written as version 00.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use retrace_protocol::Id;

/// Content of a `traceparent`: the trace, the calling span, and the flags.
///
/// Parsed by the rules of W3C Trace Context level 2, written as its version 00.
///
/// ```
/// use opentelemetry_retrace::traceparent::Traceparent;
///
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
/// let parent: Traceparent = header.parse()?;
/// assert_eq!(parent.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(parent.parent_id().to_string(), "00f067aa0ba902b7");
/// assert!(parent.is_sampled() && parent.is_random());
/// assert_eq!(parent.to_string(), header);
/// # Ok::<(), opentelemetry_retrace::traceparent::InvalidTraceparent>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traceparent {
    trace_id: TraceId,
    parent_id: SpanId,
    flags: TraceFlags,
}

/// Flags that this version of the standard defines; the others are cleared.
const SAMPLED: u8 = 0b01;
const RANDOM: u8 = 0b10;

/// Length of version 00, which is the shortest that a later version can have.
const LENGTH: usize = 55;

impl Traceparent {
    /// Creates it from the ids and the flags; `None` when an id is all zero. Flags that the standard does not
    /// define are cleared.
    #[must_use]
    pub fn new(trace_id: TraceId, parent_id: SpanId, flags: TraceFlags) -> Option<Self> {
        let valid = trace_id != TraceId::INVALID && parent_id != SpanId::INVALID;
        valid.then(|| Self { trace_id, parent_id, flags: TraceFlags::new(flags.to_u8() & (SAMPLED | RANDOM)) })
    }

    /// Creates it from a span; `None` when its context is not valid.
    #[must_use]
    pub fn of(span: &SpanContext) -> Option<Self> {
        Self::new(span.trace_id(), span.span_id(), span.trace_flags())
    }

    /// Creates it from a trace id and a span id as Retrace writes them: UUIDs, with hyphens or without. The
    /// first half of the span's UUID is its id here. Sampled, as Retrace's own SDKs write it. `None` when
    /// they are no such ids.
    ///
    /// ```
    /// use opentelemetry_retrace::traceparent::Traceparent;
    ///
    /// let (trace, span) = ("e8b6c1d2-4b92-4859-9cc2-a7225b67e364", "102f5a3a-3140-44ba-9cc2-a7225b67e364");
    /// let parent = Traceparent::from_retrace(trace, span).expect("two UUIDs");
    /// assert_eq!(parent.to_string(), "00-e8b6c1d24b9248599cc2a7225b67e364-102f5a3a314044ba-01");
    /// assert_eq!(parent.retrace_trace_id(), trace);
    /// assert_eq!(parent.retrace_span_id().as_deref(), Some(span));
    /// ```
    #[must_use]
    pub fn from_retrace(trace_id: &str, span_id: &str) -> Option<Self> {
        let trace = without_hyphens(trace_id, 32)?;
        let span = without_hyphens(span_id, 32).or_else(|| without_hyphens(span_id, 16))?;
        let trace = u128::from_str_radix(&trace, 16).ok()?;
        let span = u64::from_str_radix(span.get(..16)?, 16).ok()?;
        Self::new(TraceId::from(trace), SpanId::from(span), TraceFlags::SAMPLED)
    }

    /// Returns the trace id.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Returns the id of the calling span.
    #[must_use]
    pub fn parent_id(&self) -> SpanId {
        self.parent_id
    }

    /// Returns the flags that the standard defines.
    #[must_use]
    pub fn flags(&self) -> TraceFlags {
        self.flags
    }

    /// Returns true if the caller may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags.is_sampled()
    }

    /// Returns true if the caller states that the last seven bytes of the trace id are random.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.flags.to_u8() & RANDOM != 0
    }

    /// Sets or clears the random flag.
    pub(crate) fn with_random(mut self, random: bool) -> Self {
        self.flags = TraceFlags::new(self.flags.to_u8() & SAMPLED | if random { RANDOM } else { 0 });
        self
    }

    /// Returns the id of the trace in Retrace: a UUID of the same 128 bits.
    #[must_use]
    pub fn retrace_trace_id(&self) -> String {
        Id::from_otel_trace(self.trace_id.to_bytes()).to_string()
    }

    /// Returns the id of the calling span in Retrace; `None` when the caller is the trace itself, as in the
    /// headers of Retrace's own SDKs: their parent id is the first half of the trace id.
    #[must_use]
    pub fn retrace_span_id(&self) -> Option<String> {
        let trace = self.trace_id.to_bytes();
        let is_trace = trace.starts_with(&self.parent_id.to_bytes());
        (!is_trace).then(|| Id::from_otel_span(trace, self.parent_id.to_bytes()).to_string())
    }

    /// Converts it into the context of a remote span.
    #[must_use]
    pub fn to_span_context(&self) -> SpanContext {
        self.with_state(TraceState::NONE)
    }

    pub(crate) fn with_state(self, state: TraceState) -> SpanContext {
        SpanContext::new(self.trace_id, self.parent_id, self.flags, true, state)
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.parent_id, self.flags.to_u8())
    }
}

/// Error for a text that is no valid `traceparent`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InvalidTraceparent(());

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for InvalidTraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for InvalidTraceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a traceparent of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")
    }
}

impl std::error::Error for InvalidTraceparent {}

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        parse(text.trim_matches([' ', '\t'])).ok_or(InvalidTraceparent(()))
    }
}

fn parse(text: &str) -> Option<Traceparent> {
    // A future version may add fields behind these four, after another dash.
    if !matches!(text.as_bytes().get(LENGTH), None | Some(b'-')) {
        return None;
    }
    let mut fields = text.get(..LENGTH)?.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = hex(fields.next()?, 32)?;
    let parent_id = hex(fields.next()?, 16)?;
    let flags = hex(fields.next()?, 2)?;
    if fields.next().is_some() || version == 0xff || (version == 0 && text.len() != LENGTH) {
        return None;
    }
    let (parent_id, flags) = (u64::try_from(parent_id).ok()?, u8::try_from(flags).ok()?);
    Traceparent::new(TraceId::from(trace_id), SpanId::from(parent_id), TraceFlags::new(flags))
}

/// Parses a number of exactly `digits` lower-case digits. `from_str_radix` alone would accept capitals and a
/// sign.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let valid = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    valid.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Returns the digits of an id if there are exactly `digits` of them.
fn without_hyphens(id: &str, digits: usize) -> Option<String> {
    let id = id.replace('-', "");
    (id.len() == digits && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
#[allow(clippy::string_slice)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_vectors_leave_out_is_refused_too() {
        for text in [
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-+0f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
            "000-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            "00-bf92f3577b34da6a3ce929d0e0e4736-100f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0f067aa0ba902b7-001",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-100f067aa0ba902b7-1",
            "AB-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-001",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01é",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert_eq!(text.parse::<Traceparent>(), Err(InvalidTraceparent(())), "{text}");
        }
    }

    #[test]
    fn a_later_version_is_written_as_version_00_without_unknown_flags() {
        let parent: Traceparent = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-later".parse().unwrap();
        assert_eq!(parent.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03");
    }

    #[test]
    fn the_parent_that_is_the_trace_itself_is_no_span() {
        let trace = "e8b6c1d2-4b92-4859-9cc2-a7225b67e364";
        let parent = Traceparent::from_retrace(trace, trace).unwrap();
        assert_eq!((parent.retrace_trace_id().as_str(), parent.retrace_span_id()), (trace, None));
    }

    #[test]
    fn ids_of_other_shapes_make_no_traceparent() {
        let trace = "e8b6c1d2-4b92-4859-9cc2-a7225b67e364";
        for (trace, span) in [
            ("run-7", trace),
            (trace, "span-7"),
            ("", ""),
            (trace, ""),
            ("00000000-0000-0000-0000-000000000000", trace),
            (trace, "00000000-0000-0000-9cc2-a7225b67e364"),
            ("+8b6c1d2-4b92-4859-9cc2-a7225b67e364", trace),
            (trace, "é8b6c1d2-4b92-4859-9cc2-a7225b67e36"),
        ] {
            assert_eq!(Traceparent::from_retrace(trace, span), None, "{trace} {span}");
        }
        assert_eq!(Traceparent::from_retrace(&trace.to_uppercase(), trace), Traceparent::from_retrace(trace, trace));
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Traceparent>();
            let _ = Traceparent::from_retrace(&text, &text);
        }

        #[test]
        fn near_misses_are_read_only_when_they_are_right(text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,4})?") {
            if let Ok(parent) = text.parse::<Traceparent>() {
                prop_assert_eq!(&text[3..52], &parent.to_string()[3..52]);
            } else {
                prop_assert!(text.starts_with("ff") || text.starts_with("00") && text.len() > 55 || text.contains("-0000000000000000"));
            }
        }

        #[test]
        fn what_is_written_is_read_again(trace in 1_u128.., span in 1_u64.., flags: u8) {
            let parent = Traceparent::new(trace.into(), span.into(), TraceFlags::new(flags)).unwrap();
            prop_assert_eq!(parent.to_string().parse(), Ok(parent));
            prop_assert_eq!(parent.flags().to_u8(), flags & 3);
            let span = parent.retrace_span_id().unwrap_or_else(|| parent.retrace_trace_id());
            let back = Traceparent::from_retrace(&parent.retrace_trace_id(), &span).unwrap();
            prop_assert_eq!((back.trace_id(), back.parent_id()), (parent.trace_id(), parent.parent_id()));
        }
    }
}
