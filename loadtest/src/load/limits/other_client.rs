//! Somebody who has nothing to do with a limit and wants to be served meanwhile: a send and a pull each millisecond.
//!
//! An open loop on two connections: each request counts from the moment at which it was meant to leave, whether or not
//! earlier ones were answered. How late it left is measured, too: on a machine that is busy with other work the other
//! client itself waits for a processor, and that is not the broker's doing.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{Connection, NewTopic};
use serde_json::Value;

use crate::load::LoadError;
use crate::load::answers::{self, AnswerScanner};
use crate::load::frames::{self, SendFrames, SendShape};
use crate::load::report::Latency;
use crate::load::slots::Slots;
use crate::load::socket::{LoaderSocket, Ready, Watch};

const TOPIC: &str = "other-client";
const QUEUES: u32 = 8;
const BODY_BYTES: usize = 128;
/// Between two sends, and between two pulls.
const PERIOD: Duration = Duration::from_millis(1);
/// Requests without an answer; beyond it the ones that come due are left out: the worst wait is known by then.
const IN_FLIGHT_MAX: usize = 20_000;
/// How long the last answers are waited for.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(30);
const SENDS: usize = 0;
const PULLS: usize = 1;

/// What it saw.
#[derive(Default)]
pub struct Seen {
    /// Of sends, the disk included.
    pub sends: Latency,
    /// Of pulls of the newest message.
    pub pulls: Latency,
    /// How late requests left.
    pub own_delay: Latency,
    /// Requests that were answered with a code that is neither success nor "no message".
    pub refused: u64,
}

impl Seen {
    /// Adds the figures to a JSON object.
    pub fn add_to(&self, json: &mut Value) {
        json["send_p999_us"] = self.sends.micros_at(0.999).into();
        json["send_worst_us"] = self.sends.micros_max().into();
        json["pull_p999_us"] = self.pulls.micros_at(0.999).into();
        json["pull_worst_us"] = self.pulls.micros_max().into();
        json["own_delay_worst_us"] = self.own_delay.micros_max().into();
        json["refused"] = self.refused.into();
    }
}

/// One line.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { sends, pulls, own_delay, refused } = self;
        let ms = |micros: f64| micros / 1e3;
        write!(
            f,
            "other client: send p99.9 {:.1} ms, worst {:.1}; pull p99.9 {:.1}, worst {:.1}; own delay {:.1}; {refused} refused",
            ms(sends.micros_at(0.999)),
            ms(sends.micros_max()),
            ms(pulls.micros_at(0.999)),
            ms(pulls.micros_max()),
            ms(own_delay.micros_max())
        )
    }
}

/// The client, on a thread of its own.
pub struct OtherClient {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Seen, LoadError>>,
}

impl OtherClient {
    /// Creates its topic and starts.
    pub fn start(addr: SocketAddr) -> Result<OtherClient, LoadError> {
        Connection::connect(addr)?.create_topic(&NewTopic::new(TOPIC, QUEUES as i32))?;
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut turns = Turns::new(addr)?;
            turns.run(&told)?;
            Ok(turns.seen)
        });
        Ok(OtherClient { over, thread })
    }

    /// Ends it. Errors: its connections broke, or the last answers did not come.
    pub fn stop(self) -> Result<Seen, LoadError> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic inside")
    }
}

struct Turns {
    sockets: [LoaderSocket; 2],
    slots: [Slots; 2],
    scanners: [AnswerScanner; 2],
    watch: Watch,
    frames: SendFrames,
    /// The newest offset of each queue.
    newest: [i64; QUEUES as usize],
    queue: usize,
    started: Instant,
    seen: Seen,
}

