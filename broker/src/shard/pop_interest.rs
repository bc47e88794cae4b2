//! Which workers have pops that wait for messages of a topic, or of one of its queues, and when a message that was popped is
//! visible again.
//!
//! A worker says so before it looks, so that nothing comes between its look and its wait. It is told once when a queue has
//! grown, or something is visible again; then it looks again, and says so again.

use ahash::AHashMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What a pop waits for: one queue, or any of the topic.
pub type Wanted = Option<u32>;

/// The topics that are waited for.
#[derive(Debug, Default)]
pub struct PopInterest {
    topics: AHashMap<Rc<str>, BTreeMap<Wanted, Interest>>,
    /// When to tell, ms, and whom: the earliest of each.
    alarms: BTreeSet<(i64, Rc<str>, Wanted)>,
    /// Who is to be told.
    grown: Vec<Grown>,
    /// More may be in flight again, of any topic.
    has_room: bool,
}

#[derive(Debug, Default)]
struct Interest {
    workers: Vec<usize>,
    alarm: Option<i64>,
}

/// There may be something to pop now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Of this topic.
    pub topic: Rc<str>,
    /// Those are told who wait for this.
    pub wanted: Wanted,
    /// On these workers.
    pub workers: Vec<usize>,
}

impl PopInterest {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// A worker looks for messages of a topic, and waits if there are none.
    pub fn arm(&mut self, topic: &str, wanted: Wanted, worker: usize) {
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.into(), BTreeMap::new());
        }
        let Some(of_topic) = self.topics.get_mut(topic) else { return };
        let interest = of_topic.entry(wanted).or_default();
        if !interest.workers.contains(&worker) {
            interest.workers.push(worker);
        }
    }

    /// A message of a queue is visible again at this time, ms.
    pub fn visible_at(&mut self, topic: &str, queue_id: u32, time: i64) {
        let Some((name, _)) = self.topics.get_key_value(topic) else { return };
        let name = Rc::clone(name);
        let Some(of_topic) = self.topics.get_mut(topic) else { return };
        for wanted in [None, Some(queue_id)] {
            let Some(interest) = of_topic.get_mut(&wanted) else { continue };
            if interest.alarm.is_some_and(|alarm| alarm <= time) {
                continue;
            }
            if let Some(later) = interest.alarm.replace(time) {
                self.alarms.remove(&(later, Rc::clone(&name), wanted));
            }
            self.alarms.insert((time, Rc::clone(&name), wanted));
        }
    }

    /// A queue has grown: who waits for it, or for any, is told with [`PopInterest::take_grown`].
    pub fn grew(&mut self, topic: &str, queue_id: u32) {
        for wanted in [None, Some(queue_id)] {
            self.tell(topic, wanted);
        }
    }

    /// Something has changed that concerns all queues of a topic.
    pub fn changed(&mut self, topic: &str) {
        let all = self.topics.get(topic).map(|of_topic| of_topic.keys().copied());
        for wanted in all.map(Vec::from_iter).unwrap_or_default() {
            self.tell(topic, wanted);
        }
    }

    /// As many messages were in flight as may be, and are not any more: all that wait look, with the next tick.
    pub fn room_freed(&mut self) {
        self.has_room = true;
    }

    /// Something is visible again at `now`, ms.
    pub fn look_at_alarms(&mut self, now: i64) {
        if std::mem::take(&mut self.has_room) {
            let all: Vec<Rc<str>> = self.topics.keys().map(Rc::clone).collect();
            all.iter().for_each(|topic| self.changed(topic));
        }
        while let Some((_, topic, wanted)) = self.alarms.first().filter(|(time, ..)| *time <= now) {
            let (topic, wanted) = (Rc::clone(topic), *wanted);
            self.tell(&topic, wanted);
        }
    }

    fn tell(&mut self, topic: &str, wanted: Wanted) {
        let Some((name, _)) = self.topics.get_key_value(topic) else { return };
        let name = Rc::clone(name);
        let Some(of_topic) = self.topics.get_mut(topic) else { return };
        let Some(Interest { workers, alarm }) = of_topic.remove(&wanted) else { return };
        if of_topic.is_empty() {
            self.topics.remove(topic);
        }
        if let Some(alarm) = alarm {
            self.alarms.remove(&(alarm, Rc::clone(&name), wanted));
        }
        self.grown.push(Grown { topic: name, wanted, workers });
    }

    /// Who is to be told what.
    pub fn take_grown(&mut self) -> Vec<Grown> {
        std::mem::take(&mut self.grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(topic: &str, wanted: Wanted, workers: &[usize]) -> Grown {
        Grown { topic: topic.into(), wanted, workers: workers.to_vec() }
    }

    #[test]
    fn who_waits_is_told_once_of_what_it_waits_for() {
        let mut interest = PopInterest::default();
        interest.grew("t", 0);
        assert_eq!(interest.take_grown(), [], "nobody waits");
        interest.arm("t", None, 1);
        interest.arm("t", None, 1);
        interest.arm("t", None, 0);
        interest.arm("t", Some(4), 2);
        interest.arm("u", None, 0);
        interest.grew("t", 3);
        interest.grew("t", 3);
        assert_eq!(interest.take_grown(), [told("t", None, &[1, 0])]);
        interest.grew("t", 4);
        assert_eq!(interest.take_grown(), [told("t", Some(4), &[2])], "it was told nothing before");
        interest.grew("t", 4);
        assert_eq!(interest.take_grown(), []);
        interest.room_freed();
        interest.look_at_alarms(0);
        assert_eq!(interest.take_grown(), [told("u", None, &[0])]);
        interest.arm("u", None, 0);
        interest.arm("u", Some(9), 1);
        interest.changed("u");
        assert_eq!(interest.take_grown(), [told("u", None, &[0]), told("u", Some(9), &[1])]);
        assert!(interest.is_empty());
    }

    #[test]
    fn the_earliest_time_counts() {
        let mut interest = PopInterest::default();
        interest.visible_at("t", 0, 5);
        interest.look_at_alarms(10);
        assert_eq!(interest.take_grown(), [], "nobody waits");
        interest.arm("t", None, 0);
        interest.arm("t", Some(1), 2);
        for time in [30, 20, 25] {
            interest.visible_at("t", 0, time);
        }
        assert_eq!(interest.alarms.len(), 1);
        interest.visible_at("t", 1, 22);
        interest.look_at_alarms(19);
        assert_eq!(interest.take_grown(), []);
        interest.look_at_alarms(22);
        assert_eq!(interest.take_grown(), [told("t", None, &[0]), told("t", Some(1), &[2])]);
        assert!(interest.is_empty() && interest.alarms.is_empty());
    }
}
