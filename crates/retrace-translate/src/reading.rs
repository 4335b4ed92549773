//! One span, read: its attributes put in their places, and from there what the recorder wants to know.

use std::borrow::Cow;
use std::collections::BTreeMap;

use retrace_protocol::json::{is_strict, without_nul};
use retrace_protocol::message::Text;
use retrace_protocol::metadata::{Sampling, SpanEvent, SpanLink, SpanMetadata, SpanOrigin, SpanScope, Usage};
use retrace_protocol::{Id, Json, Span, SpanType, Timestamp};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value as JsonValue;
use serde_json::value::RawValue;

use crate::classify::{Classified, classify};
use crate::dialect::{Class, DIALECTS, Meaning, is_content_event, meaning};
use crate::failure::{EXCEPTION, failure};
use crate::hex;
use crate::messages::{Answer, Part, SeenTool, Turn, answer, conversation, has_images, text_of, tools_in};
use crate::options::Options;
use crate::slot::{Held, Many, Slot, Slots};
use crate::tools;
use crate::view::{EventView, Kind, SpanView, Value};

/// Attribute keys that are kept when content is not: they say where and how, never what.
const STRUCTURAL: &[&str] =
    &["server.", "network.", "service.", "code.", "thread.", "http.route", "http.request.method", "url.scheme"];

const NANOS_PER_MILLI: u64 = 1_000_000;
const MILLIS_PER_SECOND: f64 = 1_000.0;

/// A span whose attributes stand in their places.
#[derive(Debug)]
pub(crate) struct Reading<'v, V> {
    view: &'v V,
    slots: Slots<'v>,
    genai: bool,
    classified: Classified,
}

/// An agent, as a span names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// Its id, else its name.
    pub id: String,
    /// Its name.
    pub role: Option<String>,
}

/// A span in Retrace's terms, but for what only its place in the run can tell.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The span, without metadata, parent and agents.
    pub span: Span,
    pub metadata: SpanMetadata,
    /// What it is, so that its tokens are counted once.
    pub class: Option<Class>,
    /// What a run that begins with this span is called.
    pub trace_name: String,
    pub tags: Option<Json>,
    /// What the user added, keys without their prefix.
    pub user_metadata: serde_json::Map<String, JsonValue>,
}

impl<'v, V: SpanView> Reading<'v, V> {
    pub(crate) fn new(view: &'v V) -> Self {
        let mut slots = Slots::new();
        let mut genai = false;
        for (i, (key, value)) in view.attributes().enumerate() {
            genai |= place(&mut slots, 0, Some(i), key, value);
        }
        for event in view.events().filter(|event| is_content_event(event.name)) {
            for (key, value) in event.attributes {
                genai |= place(&mut slots, DIALECTS.len(), None, key, value);
            }
        }
        let classified = classify(&slots);
        Self { view, slots, genai, classified }
    }

    pub(crate) fn is_genai(&self) -> bool {
        self.genai
    }

    pub(crate) fn agent(&self) -> Option<Agent> {
        let role = self.slots.label(Slot::AgentName);
        let id = self.slots.label(Slot::AgentId).or_else(|| role.clone())?;
        Some(Agent { id, role })
    }

    pub(crate) fn session(&self) -> Option<String> {
        self.slots.label(Slot::SessionId)
    }

    pub(crate) fn user(&self) -> Option<String> {
        self.slots.label(Slot::UserId)
    }

    /// The id of the tool call that this span executes.
    pub(crate) fn executed_call(&self) -> Option<String> {
        self.slots.label(Slot::ToolCallId).filter(|_| self.classified.span_type == SpanType::ToolCall)
    }

    /// The provider's id of the answer, which two spans of one call share.
    pub(crate) fn response_id(&self) -> Option<String> {
        self.slots.label(Slot::ResponseId)
    }

    pub(crate) fn operation(&self) -> Option<String> {
        self.slots.label(Slot::Operation)
    }

