//! A copy of a span that nobody selected: what it still says for others, and nothing else.

use std::borrow::Cow;

use opentelemetry::trace::{SpanContext, SpanId, Status, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use retrace_translate::{Bearing, bearing, event_bears};

/// Whether nothing of its process stands above it, as far as this process knows.
pub(crate) fn is_local_root(span: &SpanData) -> bool {
    span.parent_span_id == SpanId::INVALID || span.parent_span_is_remote
}

/// The copy, of a span that is neither a GenAI span nor a local root; of others all is wanted.
///
/// What is read of such a span by [`retrace_translate::SpanSelection::GenAi`] is where it stands in its run, its times,
/// whether it failed, and attributes that mean something on any span: of a name, other attributes, events and links nothing is
/// ever told. Unless its run has been told when it ends: then it may head what comes after, and all of it is. Its trace state
/// is read where a rule decides which runs are sent.
pub(crate) fn light(span: &SpanData, reads_state: bool) -> Option<SpanData> {
    if is_local_root(span) || span.events.iter().any(|event| event_bears(&event.name)) {
        return None;
    }
    let mut general: Vec<KeyValue> = Vec::new();
    for pair in &span.attributes {
        match bearing(pair.key.as_str()) {
            Bearing::GenAi => return None,
            Bearing::General => general.push(pair.clone()),
            Bearing::None => {}
        }
    }
    Some(SpanData {
        span_context: if reads_state { span.span_context.clone() } else { without_state(&span.span_context) },
        parent_span_id: span.parent_span_id,
        parent_span_is_remote: false,
        span_kind: span.span_kind.clone(),
        name: Cow::Borrowed(""),
        start_time: span.start_time,
        end_time: span.end_time,
        attributes: general,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: match &span.status {
            Status::Error { .. } => Status::error(""),
            status => status.clone(),
        },
        instrumentation_scope: InstrumentationScope::default(),
    })
}

fn without_state(context: &SpanContext) -> SpanContext {
    let (trace_id, span_id, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    SpanContext::new(trace_id, span_id, flags, context.is_remote(), TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{chat, span_data};
    use opentelemetry::trace::Event;
    use std::time::UNIX_EPOCH;

    #[test]
    fn of_a_span_that_is_not_told_only_what_others_need_is_copied() {
        let mut span = span_data(2, 1, "GET");
        let pair = |key: &'static str| KeyValue::new(key, "v");
        span.attributes = vec![pair("url.full"), pair("session.id"), pair("server.address"), pair("error.type")];
        span.status = Status::error("a long story");
        span.dropped_attributes_count = 3;
        span.events.events.push(Event::new("log", UNIX_EPOCH, Vec::new(), 0));
        let copy = light(&span, true).unwrap();
        assert_eq!(copy.attributes, [pair("session.id"), pair("error.type")]);
        assert_eq!((&*copy.name, copy.status, copy.events.len()), ("", Status::error(""), 0));
        assert_eq!((&copy.span_context, copy.parent_span_id), (&span.span_context, span.parent_span_id));
        let context = &span.span_context;
        let state = "ot=th:8".parse().unwrap();
        span.span_context =
            SpanContext::new(context.trace_id(), context.span_id(), context.trace_flags(), false, state);
        assert_eq!(light(&span, true).unwrap().span_context, span.span_context);
        assert_eq!(light(&span, false).unwrap().span_context, copy.span_context);
        assert_eq!((copy.start_time, copy.end_time), (span.start_time, span.end_time));
    }

    #[test]
    fn of_roots_and_genai_spans_all_is_wanted() {
        assert_eq!(light(&span_data(1, 0, "POST /chat"), true), None);
        assert_eq!(light(&SpanData { parent_span_is_remote: true, ..span_data(2, 1, "POST /chat") }, true), None);
        assert_eq!(light(&chat(2, 1), true), None);
        let mut telling = span_data(2, 1, "step");
        telling.events.events.push(Event::new("gen_ai.user.message", UNIX_EPOCH, Vec::new(), 0));
        assert_eq!(light(&telling, true), None);
    }
}
