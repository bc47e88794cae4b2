//! Question: what would a request cost without any runtime?
//!
//! `null_epoll PORT CORE` answers every request of RocketMQ's protocol with the same success, on one thread that is
//! pinned to a core and waits in epoll: level-triggered, one receive for each event, and EPOLLOUT only while the kernel
//! did not take all answers. Nothing more is read from such a connection meanwhile, so answers do not pile up.
//! `null_broker` does the same with the `runtime`; the difference is what that costs.

use std::{io, net::SocketAddr, os::fd::OwnedFd, process::ExitCode};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind,
        getsockname, listen, recv, send, socket_with, sockopt,
    },
    thread::{CpuSet, sched_setaffinity},
};
use slab::Slab;

use answer::Received;

#[path = "null_server/answer.rs"]
mod answer;
#[path = "null_server/arguments.rs"]
mod arguments;

const NOT_WAITING: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
const BACKLOG: i32 = 4096;
/// Events that one wait takes.
const EVENTS_MAX: usize = 256;
/// What the listener's events are known by; peers are known by their place in the slab.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    let ended = arguments::address_and_core().and_then(|(address, core)| {
        let server = pin_to(core).and_then(|()| Server::listen(address));
        server.and_then(|mut server| server.serve()).map_err(|error| error.to_string())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("null_epoll: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pin_to(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

struct Server {
    epoll: OwnedFd,
    listener: OwnedFd,
    peers: Slab<Peer>,
}

impl Server {
    fn listen(address: SocketAddr) -> io::Result<Server> {
        let listener = socket_with(AddressFamily::INET, SocketType::STREAM, NOT_WAITING, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        bind(&listener, &address)?;
        listen(&listener, BACKLOG)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        arguments::announce(getsockname(&listener)?.try_into()?)?;
        Ok(Server { epoll, listener, peers: Slab::new() })
    }

    /// Ends only with an error of the listener: descriptors that have run out are one.
    fn serve(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    place => self.attend(place as usize),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let socket = match accept_with(&self.listener, NOT_WAITING) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        sockopt::set_tcp_nodelay(&socket, true)?;
        let entry = self.peers.vacant_entry();
        let data = EventData::new_u64(entry.key() as u64);
        epoll::add(&self.epoll, &socket, data, EventFlags::IN)?;
        entry.insert(Peer { socket, received: Received::default(), unsent: Unsent::default() });
        Ok(())
    }

    /// Serves a peer of which epoll told something, and closes it when nothing can come of it any more.
    fn attend(&mut self, place: usize) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        let waited = !peer.unsent.is_empty();
        let served = peer.serve().and_then(|()| {
            let waits = !peer.unsent.is_empty();
            if waits != waited {
                let interest = if waits { EventFlags::OUT } else { EventFlags::IN };
                let data = EventData::new_u64(place as u64);
                epoll::modify(&self.epoll, &peer.socket, data, interest)?;
            }
            Ok(())
        });
        if served.is_err() {
            // Closing the only descriptor takes the socket out of the epoll set.
            self.peers.remove(place);
        }
    }
}

/// A connection.
struct Peer {
    socket: OwnedFd,
    received: Received,
    unsent: Unsent,
}

/// Answers that the kernel has not taken yet.
#[derive(Default)]
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Peer {
    /// Sends what is left over, or else receives once and answers.
    fn serve(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            let read = match recv(&self.socket, self.received.room(), RecvFlags::empty()) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((read, _)) => read,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if let Err(error) = self.received.answer(read, &mut self.unsent.bytes) {
                eprintln!("null_epoll: a connection is closed: {error:?}");
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        self.unsent.send(&self.socket)
    }
}

impl Unsent {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Sends until all is sent or the kernel takes no more.
    fn send(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while self.sent < self.bytes.len() {
            match send(socket, &self.bytes[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(())
    }
}
