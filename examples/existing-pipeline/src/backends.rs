//! The two backends: where they are, and what they got.

use std::error::Error;

use opentelemetry_otlp::{HttpExporterBuilderSet, Protocol, SpanExporterBuilder, WithExportConfig as _};
use opentelemetry_retrace::{RetraceSpanProcessorBuilder, Stats};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Id, Trace};

use crate::application;
use crate::collector::{Collector, Received};

/// Those that are played on this machine; nothing where the environment names another one.
pub(crate) struct Backends {
    collector: Option<Collector>,
    receiver: Option<Server>,
}

impl Backends {
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let is_unset = |variable| std::env::var_os(variable).is_none();
        Ok(Self {
            collector: if is_unset("OTEL_EXPORTER_OTLP_ENDPOINT") { Some(Collector::start()?) } else { None },
            receiver: if is_unset("RETRACE_API_KEY") { Some(Server::start()?) } else { None },
        })
    }

    /// Points an OTLP exporter to the collector that is played here, if one is.
    pub(crate) fn otlp(
        &self,
        exporter: SpanExporterBuilder<HttpExporterBuilderSet>,
    ) -> SpanExporterBuilder<HttpExporterBuilderSet> {
        match &self.collector {
            Some(collector) => exporter.with_endpoint(collector.url()).with_protocol(Protocol::HttpBinary),
            None => exporter,
        }
    }

    /// Points a processor to the Retrace that is played here, if one is.
    pub(crate) fn retrace(&self, processor: RetraceSpanProcessorBuilder) -> RetraceSpanProcessorBuilder {
        match &self.receiver {
            Some(receiver) => processor.with_api_key("rt_local").with_base_url(receiver.url()),
            None => processor,
        }
    }

    /// Prints what each backend got. An error when one that is played here did not get what it should.
    pub(crate) fn report(&self, sent: &Stats) -> Result<(), Box<dyn Error>> {
        let spans = self.collector.as_ref().map(Collector::spans);
        match &spans {
            Some(spans) => {
                println!("The OTLP backend has all {} spans:\n", spans.len());
                for span in spans {
                    println!("  {}", span.name);
                }
                all_spans(spans)?;
            }
            None => println!("The OTLP backend of OTEL_EXPORTER_OTLP_ENDPOINT was sent all spans."),
        }
        match &self.receiver {
            Some(receiver) => {
                let runs = runs(receiver)?;
                println!("\nRetrace has {} run:\n", runs.len());
                for run in &runs {
                    run_tree::print(run)?;
                }
                one_run(&runs, spans.as_deref())?;
            }
            None => {
                println!(
                    "\nRetrace has {} of {} spans; {} are lost.",
                    sent.delivered,
                    sent.accepted,
                    sent.lost.total()
                );
            }
        }
        Ok(())
    }
}

fn runs(receiver: &Server) -> Result<Vec<Trace>, Box<dyn Error>> {
    let heads = receiver.traces(&TraceQuery::default())?.traces;
    let runs = heads.into_iter().filter_map(|head| receiver.trace(&head.id?).transpose());
    Ok(runs.collect::<Result<_, _>>()?)
}

/// The collector must have every span of the application.
fn all_spans(spans: &[Received]) -> Result<(), Box<dyn Error>> {
    let expected = application::SPANS.map(|(name, _)| name);
    same("spans of the OTLP backend", spans.iter().map(|span| span.name.as_str()), expected)
}

/// Retrace must have one run, of the GenAI spans and their root, whole in itself. They must be the spans that the OTLP
/// backend has.
fn one_run(runs: &[Trace], otlp: Option<&[Received]>) -> Result<(), Box<dyn Error>> {
    let [run] = runs else { return Err(format!("one run was expected, there are {}", runs.len()).into()) };
    let spans = run.spans.as_deref().unwrap_or_default();
    let has = |id: &Id| spans.iter().any(|span| span.id == *id);
    if let Some(lost) = spans.iter().find(|span| span.parent_id.as_ref().is_some_and(|parent| !has(parent))) {
        return Err(format!("the parent of {} is not in the run", lost.name).into());
    }
    let Some(otlp) = otlp else { return Ok(()) };
    // A span keeps its id on the way; the one that has no counterpart is the answer of the tool.
    let is_in_run = |span: &&Received| {
        run.id == Some(Id::from_otel_trace(span.trace_id)) && has(&Id::from_otel_span(span.trace_id, span.span_id))
    };
    let kept = otlp.iter().filter(is_in_run).map(|span| span.name.as_str());
    let expected = application::SPANS.into_iter().filter(|(_, is_kept)| *is_kept).map(|(name, _)| name);
    same("spans of the run", kept, expected)
}

fn same<'a>(
    what: &str,
    found: impl IntoIterator<Item = &'a str>,
    expected: impl IntoIterator<Item = &'a str>,
) -> Result<(), Box<dyn Error>> {
    let sorted = |names: &mut dyn Iterator<Item = &'a str>| {
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    };
    let (found, expected) = (sorted(&mut found.into_iter()), sorted(&mut expected.into_iter()));
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}").into()) }
}
