//! The runs that the receiver must have.

use retrace::{Span, SpanType, Trace};
use serde_json::{Value, json};

pub fn spans(run: &Trace) -> &[Span] {
    run.spans.as_deref().unwrap_or_default()
}

pub fn named<'a>(run: &'a Trace, name: &str) -> &'a Span {
    let found = spans(run).iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no span {name} in {run:#?}"))
}

/// The names from a span up to the root.
pub fn path(run: &Trace, name: &str) -> String {
    let mut names = vec![name];
    let mut at = named(run, name);
    while let Some(parent) = &at.parent_id {
        at = spans(run).iter().find(|span| span.id == *parent).expect("every parent is there");
        names.push(&at.name);
    }
    names.join(" < ")
}

pub fn value(json: &Option<retrace::Json>) -> Value {
    json.as_ref().map_or(Value::Null, |json| json.to_value().expect("JSON"))
}

/// The run of the agent.
pub fn agent(runs: &[Trace]) {
    let run = runs.iter().find(|run| run.name.as_deref() == Some("research-agent")).expect("the run of the agent");
    assert_eq!((value(&run.input), value(&run.output)), (json!({ "topic": "tides" }), json!("TIDES: 3 pages")));
    assert_eq!((run.session_id.as_deref(), run.error.as_deref()), (Some("s-1"), None));
    let metadata = value(&run.metadata);
    assert_eq!(metadata, json!({ "length": 5, "pages": 3, "tags": ["beta"], "user_id": "u-1" }));

    let pages = named(run, "pages");
    assert_eq!(pages.span_type, SpanType::ToolResult);
    let page = |number: u32| json!({ "title": "tides", "number": number });
    assert_eq!(value(&pages.output), json!([page(1), page(2), page(3)]));

    let search = named(run, "search");
    assert_eq!((value(&search.input), value(&search.output)), (json!(["atlas", "tides"]), json!(["tides in atlas"])));
    assert_eq!((search.agent_id.as_deref(), search.agent_role.as_deref()), (Some("searcher"), Some("Searcher")));
    assert_eq!(named(run, "count").agent_id.as_deref(), Some("counter"));
    assert_eq!(named(run, "after retrieval").span_type, SpanType::ForkPoint);
    let failed = named(run, "number");
    assert_eq!(failed.error.as_deref(), Some("ParseIntError: invalid digit found in string"));
    for name in ["pages", "search", "after retrieval", "count", "spell", "number", "write"] {
        assert_eq!(path(run, name), format!("{name} < research-agent"));
    }
}

/// Runs in which spans of `tracing` and recorded calls alternate.
pub fn one_tree_with_tracing(runs: &[Trace]) {
    let with = |name: &str| {
        let run = runs.iter().find(|run| spans(run).iter().any(|span| span.name == name));
        run.unwrap_or_else(|| panic!("no run with {name}"))
    };
    let run = with("record_inside_of_tracing");
    assert_eq!(path(run, "innermost"), "innermost < below < recorded < record_inside_of_tracing");
    let run = with("outside");
    assert_eq!(path(run, "innermost"), "innermost < below < outside");
    assert_eq!(value(&run.output), json!(15));
}
