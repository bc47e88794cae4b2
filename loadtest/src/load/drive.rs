//! Sends as fast as a window allows (closed loop) or at a fixed rate (open loop), and measures.
//!
//! Closed loop: every answer is followed by a new request at once; latency counts from the moment a request was
//! written. Open loop: request number i is due at i / rate, and latency counts from that moment even when the
//! window, the socket or this thread was late, so a stall shows in every request that it delayed.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::answers::{self, AnswerScanner};
use super::frames::{SendFrames, check_range};
use super::report::{Latency, SendReport};
use super::slots::{SLOTS_MAX, Slots};
use super::slowest::Slowest;
use super::socket::{LoaderSocket, Ready, Watch};
use super::{LoadError, process};

/// Without any answer for this long, a run with requests in flight gives up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// An open loop that is late sends at most this many requests before it looks at answers again.
const DUE_PER_TURN_MAX: u64 = 256;
/// A connection whose peer does not read keeps at most this much unsent; more requests wait.
const UNSENT_BYTES_MAX: usize = 4 << 20;

/// How a run is paced and when it ends.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker.
    pub addr: SocketAddr,
    /// Connections, at least 1; requests go round over them.
    pub connections: usize,
    /// Most requests in flight per connection, 1 to [`SLOTS_MAX`].
    pub window: usize,
    /// Requests per second over all connections; None is a closed loop.
    pub rate: Option<f64>,
    /// What ends the run.
    pub until: Until,
    /// Ask the sockets without ever sleeping. Open loops always do.
    pub spin: bool,
    /// The broker's process, to measure its CPU and memory.
    pub broker_pid: Option<u32>,
}

/// What ends a run.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// Measure for `measure`, after `warmup` that is not counted.
    Time {
        /// Load without counting.
        warmup: Duration,
        /// Load that counts.
        measure: Duration,
    },
    /// Stop when this many messages are acknowledged (rounded up to whole requests). Refused ones are sent again.
    Acked(u64),
}

/// Runs the plan. Errors: the broker cannot be reached, closes, or falls silent. Refusals are in the report.
pub fn run(plan: &Plan, frames: &mut SendFrames) -> Result<SendReport, LoadError> {
    check_range("window", "1..=100000", plan.window as u64, 1, SLOTS_MAX as u64)?;
    check_range("connections", "1..=10000", plan.connections as u64, 1, 10_000)?;
    if let Some(rate) = plan.rate {
        check_range("rate", "1..=10000000 per second", rate as u64, 1, 10_000_000)?;
    }
    let mut driver = Driver::connect(plan, frames)?;
    match plan.until {
        Until::Time { warmup, measure } => {
            driver.turn_until(|d| d.now >= nanos(warmup))?;
            driver.start_counting()?;
            let end = driver.now + nanos(measure);
            driver.turn_until(|d| d.now >= end)?;
        }
        Until::Acked(messages) => {
            driver.requests_left = Some(messages.div_ceil(u64::from(frames_batch(&driver))));
            driver.start_counting()?;
            driver.turn_until(|d| d.requests_left == Some(0) && d.in_flight() == 0)?;
        }
    }
    driver.report()
}

fn frames_batch(driver: &Driver<'_>) -> u32 {
    driver.frames.batch()
}

struct Lane {
    socket: LoaderSocket,
    slots: Slots,
    scanner: AnswerScanner,
    next_queue: usize,
    write_wanted: bool,
}

struct Driver<'a> {
    plan: &'a Plan,
    frames: &'a mut SendFrames,
    lanes: Vec<Lane>,
    watch: Watch,
    ready: Vec<Ready>,
    /// Nanoseconds since `started`, read once per turn and after each batch of answers.
    now: u64,
    started: Instant,
    born_base_ms: u64,
    /// Requests that an open loop has made due so far.
    issued: u64,
    requests_left: Option<u64>,
    last_answer: u64,
    count: Count,
}

