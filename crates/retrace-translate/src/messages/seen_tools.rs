//! Tool calls and results that messages show, with their position.

use std::borrow::Cow;

use foldhash::{HashSet, HashSetExt as _};
use retrace_protocol::message::Text;
use serde_json::value::RawValue;
use smallvec::smallvec;

use super::{ROLES, Turn, TurnPart};
use crate::json::JsonObject;
use crate::messages::lists::is_unknown;

/// A tool call or a tool result in a message.
#[derive(Clone, Debug)]
pub(crate) struct SeenTool<'a> {
    /// Provider's id of the call.
    pub id: Cow<'a, str>,
    pub kind: SeenKind<'a>,
}

/// Call or result.
#[derive(Clone, Debug)]
pub(crate) enum SeenKind<'a> {
    Call { name: Cow<'a, str>, arguments: Option<&'a RawValue> },
    Result { name: Option<Cow<'a, str>>, result: Option<&'a RawValue> },
}

/// Position of a tool call or result among the messages of a model call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// In the response.
    Answer,
    /// In the history, after its last user message.
    AfterUser,
    /// In the history, within its last user message or before it.
    BeforeUser,
}

/// Returns the tool calls and results in these turns, in order. A call without an id is skipped, because nothing can be matched
/// to it.
pub(crate) fn tools_in<'t, 'a>(turns: &'t [Turn<'a>]) -> impl DoubleEndedIterator<Item = SeenTool<'a>> + use<'t, 'a> {
    turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
        TurnPart::ToolCall { id: Some(id), name, arguments } => {
            Some(SeenTool { id: id.clone(), kind: SeenKind::Call { name: name.clone(), arguments: *arguments } })
        }
        TurnPart::ToolResult { id: Some(id), name, result } => {
            Some(SeenTool { id: id.clone(), kind: SeenKind::Result { name: name.clone(), result: *result } })
        }
        _ => None,
    })
}

/// Returns the tool calls and results in a history with their positions: first those after the last user message, in order,
/// then those before it, the latest first.
pub(crate) fn tools_in_history<'t, 'a>(
    turns: &'t [Turn<'a>],
) -> impl Iterator<Item = (SeenTool<'a>, Position)> + use<'t, 'a> {
    let after = turns.iter().rposition(is_user_message).map_or(0, |at| at + 1);
    let (before, after) = turns.split_at_checked(after).unwrap_or((&[], turns));
    let after = tools_in(after).map(|tool| (tool, Position::AfterUser));
    after.chain(tools_in(before).rev().map(|tool| (tool, Position::BeforeUser)))
}

/// Returns true for a message of the user. Several APIs carry tool results in turns of the user (Anthropic, Gemini, Bedrock): a
/// turn of nothing but results does not count. A turn without parts counts, because its content was not captured.
fn is_user_message(turn: &Turn<'_>) -> bool {
    if !matches!(&*turn.role, "user" | "human") {
        return false;
    }
    let mut is_empty = true;
    for part in &turn.parts {
        match part {
            TurnPart::Empty => {}
            TurnPart::ToolResult { .. } => is_empty = false,
            TurnPart::Other(raw) if is_machinery(raw) => is_empty = false,
            _ => return true,
        }
    }
    is_empty
}

/// Returns true for a part of an unknown kind that belongs to a tool loop, such as the result of a provider's own tool or a
/// cache point, rather than to the user's text.
fn is_machinery(raw: &RawValue) -> bool {
    const ENDINGS: [&str; 8] =
        ["_call", "_output", "_result", "-result", "_response", "-response", "-return", "_reference"];
    let Some(members) = JsonObject::read(raw.get()) else { return false };
    let kind = members.label(&["type"]);
    kind.is_some_and(|kind| ENDINGS.iter().any(|ending| kind.ends_with(ending)))
        || members.get(&["cachePoint", "cache_point"]).is_some()
}

