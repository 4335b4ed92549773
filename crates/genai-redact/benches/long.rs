//! Cost of redacting long texts and documents, by length: it is the same for each byte.
//!
//! `cargo bench --package genai-redact --bench long`

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use genai_redact::Place;

const ROUNDS: u32 = 5;

/// A name, and something to be measured that returns true if it finds a credential.
type Work<'a> = (&'a str, Box<dyn Fn() -> bool + 'a>);

/// A text of about this length out of one piece.
fn of(piece: &str, length: usize) -> String {
    piece.repeat(length / piece.len() + 1)
}

fn best(work: impl Fn() -> bool) -> (f64, bool) {
    let round = |_| {
        let began = Instant::now();
        let found = black_box(work());
        (began.elapsed().as_secs_f64(), found)
    };
    (0..ROUNDS).map(round).fold((f64::MAX, false), |best, one| (best.0.min(one.0), best.1 | one.1))
}

fn main() {
    println!("{:<34} {:>10} {:>10} {:>10}", "", "bytes", "ms", "ns/byte");
    for length in [100_000, 1_000_000, 10_000_000] {
        let prose = of("The tide at Bergen is high at 04:12, and again at 16:37. ", length);
        let one_word = of("x", length);
        let json = of(r#"{"role":"user","content":"What is the tide?","n":1},"#, length);
        let document =
            serde_json::json!({ "messages": [{ "role": "user", "content": prose }], "metadata": { "note": one_word } });
        let document = document.to_string();
        let secret = serde_json::json!({ "metadata": prose, "api_key": "x" }).to_string();
        let separators = of("token=:'", length);
        let works: [Work<'_>; 7] = [
            ("an error of prose", Box::new(|| Place::Error.text(&prose).is_some())),
            ("an error of one word", Box::new(|| Place::Error.text(&one_word).is_some())),
            ("an error of JSON that is cut", Box::new(|| Place::Error.text(&json).is_some())),
            ("an error of separators", Box::new(|| Place::Error.text(&separators).is_some())),
            ("a label of prose", Box::new(|| Place::Label.text(&prose).is_some())),
            ("a document", Box::new(|| genai_redact::json(&document, Place::Body).is_some())),
            ("a document with a credential", Box::new(|| genai_redact::json(&secret, Place::Body).is_some())),
        ];
        for (name, work) in &works {
            let (seconds, found) = best(work);
            #[allow(clippy::cast_precision_loss)] // for a person to read
            let each = seconds * 1e9 / length as f64;
            let mark = if found { " (found)" } else { "" };
            println!("{:<34} {length:>10} {:>10.2} {each:>10.2}", format!("{name}{mark}"), seconds * 1e3);
        }
    }
}
