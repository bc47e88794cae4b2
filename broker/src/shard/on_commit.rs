//! What waits for the log to be committed: responses, and steps of the broker's own. In log order.

use crate::response::{Responder, Response};
use std::{cell::RefCell, collections::VecDeque};
use store::StoreState;

/// A step of the broker's own: it may append, and says what has to happen when that is committed.
pub type InternalStep = Box<dyn FnOnce(&mut StoreState, i64) -> Option<(u64, OnCommit)>>;

/// What happens when a position is committed.
pub enum OnCommit {
    /// A request is answered.
    Respond(Responder, Response),
    /// The broker goes on with something, at a time, ms.
    Internal(InternalStep),
}

/// What waits for the commit, each with its position.
#[derive(Default)]
pub struct CommitQueue {
    waiting: VecDeque<(u64, OnCommit)>,
}

impl CommitQueue {
    /// Adds what happens once the log is committed up to `until`. Positions never go back.
    pub fn push(&mut self, until: u64, step: OnCommit) {
        debug_assert!(self.waiting.back().is_none_or(|(last, _)| *last <= until));
        self.waiting.push_back((until, step));
    }

    /// The next one whose position is committed.
    pub fn take_committed(&mut self, committed: u64) -> Option<OnCommit> {
        self.waiting.pop_front_if(|(until, _)| *until <= committed).map(|(_, step)| step)
    }

    /// All that waits: the log will commit no more.
    pub fn take_all(&mut self) -> impl Iterator<Item = OnCommit> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|(_, step)| step)
    }

    /// How much waits.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Does what the commit up to a position lets happen. The queue is not borrowed meanwhile, so a step may append and add
/// to it; what it adds lies behind the position and waits for the next commit.
pub fn cross(queue: &RefCell<CommitQueue>, committed: u64, mut run: impl FnMut(OnCommit)) {
    loop {
        let next = queue.borrow_mut().take_committed(committed);
        match next {
            Some(step) => run(step),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{append, responder};

    /// A message whose commit makes the broker append another one, whose commit is answered: as a retry that moves on
    /// to the queue of given-up messages.
    #[test]
    fn a_step_appends_and_its_own_commit_is_answered() {
        let state = RefCell::new(StoreState::unwritten(0));
        let queue = RefCell::new(CommitQueue::default());
        let first = append(&mut state.borrow_mut(), "retry", 0);
        let step: InternalStep = Box::new(|state, _now| {
            let second = append(state, "given-up", 0);
            Some((second, OnCommit::Respond(responder(7), Response::Done)))
        });
        queue.borrow_mut().push(first, OnCommit::Internal(step));
        let mut answered = Vec::new();
        let mut commit = |committed| {
            cross(&queue, committed, |step| match step {
                OnCommit::Internal(step) => {
                    if let Some((until, next)) = step(&mut state.borrow_mut(), 0) {
                        queue.borrow_mut().push(until, next);
                    }
                }
                OnCommit::Respond(mut responder, _) => {
                    responder.spend();
                    answered.push(responder.opaque);
                }
            });
            (answered.clone(), state.borrow().log.appended())
        };
        assert_eq!(commit(first - 1), (vec![], first), "not before its commit");
        let (answered, second) = commit(first);
        assert!(answered.is_empty() && second > first, "appended, and not committed");
        assert_eq!(commit(second), (vec![7], second));
        assert!(queue.borrow().is_empty());
    }
}
