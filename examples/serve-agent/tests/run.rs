//! The example, run as its reader runs it, against a receiver on this machine.

use std::process::Command;

use retrace_local::{Server, TraceQuery};

#[test]
fn a_run_that_can_be_forked_is_recorded() {
    let server = Server::start().expect("a receiver");
    let mut example = Command::new(env!("CARGO_BIN_EXE_example-serve-agent"));
    example.env("RETRACE_BASE_URL", server.url()).env_remove("RETRACE_API_KEY").arg("--once");
    let run = example.output().expect("the example starts");
    let printed = String::from_utf8(run.stdout).expect("UTF-8");
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));
    for part in
        ["(get_weather is executed for Bergen)", "(reserve is executed for the train)", "You have a seat on the train."]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let runs = server.traces(&TraceQuery::new()).expect("runs").traces;
    assert_eq!(runs.len(), 1, "{runs:?}");
    let id = runs.first().and_then(|run| run.id.clone()).expect("an id");
    let run = server.trace(&id).expect("a run").expect("it is stored");
    let metadata = run.metadata.map(|metadata| metadata.as_str().to_owned());
    assert!(metadata.as_ref().is_some_and(|metadata| metadata.contains("\"_resumable\":true")), "{metadata:?}");
}
