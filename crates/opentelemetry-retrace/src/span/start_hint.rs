//! Result of the sampler's scan of the attributes of a span that is about to begin, passed to the processor.
//!
//! The SDK gives a processor access to a span that begins only by a copy of all of it. A sampler sees the
//! attributes without a copy, a moment earlier and on the same thread. It notes there when none of them is
//! relevant, and no copy is made.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use retrace_translate::{KeyRelevance, is_own_span, key_relevance};

/// True once a processor reads the notes.
static IS_ASKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Trace and parent of the span that was sampled last, if none of its attributes is relevant.
    static NOTHING_OF: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Enables the notes.
pub(crate) fn watch() {
    IS_ASKED.store(true, Ordering::Relaxed);
}

/// Notes that a span with this name and these attributes is about to begin below `parent`. Must be called for
/// each span, whatever the decision. The instrumentation scope is unknown here, and known when the span ends.
pub(crate) fn note(parent: Option<&SpanContext>, name: &str, attributes: &[KeyValue]) {
    if !IS_ASKED.load(Ordering::Relaxed) {
        return;
    }
    let has_no_hint = || {
        !is_own_span(name, "") && attributes.iter().all(|pair| key_relevance(pair.key.as_str()) == KeyRelevance::None)
    };
    // A local root is always read whole.
    let below = parent.filter(|parent| !parent.is_remote() && has_no_hint());
    // A thread that ends has no thread-local storage any more.
    let _ = NOTHING_OF.try_with(|last| last.set(below.map(|parent| (parent.trace_id(), parent.span_id()))));
}

/// Returns true if the span that begins below `parent` has no relevant attribute; false where another sampler
/// decides.
///
/// Clears the note, so that it never applies to another span.
pub(crate) fn has_no_hint(parent: &SpanContext) -> bool {
    let last = NOTHING_OF.try_with(Cell::take).ok().flatten();
    last == Some((parent.trace_id(), parent.span_id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{TraceFlags, TraceState};

    fn context(trace: u128, span: u64, is_remote: bool) -> SpanContext {
        SpanContext::new(trace.into(), span.into(), TraceFlags::SAMPLED, is_remote, TraceState::NONE)
    }

    #[test]
    fn what_is_noted_is_said_of_that_span_alone_and_once() {
        watch();
        let (parent, remote) = (context(1, 1, false), context(1, 1, true));
        let http = [KeyValue::new("http.route", "/")];
        note(Some(&parent), "x", &http);
        assert!(has_no_hint(&parent));
        assert!(!has_no_hint(&parent), "that was of another");
        note(Some(&parent), "x", &[]);
        assert!(!has_no_hint(&context(1, 2, false)) && !has_no_hint(&parent));
        note(Some(&parent), "x", &[]);
        assert!(!has_no_hint(&context(2, 1, false)));
        for attribute in [KeyValue::new("gen_ai.operation.name", "chat"), KeyValue::new("session.id", "s")] {
            note(Some(&parent), "x", &[]);
            note(Some(&parent), "x", &[http[0].clone(), attribute]);
            assert!(!has_no_hint(&parent), "it says something");
        }
        note(Some(&parent), "claude_code.tool", &[KeyValue::new("tool_name", "Bash")]);
        assert!(!has_no_hint(&parent), "the name of the span says that its attributes mean something");
        note(None, "x", &http);
        assert!(!has_no_hint(&SpanContext::empty_context()));
        note(Some(&remote), "x", &http);
        assert!(!has_no_hint(&remote), "all is wanted of a local root");
        note(Some(&parent), "x", &http);
        assert!(std::thread::scope(|scope| scope.spawn(|| !has_no_hint(&parent)).join().unwrap()));
    }
}