/// What is counted; reset when the warm-up ends.
struct Count {
    since: u64,
    acked_requests: u64,
    strays: u64,
    refused: std::collections::BTreeMap<i32, u64>,
    remark: Option<String>,
    latency: Latency,
    slowest: Slowest,
    broker_cpu: f64,
    own_cpu: f64,
}

impl Driver<'_> {
    fn connect<'a>(plan: &'a Plan, frames: &'a mut SendFrames) -> Result<Driver<'a>, LoadError> {
        let queues = frames.queues();
        let mut lanes = Vec::with_capacity(plan.connections);
        for index in 0..plan.connections {
            lanes.push(Lane {
                socket: LoaderSocket::connect(plan.addr, index)?,
                slots: Slots::new(plan.window),
                scanner: AnswerScanner::default(),
                next_queue: index * queues / plan.connections,
                write_wanted: false,
            });
        }
        let watch = Watch::new(lanes.iter().map(|lane| &lane.socket))?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut driver = Driver {
            plan,
            frames,
            lanes,
            watch,
            ready: Vec::new(),
            now: 0,
            started: Instant::now(),
            born_base_ms: wall.as_millis() as u64,
            issued: 0,
            requests_left: None,
            last_answer: 0,
            count: Count::new(),
        };
        driver.look_at_clock();
        Ok(driver)
    }

    fn start_counting(&mut self) -> Result<(), LoadError> {
        self.count = Count::new();
        self.count.since = self.now;
        if let Some(pid) = self.plan.broker_pid {
            self.count.broker_cpu = process::cpu_seconds(pid)?;
        }
        self.count.own_cpu = process::cpu_seconds(std::process::id())?;
        Ok(())
    }

    fn turn_until(&mut self, done: impl Fn(&Driver<'_>) -> bool) -> Result<(), LoadError> {
        while !done(self) {
            self.turn()?;
        }
        Ok(())
    }

    /// One round: issue what is due, wait, take answers in, fill the windows again.
    fn turn(&mut self) -> Result<(), LoadError> {
        if self.plan.rate.is_some() {
            self.issue_due()?
        } else {
            self.fill_idle_lanes()?
        }
        let spins = self.plan.spin || self.plan.rate.is_some();
        let mut ready = std::mem::take(&mut self.ready);
        self.watch.wait(if spins { 0 } else { 50_000_000 }, &mut ready)?;
        self.look_at_clock();
        for entry in &ready {
            if entry.readable {
                self.take_answers(entry.index)?;
            }
            if self.plan.rate.is_none() {
                self.fill_window(entry.index);
            }
            self.flush(entry.index)?;
        }
        self.ready = ready;
        let in_flight = self.in_flight();
        if in_flight > 0 && self.now - self.last_answer > nanos(SILENCE_MAX) {
            return Err(LoadError::Silent { seconds: SILENCE_MAX.as_secs(), in_flight });
        }
        Ok(())
    }

    fn take_answers(&mut self, index: usize) -> Result<(), LoadError> {
        let acked = self.count.acked_requests;
        let lane = &mut self.lanes[index];
        match lane.socket.receive() {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(LoadError::Closed { index, acked }),
        }
        self.look_at_clock();
        self.last_answer = self.now;
        let unreadable = |reason| LoadError::Unreadable { index, reason };
        let lane = &mut self.lanes[index];
        while let Some(place) = lane.socket.next_frame().map_err(unreadable)? {
            let frame = lane.socket.bytes(place);
            let (header, _) = answers::parts(frame).ok_or(unreadable("not a JSON frame"))?;
            let mark = lane.scanner.scan(header).ok_or(unreadable("no code or opaque"))?;
            let Some(since) = lane.slots.settle(mark.opaque) else {
                self.count.strays += 1;
                continue;
            };
            if mark.code == 0 {
                self.count.acked_requests += 1;
                let latency = self.now.saturating_sub(since);
                self.count.latency.record(latency);
                self.count.slowest.answered(latency);
            } else {
                self.count.refuse(mark.code, header);
                // The message is still to be sent.
                self.requests_left = self.requests_left.map(|left| left + 1);
            }
        }
        Ok(())
    }

    /// Open loop: everything that is due by now, in turn over the connections.
    fn issue_due(&mut self) -> Result<(), LoadError> {
        let Some(rate) = self.plan.rate else { return Ok(()) };
        // The first is due at once.
        let due = (self.now as f64 / 1e9 * rate) as u64 + 1;
        let until = due.min(self.issued + DUE_PER_TURN_MAX);
        while self.issued < until {
            let intended = (self.issued as f64 / rate * 1e9) as u64;
            let index = (self.issued % self.lanes.len() as u64) as usize;
            if !self.put_request(index, intended) {
                // The window is full: the broker is behind. The request stays due and its clock runs.
                break;
            }
            self.issued += 1;
        }
        (0..self.lanes.len()).try_for_each(|index| self.flush(index))
    }

    /// Closed loop: lanes that have nothing in flight get their first window (start of the run).
    fn fill_idle_lanes(&mut self) -> Result<(), LoadError> {
        for index in 0..self.lanes.len() {
            if self.lanes[index].slots.in_flight() == 0 {
                self.fill_window(index);
                self.flush(index)?;
            }
        }
        Ok(())
    }

    fn fill_window(&mut self, index: usize) {
        while self.requests_left != Some(0) && self.put_request(index, self.now) {
            self.requests_left = self.requests_left.map(|left| left - 1);
        }
    }

    /// Encodes one request; false when the window or the unsent is full.
    fn put_request(&mut self, index: usize, since: u64) -> bool {
        let born_ms = self.born_base_ms + self.now / 1_000_000;
        let lane = &mut self.lanes[index];
        if lane.socket.unsent_bytes() > UNSENT_BYTES_MAX {
            return false;
        }
        let Some(opaque) = lane.slots.take(since) else { return false };
        self.frames.append(lane.socket.unsent(), lane.next_queue, opaque, born_ms);
        lane.next_queue = self.frames.queue_after(lane.next_queue);
        true
    }

    fn flush(&mut self, index: usize) -> Result<(), LoadError> {
        let acked = self.count.acked_requests;
        let lane = &mut self.lanes[index];
        let left_over = !lane.socket.flush().map_err(|_| LoadError::Closed { index, acked })?;
        if left_over != lane.write_wanted {
            lane.write_wanted = left_over;
            self.watch.want_write(index, &lane.socket, left_over)?;
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.slots.in_flight()).sum()
    }

    fn look_at_clock(&mut self) {
        let before = std::mem::replace(&mut self.now, nanos(self.started.elapsed()));
        self.count.slowest.look(self.now, self.now - before);
    }

    fn report(self) -> Result<SendReport, LoadError> {
        let seconds = (self.now - self.count.since) as f64 / 1e9;
        let mut report = SendReport {
            seconds,
            acked: self.count.acked_requests * u64::from(self.frames.batch()),
            refused: self.count.refused,
            remark: self.count.remark,
            strays: self.count.strays,
            latency: self.count.latency,
            started_ms: self.born_base_ms,
            slowest: self.count.slowest.into_moments(),
            loader_cpu_seconds: process::cpu_seconds(std::process::id())? - self.count.own_cpu,
            broker_cpu_seconds: None,
            broker_memory: None,
        };
        if let Some(pid) = self.plan.broker_pid {
            report.broker_cpu_seconds = Some(process::cpu_seconds(pid)? - self.count.broker_cpu);
            report.broker_memory = Some(process::memory(pid)?);
        }
        Ok(report)
    }
}

impl Count {
    fn new() -> Count {
        Count {
            since: 0,
            acked_requests: 0,
            strays: 0,
            refused: Default::default(),
            remark: None,
            latency: Latency::new(),
            slowest: Slowest::default(),
            broker_cpu: 0.0,
            own_cpu: 0.0,
        }
    }

    fn refuse(&mut self, code: i32, header: &[u8]) {
        *self.refused.entry(code).or_insert(0) += 1;
        if self.remark.is_none() {
            self.remark = answers::remark(header);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
