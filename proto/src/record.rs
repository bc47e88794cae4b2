//! The stored record (version 1): one message as it lies in the log, in pull bodies and in view answers.
//!
//! The store encodes with [`RecordFields::encode_into`], stamps queue offset, physical offset and store time with
//! [`patch`] when the record gets its place, and reads back with [`RecordView::parse`]. The layout is drawn once, below.
//! Always holds: what `encode_into` wrote parses, and no foreign byte makes `parse` panic or read out of bounds.
//! Absent on purpose: version 2 records (topics over 127 bytes) and the 5.x property checksum; we write neither.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

// offset  bytes  name                          unit
//      0      4  total size                    bytes, this word included
//      4      4  magic                         MAGIC_V1
//      8      4  body checksum                 CRC-32 & 0x7FFFFFFF
//     12      4  queue id
//     16      4  flag                          the user's, opaque
//     20      8  queue offset                  messages; patched
//     28      8  physical offset               bytes; patched
//     36      4  sys flag                      bits, see SYS_FLAG_*
//     40      8  born timestamp                ms
//     48   8|20  born host                     ip 4|16, port 4
//   b+ 0      8  store timestamp               ms; patched            (b = 56 or 68)
//   b+ 8   8|20  store host                    ip 4|16, port 4
//   s+ 0      4  reconsume times                                      (s = b + 16 or b + 28)
//   s+ 4      8  prepared transaction offset   bytes
//   s+12      4  body length                   bytes
//   s+16      n  body
//     ..      1  topic length                  bytes, 0..=127
//     ..      n  topic                         UTF-8
//     ..      2  properties length             bytes, 0..=32767
//     ..      n  properties                    see `properties`
const TOTAL_SIZE_AT: usize = 0;
const MAGIC_AT: usize = TOTAL_SIZE_AT + 4;
const BODY_CRC_AT: usize = MAGIC_AT + 4;
const QUEUE_ID_AT: usize = BODY_CRC_AT + 4;
const FLAG_AT: usize = QUEUE_ID_AT + 4;
const QUEUE_OFFSET_AT: usize = FLAG_AT + 4;
const PHYSICAL_OFFSET_AT: usize = QUEUE_OFFSET_AT + 8;
const SYS_FLAG_AT: usize = PHYSICAL_OFFSET_AT + 8;
const BORN_TIMESTAMP_AT: usize = SYS_FLAG_AT + 4;
const BORN_HOST_AT: usize = BORN_TIMESTAMP_AT + 8;
const HOST_V4_BYTES: usize = 4 + 4;
const HOST_V6_BYTES: usize = 16 + 4;
/// Store timestamp, reconsume times, prepared transaction offset, and the three length words.
const AFTER_BORN_HOST_BYTES: usize = 8 + 4 + 8 + 4 + 1 + 2;

/// Bytes of a record with empty body, topic and properties and two IPv4 hosts. Each IPv6 host adds 12.
pub const OVERHEAD_BYTES: usize = BORN_HOST_AT + 2 * HOST_V4_BYTES + AFTER_BORN_HOST_BYTES;

const _: () = assert!(QUEUE_OFFSET_AT == 20);
const _: () = assert!(PHYSICAL_OFFSET_AT == 28);
const _: () = assert!(SYS_FLAG_AT == 36);
const _: () = assert!(BORN_HOST_AT == 48);
const _: () = assert!(OVERHEAD_BYTES == 91);

/// Magic of a version 1 record, the only one we write. Source: Apache RocketMQ 4.9.8, `MessageDecoder`.
pub const MAGIC_V1: i32 = -626_843_481;
/// Magic of a version 2 record (two-byte topic length). Source: Apache RocketMQ 5.3.3, `MessageVersion`.
pub const MAGIC_V2: i32 = -626_843_477;
/// Longest topic a version 1 record can carry, in bytes: its length is a signed byte.
pub const TOPIC_BYTES_MAX: usize = i8::MAX as usize;
/// Longest properties text, in bytes: its length is a signed 16-bit word.
pub const PROPERTIES_BYTES_MAX: usize = i16::MAX as usize;

