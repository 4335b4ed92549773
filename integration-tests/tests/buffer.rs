//! The bound on memory, at the allocator: the peak of the heap while more comes than can be sent.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use integration_tests::nobody::Nobody;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Bytes that other threads of the test may have.
const LEFT: usize = 64 * KIB;
/// Far enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A reason for which spans wait.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    /// Nobody listens; whole runs wait for requests.
    Unreachable(&'static str),
    /// The connection is made, and nothing is ever read.
    NeverRead(&'static str),
    /// The runs do not end.
    Open,
    /// The same, and the worker reads a little each time the queue is full: all stores are full at once.
    OpenBehind,
    /// The runs are not sampled, have failed, and do not end.
    Unsampled,
    /// Half of the runs end, half do not, and some are not sampled, before a receiver that reads nothing.
    Mixed(&'static str),
}

/// Makes the spans of a run, each with this much content; a root that ends is the last.
fn run(case: Case, n: u64, content: usize) -> Vec<SpanData> {
    let now = SystemTime::now();
    let ends = match case {
        Case::Open | Case::OpenBehind | Case::Unsampled => false,
        Case::Mixed(_) => n.is_multiple_of(2),
        Case::Unreachable(_) | Case::NeverRead(_) => true,
    };
    let span = |id: u64| SpanData {
        span_context: SpanContext::new(
            // By their ids half of the runs of the mixed case are sampled.
            TraceId::from(u128::from(n) << 64 | u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: if id == 1 { SpanId::INVALID } else { SpanId::from(1) },
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: "chat".into(),
        start_time: now,
        end_time: now,
        attributes: vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new(
                "gen_ai.input.messages",
                format!(r#"[{{"role":"user","parts":[{{"type":"text","content":"{}"}}]}}]"#, "x".repeat(content)),
            ),
        ],
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if matches!(case, Case::Unsampled | Case::Mixed(_)) { Status::error("no") } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::default(),
    };
    [2, 3, 4].into_iter().chain(ends.then_some(1)).map(span).collect()
}

/// Hook that lets the worker make some records each time that a span is refused.
#[derive(Clone, Default)]
struct Turnstile {
    is_open: Arc<AtomicBool>,
    left: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
}

impl Turnstile {
    /// Number of records that the worker makes before the queue is full again.
    const RECORDS: u64 = 30;

    fn pass(&self) {
        while !self.is_open.load(Ordering::Acquire) {
            let one_less = |left: u64| left.checked_sub(1);
            if self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok() {
                break;
            }
            thread::yield_now();
        }
        self.passed.fetch_add(1, Ordering::AcqRel);
    }

    fn lets_some_pass(&self) {
        let _ = self.left.compare_exchange(0, Self::RECORDS, Ordering::AcqRel, Ordering::Acquire);
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::Acquire)
    }
}

/// Exports so many bytes of runs, and gives the peak of the heap meanwhile over that before.
fn peak(case: Case, buffer: usize, content: usize) -> usize {
    let start = HEAP.current_usage();
    let peak = run_through(case, buffer, content);
    // The worker of the next case is to be alone.
    let until = Instant::now() + PATIENCE;
    while HEAP.current_usage() > start + LEFT && Instant::now() < until {
        thread::yield_now();
    }
    peak
}

fn run_through(case: Case, buffer: usize, content: usize) -> usize {
    let nobody = Nobody::new();
    let url = nobody.url();
    let _listener = if let Case::NeverRead(_) | Case::Mixed(_) = case { Some(nobody.arrives()) } else { None };
    let transport = match case {
        Case::Unreachable(transport) | Case::NeverRead(transport) | Case::Mixed(transport) => transport,
        Case::Open | Case::OpenBehind | Case::Unsampled => "http",
    };
    let mut builder = RetraceExporter::builder()
        .with_api_key("rt_local")
        .with_base_url(url)
        .with_transport(transport)
        .with_buffer_bytes(buffer)
        .with_flush_timeout(Duration::from_millis(20));
    let turnstile = Turnstile::default();
    match case {
        Case::OpenBehind => {
            let turnstile = turnstile.clone();
            builder = builder.with_before_send(move |record| {
                turnstile.pass();
                Some(record)
            });
        }
        Case::Unsampled => builder = builder.with_sample_rate(0.0),
        Case::Mixed(_) => builder = builder.with_sample_rate(0.5),
        _ => {}
    }
    let exporter = builder.build().unwrap();
    let export = |n| {
        let _ = futures_executor::block_on(exporter.export(run(case, n, content)));
    };
    // A first run costs what is made once.
    turnstile.is_open.store(true, Ordering::Release);
    export(1);
    let _ = exporter.force_flush();
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let times = if case == Case::OpenBehind {
        2
    } else if buffer < MIB {
        20
    } else {
        5
    };
    let runs = (times * buffer / (3 * (content + KIB))) as u64;
    let is_behind = case == Case::OpenBehind;
    turnstile.is_open.store(!is_behind, Ordering::Release);
    let until = Instant::now() + PATIENCE;
    let mut n = 2;
    while if is_behind { turnstile.passed() < 3 * runs && Instant::now() < until } else { n < runs + 2 } {
        let before = exporter.stats().lost.total();
        export(n);
        n += 1;
        if exporter.stats().lost.total() > before {
            turnstile.lets_some_pass();
        }
    }
    assert!(!is_behind || turnstile.passed() >= 3 * runs, "the worker reads nothing: {:?}", exporter.stats());
    turnstile.is_open.store(true, Ordering::Release);
    let _ = exporter.force_flush();
    // The batch that is on its way in is the caller's.
    let peak = HEAP.peak_usage().saturating_sub(before + 4 * (content + KIB));
    let stats = exporter.stats();
    assert_eq!(stats.delivered + stats.lost.total() + stats.pending + stats.spooled, stats.accepted, "{stats:?}");
    let _ = exporter.shutdown_with_timeout(Duration::from_millis(1));
    peak
}

/// The bound holds for everything that waits. Beside that there is a connection that is made, and a span that is read or
/// written at the moment: as it came, as it is translated, and as it is sent, with copies of its content. In a buffer of 1 MiB
/// and more these have room, unless a span takes more than a 64th of it.
fn allowance(buffer: usize, content: usize) -> usize {
    if buffer >= MIB && content <= buffer / 64 { 0 } else { 64 * KIB + 8 * (content + KIB) }
}

#[test]
fn what_waits_takes_no_more_than_the_buffer() {
    use Case::{Mixed, NeverRead, Open, OpenBehind, Unreachable, Unsampled};

    let cases = [
        Unreachable("http"),
        Unreachable("ws"),
        NeverRead("http"),
        NeverRead("ws"),
        Open,
        OpenBehind,
        Unsampled,
        Mixed("http"),
        Mixed("ws"),
    ];
    // Tables that a process makes once are made here.
    for case in [Mixed("http"), Mixed("ws")] {
        run_through(case, 64 * KIB, 10);
    }
    let mut too_much = Vec::new();
    for case in cases {
        for (buffer, contents) in [
            (64 * KIB, &[10, 2 * KIB][..]),
            (256 * KIB, &[10, 2 * KIB, 20 * KIB]),
            (MIB, &[10, 2 * KIB, 200 * KIB]),
            (8 * MIB, &[10, 20 * KIB]),
            (64 * MIB, &[200 * KIB]),
        ] {
            // Behind its queue the worker is slow, and small spans are the hard case.
            let few = if case == OpenBehind && buffer > MIB { 1 } else { contents.len() };
            for content in contents.iter().take(few) {
                let peak = peak(case, buffer, *content);
                if peak > buffer + allowance(buffer, *content) {
                    too_much.push(format!("{case:?}, a buffer of {buffer}, spans of {content}: {peak}"));
                }
            }
        }
    }
    assert!(too_much.is_empty(), "{too_much:#?}");
}
