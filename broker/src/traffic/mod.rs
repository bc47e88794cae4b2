//! What was put and got, by topic, group and queue: in all, and in the last minute, hour and day.
//!
//! Shards count where they touch the queue anyway ([`store::Puts`], [`crate::shard::group_pulls`]).
//! [`crate::collect_traffic`] takes that from all of them into one [`Traffic`] on the control worker, which answers
//! VIEW_BROKER_STATS_DATA, rates of GET_CONSUME_STATS and GET_TOPIC_STATS_INFO, and has the totals for an exporter of
//! metrics ([`Traffic::topics_after`], [`Traffic::groups_after`]). It is in memory alone, as with Java's broker: a start begins at 0.
//!
//! A topic or a pair of topic and group is here once there was traffic, and leaves when it is deleted, when it had none
//! for longer than the longest window, or, while memory is short, for an hour.

mod collection;
pub mod days;
mod memory;
mod names;
mod windows;

pub use collection::Collection;
pub use names::Figures;

use crate::shard::group_pulls::{Gets, GroupCounts};
use ahash::AHashMap;
use memory::{GROUP_BYTES, Memory, TOPIC_BYTES, Taken, entry_bytes};
use runtime::Uptime;
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};
use store::Puts;
use windows::Windows;

/// Of appended messages: how many, bytes, requests.
type PutWindows = Windows<3>;
/// Of messages that were got: how many, bytes, requests, ms that these took.
type GetWindows = Windows<4>;
/// Of anything else.
type CountWindows = Windows<1>;

/// Who has no traffic for so long is forgotten: longer than the longest window.
const IDLE_MS_MAX: i64 = 26 * 3_600_000;
/// The same while more than 7/8 of the memory is taken.
const IDLE_MS_MAX_WHEN_SHORT: i64 = 3_600_000;

/// Messages that a topic has taken since it is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicTotals<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Messages appended.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Requests that brought them.
    pub requests: u64,
}

/// What a group has got from a topic since the pair is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTotals<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The group.
    pub group: &'a str,
    /// Messages got by pulls and pops.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Pulls and pops, of a queue each, that found some.
    pub requests: u64,
    /// Popped messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that were sent back to be consumed again, or given up.
    pub sent_back: u64,
}

#[derive(Default)]
struct TopicTraffic {
    puts: Option<Box<PutWindows>>,
    queues: AHashMap<u32, Box<PutWindows>>,
    /// In order, too.
    groups: BTreeMap<Box<str>, GroupTraffic>,
}

#[derive(Default)]
struct GroupTraffic {
    gets: Option<Box<GetWindows>>,
    queues: AHashMap<u32, Box<GetWindows>>,
    acknowledged: Option<Box<CountWindows>>,
    sent_back: Option<Box<CountWindows>>,
}

/// Of the whole broker; there once there was such traffic.
#[derive(Default)]
struct BrokerTraffic {
    puts: Option<CountWindows>,
    gets: Option<CountWindows>,
    acknowledged: Option<CountWindows>,
    /// Without the broker's own topics.
    puts_of_clients: Option<CountWindows>,
    gets_of_clients: Option<CountWindows>,
}

/// All of it.
pub struct Traffic {
    cluster: String,
    /// In order: they are gone through in pieces.
    topics: BTreeMap<Box<str>, TopicTraffic>,
    broker: BrokerTraffic,
    memory: Memory,
}

/// Adds to what is there, or makes it if there is room.
fn add_to<const N: usize>(
    windows: &mut Option<Box<Windows<N>>>,
    memory: &mut Memory,
    now: Uptime,
    values: [u64; N],
) {
    if windows.is_none() && memory.take(entry_bytes::<N>()) {
        *windows = Some(Box::new(Windows::new(now)));
    }
    if let Some(windows) = windows {
        windows.add(now, values);
    }
}

