//! OpenTelemetry's current GenAI conventions: `gen_ai.*` since v1.37, messages as lists of parts.
//!
//! Keys follow the registry of commit 953276ff of the semantic conventions (v1.41 and eleven commits), messages the JSON
//! schemas beside it. Deviations of widespread libraries are read too.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};

use super::{Class, Dialect};
use crate::fields::Field;
use crate::json::{label_of, text_of};
use crate::messages::lists;
use crate::messages::provider_message;
use crate::messages::{Part, Source, Turn, role_label};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    // The names that the conventions give to spans of agents, workflows and tools. `chat` and `plan` are words of everybody's.
    spans: &["create_agent", "execute_tool", "invoke_agent", "invoke_workflow"],
    named: |span| operation(span.split(' ').next()?),
    keys: &[
        ("gen_ai.operation.name", Field::Operation),
        ("gen_ai.provider.name", Field::Provider),
        ("gen_ai.request.model", Field::RequestModel),
        ("gen_ai.request.max_tokens", Field::MaxTokens),
        ("gen_ai.request.choice.count", Field::ChoiceCount),
        ("gen_ai.request.temperature", Field::Temperature),
        ("gen_ai.request.top_p", Field::TopP),
        ("gen_ai.request.top_k", Field::TopK),
        ("gen_ai.request.stop_sequences", Field::StopSequences),
        ("gen_ai.request.frequency_penalty", Field::FrequencyPenalty),
        ("gen_ai.request.presence_penalty", Field::PresencePenalty),
        ("gen_ai.request.seed", Field::Seed),
        ("gen_ai.request.stream", Field::Streaming),
        ("gen_ai.response.id", Field::ResponseId),
        ("gen_ai.response.model", Field::ResponseModel),
        ("gen_ai.response.finish_reasons", Field::FinishReasons),
        ("gen_ai.response.time_to_first_chunk", Field::TimeToFirstChunk),
        ("gen_ai.usage.input_tokens", Field::InputTokens),
        ("gen_ai.usage.output_tokens", Field::OutputTokens),
        ("gen_ai.usage.cache_read.input_tokens", Field::CacheReadTokens),
        ("gen_ai.usage.cache_creation.input_tokens", Field::CacheCreationTokens),
        ("gen_ai.usage.reasoning.output_tokens", Field::ReasoningTokens),
        ("gen_ai.conversation.id", Field::SessionId),
        ("gen_ai.agent.id", Field::AgentId),
        ("gen_ai.agent.name", Field::AgentName),
        ("gen_ai.workflow.name", Field::WorkflowName),
        ("gen_ai.tool.name", Field::ToolName),
        ("gen_ai.tool.call.id", Field::ToolCallId),
        ("gen_ai.tool.call.arguments", Field::ToolArguments),
        ("gen_ai.tool.call.result", Field::ToolResult),
        ("gen_ai.tool.definitions", Field::ToolDefinitions),
        ("gen_ai.output.type", Field::OutputType),
        ("gen_ai.retrieval.query.text", Field::RetrievalQuery),
        ("gen_ai.retrieval.documents", Field::RetrievalDocuments),
        ("gen_ai.system_instructions", Field::SystemInstructions),
        ("gen_ai.input.messages", Field::InputMessages),
        ("gen_ai.output.messages", Field::OutputMessages),
        ("mcp.method.name", Field::McpMethod),
    ],
    events: &["gen_ai.client.inference.operation.details"],
    marks: &["gen_ai.", "mcp."],
    operation,
    turns,
    ..Dialect::EMPTY
};

fn operation(name: &str) -> Option<Class> {
    Some(match name {
        "chat" | "text_completion" | "generate_content" | "embeddings" => Class::Model,
        "execute_tool" => Class::Tool,
        "invoke_agent" | "create_agent" | "invoke_workflow" | "plan" => Class::Agent,
        "retrieval" => Class::Action,
        memory if memory.ends_with("_memory") || memory.ends_with("_memory_store") => Class::Action,
        _ => return None,
    })
}

/// Reads `gen_ai.input.messages`, `gen_ai.output.messages` (a list of messages) or `gen_ai.system_instructions` (a list
/// of parts), each as a JSON text.
pub(super) fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    at_once(json).or_else(|| one_by_one(json))
}

