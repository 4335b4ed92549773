//! The places that attributes fill: one for each thing that a span can say, whatever the dialect calls it.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt as _};
use retrace_protocol::json::without_nul;
use smallvec::SmallVec;

mod flattened;
mod nested;

use self::flattened::assembled;
pub(crate) use self::flattened::{FlattenedKey, FlattenedValue, LeafType, structured};
pub(crate) use self::nested::Nested;
use crate::view::Value;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One thing that a span can say.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Field { $($(#[$doc])* $name,)* }

        impl Field {
            /// How many there are.
            pub(crate) const COUNT: usize = [$(Field::$name,)*].len();
        }
    };
}

fields! {
    /// What is done, in the dialect's words.
    Operation,
    /// What kind of span it is, in the dialect's words.
    Kind,
    /// A wire value of `span_type`, stated outright.
    SpanType,
    /// The span's name in Retrace, stated outright.
    Name,
    Provider,
    /// The product whose model it is, where that is not who serves it.
    System,
    RequestModel,
    ResponseModel,
    /// The model, asked for or answering.
    Model,
    ResponseId,
    /// The id under which a server handles the request. It is carried among the attributes.
    RequestId,
    InputTokens,
    OutputTokens,
    CacheReadTokens,
    CacheCreationTokens,
    ReasoningTokens,
    /// Input and output together.
    TotalTokens,
    /// Usage in the words of the provider: an object, or something that has one in it.
    ProviderUsage,
    /// Usage by kinds that add up: an object of counts.
    UsageByKind,
    Cost,
    /// Cost by kinds that add up: an object of sums.
    CostByKind,
    SystemInstructions,
    InputMessages,
    OutputMessages,
    /// What was said from first to last, the answer included.
    Conversation,
    ToolDefinitions,
    ToolName,
    ToolCallId,
    ToolArguments,
    ToolResult,
    AgentId,
    AgentName,
    /// The agent that called the agent.
    ParentAgentId,
    WorkflowName,
    /// What the span is about, be it a tool, an agent or a step.
    EntityName,
    /// What is called, be it a model, a tool or a flow.
    Callee,
    McpMethod,
    SessionId,
    UserId,
    Tags,
    TraceName,
    FinishReasons,
    /// All parameters of the request, as an object.
    Parameters,
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
    /// In seconds.
    TimeToFirstChunk,
    /// In milliseconds.
    FirstChunkMillis,
    OutputType,
    RetrievalQuery,
    RetrievalDocuments,
    ErrorType,
    /// How serious what happened is, in words.
    Level,
    /// What happened.
    StatusMessage,
    /// What a span of any type was given, stated as such.
    Input,
    /// What a span of any type returned, stated as such.
    Output,
    /// How it ended, stated outright.
    Status,
    /// Why it failed, stated outright.
    StatedError,
    /// The answer was not read to its end.
    Partial,
    /// Content was cut before it was recorded.
    Truncated,
    /// What the whole run was given.
    RunInput,
    /// What the whole run returned.
    RunOutput,
    InputMimeType,
    OutputMimeType,
    TokenIds,
    Logprobs,
    /// What a library notes for itself, such as the types of its attributes. It is not carried.
    Bookkeeping,
    /// Metadata of the user's: many keys share a prefix.
    UserMetadata,
    /// Metadata of the user's, as an object.
    UserMetadataObject,
    /// Metadata of the user's, as an object whose members replace metadata of the same keys.
    StatedMetadata,
}

/// AttributeSet that the attributes of a span take at most, mostly: 1 KiB.
const USUAL: usize = 18;

/// A value in its place.
#[derive(Debug)]
pub(crate) struct FieldValue<'a> {
    /// Which dialect said it, by its place in the order of trust; lower is trusted more.
    pub rank: usize,
    /// Which attribute of the span it is; `None` when an event said it, or several attributes together.
    pub attribute: Option<usize>,
    pub value: Value<'a>,
}

/// All places of one span.
///
/// What is only looked at is not lost to the record: [`Fields::tell`] and its kin note that a value is in it, and whoever
/// keeps the rest asks [`Fields::told_attributes`].
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    placed: FieldStore<'a>,
    /// A bit for each slot whose value the record has.
    consumed: Cell<u128>,
    /// Attributes of the span whose key means something.
    meant: AttributeSet,
    /// Something in them arrived cut.
    pub truncated: Cell<bool>,
    /// Values of keys that share a prefix, with what follows the prefix.
    pub prefixed: Vec<PrefixedValue<'a>>,
    /// Keys of flattened values.
    pub flat: Vec<FlattenedValue<'a>>,
}

/// A set of attributes, by their places. Most spans have few.
#[derive(Debug, Default)]
pub(crate) struct AttributeSet {
    first: u128,
    /// Those beyond the first.
    beyond: BTreeSet<usize>,
}

impl AttributeSet {
    fn add(&mut self, place: usize) {
        if place < u128::BITS as usize {
            self.first |= 1 << place;
        } else {
            self.beyond.insert(place);
        }
    }

