#![allow(clippy::needless_pass_by_value)]

use super::*;
use crate::fork::new_fork;
use crate::ingest;
use crate::store::{Change, Writer, open};
use serde_json::{Value, json};

const AT: &str = "2026-01-02T03:04:05Z";
const HOUR: i64 = 3_600_000_000;

struct Store {
    writer: Writer,
    reader: Reader,
    now: i64,
}

impl Store {
    /// Creates a store with a run `t` and a fork `f` of it.
    fn with_fork() -> Self {
        let (writer, reader, _) = open(None, false).unwrap();
        let store = Self { writer, reader, now: now_micros() };
        store.upload(&json!({"id": "t", "status": "completed", "started_at": AT, "spans": []}));
        assert_eq!(store.create("f"), Outcome::Done);
        store
    }

    fn make(&self, change: Change) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.writer.write(change, None)).unwrap()
    }

    fn fork_change(&self, change: ForkChange) -> Outcome {
        self.make(Change::Fork(Box::new(change)))
    }

    fn create(&self, id: &str) -> Outcome {
        let fork =
            new_fork(br#"{"trace_id":"t","span_id":"s","substitutions":{"model":"m"},"mode":"lenient"}"#).unwrap();
        self.fork_change(ForkChange::Create { id: id.into(), fork, now: self.now })
    }

    fn begin(&self, execution: &str, lease: i64) {
        let (fork_id, execution_id) = ("f".into(), execution.into());
        let begun =
            self.fork_change(ForkChange::Begin { fork_id, execution_id, now: self.now, lease: self.now + lease });
        assert_eq!(begun, Outcome::Done);
    }

    fn claim(&self, execution: &str, lease: i64) -> Outcome {
        let (fork_id, execution_id) = ("f".into(), execution.into());
        self.fork_change(ForkChange::Claim { fork_id, execution_id, now: now_micros(), lease: now_micros() + lease })
    }

    fn lose(&self, execution: &str) {
        self.fork_change(ForkChange::Lost { executions: vec![execution.into()], reason: "gone" });
    }

    fn upload(&self, run: &Value) {
        let upload = ingest::upload(run.to_string().as_bytes()).unwrap();
        assert_eq!(self.make(Change::Create(Box::new(upload))), Outcome::Done);
    }

    fn event(&self, kind: &str, data: Value) {
        let text = json!({"type": kind, "data": data, "seq": 1}).to_string();
        let ingest::Frame::Event(event) = ingest::frame(&text).unwrap() else { panic!("{text}") };
        self.make(Change::Events(vec![event]));
    }

    fn fork(&self) -> Fork {
        self.reader.fork("f").unwrap().unwrap()
    }

    fn statuses(&self) -> Vec<&'static str> {
        self.fork().executions.iter().map(|execution| execution.status.as_str()).collect()
    }
}

fn run_of(execution: Option<&str>, status: &str) -> Value {
    let metadata = json!({"_fork_id": "f", "_fork_of": "t", "_fork_execution_id": execution});
    json!({"id": "r", "status": status, "started_at": AT, "metadata": metadata, "error": "why", "spans": []})
}

