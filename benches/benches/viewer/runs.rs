//! Runs that differ in what they are found by.

use std::fmt::Write as _;

/// Spans of a run.
pub(crate) const SPANS: u64 = 20;
/// One run in so many has a word that no other has.
const RARE: u64 = 500;
/// Microseconds from one run to the next, and when the first began.
const APART: u64 = 25_000_000;
const BEGAN: u64 = 1_760_000_000_000_000;
/// Words that texts are made of.
const WORDS: [&str; 24] = [
    "train", "beach", "hotel", "ticket", "harbour", "bridge", "garden", "museum", "market", "river", "mountain",
    "island", "castle", "station", "window", "sunday", "morning", "evening", "coffee", "dinner", "umbrella", "jacket",
    "letter", "map",
];
const CITIES: [&str; 6] = ["lisbon", "porto", "faro", "braga", "evora", "coimbra"];

/// The body of an upload.
pub(crate) fn run(at: u64) -> String {
    let began = retrace_protocol::Timestamp::from_unix_micros(BEGAN + at * APART);
    let began = began.as_text();
    let (failed, model, user) = (at.is_multiple_of(11), at % 20, at % 20);
    let mut body = format!(
        r#"{{"id":"run-{at}","name":"travel assistant","status":"{}","started_at":"{began}","total_duration_ms":{},"total_tokens":{},"total_cost":{},"session_id":"session-{}","metadata":{{"environment":"staging","user_id":"user-{user}","tags":["nightly"]}},"input":{{"question":"How is the weather in {}? {}"}},"output":"{}{}","spans":["#,
        if failed { "failed" } else { "completed" },
        500 + at * 37 % 9_000,
        100 + at * 13 % 5_000,
        f64::from(u32::try_from(at * 7 % 1_000).unwrap()) / 20_000.0,
        at / 5,
        CITIES[usize::try_from(at % 6).unwrap()],
        text(at, 12),
        text(at + 1, 30),
        if at.is_multiple_of(RARE) { format!(" needle{}", at / RARE % 20) } else { String::new() },
    );
    for span in 0..SPANS {
        let comma = if span == 0 { "" } else { "," };
        let parent = if span == 0 { "null".to_owned() } else { format!("\"s{}\"", (span - 1) / 4) };
        let seed = at * SPANS + span;
        let _ = if span % 4 == 1 {
            write!(
                body,
                r#"{comma}{{"id":"s{span}","trace_id":"run-{at}","parent_id":{parent},"span_type":"tool_call","name":"tool-{}","started_at":"{began}","input":{{"city":"{}"}},"output":"{}","duration_ms":{}{}}}"#,
                seed % 30,
                CITIES[usize::try_from(seed % 6).unwrap()],
                text(seed, 10),
                seed % 300,
                if failed && span == 5 { r#","error":"TimeoutError: no answer""# } else { "" },
            )
        } else {
            write!(
                body,
                r#"{comma}{{"id":"s{span}","trace_id":"run-{at}","parent_id":{parent},"span_type":"llm_call","name":"chat","model":"model-{model}","started_at":"{began}","input":{{"messages":[{{"role":"user","content":"{}"}}]}},"output":"{}","input_tokens":{},"output_tokens":40,"cost":0.0001,"duration_ms":900,"agent_id":"a{}","agent_role":"planner"}}"#,
                text(seed, 24),
                text(seed + 3, 24),
                200 + seed % 400,
                span % 3,
            )
        };
    }
    body.push_str("]}");
    body
}

/// So many words, the same for the same seed.
fn text(seed: u64, words: usize) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::new();
    for _ in 0..words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(WORDS[usize::try_from(state % 24).unwrap()]);
    }
    text
}
