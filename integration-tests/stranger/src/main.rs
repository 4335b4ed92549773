//! An application that knows the crates by their documentation alone: it records itself, reads its runs back, and fails where
//! they are not as expected.

mod agent;
mod callers_run;
mod expected;
mod spans;

use std::error::Error;

use retrace_local::{Server, TraceQuery};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for transport in ["ws", "http"] {
        let server = Server::start()?;
        let retrace = retrace::configure()
            .with_api_key("rt_local")
            .with_base_url(server.url())
            .with_transport(transport)
            .with_span_selection(retrace::SpanSelection::All)
            .install()?;
        if transport == "ws" {
            // Spans of `tracing` go to the global tracer provider, which `install` has set.
            let tracer = retrace::opentelemetry::global::tracer("stranger");
            tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer)).try_init()?;
        }
        let answer = agent::research("tides").await?;
        assert_eq!(answer, "TIDES: 3 pages");
        if transport == "ws" {
            spans::record_inside_of_tracing();
            spans::tracing_inside_of_record();
            // `#[tokio::main]` makes a runtime of its own.
            std::thread::spawn(callers_run::run).join().expect("the thread ends");
        }
        retrace.shutdown()?;

        let mut runs = Vec::new();
        for head in server.traces(&TraceQuery::default())?.traces {
            runs.extend(head.id.and_then(|id| server.trace(&id).transpose()).transpose()?);
        }
        expected::agent(&runs);
        if transport == "ws" {
            expected::one_tree_with_tracing(&runs);
            callers_run::check(&runs);
        }
        println!("{transport}: {} runs, as expected", runs.len());
    }
    Ok(())
}
