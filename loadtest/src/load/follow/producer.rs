//! The producer of `mqbench follow`: batches that leave when they are due, whatever became of those before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::frames::BatchFrames;
use super::{Pace, wall_ms};
use crate::load::LoadError;
use crate::load::answers::{self, AnswerScanner};
use crate::load::report::Latency;
use crate::load::slots::Slots;
use crate::load::socket::{LoaderSocket, Watch};

/// Requests without an answer on one connection; what is due beyond that waits, and its clock runs.
const IN_FLIGHT_MAX: usize = 8_192;
/// A connection whose peer does not read keeps at most this much unsent; more requests wait.
const UNSENT_BYTES_MAX: usize = 4 << 20;
/// Who is late sends at most this many requests before it looks at answers again.
const DUE_PER_TURN_MAX: u64 = 64;

/// What became of the batches so far.
#[derive(Default)]
pub(super) struct Sent {
    /// Requests that were acknowledged.
    pub(super) acked_requests: u64,
    /// Requests that were refused, by code.
    pub(super) refused: BTreeMap<i32, u64>,
    /// The first refusal's remark.
    pub(super) remark: Option<String>,
    /// From when a request of the window was due until it was acknowledged.
    pub(super) latency: Latency,
    /// From when it was due until it left: that is our doing.
    pub(super) late: Latency,
}

struct Lane {
    socket: LoaderSocket,
    slots: Slots,
    scanner: AnswerScanner,
}

/// The producer, over some connections that take turns.
pub(super) struct Producer {
    lanes: Vec<Lane>,
    frames: BatchFrames,
    pace: Pace,
    /// Requests whose latency counts.
    window: Range<u64>,
    /// Requests that have left.
    issued: u64,
    /// What became of them.
    pub(super) sent: Sent,
}

impl Producer {
    /// Connects.
    pub(super) fn connect(
        addr: SocketAddr,
        connections: usize,
        frames: BatchFrames,
        pace: Pace,
        window: Range<u64>,
    ) -> Result<Producer, LoadError> {
        let mut lanes = Vec::with_capacity(connections);
        for index in 0..connections {
            lanes.push(Lane {
                socket: LoaderSocket::connect(addr, index)?,
                slots: Slots::new(IN_FLIGHT_MAX),
                scanner: AnswerScanner::default(),
            });
        }
        Ok(Producer { lanes, frames, pace, window, issued: 0, sent: Sent::default() })
    }

    /// Its connections, by index from 0.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &LoaderSocket> {
        self.lanes.iter().map(|lane| &lane.socket)
    }

    /// How many they are.
    pub(super) fn connections(&self) -> usize {
        self.lanes.len()
    }

    /// Requests without an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.slots.in_flight()).sum()
    }

    /// Requests that have left.
    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    /// Sends what is due by `now`, but none from number `end` on. Whether anything was sent.
    pub(super) fn issue(&mut self, now: u64, end: u64, watch: &Watch) -> Result<bool, LoadError> {
        let first = self.issued;
        let due = self.pace.due(now).min(end).min(first + DUE_PER_TURN_MAX);
        let born_ms = if first < due { wall_ms() } else { 0 };
        while self.issued < due && self.put_request(now, born_ms) {
            self.issued += 1;
        }
        if self.issued == first {
            return Ok(false);
        }
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            watch.flush(index, &mut lane.socket, self.sent.acked_requests)?;
        }
        Ok(true)
    }

    /// False: the broker is behind, and takes no more on the connection whose turn it is.
    fn put_request(&mut self, now: u64, born_ms: u64) -> bool {
        let (number, intended) = (self.issued, self.pace.intended(self.issued));
        let index = (number % self.lanes.len() as u64) as usize;
        let lane = &mut self.lanes[index];
        if lane.socket.unsent_bytes() > UNSENT_BYTES_MAX {
            return false;
        }
        let Some(opaque) = lane.slots.take(intended) else { return false };
        self.frames.append(lane.socket.unsent(), number, opaque, born_ms);
        if self.window.contains(&number) {
            self.sent.late.record(now.saturating_sub(intended));
        }
        true
    }

    /// Takes answers of a connection; `clock` says when they were read.
    pub(super) fn take_answers(
        &mut self,
        index: usize,
        clock: impl FnOnce() -> u64,
    ) -> Result<(), LoadError> {
        let Producer { lanes, sent, .. } = self;
        let lane = &mut lanes[index];
        let unreadable = |reason| LoadError::Unreadable { index, reason };
        let closed = |_| LoadError::Closed { index, acked: sent.acked_requests };
        lane.socket.receive().map_err(closed)?;
        let now = clock();
        while let Some(place) = lane.socket.next_frame().map_err(unreadable)? {
            let frame = lane.socket.bytes(place);
            let (header, _) = answers::parts(frame).ok_or(unreadable("not a JSON frame"))?;
            let mark = lane.scanner.scan(header).ok_or(unreadable("no code or opaque"))?;
            let since = lane.slots.settle(mark.opaque).ok_or(unreadable("an opaque of nobody"))?;
            if mark.code != 0 {
                *sent.refused.entry(mark.code).or_default() += 1;
                sent.remark = sent.remark.take().or_else(|| answers::remark(header));
                continue;
            }
            sent.acked_requests += 1;
            if self.window.contains(&self.pace.number_at(since)) {
                sent.latency.record(now.saturating_sub(since));
            }
        }
        Ok(())
    }

    /// Writes what a connection has room for again.
    pub(super) fn flush(&mut self, index: usize, watch: &Watch) -> Result<(), LoadError> {
        watch.flush(index, &mut self.lanes[index].socket, self.sent.acked_requests)
    }
}
