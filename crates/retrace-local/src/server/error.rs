//! Error responses of failed reads and writes.

use axum::http::StatusCode;

pub(super) use retrace_otlp::server::Rejection as ApiError;

use crate::store::StoreError;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Database(_) | StoreError::Damaged(_) | StoreError::RolledBack => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, error.to_string())
    }
}
