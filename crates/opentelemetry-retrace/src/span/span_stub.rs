//! Light copy of a span that is not selected, with only the fields that matter for other spans.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use retrace_translate::{KeyRelevance, is_content_event, is_own_span, key_relevance};

use crate::span::view::{trace_state, weight_of};

/// Returns true if the span has no parent in this process.
pub(crate) fn is_local_root(span: &SpanData) -> bool {
    span.parent_span_id == SpanId::INVALID || span.parent_span_is_remote
}

/// Fields of a span that is not selected that matter for other spans.
///
/// [`retrace_translate::SpanSelection::GenAi`] reads of such a span only its position in the run, its times,
/// whether it failed, and attributes that are relevant on any span. Its name, other attributes, events and
/// links are never sent. Its trace state is read where a rule decides which runs are sent.
#[derive(Debug)]
pub(crate) struct SpanStub {
    context: SpanContext,
    parent: SpanId,
    kind: SpanKind,
    start: SystemTime,
    end: SystemTime,
    /// Status without a description.
    status: LightStatus,
    /// Attributes that are relevant on any span.
    general: Vec<KeyValue>,
}

#[derive(Clone, Copy, Debug)]
enum LightStatus {
    Unset,
    Ok,
    Failed,
}

impl SpanStub {
    /// Copies a span that is neither a GenAI span nor a local root; returns `None` for the others, which are
    /// needed whole.
    ///
    /// The copy represents the start of the span and, while its local root is under way, its end. Once its
    /// run has been sent, the span may become the root of later spans, and is needed whole.
    pub(crate) fn of(span: &SpanData, reads_state: bool) -> Option<Self> {
        let is_own = is_own_span(&span.name, span.instrumentation_scope.name());
        if is_own || is_local_root(span) || span.events.iter().any(|event| is_content_event(&event.name)) {
            return None;
        }
        let mut general: Vec<KeyValue> = Vec::new();
        for pair in &span.attributes {
            match key_relevance(pair.key.as_str()) {
                KeyRelevance::GenAi => return None,
                KeyRelevance::General => general.push(pair.clone()),
                KeyRelevance::None => {}
            }
        }
        Some(Self {
            kind: span.span_kind.clone(),
            start: span.start_time,
            end: span.end_time,
            status: match &span.status {
                Status::Unset => LightStatus::Unset,
                Status::Ok => LightStatus::Ok,
                Status::Error { .. } => LightStatus::Failed,
            },
            general,
            ..Self::beginning(&span.span_context, span.parent_span_id, reads_state)
        })
    }

    /// Creates a copy of a span that begins below one of this process, without relevant attributes. Its times
    /// are not read before it ends.
    pub(crate) fn beginning(context: &SpanContext, parent: SpanId, reads_state: bool) -> Self {
        Self {
            context: if reads_state { context.clone() } else { without_state(context) },
            parent,
            kind: SpanKind::Internal,
            start: UNIX_EPOCH,
            end: UNIX_EPOCH,
            status: LightStatus::Unset,
            general: Vec::new(),
        }
    }

    pub(crate) fn trace_id(&self) -> [u8; 16] {
        self.context.trace_id().to_bytes()
    }

    /// Sets the failed status, unless the span has a status.
    pub(crate) fn unwound(&mut self) {
        if matches!(self.status, LightStatus::Unset) {
            self.status = LightStatus::Failed;
        }
    }

    /// Bytes of the copy beside its place, the same as those of the span that it becomes.
    pub(crate) fn content(&self) -> usize {
        weight_of(&self.general) + trace_state(&self.context)
    }
}

impl From<SpanStub> for SpanData {
    fn from(light: SpanStub) -> Self {
        Self {
            span_context: light.context,
            parent_span_id: light.parent,
            parent_span_is_remote: false,
            span_kind: light.kind,
            name: Cow::Borrowed(""),
            start_time: light.start,
            end_time: light.end,
            attributes: light.general,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match light.status {
                LightStatus::Unset => Status::Unset,
                LightStatus::Ok => Status::Ok,
                LightStatus::Failed => Status::error(""),
            },
            instrumentation_scope: InstrumentationScope::default(),
        }
    }
}

