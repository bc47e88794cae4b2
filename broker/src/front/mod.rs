//! Connections of one executor: from bytes to requests, from answers to bytes.
//!
//! [`connection`] owns the two tasks of each connection, [`feed`] cuts frames, [`dispatch`] is the one list of all
//! requests, [`answer`] writes answers. [`Front`] is the table of open connections.

pub mod answer;
pub mod connection;
pub mod dispatch;
pub mod feed;
pub mod outbox;

use crate::letter::ConnectionId;
use outbox::Outbox;
use std::{cell::Cell, rc::Rc};

/// The open connections of an executor.
pub struct Front {
    home: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    open: usize,
    /// Bytes that wait to be read by any peer.
    unsent_bytes: Rc<Cell<usize>>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    outbox: Option<Rc<Outbox>>,
}

impl Front {
    /// No connections yet.
    pub fn new(home: usize) -> Front {
        let unsent_bytes = Rc::default();
        Front { home, slots: Vec::new(), free: Vec::new(), open: 0, unsent_bytes }
    }

    /// Adds a connection and names it. `None` when there are too many.
    pub fn open(&mut self, outbox: Rc<Outbox>) -> Option<ConnectionId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < ConnectionId::SLOTS_MAX => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[index];
        slot.outbox = Some(outbox);
        self.open += 1;
        Some(ConnectionId::new(self.home, slot.generation, index))
    }

    /// Forgets a connection.
    pub fn close(&mut self, id: ConnectionId) {
        if self.get(id).is_none() {
            return;
        }
        let slot = &mut self.slots[id.slot()];
        slot.outbox = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot());
        self.open -= 1;
    }

    /// The connection, if it is still open.
    pub fn get(&self, id: ConnectionId) -> Option<&Rc<Outbox>> {
        let slot = self.slots.get(id.slot())?;
        let same = ConnectionId::new(self.home, slot.generation, id.slot()) == id;
        if same { slot.outbox.as_ref() } else { None }
    }

    /// The count of unsent bytes that all outboxes share.
    pub fn unsent_bytes(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.unsent_bytes)
    }

    /// Number of open connections.
    pub fn open_count(&self) -> usize {
        self.open
    }

    /// All open connections.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Outbox>> {
        self.slots.iter().filter_map(|slot| slot.outbox.as_ref())
    }
}
