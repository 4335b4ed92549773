//! Enforcement by a policy file, over HTTP.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use retrace_local::{Policies, Server};
use serde_json::json;
use support::Client;

#[test]
fn holds_are_listed_decided_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policies.json");
    let policies = json!({"policies": [
        {"id": "payments", "verdict": "hold", "when": {"tools": ["pay*"]}},
        {"id": "budget", "verdict": "block", "reason": "enough for today", "when": {"usd_above": 1.5}}
    ]});
    std::fs::write(&path, policies.to_string()).unwrap();
    let server = Server::builder().with_policies(Policies::read(&path).unwrap()).start().unwrap();
    let client = Client::of(&server);
    let check = |tool: Option<&str>, usd: f64| {
        let mut check = json!({"run_id": "r", "proposed_tokens": 5, "proposed_usd": usd});
        if let Some(tool) = tool {
            check["tool_name"] = tool.into();
        }
        client.post("/api/v1/enforcement/check", &check).json
    };
    assert_eq!(check(None, 1.5), json!({"verdict": "allow"}));
    let blocked = json!({"verdict": "block", "reason": "enough for today", "policy_id": "budget"});
    assert_eq!(check(None, 1.6), blocked);
    let held = check(Some("pay_invoice"), 0.0);
    assert_eq!((&held["verdict"], &held["policy_id"]), (&json!("hold"), &json!("payments")), "{held}");
    let hold = format!("/api/v1/enforcement/holds/{}", held["hold_id"].as_str().unwrap());
    let listed = client.get("/api/v1/enforcement/holds").json;
    assert_eq!(listed["holds"][0]["id"], held["hold_id"]);
    assert_eq!(client.get(&hold).json["status"], "pending");

    let wrong = client.post(&hold, &json!({"decision": "maybe"}));
    assert_eq!((wrong.status, &wrong.json["field"]), (400, &json!("decision")));
    let decided = client.post(&hold, &json!({"decision": "approve", "reason": "known supplier"}));
    assert_eq!((decided.status, &decided.json["status"]), (200, &json!("approved")));
    assert_eq!(client.get(&hold).json["reason"], "known supplier");
    assert!(client.post(&hold, &json!({"decision": "deny"})).refusal(409).contains("approved already"));
    assert_eq!(check(Some("pay_invoice"), 0.0), json!({"verdict": "allow"}));
    assert!(client.post("/api/v1/enforcement/holds/none", &json!({"decision": "deny"})).refusal(404).contains("none"));
    let long = json!({"run_id": "r".repeat(1000), "proposed_tokens": 5, "proposed_usd": 0.0});
    assert_eq!(client.post("/api/v1/enforcement/check", &long).json["field"], "run_id");
}
