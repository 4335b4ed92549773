//! Messages of OpenInference, with nested keys or with dotted keys as in its specification.

use std::borrow::Cow;

use retrace_protocol::message::decode;
use retrace_protocol::parse;
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::smallvec;

use crate::json::{label_of, text_of};
use crate::messages::lists;
use crate::messages::provider_message;
use crate::messages::{Parts, Source, Turn, TurnPart, keep_role_beside_result, role_label};

/// Reads a list of messages, prompts, choices or embedded texts.
pub(super) fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let elements: Vec<&RawValue> = parse::from_str(json)?;
    lists::each(elements, |raw| turn(raw).or_else(|| provider_message::message(raw)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawElement<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    /// Tool results of a message, as the instrumentation of AutoGen records them.
    #[serde(borrow)]
    function: Vec<&'a RawValue>,
    #[serde(borrow, alias = "completion", alias = "embedding")]
    prompt: Option<RawText<'a>>,
    #[serde(borrow, rename = "prompt.text", alias = "completion.text", alias = "embedding.text")]
    text: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawText<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMessage<'a> {
    #[serde(borrow, alias = "message.role")]
    role: Option<&'a RawValue>,
    #[serde(borrow, alias = "message.name")]
    name: Option<&'a RawValue>,
    #[serde(borrow, alias = "message.content")]
    content: Option<&'a RawValue>,
    #[serde(borrow, alias = "message.contents")]
    contents: Vec<&'a RawValue>,
    #[serde(borrow, alias = "message.tool_call_id")]
    tool_call_id: Option<&'a RawValue>,
    #[serde(borrow, alias = "message.tool_calls")]
    tool_calls: Vec<&'a RawValue>,
    #[serde(borrow, alias = "message.function_call_name")]
    function_call_name: Option<&'a RawValue>,
    #[serde(borrow, alias = "message.function_call_arguments_json")]
    function_call_arguments_json: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Called<'a> {
    #[serde(borrow)]
    tool_call: Option<RawCall<'a>>,
    #[serde(borrow, rename = "tool_call.id")]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "tool_call.function.name")]
    name: Option<&'a RawValue>,
    #[serde(borrow, rename = "tool_call.function.arguments")]
    arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCall<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    function: RawFunction<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawFunction<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawItem<'a> {
    #[serde(borrow)]
    message_content: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawContent<'a> {
    #[serde(borrow, rename = "type", alias = "message_content.type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, alias = "message_content.text")]
    text: Option<&'a RawValue>,
    #[serde(borrow, alias = "message_content.image")]
    image: Option<RawMedium<'a>>,
    #[serde(borrow, alias = "message_content.audio")]
    audio: Option<RawMedium<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMedium<'a> {
    #[serde(borrow, alias = "audio")]
    image: Option<RawPlace<'a>>,
    #[serde(borrow, rename = "image.url", alias = "audio.url")]
    url: Option<&'a RawValue>,
    #[serde(borrow, rename = "audio.mime_type")]
    mime_type: Option<&'a RawValue>,
    #[serde(borrow, rename = "audio.transcript")]
    transcript: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPlace<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    #[serde(borrow)]
    mime_type: Option<&'a RawValue>,
    #[serde(borrow)]
    transcript: Option<&'a RawValue>,
}

fn turn(raw: &RawValue) -> Option<Turn<'_>> {
    if let Some(text) = text_of(raw) {
        return Some(turn_with("user", smallvec![TurnPart::Text(text)]));
    }
    let element: RawElement<'_> = parse::from_str(raw.get())?;
    if let Some(text) = element.text.or_else(|| element.prompt?.text) {
        return Some(turn_with("user", smallvec![text_of(text).map_or(TurnPart::Other(text), TurnPart::Text)]));
    }
    let dotted = || Some(raw).filter(|raw| raw.get().contains("\"message."));
    let message: RawMessage<'_> = parse::from_str(element.message.or_else(dotted)?.get())?;
    let is_empty = message.content.is_none() && message.contents.is_empty() && message.tool_calls.is_empty();
    if is_empty
        && message.role.is_none()
        && message.function_call_name.or(message.function_call_arguments_json).is_none()
    {
        return None;
    }
    let role = message.role.and_then(role_label).unwrap_or(Cow::Borrowed("user"));
    let name = message.name.and_then(label_of);
    let content = message.content.filter(|content| content.get() != "null");
    let mut contents = Parts::new();
    message.contents.into_iter().for_each(|item| parts_of(item, &mut contents));
    // Some record the text of the contents a second time, as the content.
    let content = content.filter(|content| !repeats(&contents, content));
    let id = message.tool_call_id.and_then(label_of);
    let mut parts = Parts::new();
    if id.is_some() || (matches!(&*role, "tool" | "function") && content.is_some() && contents.is_empty()) {
        parts.push(TurnPart::ToolResult { id, name: name.clone(), result: content });
        parts.extend(keep_role_beside_result(&role));
    } else {
        parts.extend(content.map(|content| text_of(content).map_or(TurnPart::Other(content), TurnPart::Text)));
    }
    parts.extend(contents);
    parts.extend(element.function.into_iter().map(|raw| result(raw).unwrap_or(TurnPart::Other(raw))));
    // Calls may be repeated among the contents, for their order.
    for call in message.tool_calls.into_iter().filter_map(called) {
        if !parts.iter().any(|part| is_same_call(part, &call)) {
            parts.push(call);
        }
    }
    let (function, arguments) = (message.function_call_name, message.function_call_arguments_json);
    if function.or(arguments).is_some() {
        let name = function.and_then(label_of).unwrap_or_default();
        parts.push(TurnPart::ToolCall { id: None, name, arguments });
    }
    Some(Turn { role, name, parts, finish_reason: None })
}

