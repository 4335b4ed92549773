//! The example, run as its reader runs it.

#[test]
fn the_stream_is_read_back_as_one_call() {
    let run = run_tree::run_example(env!("CARGO_BIN_EXE_example-openai-stream")).expect("the example starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = run_tree::timeless(&String::from_utf8(run.stdout).expect("UTF-8"));
    let (said, recorded) = printed.split_once("What the receiver has:").expect("there is a tree");
    assert!(said.contains("1 spans accepted, 1 delivered, 0 lost"), "{said}");
    assert!(said.contains("the sun takes only the water back."), "{said}");
    let expected = r"
chat gpt-4o-mini · completed · TIME · 32 tokens · $0.0000138
trace ID
└─ llm_call chat gpt-4o-mini TIME gpt-4o-mini-2024-07-18 12 → 20 tokens $0.0000138
in user: Why is the sea salt?
out Rivers carry salt from the rocks into the sea, and the sun takes only the water back.";
    assert_eq!(recorded.trim(), expected.trim());
}
