//! Frames that make an agent execute a run again (PROTOCOL.md section 19).

use retrace_protocol::command::{Replay, Resume};
use retrace_protocol::metadata::{FORK_OF, FORK_POINT, REPLAY_OF};
use retrace_protocol::{Json, Span, Trace};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Fork, Mode, cassette};

/// Largest recording in a frame, in bytes of JSON.
pub(crate) const MAX_CASSETTE_BYTES: usize = 8 * 1024 * 1024;

/// Member of `resume` with the changes at the fork point. The official client ignores it.
pub(crate) const SUBSTITUTIONS: &str = "substitutions";
/// Member of `resume` with the mode of the fork, if it is not the default.
pub(crate) const MODE: &str = "mode";
/// Member of `resume`: `true` if the recording is too large for a frame. The client then reads `GET
/// /api/v1/traces/:id`.
pub(crate) const CASSETTE_OMITTED: &str = "cassetteOmitted";

/// Recorded arguments of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Call {
    /// Positional arguments.
    pub(crate) args: Vec<Value>,
    /// Arguments by name, in the order in which they were recorded.
    pub(crate) kwargs: Vec<(String, Value)>,
}

/// The new input of a fork is a text, and the recorded call does not show which argument it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownArgument;

/// Returns the id of the run that this one was forked from.
pub(crate) fn forked_from(run: &Trace) -> Option<String> {
    metadata(run).get(FORK_OF)?.as_str().map(str::to_owned)
}

fn metadata(run: &Trace) -> Map<String, Value> {
    let metadata = run.metadata.as_ref().and_then(|json| serde_json::from_str(json.as_str()).ok());
    metadata.unwrap_or_default()
}

/// Returns the name of the function that recorded a run, without the prefix of a fork or a replay.
pub(crate) fn function_name(run: &Trace) -> String {
    let mut name = run.name.as_deref().unwrap_or_default();
    let metadata = metadata(run);
    if metadata.contains_key(FORK_OF) || metadata.contains_key(REPLAY_OF) {
        while let Some(rest) = name.strip_prefix("Fork: ").or_else(|| name.strip_prefix("Replay: ")) {
            name = rest;
        }
    }
    name.to_owned()
}

/// Prepends the spans that a fork did not send again: those of `origin` before the fork point.
pub(crate) fn with_prefix(run: &mut Trace, origin: &Trace) {
    let metadata = metadata(run);
    let point = metadata.get(FORK_POINT).and_then(Value::as_str);
    let origin = origin.spans.as_deref().unwrap_or_default();
    let Some(at) = point.and_then(|point| origin.iter().position(|span| span.id.as_text() == point)) else { return };
    let own = run.spans.take().unwrap_or_default();
    run.spans = Some(origin.iter().take(at).cloned().chain(own).collect());
}

impl Call {
    /// Parses the input that a decorated function records: `{"args": […], "kwargs": {…}}`. Any other input becomes the
    /// only argument.
    pub(crate) fn recorded(input: Option<&Json>) -> Self {
        let Some(input) = input.filter(|input| !input.is_null()) else { return Self::default() };
        let other = || Self { args: input.to_value().into_iter().collect(), kwargs: Vec::new() };
        Self::parse(Some(input)).unwrap_or_else(other)
    }