/// Reads messages whose parts are all of known kinds, in one pass; returns `None` for anything else.
fn at_once(json: &str) -> Option<Vec<Turn<'_>>> {
    /// As large as its content, so that a list of these is reused as a list of turns.
    #[derive(Deserialize)]
    #[serde(from = "KnownTurn<'a>")]
    struct Known<'a>(#[serde(borrow)] Turn<'a>);

    impl<'a> From<KnownTurn<'a>> for Known<'a> {
        fn from(turn: KnownTurn<'a>) -> Self {
            Self(Turn {
                role: turn.role.and_then(role_label).unwrap_or(Cow::Borrowed("user")),
                name: turn.name.and_then(label_of),
                parts: turn.parts.into_iter().map(|KnownPart(part)| part).collect(),
                finish_reason: turn.finish_reason.and_then(label_of),
            })
        }
    }

    let turns: Vec<Known<'_>> = serde_json::from_str(json).ok()?;
    Some(turns.into_iter().map(|Known(turn)| turn).collect())
}

/// Reads messages part by part; a part of an unknown kind is kept unchanged.
fn one_by_one(json: &str) -> Option<Vec<Turn<'_>>> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let are_messages = elements.iter().any(|raw| part_alone(raw).is_none() && turn(raw).is_some());
    if !are_messages && elements.iter().any(|raw| part_alone(raw).is_some()) {
        let parts = elements.into_iter().map(part).collect();
        return Some(vec![Turn { role: Cow::Borrowed("system"), parts, ..Turn::default() }]);
    }
    lists::each(elements, |raw| turn(raw).or_else(|| lone(raw)))
}

/// Reads a part in the place of a message.
fn lone(raw: &RawValue) -> Option<Turn<'_>> {
    let part = part_alone(raw)?;
    let role = match &part {
        Part::ToolResult { .. } => "tool",
        Part::ToolCall { .. } | Part::Reasoning(_) | Part::Refusal(_) => "assistant",
        Part::Other(_) => return None,
        _ => "user",
    };
    Some(Turn { role: Cow::Borrowed(role), parts: smallvec![part], ..Turn::default() })
}

/// A [`RawTurn`] that has parts, all of known kinds.
#[derive(Deserialize)]
struct KnownTurn<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    parts: SmallVec<[KnownPart<'a>; 1]>,
    #[serde(default, rename = "content")]
    _content: IgnoredAny,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(try_from = "RawPart<'a>")]
struct KnownPart<'a>(#[serde(borrow)] Part<'a>);

impl<'a> TryFrom<RawPart<'a>> for KnownPart<'a> {
    type Error = &'static str;

    fn try_from(part: RawPart<'a>) -> Result<Self, Self::Error> {
        known(&part).map(Self).ok_or("a part of a kind that nobody knows")
    }
}

#[derive(Deserialize)]
struct RawTurn<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parts: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

fn turn(raw: &RawValue) -> Option<Turn<'_>> {
    let turn: RawTurn<'_> = serde_json::from_str(raw.get()).ok()?;
    let Some(parts) = turn.parts else {
        // A message or an item in the form of a provider's API.
        return provider_message::message(raw).filter(|turn| !turn.parts.is_empty());
    };
    let parts = parts.into_iter().map(part).collect();
    Some(Turn {
        role: turn.role.and_then(role_label).unwrap_or(Cow::Borrowed("user")),
        name: turn.name.and_then(label_of),
        parts,
        finish_reason: turn.finish_reason.and_then(label_of),
    })
}

/// Reads a part of `gen_ai.system_instructions`, which has parts where the others have messages.
fn part_alone(raw: &RawValue) -> Option<Part<'_>> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow, default, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow, default)]
        parts: Option<&'a RawValue>,
        #[serde(borrow, default)]
        role: Option<&'a RawValue>,
    }
    let shape: Shape<'_> = serde_json::from_str(raw.get()).ok()?;
    (shape.kind.is_some() && shape.parts.is_none() && shape.role.is_none()).then(|| part(raw))
}

#[derive(Deserialize)]
struct RawPart<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "text")]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "result")]
    response: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "media_type")]
    mime_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    modality: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "url")]
    uri: Option<&'a RawValue>,
    #[serde(borrow, default)]
    file_id: Option<&'a RawValue>,
}

fn part(raw: &RawValue) -> Part<'_> {
    serde_json::from_str(raw.get()).ok().and_then(|part| known(&part)).unwrap_or(Part::Other(raw))
}

