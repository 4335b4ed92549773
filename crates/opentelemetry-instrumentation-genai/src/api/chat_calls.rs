//! Tool calls of chat streams, whose deltas are matched by id, name and index.

use serde_json::Value;

use crate::json::Json;
use crate::message::Part;
use crate::response::{ChoiceMut, PartKey};

/// Key of the call with index 0. The lower half of a key is the index, the upper half the number of earlier calls with that
/// index.
const FIRST: PartKey = 16;
const INDEX: PartKey = 0xFFFF_FFFF;
const NEXT: PartKey = INDEX + 1;

/// Adds the calls of a whole message: each entry is a call.
pub(super) fn whole(calls: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    for (place, call) in calls.items().iter().enumerate().filter(|(_, call)| call.is_object()) {
        if function(call).is_null() {
            answer.push(Part::other(call, "tool_call"));
            continue;
        }
        let key = FIRST + (place as u64).min(INDEX - FIRST);
        add(key, call, answer);
    }
}

/// Adds the tool calls of a chunk. A new id with a name begins a call; a delta without id or index continues the call that was
/// opened last, and so does one whose index grows with each delta. Gateways send index 0 for every call, no index, or no id.
pub(super) fn delta(calls: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    for call in calls.items().iter().filter(|call| call.is_object()) {
        if function(call).is_null() && call.first(&["id", "index"]).is_null() {
            answer.push(Part::other(call, "tool_call"));
            continue;
        }
        let key = key(call, answer);
        add(key, call, answer);
    }
}

fn add(key: PartKey, call: &Json<'_>, answer: &mut ChoiceMut<'_>) {
    let function = function(call);
    let arguments = function.first(&["arguments", "input"]);
    let written = if arguments.is_object() { Some(arguments.to_value().to_string()) } else { None };
    let arguments = written.as_deref().or(arguments.as_str());
    answer.tool_call(key, call.get("id").filled(), function.get("name").filled(), arguments);
}

/// Returns the function of a call, or the call itself if it has the name or the arguments; null for a call of another kind.
pub(super) fn function<'a, 'j>(call: &'a Json<'j>) -> &'a Json<'j> {
    let flat = || if call.first(&["name", "arguments"]).is_null() { &Json::Null } else { call };
    match call.first(&["function", "custom"]) {
        Json::Null => flat(),
        inner => inner,
    }
}

fn key(call: &Json<'_>, answer: &ChoiceMut<'_>) -> PartKey {
    let (id, index) = (call.get("id").filled(), call.get("index").as_u64());
    let name = function(call).get("name").filled();
    let open: Vec<(PartKey, &Part)> = answer.calls().collect();
    let same_id =
        |(_, part): &&(PartKey, &Part)| matches!(part, Part::ToolCall { id: Some(own), .. } if Some(&**own) == id);
    if let Some((key, _)) = open.iter().find(same_id) {
        return *key;
    }
    let place = FIRST + index.unwrap_or(0).min(INDEX - FIRST);
    let last = match index {
        Some(_) => open.iter().rev().find(|(key, _)| key & INDEX == place),
        None => open.last(),
    };
    // A call begins with an id or a name: without both, an index that no call has continues the call that was opened last.
    let continues = id.is_none() && name.is_none();
    let last = last.or_else(|| open.last().filter(|_| continues));
    match last {
        Some((key, part)) if !begins(part, id, name, index, function(call)) => *key,
        _ => open.iter().filter(|(key, _)| key & INDEX == place).map(|(key, _)| key + NEXT).max().unwrap_or(place),
    }
}

/// Returns true if a delta is not part of this call, though it has the same index or none.
fn begins(part: &Part, id: Option<&str>, name: Option<&str>, index: Option<u64>, function: &Json<'_>) -> bool {
    let Part::ToolCall { id: own, name: called, arguments } = part else { return true };
    match (id, name) {
        // An id that comes after the name belongs to the call that has none.
        (Some(_), Some(name)) => own.is_some() || !called.is_empty() && name != called,
        (Some(_), None) => own.is_some() && index.is_none(),
        // Some repeat the name in each delta; a call with complete arguments has ended.
        (None, Some(name)) => {
            let more = function.first(&["arguments", "input"]);
            let begins = more.is_object() || more.as_str().is_some_and(|more| more.trim_start().starts_with('{'));
            !called.is_empty() && (name != called || begins && serde_json::from_str::<Value>(arguments).is_ok())
        }
        (None, None) => false,
    }
}
