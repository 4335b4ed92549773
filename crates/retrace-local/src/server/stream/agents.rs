//! Connections of agents that execute runs again: those that authenticated with `resumable: true`. In memory only;
//! after a restart no agent is connected.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use retrace_protocol::{ServerFrame, Trace};
use tokio::sync::mpsc;

/// Largest number of commands in the queue of one connection, each with a recording of 8 MiB at most.
const MAX_COMMANDS: usize = 4;
/// Largest number of run names that are stored for one connection.
const MAX_NAMES: usize = 1_000;
/// Largest number of executions that are stored for one connection; older ones are removed, and end with their lease.
const MAX_EXECUTIONS: usize = 1_000;

/// All connections of agents, oldest first.
#[derive(Debug, Default)]
pub(in crate::server) struct Agents {
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    open: Vec<Connection>,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    commands: mpsc::Sender<ServerFrame>,
    /// True if the agent claims executions, and has their ids in the metadata of its runs (`replay_generation`).
    has_leases: bool,
    /// Names of the runs that the connection has recorded, each with its project.
    runs: HashSet<(String, Option<String>)>,
    /// Executions that were sent over the connection, oldest first.
    executions: Vec<String>,
}

/// The connection that was chosen for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct Chosen {
    number: u64,
    pub(in crate::server) has_leases: bool,
}

/// Reason why a command cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum NoAgent {
    #[error(
        "no agent is connected that executes runs again: start one with RETRACE_ALLOW_REMOTE_REPLAY=true and a resumable function, \
         over a WebSocket"
    )]
    None,
    #[error("the agent has gone away: wait until it is connected again")]
    Gone,
    #[error("the agent has {MAX_COMMANDS} commands waiting: wait until it has executed some of them")]
    Busy,
}

/// Registration of one connection in [`Agents`], removed when this is dropped.
#[derive(Debug)]
pub(super) struct Agent {
    agents: Arc<Agents>,
    number: u64,
}

impl Agents {
    /// Adds a connection, and returns the commands to send over it.
    pub(super) fn join(self: &Arc<Self>, has_leases: bool) -> (Agent, mpsc::Receiver<ServerFrame>) {
        let (commands, waiting) = mpsc::channel(MAX_COMMANDS);
        let mut connections = self.lock();
        let number = connections.next;
        connections.next += 1;
        let (runs, executions) = (HashSet::new(), Vec::new());
        connections.open.push(Connection { number, commands, has_leases, runs, executions });
        drop(connections);
        (Agent { agents: Arc::clone(self), number }, waiting)
    }

    /// Chooses the connection for a run of this name: the newest that has recorded such a run of the same project, else
    /// such a run of any project, else the newest of all. The protocol does not define which functions a client has.
    pub(in crate::server) fn choose(&self, name: &str, project: Option<&str>) -> Result<Chosen, NoAgent> {
        let connections = self.lock();
        let rank = |connection: &&Connection| {
            let of_name = |(recorded, _): &&(String, Option<String>)| recorded == name;
            let mut projects = connection.runs.iter().filter(of_name).map(|(_, of)| of.as_deref() == project);
            let (has_name, has_both) =
                projects.by_ref().fold((false, false), |(_, both), is_same| (true, both || is_same));
            (has_both, has_name, connection.number)
        };
        let chosen = connections.open.iter().filter(|connection| !connection.commands.is_closed()).max_by_key(rank);
        let chosen = chosen.ok_or(NoAgent::None)?;
        Ok(Chosen { number: chosen.number, has_leases: chosen.has_leases })
    }

