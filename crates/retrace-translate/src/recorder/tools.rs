//! Synthesizes spans for tools that only the messages of model calls show.
//!
//! Retrace's detectors need `tool_call` and `tool_result` spans with the same `metadata.tool_call_id` (MAPPING.md, "Tools seen
//! only inside messages").
//!
//! A history also holds the tools of earlier turns of the conversation, which are not part of this run. A call belongs to this
//! run if a response of the run contains it, if it comes after the last user message of a history, or if a span of the run
//! executes it. A result belongs to this run if it comes after the last user message of a history, within a response, or in the
//! history of a model call that began after a call of this run with its id.

use std::borrow::Cow;
use std::collections::BTreeMap;

use foldhash::{HashMap, HashMapExt as _};
use retrace_protocol::metadata::SpanMetadata;
use retrace_protocol::{Id, Json, Span, SpanType, Timestamp};
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};

use crate::messages::envelope::result_content;
use crate::messages::{Position, SeenKind, SeenTool, embedded};
use crate::recorder::record::{RunIdentity, TreePosition};

/// Tools that the messages of one run show. Histories are repeated: the first occurrence holds.
#[derive(Debug, Default)]
pub(crate) struct SeenTools {
    by_id: HashMap<Box<str>, Tool>,
    /// Number of calls that were noted.
    calls: u32,
}

/// Bytes of an entry of the table, which is half empty at most.
const ENTRY: usize = 2 * size_of::<(Box<str>, Tool)>();

/// One tool call.
#[derive(Debug, Default)]
struct Tool {
    /// The call, if the messages show that it belongs to this run.
    call: Option<Box<SeenHalf>>,
    /// The result, if its position alone shows that it belongs to this run.
    result: Option<Box<SeenHalf>>,
    /// Results before the last user message of a history: of an earlier turn, or of this run if the run itself added that
    /// message.
    earlier: SmallVec<[Earlier; 1]>,
    /// The model call in whose history a call with this id was met last. Histories are read from their end, except for what
    /// follows the last user message: a result that is met after the call answers an earlier call with the same id.
    called_in: Option<SourceCall>,
    /// True if call and result were emitted.
    is_settled: bool,
}

/// One half of a call, and the model call whose messages show it.
#[derive(Clone, Debug)]
struct SeenHalf {
    half: Half,
    by: SourceCall,
    /// True if the model's response has it, false if the history has it.
    in_answer: bool,
    /// Position among the calls of the run, in the order in which messages show them.
    order: u32,
}

/// Name and content of a call or a result.
#[derive(Clone, Debug)]
struct Half {
    name: Option<String>,
    content: Option<Json>,
}

/// A result that histories repeat, with the model calls that have it in their history.
#[derive(Debug)]
struct Earlier {
    name: Option<String>,
    /// The unread content. Histories are long and rarely needed: it is read on demand.
    raw: Option<Box<RawValue>>,
    by: SmallVec<[SourceCall; 1]>,
}

/// A model call whose messages show a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceCall {
    pub span_id: [u8; 8],
    /// Start of its span in nanoseconds since 1970 UTC.
    pub start: u64,
}

/// A call that messages show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenCall<'s> {
    pub id: &'s str,
    pub name: &'s str,
    pub arguments: Option<&'s Json>,
    /// The model call whose messages show it.
    pub by: SourceCall,
    /// Position among the calls of the run, in the order in which messages show them.
    pub order: u32,
    /// True if messages show its result as well.
    pub is_answered: bool,
}

