//! The translation of spans with arbitrary attributes, collected and told live.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use fuzz::Made;
use fuzz::any::span;
use libfuzzer_sys::fuzz_target;
use retrace_translate::{Options, Output, Recorder, RecorderLimits, Resource, SpanSelection, shorten};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let _ = run(&mut u);
});

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let keys = fuzz::keys();
    let mut options = Options::default();
    options.selection = if u.arbitrary()? { SpanSelection::All } else { SpanSelection::GenAi };
    options.capture_content = u.ratio(3, 4)?;
    let is_live: bool = u.arbitrary()?;
    let spans: Vec<Made> = (0..u.int_in_range(1..=5)?).map(|_| span(u, &keys)).collect::<arbitrary::Result<_>>()?;

    let mut recorder = Recorder::new(options, RecorderLimits::default());
    let resource = Arc::new(Resource::default());
    if is_live {
        spans.iter().for_each(|span| recorder.start(span, &resource, Duration::ZERO));
    }
    spans.iter().for_each(|span| recorder.record(span, &resource, Duration::ZERO));
    let open = recorder.open_spans();
    assert!(open <= spans.len() as u64);
    recorder.finish();
    assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0));
    while let Some(output) = recorder.next_output() {
        if let Output::Run(run) = output {
            let mut trace = run.trace;
            trace.spans = Some(run.spans.into_iter().map(|recorded| recorded.span).collect());
            fuzz::check(&trace);
            for json in trace.spans.iter().flatten().filter_map(|span| span.input.as_ref()) {
                let limit = usize::from(u.arbitrary::<u8>()?) + 64;
                let _ = shorten(json, limit);
            }
        }
    }
    Ok(())
}
