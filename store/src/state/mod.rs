//! State machines of a shard: what follows from the entries of its log and is not where messages lie.
//!
//! Each state takes the log's entries one by one, in log order, through [`DerivedState::apply`]: on the live path when
//! they cross the commit gate ([`crate::StoreState::cross_gate`]), at a start when the log is scanned. So equal logs make
//! equal states, and a store that is opened again is right, whatever was appended and never committed. Index files hold
//! each state as of their end, in a section of its own.
//!
//! What a client asked for and the log has not committed yet is no state. It may be visible before (an offset that a
//! consumer committed is), but it lies beside the state and is never written into an index file.
//!
//! Absent on purpose: queues and their offsets. A message gets its queue offset when it is appended, before the gate
//! ([`crate::store_state`]).

pub mod control;
pub mod deferred;
mod fields;
pub mod group_offsets;
pub mod half_messages;
mod offset_changes;
pub mod offset_resets;
pub mod popped;
mod rows;

pub use self::{
    control::{ControlEntry, ControlError},
    deferred::Deferred,
    group_offsets::GroupOffsets,
    half_messages::HalfMessages,
    offset_resets::OffsetResets,
    popped::Popped,
};

use self::deferred::Due;
use crate::{
    index::{SectionKind, StateSection},
    lineage::Lineage,
};
use std::{collections::BTreeMap, rc::Rc};

/// A state that follows from the log.
pub trait DerivedState {
    /// Section of index files that holds it.
    const SECTION: SectionKind;
    /// Where a snapshot goes on, which is taken in pieces of work.
    type Place: Default;

    /// An entry of the log at `position` (of the entry) was committed. Entries come in log order; one that index files
    /// cover already may come again after a start, and then changes nothing.
    fn apply(&mut self, entry: &ControlEntry<'_>, position: u64);

    /// Adds what is committed to the pieces of the section, from `place` on, as much as one piece of work may be. Returns
    /// whether there is more. What appears meanwhile has its entries behind the end of the index file.
    fn snapshot(&self, place: &mut Self::Place, pieces: &mut Vec<Vec<u8>>) -> bool;

    /// Takes a piece of the section of an index file, before any entry behind that is applied. Errors: it is not what
    /// a snapshot writes.
    fn restore(&mut self, piece: &[u8]) -> Result<(), ControlError>;

    /// Position of the oldest byte of the log that the state still needs: the segment that holds it, and all behind,
    /// cannot retire. `None`: it needs nothing.
    fn holds_back(&self) -> Option<u64> {
        None
    }
}

/// All states of a shard.
#[derive(Default)]
pub struct ShardState {
    /// Committed offsets of groups.
    pub group_offsets: GroupOffsets,
    /// Queues on which groups are told to go on elsewhere.
    pub offset_resets: OffsetResets,
    /// The epochs of the log.
    pub lineage: Lineage,
    /// Records that wait until they are due.
    pub deferred: Deferred,
    /// Half messages.
    pub half_messages: HalfMessages,
    /// What groups have popped.
    pub popped: Popped,
}

/// For what records of a topic wait, instead of being for consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The time of their delay level.
    Level,
    /// The time that they name themselves.
    Timer,
    /// A decision: half messages. They have a time, too, when their producer is asked for it.
    Decision,
}

impl WaitsFor {
    /// The topic whose records wait so.
    pub fn topic(self) -> &'static str {
        match self {
            WaitsFor::Level => deferred::SCHEDULE_TOPIC,
            WaitsFor::Timer => deferred::TIMER_TOPIC,
            WaitsFor::Decision => half_messages::HALF_TOPIC,
        }
    }

    /// For what records of this topic wait.
    pub fn of(topic: &str) -> Option<WaitsFor> {
        [WaitsFor::Level, WaitsFor::Timer, WaitsFor::Decision]
            .into_iter()
            .find(|waits_for| waits_for.topic() == topic)
    }
}

impl ShardState {
    /// An entry of the log at `position` was committed.
    pub fn apply(&mut self, entry: &ControlEntry<'_>, position: u64) {
        self.group_offsets.apply(entry, position);
        self.offset_resets.apply(entry, position);
        self.lineage.apply(entry, position);
        self.deferred.apply(entry, position);
        self.half_messages.apply(entry, position);
        self.popped.apply(entry, position);
    }

    /// A record was committed that waits from now on, in a queue of a waiting topic.
    pub(crate) fn insert(&mut self, waits_for: WaitsFor, record: Due) {
        match waits_for {
            WaitsFor::Level => self.deferred.insert(record),
            WaitsFor::Timer => self.deferred.insert(record.of_timer()),
            WaitsFor::Decision => {
                self.half_messages.insert(record.position, record.bytes, record.due);
            }
        }
    }

    /// Once the log is durable up to here, nothing waits again that does not wait now.
    pub(crate) fn waits_ended(&self) -> u64 {
        self.deferred.ended().max(self.half_messages.ended())
    }

    /// Takes what an index file says. Sections of kinds that are not known here were refused when the file was opened.
    /// Errors: a piece is not what a snapshot writes.
    pub fn restore(&mut self, sections: &[StateSection]) -> Result<(), ControlError> {
        for section in sections {
            for piece in &section.pieces {
                match section.kind {
                    GroupOffsets::SECTION => self.group_offsets.restore(piece)?,
                    OffsetResets::SECTION => self.offset_resets.restore(piece)?,
                    Lineage::SECTION => self.lineage.restore(piece)?,
                    Deferred::SECTION => self.deferred.restore(piece)?,
                    HalfMessages::SECTION => self.half_messages.restore(piece)?,
                    Popped::SECTION => self.popped.restore(piece)?,
                    other => unreachable!("section {other:?} is no state"),
                }
            }
        }
        Ok(())
    }

    /// The log begins at `position` now.
    pub(crate) fn retire_before(&mut self, position: u64) {
        self.lineage.retire_before(position);
        self.deferred.retire_before(position);
    }

    /// As [`ShardState::holds_back`], but for records that could be carried on.
    pub(crate) fn holds_back_for_good(&self) -> Option<u64> {
        self.half_messages.holds_back()
    }

    /// All states as sections of an index file, in one piece of work.
    pub(crate) fn snapshot(&self) -> Vec<StateSection> {
        let Self { group_offsets, offset_resets, lineage, deferred, half_messages, popped } = self;
        vec![
            section_of(group_offsets),
            section_of(offset_resets),
            section_of(lineage),
            section_of(deferred),
            section_of(half_messages),
            section_of(popped),
        ]
    }

    /// Position of the oldest byte of the log that a state still needs.
    pub(crate) fn holds_back(&self) -> Option<u64> {
        let Self { group_offsets, offset_resets, lineage, deferred, half_messages, popped } = self;
        let needed = [
            group_offsets.holds_back(),
            offset_resets.holds_back(),
            lineage.holds_back(),
            deferred.holds_back(),
            half_messages.holds_back(),
            popped.holds_back(),
        ];
        needed.into_iter().flatten().min()
    }
}

fn section_of<S: DerivedState>(state: &S) -> StateSection {
    let (mut place, mut pieces) = (S::Place::default(), Vec::new());
    while state.snapshot(&mut place, &mut pieces) {}
    StateSection { kind: S::SECTION, pieces }
}

/// The name as it is a key already, or a new one.
fn shared<V>(map: &BTreeMap<Rc<str>, V>, name: &str) -> Rc<str> {
    map.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Rc::clone(name))
}
