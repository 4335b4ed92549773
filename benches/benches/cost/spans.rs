//! The exported spans: agent runs of ten spans with 20 attributes each, one third of them model calls. They are the same in every
//! run of the program, and no two runs have the same texts, tool calls or ids.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// Spans of a run.
pub(crate) const RUN: usize = 10;
/// Whole runs in whole batches of 512.
pub(crate) const WHOLE: usize = 2_560;
/// Attributes of a span.
const ATTRIBUTES: usize = 20;

/// Size of the messages of a model call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub name: &'static str,
    /// Bytes of messages in and out.
    pub messages: usize,
    /// Spans to export; enough for a second or so, and whole runs in whole batches.
    pub spans: usize,
}

pub(crate) const SIZES: [Size; 5] = [
    Size { name: "0.4 KB", messages: 400, spans: 102_400 },
    Size { name: "8 KB", messages: 8_000, spans: 30_720 },
    Size { name: "16 KB", messages: 16_000, spans: 20_480 },
    Size { name: "100 KB", messages: 100_000, spans: 5_120 },
    Size { name: "200 KB", messages: 200_000, spans: 2_560 },
];

/// The spans of so many batches, of each run the children before the root.
pub(crate) fn batches(size: Size, spans: usize, batch: usize) -> Vec<Vec<SpanData>> {
    let runs = spans.div_ceil(RUN);
    let all: Vec<SpanData> = (0..runs).flat_map(|run| agent_run(run, size)).take(spans).collect();
    let mut batches = Vec::new();
    let mut all = all.into_iter();
    loop {
        let next: Vec<SpanData> = all.by_ref().take(batch).collect();
        if next.is_empty() {
            return batches;
        }
        batches.push(next);
    }
}

pub(crate) fn agent_run(run: usize, size: Size) -> Vec<SpanData> {
    let mut spans = Vec::with_capacity(RUN);
    for step in 0..3_u64 {
        spans.push(span(run, 2 + 3 * step, 1, "chat gpt-4o-mini", chat(run, step, size.messages)));
        spans.push(span(run, 3 + 3 * step, 1, "execute_tool get_forecast", tool(run, step)));
        spans.push(span(run, 4 + 3 * step, 3 + 3 * step, "GET", http()));
    }
    spans.push(span(run, 1, 0, "invoke_agent weather", agent()));
    spans
}

fn span(run: usize, id: u64, parent: u64, name: &'static str, mut attributes: Vec<KeyValue>) -> SpanData {
    // What applications add of their own.
    const OWN: [&str; ATTRIBUTES] = [
        "app.a", "app.b", "app.c", "app.d", "app.e", "app.f", "app.g", "app.h", "app.i", "app.j", "app.k", "app.l",
        "app.m", "app.n", "app.o", "app.p", "app.q", "app.r", "app.s", "app.t",
    ];
    for (at, key) in OWN.into_iter().enumerate().take(ATTRIBUTES.saturating_sub(attributes.len())) {
        attributes.push(match at % 4 {
            0 => KeyValue::new(key, format!("value {id} of {run}")),
            1 => KeyValue::new(key, 17),
            2 => KeyValue::new(key, 0.25),
            _ => KeyValue::new(key, true),
        });
    }
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_000_000_000 + run as u64 * 100 + id);
    let trace = TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_0000_0000_u128 + run as u128);
    SpanData {
        span_context: SpanContext::new(trace, SpanId::from(id), TraceFlags::SAMPLED, false, TraceState::default()),
        parent_span_id: SpanId::from(parent),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(name),
        start_time: start,
        end_time: start + Duration::from_micros(1_234),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("agent").with_version("1.0").build(),
    }
}

fn agent() -> Vec<KeyValue> {
    vec![
        KeyValue::new("gen_ai.operation.name", "invoke_agent"),
        KeyValue::new("gen_ai.agent.name", "weather"),
        KeyValue::new("gen_ai.agent.id", "agent-7"),
        KeyValue::new("gen_ai.conversation.id", "conversation-7"),
        KeyValue::new("gen_ai.provider.name", "openai"),
        KeyValue::new("user.id", "user-7"),
    ]
}

