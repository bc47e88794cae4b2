//! Receipts of popped messages: what a consumer sends back when it has consumed one. The client puts it together from the
//! answer to its pop, and keeps it in the property `POP_CK`.
//!
//! Eight words: offset of the first message of the queue in the answer, time of the pop (ms since 1970), how long the
//! messages are invisible (ms), number of a revive queue, `0` for an ordinary topic (`1`, `2`: retry topics of Java's broker), name of the
//! broker, queue id, queue offset. Proxies add a ninth, the place in the log.
//! Source: Apache RocketMQ 5.3.3, remoting `ExtraInfoUtil`.

/// The number of the revive queue that says that messages were popped in order.
/// Source: Apache RocketMQ 5.3.3, common `KeyBuilder.POP_ORDER_REVIVE_QUEUE`.
pub const REVIVE_QUEUE_IN_ORDER: i32 = 999;

/// What a broker needs of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When the message was popped, ms.
    pub popped_at: i64,
    /// For how long it was to be invisible then, ms.
    pub invisible_ms: i64,
    /// Whether it was popped in order.
    pub in_order: bool,
}

impl Receipt {
    /// Reads a receipt. `None`: it has too few words, or one is no number that should be.
    pub fn read(text: &str) -> Option<Receipt> {
        let mut words = text.split(' ');
        let _start: i64 = words.next()?.parse().ok()?;
        let popped_at = words.next()?.parse().ok()?;
        let invisible_ms = words.next()?.parse().ok()?;
        let revive_queue: i32 = words.next()?.parse().ok()?;
        // Retry flag, broker, queue id, offset.
        let in_order = revive_queue == REVIVE_QUEUE_IN_ORDER;
        words.nth(3).map(|_| Receipt { popped_at, invisible_ms, in_order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_by_their_place() {
        let receipt = Receipt { popped_at: 1_700, invisible_ms: 60_000, in_order: false };
        assert_eq!(Receipt::read("5 1700 60000 3 0 broker-a 2 7"), Some(receipt));
        assert_eq!(Receipt::read("5 1700 60000 3 0 broker-a 2 7 4096"), Some(receipt));
        let in_order = Receipt { in_order: true, ..receipt };
        assert_eq!(Receipt::read("5 1700 60000 999 0 broker-a 2 7"), Some(in_order));
    }

    #[test]
    fn what_is_no_receipt_is_none() {
        for text in ["", " ", "5 1700 60000 3 0 b 2", "5 x 60000 3 0 b 2 7", "5 1700 60000 3"] {
            assert_eq!(Receipt::read(text), None, "{text:?}");
        }
    }
}
