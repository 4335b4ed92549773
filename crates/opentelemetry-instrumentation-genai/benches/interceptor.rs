//! What interceptors cost where there is none: `intercept` beside `start`, for a model call and for another request.
//!
//! `cargo bench -p opentelemetry-instrumentation-genai --bench interceptor`

// A bench prints, and ends on what it does not expect.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::hint::black_box;
use std::time::Instant;

use http::HeaderMap;
use opentelemetry_instrumentation_genai::{Instrumentation, Request};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

const ROUNDS: usize = 400;
const CALLS: u32 = 2_000;

/// Nanoseconds of one call, of a round of them.
fn nanoseconds(call: &mut dyn FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    began.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

/// The medians of two ways, and of their difference: their rounds alternate, so that what the machine does meets both.
fn compare(name: &str, mut without: impl FnMut(), mut with: impl FnMut()) {
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    let (mut ours, mut theirs, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (start, intercept) = (nanoseconds(&mut without), nanoseconds(&mut with));
        theirs.push(start);
        ours.push(intercept);
        more.push(intercept - start);
    }
    println!(
        "{name}: start {:.1} ns, intercept {:.1} ns, difference {:.1} ns",
        median(theirs),
        median(ours),
        median(more)
    );
}

fn main() {
    let unsampled = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let genai = Instrumentation::builder().with_tracer_provider(&unsampled).build();
    let headers = HeaderMap::new();
    let body: &[u8] = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    let call = Request { method: "POST", url: "https://api.openai.com/v1/chat/completions", body: Some(body) };
    let other = Request { method: "GET", url: "https://example.com/", body: None };
    for (name, request) in [("model call", call), ("other request", other)] {
        compare(
            name,
            || drop(black_box(genai.start(black_box(&request)))),
            || drop(black_box(genai.intercept(black_box(&request), black_box(&headers)))),
        );
    }
}
