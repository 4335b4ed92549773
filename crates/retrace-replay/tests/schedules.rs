//! Concurrent branches: the same matches under every schedule.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use retrace_replay::LaneNode;
use retrace_replay::replay::{Mode, Options, Replay};
use retrace_replay::report::Verdict;
use support::{answer, cassette, chat, model_call, model_entry};

/// Numbers of a schedule (xorshift64*).
struct Rng(u64);

impl Rng {
    /// Returns the next number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or_default() % bound
    }
}

/// A branch: the steps that it enters, and its calls, in order.
#[derive(Clone)]
struct Branch {
    steps: &'static [&'static str],
    calls: Vec<String>,
}

/// Branches of one step name, of a nested one, and without a step; as `join_all`, `spawn` and `select` make them.
fn branches() -> Vec<Branch> {
    let calls = |branch: usize| (0..2).map(|call| format!("branch {branch}, call {call}")).collect();
    let steps: [&[&str]; 7] =
        [&["worker"], &["worker"], &["worker"], &["worker", "search"], &["worker", "search"], &["planner"], &[]];
    steps.into_iter().enumerate().map(|(at, steps)| Branch { steps, calls: calls(at) }).collect()
}

/// A branch that goes on: its lane once it has begun, and its calls that are left.
type Left<'a> = (Option<Arc<LaneNode>>, &'a Branch, VecDeque<&'a String>);

/// Runs the branches in one order of their calls, and returns what each call was answered, by its prompt.
fn run(
    branches: &[Branch],
    rng: &mut Rng,
    mut call: impl FnMut(&Arc<LaneNode>, &str) -> String,
) -> BTreeMap<String, String> {
    let root = LaneNode::root();
    let mut left: Vec<Left<'_>> = branches.iter().map(|branch| (None, branch, branch.calls.iter().collect())).collect();
    let mut answers = BTreeMap::new();
    while !left.is_empty() {
        let at = rng.below(left.len());
        let (lane, branch, calls) = &mut left[at];
        // A branch enters its steps when it first runs, so ordinals are those of the schedule.
        let lane =
            lane.get_or_insert_with(|| branch.steps.iter().fold(Arc::clone(&root), |lane, step| lane.enter(step)));
        match calls.pop_front() {
            Some(prompt) => {
                answers.insert(prompt.clone(), call(lane, prompt));
            }
            None => {
                left.swap_remove(at);
            }
        }
    }
    answers
}

#[test]
fn p3_ten_thousand_schedules_have_the_same_matches() {
    let branches = branches();
    let mut recorded = Vec::new();
    let expected = run(&branches, &mut Rng(7), |lane, prompt| {
        let answer = format!("answer {}", recorded.len());
        recorded.push(model_entry(&lane.lane().to_string(), &chat(prompt), &answer));
        answer
    });
    let file = support::file(recorded);
    for schedule in 1..=10_000u64 {
        let cassette =
            retrace_replay::cassette::Cassette::open("run.jsonl", std::io::Cursor::new(file.clone())).unwrap();
        let mut replay = Replay::new(cassette, Options::default()).unwrap();
        let mut rng = Rng(schedule.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let answers =
            run(&branches, &mut rng, |lane, prompt| answer(replay.decide(model_call(lane.lane(), chat(prompt)))));
        assert_eq!(answers, expected, "schedule {schedule}");
        assert_eq!(replay.report().verdict(), Verdict::Same, "schedule {schedule}");
    }
}

#[test]
fn a_branch_that_is_dropped_takes_nothing_from_the_others() {
    let branches = branches();
    let mut recorded = Vec::new();
    run(&branches, &mut Rng(7), |lane, prompt| {
        recorded.push(model_entry(&lane.lane().to_string(), &chat(prompt), prompt));
        String::new()
    });
    for dropped in 0..branches.len() {
        let mut fewer = branches.clone();
        fewer.remove(dropped);
        let mut replay = Replay::new(cassette(recorded.clone()), Options::default()).unwrap();
        let answers =
            run(&fewer, &mut Rng(11), |lane, prompt| answer(replay.decide(model_call(lane.lane(), chat(prompt)))));
        assert!(answers.iter().all(|(prompt, answer)| prompt == answer));
        assert_eq!(replay.report().unused.len(), 2, "the calls of the branch that was dropped");
    }
}

#[test]
fn a_branch_takes_nothing_from_one_that_goes_on() {
    let recorded = vec![model_entry("branch", &chat("a"), "1"), model_entry("branch", &chat("b"), "2")];
    let options = Options { mode: Mode::Lenient, ..Options::default() };
    let mut replay = Replay::new(cassette(recorded), options).unwrap();
    let root = LaneNode::root();
    let (first, second) = (root.enter("branch"), root.enter("branch"));
    assert_eq!(answer(replay.decide(model_call(first.lane(), chat("a")))), "1");
    support::live(replay.decide(model_call(second.lane(), chat("b"))));
    assert_eq!(answer(replay.decide(model_call(first.lane(), chat("b")))), "2");
}
