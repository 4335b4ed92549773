//! Cost of a run that is not sampled, of one where nothing is installed, and of a step below an unsampled run.
#![allow(clippy::print_stdout, missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use retrace::Failures;

/// Few enough that most samples are not interrupted.
const CALLS: u32 = 20_000;

#[retrace::record(name = "research-agent", skip_output)]
fn recorded(n: u32) -> u32 {
    black_box(n)
}

fn measure(what: &str, call: impl Fn(u32) -> u32) {
    let best = (0..200).map(|_| {
        let began = Instant::now();
        (0..CALLS).for_each(|n| {
            black_box(call(black_box(n)));
        });
        began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    });
    println!("{what:<44} {:6.1} ns", best.fold(f64::INFINITY, f64::min));
}

fn main() {
    measure("a plain call", black_box);
    {
        let _off = retrace::configure().with_enabled(false).install().unwrap();
        measure("#[record], switched off", recorded);
    }
    let configuration = retrace::configure().with_api_key("rt_bench").with_base_url("http://127.0.0.1:9");
    let _on = configuration.with_sample_rate(0.0).with_failures(Failures::Off).install().unwrap();
    measure("#[record], a run that is not sampled", recorded);
    measure("run().in_scope(), not sampled", |n| retrace::run("research-agent").input(n).in_scope(|_| n));
    retrace::run("research-agent").in_scope(|_| {
        measure("#[record], a step of a run not sampled", recorded);
    });
}
