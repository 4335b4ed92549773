//! Every kind of function.

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use futures_util::{stream, Stream};

/// A tool of an agent.
#[async_trait]
pub trait Tool: Sync {
    /// Calls the tool.
    async fn invoke(&self, query: &str) -> String;

    /// Calls the tool twice.
    #[retrace::record(type = tool_call)]
    async fn invoke_twice(&self, query: &str) -> (String, String) {
        (self.invoke(query).await, self.invoke(query).await)
    }
}

/// A tool that repeats.
pub struct Echo;

#[async_trait]
impl Tool for Echo {
    #[retrace::record(type = tool_call, name = "echo")]
    async fn invoke(&self, query: &str) -> String {
        query.to_owned()
    }
}

#[retrace::record]
pub fn with_lifetimes<'a, 'b: 'a, T: AsRef<str> + ?Sized>(first: &'a str, second: &'b T) -> (&'a str, &'a str) {
    (first, second.as_ref())
}

#[retrace::record]
pub fn impl_arguments(text: impl Display + Debug, by: impl FnOnce(String) -> usize) -> usize {
    by(text.to_string())
}

#[retrace::record(stream)]
pub fn borrowed_items<'a>(words: &'a [&'a str]) -> impl Stream<Item = &'a str> + 'a {
    stream::iter(words.iter().copied())
}

/// # Safety
/// None is needed.
#[retrace::record]
#[must_use]
pub unsafe fn careful(number: u32) -> u32 {
    number
}

#[retrace::record]
#[must_use]
pub extern "C" fn foreign(number: u32) -> u32 {
    number
}

/// Without `Serialize` and `Debug`, in a type parameter too.
pub struct Opaque<T>(pub T);

impl<T> Opaque<T> {
    #[retrace::record(name = "opaque")]
    pub fn inner<const N: usize>(self, _with: [u8; N]) -> T {
        self.0
    }
}
