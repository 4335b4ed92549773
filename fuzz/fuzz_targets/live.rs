//! Runs emitted live: the same as those emitted whole, whatever is known of a span when it begins.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use fuzz::{Made, check_text};
use libfuzzer_sys::fuzz_target;
use retrace_protocol::{Id, Span, Trace};
use retrace_translate::{
    LiveEvent, LiveUpdate, Options, Output, Parent, Recorder, RecorderLimits, Resource, Run, SpanSelection,
};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let _ = run(&mut u);
});

/// A live run, assembled from its events.
#[derive(Default)]
struct Composed {
    ended: Option<Trace>,
    spans: BTreeMap<String, Span>,
}

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let keys = fuzz::keys();
    let mut options = Options::default();
    options.selection = if u.arbitrary()? { SpanSelection::All } else { SpanSelection::GenAi };
    options.capture_content = u.ratio(3, 4)?;
    let mut spans = Vec::new();
    for at in 0..u.int_in_range(1..=5)? {
        // A tree: the first span is the root, and each other has a parent that stands before it.
        let parent = if at == 0 { Parent::None } else { Parent::Local([u.int_in_range(1..=at)?; 8]) };
        spans.push(Made { span_id: [at + 1; 8], parent, ..fuzz::any::span(u, &keys)? });
    }

    let resource = Arc::new(Resource::default());
    let [mut live, mut whole] = [(); 2].map(|()| Recorder::new(options.clone(), RecorderLimits::default()));
    let (mut begun, mut open, mut time) = (0, Vec::new(), 0);
    let mut schedule = Vec::new();
    while begun < spans.len() || !open.is_empty() {
        time += 1_000_000_000;
        if begun < spans.len() && (open.is_empty() || u.arbitrary()?) {
            spans[begun].times.0 = time;
            schedule.push((begun, false));
            open.push(begun);
            begun += 1;
        } else {
            let ends = open.remove(u.int_in_range(0..=open.len() - 1)?);
            spans[ends].times.1 = time;
            schedule.push((ends, true));
        }
    }
    for (at, is_end) in schedule {
        let span = &spans[at];
        if is_end {
            live.record(span, &resource, Duration::ZERO);
            whole.record(span, &resource, Duration::ZERO);
        } else {
            let late: u16 = u.arbitrary()?;
            let known = |(place, _): &(usize, _)| late >> place & 1 == 0;
            let attributes = span.attributes.iter().enumerate().filter(known).map(|(_, pair)| pair.clone()).collect();
            let times = (span.times.0, 0);
            let begun = Made { times, error: None, events: Vec::new(), attributes, ..span.clone() };
            live.start(&begun, &resource, Duration::ZERO);
        }
    }
    let [(live, none), (none_live, whole)] = [live, whole].map(|mut recorder| {
        recorder.finish();
        assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0));
        outputs(&mut recorder)
    });
    assert!(none.is_empty() && none_live.is_empty());

    let mut runs: BTreeMap<String, Composed> = BTreeMap::new();
    for LiveUpdate { run: id, event, .. } in &live {
        let run = runs.entry(id.to_string()).or_default();
        assert!(run.ended.is_none(), "nothing comes after the end: {event:?}");
        match event {
            LiveEvent::RunStarted(trace) => drop(check_text(trace)),
            LiveEvent::SpanStarted(span) => {
                check_text(span);
                assert!(run.spans.insert(span.id.to_string(), span.clone()).is_none(), "a span begins once: {span:?}");
            }
            LiveEvent::SpanEnded(recorded) => {
                check_text(&recorded.span);
                // One that messages tell of has only an end.
                run.spans.insert(recorded.span.id.to_string(), recorded.span.clone());
            }
            LiveEvent::RunEnded(trace) => run.ended = Some(trace.clone()),
            LiveEvent::RunAbandoned => panic!("every span has ended"),
        }
    }
    assert_eq!(runs.len(), whole.len());
    for (live, whole) in runs.values().zip(&whole) {
        assert_eq!(live.ended.as_ref(), Some(&whole.trace));
        let spans: BTreeMap<String, Span> =
            whole.spans.iter().map(|recorded| (recorded.span.id.to_string(), recorded.span.clone())).collect();
        assert_eq!(live.spans, spans);
        let there = |parent: &Id| spans.contains_key(&parent.to_string());
        assert!(spans.values().all(|span| span.parent_id.as_ref().is_none_or(there)));
    }
    Ok(())
}

fn outputs(recorder: &mut Recorder) -> (Vec<LiveUpdate>, Vec<Run>) {
    let (mut live, mut whole) = (Vec::new(), Vec::new());
    while let Some(output) = recorder.next_output() {
        match output {
            Output::Run(run) => whole.push(*run),
            Output::Live(update) => live.push(*update),
            Output::Correction(correction) => panic!("{correction:?}"),
            Output::SetAside { .. } => {}
        }
    }
    (live, whole)
}
