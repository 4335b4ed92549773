//! Input and output of a span, from whichever of its attributes have them.

use std::borrow::Cow;

use genai_redact::Place;
use retrace_protocol::Json;
use retrace_protocol::json::is_strict;
use retrace_protocol::message::Text;
use retrace_protocol::parse;
use serde_json::value::RawValue;
use smallvec::smallvec;

use crate::dialect::{Class, dialect_of_rank};
use crate::fields::Field;
use crate::json::repair;
use crate::json::text_of;
use crate::json::{redacted, redacted_text};
use crate::messages::envelope;
use crate::messages::provider_body;
use crate::messages::provider_message;
use crate::messages::{
    Answer, Position, SeenTool, Turn, TurnPart, answer, answer_of_one_choice, conversation, embedded, has_images,
    has_more, has_others, is_repeated, name_results, tie_items, tie_results, tools_in, tools_in_history,
};
use crate::span_reader::SpanReader;
use crate::view::{SpanView, Value};

/// Minimum length of a text that limits may have truncated.
const LEAST_CUT: usize = 32;

/// Input and output of a span.
#[derive(Debug, Default)]
pub(crate) struct SpanIo {
    pub input: Option<Json>,
    /// True if the input is a conversation in the form that this crate writes.
    pub has_conversation: bool,
    pub answer: Answer,
    /// True if the input has images.
    pub vision: bool,
}