impl SeenTools {
    /// Returns the calls of this run that have a name.
    pub(crate) fn calls(&self) -> impl Iterator<Item = SeenCall<'_>> {
        self.by_id.iter().filter_map(|(id, tool)| tool.shown_call(id))
    }

    /// Returns the call of this run with this id, if it has a name.
    pub(crate) fn call(&self, id: &str) -> Option<SeenCall<'_>> {
        self.by_id.get_key_value(id).and_then(|(id, tool)| tool.shown_call(id))
    }

    /// Returns true for the call that was noted last.
    pub(crate) fn is_latest(&self, call: &SeenCall<'_>) -> bool {
        call.order + 1 == self.calls
    }

    /// Notes a tool unless it is known; returns the number of bytes added. Without `capture_content` only its name is kept.
    pub(crate) fn note(
        &mut self,
        tool: &SeenTool<'_>,
        by: SourceCall,
        position: Position,
        capture_content: bool,
    ) -> usize {
        if let Some(known) = self.by_id.get_mut(&*tool.id) {
            return known.note(tool, by, position, capture_content, &mut self.calls);
        }
        let mut new = Tool::default();
        let bytes = new.note(tool, by, position, capture_content, &mut self.calls);
        self.by_id.insert(Box::from(&*tool.id), new);
        ENTRY + bytes
    }

    /// Approximate size in bytes: the sum of the results of [`SeenTools::note`].
    pub(crate) fn weight(&self) -> usize {
        self.by_id.iter().filter(|(_, tool)| !tool.is_settled).map(|(id, tool)| ENTRY + tool.weight(id.len())).sum()
    }

    /// Marks a call as emitted: its notes are dropped, and no more are taken. Returns the number of bytes freed and taken.
    pub(crate) fn settle(&mut self, call_id: &str) -> (usize, usize) {
        let settled = Tool { is_settled: true, ..Tool::default() };
        let freed = match self.by_id.insert(call_id.into(), settled) {
            Some(tool) if tool.is_settled => return (0, 0),
            Some(noted) => ENTRY + noted.weight(call_id.len()),
            None => 0,
        };
        (freed, ENTRY + call_id.len())
    }

    /// Separates the tools that these spans show: returns `(rest, taken)`.
    pub(crate) fn split(self, is_taken: impl Fn(&[u8; 8]) -> bool) -> (Self, Self) {
        let empty = || Self { by_id: HashMap::new(), calls: self.calls };
        let (mut rest, mut taken) = (empty(), empty());
        for (id, tool) in self.by_id {
            for (half, is_call) in [(tool.call, true), (tool.result, false)] {
                let Some(shown) = half else { continue };
                let side = if is_taken(&shown.by.span_id) { &mut taken } else { &mut rest };
                let entry = side.by_id.entry(id.clone()).or_default();
                *(if is_call { &mut entry.call } else { &mut entry.result }) = Some(shown);
            }
            for Earlier { name, raw, by } in tool.earlier {
                let (of_taken, of_rest): (SmallVec<_>, SmallVec<_>) =
                    by.into_iter().partition(|by| is_taken(&by.span_id));
                for (side, by) in [(&mut taken, of_taken), (&mut rest, of_rest)] {
                    if !by.is_empty() {
                        let earlier = Earlier { name: name.clone(), raw: raw.clone(), by };
                        side.by_id.entry(id.clone()).or_default().earlier.push(earlier);
                    }
                }
            }
        }
        (rest, taken)
    }
}

impl Tool {
    fn shown_call<'s>(&'s self, id: &'s str) -> Option<SeenCall<'s>> {
        let call = self.call.as_ref()?;
        let name = call.half.name.as_deref()?;
        let is_answered = self.result.is_some() || !self.earlier.is_empty();
        Some(SeenCall { id, name, arguments: call.half.content.as_ref(), by: call.by, order: call.order, is_answered })
    }

    /// Notes a call or a result as [`SeenTools::note`] does; `calls` is the number of calls that were noted.
    fn note(
        &mut self,
        tool: &SeenTool<'_>,
        by: SourceCall,
        position: Position,
        capture_content: bool,
        calls: &mut u32,
    ) -> usize {
        if self.is_settled {
            return 0;
        }
        let mut bytes = 0;
        if matches!(tool.kind, SeenKind::Call { .. }) && position != Position::Answer {
            bytes += if self.called_in.replace(by).is_none() { tool.id.len() } else { 0 };
        }
        let (name, raw, is_known) = match &tool.kind {
            // A call of an earlier turn does not belong to this run.
            SeenKind::Call { .. } if position == Position::BeforeUser => return bytes,
            SeenKind::Call { name, arguments } => {
                (Some(name).filter(|name| !name.is_empty()), *arguments, self.call.is_some())
            }
            SeenKind::Result { name, result } => (name.as_ref(), *result, self.result.is_some()),
        };
        if is_known {
            return bytes;
        }
        let raw = raw.filter(|_| capture_content);
        if position == Position::BeforeUser {
            return self.note_earlier(name.map(|name| &**name), raw, by, tool.id.len());
        }
        let content = raw.map(|raw| match tool.kind {
            SeenKind::Call { .. } => embedded(raw).to_json(),
            SeenKind::Result { .. } => result_content(raw).to_json(),
        });
        let half = Half { name: name.map(|name| name.clone().into_owned()), content };
        let is_call = matches!(tool.kind, SeenKind::Call { .. });
        let shown = Box::new(SeenHalf { half, by, in_answer: position == Position::Answer, order: *calls });
        bytes += shown.weight() + tool.id.len();
        *(if is_call { &mut self.call } else { &mut self.result }) = Some(shown);
        *calls += u32::from(is_call);
        bytes
    }

