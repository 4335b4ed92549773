//! Messages of provider APIs: a role and a content, which is a text or a list of parts.
//!
//! Dialects that record the bodies of an API, rather than a form of their own, are read with this. It knows the messages of
//! OpenAI (Chat Completions and Responses), Anthropic, Gemini and Bedrock, as far as their keys distinguish them.

use std::borrow::Cow;

use retrace_protocol::message::{Text, decode};
use retrace_protocol::parse;
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::smallvec;

use crate::json::JsonObject;
use crate::json::redacted_text;
use crate::json::{label_of, text_of};
use crate::messages::envelope;
use crate::messages::lists;
use crate::messages::{Parts, Source, Turn, TurnPart, keep_role_beside_result, role_label};

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMessage<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    /// Content of Gemini.
    #[serde(borrow)]
    parts: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, alias = "reasoning", alias = "thinking")]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, alias = "tool_use_id", alias = "call_id")]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, alias = "input")]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow, alias = "stop_reason", alias = "finishReason")]
    finish_reason: Option<&'a RawValue>,
    /// Message of a choice.
    #[serde(borrow, alias = "delta")]
    message: Option<&'a RawValue>,
    /// Text of a choice of a completion.
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    /// Prompt under the name of the role.
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    /// Members of a request, where `user` is an id.
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

/// Objects that may surround a message: a choice or a candidate, and what serialised it. In deeper ones no library has a message.
const ENVELOPES: usize = 4;

/// Reads a list of messages or a single one; returns `None` for anything else.
pub(crate) fn messages(json: &str) -> Option<Vec<Turn<'_>>> {
    match json.trim_start().as_bytes().first()? {
        b'[' => lists::each(parse::from_str(json)?, message),
        b'{' => Some(vec![message(parse::from_str(json)?)?]),
        _ => None,
    }
}

/// Reads one message or one choice.
pub(crate) fn message(raw: &RawValue) -> Option<Turn<'_>> {
    message_of(raw, "user")
}

/// Reads one message or one choice, with `role` as the default role.
pub(crate) fn message_of<'a>(raw: &'a RawValue, role: &'static str) -> Option<Turn<'a>> {
    message_within(raw, role, ENVELOPES)
}

/// Reads a message that up to so many objects surround.
fn message_within<'a>(raw: &'a RawValue, role: &'static str, envelopes: usize) -> Option<Turn<'a>> {
    let opened = |inner, role| message_within(inner, role, envelopes.checked_sub(1)?);
    if let Some((inner, role)) = raw_envelope(raw) {
        return opened(inner, role).map(|turn| Turn { role: Cow::Borrowed(role), ..turn });
    }
    let mut read: RawMessage<'_> = object(raw)?;
    if read.role.is_none() && read.kind.and_then(label_of).as_deref() == Some("error") {
        return None; // its text is a provider's, and no message
    }
    let finish_reason = read.finish_reason.and_then(label_of);
    match read.message {
        Some(inner) if is_object(inner) => {
            let beside = read.tool_calls;
            if raw_envelope(inner).is_some() {
                return Some(Turn { finish_reason, ..opened(inner, role)? });
            }
            read = object(inner)?;
            read.tool_calls = read.tool_calls.or(beside);
        }
        // A choice whose message is its text.
        Some(inner) if read.content.is_none() => read.content = Some(inner),
        _ => {}
    }
    if let Some(inner) = read.content.filter(|inner| is_object(inner))
        && let Some(turn) = opened(inner, role)
    {
        // A candidate of Gemini.
        return Some(Turn { finish_reason, ..turn });
    }
    let mut turn = item(&read, role)?;
    turn.finish_reason = finish_reason.or_else(|| read.finish_reason.and_then(label_of));
    Some(turn)
}

/// Opens a message serialized by `LangChain`, or an event of Logfire.
fn raw_envelope(raw: &RawValue) -> Option<(&RawValue, &'static str)> {
    let text = raw.get();
    let may_be = text.starts_with('{') && (text.contains("\"data\"") || text.contains("\"kwargs\""));
    let members = may_be.then(|| JsonObject::read(text)).flatten()?;
    envelope::langchain(&members).or_else(|| unknown_event(&members))
}

