//! A non-blocking connection with its own buffers, and the epoll set that watches all of them.
//!
//! Level-triggered. Write interest is registered only while bytes are left over, which under a window of 64 small
//! requests practically never happens.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::{
    LoadError,
    secured::{STEP_BYTES_MAX, Secured},
};

const INBOX_BYTES_START: usize = 256 << 10;
/// The protocol's own limit for one frame.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// One connection of the loader.
pub struct LoaderSocket {
    stream: TcpStream,
    /// The session of a connection in TLS.
    secured: Option<Secured>,
    unsent: Vec<u8>,
    written: usize,
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether [`Watch::flush`] watches it for room to write.
    write_watched: bool,
}

impl LoaderSocket {
    /// Connects (blocking), then turns non-blocking with Nagle's algorithm off.
    pub fn connect(addr: SocketAddr, index: usize) -> Result<LoaderSocket, LoadError> {
        let failed = |source| LoadError::Connect { addr, index, source };
        let mut stream = TcpStream::connect(addr).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let secured = Secured::of(&mut stream, addr).map_err(failed)?;
        stream.set_nonblocking(true).map_err(failed)?;
        Ok(LoaderSocket {
            stream,
            secured,
            unsent: Vec::new(),
            written: 0,
            inbox: vec![0; INBOX_BYTES_START],
            start: 0,
            end: 0,
            write_watched: false,
        })
    }

    /// Where requests are appended; [`flush`](Self::flush) sends them.
    pub fn unsent(&mut self) -> &mut Vec<u8> {
        &mut self.unsent
    }

    /// Bytes that wait to be written.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.written
    }

    /// Writes what the socket takes. True: nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        if let Some(secured) = &mut self.secured {
            loop {
                if !secured.flush(&mut self.stream)? {
                    return Ok(false);
                }
                if self.written == self.unsent.len() {
                    break;
                }
                self.written += secured.put(&self.unsent[self.written..])?;
            }
        }
        while self.written < self.unsent.len() {
            match self.stream.write(&self.unsent[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.written += bytes,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.unsent.clear();
        self.written = 0;
        Ok(true)
    }

    /// One read. Ok(0): nothing there now. A closed connection is `UnexpectedEof`.
    pub fn receive(&mut self) -> io::Result<usize> {
        self.make_room();
        let read = match &mut self.secured {
            None => self.stream.read(&mut self.inbox[self.end..]),
            Some(secured) => {
                if self.inbox.len() - self.end < 2 * STEP_BYTES_MAX {
                    self.inbox.resize(self.end + 2 * STEP_BYTES_MAX, 0);
                }
                match secured.read(&mut self.stream, &mut self.inbox[self.end..]) {
                    // Something came that is no frame, such as a ticket.
                    Ok(0) if !secured.has_ended() => return Ok(0),
                    read => read,
                }
            }
        };
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => {
                self.end += bytes;
                Ok(bytes)
            }
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            Err(e) => Err(e),
        }
    }

    /// Takes the next whole frame: the place of its bytes behind the length word. Valid until the next `receive`.
    pub fn next_frame(&mut self) -> Result<Option<Range<usize>>, &'static str> {
        let Some(length) = self.next_length() else { return Ok(None) };
        if length > FRAME_BYTES_MAX {
            return Err("its length is above 16 MiB");
        }
        if self.end - self.start < 4 + length {
            return Ok(None);
        }
        let frame = self.start + 4..self.start + 4 + length;
        self.start = frame.end;
        Ok(Some(frame))
    }

    /// The bytes that [`next_frame`](Self::next_frame) pointed at.
    pub fn bytes(&self, place: Range<usize>) -> &[u8] {
        &self.inbox[place]
    }

    fn next_length(&self) -> Option<usize> {
        let word = self.inbox[self.start..self.end].first_chunk::<4>()?;
        Some(u32::from_be_bytes(*word) as usize)
    }

    /// Moves a partial frame to the front, and grows when it needs more than the buffer has.
    fn make_room(&mut self) {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.inbox.len() - self.end < INBOX_BYTES_START / 4 {
            self.inbox.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let needed =
            self.next_length().map_or(0, |length| self.start + 4 + length.min(FRAME_BYTES_MAX));
        if needed > self.inbox.len() || self.end == self.inbox.len() {
            let grown = needed.max(self.inbox.len() * 2);
            self.inbox.resize(grown, 0);
        }
        assert!(self.end < self.inbox.len());
    }
}

/// The connections of a run, by index.
pub struct Watch {
    set: OwnedFd,
    events: Vec<epoll::Event>,
}

/// A connection that has something for us.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// Which connection.
    pub index: usize,
    /// Bytes (or its end) can be read.
    pub readable: bool,
}

impl Watch {
    /// Watches all of them for reading.
    pub fn new<'a>(sockets: impl Iterator<Item = &'a LoaderSocket>) -> Result<Watch, LoadError> {
        let failed = LoadError::io("creating the epoll set");
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        let mut count = 0;
        for socket in sockets {
            let data = epoll::EventData::new_u64(count);
            epoll::add(&set, &socket.stream, data, epoll::EventFlags::IN)
                .map_err(|e| LoadError::io("watching a connection")(e.into()))?;
            count += 1;
        }
        Ok(Watch { set, events: Vec::with_capacity(count.clamp(1, 1024) as usize) })
    }

    /// Also watches a connection for room to write, or stops doing so.
    pub fn want_write(
        &self,
        index: usize,
        socket: &LoaderSocket,
        wanted: bool,
    ) -> Result<(), LoadError> {
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, wanted);
        epoll::modify(&self.set, &socket.stream, epoll::EventData::new_u64(index as u64), flags)
            .map_err(|e| LoadError::io("watching a connection")(e.into()))
    }

    /// Writes what the socket takes; while something is left it is also watched for room to write. `answers`: seen so far,
    /// for the error.
    pub fn flush(
        &self,
        index: usize,
        socket: &mut LoaderSocket,
        answers: u64,
    ) -> Result<(), LoadError> {
        let left = !socket.flush().map_err(|_| LoadError::Closed { index, acked: answers })?;
        if left != socket.write_watched {
            socket.write_watched = left;
            self.want_write(index, socket, left)?;
        }
        Ok(())
    }

    /// Waits up to `nanos` and appends what is ready to `ready` (cleared first).
    pub fn wait(&mut self, nanos: u64, ready: &mut Vec<Ready>) -> Result<(), LoadError> {
        ready.clear();
        let timeout = Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as _,
        };
        self.events.clear();
        match epoll::wait(&self.set, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(LoadError::io("waiting for connections")(e.into())),
        }
        let error = epoll::EventFlags::ERR | epoll::EventFlags::HUP | epoll::EventFlags::IN;
        for event in &self.events {
            let (data, flags) = (event.data, event.flags);
            ready.push(Ready { index: data.u64() as usize, readable: flags.intersects(error) });
        }
        Ok(())
    }
}
