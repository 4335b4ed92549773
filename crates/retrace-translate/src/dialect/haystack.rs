//! Haystack: `haystack.*`, every structured value a JSON text.
//!
//! Spans and tags follow `haystack/tracing` and `haystack/components/agents/agent.py` of its repository: those of components,
//! and the steps of an agent that version 3 writes instead. They have inputs and outputs if content tracing is on. Model and
//! usage are in the metadata of a reply.

use std::borrow::Cow;

use serde_json::value::RawValue;
use smallvec::smallvec;

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::Nested;
use crate::json::text_of;
use crate::json::{JsonObject, elements};
use crate::messages::lists;
use crate::messages::provider_message;
use crate::messages::{Parts, Turn, TurnPart};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("haystack.component.type", Field::Kind),
        ("haystack.component.name", Field::EntityName),
        ("haystack.tool.name", Field::ToolName),
        ("haystack.agent.step.tool.input", Field::ToolArguments),
        ("haystack.agent.step.tool.output", Field::ToolResult),
        ("haystack.pipeline.input_data", Field::Input),
        ("haystack.pipeline.output_data", Field::Output),
        ("haystack.agent.input", Field::Input),
        ("haystack.agent.output", Field::Output),
    ],
    kind_leads: true,
    spans: &["haystack."],
    named,
    nested: &[
        Nested { key: "haystack.component.input", members: &[("", Field::InputMessages)] },
        Nested { key: "haystack.agent.step.llm.input", members: &[("", Field::InputMessages)] },
        Nested { key: "haystack.component.output", members: ANSWER },
        Nested { key: "haystack.agent.step.llm.output", members: ANSWER },
    ],
    marks: &["haystack."],
    operation,
    turns,
    wraps: |_| true,
    ..Dialect::EMPTY
};

const ANSWER: &[(&str, Field)] = &[
    ("", Field::OutputMessages),
    ("replies/0/meta/model", Field::ResponseModel),
    ("replies/0/meta/usage", Field::ProviderUsage),
    ("replies/0/meta/finish_reason", Field::FinishReasons),
    // Text generators keep the metadata beside the replies.
    ("meta/0/model", Field::ResponseModel),
    ("meta/0/usage", Field::ProviderUsage),
    ("meta/0/finish_reason", Field::FinishReasons),
];

/// Returns the class of a component by the last word of its type.
fn operation(kind: &str) -> Option<Class> {
    let ends = |words: &[&str]| words.iter().any(|word| kind.ends_with(word));
    Some(match kind {
        _ if ends(&["Generator", "Embedder"]) => Class::Model,
        "Agent" => Class::Agent,
        _ if ends(&["Retriever", "Ranker", "Invoker", "Builder", "Writer", "Joiner", "Router", "Converter"]) => {
            Class::Action
        }
        _ => return None,
    })
}

fn named(span: &str) -> Option<Class> {
    Some(match span {
        "haystack.agent.step.llm" => Class::Model,
        "haystack.agent.step.tool" => Class::Tool,
        "haystack.pipeline.run" | "haystack.async_pipeline.run" | "haystack.agent.run" | "haystack.agent.step" => {
            Class::Agent
        }
        _ => Class::Action,
    })
}

/// Reads `{"messages":[...]}`, `{"replies":[...]}` or `{"prompt":"..."}`.
fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let members = JsonObject::read(json)?;
    if let Some(prompt) = members.text(&["prompt", "text"]) {
        return Some(vec![Turn { role: "user".into(), parts: smallvec![TurnPart::Text(prompt)], ..Turn::default() }]);
    }
    lists::each(members.list(&["messages", "replies"])?, message)
}

fn message(raw: &RawValue) -> Option<Turn<'_>> {
    if let Some(text) = text_of(raw) {
        return Some(Turn { role: "assistant".into(), parts: smallvec![TurnPart::Text(text)], ..Turn::default() });
    }
    let members = JsonObject::read(raw.get())?;
    let contents = members.get(&["content", "_content"])?;
    let parts: Parts<'_> = match elements(contents) {
        Some(contents) => contents.into_iter().map(part).collect(),
        None => smallvec![text_of(contents).map_or(TurnPart::Other(contents), TurnPart::Text)],
    };
    let role = members.label(&["role", "_role"]).unwrap_or(Cow::Borrowed("user"));
    let finish_reason = members.object(&["meta", "_meta"]).and_then(|meta| meta.label(&["finish_reason"]));
    Some(Turn { role, name: members.label(&["name", "_name"]), parts, finish_reason })
}

fn part(raw: &RawValue) -> TurnPart<'_> {
    let Some(members) = JsonObject::read(raw.get()) else { return TurnPart::Other(raw) };
    if let Some(text) = members.text(&["text"]) {
        return TurnPart::Text(text);
    }
    if let Some(call) = members.get(&["tool_call"]) {
        return provider_message::tool_call(call).unwrap_or(TurnPart::Other(raw));
    }
    let Some(result) = members.object(&["tool_call_result"]) else { return TurnPart::Other(raw) };
    let origin = result.object(&["origin"]);
    let of_origin = |name: &str| origin.as_ref().and_then(|origin| origin.label(&[name]));
    TurnPart::ToolResult { id: of_origin("id"), name: of_origin("tool_name"), result: result.get(&["result"]) }
}
