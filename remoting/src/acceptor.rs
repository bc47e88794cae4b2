//! TLS on the listening ports of one executor: what a first byte means, and handshakes, which cost a thousand times what a request does.
//!
//! One handshake computes at a time, and then rests as long as it took: when thousands come back at once, half of the executor's time
//! goes to them, and those that are there are served in the rest. A peer that has let us wait too long is closed; time
//! that it waited for its turn is not counted.

use crate::session::READ_BYTES;
use runtime::{Closer, Executor, RateLimit, Signal};
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};
use tls::{LOOK_PAUSE, Mode, Tls};

/// First byte of a TLS connection: a handshake record. A frame's length would have to be above 350 MB.
const HANDSHAKE_RECORD: u8 = 0x16;
/// How long a handshake may wait for its peer, in all.
const PEER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of a peer's part of a handshake, and of what came with its end; a long chain of certificates has a third of it.
const HANDSHAKE_BYTES_MAX: usize = 32 * 1024;
/// Pause between two looks at handshakes that wait.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What all listening ports of an executor share.
pub struct TlsAcceptor {
    tls: Arc<Tls>,
    executor: Executor,
    /// Room for what sockets are read into; made for the first connection that needs it.
    received: Rc<RefCell<Vec<u8>>>,
    handshakes: RefCell<Slab<Waiting>>,
    turns: Turns,
    refused: RateLimit,
}

/// What a first byte means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Tls,
}

/// A handshake as the look at the clock sees it.
struct Waiting {
    peer: SocketAddr,
    closer: Closer,
    /// How long it has waited for its peer before, and since when it does again.
    waited: Duration,
    since: Option<Instant>,
}

impl Waiting {
    fn waited(&self, now: Instant) -> Duration {
        let more = self.since.map(|since| now.saturating_duration_since(since));
        self.waited + more.unwrap_or_default()
    }
}

impl TlsAcceptor {
    /// For the listening ports of this executor.
    pub fn new(executor: &Executor, tls: Arc<Tls>) -> Rc<TlsAcceptor> {
        let acceptor = Rc::new(TlsAcceptor {
            tls,
            executor: executor.clone(),
            received: Rc::default(),
            handshakes: RefCell::default(),
            turns: Turns::default(),
            refused: RateLimit::default(),
        });
        if acceptor.tls.mode() != Mode::Disabled {
            drop(executor.spawn(sweep(executor.clone(), Rc::downgrade(&acceptor))));
        }
        acceptor
    }

    /// What the connection is that begins with this byte. The error says why it must end, and is in the log.
    pub(crate) fn kind(&self, first: u8, peer: SocketAddr) -> io::Result<Kind> {
        let is_tls = first == HANDSHAKE_RECORD;
        match self.tls.mode() {
            Mode::Disabled if is_tls => {
                Err(self.refuse(peer, &"it begins with TLS, and tls.server.mode is disabled"))
            }
            Mode::Enforcing if !is_tls => {
                Err(self
                    .refuse(peer, &"it does not begin with TLS, and tls.server.mode is enforcing"))
            }
            _ if is_tls => Ok(Kind::Tls),
            _ => Ok(Kind::Plain),
        }
    }

    /// One of many refusals, which goes to the log now and then.
    pub(crate) fn refuse(&self, peer: SocketAddr, why: &dyn fmt::Display) -> io::Error {
        if let Some(held_back) = self.refused.note() {
            tracing::warn!(%peer, held_back, "a connection is refused: {why}");
        }
        io::Error::new(io::ErrorKind::InvalidData, why.to_string())
    }

    /// The contexts of now.
    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Room for what sockets of TLS connections are read into.
    pub(crate) fn received(&self) -> Rc<RefCell<Vec<u8>>> {
        self.received.borrow_mut().resize(READ_BYTES, 0);
        Rc::clone(&self.received)
    }

    /// The handshake of a new connection.
    pub(crate) fn begin(self: &Rc<Self>, peer: SocketAddr, closer: Closer) -> Handshake {
        let since = Some(Instant::now());
        let waiting = Waiting { peer, closer, waited: Duration::ZERO, since };
        let key = self.handshakes.borrow_mut().insert(waiting);
        Handshake { acceptor: Rc::clone(self), key, bytes: 0, peer }
    }

    /// Those that have waited too long for their peers at this time.
    fn overdue(&self, now: Instant) -> Vec<(SocketAddr, Closer)> {
        let handshakes = self.handshakes.borrow();
        let late = handshakes.iter().filter(|(_, waiting)| waiting.waited(now) > PEER_WAIT_MAX);
        late.map(|(_, waiting)| (waiting.peer, waiting.closer.clone())).collect()
    }
}

