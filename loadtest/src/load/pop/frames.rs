//! POP_MESSAGE, ACK_MESSAGE and BATCH_ACK_MESSAGE as a Java 5.3.3 client writes them, and what an acknowledgement needs of
//! the answer to a pop.
//!
//! One request for each message is a lot: they are formatted where they are sent from, without memory of their own.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::load::LoadError;
use crate::load::answers::{ext_number, ext_text};
use crate::load::frames::{append_frame, check_name, check_range};

/// For how long a popped message is given to nobody else, ms: what clients ask for.
pub const INVISIBLE_MS: i64 = 60_000;
/// Most messages of one pop. Source: Apache RocketMQ 5.3.3, `PopMessageProcessor`.
pub const BATCH_MAX: u32 = 32;
/// Messages that one entry of a BATCH_ACK_MESSAGE may span: our broker reads no more.
const SPAN_MAX: usize = 1 << 16;
/// What a receipt says of a queue of the topic itself; 1 and 2 are retry topics of Java's broker.
const OF_TOPIC: &str = "0";

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub struct PopFrames {
    topic: String,
    group: String,
    broker: String,
    batch: u32,
}

/// What was popped: receipts of messages.
#[derive(Debug, PartialEq, Eq)]
pub struct Popped {
    /// When, ms, on the broker's clock.
    pub time: i64,
    /// Number of the revive queue; ours has none and says 0.
    pub revive_queue: i64,
    /// Where from.
    pub queues: Vec<PoppedQueue>,
}

/// What was popped of one queue.
#[derive(Debug, PartialEq, Eq)]
pub struct PoppedQueue {
    /// Its id.
    pub id: u32,
    /// Offset of the first message.
    pub start: i64,
    /// Offsets of all messages.
    pub offsets: Vec<i64>,
}

impl PopFrames {
    /// Refuses names that would need escaping, and batches that no broker gives. `broker` is the broker's own name: Java's
    /// finds nothing to acknowledge under another one.
    pub fn new(topic: &str, group: &str, broker: &str, batch: u32) -> Result<PopFrames, LoadError> {
        check_name("topic", topic)?;
        check_name("group", group)?;
        check_name("broker name", broker)?;
        check_range("batch", "1..=32", u64::from(batch), 1, u64::from(BATCH_MAX))?;
        let [topic, group, broker] = [topic, group, broker].map(str::to_owned);
        Ok(PopFrames { topic, group, broker, batch })
    }

    /// A pop (code 200050) of all queues that does not wait; a new group begins at the first message.
    pub fn append_pop(&self, out: &mut Vec<u8>, opaque: u32, born_ms: u64) {
        let PopFrames { topic, group, batch, .. } = self;
        append_frame(
            out,
            format_args!(
                "{{\"code\":200050,\"extFields\":{{\"queueId\":\"-1\",\"maxMsgNums\":\"{batch}\",\
                 \"invisibleTime\":\"{INVISIBLE_MS}\",\"pollTime\":\"0\",\"bornTime\":\"{born_ms}\",\"initMode\":\"0\",\
                 \"order\":\"false\",\"topic\":\"{topic}\",\"consumerGroup\":\"{group}\"}},\"flag\":0,\
                 \"language\":\"JAVA\",\"opaque\":{opaque},\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
            ),
            &[],
        );
    }

    /// The acknowledgement (code 200051) of the message at `offset` of a queue.
    pub fn append_ack(
        &self,
        out: &mut Vec<u8>,
        popped: &Popped,
        queue: &PoppedQueue,
        offset: i64,
        opaque: u32,
    ) {
        let PopFrames { topic, group, broker, .. } = self;
        let Popped { time, revive_queue, .. } = popped;
        let PoppedQueue { id, start, .. } = queue;
        append_frame(
            out,
            format_args!(
                "{{\"code\":200051,\"extFields\":{{\"queueId\":\"{id}\",\"offset\":\"{offset}\",\"extraInfo\":\"{start} {time} \
                 {INVISIBLE_MS} {revive_queue} {OF_TOPIC} {broker} {id} {offset}\",\"topic\":\"{topic}\",\
                 \"consumerGroup\":\"{group}\"}},\"flag\":0,\"language\":\"JAVA\",\"opaque\":{opaque},\
                 \"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
            ),
            &[],
        );
    }

