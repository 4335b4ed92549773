//! Enforcement by a receiver: its policies decide, through the real receiver over a real socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use retrace::{EnforcementError, SpanType};
use retrace_local::{Policies, Server};
use serde_json::{Value, json};

use crate::alone;
use crate::provider::Provider;
use crate::support::{LIMIT, Recording, record_to};

/// Receiver with these policies, and a pipeline to it that asks it.
fn enforced(policies: &Value, hold_wait: Duration) -> Recording {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policies.json");
    std::fs::write(&path, json!({"policies": policies}).to_string()).unwrap();
    let server = Server::builder().with_policies(Policies::read(&path).unwrap()).start().unwrap();
    record_to(server, |configuration| {
        let configuration = configuration.with_transport("http").with_project_id("p-1");
        configuration.with_server_enforcement(true).with_enforcement_hold_wait(hold_wait)
    })
}

/// One request by hand.
fn request(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let mut client = TcpStream::connect(server.addr()).unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json");
    write!(client, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Waits for the only hold, and decides it.
fn decide(server: &Server, decision: &str) -> Value {
    let until = Instant::now() + LIMIT;
    loop {
        let holds = request(server, "GET", "/api/v1/enforcement/holds", "");
        if let Some(hold) = holds["holds"].as_array().unwrap().first() {
            let path = format!("/api/v1/enforcement/holds/{}", hold["id"].as_str().unwrap());
            request(server, "POST", &path, &json!({"decision": decision}).to_string());
            return hold.clone();
        }
        assert!(Instant::now() < until, "no hold");
        std::thread::yield_now();
    }
}

fn refused(provider: &Provider, prompt: &str) -> EnforcementError {
    let error = provider.chat_sync(prompt).unwrap_err();
    retrace::refusal(&*error).unwrap().enforcement().unwrap().clone()
}

fn pay(amount: u32) {
    retrace::step("pay", SpanType::ToolCall).input(json!({"b": amount, "a": "x"})).in_scope(|_| ());
}

fn payments(hold_seconds: u32) -> Value {
    json!([{"id": "payments", "verdict": "hold", "reason": "a person looks at payments",
            "when": {"tools": ["pay"]}, "hold_seconds": hold_seconds}])
}

#[test]
fn a_run_is_blocked_by_a_policy() {
    let _alone = alone();
    let recording = enforced(&json!([{"id": "tokens", "verdict": "block", "when": {"tokens_above": 20}}]), LIMIT);
    let provider = Provider::new();
    retrace::run("blocked").in_scope(|_| {
        provider.chat_sync("a").unwrap();
        provider.chat_sync("b").unwrap();
        let error = refused(&provider, "c");
        assert_eq!((error.verdict.to_string().as_str(), error.policy_id.as_deref()), ("block", Some("tokens")));
        assert!(error.reason.contains("tokens") && error.limit.is_none(), "{error:?}");
        refused(&provider, "d");
    });
    assert_eq!(provider.seen(), ["a", "b"], "no call leaves after the verdict");
    // The next run begins anew.
    retrace::run("next").in_scope(|_| provider.chat_sync("e").unwrap());
    drop(recording);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_call_waits_for_its_approval() {
    let _alone = alone();
    let recording = enforced(&payments(600), LIMIT);
    let provider = Provider::new();
    std::thread::scope(|threads| {
        let decided = threads.spawn(|| decide(&recording.server, "approve"));
        retrace::run("held").in_scope(|_| {
            pay(1);
            provider.chat_sync("after").unwrap();
            pay(1);
            provider.chat_sync("the same payment once more").unwrap();
        });
        let check = decided.join().unwrap()["check"].clone();
        assert_eq!(check["tool_args_hash"], "385820f0096fd558f4091319e7fa742c");
        assert_eq!((&check["tool_name"], &check["project_id"]), (&json!("pay"), &json!("p-1")));
        assert_eq!(check["run_id"], check["trace_id"]);
        assert!(check["span_id"].is_string(), "{check}");
    });
    assert_eq!(provider.seen().len(), 2);
}

#[test]
fn a_denied_call_and_an_expired_one_are_refused() {
    let _alone = alone();
    for (hold_seconds, expected) in [(600, "denied"), (0, "expired")] {
        let recording = enforced(&payments(hold_seconds), LIMIT);
        let provider = Provider::new();
        std::thread::scope(|threads| {
            if hold_seconds > 0 {
                threads.spawn(|| decide(&recording.server, "deny"));
            }
            retrace::run("held").in_scope(|_| {
                pay(1);
                let error = refused(&provider, "after");
                assert_eq!(error.verdict.to_string(), "hold");
                assert!(error.reason.contains(expected) && error.reason.contains("payments"), "{error:?}");
            });
        });
        assert_eq!(provider.seen().len(), 0);
    }
}

#[test]
fn without_a_wait_a_held_call_is_refused_at_once() {
    let _alone = alone();
    let _recording = enforced(&payments(600), Duration::ZERO);
    let provider = Provider::new();
    retrace::run("held").in_scope(|_| {
        pay(1);
        assert_eq!(refused(&provider, "after").policy_id.as_deref(), Some("payments"));
    });
    assert_eq!(provider.seen().len(), 0);
}

#[test]
fn when_the_receiver_is_gone_the_ceilings_remain() {
    let _alone = alone();
    // An address at which nobody listens, and no run that would be kept for it.
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let guard = retrace::configure()
        .with_api_key("rt_local")
        .with_base_url(format!("http://{addr}"))
        .with_flush_timeout(Duration::from_millis(1))
        .with_server_enforcement(true)
        .install()
        .unwrap();
    let provider = Provider::new();
    retrace::limits().steps(2).in_scope(|| {
        retrace::run("alone").in_scope(|_| {
            provider.chat_sync("a").unwrap();
            provider.chat_sync("b").unwrap();
            assert_eq!(refused(&provider, "c").policy_id.as_deref(), Some("local"));
        });
    });
    assert_eq!(provider.seen(), ["a", "b"]);
    drop(guard);
}

#[test]
fn a_replay_asks_nobody() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let provider = Provider::new();
    let run = |provider: &Provider| {
        retrace::run("replayed").in_scope(|_| (provider.chat_sync("a").is_ok(), provider.chat_sync("b").is_ok()))
    };
    retrace::record_cassette(&path).run_sync(|| run(&provider)).unwrap();
    let recording = enforced(&json!([{"id": "all", "verdict": "block"}]), LIMIT);
    assert_eq!(retrace::replay(&path).run_sync(|| run(&Provider::new())).unwrap().value, (true, true));
    drop(recording);
}

#[test]
fn a_run_that_is_recorded_is_checked_as_well() {
    let _alone = alone();
    let _recording = enforced(&json!([{"id": "tokens", "verdict": "block", "when": {"tokens_above": 10}}]), LIMIT);
    let directory = tempfile::tempdir().unwrap();
    let provider = Provider::new();
    let run = || {
        retrace::run("recorded").in_scope(|_| {
            provider.chat_sync("a").unwrap();
            refused(&provider, "b")
        })
    };
    let recorded = retrace::record_cassette(directory.path().join("run.jsonl")).run_sync(run).unwrap();
    assert_eq!(recorded.value.policy_id.as_deref(), Some("tokens"));
    assert_eq!(provider.seen(), ["a"]);
}
