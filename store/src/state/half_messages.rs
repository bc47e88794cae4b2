//! Half messages: what a transactional producer has sent and not decided yet.
//!
//! A half message lies in a queue of [`HALF_TOPIC`], on the shard of the queue that it is for. As with other records that
//! wait ([`super::deferred`]) its consume queue entry and the record itself say a time: when its producer is asked first. It
//! is known by its position, which never changes, however often it is checked. It ends once, with a control entry
//! ([`ControlEntry::HalfEnded`]): when it is committed that stands in one batch with the message that it becomes. The
//! first decision counts; a later one finds nothing that it could end.
//!
//! What is being ended, and when the next look at one is due that could not be checked, is no state: a start knows nothing of
//! it.

use super::{
    ControlEntry, ControlError, DerivedState,
    control::KIND_HALF_ENDED,
    rows::{self, part},
};
use crate::{batch::CONTROL_HEADER_BYTES, index::SectionKind, state::deferred::Portion};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

/// Where half messages lie.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";

/// How a half message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HalfOutcome {
    /// It became a message, or nothing if its topic was deleted.
    Committed = 1,
    /// It never was.
    RolledBack = 2,
    /// Its producer did not decide, often enough or long enough; a copy of it lies where an operator finds it.
    GivenUp = 3,
}

impl HalfOutcome {
    /// The outcome of this number.
    pub fn of(number: u8) -> Option<HalfOutcome> {
        use HalfOutcome::{Committed, GivenUp, RolledBack};
        [Committed, RolledBack, GivenUp].into_iter().find(|outcome| *outcome as u8 == number)
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            HalfOutcome::Committed => "committed",
            HalfOutcome::RolledBack => "rolled back",
            HalfOutcome::GivenUp => "given up",
        }
    }
}

/// A half message was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfCheck {
    /// Where it lies.
    pub position: u64,
    /// When it is checked again, ms.
    pub due: i64,
    /// How often it was.
    pub checks: u32,
}

/// Checks as they stand in a control entry, a row each: position, due, checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfChecks<'a> {
    rows: &'a [[u8; CHECK_BYTES]],
}

const CHECK_BYTES: usize = 8 + 8 + 4;

impl<'a> HalfChecks<'a> {
    /// As many as one control entry holds, which fits any log.
    pub const COUNT_MAX: usize = 64;
    /// The bytes of such an entry.
    pub const ENTRY_BYTES_MAX: usize = CONTROL_HEADER_BYTES + Self::COUNT_MAX * CHECK_BYTES;

    /// The bytes of some checks.
    pub fn encode(checks: &[HalfCheck]) -> Vec<u8> {
        let rows = checks.iter().flat_map(|HalfCheck { position, due, checks }| {
            let mut row = [0; CHECK_BYTES];
            row[..8].copy_from_slice(&position.to_be_bytes());
            row[8..16].copy_from_slice(&due.to_be_bytes());
            row[16..].copy_from_slice(&checks.to_be_bytes());
            row
        });
        rows.collect()
    }

    /// What was encoded. `None`: a part of a row is left.
    pub fn decode(content: &'a [u8]) -> Option<HalfChecks<'a>> {
        let (rows, rest) = content.as_chunks();
        rest.is_empty().then_some(HalfChecks { rows })
    }

    /// Its bytes.
    pub fn content(&self) -> &'a [u8] {
        self.rows.as_flattened()
    }

    /// Each.
    pub fn iter(&self) -> impl Iterator<Item = HalfCheck> + use<'a> {
        self.rows.iter().map(|row| HalfCheck {
            position: u64::from_be_bytes(part(row, 0)),
            due: i64::from_be_bytes(part(row, 8)),
            checks: u32::from_be_bytes(part(row, 16)),
        })
    }
}

/// A half message that nobody has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHalf {
    /// Where it lies.
    pub position: u64,
    /// Its bytes.
    pub bytes: u32,
    /// How often it was checked.
    pub checks: u32,
    /// Its producer has decided since it was checked last, and the log did not take that.
    pub refused: bool,
}

