//! The open connections of one worker by their id, and how many there may be.
//!
//! Ids are given out here. A stale id finds nothing: the entry remembers the generation that it was opened with.

use crate::{connection_id::ConnectionId, write_buffer::UnsentBudget};
use slab::Slab;
use std::rc::Rc;

/// Open connections. `T` is what a program keeps of one.
pub struct ConnectionTable<T> {
    worker: usize,
    entries: Slab<Entry<T>>,
    /// Of the next connection; shared by all slots, so an id comes round after 16 million connections at the earliest.
    next_generation: u32,
    /// Bytes that wait to be read by any peer.
    unsent: Rc<UnsentBudget>,
}

struct Entry<T> {
    generation: u32,
    connection: T,
}

impl<T> ConnectionTable<T> {
    /// No connections yet.
    pub fn new(worker: usize) -> ConnectionTable<T> {
        ConnectionTable::with_unsent(worker, Rc::default())
    }

    /// No connections yet, whose unsent bytes have this budget.
    pub fn with_unsent(worker: usize, unsent: Rc<UnsentBudget>) -> ConnectionTable<T> {
        ConnectionTable { worker, entries: Slab::new(), next_generation: 0, unsent }
    }

    /// Adds a connection and names it. `None` when there are too many for ids.
    pub fn open(&mut self, connection: T) -> Option<ConnectionId> {
        if self.entries.len() >= ConnectionId::SLOTS_MAX {
            return None;
        }
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let slot = self.entries.insert(Entry { generation, connection });
        Some(ConnectionId::new(self.worker, generation, slot))
    }

    /// Forgets a connection.
    pub fn close(&mut self, id: ConnectionId) -> Option<T> {
        self.get(id)?;
        Some(self.entries.remove(id.slot()).connection)
    }

    /// The connection, if it is still open.
    pub fn get(&self, id: ConnectionId) -> Option<&T> {
        let entry = self.entries.get(id.slot())?;
        let same = ConnectionId::new(self.worker, entry.generation, id.slot()) == id;
        same.then_some(&entry.connection)
    }

    /// The budget of unsent bytes that all write buffers share.
    pub fn unsent(&self) -> &Rc<UnsentBudget> {
        &self.unsent
    }

    /// Number of open connections.
    pub fn open_count(&self) -> usize {
        self.entries.len()
    }

    /// All open connections.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| &entry.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut table = ConnectionTable::new(3);
        let first = table.open("first").expect("few connections");
        let second = table.open("second").expect("few connections");
        assert_eq!((first.worker(), table.get(first)), (3, Some(&"first")));
        assert_eq!(table.close(first), Some("first"));
        assert_eq!(table.close(first), None);
        let third = table.open("third").expect("few connections");
        assert_eq!(third.slot(), first.slot(), "slots are used again");
        assert_ne!(third, first);
        assert_eq!(table.get(first), None);
        assert_eq!(table.get(second), Some(&"second"));
        assert_eq!(table.open_count(), 2);
        let other_worker = ConnectionId::new(4, 2, third.slot());
        assert_eq!(table.get(other_worker), None);
    }
}
