//! Subcommands about cassettes, and arguments of others.

mod amount;
mod cassette;
mod replay;

pub(crate) use amount::{age, size};
pub(crate) use cassette::CassetteCommand;
pub(crate) use replay::ReplayCommand;
