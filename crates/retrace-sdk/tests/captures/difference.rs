//! The differences from the official SDK that are meant to be.

use serde_json::{Value, json};

/// One row of the table: the field, with the values of both, and the reason.
pub(crate) struct Difference {
    pub(crate) field: &'static str,
    pub(crate) python: &'static str,
    pub(crate) rust: &'static str,
    pub(crate) why: &'static str,
    /// Returns true if a field with these values belongs to the row.
    is: fn(&str, &Value, &Value) -> bool,
}

/// Stands for a field that is absent.
const ABSENT: Value = Value::Bool(false);

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        field: "first span",
        python: "absent",
        rust: "a `reasoning` span with the name, input, output and error of the run",
        why: "the run is an OpenTelemetry span, which other backends get as well",
        is: |field, python, _| field.starts_with("root ") && *python == ABSENT,
    },
    Difference {
        field: "`span_count`",
        python: "*n*",
        rust: "*n* + 1",
        why: "that span is counted",
        is: |field, python, rust| {
            field.ends_with(".span_count") && python.as_u64().map(|count| count + 1) == rust.as_u64() && rust.is_u64()
        },
    },
    Difference {
        field: "`parent_id` of steps of the run",
        python: "`null`",
        rust: "the span of the run",
        why: "the tree has one root",
        is: |field, python, rust| {
            field.ends_with(".parent_id")
                && python.is_null()
                && rust.as_str().is_some_and(|name| name == "reasoning nested")
        },
    },
    Difference {
        field: "`input` of a decorated function",
        python: "`{\"args\": [\"life?\"], \"kwargs\": {\"depth\": 2}}`",
        rust: "`{\"question\": \"life?\", \"depth\": 2}`",
        why: "the names of the arguments are known; `resumable` functions have `args` and `kwargs`",
        is: |field, python, rust| {
            let of_python = python["args"].as_array().zip(python["kwargs"].as_object());
            let of_rust = rust.as_object();
            let values = of_python.zip(of_rust).is_some_and(|((args, kwargs), named)| {
                let mut left: Vec<&Value> = named.values().collect();
                let mut has = |value: &Value| left.iter().position(|v| *v == value).map(|at| left.remove(at)).is_some();
                args.iter().chain(kwargs.values()).all(&mut has) && left.is_empty()
            });
            field.starts_with("run ") && field.ends_with(".input") && values
        },
    },
    Difference {
        field: "`input` without arguments",
        python: "`{\"args\": [], \"kwargs\": {}}`",
        rust: "absent",
        why: "there is none",
        is: |field, python, rust| {
            field.ends_with(".input") && *python == json!({ "args": [], "kwargs": {} }) && *rust == ABSENT
        },
    },
    Difference {
        field: "`metadata.otel` of spans",
        python: "absent",
        rust: "the instrumentation scope",
        why: "distinguishes spans of this crate from those of libraries",
        is: |field, python, rust| {
            field.ends_with(".metadata.otel") && *python == ABSENT && rust["scope"]["name"] == retrace::SCOPE
        },
    },
    Difference {
        field: "end of a step that nobody ends",
        python: "absent",
        rust: "`ended_at`, `duration_ms`, `output: null`",
        why: "a guard ends its step when it is dropped",
        is: |field, python, _| {
            let end = field.strip_prefix("span tool_call never closed.");
            matches!(end, Some("ended_at" | "duration_ms" | "output")) && *python == ABSENT
        },
    },
    Difference {
        field: "`output` of a step without one, over HTTP",
        python: "`null`",
        rust: "absent",
        why: "both mean unknown",
        is: |field, python, rust| {
            field.starts_with("span ") && field.ends_with(".output") && python.is_null() && *rust == ABSENT
        },
    },
];

impl Difference {
    pub(crate) fn of(field: &str, python: Option<&Value>, rust: Option<&Value>) -> Option<&'static Self> {
        DIFFERENCES.iter().find(|row| (row.is)(field, python.unwrap_or(&ABSENT), rust.unwrap_or(&ABSENT)))
    }
}
