//! P18: one version of OpenTelemetry, named where one looks first, handed on, and of no concern to the crates below.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use integration_tests::wait::HANG;
use opentelemetry_retrace::opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_retrace::opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
use opentelemetry_retrace::{RetraceSpanProcessor, opentelemetry as theirs};
use retrace_local::Server;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn pain_18_the_version_that_fits_is_named_on_the_first_screen() {
    let manifest = read("Cargo.toml");
    let of = |name: &str| {
        let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        let version = line.split('"').nth(1).unwrap();
        version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned()
    };
    let version = of("opentelemetry");
    assert_eq!(of("opentelemetry_sdk"), version);
    let says = format!("`opentelemetry` and `opentelemetry_sdk` {version}");
    let docs = read("crates/opentelemetry-retrace/src/lib.rs");
    assert!(docs.lines().take(40).any(|line| line.contains(&says)), "the documentation begins without {says}");
}

#[test]
fn pain_18_what_is_below_knows_no_version_of_opentelemetry() {
    for name in ["retrace-protocol", "retrace-translate"] {
        let manifest = read(&format!("crates/{name}/Cargo.toml"));
        assert!(!manifest.lines().any(|line| line.starts_with("opentelemetry")), "{name} depends on it");
    }
}

/// Who takes both crates from here cannot have another version of them.
#[test]
fn pain_18_what_is_handed_on_is_enough() {
    let server = Server::start().unwrap();
    let builder = RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(server.url());
    let processor = builder.with_flush_timeout(HANG).build().unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let mut span = provider.tracer("t").start("chat");
    span.set_attribute(theirs::KeyValue::new("gen_ai.operation.name", "chat"));
    span.end();
    processor.force_flush().unwrap();
    assert_eq!(processor.stats().delivered, 1);
    let _: opentelemetry::KeyValue = theirs::KeyValue::new("it is", "the same type");
    provider.shutdown_with_timeout(HANG).unwrap();
}
