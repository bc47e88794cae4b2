//! The properties of a message: text `name \x01 value \x02 name \x01 value \x02 ...`.
//!
//! Read as tolerantly as Java does: the last separator may be missing, an entry without name, separator or value does
//! not exist, and of two entries with one name the later counts. Nothing is escaped, because no client escapes.
//! Source: Apache RocketMQ 4.9.8 and 5.3.3, `MessageDecoder.string2messageProperties`; names from `MessageConst`.

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Behind a value.
pub const ENTRY_SEPARATOR: char = '\u{2}';

/// The value of `name`; of several the last. Empty values do not exist.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).filter(|(found, _)| *found == name).map(|(_, value)| value).last()
}

/// All entries in order, doubles included.
pub fn iter(text: &str) -> Entries<'_> {
    Entries { rest: text }
}

/// See [`iter`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (entry, rest) = cut(self.rest, ENTRY_SEPARATOR as u8).unwrap_or((self.rest, ""));
            self.rest = rest;
            if let Some((name, value)) = cut(entry, NAME_VALUE_SEPARATOR as u8)
                && !name.is_empty()
                && !value.is_empty()
            {
                return Some((name, value));
            }
        }
        None
    }
}

/// What lies before and behind the first `separator`, an ASCII byte.
fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(separator, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Appends all entries but those called `name` to `out`, each with its closing separator.
pub fn without(text: &str, name: &str, out: &mut String) {
    for (found, value) in iter(text) {
        if found != name {
            append(out, found, value);
        }
    }
}

/// Appends one entry with its closing separator. `out` must be empty or end with a separator, see [`joint`].
pub fn append(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(NAME_VALUE_SEPARATOR);
    out.push_str(value);
    out.push(ENTRY_SEPARATOR);
}

/// What must stand between `text` and further entries: nothing, or the separator that 4.x clients leave out.
pub fn joint(text: &str) -> &'static str {
    if text.is_empty() || text.ends_with(ENTRY_SEPARATOR) { "" } else { "\u{2}" }
}

/// Declares a name once with its meaning.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// All property names with a meaning of their own.
        pub const ALL: &[&str] = &[$($text),*];
    };
}

