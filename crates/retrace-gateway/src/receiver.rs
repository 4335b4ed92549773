//! Receiver behind the OTLP endpoints: it checks the token and the tenant, and adds spans to the pipelines.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use retrace_otlp::server::{Bodies, Receiver, Rejection};
use retrace_otlp::{OtlpRequest, Unreadable};
use tokio::sync::OwnedSemaphorePermit;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::tenants::{Refused, Routed, TenantPipelines};

/// The receiver of OTLP.
#[derive(Debug)]
pub(crate) struct OtlpReceiver {
    config: Arc<Config>,
    bodies: Bodies,
    tenants: Arc<TenantPipelines>,
    metrics: Arc<Metrics>,
}

impl OtlpReceiver {
    pub(crate) fn new(config: Arc<Config>, tenants: Arc<TenantPipelines>, metrics: Arc<Metrics>) -> Self {
        let bodies = Bodies::new(config.otlp.max_body_bytes, config.otlp.timeout);
        Self { config, bodies, tenants, metrics }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let Some(token) = &self.config.otlp.token else { return Ok(()) };
        let sent = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
        let sent = sent.strip_prefix(b"Bearer ").unwrap_or_default();
        if token.is(sent) {
            return Ok(());
        }
        let reason = "the token is missing or wrong: send it as `Authorization: Bearer`";
        Err(Rejection::new(StatusCode::UNAUTHORIZED, reason))
    }
}

impl Receiver for OtlpReceiver {
    /// The tenant that the header names, if it names one.
    type Caller = Option<String>;

    fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// Clients of a gateway are no browsers: no response is readable for a page, and a request needs its own content type.
    fn admit(&self, _: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
        if headers.contains_key(header::ORIGIN) {
            return Err(Rejection::new(StatusCode::FORBIDDEN, "a web page sent this request"));
        }
        Ok(())
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<Option<String>, Rejection> {
        self.check_token(headers)?;
        let Some(name) = &self.config.tenants.header else { return Ok(None) };
        let Some(tenant) = headers.get(name.as_str()) else { return Ok(None) };
        let tenant = tenant.to_str().unwrap_or_default();
        if self.tenants.knows(tenant) {
            return Ok(Some(tenant.to_owned()));
        }
        let reason = format!("the header `{name}` names a tenant that does not exist");
        Err(Rejection::new(StatusCode::FORBIDDEN, reason))
    }

    async fn take(
        &self,
        caller: Option<String>,
        request: OtlpRequest,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Unreadable, Rejection> {
        let spans = request.spans.len() as u64;
        let malformed = request.malformed.saturating_add(request.unreadable.count);
        let Routed { parts, unknown } = self.tenants.route(request, caller.as_deref());
        let added = self.tenants.add(parts, || None);
        drop(room);
        if let Err((refused, _)) = added {
            let status = match refused {
                Refused::Full | Refused::TooManyPipelines => StatusCode::TOO_MANY_REQUESTS,
                Refused::Stopping | Refused::Broken(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            self.metrics.refused_requests.add(1);
            return Err(Rejection::new(status, refused.reason()).with_retry_after(self.config.otlp.retry_after));
        }
        self.metrics.otlp_spans.add(spans.saturating_sub(unknown));
        self.metrics.malformed_records.add(malformed);
        self.metrics.unknown_tenant_records.add(unknown);
        if unknown == 0 {
            return Ok(Unreadable::default());
        }
        let reason = "no tenant of the gateway is named by their header or resource, and there is no default";
        Ok(Unreadable { count: unknown, ..Unreadable::one(&reason) })
    }
}
