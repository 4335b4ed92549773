//! Ollama's chat: <https://github.com/ollama/ollama/blob/main/docs/api.md>.

use serde_json::Value;

use super::openai_chat::tokens;
use super::text::{count, input, object, pieces, text};
use super::{Answer, ChoicePart, Documents, NotReplayable};

pub(super) fn render(answer: &Answer, streamed: bool) -> Result<Documents, NotReplayable> {
    let choice = answer.only_choice()?;
    let (mut thinking, mut content, mut calls): (Option<&str>, Option<&str>, Vec<Value>) = Default::default();
    for part in &choice.parts {
        let (place, written) = match part {
            ChoicePart::Text(text) => (&mut content, text),
            ChoicePart::Reasoning(text) => (&mut thinking, text),
            ChoicePart::Refusal(_) => {
                return Err(NotReplayable::new("the answer has a refusal as a part, and a message has none"));
            }
            ChoicePart::Provider(part) => return Err(part.refusal()),
            ChoicePart::ToolCall { id, name, arguments } => {
                let given = arguments.as_ref().map(input);
                let function = object([("name", Some(name.as_str().into())), ("arguments", given)]);
                calls.push(object([("id", text(id.as_ref())), ("function", Some(function))]));
                continue;
            }
        };
        if place.replace(written).is_some() {
            return Err(NotReplayable::new("the answer has several texts of one kind, and a message has one"));
        }
    }
    let message = |thinking: Option<&str>, content: &str, calls: &[Value]| {
        object([
            ("role", Some("assistant".into())),
            ("content", Some(content.into())),
            ("thinking", thinking.map(Value::from)),
            ("tool_calls", (!calls.is_empty()).then(|| calls.to_vec().into())),
        ])
    };
    let tokens = tokens(answer);
    let line = |message: Value, done: bool| {
        object([
            ("model", Some(answer.model.clone().unwrap_or_default().into())),
            ("created_at", Some("1970-01-01T00:00:00Z".into())),
            ("message", Some(message)),
            ("done_reason", text(choice.finish_reason.as_ref().filter(|_| done))),
            ("done", Some(done.into())),
            ("prompt_eval_count", count(answer.usage.input.filter(|_| done))),
            ("eval_count", count(answer.usage.output.filter(|_| done))),
            ("logprobs", (done && !tokens.is_empty()).then(|| tokens.clone().into())),
        ])
    };
    if !streamed {
        return Ok(Documents::whole(&line(message(thinking, content.unwrap_or_default(), &calls), true)));
    }
    let mut lines: Vec<Value> = Vec::new();
    lines.extend(pieces(thinking.unwrap_or_default()).map(|piece| line(message(Some(piece), "", &[]), false)));
    lines.extend(pieces(content.unwrap_or_default()).map(|piece| line(message(None, piece, &[]), false)));
    if !calls.is_empty() {
        lines.push(line(message(None, "", &calls), false));
    }
    lines.push(line(message(None, "", &[]), true));
    Ok(Documents::lines(&lines))
}
