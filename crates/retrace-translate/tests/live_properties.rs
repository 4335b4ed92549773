//! Properties of all live runs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use retrace_protocol::{Json, Span, Status, Trace};
use retrace_translate::{
    Caller, Kind, LiveEvent, LiveUpdate, Options, Parent, Recorder, RecorderLimits, Resource, Value,
};
use support::any::{any_selection, any_span, any_value};
use support::*;

/// A live run, assembled from its events.
#[derive(Debug, Default)]
struct Composed {
    began: Option<Trace>,
    ended: Option<Trace>,
    /// The last state of each span, by id.
    spans: BTreeMap<String, Span>,
    /// Spans whose end was emitted.
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
                prop_assert_ne!(run.began.as_ref(), Some(trace), "a repeated start differs from the one before");
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
                let is_again = !run.done.insert(span.id.to_string());
                let before = run.spans.insert(span.id.to_string(), span.clone());
                if is_again {
                    prop_assert_eq!(recorded.sources, 0, "an accepted span comes out once");
                    prop_assert_ne!(before.as_ref(), Some(span), "emitted again only if it changed");
                }
            }
            LiveEvent::RunEnded(trace) => {
                prop_assert_eq!(trace.id.as_ref(), Some(id));
                prop_assert_ne!(trace.status, Some(Status::Running));
                let mut overlaid = run.began.clone().unwrap();
                overlaid.apply(retrace_protocol::TracePatch::of(trace).into_ended(id.clone()));
                prop_assert_eq!(&overlaid, trace, "the end has all members of the start");
                prop_assert_eq!(trace.span_count, Some(run.spans.len() as u64));
                run.ended = Some(trace.clone());
            }
            LiveEvent::RunAbandoned => run.let_go = true,
        }
    }
    Ok(runs)
}

/// What holds for every run, whatever was in it.
fn check(run: &Composed, calls_itself: bool) -> Result<(), TestCaseError> {
    for (id, span) in &run.spans {
        let text = serde_json::to_string(span).unwrap();
        prop_assert!(Json::parse_strict(&text).is_some(), "{}", text);
        let mut above = span.parent_id.clone();
        for steps in 0.. {
            let Some(parent) = above else { break };
            prop_assert!(steps <= run.spans.len(), "parents go in circles above {}", id);
            let parent = run.spans.get(&parent.to_string());
            prop_assert!(parent.is_some() || calls_itself, "{:?} hangs from nothing", span);
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
        let mut outputs = Outputs::default();
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
            outputs.take(&mut recorder);
            prop_assert_eq!(outputs.sources() + recorder.open_spans(), accepted);
            prop_assert!(recorder.weight() <= limits.bytes);
        }
        recorder.finish();
        outputs.take(&mut recorder);
        prop_assert_eq!(outputs.sources(), accepted);
        prop_assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0), "nothing is left behind");
        prop_assert_eq!(recorder.next_deadline(), None);

        let live = composed(&outputs.live)?;
        let mut runs_of: HashMap<String, &str> = HashMap::new();
        for (id, run) in &live {
            check(run, false)?;
            for span in run.spans.values().filter(|span| span.span_type.as_str() != "tool_result") {
                if let Some(other) = runs_of.insert(span.id.to_string(), id) {
                    // Only a tool that messages show may be made for two runs: its id names the call.
                    prop_assert_eq!(span.duration_ms, Some(0), "{:?} stands in {} too", span, other);
                }
            }
        }
        for run in &outputs.runs {
            let id = run.trace.id.as_ref().unwrap().to_string();
            prop_assert!(!live.contains_key(&id), "a run is emitted either live or whole");
        }
    }
}

/// A run as an application makes it, and when its spans begin and end.
#[derive(Clone, Debug)]
struct Tree {
    spans: Vec<TestSpan>,
    schedule: Vec<Event>,
}

/// Something that a process sees of a span; the number is that of the span.
#[derive(Clone, Debug)]
enum Event {
    /// The span begins without these attributes, which are set before it ends.
    Begins(usize, Vec<String>),
    /// The span begins, and nobody sees it.
    BeginsUnseen(usize),
    Ends(usize),
}

/// What a span of such a run is made from.
#[derive(Clone, Debug)]
struct Seed {
    parent: usize,
    kind: u8,
    usage: Option<i64>,
    labels: [u8; 8],
    other: Vec<(&'static str, Value<'static>)>,
    /// Attributes that are set after its start.
    late: u16,
    is_unseen: bool,
    root: Root,
}

/// Kind of a root span.
#[derive(Clone, Copy, Debug)]
enum Root {
    No,
    /// Its parent is in another process.
    Remote,
    /// Its parent is in another process, which records the run.
    Joins,
}

/// Attributes that may come with anything.
const OTHER: &[&str] = &[
    "gen_ai.request.temperature",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.agent.id",
    "gen_ai.agent.name",
    "retrace.metadata.x",
    "retrace.name",
    "retrace.input",
    "retrace.output",
    "retrace.cost",
    "error.type",
    "other",
    "",
];

