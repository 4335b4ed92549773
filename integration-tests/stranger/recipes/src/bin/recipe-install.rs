//! Everything at once.

use opentelemetry::global;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // README: begin
    let _retrace = opentelemetry_retrace::install()?;
    // README: end
    recipes::agent(&global::tracer("recipe"));
    Ok(())
}
