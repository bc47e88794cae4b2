//! A request as its handlers see it. Made by [`crate::handlers`] from a frame.

use proto::command::Header;
use remoting::Peer;

/// A request.
pub struct Request<'a> {
    /// Parsed header.
    pub header: Header<'a>,
    /// Body.
    pub body: &'a [u8],
    /// The whole frame, to be sent on.
    pub frame: &'a [u8],
    /// Who asks.
    pub peer: &'a Peer,
    /// Time of arrival, ms.
    pub now: i64,
}
