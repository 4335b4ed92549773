//! Origin, events, and attributes without a field of their own.

use foldhash::HashMap;
use retrace_protocol::json::without_nul;
use retrace_protocol::metadata::{SpanEvent, SpanLink, SpanOrigin};
use retrace_protocol::{Json, Span, Timestamp};
use smallvec::SmallVec;

use crate::dialect::{KeyMeaning, dialect_of_rank, is_content_event, is_message_key, meaning};
use crate::fields::Field;
use crate::json::hex;
use crate::options::Options;
use crate::span_reader::ScopeCache;
use crate::span_reader::attribute_object::object;
use crate::span_reader::failure::{Ending, UNNAMED, is_exception};
use crate::span_reader::{SpanBuilder, SpanReader};
use crate::view::{EventView, Kind, SpanView, StatusView, Value};

/// Prefixes of attributes that are kept without content capture, because they never hold content.
const STRUCTURAL: &[&str] =
    &["server.", "network.", "service.", "code.", "thread.", "http.route", "http.request.method", "url.scheme"];
/// Prefix of the attributes by which an application states facts.
const STATED: &str = "retrace.";
/// Attributes of a `tracing` event.
const LEVEL: &str = "level";
const TARGET: &str = "target";
/// Field in which `#[tracing::instrument(ret)]` records the return value of a function.
const RETURN: &str = "return";
/// Maximum number of events below the level `info` on a span.
const FINE_EVENTS: usize = 8;
/// Name of an event whose own name may be content and is not sent.
const ANONYMOUS_EVENT: &str = "event";

