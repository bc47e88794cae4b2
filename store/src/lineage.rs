//! Who wrote which part of a log: its epochs, where each begins, and whose they are.
//!
//! An epoch has one writer, so equal epoch, writer and position mean equal bytes on any two replicas. Two histories are
//! compared by their lineages: they agree up to where the first of them left an epoch that both have. Every epoch begins
//! with a start batch, whose first entry is [`EpochEntry`]; only the mark that ends a segment may stand before it.

use crate::{
    batch::{CONTROL_HEADER_BYTES, Entries, Entry, Header, Kind},
    index::SectionKind,
    state::{ControlEntry, ControlError, DerivedState, control::KIND_EPOCH},
};

/// Bytes of the entry with which an epoch begins.
pub const EPOCH_ENTRY_BYTES: usize = CONTROL_HEADER_BYTES + EpochEntry::BYTES;

/// One epoch of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// Its number; larger than that of the one before.
    pub epoch: u32,
    /// Position of its first batch; the epoch before ended there.
    pub start: u64,
    /// Store id of the store that writes it.
    pub writer: u64,
}

impl EpochStart {
    /// Bytes of one as index files hold it: epoch, start, writer, big-endian.
    pub const BYTES: usize = 20;

    /// As index files hold it.
    pub fn encode(&self) -> [u8; EpochStart::BYTES] {
        let mut out = [0; EpochStart::BYTES];
        out[..4].copy_from_slice(&self.epoch.to_be_bytes());
        out[4..12].copy_from_slice(&self.start.to_be_bytes());
        out[12..].copy_from_slice(&self.writer.to_be_bytes());
        out
    }

    /// Reads what [`EpochStart::encode`] wrote.
    pub fn decode(bytes: &[u8; EpochStart::BYTES]) -> EpochStart {
        let (epoch, rest) = bytes.split_first_chunk::<4>().expect("20 bytes");
        let (start, writer) = rest.split_first_chunk::<8>().expect("16 bytes");
        EpochStart {
            epoch: u32::from_be_bytes(*epoch),
            start: u64::from_be_bytes(*start),
            writer: u64::from_be_bytes(*writer.first_chunk().expect("8 bytes")),
        }
    }
}

/// What a start batch says. Content of [`ControlEntry::Epoch`], big-endian: writer u64, previous epoch u32, previous end u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// Store id of the store that writes the epoch.
    pub writer: u64,
    /// Epoch before; 0 at the beginning of a log.
    pub previous_epoch: u32,
    /// Where it ended, and the new one begins.
    pub previous_end: u64,
}

impl EpochEntry {
    const BYTES: usize = 20;

    /// The content of the control entry.
    pub fn content(&self) -> [u8; EpochEntry::BYTES] {
        let mut out = [0; EpochEntry::BYTES];
        out[..8].copy_from_slice(&self.writer.to_be_bytes());
        out[8..12].copy_from_slice(&self.previous_epoch.to_be_bytes());
        out[12..].copy_from_slice(&self.previous_end.to_be_bytes());
        out
    }

    /// Reads the content of the control entry.
    pub fn decode(content: &[u8]) -> Result<EpochEntry, &'static str> {
        let fields = || {
            let (writer, rest) = content.split_first_chunk::<8>()?;
            let (epoch, rest) = rest.split_first_chunk::<4>()?;
            let end: [u8; 8] = rest.try_into().ok()?;
            Some(EpochEntry {
                writer: u64::from_be_bytes(*writer),
                previous_epoch: u32::from_be_bytes(*epoch),
                previous_end: u64::from_be_bytes(end),
            })
        };
        fields().ok_or("is no beginning of an epoch")
    }
}

