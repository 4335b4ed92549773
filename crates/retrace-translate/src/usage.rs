//! Tokens: what a call used, counted in one way whoever reports it.
//!
//! In Retrace, as in the GenAI conventions, input contains what was read from and written to a cache, and output contains
//! thinking. Some providers count those apart (Anthropic and Bedrock the cache, Gemini the thinking), and some libraries
//! pass such counts on. That is noticed where the numbers prove it, and only there: nothing is guessed.

use retrace_protocol::metadata::Usage;
use serde_json::value::RawValue;

use crate::cost::without_noise;
use crate::members::Members;
use crate::slot::{Slot, Slots};
use crate::view::Value;

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    pub input: Option<u64>,
    pub output: Option<u64>,
    /// What they are made of.
    pub parts: Usage,
}

/// What a span says about the tokens it used, brought into one form. What a call of a model returned may say it too.
pub(crate) fn used(slots: &Slots<'_>, is_call: bool) -> Used {
    let count = |slot| slots.value(slot).and_then(Value::to_count);
    let stated = Used {
        input: count(Slot::InputTokens),
        output: count(Slot::OutputTokens),
        parts: Usage {
            cache_read_tokens: slots.tell_count(Slot::CacheReadTokens),
            cache_creation_tokens: slots.tell_count(Slot::CacheCreationTokens),
            reasoning_tokens: slots.tell_count(Slot::ReasoningTokens),
            ..Usage::default()
        },
    };
    let mut used = stated;
    let by_provider = [Slot::ProviderUsage, Slot::Output].into_iter().take(if is_call { 2 } else { 1 });
    let texts = by_provider.filter_map(|slot| slots.value(slot)?.as_json_text());
    for reported in texts.filter(|text| text.contains("sage") || text.contains("okens")).filter_map(reported) {
        used.hear(&reported);
    }
    if let Some(reported) = slots.value(Slot::UsageByKind).and_then(Value::as_json_text).and_then(by_kind) {
        used.hear(&reported);
    }
    let total = count(Slot::TotalTokens);
    used.complete(total);
    for (slot, told, stated) in
        [(Slot::InputTokens, &mut used.input, stated.input), (Slot::OutputTokens, &mut used.output, stated.output)]
    {
        // What the application itself states is as it says.
        if slots.get(slot).is_some_and(|held| held.rank == 0) {
            *told = stated;
        }
        // A count that parts were added to stays an attribute.
        if stated.is_some() && *told == stated {
            slots.mark_told(slot);
        }
    }
    if total.is_some() && used.sum() == total {
        slots.mark_told(Slot::TotalTokens);
    }
    used
}

/// What a span says it cost, in US dollars.
pub(crate) fn cost(slots: &Slots<'_>) -> Option<f64> {
    slots.tell_number(Slot::Cost).or_else(|| {
        let kinds = Members::read(slots.value(Slot::CostByKind)?.as_json_text()?)?;
        let number = |raw: &RawValue| raw.get().parse::<f64>().ok().filter(|cost| cost.is_finite());
        kinds.get(&["total"]).and_then(number).or_else(|| {
            let sums: Vec<f64> = kinds.into_entries().into_iter().filter_map(|(_, raw)| number(raw)).collect();
            (!sums.is_empty()).then(|| without_noise(sums.iter().sum()))
        })
    })
}

impl Used {
    fn cached(&self) -> u64 {
        let parts = &self.parts;
        parts.cache_read_tokens.unwrap_or(0).saturating_add(parts.cache_creation_tokens.unwrap_or(0))
    }

    fn sum(&self) -> Option<u64> {
        self.input?.checked_add(self.output?)
    }

    /// Adds what the numbers prove to be missing from input and output: a part cannot be larger than the whole, and a total
    /// that is larger than input and output by exactly the parts contains them beside those two.
    fn complete(&mut self, total: Option<u64>) {
        let (cached, thought) = (self.cached(), self.parts.reasoning_tokens.unwrap_or(0));
        let beside = self.sum().and_then(|sum| total?.checked_sub(sum)).filter(|beside| *beside > 0);
        // Which of the two is beside: when both would explain the total alike, neither is proven.
        let (cache_beside, thought_beside) = match beside {
            Some(beside) if Some(beside) == cached.checked_add(thought) => (cached > 0, thought > 0),
            Some(beside) => (beside == cached && cached != thought, beside == thought && cached != thought),
            None => (false, false),
        };
        let add = |whole: &mut Option<u64>, parts: u64, is_beside: bool| {
            if let Some(whole) = whole.as_mut().filter(|whole| is_beside || parts > **whole) {
                *whole = whole.saturating_add(parts);
            }
        };
        add(&mut self.input, cached, cache_beside);
        add(&mut self.output, thought, thought_beside);
    }

