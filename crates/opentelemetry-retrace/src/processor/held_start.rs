//! Starts of spans whose description is added once the sampler has decided.
//!
//! The description of a run can be costly to evaluate, and is evaluated only if the run is recorded. With a
//! sampler of the application the decision is known only when the span has started, so its start is held back
//! until the attributes are there.

use std::cell::RefCell;

use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;

use crate::processor::RetraceSpanProcessor;

thread_local! {
    /// Starts that are held back on this thread; `None` while none are to be held back.
    static HELD: RefCell<Option<Vec<(RetraceSpanProcessor, SpanData)>>> = const { RefCell::new(None) };
}

/// Starts that are held back. Released without further attributes when dropped.
#[derive(Debug)]
#[must_use]
pub struct HeldStart(Vec<(RetraceSpanProcessor, SpanData)>);

impl HeldStart {
    /// Runs `start`, which starts one span, and holds back the start in each [`RetraceSpanProcessor`].
    pub fn around<R>(start: impl FnOnce() -> R) -> (R, Self) {
        /// Stops holding back, also when `start` panics.
        struct Release;
        impl Drop for Release {
            fn drop(&mut self) {
                drop(HeldStart(take()));
            }
        }
        let _ = HELD.try_with(|held| held.replace(Some(Vec::new())));
        let _release = Release;
        let started = start();
        (started, Self(take()))
    }

    /// Adds attributes that became known meanwhile.
    pub fn extend(&mut self, attributes: &[KeyValue]) {
        for (_, span) in &mut self.0 {
            span.attributes.extend_from_slice(attributes);
        }
    }

    /// Drops the start: the span is not sent.
    pub fn discard(mut self) {
        self.0.clear();
    }
}

impl Drop for HeldStart {
    fn drop(&mut self) {
        for (processor, span) in self.0.drain(..) {
            processor.began(span);
        }
    }
}

fn take() -> Vec<(RetraceSpanProcessor, SpanData)> {
    HELD.try_with(RefCell::take).ok().flatten().unwrap_or_default()
}

/// Holds back the start of a span if that is active on this thread; returns it otherwise.
pub(crate) fn hold(processor: &RetraceSpanProcessor, span: SpanData) -> Option<SpanData> {
    let mut span = Some(span);
    let _ = HELD.try_with(|held| {
        if let Some(held) = held.borrow_mut().as_mut() {
            held.extend(span.take().map(|span| (processor.clone(), span)));
        }
    });
    span
}
