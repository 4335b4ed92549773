//! One span, read: its attributes put in their places, and from there what the recorder wants to know.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use retrace_protocol::json::{is_strict, without_nul};
use retrace_protocol::metadata::{SpanMetadata, TraceMetadata};
use retrace_protocol::{Id, Json, Span, SpanType, Timestamp};
use serde_json::Value as JsonValue;

pub(crate) use self::scope_cache::Scopes;
use crate::dialect::{
    Class, DIALECTS, Meaning, MessageEvent, home_of, is_content_event, meaning_at, message_event, of_rank,
};
use crate::fields::Flat;
use crate::fields::{Held, Many, Slot, Slots};
use crate::json::Members;
use crate::messages::provider_body::Answered;
use crate::messages::tool_definitions;
use crate::messages::tool_definitions::Offered;
use crate::messages::{Position, SeenTool};
use crate::options::Options;
use crate::span_reader::classify::{Classified, classify, kind_leads};
use crate::span_reader::conversation::Mended;
use crate::span_reader::envelope_facts::Enveloped;
use crate::span_reader::failure::{Ending, compose, failure};
use crate::span_reader::parameters::Parameters;
use crate::usage;
use crate::view::{SpanView, Value};

mod classify;
mod conversation;
mod envelope_facts;
mod failure;
mod io;
mod leftover_attributes;
mod parameters;
mod provider_name;
mod redact;
mod scope_cache;
mod select;

const NANOS_PER_MILLI: u64 = 1_000_000;
const MILLIS_PER_SECOND: f64 = 1_000.0;
/// Metadata of a run that routes it; what the run states comes before the configuration.
pub(crate) const ENVIRONMENT: &str = "environment";
/// What asks for an answer in a format: of the conventions, of those that were, and of the Vercel AI SDK.
const STRUCTURED: [&str; 6] = ["json", "json_object", "json_schema", "object", "array", "enum"];

/// Keys under which the metadata of frameworks has the name of the agent: `LangChain`'s, and what others call it.
const AGENT_NAMES: [&str; 3] = ["lc_agent_name", "agent_name", "agentName"];

/// What the names of operations have in common that embed, in any case.
const EMBED: &[u8] = b"embed";
/// Operations that most spans have; they take no memory of their own.
const COMMON: [&str; 8] = [
    "chat",
    "execute_tool",
    "invoke_agent",
    "embeddings",
    "generate_content",
    "text_completion",
    "create_agent",
    "invoke_workflow",
];

/// A span whose attributes stand in their places.
#[derive(Debug)]
pub(crate) struct Reading<'v, V> {
    pub(crate) view: &'v V,
    pub(crate) slots: Slots<'v>,
    /// Messages that arrived cut, closed.
    pub(crate) mended: Mended,
    genai: bool,
    classified: Classified,
    parameters: Parameters,
    /// What an answer that was recorded whole says.
    answered: Option<Answered>,
    /// What the envelopes around arguments and result of a tool state.
    enveloped: Enveloped,
}

/// An agent, as a span names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Its id, else its name.
    pub id: Arc<str>,
    /// Its name.
    pub role: Option<Arc<str>>,
    /// The agent that called it, where the span states it.
    pub parent: Option<Arc<str>>,
}

/// A span in Retrace's terms, but for what only its place in the run can tell.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The span, without metadata, parent and agents.
    pub span: Span,
    pub metadata: SpanMetadata,
    /// What it is, so that its tokens are counted once.
    pub class: Option<Class>,
    /// It states that it is a run: what it states holds for the run if the root does not state it.
    pub is_run: bool,
    /// What a run that begins with this span is called, where that is not the span's name.
    pub trace_name: Option<String>,
    /// What the run is called if anybody says so.
    pub stated_trace_name: Option<String>,
    pub tags: Option<Json>,
    /// The input is a conversation, as this crate writes it.
    pub has_conversation: bool,
    /// What the user added, keys without their prefix.
    pub user_metadata: serde_json::Map<String, JsonValue>,
}

