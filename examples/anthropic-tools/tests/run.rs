//! The example, run as its reader runs it.

#[test]
fn the_run_of_plain_requests_is_read_back_whole() {
    let run = run_tree::run_example(env!("CARGO_BIN_EXE_example-anthropic-tools")).expect("the example starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = run_tree::timeless(&String::from_utf8(run.stdout).expect("UTF-8"));
    let (said, recorded) = printed.split_once("What the receiver has:").expect("there is a tree");
    assert!(said.contains("3 spans accepted, 3 delivered, 0 lost"), "{said}");
    let expected = r#"
lifeguard · completed · TIME · 898 tokens · $0.00116
trace ID
in Can I swim in Oslo today?
out Yes: the water has 19 °C. Stay where you can stand.
└─ reasoning lifeguard TIME
├─ llm_call chat claude-sonnet-4-5 TIME claude-sonnet-4-5-20250929 422 → 34 tokens $0.000696
│ │ in (2 messages) user: Can I swim in Oslo today?
│ │ out I look it up.
│ └─ tool_call water_temperature TIME claude-sonnet-4-5-20250929
│ │ in {"city":"Oslo"}
│ └─ tool_result water_temperature TIME
│ out Oslo: 19 °C
└─ llm_call chat claude-sonnet-4-5 TIME claude-sonnet-4-5-20250929 424 → 18 tokens $0.000462
in (4 messages) tool: Oslo: 19 °C
out Yes: the water has 19 °C. Stay where you can stand."#;
    assert_eq!(recorded.trim(), expected.trim());
}
