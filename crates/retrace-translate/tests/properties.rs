//! What holds for any spans in any order.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use retrace_protocol::Json;
use retrace_translate::{Options, Parent, Recorder, RecorderLimits, Resource, SpanSelection, Value};
use support::*;

/// Text in which everything that has ever broken a reader of JSON is likely.
fn nasty_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\0".to_owned()),
        Just(r"\ud800".to_owned()),
        Just(r#""\u0000""#.to_owned()),
        Just("1e999".to_owned()),
        Just("NaN".to_owned()),
        Just("[".repeat(70)),
        Just(r#"{"role":"user","parts":[{"type":"text","content":"x"}]}"#.to_owned()),
        Just(r#"{"type":"tool_call","id":"c","name":"f","arguments":"{\"a\":1}"}"#.to_owned()),
        "[\\[\\]{}\",:a-z0-9\\\\ ]{0,12}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn any_value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        4 => nasty_text().prop_map(|text| Value::Str(text.into())),
        2 => nasty_text().prop_map(|text| Value::Str(format!("[{text}]").into())),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::Int),
        1 => any::<f64>().prop_map(Value::Float),
        1 => nasty_text().prop_map(|text| Value::Json(text.into())),
    ]
}

const KEYS: &[&str] = &[
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.response.finish_reasons",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.name",
    "gen_ai.tool.call.id",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gen_ai.request.temperature",
    "gen_ai.request.seed",
    "gen_ai.request.stop_sequences",
    "retrace.input",
    "retrace.output",
    "retrace.tags",
    "retrace.token_ids",
    "retrace.logprobs",
    "retrace.metadata.x",
    "retrace.metadata._fork_of",
    "retrace.cost",
    "session.id",
    "error.type",
    "other",
    "",
    "enduser.id",
    "gen_ai.agent.id",
    "gen_ai.completion",
    "gen_ai.openai.request.response_format",
    "gen_ai.openai.request.seed",
    "gen_ai.output.type",
    "gen_ai.prompt",
    "gen_ai.provider.name",
    "gen_ai.request.choice.count",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.max_tokens",
    "gen_ai.request.presence_penalty",
    "gen_ai.request.stream",
    "gen_ai.request.top_k",
    "gen_ai.request.top_p",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.retrieval.documents",
    "gen_ai.retrieval.query.text",
    "gen_ai.system",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.completion_tokens",
    "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.workflow.name",
    "mcp.method.name",
    "retrace.agent_id",
    "retrace.agent_role",
    "retrace.input_tokens",
    "retrace.model",
    "retrace.name",
    "retrace.output_tokens",
    "retrace.session_id",
    "retrace.span_type",
    "retrace.tool_call_id",
    "retrace.trace.name",
    "retrace.user_id",
    "user.id",
];

