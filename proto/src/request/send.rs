//! Headers of requests that bring messages: sends of both spellings, consumer send-back, transaction end.
//!
//! A send exists twice on the wire: version 1 spells its fields out (codes 10 and 324), version 2 gives each a letter
//! (310, 320 and 325). Both become one [`SendHeader`].

use super::field::{FieldError, header, optional, required};
use crate::command::Ext;

/// `SEND_MESSAGE` (10), `SEND_MESSAGE_V2` (310), `SEND_BATCH_MESSAGE` (320), `SEND_REPLY_MESSAGE` (324) and its V2 (325).
/// Source: Apache RocketMQ 5.3.3, remoting `SendMessageRequestHeader`, `SendMessageRequestHeaderV2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendHeader<'a> {
    /// Producer group; for messages to a retry topic the consumer group. Letter `a`.
    pub producer_group: &'a str,
    /// Target topic. Letter `b`.
    pub topic: &'a str,
    /// Template for creating a missing topic, normally `TBW102`. Letter `c`; not every version insists, so absent is empty.
    pub default_topic: &'a str,
    /// Queues wanted for a created topic. Letter `d`; absent is 0.
    pub default_topic_queue_nums: i32,
    /// Target queue; negative lets the broker choose. Letter `e`.
    pub queue_id: i32,
    /// Message flags (compressed, transaction phase). Letter `f`.
    pub sys_flag: i32,
    /// When the client made the message, ms since the epoch by its clock. Letter `g`.
    pub born_timestamp: i64,
    /// The application's own number. Letter `h`.
    pub flag: i32,
    /// Properties as the record stores them: name 0x01 value 0x02. Letter `i`; absent is empty.
    pub properties: &'a str,
    /// Deliveries so far of a message that is sent again. Letter `j`; absent is 0.
    pub reconsume_times: i32,
    /// Letter `k`; absent is false.
    pub unit_mode: bool,
    /// The body holds several messages. Letter `m`; absent is false. C++ says `1`, which Java overlooks.
    pub batch: bool,
    /// Deliveries after which a retried message is dead. Letter `l`.
    pub max_reconsume_times: Option<i32>,
}

/// The texts of a send before they get their types, in the order of the struct.
#[derive(Default)]
struct Texts<'a> {
    producer_group: Option<&'a str>,
    topic: Option<&'a str>,
    default_topic: Option<&'a str>,
    default_topic_queue_nums: Option<&'a str>,
    queue_id: Option<&'a str>,
    sys_flag: Option<&'a str>,
    born_timestamp: Option<&'a str>,
    flag: Option<&'a str>,
    properties: Option<&'a str>,
    reconsume_times: Option<&'a str>,
    unit_mode: Option<&'a str>,
    batch: Option<&'a str>,
    max_reconsume_times: Option<&'a str>,
}

impl<'a> SendHeader<'a> {
    /// Reads the spelled-out fields (codes 10 and 324). Errors name them so.
    pub fn from_ext_v1(ext: &Ext<'a>) -> Result<Self, FieldError> {
        let mut texts = Texts::default();
        for (key, value) in ext.iter() {
            let slot = match key.as_bytes() {
                b"producerGroup" => &mut texts.producer_group,
                b"topic" => &mut texts.topic,
                b"defaultTopic" => &mut texts.default_topic,
                b"defaultTopicQueueNums" => &mut texts.default_topic_queue_nums,
                b"queueId" => &mut texts.queue_id,
                b"sysFlag" => &mut texts.sys_flag,
                b"bornTimestamp" => &mut texts.born_timestamp,
                b"flag" => &mut texts.flag,
                b"properties" => &mut texts.properties,
                b"reconsumeTimes" => &mut texts.reconsume_times,
                b"unitMode" => &mut texts.unit_mode,
                b"batch" => &mut texts.batch,
                b"maxReconsumeTimes" => &mut texts.max_reconsume_times,
                _ => continue,
            };
            *slot = Some(value);
        }
        Self::from_texts(&texts)
    }

    /// Reads the one-letter fields (codes 310, 320 and 325). Errors name them spelled out.
    pub fn from_ext_v2(ext: &Ext<'a>) -> Result<Self, FieldError> {
        let mut texts = Texts::default();
        for (key, value) in ext.iter() {
            let &[letter] = key.as_bytes() else { continue };
            let slot = match letter {
                b'a' => &mut texts.producer_group,
                b'b' => &mut texts.topic,
                b'c' => &mut texts.default_topic,
                b'd' => &mut texts.default_topic_queue_nums,
                b'e' => &mut texts.queue_id,
                b'f' => &mut texts.sys_flag,
                b'g' => &mut texts.born_timestamp,
                b'h' => &mut texts.flag,
                b'i' => &mut texts.properties,
                b'j' => &mut texts.reconsume_times,
                b'k' => &mut texts.unit_mode,
                b'l' => &mut texts.max_reconsume_times,
                b'm' => &mut texts.batch,
                _ => continue,
            };
            *slot = Some(value);
        }
        Self::from_texts(&texts)
    }

