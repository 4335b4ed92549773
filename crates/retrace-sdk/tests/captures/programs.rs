//! The programs of the captures, in Rust.

use std::fmt;

use retrace::SpanType;
use serde_json::{Value, json};

/// Decorated functions that return something.
pub(crate) fn plain() {
    #[retrace::record(name = "plain-agent")]
    fn plain(question: &str, depth: u32) -> Value {
        json!({ "answer": 42, "question": question })
    }

    #[retrace::record]
    fn bare(number: u32) -> u32 {
        number * 2
    }

    plain("life?", 2);
    bare(21);
}

/// An error by the name of its Python counterpart.
macro_rules! error {
    ($name:ident) => {
        #[derive(Debug)]
        struct $name(&'static str);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl std::error::Error for $name {}
    };
}

/// Decorated functions that fail, with a message and without.
pub(crate) fn exception() {
    error!(ValueError);
    error!(RuntimeError);

    #[retrace::record(name = "failing-agent")]
    fn failing(argument: &str) -> Result<(), ValueError> {
        Err(ValueError("boom: no route"))
    }

    #[retrace::record]
    fn silent() -> Result<(), RuntimeError> {
        Err(RuntimeError(""))
    }

    failing("x").unwrap_err();
    silent().unwrap_err();
}

/// Spans made by hand: all seven types, nested, one failed, one never closed, one whole with token ids.
pub(crate) fn nested() {
    let city = json!({ "city": "Oslo" });
    let run = retrace::run("nested").input(json!({ "goal": "weather" })).start();
    let plan = run.step("plan", SpanType::Reasoning).input("think").open();
    let call = plan.step("get_weather", SpanType::ToolCall).input(&city).open();
    let result = call.step("get_weather", SpanType::ToolResult).open();
    result.output(json!({ "temp_c": 4 }));
    result.end();
    call.output(json!({ "temp_c": 4 }));
    call.end();
    let tides = plan.step("get_tides", SpanType::ToolCall).input(&city).open();
    tides.fail("TimeoutError: upstream");
    tides.end();
    let planned = plan.clone();
    plan.output("answer with weather only");
    plan.end();
    run.step("send_reply", SpanType::Action).input(json!({ "to": "user" })).start().end();
    run.step("note", SpanType::Error).input("soft failure").start().end();
    run.fork_point("fork here");
    run.step("manual-llm", SpanType::LlmCall).input("p").model("gpt-4o").output("done").start().end();
    let never_closed = run.step("never closed", SpanType::ToolCall).input(json!({ "n": 1 })).open();
    let added = planned.step("added", SpanType::LlmCall).model("gpt-4o").input("p").output("o").tokens(11, 7);
    let added = added.cost(0.00125).metadata("note", "added via add_span").token_ids([1, 2, 3]);
    added.logprobs([-0.1, -0.2, -0.3]).start().end();
    run.output("ok");
    run.end();
    // A step that is still open when its run ends.
    never_closed.end();
}

/// Runs as the context manager makes them: metadata, tags, session, output; resumable; without a name; failing.
pub(crate) fn context() {
    error!(KeyError);

    {
        let run = retrace::run("ctx-run").input(json!({ "prompt": "hi" })).session("sess-abc-123").start();
        run.metadata("customer", "acme").tags(["a", "b"]);
        run.output(json!({ "text": "hello", "n": [1, 2.5, null, true] }));
    }
    retrace::run("ctx-resumable").resumable().start().end();
    retrace::run("").start().end();
    retrace::run("ctx-fails").start().fail_with(&KeyError("'missing'"));
}

/// Agents that nest, that name their parent, and that follow into a task.
pub(crate) fn agents() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(retrace::run("team").scope(async |run| {
        retrace::agent("planner")
            .role("Planner")
            .scope(async {
                retrace::step("plan", SpanType::Reasoning).start().end();
                retrace::agent("writer").in_scope(|| run.step("write", SpanType::Action).start().end());
                let reviewer = retrace::agent("reviewer").role("Reviewer").parent("editor");
                reviewer.in_scope(|| retrace::step("review", SpanType::Action).start().end());
                let task = retrace::spawn(async { retrace::step("spawned", SpanType::Action).start().end() });
                task.await.unwrap();
            })
            .await;
        retrace::step("after", SpanType::Action).start().end();
        run.output("done");
    }));
}
