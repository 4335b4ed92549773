//! The consumer: one thread that polls, adds what it reads to the pipelines, and commits what is settled.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use retrace_otlp::OtlpRequest;
use tokio::runtime::Handle;

use super::client_config;
use super::context::Context;
use super::dead_letter::{DeadLetters, Defect};
use super::error_log::ErrorLog;
use super::reader::Reader;
use crate::config::Kafka;
use crate::metrics::Metrics;
use crate::offsets::{Partition, Position};
use crate::tenants::{Refused, Routed, TenantPipelines};
use crate::ticket::Ledger;

/// Longest wait for a message; also the interval at which refused messages are tried again.
const POLL: Duration = Duration::from_millis(50);
/// Longest wait for the last commit at a stop: a broker that is gone does not answer.
const LAST: Duration = Duration::from_secs(10);
/// Interval of log lines about back-pressure.
const QUIET: Duration = Duration::from_secs(10);

/// Commands to the thread, in the order in which they are given.
const RUN: u8 = 0;
const PAUSE: u8 = 1;
const STOP: u8 = 2;

/// A running consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    command: Arc<AtomicU8>,
    thread: JoinHandle<()>,
}

/// Error of the start of a consumer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsumerError {
    #[error("{}", client_config::describe(.0))]
    Kafka(#[from] KafkaError),
    #[error("no thread can be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Consumer {
    /// Joins the group and starts to read. Requires a Tokio runtime, on which pipelines run.
    pub(crate) fn start(
        kafka: Kafka,
        tenants: Arc<TenantPipelines>,
        metrics: Arc<Metrics>,
        ledger: Ledger,
    ) -> Result<Self, ConsumerError> {
        let dead_letters = DeadLetters::new(&kafka, Arc::clone(&metrics))?;
        let context = Context {
            ledger: ledger.clone(),
            tenants: Arc::clone(&tenants),
            metrics: Arc::clone(&metrics),
            errors: ErrorLog::default(),
        };
        let consumer = Arc::new(BaseConsumer::from_config_and_context(&client_config::consumer(&kafka), context)?);
        let topics: Vec<&str> = kafka.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        let command = Arc::new(AtomicU8::new(RUN));
        let reader = Reader { encoding: kafka.encoding, signal: kafka.signal };
        let loop_ = Loop {
            command: Arc::clone(&command),
            kafka,
            consumer,
            dead_letters,
            reader,
            tenants,
            metrics,
            ledger,
            waiting: VecDeque::new(),
            full: HashSet::new(),
            is_paused: false,
            complained: None,
        };
        let runtime = Handle::current();
        let thread = Builder::new().name("retrace-kafka".into()).spawn(move || {
            let _runtime = runtime.enter();
            loop_.run();
        })?;
        Ok(Self { command, thread })
    }

    /// Reads no more messages, and still commits.
    pub(crate) fn pause(&self) {
        self.command.store(PAUSE, Ordering::Release);
    }

    /// Commits what is settled, and leaves the group.
    pub(crate) async fn stop(self) {
        self.command.store(STOP, Ordering::Release);
        let ended = tokio::task::spawn_blocking(move || self.thread.join());
        if tokio::time::timeout(LAST, ended).await.is_err() {
            tracing::warn!("the consumer has not left its group in time");
        }
    }
}

/// A message that found no room.
struct Waiting {
    parts: BTreeMap<String, OtlpRequest>,
    position: Position,
}

struct Loop {
    command: Arc<AtomicU8>,
    kafka: Kafka,
    consumer: Arc<BaseConsumer<Context>>,
    dead_letters: DeadLetters,
    reader: Reader,
    tenants: Arc<TenantPipelines>,
    metrics: Arc<Metrics>,
    ledger: Ledger,
    waiting: VecDeque<Waiting>,
    /// Partitions that are paused because too many of their messages are not settled.
    full: HashSet<Partition>,
    /// True if all partitions are paused because the buffer is full, or because the gateway stops.
    is_paused: bool,
    complained: Option<Instant>,
}

