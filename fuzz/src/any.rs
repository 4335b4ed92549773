//! Spans of anything: what `arbitrary` makes of the bytes of an input.

use arbitrary::{Arbitrary as _, Unstructured};
use retrace_translate::{Kind, Parent, Value};

use crate::{Event, Made};

/// A value of an attribute, of any type.
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

/// At most twelve attributes, most of them under keys of some dialect.
fn attributes(u: &mut Unstructured<'_>, keys: &[&str]) -> arbitrary::Result<Vec<(String, Value<'static>)>> {
    (0..u.int_in_range(0..=12)?)
        .map(|_| {
            let key = if u.ratio(7, 8)? { (*u.choose(keys)?).to_owned() } else { u.arbitrary()? };
            Ok((key, value(u)?))
        })
        .collect()
}

/// A span with an id of few.
pub fn span(u: &mut Unstructured<'_>, keys: &[&str]) -> arbitrary::Result<Made> {
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
