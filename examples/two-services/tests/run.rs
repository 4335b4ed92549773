//! The example, run as its reader runs it.

use std::process::Command;

#[test]
fn two_services_are_one_run() {
    let run = run_tree::run_example(env!("CARGO_BIN_EXE_example-two-services")).expect("the example starts");
    // It compares what the receiver has with what it should have, and says so by its exit status.
    let printed = String::from_utf8(run.stdout).expect("UTF-8");
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));
    let tree = printed.split_once("planner · completed").expect("the run is the planner's").1;
    for line in ["POST /ask", "ask_researcher", "POST /research", "researcher", "search_archive"] {
        assert!(tree.contains(line), "{line} is in the tree:\n{printed}");
    }
}

/// It compares the totals as well, which need no names of services.
#[test]
fn services_without_names_are_one_run_too() {
    let mut example = Command::new(env!("CARGO_BIN_EXE_example-two-services"));
    let run = example.env_clear().env("NAMELESS", "true").output().expect("the example starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
