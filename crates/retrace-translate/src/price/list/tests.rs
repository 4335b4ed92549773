//! Prices are those of the crate whose data the table is.

use std::time::{Duration, UNIX_EPOCH};

use genai_prices::{Calculator, PriceRequest, Usage, UsageKey};

use super::*;

/// Moments around which prices change: one before all of them, three between, and one after.
const MOMENTS: [u64; 5] = [1_700_000_000, 1_745_000_000, 1_767_231_000, 1_780_012_345, 1_830_300_000];
/// Within the lowest step of any list and beyond the highest one, with caches and without.
const TOKENS: [Tokens; 6] =
    [[0, 0, 0, 0], [1_000, 200, 0, 0], [31_999, 7, 12_000, 500], [300_000, 9, 0, 100_000], [7, 0, 7, 0], [5, 5, 4, 4]];

/// The price by the crate.
fn expected(provider: Option<&str>, model: &str, tokens: Tokens, unix_seconds: u64) -> Option<f64> {
    let mut usage = Usage::new();
    let keys =
        [UsageKey::INPUT_TOKENS, UsageKey::OUTPUT_TOKENS, UsageKey::CACHE_READ_TOKENS, UsageKey::CACHE_WRITE_TOKENS];
    for (key, count) in keys.into_iter().zip(tokens) {
        usage.insert(key, f64::from(u32::try_from(count).unwrap()));
    }
    let request = PriceRequest::new(model, &usage).with_timestamp(UNIX_EPOCH + Duration::from_secs(unix_seconds));
    let request = match provider {
        Some(provider) => request.with_provider_id(provider),
        None => request,
    };
    Calculator::bundled().calculate(&request).ok().map(|price| price.total_price)
}

fn same(provider: Option<&str>, model: &str) -> usize {
    let mut priced = 0;
    for at in MOMENTS {
        for tokens in TOKENS {
            let expected = expected(provider, model, tokens, at);
            let found = price(provider, model, tokens, at * NANOS + 1);
            // The same sums in the same order: not a bit may differ.
            assert_eq!(
                found.map(f64::to_bits),
                expected.map(f64::to_bits),
                "{provider:?} {model} {tokens:?} {at}: {found:?}, {expected:?}"
            );
            priced += usize::from(found.is_some());
        }
    }
    priced
}

#[test]
fn every_model_of_the_crate_has_the_price_of_the_crate() {
    let (mut models, mut priced) = (0, 0);
    for provider in Calculator::bundled().providers() {
        assert_eq!(Provider::named(provider.id()).map(|list| list.id), Some(provider.id()));
        for model in provider.models() {
            models += 1;
            priced += usize::from(same(Some(provider.id()), model.id()) > 0);
        }
    }
    let listed: usize = table::PROVIDERS.iter().map(|provider| provider.models.len()).sum();
    assert_eq!(models, listed);
    assert!(priced > models / 10 * 9, "{priced} of {models}");
}

#[test]
fn names_that_only_rules_know_have_the_price_of_the_crate() {
    for (provider, model) in [
        (None, "gpt-4o-mini-2024-07-18"),
        (None, "GPT-4o"),
        (None, "o3-mini"),
        (None, "o2"),
        (None, "claude-opus-4-5-20251101"),
        (None, "open-mixtral-8x22b"),
        (None, "mistralai/mistral-large"),
        (None, "labs-devstral-small-2512"),
        (None, "no-such-model"),
        (None, ""),
        (Some("azure"), "claude-sonnet-4-5-20250929"),
        (Some("azure.ai.openai"), "gpt-5.4-2026-03-05"),
        (Some("google"), "claude-sonnet-4-5@20250929"),
        (Some("google"), "gemini-2.5-flash-preview-tts"),
        (Some("google"), "gemini-2.5-flash-preview-09-2025"),
        (Some(" OpenAI "), "gpt-5.4-20260305"),
        (Some("openai"), "gpt-5.4-20260230"),
        (Some("x-ai"), "grok-4.5-20260101"),
        (Some("cursor"), "grok-4.5[fast=true]"),
        (Some("cursor"), "composer-2.5[fast=false]"),
        (Some("openrouter"), "google/gemini-3.5-flash-20260101"),
        (Some("nobody"), "gpt-4o"),
    ] {
        same(provider, model);
    }
    assert!(price(None, "gpt-4o-mini-2024-07-18", [1_000, 0, 0, 0], 0).is_some());
}

#[test]
fn a_look_up_needs_no_first_time() {
    // The table is part of the program, and small.
    let periods: usize = table::PROVIDERS.iter().flat_map(|list| list.models).map(|model| model.periods.len()).sum();
    let models: usize = table::PROVIDERS.iter().map(|list| list.models.len()).sum();
    assert!(periods * size_of::<Period>() + models * size_of::<Model>() < 1 << 20);
}
