//! One connection as the rest of its worker sees it: bytes to send, bytes in flight, and when it was last alive.
//!
//! The reader stops serving while too much is in flight or waits to be sent; so a peer that sends without reading holds
//! a bounded amount of memory and is slowed down by TCP. When all peers of a worker together hold much, each may hold
//! less: smaller answers, and who still has some to read none at all. A body that others hold, too, counts against its
//! connection, but takes memory only a chunk at a time.

use crate::{
    shared_body::{BodyCursor, SharedBody},
    transfer_budget::TransferBudget,
    transport::WriteHalf,
};
use runtime::{Closer, Executor, Signal, Uptime};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    rc::Rc,
};

/// Memory that an idle connection may keep for its answers, bytes.
const KEPT_BYTES: usize = 16 * 1024;
/// Largest buffer that is used again after it was sent, bytes. Larger ones go back at once: each connection has two.
/// Those above [`KEPT_BYTES`] are kept only while all connections together are within their budget.
const REUSED_BYTES_MAX: usize = 256 * 1024;
/// Unsent bytes above which a connection gets no more messages: two of the largest answers to a pull. The kernel holds
/// more.
const WRITE_HIGH_WATERMARK_BYTES: usize = 512 * 1024;
/// Unsent bytes of all connections of a worker from which each gets less, unless set otherwise.
const SHARED_BYTES: usize = 64 * 1024 * 1024;
/// What is left to each then, unless set otherwise.
const BYTES_WHEN_SHORT: usize = 32 * 1024;
/// Messages of one answer while all connections together have more than their share, bytes.
const ANSWER_BYTES_WHEN_SHORT: usize = 32 * 1024;
/// Bytes of a shared body that are copied for one write.
const BODY_CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of one write: a peer that takes long for a large answer shows that it does.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// Unsent bytes of all connections of a worker that lie in memory of their own, and what they may be.
pub struct UnsentBudget {
    bytes: Cell<usize>,
    /// Memory of sent answers that connections keep for their next ones.
    kept: Cell<usize>,
    /// From here on each connection gets less; at twice as much only who has read all it got, and a little.
    bytes_max: usize,
    bytes_when_short: usize,
}

impl UnsentBudget {
    /// A connection may have `bytes_when_short` unsent, and no more than that, once all have more than `bytes_max`.
    pub fn new(bytes_max: usize, bytes_when_short: usize) -> Rc<UnsentBudget> {
        let (bytes, kept) = (Cell::new(0), Cell::new(0));
        Rc::new(UnsentBudget { bytes, kept, bytes_max, bytes_when_short })
    }

    /// What is unsent now, and above how much each connection gets less.
    pub fn level(&self) -> (usize, usize) {
        (self.bytes.get(), self.bytes_max)
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }

    /// A connection that kept `before` keeps `after`.
    fn keep(&self, before: usize, after: usize) {
        self.kept.set(self.kept.get() - before + after);
    }

    /// Whether so many bytes more may be kept for later.
    fn may_keep(&self, more: usize) -> bool {
        self.bytes.get() + self.kept.get() + more <= self.bytes_max
    }

    /// What one connection may have unsent before it gets no more.
    fn watermark(&self) -> usize {
        if self.is_short() {
            self.bytes_when_short.min(WRITE_HIGH_WATERMARK_BYTES)
        } else {
            WRITE_HIGH_WATERMARK_BYTES
        }
    }

    /// Whether each connection gets less than usual.
    pub fn is_short(&self) -> bool {
        self.bytes.get() > self.bytes_max
    }

    /// What an answer with messages should not exceed now: when all together hold much, each gets its messages in smaller
    /// parts.
    pub fn answer_bytes_max(&self) -> Option<usize> {
        self.is_short().then_some(ANSWER_BYTES_WHEN_SHORT)
    }

    /// Whether only who has read everything gets messages, and small ones.
    pub fn is_spent(&self) -> bool {
        self.bytes.get() > 2 * self.bytes_max
    }
}

impl Default for UnsentBudget {
    fn default() -> Self {
        UnsentBudget {
            bytes: Cell::new(0),
            kept: Cell::new(0),
            bytes_max: SHARED_BYTES,
            bytes_when_short: BYTES_WHEN_SHORT,
        }
    }
}

/// Why a connection gets no messages now, in bytes; what the answer says.
#[derive(Clone, Copy, Debug)]
pub struct Clogged {
    unread: usize,
    unread_max: usize,
    all_unread: usize,
    all_unread_max: usize,
}

