//! The places that attributes fill: one for each thing that a span can say, whatever the dialect calls it.

use std::collections::HashSet;

use crate::view::Value;

macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One thing that a span can say.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Slot { $($(#[$doc])* $name,)* }

        impl Slot {
            /// How many there are.
            pub(crate) const COUNT: usize = [$(Slot::$name,)*].len();
        }
    };
}

slots! {
    /// What is done, in the dialect's words.
    Operation,
    /// A wire value of `span_type`, stated outright.
    SpanType,
    /// The span's name in Retrace, stated outright.
    Name,
    Provider,
    RequestModel,
    ResponseModel,
    ResponseId,
    InputTokens,
    OutputTokens,
    CacheReadTokens,
    CacheCreationTokens,
    ReasoningTokens,
    Cost,
    SystemInstructions,
    InputMessages,
    OutputMessages,
    ToolDefinitions,
    ToolName,
    ToolCallId,
    ToolArguments,
    ToolResult,
    AgentId,
    AgentName,
    WorkflowName,
    McpMethod,
    SessionId,
    UserId,
    Tags,
    TraceName,
    FinishReasons,
    Temperature,
    TopP,
    TopK,
    Seed,
    MaxTokens,
    FrequencyPenalty,
    PresencePenalty,
    StopSequences,
    ChoiceCount,
    Streaming,
    TimeToFirstChunk,
    OutputType,
    RetrievalQuery,
    RetrievalDocuments,
    ErrorType,
    /// What a span of any type was given, stated as such.
    Input,
    /// What a span of any type returned, stated as such.
    Output,
    TokenIds,
    Logprobs,
    /// Metadata of the user's: many keys share a prefix.
    UserMetadata,
}

/// A value in its place.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    /// Which dialect said it, by its place in the order of trust; lower is trusted more.
    pub rank: usize,
    /// Which attribute of the span it is; `None` when an event said it.
    pub attribute: Option<usize>,
    pub value: Value<'a>,
}

/// All places of one span.
#[derive(Debug)]
pub(crate) struct Slots<'a> {
    held: [Option<Held<'a>>; Slot::COUNT],
    /// Values of keys that share a prefix, with what follows the prefix.
    pub many: Vec<Many<'a>>,
}

/// One of several values of a slot, told apart by the rest of its key.
#[derive(Debug)]
pub(crate) struct Many<'a> {
    pub slot: Slot,
    pub key: &'a str,
    pub attribute: Option<usize>,
    pub value: Value<'a>,
}

impl<'a> Slots<'a> {
    pub(crate) fn new() -> Self {
        Self { held: [const { None }; Slot::COUNT], many: Vec::new() }
    }

    /// Puts a value in its place, unless a dialect that is trusted more has been there. Of one dialect the later value
    /// holds, as `set_attribute` means it. Empty texts are unknown and never hold.
    pub(crate) fn put(&mut self, slot: Slot, new: Held<'a>) {
        if matches!(&new.value, Value::Str(text) if text.is_empty()) {
            return;
        }
        if let Some(place) = self.held.get_mut(slot as usize)
            && place.as_ref().is_none_or(|old| new.rank <= old.rank)
        {
            *place = Some(new);
        }
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Held<'a>> {
        self.held.get(slot as usize)?.as_ref()
    }

    pub(crate) fn value(&self, slot: Slot) -> Option<&Value<'a>> {
        self.get(slot).map(|held| &held.value)
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, slot: Slot) -> Option<&str> {
        self.value(slot)?.as_text()
    }

    /// A text, or the text form of a number.
    pub(crate) fn label(&self, slot: Slot) -> Option<String> {
        self.value(slot)?.to_label().map(|label| retrace_protocol::json::without_nul(&label).into_owned())
    }

    pub(crate) fn count(&self, slot: Slot) -> Option<u64> {
        self.value(slot)?.to_count()
    }

    pub(crate) fn number(&self, slot: Slot) -> Option<f64> {
        self.value(slot)?.to_number()
    }

    /// The numbers of the attributes that hold a place.
    pub(crate) fn used(&self) -> HashSet<usize> {
        let one = self.held.iter().flatten().filter_map(|held| held.attribute);
        one.chain(self.many.iter().filter_map(|many| many.attribute)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(rank: usize, value: &str) -> Held<'_> {
        Held { rank, attribute: Some(0), value: Value::from(value) }
    }

    #[test]
    fn trust_comes_first_then_the_later_value() {
        let mut slots = Slots::new();
        slots.put(Slot::Provider, held(2, "c"));
        slots.put(Slot::Provider, held(1, "a"));
        slots.put(Slot::Provider, held(2, "d"));
        assert_eq!(slots.text(Slot::Provider), Some("a"));
        slots.put(Slot::Provider, held(1, "b"));
        slots.put(Slot::Provider, held(0, ""));
        assert_eq!(slots.text(Slot::Provider), Some("b"));
    }
}
