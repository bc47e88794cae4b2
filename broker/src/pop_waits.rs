//! Pops of this worker's connections: how many there are, and those that wait for messages, by topic, group and what they
//! wait for, in the order in which they came.
//!
//! A pop that waits has a place here before it looks at the shards for the second time. Shards tell the worker when there
//! may be something ([`crate::shard::pop_interest`]); the first of each group that was not told yet looks again. Who was told
//! and does not look, or cannot take anything, passes it on.

use crate::{one_shot::OneShot, shard::pop_interest::Wanted};
use ahash::AHashMap;
use remoting::ConnectionId;
use runtime::Uptime;
use slab::Slab;
use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
};

/// Why a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There may be something.
    Look,
    /// Its time is over, or the broker stops.
    Over,
    /// Its connection has ended.
    Gone,
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// As many.
    pub pops: usize,
    /// Of whom.
    pub limit: Limit,
}

/// Whose pops are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Those of a group that wait for the same.
    Group,
    /// Those of a connection.
    Connection,
    /// All that wait, or all.
    All,
}

/// A connection may have one of so many parts of all pops.
const CONNECTION_PART: usize = 8;
/// But at least so many.
const CONNECTION_LEAST: usize = 16;
/// Pops that do not wait find room beside as many as may wait.
const BESIDE_WAITING: usize = 2;

/// Who waits for what.
#[derive(Debug)]
pub struct Wait<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The group.
    pub group: &'a str,
    /// One queue, or any.
    pub wanted: Wanted,
    /// Where the answer goes.
    pub connection: ConnectionId,
    /// Until when.
    pub deadline: Uptime,
}

struct Waiter {
    topic: Rc<str>,
    key: Key,
    connection: ConnectionId,
    deadline: Uptime,
    /// Told, and has not looked since.
    told: bool,
    /// It will not get anything any more.
    over: Option<Wake>,
    wake: OneShot<Wake>,
}

/// Group, and what is waited for.
type Key = (Rc<str>, Wanted);
type Waiting = AHashMap<Key, VecDeque<usize>>;

/// The pops of a worker.
pub struct PopWaits {
    /// All, also those that do not wait.
    pops: usize,
    by_asker: AHashMap<ConnectionId, usize>,
    waiters: Slab<Waiter>,
    by_topic: AHashMap<Rc<str>, Waiting>,
    by_connection: AHashMap<ConnectionId, BTreeSet<usize>>,
    deadlines: BTreeSet<(Uptime, usize)>,
    count_max: usize,
    group_max: usize,
}

impl PopWaits {
    /// Room for so many pops, and so many that wait of a group for the same.
    pub fn new(count_max: usize, group_max: usize) -> PopWaits {
        PopWaits {
            pops: 0,
            by_asker: AHashMap::new(),
            waiters: Slab::new(),
            by_topic: AHashMap::new(),
            by_connection: AHashMap::new(),
            deadlines: BTreeSet::new(),
            count_max,
            group_max,
        }
    }

    /// From now on there is room for so many; those that are here stay.
    pub fn limit(&mut self, count_max: usize, group_max: usize) {
        self.count_max = count_max;
        self.group_max = group_max;
    }

    /// A pop begins; it ends with [`PopWaits::end`].
    pub fn begin(&mut self, connection: ConnectionId) -> Result<(), Full> {
        if self.pops >= self.count_max.saturating_mul(BESIDE_WAITING) {
            return Err(Full { pops: self.pops, limit: Limit::All });
        }
        let most = (self.count_max / CONNECTION_PART).max(CONNECTION_LEAST);
        let own = self.by_asker.entry(connection).or_default();
        if *own >= most {
            return Err(Full { pops: *own, limit: Limit::Connection });
        }
        *own += 1;
        self.pops += 1;
        Ok(())
    }

    /// A pop has ended.
    pub fn end(&mut self, connection: ConnectionId) {
        self.pops -= 1;
        if let Some(own) = self.by_asker.get_mut(&connection) {
            *own -= 1;
            if *own == 0 {
                self.by_asker.remove(&connection);
            }
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// A pop begins to wait. Returns its number, with which it leaves.
    pub fn enter(&mut self, wait: &Wait<'_>) -> Result<usize, Full> {
        let Wait { topic, group, wanted, connection, deadline } = *wait;
        if self.waiters.len() >= self.count_max {
            return Err(Full { pops: self.waiters.len(), limit: Limit::All });
        }
        let topic: Rc<str> = match self.by_topic.get_key_value(topic) {
            Some((topic, _)) => Rc::clone(topic),
            None => topic.into(),
        };
        let key = (Rc::from(group), wanted);
        let waiting = self.by_topic.entry(Rc::clone(&topic)).or_default();
        let waiting = waiting.entry(key.clone()).or_default();
        if waiting.len() >= self.group_max {
            return Err(Full { pops: waiting.len(), limit: Limit::Group });
        }
        let (told, over, wake) = (false, None, OneShot::default());
        let waiter = Waiter { topic, key, connection, deadline, told, over, wake };
        let number = self.waiters.insert(waiter);
        waiting.push_back(number);
        self.by_connection.entry(connection).or_default().insert(number);
        self.deadlines.insert((deadline, number));
        Ok(number)
    }

    /// A pop leaves. If it was told and has not looked since, another one is.
    pub fn leave(&mut self, number: usize) {
        let Some(waiter) = self.waiters.try_remove(number) else { return };
        self.deadlines.remove(&(waiter.deadline, number));
        if let Some(numbers) = self.by_connection.get_mut(&waiter.connection) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_connection.remove(&waiter.connection);
            }
        }
        if let Some(of_topic) = self.by_topic.get_mut(&waiter.topic) {
            if let Some(waiting) = of_topic.get_mut(&waiter.key) {
                waiting.retain(|other| *other != number);
                if waiting.is_empty() {
                    of_topic.remove(&waiter.key);
                }
            }
            if of_topic.is_empty() {
                self.by_topic.remove(&waiter.topic);
            }
        }
        if waiter.told {
            self.tell_next(&waiter.topic, waiter.key);
        }
    }

