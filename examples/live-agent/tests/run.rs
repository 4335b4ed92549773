//! The example, run as its reader runs it, only faster.

use std::process::Command;

#[test]
fn the_run_is_seen_growing_and_is_complete_after_the_receiver_was_away() {
    let mut example = Command::new(env!("CARGO_BIN_EXE_example-live-agent"));
    let run = example.arg("--fast").env_clear().output().expect("the example starts");
    // It compares what the receiver has with what it should have, and says so by its exit status.
    let printed = String::from_utf8(run.stdout).expect("UTF-8");
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));

    // What was seen, in this order.
    let mut rest = printed.as_str();
    for line in [
        "run trip-planner is running",
        "llm_call    chat gpt-4o-mini ended",
        "tool_call   search_trains is running",
        "-- the receiver has stopped",
        "-- the receiver is there again",
        "tool_call   search_trains ended",
        "tool_call   search_rooms ended",
        "tool_call   book_seats is running",
        "tool_call   book_seats ended",
        "run trip-planner is completed",
        "8 spans accepted, 8 delivered, 0 lost",
        "The receiver has all of the run: 11 steps, completed, nothing missing.",
    ] {
        rest = rest.split_once(line).unwrap_or_else(|| panic!("{line:?} comes next:\n{printed}")).1;
    }
}