/// Returns the item of a response in an event of Logfire that has no form for it, with the role of the item.
fn unknown_event<'a>(members: &JsonObject<'a>) -> Option<(&'a RawValue, &'static str)> {
    let is_unknown = members.label(&["event.name"]).as_deref() == Some("gen_ai.unknown");
    let item = members.get(&["data"]).filter(|raw| is_unknown && is_object(raw))?;
    object::<RawMessage<'_>>(item).and_then(|read| self::item(&read, "assistant")).map(|_| (item, "assistant"))
}

/// Reads a message, or an item of a response among messages.
fn item<'a>(read: &RawMessage<'a>, role: &'static str) -> Option<Turn<'a>> {
    let kind = read.kind.and_then(label_of);
    let id = || read.tool_call_id.or(read.id).and_then(label_of);
    let name = || read.name.and_then(label_of);
    let (role, part) = match kind.as_deref() {
        Some("function_call" | "custom_tool_call") if read.role.is_none() => {
            let name = name().unwrap_or_default();
            ("assistant", TurnPart::ToolCall { id: id(), name, arguments: read.arguments })
        }
        Some("function_call_output" | "custom_tool_call_output") if read.role.is_none() => {
            ("tool", TurnPart::ToolResult { id: id(), name: name(), result: read.output })
        }
        Some("reasoning") if read.role.is_none() => {
            let thoughts = read.summary.or(read.content).map(parts_of).unwrap_or_default();
            let thoughts = thoughts.into_iter().map(|part| match part {
                TurnPart::Text(text) => TurnPart::Reasoning(text),
                other => other,
            });
            let parts = thoughts.collect();
            return Some(Turn { role: Cow::Borrowed("assistant"), parts, ..Turn::default() });
        }
        _ => return message_turn(read, role),
    };
    Some(Turn { role: Cow::Borrowed(role), parts: smallvec![part], ..Turn::default() })
}

fn message_turn<'a>(read: &RawMessage<'a>, default_role: &'static str) -> Option<Turn<'a>> {
    let user = read.user.filter(|_| read.model.or(read.messages).is_none());
    // In OpenAI's Responses API `text` is a setting, an object.
    let text = read.text.filter(|raw| !is_object(raw));
    let content =
        read.content.or(read.parts).or(read.tool_calls).or(text).or(read.refusal).or(read.function_call).or(user);
    // A LangChain message has a type instead of a role.
    let by_type = || envelope::langchain_role(&read.kind.and_then(label_of)?).map(Cow::Borrowed);
    let role = read.role.and_then(role_label);
    if role.is_none() && content.is_none() {
        return None;
    }
    let role = role.or_else(by_type);
    let mut turn = Turn { role: role.unwrap_or(Cow::Borrowed(default_role)), ..Turn::default() };
    turn.name = read.name.and_then(label_of);
    let content = read.content.or(read.parts).or(text).filter(|raw| !is_null(raw));
    let mut parts = content.map(parts_of).unwrap_or_default();
    // Gemini and Genkit, which call the assistant so, answer in pieces.
    if &*turn.role == "model" {
        parts = without_cuts(parts);
    }
    let answers = matches!(&*turn.role, "tool" | "function");
    if let Some(id) = read.tool_call_id.and_then(label_of).or_else(|| read.id.filter(|_| answers).and_then(label_of)) {
        // The result of a tool is kept unchanged.
        parts = smallvec![TurnPart::ToolResult { id: Some(id), name: turn.name.take(), result: content }];
        parts.extend(keep_role_beside_result(&turn.role));
    } else if answers && content.is_some() && !parts.iter().any(|part| matches!(part, TurnPart::ToolResult { .. })) {
        parts = smallvec![TurnPart::ToolResult { id: None, name: turn.name.take(), result: content }];
    }
    if let Some(reasoning) = read.reasoning_content.filter(|raw| !is_null(raw)) {
        parts.insert(0, text_of(reasoning).map_or(TurnPart::Other(reasoning), TurnPart::Reasoning));
    }
    parts.extend(user.map(parts_of).unwrap_or_default());
    if let Some(refusal) = read.refusal.filter(|raw| !is_null(raw)) {
        parts.push(text_of(refusal).map_or(TurnPart::Other(refusal), TurnPart::Refusal));
    }
    if let Some(call) = read.function_call.filter(|raw| !is_null(raw)) {
        parts.push(tool_call(call).unwrap_or(TurnPart::Other(call)));
    }
    match read.tool_calls.filter(|raw| !is_null(raw)) {
        None => {}
        Some(calls) => match parse::from_str::<Vec<&RawValue>>(calls.get()) {
            // Calls may be among the parts of the content as well, their arguments cut into pieces by a stream.
            Some(calls) => {
                let is_piece = |part: &TurnPart<'_>| matches!(part, TurnPart::Other(raw) if is_piece_of_call(raw));
                parts.retain(|part| !is_piece(part));
                for call in calls.into_iter().map(|call| tool_call(call).unwrap_or(TurnPart::Other(call))) {
                    match parts.iter_mut().find(|part| is_same_call(part, &call)) {
                        Some(part) if has_no_arguments(part) => *part = call,
                        Some(_) => {}
                        None => parts.push(call),
                    }
                }
            }
            None => parts.push(TurnPart::Other(calls)),
        },
    }
    turn.parts = parts;
    Some(turn)
}