fn any_seed() -> impl Strategy<Value = Seed> {
    let other = prop::collection::vec((prop::sample::select(OTHER), any_value()), 0..3);
    let late = prop_oneof![3 => Just(0), 2 => any::<u16>(), 1 => Just(u16::MAX)];
    let root = prop_oneof![12 => Just(Root::No), 1 => Just(Root::Remote), 1 => Just(Root::Joins)];
    let usage = prop::option::of(1_i64..4);
    (any::<usize>(), 0_u8..10, usage, any::<[u8; 8]>(), other, late, prop::bool::weighted(0.1), root).prop_map(
        |(parent, kind, usage, labels, other, late, is_unseen, root)| Seed {
            parent,
            kind,
            usage,
            labels,
            other,
            late,
            is_unseen,
            root,
        },
    )
}

const RESPONSES: [&str; 4] = [
    r#"[{"role":"assistant","parts":[{"type":"text","content":"done"}],"finish_reason":"stop"}]"#,
    r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"f","arguments":{"q":1}}]}]"#,
    r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c2","name":"f","arguments":{}},
        {"type":"tool_call","id":"c8","name":"f","arguments":{"q":1}},
        {"type":"tool_call","id":"c9","name":"g","arguments":"x"}]}]"#,
    r#"[{"role":"assistant","parts":[]}]"#,
];
const HISTORIES: [&str; 4] = [
    r#"[{"role":"user","parts":[{"type":"text","content":"hi"}]}]"#,
    r#"[{"role":"tool","parts":[{"type":"tool_call_response","id":"c1","response":"found"}]}]"#,
    r#"[{"role":"user","parts":[{"type":"text","content":"ho"}]},
        {"role":"tool","parts":[{"type":"tool_call_response","id":"c2","response":{"a":1}},
        {"type":"tool_call_response","id":"c9","response":"nothing"}]}]"#,
    r#"[{"role":"system","parts":[{"type":"text","content":"be good"}]}]"#,
];

fn any_tree() -> impl Strategy<Value = Tree> {
    let turns = prop::collection::vec(any::<u16>(), 64);
    (prop::collection::vec(any_seed(), 1..12), turns, any::<bool>(), prop::option::weighted(0.1, any::<usize>()))
        .prop_map(|(seeds, turns, content, copied)| {
            let mut spans: Vec<TestSpan> =
                seeds.iter().enumerate().map(|(at, seed)| grown(at, seed, content)).collect();
            let mut schedule = any_schedule(&seeds, &spans, &turns);
            for (time, event) in (1_u64..).zip(&schedule) {
                match event {
                    Event::Begins(at, _) | Event::BeginsUnseen(at) => spans[*at].start = time * SECOND,
                    Event::Ends(at) => spans[*at].end = time * SECOND,
                }
            }
            // Another span under the id of one that has ended.
            if let Some(copied) = copied.map(|copied| copied % spans.len()) {
                let time = schedule.len() as u64 + 1;
                let mut copy = spans[copied].clone().during(time, time + 1);
                copy.parent = Parent::Local(spans[0].span_id);
                schedule.push(Event::Ends(spans.len()));
                spans.push(copy);
            }
            Tree { spans, schedule }
        })
}

/// An order of events in which every span begins after its parent and before its own end.
fn any_schedule(seeds: &[Seed], spans: &[TestSpan], turns: &[u16]) -> Vec<Event> {
    let mut schedule = Vec::new();
    let (mut begun, mut open) = (0, Vec::new());
    for turn in turns.iter().cycle() {
        if begun < spans.len() && (open.is_empty() || turn % 2 == 0) {
            let (seed, span) = (&seeds[begun], &spans[begun]);
            // The bits beyond the last one stand for the attributes after the sixteenth.
            let is_late = |at: &usize| seed.late >> (*at).min(15) & 1 == 1;
            let late = (0..span.attributes.len()).filter(is_late).map(|at| span.attributes[at].0.clone());
            schedule.push(match seed.is_unseen && begun > 0 {
                true => Event::BeginsUnseen(begun),
                false => Event::Begins(begun, late.collect()),
            });
            open.push(begun);
            begun += 1;
        } else if open.is_empty() {
            break;
        } else {
            schedule.push(Event::Ends(open.remove(usize::from(turn / 2) % open.len())));
        }
    }
    schedule
}

