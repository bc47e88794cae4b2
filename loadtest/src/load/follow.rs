//! `mqbench follow`: what do consumers with filters cost the broker while messages come at a fixed rate?
//!
//! An open loop: batch number i is due at i / rate, and the age of a message counts from that moment until a consumer has it,
//! however late it left, was acknowledged or was delivered. The consumers follow the topic with pulls that wait at the broker.
//! The same load is run over and over, each time with consumers that ask for something else ([`CASES`]); what the filter costs
//! is the difference to the cases `alone`, without consumers, and `all`, with consumers that take everything. Messages that are
//! due while it is measured are waited for a while longer, so that none is left out because it is late.

mod consumers;
pub mod frames;
mod producer;
pub mod report;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::{Connection, NewTopic};

use super::LoadError;
use super::frames::check_range;
use super::process;
use super::socket::{Ready, Watch};
use consumers::Consumers;
use frames::{BatchFrames, BatchShape};
use producer::Producer;
use report::{CaseReport, FollowReport};

/// How long messages are waited for that were due before the end.
const LAST_MESSAGES_MAX: Duration = Duration::from_secs(10);
/// Without any answer to a send for this long, a run with sends in flight gives up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What the consumers of a run ask for.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    /// What `--case` calls it.
    pub name: &'static str,
    /// Whether there are consumers at all.
    pub has_consumers: bool,
    /// `TAG` or `SQL92`.
    pub language: &'static str,
    /// In that language.
    pub expression: &'static str,
    /// How many of a hundred messages it lets through.
    pub share_percent: u64,
}

/// All of them, in the order in which they run. Each expression over properties looks at both of them, whatever its share.
pub const CASES: &[Case] = &[
    Case { has_consumers: false, ..tags("alone", "*", 100) },
    tags("all", "*", 100),
    tags("tags-1", "t001", 1),
    tags("tags-50", "t001 || t050", 50),
    tags("tags-100", "t001 || t050 || t100", 100),
    sql("sql-1", "region = 'x' AND a < 1", 1),
    sql("sql-50", "region = 'x' AND a < 50", 50),
    sql("sql-100", "region = 'x' AND a < 100", 100),
];

const fn tags(name: &'static str, expression: &'static str, share_percent: u64) -> Case {
    Case { name, has_consumers: true, language: "TAG", expression, share_percent }
}

const fn sql(name: &'static str, expression: &'static str, share_percent: u64) -> Case {
    Case { name, has_consumers: true, language: "SQL92", expression, share_percent }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The broker.
    pub addr: SocketAddr,
    /// Topic; created (or widened) before the run. Its queues are followed from their ends.
    pub topic: String,
    /// Its queues, used in turn.
    pub queues: u32,
    /// Bytes of a message's body.
    pub body_bytes: usize,
    /// Messages per request.
    pub batch: u32,
    /// Messages per second.
    pub rate: f64,
    /// Connections of the producer.
    pub connections: usize,
    /// Consumers, each with a connection, a group and a pull per queue of its own.
    pub consumers: usize,
    /// Messages that a pull asks for.
    pub pull_batch: u32,
    /// Load that is not counted, before each case.
    pub warmup: Duration,
    /// Load that counts.
    pub measure: Duration,
    /// Which cases, in this order.
    pub cases: Vec<&'static Case>,
    /// The broker's process, to measure its CPU and memory.
    pub broker_pid: Option<u32>,
}

impl Follow {
    fn consumers_of(&self, case: &Case) -> usize {
        if case.has_consumers { self.consumers } else { 0 }
    }

    fn check(&self) -> Result<(), LoadError> {
        check_range("rate", "1..=10000000 per second", self.rate as u64, 1, 10_000_000)?;
        check_range("connections", "1..=1000", self.connections as u64, 1, 1_000)?;
        check_range("consumers", "1..=1000", self.consumers as u64, 1, 1_000)?;
        check_range("pull-batch", "1..=65535", self.pull_batch.into(), 1, 65_535)
    }
}

/// The cases of these names; all when there are none.
pub fn find(names: &[String]) -> Result<Vec<&'static Case>, LoadError> {
    if names.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let find = |name: &String| {
        let known = CASES.iter().find(|case| case.name == name);
        known.ok_or_else(|| LoadError::Name { what: "a case", value: name.clone() })
    };
    names.iter().map(find).collect()
}

