//! Without an interceptor nothing is paid for one. It runs without the test harness, whose thread allocates as well.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::System;

use http::HeaderMap;
use opentelemetry_instrumentation_genai::{Instrumentation, Request};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of a call that is begun and ended in this way.
fn allocations(begin: impl Fn()) -> (usize, usize) {
    begin(); // what is set up once
    let region = Region::new(ALLOCATOR);
    for _ in 0..100 {
        begin();
    }
    let change = region.change();
    (change.allocations, change.bytes_allocated)
}

fn main() {
    let unsampled = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let genai = Instrumentation::builder().with_tracer_provider(&unsampled).build();
    let headers = HeaderMap::new();
    let body: &[u8] = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
    let call = Request { method: "POST", url: "https://api.openai.com/v1/chat/completions", body: Some(body) };
    let other = Request { method: "POST", url: "https://example.com/upload", body: Some(body) };

    let started = allocations(|| drop(genai.start(&call).unwrap()));
    let intercepted = allocations(|| drop(genai.intercept(&call, &headers).unwrap()));
    assert!(started.0 > 0, "allocations are counted");
    assert_eq!(intercepted, started);
    assert_eq!(allocations(|| assert!(genai.intercept(&other, &headers).is_none())), (0, 0));
}
