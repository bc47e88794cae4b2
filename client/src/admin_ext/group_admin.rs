//! Consumer groups as an administrator has them: their settings, deleted, which way they get messages, how far all of a broker
//! are; producer groups, as far as they are connected.

use std::time::Duration;

use proto::body::{
    ConsumeStatsList, ConsumerConnection, MessageRequestMode, ProducerConnection, ProducerTable,
    SetRequestModeRequest, SubscriptionGroupConfig, SubscriptionGroupTable, TopicConfigTable,
    TopicList,
};
use proto::code::{request, response};

use super::name_servers::select_broker_addr;
use super::{AdminError, DefaultMqAdminExt};

/// Groups of the servers and of tools, which users did not make. Source: Apache RocketMQ 4.9.8, `DefaultMQAdminExtImpl`.
const SYSTEM_GROUPS: [&str; 12] = [
    "DEFAULT_CONSUMER",
    "DEFAULT_PRODUCER",
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "SELF_TEST_P_GROUP",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
];
/// Before the names of further ones.
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
/// Before the names of topics that belong to groups.
const OF_GROUPS: [&str; 2] = ["%RETRY%", "%DLQ%"];

/// Whether a group belongs to the servers or to tools.
pub fn is_system_group(name: &str) -> bool {
    name.starts_with(SYSTEM_GROUP_PREFIX) || SYSTEM_GROUPS.contains(&name)
}

impl DefaultMqAdminExt {
    /// DELETE_SUBSCRIPTIONGROUP (207) at a broker, with its offsets or without.
    pub async fn delete_subscription_group(
        &self,
        addr: &str,
        group: &str,
        remove_offset: bool,
    ) -> Result<(), AdminError> {
        let ext = [("groupName", group.into()), ("removeOffset", remove_offset.into())];
        // 5.x reads this name.
        let ext = [&ext[..], &[("cleanOffset", remove_offset.into())]].concat();
        let request = self.request(request::DELETE_SUBSCRIPTIONGROUP, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): all groups of a broker.
    pub async fn get_all_subscription_group(
        &self,
        addr: &str,
    ) -> Result<SubscriptionGroupTable, AdminError> {
        let request = self.slow_request(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[]);
        self.ask_broker(addr, &request).await?.body(SubscriptionGroupTable::read)
    }

    /// The same without those of the servers and of tools.
    pub async fn get_user_subscription_group(
        &self,
        addr: &str,
    ) -> Result<SubscriptionGroupTable, AdminError> {
        let mut all = self.get_all_subscription_group(addr).await?;
        all.subscription_group_table.retain(|name, _| !is_system_group(name));
        Ok(all)
    }

    /// One group of a broker; `None` when it has no such group.
    pub async fn examine_subscription_group_config(
        &self,
        addr: &str,
        group: &str,
    ) -> Result<Option<SubscriptionGroupConfig>, AdminError> {
        let mut all = self.get_all_subscription_group(addr).await?;
        Ok(all.subscription_group_table.remove(group))
    }

    /// GET_ALL_TOPIC_CONFIG (21): all topics of a broker.
    pub async fn get_all_topic_config(&self, addr: &str) -> Result<TopicConfigTable, AdminError> {
        let request = self.slow_request(request::GET_ALL_TOPIC_CONFIG, &[]);
        self.ask_broker(addr, &request).await?.body(TopicConfigTable::read)
    }

    /// The same without those that GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305) names and, unless they are wanted, without retry
    /// topics and those of dead letters.
    pub async fn get_user_topic_config(
        &self,
        addr: &str,
        with_topics_of_groups: bool,
    ) -> Result<TopicConfigTable, AdminError> {
        let mut all = self.get_all_topic_config(addr).await?;
        let request = self.request(request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &[]);
        let system = self.ask_broker(addr, &request).await?.body(TopicList::read)?.topic_list;
        let of_group = |name: &str| OF_GROUPS.iter().any(|prefix| name.starts_with(prefix));
        all.topic_config_table
            .retain(|name, _| !system.contains(name) && (with_topics_of_groups || !of_group(name)));
        Ok(all)
    }

    /// GET_BROKER_CONSUME_STATS (317): how far all groups of a broker are. `ordered`: on ordered topics only.
    pub async fn fetch_consume_stats_in_broker(
        &self,
        addr: &str,
        ordered: bool,
        timeout: Duration,
    ) -> Result<ConsumeStatsList, AdminError> {
        let ext = [("isOrder", ordered.into())];
        let mut request = self.request(request::GET_BROKER_CONSUME_STATS, &ext);
        request.timeout = timeout;
        self.ask_broker(addr, &request).await?.body(ConsumeStatsList::read)
    }

    /// GET_CONSUMER_CONNECTION_LIST (203) at one broker.
    pub async fn examine_consumer_connection_info_at(
        &self,
        addr: &str,
        group: &str,
    ) -> Result<ConsumerConnection, AdminError> {
        let ext = [("consumerGroup", group.into())];
        let request = self.request(request::GET_CONSUMER_CONNECTION_LIST, &ext);
        self.ask_broker(addr, &request).await?.body(ConsumerConnection::read)
    }

    /// GET_PRODUCER_CONNECTION_LIST (204): the members of a producer group, as the first broker of the topic's route tells
    /// that knows any.
    pub async fn examine_producer_connection_info(
        &self,
        group: &str,
        topic: &str,
    ) -> Result<ProducerConnection, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let ext = [("producerGroup", group.into())];
        let request = self.request(request::GET_PRODUCER_CONNECTION_LIST, &ext);
        let mut refused = None;
        for addr in route.broker_datas.iter().filter_map(select_broker_addr) {
            let told = self.ask_broker(addr, &request).await?;
            match told.body(ProducerConnection::read) {
                Ok(members) if !members.connection_set.is_empty() => return Ok(members),
                Ok(_) => {}
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| AdminError::NotFound {
            what: format!("producer group {group} has no member connected"),
            code: response::SYSTEM_ERROR,
        }))
    }

    /// GET_ALL_PRODUCER_INFO (328): the members of all producer groups that are connected to a broker.
    pub async fn get_all_producer_info(&self, addr: &str) -> Result<ProducerTable, AdminError> {
        let request = self.request(request::GET_ALL_PRODUCER_INFO, &[]);
        self.ask_broker(addr, &request).await?.body(ProducerTable::read)
    }

    /// SET_MESSAGE_REQUEST_MODE (401) at a broker: how a group gets messages of a topic.
    pub async fn set_message_request_mode(
        &self,
        addr: &str,
        (topic, group): (&str, &str),
        mode: MessageRequestMode,
        pop_share_queue_num: i32,
    ) -> Result<(), AdminError> {
        let wanted = SetRequestModeRequest {
            consumer_group: Some(group.to_owned()),
            mode: mode.name().to_owned(),
            pop_share_queue_num,
            topic: Some(topic.to_owned()),
        };
        let mut body = Vec::new();
        wanted.write(&mut body);
        let mut request = self.request(request::SET_MESSAGE_REQUEST_MODE, &[]);
        request.body = &body;
        self.ask_broker(addr, &request).await?.success().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::is_system_group;

    #[test]
    fn groups_of_servers_and_tools_are_known() {
        for name in ["TOOLS_CONSUMER", "CID_RMQ_SYS_TRANS", "__MONITOR_CONSUMER"] {
            assert!(is_system_group(name), "{name}");
        }
        for name in ["billing", "TOOLS_CONSUMER2", "tools_consumer"] {
            assert!(!is_system_group(name), "{name}");
        }
    }
}
