//! Messages on their way out and in.

use std::net::SocketAddr;

use proto::properties;
use proto::record::RecordView;

/// A message to send.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue; negative lets the broker choose.
    pub queue_id: i32,
    /// Body.
    pub body: &'a [u8],
    /// Properties as name and value; UNIQ_KEY is not added by itself.
    pub properties: &'a [(&'a str, &'a str)],
    /// `sysFlag` bits of RocketMQ; 0 for a plain message.
    pub sys_flag: i32,
    /// The user's flag, carried as it is.
    pub flag: i32,
    /// When it was made, ms since the epoch.
    pub born_timestamp: i64,
    /// Producer group.
    pub group: &'a str,
    /// How many queues the broker shall create for an unknown topic.
    pub topic_queues: i32,
}

impl<'a> Message<'a> {
    /// A plain message without properties.
    pub fn new(topic: &'a str, queue_id: i32, body: &'a [u8]) -> Message<'a> {
        Message {
            topic,
            queue_id,
            body,
            properties: &[],
            sys_flag: 0,
            flag: 0,
            born_timestamp: crate::send::now_ms(),
            group: "client-tests",
            topic_queues: 4,
        }
    }

    /// The same with these properties.
    pub fn with_properties(mut self, properties: &'a [(&'a str, &'a str)]) -> Message<'a> {
        self.properties = properties;
        self
    }

    /// The properties in wire form, without a separator at the end (as Java 4.9.8 writes them).
    pub fn properties_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.properties {
            if !text.is_empty() {
                text.push(properties::ENTRY_SEPARATOR);
            }
            text.push_str(name);
            text.push(properties::NAME_VALUE_SEPARATOR);
            text.push_str(value);
        }
        text
    }
}

/// What the broker says about an accepted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// offsetMsgId; of a batch all of them, with commas between.
    pub message_id: String,
    /// The queue that it went to.
    pub queue_id: i32,
    /// Its place in that queue; of a batch the first one's.
    pub queue_offset: i64,
    /// Id of a transactional message, absent otherwise (and always with 4.9 brokers).
    pub transaction_id: Option<String>,
    /// With this it can be recalled, while it waits for its time.
    pub recall_handle: Option<String>,
}

/// A message that came from the broker. Its body passed the CRC check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue_id: i32,
    /// Place in the queue.
    pub queue_offset: i64,
    /// Place in the commit log.
    pub physical_offset: i64,
    /// `sysFlag` bits.
    pub sys_flag: i32,
    /// The user's flag.
    pub flag: i32,
    /// When the producer made it, ms since the epoch.
    pub born_timestamp: i64,
    /// The producer's address as the broker saw it.
    pub born_host: SocketAddr,
    /// When the broker stored it, ms since the epoch.
    pub store_timestamp: i64,
    /// The broker that stored it.
    pub store_host: SocketAddr,
    /// How often it was given back.
    pub reconsume_times: i32,
    /// Where the half message lies that it was, or 0.
    pub prepared_transaction_offset: i64,
    /// Bytes of the whole record.
    pub store_size: usize,
    /// CRC of the body.
    pub body_crc: u32,
    /// Body.
    pub body: Vec<u8>,
    /// Properties in wire form.
    pub properties: String,
}

impl Received {
    pub(crate) fn new(record: &RecordView<'_>) -> Received {
        Received {
            topic: record.topic().to_string(),
            queue_id: record.queue_id(),
            queue_offset: record.queue_offset(),
            physical_offset: record.physical_offset(),
            sys_flag: record.sys_flag(),
            flag: record.flag(),
            born_timestamp: record.born_timestamp(),
            born_host: record.born_host(),
            store_timestamp: record.store_timestamp(),
            store_host: record.store_host(),
            reconsume_times: record.reconsume_times(),
            prepared_transaction_offset: record.prepared_transaction_offset(),
            store_size: record.total_size(),
            body_crc: record.body_crc(),
            body: record.body().to_vec(),
            properties: String::from_utf8_lossy(record.properties()).into_owned(),
        }
    }

    /// A property.
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }

    /// The offsetMsgId that leads back to this message.
    pub fn message_id(&self) -> String {
        proto::message_id::encode(self.store_host, self.physical_offset).as_str().to_string()
    }
}
