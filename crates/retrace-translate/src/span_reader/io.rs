//! What a span was given and what it answered, from whichever of its attributes say it.

use std::borrow::Cow;

use genai_redact::Place;
use retrace_protocol::Json;
use retrace_protocol::json::is_strict;
use retrace_protocol::message::Text;
use serde_json::value::RawValue;
use smallvec::smallvec;

use crate::dialect::{Class, dialect_of_rank};
use crate::fields::Field;
use crate::json::repair;
use crate::json::text_of;
use crate::json::{redacted, redacted_text};
use crate::messages::envelope;
use crate::messages::provider_body;
use crate::messages::{
    Answer, Part, Position, SeenTool, Turn, answer, conversation, embedded, has_images, has_others, tie_results,
    tools_in, tools_in_history,
};
use crate::span_reader::SpanReader;
use crate::view::{SpanView, Value};

/// A text shorter than this was not cut by any limit, however it begins.
const LEAST_CUT: usize = 32;

/// What a span was given and what it answered.
#[derive(Debug, Default)]
pub(crate) struct SpanIo {
    pub input: Option<Json>,
    /// That is a conversation, as it is written here.
    pub has_conversation: bool,
    pub answer: Answer,
    /// Images are among what it was given.
    pub vision: bool,
}

impl<V: SpanView> SpanReader<'_, V> {
    pub(crate) fn read_io(&self, class: Option<Class>, seen: &mut impl FnMut(SeenTool<'_>, Position)) -> SpanIo {
        let mut io = SpanIo::default();
        let instructions = self.turns(Field::SystemInstructions);
        let conversation_parts = self.split_conversation(class == Some(Class::Model));
        let history = self.turns(Field::InputMessages);
        let answered = self.turns(Field::OutputMessages);
        let is_consumed = |field, read| read && !self.is_exchange(field);
        let has_history = is_consumed(Field::InputMessages, history.is_some());
        let has_output_messages = is_consumed(Field::OutputMessages, answered.is_some());
        let history =
            history.or(conversation_parts.input).or_else(|| self.exchanged(Field::Input, provider_body::request));
        // Beside instructions a bare text is what was asked.
        let prompt = self.bare(Field::Input).filter(|_| history.is_none() && instructions.is_some());
        let input_fields = [
            (Field::SystemInstructions, is_consumed(Field::SystemInstructions, instructions.is_some())),
            (Field::InputMessages, has_history),
            (Field::Conversation, is_consumed(Field::Conversation, conversation_parts.whole)),
            (Field::Input, prompt.is_some()),
        ];
        let mut history = history.or(prompt);
        history.iter_mut().for_each(|turns| tie_results(turns));
        let has_parts = |turns: &Vec<Turn<'_>>| turns.iter().any(|turn| !turn.parts.is_empty());
        let answered = answered.or(conversation_parts.output);
        // Of what its messages do not show, such as a refusal, the whole answer is the only record.
        let answered = match answered.as_ref().is_some_and(has_parts) {
            true => answered,
            false => self.exchanged(Field::Output, provider_body::response).or(answered),
        };
        if class == Some(Class::Model) {
            history.iter().flat_map(|turns| tools_in_history(turns)).for_each(|(tool, position)| seen(tool, position));
            answered.iter().flat_map(|turns| tools_in(turns)).for_each(|tool| seen(tool, Position::Answer));
            io.vision = history.as_deref().is_some_and(has_images);
        }

        // On the span of a tool that answered, the message of the tool is what it was asked with.
        let called_with = match history.as_deref() {
            Some([turn]) if class == Some(Class::Tool) && instructions.is_none() && answered.is_some() => {
                only_result(turn, self.fields.label(Field::ToolCallId).as_deref())
            }
            _ => None,
        };
        io.has_conversation = called_with.is_none() && (instructions.is_some() || history.is_some());
        let input = called_with.map(|raw| Json::from_serialize(&embedded(raw)));
        let has_others = |turns: &Option<Vec<Turn<'_>>>| turns.as_deref().is_some_and(has_others);
        let is_foreign = has_others(&instructions) || has_others(&history);
        let input = input.or_else(|| {
            io.has_conversation.then(|| {
                let bytes =
                    input_fields.iter().map(|(field, _)| self.fields.value(*field).map_or(0, Value::weight)).sum();
                let messages = conversation(instructions.unwrap_or_default(), history.unwrap_or_default());
                let json = Json::from_serialize_with_capacity(bytes, &messages);
                if is_foreign { redacted(json, Place::Conversation) } else { json }
            })
        });
        let is_foreign = has_others(&answered);
        io.answer = answered.map(answer).unwrap_or_default();
        if is_foreign {
            io.answer.output = io.answer.output.map(|json| redacted(json, Place::Parts));
            io.answer.others = io.answer.others.map(|json| redacted(json, Place::Parts));
        }

        let (given, returned) = match class {
            Some(Class::Model) => (None, None),
            Some(Class::Tool) => (Some(Field::ToolArguments), Some(Field::ToolResult)),
            _ => (Some(Field::RetrievalQuery), Some(Field::RetrievalDocuments)),
        };
        let of_run = |field| self.view.parent().is_local_root().then(|| self.stated(field)).flatten();
        let ahead = |stated, own: Option<Field>| self.outright(stated).or_else(|| self.stated(own?));
        io.input = ahead(Field::Input, given);
        io.has_conversation &= io.input.is_none();
        io.input = io.input.take().or_else(|| {
            input_fields.iter().filter(|(_, read)| *read).for_each(|(field, _)| self.fields.mark_consumed(*field));
            input.or_else(|| self.stated(Field::Input)).or_else(|| of_run(Field::RunInput))
        });
        io.answer.output = ahead(Field::Output, returned).or_else(|| {
            has_output_messages.then(|| self.fields.mark_consumed(Field::OutputMessages));
            io.answer.output.take().or_else(|| self.stated(Field::Output)).or_else(|| of_run(Field::RunOutput))
        });
        io
    }

    /// The messages in a place. What its dialect cannot read is one message: bare text is recorded too.
    fn turns(&self, field: Field) -> Option<Vec<Turn<'_>>> {
        if let Some(turns) = self.read(field) {
            return Some(turns);
        }
        let text = self.fields.value(field)?.as_json_text()?;
        let whole = is_strict(text).then(|| serde_json::from_str::<&RawValue>(text).ok()).flatten();
        let part = match whole {
            Some(raw) => text_of(raw).map_or(Part::Other(raw), Part::Text),
            None => Part::Text(Text::Plain(redacted_text(text))),
        };
        Some(vec![Turn { role: Cow::Borrowed(default_role(field)), parts: smallvec![part], ..Turn::default() }])
    }

    /// The messages of a model call of which only the request or the answer was recorded, whole or as its text.
    ///
    /// A whole one has more than messages, so that it is kept as it is too.
    fn exchanged(&self, field: Field, read: for<'a> fn(&'a str) -> Option<Vec<Turn<'a>>>) -> Option<Vec<Turn<'_>>> {
        let held = self.fields.get(field).filter(|held| held.rank > 0 && self.class() == Some(Class::Model))?;
        let text = held.value.as_json_text()?;
        if !is_structured(text) {
            return self.bare(field).inspect(|_| self.fields.mark_consumed(field));
        }
        let turns = is_strict(text).then(|| read(text)).flatten()?;
        // A list is of messages, and of nothing else.
        if text.trim_start().starts_with('[') {
            self.fields.mark_consumed(field);
        }
        Some(turns)
    }

    /// Whether what stands for messages is a whole request or answer that has more than those, and is kept as it is too.
    fn is_exchange(&self, field: Field) -> bool {
        let Some(held) = self.fields.get(field) else { return false };
        let wraps = |text| dialect_of_rank(held.rank).is_some_and(|dialect| (dialect.wraps)(text));
        held.value.as_json_text().is_some_and(|text| provider_body::has_more(text) || wraps(text))
    }

    /// A text in a place as the one message that it is.
    fn bare(&self, field: Field) -> Option<Vec<Turn<'_>>> {
        let held = self.fields.get(field).filter(|held| held.rank > 0)?;
        let text = held.value.as_text().filter(|text| !is_structured(text))?;
        let part = Part::Text(Text::Plain(Cow::Borrowed(text)));
        Some(vec![Turn { role: Cow::Borrowed(default_role(field)), parts: smallvec![part], ..Turn::default() }])
    }

    /// The value in a place, as JSON where it is JSON, else as text.
    fn stated(&self, field: Field) -> Option<Json> {
        let dialect = dialect_of_rank(self.fields.get(field)?.rank)?;
        let inner = |value: &Value<'_>| {
            let raw = (dialect.unwrapped)(value.as_json_text()?)?;
            is_strict(raw.get()).then(|| Json::from(raw.to_owned()))
        };
        if let Some(opened) = self.opened(field) {
            return Some(opened);
        }
        let is_text = self.is_text(field);
        self.fields.consume(field, |value| {
            let text = value.as_text().filter(|_| is_text).map(Json::text);
            let whole = || inner(value).or_else(|| Json::parse_strict(value.as_json_text()?));
            let cut = || repair(value.as_json_text().filter(|text| text.len() >= LEAST_CUT)?);
            let cut = || cut().inspect(|_| self.fields.truncated.set(true));
            let stated = text.or_else(whole).or_else(cut).unwrap_or_else(|| json_or_text(value));
            Some(redacted(stated, self.place(field)))
        })
    }

    /// The content of the envelope in a place of a tool's span. An envelope that has more than that is kept as it is too.
    fn opened(&self, field: Field) -> Option<Json> {
        let held = self.fields.get(field).filter(|held| held.rank > 0 && self.class() == Some(Class::Tool))?;
        let raw = held.value.as_json_text().filter(|text| text.starts_with(['{', '[']) && is_strict(text))?;
        let raw = serde_json::from_str(raw).ok()?;
        let opened = match field {
            Field::Input | Field::ToolArguments => envelope::arguments(raw, &self.tool_name()),
            Field::Output | Field::ToolResult => envelope::result(raw),
            _ => None,
        }?;
        if opened.is_whole {
            self.fields.mark_consumed(field);
        }
        Some(opened.content.to_json())
    }

    /// Where in a span the value of a slot stands: what a tool was given and returned stays as it is.
    fn place(&self, field: Field) -> Place {
        match field {
            Field::RunInput | Field::RunOutput => Place::Recorded,
            Field::Input | Field::Output if self.class() != Some(Class::Tool) => Place::Recorded,
            _ => Place::Verbatim,
        }
    }

    /// Whether a value is declared to be a text; what a tool was given or returned is JSON where it looks like it.
    fn is_text(&self, field: Field) -> bool {
        let mime_type = match field {
            Field::Input => self.fields.text(Field::InputMimeType),
            Field::Output => self.fields.text(Field::OutputMimeType),
            _ => None,
        };
        let is_structured = || self.fields.text(field).is_some_and(|text| text.starts_with(['{', '[']));
        mime_type == Some("text/plain") && !(self.class() == Some(Class::Tool) && is_structured())
    }

    /// The same, when the application itself stated it.
    fn outright(&self, field: Field) -> Option<Json> {
        self.stated(self.fields.get(field).filter(|held| held.rank == 0).map(|_| field)?)
    }
}

/// Whose a message is that does not say.
fn default_role(field: Field) -> &'static str {
    match field {
        Field::SystemInstructions => "system",
        Field::OutputMessages | Field::Output => "assistant",
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
