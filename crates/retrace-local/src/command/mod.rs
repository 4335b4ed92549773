//! Subcommands that read stored runs and cassettes, and their shared arguments.

mod amount;
mod cassette;
mod diff;
mod export;
mod fork;
mod receiver;
mod replay;
mod runs;
mod show;

use std::process::ExitCode;

pub(crate) use amount::{age, size};
pub(crate) use cassette::CassetteCommand;
pub(crate) use diff::DiffCommand;
pub(crate) use export::ExportCommand;
pub(crate) use fork::ForkCommand;
pub(crate) use replay::ReplayCommand;
pub(crate) use runs::RunsCommand;
use serde_json::Value;
pub(crate) use show::ShowCommand;

use crate::{complain, say};

/// Result of a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Status 0: done, and nothing differs.
    Same,
    /// Status 1: the runs differ.
    Differs,
}

impl Ending {
    fn of(compared: &Value) -> Self {
        if compared["same"] == true { Self::Same } else { Self::Differs }
    }
}

/// Returns the exit status of a result; 2 for an error.
pub(crate) fn status(ended: Result<Ending, String>) -> ExitCode {
    match ended {
        Ok(Ending::Same) => ExitCode::SUCCESS,
        Ok(Ending::Differs) => ExitCode::from(1),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

fn print_json(value: &Value) -> Result<Ending, String> {
    say(&serde_json::to_string_pretty(value).map_err(|error| error.to_string())?);
    Ok(Ending::Same)
}
