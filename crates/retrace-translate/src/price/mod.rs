//! Prices of model calls.

mod cost;
#[cfg(feature = "prices")]
mod list;
#[cfg(any(feature = "prices", test))]
mod rates;
#[cfg(feature = "prices")]
mod spelling;

#[cfg(feature = "prices")]
pub use self::cost::call_price;
#[cfg(feature = "prices")]
pub(crate) use self::cost::price;
pub(crate) use self::cost::without_noise;
