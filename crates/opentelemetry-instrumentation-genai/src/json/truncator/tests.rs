use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Paths as an API names them.
const UNREAD: &[UnreadPath] = &[&["data", "*", "embedding"], &["embeddings", "*"], &["context"], &["top_logprobs"]];

const WIDE: TruncationLimits = TruncationLimits { text: 1 << 20, document: 1 << 20, short: 0, unread: &[] };

fn documents<'a>(limits: TruncationLimits, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Value> {
    let mut truncator = Truncator::new(limits);
    let mut found = Vec::new();
    let mut keep = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        found.push(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")));
    };
    for chunk in chunks {
        truncator.push(chunk, &mut keep);
    }
    truncator.finish(&mut keep);
    found
}

fn read(limits: TruncationLimits, text: &str) -> Vec<Value> {
    let whole = documents(limits, [text.as_bytes()]);
    assert_eq!(documents(limits, text.as_bytes().chunks(1)), whole, "{text}");
    whole
}

#[test]
fn documents_alone_in_lines_and_in_lists() {
    let one = || json!({ "a": [1, { "b": "x" }] });
    for text in [r#"{"a":[1,{"b":"x"}]}"#, " \n[{\"a\": [1, {\"b\": \"x\"}]}\n]", "{\"a\":[1,{\"b\":\"x\"}]}\r\n"] {
        assert_eq!(read(WIDE, text), [one()]);
    }
    assert_eq!(read(WIDE, "{\"n\":1}\n{\"n\":2}\n\n{\"n\":3}").len(), 3);
    assert_eq!(read(WIDE, "[{\"n\":1}\n,\r\n{\"n\":2}]").len(), 2);
    assert!(read(WIDE, "[DONE]").is_empty() && read(WIDE, "").is_empty() && read(WIDE, "7 \"x\" true").is_empty());
}

#[test]
fn what_json_does_not_allow_is_mended() {
    let text = "{\"a\":NaN,\"b\":-Infinity,\"c\":1e999,\"d\":\"line\nbreak\",\"e\":\"\\ud800!\",\"f\":\"\\udc00\",\"g\":\"\\q\",\"h\":+1,\"i\":[1,],\"j\":\"\\ud83d\\ude00\"}";
    let expected = json!({ "a": null, "b": null, "c": null, "d": "line\nbreak", "e": "\u{fffd}!", "f": "\u{fffd}",
        "g": "\u{fffd}", "h": null, "i": [1], "j": "\u{1f600}" });
    assert_eq!(read(WIDE, text), [expected]);
}

#[test]
fn lines_that_are_no_json_cost_themselves_only() {
    assert_eq!(read(WIDE, "{\"n\" 1}\n{\"n\":2}\n{{{\n{\"n\":4}"), [json!({ "n": 2 }), json!({ "n": 4 })]);
}

#[test]
fn texts_are_cut_between_characters_and_counted() {
    let limits = TruncationLimits { text: 6, ..WIDE };
    assert_eq!(
        read(limits, r#"{"a":"123456","b":"1234567","c":"ééé€"}"#),
        [json!({ "a": "123456", "b": "123456…[1 bytes more]", "c": "ééé…[3 bytes more]" })]
    );
    assert_eq!(read(limits, r#"{"a":"12345\u00e9x"}"#), [json!({ "a": "12345…[2 bytes more]" })]);
    let mut truncator = Truncator::new(limits);
    truncator.push("{\"a\":\"1234567890\"}".as_bytes(), &mut |_| {});
    assert_eq!((truncator.cut(), bytes_cut("123456…[4 bytes more]")), (4, Some(("123456", 4))));
}

#[test]
fn what_nobody_reads_of_answers_is_counted() {
    let limits = TruncationLimits { unread: UNREAD, ..WIDE };
    let text = r#"{"data":[{"embedding":[0.1,2,3e-4,NaN]},{"embedding":"QUJD"}],"embeddings":[[1,2],[3,4]],"context":[1,{"a":2}],"top_logprobs":[{"a":1}],"note":[1]}"#;
    let expected = json!({ "data": [{ "embedding": ["…[4 more]"] }, { "embedding": "…[4 bytes more]" }], "embeddings": [["…[2 more]"], ["…[2 more]"]],
        "context": ["…[2 more]"], "top_logprobs": ["…[1 more]"], "note": [1] });
    assert_eq!(read(limits, text), [expected]);
    // The same names elsewhere, and other values there, mean nothing.
    let kept = json!({ "input": { "context": [1], "embedding": "QUJD", "data": [{ "embedding": [2] }] }, "embeddings": { "a": [1] }, "top_logprobs": 1,
        "context": { "b": [1] }, "data": { "embedding": [3] } });
    assert_eq!(read(limits, &kept.to_string()), [kept]);
    let mut truncator = Truncator::new(limits);
    truncator.push(br#"{"data":[{"embedding":"QUJD"}]}"#, &mut |_| {});
    assert_eq!(truncator.cut(), 0, "it is no content");
}

#[test]
fn what_begins_beyond_the_limit_is_left_out_and_the_rest_stays_whole() {
    let limits = TruncationLimits { document: 40, ..WIDE };
    let text = r#"{"a":["1234567890","1234567890","1234567890",{"b":"c"}],"d":1}"#;
    assert_eq!(read(limits, text), [json!({ "a": ["1234567890", "1234567890", "1234567890"] })]);
    let deep = "{\"a\":".repeat(5000) + "1" + &"}".repeat(5000);
    assert_eq!(read(WIDE, &deep).len(), 1);
    let key = format!("{{\"{}\":1,\"b\":2}}", "k".repeat(300));
    assert_eq!(read(WIDE, &key), [json!({ "b": 2 })]);
}

#[test]
fn what_breaks_off_is_closed() {
    let long = "x".repeat(WORTH_KEEPING);
    for (text, expected) in [
        (r#"{"a":1,"b":[2,3"#.to_owned(), json!({ "a": 1, "b": [2] })),
        (r#"{"a":{"b":"shor"#.to_owned(), json!({ "a": {} })),
        (format!(r#"{{"a":"{long}"#), json!({ "a": long })),
        (format!(r#"{{"a":"{long}\u00"#), json!({ "a": long })),
        (r#"{"a":1,"b"#.to_owned(), json!({ "a": 1 })),
        (r#"{"a":1,"b":"#.to_owned(), json!({ "a": 1 })),
        (r#"{"a":[tr"#.to_owned(), json!({ "a": [] })),
    ] {
        assert_eq!(read(WIDE, &text), [expected], "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
        "[a-z\u{e9}\u{1f600}\"\\\\\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\u{e9}]{0,5}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_comes_out_as_it_went_in(value in prop::collection::btree_map("[a-z]{1,3}", any_json(), 0..5), pretty in any::<bool>(), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let value = Value::Object(value.into_iter().collect());
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        prop_assert_eq!(documents(WIDE, cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]])), vec![value]);
    }

    #[test]
    fn anything_becomes_json_within_its_bounds(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\":,\\u0dD8 \n1tn"[..])], 0..300), text in 0_usize..40, document in 0_usize..100) {
        let limits = TruncationLimits { text, document, short: 0, unread: UNREAD };
        let whole = documents(limits, [&bytes[..]]);
        prop_assert_eq!(documents(limits, bytes.chunks(1)), whole);
    }
}
