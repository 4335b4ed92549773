//! OpenTelemetry's current GenAI conventions: `gen_ai.*` since v1.37, messages as lists of parts.
//!
//! Keys follow the registry of commit 953276ff of the semantic conventions (v1.41 and eleven commits), messages the JSON
//! schemas beside it. Deviations of widespread libraries are read too.

use std::borrow::Cow;

use retrace_protocol::parse::{self, Cursor};
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::smallvec;

use super::{Class, Dialect, otel_legacy};
use crate::fields::Field;
use crate::json::{JsonObject, label_of, text_of};
use crate::messages::lists;
use crate::messages::provider_message;
use crate::messages::{Parts, Source, Turn, TurnPart, role_label};

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
    usual_turns,
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
/// of parts), each as a JSON text. One message, or a request or an answer with the messages in it, is read as well.
pub(super) fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let of_object = || json.trim_start().starts_with('{').then(|| otel_legacy::turns(json)).flatten();
    usual_turns(json).or_else(|| one_by_one(json)).or_else(of_object)
}

/// Reads messages or instructions whose parts are all of known kinds.
pub(super) fn usual_turns(json: &str) -> Option<Vec<Turn<'_>>> {
    at_once(json).or_else(|| instructions_at_once(json))
}

/// Reads messages whose parts are all of known kinds, in one pass that also checks that the JSON is strict; returns `None` for
/// anything else.
fn at_once(json: &str) -> Option<Vec<Turn<'_>>> {
    let mut cursor = Cursor::new(json);
    let mut turns = Vec::new();
    cursor.list(|cursor| {
        turns.push(Turn::default());
        turns.last_mut().and_then(|turn| pass_turn(cursor, turn))
    })?;
    cursor.end().map(|()| turns)
}

/// Passes a message whose parts are all of known kinds.
fn pass_turn<'a>(cursor: &mut Cursor<'a>, turn: &mut Turn<'a>) -> Option<()> {
    let (mut role, mut name, mut parts, mut finish_reason) = (None, None, None, None);
    let mut has_content = false;
    cursor.object(|key, cursor| {
        let member = match key {
            "role" => &mut role,
            "name" => &mut name,
            "finish_reason" => &mut finish_reason,
            "parts" => {
                set(&mut parts, ())?;
                return cursor.list(|cursor| {
                    let mut part = RawPart::default();
                    part.pass(cursor)?;
                    turn.parts.push(known(&part)?);
                    Some(())
                });
            }
            _ => {
                has_content |= is_content(key);
                return cursor.skip();
            }
        };
        set(member, cursor.raw()?)
    })?;
    turn.role = role.and_then(role_label).unwrap_or(Cow::Borrowed("user"));
    turn.name = name.and_then(label_of);
    turn.finish_reason = finish_reason.and_then(label_of);
    parts.filter(|()| !(has_content && turn.parts.is_empty()))
}

/// Returns true if the member of a message in the form of a provider's API holds its content. Libraries that write both forms leave
/// one of them empty.
fn is_content(key: &str) -> bool {
    matches!(key, "content" | "tool_calls" | "function_call")
}

/// Reads instructions as [`at_once`] reads messages.
fn instructions_at_once(json: &str) -> Option<Vec<Turn<'_>>> {
    let mut cursor = Cursor::new(json);
    let mut parts = Parts::new();
    cursor.list(|cursor| {
        let mut part = RawPart::default();
        cursor.object(|key, cursor| match key {
            "parts" | "role" => None,
            _ => part.set(key, cursor.raw()?),
        })?;
        parts.push(known(&part)?);
        Some(())
    })?;
    cursor.end()?;
    Some(vec![Turn { role: Cow::Borrowed("system"), parts, ..Turn::default() }])
}

/// Sets a member of an object; returns `None` if the object has it twice.
fn set<T>(member: &mut Option<T>, value: T) -> Option<()> {
    member.replace(value).is_none().then_some(())
}

/// Reads messages part by part; a part of an unknown kind is kept unchanged.
fn one_by_one(json: &str) -> Option<Vec<Turn<'_>>> {
    let elements: Vec<&RawValue> = parse::from_str(json)?;
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
        TurnPart::ToolResult { .. } => "tool",
        TurnPart::ToolCall { .. } | TurnPart::Reasoning(_) | TurnPart::Refusal(_) => "assistant",
        TurnPart::Other(_) => return None,
        _ => "user",
    };
    Some(Turn { role: Cow::Borrowed(role), parts: smallvec![part], ..Turn::default() })
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
    let turn: RawTurn<'_> = parse::from_str(raw.get())?;
    let Some(parts) = turn.parts else {
        // A message or an item in the form of a provider's API.
        return provider_message::message(raw).filter(|turn| !turn.parts.is_empty());
    };
    let parts: Parts<'_> = parts.into_iter().filter(|raw| raw.get() != "null").map(part).collect();
    let beside = || provider_message::message(raw).filter(|turn| !turn.parts.is_empty());
    if let Some(turn) = parts.is_empty().then(beside).flatten() {
        return Some(turn);
    }
    Some(Turn {
        role: turn.role.and_then(role_label).unwrap_or(Cow::Borrowed("user")),
        name: turn.name.and_then(label_of),
        parts,
        finish_reason: turn.finish_reason.and_then(label_of),
    })
}

