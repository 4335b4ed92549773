//! Reader of one span: finds the meaning of its attributes and translates them.

mod attribute_object;
mod build;
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
mod span_builder;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use retrace_protocol::SpanType;
use retrace_protocol::json::without_nul;
use retrace_protocol::parse;

pub(crate) use self::scope_cache::ScopeCache;
pub(crate) use self::span_builder::SpanBuilder;
use crate::dialect::{
    Class, DIALECTS, KeyMeaning, MessageEvent, agentops, dialect_of_rank, home_of, is_content_event, meaning_at,
    message_event,
};
use crate::fields::{Field, FieldValue, Fields, FlattenedValue, PrefixedValue};
use crate::json::JsonObject;
use crate::messages::provider_body::ResponseFacts;
use crate::messages::{SeenKind, SeenTool};
pub(crate) use crate::span_reader::classify::stated_type;
use crate::span_reader::classify::{Classified, classify, kind_leads};
use crate::span_reader::conversation::RepairedMessages;
use crate::span_reader::envelope_facts::EnvelopeFacts;
use crate::span_reader::parameters::Parameters;
use crate::view::{SpanView, Value};

/// Key of the deployment environment in the metadata of a run.
pub(crate) const ENVIRONMENT: &str = "environment";

/// Keys under which frameworks write the name of the agent into their metadata; the first is `LangChain`'s.
const AGENT_NAMES: [&str; 3] = ["lc_agent_name", "agent_name", "agentName"];

/// Common part of the names of embedding operations, in any case.
const EMBED: &[u8] = b"embed";
/// Frequent operation names, which are not copied.
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

/// A span with its attributes sorted into [`Fields`].
#[derive(Debug)]
pub(crate) struct SpanReader<'v, V> {
    pub(crate) view: &'v V,
    pub(crate) fields: Fields<'v>,
    /// Messages that arrived truncated, repaired.
    pub(crate) repaired: RepairedMessages,
    genai: bool,
    classified: Classified,
    parameters: Parameters,
    /// Facts from a response that was recorded whole.
    answered: Option<ResponseFacts>,
    /// Facts from the envelopes around arguments and result of a tool.
    envelope_facts: EnvelopeFacts,
}

/// Agent that a span names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Id of the agent; its name if it has no id.
    pub id: Arc<str>,
    /// Name of the agent.
    pub role: Option<Arc<str>>,
    /// Agent that called it, if the span states one.
    pub parent: Option<Arc<str>>,
}

impl<'v, V: SpanView> SpanReader<'v, V> {
    pub(crate) fn new(view: &'v V) -> Self {
        let mut fields = Fields::new();
        let home = home_of(view.name(), view.scope().name);
        let mut genai = home.is_some();
        view.attributes().enumerate().for_each(|(i, (key, value))| {
            let meaning = meaning_at(home, key);
            if !matches!(meaning, KeyMeaning::Unknown) {
                fields.note(i);
                genai |= place(&mut fields, 0, Some(i), meaning, value);
            }
        });
        let mut messages: BTreeMap<(usize, Field), Vec<MessageEvent<'v>>> = BTreeMap::new();
        for event in view.events().filter(|event| is_content_event(event.name)) {
            for (key, value) in &event.attributes {
                let meaning = meaning_at(home, key);
                if !matches!(meaning, KeyMeaning::Unknown) {
                    genai |= place(&mut fields, DIALECTS.len(), None, meaning, value.clone());
                }
            }
            if let Some(belongs) = message_event(event.name) {
                messages.entry(belongs).or_default().push(MessageEvent::new(event));
            }
        }
        for ((rank, field), io) in messages {
            fields.put(field, FieldValue { rank: rank + DIALECTS.len(), attribute: None, value: Value::json(&io) });
        }
        fields.gather();
        add_cache(&mut fields);
        if !genai {
            fields.clear_fields(|rank| dialect_of_rank(rank).is_some_and(|dialect| dialect.genai_spans_only));
        }
        let classified = match is_bookkeeping(&fields, view.name()) {
            true => Classified { class: Some(Class::Action), span_type: SpanType::Action },
            false => classify(&fields, || genai.then(|| hinted(view, home)).flatten()),
        };
        let is_call = classified.class == Some(Class::Model);
        if !is_call && kind_leads(fields.get(Field::Kind)) {
            fields.move_to(Field::InputMessages, Field::Input);
            fields.move_to(Field::OutputMessages, Field::Output);
        }
        let parameters = Parameters::of(&fields, is_call);
        let whole = fields.value(Field::Output).filter(|_| is_call).and_then(Value::as_json_text);
        let answered = whole.and_then(ResponseFacts::read);
        let envelope_facts = match classified.class {
            Some(Class::Tool) => EnvelopeFacts::of(&fields, &tool_name(&fields, view.name())),
            _ => EnvelopeFacts::default(),
        };
        Self {
            view,
            fields,
            repaired: RepairedMessages::default(),
            genai,
            classified,
            parameters,
            answered,
            envelope_facts,
        }
    }