    /// Notes a result before the last user message of a history. The first one of a history holds, unless a call was met before
    /// it.
    fn note_earlier(&mut self, name: Option<&str>, raw: Option<&RawValue>, by: SourceCall, id_bytes: usize) -> usize {
        if self.called_in == Some(by) || self.earlier.iter().any(|earlier| earlier.by.last() == Some(&by)) {
            return 0;
        }
        let is_same = |earlier: &&mut Earlier| {
            earlier.name.as_deref() == name && earlier.raw.as_deref().map(RawValue::get) == raw.map(RawValue::get)
        };
        if let Some(earlier) = self.earlier.iter_mut().find(is_same) {
            earlier.by.push(by);
            return size_of::<SourceCall>();
        }
        let earlier = Earlier { name: name.map(str::to_owned), raw: raw.map(RawValue::to_owned), by: smallvec![by] };
        let bytes = earlier.weight() + id_bytes;
        self.earlier.push(earlier);
        bytes
    }

    /// Approximate size in bytes under an id of `id_bytes` bytes.
    fn weight(&self, id_bytes: usize) -> usize {
        let halves = self.call.iter().chain(&self.result).map(|shown| shown.weight() + id_bytes);
        let earlier = self.earlier.iter().map(|earlier| earlier.weight() + id_bytes);
        let met = self.called_in.map_or(0, |_| id_bytes);
        halves.chain(earlier).sum::<usize>() + met
    }

    /// Returns the result in this run, with the model call that showed it first; `executed` is the span that executes the call.
    ///
    /// A result before the last user message of a history belongs to this run only if the model call with that history began
    /// after the call that it answers. The histories of earlier model calls have results of earlier turns, which may have used
    /// the same id.
    fn result(&self, executed: Option<&Span>) -> Option<Cow<'_, SeenHalf>> {
        if let Some(result) = &self.result {
            return Some(Cow::Borrowed(&**result));
        }
        let called = self.call.as_ref().map(|call| call.by);
        let since = match (executed, called) {
            (Some(executed), _) => executed.started_at.unix_micros()?,
            (None, Some(called)) => called.start / NANOS_PER_MICRO,
            (None, None) => return None,
        };
        let source_calls = self.earlier.iter().flat_map(|earlier| earlier.by.iter().map(move |by| (earlier, *by)));
        let later = source_calls.filter(|(_, by)| by.start / NANOS_PER_MICRO >= since && Some(*by) != called);
        let (earlier, by) = later.min_by_key(|(_, by)| (by.start, by.span_id))?;
        let content = earlier.raw.as_deref().map(|raw| result_content(raw).to_json());
        let half = Half { name: earlier.name.clone(), content };
        Some(Cow::Owned(SeenHalf { half, by, in_answer: false, order: 0 }))
    }
}

impl Half {
    fn weight(&self) -> usize {
        self.content.as_ref().map_or(0, |json| json.as_str().len()) + self.name.as_ref().map_or(0, String::len)
    }
}

impl SeenHalf {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.half.weight()
    }
}

impl Earlier {
    fn weight(&self) -> usize {
        let raw = self.raw.as_ref().map_or(0, |raw| raw.get().len());
        size_of::<Self>() + raw + self.name.as_ref().map_or(0, String::len) + self.by.len() * size_of::<SourceCall>()
    }
}

const NANOS_PER_MICRO: u64 = 1_000;

/// A span of the run that executes a tool or whose messages show one, and its position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedSpan<'s> {
    pub span: &'s Span,
    /// Start in nanoseconds since 1970 UTC.
    pub start: u64,
    pub place: &'s TreePosition,
    /// Its position in the order of the run.
    pub position: usize,
    /// True if it had a result, which is no longer kept.
    pub had_result: bool,
}

