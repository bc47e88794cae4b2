//! What VIEW_BROKER_STATS_DATA calls by which name and key. Source: Apache RocketMQ 5.3.3, store `BrokerStatsManager`.
//!
//! Names that are not here, of statistics that this broker does not keep, do not exist as far as tools are concerned.

use super::{
    GroupTraffic, Traffic,
    windows::{Window, Windows},
};
use runtime::Uptime;

/// What was counted within one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// In all.
    pub sum: u64,
    /// Per second.
    pub tps: f64,
    /// By each request.
    pub avgpt: f64,
}

/// Places of numbers that are counted together.
const MESSAGES: usize = 0;
const BYTES: usize = 1;
const REQUESTS: usize = 2;
const MS: usize = 3;

/// Figures of the last minute, hour and day.
type Last = [Figures; 3];

/// One of the numbers, by requests.
fn by_request<const N: usize>(windows: &Windows<N>, now: Uptime, number: usize) -> Last {
    windows.last(now).map(|window| figures(&window, number, window.sums[REQUESTS]))
}

/// A number that is one with each request.
fn alone(windows: &Windows<1>, now: Uptime) -> Last {
    windows.last(now).map(|window| figures(&window, 0, window.sums[0]))
}

/// A number of the whole broker, of which Java counts no requests.
fn of_broker(windows: &Windows<1>, now: Uptime) -> Last {
    windows.last(now).map(|window| figures(&window, 0, 0))
}

fn figures<const N: usize>(window: &Window<N>, number: usize, requests: u64) -> Figures {
    let sum = window.sums[number];
    let avgpt = if requests > 0 { sum as f64 / requests as f64 } else { 0.0 };
    Figures { sum, tps: sum as f64 * 1_000.0 / window.ms as f64, avgpt }
}

/// `topic@group`, or another pair.
fn pair(key: &str) -> Option<(&str, &str)> {
    key.split_once('@')
}

/// `topic@queue`.
fn topic_and_queue(key: &str) -> Option<(&str, u32)> {
    let (topic, queue_id) = pair(key)?;
    Some((topic, queue_id.parse().ok()?))
}

/// `topic@queue@group`, or `queue@topic@group` where the queue is first.
fn place(key: &str, is_queue_first: bool) -> Option<(&str, u32, &str)> {
    let (first, rest) = pair(key)?;
    let (second, group) = pair(rest)?;
    let (topic, queue_id) = if is_queue_first { (second, first) } else { (first, second) };
    Some((topic, queue_id.parse().ok()?, group))
}

impl Traffic {
    /// What Java's tools call `name` of `key`, of the last minute, hour and day. `None`: no such thing, or no traffic.
    pub fn figures(&self, name: &str, key: &str, now: Uptime) -> Option<Last> {
        let puts = |number| {
            let windows = self.topics.get(key)?.puts.as_ref()?;
            Some(by_request(windows, now, number))
        };
        let queue_puts = |number| {
            let (topic, queue_id) = topic_and_queue(key)?;
            let windows = self.topics.get(topic)?.queues.get(&queue_id)?;
            Some(by_request(windows, now, number))
        };
        let gets = |number| {
            let windows = self.group_traffic(key)?.gets.as_ref()?;
            Some(by_request(windows, now, number))
        };
        let queue_gets = |number, is_queue_first| {
            let (topic, queue_id, group) = place(key, is_queue_first)?;
            let windows = self.topics.get(topic)?.groups.get(group)?.queues.get(&queue_id)?;
            Some(by_request(windows, now, number))
        };
        let broker = |windows: &Option<Windows<1>>| {
            let windows = windows.as_ref().filter(|_| key == self.cluster)?;
            Some(of_broker(windows, now))
        };
        match name {
            "TOPIC_PUT_NUMS" => puts(MESSAGES),
            "TOPIC_PUT_SIZE" => puts(BYTES),
            "QUEUE_PUT_NUMS" => queue_puts(MESSAGES),
            "QUEUE_PUT_SIZE" => queue_puts(BYTES),
            "GROUP_GET_NUMS" => gets(MESSAGES),
            "GROUP_GET_SIZE" => gets(BYTES),
            "QUEUE_GET_NUMS" => queue_gets(MESSAGES, false),
            "QUEUE_GET_SIZE" => queue_gets(BYTES, false),
            "GROUP_GET_LATENCY" => queue_gets(MS, true),
            "GROUP_ACK_NUMS" => Some(alone(self.group_traffic(key)?.acknowledged.as_ref()?, now)),
            "SNDBCK_PUT_NUMS" => Some(alone(self.group_traffic(key)?.sent_back.as_ref()?, now)),
            "BROKER_PUT_NUMS" => broker(&self.broker.puts),
            "BROKER_GET_NUMS" => broker(&self.broker.gets),
            "BROKER_ACK_NUMS" => broker(&self.broker.acknowledged),
            "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC" => broker(&self.broker.puts_of_clients),
            "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC" => broker(&self.broker.gets_of_clients),
            _ => None,
        }
    }

    fn group_traffic(&self, key: &str) -> Option<&GroupTraffic> {
        let (topic, group) = pair(key)?;
        self.topics.get(topic)?.groups.get(group)
    }
}
