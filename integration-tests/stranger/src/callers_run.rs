//! The crate `callers`: one run of everything in it, and what must be recorded of it.

use callers::{attributes, bare, functions, functions::Tool as _, shadowed};
use futures_util::StreamExt as _;
use retrace::{SpanType, Trace};
use serde_json::{Value, json};

use crate::expected::{named, path, spans, value};

/// Calls everything once.
pub fn run() {
    retrace::run("callers").in_scope(|_| {
        assert_eq!((attributes::recorded_then_main("tides"), attributes::main_then_recorded("tides")), (5, 5));
        assert_eq!(attributes::recorded_then_instrumented("tides"), 5);
        assert_eq!(attributes::instrumented_then_recorded("tides"), 5);
        assert_eq!((bare::sync(7), bare::nothing(7)), (Ok(7), None));
        assert_eq!((shadowed::beside_modules(7), shadowed::made_by_a_macro(7)), (7, 8));
        assert_eq!(shadowed::with_names(1, 2, 3, 4, 5, 6, 7), 28);
        assert_eq!(functions::with_lifetimes("a", "b"), ("a", "b"));
        assert_eq!(functions::impl_arguments("text", |text| text.len()), 4);
        assert_eq!((unsafe { functions::careful(7) }, functions::foreign(7)), (7, 7));
        assert_eq!(functions::Opaque(7).inner([1, 2]), 7);
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(later());
    });
}

async fn later() {
    assert_eq!(attributes::recorded_then_instrumented_later("7").await, Ok(7));
    assert!(attributes::instrumented_then_recorded_later("seven").await.is_err());
    assert_eq!((bare::later(7).await, bare::future(7).await, bare::boxed(7).await), (7, Some(8), 7));
    assert_eq!(bare::items(7).collect::<Vec<_>>().await, [7, 7]);
    assert_eq!(shadowed::beside_modules_later(7).await, Ok(7));
    assert_eq!(shadowed::beside_modules_items(7).collect::<Vec<_>>().await, [7]);
    assert_eq!(functions::Echo.invoke_twice("tides").await, ("tides".to_owned(), "tides".to_owned()));
    assert_eq!(functions::borrowed_items(&["a", "b"]).count().await, 2);
}

/// Compares what is stored.
pub fn check(runs: &[Trace]) {
    let run = runs.iter().find(|run| run.name.as_deref() == Some("callers")).expect("the run of the callers");
    for (name, input, output) in [
        ("recorded_then_main", json!({ "topic": "tides" }), json!(5)),
        ("main_then_recorded", json!({ "topic": "tides" }), json!(5)),
        ("sync", json!({ "number": 7 }), json!(7)),
        ("later", json!(7), json!(7)),
        ("future", json!({ "number": 7 }), json!(8)),
        ("boxed", json!({ "number": 7 }), json!(7)),
        ("items", json!({ "number": 7 }), json!([7, 7])),
        ("nothing", json!({ "_number": 7 }), Value::Null),
        ("beside_modules", json!({ "number": 7 }), json!(7)),
        ("beside_modules_later", json!({ "number": 7 }), json!(7)),
        ("beside_modules_items", json!({ "number": 7 }), json!([7])),
        ("made_by_a_macro", json!({ "number": 7 }), json!(8)),
        // A type parameter has no `Serialize` unless it states so.
        ("with_lifetimes", json!({ "first": "a", "second": "[&str]" }), json!(["a", "b"])),
        ("careful", json!({ "number": 7 }), json!(7)),
        ("foreign", json!({ "number": 7 }), json!(7)),
        // Arrays of any length have `Debug` alone.
        ("opaque", json!({ "_with": "[1, 2]" }), json!("[i32]")),
        ("invoke_twice", json!({ "query": "tides" }), json!(["tides", "tides"])),
        ("borrowed_items", json!({ "words": ["a", "b"] }), json!(["a", "b"])),
    ] {
        let span = named(run, name);
        assert_eq!((value(&span.input), value(&span.output)), (input, output), "{name}");
        assert_eq!(path(run, name), format!("{name} < callers"));
    }
    let names = named(run, "with_names");
    let input = json!({ "call": 1, "value": 2, "details": 3, "content": 4, "out": 5, "__out": 6, "__error": 7 });
    assert_eq!((value(&names.input), value(&names.output)), (input, json!(32)));
    assert_eq!(named(run, "later").span_type, SpanType::ToolCall);
    let echoes = spans(run).iter().filter(|span| span.name == "echo" && span.span_type == SpanType::ToolCall);
    assert_eq!(echoes.count(), 2);

    // Each function is two spans, one below the other, with its leaf below both. The attribute that stands first is expanded
    // first, into the body that the second one is around.
    let above = |name: &str| {
        let all = spans(run);
        let outer =
            all.iter().find(|span| span.name == name && span.parent_id.as_ref() == Some(&named(run, "callers").id));
        let outer = outer.unwrap_or_else(|| panic!("no {name} in {run:#?}"));
        let inner = all.iter().find(|span| span.name == name && span.parent_id.as_ref() == Some(&outer.id));
        let inner = inner.unwrap_or_else(|| panic!("one {name} in {run:#?}"));
        assert!(all.iter().any(|span| span.name == "leaf" && span.parent_id.as_ref() == Some(&inner.id)), "{name}");
        (outer, inner)
    };
    for (name, is_outer) in [
        ("recorded_then_instrumented", false),
        ("instrumented_then_recorded", true),
        ("recorded_then_instrumented_later", false),
        ("instrumented_then_recorded_later", true),
    ] {
        let (outer, inner) = above(name);
        let recorded = if is_outer { outer } else { inner };
        match name {
            "recorded_then_instrumented_later" => {
                assert_eq!((value(&recorded.output), &recorded.error), (json!(7), &None));
            }
            "instrumented_then_recorded_later" => {
                assert_eq!(recorded.error.as_deref(), Some("ParseIntError: invalid digit found in string"));
            }
            _ => assert_eq!(value(&recorded.output), json!(5), "{name}"),
        }
    }
}
