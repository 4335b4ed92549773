//! Fork points: where a replay becomes live, and what is changed there.

use retrace_protocol::SpanType;
use serde_json::{Map, Value};

use crate::cassette::Cassette;

/// Position in a recorded run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkPoint {
    /// Entry with this ordinal.
    Ordinal(u64),
    /// Model call with this number, from 1.
    ModelCall(usize),
    /// Span with this id in Retrace.
    Span(String),
    /// First entry of this name: a tool step, or a place marked with `fork_point`.
    Name(String),
}

/// A fork: the position from which the run is live, and what is changed there.
#[derive(Clone, Debug)]
pub struct Fork {
    /// Position.
    pub at: ForkPoint,
    /// Changes of the call at that position.
    pub substitutions: Substitutions,
}

/// Changes of the call at the fork point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Substitutions {
    /// Conversation, in the place of the request's.
    pub messages: Option<Value>,
    /// Model, in the place of the request's.
    pub model: Option<String>,
    /// Members of the request that are set, such as `temperature`.
    pub parameters: Map<String, Value>,
    /// Single values of the request by dotted path, such as `messages.1.content`.
    pub edits: Vec<(String, Value)>,
    /// Arguments of a tool step, in the place of those that it is called with.
    pub tool_arguments: Option<Value>,
    /// Result of a tool step, which is not executed then.
    pub tool_output: Option<Value>,
}

/// A substitution that a call has no place for.
#[derive(Clone, PartialEq, Eq)]
pub struct SubstitutionError {
    /// Path or member that is missing.
    pub path: String,
    /// Reason.
    pub reason: &'static str,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for SubstitutionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for SubstitutionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the substitution of `{}` cannot be applied: {}", self.path, self.reason)
    }
}

impl std::error::Error for SubstitutionError {}

/// Members that hold a conversation, by API.
const CONVERSATIONS: [&str; 4] = ["messages", "contents", "input", "prompt"];

impl Substitutions {
    /// Returns true if the request of a model call is changed.
    #[must_use]
    pub fn changes_request(&self) -> bool {
        let Self { messages, model, parameters, edits, .. } = self;
        messages.is_some() || model.is_some() || !parameters.is_empty() || !edits.is_empty()
    }

    /// Returns true if nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the names of what is changed: those of members, and the paths of single values.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let (of_request, of_step) = (self.names_of_request(), self.names_of_step());
        of_request.into_iter().chain(of_step.into_iter().map(str::to_owned)).collect()
    }

    fn names_of_request(&self) -> Vec<String> {
        let Self { messages, model, parameters, edits, .. } = self;
        let members = [("messages", messages.is_some()), ("model", model.is_some())];
        let members = members.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name.to_owned());
        let parameters = parameters.keys().map(|name| format!("parameters.{name}"));
        members.chain(parameters).chain(edits.iter().map(|(path, _)| path.clone())).collect()
    }

    fn names_of_step(&self) -> Vec<&'static str> {
        let members = [("tool_arguments", &self.tool_arguments), ("tool_output", &self.tool_output)];
        members.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect()
    }

    /// Checks that a call of this type has a place for the changes.
    ///
    /// # Errors
    /// The first change that it has no place for.
    pub(crate) fn check(&self, span_type: SpanType) -> Result<(), SubstitutionError> {
        let of_step = || self.names_of_step().first().map(|name| (*name).to_owned());
        let (misplaced, reason) = match span_type {
            SpanType::LlmCall => (of_step(), "the entry is a model call, which has messages, a model and parameters"),
            SpanType::ForkPoint => {
                (self.names().into_iter().next(), "the entry is a mark; name the call that is to be changed")
            }
            _ => (
                self.names_of_request().into_iter().next(),
                "the entry is a step, which has `tool_arguments` or `tool_output`",
            ),
        };
        if let Some(path) = misplaced {
            return Err(SubstitutionError { path, reason });
        }
        match (&self.tool_arguments, &self.tool_output) {
            (Some(_), Some(_)) => Err(SubstitutionError {
                path: "tool_arguments".to_owned(),
                reason: "a step that is given its result by `tool_output` is not executed",
            }),
            _ => Ok(()),
        }
    }

    /// Applies the changes to the request of a model call. The model of a URL is not changed.
    ///
    /// # Errors
    /// A path that the request does not have, or a request without a conversation.
    pub fn apply(&self, request: &mut Value) -> Result<(), SubstitutionError> {
        let fail = |path: &str, reason| SubstitutionError { path: path.to_owned(), reason };
        let Some(members) = request.as_object_mut() else {
            return Err(fail("", "it is not a JSON object"));
        };
        if let Some(messages) = &self.messages {
            let name = CONVERSATIONS.into_iter().find(|name| members.contains_key(*name));
            let name = name.ok_or_else(|| fail("messages", "it has no conversation"))?;
            members.insert(name.to_owned(), messages.clone());
        }
        if let Some(model) = &self.model {
            if !members.contains_key("model") {
                return Err(fail("model", "its model stands in the URL"));
            }
            members.insert("model".to_owned(), model.as_str().into());
        }
        members.extend(self.parameters.clone());
        for (path, value) in &self.edits {
            *at_path(request, path).ok_or_else(|| fail(path, "there is no such value"))? = value.clone();
        }
        Ok(())
    }
}

