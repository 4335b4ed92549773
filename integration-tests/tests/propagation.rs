//! What a `Context` carries beside its span survives the ways in which services make their spans.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_retrace::{RemoteRunContext, RetracePropagator};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

#[test]
fn through_spans_of_tracing() {
    let provider = SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let propagator = RetracePropagator::default();
    for flags in ["02", "03"] {
        let incoming = HashMap::from([
            ("traceparent".to_owned(), format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}")),
            ("tracestate".to_owned(), "a@@b=1,retrace=1;s:session-7,c=3".to_owned()),
        ]);
        let server = tracing::info_span!("server");
        server.set_parent(propagator.extract_with_context(&Context::new(), &incoming)).unwrap();
        let client = server.in_scope(|| tracing::info_span!("client"));
        let cx = client.context();
        let mut outgoing = HashMap::new();
        propagator.inject_context(&cx, &mut outgoing);
        let (traceparent, was) = (&outgoing["traceparent"], &incoming["traceparent"]);
        assert!(traceparent.ends_with(flags) && traceparent != was, "{traceparent}");
        assert_eq!(traceparent.split('-').nth(1), was.split('-').nth(1));
        assert_eq!(outgoing["tracestate"], incoming["tracestate"]);
        assert_eq!(RemoteRunContext::received(&cx).and_then(RemoteRunContext::session_id), Some("session-7"));
    }
}
