//! One broker: its figures, its configuration, what it cleans when asked to, what its consume queues hold.

use std::collections::BTreeMap;

use daemon::properties_file;
use proto::body::{ConsumeQueueAnswer, KvTable};
use proto::code::request;

use super::{AdminError, DefaultMqAdminExt};
use crate::ClientError;

impl DefaultMqAdminExt {
    /// GET_BROKER_RUNTIME_INFO (28): figures by name.
    pub async fn fetch_broker_runtime_stats(&self, addr: &str) -> Result<KvTable, AdminError> {
        let request = self.request(request::GET_BROKER_RUNTIME_INFO, &[]);
        self.ask_broker(addr, &request).await?.body(KvTable::read)
    }

    /// GET_BROKER_CONFIG (26): configuration by key. Never asked at the VIP port, as in Java.
    pub async fn get_broker_config(
        &self,
        addr: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        self.config_of(addr, request::GET_BROKER_CONFIG).await
    }

    /// UPDATE_BROKER_CONFIG (25): a new value of a key.
    pub async fn update_broker_config(
        &self,
        addr: &str,
        key: &str,
        value: &str,
    ) -> Result<(), AdminError> {
        self.set_property(&self.at_broker(addr), request::UPDATE_BROKER_CONFIG, (key, value)).await
    }

    /// CLEAN_EXPIRED_CONSUMEQUEUE (306): files of consume queues whose messages are gone are to go.
    pub async fn clean_expired_consumer_queue_by_addr(&self, addr: &str) -> Result<(), AdminError> {
        self.command_broker(addr, request::CLEAN_EXPIRED_CONSUMEQUEUE).await
    }

    /// DELETE_EXPIRED_COMMITLOG (329): expired files of the commit log are to go now.
    pub async fn delete_expired_commit_log_by_addr(&self, addr: &str) -> Result<(), AdminError> {
        self.command_broker(addr, request::DELETE_EXPIRED_COMMITLOG).await
    }

    /// CLEAN_UNUSED_TOPIC (316): consume queues of topics that do not exist are to go.
    pub async fn clean_unused_topic_by_addr(&self, addr: &str) -> Result<(), AdminError> {
        self.command_broker(addr, request::CLEAN_UNUSED_TOPIC).await
    }

    /// QUERY_CONSUME_QUEUE (321): `count` entries of a consume queue from `index` on, and which of them `group` would get.
    pub async fn query_consume_queue(
        &self,
        addr: &str,
        (topic, queue_id): (&str, i32),
        (index, count): (i64, i32),
        group: Option<&str>,
    ) -> Result<ConsumeQueueAnswer, AdminError> {
        let mut ext = vec![
            ("topic", topic.into()),
            ("queueId", queue_id.into()),
            ("index", index.into()),
            ("count", count.into()),
        ];
        ext.extend(group.map(|group| ("consumerGroup", group.into())));
        let request = self.request(request::QUERY_CONSUME_QUEUE, &ext);
        self.ask_broker(addr, &request).await?.body(ConsumeQueueAnswer::read)
    }

    async fn command_broker(&self, addr: &str, code: i32) -> Result<(), AdminError> {
        self.ask_broker(addr, &self.request(code, &[])).await?.success().map(drop)
    }

    /// DRAIN_BROKER (19102), a request of ours: `start`, `stop` or `status`. The answer is JSON, see the code.
    pub async fn drain_broker(
        &self,
        addr: &str,
        action: &str,
    ) -> Result<serde_json::Value, AdminError> {
        let ext = [("action", action.into())];
        let request = self.request(request::DRAIN_BROKER, &ext);
        self.ask_broker(addr, &request).await?.read(|answer| answer.json())
    }

    /// The configuration of a server, which this request asks for, by key.
    pub(super) async fn config_of(
        &self,
        addr: &str,
        code: i32,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        self.ask(addr, &self.request(code, &[])).await?.read(|answer| properties(&answer.body))
    }

    /// Gives a key a new value by this request.
    pub(super) async fn set_property(
        &self,
        addr: &str,
        code: i32,
        (key, value): (&str, &str),
    ) -> Result<(), AdminError> {
        let body = one_property(key, value);
        let mut request = self.request(code, &[]);
        request.body = body.as_bytes();
        self.ask(addr, &request).await?.success().map(drop)
    }
}

/// A change of one key, in Java's properties syntax.
fn one_property(key: &str, value: &str) -> String {
    let mut text = String::new();
    properties_file::write_entry(&mut text, key, value);
    text
}

/// A body in Java's properties syntax; of a repeated key the last counts.
fn properties(body: &[u8]) -> Result<BTreeMap<String, String>, ClientError> {
    let text = properties_file::text_of(body);
    let entries = properties_file::entries(&text).map_err(|bad| {
        let reason = bad.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        ClientError::Json { reason, text: text.chars().take(400).collect() }
    })?;
    Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
}
