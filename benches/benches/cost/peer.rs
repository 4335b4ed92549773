//! One exporter in a process of its own, from batches that were made before.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_retrace::{RetraceExporter, SpanSelection};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::spans::{self, Size};

/// What `BatchSpanProcessor` exports at once.
const BATCH: usize = 512;
/// A flush every 4,096 spans: `opentelemetry-otlp` delivers when it exports, this project's exporter when it is flushed.
const BATCHES_PER_FLUSH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `opentelemetry-otlp`, http/protobuf, blocking client: what its documentation has for the batch processor.
    Otlp,
    /// This project's exporter over `http`, every span.
    All,
    /// The same over a WebSocket.
    Ws,
    /// The same over `http`, through a `reqwest::Client` given by `with_http_client`.
    Reqwest,
    /// The same over `http` with its default selection: the HTTP spans are not sent.
    GenAi,
    /// Drops the batches, and sends as many bodies as `All` does, as large as those of `Plain`: what requests alone cost.
    Requests,
    /// Writes each run as JSON by `serde_json`, reading nothing, and sends it: what this wire costs.
    Plain,
    /// Drops the batches.
    Nobody,
}

impl Peer {
    pub(crate) const EVERY: [Self; 8] =
        [Self::Nobody, Self::Requests, Self::Plain, Self::Otlp, Self::All, Self::Reqwest, Self::Ws, Self::GenAi];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::All => "retrace-all",
            Self::Ws => "retrace-ws",
            Self::Reqwest => "retrace-reqwest",
            Self::GenAi => "retrace",
            Self::Requests => "requests",
            Self::Plain => "plain",
            Self::Nobody => "nobody",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|peer| peer.name() == name)
    }
}

/// What one export cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub spans: f64,
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
    /// 0 where they are not counted.
    pub allocations: f64,
    pub peak_bytes: f64,
}

/// Runs an exporter in a fresh process and returns its cost.
pub(crate) fn measure(peer: Peer, size: Size, spans: usize, url: &str) -> Cost {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--export", peer.name(), size.name, &spans.to_string(), url];
    let output = Command::new(program).args(arguments).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}: {printed}{}", peer.name(), String::from_utf8_lossy(&output.stderr));
    let numbers: Vec<f64> = printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [spans, cpu_seconds, wall_seconds, allocations, peak_bytes] = numbers[..] else { panic!("{printed}") };
    Cost { spans, cpu_seconds, wall_seconds, allocations, peak_bytes }
}

/// Entry of that process: exports, and prints the cost. `heap` returns the allocations so far and the peak in bytes.
pub(crate) fn export(arguments: &[String], heap: fn() -> (u64, u64)) {
    let [peer, size, spans, url] = arguments else { panic!("peer, size, spans, address: {arguments:?}") };
    let peer = Peer::named(peer).unwrap();
    let size = spans::SIZES.into_iter().find(|known| known.name == size).unwrap();
    let batches = spans::batches(size, spans.parse().unwrap(), BATCH);
    let spans: usize = batches.iter().map(Vec::len).sum();
    let cost = match peer {
        Peer::Otlp => {
            let mut exporter = opentelemetry_otlp::SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{url}/v1/traces"))
                .build()
                .unwrap();
            exporter.set_resource(&resource());
            run(&exporter, batches, heap)
        }
        Peer::All | Peer::Reqwest | Peer::Ws | Peer::GenAi => {
            let selection = if peer == Peer::GenAi { SpanSelection::GenAi } else { SpanSelection::All };
            let mut builder = RetraceExporter::builder()
                .with_api_key("rt_bench")
                .with_base_url(url)
                .with_transport(if peer == Peer::Ws { "ws" } else { "http" })
                .with_span_selection(selection)
                .with_buffer_bytes(1 << 30)
                // Where every allocation is counted, a flush takes longer than usual.
                .with_flush_timeout(Duration::from_secs(600));
            if peer == Peer::Reqwest {
                builder = builder.with_http_client(reqwest::Client::new());
            }
            let mut exporter = builder.build().unwrap();
            exporter.set_resource(&resource());
            let cost = run(&exporter, batches, heap);
            let stats = exporter.stats();
            assert_eq!((stats.delivered + stats.set_aside, stats.lost.total()), (spans as u64, 0), "{stats:?}");
            cost
        }
        Peer::Requests => crate::requests::send(url, batches, heap),
        Peer::Plain => crate::requests::send_plain(url, batches, heap),
        Peer::Nobody => measured(heap, || drop(batches)),
    };
    let mut line = format!("{spans}");
    for number in [cost.cpu_seconds, cost.wall_seconds, cost.allocations, cost.peak_bytes] {
        let _ = write!(line, " {number}");
    }
    println!("{line}");
}

fn resource() -> Resource {
    Resource::builder_empty().with_service_name("bench").build()
}

fn run(exporter: &impl SpanExporter, batches: Vec<Vec<SpanData>>, heap: fn() -> (u64, u64)) -> Cost {
    // The connection is made before the clock starts.
    let mut batches = batches.into_iter();
    export_batch(exporter, batches.next().unwrap());
    exporter.force_flush().unwrap();
    measured(heap, || {
        for (at, batch) in batches.enumerate() {
            export_batch(exporter, batch);
            if at % BATCHES_PER_FLUSH == BATCHES_PER_FLUSH - 1 {
                exporter.force_flush().unwrap();
            }
        }
        exporter.force_flush().unwrap();
    })
}

fn export_batch(exporter: &impl SpanExporter, batch: Vec<SpanData>) {
    futures_executor::block_on(exporter.export(batch)).unwrap();
}

pub(crate) fn measured(heap: fn() -> (u64, u64), work: impl FnOnce()) -> Cost {
    let (before, _) = heap();
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    work();
    let (cpu_seconds, wall_seconds) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let (after, peak) = heap();
    #[allow(clippy::cast_precision_loss)]
    Cost { spans: 0.0, cpu_seconds, wall_seconds, allocations: (after - before) as f64, peak_bytes: peak as f64 }
}

/// User and system time of all threads, those that have ended too.
fn cpu_seconds() -> f64 {
    cpu_time::ProcessTime::now().as_duration().as_secs_f64()
}
