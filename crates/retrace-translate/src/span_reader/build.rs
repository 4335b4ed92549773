//! Translation of a span into a [`SpanBuilder`].

use std::borrow::Cow;

use retrace_protocol::json::{is_strict, without_nul};
use retrace_protocol::metadata::{SpanMetadata, TraceMetadata};
use retrace_protocol::parse;
use retrace_protocol::{Id, Json, Span, Timestamp};
use serde_json::Value as JsonValue;
use serde_json::value::RawValue;

use crate::dialect::{Class, dialect_of_rank};
use crate::fields::Field;
use crate::json::JsonObject;
use crate::messages::provider_message;
use crate::messages::tool_definitions::{self, ToolDefinitions};
use crate::messages::{Position, SeenTool};
use crate::options::Options;
use crate::span_reader::classify::Classified;
use crate::span_reader::failure::{Ending, compose, failure};
use crate::span_reader::{
    ENVIRONMENT, ScopeCache, SpanBuilder, SpanReader, called_by_mcp, operation_to_keep, provider_name,
};
use crate::usage;
use crate::view::{SpanView, Value};

const NANOS_PER_MILLI: u64 = 1_000_000;
const MILLIS_PER_SECOND: f64 = 1_000.0;
/// Output types that request a structured output: those of the conventions, older ones, and those of the Vercel AI SDK.
const STRUCTURED: [&str; 6] = ["json", "json_object", "json_schema", "object", "array", "enum"];

