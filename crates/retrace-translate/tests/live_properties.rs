//! What holds for all runs that are told while they happen.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use retrace_protocol::{Json, Span, Status, Trace};
use retrace_translate::{LiveEvent, LiveUpdate, Options, Parent, Recorder, RecorderLimits, Resource, Value};
use support::any::{any_selection, any_span, any_value};
use support::*;

/// A live run, put together from what was said of it.
#[derive(Debug, Default)]
struct Composed {
    began: Option<Trace>,
    ended: Option<Trace>,
    /// By id, as told last.
    spans: BTreeMap<String, Span>,
    /// Spans whose end was told.
    done: HashSet<String>,
    let_go: bool,
}

/// Puts runs together; fails where the order of events is wrong.
fn composed(live: &[LiveUpdate]) -> Result<BTreeMap<String, Composed>, TestCaseError> {
    let mut runs: BTreeMap<String, Composed> = BTreeMap::new();
    for LiveUpdate { run: id, event, .. } in live {
        let run = runs.entry(id.to_string()).or_default();
        prop_assert!(run.ended.is_none() && !run.let_go, "nothing comes after the end: {:?}", event);
        prop_assert!(
            run.began.is_some() || matches!(event, LiveEvent::RunStarted(_)),
            "the beginning is first: {:?}",
            event
        );
        match event {
            LiveEvent::RunStarted(trace) => {
                prop_assert_eq!(trace.id.as_ref(), Some(id));
                prop_assert_ne!(run.began.as_ref(), Some(trace), "said again is said otherwise");
                prop_assert_eq!((trace.status, trace.total_tokens), (Some(Status::Running), Some(0)));
                prop_assert_eq!((&trace.ended_at, &trace.output, trace.span_count), (&None, &None, None));
                run.began = Some(trace.clone());
            }
            LiveEvent::SpanStarted(span) => {
                prop_assert_eq!(&span.trace_id, id);
                prop_assert_eq!((&span.ended_at, &span.duration_ms, &span.output), (&None, &None, &None));
                prop_assert_eq!((span.input_tokens, span.output_tokens, span.cost), (None, None, None));
                prop_assert!(run.spans.insert(span.id.to_string(), span.clone()).is_none(), "begins once, and first");
            }
            LiveEvent::SpanEnded(recorded) => {
                let span = &recorded.span;
                prop_assert_eq!(&span.trace_id, id);
                prop_assert!(span.ended_at.is_some());
                prop_assert!(run.done.insert(span.id.to_string()), "ends once");
                if let Some(begun) = run.spans.insert(span.id.to_string(), span.clone()) {
                    prop_assert_eq!(&begun.parent_id, &span.parent_id, "stays where it was put");
                }
            }
            LiveEvent::RunEnded(trace) => {
                prop_assert_eq!(trace.id.as_ref(), Some(id));
                prop_assert_ne!(trace.status, Some(Status::Running));
                let mut overlaid = run.began.clone().unwrap();
                overlaid.apply(retrace_protocol::TracePatch::of(trace).into_ended(id.clone()));
                prop_assert_eq!(&overlaid, trace, "the end says all of the beginning");
                prop_assert_eq!(trace.span_count, Some(run.spans.len() as u64));
                run.ended = Some(trace.clone());
            }
            LiveEvent::RunAbandoned => run.let_go = true,
        }
    }
    Ok(runs)
}

/// What holds for every run, whatever was in it.
fn check(run: &Composed) -> Result<(), TestCaseError> {
    for (id, span) in &run.spans {
        let text = serde_json::to_string(span).unwrap();
        prop_assert!(Json::parse_strict(&text).is_some(), "{}", text);
        let mut above = span.parent_id.clone();
        for steps in 0.. {
            let Some(parent) = above else { break };
            prop_assert!(steps <= run.spans.len(), "parents go in circles above {}", id);
            let parent = run.spans.get(&parent.to_string());
            prop_assert!(parent.is_some(), "{:?} hangs from nothing", span);
            above = parent.and_then(|parent| parent.parent_id.clone());
        }
    }
    if let Some(trace) = &run.ended {
        let text = serde_json::to_string(trace).unwrap();
        prop_assert!(Json::parse_strict(&text).is_some(), "{}", text);
        let of = |span: &Span| span.input_tokens.unwrap_or(0).saturating_add(span.output_tokens.unwrap_or(0));
        let sum = run.spans.values().map(of).fold(0, u64::saturating_add);
        prop_assert_eq!(trace.total_tokens, Some(sum), "what counts stands on spans");
    }
    Ok(())
}

