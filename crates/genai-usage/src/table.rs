//! The kinds of usage objects.

use crate::Counts;

/// Way from a usage object to a count: names of members.
pub type Path = &'static [&'static str];

/// Relation of a part to the count that contains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The part is beside the count, unless the total shows that it is within.
    Beside,
    /// The part is within the count, unless the numbers prove that it is beside: it is larger, or the total shows it.
    Within,
}

/// A kind of usage object. Of several paths to one count the largest value holds: gateways write one count under several
/// names, and zero under those that are not their own.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// APIs that have it, and where they state it.
    pub source: &'static str,
    /// An object has this shape if one of these is there.
    pub marks: &'static [Path],
    /// An object in which one of these is above zero has another shape.
    pub not: &'static [Path],
    /// The count that the API calls input.
    pub input: &'static [Path],
    /// The same, where none of these is there.
    pub input_else: &'static [Path],
    /// The count that the API calls output.
    pub output: &'static [Path],
    /// The same, where none of these is there.
    pub output_else: &'static [Path],
    /// Input beside the input, whatever the total.
    pub more_input: &'static [Path],
    /// Input that is beside the input where the total shows it.
    pub perhaps_input: &'static [Path],
    /// Input read from a cache.
    pub cache_read: &'static [Path],
    /// Input written to a cache.
    pub cache_creation: &'static [Path],
    /// Output spent on reasoning.
    pub reasoning: &'static [Path],
    /// All tokens.
    pub total: &'static [Path],
    /// Relation of cached tokens to the input.
    pub cache: Parts,
    /// Relation of reasoning to the output.
    pub thought: Parts,
}

impl Shape {
    const NONE: Self = Self {
        source: "",
        marks: &[],
        not: &[],
        input: &[],
        input_else: &[],
        output: &[],
        output_else: &[],
        more_input: &[],
        perhaps_input: &[],
        cache_read: &[],
        cache_creation: &[],
        reasoning: &[],
        total: &[],
        cache: Parts::Within,
        thought: Parts::Within,
    };

    /// Reads an object if it has this shape.
    pub(crate) fn read(&self, count: &impl Fn(&[Path]) -> Option<u64>) -> Option<Counts> {
        let is_other = || count(self.not).is_some_and(|count| count > 0);
        if count(self.marks).is_none() || is_other() {
            return None;
        }
        let mut counts = Counts {
            input: count(self.input).or_else(|| count(self.input_else)),
            more_input: count(self.more_input),
            output: count(self.output).or_else(|| count(self.output_else)),
            cache_read: count(self.cache_read),
            cache_creation: count(self.cache_creation),
            reasoning: count(self.reasoning),
            total: count(self.total),
            ..Counts::default()
        };
        if let (Some(more @ 1..), Some(sum), Some(total)) = (count(self.perhaps_input), counts.sum(), counts.total)
            && sum.checked_add(more) == Some(total)
        {
            counts.more_input = Some(more);
        }
        // A total that has no room for the parts shows that they are within.
        let has_no_room = counts.total.is_some() && counts.total == counts.sum();
        let proven = counts.proven();
        counts.input_without_cache = match self.cache {
            Parts::Beside => counts.cached() > 0 && (!has_no_room || proven.input_without_cache),
            Parts::Within => proven.input_without_cache,
        };
        counts.output_without_reasoning = match self.thought {
            Parts::Beside => {
                counts.reasoning.is_some_and(|count| count > 0) && (!has_no_room || proven.output_without_reasoning)
            }
            Parts::Within => proven.output_without_reasoning,
        };
        (!counts.is_empty()).then_some(counts)
    }
}

