//! Topics: created and changed, deleted, what their queues hold, who consumes them.

use proto::body::{GroupList, TopicConfig, TopicConfigList, TopicStatsTable};
use proto::code::{request, response};

use super::name_servers::select_broker_addr;
use super::{AdminError, DefaultMqAdminExt};

/// Whose settings a broker without the topic begins with.
const DEFAULT_TOPIC: &str = "TBW102";

impl DefaultMqAdminExt {
    /// UPDATE_AND_CREATE_TOPIC (17) at a broker. Attributes are a change: `+name` and a value, or `-name`.
    pub async fn create_and_update_topic_config(
        &self,
        addr: &str,
        config: &TopicConfig,
    ) -> Result<(), AdminError> {
        let change = |(name, value): (&String, &String)| match value.is_empty() {
            true => name.clone(),
            false => format!("{name}={value}"),
        };
        let attributes = config.attributes.iter().map(change).collect::<Vec<_>>().join(",");
        let mut ext = vec![
            ("topic", config.topic_name.as_str().into()),
            ("defaultTopic", DEFAULT_TOPIC.into()),
            ("readQueueNums", config.read_queue_nums.into()),
            ("writeQueueNums", config.write_queue_nums.into()),
            ("perm", config.perm.into()),
            ("topicFilterType", config.topic_filter_type.name().into()),
            ("topicSysFlag", config.topic_sys_flag.into()),
            ("order", config.order.into()),
        ];
        if !attributes.is_empty() {
            ext.push(("attributes", attributes.as_str().into()));
        }
        let request = self.request(request::UPDATE_AND_CREATE_TOPIC, &ext);
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// GET_TOPIC_CONFIG (351) of a broker: the settings of a topic there. Brokers before 5.0 do not know this request.
    pub async fn examine_topic_config(
        &self,
        addr: &str,
        topic: &str,
    ) -> Result<TopicConfig, AdminError> {
        let ext = [("topic", topic.into())];
        let request = self.request(request::GET_TOPIC_CONFIG, &ext);
        self.ask_broker(addr, &request).await?.body(TopicConfig::read)
    }

    /// UPDATE_AND_CREATE_TOPIC_LIST (18) at a broker of 5.x or ours: many topics at once.
    pub async fn create_and_update_topic_config_list(
        &self,
        addr: &str,
        list: &TopicConfigList,
    ) -> Result<(), AdminError> {
        let mut body = Vec::new();
        list.write(&mut body);
        let mut request = self.request(request::UPDATE_AND_CREATE_TOPIC_LIST, &[]);
        request.body = &body;
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// DELETE_TOPIC_IN_BROKER (215) at these brokers, one after the other; the first failure ends it.
    pub async fn delete_topic_in_broker(
        &self,
        addrs: &[String],
        topic: &str,
    ) -> Result<(), AdminError> {
        let ext = [("topic", topic.into())];
        let request = self.request(request::DELETE_TOPIC_IN_BROKER, &ext);
        for addr in addrs {
            self.ask_broker(addr, &request).await?.success()?;
        }
        Ok(())
    }

    /// GET_TOPIC_STATS_INFO (202) at each broker of the topic's route: bounds of all its queues.
    pub async fn examine_topic_stats(&self, topic: &str) -> Result<TopicStatsTable, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let ext = [("topic", topic.into())];
        let request = self.request(request::GET_TOPIC_STATS_INFO, &ext);
        let mut all = TopicStatsTable::default();
        for addr in route.broker_datas.iter().filter_map(select_broker_addr) {
            let part = self.ask_broker(addr, &request).await?.body(TopicStatsTable::read)?;
            all.offset_table.extend(part.offset_table);
        }
        if all.offset_table.is_empty() {
            let what = format!("no broker has queues of topic {topic}");
            return Err(AdminError::NotFound { what, code: response::TOPIC_NOT_EXIST });
        }
        Ok(all)
    }

    /// QUERY_TOPIC_CONSUME_BY_WHO (300) at the first broker of the topic's route: groups that consume it.
    pub async fn query_topic_consume_by_who(&self, topic: &str) -> Result<GroupList, AdminError> {
        let route = self.examine_topic_route_info(topic).await?;
        let Some(addr) = route.broker_datas.iter().find_map(select_broker_addr) else {
            return Ok(GroupList::default());
        };
        let ext = [("topic", topic.into())];
        let request = self.request(request::QUERY_TOPIC_CONSUME_BY_WHO, &ext);
        self.ask_broker(addr, &request).await?.body(GroupList::read)
    }
}