impl Loop {
    fn run(mut self) {
        let mut commit_at = Instant::now() + self.kafka.commit_interval;
        let consumer = Arc::clone(&self.consumer);
        loop {
            match self.command.load(Ordering::Acquire) {
                STOP => break,
                PAUSE => {
                    // Another consumer reads them again.
                    self.waiting.clear();
                    self.pause_all();
                }
                _ => self.try_again(),
            }
            match consumer.poll(POLL) {
                Some(Ok(message)) => self.take(&message),
                Some(Err(error)) => consumer.context().errors.warn(&error, &"poll"),
                None => {}
            }
            self.resume_settled();
            if Instant::now() >= commit_at {
                self.commit();
                commit_at = Instant::now() + self.kafka.commit_interval;
            }
        }
        self.dead_letters.flush();
        self.commit();
        // Dropping the consumer leaves the group.
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        if self.command.load(Ordering::Acquire) != RUN {
            return;
        }
        self.metrics.kafka_messages.add(1);
        let partition = Partition { topic: message.topic().to_owned(), number: message.partition() };
        let (request, defect) = match self.reader.read(message.payload()) {
            Ok(request) => {
                let malformed = request.malformed.saturating_add(request.unreadable.count);
                self.metrics.malformed_records.add(malformed);
                let reason =
                    request.unreadable.reason.clone().unwrap_or_else(|| "malformed trace ids or span ids".to_owned());
                let reason = || format!("{malformed} records cannot be read: {reason}");
                (request, (malformed > 0).then(|| Defect { kind: "records cannot be read", reason: reason() }))
            }
            Err(reason) => (OtlpRequest::default(), Some(Defect { kind: "the message cannot be read", reason })),
        };
        let spans = request.spans.len() as u64;
        let Routed { parts, unknown } = self.tenants.route(request, self.tenants.of_topic(message.topic()));
        self.metrics.unknown_tenant_records.add(unknown);
        let defect = defect.or_else(|| {
            let reason = || format!("{unknown} records are of an unknown tenant");
            (unknown > 0).then(|| Defect { kind: "records are of an unknown tenant", reason: reason() })
        });
        let traces: Vec<[u8; 16]> = parts.values().flat_map(OtlpRequest::trace_ids).collect();
        let (more, has_traces) = (usize::from(defect.is_some()), !traces.is_empty());
        let position = self.ledger.lock().read(&partition, message.offset(), traces, more);
        if let Some(defect) = defect {
            self.dead_letters.send(message, &defect, self.ledger.ticket(&position));
        }
        self.metrics.kafka_spans.add(spans);
        if has_traces {
            self.add(Waiting { parts, position }, false);
        }
        if self.ledger.lock().uncommitted(&partition) >= self.kafka.pause_messages
            && self.full.insert(partition.clone())
        {
            self.pause(&[partition]);
        }
    }

    /// Adds a message to the pipelines; one that finds no room waits, and so do all that follow.
    fn add(&mut self, message: Waiting, is_first: bool) -> bool {
        let Waiting { parts, position } = message;
        let result = if self.waiting.is_empty() || is_first {
            let (ledger, of) = (self.ledger.clone(), position.clone());
            self.tenants.add(parts, || Some(ledger.ticket(&of)))
        } else {
            Err((Refused::Full, parts))
        };
        let Err((refused, parts)) = result else { return true };
        let now = Instant::now();
        if self.complained.is_none_or(|at| now.duration_since(at) >= QUIET) {
            self.complained = Some(now);
            tracing::warn!(reason = refused.reason(), "consumption is paused");
        }
        let message = Waiting { parts, position };
        if is_first {
            self.waiting.push_front(message);
        } else {
            self.waiting.push_back(message);
        }
        // A message that comes while all are paused is of a partition that was assigned meanwhile.
        self.is_paused &= is_first;
        self.pause_all();
        false
    }

    /// Adds the messages that wait, as far as there is room, and resumes when there are none.
    fn try_again(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            let is_current = self.ledger.lock().is_current(&message.position);
            if is_current && !self.add(message, true) {
                return;
            }
        }
        if std::mem::take(&mut self.is_paused) {
            let assigned = self.consumer.assignment();
            let assigned = assigned.map(|list| elements(&list)).unwrap_or_default();
            let resumed: Vec<Partition> = assigned.into_iter().filter(|each| !self.full.contains(each)).collect();
            self.resume(&resumed);
        }
    }

    fn pause_all(&mut self) {
        if !std::mem::replace(&mut self.is_paused, true) {
            self.metrics.kafka_pauses.add(1);
            let assigned = self.consumer.assignment().map(|list| elements(&list)).unwrap_or_default();
            self.pause(&assigned);
        }
    }

    /// Resumes partitions of which enough messages are settled.
    fn resume_settled(&mut self) {
        if self.full.is_empty() {
            return;
        }
        let ledger = self.ledger.clone();
        let half = self.kafka.pause_messages / 2;
        let settled: Vec<Partition> = {
            let offsets = ledger.lock();
            self.full.iter().filter(|partition| offsets.uncommitted(partition) <= half).cloned().collect()
        };
        self.full.retain(|partition| !settled.contains(partition));
        if !self.is_paused && !settled.is_empty() {
            self.resume(&settled);
        }
    }

    fn pause(&self, partitions: &[Partition]) {
        report("pause", self.consumer.pause(&list(partitions)));
    }

    fn resume(&self, partitions: &[Partition]) {
        report("resume", self.consumer.resume(&list(partitions)));
    }

    fn commit(&self) {
        let context = self.consumer.context();
        if let Some(list) = context.to_commit(None) {
            context.commit(&self.consumer, &list);
        }
    }
}

/// A partition that is not assigned any more is no error.
fn report(what: &str, result: KafkaResult<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, what, "Kafka");
    }
}

fn list(partitions: &[Partition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.number);
    }
    list
}

fn elements(list: &TopicPartitionList) -> Vec<Partition> {
    let elements = list.elements();
    elements.iter().map(|each| Partition { topic: each.topic().to_owned(), number: each.partition() }).collect()
}