impl<'v, V: SpanView> SpanReader<'v, V> {
    /// Translates the span. Calls `seen` with every tool call and result in its messages, and with its position.
    pub(crate) fn build(
        &self,
        options: &Options,
        scope_cache: &mut ScopeCache,
        mut seen: impl FnMut(SeenTool<'_>, Position),
    ) -> Box<SpanBuilder> {
        let (view, fields) = (self.view, &self.fields);
        let (mut builder, name, requested_model) = self.outline(options);
        let SpanBuilder { span, metadata, class, has_conversation, .. } = &mut *builder;
        let class = *class;
        let started = view.start_unix_nanos();
        let ended = view.end_unix_nanos().max(started);
        *metadata = self.metadata(options);
        span.ended_at = Some(Timestamp::from_unix_nanos(ended));
        span.duration_ms = Some((ended - started) / NANOS_PER_MILLI);
        span.error = failure(view, fields).or_else(|| {
            let error = self.envelope_facts.error.as_deref()?;
            Some(compose(None, Some(error).filter(|error| options.capture_content && !error.is_empty())))
        });

        let io = self.read_io(class, &mut seen);
        if options.capture_content {
            (span.input, *has_conversation) = (io.input, io.has_conversation);
            span.output = io.answer.output;
            metadata.reasoning = io.answer.reasoning;
            metadata.tool_calls = io.answer.tool_calls;
            metadata.other_output = io.answer.others;
        } else {
            metadata.tool_calls = io.answer.tool_calls.as_ref().map(without_arguments);
        }
        metadata.refusal = io.answer.refusal;
        let stated = |field| fields.consume(field, Value::to_bool).filter(|is_so| *is_so);
        metadata.truncated = stated(Field::Truncated).or_else(|| fields.truncated.get().then_some(true));
        metadata.partial = stated(Field::Partial);
        metadata.replayed = stated(Field::Replayed);
        metadata.vision = io.vision;
        match &metadata.finish_reasons {
            Some(stated) => fields.keep_reasons(stated),
            None if io.answer.finish_reasons.is_empty() => {}
            None => metadata.finish_reasons = Some(io.answer.finish_reasons),
        }

        metadata.request_model = requested_model
            .filter(|requested_model| span.model.as_deref() != Some(requested_model))
            .map(Cow::into_owned);
        let used = usage::used(fields, class == Some(Class::Model));
        (span.input_tokens, span.output_tokens, metadata.usage) = (used.input, used.output, used.parts);
        // OpenLIT states a cost of 0 for a model whose price it does not know.
        let is_openlit =
            |(key, value): (&str, Value<'_>)| key == "telemetry.sdk.name" && value.as_text() == Some("openlit");
        let is_stated = |cost: &f64| *cost != 0.0 || !self.view.attributes().any(is_openlit);
        span.cost = usage::cost(fields).filter(is_stated).or_else(|| self.list_price(span, metadata));
        span.token_ids = fields.consume(Field::TokenIds, list);
        span.logprobs = fields.consume(Field::Logprobs, list);
        // Last, because it keeps the attributes that nothing before has consumed.
        self.fill_leftovers(&mut builder, options, scope_cache, &name);
        builder.redact();
        builder
    }

    /// Translates a span that is still running, without content: the placeholder of a deferred span that never ends.
    pub(crate) fn build_stub(&self, options: &Options) -> Box<SpanBuilder> {
        let mut builder = self.outline(options).0;
        builder.redact();
        builder
    }

    /// Returns a builder without metadata, content and end, the name, and the requested model.
    fn outline(&self, options: &Options) -> (Box<SpanBuilder>, Cow<'v, str>, Option<Cow<'_, str>>) {
        let fields = &self.fields;
        let Classified { class, span_type } = self.classified;
        let trace_id = self.view.trace_id();
        let name = self.name();
        let requested_model =
            fields.consume_label(Field::RequestModel).or_else(|| self.parameters.model.as_deref().map(Cow::Borrowed));
        let mut span = Span::new(
            Id::from_otel_span(trace_id, self.view.span_id()),
            Id::from_otel_trace(trace_id),
            span_type,
            name.clone().into_owned(),
            Timestamp::from_unix_nanos(self.view.start_unix_nanos()),
        );
        let callee = || (class == Some(Class::Model)).then(|| fields.consume_label_string(Field::Callee)).flatten();
        let answered =
            fields.consume_label_string(Field::ResponseModel).or_else(|| fields.consume_label_string(Field::Model));
        let answered = answered.or_else(callee);
        span.model = answered.or_else(|| requested_model.as_deref().map(str::to_owned));
        let own = |field| fields.label_string(field);
        let builder = SpanBuilder {
            is_run: self.is_run(),
            stated_trace_name: fields.consume_label_string(Field::TraceName),
            trace_name: own(Field::WorkflowName)
                .or_else(|| own(Field::AgentName).filter(|_| class == Some(Class::Agent)))
                .filter(|name| *name != span.name),
            tags: fields.consume(Field::Tags, |tags| Some(Json::from_serialize(tags))),
            user_metadata: self.user_metadata(options),
            class,
            span,
            metadata: SpanMetadata::default(),
            has_conversation: false,
        };
        (Box::new(builder), name, requested_model)
    }

    /// Returns the name in Retrace: that of the tool or the agent, if there is one.
    fn name(&self) -> Cow<'v, str> {
        let own = |field| self.fields.consume_label_string(field).map(Cow::Owned);
        own(Field::Name)
            .or_else(|| match self.classified.class {
                Some(Class::Tool) => {
                    let named = own(Field::ToolName).or_else(|| own(Field::EntityName)).or_else(|| own(Field::Callee));
                    named.or_else(|| {
                        called_by_mcp(self.view.name()).map(|name| Cow::Owned(without_nul(name).into_owned()))
                    })
                }
                Some(Class::Agent) if self.is_workflow() => {
                    own(Field::WorkflowName).or_else(|| own(Field::EntityName)).or_else(|| own(Field::AgentName))
                }
                // A step of an agent has a name of its own.
                Some(Class::Agent) => own(Field::EntityName).or_else(|| own(Field::AgentName)),
                _ => None,
            })
            .unwrap_or_else(|| without_nul(self.view.name()))
    }

    /// Returns true if the span states that it is a run.
    fn is_run(&self) -> bool {
        self.fields.get(Field::TraceName).is_some_and(|held| held.rank == 0)
    }

    fn is_workflow(&self) -> bool {
        [Field::Operation, Field::Kind]
            .iter()
            .any(|field| self.fields.text(*field).is_some_and(|o| o.contains("workflow")))
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
        let fields = &self.fields;
        let read = |value: &Value<'_>| {
            value.as_json_text().filter(|text| is_strict(text)).and_then(tool_definitions::read_tool_definitions)
        };
        let offered = options
            .capture_content
            .then(|| fields.consume(Field::ToolDefinitions, read).or_else(|| self.requested_tools()));
        let offered = offered.flatten();
        let offered = offered.unwrap_or_default();
        SpanMetadata {
            tool_call_id: fields
                .consume_label_string(Field::ToolCallId)
                .or_else(|| self.envelope_facts.call_id.clone()),
            operation: [Field::Operation, Field::McpMethod, Field::Kind]
                .into_iter()
                .find_map(|field| fields.consume_label(field).map(operation_to_keep)),
            provider: [Field::Provider, Field::System].into_iter().find_map(|field| self.provider(field)).or_else(
                || {
                    let named = self.provider_in_metadata()?;
                    let (current, _) = provider_name::current(&named);
                    Some(current.map_or(Cow::Owned(named), Cow::Borrowed))
                },
            ),
            response_id: fields.consume_label_string(Field::ResponseId).or_else(|| self.answered.as_ref()?.id.clone()),
            finish_reasons: self.finish_reasons(),
            streaming: fields
                .consume(Field::Streaming, Value::to_bool)
                .or(self.parameters.streaming)
                .or_else(|| self.streams().then_some(true)),
            sampling: self.parameters.sampling.clone(),
            time_to_first_chunk_ms: fields
                .consume_number(Field::TimeToFirstChunk)
                .map(|seconds| seconds * MILLIS_PER_SECOND)
                .or_else(|| fields.consume_number(Field::FirstChunkMillis)),
            tool_schemas: offered.schemas,
            tool_descriptions: offered.descriptions,
            provider_tools: offered.provided,
            structured_output: fields
                .consume(Field::OutputType, |value| STRUCTURED.contains(&value.as_text()?).then_some(()))
                .is_some(),
            ..SpanMetadata::default()
        }
    }

