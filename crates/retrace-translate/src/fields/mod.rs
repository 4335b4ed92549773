//! Fields: the facts that a span can state, independent of the dialect.

use std::borrow::Cow;
use std::cell::Cell;

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
        /// A fact that a span can state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Field { $($(#[$doc])* $name,)* }

        impl Field {
            /// Number of fields.
            pub(crate) const COUNT: usize = [$(Field::$name,)*].len();
        }
    };
}

fields! {
    /// Operation, by the name that the dialect has for it.
    Operation,
    /// Kind of span, by the name that the dialect has for it.
    Kind,
    /// Wire value of `span_type`, stated by the application.
    SpanType,
    /// Name of the span in Retrace, stated by the application.
    Name,
    Provider,
    /// Product family of the model, if it differs from the provider.
    System,
    RequestModel,
    ResponseModel,
    /// Model, requested or responding.
    Model,
    ResponseId,
    /// Id under which a server handles the request. It is carried among the attributes.
    RequestId,
    InputTokens,
    OutputTokens,
    CacheReadTokens,
    CacheCreationTokens,
    ReasoningTokens,
    /// Sum of input and output tokens.
    TotalTokens,
    /// Usage object of the provider, or an object that contains one.
    ProviderUsage,
    /// Usage as an object of counts that add up.
    UsageByKind,
    Cost,
    /// Cost as an object of sums that add up.
    CostByKind,
    SystemInstructions,
    InputMessages,
    OutputMessages,
    /// All messages of the call, request and response.
    Conversation,
    ToolDefinitions,
    ToolName,
    ToolCallId,
    ToolArguments,
    ToolResult,
    AgentId,
    AgentName,
    /// Agent that called the agent.
    ParentAgentId,
    WorkflowName,
    /// Name of the tool, agent or step.
    EntityName,
    /// Name of the callee: a model, a tool or a flow.
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
    /// Seconds.
    TimeToFirstChunk,
    /// Milliseconds.
    FirstChunkMillis,
    OutputType,
    RetrievalQuery,
    RetrievalDocuments,
    ErrorType,
    /// Severity, as a word.
    Level,
    /// Description of the status or error.
    StatusMessage,
    /// Input of a span of any type.
    Input,
    /// Output of a span of any type.
    Output,
    /// Status, stated by the application.
    Status,
    /// Error, stated by the application.
    StatedError,
    /// The response was not read to its end.
    Partial,
    /// A recording has answered the call.
    Replayed,
    /// Content was truncated before it was recorded.
    Truncated,
    /// Input of the whole run.
    RunInput,
    /// Output of the whole run.
    RunOutput,
    InputMimeType,
    OutputMimeType,
    TokenIds,
    Logprobs,
    /// Notes of a library for its own use, such as the types of its attributes. It is not carried.
    Bookkeeping,
    /// Metadata of the user: many keys with a common prefix.
    UserMetadata,
    /// Metadata of the user, as an object.
    UserMetadataObject,
    /// Metadata of the user, as an object whose members replace metadata of the same keys.
    StatedMetadata,
}

/// Number of fields that most spans fill at most: 1 KiB.
const USUAL: usize = 18;

/// Value of a field.
#[derive(Debug)]
pub(crate) struct FieldValue<'a> {
    /// Precedence of the dialect that stated it; lower wins.
    pub rank: usize,
    /// Index of the span attribute; `None` if it comes from an event or from several attributes.
    pub attribute: Option<usize>,
    pub value: Value<'a>,
}

/// The fields of one span.
///
/// The methods named `consume…` note that the record carries the value. [`Fields::consumed_attributes`] returns the attributes
/// that need not be kept beside it.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    placed: FieldStore<'a>,
    /// A bit for each field whose value the record carries.
    consumed: Cell<u128>,
    /// Attributes whose key some dialect has.
    meant: AttributeSet,
    /// True if content arrived truncated.
    pub truncated: Cell<bool>,
    /// Values of keys with a common prefix.
    pub prefixed: Vec<PrefixedValue<'a>>,
    /// Keys of flattened values.
    pub flat: Vec<FlattenedValue<'a>>,
}