impl EpochStart {
    /// The epoch that begins with this batch, which is whole: with a start batch, or with the mark that ends a segment
    /// before it. `None`: its epoch has begun before.
    pub fn of_batch(header: &Header, payload: &[u8]) -> Option<EpochStart> {
        let Header { epoch, writer, position, kind, .. } = *header;
        if kind == Kind::SegmentEnd {
            return Some(EpochStart { epoch, start: position, writer });
        }
        match Entries::new(payload, position).next() {
            Some(Ok(Entry::Control { kind: KIND_EPOCH, content, .. })) => {
                let entry = EpochEntry::decode(content).ok()?;
                let fits = entry.writer == writer && entry.previous_epoch < epoch;
                (fits && entry.previous_end <= position).then_some(EpochStart {
                    epoch,
                    start: entry.previous_end,
                    writer,
                })
            }
            _ => None,
        }
    }
}

/// The epochs of a log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<EpochStart>);

impl Lineage {
    /// From what an index file says. Epochs that do not grow end the list: only a bug of ours can have written them.
    pub fn from_starts(starts: &[EpochStart]) -> Lineage {
        let mut lineage = Lineage::default();
        starts.iter().for_each(|start| lineage.note(*start));
        lineage
    }

    /// The epochs, oldest first.
    pub fn epochs(&self) -> &[EpochStart] {
        &self.0
    }

    /// The newest epoch.
    pub fn last(&self) -> Option<EpochStart> {
        self.0.last().copied()
    }

    /// A batch of an epoch stands in the log; notes the epoch if it is new.
    pub fn note(&mut self, seen: EpochStart) {
        let is_new = |last: &EpochStart| seen.epoch > last.epoch && seen.start >= last.start;
        if self.0.last().is_none_or(is_new) {
            self.0.push(seen);
        }
    }

    /// The epoch that the batch before `position` belongs to.
    pub fn before(&self, position: u64) -> Option<EpochStart> {
        let count = self.0.partition_point(|epoch| epoch.start < position);
        self.0[..count].last().copied()
    }

    /// The part of it that is about the log before `position`.
    pub fn up_to(&self, position: u64) -> Lineage {
        Lineage(self.0.iter().copied().take_while(|epoch| epoch.start < position).collect())
    }

    /// What was before `position` goes, but for the epoch that `position` is in.
    pub fn retire_before(&mut self, position: u64) {
        let gone = self.0.partition_point(|epoch| epoch.start <= position).saturating_sub(1);
        self.0.drain(..gone);
    }

    /// The pieces of an index file's section that are about the log before `to`.
    pub(crate) fn retain_before(pieces: &mut Vec<Vec<u8>>, to: u64) {
        pieces.retain(|piece| match piece.first_chunk() {
            Some(bytes) => EpochStart::decode(bytes).start < to,
            None => false,
        });
    }

    /// Up to where this log, which ends at `end`, and another one are the same: behind it one of them must be cut before
    /// it goes on with the other. `None` when they have no epoch in common and one does not reach back to the beginning.
    pub fn common_end(&self, end: u64, other: &Lineage, other_end: u64) -> Option<u64> {
        let same = |own: &EpochStart| {
            let alike =
                |theirs: &&EpochStart| (theirs.epoch, theirs.writer) == (own.epoch, own.writer);
            other.0.iter().find(alike).is_some()
        };
        let Some(last) = self.0.iter().rev().find(|own| same(own)) else {
            // Of two whole logs nothing is the same but their beginning.
            let whole = |lineage: &Lineage| lineage.0.first().is_none_or(|first| first.start == 0);
            return (whole(self) && whole(other)).then_some(0);
        };
        let last = last.epoch;
        Some(self.end_of(last, end).min(other.end_of(last, other_end)))
    }

    /// Where an epoch ends in a log that ends at `end`.
    fn end_of(&self, epoch: u32, end: u64) -> u64 {
        let next = self.0.iter().find(|other| other.epoch > epoch);
        next.map_or(end, |next| next.start.min(end))
    }
}

