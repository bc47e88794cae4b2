//! Headers of requests for statistics of a broker.

use super::field::header;

header! {
    /// `VIEW_BROKER_STATS_DATA` (315). Source: Apache RocketMQ 4.9.8, remoting `ViewBrokerStatsDataRequestHeader`.
    BrokerStatsHeader {
        /// What is counted, such as `TOPIC_PUT_NUMS`.
        stats_name: &'a str = "statsName" required,
        /// Of what, such as a topic.
        stats_key: &'a str = "statsKey" required,
    }
}

header! {
    /// `GET_BROKER_CONSUME_STATS` (317). Source: Apache RocketMQ 4.9.8, remoting `GetConsumeStatsInBrokerHeader`.
    BrokerConsumeStatsHeader {
        /// Whether topics that are not ordered are left out, see [`BrokerConsumeStatsHeader::ordered_only`].
        is_order: &'a str = "isOrder" required,
    }
}

impl BrokerConsumeStatsHeader<'_> {
    /// Whether topics that are not ordered are left out: only `true` says so, in any letters, as in Java.
    pub fn ordered_only(&self) -> bool {
        self.is_order.eq_ignore_ascii_case("true")
    }
}
