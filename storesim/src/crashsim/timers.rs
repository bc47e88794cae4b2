//! Messages that name their time: some are appended, some recalled before they are delivered.

use super::{book::What, work::Life};
use store::state::{
    ControlEntry,
    deferred::{Cancel, TIMER_TOPIC},
};

impl Life<'_> {
    pub(super) fn work_on_timers(&mut self) {
        match self.history.rng.u8(0..5) {
            0..3 => {
                let queue = (TIMER_TOPIC.to_owned(), self.history.rng.u32(0..2));
                self.append_behind(&queue, None);
            }
            _ => self.recall(),
        }
    }

    /// The log may refuse it, or whoever began may think better of it: then it waits on.
    fn recall(&mut self) {
        let mut waiting: Vec<(i64, u64)> = self.store.state().derived.deferred.iter().collect();
        let lies = self.history.book.waiting(self.history.committed);
        let store = self.store.state();
        // Who recalls one that is not in memory has read it before.
        let lies = lies.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key);
        waiting.extend(lies.filter(|key| store.derived.deferred.is_far(*key)));
        drop(store);
        let Some((due, position)) = self.history.rng.choice(&waiting).copied() else { return };
        let begun = self.store.state_mut().derived.deferred.begin_cancel(due, position);
        match begun {
            Cancel::Begun => {}
            // It is handed out, or its end is on its way.
            Cancel::TooLate | Cancel::UnderWay => return,
            other => panic!("the record at {position} waits, {other:?}"),
        }
        self.history.summary.recalled += 1;
        let entry = ControlEntry::Cancelled { due, position };
        let taken = self.history.rng.u8(0..4) > 0
            && self.append_entry(&entry, What::Delivered(due, position));
        if !taken {
            self.store.state_mut().derived.deferred.keep(due, position);
        }
    }
}
