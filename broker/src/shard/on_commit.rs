//! What waits for the log to be committed: responses, and steps of the broker's own. In log order.

use crate::{
    error::Refusal,
    response::{Responder, Response},
};
use std::{cell::RefCell, collections::VecDeque, time::Instant};
use store::StoreState;

/// A step of the broker's own, run exactly once: when its position is committed, or when that can never happen. It says
/// what comes next.
pub type InternalStep = Box<dyn FnOnce(StepOutcome<'_>) -> NextStep>;

/// What became of the position that an internal step waited for.
pub enum StepOutcome<'a> {
    /// It is committed: the step may append. The time, ms.
    Committed(&'a mut StoreState, i64),
    /// It will never be committed: whom the step would answer is refused.
    Refused(&'a Refusal),
}

/// What comes after an internal step.
pub enum NextStep {
    /// Nothing.
    Done,
    /// This, once the log, which the step appended to, is committed up to a position.
    Wait(u64, OnCommit),
    /// A request is answered now.
    Respond(Responder, Response),
}

/// What happens when a position is committed.
pub enum OnCommit {
    /// A request is answered.
    Respond(Responder, Response),
    /// The broker goes on with something.
    Internal(InternalStep),
}

/// When a send arrived at its connection, and how long it was on its way from there into the log: over the mesh, or
/// waiting for the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrived.
    pub at: Instant,
    /// How long it took until it was appended, us.
    pub on_way_us: u32,
}

impl Arrival {
    /// It arrived then, and is appended now.
    pub fn appended(at: Instant, now: Instant) -> Arrival {
        let on_way = now.saturating_duration_since(at).as_micros();
        Arrival { at, on_way_us: u32::try_from(on_way).unwrap_or(u32::MAX) }
    }
}

/// What waits for the commit, each with its position.
#[derive(Default)]
pub struct CommitQueue {
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    until: u64,
    /// Of a send.
    arrival: Option<Arrival>,
    step: OnCommit,
}

impl CommitQueue {
    /// Adds what happens once the log is committed up to `until`. Positions never go back.
    pub fn push(&mut self, until: u64, step: OnCommit) {
        self.push_of_send(until, None, step);
    }

    /// The same, of a send that came then.
    pub fn push_of_send(&mut self, until: u64, arrival: Option<Arrival>, step: OnCommit) {
        debug_assert!(self.waiting.back().is_none_or(|last| last.until <= until));
        self.waiting.push_back(Waiting { until, arrival, step });
    }

    /// The next one whose position is committed.
    pub fn take_committed(&mut self, committed: u64) -> Option<(OnCommit, Option<Arrival>)> {
        let next = self.waiting.pop_front_if(|waiting| waiting.until <= committed);
        next.map(|waiting| (waiting.step, waiting.arrival))
    }

    /// All that waits: the log will commit no more.
    pub fn take_all(&mut self) -> impl Iterator<Item = OnCommit> + use<> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.step)
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
pub fn cross(
    queue: &RefCell<CommitQueue>,
    committed: u64,
    mut run: impl FnMut(OnCommit, Option<Arrival>),
) {
    loop {
        let next = queue.borrow_mut().take_committed(committed);
        match next {
            Some((step, arrival)) => run(step, arrival),
            None => return,
        }
    }
}

/// Refuses all that waits: the log will commit no more. Internal steps hear of it, too: they may hold a responder.
pub fn refuse_all(
    queue: &RefCell<CommitQueue>,
    refusal: &Refusal,
    mut respond: impl FnMut(Responder, Response),
) {
    let waiting = queue.borrow_mut().take_all();
    for mut step in waiting {
        loop {
            step = match step {
                OnCommit::Respond(responder, _) => {
                    respond(responder, Response::SendRefused(Box::new(refusal.clone())));
                    break;
                }
                OnCommit::Internal(run) => match run(StepOutcome::Refused(refusal)) {
                    NextStep::Done => break,
                    NextStep::Respond(responder, response) => {
                        respond(responder, response);
                        break;
                    }
                    // What it wants to wait for is never committed either.
                    NextStep::Wait(_, next) => next,
                },
            }
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
        let step: InternalStep = Box::new(|outcome| {
            let StepOutcome::Committed(state, _) = outcome else { panic!("it is committed") };
            let second = append(state, "given-up", 0);
            NextStep::Wait(second, OnCommit::Respond(responder(7), Response::Done))
        });
        queue.borrow_mut().push(first, OnCommit::Internal(step));
        let mut answered = Vec::new();
        let mut commit = |committed| {
            cross(&queue, committed, |step, _| match step {
                OnCommit::Internal(step) => {
                    let next = step(StepOutcome::Committed(&mut state.borrow_mut(), 0));
                    let NextStep::Wait(until, next) = next else { panic!("it appended") };
                    queue.borrow_mut().push(until, next);
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

    /// Internal steps that hold a responder: none is forgotten when the log can commit no more.
    #[test]
    fn who_waits_inside_an_internal_step_is_refused_when_the_log_fails() {
        let queue = RefCell::new(CommitQueue::default());
        let answers = |responder: Responder| -> InternalStep {
            Box::new(|outcome| match outcome {
                StepOutcome::Committed(..) => panic!("it is not committed"),
                StepOutcome::Refused(refusal) => {
                    NextStep::Respond(responder, refusal.clone().into())
                }
            })
        };
        let (direct, behind) = (answers(responder(2)), answers(responder(3)));
        let waits_again: InternalStep =
            Box::new(|_| NextStep::Wait(40, OnCommit::Internal(behind)));
        for step in [
            OnCommit::Respond(responder(1), Response::Done),
            OnCommit::Internal(direct),
            OnCommit::Internal(waits_again),
            OnCommit::Internal(Box::new(|_| NextStep::Done)),
        ] {
            queue.borrow_mut().push(10, step);
        }
        let mut refused = Vec::new();
        refuse_all(&queue, &Refusal::new(14, "poisoned"), |mut responder, response| {
            responder.spend();
            let (Response::SendRefused(refusal) | Response::Refused(refusal)) = response else {
                panic!("nothing is acknowledged")
            };
            refused.push((responder.opaque, refusal.code));
        });
        assert_eq!(refused, [(1, 14), (2, 14), (3, 14)], "in log order");
        assert!(queue.borrow().is_empty());
    }
}
