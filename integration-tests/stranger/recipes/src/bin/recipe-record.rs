// README: begin
use retrace::SpanType;

#[retrace::record(name = "research-agent")]
async fn research(topic: &str) -> Result<String, std::io::Error> {
    let pages = search(topic).await?;
    retrace::fork_point("after retrieval");
    let plan = retrace::step("plan", SpanType::Reasoning).in_scope(|step| {
        step.metadata("pages", pages.len());
        format!("read {} pages", pages.len())
    });
    Ok(plan)
}

#[retrace::record(type = tool_call)]
async fn search(query: &str) -> Result<Vec<String>, std::io::Error> {
    Ok(vec![query.to_owned()])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _retrace = retrace::install()?; // RETRACE_API_KEY from the environment; flushes when dropped
    println!("{}", research("tides").await?);
    Ok(())
}
// README: end
