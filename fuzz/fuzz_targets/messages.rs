//! The parsers of messages: one text under one key, on the span or on an event of it.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use fuzz::{Event, Made};
use libfuzzer_sys::fuzz_target;
use retrace_translate::{Kind, Options, Output, Parent, Recorder, RecorderLimits, Resource, Value};

fuzz_target!(|data: &[u8]| {
    let Some((&[high, low, kind], text)) = data.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let keys = fuzz::keys();
    let Some(key) = keys.get(usize::from(u16::from_be_bytes([high, low])) % keys.len()) else { return };
    let value = if kind % 2 == 0 { Value::Str(text.to_owned().into()) } else { Value::Json(text.to_owned().into()) };
    let marks = vec![
        ("gen_ai.operation.name".to_owned(), Value::from("chat")),
        ("openinference.span.kind".to_owned(), Value::from("LLM")),
        ("ai.operationId".to_owned(), Value::from("ai.generateText.doGenerate")),
        ((*key).to_owned(), value.clone()),
    ];
    let event = Event { name: (*key).to_owned(), attributes: marks.clone(), body: Some(value) };
    let span = Made {
        span_id: [1; 8],
        parent: Parent::None,
        name: "chat".into(),
        kind: Kind::Client,
        times: (1, 2),
        error: None,
        attributes: marks,
        events: vec![event],
    };
    let mut recorder = Recorder::new(Options::default(), RecorderLimits::default());
    recorder.record(&span, &Arc::new(Resource::default()), Duration::ZERO);
    recorder.finish();
    while let Some(output) = recorder.next_output() {
        if let Output::Run(run) = output {
            let mut trace = run.trace;
            trace.spans = Some(run.spans.into_iter().map(|recorded| recorded.span).collect());
            fuzz::check(&trace);
        }
    }
});
