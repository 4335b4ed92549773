//! State that the endpoints, the admin port and the consumer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::metrics::{Gauges, Metrics};
use crate::tenants::TenantPipelines;

/// State of a gateway.
#[derive(Debug)]
pub(crate) struct Shared {
    pub tenants: Arc<TenantPipelines>,
    pub metrics: Arc<Metrics>,
    pub ready: AtomicBool,
    #[cfg(feature = "kafka")]
    pub ledger: crate::ticket::Ledger,
}

impl Shared {
    /// Returns true while spans are accepted.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Returns the metrics in the text format of Prometheus.
    pub(crate) fn metrics_text(&self) -> String {
        #[cfg(feature = "kafka")]
        let kafka_unsettled = self.ledger.lock().all_uncommitted();
        #[cfg(not(feature = "kafka"))]
        let kafka_unsettled = 0;
        let gauges = Gauges {
            buffer_used: self.tenants.room().used(),
            buffer_limit: self.tenants.room().limit(),
            pipelines: self.tenants.len(),
            kafka_unsettled,
        };
        self.metrics.text(gauges, &self.tenants.totals())
    }
}
