//! `#[record]` beside other attribute macros, in both orders.

#[retrace::record]
#[tokio::main(flavor = "current_thread")]
pub async fn recorded_then_main(topic: &str) -> usize {
    tokio::task::yield_now().await;
    leaf(topic)
}

#[tokio::main(flavor = "current_thread")]
#[retrace::record]
pub async fn main_then_recorded(topic: &str) -> usize {
    tokio::task::yield_now().await;
    leaf(topic)
}

#[retrace::record]
#[tracing::instrument]
pub fn recorded_then_instrumented(topic: &str) -> usize {
    leaf(topic)
}

#[tracing::instrument]
#[retrace::record]
pub fn instrumented_then_recorded(topic: &str) -> usize {
    leaf(topic)
}

/// An error is one to both.
///
/// # Errors
/// Where the text is no number.
#[retrace::record]
#[tracing::instrument(ret, err)]
pub async fn recorded_then_instrumented_later(text: &str) -> Result<u32, std::num::ParseIntError> {
    tokio::task::yield_now().await;
    leaf(text);
    text.parse()
}

/// An error is one to both.
///
/// # Errors
/// Where the text is no number.
#[tracing::instrument(ret, err)]
#[retrace::record]
pub async fn instrumented_then_recorded_later(text: &str) -> Result<u32, std::num::ParseIntError> {
    tokio::task::yield_now().await;
    leaf(text);
    text.parse()
}

#[retrace::record]
fn leaf(topic: &str) -> usize {
    topic.len()
}