    /// Parses the input that a decorated function records; `None` for any other input.
    pub(crate) fn parse(input: Option<&Json>) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Recorded {
            args: Vec<Value>,
            #[serde(deserialize_with = "in_order")]
            kwargs: Vec<(String, Value)>,
        }
        let Recorded { args, kwargs } = serde_json::from_str(input?.as_str()).ok()?;
        Some(Self { args, kwargs })
    }

    /// Returns the call as it is recorded.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::json!({"args": self.args, "kwargs": self.kwargs()})
    }

    /// Applies the modified input of a fork to the call: a string replaces the first argument, an object sets arguments
    /// by name.
    ///
    /// # Errors
    /// A string, where all arguments are by name and there are several. An agent takes the first parameter of its function; the order of
    /// the recorded arguments is that of the caller.
    pub(crate) fn modify(&mut self, input: Option<&Json>) -> Result<(), UnknownArgument> {
        match input.and_then(|input| input.to_value().ok()) {
            Some(Value::String(text)) => match (self.args.first_mut(), self.kwargs.as_mut_slice()) {
                (Some(first), _) | (None, [(_, first)]) => *first = text.into(),
                (None, []) => self.args.push(text.into()),
                (None, _) => return Err(UnknownArgument),
            },
            Some(Value::Object(members)) => {
                for (name, value) in members {
                    match self.kwargs.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = value,
                        None => self.kwargs.push((name, value)),
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn kwargs(&self) -> Value {
        Value::Object(self.kwargs.iter().cloned().collect())
    }

    /// Returns all arguments as positional ones: the only form that a `replay` frame has.
    fn positional(&self) -> Value {
        self.args.iter().chain(self.kwargs.iter().map(|(_, value)| value)).cloned().collect()
    }
}

/// Deserializes an object as a list of its members in order.
fn in_order<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Value)>, D::Error> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    deserializer.deserialize_map(Members)
}

/// Creates the data of the `resume` frame of a fork. `run` has its spans; `call` has the arguments of its function.
pub(crate) fn resume(fork: &Fork, run: &Trace, call: &Call, execution_id: Option<&str>) -> Resume {
    let spans = run.spans.as_deref().unwrap_or_default();
    let mut other = Map::new();
    if let Some(substitutions) = fork.substitutions.as_ref().and_then(|json| json.to_value().ok()) {
        other.insert(SUBSTITUTIONS.to_owned(), substitutions);
    }
    if fork.mode != Mode::default() {
        other.insert(MODE.to_owned(), fork.mode.as_str().into());
    }
    let recording = match fork.mode {
        Mode::Live => Value::Null,
        Mode::Strict | Mode::Lenient => match recording(spans) {
            Some(recording) => recording,
            None => {
                other.insert(CASSETTE_OMITTED.to_owned(), true.into());
                Value::Null
            }
        },
    };
    let index = spans.iter().position(|span| span.id == fork.span_id);
    Resume {
        fork_id: fork.id.clone(),
        trace_id: fork.trace_id.to_string(),
        trace_name: function_name(run),
        fork_point_span_id: fork.span_id.to_string(),
        fork_point_index: Some(index.map_or(Value::Null, Value::from)),
        modified_input: Some(fork.modified_input.as_ref().and_then(|json| json.to_value().ok()).unwrap_or_default()),
        original_args: Some(Value::Array(call.args.clone())),
        original_kwargs: Some(call.kwargs()),
        cassette: Some(recording),
        execution_id: Some(execution_id.map_or(Value::Null, Value::from)),
        other,
    }
}

/// Creates the data of the `replay` frame of a run; `None` if its recording is too large for a frame.
///
/// Arguments by name follow the positional ones in recorded order. They are also in `originalArgs` and
/// `originalKwargs`, for clients that know these members.
pub(crate) fn replay(run: &Trace, call: &Call) -> Option<Replay> {
    let mut other = Map::new();
    other.insert("originalArgs".to_owned(), Value::Array(call.args.clone()));
    other.insert("originalKwargs".to_owned(), call.kwargs());
    Some(Replay {
        trace_id: run.id.as_ref().map(ToString::to_string).unwrap_or_default(),
        trace_name: function_name(run),
        input: Some(call.positional()),
        cassette: Some(recording(run.spans.as_deref().unwrap_or_default())?),
        other,
    })
}

fn recording(spans: &[Span]) -> Option<Value> {
    let recording = cassette::of_frame(spans);
    (cassette::weight(&recording) <= MAX_CASSETTE_BYTES).then_some(recording)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;
    use crate::fork::ForkStatus;
    use retrace_protocol::{ServerFrame, Timestamp};
    use serde_json::json;

    const AT: &str = "2026-01-02T03:04:05Z";

    fn run(input: Value, metadata: Value) -> Trace {
        let span = |id: &str, span_type: &str, name: &str| {
            json!({"id": id, "trace_id": "t", "parent_id": null, "span_type": span_type, "name": name, "started_at": AT,
                "output": "o", "input_tokens": 1})
        };
        let spans = [span("a", "tool_call", "look"), span("b", "llm_call", "retrace.ai.generate")];
        let run = json!({"id": "t", "name": "Fork: agent", "started_at": AT, "input": input, "metadata": metadata,
            "spans": spans});
        serde_json::from_value(run).unwrap()
    }

    fn fork(mode: Mode) -> Fork {
        Fork {
            id: "f".into(),
            trace_id: "t".into(),
            span_id: "b".into(),
            mode,
            modified_input: Some(Json::text("new?")),
            substitutions: Some(Json::from_serialize(&json!({"model": "m"}))),
            status: ForkStatus::Created,
            created_at: Timestamp::from(AT),
            execution_id: None,
            claimed_at: None,
            lease_expires_at: None,
            result_trace_id: None,
            error: None,
            executions: Vec::new(),
            version: 0,
        }
    }

    /// The members of the captured frames (`ws-p-resume`), and two more.
    #[test]
    fn a_resume_has_the_members_of_the_captured_one() {
        let run = run(json!({"args": ["old?"], "kwargs": {"k": 1}}), json!({}));
        let call = Call::recorded(run.input.as_ref());
        let data = Box::new(resume(&fork(Mode::Live), &run, &call, Some("e")));
        let frame = serde_json::to_value(ServerFrame::Resume { data, other: Map::new() }).unwrap();
        assert_eq!(
            frame,
            json!({"type": "resume", "data": {"forkId": "f", "traceId": "t", "traceName": "Fork: agent",
                "forkPointSpanId": "b", "forkPointIndex": 1, "modifiedInput": "new?", "originalArgs": ["old?"],
                "originalKwargs": {"k": 1}, "cassette": null, "executionId": "e", "substitutions": {"model": "m"},
                "mode": "live"}})
        );
        let strict = resume(&fork(Mode::Strict), &run, &call, None);
        assert_eq!((strict.execution_id, strict.other.get(MODE)), (Some(Value::Null), None));
        let cassette = strict.cassette.unwrap();
        assert_eq!(cassette[0]["name"], "look");
        assert_eq!((&cassette[1]["name"], &cassette[1]["output"]), (&json!("gemini.generate_content"), &json!("o")));
    }

    #[test]
    fn a_fork_of_a_fork_is_a_call_of_the_same_function() {
        let run = run(json!("x"), json!({"_fork_of": "u"}));
        assert_eq!(forked_from(&run).as_deref(), Some("u"));
        assert_eq!(function_name(&run), "agent");
        let mut call = Call { args: vec![json!("a")], kwargs: vec![("k".into(), json!(1))] };
        call.modify(Some(&Json::text("b"))).unwrap();
        call.modify(Some(&Json::from_serialize(&json!({"k": 2, "l": 3})))).unwrap();
        assert_eq!(call.args, [json!("b")]);
        assert_eq!(call.kwargs, [("k".to_owned(), json!(2)), ("l".to_owned(), json!(3))]);
        call.modify(None).unwrap();
        let mut named = Call { args: Vec::new(), kwargs: vec![("q".into(), json!("a"))] };
        named.modify(Some(&Json::text("b"))).unwrap();
        assert_eq!(named.to_value(), json!({"args": [], "kwargs": {"q": "b"}}));
        // The caller's order need not be that of the parameters.
        named.kwargs.insert(0, ("depth".into(), json!(3)));
        let before = named.clone();
        assert_eq!((named.modify(Some(&Json::text("c"))), named == before), (Err(UnknownArgument), true));
        let mut empty = Call::default();
        empty.modify(Some(&Json::text("b"))).unwrap();
        assert_eq!(empty.args, [json!("b")]);
    }

    #[test]
    fn a_fork_of_a_fork_has_the_recording_of_both() {
        let origin = run(json!("x"), json!({}));
        let mut forked = run(json!("x"), json!({"_fork_of": "t", "_fork_point": "b"}));
        forked.spans = Some(vec![Span { id: "c".into(), ..origin.spans.as_ref().unwrap()[1].clone() }]);
        with_prefix(&mut forked, &origin);
        let ids: Vec<_> = forked.spans.as_ref().unwrap().iter().map(|span| span.id.to_string()).collect();
        assert_eq!(ids, ["a", "c"]);
        let point = Fork { span_id: "c".into(), ..fork(Mode::Live) };
        assert_eq!(resume(&point, &forked, &Call::default(), None).fork_point_index, Some(json!(1)));
        let mut other = run(json!("x"), json!({"_fork_point": "unknown"}));
        with_prefix(&mut other, &origin);
        assert_eq!(other.spans.unwrap().len(), 2);
    }

    #[test]
    fn a_replay_has_positional_arguments_in_the_recorded_order() {
        let mut recorded = run(json!(null), json!({}));
        recorded.input = Json::parse_strict(r#"{"args":[1],"kwargs":{"z":2,"a":3}}"#);
        let call = Call::recorded(recorded.input.as_ref());
        let replay = replay(&recorded, &call).unwrap();
        assert_eq!(replay.input, Some(json!([1, 2, 3])));
        assert_eq!(replay.cassette.unwrap().as_array().unwrap().len(), 2);
        // Other input is a single argument.
        assert_eq!(Call::recorded(Some(&Json::text("q"))).args, [json!("q")]);
        assert_eq!(Call::recorded(Some(&Json::from_serialize(&json!({"args": [], "q": 1})))).args.len(), 1);
        assert_eq!(Call::recorded(None), Call::default());
    }

    #[test]
    fn a_recording_that_no_frame_holds_is_left_out() {
        let mut large = run(json!("x"), json!({}));
        large.spans.as_mut().unwrap()[0].output = Some(Json::text(&"x".repeat(MAX_CASSETTE_BYTES)));
        assert_eq!(replay(&large, &Call::default()), None);
        let resume = resume(&fork(Mode::Strict), &large, &Call::default(), None);
        assert_eq!((resume.cassette, resume.other.get(CASSETTE_OMITTED)), (Some(Value::Null), Some(&json!(true))));
    }
}