impl fmt::Display for Clogged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clogged { unread, unread_max, all_unread, all_unread_max } = self;
        write!(
            f,
            "unread={unread} limit={unread_max} all={all_unread} limit={all_unread_max} key=memoryBudgetMiB"
        )
    }
}

/// A shared body that waits to be sent.
struct QueuedBody {
    /// What goes out before it.
    before: Vec<u8>,
    body: SharedBody,
    cursor: BodyCursor,
    /// Bytes of the body behind the cursor.
    left: usize,
}

/// The sending side of a connection.
pub struct WriteBuffer {
    /// The peer's address.
    pub addr: SocketAddr,
    /// The peer came through the second port.
    pub vip: bool,
    closer: Closer,
    bytes: RefCell<Vec<u8>>,
    spare: RefCell<Vec<u8>>,
    /// What `bytes` and `spare` hold for later, as it was counted last.
    kept_bytes: Cell<usize>,
    /// Bodies that others hold, too, with what goes out before each. All of `bytes` comes behind them. Usually empty.
    bodies: RefCell<VecDeque<QueuedBody>>,
    /// Bytes in `bodies`.
    queued_bytes: Cell<usize>,
    /// Raised when there is something to send or the connection ends.
    pub ready: Signal,
    /// Raised when requests were answered or bytes sent, so that reading may go on.
    pub drained: Signal,
    inflight_bytes: Cell<usize>,
    sending_bytes: Cell<usize>,
    inflight_bytes_max: Cell<usize>,
    /// Of all connections of the worker.
    unsent: Rc<UnsentBudget>,
    /// Answers from other workers.
    transfer_budget: TransferBudget,
    closed: Cell<bool>,
    /// No more responses will come: what is there is sent, and then writing ends.
    finished: Cell<bool>,
    /// The peer takes no more bytes; what it has sent already still counts.
    write_stopped: Cell<bool>,
    /// Bytes that were sent, and how many these were when [`WriteBuffer::stalled_for`] was last asked.
    sent_total: Cell<u64>,
    sent_before: Cell<u64>,
    stalled_for: Cell<u32>,
    /// When bytes last came, or enough of them went (see [`write_loop`]), ms.
    pub alive_ms: Cell<Uptime>,
}

impl WriteBuffer {
    /// The write buffer of a new connection.
    pub fn new(
        addr: SocketAddr,
        vip: bool,
        closer: Closer,
        inflight_bytes_max: usize,
        unsent: Rc<UnsentBudget>,
        now: Uptime,
    ) -> WriteBuffer {
        WriteBuffer {
            addr,
            vip,
            closer,
            bytes: RefCell::default(),
            spare: RefCell::default(),
            kept_bytes: Cell::new(0),
            bodies: RefCell::default(),
            queued_bytes: Cell::new(0),
            ready: Signal::default(),
            drained: Signal::default(),
            inflight_bytes: Cell::new(0),
            sending_bytes: Cell::new(0),
            inflight_bytes_max: Cell::new(inflight_bytes_max),
            unsent,
            transfer_budget: TransferBudget::default(),
            closed: Cell::new(false),
            finished: Cell::new(false),
            write_stopped: Cell::new(false),
            sent_total: Cell::new(0),
            sent_before: Cell::new(0),
            stalled_for: Cell::new(0),
            alive_ms: Cell::new(now),
        }
    }

