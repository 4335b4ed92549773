//! What was said to a model and what it answered: the one model of messages that all dialects fill.
//!
//! A dialect reads its own shape into [`Turn`]s of [`Part`]s. From there on nothing knows which dialect it was: the turns
//! become the `{"messages": …}` of an input, the answer of an output, and the tools that were seen.

mod output;
mod seen_tools;

use std::borrow::Cow;

use retrace_protocol::Json;
use retrace_protocol::message::{Content, ContentPart, Conversation, Embedded, Media, Message, Text, ToolCall, decode};
use serde_json::value::RawValue;
use smallvec::SmallVec;

pub(crate) use self::output::{Answer, answer};
pub(crate) use self::seen_tools::{Position, Seen, SeenTool, tie_results, tools_in, tools_in_history};
use crate::lists::is_unknown;
use crate::{envelope, media};

/// One message as a dialect read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn<'a> {
    pub role: Cow<'a, str>,
    pub name: Option<Cow<'a, str>>,
    pub parts: Parts<'a>,
    pub finish_reason: Option<Cow<'a, str>>,
}

/// The pieces of a message, in order. Most messages have one, which takes no memory of its own.
pub(crate) type Parts<'a> = SmallVec<[Part<'a>; 1]>;

/// A piece of a message.
#[derive(Clone, Debug)]
pub(crate) enum Part<'a> {
    /// Something whose content was not captured.
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
    /// A kind of part that nobody here knows.
    Other(&'a RawValue),
}

impl Part<'_> {
    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

/// What stands beside a result so that a role that results do not have is not lost.
pub(crate) fn beside_a_result(role: &str) -> Option<Part<'static>> {
    (!matches!(role, "tool" | "function" | "user" | "assistant")).then_some(Part::Empty)
}

