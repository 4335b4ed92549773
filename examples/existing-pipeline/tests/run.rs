//! The example, run as its reader runs it.

#[test]
fn both_backends_get_what_they_should() {
    let run = run_tree::run_example(env!("CARGO_BIN_EXE_example-existing-pipeline")).expect("the example starts");
    // It compares what the backends got with what they should, and says so by its exit status.
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = run_tree::timeless(&String::from_utf8(run.stdout).expect("UTF-8"));

    let (otlp, retrace) = printed.split_once("Retrace has 1 run:").expect("there is a run");
    assert!(otlp.contains("The OTLP backend has all 10 spans:"), "{otlp}");
    for name in ["GET /health", "POST /chat", "SELECT orders", "chat gpt-4o-mini", "invoke_agent support"] {
        assert!(otlp.lines().any(|line| line == name), "{name} in {otlp}");
    }

    // The agent names the run, and the request is its root; its database queries and the request for the health are not here.
    let expected = r#"
support · completed · TIME · 253 tokens · $0.000051
trace ID · session conversation-7
in Where is my order A-1?
out It is on its way: DHL has it.
└─ action POST /chat TIME
└─ reasoning support TIME
├─ llm_call chat gpt-4o-mini TIME gpt-4o-mini 93 → 17 tokens $0.0000242
│ in user: Where is my order A-1?
│ out [tool calls] find_order({"order":"A-1"})
├─ tool_call find_order TIME
│ │ in {"order":"A-1"}
│ │ out {"carrier":"DHL","order":"A-1","status":"shipped"}
│ └─ tool_result find_order TIME
│ out {"carrier":"DHL","order":"A-1","status":"shipped"}
└─ llm_call chat gpt-4o-mini TIME gpt-4o-mini 131 → 12 tokens $0.0000268
in (3 messages) tool: {"carrier":"DHL","order":"A-1","status":"shipped"}
out It is on its way: DHL has it."#;
    assert_eq!(retrace.trim(), expected.trim());
}
