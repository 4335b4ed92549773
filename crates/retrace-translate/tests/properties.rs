//! What holds for any spans in any order.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use retrace_protocol::Json;
use retrace_translate::{Options, Recorder, RecorderLimits, Resource, SpanSelection, Value};
use support::any::{EVENTS, KEYS, any_selection, any_span};
use support::*;

/// How dialects say what a span is: the key, a call, an agent, and the key of the tokens that went in.
const DIALECTS: &[(&str, &str, &str, &str)] = &[
    ("gen_ai.operation.name", "chat", "invoke_agent", "gen_ai.usage.input_tokens"),
    ("gen_ai.operation.name", "text_completion", "invoke_workflow", "gen_ai.usage.prompt_tokens"),
    ("openinference.span.kind", "LLM", "AGENT", "llm.token_count.prompt"),
    ("llm.request.type", "chat", "workflow", "llm.usage.prompt_tokens"),
    ("traceloop.span.kind", "chat", "task", "gen_ai.usage.input_tokens"),
];

proptest! {
    #[test]
    fn pain_22_whatever_comes_in_comes_out_once_valid_and_whole(
        spans in prop::collection::vec(any_span(), 1..16),
        selection in any_selection(),
        capture_content: bool,
        pauses in prop::collection::vec(0_u64..400, 16),
    ) {
        let mut options = Options::default();
        options.selection = selection;
        options.capture_content = capture_content;
        let mut recorder = Recorder::new(options, RecorderLimits::default());
        let mut outputs = Outputs::default();
        let mut now = Duration::ZERO;
        for (recorded, (span, pause)) in (1_u64..).zip(spans.iter().zip(&pauses)) {
            now += Duration::from_millis(*pause);
            recorder.advance(now);
            recorder.record(span, &Arc::new(Resource::default()), now);
            outputs.take(&mut recorder);
            prop_assert_eq!(outputs.sources() + recorder.open_spans(), recorded);
        }
        recorder.finish();
        outputs.take(&mut recorder);
        prop_assert_eq!(outputs.sources(), spans.len() as u64);
        prop_assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0));

        let mut trace_ids = HashSet::new();
        for run in &outputs.runs {
            prop_assert!(trace_ids.insert(run.trace.id.clone()), "a run is emitted once");
            let sent: HashSet<_> = run.spans.iter().map(|recorded| recorded.span.id.to_string()).collect();
            prop_assert_eq!(sent.len(), run.spans.len(), "ids are unique");
            for recorded in &run.spans {
                let span = &recorded.span;
                if let Some(parent) = &span.parent_id {
                    prop_assert!(sent.contains(&parent.to_string()), "{:?} points to nothing", span);
                    prop_assert_ne!(parent, &span.id);
                }
                let text = serde_json::to_string(span).unwrap();
                prop_assert!(Json::parse_strict(&text).is_some(), "{}", text);
                prop_assert!(!text.contains("\"error\":null") && !text.contains("\"cost\":null"));
            }
            let text = serde_json::to_string(&run.trace).unwrap();
            prop_assert!(Json::parse_strict(&text).is_some(), "{}", text);
        }
    }

    /// MAPPING.md, "Span fields": nothing an application recorded is thrown away by translation.
    #[test]
    fn every_value_of_every_span_is_somewhere_in_the_run(
        spans in prop::collection::vec(
            (
                prop::collection::btree_map(prop::sample::select(KEYS), 0_usize..14, 0..12),
                0_u64..5,
                0_u8..3,
                any::<bool>(),
                prop::sample::select(EVENTS),
                prop::sample::select(&["", "chat", "execute_tool", "invoke_agent"][..]),
            ),
            1..5,
        ),
    ) {
        let mut marks = Vec::new();
        let mut mark = || {
            marks.push(1_000_003 + marks.len());
            marks.last().copied().unwrap()
        };
        let mut recorded = Vec::new();
        for (n, (attributes, parent, status, raised, message, operation)) in (1_u64..).zip(spans) {
            let mut span = span(n, if parent < n { parent } else { 0 }, &format!("name {}", mark()));
            if !operation.is_empty() {
                span = span.with("gen_ai.operation.name", operation);
            }
            let mut event = Vec::new();
            for (key, shape) in attributes {
                if genai_redact::is_credential(key) {
                    continue; // its value is not sent
                }
                let mark = mark();
                let value = match shape {
                    0 => Value::Int(i64::try_from(mark).unwrap()),
                    1 => Value::Json(format!("[{mark}]").into()),
                    2 => Value::Json(format!(r#"["{mark}"]"#).into()),
                    3 => Value::Str(format!(r#"[{{"role":"user","parts":[{{"type":"text","content":"{mark}"}}]}}]"#).into()),
                    4 => Value::Str(format!(r#"[{{"type":"function","name":"f{mark}","parameters":{{}}}}]"#).into()),
                    5 => Value::Str(format!(r#"{{"a{mark}": 1}}"#).into()),
                    7 if n % 2 == 0 => Value::Str(format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],"store":{mark}}}"#).into()),
                    7 => Value::Str(format!(r#"{{"messages":[{{"role":"user","content":"{mark}"}}],"model":"m"}}"#).into()),
                    8 => Value::Str(format!(r#"[{{"role":"user","content":[{{"type":"text","text":"{mark}"}}]}}]"#).into()),
                    9 => Value::Str(format!(r#"{{"input":{mark},"total_tokens":{mark}}}"#).into()),
                    10 => Value::Str(format!(r#"{{"choices":[{{"message":{{"role":"assistant","content":"{mark}"}}}}]}}"#).into()),
                    11 => Value::Str(format!(r#"[{{"role":"user","content":"cut {mark} and what follo"#).into()),
                    12 => Value::Str(format!(r#"[{{"role":"tool","content":[{{"type":"text","text":"{mark}"}}]}}]"#).into()),
                    13 => Value::Float(f64::from(u32::try_from(mark).unwrap())),
                    _ => Value::Str(format!("text {mark}").into()),
                };
                if shape == 2 && n % 2 == 0 {
                    event.push((key.to_owned(), value));
                } else {
                    span = span.with_value(key, value);
                }
            }
            if status > 0 {
                span = span.failed(&if status == 1 { format!("because {}", mark()) } else { String::new() });
            }
            if raised {
                event.push(("exception.message".to_owned(), Value::Str(format!("thrown {}", mark()).into())));
                span.events.push(("exception".to_owned(), event));
            } else if !event.is_empty() {
                span.events.push(("gen_ai.client.inference.operation.details".to_owned(), event));
            }
            span.events.push((message.to_owned(), vec![("content".to_owned(), Value::Str(format!("sent {}", mark()).into()))]));
            span = span.record(message, Value::Json(format!(r#"{{"content":"recorded {}"}}"#, mark()).into()));
            span = span.record(message, Value::Str(format!("text {}", mark()).into()));
            recorded.push(span);
        }
        let mut options = Options::default();
        options.selection = SpanSelection::All;
        let outputs = record_with(options, &recorded);
        let runs: Vec<_> = outputs.runs.iter().map(|run| {
            let spans: Vec<_> = run.spans.iter().map(|recorded| &recorded.span).collect();
            serde_json::to_string(&(&run.trace, spans)).unwrap()
        }).collect();
        let runs = runs.concat();
        for mark in marks {
            prop_assert!(runs.contains(&mark.to_string()), "{} is not in {}", mark, runs);
        }
    }

    /// P25: of nested spans that report usage, those below which nothing reports count.
    #[test]
    fn pain_25_totals_are_the_sum_over_leaves(
        parents in prop::collection::vec(0_usize..8, 1..12),
        usage in prop::collection::vec(prop::option::of(1_i64..1_000), 12),
        dialects in prop::collection::vec(0_usize..DIALECTS.len(), 12),
    ) {
        // Node 0 is the root; each other hangs from one before it. Inner nodes are agents, leaves are calls.
        let parents: Vec<usize> = parents.iter().enumerate().map(|(i, parent)| *parent % (i + 1)).collect();
        let is_leaf = |at: usize| !parents.contains(&at);
        let count = parents.len() + 1;
        let mut spans = Vec::new();
        for at in (0..count).rev() {
            let parent = if at == 0 { 0 } else { parents[at - 1] as u64 + 1 };
            let (n, end) = (at as u64 + 1, 1_000 - at as u64);
            // Each span in a dialect of its own.
            let (kind, call, agent, input_tokens) = DIALECTS[dialects[at]];
            let span = span(n, parent, "s").with(kind, if is_leaf(at) { call } else { agent }).during(n, end);
            spans.push(match usage[at] {
                Some(tokens) => span.with_value(input_tokens, Value::Int(tokens)),
                None => span,
            });
        }
        let above = |at: usize| std::iter::successors(Some(at), |at| at.checked_sub(1).map(|at| parents[at])).skip(1);
        let repeated = |at: usize| (0..count).any(|other| usage[other].is_some() && above(other).any(|above| above == at));
        let expected: i64 = (0..count).filter(|at| !repeated(*at)).filter_map(|at| usage[at]).sum();
        let (trace, emitted) = run_of(&spans);
        prop_assert_eq!(trace.total_tokens, Some(expected.cast_unsigned()));
        let on_spans: u64 = emitted.iter().filter_map(|span| span.input_tokens).sum();
        prop_assert_eq!(on_spans, expected.cast_unsigned(), "what counts stands on spans");
    }
}
