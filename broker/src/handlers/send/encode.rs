//! From a request to the records that are stored: plain functions. A single message is encoded by whoever has the
//! memory for it; a batch is encoded here.

use super::timer::{self, Timer};
use crate::{
    config::BrokerConfig,
    control::names,
    error::Refusal,
    properties::{AddedProperties, KEYS_MAX, Scanned},
};
use proto::{
    batch,
    code::response,
    properties::{self, CHECK_IMMUNITY_TIME_IN_SECONDS, PGROUP},
    record::{self, RecordFields, SYS_FLAG_TRANSACTION_MASK, SYS_FLAG_TRANSACTION_PREPARED},
    request::SendHeader,
};
use std::net::SocketAddr;

/// Messages of one batch, at most: the response names each of them.
const BATCH_MESSAGES_MAX: usize = 32_768;

/// What all records of a request have in common.
pub(in crate::handlers) struct Origin<'a> {
    /// Its header.
    pub header: &'a SendHeader<'a>,
    /// The queue that was chosen.
    pub queue_id: u32,
    /// Who sent it.
    pub born_host: SocketAddr,
    /// Us.
    pub store_host: SocketAddr,
    /// What each stored message gets.
    pub added_properties: &'a AddedProperties,
}

impl<'a> Origin<'a> {
    /// The fields of one record. Queue offset, position and store time are set where it is appended.
    pub(in crate::handlers) fn fields(
        &self,
        flag: i32,
        body: &'a [u8],
        properties: [&'a [u8]; 3],
    ) -> RecordFields<'a> {
        RecordFields {
            queue_id: self.queue_id as i32,
            flag,
            sys_flag: self.header.sys_flag,
            born_timestamp: self.header.born_timestamp,
            born_host: self.born_host,
            store_host: self.store_host,
            reconsume_times: self.header.reconsume_times,
            prepared_transaction_offset: 0,
            body,
            topic: self.header.topic,
            properties,
        }
    }
}

/// The record cannot be stored as it is.
pub(in crate::handlers) fn illegal(remark: String) -> Refusal {
    Refusal::new(response::MESSAGE_ILLEGAL, remark)
}

/// A message has no more keys than are indexed.
pub(in crate::handlers) fn check_keys(scanned: &Scanned<'_>) -> Result<(), Refusal> {
    match scanned.excess_keys() {
        Some(count) => Err(illegal(format!("message with {count} keys, the limit is {KEYS_MAX}"))),
        None => Ok(()),
    }
}

/// The delay level that a message asks for; 0 and below: none.
pub(super) fn wanted_level(scanned: &Scanned<'_>) -> Result<i32, Refusal> {
    let Some(text) = scanned.delay else { return Ok(0) };
    text.parse().map_err(|_| illegal(format!("DELAY={text:?} is no delay level")))
}

/// For what a message waits before consumers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    /// The time of a delay level.
    Level(i32),
    /// What its producer decides, who is asked first after so many ms.
    Decision(i64),
    /// The time that it names.
    Timer(Timer),
}