impl<V: SpanView> SpanReader<'_, V> {
    pub(crate) fn read_io(&self, class: Option<Class>, seen: &mut impl FnMut(SeenTool<'_>, Position)) -> SpanIo {
        let mut io = SpanIo::default();
        let instructions = self.turns(Field::SystemInstructions);
        let conversation_parts = self.split_conversation(class == Some(Class::Model));
        let history = self.turns(Field::InputMessages);
        let history =
            history.map(|turns| self.fuller(turns, [Field::InputMessages, Field::Input], provider_body::request));
        let history = history.filter(|turns| {
            // An empty list is what a call was given, and no input of another span. Nor are messages without content, where an
            // agent recorded another input.
            let has_content = || turns.iter().any(|turn| !turn.parts.is_empty());
            let is_alone = || !turns.is_empty() && self.fields.get(Field::Input).is_none();
            class == Some(Class::Model) || has_content() || is_alone()
        });
        let answered = self.turns(Field::OutputMessages);
        let answered =
            answered.map(|turns| self.fuller(turns, [Field::OutputMessages, Field::Output], provider_body::response));
        let is_consumed = |field, read| read && !self.is_exchange(field);
        let has_history = is_consumed(Field::InputMessages, history.is_some());
        let has_output_messages = is_consumed(Field::OutputMessages, answered.is_some());
        let history =
            history.or(conversation_parts.input).or_else(|| self.exchanged(Field::Input, provider_body::request));
        // Beside instructions, a plain text is the prompt.
        let prompt = self.bare(Field::Input).filter(|_| history.is_none() && instructions.is_some());
        let input_fields = [
            (Field::SystemInstructions, is_consumed(Field::SystemInstructions, instructions.is_some())),
            (Field::InputMessages, has_history),
            (Field::Conversation, is_consumed(Field::Conversation, conversation_parts.whole)),
            (Field::Input, prompt.is_some()),
        ];
        let mut history = history.or(prompt);
        let source = self.fields.get(Field::InputMessages).or_else(|| self.fields.get(Field::Input));
        let offers_as_messages =
            source.and_then(|held| dialect_of_rank(held.rank)).is_some_and(|dialect| dialect.offers_as_messages);
        history.iter_mut().for_each(|turns| {
            // They are among the offered tools.
            if offers_as_messages {
                turns.retain(|turn| !is_tool_definition(turn));
            }
            name_results(turns);
            tie_results(turns);
            tie_items(turns);
        });
        let has_parts = |turns: &Vec<Turn<'_>>| turns.iter().any(|turn| !turn.parts.is_empty());
        let answered = answered.or(conversation_parts.output);
        // A response without content in its messages, such as a refusal, is only in the whole response.
        let answered = match answered.as_ref().is_some_and(has_parts) {
            true => answered,
            false => self.exchanged(Field::Output, provider_body::response).or(answered),
        };
        self.announced_call().into_iter().for_each(|call| seen(call, Position::Answer));
        if class == Some(Class::Model) {
            history.iter().flat_map(|turns| tools_in_history(turns)).for_each(|(tool, position)| seen(tool, position));
            answered.iter().flat_map(|turns| tools_in(turns)).for_each(|tool| seen(tool, Position::Answer));
            io.vision = history.as_deref().is_some_and(has_images);
        }

        // On a tool span with an output, the message of the tool is its input.
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
                let json = conversation(instructions.unwrap_or_default(), history.unwrap_or_default());
                if is_foreign { redacted(json, Place::Conversation) } else { json }
            })
        });
        let is_foreign = has_others(&answered);
        // The Responses API gives one choice, whose items some record as a message each.
        let is_one_choice = self.fields.text(Field::ResponseId).is_some_and(|id| id.starts_with("resp_"));
        io.answer = answered.map(if is_one_choice { answer_of_one_choice } else { answer }).unwrap_or_default();
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
        // Unlike an output, an input of `null` is an unknown one: it is absent, and gives way to what else is stated.
        let known = |input: Option<Json>| input.filter(|json| !json.is_null());
        io.input = known(ahead(Field::Input, given));
        io.has_conversation &= io.input.is_none();
        io.input = io.input.take().or_else(|| {
            input_fields.iter().filter(|(_, read)| *read).for_each(|(field, _)| self.fields.mark_consumed(*field));
            known(input).or_else(|| known(self.stated(Field::Input))).or_else(|| known(of_run(Field::RunInput)))
        });
        io.answer.output = ahead(Field::Output, returned).or_else(|| {
            has_output_messages.then(|| self.fields.mark_consumed(Field::OutputMessages));
            io.answer.output.take().or_else(|| self.stated(Field::Output)).or_else(|| of_run(Field::RunOutput))
        });
        io
    }

    /// Reads the messages of a field. A value that its dialect cannot read is one message, because plain text is recorded too.
    fn turns(&self, field: Field) -> Option<Vec<Turn<'_>>> {
        if let Some(turns) = self.read(field) {
            return Some(turns);
        }
        let text = self.fields.value(field)?.as_json_text()?;
        let whole = parse::from_strict_str::<&RawValue>(text);
        let part = match whole {
            Some(raw) => text_of(raw).map_or(TurnPart::Other(raw), TurnPart::Text),
            None => TurnPart::Text(Text::Plain(redacted_text(text))),
        };
        Some(vec![Turn { role: Cow::Borrowed(default_role(field)), parts: smallvec![part], ..Turn::default() }])
    }

    /// Reads the messages of a model call that recorded only its request or response, whole or as text.
    ///
    /// A whole one has more than messages, so that it is kept as an attribute too.
    fn exchanged(&self, field: Field, read: for<'a> fn(&'a str) -> Option<Vec<Turn<'a>>>) -> Option<Vec<Turn<'_>>> {
        let held = self.fields.get(field).filter(|held| held.rank > 0 && self.class() == Some(Class::Model))?;
        let text = held.value.as_json_text()?;
        if !is_structured(text) {
            return self.bare(field).inspect(|_| self.fields.mark_consumed(field));
        }
        let turns = is_strict(text).then(|| read(text)).flatten()?;
        // A list holds messages and nothing else.
        if text.trim_start().starts_with('[') {
            self.fields.mark_consumed(field);
        }
        Some(turns)
    }

    /// Returns the messages of a request or response that is recorded whole beside messages of the same dialect, if they have all
    /// that those have and more: flattened messages may leave out the ids of calls, instructions or images.
    fn fuller<'a>(
        &'a self,
        turns: Vec<Turn<'a>>,
        [messages, whole]: [Field; 2],
        read: for<'b> fn(&'b str) -> Option<Vec<Turn<'b>>>,
    ) -> Vec<Turn<'a>> {
        let beside = || {
            let (messages, whole) = (self.fields.get(messages)?, self.fields.get(whole)?);
            let is_beside = whole.rank == messages.rank && self.class() == Some(Class::Model);
            let text = whole.value.as_json_text().filter(|text| is_beside && text.starts_with(['{', '[']))?;
            let fuller = read(Some(text).filter(|text| may_have_more(text, &turns) && is_strict(text))?)?;
            (has_more(&fuller, &turns) && is_repeated(&turns, text)).then_some(fuller)
        };
        beside().unwrap_or(turns)
    }

    /// Returns true if the messages of a field are a whole request or response with more than messages, which is kept as an
    /// attribute too.
    fn is_exchange(&self, field: Field) -> bool {
        let Some(held) = self.fields.get(field) else { return false };
        let wraps = |text| dialect_of_rank(held.rank).is_some_and(|dialect| (dialect.wraps)(text));
        held.value.as_json_text().is_some_and(|text| provider_body::has_more(text) || wraps(text))
    }

    /// Reads a plain text as one message.
    fn bare(&self, field: Field) -> Option<Vec<Turn<'_>>> {
        let held = self.fields.get(field).filter(|held| held.rank > 0)?;
        let text = held.value.as_text().filter(|text| !is_structured(text))?;
        let part = TurnPart::Text(Text::Plain(Cow::Borrowed(text)));
        Some(vec![Turn { role: Cow::Borrowed(default_role(field)), parts: smallvec![part], ..Turn::default() }])
    }

    /// Reads the value of a field as JSON if it is JSON, else as a text.
    fn stated(&self, field: Field) -> Option<Json> {
        let dialect = dialect_of_rank(self.fields.get(field)?.rank)?;
        let inner = |value: &Value<'_>| {
            let raw = (dialect.unwrapped)(field, value.as_json_text()?)?;
            is_strict(raw.get()).then(|| Json::from_serialize(&embedded(raw)))
        };
        if let Some(opened) = self.opened(field) {
            return Some(opened);
        }
        // A function that was called without arguments has no input; a tool has been called with none.
        let is_empty = |raw: &RawValue| matches!(raw.get(), "{}" | "[]");
        let given = || (dialect.unwrapped)(field, self.fields.value(field).and_then(Value::as_json_text)?);
        if field == Field::Input && self.class() != Some(Class::Tool) && given().is_some_and(is_empty) {
            self.fields.mark_consumed(field);
            return None;
        }
        let is_text = self.is_text(field);
        self.fields.consume(field, |value| {
            let text = value.as_text().filter(|_| is_text).map(Json::text);
            let whole = || inner(value).or_else(|| Json::parse_strict(value.as_json_text()?));
            let cut = || repair(value.as_json_text().filter(|text| text.len() >= LEAST_CUT)?);
            let cut = || cut().inspect(|_| self.fields.truncated.set(true));
            let is_given = matches!(field, Field::Input | Field::ToolArguments) && self.class() == Some(Class::Tool);
            let python = || python_object(value.as_text().filter(|_| is_given)?);
            let stated = text.or_else(whole).or_else(python).or_else(cut).unwrap_or_else(|| json_or_text(value));
            Some(redacted(stated, self.place(field)))
        })
    }

    /// Reads the content of an envelope on a tool span. An envelope with more than content is kept as an attribute too.
    fn opened(&self, field: Field) -> Option<Json> {
        let held = self.fields.get(field).filter(|held| held.rank > 0 && self.class() == Some(Class::Tool))?;
        let text = held.value.as_json_text().filter(|text| text.starts_with(['{', '[']))?;
        let raw = parse::from_strict_str(text)?;
        let opened = match field {
            Field::Input => envelope::input(raw, &self.tool_name()),
            Field::ToolArguments => envelope::arguments(raw, &self.tool_name()),
            Field::Output | Field::ToolResult => envelope::result(raw),
            _ => None,
        }?;
        if opened.is_whole {
            self.fields.mark_consumed(field);
        }
        Some(opened.content.to_json())
    }

    /// Returns the redaction rules of a field: arguments and results of tools are not redacted.
    fn place(&self, field: Field) -> Place {
        match field {
            Field::RunInput | Field::RunOutput => Place::Recorded,
            Field::Input | Field::Output if self.class() != Some(Class::Tool) => Place::Recorded,
            _ => Place::Verbatim,
        }
    }

    /// Returns true if a value is declared as plain text. Arguments and results of tools are JSON if they look like it.
    fn is_text(&self, field: Field) -> bool {
        let mime_type = match field {
            Field::Input => self.fields.text(Field::InputMimeType),
            Field::Output => self.fields.text(Field::OutputMimeType),
            _ => None,
        };
        let is_structured = || self.fields.text(field).is_some_and(|text| text.starts_with(['{', '[']));
        mime_type == Some("text/plain") && !(self.class() == Some(Class::Tool) && is_structured())
    }

    /// Reads the value of a field that the application itself set.
    fn outright(&self, field: Field) -> Option<Json> {
        self.stated(self.fields.get(field).filter(|held| held.rank == 0).map(|_| field)?)
    }
}