fn add_to_queue<const N: usize>(
    queues: &mut AHashMap<u32, Box<Windows<N>>>,
    memory: &mut Memory,
    now: Uptime,
    (queue_id, values): (u32, [u64; N]),
) {
    if !queues.contains_key(&queue_id) && !memory.take_for_queue(entry_bytes::<N>()) {
        return;
    }
    let windows = queues.entry(queue_id).or_insert_with(|| Box::new(Windows::new(now)));
    windows.add(now, values);
}

fn count(windows: &mut Option<CountWindows>, now: Uptime, more: u64) {
    if more > 0 {
        windows.get_or_insert_with(|| Windows::new(now)).add(now, [more]);
    }
}

fn values_of(gets: Gets) -> [u64; 4] {
    [gets.messages.into(), gets.bytes, gets.requests.into(), gets.ms.into()]
}

impl Traffic {
    /// None so far. It takes up no more than `bytes_max`.
    pub fn new(cluster: &str, bytes_max: usize) -> Traffic {
        let memory = Memory::new(bytes_max);
        let cluster = cluster.to_owned();
        Traffic { cluster, topics: BTreeMap::new(), broker: BrokerTraffic::default(), memory }
    }

    /// The topic's, if it is there or there is room for it.
    fn topic_mut(&mut self, topic: &str) -> Option<(&mut TopicTraffic, &mut Memory)> {
        if !self.topics.contains_key(topic) {
            if !self.memory.take(TOPIC_BYTES + topic.len()) {
                return None;
            }
            self.topics.insert(topic.into(), TopicTraffic::default());
        }
        self.topics.get_mut(topic).map(|traffic| (traffic, &mut self.memory))
    }

    /// Messages were appended to a queue.
    pub fn add_puts(
        &mut self,
        now: Uptime,
        (topic, queue_id): (&str, u32),
        puts: Puts,
        is_system: bool,
    ) {
        count(&mut self.broker.puts, now, puts.messages);
        if !is_system {
            count(&mut self.broker.puts_of_clients, now, puts.messages);
        }
        let requests = puts.messages.saturating_sub(puts.batched);
        let values = [puts.messages, puts.bytes, requests];
        let Some((traffic, memory)) = self.topic_mut(topic) else { return };
        add_to(&mut traffic.puts, memory, now, values);
        add_to_queue(&mut traffic.queues, memory, now, (queue_id, values));
    }

    /// A group has got messages from a topic, or has acknowledged or sent back some.
    pub fn add_gets(&mut self, now: Uptime, counts: &GroupCounts, is_system: bool) {
        let gets = counts.gets();
        count(&mut self.broker.gets, now, gets.messages.into());
        if !is_system {
            count(&mut self.broker.gets_of_clients, now, gets.messages.into());
        }
        count(&mut self.broker.acknowledged, now, counts.acknowledged.into());
        let Some((traffic, memory)) = self.topic_mut(&counts.topic) else { return };
        if !traffic.groups.contains_key(&counts.group) {
            if !memory.take(GROUP_BYTES + counts.group.len()) {
                return;
            }
            traffic.groups.insert(counts.group.clone(), GroupTraffic::default());
        }
        let Some(group) = traffic.groups.get_mut(&counts.group) else { return };
        if gets != Gets::default() {
            add_to(&mut group.gets, memory, now, values_of(gets));
        }
        if counts.acknowledged > 0 {
            add_to(&mut group.acknowledged, memory, now, [counts.acknowledged.into()]);
        }
        if counts.sent_back > 0 {
            add_to(&mut group.sent_back, memory, now, [counts.sent_back.into()]);
        }
        for (queue_id, gets) in &counts.queues {
            add_to_queue(&mut group.queues, memory, now, (*queue_id, values_of(*gets)));
        }
    }

    /// Groups for which there was no room have got messages.
    pub fn add_unnamed_gets(&mut self, now: Uptime, messages: u64) {
        count(&mut self.broker.gets, now, messages);
        count(&mut self.broker.gets_of_clients, now, messages);
    }

