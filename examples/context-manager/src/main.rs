//! A run recorded by hand, as the context manager of the Python SDK does: output, metadata, tags, status, session, and steps
//! of all seven types.
//!
//! Offline: the run is sent to a receiver on this machine and read back from there. With `RETRACE_API_KEY` set it is sent to
//! Retrace instead.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;

use retrace::SpanType;
use retrace_local::{Server, TraceQuery};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let receiver = if std::env::var_os("RETRACE_API_KEY").is_none() { Some(Server::start()?) } else { None };
    let mut configuration = retrace::configure();
    if let Some(receiver) = &receiver {
        configuration = configuration.with_api_key("rt_local").with_base_url(receiver.url());
    }
    let retrace = configuration.install()?;

    println!("{}", pipeline("When is high water in Bergen?"));
    unreachable_tide_table();

    retrace.shutdown()?;
    let Some(receiver) = receiver else {
        println!("The runs are in Retrace.");
        return Ok(());
    };
    println!("\nRead back from the receiver:\n");
    let mut runs = receiver.traces(&TraceQuery::default())?.traces;
    runs.reverse(); // in the order in which they began
    for head in runs {
        if let Some(run) = head.id.and_then(|id| receiver.trace(&id).transpose()).transpose()? {
            run_tree::print(&run)?;
            let metadata = run.metadata.as_ref().map_or("{}", retrace::Json::as_str);
            for (key, value) in serde_json::from_str::<BTreeMap<String, Value>>(metadata)? {
                println!("metadata {key}: {value}");
            }
            println!();
        }
    }
    Ok(())
}

/// A run that is dropped at the end of its block, and ends there.
fn pipeline(question: &str) -> &'static str {
    let run = retrace::run("tide-pipeline").session("harbour-7").tag("beta").input(question).start();
    run.metadata("version", "1.2.0").metadata("customer", json!({ "id": 7, "plan": "free" }));

    // A step that encloses others.
    run.step("plan", SpanType::Reasoning).input(question).in_scope(|plan| {
        let call = plan.step("tide_table", SpanType::ToolCall).input(json!({ "port": "Bergen" })).start();
        call.output(json!({ "high_water": "14:20" }));
        plan.output("the table is enough");
    });
    run.step("tide_table", SpanType::ToolResult).output(json!({ "high_water": "14:20" })).start().end();
    // A place to fork the run at.
    run.fork_point("after retrieval");

    // A model call by a client that this crate does not know.
    let call = run.step("chat gpt-4o-mini", SpanType::LlmCall).model("gpt-4o-mini").input(question).start();
    call.output("At 14:20.").tokens(31, 5).cost(0.000_007_65);
    call.end();

    run.step("low confidence", SpanType::Error).output("one source only").start().end();
    run.step("send_reply", SpanType::Action).input(json!({ "to": "harbour-7" })).start().end();

    let answer = "At 14:20.";
    run.output(answer).tag("short").status("needs_review");
    answer
}

/// A run that fails.
fn unreachable_tide_table() {
    let run = retrace::run("tide-pipeline").session("harbour-7").input("And in Tromsø?").start();
    let call = run.step("tide_table", SpanType::ToolCall).input(json!({ "port": "Tromsø" })).start();
    call.fail("TimeoutError: no answer from the tide table");
    run.fail("no tide table");
}