/// Reads a part of `gen_ai.system_instructions`, which has parts where the others have messages.
fn part_alone(raw: &RawValue) -> Option<TurnPart<'_>> {
    #[derive(Deserialize)]
    struct Shape<'a> {
        #[serde(borrow, default, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow, default)]
        parts: Option<&'a RawValue>,
        #[serde(borrow, default)]
        role: Option<&'a RawValue>,
    }
    let shape: Shape<'_> = parse::from_str(raw.get())?;
    (shape.kind.is_some() && shape.parts.is_none() && shape.role.is_none()).then(|| part(raw))
}

/// Members of a part. One that is `null` counts as absent.
#[derive(Default)]
struct RawPart<'a> {
    kind: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    arguments: Option<&'a RawValue>,
    response: Option<&'a RawValue>,
    mime_type: Option<&'a RawValue>,
    modality: Option<&'a RawValue>,
    uri: Option<&'a RawValue>,
    file_id: Option<&'a RawValue>,
}

impl<'a> RawPart<'a> {
    /// Passes a part and sets its members; returns `None` for anything else, and for an object that has one member under two
    /// spellings.
    fn pass(&mut self, cursor: &mut Cursor<'a>) -> Option<()> {
        cursor.object(|key, cursor| {
            let raw = cursor.raw()?;
            self.set(key, raw)
        })
    }

    /// Reads a part; returns `None` as [`RawPart::pass`] does.
    fn read(raw: &'a RawValue) -> Option<Self> {
        let mut part = Self::default();
        JsonObject::read(raw.get())?.into_entries().into_iter().try_for_each(|(key, raw)| part.set(&key, raw))?;
        Some(part)
    }

    #[inline]
    fn set(&mut self, key: &str, raw: &'a RawValue) -> Option<()> {
        let member = match key {
            "type" => &mut self.kind,
            "content" | "text" => &mut self.content,
            "id" => &mut self.id,
            "name" => &mut self.name,
            "arguments" => &mut self.arguments,
            "response" | "result" => &mut self.response,
            "mime_type" | "media_type" => &mut self.mime_type,
            "modality" => &mut self.modality,
            "uri" | "url" => &mut self.uri,
            "file_id" => &mut self.file_id,
            _ => return Some(()),
        };
        set(member, raw)
    }
}

/// A part of the conventions, or of a provider's API.
fn part(raw: &RawValue) -> TurnPart<'_> {
    let known = RawPart::read(raw).and_then(|part| known(&part));
    known.or_else(|| provider_message::part(raw)).unwrap_or(TurnPart::Other(raw))
}

/// Returns the kind of a part; kinds are read in any case.
fn kind_name(kind: &str) -> Option<&'static str> {
    const KINDS: [&str; 10] = [
        "text",
        "reasoning",
        "thinking",
        "refusal",
        "tool_call",
        "tool_call_response",
        "blob",
        "binary",
        "uri",
        "file",
    ];
    let is_kind = |known: &&&str| kind == **known;
    KINDS.iter().find(is_kind).or_else(|| KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind))).copied()
}