    /// Returns the name of the executed tool.
    pub(crate) fn tool_name(&self) -> Cow<'_, str> {
        tool_name(&self.fields, self.view.name())
    }

    /// Returns the tool call that the span announces instead of executing it.
    pub(crate) fn announced_call(&self) -> Option<SeenTool<'_>> {
        let fields = Some(&self.fields).filter(|fields| is_announced_call(fields, self.view.name()))?;
        let arguments = fields.value(Field::ToolArguments).and_then(Value::as_json_text);
        let arguments = arguments.and_then(parse::from_strict_str);
        let (id, name) = (fields.label(Field::ToolCallId)?, fields.label(Field::ToolName)?);
        Some(SeenTool { id, kind: SeenKind::Call { name, arguments } })
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
        let shared = |field| self.fields.label(field).map(Arc::<str>::from);
        let named = || shared(Field::EntityName).filter(|_| self.fields.text(Field::Kind) == Some("agent"));
        let role = shared(Field::AgentName).or_else(named).or_else(|| self.agent_in_metadata().map(Arc::from));
        let id = shared(Field::AgentId).or_else(|| role.clone())?;
        Some(Agent { id, role, parent: shared(Field::ParentAgentId) })
    }

    /// Returns the provider that `LangChain` names in its metadata, an object.
    pub(crate) fn provider_in_metadata(&self) -> Option<String> {
        const PROVIDER: &str = "ls_provider";
        let text = self.fields.value(Field::UserMetadataObject).and_then(Value::as_json_text)?;
        let text = Some(text).filter(|text| self.class() == Some(Class::Model) && text.contains(PROVIDER))?;
        JsonObject::read(text)?.label(&[PROVIDER]).map(|name| without_nul(&name).into_owned())
    }

    /// Returns the agent that a framework names in its metadata, one object or many keys.
    fn agent_in_metadata(&self) -> Option<String> {
        let is_name = |prefixed: &&PrefixedValue<'_>| {
            prefixed.field == Field::UserMetadata && AGENT_NAMES.contains(&prefixed.key)
        };
        let one = self.fields.prefixed.iter().rev().find(is_name).and_then(|prefixed| prefixed.value.as_text());
        let text = self
            .fields
            .value(Field::UserMetadataObject)
            .and_then(Value::as_json_text)
            .filter(|text| text.contains("gent"));
        let in_object = || JsonObject::read(text?)?.label(&AGENT_NAMES).map(Cow::into_owned);
        one.map(str::to_owned).or_else(in_object).map(|name| without_nul(&name).into_owned())
    }

    pub(crate) fn session(&self) -> Option<String> {
        // Some write an absent id as JSON.
        let stated = self.fields.label_string(Field::SessionId).filter(|id| id != "null");
        stated.or_else(|| self.parameters.conversation.clone())
    }

    pub(crate) fn user(&self) -> Option<String> {
        self.fields.label_string(Field::UserId).or_else(|| self.parameters.user.clone())
    }

    /// Returns the id of the tool call that the span executes.
    pub(crate) fn executed_call(&self) -> Option<String> {
        let stated = self.fields.label_string(Field::ToolCallId).or_else(|| self.envelope_facts.call_id.clone());
        stated.filter(|_| self.classified.span_type == SpanType::ToolCall)
    }

    /// Returns true if the record carries the message that the event is.
    pub(crate) fn has_message(&self, event: &str) -> bool {
        message_event(event).is_some_and(|(rank, field)| {
            self.fields.is_consumed(field)
                && self.fields.get(field).is_some_and(|held| held.rank == rank + DIALECTS.len())
        })
    }

    /// Returns the provider's response id, which two spans of one call share.
    pub(crate) fn response_id(&self) -> Option<String> {
        self.fields.label_string(Field::ResponseId).or_else(|| self.answered.as_ref()?.id.clone())
    }

    /// Returns the id under which a server handled the request.
    pub(crate) fn request_id(&self) -> Option<String> {
        self.fields.label_string(Field::RequestId)
    }

    /// Returns an operation name that is equal for two spans of one call, whatever their dialects.
    pub(crate) fn operation(&self) -> Option<Cow<'static, str>> {
        let stated = self.fields.label(Field::Operation).or_else(|| self.fields.label(Field::Kind));
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
}

