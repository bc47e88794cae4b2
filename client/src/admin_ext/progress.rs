//! Where groups are and where they go on: offsets committed, reset by time, copied; ages of what they have not consumed; and
//! bounds and messages of single queues.

use std::collections::BTreeMap;

use proto::body::{
    ConsumeProgress, ConsumeStats, ConsumeTimeSpans, MessageQueue, QueueTimeSpan, ResetOffsets,
    TopicStatsTable,
};
use proto::code::{request, response};
use proto::command::Language;

use super::name_servers::select_broker_addr;
use super::{AdminError, DefaultMqAdminExt};
use crate::Answer;
use crate::pull::{Pulled, pulled};

/// The time that means the end of each queue. Source: Apache RocketMQ 4.9.8, `ResetOffsetByTimeCommand`.
pub const TO_THE_END: i64 = -1;
/// A subscription is carried along with a pull.
const PULL_WITH_SUBSCRIPTION: i32 = 4;
/// Answers of a pull that are none of the others' refusals.
const PULL_CODES: [i32; 3] =
    [response::PULL_NOT_FOUND, response::PULL_RETRY_IMMEDIATELY, response::PULL_OFFSET_MOVED];

/// Which offsets to reset.
#[derive(Clone, Copy, Debug)]
pub struct OffsetReset<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Group.
    pub group: &'a str,
    /// To the first message stored at this time or later, ms since the epoch; or [`TO_THE_END`].
    pub timestamp: i64,
    /// Also where the group would skip messages.
    pub force: bool,
    /// Members are C++ clients, which read another body.
    pub is_cpp: bool,
}

/// What became of a queue whose group's offset was reset while the group was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackStats {
    /// Broker.
    pub broker_name: String,
    /// Queue.
    pub queue_id: i32,
    /// Offset of the queue's next message.
    pub broker_offset: i64,
    /// Where the group was.
    pub consumer_offset: i64,
    /// Where the time is.
    pub timestamp_offset: i64,
    /// Where the group is now.
    pub rollback_offset: i64,
}

