//! Every argument of `#[record]`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod recorded;

use serde_json::{Value, json};

use crate::recorded::{json as value, start};

const RUN: &str = "named by a constant";

#[retrace::record(name = "a name")]
fn named() {}

#[retrace::record(name = RUN)]
fn named_by_a_constant() {}

#[retrace::record]
fn named_by_itself() {}

#[retrace::record]
fn r#match() {}

#[test]
fn name() {
    let pipeline = start();
    named();
    named_by_a_constant();
    named_by_itself();
    r#match();
    for name in ["a name", RUN, "named_by_itself", "match"] {
        let run = pipeline.run(name);
        assert_eq!((run.root().name.as_str(), run.status()), (name, "completed"));
    }
}

struct Named;

impl Named {
    const NAME: &str = "named by an associated constant";

    #[retrace::record(name = Self::NAME, tags(Self::NAME))]
    fn call(self) {}
}

#[test]
fn constants_of_the_type_around_it() {
    let pipeline = start();
    Named.call();
    pipeline.run(Named::NAME);
}

#[retrace::record(name = "types")]
fn types() {
    auto();
    llm_call();
    tool_call();
    tool_result();
    reasoning();
    action();
    error();
    fork_point();
    quoted();
    run();
}

#[retrace::record]
fn auto() {}
#[retrace::record(type = llm_call)]
fn llm_call() {}
#[retrace::record(type = tool_call)]
fn tool_call() {}
#[retrace::record(type = tool_result)]
fn tool_result() {}
#[retrace::record(type = reasoning)]
fn reasoning() {}
#[retrace::record(type = action)]
fn action() {}
#[retrace::record(type = error)]
fn error() {}
#[retrace::record(type = fork_point)]
fn fork_point() {}
#[retrace::record(type = "tool_call")]
fn quoted() {}
#[retrace::record(type = run)]
fn run() {}

#[test]
fn r#type() {
    let pipeline = start();
    types();
    let recorded = pipeline.run("types");
    assert_eq!(recorded.root().span_type.as_str(), "reasoning");
    for (name, expected) in [
        ("auto", "reasoning"),
        ("llm_call", "llm_call"),
        ("reasoning", "reasoning"),
        ("action", "action"),
        ("error", "error"),
        ("fork_point", "fork_point"),
    ] {
        assert_eq!(recorded.span(name).span_type.as_str(), expected, "{name}");
        assert_eq!(recorded.span(name).parent_id.as_ref(), Some(&recorded.root().id), "{name}");
    }
    // A tool call that has a result is followed by one.
    for name in ["tool_call", "quoted", "tool_result"] {
        let types: Vec<&str> =
            recorded.spans().iter().filter(|span| span.name == name).map(|span| span.span_type.as_str()).collect();
        assert!(types.contains(&if name == "quoted" { "tool_call" } else { name }), "{name}: {types:?}");
    }
}