/// Where the bytes of a medium are.
#[derive(Clone, Debug)]
pub(crate) enum Source<'a> {
    Uri(Cow<'a, str>),
    File(Cow<'a, str>),
    Base64(Cow<'a, str>),
    Unknown,
}

/// The text of a JSON string, left in its JSON form; `None` for anything else.
pub(crate) fn text_of(raw: &RawValue) -> Option<Text<'_>> {
    raw.get().starts_with('"').then_some(Text::Token(raw))
}

/// A short text: that of a JSON string, or of a number; `None` when it is empty or anything else.
pub(crate) fn label_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = match raw.get().as_bytes() {
        [b'"', ..] => decode(raw),
        [b'0'..=b'9' | b'-', ..] => Cow::Borrowed(raw.get()),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// The role that a message states. The roles of APIs are read in any case, and behind the name of an enumeration.
pub(crate) fn role_label(raw: &RawValue) -> Option<Cow<'_, str>> {
    const ROLES: [&str; 9] = ["user", "assistant", "system", "developer", "tool", "function", "model", "ai", "human"];
    let role = label_of(raw)?;
    let bare = role.rsplit('.').next().unwrap_or_default();
    match ROLES.iter().find(|known| known.eq_ignore_ascii_case(bare)) {
        Some(known) => Some(Cow::Borrowed(*known)),
        None => Some(role),
    }
}

/// JSON strings that stand in each other, at most.
const STRINGS: usize = 4;

/// Arguments or a result: a JSON string that itself holds an object or a list is read once more, however often it was quoted.
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

/// The text in a JSON string; `None` for anything else.
fn quoted(text: &str) -> Option<String> {
    text.trim_start().starts_with('"').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Messages without the strings and lists around them: a JSON string that holds them, a list of strings that hold one each,
/// a list with nothing but the list of them. `None` for messages that stand in none.
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

/// The list in a list that holds nothing else, or the list of what the strings of a list hold.
fn within(json: &str) -> Option<String> {
    let after = json.trim_start().get(1..)?.trim_start();
    if !after.starts_with(['[', '"']) {
        return None;
    }
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    match elements.as_slice() {
        [one] if one.get().starts_with('[') => return Some(one.get().to_owned()),
        _ => {}
    }
    let objects = elements.iter().map(|raw| quoted(raw.get()).filter(|text| text.trim_start().starts_with('{')));
    let objects: Vec<String> = objects.collect::<Option<_>>()?;
    (!objects.is_empty()).then(|| format!("[{}]", objects.join(",")))
}

/// The input of a model call: the instructions, then the history.
///
/// Instructions that the history repeats as its own first message are said once.
pub(crate) fn conversation<'a>(instructions: Vec<Turn<'a>>, history: Vec<Turn<'a>>) -> Conversation<'a> {
    let first = history.iter().find(|turn| !is_unknown(turn));
    let repeated = match (instructions.as_slice(), first) {
        ([system], Some(first)) if is_system(&first.role) && system.parts.iter().all(Part::is_text) => {
            plain_text(system) == plain_text(first)
        }
        _ => false,
    };
    let instructions = if repeated { Vec::new() } else { instructions };
    let mut messages = Vec::with_capacity(instructions.len() + history.len());
    for turn in instructions.into_iter().chain(history) {
        messages_of(turn, &mut messages);
    }
    Conversation { messages }
}

fn is_system(role: &str) -> bool {
    matches!(role, "system" | "developer")
}

/// The role in the words of the common shape.
fn role_of(role: Cow<'_, str>) -> Cow<'_, str> {
    match &*role {
        "model" | "ai" => Cow::Borrowed("assistant"),
        "human" => Cow::Borrowed("user"),
        "function" => Cow::Borrowed("tool"),
        _ => role,
    }
}

/// Results of tools stand as messages of their own, tied to the call by its id; the rest of the turn is one message.
fn messages_of<'a>(mut turn: Turn<'a>, out: &mut Vec<Message<'a>>) {
    // Most messages are one text.
    if let [Part::Text(text) | Part::Refusal(text)] = turn.parts.as_mut_slice() {
        let content = Content::Text(std::mem::replace(text, Text::Plain(Cow::Borrowed(""))));
        let role = role_of(turn.role);
        let (tool_calls, tool_call_id, reasoning) = (Vec::new(), None, None);
        return out.push(Message { role, name: turn.name, content, tool_calls, tool_call_id, reasoning });
    }
    let mut tool_calls = Vec::new();
    let mut reasoning = Vec::new();
    let mut content = Vec::new();
    let only_results = !turn.parts.is_empty() && turn.parts.iter().all(|part| matches!(part, Part::ToolResult { .. }));
    let of_results = turn.name.as_ref().filter(|_| only_results);
    for part in turn.parts {
        if let Part::ToolResult { id, name, result } = part {
            let text = result.map(result_text);
            out.push(Message {
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
            Part::Empty | Part::ToolResult { .. } => {}
            Part::Text(text) | Part::Refusal(text) => content.push(ContentPart::text(text)),
            Part::Reasoning(text) => reasoning.push(text),
            Part::ToolCall { id, name, arguments } => {
                tool_calls.push(ToolCall { id, name, arguments: arguments.map(embedded) });
            }
            Part::Media { modality, mime_type, source } => {
                content.push(ContentPart::Media(media_of(modality, mime_type, source)));
            }
            Part::Other(raw) => content.push(ContentPart::Other(raw)),
        }
    }
    if !only_results {
        out.push(Message {
            role: role_of(turn.role),
            name: turn.name,
            content: content_of(content),
            tool_calls,
            tool_call_id: None,
            reasoning: joined(reasoning),
        });
    }
}

/// The text of a result, without the envelope that it came in.
fn result_text(raw: &RawValue) -> Text<'_> {
    let inner = match envelope::result(raw).map(|opened| opened.content) {
        Some(envelope::Content::Text(text)) => return Text::Plain(Cow::Owned(text)),
        Some(envelope::Content::Raw(inner)) => inner,
        None => raw,
    };
    text_of(inner).unwrap_or(Text::Plain(Cow::Borrowed(inner.get())))
}

fn media_of<'a>(modality: Option<Cow<'a, str>>, mime_type: Option<Cow<'a, str>>, source: Source<'a>) -> Media<'a> {
    let kind = modality.unwrap_or_else(|| media::kind_of(mime_type.as_deref()));
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

/// Several texts as one, a line apart; `None` for none.
fn joined(mut texts: Vec<Text<'_>>) -> Option<Text<'_>> {
    if texts.len() < 2 {
        return texts.pop();
    }
    Some(Text::Plain(Cow::Owned(texts.iter().map(Text::decoded).collect::<Vec<_>>().join("\n"))))
}

/// All text of a turn, for comparing.
fn plain_text(turn: &Turn<'_>) -> String {
    let texts: Vec<_> = turn
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.decoded()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}

/// Returns true if the turns hold parts that are passed on as they came.
pub(crate) fn has_others(turns: &[Turn<'_>]) -> bool {
    turns.iter().flat_map(|turn| &turn.parts).any(|part| matches!(part, Part::Other(_)))
}

/// Whether images are among what the turns hold.
pub(crate) fn has_images(turns: &[Turn<'_>]) -> bool {
    turns.iter().flat_map(|turn| &turn.parts).any(|part| match part {
        Part::Media { modality, mime_type, .. } => {
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

    fn text(text: &'static str) -> Part<'static> {
        Part::Text(Text::Plain(Cow::Borrowed(text)))
    }

    fn turn<'a>(role: &'a str, parts: Vec<Part<'a>>) -> Turn<'a> {
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
        let result = |id, json| Part::ToolResult { id: Some(Cow::Borrowed(id)), name: None, result: Some(raw(json)) };
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
        let call = |arguments| Part::ToolCall {
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
        let call = Part::ToolCall { id: None, name: Cow::Borrowed("f"), arguments: Some(raw(r#"{"a":1}"#)) };
        let thought = Part::Reasoning(Text::Plain(Cow::Borrowed("hm")));
        let one = answer(vec![turn("assistant", vec![thought, text("so"), call.clone()])]);
        assert_eq!(one.output, Some(Json::text("so")));
        assert_eq!(one.reasoning, Some(Json::text("hm")));
        assert_eq!(one.tool_calls.unwrap().as_str(), r#"[{"name":"f","arguments":{"a":1}}]"#);
        let calls_only = answer(vec![turn("assistant", vec![call])]);
        assert_eq!(calls_only.output, Some(Json::text(r#"[tool calls] f({"a":1})"#)));
        let two = answer(vec![turn("assistant", vec![text("a")]), turn("assistant", vec![text("b"), text("c")])]);
        assert_eq!(two.output.unwrap().as_str(), r#"["a","b\nc"]"#);
        assert_eq!(answer(vec![turn("assistant", vec![Part::Empty])]).output, None);
    }

    #[test]
    fn the_items_of_one_answer_are_no_choices() {
        let call = |name: &'static str| {
            let part = Part::ToolCall { id: None, name: name.into(), arguments: None };
            turn("assistant", vec![part])
        };
        let thought = || turn("assistant", vec![Part::Reasoning(Text::Plain(Cow::Borrowed("hm")))]);
        let said = answer(vec![thought(), turn("assistant", vec![text("so")]), call("f")]);
        assert_eq!((said.output.unwrap(), said.reasoning.unwrap()), (Json::text("so"), Json::text("hm")));
        assert_eq!(said.tool_calls.unwrap().as_str(), r#"[{"name":"f"}]"#);
        let calls = answer(vec![thought(), call("f"), call("g")]);
        assert_eq!(calls.output.unwrap(), Json::text("[tool calls] f(); g()"));
        let ended = |turn| Turn { finish_reason: Some(Cow::Borrowed("stop")), ..turn };
        let choices = answer(vec![ended(call("f")), ended(turn("assistant", vec![text("so")]))]);
        assert_eq!(choices.output.unwrap().as_str(), r#"["[tool calls] f()","so"]"#);
        assert!(answer(vec![turn("assistant", vec![Part::Refusal(Text::Plain("no".into()))])]).refusal);
    }

    #[test]
    fn results_without_an_id_answer_the_calls_before_them() {
        let asking = |ids: &[&'static str]| {
            let calls =
                ids.iter().map(|id| Part::ToolCall { id: Some((*id).into()), name: "f".into(), arguments: None });
            turn("assistant", calls.collect())
        };
        let result = |id: Option<&'static str>| {
            turn("tool", vec![Part::ToolResult { id: id.map(Cow::Borrowed), name: None, result: Some(raw("1")) }])
        };
        let ids = |mut turns: Vec<Turn<'static>>| {
            tie_results(&mut turns);
            let results = tools_in(&turns).filter(|tool| matches!(tool.kind, Seen::Result { .. }));
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
                Part::ToolCall { id: Some("c1".into()), name: "f".into(), arguments: None },
                Part::ToolCall { id: None, name: "g".into(), arguments: None },
                Part::ToolResult { id: Some("c1".into()), name: None, result: Some(raw("1")) },
            ],
        )];
        let ids: Vec<_> = tools_in(&turns).map(|tool| tool.id).collect();
        assert_eq!(ids, ["c1", "c1"]);
    }
}