impl<'v, V: SpanView> Reading<'v, V> {
    pub(crate) fn new(view: &'v V) -> Self {
        let mut slots = Slots::new();
        let home = home_of(view.name(), view.scope().name);
        let mut genai = home.is_some();
        for (i, (key, value)) in view.attributes().enumerate() {
            let meaning = meaning_at(home, key);
            slots.note(i, meaning != Meaning::Unknown);
            genai |= place(&mut slots, 0, Some(i), meaning, value);
        }
        let mut messages: BTreeMap<(usize, Slot), Vec<MessageEvent<'v>>> = BTreeMap::new();
        for event in view.events().filter(|event| is_content_event(event.name)) {
            for (key, value) in &event.attributes {
                genai |= place(&mut slots, DIALECTS.len(), None, meaning_at(home, key), value.clone());
            }
            if let Some(belongs) = message_event(event.name) {
                messages.entry(belongs).or_default().push(MessageEvent::new(event));
            }
        }
        for ((rank, slot), said) in messages {
            slots.put(slot, Held { rank: rank + DIALECTS.len(), attribute: None, value: Value::json(&said) });
        }
        slots.gather();
        add_cache(&mut slots);
        if !genai {
            slots.without_guests(|rank| of_rank(rank).is_some_and(|dialect| dialect.guest));
        }
        let classified = classify(&slots, || genai.then(|| hinted(view, home)).flatten());
        let is_call = classified.class == Some(Class::Model);
        if !is_call && kind_leads(slots.get(Slot::Kind)) {
            slots.move_to(Slot::InputMessages, Slot::Input);
            slots.move_to(Slot::OutputMessages, Slot::Output);
        }
        let parameters = Parameters::of(&slots, is_call);
        let whole = slots.value(Slot::Output).filter(|_| is_call).and_then(Value::as_json_text);
        let answered = whole.and_then(Answered::read);
        let enveloped = match classified.class {
            Some(Class::Tool) => Enveloped::of(&slots, &tool_name(&slots, view.name())),
            _ => Enveloped::default(),
        };
        Self { view, slots, mended: Mended::default(), genai, classified, parameters, answered, enveloped }
    }

