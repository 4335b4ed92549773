//! Arguments of a function that is run again.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Most characters of a name of the receiver's that a log line repeats.
const SHOWN_CHARS: usize = 64;
/// Most names that a log line repeats.
const SHOWN_NAMES: usize = 8;

/// Arguments by the names of the parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    by_name: Map<String, Value>,
}

/// An argument that cannot be given to the function.
#[derive(Clone, PartialEq, Eq)]
pub struct ArgumentError(String);

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArgumentError {}

/// Reads an argument of a type.
#[diagnostic::on_unimplemented(
    message = "a function that is served gets its arguments as JSON, and `{T}` cannot be read from that",
    note = "implement `serde::Deserialize` for it; what is not an input, such as a client, can be made inside of the function"
)]
pub trait Decode<T> {
    /// Reads the argument of a name.
    ///
    /// # Errors
    /// There is none of the name, or it has another type.
    fn decode(arguments: &mut Arguments, name: &'static str) -> Result<T, ArgumentError>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decode<T> for super::BySerde {
    fn decode(arguments: &mut Arguments, name: &'static str) -> Result<T, ArgumentError> {
        match arguments.by_name.remove(name) {
            Some(value) => serde_json::from_value(value)
                .map_err(|error| ArgumentError(format!("argument `{name}` cannot be read: {error}"))),
            // What may be absent reads as null.
            None => serde_json::from_value(Value::Null).map_err(|_| {
                ArgumentError(format!(
                    "argument `{name}` is missing: neither the recorded run nor the new input has it"
                ))
            }),
        }
    }
}

/// What is worth a warning about the arguments of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// The function has no parameters of these names.
    Names(Vec<String>),
    /// The new input is neither a text nor an object.
    Input(&'static str),
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) => {
                write!(f, "the function has no parameters named {}, which are ignored", list(names))
            }
            Self::Input(kind) => write!(f, "a new input that is {kind} is ignored: it is a text or an object"),
        }
    }
}

