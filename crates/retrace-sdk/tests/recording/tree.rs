//! Any nesting of runs, steps, agents, threads, cancellations and panics gives one tree for each run.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use retrace::{InRun as _, SpanType};

use crate::pause;
use crate::support::{record_with, spans};

#[derive(Clone, Copy, Debug)]
enum Way {
    Guard,
    Closure,
    Future,
    Open,
    Run,
    Panics,
    Cancelled,
    // Without a span of their own.
    Thread,
    Task,
    Agent,
}

#[derive(Clone, Debug)]
struct Plan {
    way: Way,
    inside: Vec<Plan>,
}

/// Expected facts of a span: the name of its parent, its agent, and whether it failed.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    parent: Option<String>,
    agent: Option<String>,
    has_failed: bool,
}

#[derive(Default)]
struct World {
    expected: Mutex<BTreeMap<String, Expected>>,
}

/// Where a plan is carried out.
#[derive(Clone, Default)]
struct Place {
    parent: Option<String>,
    agent: Option<String>,
}

/// Polls a future until it is done.
fn spin<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

impl World {
    fn name(&self, way: Way, place: &Place) -> (String, Place) {
        let mut expected = self.expected.lock().unwrap();
        let name = format!("{way:?}-{}", expected.len());
        let has_failed = matches!(way, Way::Panics | Way::Cancelled);
        let (parent, agent) = (place.parent.clone(), place.agent.clone());
        expected.insert(name.clone(), Expected { parent, agent: agent.clone(), has_failed });
        (name.clone(), Place { parent: Some(name), agent })
    }

    fn all(&self, plans: &[Plan], place: &Place) {
        plans.iter().for_each(|plan| self.carry_out(plan, place));
    }

    fn carry_out(&self, plan: &Plan, place: &Place) {
        let inside = |place: &Place| self.all(&plan.inside, place);
        match plan.way {
            Way::Thread => {
                let job = retrace::bind(|| inside(place));
                std::thread::scope(|scope| scope.spawn(job).join().unwrap());
            }
            Way::Task => {
                let task = async {
                    pause().await;
                    inside(place);
                };
                let task = task.in_run();
                std::thread::scope(|scope| scope.spawn(|| spin(task)).join().unwrap());
            }
            Way::Agent => {
                let agent = format!("agent-{}", self.expected.lock().unwrap().len());
                let place = Place { agent: Some(agent.clone()), ..place.clone() };
                spin(retrace::agent(agent).scope(async {
                    pause().await;
                    inside(&place);
                }));
            }
            way => {
                let (name, below) = self.name(way, place);
                let step = retrace::step(name.clone(), SpanType::Action).input(&name);
                match way {
                    Way::Guard => {
                        let _step = step.start();
                        inside(&below);
                    }
                    Way::Open => {
                        let step = step.open();
                        let job = || {
                            let _current = step.context().clone().attach();
                            inside(&below);
                        };
                        std::thread::scope(|scope| scope.spawn(job).join().unwrap());
                    }
                    Way::Run => retrace::run(name).in_scope(|_| inside(&below)),
                    Way::Future => spin(step.scope(async {
                        pause().await;
                        inside(&below);
                        pause().await;
                    })),
                    Way::Panics => {
                        let panics = || {
                            step.in_scope(|_| {
                                inside(&below);
                                std::panic::resume_unwind(Box::new("as intended"))
                            })
                        };
                        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
                    }
                    Way::Cancelled => {
                        let future = step.scope(async {
                            inside(&below);
                            std::future::pending::<()>().await;
                        });
                        assert!(pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                    }
                    _ => step.in_scope(|_| inside(&below)),
                }
            }
        }
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let way = prop::sample::select(vec![
        Way::Guard,
        Way::Closure,
        Way::Future,
        Way::Open,
        Way::Run,
        Way::Panics,
        Way::Cancelled,
        Way::Thread,
        Way::Task,
        Way::Agent,
    ]);
    let leaf = way.clone().prop_map(|way| Plan { way, inside: Vec::new() });
    let plan = leaf.prop_recursive(5, 40, 4, move |inner| {
        (way.clone(), prop::collection::vec(inner, 0..4)).prop_map(|(way, inside)| Plan { way, inside })
    });
    prop::collection::vec(plan, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn each_step_is_under_its_parent_and_ends_once(plans in plans(), is_live: bool) {
        let world = World::default();
        let transport = if is_live { "ws" } else { "http" };
        let recording = record_with(|configuration| configuration.with_transport(transport));
        world.all(&plans, &Place::default());
        prop_assert!(!retrace::current().is_recorded());
        let expected = world.expected.into_inner().unwrap();
        let mut seen = BTreeMap::new();
        let runs = recording.runs();
        for run in &runs {
            let names: HashMap<_, _> = spans(run).iter().map(|span| (&span.id, &span.name)).collect();
            prop_assert_eq!(run.span_count, Some(names.len() as u64));
            prop_assert!(run.ended_at.is_some() && run.lossy.is_none());
            prop_assert_eq!(spans(run).iter().filter(|span| span.parent_id.is_none()).count(), 1);
            for span in spans(run) {
                prop_assert!(span.ended_at.is_some());
                let of = Expected {
                    parent: span.parent_id.as_ref().map(|parent| names[parent].clone()),
                    agent: span.agent_id.as_deref().map(str::to_owned),
                    has_failed: span.error.is_some(),
                };
                prop_assert!(seen.insert(span.name.clone(), of).is_none(), "{} twice", span.name);
            }
        }
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!(runs.len(), expected.values().filter(|span| span.parent.is_none()).count());
    }
}
