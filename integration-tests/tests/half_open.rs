//! Connections that swallow everything and say nothing, in real time: they are found out, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::Ordering;
use std::thread;

use integration_tests::faulty::{Acks, FaultyProxy, Receiver, Schedule, StreamFault};
use integration_tests::wait::{HANG, SPENT, settled};
use integration_tests::workload::{self, Shape, Stored};
use opentelemetry_retrace::{RetraceSpanProcessor, Transport};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};

fn found_out(fault: StreamFault, transport: Transport) {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(dir.path().join("runs.db"));
    let proxy = FaultyProxy::start(receiver.addr(), Schedule::of([fault], []));
    let processor = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(proxy.url())
        .with_transport(transport)
        .with_flush_timeout(SPENT)
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let mut random = fastrand::Rng::with_seed(3);
    let shape = Shape { stragglers: false, spans: (30, 40) };
    let made: Vec<_> = (0..10).map(|_| workload::make(&provider, &mut random, shape, || {})).collect();
    assert!(processor.force_flush().is_err(), "nobody confirms anything");
    assert!(processor.stats().pending > 0);
    // After fifteen seconds of silence the receiver is pinged, and fifteen seconds later the connection is given up.
    settled(|| processor.stats());
    provider.shutdown_with_timeout(HANG).unwrap();
    let stats = processor.stats();
    assert_eq!((stats.lost.total(), stats.delivered), (0, stats.accepted));
    assert_eq!(proxy.counts().streams.load(Ordering::Relaxed), 2);
    assert_eq!(Stored::new(receiver.traces()).missing(&made), Ok(0));
}

#[test]
fn a_connection_that_says_nothing_is_found_out() {
    thread::scope(|scope| {
        for (fault, transport) in [
            (StreamFault::HalfOpen { after: 20 }, Transport::Ws),
            (StreamFault::HalfOpen { after: 200 }, Transport::Auto),
            // It speaks, and confirms nothing.
            (StreamFault::Acks { how: Acks::DropAll, cut: usize::MAX }, Transport::Ws),
        ] {
            scope.spawn(move || found_out(fault, transport));
        }
    });
}
