//! A run that is not sampled is not recorded, with everything below it, and is not evaluated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use retrace::opentelemetry::trace::noop::NoopTracerProvider;
use retrace::opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _};
use retrace::opentelemetry::{Context, global};
use retrace::opentelemetry_sdk::error::OTelSdkResult;
use retrace::opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};
use retrace::{Failures, SpanType};
use serde::{Serialize, Serializer};

use crate::block_on;
use crate::support::{alone, record_with};

/// Counts how often it is serialized.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_unit()
    }
}

/// Counts the spans that begin.
#[derive(Clone, Debug, Default)]
struct Begun(Arc<AtomicUsize>);

impl SpanProcessor for Begun {
    fn on_start(&self, _: &mut Span, _: &Context) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn library_span() -> bool {
    let span = global::tracer("library").start("chat");
    let is_recording = span.is_recording();
    drop(span);
    is_recording
}

#[test]
fn an_unsampled_run_records_nothing_and_evaluates_nothing() {
    let (begun, counted) = (Begun::default(), Counted::default());
    let processor = begun.clone();
    let recording = record_with(|configuration| {
        configuration.with_sample_rate(0.0).with_failures(Failures::Off).with_span_processor(processor)
    });
    let value = retrace::run("pipeline").input(&counted).metadata("k", &counted).in_scope(|run| {
        run.output(&counted);
        run.step("step", SpanType::Action).input(&counted).start().output(&counted);
        retrace::step("step", SpanType::Action).input(&counted).in_scope(|_| ());
        retrace::run("inner").input(&counted).in_scope(|_| ());
        assert!(!library_span() && !run.is_recorded() && !retrace::current().is_recorded());
        let cx = Context::current();
        assert!(cx.span().span_context().is_valid(), "a call that leaves the process states the decision");
        assert!(!cx.span().span_context().is_sampled());
        block_on(async {
            retrace::spawn(async { assert!(!retrace::step("task", SpanType::Action).start().is_recorded()) })
                .await
                .unwrap();
        });
        7
    });
    assert_eq!((value, counted.0.load(Ordering::Relaxed), begun.0.load(Ordering::Relaxed)), (7, 0, 0));
    assert!(!Context::current().has_active_span());
    assert!(recording.runs().is_empty());
}

#[test]
fn with_a_key_the_key_decides_and_not_the_name() {
    // With this seed and rate `Agent` is kept and `agent` is not.
    let kept = |key: Option<&'static str>, name: &'static str| {
        let recording = record_with(move |configuration| {
            let configuration =
                configuration.with_sample_rate(0.5).with_sample_seed("seed").with_failures(Failures::Off);
            configuration.with_transport("http").with_sample_key(move |root| {
                assert!(!root.name.is_empty());
                key.map(str::to_owned)
            })
        });
        let is_recorded = retrace::run(name).in_scope(|run| run.is_recorded());
        assert_eq!(recording.runs().len(), usize::from(is_recorded));
        is_recorded
    };
    assert!(kept(None, "Agent") && !kept(None, "agent"), "without a key the name decides");
    assert!(kept(Some("Agent"), "agent") && !kept(Some("agent"), "Agent"));
}

#[test]
fn the_share_of_runs_is_the_rate_and_a_run_is_whole() {
    let recording = record_with(|configuration| {
        configuration.with_sample_rate(0.5).with_failures(Failures::Off).with_transport("http")
    });
    let mut sampled = 0;
    for _ in 0..400 {
        let run = retrace::run("pipeline").start();
        let is_recorded = run.is_recorded();
        sampled += usize::from(is_recorded);
        assert_eq!(run.step("step", SpanType::Action).start().is_recorded(), is_recorded);
        assert_eq!(Context::current().span().span_context().is_sampled(), is_recorded);
    }
    // Six standard deviations.
    assert!((140..=260).contains(&sampled), "{sampled}");
    let runs = recording.runs();
    assert_eq!(runs.len(), sampled);
    assert!(runs.iter().all(|run| crate::support::spans(run).len() == 2));
}

#[test]
fn a_sampler_of_the_application_decides_as_well() {
    let _alone = alone();
    let counted = Counted::default();
    let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    global::set_tracer_provider(provider.clone());
    retrace::run("pipeline").in_scope(|run| {
        run.output(&counted).metadata("k", &counted);
        assert!(!retrace::step("step", SpanType::Action).input(&counted).start().is_recorded());
    });
    assert_eq!(counted.0.load(Ordering::Relaxed), 0);
    provider.shutdown_with_timeout(crate::support::LIMIT).unwrap();
    global::set_tracer_provider(NoopTracerProvider::new());
}