impl DefaultMqAdminExt {
    /// UPDATE_CONSUMER_OFFSET (15) at a broker: where a group goes on in a queue.
    pub async fn update_consume_offset(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
        offset: i64,
    ) -> Result<(), AdminError> {
        let ext = [
            ("consumerGroup", group.into()),
            ("topic", queue.topic.as_str().into()),
            ("queueId", queue.queue_id.into()),
            ("commitOffset", offset.into()),
        ];
        let request = self.request(request::UPDATE_CONSUMER_OFFSET, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// INVOKE_BROKER_TO_RESET_OFFSET (222) at each broker of the topic's route: where the group goes on, by queue. Brokers of
    /// 4.9 refuse it with code 206 while the group is away.
    pub async fn reset_offset_by_timestamp(
        &self,
        reset: &OffsetReset<'_>,
    ) -> Result<BTreeMap<MessageQueue, i64>, AdminError> {
        let route = self.examine_topic_route_info(reset.topic).await?;
        let ext = [
            ("topic", reset.topic.into()),
            ("group", reset.group.into()),
            ("timestamp", reset.timestamp.into()),
            ("isForce", reset.force.into()),
        ];
        let mut request = self.request(request::INVOKE_BROKER_TO_RESET_OFFSET, &ext);
        if reset.is_cpp {
            request.language = Language::Cpp;
        }
        let mut all = BTreeMap::new();
        for addr in route.broker_datas.iter().filter_map(select_broker_addr) {
            let told = self.ask_broker(addr, &request).await?;
            all.extend(told.body(ResetOffsets::read)?.offset_table);
        }
        Ok(all)
    }

    /// Puts a group at an offset of one queue of a broker, and tells the broker so (15, then 222 with queue and offset, which
    /// 5.x understands).
    pub async fn reset_offset_by_queue_id(
        &self,
        addr: &str,
        (topic, group): (&str, &str),
        queue_id: i32,
        offset: i64,
    ) -> Result<(), AdminError> {
        let queue = MessageQueue { topic: topic.to_owned(), broker_name: String::new(), queue_id };
        self.update_consume_offset(addr, group, &queue, offset).await?;
        let ext = [
            ("topic", topic.into()),
            ("group", group.into()),
            ("queueId", queue_id.into()),
            ("offset", offset.into()),
            ("timestamp", 0_i64.into()),
            ("isForce", true.into()),
        ];
        let request = self.request(request::INVOKE_BROKER_TO_RESET_OFFSET, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// Resets offsets of a group that is away, queue by queue, with commits. A group that has consumed nothing on a broker is
    /// taken to be at the oldest message of each queue.
    pub async fn reset_offset_by_timestamp_old(
        &self,
        reset: &OffsetReset<'_>,
    ) -> Result<Vec<RollbackStats>, AdminError> {
        let route = self.examine_topic_route_info(reset.topic).await?;
        let mut all = Vec::new();
        for broker in &route.broker_datas {
            let Some(addr) = select_broker_addr(broker) else { continue };
            let mut progress = self.examine_consume_stats_at(addr, reset.group).await?.offset_table;
            progress.retain(|queue, _| queue.topic == reset.topic);
            if progress.is_empty() {
                let queues = route.queue_datas.iter();
                let queues = queues.filter(|data| data.broker_name == broker.broker_name);
                let reads = queues.map(|data| data.read_queue_nums).max().unwrap_or(0);
                let bounds = self.examine_topic_stats_at(addr, reset.topic).await?.offset_table;
                let readable = bounds.into_iter().filter(|(queue, _)| queue.queue_id < reads);
                progress.extend(readable.map(|(queue, bounds)| {
                    let (broker_offset, consumer_offset) = (bounds.max_offset, bounds.min_offset);
                    let begin =
                        ConsumeProgress { broker_offset, consumer_offset, ..Default::default() };
                    (queue, begin)
                }));
            }
            for (queue, progress) in progress {
                all.push(self.roll_back(addr, reset, &queue, &progress).await?);
            }
        }
        Ok(all)
    }

    async fn roll_back(
        &self,
        addr: &str,
        reset: &OffsetReset<'_>,
        queue: &MessageQueue,
        progress: &ConsumeProgress,
    ) -> Result<RollbackStats, AdminError> {
        let timestamp_offset = match reset.timestamp {
            TO_THE_END => self.end_of(addr, queue).await?,
            timestamp => self.offset_at_time(addr, queue, timestamp).await?,
        };
        let moves = reset.force || timestamp_offset <= progress.consumer_offset;
        if moves {
            self.update_consume_offset(addr, reset.group, queue, timestamp_offset).await?;
        }
        Ok(RollbackStats {
            broker_name: queue.broker_name.clone(),
            queue_id: queue.queue_id,
            broker_offset: progress.broker_offset,
            consumer_offset: progress.consumer_offset,
            timestamp_offset,
            rollback_offset: if moves { timestamp_offset } else { progress.consumer_offset },
        })
    }

    /// GET_CONSUME_STATS (208) at one broker.
    pub async fn examine_consume_stats_at(
        &self,
        addr: &str,
        group: &str,
    ) -> Result<ConsumeStats, AdminError> {
        let ext = [("consumerGroup", group.into())];
        let request = self.slow_request(request::GET_CONSUME_STATS, &ext);
        self.ask_broker(addr, &request).await?.body(ConsumeStats::read)
    }

    /// GET_TOPIC_STATS_INFO (202) at one broker.
    pub async fn examine_topic_stats_at(
        &self,
        addr: &str,
        topic: &str,
    ) -> Result<TopicStatsTable, AdminError> {
        let ext = [("topic", topic.into())];
        let request = self.request(request::GET_TOPIC_STATS_INFO, &ext);
        self.ask_broker(addr, &request).await?.body(TopicStatsTable::read)
    }

    /// QUERY_CONSUME_TIME_SPAN (303) at each broker of the topic's route: how old what a group has not consumed is, by queue.
    pub async fn query_consume_time_span(
        &self,
        topic: &str,
        group: &str,
    ) -> Result<Vec<QueueTimeSpan>, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let ext = [("topic", topic.into()), ("group", group.into())];
        let request = self.slow_request(request::QUERY_CONSUME_TIME_SPAN, &ext);
        let mut all = Vec::new();
        for addr in route.broker_datas.iter().filter_map(select_broker_addr) {
            let part = self.ask_broker(addr, &request).await?.body(ConsumeTimeSpans::read)?;
            all.extend(part.consume_time_span_set);
        }
        Ok(all)
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29): the first message of a queue that was stored at this time or later.
    pub async fn offset_at_time(
        &self,
        addr: &str,
        queue: &MessageQueue,
        timestamp: i64,
    ) -> Result<i64, AdminError> {
        let ext = [
            ("topic", queue.topic.as_str().into()),
            ("queueId", queue.queue_id.into()),
            ("timestamp", timestamp.into()),
        ];
        let request = self.request(request::SEARCH_OFFSET_BY_TIMESTAMP, &ext);
        self.ask_broker(addr, &request).await?.read(|answer| answer.number("offset"))
    }

    /// GET_MAX_OFFSET (30): where a queue's next message goes.
    async fn end_of(&self, addr: &str, queue: &MessageQueue) -> Result<i64, AdminError> {
        let ext = [("topic", queue.topic.as_str().into()), ("queueId", queue.queue_id.into())];
        let request = self.request(request::GET_MAX_OFFSET, &ext);
        self.ask_broker(addr, &request).await?.read(|answer| answer.number("offset"))
    }

    /// PULL_MESSAGE (11): messages of a queue from an offset on, without waiting and without committing.
    pub async fn pull_from(
        &self,
        addr: &str,
        group: &str,
        queue: &MessageQueue,
        (offset, messages_max): (i64, i32),
    ) -> Result<Pulled, AdminError> {
        let ext = [
            ("consumerGroup", group.into()),
            ("topic", queue.topic.as_str().into()),
            ("queueId", queue.queue_id.into()),
            ("queueOffset", offset.into()),
            ("maxMsgNums", messages_max.into()),
            ("sysFlag", PULL_WITH_SUBSCRIPTION.into()),
            ("commitOffset", 0_i64.into()),
            ("suspendTimeoutMillis", 0_i64.into()),
            ("subscription", "*".into()),
            ("subVersion", 0_i64.into()),
            ("expressionType", "TAG".into()),
        ];
        let request = self.slow_request(request::PULL_MESSAGE, &ext);
        // Never the VIP port: brokers serve no pulls there.
        let mut told = self.ask(addr, &request).await?;
        let code = told.answer.code;
        if PULL_CODES.contains(&code) {
            told.answer = Answer { code: 0, ..told.answer };
        }
        told.read(|answer| pulled(Answer { code, ..answer }))
    }
}
