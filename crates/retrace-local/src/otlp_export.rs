//! A stored run as OTLP JSON, which other backends read and [`translate`](crate::translate) turns back into the run.

use retrace_protocol::{Id, Json, Span, SpanType, Timestamp, Trace};
use serde_json::{Value, json};

/// Converts the run to one request of `POST /v1/traces`. Ids that are not UUIDs are hashed; times that cannot be parsed
/// become 0.
pub(crate) fn otlp_json(run: &Trace) -> Value {
    let id = run.id.as_ref();
    let trace_id = id.map_or_else(
        || hex(&hash(b"")),
        |id| hex(&id.to_otel_trace().unwrap_or_else(|| hash(id.as_text().as_bytes()))),
    );
    let spans = run.spans.as_deref().unwrap_or_default();
    let tops = spans.iter().filter(|span| is_top(span, spans)).count();
    let spans: Vec<Value> =
        spans.iter().map(|each| span(each, &trace_id, (tops == 1 && is_top(each, spans)).then_some(run))).collect();
    let environment = metadata(run.metadata.as_ref(), "environment");
    let resource = Attributes::default()
        .text(
            "service.name",
            metadata(run.metadata.as_ref(), "service").as_ref().and_then(|it| it.get("name")?.as_str()),
        )
        .text("deployment.environment.name", environment.as_ref().and_then(Value::as_str));
    json!({"resourceSpans": [{
        "resource": {"attributes": resource.0},
        "scopeSpans": [{"scope": {"name": "retrace-local", "version": env!("CARGO_PKG_VERSION")}, "spans": spans}],
    }]})
}

/// Returns true if the span has no parent in the run.
fn is_top(span: &Span, all: &[Span]) -> bool {
    span.parent_id.as_ref().is_none_or(|parent| all.iter().all(|other| other.id != *parent))
}

/// Converts a span; a top-level span also gets the fields of the run.
fn span(span: &Span, trace_id: &str, run: Option<&Trace>) -> Value {
    let operation = match span.span_type {
        SpanType::LlmCall => Some("chat"),
        SpanType::ToolCall => Some("execute_tool"),
        SpanType::Reasoning if span.agent_id.is_some() => Some("invoke_agent"),
        _ => None,
    };
    let is_tool = span.span_type == SpanType::ToolCall;
    let of_run = |of: fn(&Trace) -> Option<&str>| run.and_then(of);
    let input = run.and_then(|run| run.input.as_ref()).or(span.input.as_ref());
    let output = run.and_then(|run| run.output.as_ref()).or(span.output.as_ref());
    let attributes = Attributes::default()
        .text("gen_ai.operation.name", operation)
        .text("gen_ai.provider.name", metadata(span.metadata.as_ref(), "provider").as_ref().and_then(Value::as_str))
        .text("gen_ai.request.model", span.model.as_deref())
        .number("gen_ai.usage.input_tokens", span.input_tokens)
        .number("gen_ai.usage.output_tokens", span.output_tokens)
        .text("gen_ai.tool.name", is_tool.then_some(span.name.as_str()))
        .text("gen_ai.conversation.id", of_run(|run| run.session_id.as_deref()))
        .text("retrace.span_type", Some(span.span_type.as_str()))
        .text("retrace.name", Some(&span.name))
        .text("retrace.trace.name", of_run(|run| run.name.as_deref()))
        .text("retrace.session_id", of_run(|run| run.session_id.as_deref()))
        .text("retrace.agent_id", span.agent_id.as_deref())
        .text("retrace.agent_role", span.agent_role.as_deref())
        .text("retrace.parent_agent_id", span.parent_agent_id.as_deref())
        .text("retrace.model", span.model.as_deref())
        .double("retrace.cost", span.cost)
        .text("retrace.input", input.map(Json::as_str))
        .text("retrace.output", output.map(Json::as_str))
        .text("retrace.metadata", run.map_or(span.metadata.as_ref(), |run| run.metadata.as_ref()).map(Json::as_str))
        .text("retrace.error", span.error.as_deref());
    let start = nanos(Some(&span.started_at));
    let lasted = span.duration_ms.unwrap_or(0).saturating_mul(1_000_000);
    let end = span.ended_at.as_ref().map_or(start.saturating_add(lasted), |end| nanos(Some(end)));
    let mut record = json!({
        "traceId": trace_id,
        "spanId": span_id(&span.id),
        "name": span.name,
        "kind": if span.span_type == SpanType::LlmCall { 3 } else { 1 },
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes.0,
        "status": if span.error.is_some() { json!({"code": 2, "message": span.error}) } else { json!({}) },
    });
    if let (Some(parent), Some(record)) = (&span.parent_id, record.as_object_mut()) {
        record.insert("parentSpanId".into(), span_id(parent).into());
    }
    record
}

