//! The gateway: endpoints, pipelines and Kafka, started and stopped together.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use retrace_otlp::server::{Encryption, Endpoint, GrpcService, Service, otlp_router, serve};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::admin;
use crate::config::Config;
#[cfg(feature = "kafka")]
use crate::kafka::Consumer;
use crate::metrics::{Metrics, Totals};
use crate::pipeline::{Closing, Pipeline};
use crate::receiver::OtlpReceiver;
use crate::shared::Shared;
use crate::tenants::TenantPipelines;

/// Time that running requests have to end when the gateway stops.
const GRACE: Duration = Duration::from_secs(2);
/// Time for the last requests of a pipeline whose traces are settled, or given up.
const LAST: Duration = Duration::from_secs(5);

/// Error of the start of a gateway.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be used.
    #[error("cannot listen on {addr} ({source}): choose another address in {setting}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("otlp.certificate: {0}")]
    Tls(String),
    /// The consumer of Kafka cannot be built.
    #[error("kafka: {0}")]
    Kafka(String),
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A running gateway. Dropped without [`Gateway::stop`], it ends with its runtime, and data in memory is lost.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    stop_otlp: watch::Sender<bool>,
    stop_admin: oneshot::Sender<()>,
    admin_task: JoinHandle<()>,
    idle_task: JoinHandle<()>,
    #[cfg(feature = "kafka")]
    consumer: Option<Consumer>,
}

impl Gateway {
    /// Starts a gateway on the present Tokio runtime. It accepts requests when this returns.
    ///
    /// # Errors
    /// Returns an error if an address is in use, or if TLS or Kafka cannot be set up.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let tenants = Arc::new(TenantPipelines::new(Arc::clone(&config)));
        let metrics = Arc::<Metrics>::default();
        let shared = Arc::new(Shared {
            tenants: Arc::clone(&tenants),
            metrics: Arc::clone(&metrics),
            ready: AtomicBool::new(false),
            #[cfg(feature = "kafka")]
            ledger: crate::ticket::Ledger::default(),
        });
        let receiver = Arc::new(OtlpReceiver::new(Arc::clone(&config), Arc::clone(&tenants), Arc::clone(&metrics)));

        let (stop_otlp, stopping) = watch::channel(false);
        let mut tasks = Vec::new();
        let (mut endpoints, mut http, mut grpc) = (Vec::new(), None, None);
        if let Some(addr) = config.otlp.http {
            let router: Router = otlp_router().with_state(Arc::clone(&receiver));
            let endpoint = bind(addr, "otlp.http", encryption(&config, &[])?, Service::Http(router)).await?;
            http = endpoint.listener.local_addr().ok();
            endpoints.push(endpoint);
        }
        if let Some(addr) = config.otlp.grpc {
            let service = Service::Grpc(GrpcService::new(Arc::clone(&receiver)));
            let endpoint = bind(addr, "otlp.grpc", encryption(&config, &[b"h2"])?, service).await?;
            grpc = endpoint.listener.local_addr().ok();
            endpoints.push(endpoint);
        }
        let client_timeout = config.otlp.timeout;
        let mut stop = stopping.clone();
        tasks.push(tokio::spawn(async move {
            let closing = watch::Sender::new(false);
            let stop = async { drop(stop.wait_for(|stop| *stop).await) };
            serve(endpoints, client_timeout, &closing, stop, GRACE, async {}).await;
        }));

