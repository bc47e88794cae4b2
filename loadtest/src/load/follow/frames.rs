//! Batches and pulls of `mqbench follow`: each message says its number and has a class, which decides what filters it matches.
//!
//! A message's class is a number from 0 to 99, each once among a hundred messages in a row. Its property `a` is the class, its
//! tag the smallest share in percent (1, 50, 100) that it belongs to. The number stands at the beginning of the body, behind the
//! mark of the run, so that who receives it knows when it was meant to be sent, and whether it was asked for.

use proto::batch::{self, BatchMessage};

use super::Case;
use crate::load::LoadError;
use crate::load::frames::{
    BORN_PLACEHOLDER, OPAQUE_PLACEHOLDER, UNIQUE_COUNTER_PLACEHOLDER, UNIQUE_PREFIX, append_frame,
    check_name, check_range, place_of, write_digits, write_hex,
};

/// Bytes of a body that are ours: mark and number.
pub const STAMP_BYTES: usize = 16;
const CLASSES: u64 = 100;
/// Has no divisor in common with [`CLASSES`]: messages in a row have classes that lie apart.
const CLASS_STEP: u64 = 61;
/// A batch's frame stays below what brokers take, 4 MiB.
const BATCH_BYTES_MAX: u64 = 4 << 20;
/// Of a message in a batch, besides its body: about.
const MESSAGE_OVERHEAD_BYTES: u64 = 150;

/// What batches are made from.
#[derive(Clone, Debug)]
pub struct BatchShape<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queues, used in turn.
    pub queues: u32,
    /// Bytes of each body, at least [`STAMP_BYTES`].
    pub body_bytes: usize,
    /// Messages of a request.
    pub batch: u32,
    /// Tells the messages of this run from others.
    pub mark: u64,
}

/// One pre-encoded SEND_BATCH_MESSAGE per queue. Places are the same in all of them but for the header's length.
pub struct BatchFrames {
    templates: Vec<Template>,
    batch: u32,
}

struct Template {
    bytes: Vec<u8>,
    opaque_at: usize,
    born_at: usize,
    first: Places,
    /// From one message to the next.
    message_bytes: usize,
}

/// Where a message's number, tag, class and unique key stand.
struct Places {
    number: usize,
    tag: usize,
    class: usize,
    unique: usize,
}

impl BatchFrames {
    /// Encodes the templates. Refuses shapes that no broker takes.
    pub fn new(shape: &BatchShape<'_>) -> Result<BatchFrames, LoadError> {
        check_name("topic", shape.topic)?;
        check_range("queues", "1..=1000", shape.queues.into(), 1, 1_000)?;
        check_range("batch", "1..=10000", shape.batch.into(), 1, 10_000)?;
        let body_range = "16..=1048576 bytes";
        check_range("body", body_range, shape.body_bytes as u64, STAMP_BYTES as u64, 1 << 20)?;
        let bytes = u64::from(shape.batch) * (shape.body_bytes as u64 + MESSAGE_OVERHEAD_BYTES);
        check_range("batch", "at most 4 MiB in all", bytes, 1, BATCH_BYTES_MAX)?;
        let templates = (0..shape.queues).map(|queue| Template::new(shape, queue)).collect();
        Ok(BatchFrames { templates, batch: shape.batch })
    }

    /// Messages of a request.
    pub fn batch(&self) -> u64 {
        self.batch.into()
    }

    /// Appends request `number` of the run, which carries messages `number * batch` and on. `opaque` must have nine digits,
    /// `born_ms` thirteen.
    pub fn append(&self, out: &mut Vec<u8>, number: u64, opaque: u32, born_ms: u64) {
        let queue = (number % self.templates.len() as u64) as usize;
        let template = &self.templates[queue];
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        let frame = &mut out[start..];
        write_digits(&mut frame[template.opaque_at..][..9], u64::from(opaque));
        write_digits(&mut frame[template.born_at..][..13], born_ms);
        let mut message = 0;
        for number in number * self.batch()..(number + 1) * self.batch() {
            let (class, at) = (class_of(number), &template.first);
            frame[message + at.number..][..8].copy_from_slice(&number.to_be_bytes());
            write_digits(&mut frame[message + at.tag..][..3], tag_of(class));
            write_digits(&mut frame[message + at.class..][..2], class);
            write_hex(&mut frame[message + at.unique..][..8], number as u32);
            message += template.message_bytes;
        }
    }
}