    /// A pop is about to look: whatever it was told is what it sees now.
    pub fn looks(&mut self, number: usize) {
        if let Some(waiter) = self.waiters.get_mut(number) {
            waiter.told = false;
        }
    }

    /// A pop cannot take anything now: what it was told another one is.
    pub fn pass_on(&mut self, number: usize) {
        let Some(waiter) = self.waiters.get_mut(number).filter(|waiter| waiter.told) else {
            return;
        };
        let (topic, key) = (Rc::clone(&waiter.topic), waiter.key.clone());
        // While it is told it is not told again.
        self.tell_next(&topic, key);
        self.looks(number);
    }

    /// What a pop that found nothing is told already, or else what it has to wait for.
    pub fn waits(&mut self, number: usize) -> Result<Wake, OneShot<Wake>> {
        let Some(waiter) = self.waiters.get_mut(number) else { return Ok(Wake::Over) };
        match waiter.over {
            Some(over) => Ok(over),
            None if waiter.told => Ok(Wake::Look),
            None => {
                waiter.wake = OneShot::default();
                Err(waiter.wake.clone())
            }
        }
    }

    /// There may be something for those that wait for this: the first of each group looks.
    pub fn tell(&mut self, topic: &str, wanted: Wanted) {
        let Some(of_topic) = self.by_topic.get(topic) else { return };
        for (_, waiting) in of_topic.iter().filter(|((_, key), _)| *key == wanted) {
            tell_first(&mut self.waiters, waiting);
        }
    }

    /// One of a group has taken what it wanted, or cannot take anything, and there may be more: the next one looks.
    pub fn tell_next(&mut self, topic: &str, key: Key) {
        if let Some(waiting) = self.by_topic.get(topic).and_then(|of_topic| of_topic.get(&key)) {
            tell_first(&mut self.waiters, waiting);
        }
    }

    /// Ends the waits whose time is over, at most so many. Whether there are more.
    pub fn expire(&mut self, now: Uptime, count_max: usize) -> bool {
        for _ in 0..count_max {
            let first = self.deadlines.first().filter(|(until, _)| *until <= now);
            let Some((_, number)) = first.copied() else { return false };
            self.deadlines.pop_first();
            self.finish(number, Wake::Over);
        }
        true
    }

    /// Ends the waits of a connection.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        for number in self.by_connection.get(&connection).cloned().unwrap_or_default() {
            self.finish(number, Wake::Gone);
        }
    }

    /// Ends all waits: the broker stops.
    pub fn stop(&mut self) {
        let all: Vec<usize> = self.waiters.iter().map(|(number, _)| number).collect();
        all.into_iter().for_each(|number| self.finish(number, Wake::Over));
    }

    fn finish(&mut self, number: usize, over: Wake) {
        if let Some(waiter) = self.waiters.get_mut(number) {
            waiter.over = Some(over);
            waiter.wake.set(over);
        }
    }
}