impl Arguments {
    /// The recorded call: positional arguments, then those by name.
    ///
    /// # Errors
    /// There are more positional arguments than parameters, or they are no list or no object.
    pub(crate) fn recorded(
        parameters: &[&str],
        positional: Option<Value>,
        named: Option<Value>,
        ignored: &mut Vec<Ignored>,
    ) -> Result<Self, ArgumentError> {
        let mut arguments = Self::default();
        let positional = match positional {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(positional)) => positional,
            Some(other) => {
                return Err(ArgumentError(format!("the recorded arguments are {}, not a list", kind(&other))));
            }
        };
        if positional.len() > parameters.len() {
            let (given, taken) = (positional.len(), parameters.len());
            return Err(ArgumentError(format!("{given} arguments are recorded, and the function takes {taken}")));
        }
        for (name, value) in parameters.iter().zip(positional) {
            arguments.by_name.insert((*name).to_owned(), value);
        }
        match named {
            None | Some(Value::Null) => {}
            Some(Value::Object(named)) => arguments.set(parameters, named, ignored),
            Some(other) => {
                let text = format!("the recorded arguments by name are {}, not an object", kind(&other));
                return Err(ArgumentError(text));
            }
        }
        Ok(arguments)
    }

    /// Changes what a new input changes: a text the first argument, an object those that it names.
    ///
    /// # Errors
    /// The function has none of the arguments that are to be changed.
    pub(crate) fn modify(
        &mut self,
        parameters: &[&str],
        input: Option<&Value>,
        ignored: &mut Vec<Ignored>,
    ) -> Result<(), ArgumentError> {
        match input {
            None | Some(Value::Null) => {}
            Some(text @ Value::String(_)) => match parameters.first() {
                Some(first) => {
                    self.by_name.insert((*first).to_owned(), text.clone());
                }
                None => {
                    return Err(ArgumentError(
                        "the new input is a text, and the function takes no argument".to_owned(),
                    ));
                }
            },
            Some(Value::Object(named)) => {
                if !named.is_empty() && !named.keys().any(|name| parameters.contains(&name.as_str())) {
                    let names: Vec<String> = named.keys().cloned().collect();
                    let taken = match parameters {
                        [] => "no argument".to_owned(),
                        taken => taken.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
                    };
                    let names = list(&names);
                    return Err(ArgumentError(format!("the new input sets {names}, and the function takes {taken}")));
                }
                self.set(parameters, named.clone(), ignored);
            }
            Some(other) => ignored.push(Ignored::Input(kind(other))),
        }
        Ok(())
    }

    fn set(&mut self, parameters: &[&str], named: Map<String, Value>, ignored: &mut Vec<Ignored>) {
        let mut unknown = Vec::new();
        for (name, value) in named {
            if parameters.contains(&name.as_str()) {
                self.by_name.insert(name, value);
            } else {
                unknown.push(name);
            }
        }
        if !unknown.is_empty() {
            ignored.push(Ignored::Names(unknown));
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Names of the receiver's as a log line repeats them.
fn list(names: &[String]) -> String {
    let listed: Vec<String> = names.iter().take(SHOWN_NAMES).map(|name| shown(name)).collect();
    match names.len().checked_sub(SHOWN_NAMES) {
        Some(more) if more > 0 => format!("{} and {more} more", listed.join(", ")),
        _ => listed.join(", "),
    }
}

/// A name of the receiver's as a log line repeats it: bounded, without control characters.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String = name.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect();
    if name.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const PARAMETERS: &[&str] = &["question", "depth"];

    fn merged(args: Value, kwargs: Value, input: &Value) -> (Result<Value, String>, Vec<String>) {
        let mut ignored = Vec::new();
        let arguments = Arguments::recorded(PARAMETERS, Some(args), Some(kwargs), &mut ignored);
        let arguments = arguments.and_then(|mut arguments| {
            arguments.modify(PARAMETERS, Some(input), &mut ignored)?;
            Ok(Value::Object(arguments.by_name))
        });
        (arguments.map_err(|error| error.to_string()), ignored.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn input_of_every_kind() {
        let recorded = json!({"question": "old?", "depth": 2});
        for (input, expected, warns) in [
            (json!(null), json!({"question": "old?", "depth": 2}), false),
            (json!("new?"), json!({"question": "new?", "depth": 2}), false),
            (json!(""), json!({"question": "", "depth": 2}), false),
            (json!({"depth": 3}), json!({"question": "old?", "depth": 3}), false),
            (json!({"depth": null}), json!({"question": "old?", "depth": null}), false),
            (json!({"question": "new?", "allow_shell": true}), json!({"question": "new?", "depth": 2}), true),
            (json!({}), json!({"question": "old?", "depth": 2}), false),
            (json!(7), json!({"question": "old?", "depth": 2}), true),
            (json!(true), json!({"question": "old?", "depth": 2}), true),
            (json!(["new?"]), json!({"question": "old?", "depth": 2}), true),
        ] {
            // By name, by position, and both.
            for (args, kwargs) in
                [(json!([]), recorded.clone()), (json!(["old?", 2]), json!({})), (json!(["old?"]), json!({"depth": 2}))]
            {
                let (merged, warnings) = merged(args, kwargs, &input);
                assert_eq!((merged, !warnings.is_empty()), (Ok(expected.clone()), warns), "{input}");
            }
        }
    }

    #[test]
    fn a_new_input_of_which_the_function_takes_nothing_is_an_error() {
        let (merged, warnings) = merged(json!([]), json!({"question": "old?"}), &json!({"nope": 1}));
        let expected = "the new input sets \"nope\", and the function takes `question`, `depth`";
        assert_eq!((merged, warnings), (Err(expected.to_owned()), Vec::new()));
        let mut none = Arguments::default();
        let error = none.modify(&[], Some(&json!("text")), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("takes no argument"), "{error}");
        let error = none.modify(&[], Some(&json!({"a": 1})), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("takes no argument"), "{error}");
    }

    #[test]
    fn a_recorded_call_that_fits_no_function_is_an_error() {
        for (args, kwargs, expected) in [
            (json!(["a", 1, 2]), json!({}), "3 arguments are recorded, and the function takes 2"),
            (json!("a"), json!({}), "a text, not a list"),
            (json!([]), json!([]), "a list, not an object"),
        ] {
            let (merged, _) = merged(args, kwargs, &json!(null));
            assert!(merged.as_ref().unwrap_err().contains(expected), "{merged:?}");
        }
        let (merged, warnings) = merged(json!(null), json!({"old": 1}), &json!(null));
        assert_eq!(merged, Ok(json!({})));
        assert!(warnings[0].contains("\"old\""), "{warnings:?}");
    }

    #[test]
    fn what_is_read_has_the_type_of_the_parameter() {
        let read = |value: Value| {
            let mut arguments = Arguments { by_name: Map::from_iter([("depth".to_owned(), value)]) };
            <crate::serve::BySerde as Decode<u8>>::decode(&mut arguments, "depth")
        };
        assert_eq!(read(json!(7)), Ok(7));
        for other in [json!(null), json!("7"), json!(-1), json!(256), json!(1.5), json!([]), json!({}), json!(true)] {
            assert!(read(other.clone()).unwrap_err().to_string().contains("`depth` cannot be read"), "{other}");
        }
        let mut none = Arguments::default();
        assert_eq!(<crate::serve::BySerde as Decode<Option<u8>>>::decode(&mut none, "depth"), Ok(None));
        let missing = <crate::serve::BySerde as Decode<u8>>::decode(&mut none, "depth").unwrap_err();
        assert!(missing.to_string().contains("`depth` is missing"), "{missing}");
    }

    proptest! {
        #[test]
        fn a_name_in_a_log_line_is_short_and_on_one_line(name in any::<String>()) {
            let shown = shown(&name);
            prop_assert!(!shown.contains('\n') && shown.chars().count() <= (SHOWN_CHARS + 1) * 12 + 2, "{}", shown);
        }
    }
}