/// Returns the value at a dotted path. The last member of an object may be new.
fn at_path<'a>(request: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut value = request;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        value = match value {
            Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?)?,
            Value::Object(members) => {
                if names.peek().is_none() && !members.contains_key(name) {
                    members.insert(name.to_owned(), Value::Null);
                }
                members.get_mut(name)?
            }
            _ => return None,
        };
    }
    Some(value)
}

impl ForkPoint {
    /// Returns the place of the fork point in the index. `None` where the cassette has no such entry.
    #[must_use]
    pub fn resolve(&self, cassette: &Cassette) -> Option<usize> {
        let index = cassette.index();
        match self {
            Self::Ordinal(ordinal) => index.iter().position(|entry| entry.ordinal == *ordinal),
            Self::ModelCall(number) => {
                let mut calls = index.iter().enumerate().filter(|(_, entry)| entry.span_type == SpanType::LlmCall);
                calls.nth(number.checked_sub(1)?).map(|(at, _)| at)
            }
            Self::Span(id) => index.iter().position(|entry| entry.span_id.as_deref() == Some(id.as_str())),
            Self::Name(name) => index.iter().position(|entry| cassette.name(entry) == name),
        }
    }
}

impl std::fmt::Display for ForkPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ordinal(ordinal) => write!(f, "entry {ordinal}"),
            Self::ModelCall(number) => write!(f, "model call {number}"),
            Self::Span(id) => write!(f, "span {id}"),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn substitutions_change_what_they_name() {
        let mut request =
            json!({"model": "a", "messages": [{"role": "system"}, {"role": "user", "content": "hi"}], "seed": 1});
        let substitutions = Substitutions {
            model: Some("b".to_owned()),
            parameters: json!({"temperature": 0.5}).as_object().cloned().unwrap(),
            edits: vec![("messages.1.content".to_owned(), json!("bye"))],
            ..Substitutions::default()
        };
        substitutions.apply(&mut request).unwrap();
        assert_eq!(
            request,
            json!({"model": "b", "messages": [{"role": "system"}, {"role": "user", "content": "bye"}], "seed": 1, "temperature": 0.5})
        );
        let messages = Substitutions { messages: Some(json!([])), ..Substitutions::default() };
        messages.apply(&mut request).unwrap();
        assert_eq!(request["messages"], json!([]));
        assert!(messages.apply(&mut json!({"a": 1})).unwrap_err().to_string().contains("no conversation"));
        let edits = Substitutions { edits: vec![("messages.7.x".to_owned(), json!(1))], ..Substitutions::default() };
        assert!(edits.apply(&mut request).is_err());
    }
}
