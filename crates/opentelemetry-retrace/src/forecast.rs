//! What the sampler saw of a span that is about to begin, kept for the processor.
//!
//! To a processor the SDK shows nothing of a span that begins but a copy of all of it. A sampler sees the attributes as they
//! are, a moment earlier and on the same thread. So it says there when nothing in them is of interest, and no copy is made.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use retrace_translate::{KeyRelevance, is_own_span, key_relevance};

/// Whether anybody makes use of it.
static IS_ASKED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Of the span that was decided on last, if it says nothing: its trace, and the span around it.
    static NOTHING_OF: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// From now on somebody asks.
pub(crate) fn watch() {
    IS_ASKED.store(true, Ordering::Relaxed);
}

/// A span with this name is about to begin below `parent`, with these attributes. To be called for each, whatever is decided.
/// Its instrumentation scope is not known here; when the span ends it is.
pub(crate) fn note(parent: Option<&SpanContext>, name: &str, attributes: &[KeyValue]) {
    if !IS_ASKED.load(Ordering::Relaxed) {
        return;
    }
    let says_nothing = || {
        !is_own_span(name, "") && attributes.iter().all(|pair| key_relevance(pair.key.as_str()) == KeyRelevance::None)
    };
    // All is read of a local root.
    let below = parent.filter(|parent| !parent.is_remote() && says_nothing());
    // A thread that ends has no such place any more.
    let _ = NOTHING_OF.try_with(|last| last.set(below.map(|parent| (parent.trace_id(), parent.span_id()))));
}

/// Whether nothing in the attributes of the span that begins below `parent` is of interest; no, where the sampler is another.
///
/// What was noted is gone then, so that it is never held to be said of another span.
pub(crate) fn says_nothing(parent: &SpanContext) -> bool {
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
        assert!(says_nothing(&parent));
        assert!(!says_nothing(&parent), "that was of another");
        note(Some(&parent), "x", &[]);
        assert!(!says_nothing(&context(1, 2, false)) && !says_nothing(&parent));
        note(Some(&parent), "x", &[]);
        assert!(!says_nothing(&context(2, 1, false)));
        for attribute in [KeyValue::new("gen_ai.operation.name", "chat"), KeyValue::new("session.id", "s")] {
            note(Some(&parent), "x", &[]);
            note(Some(&parent), "x", &[http[0].clone(), attribute]);
            assert!(!says_nothing(&parent), "it says something");
        }
        note(Some(&parent), "claude_code.tool", &[KeyValue::new("tool_name", "Bash")]);
        assert!(!says_nothing(&parent), "the name of the span says that its attributes mean something");
        note(None, "x", &http);
        assert!(!says_nothing(&SpanContext::empty_context()));
        note(Some(&remote), "x", &http);
        assert!(!says_nothing(&remote), "all is wanted of a local root");
        note(Some(&parent), "x", &http);
        assert!(std::thread::scope(|scope| scope.spawn(|| !says_nothing(&parent)).join().unwrap()));
    }
}
