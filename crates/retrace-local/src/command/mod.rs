//! Subcommands about cassettes.

mod cassette;
mod replay;

pub(crate) use cassette::CassetteCommand;
pub(crate) use replay::ReplayCommand;
