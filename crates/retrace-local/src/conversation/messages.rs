//! Conversion of recorded content to messages: the shape of this project, and those of OpenAI, Anthropic and Gemini
//! requests as other SDKs record them.

use serde_json::Value;

use super::Subject;
use super::shape::{Message, MessagePart};

/// Largest image in the result, in bytes of base64.
const IMAGE_BYTES: usize = 3_000_000;
/// Types of images that browsers render without running code.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Result of a tool, from its own span.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answered {
    pub(crate) call_id: String,
    pub(crate) span_id: String,
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<String>,
}

/// Returns the messages in an input; an input that is not a conversation becomes one message.
pub(super) fn input(subject: Subject, given: &Value) -> Vec<Message> {
    let list = given
        .as_array()
        .or_else(|| ["messages", "contents", "input"].iter().find_map(|name| given.get(name)?.as_array()));
    let system = ["system", "instructions", "system_instruction"].iter().find_map(|name| given.get(name));
    let is_conversation = list.is_some_and(|list| !list.is_empty() && list.iter().all(is_message));
    if let (Some(list), true) = (list, is_conversation) {
        let system = system.filter(|system| !system.is_null()).map(|system| Message::new("system", parts(system)));
        return system.into_iter().chain(list.iter().map(message)).collect();
    }
    match given {
        Value::Object(object) if object.is_empty() => Vec::new(),
        other => {
            let parts = parts(other);
            let [role, _] = subject.roles(is_written(&parts));
            if parts.is_empty() { Vec::new() } else { vec![Message::new(role, parts)] }
        }
    }
}

/// Returns the messages in an output, with the reasoning and the tool calls of the metadata.
pub(super) fn output(subject: Subject, returned: &Value, metadata: &Value) -> Vec<Message> {
    let calls = metadata.get("tool_calls").and_then(Value::as_array);
    let mut message = match returned {
        Value::Null => Message::new("assistant", Vec::new()),
        Value::Array(list) if !list.is_empty() && list.iter().all(is_message) => {
            return list.iter().map(|each| message(each).of_output()).collect();
        }
        other if is_message(other) => message(other),
        // The official SDKs record tool calls as such a text if the output has no other.
        Value::String(text) if calls.is_some() && text.starts_with("[tool calls] ") => {
            Message::new("assistant", Vec::new())
        }
        other => {
            let parts = parts(other);
            let [_, role] = subject.roles(is_written(&parts));
            Message::new(role, parts)
        }
    };
    if let Some(reasoning) = metadata.get("reasoning").map(words).filter(|text| !text.is_empty()) {
        message.parts.insert(0, MessagePart::Reasoning { nodes: super::nodes(&reasoning) });
    }
    let has_calls = message.parts.iter().any(|part| matches!(part, MessagePart::ToolCall { .. }));
    if !has_calls {
        message.parts.extend(calls.into_iter().flatten().map(call));
    }
    if message.parts.is_empty() { Vec::new() } else { vec![message.of_output()] }
}

/// Returns true unless all parts are data. An empty text has no parts, and is not data.
fn is_written(parts: &[MessagePart]) -> bool {
    parts.is_empty() || parts.iter().any(|part| !matches!(part, MessagePart::Json { .. }))
}

/// Adds the results of tools to their calls.
pub(super) fn join(messages: &mut Vec<Message>, answers: &[Answered]) {
    let mut given_results: Vec<(String, Value)> = Vec::new();
    let has_call = |messages: &[Message], id: &str| {
        let is = |part: &MessagePart| matches!(part, MessagePart::ToolCall { id: Some(known), .. } if known == id);
        messages.iter().any(|message| message.parts.iter().any(is))
    };
    let mut at = 0;
    while let Some(message) = messages.get(at) {
        match message.answers.clone().filter(|id| has_call(messages, id)) {
            Some(id) => {
                let message = messages.remove(at);
                given_results.push((id, plain(&message)));
            }
            None => at += 1,
        }
    }
    for part in messages.iter_mut().flat_map(|message| &mut message.parts) {
        let MessagePart::ToolCall { id: Some(id), result, error, span_id, .. } = part else { continue };
        if let Some(found) = answers.iter().find(|answer| answer.call_id == *id) {
            (*span_id, *error) = (Some(found.span_id.clone()), found.error.clone());
            *result = result.take().or_else(|| found.output.clone());
        }
        if let Some((_, value)) = given_results.iter().find(|(given_results, _)| given_results == id) {
            *result = Some(value.clone());
        }
    }
}