/// The body is compressed. Source of all bits: Apache RocketMQ, `MessageSysFlag`.
pub const SYS_FLAG_COMPRESSED: i32 = 0x1;
/// The topic is multi-tag.
pub const SYS_FLAG_MULTI_TAGS: i32 = 0x2;
/// Mask of the two transaction bits.
pub const SYS_FLAG_TRANSACTION_MASK: i32 = 0xC;
/// Transaction bits: prepared (half message).
pub const SYS_FLAG_TRANSACTION_PREPARED: i32 = 0x4;
/// Transaction bits: committed.
pub const SYS_FLAG_TRANSACTION_COMMIT: i32 = 0x8;
/// Transaction bits: rolled back.
pub const SYS_FLAG_TRANSACTION_ROLLBACK: i32 = 0xC;
/// The born host is IPv6 and takes 20 bytes.
pub const SYS_FLAG_BORN_HOST_V6: i32 = 0x10;
/// The store host is IPv6 and takes 20 bytes.
pub const SYS_FLAG_STORE_HOST_V6: i32 = 0x20;
/// 5.x: the body is a batch that clients unwrap.
pub const SYS_FLAG_NEED_UNWRAP: i32 = 0x40;
/// 5.x: the record is an inner batch.
pub const SYS_FLAG_INNER_BATCH: i32 = 0x80;

/// Why fields do not make a record, or bytes are not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The body is longer than the caller's limit (or than the format's 2^31-1), in bytes.
    #[error("body of {bytes} bytes is over the limit of {bytes_max} (maxMessageSize)")]
    BodyTooLarge {
        /// Length found.
        bytes: usize,
        /// Limit applied.
        bytes_max: usize,
    },
    /// The topic does not fit its length byte.
    #[error("topic of {bytes} bytes is over the limit of {TOPIC_BYTES_MAX}")]
    TopicTooLong {
        /// Length found.
        bytes: usize,
    },
    /// The properties do not fit their length word.
    #[error("properties of {bytes} bytes are over the limit of {PROPERTIES_BYTES_MAX}")]
    PropertiesTooLong {
        /// Length found.
        bytes: usize,
    },
    /// The bytes end before the record does.
    #[error("record needs {needed} bytes, {bytes} are here")]
    Incomplete {
        /// Bytes at hand.
        bytes: usize,
        /// Bytes that the part read so far asks for; more may follow.
        needed: usize,
    },
    /// Neither a version 1 nor a version 2 record.
    #[error("magic {0} is not a record's")]
    Magic(i32),
    /// A version 2 record, which 5.x brokers write for long topics.
    #[error("version 2 record (two-byte topic length) is not supported")]
    Version2,
    /// The length words inside do not add up to the total size.
    #[error("total size {total} does not match its parts")]
    Length {
        /// Total size as stored.
        total: i32,
    },
    /// A host's port is not a port.
    #[error("port {0} is out of range")]
    Port(i32),
    /// The topic is not UTF-8.
    #[error("topic is not UTF-8")]
    Topic,
    /// The body does not have the stored checksum.
    #[error("body checksum is {actual:#010x}, stored is {stored:#010x}")]
    BodyCrc {
        /// Checksum in the record.
        stored: u32,
        /// Checksum of the body as it is.
        actual: u32,
    },
}

/// The fields a record is made of, borrowed. Queue offset, physical offset and store time come later, by [`patch`].
#[derive(Debug, Clone, Copy)]
pub struct RecordFields<'a> {
    /// Queue within the topic, from 0.
    pub queue_id: i32,
    /// The user's flag; opaque to us.
    pub flag: i32,
    /// `SYS_FLAG_*` bits. The two IPv6 bits are ignored here and set from the hosts.
    pub sys_flag: i32,
    /// When the client made the message, ms of its clock.
    pub born_timestamp: i64,
    /// Address of the client. An IPv4 address mapped into IPv6 is stored as IPv4, as Java sees it.
    pub born_host: SocketAddr,
    /// Address under which this broker is reached.
    pub store_host: SocketAddr,
    /// How often the message was consumed in vain.
    pub reconsume_times: i32,
    /// Physical offset of the half message for a committed transaction, else 0.
    pub prepared_transaction_offset: i64,
    /// As the client sent it, compressed or not.
    pub body: &'a [u8],
    /// At most [`TOPIC_BYTES_MAX`] bytes.
    pub topic: &'a str,
    /// Written one behind the other; together at most [`PROPERTIES_BYTES_MAX`] bytes. Separators are the caller's.
    pub properties: [&'a [u8]; 3],
}

