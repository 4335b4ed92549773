//! Facts of a response, collected as it arrives.

pub use genai_usage::Counts as Usage;
use serde_json::Value;

use crate::json::Json;
use crate::message::Part;

/// Error that the provider reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The provider's code: `model_not_found`.
    pub code: Option<String>,
    /// The provider's type: `invalid_request_error`.
    pub kind: Option<String>,
    /// The provider's message, which may quote the request.
    pub message: Option<String>,
}

/// Key of a part within a choice: the provider's number, or one chosen by the reader.
pub type PartKey = u64;

/// One of the choices of a response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Index of the choice.
    pub index: u64,
    /// Finish reason, by the provider's name.
    pub finish_reason: Option<String>,
    parts: Vec<(PartKey, Part)>,
    /// Arguments that arrive in pieces, of parts that hold them as JSON.
    pieces: Vec<(PartKey, Value)>,
}

/// Facts of a response so far.
#[derive(Debug, Default)]
pub struct ResponseFacts {
    /// `gen_ai.response.id`
    pub id: Option<String>,
    /// `gen_ai.response.model`
    pub model: Option<String>,
    /// Token counts.
    pub usage: Usage,
    /// The error.
    pub failure: Option<Failure>,
    /// `openai.response.service_tier`
    pub service_tier: Option<String>,
    /// `openai.response.system_fingerprint`
    pub system_fingerprint: Option<String>,
    /// `gen_ai.embeddings.dimension.count`, as returned.
    pub dimensions: Option<i64>,
    /// `gen_ai.conversation.id`, if the response states it.
    pub conversation_id: Option<String>,
    /// True if the response is complete.
    pub complete: bool,
    /// True if a choice of this kind has no finish reason, so that the end of the stream is its end.
    pub open_ended: bool,
    choices: Vec<Choice>,
    /// Items of a response whose ids are known: the place of the item, the index that the events give it, and its id.
    pub(crate) items: Vec<(u64, Option<u64>, String)>,
    expected: usize,
    token_ids: Vec<i64>,
    logprobs: Vec<f64>,
    tokens_cut: bool,
    room: usize,
    cut: u64,
    capture: bool,
    /// True if the reader of the response has panicked.
    pub(crate) given_up: bool,
}

/// Maximum number of choices; more are left out.
const MAX_CHOICES: usize = 128;
/// Maximum number of parts of a choice; more are left out.
pub(crate) const MAX_PARTS: usize = 4096;
/// Maximum number of tokens of a call whose ids or log probabilities are kept: 16 bytes each.
const MAX_TOKENS: usize = 65_536;

impl ResponseFacts {
    /// Creates facts that keep at most `room` bytes of content; none without capture.
    pub(crate) fn new(capture: bool, room: usize) -> Self {
        Self { room, capture, ..Self::default() }
    }

    /// Returns true if content is kept. Otherwise adding parts has no effect, and a reader need not check.
    #[must_use]
    pub fn captures(&self) -> bool {
        self.capture
    }

    /// Sets the id unless it is set.
    pub fn set_id(&mut self, id: Option<&str>) {
        set(&mut self.id, id);
    }

    /// Sets the model unless it is set.
    pub fn set_model(&mut self, model: Option<&str>) {
        set(&mut self.model, model);
    }

    /// Notes an error; the first one stays.
    pub fn fail(&mut self, code: Option<&str>, kind: Option<&str>, message: Option<&str>) {
        let own = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        if self.failure.is_none() {
            self.failure = Some(Failure { code: own(code), kind: own(kind), message: own(message) });
        }
    }

