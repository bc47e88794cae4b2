//! What groups have got from the queues of one shard: how far they have pulled lately, for GET_CONSUME_STATS, and how much
//! since it was collected last, for statistics ([`crate::traffic`]). In memory only; a pair of group and topic without
//! traffic for ten minutes is forgotten.

use ahash::AHashMap;
use runtime::Uptime;
use std::collections::VecDeque;

/// Of a group, of one of its topics, of one of their queues; names aside, in tables that have just grown.
const GROUP_BYTES: usize = 640;
const TOPIC_BYTES: usize = 560;
const QUEUE_BYTES: usize = 96;
/// Who has no traffic for so long is forgotten, ms.
const IDLE_MS_MAX: i64 = 600_000;

/// Messages that were got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gets {
    /// How many.
    pub messages: u32,
    /// Pulls and pops that found some.
    pub requests: u32,
    /// How long these took, ms: none of what memory holds.
    pub ms: u32,
    /// Bytes of their records.
    pub bytes: u64,
}

impl Gets {
    /// What one request got, and how long it took.
    pub fn of(messages: usize, bytes: usize, ms: i64) -> Gets {
        let whole = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let ms = u32::try_from(ms.max(0)).unwrap_or(u32::MAX);
        Gets { messages: whole(messages), requests: 1, ms, bytes: bytes as u64 }
    }

    fn add(&mut self, more: Gets) {
        self.messages = self.messages.saturating_add(more.messages);
        self.requests = self.requests.saturating_add(more.requests);
        self.ms = self.ms.saturating_add(more.ms);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// What was counted of a group on a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// The group.
    pub group: Box<str>,
    /// The topic.
    pub topic: Box<str>,
    /// By queue id.
    pub queues: Vec<(u32, Gets)>,
    /// Of queues for which there was no room.
    pub other: Gets,
    /// Popped messages that were acknowledged.
    pub acknowledged: u32,
    /// Messages that were sent back.
    pub sent_back: u32,
}

impl GroupCounts {
    /// Of all queues.
    pub fn gets(&self) -> Gets {
        let mut sum = self.other;
        self.queues.iter().for_each(|(_, gets)| sum.add(*gets));
        sum
    }
}

/// All pairs of group and topic.
pub struct GroupPulls {
    groups: AHashMap<Box<str>, AHashMap<Box<str>, TopicPulls>>,
    /// Pairs with something to collect.
    changed: VecDeque<(Box<str>, Box<str>)>,
    room: Room,
    /// Messages that groups got for which there was no room.
    unnamed: u64,
}

struct Room {
    bytes: usize,
    /// What is pulled beyond is not counted.
    bytes_max: usize,
}

impl Room {
    /// Whether there is room for so many bytes more; they are counted then.
    fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= self.bytes_max;
        self.bytes += if fits { bytes } else { 0 };
        fits
    }
}

#[derive(Default)]
struct TopicPulls {
    queues: AHashMap<u32, QueuePulls>,
    other: Gets,
    acknowledged: u32,
    sent_back: u32,
    /// It stands among the changed ones.
    listed: bool,
    last: Uptime,
}

struct QueuePulls {
    /// Where the next pull begins.
    next: i64,
    gets: Gets,
}

/// A pair stands twice, where it belongs and among the changed ones.
fn pair_bytes(group: &str, topic: &str) -> usize {
    TOPIC_BYTES + 2 * topic.len() + group.len()
}

impl TopicPulls {
    fn note(&mut self, queue_id: u32, next: i64, gets: Gets, room: &mut Room) {
        if let Some(queue) = self.queues.get_mut(&queue_id) {
            queue.next = next;
            queue.gets.add(gets);
        } else if room.grow(QUEUE_BYTES) {
            self.queues.insert(queue_id, QueuePulls { next, gets });
        } else {
            self.other.add(gets);
        }
    }

    fn take(&mut self) -> GroupCounts {
        let changed = self.queues.iter_mut().filter(|(_, queue)| queue.gets.requests > 0);
        let queues = changed.map(|(id, queue)| (*id, std::mem::take(&mut queue.gets))).collect();
        self.listed = false;
        GroupCounts {
            queues,
            other: std::mem::take(&mut self.other),
            acknowledged: std::mem::take(&mut self.acknowledged),
            sent_back: std::mem::take(&mut self.sent_back),
            ..GroupCounts::default()
        }
    }
}

