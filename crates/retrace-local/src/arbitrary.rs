//! Generator of arbitrary traces for property tests: unusual ids, times of every form, JSON of every kind, each field
//! present or absent.

use proptest::option;
use proptest::prelude::*;
use retrace_protocol::{Id, Json, Span, SpanType, Status, Timestamp, Trace, TracePatch};
use serde_json::Value;

/// An id that can be stored: a UUID or any short text.
pub(crate) fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(Id::from_otel_trace),
        ".{1,40}".prop_map(Id::from),
        "[\0-\u{7f}]{1,8}".prop_map(Id::from),
    ]
}

pub(crate) fn time() -> impl Strategy<Value = Timestamp> {
    let micros = 0..4_000_000_000_000_000_u64;
    prop_oneof![
        micros.prop_map(Timestamp::from_unix_micros),
        (0..60_u32).prop_map(|s| Timestamp::from(format!("2026-01-02T03:04:{s:02}.123+02:00").as_str())),
        (0..60_u32).prop_map(|s| Timestamp::from(format!("2026-01-02T03:04:{s:02}").as_str())),
    ]
}

/// Any JSON text, beyond the output of serde: big integers, blanks, escapes of unpaired surrogates.
pub(crate) fn json() -> impl Strategy<Value = Json> {
    let odd = prop::sample::select(vec![
        "null",
        " null ",
        "123456789012345678901234567890",
        "-0.0",
        "1e400",
        r#""\ud800 \u0000 \/""#,
        r#"{ "a" : [ 1 , 2.50 ] }"#,
        r#"{"a":1,"a":2}"#,
    ]);
    let tree = prop_oneof![any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from), text()]
        .prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
    prop_oneof![odd.prop_map(|text| serde_json::from_str(text).unwrap()), tree.prop_map(|tree| Json::from(&tree))]
}

fn text() -> impl Strategy<Value = Value> {
    any::<String>().prop_map(Value::from)
}

fn metadata() -> impl Strategy<Value = Json> {
    prop::collection::hash_map(any::<String>(), text(), 0..3).prop_map(|map| Json::from_serialize(&map))
}

/// `null` counts as absent, except for `output`.
fn input() -> impl Strategy<Value = Option<Json>> {
    option::of(json().prop_filter("null is read as absent", |json| !json.is_null()))
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>().prop_filter("JSON has no other", |n| n.is_finite()), Just(0.0), Just(9.75e-5)]
}

pub(crate) fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![Status::Running, Status::Completed, Status::Failed])
}

prop_compose! {
    pub(crate) fn patch()(
        status in option::of(status()),
        output in option::of(json()),
        ended_at in option::of(time()),
        (total_tokens, total_duration_ms, span_count) in any::<(Option<u64>, Option<u64>, Option<u64>)>(),
        total_cost in option::of(number()),
        (lossy, terminated_early) in any::<(Option<bool>, Option<bool>)>(),
        error in any::<Option<String>>(),
    ) -> TracePatch {
        TracePatch {
            status, output, ended_at, total_tokens, total_cost, total_duration_ms, lossy, terminated_early, span_count,
            error,
        }
    }
}

prop_compose! {
    pub(crate) fn span(trace_id: Id)(
        id in id(),
        parent_id in option::of(id()),
        span_type in prop::sample::select(SpanType::ALL.to_vec()),
        (name, model, error) in any::<(String, Option<String>, Option<String>)>(),
        started_at in time(),
        ended_at in option::of(time()),
        input in input(),
        output in option::of(json()),
        metadata in option::of(metadata()),
        (input_tokens, output_tokens, duration_ms) in any::<(Option<u64>, Option<u64>, Option<u64>)>(),
        cost in option::of(number()),
        agents in any::<[Option<String>; 3]>(),
        token_ids in option::of(prop::collection::vec(any::<i64>(), 0..4)),
        logprobs in option::of(prop::collection::vec(number(), 0..4)),
    ) -> Span {
        let [agent_id, parent_agent_id, agent_role] = agents.map(|agent| agent.map(Into::into));
        Span {
            parent_id, model, input, input_tokens, output_tokens, cost, metadata, agent_id, parent_agent_id, agent_role,
            ended_at, output, duration_ms, error, token_ids, logprobs,
            ..Span::new(id, trace_id.clone(), span_type, name, started_at)
        }
    }
}

fn spans(trace_id: &Id) -> impl Strategy<Value = Vec<Span>> + use<> {
    prop::collection::vec(span(trace_id.clone()), 0..5).prop_map(|mut spans| {
        let mut seen = std::collections::HashSet::new();
        spans.retain(|span| seen.insert(span.id.clone()));
        spans
    })
}

/// A valid trace, with its spans.
pub(crate) fn trace() -> impl Strategy<Value = Trace> {
    (id(), time(), patch(), input(), option::of(metadata()), any::<(Option<String>, Option<String>, Option<String>)>())
        .prop_flat_map(|(id, started_at, end, input, metadata, (name, session_id, project_id))| {
            spans(&id).prop_map(move |spans| {
                let mut trace = Trace {
                    name: name.clone(),
                    input: input.clone(),
                    metadata: metadata.clone(),
                    session_id: session_id.clone(),
                    project_id: project_id.clone(),
                    spans: Some(spans),
                    ..Trace::started(id.clone(), started_at.clone())
                };
                trace.apply(end.clone().into_ended(id.clone()));
                trace
            })
        })
}
