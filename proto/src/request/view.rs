//! Headers of requests that look messages up.

use super::field::header;

header! {
    /// `QUERY_MESSAGE` (12). Source: Apache RocketMQ 5.3.3, remoting `QueryMessageRequestHeader`.
    QueryMessageHeader {
        /// The topic.
        topic: &'a str = "topic" required,
        /// A word of the messages' `KEYS`, or a unique id when `unique_key_query` is set.
        key: &'a str = "key" required,
        /// At most so many messages.
        max_num: i32 = "maxNum" required,
        /// Earliest store time, ms since the epoch.
        begin_timestamp: i64 = "beginTimestamp" required,
        /// Latest store time, ms since the epoch.
        end_timestamp: i64 = "endTimestamp" required,
        /// Whether `key` is a client's unique id; absent is false.
        unique_key_query: bool = "_UNIQUE_KEY_QUERY" default(false),
    }
}

header! {
    /// `VIEW_MESSAGE_BY_ID` (33). Source: Apache RocketMQ 5.3.3, remoting `ViewMessageRequestHeader`.
    ViewMessageHeader {
        /// Physical offset, as the message id carries it.
        offset: i64 = "offset" required,
        /// Sent by 5.x clients.
        topic: Option<&'a str> = "topic" optional,
    }
}
