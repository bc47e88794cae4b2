//! Offsets and times of queues for admin tools: `GET_TOPIC_STATS_INFO` (202), `GET_CONSUME_STATS` (208),
//! `QUERY_CONSUME_TIME_SPAN` (303), `INVOKE_BROKER_TO_RESET_OFFSET` (222), `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` (223),
//! `VIEW_BROKER_STATS_DATA` (315) and `GET_BROKER_CONSUME_STATS` (317).
//!
//! The tables of all but 303 and 315 have queues as keys, which Java writes as bare objects; string keys are read as well.

use std::collections::BTreeMap;

use super::MessageQueue;
use super::fields::TABLE_BODY_BYTES_MAX;
use super::member::{Member, body};
use super::writer::{self, Dialect};

body! {
    /// What a queue holds. Source: Apache RocketMQ 4.9.8, `TopicOffset`.
    #[derive(Copy, Eq)]
    QueueBounds("offsetTable") {
        /// When the newest message was stored, ms; 0 without messages.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// Offset of the next message.
        max_offset: i64 = "maxOffset",
        /// Offset of the oldest message.
        min_offset: i64 = "minOffset",
    }
}

body! {
    /// The queues of a topic. Source: Apache RocketMQ 4.9.8, `TopicStatsTable`.
    TopicStatsTable("body", TABLE_BODY_BYTES_MAX) {
        /// Queue to bounds.
        offset_table: BTreeMap<MessageQueue, QueueBounds> = "offsetTable",
        /// 5.x: messages per second that are sent to it.
        topic_put_tps: Option<f64> = "topicPutTps",
    }
}

body! {
    /// How far a group is in a queue. Source: Apache RocketMQ 4.9.8, `OffsetWrapper`.
    #[derive(Copy, Eq)]
    ConsumeProgress("offsetTable") {
        /// Offset of the next message of the queue.
        broker_offset: i64 = "brokerOffset",
        /// Offset the group has committed.
        consumer_offset: i64 = "consumerOffset",
        /// When the message before that was stored, ms.
        last_timestamp: i64 = "lastTimestamp",
        /// 5.x: offset that the group's next pull will ask for, as far as is known.
        pull_offset: Option<i64> = "pullOffset",
    }
}

body! {
    /// How far a group is. Source: Apache RocketMQ 4.9.8, `ConsumeStats`.
    ConsumeStats("body", TABLE_BODY_BYTES_MAX) {
        /// Messages per second.
        consume_tps: f64 = "consumeTps",
        /// Queue to progress.
        offset_table: BTreeMap<MessageQueue, ConsumeProgress> = "offsetTable",
    }
}

impl ConsumeStats {
    /// Messages that the group has not consumed, and those of them that it has pulled, as far as that is known. Groups may commit
    /// any offset; what does not fit wraps, as in Java.
    pub fn diffs(&self) -> (i64, i64) {
        let diffs = self.offset_table.values().map(|progress| {
            let pulled = progress.pull_offset.unwrap_or(progress.consumer_offset);
            (
                progress.broker_offset.wrapping_sub(progress.consumer_offset),
                pulled.wrapping_sub(progress.consumer_offset),
            )
        });
        diffs.fold((0_i64, 0_i64), |(diff, inflight), (more, pulled)| {
            (diff.wrapping_add(more), inflight.wrapping_add(pulled))
        })
    }
}

body! {
    /// How far all groups of a broker are. Source: Apache RocketMQ 5.3.3, `ConsumeStatsList`.
    ConsumeStatsList("body", TABLE_BODY_BYTES_MAX) {
        /// The broker.
        broker_addr: String = "brokerAddr",
        /// One for each group: its name, and how far it is on each of its topics.
        consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>> = "consumeStatsList",
        /// Messages that groups have not consumed.
        total_diff: i64 = "totalDiff",
        /// 5.x: those of them that they have pulled.
        total_inflight_diff: i64 = "totalInflightDiff",
    }
}

/// A [`ConsumeStatsList`] that is written group by group: it may be large, and its text is the smallest form of it.
pub struct ConsumeStatsWriter {
    out: Vec<u8>,
    groups: usize,
    total_diff: i64,
    total_inflight_diff: i64,
}

impl ConsumeStatsWriter {
    /// Of the broker with this address.
    pub fn new(broker_addr: &str) -> ConsumeStatsWriter {
        let mut out = b"{\"brokerAddr\":".to_vec();
        writer::text(&mut out, broker_addr, Dialect::Fastjson);
        out.extend_from_slice(b",\"consumeStatsList\":[");
        ConsumeStatsWriter { out, groups: 0, total_diff: 0, total_inflight_diff: 0 }
    }

    /// Adds a group: how far it is on each of its topics.
    pub fn group(&mut self, group: &str, topics: &[ConsumeStats]) {
        if self.groups > 0 {
            self.out.push(b',');
        }
        self.groups += 1;
        self.out.push(b'{');
        writer::text(&mut self.out, group, Dialect::Fastjson);
        self.out.extend_from_slice(b":[");
        for (index, stats) in topics.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            stats.write_value(&mut self.out, Dialect::Fastjson);
            let (diff, inflight) = stats.diffs();
            self.total_diff = self.total_diff.wrapping_add(diff);
            self.total_inflight_diff = self.total_inflight_diff.wrapping_add(inflight);
        }
        self.out.extend_from_slice(b"]}");
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The body.
    pub fn finish(mut self) -> Vec<u8> {
        let (diff, inflight) = (self.total_diff, self.total_inflight_diff);
        let end = format!("],\"totalDiff\":{diff},\"totalInflightDiff\":{inflight}}}");
        self.out.extend_from_slice(end.as_bytes());
        self.out
    }
}

