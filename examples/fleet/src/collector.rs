//! Stands in for an OpenTelemetry Collector with the Kafka exporter (`partition_traces_by_id`, `otlp_proto`): takes OTLP over
//! HTTP, and writes a message for each trace of a request, with the trace id as its key.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};

/// Topic of the messages.
pub(crate) const TOPIC: &str = "otlp_spans";

/// Writes to Kafka on threads of its own.
pub(crate) type Producer = ThreadedProducer<DefaultProducerContext>;

/// Returns the route of the collector.
pub(crate) fn router(producer: Producer) -> Router {
    Router::new().route("/v1/traces", post(traces)).with_state(producer)
}

async fn traces(State(producer): State<Producer>, headers: HeaderMap, body: Bytes) -> Result<&'static str, StatusCode> {
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let request = if is_json {
        serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?
    } else {
        ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?
    };
    for (trace_id, message) in by_trace(request) {
        let payload = message.encode_to_vec();
        let mut record = BaseRecord::to(TOPIC).key(&trace_id).payload(&payload);
        while let Err((error, again)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            record = again;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok("{}")
}

/// Divides a request by trace.
fn by_trace(request: ExportTraceServiceRequest) -> BTreeMap<Vec<u8>, ExportTraceServiceRequest> {
    let mut traces: BTreeMap<Vec<u8>, ExportTraceServiceRequest> = BTreeMap::new();
    for of_resource in request.resource_spans {
        for of_scope in of_resource.scope_spans {
            let mut spans: BTreeMap<Vec<u8>, ScopeSpans> = BTreeMap::new();
            for span in of_scope.spans {
                let empty = || ScopeSpans { scope: of_scope.scope.clone(), ..ScopeSpans::default() };
                spans.entry(span.trace_id.clone()).or_insert_with(empty).spans.push(span);
            }
            for (trace_id, scope_spans) in spans {
                let resource = of_resource.resource.clone();
                let part = ResourceSpans { resource, scope_spans: vec![scope_spans], ..ResourceSpans::default() };
                traces.entry(trace_id).or_default().resource_spans.push(part);
            }
        }
    }
    traces
}