impl<V: SpanView> SpanReader<'_, V> {
    /// Fills in the origin of the span, its events, and the attributes that nothing has consumed.
    pub(crate) fn fill_leftovers(
        &self,
        builder: &mut SpanBuilder,
        options: &Options,
        scope_cache: &mut ScopeCache,
        name: &str,
    ) {
        for (field, consumed) in [
            (
                Field::SpanType,
                self.fields
                    .text(Field::SpanType)
                    .is_some_and(|stated| stated.trim().eq_ignore_ascii_case(builder.span.span_type.as_str())),
            ),
            (Field::System, self.fields.label(Field::System).as_deref() == builder.metadata.provider.as_deref()),
            (
                Field::InputMimeType,
                self.fields.is_consumed(Field::Input) && is_mime_type(self.fields.text(Field::InputMimeType)),
            ),
            (
                Field::OutputMimeType,
                self.fields.is_consumed(Field::Output) && is_mime_type(self.fields.text(Field::OutputMimeType)),
            ),
            // These may be the name of the span.
            (Field::EntityName, self.fields.label(Field::EntityName).is_some_and(|own| own == builder.span.name)),
            (Field::Callee, self.fields.label(Field::Callee).is_some_and(|own| own == builder.span.name)),
            (Field::WorkflowName, self.fields.label(Field::WorkflowName).is_some_and(|own| own == builder.span.name)),
            // The run carries its agents, its session and its user.
            (Field::AgentId, true),
            (Field::AgentName, true),
            // The run carries the parent of an agent; without an agent it stays an attribute.
            (Field::ParentAgentId, self.fields.label(Field::ParentAgentId).is_some() && self.agent().is_some()),
            (Field::Status, self.fields.text(Field::Status).and_then(Ending::from_wire).is_some()),
            (
                Field::StatedError,
                self.fields.label(Field::StatedError).is_some_and(|error| error_contains(&builder.span, &error)),
            ),
            (Field::SessionId, true),
            (Field::UserId, true),
            (Field::Bookkeeping, true),
            (
                Field::StatusMessage,
                self.fields.label(Field::StatusMessage).is_some_and(|words| error_contains(&builder.span, &words)),
            ),
            (
                Field::ErrorType,
                self.fields
                    .label(Field::ErrorType)
                    .is_some_and(|kind| kind == UNNAMED || error_contains(&builder.span, &kind)),
            ),
        ] {
            if consumed && self.fields.label(field).is_some() {
                self.fields.mark_consumed(field);
            }
        }
        builder.metadata.otel = self.origin(name, options, scope_cache);
        builder.metadata.otel.status_description = match self.view.status() {
            StatusView::Error(description) if !error_contains(&builder.span, description) => {
                Some(without_nul(description).into_owned())
            }
            _ => None,
        };
        let returned = if builder.span.output.is_none() && options.capture_content { self.returned() } else { None };
        let (events, left_out) = self.events(options, returned.is_some());
        builder.span.output = builder.span.output.take().or(returned);
        builder.metadata.events = events;
        builder.metadata.otel.dropped_events = builder.metadata.otel.dropped_events.saturating_add(left_out);
        builder.metadata.attributes = self.attributes(options);
    }

    fn origin(&self, name: &str, options: &Options, scope_cache: &mut ScopeCache) -> SpanOrigin {
        let view = self.view;
        let dropped = view.dropped();
        let text = |text: &str| without_nul(text).into_owned();
        SpanOrigin {
            name: (view.name() != name).then(|| text(view.name())),
            kind: (view.kind() != Kind::Internal).then(|| view.kind().as_str().into()),
            scope: scope_cache.shared(view.scope()),
            span_id: None,
            status_description: None,
            remote_parent: None,
            service: None,
            joined: false,
            links: view
                .links()
                .map(|link| SpanLink {
                    trace_id: hex(&link.trace_id),
                    span_id: hex(&link.span_id),
                    attributes: object(
                        link.attributes
                            .iter()
                            .map(|(key, value)| (*key, value))
                            .filter(|(key, value)| options.capture_content || is_structural(key, value)),
                    ),
                })
                .collect(),
            dropped_attributes: dropped.attributes,
            dropped_events: dropped.events,
            dropped_links: dropped.links,
        }
    }

    /// Returns the attributes that nothing has consumed, that repeat no consumed value, and that no later one replaces.
    fn attributes(&self, options: &Options) -> Option<Json> {
        let consumed = self.fields.consumed_attributes();
        // Last position of each key. A later `retrace.*` attribute replaces an earlier one. A key that a library sets twice stays,
        // since its earlier value may be content.
        let mut last: Option<HashMap<&str, usize>> = None;
        let mut is_overwritten = |at: usize, key: &str| {
            let places = || self.view.attributes().enumerate().map(|(at, (key, _))| (key, at)).collect();
            key.starts_with(STATED) && last.get_or_insert_with(places).get(key).is_some_and(|last| *last > at)
        };
        let leftover = self.view.attributes().enumerate().filter(|(i, (key, value))| {
            let mut is_known = || {
                is_empty(value)
                    || (self.fields.has_meaning(*i) && (self.repeats(key, value) || is_overwritten(*i, key)))
            };
            !consumed.has(*i) && !is_known() && (options.capture_content || is_structural(key, value))
        });
        object(leftover.map(|(_, attribute)| attribute))
    }

    /// Returns true if the value is empty, or is the one that its field has consumed already.
    fn repeats(&self, key: &str, value: &Value<'_>) -> bool {
        is_empty(value)
            || match meaning(key) {
                KeyMeaning::Field(_, field) => {
                    self.fields.is_consumed(field) && self.fields.value(field) == Some(value)
                }
                KeyMeaning::Nested(rank, table) => {
                    let nested = dialect_of_rank(rank).and_then(|dialect| dialect.nested.get(table));
                    nested.is_some_and(|nested| nested.is_consumed(value, &self.fields))
                }
                _ => false,
            }
    }

    /// Returns the return value of a function, as `#[tracing::instrument(ret)]` records it.
    fn returned(&self) -> Option<Json> {
        let events = self.view.events().filter(|event| is_tracing_event(event)).collect::<SmallVec<[_; 8]>>();
        let returned = events.iter().rev().find_map(|event| attribute(event, RETURN))?;
        Some(match returned.as_json_text() {
            Some(json) => Json::parse_strict(json).unwrap_or_else(|| Json::text(json)),
            None => Json::from_serialize(returned),
        })
    }

    /// Returns the events without the attributes that were consumed, and the number of events left out. Events of logging
    /// libraries below the level `info` are bounded, because dozens of them, mostly of other libraries, hide the content of the
    /// span.
    fn events(&self, options: &Options, is_output: bool) -> (Vec<SpanEvent>, u32) {
        let (mut fine, mut left_out) = (0, 0);
        let parts = self.fields.consumed_parts();
        let is_part = |key: &str, value: &Value<'_>| matches!(meaning(key), KeyMeaning::Flattened(_, _, rest) if parts.get(rest).is_some_and(|consumed| is_same(consumed, value)));
        let keep = |event: &EventView<'_>, key: &str, value: &Value<'_>| {
            if is_content_event(event.name) && (self.repeats(key, value) || is_part(key, value)) {
                return false;
            }
            if is_output && key == RETURN && is_tracing_event(event) {
                return false;
            }
            options.capture_content || is_structural(key, value) || key == "exception.type"
        };
        let events = self
            .view
            .events()
            .filter(|event| {
                let is_fine = is_below_info(event);
                fine += usize::from(is_fine);
                let keeps = !is_fine || fine <= FINE_EVENTS;
                left_out += u32::from(!keeps);
                keeps
            })
            .filter_map(|event| {
                let has_message = self.has_message(event.name);
                let is_in_message = |key: &str| has_message && is_message_key(key);
                let body = event.body.as_ref().filter(|_| !has_message && options.capture_content);
                let kept =
                    event.attributes.iter().filter(|(key, value)| !is_in_message(key) && keep(&event, key, value));
                let attributes =
                    object(body.map(|body| ("body", body)).into_iter().chain(kept.map(|(key, value)| (*key, value))));
                // All of the event was consumed.
                if attributes.is_none() && (is_content_event(event.name) || is_exception(event.name)) {
                    return None;
                }
                // A logging library uses the message as the name.
                let shown = options.capture_content || is_known(event.name);
                Some(SpanEvent {
                    name: if shown { without_nul(event.name).into_owned() } else { ANONYMOUS_EVENT.to_owned() },
                    at: Timestamp::from_unix_nanos(event.unix_nanos),
                    attributes,
                })
            })
            .collect();
        (events, left_out)
    }
}