fn chat(run: usize, step: u64, bytes: usize) -> Vec<KeyValue> {
    let (input, output) = (bytes - bytes / 8, bytes / 8);
    vec![
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", "openai"),
        KeyValue::new("gen_ai.request.model", "gpt-4o-mini"),
        KeyValue::new("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
        KeyValue::new("gen_ai.response.id", format!("chatcmpl-{run}-{step}")),
        KeyValue::new("gen_ai.request.temperature", 0.2),
        KeyValue::new("gen_ai.request.max_tokens", 512),
        KeyValue::new("gen_ai.usage.input_tokens", 1_180),
        KeyValue::new("gen_ai.usage.output_tokens", 140),
        KeyValue::new("gen_ai.response.finish_reasons", Value::Array(Array::String(vec![StringValue::from("stop")]))),
        KeyValue::new("server.address", "api.openai.com"),
        KeyValue::new("server.port", 443),
        KeyValue::new("gen_ai.input.messages", input_messages(run, step, input)),
        KeyValue::new("gen_ai.output.messages", output_messages(run, step, output)),
    ]
}

fn tool(run: usize, step: u64) -> Vec<KeyValue> {
    vec![
        KeyValue::new("gen_ai.operation.name", "execute_tool"),
        KeyValue::new("gen_ai.tool.name", "get_forecast"),
        KeyValue::new("gen_ai.tool.type", "function"),
        KeyValue::new("gen_ai.tool.call.id", format!("call_{run}_{step}")),
        KeyValue::new("gen_ai.tool.call.arguments", r#"{"city":"Genève","days":3}"#),
        KeyValue::new("gen_ai.tool.call.result", r#"{"forecast":["18 °C","19 °C","rain"]}"#),
    ]
}

fn http() -> Vec<KeyValue> {
    vec![
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.full", "https://weather.example/v1/forecast?city=geneve"),
        KeyValue::new("server.address", "weather.example"),
        KeyValue::new("server.port", 443),
        KeyValue::new("http.response.status_code", 200),
        KeyValue::new("network.protocol.version", "1.1"),
    ]
}

/// Text with quotes, line breaks and characters beyond ASCII, as JSON.
const TEXT: &str = "Prüfe bitte, ob der Zug \\\"EN 345\\\" nach Oslo fährt.\\nDie Gäste kommen aus 東京 und bleiben \
                    drei Nächte; ein Zimmer nahe am Bahnhof wäre gut, nicht über 120 € die Nacht. ";

/// About `bytes` of history: questions, tool calls and results of earlier turns, and the question of this turn at the end.
fn input_messages(run: usize, step: u64, bytes: usize) -> String {
    let mut json = String::from("[");
    let mut turn = 0;
    while json.len() + 700 < bytes {
        let call = format!("call_{run}_{step}_{turn}");
        text_message(&mut json, "user", &format!("{run}/{step}/{turn}"), 2);
        let _ = write!(
            json,
            r#",{{"role":"assistant","parts":[{{"type":"tool_call","id":"{call}","name":"get_forecast","arguments":{{"city":"Genève","days":{turn}}}}}]}}"#
        );
        let _ = write!(
            json,
            r#",{{"role":"tool","parts":[{{"type":"tool_call_response","id":"{call}","response":"18 °C, then rain {turn}"}}]}},"#
        );
        turn += 1;
    }
    let texts = bytes.saturating_sub(json.len()) / TEXT.len();
    text_message(&mut json, "user", &format!("{run}/{step}"), texts.clamp(1, 3));
    json.push(']');
    json
}

/// About `bytes` of one answer.
fn output_messages(run: usize, step: u64, bytes: usize) -> String {
    let mut json = String::from("[");
    text_message(&mut json, "assistant", &format!("{run}/{step}"), (bytes / TEXT.len()).max(1));
    json.push(']');
    json
}

/// Appends a message whose text begins with `label` and repeats [`TEXT`].
fn text_message(json: &mut String, role: &str, label: &str, texts: usize) {
    let _ = write!(json, r#"{{"role":"{role}","parts":[{{"type":"text","content":"{label} "#);
    (0..texts).for_each(|_| json.push_str(TEXT));
    json.push_str(r#""}]}"#);
}
