//! Messages of model calls, in the one form that all dialects produce.
//!
//! A dialect reads its own form into [`Turn`]s of [`TurnPart`]s. Everything after that is independent of the dialect: turns become
//! the `{"messages": …}` of an input, the output of a response, and the tools that messages show.

mod answer;
mod comparison;
pub(crate) mod envelope;
pub(crate) mod lists;
mod media;
pub(crate) mod provider_body;
pub(crate) mod provider_message;
mod seen_tools;
pub(crate) mod tool_definitions;

use std::borrow::Cow;

use retrace_protocol::Json;
use retrace_protocol::message::{Content, ContentPart, Conversation, Embedded, Media, Message, Text, ToolCall, decode};
use retrace_protocol::parse;
use serde_json::value::RawValue;
use smallvec::SmallVec;

pub(crate) use self::answer::{Answer, answer, answer_of_one_choice};
pub(crate) use self::comparison::{has_more, is_repeated};
use self::lists::is_unknown;
pub use self::media::INLINE_MEDIA_CHARS;
pub(crate) use self::seen_tools::{
    Position, SeenKind, SeenTool, name_results, tie_items, tie_results, tools_in, tools_in_history,
};
use crate::json::{label_of, text_of};

/// One message as a dialect read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn<'a> {
    pub role: Cow<'a, str>,
    pub name: Option<Cow<'a, str>>,
    pub parts: Parts<'a>,
    pub finish_reason: Option<Cow<'a, str>>,
}

impl Turn<'_> {
    /// Approximate size in bytes of its messages as JSON.
    fn weight(&self) -> usize {
        /// Keys and role of a message.
        const AROUND: usize = 64;
        self.parts.iter().map(|part| part.weight() + AROUND).sum()
    }
}

/// Parts of a message, in order. Most messages have one, which is stored inline.
pub(crate) type Parts<'a> = SmallVec<[TurnPart<'a>; 1]>;

