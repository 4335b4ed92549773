#![doc = include_str!("../README.md")]

mod adapter;
mod api;
mod attributes;
mod body;
mod call;
mod content_policy;
mod host;
mod instrumentation;
pub mod interceptor;
mod json;
mod message;
#[cfg(feature = "metrics")]
mod metrics;
mod request;
mod response;
mod settings;
mod url;

#[cfg(feature = "async-openai")]
pub use adapter::async_openai;
#[cfg(feature = "http-body")]
pub use adapter::http_body;
#[cfg(feature = "reqwest-middleware")]
pub use adapter::reqwest_middleware;
#[cfg(feature = "rig")]
pub use adapter::rig;
#[cfg(feature = "tower")]
pub use adapter::tower;
pub use api::{Api, Route};
pub use call::Call;
pub use content_policy::{CAPTURE_VARIABLE, Capture, Limits};
pub use instrumentation::{Builder, Instrumentation, Request, SCOPE};
pub use json::{Json, UnreadPath};
pub use message::{Message, Part};
pub use request::{Operation, RequestFacts};
pub use response::{Choice, ChoiceMut, Failure, Kind, PartKey, ResponseFacts, Usage, function_tool};
pub use url::Target;
