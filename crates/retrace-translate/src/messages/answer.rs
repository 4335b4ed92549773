//! Output of a model call, assembled from the turns of its response.

use std::borrow::Cow;

use retrace_protocol::Json;
use retrace_protocol::message::{Content, Text, ToolCall, tool_calls_text};

use super::{Turn, TurnPart, joined, messages_of, text_of};

/// Response of a model.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// A text, or a list if there are several choices.
    pub output: Option<Json>,
    /// Requested tool calls, as in `metadata.tool_calls`.
    pub tool_calls: Option<Json>,
    /// Reasoning of the model.
    pub reasoning: Option<Json>,
    /// Finish reason of each choice that states one.
    pub finish_reasons: Vec<String>,
    /// True if the response is a refusal.
    pub refusal: bool,
    /// Parts and items of unknown kinds beside the output: a list.
    pub others: Option<Json>,
}

/// Assembles the output of a model call.
pub(crate) fn answer(turns: Vec<Turn<'_>>) -> Answer {
    assembled(turns, false)
}

/// Assembles the output of a model call with one choice: turns that hold only calls are part of the choice beside them, whatever
/// finish reason they state.
pub(crate) fn answer_of_one_choice(turns: Vec<Turn<'_>>) -> Answer {
    assembled(turns, true)
}

fn assembled(turns: Vec<Turn<'_>>, is_one_choice: bool) -> Answer {
    let mut all_calls = Vec::new();
    let mut all_reasoning = Vec::new();
    let mut choices = Vec::with_capacity(turns.len());
    let mut answer = Answer::default();
    let is_content =
        |part: &TurnPart<'_>| !matches!(part, TurnPart::Other(_) | TurnPart::Empty | TurnPart::Reasoning(_));
    let has_content = turns.iter().flat_map(|turn| &turn.parts).any(is_content);
    let mut others = Vec::new();
    for mut turn in turns {
        answer.finish_reasons.extend(turn.finish_reason.iter().map(|reason| reason.clone().into_owned()));
        answer.refusal |= turn.parts.iter().any(|part| matches!(part, TurnPart::Refusal(_)));
        let ended = turn.finish_reason.is_some() && !is_one_choice;
        let had_parts = !turn.parts.is_empty();
        let is_thought =
            had_parts && turn.parts.iter().all(|part| matches!(part, TurnPart::Reasoning(_) | TurnPart::Empty));
        if has_content {
            turn.parts.retain(|part| match part {
                TurnPart::Other(raw) => {
                    others.push(*raw);
                    false
                }
                _ => true,
            });
        }
        turn.parts = turn.parts.into_iter().filter_map(answer_part).collect();
        if had_parts && turn.parts.is_empty() {
            continue;
        }
        let mut messages = Vec::new();
        messages_of(turn, &mut |message| messages.push(message));
        for message in messages {
            let silent = matches!(&message.content, Content::Text(text) if text.is_empty());
            match (silent, message.tool_calls.is_empty()) {
                (true, false) if ended => choices.push(only_calls(&message.tool_calls)),
                // Turns that hold only calls and no finish reason form one choice together with the turns beside them.
                (true, false) => {}
                // Reasoning is no choice: it precedes the choice that it led to.
                (true, true) if is_thought => {}
                _ => choices.push(message.content),
            }
            all_calls.extend(message.tool_calls);
            all_reasoning.extend(message.reasoning);
        }
    }
    if choices.is_empty() && !all_calls.is_empty() {
        choices.push(only_calls(&all_calls));
    }
    answer.output = match choices.as_slice() {
        [] => None,
        [Content::Text(text)] if text.is_empty() => None,
        [one] => Some(Json::from_serialize(one)),
        several => Some(Json::from_serialize(several)),
    };
    answer.tool_calls = (!all_calls.is_empty()).then(|| Json::from_serialize(&all_calls));
    answer.others = (!others.is_empty()).then(|| Json::from_serialize(&others));
    answer.reasoning = joined(all_reasoning).map(|text| Json::from_serialize(&text));
    answer
}

fn only_calls<'a>(calls: &[ToolCall<'_>]) -> Content<'a> {
    Content::Text(Text::Plain(Cow::Owned(tool_calls_text(calls))))
}

/// Returns the part as it counts in the output. A result of a provider's own tool is reported as a tool instead, unless it has
/// no call id.
fn answer_part(part: TurnPart<'_>) -> Option<TurnPart<'_>> {
    match part {
        TurnPart::ToolResult { id: Some(_), .. } => None,
        TurnPart::ToolResult { id: None, result, .. } => {
            result.map(|raw| text_of(raw).map_or(TurnPart::Other(raw), TurnPart::Text))
        }
        other => Some(other),
    }
}
