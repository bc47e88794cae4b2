//! Groups are told to go on elsewhere, hear it or not, and commit offsets meanwhile.

use super::{
    book::{OffsetName, What},
    mutant::Mutation,
    work::Life,
};
use std::collections::BTreeMap;
use store::state::{OffsetResets, group_offsets::OffsetChange, offset_resets::Puller};

/// A queue that is marked, as the store should see it. Nobody has had the time to hear what was told, and no mark gets old.
#[derive(Clone, Copy)]
struct Mark {
    target: i64,
    tells: u32,
    /// The connection that pulled from there, and up to where was served.
    heard: Option<(u64, i64)>,
}

impl Mark {
    fn to(target: i64) -> Mark {
        Mark { target, tells: 0, heard: None }
    }

    fn served(&self, offset: i64) -> bool {
        self.heard.is_some_and(|(_, up_to)| self.target <= offset && offset <= up_to)
    }
}

/// What a life knows of resets.
#[derive(Default)]
pub(super) struct Resets {
    /// Queues that are marked.
    marks: BTreeMap<OffsetName, Mark>,
    /// Changes of them that are not in the log.
    dirty: BTreeMap<OffsetName, Option<i64>>,
}

impl Resets {
    /// As a start has found them.
    pub(super) fn found(resets: &OffsetResets) -> Resets {
        let marks = resets.iter().map(|OffsetChange { group, topic, queue_id, offset }| {
            ((group.to_owned(), topic.to_owned(), queue_id), Mark::to(offset))
        });
        Resets { marks: marks.collect(), dirty: BTreeMap::new() }
    }

    fn end(&mut self, name: &OffsetName) {
        self.marks.remove(name);
        self.dirty.insert(name.clone(), None);
    }

    /// Whether a pop may begin, which ends a mark: not before the log has it.
    pub(super) fn may_pop(&mut self, name: &OffsetName) -> bool {
        let is_marked = self.marks.contains_key(name);
        let may = !is_marked || !self.dirty.contains_key(name);
        if is_marked && may {
            self.end(name);
        }
        may
    }

    /// Where a pull is told to go on.
    fn pull(&mut self, name: &OffsetName, connection: u64, offset: i64) -> Option<i64> {
        let mark = self.marks.get_mut(name)?;
        let by = mark.heard.map(|(by, _)| by);
        let goes_on = by == Some(connection) && offset > mark.target;
        if mark.served(offset) || goes_on || (by.is_none() && offset == mark.target) {
            let up_to = mark.heard.map_or(offset, |(_, up_to)| up_to.max(offset));
            mark.heard = Some((connection, up_to));
            return None;
        }
        if by == Some(connection) || mark.tells == 16 {
            self.end(name);
            return None;
        }
        mark.tells += 1;
        Some(mark.target)
    }

    /// Whether an offset counts that a group commits.
    fn counts(&mut self, name: &OffsetName, offset: i64) -> bool {
        let Some(mark) = self.marks.get(name) else { return true };
        let ends = offset != mark.target && mark.served(offset);
        let counts = ends || offset == mark.target;
        if ends {
            self.end(name);
        }
        counts
    }

    /// What the next control entry of resets says, if there is one.
    pub(super) fn take(&mut self) -> Option<What> {
        let changes = std::mem::take(&mut self.dirty);
        (!changes.is_empty()).then(|| What::Resets(changes.into_iter().collect()))
    }

    /// A topic or a group is gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&OffsetName) -> bool) {
        self.marks.retain(|name, _| !is_gone(name));
        self.dirty.retain(|name, _| !is_gone(name));
    }
}

impl Life<'_> {
    pub(super) fn work_on_resets(&mut self) {
        let name = self.offset_name();
        match self.history.rng.u8(0..4) {
            0 | 1 => self.reset(&name),
            2 => self.pull_of_group(&name),
            _ => {
                // Somebody who was told goes there, gets something, and says so.
                let Some(Mark { target, .. }) = self.resets.marks.get(&name).copied() else {
                    return;
                };
                self.pull_from(&name, target);
                self.serve(&name, target);
                let offset = target + self.history.rng.i64(0..12);
                self.commit(name, offset);
            }
        }
    }

    fn reset(&mut self, name: &OffsetName) {
        let target = self.history.rng.i64(0..50);
        self.reset_to(name, target);
    }

    /// Whether there was room.
    pub(super) fn reset_to(&mut self, name: &OffsetName, target: i64) -> bool {
        self.changes += 1;
        let reset = self.store.state_mut().reset_group_offset(&name.0, &name.1, name.2, target);
        if reset.is_err() {
            assert!(!self.state.offsets.contains_key(name), "one that is there can be reset");
            self.history.summary.refused_offsets += 1;
            return false;
        }
        self.history.summary.resets += 1;
        self.note_offset(name.clone(), target);
        self.resets.marks.insert(name.clone(), Mark::to(target));
        self.resets.dirty.insert(name.clone(), Some(target));
        true
    }

    fn pull_of_group(&mut self, name: &OffsetName) {
        let offset = self.history.rng.i64(0..50);
        self.pull_from(name, offset);
    }

    fn pull_from(&mut self, name: &OffsetName, offset: i64) {
        let connection = self.history.rng.u64(0..2);
        let puller = Puller { connection, offset, now: 0 };
        let told = {
            let mut state = self.store.state_mut();
            state.derived.offset_resets.on_pull(&name.0, &name.1, name.2, puller)
        };
        let expected = self.resets.pull(name, connection, offset);
        assert_eq!(told, expected, "{name:?} is pulled by {connection} from {offset}");
    }

    fn serve(&mut self, name: &OffsetName, from: i64) {
        let to = from + 9;
        let mut state = self.store.state_mut();
        state.derived.offset_resets.on_served(&name.0, &name.1, name.2, from, to);
        let mark = self.resets.marks.get_mut(name).filter(|mark| mark.served(from));
        if let Some((_, up_to)) = mark.and_then(|mark| mark.heard.as_mut()) {
            *up_to = to.max(*up_to);
        }
    }

    /// A group commits an offset. One of a group that is told to go on elsewhere does not count.
    pub(super) fn commit(&mut self, name: OffsetName, offset: i64) {
        self.changes += 1;
        let late = self.history.disk.mutation == Some(Mutation::LateCommits);
        let taken = {
            let mut state = self.store.state_mut();
            match late {
                true => {
                    state.derived.group_offsets.set(&name.0, &name.1, name.2, offset).map(|()| true)
                }
                false => state.commit_group_offset(&name.0, &name.1, name.2, offset),
            }
        };
        let counts = self.resets.counts(&name, offset);
        match taken {
            Ok(taken) => assert!(late || taken == counts, "{name:?} commits {offset}"),
            Err(_) => {
                assert!(
                    !self.state.offsets.contains_key(&name),
                    "one that is there can be changed"
                );
                self.history.summary.refused_offsets += 1;
            }
        }
        if counts && taken.is_ok() {
            self.note_offset(name, offset);
        }
    }
}
