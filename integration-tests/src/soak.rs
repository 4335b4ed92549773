//! Agents that go on for a long time with everything going wrong, and what that costs: memory, threads, descriptors.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_retrace::{LossReason, RetraceSpanProcessor, Stats, Transport};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};
use retrace_local::{Server, TraceQuery};

use crate::faulty::{FaultyProxy, Schedule};
use crate::wait::{HANG, until};
use crate::workload::{self, Shape};

const AGENTS: u64 = 2;
const SHAPE: Shape = Shape { stragglers: false, spans: (5, 20) };
/// Between two runs of an agent.
const PAUSE: Duration = Duration::from_millis(40);
const SAMPLE: Duration = Duration::from_millis(250);
/// More faults than connections will be made.
const FAULTS: usize = 50_000;
/// A small one, so that it is full early and memory has a height to stay at.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Length of a soak.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// However much is done in it.
    Time(Duration),
    /// Number of runs, however long they take.
    Runs(u64),
}

impl Length {
    /// Fraction that is over; above 1 at the end.
    fn progress(self, elapsed: Duration, runs: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a fraction")]
        match self {
            Self::Time(length) => elapsed.as_secs_f64() / length.as_secs_f64(),
            Self::Runs(length) => runs as f64 / length as f64,
        }
    }
}

/// What the process takes at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Sample {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self {
            rss_kib: field("VmRSS:"),
            threads: field("Threads:"),
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.max(other.rss_kib),
            threads: self.threads.max(other.threads),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// What a soak came to.
#[derive(Debug)]
pub struct Outcome {
    /// Highest values in the first quarter, in which everything warms up, and in each that follows.
    pub quarters: [Sample; 4],
    /// When all was delivered.
    pub end: Sample,
    /// Runs that were made.
    pub runs: u64,
    /// Runs that the receiver has.
    pub stored: u64,
    /// Spans that were made in them.
    pub spans: u64,
    /// Connections that a fault ended.
    pub cuts: usize,
    /// What became of the spans.
    pub stats: Stats,
}

impl Outcome {
    /// Whether nothing leaks and nothing is unaccounted for.
    ///
    /// # Errors
    /// What does, or is.
    pub fn check(&self) -> Result<(), String> {
        let stats = &self.stats;
        let sum = stats.delivered + stats.lost.total() + stats.pending + stats.spooled;
        // Of a span that finds no room at the door nobody knows whether it would have been selected.
        let unseen = stats.lost.by(LossReason::QueueFull);
        let made = self.spans..=self.spans + unseen;
        if (sum, stats.pending, stats.restarts) != (stats.accepted, 0, 0) || !made.contains(&stats.accepted) {
            return Err(format!("{} spans were made, and the account says {stats:?}", self.spans));
        }
        if stats.lost.total() == 0 && self.stored != self.runs {
            return Err(format!("{} runs were made, {} are stored, none is said to be lost", self.runs, self.stored));
        }
        let [_, second, third, fourth] = self.quarters;
        if fourth.rss_kib > second.rss_kib.max(third.rss_kib) * 5 / 4 {
            return Err(format!("memory grows: {:?}", self.quarters));
        }
        if fourth.threads > second.threads.max(third.threads) || self.end.threads > second.threads {
            return Err(format!("threads are left: {:?}, {:?}", self.quarters, self.end));
        }
        // Connections of either side of the proxy, and those that are being made.
        if self.quarters.iter().any(|quarter| quarter.descriptors > 64) || self.end.descriptors > 32 {
            return Err(format!("descriptors are left: {:?}, {:?}", self.quarters, self.end));
        }
        Ok(())
    }
}

/// The receiver, in a process of its own so that its memory is its own.
struct Receiver(Child, SocketAddr);

impl Receiver {
    fn start(command: &mut Command, db: &Path) -> Self {
        let command = command.arg(db).arg("127.0.0.1:0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self(child, address)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets agents work for so long, against a receiver that `receiver` starts when given a file and an address.
pub fn soak(
    length: Length,
    seed: u64,
    receiver: &mut Command,
    dir: &Path,
    tell: impl Fn(Duration, Sample, &Stats),
) -> Outcome {
    let db = dir.join("runs.db");
    let receiver = Receiver::start(receiver, &db);
    let proxy = FaultyProxy::start(receiver.1, Schedule::seeded(seed, FAULTS));
    let processor = RetraceSpanProcessor::builder()
        .with_api_key("rt_local")
        .with_base_url(proxy.url())
        .with_transport(Transport::Auto)
        .with_buffer_bytes(BUFFER_BYTES)
        .with_flush_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let (runs, spans, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let mut quarters = [Sample::default(); 4];
    thread::scope(|scope| {
        for agent in 0..AGENTS {
            let (provider, processor, runs, spans, over) = (&provider, &processor, &runs, &spans, &over);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed + agent);
                while !over.load(Ordering::Relaxed) {
                    let made = workload::make(provider, &mut random, SHAPE, || {});
                    runs.fetch_add(u64::from(!made.spans.is_empty()), Ordering::Relaxed);
                    spans.fetch_add(made.spans.len() as u64, Ordering::Relaxed);
                    if random.u8(0..50) == 0 {
                        let _ = processor.force_flush();
                    }
                    thread::sleep(PAUSE);
                }
            });
        }
        let began = Instant::now();
        let mut progress = 0.0;
        while progress < 1.0 {
            thread::sleep(SAMPLE);
            let (sample, elapsed) = (Sample::now(), began.elapsed());
            progress = length.progress(elapsed, runs.load(Ordering::Relaxed));
            let quarter = (progress * 4.0).min(3.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 3")]
            let quarter = &mut quarters[quarter as usize];
            *quarter = quarter.max(sample);
            tell(elapsed, sample, &processor.stats());
        }
        over.store(true, Ordering::Relaxed);
    });
    proxy.heal();
    // Runs that lost their root to a full queue are open until the shutdown.
    until("the runs that have ended are delivered", || processor.force_flush().ok());
    let end = Sample::now();
    let _ = provider.shutdown_with_timeout(HANG);
    let cuts = proxy.counts().cuts.load(Ordering::Relaxed);
    drop(receiver);
    let stored = Server::builder().with_db(&db).start().unwrap().traces(&TraceQuery::default()).unwrap().total;
    Outcome {
        quarters,
        end,
        runs: runs.into_inner(),
        stored,
        spans: spans.into_inner(),
        cuts,
        stats: processor.stats(),
    }
}