/// Returns true for the definition of a function. Langfuse's handler for LangChain records the tools of a request as messages of
/// the role `tool` with such a content.
pub(crate) fn is_definition(raw: &RawValue) -> bool {
    let Some(members) = JsonObject::read(raw.get()) else { return false };
    let function = members.object(&["function"]);
    members.label(&["type"]).as_deref() == Some("function")
        && function.is_some_and(|function| function.get(&["name"]).is_some() && function.get(&["arguments"]).is_none())
}

fn is_same_call(one: &TurnPart<'_>, other: &TurnPart<'_>) -> bool {
    let id = |part| match part {
        &TurnPart::ToolCall { id: Some(ref id), .. } => Some(id.clone()),
        _ => None,
    };
    id(one).is_some_and(|one| id(other) == Some(one))
}

fn has_no_arguments(part: &TurnPart<'_>) -> bool {
    matches!(part, TurnPart::ToolCall { arguments, .. } if arguments.is_none_or(|raw| matches!(raw.get(), "\"\"" | "{}")))
}

/// Returns true for a piece of the arguments of a call, as `LangChain` keeps it of Anthropic's streams.
fn is_piece_of_call(raw: &RawValue) -> bool {
    raw.get().contains("input_json_delta")
        && JsonObject::read(raw.get()).and_then(|part| part.label(&["type"])).as_deref() == Some("input_json_delta")
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCall<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, alias = "tool_call_id", alias = "toolUseId", alias = "toolCallId", alias = "ref")]
    call_id: Option<&'a RawValue>,
    #[serde(borrow, alias = "tool_name", alias = "toolName")]
    name: Option<&'a RawValue>,
    #[serde(borrow, alias = "input", alias = "args")]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<&'a RawValue>,
}

/// Reads a tool call, with or without a function object around name and arguments.
pub(crate) fn tool_call(raw: &RawValue) -> Option<TurnPart<'_>> {
    let call: RawCall<'_> = object(raw)?;
    let id = call.call_id.or(call.id).and_then(label_of);
    let of = match call.function {
        Some(function) if is_object(function) => object(function)?,
        _ => call,
    };
    if id.is_none() && of.name.is_none() && of.arguments.is_none() {
        return None;
    }
    let arguments = of.arguments.filter(|raw| !is_null(raw));
    Some(TurnPart::ToolCall { id, name: of.name.and_then(label_of).unwrap_or_default(), arguments })
}

