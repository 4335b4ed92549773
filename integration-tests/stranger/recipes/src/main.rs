//! Runs each recipe as a process of its own against a receiver, in every combination, and reads its run back.

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use retrace_local::{Server, TraceQuery};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Recipes with their argument, the name of their run, and spans that are in it.
const RECIPES: [(&str, &str, &[&str]); 17] = [
    ("recipe-record", "research-agent", &["search", "plan", "after retrieval"]),
    ("recipe-pipeline", "planner", &["chat gpt-4o-mini"]),
    ("recipe-install", "planner", &["chat gpt-4o-mini"]),
    ("recipe-watch", "planner", &["chat gpt-4o-mini"]),
    ("recipe-share", "chat gpt-4o-mini", &["chat gpt-4o-mini"]),
    ("recipe-tracing", "planner", &["chat gpt-4o-mini"]),
    ("recipe-frozen", "research-agent", &["research-agent"]),
    ("recipe-documented crate", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented exporter", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented processor", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented announcer", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented around", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented install", "planner", &[]),
    ("recipe-documented installer", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented sdk-install", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented sdk-configure", "planner", &["chat gpt-4o-mini"]),
    ("recipe-documented sdk-layer", "planner", &["chat gpt-4o-mini"]),
];
const PIPELINES: [&str; 3] = ["install", "exporter", "processor"];

fn main() -> Outcome<()> {
    for transport in ["auto", "ws", "http"] {
        for (program, name, spans) in RECIPES {
            let server = Server::start()?;
            let status = command(program, &server, transport)?.status()?;
            assert!(status.success(), "{program} by {transport}: {status}");
            check(&format!("{program} by {transport}"), &server, name, spans)?;
        }
    }
    for caller in PIPELINES {
        for service in PIPELINES {
            for name in [None, Some("trip")] {
                two_services(caller, service, name)?;
            }
        }
    }
    println!("every recipe has its run");
    Ok(())
}

/// One of the programs beside this one. Nothing of its environment is set but what README names.
fn command(program: &str, server: &Server, transport: &str) -> Outcome<Command> {
    let (program, arguments) = program.split_once(' ').unwrap_or((program, ""));
    let mut command = Command::new(std::env::current_exe()?.with_file_name(program));
    command.args(arguments.split_whitespace());
    command.env("RETRACE_API_KEY", "rt_local").env("RETRACE_BASE_URL", server.url());
    command.env("RETRACE_TRANSPORT", transport).env("RUST_LOG", "warn");
    Ok(command)
}

fn two_services(caller: &str, service: &str, name: Option<&str>) -> Outcome<()> {
    let server = Server::start()?;
    let mut callee = command("recipe-service", &server, "auto")?.arg(service).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(callee.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let status = command("recipe-caller", &server, "auto")?.args([address.trim(), caller]).args(name).status();
    if !status.as_ref().is_ok_and(|status| status.success()) {
        callee.kill()?;
    }
    let what = format!("{caller} calls {service}, {name:?}");
    assert!(callee.wait()?.success() && status?.success(), "{what}");
    check(&what, &server, name.unwrap_or("planner"), &["POST /ask", "chat m"])
}

/// There is one run, of this name, which has these spans. All its spans hang together.
fn check(what: &str, server: &Server, name: &str, names: &[&str]) -> Outcome<()> {
    let page = server.traces(&TraceQuery::default())?;
    let [head] = &page.traces[..] else { panic!("{what}: {:?}", page.traces) };
    let run = server.trace(head.id.as_ref().ok_or("no id")?)?.ok_or("no run")?;
    assert_eq!(run.name.as_deref(), Some(name), "{what}");
    assert!(run.ended_at.is_some() && run.lossy.is_none(), "{what}: {run:?}");
    let spans = run.spans.unwrap_or_default();
    for name in names {
        assert!(spans.iter().any(|span| span.name == *name), "{what}: no {name} in {spans:?}");
    }
    let is_span = |id| spans.iter().any(|span| Some(&span.id) == id);
    let roots = spans.iter().filter(|span| span.parent_id.is_none()).count();
    assert_eq!(roots, 1, "{what}: {spans:?}");
    assert!(spans.iter().all(|span| span.parent_id.is_none() || is_span(span.parent_id.as_ref())), "{what}: {spans:?}");
    if let Some(call) = spans.iter().find(|span| span.name == "chat gpt-4o-mini" && span.input_tokens.is_some()) {
        assert!(call.cost.is_some_and(|cost| cost > 0.0), "{what}: {call:?}");
        let metadata = run.metadata.as_ref().map_or("", |metadata| metadata.as_str());
        let states_environment = name == "planner" && !what.contains("sdk-install");
        assert!(!states_environment || metadata.contains(r#""environment":"staging""#), "{what}: {metadata}");
    }
    println!("{what}: {} spans", spans.len());
    Ok(())
}
