//! Queues read as a tool reads them: where they begin and end, what was stored when, and the messages themselves.

use proto::body::{MessageQueue, RouteData};
use proto::code::{request, response};
use proto::command::ExtValue;

use super::name_servers::select_broker_addr;
use super::{AdminError, DefaultMqAdminExt, Told};
use crate::pull::pulled;
use crate::{ClientError, PullRequest, Pulled};

/// The bit of a permission that lets consumers read.
const PERM_READ: i32 = 4;
/// Between the tags of a subscription.
const TAG_SEPARATOR: &str = "||";

/// A queue, and the address of the broker that is asked about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueAt {
    /// The queue.
    pub queue: MessageQueue,
    /// `host:port`.
    pub addr: String,
}

impl DefaultMqAdminExt {
    /// The queues of a topic that consumers see, in order.
    pub async fn fetch_subscribe_message_queues(
        &self,
        topic: &str,
    ) -> Result<Vec<QueueAt>, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let mut queues = subscribe_queues(&route, topic);
        queues.sort();
        if queues.is_empty() {
            let what = format!("no broker has a queue of topic {topic} that can be read");
            return Err(AdminError::NotFound { what, code: response::TOPIC_NOT_EXIST });
        }
        Ok(queues)
    }

    /// The queue of this number at a broker of the topic's route.
    pub async fn queue_at(&self, queue: &MessageQueue) -> Result<QueueAt, AdminError> {
        let route = self.examine_topic_route_info(&queue.topic).await?;
        let mut brokers = route.broker_datas.iter();
        let broker = brokers.find(|broker| broker.broker_name == queue.broker_name);
        let Some(addr) = broker.and_then(select_broker_addr) else {
            let names: Vec<&str> = route.broker_datas.iter().map(|b| &b.broker_name[..]).collect();
            let what = format!(
                "topic {} is not on broker {}; it is on: {}",
                queue.topic,
                queue.broker_name,
                names.join(", ")
            );
            return Err(AdminError::NotFound { what, code: response::TOPIC_NOT_EXIST });
        };
        Ok(QueueAt { queue: queue.clone(), addr: addr.to_owned() })
    }

    /// GET_MIN_OFFSET (31): the first message that is still there.
    pub async fn min_offset(&self, at: &QueueAt) -> Result<i64, AdminError> {
        self.offset_of(at, request::GET_MIN_OFFSET, None).await
    }

    /// GET_MAX_OFFSET (30): where the queue's next message goes.
    pub async fn max_offset(&self, at: &QueueAt) -> Result<i64, AdminError> {
        self.offset_of(at, request::GET_MAX_OFFSET, None).await
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29): the first message stored at this time or later, ms since the epoch.
    pub async fn search_offset(&self, at: &QueueAt, store_ms: i64) -> Result<i64, AdminError> {
        self.offset_of(at, request::SEARCH_OFFSET_BY_TIMESTAMP, Some(store_ms)).await
    }

    async fn offset_of(
        &self,
        QueueAt { queue, addr }: &QueueAt,
        code: i32,
        store_ms: Option<i64>,
    ) -> Result<i64, AdminError> {
        let mut ext: Vec<(&str, ExtValue<'_>)> =
            vec![("topic", queue.topic.as_str().into()), ("queueId", queue.queue_id.into())];
        ext.extend(store_ms.map(|ms| ("timestamp", ms.into())));
        let told = self.ask_broker(addr, &self.request(code, &ext)).await?;
        told.read(|answer| answer.number("offset"))
    }

    /// PULL_MESSAGE (11): messages of a queue, never asked at the VIP port, which serves no pulls. Brokers compare hashes
    /// of tags, so messages with other tags than the subscription's are left out here.
    pub async fn pull(&self, addr: &str, pull: &PullRequest<'_>) -> Result<Pulled, AdminError> {
        let ext = pull.fields();
        let mut request = self.request(pull.code(), &ext);
        request.timeout += pull.park;
        let Told { addr, request, answer } = self.ask(addr, &request).await?;
        let mut found = pulled(answer).map_err(|source| match source {
            ClientError::Refused { code, remark } => {
                AdminError::Refused { addr, request, code, remark }
            }
            source => AdminError::Answer { addr, request, source },
        })?;
        let tags = pull.subscription.filter(|_| pull.expression_type == "TAG").map(tags_of);
        if let Some(tags) = tags.filter(|tags| !tags.is_empty()) {
            found.messages.retain(|m| m.property("TAGS").is_some_and(|tag| tags.contains(&tag)));
        }
        Ok(found)
    }
}

/// Queues that consumers see, of brokers that have an address.
fn subscribe_queues(route: &RouteData, topic: &str) -> Vec<QueueAt> {
    let mut all = Vec::new();
    for data in route.queue_datas.iter().filter(|data| data.perm & PERM_READ != 0) {
        let mut brokers = route.broker_datas.iter();
        let broker = brokers.find(|broker| broker.broker_name == data.broker_name);
        let Some(addr) = broker.and_then(select_broker_addr) else { continue };
        all.extend((0..data.read_queue_nums).map(|queue_id| QueueAt {
            queue: MessageQueue {
                broker_name: data.broker_name.clone(),
                queue_id,
                topic: topic.to_owned(),
            },
            addr: addr.to_owned(),
        }));
    }
    all
}

/// The tags of `TagA || TagB`; none when all are wanted.
fn tags_of(subscription: &str) -> Vec<&str> {
    let tags = subscription.split(TAG_SEPARATOR).map(str::trim).filter(|tag| !tag.is_empty());
    let tags: Vec<&str> = tags.collect();
    if tags.contains(&"*") { Vec::new() } else { tags }
}

#[cfg(test)]
mod tests {
    use super::tags_of;

    #[test]
    fn a_star_wants_all_tags() {
        assert!(tags_of("*").is_empty());
        assert!(tags_of("").is_empty());
        assert_eq!(tags_of("a || b||c "), ["a", "b", "c"]);
    }
}
