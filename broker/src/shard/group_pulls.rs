//! What groups have pulled from the queues of one shard lately, for GET_CONSUME_STATS: how far, and how much per second.
//! In memory only; a pair of group and topic that pulls nothing for ten minutes is forgotten.

use ahash::AHashMap;
use runtime::Uptime;

/// Of a group, of one of its topics, of one of their queues; names aside. Measured, allocator included.
const GROUP_BYTES: usize = 640;
const TOPIC_BYTES: usize = 400;
const QUEUE_BYTES: usize = 40;
/// Length of a span that messages are counted in, ms.
const SPAN_MS: i64 = 10_000;
/// Spans that a rate is taken from: the last minute.
const SPANS: usize = 6;
/// Who pulls nothing for so many spans is forgotten.
const IDLE_SPANS: i64 = 60;

/// Number of the span that a moment lies in.
fn span_of(now: Uptime) -> i64 {
    (now - Uptime::default()).div_euclid(SPAN_MS)
}

/// All pairs of group and topic.
pub struct GroupPulls {
    groups: AHashMap<Box<str>, AHashMap<Box<str>, TopicPulls>>,
    bytes: usize,
    /// What is pulled beyond is not counted.
    bytes_max: usize,
}

#[derive(Default)]
struct TopicPulls {
    /// By queue id: where the next pull begins.
    next: AHashMap<u32, i64>,
    /// Messages by span, in a ring.
    counts: [u64; SPANS],
    /// Number of the newest span.
    span: i64,
}

impl TopicPulls {
    /// Makes the span of `now` the newest.
    fn turn_to(&mut self, now: Uptime) {
        let span = span_of(now);
        let passed = span.saturating_sub(self.span).clamp(0, SPANS as i64);
        for step in 0..passed {
            *self.count_of(span - step) = 0;
        }
        self.span = self.span.max(span);
    }

    fn count_of(&mut self, span: i64) -> &mut u64 {
        let index = span.rem_euclid(SPANS as i64) as usize;
        &mut self.counts[index]
    }
}

impl GroupPulls {
    /// Nothing was pulled so far. It takes up no more than `bytes_max`.
    pub fn new(bytes_max: usize) -> GroupPulls {
        GroupPulls { groups: AHashMap::new(), bytes: 0, bytes_max }
    }

    /// Whether there is room for so many bytes more; they are counted then.
    fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= self.bytes_max;
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    /// A group has pulled messages from a queue; its next pull there begins at `next`.
    pub fn note(
        &mut self,
        (group, topic, queue_id): (&str, &str, u32),
        next: i64,
        messages: u64,
        now: Uptime,
    ) {
        let known = self.groups.get_mut(group).and_then(|topics| topics.get_mut(topic));
        let Some(pulls) = known else {
            return self.note_first((group, topic, queue_id), next, messages, now);
        };
        pulls.turn_to(now);
        *pulls.count_of(pulls.span) += messages;
        if let Some(known) = pulls.next.get_mut(&queue_id) {
            *known = next;
        } else if self.bytes + QUEUE_BYTES <= self.bytes_max {
            self.bytes += QUEUE_BYTES;
            pulls.next.insert(queue_id, next);
        }
    }

    /// The first pull of a group from a topic.
    fn note_first(
        &mut self,
        (group, topic, queue_id): (&str, &str, u32),
        next: i64,
        messages: u64,
        now: Uptime,
    ) {
        let of_group = if self.groups.contains_key(group) { 0 } else { GROUP_BYTES + group.len() };
        if !self.grow(of_group + TOPIC_BYTES + topic.len() + QUEUE_BYTES) {
            return;
        }
        let topics = self.groups.entry(group.into()).or_default();
        let pulls = topics.entry(topic.into()).or_default();
        pulls.turn_to(now);
        *pulls.count_of(pulls.span) += messages;
        pulls.next.insert(queue_id, next);
    }

    /// Where the group's next pull from this queue begins, if it has pulled lately.
    pub fn next_offset(&self, group: &str, topic: &str, queue_id: u32) -> Option<i64> {
        self.groups.get(group)?.get(topic)?.next.get(&queue_id).copied()
    }

