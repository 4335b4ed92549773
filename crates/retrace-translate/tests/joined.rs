//! Spans that belong to the run of the process that called this one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use retrace_protocol::{Id, Status};
use retrace_translate::{Caller, LiveEvent, Options, Recorder, RecorderLimits, Resource, Run, Value};
use support::*;

const CALLER: u64 = 0xca11;

fn of_trace(n: u64) -> Id {
    Id::from_otel_span(TRACE, id(n))
}

/// A service that is called with word of the caller's run.
fn served(n: u64) -> TestSpan {
    let caller = Caller { span_id: Some(id(CALLER)), session_id: Some("s-1".into()), agent_id: Some("planner".into()) };
    span(n, 0, "POST /ask").remote(0xbeef).called_by(caller)
}

fn resource(name: &'static str) -> Arc<Resource> {
    Arc::new(Resource::from_attributes([("service.name", Value::from(name))]))
}

fn ended(spans: &[TestSpan], options: Options) -> Run {
    let mut recorder = Recorder::new(options, RecorderLimits::default());
    for span in spans {
        recorder.record(span, &resource("callee"), Duration::ZERO);
    }
    recorder.finish();
    let mut outputs = Outputs::default();
    outputs.take(&mut recorder);
    assert_eq!(outputs.sources(), spans.len() as u64);
    assert!(outputs.corrections.is_empty(), "the run is not ours to correct");
    outputs.runs.remove(0)
}

#[test]
fn what_a_caller_records_is_joined() {
    let run = ended(
        &[chat(3, 2).with("gen_ai.conversation.id", "s-1"), agent(2, 1, "helper"), served(1)],
        Options::default(),
    );
    assert!(run.joined);
    assert_eq!(run.trace.id, Some(Id::from_otel_trace(TRACE)));
    let spans: Vec<_> = run.spans.iter().map(|recorded| &recorded.span).collect();
    let parents: Vec<_> = spans.iter().map(|span| span.parent_id.clone().unwrap()).collect();
    assert_eq!(parents, [of_trace(CALLER), of_trace(1), of_trace(2)]);
    let agents: Vec<_> = spans.iter().map(|span| (span.agent_id.as_deref(), span.parent_agent_id.as_deref())).collect();
    assert_eq!(agents, [(Some("planner"), None), (Some("helper"), Some("planner")), (Some("helper"), Some("planner"))]);
    assert_eq!(metadata(spans[0])["otel"]["service"]["name"], "callee");
    let joined: Vec<_> = spans.iter().map(|span| metadata(span)["otel"]["joined"] == true).collect();
    assert_eq!(joined, [true, false, false], "the span where it joins is marked");
    assert!(metadata(spans[2]).get("session_id").is_none(), "the caller states it");
    assert_eq!(run.trace.session_id.as_deref(), Some("s-1"));
}

#[test]
fn a_session_of_its_own_is_stated() {
    let run = ended(&[chat(2, 1).with("gen_ai.conversation.id", "other"), served(1)], Options::default());
    assert_eq!(metadata(&run.spans[1].span)["session_id"], "other");
}

#[test]
fn a_parent_that_is_the_trace_itself_is_none() {
    let half = Id::from_otel_trace(TRACE).to_otel_span().unwrap();
    let run = ended(&[chat(2, 1), span(1, 0, "POST /ask").remote(u64::from_be_bytes(half))], Options::default());
    assert!(run.joined, "who calls like that records the trace");
    assert_eq!(run.spans[0].span.parent_id, None);
}

#[test]
fn a_run_is_joined_only_if_it_is_announced_and_joining_is_on() {
    let run = ended(&[chat(2, 1), span(1, 0, "POST /ask").remote(9)], Options::default());
    assert!(!run.joined && run.spans[0].span.parent_id.is_none());
    assert!(metadata(&run.spans[0].span)["otel"].get("joined").is_none());
    let mut options = Options::default();
    options.join = false;
    let run = ended(&[chat(2, 1), served(1)], options);
    assert!(!run.joined && run.spans[0].span.parent_id.is_none());
    assert_eq!(metadata(&run.spans[0].span)["otel"]["remote_parent"], "000000000000beef");
}

