//! Settings from which a pipeline starts its workers, one in each process.

use std::fmt;
use std::sync::{Arc, Weak};

use retrace_translate::{Options, RecorderLimits};

use crate::config::{BuildError, Config, Transport};
use crate::delivery::LedgerLimits;
use crate::log::startup_log::StartupLog;
use crate::metrics::Metrics;
use crate::pipeline_state::{PipelineConfig, PipelineState};
use crate::recording::queue::Queue;
use crate::recording::redact::{BeforeSend, Redaction};
use crate::recording::tail_sampling::TailSamplerLimits;
use crate::remote::{self, Handle, RemoteSettings};
use crate::stats::settlement::OnSettlement;
use crate::transport::client::GivenClient;
use crate::transport::http::Http;
use crate::transport::spool::Spool;
use crate::transport::worker::{OnError, Worker};
use crate::transport::ws::Ws;

/// Maximum number of concurrent requests.
const IN_FLIGHT: usize = 4;
/// Maximum number of runs that wait to be sent.
const WAITING_RUNS: usize = 20_000;

/// Everything that starts a worker. The child of a fork starts its own from it.
pub(crate) struct WorkerConfig {
    pub config: Config,
    pub before_send: Option<BeforeSend>,
    pub on_error: Option<OnError>,
    /// HTTP client of the application, instead of the built-in one.
    pub http_client: Option<GivenClient>,
    pub on_settlement: Option<OnSettlement>,
    pub metrics: Metrics,
    /// Weak, so that the drop of the last handle writes the lines that are left.
    pub startup_log: Weak<StartupLog>,
}

impl WorkerConfig {
    /// Starts a worker; returns its queue and its handle.
    pub(crate) fn start_worker(&self) -> Result<(Arc<Queue>, Handle), BuildError> {
        let config = &self.config;
        let http = Http::new(config, self.http_client.clone())?;
        let ws = if config.transport == Transport::Http { None } else { Some(Ws::new(config)?) };
        let queue = Arc::new(Queue::new(config.buffer_bytes / 4));
        let engine = PipelineState::new(engine_config(
            config,
            Redaction::new(self.before_send.clone()),
            self.on_settlement.is_some(),
        ));
        let spool = config.spool.clone().map(Spool::new);
        let (on_error, on_settlement) = (self.on_error.clone(), self.on_settlement.clone());
        let metrics = self.metrics.clone();
        let startup_log = Weak::clone(&self.startup_log);
        let (handle, control) = remote::channel(RemoteSettings {
            allows_replay: config.remote_replay,
            allows_cassettes: config.remote_cassette,
            has_connection: ws.is_some(),
        });
        let inbox_for_worker = Arc::clone(&queue);
        Worker {
            queue: inbox_for_worker,
            engine,
            http,
            ws,
            spool,
            on_error,
            on_settlement,
            metrics,
            startup_log,
            control,
        }
        .start()?;
        Ok((queue, handle))
    }
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerConfig").finish_non_exhaustive()
    }
}

/// Bytes of the tables of a pipeline that has many small runs, and of its connections.
const TABLES: usize = 128 * 1024;
/// Largest share of a small buffer that is taken for [`TABLES`], in 64ths.
const TABLES_SHARE: usize = 6;

fn engine_config(config: &Config, redaction: Redaction, settlements: bool) -> PipelineConfig {
    let mut options = Options::default();
    options.selection = config.selection.clone();
    options.capture_content = config.capture_content;
    options.project_id.clone_from(&config.project_id);
    options.environment.clone_from(&config.environment);
    options.join = config.join;
    let mut recorder = RecorderLimits::default();
    recorder.linger = config.linger;
    // Shares of all bytes: 16 of 64 for the queue, 11 for open runs and a quarter of that for the memory of
    // emitted ones, 32 for records that wait for delivery and for spans that are held in case their run fails;
    // 2 are left for the spans that are read or written at the moment. The tables around all of these and the
    // connections have a size that hardly depends on the buffer; it is taken from what waits.
    let share = config.buffer_bytes / 64;
    recorder.bytes = share * 11;
    let waiting = share * 32 - TABLES.min(share * TABLES_SHARE);
    PipelineConfig {
        options,
        recorder,
        ledger: LedgerLimits {
            bytes: waiting,
            runs: WAITING_RUNS,
            body_bytes: config.body_bytes,
            in_flight: IN_FLIGHT,
            keep: config.keep,
        },
        transport: config.transport,
        url: config.base_url.traces().to_string(),
        rule: config.rule.clone(),
        failures: config.failures,
        tail_sampler: TailSamplerLimits { bytes: config.buffer_bytes / 4, idle: recorder.idle },
        redaction,
        bytes: waiting,
        flush_wait: config.flush_timeout,
        seed: fastrand::u64(..),
        spools: config.spool.is_some(),
        settlements,
    }
}