    /// The acknowledgement (code 200151) of all messages of a pop. None: those of a queue are too far apart, or one stands
    /// before the first.
    pub fn append_batch_ack(&self, out: &mut Vec<u8>, popped: &Popped, opaque: u32) -> Option<()> {
        let PopFrames { topic, group, broker, .. } = self;
        let Popped { time, revive_queue, queues } = popped;
        let mut acks = String::new();
        for queue in queues {
            let PoppedQueue { id, start, .. } = queue;
            let bits = BASE64_STANDARD.encode(queue.bits()?);
            let comma = if acks.is_empty() { "" } else { "," };
            acks.push_str(&format!(
                "{comma}{{\"b\":\"{bits}\",\"c\":\"{group}\",\"it\":{INVISIBLE_MS},\"pt\":{time},\"q\":{id},\
                 \"r\":\"{OF_TOPIC}\",\"rq\":{revive_queue},\"so\":{start},\"t\":\"{topic}\"}}"
            ));
        }
        let body = format!("{{\"acks\":[{acks}],\"brokerName\":\"{broker}\"}}");
        append_frame(
            out,
            format_args!(
                "{{\"code\":200151,\"flag\":0,\"language\":\"JAVA\",\"opaque\":{opaque},\
                 \"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
            ),
            body.as_bytes(),
        );
        Some(())
    }
}

impl Popped {
    /// Reads the header of an answer that brings messages. None: it lacks something, or messages are of a retry topic.
    pub fn read(header: &[u8]) -> Option<Popped> {
        let mut queues: Vec<PoppedQueue> = Vec::new();
        for item in ext_text(header, "startOffsetInfo")?.split(';') {
            let (id, start) = item_of(item)?;
            queues.push(PoppedQueue { id, start: start.parse().ok()?, offsets: Vec::new() });
        }
        for item in ext_text(header, "msgOffsetInfo")?.split(';') {
            let (id, offsets) = item_of(item)?;
            let queue = queues.iter_mut().find(|queue| queue.id == id)?;
            for offset in offsets.split(',') {
                queue.offsets.push(offset.parse().ok()?);
            }
        }
        let time = ext_number(header, "popTime")?;
        let revive_queue = ext_number(header, "reviveQid")?;
        Some(Popped { time, revive_queue, queues })
    }

    /// How many messages.
    pub fn count(&self) -> u64 {
        self.queues.iter().map(|queue| queue.offsets.len() as u64).sum()
    }
}

/// Queue and value of `0 queue value`.
fn item_of(item: &str) -> Option<(u32, &str)> {
    let (id, value) = item.strip_prefix(OF_TOPIC)?.strip_prefix(' ')?.split_once(' ')?;
    Some((id.parse().ok()?, value))
}

