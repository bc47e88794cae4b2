//! Names of connections, and what is known of the other end. Given out by [`crate::ConnectionTable`], used by
//! everybody who answers, parks or remembers a client.

use std::net::SocketAddr;

/// A connection of this process: 16 bits number of the worker that holds it, 24 bits generation, 24 bits slot in that
/// worker's table. A stale id never names a later connection (until 16 million of them have come and gone).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Connections per worker, at most.
    pub const SLOTS_MAX: usize = 1 << 24;

    /// An id; the generation wraps.
    pub fn new(worker: usize, generation: u32, slot: usize) -> ConnectionId {
        assert!(worker < 1 << 16);
        assert!(slot < Self::SLOTS_MAX);
        let generation = u64::from(generation & 0xFF_FFFF);
        ConnectionId((worker as u64) << 48 | generation << 24 | slot as u64)
    }

    /// Number of the worker that holds the connection.
    pub fn worker(self) -> usize {
        (self.0 >> 48) as usize
    }

    /// Slot in that worker's table.
    pub fn slot(self) -> usize {
        (self.0 & 0xFF_FFFF) as usize
    }

    /// As a number, for logs.
    pub fn to_u64(self) -> u64 {
        self.0
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub addr: SocketAddr,
    /// Our name for the connection.
    pub connection: ConnectionId,
    /// It came through the second port, which serves everything but pulls.
    pub vip: bool,
}
