//! Schedules of faults between an application and a real receiver: afterwards the receiver has every span once, or the
//! loss was counted, told, and the run says that it is not whole.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::faulty::{FaultyProxy, Receiver, Schedule};
use integration_tests::wait::{HANG, until};
use integration_tests::workload::{self, Made, Shape, Stored};
use opentelemetry_retrace::{RetraceExporter, RetraceSpanProcessor, Stats, Transport};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanExporter as _, SpanProcessor as _,
};
use retrace_protocol::{Signal, SignalCode};

const THREADS: usize = 4;
const RUNS: usize = 30;
const SPANS: (usize, usize) = (20, 60);
/// A flush that wakes what waits for its next attempt, and waits for nothing itself.
const NUDGE: Duration = Duration::from_millis(20);

/// One of the two ways in.
#[derive(Clone)]
enum Way {
    Processor(RetraceSpanProcessor),
    Exporter(RetraceExporter),
}

impl Way {
    fn stats(&self) -> Stats {
        match self {
            Self::Processor(processor) => processor.stats(),
            Self::Exporter(exporter) => exporter.stats(),
        }
    }

    fn flush(&self) -> OTelSdkResult {
        match self {
            Self::Processor(processor) => processor.force_flush(),
            Self::Exporter(exporter) => exporter.force_flush(),
        }
    }

    fn provider(&self) -> SdkTracerProvider {
        match self {
            Self::Processor(processor) => SdkTracerProvider::builder().with_span_processor(processor.clone()),
            Self::Exporter(exporter) => {
                let config = BatchConfigBuilder::default()
                    .with_max_queue_size(100_000)
                    .with_scheduled_delay(Duration::from_millis(20))
                    .build();
                let batch = BatchSpanProcessor::builder(exporter.clone()).with_batch_config(config).build();
                SdkTracerProvider::builder().with_span_processor(batch)
            }
        }
        .build()
    }
}

type Told = Arc<Mutex<Vec<(SignalCode, String)>>>;

fn way(is_exporter: bool, transport: Transport, url: &str) -> (Way, Told) {
    let told = Told::default();
    let tell = Arc::clone(&told);
    let on_error = move |signal: &Signal| tell.lock().unwrap().push((signal.code, signal.message.clone()));
    macro_rules! build {
        ($way:ty) => {
            <$way>::builder()
                .with_api_key("rt_local")
                .with_base_url(url)
                .with_transport(transport)
                .with_flush_timeout(NUDGE)
                .with_on_error(on_error)
                .build()
                .unwrap()
        };
    }
    let way =
        if is_exporter { Way::Exporter(build!(RetraceExporter)) } else { Way::Processor(build!(RetraceSpanProcessor)) };
    (way, told)
}

/// Reads the account until told to stop; it never contradicts itself, and nothing delivered or lost comes back.
fn watch(way: &Way, over: &AtomicBool) -> usize {
    let mut last = Stats::default();
    let mut samples = 0;
    while !over.load(Ordering::Relaxed) {
        let stats = way.stats();
        assert_eq!(stats.delivered + stats.lost.total() + stats.pending, stats.accepted, "{stats:?}");
        assert!(stats.delivered >= last.delivered && stats.lost.total() >= last.lost.total(), "{last:?} {stats:?}");
        assert_eq!(stats.restarts, 0);
        (last, samples) = (stats, samples + 1);
        thread::sleep(Duration::from_millis(1));
    }
    samples
}

/// What one schedule did.
#[derive(Debug, Default)]
struct Outcome {
    made: u64,
    lost: u64,
    frames: usize,
    cuts: usize,
}

