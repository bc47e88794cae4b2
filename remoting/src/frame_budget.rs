//! Memory of frames that have not arrived whole, bounded over all connections of a worker.
//!
//! A frame may have 16 MiB, and every connection may have sent most of one. While all of them together hold more than the
//! budget, a connection that holds more than a small part of a frame is not read further; the kernel's buffers and TCP then slow its
//! peer down. So that the budget can never be full of frames that wait for each other, one connection at a time may go
//! on to the end of its frame: the one whose frame misses least, which frees memory soonest. Those that may go on and
//! send nothing are closed: they would keep the others waiting. Connections that are not read because their own
//! responses have to leave first are not silent, and are not closed here.
//!
//! What is held at most: the budget and what the read brings that exceeds it; one frame; and [`BYTES_WHEN_SHORT`] and one
//! byte per connection. Bytes are counted, not what the allocator rounds them up to. The bound rests on
//! [`FrameAccount::read_bytes_max`], which is asked when bytes are there: a thousand connections may have been let go on
//! while memory sufficed, and their bytes may come when it is short. It also rests on the favoured one being read to the
//! end of its frame and no further, even if it is full meanwhile; else each that is favoured could stop in the middle
//! and keep what it read.
//! Closing the largest instead was considered: it breaks honest producers of large messages when many of them send at once.

use crate::{frame_reader::FrameReader, write_buffer::WriteBuffer};
use runtime::{Closer, Millis, Uptime};
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    task::{Poll, Waker},
};

/// Bytes of an incomplete frame that a connection may hold whatever the others hold, unless set otherwise: small requests
/// never wait.
pub const BYTES_WHEN_SHORT: usize = 32 * 1024;
/// A connection that may read on, and whose frame does not grow for this long while others wait, is closed.
pub const STALLED_MS_MAX: Millis = 5_000;

/// The budget of one worker.
pub struct FrameBudget {
    bytes_max: usize,
    bytes_when_short: usize,
    bytes: Cell<usize>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    accounts: Slab<Account>,
    /// Accounts that may not read on, in the order in which they began to wait.
    waiting: Vec<usize>,
    /// The one that may read on although the budget is exceeded.
    favoured: Option<usize>,
}

/// What a connection holds.
struct Account {
    peer: SocketAddr,
    closer: Closer,
    bytes: usize,
    /// What its frame misses.
    missing: usize,
    /// When its frame grew last; `None`: it was let go on and no time has been seen since.
    grew_at: Option<Uptime>,
    waiter: Option<Waker>,
    /// We do not read it, because its own responses have to leave first.
    paused: bool,
}

/// What a look at the clock found.
#[derive(Default)]
struct Overdue {
    /// Those who wait see whether they were closed.
    waiters: Vec<Waker>,
    /// To be closed: the peer, its closer and the bytes that it holds.
    stalled: Vec<(SocketAddr, Closer, usize)>,
}