/// Something that happens to a recorder.
#[derive(Clone, Copy, Debug)]
enum Act {
    Start(usize),
    /// The span begins, and all its attributes are set later.
    StartBare(usize),
    End(usize),
    Wait(u64),
    Settle,
    Lossy,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_usize..16).prop_map(Act::Start),
        2 => (0_usize..16).prop_map(Act::StartBare),
        6 => (0_usize..16).prop_map(Act::End),
        2 => prop_oneof![0_u64..400, 0_u64..60_000].prop_map(Act::Wait),
        1 => Just(Act::Settle),
        1 => Just(Act::Lossy),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_in_comes_out_once_in_order_and_whole(
        spans in prop::collection::vec((any_span(), 0_u8..4, 1_u8..3), 16),
        acts in prop::collection::vec(any_act(), 1..60),
        selection in any_selection(),
        capture_content: bool,
        tight: bool,
    ) {
        let spans: Vec<_> = spans.into_iter().map(|(mut span, root, trace)| {
            match root {
                0 => span.parent = Parent::None,
                1 if span.start % 3 == 0 => span.parent = Parent::Remote(id(99)),
                _ => {}
            }
            span.in_trace(u128::from(trace).to_be_bytes())
        }).collect();
        let mut options = Options::default();
        options.selection = selection;
        options.capture_content = capture_content;
        let mut limits = RecorderLimits::default();
        if tight {
            (limits.runs, limits.run_spans, limits.bytes, limits.idle) = (1, 6, 40_000, Duration::from_secs(20));
        }
        let mut recorder = Recorder::new(options, limits);
        let mut said = Said::default();
        let (mut now, mut accepted) = (Duration::ZERO, 0);
        for act in acts {
            match act {
                Act::Start(at) => recorder.start(&spans[at].begun_without(&[]), &Arc::new(Resource::default()), now),
                Act::StartBare(at) => {
                    let bare = TestSpan { attributes: Vec::new(), ..spans[at].begun_without(&[]) };
                    recorder.start(&bare, &Arc::new(Resource::default()), now);
                }
                Act::End(at) => {
                    recorder.record(&spans[at], &Arc::new(Resource::default()), now);
                    accepted += 1;
                }
                Act::Wait(pause) => now += Duration::from_millis(pause),
                Act::Settle => recorder.settle(),
                Act::Lossy => {
                    recorder.mark_lossy(1_u128.to_be_bytes());
                }
            }
            recorder.advance(now);
            prop_assert!(recorder.next_deadline().is_none_or(|next| next > now), "what is due is done");
            said.take(&mut recorder);
            prop_assert_eq!(said.sources() + recorder.open_spans(), accepted);
            prop_assert!(recorder.weight() <= limits.bytes);
        }
        recorder.finish();
        said.take(&mut recorder);
        prop_assert_eq!(said.sources(), accepted);
        prop_assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0), "nothing is left behind");
        prop_assert_eq!(recorder.next_deadline(), None);

        let live = composed(&said.live)?;
        let mut runs_of: HashMap<String, &str> = HashMap::new();
        for (id, run) in &live {
            check(run)?;
            for span in run.spans.values().filter(|span| span.span_type.as_str() != "tool_result") {
                if let Some(other) = runs_of.insert(span.id.to_string(), id) {
                    // Only a tool that messages show may be made for two runs: its id says which call it is.
                    prop_assert_eq!(span.duration_ms, Some(0), "{:?} stands in {} too", span, other);
                }
            }
        }
        for run in &said.runs {
            let id = run.trace.id.as_ref().unwrap().to_string();
            prop_assert!(!live.contains_key(&id), "a run is told in one way");
        }
    }
}

/// A run as an application makes it: spans begin within open ones and end before what they are in.
#[derive(Clone, Debug)]
struct Tree {
    spans: Vec<TestSpan>,
    /// Which spans begin and end when.
    schedule: Vec<(bool, usize)>,
}

/// What a span of such a run is made from.
#[derive(Clone, Debug)]
struct Seed {
    parent: usize,
    kind: u8,
    usage: Option<i64>,
    labels: [u8; 6],
    other: Vec<(&'static str, Value<'static>)>,
    ends: u16,
}