/// The kinds of usage objects, the more special first.
pub static SHAPES: &[Shape] = &[
    Shape {
        source: "Llama on Bedrock: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html",
        marks: &[&["generation_token_count"]],
        input: &[&["prompt_token_count"]],
        output: &[&["generation_token_count"]],
        ..Shape::NONE
    },
    Shape {
        source: "Gemini `usageMetadata`: ai.google.dev/api/generate-content; its live API has `responseTokenCount`. Prompts of the provider's own tools and thoughts are beside",
        marks: &[
            &["promptTokenCount"],
            &["prompt_token_count"],
            &["candidatesTokenCount"],
            &["candidates_token_count"],
            &["responseTokenCount"],
            &["response_token_count"],
        ],
        input: &[&["promptTokenCount"], &["prompt_token_count"]],
        output: &[
            &["candidatesTokenCount"],
            &["candidates_token_count"],
            &["responseTokenCount"],
            &["response_token_count"],
        ],
        more_input: &[&["toolUsePromptTokenCount"], &["tool_use_prompt_token_count"]],
        cache_read: &[&["cachedContentTokenCount"], &["cached_content_token_count"]],
        reasoning: &[&["thoughtsTokenCount"], &["thoughts_token_count"]],
        total: &[&["totalTokenCount"], &["total_token_count"]],
        thought: Parts::Beside,
        ..Shape::NONE
    },
    Shape {
        source: "Gemini interactions: ai.google.dev/api/interactions-api",
        marks: &[&["total_input_tokens"], &["total_output_tokens"]],
        input: &[&["total_input_tokens"]],
        output: &[&["total_output_tokens"]],
        more_input: &[&["total_tool_use_tokens"]],
        cache_read: &[&["total_cached_tokens"]],
        reasoning: &[&["total_thought_tokens"], &["total_reasoning_tokens"]],
        total: &[&["total_tokens"]],
        thought: Parts::Beside,
        ..Shape::NONE
    },
    Shape {
        source: "Cohere `usage` and `meta`: docs.cohere.com/reference/chat. Tokens that are processed, else those that are billed",
        marks: &[
            &["tokens", "input_tokens"],
            &["tokens", "output_tokens"],
            &["billed_units", "input_tokens"],
            &["billed_units", "output_tokens"],
        ],
        input: &[&["tokens", "input_tokens"]],
        input_else: &[&["billed_units", "input_tokens"]],
        output: &[&["tokens", "output_tokens"]],
        output_else: &[&["billed_units", "output_tokens"]],
        cache_read: &[&["cached_tokens"]],
        ..Shape::NONE
    },
    Shape {
        source: "Ollama: docs.ollama.com/api/usage",
        marks: &[&["prompt_eval_count"], &["eval_count"]],
        input: &[&["prompt_eval_count"]],
        output: &[&["eval_count"]],
        ..Shape::NONE
    },
    Shape {
        source: "llama.cpp server `timings`: github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md. Tokens that the cache had are beside",
        marks: &[&["predicted_n"]],
        input: &[&["prompt_n"]],
        output: &[&["predicted_n"]],
        cache_read: &[&["cache_n"]],
        cache: Parts::Beside,
        ..Shape::NONE
    },
    Shape {
        source: "Bedrock `amazon-bedrock-invocationMetrics`: docs.aws.amazon.com/bedrock/latest/userguide/inference-invoke.html",
        marks: &[&["inputTokenCount"], &["outputTokenCount"]],
        input: &[&["inputTokenCount"]],
        output: &[&["outputTokenCount"]],
        cache_read: &[&["cacheReadInputTokenCount"]],
        cache_creation: &[&["cacheWriteInputTokenCount"]],
        ..Shape::NONE
    },
    Shape {
        source: "Titan on Bedrock: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html",
        marks: &[&["inputTextTokenCount"], &["totalOutputTextTokenCount"]],
        input: &[&["inputTextTokenCount"]],
        output: &[&["totalOutputTextTokenCount"]],
        ..Shape::NONE
    },
    Shape {
        source: "watsonx.ai `results[]`: cloud.ibm.com/apidocs/watsonx-ai#text-generation",
        marks: &[&["input_token_count"], &["generated_token_count"]],
        input: &[&["input_token_count"]],
        output: &[&["generated_token_count"]],
        ..Shape::NONE
    },
    Shape {
        source: "text-generation-inference `details`: huggingface.co/docs/text-generation-inference/reference/api_reference",
        marks: &[&["generated_tokens"], &["input_length"]],
        input: &[&["input_length"]],
        output: &[&["generated_tokens"]],
        ..Shape::NONE
    },
    Shape {
        source: "Anthropic: docs.claude.com/en/api/messages. Cached tokens are beside. LiteLLM writes the same names beside `prompt_tokens`, which includes them",
        marks: &[&["cache_read_input_tokens"], &["cache_creation_input_tokens"]],
        not: &[&["prompt_tokens"]],
        input: &[&["input_tokens"]],
        output: &[&["output_tokens"], &["completion_tokens"]],
        cache_read: &[&["cache_read_input_tokens"]],
        cache_creation: &[&["cache_creation_input_tokens"]],
        reasoning: &[&["output_tokens_details", "thinking_tokens"], &["output_tokens_details", "reasoning_tokens"]],
        total: &[&["total_tokens"]],
        cache: Parts::Beside,
        ..Shape::NONE
    },
    Shape {
        source: "Bedrock Converse: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html; what the Vercel AI SDK keeps of Anthropic's. Cached tokens are beside",
        marks: &[
            &["cacheReadInputTokens"],
            &["cacheWriteInputTokens"],
            &["cacheReadInputTokenCount"],
            &["cacheWriteInputTokenCount"],
            &["cacheCreationInputTokens"],
        ],
        not: &[&["promptTokens"]],
        input: &[&["inputTokens"]],
        output: &[&["outputTokens"]],
        cache_read: &[&["cacheReadInputTokens"], &["cacheReadInputTokenCount"]],
        cache_creation: &[&["cacheWriteInputTokens"], &["cacheWriteInputTokenCount"], &["cacheCreationInputTokens"]],
        total: &[&["totalTokens"]],
        cache: Parts::Beside,
        ..Shape::NONE
    },
    OPENAI,
];