names! {
    /// Business keys, separated by one space; indexed.
    KEYS = "KEYS";
    /// The tag; its hash stands in the consume queue.
    TAGS = "TAGS";
    /// `false`: do not wait for flush and replicas.
    WAIT = "WAIT";
    /// Delay level, from 1.
    DELAY = "DELAY";
    /// Original topic of a message in a retry topic.
    RETRY_TOPIC = "RETRY_TOPIC";
    /// Real destination of a message that waits in an internal topic.
    REAL_TOPIC = "REAL_TOPIC";
    /// Real queue of a message that waits in an internal topic.
    REAL_QID = "REAL_QID";
    /// `true`: half message of a transaction.
    TRAN_MSG = "TRAN_MSG";
    /// Producer group to ask about a transaction.
    PGROUP = "PGROUP";
    /// Smallest queue offset at pull time; set by clients.
    MIN_OFFSET = "MIN_OFFSET";
    /// Largest queue offset at pull time; set by clients.
    MAX_OFFSET = "MAX_OFFSET";
    /// Legacy.
    BUYER_ID = "BUYER_ID";
    /// Message id of the first copy in a chain of retries.
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
    /// Legacy.
    TRANSFER_FLAG = "TRANSFER_FLAG";
    /// Legacy.
    CORRECTION_FLAG = "CORRECTION_FLAG";
    /// Legacy.
    MQ2_FLAG = "MQ2_FLAG";
    /// Reconsume count that a client carries when it sends back as a plain message.
    RECONSUME_TIME = "RECONSUME_TIME";
    /// Region of the broker.
    MSG_REGION = "MSG_REGION";
    /// Trace switch.
    TRACE_ON = "TRACE_ON";
    /// The client's unique id; indexed.
    UNIQ_KEY = "UNIQ_KEY";
    /// 5.x: extra information for finding doubles.
    EXTEND_UNIQ_INFO = "EXTEND_UNIQ_INFO";
    /// Most reconsumes, carried like [`RECONSUME_TIME`].
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
    /// Local to consumers.
    CONSUME_START_TIME = "CONSUME_START_TIME";
    /// 5.x: messages in an inner batch.
    INNER_NUM = "INNER_NUM";
    /// 5.x: first offset of an inner batch.
    INNER_BASE = "INNER_BASE";
    /// 5.x: information for finding doubles.
    DUP_INFO = "DUP_INFO";
    /// Seconds until a half message is first asked about.
    CHECK_IMMUNITY_TIME_IN_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Queue offset of the former copy of a half message.
    TRAN_PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
    /// 5.x: id of the transaction.
    TRANSACTION_ID = "__transactionId__";
    /// How often a transaction was asked about.
    TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
    /// Namespace instance.
    INSTANCE_ID = "INSTANCE_ID";
    /// Request-reply: which request a reply belongs to.
    CORRELATION_ID = "CORRELATION_ID";
    /// Request-reply: client id that waits for the reply.
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
    /// Request-reply: ms until the request is given up.
    TTL = "TTL";
    /// Request-reply: when the reply arrived at the broker, ms.
    ARRIVE_TIME = "ARRIVE_TIME";
    /// Request-reply: when the broker pushed the reply, ms.
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
    /// Name of the broker's cluster; the broker adds it on every send.
    CLUSTER = "CLUSTER";
    /// Request-reply: `reply` marks a reply.
    MSG_TYPE = "MSG_TYPE";
    /// 5.x: receipt of a popped message.
    POP_CK = "POP_CK";
    /// 5.x: offset of the receipt's checkpoint.
    POP_CK_OFFSET = "POP_CK_OFFSET";
    /// 5.x: when the message was first popped, ms.
    FIRST_POP_TIME = "1ST_POP_TIME";
    /// 5.x: key that orders messages of a first-in-first-out topic.
    SHARDING_KEY = "__SHARDINGKEY";
    /// 5.x: queue of a redirected static topic.
    FORWARD_QUEUE_ID = "PROPERTY_FORWARD_QUEUE_ID";
    /// 5.x: marks a redirected message.
    REDIRECT = "REDIRECT";
    /// Comma list of light queues that also get the message.
    INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
    /// Comma list of the offsets given in those queues.
    INNER_MULTI_QUEUE_OFFSET = "INNER_MULTI_QUEUE_OFFSET";
    /// 5.x: trace context.
    TRACE_CONTEXT = "TRACE_CONTEXT";
    /// 5.x: delay, s.
    TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
    /// 5.x: delivery time, ms.
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
    /// 5.x: delay, ms.
    TIMER_DELAY_MS = "TIMER_DELAY_MS";
    /// 5.x: when the timer took the message, ms.
    TIMER_ENQUEUE_MS = "TIMER_ENQUEUE_MS";
    /// 5.x: when the timer gave the message back, ms.
    TIMER_DEQUEUE_MS = "TIMER_DEQUEUE_MS";
    /// 5.x: how often the timer rolled the message on.
    TIMER_ROLL_TIMES = "TIMER_ROLL_TIMES";
    /// 5.x: when the timer is due, ms.
    TIMER_OUT_MS = "TIMER_OUT_MS";
    /// 5.x: unique key of the timer to cancel.
    TIMER_DEL_UNIQKEY = "TIMER_DEL_UNIQKEY";
    /// 5.x: delay level served by the timer.
    TIMER_DELAY_LEVEL = "TIMER_DELAY_LEVEL";
    /// 5.x: original client address, from a proxy.
    BORN_HOST = "__BORNHOST";
    /// 5.x: original birth, ms, from a proxy.
    BORN_TIMESTAMP = "BORN_TIMESTAMP";
    /// 5.x: checksum over the record.
    CRC32 = "__CRC32#";
    /// 5.x: topic before the dead letter queue.
    DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC";
    /// 5.x: message id before the dead letter queue.
    DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(&str, &str)> {
        iter(text).collect()
    }

    #[test]
    fn reads_what_java_reads() {
        let pair = vec![("a", "1"), ("b", "2")];
        assert_eq!(entries("a\u{1}1\u{2}b\u{1}2\u{2}"), pair);
        assert_eq!(entries("a\u{1}1\u{2}b\u{1}2"), pair, "the last separator may be missing");
        assert_eq!(entries("\u{2}\u{2}a\u{1}1\u{2}\u{2}b\u{1}2\u{2}\u{2}"), pair);
        assert_eq!(entries("x\u{1}\u{2}a\u{1}1\u{2}\u{1}y\u{2}z\u{2}b\u{1}2"), pair);
        assert_eq!(entries("a\u{1}1\u{1}2\u{2}"), vec![("a", "1\u{1}2")]);
        assert_eq!(entries(""), vec![]);
        assert_eq!(entries("schlüssel\u{1}wert ✓\u{2}"), vec![("schlüssel", "wert ✓")]);
    }

    #[test]
    fn the_later_of_two_counts() {
        assert_eq!(get("a\u{1}1\u{2}a\u{1}2\u{2}", "a"), Some("2"));
        assert_eq!(get("a\u{1}1\u{2}", "b"), None);
        assert_eq!(get("ab\u{1}1\u{2}", "a"), None);
    }

    #[test]
    fn without_leaves_the_rest_in_order() {
        let mut out = String::new();
        without("a\u{1}1\u{2}WAIT\u{1}true\u{2}b\u{1}2", WAIT, &mut out);
        assert_eq!(out, "a\u{1}1\u{2}b\u{1}2\u{2}");
        assert_eq!(joint(&out), "");
        assert_eq!(joint("a\u{1}1"), "\u{2}");
        assert_eq!(joint(""), "");
    }
}