/// Tells the first that was not told yet and may still get something.
fn tell_first(waiters: &mut Slab<Waiter>, waiting: &VecDeque<usize>) {
    for number in waiting {
        if let Some(waiter) = waiters.get_mut(*number)
            && !waiter.told
            && waiter.over.is_none()
        {
            waiter.told = true;
            waiter.wake.set(Wake::Look);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::sim::block_on;

    fn connections() -> (ConnectionId, ConnectionId) {
        (ConnectionId::new(0, 0, 1), ConnectionId::new(0, 1, 2))
    }

    fn wait(connection: ConnectionId, wanted: Wanted, deadline: i64) -> Wait<'static> {
        Wait { topic: "t", group: "g", wanted, connection, deadline: Uptime::from_ms(deadline) }
    }

    fn woken(waits: &mut PopWaits, number: usize) -> Option<Wake> {
        waits.waits(number).ok()
    }

    #[test]
    fn one_of_each_group_is_told_in_the_order_in_which_they_came() {
        let (connection, _) = connections();
        let mut waits = PopWaits::new(10, 10);
        let first = waits.enter(&wait(connection, None, 5)).expect("room");
        let second = waits.enter(&wait(connection, None, 5)).expect("room");
        let other = Wait { group: "h", ..wait(connection, None, 5) };
        let other = waits.enter(&other).expect("room");
        waits.tell("u", None);
        assert_eq!(woken(&mut waits, first), None);
        waits.tell("t", None);
        let all = [first, second, other].map(|number| woken(&mut waits, number));
        assert_eq!(all, [Some(Wake::Look), None, Some(Wake::Look)]);
        waits.tell("t", None);
        assert_eq!(woken(&mut waits, second), Some(Wake::Look), "the first one is on its way");
        waits.looks(first);
        assert_eq!(woken(&mut waits, first), None, "it has looked");
    }

    #[test]
    fn who_leaves_without_having_looked_passes_it_on() {
        let (connection, _) = connections();
        let mut waits = PopWaits::new(10, 10);
        let first = waits.enter(&wait(connection, None, 5)).expect("room");
        let second = waits.enter(&wait(connection, None, 6)).expect("room");
        let Err(asleep) = waits.waits(second) else { panic!("nothing was told") };
        waits.tell("t", None);
        waits.leave(first);
        assert_eq!(block_on(asleep.wait()), Some(Wake::Look));
        waits.leave(second);
        assert_eq!(waits.waiting(), 0);
        assert!(waits.by_topic.is_empty() && waits.by_connection.is_empty());
        assert!(waits.deadlines.is_empty());
    }

    #[test]
    fn a_wait_for_one_queue_is_told_of_that_alone() {
        let (connection, _) = connections();
        let mut waits = PopWaits::new(10, 10);
        let one = waits.enter(&wait(connection, Some(1), 5)).expect("room");
        let any = waits.enter(&wait(connection, None, 5)).expect("room");
        waits.tell("t", None);
        assert_eq!((woken(&mut waits, one), woken(&mut waits, any)), (None, Some(Wake::Look)));
        waits.tell("t", Some(2));
        assert_eq!(woken(&mut waits, one), None);
        waits.tell("t", Some(1));
        assert_eq!(woken(&mut waits, one), Some(Wake::Look));
    }

    #[test]
    fn who_was_told_and_cannot_take_anything_passes_it_on() {
        let (connection, _) = connections();
        let mut waits = PopWaits::new(10, 10);
        let first = waits.enter(&wait(connection, None, 5)).expect("room");
        let second = waits.enter(&wait(connection, None, 5)).expect("room");
        waits.pass_on(first);
        assert_eq!(woken(&mut waits, second), None, "it was told nothing");
        waits.tell("t", None);
        waits.pass_on(first);
        assert_eq!((woken(&mut waits, first), woken(&mut waits, second)), (None, Some(Wake::Look)));
    }

    #[test]
    fn a_wait_ends_with_its_time_its_connection_or_the_broker() {
        let (connection, other) = connections();
        let mut waits = PopWaits::new(10, 10);
        let early = waits.enter(&wait(connection, None, 5)).expect("room");
        let late = waits.enter(&wait(connection, None, 9)).expect("room");
        let others = waits.enter(&wait(other, None, 9)).expect("room");
        assert!(!waits.expire(Uptime::from_ms(5), 9));
        assert_eq!((woken(&mut waits, early), woken(&mut waits, late)), (Some(Wake::Over), None));
        waits.tell("t", None);
        waits.connection_closed(connection);
        assert_eq!(woken(&mut waits, late), Some(Wake::Gone));
        waits.leave(late);
        assert_eq!(woken(&mut waits, others), Some(Wake::Look), "it was passed on");
        waits.leave(early);
        waits.stop();
        assert_eq!(woken(&mut waits, others), Some(Wake::Over));
    }

    #[test]
    fn more_than_may_wait_are_refused() {
        let (connection, _) = connections();
        let mut waits = PopWaits::new(3, 2);
        for _ in 0..2 {
            waits.enter(&wait(connection, None, 5)).expect("room");
        }
        let full = Full { pops: 2, limit: Limit::Group };
        assert_eq!(waits.enter(&wait(connection, None, 5)), Err(full));
        let other = Wait { group: "h", ..wait(connection, None, 5) };
        waits.enter(&other).expect("room");
        let other = Wait { group: "i", ..wait(connection, None, 5) };
        assert_eq!(waits.enter(&other), Err(Full { pops: 3, limit: Limit::All }));
        // Others are served beside those that wait.
        (0..6).for_each(|_| waits.begin(connection).expect("room"));
        assert_eq!(waits.begin(connection), Err(Full { pops: 6, limit: Limit::All }));
        waits.end(connection);
        waits.begin(connection).expect("room");
    }

    #[test]
    fn one_connection_leaves_room_for_others() {
        let (connection, other) = connections();
        let mut waits = PopWaits::new(1_000, 10);
        (0..125).for_each(|_| waits.begin(connection).expect("room"));
        let full = Full { pops: 125, limit: Limit::Connection };
        assert_eq!(waits.begin(connection), Err(full));
        waits.begin(other).expect("room");
        (0..125).for_each(|_| waits.end(connection));
        waits.end(other);
        assert!(waits.by_asker.is_empty());
    }
}
