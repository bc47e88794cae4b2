//! `mqbench topics`: creates many topics and deletes them again, and tells how fast and at which cost.
//!
//! Each connection is a thread with one request at a time, as a tool would ask: an answer means that the topic is
//! durable (and registered), so one connection shows the latency, many show what the broker gathers into one write.
//! Deleting asks the broker and then, when its address was given, the name server, as mqadmin does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use client::{ClientError, Connection, NewTopic};
use proto::code::request;
use serde_json::{Value, json};

use super::LoadError;
use super::frames::{self, TOPICS_MAX};
use super::process::{self, Memory};
use super::report::{Latency, ratio};

/// What to create and delete.
#[derive(Clone, Debug)]
pub struct Churn {
    /// The broker.
    pub addr: SocketAddr,
    /// The name server at which deleted topics are deleted, too.
    pub namesrv: Option<SocketAddr>,
    /// Topics are called [`frames::numbered`] after this.
    pub topic: String,
    /// Number of the first topic.
    pub first: u64,
    /// How many.
    pub topics: u64,
    /// Queues of each.
    pub queues: u32,
    /// Connections, 1 to 1000.
    pub connections: usize,
    /// Create them.
    pub create: bool,
    /// Delete them, after creating if that is wanted, too.
    pub delete: bool,
    /// The broker's process, to measure its cost.
    pub broker_pid: Option<u32>,
}

/// One of the two phases.
pub struct Phase {
    /// "create" or "delete".
    pub name: &'static str,
    /// How many topics.
    pub topics: u64,
    /// How long all of them took.
    pub seconds: f64,
    /// From request to answer; a deletion at two servers counts both.
    pub latency: Latency,
    /// The broker's CPU time.
    pub broker_cpu_seconds: Option<f64>,
    /// Bytes that the broker's process had written.
    pub broker_written_bytes: Option<u64>,
    /// The broker's memory at the end.
    pub broker_memory: Option<Memory>,
}

/// What the phases found.
pub struct ChurnReport {
    /// In the order in which they ran.
    pub phases: Vec<Phase>,
}

/// Runs the phases. Errors: the broker cannot be reached, or refuses a topic.
pub fn run(churn: &Churn) -> Result<ChurnReport, LoadError> {
    frames::check_name("topic", &churn.topic)?;
    frames::check_range("connections", "1..=1000", churn.connections as u64, 1, 1000)?;
    let numbers = "below 1000000 together";
    let end = churn.first.saturating_add(churn.topics);
    frames::check_range("first and topics", numbers, end, 1, TOPICS_MAX)?;
    let wanted = [("create", churn.create), ("delete", churn.delete)];
    let names = wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name);
    let phases = names.map(|name| phase(churn, name)).collect::<Result<_, _>>()?;
    Ok(ChurnReport { phases })
}

fn phase(churn: &Churn, name: &'static str) -> Result<Phase, LoadError> {
    let cpu = || churn.broker_pid.map(process::cpu_seconds).transpose();
    let written = || churn.broker_pid.and_then(process::written_bytes);
    let (cpu_before, written_before) = (cpu()?, written());
    let next = AtomicU64::new(churn.first);
    let latency = Mutex::new(Latency::new());
    let started = Instant::now();
    std::thread::scope(|scope| {
        let work = || worker(churn, name == "create", &next, &latency);
        let workers: Vec<_> = (0..churn.connections).map(|_| scope.spawn(work)).collect();
        let outcomes = workers.into_iter().map(|worker| worker.join().expect("no panic inside"));
        outcomes.collect::<Result<Vec<()>, LoadError>>()
    })?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Phase {
        name,
        topics: churn.topics,
        seconds,
        latency: latency.into_inner().expect("no panic inside"),
        broker_cpu_seconds: cpu()?.zip(cpu_before).map(|(after, before)| after - before),
        broker_written_bytes: written().zip(written_before).map(|(after, before)| after - before),
        broker_memory: churn.broker_pid.map(process::memory).transpose()?,
    })
}

/// Takes the next number until none is left.
fn worker(
    churn: &Churn,
    create: bool,
    next: &AtomicU64,
    latency: &Mutex<Latency>,
) -> Result<(), LoadError> {
    let queues = i32::try_from(churn.queues).unwrap_or(i32::MAX);
    let mut broker = Connection::connect(churn.addr)?;
    let mut namesrv = churn.namesrv.map(Connection::connect).transpose()?;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= churn.first + churn.topics {
            return Ok(());
        }
        let topic = frames::numbered(&churn.topic, number);
        let since = Instant::now();
        if create {
            broker.create_topic(&NewTopic::new(&topic, queues))?;
        } else {
            broker.delete_topic(&topic)?;
            if let Some(namesrv) = &mut namesrv {
                forget(namesrv, &topic)?;
            }
        }
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        latency.lock().expect("no panic inside").record(nanos);
    }
}

/// DELETE_TOPIC_IN_NAMESRV (216).
fn forget(namesrv: &mut Connection, topic: &str) -> Result<(), ClientError> {
    let ext = [("topic", topic.into())];
    namesrv.call(request::DELETE_TOPIC_IN_NAMESRV, &ext, &[])?.success().map(drop)
}

impl ChurnReport {
    /// One JSON object with one member per phase.
    pub fn to_json(&self, label: &str) -> Value {
        let mut json = json!({ "label": label });
        for phase in &self.phases {
            json[phase.name] = json!({
                "topics": phase.topics,
                "seconds": phase.seconds,
                "topics_per_second": ratio(phase.topics as f64, phase.seconds),
                "p50_us": phase.latency.micros_at(0.5),
                "p99_us": phase.latency.micros_at(0.99),
                "max_us": phase.latency.micros_max(),
                "broker_cpu_seconds": phase.broker_cpu_seconds,
                "broker_written_bytes": phase.broker_written_bytes,
                "broker_resident_bytes": phase.broker_memory.map(|memory| memory.resident_bytes),
            });
        }
        json
    }
}

impl fmt::Display for ChurnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, phase) in self.phases.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            let latency = &phase.latency;
            write!(
                f,
                "{separator}{}  {} topics in {:.2} s = {:.0}/s   p50 {:.0} us   p99 {:.0} us   max {:.0} us",
                phase.name,
                phase.topics,
                phase.seconds,
                ratio(phase.topics as f64, phase.seconds),
                latency.micros_at(0.5),
                latency.micros_at(0.99),
                latency.micros_max()
            )?;
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            if let Some(cpu) = phase.broker_cpu_seconds {
                write!(f, "\n        broker {cpu:.2} CPU seconds")?;
            }
            if let Some(bytes) = phase.broker_written_bytes {
                write!(f, ", {:.1} MiB written", mib(bytes))?;
            }
            if let Some(memory) = phase.broker_memory {
                write!(f, ", {:.1} MiB resident", mib(memory.resident_bytes))?;
            }
        }
        Ok(())
    }
}
