//! What name servers know: routes, brokers by cluster, names of topics, texts by namespace and key.

use std::collections::{BTreeMap, BTreeSet};

use proto::body::{BrokerData, ClusterInfo, RouteData, TopicList};
use proto::code::{request, response};

use super::{AdminError, DefaultMqAdminExt, MASTER_ID};

/// The namespace where the queues of ordered topics are written down.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

impl DefaultMqAdminExt {
    /// The name servers, as given.
    pub fn get_name_server_address_list(&self) -> &[String] {
        &self.config.namesrv_addrs
    }

    /// GET_ROUTEINFO_BY_TOPIC (105): which brokers have which queues of a topic.
    pub async fn examine_topic_route_info(&self, topic: &str) -> Result<RouteData, AdminError> {
        let ext = [("topic", topic.into())];
        let request = self.request(request::GET_ROUTEINFO_BY_TOPIC, &ext);
        self.ask_name_server(&request).await?.body(RouteData::read)
    }

    /// GET_BROKER_CLUSTER_INFO (106): all brokers, by name and by cluster.
    pub async fn examine_broker_cluster_info(&self) -> Result<ClusterInfo, AdminError> {
        let request = self.request(request::GET_BROKER_CLUSTER_INFO, &[]);
        self.ask_name_server(&request).await?.body(ClusterInfo::read)
    }

    /// GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206): names of all topics, in the name server's order.
    pub async fn fetch_all_topic_list(&self) -> Result<TopicList, AdminError> {
        let request = self.request(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[]);
        self.ask_name_server(&request).await?.body(TopicList::read)
    }

    /// GET_KV_CONFIG (101): the text of a key; `None` when there is none.
    pub async fn get_kv_config(
        &self,
        namespace: &str,
        key: &str,
    ) -> Result<Option<String>, AdminError> {
        let ext = [("namespace", namespace.into()), ("key", key.into())];
        let told = self.ask_name_server(&self.request(request::GET_KV_CONFIG, &ext)).await?;
        if told.answer.code == response::QUERY_NOT_FOUND {
            return Ok(None);
        }
        Ok(told.success()?.answer.ext("value").map(str::to_owned))
    }

    /// PUT_KV_CONFIG (100) at each name server.
    pub async fn create_and_update_kv_config(
        &self,
        namespace: &str,
        key: &str,
        value: &str,
    ) -> Result<(), AdminError> {
        let ext = [("namespace", namespace.into()), ("key", key.into()), ("value", value.into())];
        self.tell_name_servers(&self.request(request::PUT_KV_CONFIG, &ext)).await
    }

    /// DELETE_KV_CONFIG (102) at each name server.
    pub async fn delete_kv_config(&self, namespace: &str, key: &str) -> Result<(), AdminError> {
        let ext = [("namespace", namespace.into()), ("key", key.into())];
        self.tell_name_servers(&self.request(request::DELETE_KV_CONFIG, &ext)).await
    }

    /// The queues of an ordered topic, `broker:queues;broker:queues`, at each name server. Of the whole cluster it takes the
    /// place of what is there; of one broker it takes the place of that broker's part.
    pub async fn create_or_update_order_conf(
        &self,
        topic: &str,
        value: &str,
        is_cluster: bool,
    ) -> Result<(), AdminError> {
        let before = match is_cluster {
            true => None,
            false => self.get_kv_config(ORDER_TOPIC_CONFIG, topic).await?,
        };
        let merged = with_order_of(before.as_deref().unwrap_or_default(), value);
        self.create_and_update_kv_config(ORDER_TOPIC_CONFIG, topic, &merged).await
    }

    /// WIPE_WRITE_PERM_OF_BROKER (205) at a name server: no producer is led to this broker any more. Of how many topics.
    pub async fn wipe_write_perm_of_broker(
        &self,
        addr: &str,
        broker_name: &str,
    ) -> Result<i64, AdminError> {
        let ext = [("brokerName", broker_name.into())];
        let request = self.request(request::WIPE_WRITE_PERM_OF_BROKER, &ext);
        self.ask(addr, &request).await?.read(|answer| answer.number("wipeTopicCount"))
    }

