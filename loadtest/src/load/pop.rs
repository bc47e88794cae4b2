//! `mqbench pop`: pops a topic until nothing is left, acknowledges what it gets, and measures both.
//!
//! A connection has a window of pops out. What one brings is acknowledged at once on the same connection, and the next one
//! follows without waiting for that. Whoever got nothing for a whole window in a row asks no more, unless a pop that was still
//! out brings something. Contents are not looked at, only counted.

pub mod frames;
pub mod report;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use proto::code::response;

use super::LoadError;
use super::answers::{self, AnswerScanner};
use super::frames::{OPAQUE_MIN, check_range};
use super::process;
use super::slots::Slots;
use super::socket::{LoaderSocket, Ready, Watch};
use frames::{PopFrames, Popped};
use report::PopReport;

/// Without any answer for this long, a run with requests out gives up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Longest sleep, ns: the end of a run is noticed by then.
const WAIT_NANOS_MAX: u64 = 50_000_000;
/// Added to the opaque of an acknowledgement: those of [`Slots`] end before it, and nine digits stay nine.
const ACK_OPAQUES: u32 = 100_000_000;
/// Most pops out on a connection: acknowledgements of two windows fit into their [`Slots`].
const WINDOW_MAX: usize = 1_000;
/// What a broker says that sends a pop away without a look at the queues: it came later than 500 ms, or our answers fill up
/// its memory. The code is that of a topic that has nothing.
const PUT_OFF: [&[u8]; 2] = [b"timeout too much", b"CONNECTION_CLOGGED"];
/// A connection that is put off so often in a row gives up: the clocks differ, say.
const PUT_OFF_IN_ROW_MAX: u32 = 10_000;

/// What to pop.
#[derive(Clone, Debug)]
pub struct Pop {
    /// The broker.
    pub addr: SocketAddr,
    /// Its name, which receipts carry.
    pub broker_name: String,
    /// The topic.
    pub topic: String,
    /// The group; the broker creates it.
    pub group: String,
    /// Connections, at least 1.
    pub connections: usize,
    /// Pops out at a time, per connection.
    pub window: usize,
    /// Messages asked for per pop, at most 32.
    pub batch: u32,
    /// What becomes of the messages.
    pub ack: Ack,
    /// Ends the run, if the topic does not.
    pub time_max: Option<Duration>,
    /// The broker's process, to measure its CPU and memory.
    pub broker_pid: Option<u32>,
}

/// How messages are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Ack {
    /// Not at all: they stay in flight. Our broker gives no more when 10,000 of a queue are.
    None,
    /// An ACK_MESSAGE for each message, all of a pop in one write.
    Each,
    /// A BATCH_ACK_MESSAGE for all messages of a pop.
    Batch,
}

/// Pops the topic. Errors: connection trouble, or an answer that is neither success nor an empty pop.
pub fn run(pop: &Pop) -> Result<PopReport, LoadError> {
    check_range("connections", "1..=10000", pop.connections as u64, 1, 10_000)?;
    check_range("window", "1..=1000", pop.window as u64, 1, WINDOW_MAX as u64)?;
    let frames = PopFrames::new(&pop.topic, &pop.group, &pop.broker_name, pop.batch)?;
    let mut lanes = Vec::with_capacity(pop.connections);
    for index in 0..pop.connections {
        lanes.push(Lane::connect(pop, index)?);
    }
    let watch = Watch::new(lanes.iter().map(|lane| &lane.socket))?;
    let broker_cpu = || pop.broker_pid.map(process::cpu_seconds).transpose();
    let own_cpu = || process::cpu_seconds(std::process::id());
    let (broker_cpu_before, own_cpu_before) = (broker_cpu()?, own_cpu()?);
    let mut run = Run {
        pop,
        frames,
        lanes,
        watch,
        ready: Vec::new(),
        clock: Clock::start(),
        last_answer: 0,
        report: PopReport::new(),
    };
    run.first_pops()?;
    while !run.is_over() {
        run.turn()?;
    }
    let mut report = run.report;
    report.seconds = run.clock.now as f64 / 1e9;
    report.loader_cpu_seconds = own_cpu()? - own_cpu_before;
    if let (Some(before), Some(after)) = (broker_cpu_before, broker_cpu()?) {
        report.broker_cpu_seconds = Some(after - before);
    }
    report.broker_memory = pop.broker_pid.map(process::memory).transpose()?;
    Ok(report)
}