impl Template {
    fn new(shape: &BatchShape<'_>, queue: u32) -> Template {
        let mut body = shape.mark.to_be_bytes().to_vec();
        body.resize(shape.body_bytes, b'x');
        let properties = format!(
            "UNIQ_KEY\u{1}{UNIQUE_PREFIX}{UNIQUE_COUNTER_PLACEHOLDER}\u{2}WAIT\u{1}true\u{2}TAGS\u{1}t000\u{2}\
             region\u{1}x\u{2}a\u{1}00\u{2}kind\u{1}order"
        );
        let message = BatchMessage { flag: 0, body: &body, properties: properties.as_bytes() };
        let mut batch = Vec::new();
        for _ in 0..shape.batch {
            batch::write(&mut batch, &message).expect("the shape was checked");
        }
        let mut bytes = Vec::new();
        let (topic, queues) = (shape.topic, shape.queues);
        append_frame(
            &mut bytes,
            format_args!(
                "{{\"code\":320,\"extFields\":{{\"a\":\"mqbench\",\"b\":\"{topic}\",\"c\":\"TBW102\",\"d\":\"{queues}\",\
                 \"e\":\"{queue}\",\"f\":\"0\",\"g\":\"{BORN_PLACEHOLDER}\",\"h\":\"0\",\"i\":\"WAIT\\u0001true\",\
                 \"j\":\"0\",\"k\":\"false\",\"m\":\"true\",\"n\":\"broker-a\"}},\"flag\":0,\"language\":\"JAVA\",\
                 \"opaque\":{OPAQUE_PLACEHOLDER},\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
            ),
            &batch,
        );
        let in_message = |key: &str| bytes.len() - batch.len() + place_of(&batch, key);
        let mark = memchr::memmem::find(&bytes, &body).expect("we wrote it ourselves");
        Template {
            opaque_at: place_of(&bytes, "\"opaque\":"),
            born_at: place_of(&bytes, "\"g\":\""),
            first: Places {
                number: mark + 8,
                tag: in_message("TAGS\u{1}t"),
                class: in_message("\u{2}a\u{1}"),
                unique: in_message(UNIQUE_PREFIX),
            },
            message_bytes: batch.len() / shape.batch as usize,
            bytes,
        }
    }
}

/// Class of a message.
pub fn class_of(number: u64) -> u64 {
    (number % CLASSES) * CLASS_STEP % CLASSES
}

fn tag_of(class: u64) -> u64 {
    match class {
        0 => 1,
        1..50 => 50,
        _ => 100,
    }
}

/// How many of the messages before `number` a filter of this share lets through.
pub fn matching_before(number: u64, share_percent: u64) -> u64 {
    let rest = number - number % CLASSES..number;
    let whole = number / CLASSES * share_percent;
    whole + rest.filter(|number| class_of(*number) < share_percent).count() as u64
}

/// Mark and number of a message, from its body.
pub fn stamp_of(body: &[u8]) -> Option<(u64, u64)> {
    let (mark, rest) = body.split_first_chunk()?;
    let number = rest.first_chunk()?;
    Some((u64::from_be_bytes(*mark), u64::from_be_bytes(*number)))
}

/// What stays the same in the pulls of a consumer.
pub struct PullShape<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Group.
    pub group: &'a str,
    /// Its filter.
    pub case: &'a Case,
    /// Messages asked for.
    pub count_max: u32,
    /// How long it waits at the broker.
    pub park_ms: u64,
}