    /// Sends a command over the chosen connection. `execution` is stored until the connection ends.
    pub(in crate::server) fn send(
        &self,
        chosen: Chosen,
        command: ServerFrame,
        execution: Option<String>,
    ) -> Result<(), NoAgent> {
        let mut connections = self.lock();
        let connection = connections.open.iter_mut().find(|connection| connection.number == chosen.number);
        let connection = connection.ok_or(NoAgent::Gone)?;
        connection.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NoAgent::Busy,
            mpsc::error::TrySendError::Closed(_) => NoAgent::Gone,
        })?;
        if connection.executions.len() >= MAX_EXECUTIONS {
            connection.executions.remove(0);
        }
        connection.executions.extend(execution);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// Records that the connection has begun this run.
    pub(super) fn records(&self, run: &Trace) {
        let Some(name) = &run.name else { return };
        let mut connections = self.agents.lock();
        let Some(connection) = connections.open.iter_mut().find(|connection| connection.number == self.number) else {
            return;
        };
        if connection.runs.len() < MAX_NAMES {
            connection.runs.insert((name.clone(), run.project_id.clone()));
        }
    }

    /// Removes the connection, and returns the executions that were sent over it.
    pub(super) fn leave(self) -> Vec<String> {
        self.remove().map(|connection| connection.executions).unwrap_or_default()
    }

    fn remove(&self) -> Option<Connection> {
        let mut connections = self.agents.lock();
        let at = connections.open.iter().position(|connection| connection.number == self.number)?;
        Some(connections.open.remove(at))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn run(name: &str, project: Option<&str>) -> Trace {
        Trace { name: Some(name.into()), project_id: project.map(Into::into), ..Trace::default() }
    }

    fn command() -> ServerFrame {
        ServerFrame::Ping { other: Map::new() }
    }

    #[test]
    fn the_newest_that_has_recorded_such_a_run_is_chosen() {
        let agents = Arc::new(Agents::default());
        assert_eq!(agents.choose("a", None), Err(NoAgent::None));
        let (first, _kept) = agents.join(true);
        let (second, _also) = agents.join(false);
        let (third, _too) = agents.join(true);
        let number = |name, project| agents.choose(name, project).unwrap().number;
        assert_eq!(number("a", None), third.number, "the newest of all");
        second.records(&run("a", Some("p")));
        assert_eq!(number("a", None), second.number);
        assert!(!agents.choose("a", None).unwrap().has_leases);
        first.records(&run("a", Some("p")));
        first.records(&run("a", Some("q")));
        assert_eq!(number("a", Some("p")), second.number);
        assert_eq!(number("a", Some("q")), first.number, "the project goes before the age");
        drop(second);
        assert_eq!(number("a", None), first.number);
    }

    #[test]
    fn commands_are_bounded_and_end_with_the_connection() {
        let agents = Arc::new(Agents::default());
        let (agent, mut commands) = agents.join(true);
        let chosen = agents.choose("a", None).unwrap();
        for number in 0..MAX_COMMANDS {
            agents.send(chosen, command(), Some(number.to_string())).unwrap();
        }
        assert_eq!(agents.send(chosen, command(), Some("lost".into())), Err(NoAgent::Busy));
        commands.try_recv().unwrap();
        agents.send(chosen, command(), None).unwrap();
        assert_eq!(agent.leave().len(), MAX_COMMANDS, "what could not be sent is not remembered");
        assert_eq!(agents.send(chosen, command(), None), Err(NoAgent::Gone));
    }

    #[test]
    fn what_is_remembered_of_a_connection_is_bounded() {
        let agents = Arc::new(Agents::default());
        let (agent, mut commands) = agents.join(true);
        let chosen = agents.choose("", None).unwrap();
        for number in 0..=MAX_EXECUTIONS {
            agent.records(&run(&number.to_string(), None));
            agents.send(chosen, command(), Some(number.to_string())).unwrap();
            commands.try_recv().unwrap();
        }
        assert_eq!(agents.lock().open[0].runs.len(), MAX_NAMES);
        let executions = agent.leave();
        assert_eq!((executions.len(), executions[0].as_str()), (MAX_EXECUTIONS, "1"));
    }

    #[test]
    fn a_connection_that_takes_no_commands_any_more_is_not_chosen() {
        let agents = Arc::new(Agents::default());
        let (_agent, commands) = agents.join(true);
        drop(commands);
        assert_eq!(agents.choose("a", None), Err(NoAgent::None));
    }
}