/// The time of a run, looked at once per turn and after each read.
struct Clock {
    started: Instant,
    started_ms: u64,
    /// Nanoseconds since `started`.
    now: u64,
}

impl Clock {
    fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), started_ms: wall.as_millis() as u64, now: 0 }
    }

    fn look(&mut self) {
        self.now = nanos(self.started.elapsed());
    }

    fn wall_ms(&self) -> u64 {
        self.started_ms + self.now / 1_000_000
    }
}

/// One connection. What it has not written yet is limited by its windows.
struct Lane {
    socket: LoaderSocket,
    scanner: AnswerScanner,
    pops: Slots,
    acks: Slots,
    /// Acknowledgements of one pop, and of all that may be out.
    acks_of_pop: usize,
    acks_max: usize,
    window: usize,
    empty_in_row: usize,
    put_off_in_row: u32,
    write_wanted: bool,
}

impl Lane {
    fn connect(pop: &Pop, index: usize) -> Result<Lane, LoadError> {
        let acks_of_pop = match pop.ack {
            Ack::None => 0,
            Ack::Each => pop.batch as usize,
            Ack::Batch => 1,
        };
        // Those of one window may be out while another window of pops is.
        let acks_max = 2 * pop.window * acks_of_pop;
        Ok(Lane {
            socket: LoaderSocket::connect(pop.addr, index)?,
            scanner: AnswerScanner::default(),
            pops: Slots::new(pop.window),
            acks: Slots::new(acks_max.max(1)),
            acks_of_pop,
            acks_max,
            window: pop.window,
            empty_in_row: 0,
            put_off_in_row: 0,
            write_wanted: false,
        })
    }

    /// Sends pops until the window is full, or what they may bring could not be acknowledged.
    fn fill(&mut self, frames: &PopFrames, clock: &Clock) {
        while self.empty_in_row < self.window && self.has_acks_for(self.pops.in_flight() + 1) {
            let Some(opaque) = self.pops.take(clock.now) else { return };
            frames.append_pop(self.socket.unsent(), opaque, clock.wall_ms());
        }
    }

    fn has_acks_for(&self, pops: usize) -> bool {
        self.acks.in_flight() + pops * self.acks_of_pop <= self.acks_max
    }

    /// Acknowledges all messages of a pop. None: it brought more than was asked for, or what one request cannot name.
    fn acknowledge(
        &mut self,
        popped: &Popped,
        ack: Ack,
        frames: &PopFrames,
        now: u64,
    ) -> Option<()> {
        match ack {
            Ack::None => {}
            Ack::Each => {
                for queue in &popped.queues {
                    for offset in &queue.offsets {
                        let opaque = self.acks.take(now)? + ACK_OPAQUES;
                        let out = self.socket.unsent();
                        frames.append_ack(out, popped, queue, *offset, opaque);
                    }
                }
            }
            Ack::Batch => {
                let opaque = self.acks.take(now)? + ACK_OPAQUES;
                frames.append_batch_ack(self.socket.unsent(), popped, opaque)?;
            }
        }
        Some(())
    }

    fn in_flight(&self) -> usize {
        self.pops.in_flight() + self.acks.in_flight()
    }
}

struct Run<'a> {
    pop: &'a Pop,
    frames: PopFrames,
    lanes: Vec<Lane>,
    watch: Watch,
    ready: Vec<Ready>,
    clock: Clock,
    last_answer: u64,
    report: PopReport,
}