    /// Messages a second that the group pulled from this shard in the last minute, by topic.
    pub fn rates(&mut self, group: &str, now: Uptime) -> Vec<(Box<str>, f64)> {
        let topics = self.groups.get_mut(group).into_iter().flatten();
        let seconds = (SPANS as i64 * SPAN_MS / 1000) as f64;
        topics
            .map(|(topic, pulls)| {
                pulls.turn_to(now);
                (topic.clone(), pulls.counts.iter().sum::<u64>() as f64 / seconds)
            })
            .collect()
    }

    /// Forgets who has pulled nothing for long.
    pub fn forget_idle(&mut self, now: Uptime) {
        let oldest = span_of(now) - IDLE_SPANS;
        self.groups.retain(|_, topics| {
            topics.retain(|_, pulls| pulls.span >= oldest);
            !topics.is_empty()
        });
        self.bytes = self.counted_bytes();
    }

    fn counted_bytes(&self) -> usize {
        let mut bytes = 0;
        for (group, topics) in &self.groups {
            bytes += GROUP_BYTES + group.len();
            for (topic, pulls) in topics {
                bytes += TOPIC_BYTES + topic.len() + QUEUE_BYTES * pulls.next.len();
            }
        }
        bytes
    }

    /// A topic was deleted: what comes under its name is another one.
    pub fn forget_topic(&mut self, topic: &str) {
        for topics in self.groups.values_mut() {
            if let Some(pulls) = topics.remove(topic) {
                self.bytes -= TOPIC_BYTES + topic.len() + QUEUE_BYTES * pulls.next.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Uptime = Uptime::from_ms(1_700_000_000);

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let mut pulls = GroupPulls::new(10_000);
        for second in 0..120 {
            pulls.note(("g", "t", 0), second * 30, 30, NOW + second * 1_000);
        }
        pulls.note(("g", "u", 3), 7, 60, NOW + 119_000);
        let mut rates = pulls.rates("g", NOW + 119_000);
        rates.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(rates, [("t".into(), 30.0), ("u".into(), 1.0)]);
        assert_eq!(pulls.next_offset("g", "t", 0), Some(119 * 30));
        assert_eq!(pulls.next_offset("g", "t", 1), None);
        assert_eq!(pulls.rates("g", NOW + 125_000).len(), 2);
        let later = pulls.rates("g", NOW + 300_000);
        assert!(later.iter().all(|(_, rate)| *rate == 0.0), "{later:?}");
        assert!(pulls.rates("h", NOW).is_empty());
    }

    #[test]
    fn who_is_idle_and_what_is_deleted_is_forgotten_and_the_rest_is_bounded() {
        let mut pulls = GroupPulls::new(10_000);
        pulls.note(("g", "t", 0), 1, 1, NOW);
        pulls.note(("g", "u", 0), 1, 1, NOW + 500_000);
        pulls.note(("h", "u", 0), 1, 1, NOW + 500_000);
        pulls.forget_idle(NOW + 700_000);
        assert_eq!((pulls.next_offset("g", "t", 0), pulls.groups.len()), (None, 2));
        assert_eq!(pulls.bytes, pulls.counted_bytes());
        pulls.forget_topic("u");
        assert_eq!((pulls.next_offset("h", "u", 0), pulls.bytes), (None, pulls.counted_bytes()));
        pulls.forget_idle(NOW + 700_000);
        assert_eq!(pulls.bytes, 0);
        for queue_id in 0..1_000 {
            pulls.note(("g", "t", queue_id), 1, 1, NOW);
        }
        for group in 0..100 {
            pulls.note((&format!("h{group}"), "t", 0), 1, 1, NOW);
        }
        assert_eq!(pulls.bytes, pulls.counted_bytes());
        assert!((9_000..=10_000).contains(&pulls.bytes), "{}", pulls.bytes);
        assert_eq!(pulls.next_offset("g", "t", 999), None);
        assert_eq!(pulls.next_offset("h0", "t", 0), None);
        pulls.note(("g", "t", 0), 5, 1, NOW);
        assert_eq!(pulls.next_offset("g", "t", 0), Some(5), "what is known is kept up to date");
    }
}
