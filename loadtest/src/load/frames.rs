//! Requests encoded once, as a Java 4.9.8 client writes them, with the few bytes that change patched in place.
//!
//! A send costs one copy of some 500 bytes and about 30 stored digits. Every patched field has a fixed width:
//! `opaque` 9 digits (see `slots`), `bornTimestamp` 13 digits, the last 8 hex digits of UNIQ_KEY. The tests decode
//! the result with the general decoders, so a template that drifts from the protocol does not compile into a lie.

use std::fmt;
use std::io::Write;

use super::LoadError;

/// Lowest `opaque` we send; all have nine digits, so that their place in a header never moves.
pub const OPAQUE_MIN: u32 = 100_000_000;
/// Most topics of one run: their numbers have six digits.
pub const TOPICS_MAX: u64 = 1_000_000;
const TOPIC_DIGITS: usize = 6;
pub(super) const BORN_PLACEHOLDER: &str = "1700000000000";
pub(super) const OPAQUE_PLACEHOLDER: &str = "100000000";
/// IPv4, pid, class loader hash, month time, counter, as Java builds it; only the last 8 digits count up here.
pub(super) const UNIQUE_PREFIX: &str = "7F000001303918B4AAC208A1";
pub(super) const UNIQUE_COUNTER_PLACEHOLDER: &str = "00000000";

/// What the send templates are made from.
#[derive(Clone, Debug)]
pub struct SendShape {
    /// Topic to send to.
    pub topic: String,
    /// 1 sends to that topic; more send to [`numbered`] topics of it, `0..topics`.
    pub topics: u32,
    /// Queues (of all topics) are picked uniformly at random instead of in turn.
    pub random: bool,
    /// Queue ids `0..queues` are used in turn, at least 1; also the number of queues asked for should the broker
    /// create the topic (Java brokers grant up to 8).
    pub queues: u32,
    /// Bytes of each message's body.
    pub body_bytes: usize,
    /// Messages per request: 1 sends code 310, more send code 320.
    pub batch: u32,
}

/// One pre-encoded send request per queue of a topic; which of several topics is patched, so that eighty thousand
/// queues cost the loader no more memory (and no more cache misses) than eight.
pub struct SendFrames {
    templates: Vec<Template>,
    topics: usize,
    random: bool,
    batch: u32,
    unique: u32,
}

struct Template {
    bytes: Vec<u8>,
    /// Digits of the topic's number, when there are several.
    topic_at: Option<usize>,
    opaque_at: usize,
    born_at: usize,
    unique_at: Vec<usize>,
}

impl SendFrames {
    /// Encodes the templates. Refuses names that would need escaping and shapes that no broker accepts.
    pub fn new(shape: &SendShape) -> Result<SendFrames, LoadError> {
        check_name("topic", &shape.topic)?;
        check_range("queues", "1..=100000", u64::from(shape.queues), 1, 100_000)?;
        check_range("topics", "1..=1000000", u64::from(shape.topics), 1, TOPICS_MAX)?;
        check_range("batch", "1..=10000", u64::from(shape.batch), 1, 10_000)?;
        check_range("body", "1..=4194304 bytes", shape.body_bytes as u64, 1, 4 << 20)?;
        let templates = (0..shape.queues).map(|queue| Template::new(shape, queue)).collect();
        Ok(SendFrames {
            templates,
            topics: shape.topics as usize,
            random: shape.random,
            batch: shape.batch,
            unique: 0,
        })
    }

    /// Messages that one request carries.
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// Queues of all topics together.
    pub fn queues(&self) -> usize {
        self.templates.len() * self.topics
    }

    /// The queue to send to after `queue`, below [`SendFrames::queues`].
    pub fn queue_after(&self, queue: usize) -> usize {
        if self.random { fastrand::usize(..self.queues()) } else { (queue + 1) % self.queues() }
    }

    /// Bytes of one request on the wire.
    pub fn wire_bytes(&self) -> usize {
        self.templates[0].bytes.len()
    }

    /// Appends one request to `out`. `opaque` must have nine digits, `born_ms` thirteen.
    pub fn append(&mut self, out: &mut Vec<u8>, queue: usize, opaque: u32, born_ms: u64) {
        assert!((OPAQUE_MIN..1_000_000_000).contains(&opaque));
        let template = &self.templates[queue % self.templates.len()];
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        let frame = &mut out[start..];
        if let Some(at) = template.topic_at {
            let number = queue / self.templates.len();
            write_digits(&mut frame[at..at + TOPIC_DIGITS], number as u64);
        }
        write_digits(&mut frame[template.opaque_at..template.opaque_at + 9], u64::from(opaque));
        write_digits(&mut frame[template.born_at..template.born_at + 13], born_ms);
        for &at in &template.unique_at {
            write_hex(&mut frame[at..at + 8], self.unique);
            self.unique = self.unique.wrapping_add(1);
        }
    }
}