/// Stores an attribute in its field; returns true if its key belongs to a GenAI dialect.
fn place<'a>(
    fields: &mut Fields<'a>,
    less_trust: usize,
    attribute: Option<usize>,
    meaning: KeyMeaning<'a>,
    value: Value<'a>,
) -> bool {
    let value = value.readable();
    let value = if meaning.is_exact() { value } else { value.unwrapped() };
    match meaning {
        KeyMeaning::Field(rank, field) => {
            let is_quoted = dialect_of_rank(rank).is_some_and(|dialect| dialect.quoted);
            let value = if is_quoted { value.unquoted() } else { value };
            fields.put(field, FieldValue { rank: rank + less_trust, attribute, value });
        }
        KeyMeaning::Nested(rank, table) => {
            let nested = dialect_of_rank(rank).and_then(|dialect| dialect.nested.get(table));
            for (field, value) in nested.map(|nested| nested.read(&value)).unwrap_or_default() {
                fields.put(field, FieldValue { rank: rank + less_trust, attribute: None, value });
            }
        }
        KeyMeaning::Prefixed(rank, field, key) => {
            fields.prefixed.push(PrefixedValue {
                rank: rank + less_trust,
                field,
                key,
                attribute,
                value,
                consumed: Cell::new(false),
            });
        }
        KeyMeaning::Flattened(rank, table, key) => {
            let flattened = DIALECTS.get(rank).and_then(|dialect| dialect.flattened.get(table));
            if let Some((field, value)) =
                flattened.and_then(|flattened| Some((flattened.field, flattened.read(key, value)?)))
            {
                let (rank, used) = (rank + less_trust, Cell::new(false));
                fields.flat.push(FlattenedValue { rank, table, field, key, attribute, value, used });
            }
        }
        KeyMeaning::Marker | KeyMeaning::Unknown => {}
    }
    meaning.is_genai()
}

/// Returns the name of the executed tool.
fn tool_name<'s>(fields: &'s Fields<'_>, span: &'s str) -> Cow<'s, str> {
    let named = [Field::ToolName, Field::EntityName, Field::Callee].into_iter().find_map(|field| fields.label(field));
    named.or_else(|| called_by_mcp(span).map(Cow::Borrowed)).unwrap_or(Cow::Borrowed(span))
}

/// Returns the name of the tool in the name of a span of MCP, where it is after the method.
fn called_by_mcp(span: &str) -> Option<&str> {
    span.split_once("tools/call ").map(|(_, name)| name).filter(|name| !name.is_empty())
}

/// Returns true for a span that claims a model call or a tool where its library only prepares one or joins the results of
/// several: `LlamaIndex` makes a span of every method of a model, ADK one of the event that joins parallel results, and
/// AgentOps one of every tool call in a response.
fn is_bookkeeping(fields: &Fields<'_>, span: &str) -> bool {
    fields.get(Field::SpanType).is_none()
        && (span.ends_with("._prepare_chat_with_tools")
            || fields.text(Field::ToolName) == Some("(merged tools)")
            || is_announced_call(fields, span))
}

/// Returns true for AgentOps's span of a tool call in a response.
fn is_announced_call(fields: &Fields<'_>, span: &str) -> bool {
    span.starts_with(agentops::CALLED)
        && fields.text(Field::Kind).is_some_and(|kind| kind.starts_with(agentops::CALLED_KIND))
}

/// Returns the name of an operation without a copy if it is a frequent one.
fn operation_to_keep(words: Cow<'_, str>) -> Cow<'static, str> {
    match COMMON.iter().find(|common| **common == words) {
        Some(common) => Cow::Borrowed(*common),
        None => Cow::Owned(words.into_owned()),
    }
}

/// Adds cached tokens to input tokens that exclude them by the definition of their dialect. The recorded count stays an
/// attribute.
fn add_cache(fields: &mut Fields<'_>) {
    let count = |field| fields.value(field).and_then(Value::to_count).unwrap_or(0);
    let cached = count(Field::CacheReadTokens).saturating_add(count(Field::CacheCreationTokens));
    let Some(held) = fields.get(Field::InputTokens).filter(|_| cached > 0) else { return };
    let rank = held.rank;
    let sum = held.value.to_count().and_then(|input| i64::try_from(input.checked_add(cached)?).ok());
    if let (Some(sum), true) = (sum, dialect_of_rank(rank).is_some_and(|dialect| dialect.input_excludes_cache)) {
        fields.put(Field::InputTokens, FieldValue { rank, attribute: None, value: Value::Int(sum) });
    }
}

/// Classifies a span that names no operation by its name or its keys.
fn hinted<V: SpanView>(view: &V, home: Option<usize>) -> Option<Class> {
    if let Some(class) = home.and_then(dialect_of_rank).and_then(|dialect| (dialect.named)(view.name())) {
        return Some(class);
    }
    view.attributes().find_map(|(key, _)| {
        let mut hints = DIALECTS.iter().flat_map(|dialect| dialect.hints);
        hints.find(|(hint, _)| *hint == key).map(|(_, class)| *class)
    })
}