    /// Returns the choice with this index; creates it at its first use.
    pub fn choice(&mut self, index: u64) -> ChoiceMut<'_> {
        let place = self.choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            if self.choices.len() < MAX_CHOICES {
                self.choices.push(Choice { index, ..Choice::default() });
            }
            self.choices.len() - 1
        });
        ChoiceMut {
            choice: self.choices.get_mut(place),
            room: &mut self.room,
            cut: &mut self.cut,
            capture: self.capture,
        }
    }

    /// Returns the choices in the order of their indexes.
    #[must_use]
    pub fn choices(&self) -> Vec<&Choice> {
        let mut choices: Vec<&Choice> = self.choices.iter().collect();
        choices.sort_by_key(|choice| choice.index);
        choices
    }

    /// Adds a token of the first choice, in order.
    pub fn token(&mut self, id: Option<i64>, logprob: Option<f64>) {
        if self.token_ids.len().max(self.logprobs.len()) >= MAX_TOKENS {
            self.tokens_cut = true;
            return;
        }
        self.token_ids.extend(id.filter(|_| self.capture));
        self.logprobs.extend(logprob.filter(|logprob| logprob.is_finite()));
    }

    /// Returns the token ids of the first choice. They are equivalent to content, and kept only with it.
    #[must_use]
    pub fn token_ids(&self) -> &[i64] {
        // The ids of some tokens would not match the log probabilities.
        let fits = self.logprobs.is_empty() || self.logprobs.len() == self.token_ids.len();
        if fits { &self.token_ids } else { &[] }
    }

    /// Returns the log probabilities of the tokens of the first choice.
    #[must_use]
    pub fn logprobs(&self) -> &[f64] {
        &self.logprobs
    }

    /// Number of bytes of content that were not kept.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    pub(crate) fn tokens_cut(&self) -> bool {
        self.tokens_cut
    }

    /// Returns true if every choice has its finish reason: each that has begun, and as many as the request asks for.
    pub(crate) fn all_finished(&self) -> bool {
        self.choices.len() >= self.expected.clamp(1, MAX_CHOICES)
            && self.choices.iter().all(|choice| choice.finish_reason.is_some())
    }

    /// Sets the number of choices that the request asks for.
    pub(crate) fn expect_choices(&mut self, count: Option<i64>) {
        self.expected = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
    }

    /// Completes the parts whose arguments arrived in pieces; no further pieces are added.
    pub(crate) fn close(&mut self) {
        for choice in &mut self.choices {
            choice.close_all();
        }
    }
}

fn set(place: &mut Option<String>, value: Option<&str>) {
    if place.is_none() {
        *place = value.filter(|value| !value.is_empty()).map(ToOwned::to_owned);
    }
}

impl Choice {
    /// Returns the parts in the order in which they began.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().map(|(_, part)| part)
    }

    fn close_all(&mut self) {
        for (key, arguments) in std::mem::take(&mut self.pieces) {
            if let Some((_, part)) = self.parts.iter_mut().find(|(own, _)| *own == key) {
                complete(part, arguments);
            }
        }
    }
}

/// Sets the arguments that arrived in pieces: a JSON text, or a value built from paths.
fn complete(part: &mut Part, arguments: Value) {
    let arguments = match arguments {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        other => other,
    };
    match part {
        Part::ToolCall { arguments: place, .. } => *place = arguments.to_string(),
        Part::ServerToolCall { call: Value::Object(members), .. } | Part::Other(Value::Object(members)) => {
            members.insert("input".to_owned(), arguments);
        }
        Part::ServerToolResponse { response: Value::Object(members), .. } => {
            members.insert("content".to_owned(), arguments);
        }
        _ => {}
    }
}

/// A choice that is being read.
#[derive(Debug)]
pub struct ChoiceMut<'a> {
    choice: Option<&'a mut Choice>,
    room: &'a mut usize,
    cut: &'a mut u64,
    capture: bool,
}

/// Kind of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The response itself.
    Text,
    /// Reasoning.
    Reasoning,
    /// A refusal.
    Refusal,
}

