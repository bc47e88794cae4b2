//! `mqbench pull`: reads a topic from its first message to its last, as many queues at once as there are connections.
//!
//! A queue has one pull out at a time, since the next offset comes with the answer; the queues of a connection are
//! pulled side by side. Contents are not looked at, only counted.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::LoadError;
use super::answers::{self, AnswerScanner};
use super::frames::{self, OPAQUE_MIN};
use super::process::{self, Memory};
use super::report::{Latency, ratio};
use super::socket::{LoaderSocket, Ready, Watch};

const PULL_FOUND: i32 = 0;
const PULL_NOT_FOUND: i32 = 19;
const PULL_RETRY_IMMEDIATELY: i32 = 20;
const PULL_OFFSET_MOVED: i32 = 21;

/// What to read.
#[derive(Clone, Debug)]
pub struct Drain {
    /// The broker.
    pub addr: SocketAddr,
    /// The topic.
    pub topic: String,
    /// Queue ids `0..queues` are read.
    pub queues: u32,
    /// Connections, at least 1.
    pub connections: usize,
    /// Messages asked for per pull.
    pub batch: u32,
    /// How often the whole topic is read.
    pub repeat: u32,
    /// The broker's process, to measure its CPU and memory.
    pub broker_pid: Option<u32>,
}

/// What a drain found.
pub struct DrainReport {
    /// Length of the measurement.
    pub seconds: f64,
    /// Messages received.
    pub messages: u64,
    /// Bytes of pull bodies received.
    pub body_bytes: u64,
    /// Pulls answered, empty ones included.
    pub pulls: u64,
    /// Of one pull.
    pub latency: Latency,
    /// The broker's CPU time, if its process was named.
    pub broker_cpu_seconds: Option<f64>,
    /// The broker's memory at the end, if its process was named.
    pub broker_memory: Option<Memory>,
}

struct QueueReader {
    connection: usize,
    offset: i64,
    asked_at: Instant,
    rounds_left: u32,
}

/// Reads the topic. Errors: connection trouble, or an answer code that is none of a pull's four.
pub fn run(drain: &Drain) -> Result<DrainReport, LoadError> {
    frames::check_name("topic", &drain.topic)?;
    frames::check_range("queues", "1..=100000", u64::from(drain.queues), 1, 100_000)?;
    frames::check_range("connections", "1..=10000", drain.connections as u64, 1, 10_000)?;
    let mut sockets = Vec::new();
    for index in 0..drain.connections {
        sockets.push(LoaderSocket::connect(drain.addr, index)?);
    }
    let mut watch = Watch::new(sockets.iter())?;
    let cpu = |pid: Option<u32>| pid.map(process::cpu_seconds).transpose();
    let cpu_before = cpu(drain.broker_pid)?;
    let started = Instant::now();
    let mut report = DrainReport {
        seconds: 0.0,
        messages: 0,
        body_bytes: 0,
        pulls: 0,
        latency: Latency::new(),
        broker_cpu_seconds: None,
        broker_memory: None,
    };
    let mut readers = first_pulls(drain, &mut sockets, started);
    flush_all(&mut sockets)?;
    let mut ready: Vec<Ready> = Vec::new();
    let mut last_answer = Instant::now();
    while readers.iter().any(|reader| reader.rounds_left > 0) {
        watch.wait(50_000_000, &mut ready)?;
        if ready.is_empty() && last_answer.elapsed().as_secs() >= 20 {
            return Err(LoadError::Silent { seconds: 20, in_flight: readers.len() });
        }
        for entry in &ready {
            take_pulls(drain, entry.index, &mut sockets[entry.index], &mut readers, &mut report)?;
            last_answer = Instant::now();
        }
        flush_all(&mut sockets)?;
    }
    report.seconds = started.elapsed().as_secs_f64();
    if let (Some(before), Some(after)) = (cpu_before, cpu(drain.broker_pid)?) {
        report.broker_cpu_seconds = Some(after - before);
    }
    report.broker_memory = drain.broker_pid.map(process::memory).transpose()?;
    Ok(report)
}

fn first_pulls(drain: &Drain, sockets: &mut [LoaderSocket], now: Instant) -> Vec<QueueReader> {
    let mut readers = Vec::new();
    for queue in 0..drain.queues {
        let connection = queue as usize % sockets.len();
        let opaque = OPAQUE_MIN + queue;
        frames::append_pull(
            sockets[connection].unsent(),
            &drain.topic,
            queue,
            0,
            drain.batch,
            opaque,
        );
        readers.push(QueueReader {
            connection,
            offset: 0,
            asked_at: now,
            rounds_left: drain.repeat.max(1),
        });
    }
    readers
}