    /// Takes in what the provider itself reported. Where the span repeats a count of the provider's that leaves parts out,
    /// the whole is known.
    fn hear(&mut self, reported: &Reported) {
        let whole = |told: Option<u64>, bare: Option<u64>, whole: Option<u64>| match told {
            Some(told) if Some(told) != bare => Some(told),
            _ => whole.or(told),
        };
        self.input = whole(self.input, reported.bare_input, reported.used.input);
        self.output = whole(self.output, reported.bare_output, reported.used.output);
        let (parts, other) = (&mut self.parts, &reported.used.parts);
        parts.cache_read_tokens = parts.cache_read_tokens.or(other.cache_read_tokens);
        parts.cache_creation_tokens = parts.cache_creation_tokens.or(other.cache_creation_tokens);
        parts.reasoning_tokens = parts.reasoning_tokens.or(other.reasoning_tokens);
    }
}

/// Usage as a provider's API says it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reported {
    pub used: Used,
    /// The count that the API calls input.
    bare_input: Option<u64>,
    /// The count that the API calls output.
    bare_output: Option<u64>,
}

/// How deep below an answer usage is looked for: `{"anthropic":{"usage":{…}}}`.
const DEPTH: usize = 2;

/// The usage in a provider's answer, or in what a library keeps of it; `None` when there is none in a known shape.
pub(crate) fn reported(json: &str) -> Option<Reported> {
    below(json, DEPTH)
}

fn below(json: &str, depth: usize) -> Option<Reported> {
    let members = Members::read(json)?;
    if let Some(usage) = members.object(&["usage", "usageMetadata", "usage_metadata"]) {
        return of(&usage);
    }
    if let Some(reported) = of(&members) {
        return Some(reported);
    }
    let depth = depth.checked_sub(1)?;
    members.into_entries().into_iter().find_map(|(_, raw)| below(raw.get(), depth))
}

