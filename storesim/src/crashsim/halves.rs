//! Half messages: some are appended, looked at, and ended, most of them with the message that they become.

use super::{book::What, mutant::Mutation, waiting::AT_ONCE, work::DUE_MAX, work::Life};
use store::state::{
    ControlEntry, DerivedState,
    half_messages::{Ending, HALF_TOPIC, HalfCheck, HalfChecks, HalfOutcome},
};

impl Life<'_> {
    pub(super) fn work_on_halves(&mut self) {
        match self.history.rng.u8(0..8) {
            0..4 => {
                let queue = (HALF_TOPIC.to_owned(), self.history.rng.u32(0..2));
                self.append_behind(&queue, None);
            }
            4 => self.check_halves(),
            _ => self.end_half(),
        }
    }

    /// Looks at what is due, and notes that it was checked, as far as the log takes it.
    fn check_halves(&mut self) {
        let now = self.history.rng.i64(0..DUE_MAX);
        let mut due = Vec::new();
        self.store.state_mut().derived.half_messages.take_due(now, AT_ONCE, &mut due);
        self.history.summary.halves_checked += due.len() as u64;
        let (look, next) = (self.history.rng.i64(0..DUE_MAX), self.history.rng.i64(0..DUE_MAX));
        let checks: Vec<HalfCheck> = due
            .iter()
            .map(|half| HalfCheck { position: half.position, due: next, checks: half.checks + 1 })
            .collect();
        let rows = HalfChecks::encode(&checks);
        let entry = ControlEntry::HalfChecked(HalfChecks::decode(&rows).expect("our own"));
        let taken = self.history.rng.bool()
            && !checks.is_empty()
            && self.append_entry(&entry, What::HalfChecked(checks));
        if !taken {
            let halves = &mut self.store.state_mut().derived.half_messages;
            due.iter().for_each(|half| halves.look_again(half.position, look));
        }
    }

    /// Ends one, unless somebody is at it. The log may refuse that, or whoever began may think better of it.
    fn end_half(&mut self) {
        let open = self.open_halves();
        if let Some(position) = self.history.rng.choice(&open).copied() {
            self.end_half_at(position);
        }
    }

    fn open_halves(&self) -> Vec<u64> {
        self.store.state().derived.half_messages.iter().map(|half| half.position).collect()
    }

    /// Ends what holds a part of the log back, so that only this makes it free.
    pub(super) fn end_halves_before(&mut self, end: u64) {
        let open = self.open_halves().into_iter().filter(|position| *position < end);
        open.for_each(|position| self.end_half_at(position));
    }

    fn end_half_at(&mut self, position: u64) {
        let begun = self.store.state_mut().derived.half_messages.begin_end(position);
        let twice = self.history.disk.mutation == Some(Mutation::EndHalfTwice);
        match begun {
            Ending::Begun(half) => assert_eq!(half.position, position),
            Ending::UnderWay if twice => {}
            Ending::UnderWay => return,
            Ending::Unknown => panic!("the half message at {position} is open"),
        }
        self.history.summary.halves_ended += 1;
        let ended = |outcome| ControlEntry::HalfEnded { position, outcome };
        let what = What::HalfEnded(position);
        let taken = match self.history.rng.u8(0..8) {
            0 => false,
            1 => self.append_entry(&ended(HalfOutcome::RolledBack), what),
            2 => self.append_entry(&ended(HalfOutcome::GivenUp), what),
            _ => {
                let queue = self.queue();
                let entry = ended(HalfOutcome::Committed);
                self.append_behind(&queue, Some((entry, what)))
            }
        };
        if !taken {
            let look = self.history.rng.i64(0..DUE_MAX);
            let halves = &mut self.store.state_mut().derived.half_messages;
            match self.history.rng.bool() {
                true => halves.keep_refused(position, look),
                false => halves.keep(position),
            }
        } else if self.history.disk.mutation == Some(Mutation::HalfEndedAtAppend) {
            let entry = ended(HalfOutcome::Committed);
            self.store.state_mut().derived.half_messages.apply(&entry, 0);
        }
    }
}
