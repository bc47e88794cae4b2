//! RocketMQ's remoting protocol at its sockets: what every connection of this workspace needs, whoever serves it.
//!
//! A [`Listener`] accepts, a [`Transport`] is a connection, plain or in TLS ([`TlsAcceptor`]), [`FrameReader`] cuts frames out of memory that all connections of a worker share,
//! a [`FrameBudget`] bounds what incomplete frames hold, a [`WriteBuffer`] gathers what is to be sent and bounds it (a [`SharedBody`] is held by many of them), the
//! [`ConnectionTable`] finds connections by their id, and [`Calls`] are requests that we send to peers, by opaque and deadline.
//! Used by the broker, the name server, the registration with name servers and the test client. Absent on purpose: what a
//! request means, and who serves it. Nothing here is cancelled: whoever wants a connection to end closes its socket.

mod acceptor;
mod calls;
mod connection_id;
mod connection_table;
mod frame_budget;
mod frame_reader;
mod listener;
mod session;
mod shared_body;
#[cfg(test)]
mod test_executor;
mod transfer_budget;
mod transport;
mod write_buffer;

pub use acceptor::{TlsAcceptor, watch_certificates};
pub use calls::Calls;
pub use connection_id::{ConnectionId, Peer};
pub use connection_table::ConnectionTable;
pub use frame_budget::{BYTES_WHEN_SHORT, FrameAccount, FrameBudget, STALLED_MS_MAX};
pub use frame_reader::FrameReader;
pub use listener::Listener;
pub use shared_body::{BodyCursor, BodyPiece, SharedBody};
pub use transfer_budget::{NoTransfer, TransferBudget, TransferPermit};
pub use transport::{ReadHalf, Transport, WriteHalf};
pub use write_buffer::{Clogged, UnsentBudget, WriteBuffer, write_loop};
