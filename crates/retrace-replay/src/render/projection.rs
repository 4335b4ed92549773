//! Requests of clients in the form in which runs store conversations.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// Projects a request onto what a run stores of it: the messages, each with its role, its text, its calls of tools and the result
/// that it is. Projecting a projection changes nothing.
///
/// Requests of chat completions, responses, legacy completions, Anthropic, Gemini, Cohere, Ollama, Converse, text-generation-inference
/// and watsonx are understood, and stored conversations. Of another request nothing is left out. Settings such as the temperature are not part of a projection, and ids of
/// calls are not either, since a run may hold others. Media are compared by their kind only.
#[must_use]
pub fn project(request: &Value) -> Value {
    let mut messages = Vec::new();
    for name in ["system", "instructions", "systemInstruction", "system_instruction", "preamble"] {
        if let Some(system) = request.get(name).filter(|system| !system.is_null()) {
            let content = system.get("parts").unwrap_or(system);
            messages.push(message("system", content));
        }
    }
    // Cohere's first version has the last turn beside the others.
    let history = request.get("chat_history").and_then(Value::as_array);
    for turn in history.into_iter().flatten() {
        let is_user = turn.get("role").and_then(Value::as_str).is_none_or(|role| role.eq_ignore_ascii_case("user"));
        let role = if is_user { "user" } else { "assistant" };
        messages.extend(turn.get("message").map(|text| message(role, text)));
    }
    // Empty instructions are none.
    messages.retain(has_something);
    let list = ["messages", "input", "contents", "message", "prompt", "inputs"]
        .iter()
        .find_map(|name| request.get(name).filter(|list| !list.is_null()));
    match list {
        Some(Value::Array(list)) => list.iter().for_each(|each| messages.extend(turns(each))),
        Some(Value::String(text)) => {
            messages.extend(Some(message("user", &Value::from(text.as_str()))).filter(has_something));
        }
        _ if messages.is_empty() => return request.clone(),
        _ => {}
    }
    // One message for each role in turn: APIs differ in where they divide.
    let mut merged: Vec<Map<String, Value>> = Vec::new();
    for message in messages {
        match merged.last_mut().filter(|last| last.get("role") == message.get("role")) {
            Some(last) => merge(last, message),
            None => merged.push(message),
        }
    }
    json!({ "messages": merged })
}

/// Returns true if a message has more than its role. One that has not may have had what is not compared, such as reasoning.
fn has_something(message: &Map<String, Value>) -> bool {
    message.len() > 1
}

fn merge(into: &mut Map<String, Value>, message: Map<String, Value>) {
    for (name, value) in message {
        match (into.get_mut(&name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (Some(_), _) => {}
            (None, value) => _ = into.insert(name, value),
        }
    }
}

/// A message of this content.
fn message(role: &str, content: &Value) -> Map<String, Value> {
    let mut projected = Projected::default();
    projected.content(content);
    projected.into_message(role)
}

#[derive(Default)]
struct Projected {
    texts: Vec<Value>,
    calls: Vec<Value>,
    results: Vec<Value>,
}

impl Projected {
    fn into_message(mut self, role: &str) -> Map<String, Value> {
        let mut message = Map::new();
        if role == "tool" && self.results.is_empty() {
            // The text of a tool is its result, in whichever form it stands.
            match self.texts.len() {
                0 => {}
                1 => self.results.extend(self.texts.drain(..).map(unfolded)),
                _ => self.results.push(std::mem::take(&mut self.texts).into()),
            }
        }
        // What tools return has the role of the user in some APIs, and who calls is the assistant.
        let role = match (role, self.results.is_empty()) {
            (_, false) => "tool",
            ("tool", true) => "assistant",
            (role, true) => role,
        };
        message.insert("role".to_owned(), role.into());
        for (name, list) in [("content", self.texts), ("tool_calls", self.calls), ("results", self.results)] {
            if !list.is_empty() {
                message.insert(name.to_owned(), list.into());
            }
        }
        message
    }

    fn content(&mut self, content: &Value) {
        match content {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => self.texts.push(text.as_str().into()),
            Value::Array(parts) => parts.iter().for_each(|part| self.part(part)),
            Value::Object(_) => self.part(content),
            _ => {}
        }
    }

    /// The calls beside the content of a message.
    fn calls_of(&mut self, message: &Value) {
        for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            let function = call.get("function").unwrap_or(call);
            self.call(function.get("name"), function.get("arguments"));
        }
    }

    fn call(&mut self, name: Option<&Value>, arguments: Option<&Value>) {
        let arguments = match arguments {
            Some(arguments) => unfolded(arguments.clone()),
            None => Value::Null,
        };
        self.calls.push(json!({ "name": name, "arguments": arguments }));
    }

    fn result(&mut self, result: Option<&Value>) {
        let text = |value: &Value| ["text", "json"].iter().find_map(|name| value.get(name).cloned());
        let result = match result {
            Some(Value::Array(parts)) if parts.len() == 1 => {
                parts.iter().find_map(text).unwrap_or_else(|| parts.clone().into())
            }
            Some(other) => other.clone(),
            None => Value::Null,
        };
        self.results.push(unfolded(result));
    }

    fn part(&mut self, part: &Value) {
        // Of a projection already.
        if part.is_string() || part.get("media").is_some() {
            return self.texts.push(part.clone());
        }
        let of = |name: &str| part.get(name).filter(|value| !value.is_null());
        let kind = part.get("type").and_then(Value::as_str);
        if let Some(call) = of("functionCall").or_else(|| of("function_call")) {
            return self.call(call.get("name"), call.get("args").or_else(|| call.get("arguments")));
        }
        if let Some(response) = of("functionResponse").or_else(|| of("function_response")) {
            return self.result(response.get("response"));
        }
        if let Some(call) = of("toolUse") {
            return self.call(call.get("name"), call.get("input"));
        }
        if let Some(result) = of("toolResult") {
            return self.result(result.get("content"));
        }
        match kind {
            Some("tool_use") => self.call(of("name"), of("input")),
            Some("function_call") => self.call(of("name"), of("arguments")),
            Some("tool_result") => self.result(of("content")),
            Some("function_call_output") => self.result(of("output")),
            // Reasoning is sent back by some clients and left out by others.
            Some("thinking" | "redacted_thinking" | "reasoning") => {}
            _ if of("reasoningContent").is_some() || part.get("thought") == Some(&true.into()) => {}
            _ => match of("text").and_then(Value::as_str) {
                Some(text) => self.content(&text.into()),
                None => self.texts.push(json!({ "media": media(part, kind) })),
            },
        }
    }
}