#[test]
fn a_fork_is_stored_with_what_it_changes() {
    let store = Store::with_fork();
    let fork = store.fork();
    assert_eq!((fork.trace_id.to_string(), fork.mode, fork.status), ("t".into(), Mode::Lenient, ForkStatus::Created));
    assert_eq!(fork.substitutions.unwrap().as_str(), r#"{"model":"m"}"#);
    assert_eq!(store.create("g"), Outcome::Done);
    let page = store.reader.forks(Some(&"t".into()), 1, 0).unwrap();
    assert_eq!((page.forks[0].id.as_str(), page.total), ("g", 2), "the newest first");
    assert_eq!(store.reader.forks(Some(&"u".into()), 1, 0).unwrap().total, 0);
    let unknown = new_fork(br#"{"trace_id":"u","span_id":"s"}"#).unwrap();
    let create = ForkChange::Create { id: "h".into(), fork: unknown, now: 0 };
    assert_eq!(store.fork_change(create), Outcome::Unknown);
}

#[test]
fn a_newer_execution_supersedes_an_older_one() {
    let store = Store::with_fork();
    store.begin("e1", HOUR);
    assert_eq!(store.fork().claimed_at, None);
    assert_eq!(store.claim("e1", 2 * HOUR), Outcome::Done);
    let claimed = store.fork();
    assert!(claimed.claimed_at.is_some() && claimed.status == ForkStatus::Running);
    let later = claimed.lease_expires_at.clone().and_then(|at| at.unix_micros()).unwrap();
    assert!(later > (store.now + HOUR).unsigned_abs(), "the claim renews the lease");
    store.begin("e2", HOUR);
    assert!(store.fork().version > claimed.version);
    assert_eq!(store.claim("e1", HOUR), Outcome::Superseded);
    assert_eq!(store.claim("e2", HOUR), Outcome::Done);
    assert_eq!(store.claim("e0", HOUR), Outcome::Superseded, "one that is not known any more");
    let unknown = ForkChange::Claim { fork_id: "g".into(), execution_id: "e1".into(), now: 0, lease: 0 };
    assert_eq!(store.fork_change(unknown), Outcome::Unknown);
    // The run of a superseded execution is stored, and changes no status.
    store.upload(&run_of(Some("e1"), "completed"));
    assert_eq!(store.statuses(), ["superseded", "running"]);
    assert_eq!(store.fork().executions[0].result_trace_id, Some("r".into()));
}

#[test]
fn a_lease_ends() {
    let store = Store::with_fork();
    store.begin("e1", -1);
    let fork = store.fork();
    assert_eq!(fork.status, ForkStatus::Expired, "without any change to the row");
    assert!(fork.error.unwrap().contains("lease"));
    assert_eq!(store.claim("e1", HOUR), Outcome::Expired);
    assert_eq!(store.claim("e1", HOUR), Outcome::Expired, "and stays so");
    store.begin("e2", HOUR);
    assert_eq!(store.statuses(), ["expired", "running"]);
    // Its run arrives late, and is accepted.
    store.upload(&run_of(Some("e1"), "completed"));
    assert_eq!(store.statuses(), ["completed", "running"]);
}

#[test]
fn a_run_is_linked_and_ends_its_execution() {
    let store = Store::with_fork();
    store.begin("e1", HOUR);
    store.upload(&run_of(None, "failed"));
    let fork = store.fork();
    assert_eq!((fork.status, fork.result_trace_id), (ForkStatus::Failed, Some("r".into())));
    assert_eq!(fork.error.as_deref(), Some("why"));
    assert_eq!(store.claim("e1", HOUR), Outcome::Done, "a heartbeat that crosses the end");
    assert_eq!(store.fork().status, ForkStatus::Failed);
}

#[test]
fn a_live_run_is_linked_when_it_begins() {
    let store = Store::with_fork();
    store.begin("e1", HOUR);
    let mut started = run_of(Some("e1"), "running");
    started.as_object_mut().unwrap().remove("error");
    store.event("trace_started", started);
    assert_eq!((store.fork().status, store.fork().result_trace_id), (ForkStatus::Running, Some("r".into())));
    store.lose("e1");
    assert_eq!((store.fork().status, store.fork().error.as_deref()), (ForkStatus::Failed, Some("gone")));
    // The agent has reconnected.
    store.event("trace_ended", json!({"id": "r", "status": "completed", "ended_at": AT, "output": 1}));
    assert_eq!((store.fork().status, store.fork().error), (ForkStatus::Completed, None));
    store.lose("e1");
    assert_eq!(store.fork().status, ForkStatus::Completed, "what has ended cannot be lost");
}

#[test]
fn an_agent_that_comes_back_goes_on() {
    let store = Store::with_fork();
    store.begin("e1", HOUR);
    store.lose("e1");
    assert_eq!(store.claim("e1", HOUR), Outcome::Done);
    assert_eq!((store.fork().status, store.fork().error), (ForkStatus::Running, None));
}

#[test]
fn forks_go_with_their_run() {
    let store = Store::with_fork();
    store.begin("e1", HOUR);
    store.upload(&run_of(Some("e1"), "completed"));
    store.make(Change::Delete("r".into()));
    assert_eq!((store.fork().result_trace_id, store.fork().status), (None, ForkStatus::Completed));
    store.make(Change::Delete("t".into()));
    assert_eq!(store.reader.fork("f").unwrap(), None);
    let left: u32 = store
        .reader
        .read(|database| Ok(database.query_row("SELECT count(*) FROM fork_executions", [], |row| row.get(0))?))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn executions_are_bounded() {
    let store = Store::with_fork();
    for number in 0..=MAX_EXECUTIONS {
        store.begin(&number.to_string(), HOUR);
    }
    let executions = store.fork().executions;
    assert_eq!((executions.len(), executions[0].id.as_str()), (MAX_EXECUTIONS as usize, "1"));
}
