//! Commands that write what a cluster is into files: `exportMetadata`, `exportConfigs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use client::DefaultMqAdminExt;
use proto::body::{SubscriptionGroupConfig, TopicConfig};
use serde_json::{Map, Value, json};

use crate::commands::group_admin::named_masters;
use crate::commands::json_of;
use crate::moment::now_ms;
use crate::target::{Target, brokers_of};
use crate::{Command, Failure, Output, fastjson_pretty};

/// Where Java's tool writes, unless it is told otherwise.
pub(crate) const DIRECTORY: &str = "/tmp/rocketmq/export";
/// What `exportConfigs` tells of a broker's configuration.
const KEYS: [&str; 16] = [
    "brokerClusterName",
    "brokerId",
    "brokerName",
    "brokerRole",
    "fileReservedTime",
    "filterServerNums",
    "flushDiskType",
    "maxMessageSize",
    "messageDelayLevel",
    "msgTraceTopicName",
    "slaveReadEnable",
    "traceOn",
    "traceTopicEnable",
    "useTLS",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
];

/// Writes topics and consumer groups of a broker, or of a cluster's masters together, with queue numbers added up.
#[derive(clap::Args)]
pub(crate) struct ExportMetadata {
    #[command(flatten)]
    target: Target,
    /// Directory to write into
    #[arg(short = 'f', long = "filePath", value_name = "DIR", default_value = DIRECTORY)]
    file_path: PathBuf,
    /// Topics only, into topic.json
    #[arg(short = 't', long = "topic")]
    topic: bool,
    /// Groups only, into subscriptionGroup.json
    #[arg(short = 'g', long = "subscriptionGroup", conflicts_with = "topic")]
    subscription_group: bool,
    /// Retry topics and those of dead letters, too
    #[arg(short = 's', long = "specialTopic")]
    special_topic: bool,
}

impl Command for ExportMetadata {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (mut topics, mut groups) = (BTreeMap::new(), BTreeMap::new());
        let mut whole = Map::new();
        for addr in self.target.masters(admin).await? {
            if !self.subscription_group {
                let table = admin.get_user_topic_config(&addr, self.special_topic).await?;
                if self.target.broker_addr.is_some() {
                    whole
                        .insert("dataVersion".to_owned(), json_of(|b| table.data_version.write(b)));
                }
                add_topics(&mut topics, table.topic_config_table);
            }
            if !self.topic {
                let table = admin.get_user_subscription_group(&addr).await?;
                if self.target.broker_addr.is_some() && self.subscription_group {
                    whole
                        .insert("dataVersion".to_owned(), json_of(|b| table.data_version.write(b)));
                }
                add_groups(&mut groups, table.subscription_group_table);
            }
        }
        if !self.subscription_group {
            let all = topics.into_iter().map(|(name, t)| (name, json_of(|bytes| t.write(bytes))));
            whole.insert("topicConfigTable".to_owned(), all.collect::<Map<_, _>>().into());
        }
        if !self.topic {
            let all = groups.into_iter().map(|(name, g)| (name, json_of(|bytes| g.write(bytes))));
            whole.insert("subscriptionGroupTable".to_owned(), all.collect::<Map<_, _>>().into());
        }
        if self.target.cluster_name.is_some() {
            whole.insert("exportTime".to_owned(), now_ms().into());
        }
        let name = match (self.topic, self.subscription_group) {
            (true, _) => "topic.json",
            (_, true) => "subscriptionGroup.json",
            _ => "metadata.json",
        };
        write(out, &self.file_path, name, &whole.into())
    }
}

/// Of a topic on several brokers, the queues of all.
fn add_topics(all: &mut BTreeMap<String, TopicConfig>, more: BTreeMap<String, TopicConfig>) {
    for (name, mut topic) in more {
        if let Some(before) = all.get(&name) {
            topic.read_queue_nums = topic.read_queue_nums.saturating_add(before.read_queue_nums);
            topic.write_queue_nums = topic.write_queue_nums.saturating_add(before.write_queue_nums);
        }
        all.insert(name, topic);
    }
}

/// Of a group on several brokers, the retry queues of all.
fn add_groups(
    all: &mut BTreeMap<String, SubscriptionGroupConfig>,
    more: BTreeMap<String, SubscriptionGroupConfig>,
) {
    for (name, mut group) in more {
        if let Some(before) = all.get(&name) {
            group.retry_queue_nums = group.retry_queue_nums.saturating_add(before.retry_queue_nums);
        }
        all.insert(name, group);
    }
}

/// Writes a file as Java's tool does, and says so.
pub(crate) fn write(
    out: &mut Output,
    directory: &Path,
    name: &str,
    value: &Value,
) -> Result<(), Failure> {
    let path = directory.join(name);
    let write =
        fs::create_dir_all(directory).and_then(|()| fs::write(&path, fastjson_pretty::text(value)));
    write.map_err(|source| Failure::File { path: path.clone(), source })?;
    let shown = path.display().to_string();
    out.say(format!("export {shown} success"), json!({"exported": shown}))
}

/// Writes the configurations of a cluster's masters, and how many name servers and brokers there are.
#[derive(clap::Args)]
pub(crate) struct ExportConfigs {
    /// The cluster
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster_name: String,
    /// Directory to write into
    #[arg(short = 'f', long = "filePath", value_name = "DIR", default_value = DIRECTORY)]
    file_path: PathBuf,
}

impl Command for ExportConfigs {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let known = admin.examine_broker_cluster_info().await?;
        let brokers = brokers_of(&known, &self.cluster_name)?;
        let masters = named_masters(admin, &self.cluster_name).await?;
        let all: usize = brokers.iter().map(|broker| broker.broker_addrs.len()).sum();
        let mut configs = Map::new();
        for (name, addr) in &masters {
            let mut config = admin.get_broker_config(addr).await?;
            // A key that a broker does not have is left out, as by 5.3.3; 4.9.8 ends there.
            config.retain(|key, _| KEYS.contains(&key.as_str()));
            configs.insert(name.clone(), json!(config));
        }
        let scale = json!({
            "namesrvSize": admin.get_name_server_address_list().len(),
            "masterBrokerSize": masters.len(),
            "slaveBrokerSize": all - masters.len(),
        });
        let whole = json!({"brokerConfigs": configs, "clusterScale": scale});
        write(out, &self.file_path, "configs.json", &whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_several_brokers_add_up() {
        let topic = |queues| {
            let config = TopicConfig {
                read_queue_nums: queues,
                write_queue_nums: queues + 1,
                ..TopicConfig::default()
            };
            BTreeMap::from([("t".to_owned(), config)])
        };
        let mut all = BTreeMap::new();
        add_topics(&mut all, topic(4));
        add_topics(&mut all, topic(8));
        assert_eq!((all["t"].read_queue_nums, all["t"].write_queue_nums), (12, 14));
    }
}