    /// Translates the span. Every tool that its messages show is handed to `seen`, in order, with whether it stood in the
    /// answer.
    pub(crate) fn draft(&self, options: &Options, mut seen: impl FnMut(SeenTool<'_>, bool)) -> Draft {
        let (view, slots) = (self.view, &self.slots);
        let Classified { class, span_type } = self.classified;
        let trace_id = view.trace_id();
        let started = view.start_unix_nanos();
        let ended = view.end_unix_nanos().max(started);
        let name = self.name();
        let mut span = Span::new(
            Id::from_otel_span(trace_id, view.span_id()),
            Id::from_otel_trace(trace_id),
            span_type,
            name.clone().into_owned(),
            Timestamp::from_unix_nanos(started),
        );
        span.ended_at = Some(Timestamp::from_unix_nanos(ended));
        span.duration_ms = Some((ended - started) / NANOS_PER_MILLI);
        span.error = failure(view, slots);

        let mut metadata = self.metadata(options, &name);
        let said = self.said(class, &mut seen);
        if options.capture_content {
            span.input = said.input;
            span.output = said.answer.output;
            metadata.reasoning = said.answer.reasoning;
            metadata.tool_calls = said.answer.tool_calls;
        } else {
            metadata.tool_calls = said.answer.tool_calls.as_ref().map(without_arguments);
        }
        metadata.refusal = said.answer.refusal;
        metadata.vision = said.vision;
        if metadata.finish_reasons.is_none() && !said.answer.finish_reasons.is_empty() {
            metadata.finish_reasons = Some(said.answer.finish_reasons);
        }

        span.model = slots.label(Slot::ResponseModel).or_else(|| slots.label(Slot::RequestModel));
        span.input_tokens = slots.count(Slot::InputTokens);
        span.output_tokens = slots.count(Slot::OutputTokens);
        span.cost = slots.number(Slot::Cost).or_else(|| self.list_price(&span, &metadata));
        span.token_ids = slots.value(Slot::TokenIds).and_then(list);
        span.logprobs = slots.value(Slot::Logprobs).and_then(list);

        let own = |slot| slots.label(slot);
        Draft {
            trace_name: own(Slot::TraceName)
                .or_else(|| own(Slot::WorkflowName))
                .or_else(|| own(Slot::AgentName).filter(|_| class == Some(Class::Agent)))
                .unwrap_or_else(|| span.name.clone()),
            span,
            metadata,
            class,
            tags: slots.value(Slot::Tags).map(Json::from_serialize),
            user_metadata: self.user_metadata(),
        }
    }

    /// The name in Retrace: that of the tool or the agent, where there is one.
    fn name(&self) -> Cow<'v, str> {
        let own = |slot| self.slots.label(slot).map(Cow::Owned);
        own(Slot::Name)
            .or_else(|| match self.classified.class {
                Some(Class::Tool) => own(Slot::ToolName),
                Some(Class::Agent) => own(Slot::WorkflowName)
                    .filter(|_| self.slots.text(Slot::Operation).is_some_and(|o| o.contains("workflow")))
                    .or_else(|| own(Slot::AgentName)),
                _ => None,
            })
            .unwrap_or_else(|| without_nul(self.view.name()))
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
        crate::cost::price(
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

    fn metadata(&self, options: &Options, name: &str) -> SpanMetadata {
        let slots = &self.slots;
        let response_model = slots.text(Slot::ResponseModel);
        let offered = slots
            .value(Slot::ToolDefinitions)
            .filter(|_| options.capture_content)
            .and_then(Value::as_json_text)
            .filter(|text| is_strict(text))
            .and_then(tools::offered)
            .unwrap_or_default();
        SpanMetadata {
            tool_call_id: slots.label(Slot::ToolCallId),
            operation: slots.label(Slot::Operation).or_else(|| slots.label(Slot::McpMethod)),
            provider: slots.label(Slot::Provider),
            request_model: slots
                .label(Slot::RequestModel)
                .filter(|model| response_model.is_some_and(|response| response != model)),
            response_id: slots.label(Slot::ResponseId),
            sampling: self.sampling(),
            finish_reasons: slots.value(Slot::FinishReasons).and_then(texts),
            streaming: slots.value(Slot::Streaming).and_then(Value::to_bool),
            time_to_first_chunk_ms: slots.number(Slot::TimeToFirstChunk).map(|seconds| seconds * MILLIS_PER_SECOND),
            tool_schemas: offered.schemas,
            tool_descriptions: offered.descriptions,
            structured_output: slots.text(Slot::OutputType) == Some("json"),
            usage: Usage {
                cache_read_tokens: slots.count(Slot::CacheReadTokens),
                cache_creation_tokens: slots.count(Slot::CacheCreationTokens),
                reasoning_tokens: slots.count(Slot::ReasoningTokens),
                ..Usage::default()
            },
            otel: self.origin(name),
            events: self.events(options),
            attributes: self.attributes(options),
            ..SpanMetadata::default()
        }
    }

    fn sampling(&self) -> Sampling {
        let slots = &self.slots;
        Sampling {
            temperature: slots.number(Slot::Temperature),
            top_p: slots.number(Slot::TopP),
            top_k: slots.number(Slot::TopK),
            seed: slots.value(Slot::Seed).and_then(|value| match value {
                Value::Int(seed) => Some(*seed),
                other => other.to_count().and_then(|seed| i64::try_from(seed).ok()),
            }),
            max_tokens: slots.count(Slot::MaxTokens),
            frequency_penalty: slots.number(Slot::FrequencyPenalty),
            presence_penalty: slots.number(Slot::PresencePenalty),
            stop: slots.value(Slot::StopSequences).map(Json::from_serialize),
            n: slots.count(Slot::ChoiceCount),
        }
    }

    fn origin(&self, name: &str) -> SpanOrigin {
        let view = self.view;
        let (scope, dropped) = (view.scope(), view.dropped());
        let text = |text: &str| without_nul(text).into_owned();
        SpanOrigin {
            name: (view.name() != name).then(|| text(view.name())),
            kind: (view.kind() != Kind::Internal).then(|| view.kind().as_str().to_owned()),
            scope: (!scope.name.is_empty()).then(|| SpanScope {
                name: text(scope.name),
                version: (!scope.version.is_empty()).then(|| text(scope.version)),
            }),
            span_id: None,
            remote_parent: None,
            links: view
                .links()
                .map(|link| SpanLink {
                    trace_id: hex(&link.trace_id),
                    span_id: hex(&link.span_id),
                    attributes: object(link.attributes.iter().map(|(key, value)| (*key, value))),
                })
                .collect(),
            dropped_attributes: dropped.attributes,
            dropped_events: dropped.events,
            dropped_links: dropped.links,
        }
    }

    /// Attributes that found no place of their own. One that only repeats what holds its place is not said again.
    fn attributes(&self, options: &Options) -> Option<Json> {
        let used = self.slots.used();
        let unused = self.view.attributes().enumerate().filter(|(i, (key, value))| {
            !used.contains(i) && !self.repeats(key, value) && (options.capture_content || is_structural(key, value))
        });
        object(unused.map(|(_, attribute)| attribute))
    }

    fn repeats(&self, key: &str, value: &Value<'_>) -> bool {
        matches!(value, Value::Str(text) if text.is_empty())
            || matches!(meaning(key), Meaning::One(_, slot) if self.slots.value(slot) == Some(value))
    }

    /// Events, less what was read from them already.
    fn events(&self, options: &Options) -> Vec<SpanEvent> {
        let keep = |event: &EventView<'_>, key: &str, value: &Value<'_>| {
            if is_content_event(event.name) && self.repeats(key, value) {
                return false;
            }
            options.capture_content || is_structural(key, value) || key == "exception.type"
        };
        self.view
            .events()
            .filter_map(|event| {
                let kept = event.attributes.iter().filter(|(key, value)| keep(&event, key, value));
                let attributes = object(kept.map(|(key, value)| (*key, value)));
                // What was read whole has been said.
                if attributes.is_none() && (is_content_event(event.name) || event.name == EXCEPTION) {
                    return None;
                }
                Some(SpanEvent {
                    name: without_nul(event.name).into_owned(),
                    at: Timestamp::from_unix_nanos(event.unix_nanos),
                    attributes,
                })
            })
            .collect()
    }

    fn user_metadata(&self) -> serde_json::Map<String, JsonValue> {
        let users = self.slots.many.iter().filter(|many| many.slot == Slot::UserMetadata && !many.key.is_empty());
        users.filter_map(|many| Some((many.key.to_owned(), serde_json::to_value(&many.value).ok()?))).collect()
    }
}

/// What a span was given and what it answered.
#[derive(Debug, Default)]
struct Said {
    input: Option<Json>,
    answer: Answer,
    vision: bool,
}

impl<'v, V: SpanView> Reading<'v, V> {
    fn said(&self, class: Option<Class>, seen: &mut impl FnMut(SeenTool<'_>, bool)) -> Said {
        let mut said = Said::default();
        let instructions = self.turns(Slot::SystemInstructions);
        let history = self.turns(Slot::InputMessages);
        let answered = self.turns(Slot::OutputMessages);
        if class == Some(Class::Model) {
            history.iter().for_each(|turns| tools_in(turns).for_each(|tool| seen(tool, false)));
            answered.iter().for_each(|turns| tools_in(turns).for_each(|tool| seen(tool, true)));
            said.vision = history.as_deref().is_some_and(has_images);
        }

        let asked = (instructions.is_some() || history.is_some()).then(|| {
            Json::from_serialize(&conversation(instructions.unwrap_or_default(), history.unwrap_or_default()))
        });
        said.answer = answered.map(answer).unwrap_or_default();

        let (given, returned) = match class {
            Some(Class::Model) => (None, None),
            Some(Class::Tool) => (self.stated(Slot::ToolArguments), self.stated(Slot::ToolResult)),
            _ => (self.stated(Slot::RetrievalQuery), self.stated(Slot::RetrievalDocuments)),
        };
        said.input = self.outright(Slot::Input).or(given).or(asked).or_else(|| self.stated(Slot::Input));
        let answered = said.answer.output.take();
        said.answer.output =
            self.outright(Slot::Output).or(returned).or(answered).or_else(|| self.stated(Slot::Output));
        said
    }

    /// The messages in a place, read by the dialect that put them there.
    ///
    /// What it cannot read is one message: bare text is recorded too, and JSON that arrives cut is still worth reading.
    fn turns(&self, slot: Slot) -> Option<Vec<Turn<'_>>> {
        let held = self.slots.get(slot)?;
        let text = held.value.as_json_text()?;
        let strict = is_strict(text);
        let dialect = DIALECTS.get(held.rank % DIALECTS.len())?;
        if let Some(turns) = strict.then(|| (dialect.turns)(text)).flatten() {
            return Some(turns);
        }
        let whole = strict.then(|| serde_json::from_str::<&RawValue>(text).ok()).flatten();
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

    /// The value in a place, as JSON where it is JSON, else as text.
    fn stated(&self, slot: Slot) -> Option<Json> {
        self.slots.value(slot).map(json_or_text)
    }

    /// The same, when the application itself stated it.
    fn outright(&self, slot: Slot) -> Option<Json> {
        self.slots.get(slot).filter(|held| held.rank == 0).map(|held| json_or_text(&held.value))
    }
}

/// Puts an attribute in its place; tells whether its key belongs to a GenAI dialect.
fn place<'a>(
    slots: &mut Slots<'a>,
    less_trust: usize,
    attribute: Option<usize>,
    key: &'a str,
    value: Value<'a>,
) -> bool {
    let meaning = meaning(key);
    match meaning {
        Meaning::One(rank, slot) => slots.put(slot, Held { rank: rank + less_trust, attribute, value }),
        Meaning::Many(_, slot, key) => slots.many.push(Many { slot, key, attribute, value }),
        Meaning::Mark | Meaning::Unknown => {}
    }
    meaning.is_genai()
}

fn json_or_text(value: &Value<'_>) -> Json {
    match value {
        Value::Str(text) => Json::parse_strict(text).unwrap_or_else(|| Json::text(text)),
        other => Json::from_serialize(other),
    }
}

/// A list of texts, or one text.
fn texts(value: &Value<'_>) -> Option<Vec<String>> {
    let listed = value.as_json_text().filter(|text| is_strict(text)).and_then(|text| serde_json::from_str(text).ok());
    listed.or_else(|| value.as_text().map(|text| vec![without_nul(text).into_owned()]))
}

fn list<T: serde::de::DeserializeOwned>(value: &Value<'_>) -> Option<Vec<T>> {
    serde_json::from_str(value.as_json_text()?).ok()
}

fn is_structural(key: &str, value: &Value<'_>) -> bool {
    matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_)) || STRUCTURAL.iter().any(|s| key.starts_with(s))
}

/// The calls without what they were given.
fn without_arguments(calls: &Json) -> Json {
    let mut calls = calls.to_value().unwrap_or_default();
    for call in calls.as_array_mut().into_iter().flatten().filter_map(JsonValue::as_object_mut) {
        call.remove("arguments");
    }
    Json::from(&calls)
}

/// A JSON object of attributes; of a key that comes twice the later value holds. `None` when there are none.
fn object<'a, V: Serialize>(attributes: impl Iterator<Item = (&'a str, V)>) -> Option<Json> {
    struct Object<V>(Vec<V>);
    impl<V: Serialize> Serialize for Object<(&str, V)> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(self.0.len()))?;
            for (key, value) in &self.0 {
                map.serialize_entry(&*without_nul(key), value)?;
            }
            map.end()
        }
    }
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut entries: Vec<(&str, V)> = Vec::new();
    for (key, value) in attributes {
        match places.get(key).and_then(|at| entries.get_mut(*at)) {
            Some(entry) => entry.1 = value,
            None => {
                places.insert(key, entries.len());
                entries.push((key, value));
            }
        }
    }
    (!entries.is_empty()).then(|| Json::from_serialize(&Object(entries)))
}