async fn sweep(executor: Executor, acceptor: Weak<TlsAcceptor>) {
    loop {
        executor.sleep(SWEEP_PAUSE).await;
        let Some(acceptor) = acceptor.upgrade() else { return };
        for (peer, closer) in acceptor.overdue(Instant::now()) {
            let seconds = PEER_WAIT_MAX.as_secs();
            acceptor.refuse(peer, &format!("its TLS handshake stands still for {seconds} s"));
            closer.close();
        }
    }
}

/// Looks at certificates again and again, and takes over what has changed. One task of a process.
pub async fn watch_certificates(executor: Executor, tls: Arc<Tls>) {
    while tls.mode() != Mode::Disabled || tls.is_outgoing() {
        executor.sleep(LOOK_PAUSE).await;
        let tls = Arc::clone(&tls);
        executor.blocking(move || tls.look()).await;
    }
}

/// A handshake that is not finished.
pub(crate) struct Handshake {
    acceptor: Rc<TlsAcceptor>,
    key: usize,
    /// What the peer has sent.
    bytes: usize,
    peer: SocketAddr,
}

impl Handshake {
    /// Computes when it is this one's turn. `bytes`: those that came for it.
    pub(crate) async fn step<T>(
        &mut self,
        bytes: usize,
        compute: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.bytes += bytes;
        if self.bytes > HANDSHAKE_BYTES_MAX {
            let why = format!("its TLS handshake has more than {HANDSHAKE_BYTES_MAX} bytes");
            return Err(self.acceptor.refuse(self.peer, &why));
        }
        self.waits_for_peer(false);
        let acceptor = &self.acceptor;
        let turn = acceptor.turns.next().await;
        if let Some(pause) = acceptor.turns.pause(Instant::now()) {
            acceptor.executor.sleep(pause).await;
        }
        let began = Instant::now();
        let computed = compute();
        acceptor.turns.rest_after(began, Instant::now());
        drop(turn);
        self.waits_for_peer(true);
        computed.map_err(|error| acceptor.refuse(self.peer, &format!("TLS handshake: {error}")))
    }

    fn waits_for_peer(&self, waits: bool) {
        let now = Instant::now();
        if let Some(waiting) = self.acceptor.handshakes.borrow_mut().get_mut(self.key) {
            waiting.waited = waiting.waited(now);
            waiting.since = waits.then_some(now);
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.acceptor.handshakes.borrow_mut().try_remove(self.key);
    }
}

/// Who computes next, in order of arrival.
#[derive(Default)]
struct Turns {
    taken: Cell<bool>,
    waiting: RefCell<VecDeque<Rc<Signal>>>,
    /// When the next may begin.
    rested: Cell<Option<Instant>>,
}

impl Turns {
    async fn next(&self) -> Turn<'_> {
        if self.taken.replace(true) {
            let signal = Rc::<Signal>::default();
            self.waiting.borrow_mut().push_back(Rc::clone(&signal));
            signal.wait().await;
        }
        Turn(self)
    }

    fn pause(&self, now: Instant) -> Option<Duration> {
        let left = self.rested.get()?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    fn rest_after(&self, began: Instant, ended: Instant) {
        self.rested.set(Some(ended + ended.saturating_duration_since(began)));
    }
}

struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let next = self.0.waiting.borrow_mut().pop_front();
        match next {
            Some(next) => next.raise(),
            None => self.0.taken.set(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};
    use std::pin::pin;

    #[test]
    fn turns_come_in_order_and_rest_as_long_as_they_took() {
        let turns = Turns::default();
        let first = block_on(turns.next());
        let (mut second, mut third) = (pin!(turns.next()), pin!(turns.next()));
        assert!(block_on(poll_once(second.as_mut())).is_none());
        assert!(block_on(poll_once(third.as_mut())).is_none());
        let began = Instant::now();
        turns.rest_after(began, began + Duration::from_millis(3));
        drop(first);
        assert!(block_on(poll_once(third.as_mut())).is_none());
        let turn = block_on(poll_once(second.as_mut())).expect("its turn");
        assert_eq!(turns.pause(began + Duration::from_millis(4)), Some(Duration::from_millis(2)));
        assert_eq!(turns.pause(began + Duration::from_millis(6)), None);
        drop(turn);
        drop(block_on(poll_once(third.as_mut())).expect("its turn"));
        assert!(!turns.taken.get());
    }

    #[test]
    fn time_in_the_queue_is_not_the_peers() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut waiting = Waiting {
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            closer: Closer::default(),
            waited: Duration::from_millis(100),
            since: Some(at(0)),
        };
        assert_eq!(waiting.waited(at(50)), Duration::from_millis(150));
        waiting.since = None;
        assert_eq!(waiting.waited(at(5_000)), Duration::from_millis(100));
    }
}
