//! Our own traffic, under a subscriber that sees everything. Alone in its process, for the subscriber is global.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use integration_tests::scripted::{Act, ScriptedPeer};
use integration_tests::wait::{HANG, flush};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::{RetraceExporter, SpanSelection};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use tracing_subscriber::layer::SubscriberExt as _;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

const KEY: &str = "rt_canary_4f1c";
const CONTENT: &str = "canary-content-8d2e";

/// P20: ten spans are made with every span of every library enabled, and ten are exported. P19: neither the key nor
/// content is in any line that was logged meanwhile, whatever the receiver says.
#[test]
fn pain_20_exporting_makes_no_spans_and_pain_19_no_log_line_tells() {
    let refusal = Act::refuse(400, &format!("bad {KEY} in {CONTENT}"));
    let peer = ScriptedPeer::always([Act::status(503), refusal], Act::status(201));
    let signals = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&signals);
    let exporter = RetraceExporter::builder()
        .with_api_key(KEY)
        .with_base_url(peer.url())
        .with_span_selection(SpanSelection::All)
        .with_header("x-secret", CONTENT)
        .with_on_error(move |signal| heard.lock().unwrap().push(signal.message.clone()))
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("app")))
        .with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone()));
    tracing::subscriber::set_global_default(subscriber).unwrap();

    for round in 0..2 {
        for _ in 0..5 {
            tracing::trace_span!("work", "gen_ai.operation.name" = "chat", "gen_ai.response.id" = round).in_scope(
                || {
                    tracing::trace!("something happened");
                },
            );
            // Each span is its own run: only the first of a round meets the receiver's refusals.
            let _ = provider.force_flush();
        }
    }
    flush(&provider);
    exporter.shutdown_with_timeout(HANG).unwrap();

    let stats = exporter.stats();
    assert_eq!((stats.accepted, stats.set_aside, stats.pending), (10, 0, 0), "{stats:?}");
    let signals = signals.lock().unwrap().join("\n");
    assert!(signals.contains(&format!("bad … in {CONTENT}")), "the receiver's words are for the callback: {signals}");
    let log = log.text();
    assert!(log.contains("Retrace.Warning"), "our own warnings are heard: {log}");
    assert!(log.contains("something happened"));
    assert!(!log.contains(KEY) && !log.contains(CONTENT), "{log}");
    assert!(!log.contains("hyper"), "the worker is mute: {log}");
}
