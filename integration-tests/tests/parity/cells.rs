//! The Rust cells of the table, compiled. Each begins with what stands around it in a program.

use std::error::Error;
use std::num::ParseIntError;

use retrace::{RunBuilder, SpanHandle, SpanType};

/// Compiles the code of a cell as the body of a function with these parameters, and returns its text.
macro_rules! cell {
    (($($parameter:ident: $type:ty),*) $($code:tt)*) => {{
        #[allow(unused, clippy::pedantic, clippy::items_after_statements)]
        async fn cell($($parameter: $type),*) -> Result<(), Box<dyn Error>> {
            $($code)*
            #[allow(unreachable_code)]
            Ok(())
        }
        let _ = cell;
        stringify!($($code)*)
    }};
}

async fn fetch(topic: &str) -> Result<String, ParseIntError> {
    Ok(topic.to_owned())
}

/// The test of a row, and the code of its cell.
#[rustfmt::skip]
pub(crate) const CELLS: &[(&str, &str)] = &[
    ("configure_by_code", cell! { ()
        let _retrace = retrace::configure().with_api_key("rt_…").with_project_id("p-1").install()?;
    }),
    ("configure_by_environment", cell! { ()
        let _retrace = retrace::install()?;
    }),
    ("decorator_sync", cell! { ()
        #[retrace::record(name = "research-agent")]
        fn research(topic: &str) -> String { topic.to_uppercase() }
    }),
    ("decorator_async", cell! { ()
        #[retrace::record]
        async fn research(topic: &str) -> Result<String, ParseIntError> { fetch(topic).await }
    }),
    ("decorator_failing", cell! { ()
        #[retrace::record]
        fn depth(text: &str) -> Result<u32, ParseIntError> { text.parse() }
    }),
    ("context_manager_output", cell! { (question: &str, answer: &str)
        let run = retrace::run("pipeline").input(question).start();
        run.output(answer);
    }),
    ("context_manager_metadata", cell! { (run: RunBuilder)
        run.metadata("version", "1.2.0");
    }),
    ("context_manager_tags", cell! { (run: RunBuilder)
        run.tags(["beta", "eu"]);
    }),
    ("context_manager_status", cell! { (run: &SpanHandle)
        run.status("needs_review");
    }),
    ("context_manager_failing", cell! { (run: &SpanHandle)
        run.fail("no tide table");
    }),
    ("manual_spans_of_seven_types", cell! { (run: &SpanHandle, query: &str, found: &str)
        let step = run.step("search", SpanType::ToolCall).input(query).start();
        step.output(found);
        step.end();
    }),
    ("agents", cell! { (topic: &str)
        retrace::agent("planner").role("Planner").scope(fetch(topic)).await?;
    }),
    ("sessions", cell! { ()
        let run = retrace::run("chat").session("s-1").start();
    }),
    ("openai", cell! { ()
        let openai = retrace::clients::async_openai::client(async_openai::Client::new());
    }),
    ("anthropic", cell! { ()
        let http = retrace::clients::reqwest::client(reqwest::Client::new());
    }),
    ("gemini", cell! { ()
        let http = retrace::clients::reqwest::client(reqwest::Client::new());
    }),
    ("streaming", cell! { ()
        let openai = retrace::clients::async_openai::client(async_openai::Client::new());
    }),
    ("transports", cell! { ()
        let _retrace = retrace::configure().with_transport("http").install()?;
    }),
    ("disabled", cell! { ()
        let _retrace = retrace::configure().with_enabled(false).install()?;
    }),
    ("resumable", cell! { ()
        #[retrace::record(resumable)]
        async fn research(topic: &str) -> Result<String, ParseIntError> { fetch(topic).await }
    }),
    ("sampling", cell! { ()
        let _retrace = retrace::configure().with_sample_rate(0.1).install()?;
    }),
    ("sampling_seed", cell! { ()
        let _retrace = retrace::configure().with_sample_rate(0.1).with_sample_seed("eu").install()?;
    }),
    ("failures_always", cell! { ()
        let _retrace = retrace::configure().with_failures(retrace::Failures::AnySpan).install()?;
    }),
    ("traceparent", cell! { (headers: &mut axum::http::HeaderMap)
        retrace::traceparent::inject_traceparent(headers);
    }),
    ("token_ids", cell! { (step: &SpanHandle)
        step.token_ids([1, 2, 3]).logprobs([-0.1, -0.2, -0.3]);
    }),
    ("replay", cell! { (topic: &str)
        let replayed = retrace::replay("research.jsonl").run(fetch(topic)).await?;
    }),
    ("forks_requested_by_a_receiver", cell! { ()
        #[retrace::record(resumable)]
        async fn research(topic: &str) -> Result<String, ParseIntError> { fetch(topic).await }
        let _serving = retrace::serve([retrace::resumable!(research)]).spawn();
    }),
    ("golden_cassettes", cell! { (topic: &str)
        let recorded = retrace::record_cassette("research.jsonl").run(fetch(topic)).await?;
        recorded.write_golden("golden.json")?;
    }),
    ("ceilings", cell! { (topic: &str)
        retrace::limits().steps(50).scope(fetch(topic)).await?;
    }),
];