fn grown(at: usize, seed: &Seed, content: bool) -> TestSpan {
    let n = at as u64 + 1;
    let above = if at == 0 { 0 } else { (seed.parent % at) as u64 + 1 };
    let pick = |label: usize, of: [&'static str; 4]| of[usize::from(seed.labels[label] % 4)];
    let is = |label: usize, every: u8| seed.labels[label].is_multiple_of(every);
    let mut span = match seed.kind {
        0 | 1 => span(n, above, "step"),
        2 => agent(n, above, pick(0, ["a", "b", "c", "d"])),
        3 | 4 => {
            let tool = tool(n, above, pick(0, ["f", "f", "g", "h"]), pick(1, ["c1", "c2", "c3", "c9"]));
            tool.with("gen_ai.tool.call.arguments", pick(2, [r#"{"q":1}"#, "{ \"q\": 1 }", "{}", "x"]))
        }
        5 => span(n, above, "odd").with("gen_ai.something", "new"),
        6 => span(n, above, "retrieve").with("gen_ai.operation.name", "retrieval"),
        _ => chat(n, above),
    };
    match seed.kind {
        // A tool span that does not state which call it executes.
        4 => span.attributes.retain(|(key, _)| key != "gen_ai.tool.call.id"),
        9 => span = span.with("gen_ai.operation.name", "text_completion"),
        _ => {}
    }
    let is_call = seed.kind >= 7;
    if is_call && content && is(3, 2) {
        span =
            span.with("gen_ai.input.messages", pick(0, HISTORIES)).with("gen_ai.output.messages", pick(1, RESPONSES));
    }
    if is_call && is(2, 2) {
        span = span.with("gen_ai.response.id", pick(3, ["r1", "r1", "r2", "r3"]));
    }
    if matches!(seed.kind, 3 | 4) && is(3, 2) {
        span = span.with("gen_ai.tool.call.result", pick(4, ["one", "two", "three", "four"]));
    }
    if let Some(usage) = seed.usage.filter(|_| seed.kind != 0) {
        span = span.usage(usage, usage % 2);
    }
    if is(4, 3) {
        span = span
            .with("session.id", pick(4, ["s1", "s2", "s1", "s1"]))
            .with("user.id", pick(3, ["u1", "u1", "u2", "u1"]));
    }
    if is(5, 3) {
        span = span.with("retrace.trace.name", pick(5, ["t1", "t2", "t1", "t1"]));
        span = span.with_value("retrace.tags", Value::Json(pick(5, ["[1]", "[2]", "[1]", "[1]"]).into()));
    }
    for (key, value) in &seed.other {
        span = span.with_value(key, value.clone());
    }
    if is(6, 5) {
        span = span.failed("broke");
    }
    if is(7, 4) {
        span.kind = Kind::Server;
    }
    match seed.root {
        Root::No => span,
        // A local root of a service that this process calls may have its caller here.
        Root::Remote => span.remote(if at == 0 || is(6, 2) { 77 } else { above }),
        Root::Joins => {
            let caller =
                Caller { span_id: Some(id(78)), session_id: Some("s1".into()), agent_id: Some("caller".into()) };
            span.remote(77).called_by(caller)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_024, ..ProptestConfig::default() })]

    /// A receiver of the events of a run ends up with the run that the recorder emits from its ended spans alone, whatever begins
    /// and ends in whatever order, and whatever is known of a span when it begins.
    #[test]
    fn a_run_emitted_live_is_the_run_emitted_whole(
        tree in any_tree(),
        selection in any_selection(),
        capture_content: bool,
        join: bool,
    ) {
        let mut options = Options::default();
        (options.selection, options.capture_content, options.join) = (selection, capture_content, join);
        let resource = Arc::new(Resource::from_attributes([("service.name", Value::from("shop"))]));
        let (mut live, mut whole) = (
            Recorder::new(options.clone(), RecorderLimits::default()),
            Recorder::new(options, RecorderLimits::default()),
        );
        let mut ends = 0;
        for event in &tree.schedule {
            match event {
                Event::Begins(at, late) => {
                    let late: Vec<&str> = late.iter().map(String::as_str).collect();
                    live.start(&tree.spans[*at].begun_without(&late), &resource, Duration::ZERO);
                }
                Event::BeginsUnseen(_) => {}
                Event::Ends(at) => {
                    live.record(&tree.spans[*at], &resource, Duration::ZERO);
                    whole.record(&tree.spans[*at], &resource, Duration::ZERO);
                    ends += 1;
                }
            }
        }
        live.finish();
        whole.finish();
        prop_assert_eq!((live.open_spans(), live.weight()), (0, 0), "it is over");
        let (mut seen, mut emitted) = (Outputs::default(), Outputs::default());
        seen.take(&mut live);
        emitted.take(&mut whole);
        prop_assert_eq!((seen.sources(), emitted.sources()), (ends, ends));
        prop_assert_eq!((seen.runs.len(), seen.corrections.len()), (0, 0));
        prop_assert_eq!(seen.set_aside, emitted.set_aside);
        let runs = composed(&seen.live)?;
        prop_assert_eq!(runs.len(), emitted.runs.len());
        for (run, emitted) in runs.values().zip(&emitted.runs) {
            check(run, true)?;
            prop_assert_eq!(run.ended.as_ref(), Some(&emitted.trace));
            let spans: BTreeMap<String, &Span> =
                emitted.spans.iter().map(|recorded| (recorded.span.id.to_string(), &recorded.span)).collect();
            prop_assert_eq!(run.spans.keys().collect::<Vec<_>>(), spans.keys().collect::<Vec<_>>());
            for (id, span) in spans {
                prop_assert_eq!(&run.spans[&id], span);
            }
        }
    }
}