#[test]
fn what_comes_late_joins_too() {
    let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
    let mut outputs = Outputs::default();
    for (at, span) in [(0, chat(2, 1)), (1, served(1)), (9, chat(3, 1)), (20, served(5)), (20, chat(6, 5))] {
        recorder.advance(Duration::from_secs(at));
        recorder.record(&span, &resource("callee"), Duration::from_secs(at));
    }
    recorder.finish();
    outputs.take(&mut recorder);
    assert_eq!(outputs.runs.len(), 3);
    assert!(outputs.runs.iter().all(|run| run.joined && run.trace.id == Some(Id::from_otel_trace(TRACE))));
    let late = &outputs.runs[1].spans[0].span;
    assert_eq!((late.id.clone(), late.parent_id.clone()), (of_trace(3), Some(of_trace(CALLER))));
    assert!(outputs.corrections.is_empty());
}

#[test]
fn while_it_happens_the_same() {
    let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
    let mut outputs = Outputs::default();
    let spans = [served(1), agent(2, 1, "helper"), chat(3, 2), served(5), chat(6, 5)];
    for span in &spans {
        recorder.start(&span.begun_without(&[]), &resource("callee"), Duration::ZERO);
    }
    for span in spans.iter().rev() {
        recorder.record(span, &resource("callee"), Duration::ZERO);
    }
    recorder.finish();
    outputs.take(&mut recorder);
    assert_eq!(outputs.sources(), 5);
    assert!(outputs.live.iter().all(|live| live.joined && live.run == Id::from_otel_trace(TRACE)));
    for live in &outputs.live {
        if let LiveEvent::SpanStarted(span) | LiveEvent::SpanEnded(retrace_translate::RecordedSpan { span, .. }) =
            &live.event
        {
            let joins = [of_trace(1), of_trace(5)].contains(&span.id);
            assert_eq!(metadata(span)["otel"]["joined"] == true, joins, "{span:?}");
        }
    }
    let mut parents: Vec<_> = outputs
        .live
        .iter()
        .filter_map(|live| match &live.event {
            LiveEvent::SpanEnded(recorded) => {
                let span = &recorded.span;
                Some((span.id.to_otel_span().unwrap(), span.parent_id.clone().unwrap()))
            }
            _ => None,
        })
        .collect();
    parents.sort_by_key(|(span, _)| *span);
    let expected =
        [(1, CALLER), (2, 1), (3, 2), (5, CALLER), (6, 5)].map(|(span, parent)| (id(span), of_trace(parent)));
    assert_eq!(parents, expected);
    let Some(LiveEvent::RunEnded(trace)) = outputs.live.last().map(|live| &live.event) else { panic!("it ended") };
    assert_eq!(trace.status, Some(Status::Completed));
}

#[test]
fn what_this_process_calls_comes_back_to_its_own_run() {
    let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
    let mut outputs = Outputs::default();
    let spans = [agent(1, 0, "planner"), served(3), chat(4, 3)];
    for span in &spans {
        recorder.start(&span.begun_without(&[]), &resource("caller"), Duration::ZERO);
    }
    for span in spans.iter().rev() {
        recorder.record(span, &resource("caller"), Duration::ZERO);
    }
    recorder.finish();
    outputs.take(&mut recorder);
    assert!(outputs.live.iter().all(|live| !live.joined));
    let parent = outputs.live.iter().find_map(|live| match &live.event {
        LiveEvent::SpanEnded(recorded) if recorded.span.id == of_trace(4) => recorded.span.parent_id.clone(),
        _ => None,
    });
    assert_eq!(parent, Some(of_trace(CALLER)), "under the span of the service in between");
}