    /// ADD_WRITE_PERM_OF_BROKER (327) at a name server: producers are led to this broker again. Of how many topics.
    pub async fn add_write_perm_of_broker(
        &self,
        addr: &str,
        broker_name: &str,
    ) -> Result<i64, AdminError> {
        let ext = [("brokerName", broker_name.into())];
        let request = self.request(request::ADD_WRITE_PERM_OF_BROKER, &ext);
        self.ask(addr, &request).await?.read(|answer| answer.number("addTopicCount"))
    }

    /// GET_NAMESRV_CONFIG (319) of a name server: configuration by key.
    pub async fn get_name_server_config(
        &self,
        addr: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        self.config_of(addr, request::GET_NAMESRV_CONFIG).await
    }

    /// UPDATE_NAMESRV_CONFIG (318) at a name server: a new value of a key.
    pub async fn update_name_server_config(
        &self,
        addr: &str,
        key: &str,
        value: &str,
    ) -> Result<(), AdminError> {
        self.set_property(addr, request::UPDATE_NAMESRV_CONFIG, (key, value)).await
    }

    /// The clusters whose brokers have a topic.
    pub async fn get_topic_cluster_list(
        &self,
        topic: &str,
    ) -> Result<BTreeSet<String>, AdminError> {
        let known = self.examine_broker_cluster_info().await?;
        let route = self.examine_topic_route_info(topic).await?;
        let has = |name: &String| route.broker_datas.iter().any(|b| b.broker_name == *name);
        let clusters = known.cluster_addr_table.into_iter();
        let found = clusters.filter(|(_, names)| names.iter().any(has));
        Ok(found.map(|(cluster, _)| cluster).collect())
    }

    /// DELETE_TOPIC_IN_NAMESRV (216) at these name servers, by default all, in turn; the first failure ends it.
    pub async fn delete_topic_in_name_server(
        &self,
        addrs: Option<&[String]>,
        topic: &str,
        cluster: Option<&str>,
    ) -> Result<(), AdminError> {
        let mut ext = vec![("topic", topic.into())];
        ext.extend(cluster.map(|cluster| ("clusterName", cluster.into())));
        let addrs = addrs.unwrap_or(&self.config.namesrv_addrs);
        if addrs.is_empty() {
            return Err(AdminError::NoNameServer);
        }
        let request = self.request(request::DELETE_TOPIC_IN_NAMESRV, &ext);
        for addr in addrs {
            self.ask(addr, &request).await?.success()?;
        }
        Ok(())
    }
}

/// The parts of the text before, with those of `value` for the same brokers in their place.
fn with_order_of(before: &str, value: &str) -> String {
    let broker = |part: &str| part.split(':').next().unwrap_or_default().to_owned();
    let new: Vec<&str> = value.split(';').filter(|part| !part.is_empty()).collect();
    let kept = before
        .split(';')
        .filter(|part| !part.is_empty() && !new.iter().any(|other| broker(other) == broker(part)));
    kept.chain(new.iter().copied()).collect::<Vec<_>>().join(";")
}

/// Where to ask a broker: its master, or a slave when there is none. `None`: it has no address.
pub(super) fn select_broker_addr(broker: &BrokerData) -> Option<&str> {
    let master = broker.broker_addrs.get(&MASTER_ID);
    master.or_else(|| broker.broker_addrs.values().next()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::with_order_of;

    #[test]
    fn order_of_one_broker_replaces_its_part() {
        assert_eq!(with_order_of("", "a:8"), "a:8");
        assert_eq!(with_order_of("a:4;b:4", "a:8"), "b:4;a:8");
        assert_eq!(with_order_of("a:4;b:4;", "c:8;d:8"), "a:4;b:4;c:8;d:8");
    }
}