    /// Appends to what is sent next.
    pub fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.closed.get() || self.write_stopped.get() {
            return;
        }
        let mut bytes = self.bytes.borrow_mut();
        let before = bytes.len();
        write(&mut bytes);
        let more = bytes.len().saturating_sub(before);
        self.unsent.add(more);
        drop(bytes);
        self.ready.raise();
    }

    /// Appends `head`, and behind it a body that others may hold, too: it is copied when it is sent, a chunk at a time.
    pub fn write_shared(&self, head: impl FnOnce(&mut Vec<u8>), body: SharedBody) {
        if self.closed.get() || self.write_stopped.get() {
            return;
        }
        self.write(head);
        let before = std::mem::take(&mut *self.bytes.borrow_mut());
        self.queued_bytes.set(self.queued_bytes.get() + before.len() + body.len());
        let left = body.len();
        let queued = QueuedBody { before, body, cursor: BodyCursor::default(), left };
        self.bodies.borrow_mut().push_back(queued);
    }

    /// What to send now; empty when there is nothing.
    pub fn take(&self) -> Vec<u8> {
        if self.queued_bytes.get() > 0 {
            return self.take_queued();
        }
        let mut spare = self.spare.take();
        spare.clear();
        let bytes = std::mem::replace(&mut *self.bytes.borrow_mut(), spare);
        self.sending_bytes.set(bytes.len());
        bytes
    }

    fn take_queued(&self) -> Vec<u8> {
        let mut bodies = self.bodies.borrow_mut();
        let mut taken = Vec::new();
        while taken.is_empty()
            && let Some(first) = bodies.front_mut()
        {
            if first.before.is_empty() {
                taken = self.spare.take();
                taken.clear();
                let copied = first.body.copy(&mut first.cursor, &mut taken, BODY_CHUNK_BYTES);
                self.unsent.add(copied);
                first.left -= copied;
            } else {
                taken = std::mem::take(&mut first.before);
            }
            if first.left == 0 {
                bodies.pop_front();
            }
        }
        self.queued_bytes.set(self.queued_bytes.get() - taken.len());
        self.sending_bytes.set(taken.len());
        taken
    }

    /// What was taken has been sent.
    pub fn sent(&self, bytes: Vec<u8>, now: Uptime) {
        self.alive_ms.set(now);
        let sent = self.sending_bytes.replace(0);
        self.unsent.give_back(sent);
        let capacity = bytes.capacity();
        if capacity <= KEPT_BYTES
            || (capacity <= REUSED_BYTES_MAX && self.unsent.may_keep(capacity))
        {
            *self.spare.borrow_mut() = bytes;
        }
        self.count_kept();
        self.drained.raise();
    }

    /// Counts what is kept for later: room behind what `bytes` holds, and the spare buffer.
    fn count_kept(&self) {
        let bytes = self.bytes.borrow();
        let kept = bytes.capacity() - bytes.len() + self.spare.borrow().capacity();
        self.unsent.keep(self.kept_bytes.replace(kept), kept);
    }

    /// Writing has failed: the peer has gone or reads no more. Answers are dropped from now on, but not the connection:
    /// a client that commits its offsets and leaves must not lose those that were not read yet.
    pub fn stop_writing(&self) {
        self.write_stopped.set(true);
        self.give_back();
        self.sending_bytes.set(0);
        *self.bytes.borrow_mut() = Vec::new();
        *self.spare.borrow_mut() = Vec::new();
        self.count_kept();
        self.bodies.borrow_mut().clear();
        self.queued_bytes.set(0);
        self.drained.raise();
    }

    /// A request of `bytes` was taken in.
    pub fn acquire(&self, bytes: usize) {
        self.inflight_bytes.set(self.inflight_bytes.get() + bytes);
    }

    /// A request of `bytes` was answered.
    pub fn release(&self, bytes: usize) {
        let inflight = self.inflight_bytes.get();
        assert!(bytes <= inflight);
        let was_full = self.is_full();
        self.inflight_bytes.set(inflight - bytes);
        if was_full {
            self.drained.raise();
        }
    }

    /// Whether all that was asked was answered and sent.
    pub fn owes_nothing(&self) -> bool {
        self.inflight_bytes.get() == 0 && self.unsent_bytes() == 0
    }

    /// Bytes that wait to be read by the peer.
    pub fn unsent_bytes(&self) -> usize {
        self.bytes.borrow().len() + self.sending_bytes.get() + self.queued_bytes.get()
    }

    /// Counts no longer among the unsent bytes of all connections.
    fn give_back(&self) {
        let before: usize = self.bodies.borrow().iter().map(|queued| queued.before.len()).sum();
        let own = self.bytes.borrow().len() + self.sending_bytes.get() + before;
        self.unsent.give_back(own);
        self.unsent.keep(self.kept_bytes.replace(0), 0);
    }

    /// From now on the peer must wait when more bytes than this are unanswered.
    pub fn limit_inflight(&self, bytes_max: usize) {
        self.inflight_bytes_max.set(bytes_max);
        // Who waits may be within it now.
        self.drained.raise();
    }

    /// Whether the peer must wait before more is read from it.
    pub fn is_full(&self) -> bool {
        self.inflight_bytes.get() > self.inflight_bytes_max.get() || self.above_high_watermark()
    }

    /// Whether the peer takes too long to read for another large answer.
    pub fn above_high_watermark(&self) -> bool {
        self.unsent_bytes() > self.unsent.watermark()
    }

    /// To be asked at regular intervals: for how many of them the peer has taken nothing although something waits for it.
    pub fn stalled_for(&self) -> u32 {
        let sent = self.sent_total.get();
        let stalled = self.unsent_bytes() > 0 && self.sent_before.replace(sent) == sent;
        self.stalled_for.set(if stalled { self.stalled_for.get() + 1 } else { 0 });
        self.stalled_for.get()
    }

    /// Whether the connection may get an answer of so many bytes: it reads what it got, and so do all together. While they
    /// do not, who has read everything still gets a small one: none waits for another to read.
    pub fn takes(&self, bytes: usize) -> Result<(), Clogged> {
        let gone = self.closed.get() || self.write_stopped.get();
        let takes = if self.unsent.is_spent() {
            self.unsent_bytes() == 0 && bytes <= self.unsent.bytes_when_short
        } else {
            !self.above_high_watermark()
        };
        if takes && !gone {
            return Ok(());
        }
        Err(Clogged {
            unread: self.unsent_bytes(),
            unread_max: self.unsent.watermark(),
            all_unread: self.unsent.bytes.get(),
            all_unread_max: 2 * self.unsent.bytes_max,
        })
    }

    /// The budget of answers from other workers, for a request that goes there. It says whether the connection takes any.
    pub fn transfer_budget(&self) -> TransferBudget {
        self.transfer_budget.set_clogged(self.takes(1).is_err());
        self.transfer_budget.clone()
    }

    /// An answer from another worker was kept from the connection: no more of them need be made until it asks again.
    pub fn note_clogged(&self) {
        self.transfer_budget.set_clogged(true);
    }

    /// Ends the connection: its reader and writer see it. Nothing more is written.
    pub fn close(&self) {
        if !self.closed.replace(true) {
            self.transfer_budget.end();
            self.closer.close();
            self.ready.raise();
            self.drained.raise();
        }
    }

    /// No more responses will come: writing ends when what is there has been sent.
    pub fn finish(&self) {
        self.finished.set(true);
        self.ready.raise();
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
        drop(bytes);
        self.count_kept();
    }
}