    /// The name of the tool that runs, as the span has it.
    pub(crate) fn tool_name(&self) -> Cow<'_, str> {
        tool_name(&self.slots, self.view.name())
    }

    pub(crate) fn is_genai(&self) -> bool {
        self.genai
    }

    pub(crate) fn class(&self) -> Option<Class> {
        self.classified.class
    }

    pub(crate) fn span_type(&self) -> SpanType {
        self.classified.span_type
    }

    pub(crate) fn agent(&self) -> Option<Agent> {
        let shared = |slot| self.slots.words(slot).map(Arc::<str>::from);
        let named = || shared(Slot::EntityName).filter(|_| self.slots.text(Slot::Kind) == Some("agent"));
        let role = shared(Slot::AgentName).or_else(named).or_else(|| self.agent_in_metadata().map(Arc::from));
        let id = shared(Slot::AgentId).or_else(|| role.clone())?;
        Some(Agent { id, role, parent: shared(Slot::ParentAgentId) })
    }

    /// The agent that a framework names in its metadata, one object or many keys.
    fn agent_in_metadata(&self) -> Option<String> {
        let is_name = |many: &&Many<'_>| many.slot == Slot::UserMetadata && AGENT_NAMES.contains(&many.key);
        let one = self.slots.many.iter().rev().find(is_name).and_then(|many| many.value.as_text());
        let text = self
            .slots
            .value(Slot::UserMetadataObject)
            .and_then(Value::as_json_text)
            .filter(|text| text.contains("gent"));
        let in_object = || Members::read(text?)?.label(&AGENT_NAMES).map(Cow::into_owned);
        one.map(str::to_owned).or_else(in_object).map(|name| without_nul(&name).into_owned())
    }

    pub(crate) fn session(&self) -> Option<String> {
        self.slots.label(Slot::SessionId).or_else(|| self.parameters.conversation.clone())
    }

    pub(crate) fn user(&self) -> Option<String> {
        self.slots.label(Slot::UserId).or_else(|| self.parameters.user.clone())
    }

    /// The id of the tool call that this span executes.
    pub(crate) fn executed_call(&self) -> Option<String> {
        let stated = self.slots.label(Slot::ToolCallId).or_else(|| self.enveloped.call_id.clone());
        stated.filter(|_| self.classified.span_type == SpanType::ToolCall)
    }

    /// Whether the message that this event is, is in the record.
    pub(crate) fn has_message(&self, event: &str) -> bool {
        message_event(event).is_some_and(|(rank, slot)| {
            self.slots.is_told(slot) && self.slots.get(slot).is_some_and(|held| held.rank == rank + DIALECTS.len())
        })
    }

    /// The provider's id of the answer, which two spans of one call share.
    pub(crate) fn response_id(&self) -> Option<String> {
        self.slots.label(Slot::ResponseId).or_else(|| self.answered.as_ref()?.id.clone())
    }

    /// The id under which a server handled the request.
    pub(crate) fn request_id(&self) -> Option<String> {
        self.slots.label(Slot::RequestId)
    }

    /// What two spans of one call have in common, whatever their dialects call it.
    pub(crate) fn operation(&self) -> Option<Cow<'static, str>> {
        let stated = self.slots.words(Slot::Operation).or_else(|| self.slots.words(Slot::Kind));
        match self.classified.class {
            Some(Class::Model) => Some(Cow::Borrowed(match stated {
                Some(name) if name.as_bytes().windows(EMBED.len()).any(|part| part.eq_ignore_ascii_case(EMBED)) => {
                    "embeddings"
                }
                _ => "chat",
            })),
            _ => stated.map(operation_to_keep),
        }
    }

    /// Translates the span. Every tool that its messages show is handed to `seen` with its position in them.
    pub(crate) fn draft(
        &self,
        options: &Options,
        scopes: &mut Scopes,
        mut seen: impl FnMut(SeenTool<'_>, Position),
    ) -> Box<Draft> {
        let (view, slots) = (self.view, &self.slots);
        let (mut draft, name, asked) = self.outline(options);
        let Draft { span, metadata, class, has_conversation, .. } = &mut *draft;
        let class = *class;
        let started = view.start_unix_nanos();
        let ended = view.end_unix_nanos().max(started);
        *metadata = self.metadata(options);
        span.ended_at = Some(Timestamp::from_unix_nanos(ended));
        span.duration_ms = Some((ended - started) / NANOS_PER_MILLI);
        span.error = failure(view, slots).or_else(|| {
            let error = self.enveloped.error.as_deref()?;
            Some(compose(None, Some(error).filter(|error| options.capture_content && !error.is_empty())))
        });

        let said = self.said(class, &mut seen);
        if options.capture_content {
            (span.input, *has_conversation) = (said.input, said.has_conversation);
            span.output = said.answer.output;
            metadata.reasoning = said.answer.reasoning;
            metadata.tool_calls = said.answer.tool_calls;
            metadata.other_output = said.answer.others;
        } else {
            metadata.tool_calls = said.answer.tool_calls.as_ref().map(without_arguments);
        }
        metadata.refusal = said.answer.refusal;
        let stated = |slot| slots.tell(slot, Value::to_bool).filter(|is_so| *is_so);
        metadata.truncated = stated(Slot::Truncated).or_else(|| slots.cut.get().then_some(true));
        metadata.partial = stated(Slot::Partial);
        metadata.vision = said.vision;
        match &metadata.finish_reasons {
            Some(stated) => slots.keep_reasons(stated),
            None if said.answer.finish_reasons.is_empty() => {}
            None => metadata.finish_reasons = Some(said.answer.finish_reasons),
        }

        metadata.request_model = asked.filter(|asked| span.model.as_deref() != Some(asked)).map(Cow::into_owned);
        let used = usage::used(slots, class == Some(Class::Model));
        (span.input_tokens, span.output_tokens, metadata.usage) = (used.input, used.output, used.parts);
        span.cost = usage::cost(slots).or_else(|| self.list_price(span, metadata));
        span.token_ids = slots.tell(Slot::TokenIds, list);
        span.logprobs = slots.tell(Slot::Logprobs, list);
        // Last, because it keeps what the record does not have by then.
        self.tell_the_rest(&mut draft, options, scopes, &name);
        draft.redact();
        draft
    }

    /// What is told of a span under way that is told when it ends, should it never do so: who it is, and no content.
    pub(crate) fn sketch(&self, options: &Options) -> Box<Draft> {
        let mut draft = self.outline(options).0;
        draft.redact();
        draft
    }

    /// A draft without metadata, content and end; the span's name, and the model that was asked for.
    fn outline(&self, options: &Options) -> (Box<Draft>, Cow<'v, str>, Option<Cow<'_, str>>) {
        let slots = &self.slots;
        let Classified { class, span_type } = self.classified;
        let trace_id = self.view.trace_id();
        let name = self.name();
        let asked =
            slots.tell_words(Slot::RequestModel).or_else(|| self.parameters.model.as_deref().map(Cow::Borrowed));
        let mut span = Span::new(
            Id::from_otel_span(trace_id, self.view.span_id()),
            Id::from_otel_trace(trace_id),
            span_type,
            name.clone().into_owned(),
            Timestamp::from_unix_nanos(self.view.start_unix_nanos()),
        );
        let callee = || (class == Some(Class::Model)).then(|| slots.tell_label(Slot::Callee)).flatten();
        let answered = slots.tell_label(Slot::ResponseModel).or_else(|| slots.tell_label(Slot::Model));
        let answered = answered.or_else(callee);
        span.model = answered.or_else(|| asked.as_deref().map(str::to_owned));
        let own = |slot| slots.label(slot);
        let draft = Draft {
            is_run: self.is_run(),
            stated_trace_name: slots.tell_label(Slot::TraceName),
            trace_name: own(Slot::WorkflowName)
                .or_else(|| own(Slot::AgentName).filter(|_| class == Some(Class::Agent)))
                .filter(|name| *name != span.name),
            tags: slots.tell(Slot::Tags, |tags| Some(Json::from_serialize(tags))),
            user_metadata: self.user_metadata(options),
            class,
            span,
            metadata: SpanMetadata::default(),
            has_conversation: false,
        };
        (Box::new(draft), name, asked)
    }

    /// The name in Retrace: that of the tool or the agent, where there is one.
    fn name(&self) -> Cow<'v, str> {
        let own = |slot| self.slots.tell_label(slot).map(Cow::Owned);
        own(Slot::Name)
            .or_else(|| match self.classified.class {
                Some(Class::Tool) => {
                    own(Slot::ToolName).or_else(|| own(Slot::EntityName)).or_else(|| own(Slot::Callee))
                }
                Some(Class::Agent) if self.is_workflow() => {
                    own(Slot::WorkflowName).or_else(|| own(Slot::EntityName)).or_else(|| own(Slot::AgentName))
                }
                // A step of an agent's has a name of its own.
                Some(Class::Agent) => own(Slot::EntityName).or_else(|| own(Slot::AgentName)),
                _ => None,
            })
            .unwrap_or_else(|| without_nul(self.view.name()))
    }

    /// Returns true if the span states that it is a run.
    fn is_run(&self) -> bool {
        self.slots.get(Slot::TraceName).is_some_and(|held| held.rank == 0)
    }

    fn is_workflow(&self) -> bool {
        [Slot::Operation, Slot::Kind].iter().any(|slot| self.slots.text(*slot).is_some_and(|o| o.contains("workflow")))
    }

    #[cfg(feature = "prices")]
    fn list_price(&self, span: &Span, metadata: &SpanMetadata) -> Option<f64> {
        if self.classified.class != Some(Class::Model) {
            return None;
        }
        let (input, output) = match (span.input_tokens, span.output_tokens) {
            (None, None) => return None,
            (input, output) => (input.unwrap_or(0), output.unwrap_or(0)),
        };
        let provider = metadata.provider.as_deref();
        crate::price::price(
            provider,
            span.model.as_deref()?,
            input,
            output,
            &metadata.usage,
            self.view.start_unix_nanos(),
        )
    }

    #[cfg(not(feature = "prices"))]
    fn list_price(&self, _: &Span, _: &SpanMetadata) -> Option<f64> {
        None
    }

    fn metadata(&self, options: &Options) -> SpanMetadata {
        let slots = &self.slots;
        let read =
            |value: &Value<'_>| value.as_json_text().filter(|text| is_strict(text)).and_then(tool_definitions::offered);
        let offered =
            options.capture_content.then(|| slots.tell(Slot::ToolDefinitions, read).or_else(|| self.requested_tools()));
        let offered = offered.flatten();
        let offered = offered.unwrap_or_default();
        SpanMetadata {
            tool_call_id: slots.tell_label(Slot::ToolCallId).or_else(|| self.enveloped.call_id.clone()),
            operation: [Slot::Operation, Slot::McpMethod, Slot::Kind]
                .into_iter()
                .find_map(|slot| slots.tell_words(slot).map(operation_to_keep)),
            provider: [Slot::Provider, Slot::System].into_iter().find_map(|slot| self.provider(slot)),
            response_id: slots.tell_label(Slot::ResponseId).or_else(|| self.answered.as_ref()?.id.clone()),
            finish_reasons: self.finish_reasons(),
            streaming: slots
                .tell(Slot::Streaming, Value::to_bool)
                .or(self.parameters.streaming)
                .or_else(|| self.streams().then_some(true)),
            sampling: self.parameters.sampling.clone(),
            time_to_first_chunk_ms: slots
                .tell_number(Slot::TimeToFirstChunk)
                .map(|seconds| seconds * MILLIS_PER_SECOND)
                .or_else(|| slots.tell_number(Slot::FirstChunkMillis)),
            tool_schemas: offered.schemas,
            tool_descriptions: offered.descriptions,
            provider_tools: offered.provided,
            structured_output: slots
                .tell(Slot::OutputType, |value| STRUCTURED.contains(&value.as_text()?).then_some(()))
                .is_some(),
            ..SpanMetadata::default()
        }
    }

    /// The tools in a request that was recorded whole.
    fn requested_tools(&self) -> Option<Offered> {
        let input = self.slots.value(Slot::Input).filter(|_| self.class() == Some(Class::Model))?.as_json_text()?;
        let request = Members::read(input).filter(|_| is_strict(input))?;
        let tools = ["tools", "functions"];
        let offered = request.get(&tools).or_else(|| request.object(&["config"])?.get(&tools));
        tool_definitions::offered(offered?.get())
    }

    /// The provider, by the name that the conventions have for it. What else its name said stays an attribute.
    fn provider(&self, slot: Slot) -> Option<Cow<'static, str>> {
        let told = self.slots.words(slot)?;
        let (current, is_all) = provider_name::current(&told);
        if is_all {
            self.slots.mark_told(slot);
        }
        Some(current.map_or_else(|| Cow::Owned(told.into_owned()), Cow::Borrowed))
    }

    /// Whether the operation is one that streams.
    fn streams(&self) -> bool {
        let operation = self.slots.get(Slot::Operation);
        operation.is_some_and(|held| {
            of_rank(held.rank).zip(held.value.as_text()).is_some_and(|(dialect, name)| (dialect.streams)(name))
        })
    }

    /// Why the model stopped. Where only one of several choices was asked for its reason, the whole answer says all.
    fn finish_reasons(&self) -> Option<Vec<String>> {
        let stated = self.slots.tell(Slot::FinishReasons, texts);
        let said = self.answered.as_ref().map_or(&[][..], |answered| &answered.finish_reasons);
        match stated {
            Some(stated) if stated.len() >= said.len() || stated.iter().any(|one| !said.contains(one)) => Some(stated),
            _ => (!said.is_empty()).then(|| said.to_vec()),
        }
    }

    /// What the user added; a key that has a meaning of its own is left to the attributes.
    fn user_metadata(&self, options: &Options) -> serde_json::Map<String, JsonValue> {
        let mut added = serde_json::Map::new();
        let is_run = self.view.parent().is_local_root() || self.is_run();
        let is_free_here = |key: &str| is_free(key) || (is_run && is_free_on_runs(key));
        let many = self.slots.chosen().filter(|many| many.slot == Slot::UserMetadata);
        let many = many.filter(|many| is_free(many.key) || (many.rank == 0 && is_free_here(many.key)));
        for many in many.filter(|many| many.rank == 0 || options.capture_content) {
            if let Ok(value) = serde_json::to_value(&many.value) {
                added.insert(many.key.to_owned(), value);
                many.told.set(true);
            }
        }
        if options.capture_content {
            let object = self.slots.tell(Slot::UserMetadataObject, |value| {
                let text = value.as_json_text().filter(|text| text.starts_with('{') && is_strict(text))?;
                let object: serde_json::Map<String, JsonValue> = serde_json::from_str(text).ok()?;
                object.iter().all(|(key, _)| is_free(key) && !added.contains_key(key)).then_some(object)
            });
            added.extend(object.unwrap_or_default());
        }
        let stated = self.slots.tell(Slot::StatedMetadata, |value| {
            let text = value.as_json_text().filter(|text| is_strict(text))?;
            serde_json::from_str::<serde_json::Map<String, JsonValue>>(text).ok()
        });
        added.extend(stated.unwrap_or_default().into_iter().filter(|(key, _)| !key.is_empty()));
        // A status that the protocol does not have.
        if let Some(status) = self.slots.label(Slot::Status).filter(|status| Ending::from_wire(status).is_none()) {
            self.slots.mark_told(Slot::Status);
            added.entry("status").or_insert_with(|| status.into());
        }
        added
    }
}

