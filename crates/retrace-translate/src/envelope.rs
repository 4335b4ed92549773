//! Requests and answers as the APIs of providers have them, recorded whole: messages and what goes with them.
//!
//! Dialects that record what any function was given and returned, rather than a form of their own, record a call of a
//! model like this.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::chat;
use crate::members::{Members, elements};
use crate::messages::{Part, Turn, label_of, text_of};
use crate::nested::Nested;
use crate::slot::{Slot, Slots};

/// What else is in a request.
pub(crate) const REQUEST: Nested = Nested {
    key: "",
    members: &[
        ("model", Slot::RequestModel),
        ("temperature", Slot::Temperature),
        ("top_p", Slot::TopP),
        ("top_k", Slot::TopK),
        ("max_tokens", Slot::MaxTokens),
        ("max_completion_tokens", Slot::MaxTokens),
        ("max_output_tokens", Slot::MaxTokens),
        ("frequency_penalty", Slot::FrequencyPenalty),
        ("presence_penalty", Slot::PresencePenalty),
        ("stop", Slot::StopSequences),
        ("stop_sequences", Slot::StopSequences),
        ("seed", Slot::Seed),
        ("n", Slot::ChoiceCount),
        ("stream", Slot::Streaming),
        ("tools", Slot::ToolDefinitions),
    ],
};

/// What else is in an answer.
pub(crate) const ANSWER: Nested =
    Nested { key: "", members: &[("model", Slot::ResponseModel), ("id", Slot::ResponseId)] };

/// The members of a request that are said as messages.
const ASKED: [&[&str]; 4] = [&["messages"], &["input", "inputs"], &["contents"], &["prompt"]];
/// The members that are said as instructions.
const INSTRUCTIONS: &[&str] = &["system", "instructions", "systemInstruction", "system_instruction"];
/// The members of an answer that are nothing but what was said.
const SAID: [&str; 7] = ["role", "content", "text", "message", "combined_chunk_content", "tool_calls", "finish_reason"];

/// Whether the record has all of a request or an answer whose messages it has.
pub(crate) fn is_told(slot: Slot, slots: &Slots<'_>) -> bool {
    let Some(value) = slots.value(slot) else { return false };
    if !value.as_json_text().is_some_and(|text| text.trim_start().starts_with('{')) {
        return true;
    }
    if slot == Slot::Input {
        let is_said = |name: &str| ASKED.iter().copied().flatten().chain(INSTRUCTIONS).any(|said| *said == name);
        REQUEST.is_told(value, slots, is_said)
    } else {
        ANSWER.is_told(value, slots, |name| SAID.contains(&name))
    }
}

/// The messages of a request; `None` when there are none in a known shape.
pub(crate) fn asked(json: &str) -> Option<Vec<Turn<'_>>> {
    let Some(members) = Members::read(json) else { return list(json) };
    if members.get(&["role"]).is_some() {
        return chat::messages(json);
    }
    let history = ASKED.iter().find_map(|names| said(members.get(names)?))?;
    let instructions = members.get(INSTRUCTIONS).map(|raw| {
        let content =
            members.object(INSTRUCTIONS).and_then(|content| content.get(&["parts", "content"])).unwrap_or(raw);
        Turn { role: Cow::Borrowed("system"), parts: chat::parts_of(content), ..Turn::default() }
    });
    Some(instructions.into_iter().chain(history).collect())
}

/// A text of the user's, or a list of messages, or of texts.
fn said(raw: &RawValue) -> Option<Vec<Turn<'_>>> {
    if let Some(text) = text_of(raw) {
        return Some(vec![user(Part::Text(text))]);
    }
    list(raw.get())
}

/// A list of messages, or of texts.
fn list(json: &str) -> Option<Vec<Turn<'_>>> {
    let json = json.trim();
    let listed: Vec<&RawValue> = json.starts_with('[').then(|| serde_json::from_str(json).ok()).flatten()?;
    if listed.is_empty() {
        return None;
    }
    match listed.iter().map(|raw| text_of(raw)).collect::<Option<Vec<_>>>() {
        Some(texts) => Some(texts.into_iter().map(|text| user(Part::Text(text))).collect()),
        None => chat::messages(json),
    }
}

fn user(part: Part<'_>) -> Turn<'_> {
    Turn { role: Cow::Borrowed("user"), parts: vec![part], ..Turn::default() }
}

/// What was answered; `None` when there is nothing in a known shape.
pub(crate) fn answered(json: &str) -> Option<Vec<Turn<'_>>> {
    let Some(members) = Members::read(json) else { return chat::messages(json) };
    if let Some(choices) = members.list(&["choices", "candidates"]) {
        return choices.into_iter().map(chat::message).map(|turn| turn.map(assistant)).collect();
    }
    if let Some(items) = members.list(&["output"]) {
        // Items of one response.
        let turns: Vec<_> = items.into_iter().map(chat::message).collect::<Option<_>>()?;
        let parts = turns.into_iter().flat_map(|turn| turn.parts).collect();
        return Some(vec![assistant(Turn { parts, ..Turn::default() })]);
    }
    if let Some(message) = members.get(&["message"]).filter(|raw| raw.get().starts_with('{')) {
        return Some(vec![assistant(chat::message(message)?)]);
    }
    if let Some(content) = members.get(&["content", "text", "combined_chunk_content"]) {
        if members.get(&["role"]).is_some() {
            return chat::messages(json);
        }
        let is_content = text_of(content).is_some() || elements(content).is_some();
        let finish_reason = members.get(&["finish_reason", "stop_reason"]).and_then(label_of);
        let turn = Turn { parts: chat::parts_of(content), finish_reason, ..Turn::default() };
        return is_content.then(|| vec![assistant(turn)]);
    }
    members.get(&["role", "tool_calls"]).and_then(|_| chat::messages(json))
}

fn assistant(turn: Turn<'_>) -> Turn<'_> {
    Turn { role: Cow::Borrowed("assistant"), ..turn }
}
