//! The differences that are meant to be, each with its reason.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::shape::Shape;

/// Stands for what is not there.
const ABSENT: &str = "-";
/// Stands for an event that is there, whatever its fields.
const THERE: &str = "event";
/// Stands for an event that comes at another place among those that both have.
const EARLIER: &str = "earlier";

/// A difference: where, the JSON type that the SDK has and ours, and why. A `*` in a place stands for anything.
pub(crate) struct Difference(pub &'static str, pub &'static str, pub &'static str, pub &'static str);

const ROOT: &str = "the root is sent as a step too, so that every parent_id resolves; the SDK has only the trace";
const PARENT: &str = "that root is the parent; in the SDK a step of the trace itself has none";
const OTEL: &str = "what only OpenTelemetry knows: the span's name, kind and scope";
const AGENT: &str = "the agent that the step belongs to; the SDK says so of agents made with retrace.agent only";

/// An agent that calls nothing.
pub(crate) const PLAIN: &[Difference] =
    &[Difference("span_started root", ABSENT, THERE, ROOT), Difference("span_ended root", ABSENT, THERE, ROOT)];

/// An agent with a tool.
pub(crate) const TOOLS: &[Difference] = &[
    Difference("span_started root", ABSENT, THERE, ROOT),
    Difference("span_ended root", ABSENT, THERE, ROOT),
    Difference(
        "trace_started again",
        ABSENT,
        THERE,
        "no span holds the run's input; once a model call shows it, it is said, and only this event can",
    ),
    Difference(
        "span_ended tool_call 1 again",
        THERE,
        ABSENT,
        "the SDK takes the call from the model's answer, ends it at once and once more when it has run; we see it run",
    ),
    Difference("span_* tool_result 1", "later", EARLIER, "the SDK sees a result only when the next call sends it back"),
    Difference("span_started tool_call 1.data.ended_at", "string", ABSENT, "it has only begun, see above"),
    Difference("span_started tool_call 1.data.duration_ms", "integer", ABSENT, "it has only begun, see above"),
    Difference("span_ended tool_call 1.data.output", "null", "object", "and its one end has what it returned"),
    Difference("span_* tool_result 1.data.output", "string", "object", "what the tool returned, not the text of it"),
    Difference("span_started tool_call 1.data.model", "string", ABSENT, "the SDK copies the model; a tool has none"),
    Difference("span_started *.data.parent_id", "null", "string", PARENT),
    Difference("span_started *.data.agent_id", ABSENT, "string", AGENT),
    Difference("span_started *.data.agent_role", ABSENT, "string", AGENT),
    Difference("span_started *.data.metadata.otel", ABSENT, "object", OTEL),
    Difference("span_started *.data.metadata.operation", ABSENT, "string", "what OpenTelemetry calls the step"),
    Difference("span_started llm_call *.data.metadata.provider", ABSENT, "string", "the SDK has it in the name only"),
    Difference("span_started llm_call 1.data.metadata.tool_calls", ABSENT, "array", "as data, beside their text"),
];

/// Steps of all types.
pub(crate) const NESTED: &[Difference] = &[
    Difference("span_started root", ABSENT, THERE, ROOT),
    Difference("span_ended root", ABSENT, THERE, ROOT),
    Difference("span_started *.data.parent_id", "null", "string", PARENT),
    Difference("span_started *.data.agent_id", ABSENT, "string", AGENT),
    Difference("span_started *.data.agent_role", ABSENT, "string", AGENT),
    Difference("span_started *.data.metadata.otel", ABSENT, "object", OTEL),
    Difference(
        "span_started llm_call 1.data.ended_at",
        ABSENT,
        "string",
        "a model call is said when it has ended, as the SDK does for those that it records itself",
    ),
    Difference("span_started llm_call 1.data.duration_ms", ABSENT, "integer", "the same"),
    Difference("span_started llm_call 1.data.output", ABSENT, "string", "the same"),
];

/// Fails for a difference that is not in the table, and for a row of the table that meets none.
pub(crate) fn check(sdk: &Shape, ours: &Shape, table: &[Difference]) -> Result<(), String> {
    let mut met = vec![false; table.len()];
    let mut problem = String::new();
    for (place, theirs, here) in differences(sdk, ours) {
        let mut known = false;
        for (row, met) in table.iter().zip(&mut met) {
            if matches(row.0, &place) && (row.1, row.2) == (theirs, here) {
                (known, *met) = (true, true);
            }
        }
        if !known {
            let _ = writeln!(problem, "{place}: the SDK has {theirs}, we have {here}");
        }
    }
    for (row, _) in table.iter().zip(met).filter(|(_, met)| !met) {
        let _ = writeln!(
            problem,
            "this does not differ any more, or not in this way: {}: {} and {} ({})",
            row.0, row.1, row.2, row.3
        );
    }
    if problem.is_empty() { Ok(()) } else { Err(format!("{problem}\nSDK:  {:?}\nours: {:?}", sdk.order, ours.order)) }
}

/// Place, what the SDK has, what we have.
fn differences(sdk: &Shape, ours: &Shape) -> Vec<(String, &'static str, &'static str)> {
    let mut found = Vec::new();
    for event in sdk.order.iter().filter(|event| !ours.order.contains(event)) {
        found.push((event.clone(), THERE, ABSENT));
    }
    for event in ours.order.iter().filter(|event| !sdk.order.contains(event)) {
        found.push((event.clone(), ABSENT, THERE));
    }
    // Of the events that both have, those that we say before one that the SDK says first.
    let both: Vec<_> = ours.order.iter().filter(|event| sdk.order.contains(event)).collect();
    let place = |event: &String| sdk.order.iter().position(|other| other == event);
    for (at, event) in both.iter().enumerate() {
        if both[at + 1..].iter().any(|later| place(later) < place(event)) {
            found.push(((*event).clone(), "later", EARLIER));
        }
    }
    let places: BTreeSet<_> = sdk.fields.keys().chain(ours.fields.keys()).collect();
    for place in places {
        let event = place.split_once('.').map_or(place.as_str(), |(event, _)| event);
        let has = |shape: &Shape| shape.order.iter().any(|said| said == event);
        let (theirs, here) = (sdk.fields.get(place), ours.fields.get(place));
        if has(sdk) && has(ours) && theirs != here {
            found.push((place.clone(), theirs.copied().unwrap_or(ABSENT), here.copied().unwrap_or(ABSENT)));
        }
    }
    found
}

fn matches(pattern: &str, place: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == place,
        Some((before, after)) => {
            let Some(rest) = place.strip_prefix(before) else { return false };
            (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))
        }
    }
}

#[test]
fn what_is_not_in_the_table_is_found_and_so_is_what_is_there_for_nothing() {
    let frame = |data| serde_json::json!({"type": "trace_started", "seq": 1, "data": data});
    let one = crate::shape::of(&[frame(serde_json::json!({"id": "t", "name": "n", "total_cost": 0.0}))]);
    let other = crate::shape::of(&[frame(serde_json::json!({"id": "t", "name": 1, "total_cost": 0}))]);
    assert_eq!(check(&one, &one, &[]), Ok(()));
    let name = Difference("trace_started.data.name", "string", "integer", "");
    let cost = Difference("*.total_*", "fraction", "integer", "");
    assert!(check(&one, &other, &[]).unwrap_err().contains("name: the SDK has string, we have integer"));
    assert!(check(&one, &other, std::slice::from_ref(&name)).unwrap_err().contains("total_cost"));
    assert!(check(&one, &one, std::slice::from_ref(&name)).unwrap_err().contains("any more"));
    assert_eq!(check(&one, &other, &[name, cost]), Ok(()));
}
