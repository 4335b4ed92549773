//! Real clients in recordings, replays and forks, against a scripted provider and a canary that must see nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod agents;
mod provider;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use agents::{AnyError, EXECUTED, Outcome};
use provider::{Canary, Provider};
use retrace::{ForkPoint, Pace, ReplayError, Verdict};
use retrace_local::{Policies, Server, TraceQuery};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

type AgentFuture<'a> = Pin<Box<dyn Future<Output = Result<Outcome, AnyError>> + Send + 'a>>;
type Agent = for<'a> fn(&'a str, &'a str) -> AgentFuture<'a>;

/// Name, agent, and how often its tool is executed in a run.
const AGENTS: [(&str, Agent, usize); 3] = [
    ("plain", |url, question| Box::pin(agents::plain(url, question)), 1),
    ("async-openai", |url, question| Box::pin(agents::openai(url, question)), 1),
    ("rig", |url, question| Box::pin(agents::rig(url, question)), 2),
];

/// The count of executed tools is one for the program.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Recorded {
    _alone: MutexGuard<'static, ()>,
    directory: tempfile::TempDir,
    provider: Provider,
    url: String,
}

impl Recorded {
    async fn new() -> Self {
        let alone = ALONE.lock().await;
        let (provider, url) = Provider::start().await;
        Self { _alone: alone, directory: tempfile::tempdir().unwrap(), provider, url }
    }

    /// Records a run; gives its cassette and what the caller saw.
    async fn run(&self, name: &str, agent: Agent) -> (PathBuf, Outcome) {
        let path = self.directory.path().join(format!("{name}.jsonl"));
        let recorded = retrace::record_cassette(&path).name(name).run(agent(&self.url, "When?")).await.unwrap();
        (path, recorded.value.unwrap())
    }
}

#[tokio::test]
async fn p1_agents_are_replayed_with_the_provider_gone() {
    let recorded = Recorded::new().await;
    for (name, agent, tools) in AGENTS {
        let before = EXECUTED.load(Ordering::SeqCst);
        let (path, outcome) = recorded.run(name, agent).await;
        assert_eq!(EXECUTED.load(Ordering::SeqCst) - before, tools, "{name}");
        assert!(outcome.chunks.len() > 2, "{name}: {outcome:?}");
        let (canary, url) = Canary::start().await;
        for pace in [Pace::Instant, Pace::Recorded] {
            let replayed = retrace::replay(&path).pace(pace).run(agent(&url, "When?")).await.unwrap();
            assert_eq!(replayed.value.unwrap(), outcome, "{name}: the same values and the same bytes");
            assert_eq!(replayed.report.unused, [], "{name}");
        }
        assert_eq!(canary.connections(), 0, "{name}");
        assert_eq!(EXECUTED.load(Ordering::SeqCst) - before, tools, "{name}: no tool is executed again");
        let file = std::fs::read_to_string(&path).unwrap();
        assert!(!file.contains("sk-canary"), "{name}: {file}");
    }
}

#[tokio::test]
async fn p4_a_changed_prompt_is_refused_and_no_client_retries() {
    let recorded = Recorded::new().await;
    for (name, agent, _) in AGENTS {
        let (path, _) = recorded.run(name, agent).await;
        let (canary, url) = Canary::start().await;
        let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
        let keep = std::sync::Arc::clone(&seen);
        let error = retrace::replay(&path)
            .run(async move {
                let error = agent(&url, "When in Bergen?").await.unwrap_err();
                *keep.lock().unwrap() = Some((retrace::refusal(&*error).is_some(), error.to_string()));
            })
            .await
            .unwrap_err();
        let ReplayError::Refused { refused, report } = &error else { panic!("{name}: {error}") };
        assert!(refused.to_string().contains("When in Bergen?"), "{name}: {refused}");
        assert_eq!((report.refused_later, canary.connections()), (0, 0), "{name}: nobody retries");
        let seen = seen.lock().unwrap().take().unwrap();
        assert!(seen.0, "{name}: the client's error holds the refusal: {}", seen.1);
        let lenient =
            retrace::replay(&path).lenient().run(agent("http://127.0.0.1:9/v1", "When in Bergen?")).await.unwrap();
        assert!(!lenient.report.divergences.is_empty(), "{name}");
        lenient.value.unwrap();
    }
}

#[tokio::test]
async fn p2_a_fork_at_the_second_call_is_a_new_run_in_the_receiver() {
    let recorded = Recorded::new().await;
    let server = Server::start().unwrap();
    let guard = retrace::configure().with_api_key("rt_local").with_base_url(server.url()).install().unwrap();
    for (name, agent, _) in AGENTS {
        let (path, outcome) = recorded.run(name, agent).await;
        let (executed, seen) = (EXECUTED.load(Ordering::SeqCst), recorded.provider.seen().len());
        // The tool's result, as the second call states it.
        let place = if name == "rig" { "messages.3.content" } else { "messages.2.content" };
        let fork = retrace::replay(&path).from(ForkPoint::ModelCall(2)).set(place, "Oslo: noon");
        let forked = fork.run(agent(&recorded.url, "When?")).await.unwrap();
        let live = recorded.provider.seen().split_off(seen);
        assert_eq!(live[0].pointer(&format!("/{}", place.replace('.', "/"))).unwrap(), "Oslo: noon", "{name}");
        assert_eq!(live.len(), forked.report.live.len(), "{name}: {}", forked.report);
        let report = &forked.report;
        assert!(report.answered >= 2 && report.live[0].is_altered && !report.live[1].is_altered, "{name}: {report}");
        // rig's second question calls the tool again, after the fork point and with equal arguments.
        assert_eq!(EXECUTED.load(Ordering::SeqCst), executed, "{name}: recorded results are used");
        assert_ne!(forked.value.unwrap(), outcome, "{name}: what comes after is live");
    }
    drop(guard);
    let runs = server.traces(&TraceQuery::default()).unwrap();
    assert_eq!(runs.total, 6, "three recorded runs and three forks: {runs:?}");
    for head in &runs.traces {
        let run = server.trace(head.id.as_ref().unwrap()).unwrap().unwrap();
        let spans = run.spans.as_deref().unwrap_or_default();
        let calls = spans.iter().filter(|span| span.span_type == retrace::SpanType::LlmCall).count();
        assert!(calls >= 3, "{}: {spans:#?}", run.name.as_deref().unwrap_or_default());
    }
}