/// Epochs are noted when their first batch is appended, accepted or scanned: histories are compared before anything of
/// them is committed. An index file holds those of the log that it covers or that is before.
impl DerivedState for Lineage {
    const SECTION: SectionKind = SectionKind::Lineage;
    type Place = ();

    fn apply(&mut self, _: &ControlEntry<'_>, _: u64) {}

    fn snapshot(&self, (): &mut (), pieces: &mut Vec<Vec<u8>>) -> bool {
        pieces.extend(self.0.iter().map(|start| start.encode().to_vec()));
        false
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        let what = "is an epoch of another length";
        let piece = piece.try_into();
        let piece = piece.map_err(|_| ControlError::Malformed { kind: KIND_EPOCH, what })?;
        self.note(EpochStart::decode(piece));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(epochs: &[(u32, u64, u64)]) -> Lineage {
        let epoch = |(epoch, start, writer): &(u32, u64, u64)| EpochStart {
            epoch: *epoch,
            start: *start,
            writer: *writer,
        };
        Lineage::from_starts(&epochs.iter().map(epoch).collect::<Vec<_>>())
    }

    #[test]
    fn histories_agree_up_to_where_one_of_them_left_the_last_epoch_of_both() {
        let master = lineage(&[(1, 0, 7), (2, 1_000, 7), (4, 3_000, 8)]);
        let same = |other: &[(u32, u64, u64)], end| master.common_end(3_500, &lineage(other), end);
        assert_eq!(same(&[(1, 0, 7), (2, 1_000, 7)], 2_500), Some(2_500), "it is only behind");
        assert_eq!(same(&[(1, 0, 7), (2, 1_000, 7)], 3_200), Some(3_000), "it went on alone");
        assert_eq!(same(&[(1, 0, 7), (2, 1_000, 7), (3, 2_700, 7)], 3_200), Some(2_700));
        assert_eq!(same(&[(1, 0, 7), (2, 1_000, 7), (4, 3_000, 8)], 9_000), Some(3_500));
        assert_eq!(same(&[(1, 0, 7), (2, 1_000, 9)], 1_200), Some(1_000), "two wrote epoch 2");
        assert_eq!(same(&[(2, 1_000, 7)], 1_700), Some(1_700), "its first segments were retired");
        assert_eq!(same(&[(5, 0, 9)], 100), Some(0));
        assert_eq!(same(&[], 0), Some(0));
        assert_eq!(same(&[(5, 700, 9)], 800), None);
    }

    #[test]
    fn epochs_are_noted_once_found_by_position_and_retired_from_the_front() {
        let mut own = lineage(&[(1, 0, 7), (2, 1_000, 8)]);
        own.note(EpochStart { epoch: 2, start: 1_200, writer: 8 });
        own.note(EpochStart { epoch: 5, start: 2_000, writer: 7 });
        assert_eq!(own, lineage(&[(1, 0, 7), (2, 1_000, 8), (5, 2_000, 7)]));
        let epoch = |position| own.before(position).map_or(0, |epoch| epoch.epoch);
        assert_eq!((epoch(0), epoch(1), epoch(1_000), epoch(1_001), epoch(9_000)), (0, 1, 1, 2, 5));
        assert_eq!(own.up_to(1_000), lineage(&[(1, 0, 7)]));
        own.retire_before(1_500);
        assert_eq!(own, lineage(&[(2, 1_000, 8), (5, 2_000, 7)]));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let start = EpochStart { epoch: 3, start: 1 << 40, writer: u64::MAX - 1 };
        assert_eq!(EpochStart::decode(&start.encode()), start);
        let entry = EpochEntry { writer: 5, previous_epoch: 9, previous_end: 1 << 41 };
        assert_eq!(EpochEntry::decode(&entry.content()), Ok(entry));
        assert!(EpochEntry::decode(&entry.content()[1..]).is_err());
        assert!(EpochEntry::decode(&[0; 21]).is_err());
    }
}
