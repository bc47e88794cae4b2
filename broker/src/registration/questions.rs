//! Questions to name servers that are no part of a registration, over its connections: what is to be sent, and who waits
//! for which answer until when. Pure: `peer` sends, hands in answers and looks at the clock.
//!
//! What always holds: who asks hears, at the latest at its deadline; with the connection, or when the broker stops, at once.
//! Opaques are negative, those of registrations are not, so that neither takes the other's answer.

use crate::one_shot::OneShot;
use proto::command::Header;
use remoting::Calls;
use runtime::Uptime;
use std::collections::VecDeque;

/// Questions to all name servers that may wait for an answer, and to one of them that may wait to be sent; further ones are
/// not asked.
const QUESTIONS_MAX: usize = 1_024;
/// What makes the number of a question an opaque.
const OPAQUES: i32 = i32::MIN;

/// What a name server answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Response code.
    pub code: i32,
    /// Body.
    pub body: Vec<u8>,
}

/// Questions to the name servers of one broker, which are addressed by index.
pub(super) struct Questions {
    calls: Calls<usize, OneShot<Option<Answer>>>,
    /// By name server: frames.
    unsent: Vec<VecDeque<Vec<u8>>>,
    stopped: bool,
}

impl Questions {
    /// None yet, to so many name servers.
    pub(super) fn new(servers: usize) -> Questions {
        let unsent = (0..servers).map(|_| VecDeque::new()).collect();
        Questions { calls: Calls::new(QUESTIONS_MAX), unsent, stopped: false }
    }

    /// One more name server, behind the others.
    pub(super) fn add_server(&mut self) {
        self.unsent.push(VecDeque::new());
    }

    /// Asks a name server: `frame` makes the request with the opaque that it is given. What is awaited is `None` when no
    /// answer comes until `deadline`.
    pub(super) fn ask(
        &mut self,
        server: usize,
        deadline: Uptime,
        frame: impl FnOnce(i32) -> Vec<u8>,
    ) -> OneShot<Option<Answer>> {
        let answer = OneShot::default();
        let unsent = self.unsent.get_mut(server).filter(|unsent| unsent.len() < QUESTIONS_MAX);
        let Some(unsent) = unsent.filter(|_| !self.stopped) else {
            answer.set(None);
            return answer;
        };
        match self.calls.insert(server, deadline, answer.clone()) {
            Ok(number) => unsent.push_back(frame(number ^ OPAQUES)),
            Err(answer) => answer.set(None),
        }
        answer
    }

    /// The next frame to be sent to a name server.
    pub(super) fn take_unsent(&mut self, server: usize) -> Option<Vec<u8>> {
        self.unsent.get_mut(server)?.pop_front()
    }

    /// A response has come. True: it answers a question, perhaps one for which nobody waits any more.
    pub(super) fn answered(&mut self, server: usize, header: &Header<'_>, body: &[u8]) -> bool {
        if header.opaque >= 0 {
            return false;
        }
        if let Some(waiting) = self.calls.complete(server, header.opaque ^ OPAQUES) {
            waiting.set(Some(Answer { code: header.code, body: body.to_vec() }));
        }
        true
    }

    /// The connection to a name server has ended, and with it what it was asked.
    pub(super) fn lost(&mut self, server: usize) {
        if let Some(unsent) = self.unsent.get_mut(server) {
            unsent.clear();
        }
        end_all(self.calls.drop_connection(server));
    }

    /// Ends what was not answered in time.
    pub(super) fn expire(&mut self, now: Uptime) {
        end_all(self.calls.expire(now));
    }

    /// The broker stops: ends all questions, and asks no more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.unsent.iter_mut().for_each(VecDeque::clear);
        end_all(self.calls.expire(Uptime::MAX));
    }
}

