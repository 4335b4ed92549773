//! Costs of model calls.

use retrace_replay::cassette::TokenCount;

/// Returns the cost in US dollars by the bundled price table; `None` for a model that it does not know.
#[cfg(feature = "prices")]
pub(crate) fn price(provider: &str, model: &str, tokens: TokenCount) -> Option<f64> {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    retrace_translate::call_price(Some(provider), model, tokens.input, tokens.output, nanos)
}

#[cfg(not(feature = "prices"))]
pub(crate) fn price(_: &str, _: &str, _: TokenCount) -> Option<f64> {
    None
}