impl RecordFields<'_> {
    /// Bytes of the record, its size word included.
    pub fn encoded_len(&self) -> usize {
        let hosts = host_bytes(&self.born_host) + host_bytes(&self.store_host);
        BORN_HOST_AT
            + hosts
            + AFTER_BORN_HOST_BYTES
            + self.body.len()
            + self.topic.len()
            + self.properties_len()
    }

    /// Whether the fields fit the format and the body fits `body_bytes_max`. [`Self::encode_into`] relies on it.
    pub fn check(&self, body_bytes_max: usize) -> Result<(), RecordError> {
        // The total must fit a signed 32-bit size word whatever the caller allows.
        let bytes_max = body_bytes_max.min(BODY_BYTES_CEILING);
        if self.body.len() > bytes_max {
            return Err(RecordError::BodyTooLarge { bytes: self.body.len(), bytes_max });
        }
        if self.topic.len() > TOPIC_BYTES_MAX {
            return Err(RecordError::TopicTooLong { bytes: self.topic.len() });
        }
        let properties_len = self.properties_len();
        if properties_len > PROPERTIES_BYTES_MAX {
            return Err(RecordError::PropertiesTooLong { bytes: properties_len });
        }
        Ok(())
    }

    /// Writes the record in one pass; queue offset, physical offset and store time are 0 until [`patch`].
    ///
    /// Panics when `out` is not exactly [`Self::encoded_len`] long or the fields were not checked: both are our bugs.
    pub fn encode_into(&self, out: &mut [u8]) {
        assert!(out.len() == self.encoded_len());
        assert!(self.check(usize::MAX).is_ok());
        let total = out.len() as i32;
        let mut out = Writer { rest: out };
        out.put(&total.to_be_bytes());
        out.put(&MAGIC_V1.to_be_bytes());
        out.put(&body_crc(self.body).to_be_bytes());
        out.put(&self.queue_id.to_be_bytes());
        out.put(&self.flag.to_be_bytes());
        out.put(&[0; 8 + 8]);
        out.put(&self.sys_flag_with_hosts().to_be_bytes());
        out.put(&self.born_timestamp.to_be_bytes());
        out.put_host(&self.born_host);
        out.put(&[0; 8]);
        out.put_host(&self.store_host);
        out.put(&self.reconsume_times.to_be_bytes());
        out.put(&self.prepared_transaction_offset.to_be_bytes());
        out.put(&(self.body.len() as i32).to_be_bytes());
        out.put(self.body);
        out.put(&[self.topic.len() as u8]);
        out.put(self.topic.as_bytes());
        out.put(&(self.properties_len() as i16).to_be_bytes());
        for part in self.properties {
            out.put(part);
        }
        assert!(out.rest.is_empty());
    }

    /// The record, in memory of its own.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = vec![0; self.encoded_len()];
        self.encode_into(&mut record);
        record
    }

    fn properties_len(&self) -> usize {
        self.properties.iter().map(|part| part.len()).sum()
    }

    fn sys_flag_with_hosts(&self) -> i32 {
        let mut flag = self.sys_flag & !(SYS_FLAG_BORN_HOST_V6 | SYS_FLAG_STORE_HOST_V6);
        if host_bytes(&self.born_host) == HOST_V6_BYTES {
            flag |= SYS_FLAG_BORN_HOST_V6;
        }
        if host_bytes(&self.store_host) == HOST_V6_BYTES {
            flag |= SYS_FLAG_STORE_HOST_V6;
        }
        flag
    }
}