/// Attributes that may come with anything. None of them says what was said, so that no telling of a call says more than
/// another.
const OTHER: &[&str] = &[
    "gen_ai.request.temperature",
    "gen_ai.response.model",
    "gen_ai.agent.id",
    "retrace.metadata.x",
    "retrace.name",
    "retrace.cost",
    "error.type",
    "other",
    "",
];

fn any_seed() -> impl Strategy<Value = Seed> {
    let other = prop::collection::vec((prop::sample::select(OTHER), any_value()), 0..3);
    (any::<usize>(), 0_u8..8, prop::option::of(1_i64..1_000), any::<[u8; 6]>(), other, any::<u16>())
        .prop_map(|(parent, kind, usage, labels, other, ends)| Seed { parent, kind, usage, labels, other, ends })
}

const SAID: [&str; 4] = [
    r#"[{"role":"assistant","parts":[{"type":"text","content":"done"}],"finish_reason":"stop"}]"#,
    r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"f","arguments":{"q":1}}]}]"#,
    r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c2","name":"f","arguments":{}},
        {"type":"tool_call","id":"c9","name":"g","arguments":"x"}]}]"#,
    r#"[{"role":"assistant","parts":[]}]"#,
];
const HEARD: [&str; 4] = [
    r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#,
    r#"[{"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"found"}]}]"#,
    r#"[{"role":"user","parts":[{"type":"text","content":"ho"}]},
        {"role":"tool","parts":[{"type":"tool_call_response","id":"c2","response":{"a":1}},
        {"type":"tool_call_response","id":"c9","response":"nothing"}]}]"#,
    r#"[{"role":"system","parts":[{"type":"text","content":"be good"}]}]"#,
];
const CALLS: [&str; 12] = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c10", "c11", "c12", "c13"];

fn any_tree() -> impl Strategy<Value = Tree> {
    (prop::collection::vec(any_seed(), 1..12), any::<bool>(), any::<bool>()).prop_map(|(seeds, content, remote)| {
        let parents: Vec<usize> = seeds.iter().enumerate().map(|(at, seed)| seed.parent % at.max(1)).collect();
        let mut spans: Vec<TestSpan> =
            seeds.iter().enumerate().map(|(at, seed)| grown(at, parents[at], seed, content)).collect();
        if remote {
            spans[0].parent = Parent::Remote(id(77));
        }
        // A span begins while what it is in is open, and ends when all that is in it has ended.
        let count = seeds.len();
        let (mut begun, mut ended) = (1, vec![false; count]);
        let mut schedule = vec![(true, 0)];
        let mut turn = 0;
        while !ended[0] {
            let may_end = |at: &usize| !ended[*at] && (1..count).all(|below| parents[below] != *at || ended[below]);
            let ready: Vec<usize> = (0..begun).filter(may_end).collect();
            let choice = usize::from(seeds[turn % count].ends).wrapping_add(turn);
            turn += 1;
            if begun < count && (ready.is_empty() || choice.is_multiple_of(2)) {
                schedule.push((true, begun));
                begun += 1;
            } else if !ready.is_empty() {
                let at = ready[choice / 2 % ready.len()];
                ended[at] = true;
                schedule.push((false, at));
            }
        }
        for (time, (begins, at)) in (1_u64..).zip(&schedule) {
            *(if *begins { &mut spans[*at].start } else { &mut spans[*at].end }) = time * SECOND;
        }
        Tree { spans, schedule }
    })
}