    /// Returns the tools of a request that was recorded whole.
    fn requested_tools(&self) -> Option<ToolDefinitions> {
        let input = self.fields.value(Field::Input).filter(|_| self.class() == Some(Class::Model))?.as_json_text()?;
        if input.trim_start().starts_with('[') {
            let messages = parse::from_strict_str::<Vec<&RawValue>>(input)?;
            let contents = messages.into_iter().filter_map(|raw| JsonObject::read(raw.get())?.get(&["content"]));
            let defined: Vec<&RawValue> = contents.filter(|raw| provider_message::is_definition(raw)).collect();
            let defined = (!defined.is_empty()).then(|| Json::from_serialize(&defined))?;
            return tool_definitions::read_tool_definitions(defined.as_str());
        }
        let request = JsonObject::read(input).filter(|_| is_strict(input))?;
        let tools = ["tools", "functions"];
        let offered = request.get(&tools).or_else(|| request.object(&["config"])?.get(&tools));
        tool_definitions::read_tool_definitions(offered?.get())
    }

    /// Returns the provider by its name in the conventions. A name that carries more than that also stays an attribute.
    fn provider(&self, field: Field) -> Option<Cow<'static, str>> {
        let stated = self.fields.label(field)?;
        let (current, is_all) = provider_name::current(&stated);
        if is_all {
            self.fields.mark_consumed(field);
        }
        Some(current.map_or_else(|| Cow::Owned(stated.into_owned()), Cow::Borrowed))
    }

    /// Returns true if the operation is a streaming one.
    fn streams(&self) -> bool {
        let operation = self.fields.get(Field::Operation);
        operation.is_some_and(|held| {
            dialect_of_rank(held.rank).zip(held.value.as_text()).is_some_and(|(dialect, name)| (dialect.streams)(name))
        })
    }

    /// Returns the finish reasons. If a span states only some of several reasons, those of the whole response are used.
    fn finish_reasons(&self) -> Option<Vec<String>> {
        let stated = self.fields.consume(Field::FinishReasons, texts);
        let io = self.answered.as_ref().map_or(&[][..], |answered| &answered.finish_reasons);
        match stated {
            Some(stated) if stated.len() >= io.len() || stated.iter().any(|one| !io.contains(one)) => Some(stated),
            _ => (!io.is_empty()).then(|| io.to_vec()),
        }
    }

    /// Returns the metadata that the user added. A key with a meaning of its own stays an attribute.
    fn user_metadata(&self, options: &Options) -> serde_json::Map<String, JsonValue> {
        let mut added = serde_json::Map::new();
        let is_run = self.view.parent().is_local_root() || self.is_run();
        let is_free_here = |key: &str| is_free(key) || (is_run && is_free_on_runs(key));
        let prefixed = self.fields.chosen().filter(|prefixed| prefixed.field == Field::UserMetadata);
        let prefixed =
            prefixed.filter(|prefixed| is_free(prefixed.key) || (prefixed.rank == 0 && is_free_here(prefixed.key)));
        for prefixed in prefixed.filter(|prefixed| prefixed.rank == 0 || options.capture_content) {
            if let Ok(value) = serde_json::to_value(&prefixed.value) {
                added.insert(prefixed.key.to_owned(), value);
                prefixed.consumed.set(true);
            }
        }
        if options.capture_content {
            let object = self.fields.consume(Field::UserMetadataObject, |value| {
                let text = value.as_json_text().filter(|text| text.starts_with('{') && is_strict(text))?;
                let object: serde_json::Map<String, JsonValue> = serde_json::from_str(text).ok()?;
                object.iter().all(|(key, _)| is_free(key) && !added.contains_key(key)).then_some(object)
            });
            added.extend(object.into_iter().flatten());
        }
        let stated = self.fields.consume(Field::StatedMetadata, |value| {
            let text = value.as_json_text().filter(|text| is_strict(text))?;
            serde_json::from_str::<serde_json::Map<String, JsonValue>>(text).ok()
        });
        added.extend(stated.into_iter().flatten().filter(|(key, _)| !key.is_empty()));
        // A status that the protocol does not have is metadata.
        if let Some(status) =
            self.fields.label_string(Field::Status).filter(|status| Ending::from_wire(status).is_none())
        {
            self.fields.mark_consumed(Field::Status);
            added.entry("status").or_insert_with(|| status.into());
        }
        added
    }
}

