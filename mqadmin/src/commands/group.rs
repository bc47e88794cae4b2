//! Commands that change consumer groups: `updateSubGroup`.

use std::fmt::{self, Display, Formatter};

use clap::ArgAction::Set;
use client::DefaultMqAdminExt;
use proto::body::{Json, SubscriptionGroupConfig};
use serde::Serialize;
use serde_json::Value;

use crate::commands::{json_of, topic::attribute_changes};
use crate::target::Target;
use crate::text::boolean;
use crate::{Command, Failure, Output};

/// Creates a consumer group, or gives it these settings.
#[derive(clap::Args)]
pub(crate) struct UpdateSubGroup {
    #[command(flatten)]
    target: Target,
    /// The group
    #[arg(short = 'g', long = "groupName", value_name = "GROUP")]
    group_name: String,
    /// May consume
    #[arg(short = 's', long = "consumeEnable", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "true")]
    consume_enable: bool,
    /// May begin at the oldest message
    #[arg(short = 'm', long = "consumeFromMinEnable", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    consume_from_min_enable: bool,
    /// May consume as broadcast
    #[arg(short = 'd', long = "consumeBroadcastEnable", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    consume_broadcast_enable: bool,
    /// Queues of its retry topic
    #[arg(short = 'q', long = "retryQueueNums", value_name = "NUMBER", default_value_t = 1)]
    retry_queue_nums: i32,
    /// Failures until a message is a dead letter
    #[arg(short = 'r', long = "retryMaxTimes", value_name = "NUMBER", default_value_t = 16)]
    retry_max_times: i32,
    /// Broker to consume from, 0 is the master
    #[arg(short = 'i', long = "brokerId", value_name = "ID", default_value_t = 0)]
    broker_id: i64,
    /// Broker to turn to for old messages
    #[arg(
        short = 'w',
        long = "whichBrokerWhenConsumeSlowly",
        value_name = "ID",
        default_value_t = 1
    )]
    which_broker_when_consume_slowly: i64,
    /// Tell members when members come and go
    #[arg(short = 'a', long = "notifyConsumerIdsChanged", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "true")]
    notify_consumer_ids_changed: bool,
    /// 5.x: POP and gRPC consumers get its messages in order
    #[arg(short = 'o', long = "consumeMessageOrderly", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    consume_message_orderly: bool,
    /// 5.x: pauses between retries of POP and gRPC consumers, JSON
    #[arg(short = 'p', long = "groupRetryPolicy", value_name = "JSON")]
    group_retry_policy: Option<String>,
    /// 5.x: changes of attributes, +name=value,-name
    #[arg(long = "attributes", value_name = "CHANGES")]
    attributes: Option<String>,
}

impl Command for UpdateSubGroup {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let config = self.config()?;
        let mut updated = Updated { brokers: Vec::new(), config };
        for addr in self.target.masters(admin).await? {
            let config = &updated.config;
            match admin.create_and_update_subscription_group_config(&addr, config).await {
                Ok(()) => updated.brokers.push(addr),
                Err(error) => out.problem(error),
            }
        }
        if updated.brokers.is_empty() { Ok(()) } else { out.show(&updated) }
    }
}

impl UpdateSubGroup {
    fn config(&self) -> Result<SubscriptionGroupConfig, Failure> {
        let policy = self.group_retry_policy.as_deref().map(serde_json::from_str::<Value>);
        let policy = policy
            .transpose()
            .map_err(|error| Failure::Usage(format!("-p groupRetryPolicy is not JSON: {error}")))?;
        Ok(SubscriptionGroupConfig {
            attributes: attribute_changes(self.attributes.as_deref())?,
            group_name: self.group_name.clone(),
            consume_enable: self.consume_enable,
            consume_from_min_enable: self.consume_from_min_enable,
            consume_broadcast_enable: self.consume_broadcast_enable,
            retry_queue_nums: self.retry_queue_nums,
            retry_max_times: self.retry_max_times,
            broker_id: self.broker_id,
            which_broker_when_consume_slowly: self.which_broker_when_consume_slowly,
            notify_consumer_ids_changed_enable: self.notify_consumer_ids_changed,
            consume_message_orderly: self.consume_message_orderly,
            group_retry_policy: policy.map(Json),
            ..SubscriptionGroupConfig::default()
        })
    }
}

#[derive(Serialize)]
struct Updated {
    brokers: Vec<String>,
    #[serde(serialize_with = "as_json")]
    config: SubscriptionGroupConfig,
}

fn as_json<S: serde::Serializer>(
    config: &SubscriptionGroupConfig,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    json_of(|out| config.write(out)).serialize(serializer)
}

impl Display for Updated {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for addr in &self.brokers {
            writeln!(f, "create subscription group to {addr} success.")?;
        }
        let c = &self.config;
        write!(
            f,
            "SubscriptionGroupConfig [groupName={}, consumeEnable={}, consumeFromMinEnable={}, \
             consumeBroadcastEnable={}, retryQueueNums={}, retryMaxTimes={}, brokerId={}, \
             whichBrokerWhenConsumeSlowly={}, notifyConsumerIdsChangedEnable={}]",
            c.group_name,
            c.consume_enable,
            c.consume_from_min_enable,
            c.consume_broadcast_enable,
            c.retry_queue_nums,
            c.retry_max_times,
            c.broker_id,
            c.which_broker_when_consume_slowly,
            c.notify_consumer_ids_changed_enable
        )
    }
}
