//! This project's sender, told the spans of agents as fast as it takes them.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::{RetraceSpanProcessor, Transport};
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::Cost;
use crate::agent;
use crate::frame::put;
use crate::other::{Other, cpu_seconds};
use crate::sink;

/// Spans that may be under way; the application waits while there are more, so that nothing is lost.
const AHEAD: u64 = 4_000;

#[allow(clippy::cast_precision_loss)]
pub(crate) fn spans(runs: u64) -> f64 {
    (runs * agent::spans(agent::STEPS)) as f64
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn events(runs: u64) -> f64 {
    (2 * runs * (agent::spans(agent::STEPS) + 1)) as f64
}

/// The frames that tell so many runs, as they stand on the wire.
pub(crate) fn frames(runs: u64) -> Vec<Vec<u8>> {
    let kept: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let keeping = Arc::clone(&kept);
    let url = sink::start(move |text| {
        let mut frame = Vec::new();
        put(&mut frame, text, true);
        keeping.lock().unwrap().push(frame);
    });
    let (processor, provider) = pipeline(&url);
    tell_runs(&processor, &provider, runs);
    provider.shutdown().unwrap();
    std::mem::take(&mut *kept.lock().unwrap())
}

/// Tells so many runs, and waits until the last event is confirmed.
pub(crate) fn tell(other: &mut Other, runs: u64) -> Cost {
    let (processor, provider) = pipeline(&other.url);
    tell_runs(&processor, &provider, 1);
    let (began, cpu, there) = (Instant::now(), cpu_seconds(), other.cpu_seconds());
    tell_runs(&processor, &provider, runs);
    let (wall_seconds, here) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let there = other.cpu_seconds() - there;
    provider.shutdown().unwrap();
    let stats = processor.stats();
    assert_eq!((stats.accepted, stats.lost.total()), (stats.delivered, 0), "{stats:?}");
    Cost { events: events(runs), wall_seconds, here, there }
}

/// Makes the same spans for nobody.
pub(crate) fn nobody(runs: u64) -> Cost {
    let provider = SdkTracerProvider::builder().build();
    let tracer = provider.tracer("bench");
    let (began, cpu) = (Instant::now(), cpu_seconds());
    (0..runs).for_each(|_| agent::run(&tracer, agent::STEPS, || {}));
    let (wall_seconds, here) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    Cost { events: events(runs), wall_seconds, here, there: 0.0 }
}

fn pipeline(url: &str) -> (RetraceSpanProcessor, SdkTracerProvider) {
    let processor = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(url)
        .with_transport(Transport::Ws)
        .with_flush_timeout(Duration::from_secs(60))
        .with_on_error(|signal| println!("{signal}"))
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    (processor, provider)
}

fn tell_runs(processor: &RetraceSpanProcessor, provider: &SdkTracerProvider, runs: u64) {
    let tracer = provider.tracer("bench");
    for _ in 0..runs {
        agent::run(&tracer, agent::STEPS, || {
            while processor.stats().pending > AHEAD {
                thread::sleep(Duration::from_micros(200));
            }
        });
    }
    provider.force_flush().unwrap();
}