#[tokio::test]
async fn a_stored_run_is_replayed_with_the_provider_gone() {
    let recorded = Recorded::new().await;
    for (name, agent, _) in AGENTS {
        let server = Server::start().unwrap();
        let guard = retrace::configure().with_api_key("rt_local").with_base_url(server.url()).install().unwrap();
        let live = agent(&recorded.url, "When?").await.unwrap();
        drop(guard);
        let head = server.traces(&TraceQuery::default()).unwrap().traces.remove(0);
        let run = server.trace(head.id.as_ref().unwrap()).unwrap().unwrap();
        let path = recorded.directory.path().join(format!("stored-{name}.jsonl"));
        retrace_local::export_cassette(&run, &path, false).unwrap();
        let (canary, url) = Canary::start().await;
        let executed = EXECUTED.load(Ordering::SeqCst);
        let replayed =
            retrace::replay(&path).run(agent(&url, "When?")).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        // What is rebuilt is not byte for byte what the provider sent: times of creation and the cut of a stream differ.
        assert_eq!(replayed.value.unwrap().texts, live.texts, "{name}");
        assert_eq!(
            (canary.connections(), EXECUTED.load(Ordering::SeqCst)),
            (0, executed),
            "{name}: {}",
            replayed.report
        );
    }
}

#[tokio::test]
async fn p5_ceilings_hold_for_real_clients() {
    let recorded = Recorded::new().await;
    for (name, agent, _) in AGENTS {
        let seen = recorded.provider.seen().len();
        // A model call, a tool, and the second call would be the third step.
        let error = retrace::limits().steps(2).scope(agent(&recorded.url, "When?")).await.unwrap_err();
        let refused = retrace::refusal(&*error).unwrap_or_else(|| panic!("{name}: {error:?}"));
        let enforcement = refused.enforcement().unwrap();
        assert_eq!((enforcement.limit, enforcement.used), (Some(2.0), Some(3.0)), "{name}");
        assert_eq!(recorded.provider.seen().len() - seen, 1, "{name}");
    }
}

#[tokio::test]
async fn a_failure_of_the_provider_fails_again() {
    let recorded = Recorded::new().await;
    for (name, agent, _) in &AGENTS[..2] {
        let path = recorded.directory.path().join("failed.jsonl");
        let live = retrace::record_cassette(&path).run(agent(&recorded.url, "Please fail.")).await.unwrap();
        let (canary, url) = Canary::start().await;
        let replayed = retrace::replay(&path).run(agent(&url, "Please fail.")).await.unwrap();
        let (live, replayed) = (live.value.unwrap_err().to_string(), replayed.value.unwrap_err().to_string());
        assert_eq!(live, replayed, "{name}");
        assert!(live.contains("slow down"), "{name}: {live}");
        assert_eq!(canary.connections(), 0, "{name}");
    }
}

/// Denies the first hold that a receiver makes, on the thread of the caller: a client that blocked it would wait for ever.
async fn deny(server: &Server) {
    let url = format!("{}/api/v1/enforcement/holds", server.url());
    let client = reqwest::Client::new();
    loop {
        let holds: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
        if let Some(hold) = holds["holds"].as_array().and_then(|holds| holds.first()) {
            let url = format!("{url}/{}", hold["id"].as_str().unwrap());
            let decided = client.post(url).json(&json!({ "decision": "deny" })).send().await.unwrap();
            assert!(decided.status().is_success());
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn real_clients_wait_for_a_hold_without_blocking() {
    let recorded = Recorded::new().await;
    let policies = recorded.directory.path().join("policies.json");
    let file = json!({ "policies": [{ "id": "tides", "verdict": "hold", "when": { "tools": ["tide"] } }] });
    std::fs::write(&policies, file.to_string()).unwrap();
    for (name, agent, _) in AGENTS {
        let server = Server::builder().with_policies(Policies::read(&policies).unwrap()).start().unwrap();
        let guard = retrace::configure()
            .with_api_key("rt_local")
            .with_base_url(server.url())
            .with_server_enforcement(true)
            .with_enforcement_hold_wait(integration_tests::wait::HANG)
            .install()
            .unwrap();
        let seen = recorded.provider.seen().len();
        let (result, ()) = tokio::join!(agent(&recorded.url, "When?"), deny(&server));
        let error = result.unwrap_err();
        let refused = retrace::refusal(&*error).unwrap_or_else(|| panic!("{name}: {error:?}"));
        let enforcement = refused.enforcement().unwrap();
        assert_eq!((enforcement.verdict, enforcement.policy_id.as_deref()), (Verdict::Hold, Some("tides")), "{name}");
        assert_eq!(recorded.provider.seen().len() - seen, 1, "{name}: the call after the tool did not leave");
        drop(guard);
    }
}