/// A set of attributes, by their index: a bit for each. Most spans have few.
#[derive(Debug, Default)]
pub(crate) struct AttributeSet {
    first: [u64; 2],
    beyond: Vec<u64>,
}

impl AttributeSet {
    fn add(&mut self, place: usize) {
        let (word, bit) = Self::position(place);
        if let Some(bits) = self.first.get_mut(word) {
            *bits |= bit;
            return;
        }
        let word = word - self.first.len();
        if word >= self.beyond.len() {
            self.beyond.resize(word + 1, 0);
        }
        self.beyond.get_mut(word).into_iter().for_each(|bits| *bits |= bit);
    }

    #[inline]
    pub(crate) fn has(&self, place: usize) -> bool {
        let (word, bit) = Self::position(place);
        let bits = self.first.get(word).or_else(|| self.beyond.get(word - self.first.len()));
        bits.is_some_and(|bits| bits & bit != 0)
    }

    /// Returns the word and the bit of an attribute.
    const fn position(place: usize) -> (usize, u64) {
        (place / u64::BITS as usize, 1 << (place % u64::BITS as usize))
    }
}

/// Values by field. Most fields of a span are empty.
#[derive(Debug)]
struct FieldStore<'a> {
    /// For each field the index into `held`, counted from 1; 0 if the field is empty.
    places: [u8; Field::COUNT],
    held: SmallVec<[FieldValue<'a>; USUAL]>,
}

impl<'a> FieldStore<'a> {
    /// Returns the value of the field with this number.
    #[inline]
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

/// One of several values of a field, distinguished by the rest of its key.
#[derive(Debug)]
pub(crate) struct PrefixedValue<'a> {
    /// Precedence of its dialect.
    pub rank: usize,
    pub field: Field,
    pub key: &'a str,
    pub attribute: Option<usize>,
    pub value: Value<'a>,
    /// True if the record carries it.
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

    /// Notes that some dialect has the key of an attribute.
    pub(crate) fn note(&mut self, attribute: usize) {
        self.meant.add(attribute);
    }

    /// Returns true if some dialect has the key of the attribute.
    #[inline]
    pub(crate) fn has_meaning(&self, attribute: usize) -> bool {
        self.meant.has(attribute)
    }

    /// Sets a field, unless a dialect of higher precedence has set it. Within one dialect the later value holds, as in
    /// `set_attribute`. Empty texts count as absent.
    pub(crate) fn put(&mut self, field: Field, new: FieldValue<'a>) {
        if matches!(&new.value, Value::Str(text) if text.is_empty()) {
            return;
        }
        if self.get(field).is_none_or(|old| new.rank <= old.rank) {
            self.placed.put(field, new);
        }
    }

    /// Moves a value to another field if that is empty.
    pub(crate) fn move_to(&mut self, from: Field, to: Field) {
        if self.get(to).is_none() {
            let places = &mut self.placed.places;
            let at = places.get_mut(from as usize).map(std::mem::take).unwrap_or_default();
            places.get_mut(to as usize).into_iter().for_each(|place| *place = at);
        }
    }

    /// Clears the fields set by dialects whose keys count on GenAI spans only; `is_guest` returns true for the rank of such a
    /// dialect.
    pub(crate) fn clear_fields(&mut self, is_guest: impl Fn(usize) -> bool) {
        for field in 0..Field::COUNT {
            if self.placed.at(field).is_some_and(|held| is_guest(held.rank)) {
                self.placed.clear(field);
            }
        }
    }

    /// Assembles flattened values and sets their fields, unless a dialect of higher precedence has set them. Within one dialect
    /// the field that its table names first wins, and flattened keys win over a whole value. Called once, after all attributes.
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

