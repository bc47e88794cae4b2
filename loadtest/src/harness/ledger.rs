//! What a broker has acknowledged, to be compared with what it serves: for tests of disks that fill up, fail, or are
//! cleaned under the messages.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::wait_until;
use client::{ClientError, Connection, Message, PullRequest, PullStatus, Ticket};
use proto::code::response;

/// How long a figure may take to become what is expected.
const FIGURE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Sends under way at once.
const WINDOW: usize = 32;

/// A topic with the messages that were acknowledged on it. Bodies follow from their numbers.
pub struct Ledger {
    topic: String,
    queues: i32,
    body_bytes: usize,
    next: u64,
    /// Number of the message at each queue and offset.
    acked: BTreeMap<(i32, i64), u64>,
    /// Longest time that an acknowledgement took, with all that was sent before it.
    pub slowest: Duration,
}

/// What reading everything found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Acknowledged messages that were read with their bytes.
    pub found: u64,
    /// Acknowledged messages that are neither there nor before the first offset of their queue.
    pub lost: u64,
    /// Acknowledged messages before the first offset of their queue.
    pub retired: u64,
}

impl Ledger {
    /// An empty ledger of a topic that exists.
    pub fn new(topic: &str, queues: i32, body_bytes: usize) -> Ledger {
        let acked = BTreeMap::new();
        let slowest = Duration::ZERO;
        Ledger { topic: topic.to_owned(), queues, body_bytes, next: 0, acked, slowest }
    }

    /// Messages acknowledged so far.
    pub fn acked(&self) -> usize {
        self.acked.len()
    }

    /// Sends `count` messages over all queues, many at a time. Ends early with the first refusal; a broker that is only
    /// busy is asked again.
    pub fn send(&mut self, connection: &mut Connection, count: usize) -> Result<(), (i32, String)> {
        let mut under_way = VecDeque::new();
        let mut refused = None;
        for _ in 0..count {
            if under_way.len() == WINDOW {
                refused = refused.or(self.finish(connection, under_way.pop_front()));
            }
            if refused.is_some() {
                break;
            }
            under_way.push_back(self.start(connection));
        }
        while !under_way.is_empty() {
            let end = self.finish(connection, under_way.pop_front());
            refused = refused.or(end);
        }
        refused.map_or(Ok(()), Err)
    }

    fn start(&mut self, connection: &mut Connection) -> (Ticket, u64, Instant) {
        let number = self.next;
        self.next += 1;
        let body = self.body(number);
        let queue = (number % self.queues as u64) as i32;
        let ticket = connection.start_send(&Message::new(&self.topic, queue, &body));
        (ticket.expect("the connection is open"), number, Instant::now())
    }

    fn finish(
        &mut self,
        connection: &mut Connection,
        sent: Option<(Ticket, u64, Instant)>,
    ) -> Option<(i32, String)> {
        let (ticket, number, started) = sent?;
        match connection.finish_send(ticket) {
            Ok(sent) => {
                self.slowest = self.slowest.max(started.elapsed());
                let twice = self.acked.insert((sent.queue_id, sent.queue_offset), number);
                assert_eq!(twice, None, "an offset was given to two messages");
                None
            }
            Err(ClientError::Refused { code: response::SYSTEM_BUSY, .. }) => None,
            Err(ClientError::Refused { code, remark }) => Some((code, remark)),
            Err(error) => panic!("send {number}: {error}"),
        }
    }

    fn body(&self, number: u64) -> Vec<u8> {
        let text = format!("{number:020} ");
        text.bytes().cycle().take(self.body_bytes).collect()
    }

    /// Reads every queue from its first offset to its end, commits that for `group`, and compares.
    pub fn read_back(&self, connection: &mut Connection, group: &str) -> ReadBack {
        let mut found = 0;
        let mut retired = 0;
        for queue in 0..self.queues {
            let min = connection.min_offset(&self.topic, queue).expect("the topic exists");
            retired += self.acked.range((queue, 0)..(queue, min)).count() as u64;
            let mut offset = min;
            loop {
                let pull = PullRequest::new(group, &self.topic, queue, offset);
                let pulled = connection.pull(&pull).unwrap_or_else(|e| panic!("{pull:?}: {e}"));
                // A segment may go while it is read: then the pull is led on, or told to look again.
                let moved =
                    matches!(pulled.status, PullStatus::OffsetMoved | PullStatus::RetryImmediately);
                if moved && pulled.min_offset > offset {
                    let gone = (queue, offset)..(queue, pulled.min_offset);
                    retired += self.acked.range(gone).count() as u64;
                    offset = pulled.min_offset;
                    continue;
                }
                if pulled.status != PullStatus::Found {
                    assert_eq!(offset, pulled.max_offset, "queue {queue}: {pulled:?}");
                    break;
                }
                for message in &pulled.messages {
                    assert_eq!(message.queue_offset, offset, "queue {queue} has a hole");
                    offset += 1;
                    // What was refused or never answered may be there, too.
                    let Some(number) = self.acked.get(&(queue, message.queue_offset)) else {
                        continue;
                    };
                    assert!(message.body == self.body(*number), "queue {queue}: foreign bytes");
                    found += 1;
                }
            }
            connection.commit_offset(group, &self.topic, queue, offset).expect("a commit");
        }
        ReadBack { found, retired, lost: self.acked.len() as u64 - found - retired }
    }
}

/// Waits for a figure of it, which is published once a second; panics when it does not come.
pub fn await_figure(connection: &mut Connection, key: &str, expected: i64) {
    let mut found = None;
    let reached = wait_until(FIGURE_WAIT_MAX, || {
        found = runtime_info(connection, key).parse::<i64>().ok();
        found == Some(expected)
    });
    assert!(reached, "{key} is {found:?}, not {expected}");
}

/// One figure of GET_BROKER_RUNTIME_INFO; panics when there is none of that name.
pub fn runtime_info(connection: &mut Connection, key: &str) -> String {
    let table = connection.runtime_info().expect("runtime information");
    let value = table.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    value.unwrap_or_else(|| panic!("no {key} in {table:?}"))
}
