//! A process that is gone after its answer: nothing is dropped, nothing shut down.

#[retrace::record(name = "research-agent")]
async fn research(topic: &str) -> Result<String, std::io::Error> {
    Ok(topic.to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // README: begin
    let retrace = retrace::install()?; // once, with RETRACE_TRANSPORT=http

    // For each request, before its answer:
    let answer = research("tides").await?;
    if let Err(error) = retrace.flush_async().await {
        eprintln!("the run is not delivered yet: {error}");
    }
    // README: end
    println!("{answer}");
    std::process::exit(0)
}
