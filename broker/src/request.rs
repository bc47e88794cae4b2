//! A request as its handlers see it. Made by [`crate::handlers`] from a frame.

use crate::{error::Refusal, response::Responder};
use proto::{command::Header, record::string_hash, request::QueueHeader};
use remoting::Peer;
use runtime::{Moment, Uptime};
use store::state::group_offsets::QUEUE_ID_MAX;

/// A request.
pub struct Request<'a> {
    /// Parsed header.
    pub header: Header<'a>,
    /// Body.
    pub body: &'a [u8],
    /// The whole frame, to be sent on.
    pub frame: &'a [u8],
    /// Who asks.
    pub peer: &'a Peer,
    /// Wall clock at its arrival, ms.
    pub now: i64,
    /// Monotonic clock at its arrival.
    pub uptime: Uptime,
}

/// A request that another worker serves, or that waits for something.
pub struct KeptRequest {
    /// To be answered there.
    pub responder: Responder,
    /// Who asked.
    pub peer: Peer,
    /// All bytes of the frame.
    pub frame: Box<[u8]>,
}

/// A queue that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlace<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its number, at most [`QUEUE_ID_MAX`].
    pub queue_id: u32,
}

impl<'a> Request<'a> {
    /// Keeps it beyond the memory that it was read into.
    pub fn keep(&self, responder: Responder) -> KeptRequest {
        KeptRequest { responder, peer: *self.peer, frame: self.frame.into() }
    }

    /// When it arrived, on both clocks.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now, uptime: self.uptime }
    }
    /// The queue in the header of requests that have one.
    pub fn queue(&self) -> Result<QueuePlace<'a>, Refusal> {
        let header = QueueHeader::from_ext(&self.header.ext)?;
        let wanted = header.queue_id;
        let queue_id = u32::try_from(wanted).ok().filter(|id| *id <= QUEUE_ID_MAX);
        let queue_id = queue_id.ok_or_else(|| {
            Refusal::system_error(format!("queueId[{wanted}] is illegal, 0 to {QUEUE_ID_MAX} are"))
        })?;
        Ok(QueuePlace { topic: header.topic, queue_id })
    }
}

/// Shard that owns a queue, of `count`. Part of the store's format: it must never change.
pub fn owner_of(topic: &str, queue_id: u32, count: u16) -> u16 {
    assert!(count > 0);
    let hash = u64::from(string_hash(topic) as u32);
    ((hash + u64::from(queue_id)) % u64::from(count)) as u16
}

/// The first queue of a topic that lies on a shard, of `count`.
pub fn first_queue_on(shard: u16, topic: &str, count: u16) -> u32 {
    let of_zero = u32::from(owner_of(topic, 0, count));
    (u32::from(shard) + u32::from(count) - of_zero) % u32::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_queue_of_each_shard_is_one_of_the_first() {
        for count in [1u16, 2, 3, 8, 1_024] {
            let mut first: Vec<u32> =
                (0..count).map(|shard| first_queue_on(shard, "orders", count)).collect();
            for (shard, queue_id) in (0..).zip(&first) {
                assert_eq!(owner_of("orders", *queue_id, count), shard);
            }
            first.sort_unstable();
            assert!(first.into_iter().eq(0..u32::from(count)));
        }
    }

    #[test]
    fn queues_of_a_topic_spread_evenly_and_for_ever() {
        for count in [1u16, 2, 3, 8] {
            let mut per_shard = vec![0; usize::from(count)];
            for queue in 0..u32::from(count) * 4 {
                per_shard[usize::from(owner_of("orders", queue, count))] += 1;
            }
            assert!(per_shard.iter().all(|queues| *queues == 4));
        }
        assert_eq!(owner_of("TopicTest", 0, 8), owner_of("TopicTest", 8, 8));
        assert_eq!(owner_of("orders", 3, 2), 0, "part of the format");
    }
}