impl Turns {
    fn new(addr: SocketAddr) -> Result<Turns, LoadError> {
        let sockets = [LoaderSocket::connect(addr, SENDS)?, LoaderSocket::connect(addr, PULLS)?];
        let shape = SendShape {
            topic: TOPIC.to_owned(),
            topics: 1,
            random: false,
            queues: QUEUES,
            body_bytes: BODY_BYTES,
            batch: 1,
        };
        Ok(Turns {
            watch: Watch::new(sockets.iter())?,
            sockets,
            slots: [Slots::new(IN_FLIGHT_MAX), Slots::new(IN_FLIGHT_MAX)],
            scanners: Default::default(),
            frames: SendFrames::new(&shape)?,
            newest: [0; QUEUES as usize],
            queue: 0,
            started: Instant::now(),
            seen: Seen::default(),
        })
    }

    fn run(&mut self, over: &AtomicBool) -> Result<(), LoadError> {
        let mut ready: Vec<Ready> = Vec::new();
        let period = PERIOD.as_nanos() as u64;
        let mut due = period;
        let mut end = None;
        loop {
            let now = self.now();
            if end.is_none() && over.load(Ordering::Relaxed) {
                end = Some(now + LAST_ANSWERS_MAX.as_nanos() as u64);
            }
            if let Some(end) = end {
                let in_flight = self.slots.iter().map(Slots::in_flight).sum();
                if in_flight == 0 {
                    return Ok(());
                }
                if now > end {
                    return Err(LoadError::Silent {
                        seconds: LAST_ANSWERS_MAX.as_secs(),
                        in_flight,
                    });
                }
            } else {
                while due <= now {
                    self.seen.own_delay.record(now - due);
                    self.ask(due);
                    due += period;
                }
            }
            let sleep = due.saturating_sub(self.now()).clamp(1, period);
            for (index, socket) in self.sockets.iter_mut().enumerate() {
                socket
                    .flush()
                    .map_err(|_| LoadError::Closed { index, acked: self.seen.sends.count() })?;
            }
            self.watch.wait(sleep, &mut ready)?;
            for entry in &ready {
                self.take_answers(entry.index)?;
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A send and a pull that are due at `due`.
    fn ask(&mut self, due: u64) {
        self.queue = (self.queue + 1) % QUEUES as usize;
        if let Some(opaque) = self.slots[SENDS].take(due) {
            let born_ms = u64::try_from(client::send::now_ms()).unwrap_or(0);
            self.frames.append(self.sockets[SENDS].unsent(), self.queue, opaque, born_ms);
        }
        if let Some(opaque) = self.slots[PULLS].take(due) {
            let (queue, offset) = (self.queue as u32, self.newest[self.queue]);
            frames::append_pull(self.sockets[PULLS].unsent(), TOPIC, queue, offset, 1, opaque);
        }
    }

    fn take_answers(&mut self, index: usize) -> Result<(), LoadError> {
        let socket = &mut self.sockets[index];
        let acked = self.seen.sends.count();
        socket.receive().map_err(|_| LoadError::Closed { index, acked })?;
        let unreadable = |reason| LoadError::Unreadable { index, reason };
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        while let Some(place) = socket.next_frame().map_err(unreadable)? {
            let (header, _) =
                answers::parts(socket.bytes(place)).ok_or(unreadable("no JSON header"))?;
            let mark = self.scanners[index].scan(header).ok_or(unreadable("no code or opaque"))?;
            let Some(since) = self.slots[index].settle(mark.opaque) else { continue };
            match (index, mark.code) {
                (SENDS, 0) => {
                    self.seen.sends.record(now - since);
                    let queue = answers::ext_number(header, "queueId").unwrap_or(-1);
                    let offset = answers::ext_number(header, "queueOffset");
                    let newest = usize::try_from(queue).ok().and_then(|q| self.newest.get_mut(q));
                    if let Some((newest, offset)) = newest.zip(offset) {
                        *newest = offset;
                    }
                }
                // Found, not found, try again: a pull has been served.
                (PULLS, 0 | 19..=21) => self.seen.pulls.record(now - since),
                _ => self.seen.refused += 1,
            }
        }
        Ok(())
    }
}
