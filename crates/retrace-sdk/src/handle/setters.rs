//! The setters that builders and handles have in common.

/// Defines the setters. `$self` is the token `self`, `$receiver` how the methods take it, `$gives` their return type. The type
/// has `edit`, which runs its closure on the facts if they are recorded, and `edit_content`, which sets a content attribute.
macro_rules! setters {
    ($self:ident, ($($receiver:tt)*) -> $gives:ty) => {
        /// Records the input, in place of an earlier one. Any `Serialize`, by value or by reference; bounded by
        /// [`VALUE_BYTES`](crate::VALUE_BYTES). On a run that can be resumed an object gives the arguments by name.
        pub fn input($($receiver)*, input: impl Serialize) -> $gives {
            $self.edit_input(|| Value::serialize(&input));
            $self
        }

        /// Records the output, in place of an earlier one. Any `Serialize`, by value or by reference; bounded by
        /// [`VALUE_BYTES`](crate::VALUE_BYTES).
        pub fn output($($receiver)*, output: impl Serialize) -> $gives {
            $self.edit_content(attributes::OUTPUT, || Value::serialize(&output));
            $self
        }

        /// Records metadata: of a run on the run, of a step on the step. A later value replaces an earlier one. At most
        /// [`METADATA_KEYS`](crate::METADATA_KEYS) keys.
        pub fn metadata($($receiver)*, key: impl Into<String>, value: impl Serialize) -> $gives {
            $self.edit(|facts| facts.metadata(key.into(), Value::serialize(&value)));
            $self
        }

        /// Adds a label to the run.
        pub fn tag($($receiver)*, tag: impl Into<String>) -> $gives {
            $self.edit(|facts| facts.tag(tag.into()));
            $self
        }

        /// Adds labels to the run.
        pub fn tags<T: Into<String>>($($receiver)*, tags: impl IntoIterator<Item = T>) -> $gives {
            $self.edit(|facts| tags.into_iter().for_each(|tag| facts.tag(tag.into())));
            $self
        }

        /// Sets the session that the run belongs to.
        pub fn session($($receiver)*, id: impl Into<String>) -> $gives {
            $self.edit(|facts| facts.set(attributes::SESSION_ID, id.into()));
            $self
        }

        /// Sets the user on whose behalf the run is made.
        pub fn user($($receiver)*, id: impl Into<String>) -> $gives {
            $self.edit(|facts| facts.set(attributes::USER_ID, id.into()));
            $self
        }

        /// Sets the status. `completed` and `failed` are those of the protocol, and hold whatever else happens; any other text
        /// is kept as the metadata `status`.
        pub fn status($($receiver)*, status: impl Into<String>) -> $gives {
            $self.edit(|facts| facts.set(attributes::STATUS, status.into()));
            $self
        }

        /// Sets the model that was called.
        pub fn model($($receiver)*, model: impl Into<String>) -> $gives {
            $self.edit(|facts| facts.set(attributes::MODEL, model.into()));
            $self
        }

        /// Sets the tokens in and out. A count that no `u64` holds is left out.
        pub fn tokens($($receiver)*, input: impl TryInto<u64>, output: impl TryInto<u64>) -> $gives {
            $self.edit(|facts| {
                facts.set_count(attributes::INPUT_TOKENS, input.try_into().ok());
                facts.set_count(attributes::OUTPUT_TOKENS, output.try_into().ok());
            });
            $self
        }

        /// Sets the cost in US dollars.
        pub fn cost($($receiver)*, dollars: impl Into<f64>) -> $gives {
            $self.edit(|facts| facts.set(attributes::COST, dollars.into()));
            $self
        }

        /// Records the ids of the tokens that the model generated: a list of whole numbers. They are content.
        pub fn token_ids($($receiver)*, ids: impl Serialize) -> $gives {
            $self.edit_content(attributes::TOKEN_IDS, || Value::serialize(&ids));
            $self
        }

        /// Records the log-probabilities of the tokens that the model generated: a list of numbers.
        pub fn logprobs($($receiver)*, logprobs: impl Serialize) -> $gives {
            $self.edit(|facts| facts.set_value(attributes::LOGPROBS, Value::serialize(&logprobs)));
            $self
        }

        /// Sets the provider's id of the tool call that this executes, or whose result it is.
        pub fn tool_call_id($($receiver)*, id: impl Into<String>) -> $gives {
            $self.edit(|facts| facts.set(attributes::TOOL_CALL_ID, id.into()));
            $self
        }

        /// Records that it failed. The first failure holds. The alternate form of `Display` is used, by which the usual error
        /// wrappers name the sources of an error.
        pub fn fail($($receiver)*, message: impl Display) -> $gives {
            $self.edit_failure(|| Failure::message(&message));
            $self
        }

        /// Records that it failed with an error, as `Type: message`, with the messages of its sources. The first failure holds.
        pub fn fail_with<E: Error + ?Sized>($($receiver)*, error: &E) -> $gives {
            $self.edit_failure(|| Failure::error(error));
            $self
        }
    };
}

pub(crate) use setters;
