//! Offsets of groups (14, 15) and of queues (29 to 32).

use proto::code::request;
use proto::command::ExtValue;

use crate::{ClientError, Connection, Ticket};

impl Connection {
    /// QUERY_CONSUMER_OFFSET (14). A group without an offset may be refused with code 22.
    pub fn consumer_offset(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
    ) -> Result<i64, ClientError> {
        let ext = [
            ("consumerGroup", group.into()),
            ("topic", topic.into()),
            ("queueId", queue_id.into()),
        ];
        self.number_of(request::QUERY_CONSUMER_OFFSET, &ext, "offset")
    }

    /// UPDATE_CONSUMER_OFFSET (15), answered.
    pub fn commit_offset(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<(), ClientError> {
        let ticket = self.start_commit(group, topic, queue_id, offset)?;
        self.finish(ticket)?.success().map(drop)
    }

    /// The same, to be finished later: many may be under way.
    pub fn start_commit(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<Ticket, ClientError> {
        let ext = commit_fields(group, topic, queue_id, offset);
        self.start(request::UPDATE_CONSUMER_OFFSET, &ext, &[])
    }

    /// UPDATE_CONSUMER_OFFSET (15) with the one-way flag, as Java push consumers send it.
    pub fn commit_offset_oneway(
        &mut self,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<(), ClientError> {
        let ext = commit_fields(group, topic, queue_id, offset);
        self.start_oneway(request::UPDATE_CONSUMER_OFFSET, &ext, &[])
    }

    /// GET_MAX_OFFSET (30): where the queue's next message goes.
    pub fn max_offset(&mut self, topic: &str, queue_id: i32) -> Result<i64, ClientError> {
        let ext = [("topic", topic.into()), ("queueId", queue_id.into())];
        self.number_of(request::GET_MAX_OFFSET, &ext, "offset")
    }

    /// GET_MIN_OFFSET (31): the first message that is still there.
    pub fn min_offset(&mut self, topic: &str, queue_id: i32) -> Result<i64, ClientError> {
        let ext = [("topic", topic.into()), ("queueId", queue_id.into())];
        self.number_of(request::GET_MIN_OFFSET, &ext, "offset")
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29).
    pub fn search_offset(
        &mut self,
        topic: &str,
        queue_id: i32,
        store_ms: i64,
    ) -> Result<i64, ClientError> {
        let ext =
            [("topic", topic.into()), ("queueId", queue_id.into()), ("timestamp", store_ms.into())];
        self.number_of(request::SEARCH_OFFSET_BY_TIMESTAMP, &ext, "offset")
    }

    /// GET_EARLIEST_MSG_STORETIME (32): ms since the epoch, -1 for an empty queue.
    pub fn earliest_store_time(&mut self, topic: &str, queue_id: i32) -> Result<i64, ClientError> {
        let ext = [("topic", topic.into()), ("queueId", queue_id.into())];
        self.number_of(request::GET_EARLIEST_MSG_STORETIME, &ext, "timestamp")
    }

    fn number_of(
        &mut self,
        code: i32,
        ext: &[(&str, ExtValue<'_>)],
        field: &'static str,
    ) -> Result<i64, ClientError> {
        self.call(code, ext, &[])?.success()?.number(field)
    }
}

fn commit_fields<'a>(
    group: &'a str,
    topic: &'a str,
    queue_id: i32,
    offset: i64,
) -> [(&'a str, ExtValue<'a>); 4] {
    [
        ("consumerGroup", group.into()),
        ("topic", topic.into()),
        ("queueId", queue_id.into()),
        ("commitOffset", offset.into()),
    ]
}
