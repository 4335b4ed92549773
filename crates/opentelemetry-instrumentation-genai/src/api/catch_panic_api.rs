//! Panic isolation for APIs of the application: a call continues as if the API had returned nothing.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::HeaderMap;

use crate::api::{Api, Route};
use crate::json::Json;
use crate::json::UnreadPath;
use crate::request::RequestFacts;
use crate::response::ResponseFacts;
use crate::url::Target;

/// Wraps an API; a panic counts as no result. Facts that were set before the panic stay.
pub(crate) struct CatchPanicApi<A>(pub(crate) A);

fn catching<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

impl<A: Api> Api for CatchPanicApi<A> {
    fn name(&self) -> &'static str {
        catching(|| self.0.name()).unwrap_or("other")
    }

    fn route(&self, target: &Target<'_>) -> Option<Route> {
        catching(|| self.0.route(target)).flatten()
    }

    fn accepts(&self, body: &Json<'_>) -> bool {
        catching(|| self.0.accepts(body)).unwrap_or(false)
    }

    fn request(&self, target: &Target<'_>, body: &Json<'_>, facts: &mut RequestFacts) {
        let _ = catching(|| self.0.request(target, body, facts));
    }

    fn unread(&self) -> &'static [UnreadPath] {
        catching(|| self.0.unread()).unwrap_or_default()
    }

    fn headers(&self, headers: &HeaderMap, facts: &mut ResponseFacts) {
        let panicked = catching(|| self.0.headers(headers, facts)).is_none();
        facts.given_up |= panicked;
    }

    fn response(&self, document: &Json<'_>, facts: &mut ResponseFacts) {
        // One panic is enough: a stream has a thousand documents.
        if !facts.given_up {
            facts.given_up = catching(|| self.0.response(document, facts)).is_none();
        }
    }
}

impl<A: fmt::Debug> fmt::Debug for CatchPanicApi<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
