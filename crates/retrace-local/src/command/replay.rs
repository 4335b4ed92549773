//! `retrace-local replay`

use std::error::Error;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use retrace_local::{Pace, ReplayServer, ReplaySettings};
use retrace_replay::report::Style;

use crate::{Stop, address, say};

#[derive(Args)]
pub(crate) struct ReplayCommand {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3002", value_parser = address)]
    listen: SocketAddr,

    /// Answer a changed request with the nearest recorded response and report it, instead of refusing it.
    #[arg(long)]
    lenient: bool,

    /// Pace of the responses: instant, recorded, or a factor of the recorded times such as 0.5.
    #[arg(long, value_name = "PACE", default_value = "instant", value_parser = pace)]
    pace: Pace,

    /// Allow an address that other machines can reach.
    #[arg(long)]
    allow_remote: bool,

    /// The cassette to answer from.
    cassette: PathBuf,
}

fn pace(text: &str) -> Result<Pace, String> {
    match text {
        "instant" => Ok(Pace::Instant),
        "recorded" => Ok(Pace::Factor(1.0)),
        other => match other.parse() {
            Ok(factor) if f64::is_finite(factor) && factor >= 0.0 => Ok(Pace::Factor(factor)),
            _ => Err("expected instant, recorded, or a number from 0".to_owned()),
        },
    }
}

impl ReplayCommand {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let mut settings = ReplaySettings::default();
        settings.addr = self.listen;
        settings.lenient = self.lenient;
        settings.pace = self.pace;
        settings.allow_remote = self.allow_remote;
        // Registered before the server prints its address, so that a caller that waits for the address may stop it at
        // once.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = runtime.block_on(async { Stop::new() })?;
        let server = ReplayServer::start(&self.cassette, settings)?;
        say(&format!(
            "Provider from a cassette: {url}
  OpenAI         OPENAI_BASE_URL={url}/v1
  Anthropic      ANTHROPIC_BASE_URL={url}
  others         {url} as the base URL, with the paths of the provider
  the report     {url}/retrace/report; a POST to {url}/retrace/reset begins anew
  to stop        Ctrl-C",
            url = server.url(),
        ));
        runtime.block_on(stop.requested());
        let report = server.report();
        let style = Style::choose(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
        say(&report.to_text(style));
        match report.refusal {
            Some(_) => Err("a call was refused; the report names it".into()),
            None => Ok(()),
        }
    }
}
