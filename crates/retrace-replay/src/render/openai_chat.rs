//! Chat completions: <https://platform.openai.com/docs/api-reference/chat>.

use serde_json::{Value, json};

use super::text::{arguments, count, object, pieces, set, text};
use super::{Answer, Choice, ChoicePart, Documents, NotReplayable, Usage};

/// A message takes one text of each kind, and then calls: in this order.
struct Message<'a> {
    reasoning: Option<&'a str>,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    calls: Vec<(Option<&'a String>, &'a str, Option<&'a Value>)>,
}

impl<'a> Message<'a> {
    fn of(choice: &'a Choice) -> Result<Self, NotReplayable> {
        let mut message = Self { reasoning: None, content: None, refusal: None, calls: Vec::new() };
        for part in &choice.parts {
            let (place, text) = match part {
                ChoicePart::Text(text) => (&mut message.content, text),
                ChoicePart::Reasoning(text) => (&mut message.reasoning, text),
                ChoicePart::Refusal(text) => (&mut message.refusal, text),
                ChoicePart::Provider(part) => return Err(part.refusal()),
                ChoicePart::ToolCall { id, name, arguments } => {
                    message.calls.push((id.as_ref(), name, arguments.as_ref()));
                    continue;
                }
            };
            if place.replace(text).is_some() {
                return Err(NotReplayable::new("the answer has several texts of one kind, and a chat message has one"));
            }
        }
        Ok(message)
    }
}

pub(super) fn usage(usage: &Usage) -> Option<Value> {
    let details = |members: [(&str, Option<u64>); 2]| {
        let members = members.map(|(name, value)| (name, count(value)));
        members.iter().any(|(_, value)| value.is_some()).then(|| object(members))
    };
    (!usage.is_empty()).then(|| {
        object([
            ("prompt_tokens", count(usage.input)),
            ("completion_tokens", count(usage.output)),
            ("total_tokens", count(usage.total())),
            (
                "prompt_tokens_details",
                details([("cached_tokens", usage.cache_read), ("cache_write_tokens", usage.cache_creation)]),
            ),
            ("completion_tokens_details", details([("reasoning_tokens", usage.reasoning), ("", None)])),
        ])
    })
}

/// Tokens, whose texts no run records: an id stands in the place of a text, as vLLM writes it.
pub(super) fn tokens(answer: &Answer) -> Vec<Value> {
    let count = answer.logprobs.len().max(answer.token_ids.len());
    (0..count)
        .map(|at| {
            let token = answer.token_ids.get(at).map(|id| format!("token_id:{id}")).unwrap_or_default();
            object([
                ("token", Some(token.into())),
                ("logprob", answer.logprobs.get(at).map(|logprob| json!(logprob))),
                ("bytes", Some(Value::Null)),
                ("top_logprobs", Some(json!([]))),
            ])
        })
        .collect()
}

fn head(answer: &Answer, kind: &str, choices: Vec<Value>, usage: Option<Value>) -> Value {
    object([
        ("id", Some(answer.id.clone().unwrap_or_default().into())),
        ("object", Some(kind.into())),
        ("created", Some(answer.created.into())),
        ("model", Some(answer.model.clone().unwrap_or_default().into())),
        ("service_tier", text(answer.service_tier.as_ref())),
        ("system_fingerprint", text(answer.system_fingerprint.as_ref())),
        ("choices", Some(choices.into())),
        ("usage", usage),
    ])
}

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    if answer.choices.is_empty() {
        answer.only_choice()?;
    }
    if streamed { stream(answer) } else { whole(answer) }
}

fn call(id: Option<&String>, name: &str, arguments: &str) -> Value {
    let function = json!({ "name": name, "arguments": arguments });
    object([("id", text(id)), ("type", Some("function".into())), ("function", Some(function))])
}

fn whole(answer: &Answer) -> Result<Documents, NotReplayable> {
    let mut choices = Vec::new();
    for (index, choice) in answer.choices.iter().enumerate() {
        let Message { reasoning, content, refusal, calls } = Message::of(choice)?;
        let in_content = reasoning.filter(|_| answer.reasoning_in_content);
        let content = match in_content {
            Some(reasoning) => {
                let thinking = json!({ "type": "thinking", "thinking": [{ "type": "text", "text": reasoning }] });
                let text = content.map(|text| json!({ "type": "text", "text": text }));
                std::iter::once(thinking).chain(text).collect()
            }
            None => content.map_or(Value::Null, Value::from),
        };
        let list = calls.iter().map(|(id, name, given)| call(*id, name, &arguments(*given)));
        let message = object([
            ("role", Some("assistant".into())),
            ("content", Some(content)),
            ("reasoning_content", reasoning.filter(|_| in_content.is_none()).map(Value::from)),
            ("refusal", Some(refusal.map_or(Value::Null, Value::from))),
            ("tool_calls", (!calls.is_empty()).then(|| list.collect())),
        ]);
        let tokens = if index == 0 { tokens(answer) } else { Vec::new() };
        let logprobs = if tokens.is_empty() { Value::Null } else { json!({ "content": tokens, "refusal": null }) };
        choices.push(
            json!({ "index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason }),
        );
    }
    Ok(Documents::whole(&head(answer, "chat.completion", choices, usage(&answer.usage))))
}

fn stream(answer: &Answer) -> Result<Documents, NotReplayable> {
    let mut chunks = Vec::new();
    let mut chunk = |index: usize, delta: Value, reason: Option<&String>, tokens: Vec<Value>| {
        let logprobs = if tokens.is_empty() { Value::Null } else { json!({ "content": tokens, "refusal": null }) };
        let choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason });
        chunks.push(head(answer, "chat.completion.chunk", vec![choice], None));
    };
    for (index, choice) in answer.choices.iter().enumerate() {
        let Message { .. } = Message::of(choice)?;
        let mut tokens = if index == 0 { tokens(answer) } else { Vec::new() };
        chunk(index, json!({ "role": "assistant", "content": "" }), None, Vec::new());
        let mut calls = 0;
        for part in &choice.parts {
            let mut add = |delta| chunk(index, delta, None, std::mem::take(&mut tokens));
            match part {
                ChoicePart::Text(text) => pieces(text).for_each(|piece| add(json!({ "content": piece }))),
                ChoicePart::Refusal(text) => pieces(text).for_each(|piece| add(json!({ "refusal": piece }))),
                ChoicePart::Reasoning(text) if answer.reasoning_in_content => pieces(text).for_each(|piece| {
                    let thinking = json!([{ "type": "text", "text": piece }]);
                    add(json!({ "content": [{ "type": "thinking", "thinking": thinking }] }));
                }),
                ChoicePart::Reasoning(text) => {
                    pieces(text).for_each(|piece| add(json!({ "reasoning_content": piece })));
                }
                ChoicePart::ToolCall { id, name, arguments: given } => {
                    let mut begin = call(id.as_ref(), name, "");
                    set(&mut begin, "index", calls.into());
                    add(json!({ "tool_calls": [begin] }));
                    for piece in pieces(&arguments(given.as_ref())) {
                        add(json!({ "tool_calls": [{ "index": calls, "function": { "arguments": piece } }] }));
                    }
                    calls += 1;
                }
                // Refused above.
                ChoicePart::Provider(_) => {}
            }
        }
        chunk(index, json!({}), choice.finish_reason.as_ref(), tokens);
    }
    if let Some(usage) = usage(&answer.usage) {
        chunks.push(head(answer, "chat.completion.chunk", Vec::new(), Some(usage)));
    }
    Ok(Documents::events(&chunks, false).done())
}