/// Largest body for which the total still fits 2^31-1, everything else at its longest.
const BODY_BYTES_CEILING: usize = i32::MAX as usize
    - (OVERHEAD_BYTES
        + 2 * (HOST_V6_BYTES - HOST_V4_BYTES)
        + TOPIC_BYTES_MAX
        + PROPERTIES_BYTES_MAX);

fn host_bytes(host: &SocketAddr) -> usize {
    if host.ip().to_canonical().is_ipv4() { HOST_V4_BYTES } else { HOST_V6_BYTES }
}

/// Writes forward through a slice whose length was computed beforehand.
struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let (here, rest) = std::mem::take(&mut self.rest).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.rest = rest;
    }

    #[inline]
    fn put_host(&mut self, host: &SocketAddr) {
        match host.ip().to_canonical() {
            IpAddr::V4(ip) => self.put(&ip.octets()),
            IpAddr::V6(ip) => self.put(&ip.octets()),
        }
        self.put(&i32::from(host.port()).to_be_bytes());
    }
}

/// Stamps an encoded record with its place and time: offset in its queue (messages), offset in the log (bytes), ms.
///
/// Panics when `record` is shorter than any record: our bug, since only encoded records get here.
pub fn patch(record: &mut [u8], queue_offset: i64, physical_offset: i64, store_timestamp: i64) {
    assert!(record.len() >= OVERHEAD_BYTES);
    // The lowest sysFlag byte holds the IPv6 bit, which moves the store timestamp.
    let sys_flag = record.get(SYS_FLAG_AT + 3).copied().unwrap_or_default();
    let born_host_v6 = i32::from(sys_flag) & SYS_FLAG_BORN_HOST_V6 != 0;
    let born_host_bytes = if born_host_v6 { HOST_V6_BYTES } else { HOST_V4_BYTES };
    put_at(record, QUEUE_OFFSET_AT, queue_offset);
    put_at(record, PHYSICAL_OFFSET_AT, physical_offset);
    put_at(record, BORN_HOST_AT + born_host_bytes, store_timestamp);
}

/// Store time of a record of which only the first bytes are at hand; `None` when they do not reach that far.
/// [`TIMESTAMP_PREFIX_BYTES`] always suffice.
pub fn store_timestamp_of(prefix: &[u8]) -> Option<i64> {
    let born_host_v6 = i32::from(*prefix.get(SYS_FLAG_AT + 3)?) & SYS_FLAG_BORN_HOST_V6 != 0;
    let at = BORN_HOST_AT + if born_host_v6 { HOST_V6_BYTES } else { HOST_V4_BYTES };
    prefix.get(at..)?.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

/// Physical offset of a record of which only the first bytes are at hand; `None` when they do not reach that far.
pub fn physical_offset_of(prefix: &[u8]) -> Option<i64> {
    prefix.get(PHYSICAL_OFFSET_AT..)?.first_chunk().map(|bytes| i64::from_be_bytes(*bytes))
}

/// Bytes from the start of a record to the end of its store timestamp, whatever its born host.
pub const TIMESTAMP_PREFIX_BYTES: usize = BORN_HOST_AT + HOST_V6_BYTES + 8;

/// Sets the field of an encoded record that holds when it is due, while it waits.
pub fn patch_prepared_transaction_offset(record: &mut [u8], value: i64) {
    let at = reconsume_times_at(record) + 4;
    put_at(record, at, value);
}

/// Bytes of a record, and its offset in its queue, of which only the first bytes are at hand; `None` when they do not reach
/// that far, or the record says that it is no longer than its head.
pub fn size_and_queue_offset_of(prefix: &[u8]) -> Option<(usize, i64)> {
    let size = u32::from_be_bytes(*prefix.get(TOTAL_SIZE_AT..)?.first_chunk()?) as usize;
    let offset = prefix.get(QUEUE_OFFSET_AT..)?.first_chunk().map(|it| i64::from_be_bytes(*it))?;
    (size >= OVERHEAD_BYTES).then_some((size, offset))
}

/// Adds to how often a record says that its message was consumed again. No checksum covers it.
pub fn add_reconsume_times(record: &mut [u8], more: u32) {
    let at = reconsume_times_at(record);
    let Some(slot) = record.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) else {
        unreachable!("an encoded record is longer than its head");
    };
    let more = i32::try_from(more).unwrap_or(i32::MAX);
    *slot = i32::from_be_bytes(*slot).saturating_add(more).to_be_bytes();
}

