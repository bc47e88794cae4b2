//! Groups are told to go on elsewhere, hear it or not, and commit offsets meanwhile.

use super::{
    book::{OffsetName, What},
    mutant::Mutation,
    work::Life,
};
use std::collections::BTreeMap;
use store::state::{OffsetResets, group_offsets::OffsetChange};

/// What a life knows of resets.
#[derive(Default)]
pub(super) struct Resets {
    /// Queues that are marked: where to, and whether a pull was told.
    marks: BTreeMap<OffsetName, (i64, bool)>,
    /// Changes of them that are not in the log.
    dirty: BTreeMap<OffsetName, Option<i64>>,
}

impl Resets {
    /// As a start has found them.
    pub(super) fn found(resets: &OffsetResets) -> Resets {
        let marks = resets.iter().map(|OffsetChange { group, topic, queue_id, offset }| {
            ((group.to_owned(), topic.to_owned(), queue_id), (offset, false))
        });
        Resets { marks: marks.collect(), dirty: BTreeMap::new() }
    }

    fn end(&mut self, name: &OffsetName) {
        self.marks.remove(name);
        self.dirty.insert(name.clone(), None);
    }

    /// Whether an offset counts that a group commits.
    pub(super) fn counts(&mut self, name: &OffsetName, offset: i64) -> bool {
        match self.marks.get(name) {
            None => true,
            Some((target, _)) if *target == offset => {
                self.end(name);
                true
            }
            Some(_) => false,
        }
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
                // Somebody who was told goes there.
                let target = self.resets.marks.get(&name).map(|(target, _)| *target);
                self.commit(name, target.unwrap_or(0));
            }
        }
    }

    fn reset(&mut self, name: &OffsetName) {
        let target = self.history.rng.i64(0..50);
        self.changes += 1;
        let reset = self.store.state_mut().reset_group_offset(&name.0, &name.1, name.2, target);
        if reset.is_err() {
            assert!(!self.state.offsets.contains_key(name), "one that is there can be reset");
            self.history.summary.refused_offsets += 1;
            return;
        }
        self.history.summary.resets += 1;
        self.note_offset(name.clone(), target);
        self.resets.marks.insert(name.clone(), (target, false));
        self.resets.dirty.insert(name.clone(), Some(target));
    }

    fn pull_of_group(&mut self, name: &OffsetName) {
        let offset = self.history.rng.i64(0..50);
        let told = {
            let mut state = self.store.state_mut();
            state.derived.offset_resets.on_pull(&name.0, &name.1, name.2, offset)
        };
        let expected = match self.resets.marks.get_mut(name) {
            None => None,
            Some((target, told)) if *target == offset || *told => {
                self.resets.end(name);
                None
            }
            Some((target, told)) => {
                *told = true;
                Some(*target)
            }
        };
        assert_eq!(told, expected, "{name:?} pulls from {offset}");
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
