//! The example, run as its reader runs it.

#[test]
fn the_run_of_a_rig_agent_is_read_back_whole() {
    let run = run_tree::run_example(env!("CARGO_BIN_EXE_example-rig-agent")).expect("the example starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = run_tree::timeless(&String::from_utf8(run.stdout).expect("UTF-8"));
    let (said, recorded) = printed.split_once("What the receiver has:").expect("there is a tree");
    assert!(said.contains("5 spans accepted, 5 delivered, 0 lost"), "{said}");

    // Two calls of the model with two tools between them, each with what it was given and returned; the tokens are the
    // model's own, and the sums are theirs.
    let expected = r#"
trip-planner · completed · TIME · 774 tokens · $0.00015
trace ID
└─ reasoning trip-planner TIME
│ in (2 messages) user: I must be in Bergen by six tomorrow. Train or plane?
│ out Take the 08:25 train: it arrives at 15:10, and fog may keep the plane on the ground until noon.
├─ llm_call chat TIME gpt-4o-mini-2024-07-18 287 → 44 tokens $0.0000694
│ in (2 messages) user: I must be in Bergen by six tomorrow. Train or plane?
│ out [tool calls] timetable({"from":"Oslo","to":"Bergen"}); get_weather({"city":"Bergen"})
├─ tool_call timetable TIME
│ │ in {"from":"Oslo","to":"Bergen"}
│ │ out [{"by":"train","leaves":"08:25","arrives":"15:10"},{"by":"plane","leaves":"14:00","arrives":"14:…
│ └─ tool_result timetable TIME
│ out [{"by":"train","leaves":"08:25","arrives":"15:10"},{"by":"plane","leaves":"14:00","arrives":"14:…
├─ tool_call get_weather TIME
│ │ in {"city":"Bergen"}
│ │ out Bergen: fog until noon, 4 °C
│ └─ tool_result get_weather TIME
│ out Bergen: fog until noon, 4 °C
└─ llm_call chat TIME gpt-4o-mini-2024-07-18 412 → 31 tokens $0.0000804
in (5 messages) tool: Bergen: fog until noon, 4 °C
out Take the 08:25 train: it arrives at 15:10, and fog may keep the plane on the ground until noon."#;
    assert_eq!(recorded.trim(), expected.trim());
}