impl GroupPulls {
    /// Nothing was pulled so far. It takes up no more than `bytes_max`.
    pub fn new(bytes_max: usize) -> GroupPulls {
        let room = Room { bytes: 0, bytes_max };
        GroupPulls { groups: AHashMap::new(), changed: VecDeque::new(), room, unnamed: 0 }
    }

    /// Changes a pair, which comes into being. False: there is no room for it.
    fn change(
        &mut self,
        (group, topic): (&str, &str),
        now: Uptime,
        change: impl FnOnce(&mut TopicPulls, &mut Room),
    ) -> bool {
        let mut known = self.groups.get_mut(group).and_then(|topics| topics.get_mut(topic));
        if known.is_none() {
            let of_group =
                if self.groups.contains_key(group) { 0 } else { GROUP_BYTES + group.len() };
            if !self.room.grow(of_group + pair_bytes(group, topic)) {
                return false;
            }
            let topics = self.groups.entry(group.into()).or_default();
            known = Some(topics.entry(topic.into()).or_default());
        }
        let Some(pulls) = known else { return false };
        pulls.last = now;
        if !std::mem::replace(&mut pulls.listed, true) {
            self.changed.push_back((group.into(), topic.into()));
        }
        change(pulls, &mut self.room);
        true
    }

    /// A group has got messages from a queue; its next pull there begins at `next`.
    pub fn note(
        &mut self,
        (group, topic, queue_id): (&str, &str, u32),
        next: i64,
        gets: Gets,
        now: Uptime,
    ) {
        let note = |pulls: &mut TopicPulls, room: &mut Room| pulls.note(queue_id, next, gets, room);
        if !self.change((group, topic), now, note) {
            self.unnamed += u64::from(gets.messages);
        }
    }

    /// A group has acknowledged messages that it popped.
    pub fn note_acknowledged(&mut self, (group, topic): (&str, &str), messages: u32, now: Uptime) {
        self.change((group, topic), now, |pulls, _| pulls.acknowledged += messages);
    }

    /// A group has sent a message back that came from this topic.
    pub fn note_sent_back(&mut self, (group, topic): (&str, &str), now: Uptime) {
        self.change((group, topic), now, |pulls, _| pulls.sent_back += 1);
    }

    /// Where the group's next pull from this queue begins, if it has pulled lately.
    pub fn next_offset(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        Some(self.groups.get(group)?.get(topic)?.queues.get(&queue_id)?.next)
    }

    /// Pairs with something to collect, about.
    pub fn changed(&self) -> usize {
        self.changed.len()
    }

    /// Collects what was counted of at most so many pairs.
    pub fn take_changed(&mut self, pairs_max: usize) -> Vec<GroupCounts> {
        let count = pairs_max.min(self.changed.len());
        let pairs = self.changed.drain(..count);
        let taken = pairs.filter_map(|(group, topic)| {
            // It was forgotten meanwhile, and stands there again if it is back.
            let pulls = self.groups.get_mut(&group)?.get_mut(&topic).filter(|it| it.listed)?;
            Some(GroupCounts { group, topic, ..pulls.take() })
        });
        taken.collect()
    }

    /// Collects messages that groups got for which there was no room.
    pub fn take_unnamed(&mut self) -> u64 {
        std::mem::take(&mut self.unnamed)
    }

    /// Forgets who has no traffic for long, and nothing to collect.
    pub fn forget_idle(&mut self, now: Uptime) {
        self.groups.retain(|_, topics| {
            topics.retain(|_, pulls| pulls.listed || now - pulls.last <= IDLE_MS_MAX);
            !topics.is_empty()
        });
        self.room.bytes = self.counted_bytes();
    }

    fn counted_bytes(&self) -> usize {
        let mut bytes = 0;
        for (group, topics) in &self.groups {
            bytes += GROUP_BYTES + group.len();
            for (topic, pulls) in topics {
                bytes += pair_bytes(group, topic) + QUEUE_BYTES * pulls.queues.len();
            }
        }
        bytes
    }

    /// A topic was deleted: what comes under its name is another one.
    pub fn forget_topic(&mut self, topic: &str) {
        for (group, topics) in &mut self.groups {
            if let Some(pulls) = topics.remove(topic) {
                self.room.bytes -= pair_bytes(group, topic) + QUEUE_BYTES * pulls.queues.len();
            }
        }
    }

