//! What was put and got, by topic, group and queue: in all, and in the last minute, hour and day.
//!
//! Shards count where they touch the queue anyway ([`store::Puts`], [`crate::shard::group_pulls`]).
//! [`crate::collect_traffic`] takes that from all of them into one [`Traffic`] on the control worker, which answers
//! VIEW_BROKER_STATS_DATA, rates of GET_CONSUME_STATS and GET_TOPIC_STATS_INFO, and has the totals for an exporter of
//! metrics ([`Traffic::topics`], [`Traffic::groups`]). It is in memory alone, as with Java's broker: a start begins at 0.
//!
//! A topic or a pair of topic and group is here once there was traffic, and leaves when it is deleted, when it had none
//! for longer than the longest window, or, while memory is short, for an hour.

mod collection;
pub mod days;
mod names;
mod windows;

pub use collection::Collection;
pub use names::Figures;

use crate::shard::group_pulls::{Gets, GroupCounts};
use ahash::AHashMap;
use runtime::{RateLimit, Uptime};
use store::Puts;
use windows::Windows;

/// Of appended messages: how many, bytes, requests.
type PutWindows = Windows<3>;
/// Of messages that were got: how many, bytes, requests, ms that these took.
type GetWindows = Windows<4>;
/// Of anything else.
type CountWindows = Windows<1>;

/// Of a topic, of a group on it, of an entry for something of theirs; windows and names aside, in tables that have just
/// grown.
const TOPIC_BYTES: usize = 480;
const GROUP_BYTES: usize = 480;
const ENTRY_BYTES: usize = 64;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    groups: AHashMap<Box<str>, GroupTraffic>,
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
    topics: AHashMap<Box<str>, TopicTraffic>,
    broker: BrokerTraffic,
    memory: Memory,
}

/// What statistics take up.
struct Memory {
    bytes: usize,
    bytes_max: usize,
    /// Of those, what queues may take, which are the most.
    queue_bytes: usize,
    left_out: u64,
    report: RateLimit,
}

impl Memory {
    /// Whether there is room for so many bytes more; they are counted then.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= self.bytes_max;
        if fits {
            self.bytes += bytes;
        } else {
            self.leave_out();
        }
        fits
    }

    /// The same for a queue.
    fn take_for_queue(&mut self, bytes: usize) -> bool {
        if self.queue_bytes + bytes > self.bytes_max / 2 {
            self.leave_out();
            return false;
        }
        let taken = self.take(bytes);
        self.queue_bytes += if taken { bytes } else { 0 };
        taken
    }

    fn leave_out(&mut self) {
        self.left_out += 1;
        if let Some(held_back) = self.report.note() {
            tracing::warn!(
                bytes = self.bytes,
                bytes_max = self.bytes_max,
                held_back,
                "statistics by topic, group and queue leave some out: they take up their share of the memory (memoryBudgetMiB)"
            );
        }
    }

    fn is_short(&self) -> bool {
        self.bytes > self.bytes_max / 8 * 7
    }
}

const fn entry_bytes<const N: usize>() -> usize {
    ENTRY_BYTES + size_of::<Windows<N>>()
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
        let report = RateLimit::default();
        let memory = Memory { bytes: 0, bytes_max, queue_bytes: 0, left_out: 0, report };
        let cluster = cluster.to_owned();
        Traffic { cluster, topics: AHashMap::new(), broker: BrokerTraffic::default(), memory }
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

    /// Topics that have taken messages, in no particular order.
    pub fn topics(&self) -> impl Iterator<Item = TopicTotals<'_>> {
        self.topics.iter().filter_map(|(topic, traffic)| {
            let [messages, bytes, requests] = traffic.puts.as_ref()?.total();
            Some(TopicTotals { topic, messages, bytes, requests })
        })
    }

    /// Pairs of topic and group that had traffic, in no particular order.
    pub fn groups(&self) -> impl Iterator<Item = GroupTotals<'_>> {
        let pairs = self.topics.iter().flat_map(|(topic, traffic)| {
            traffic.groups.iter().map(move |(group, traffic)| (topic, group, traffic))
        });
        pairs.map(|(topic, group, traffic)| {
            let gets = traffic.gets.as_ref().map_or([0; 4], |gets| gets.total());
            let [messages, bytes, requests, _] = gets;
            let total = |windows: &Option<Box<CountWindows>>| {
                windows.as_ref().map_or(0, |windows| windows.total()[0])
            };
            let acknowledged = total(&traffic.acknowledged);
            let sent_back = total(&traffic.sent_back);
            GroupTotals { topic, group, messages, bytes, requests, acknowledged, sent_back }
        })
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
        topics.into_iter().for_each(|topic| drop(self.topics.remove(topic.as_str())));
        for group in groups {
            self.topics.values_mut().for_each(|topic| drop(topic.groups.remove(group.as_str())));
        }
        self.count_memory();
    }

    /// Forgets who had no traffic for long.
    pub fn forget_idle(&mut self, now: Uptime) {
        let idle_ms_max = if self.memory.is_short() { IDLE_MS_MAX_WHEN_SHORT } else { IDLE_MS_MAX };
        self.topics.retain(|_, topic| {
            retain(&mut topic.puts, now, idle_ms_max);
            topic.queues.retain(|_, queue| queue.idle_ms(now) <= idle_ms_max);
            topic.groups.retain(|_, group| {
                retain(&mut group.gets, now, idle_ms_max);
                retain(&mut group.acknowledged, now, idle_ms_max);
                retain(&mut group.sent_back, now, idle_ms_max);
                group.queues.retain(|_, queue| queue.idle_ms(now) <= idle_ms_max);
                group.gets.is_some() || group.acknowledged.is_some() || group.sent_back.is_some()
            });
            topic.puts.is_some() || !topic.groups.is_empty()
        });
        self.count_memory();
    }

    fn count_memory(&mut self) {
        let (mut bytes, mut queue_bytes) = (0, 0);
        for (name, topic) in &self.topics {
            bytes += TOPIC_BYTES + name.len() + bytes_of(&topic.puts);
            queue_bytes += topic.queues.len() * entry_bytes::<3>();
            for (name, group) in &topic.groups {
                bytes += GROUP_BYTES + name.len() + bytes_of(&group.gets);
                bytes += bytes_of(&group.acknowledged) + bytes_of(&group.sent_back);
                queue_bytes += group.queues.len() * entry_bytes::<4>();
            }
        }
        self.memory.bytes = bytes + queue_bytes;
        self.memory.queue_bytes = queue_bytes;
    }
}

fn bytes_of<const N: usize>(windows: &Option<Box<Windows<N>>>) -> usize {
    if windows.is_some() { entry_bytes::<N>() } else { 0 }
}

fn retain<const N: usize>(windows: &mut Option<Box<Windows<N>>>, now: Uptime, idle_ms_max: i64) {
    if windows.as_ref().is_some_and(|windows| windows.idle_ms(now) > idle_ms_max) {
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