/// For what a message waits. One that a consumer sends again is decided, though its properties may still say that it was
/// transactional once.
pub(super) fn wanted_wait(
    config: &BrokerConfig,
    scanned: &Scanned<'_>,
    header: &SendHeader<'_>,
    now: i64,
) -> Result<Wait, Refusal> {
    check_phase(scanned, header.sys_flag)?;
    let level = wanted_level(scanned)?;
    let timed = if level > 0 {
        Wait::Level(level)
    } else {
        let timer = timer::wanted(config, scanned, header.properties, now)?;
        timer.map_or(Wait::Nothing, Wait::Timer)
    };
    if !scanned.transaction {
        return Ok(timed);
    }
    let again = header.reconsume_times > 0;
    if again && (level > 0 || names::is_retry_topic(header.topic)) {
        return Ok(timed);
    }
    if config.reject_transaction_message {
        let remark = format!(
            "the broker[{}] sending transaction message is forbidden (rejectTransactionMessage)",
            config.broker_name
        );
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    let group = properties::get(header.properties, PGROUP).unwrap_or_default();
    if let Err(error) = names::check_group(group) {
        return Err(illegal(format!(
            "a transactional message whose PGROUP nobody can be in, who could decide on it: {error}"
        )));
    }
    Ok(Wait::Decision(first_check_ms(config, header.properties)))
}

/// After how many ms a half message is looked at first: at the latest when messages of its age are deleted, for it holds back
/// its segment. What is no number of seconds says nothing, as in Java.
pub(in crate::handlers) fn first_check_ms(config: &BrokerConfig, text: &str) -> i64 {
    let immunity = properties::get(text, CHECK_IMMUNITY_TIME_IN_SECONDS);
    let seconds: Option<i64> = immunity.and_then(|text| text.parse().ok());
    let wanted = match seconds.filter(|seconds| *seconds >= 0) {
        Some(seconds) => seconds.saturating_mul(1_000),
        None => i64::try_from(config.transaction_time_out_ms).unwrap_or(i64::MAX),
    };
    wanted.min(config.file_reserved_ms())
}

/// A message is transactional by its property. A phase in its flags without that is refused: Java stores such a message
/// where no consumer sees it, and nobody can ever commit it.
fn check_phase(scanned: &Scanned<'_>, sys_flag: i32) -> Result<(), Refusal> {
    let phase = sys_flag & SYS_FLAG_TRANSACTION_MASK;
    if phase == 0 || (phase == SYS_FLAG_TRANSACTION_PREPARED && scanned.transaction) {
        return Ok(());
    }
    Err(illegal(format!(
        "sysFlag {sys_flag} says that this is a transactional message ({phase}), which is sent with \
         {SYS_FLAG_TRANSACTION_PREPARED} and TRAN_MSG=true"
    )))
}

/// Messages of batches, and replies, are for consumers at once.
pub(in crate::handlers) fn check_not_transactional(
    scanned: &Scanned<'_>,
    sys_flag: i32,
) -> Result<(), Refusal> {
    if scanned.transaction {
        return Err(illegal("a message of a batch, or a reply, is not transactional".to_owned()));
    }
    check_phase(scanned, sys_flag)
}

/// Messages of a batch wait for nothing: clients do not send such batches either.
fn check_no_delay(scanned: &Scanned<'_>) -> Result<(), Refusal> {
    match wanted_level(scanned)? {
        ..=0 => Ok(()),
        level => Err(illegal(format!("a message with DELAY={level} cannot be in a batch"))),
    }
}

/// Records one behind the other, and bytes and tags code of each.
pub(super) type EncodedBatch = (Vec<u8>, Vec<(u32, i64)>);

/// The records of a batch. Each has its own properties, then those of the batch.
pub(super) fn encode_batch(
    origin: &Origin<'_>,
    body: &[u8],
    message_bytes_max: usize,
) -> Result<EncodedBatch, Refusal> {
    let header = origin.header;
    let of_batch = Scanned::of(header.properties);
    timer::check_none(&of_batch)?;
    check_not_transactional(&of_batch, header.sys_flag)?;
    check_keys(&of_batch)?;
    check_no_delay(&of_batch)?;
    if names::is_retry_topic(header.topic) {
        return Err(illegal("a batch cannot go to a retry topic".to_owned()));
    }
    let limit = message_bytes_max;
    if body.len() > limit {
        return Err(illegal(format!(
            "batch of {} bytes, the limit is {limit} (maxMessageSize)",
            body.len()
        )));
    }
    let mut records = Vec::with_capacity(body.len() * 2);
    let mut parts = Vec::new();
    let tail = of_batch.stored(origin.added_properties).concat();
    for message in batch::messages(body) {
        let message = message.map_err(|error| illegal(error.to_string()))?;
        let text = std::str::from_utf8(message.properties)
            .map_err(|_| illegal("properties of a message in a batch are not text".to_owned()))?;
        let scanned = Scanned::of(text);
        timer::check_none(&scanned)?;
        check_not_transactional(&scanned, 0)?;
        check_keys(&scanned)?;
        check_no_delay(&scanned)?;
        let unpopped = scanned.without_receipt();
        let text = unpopped.as_deref().unwrap_or(text);
        let own = text.as_bytes();
        let joint = proto::properties::joint(text).as_bytes();
        let fields = origin.fields(message.flag, message.body, [own, joint, &tail]);
        fields.check(limit).map_err(|error| illegal(error.to_string()))?;
        let start = records.len();
        records.resize(start + fields.encoded_len(), 0);
        fields.encode_into(records.get_mut(start..).unwrap_or_default());
        parts.push(((records.len() - start) as u32, record::tags_code(scanned.tags)));
        if parts.len() > BATCH_MESSAGES_MAX {
            return Err(illegal(format!("batch of more than {BATCH_MESSAGES_MAX} messages")));
        }
    }
    if parts.is_empty() {
        return Err(illegal("batch without a message".to_owned()));
    }
    Ok((records, parts))
}