impl PullShape<'_> {
    /// Appends a pull that brings its filter along and waits at the broker when there is nothing.
    pub fn append(&self, out: &mut Vec<u8>, queue: u32, offset: i64, opaque: u32) {
        let PullShape { topic, group, case, count_max, park_ms } = self;
        let Case { language, expression, .. } = case;
        append_frame(
            out,
            format_args!(
                "{{\"code\":11,\"extFields\":{{\"queueId\":\"{queue}\",\"maxMsgNums\":\"{count_max}\",\"sysFlag\":\"6\",\
                 \"suspendTimeoutMillis\":\"{park_ms}\",\"commitOffset\":\"0\",\"bname\":\"broker-a\",\
                 \"topic\":\"{topic}\",\"queueOffset\":\"{offset}\",\"expressionType\":\"{language}\",\"subVersion\":\"0\",\
                 \"consumerGroup\":\"{group}\",\"subscription\":\"{expression}\"}},\"flag\":0,\"language\":\"JAVA\",\
                 \"opaque\":{opaque},\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
            ),
            &[],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::CASES;
    use super::*;
    use filter::Filter;
    use proto::command::{self, HeaderArena};
    use proto::frame;
    use proto::properties;
    use proto::request::{PullHeader, SendHeader};

    fn frames() -> BatchFrames {
        let shape =
            BatchShape { topic: "followed", queues: 8, body_bytes: 40, batch: 25, mark: 77 };
        BatchFrames::new(&shape).unwrap()
    }

    /// Properties of messages 0 to 200, read back from requests.
    fn properties_of_all() -> Vec<String> {
        let (mut out, mut arena, mut all) = (Vec::new(), HeaderArena::default(), Vec::new());
        let mut unique = std::collections::HashSet::new();
        for request in 0..8 {
            out.clear();
            frames().append(&mut out, request, 123_456_789, 1_799_999_999_999);
            let frame = frame::next_frame(&out).unwrap().unwrap();
            let header = command::decode(frame.kind, frame.header, &mut arena).unwrap();
            let send = SendHeader::from_ext_v2(&header.ext).unwrap();
            assert_eq!((header.code, header.opaque), (320, 123_456_789));
            assert_eq!((send.queue_id, send.born_timestamp), (request as i32, 1_799_999_999_999));
            for message in proto::batch::messages(frame.body) {
                let message = message.unwrap();
                assert_eq!(stamp_of(message.body), Some((77, all.len() as u64)));
                let properties = std::str::from_utf8(message.properties).unwrap().to_owned();
                unique.insert(properties::get(&properties, "UNIQ_KEY").unwrap().to_owned());
                all.push(properties);
            }
        }
        assert_eq!((all.len(), unique.len()), (200, 200));
        all
    }

    #[test]
    fn filters_let_exactly_their_share_through() {
        let all = properties_of_all();
        for case in CASES {
            let filter = (case.language == "SQL92").then(|| Filter::compile(case.expression));
            let filter = filter.map(|compiled| compiled.unwrap());
            let tags: Vec<&str> = case.expression.split("||").map(str::trim).collect();
            let passes = |text: &String| match &filter {
                Some(filter) => filter.matches(text.as_bytes()),
                None => tags == ["*"] || tags.contains(&properties::get(text, "TAGS").unwrap()),
            };
            for (number, text) in all.iter().enumerate() {
                let wanted = class_of(number as u64) < case.share_percent;
                assert_eq!(passes(text), wanted, "{}: {number} {text:?}", case.name);
            }
            for number in [0, 1, 77, 100, 199] {
                let passed = all.iter().take(number).filter(|text| passes(text)).count();
                assert_eq!(matching_before(number as u64, case.share_percent), passed as u64);
            }
        }
    }

    #[test]
    fn pulls_bring_their_filter_and_wait() {
        let case = CASES.iter().find(|case| case.name == "sql-50").unwrap();
        let shape =
            PullShape { topic: "followed", group: "g", case, count_max: 32, park_ms: 15_000 };
        let (mut out, mut arena) = (Vec::new(), HeaderArena::default());
        shape.append(&mut out, 3, 42, 100_000_003);
        let frame = frame::next_frame(&out).unwrap().unwrap();
        let header = command::decode(frame.kind, frame.header, &mut arena).unwrap();
        let pull = PullHeader::from_ext(&header.ext).unwrap();
        assert_eq!((pull.queue_id, pull.queue_offset, pull.sys_flag), (3, 42, 6));
        assert_eq!(pull.suspend_timeout_millis, 15_000);
        assert_eq!(pull.subscription, Some(case.expression));
        assert_eq!(pull.expression_type, Some("SQL92"));
    }
}
