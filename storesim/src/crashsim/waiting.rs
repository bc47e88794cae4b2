//! Records that wait: some are appended, and what is due becomes a message, together with the note that it waits no more.

use super::{
    book::What,
    mutant::Mutation,
    work::{DUE_MAX, Life},
};
use store::state::{
    ControlEntry, DerivedState,
    deferred::{Due, Portion, SCHEDULE_TOPIC},
};

/// What is handed out at once.
pub(super) const AT_ONCE: Portion = Portion { records: 4, bytes: 8_192 };
/// Portions that are delivered to make a part of the log free.
const HOLDING_MAX: u32 = 16;

impl Life<'_> {
    pub(super) fn append_waiting(&mut self) {
        let queue = (SCHEDULE_TOPIC.to_owned(), self.history.rng.u32(0..3));
        self.append_behind(&queue, None);
    }

    /// Delivers some of what is due at some time.
    pub(super) fn deliver(&mut self) {
        let now = self.history.rng.i64(0..DUE_MAX);
        self.deliver_due(now);
    }

    /// Delivers what holds a part of the log back, so that only this makes it free.
    pub(super) fn deliver_before(&mut self, end: u64) {
        // They wait on until their delivery is durable, and a log that is full refuses it: there is no end to wait for.
        for _ in 0..HOLDING_MAX {
            let store = self.store.state();
            let holds = store.derived.deferred.iter().any(|(_, position)| position < end);
            drop(store);
            if !holds {
                return;
            }
            self.deliver_due(DUE_MAX);
        }
    }

    /// Delivers what was handed out, in its order, as far as the log takes it, and asks for more.
    fn deliver_due(&mut self, now: i64) {
        if self.handed_out.is_empty() {
            let due = &mut self.handed_out;
            self.store.state_mut().derived.deferred.take_due(now, AT_ONCE, due);
            assert!(due.is_sorted_by_key(|due| (due.due, due.position)));
            assert!(due.iter().all(|due| due.due <= now), "nothing is early");
        }
        let due = std::mem::take(&mut self.handed_out);
        let taken = due.iter().take_while(|due| self.deliver_one(due)).count();
        self.handed_out.extend_from_slice(&due[taken..]);
    }

    /// Mostly to a queue; what nobody can have any more is let go. Whether the log took it.
    fn deliver_one(&mut self, Due { due, position, .. }: &Due) -> bool {
        let (due, position) = (*due, *position);
        let entry = ControlEntry::Delivered { due, position };
        let what = What::Delivered(due, position);
        self.history.summary.delivered += 1;
        let taken = if self.history.rng.u8(0..8) > 0 {
            let queue = self.queue();
            self.append_behind(&queue, Some((entry, what)))
        } else {
            self.append_entry(&entry, what)
        };
        if taken && self.history.disk.mutation == Some(Mutation::DeliveredAtAppend) {
            self.store.state_mut().derived.deferred.apply(&entry, 0);
        }
        taken
    }

    /// Appends a control entry alone. Whether the log took it.
    pub(super) fn append_entry(&mut self, entry: &ControlEntry<'_>, what: What) -> bool {
        let now = self.now();
        let Ok(at) = self.store.state_mut().append_control(entry, now) else { return false };
        self.store.appended();
        self.history.book.add(at, at + entry.bytes() as u64, what);
        true
    }
}