#[retrace::record(name = "all arguments")]
fn all_arguments(topic: &str, mut count: u32, r#type: Option<bool>) -> u32 {
    count += u32::from(r#type.is_some()) + u32::try_from(topic.len()).unwrap();
    count
}

#[retrace::record(name = "input", input = topic.to_uppercase())]
fn input_expression(topic: &str, _count: u32) {}

#[retrace::record(name = "several as input", input = (topic, count + 1))]
fn input_of_several(topic: &str, count: u32) {}

#[retrace::record(name = "skip", skip(secret, other))]
fn skipped(topic: &str, secret: &str, other: u8) -> usize {
    topic.len() + secret.len() + usize::from(other)
}

#[retrace::record(name = "skip all", skip_all)]
fn all_skipped(topic: &str, secret: &str) -> usize {
    topic.len() + secret.len()
}

#[test]
fn input() {
    let pipeline = start();
    all_arguments("tides", 3, Some(true));
    input_expression("tides", 1);
    input_of_several("tides", 1);
    skipped("tides", "s3cret", 1);
    all_skipped("tides", "s3cret");
    assert_eq!(pipeline.run("all arguments").input(), json!({"topic": "tides", "count": 3, "type": true}));
    assert_eq!(pipeline.run("all arguments").output(), json!(9));
    assert_eq!(pipeline.run("input").input(), json!("TIDES"));
    assert_eq!(pipeline.run("several as input").input(), json!(["tides", 2]));
    assert_eq!(pipeline.run("skip").input(), json!({"topic": "tides"}));
    assert_eq!(pipeline.run("skip all").input(), Value::Null);
}

#[retrace::record(name = "output", output = |out| out.len())]
fn output_expression() -> Vec<u8> {
    vec![1, 2, 3]
}

#[retrace::record(name = "output of a result", output = |out| out.len())]
fn output_of_a_result(fails: bool) -> Result<Vec<u8>, std::fmt::Error> {
    if fails { Err(std::fmt::Error) } else { Ok(vec![1, 2]) }
}

#[retrace::record(name = "output of an option", output = |(first, _)| *first)]
fn output_of_an_option() -> Option<(u8, u8)> {
    Some((1, 2))
}

#[retrace::record(name = "output with a type", output = |out: &Vec<u8>| out.first().copied())]
fn output_with_a_type() -> Vec<u8> {
    vec![7]
}

#[retrace::record(name = "output by a function", output = <[u8]>::len)]
fn output_by_a_function() -> Vec<u8> {
    vec![1, 2, 3, 4]
}

#[retrace::record(name = "skip output", skip_output)]
fn output_skipped() -> u8 {
    1
}

#[retrace::record(name = "skip output of a result", skip_output)]
fn output_of_a_result_skipped() -> Result<u8, std::fmt::Error> {
    Err(std::fmt::Error)
}

#[test]
fn output() {
    let pipeline = start();
    output_expression();
    assert!(output_of_a_result(false).is_ok());
    assert_eq!(pipeline.run("output of a result").output(), json!(2));
    assert!(output_of_a_result(true).is_err());
    output_of_an_option();
    output_with_a_type();
    output_by_a_function();
    output_skipped();
    assert!(output_of_a_result_skipped().is_err());
    assert_eq!(pipeline.run("output").output(), json!(3));
    let failed = &pipeline.runs("output of a result")[0];
    assert_eq!((failed.status(), failed.output()), ("failed", Value::Null));
    assert_eq!(pipeline.run("output of an option").output(), json!(1));
    assert_eq!(pipeline.run("output with a type").output(), json!(7));
    assert_eq!(pipeline.run("output by a function").output(), json!(4));
    assert_eq!(pipeline.run("skip output").output(), Value::Null);
    assert_eq!(pipeline.run("skip output").status(), "completed");
    assert_eq!(pipeline.run("skip output of a result").status(), "failed");
}

struct Request {
    session: String,
    user: Option<u64>,
}

#[retrace::record(name = "session and user", skip_all, session = request.session, user = request.user)]
fn of_a_session(request: &Request) {}

#[retrace::record(name = "no session", session = None::<String>, user = Option::<u8>::None)]
fn of_no_session() {}

#[test]
fn session_and_user() {
    let pipeline = start();
    of_a_session(&Request { session: "s-1".to_owned(), user: Some(7) });
    of_no_session();
    let run = pipeline.run("session and user");
    assert_eq!(run.0.session_id.as_deref(), Some("s-1"));
    assert_eq!(run.metadata()["user_id"], json!("7"), "{:#}", run.metadata());
    let without = pipeline.run("no session");
    assert_eq!(without.0.session_id, None);
    assert_eq!(without.metadata().get("user_id"), None);
}

#[retrace::record(name = "tags", tags("beta", RUN))]
fn tagged() {}

#[test]
fn tags() {
    let pipeline = start();
    tagged();
    assert_eq!(pipeline.run("tags").metadata()["tags"], json!(["beta", RUN]));
}

#[retrace::record(name = "metadata", metadata(version = "1.2.0", r#type = 1, request.size = topic.len(), "any key" = Some(topic)))]
fn with_metadata(topic: &str) {}

#[test]
fn metadata() {
    let pipeline = start();
    with_metadata("tides");
    let metadata = pipeline.run("metadata").metadata();
    assert_eq!(metadata["version"], json!("1.2.0"), "{metadata:#}");
    assert_eq!(metadata["type"], json!(1));
    assert_eq!(metadata["request.size"], json!(5));
    assert_eq!(metadata["any key"], json!("tides"));
}

#[retrace::record(name = "agents", agent = "planner", role = "Planner")]
fn planner() {
    below_planner();
    writer();
}

#[retrace::record(agent = "writer")]
fn writer() {}

#[retrace::record]
fn below_planner() {}

#[test]
fn agent_and_role() {
    let pipeline = start();
    planner();
    let run = pipeline.run("agents");
    assert_eq!((run.root().agent_id.as_deref(), run.root().agent_role.as_deref()), (Some("planner"), Some("Planner")));
    assert_eq!(run.span("below_planner").agent_id.as_deref(), Some("planner"));
    let writer = run.span("writer");
    assert_eq!((writer.agent_id.as_deref(), writer.agent_role.as_deref()), (Some("writer"), None));
    assert_eq!(writer.parent_agent_id.as_deref(), Some("planner"));
}

#[retrace::record(name = "resumable", resumable)]
fn resumable_run(topic: &str, _count: u8) {}

#[test]
fn resumable() {
    let pipeline = start();
    resumable_run("tides", 2);
    let run = pipeline.run("resumable");
    assert_eq!(run.metadata()["_resumable"], json!(true));
    assert_eq!(run.input(), json!({"args": [], "kwargs": {"topic": "tides", "_count": 2}}));
}

#[retrace::record(name = "effects")]
fn effects_of_steps() {
    assert_eq!((no_effect(), repeated(), outside()), (1, 2, 3));
}

#[retrace::record(type = tool_call, replay, effects = none)]
fn no_effect() -> u8 {
    1
}

#[retrace::record(type = tool_call, effects = "idempotent")]
fn repeated() -> u8 {
    2
}

#[retrace::record(effects = external)]
fn outside() -> u8 {
    3
}

/// Outside of a replay these arguments change nothing.
#[test]
fn replay_and_effects() {
    let pipeline = start();
    effects_of_steps();
    let run = pipeline.run("effects");
    for (name, output) in [("no_effect", 1), ("repeated", 2)] {
        let span = run.spans().iter().find(|span| span.name == name && span.span_type.as_str() == "tool_call").unwrap();
        assert_eq!(value(span.output.as_ref()), json!(output), "{name}");
    }
}

mod elsewhere {
    pub(crate) use retrace as renamed;
}

#[retrace::record(name = "crate", crate = crate::elsewhere::renamed)]
fn by_another_path() {}

#[test]
fn path_of_the_crate() {
    let pipeline = start();
    by_another_path();
    pipeline.run("crate");
}
