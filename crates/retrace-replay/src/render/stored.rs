//! Entries of a cassette from a run that a receiver stores.

use std::collections::{HashMap, HashSet};

use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Id, Json, Span, SpanType, Trace};
use serde_json::Value;

use super::{
    Answer, Api, Choice, ChoicePart, Failure, MediaSource, NotReplayable, ProviderPart, Usage, project, render,
    render_failure,
};
use crate::arguments_hash;
use crate::cassette::{Entry, Outcome, TokenCount};
use crate::{Fingerprint, Lane};

/// How far the outcome of an entry is that of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fidelity {
    /// The value that the step returned, or the error that it failed with.
    Exact,
    /// A response that a parser reads like the provider's. It lacks this of the provider's own.
    Rebuilt(Vec<&'static str>),
    /// No outcome, for this reason.
    NotReplayable(NotReplayable),
}

/// An entry with how far it is that of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEntry {
    /// The entry.
    pub entry: Entry,
    /// How far its outcome is that of the run.
    pub fidelity: Fidelity,
}

/// Makes the entries of a run: its model calls and its tools, in the order in which they began.
///
/// The lane of an entry is the path of the steps around it. Requests of model calls are conversations as the run stores them;
/// [`project`] makes requests of clients comparable with them.
#[must_use]
pub fn entries(trace: &Trace) -> Vec<StoredEntry> {
    let mut spans: Vec<&Span> = trace.spans.iter().flatten().collect();
    spans.sort_by_cached_key(|span| (span.started_at.unix_micros(), span.id.to_string()));
    let lanes = Lanes::of(&spans);
    let mut entries: Vec<StoredEntry> = Vec::new();
    for span in spans {
        let (mut entry, fidelity) = match span.span_type {
            SpanType::LlmCall => model_call(span),
            SpanType::ToolCall if lanes.is_executed_elsewhere(span) => continue,
            SpanType::ToolCall => tool(span),
            _ => continue,
        };
        entry.ordinal = entries.len() as u64;
        entry.lane = lanes.around(span);
        entry.step = (span.span_type != SpanType::LlmCall).then(|| lanes.ordinal(span));
        entry.span_id = Some(span.id.to_string());
        entry.cost_usd = span.cost;
        entries.push(StoredEntry { entry, fidelity });
    }
    entries
}

/// Hash of the arguments of a tool, one for equal ones.
fn arguments(span: &Span) -> String {
    arguments_hash(&value(span.input.as_ref()).unwrap_or_default())
}

/// Most spans above a call of which its lane is made.
const MAX_ABOVE: usize = 128;

/// The steps of a run, to find lanes by.
struct Lanes<'t> {
    by_id: HashMap<&'t Id, (&'t Span, u32)>,
    /// Names and arguments of the tool steps that were executed.
    executed: HashSet<(&'t str, String)>,
}

