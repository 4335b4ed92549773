//! Matches tool spans without a call id to the tool calls that messages show.
//!
//! Many instrumentations record only the name of a tool. A span matches a call of its name with the same arguments that no other
//! span executes: one that the latest model call before it has requested. The last span of a name matches the last call of that
//! name, whatever its arguments.

use std::cmp::Reverse;

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};

use retrace_protocol::Json;
use serde_json::Value;

use crate::recorder::node::Node;
use crate::recorder::tools::SeenTools;

/// A call without a span so far.
struct OpenCall<'s> {
    id: &'s str,
    /// End of the model call that requested it.
    requested: u64,
    arguments: Option<Value>,
    is_taken: bool,
}

/// Returns the calls that the nodes in `order` execute without stating it, by index.
pub(crate) fn match_tool_calls(nodes: &[Node], order: &[usize], seen: &SeenTools) -> HashMap<usize, String> {
    let mut matches = HashMap::new();
    let is_unmatched = |at: &usize| nodes.get(*at).is_some_and(Node::is_unmatched_tool);
    let unmatched: Vec<usize> = order.iter().copied().filter(is_unmatched).collect();
    if unmatched.is_empty() {
        return matches;
    }
    let mut ends: HashMap<[u8; 8], u64> = HashMap::new();
    let mut claimed: HashSet<&str> = HashSet::new();
    for node in nodes {
        ends.insert(node.span_id, node.end);
        claimed.extend(node.executed_call.as_deref());
    }
    let requested = |by: [u8; 8]| ends.get(&by).copied().unwrap_or_default();
    let mut shown: Vec<_> = seen.calls().filter(|call| !claimed.contains(call.id)).collect();
    shown.sort_by_key(|call| (requested(call.by.span_id), call.order));
    let mut open: HashMap<&str, Vec<OpenCall<'_>>> = HashMap::new();
    for call in shown {
        let arguments = arguments(call.arguments);
        let requested = requested(call.by.span_id);
        open.entry(call.name).or_default().push(OpenCall { id: call.id, requested, arguments, is_taken: false });
    }

    let mut left: HashMap<&str, Vec<usize>> = HashMap::new();
    for at in unmatched {
        let Some((start, span)) = nodes.get(at).and_then(|node| Some((node.start, node.span()?))) else { continue };
        let Some(calls) = open.get_mut(span.name.as_str()) else { continue };
        let given = arguments(span.input.as_ref());
        let same = calls.iter_mut().enumerate().filter(|(_, call)| !call.is_taken && call.arguments == given);
        let latest = same.max_by_key(|(at, call)| (Some(call.requested).filter(|end| *end <= start), Reverse(*at)));
        match latest {
            Some((_, call)) => {
                call.is_taken = true;
                matches.insert(at, call.id.to_owned());
            }
            None => left.entry(span.name.as_str()).or_default().push(at),
        }
    }
    for (name, spans) in left {
        let calls: Vec<_> = open.get(name).into_iter().flatten().filter(|call| !call.is_taken).collect();
        if let ([at], [call]) = (spans.as_slice(), calls.as_slice()) {
            matches.insert(*at, call.id.to_owned());
        }
    }
    matches
}

/// Returns the arguments of a call as a value; equal arguments may be written differently.
pub(crate) fn arguments(json: Option<&Json>) -> Option<Value> {
    json.and_then(|json| json.to_value().ok())
}
