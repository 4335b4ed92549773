//! The example, run as its reader runs it.

use std::process::Command;

#[test]
fn both_runs_are_read_back() {
    let run =
        Command::new(env!("CARGO_BIN_EXE_example-context-manager")).env_clear().output().expect("the example starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = run_tree::timeless(&String::from_utf8(run.stdout).expect("UTF-8"));
    let expected = r#"
At 14:20.

Read back from the receiver:

tide-pipeline · completed · TIME · 36 tokens · $0.00000765
trace ID · session harbour-7
└─ reasoning tide-pipeline TIME
│ in When is high water in Bergen?
│ out At 14:20.
├─ reasoning plan TIME
│ │ in When is high water in Bergen?
│ │ out the table is enough
│ └─ tool_call tide_table TIME
│ in {"port":"Bergen"}
│ out {"high_water":"14:20"}
├─ tool_result tide_table TIME
│ out {"high_water":"14:20"}
├─ fork_point after retrieval TIME
├─ llm_call chat gpt-4o-mini TIME gpt-4o-mini 31 → 5 tokens $0.00000765
│ in When is high water in Bergen?
│ out At 14:20.
├─ error low confidence TIME
│ out one source only
└─ action send_reply TIME
in {"to":"harbour-7"}
metadata customer: {"id":7,"plan":"free"}
metadata status: "needs_review"
metadata tags: ["beta","short"]
metadata version: "1.2.0"

tide-pipeline · failed · TIME
trace ID · session harbour-7
└─ reasoning tide-pipeline TIME
│ in And in Tromsø?
│ error no tide table
└─ tool_call tide_table TIME
in {"port":"Tromsø"}
error TimeoutError: no answer from the tide table"#;
    assert_eq!(printed.trim(), expected.trim());
}
