//! Tools that no span shows: found in the messages of model calls and made into spans of their own.
//!
//! Retrace's detectors work on `tool_call` and `tool_result` spans tied by `metadata.tool_call_id` (MAPPING.md, "Tools
//! seen only inside messages").

use std::collections::BTreeMap;

use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Id, Json, Span, SpanType, Timestamp};

use crate::messages::{Seen, SeenTool, embedded};

/// What messages showed of the tools of one run. Histories are sent again and again; what was seen first holds.
#[derive(Debug, Default)]
pub(crate) struct SeenTools {
    by_id: BTreeMap<String, Tool>,
}

/// One tool call.
#[derive(Debug, Default)]
struct Tool {
    call: Option<Shown>,
    result: Option<Shown>,
    /// All of it was told.
    is_settled: bool,
}

/// Where and how one half of a call was shown.
#[derive(Debug)]
struct Shown {
    name: Option<String>,
    content: Option<Json>,
    /// The model call whose messages showed it.
    by: [u8; 8],
    /// Whether the model answered with it; otherwise it was told.
    answered: bool,
}

/// A model call whose messages are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shower {
    pub span_id: [u8; 8],
    pub capture_content: bool,
}

/// A call that messages showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShownCall<'s> {
    pub id: &'s str,
    pub name: &'s str,
    pub arguments: Option<&'s Json>,
    /// The model call whose messages showed it.
    pub by: [u8; 8],
}

impl SeenTools {
    /// The calls that have a name.
    pub(crate) fn calls(&self) -> impl Iterator<Item = ShownCall<'_>> {
        self.by_id.iter().filter_map(|(id, tool)| {
            let call = tool.call.as_ref()?;
            Some(ShownCall { id, name: call.name.as_deref()?, arguments: call.content.as_ref(), by: call.by })
        })
    }

    /// Notes a tool, unless it is known already; returns the bytes that were added.
    pub(crate) fn note(&mut self, tool: &SeenTool<'_>, by: Shower, answered: bool) -> usize {
        let known = self.by_id.get(&*tool.id);
        let (name, raw, is_known) = match &tool.kind {
            Seen::Call { name, arguments } => {
                (Some(name).filter(|name| !name.is_empty()), *arguments, known.is_some_and(|tool| tool.call.is_some()))
            }
            Seen::Result { name, result } => (name.as_ref(), *result, known.is_some_and(|tool| tool.result.is_some())),
        };
        if is_known || known.is_some_and(|tool| tool.is_settled) {
            return 0;
        }
        let content = raw.filter(|_| by.capture_content).map(|raw| embedded(raw).to_json());
        let shown = Shown { name: name.map(|name| name.clone().into_owned()), content, by: by.span_id, answered };
        let bytes = shown.weight() + tool.id.len();
        let entry = self.by_id.entry(tool.id.clone().into_owned()).or_default();
        match tool.kind {
            Seen::Call { .. } => entry.call = Some(shown),
            Seen::Result { .. } => entry.result = Some(shown),
        }
        bytes
    }

    /// Bytes that it takes, roughly: the sum of what [`SeenTools::note`] said.
    pub(crate) fn weight(&self) -> usize {
        let halves = |tool: &Tool| tool.call.iter().chain(&tool.result).map(Shown::weight).sum::<usize>();
        self.by_id
            .iter()
            .map(|(id, tool)| {
                halves(tool) + id.len() * (usize::from(tool.call.is_some()) + usize::from(tool.result.is_some()))
            })
            .sum()
    }

    /// All of this call was told: what was noted is not needed, and no more is noted. Returns the bytes that were given
    /// back, and those that were taken.
    pub(crate) fn settle(&mut self, call_id: &str) -> (usize, usize) {
        let tool = self.by_id.entry(call_id.to_owned()).or_default();
        let halves = [tool.call.take(), tool.result.take()];
        let freed = halves.iter().flatten().map(|shown| shown.weight() + call_id.len()).sum();
        tool.is_settled = true;
        (freed, size_of::<Tool>() + call_id.len())
    }

    pub(crate) fn is_settled(&self, call_id: &str) -> bool {
        self.by_id.get(call_id).is_some_and(|tool| tool.is_settled)
    }

    /// Takes what these spans showed apart from the rest: `(rest, taken)`.
    pub(crate) fn split(self, is_taken: impl Fn(&[u8; 8]) -> bool) -> (Self, Self) {
        let (mut rest, mut taken) = (Self::default(), Self::default());
        for (id, tool) in self.by_id {
            for (half, is_call) in [(tool.call, true), (tool.result, false)] {
                let Some(shown) = half else { continue };
                let side = if is_taken(&shown.by) { &mut taken } else { &mut rest };
                let entry = side.by_id.entry(id.clone()).or_default();
                *(if is_call { &mut entry.call } else { &mut entry.result }) = Some(shown);
            }
        }
        (rest, taken)
    }
}

impl Shown {
    fn weight(&self) -> usize {
        size_of::<Self>()
            + self.content.as_ref().map_or(0, |json| json.as_str().len())
            + self.name.as_ref().map_or(0, String::len)
    }
}

/// A span of the run that executes a tool, by the id of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Executed<'s> {
    pub call_id: &'s str,
    pub span: &'s Span,
}

/// A model call of the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'s> {
    pub span_id: [u8; 8],
    pub span: &'s Span,
}

