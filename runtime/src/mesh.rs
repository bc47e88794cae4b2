//! Lanes between executors: a bounded ring per ordered pair and direction of talk, one doorbell per executor.
//!
//! The library's own channels wake a foreign executor through its internal notifier, which is the main cause of lost
//! wakes (one in 110-220 messages). Here the bell is an eventfd that the receiver polls like a socket. A sender rings
//! only when the receiver has said that it waits:
//!
//! | sender                         | receiver                                   |
//! |--------------------------------|--------------------------------------------|
//! | push                           | `waiting` = true                           |
//! | fence                          | fence                                      |
//! | `waiting`? set false and ring  | look again; still empty: wait for the bell |
//!
//! Both fences are sequentially consistent, so at least one side sees the other: either the sender rings or the
//! receiver finds the message. Order holds within a lane, not between lanes.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
};

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

use crate::task_budget::TaskBudget;

/// Messages taken from one lane before the next lane gets its chance.
const BATCH_MESSAGES: usize = 64;

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

/// The doorbell of one executor.
pub(crate) struct Bell {
    counter: OwnedFd,
    waiting: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let counter = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Bell { counter, waiting: AtomicBool::new(false) })
    }

    /// Rings whether or not anybody waits.
    pub(crate) fn ring(&self) {
        // Fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&self.counter, &1_u64.to_ne_bytes());
    }

    /// Rings if the owner waits. To be called after the message was pushed.
    fn ring_if_waiting(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) && self.waiting.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Says that the owner is about to wait. It must look at its lanes once more after this.
    pub(crate) fn announce_wait(&self) {
        self.waiting.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Says that the owner is awake and will look at its lanes.
    pub(crate) fn end_wait(&self) {
        // Empty when the owner did not sleep at all.
        let _ = rustix::io::read(&self.counter, &mut [0_u8; 8]);
        self.waiting.store(false, Ordering::SeqCst);
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.counter.as_raw_fd()
    }
}

/// One executor's ends of all lanes, before they move to its thread. The entry for itself is `None`.
pub(crate) struct Endpoint<M> {
    index: usize,
    outgoing: Vec<Option<[Producer<M>; 2]>>,
    incoming: Vec<Option<[Consumer<M>; 2]>>,
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
            bells: Arc::clone(&bells),
        })
        .collect();
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            let (reply_in, reply_out) = RingBuffer::new(lane_messages);
            let (request_in, request_out) = RingBuffer::new(lane_messages);
            endpoints[from].outgoing[to] = Some([reply_in, request_in]);
            endpoints[to].incoming[from] = Some([reply_out, request_out]);
        }
    }
    Ok(endpoints)
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
    outgoing: RefCell<Vec<Option<[Producer<M>; 2]>>>,
    incoming: RefCell<Vec<Option<[Consumer<M>; 2]>>>,
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
            bells: endpoint.bells,
            on_message: RefCell::new(None),
        };
        Mesh { core: Rc::new(core) }
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.core.bells[self.core.index]
    }

    /// Sends a message to another executor. Gives it back when that lane is full or the executor has ended.
    /// To send to oneself is a bug and panics.
    pub fn try_send(&self, to: usize, lane: Lane, message: M) -> Result<(), M> {
        let core = &self.core;
        assert!(to != core.index, "executor {to} sends to itself");
        assert!(to < core.bells.len(), "executor {to} does not exist");
        let mut outgoing = core.outgoing.borrow_mut();
        let Some(lanes) = &mut outgoing[to] else { unreachable!("all others are connected") };
        let producer = &mut lanes[lane.slot()];
        if producer.is_abandoned() {
            return Err(message);
        }
        producer.push(message).map_err(|PushError::Full(message)| message)?;
        core.bells[to].ring_if_waiting();
        Ok(())
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

    /// Whether [`Mesh::drain`] would find something.
    pub(crate) fn has_messages(&self) -> bool {
        if self.core.on_message.borrow().is_none() {
            return false;
        }
        let incoming = self.core.incoming.borrow();
        incoming.iter().flatten().flatten().any(|consumer| !consumer.is_empty())
    }

    /// Hands messages to the handler, a batch from each lane in turn, until all lanes are empty (true) or the task's
    /// budget is spent (false: yield and come back).
    pub(crate) fn drain(&self, budget: &TaskBudget) -> bool {
        let mut on_message = self.core.on_message.borrow_mut();
        let Some(on_message) = on_message.as_mut() else { return true };
        let mut incoming = self.core.incoming.borrow_mut();
        loop {
            let mut taken = 0;
            for (from, lanes) in incoming.iter_mut().enumerate() {
                for consumer in lanes.iter_mut().flatten() {
                    taken += take_batch(consumer, |message| on_message(from, message));
                }
            }
            budget.progress(taken);
            if taken == 0 {
                return true;
            }
            if budget.is_spent() {
                return false;
            }
        }
    }
}

/// Takes at most [`BATCH_MESSAGES`] from a lane and returns how many.
fn take_batch<M>(consumer: &mut Consumer<M>, mut on_message: impl FnMut(M)) -> u64 {
    let mut taken = 0;
    for _ in 0..BATCH_MESSAGES {
        let Ok(message) = consumer.pop() else { break };
        on_message(message);
        taken += 1;
    }
    taken
}
