//! An agent that ends, or does not go on, in the way that its first argument names; `tests/exits.rs` has them all.
//!
//! Where to, and with which key, stands in the environment.

#![allow(clippy::panic)] // One of the ways.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    unix::main()
}

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
mod unix {
    use std::cell::RefCell;
    use std::error::Error;
    use std::io::{BufRead as _, Write as _};
    use std::time::{Duration, Instant};

    use fork::Fork;
    use integration_tests::agent;
    use integration_tests::wait::HANG;
    use opentelemetry::KeyValue;
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_retrace::{Guard, Installer, RetraceExporter, RetraceSpanProcessor, install};
    use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanExporter as _};
    use signal_hook::consts::SIGTERM;
    use signal_hook::iterator::Signals;

    thread_local! {
        static GUARD: RefCell<Option<Guard>> = const { RefCell::new(None) };
        static SPAN: RefCell<Vec<Span>> = const { RefCell::new(Vec::new()) };
    }

    type Outcome = Result<(), Box<dyn Error>>;

    pub(super) fn main() -> Outcome {
        let way = std::env::args().nth(1).ok_or("how?")?;
        match way.as_str() {
            "return" => with_guard(|_| Ok(())),
            "panic" => with_guard(|_| panic!("as intended")),
            "exit" => leaving(|provider| {
                // For a process that nobody unwinds this is the way.
                let _ = provider.force_flush();
            }),
            "exit-at-once" => leaving(|_| {}),
            "terminate" => terminate(),
            "thread-local" => thread_local(),
            "thread-local-exporter" => thread_local_exporter(),
            "listen" => listen(),
            "fork" => forks(),
            other => Err(format!("there is no way {other}").into()),
        }
    }

    fn provider(guard: &Guard) -> Result<SdkTracerProvider, Box<dyn Error>> {
        Ok(guard.provider().ok_or("nothing records")?.clone())
    }

    fn say(what: &str) -> Outcome {
        let mut out = std::io::stdout();
        writeln!(out, "{what}")?;
        Ok(out.flush()?)
    }

    fn with_guard(end: impl FnOnce(&Guard) -> Outcome) -> Outcome {
        let guard = install()?;
        agent::run(&provider(&guard)?);
        end(&guard)
    }

    /// By `process::exit`, which drops nothing.
    fn leaving(before: impl FnOnce(&SdkTracerProvider)) -> Outcome {
        let guard: &'static Guard = Box::leak(Box::new(install()?));
        let provider = provider(guard)?;
        agent::run(&provider);
        before(&provider);
        std::process::exit(1)
    }

    fn terminate() -> Outcome {
        let guard = install()?;
        let mut signals = Signals::new([SIGTERM])?;
        agent::run(&provider(&guard)?);
        say("working")?;
        let _ = signals.forever().next();
        drop(guard);
        std::process::exit(128 + SIGTERM)
    }

    /// The guard, and a span, end after everything else of the thread has.
    fn thread_local() -> Outcome {
        SPAN.with_borrow(|_| ());
        GUARD.with_borrow(|_| ());
        let guard = install()?;
        let provider = provider(&guard)?;
        agent::run(&provider);
        std::thread::spawn({
            let provider = provider.clone();
            move || keep_span(&provider)
        })
        .join()
        .map_err(|_| "the thread was not torn down")?;
        GUARD.set(Some(guard));
        Ok(())
    }

    fn keep_span(provider: &SdkTracerProvider) {
        // What is asked for first is torn down last.
        SPAN.with_borrow(|_| ());
        let tracer = provider.tracer("late");
        let span = tracer.span_builder("chat late").with_attributes([KeyValue::new("gen_ai.operation.name", "chat")]);
        SPAN.with_borrow_mut(|spans| spans.push(span.start(&tracer)));
    }

    fn thread_local_exporter() -> Outcome {
        let exporter = RetraceExporter::builder().build()?;
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        agent::run(&provider);
        std::thread::spawn({
            let provider = provider.clone();
            move || keep_span(&provider)
        })
        .join()
        .map_err(|_| "the thread was not torn down")?;
        exporter.force_flush()?;
        Ok(())
    }

    /// Does what it is told, and says what became of it.
    fn listen() -> Outcome {
        let keep = std::env::var("MORTAL_AGENT_KEEP").map_or(Ok(3), |seconds| seconds.parse())?;
        let retrace = RetraceSpanProcessor::builder().with_retry_deadline(Duration::from_secs(keep));
        let guard = Installer::new().with_processor(retrace).install()?;
        let provider = provider(&guard)?;
        for line in std::io::stdin().lock().lines() {
            match line?.as_str() {
                "work" => {
                    agent::run(&provider);
                    say("worked")?;
                }
                "flush" => {
                    let flushed = provider.force_flush().is_ok();
                    let stats = guard.stats();
                    say(&format!(
                        "flushed {flushed} accepted {} delivered {} lost {}",
                        stats.accepted,
                        stats.delivered,
                        stats.lost.total()
                    ))?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// With spans that wait; the child of the child forks once more.
    fn forks() -> Outcome {
        let guard = install()?;
        // The first spans make the worker read its tables, the prices among them, and a child that is forked meanwhile waits
        // for tables that nobody reads in it: no library can help that.
        agent::run(&provider(&guard)?);
        provider(&guard)?.force_flush()?;
        agent::run(&provider(&guard)?);
        let child = match fork::fork()? {
            Fork::Parent(child) => child,
            Fork::Child => {
                let grandchild = match fork::fork()? {
                    Fork::Parent(grandchild) => grandchild,
                    Fork::Child => return work_and_end(guard),
                };
                work_and_end(guard)?;
                return ended_well(grandchild);
            }
        };
        // And one that has nothing to say.
        let silent = match fork::fork()? {
            Fork::Parent(silent) => silent,
            Fork::Child => {
                let began = Instant::now();
                drop(guard);
                // A guard that waits does so for all of the flush timeout.
                let in_time = began.elapsed() < HANG / 2;
                return if in_time { Ok(()) } else { Err("it waited for the parent's worker".into()) };
            }
        };
        work_and_end(guard)?;
        ended_well(child)?;
        ended_well(silent)
    }

    /// One more run in the parent, one in each child.
    fn work_and_end(guard: Guard) -> Outcome {
        let provider = provider(&guard)?;
        agent::run(&provider);
        provider.force_flush()?;
        let stats = guard.stats();
        say(&format!("delivered {}", stats.delivered))?;
        guard.shutdown()?;
        if stats.accepted == stats.delivered { Ok(()) } else { Err(format!("{stats:?}").into()) }
    }

    fn ended_well(child: i32) -> Outcome {
        match fork::waitpid(child)? {
            0 => Ok(()),
            status => Err(format!("a child ended with {status}").into()),
        }
    }
}
