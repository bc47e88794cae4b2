//! What waits in the oldest segment is carried on, so that the segment can go.

use super::{
    book::{Placed, What},
    work::Life,
};
use futures_lite::future::yield_now;
use proto::record::RecordView;
use runtime::sim::Outcome;
use std::{cell::RefCell, rc::Rc};
use store::{error::StoreError, state::ControlEntry};

/// What the store has appended by itself.
struct Seen {
    control: (u64, u64),
    due: i64,
    from: u64,
    placed: store::Placed,
    record: Rc<[u8]>,
}

/// Records that are being carried on.
#[derive(Default)]
pub(super) struct Carries {
    seen: Rc<RefCell<Vec<Seen>>>,
    outcome: Option<Outcome<Result<bool, StoreError>>>,
}

impl Carries {
    pub(super) fn is_under_way(&self) -> bool {
        self.outcome.is_some()
    }
}

impl Life<'_> {
    pub(super) fn carry_on(&mut self) {
        if self.retirement.is_some() || self.carries.is_under_way() {
            return;
        }
        let (store, seen, now) = (self.store.clone(), self.carries.seen.clone(), self.now());
        let outcome = self.stepper.spawn("carry", async move {
            let see = |carried: store::carry::Carried<'_>| {
                let ControlEntry::Carried { due, position: from } = carried.entry else { return };
                let at = carried.control_at;
                let control = (at, at + carried.entry.bytes() as u64);
                let (placed, record) = (carried.placed, carried.record.into());
                seen.borrow_mut().push(Seen { control, due, from, placed, record });
            };
            store.carry_on(now, see, &yield_now).await
        });
        self.carries.outcome = Some(outcome);
    }

    /// Notes what was carried since the last step.
    pub(super) fn note_carried(&mut self) -> Result<(), String> {
        for Seen { control, due, from, placed, record } in self.carries.seen.take() {
            let view = RecordView::parse(&record).map_err(|_| "what was carried is no record")?;
            let queue = (view.topic().to_owned(), view.queue_id().cast_unsigned());
            let (position, offset) = (placed.physical.position(), placed.queue_offset);
            let before = self.history.book.items.iter().find(|item| item.start == from);
            let Some(What::Message { key, .. }) = before.map(|item| &item.what) else {
                return Err(format!("what was carried from {from} was no message"));
            };
            let key = *key;
            let book = &mut self.history.book;
            book.add(control.0, control.1, What::Carried(due, from));
            book.add_group(control.0, placed.end);
            let what = What::Message { queue: queue.clone(), offset, record: record.clone(), key };
            book.add(position, placed.end, what);
            let message = Placed { position, end: placed.end, record: Some(record), key };
            self.state.append(&queue, offset, message);
            self.history.summary.carried += 1;
        }
        let over = self.carries.outcome.take_if(|outcome| outcome.is_ready());
        match over.and_then(|outcome| outcome.take()) {
            Some(Err(error)) if !self.faults && !self.index_rotten => {
                Err(format!("carrying failed: {error}"))
            }
            _ => Ok(()),
        }
    }
}
