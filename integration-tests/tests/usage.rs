//! Token counts of a usage object are the same, whoever reads it: the instrumentation, or the translation of a span that has
//! the answer of a provider.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use genai_usage::SHAPES;
use opentelemetry::Value as Attribute;
use opentelemetry_instrumentation_genai::{Instrumentation, Request};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use proptest::prelude::*;
use retrace_translate::Options;
use serde_json::{Map, Value, json};

/// Input, output, read from a cache, written to a cache, reasoning.
type Counts = [Option<u64>; 5];

fn instrumented(body: &str) -> Counts {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let genai = Instrumentation::builder().with_tracer_provider(&provider).build();
    let request = br#"{"model":"m","messages":[]}"#;
    let url = "https://gateway.example/v1/chat/completions";
    let mut call = genai.start(&Request { method: "POST", url, body: Some(request) }).unwrap();
    call.chunk(body.as_bytes());
    call.end();
    let span = spans.get_finished_spans().unwrap().remove(0);
    let count = |key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
        match found.value {
            Attribute::I64(count) => u64::try_from(count).ok(),
            _ => None,
        }
    };
    [
        count("gen_ai.usage.input_tokens"),
        count("gen_ai.usage.output_tokens"),
        count("gen_ai.usage.cache_read.input_tokens"),
        count("gen_ai.usage.cache_creation.input_tokens"),
        count("gen_ai.usage.reasoning.output_tokens"),
    ]
}

fn translated(body: &str) -> Counts {
    let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let attributes = [
        attribute("gen_ai.operation.name", "chat"),
        attribute("gen_ai.request.model", "m"),
        attribute("output.value", body),
    ];
    let span = json!({ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "chat m",
        "startTimeUnixNano": "1795345548000000000", "endTimeUnixNano": "1795345549000000000", "attributes": attributes });
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
    let mut read = retrace_local::translate([request.as_bytes()], Options::default()).unwrap();
    let span = read.traces.remove(0).spans.unwrap().remove(0);
    let usage = span.metadata.map(|json| json.to_value().unwrap()["usage"].clone()).unwrap_or_default();
    let part = |name: &str| usage[name].as_u64();
    [
        span.input_tokens,
        span.output_tokens,
        part("cache_read_tokens"),
        part("cache_creation_tokens"),
        part("reasoning_tokens"),
    ]
}

/// A number as some API writes it, or what is no count.
fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0_u64..5_000).prop_map(Value::from),
        1 => (0_u32..5_000).prop_map(|count| f64::from(count).into()),
        1 => prop::sample::select(vec![json!(null), json!("7"), json!(-7), json!(1.5), json!(true), json!([7]), json!(1_u64 << 40)]),
    ]
}

fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut place = object;
    for name in path {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[*name];
    }
    *place = value;
}

fn usage() -> impl Strategy<Value = Value> {
    let paths: Vec<(usize, &[&str])> = SHAPES
        .iter()
        .enumerate()
        .flat_map(|(at, shape)| {
            let all = [
                shape.input,
                shape.input_else,
                shape.output,
                shape.output_else,
                shape.more_input,
                shape.perhaps_input,
                shape.cache_read,
                shape.cache_creation,
                shape.reasoning,
                shape.total,
            ];
            all.concat().into_iter().map(move |path| (at, path))
        })
        .collect();
    let one = (0..SHAPES.len(), prop::collection::vec((any::<prop::sample::Index>(), number()), 1..8), any::<u8>());
    one.prop_map(move |(shape, chosen, stray)| {
        let own: Vec<&[&str]> = paths.iter().filter(|(at, _)| *at == shape).map(|(_, path)| *path).collect();
        let mut usage = json!({});
        for (index, value) in chosen {
            // Now and then a name of another API.
            let path = if stray < 32 { index.get(&paths).1 } else { *index.get(&own) };
            set(&mut usage, path, value);
        }
        usage
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn both_readers_give_the_same_counts(usage in usage()) {
        let body = json!({ "id": "c1", "choices": [], "usage": usage }).to_string();
        prop_assert_eq!(instrumented(&body), translated(&body), "{}", body);
    }
}

#[test]
fn both_readers_read_what_providers_write() {
    let whole = [Some(100), Some(20), Some(60), Some(10), None];
    for (usage, expected) in [
        (
            json!({ "input_tokens": 30, "output_tokens": 20, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10 }),
            whole,
        ),
        (
            json!({ "inputTokens": 30, "outputTokens": 20, "totalTokens": 120, "cacheReadInputTokens": 60, "cacheWriteInputTokens": 10 }),
            whole,
        ),
        (
            json!({ "prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 40 }),
            [Some(100), Some(20), Some(60), None, None],
        ),
        (json!({ "promptTokenCount": 100, "thoughtsTokenCount": 20 }), [Some(100), Some(20), None, None, Some(20)]),
        (json!({ "tokens": { "input_tokens": 100, "output_tokens": 20 } }), [Some(100), Some(20), None, None, None]),
        (json!({ "eval_count": 20 }), [None, Some(20), None, None, None]),
    ] {
        let body = json!({ "id": "c1", "choices": [], "usage": usage }).to_string();
        assert_eq!(instrumented(&body), expected, "{body}");
        assert_eq!(translated(&body), expected, "{body}");
    }
}