fn end_all(waiting: Vec<OneShot<Option<Answer>>>) {
    waiting.into_iter().for_each(|waiting| waiting.set(None));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{
        command::{HeaderArena, ResponseHead, decode, write_response},
        frame::{HeaderKind, next_frame},
    };
    use runtime::sim::block_on;

    fn at(ms: i64) -> Uptime {
        Uptime::from_ms(ms)
    }

    /// Asks a name server; what is awaited, and the opaque.
    fn ask(
        questions: &mut Questions,
        server: usize,
        deadline: i64,
    ) -> (OneShot<Option<Answer>>, i32) {
        let mut used = 0;
        let awaited = questions.ask(server, at(deadline), |opaque| {
            used = opaque;
            opaque.to_le_bytes().to_vec()
        });
        (awaited, used)
    }

    fn answer(questions: &mut Questions, server: usize, opaque: i32) -> bool {
        let head = ResponseHead { code: 17, opaque, remark: None, ext: &[] };
        let mut bytes = Vec::new();
        write_response(&mut bytes, HeaderKind::Json, &head, b"body");
        let frame = next_frame(&bytes).expect("ours").expect("whole");
        let mut arena = HeaderArena::default();
        let header = decode(frame.kind, frame.header, &mut arena).expect("ours");
        questions.answered(server, &header, frame.body)
    }

    #[test]
    fn who_asks_hears_the_answer_of_whom_it_has_asked() {
        let mut questions = Questions::new(2);
        let (awaited, opaque) = ask(&mut questions, 1, 100);
        assert!(opaque < 0);
        assert_eq!(questions.take_unsent(0), None);
        assert_eq!(questions.take_unsent(1), Some(opaque.to_le_bytes().to_vec()));
        assert_eq!(questions.take_unsent(1), None, "it is sent once");
        assert!(answer(&mut questions, 0, opaque), "it is a question's, but another one's");
        assert!(block_on(awaited.wait()).is_none(), "still waiting");
        assert!(!answer(&mut questions, 1, 7), "a registration's");
        assert!(answer(&mut questions, 1, opaque));
        let heard = Answer { code: 17, body: b"body".to_vec() };
        assert_eq!(block_on(awaited.wait()), Some(Some(heard)));
        assert!(answer(&mut questions, 1, opaque), "once more, and nobody waits");
    }

    #[test]
    fn who_hears_nothing_hears_of_that() {
        let mut questions = Questions::new(2);
        let (late, _) = ask(&mut questions, 0, 100);
        let (lost, _) = ask(&mut questions, 1, 500);
        questions.expire(at(100));
        assert_eq!(block_on(late.wait()), Some(None));
        questions.lost(1);
        assert_eq!(block_on(lost.wait()), Some(None));
        assert_eq!(questions.take_unsent(1), None, "the next connection was not asked");
        let (nobody, _) = ask(&mut questions, 2, 500);
        assert_eq!(block_on(nobody.wait()), Some(None), "there is no third one");
        let (open, _) = ask(&mut questions, 0, 500);
        questions.stop();
        assert_eq!(block_on(open.wait()), Some(None));
        let (after, _) = ask(&mut questions, 0, 500);
        assert_eq!((block_on(after.wait()), questions.take_unsent(0)), (Some(None), None));
    }

    #[test]
    fn there_are_no_more_questions_than_the_limit() {
        let mut questions = Questions::new(1);
        let waiting: Vec<_> = (0..QUESTIONS_MAX).map(|_| ask(&mut questions, 0, 100).0).collect();
        let (refused, _) = ask(&mut questions, 0, 100);
        assert_eq!(block_on(refused.wait()), Some(None));
        questions.expire(at(100));
        assert!(waiting.iter().all(|waiting| block_on(waiting.wait()) == Some(None)));
        let (refused, _) = ask(&mut questions, 0, 200);
        assert_eq!(block_on(refused.wait()), Some(None), "nothing of it was sent");
        while questions.take_unsent(0).is_some() {}
        let (awaited, opaque) = ask(&mut questions, 0, 200);
        assert!(answer(&mut questions, 0, opaque));
        assert!(matches!(block_on(awaited.wait()), Some(Some(_))));
    }
}
