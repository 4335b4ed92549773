//! The agent: functions, methods, agents, streams, tasks and threads.

use std::num::ParseIntError;

use futures_util::{Stream, StreamExt as _, stream};
use retrace::SpanType;
use serde::Serialize;

#[derive(Serialize)]
pub struct Page {
    pub title: String,
    pub number: u32,
}

#[retrace::record(name = "research-agent", session = "s-1", user = "u-1", tags("beta"), metadata(length = topic.len()))]
pub async fn research(topic: &str) -> Result<String, ParseIntError> {
    let pages: Vec<Page> = pages(topic.to_owned()).collect().await;
    let searcher = Searcher { index: "atlas".to_owned() };
    retrace::agent("searcher").role("Searcher").scope(searcher.search(topic)).await;
    retrace::fork_point("after retrieval");

    // A task and a thread, in the run.
    let counted = retrace::spawn(count(pages.len())).await.expect("the task ends");
    let spelt = retrace::thread({
        let topic = topic.to_owned();
        move || spell(&topic)
    });
    let spelt = spelt.join().expect("the thread ends");

    // A step that fails is no end of the run.
    let _ = number("three");

    retrace::step("write", SpanType::Action).input(&spelt).in_scope(|step| {
        step.metadata("words", 3);
        step.output("written");
    });
    retrace::current().metadata("pages", counted);
    Ok(format!("{spelt}: {counted} pages"))
}

struct Searcher {
    index: String,
}

impl Searcher {
    #[retrace::record(type = tool_call, input = (&self.index, query))]
    async fn search(&self, query: &str) -> Vec<String> {
        tokio::task::yield_now().await;
        vec![format!("{query} in {}", self.index)]
    }
}

#[retrace::record(stream, type = tool_result)]
fn pages(topic: String) -> impl Stream<Item = Page> {
    stream::iter(1..=3).map(move |number| Page { title: topic.clone(), number })
}

#[retrace::record(agent = "counter")]
async fn count(pages: usize) -> usize {
    pages
}

#[retrace::record]
fn spell(topic: &str) -> String {
    topic.to_uppercase()
}

#[retrace::record(type = tool_call)]
fn number(text: &str) -> Result<u32, ParseIntError> {
    text.parse()
}