impl PoppedQueue {
    /// Which messages, counted from the first, as the bytes of a Java `BitSet`: the lowest bit of the first byte is number 0.
    fn bits(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for offset in &self.offsets {
            let bit = usize::try_from(offset.checked_sub(self.start)?).ok()?;
            if bit >= SPAN_MAX {
                return None;
            }
            if bytes.len() <= bit / 8 {
                bytes.resize(bit / 8 + 1, 0);
            }
            bytes[bit / 8] |= 1u8 << (bit % 8);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::body::BatchAckBody;
    use proto::code::request;
    use proto::command::{HeaderArena, decode};
    use proto::frame::next_frame;
    use proto::receipt::Receipt;
    use proto::request::{AckHeader, PopHeader};

    fn frames() -> PopFrames {
        PopFrames::new("bench", "workers", "broker-a", 32).unwrap()
    }

    fn popped() -> Popped {
        let header = br#"{"code":0,"extFields":{"popTime":"1700000000123","invisibleTime":"60000","reviveQid":"3","restNum":"7","startOffsetInfo":"0 2 100;0 11 5","msgOffsetInfo":"0 2 100,102,109;0 11 5"},"flag":1,"opaque":100000001,"remark":"FOUND"}"#;
        Popped::read(header).unwrap()
    }

    #[test]
    fn a_pop_is_what_java_reads() {
        let mut out = Vec::new();
        frames().append_pop(&mut out, 123_456_789, 1_700_000_000_001);
        let frame = next_frame(&out).unwrap().unwrap();
        assert_eq!((frame.wire_bytes, frame.body.len()), (out.len(), 0));
        let mut arena = HeaderArena::default();
        let header = decode(frame.kind, frame.header, &mut arena).unwrap();
        assert_eq!((header.code, header.opaque), (request::POP_MESSAGE, 123_456_789));
        let pop = PopHeader::from_ext(&header.ext).unwrap();
        assert_eq!((pop.topic, pop.consumer_group), ("bench", "workers"));
        assert_eq!((pop.queue_id, pop.max_msg_nums, pop.invisible_time), (-1, 32, 60_000));
        assert_eq!((pop.poll_time, pop.born_time, pop.init_mode), (0, 1_700_000_000_001, 0));
        assert!(!pop.order && pop.expression.is_none());
    }

    #[test]
    fn an_answer_is_read() {
        let queues = vec![
            PoppedQueue { id: 2, start: 100, offsets: vec![100, 102, 109] },
            PoppedQueue { id: 11, start: 5, offsets: vec![5] },
        ];
        let popped = popped();
        assert_eq!(popped, Popped { time: 1_700_000_000_123, revive_queue: 3, queues });
        assert_eq!(popped.count(), 4);
    }

    #[test]
    fn answers_that_lack_something_are_none() {
        let header = |starts: &str, offsets: &str| {
            format!(
                r#"{{"code":0,"extFields":{{"popTime":"1","reviveQid":"0","startOffsetInfo":"{starts}","msgOffsetInfo":"{offsets}"}}}}"#
            )
        };
        let is_read = |header: String| Popped::read(header.as_bytes()).is_some();
        assert!(is_read(header("0 1 7", "0 1 7,8")));
        for (starts, offsets) in [
            ("", ""),
            ("0 1 7", ""),
            ("0 1 7", "0 2 7"),
            ("0 1 7", "0 1 7,"),
            ("0 1 7", "0 1"),
            ("0 1 x", "0 1 7"),
            ("1 1 7", "1 1 7"),
        ] {
            assert!(!is_read(header(starts, offsets)), "{starts:?} {offsets:?}");
        }
        assert!(Popped::read(br#"{"code":0,"opaque":1}"#).is_none());
    }

    #[test]
    fn an_acknowledgement_says_which_message_of_which_pop() {
        let popped = popped();
        let mut out = Vec::new();
        frames().append_ack(&mut out, &popped, &popped.queues[0], 102, 200_000_001);
        let frame = next_frame(&out).unwrap().unwrap();
        assert_eq!(frame.wire_bytes, out.len());
        let mut arena = HeaderArena::default();
        let header = decode(frame.kind, frame.header, &mut arena).unwrap();
        assert_eq!((header.code, header.opaque), (request::ACK_MESSAGE, 200_000_001));
        let ack = AckHeader::from_ext(&header.ext).unwrap();
        assert_eq!((ack.topic, ack.consumer_group), ("bench", "workers"));
        assert_eq!((ack.queue_id, ack.offset), (2, 102));
        assert_eq!(ack.extra_info, "100 1700000000123 60000 3 0 broker-a 2 102");
        let receipt = Receipt::read(ack.extra_info).unwrap();
        assert_eq!((receipt.popped_at, receipt.in_order), (1_700_000_000_123, false));
    }

    #[test]
    fn one_acknowledgement_names_all_messages_of_a_pop() {
        let mut out = Vec::new();
        frames().append_batch_ack(&mut out, &popped(), 200_000_002).unwrap();
        let frame = next_frame(&out).unwrap().unwrap();
        assert_eq!(frame.wire_bytes, out.len());
        let mut arena = HeaderArena::default();
        let header = decode(frame.kind, frame.header, &mut arena).unwrap();
        assert_eq!((header.code, header.opaque), (request::BATCH_ACK_MESSAGE, 200_000_002));
        let body = BatchAckBody::read(frame.body).unwrap();
        assert_eq!((&*body.broker_name, body.acks.len()), ("broker-a", 2));
        let [first, second] = &body.acks[..] else { panic!("two queues") };
        assert_eq!(
            (&*first.bits, first.queue_id, first.bits().iter().collect()),
            ("BQI=", 2, vec![100, 102, 109])
        );
        assert_eq!((second.queue_id, second.bits().iter().collect()), (11, vec![5]));
        assert_eq!(
            (&*first.consumer_group, &*first.topic, &*first.retry),
            ("workers", "bench", "0")
        );
        assert_eq!((first.pop_time, first.invisible_time), (1_700_000_000_123, 60_000));
        assert_eq!((first.revive_queue_id, first.start_offset), (3, 100));
    }

    #[test]
    fn offsets_that_no_bits_can_name_are_none() {
        let bits = |offsets| PoppedQueue { id: 0, start: 10, offsets }.bits();
        assert_eq!(bits(vec![10, 17, 18]), Some(vec![0b1000_0001, 1]));
        assert_eq!(bits(vec![9]), None);
        assert_eq!(bits(vec![i64::MIN]), None);
        assert_eq!(bits(vec![10 + SPAN_MAX as i64]), None);
    }

    #[test]
    fn what_no_broker_takes_is_refused() {
        assert!(PopFrames::new("a\"b", "g", "b", 32).is_err());
        assert!(PopFrames::new("t", "", "b", 32).is_err());
        assert!(PopFrames::new("t", "g", "b c", 32).is_err());
        assert!(PopFrames::new("t", "g", "b", 33).is_err());
        assert!(PopFrames::new("t", "g", "b", 0).is_err());
    }
}
