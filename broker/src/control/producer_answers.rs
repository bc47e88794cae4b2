//! Answers that name all producers (GET_ALL_PRODUCER_INFO). One is made at a time, for all who asked before it was begun, and
//! what slow readers hold of former ones is bounded: beyond it nobody gets a newer one. `handlers::producers` makes them.

use crate::{error::Refusal, limits::Semaphore};
use proto::{code::response, frame::FRAME_BYTES_MAX};
use remoting::{BodyPiece, SharedBody};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Bytes of a body: what a frame holds besides its header, for which this is more than enough.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64 * 1024;
/// Former answers may hold this part of what clients may take up.
const FORMER_PART: usize = 4;
/// Who waits for an answer to be made; each is a request in its connection's limit.
const WAITING_MAX: usize = 4_096;

/// All of them.
pub struct ProducerAnswers {
    /// Who may make one.
    pub turns: Rc<Semaphore>,
    /// How many were begun.
    begun: Cell<u64>,
    /// The one that was made last, with its number.
    last: RefCell<Option<(u64, SharedBody)>>,
    /// Those before that somebody still reads.
    former: RefCell<Vec<SharedBody>>,
}

impl Default for ProducerAnswers {
    fn default() -> ProducerAnswers {
        ProducerAnswers {
            turns: Semaphore::new(1, WAITING_MAX),
            begun: Cell::default(),
            last: RefCell::default(),
            former: RefCell::default(),
        }
    }
}

impl ProducerAnswers {
    /// The number of the answer that was begun last: who asks now gets a later one.
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// The answer that was made last, if it was begun after this number was.
    pub fn made_since(&self, asked: u64) -> Option<SharedBody> {
        let last = self.last.borrow();
        last.as_ref().filter(|(number, _)| *number > asked).map(|(_, body)| body.clone())
    }

    /// Begins a new one. Refused while slow readers hold too much of former ones; clients may take up `members_bytes_max`.
    pub fn begin(&self, members_bytes_max: usize) -> Result<(), Refusal> {
        self.release();
        let held: usize = self.former.borrow().iter().map(SharedBody::len).sum();
        let limit = members_bytes_max / FORMER_PART;
        if held > limit {
            let remark = format!(
                "[OVERLOAD] reason=slow-readers held={held} limit={limit} (memoryBudgetMiB): former answers with all producers are still being read"
            );
            return Err(Refusal::new(response::SYSTEM_BUSY, remark));
        }
        self.begun.set(self.begun.get() + 1);
        Ok(())
    }

    /// It is made.
    pub fn done(&self, json: Vec<u8>) -> SharedBody {
        let body = SharedBody::new(vec![BodyPiece::new(json.into(), 0)]);
        self.last.replace(Some((self.begun.get(), body.clone())));
        body
    }

    /// Lets go of what nobody reads any more.
    pub fn release(&self) {
        let mut former = self.former.borrow_mut();
        former.extend(self.last.take().map(|(_, body)| body));
        former.retain(|body| body.holders() > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_before_an_answer_was_begun_gets_it_and_nobody_else() {
        let answers = ProducerAnswers::default();
        let early = answers.begun();
        answers.begin(1_000).expect("nothing is held");
        let late = answers.begun();
        let body = answers.done(b"{}".to_vec());
        assert_eq!(answers.made_since(early).expect("asked before").to_vec(), body.to_vec());
        assert!(answers.made_since(late).is_none(), "what changed meanwhile is not in it");
    }

    #[test]
    fn what_slow_readers_hold_is_bounded() {
        let answers = ProducerAnswers::default();
        answers.begin(100).expect("nothing is held");
        let read = answers.done(vec![0; 26]);
        let refusal = answers.begin(100).expect_err("it is read");
        assert_eq!(refusal.code, response::SYSTEM_BUSY);
        assert!(refusal.remark.contains("held=26 limit=25"), "{}", refusal.remark);
        drop(read);
        answers.begin(100).expect("nobody reads it any more");
        let read = answers.done(vec![0; 20]);
        answers.begin(100).expect("few hold little");
        drop(read);
    }
}