    pub(crate) fn has(&self, place: usize) -> bool {
        if place < u128::BITS as usize { self.first & (1 << place) != 0 } else { self.beyond.contains(&place) }
    }
}

/// What holds each slot. Most slots of a span are empty.
#[derive(Debug)]
struct FieldStore<'a> {
    /// For each slot where in `held` it is, counted from 1; 0 when nothing holds it.
    places: [u8; Field::COUNT],
    held: SmallVec<[FieldValue<'a>; USUAL]>,
}

impl<'a> FieldStore<'a> {
    /// What holds the slot with this number.
    fn at(&self, field: usize) -> Option<&FieldValue<'a>> {
        self.held.get(usize::from(*self.places.get(field)?).checked_sub(1)?)
    }

    fn put(&mut self, field: Field, new: FieldValue<'a>) {
        const { assert!(Field::COUNT < u8::MAX as usize, "a number for each slot") };
        let Some(place) = self.places.get_mut(field as usize) else { return };
        if let Some(held) = usize::from(*place).checked_sub(1).and_then(|at| self.held.get_mut(at)) {
            *held = new;
        } else if let Ok(at) = u8::try_from(self.held.len() + 1) {
            self.held.push(new);
            *place = at;
        }
    }

    fn clear(&mut self, field: usize) {
        if let Some(place) = self.places.get_mut(field) {
            *place = 0;
        }
    }
}