/// Reads messages that are results of tools but are recorded as texts: under the role of tools, as `OpenLIT` writes them, or under the
/// name of a tool that was called before, as Langfuse's integration of `LangChain` does.
pub(crate) fn name_results(turns: &mut [Turn<'_>]) {
    let is_tool = |role: &str| matches!(role, "tool" | "function");
    let is_message = |role: &str| role.is_empty() || (ROLES.contains(&role) && !is_tool(role));
    let may_be_result =
        |turn: &Turn<'_>| matches!(turn.parts.as_slice(), [TurnPart::Text(Text::Token(_))]) && !is_message(&turn.role);
    if !turns.iter().any(may_be_result) {
        return;
    }
    let mut called: HashSet<String> = HashSet::new();
    for turn in turns {
        let is_called = || called.contains(&*turn.role);
        match turn.parts.as_slice() {
            [TurnPart::Text(Text::Token(raw))] if !is_message(&turn.role) && (is_tool(&turn.role) || is_called()) => {
                let result = Some(*raw);
                let role = std::mem::replace(&mut turn.role, Cow::Borrowed("tool"));
                let name = turn.name.take().or_else(|| (!is_tool(&role)).then_some(role));
                turn.parts = smallvec![TurnPart::ToolResult { id: None, name, result }];
            }
            parts => called.extend(parts.iter().filter_map(|part| match part {
                TurnPart::ToolCall { name, .. } => Some(name.clone().into_owned()),
                _ => None,
            })),
        }
    }
}

/// Gives results without a call id the ids of the calls in the turn before them, in order, if their numbers agree.
pub(crate) fn tie_results(turns: &mut [Turn<'_>]) {
    let call_ids = |turn: &Turn<'_>| -> Option<Vec<_>> {
        let calls = turn.parts.iter().filter_map(|part| match part {
            TurnPart::ToolCall { id, .. } => Some(id.as_ref().map(|id| Cow::Owned(id.clone().into_owned()))),
            _ => None,
        });
        calls.collect()
    };
    let mut turns: Vec<_> = turns.iter_mut().filter(|turn| !is_unknown(turn)).collect();
    let mut at = 0;
    while let Some((asking, after)) = turns.get_mut(at..).and_then(<[_]>::split_first_mut) {
        at += 1;
        if after.first_mut().and_then(|turn| untied_result(turn)).is_none() {
            continue;
        }
        let Some(ids) = call_ids(asking).filter(|ids| !ids.is_empty()) else { continue };
        let answers = after.iter_mut().map_while(|turn| untied_result(turn));
        let mut places: Vec<_> = answers.collect();
        if places.len() == ids.len() {
            places.iter_mut().zip(ids).for_each(|(place, id)| **place = Some(id));
        }
    }
}

/// Gives calls the ids of their results where a history has the ids of items of a response instead, `fc_…`: the results of a
/// turn stand in the order of its calls.
pub(crate) fn tie_items(turns: &mut [Turn<'_>]) {
    let is_item = |id: &str| id.starts_with("fc_");
    let has_item = |part: &TurnPart<'_>| matches!(part, TurnPart::ToolCall { id: Some(id), .. } if is_item(id));
    if !turns.iter().any(|turn| turn.parts.iter().any(has_item)) {
        return;
    }
    let parts = || {
        turns
            .iter()
            .enumerate()
            .flat_map(|(at, turn)| turn.parts.iter().enumerate().map(move |(n, part)| (at, n, part)))
    };
    let mut called = HashSet::new();
    let mut answered = HashSet::new();
    for (_, _, part) in parts() {
        match part {
            TurnPart::ToolCall { id: Some(id), .. } => drop(called.insert(id.as_ref())),
            TurnPart::ToolResult { id: Some(id), .. } => drop(answered.insert(id.as_ref())),
            _ => {}
        }
    }
    let (mut open, mut results, mut ties) = (Vec::new(), Vec::new(), Vec::new());
    let mut close = |open: &mut Vec<(usize, usize)>, results: &mut Vec<String>| {
        if open.len() == results.len() {
            ties.extend(open.drain(..).zip(results.drain(..)));
        }
        open.clear();
        results.clear();
    };
    for (at, n, part) in parts() {
        match part {
            TurnPart::ToolCall { id: Some(id), .. } => {
                if !results.is_empty() {
                    close(&mut open, &mut results);
                }
                if is_item(id) && !answered.contains(id.as_ref()) {
                    open.push((at, n));
                }
            }
            TurnPart::ToolResult { id: Some(id), .. } if !called.contains(id.as_ref()) => results.push(id.to_string()),
            _ => {}
        }
    }
    close(&mut open, &mut results);
    for ((at, n), result) in ties {
        if let Some(TurnPart::ToolCall { id, .. }) = turns.get_mut(at).and_then(|turn| turn.parts.get_mut(n)) {
            *id = Some(Cow::Owned(result));
        }
    }
}

/// Returns the id slot of a turn that is one result without an id.
fn untied_result<'t, 'a>(turn: &'t mut Turn<'a>) -> Option<&'t mut Option<Cow<'a, str>>> {
    match turn.parts.as_mut_slice() {
        [TurnPart::ToolResult { id: id @ None, .. }] => Some(id),
        _ => None,
    }
}
