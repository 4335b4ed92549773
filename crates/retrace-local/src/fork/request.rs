//! The request that creates a fork: parsed and validated.

use retrace_protocol::read::Refusal;
use retrace_protocol::{Id, Json, Span, SpanType};
use serde::{Deserialize, Deserializer, Serialize};

use super::Mode;
use crate::ingest::{self, blame};

/// A fork to be stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewFork {
    pub(crate) trace_id: Id,
    pub(crate) span_id: Id,
    pub(crate) modified_input: Option<Json>,
    pub(crate) substitutions: Option<Substitutions>,
    pub(crate) mode: Mode,
}

/// Changes at the fork point. Absent members change nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Substitutions {
    /// The conversation of a model call: a list of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages: Option<Json>,
    /// The model of a model call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Members of the request of a model call, such as `temperature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<Json>,
    /// Arguments that a tool is executed with.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    tool_arguments: Option<Json>,
    /// Result of a tool, which is then not executed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    tool_output: Option<Json>,
}

/// Deserializes `null` as a value: a tool may return it.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Body {
    trace_id: Id,
    span_id: Id,
    #[serde(default)]
    modified_input: Option<Json>,
    #[serde(default)]
    substitutions: Option<Substitutions>,
    #[serde(default)]
    mode: Option<String>,
}

/// Reads the body of `POST /api/v1/forks`.
///
/// # Errors
/// Returns a refusal if the text is not a JSON object, if a field is missing or of the wrong type, or if a substitution
/// or the mode is unknown.
pub(crate) fn new_fork(body: &[u8]) -> Result<NewFork, Refusal> {
    let Body { trace_id, span_id, modified_input, substitutions, mode } = ingest::json(body)?;
    let modified_input = modified_input.filter(|input| !input.is_null());
    if modified_input.as_ref().is_some_and(|input| !input.as_str().starts_with(['"', '{'])) {
        let reason = "expected a string, which replaces the first argument, or an object with arguments by name";
        return Err(blame("modified_input", reason));
    }
    let mode = match mode.as_deref() {
        None => Mode::default(),
        Some(mode) => Mode::from_wire(mode).ok_or_else(|| blame("mode", "expected `strict`, `lenient` or `live`"))?,
    };
    let substitutions = substitutions.filter(|substitutions| *substitutions != Substitutions::default());
    if let Some(substitutions) = &substitutions {
        substitutions.check()?;
        if mode == Mode::Live {
            let reason =
                "`live` sends no recording, and the span that is changed is found in one: choose `strict` or `lenient`";
            return Err(blame("mode", reason));
        }
    }
    Ok(NewFork { trace_id, span_id, modified_input, substitutions, mode })
}

impl Substitutions {
    fn check(&self) -> Result<(), Refusal> {
        let starts = |json: &Option<Json>, with: char| json.as_ref().is_none_or(|json| json.as_str().starts_with(with));
        if !starts(&self.messages, '[') {
            return Err(blame("substitutions.messages", "expected a list of messages"));
        }
        if self.model.as_ref().is_some_and(String::is_empty) {
            return Err(blame("substitutions.model", "the name of the model is empty"));
        }
        if !starts(&self.parameters, '{') {
            return Err(blame("substitutions.parameters", "expected an object with members of the request"));
        }
        if self.tool_arguments.is_some() && self.tool_output.is_some() {
            let reason = "a tool whose result is given is not executed: give `tool_arguments` or `tool_output`";
            return Err(blame("substitutions.tool_output", reason));
        }
        Ok(())
    }

    /// Checks that the substitutions apply to the span at the fork point.
    ///
    /// # Errors
    /// Returns a refusal if a substitution of a model call is at another span, or one of a tool.
    pub(crate) fn check_span(&self, span: &Span) -> Result<(), Refusal> {
        let of_model_call = [
            ("messages", self.messages.is_some()),
            ("model", self.model.is_some()),
            ("parameters", self.parameters.is_some()),
        ];
        let of_tool = [("tool_arguments", self.tool_arguments.is_some()), ("tool_output", self.tool_output.is_some())];
        let of_other = match span.span_type {
            SpanType::LlmCall => of_tool.to_vec(),
            SpanType::ToolCall => of_model_call.to_vec(),
            _ => of_model_call.into_iter().chain(of_tool).collect(),
        };
        match of_other.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                let kind = span.span_type.as_str();
                let reason = format!("`{name}` cannot be changed at a span of type `{kind}`: choose another span");
                Err(blame(format!("substitutions.{name}"), reason))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::Timestamp;
    use serde_json::{Value, json};

    fn read(body: &Value) -> Result<NewFork, Refusal> {
        new_fork(body.to_string().as_bytes())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut body = json!({"trace_id": "t", "span_id": "s"});
        body[name] = value;
        body
    }

    #[test]
    fn a_request_is_read() {
        let fork =
            read(&json!({"trace_id": "t", "span_id": "s", "modified_input": null, "substitutions": {}})).unwrap();
        let NewFork { modified_input, substitutions, mode, .. } = &fork;
        assert_eq!((modified_input, substitutions, *mode), (&None, &None, Mode::Strict));
        let fork = read(&with("substitutions", json!({"tool_output": null}))).unwrap();
        assert_eq!(fork.substitutions.unwrap().tool_output, Some(Json::null()), "a result may be null");
        for mode in ["strict", "lenient", "live"] {
            assert_eq!(read(&with("mode", json!(mode))).unwrap().mode.as_str(), mode);
        }
    }

    #[test]
    fn a_field_that_is_wrong_is_named() {
        for (body, field) in [
            (json!({"span_id": "s"}), "trace_id"),
            (json!({"trace_id": "t"}), "span_id"),
            (with("span_id", json!(7)), "span_id"),
            (with("modified_input", json!([1])), "modified_input"),
            (with("mode", json!("fast")), "mode"),
            (json!({"trace_id": "t", "span_id": "s", "mode": "live", "substitutions": {"model": "m"}}), "mode"),
            (with("substitutions", json!({"messages": "hello"})), "substitutions.messages"),
            (with("substitutions", json!({"model": ""})), "substitutions.model"),
            (with("substitutions", json!({"model": 1})), "substitutions.model"),
            (with("substitutions", json!({"parameters": []})), "substitutions.parameters"),
            (with("substitutions", json!({"tool_output": 1, "tool_arguments": {}})), "substitutions.tool_output"),
            (with("substitutions", json!({"message": []})), "substitutions.message"),
        ] {
            let refusal = read(&body).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field), "{body}: {refusal:?}");
        }
    }

    #[test]
    fn a_substitution_fits_the_type_of_its_span() {
        let check = |span_type, substitutions: Value| {
            let fork = read(&with("substitutions", substitutions)).unwrap();
            let span = Span::new("s".into(), "t".into(), span_type, "", Timestamp::from_unix_micros(1));
            fork.substitutions.unwrap().check_span(&span).map_err(|refusal| refusal.field.unwrap())
        };
        assert_eq!(check(SpanType::LlmCall, json!({"model": "m", "messages": []})), Ok(()));
        assert_eq!(check(SpanType::ToolCall, json!({"tool_output": 1})), Ok(()));
        assert_eq!(check(SpanType::ToolCall, json!({"model": "m"})), Err("substitutions.model".into()));
        assert_eq!(check(SpanType::LlmCall, json!({"tool_output": 1})), Err("substitutions.tool_output".into()));
        assert_eq!(check(SpanType::Action, json!({"parameters": {}})), Err("substitutions.parameters".into()));
    }
}
