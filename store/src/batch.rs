//! The batch: unit of writing, checking and replicating.
//!
//! | offset | bytes | name | |
//! |---|---|---|---|
//! | 0  | 4 | magic | `RMQB` |
//! | 4  | 2 | version | 2 |
//! | 6  | 2 | kind | 1 entries, 2 end of segment |
//! | 8  | 4 | crc | CRC-32C over bytes 12..64 and the payload |
//! | 12 | 4 | payload bytes | behind the header |
//! | 16 | 8 | position | of this header in the shard's log |
//! | 24 | 8 | log id | of the log, the same on all its replicas |
//! | 32 | 8 | writer | store id of the store that closed the batch |
//! | 40 | 4 | epoch | each has one writer; a later one is larger |
//! | 44 | 4 | undurable | bytes before `position` not known to be durable on the writer's disk when the batch was closed; all ones: nothing is known |
//! | 48 | 4 | entry count | |
//! | 52 | 4 | last store timestamp | ms behind the first, signed, saturating |
//! | 56 | 8 | first store timestamp | ms |
//!
//! Integers are big-endian like the records they carry. Position, epoch and log id must match the place where a
//! header is found, so that stale bytes of a recycled segment or of a torn write never look valid. A replica keeps
//! batches byte for byte as their writer closed them, so what a header says about durability is about the writer's disk
//! and no other.

use proto::record::MAGIC_V1;

/// Bytes of a batch header.
pub const HEADER_BYTES: usize = 64;
/// First bytes of each header.
pub const MAGIC: [u8; 4] = *b"RMQB";
/// Version of the layout above.
pub const VERSION: u16 = 2;
/// Most payload bytes of a batch, unless a single record is larger.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Largest payload that is read back: one record of the largest kind that any configuration allows.
pub const PAYLOAD_BYTES_LIMIT: usize = 64 * 1024 * 1024;
/// First word behind the size of a control entry; records have [`MAGIC_V1`] there.
pub const CONTROL_MAGIC: i32 = i32::from_be_bytes(*b"RQCT");
/// Size and magic, which every entry begins with.
pub const ENTRY_PREFIX_BYTES: usize = 8;

/// `undurable` of a header that knows nothing of what is durable.
const NOTHING_KNOWN: u32 = u32::MAX;

const _: () = assert!(HEADER_BYTES == 56 + 8);
const _: () = assert!(CONTROL_MAGIC != MAGIC_V1);

/// What a batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records and control entries.
    Entries,
    /// Nothing: the log goes on at the start of the next segment.
    SegmentEnd,
}

/// A batch header in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the batch holds.
    pub kind: Kind,
    /// Bytes behind the header.
    pub payload_bytes: u32,
    /// Position of the header in the shard's log.
    pub position: u64,
    /// Position up to which the log was durable on the writer's disk when the batch was closed, or less. Found behind
    /// a damaged place on that disk, the batch proves with it that the place had been durable (bit rot); on any other
    /// disk it proves nothing.
    pub durable_until: u64,
    /// Store that closed it.
    pub writer: u64,
    /// Its writer's term; no other writer has the same.
    pub epoch: u32,
    /// Entries in the payload.
    pub entry_count: u32,
    /// Store timestamp of the first entry, ms.
    pub first_store_ms: i64,
    /// Store timestamp of the last entry, ms. Further than 24 days from the first one it is kept as if it were not.
    pub last_store_ms: i64,
    /// Log that it belongs to.
    pub log_id: u64,
}

/// Where a header says that it belongs. Magic, version, payload bytes and position stand at the same places in all
/// versions, and so do the checksum and what it covers; the log id does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Version of its layout.
    pub version: u16,
    /// Bytes behind the header.
    pub payload_bytes: u32,
    /// Position in its log.
    pub position: u64,
    /// Its log, if the version is [`VERSION`].
    pub log_id: u64,
}

/// Why bytes are not a batch of this log at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotABatch {
    /// No magic: never written, or zeroed.
    Blank,
    /// A header, but of another place, log, version or time, or with impossible lengths.
    Foreign,
    /// The checksum does not fit.
    Damaged,
}

impl Header {
    /// Position right behind the batch.
    pub fn end(&self) -> u64 {
        self.position + (HEADER_BYTES as u64) + u64::from(self.payload_bytes)
    }