impl FrameBudget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: usize) -> Rc<FrameBudget> {
        FrameBudget::with_share(bytes_max, BYTES_WHEN_SHORT)
    }

    /// The same, where a connection that holds at most `bytes_when_short` never waits.
    pub fn with_share(bytes_max: usize, bytes_when_short: usize) -> Rc<FrameBudget> {
        let (bytes, state) = (Cell::new(0), RefCell::default());
        Rc::new(FrameBudget { bytes_max, bytes_when_short, bytes, state })
    }

    /// The account of a new connection.
    pub fn open(self: &Rc<Self>, peer: SocketAddr, closer: Closer) -> FrameAccount {
        let account = Account {
            peer,
            closer,
            bytes: 0,
            missing: 0,
            grew_at: None,
            waiter: None,
            paused: false,
        };
        let key = self.state.borrow_mut().accounts.insert(account);
        FrameAccount { budget: Rc::clone(self), key, bytes: Cell::new(0) }
    }

    /// Bytes of incomplete frames that are held now.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// The most that they may be before their connections wait for each other.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// To be called about once a second: closes connections that keep others waiting and send nothing, and lets those
    /// that wait see whether they were closed.
    pub fn close_stalled(&self, now: Uptime) {
        let Overdue { waiters, stalled } = self.overdue(now);
        for (peer, closer, held) in stalled {
            tracing::warn!(%peer, held, limit = self.bytes_max, "closing a connection that stopped in the middle of a frame: incomplete frames hold all the memory they may (of a broker: memoryBudgetMiB), and others wait");
            closer.close();
        }
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Nobody is woken or closed in here: that happens when the state is not borrowed.
    fn overdue(&self, now: Uptime) -> Overdue {
        let mut state = self.state.borrow_mut();
        let State { accounts, waiting, .. } = &mut *state;
        let mut overdue = Overdue::default();
        if waiting.is_empty() {
            return overdue;
        }
        for (_, account) in accounts.iter_mut() {
            if let Some(waiter) = &account.waiter {
                overdue.waiters.push(waiter.clone());
            } else if account.bytes > self.bytes_when_short && !account.paused {
                let grew_at = *account.grew_at.get_or_insert(now);
                if now - grew_at > STALLED_MS_MAX {
                    overdue.stalled.push((account.peer, account.closer.clone(), account.bytes));
                }
            }
        }
        overdue
    }

    fn is_short(&self) -> bool {
        self.bytes.get() > self.bytes_max
    }

    /// Lets go on who may: all when the budget suffices again, else one when nobody is favoured.
    fn wake(&self) {
        let mut state = self.state.borrow_mut();
        let State { accounts, waiting, favoured } = &mut *state;
        let mut going_on = Vec::new();
        if !self.is_short() {
            *favoured = None;
            going_on.append(waiting);
        } else if favoured.is_none() {
            let places = 0..waiting.len();
            let next = places.min_by_key(|place| accounts[waiting[*place]].missing);
            going_on.extend(next.map(|place| waiting.remove(place)));
            *favoured = going_on.first().copied();
        }
        let mut wakers = Vec::with_capacity(going_on.len());
        for key in going_on {
            let account = &mut accounts[key];
            account.grew_at = None;
            wakers.extend(account.waiter.take());
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// What one connection holds of its worker's budget. Dropped with the connection.
pub struct FrameAccount {
    budget: Rc<FrameBudget>,
    key: usize,
    /// The same as in the budget's table, at hand.
    bytes: Cell<usize>,
}

impl FrameAccount {
    /// To be called after each read: what the connection's reader keeps now counts.
    pub fn hold(&self, frames: &FrameReader, now: Uptime) {
        self.set(frames.partial_bytes(), || frames.missing_bytes(), now);
    }

    fn set(&self, bytes: usize, missing: impl FnOnce() -> usize, now: Uptime) {
        let before = self.bytes.replace(bytes);
        if before == 0 && bytes == 0 {
            return;
        }
        let budget = &self.budget;
        let others = budget.bytes.get() - before;
        budget.bytes.set(others + bytes);
        let mut state = budget.state.borrow_mut();
        let account = &mut state.accounts[self.key];
        account.bytes = bytes;
        account.missing = missing();
        account.grew_at = Some(now);
        if bytes < before {
            if state.favoured == Some(self.key) || !budget.is_short() {
                state.favoured = None;
            }
            let somebody_waits = !state.waiting.is_empty();
            drop(state);
            if somebody_waits {
                budget.wake();
            }
        }
    }

    /// Resolves when the connection may be read further, or `is_closed`.
    pub async fn may_read(&self, is_closed: impl Fn() -> bool) {
        if self.may_read_now() {
            return;
        }
        poll_fn(|context| {
            let may_read = self.may_read_now() || is_closed();
            let mut state = self.budget.state.borrow_mut();
            if !may_read && state.favoured.is_some() {
                let account = &mut state.accounts[self.key];
                if account.waiter.replace(context.waker().clone()).is_none() {
                    state.waiting.push(self.key);
                }
                return Poll::Pending;
            }
            if !may_read {
                state.favoured = Some(self.key);
            }
            let account = &mut state.accounts[self.key];
            account.grew_at = None;
            if account.waiter.take().is_some() {
                state.waiting.retain(|key| *key != self.key);
            }
            Poll::Ready(())
        })
        .await;
    }

    fn may_read_now(&self) -> bool {
        !self.budget.is_short()
            || self.bytes.get() <= self.budget.bytes_when_short
            || self.is_favoured()
    }

    fn is_favoured(&self) -> bool {
        self.budget.state.borrow().favoured == Some(self.key)
    }

    /// How many bytes may be read now, at least one: while the budget is short, what the favoured one's frame misses, and
    /// of others what makes them wait for the rest.
    pub fn read_bytes_max(&self) -> usize {
        if !self.budget.is_short() {
            return usize::MAX;
        }
        let wanted = if self.is_favoured() {
            self.budget.state.borrow().accounts[self.key].missing
        } else {
            (self.budget.bytes_when_short + 1).saturating_sub(self.bytes.get())
        };
        wanted.max(1)
    }

    /// Waits while so much is in flight or unsent that the connection must not be read. Not so the favoured one: others
    /// wait until its frame is whole, and stops behind it.
    pub async fn wait_while_full(&self, write_buffer: &WriteBuffer) {
        while write_buffer.is_full() && !write_buffer.is_closed() && !self.is_favoured() {
            self.paused(write_buffer.drained.wait()).await;
        }
    }

    /// Waits for something of our own, during which the connection is not read: that it sends nothing is not its fault.
    pub async fn paused<T>(&self, work: impl Future<Output = T>) -> T {
        self.set_paused(true);
        let done = work.await;
        self.set_paused(false);
        done
    }

    fn set_paused(&self, paused: bool) {
        let account = &mut self.budget.state.borrow_mut().accounts[self.key];
        account.paused = paused;
        account.grew_at = None;
    }
}

impl Drop for FrameAccount {
    fn drop(&mut self) {
        let budget = &self.budget;
        budget.bytes.set(budget.bytes.get() - self.bytes.get());
        {
            let mut state = budget.state.borrow_mut();
            state.accounts.remove(self.key);
            state.waiting.retain(|key| *key != self.key);
            if state.favoured == Some(self.key) {
                state.favoured = None;
            }
        }
        budget.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Uptime {
        Uptime::from_ms(ms)
    }
    use crate::test_executor::{connected, on_executor};
    use std::{
        future::Future,
        io::Write,
        net::Ipv4Addr,
        ops::ControlFlow::Continue,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::{Context, Wake},
    };

    const LARGE: usize = 100_000;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn open(budget: &Rc<FrameBudget>) -> FrameAccount {
        budget.open(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), Closer::default())
    }

    fn may_read(account: &FrameAccount, wakes: &Arc<Wakes>) -> bool {
        let waker = Waker::from(Arc::clone(wakes));
        pin!(account.may_read(|| false)).poll(&mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn everybody_reads_while_the_budget_suffices() {
        let budget = FrameBudget::new(3 * LARGE);
        let wakes = Arc::default();
        let accounts: Vec<_> = (0..3).map(|_| open(&budget)).collect();
        for account in &accounts {
            account.set(LARGE, || 0, at(0));
            assert!(may_read(account, &wakes));
        }
        assert_eq!(budget.bytes(), 3 * LARGE);
        drop(accounts);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn one_at_a_time_finishes_its_frame_when_the_budget_is_short() {
        let budget = FrameBudget::new(LARGE);
        let wakes = Arc::default();
        let (first, second, third) = (open(&budget), open(&budget), open(&budget));
        first.set(LARGE, || 100, at(0));
        second.set(LARGE, || 2, at(0));
        third.set(LARGE, || 3, at(0));
        assert!(may_read(&first, &wakes), "somebody has to go on");
        assert!(!may_read(&third, &wakes));
        assert!(!may_read(&second, &wakes));
        first.set(2 * LARGE, || 0, at(1));
        assert!(may_read(&first, &wakes));
        first.set(0, || 0, at(2));
        assert_eq!(wakes.0.load(Relaxed), 1, "the one that misses least");
        assert!(may_read(&second, &wakes));
        assert!(!may_read(&third, &wakes));
        drop(second);
        assert_eq!(wakes.0.load(Relaxed), 2);
        assert!(may_read(&third, &wakes));
        assert!(may_read(&first, &wakes), "small parts of frames never wait");
        first.set(BYTES_WHEN_SHORT, || 0, at(3));
        assert!(may_read(&first, &wakes));
    }

    #[test]
    fn who_waits_goes_on_when_memory_returns() {
        let budget = FrameBudget::new(2 * LARGE);
        let wakes = Arc::default();
        let (first, second, third) = (open(&budget), open(&budget), open(&budget));
        for account in [&first, &second, &third] {
            account.set(LARGE, || 0, at(0));
        }
        assert!(may_read(&first, &wakes));
        assert!(!may_read(&second, &wakes));
        assert!(!may_read(&third, &wakes));
        // One whose connection ends while it waits leaves no trace.
        drop(second);
        assert_eq!(wakes.0.load(Relaxed), 1, "the budget suffices for the third");
        assert!(may_read(&third, &wakes));
        assert!(budget.state.borrow().waiting.is_empty());
    }

    #[test]
    fn who_was_closed_waits_no_longer() {
        let budget = FrameBudget::new(LARGE);
        let wakes = Arc::<Wakes>::default();
        let (first, second) = (open(&budget), open(&budget));
        first.set(LARGE, || 0, at(0));
        second.set(LARGE, || 0, at(0));
        assert!(may_read(&first, &wakes));
        assert!(!may_read(&second, &wakes));
        budget.close_stalled(at(1));
        assert_eq!(wakes.0.load(Relaxed), 1, "it looks whether it was closed");
        let waker = Waker::from(Arc::clone(&wakes));
        let mut closed = pin!(second.may_read(|| true));
        assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        assert!(budget.state.borrow().waiting.is_empty());
        assert!(may_read(&first, &wakes), "it stays the one that may go on");
    }

    /// A write buffer that has a request in flight and may have none.
    fn full() -> WriteBuffer {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let buffer = WriteBuffer::new(addr, false, Closer::default(), 0, Rc::default(), at(0));
        buffer.acquire(1);
        assert!(buffer.is_full());
        buffer
    }

    #[test]
    fn who_waits_for_its_own_responses_is_not_closed_as_silent() {
        let budget = FrameBudget::new(LARGE);
        let wakes = Arc::default();
        let (first, second, third) = (open(&budget), open(&budget), open(&budget));
        for account in [&first, &second, &third] {
            account.set(LARGE, || 9, at(0));
        }
        assert!(may_read(&third, &wakes));
        assert!(!may_read(&second, &wakes));
        let buffer = full();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let mut waits = pin!(first.wait_while_full(&buffer));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        assert_eq!(budget.overdue(at(1)).stalled.len(), 0);
        let later = STALLED_MS_MAX * 10;
        third.set(LARGE + 1, || 8, at(later));
        assert_eq!(budget.overdue(at(later)).stalled.len(), 0, "we do not read it");
        buffer.release(1);
        assert!(waits.as_mut().poll(&mut context).is_ready());
        assert_eq!(
            budget.overdue(at(later)).stalled.len(),
            0,
            "its time begins when it is read again"
        );
        third.set(LARGE + 2, || 7, at(later + STALLED_MS_MAX + 1));
        assert_eq!(budget.overdue(at(later + STALLED_MS_MAX + 1)).stalled.len(), 1);
    }

    #[test]
    fn who_is_full_keeps_nobody_waiting() {
        let budget = FrameBudget::new(LARGE);
        let wakes = Arc::<Wakes>::default();
        let (first, second) = (open(&budget), open(&budget));
        first.set(LARGE, || 9, at(0));
        second.set(LARGE, || 9, at(0));
        assert!(may_read(&first, &wakes));
        assert!(!may_read(&second, &wakes));
        let buffer = full();
        let mut context = Context::from_waker(Waker::noop());
        let mut waits = pin!(first.wait_while_full(&buffer));
        assert!(waits.as_mut().poll(&mut context).is_ready(), "others wait for its frame's end");
        assert_eq!(first.read_bytes_max(), 9);
        first.set(0, || 0, at(1));
        assert_eq!(wakes.0.load(Relaxed), 1);
        assert!(may_read(&second, &wakes));
        let mut waits = pin!(first.wait_while_full(&buffer));
        assert!(waits.as_mut().poll(&mut context).is_pending(), "it stops behind its frame");
    }

    #[test]
    fn who_is_favoured_reads_no_further_than_its_frame() {
        let budget = FrameBudget::new(LARGE);
        let wakes = Arc::<Wakes>::default();
        let (first, second) = (open(&budget), open(&budget));
        first.set(LARGE, || 0, at(0));
        assert_eq!(first.read_bytes_max(), usize::MAX, "memory suffices");
        second.set(LARGE, || 70, at(0));
        assert!(may_read(&second, &wakes));
        assert_eq!(second.read_bytes_max(), 70);
        assert_eq!(first.read_bytes_max(), 1, "it was let go on before, and waits next time");
        // The same number of bytes, but those of another frame.
        second.set(LARGE, || 80, at(1));
        assert_eq!(second.read_bytes_max(), 80);
        drop(first);
        assert_eq!(second.read_bytes_max(), usize::MAX);
        assert_eq!(budget.state.borrow().favoured, None);
    }

    #[test]
    fn when_short_a_frame_gets_its_small_part_and_waits() {
        let partial = on_executor(|executor| async move {
            let budget = FrameBudget::new(2 * LARGE);
            let (others, favoured) = (open(&budget), open(&budget));
            let (transport, mut peer) = connected(&executor).await;
            let (mut reader, _writer, _closer) = transport.split();
            let account = open(&budget);
            let scratch = RefCell::new(vec![0; 256 * 1024]);
            let mut frames = FrameReader::default();
            let later = executor.clone();
            let sending = executor.spawn(async move {
                later.sleep(std::time::Duration::from_millis(20)).await;
                // It becomes short while the reader waits for bytes.
                others.set(2 * LARGE, || 9, at(0));
                favoured.set(2 * LARGE, || 9, at(0));
                assert!(may_read(&favoured, &Arc::default()));
                let mut frame = (1_u32 << 20).to_be_bytes().to_vec();
                frame.resize(1 << 20, 0);
                later.blocking(move || peer.write_all(&frame).map(|()| peer)).await.unwrap();
                (others, favoured)
            });
            loop {
                let wakes = Arc::default();
                if !may_read(&account, &wakes) {
                    break;
                }
                let read = reader.read_shared(&scratch, || account.read_bytes_max()).await.unwrap();
                assert!(read > 0);
                let bytes = &scratch.borrow()[..read];
                assert_eq!(frames.feed(bytes, |_, _| Continue(())), Ok(Continue(())));
                account.hold(&frames, at(1));
            }
            drop(reader);
            drop(sending);
            frames.partial_bytes()
        });
        assert_eq!(partial, BYTES_WHEN_SHORT + 1);
    }

    thread_local! {
        static WATCHED: RefCell<Option<Rc<FrameBudget>>> = const { RefCell::new(None) };
    }

    /// Wakers may be anything; one that asks the budget must not find it borrowed.
    struct AsksTheBudget(AtomicUsize);

    impl Wake for AsksTheBudget {
        fn wake(self: Arc<Self>) {
            let free = WATCHED.with_borrow(|budget| {
                budget.as_ref().is_some_and(|budget| budget.state.try_borrow_mut().is_ok())
            });
            self.0.fetch_add(usize::from(free), Relaxed);
        }
    }

    #[test]
    fn nobody_is_woken_while_the_state_is_borrowed() {
        let budget = FrameBudget::new(LARGE);
        let (first, second) = (open(&budget), open(&budget));
        first.set(LARGE, || 0, at(0));
        second.set(LARGE, || 0, at(0));
        assert!(may_read(&first, &Arc::default()));
        WATCHED.set(Some(Rc::clone(&budget)));
        let asks = Arc::new(AsksTheBudget(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&asks));
        let mut waits = pin!(second.may_read(|| false));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        budget.close_stalled(at(1));
        assert_eq!(asks.0.load(Relaxed), 1);
        drop(first);
        assert_eq!(asks.0.load(Relaxed), 2);
    }

    #[test]
    fn nobody_is_closed_while_nobody_waits() {
        let budget = FrameBudget::new(LARGE);
        let account = open(&budget);
        account.set(2 * LARGE, || 0, at(0));
        budget.close_stalled(at(STALLED_MS_MAX * 10));
        assert_eq!(budget.state.borrow().accounts[account.key].grew_at, Some(at(0)));
    }
}