impl<'t> Lanes<'t> {
    fn of(spans: &[&'t Span]) -> Self {
        let mut counts: HashMap<(Option<&Id>, &str), u32> = HashMap::new();
        let by_id = spans.iter().map(|span| {
            let count = counts.entry((span.parent_id.as_ref(), &*span.name)).or_default();
            let ordinal = *count;
            *count += 1;
            (&span.id, (*span, ordinal))
        });
        let mut lanes = Self { by_id: by_id.collect(), executed: HashSet::new() };
        let executed = spans.iter().filter(|span| span.span_type == SpanType::ToolCall && !lanes.is_shown(span));
        lanes.executed = executed.map(|span| (&*span.name, arguments(span))).collect();
        lanes
    }

    /// Returns true for a span below a model call: it is made from the messages of the call.
    fn is_shown(&self, span: &Span) -> bool {
        let parent = span.parent_id.as_ref().and_then(|id| self.by_id.get(id));
        parent.is_some_and(|(parent, _)| parent.span_type == SpanType::LlmCall)
    }

    /// Returns true for a tool call that only a model's response shows, and that a step executes.
    fn is_executed_elsewhere(&self, span: &Span) -> bool {
        let has_result = span.error.is_some() || span.output.as_ref().is_some_and(|output| !output.is_null());
        !has_result && self.is_shown(span) && self.executed.contains(&(&*span.name, arguments(span)))
    }

    fn ordinal(&self, span: &Span) -> u32 {
        self.by_id.get(&span.id).map_or(0, |(_, ordinal)| *ordinal)
    }

    /// The steps around a span, outermost first. A model call is no step: tools that only its messages show are below it.
    fn around(&self, span: &Span) -> Lane {
        let mut path = Vec::new();
        let mut next = span.parent_id.as_ref();
        // Parents may form a circle, also of model calls only.
        for _ in 0..self.by_id.len().min(MAX_ABOVE) {
            let Some((step, ordinal)) = next.and_then(|id| self.by_id.get(id)) else { break };
            if step.span_type != SpanType::LlmCall {
                path.push((&*step.name, *ordinal));
            }
            next = step.parent_id.as_ref();
        }
        path.into_iter().rev().fold(Lane::root(), |lane, (name, ordinal)| lane.child(name, ordinal))
    }
}

fn value(json: Option<&Json>) -> Option<Value> {
    json.and_then(|json| json.to_value().ok())
}

fn tool(span: &Span) -> (Entry, Fidelity) {
    let request = span.input.clone().unwrap_or_else(Json::null);
    let mut entry = Entry::new(SpanType::ToolCall, span.name.clone(), request);
    let reason = "the result of the tool is not recorded";
    let fidelity = match (&span.error, &span.output) {
        (Some(error), _) => {
            entry.outcome = Outcome::Error(error.clone());
            Fidelity::Exact
        }
        (None, Some(output)) => {
            entry.outcome = Outcome::Value(output.clone());
            Fidelity::Exact
        }
        (None, None) => {
            entry.outcome = Outcome::NotReplayable(reason.to_owned());
            Fidelity::NotReplayable(NotReplayable::new(reason))
        }
    };
    (entry, fidelity)
}

fn model_call(span: &Span) -> (Entry, Fidelity) {
    let metadata: SpanMetadata =
        value(span.metadata.as_ref()).and_then(|metadata| serde_json::from_value(metadata).ok()).unwrap_or_default();
    let operation = metadata.operation.clone().unwrap_or_else(|| "chat".into());
    let request = project(&value(span.input.as_ref()).unwrap_or_default());
    let mut entry = Entry::new(SpanType::LlmCall, operation.clone(), Json::from_serialize(&request));
    entry.model = metadata.request_model.clone().or_else(|| span.model.clone());
    entry.fingerprint = Fingerprint::of(&operation, entry.model.as_deref(), &request);
    entry.tokens = match (span.input_tokens, span.output_tokens) {
        (None, None) => None,
        (input, output) => Some(TokenCount { input: input.unwrap_or(0), output: output.unwrap_or(0) }),
    };
    entry.token_ids = span.token_ids.iter().flatten().filter_map(|id| u64::try_from(*id).ok()).collect();
    let provider = metadata.provider.clone().unwrap_or_default();
    let openai_api = attribute(&metadata, "openai.api.type");
    let stated = attribute(&metadata, "retrace.api").and_then(|name| name.as_str().map(ToOwned::to_owned));
    let api = match &stated {
        Some(name) => Api::by_name(name),
        None => Api::of_call(&provider, &operation, openai_api.as_ref().and_then(Value::as_str)),
    };
    if let Some(api) = api {
        let model = entry.model.as_deref().unwrap_or_default();
        entry.endpoint = Some(format!("POST {}", api.path(model, metadata.streaming == Some(true))));
    }
    let rebuilt = match api {
        None if stated.is_some() => {
            let name = stated.unwrap_or_default();
            Err(NotReplayable::new(format!("responses of the API `{name}` are not rebuilt")))
        }
        None => {
            Err(NotReplayable::new(format!("the format of `{operation}` at the provider `{provider}` is not known")))
        }
        Some(api) => response(api, span, &metadata),
    };
    let fidelity = match rebuilt {
        Ok(Rebuilt::Response(rendered)) => {
            entry.outcome = Outcome::Response(rendered.response);
            Fidelity::Rebuilt(rendered.notes)
        }
        Ok(Rebuilt::Error(error)) => {
            entry.outcome = Outcome::Error(error);
            Fidelity::Exact
        }
        Err(reason) => {
            entry.outcome = Outcome::NotReplayable(reason.to_string());
            Fidelity::NotReplayable(reason)
        }
    };
    (entry, fidelity)
}

enum Rebuilt {
    Response(super::Rendered),
    /// The call failed without a response.
    Error(String),
}

fn attribute(metadata: &SpanMetadata, key: &str) -> Option<Value> {
    value(metadata.attributes.as_ref())?.get(key).cloned()
}

fn response(api: Api, span: &Span, metadata: &SpanMetadata) -> Result<Rebuilt, NotReplayable> {
    if let Some(error) = &span.error {
        let status = attribute(metadata, "http.response.status_code").and_then(|status| status.as_u64());
        let Some(status) = status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status >= 400) else {
            return match status {
                Some(_) => Err(NotReplayable::new(
                    "the response failed after it had begun, and its part is not recorded as one",
                )),
                None => Ok(Rebuilt::Error(error.clone())),
            };
        };
        let kind = attribute(metadata, "error.type").and_then(|kind| kind.as_str().map(ToOwned::to_owned));
        let kind = kind.or_else(|| error.split_once(": ").map(|(kind, _)| kind.to_owned()));
        let message = match kind.as_deref().and_then(|kind| error.strip_prefix(kind)?.strip_prefix(": ")) {
            Some(message) => message.to_owned(),
            None => error.clone(),
        };
        let failure = Failure { status, kind: kind.unwrap_or_else(|| "error".to_owned()), message };
        return Ok(Rebuilt::Response(render_failure(api, &failure)));
    }
    if metadata.partial == Some(true) {
        return Err(NotReplayable::new("the response was not seen to its end"));
    }
    if metadata.truncated == Some(true) || metadata.truncated_bytes.is_some() {
        return Err(NotReplayable::new("content was cut from the recorded call"));
    }
    let embeds = is_embedding(api) || metadata.operation.as_deref() == Some("embeddings");
    let answer = match embeds {
        true => with_vectors(heading(span, metadata), span),
        false => Answer { choices: choices(span, metadata)?, ..heading(span, metadata) },
    };
    let mut rendered = render(api, &answer, metadata.streaming == Some(true))?;
    if metadata.other_output.is_some() {
        rendered.notes.push("the place of the provider's tools among the texts");
    }
    Ok(Rebuilt::Response(rendered))
}

