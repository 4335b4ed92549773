//! A receiver of our own, and the processor that sends to it.

use std::time::Duration;

use opentelemetry_retrace::{RetraceSpanProcessor, Transport};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanLimits};
use retrace_local::Server;
use tempfile::TempDir;

/// Where the receiver keeps what it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    InMemory,
    OnFile,
}

impl Kept {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::InMemory => "memory",
            Self::OnFile => "file",
        }
    }
}

/// How runs are sent, as a setting names it.
pub(crate) const fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Ws => "ws",
        Transport::Http => "http",
        _ => "auto",
    }
}

/// A pipeline from a tracer to a receiver.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub provider: SdkTracerProvider,
    pub processor: RetraceSpanProcessor,
    pub server: Server,
    _directory: TempDir,
}

impl Pipeline {
    pub(crate) fn new(transport: Transport, kept: Kept) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = match kept {
            Kept::InMemory => Server::builder(),
            Kept::OnFile => Server::builder().with_db(directory.path().join("runs.db")),
        };
        let server = server.start().unwrap();
        let processor = RetraceSpanProcessor::builder()
            .with_api_key("rt_local")
            .with_base_url(server.url())
            .with_transport(transport)
            .with_flush_timeout(Duration::from_secs(60))
            .with_on_error(|signal| println!("{signal}"))
            .build()
            .unwrap();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor.clone())
            .with_span_limits(SpanLimits::default())
            .build();
        Self { provider, processor, server, _directory: directory }
    }

    /// Ends, and sees to it that everything was delivered.
    pub(crate) fn end(self) {
        self.provider.shutdown().unwrap();
        let stats = self.processor.stats();
        assert_eq!((stats.accepted, stats.lost.total()), (stats.delivered, 0), "{stats:?}");
        self.server.stop();
    }
}
