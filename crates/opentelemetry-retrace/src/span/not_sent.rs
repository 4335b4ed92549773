//! Spans that Retrace has already, from the run that a fork replays.
//!
//! A span with the attribute [`NOT_SENT`] is left out at the entrance: it takes no memory and is in no count.
//! Its start is not sent either if it has the attribute from its start. Other backends of the pipeline get
//! it.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;

/// Attribute of a span that is not sent to Retrace. Its value is not read.
pub const NOT_SENT: &str = "retrace.not_sent";

/// Set once a span may have the attribute: until then no span is searched.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

/// Makes exporters and processors search spans for [`NOT_SENT`] from now on.
pub fn watch_not_sent() {
    IS_WATCHED.store(true, Ordering::Relaxed);
}

/// Returns true if a span is not to be sent.
pub(crate) fn is_not_sent(attributes: &[KeyValue]) -> bool {
    IS_WATCHED.load(Ordering::Relaxed) && attributes.iter().any(|attribute| attribute.key.as_str() == NOT_SENT)
}

/// Removes the spans that are not to be sent.
pub(crate) fn retain_sent(batch: &mut Vec<SpanData>) {
    if IS_WATCHED.load(Ordering::Relaxed) {
        batch.retain(|span| !is_not_sent(&span.attributes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{chat, span_data};

    #[test]
    fn spans_with_the_attribute_are_left_out() {
        watch_not_sent();
        let mut replayed = chat(2, 1);
        replayed.attributes.push(KeyValue::new(NOT_SENT, true));
        let mut batch = vec![span_data(1, 0, "root"), replayed, chat(3, 1)];
        retain_sent(&mut batch);
        assert_eq!(batch.iter().map(|span| span.span_context.span_id().to_bytes()[7]).collect::<Vec<_>>(), [1, 3]);
    }
}