const fn is_embedding(api: Api) -> bool {
    matches!(
        api,
        Api::OpenAiEmbeddings | Api::GeminiEmbedContent | Api::CohereEmbed | Api::OllamaEmbed | Api::VertexPredict
    )
}

/// Vectors, where the output is a list of them: as lists, or as texts that hold lists.
fn with_vectors(answer: Answer, span: &Span) -> Answer {
    let vector = |value: &Value| match value {
        Value::String(text) => serde_json::from_str::<Vec<f64>>(text).ok(),
        other => serde_json::from_value(other.clone()).ok(),
    };
    let vectors = value(span.output.as_ref());
    let vectors = vectors.as_ref().and_then(Value::as_array).and_then(|list| list.iter().map(vector).collect());
    Answer { embeddings: vectors.unwrap_or_default(), ..answer }
}

#[derive(serde::Deserialize)]
struct StoredCall {
    #[serde(default)]
    id: Option<String>,
    name: String,
    #[serde(default)]
    arguments: Option<Value>,
}

fn choices(span: &Span, metadata: &SpanMetadata) -> Result<Vec<Choice>, NotReplayable> {
    let calls: Vec<StoredCall> = value(metadata.tool_calls.as_ref())
        .map(serde_json::from_value)
        .transpose()
        .map_err(|_| NotReplayable::new("the recorded tool calls have another shape"))?
        .unwrap_or_default();
    let reasoning = match value(metadata.reasoning.as_ref()) {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(NotReplayable::new("the recorded reasoning is no text")),
    };
    let others = match value(metadata.other_output.as_ref()) {
        None => Vec::new(),
        Some(Value::Array(others)) => others.iter().map(super::attributes::part).collect::<Result<_, _>>()?,
        Some(_) => return Err(NotReplayable::new("the other parts of the answer are recorded in a form of their own")),
    };
    let mut content = Vec::new();
    let choices = match value(span.output.as_ref()) {
        None | Some(Value::Null) => vec![None],
        Some(Value::String(text)) => vec![Some(text)],
        // The parts of one choice; several choices of texts alone are a list of texts.
        Some(Value::Array(list)) if list.iter().any(Value::is_object) => {
            content = list.iter().map(content_part).collect::<Result<_, _>>()?;
            vec![None]
        }
        Some(Value::Array(list)) => {
            let text = |value: &Value| value.as_str().map(|text| Some(text.to_owned()));
            let other = || NotReplayable::new("there are several choices, of which one has more than a text");
            list.iter().map(text).collect::<Option<_>>().ok_or_else(other)?
        }
        Some(_) => return Err(NotReplayable::new("the answer is recorded in a form of its own")),
    };
    if choices.len() > 1 && !others.is_empty() {
        return Err(NotReplayable::new(
            "there are several choices, and which of them had the other parts is not recorded",
        ));
    }
    if choices.len() > 1 && !(calls.is_empty() && reasoning.is_none()) {
        return Err(NotReplayable::new("there are several choices, and which of them called a tool is not recorded"));
    }
    if choices == [None]
        && content.is_empty()
        && others.is_empty()
        && calls.is_empty()
        && reasoning.is_none()
        && metadata.finish_reasons.is_none()
    {
        return Err(NotReplayable::new("no answer is recorded: content capture was off, or the call did not end"));
    }
    let reasons = metadata.finish_reasons.clone().unwrap_or_default();
    if !reasons.is_empty() && reasons.len() != choices.len() {
        return Err(NotReplayable::new("there are several choices, and the reason of each end is not recorded"));
    }
    let mut reasons = reasons.into_iter();
    let (mut reasoning, mut calls, mut others, mut content) = (reasoning, Some(calls), others, content);
    let choices = choices.into_iter().map(|text| {
        let calls = calls.take().unwrap_or_default();
        // Where there are calls only, the run writes them into the text of the answer.
        let text = text.filter(|text| !text.is_empty() && (calls.is_empty() || !text.starts_with("[tool calls] ")));
        let text = text.map(if metadata.refusal { ChoicePart::Refusal } else { ChoicePart::Text });
        let calls =
            calls.into_iter().map(|StoredCall { id, name, arguments }| ChoicePart::ToolCall { id, name, arguments });
        let (others, content) = (std::mem::take(&mut others), std::mem::take(&mut content));
        let before = reasoning.take().map(ChoicePart::Reasoning).into_iter().chain(others);
        Choice { parts: before.chain(content).chain(text).chain(calls).collect(), finish_reason: reasons.next() }
    });
    Ok(choices.collect())
}

