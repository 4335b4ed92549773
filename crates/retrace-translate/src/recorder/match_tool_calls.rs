//! Matches tool spans without a call id to the tool calls that messages show.
//!
//! Many instrumentations record only the name of a tool. A span matches the call of its name with the same arguments that no
//! other span executes. The last span of a name matches the last call of that name, whatever its arguments.

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};

use retrace_protocol::{Json, SpanType};
use serde_json::Value;

use crate::recorder::node::Node;
use crate::recorder::tools::SeenTools;

/// A call without a span so far.
struct OpenCall<'s> {
    id: &'s str,
    arguments: Option<Value>,
    is_taken: bool,
}

/// Matches the nodes in `order` that execute a tool and state no call id.
pub(crate) fn match_tool_calls(nodes: &mut [Node], order: &[usize], seen: &SeenTools) {
    let is_unmatched = |at: &usize| nodes.get(*at).is_some_and(is_unmatched);
    let unmatched: Vec<usize> = order.iter().copied().filter(is_unmatched).collect();
    if unmatched.is_empty() {
        return;
    }
    let mut ends: HashMap<[u8; 8], u64> = HashMap::new();
    let mut claimed: HashSet<&str> = HashSet::new();
    for node in nodes.iter() {
        ends.insert(node.span_id, node.end);
        claimed.extend(node.executed_call.as_deref());
    }
    let mut shown: Vec<_> = seen.calls().filter(|call| !claimed.contains(call.id)).collect();
    shown.sort_by_key(|call| ends.get(&call.by.span_id).copied());
    let mut open: HashMap<&str, Vec<OpenCall<'_>>> = HashMap::new();
    for call in shown {
        let arguments = call.arguments.and_then(|json| json.to_value().ok());
        open.entry(call.name).or_default().push(OpenCall { id: call.id, arguments, is_taken: false });
    }

    let mut matches: Vec<(usize, String)> = Vec::new();
    let mut left: HashMap<&str, Vec<usize>> = HashMap::new();
    for at in unmatched {
        let Some(span) = nodes.get(at).and_then(|node| Some(&node.builder.as_ref()?.span)) else { continue };
        let Some(calls) = open.get_mut(span.name.as_str()) else { continue };
        let given = span.input.as_ref().and_then(|json: &Json| json.to_value().ok());
        let same = calls.iter_mut().find(|call| !call.is_taken && given.is_some() && call.arguments == given);
        match same {
            Some(call) => {
                call.is_taken = true;
                matches.push((at, call.id.to_owned()));
            }
            None => left.entry(span.name.as_str()).or_default().push(at),
        }
    }
    for (name, spans) in left {
        let calls: Vec<_> = open.get(name).into_iter().flatten().filter(|call| !call.is_taken).collect();
        if let ([at], [call]) = (spans.as_slice(), calls.as_slice()) {
            matches.push((*at, call.id.to_owned()));
        }
    }
    for (at, call_id) in matches {
        let Some(node) = nodes.get_mut(at) else { continue };
        if let Some(builder) = node.builder.as_mut() {
            builder.metadata.tool_call_id = Some(call_id.clone());
        }
        node.executed_call = Some(call_id);
    }
}

fn is_unmatched(node: &Node) -> bool {
    let is_tool = node.builder.as_ref().is_some_and(|builder| builder.span.span_type == SpanType::ToolCall);
    node.kept && is_tool && node.executed_call.is_none()
}