    /// Messages put and got since the start, those of the broker's own topics aside.
    pub fn totals_of_clients(&self) -> DayTotals {
        let total = |windows: &Option<CountWindows>| {
            windows.as_ref().map_or(0, |windows| windows.total()[0])
        };
        let BrokerTraffic { puts_of_clients, gets_of_clients, .. } = &self.broker;
        DayTotals { puts: total(puts_of_clients), gets: total(gets_of_clients) }
    }

    /// Messages a second that were appended to a topic in the last minute.
    pub fn put_tps(&self, topic: &str, now: Uptime) -> f64 {
        self.minute("TOPIC_PUT_NUMS", topic, now)
    }

    /// Messages a second that a group got from a topic in the last minute.
    pub fn get_tps(&self, group: &str, topic: &str, now: Uptime) -> f64 {
        self.minute("GROUP_GET_NUMS", &format!("{topic}@{group}"), now)
    }

    fn minute(&self, name: &str, key: &str, now: Uptime) -> f64 {
        self.figures(name, key, now).map_or(0.0, |[minute, ..]| minute.tps)
    }

    /// Topics behind this one, or all, with what they have taken, in the order of their names: for who goes through them in
    /// pieces.
    pub fn topics_after(&self, after: Option<&str>) -> impl Iterator<Item = TopicTotals<'_>> {
        self.behind(after).map(|(topic, traffic)| {
            let puts = traffic.puts.as_ref().map_or([0; 3], |puts| puts.total());
            let [messages, bytes, requests] = puts;
            TopicTotals { topic, messages, bytes, requests }
        })
    }

    /// Pairs of topic and group behind this one, in the order of their names, for the same purpose: what the group has got.
    pub fn groups_after<'a>(
        &'a self,
        after: Option<(&'a str, &'a str)>,
    ) -> impl Iterator<Item = GroupTotals<'a>> {
        let first = after.map_or(Unbounded, |(topic, _)| Included(topic));
        self.topics.range::<str, _>((first, Unbounded)).flat_map(move |(topic, traffic)| {
            let group = after.filter(|(last, _)| **last == **topic).map(|(_, group)| group);
            let groups = (group.map_or(Unbounded, Excluded), Unbounded);
            let groups = traffic.groups.range::<str, _>(groups);
            groups.map(move |(group, traffic)| traffic.totals(topic, group))
        })
    }

    fn behind(&self, after: Option<&str>) -> impl Iterator<Item = (&Box<str>, &TopicTraffic)> {
        self.topics.range::<str, _>((after.map_or(Unbounded, Excluded), Unbounded))
    }

    /// How often something was not counted by its topic, group or queue for lack of memory.
    pub fn left_out(&self) -> u64 {
        self.memory.left_out
    }

    /// Bytes that it takes up, and may take up.
    pub fn memory_bytes(&self) -> (usize, usize) {
        (self.memory.bytes, self.memory.bytes_max)
    }

    /// Topics and groups were deleted: what comes under their names is another.
    pub fn forget<'a>(
        &mut self,
        topics: impl IntoIterator<Item = &'a String>,
        groups: impl IntoIterator<Item = &'a String>,
    ) {
        for topic in topics {
            if let Some((name, traffic)) = self.topics.remove_entry(topic.as_str()) {
                self.memory.give_back(traffic.taken(&name));
            }
        }
        for group in groups {
            for topic in self.topics.values_mut() {
                if let Some((name, traffic)) = topic.groups.remove_entry(group.as_str()) {
                    self.memory.give_back(traffic.taken(&name));
                }
            }
        }
    }

    /// Forgets who had no traffic for long, among at most so many topics behind this one, or the first ones. Returns the last
    /// that was looked at; none when there are no more.
    pub fn forget_idle(
        &mut self,
        now: Uptime,
        after: Option<&str>,
        topics_max: usize,
    ) -> Option<Box<str>> {
        let idle_ms_max = if self.memory.is_short() { IDLE_MS_MAX_WHEN_SHORT } else { IDLE_MS_MAX };
        let looked_at = self.behind(after).take(topics_max).map(|(topic, _)| topic.clone());
        let looked_at: Vec<Box<str>> = looked_at.collect();
        for topic in &looked_at {
            let Some(traffic) = self.topics.get_mut(topic) else { continue };
            let before = traffic.taken(topic);
            traffic.retain(|last_idle_ms| last_idle_ms <= idle_ms_max, now);
            self.memory.give_back(before);
            if traffic.is_empty() {
                self.topics.remove(topic);
            } else {
                self.memory.take_again(traffic.taken(topic));
            }
        }
        looked_at.last().filter(|_| looked_at.len() == topics_max).cloned()
    }
}

