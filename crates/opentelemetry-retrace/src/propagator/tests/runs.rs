//! Announcements of recorded runs.

use proptest::prelude::*;

use super::*;
use crate::trace_context::run::MAX_ENTRY;

fn full() -> RemoteRunContext {
    RemoteRunContext::new()
        .with_span_id(SpanId::from(0xf0_67aa_0ba9_02b7))
        .with_session_id("session-7")
        .with_agent_id("planner")
}

const FULL: &str = "retrace=1;p:00f067aa0ba902b7;s:session-7;a:planner";

fn telling(run: RemoteRunContext) -> RetracePropagator {
    RetracePropagator::builder().with_runs(move |_| Some(run.clone())).build().unwrap()
}

#[test]
fn the_next_service_learns_of_the_run() {
    let cx = below(&Context::new(), Sampler::AlwaysOn);
    let (traceparent, state) = inject(&telling(full()), &cx);
    assert_eq!(state.as_deref(), Some(FULL));

    let next = RetracePropagator::default();
    let cx = extract(&next, &[("traceparent", &traceparent.unwrap()), ("tracestate", FULL)]);
    assert_eq!(RemoteRunContext::received(&cx), Some(&full()));
    let span = below(&cx, parent_based());
    assert_eq!(RemoteRunContext::received(&span), Some(&full()));
    assert_eq!(RemoteRunContext::in_state(span.span().span_context().trace_state()), Some(full()));
    assert_eq!(inject(&next, &span).1.as_deref(), Some(FULL), "and it hands it on");
}

#[test]
fn our_entry_is_the_first_and_the_only_one_of_ours() {
    let propagator = telling(RemoteRunContext::new().with_session_id("new"));
    let state = "a=1,retrace=1;s:old,b=2,retrace=1;s:older";
    let cx = below(&extract(&propagator, &[("traceparent", &parent(1)), ("tracestate", state)]), parent_based());
    assert_eq!(inject(&propagator, &cx).1.as_deref(), Some("retrace=1;s:new,a=1,b=2"));
}

#[test]
fn nothing_is_said_of_a_trace_that_is_not_recorded() {
    let injected = |propagator: &RetracePropagator, cx: &Context| inject(propagator, cx).1;
    let sampled = below(&Context::new(), Sampler::AlwaysOn);
    assert_eq!(injected(&RetracePropagator::default(), &sampled), None);
    let none = RetracePropagator::builder().with_runs(|_| None).build().unwrap();
    assert_eq!(injected(&none, &sampled), None);
    assert_eq!(injected(&telling(full()), &below(&Context::new(), Sampler::AlwaysOff)), None);
    let plain = RetracePropagator::builder().with_runs(|_| Some(full())).with_recorded_runs(false).build().unwrap();
    assert_eq!(injected(&plain, &sampled), None);
    assert_eq!(injected(&plain, &full().announce(&sampled)), None);
}

#[test]
fn a_plain_propagator_treats_our_entry_like_any_other() {
    let plain = RetracePropagator::builder().with_recorded_runs(false).build().unwrap();
    let state = format!("a=1,{FULL}");
    let cx = extract(&plain, &[("traceparent", &parent(1)), ("tracestate", &state)]);
    assert_eq!(RemoteRunContext::received(&cx), None);
    assert_eq!(inject(&plain, &below(&cx, parent_based())).1, Some(state));
}

#[test]
fn an_announced_run_is_told_for_its_trace_only_and_after_what_the_propagator_knows() {
    let cx = full().announce(&below(&Context::new(), Sampler::AlwaysOn));
    let child = below(&cx, parent_based());
    assert_eq!(inject(&RetracePropagator::default(), &child).1.as_deref(), Some(FULL));
    assert_eq!(inject(&telling(RemoteRunContext::new()), &child).1.as_deref(), Some("retrace=1"));
    let provider = SdkTracerProvider::builder().build();
    let other = cx.with_span(provider.tracer("test").start_with_context("root", &Context::new()));
    assert_eq!(inject(&RetracePropagator::default(), &other).1, None);
}

#[test]
fn a_source_that_panics_says_nothing() {
    let propagator = RetracePropagator::builder().with_runs(|_| panic!("on purpose")).build().unwrap();
    let (traceparent, state) = inject(&propagator, &below(&Context::new(), Sampler::AlwaysOn));
    assert!(traceparent.is_some() && state.is_none());
}

#[test]
fn ids_that_do_not_fit_are_left_out() {
    let entry = |run: &RemoteRunContext| format!("retrace={}", run.to_value());
    let room = MAX_ENTRY - "retrace=1;s:".len();
    let exact = RemoteRunContext::new().with_session_id("s".repeat(room));
    assert_eq!(entry(&exact).len(), MAX_ENTRY);
    assert_eq!(entry(&exact.clone().with_agent_id("a")), entry(&exact));
    let long = RemoteRunContext::new().with_session_id("s".repeat(room + 1));
    assert_eq!(entry(&long.clone().with_agent_id("a")), "retrace=1;a:a");
    assert_eq!(entry(&RemoteRunContext::new().with_session_id("é".repeat(20))), "retrace=1", "six characters each");
}

#[test]
fn ids_that_are_none_are_left_out() {
    for odd in ["", "a\nb", "a\u{0}b"] {
        let run = RemoteRunContext::new().with_session_id(odd).with_agent_id(odd).with_span_id(SpanId::INVALID);
        assert_eq!(run, RemoteRunContext::new());
    }
}

#[test]
fn an_entry_is_read_with_care() {
    let read = RemoteRunContext::parse;
    assert_eq!(read("1"), Some(RemoteRunContext::new()));
    assert_eq!(read("1;z:9;s:x;;q"), Some(RemoteRunContext::new().with_session_id("x")), "unknown fields are skipped");
    assert_eq!(read("1;a:x;s:y"), Some(RemoteRunContext::new().with_session_id("y").with_agent_id("x")));
    assert_eq!(read("1;s:a%3Db%2C%3B%20%C3%A9:c").unwrap().session_id(), Some("a=b,; é:c"));
    assert_eq!(read("1;s:first;s:second").unwrap().session_id(), Some("first"));
    for wrong in [
        "1;s:%ff",
        "1;s:",
        "1;s:%00",
        "1;p:00f0",
        "1;p:0000000000000000",
        "1;p:00F067AA0BA902B7",
        "1;p:+0f067aa0ba902b7",
    ] {
        assert_eq!(read(wrong), Some(RemoteRunContext::new()), "{wrong}");
    }
    for other in ["", "2", "2;s:x", "s:x", "1x"] {
        assert_eq!(read(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn what_is_told_is_valid_bounded_and_read_as_it_was(session in ".{0,40}", agent in "\\PC{0,20}", span: u64) {
        let run = RemoteRunContext::new().with_session_id(session).with_agent_id(agent).with_span_id(span.into());
        let value = run.to_value();
        let entry = format!("retrace={value}");
        prop_assert!(entry.len() <= MAX_ENTRY);
        prop_assert!(Members::parse(&[&entry]).is_some(), "{entry}");
        let state: TraceState = entry.parse().unwrap();
        let read = RemoteRunContext::in_state(&state).unwrap();
        prop_assert_eq!(read.span_id(), run.span_id());
        prop_assert!(read.session_id().is_none() || read.session_id() == run.session_id());
        prop_assert!(read.agent_id().is_none() || read.agent_id() == run.agent_id());
        prop_assert_eq!(RemoteRunContext::parse(&read.to_value()), Some(read));
    }
}
