//! What waits in the oldest segment is carried on, so that the segment can go.

use super::{
    book::{Placed, What},
    work::Life,
};
use futures_lite::future::yield_now;
use proto::record::RecordView;
use runtime::sim::{Outcome, SimClock};
use std::{cell::RefCell, rc::Rc};
use store::{
    carry::{Carrier, Noted},
    error::StoreError,
    state::ControlEntry,
};

/// What the store has appended by itself.
enum Seen {
    /// Control entry, from where to where; due time and place of the record before; and where it is now, with its bytes.
    Carried((u64, u64), (i64, u64), store::Placed, Rc<[u8]>),
    /// The control entry, and due time and place of the record.
    Lost((u64, u64), (i64, u64)),
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

struct Watch {
    clock: SimClock,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Carrier for Watch {
    fn now(&self) -> i64 {
        self.clock.now()
    }

    fn may_append(&self) -> bool {
        true
    }

    fn noted(&self, noted: Noted<'_>) {
        let place = |entry: ControlEntry<'_>, at: u64| match entry {
            ControlEntry::Carried { due, position } | ControlEntry::Delivered { due, position } => {
                ((at, at + entry.bytes() as u64), (due, position))
            }
            other => panic!("{other:?} carries nothing"),
        };
        self.seen.borrow_mut().push(match noted {
            Noted::Carried { control_at, entry, placed, record } => {
                let (control, from) = place(entry, control_at);
                Seen::Carried(control, from, placed, record.into())
            }
            Noted::Lost { control_at, entry } => {
                let (control, from) = place(entry, control_at);
                Seen::Lost(control, from)
            }
        });
    }
}

impl Life<'_> {
    pub(super) fn carry_on(&mut self) {
        if self.retirement.is_some() || self.carries.is_under_way() {
            return;
        }
        let clock = self.history.disk.sim.clock();
        let (store, watch) = (self.store.clone(), Watch { clock, seen: self.carries.seen.clone() });
        let outcome =
            self.stepper.spawn("carry", async move { store.carry_on(&watch, &yield_now).await });
        self.carries.outcome = Some(outcome);
    }

    /// Notes what was carried since the last step.
    pub(super) fn note_carried(&mut self) -> Result<(), String> {
        for seen in self.carries.seen.take() {
            match seen {
                Seen::Lost((from, to), (due, position)) => {
                    self.history.book.add(from, to, What::Delivered(due, position));
                }
                Seen::Carried(control, from, placed, record) => {
                    self.note_one(control, from, &placed, record)?;
                }
            }
        }
        let over = self.carries.outcome.take_if(|outcome| outcome.is_ready());
        match over.and_then(|outcome| outcome.take()) {
            Some(Err(error)) if !self.faults && !self.index_rotten => {
                Err(format!("carrying failed: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn note_one(
        &mut self,
        control: (u64, u64),
        (due, from): (i64, u64),
        placed: &store::Placed,
        record: Rc<[u8]>,
    ) -> Result<(), String> {
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
        Ok(())
    }
}