/// Part of a message.
#[derive(Clone, Debug)]
pub(crate) enum TurnPart<'a> {
    /// Content that was not captured.
    Empty,
    Text(Text<'a>),
    Reasoning(Text<'a>),
    Refusal(Text<'a>),
    ToolCall {
        id: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
        arguments: Option<&'a RawValue>,
    },
    ToolResult {
        id: Option<Cow<'a, str>>,
        name: Option<Cow<'a, str>>,
        result: Option<&'a RawValue>,
    },
    Media {
        modality: Option<Cow<'a, str>>,
        mime_type: Option<Cow<'a, str>>,
        source: Source<'a>,
    },
    /// A part of an unknown kind.
    Other(&'a RawValue),
}

impl TurnPart<'_> {
    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Approximate size in bytes of its content as JSON.
    fn weight(&self) -> usize {
        let raw = |raw: &Option<&RawValue>| raw.map_or(0, |raw| raw.get().len());
        let id = |id: &Option<Cow<'_, str>>| id.as_ref().map_or(0, |id| id.len());
        match self {
            Self::Empty => 0,
            Self::Text(text) | Self::Reasoning(text) | Self::Refusal(text) => match text {
                Text::Token(token) => token.get().len(),
                Text::Plain(text) => text.len(),
            },
            Self::ToolCall { id: call, name, arguments } => id(call) + name.len() + raw(arguments),
            Self::ToolResult { id: call, name, result } => id(call) + id(name) + raw(result),
            Self::Media { source, .. } => match source {
                Source::Base64(data) | Source::Uri(data) => data.len().min(INLINE_MEDIA_CHARS),
                Source::File(_) | Source::Unknown => 0,
            },
            Self::Other(part) => part.get().len(),
        }
    }
}

/// Returns a part that keeps the role of a turn beside a tool result, for roles that results do not have.
pub(crate) fn keep_role_beside_result(role: &str) -> Option<TurnPart<'static>> {
    (!matches!(role, "tool" | "function" | "user" | "assistant")).then_some(TurnPart::Empty)
}

/// Location of the content of a medium.
#[derive(Clone, Debug)]
pub(crate) enum Source<'a> {
    Uri(Cow<'a, str>),
    File(Cow<'a, str>),
    Base64(Cow<'a, str>),
    Unknown,
}

/// Roles of messages.
const ROLES: [&str; 9] = ["user", "assistant", "system", "developer", "tool", "function", "model", "ai", "human"];

/// Returns the role of a message. Roles are read in any case, and after the name of an enumeration.
pub(crate) fn role_label(raw: &RawValue) -> Option<Cow<'_, str>> {
    let role = match raw.get() {
        "\"user\"" => return Some(Cow::Borrowed("user")),
        "\"assistant\"" => return Some(Cow::Borrowed("assistant")),
        "\"tool\"" => return Some(Cow::Borrowed("tool")),
        _ => label_of(raw)?,
    };
    let bare = role.rsplit('.').next().unwrap_or_default();
    match ROLES.iter().find(|known| known.eq_ignore_ascii_case(bare)) {
        Some(known) => Some(Cow::Borrowed(*known)),
        None => Some(role),
    }
}

/// Most JSON strings within each other.
const STRINGS: usize = 4;

/// Reads arguments or a result: a JSON string that holds an object or a list becomes that value, however often it was quoted.
pub(crate) fn embedded(raw: &RawValue) -> Embedded<'_> {
    if !raw.get().starts_with('"') {
        return Embedded::Raw(raw);
    }
    let mut text = decode(raw);
    for _ in 1..STRINGS {
        if text.trim_start().starts_with(['{', '[']) {
            return Json::parse_strict(&text).map_or(Embedded::Raw(raw), Embedded::Owned);
        }
        let Some(inner) = quoted(&text) else { break };
        text = Cow::Owned(inner);
    }
    Embedded::Raw(raw)
}

/// Returns the text in a JSON string; `None` for anything else.
fn quoted(text: &str) -> Option<String> {
    text.trim_start().starts_with('"').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Removes the strings and lists around messages: a JSON string that holds them, a list of strings that hold one each, a list with
/// nothing but the list of them. Returns `None` for messages without such a wrapper.
pub(crate) fn unwrapped(json: &str) -> Option<Json> {
    let mut inner = Cow::Borrowed(json);
    let mut is_wrapped = false;
    for _ in 0..STRINGS {
        let next = match inner.trim_start().as_bytes() {
            [b'"', ..] => quoted(&inner)?,
            [b'[', ..] => match within(&inner) {
                Some(next) => next,
                None => break,
            },
            _ => break,
        };
        inner = Cow::Owned(next);
        is_wrapped = true;
    }
    let is_json = inner.trim_start().starts_with(['{', '[']);
    (is_wrapped && is_json).then(|| Json::parse_strict(&inner)).flatten()
}

/// Returns the list in a list that holds nothing else, or the list of the values in a list of strings.
fn within(json: &str) -> Option<String> {
    let after = json.trim_start().get(1..)?.trim_start();
    if !after.starts_with(['[', '"']) {
        return None;
    }
    let elements: Vec<&RawValue> = parse::from_str(json)?;
    match elements.as_slice() {
        [one] if one.get().starts_with('[') => return Some(one.get().to_owned()),
        _ => {}
    }
    let objects = elements.iter().map(|raw| quoted(raw.get()).filter(|text| text.trim_start().starts_with('{')));
    let objects: Vec<String> = objects.collect::<Option<_>>()?;
    (!objects.is_empty()).then(|| format!("[{}]", objects.join(",")))
}

/// Assembles the input of a model call: the instructions, then the history.
///
/// Instructions that the history repeats as its first message are written once.
pub(crate) fn conversation<'a>(instructions: Vec<Turn<'a>>, history: Vec<Turn<'a>>) -> Json {
    let first = history.iter().find(|turn| !is_unknown(turn));
    let repeated = match (instructions.as_slice(), first) {
        ([system], Some(first)) if is_system(&first.role) && system.parts.iter().all(TurnPart::is_text) => {
            plain_text(system) == plain_text(first)
        }
        _ => false,
    };
    let instructions = if repeated { Vec::new() } else { instructions };
    let bytes = instructions.iter().chain(&history).map(Turn::weight).sum();
    Conversation::write(bytes, |messages| {
        instructions.into_iter().chain(history).for_each(|turn| messages_of(turn, messages));
    })
}

fn is_system(role: &str) -> bool {
    matches!(role, "system" | "developer")
}

/// Returns the role by its common name.
fn role_of(role: Cow<'_, str>) -> Cow<'_, str> {
    match &*role {
        // smolagents has roles of its own for both sides of a tool.
        "model" | "ai" | "tool-call" => Cow::Borrowed("assistant"),
        "human" => Cow::Borrowed("user"),
        "function" | "tool-response" => Cow::Borrowed("tool"),
        _ => role,
    }
}

/// Converts a turn into messages. Each tool result becomes a message of its own, with the id of its call; the rest of the turn
/// is one message.
fn messages_of<'a>(mut turn: Turn<'a>, out: &mut (impl FnMut(Message<'a>) + ?Sized)) {
    // Fast path for a message that is one text.
    if let [TurnPart::Text(text) | TurnPart::Refusal(text)] = turn.parts.as_mut_slice() {
        let content = Content::Text(std::mem::replace(text, Text::Plain(Cow::Borrowed(""))));
        let role = role_of(turn.role);
        let (tool_calls, tool_call_id, reasoning) = (Vec::new(), None, None);
        return out(Message { role, name: turn.name, content, tool_calls, tool_call_id, reasoning });
    }
    let mut tool_calls = Vec::new();
    let mut reasoning = Vec::new();
    let mut content = Vec::new();
    let only_results =
        !turn.parts.is_empty() && turn.parts.iter().all(|part| matches!(part, TurnPart::ToolResult { .. }));
    let of_results = turn.name.as_ref().filter(|_| only_results);
    for part in turn.parts {
        if let TurnPart::ToolResult { id, name, result } = part {
            let text = result.map(result_text);
            out(Message {
                role: Cow::Borrowed("tool"),
                name: name.or_else(|| of_results.cloned()),
                content: Content::Text(text.unwrap_or(Text::Plain(Cow::Borrowed("")))),
                tool_calls: Vec::new(),
                tool_call_id: id,
                reasoning: None,
            });
            continue;
        }
        match part {
            TurnPart::Empty | TurnPart::ToolResult { .. } => {}
            TurnPart::Text(text) | TurnPart::Refusal(text) => content.push(ContentPart::text(text)),
            TurnPart::Reasoning(text) => reasoning.push(text),
            TurnPart::ToolCall { id, name, arguments } => {
                tool_calls.push(ToolCall { id, name, arguments: arguments.map(embedded) });
            }
            TurnPart::Media { modality, mime_type, source } => {
                content.push(ContentPart::Media(media_of(modality, mime_type, source)));
            }
            TurnPart::Other(raw) => content.push(ContentPart::Other(raw)),
        }
    }
    if !only_results {
        out(Message {
            role: role_of(turn.role),
            name: turn.name,
            content: content_of(content),
            tool_calls,
            tool_call_id: None,
            reasoning: joined(reasoning),
        });
    }
}

/// Returns the text of a result without its envelope.
fn result_text(raw: &RawValue) -> Text<'_> {
    let inner = match envelope::result(raw).map(|opened| opened.content) {
        Some(envelope::EnvelopeContent::Text(text)) => return Text::Plain(Cow::Owned(text)),
        Some(envelope::EnvelopeContent::Raw(inner)) => inner,
        None => raw,
    };
    text_of(inner).unwrap_or(Text::Plain(Cow::Borrowed(inner.get())))
}

fn media_of<'a>(modality: Option<Cow<'a, str>>, mime_type: Option<Cow<'a, str>>, source: Source<'a>) -> Media<'a> {
    let of_data = || match &source {
        Source::Uri(uri) => uri.strip_prefix("data:")?.split([';', ',']).next(),
        _ => None,
    };
    let kind = modality.unwrap_or_else(|| media::kind_of(mime_type.as_deref().or_else(of_data)));
    media::reference(kind, mime_type, source)
}