/// Returns the content of a tool message as a value.
fn plain(message: &Message) -> Value {
    match message.parts.as_slice() {
        [MessagePart::Json { value }] => value.clone(),
        parts => serde_json::to_value(parts).unwrap_or_default(),
    }
}

fn is_message(value: &Value) -> bool {
    let has = |name: &str| value.get(name).is_some();
    value.get("role").is_some_and(Value::is_string) && (has("content") || has("parts") || has("tool_calls"))
}

fn message(value: &Value) -> Message {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let role = text("role").unwrap_or_default();
    let answers = text("tool_call_id").or_else(|| answered(value));
    let mut found =
        Message { name: text("name"), ..Message::new(if role == "model" { "assistant" } else { &role }, Vec::new()) };
    if let Some(reasoning) =
        ["reasoning", "reasoning_content"].iter().find_map(|name| value.get(name)).filter(|it| !it.is_null())
    {
        found.parts.push(MessagePart::Reasoning { nodes: super::nodes(&words(reasoning)) });
    }
    let content = value.get("content").filter(|content| !content.is_null()).or_else(|| value.get("parts"));
    // The result of a tool is data, and is shown as JSON.
    match content {
        Some(content) if answers.is_some() => found.parts.push(MessagePart::Json { value: content.clone() }),
        Some(content) => found.parts.extend(parts(content)),
        None => {}
    }
    found.parts.extend(value.get("tool_calls").and_then(Value::as_array).into_iter().flatten().map(call));
    found.answers = answers;
    found
}

/// Returns the tool call id of an Anthropic message that has only a tool result.
fn answered(value: &Value) -> Option<String> {
    match value.get("content")?.as_array()?.as_slice() {
        [part] if part.get("type")? == "tool_result" => part.get("tool_use_id")?.as_str().map(str::to_owned),
        _ => None,
    }
}

fn parts(content: &Value) -> Vec<MessagePart> {
    match content {
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![MessagePart::text(text)],
        Value::Array(list) if list.iter().all(|part| part.is_object() || part.is_string()) => {
            list.iter().flat_map(part).collect()
        }
        Value::Object(object) if object.contains_key("parts") => object.get("parts").map(parts).unwrap_or_default(),
        other => vec![MessagePart::Json { value: other.clone() }],
    }
}

fn part(value: &Value) -> Vec<MessagePart> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match text("type").unwrap_or_default() {
        "tool_use" | "tool_call" | "function_call" => return vec![call(value)],
        "thinking" | "reasoning" => {
            let text = ["thinking", "text", "content"].iter().find_map(|name| text(name)).unwrap_or_default();
            return vec![MessagePart::Reasoning { nodes: super::nodes(text) }];
        }
        "image" | "image_url" | "input_image" | "audio" | "input_audio" | "video" | "file" | "input_file"
        | "document" | "blob" | "uri" => return vec![media(value)],
        _ => {}
    }
    if let Some(call_of_gemini) = value.get("functionCall").or_else(|| value.get("function_call")) {
        return vec![call(call_of_gemini)];
    }
    if value.get("inline_data").or_else(|| value.get("inlineData")).is_some() {
        return vec![media(value)];
    }
    match value.as_str().or_else(|| text("text")) {
        Some("") => Vec::new(),
        Some(text) => vec![MessagePart::text(text)],
        None => vec![MessagePart::Json { value: value.clone() }],
    }
}

fn call(value: &Value) -> MessagePart {
    let inner = value.get("function").filter(|function| function.is_object()).unwrap_or(value);
    let given = ["arguments", "input", "args"].iter().find_map(|name| inner.get(name)).cloned().unwrap_or_default();
    // Arguments may be a string that contains JSON.
    let arguments = given.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(given);
    let text = |from: &Value, name: &str| from.get(name).and_then(Value::as_str).map(str::to_owned);
    MessagePart::ToolCall {
        id: text(value, "id").or_else(|| text(value, "call_id")),
        name: text(inner, "name").unwrap_or_default(),
        arguments,
        result: None,
        error: None,
        span_id: None,
    }
}