/// Where the field stands, behind two hosts whose lengths the record says.
fn reconsume_times_at(record: &[u8]) -> usize {
    assert!(record.len() >= OVERHEAD_BYTES);
    let sys_flag = i32::from(record.get(SYS_FLAG_AT + 3).copied().unwrap_or_default());
    let host = |flag: i32| if sys_flag & flag != 0 { HOST_V6_BYTES } else { HOST_V4_BYTES };
    BORN_HOST_AT + host(SYS_FLAG_BORN_HOST_V6) + 8 + host(SYS_FLAG_STORE_HOST_V6)
}

#[inline]
fn put_at(record: &mut [u8], at: usize, value: i64) {
    let Some(slot) = record.get_mut(at..at + 8) else {
        unreachable!("an encoded record is longer than its head");
    };
    slot.copy_from_slice(&value.to_be_bytes());
}

/// A parsed record over borrowed bytes. All lengths were checked; the body's checksum only by [`Self::check_body`].
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    body_crc: u32,
    queue_id: i32,
    flag: i32,
    queue_offset: i64,
    physical_offset: i64,
    sys_flag: i32,
    born_timestamp: i64,
    born_host: SocketAddr,
    store_timestamp: i64,
    store_host: SocketAddr,
    reconsume_times: i32,
    prepared_transaction_offset: i64,
    body: &'a [u8],
    topic: &'a str,
    properties: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Parses the record at the start of `bytes`; more may follow it, see [`Self::total_size`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut head = Reader { all: bytes.len(), rest: bytes };
        let total = head.i32()?;
        match head.i32()? {
            MAGIC_V1 => {}
            MAGIC_V2 => return Err(RecordError::Version2),
            other => return Err(RecordError::Magic(other)),
        }
        let total_bytes = usize::try_from(total).map_err(|_| RecordError::Length { total })?;
        let Some(record) = bytes.get(..total_bytes) else {
            return Err(RecordError::Incomplete { bytes: bytes.len(), needed: total_bytes });
        };
        // Within the record a missing byte means that its length words disagree.
        Self::parse_exact(record).map_err(|error| match error {
            RecordError::Incomplete { .. } => RecordError::Length { total },
            other => other,
        })
    }

    fn parse_exact(record: &'a [u8]) -> Result<Self, RecordError> {
        let mut reader = Reader { all: record.len(), rest: record };
        let total = reader.i32()?;
        reader.i32()?;
        let body_crc = u32::from_be_bytes(reader.array()?);
        let queue_id = reader.i32()?;
        let flag = reader.i32()?;
        let queue_offset = reader.i64()?;
        let physical_offset = reader.i64()?;
        let sys_flag = reader.i32()?;
        let born_timestamp = reader.i64()?;
        let born_host = reader.host(sys_flag & SYS_FLAG_BORN_HOST_V6 != 0)?;
        let store_timestamp = reader.i64()?;
        let store_host = reader.host(sys_flag & SYS_FLAG_STORE_HOST_V6 != 0)?;
        let reconsume_times = reader.i32()?;
        let prepared_transaction_offset = reader.i64()?;
        let wrong = |_| RecordError::Length { total };
        let body_len = usize::try_from(reader.i32()?).map_err(wrong)?;
        let body = reader.take(body_len)?;
        let topic_len = usize::try_from(i8::from_be_bytes(reader.array()?)).map_err(wrong)?;
        let topic = std::str::from_utf8(reader.take(topic_len)?).map_err(|_| RecordError::Topic)?;
        let properties_len = usize::try_from(i16::from_be_bytes(reader.array()?)).map_err(wrong)?;
        let properties = reader.take(properties_len)?;
        if !reader.rest.is_empty() {
            return Err(RecordError::Length { total });
        }
        Ok(RecordView {
            bytes: record,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        })
    }

    /// Compares the body with its stored checksum.
    pub fn check_body(&self) -> Result<(), RecordError> {
        let actual = body_crc(self.body);
        if actual == self.body_crc {
            Ok(())
        } else {
            Err(RecordError::BodyCrc { stored: self.body_crc, actual })
        }
    }

    /// The record's own bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// Bytes of the record; the next one of a pull body starts there.
    pub fn total_size(&self) -> usize {
        self.bytes.len()
    }
    /// Checksum of the body as stored, see [`body_crc`].
    pub fn body_crc(&self) -> u32 {
        self.body_crc
    }
    /// Queue within the topic, from 0.
    pub fn queue_id(&self) -> i32 {
        self.queue_id
    }
    /// The user's flag.
    pub fn flag(&self) -> i32 {
        self.flag
    }
    /// Place in its queue, in messages.
    pub fn queue_offset(&self) -> i64 {
        self.queue_offset
    }
    /// Place in the log, in bytes.
    pub fn physical_offset(&self) -> i64 {
        self.physical_offset
    }
    /// `SYS_FLAG_*` bits.
    pub fn sys_flag(&self) -> i32 {
        self.sys_flag
    }
    /// When the client made the message, ms.
    pub fn born_timestamp(&self) -> i64 {
        self.born_timestamp
    }
    /// Address of the client.
    pub fn born_host(&self) -> SocketAddr {
        self.born_host
    }
    /// When the broker stored the message, ms.
    pub fn store_timestamp(&self) -> i64 {
        self.store_timestamp
    }
    /// Address of the broker.
    pub fn store_host(&self) -> SocketAddr {
        self.store_host
    }
    /// How often the message was consumed in vain.
    pub fn reconsume_times(&self) -> i32 {
        self.reconsume_times
    }
    /// Physical offset of the half message for a committed transaction, else 0.
    pub fn prepared_transaction_offset(&self) -> i64 {
        self.prepared_transaction_offset
    }
    /// The body as the client sent it.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
    /// The topic.
    pub fn topic(&self) -> &'a str {
        self.topic
    }
    /// The properties, unparsed; see [`crate::properties`].
    pub fn properties(&self) -> &'a [u8] {
        self.properties
    }
    /// The properties as text; empty when they are not UTF-8, which no client of ours can have sent.
    pub fn properties_text(&self) -> &'a str {
        std::str::from_utf8(self.properties).unwrap_or("")
    }
}

