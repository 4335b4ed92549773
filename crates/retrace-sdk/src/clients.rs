//! Model clients: every call of a model that goes through one of these becomes a step of the run.
//!
//! The adapters of [`opentelemetry_instrumentation_genai`], each in one line, with content recorded as
//! `RETRACE_CAPTURE_CONTENT` and [`Configuration::with_capture_content`](crate::Configuration::with_capture_content) state it.
//! Make clients after [`install`](crate::install()).

use opentelemetry_instrumentation_genai::{Builder, Capture, Instrumentation};

pub use opentelemetry_instrumentation_genai as genai;

use crate::installed::Installed;
use crate::replay::SessionInterceptor;

/// The instrumentation of the adapters here, for clients of other kinds.
///
/// ```
/// use retrace::clients::genai::Request;
///
/// let genai = retrace::clients::instrumentation();
/// let body = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
/// let url = "https://api.openai.com/v1/chat/completions";
/// let call = genai.start(&Request { method: "POST", url, body: Some(body) });
/// # assert!(call.is_some());
/// ```
#[must_use]
pub fn instrumentation() -> Instrumentation {
    configure().build()
}

/// Begins to configure the instrumentation, with content recorded as for runs, and with the interceptor that replays, records
/// cassettes and keeps ceilings. Another interceptor replaces that one.
pub fn configure() -> Builder {
    let captures_content = Installed::with(|installed| installed.captures_content);
    let capture = if captures_content { Capture::SpanOnly } else { Capture::NoContent };
    Instrumentation::builder().with_capture(capture).with_interceptor(SessionInterceptor::default())
}

/// `reqwest`, through `reqwest-middleware`.
#[cfg(feature = "reqwest")]
pub mod reqwest {
    pub use opentelemetry_instrumentation_genai::reqwest_middleware::GenAiMiddleware;
    use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

    /// Puts the middleware around a client. `.json(…)`, `.form(…)` and `.query(…)` of its requests are features of the crate
    /// `reqwest-middleware`.
    ///
    /// ```
    /// let client = retrace::clients::reqwest::client(reqwest::Client::new());
    /// ```
    #[must_use]
    pub fn client(client: reqwest::Client) -> ClientWithMiddleware {
        ClientBuilder::new(client).with(middleware()).build()
    }

    /// Makes the middleware, for a client that has others.
    #[must_use]
    pub fn middleware() -> GenAiMiddleware {
        GenAiMiddleware::new(super::instrumentation())
    }
}

/// hyper, and whatever takes `tower` services over requests and responses of the `http` crate.
#[cfg(feature = "tower")]
pub mod tower {
    pub use opentelemetry_instrumentation_genai::tower::{GenAiLayer, GenAiService};

    /// Makes the layer.
    #[must_use]
    pub fn layer() -> GenAiLayer {
        GenAiLayer::new(super::instrumentation())
    }
}

/// `async-openai`.
#[cfg(feature = "async-openai")]
pub mod async_openai {
    use async_openai::Client;
    use async_openai::config::Config;
    use async_openai::middleware::ReqwestService;
    pub use opentelemetry_instrumentation_genai::async_openai::{GenAiLayer, GenAiService};
    use tower_layer::Layer as _;

    /// Makes a client's model calls steps of the run. Replaces its HTTP service.
    ///
    /// ```
    /// let client = retrace::clients::async_openai::client(async_openai::Client::new());
    /// ```
    #[must_use]
    pub fn client<C: Config>(client: Client<C>) -> Client<C> {
        client.with_http_service(service(reqwest::Client::new()))
    }

    /// Makes an HTTP service from a `reqwest` client, for `with_http_service`.
    #[must_use]
    pub fn service(client: reqwest::Client) -> GenAiService<ReqwestService> {
        layer().layer(ReqwestService::new(client))
    }

    /// Makes the layer, for an HTTP service that has others.
    #[must_use]
    pub fn layer() -> GenAiLayer {
        GenAiLayer::new(super::instrumentation())
    }
}

/// `rig`.
#[cfg(feature = "rig")]
pub mod rig {
    pub use opentelemetry_instrumentation_genai::rig::GenAiHttpClient;

    /// Puts the instrumentation around the transport of a provider's client, for `with_http`.
    #[must_use]
    pub fn client<C>(transport: C) -> GenAiHttpClient<C> {
        GenAiHttpClient::new(transport, super::instrumentation())
    }
}