/// Runs all cases. `on_case` hears of each as it ends. Errors: connection trouble, silence, or a refused pull.
pub fn run(
    follow: &Follow,
    mut on_case: impl FnMut(&CaseReport),
) -> Result<FollowReport, LoadError> {
    follow.check()?;
    let topic = NewTopic::new(&follow.topic, follow.queues.cast_signed());
    Connection::connect(follow.addr)?.create_topic(&topic)?;
    let mut cases = Vec::new();
    for case in &follow.cases {
        let report = CaseRun::connect(follow, case)?.run()?;
        on_case(&report);
        cases.push(report);
    }
    Ok(FollowReport { follow: follow.clone(), cases })
}

/// When requests are due, in nanoseconds since the start of a case.
#[derive(Clone, Copy)]
struct Pace {
    request_nanos: f64,
}

impl Pace {
    /// Requests that are due by `now`: the first one is at 0.
    fn due(self, now: u64) -> u64 {
        (now as f64 / self.request_nanos) as u64 + 1
    }

    /// When this one is due.
    fn intended(self, number: u64) -> u64 {
        (number as f64 * self.request_nanos) as u64
    }

    /// Which one is due then.
    fn number_at(self, intended: u64) -> u64 {
        (intended as f64 / self.request_nanos).round() as u64
    }
}

/// What had happened at some moment.
struct Snapshot {
    at: u64,
    acked_requests: u64,
    messages: u64,
    pulls: u64,
    empty_pulls: u64,
    idle: u64,
    broker_cpu: Option<f64>,
}

struct CaseRun<'a> {
    follow: &'a Follow,
    case: &'static Case,
    producer: Producer,
    consumers: Consumers<'a>,
    watch: Watch,
    ready: Vec<Ready>,
    /// Requests that are due while it is measured.
    window: std::ops::Range<u64>,
    started: Instant,
    /// Nanoseconds since `started`, read once per turn.
    now: u64,
    /// When something was acknowledged last.
    last_ack: u64,
    /// Nanoseconds of turns in which there was nothing to do.
    idle: u64,
}

