//! Lanes between executors: a bounded ring per ordered pair and direction of talk, one doorbell per executor.
//!
//! The bell is an eventfd that the receiver reads on its ring. A sender rings only when the receiver has said that it waits:
//!
//! | sender                         | receiver                                   |
//! |--------------------------------|--------------------------------------------|
//! | push                           | `waiting` = true                           |
//! | fence                          | fence                                      |
//! | `waiting`? set false and ring  | look again; still empty: wait for the bell |
//!
//! Both fences are sequentially consistent, so at least one side sees the other: either the sender rings or the
//! receiver finds the message. Order holds within a lane, not between lanes.
//!
//! A ring is small; what does not fit waits at its sender, in memory that is there only then, and goes on when the
//! receiver, who sees that somebody waits ([`Incoming::starved`]), has made room and rings. What waits is bounded for
//! [`Mesh::try_send`]. What must arrive ([`Mesh::send`]) is bounded by who asked for it: while [`Mesh::is_behind`] says
//! that an executor does not take its responses, no more requests are taken from it, and whoever makes other messages
//! for it is told to make none.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
};

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

/// Messages taken from one lane before the next lane gets its chance.
const BATCH_MESSAGES: usize = 64;
/// Messages of a batch between two looks at the clock: some take milliseconds, and most a microsecond.
const MESSAGES_PER_LOOK: u64 = 4;
/// Messages of the rings that lead to one executor, in one lane, from all others together. Memory of rings therefore
/// grows with the number of executors, not with its square, until [`RING_MESSAGES_MIN`].
const RINGS_MESSAGES: usize = 4_096;
/// A ring holds at least so many messages, so that the bell is not rung for each.
const RING_MESSAGES_MIN: usize = 64;
/// A ring holds at most so many: more is only memory.
const RING_MESSAGES_MAX: usize = 1_024;
/// Messages for all other executors together that wait at their sender; beyond it [`Mesh::try_send`] refuses.
const WAITING_MESSAGES_MAX: usize = 16_384;

/// Messages that one ring holds among so many executors.
fn ring_messages(executors: usize, lane_messages: usize) -> usize {
    let share = RINGS_MESSAGES / executors.saturating_sub(1).max(1);
    share.clamp(RING_MESSAGES_MIN, RING_MESSAGES_MAX).min(lane_messages)
}

/// The most memory that the lanes between `executors` take, with messages of `message_bytes`: all rings, and all that
/// may wait at its sender. An executor that is alone has none.
pub fn lanes_bytes(executors: usize, lane_messages: usize, message_bytes: usize) -> u64 {
    let pairs = executors * executors.saturating_sub(1);
    let in_rings = 2 * pairs * ring_messages(executors, lane_messages);
    let waiting_of_one = WAITING_MESSAGES_MAX.min(2 * executors.saturating_sub(1) * lane_messages);
    ((in_rings + executors * waiting_of_one) as u64) * message_bytes as u64
}

/// Which of the two rings between two executors. Responses have their own, so that a flood of requests cannot lock
/// out the responses that would end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Work for the other executor.
    Request,
    /// Responses to what it asked.
    Response,
}

impl Lane {
    fn slot(self) -> usize {
        match self {
            Lane::Response => 0,
            Lane::Request => 1,
        }
    }
}