/// Whether a half message can be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It can, by whoever asked, who says when that was not to be ([`HalfMessages::keep`]).
    Begun(OpenHalf),
    /// Somebody is at it.
    UnderWay,
    /// No half message is open there: it has ended, or never was one.
    Unknown,
}

struct Open {
    bytes: u32,
    checks: u32,
    /// When it is checked next, as the log says.
    due: i64,
    /// When the next look at it is due, unless it is being looked at.
    look: Option<i64>,
    ending: bool,
    /// See [`OpenHalf::refused`].
    refused: bool,
}

impl Open {
    fn at(&self, position: u64) -> OpenHalf {
        let Open { bytes, checks, refused, .. } = *self;
        OpenHalf { position, bytes, checks, refused }
    }
}

/// The half messages of a shard that are open.
#[derive(Default)]
pub struct HalfMessages {
    /// By position.
    open: BTreeMap<u64, Open>,
    /// When each is looked at, and its position.
    looks: BTreeSet<(i64, u64)>,
    /// Most that may be open, if that was said.
    limit: Option<usize>,
    /// Behind the first byte of the last entry that ended one.
    ended: u64,
}

/// One in a snapshot: position, due, checks, bytes.
const RECORD_BYTES: usize = 8 + 8 + 4 + 4;

impl HalfMessages {
    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Once the log is durable up to here, none is open again that is not open now.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// More than so many shall not be open. What the log holds already is.
    pub(crate) fn limit(&mut self, records: usize) {
        self.limit = Some(records);
    }

    /// Whether one more may be open: else how many are, and the limit.
    pub(crate) fn has_room(&self) -> Result<(), (usize, usize)> {
        let (open, limit) = (self.open.len(), self.limit.unwrap_or(usize::MAX));
        if open < limit { Ok(()) } else { Err((open, limit)) }
    }

    /// Each, as the log says: when it is checked next, and how often it was.
    pub fn iter(&self) -> impl Iterator<Item = HalfCheck> {
        self.open.iter().map(|(position, open)| HalfCheck {
            position: *position,
            due: open.due,
            checks: open.checks,
        })
    }

    /// A half message was committed to the log, and is checked first at `due`. One that is open already is no other one.
    pub(crate) fn insert(&mut self, position: u64, bytes: u32, due: i64) {
        self.put(HalfCheck { position, due, checks: 0 }, bytes);
    }

    fn put(&mut self, HalfCheck { position, due, checks }: HalfCheck, bytes: u32) {
        let open = Open { bytes, checks, due, look: Some(due), ending: false, refused: false };
        if let Some(Open { look: Some(before), .. }) = self.open.insert(position, open) {
            self.looks.remove(&(before, position));
        }
        self.looks.insert((due, position));
    }

    /// Whether one is open that lies here.
    pub fn is_open(&self, position: u64) -> bool {
        self.open.contains_key(&position)
    }

    /// When the next look at one is due.
    pub fn next_look(&self) -> Option<i64> {
        self.looks.first().map(|(look, _)| *look)
    }

    /// Hands out what is to be looked at by `now` and is not being ended, in order. None of it is handed out again before it
    /// was checked, by a control entry, or [`HalfMessages::look_again`] says when.
    pub fn take_due(&mut self, now: i64, at_most: Portion, out: &mut Vec<OpenHalf>) {
        let mut left = at_most;
        while let Some((look, position)) = self.looks.first().copied() {
            let open = self.open.get_mut(&position).expect("what is looked at is open");
            let is_first = left.records == at_most.records;
            let is_full = left.records == 0 || (!is_first && left.bytes < open.bytes as usize);
            if is_full || look > now {
                return;
            }
            open.look = None;
            self.looks.pop_first();
            if !open.ending {
                left.records -= 1;
                left.bytes = left.bytes.saturating_sub(open.bytes as usize);
                out.push(open.at(position));
            }
        }
    }

