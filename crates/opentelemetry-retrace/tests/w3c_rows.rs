//! Promise 38: headers of W3C Trace Context are read strictly, and those that are sent carry exactly what was received.

#![allow(clippy::unwrap_used)]

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_retrace::RetracePropagator;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What is handed on of these headers: the flags and the state; `None` when there is no trace in them.
fn through(parents: &[&str], states: &[&str]) -> Option<(String, Option<String>)> {
    let mut headers = HeaderMap::new();
    for (name, values) in [("traceparent", parents), ("tracestate", states)] {
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
    }
    let propagator = RetracePropagator::default();
    let cx: Context = propagator.extract_with_context(&Context::new(), &HeaderExtractor(&headers));
    let mut out = HeaderMap::new();
    propagator.inject_context(&cx, &mut HeaderInjector(&mut out));
    let Some(parent) = out.get("traceparent") else {
        assert!(!cx.span().span_context().is_valid());
        assert_eq!(out.get("tracestate"), None, "there is no state without a trace");
        return None;
    };
    let flags = parent.to_str().unwrap().strip_prefix(&format!("00-{TRACE}-{PARENT}-")).unwrap().to_owned();
    Some((flags, out.get("tracestate").map(|state| state.to_str().unwrap().to_owned())))
}

fn parent(text: &str) -> Option<String> {
    through(&[text], &["a=1"]).map(|(flags, state)| {
        assert_eq!(state.as_deref(), Some("a=1"));
        flags
    })
}

#[test]
fn pain_38_a_traceparent_is_what_the_standard_says_and_nothing_like_it() {
    let whole = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(parent(&whole).as_deref(), Some("01"));
    let (short, zeros) = ("4bf92f3577b34da6", "0".repeat(32));
    for refused in [
        // Its version.
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("0-{TRACE}-{PARENT}-01"),
        format!("+0-{TRACE}-{PARENT}-01"),
        format!("AA-{TRACE}-{PARENT}-01"),
        // What follows the flags.
        format!("{whole}-"),
        format!("{whole}-more"),
        format!("{whole}0"),
        format!("cc-{TRACE}-{PARENT}-01.more"),
        // Its ids.
        format!("00-{zeros}-{PARENT}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00-{short}-{PARENT}-01"),
        format!("00-{TRACE}00-{PARENT}-01"),
        format!("00-+{}-{PARENT}-01", TRACE.strip_prefix('4').unwrap()),
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-67aa0ba902b7-01"),
        format!("00-{TRACE}-+{}-01", PARENT.strip_prefix('0').unwrap()),
        // Its flags.
        format!("00-{TRACE}-{PARENT}-1"),
        format!("00-{TRACE}-{PARENT}-+1"),
        format!("00-{TRACE}-{PARENT}-0G"),
        format!("00-{TRACE}-{PARENT}"),
        String::new(),
    ] {
        assert_eq!(parent(&refused), None, "{refused:?}");
    }
    // A later version may say more.
    assert_eq!(parent(&format!("cc-{TRACE}-{PARENT}-01-more")).as_deref(), Some("01"));
    assert_eq!(parent(&format!("cc-{TRACE}-{PARENT}-01")).as_deref(), Some("01"));
    assert_eq!(through(&[&whole, &whole], &["a=1"]), None, "which of two it is nobody knows");
}

#[test]
fn pain_38_the_random_flag_is_kept_and_unknown_ones_are_not() {
    for (came, goes) in
        [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("fe", "02"), ("ff", "03"), ("08", "00")]
    {
        assert_eq!(parent(&format!("00-{TRACE}-{PARENT}-{came}")).as_deref(), Some(goes), "{came}");
    }
}

#[test]
fn pain_38_a_tracestate_is_handed_on_as_it_came_or_not_at_all() {
    let whole = format!("00-{TRACE}-{PARENT}-01");
    let state = |states: &[&str]| through(&[&whole], states).unwrap().1;
    for kept in ["a=1", "a=1,b=2", "a= 1", "0a_-*/@z=x", "tenant@system@more=1"] {
        assert_eq!(state(&[kept]).as_deref(), Some(kept));
    }
    assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"), "several fields are one list");
    assert_eq!(state(&["a=1,, ,b=2"]).as_deref(), Some("a=1,b=2"), "empty members are allowed");
    let many = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    assert_eq!(state(&[&many(32)]), Some(many(32)));
    let (key, value) = (format!("a{}=1", "b".repeat(256)), format!("a={}", "b".repeat(257)));
    for refused in ["a=", "a", "=1", "A=1", "a b=1", "_a=1", "a=x\ty", "a=é", "a=b=c", &key, &value, &many(33), "a=1,b"]
    {
        assert_eq!(state(&[refused]), None, "{refused:?}");
    }
}
