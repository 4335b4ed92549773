//! What was said on a span, wherever its dialect put it.

use std::borrow::Cow;
use std::cell::OnceCell;

use retrace_protocol::Json;
use retrace_protocol::json::is_strict;
use retrace_protocol::message::Text;
use serde_json::value::RawValue;

use crate::dialect::of_rank;
use crate::envelope;
use crate::messages::{Part, Turn, text_of};
use crate::reading::Reading;
use crate::repair::repair;
use crate::slot::Slot;
use crate::view::SpanView;

/// What was said, and the places it was found in.
#[derive(Debug, Default)]
pub(crate) struct Talk<'t> {
    pub instructions: Option<Vec<Turn<'t>>>,
    pub history: Option<Vec<Turn<'t>>>,
    pub answered: Option<Vec<Turn<'t>>>,
    /// What these places hold is in instructions and history.
    pub asked_in: Vec<Slot>,
    /// What these places hold is in the answer.
    pub answered_in: Vec<Slot>,
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
    /// Finds what was said. `is_call` for a call of a model, of which whatever it was given and returned is what was said.
    pub(crate) fn talk(&self, is_call: bool) -> Talk<'_> {
        let mut talk = Talk {
            instructions: self.turns(Slot::SystemInstructions),
            history: self.turns(Slot::InputMessages),
            answered: self.turns(Slot::OutputMessages),
            ..Talk::default()
        };
        for (slot, read) in [(Slot::SystemInstructions, &talk.instructions), (Slot::InputMessages, &talk.history)] {
            read.iter().for_each(|_| talk.asked_in.push(slot));
        }
        talk.answered.iter().for_each(|_| talk.answered_in.push(Slot::OutputMessages));
        if talk.history.is_none() || talk.answered.is_none() {
            self.divide(&mut talk, is_call);
        }
        if is_call {
            self.unwrap(&mut talk);
        }
        talk
    }

    /// Divides a conversation that was recorded as one into what was asked and what was answered. Of an agent what was asked
    /// ends with the user's last message: what came after it is what the agent did.
    fn divide<'t>(&'t self, talk: &mut Talk<'t>, is_call: bool) {
        let Some(mut turns) = self.read(Slot::Conversation) else { return };
        let all = turns.len();
        let begins = |turns: &[Turn<'_>]| turns.iter().rposition(|turn| !is_assistant(turn)).map_or(0, |last| last + 1);
        let answer = turns.split_off(begins(&turns));
        if !is_call && let Some(last) = turns.iter().rposition(is_prompt) {
            turns.truncate(last + 1);
        }
        let asks = talk.history.is_none() && !turns.is_empty();
        let is_repeated = !is_call && self.slots.text(Slot::Output).is_some_and(|output| is_said_by(&answer, output));
        let is_stated = !is_call && self.slots.get(Slot::Output).is_some();
        let answers = talk.answered.is_none() && !answer.is_empty() && !is_stated;
        let mut said = if is_repeated { answer.len() } else { 0 };
        if asks {
            said += turns.len();
            talk.history = Some(turns);
        }
        if answers {
            said += answer.len();
            talk.answered = Some(answer);
        }
        if said == all && all > 0 {
            // Told when both are; a run without an answer has only the question.
            let slots = if asks { &mut talk.asked_in } else { &mut talk.answered_in };
            slots.push(Slot::Conversation);
        }
    }

    /// Finds messages in a request and an answer that were recorded whole.
    fn unwrap<'t>(&'t self, talk: &mut Talk<'t>) {
        let text = |slot| self.slots.get(slot).filter(|held| held.rank > 0)?.value.as_json_text();
        if talk.history.is_none()
            && let Some(text) = text(Slot::Input)
        {
            talk.history = strict(text)
                .and_then(envelope::asked)
                .or_else(|| (!looks_like_json(text)).then(|| vec![bare("user", text)]));
            talk.history.iter().for_each(|_| talk.asked_in.push(Slot::Input));
        }
        if talk.answered.is_none()
            && let Some(text) = text(Slot::Output)
            && let Some(turns) = strict(text).and_then(envelope::answered)
        {
            talk.answered = Some(turns);
            talk.answered_in.push(Slot::Output);
        }
    }

    /// The messages in a place. What its dialect cannot read is one message: bare text is recorded too.
    fn turns(&self, slot: Slot) -> Option<Vec<Turn<'_>>> {
        if let Some(turns) = self.read(slot) {
            return Some(turns);
        }
        let text = self.slots.value(slot)?.as_json_text()?;
        let whole = strict(text).and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        let part = match whole {
            Some(raw) => text_of(raw).map_or(Part::Other(raw), Part::Text),
            None => Part::Text(Text::Plain(Cow::Borrowed(text))),
        };
        let role = match slot {
            Slot::SystemInstructions => "system",
            Slot::OutputMessages => "assistant",
            _ => "user",
        };
        Some(vec![Turn { role: Cow::Borrowed(role), parts: vec![part], ..Turn::default() }])
    }

    /// The messages in a place, read by the dialect that put them there; JSON that arrived cut as far as it goes.
    fn read(&self, slot: Slot) -> Option<Vec<Turn<'_>>> {
        let held = self.slots.get(slot)?;
        let text = held.value.as_json_text()?;
        let read = of_rank(held.rank)?.turns;
        if let Some(turns) = strict(text).and_then(read) {
            return Some(turns);
        }
        let mended = self.mended.of(slot)?.get_or_init(|| repair(text)).as_ref()?;
        read(mended.as_str()).inspect(|_| self.slots.cut.set(true))
    }
}

fn strict(text: &str) -> Option<&str> {
    is_strict(text).then_some(text)
}

fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[', '"'])
}

fn bare<'t>(role: &'static str, text: &'t str) -> Turn<'t> {
    let parts = vec![Part::Text(Text::Plain(Cow::Borrowed(text)))];
    Turn { role: Cow::Borrowed(role), parts, ..Turn::default() }
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