    /// One that was handed out is handed out again at `look` at the latest, if it is still open.
    pub fn look_again(&mut self, position: u64, look: i64) {
        let Some(open) = self.open.get_mut(&position) else { return };
        match open.look {
            Some(before) if before <= look => return,
            Some(before) => self.looks.remove(&(before, position)),
            None => false,
        };
        open.look = Some(look);
        self.looks.insert((look, position));
    }

    /// Begins to end one. Until that is committed, or [`HalfMessages::keep`] says that it is not to be, nobody else may, and
    /// it is not handed out.
    pub fn begin_end(&mut self, position: u64) -> Ending {
        match self.open.get_mut(&position) {
            None => Ending::Unknown,
            Some(open) if open.ending => Ending::UnderWay,
            Some(open) => {
                open.ending = true;
                Ending::Begun(open.at(position))
            }
        }
    }

    /// One that was to end does not. Nobody has decided: when it is handed out stays as it was.
    pub fn keep(&mut self, position: u64) {
        let Some(open) = self.open.get_mut(&position) else { return };
        open.ending = false;
        if open.look.is_none() {
            let due = open.due;
            self.look_again(position, due);
        }
    }

    /// One that was to end does not, because the log did not take what its producer decided. It is handed out at `look` at the
    /// latest.
    pub fn keep_refused(&mut self, position: u64, look: i64) {
        let Some(open) = self.open.get_mut(&position) else { return };
        (open.ending, open.refused) = (false, true);
        self.look_again(position, look);
    }

    /// Its producer was asked again, whatever it had decided before.
    pub fn asked_again(&mut self, position: u64) {
        if let Some(open) = self.open.get_mut(&position) {
            open.refused = false;
        }
    }

    fn end(&mut self, position: u64) {
        if let Some(Open { look: Some(look), .. }) = self.open.remove(&position) {
            self.looks.remove(&(look, position));
        }
    }

    fn checked(&mut self, HalfCheck { position, due, checks }: HalfCheck) {
        let Some(open) = self.open.get_mut(&position) else { return };
        (open.due, open.checks) = (due, checks);
        if let Some(before) = open.look.replace(due) {
            self.looks.remove(&(before, position));
        }
        self.looks.insert((due, position));
    }
}

impl DerivedState for HalfMessages {
    const SECTION: SectionKind = SectionKind::HalfMessages;
    /// The last one that was written.
    type Place = Option<u64>;

    fn apply(&mut self, entry: &ControlEntry<'_>, at: u64) {
        match entry {
            ControlEntry::HalfEnded { position, .. } => {
                self.end(*position);
                self.ended = self.ended.max(at + 1);
            }
            ControlEntry::HalfChecked(checks) => {
                checks.iter().for_each(|check| self.checked(check))
            }
            _ => {}
        }
    }

    fn snapshot(&self, place: &mut Option<u64>, pieces: &mut Vec<Vec<u8>>) -> bool {
        let from = place.map_or(Unbounded, Excluded);
        let rows = self.open.range((from, Unbounded)).map(|(position, open)| {
            *place = Some(*position);
            let mut row = [0; RECORD_BYTES];
            row[..8].copy_from_slice(&position.to_be_bytes());
            row[8..16].copy_from_slice(&open.due.to_be_bytes());
            row[16..20].copy_from_slice(&open.checks.to_be_bytes());
            row[20..].copy_from_slice(&open.bytes.to_be_bytes());
            row
        });
        rows::write(rows, pieces)
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError> {
        let what = "is followed by a part of a half message";
        for record in rows::read::<RECORD_BYTES>(piece, KIND_HALF_ENDED, what)? {
            let check = HalfCheck {
                position: u64::from_be_bytes(part(record, 0)),
                due: i64::from_be_bytes(part(record, 8)),
                checks: u32::from_be_bytes(part(record, 16)),
            };
            self.put(check, u32::from_be_bytes(part(record, 20)));
        }
        Ok(())
    }

    fn holds_back(&self) -> Option<u64> {
        self.open.first_key_value().map(|(position, _)| *position)
    }
}

#[cfg(test)]
#[path = "half_messages_tests.rs"]
mod tests;
