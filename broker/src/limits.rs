//! Limits of what is served by tasks on one worker: how many are open, how many of one kind run at a time, and what they hold.

use crate::{error::Refusal, fair_queue::FairQueue, one_shot::OneShot};
use proto::code::response;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    hash::Hash,
    rc::Rc,
};

/// Administrative requests of one worker that may be open: each is a task. More are refused. A herd of clients that
/// come back at once waits for one write of the metadata journal, so the limit is above any herd that one worker holds.
const OPEN_REQUESTS_MAX: usize = 16_384;

/// Counts administrative requests that are open.
#[derive(Clone, Default)]
pub struct OpenRequests(Rc<Cell<usize>>);

impl OpenRequests {
    /// Room for one more until the permit is dropped, or SYSTEM_BUSY with numbers.
    pub fn try_open(&self) -> Result<OpenRequest, Refusal> {
        let open = self.0.get();
        if open >= OPEN_REQUESTS_MAX {
            let remark =
                format!("[OVERLOAD] reason=open-requests open={open} limit={OPEN_REQUESTS_MAX}");
            return Err(Refusal::new(response::SYSTEM_BUSY, remark));
        }
        self.0.set(open + 1);
        Ok(OpenRequest(self.clone()))
    }
}

/// One administrative request that is open.
pub struct OpenRequest(OpenRequests);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let open = &self.0.0;
        open.set(open.get() - 1);
    }
}

/// Bytes that requests of one kind hold while they wait for somebody.
pub struct HeldBytes {
    held: Cell<usize>,
    most: usize,
}

/// Some of them, until this is dropped.
pub struct Held {
    of: Rc<HeldBytes>,
    bytes: usize,
}

impl HeldBytes {
    /// At most so many, or one request that is larger.
    pub fn new(most: usize) -> Rc<HeldBytes> {
        Rc::new(HeldBytes { held: Cell::new(0), most })
    }

    /// What is held now, and the most that may be.
    pub fn level(&self) -> (usize, usize) {
        (self.held.get(), self.most)
    }

    /// Holds so many more, or SYSTEM_BUSY with numbers.
    pub fn try_hold(self: &Rc<Self>, what: &str, bytes: usize) -> Result<Held, Refusal> {
        let (held, most) = (self.held.get(), self.most);
        if held > 0 && held + bytes > most {
            let remark =
                format!("[OVERLOAD] reason={what} held={held} wanted={bytes} limit={most}");
            return Err(Refusal::new(response::SYSTEM_BUSY, remark));
        }
        self.held.set(held + bytes);
        Ok(Held { of: Rc::clone(self), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held.set(self.of.held.get() - self.bytes);
    }
}

/// Lets some run at a time and others wait, both bounded.
pub struct Semaphore {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<OneShot<()>>>,
    waiting_max: usize,
}

impl Semaphore {
    /// `running_max` run at a time, `waiting_max` wait.
    pub fn new(running_max: usize, waiting_max: usize) -> Rc<Semaphore> {
        Rc::new(Semaphore {
            free: Cell::new(running_max),
            waiting: RefCell::default(),
            waiting_max,
        })
    }

    /// Waits until it may run, in order of arrival; it does so until the permit is dropped. The error is the limit:
    /// as many wait already.
    pub async fn acquire(self: &Rc<Self>) -> Result<Permit, usize> {
        match self.free.get() {
            0 if self.waiting.borrow().len() >= self.waiting_max => return Err(self.waiting_max),
            0 => {
                let turn = OneShot::default();
                self.waiting.borrow_mut().push_back(turn.clone());
                // Whoever ends passes the permit on.
                turn.wait().await;
            }
            free => self.free.set(free - 1),
        }
        Ok(Permit(Rc::clone(self)))
    }
}

/// The right to run.
pub struct Permit(Rc<Semaphore>);

impl Drop for Permit {
    fn drop(&mut self) {
        let next = self.0.waiting.borrow_mut().pop_front();
        match next {
            Some(next) => next.set(()),
            None => self.0.free.set(self.0.free.get() + 1),
        }
    }
}

/// Lets some run at a time; of the others each asker has its turn, however much one of them wants.
pub struct Turns<K> {
    free: Cell<usize>,
    waiting: RefCell<FairQueue<K, OneShot<()>>>,
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// So many run at a time.
    pub fn new(running_max: usize) -> Rc<Turns<K>> {
        let waiting = RefCell::new(FairQueue::new(usize::MAX));
        Rc::new(Turns { free: Cell::new(running_max), waiting })
    }

    /// Waits until it is the asker's turn, which lasts until it is dropped.
    pub async fn take(self: &Rc<Self>, asker: K) -> MyTurn<K> {
        match self.free.get() {
            0 => {
                let turn = OneShot::default();
                self.waiting.borrow_mut().push(asker, turn.clone());
                // Whoever ends passes it on.
                turn.wait().await;
            }
            free => self.free.set(free - 1),
        }
        MyTurn(Rc::clone(self))
    }
}

/// The right to run.
pub struct MyTurn<K: Copy + Eq + Hash>(Rc<Turns<K>>);

impl<K: Copy + Eq + Hash> Drop for MyTurn<K> {
    fn drop(&mut self) {
        let next = self.0.waiting.borrow_mut().pop();
        match next {
            Some(next) => next.set(()),
            None => self.0.free.set(self.0.free.get() + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::block_on;

    #[test]
    fn held_bytes_are_bounded_but_for_one() {
        let bytes = HeldBytes::new(100);
        let large = bytes.try_hold("replies", 500).ok();
        assert!(large.is_some(), "alone it may be larger");
        let refused = bytes.try_hold("replies", 1).err().expect("full");
        assert_eq!(refused.remark, "[OVERLOAD] reason=replies held=500 wanted=1 limit=100");
        drop(large);
        let some: Vec<_> = (0..4).map(|_| bytes.try_hold("replies", 25)).collect();
        assert!(some.iter().all(Result::is_ok) && bytes.try_hold("replies", 1).is_err());
        drop(some);
        assert!(bytes.try_hold("replies", 100).is_ok());
    }

    #[test]
    fn what_is_over_the_limit_is_refused_with_numbers() {
        let requests = OpenRequests::default();
        let mut open: Vec<_> = (0..OPEN_REQUESTS_MAX).map(|_| requests.try_open()).collect();
        let refusal = requests.try_open().err().expect("it is full");
        assert_eq!(refusal.code, response::SYSTEM_BUSY);
        assert_eq!(refusal.remark, "[OVERLOAD] reason=open-requests open=16384 limit=16384");
        open.pop();
        assert!(requests.try_open().is_ok());
    }

    #[test]
    fn a_permit_goes_to_who_waits_longest() {
        let semaphore = Semaphore::new(1, 1);
        let Some(Ok(first)) = block_on(semaphore.acquire()) else { panic!("it is free") };
        assert!(block_on(semaphore.acquire()).is_none(), "it waits");
        assert_eq!(block_on(semaphore.acquire()).expect("at once").err(), Some(1), "too many");
        drop(first);
        assert_eq!(semaphore.free.get(), 0, "passed on");
        assert!(semaphore.waiting.borrow().is_empty());
    }
}
