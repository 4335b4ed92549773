//! Recorded traffic of model providers, replayed through every adapter of the instrumentation from a local server.
//!
//! `provider-traffic FOLDER [CONVENTIONS] [SEED]`
//!
//! FOLDER has the recordings and `truth.json`, the facts that each span must carry; it is not part of this repository.
//! CONVENTIONS is a copy of the semantic conventions: with it, what spans hold is checked against the JSON schemas there.
//! Every exchange goes through every adapter, its response cut in four ways. The facts must be those of the truth, and the
//! bytes at the caller those of the recording; the content must be the same for every cut, without credentials in tool
//! definitions. The usage object of each exchange is also read by the translation of spans, and must come to the same counts.
//! Printed is what was right, wrong and missing, by provider and by field.
//!
//! Each call is observed by an interceptor and then made once more, with the server gone: the interceptor answers. The caller
//! must see the same status, bytes and chunks, the span must hold the same facts, and no connection may be made.
//!
//! Each response is rebuilt from its span, whole and as a stream, and read again: with the same answer and the same counts.

// Indexing JSON does not panic: what is not there is null.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::indexing_slicing)]

mod adapters;
mod exchange;
mod rendering;
mod schema;
mod server;
mod spans;
mod tally;
mod tape;
mod translated;
mod truth;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use genai_redact::Place;
use integration_tests::canary::Canary;
use opentelemetry_instrumentation_genai::{Capture, Instrumentation};
use opentelemetry_sdk::trace::SpanData;
use serde_json::Value as Json;

use crate::adapters::{ADAPTERS, Seen};
use crate::exchange::Split;
use crate::rendering::Renderings;
use crate::server::Server;
use crate::spans::Spans;
use crate::tally::Tally;
use crate::tape::Tape;

const SEED: u64 = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first() else {
        eprintln!("usage: provider-traffic FOLDER [CONVENTIONS] [SEED]");
        return ExitCode::from(2);
    };
    let seed = arguments.get(2).and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    match run(Path::new(folder), arguments.get(1).map(Path::new), seed).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(folder: &Path, conventions: Option<&Path>, seed: u64) -> Result<bool, Box<dyn Error>> {
    let exchanges = exchange::read(folder)?;
    let schemas = conventions.map(schema::Schemas::read).transpose()?;
    let server = Server::start(&exchanges, seed).await?;
    let (spans, provider) = Spans::new();
    let tape = Tape::default();
    let builder = Instrumentation::builder().with_tracer_provider(&provider).with_capture(Capture::SpanOnly);
    let genai = builder.with_interceptor(tape.clone()).build();
    let canary = Canary::new();
    let (mut tally, mut renderings) = (Tally::default(), Renderings::new());
    for (place, exchange) in exchanges.iter().enumerate() {
        translated::compare(exchange, &mut tally)?;
        let mut first = None;
        for adapter in ADAPTERS {
            for split in Split::ALL {
                let caller = format!("{} {adapter:?} {split:?}", exchange.name);
                tape.record();
                let seen = adapter.send(&genai, exchange, &server.url(place, split), split, seed).await?;
                check_caller(&caller, exchange, &seen, &mut tally);
                let span = check_span(&caller, exchange, &spans, (&mut first, schemas.as_ref()), &mut tally);
                if let Some(span) = span.filter(|_| split == Split::Whole && adapter == ADAPTERS[0]) {
                    renderings.check(exchange, tape.api(), &span, &mut tally)?;
                }

                let caller = format!("{caller} replayed");
                let recorded = tape.replay();
                let seen = adapter.send(&genai, exchange, &canary.url(), split, seed).await?;
                check_caller(&caller, exchange, &seen, &mut tally);
                match recorded.and_then(|_| tape.replay()) {
                    Ok(chunks) if seen.chunks.as_ref().is_none_or(|seen| *seen == chunks) => {}
                    Ok(_) => tally.fault(&caller, "other chunks at the caller"),
                    Err(fault) => tally.fault(&caller, &fault),
                }
                check_span(&caller, exchange, &spans, (&mut first, schemas.as_ref()), &mut tally);
            }
        }
    }
    match canary.connections() {
        0 => {}
        more => tally.fault("replayed", &format!("{more} connections were made")),
    }
    println!(
        "{} exchanges, {} adapters, {} ways to cut, each live and replayed, seed {seed}",
        exchanges.len(),
        ADAPTERS.len(),
        Split::ALL.len()
    );
    tally.print();
    renderings.print();
    Ok(tally.is_clean())
}

/// One span has come, with the facts of the truth and content as in the conventions.
fn check_span(
    caller: &str,
    exchange: &exchange::Exchange,
    spans: &Spans,
    (first, schemas): (&mut Option<[Json; 4]>, Option<&schema::Schemas>),
    tally: &mut Tally,
) -> Option<SpanData> {
    let mut ended = spans.take();
    match ended.as_slice() {
        [span] => {
            truth::compare(exchange, span, tally, caller);
            check_content(caller, span, first, tally);
            if let Some(schemas) = schemas {
                schemas.check(span, tally, caller);
            }
        }
        other => tally.fault(caller, &format!("{} spans", other.len())),
    }
    ended.pop()
}

/// Content is the same however the response was cut, and tool definitions hold no credential.
fn check_content(caller: &str, span: &SpanData, first: &mut Option<[Json; 4]>, tally: &mut Tally) {
    const CONTENT: [&str; 4] =
        ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions"];
    let content = CONTENT.map(|key| spans::attribute(span, key));
    if content[3].as_str().is_some_and(|tools| genai_redact::json(tools, Place::Body).is_some()) {
        tally.fault(caller, "a credential in gen_ai.tool.definitions");
    }
    if *first.get_or_insert_with(|| content.clone()) != content {
        tally.fault(caller, "other content than when it was cut otherwise");
    }
}

fn check_caller(caller: &str, exchange: &exchange::Exchange, seen: &Seen, tally: &mut Tally) {
    if seen.status != exchange.status {
        tally.fault(caller, &format!("status {} at the caller, {} recorded", seen.status, exchange.status));
    }
    if seen.bytes != exchange.response {
        tally.fault(caller, "other bytes at the caller");
    }
}
