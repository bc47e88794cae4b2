//! Receipts of many popped messages: `BATCH_ACK_MESSAGE` (200151).

use base64::prelude::{BASE64_STANDARD, Engine};

use super::fields::CLIENT_BODY_BYTES_MAX;
use super::member::body;

body! {
    /// Receipts of one pop of one queue. Source: Apache RocketMQ 5.3.3, remoting `BatchAck`.
    #[derive(Eq)]
    BatchAck("ack", CLIENT_BODY_BYTES_MAX) {
        /// Which messages, counted from `so`: the bytes of a Java `BitSet`, as base64.
        bits: String = "b",
        /// The group.
        consumer_group: String = "c",
        /// For how long they were to be invisible, ms.
        invisible_time: i64 = "it",
        /// When they were popped, ms.
        pop_time: i64 = "pt",
        /// The queue.
        queue_id: i32 = "q",
        /// `0` for the topic itself, `1` and `2` for retry topics.
        retry: String = "r",
        /// Number of the revive queue.
        revive_queue_id: i32 = "rq",
        /// Queue offset of the first message of the pop.
        start_offset: i64 = "so",
        /// The topic.
        topic: String = "t",
    }
}

body! {
    /// Receipts of many queues. Source: Apache RocketMQ 5.3.3, remoting `BatchAckMessageRequestBody`.
    #[derive(Eq)]
    BatchAckBody("body", CLIENT_BODY_BYTES_MAX) {
        /// By queue and pop.
        acks: Vec<BatchAck> = "acks",
        /// The broker.
        broker_name: String = "brokerName",
    }
}

impl BatchAck {
    /// Which messages.
    pub fn bits(&self) -> AckBits {
        let bytes = BASE64_STANDARD.decode(&self.bits).unwrap_or_default();
        AckBits { start: self.start_offset, bytes }
    }
}

/// Queue offsets, as the bits of a Java `BitSet` behind the first one. None of a text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckBits {
    start: i64,
    bytes: Vec<u8>,
}

impl AckBits {
    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        let count = i64::try_from(self.bytes.len().saturating_mul(8)).unwrap_or(i64::MAX);
        let offsets = (0..count).filter_map(|bit| self.start.checked_add(bit));
        offsets.filter(|offset| self.contains(*offset))
    }

    /// Whether an offset is among them.
    pub fn contains(&self, offset: i64) -> bool {
        let bit = offset.checked_sub(self.start).and_then(|bit| usize::try_from(bit).ok());
        let byte = bit.and_then(|bit| Some((self.bytes.get(bit / 8)?, bit % 8)));
        byte.is_some_and(|(byte, bit)| byte >> bit & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_the_bits_that_are_set() {
        // Bits 0, 2 and 9.
        let json = br#"{"acks":[{"b":"BQI=","c":"g","it":60000,"pt":17,"q":2,"r":"0","rq":3,"so":100,"t":"t"}],"brokerName":"b"}"#;
        let body = BatchAckBody::read(json).expect("good");
        assert_eq!(body.acks.len(), 1);
        let bits = body.acks[0].bits();
        assert_eq!(bits.iter().collect::<Vec<_>>(), [100, 102, 109]);
        assert!(bits.contains(102) && !bits.contains(101) && !bits.contains(10_000));
        let mut written = Vec::new();
        body.write(&mut written);
        assert_eq!(written, json);
    }

    #[test]
    fn what_is_no_set_of_bits_is_empty() {
        let ack = BatchAck { bits: "no base64!".to_owned(), ..BatchAck::default() };
        assert!(!ack.bits().contains(0));
        let all = BASE64_STANDARD.encode([0xff; 4]);
        let ack = BatchAck { bits: all, start_offset: i64::MAX - 1, ..BatchAck::default() };
        assert!(ack.bits().contains(i64::MAX) && !ack.bits().contains(i64::MIN));
    }
}
