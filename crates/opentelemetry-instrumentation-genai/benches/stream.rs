//! What watching a stream costs, against the same client unwatched.
//!
//! `cargo bench --package opentelemetry-instrumentation-genai --features tower --bench stream`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::alloc::System;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use opentelemetry_instrumentation_genai::tower::GenAiLayer;
use opentelemetry_instrumentation_genai::{Capture, Instrumentation};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer as _, Service, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOKENS: usize = 500;
const CALLS: u32 = 400;
const ROUNDS: usize = 7;

/// A provider's stream, already in memory: a token in each chunk, as OpenAI sends them.
struct Stream(VecDeque<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

fn chunks(tokens: usize) -> VecDeque<Bytes> {
    let chunk = |choices: serde_json::Value| {
        let chunk = json!({ "id": "chatcmpl-ASYMbACebDoWcuraMEWQhU48q4dAp", "object": "chat.completion.chunk", "created": 1_731_368_630,
            "model": "gpt-4o-mini-2024-07-18", "service_tier": "default", "system_fingerprint": "fp_9b78b61c52", "choices": choices, "usage": null });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let delta =
        |text: &str| json!([{ "index": 0, "delta": { "content": text }, "logprobs": null, "finish_reason": null }]);
    let mut chunks: VecDeque<Bytes> = (0..tokens).map(|_| chunk(delta(" token"))).collect();
    chunks.push_back(chunk(json!([{ "index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop" }])));
    chunks.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
    chunks
}

fn request() -> Request<Full<Bytes>> {
    let body = json!({ "model": "gpt-4o-mini", "stream": true, "messages": [{ "role": "user", "content": "Tell me a long story." }] });
    Request::post("https://api.openai.com/v1/chat/completions").body(Full::from(body.to_string())).unwrap()
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// One call, read to its end.
fn call<S, B>(service: &mut S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let Ok(response) = wait(service.call(request()));
    let mut body = pin!(response.into_body());
    while wait(poll_fn(|context| body.as_mut().poll_frame(context))).is_some() {}
}

/// Time and bytes allocated of one call: the best of several rounds, and what the last one allocated.
fn measure(mut one: impl FnMut()) -> (Duration, usize) {
    let mut best = Duration::MAX;
    let mut allocated = 0;
    for _ in 0..ROUNDS {
        let region = Region::new(ALLOCATOR);
        let began = Instant::now();
        (0..CALLS).for_each(|_| one());
        best = best.min(began.elapsed() / CALLS);
        allocated = region.change().bytes_allocated / CALLS as usize;
    }
    (best, allocated)
}

/// A call of this many tokens: unwatched, or watched by this.
fn cost(tokens: usize, watched: Option<&Instrumentation>) -> (Duration, usize) {
    let stream = chunks(tokens);
    let respond = move || {
        let response = Response::new(Stream(stream.clone()));
        async move { Ok::<_, Infallible>(response) }
    };
    match watched {
        None => {
            let mut service = service_fn(move |_: Request<Full<Bytes>>| respond());
            measure(|| call(&mut service))
        }
        Some(genai) => {
            let mut service = GenAiLayer::new(genai.clone()).layer(service_fn(move |_| respond()));
            measure(|| call(&mut service))
        }
    }
}

fn main() {
    let provider = |sampler| SdkTracerProvider::builder().with_sampler(sampler).with_simple_exporter(Nowhere).build();
    let (on, off) = (provider(Sampler::AlwaysOn), provider(Sampler::AlwaysOff));
    let genai =
        |provider, capture| Instrumentation::builder().with_tracer_provider(provider).with_capture(capture).build();
    let watched = [
        ("not sampled", genai(&off, Capture::NoContent)),
        ("sampled, no content", genai(&on, Capture::NoContent)),
        ("sampled, content", genai(&on, Capture::SpanOnly)),
    ];
    println!(
        "added to a client that has its answer in memory; best of {ROUNDS} rounds of {CALLS} calls, {TOKENS} tokens each\n"
    );
    println!("{:<24}{:>14}{:>14}{:>18}{:>18}", "", "ns per call", "ns per chunk", "bytes per call", "bytes per token");
    let plain = (cost(0, None), cost(TOKENS, None));
    for (name, genai) in &watched {
        let seen = (cost(0, Some(genai)), cost(TOKENS, Some(genai)));
        let nanoseconds = |seen: Duration, plain: Duration| seen.as_secs_f64() * 1e9 - plain.as_secs_f64() * 1e9;
        let bytes = |seen: usize, plain: usize| seen as f64 - plain as f64;
        let per_call = (nanoseconds(seen.0.0, plain.0.0), bytes(seen.0.1, plain.0.1));
        let tokens = TOKENS as f64;
        let per_token = (
            (nanoseconds(seen.1.0, plain.1.0) - per_call.0) / tokens,
            (bytes(seen.1.1, plain.1.1) - per_call.1) / tokens,
        );
        println!("{name:<24}{:>14.0}{:>14.1}{:>18.0}{:>18.1}", per_call.0, per_token.0, per_call.1, per_token.1);
    }
}