fn attribute<'e, 'v>(event: &'e EventView<'v>, key: &str) -> Option<&'e Value<'v>> {
    event.attributes.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// Returns true for an event that `tracing-opentelemetry` wrote.
pub(crate) fn is_tracing_event(event: &EventView<'_>) -> bool {
    attribute(event, LEVEL).is_some() && attribute(event, TARGET).is_some()
}

fn is_below_info(event: &EventView<'_>) -> bool {
    let level = attribute(event, LEVEL).and_then(Value::to_label);
    is_tracing_event(event)
        && level.is_some_and(|level| ["TRACE", "DEBUG"].iter().any(|fine| level.eq_ignore_ascii_case(fine)))
}

fn is_empty(value: &Value<'_>) -> bool {
    matches!(value, Value::Str(text) if text.is_empty())
}

/// Returns true for a MIME type that the form of the value shows anyway.
fn is_mime_type(name: Option<&str>) -> bool {
    matches!(name, Some("text/plain" | "application/json"))
}

/// Returns true if two values are equal, or one is the JSON that the other holds as a text.
fn is_same(consumed: &Value<'_>, value: &Value<'_>) -> bool {
    consumed == value || consumed.as_json_text().is_some_and(|text| value.as_json_text() == Some(text))
}

/// Returns true if a convention defines the name of the event.
fn is_known(name: &str) -> bool {
    is_exception(name) || is_content_event(name) || meaning(name).is_genai()
}

/// Returns true if the error of the span, which has no credentials any more, contains `words`.
fn error_contains(span: &Span, words: &str) -> bool {
    let contains = |error: &str| error.contains(words) || error.contains(&*genai_redact::error(words));
    span.error.as_deref().is_some_and(contains)
}

fn is_structural(key: &str, value: &Value<'_>) -> bool {
    matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_)) || STRUCTURAL.iter().any(|s| key.starts_with(s))
}