/// Reads one usage object.
fn of(usage: &Members<'_>) -> Option<Reported> {
    // Gateways write one count under several names, and zero under those that are not their own: the largest holds.
    let count = |names: &[&str]| {
        names.iter().filter_map(|name| usage.get(&[name])).filter_map(|raw| raw.get().parse::<u64>().ok()).max()
    };
    let detail = |objects: &[&str], names: &[&str]| usage.object(objects)?.get(names)?.get().parse::<u64>().ok();

    // Gemini: cached input is part of the input, thinking is beside the candidates, and so is what the provider's own tools
    // brought into the prompt.
    let input = count(&["promptTokenCount", "prompt_token_count"]);
    let candidates = count(&["candidatesTokenCount", "candidates_token_count"]);
    if input.is_some() || candidates.is_some() {
        let thought = count(&["thoughtsTokenCount", "thoughts_token_count"]);
        let tools = count(&["toolUsePromptTokenCount", "tool_use_prompt_token_count"]).unwrap_or(0);
        let parts = Usage {
            cache_read_tokens: count(&["cachedContentTokenCount", "cached_content_token_count"]),
            reasoning_tokens: thought,
            ..Usage::default()
        };
        let output = match (candidates, thought) {
            (None, None) => None,
            (candidates, thought) => Some(candidates.unwrap_or(0).saturating_add(thought.unwrap_or(0))),
        };
        let whole = input.map(|input| input.saturating_add(tools));
        return Some(Reported {
            used: Used { input: whole, output, parts },
            bare_input: input,
            bare_output: candidates,
        });
    }

    // Anthropic and Bedrock: what goes through a cache is beside the input.
    let input = count(&["input_tokens", "inputTokens"]);
    let output = count(&["output_tokens", "outputTokens"]);
    let read = count(&["cache_read_input_tokens", "cacheReadInputTokens"]);
    let written = count(&["cache_creation_input_tokens", "cacheWriteInputTokens"]);
    if let (Some(bare), true) = (input, read.is_some() || written.is_some()) {
        let whole = bare.saturating_add(read.unwrap_or(0)).saturating_add(written.unwrap_or(0));
        let parts = Usage { cache_read_tokens: read, cache_creation_tokens: written, ..Usage::default() };
        let used = Used { input: Some(whole), output, parts };
        return Some(Reported { used, bare_input: input, bare_output: output });
    }

    // OpenAI, and all who follow it: parts are parts.
    let input = input.max(count(&["prompt_tokens", "promptTokens"]));
    let output = output.max(count(&["completion_tokens", "completionTokens"]));
    if input.is_none() && output.is_none() {
        // What the Vercel AI SDK keeps of an answer beside its usage.
        let parts = Usage {
            cache_read_tokens: read.or_else(|| count(&["cachedPromptTokens", "cachedInputTokens"])),
            cache_creation_tokens: written.or_else(|| count(&["cacheCreationInputTokens", "cacheWriteTokens"])),
            reasoning_tokens: count(&["reasoningTokens"]),
            ..Usage::default()
        };
        return (!parts.is_empty())
            .then(|| Reported { used: Used { parts, ..Used::default() }, ..Reported::default() });
    }
    let input_details = ["prompt_tokens_details", "input_tokens_details", "input_token_details"];
    let output_details = ["completion_tokens_details", "output_tokens_details", "output_token_details"];
    let parts = Usage {
        cache_read_tokens: detail(&input_details, &["cached_tokens", "cache_read"])
            .or_else(|| count(&["cachedContentTokens"])),
        cache_creation_tokens: detail(&input_details, &["cache_creation", "cache_write_tokens"]),
        reasoning_tokens: detail(&output_details, &["reasoning_tokens", "reasoning"])
            .or_else(|| count(&["thoughtsTokens"])),
        ..Usage::default()
    };
    let mut used = Used { input, output, parts };
    used.complete(count(&["total_tokens", "totalTokens"]));
    Some(Reported { used, bare_input: input, bare_output: output })
}

/// Reads usage by kinds that add up, as Langfuse has it: everything whose name has `input` in it is input, `output` output,
/// and `total` is all of it. Objects in the words of a provider are read as such.
fn by_kind(json: &str) -> Option<Reported> {
    let kinds = Members::read(json)?;
    let count = |names: &[&str]| kinds.get(names).and_then(|raw| raw.get().parse::<u64>().ok());
    let (input, output, total) = (count(&["input"]), count(&["output"]), count(&["total"]));
    if input.is_none() && output.is_none() {
        return of(&kinds);
    }
    let (mut inputs, mut outputs) = (input.unwrap_or(0), output.unwrap_or(0));
    let mut parts = Usage::default();
    for (kind, raw) in kinds.into_entries() {
        let Ok(tokens) = raw.get().parse::<u64>() else { continue };
        if kind == "input" || kind == "output" {
            continue;
        }
        let is_input = kind.contains("input") || kind.contains("cache");
        if is_input {
            inputs = inputs.saturating_add(tokens);
        } else if kind.contains("output") {
            outputs = outputs.saturating_add(tokens);
        }
        let part = if kind.contains("reason") || kind.contains("thinking") {
            &mut parts.reasoning_tokens
        } else if is_input && (kind.contains("creation") || kind.contains("write")) {
            &mut parts.cache_creation_tokens
        } else if is_input && kind.contains("cache") {
            &mut parts.cache_read_tokens
        } else {
            continue;
        };
        *part = Some(part.unwrap_or(0).saturating_add(tokens));
    }
    // Kinds that a total leaves out are parts of the two: somebody counted otherwise.
    let bare = input.unwrap_or(0).saturating_add(output.unwrap_or(0));
    if total == Some(bare) {
        (inputs, outputs) = (input.unwrap_or(0), output.unwrap_or(0));
    }
    let whole = |bare: Option<u64>, all: u64| bare.map(|_| all).or((all > 0).then_some(all));
    let used = Used { input: whole(input, inputs), output: whole(output, outputs), parts };
    Some(Reported { used, bare_input: input, bare_output: output })
}