impl Run<'_> {
    fn first_pops(&mut self) -> Result<(), LoadError> {
        for index in 0..self.lanes.len() {
            self.lanes[index].fill(&self.frames, &self.clock);
            self.flush(index)?;
        }
        Ok(())
    }

    /// A lane has requests out until it has got nothing for a whole window, or time is up.
    fn is_over(&self) -> bool {
        self.in_flight() == 0
    }

    fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::in_flight).sum()
    }

    fn is_time_up(&self) -> bool {
        self.pop.time_max.is_some_and(|time_max| self.clock.now >= nanos(time_max))
    }

    /// Waits, takes answers in, acknowledges and pops again.
    fn turn(&mut self) -> Result<(), LoadError> {
        let mut ready = std::mem::take(&mut self.ready);
        self.watch.wait(WAIT_NANOS_MAX, &mut ready)?;
        self.clock.look();
        for entry in &ready {
            if entry.readable {
                self.take_answers(entry.index)?;
            }
            self.flush(entry.index)?;
        }
        self.ready = ready;
        if self.clock.now - self.last_answer > nanos(SILENCE_MAX) {
            let in_flight = self.in_flight();
            return Err(LoadError::Silent { seconds: SILENCE_MAX.as_secs(), in_flight });
        }
        Ok(())
    }

    fn take_answers(&mut self, index: usize) -> Result<(), LoadError> {
        let acked = self.report.pops + self.report.acks;
        match self.lanes[index].socket.receive() {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(_) => return Err(LoadError::Closed { index, acked }),
        }
        self.clock.look();
        self.last_answer = self.clock.now;
        let unreadable = |reason| LoadError::Unreadable { index, reason };
        while let Some(place) = self.lanes[index].socket.next_frame().map_err(unreadable)? {
            self.take_answer(index, place)?;
            if !self.is_time_up() {
                self.lanes[index].fill(&self.frames, &self.clock);
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, index: usize, place: Range<usize>) -> Result<(), LoadError> {
        let unreadable = |reason| LoadError::Unreadable { index, reason };
        let nobodys = unreadable("an opaque of nobody");
        let (lane, report, now) = (&mut self.lanes[index], &mut self.report, self.clock.now);
        let (header, body) =
            answers::parts(lane.socket.bytes(place)).ok_or(unreadable("not a JSON frame"))?;
        let mark = lane.scanner.scan(header).ok_or(unreadable("no code or opaque"))?;
        if let Some(opaque) = mark.opaque.checked_sub(ACK_OPAQUES).filter(|it| *it >= OPAQUE_MIN) {
            let since = lane.acks.settle(opaque).ok_or(nobodys)?;
            if mark.code != response::SUCCESS {
                return Err(LoadError::Refused { request: "an acknowledgement", code: mark.code });
            }
            report.acks += 1;
            report.ack_latency.record(now.saturating_sub(since));
            return Ok(());
        }
        let since = lane.pops.settle(mark.opaque).ok_or(nobodys)?;
        report.pops += 1;
        report.pop_latency.record(now.saturating_sub(since));
        match mark.code {
            response::SUCCESS => {
                let messages =
                    answers::count_messages(body).ok_or(unreadable("torn body of a pop"))?;
                report.messages += messages;
                report.body_bytes += body.len() as u64;
                (lane.empty_in_row, lane.put_off_in_row) = (0, 0);
                if self.pop.ack == Ack::None {
                    return Ok(());
                }
                let popped =
                    Popped::read(header).ok_or(unreadable("no receipts of the topic's queues"))?;
                if popped.count() != messages {
                    return Err(unreadable("more or fewer receipts than messages"));
                }
                lane.acknowledge(&popped, self.pop.ack, &self.frames, now)
                    .ok_or(unreadable("messages that cannot be acknowledged"))
            }
            response::POLLING_TIMEOUT if is_put_off(header) => {
                report.put_off += 1;
                lane.put_off_in_row += 1;
                if lane.put_off_in_row > PUT_OFF_IN_ROW_MAX {
                    let request = "POP_MESSAGE again and again, without a look at the queues";
                    return Err(LoadError::Refused { request, code: mark.code });
                }
                Ok(())
            }
            response::POLLING_TIMEOUT => {
                report.empty_pops += 1;
                report.left = answers::ext_number(header, "restNum");
                lane.put_off_in_row = 0;
                lane.empty_in_row += 1;
                Ok(())
            }
            code => Err(LoadError::Refused { request: "POP_MESSAGE", code }),
        }
    }

    fn flush(&mut self, index: usize) -> Result<(), LoadError> {
        let acked = self.report.pops + self.report.acks;
        let lane = &mut self.lanes[index];
        let left_over = !lane.socket.flush().map_err(|_| LoadError::Closed { index, acked })?;
        if left_over != lane.write_wanted {
            lane.write_wanted = left_over;
            self.watch.want_write(index, &lane.socket, left_over)?;
        }
        Ok(())
    }
}

fn is_put_off(header: &[u8]) -> bool {
    PUT_OFF.iter().any(|said| memmem::find(header, said).is_some())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
