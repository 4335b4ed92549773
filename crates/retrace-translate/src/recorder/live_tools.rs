//! Tools of a live run that only messages show.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use retrace_protocol::{Json, Span};

use crate::messages::{Position, SeenTool};
use crate::recorder::tools::{ExecutedCall, ModelCall, SeenTools, SourceCall, result_span, synthesize_missing};

/// Maximum number of calls of one tool, from the last on, among which the call of a span without a call id is searched.
const CANDIDATES: usize = 128;

/// State of the tools of a live run.
#[derive(Debug, Default)]
pub(crate) struct LiveTools {
    seen: SeenTools,
    /// Ids of calls without a span, in the order in which messages showed them, by tool name.
    open: BTreeMap<String, Vec<String>>,
    /// Calls matched to running spans without a call id.
    matched: BTreeMap<[u8; 8], String>,
    /// Model calls whose messages showed a tool first, without their content.
    source_calls: Vec<([u8; 8], Span)>,
    /// Tool spans without a result so far, without their content, by call id.
    executed: BTreeMap<String, Span>,
    weight: usize,
}

impl LiveTools {
    /// Notes a tool in the messages of a model call; returns true if it is new.
    pub(crate) fn note(
        &mut self,
        tool: &SeenTool<'_>,
        by: SourceCall,
        position: Position,
        capture_content: bool,
    ) -> bool {
        let was_shown = self.seen.call(&tool.id).is_some();
        let bytes = self.seen.note(tool, by, position, capture_content);
        self.weight += bytes;
        if !was_shown && let Some(call) = self.seen.call(&tool.id) {
            self.weight += call.name.len() + size_of::<String>() + tool.id.len();
            self.open.entry(call.name.to_owned()).or_default().push(tool.id.clone().into_owned());
        }
        bytes > 0
    }

    /// Finds the call that a tool span without a call id executes: one of that name with the same arguments that messages have
    /// shown and that neither a span nor a message has answered. Of several, it is the first that the latest model call
    /// requested.
    ///
    /// A span keeps its call from start to end.
    pub(crate) fn match_call(&mut self, span_id: [u8; 8], span: &Span) -> Option<String> {
        if let Some(call_id) = self.matched.get(&span_id) {
            return Some(call_id.clone());
        }
        let open = self.open.get(span.name.as_str())?;
        let given = span.input.as_ref().and_then(|json: &Json| json.to_value().ok());
        let is_same = |arguments: Option<&Json>| match (arguments, &given) {
            (Some(arguments), Some(given)) => arguments.to_value().is_ok_and(|arguments| arguments == *given),
            // Without content, only the names are compared.
            (None, None) => true,
            _ => false,
        };
        let calls = open.iter().enumerate().rev().take(CANDIDATES).filter_map(|(at, id)| {
            let is_executed = self.executed.contains_key(id) || self.seen.is_settled(id);
            let call =
                self.seen.call(id).filter(|call| !is_executed && !call.is_answered && is_same(call.arguments))?;
            Some((call.by.start, Reverse(at)))
        });
        let (_, Reverse(at)) = calls.max()?;
        let call_id = self.open.get_mut(span.name.as_str())?.remove(at);
        self.matched.insert(span_id, call_id.clone());
        self.weight += size_of::<[u8; 8]>();
        Some(call_id)
    }

    /// Forgets the call of a span that has ended.
    pub(crate) fn forget_match(&mut self, span_id: [u8; 8]) {
        if let Some(call_id) = self.matched.remove(&span_id) {
            self.weight -= size_of::<[u8; 8]>() + size_of::<String>() + call_id.len();
        }
    }

    /// Notes a model call that was emitted and whose messages show tools.
    pub(crate) fn shown_by(&mut self, span_id: [u8; 8], span: &Span) {
        self.weight += weight_without_content(span);
        self.source_calls.push((span_id, without_content(span)));
    }

    /// Notes a tool span whose start was emitted.
    pub(crate) fn begun(&mut self, call_id: &str, span: &Span) {
        if !self.seen.is_settled(call_id) {
            self.weight += weight_without_content(span) + call_id.len();
            if let Some(before) = self.executed.insert(call_id.to_owned(), without_content(span)) {
                self.weight -= weight_without_content(&before) + call_id.len();
            }
        }
    }

    /// Notes a tool span that was emitted as ended; returns its result as a span. Of several spans of one call, the first with
    /// a result counts.
    pub(crate) fn ended(&mut self, trace_id: [u8; 16], call_id: &str, span: &Span) -> Option<Span> {
        if self.seen.is_settled(call_id) {
            return None;
        }
        let Some(result) = result_span(trace_id, call_id, span) else {
            self.begun(call_id, span);
            return None;
        };
        if let Some(before) = self.executed.remove(call_id) {
            self.weight -= weight_without_content(&before) + call_id.len();
        }
        let (freed, taken) = self.seen.settle(call_id);
        self.weight = self.weight - freed + taken;
        Some(result)
    }

    /// Synthesizes the spans that are still missing.
    pub(crate) fn synthesize_missing(&self, trace_id: [u8; 16]) -> Vec<Span> {
        let executed: Vec<_> = self.executed.iter().map(|(call_id, span)| ExecutedCall { call_id, span }).collect();
        let calls: Vec<_> =
            self.source_calls.iter().map(|(span_id, span)| ModelCall { span_id: *span_id, span }).collect();
        synthesize_missing(trace_id, &self.seen, &executed, &calls)
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

/// Returns the span without input, output and metadata.
pub(crate) fn without_content(span: &Span) -> Span {
    let mut without_content =
        Span::new(span.id.clone(), span.trace_id.clone(), span.span_type, span.name.clone(), span.started_at.clone());
    without_content.parent_id.clone_from(&span.parent_id);
    without_content.model.clone_from(&span.model);
    without_content.agent_id.clone_from(&span.agent_id);
    without_content.parent_agent_id.clone_from(&span.parent_agent_id);
    without_content.agent_role.clone_from(&span.agent_role);
    without_content.ended_at.clone_from(&span.ended_at);
    without_content.error.clone_from(&span.error);
    without_content
}

/// Approximate size in bytes of a span without content.
pub(crate) fn weight_without_content(span: &Span) -> usize {
    let text = |text: Option<&str>| text.map_or(0, str::len);
    let [agent, above, role] =
        [&span.agent_id, &span.parent_agent_id, &span.agent_role].map(|shared| text(shared.as_deref()));
    let own = text(span.model.as_deref()) + text(span.error.as_deref());
    let metadata = span.metadata.as_ref().map_or(0, |metadata| metadata.as_str().len());
    size_of::<Span>() + span.name.len() + own + agent + above + role + metadata
}