/// Whether metadata gives no meaning of its own to a key.
fn is_free(key: &str) -> bool {
    !key.is_empty() && !SpanMetadata::KEYS.contains(&key) && !TraceMetadata::KEYS.contains(&key)
}

/// Returns true for a key to which the metadata of a run gives no meaning, or one that a run may state.
fn is_free_on_runs(key: &str) -> bool {
    !key.is_empty() && (key == ENVIRONMENT || !TraceMetadata::KEYS.contains(&key))
}

/// Puts an attribute in its place; tells whether its key, of this meaning, belongs to a GenAI dialect.
fn place<'a>(
    slots: &mut Slots<'a>,
    less_trust: usize,
    attribute: Option<usize>,
    meaning: Meaning<'a>,
    value: Value<'a>,
) -> bool {
    let value = if meaning == Meaning::Unknown { value } else { value.readable() };
    match meaning {
        Meaning::One(rank, slot) => {
            let is_quoted = of_rank(rank).is_some_and(|dialect| dialect.quoted);
            let value = if is_quoted { value.unquoted() } else { value };
            slots.put(slot, Held { rank: rank + less_trust, attribute, value });
        }
        Meaning::Nest(rank, table) => {
            let nested = of_rank(rank).and_then(|dialect| dialect.nested.get(table));
            for (slot, value) in nested.map(|nested| nested.read(&value)).unwrap_or_default() {
                slots.put(slot, Held { rank: rank + less_trust, attribute: None, value });
            }
        }
        Meaning::Many(rank, slot, key) => {
            slots.many.push(Many { rank: rank + less_trust, slot, key, attribute, value, told: Cell::new(false) });
        }
        Meaning::Part(rank, table, key) => {
            let indexed = DIALECTS.get(rank).and_then(|dialect| dialect.indexed.get(table));
            if let Some((slot, value)) = indexed.and_then(|indexed| Some((indexed.slot, indexed.read(key, value)?))) {
                let (rank, used) = (rank + less_trust, Cell::new(false));
                slots.flat.push(Flat { rank, table, slot, key, attribute, value, used });
            }
        }
        Meaning::Mark | Meaning::Unknown => {}
    }
    meaning.is_genai()
}