/// Attributes as OTLP JSON, without absent values.
#[derive(Default)]
struct Attributes(Vec<Value>);

impl Attributes {
    fn text(self, key: &str, value: Option<&str>) -> Self {
        self.add(key, value.map(|value| json!({"stringValue": value})))
    }

    fn number(self, key: &str, value: Option<u64>) -> Self {
        self.add(key, value.map(|value| json!({"intValue": value.to_string()})))
    }

    fn double(self, key: &str, value: Option<f64>) -> Self {
        self.add(key, value.map(|value| json!({"doubleValue": value})))
    }

    fn add(mut self, key: &str, value: Option<Value>) -> Self {
        self.0.extend(value.map(|value| json!({"key": key, "value": value})));
        self
    }
}

fn metadata(metadata: Option<&Json>, name: &str) -> Option<Value> {
    metadata?.to_value().ok()?.get(name).cloned()
}

fn nanos(at: Option<&Timestamp>) -> u64 {
    at.and_then(Timestamp::unix_micros).unwrap_or(0).saturating_mul(1000)
}

fn span_id(id: &Id) -> String {
    let [a, b, c, d, e, f, g, h, ..] = hash(id.as_text().as_bytes());
    hex(&id.to_otel_span().unwrap_or([a, b, c, d, e, f, g, h]))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// FNV-1a: an id has the same bytes in each export.
fn hash(bytes: &[u8]) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_is_read_back_as_the_same_run() {
        let sent = r#"{"id":"0af76519-16cd-43dd-8448-eb211c80319c","status":"completed","started_at":"2026-01-02T03:04:05.678901Z","name":"agent","session_id":"s-1","input":{"city":"Lisbon"},"output":"18","spans":[
            {"id":"b7ad6b71-6920-3331-8448-eb211c80319c","trace_id":"0af76519-16cd-43dd-8448-eb211c80319c","parent_id":null,"span_type":"reasoning","name":"plan","agent_id":"a-1","agent_role":"planner","started_at":"2026-01-02T03:04:05.678901Z","ended_at":"2026-01-02T03:04:06.678901Z"},
            {"id":"00f067aa-0ba9-02b7-8448-eb211c80319c","trace_id":"0af76519-16cd-43dd-8448-eb211c80319c","parent_id":"b7ad6b71-6920-3331-8448-eb211c80319c","span_type":"llm_call","name":"chat","agent_id":"a-1","agent_role":"planner","model":"m","input":{"messages":[{"role":"user","content":"Hi"}]},"output":"Hello","input_tokens":7,"output_tokens":2,"cost":0.25,"error":"late","started_at":"2026-01-02T03:04:05.700000Z","ended_at":"2026-01-02T03:04:05.900000Z"}]}"#;
        let run: Trace = serde_json::from_str(sent).unwrap();
        let exported = serde_json::to_vec(&otlp_json(&run)).unwrap();
        let translated = crate::translate([exported.as_slice()], retrace_translate::Options::default()).unwrap();
        let [back] = translated.traces.as_slice() else { panic!("{:?}", translated.traces) };
        assert_eq!((&back.id, &back.name, &back.session_id), (&run.id, &run.name, &run.session_id));
        assert_eq!((back.input.as_ref(), back.output.as_ref()), (run.input.as_ref(), run.output.as_ref()));
        let (spans, expected) = (back.spans.as_ref().unwrap(), run.spans.as_ref().unwrap());
        assert_eq!(spans.len(), 2);
        for (span, expected) in spans.iter().zip(expected) {
            assert_eq!(
                (&span.id, &span.parent_id, span.span_type),
                (&expected.id, &expected.parent_id, expected.span_type)
            );
            assert_eq!((&span.name, &span.model, span.cost), (&expected.name, &expected.model, expected.cost));
            assert_eq!((&span.agent_role, &span.error), (&expected.agent_role, &expected.error));
            assert_eq!((span.input_tokens, span.output_tokens), (expected.input_tokens, expected.output_tokens));
        }
        assert_eq!(spans[1].output, expected[1].output);
    }

    #[test]
    fn ids_of_any_text_become_ids_of_otlp() {
        let run: Trace = serde_json::from_str(
            r#"{"id":"run 7","spans":[{"id":"a","trace_id":"run 7","span_type":"action","name":"x","started_at":"bad"}]}"#,
        )
        .unwrap();
        let exported = otlp_json(&run);
        let span = &exported["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
        assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
        assert_eq!(exported, otlp_json(&run));
    }
}
