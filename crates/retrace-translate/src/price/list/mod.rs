//! Prices of models, by a table that is part of the program: nothing is decoded, and nothing is read twice.
//!
//! The table is the data of the crate genai-prices. The rules by which a model and a provider are found, and a price is made up,
//! are those of that crate; a test holds every model of it to the same price.

mod dated_name;
mod rule;
// Generated. A line for each model.
#[rustfmt::skip]
#[allow(clippy::approx_constant, clippy::excessive_precision, clippy::unreadable_literal)]
mod table;

use std::borrow::Cow;

use self::rule::Rule;
use crate::price::rates::Tokens;

/// Tokens to which a price per million refers.
const MILLION: f64 = 1e6;
/// Requests to which a price per thousand refers.
const THOUSAND: f64 = 1e3;
const NANOS: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// Price list of a provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub id: &'static str,
    /// Other names of the provider.
    alias: Option<Rule>,
    /// Names of its models, for a call whose provider is unknown.
    family: Option<Rule>,
    /// Lists that are read for a model that this one does not have.
    fallbacks: &'static [&'static str],
    models: &'static [Model],
}

/// A model in a list. The first one whose rule holds for a name is the model of that name.
#[derive(Debug)]
pub(crate) struct Model {
    pub id: &'static str,
    rule: Rule,
    /// The last one that holds at a moment counts, else the first one.
    periods: &'static [Period],
}

/// Rates, and when they hold.
#[derive(Debug)]
struct Period(When, Rates);

/// When rates hold, in UTC.
#[derive(Debug)]
enum When {
    Always,
    /// From this second since 1970 on.
    From(u64),
    /// Between two seconds of each day, past midnight if the second one is less.
    Daily(u64, u64),
}

/// Prices in US dollars: of a million tokens of input, output, input from a cache and input into a cache, and of a thousand
/// requests.
#[derive(Debug)]
struct Rates(Price, Price, Price, Price, Price);

/// A price.
#[derive(Debug)]
enum Price {
    /// The list has none.
    No,
    Flat(f64),
    /// A price, and others for calls with more input tokens than these, in ascending order.
    Steps(&'static (f64, &'static [(f64, f64)])),
}

impl When {
    fn holds(&self, unix_seconds: u64) -> bool {
        let of_day = unix_seconds % SECONDS_PER_DAY;
        match self {
            Self::Always => true,
            Self::From(start) => unix_seconds >= *start,
            Self::Daily(start, end) if end < start => of_day >= *start || of_day < *end,
            Self::Daily(start, end) => (*start..*end).contains(&of_day),
        }
    }
}

impl Price {
    const fn is_some(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// Price of one unit of `count`, in a call with so many input tokens.
    fn at(&self, count: f64, input: f64) -> f64 {
        match self {
            Self::No => 0.0,
            Self::Flat(price) => *price,
            Self::Steps((base, steps)) => {
                let step = steps.iter().rev().find(|(above, _)| count > 0.0 && input > *above);
                step.map_or(*base, |(_, price)| *price)
            }
        }
    }
}

impl Rates {
    /// Price of a call in US dollars; `None` if more input went through a cache than there is.
    fn price(&self, tokens: Tokens) -> Option<f64> {
        let Self(input, output, read, written, request) = self;
        #[allow(clippy::cast_precision_loss)] // nobody uses 2^53 tokens in a call
        let [given, returned, from_cache, into_cache] = tokens.map(|count| count as f64);
        let cached = [(read, from_cache), (written, into_cache)];
        let apart: f64 = cached.iter().filter(|(price, _)| price.is_some()).map(|(_, count)| count).sum();
        if input.is_some() && apart > given {
            return None;
        }
        let cost = |price: &Price, count: f64, unit: f64| price.at(count, given) * count / unit;
        let cached: f64 = cached.into_iter().map(|(price, count)| cost(price, count, MILLION)).sum();
        let sum = cost(request, 1.0, THOUSAND)
            + (cached + cost(input, given - apart, MILLION) + cost(output, returned, MILLION));
        (sum.is_finite() && sum >= 0.0).then_some(sum)
    }
}

impl Model {
    fn price(&self, tokens: Tokens, unix_nanos: u64) -> Option<f64> {
        let now = unix_nanos / NANOS;
        let period = self.periods.iter().rev().find(|Period(when, _)| when.holds(now));
        let Period(_, rates) = period.or_else(|| self.periods.first())?;
        rates.price(tokens)
    }
}

impl Provider {
    /// The list of a provider, by its id or another name of it.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        let name = lower_case(name.trim());
        let by_id = Self::all().find(|provider| provider.id == name);
        by_id.or_else(|| Self::all().find(|provider| provider.alias.as_ref().is_some_and(|alias| alias.holds(&name))))
    }

    /// The list of the provider that a model of this name usually has.
    fn of_model(model: &str) -> Option<&'static Self> {
        Self::all().find(|provider| provider.family.as_ref().is_some_and(|family| family.holds(model)))
    }

    fn all() -> impl Iterator<Item = &'static Self> {
        table::PROVIDERS.iter()
    }

    /// Returns true if the list has a model with this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.models.iter().any(|model| model.id.eq_ignore_ascii_case(id))
    }

    fn own(&self, model: &str) -> Option<&'static Model> {
        self.models.iter().find(|listed| listed.rule.holds(model))
    }

    fn model(&self, model: &str) -> Option<&'static Model> {
        let fallback = |id: &&str| Self::all().find(|provider| provider.id == *id)?.own(model);
        self.own(model).or_else(|| self.fallbacks.iter().find_map(fallback))
    }
}

/// Returns the price of a call in US dollars at a moment, before rounding. Without a provider the name of the model leads to
/// its list.
pub(crate) fn price(provider: Option<&str>, model: &str, tokens: Tokens, unix_nanos: u64) -> Option<f64> {
    let model = lower_case(model);
    let list = match provider {
        Some(provider) => Provider::named(provider),
        None => Provider::of_model(&model),
    }?;
    let found = list.model(&model).or_else(|| list.model(&dated_name::with_dashes(&model)?));
    found?.price(tokens, unix_nanos)
}

fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| !byte.is_ascii() || byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests;