/// A span that is synthesized from another one.
#[derive(Debug)]
pub(crate) struct Synthesized {
    pub span: Span,
    /// Position of the other span in the order of the run.
    pub source: usize,
}

impl PlacedSpan<'_> {
    fn has_result(&self) -> bool {
        self.had_result || (self.span.error.is_none() && self.span.output.is_some())
    }
}

impl Synthesized {
    /// Returns its start in microseconds, and the position of its source.
    pub(crate) fn order(&self) -> (Option<u64>, usize) {
        (self.span.started_at.unix_micros(), self.source)
    }
}

/// Synthesizes the missing spans of a run: a `tool_call` for each call without a span, and a `tool_result` for
/// each result. Of several spans that execute one call the last one with a result has it.
///
/// `is_sent` returns true for a span whose result needs no span, because it was emitted; the number of these is returned too.
pub(crate) fn synthesize_missing<'s>(
    origin: &RunIdentity,
    seen: &'s SeenTools,
    executed: impl Iterator<Item = (&'s str, PlacedSpan<'s>)>,
    source_call: impl Fn([u8; 8]) -> Option<PlacedSpan<'s>>,
    is_sent: impl Fn(&str, PlacedSpan<'s>) -> bool,
) -> (Vec<Synthesized>, u64) {
    let nothing_shown = Tool::default();
    // Most tools are those of earlier turns, of which the run has neither call nor result.
    let of_run = seen.by_id.iter().filter(|(_, tool)| tool.call.is_some() || tool.result.is_some());
    let mut tools: BTreeMap<&str, (Option<PlacedSpan<'_>>, &Tool)> =
        of_run.map(|(id, tool)| (&**id, (None, tool))).collect();
    for (call_id, span) in executed {
        let shown = || (None, seen.by_id.get(call_id).unwrap_or(&nothing_shown));
        let (known, _) = tools.entry(call_id).or_insert_with(shown);
        if known.is_none_or(|known| span.has_result() || !known.has_result()) {
            *known = Some(span);
        }
    }
    let (mut spans, mut sent) = (Vec::new(), 0);
    for (call_id, (executed, shown)) in tools {
        let call_half = shown.call.as_ref().filter(|_| executed.is_none());
        let call = call_half.and_then(|call_half| {
            let by = source_call(call_half.by.span_id)?;
            let mut span = shown_by(origin, call_id, SpanType::ToolCall, call_half, by, None);
            span.input.clone_from(&call_half.half.content);
            span.model.clone_from(&by.span.model);
            Some(Synthesized { span, source: by.position })
        });
        if executed.is_some_and(|span| span.has_result() && is_sent(call_id, span)) {
            sent += 1;
            continue;
        }
        // The output of a tool span takes precedence; for a tool that failed, the message to the model is the result.
        let own = executed.and_then(|executed| {
            let span = result_span(origin, call_id, executed)?;
            Some(Synthesized { span, source: executed.position })
        });
        let result = own.or_else(|| {
            let found = shown.result(executed.map(|executed| executed.span))?;
            let by = source_call(found.by.span_id)?;
            let mut span = shown_by(origin, call_id, SpanType::ToolResult, &found, by, executed);
            if let Some(call) = &call {
                below(&mut span, &call.span);
            }
            span.output.clone_from(&found.half.content);
            span.error = executed.and_then(|executed| executed.span.error.clone());
            let source = executed.map(|executed| executed.position);
            let source = source.or_else(|| Some(call.as_ref()?.source)).unwrap_or(by.position);
            Some(Synthesized { span, source })
        });
        spans.extend(call);
        spans.extend(result);
    }
    (spans, sent)
}

/// Returns the output of a tool span as a result span; `None` if it failed or has no output.
pub(crate) fn result_span(origin: &RunIdentity, call_id: &str, executed: PlacedSpan<'_>) -> Option<Span> {
    let span = executed.span;
    let output = span.output.clone().filter(|_| span.error.is_none())?;
    let at = span.ended_at.clone().unwrap_or_else(|| span.started_at.clone());
    let mut result = instant(origin, call_id, SpanType::ToolResult, &span.name, at, executed.place);
    result.output = Some(output);
    Some(result)
}

/// Makes a result the child of a synthesized call.
fn below(result: &mut Span, call: &Span) {
    result.parent_id = Some(call.id.clone());
    result.agent_id.clone_from(&call.agent_id);
    result.agent_role.clone_from(&call.agent_role);
    result.parent_agent_id.clone_from(&call.parent_agent_id);
    if result.name == UNNAMED_TOOL {
        result.name.clone_from(&call.name);
    }
}

/// Synthesizes a span for a tool in the messages of `by`, as a child of the span that executes the call, if there is one.
fn shown_by(
    origin: &RunIdentity,
    call_id: &str,
    span_type: SpanType,
    shown: &SeenHalf,
    by: PlacedSpan<'_>,
    executed: Option<PlacedSpan<'_>>,
) -> Span {
    // The response of a model is known when the call ends, its history when it begins.
    let at = by.span.ended_at.clone().filter(|_| shown.in_answer).unwrap_or_else(|| by.span.started_at.clone());
    let name = shown.half.name.as_deref().or(executed.map(|call| call.span.name.as_str())).unwrap_or(UNNAMED_TOOL);
    instant(origin, call_id, span_type, name, at, executed.unwrap_or(by).place)
}

/// Name of a tool result whose tool is unknown, as in the official SDK.
const UNNAMED_TOOL: &str = "tool_result";

fn instant(
    origin: &RunIdentity,
    call_id: &str,
    span_type: SpanType,
    name: &str,
    at: Timestamp,
    above: &TreePosition,
) -> Span {
    let id = synthesized_id(origin.trace_id, call_id, span_type);
    let mut span = Span::new(id, origin.id.clone(), span_type, name, at.clone());
    span.ended_at = Some(at);
    span.duration_ms = Some(0);
    above.apply_below(&mut span);
    let metadata = SpanMetadata { tool_call_id: Some(call_id.to_owned()), ..SpanMetadata::default() };
    span.metadata = Some(Json::from_serialize(&metadata));
    span
}

/// Returns the id of a synthesized span, which is the same for the same call of the same trace.
fn synthesized_id(trace_id: [u8; 16], call_id: &str, span_type: SpanType) -> Id {
    derived_id(&[&trace_id, span_type.as_str().as_bytes(), b":", call_id.as_bytes()])
}

/// Returns a UUID of version 8 that is a function of its parts.
pub(crate) fn derived_id(from: &[&[u8]]) -> Id {
    // 128-bit FNV-1a: it only has to avoid accidental collisions.
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
    fn every_entry_of_the_table_is_counted() {
        let by = SourceCall { span_id: [1; 8], start: 1 };
        let mut seen = SeenTools::default();
        let ids: Vec<String> = (0..1_000).map(|n| format!("c{n}")).collect();
        let mut noted = 0;
        for id in &ids {
            let kind = SeenKind::Call { name: "f".into(), arguments: None };
            let tool = SeenTool { id: id.as_str().into(), kind };
            noted += seen.note(&tool, by, Position::BeforeUser, true);
            assert_eq!(seen.note(&tool, by, Position::BeforeUser, true), 0, "it is known");
        }
        assert_eq!(seen.weight(), noted);
        assert!(noted >= seen.by_id.capacity() * size_of::<(Box<str>, Tool)>(), "{noted}");
        let (freed, taken) = seen.settle("c7");
        assert_eq!((seen.weight(), taken), (noted - freed, ENTRY + 2));
        assert_eq!((seen.settle("c7"), seen.settle("new")), ((0, 0), (0, ENTRY + 3)));
    }

    #[test]
    fn derived_ids_are_uuids_and_repeat() {
        let a = synthesized_id([7; 16], "call_1", SpanType::ToolCall);
        assert!(a.is_rfc4122(), "{a}");
        assert_eq!(a, synthesized_id([7; 16], "call_1", SpanType::ToolCall));
        assert_ne!(a, synthesized_id([7; 16], "call_1", SpanType::ToolResult));
        assert_ne!(a, synthesized_id([7; 16], "call_2", SpanType::ToolCall));
        assert_ne!(a, synthesized_id([8; 16], "call_1", SpanType::ToolCall));
    }
}