/// Everybody else: parts are parts, where the total does not show that they are not.
const OPENAI: Shape = Shape {
    source: "OpenAI chat, completions and responses: platform.openai.com/docs/api-reference; DeepSeek, Mistral, Moonshot, xAI, Groq, OpenRouter, Perplexity and all who follow; LangChain `usage_metadata`; the Vercel AI SDK (`inputTokens`, an object since its version 6); Genkit; Pydantic AI",
    marks: OPENAI_MARKS,
    input: &[&["prompt_tokens"], &["input_tokens"], &["promptTokens"], &["inputTokens"], &["inputTokens", "total"]],
    output: &[
        &["completion_tokens"],
        &["output_tokens"],
        &["completionTokens"],
        &["outputTokens"],
        &["outputTokens", "total"],
    ],
    // Mistral: sound, and what its connectors read.
    perhaps_input: &[&["prompt_tokens_details", "audio_tokens"], &["connector_tokens"]],
    cache_read: OPENAI_CACHE_READ,
    cache_creation: OPENAI_CACHE_CREATION,
    reasoning: OPENAI_REASONING,
    total: &[&["total_tokens"], &["totalTokens"]],
    ..Shape::NONE
};

const OPENAI_CACHE_READ: &[Path] = &[
    &["prompt_tokens_details", "cached_tokens"],
    &["input_tokens_details", "cached_tokens"],
    &["prompt_token_details", "cached_tokens"],
    &["input_token_details", "cache_read"],
    &["inputTokens", "cacheRead"],
    &["inputTokenDetails", "cacheReadTokens"],
    &["prompt_cache_hit_tokens"],
    &["cached_tokens"],
    &["num_cached_tokens"],
    &["cache_read_tokens"],
    &["cache_read_input_tokens"],
    &["cachedContentTokens"],
    &["cachedInputTokens"],
    &["cachedPromptTokens"],
    &["cacheReadInputTokens"],
];

