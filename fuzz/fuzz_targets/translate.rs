//! The translation of spans with arbitrary attributes, collected and told live.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use fuzz::{Event, Made};
use libfuzzer_sys::fuzz_target;
use retrace_translate::{
    Kind, Options, Output, Parent, Recorder, RecorderLimits, Resource, SpanSelection, Value, shorten,
};

fn value(u: &mut Unstructured<'_>) -> arbitrary::Result<Value<'static>> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Value::Bool(u.arbitrary()?),
        1 => Value::Int(u.arbitrary()?),
        2 => Value::Float(u.arbitrary()?),
        3 => Value::Int(u.int_in_range(0..=100)?),
        4 => Value::Json(String::arbitrary(u)?.into()),
        5 => Value::Str(
            (*u.choose(&[
                "chat",
                "execute_tool",
                "invoke_agent",
                "embeddings",
                "LLM",
                "TOOL",
                "AGENT",
                "CHAIN",
                "openai",
            ])?)
            .into(),
        ),
        6 => Value::Json(json(u, 4)?.to_string().into()),
        7 | 8 => Value::Str(json(u, 4)?.to_string().into()),
        _ => Value::Str(String::arbitrary(u)?.into()),
    })
}

/// Names of members in the messages, tools and documents of many dialects, and the texts that stand there.
const WORDS: &[&str] = &[
    "role",
    "content",
    "parts",
    "type",
    "text",
    "name",
    "arguments",
    "id",
    "tool_calls",
    "tool_call_id",
    "function",
    "user",
    "assistant",
    "tool",
    "system",
    "tool_call",
    "tool_call_response",
    "response",
    "result",
    "thinking",
    "reasoning",
    "image_url",
    "url",
    "data",
    "media_type",
    "mime_type",
    "blob",
    "uri",
    "file",
    "input_audio",
    "messages",
    "message",
    "choices",
    "generations",
    "kwargs",
    "lc",
    "finish_reason",
    "usage",
    "input_tokens",
    "output_tokens",
    "tool_use",
    "tool_result",
    "input",
    "output",
    "functionCall",
    "functionResponse",
    "args",
    "inlineData",
    "toolCallId",
    "toolName",
    "tools",
    "parameters",
    "description",
    "error",
    "content_blocks",
    "value",
    "documents",
    "score",
];

/// JSON of at most this depth, mostly of such words.
fn json(u: &mut Unstructured<'_>, depth: u8) -> arbitrary::Result<serde_json::Value> {
    use serde_json::Value;
    let word =
        |u: &mut Unstructured<'_>| if u.ratio(9, 10)? { Ok((*u.choose(WORDS)?).to_owned()) } else { u.arbitrary() };
    Ok(match u.int_in_range(0..=if depth == 0 { 4 } else { 9 })? {
        0 => Value::Null,
        1 => Value::Bool(u.arbitrary()?),
        2 => u.arbitrary::<i64>()?.into(),
        3 => u.arbitrary::<f64>()?.into(),
        4 => word(u)?.into(),
        // JSON in a text.
        5 => json(u, depth - 1)?.to_string().into(),
        6 | 7 => (0..u.int_in_range(0..=3)?).map(|_| json(u, depth - 1)).collect::<arbitrary::Result<Value>>()?,
        _ => (0..u.int_in_range(0..=4)?)
            .map(|_| Ok((word(u)?, json(u, depth - 1)?)))
            .collect::<arbitrary::Result<serde_json::Map<_, _>>>()?
            .into(),
    })
}

fn attributes(u: &mut Unstructured<'_>, keys: &[&str]) -> arbitrary::Result<Vec<(String, Value<'static>)>> {
    (0..u.int_in_range(0..=12)?)
        .map(|_| {
            let key = if u.ratio(7, 8)? { (*u.choose(keys)?).to_owned() } else { u.arbitrary()? };
            Ok((key, value(u)?))
        })
        .collect()
}

fn span(u: &mut Unstructured<'_>, keys: &[&str]) -> arbitrary::Result<Made> {
    let id = |u: &mut Unstructured<'_>| Ok([u.int_in_range(1..=6)?; 8]);
    let parent = match u.int_in_range(0..=3)? {
        0 => Parent::None,
        1 => Parent::Remote(id(u)?),
        _ => Parent::Local(id(u)?),
    };
    let events = (0..u.int_in_range(0..=2)?)
        .map(|_| {
            let named =
                ["exception", "gen_ai.choice", "gen_ai.user.message", "gen_ai.client.inference.operation.details"];
            let name = if u.ratio(7, 8)? { (*u.choose(&named)?).to_owned() } else { u.arbitrary()? };
            let body = if u.arbitrary()? { Some(value(u)?) } else { None };
            Ok(Event { name, attributes: attributes(u, keys)?, body })
        })
        .collect::<arbitrary::Result<_>>()?;
    Ok(Made {
        span_id: id(u)?,
        parent,
        name: u.arbitrary()?,
        kind: *u.choose(&[Kind::Internal, Kind::Client, Kind::Server])?,
        times: (u.arbitrary()?, u.arbitrary()?),
        error: u.arbitrary()?,
        attributes: attributes(u, keys)?,
        events,
    })
}

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let _ = run(&mut u);
});

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let keys = fuzz::keys();
    let mut options = Options::default();
    options.selection = if u.arbitrary()? { SpanSelection::All } else { SpanSelection::GenAi };
    options.capture_content = u.ratio(3, 4)?;
    let is_live: bool = u.arbitrary()?;
    let spans: Vec<Made> = (0..u.int_in_range(1..=5)?).map(|_| span(u, &keys)).collect::<arbitrary::Result<_>>()?;

    let mut recorder = Recorder::new(options, RecorderLimits::default());
    let resource = Arc::new(Resource::default());
    if is_live {
        spans.iter().for_each(|span| recorder.start(span, &resource, Duration::ZERO));
    }
    spans.iter().for_each(|span| recorder.record(span, &resource, Duration::ZERO));
    let open = recorder.open_spans();
    assert!(open <= spans.len() as u64);
    recorder.finish();
    assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0));
    while let Some(output) = recorder.next_output() {
        if let Output::Run(run) = output {
            let mut trace = run.trace;
            trace.spans = Some(run.spans.into_iter().map(|recorded| recorded.span).collect());
            fuzz::check(&trace);
            for json in trace.spans.iter().flatten().filter_map(|span| span.input.as_ref()) {
                let limit = usize::from(u.arbitrary::<u8>()?) + 64;
                let _ = shorten(json, limit);
            }
        }
    }
    Ok(())
}
