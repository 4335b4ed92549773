//! Token usage and cost, normalised across providers and libraries.
//!
//! In Retrace, as in the GenAI conventions, input tokens include cached ones and output tokens include reasoning. Some
//! providers count these separately (Anthropic and Bedrock the cache, Gemini the reasoning), and some libraries pass such
//! counts on. That is corrected only if the numbers prove it.

use retrace_protocol::metadata::Usage;
use serde_json::value::RawValue;

use crate::fields::{Field, Fields};
use crate::json::JsonObject;
use crate::price::without_noise;
use crate::view::Value;

/// Tokens that a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TokenUsage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    /// Parts of the two counts.
    pub parts: Usage,
}

/// Returns the tokens that a span states, normalised. The response of a model call may state them too.
pub(crate) fn used(fields: &Fields<'_>, is_call: bool) -> TokenUsage {
    let count = |field| fields.value(field).and_then(Value::to_count);
    let stated = TokenUsage {
        input: count(Field::InputTokens),
        output: count(Field::OutputTokens),
        parts: Usage {
            cache_read_tokens: fields.consume_count(Field::CacheReadTokens),
            cache_creation_tokens: fields.consume_count(Field::CacheCreationTokens),
            reasoning_tokens: fields.consume_count(Field::ReasoningTokens),
            ..Usage::default()
        },
    };
    let mut used = stated;
    let by_provider = [Field::ProviderUsage, Field::Output].into_iter().take(if is_call { 2 } else { 1 });
    let texts = by_provider.filter_map(|field| fields.value(field)?.as_json_text());
    for reported in texts.filter(|text| text.contains("sage") || text.contains("okens")).filter_map(reported) {
        used.merge(&reported);
    }
    if let Some(reported) = fields.value(Field::UsageByKind).and_then(Value::as_json_text).and_then(by_kind) {
        used.merge(&reported);
    }
    let total = count(Field::TotalTokens);
    used.complete(total);
    for (field, count, stated) in
        [(Field::InputTokens, &mut used.input, stated.input), (Field::OutputTokens, &mut used.output, stated.output)]
    {
        // Counts that the application itself sets are not changed.
        if fields.get(field).is_some_and(|held| held.rank == 0) {
            *count = stated;
        }
        // A count to which parts were added stays an attribute.
        if stated.is_some() && *count == stated {
            fields.mark_consumed(field);
        }
    }
    if total.is_some() && used.sum() == total {
        fields.mark_consumed(Field::TotalTokens);
    }
    used
}

/// Returns the cost that a span states, in US dollars.
pub(crate) fn cost(fields: &Fields<'_>) -> Option<f64> {
    fields.consume_number(Field::Cost).or_else(|| {
        let kinds = JsonObject::read(fields.value(Field::CostByKind)?.as_json_text()?)?;
        let number = |raw: &RawValue| raw.get().parse::<f64>().ok().filter(|cost| cost.is_finite());
        kinds.get(&["total"]).and_then(number).or_else(|| {
            let sums: Vec<f64> = kinds.into_entries().into_iter().filter_map(|(_, raw)| number(raw)).collect();
            (!sums.is_empty()).then(|| without_noise(sums.iter().sum()))
        })
    })
}

impl TokenUsage {
    fn sum(&self) -> Option<u64> {
        self.input?.checked_add(self.output?)
    }

    /// Adds parts that the numbers prove to be missing from input and output.
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

    /// Merges the usage that the provider reported. If the span repeats a count of the provider that excludes parts, the
    /// complete one replaces it.
    fn merge(&mut self, reported: &ProviderReport) {
        let whole = |count: Option<u64>, bare: Option<u64>, whole: Option<u64>| match count {
            Some(count) if Some(count) != bare => Some(count),
            _ => whole.or(count),
        };
        self.input = whole(self.input, reported.bare_input, reported.used.input);
        self.output = whole(self.output, reported.bare_output, reported.used.output);
        let (parts, other) = (&mut self.parts, &reported.used.parts);
        parts.cache_read_tokens = parts.cache_read_tokens.or(other.cache_read_tokens);
        parts.cache_creation_tokens = parts.cache_creation_tokens.or(other.cache_creation_tokens);
        parts.reasoning_tokens = parts.reasoning_tokens.or(other.reasoning_tokens);
    }
}

/// Usage as the provider's API reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProviderReport {
    pub used: TokenUsage,
    /// Count that the API calls input.
    bare_input: Option<u64>,
    /// Count that the API calls output.
    bare_output: Option<u64>,
}

/// Depth of objects in which usage is searched: `{"anthropic":{"usage":{…}}}`.
const DEPTH: usize = 2;

/// Reads the usage in a response, or in what a library keeps of it; returns `None` for an unknown form.
pub(crate) fn reported(json: &str) -> Option<ProviderReport> {
    below(json, DEPTH)
}

fn below(json: &str, depth: usize) -> Option<ProviderReport> {
    let members = JsonObject::read(json)?;
    let usage = |members: &JsonObject<'_>| of(&members.object(&["usage", "usageMetadata", "usage_metadata"])?);
    if members.object(&["usage", "usageMetadata", "usage_metadata"]).is_some() {
        let reported = usage(&members)?;
        // Genkit keeps the response of the provider, whose usage may have parts that its own leaves out.
        let whole = members.object(&["raw", "custom"]).and_then(|raw| usage(&raw));
        let counts = |report: &ProviderReport| (report.used.input, report.used.output);
        return whole
            .filter(|whole| reported.used.parts == Usage::default() && counts(whole) == counts(&reported))
            .or(Some(reported));
    }
    if let Some(reported) = of(&members) {
        return Some(reported);
    }
    let depth = depth.checked_sub(1)?;
    members.into_entries().into_iter().find_map(|(_, raw)| below(raw.get(), depth))
}

/// Reads one usage object of any provider by the table of [`genai_usage`].
fn of(usage: &JsonObject<'_>) -> Option<ProviderReport> {
    genai_usage::read(|path| match path {
        [name] => usage.get(&[name]).and_then(count_of),
        [object, name] => usage.object(&[object])?.get(&[name]).and_then(count_of),
        _ => None,
    })
    .map(|counts| ProviderReport {
        used: TokenUsage {
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

/// Reads an integer, also one that is written as a text or with a fraction of zero.
fn count_of(raw: &RawValue) -> Option<u64> {
    let text = raw.get().trim_matches('"').trim();
    text.parse().ok().or_else(|| Value::Float(text.parse().ok()?).to_count())
}

/// Reads usage by kinds that add up, as Langfuse records it: every name that contains `input` is input, `output` output, and
/// `total` the sum. Objects in the form of a provider are read as such.
fn by_kind(json: &str) -> Option<ProviderReport> {
    let kinds = JsonObject::read(json)?;
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
    // Kinds that the total excludes are parts of input and output.
    let bare = input.unwrap_or(0).saturating_add(output.unwrap_or(0));
    if total == Some(bare) {
        (inputs, outputs) = (input.unwrap_or(0), output.unwrap_or(0));
    }
    let whole = |bare: Option<u64>, all: u64| bare.map(|_| all).or((all > 0).then_some(all));
    let used = TokenUsage { input: whole(input, inputs), output: whole(output, outputs), parts };
    Some(ProviderReport { used, bare_input: input, bare_output: output })
}