fn known<'a>(part: &RawPart<'a>) -> Option<Part<'a>> {
    let kind = part.kind.and_then(label_of)?;
    Some(match &*kind {
        // The text was not captured.
        "text" => part.content.map_or(Some(Part::Empty), |content| text_of(content).map(Part::Text))?,
        "reasoning" | "thinking" => match part.content {
            Some(content) => Part::Reasoning(text_of(content)?),
            None => Part::Empty,
        },
        "refusal" => match part.content {
            Some(content) => Part::Refusal(text_of(content)?),
            None => Part::Empty,
        },
        "tool_call" => Part::ToolCall {
            id: part.id.and_then(label_of),
            name: part.name.and_then(label_of).unwrap_or_default(),
            arguments: part.arguments,
        },
        "tool_call_response" => Part::ToolResult {
            id: part.id.and_then(label_of),
            name: part.name.and_then(label_of),
            result: part.response,
        },
        "blob" | "binary" | "uri" | "file" => {
            let source = if let Some(uri) = part.uri.and_then(label_of) {
                Source::Uri(uri)
            } else if let Some(id) = part.file_id.and_then(label_of) {
                Source::File(id)
            } else if let Some(data) = part.content.and_then(label_of) {
                Source::Base64(data)
            } else {
                Source::Unknown
            };
            Part::Media {
                modality: part.modality.and_then(label_of),
                mime_type: part.mime_type.and_then(label_of),
                source,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_the_registry_are_known() {
        for (name, class) in [
            ("chat", Some(Class::Model)),
            ("embeddings", Some(Class::Model)),
            ("execute_tool", Some(Class::Tool)),
            ("invoke_workflow", Some(Class::Agent)),
            ("retrieval", Some(Class::Action)),
            ("search_memory", Some(Class::Action)),
            ("agent_step", None),
        ] {
            assert_eq!(operation(name), class, "{name}");
        }
    }

    #[test]
    fn messages_and_bare_parts_are_both_read() {
        let messages = r#"[{"role":"user","parts":[{"type":"text","content":"hi"}],"name":null}]"#;
        let read = turns(messages).unwrap();
        assert_eq!((&*read[0].role, read[0].parts.len(), read[0].name.is_none()), ("user", 1, true));
        let instructions = r#"[{"type":"text","content":"be terse"},{"type":"text","content":"be kind"}]"#;
        let read = turns(instructions).unwrap();
        assert_eq!((&*read[0].role, read[0].parts.len()), ("system", 2));
        assert!(turns("[]").unwrap().is_empty());
    }

    #[test]
    fn other_shapes_are_left_to_others() {
        for other in ["", "{}", "\"text\"", r#"["text"]"#, r#"[{"role":"user"}]"#, r#"[{"role":"user","parts":7}]"#] {
            assert!(turns(other).is_none(), "{other}");
        }
    }

    #[test]
    fn what_is_read_at_once_is_what_is_read_one_by_one() {
        let read = |json| (at_once(json).map(|turns| format!("{turns:?}")), format!("{:?}", one_by_one(json).unwrap()));
        for json in [
            "[]",
            r#"[{"role":"user","parts":[],"content":{"a":1}},{"parts":[{"type":"text"}],"finish_reason":"stop"}]"#,
            r#"[{"role":"assistant","name":"a","parts":[{"type":"text","content":"a\nb","x":[1]},
                {"type":"reasoning","content":"so"},{"type":"tool_call","id":7,"name":"look","arguments":{"a":"[]"}}]},
                {"role":"tool","parts":[{"type":"tool_call_response","id":"c","result":[1]}]},
                {"role":"user","parts":[{"type":"blob","mime_type":"image/png","content":"aGk="}]}]"#,
        ] {
            let (at_once, one_by_one) = read(json);
            assert_eq!(at_once, Some(one_by_one), "{json}");
        }
        for json in [
            r#"[{"type":"text","content":"be terse"}]"#,
            r#"[{"role":"user","content":"hi"}]"#,
            r#"[{"role":"user","parts":[{"type":"text","content":"a"},{"type":"new"}]}]"#,
            r#"[{"role":"user","parts":[{"type":"text","content":7}]}]"#,
        ] {
            assert_eq!(read(json).0, None, "{json}");
        }
    }

    #[test]
    fn a_part_of_an_unknown_kind_is_kept_whole() {
        let json = r#"[{"role":"assistant","parts":[{"type":"server_tool_call","name":"search","server_tool_call":{}},
            {"type":"text","content":{"odd":1}},{"no":"type"}]}]"#;
        let read = turns(json).unwrap();
        assert!(read[0].parts.iter().all(|part| matches!(part, Part::Other(_))), "{read:?}");
    }
}