/// A bell of one executor, which others ring: its doorbell, and the one of its blocking jobs.
pub(crate) struct Bell {
    counter: Arc<OwnedFd>,
    waiting: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        // Blocking: on a ring this means that a read waits until it is rung.
        let counter = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        Ok(Bell { counter, waiting: AtomicBool::new(false) })
    }

    /// Rings whether or not anybody waits.
    pub(crate) fn ring(&self) {
        // It would wait at a full counter, which takes 2^64 rings that nobody hears.
        let _ = rustix::io::write(&*self.counter, &1_u64.to_ne_bytes());
    }

    /// Rings if the owner waits. To be called after the message was pushed.
    fn ring_if_waiting(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// What the owner reads on its ring to wait.
    pub(crate) fn counter(&self) -> &Arc<OwnedFd> {
        &self.counter
    }

    /// Says that the owner is about to wait. It must look at its lanes once more after this.
    pub(crate) fn announce_wait(&self) {
        self.waiting.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Says that the owner is awake and will look at its lanes.
    pub(crate) fn end_wait(&self) {
        self.waiting.store(false, Ordering::SeqCst);
    }
}

/// The sender's end of a lane.
struct Outgoing<M> {
    ring: Producer<M>,
    /// What did not fit the ring, in order. Nothing is pushed past it.
    waiting: VecDeque<M>,
    starved: Arc<AtomicBool>,
}

/// The receiver's end of a lane.
struct Incoming<M> {
    ring: Consumer<M>,
    /// The sender has messages that did not fit, and wants to hear of room.
    starved: Arc<AtomicBool>,
}

impl<M> Outgoing<M> {
    /// Puts what waits into the ring as far as there is room, and returns how many messages.
    fn flush(&mut self) -> usize {
        let mut moved = 0;
        while let Some(message) = self.waiting.pop_front() {
            match self.ring.push(message) {
                Ok(()) => moved += 1,
                Err(PushError::Full(message)) => {
                    self.waiting.push_front(message);
                    self.starved.store(true, Ordering::SeqCst);
                    fence(Ordering::SeqCst);
                    // Else the receiver may have made room before it could see that somebody waits.
                    if self.ring.is_full() {
                        return moved;
                    }
                }
            }
        }
        if self.waiting.capacity() > RING_MESSAGES_MAX {
            self.waiting = VecDeque::new();
        }
        moved
    }

    fn can_flush(&self) -> bool {
        !self.waiting.is_empty() && !self.ring.is_full()
    }
}

impl<M> Incoming<M> {
    /// Takes at most [`BATCH_MESSAGES`], fewer when `is_spent` says so, and returns how many. True: the sender waits for the
    /// room that this made.
    ///
    /// Its request is taken back before the messages are taken, and not after: the sender fills the room of a batch while
    /// the batch is taken, and then asks for more. That request must last until the next batch; nobody else would answer it.
    fn take_batch(
        &mut self,
        is_spent: impl Fn() -> bool,
        mut on_message: impl FnMut(M),
    ) -> (u64, bool) {
        let starved =
            self.starved.load(Ordering::Relaxed) && self.starved.swap(false, Ordering::SeqCst);
        let mut taken = 0;
        while taken < BATCH_MESSAGES as u64 {
            let Ok(message) = self.ring.pop() else { break };
            on_message(message);
            taken += 1;
            if taken.is_multiple_of(MESSAGES_PER_LOOK) && is_spent() {
                break;
            }
        }
        if taken > 0 {
            // Before the next look at `starved`: a sender that does not see this room is seen there.
            fence(Ordering::SeqCst);
        }
        (taken, starved)
    }
}

/// One executor's ends of all lanes, before they move to its thread. The entry for itself is `None`.
pub(crate) struct Endpoint<M> {
    index: usize,
    outgoing: Vec<Option<[Outgoing<M>; 2]>>,
    incoming: Vec<Option<[Incoming<M>; 2]>>,
    lane_messages: usize,
    bells: Arc<[Arc<Bell>]>,
}

/// Connects `count` executors, by two lanes per ordered pair.
pub(crate) fn connect_all<M>(count: usize, lane_messages: usize) -> io::Result<Vec<Endpoint<M>>> {
    let bells: Vec<Arc<Bell>> =
        (0..count).map(|_| Bell::new().map(Arc::new)).collect::<io::Result<_>>()?;
    let bells: Arc<[Arc<Bell>]> = bells.into();
    let mut endpoints: Vec<Endpoint<M>> = (0..count)
        .map(|index| Endpoint {
            index,
            outgoing: (0..count).map(|_| None).collect(),
            incoming: (0..count).map(|_| None).collect(),
            lane_messages,
            bells: Arc::clone(&bells),
        })
        .collect();
    let ring_messages = ring_messages(count, lane_messages);
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            let (response_in, response_out) = lane(ring_messages);
            let (request_in, request_out) = lane(ring_messages);
            endpoints[from].outgoing[to] = Some([response_in, request_in]);
            endpoints[to].incoming[from] = Some([response_out, request_out]);
        }
    }
    Ok(endpoints)
}

fn lane<M>(ring_messages: usize) -> (Outgoing<M>, Incoming<M>) {
    let (sender, receiver) = RingBuffer::new(ring_messages);
    let starved = Arc::new(AtomicBool::new(false));
    (
        Outgoing { ring: sender, waiting: VecDeque::new(), starved: Arc::clone(&starved) },
        Incoming { ring: receiver, starved },
    )
}

impl<M> Endpoint<M> {
    /// The bell of the executor that this endpoint belongs to.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bells[self.index]
    }
}

/// What an executor does with a message: sender's index, message.
type OnMessage<M> = Box<dyn FnMut(usize, M)>;

