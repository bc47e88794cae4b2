//! A TLS session between the bytes of a socket and those of frames, without either: what came goes in, what is to be sent comes out.
//!
//! The two tasks of a connection share it, and borrow it only while bytes are turned. What it holds at most: one record that has not
//! arrived whole (16 KiB, 32 KiB in a handshake), what one read brought and nobody has taken yet, and 32 KiB to be sent, which go
//! as soon as the kernel takes them and are a copy of what the write buffer counts. Idle, it holds about 12 KiB.

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::{
    cell::RefCell,
    io::{self, Read, Write},
    net::IpAddr,
    sync::Arc,
};

/// Bytes that are turned for the socket before it takes them: two records.
const UNSENT_BYTES_MAX: usize = 32 * 1024;
/// Room for the bytes of one read.
pub(crate) const READ_BYTES: usize = 64 * 1024;

pub(crate) struct Session {
    tls: RefCell<Connection>,
    /// What was read and found no room where it was to go; usually empty.
    left: RefCell<Left>,
}

#[derive(Default)]
struct Left {
    bytes: Vec<u8>,
    /// So many of them were taken.
    taken: usize,
}

impl Left {
    fn take(&mut self, out: &mut [u8]) -> usize {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        if self.taken == self.bytes.len() {
            *self = Left::default();
        }
        count
    }
}

fn not_tls(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Session {
    /// Of a connection that was accepted.
    pub(crate) fn accept(config: Arc<ServerConfig>) -> io::Result<Session> {
        let session = ServerConnection::new(config).map_err(not_tls)?;
        Ok(Session::of(session.into()))
    }

    /// Of a connection that we made. Sessions are resumed with the same address.
    pub(crate) fn connect(config: Arc<ClientConfig>, peer: IpAddr) -> io::Result<Session> {
        let session = ClientConnection::new(config, peer.into()).map_err(not_tls)?;
        Ok(Session::of(session.into()))
    }

    fn of(mut session: Connection) -> Session {
        session.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        Session { tls: RefCell::new(session), left: RefCell::default() }
    }

    /// Whether the two have not agreed yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.borrow().is_handshaking()
    }

    /// What came from the socket, as far as it brings something into `out`; the rest waits for [`Session::take`]. After an error
    /// there may be a last word to send.
    pub(crate) fn open(&self, mut received: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let mut tls = self.tls.borrow_mut();
        let mut opened = 0;
        while !received.is_empty() {
            // A few KiB at a time. Nothing is taken behind the peer's last word, or when it makes no sense.
            let taken = tls.read_tls(&mut received)?;
            let mut waiting = tls.process_new_packets().map_err(not_tls)?.plaintext_bytes_to_read();
            if taken == 0 {
                break;
            }
            while waiting > 0 && opened < out.len() {
                let read = read(&mut tls, out.get_mut(opened..).unwrap_or_default())?.unwrap_or(0);
                waiting -= read;
                opened += read;
            }
            if waiting > 0 {
                let mut left = self.left.borrow_mut();
                let start = left.bytes.len();
                left.bytes.resize(start + waiting, 0);
                let read = read(&mut tls, left.bytes.get_mut(start..).unwrap_or_default())?;
                left.bytes.truncate(start + read.unwrap_or(0));
            }
        }
        Ok(opened)
    }

    /// What was opened and not taken. `Some(0)`: the peer has said that nothing more comes.
    pub(crate) fn take(&self, out: &mut [u8]) -> io::Result<Option<usize>> {
        let taken = self.left.borrow_mut().take(out);
        if taken > 0 { Ok(Some(taken)) } else { read(&mut self.tls.borrow_mut(), out) }
    }

    /// Takes some bytes to be sent, none while too much waits for the socket.
    pub(crate) fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        self.tls.borrow_mut().writer().write(bytes)
    }

    /// Hands what is to be sent to a socket that does not wait. True: all of it went.
    pub(crate) fn send(&self, socket: &mut dyn Write) -> io::Result<bool> {
        let mut tls = self.tls.borrow_mut();
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn say_end(&self) {
        self.tls.borrow_mut().send_close_notify();
    }
}

/// `None`: nothing is there yet.
fn read(tls: &mut Connection, out: &mut [u8]) -> io::Result<Option<usize>> {
    match tls.reader().read(out) {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
