//! `mqbench waiting`: what do messages cost that wait for their time, what does a start with them cost, and do they come
//! in time?
//!
//! Starts our broker and sends it messages that are due one after the other, in another order than they were sent in.
//! On request it is killed and started again then. From the moment on that the first is due it is watched for a while,
//! with an [`OtherClient`] beside.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use client::{Connection, Message, NewTopic, send::now_ms};
use serde_json::{Value, json};

use super::LoadError;
use super::frames::check_range;
use super::limits::other_client::{OtherClient, Seen};
use super::limits::{pipeline, timers};
use super::process::{self, Memory};
use super::report::ratio;
use crate::harness::our_broker::{OurBroker, with_asked};

const TOPIC: &str = "waiting";
const QUEUES: i32 = 8;
const BODY: [u8; 128] = [b'x'; 128];
/// Messages per second that the time to send them is reckoned with.
const SENT_PER_SECOND: u64 = 100_000;
/// How long a start may take for each million.
const START_PER_MILLION: Duration = Duration::from_secs(6);

/// What to do.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Messages.
    pub count: u64,
    /// Between the first and the last that is due.
    pub spread: Duration,
    /// How long the broker is watched from the first one on.
    pub measure: Duration,
    /// Whether it is killed (SIGKILL) and started again before.
    pub restart: bool,
    /// Core that we are pinned to once the broker has started for the last time, which would else be pinned to it as well.
    pub core: Option<usize>,
    /// Lines of `broker.conf` that win over those of the run.
    pub keys: Vec<(String, String)>,
}

/// What a run found.
pub struct WaitingReport {
    waiting: u64,
    spread: Duration,
    sent_per_second: f64,
    memory_before: Memory,
    /// When all wait.
    memory_waiting: Memory,
    /// From the start of the process until it serves, and its memory then.
    restarted: Option<(Duration, Memory)>,
    seconds: f64,
    broker_cpu_seconds: f64,
    peak_bytes: u64,
    /// Messages that came.
    came: usize,
    /// How late they were: p50, p99 and max, ms.
    late_ms: [i64; 3],
    seen: Seen,
}

/// Runs it. Errors: connection trouble, a refused send, or sending that took so long that some were due before.
pub fn run(run: &Waiting) -> Result<WaitingReport, LoadError> {
    check_range("count", "1..=10000000", run.count, 1, 10_000_000)?;
    let own = [("shards", "1"), ("shardTimersMax", "10000000")];
    let keys = with_asked(&own, &run.keys);
    let mut broker = OurBroker::standalone(&keys);
    let memory_before = process::memory(broker.pid())?;

    let starting = if run.restart { START_PER_MILLION } else { Duration::ZERO };
    let ahead = Duration::from_secs(run.count / SENT_PER_SECOND + 5)
        + starting.mul_f64(run.count as f64 / 1e6);
    let due = now_ms() + ahead.as_millis() as i64;
    let sent_per_second = send_all(&broker, run, due)?;
    let memory_waiting = process::memory(broker.pid())?;
    let restarted = if run.restart { Some(restart(&mut broker)?) } else { None };
    run.core.map_or(Ok(()), process::pin_to)?;

    let pid = broker.pid();
    let left = u64::try_from(due - now_ms()).map_err(|_| LoadError::Late { what: "sending" })?;
    thread::sleep(Duration::from_millis(left));
    let other = OtherClient::start(broker.broker_addr())?;
    let (cpu, began) = (process::cpu_seconds(pid)?, Instant::now());
    thread::sleep(run.measure);
    let seconds = began.elapsed().as_secs_f64();
    let broker_cpu_seconds = process::cpu_seconds(pid)? - cpu;
    let seen = other.stop()?;
    let peak_bytes = process::peak_resident_bytes(pid)?;
    let mut client = Connection::connect(broker.broker_addr())?;
    client.set_timeout(pipeline::PATIENCE);
    let (came, late_ms) = timers::lateness(&mut client, TOPIC);
    Ok(WaitingReport {
        waiting: run.count,
        spread: run.spread,
        sent_per_second,
        memory_before,
        memory_waiting,
        restarted,
        seconds,
        broker_cpu_seconds,
        peak_bytes,
        came,
        late_ms,
        seen,
    })
}

/// Sends all of them; how many a second.
fn send_all(broker: &OurBroker, run: &Waiting, due: i64) -> Result<f64, LoadError> {
    let mut client = Connection::connect(broker.broker_addr())?;
    client.set_timeout(pipeline::PATIENCE);
    client.create_topic(&NewTopic::new(TOPIC, QUEUES))?;
    let began = Instant::now();
    let spread_ms = u64::try_from(run.spread.as_millis()).unwrap_or(u64::MAX).max(1);
    pipeline::run(&mut client, run.count, |client, number| {
        let at = (due + timers::scattered(number, spread_ms)).to_string();
        let message = Message::new(TOPIC, (number % QUEUES as u64) as i32, &BODY);
        client.start_send(&message.with_properties(&[("TIMER_DELIVER_MS", &at)]))
    })?;
    Ok(ratio(run.count as f64, began.elapsed().as_secs_f64()))
}

fn restart(broker: &mut OurBroker) -> Result<(Duration, Memory), LoadError> {
    broker.kill9();
    broker.restart();
    Ok((broker.boot_time(), process::memory(broker.pid())?))
}

impl WaitingReport {
    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        let [p50, p99, max] = self.late_ms;
        let mut json = json!({
            "label": label,
            "waiting": self.waiting,
            "spread_seconds": self.spread.as_secs_f64(),
            "sent_per_second": self.sent_per_second,
            "resident_bytes_before": self.memory_before.resident_bytes,
            "resident_bytes_waiting": self.memory_waiting.resident_bytes,
            "start_seconds": self.restarted.map(|(took, _)| took.as_secs_f64()),
            "resident_bytes_started": self.restarted.map(|(_, memory)| memory.resident_bytes),
            "resident_bytes_peak": self.peak_bytes,
            "seconds": self.seconds,
            "broker_cpu_seconds": self.broker_cpu_seconds,
            "came": self.came,
            "late_p50_ms": p50,
            "late_p99_ms": p99,
            "late_max_ms": max,
        });
        self.seen.add_to(&mut json);
        json
    }
}

impl fmt::Display for WaitingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |memory: &Memory| memory.resident_bytes >> 20;
        writeln!(
            f,
            "waiting   {:>12} messages, due within {:.0} s, sent at {:.0}/s; {} MiB resident before, {} with them",
            self.waiting,
            self.spread.as_secs_f64(),
            self.sent_per_second,
            mib(&self.memory_before),
            mib(&self.memory_waiting)
        )?;
        if let Some((took, memory)) = &self.restarted {
            let took = took.as_secs_f64();
            writeln!(
                f,
                "start     {took:>12.2} s after SIGKILL until it serves; {} MiB resident",
                mib(memory)
            )?;
        }
        let [p50, p99, max] = self.late_ms;
        writeln!(
            f,
            "came      {:>12} messages in {:.1} s; ms late: p50 {p50}, p99 {p99}, max {max}",
            self.came, self.seconds
        )?;
        writeln!(
            f,
            "broker    {:>12.2} CPU seconds = {:.3} a second; at most {} MiB resident",
            self.broker_cpu_seconds,
            ratio(self.broker_cpu_seconds, self.seconds),
            self.peak_bytes >> 20
        )?;
        write!(f, "{}", self.seen)
    }
}