/// The lanes to and from the other executors, for those who have messages of type `M` for each other. Clones are cheap and
/// stay on this thread.
pub struct Mesh<M> {
    core: Rc<Core<M>>,
}

struct Core<M> {
    index: usize,
    outgoing: RefCell<Vec<Option<[Outgoing<M>; 2]>>>,
    incoming: RefCell<Vec<Option<[Incoming<M>; 2]>>>,
    /// Messages that one lane holds at most, the ring included, before [`Mesh::try_send`] refuses.
    lane_messages: usize,
    /// Messages that wait here, for all others together.
    waiting: Cell<usize>,
    bells: Arc<[Arc<Bell>]>,
    on_message: RefCell<Option<OnMessage<M>>>,
}

impl<M> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        Mesh { core: Rc::clone(&self.core) }
    }
}

impl<M> Mesh<M> {
    pub(crate) fn new(endpoint: Endpoint<M>) -> Mesh<M> {
        let core = Core {
            index: endpoint.index,
            outgoing: RefCell::new(endpoint.outgoing),
            incoming: RefCell::new(endpoint.incoming),
            lane_messages: endpoint.lane_messages,
            waiting: Cell::new(0),
            bells: endpoint.bells,
            on_message: RefCell::new(None),
        };
        Mesh { core: Rc::new(core) }
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.core.bells[self.core.index]
    }

    /// Sends a message to another executor. Gives it back when that lane is full, when too much waits
    /// here for others, or when the executor has ended. To send to oneself is a bug and panics.
    pub fn try_send(&self, to: usize, lane: Lane, message: M) -> Result<(), M> {
        self.push(to, lane, message, Some(4))
    }

    /// The same for messages of which a client may send very many at once: a quarter of the lane stays free for others.
    pub fn try_send_bulk(&self, to: usize, lane: Lane, message: M) -> Result<(), M> {
        self.push(to, lane, message, Some(3))
    }

    /// Sends a message that must arrive: what does not fit waits here, in order. Who sends without being asked by that
    /// executor looks at [`Mesh::is_behind`] first.
    pub fn send(&self, to: usize, lane: Lane, message: M) {
        let sent = self.push(to, lane, message, None);
        assert!(sent.is_ok(), "there is always room to wait");
    }

    /// `quarters`: how much of what a lane may hold, the ring included, and of what may wait here, this message may fill.
    fn push(&self, to: usize, lane: Lane, message: M, quarters: Option<usize>) -> Result<(), M> {
        let core = &self.core;
        assert!(to != core.index, "executor {to} sends to itself");
        assert!(to < core.bells.len(), "executor {to} does not exist");
        let mut outgoing = core.outgoing.borrow_mut();
        let Some(lanes) = &mut outgoing[to] else { unreachable!("all others are connected") };
        let lane = &mut lanes[lane.slot()];
        if quarters.is_some() && lane.ring.is_abandoned() {
            return Err(message);
        }
        let message = if lane.waiting.is_empty() {
            match lane.ring.push(message) {
                Ok(()) => {
                    core.bells[to].ring_if_waiting();
                    return Ok(());
                }
                Err(PushError::Full(message)) => message,
            }
        } else {
            message
        };
        if let Some(quarters) = quarters {
            let messages_max = core.lane_messages * quarters / 4;
            let room = messages_max.saturating_sub(lane.ring.buffer().capacity());
            let waiting_max = WAITING_MESSAGES_MAX * quarters / 4;
            if lane.waiting.len() >= room || core.waiting.get() >= waiting_max {
                return Err(message);
            }
        }
        lane.waiting.push_back(message);
        core.waiting.set(core.waiting.get() + 1);
        self.flush_lane(to, lane);
        Ok(())
    }

    fn flush_lane(&self, to: usize, lane: &mut Outgoing<M>) {
        let moved = lane.flush();
        if moved > 0 {
            self.core.waiting.set(self.core.waiting.get() - moved);
            self.core.bells[to].ring_if_waiting();
            // Requests of who was behind lie there, and are taken again.
            self.bell().ring_if_waiting();
        }
    }

    /// Passes on what waits here and fits by now. The doorbell's task does so, too, when it hears of room.
    pub fn flush(&self) {
        if self.core.waiting.get() == 0 {
            return;
        }
        for (to, lanes) in self.core.outgoing.borrow_mut().iter_mut().enumerate() {
            for lane in lanes.iter_mut().flatten().filter(|lane| !lane.waiting.is_empty()) {
                self.flush_lane(to, lane);
            }
        }
    }

