//! Connections of one worker, as far as they know nothing of what is asked: [`frame_reader`] cuts frames,
//! [`write_buffer`] holds what is to be sent, [`ConnectionTable`] is the table of open connections. The tasks of a
//! connection are in [`crate::connection`].

mod connection_id;
pub mod frame_reader;
pub mod shared_body;
pub mod write_buffer;

pub use connection_id::{ConnectionId, Peer};
pub use shared_body::SharedBody;
pub use write_buffer::{TransferBudget, TransferPermit, WriteBuffer};

use std::{cell::Cell, rc::Rc};

/// The open connections of a worker.
pub struct ConnectionTable {
    worker: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    open: usize,
    /// Bytes that wait to be read by any peer.
    unsent_bytes: Rc<Cell<usize>>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    write_buffer: Option<Rc<WriteBuffer>>,
}

impl ConnectionTable {
    /// No connections yet.
    pub fn new(worker: usize) -> ConnectionTable {
        let unsent_bytes = Rc::default();
        ConnectionTable { worker, slots: Vec::new(), free: Vec::new(), open: 0, unsent_bytes }
    }

    /// Adds a connection and names it. `None` when there are too many.
    pub fn open(&mut self, write_buffer: Rc<WriteBuffer>) -> Option<ConnectionId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < ConnectionId::SLOTS_MAX => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
            None => return None,
        };
        let slot = &mut self.slots[index];
        slot.write_buffer = Some(write_buffer);
        self.open += 1;
        Some(ConnectionId::new(self.worker, slot.generation, index))
    }

    /// Forgets a connection.
    pub fn close(&mut self, id: ConnectionId) {
        if self.get(id).is_none() {
            return;
        }
        let slot = &mut self.slots[id.slot()];
        slot.write_buffer = None;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot());
        self.open -= 1;
    }

    /// The connection, if it is still open.
    pub fn get(&self, id: ConnectionId) -> Option<&Rc<WriteBuffer>> {
        let slot = self.slots.get(id.slot())?;
        let same = ConnectionId::new(self.worker, slot.generation, id.slot()) == id;
        if same { slot.write_buffer.as_ref() } else { None }
    }

    /// The count of unsent bytes that all write buffers share.
    pub fn unsent_bytes(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.unsent_bytes)
    }

    /// Number of open connections.
    pub fn open_count(&self) -> usize {
        self.open
    }

    /// All open connections.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<WriteBuffer>> {
        self.slots.iter().filter_map(|slot| slot.write_buffer.as_ref())
    }
}
