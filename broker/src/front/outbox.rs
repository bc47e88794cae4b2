//! One connection as the rest of its executor sees it: bytes to send, bytes in flight, and when it was last alive.
//!
//! The reader stops reading while more than the limit is in flight or waits to be sent; so a peer that sends without
//! reading holds a bounded amount of memory and is slowed down by TCP.

use runtime::{Closer, Signal};
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
};

/// Memory that an idle connection may keep for its answers, bytes.
const KEPT_BYTES: usize = 16 * 1024;
/// Largest buffer that is used again after it was sent, bytes.
const REUSED_BYTES_MAX: usize = 1024 * 1024;

/// The sending side of a connection.
pub struct Outbox {
    /// The peer's address.
    pub addr: SocketAddr,
    /// The peer came through the second port.
    pub vip: bool,
    closer: Closer,
    bytes: RefCell<Vec<u8>>,
    spare: RefCell<Vec<u8>>,
    /// Raised when there is something to send or the connection ends.
    pub ready: Signal,
    /// Raised when requests were answered or bytes sent.
    pub room: Signal,
    inflight_bytes: Cell<usize>,
    sending_bytes: Cell<usize>,
    inflight_bytes_max: usize,
    closed: Cell<bool>,
    /// When bytes last moved in either direction, ms.
    pub alive_ms: Cell<i64>,
}

impl Outbox {
    /// The outbox of a new connection.
    pub fn new(
        addr: SocketAddr,
        vip: bool,
        closer: Closer,
        inflight_bytes_max: usize,
        now: i64,
    ) -> Outbox {
        Outbox {
            addr,
            vip,
            closer,
            bytes: RefCell::default(),
            spare: RefCell::default(),
            ready: Signal::default(),
            room: Signal::default(),
            inflight_bytes: Cell::new(0),
            sending_bytes: Cell::new(0),
            inflight_bytes_max,
            closed: Cell::new(false),
            alive_ms: Cell::new(now),
        }
    }

    /// Appends to what is sent next.
    pub fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.closed.get() {
            return;
        }
        write(&mut self.bytes.borrow_mut());
        self.ready.raise();
    }

    /// What to send now; empty when there is nothing.
    pub fn take(&self) -> Vec<u8> {
        let mut spare = self.spare.take();
        spare.clear();
        let bytes = std::mem::replace(&mut *self.bytes.borrow_mut(), spare);
        self.sending_bytes.set(bytes.len());
        bytes
    }

    /// What was taken has been sent.
    pub fn sent(&self, bytes: Vec<u8>, now: i64) {
        self.alive_ms.set(now);
        self.sending_bytes.set(0);
        if bytes.capacity() <= REUSED_BYTES_MAX {
            *self.spare.borrow_mut() = bytes;
        }
        self.room.raise();
    }

    /// A request of `bytes` was taken in.
    pub fn charge(&self, bytes: usize) {
        self.inflight_bytes.set(self.inflight_bytes.get() + bytes);
    }

    /// A request of `bytes` was answered.
    pub fn discharge(&self, bytes: usize) {
        let inflight = self.inflight_bytes.get();
        assert!(bytes <= inflight);
        let was_full = self.is_full();
        self.inflight_bytes.set(inflight - bytes);
        if was_full {
            self.room.raise();
        }
    }

    /// Bytes that wait to be read by the peer.
    pub fn unsent_bytes(&self) -> usize {
        self.bytes.borrow().len() + self.sending_bytes.get()
    }

    /// Whether the peer must wait before more is read from it.
    pub fn is_full(&self) -> bool {
        self.inflight_bytes.get() + self.unsent_bytes() > self.inflight_bytes_max
    }

    /// Whether the peer takes too long to read for another large answer.
    pub fn is_clogged(&self) -> bool {
        self.unsent_bytes() > self.inflight_bytes_max / 2
    }

    /// Ends the connection: its reader and writer see it. Nothing more is written.
    pub fn close(&self) {
        if !self.closed.replace(true) {
            self.closer.close();
            self.ready.raise();
            self.room.raise();
        }
    }

    /// Whether the connection was ended.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Gives back memory that a burst left behind.
    pub fn shrink(&self) {
        self.spare.borrow_mut().shrink_to(KEPT_BYTES);
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_empty() {
            bytes.shrink_to(KEPT_BYTES);
        }
    }
}