impl Template {
    fn new(shape: &SendShape, queue: u32) -> Template {
        let text = "The quick brown fox jumps over the lazy dog. ".as_bytes();
        let body: Vec<u8> = text.iter().copied().cycle().take(shape.body_bytes).collect();
        let single = shape.batch == 1;
        let unique = format!("{UNIQUE_PREFIX}{UNIQUE_COUNTER_PLACEHOLDER}");
        // A batch carries the unique keys inside; the request itself then has WAIT only.
        let properties = if single {
            format!("UNIQ_KEY\\u0001{unique}\\u0002WAIT\\u0001true\\u0002TAGS\\u0001TagA")
        } else {
            "WAIT\\u0001true".to_string()
        };
        let code = if single { 310 } else { 320 };
        let several = shape.topics > 1;
        let topic = if several { numbered(&shape.topic, 0) } else { shape.topic.clone() };
        let header = format!(
            "{{\"code\":{code},\"extFields\":{{\"a\":\"mqbench\",\"b\":\"{topic}\",\"c\":\"TBW102\",\"d\":\"{queues}\",\
             \"e\":\"{queue}\",\"f\":\"0\",\"g\":\"{BORN_PLACEHOLDER}\",\"h\":\"0\",\"i\":\"{properties}\",\
             \"j\":\"0\",\"k\":\"false\",\"m\":\"{is_batch}\",\"n\":\"broker-a\"}},\"flag\":0,\"language\":\"JAVA\",\
             \"opaque\":{OPAQUE_PLACEHOLDER},\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}",
            queues = shape.queues,
            is_batch = !single,
        );
        let body = if single { body } else { batch_body(shape.batch, &body, &unique) };
        let mut bytes = Vec::new();
        append_frame(&mut bytes, format_args!("{header}"), &body);
        let counter_behind_prefix: Vec<usize> = memchr::memmem::find_iter(&bytes, UNIQUE_PREFIX)
            .map(|at| at + UNIQUE_PREFIX.len())
            .collect();
        assert_eq!(counter_behind_prefix.len(), shape.batch as usize);
        let topic_at = several.then(|| place_of(&bytes, "\"b\":\"") + shape.topic.len() + 1);
        Template {
            topic_at,
            opaque_at: place_of(&bytes, "\"opaque\":"),
            born_at: place_of(&bytes, "\"g\":\""),
            unique_at: counter_behind_prefix,
            bytes,
        }
    }
}

/// Name of topic number `number` of a run over many, below [`TOPICS_MAX`].
pub fn numbered(topic: &str, number: u64) -> String {
    assert!(number < TOPICS_MAX);
    format!("{topic}-{number:0width$}", width = TOPIC_DIGITS)
}

/// A pull request (code 11) as a Java 4.9.8 pull consumer sends it: subscription `*`, no parking.
/// Pulls carry tens of messages each, so they are formatted anew every time.
pub fn append_pull(
    out: &mut Vec<u8>,
    topic: &str,
    queue: u32,
    offset: i64,
    batch: u32,
    opaque: u32,
) {
    let header = format!(
        "{{\"code\":11,\"extFields\":{{\"queueId\":\"{queue}\",\"maxMsgNums\":\"{batch}\",\"sysFlag\":\"4\",\
         \"suspendTimeoutMillis\":\"0\",\"commitOffset\":\"0\",\"bname\":\"broker-a\",\"topic\":\"{topic}\",\
         \"queueOffset\":\"{offset}\",\"expressionType\":\"TAG\",\"subVersion\":\"0\",\"consumerGroup\":\"mqbench\",\
         \"subscription\":\"*\"}},\"flag\":0,\"language\":\"JAVA\",\"opaque\":{opaque},\
         \"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
    );
    append_frame(out, format_args!("{header}"), &[]);
}

/// A GET_MIN_OFFSET request (code 31): cheap, answered from memory; used to touch a connection and to start a drain.
pub fn append_min_offset(out: &mut Vec<u8>, topic: &str, queue: u32, opaque: u32) {
    let header = format!(
        "{{\"code\":31,\"extFields\":{{\"queueId\":\"{queue}\",\"topic\":\"{topic}\"}},\"flag\":0,\
         \"language\":\"JAVA\",\"opaque\":{opaque},\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}}"
    );
    append_frame(out, format_args!("{header}"), &[]);
}

/// Refuses names that would have to be escaped in JSON.
pub fn check_name(what: &'static str, value: &str) -> Result<(), LoadError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"%|_-".contains(&b);
    if !value.is_empty() && value.bytes().all(plain) {
        return Ok(());
    }
    Err(LoadError::Name { what, value: value.to_string() })
}

