//! Conversations that were recorded as one, and messages that arrived cut.

use std::cell::OnceCell;

use retrace_protocol::Json;
use retrace_protocol::json::is_strict;

use crate::dialect::of_rank;
use crate::messages::{Part, Turn, unwrapped};
use crate::reading::Reading;
use crate::repair::repair;
use crate::slot::Slot;
use crate::view::SpanView;

/// A conversation, divided.
#[derive(Debug, Default)]
pub(crate) struct Conversed<'t> {
    pub asked: Option<Vec<Turn<'t>>>,
    pub answered: Option<Vec<Turn<'t>>>,
    /// Nothing else was said in it.
    pub whole: bool,
}

/// Messages that arrived cut, closed: one for each place that has messages.
#[derive(Debug, Default)]
pub(crate) struct Mended([OnceCell<Option<Json>>; 4]);

impl Mended {
    fn of(&self, slot: Slot) -> Option<&OnceCell<Option<Json>>> {
        self.0.get(match slot {
            Slot::SystemInstructions => 0,
            Slot::InputMessages => 1,
            Slot::OutputMessages => 2,
            _ => 3,
        })
    }
}

impl<V: SpanView> Reading<'_, V> {
    /// Divides a conversation that was recorded as one into what was asked and what was answered.
    ///
    /// Of an agent what was asked ends with the user's last message: what came after it is what the agent did, and the
    /// spans below it show that. Its answer is the end of the conversation, unless it states one.
    pub(crate) fn conversed(&self, is_call: bool) -> Conversed<'_> {
        let has = |slot| self.slots.get(slot).is_some();
        let Some(mut asked) = self.read(Slot::Conversation) else { return Conversed::default() };
        let all = asked.len();
        let answer = asked.iter().rposition(|turn| !is_assistant(turn)).map_or(0, |last| last + 1);
        let answered = asked.split_off(answer);
        if !is_call && let Some(last) = asked.iter().rposition(is_prompt) {
            asked.truncate(last + 1);
        }
        let mut said = if has(Slot::InputMessages) { 0 } else { asked.len() };
        let stated = self.slots.text(Slot::Output).filter(|_| !is_call);
        let answers = !has(Slot::OutputMessages) && (is_call || !has(Slot::Output));
        if answers || stated.is_some_and(|stated| is_said_by(&answered, stated)) {
            said += answered.len();
        }
        Conversed {
            whole: said == all && !asked.is_empty(),
            asked: (!asked.is_empty()).then_some(asked),
            answered: (answers && !answered.is_empty()).then_some(answered),
        }
    }

    /// The messages in a place, read by the dialect that put them there; JSON that arrived cut as far as it goes.
    pub(crate) fn read(&self, slot: Slot) -> Option<Vec<Turn<'_>>> {
        let held = self.slots.get(slot)?;
        let text = held.value.as_json_text()?;
        let read = of_rank(held.rank)?.turns;
        if let Some(inner) = unwrapped(text) {
            return read(self.mended.of(slot)?.get_or_init(|| Some(inner)).as_ref()?.as_str());
        }
        if let Some(turns) = is_strict(text).then(|| read(text)).flatten() {
            return Some(turns);
        }
        let mended = self.mended.of(slot)?.get_or_init(|| repair(text)).as_ref()?;
        read(mended.as_str()).inspect(|_| self.slots.cut.set(true))
    }
}

fn is_assistant(turn: &Turn<'_>) -> bool {
    matches!(&*turn.role, "assistant" | "model" | "ai")
}

/// Whether an answer is just this text.
fn is_said_by(answer: &[Turn<'_>], text: &str) -> bool {
    let [Turn { parts, .. }] = answer else { return false };
    matches!(parts.as_slice(), [Part::Text(said)] if said.decoded() == text)
}

/// Whether the user says something, other than what a tool returned.
fn is_prompt(turn: &Turn<'_>) -> bool {
    turn.role == "user" && !turn.parts.iter().all(|part| matches!(part, Part::ToolResult { .. }))
}