impl<'a> CaseRun<'a> {
    fn connect(follow: &'a Follow, case: &'static Case) -> Result<CaseRun<'a>, LoadError> {
        let pace = Pace { request_nanos: 1e9 * f64::from(follow.batch) / follow.rate };
        let end = nanos(follow.warmup + follow.measure);
        let window = pace.due(nanos(follow.warmup))..pace.due(end);
        // Messages of earlier runs have another one.
        let mark = (wall_ms() << 16) | u64::from(std::process::id() & 0xFFFF);
        let frames = BatchFrames::new(&BatchShape {
            topic: &follow.topic,
            queues: follow.queues,
            body_bytes: follow.body_bytes,
            batch: follow.batch,
            mark,
        })?;
        let (addr, connections) = (follow.addr, follow.connections);
        let producer = Producer::connect(addr, connections, frames, pace, window.clone())?;
        let mut consumers = Consumers::connect(follow, case, mark, pace, window.clone())?;
        let watch = Watch::new(producer.sockets().chain(consumers.sockets()))?;
        consumers.first_pulls(producer.connections(), &watch)?;
        Ok(CaseRun {
            follow,
            case,
            producer,
            consumers,
            watch,
            ready: Vec::new(),
            window,
            started: Instant::now(),
            now: 0,
            last_ack: 0,
            idle: 0,
        })
    }

    fn run(mut self) -> Result<CaseReport, LoadError> {
        let start = nanos(self.follow.warmup);
        let end = start + nanos(self.follow.measure);
        self.turn_until(|run| run.now >= start)?;
        let before = self.snapshot()?;
        self.turn_until(|run| run.now >= end)?;
        let after = self.snapshot()?;
        let memory = self.follow.broker_pid.map(process::memory).transpose()?;
        let last = end + nanos(LAST_MESSAGES_MAX);
        let expected = self.expected();
        self.turn_until(|run| {
            let has_all = run.consumers.got.counted >= expected && run.is_settled();
            has_all || run.now >= last
        })?;
        // The next case is not to see what this one has left.
        self.turn_until(|run| run.is_settled())?;
        let seconds = (after.at - before.at) as f64 / 1e9;
        let cpu = after.broker_cpu.zip(before.broker_cpu);
        let (sent, got) = (self.producer.sent, self.consumers.got);
        Ok(CaseReport {
            case: self.case,
            consumers: self.follow.consumers_of(self.case),
            seconds,
            sent: (after.acked_requests - before.acked_requests) * u64::from(self.follow.batch),
            refused: sent.refused,
            remark: sent.remark,
            delivered: after.messages - before.messages,
            missing: expected.saturating_sub(got.counted),
            unwanted: got.unwanted + got.foreign,
            pulls: after.pulls - before.pulls,
            empty_pulls: after.empty_pulls - before.empty_pulls,
            latency: got.latency,
            send_latency: sent.latency,
            late: sent.late,
            loader_busy: 1.0 - (after.idle - before.idle) as f64 / 1e9 / seconds,
            broker_cpu_seconds: cpu.map(|(after, before)| after - before),
            broker_memory: memory,
        })
    }

    /// Messages of the window that all consumers together are to get.
    fn expected(&self) -> u64 {
        let before = |request: u64| {
            let messages = request * u64::from(self.follow.batch);
            frames::matching_before(messages, self.case.share_percent)
        };
        let matching = before(self.window.end) - before(self.window.start);
        matching * self.follow.consumers_of(self.case) as u64
    }

    /// Everything that was due has left, or never will, and is answered.
    fn is_settled(&self) -> bool {
        self.producer.issued() >= self.window.end && self.producer.in_flight() == 0
    }

    fn turn_until(&mut self, done: impl Fn(&CaseRun<'_>) -> bool) -> Result<(), LoadError> {
        while !done(self) {
            self.turn()?;
        }
        Ok(())
    }

    /// One round: send what is due, take in what has come. Never sleeps: it would leave late.
    fn turn(&mut self) -> Result<(), LoadError> {
        let before = self.now;
        let has_sent = self.producer.issue(self.now, self.window.end, &self.watch)?;
        let mut ready = std::mem::take(&mut self.ready);
        self.watch.wait(0, &mut ready)?;
        for entry in &ready {
            self.serve(entry)?;
        }
        self.now = nanos(self.started.elapsed());
        if ready.is_empty() && !has_sent {
            self.idle += self.now - before;
        }
        self.ready = ready;
        let in_flight = self.producer.in_flight();
        if in_flight == 0 {
            self.last_ack = self.now;
        } else if self.now - self.last_ack > nanos(SILENCE_MAX) {
            return Err(LoadError::Silent { seconds: SILENCE_MAX.as_secs(), in_flight });
        }
        Ok(())
    }

    fn serve(&mut self, entry: &Ready) -> Result<(), LoadError> {
        let started = self.started;
        let clock = || nanos(started.elapsed());
        let first_consumer = self.producer.connections();
        match entry.index.checked_sub(first_consumer) {
            None => {
                if entry.readable {
                    self.producer.take_answers(entry.index, clock)?;
                    self.last_ack = clock();
                }
                self.producer.flush(entry.index, &self.watch)
            }
            Some(consumer) => {
                if entry.readable {
                    self.consumers.take_pulls(consumer, clock)?;
                }
                self.consumers.flush(consumer, first_consumer, &self.watch)
            }
        }
    }

    fn snapshot(&self) -> Result<Snapshot, LoadError> {
        let got = &self.consumers.got;
        Ok(Snapshot {
            at: self.now,
            acked_requests: self.producer.sent.acked_requests,
            messages: got.messages,
            pulls: got.pulls,
            empty_pulls: got.empty_pulls,
            idle: self.idle,
            broker_cpu: self.follow.broker_pid.map(process::cpu_seconds).transpose()?,
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since the epoch.
fn wall_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_due_at_its_moment_and_not_one_later() {
        let pace = Pace { request_nanos: 1e9 * 32.0 / 100_000.0 };
        for number in [0, 1, 2, 3_125, 1_000_003] {
            let intended = pace.intended(number);
            assert_eq!(pace.number_at(intended), number);
            // A nanosecond for the rounding.
            assert_eq!(pace.due(intended + 1), number + 1);
            assert!(pace.due(intended.saturating_sub(1)) <= number.max(1));
        }
    }
}