/// The name of the tool that runs, as its span has it.
fn tool_name<'s>(slots: &'s Slots<'_>, span: &'s str) -> Cow<'s, str> {
    let named = [Slot::ToolName, Slot::EntityName, Slot::Callee].into_iter().find_map(|slot| slots.words(slot));
    named.unwrap_or(Cow::Borrowed(span))
}

/// The name of an operation: of one that is common no copy is made.
fn operation_to_keep(words: Cow<'_, str>) -> Cow<'static, str> {
    match COMMON.iter().find(|common| **common == words) {
        Some(common) => Cow::Borrowed(*common),
        None => Cow::Owned(words.into_owned()),
    }
}

/// Adds the tokens that went through a cache to input tokens that exclude them by the definition of their dialect. The count
/// as it was recorded stays an attribute.
fn add_cache(slots: &mut Slots<'_>) {
    let count = |slot| slots.value(slot).and_then(Value::to_count).unwrap_or(0);
    let cached = count(Slot::CacheReadTokens).saturating_add(count(Slot::CacheCreationTokens));
    let Some(held) = slots.get(Slot::InputTokens).filter(|_| cached > 0) else { return };
    let rank = held.rank;
    let sum = held.value.to_count().and_then(|input| i64::try_from(input.checked_add(cached)?).ok());
    if let (Some(sum), true) = (sum, of_rank(rank).is_some_and(|dialect| dialect.cache_beside)) {
        slots.put(Slot::InputTokens, Held { rank, attribute: None, value: Value::Int(sum) });
    }
}

/// What the keys of a span show it to be, or its name, where it names no operation.
fn hinted<V: SpanView>(view: &V, home: Option<usize>) -> Option<Class> {
    if let Some(class) = home.and_then(of_rank).and_then(|dialect| (dialect.named)(view.name())) {
        return Some(class);
    }
    view.attributes().find_map(|(key, _)| {
        let mut hints = DIALECTS.iter().flat_map(|dialect| dialect.hints);
        hints.find(|(hint, _)| *hint == key).map(|(_, class)| *class)
    })
}

/// A list of texts, or one text.
fn texts(value: &Value<'_>) -> Option<Vec<String>> {
    let listed = value.as_json_text().filter(|text| is_strict(text)).and_then(|text| serde_json::from_str(text).ok());
    listed.or_else(|| value.as_text().map(|text| vec![without_nul(text).into_owned()]))
}

fn list<T: serde::de::DeserializeOwned>(value: &Value<'_>) -> Option<Vec<T>> {
    serde_json::from_str(value.as_json_text()?).ok()
}

/// The calls without what they were given.
fn without_arguments(calls: &Json) -> Json {
    let mut calls = calls.to_value().unwrap_or_default();
    for call in calls.as_array_mut().into_iter().flatten().filter_map(JsonValue::as_object_mut) {
        call.remove("arguments");
    }
    Json::from(&calls)
}
