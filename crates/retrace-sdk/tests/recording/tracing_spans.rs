//! One tree with `tracing`, in both directions.

use retrace::SpanType;
use retrace::opentelemetry::trace::TracerProvider as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{above, record_with, spans};
use crate::{block_on, pause};

#[test]
fn spans_of_tracing_and_steps_make_one_tree() {
    use retrace::SpanSelection;
    let recording =
        record_with(|configuration| configuration.with_span_selection(SpanSelection::All).with_transport("http"));
    let tracer = recording.guard.as_ref().unwrap().provider().unwrap().tracer("tracing");
    let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
    tracing::subscriber::with_default(subscriber, || {
        let _request = tracing::info_span!("request").entered();
        retrace::run("pipeline").in_scope(|run| {
            let _work = tracing::info_span!("work").entered();
            retrace::step("search", SpanType::ToolCall).in_scope(|_| {
                tracing::info_span!("query").in_scope(|| retrace::step("rank", SpanType::Action).start().end());
            });
            block_on(run.step("fetch", SpanType::Action).scope(async {
                pause().await;
                tracing::info_span!("connect").in_scope(|| ());
            }));
        });
    });
    let run = recording.run();
    for (name, parent) in [
        ("request", None),
        ("pipeline", Some("request")),
        ("work", Some("pipeline")),
        ("search", Some("work")),
        ("query", Some("search")),
        ("rank", Some("query")),
        ("fetch", Some("pipeline")),
        ("connect", Some("fetch")),
    ] {
        assert_eq!(above(&run, name), parent, "{name}");
    }
    assert_eq!(spans(&run).len(), 8);
    assert_eq!(run.name.as_deref(), Some("pipeline"));
}
