//! Agents with everything going wrong, for as long as one likes: `soak --minutes N`. Ends with an error when something leaks
//! or is unaccounted for.

#![allow(clippy::print_stdout)]

use std::cell::Cell;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use integration_tests::soak::{Length, soak};
use retrace_local::Server;

/// Between two lines.
const LINE: Duration = Duration::from_secs(10);

/// Lets agents work through a proxy that spoils every connection, and watches memory, threads and descriptors.
#[derive(Parser)]
struct Arguments {
    /// How long.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// What the faults are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The receiver, as this program starts it: a file and an address.
    #[arg(long, num_args = 2, hide = true)]
    receiver: Option<Vec<String>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let Some([db, addr]) = arguments.receiver.as_deref() {
        return receive(db.into(), addr);
    }
    let dir = std::env::temp_dir().join(format!("soak-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let length = Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    println!("   time     rss KiB  threads  descriptors   accepted  delivered   pending      lost");
    let next = Cell::new(Duration::ZERO);
    let mut receiver = Command::new(std::env::current_exe()?);
    let outcome =
        soak(Length::Time(length), arguments.seed, receiver.arg("--receiver"), &dir, |elapsed, sample, stats| {
            if elapsed >= next.get() {
                next.set(elapsed + LINE);
                println!(
                    "{:6.0}s {:>11} {:>8} {:>12} {:>10} {:>10} {:>9} {:>9}",
                    elapsed.as_secs_f64(),
                    sample.rss_kib,
                    sample.threads,
                    sample.descriptors,
                    stats.accepted,
                    stats.delivered,
                    stats.pending,
                    stats.lost.total()
                );
            }
        });
    std::fs::remove_dir_all(&dir)?;
    println!("{outcome:#?}");
    Ok(outcome.check()?)
}

fn receive(db: PathBuf, addr: &str) -> Result<(), Box<dyn Error>> {
    let server = Server::builder().with_db(db).with_addr(addr.parse()?).start()?;
    println!("{}", server.addr());
    // Until whoever started it is gone.
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new())?;
    Ok(())
}