fn grown(at: usize, parent: usize, seed: &Seed, content: bool) -> TestSpan {
    let n = at as u64 + 1;
    let above = if at == 0 { 0 } else { parent as u64 + 1 };
    let pick = |label: usize, of: [&'static str; 4]| of[usize::from(seed.labels[label] % 4)];
    let mut span = match seed.kind {
        0 => span(n, above, "step"),
        1 => agent(n, above, pick(0, ["a", "b", "c", "d"])),
        2 | 3 => tool(n, above, pick(0, ["f", "g", "h", "i"]), CALLS[at]),
        4 => span(n, above, "odd").with("gen_ai.something", "new"),
        5 => span(n, above, "retrieve").with("gen_ai.operation.name", "retrieval"),
        _ => chat(n, above),
    };
    if seed.kind == 7 {
        span = span.with("gen_ai.operation.name", "text_completion");
    }
    if seed.kind >= 6 && content {
        span = span.with("gen_ai.input.messages", pick(0, HEARD)).with("gen_ai.output.messages", pick(1, SAID));
    }
    if seed.kind >= 6 && seed.labels[2].is_multiple_of(3) {
        span = span.with("gen_ai.response.id", pick(3, ["r1", "r1", "r2", "r3"]));
    }
    if seed.kind == 3 {
        span = span.with("gen_ai.tool.call.result", "result");
    }
    if let Some(usage) = seed.usage.filter(|_| seed.kind != 0) {
        span = span.usage(usage, usage % 7);
    }
    // What a run says for all its spans its root says here, or nobody does: see the exceptions below.
    let says = |label: usize| at == 0 || seed.labels[label].is_multiple_of(3);
    if says(4) {
        span = span
            .with("session.id", pick(4, ["s1", "s2", "s1", "s1"]))
            .with("user.id", pick(3, ["u1", "u1", "u2", "u1"]));
    }
    if says(5) {
        span = span.with("retrace.trace.name", pick(5, ["t1", "t2", "t1", "t1"]));
        span = span.with_value("retrace.tags", Value::Json(pick(5, ["[1]", "[2]", "[1]", "[1]"]).into()));
    }
    for (key, value) in &seed.other {
        span = span.with_value(key, value.clone());
    }
    if seed.labels[1].is_multiple_of(5) {
        span = span.failed("broke");
    }
    span
}

proptest! {
    /// Who sees a run happen ends up with the same as who is told it whole.
    ///
    /// The spans have their attributes when they begin, and end before what they are in. Even so there are cases in which
    /// the two differ, for what was told cannot be taken back. None of them loses anything:
    ///
    /// * Two tellings of one call of which only the later one has content: live the first counts, whole the later.
    /// * A server's record of a call that ends before the span of its client: live the server's usage counts, whole the client's.
    /// * A session, user, trace name or tags that not the root says: live the run keeps what it knew when it was first told,
    ///   and a span that says something else, or says it first later on, has it in its own metadata.
    /// * Several spans that execute one tool call: live the result of the first that returned is told, whole the last one's.
    /// * Several local roots: live the first is the root, whole the one without a parent, or that began first.
    /// * The same span id twice with different content: live the second is set aside, whole it gets another id.
    /// * A tool span without a call id, with other arguments than the call that a message shows, or that ends before the model
    ///   call does: whole the two are tied where they are all that is left, live the call is one more tool span.
    ///
    /// README and the documentation of `RetraceSpanProcessor` list the same cases.
    #[test]
    fn a_run_told_live_is_the_run_told_whole(tree in any_tree(), selection in any_selection(), capture_content: bool) {
        let mut options = Options::default();
        options.selection = selection;
        options.capture_content = capture_content;
        let resource = Arc::new(Resource::from_attributes([("service.name", Value::from("shop"))]));
        let (mut live, mut whole) = (
            Recorder::new(options.clone(), RecorderLimits::default()),
            Recorder::new(options, RecorderLimits::default()),
        );
        for (begins, at) in &tree.schedule {
            let span = &tree.spans[*at];
            if *begins {
                live.start(&span.begun_without(&[]), &resource, Duration::ZERO);
            } else {
                live.record(span, &resource, Duration::ZERO);
                whole.record(span, &resource, Duration::ZERO);
            }
        }
        live.settle();
        whole.settle();
        prop_assert_eq!((live.open_spans(), live.weight()), (0, 0), "it is over");
        let (mut seen, mut told) = (Said::default(), Said::default());
        seen.take(&mut live);
        told.take(&mut whole);
        prop_assert_eq!((seen.runs.len(), seen.corrections.len()), (0, 0));
        prop_assert_eq!(seen.set_aside, told.set_aside);
        let runs = composed(&seen.live)?;
        prop_assert_eq!(runs.len(), told.runs.len());
        for (run, told) in runs.values().zip(&told.runs) {
            check(run)?;
            prop_assert_eq!(run.ended.as_ref(), Some(&told.trace));
            let spans: BTreeMap<String, &Span> =
                told.spans.iter().map(|recorded| (recorded.span.id.to_string(), &recorded.span)).collect();
            prop_assert_eq!(run.spans.keys().collect::<Vec<_>>(), spans.keys().collect::<Vec<_>>());
            for (id, span) in spans {
                prop_assert_eq!(&run.spans[&id], span);
            }
        }
    }
}