/// Reads forward through foreign bytes; every step is checked.
struct Reader<'a> {
    all: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        match self.rest.split_first_chunk::<N>() {
            Some((here, rest)) => {
                self.rest = rest;
                Ok(*here)
            }
            None => Err(self.incomplete(N)),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], RecordError> {
        match self.rest.split_at_checked(bytes) {
            Some((here, rest)) => {
                self.rest = rest;
                Ok(here)
            }
            None => Err(self.incomplete(bytes)),
        }
    }

    fn incomplete(&self, bytes: usize) -> RecordError {
        let read = self.all - self.rest.len();
        RecordError::Incomplete { bytes: self.all, needed: read.saturating_add(bytes) }
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn host(&mut self, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip =
            if v6 { IpAddr::from(self.array::<16>()?) } else { IpAddr::from(self.array::<4>()?) };
        let port = self.i32()?;
        let port = u16::try_from(port).map_err(|_| RecordError::Port(port))?;
        Ok(SocketAddr::new(ip, port))
    }
}

/// The records of a pull body, one after the other. Ends after the first error.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes }
}

/// See [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = RecordView::parse(self.rest);
        self.rest = match &record {
            Ok(view) => self.rest.get(view.total_size()..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(record)
    }
}

/// Checksum of a body: CRC-32 (IEEE) without its highest bit, 0 for no bytes. Source: Apache RocketMQ, `UtilAll.crc32`.
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// Java's `String.hashCode`: over UTF-16 units, wrapping at 32 bits.
pub fn string_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// What a consume queue entry holds for a message's tag: its string hash, 0 without a tag.
pub fn tags_code(tags: Option<&str>) -> i64 {
    tags.map_or(0, |tags| i64::from(string_hash(tags)))
}