/// One of several values of a slot, told apart by the rest of its key.
#[derive(Debug)]
pub(crate) struct PrefixedValue<'a> {
    /// How much its dialect is trusted.
    pub rank: usize,
    pub field: Field,
    pub key: &'a str,
    pub attribute: Option<usize>,
    pub value: Value<'a>,
    /// The record has it.
    pub consumed: Cell<bool>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new() -> Self {
        const { assert!(Field::COUNT <= u128::BITS as usize, "a bit for each slot") };
        Self {
            placed: FieldStore { places: [0; Field::COUNT], held: SmallVec::new() },
            consumed: Cell::new(0),
            meant: AttributeSet::default(),
            truncated: Cell::new(false),
            prefixed: Vec::new(),
            flat: Vec::new(),
        }
    }

    /// Notes whether the key of an attribute means anything.
    pub(crate) fn note(&mut self, attribute: usize, means_something: bool) {
        if means_something {
            self.meant.add(attribute);
        }
    }

    /// Whether the key of an attribute means something.
    pub(crate) fn has_meaning(&self, attribute: usize) -> bool {
        self.meant.has(attribute)
    }

    /// Puts a value in its place, unless a dialect that is trusted more has been there. Of one dialect the later value
    /// holds, as `set_attribute` means it. Empty texts are unknown and never hold.
    pub(crate) fn put(&mut self, field: Field, new: FieldValue<'a>) {
        if matches!(&new.value, Value::Str(text) if text.is_empty()) {
            return;
        }
        if self.get(field).is_none_or(|old| new.rank <= old.rank) {
            self.placed.put(field, new);
        }
    }

    /// Moves a value to another place, unless that has one.
    pub(crate) fn move_to(&mut self, from: Field, to: Field) {
        if self.get(to).is_none() {
            let places = &mut self.placed.places;
            let at = places.get_mut(from as usize).map(std::mem::take).unwrap_or_default();
            places.get_mut(to as usize).into_iter().for_each(|place| *place = at);
        }
    }

    /// Takes back what dialects said whose keys mean something on GenAI spans only.
    pub(crate) fn clear_fields(&mut self, is_guest: impl Fn(usize) -> bool) {
        for field in 0..Field::COUNT {
            if self.placed.at(field).is_some_and(|held| is_guest(held.rank)) {
                self.placed.clear(field);
            }
        }
    }

    /// Puts flattened values together and in their places, unless a dialect that is trusted more has been there. Of one
    /// dialect the place that its table names first holds, and keys outweigh a value that is whole. To be called once, when
    /// all attributes have been put.
    pub(crate) fn gather(&mut self) {
        for (parts, value) in assembled(&mut self.flat) {
            let Some((rank, field)) = parts.first().map(|flat| (flat.rank, flat.field)) else { continue };
            let outweighs = |old: &FieldValue<'_>| rank < old.rank || (rank == old.rank && old.attribute.is_some());
            if self.placed.at(field as usize).is_none_or(outweighs) {
                self.placed.put(field, FieldValue { rank, attribute: None, value });
            } else {
                parts.iter().for_each(|flat| flat.used.set(false));
            }
        }
    }

    pub(crate) fn get(&self, field: Field) -> Option<&FieldValue<'a>> {
        self.placed.at(field as usize)
    }

    pub(crate) fn value(&self, field: Field) -> Option<&Value<'a>> {
        self.get(field).map(|held| &held.value)
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, field: Field) -> Option<&str> {
        self.value(field)?.as_text()
    }

    /// A text, or the text form of a number.
    pub(crate) fn label(&self, field: Field) -> Option<Cow<'_, str>> {
        Some(match self.value(field)?.to_label()? {
            Cow::Borrowed(text) => without_nul(text),
            // Of a number.
            owned @ Cow::Owned(_) => owned,
        })
    }

    /// [`Fields::words`], to keep.
    pub(crate) fn label_string(&self, field: Field) -> Option<String> {
        self.label(field).map(Cow::into_owned)
    }

    /// What `read` makes of the value; when it can read it, the record has it.
    pub(crate) fn consume<T>(&self, field: Field, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        let told = read(self.value(field)?)?;
        self.mark_consumed(field);
        Some(told)
    }

    /// [`Fields::words`], for the record.
    pub(crate) fn consume_label(&self, field: Field) -> Option<Cow<'_, str>> {
        let words = self.label(field)?;
        self.mark_consumed(field);
        Some(words)
    }

    /// [`Fields::label`], for the record.
    pub(crate) fn consume_label_string(&self, field: Field) -> Option<String> {
        self.consume_label(field).map(Cow::into_owned)
    }

    /// [`Value::to_count`], for the record.
    pub(crate) fn consume_count(&self, field: Field) -> Option<u64> {
        self.consume(field, Value::to_count)
    }

    /// [`Value::to_number`], for the record.
    pub(crate) fn consume_number(&self, field: Field) -> Option<f64> {
        self.consume(field, Value::to_number)
    }

    /// The record has what holds this place.
    pub(crate) fn mark_consumed(&self, field: Field) {
        self.consumed.set(self.consumed.get() | 1 << field as u32);
    }

    /// Whether the record has what holds this place.
    pub(crate) fn is_consumed(&self, field: Field) -> bool {
        self.consumed.get() & (1 << field as u32) != 0
    }

    /// The attributes that the record has.
    pub(crate) fn consumed_attributes(&self) -> AttributeSet {
        let mut left = self.consumed.get();
        let told = std::iter::from_fn(|| {
            let field = (left != 0).then_some(left.trailing_zeros())?;
            left &= left - 1;
            Some(field as usize)
        });
        let one = told.filter_map(|field| self.placed.at(field)?.attribute);
        let prefixed =
            self.prefixed.iter().filter(|prefixed| prefixed.consumed.get()).filter_map(|prefixed| prefixed.attribute);
        let flat = self.flat.iter().filter(|flat| self.has(flat)).filter_map(|flat| flat.attribute);
        let mut told = AttributeSet::default();
        one.chain(prefixed).chain(flat).for_each(|attribute| told.add(attribute));
        told
    }

    /// Of values that share a place those that hold: of two with the same rest of a key the one that is trusted more, then
    /// the later one.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = &PrefixedValue<'a>> {
        let mut best: HashMap<&str, usize> = HashMap::new();
        for (at, one) in self.prefixed.iter().enumerate().filter(|(_, one)| !one.key.is_empty()) {
            let place = best.entry(one.key).or_insert(at);
            if self.prefixed.get(*place).is_some_and(|old| one.rank <= old.rank) {
                *place = at;
            }
        }
        self.prefixed.iter().enumerate().filter(move |(at, one)| best.get(one.key) == Some(at)).map(|(_, one)| one)
    }

    /// Reasons to stop that a flattened answer has, other than those that are stated, stay attributes.
    pub(crate) fn keep_reasons(&self, stated: &[String]) {
        let reasons = self.flat.iter().filter(|flat| flat.key.ends_with(".finish_reason"));
        for flat in reasons.filter(|flat| !stated.iter().any(|one| flat.value.as_text() == Some(one))) {
            flat.used.set(false);
        }
    }

    /// Whether the record has this part of a flattened value.
    fn has(&self, flat: &FlattenedValue<'_>) -> bool {
        flat.used.get() && self.is_consumed(flat.field)
    }

    /// The parts of flattened values that events said and the record has, by what follows the prefix.
    pub(crate) fn consumed_parts(&self) -> HashMap<&str, &Value<'a>> {
        let parts = self.flat.iter().filter(|flat| flat.attribute.is_none() && self.has(flat));
        parts.map(|flat| (flat.key, &flat.value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(rank: usize, value: &str) -> FieldValue<'_> {
        FieldValue { rank, attribute: Some(0), value: Value::from(value) }
    }

    #[test]
    fn any_number_of_attributes_has_places() {
        let mut places = AttributeSet::default();
        [0, 127, 128, 5_000].into_iter().for_each(|place| places.add(place));
        assert!([0, 127, 128, 5_000].into_iter().all(|place| places.has(place)));
        assert!(![1, 126, 129, 4_999, 5_001].into_iter().any(|place| places.has(place)));
    }

    #[test]
    fn trust_comes_first_then_the_later_value() {
        let mut fields = Fields::new();
        fields.put(Field::Provider, held(2, "c"));
        fields.put(Field::Provider, held(1, "a"));
        fields.put(Field::Provider, held(2, "d"));
        assert_eq!(fields.text(Field::Provider), Some("a"));
        fields.put(Field::Provider, held(1, "b"));
        fields.put(Field::Provider, held(0, ""));
        assert_eq!(fields.text(Field::Provider), Some("b"));
    }
}