/// Returns true if metadata gives a key no meaning of its own.
fn is_free(key: &str) -> bool {
    !key.is_empty() && !SpanMetadata::KEYS.contains(&key) && !TraceMetadata::KEYS.contains(&key)
}

/// Returns true for a key that the metadata of a run gives no meaning, or that a run may state.
fn is_free_on_runs(key: &str) -> bool {
    !key.is_empty() && (key == ENVIRONMENT || !TraceMetadata::KEYS.contains(&key))
}

/// Reads a list of texts, or one text.
fn texts(value: &Value<'_>) -> Option<Vec<String>> {
    let listed = value.as_json_text().filter(|text| is_strict(text)).and_then(|text| serde_json::from_str(text).ok());
    listed.or_else(|| value.as_text().map(|text| vec![without_nul(text).into_owned()]))
}

fn list<T: serde::de::DeserializeOwned>(value: &Value<'_>) -> Option<Vec<T>> {
    serde_json::from_str(value.as_json_text()?).ok()
}

/// Removes the arguments from tool calls.
fn without_arguments(calls: &Json) -> Json {
    let mut calls = calls.to_value().unwrap_or_default();
    for call in calls.as_array_mut().into_iter().flatten().filter_map(JsonValue::as_object_mut) {
        call.remove("arguments");
    }
    Json::from(&calls)
}
