//! What a model call cost.

#[cfg(all(test, feature = "prices"))]
pub(crate) use list::look_up;
#[cfg(feature = "prices")]
pub(crate) use list::price;

/// A sum of money without the dust that adding floats leaves: whole picodollars.
pub(crate) fn without_noise(dollars: f64) -> f64 {
    const PICO: f64 = 1e12;
    let rounded = (dollars * PICO).round() / PICO;
    if rounded.is_finite() { rounded } else { dollars }
}

/// Returns the price in US dollars of a call of `model`, at the rates of this moment, by the bundled price table. `None` for a model
/// that the table does not know. Takes microseconds, the first time as well.
#[cfg(feature = "prices")]
#[must_use]
pub fn call_price(
    provider: Option<&str>,
    model: &str,
    input_tokens: u64,
    output_tokens: u64,
    unix_nanos: u64,
) -> Option<f64> {
    let parts = retrace_protocol::metadata::Usage::default();
    price(provider, model, input_tokens, output_tokens, &parts, unix_nanos)
}

#[cfg(feature = "prices")]
mod list {
    use retrace_protocol::metadata;

    use crate::price::rates::{self, Tokens};
    use crate::price::spelling;

    /// The price in US dollars of a call of `model`, at the rates of the moment it was made.
    ///
    /// `None` for a model that the bundled table does not know: unknown is not free.
    pub(crate) fn price(
        provider: Option<&str>,
        model: &str,
        input_tokens: u64,
        output_tokens: u64,
        parts: &metadata::Usage,
        started_unix_nanos: u64,
    ) -> Option<f64> {
        let tokens = [
            input_tokens,
            output_tokens,
            parts.cache_read_tokens.unwrap_or(0),
            parts.cache_creation_tokens.unwrap_or(0),
        ];
        rates::price(provider, model, started_unix_nanos, tokens, |tokens| {
            spelling::price(provider, model, |list, name| look_up(list, name, tokens, started_unix_nanos))
        })
    }

    /// The same, from the list itself, under its own name for the provider.
    pub(crate) fn look_up(provider: Option<&str>, model: &str, tokens: Tokens, unix_nanos: u64) -> Option<f64> {
        crate::price::list::price(provider, model, tokens, unix_nanos).map(super::without_noise)
    }
}

#[cfg(all(test, feature = "prices"))]
mod tests {
    use super::list::*;
    use retrace_protocol::metadata;

    const OCTOBER_2026: u64 = 1_791_763_200_000_000_000;

    fn of(provider: &str, model: &str, parts: &metadata::Usage) -> Option<f64> {
        price(Some(provider), model, 1_000_000, 100_000, parts, OCTOBER_2026)
    }

    #[test]
    fn a_known_model_has_its_list_price_and_an_unknown_one_none() {
        let parts = metadata::Usage::default();
        // 0.15 USD a million in, 0.60 USD a million out.
        let known = of("openai", "gpt-4o-mini-2024-07-18", &parts).unwrap();
        assert!((known - 0.21).abs() < 1e-9, "{known}");
        assert_eq!(of("openai", "no-such-model", &parts), None);
    }

    #[test]
    fn a_provider_may_stand_before_the_name_of_a_model() {
        let of = |provider, model| price(provider, model, 1_000_000, 0, &metadata::Usage::default(), OCTOBER_2026);
        for (model, alone) in [
            ("openai/gpt-4o-mini", of(Some("openai"), "gpt-4o-mini")),
            ("googleai/gemini-2.5-flash", of(Some("gcp.gemini"), "gemini-2.5-flash")),
            (
                "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0",
                of(Some("aws.bedrock"), "anthropic.claude-3-5-sonnet-20240620-v1:0"),
            ),
        ] {
            assert!(alone.is_some(), "{model}");
            assert_eq!(of(None, model), alone, "{model}");
        }
        let bedrock = "us.anthropic.claude-sonnet-4-20250514-v1:0";
        assert!(of(Some("aws.bedrock"), bedrock).is_some());
        for framework in [Some("strands-agents"), None] {
            assert_eq!(of(framework, bedrock), of(Some("aws.bedrock"), bedrock));
        }
        assert_eq!(of(None, "ollama/llama3.1"), None, "nobody knows what that costs");
        assert_eq!(of(None, "Qwen/Qwen2.5-7B-Instruct"), None);
    }

    #[test]
    fn cached_input_is_cheaper_not_extra() {
        let parts = metadata::Usage { cache_read_tokens: Some(500_000), ..metadata::Usage::default() };
        let cached = of("openai", "gpt-4o-mini", &parts).unwrap();
        // Half of the input at 0.075 USD a million.
        assert!((cached - 0.1725).abs() < 1e-9, "{cached}");
    }
}