/// Converts an image with data, or a reference to media.
fn media(value: &Value) -> MessagePart {
    let source = ["source", "image_url", "input_audio", "file", "inline_data", "inlineData"]
        .iter()
        .find_map(|name| value.get(name))
        .unwrap_or(value);
    let find = |names: &[&str]| {
        names.iter().find_map(|name| source.get(name).or_else(|| value.get(name))?.as_str().map(str::to_owned))
    };
    let kind = find(&["kind", "modality"])
        .or_else(|| value.get("type")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| "file".into());
    let reference = source
        .as_str()
        .map(str::to_owned)
        .or_else(|| find(&["file_data"]).filter(|data| data.starts_with("data:")))
        .or_else(|| find(&["url", "uri", "file_id"]))
        .unwrap_or_default();
    let name = find(&["filename", "file_name"]);
    let inline = reference.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    let (mime_type, data) = match inline {
        Some((mime, data)) => (Some(mime.to_owned()), Some(data.to_owned())),
        None => (find(&["media_type", "mime_type", "mimeType", "format"]), find(&["data", "content", "file_data"])),
    };
    match (mime_type, data) {
        (Some(mime_type), Some(data)) if IMAGES.contains(&mime_type.as_str()) && data.len() <= IMAGE_BYTES => {
            MessagePart::Image { mime_type, data }
        }
        (mime, Some(data)) => {
            let size = format!("about {} bytes", data.len() / 4 * 3);
            let known: Vec<String> = [name, mime, Some(size)].into_iter().flatten().collect();
            MessagePart::Media { kind, reference: known.join(", ") }
        }
        (_, None) => {
            let known = if reference.is_empty() { name.unwrap_or_default() } else { reference };
            MessagePart::Media { kind, reference: known.chars().take(2_000).collect() }
        }
    }
}

