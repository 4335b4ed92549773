//! Conversations that were recorded whole, and messages that arrived truncated.

use std::cell::OnceCell;

use retrace_protocol::Json;
use retrace_protocol::json::is_strict;

use crate::dialect::dialect_of_rank;
use crate::fields::Field;
use crate::json::repair;
use crate::messages::{Turn, TurnPart, unwrapped};
use crate::span_reader::SpanReader;
use crate::view::SpanView;

/// A conversation, split into input and output.
#[derive(Debug, Default)]
pub(crate) struct SplitConversation<'t> {
    pub input: Option<Vec<Turn<'t>>>,
    pub output: Option<Vec<Turn<'t>>>,
    /// True if input and output are all of it.
    pub whole: bool,
}

/// Repaired messages of truncated fields: one for each field that holds messages.
#[derive(Debug, Default)]
pub(crate) struct RepairedMessages([OnceCell<Option<Json>>; 4]);

impl RepairedMessages {
    fn of(&self, field: Field) -> Option<&OnceCell<Option<Json>>> {
        self.0.get(match field {
            Field::SystemInstructions => 0,
            Field::InputMessages => 1,
            Field::OutputMessages => 2,
            _ => 3,
        })
    }
}

impl<V: SpanView> SpanReader<'_, V> {
    /// Splits a conversation that was recorded whole into input and output.
    ///
    /// The input of an agent ends with the last message of the user, because later messages are steps of the agent, which have
    /// spans of their own. Its output is the end of the conversation, unless the span states one.
    pub(crate) fn split_conversation(&self, is_call: bool) -> SplitConversation<'_> {
        let has = |field| self.fields.get(field).is_some();
        let Some(mut input) = self.read(Field::Conversation) else { return SplitConversation::default() };
        let all = input.len();
        let answer = input.iter().rposition(|turn| !is_assistant(turn)).map_or(0, |last| last + 1);
        let output = input.split_off(answer);
        if !is_call && let Some(last) = input.iter().rposition(is_prompt) {
            input.truncate(last + 1);
        }
        let mut included = if has(Field::InputMessages) { 0 } else { input.len() };
        let stated = self.fields.text(Field::Output).filter(|_| !is_call);
        let answers = !has(Field::OutputMessages) && (is_call || !has(Field::Output));
        if answers || stated.is_some_and(|stated| is_text(&output, stated)) {
            included += output.len();
        }
        SplitConversation {
            whole: included == all && !input.is_empty(),
            input: (!input.is_empty()).then_some(input),
            output: (answers && !output.is_empty()).then_some(output),
        }
    }

    /// Reads the messages of a field with the reader of the dialect that set it. Truncated JSON is repaired.
    pub(crate) fn read(&self, field: Field) -> Option<Vec<Turn<'_>>> {
        let held = self.fields.get(field)?;
        let text = held.value.as_json_text()?;
        let dialect = dialect_of_rank(held.rank)?;
        let read = dialect.turns;
        if let Some(inner) = unwrapped(text) {
            return read(self.repaired.of(field)?.get_or_init(|| Some(inner)).as_ref()?.as_str());
        }
        if let Some(turns) = (dialect.usual_turns)(text).or_else(|| is_strict(text).then(|| read(text)).flatten()) {
            return Some(turns);
        }
        let repaired = self.repaired.of(field)?.get_or_init(|| repair(text)).as_ref()?;
        read(repaired.as_str()).inspect(|_| self.fields.truncated.set(true))
    }
}

fn is_assistant(turn: &Turn<'_>) -> bool {
    matches!(&*turn.role, "assistant" | "model" | "ai")
}

/// Returns true if an output is just this text.
fn is_text(answer: &[Turn<'_>], text: &str) -> bool {
    let [Turn { parts, .. }] = answer else { return false };
    matches!(parts.as_slice(), [TurnPart::Text(included)] if included.decoded() == text)
}

/// Returns true if the user writes something, rather than passing on tool results.
fn is_prompt(turn: &Turn<'_>) -> bool {
    turn.role == "user" && !turn.parts.iter().all(|part| matches!(part, TurnPart::ToolResult { .. }))
}