fn known<'a>(part: &RawPart<'a>) -> Option<TurnPart<'a>> {
    let present = |member: Option<&'a RawValue>| member.filter(|raw| raw.get() != "null");
    let kind = label_of(part.kind?)?;
    Some(match kind_name(&kind)? {
        // The text was not captured.
        "text" => {
            present(part.content).map_or(Some(TurnPart::Empty), |content| text_of(content).map(TurnPart::Text))?
        }
        "reasoning" | "thinking" => match present(part.content) {
            Some(content) => TurnPart::Reasoning(text_of(content)?),
            None => TurnPart::Empty,
        },
        "refusal" => match present(part.content) {
            Some(content) => TurnPart::Refusal(text_of(content)?),
            None => TurnPart::Empty,
        },
        "tool_call" => TurnPart::ToolCall {
            id: part.id.and_then(label_of),
            name: part.name.and_then(label_of).unwrap_or_default(),
            arguments: present(part.arguments),
        },
        "tool_call_response" => TurnPart::ToolResult {
            id: part.id.and_then(label_of),
            name: part.name.and_then(label_of),
            result: present(part.response),
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
            TurnPart::Media {
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
    use proptest::prelude::*;
    use retrace_protocol::json::is_strict;

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
            r#"[{"role":"user","parts":[],"other":{"a":1}},{"parts":[{"type":"text"}],"finish_reason":"stop"}]"#,
            r#"[{"role":"user","parts":[{"type":"text","content":"a"}],"content":"b"}]"#,
            r#"[{"role":"assistant","name":"a","parts":[{"type":"text","content":"a\nb","x":[1]},
                {"type":"reasoning","content":"so"},{"type":"tool_call","id":7,"name":"look","arguments":{"a":"[]"}}]},
                {"role":"tool","parts":[{"type":"tool_call_response","id":"c","result":[1]}]},
                {"role":"user","parts":[{"type":"blob","mime_type":"image/png","content":"aGk="}]}]"#,
        ] {
            let (at_once, one_by_one) = read(json);
            assert_eq!(at_once, Some(one_by_one), "{json}");
        }
        let instructions = r#"[{"type":"text","content":"be terse","x":null},{"type":"Blob","content":"aGk="}]"#;
        let at_once = instructions_at_once(instructions).map(|turns| format!("{turns:?}"));
        assert_eq!(at_once, Some(read(instructions).1));
        for messages in
            [r#"[{"type":"text","content":"a","role":"user"}]"#, r#"[{"type":"text","content":"a","parts":[]}]"#]
        {
            assert!(instructions_at_once(messages).is_none(), "{messages}");
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
    fn a_content_beside_empty_parts_is_read() {
        for (json, role, content) in [
            (r#"{"role":"user","parts":[],"content":"hi"}"#, "user", "hi"),
            (r#"{"role":"tool","parts":[null],"tool_call_id":"c","content":"18 C"}"#, "tool", "18 C"),
            (
                r#"{"role":"assistant","content":null,"parts":[],"tool_calls":[{"id":"c","function":{"name":"look"}}]}"#,
                "assistant",
                "look",
            ),
        ] {
            let json = format!("[{json}]");
            let read = turns(&json).unwrap();
            assert_eq!((read.len(), &*read[0].role), (1, role));
            assert!(format!("{:?}", read[0].parts).contains(content), "{read:?}");
        }
        assert!(turns(r#"[{"role":"user","parts":[],"content":null}]"#).unwrap()[0].parts.is_empty());
    }

    fn any_messages() -> impl Strategy<Value = String> {
        let content = r#"("[a-zé\\n\\u00e9]{0,20}"|null|7|\{"a":\[1,"b"\]\}|"\\ud800")"#;
        let part = (
            "text|TEXT|reasoning|thinking|refusal|tool_call|tool_call_response|blob|uri|file|new",
            prop::collection::vec(
                ("content|text|id|name|arguments|response|result|mime_type|url|modality|file_id|x|t\\\\u0079pe|role|parts", content),
                0..4,
            ),
        )
            .prop_map(|(kind, members)| {
                let members = members.iter().map(|(key, value)| format!(r#","{key}":{value}"#));
                format!(r#"{{"type":"{kind}"{}}}"#, members.collect::<String>())
            });
        let part = prop_oneof![20 => part, 1 => Just("null".to_owned()), 1 => Just("\"text\"".to_owned())];
        let message = (
            prop::collection::vec(part.clone(), 0..3),
            prop::collection::vec(
                (
                    "role|name|finish_reason|content|parts|other",
                    prop_oneof![
                        r#""(user|ASSISTANT|tool|Role.system|x)""#,
                        Just("null".to_owned()),
                        Just("[1]".to_owned())
                    ],
                ),
                0..4,
            ),
        )
            .prop_map(|(parts, members)| {
                let members = members.iter().map(|(key, value)| format!(r#","{key}": {value}"#));
                format!(r#"{{"parts":[{}]{}}}"#, parts.join(","), members.collect::<String>())
            });
        let element = prop_oneof![10 => message, 3 => part];
        let list = prop::collection::vec(element, 0..4).prop_map(|elements| format!("[{}]", elements.join(" , ")));
        let odd = "[\\[\\]{}\",:\\\\ 0-9e.]";
        let damage = prop::option::weighted(0.2, (any::<prop::sample::Index>(), odd));
        (list, damage).prop_map(|(list, damage)| match damage {
            Some((at, odd)) => {
                let at = at.index(list.chars().count());
                list.chars().enumerate().map(|(i, c)| if i == at { odd.clone() } else { c.to_string() }).collect()
            }
            None => list,
        })
    }

    proptest! {
        /// What is read in one pass is strict, and the same as what is read part by part.
        #[test]
        fn one_pass_reads_nothing_else(json in any_messages()) {
            if let Some(turns) = usual_turns(&json) {
                prop_assert!(is_strict(&json) && parse::from_str::<&RawValue>(&json).is_some());
                prop_assert_eq!(format!("{turns:?}"), format!("{:?}", one_by_one(&json).unwrap()));
            }
        }
    }

    #[test]
    fn a_part_of_an_unknown_kind_is_kept_whole() {
        let json = r#"[{"role":"assistant","parts":[{"type":"server_tool_call","name":"search","server_tool_call":{}},
            {"type":"text","content":{"odd":1}},{"no":"type"}]}]"#;
        let read = turns(json).unwrap();
        assert!(read[0].parts.iter().all(|part| matches!(part, TurnPart::Other(_))), "{read:?}");
    }
}