/// Reads a content: a text, a list of parts, or a value that is kept unchanged.
pub(crate) fn parts_of(content: &RawValue) -> Parts<'_> {
    if let Some(text) = text_of(content) {
        return smallvec![TurnPart::Text(text)];
    }
    let listed = parse::from_str::<Vec<&RawValue>>(content.get());
    let is_part = |raw: &&RawValue| is_object(raw) && part(raw).is_some();
    let listed = listed.filter(|parts| {
        parts.iter().all(|part| is_object(part) || part.get().starts_with('"')) || parts.iter().any(is_part)
    });
    match listed {
        Some(parts) => parts.into_iter().map(|raw| part(raw).unwrap_or(TurnPart::Other(raw))).collect(),
        // JSON that is no list of parts is a text that happens to be JSON.
        None if content.get() == "null" => Parts::new(),
        None => smallvec![TurnPart::Text(Text::Plain(redacted_text(content.get())))],
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow, alias = "reasoning")]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, alias = "image", alias = "input_image")]
    image_url: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow, alias = "audio")]
    input_audio: Option<&'a RawValue>,
    #[serde(
        borrow,
        alias = "inlineData",
        alias = "inline_data",
        alias = "fileData",
        alias = "file_data",
        alias = "media"
    )]
    file: Option<&'a RawValue>,
    #[serde(borrow)]
    file_id: Option<&'a RawValue>,
    #[serde(borrow, alias = "functionCall")]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, alias = "functionResponse")]
    function_response: Option<&'a RawValue>,
    /// A call in Bedrock and Genkit.
    #[serde(borrow, rename = "toolUse", alias = "toolRequest")]
    tool_use: Option<&'a RawValue>,
    #[serde(borrow, rename = "toolResult", alias = "toolResponse")]
    tool_result: Option<&'a RawValue>,
    #[serde(borrow, alias = "tool_call_id", alias = "toolUseId")]
    tool_use_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
}

/// A part of a message; `None` for one of an unknown kind.
pub(crate) fn part(raw: &RawValue) -> Option<TurnPart<'_>> {
    if let Some(text) = text_of(raw) {
        return Some(TurnPart::Text(text));
    }
    let part: RawPart<'_> = object(raw)?;
    let kind = part.kind.and_then(label_of).unwrap_or_default();
    Some(match &*kind {
        "text" | "input_text" | "output_text" | "summary_text" => TurnPart::Text(text_of(part.text.or(part.content)?)?),
        "thinking" | "reasoning" | "reasoning_text" => {
            TurnPart::Reasoning(text_of(part.thinking.or(part.text).or(part.content)?)?)
        }
        "refusal" => TurnPart::Refusal(text_of(part.refusal.or(part.text)?)?),
        "tool_use" | "toolUse" | "tool_call" | "tool-call" | "function_call" => tool_call(raw)?,
        "tool-result" | "tool-error" => sdk_result(&JsonObject::read(raw.get())?),
        "tool_result" | "toolResult" => TurnPart::ToolResult {
            id: part.tool_use_id.and_then(label_of),
            name: part.name.and_then(label_of),
            result: part.content,
        },
        "image" | "image_url" | "input_image" => {
            let source = part.image_url.or(part.source).or(part.file_id)?;
            let is_id = part.image_url.or(part.source).is_none();
            medium("image", if is_id { (None, Source::File(label_of(source)?)) } else { located(source)? })
        }
        "input_audio" | "audio" => medium("audio", located(part.input_audio.or(part.source)?)?),
        "file" | "input_file" | "document" | "media" => match part.file.or(part.source) {
            Some(source) => medium("file", located(source)?),
            None => medium("file", (None, Source::File(part.file_id.and_then(label_of)?))),
        },
        "" => untyped(&part)?,
        _ => return None,
    })
}

/// Reads a result in a message of the Vercel AI SDK: `output`, which is `{"type":"json","value":…}`, or, in older versions, `result`,
/// which is what the tool returned, whatever members that has.
pub(crate) fn sdk_result<'a>(part: &JsonObject<'a>) -> TurnPart<'a> {
    const TYPES: [&str; 5] = ["text", "json", "content", "error-text", "error-json"];
    let is_typed = |output: &JsonObject<'_>| output.label(&["type"]).is_some_and(|kind| TYPES.contains(&&*kind));
    let typed = part.object(&["output"]).filter(is_typed);
    TurnPart::ToolResult {
        id: part.label(&["toolCallId"]),
        name: part.label(&["toolName"]),
        result: typed.and_then(|output| output.get(&["value"])).or_else(|| part.get(&["output", "result", "error"])),
    }
}

