//! Switched off. Alone in its process, so that threads can be counted.

#![allow(clippy::unwrap_used, clippy::panic)]

use integration_tests::agent;
use integration_tests::wait::HANG;
use opentelemetry_retrace::{RetraceExporter, Stats};
use opentelemetry_sdk::trace::SdkTracerProvider;

/// P37: the off switch needs no key, and starts no thread.
#[test]
fn pain_37_switched_off_it_needs_nothing_and_starts_nothing() {
    let exporter = RetraceExporter::builder().with_enabled(false).build().unwrap();
    assert!(!exporter.is_enabled());
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    agent::run(&provider);
    provider.force_flush().unwrap();
    assert_eq!(workers(), 0);
    provider.shutdown_with_timeout(HANG).unwrap();
    assert_eq!(exporter.stats(), Stats::default());

    // That workers would be seen if there were any:
    let _on = RetraceExporter::builder().with_api_key("rt_x").with_base_url("http://127.0.0.1:9").build().unwrap();
    assert_eq!(workers(), usize::from(cfg!(target_os = "linux")));
}

/// Threads of ours, where the system tells.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "retrace-worker")
        })
        .count()
}
