//! Replays: the table of matching, fork points, and reports.

mod support;

use std::sync::Arc;

use retrace_replay::cassette::{Effects, Outcome};
use retrace_replay::replay::{
    Decision, Fork, ForkPoint, Mode, Options, RefusalReason, Replay, ReplayError, Substitutions,
};
use retrace_replay::report::{LiveReason, Style, Verdict};
use retrace_replay::{Lane, Rule, Tolerance};
use serde_json::{Value, json};
use support::{answer, chat, live, model_call, model_entry, refusal, replay, tool_call, tool_entry};

const ROOT: &Lane = &Lane::ROOT;

fn run() -> Vec<retrace_replay::cassette::Entry> {
    vec![
        model_entry("", &chat("plan"), "call search"),
        tool_entry("", "search", &json!({"q": "tides"}), &json!(["neap", "spring"])),
        model_entry("", &chat("plan, neap, spring"), "done"),
    ]
}

fn lenient() -> Options {
    Options { mode: Mode::Lenient, ..Options::default() }
}

fn forked(at: ForkPoint, substitutions: Substitutions) -> Options {
    Options { fork: Some(Fork { at, substitutions }), ..Options::default() }
}

#[test]
fn a_run_that_is_the_same_is_answered_from_the_recording() {
    let mut replay = replay(run(), Options::default());
    assert_eq!(answer(replay.decide(model_call(ROOT, chat("plan")))), "call search");
    let arguments = json!({"q": "tides"});
    assert_eq!(answer(replay.decide(tool_call(ROOT, "search", arguments, Effects::External))), r#"["neap","spring"]"#);
    assert_eq!(answer(replay.decide(model_call(ROOT, chat("plan, neap, spring")))), "done");
    let report = replay.report();
    assert_eq!((report.verdict(), report.answered, report.live.len()), (Verdict::Same, 3, 0));
}

#[test]
fn strict_refuses_a_changed_request_with_its_diff_and_all_calls_after_it() {
    let mut replay = replay(run(), Options::default());
    let refused = refusal(replay.decide(model_call(ROOT, chat("plot"))));
    let RefusalReason::Differs { expected, diff } = &refused.reason else { panic!("{refused}") };
    assert_eq!(expected.ordinal, Some(0));
    assert_eq!(diff.differences[0].pointer, "/messages/0/content");
    let text = refused.to_string();
    for part in ["run.jsonl", "/messages/0/content", "\"plan\"", "\"plot\"", "Record the cassette again"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let later = refusal(replay.decide(model_call(ROOT, chat("plan"))));
    assert_eq!(later.reason, RefusalReason::Poisoned);
    let report = replay.report();
    assert_eq!((report.verdict(), report.refused_later), (Verdict::Refused, 1));
    assert!(replay.is_poisoned());
}

#[test]
fn lenient_answers_a_changed_request_and_reports_it() {
    let mut replay = replay(run(), lenient());
    assert_eq!(answer(replay.decide(model_call(ROOT, chat("plot")))), "call search");
    let report = replay.report();
    assert_eq!(report.divergences.len(), 1);
    assert_eq!(report.unused.len(), 2);
    assert_eq!(report.verdict(), Verdict::Diverged);
}

#[test]
fn live_calls_beyond_the_list_are_counted_and_change_the_verdict() {
    const LISTED: usize = 4096;
    let mut replay = replay(Vec::new(), lenient());
    for call in 0..LISTED + 100 {
        let Decision::Live { ticket, .. } = replay.decide(model_call(ROOT, chat("a"))) else { panic!("not live") };
        assert_eq!(ticket, if call < LISTED { call } else { usize::MAX });
        replay.end_live(ticket, Some(1), None);
    }
    let report = replay.report();
    assert_eq!((report.live.len(), report.live_beyond, report.verdict()), (LISTED, 100, Verdict::Diverged));
    assert!(report.live.iter().all(|live| live.tokens == Some(1)), "a call beyond the list is none of the list");
    let text = report.to_text(Style::Plain);
    assert!(text.contains("4196"), "{text}");
    assert_eq!(report.to_json()["live_beyond"], 100);
}

#[test]
fn an_entry_is_used_once() {
    let entries = || vec![model_entry("", &chat("a"), "1"), model_entry("", &chat("a"), "2")];
    let mut strict = replay(entries(), Options::default());
    assert_eq!(answer(strict.decide(model_call(ROOT, chat("a")))), "1");
    assert_eq!(answer(strict.decide(model_call(ROOT, chat("a")))), "2");
    let refused = refusal(strict.decide(model_call(ROOT, chat("a"))));
    let RefusalReason::NothingLeft { nearest: Some(nearest), .. } = &refused.reason else { panic!("{refused}") };
    assert_eq!(nearest.ordinal, Some(1));
    let mut lenient = replay(entries(), lenient());
    for _ in 0..2 {
        answer(lenient.decide(model_call(ROOT, chat("a"))));
    }
    assert_eq!(live(lenient.decide(model_call(ROOT, chat("a")))), None);
    assert_eq!(lenient.report().live[0].reason, LiveReason::NothingLeft);
}

#[test]
fn the_nearest_entry_is_named_where_nothing_is_left() {
    let mut replay = replay(vec![model_entry("plan", &chat("a"), "1")], Options::default());
    let refused = refusal(replay.decide(model_call(ROOT, chat("b"))));
    let RefusalReason::NothingLeft { nearest: Some(nearest), diff: Some(diff) } = &refused.reason else {
        panic!("{refused}")
    };
    assert_eq!((nearest.lane.as_str(), diff.total), ("plan", 1));
}

#[test]
fn tool_call_ids_and_the_order_of_members_do_not_differ() {
    let request = |id: &str| json!({"messages": [{"role": "tool", "tool_call_id": id, "content": "x"}], "model": "m"});
    let mut replay = replay(vec![model_entry("", &request("call_1"), "ok")], Options::default());
    assert_eq!(answer(replay.decide(model_call(ROOT, request("call_9")))), "ok");
    assert!(replay.report().divergences.is_empty());
}

#[test]
fn normalize_removes_what_changes_in_each_run() {
    let dated = |date: &str| json!({"model": "m", "date": date, "messages": []});
    let normalize = Arc::new(|request: &mut Value| {
        request.as_object_mut().unwrap().remove("date");
    });
    let options = Options { normalize: Some(normalize), ..Options::default() };
    let mut replay = replay(vec![model_entry("", &dated("monday"), "ok")], options);
    assert_eq!(answer(replay.decide(model_call(ROOT, dated("friday")))), "ok");
    assert_eq!(replay.report().verdict(), Verdict::Same);
}

#[test]
fn tolerance_answers_what_is_of_one_shape() {
    let tolerance = Tolerance::default().with("chat*", Rule::Shape);
    let options = || Options { tolerance: tolerance.clone(), ..Options::default() };
    let mut same = replay(run(), options());
    assert_eq!(answer(same.decide(model_call(ROOT, chat("plot")))), "call search");
    let report = same.report();
    assert_eq!((report.tolerated.len(), report.divergences.len()), (1, 0));
    let mut other = replay(run(), options());
    let mut request = chat("plan");
    request["messages"][0]["role"] = json!("system");
    refusal(other.decide(model_call(ROOT, request)));
}

#[test]
fn a_fork_replays_the_prefix_and_alters_the_call_at_its_point() {
    let edits = vec![("messages.0.content".to_owned(), json!("plan, storm"))];
    let mut replay =
        replay(run(), forked(ForkPoint::ModelCall(2), Substitutions { edits, ..Substitutions::default() }));
    assert_eq!(answer(replay.decide(model_call(ROOT, chat("plan")))), "call search");
    answer(replay.decide(tool_call(ROOT, "search", json!({"q": "tides"}), Effects::External)));
    let altered = live(replay.decide(model_call(ROOT, chat("plan, neap, spring")))).unwrap();
    assert_eq!(altered, chat("plan, storm"));
    assert_eq!(live(replay.decide(model_call(ROOT, chat("more")))), None);
    let report = replay.report();
    let reasons: Vec<_> = report.live.iter().map(|live| (live.reason, live.is_altered)).collect();
    assert_eq!(reasons, [(LiveReason::ForkPoint, true), (LiveReason::AfterFork, false)]);
    assert!(report.unused.is_empty() && report.divergences.is_empty(), "{report}");
}

#[test]
fn a_changed_request_before_the_fork_point_is_refused() {
    let mut replay = replay(run(), forked(ForkPoint::ModelCall(2), Substitutions::default()));
    refusal(replay.decide(model_call(ROOT, chat("plot"))));
}

#[test]
fn tool_steps_after_the_fork_point() {
    let entries = || {
        let mut entries = run();
        entries.push(tool_entry("", "send", &json!({"to": "a"}), &json!("sent")));
        entries
    };
    let begin = |allowed: &[&str]| {
        let mut options = forked(ForkPoint::ModelCall(2), Substitutions::default());
        options.allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        let mut replay = replay(entries(), options);
        answer(replay.decide(model_call(ROOT, chat("plan"))));
        answer(replay.decide(tool_call(ROOT, "search", json!({"q": "tides"}), Effects::External)));
        assert_eq!(live(replay.decide(model_call(ROOT, chat("plan, neap, spring")))), None);
        replay
    };
    let send = |to: &str, effects| tool_call(ROOT, "send", json!({"to": to}), effects);
    assert_eq!(answer(begin(&[]).decide(send("a", Effects::External))), "\"sent\"");
    let refused = refusal(begin(&[]).decide(send("b", Effects::External)));
    assert!(matches!(&refused.reason, RefusalReason::External { expected: Some(_), diff: Some(_) }), "{refused}");
    assert!(refused.to_string().contains("allow_external(\"send\")"), "{refused}");
    assert_eq!(live(begin(&["send"]).decide(send("b", Effects::External))), None);
    assert_eq!(live(begin(&[]).decide(send("b", Effects::Idempotent))), None);
    let new = refusal(begin(&[]).decide(tool_call(ROOT, "delete", json!({}), Effects::External)));
    assert!(matches!(&new.reason, RefusalReason::External { expected: None, .. }), "{new}");
}

#[test]
fn a_fork_at_a_tool_step_replaces_its_result_or_its_arguments() {
    let at = || ForkPoint::Name("search".to_owned());
    let output = Substitutions { tool_output: Some(json!(["storm"])), ..Substitutions::default() };
    let mut replaced = replay(run(), forked(at(), output));
    answer(replaced.decide(model_call(ROOT, chat("plan"))));
    let search = || tool_call(ROOT, "search", json!({"q": "tides"}), Effects::External);
    match replaced.decide(search()) {
        Decision::Substitute(value) => assert_eq!(value, json!(["storm"])),
        other => panic!("{other:?}"),
    }
    assert_eq!(live(replaced.decide(model_call(ROOT, chat("plan, storm")))), None);
    let arguments = Substitutions { tool_arguments: Some(json!({"q": "storms"})), ..Substitutions::default() };
    let mut altered = replay(run(), forked(at(), arguments));
    answer(altered.decide(model_call(ROOT, chat("plan"))));
    assert_eq!(live(altered.decide(search())), Some(json!({"q": "storms"})));
}

/// The ordinals of outermost steps are those of the order in which they begin.
#[test]
fn a_step_that_begins_in_another_order_ends_as_the_recorded_one() {
    let entries = || vec![model_entry("branch", &chat("a"), "A"), model_entry("branch#1", &chat("b"), "B")];
    let change = || Substitutions { model: Some("m".to_owned()), ..Substitutions::default() };
    let (first, second) = (Lane::parse("branch"), Lane::parse("branch#1"));
    let mut fork = replay(entries(), forked(ForkPoint::ModelCall(1), change()));
    live(fork.decide(model_call(&first, chat("b"))));
    assert_eq!(fork.end_step(&first), None, "it is the recorded branch#1");
    assert!(matches!(fork.decide(model_call(&second, chat("a"))), Decision::Live { altered: Some(_), .. }));
    assert_eq!((fork.end_step(&second), fork.end()), (None, None));
    // One that has made no call is no recorded one; the end of the replay states what is left.
    let mut fork = replay(entries(), forked(ForkPoint::ModelCall(1), change()));
    assert_eq!(fork.end_step(&first), None);
    assert!(matches!(fork.end().unwrap().reason, RefusalReason::NotApplied { is_executed: false, .. }));
    // A bound step in which the fork point lies.
    let mut fork = replay(
        vec![
            model_entry("branch", &chat("a"), "A"),
            model_entry("branch#1", &chat("b"), "B"),
            model_entry("branch#1", &chat("c"), "C"),
        ],
        forked(ForkPoint::ModelCall(3), change()),
    );
    assert_eq!(answer(fork.decide(model_call(&first, chat("b")))), "B");
    assert!(fork.end_step(&first).is_some());
}

#[test]
fn a_step_that_is_executed_is_found_by_the_recorded_lane() {
    let mut tool = tool_entry("branch#1", "look", &json!({}), &json!("seen"));
    tool.step = Some(0);
    let entries = [model_entry("branch", &chat("a"), "A"), model_entry("branch#1", &chat("b"), "B"), tool];
    let change = || Substitutions { tool_output: Some(json!("x")), ..Substitutions::default() };
    let (first, second) = (Lane::parse("branch"), Lane::parse("branch#1"));
    let fork = || replay(entries.to_vec(), forked(ForkPoint::Name("look".to_owned()), change()));
    let mut bound = fork();
    assert_eq!(answer(bound.decide(model_call(&first, chat("b")))), "B");
    assert_eq!(answer(bound.decide(model_call(&second, chat("a")))), "A");
    assert_eq!(bound.note_executed(&second.child("look", 0)), None, "that is the recorded branch");
    let refused = bound.note_executed(&first.child("look", 0)).unwrap();
    assert!(matches!(refused.reason, RefusalReason::NotApplied { is_executed: true, .. }), "{refused}");
    // Before their calls the branches may be either: the end states it.
    let mut unbound = fork();
    assert_eq!(unbound.note_executed(&first.child("look", 0)), None);
    let refused = unbound.end().unwrap();
    assert!(matches!(refused.reason, RefusalReason::NotApplied { is_executed: true, .. }), "{refused}");
}

#[test]
fn a_fork_point_that_is_not_there_is_an_error() {
    let error = Replay::new(support::cassette(run()), forked(ForkPoint::ModelCall(9), Substitutions::default()));
    assert!(matches!(error, Err(ReplayError::NoForkPoint { .. })));
}

#[test]
fn a_marked_place_is_a_fork_point() {
    let mut entries = run();
    let mut mark = retrace_replay::cassette::Entry::new(
        retrace_protocol::SpanType::ForkPoint,
        "after retrieval",
        retrace_protocol::Json::null(),
    );
    mark.outcome = Outcome::Mark;
    entries.insert(2, mark);
    let mut replay = replay(entries, forked(ForkPoint::Name("after retrieval".to_owned()), Substitutions::default()));
    answer(replay.decide(model_call(ROOT, chat("plan"))));
    assert!(!replay.has_forked());
    replay.mark(ROOT, "after retrieval");
    assert!(replay.has_forked());
    assert_eq!(live(replay.decide(model_call(ROOT, chat("plan, neap, spring")))), None);
}

#[test]
fn what_a_run_does_not_hold_is_not_replayed() {
    let entries = || {
        let mut entry = model_entry("", &chat("a"), "");
        entry.outcome = Outcome::NotReplayable("the output was truncated".to_owned());
        vec![entry]
    };
    let refused = refusal(replay(entries(), Options::default()).decide(model_call(ROOT, chat("a"))));
    assert!(refused.to_string().contains("the output was truncated"), "{refused}");
    assert_eq!(live(replay(entries(), lenient()).decide(model_call(ROOT, chat("a")))), None);
}

#[test]
fn what_happened_inside_of_an_answered_step_is_not_unused() {
    let mut entries = run();
    entries.insert(2, model_entry("search", &chat("inner"), "x"));
    let mut replay = replay(entries, Options::default());
    answer(replay.decide(model_call(ROOT, chat("plan"))));
    answer(replay.decide(tool_call(ROOT, "search", json!({"q": "tides"}), Effects::External)));
    answer(replay.decide(model_call(ROOT, chat("plan, neap, spring"))));
    assert_eq!(replay.report().unused, []);
}

#[test]
fn concurrent_equal_calls_are_reported() {
    let mut second = model_entry("", &chat("a"), "2");
    second.concurrent = true;
    let mut replay = replay(vec![model_entry("", &chat("a"), "1"), second], Options::default());
    answer(replay.decide(model_call(ROOT, chat("a"))));
    answer(replay.decide(model_call(ROOT, chat("a"))));
    assert_eq!(replay.report().ambiguities.len(), 1);
}

#[test]
fn reports_are_text_and_json() {
    let mut replay = replay(run(), lenient());
    answer(replay.decide(model_call(ROOT, chat("plot"))));
    let ticket = match replay.decide(tool_call(ROOT, "other", json!({}), Effects::None)) {
        Decision::Live { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    };
    replay.end_live(ticket, Some(12), Some(0.5));
    let report = replay.report();
    let plain = report.to_text(Style::Plain);
    for part in
        ["differs from the recording", "first divergence", "/messages/0/content", "12 tokens, $0.50", "unused: entry 1"]
    {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    assert!(!plain.contains('\u{1b}') && report.to_text(Style::Ansi).contains('\u{1b}'));
    let json = report.to_json();
    assert_eq!(json.pointer("/verdict"), Some(&json!("diverged")));
    assert_eq!(json.pointer("/divergences/0/diff/differences/0/pointer"), Some(&json!("/messages/0/content")));
}