    /// The header's bytes, given the payload's in one or two pieces.
    pub fn encode(&self, payload: (&[u8], &[u8])) -> [u8; HEADER_BYTES] {
        assert!(payload.0.len() + payload.1.len() == self.payload_bytes as usize);
        let mut out = [0u8; HEADER_BYTES];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_be_bytes());
        let kind: u16 = match self.kind {
            Kind::Entries => 1,
            Kind::SegmentEnd => 2,
        };
        out[6..8].copy_from_slice(&kind.to_be_bytes());
        let undurable = u32::try_from(self.position - self.durable_until).unwrap_or(NOTHING_KNOWN);
        let span = self.last_store_ms.saturating_sub(self.first_store_ms);
        let span = span.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        out[12..16].copy_from_slice(&self.payload_bytes.to_be_bytes());
        out[16..24].copy_from_slice(&self.position.to_be_bytes());
        out[24..32].copy_from_slice(&self.log_id.to_be_bytes());
        out[32..40].copy_from_slice(&self.writer.to_be_bytes());
        out[40..44].copy_from_slice(&self.epoch.to_be_bytes());
        out[44..48].copy_from_slice(&undurable.to_be_bytes());
        out[48..52].copy_from_slice(&self.entry_count.to_be_bytes());
        out[52..56].copy_from_slice(&span.to_be_bytes());
        out[56..64].copy_from_slice(&self.first_store_ms.to_be_bytes());
        let crc = crc32c::crc32c(&out[12..]);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, payload.0), payload.1);
        out[8..12].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a header that must stand at `position` in the log `log_id`. The payload is checked by
    /// [`Header::check_payload`], once its bytes are there.
    pub fn decode(bytes: &[u8], position: u64, log_id: u64) -> Result<Header, NotABatch> {
        let bytes: &[u8; HEADER_BYTES] =
            bytes.first_chunk::<HEADER_BYTES>().ok_or(NotABatch::Foreign)?;
        if bytes[0..4] != MAGIC {
            return Err(NotABatch::Blank);
        }
        let kind = match u16::from_be_bytes(field(bytes, 6)) {
            1 => Kind::Entries,
            2 => Kind::SegmentEnd,
            _ => return Err(NotABatch::Foreign),
        };
        let first_store_ms = i64::from_be_bytes(field(bytes, 56));
        let undurable = u32::from_be_bytes(field(bytes, 44));
        let durable_until = match undurable {
            NOTHING_KNOWN => Some(0),
            known => position.checked_sub(u64::from(known)),
        };
        let header = Header {
            kind,
            payload_bytes: u32::from_be_bytes(field(bytes, 12)),
            position: u64::from_be_bytes(field(bytes, 16)),
            durable_until: durable_until.unwrap_or(0),
            log_id: u64::from_be_bytes(field(bytes, 24)),
            writer: u64::from_be_bytes(field(bytes, 32)),
            epoch: u32::from_be_bytes(field(bytes, 40)),
            entry_count: u32::from_be_bytes(field(bytes, 48)),
            first_store_ms,
            last_store_ms: first_store_ms
                .saturating_add(i64::from(i32::from_be_bytes(field(bytes, 52)))),
        };
        let version = u16::from_be_bytes(field(bytes, 4));
        let ours = version == VERSION && header.position == position && header.log_id == log_id;
        let possible =
            header.payload_bytes as usize <= PAYLOAD_BYTES_LIMIT && durable_until.is_some();
        if ours && possible { Ok(header) } else { Err(NotABatch::Foreign) }
    }

    /// What a header says of its place, whatever else is wrong with it; `None` without magic.
    pub fn place_of(bytes: &[u8]) -> Option<Place> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let place = || Place {
            version: u16::from_be_bytes(field(bytes, 4)),
            payload_bytes: u32::from_be_bytes(field(bytes, 12)),
            position: u64::from_be_bytes(field(bytes, 16)),
            log_id: u64::from_be_bytes(field(bytes, 24)),
        };
        (bytes[0..4] == MAGIC).then(place)
    }

    /// Whether header and payload are as they were written.
    pub fn check_payload(header: &[u8], payload: &[u8]) -> Result<(), NotABatch> {
        let header: &[u8; HEADER_BYTES] =
            header.first_chunk::<HEADER_BYTES>().ok_or(NotABatch::Foreign)?;
        let expected = u32::from_be_bytes(field(header, 8));
        let actual = crc32c::crc32c_append(crc32c::crc32c(&header[12..]), payload);
        if actual == expected { Ok(()) } else { Err(NotABatch::Damaged) }
    }
}

/// One entry of a payload.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A message record with its position in the log.
    Record {
        /// Position in the log.
        position: u64,
        /// All bytes of the record.
        bytes: &'a [u8],
    },
    /// A control entry: kind and content, see [`crate::state::ControlEntry`].
    Control {
        /// Position in the log.
        position: u64,
        /// Which table it belongs to.
        kind: u16,
        /// What it says.
        content: &'a [u8],
    },
}

/// Walks the entries of a payload that passed its checksum. Ends with an error at the first impossible size, which
/// only a bug of ours can have written.
pub struct Entries<'a> {
    rest: &'a [u8],
    position: u64,
}

