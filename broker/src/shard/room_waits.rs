//! Sends that wait for the next segment of the log. It is on its way: whoever sends one by one is not refused for that.
//! Filled and emptied by [`crate::handlers::send`].

use crate::ops::AppendOp;
use std::collections::VecDeque;

/// Sends of one shard, in the order in which they came.
pub struct RoomWaits {
    ops: VecDeque<AppendOp>,
    bytes: usize,
    bytes_max: usize,
}

impl RoomWaits {
    /// Room for records of `bytes_max` bytes together.
    pub fn new(bytes_max: usize) -> RoomWaits {
        RoomWaits { ops: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// A send waits behind the others, or comes back when there are too many.
    #[expect(clippy::result_large_err, reason = "it is refused at once, where memory is short")]
    pub fn push(&mut self, op: AppendOp) -> Result<(), AppendOp> {
        if op.records.len() > self.bytes_max - self.bytes {
            return Err(op);
        }
        self.bytes += op.records.len();
        self.ops.push_back(op);
        Ok(())
    }

    /// Takes out the first.
    pub fn pop(&mut self) -> Option<AppendOp> {
        let op = self.ops.pop_front()?;
        self.bytes -= op.records.len();
        Some(op)
    }

    /// The first must go on waiting.
    pub fn put_back(&mut self, op: AppendOp) {
        self.bytes += op.records.len();
        self.ops.push_front(op);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{handlers::fixtures::responder, ops::RecordParts};

    fn op(bytes: usize) -> AppendOp {
        AppendOp {
            arrived: std::time::Instant::now(),
            responder: responder(1),
            shard: 0,
            topic: "t".into(),
            queue_id: 0,
            admitted_at: 0,
            records: vec![0; bytes],
            parts: RecordParts::One(0),
        }
    }

    #[test]
    fn who_waits_is_bounded_in_bytes_and_keeps_its_turn() {
        let mut waits = RoomWaits::new(100);
        assert!(waits.push(op(60)).is_ok() && waits.push(op(40)).is_ok());
        assert!(waits.push(op(1)).is_err());
        let first = waits.pop().expect("two wait");
        assert_eq!(first.records.len(), 60);
        waits.put_back(first);
        assert!(waits.push(op(1)).is_err());
        assert_eq!(waits.pop().map(|op| op.records.len()), Some(60));
        assert!(waits.push(op(60)).is_ok());
        assert_eq!(waits.pop().map(|op| op.records.len()), Some(40));
        assert_eq!(waits.pop().map(|op| op.records.len()), Some(60));
        assert!(waits.is_empty());
    }
}
