//! The example, run as its reader runs it.

#[test]
fn a_run_is_recorded_replayed_and_forked() {
    let run = run_tree::run_example(env!("CARGO_BIN_EXE_example-fork-replay")).expect("the example starts");
    let printed = String::from_utf8(run.stdout).expect("UTF-8");
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));
    assert!(
        printed.ends_with(
            "\nrecorded: provider saw 3 requests\nreplayed: provider saw 0 requests\nforked: provider saw 2 requests\n"
        ),
        "{printed}"
    );
    assert_eq!(printed.matches("(the tool is executed)").count(), 1, "{printed}");
    for part in [
        "the same answer and the same 5 chunks: true",
        "same as recorded\n  4 of 4 entries answered, 0 live, 0 unused",
        "first divergence: llm_call `chat` in plan-trip differs from entry 0",
        "\"Train or plane to Oslo?\"",
        "answer: Take the plane: it is faster.\n  summary: By plane.",
        "live: llm_call `chat` in plan-trip (fork point, changed, 52 tokens",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}
