//! Cost of interceptors where there is none: `intercept` beside `start` and `altered`, for a model call and for another
//! request.
//!
//! `cargo bench -p opentelemetry-instrumentation-genai --bench interceptor`

// A bench prints, and ends on what it does not expect.
#![allow(missing_docs, clippy::indexing_slicing, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use http::HeaderMap;
use opentelemetry_instrumentation_genai::{Instrumentation, Request};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

const BLOCKS: usize = 21;
const ROUNDS: usize = 500;
const CALLS: u32 = 100;

/// Nanoseconds of one call, of a round of them.
fn nanoseconds(call: &mut dyn FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    began.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

/// The fastest rounds of two ways, those that nothing else on the machine has disturbed, of several blocks; and the median
/// of the blocks' differences.
fn compare(name: &str, mut without: impl FnMut(), mut with: impl FnMut()) {
    let mut blocks: Vec<(f64, f64)> = Vec::with_capacity(BLOCKS);
    for block in 0..BLOCKS {
        let (mut start, mut intercept) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            if block % 2 == 0 {
                start = start.min(nanoseconds(&mut without));
            }
            intercept = intercept.min(nanoseconds(&mut with));
            if block % 2 == 1 {
                start = start.min(nanoseconds(&mut without));
            }
        }
        blocks.push((start, intercept));
    }
    blocks.sort_by(|(a, b), (c, d)| (b - a).total_cmp(&(d - c)));
    let (start, intercept) = blocks[BLOCKS / 2];
    let difference = |(start, intercept): (f64, f64)| intercept - start;
    println!(
        "{name}: start {start:.1} ns, intercept {intercept:.1} ns, difference {:.1} ns ({:.1} to {:.1} in {BLOCKS} blocks)",
        intercept - start,
        difference(blocks[0]),
        difference(blocks[BLOCKS - 1])
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
            || {
                let call = genai.start(black_box(&request));
                black_box(&call);
            },
            || {
                let intercepted = genai.intercept(black_box(&request), black_box(&headers));
                black_box(&intercepted);
            },
        );
    }
}