        let (stop_admin, admin_stops) = oneshot::channel::<()>();
        let mut admin_endpoints = Vec::new();
        let mut admin = None;
        if let Some(addr) = config.admin {
            let endpoint = bind(addr, "admin.listen", None, Service::Http(admin::router(Arc::clone(&shared)))).await?;
            admin = endpoint.listener.local_addr().ok();
            admin_endpoints.push(endpoint);
        }
        let admin_task = tokio::spawn(async move {
            let closing = watch::Sender::new(false);
            let stop = async { drop(admin_stops.await) };
            if admin_endpoints.is_empty() {
                return stop.await;
            }
            serve(admin_endpoints, client_timeout, &closing, stop, GRACE, async {}).await;
        });
        let idle_task = tokio::spawn(close_idle(Arc::clone(&tenants), config.tenants.idle));
        #[cfg(feature = "kafka")]
        let consumer = match &config.kafka {
            Some(kafka) => {
                let consumer = Consumer::start(kafka.clone(), tenants, metrics, shared.ledger.clone());
                Some(consumer.map_err(|error| StartError::Kafka(error.to_string()))?)
            }
            None => None,
        };
        shared.ready.store(true, Ordering::Release);
        Ok(Self {
            shared,
            http,
            grpc,
            admin,
            tasks,
            stop_otlp,
            stop_admin,
            admin_task,
            idle_task,
            #[cfg(feature = "kafka")]
            consumer,
        })
    }

    /// Address of OTLP over HTTP, if it is on.
    #[must_use]
    pub const fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Address of OTLP over gRPC, if it is on.
    #[must_use]
    pub const fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// Address of the admin port, if it is on.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Counts of the spans of each tenant.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, Totals> {
        self.shared.tenants.totals()
    }

    /// The metrics, as the admin port shows them.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.shared.metrics_text()
    }

    /// Stops: takes nothing more, delivers what is in memory, for at most `limit`, and commits the offsets of what is
    /// settled. Traces that only Kafka has brought and that wait for more spans are left to the next consumer. Returns the
    /// final counts.
    pub async fn stop(self, limit: Duration) -> BTreeMap<String, Totals> {
        let deadline = Instant::now() + limit;
        self.shared.ready.store(false, Ordering::Release);
        self.idle_task.abort();
        self.stop_otlp.send_replace(true);
        #[cfg(feature = "kafka")]
        if let Some(consumer) = &self.consumer {
            consumer.pause();
        }
        let closing = self.closing();
        join_all(self.tasks).await;
        let pipelines = self.shared.tenants.close_all(closing);
        let tenants = &self.shared.tenants;
        join_all(pipelines.iter().map(|pipeline| close(tenants, pipeline, deadline))).await;
        #[cfg(feature = "kafka")]
        if let Some(consumer) = self.consumer {
            consumer.stop().await;
        }
        let _ = self.stop_admin.send(());
        let _ = self.admin_task.await;
        self.shared.tenants.totals()
    }

    #[cfg(feature = "kafka")]
    const fn closing(&self) -> Closing {
        if self.consumer.is_some() { Closing::HandOver } else { Closing::Deliver }
    }

    #[cfg(not(feature = "kafka"))]
    const fn closing(&self) -> Closing {
        Closing::Deliver
    }
}

/// Waits until a closing pipeline has delivered everything, until the deadline, and shuts it down.
async fn close(tenants: &TenantPipelines, pipeline: &Arc<Pipeline>, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    if timeout(left, pipeline.closed()).await.is_err() {
        tracing::warn!("a pipeline has not delivered everything in time");
    }
    let left = deadline.saturating_duration_since(Instant::now());
    pipeline.shut_down(left.max(LAST)).await;
    tenants.forget(pipeline);
}

/// Closes pipelines that have been idle for long.
async fn close_idle(tenants: Arc<TenantPipelines>, idle: Duration) {
    loop {
        sleep((idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(10))).await;
        let closing = tenants.close_idle();
        let deadline = Instant::now() + LAST;
        join_all(closing.iter().map(|pipeline| close(&tenants, pipeline, deadline))).await;
    }
}

async fn bind(
    addr: SocketAddr,
    setting: &'static str,
    encryption: Encryption,
    service: Service,
) -> Result<Endpoint, StartError> {
    let listener = TcpListener::bind(addr).await.map_err(|source| StartError::Bind { addr, setting, source })?;
    Ok(Endpoint { listener, encryption, service })
}

#[cfg(feature = "tls")]
fn encryption(config: &Config, protocols: &[&[u8]]) -> Result<Encryption, StartError> {
    let Some((certificate, key)) = config.otlp.tls.clone() else { return Ok(None) };
    let files = retrace_otlp::server::TlsFiles { certificate, key };
    files.acceptor(protocols).map(Some).map_err(|error| StartError::Tls(error.to_string()))
}

#[cfg(not(feature = "tls"))]
fn encryption(config: &Config, _: &[&[u8]]) -> Result<Encryption, StartError> {
    match config.otlp.tls {
        None => Ok(None),
        Some(_) => Err(StartError::Tls("this build has no TLS: build it with the feature `tls`".to_owned())),
    }
}
