//! What the clients on `reqwest` share.

use http::HeaderMap;
use reqwest::{Body, Request, Response, ResponseBuilderExt as _};

use crate::adapter::http_body::InstrumentedBody;
use crate::call::Call;
use crate::instrumentation::Instrumentation;

/// Puts an altered body in the place of the request's own.
pub(crate) fn alter(request: &mut Request, altered: Option<Vec<u8>>) {
    if let Some(altered) = altered {
        if request.headers().contains_key(http::header::CONTENT_LENGTH) {
            request.headers_mut().insert(http::header::CONTENT_LENGTH, altered.len().into());
        }
        *request.body_mut() = Some(altered.into());
    }
}

pub(crate) fn inject(instrumentation: &Instrumentation, call: &Call, headers: &mut HeaderMap) {
    instrumentation.inject(call, headers);
}

/// The same response, its body read along.
pub(crate) fn respond(mut call: Call, response: Response) -> Response {
    call.response(response.status().as_u16(), response.headers());
    if !call.is_recording() {
        return response;
    }
    let url = http::Response::builder().url(response.url().clone()).body(());
    let (mut parts, body) = http::Response::<Body>::from(response).into_parts();
    if let Ok(url) = url {
        parts.extensions.extend(url.into_parts().0.extensions);
    }
    let body = Body::wrap(InstrumentedBody::with_error_names(body, Some(call), error_type));
    http::Response::from_parts(parts, body).into()
}

/// A name of few values for what went wrong.
pub(crate) fn error_type(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "reqwest::Error"
    }
}