fn any_span() -> impl Strategy<Value = TestSpan> {
    let attributes = prop::collection::vec((prop::sample::select(KEYS), any_value()), 0..10);
    let operation = prop::sample::select(&["chat", "execute_tool", "invoke_agent", "retrieval", "odd", ""][..]);
    (1_u64..12, 0_u64..14, any::<bool>(), 0_u64..40, 0_u64..40, attributes, operation, nasty_text(), any::<u8>())
        .prop_map(|(n, parent, remote, start, end, attributes, operation, name, error)| {
            let mut span = span(n, parent, &name).during(start, end);
            if remote && parent > 10 {
                span.parent = Parent::Remote(id(parent));
            }
            if !operation.is_empty() {
                span = span.with("gen_ai.operation.name", operation);
            }
            for (key, value) in attributes {
                span = span.with_value(key, value.clone());
                span.events.push(("exception".to_owned(), vec![(key.to_owned(), value)]));
            }
            if error < 60 {
                span = span.failed(&name);
            }
            span
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_in_comes_out_once_valid_and_whole(
        spans in prop::collection::vec(any_span(), 1..16),
        all: bool,
        capture_content: bool,
        pauses in prop::collection::vec(0_u64..400, 16),
    ) {
        let mut options = Options::default();
        options.selection = if all { SpanSelection::All } else { SpanSelection::GenAi };
        options.capture_content = capture_content;
        let mut recorder = Recorder::new(options, RecorderLimits::default());
        let mut said = Said::default();
        let mut now = Duration::ZERO;
        for (recorded, (span, pause)) in (1_u64..).zip(spans.iter().zip(&pauses)) {
            now += Duration::from_millis(*pause);
            recorder.advance(now);
            recorder.record(span, &Arc::new(Resource::default()), now);
            said.take(&mut recorder);
            prop_assert_eq!(said.sources() + recorder.open_spans(), recorded);
        }
        recorder.finish();
        said.take(&mut recorder);
        prop_assert_eq!(said.sources(), spans.len() as u64);
        prop_assert_eq!((recorder.open_spans(), recorder.weight()), (0, 0));

        let mut trace_ids = HashSet::new();
        for run in &said.runs {
            prop_assert!(trace_ids.insert(run.trace.id.clone()), "a run is told once");
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

    /// MAPPING.md, "Spans": nothing an application recorded is thrown away by translation.
    #[test]
    fn every_value_of_every_span_is_somewhere_in_the_run(
        spans in prop::collection::vec(
            (prop::collection::btree_map(prop::sample::select(KEYS), 0_usize..7, 0..12), 0_u64..5, 0_u8..3, any::<bool>()),
            1..5,
        ),
    ) {
        let mut marks = Vec::new();
        let mut mark = || {
            marks.push(1_000_003 + marks.len());
            marks.last().copied().unwrap()
        };
        let mut recorded = Vec::new();
        for (n, (attributes, parent, status, raised)) in (1_u64..).zip(spans) {
            let mut span = span(n, if parent < n { parent } else { 0 }, &format!("name {}", mark()));
            let mut event = Vec::new();
            for (key, shape) in attributes {
                let mark = mark();
                let value = match shape {
                    0 => Value::Int(i64::try_from(mark).unwrap()),
                    1 => Value::Json(format!("[{mark}]").into()),
                    2 => Value::Json(format!(r#"["{mark}"]"#).into()),
                    3 => Value::Str(format!(r#"[{{"role":"user","parts":[{{"type":"text","content":"{mark}"}}]}}]"#).into()),
                    4 => Value::Str(format!(r#"[{{"type":"function","name":"f{mark}","parameters":{{}}}}]"#).into()),
                    5 => Value::Str(format!(r#"{{"a{mark}": 1}}"#).into()),
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
            recorded.push(span);
        }
        let mut options = Options::default();
        options.selection = SpanSelection::All;
        let said = record_with(options, &recorded);
        let runs: Vec<_> = said.runs.iter().map(|run| {
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
    ) {
        // Node 0 is the root; each other hangs from one before it. Inner nodes are agents, leaves are calls.
        let parents: Vec<usize> = parents.iter().enumerate().map(|(i, parent)| *parent % (i + 1)).collect();
        let is_leaf = |at: usize| !parents.contains(&at);
        let count = parents.len() + 1;
        let mut spans = Vec::new();
        for at in (0..count).rev() {
            let parent = if at == 0 { 0 } else { parents[at - 1] as u64 + 1 };
            let (n, end) = (at as u64 + 1, 1_000 - at as u64);
            let span = if is_leaf(at) { chat(n, parent) } else { agent(n, parent, "a") };
            let span = span.during(n, end);
            spans.push(match usage[at] {
                Some(tokens) => span.with_value("gen_ai.usage.input_tokens", Value::Int(tokens)),
                None => span,
            });
        }
        let above = |at: usize| std::iter::successors(Some(at), |at| at.checked_sub(1).map(|at| parents[at])).skip(1);
        let repeated = |at: usize| (0..count).any(|other| usage[other].is_some() && above(other).any(|above| above == at));
        let expected: i64 = (0..count).filter(|at| !repeated(*at)).filter_map(|at| usage[at]).sum();
        let (trace, told) = run_of(&spans);
        prop_assert_eq!(trace.total_tokens, Some(expected.cast_unsigned()));
        let on_spans: u64 = told.iter().filter_map(|span| span.input_tokens).sum();
        prop_assert_eq!(on_spans, expected.cast_unsigned(), "what counts stands on spans");
    }
}
