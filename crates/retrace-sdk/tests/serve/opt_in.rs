//! Nothing is executed unless the application allows it.

use std::sync::{Arc, Mutex};

use retrace::{ServeError, SignalCode, Transport};
use serde_json::json;

use crate::support::LIMIT;
use crate::{Served, resume};

#[retrace::record(resumable)]
fn quiet(question: String) -> usize {
    question.len()
}

#[retrace::record(name = "quiet", resumable)]
fn namesake() {}

/// Serves, and waits for the reason why nothing is served.
fn refused(served: &Served, functions: Vec<retrace::Resumable>) -> ServeError {
    let serving = async { tokio::time::timeout(LIMIT, retrace::serve(functions).into_future()).await };
    served.runtime.block_on(serving).expect("serving ends").unwrap_err()
}

#[test]
fn serving_needs_a_permission_that_the_error_names() {
    let served = Served::with(|configuration| configuration);
    let error = refused(&served, vec![retrace::resumable!(quiet)]);
    assert!(error.to_string().contains("RETRACE_ALLOW_REMOTE_REPLAY=true"), "{error}");
    assert!(served.peer.wait("no connection", |state| Some(state.auths.is_empty())));
}

#[test]
fn serving_needs_a_connection() {
    let served = Served::with(|configuration| configuration.with_remote_replay(true).with_transport(Transport::Http));
    let error = refused(&served, vec![retrace::resumable!(quiet)]);
    assert!(error.to_string().contains("set RETRACE_TRANSPORT to `auto` or `ws`"), "{error}");
}

#[test]
fn serving_needs_recording() {
    let served = Served::with(|configuration| configuration.with_enabled(false).with_remote_replay(true));
    let error = refused(&served, vec![retrace::resumable!(quiet)]);
    assert!(error.to_string().contains("RETRACE_ENABLED"), "{error}");
}

#[test]
fn functions_have_names_of_their_own_and_are_served_once() {
    let served = Served::start();
    let error = refused(&served, vec![retrace::resumable!(quiet), retrace::resumable!(namesake)]);
    assert_eq!(error, ServeError::SameName("quiet"));
    let serving = served.serve([retrace::resumable!(quiet)]);
    let error = refused(&served, vec![retrace::resumable!(quiet)]);
    assert!(error.to_string().contains("another call of `serve`"), "{error}");
    // Dropping the handle ends it, and another one may begin. Its connection states it again.
    drop(serving);
    let before = served.peer.wait("the connection ends", |state| state.is_alone().then_some(state.auths.len()));
    let _again = {
        let _entered = served.runtime.enter();
        retrace::serve([retrace::resumable!(quiet)]).spawn()
    };
    served.peer.wait_served_after(before);
    served.peer.send(resume("quiet", json!({"executionId": null})));
    served.peer.ended("Fork: quiet");
}

#[test]
fn serving_ends_when_the_receiver_refuses_the_key_or_stops_recording() {
    let served = Served::start();
    served.peer.refuse_keys();
    let error = refused(&served, vec![retrace::resumable!(quiet)]);
    assert!(error.to_string().contains("check RETRACE_API_KEY"), "{error}");
    drop(served);
    let served = Served::start();
    let serving = served.serve([retrace::resumable!(quiet)]);
    served.peer.send(json!({"type": "halt", "data": {"reason": "enough"}}));
    let ended = served.runtime.block_on(async { tokio::time::timeout(LIMIT, serving).await });
    assert_eq!(ended.unwrap(), Err(ServeError::Commands(retrace::remote::CommandsError::Halted)));
}

#[test]
fn the_transport_ws_serves_as_well() {
    let served = Served::with(|configuration| configuration.with_remote_replay(true).with_transport(Transport::Ws));
    let _serving = served.serve([retrace::resumable!(quiet)]);
    served.peer.send(resume("quiet", json!({"executionId": null, "originalKwargs": {}, "modifiedInput": "new?"})));
    assert_eq!(served.peer.ended("Fork: quiet")["output"], 4);
}

/// A receiver that sends commands nevertheless.
#[test]
fn a_command_that_is_not_allowed_is_a_signal_that_names_the_variable() {
    for (allowed, expected) in [(false, "RETRACE_ALLOW_REMOTE_REPLAY=true"), (true, "call retrace::serve")] {
        let signals = Arc::<Mutex<Vec<_>>>::default();
        let (kept, (sender, signalled)) = (Arc::clone(&signals), std::sync::mpsc::channel());
        let mut served = Served::with(|configuration| {
            configuration.with_remote_replay(allowed).with_on_error(move |signal| {
                kept.lock().unwrap().push((signal.code, signal.message.clone()));
                let _ = sender.send(());
            })
        });
        quiet("open a connection".to_owned());
        let auth = served.peer.wait("a connection", |state| state.auths.last().cloned());
        assert_eq!(auth["resumable"], json!(false));
        served.peer.ended("quiet");
        served.peer.send(resume("quiet", json!({})));
        signalled.recv_timeout(LIMIT).unwrap();
        let (code, message) = signals.lock().unwrap()[0].clone();
        assert_eq!(code, SignalCode::Error);
        assert!(message.contains(expected), "{message}");
        served.shut_down();
        assert_eq!((served.peer.names(), served.peer.claims().len()), (vec!["quiet".to_owned()], 0));
    }
}

#[test]
fn a_recording_of_the_receiver_needs_a_permission_of_its_own() {
    let served = Served::with(|configuration| configuration.with_remote_replay(true));
    let _serving = served.serve([retrace::resumable!(quiet)]);
    let cassette = json!([{"name": "x", "span_type": "tool_call", "output": 1}]);
    // A replay is nothing without it.
    served.peer.send(
        json!({"type": "replay", "data": {"traceId": "t", "traceName": "quiet", "input": ["a"], "cassette": cassette}}),
    );
    // A change at the fork point needs it, and the run states so.
    served
        .peer
        .send(resume("quiet", json!({"cassette": cassette, "substitutions": {"tool_output": 2}, "executionId": null})));
    let failed = served.peer.ended("Fork: quiet");
    assert_eq!(failed["status"], "failed");
    assert!(failed["error"].as_str().unwrap().contains("RETRACE_ALLOW_REMOTE_CASSETTE=true"), "{failed:#}");
    // A fork without one runs live.
    served.peer.send(resume("quiet", json!({"cassette": cassette, "executionId": null})));
    let runs = served.peer.all_ended("Fork: quiet", 2);
    assert_eq!((&runs[1]["status"], &runs[1]["output"]), (&json!("completed"), &json!(4)), "{runs:#?}");
    assert_eq!(served.peer.names().len(), 2);
}