body! {
    /// What was counted within a window. Source: Apache RocketMQ 4.9.8, `BrokerStatsItem`.
    #[derive(Copy)]
    StatsWindow("statsMinute") {
        /// By each request.
        avgpt: f64 = "avgpt",
        /// In all.
        sum: i64 = "sum",
        /// Per second.
        tps: f64 = "tps",
    }
}

body! {
    /// What was counted in the last minute, hour and day. Source: Apache RocketMQ 4.9.8, `BrokerStatsData`.
    BrokerStatsData("body", TABLE_BODY_BYTES_MAX) {
        /// Day.
        stats_day: StatsWindow = "statsDay",
        /// Hour.
        stats_hour: StatsWindow = "statsHour",
        /// Minute.
        stats_minute: StatsWindow = "statsMinute",
    }
}

body! {
    /// From when to when a queue has messages, and how far a group is there. Source: Apache RocketMQ 4.9.8, `QueueTimeSpan`.
    #[derive(Eq)]
    QueueTimeSpan("consumeTimeSpanSet") {
        /// When the message that the group consumed last was stored, ms; -1 without messages, or unknown.
        consume_time_stamp: i64 = "consumeTimeStamp",
        /// For how long the next message for the group has been there, ms; 0 when there is none.
        delay_time: i64 = "delayTime",
        /// When the newest message was stored, ms; -1 without messages, or unknown.
        max_time_stamp: i64 = "maxTimeStamp",
        /// The queue.
        message_queue: MessageQueue = "messageQueue",
        /// When the oldest message was stored, ms; -1 without messages, or unknown.
        min_time_stamp: i64 = "minTimeStamp",
    }
}

body! {
    /// The same of all queues of a topic. Source: Apache RocketMQ 4.9.8, `QueryConsumeTimeSpanBody`.
    #[derive(Eq)]
    ConsumeTimeSpans("body", TABLE_BODY_BYTES_MAX) {
        /// By queue.
        consume_time_span_set: Vec<QueueTimeSpan> = "consumeTimeSpanSet",
    }
}

body! {
    /// Where a group goes on. Source: Apache RocketMQ 4.9.8, `ResetOffsetBody`.
    #[derive(Eq)]
    ResetOffsets("body", TABLE_BODY_BYTES_MAX) {
        /// Queue to offset.
        offset_table: BTreeMap<MessageQueue, i64> = "offsetTable",
    }
}

body! {
    /// How far consumers of a group have consumed, as they say. Source: Apache RocketMQ 4.9.8, `GetConsumerStatusBody`.
    #[derive(Eq)]
    ConsumerStatus("body", TABLE_BODY_BYTES_MAX) {
        /// From the broker: by client id, queue to offset.
        consumer_table: BTreeMap<String, BTreeMap<MessageQueue, i64>> = "consumerTable",
        /// From a client: queue to offset.
        message_queue_table: BTreeMap<MessageQueue, i64> = "messageQueueTable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(topic: &str, offsets: [i64; 3]) -> ConsumeStats {
        let [broker_offset, consumer_offset, pulled] = offsets;
        let queue =
            MessageQueue { topic: topic.to_owned(), broker_name: "b".to_owned(), queue_id: 0 };
        let progress = ConsumeProgress {
            broker_offset,
            consumer_offset,
            last_timestamp: 7,
            pull_offset: (pulled > 0).then_some(pulled),
        };
        ConsumeStats { consume_tps: 1.5, offset_table: [(queue, progress)].into() }
    }

    #[test]
    fn offsets_of_any_size_are_summed_up() {
        let mut pieces = ConsumeStatsWriter::new("10.0.0.1:10911");
        pieces.group("g", &[stats("t", [10, i64::MIN, 0]), stats("u", [10, i64::MAX, 0])]);
        pieces.group("h", &[stats("t", [i64::MAX, -1, 0])]);
        assert!(ConsumeStatsList::read(&pieces.finish()).is_ok());
    }

    #[test]
    fn a_list_written_group_by_group_is_the_body_that_is_written_whole() {
        let groups: [(&str, Vec<ConsumeStats>); 3] = [
            ("g", vec![stats("t", [10, 4, 6]), stats("u", [3, 3, 0])]),
            ("h", Vec::new()),
            ("%i", vec![stats("t", [10, 9, 0])]),
        ];
        let mut pieces = ConsumeStatsWriter::new("10.0.0.1:10911");
        groups.iter().for_each(|(group, topics)| pieces.group(group, topics));
        let before = pieces.bytes();
        let list = groups.into_iter().map(|(group, topics)| [(group.to_owned(), topics)].into());
        let whole = ConsumeStatsList {
            broker_addr: "10.0.0.1:10911".to_owned(),
            consume_stats_list: list.collect(),
            total_diff: 7,
            total_inflight_diff: 2,
        };
        let mut expected = Vec::new();
        whole.write(&mut expected);
        let written = pieces.finish();
        assert_eq!(String::from_utf8(written.clone()), String::from_utf8(expected));
        assert!(before < written.len());
        assert_eq!(ConsumeStatsList::read(&written).expect("our own"), whole);
    }
}