fn run(seed: u64, is_exporter: bool, transport: Transport, db: &Path) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut receiver = Receiver::start(db);
    let proxy = FaultyProxy::start(receiver.addr(), Schedule::seeded(seed, 12));
    let (way, told) = way(is_exporter, transport, &proxy.url());
    let provider = way.provider();
    let shape = Shape { stragglers: !is_exporter, spans: SPANS };
    let (over, working) = (AtomicBool::new(false), AtomicUsize::new(THREADS));
    let restarts: Vec<usize> = (0..random.usize(0..3)).map(|_| random.usize(0..RUNS)).collect();
    let made: Mutex<Vec<Made>> = Mutex::default();
    thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&way, &over));
        for thread in 0..THREADS {
            let mut random = random.fork();
            let (provider, way, made, working) = (&provider, &way, &made, &working);
            scope.spawn(move || {
                for _ in (thread..RUNS).step_by(THREADS) {
                    let mut pauses = random.fork();
                    let run = workload::make(provider, &mut random, shape, || {
                        if pauses.u8(0..25) == 0 {
                            let _ = way.flush();
                        }
                    });
                    made.lock().unwrap().push(run);
                }
                working.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut restarts = restarts;
        while working.load(Ordering::Relaxed) > 0 {
            let done = made.lock().unwrap().len();
            if let Some(at) = restarts.iter().position(|after| *after <= done) {
                restarts.swap_remove(at);
                proxy.set_target(receiver.restart());
            }
            thread::sleep(Duration::from_millis(1));
        }
        // What counts as delivered is there at this very moment, whatever happens to connections.
        let delivered = way.stats().delivered;
        let there = Stored::new(receiver.traces()).ended();
        assert!(there >= delivered, "{there} spans are stored, {delivered} count as delivered");

        proxy.heal();
        // A flush of the batch processor that is complete has exported what ended before.
        until("the runs that have ended are delivered", || provider.force_flush().and_then(|()| way.flush()).ok());
        let _ = provider.shutdown_with_timeout(HANG);
        over.store(true, Ordering::Relaxed);
        assert!(watching.join().unwrap() > 0);
    });

    let (made, stats) = (made.into_inner().unwrap(), way.stats());
    let spans: u64 = made.iter().map(|run| run.spans.len() as u64).sum();
    assert_eq!((stats.accepted, stats.pending), (spans, 0), "{stats:?}");
    let missing = Stored::new(receiver.traces()).missing(&made);
    let missing = missing.unwrap_or_else(|what| panic!("{what}\n{stats:?}\n{told:?}"));
    let lost = stats.lost.total();
    assert!(missing <= lost, "{missing} spans are missing, {stats:?}");
    let told_lost =
        told.lock().unwrap().iter().any(|(code, _)| matches!(code, SignalCode::SpansLost | SignalCode::Conflict));
    assert!(lost == 0 || told_lost, "{stats:?} {told:?}");
    let counts = proxy.counts();
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    if lost > 0 {
        eprintln!("seed {seed}: {stats:?}\n{:?}", told.lock().unwrap());
    }
    Outcome { made: spans, lost, frames: count(&counts.frames), cuts: count(&counts.cuts) }
}

/// Prints the seed that failed.
fn schedules(seeds: std::ops::Range<u64>, is_exporter: bool, transport: Transport) {
    let dir = tempfile::tempdir().unwrap();
    let (began, runs) = (Instant::now(), seeds.clone());
    let mut all = Outcome::default();
    for seed in seeds {
        let db = dir.path().join(format!("{seed}.db"));
        let run = || run(seed, is_exporter, transport, &db);
        let began = Instant::now();
        let Ok(outcome) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) else {
            panic!("schedule {seed} of {transport:?}, exporter {is_exporter}, failed");
        };
        eprintln!("seed {seed}: {outcome:?} in {:?}", began.elapsed());
        all.made += outcome.made;
        all.lost += outcome.lost;
        all.frames += outcome.frames;
        all.cuts += outcome.cuts;
    }
    eprintln!("{transport:?}, exporter {is_exporter}: {runs:?}, {all:?} in {:?}", began.elapsed());
    // Under `auto` the runs of an exporter, which are whole, are sent by requests.
    let streams = !is_exporter || transport == Transport::Ws;
    assert_eq!((all.cuts > 0, all.frames > 0), (true, streams));
}

#[test]
fn the_processor_over_ws() {
    schedules(0..10, false, Transport::Ws);
}

#[test]
fn the_processor_over_auto() {
    schedules(100..110, false, Transport::Auto);
}

#[test]
fn the_exporter_over_ws() {
    schedules(300..306, true, Transport::Ws);
}

#[test]
fn the_exporter_over_auto() {
    schedules(200..206, true, Transport::Auto);
}