/// Refuses numbers outside of `min..=max`.
pub fn check_range(
    what: &'static str,
    range: &'static str,
    value: u64,
    min: u64,
    max: u64,
) -> Result<(), LoadError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(LoadError::Range { what, range, value }) }
}

/// Appends a frame, its header formatted in its place.
pub(super) fn append_frame(out: &mut Vec<u8>, header: fmt::Arguments<'_>, body: &[u8]) {
    let start = out.len();
    // The two length words, known when the rest is there.
    out.extend_from_slice(&[0; 8]);
    // Writing into a vector does not fail.
    let _ = out.write_fmt(header);
    let header_bytes = (out.len() - start - 8) as u32;
    out.extend_from_slice(body);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&header_bytes.to_be_bytes());
}

fn batch_body(messages: u32, body: &[u8], unique: &str) -> Vec<u8> {
    let properties = format!("UNIQ_KEY\u{1}{unique}\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA");
    let size = 4 + 4 + 4 + 4 + 4 + body.len() + 2 + properties.len();
    let mut out = Vec::with_capacity(size * messages as usize);
    for _ in 0..messages {
        out.extend_from_slice(&(size as u32).to_be_bytes());
        out.extend_from_slice(&[0; 12]); // magic, body CRC and flag, all unused in a request
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(&(properties.len() as u16).to_be_bytes());
        out.extend_from_slice(properties.as_bytes());
    }
    out
}

/// Behind the first `key`, which is there.
pub(super) fn place_of(bytes: &[u8], key: &str) -> usize {
    memchr::memmem::find(bytes, key.as_bytes()).expect("we wrote this key ourselves") + key.len()
}

/// Fills the place with decimal digits.
pub(super) fn write_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    assert!(value == 0);
}

/// Fills the place with hexadecimal digits.
pub(super) fn write_hex(place: &mut [u8], mut value: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(batch: u32) -> SendShape {
        SendShape {
            topic: "bench".into(),
            topics: 1,
            random: false,
            queues: 12,
            body_bytes: 128,
            batch,
        }
    }

    #[test]
    fn single_sends_patch_only_fixed_places() {
        let mut frames = SendFrames::new(&shape(1)).unwrap();
        let mut out = Vec::new();
        frames.append(&mut out, 3, 123_456_789, 1_799_999_999_999);
        let one = out.len();
        frames.append(&mut out, 11, 987_654_321, 1_800_000_000_001);
        let text = String::from_utf8_lossy(&out[8..one]).to_string();
        assert!(text.starts_with("{\"code\":310,\"extFields\":{\"a\":\"mqbench\",\"b\":\"bench\""));
        assert!(text.contains("\"e\":\"3\"") && text.contains("\"g\":\"1799999999999\""));
        assert!(text.contains("\"opaque\":123456789,"));
        assert!(text.contains(&format!("{UNIQUE_PREFIX}00000000\\u0002WAIT")));
        let second = String::from_utf8_lossy(&out[one + 8..]).to_string();
        assert!(second.contains("\"e\":\"11\"") && second.contains("\"opaque\":987654321,"));
        assert!(second.contains(&format!("{UNIQUE_PREFIX}00000001\\u0002WAIT")));
    }

    #[test]
    fn many_topics_are_gone_through_queue_by_queue() {
        let mut frames = SendFrames::new(&SendShape { topics: 3, ..shape(1) }).unwrap();
        assert_eq!(frames.queues(), 36);
        assert_eq!(frames.queue_after(35), 0);
        let mut out = Vec::new();
        frames.append(&mut out, 27, OPAQUE_MIN, 1_799_999_999_999);
        let text = String::from_utf8_lossy(&out[8..]).to_string();
        assert!(text.contains("\"b\":\"bench-000002\"") && text.contains("\"e\":\"3\""));
    }

    #[test]
    fn a_batch_counts_its_unique_keys() {
        let mut frames = SendFrames::new(&shape(3)).unwrap();
        let mut out = Vec::new();
        frames.append(&mut out, 0, OPAQUE_MIN, 1_799_999_999_999);
        frames.append(&mut out, 0, OPAQUE_MIN, 1_799_999_999_999);
        for counter in 0..6 {
            let key = format!("{UNIQUE_PREFIX}{counter:08X}");
            assert!(memchr::memmem::find(&out, key.as_bytes()).is_some(), "{key}");
        }
    }

    #[test]
    fn names_that_need_escaping_are_refused() {
        assert!(check_name("topic", "a\"b").is_err());
        assert!(check_name("topic", "").is_err());
        assert!(check_name("topic", "%RETRY%a|b_c-1").is_ok());
    }
}
