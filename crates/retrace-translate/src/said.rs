//! What a span was given and what it answered, from whichever of its attributes say it.

use std::borrow::Cow;

use genai_redact::Place;
use retrace_protocol::Json;
use retrace_protocol::json::is_strict;
use retrace_protocol::message::Text;
use serde_json::value::RawValue;
use smallvec::smallvec;

use crate::dialect::{Class, of_rank};
use crate::messages::{
    Answer, Part, Position, SeenTool, Turn, answer, conversation, embedded, has_images, has_others, text_of,
    tie_results, tools_in, tools_in_history,
};
use crate::reading::Reading;
use crate::redact::{redacted, redacted_text};
use crate::repair::repair;
use crate::slot::Slot;
use crate::view::{SpanView, Value};
use crate::{envelope, exchange};

/// A text shorter than this was not cut by any limit, however it begins.
const LEAST_CUT: usize = 32;

/// What a span was given and what it answered.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub input: Option<Json>,
    /// That is a conversation, as it is written here.
    pub has_conversation: bool,
    pub answer: Answer,
    /// Images are among what it was given.
    pub vision: bool,
}

impl<V: SpanView> Reading<'_, V> {
    pub(crate) fn said(&self, class: Option<Class>, seen: &mut impl FnMut(SeenTool<'_>, Position)) -> Said {
        let mut said = Said::default();
        let instructions = self.turns(Slot::SystemInstructions);
        let told = self.conversed(class == Some(Class::Model));
        let history = self.turns(Slot::InputMessages);
        let answered = self.turns(Slot::OutputMessages);
        let is_told = |slot, read| read && !self.is_exchange(slot);
        let has_history = is_told(Slot::InputMessages, history.is_some());
        let answers = is_told(Slot::OutputMessages, answered.is_some());
        let history = history.or(told.asked).or_else(|| self.exchanged(Slot::Input, exchange::request));
        // Beside instructions a bare text is what was asked.
        let prompt = self.bare(Slot::Input).filter(|_| history.is_none() && instructions.is_some());
        let asked_with = [
            (Slot::SystemInstructions, is_told(Slot::SystemInstructions, instructions.is_some())),
            (Slot::InputMessages, has_history),
            (Slot::Conversation, is_told(Slot::Conversation, told.whole)),
            (Slot::Input, prompt.is_some()),
        ];
        let mut history = history.or(prompt);
        history.iter_mut().for_each(|turns| tie_results(turns));
        let is_said = |turns: &Vec<Turn<'_>>| turns.iter().any(|turn| !turn.parts.is_empty());
        let answered = answered.or(told.answered);
        // Of what its messages do not show, such as a refusal, the whole answer is the only record.
        let answered = match answered.as_ref().is_some_and(is_said) {
            true => answered,
            false => self.exchanged(Slot::Output, exchange::response).or(answered),
        };
        if class == Some(Class::Model) {
            history.iter().flat_map(|turns| tools_in_history(turns)).for_each(|(tool, position)| seen(tool, position));
            answered.iter().flat_map(|turns| tools_in(turns)).for_each(|tool| seen(tool, Position::Answer));
            said.vision = history.as_deref().is_some_and(has_images);
        }

        // On the span of a tool that answered, the message of the tool is what it was asked with.
        let called_with = match history.as_deref() {
            Some([turn]) if class == Some(Class::Tool) && instructions.is_none() && answered.is_some() => {
                only_result(turn, self.slots.words(Slot::ToolCallId).as_deref())
            }
            _ => None,
        };
        said.has_conversation = called_with.is_none() && (instructions.is_some() || history.is_some());
        let asked = called_with.map(|raw| Json::from_serialize(&embedded(raw)));
        let has_others = |turns: &Option<Vec<Turn<'_>>>| turns.as_deref().is_some_and(has_others);
        let is_foreign = has_others(&instructions) || has_others(&history);
        let asked = asked.or_else(|| {
            said.has_conversation.then(|| {
                let bytes = asked_with.iter().map(|(slot, _)| self.slots.value(*slot).map_or(0, Value::weight)).sum();
                let said = conversation(instructions.unwrap_or_default(), history.unwrap_or_default());
                let json = Json::from_serialize_of_about(bytes, &said);
                if is_foreign { redacted(json, Place::Conversation) } else { json }
            })
        });
        let is_foreign = has_others(&answered);
        said.answer = answered.map(answer).unwrap_or_default();
        if is_foreign {
            said.answer.output = said.answer.output.map(|json| redacted(json, Place::Parts));
            said.answer.others = said.answer.others.map(|json| redacted(json, Place::Parts));
        }

        let (given, returned) = match class {
            Some(Class::Model) => (None, None),
            Some(Class::Tool) => (Some(Slot::ToolArguments), Some(Slot::ToolResult)),
            _ => (Some(Slot::RetrievalQuery), Some(Slot::RetrievalDocuments)),
        };
        let of_run = |slot| self.view.parent().is_local_root().then(|| self.stated(slot)).flatten();
        let ahead = |stated, own: Option<Slot>| self.outright(stated).or_else(|| self.stated(own?));
        said.input = ahead(Slot::Input, given);
        said.has_conversation &= said.input.is_none();
        said.input = said.input.take().or_else(|| {
            asked_with.iter().filter(|(_, read)| *read).for_each(|(slot, _)| self.slots.mark_told(*slot));
            asked.or_else(|| self.stated(Slot::Input)).or_else(|| of_run(Slot::RunInput))
        });
        said.answer.output = ahead(Slot::Output, returned).or_else(|| {
            answers.then(|| self.slots.mark_told(Slot::OutputMessages));
            said.answer.output.take().or_else(|| self.stated(Slot::Output)).or_else(|| of_run(Slot::RunOutput))
        });
        said
    }

    /// The messages in a place. What its dialect cannot read is one message: bare text is recorded too.
    fn turns(&self, slot: Slot) -> Option<Vec<Turn<'_>>> {
        if let Some(turns) = self.read(slot) {
            return Some(turns);
        }
        let text = self.slots.value(slot)?.as_json_text()?;
        let whole = is_strict(text).then(|| serde_json::from_str::<&RawValue>(text).ok()).flatten();
        let part = match whole {
            Some(raw) => text_of(raw).map_or(Part::Other(raw), Part::Text),
            None => Part::Text(Text::Plain(redacted_text(text))),
        };
        Some(vec![Turn { role: Cow::Borrowed(otherwise(slot)), parts: smallvec![part], ..Turn::default() }])
    }

    /// The messages of a model call of which only the request or the answer was recorded, whole or as its text.
    ///
    /// A whole one has more than messages, so that it is kept as it is too.
    fn exchanged(&self, slot: Slot, read: for<'a> fn(&'a str) -> Option<Vec<Turn<'a>>>) -> Option<Vec<Turn<'_>>> {
        let held = self.slots.get(slot).filter(|held| held.rank > 0 && self.class() == Some(Class::Model))?;
        let text = held.value.as_json_text()?;
        if !is_structured(text) {
            return self.bare(slot).inspect(|_| self.slots.mark_told(slot));
        }
        let turns = is_strict(text).then(|| read(text)).flatten()?;
        // A list is of messages, and of nothing else.
        if text.trim_start().starts_with('[') {
            self.slots.mark_told(slot);
        }
        Some(turns)
    }

    /// Whether what stands for messages is a whole request or answer that has more than those, and is kept as it is too.
    fn is_exchange(&self, slot: Slot) -> bool {
        let Some(held) = self.slots.get(slot) else { return false };
        let wraps = |text| of_rank(held.rank).is_some_and(|dialect| (dialect.wraps)(text));
        held.value.as_json_text().is_some_and(|text| exchange::has_more(text) || wraps(text))
    }

    /// A text in a place as the one message that it is.
    fn bare(&self, slot: Slot) -> Option<Vec<Turn<'_>>> {
        let held = self.slots.get(slot).filter(|held| held.rank > 0)?;
        let text = held.value.as_text().filter(|text| !is_structured(text))?;
        let part = Part::Text(Text::Plain(Cow::Borrowed(text)));
        Some(vec![Turn { role: Cow::Borrowed(otherwise(slot)), parts: smallvec![part], ..Turn::default() }])
    }

    /// The value in a place, as JSON where it is JSON, else as text.
    fn stated(&self, slot: Slot) -> Option<Json> {
        let dialect = of_rank(self.slots.get(slot)?.rank)?;
        let inner = |value: &Value<'_>| {
            let raw = (dialect.unwrapped)(value.as_json_text()?)?;
            is_strict(raw.get()).then(|| Json::from(raw.to_owned()))
        };
        if let Some(opened) = self.opened(slot) {
            return Some(opened);
        }
        let is_text = self.is_text(slot);
        self.slots.tell(slot, |value| {
            let text = value.as_text().filter(|_| is_text).map(Json::text);
            let whole = || inner(value).or_else(|| Json::parse_strict(value.as_json_text()?));
            let cut = || repair(value.as_json_text().filter(|text| text.len() >= LEAST_CUT)?);
            let cut = || cut().inspect(|_| self.slots.cut.set(true));
            let stated = text.or_else(whole).or_else(cut).unwrap_or_else(|| json_or_text(value));
            Some(redacted(stated, self.place(slot)))
        })
    }

    /// The content of the envelope in a place of a tool's span. An envelope that has more than that is kept as it is too.
    fn opened(&self, slot: Slot) -> Option<Json> {
        let held = self.slots.get(slot).filter(|held| held.rank > 0 && self.class() == Some(Class::Tool))?;
        let raw = held.value.as_json_text().filter(|text| text.starts_with(['{', '[']) && is_strict(text))?;
        let raw = serde_json::from_str(raw).ok()?;
        let opened = match slot {
            Slot::Input | Slot::ToolArguments => envelope::arguments(raw, &self.tool_name()),
            Slot::Output | Slot::ToolResult => envelope::result(raw),
            _ => None,
        }?;
        if opened.is_whole {
            self.slots.mark_told(slot);
        }
        Some(opened.content.to_json())
    }

    /// Where in a span the value of a slot stands: what a tool was given and returned stays as it is.
    fn place(&self, slot: Slot) -> Place {
        match slot {
            Slot::RunInput | Slot::RunOutput => Place::Recorded,
            Slot::Input | Slot::Output if self.class() != Some(Class::Tool) => Place::Recorded,
            _ => Place::Verbatim,
        }
    }

    /// Whether a value is declared to be a text; what a tool was given or returned is JSON where it looks like it.
    fn is_text(&self, slot: Slot) -> bool {
        let mime_type = match slot {
            Slot::Input => self.slots.text(Slot::InputMimeType),
            Slot::Output => self.slots.text(Slot::OutputMimeType),
            _ => None,
        };
        let is_structured = || self.slots.text(slot).is_some_and(|text| text.starts_with(['{', '[']));
        mime_type == Some("text/plain") && !(self.class() == Some(Class::Tool) && is_structured())
    }

    /// The same, when the application itself stated it.
    fn outright(&self, slot: Slot) -> Option<Json> {
        self.stated(self.slots.get(slot).filter(|held| held.rank == 0).map(|_| slot)?)
    }
}

/// Whose a message is that does not say.
fn otherwise(slot: Slot) -> &'static str {
    match slot {
        Slot::SystemInstructions => "system",
        Slot::OutputMessages | Slot::Output => "assistant",
        _ => "user",
    }
}

/// Whether a text is JSON with more than one value in it.
/// What a message has that is about one call of a tool and says nothing else.
fn only_result<'a>(turn: &Turn<'a>, call_id: Option<&str>) -> Option<&'a RawValue> {
    match turn.parts.as_slice() {
        [Part::ToolResult { id, name: None, result }] if turn.name.is_none() => {
            result.filter(|_| id.is_none() || id.as_deref() == call_id)
        }
        _ => None,
    }
}

fn is_structured(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn json_or_text(value: &Value<'_>) -> Json {
    match value {
        Value::Str(text) => Json::parse_strict(text).unwrap_or_else(|| Json::text(text)),
        other => Json::from_serialize(other),
    }
}
