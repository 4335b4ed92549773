//! Tool calls of a run under way that no span executes so far.
//!
//! A tool span that states no call id gets one when it begins, so that it can be seen which call it executes. When the run has
//! ended, [`super::match_tool_calls`] decides.

use std::cmp::Reverse;

use foldhash::{HashMap, HashSet};

use crate::messages::{SeenKind, SeenTool};
use crate::recorder::match_tool_calls::arguments;
use crate::recorder::node::Node;
use crate::recorder::tools::SeenTools;

/// Maximum number of calls of one tool, from the last on, among which the call of a span is searched.
const CANDIDATES: usize = 128;

/// Calls that messages have shown, and those that spans execute.
#[derive(Debug, Default)]
pub(crate) struct OpenCalls {
    /// Ids of calls without a span, in the order in which messages showed them, by tool name.
    by_name: HashMap<String, Vec<String>>,
    /// Ids that spans state.
    stated: HashSet<String>,
    /// Ids of calls matched to spans that state none.
    matched: HashMap<[u8; 8], String>,
    weight: usize,
}

impl OpenCalls {
    /// Notes a tool call that a message has just shown.
    pub(crate) fn note(&mut self, seen: &SeenTools, tool: &SeenTool<'_>) {
        let call = seen.call(&tool.id).filter(|call| seen.is_latest(call));
        let Some(call) = call.filter(|_| matches!(tool.kind, SeenKind::Call { .. })) else { return };
        let ids = self.by_name.entry(call.name.to_owned()).or_default();
        if ids.last().is_none_or(|last| last != call.id) {
            self.weight += call.name.len() + size_of::<String>() + call.id.len();
            ids.push(call.id.to_owned());
        }
    }

    /// Notes the id of the call that a span states.
    pub(crate) fn state(&mut self, call_id: &str) {
        if !self.stated.contains(call_id) {
            self.weight += size_of::<String>() + call_id.len();
            self.stated.insert(call_id.to_owned());
        }
    }

    /// Returns the call that a tool span without a call id executes: one of its name with the same arguments that messages have
    /// shown and that neither a span nor a message has answered. Of several, it is the first that the latest model call
    /// requested. A span keeps its call from start to end.
    pub(crate) fn find(&mut self, seen: &SeenTools, node: &Node) -> Option<String> {
        if let Some(call_id) = self.matched.get(&node.span_id) {
            return Some(call_id.clone());
        }
        let span = node.span()?;
        let open = self.by_name.get_mut(span.name.as_str())?;
        let given = arguments(span.input.as_ref());
        let calls = open.iter().enumerate().rev().take(CANDIDATES).filter_map(|(at, id)| {
            let call = seen.call(id).filter(|call| !self.stated.contains(id) && !call.is_answered)?;
            (arguments(call.arguments) == given).then_some((call.by.start, Reverse(at)))
        });
        let (_, Reverse(at)) = calls.max()?;
        let call_id = open.remove(at);
        self.weight += size_of::<[u8; 8]>();
        self.matched.insert(node.span_id, call_id.clone());
        Some(call_id)
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}