fn take_pulls(
    drain: &Drain,
    index: usize,
    socket: &mut LoaderSocket,
    readers: &mut [QueueReader],
    report: &mut DrainReport,
) -> Result<(), LoadError> {
    let unreadable = |reason| LoadError::Unreadable { index, reason };
    if let Err(_closed) = socket.receive() {
        return Err(LoadError::Closed { index, acked: report.pulls });
    }
    while let Some(place) = socket.next_frame().map_err(unreadable)? {
        let (header, body) =
            answers::parts(socket.bytes(place)).ok_or(unreadable("not a JSON frame"))?;
        let mark = AnswerScanner::default().scan(header).ok_or(unreadable("no code or opaque"))?;
        let queue = mark.opaque.wrapping_sub(OPAQUE_MIN);
        let reader = readers.get_mut(queue as usize).ok_or(unreadable("an opaque of nobody"))?;
        assert_eq!(reader.connection, index);
        report.pulls += 1;
        report.latency.record(reader.asked_at.elapsed().as_nanos() as u64);
        match mark.code {
            PULL_FOUND => {
                report.messages +=
                    answers::count_messages(body).ok_or(unreadable("torn pull body"))?;
                report.body_bytes += body.len() as u64;
                reader.advance(header).ok_or(unreadable("no nextBeginOffset"))?;
            }
            PULL_RETRY_IMMEDIATELY | PULL_OFFSET_MOVED => {
                let before = reader.offset;
                reader.advance(header).ok_or(unreadable("no nextBeginOffset"))?;
                // An empty queue sends us to where we are.
                if reader.offset == before {
                    reader.start_over();
                }
            }
            PULL_NOT_FOUND => reader.start_over(),
            code => return Err(LoadError::Refused { request: "PULL_MESSAGE", code }),
        }
        if reader.rounds_left > 0 {
            reader.asked_at = Instant::now();
            frames::append_pull(
                socket.unsent(),
                &drain.topic,
                queue,
                reader.offset,
                drain.batch,
                mark.opaque,
            );
        }
    }
    Ok(())
}

impl QueueReader {
    fn advance(&mut self, header: &[u8]) -> Option<()> {
        self.offset = answers::ext_number(header, "nextBeginOffset")?;
        Some(())
    }

    fn start_over(&mut self) {
        self.offset = 0;
        self.rounds_left -= 1;
    }
}

fn flush_all(sockets: &mut [LoaderSocket]) -> Result<(), LoadError> {
    for (index, socket) in sockets.iter_mut().enumerate() {
        // Pull requests are small and few: what does not fit now goes out with the next turn.
        socket.flush().map_err(|_| LoadError::Closed { index, acked: 0 })?;
    }
    Ok(())
}

impl DrainReport {
    /// Messages per second of the broker's CPU time, if that was measured.
    fn messages_per_broker_cpu_second(&self) -> Option<f64> {
        self.broker_cpu_seconds.map(|cpu| ratio(self.messages as f64, cpu))
    }

    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        json!({
            "label": label,
            "seconds": self.seconds,
            "messages": self.messages,
            "messages_per_second": ratio(self.messages as f64, self.seconds),
            "megabytes_per_second": ratio(self.body_bytes as f64 / 1e6, self.seconds),
            "pulls": self.pulls,
            "p50_us": self.latency.micros_at(0.5),
            "p99_us": self.latency.micros_at(0.99),
            "max_us": self.latency.micros_max(),
            "broker_cpu_seconds": self.broker_cpu_seconds,
            "messages_per_broker_cpu_second": self.messages_per_broker_cpu_second(),
            "broker_resident_bytes": self.broker_memory.map(|m| m.resident_bytes),
        })
    }
}

impl std::fmt::Display for DrainReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_second = ratio(self.messages as f64, self.seconds);
        let megabytes = ratio(self.body_bytes as f64 / 1e6, self.seconds);
        writeln!(
            f,
            "received  {:>12} messages in {:.2} s = {per_second:.0}/s, {megabytes:.1} MB/s",
            self.messages, self.seconds
        )?;
        write!(
            f,
            "latency   p50 {:.0} us   p99 {:.0} us   max {:.0} us of {} pulls",
            self.latency.micros_at(0.5),
            self.latency.micros_at(0.99),
            self.latency.micros_max(),
            self.pulls
        )?;
        if let (Some(cpu), Some(per)) =
            (self.broker_cpu_seconds, self.messages_per_broker_cpu_second())
        {
            write!(f, "\nbroker    {cpu:.2} CPU seconds = {per:.0} messages per CPU second")?;
        }
        if let Some(memory) = self.broker_memory {
            write!(
                f,
                "\n          {:.1} MiB resident",
                memory.resident_bytes as f64 / f64::from(1 << 20)
            )?;
        }
        Ok(())
    }
}