/// Sends what has gathered in `buffer`, all of it in one write; responses that come while it sends go with the next.
/// Returns when the connection was closed, when a finished buffer is empty, and when the peer takes no more.
///
/// The connection counts as alive after each write, and within one after each `alive_bytes`: a peer that takes a byte
/// now and then must not count as one that reads.
pub async fn write_loop(
    executor: &Executor,
    mut writer: WriteHalf,
    buffer: &WriteBuffer,
    alive_bytes: usize,
) {
    loop {
        let bytes = buffer.take();
        if bytes.is_empty() {
            if buffer.is_closed() || buffer.finished.get() {
                writer.say_end();
                return;
            }
            buffer.sent(bytes, buffer.alive_ms.get());
            buffer.ready.wait().await;
            continue;
        }
        for enough in bytes.chunks(alive_bytes) {
            for part in enough.chunks(WRITE_BYTES_MAX) {
                if let Err(error) = writer.write_all(part).await {
                    tracing::debug!(peer = %buffer.addr, %error, "writing ended");
                    buffer.stop_writing();
                    return;
                }
                buffer.sent_total.set(buffer.sent_total.get() + part.len() as u64);
            }
            buffer.alive_ms.set(executor.uptime());
        }
        buffer.sent(bytes, buffer.alive_ms.get());
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.transfer_budget.end();
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        shared_body::BodyPiece,
        test_executor::{connected, on_executor},
        transfer_budget::NoTransfer,
    };
    use std::{io::Read, time::Duration};

    fn buffer(unsent: &Rc<UnsentBudget>) -> WriteBuffer {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        WriteBuffer::new(
            addr,
            false,
            Closer::default(),
            8 << 20,
            Rc::clone(unsent),
            Uptime::default(),
        )
    }

    fn body(bytes: usize) -> SharedBody {
        let whole: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        SharedBody::new(whole.chunks(1_000).map(|part| BodyPiece::new(part.into(), 0)).collect())
    }

    /// What a peer that reads everything gets, and the largest buffer on the way.
    fn send_all(buffer: &WriteBuffer) -> (Vec<u8>, usize) {
        let (mut got, mut largest) = (Vec::new(), 0);
        loop {
            let bytes = buffer.take();
            largest = largest.max(bytes.len());
            got.extend_from_slice(&bytes);
            let done = bytes.is_empty();
            buffer.sent(bytes, Uptime::default());
            if done {
                return (got, largest);
            }
        }
    }

    #[test]
    fn shared_bodies_and_other_answers_keep_their_order() {
        let unsent = Rc::default();
        let buffer = buffer(&unsent);
        // Exactly three chunks, less than one, and none.
        let bodies = [body(3 * BODY_CHUNK_BYTES), body(5_000), body(0)];
        let mut expected = Vec::new();
        for (number, body) in bodies.iter().enumerate() {
            for text in [format!("answer {number} "), format!("head {number} ")] {
                expected.extend_from_slice(text.as_bytes());
            }
            expected.extend_from_slice(&body.to_vec());
            buffer.write(|out| out.extend_from_slice(format!("answer {number} ").as_bytes()));
            buffer.write_shared(
                |out| out.extend_from_slice(format!("head {number} ").as_bytes()),
                body.clone(),
            );
        }
        expected.extend_from_slice(b"last");
        buffer.write(|out| out.extend_from_slice(b"last"));
        assert_eq!(buffer.unsent_bytes(), expected.len());
        assert!(unsent.bytes.get() < 100, "bodies of others cost no memory before they are sent");
        let (got, largest) = send_all(&buffer);
        assert!(got == expected);
        assert_eq!(largest, BODY_CHUNK_BYTES);
        assert_eq!((buffer.unsent_bytes(), unsent.bytes.get()), (0, 0));
        assert!(bodies.iter().all(|body| body.holders() == 1), "what was sent is held no longer");
    }

    #[test]
    fn a_peer_that_does_not_read_holds_one_chunk_and_is_asked_no_more() {
        let unsent = Rc::default();
        let buffer = buffer(&unsent);
        let body = body(10_000_000);
        buffer.write_shared(|out| out.push(b'h'), body.clone());
        assert!(buffer.is_full(), "its requests wait");
        let taken = buffer.take();
        assert_eq!(taken, b"h");
        buffer.sent(taken, Uptime::default());
        let taken = buffer.take();
        assert_eq!((taken.len(), unsent.bytes.get()), (BODY_CHUNK_BYTES, BODY_CHUNK_BYTES));
        assert_eq!(buffer.unsent_bytes(), 10_000_000);
        buffer.stop_writing();
        assert_eq!((buffer.unsent_bytes(), unsent.bytes.get(), body.holders()), (0, 0, 1));
        buffer.write_shared(|out| out.push(b'h'), body.clone());
        assert_eq!((buffer.unsent_bytes(), body.holders()), (0, 1));
    }

    /// What a peer that takes some bytes, and then none, and then all does to `alive_ms`: before it reads on, and after.
    fn alive_with_a_slow_peer(alive_bytes: usize) -> (Uptime, Uptime) {
        const NEVER: Uptime = Uptime::MIN;
        const BYTES: usize = 64 << 20;
        on_executor(move |executor| async move {
            let (transport, peer) = connected(&executor).await;
            let (_reader, writer, closer) = transport.split();
            let addr = SocketAddr::from(([127, 0, 0, 1], 1));
            let buffer = WriteBuffer::new(addr, false, closer, 0, Rc::default(), NEVER);
            let buffer = Rc::new(buffer);
            buffer.write(|out| out.resize(BYTES, 0));
            let (on, writing) = (executor.clone(), Rc::clone(&buffer));
            let task = executor.spawn(async move {
                write_loop(&on, writer, &writing, alive_bytes).await;
            });
            // The kernel takes some of the bytes.
            executor.sleep(Duration::from_millis(100)).await;
            let before = buffer.alive_ms.get();
            let read_all = move || (&peer).take(BYTES as u64).read_to_end(&mut Vec::new()).unwrap();
            assert_eq!(executor.blocking(read_all).await, BYTES);
            buffer.finish();
            task.await;
            (before, buffer.alive_ms.get())
        })
    }

    #[test]
    fn who_takes_a_part_of_a_write_is_not_alive_for_it() {
        let (before, after) = alive_with_a_slow_peer(usize::MAX);
        assert!(before == Uptime::MIN, "only the whole write counts");
        assert!(after > Uptime::MIN);
    }

    #[test]
    fn who_takes_enough_of_a_large_write_is_alive() {
        let (before, after) = alive_with_a_slow_peer(64 * 1024);
        assert!(before > Uptime::MIN);
        assert!(after >= before);
    }

    #[test]
    fn who_takes_nothing_of_what_waits_is_stalled() {
        let unsent = UnsentBudget::new(1_000, 100);
        let buffer = buffer(&unsent);
        assert_eq!((buffer.stalled_for(), buffer.stalled_for()), (0, 0), "nothing waits");
        buffer.write(|out| out.resize(2_000, 7));
        assert!(unsent.is_short());
        assert_eq!((buffer.stalled_for(), buffer.stalled_for()), (1, 2));
        buffer.sent_total.set(1);
        assert_eq!((buffer.stalled_for(), buffer.stalled_for()), (0, 1));
        send_all(&buffer);
        assert_eq!(buffer.stalled_for(), 0);
        assert!(!unsent.is_short());
    }

    /// Goal: whoever does not read keeps nothing from those who do.
    #[test]
    fn who_has_read_all_gets_a_small_answer_whatever_others_leave() {
        let unsent = UnsentBudget::new(1_000, 100);
        let (reads, does_not) = (buffer(&unsent), buffer(&unsent));
        assert_eq!((unsent.answer_bytes_max(), reads.takes(200_000).is_ok()), (None, true));
        does_not.write(|out| out.resize(1_500, 7));
        assert_eq!(unsent.answer_bytes_max(), Some(ANSWER_BYTES_WHEN_SHORT));
        assert!(reads.takes(200_000).is_ok(), "one message may be larger");
        assert!(does_not.takes(1).is_err());
        does_not.write(|out| out.resize(2_001, 7));
        assert_eq!([100, 101].map(|bytes| reads.takes(bytes).is_ok()), [true, false]);
        assert_eq!(
            does_not.takes(1).unwrap_err().to_string(),
            "unread=2001 limit=100 all=2001 limit=2000 key=memoryBudgetMiB"
        );
        reads.write(|out| out.push(7));
        assert!(reads.takes(1).is_err(), "it has not read that");
        send_all(&does_not);
        assert!(does_not.takes(200_000).is_ok() && reads.takes(200_000).is_ok());
    }

    #[test]
    fn other_workers_learn_whether_a_connection_takes_answers() {
        let unsent = UnsentBudget::new(1_000, 100);
        let buffer = buffer(&unsent);
        let budget = buffer.transfer_budget();
        assert!(budget.try_acquire(7).is_ok());
        buffer.note_clogged();
        assert_eq!(budget.try_acquire(7).unwrap_err(), NoTransfer::Clogged);
        assert!(buffer.transfer_budget().try_acquire(7).is_ok(), "it asks again");
        buffer.write(|out| out.resize(3_000, 7));
        assert_eq!(buffer.transfer_budget().try_acquire(7).unwrap_err(), NoTransfer::Clogged);
        buffer.close();
        buffer.note_clogged();
        assert_eq!(buffer.transfer_budget().try_acquire(7).unwrap_err(), NoTransfer::Ended);
        drop(buffer);
        assert_eq!(budget.try_acquire(7).unwrap_err(), NoTransfer::Ended);
    }

    /// Goal: thousands of connections that once got a large answer do not hold memory for the next one each.
    #[test]
    fn what_is_kept_for_later_has_the_budget_of_what_is_unsent() {
        let unsent = UnsentBudget::new(1 << 20, 32 * 1024);
        let buffers: Vec<WriteBuffer> = (0..100).map(|_| buffer(&unsent)).collect();
        for _ in 0..3 {
            for buffer in &buffers {
                buffer.write(|out| out.resize(200_000, 7));
                send_all(buffer);
            }
        }
        let held = |buffer: &WriteBuffer| {
            buffer.bytes.borrow().capacity() + buffer.spare.borrow().capacity()
        };
        let large: usize = buffers.iter().map(held).filter(|bytes| *bytes > 2 * KEPT_BYTES).sum();
        assert!(large <= (1 << 20) + 2 * 100 * KEPT_BYTES, "{large}");
        assert!(large > 500_000, "{large}: kept while there is room");
        let kept: usize = buffers.iter().map(held).sum();
        assert_eq!(unsent.kept.get(), kept);
        buffers.iter().for_each(WriteBuffer::shrink);
        assert!(unsent.kept.get() <= 2 * 100 * KEPT_BYTES);
        drop(buffers);
        assert_eq!((unsent.bytes.get(), unsent.kept.get()), (0, 0));
    }

    #[test]
    fn a_connection_that_goes_gives_back_what_it_counted() {
        let unsent = Rc::default();
        let buffer = buffer(&unsent);
        buffer.write(|out| out.extend_from_slice(b"answer"));
        buffer.write_shared(|out| out.push(b'h'), body(200_000));
        buffer.write(|out| out.extend_from_slice(b"answer"));
        assert_eq!(unsent.bytes.get(), 13);
        drop(buffer);
        assert_eq!(unsent.bytes.get(), 0);
    }
}