    fn from_texts(texts: &Texts<'a>) -> Result<Self, FieldError> {
        Ok(Self {
            producer_group: required("producerGroup", texts.producer_group)?,
            topic: required("topic", texts.topic)?,
            default_topic: texts.default_topic.unwrap_or_default(),
            default_topic_queue_nums: optional(texts.default_topic_queue_nums).unwrap_or(0),
            queue_id: required("queueId", texts.queue_id)?,
            sys_flag: required("sysFlag", texts.sys_flag)?,
            born_timestamp: required("bornTimestamp", texts.born_timestamp)?,
            flag: required("flag", texts.flag)?,
            properties: texts.properties.unwrap_or_default(),
            reconsume_times: optional(texts.reconsume_times).unwrap_or(0),
            unit_mode: optional(texts.unit_mode).unwrap_or(false),
            batch: optional(texts.batch).unwrap_or(false),
            max_reconsume_times: optional(texts.max_reconsume_times),
        })
    }
}

header! {
    /// `CONSUMER_SEND_MSG_BACK` (36): a consumer failed a message and wants it later.
    /// Source: Apache RocketMQ 5.3.3, remoting `ConsumerSendMsgBackRequestHeader`.
    SendBackHeader {
        /// Physical offset of the message, as the consumer received it.
        offset: i64 = "offset" required,
        /// Consumer group that wants it again.
        group: &'a str = "group" required,
        /// Below 0 gives up, 0 lets the broker choose, above 0 is the delay level.
        delay_level: i32 = "delayLevel" required,
        /// Offset message id, for logs.
        origin_msg_id: Option<&'a str> = "originMsgId" optional,
        /// Topic the consumer got it from.
        origin_topic: Option<&'a str> = "originTopic" optional,
        /// Absent is false.
        unit_mode: bool = "unitMode" default(false),
        /// Deliveries after which the message is dead; honoured from client version 121 on.
        max_reconsume_times: Option<i32> = "maxReconsumeTimes" optional,
    }
}

header! {
    /// `RECALL_MESSAGE` (370). Source: Apache RocketMQ 5.3.3, remoting `RecallMessageRequestHeader`.
    RecallHeader {
        /// Topic of the message.
        topic: &'a str = "topic" required,
        /// What the answer to its send has given, see [`crate::recall_handle`].
        recall_handle: &'a str = "recallHandle" required,
        /// Producer group of who recalls it.
        producer_group: Option<&'a str> = "producerGroup" optional,
    }
}

header! {
    /// `RESUME_CHECK_HALF_MESSAGE` (323): take back a half message that was given up.
    /// Source: Apache RocketMQ 5.3.3, remoting `ResumeCheckHalfMessageRequestHeader`.
    ResumeCheckHeader {
        /// Offset message id of the copy that lies where half messages go that are given up.
        msg_id: &'a str = "msgId" required,
        /// Sent by 5.x tools.
        topic: Option<&'a str> = "topic" optional,
    }
}

header! {
    /// `END_TRANSACTION` (37): commit or roll back a half message, normally one-way.
    /// Source: Apache RocketMQ 5.3.3, remoting `EndTransactionRequestHeader`.
    EndTransactionHeader {
        /// Group that sent the half message.
        producer_group: &'a str = "producerGroup" required,
        /// Queue offset of the half message.
        tran_state_table_offset: i64 = "tranStateTableOffset" required,
        /// Physical offset of the half message, which the client takes from the last 8 bytes of its message id.
        commit_log_offset: i64 = "commitLogOffset" required,
        /// 8 commit, 12 roll back, 0 unknown.
        commit_or_rollback: i32 = "commitOrRollback" required,
        /// Whether this answers a check; absent is false.
        from_transaction_check: bool = "fromTransactionCheck" default(false),
        /// Unique id of the message.
        msg_id: &'a str = "msgId" required,
        /// What the send response carried.
        transaction_id: Option<&'a str> = "transactionId" optional,
        /// Sent by 5.x clients.
        topic: Option<&'a str> = "topic" optional,
    }
}