    /// Messages for all others that did not fit their lanes and wait here.
    pub fn waiting(&self) -> usize {
        self.core.waiting.get()
    }

    /// Whether an executor has left so many responses untaken that it is to be given no more work, nor any from it taken.
    pub fn is_behind(&self, executor: usize) -> bool {
        // As long as little waits for all of them together, nobody is.
        if self.core.waiting.get() < self.core.lane_messages {
            return false;
        }
        let outgoing = self.core.outgoing.borrow();
        let lanes = outgoing.get(executor).and_then(Option::as_ref);
        lanes.is_some_and(|lanes| {
            lanes[Lane::Response.slot()].waiting.len() >= self.core.lane_messages
        })
    }

    /// The first executor that is behind.
    pub fn first_behind(&self) -> Option<usize> {
        (0..self.core.bells.len()).find(|executor| self.is_behind(*executor))
    }

    /// Installs what happens with messages of others (sender's index, message); to be called once. Messages that came
    /// earlier are kept. The handler is called from the doorbell's task, many messages in a row, and must not wait.
    pub fn receive(&self, on_message: impl FnMut(usize, M) + 'static) {
        let before = self.core.on_message.borrow_mut().replace(Box::new(on_message));
        assert!(before.is_none(), "receive was called twice on executor {}", self.core.index);
        self.bell().ring();
    }

    /// Forgets the handler, which usually holds this mesh.
    pub(crate) fn forget_handler(&self) {
        let handler = self.core.on_message.borrow_mut().take();
        drop(handler);
    }

    /// Whether [`Mesh::drain`] would find something to do.
    pub(crate) fn has_messages(&self) -> bool {
        if self.core.waiting.get() > 0 {
            let outgoing = self.core.outgoing.borrow();
            if outgoing.iter().flatten().flatten().any(Outgoing::can_flush) {
                return true;
            }
        }
        if self.core.on_message.borrow().is_none() {
            return false;
        }
        let incoming = self.core.incoming.borrow();
        incoming.iter().enumerate().any(|(from, lanes)| {
            let lanes = lanes.iter().flat_map(|lanes| lanes.iter().enumerate());
            lanes.into_iter().any(|(slot, lane)| self.is_open(from, slot) && !lane.ring.is_empty())
        })
    }

    /// Whether messages of this lane are taken: who does not take its responses is not served.
    fn is_open(&self, from: usize, slot: usize) -> bool {
        slot == Lane::Response.slot() || !self.is_behind(from)
    }

    /// Hands messages to the handler, a batch from each lane in turn, until all lanes are empty (true) or `is_spent` says
    /// so (false: yield and come back). Every lane had its turn by then.
    pub(crate) fn drain(&self, is_spent: impl Fn() -> bool) -> bool {
        self.flush();
        let mut on_message = self.core.on_message.borrow_mut();
        let Some(on_message) = on_message.as_mut() else { return true };
        let mut incoming = self.core.incoming.borrow_mut();
        loop {
            let mut taken = 0;
            for (from, lanes) in incoming.iter_mut().enumerate() {
                for (slot, lane) in lanes.iter_mut().flat_map(|lanes| lanes.iter_mut().enumerate())
                {
                    if !self.is_open(from, slot) {
                        continue;
                    }
                    let (batch, starved) =
                        lane.take_batch(&is_spent, |message| on_message(from, message));
                    taken += batch;
                    if starved {
                        self.core.bells[from].ring_if_waiting();
                    }
                }
            }
            if taken == 0 {
                return true;
            }
            if is_spent() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE_MESSAGES: usize = 2_000;
    const RESPONSE: u64 = u64::MAX;

    fn pair() -> [Mesh<u64>; 2] {
        pair_of(LANE_MESSAGES)
    }

    fn pair_of(lane_messages: usize) -> [Mesh<u64>; 2] {
        let ends = connect_all(2, lane_messages).unwrap();
        ends.into_iter().map(Mesh::new).collect::<Vec<_>>().try_into().ok().unwrap()
    }

    /// Everything that a mesh receives goes there.
    fn receive(mesh: &Mesh<u64>) -> Rc<RefCell<Vec<u64>>> {
        let received = Rc::new(RefCell::new(Vec::new()));
        let taken = Rc::clone(&received);
        mesh.receive(move |_, number| taken.borrow_mut().push(number));
        received
    }

    #[test]
    fn what_clients_send_in_bulk_leaves_room_for_others() {
        let lane_messages = 4 * RING_MESSAGES_MAX;
        let [a, _b] = pair_of(lane_messages);
        let bulk = (0..).take_while(|_| a.try_send_bulk(1, Lane::Request, 0).is_ok()).count();
        let others = (0..).take_while(|_| a.try_send(1, Lane::Request, 0).is_ok()).count();
        assert_eq!((bulk, others), (lane_messages / 4 * 3, lane_messages / 4));
    }

    #[test]
    fn what_does_not_fit_a_ring_waits_and_arrives_in_order() {
        let [a, b] = pair();
        let received = receive(&b);
        for number in 0..LANE_MESSAGES as u64 {
            a.try_send(1, Lane::Request, number).unwrap();
        }
        assert_eq!(a.try_send(1, Lane::Request, 0), Err(0), "the lane is full");
        assert_eq!(a.try_send(1, Lane::Response, RESPONSE), Ok(()), "the other lane is not");
        assert!(!a.has_messages(), "nothing fits");
        while received.borrow().len() <= LANE_MESSAGES {
            b.drain(|| false);
            assert!(a.core.waiting.get() == 0 || a.has_messages(), "room wakes the sender");
            a.drain(|| false);
        }
        let mut received = received.borrow().clone();
        let response = received.iter().position(|number| *number == RESPONSE).unwrap();
        received.remove(response);
        assert!(received.into_iter().eq(0..LANE_MESSAGES as u64));
    }

    #[test]
    fn whose_time_is_spent_takes_some_of_each_lane_and_no_whole_batch() {
        let [a, b] = pair();
        let received = receive(&b);
        for number in 0..20 {
            a.send(1, Lane::Request, number);
            a.send(1, Lane::Response, 100 + number);
        }
        assert!(!b.drain(|| true));
        let mut taken = received.take();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3, 100, 101, 102, 103]);
    }