/// Returns true if a content is the text of one of these parts, or of all of them.
fn repeats(parts: &[TurnPart<'_>], content: &RawValue) -> bool {
    let text = |part: &TurnPart<'_>| match part {
        TurnPart::Text(text) => Some(text.decoded().into_owned()),
        _ => None,
    };
    let texts: Vec<String> = parts.iter().filter_map(text).collect();
    !texts.is_empty() && text_of(content).is_some() && {
        let content = decode(content);
        texts.iter().any(|text| *text == content) || texts.concat() == content || texts.join("\n") == content
    }
}

#[derive(Deserialize)]
struct RawResult<'a> {
    #[serde(borrow)]
    call_id: &'a RawValue,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Reads the result of a tool in a message of AutoGen.
fn result(raw: &RawValue) -> Option<TurnPart<'_>> {
    let result: RawResult<'_> = parse::from_str(raw.get())?;
    let (id, name) = (label_of(result.call_id), result.name.and_then(label_of));
    Some(TurnPart::ToolResult { id, name, result: Some(result.content) })
}

fn turn_with<'a>(role: &'static str, parts: Parts<'a>) -> Turn<'a> {
    Turn { role: Cow::Borrowed(role), parts, ..Turn::default() }
}

/// Reads one of the contents of a message into parts: text, media and calls.
fn parts_of<'a>(raw: &'a RawValue, parts: &mut Parts<'a>) {
    let before = parts.len();
    let item: RawItem<'_> = parse::from_str(raw.get()).unwrap_or_default();
    let content = parse::from_str::<RawContent<'_>>(item.message_content.unwrap_or(raw).get());
    let call = parse::from_str(raw.get()).and_then(Called::part);
    let Some(content) = content else {
        parts.push(TurnPart::Other(raw));
        return;
    };
    let kind = content.kind.and_then(label_of);
    let is_reasoning = matches!(kind.as_deref(), Some("reasoning" | "thinking" | "redacted_thinking"));
    let is_known = is_reasoning
        || matches!(
            kind.as_deref(),
            None | Some("text" | "input_text" | "output_text" | "image" | "audio" | "tool_use" | "refusal")
        );
    if let Some(text) = content.text {
        parts.push(match text_of(text) {
            Some(text) if is_reasoning => TurnPart::Reasoning(text),
            Some(text) if kind.as_deref() == Some("refusal") => TurnPart::Refusal(text),
            Some(text) => TurnPart::Text(text),
            None => TurnPart::Other(text),
        });
    }
    let has_media_type = [&content.image, &content.audio].into_iter().flatten().any(RawMedium::has_media_type);
    for (modality, medium) in [("image", content.image), ("audio", content.audio)] {
        parts.extend(medium.into_iter().flat_map(|medium| medium.parts(modality)));
    }
    parts.extend(call);
    // A media type whose media were left out is kept as it is.
    if parts.len() == before && has_media_type {
        parts.push(TurnPart::Other(raw));
        return;
    }
    // An object without a type and without any known member.
    let is_odd = kind.is_none() && parts.len() == before && item.message_content.is_none();
    if !is_known || is_odd && !matches!(raw.get(), "{}" | "null") {
        parts.truncate(before);
        parts.push(TurnPart::Other(raw));
    }
}

impl<'a> RawMedium<'a> {
    fn has_media_type(&self) -> bool {
        self.mime_type.or(self.image.as_ref().and_then(|place| place.mime_type)).is_some()
    }