    #[inline]
    pub(crate) fn get(&self, field: Field) -> Option<&FieldValue<'a>> {
        self.placed.at(field as usize)
    }

    #[inline]
    pub(crate) fn value(&self, field: Field) -> Option<&Value<'a>> {
        self.get(field).map(|held| &held.value)
    }

    /// Returns a text that is not empty.
    #[inline]
    pub(crate) fn text(&self, field: Field) -> Option<&str> {
        self.value(field)?.as_text()
    }

    /// Returns a text, or the text form of a number.
    pub(crate) fn label(&self, field: Field) -> Option<Cow<'_, str>> {
        Some(match self.value(field)?.to_label()? {
            Cow::Borrowed(text) => without_nul(text),
            // The text form of a number.
            owned @ Cow::Owned(_) => owned,
        })
    }

    /// Returns [`Fields::label`] as a `String`.
    pub(crate) fn label_string(&self, field: Field) -> Option<String> {
        self.label(field).map(Cow::into_owned)
    }

    /// Reads a value and marks it as consumed if `read` succeeds.
    pub(crate) fn consume<T>(&self, field: Field, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        let consumed = read(self.value(field)?)?;
        self.mark_consumed(field);
        Some(consumed)
    }

    /// Consumes [`Fields::label`].
    pub(crate) fn consume_label(&self, field: Field) -> Option<Cow<'_, str>> {
        let words = self.label(field)?;
        self.mark_consumed(field);
        Some(words)
    }

    /// Consumes [`Fields::label_string`].
    pub(crate) fn consume_label_string(&self, field: Field) -> Option<String> {
        self.consume_label(field).map(Cow::into_owned)
    }

    /// Consumes [`Value::to_count`].
    pub(crate) fn consume_count(&self, field: Field) -> Option<u64> {
        self.consume(field, Value::to_count)
    }

    /// Consumes [`Value::to_number`].
    pub(crate) fn consume_number(&self, field: Field) -> Option<f64> {
        self.consume(field, Value::to_number)
    }

    /// Notes that the record carries the value of a field.
    #[inline]
    pub(crate) fn mark_consumed(&self, field: Field) {
        self.consumed.set(self.consumed.get() | 1 << field as u32);
    }

    /// Returns true if the record carries the value of a field.
    #[inline]
    pub(crate) fn is_consumed(&self, field: Field) -> bool {
        self.consumed.get() & (1 << field as u32) != 0
    }

    /// Returns the attributes that the record carries.
    pub(crate) fn consumed_attributes(&self) -> AttributeSet {
        let mut left = self.consumed.get();
        let consumed = std::iter::from_fn(|| {
            let field = (left != 0).then_some(left.trailing_zeros())?;
            left &= left - 1;
            Some(field as usize)
        });
        let one = consumed.filter_map(|field| self.placed.at(field)?.attribute);
        let prefixed =
            self.prefixed.iter().filter(|prefixed| prefixed.consumed.get()).filter_map(|prefixed| prefixed.attribute);
        let flat = self.flat.iter().filter(|flat| self.has(flat)).filter_map(|flat| flat.attribute);
        let mut consumed = AttributeSet::default();
        one.chain(prefixed).chain(flat).for_each(|attribute| consumed.add(attribute));
        consumed
    }

    /// Returns the winning values of prefixed keys: for each key the one of the highest precedence, then the latest.
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

    /// Keeps finish reasons of a flattened response as attributes if they are not among `stated`.
    pub(crate) fn keep_reasons(&self, stated: &[String]) {
        let reasons = self.flat.iter().filter(|flat| flat.key.ends_with(".finish_reason"));
        for flat in reasons.filter(|flat| !stated.iter().any(|one| flat.value.as_text() == Some(one))) {
            flat.used.set(false);
        }
    }

    /// Returns true if the record carries this part of a flattened value.
    fn has(&self, flat: &FlattenedValue<'_>) -> bool {
        flat.used.get() && self.is_consumed(flat.field)
    }

    /// Returns the parts of flattened values that come from events and that the record carries, by key without the prefix.
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