fn without_state(context: &SpanContext) -> SpanContext {
    let (trace_id, span_id, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    SpanContext::new(trace_id, span_id, flags, context.is_remote(), TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::view::{SdkSpan, weight};
    use crate::testing::{chat, span_data};
    use opentelemetry::trace::Event;
    use proptest::prelude::*;
    use retrace_translate::{Options, Recorder, RecorderLimits};
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn of_a_span_that_is_not_told_only_what_others_need_is_copied() {
        let mut span = span_data(2, 1, "GET");
        let pair = |key: &'static str| KeyValue::new(key, "v");
        span.attributes = vec![pair("url.full"), pair("session.id"), pair("server.address"), pair("error.type")];
        span.status = Status::error("a long story");
        span.dropped_attributes_count = 3;
        span.events.events.push(Event::new("log", UNIX_EPOCH, Vec::new(), 0));
        let of = |span: &SpanData, reads_state| SpanStub::of(span, reads_state).map(SpanData::from);
        let copy = of(&span, true).unwrap();
        assert_eq!(copy.attributes, [pair("session.id"), pair("error.type")]);
        assert_eq!((&*copy.name, copy.status, copy.events.len()), ("", Status::error(""), 0));
        assert_eq!((&copy.span_context, copy.parent_span_id), (&span.span_context, span.parent_span_id));
        let context = &span.span_context;
        let state = "ot=th:8".parse().unwrap();
        span.span_context =
            SpanContext::new(context.trace_id(), context.span_id(), context.trace_flags(), false, state);
        assert_eq!(of(&span, true).unwrap().span_context, span.span_context);
        assert_eq!(of(&span, false).unwrap().span_context, copy.span_context);
        assert_eq!((copy.start_time, copy.end_time), (span.start_time, span.end_time));
    }

    #[test]
    fn of_roots_and_genai_spans_all_is_wanted() {
        let wants_all = |span: &SpanData| SpanStub::of(span, true).is_none();
        assert!(wants_all(&span_data(1, 0, "POST /chat")));
        assert!(wants_all(&SpanData { parent_span_is_remote: true, ..span_data(2, 1, "POST /chat") }));
        assert!(wants_all(&chat(2, 1)));
        let mut telling = span_data(2, 1, "step");
        telling.events.events.push(Event::new("gen_ai.user.message", UNIX_EPOCH, Vec::new(), 0));
        assert!(wants_all(&telling));
    }

    #[test]
    fn a_light_copy_weighs_what_the_span_does_that_it_becomes() {
        let mut span = span_data(2, 1, "");
        span.attributes = vec![KeyValue::new("session.id", "s"), KeyValue::new("http.route", "/")];
        let light = SpanStub::of(&span, false).unwrap();
        assert_eq!(size_of::<SpanData>() + light.content(), weight(&SpanData::from(light)));
    }

    #[test]
    fn a_panic_fails_what_does_not_say_how_it_went() {
        for (status, expected) in
            [(Status::Unset, Status::error("")), (Status::Ok, Status::Ok), (Status::error("mine"), Status::error(""))]
        {
            let mut light = SpanStub::of(&SpanData { status, ..span_data(2, 1, "s") }, false).unwrap();
            light.unwound();
            assert_eq!(SpanData::from(light).status, expected);
        }
    }

    /// Event of one span: it begins, or ends if it is under way.
    type Step = (u64, u64, usize, u64);

    fn span(id: u64, parent: u64, kind: usize, has_ended: bool) -> SpanData {
        let pair = |key: &'static str, value: &'static str| KeyValue::new(key, value);
        let mut span = span_data(id, parent, "step");
        span.attributes = vec![pair("server.address", "localhost")];
        span.attributes.extend(match kind {
            0 => vec![pair("gen_ai.operation.name", "invoke_agent"), pair("gen_ai.agent.name", "planner")],
            1 => vec![pair("gen_ai.operation.name", "execute_tool"), pair("gen_ai.tool.name", "search")],
            2 => vec![pair("gen_ai.operation.name", "chat"), pair("gen_ai.request.model", "m")],
            3 if has_ended => vec![pair("gen_ai.operation.name", "chat"), pair("gen_ai.request.model", "late")],
            4 => vec![pair("session.id", "s"), pair("agent.name", "a")],
            5 if has_ended => vec![pair("user.id", "u"), pair("error.type", "E")],
            _ => vec![],
        });
        if kind == 7 {
            span.name = "claude_code.llm_request".into();
            span.attributes.extend([pair("model", "m"), pair("input_tokens", "7")].into_iter().filter(|_| has_ended));
        }
        if kind == 6 && has_ended {
            span.status = Status::error("no");
            span.events.events.push(Event::new("log", UNIX_EPOCH, vec![pair("k", "v")], 0));
        }
        span
    }

    /// Outputs of a recorder for the steps; with `lightens` spans are copied as a processor around another
    /// one copies them.
    fn recorded(steps: &[Step], lightens: bool) -> Vec<String> {
        let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
        let (resource, mut now) = (Arc::default(), Duration::ZERO);
        let (mut begun, mut open) = (HashSet::new(), HashSet::new());
        let copy = |span: SpanData, may: bool| match SpanStub::of(&span, false).filter(|_| may) {
            Some(light) => light.into(),
            None => span,
        };
        let begins = |span: SpanData| match &span.attributes[..] {
            // The sampler reports here that no attribute is relevant.
            [other]
                if lightens
                    && !is_own_span(&span.name, "")
                    && !is_local_root(&span)
                    && key_relevance(other.key.as_str()) == KeyRelevance::None =>
            {
                SpanStub::beginning(&span.span_context, span.parent_span_id, false).into()
            }
            _ => copy(span, lightens),
        };
        for (id, parent, kind, gap) in steps.iter().copied() {
            now += Duration::from_millis(gap);
            // The first span is the root; the others have a parent that may have ended or is unknown.
            let parent = if id == 1 { 0 } else { parent };
            if begun.insert(id) {
                open.insert(id);
                recorder.start(&SdkSpan(&begins(span(id, parent, kind, false))), &resource, now);
            } else if open.contains(&id) {
                let span = copy(span(id, parent, kind, true), lightens && open.contains(&1));
                open.remove(&id);
                recorder.record(&SdkSpan(&span), &resource, now);
            }
            recorder.advance(now);
        }
        recorder.finish();
        std::iter::from_fn(|| recorder.next_output()).map(|output| format!("{output:?}")).collect()
    }

    proptest! {
        /// Each span keeps its parent and its kind; its steps may come in any order.
        #[test]
        fn a_recorder_says_the_same_of_light_spans(
            spans in prop::collection::vec((1_u64..12, 0_usize..9), 12),
            order in prop::collection::vec((1_u64..=12, 0_u64..300), 1..60),
        ) {
            let steps: Vec<Step> = [(1, 0)].into_iter().chain(order).map(|(id, gap)| {
                let (parent, kind) = spans[usize::try_from(id).unwrap() - 1];
                (id, if parent == id { 1 } else { parent }, kind, gap)
            }).collect();
            prop_assert_eq!(recorded(&steps, true), recorded(&steps, false));
        }
    }
}
