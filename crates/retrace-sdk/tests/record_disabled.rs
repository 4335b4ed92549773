//! Without a pipeline, and with one that is switched off, nothing is evaluated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "recorded/counting.rs"]
mod counting;

use retrace_local::{Server, TraceQuery};

use crate::counting::{Formatted, Serialised, call_all, evaluations};

#[retrace::record(name = "without content")]
fn without_content(first: Serialised, second: Formatted) -> bool {
    let _ = (first, second);
    true
}

#[test]
fn nothing_is_evaluated_when_nothing_is_recorded() {
    call_all();
    assert_eq!(evaluations(), 0, "without a pipeline");

    let server = Server::start().unwrap();
    let retrace = retrace::configure()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_enabled(false)
        .install()
        .unwrap();
    call_all();
    assert_eq!(evaluations(), 0, "disabled");
    drop(retrace);
    call_all();
    assert_eq!(evaluations(), 0, "after the end of the pipeline");
    assert_eq!(server.traces(&TraceQuery::new()).unwrap().total, 0);

    let retrace = retrace::configure()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_capture_content(false)
        .install()
        .unwrap();
    without_content(Serialised, Formatted);
    assert_eq!(evaluations(), 0, "arguments, where content is not recorded");
    drop(retrace);
    let runs = server.traces(&TraceQuery::new()).unwrap().traces;
    assert_eq!((runs.len(), runs[0].name.as_deref(), &runs[0].input), (1, Some("without content"), &None));
}
