//! Consumer groups: created and changed, how far they are, who is in them and what a member says of itself.

use proto::body::{
    ConsumeStats, ConsumerConnection, ConsumerRunningInfo, GroupConfigList, RouteData,
    SubscriptionGroupConfig,
};
use proto::code::{request, response};

use super::name_servers::select_broker_addr;
use super::{AdminError, DefaultMqAdminExt};

/// Before the name of a group: its retry topic, which lies on every broker that has the group.
const RETRY_TOPIC_PREFIX: &str = "%RETRY%";

impl DefaultMqAdminExt {
    /// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200) at a broker.
    pub async fn create_and_update_subscription_group_config(
        &self,
        addr: &str,
        config: &SubscriptionGroupConfig,
    ) -> Result<(), AdminError> {
        let mut body = Vec::new();
        config.write(&mut body);
        let mut request = self.request(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[]);
        request.body = &body;
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225) at a broker of 5.x or ours: many groups at once.
    pub async fn create_and_update_subscription_group_config_list(
        &self,
        addr: &str,
        list: &GroupConfigList,
    ) -> Result<(), AdminError> {
        let mut body = Vec::new();
        list.write(&mut body);
        let mut request = self.request(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, &[]);
        request.body = &body;
        self.ask_broker(addr, &request).await?.success().map(drop)
    }

    /// GET_CONSUME_STATS (208) at each broker of the group: how far it is in its queues, of one topic or of all.
    pub async fn examine_consume_stats(
        &self,
        group: &str,
        topic: Option<&str>,
    ) -> Result<ConsumeStats, AdminError> {
        let route = self.route_of_group(group).await?;
        let mut ext = vec![("consumerGroup", group.into())];
        ext.extend(topic.map(|topic| ("topic", topic.into())));
        let request = self.slow_request(request::GET_CONSUME_STATS, &ext);
        let mut all = ConsumeStats::default();
        for addr in route.broker_datas.iter().filter_map(select_broker_addr) {
            let part = self.ask_broker(addr, &request).await?.body(ConsumeStats::read)?;
            all.consume_tps += part.consume_tps;
            all.offset_table.extend(part.offset_table);
        }
        if all.offset_table.is_empty() {
            let what =
                format!("group {group} has consumed nothing yet: no broker has an offset of it");
            return Err(AdminError::NotFound { what, code: response::CONSUMER_NOT_ONLINE });
        }
        Ok(all)
    }

    /// GET_CONSUMER_CONNECTION_LIST (203): the members of a group, as the first broker that knows members tells.
    pub async fn examine_consumer_connection_info(
        &self,
        group: &str,
    ) -> Result<ConsumerConnection, AdminError> {
        let route = self.route_of_group(group).await?;
        let ext = [("consumerGroup", group.into())];
        let request = self.request(request::GET_CONSUMER_CONNECTION_LIST, &ext);
        let mut refused = None;
        for addr in route.broker_datas.iter().filter_map(select_broker_addr) {
            let told = self.ask_broker(addr, &request).await?;
            match told.body(ConsumerConnection::read) {
                Ok(members) if !members.connection_set.is_empty() => return Ok(members),
                Ok(_) => {}
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| AdminError::NotFound {
            what: format!("group {group} has no member online"),
            code: response::CONSUMER_NOT_ONLINE,
        }))
    }

    /// GET_CONSUMER_RUNNING_INFO (307): what a member says of itself, asked by the first broker of the group's route.
    /// `stacks`: with the stacks of its threads.
    pub async fn get_consumer_running_info(
        &self,
        group: &str,
        client_id: &str,
        stacks: bool,
    ) -> Result<ConsumerRunningInfo, AdminError> {
        let route = self.route_of_group(group).await?;
        let Some(addr) = route.broker_datas.iter().find_map(select_broker_addr) else {
            let what = format!("no broker has group {group}");
            return Err(AdminError::NotFound { what, code: response::CONSUMER_NOT_ONLINE });
        };
        let ext = [
            ("consumerGroup", group.into()),
            ("clientId", client_id.into()),
            ("jstackEnable", stacks.into()),
        ];
        let request = self.slow_request(request::GET_CONSUMER_RUNNING_INFO, &ext);
        self.ask_broker(addr, &request).await?.body(ConsumerRunningInfo::read)
    }

    async fn route_of_group(&self, group: &str) -> Result<RouteData, AdminError> {
        self.examine_topic_route_info(&format!("{RETRY_TOPIC_PREFIX}{group}")).await
    }
}