impl<'a> Entries<'a> {
    /// The entries of the batch whose header stands at `batch_position`.
    pub fn new(payload: &'a [u8], batch_position: u64) -> Entries<'a> {
        Entries { rest: payload, position: batch_position + HEADER_BYTES as u64 }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(prefix) = self.rest.first_chunk::<ENTRY_PREFIX_BYTES>() else {
            self.rest = &[];
            return Some(Err("entry is cut"));
        };
        let bytes = u32::from_be_bytes(field(prefix, 0)) as usize;
        let magic = i32::from_be_bytes(field(prefix, 4));
        if bytes < ENTRY_PREFIX_BYTES || bytes > self.rest.len() {
            self.rest = &[];
            return Some(Err("entry size leaves its batch"));
        }
        let (entry, rest) = self.rest.split_at(bytes);
        let position = self.position;
        self.rest = rest;
        self.position += bytes as u64;
        Some(match magic {
            MAGIC_V1 => Ok(Entry::Record { position, bytes: entry }),
            CONTROL_MAGIC => match entry.get(8..10) {
                Some(kind) => Ok(Entry::Control {
                    position,
                    kind: u16::from_be_bytes(field(kind, 0)),
                    content: &entry[CONTROL_HEADER_BYTES..],
                }),
                None => Err("control entry is cut"),
            },
            _ => Err("entry of unknown magic"),
        })
    }
}

/// Size, magic and kind of a control entry.
pub const CONTROL_HEADER_BYTES: usize = 10;

/// Writes a control entry into `out`, which is exactly [`CONTROL_HEADER_BYTES`] longer than the content.
pub fn encode_control(out: &mut [u8], kind: u16, content: &[u8]) {
    assert!(out.len() == CONTROL_HEADER_BYTES + content.len());
    let bytes = out.len() as u32;
    out[0..4].copy_from_slice(&bytes.to_be_bytes());
    out[4..8].copy_from_slice(&CONTROL_MAGIC.to_be_bytes());
    out[8..10].copy_from_slice(&kind.to_be_bytes());
    out[CONTROL_HEADER_BYTES..].copy_from_slice(content);
}

/// Kind and content of a whole control entry; `None`: it is none.
pub fn control_entry(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match Entries::new(bytes, 0).next() {
        Some(Ok(Entry::Control { kind, content, .. })) => Some((kind, content)),
        _ => None,
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(payload: &[u8]) -> Header {
        Header {
            kind: Kind::Entries,
            payload_bytes: payload.len() as u32,
            position: 4_096,
            durable_until: 4_000,
            writer: 0xFEED,
            epoch: 3,
            entry_count: 1,
            first_store_ms: 1_700_000_000_000,
            last_store_ms: 1_700_000_000_001,
            log_id: 0x0123_4567_89AB_CDEF,
        }
    }

    #[test]
    fn a_header_is_read_back_only_at_its_own_place_in_its_own_log() {
        let payload = b"payload";
        let header = header(payload);
        let bytes = header.encode((b"pay", b"load"));
        assert_eq!(Header::decode(&bytes, 4_096, header.log_id), Ok(header));
        assert_eq!(Header::decode(&bytes, 8_192, header.log_id), Err(NotABatch::Foreign));
        assert_eq!(Header::decode(&bytes, 4_096, 1), Err(NotABatch::Foreign));
        assert_eq!(Header::decode(&[0; HEADER_BYTES], 0, 0), Err(NotABatch::Blank));
        assert_eq!(Header::check_payload(&bytes, payload), Ok(()));
    }

    #[test]
    fn what_does_not_fit_its_field_promises_less_and_not_more() {
        let far = Header { position: 1 << 40, durable_until: 5, ..header(b"") };
        let decoded = Header::decode(&far.encode((b"", b"")), 1 << 40, far.log_id);
        assert_eq!(decoded.map(|header| header.durable_until), Ok(0));
        let jump = Header { last_store_ms: 0, ..header(b"") };
        let decoded = Header::decode(&jump.encode((b"", b"")), 4_096, jump.log_id);
        let wanted = jump.first_store_ms + i64::from(i32::MIN);
        assert_eq!(decoded.map(|header| header.last_store_ms), Ok(wanted));
    }

    #[test]
    fn every_flipped_bit_of_header_or_payload_is_noticed() {
        let payload = b"payload";
        let header = header(payload);
        let bytes = header.encode((payload, b""));
        for bit in 0..(HEADER_BYTES + payload.len()) * 8 {
            let mut all = [bytes.as_slice(), payload].concat();
            all[bit / 8] ^= 1 << (bit % 8);
            let decoded = Header::decode(&all, 4_096, header.log_id)
                .and_then(|_| Header::check_payload(&all, &all[HEADER_BYTES..]));
            assert!(decoded.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn entries_are_walked_with_their_positions() {
        let mut payload = vec![0; CONTROL_HEADER_BYTES + 3];
        encode_control(&mut payload, 7, b"abc");
        let second = payload.clone();
        payload.extend_from_slice(&second);
        let kinds: Vec<_> = Entries::new(&payload, 0)
            .map(|entry| match entry {
                Ok(Entry::Control { kind, content, .. }) => (kind, content.to_vec()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, [(7, b"abc".to_vec()), (7, b"abc".to_vec())]);
        assert!(Entries::new(&payload[..5], 0).next().is_some_and(|entry| entry.is_err()));
    }
}
