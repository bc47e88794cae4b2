//! Control entries: what a log says besides messages. Encoded and decoded here, for the live path, recovery and tools.
//!
//! A control entry stands among records: size, magic and kind ([`crate::batch`]), then the content that its kind has
//! here. A kind that is not listed was written by a newer broker and is refused, never passed over: a state without
//! it would be wrong, and the index files that are written next would say so for ever.
//!
//! | kind | name | content, big-endian; names are u16 length and UTF-8 |
//! |---|---|---|
//! | 1 | group offsets | repeated: group, topic, u16 number of pairs, pairs of u32 queue id and i64 offset |
//! | 2 | topic removed | the topic's name, without a length: its queues start again at 0 |
//! | 3 | group removed | the group's name, without a length |
//! | 4 | delivered | i64 due, ms, and u64 position of a record that waited: it waits no more |
//! | 5 | cancelled | as delivered: the record is delivered to nobody |
//! | 6 | carried | as delivered: the record waits on as the one that stands right behind, in the same batch |
//! | 7 | half ended | u64 position of a half message, u8 outcome: 1 committed, 2 rolled back, 3 given up |
//! | 8 | half checked | repeated: u64 position of a half message, i64 when it is checked next, ms, u32 how often it was checked |
//! | 9 | offsets reset | as group offsets; the smallest i64 for an offset: the group has heard it, see [`super::offset_resets`] |
//! | 10 | pop progress | repeated: group, topic, u32 queue id, u8 flags (1: what was said of the queue before does not count, 2: the place counts), i64 place behind all that was popped, u16 number of rows, rows of i64 offset, i64 time of its pop, ms (the smallest i64: in flight no more), i64 when it is visible again, ms, u32 times it was popped before, see [`super::popped`] |
//! | 11 | epoch | u64 store id of its writer, u32 epoch before, u64 position where that ended and this one begins |

use super::{
    group_offsets::OffsetChanges,
    half_messages::{HalfChecks, HalfOutcome},
    popped::PopProgress,
};
use crate::{batch, lineage::EpochEntry};
use std::borrow::Cow;

/// Kind of [`ControlEntry::GroupOffsets`].
pub const KIND_GROUP_OFFSETS: u16 = 1;
/// Kind of [`ControlEntry::TopicRemoved`].
pub const KIND_TOPIC_REMOVED: u16 = 2;
/// Kind of [`ControlEntry::GroupRemoved`].
pub const KIND_GROUP_REMOVED: u16 = 3;
/// Kind of [`ControlEntry::Delivered`].
pub const KIND_DELIVERED: u16 = 4;
/// Kind of [`ControlEntry::Cancelled`].
pub const KIND_CANCELLED: u16 = 5;
/// Kind of [`ControlEntry::Carried`].
pub const KIND_CARRIED: u16 = 6;
/// Kind of [`ControlEntry::HalfEnded`].
pub const KIND_HALF_ENDED: u16 = 7;
/// Kind of [`ControlEntry::HalfChecked`].
pub const KIND_HALF_CHECKED: u16 = 8;
/// Kind of [`ControlEntry::OffsetsReset`].
pub const KIND_OFFSETS_RESET: u16 = 9;
/// Kind of [`ControlEntry::PopProgress`].
pub const KIND_POP_PROGRESS: u16 = 10;
/// Kind of [`ControlEntry::Epoch`].
pub const KIND_EPOCH: u16 = 11;

