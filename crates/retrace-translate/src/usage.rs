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
    fn sum(&self) -> Option<u64> {
        self.input?.checked_add(self.output?)
    }

    /// Adds what the numbers prove to be missing from input and output.
    fn complete(&mut self, total: Option<u64>) {
        let counts = genai_usage::Counts {
            input: self.input,
            output: self.output,
            cache_read: self.parts.cache_read_tokens,
            cache_creation: self.parts.cache_creation_tokens,
            reasoning: self.parts.reasoning_tokens,
            total,
            ..genai_usage::Counts::default()
        }
        .proven();
        (self.input, self.output) = (counts.all_input(), counts.all_output());
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

/// Reads one usage object, whoever's it is: [`genai_usage`] has the table.
fn of(usage: &Members<'_>) -> Option<Reported> {
    genai_usage::read(|path| match path {
        [name] => usage.get(&[name]).and_then(count_of),
        [object, name] => usage.object(&[object])?.get(&[name]).and_then(count_of),
        _ => None,
    })
    .map(|counts| Reported {
        used: Used {
            input: counts.all_input(),
            output: counts.all_output(),
            parts: Usage {
                cache_read_tokens: counts.cache_read,
                cache_creation_tokens: counts.cache_creation,
                reasoning_tokens: counts.reasoning,
                ..Usage::default()
            },
        },
        bare_input: counts.input,
        bare_output: counts.output,
    })
}

/// A count: a whole number, also one that is written as a text or with a fraction of zero.
fn count_of(raw: &RawValue) -> Option<u64> {
    let text = raw.get().trim_matches('"').trim();
    text.parse().ok().or_else(|| Value::Float(text.parse().ok()?).to_count())
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