const OPENAI_CACHE_CREATION: &[Path] = &[
    &["prompt_tokens_details", "cache_write_tokens"],
    &["prompt_tokens_details", "cache_creation_tokens"],
    &["input_tokens_details", "cache_write_tokens"],
    &["input_tokens_details", "cache_creation_tokens"],
    &["input_token_details", "cache_creation"],
    &["inputTokens", "cacheWrite"],
    &["inputTokenDetails", "cacheWriteTokens"],
    &["cache_write_tokens"],
    &["cache_creation_tokens"],
    &["cache_creation_input_tokens"],
    &["cacheWriteTokens"],
    &["cacheCreationInputTokens"],
    &["cacheWriteInputTokens"],
];

const OPENAI_REASONING: &[Path] = &[
    &["completion_tokens_details", "reasoning_tokens"],
    &["output_tokens_details", "reasoning_tokens"],
    &["output_tokens_details", "thinking_tokens"],
    &["output_token_details", "reasoning"],
    &["outputTokens", "reasoning"],
    &["outputTokenDetails", "reasoningTokens"],
    &["reasoning_tokens"],
    &["reasoningTokens"],
    &["thoughtsTokens"],
];

const OPENAI_MARKS: &[Path] = &[
    &["prompt_tokens"],
    &["input_tokens"],
    &["promptTokens"],
    &["inputTokens"],
    &["inputTokens", "total"],
    &["completion_tokens"],
    &["output_tokens"],
    &["completionTokens"],
    &["outputTokens"],
    &["outputTokens", "total"],
    &["total_tokens"],
    &["totalTokens"],
    // What the Vercel AI SDK keeps of an answer beside its usage.
    &["cache_creation_input_tokens"],
    &["cacheCreationInputTokens"],
    &["cacheReadInputTokens"],
    &["cacheWriteTokens"],
    &["cachedInputTokens"],
    &["cachedPromptTokens"],
    &["reasoningTokens"],
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::read;

    fn of(usage: &Value) -> Option<Counts> {
        read(|path| path.iter().try_fold(usage, |value, name| value.get(name))?.as_u64())
    }

    #[test]
    fn usage_of_each_api_comes_to_the_same() {
        // All input, all output, read from a cache, written to it, reasoning.
        let all = (Some(100), Some(20), Some(60), Some(10), Some(5));
        let cached = (Some(100), Some(20), Some(60), None, Some(5));
        let plain = (Some(100), Some(20), None, None, None);
        for (usage, expected) in [
            (
                json!({ "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": { "cached_tokens": 60 }, "completion_tokens_details": { "reasoning_tokens": 5 } }),
                cached,
            ),
            (
                json!({ "input_tokens": 100, "output_tokens": 20, "input_tokens_details": { "cached_tokens": 60 }, "output_tokens_details": { "reasoning_tokens": 5 } }),
                cached,
            ),
            // xAI: reasoning is beside, and the total shows it.
            (
                json!({ "prompt_tokens": 100, "completion_tokens": 15, "total_tokens": 120, "prompt_tokens_details": { "cached_tokens": 60 }, "completion_tokens_details": { "reasoning_tokens": 5 } }),
                cached,
            ),
            (
                json!({ "input_tokens": 30, "output_tokens": 20, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10, "output_tokens_details": { "thinking_tokens": 5 } }),
                all,
            ),
            // LiteLLM repeats Anthropic's names beside counts that include them.
            (
                json!({ "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10, "completion_tokens_details": { "reasoning_tokens": 5 } }),
                all,
            ),
            // Gateways write zero under the names that are not theirs.
            (
                json!({ "prompt_tokens": 0, "input_tokens": 30, "completion_tokens": 0, "output_tokens": 20, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10, "output_tokens_details": { "thinking_tokens": 5 } }),
                all,
            ),
            (
                json!({ "inputTokens": 30, "outputTokens": 20, "totalTokens": 120, "cacheReadInputTokens": 60, "cacheWriteInputTokens": 10 }),
                (all.0, all.1, all.2, all.3, None),
            ),
            (
                json!({ "promptTokenCount": 90, "toolUsePromptTokenCount": 10, "candidatesTokenCount": 15, "thoughtsTokenCount": 5, "cachedContentTokenCount": 60, "totalTokenCount": 120 }),
                cached,
            ),
            (
                json!({ "total_input_tokens": 90, "total_tool_use_tokens": 10, "total_output_tokens": 15, "total_thought_tokens": 5, "total_cached_tokens": 60, "total_tokens": 120 }),
                cached,
            ),
            (
                json!({ "inputTokens": { "total": 100, "noCache": 30, "cacheRead": 60, "cacheWrite": 10 }, "outputTokens": { "total": 20, "text": 15, "reasoning": 5 } }),
                all,
            ),
            (
                json!({ "input_tokens": 100, "output_tokens": 20, "input_token_details": { "cache_read": 60, "cache_creation": 10 }, "output_token_details": { "reasoning": 5 } }),
                all,
            ),
            (
                json!({ "tokens": { "input_tokens": 100, "output_tokens": 20 }, "billed_units": { "input_tokens": 7 } }),
                plain,
            ),
            (json!({ "billed_units": { "input_tokens": 100, "output_tokens": 20 } }), plain),
            (json!({ "prompt_eval_count": 100, "eval_count": 20 }), plain),
            (json!({ "prompt_token_count": 100, "generation_token_count": 20 }), plain),
            (json!({ "inputTokenCount": 100, "outputTokenCount": 20 }), plain),
            (json!({ "inputTextTokenCount": 100, "totalOutputTextTokenCount": 20 }), plain),
            (json!({ "input_token_count": 100, "generated_token_count": 20 }), plain),
            (json!({ "input_length": 100, "generated_tokens": 20 }), plain),
            // Mistral counts sound beside the prompt.
            (
                json!({ "prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": { "audio_tokens": 60 } }),
                plain,
            ),
            (
                json!({ "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": { "audio_tokens": 60 } }),
                plain,
            ),
        ] {
            let counts = of(&usage).unwrap();
            let found =
                (counts.all_input(), counts.all_output(), counts.cache_read, counts.cache_creation, counts.reasoning);
            assert_eq!(found, expected, "{usage}");
        }
        // What the Vercel AI SDK keeps of Anthropic's usage, beside its own.
        let kept = of(&json!({ "cacheCreationInputTokens": 20, "cacheReadInputTokens": 100 })).unwrap();
        assert_eq!((kept.cache_read, kept.cache_creation, kept.all_input()), (Some(100), Some(20), None));
        assert_eq!(of(&json!({ "usage": 7, "tokens": 3, "prompt_tokens": "7" })), None);
        let thoughts = of(&json!({ "promptTokenCount": 40, "thoughtsTokenCount": 60 })).unwrap();
        assert_eq!((thoughts.output, thoughts.all_output()), (None, Some(60)));
    }

    #[test]
    fn the_table_has_sources_and_marks() {
        for shape in SHAPES {
            assert!(!shape.source.is_empty() && !shape.marks.is_empty(), "{shape:?}");
            assert!(!shape.input.is_empty() && !shape.output.is_empty(), "{shape:?}");
        }
    }

    proptest! {
        /// The whole is never less than what is stated, and not less than its parts.
        #[test]
        fn a_whole_holds_its_parts(shape in 0..SHAPES.len(), values in prop::collection::vec(prop::option::of(0_u64..1_000), 8)) {
            let shape = &SHAPES[shape];
            let members = [shape.input, shape.output, shape.more_input, shape.cache_read, shape.cache_creation, shape.reasoning, shape.total];
            let written: Vec<(Path, u64)> =
                members.iter().zip(&values).filter_map(|(paths, value)| Some((*paths.first()?, (*value)?))).collect();
            let counts = read(|path| written.iter().find(|(own, _)| *own == path).map(|(_, value)| *value));
            if let Some(counts) = counts {
                prop_assert!(counts.all_input() >= counts.stated_input() && counts.all_output() >= counts.output);
                let cached = counts.cache_read.unwrap_or(0) + counts.cache_creation.unwrap_or(0);
                if counts.input.is_some() && counts.total.is_none() {
                    prop_assert!(counts.all_input() >= Some(cached), "{counts:?}");
                }
            }
        }
    }
}
