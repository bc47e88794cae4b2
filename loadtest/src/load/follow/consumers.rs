//! The consumers of `mqbench follow`: each follows all queues of the topic, with a pull out for each that waits at the broker.

use std::ops::Range;

use client::Connection;
use proto::code::response;
use proto::record;

use super::frames::{PullShape, class_of, stamp_of};
use super::{Case, Follow, Pace};
use crate::load::LoadError;
use crate::load::answers::{self, AnswerScanner};
use crate::load::frames::OPAQUE_MIN;
use crate::load::report::Latency;
use crate::load::socket::{LoaderSocket, Watch};

/// How long a pull waits at the broker, as Java's clients ask for.
const PARK_MS: u64 = 15_000;

/// What they got so far, all together.
#[derive(Default)]
pub(super) struct Got {
    /// Pulls that were answered.
    pub(super) pulls: u64,
    /// Those of them without messages.
    pub(super) empty_pulls: u64,
    /// Messages.
    pub(super) messages: u64,
    /// Messages of the window.
    pub(super) counted: u64,
    /// Messages that the filter should have kept back.
    pub(super) unwanted: u64,
    /// Messages that somebody else sent.
    pub(super) foreign: u64,
    /// Of messages of the window, from when they were to be sent.
    pub(super) latency: Latency,
}

struct Lane {
    socket: LoaderSocket,
    scanner: AnswerScanner,
    group: String,
    /// Where each queue is followed from.
    offsets: Vec<i64>,
}

/// The consumers.
pub(super) struct Consumers<'a> {
    follow: &'a Follow,
    case: &'a Case,
    lanes: Vec<Lane>,
    pace: Pace,
    window: Range<u64>,
    mark: u64,
    /// What they got.
    pub(super) got: Got,
}

impl<'a> Consumers<'a> {
    /// Connects as many as the case has, at the end of all queues. Their groups are created where the broker has none.
    pub(super) fn connect(
        follow: &'a Follow,
        case: &'a Case,
        mark: u64,
        pace: Pace,
        window: Range<u64>,
    ) -> Result<Consumers<'a>, LoadError> {
        let mut control = Connection::connect(follow.addr)?;
        let queue_ids = (0..follow.queues).map(u32::cast_signed);
        let offsets: Result<Vec<i64>, _> =
            queue_ids.map(|queue| control.max_offset(&follow.topic, queue)).collect();
        let offsets = offsets?;
        let mut lanes = Vec::new();
        for index in 0..follow.consumers_of(case) {
            let group = format!("mqbench-follow-{index}");
            control.create_group(&group)?;
            lanes.push(Lane {
                socket: LoaderSocket::connect(follow.addr, index)?,
                scanner: AnswerScanner::default(),
                group,
                offsets: offsets.clone(),
            });
        }
        Ok(Consumers { follow, case, lanes, pace, window, mark, got: Got::default() })
    }

    /// Their connections, by index from 0.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &LoaderSocket> {
        self.lanes.iter().map(|lane| &lane.socket)
    }

    /// Every one asks for every queue.
    pub(super) fn first_pulls(
        &mut self,
        first_index: usize,
        watch: &Watch,
    ) -> Result<(), LoadError> {
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            for queue in 0..self.follow.queues {
                lane.pull(self.follow, self.case, queue);
            }
            watch.flush(first_index + index, &mut lane.socket, 0)?;
        }
        Ok(())
    }

    /// Takes what has come for one, and asks for more; `clock` says when it was read.
    pub(super) fn take_pulls(
        &mut self,
        index: usize,
        clock: impl FnOnce() -> u64,
    ) -> Result<(), LoadError> {
        let unreadable = |reason| LoadError::Unreadable { index, reason };
        let closed = |_| LoadError::Closed { index, acked: self.got.pulls };
        self.lanes[index].socket.receive().map_err(closed)?;
        let now = clock();
        while let Some(place) = self.lanes[index].socket.next_frame().map_err(unreadable)? {
            let lane = &mut self.lanes[index];
            let frame = lane.socket.bytes(place);
            let (header, body) = answers::parts(frame).ok_or(unreadable("not a JSON frame"))?;
            let mark = lane.scanner.scan(header).ok_or(unreadable("no code or opaque"))?;
            let queue = mark.opaque.wrapping_sub(OPAQUE_MIN);
            let offset = lane.offsets.get_mut(queue as usize);
            let offset = offset.ok_or(unreadable("an opaque of nobody"))?;
            let known = [
                response::SUCCESS,
                response::PULL_NOT_FOUND,
                response::PULL_RETRY_IMMEDIATELY,
                response::PULL_OFFSET_MOVED,
            ];
            if !known.contains(&mark.code) {
                return Err(LoadError::Refused { request: "PULL_MESSAGE", code: mark.code });
            }
            let next = answers::ext_number(header, "nextBeginOffset");
            *offset = next.ok_or(unreadable("no nextBeginOffset"))?;
            self.got.pulls += 1;
            self.got.empty_pulls += u64::from(body.is_empty());
            let taken = self.got.take(body, (self.mark, self.case), |number| {
                let request = number / u64::from(self.follow.batch);
                let is_counted = self.window.contains(&request);
                is_counted.then(|| now.saturating_sub(self.pace.intended(request)))
            });
            taken.ok_or(unreadable("torn pull body"))?;
            lane.pull(self.follow, self.case, queue);
        }
        Ok(())
    }

    /// Writes what a connection has room for.
    pub(super) fn flush(
        &mut self,
        index: usize,
        first_index: usize,
        watch: &Watch,
    ) -> Result<(), LoadError> {
        watch.flush(first_index + index, &mut self.lanes[index].socket, self.got.pulls)
    }
}

impl Lane {
    fn pull(&mut self, follow: &Follow, case: &Case, queue: u32) {
        let shape = PullShape {
            topic: &follow.topic,
            group: &self.group,
            case,
            count_max: follow.pull_batch,
            park_ms: PARK_MS,
        };
        let offset = self.offsets[queue as usize];
        shape.append(self.socket.unsent(), queue, offset, OPAQUE_MIN + queue);
    }
}

impl Got {
    /// Takes the messages of an answer; `age` is that of a message that counts. None: one cannot be read.
    fn take(
        &mut self,
        body: &[u8],
        (mark, case): (u64, &Case),
        age: impl Fn(u64) -> Option<u64>,
    ) -> Option<()> {
        for record in record::records(body) {
            let record = record.ok()?;
            self.messages += 1;
            let number = match stamp_of(record.body()) {
                Some((its, number)) if its == mark => number,
                _ => {
                    self.foreign += 1;
                    continue;
                }
            };
            if class_of(number) >= case.share_percent {
                self.unwanted += 1;
            } else if let Some(age) = age(number) {
                self.counted += 1;
                self.latency.record(age);
            }
        }
        Some(())
    }
}