fn content_of(mut parts: Vec<ContentPart<'_>>) -> Content<'_> {
    if parts.iter().all(|part| matches!(part, ContentPart::Text { .. })) {
        let texts = parts.drain(..).filter_map(|part| match part {
            ContentPart::Text { text, .. } => Some(text),
            _ => None,
        });
        return Content::Text(joined(texts.collect()).unwrap_or(Text::Plain(Cow::Borrowed(""))));
    }
    Content::Parts(parts)
}

/// Joins several texts, one on each line; returns `None` for none.
fn joined(mut texts: Vec<Text<'_>>) -> Option<Text<'_>> {
    if texts.len() < 2 {
        return texts.pop();
    }
    Some(Text::Plain(Cow::Owned(texts.iter().map(Text::decoded).collect::<Vec<_>>().join("\n"))))
}

/// Returns the text of a turn, for comparison.
fn plain_text(turn: &Turn<'_>) -> String {
    let texts: Vec<_> = turn
        .parts
        .iter()
        .filter_map(|part| match part {
            TurnPart::Text(text) => Some(text.decoded()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}

/// Returns true if the turns hold parts of unknown kinds.
pub(crate) fn has_others(turns: &[Turn<'_>]) -> bool {
    turns.iter().flat_map(|turn| &turn.parts).any(|part| matches!(part, TurnPart::Other(_)))
}

/// Returns true if the turns hold images.
pub(crate) fn has_images(turns: &[Turn<'_>]) -> bool {
    turns.iter().flat_map(|turn| &turn.parts).any(|part| match part {
        TurnPart::Media { modality, mime_type, .. } => {
            modality.as_deref() == Some("image") || media::kind_of(mime_type.as_deref()) == "image"
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn text(text: &'static str) -> TurnPart<'static> {
        TurnPart::Text(Text::Plain(Cow::Borrowed(text)))
    }

    fn turn<'a>(role: &'a str, parts: Vec<TurnPart<'a>>) -> Turn<'a> {
        let parts = parts.into();
        Turn { role: Cow::Borrowed(role), parts, ..Turn::default() }
    }

    fn input<'a>(instructions: Vec<Turn<'a>>, history: Vec<Turn<'a>>) -> serde_json::Value {
        serde_json::to_value(conversation(instructions, history)).unwrap()["messages"].take()
    }

    #[test]
    fn instructions_come_first_and_once() {
        let system = || turn("system", vec![text("be terse")]);
        let user = || turn("user", vec![text("hi")]);
        let expected = serde_json::json!([{"role":"system","content":"be terse"},{"role":"user","content":"hi"}]);
        assert_eq!(input(vec![system()], vec![user()]), expected);
        assert_eq!(input(vec![system()], vec![system(), user()]), expected);
        let other = turn("system", vec![text("be kind")]);
        assert_eq!(input(vec![system()], vec![other, user()]).as_array().unwrap().len(), 3);
    }

    #[test]
    fn results_of_tools_are_messages_of_their_own() {
        let result =
            |id, json| TurnPart::ToolResult { id: Some(Cow::Borrowed(id)), name: None, result: Some(raw(json)) };
        let mixed = turn("user", vec![result("c1", r#""18\u00b0C""#), result("c2", r#"{"t":4}"#), text("and?")]);
        assert_eq!(
            input(vec![], vec![mixed]),
            serde_json::json!([
                {"role":"tool","content":"18°C","tool_call_id":"c1"},
                {"role":"tool","content":"{\"t\":4}","tool_call_id":"c2"},
                {"role":"user","content":"and?"},
            ])
        );
    }

    #[test]
    fn arguments_are_json_where_they_are_json() {
        let call = |arguments| TurnPart::ToolCall {
            id: Some(Cow::Borrowed("c")),
            name: Cow::Borrowed("f"),
            arguments: Some(raw(arguments)),
        };
        let calls = turn("model", vec![call(r#""{\"a\":1}""#), call(r#"{"a":1}"#), call(r#""{a""#), call(r#""5""#)]);
        assert_eq!(
            input(vec![], vec![calls])[0],
            serde_json::json!({"role":"assistant","content":"","tool_calls":[
                {"id":"c","name":"f","arguments":{"a":1}},
                {"id":"c","name":"f","arguments":{"a":1}},
                {"id":"c","name":"f","arguments":"{a"},
                {"id":"c","name":"f","arguments":"5"},
            ]})
        );
    }

    #[test]
    fn an_answer_is_its_text_with_thoughts_and_calls_beside_it() {
        let call = TurnPart::ToolCall { id: None, name: Cow::Borrowed("f"), arguments: Some(raw(r#"{"a":1}"#)) };
        let thought = TurnPart::Reasoning(Text::Plain(Cow::Borrowed("hm")));
        let one = answer(vec![turn("assistant", vec![thought, text("so"), call.clone()])]);
        assert_eq!(one.output, Some(Json::text("so")));
        assert_eq!(one.reasoning, Some(Json::text("hm")));
        assert_eq!(one.tool_calls.unwrap().as_str(), r#"[{"name":"f","arguments":{"a":1}}]"#);
        let calls_only = answer(vec![turn("assistant", vec![call])]);
        assert_eq!(calls_only.output, Some(Json::text(r#"[tool calls] f({"a":1})"#)));
        let two = answer(vec![turn("assistant", vec![text("a")]), turn("assistant", vec![text("b"), text("c")])]);
        assert_eq!(two.output.unwrap().as_str(), r#"["a","b\nc"]"#);
        assert_eq!(answer(vec![turn("assistant", vec![TurnPart::Empty])]).output, None);
    }

    #[test]
    fn the_items_of_one_answer_are_no_choices() {
        let call = |name: &'static str| {
            let part = TurnPart::ToolCall { id: None, name: name.into(), arguments: None };
            turn("assistant", vec![part])
        };
        let thought = || turn("assistant", vec![TurnPart::Reasoning(Text::Plain(Cow::Borrowed("hm")))]);
        let reply = answer(vec![thought(), turn("assistant", vec![text("so")]), call("f")]);
        assert_eq!((reply.output.unwrap(), reply.reasoning.unwrap()), (Json::text("so"), Json::text("hm")));
        assert_eq!(reply.tool_calls.unwrap().as_str(), r#"[{"name":"f"}]"#);
        let calls = answer(vec![thought(), call("f"), call("g")]);
        assert_eq!(calls.output.unwrap(), Json::text("[tool calls] f(); g()"));
        let ended = |turn| Turn { finish_reason: Some(Cow::Borrowed("stop")), ..turn };
        let choices = answer(vec![ended(call("f")), ended(turn("assistant", vec![text("so")]))]);
        assert_eq!(choices.output.unwrap().as_str(), r#"["[tool calls] f()","so"]"#);
        assert!(answer(vec![turn("assistant", vec![TurnPart::Refusal(Text::Plain("no".into()))])]).refusal);
    }

    #[test]
    fn results_without_an_id_answer_the_calls_before_them() {
        let asking = |ids: &[&'static str]| {
            let calls =
                ids.iter().map(|id| TurnPart::ToolCall { id: Some((*id).into()), name: "f".into(), arguments: None });
            turn("assistant", calls.collect())
        };
        let result = |id: Option<&'static str>| {
            turn("tool", vec![TurnPart::ToolResult { id: id.map(Cow::Borrowed), name: None, result: Some(raw("1")) }])
        };
        let ids = |mut turns: Vec<Turn<'static>>| {
            tie_results(&mut turns);
            let results = tools_in(&turns).filter(|tool| matches!(tool.kind, SeenKind::Result { .. }));
            results.map(|tool| tool.id.into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids(vec![asking(&["a", "b"]), result(None), result(None), turn("user", vec![])]), ["a", "b"]);
        assert_eq!(ids(vec![asking(&["a"]), result(None), asking(&["b"]), result(None)]), ["a", "b"]);
        assert_eq!(ids(vec![asking(&["a", "b"]), result(None)]), Vec::<String>::new(), "nobody knows which");
        assert_eq!(ids(vec![asking(&["a", "b"]), result(Some("b")), result(None)]), ["b"]);
    }

    #[test]
    fn tools_are_seen_by_their_ids() {
        let turns = [turn(
            "assistant",
            vec![
                TurnPart::ToolCall { id: Some("c1".into()), name: "f".into(), arguments: None },
                TurnPart::ToolCall { id: None, name: "g".into(), arguments: None },
                TurnPart::ToolResult { id: Some("c1".into()), name: None, result: Some(raw("1")) },
            ],
        )];
        let ids: Vec<_> = tools_in(&turns).map(|tool| tool.id).collect();
        assert_eq!(ids, ["c1", "c1"]);
    }
}
