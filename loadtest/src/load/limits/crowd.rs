//! Many connections at once, driven from one thread: what limits of connections, members and waiting pulls are made of.
//!
//! One address has about 28,000 ports towards another one; the broker listens on all addresses, so further connections
//! go to further ones of the loopback network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::load::LoadError;
use crate::load::answers::{self, AnswerScanner, Mark};
use crate::load::process;
use crate::load::socket::{LoaderSocket, Ready, Watch};

/// Connections to one loopback address: the kernel looks for a free port longer the fewer are left.
const PER_ADDRESS: usize = 4_000;
/// How long requests may take to leave.
const FLUSH_MAX: Duration = Duration::from_secs(60);
/// Files besides connections that the broker or we may have open.
const OTHER_FILES: u64 = 256;

/// The connections.
pub struct Crowd {
    /// All of them.
    pub sockets: Vec<LoaderSocket>,
    watch: Option<Watch>,
    ready: Vec<Ready>,
    scanner: AnswerScanner,
}

/// How many of `wanted` connections the limit of open files allows to us, and to the broker, which has the same.
pub fn connections_possible(wanted: u64) -> Result<u64, LoadError> {
    Ok(wanted.min(process::raise_open_files()?.saturating_sub(OTHER_FILES)))
}

/// Address of connection number `index` to `addr`.
pub fn address_of(addr: SocketAddr, index: usize) -> SocketAddr {
    let alias = u8::try_from(index / PER_ADDRESS).unwrap_or(u8::MAX);
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => {
            SocketAddr::new(Ipv4Addr::new(127, 0, 0, 1 + alias).into(), addr.port())
        }
        _ => addr,
    }
}

impl Crowd {
    /// Opens `count` connections.
    pub fn connect(addr: SocketAddr, count: usize) -> Result<Crowd, LoadError> {
        Crowd::connect_from(addr, 0, count, |_, _| {})
    }

    /// The same, beside `first` that others have opened. Each sends at once what `ask` appends for its number.
    pub fn connect_from(
        addr: SocketAddr,
        first: usize,
        count: usize,
        ask: impl Fn(&mut Vec<u8>, usize),
    ) -> Result<Crowd, LoadError> {
        let mut crowd = Crowd {
            sockets: Vec::new(),
            watch: None,
            ready: Vec::new(),
            scanner: AnswerScanner::default(),
        };
        for index in 0..count {
            let mut socket = LoaderSocket::connect(address_of(addr, first + index), index)?;
            ask(socket.unsent(), first + index);
            socket.flush().map_err(|_| LoadError::Closed { index, acked: 0 })?;
            crowd.sockets.push(socket);
        }
        crowd.watch = Some(Watch::new(crowd.sockets.iter())?);
        Ok(crowd)
    }

    /// Sends what was appended to all of them; waits where a socket takes no more now.
    pub fn flush(&mut self) -> Result<(), LoadError> {
        let end = Instant::now() + FLUSH_MAX;
        loop {
            let mut left = 0;
            for (index, socket) in self.sockets.iter_mut().enumerate() {
                let sent = socket.flush().map_err(|_| LoadError::Closed { index, acked: 0 })?;
                left += usize::from(!sent);
            }
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > end {
                let seconds = FLUSH_MAX.as_secs();
                return Err(LoadError::Silent { seconds, in_flight: left });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes one answer of each connection; `is_answer` knows it from requests of the broker.
    pub fn receive_from_each(
        &mut self,
        patience: Duration,
        is_answer: impl Fn(Mark) -> bool,
    ) -> Result<(), LoadError> {
        let mut left = self.sockets.len();
        if left == 0 {
            return Ok(());
        }
        self.receive_until(patience, |_, mark, _| {
            left -= usize::from(is_answer(mark));
            left == 0
        })
    }

    /// Takes what comes until `done` says so; it gets the connection's number, the answer's code and opaque, its header.
    /// Requests of the broker have other opaques than ours. Errors: silence for `patience`, or a lost connection.
    pub fn receive_until(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(usize, Mark, &[u8]) -> bool,
    ) -> Result<(), LoadError> {
        let mut last = Instant::now();
        let watch = self.watch.as_mut().expect("made with the crowd");
        loop {
            watch.wait(100_000_000, &mut self.ready)?;
            if last.elapsed() > patience {
                return Err(LoadError::Silent { seconds: patience.as_secs(), in_flight: 0 });
            }
            for entry in &self.ready {
                let (index, socket) = (entry.index, &mut self.sockets[entry.index]);
                socket.receive().map_err(|_| LoadError::Closed { index, acked: 0 })?;
                last = Instant::now();
                let unreadable = |reason| LoadError::Unreadable { index, reason };
                while let Some(place) = socket.next_frame().map_err(unreadable)? {
                    let frame = socket.bytes(place);
                    let (header, _) = answers::parts(frame).ok_or(unreadable("no JSON header"))?;
                    let mark = self.scanner.scan(header).ok_or(unreadable("no code or opaque"))?;
                    if done(index, mark, header) {
                        return Ok(());
                    }
                }
            }
        }
    }
}