/// Converts a value to text.
fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join("\n\n"),
        Value::Object(object) => ["text", "thinking", "summary", "content"]
            .iter()
            .find_map(|name| object.get(*name))
            .map(words)
            .unwrap_or_default(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Conversation;
    use super::*;
    use retrace_protocol::Json;
    use serde_json::json;

    fn of(given: &Value, returned: &Value, metadata: &Value, answers: &[Answered]) -> Value {
        let [given, returned, metadata] = [given, returned, metadata].map(Json::from);
        let found = Conversation::of(Subject::Conversation, Some(&given), Some(&returned), Some(&metadata), answers);
        serde_json::to_value(found).unwrap()["messages"].take()
    }

    #[test]
    fn roles_are_those_of_the_record() {
        let roles = |subject, given: Value, returned: Value| {
            let found = Conversation::of(subject, Some(&Json::from(&given)), Some(&Json::from(&returned)), None, &[]);
            found.messages.into_iter().map(|message| message.role).collect::<Vec<_>>()
        };
        let call = json!({"args": [], "kwargs": {"question": "Why?"}});
        for (subject, given, returned, expected) in [
            (Subject::Conversation, json!("Why?"), json!("So."), ["user", "assistant"]),
            (Subject::Conversation, call.clone(), json!("So."), ["input", "assistant"]),
            (Subject::Conversation, json!("Why?"), json!({"answer": 1}), ["user", "output"]),
            (Subject::Tool, json!({"city": "Bergen"}), json!("fog"), ["arguments", "result"]),
            (Subject::Tool, json!("Bergen"), json!([1, 2]), ["arguments", "result"]),
            (Subject::Step, call, json!("So."), ["input", "output"]),
            (
                Subject::Step,
                json!({"messages": [{"role": "user", "content": "Why?"}]}),
                json!("So."),
                ["user", "output"],
            ),
        ] {
            assert_eq!(roles(subject, given.clone(), returned), expected, "{subject:?} {given}");
        }
    }

    #[test]
    fn tool_calls_beside_an_empty_answer_are_those_of_the_assistant() {
        let metadata = json!({"tool_calls": [{"id": "c", "name": "look", "arguments": {}}]});
        for returned in [json!(""), json!([]), Value::Null] {
            let messages = of(&Value::Null, &returned, &metadata, &[]);
            assert_eq!(messages[0]["role"], "assistant", "{returned}");
        }
    }

    #[test]
    fn media_of_other_providers_are_named_and_not_printed() {
        let part = |part: Value| {
            of(&json!([{"role": "user", "content": [part]}]), &Value::Null, &Value::Null, &[])[0]["parts"][0].clone()
        };
        let named =
            |found: Value| format!("{}: {}", found["kind"].as_str().unwrap(), found["reference"].as_str().unwrap());
        let sound = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
        assert_eq!(named(part(sound)), "input_audio: wav, about 3 bytes");
        let file =
            json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}});
        assert_eq!(named(part(file)), "file: a.pdf, application/pdf, about 3 bytes");
        let bare = json!({"type": "input_file", "filename": "c.pdf", "file_data": "AAAAAAAA"});
        assert_eq!(named(part(bare)), "input_file: c.pdf, about 6 bytes");
        let stored = json!({"type": "input_file", "filename": "b.pdf"});
        assert_eq!(named(part(stored)), "input_file: b.pdf");
        let blob = json!({"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA"});
        assert_eq!(part(blob), json!({"type": "image", "mime_type": "image/png", "data": "AAAA"}));
        let uri = json!({"type": "uri", "modality": "video", "uri": "gs://bucket/v.mp4"});
        assert_eq!(named(part(uri)), "video: gs://bucket/v.mp4");
    }

    #[test]
    fn an_openai_history_is_joined_with_what_tools_answered() {
        let given = json!({"messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "18"},
            {"role": "tool", "tool_call_id": "lost", "content": "19"},
        ]});
        let found = of(&given, &json!("Done."), &json!({"reasoning": "Hm"}), &[]);
        assert_eq!(found[1]["parts"][1], json!({"type": "image", "mime_type": "image/png", "data": "AAAA"}));
        let call = &found[2]["parts"][0];
        assert_eq!((&call["name"], &call["arguments"], &call["result"]), (&json!("f"), &json!({"a": 1}), &json!("18")));
        assert_eq!((&found[3]["role"], &found[3]["answers"]), (&json!("tool"), &json!("lost")));
        assert_eq!(found[4]["is_output"], true);
        assert_eq!(
            found[4]["parts"],
            json!([{"type": "reasoning", "nodes": [["p", "Hm"]]}, {"type": "text", "nodes": [["p", "Done."]]}])
        );
    }

    #[test]
    fn anthropic_and_gemini_are_read_too() {
        let given = json!({"system": "S", "messages": [
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "T"}, {"type": "tool_use", "id": "u", "name": "f", "input": {"x": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u", "content": "ok"}]},
        ]});
        let found = of(&given, &Value::Null, &Value::Null, &[]);
        assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
        assert_eq!(found[1]["parts"][1]["result"][0]["content"], "ok");
        let gemini = json!({"contents": [{"role": "model", "parts": [{"text": "A"}, {"functionCall": {"name": "g", "args": {"y": 2}}}]}]});
        let found = of(&gemini, &Value::Null, &Value::Null, &[]);
        assert_eq!((&found[0]["role"], &found[0]["parts"][1]["arguments"]["y"]), (&json!("assistant"), &json!(2)));
    }

    #[test]
    fn calls_of_the_answer_have_the_spans_that_ran_them() {
        let metadata = json!({"tool_calls": [{"id": "c", "name": "f", "arguments": {"a": 1}}]});
        let answers =
            [Answered { call_id: "c".into(), span_id: "s".into(), output: Some(json!(5)), error: Some("E".into()) }];
        let found = of(&json!([]), &json!("[tool calls] f({})"), &metadata, &answers);
        assert_eq!(found[0]["parts"].as_array().unwrap().len(), 1, "{found}");
        let call = &found[0]["parts"][0];
        assert_eq!((&call["span_id"], &call["result"], &call["error"]), (&json!("s"), &json!(5), &json!("E")));
    }

    #[test]
    fn what_is_no_conversation_is_shown_as_it_is() {
        let found = of(&json!({"args": ["Lisbon"]}), &json!([1, 2]), &Value::Null, &[]);
        assert_eq!(found[0]["parts"][0], json!({"type": "json", "value": {"args": ["Lisbon"]}}));
        assert_eq!(found[1]["parts"][0]["value"], json!([1, 2]));
        let evil = json!({"messages": [{"role": "user", "content": [{"type": "image", "source": {"media_type": "image/svg+xml", "data": "PHN2Zz4="}}]}]});
        assert_eq!(of(&evil, &Value::Null, &Value::Null, &[])[0]["parts"][0]["type"], "media");
    }

    #[test]
    fn what_is_very_large_is_cut() {
        let found = of(&Value::Null, &json!("x".repeat(10_000_000)), &Value::Null, &[]);
        assert!(found.to_string().len() < 200_000);
        assert!(found[0]["parts"][0]["cut"].as_u64().unwrap() > 9_000_000);
    }
}