impl TopicTraffic {
    fn taken(&self, name: &str) -> Taken {
        let queue_bytes = self.queues.len() * entry_bytes::<3>();
        let own = TOPIC_BYTES + name.len() + bytes_of(&self.puts) + queue_bytes;
        let mut taken = Taken { bytes: own, queue_bytes };
        for (name, group) in &self.groups {
            let Taken { bytes, queue_bytes } = group.taken(name);
            taken.bytes += bytes;
            taken.queue_bytes += queue_bytes;
        }
        taken
    }

    fn retain(&mut self, is_kept: impl Fn(i64) -> bool + Copy, now: Uptime) {
        keep_if(&mut self.puts, now, is_kept);
        self.queues.retain(|_, queue| is_kept(queue.idle_ms(now)));
        self.groups.retain(|_, group| {
            keep_if(&mut group.gets, now, is_kept);
            keep_if(&mut group.acknowledged, now, is_kept);
            keep_if(&mut group.sent_back, now, is_kept);
            group.queues.retain(|_, queue| is_kept(queue.idle_ms(now)));
            group.gets.is_some() || group.acknowledged.is_some() || group.sent_back.is_some()
        });
    }

    fn is_empty(&self) -> bool {
        self.puts.is_none() && self.groups.is_empty()
    }
}

impl GroupTraffic {
    fn totals<'a>(&self, topic: &'a str, group: &'a str) -> GroupTotals<'a> {
        let gets = self.gets.as_ref().map_or([0; 4], |gets| gets.total());
        let [messages, bytes, requests, _] = gets;
        let total = |windows: &Option<Box<CountWindows>>| {
            windows.as_ref().map_or(0, |windows| windows.total()[0])
        };
        let acknowledged = total(&self.acknowledged);
        let sent_back = total(&self.sent_back);
        GroupTotals { topic, group, messages, bytes, requests, acknowledged, sent_back }
    }

    fn taken(&self, name: &str) -> Taken {
        let queue_bytes = self.queues.len() * entry_bytes::<4>();
        let counts = bytes_of(&self.acknowledged) + bytes_of(&self.sent_back);
        let own = GROUP_BYTES + name.len() + bytes_of(&self.gets) + counts;
        Taken { bytes: own + queue_bytes, queue_bytes }
    }
}

fn bytes_of<const N: usize>(windows: &Option<Box<Windows<N>>>) -> usize {
    if windows.is_some() { entry_bytes::<N>() } else { 0 }
}

fn keep_if<const N: usize>(
    windows: &mut Option<Box<Windows<N>>>,
    now: Uptime,
    is_kept: impl Fn(i64) -> bool,
) {
    if windows.as_ref().is_some_and(|windows| !is_kept(windows.idle_ms(now))) {
        *windows = None;
    }
}

/// Messages put and got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayTotals {
    /// Put.
    pub puts: u64,
    /// Got.
    pub gets: u64,
}

#[cfg(test)]
mod tests;