/// Returns false only if a request or response has nothing that its messages may have lost.
fn may_have_more(text: &str, turns: &[Turn<'_>]) -> bool {
    let has_lost = |part: &TurnPart<'_>| {
        matches!(part, TurnPart::ToolCall { id: None, .. } | TurnPart::ToolResult { id: None, .. } | TurnPart::Other(_))
    };
    let lost = turns.iter().any(|turn| turn.parts.is_empty() || turn.parts.iter().any(has_lost));
    let has_system = || turns.iter().any(|turn| matches!(&*turn.role, "system" | "developer"));
    lost || (text.contains("\"system\":") && !has_system()) || (text.contains("image") && !has_images(turns))
}

/// Returns the role of a message that states none.
fn default_role(field: Field) -> &'static str {
    match field {
        Field::SystemInstructions => "system",
        Field::OutputMessages | Field::Output => "assistant",
        _ => "user",
    }
}

/// Returns the result of a turn that is nothing but the result of one tool call.
fn only_result<'a>(turn: &Turn<'a>, call_id: Option<&str>) -> Option<&'a RawValue> {
    match turn.parts.as_slice() {
        [TurnPart::ToolResult { id, name: None, result }] if turn.name.is_none() => {
            result.filter(|_| id.is_none() || id.as_deref() == call_id)
        }
        _ => None,
    }
}

/// Returns true for a turn that is the definition of a tool instead of its result.
fn is_tool_definition(turn: &Turn<'_>) -> bool {
    match turn.parts.as_slice() {
        [TurnPart::ToolResult { id: None, result: Some(raw), .. }] => provider_message::is_definition(raw),
        _ => false,
    }
}

/// Reads Python's text form of an object whose strings need no escapes. Python quotes a string with an apostrophe in another way.
fn python_object(text: &str) -> Option<Json> {
    let is_plain = text.starts_with("{'") && !text.contains(['"', '\\']);
    is_plain.then(|| Json::parse_strict(&text.replace('\'', "\""))).flatten()
}

fn is_structured(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && parse::from_str::<&RawValue>(text).is_some()
}

fn json_or_text(value: &Value<'_>) -> Json {
    match value {
        Value::Str(text) => Json::parse_strict(text).unwrap_or_else(|| Json::text(text)),
        other => Json::from_serialize(other),
    }
}