    /// A group was deleted.
    pub fn forget_group(&mut self, group: &str) {
        if self.groups.remove(group).is_some() {
            self.room.bytes = self.counted_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Uptime = Uptime::from_ms(1_700_000_000);
    const ONE: Gets = Gets { messages: 1, requests: 1, ms: 0, bytes: 10 };

    #[test]
    fn what_was_counted_is_collected_once() {
        let mut pulls = GroupPulls::new(10_000);
        pulls.note(("g", "t", 0), 30, Gets::of(30, 900, 0), NOW);
        pulls.note(("g", "t", 3), 7, Gets::of(2, 50, 4), NOW);
        pulls.note(("g", "t", 0), 31, ONE, NOW);
        pulls.note_acknowledged(("g", "u"), 5, NOW);
        pulls.note_sent_back(("g", "u"), NOW);
        assert_eq!(pulls.next_offset("g", "t", 0), Some(31));
        assert_eq!(pulls.changed(), 2);
        let mut taken = pulls.take_changed(1);
        taken[0].queues.sort_by_key(|(queue_id, _)| *queue_id);
        let of_0 = Gets { messages: 31, requests: 2, ms: 0, bytes: 910 };
        let of_3 = Gets { messages: 2, requests: 1, ms: 4, bytes: 50 };
        assert_eq!(taken[0].queues, [(0, of_0), (3, of_3)]);
        assert_eq!(taken[0].gets(), Gets { messages: 33, requests: 3, ms: 4, bytes: 960 });
        let rest = pulls.take_changed(9);
        assert_eq!((&*rest[0].topic, rest[0].acknowledged, rest[0].sent_back), ("u", 5, 1));
        assert!(pulls.take_changed(9).is_empty());
        pulls.note(("g", "t", 3), 9, ONE, NOW);
        assert_eq!(pulls.take_changed(9)[0].queues, [(3, ONE)]);
    }

    #[test]
    fn who_is_idle_and_what_is_deleted_is_forgotten_and_the_rest_is_bounded() {
        let mut pulls = GroupPulls::new(10_000);
        pulls.note(("g", "t", 0), 1, ONE, NOW);
        pulls.take_changed(1);
        pulls.note(("g", "u", 0), 1, ONE, NOW + 500_000);
        pulls.note(("h", "u", 0), 1, ONE, NOW + 500_000);
        pulls.forget_idle(NOW + 700_000);
        assert_eq!((pulls.next_offset("g", "t", 0), pulls.groups.len()), (None, 2));
        assert_eq!(pulls.room.bytes, pulls.counted_bytes());
        pulls.forget_topic("u");
        assert_eq!(pulls.room.bytes, pulls.counted_bytes());
        assert_eq!(pulls.next_offset("h", "u", 0), None);
        assert!(pulls.take_changed(9).is_empty(), "what was counted of it, too");
        pulls.forget_idle(NOW + 700_000);
        assert_eq!(pulls.room.bytes, 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_without_its_name() {
        let mut pulls = GroupPulls::new(10_000);
        for queue_id in 0..1_000 {
            pulls.note(("g", "t", queue_id), 1, ONE, NOW);
        }
        for group in 0..100 {
            pulls.note((&format!("h{group}"), "t", 0), 1, ONE, NOW);
        }
        assert_eq!(pulls.room.bytes, pulls.counted_bytes());
        assert!((9_000..=10_000).contains(&pulls.room.bytes), "{}", pulls.room.bytes);
        assert_eq!(pulls.next_offset("g", "t", 999), None);
        assert_eq!(pulls.next_offset("h0", "t", 0), None);
        let taken = pulls.take_changed(9);
        assert_eq!((taken.len(), taken[0].gets().messages), (1, 1_000));
        assert!(taken[0].other.messages > 800, "{:?}", taken[0].other);
        assert_eq!((pulls.take_unnamed(), pulls.take_unnamed()), (100, 0));
        pulls.note(("g", "t", 0), 5, ONE, NOW);
        assert_eq!(pulls.next_offset("g", "t", 0), Some(5), "what is known is kept up to date");
        pulls.forget_group("g");
        assert_eq!((pulls.next_offset("g", "t", 0), pulls.room.bytes), (None, 0));
    }
}