    /// The sender fills the room of a batch at each point of that batch, and then waits for its bell.
    #[test]
    fn a_request_for_more_room_outlasts_the_batch_whose_room_was_filled() {
        for (lane_messages, filled_after) in
            (1..=BATCH_MESSAGES).map(|at| (LANE_MESSAGES, at)).chain((1..=8).map(|at| (8, at)))
        {
            let [a, b] = pair_of(lane_messages);
            let (sender, taken) = (a.clone(), Rc::new(Cell::new(0)));
            let counted = Rc::clone(&taken);
            b.receive(move |_, _| {
                counted.set(counted.get() + 1);
                if counted.get() == filled_after {
                    sender.flush();
                }
            });
            let ring = ring_messages(2, lane_messages);
            for number in 0..(ring + lane_messages.max(BATCH_MESSAGES)) as u64 {
                a.send(1, Lane::Response, number);
            }
            b.drain(|| taken.get() >= BATCH_MESSAGES.min(ring));
            a.bell().announce_wait();
            while a.has_messages() {
                a.drain(|| false);
                a.bell().announce_wait();
            }
            if a.core.waiting.get() > 0 {
                b.drain(|| false);
                let rung = !a.bell().waiting.load(Ordering::SeqCst);
                assert!(rung, "{lane_messages}, {filled_after}: waits for ever");
            }
        }
    }

    #[test]
    fn who_takes_no_responses_is_not_served() {
        let [a, b] = pair();
        let (at_a, at_b) = (receive(&a), receive(&b));
        for number in 0..3 * LANE_MESSAGES as u64 {
            a.send(1, Lane::Response, number);
        }
        assert!(a.is_behind(1));
        b.send(0, Lane::Request, 7);
        b.send(0, Lane::Response, 8);
        assert!(a.has_messages());
        a.drain(|| false);
        assert_eq!(*at_a.borrow(), [8], "only its responses are taken");
        assert!(!a.has_messages());
        while at_b.borrow().len() < 3 * LANE_MESSAGES {
            b.drain(|| false);
            a.drain(|| false);
        }
        a.drain(|| false);
        assert!(!a.is_behind(1));
        assert_eq!(*at_a.borrow(), [8, 7]);
    }

    #[test]
    fn lanes_of_many_executors_stay_small() {
        const MESSAGE_BYTES: usize = 128;
        let mib = |executors| lanes_bytes(executors, 16_384, MESSAGE_BYTES) >> 20;
        assert_eq!(mib(1), 0);
        assert_eq!([mib(2), mib(8), mib(16), mib(64), mib(256)], [4, 23, 47, 191, 1_532]);
    }
}