/// The spans that are missing: a `tool_call` for each call that no span executes, and a `tool_result` for each result.
pub(crate) fn missing(
    trace_id: [u8; 16],
    seen: &SeenTools,
    executed: &[Executed<'_>],
    calls: &[Call<'_>],
) -> Vec<Span> {
    let nothing_shown = Tool::default();
    let mut tools: BTreeMap<&str, (Option<&Span>, &Tool)> =
        seen.by_id.iter().map(|(id, tool)| (id.as_str(), (None, tool))).collect();
    for tool in executed {
        tools.entry(tool.call_id).or_insert((None, &nothing_shown)).0 = Some(tool.span);
    }
    let shower = |shown: &Shown| calls.iter().find(|call| call.span_id == shown.by).map(|call| call.span);
    let mut spans = Vec::new();
    for (call_id, (executed, shown)) in tools {
        let asked = shown.call.as_ref().filter(|_| executed.is_none());
        let made = asked.and_then(|asked| {
            let mut span = shown_by(trace_id, call_id, SpanType::ToolCall, asked, shower(asked)?, None);
            span.input.clone_from(&asked.content);
            span.model.clone_from(&shower(asked)?.model);
            Some(span)
        });
        let call = executed.or(made.as_ref());
        // A tool that ran and returned says best what it returned; of one that failed the model was told something.
        let result = match (executed.and_then(|span| returned(trace_id, call_id, span)), &shown.result) {
            (Some(result), _) => Some(result),
            (None, Some(told)) => shower(told).map(|by| {
                let mut result = shown_by(trace_id, call_id, SpanType::ToolResult, told, by, call);
                result.output.clone_from(&told.content);
                result.error = call.and_then(|call| call.error.clone());
                result
            }),
            (None, None) => None,
        };
        spans.extend(made);
        spans.extend(result);
    }
    spans
}

/// What a tool returned, as a span; nothing when it failed, or returned nothing that is known.
pub(crate) fn returned(trace_id: [u8; 16], call_id: &str, executed: &Span) -> Option<Span> {
    if executed.error.is_some() {
        return None;
    }
    let output = executed.output.clone()?;
    let at = executed.ended_at.clone().unwrap_or_else(|| executed.started_at.clone());
    let mut result = instant(trace_id, call_id, SpanType::ToolResult, &executed.name, at, executed);
    result.output = Some(output);
    Some(result)
}

/// A span for what the messages of `by` showed, under the call itself where there is a span for that.
fn shown_by(
    trace_id: [u8; 16],
    call_id: &str,
    span_type: SpanType,
    shown: &Shown,
    by: &Span,
    call: Option<&Span>,
) -> Span {
    // What the model answers is known when the call ends, what it is told when the call begins.
    let at = by.ended_at.clone().filter(|_| shown.answered).unwrap_or_else(|| by.started_at.clone());
    let name = shown.name.as_deref().or(call.map(|call| call.name.as_str())).unwrap_or(UNNAMED_TOOL);
    instant(trace_id, call_id, span_type, name, at, call.unwrap_or(by))
}

/// What a tool is called whose name no message says; the name that the official SDK uses.
const UNNAMED_TOOL: &str = "tool_result";

fn instant(trace_id: [u8; 16], call_id: &str, span_type: SpanType, name: &str, at: Timestamp, above: &Span) -> Span {
    let id = made_up(trace_id, call_id, span_type);
    let mut span = Span::new(id, above.trace_id.clone(), span_type, name, at.clone());
    span.parent_id = Some(above.id.clone());
    span.ended_at = Some(at);
    span.duration_ms = Some(0);
    span.agent_id.clone_from(&above.agent_id);
    span.parent_agent_id.clone_from(&above.parent_agent_id);
    span.agent_role.clone_from(&above.agent_role);
    let metadata = SpanMetadata { tool_call_id: Some(call_id.to_owned()), ..SpanMetadata::default() };
    span.metadata = Some(Json::from_serialize(&metadata));
    span
}

/// The id of a span that is made up: the same for the same call of the same trace, so that a repeat is the same span.
fn made_up(trace_id: [u8; 16], call_id: &str, span_type: SpanType) -> Id {
    derived_id(&[&trace_id, span_type.as_str().as_bytes(), b":", call_id.as_bytes()])
}

/// A UUID of version 8 that is a function of what it is made from.
pub(crate) fn derived_id(from: &[&[u8]]) -> Id {
    // 128-bit FNV-1a: nobody attacks these ids, they only must not meet.
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = from
        .iter()
        .flat_map(|bytes| bytes.iter())
        .fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    const VERSION_8: u128 = 0x8 << 76;
    const VARIANT: u128 = 0b10 << 62;
    let shaped = hash & !(0xf << 76) & !(0b11 << 62) | VERSION_8 | VARIANT;
    Id::from_otel_trace(shaped.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_uuids_and_repeat() {
        let a = made_up([7; 16], "call_1", SpanType::ToolCall);
        assert!(a.is_rfc4122(), "{a}");
        assert_eq!(a, made_up([7; 16], "call_1", SpanType::ToolCall));
        assert_ne!(a, made_up([7; 16], "call_1", SpanType::ToolResult));
        assert_ne!(a, made_up([7; 16], "call_2", SpanType::ToolCall));
        assert_ne!(a, made_up([8; 16], "call_1", SpanType::ToolCall));
    }
}