/// Part of an output that is more than a text.
fn content_part(part: &Value) -> Result<ChoicePart, NotReplayable> {
    let text = |key: &str| part.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    if let (Some("text"), Some(text)) = (part.get("type").and_then(Value::as_str), text("text")) {
        return Ok(ChoicePart::Text(text));
    }
    if text("file_id").is_some() || part.get("size").is_some() {
        return Err(NotReplayable::new("the answer has media of which the run holds a reference only"));
    }
    match text("data").map(MediaSource::Data).or_else(|| text("uri").map(MediaSource::Uri)) {
        Some(source) => Ok(ChoicePart::Provider(ProviderPart::Media { mime_type: text("mime_type"), source })),
        None => super::attributes::part(part),
    }
}

/// The answer without its choices.
fn heading(span: &Span, metadata: &SpanMetadata) -> Answer {
    let text = |key: &str| attribute(metadata, key).and_then(|value| value.as_str().map(ToOwned::to_owned));
    Answer {
        id: metadata.response_id.clone(),
        model: span.model.clone(),
        choices: Vec::new(),
        usage: Usage {
            input: span.input_tokens.or(metadata.usage.input_tokens),
            output: span.output_tokens.or(metadata.usage.output_tokens),
            cache_read: metadata.usage.cache_read_tokens,
            cache_creation: metadata.usage.cache_creation_tokens,
            reasoning: metadata.usage.reasoning_tokens,
        },
        service_tier: text("openai.response.service_tier"),
        system_fingerprint: text("openai.response.system_fingerprint"),
        conversation_id: text("gen_ai.conversation.id"),
        logprobs: span.logprobs.clone().unwrap_or_default(),
        token_ids: span.token_ids.clone().unwrap_or_default(),
        embeddings: Vec::new(),
        created: span.started_at.unix_micros().unwrap_or(0) / 1_000_000,
        reasoning_in_content: metadata.provider.as_deref() == Some("mistral_ai"),
    }
}
