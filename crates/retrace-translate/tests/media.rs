//! P29: an inline medium of 20 MB becomes its type, size and hash, without a second copy of it.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use retrace_translate::Value;
use serde_json::{Value as Json, json as value};
use support::*;

const SIZE: usize = 20 << 20;
/// What the translation may take beside the span, in kB.
const PEAK_KB: u64 = 4 << 10;

/// A line of the process's memory report, in kB.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|each| each.strip_prefix(line)).unwrap();
    found.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// The message parts that a call becomes, and by how much the process grew meanwhile.
fn content_of(call: TestSpan) -> (Json, u64) {
    let spans = [call];
    // From here on the peak is counted anew.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let (_, spans) = run_of(&spans);
    let grown = memory("VmHWM:").saturating_sub(before);
    (json(spans[0].input.as_ref())["messages"][0]["content"].take(), grown)
}

#[test]
fn pain_29_a_large_medium_becomes_its_hash_in_place() {
    let data = "QUJD".repeat(SIZE / 4);
    // What is made once, such as the table of prices, is no cost of this span.
    run_of(&[chat(1, 0).usage(1, 1)]);
    let cases = [
        (
            "gen_ai.input.messages",
            format!(r#"[{{"role":"user","parts":[{{"type":"blob","mime_type":"image/png","content":"{data}"}}]}}]"#),
        ),
        (
            "gen_ai.prompt",
            format!(
                r#"[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]"#
            ),
        ),
        (
            "ai.prompt.messages",
            format!(r#"[{{"role":"user","content":[{{"type":"image","mediaType":"image/png","image":"{data}"}}]}}]"#),
        ),
    ];
    drop(data);
    for (key, messages) in cases {
        let (content, grown) = content_of(chat(1, 0).with_value(key, Value::Str(messages.into())));
        let medium = &content[0];
        assert_eq!(
            (&medium["type"], &medium["mime_type"], &medium["size"]),
            (&value!("image"), &value!("image/png"), &value!(SIZE / 4 * 3)),
            "{key}"
        );
        assert_eq!(medium["sha256"].as_str().unwrap().len(), 64, "{key}");
        assert!(grown <= PEAK_KB, "{key}: {grown} kB");
    }

    // A value that is flattened into keys is put together first: once.
    let url = format!("data:image/png;base64,{}", "QUJD".repeat(SIZE / 4));
    let image = "llm.input_messages.0.message.contents.0.message_content.image.image.url";
    let (content, grown) = content_of(chat(1, 0).with_value(image, Value::Str(url.into())));
    assert_eq!(content[0]["size"], value!(SIZE / 4 * 3));
    assert!(grown <= 3 * (SIZE as u64 >> 10), "{image}: {grown} kB");
}