    fn parts(self, modality: &'static str) -> impl Iterator<Item = TurnPart<'a>> {
        let place = self.image.unwrap_or_default();
        let mime_type = self.mime_type.or(place.mime_type).and_then(label_of);
        let source = self.url.or(place.url).and_then(label_of).map(Source::Uri);
        let medium =
            source.map(|source| TurnPart::Media { modality: Some(Cow::Borrowed(modality)), mime_type, source });
        let transcript = self.transcript.or(place.transcript);
        let transcript = transcript.map(|raw| text_of(raw).map_or(TurnPart::Other(raw), TurnPart::Text));
        medium.into_iter().chain(transcript)
    }
}

/// Reads a tool call; an object of an unknown kind is kept unchanged.
fn called(raw: &RawValue) -> Option<TurnPart<'_>> {
    let call = parse::from_str(raw.get()).and_then(Called::part);
    call.or_else(|| (!matches!(raw.get(), "{}" | "null")).then_some(TurnPart::Other(raw)))
}

impl<'a> Called<'a> {
    fn part(self) -> Option<TurnPart<'a>> {
        let call = self.tool_call.unwrap_or_default();
        let (id, name) = (self.id.or(call.id), self.name.or(call.function.name));
        let arguments = self.arguments.or(call.function.arguments);
        let is_there = id.is_some() || name.is_some() || arguments.is_some();
        is_there.then(|| TurnPart::ToolCall {
            id: id.and_then(label_of),
            name: name.and_then(label_of).unwrap_or_default(),
            arguments,
        })
    }
}

fn is_same_call(one: &TurnPart<'_>, other: &TurnPart<'_>) -> bool {
    let call = |part: &TurnPart<'_>| match part {
        TurnPart::ToolCall { id, name, arguments } => Some((
            id.clone().map(Cow::into_owned),
            name.clone().into_owned(),
            arguments.map(|raw| raw.get().to_owned()),
        )),
        _ => None,
    };
    call(one).is_some_and(|one| call(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::conversation;

    fn read(json: &str) -> serde_json::Value {
        serde_json::to_value(conversation(Vec::new(), turns(json).unwrap())).unwrap()["messages"].take()
    }

    #[test]
    fn keys_are_nested_or_dotted() {
        let expected = serde_json::json!([
            {"role": "user", "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image", "mime_type": "image/png", "data": "aGk="},
            ]},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "name": "f", "arguments": {"a": 1}}]},
            {"role": "tool", "content": "18", "tool_call_id": "c1"},
        ]);
        let nested = r#"[
            {"message": {"role": "user", "contents": [
                {"message_content": {"type": "text", "text": "what is this?"}},
                {"message_content": {"type": "image", "image": {"image": {"url": "data:image/png;base64,aGk="}}}}]}},
            {"message": {"role": "assistant", "content": null, "tool_calls": [
                {"tool_call": {"id": "c1", "function": {"name": "f", "arguments": "{\"a\":1}"}}}]}},
            {"message": {"role": "tool", "content": "18", "tool_call_id": "c1"}}]"#;
        let dotted = r#"[
            {"message.role": "user", "message.contents": [
                {"message_content.type": "text", "message_content.text": "what is this?"},
                {"message_content.type": "image", "message_content.image": {"image.url": "data:image/png;base64,aGk="}}]},
            {"message.role": "assistant", "message.content": null, "message.tool_calls": [
                {"tool_call.id": "c1", "tool_call.function.name": "f", "tool_call.function.arguments": "{\"a\":1}"}]},
            {"message.role": "tool", "message.content": "18", "message.tool_call_id": "c1"}]"#;
        assert_eq!(read(nested), expected);
        assert_eq!(read(dotted), expected);
    }

    #[test]
    fn parts_keep_their_order_and_calls_are_said_once() {
        let json = r#"[{"message": {"role": "assistant", "contents": [
                {"message_content": {"type": "reasoning", "text": "hm"}},
                {"message_content": {"type": "tool_use"}, "tool_call": {"id": "c", "function": {"name": "f"}}},
                {"message_content": {"type": "hologram", "text": "?"}}],
            "tool_calls": [{"tool_call": {"id": "c", "function": {"name": "f"}}}, {"tool_call": {"id": "d", "function": {"name": "g"}}}]}}]"#;
        let turns = turns(json).unwrap();
        let shapes = turns[0].parts.iter().map(|part| match part {
            TurnPart::Reasoning(_) => "reasoning",
            TurnPart::ToolCall { name, .. } if name == "f" => "f",
            TurnPart::ToolCall { .. } => "g",
            TurnPart::Other(_) => "other",
            _ => "?",
        });
        assert_eq!(shapes.collect::<Vec<_>>(), ["reasoning", "f", "other", "g"]);
    }

    #[test]
    fn prompts_and_choices_are_texts() {
        for json in [r#"[{"prompt": {"text": "go"}}]"#, r#"[{"completion.text": "go"}]"#, r#"["go"]"#] {
            assert_eq!(read(json), serde_json::json!([{"role": "user", "content": "go"}]), "{json}");
        }
        assert!(turns(r#"[{"else": 1}]"#).is_none() && turns("7").is_none());
    }
}
