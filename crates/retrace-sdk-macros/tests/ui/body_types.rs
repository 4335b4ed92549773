//! Type errors in a body are reported in the body.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

#[retrace::record]
fn sync(topic: &str) -> usize {
    topic
}

#[retrace::record]
fn early(topic: &str) -> Result<usize, std::fmt::Error> {
    if topic.is_empty() {
        return "empty";
    }
    Ok(topic.len())
}

#[retrace::record]
fn no_tail(topic: &str) -> usize {
    topic.len();
}

#[retrace::record]
fn no_value() {
    1
}

#[retrace::record]
fn opaque() -> impl Display {
    vec![1]
}

#[retrace::record]
async fn later(topic: &str) -> Result<usize, std::fmt::Error> {
    topic.len()
}

#[retrace::record]
async fn question_mark(topic: &str) -> Result<usize, std::fmt::Error> {
    Ok(topic.parse::<usize>()?)
}

#[retrace::record]
async fn no_value_later() {
    later("a").await
}

#[retrace::record]
fn boxed<'a>(topic: &'a str) -> Pin<Box<dyn Future<Output = usize> + Send + 'a>> {
    Box::pin(async move { topic })
}

#[retrace::record]
fn future() -> impl Future<Output = usize> {
    let one = "one";
    async move { one }
}

#[retrace::record]
fn unknown() -> usize {
    undefined()
}

#[retrace::record]
fn never() -> ! {
    1
}

fn main() {}