/// Reads a part of Gemini, Bedrock or Genkit, whose kind is the key it has.
fn untyped<'a>(part: &RawPart<'a>) -> Option<TurnPart<'a>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Response<'a> {
        #[serde(borrow, alias = "toolUseId", alias = "ref")]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(borrow, alias = "content", alias = "output")]
        response: Option<&'a RawValue>,
    }
    if let Some(call) = part.function_call {
        return tool_call(call);
    }
    if let Some(call) = part.tool_use {
        return tool_call(call);
    }
    if let Some(raw) = part.function_response.or(part.tool_result) {
        let response: Response<'_> = object(raw)?;
        let (id, name) = (response.id.and_then(label_of), response.name.and_then(label_of));
        return Some(TurnPart::ToolResult { id, name, result: response.response });
    }
    if let Some(source) = part.file {
        let (mime_type, source) = located(source)?;
        return Some(TurnPart::Media { modality: None, mime_type, source });
    }
    if let Some(thought) = part.thinking.filter(|_| part.text.is_none()) {
        return Some(TurnPart::Reasoning(text_of(thought)?));
    }
    Some(TurnPart::Text(text_of(part.text?)?))
}

/// Joins texts, and thoughts, that follow one another: a stream that was recorded piece by piece.
fn without_cuts(parts: Parts<'_>) -> Parts<'_> {
    let is_empty = |part: &TurnPart<'_>| matches!(part, TurnPart::Text(Text::Token(raw)) if raw.get() == "\"\"");
    let has_content = parts.iter().any(|part| !is_empty(part));
    let mut whole = Parts::new();
    for part in parts.into_iter().filter(|part| !(has_content && is_empty(part))) {
        match (whole.last_mut(), part) {
            (Some(TurnPart::Text(text)), TurnPart::Text(next))
            | (Some(TurnPart::Reasoning(text)), TurnPart::Reasoning(next)) => {
                // In place: a copy for each piece would take quadratic time.
                let mut joined = match std::mem::replace(text, Text::Plain(Cow::Borrowed(""))) {
                    Text::Plain(text) => text,
                    Text::Token(raw) => decode(raw),
                };
                joined.to_mut().push_str(&next.decoded());
                *text = Text::Plain(joined);
            }
            (_, part) => whole.push(part),
        }
    }
    whole
}

fn medium<'a>(modality: &'static str, (mime_type, source): (Option<Cow<'a, str>>, Source<'a>)) -> TurnPart<'a> {
    TurnPart::Media { modality: Some(Cow::Borrowed(modality)), mime_type, source }
}

/// Reads the location of a medium: a URL, or an object with a URL, an id or the content.
fn located(raw: &RawValue) -> Option<(Option<Cow<'_, str>>, Source<'_>)> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Located<'a> {
        #[serde(borrow, alias = "mimeType", alias = "mime_type", alias = "contentType")]
        media_type: Option<&'a RawValue>,
        #[serde(borrow, alias = "uri", alias = "fileUri", alias = "file_uri")]
        url: Option<&'a RawValue>,
        #[serde(borrow, alias = "file_data")]
        data: Option<&'a RawValue>,
        #[serde(borrow, alias = "id")]
        file_id: Option<&'a RawValue>,
        #[serde(borrow)]
        format: Option<&'a RawValue>,
    }
    if let Some(url) = label_of(raw) {
        return Some((None, Source::Uri(url)));
    }
    let at: Located<'_> = object(raw)?;
    let mime_type = at.media_type.and_then(label_of).or_else(|| {
        let format = at.format.and_then(label_of)?;
        Some(Cow::Owned(format!("audio/{format}")))
    });
    let source = if let Some(url) = at.url.and_then(label_of) {
        Source::Uri(url)
    } else if let Some(data) = at.data.and_then(label_of) {
        if data.starts_with("data:") { Source::Uri(data) } else { Source::Base64(data) }
    } else {
        Source::File(at.file_id.and_then(label_of)?)
    };
    Some((mime_type, source))
}

fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    if is_object(raw) { parse::from_str(raw.get()) } else { None }
}

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::conversation;

    fn read(json: &str) -> serde_json::Value {
        serde_json::to_value(conversation(Vec::new(), messages(json).unwrap())).unwrap()["messages"].take()
    }

    #[test]
    fn the_parts_of_every_provider_are_read() {
        let image = serde_json::json!({"type": "image", "uri": "https://example.org/a.png"});
        let inline = serde_json::json!({"type": "image", "mime_type": "image/png", "data": "aGk="});
        for (part, expected) in [
            (r#"{"type":"image_url","image_url":{"url":"https://example.org/a.png","detail":"low"}}"#, &image),
            (r#"{"type":"input_image","image_url":"https://example.org/a.png"}"#, &image),
            (r#"{"type":"image","source":{"type":"url","url":"https://example.org/a.png"}}"#, &image),
            (r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}"#, &inline),
            (r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}"#, &inline),
            (r#"{"inlineData":{"mimeType":"image/png","data":"aGk="}}"#, &inline),
        ] {
            assert_eq!(read(&format!(r#"{{"role":"user","content":[{part}]}}"#))[0]["content"][0], *expected, "{part}");
        }
        let odd = r#"{"role":"user","content":[{"type":"hologram","x":1}]}"#;
        assert_eq!(read(odd)[0]["content"][0], serde_json::json!({"type": "hologram", "x": 1}));
        let json = r#"{"role":"user","content":{"city":"Rome"}}"#;
        assert_eq!(read(json)[0]["content"], r#"{"city":"Rome"}"#, "content that happens to be JSON is a text");
    }

    #[test]
    fn calls_and_results_of_every_provider_are_tied() {
        let expected = serde_json::json!([
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "f", "arguments": {"a": 1}}]},
            {"role": "tool", "content": "18", "tool_call_id": "c"},
        ]);
        for json in [
            r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
                {"role":"tool","tool_call_id":"c","content":"18"}]"#,
            r#"[{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":{"a":1}}]},
                {"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"18"}]}]"#,
            r#"[{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{\"a\":1}"},
                {"type":"function_call_output","call_id":"c","output":"18"}]"#,
            r#"[{"role":"model","parts":[{"functionCall":{"id":"c","name":"f","args":{"a":1}}}]},
                {"role":"user","parts":[{"functionResponse":{"id":"c","response":"18"}}]}]"#,
            r#"[{"role":"assistant","content":[{"toolUse":{"toolUseId":"c","name":"f","input":{"a":1}}}]},
                {"role":"user","content":[{"toolResult":{"toolUseId":"c","content":"18"}}]}]"#,
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
    }

    #[test]
    fn thoughts_and_refusals_are_told_apart() {
        let json = r#"{"role":"assistant","reasoning_content":"hm","content":"yes","refusal":null}"#;
        assert_eq!(read(json)[0], serde_json::json!({"role": "assistant", "content": "yes", "reasoning": "hm"}));
        let refused = messages(r#"{"role":"assistant","content":null,"refusal":"no"}"#).unwrap();
        assert!(matches!(refused[0].parts.as_slice(), [TurnPart::Refusal(_)]), "{refused:?}");
        let human = r#"[{"type":"human","content":"hi"},{"type":"ai","content":"ho"}]"#;
        assert_eq!(
            read(human),
            serde_json::json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}])
        );
    }

    #[test]
    fn what_is_no_message_is_left_to_others() {
        for other in ["", "hi", "7", "{}", "[7]", r#"[{"type":"function","name":"f"}]"#, r#"{"a":1}"#] {
            assert!(messages(other).is_none(), "{other}");
        }
        assert!(messages("[]").unwrap().is_empty());
    }
}
