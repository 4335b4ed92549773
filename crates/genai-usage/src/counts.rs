//! Token counts in one form.

/// Token counts of one call. A count that is not reported is `None`, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The count that the API calls input.
    pub input: Option<u64>,
    /// Input that the API counts beside its input: prompts of tools that the provider ran, sound.
    pub more_input: Option<u64>,
    /// The count that the API calls output.
    pub output: Option<u64>,
    /// Input tokens read from a cache.
    pub cache_read: Option<u64>,
    /// Input tokens written to a cache.
    pub cache_creation: Option<u64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<u64>,
    /// All tokens, where the API adds them up.
    pub total: Option<u64>,
    /// `input` excludes the tokens of the cache.
    pub input_without_cache: bool,
    /// `output` excludes the tokens of reasoning.
    pub output_without_reasoning: bool,
}

impl Counts {
    /// Returns all input tokens, cached ones included. Where only those of the cache are known, all of them are unknown.
    #[must_use]
    pub fn all_input(&self) -> Option<u64> {
        let beside = if self.input_without_cache { self.cached() } else { 0 };
        Some(self.stated_input()?.saturating_add(beside))
    }

    /// Returns all output tokens, those of reasoning included. Gemini leaves a zero out, so output that is not reported beside
    /// reasoning is zero.
    #[must_use]
    pub fn all_output(&self) -> Option<u64> {
        match self.reasoning.filter(|_| self.output_without_reasoning) {
            Some(reasoning) => Some(self.output.unwrap_or(0).saturating_add(reasoning)),
            None => self.output,
        }
    }

    /// Merges a later report of the same answer. Reports are cumulative, so a count never falls: of two values the larger one
    /// holds, and a missing value changes nothing.
    pub fn merge(&mut self, later: Self) {
        let take = |place: &mut Option<u64>, value: Option<u64>| *place = (*place).max(value);
        take(&mut self.input, later.input);
        take(&mut self.more_input, later.more_input);
        take(&mut self.output, later.output);
        take(&mut self.cache_read, later.cache_read);
        take(&mut self.cache_creation, later.cache_creation);
        take(&mut self.reasoning, later.reasoning);
        take(&mut self.total, later.total);
        self.input_without_cache |= later.input_without_cache;
        self.output_without_reasoning |= later.output_without_reasoning;
    }

    /// Returns true if no count is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { input, more_input, output, cache_read, cache_creation, reasoning, total, .. } = self;
        [input, more_input, output, cache_read, cache_creation, reasoning, total].into_iter().all(Option::is_none)
    }

    /// Returns the input as the API counts it, with what it counts beside; without cached tokens where those are beside too.
    #[must_use]
    pub fn stated_input(&self) -> Option<u64> {
        match (self.input, self.more_input) {
            (None, None) => None,
            (input, more) => Some(input.unwrap_or(0).saturating_add(more.unwrap_or(0))),
        }
    }

    /// Notes which parts stand beside input and output, as far as the numbers prove it: a part cannot be larger than the whole,
    /// and a total that is larger than input and output by exactly the parts contains them beside those two.
    #[must_use]
    pub fn proven(mut self) -> Self {
        let (cached, thought) = (self.cached(), self.reasoning.unwrap_or(0));
        let beside = self.sum().and_then(|sum| self.total?.checked_sub(sum)).filter(|beside| *beside > 0);
        // Which of the two is beside: when both would explain the total alike, neither is proven.
        let (cache_beside, thought_beside) = match beside {
            Some(beside) if Some(beside) == cached.checked_add(thought) => (cached > 0, thought > 0),
            Some(beside) => (beside == cached && cached != thought, beside == thought && cached != thought),
            None => (false, false),
        };
        self.input_without_cache = cache_beside || self.stated_input().is_some_and(|input| cached > input);
        self.output_without_reasoning = thought_beside || self.output.is_some_and(|output| thought > output);
        self
    }

    pub(crate) fn cached(&self) -> u64 {
        self.cache_read.unwrap_or(0).saturating_add(self.cache_creation.unwrap_or(0))
    }

    /// Input and output as they are stated.
    pub(crate) fn sum(&self) -> Option<u64> {
        self.stated_input()?.checked_add(self.output?)
    }
}