/// A control entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEntry<'a> {
    /// Offsets that groups committed.
    GroupOffsets(OffsetChanges<'a>),
    /// A topic was deleted: its queues start again at 0, and offsets of groups on it are gone.
    TopicRemoved {
        /// Its name.
        topic: &'a str,
    },
    /// The offsets of a group were deleted.
    GroupRemoved {
        /// Its name.
        group: &'a str,
    },
    /// A record waits no more, see [`super::deferred`]. The message that it became stands right behind, in the same batch;
    /// there is none if nobody can have it.
    Delivered {
        /// When it was due, ms.
        due: i64,
        /// Where it lies.
        position: u64,
    },
    /// A record waits no more, and nobody gets it: its producer has recalled it.
    Cancelled {
        /// When it was due, ms.
        due: i64,
        /// Where it lies.
        position: u64,
    },
    /// A record waits on at another place, because its segment is to be retired. It stands right behind, in the same
    /// batch.
    Carried {
        /// When it is due, ms.
        due: i64,
        /// Where it lay.
        position: u64,
    },
    /// A half message ended, see [`super::half_messages`]. What it became stands right behind, in the same batch.
    HalfEnded {
        /// Where it lies.
        position: u64,
        /// How.
        outcome: HalfOutcome,
    },
    /// The producers of half messages were asked what becomes of them.
    HalfChecked(HalfChecks<'a>),
    /// Groups are told to go on elsewhere, or have heard it, see [`super::offset_resets`].
    OffsetsReset(OffsetChanges<'a>),
    /// What groups have popped and acknowledged, see [`super::popped`].
    PopProgress(PopProgress<'a>),
    /// An epoch begins. Stands first in its start batch, and nowhere else.
    Epoch(EpochEntry),
}

/// Why the bytes of a control entry cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The kind is not known here.
    #[error("control entry of kind {kind}, which this broker does not know: a newer one wrote it")]
    Unknown {
        /// The kind.
        kind: u16,
    },
    /// The content is not what its kind says. Its batch passed the checksum, so only a fault of ours can have written
    /// it.
    #[error("control entry of kind {kind} {what}")]
    Malformed {
        /// The kind.
        kind: u16,
        /// What does not fit.
        what: &'static str,
    },
}

impl<'a> ControlEntry<'a> {
    /// Reads what stands behind size, magic and kind. All of it is checked here.
    pub fn decode(kind: u16, content: &'a [u8]) -> Result<ControlEntry<'a>, ControlError> {
        let text = || {
            let what = "is not text";
            std::str::from_utf8(content).map_err(|_| ControlError::Malformed { kind, what })
        };
        let malformed = |what| ControlError::Malformed { kind, what };
        match kind {
            KIND_GROUP_OFFSETS => Ok(ControlEntry::GroupOffsets(OffsetChanges::decode(content)?)),
            KIND_TOPIC_REMOVED => Ok(ControlEntry::TopicRemoved { topic: text()? }),
            KIND_GROUP_REMOVED => Ok(ControlEntry::GroupRemoved { group: text()? }),
            KIND_DELIVERED | KIND_CANCELLED | KIND_CARRIED => {
                let both = <[u8; 16]>::try_from(content).map(u128::from_be_bytes);
                let both = both.map_err(|_| malformed("is no due time and position"))?;
                let (due, position) = ((both >> u64::BITS) as i64, both as u64);
                Ok(match kind {
                    KIND_DELIVERED => ControlEntry::Delivered { due, position },
                    KIND_CARRIED => ControlEntry::Carried { due, position },
                    _ => ControlEntry::Cancelled { due, position },
                })
            }
            KIND_HALF_ENDED => half_ended(content)
                .ok_or_else(|| malformed("is no position and outcome of a half message")),
            KIND_HALF_CHECKED => HalfChecks::decode(content)
                .map(ControlEntry::HalfChecked)
                .ok_or_else(|| malformed("is followed by a part of a check")),
            KIND_OFFSETS_RESET => {
                Ok(ControlEntry::OffsetsReset(OffsetChanges::decode_of(kind, content)?))
            }
            KIND_POP_PROGRESS => Ok(ControlEntry::PopProgress(PopProgress::decode(content)?)),
            KIND_EPOCH => EpochEntry::decode(content).map(ControlEntry::Epoch).map_err(malformed),
            kind => Err(ControlError::Unknown { kind }),
        }
    }

    /// The kind.
    pub fn kind(&self) -> u16 {
        match self {
            ControlEntry::GroupOffsets(_) => KIND_GROUP_OFFSETS,
            ControlEntry::TopicRemoved { .. } => KIND_TOPIC_REMOVED,
            ControlEntry::GroupRemoved { .. } => KIND_GROUP_REMOVED,
            ControlEntry::Delivered { .. } => KIND_DELIVERED,
            ControlEntry::Cancelled { .. } => KIND_CANCELLED,
            ControlEntry::Carried { .. } => KIND_CARRIED,
            ControlEntry::HalfEnded { .. } => KIND_HALF_ENDED,
            ControlEntry::HalfChecked(_) => KIND_HALF_CHECKED,
            ControlEntry::OffsetsReset(_) => KIND_OFFSETS_RESET,
            ControlEntry::PopProgress(_) => KIND_POP_PROGRESS,
            ControlEntry::Epoch(_) => KIND_EPOCH,
        }
    }

    /// Bytes of the whole entry in the log.
    pub fn bytes(&self) -> usize {
        batch::CONTROL_HEADER_BYTES + self.content().len()
    }

    /// Writes the whole entry to exactly [`ControlEntry::bytes`].
    pub fn encode(&self, out: &mut [u8]) {
        batch::encode_control(out, self.kind(), &self.content());
    }

    fn content(&self) -> Cow<'a, [u8]> {
        Cow::Borrowed(match self {
            ControlEntry::Epoch(entry) => return Cow::Owned(entry.content().to_vec()),
            ControlEntry::Delivered { due, position }
            | ControlEntry::Cancelled { due, position }
            | ControlEntry::Carried { due, position } => {
                return Cow::Owned([due.to_be_bytes(), position.to_be_bytes()].concat());
            }
            ControlEntry::HalfEnded { position, outcome } => {
                return Cow::Owned([&position.to_be_bytes()[..], &[*outcome as u8]].concat());
            }
            ControlEntry::HalfChecked(checks) => checks.content(),
            ControlEntry::GroupOffsets(changes) | ControlEntry::OffsetsReset(changes) => {
                changes.content()
            }
            ControlEntry::PopProgress(progress) => progress.content(),
            ControlEntry::TopicRemoved { topic } => topic.as_bytes(),
            ControlEntry::GroupRemoved { group } => group.as_bytes(),
        })
    }
}

fn half_ended(content: &[u8]) -> Option<ControlEntry<'_>> {
    let (position, outcome) = content.split_first_chunk()?;
    let [outcome] = outcome else { return None };
    Some(ControlEntry::HalfEnded {
        position: u64::from_be_bytes(*position),
        outcome: HalfOutcome::of(*outcome)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{Entries, Entry},
        state::half_messages::HalfCheck,
    };

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let mut offsets = vec![0, 1, b'g', 0, 1, b't', 0, 1];
        offsets.extend_from_slice(&[0, 0, 0, 7]);
        offsets.extend_from_slice(&9i64.to_be_bytes());
        let changes = OffsetChanges::decode(&offsets).expect("whole");
        assert_eq!(changes.iter().map(|change| change.offset).collect::<Vec<_>>(), [9]);
        let checks = [
            HalfCheck { position: 64, due: 7, checks: 1 },
            HalfCheck { position: u64::MAX, due: i64::MIN, checks: u32::MAX },
        ];
        let rows = HalfChecks::encode(&checks);
        let rows = HalfChecks::decode(&rows).expect("whole");
        assert!(rows.iter().eq(checks));
        for entry in [
            ControlEntry::GroupOffsets(changes),
            ControlEntry::OffsetsReset(changes),
            ControlEntry::TopicRemoved { topic: "orders" },
            ControlEntry::GroupRemoved { group: "" },
            ControlEntry::Delivered { due: -3, position: u64::MAX - 1 },
            ControlEntry::Cancelled { due: 7, position: 9 },
            ControlEntry::Carried { due: 7, position: 9 },
            ControlEntry::HalfEnded { position: 64, outcome: HalfOutcome::Committed },
            ControlEntry::HalfEnded { position: 64, outcome: HalfOutcome::GivenUp },
            ControlEntry::HalfChecked(rows),
            ControlEntry::PopProgress(PopProgress::decode(&[]).expect("of no queue")),
            ControlEntry::Epoch(EpochEntry { writer: 7, previous_epoch: 1, previous_end: 900 }),
        ] {
            let mut bytes = vec![0; entry.bytes()];
            entry.encode(&mut bytes);
            match Entries::new(&bytes, 0).next() {
                Some(Ok(Entry::Control { kind, content, .. })) => {
                    assert_eq!(ControlEntry::decode(kind, content), Ok(entry));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_kind_that_is_not_known_is_told_from_a_content_that_cannot_be_read() {
        let bad = [0xff, 0xfe];
        let known = [
            KIND_GROUP_OFFSETS,
            KIND_TOPIC_REMOVED,
            KIND_GROUP_REMOVED,
            KIND_DELIVERED,
            KIND_HALF_ENDED,
            KIND_HALF_CHECKED,
            KIND_CANCELLED,
            KIND_CARRIED,
            KIND_OFFSETS_RESET,
            KIND_POP_PROGRESS,
            KIND_EPOCH,
        ];
        for kind in known {
            let error = ControlEntry::decode(kind, &bad).err();
            let is_so =
                matches!(error, Some(ControlError::Malformed { kind: of, .. }) if of == kind);
            assert!(is_so, "{kind}: {error:?}");
        }
        for outcome in [0, 4] {
            let content = [&[0; 8][..], &[outcome]].concat();
            assert!(ControlEntry::decode(KIND_HALF_ENDED, &content).is_err(), "{outcome}");
        }
        for kind in [0, 12, 99, u16::MAX] {
            assert_eq!(ControlEntry::decode(kind, b""), Err(ControlError::Unknown { kind }));
        }
    }
}