impl ChoiceMut<'_> {
    /// Sets the finish reason.
    pub fn finish(&mut self, reason: Option<&str>) {
        if let (Some(choice), Some(reason)) = (&mut self.choice, reason.filter(|reason| !reason.is_empty())) {
            choice.finish_reason = Some(reason.to_owned());
        }
    }

    /// Adds text to a part.
    pub fn text(&mut self, key: PartKey, kind: Kind, text: &str) {
        if text.is_empty() {
            return;
        }
        let kept = self.take(text);
        let part = self.part(key, || match kind {
            Kind::Text => Part::Text(String::new()),
            Kind::Reasoning => Part::Reasoning(String::new()),
            Kind::Refusal => Part::Refusal(String::new()),
        });
        if let Some(Part::Text(place) | Part::Reasoning(place) | Part::Refusal(place)) = part {
            place.push_str(kept);
        }
    }

    /// Adds text to the last part if it is of the same kind, else begins a part.
    pub fn append(&mut self, kind: Kind, text: &str) {
        let last = self.choice.as_ref().and_then(|choice| choice.parts.last());
        let key = match (last, kind) {
            (Some((key, Part::Text(_))), Kind::Text)
            | (Some((key, Part::Reasoning(_))), Kind::Reasoning)
            | (Some((key, Part::Refusal(_))), Kind::Refusal) => *key,
            _ => self.next_key(),
        };
        self.text(key, kind, text);
    }

    /// Adds known fields of a tool call.
    pub fn tool_call(&mut self, key: PartKey, id: Option<&str>, name: Option<&str>, arguments: Option<&str>) {
        let kept = arguments.map(|arguments| self.take(arguments)).unwrap_or_default();
        let part = self.part(key, || Part::ToolCall { id: None, name: String::new(), arguments: String::new() });
        if let Some(Part::ToolCall { id: place, name: called, arguments }) = part {
            set(place, id);
            if let Some(name) = name.filter(|_| called.is_empty()) {
                name.clone_into(called);
            }
            arguments.push_str(kept);
        }
    }

    /// Adds to the arguments of a part: the JSON text of a tool call, or the `input` of a part that is kept unchanged.
    pub(crate) fn input(&mut self, key: PartKey, text: &str) {
        let found = self.choice.as_ref().and_then(|choice| choice.parts.iter().rfind(|(own, _)| *own == key));
        if !matches!(found, Some((_, Part::ServerToolCall { .. } | Part::Other(_)))) {
            return self.tool_call(key, None, None, Some(text));
        }
        let kept = self.take(text);
        if let Some(Value::String(place)) = self.pieces(key, || Value::String(String::new())) {
            place.push_str(kept);
        }
    }

    /// Adds a piece to the `content` of the result of a tool that the provider ran. Adjacent texts are joined.
    pub(crate) fn result(&mut self, key: PartKey, piece: &Json<'_>) {
        let text = piece.get("text").as_str();
        let written = text.map_or_else(|| piece.to_value().to_string(), ToOwned::to_owned);
        let kept = self.take(&written);
        let Some(Value::Array(pieces)) = self.pieces(key, || Value::Array(Vec::new())) else { return };
        match (text, pieces.last_mut().and_then(|last| last.get_mut("text"))) {
            (Some(_), Some(Value::String(place))) => place.push_str(kept),
            (Some(_), _) => pieces.push(serde_json::json!({ "text": kept })),
            // A truncated value is dropped and counted as cut.
            (None, _) if kept.len() == written.len() => pieces.push(piece.to_value()),
            (None, _) => {}
        }
    }

    /// Adds to the data of a blob.
    pub(crate) fn data(&mut self, key: PartKey, data: &str) {
        let kept = self.take(data);
        let part = self.part(key, || Part::blob(None, Some("image"), ""));
        if let Some(Part::Blob { content, .. }) = part {
            content.push_str(kept);
        }
    }

    /// Adds to the texts of a part that is kept unchanged, such as the `content` of a compaction.
    pub(crate) fn extend(&mut self, key: PartKey, member: &str, text: &str) {
        let kept = self.take(text);
        let Some(choice) = &mut self.choice else { return };
        if let Some((_, Part::Other(Value::Object(members)))) = choice.parts.iter_mut().rfind(|(own, _)| *own == key) {
            match members.get_mut(member) {
                Some(Value::String(place)) => place.push_str(kept),
                None | Some(Value::Null) => _ = members.insert(member.to_owned(), kept.into()),
                Some(_) => {}
            }
        }
    }

    /// Returns the arguments of a part that arrive in pieces; creates them if there are none. `None` if content is not kept.
    pub(crate) fn pieces(&mut self, key: PartKey, begin: impl FnOnce() -> Value) -> Option<&mut Value> {
        if !self.has(key) {
            return None;
        }
        let choice = self.choice.as_deref_mut()?;
        let place = choice.pieces.iter().position(|(own, _)| *own == key).unwrap_or_else(|| {
            choice.pieces.push((key, begin()));
            choice.pieces.len() - 1
        });
        choice.pieces.get_mut(place).map(|(_, arguments)| arguments)
    }

    /// Completes arguments of this part that arrived in pieces, if any.
    pub(crate) fn close_pieces(&mut self, key: PartKey) {
        if self.choice.as_ref().is_some_and(|choice| choice.pieces.iter().any(|(own, _)| *own == key)) {
            self.close(key);
        }
    }

    /// Ends a part: completes arguments that arrived in pieces. A tool call without any has `{}`.
    pub(crate) fn close(&mut self, key: PartKey) {
        let Some(choice) = &mut self.choice else { return };
        let Some((_, part)) = choice.parts.iter_mut().rfind(|(own, _)| *own == key) else { return };
        if let Some(place) = choice.pieces.iter().position(|(own, _)| *own == key) {
            let (_, arguments) = choice.pieces.swap_remove(place);
            if arguments.as_str().is_none_or(|text| !text.is_empty()) {
                complete(part, arguments);
            }
        } else if let Part::ToolCall { arguments, .. } = part
            && arguments.is_empty()
        {
            arguments.push_str("{}");
        }
    }

    /// Returns the tool calls of this choice with their keys, in the order in which they began.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (PartKey, &Part)> {
        let parts = self.choice.iter().flat_map(|choice| &choice.parts);
        parts.filter(|(_, part)| matches!(part, Part::ToolCall { .. })).map(|(key, part)| (*key, part))
    }

    /// The keys of the parts of this answer.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PartKey> {
        self.choice.iter().flat_map(|choice| &choice.parts).map(|(key, _)| *key)
    }

    /// The part under this key.
    pub(crate) fn get(&self, key: PartKey) -> Option<&Part> {
        let parts = self.choice.iter().flat_map(|choice| &choice.parts);
        parts.filter(|(own, _)| *own == key).map(|(_, part)| part).next_back()
    }

    /// Returns true if the choice has no part yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.choice.as_ref().is_none_or(|choice| choice.parts.is_empty())
    }

    /// Replaces the arguments of a tool call by the whole of them, unless they arrived in pieces.
    pub fn whole_arguments(&mut self, key: PartKey, arguments: &str) {
        let missing = self.choice.as_ref().and_then(|choice| {
            let part = choice.parts.iter().find(|(own, _)| *own == key);
            part.map(|(_, part)| matches!(part, Part::ToolCall { arguments, .. } if arguments.is_empty()))
        });
        if missing == Some(true) {
            self.tool_call(key, None, None, Some(arguments));
        }
    }

    /// Adds a complete part.
    pub fn push(&mut self, part: Part) {
        let key = self.next_key();
        self.put(key, part);
    }

    /// Replaces the part under this key by a complete one.
    pub fn put(&mut self, key: PartKey, part: Part) {
        if !self.capture {
            return;
        }
        let weight = part.weight();
        if weight > *self.room {
            *self.cut += weight as u64;
            return;
        }
        *self.room -= weight;
        let mut part = Some(part);
        if let Some(place) = self.part(key, || part.take().unwrap_or(Part::Text(String::new())))
            && let Some(part) = part
        {
            *place = part;
        }
    }

    /// Returns true if there is a part under this key.
    #[must_use]
    pub fn has(&self, key: PartKey) -> bool {
        self.choice.as_ref().is_some_and(|choice| choice.parts.iter().any(|(own, _)| *own == key))
    }

    /// Returns an unused key.
    #[must_use]
    pub fn next_key(&self) -> PartKey {
        const OURS: PartKey = 1 << 48; // beyond the numbers of providers
        let parts = self.choice.as_ref().map_or(0, |choice| choice.parts.len());
        OURS + parts as u64
    }

    fn part(&mut self, key: PartKey, begin: impl FnOnce() -> Part) -> Option<&mut Part> {
        if !self.capture {
            return None;
        }
        let choice = self.choice.as_deref_mut()?;
        // The current part is mostly the last one.
        let place = choice.parts.iter().rposition(|(own, _)| *own == key);
        let place = match place {
            Some(place) => place,
            None if choice.parts.len() < MAX_PARTS => {
                choice.parts.push((key, begin()));
                choice.parts.len() - 1
            }
            None => return None,
        };
        choice.parts.get_mut(place).map(|(_, part)| part)
    }

    /// Returns as much of a text as there is room for; the rest is counted.
    pub(crate) fn take<'t>(&mut self, text: &'t str) -> &'t str {
        if !self.capture {
            return "";
        }
        let mut end = text.len().min(*self.room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (kept, cut) = text.split_at_checked(end).unwrap_or((text, ""));
        *self.room -= kept.len();
        if !cut.is_empty() {
            *self.cut += cut.len() as u64;
            *self.room = 0; // what follows would stand in the wrong place
        }
        kept
    }
}

/// Creates a tool definition in the form of the conventions.
#[must_use]
pub fn function_tool(name: &str, description: Option<&str>, parameters: Option<Value>) -> Value {
    let mut tool = serde_json::Map::new();
    tool.insert("type".to_owned(), "function".into());
    tool.insert("name".to_owned(), name.into());
    if let Some(description) = description {
        tool.insert("description".to_owned(), description.into());
    }
    if let Some(parameters) = parameters.filter(Value::is_object) {
        tool.insert("parameters".to_owned(), parameters);
    }
    Value::Object(tool)
}