/// JSON that is a text of JSON, since runs store either.
fn unfolded(mut value: Value) -> Value {
    while let Some(inner) = value.as_str().and_then(|text| serde_json::from_str(text).ok()) {
        value = inner;
    }
    value
}

/// The kind of a medium.
fn media(part: &Value, kind: Option<&str>) -> Cow<'static, str> {
    let names = ["image", "audio", "video", "document", "file"];
    let mime = ["inlineData", "inline_data", "fileData", "file_data"]
        .iter()
        .find_map(|name| part.get(name)?.get("mimeType").or_else(|| part.get(name)?.get("mime_type"))?.as_str());
    let described = kind.or(mime).unwrap_or_default();
    let member = || names.iter().find(|name| part.get(name).is_some());
    match names.iter().find(|name| described.contains(**name)).or_else(member) {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Borrowed("other"),
    }
}

/// The messages of an element of the conversation.
fn turns(each: &Value) -> Option<Map<String, Value>> {
    if let Some(text) = each.as_str() {
        return Some(message("user", &text.into()));
    }
    let role = match each.get("role").and_then(Value::as_str) {
        Some("model" | "assistant" | "CHATBOT") => "assistant",
        Some("developer" | "system") => "system",
        Some("tool" | "function") => "tool",
        Some(other) => other,
        None if each.get("type").and_then(Value::as_str) == Some("function_call") => "assistant",
        None => "user",
    };
    let mut projected = Projected::default();
    if role == "tool" && each.get("parts").is_none() {
        let has_blocks = |content: &Value| {
            content.as_array().is_some_and(|parts| {
                parts
                    .iter()
                    .any(|part| part.get("toolResult").is_some() || part.get("type") == Some(&"tool_result".into()))
            })
        };
        match (each.get("results"), each.get("content")) {
            // A projection already.
            (Some(Value::Array(results)), content) => {
                projected.results.clone_from(results);
                content.into_iter().for_each(|content| projected.content(content));
                projected.calls_of(each);
            }
            (_, Some(content)) if has_blocks(content) => projected.content(content),
            (_, content) => projected.result(content),
        }
        return Some(projected.into_message(role));
    }
    match each.get("content").or_else(|| each.get("parts")) {
        Some(content) => projected.content(content),
        None if each.get("role").is_none() => projected.part(each),
        None => {}
    }
    projected.calls_of(each);
    Some(projected.into_message(role)).filter(has_something)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conversation of a tool's round trip, as each API writes it.
    fn conversations() -> Vec<Value> {
        let given = json!({ "harbour": "Oslo" });
        let text = given.to_string();
        vec![
            json!({ "model": "m", "temperature": 0, "messages": [{ "role": "system", "content": "Be terse." }, { "role": "user", "content": "When?" },
                { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "tide", "arguments": text } }] },
                { "role": "tool", "tool_call_id": "c1", "content": "six" }] }),
            json!({ "messages": [{ "role": "system", "content": "Be terse." }, { "role": "user", "content": "When?" },
                { "role": "assistant", "content": "", "tool_calls": [{ "id": "c9", "name": "tide", "arguments": given }] },
                { "role": "tool", "tool_call_id": "c9", "content": "six" }] }),
            json!({ "instructions": "Be terse.", "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "When?" }] }, { "type": "reasoning", "summary": [] },
                { "type": "function_call", "call_id": "c1", "name": "tide", "arguments": text }, { "type": "function_call_output", "call_id": "c1", "output": "six" }] }),
            json!({ "system": "Be terse.", "messages": [{ "role": "user", "content": "When?" },
                { "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm" }, { "type": "tool_use", "id": "c1", "name": "tide", "input": given }] },
                { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "c1", "content": [{ "type": "text", "text": "six" }] }] }] }),
            json!({ "systemInstruction": { "parts": [{ "text": "Be terse." }] }, "contents": [{ "role": "user", "parts": [{ "text": "When?" }] },
                { "role": "model", "parts": [{ "functionCall": { "name": "tide", "args": given } }] },
                { "role": "user", "parts": [{ "functionResponse": { "name": "tide", "response": "six" } }] }] }),
            json!({ "system": [{ "text": "Be terse." }], "messages": [{ "role": "user", "content": [{ "text": "When?" }] },
                { "role": "assistant", "content": [{ "toolUse": { "toolUseId": "c1", "name": "tide", "input": given } }] },
                { "role": "user", "content": [{ "toolResult": { "toolUseId": "c1", "content": [{ "text": "six" }] } }] }] }),
        ]
    }

    #[test]
    fn one_conversation_has_one_projection() {
        let expected = json!({ "messages": [{ "role": "system", "content": ["Be terse."] }, { "role": "user", "content": ["When?"] },
            { "role": "assistant", "tool_calls": [{ "name": "tide", "arguments": { "harbour": "Oslo" } }] }, { "role": "tool", "results": ["six"] }] });
        for conversation in conversations() {
            assert_eq!(project(&conversation), expected, "{conversation:#}");
        }
        assert_eq!(project(&expected), expected);
    }

    #[test]
    fn a_projection_of_a_projection_is_the_same() {
        let result = json!({ "type": "tool_result", "tool_use_id": "c1", "content": "six" });
        let text = json!({ "type": "text", "text": "And then?" });
        let call = json!({ "functionCall": { "name": "f", "args": {} } });
        for message in [
            json!({ "role": "user", "content": [result, text] }),
            json!({ "role": "tool", "content": [result, text], "tool_calls": [{ "name": "f", "arguments": "{}" }] }),
            json!({ "role": "function", "parts": [{ "inlineData": {} }] }),
            json!({ "role": "function", "parts": [{ "text": "six" }, { "text": "seven" }] }),
            json!({ "role": "function", "parts": [call] }),
            json!({ "role": "function", "parts": [{ "text": "six" }, call] }),
            json!({ "role": "assistant", "tool_calls": [{ "name": "f", "arguments": "\"\\\"5\\\"\"" }] }),
            json!({ "role": "tool", "content": "\"\\\"5\\\"\"" }),
            json!({ "role": "user", "content": "" }),
        ] {
            for system in [Value::Null, "".into(), "Be terse.".into()] {
                let request = json!({ "system": system, "messages": [message, { "role": "user", "content": "hi" }] });
                let once = project(&request);
                assert_eq!(project(&once), once, "{request}");
            }
        }
        let both = project(&json!({ "messages": [{ "role": "user", "content": [result, text] }] }));
        let expected = json!([{ "role": "tool", "content": ["And then?"], "results": ["six"] }]);
        assert_eq!(both["messages"], expected);
        for empty in [json!({ "input": "" }), json!({ "system": "", "input": "" }), json!({ "system": "" })] {
            assert_eq!(project(&project(&empty)), project(&empty), "{empty}");
        }
    }

    #[test]
    fn what_a_tool_says_is_its_result_in_every_form() {
        let of = |message: Value| project(&json!({ "messages": [message] }));
        let expected = of(json!({ "role": "tool", "content": "{\"at\":6}" }));
        assert_eq!(of(json!({ "role": "function", "parts": [{ "text": "{\"at\":6}" }] })), expected);
    }

    #[test]
    fn what_differs_stays_different() {
        let with = |content: Value| project(&json!({ "messages": [{ "role": "user", "content": content }] }));
        assert_ne!(with("a".into()), with("b".into()));
        assert_ne!(
            with("a".into()),
            with(json!([{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": {} }]))
        );
        let projected = with(json!([{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": {} }]));
        assert_eq!(project(&projected), projected);
        let odd = json!({ "query": "tides" });
        assert_eq!(project(&odd), odd);
    }
}
