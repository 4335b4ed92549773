//! Rates of tokens, computed once from a price list and used again.
//!
//! A lookup takes microseconds, because the list matches models by patterns. Within bounds most prices are sums of rates, and the
//! rates of a model that is called again and again are kept for the minute for which they were computed.

use std::cell::RefCell;

/// Tokens of one call that are paid for: given, returned, and of those given the ones read from a cache and written to it.
pub(crate) type Tokens = [u64; 4];

/// Models whose rates are kept, on each thread.
const MODELS: usize = 16;
/// Bytes that the names of one of them have at most.
const NAMES: usize = 512;
/// A price is looked up so often before its rates are worked out, which takes as long as that.
const LOOKUPS: u32 = 16;
/// Up to how many tokens of each kind rates may hold: from some number on many lists ask for more.
const BOUNDS: [u64; 3] = [120_000, 30_000, 7_500];
/// By how much two sums of money may differ that are the same, in US dollars.
const DUST: f64 = 1e-12;
const NANOS_PER_MINUTE: u64 = 60_000_000_000;

thread_local! {
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// What is known of the price of a model in one minute.
#[derive(Debug)]
struct Kept {
    provider: Option<String>,
    model: String,
    minute: u64,
    lookups: u32,
    rates: Option<Rates>,
}

/// A price that is a sum.
#[derive(Clone, Copy, Debug)]
struct Rates {
    /// For the call itself.
    call: f64,
    tokens: [f64; 4],
    /// It holds for calls with no more tokens of any kind.
    bound: u64,
}

/// Returns the price of a call in US dollars: from known rates, else from `look_up`, which must return the same price for the same
/// tokens throughout a minute.
pub(crate) fn price(
    provider: Option<&str>,
    model: &str,
    unix_nanos: u64,
    tokens: Tokens,
    look_up: impl Fn(Tokens) -> Option<f64>,
) -> Option<f64> {
    if model.len() + provider.map_or(0, str::len) > NAMES {
        return look_up(tokens);
    }
    let minute = unix_nanos / NANOS_PER_MINUTE;
    let known = KEPT.try_with(|kept| {
        let mut kept = kept.try_borrow_mut().ok()?;
        let is_it = |one: &Kept| one.minute == minute && one.model == model && one.provider.as_deref() == provider;
        let Some(one) = kept.iter_mut().find(|one| is_it(one)) else {
            if kept.len() >= MODELS {
                kept.remove(0);
            }
            let (provider, model) = (provider.map(str::to_owned), model.to_owned());
            kept.push(Kept { provider, model, minute, lookups: 1, rates: None });
            return None;
        };
        if one.lookups < LOOKUPS {
            one.lookups += 1;
        } else if one.lookups == LOOKUPS {
            one.lookups += 1;
            one.rates = BOUNDS.into_iter().find_map(|bound| Rates::of(&look_up, bound));
        }
        one.rates?.price(tokens)
    });
    // A thread that is being torn down keeps nothing.
    known.ok().flatten().or_else(|| look_up(tokens))
}

impl Rates {
    /// Rates that hold up to `bound`, unless the list has others before or is no sum of them.
    fn of(look_up: &impl Fn(Tokens) -> Option<f64>, bound: u64) -> Option<Self> {
        let call = look_up([0; 4])?;
        let rate = |tokens: Tokens, rest: f64| Some((look_up(tokens)? - call - rest) / count(bound));
        let input = rate([bound, 0, 0, 0], 0.0)?;
        let all = input * count(bound);
        let tokens =
            [input, rate([0, bound, 0, 0], 0.0)?, rate([bound, 0, bound, 0], all)?, rate([bound, 0, 0, bound], all)?];
        let rates = Self { call, tokens, bound };
        let parts = |of: u64| [[of, of, of / 2, of / 4], [of, of / 3, of / 4, of / 2], [of, of, 0, 0], [of, 0, of, 0]];
        let probes = [bound, bound / 2, bound / 15, 400, 7].into_iter().flat_map(parts);
        let holds = |tokens: Tokens| Some((rates.price(tokens)? - look_up(tokens)?).abs() <= DUST);
        probes.map(holds).all(|holds| holds == Some(true)).then_some(rates)
    }

    fn price(&self, tokens: Tokens) -> Option<f64> {
        let [input, _, read, written] = tokens;
        if tokens.iter().any(|count| *count > self.bound) || read + written > input {
            return None;
        }
        let sum = self.tokens.iter().zip(tokens).map(|(rate, tokens)| rate * count(tokens)).sum::<f64>();
        Some(crate::price::cost::without_noise(self.call + sum))
    }
}

#[allow(clippy::cast_precision_loss)] // nobody uses 2^53 tokens in a call
fn count(tokens: u64) -> f64 {
    tokens as f64
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const NOW: u64 = 1_795_392_000_000_000_000;

    fn linear([input, output, read, _]: Tokens) -> Option<f64> {
        Some(crate::price::cost::without_noise(count(input) * 3e-6 + count(output) * 15e-6 - count(read) * 2.7e-6))
    }

    #[test]
    fn what_is_asked_again_and_again_is_looked_up_no_more() {
        let lookups = Cell::new(0);
        let ask = |model: &str, minute: u64, tokens: Tokens| {
            let before = lookups.get();
            let price = price(Some("p"), model, NOW + minute * NANOS_PER_MINUTE, tokens, |tokens| {
                lookups.set(lookups.get() + 1);
                linear(tokens)
            });
            assert_eq!(price, linear(tokens), "{model} {tokens:?}");
            lookups.get() - before
        };
        let tokens = [1_000, 200, 300, 0];
        for _ in 0..LOOKUPS {
            assert_eq!(ask("m", 0, tokens), 1);
        }
        assert!(ask("m", 0, tokens) > 1, "now its rates are worked out");
        assert_eq!((ask("m", 0, tokens), ask("m", 0, [1, 1, 0, 0])), (0, 0));
        assert_eq!(ask("m", 0, [BOUNDS[0] + 1, 0, 0, 0]), 1, "beyond the bound");
        assert_eq!(ask("m", 0, [5, 0, 4, 4]), 1, "more of the cache than there is");
        assert_eq!((ask("m", 1, tokens), ask("n", 0, tokens)), (1, 1), "another minute, another model");
        for other in 0..MODELS {
            ask(&format!("o{other}"), 0, tokens);
        }
        assert_eq!(ask("m", 0, tokens), 1, "the oldest is forgotten");
        let long = "m".repeat(NAMES);
        (0..=LOOKUPS).for_each(|_| assert_eq!(ask(&long, 0, tokens), 1, "a name without bound is not kept"));
        assert!(KEPT.with_borrow(Vec::len) <= MODELS);
    }

    #[test]
    fn what_is_no_sum_is_looked_up_and_a_step_bounds_the_rates() {
        let stepped =
            |from: u64| move |tokens: Tokens| Some(linear(tokens)? * if tokens[0] > from { 2.0 } else { 1.0 });
        assert_eq!(Rates::of(&stepped(200_000), BOUNDS[0]).map(|rates| rates.bound), Some(120_000));
        assert!(Rates::of(&stepped(100_000), BOUNDS[0]).is_none() && Rates::of(&stepped(100_000), BOUNDS[1]).is_some());
        assert!(Rates::of(&|tokens: Tokens| Some(count(tokens[0]).sqrt()), BOUNDS[2]).is_none());
        assert!(Rates::of(&|_| None, BOUNDS[0]).is_none());
    }

    #[cfg(feature = "prices")]
    #[test]
    fn for_every_model_in_the_bundled_list_rates_say_what_the_list_says() {
        let (mut summed, mut listed) = (0, 0);
        for provider in genai_prices::Calculator::bundled().providers() {
            for model in provider.models() {
                let look_up = |tokens| crate::price::cost::look_up(Some(provider.id()), model.id(), tokens, NOW);
                listed += 1;
                let Some(rates) = BOUNDS.into_iter().find_map(|bound| Rates::of(&look_up, bound)) else { continue };
                summed += 1;
                for tokens in
                    [[119_999, 8_191, 64_000, 0], [41_357, 1, 3, 41_351], [6_007, 5_003, 211, 4_099], [1, 1, 0, 1]]
                {
                    if let Some(sum) = rates.price(tokens) {
                        let listed = look_up(tokens).unwrap();
                        assert!((sum - listed).abs() <= DUST, "{} {tokens:?}: {sum} {listed}", model.id());
                    }
                }
            }
        }
        assert!(summed > listed / 2, "of {summed} of {listed} models rates are known");
    }
}
