//! `updateTopicPerm`: who may use a topic.

use client::{AdminError, DefaultMqAdminExt};
use proto::body::{RouteData, TopicConfig};
use proto::code::response;
use serde_json::json;

use crate::commands::json_of;
use crate::commands::topic::topic_config;
use crate::target::{MASTER_ID, Target, brokers_of, masters};
use crate::{Command, Failure, Output};

/// Gives a topic a new permission at a broker, or at all masters of a cluster. Everything else of it stays.
#[derive(clap::Args)]
pub(crate) struct UpdateTopicPerm {
    #[command(flatten)]
    target: Target,
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// 2 write, 4 read, 6 both, 0 neither
    #[arg(short = 'p', long = "perm", value_name = "PERM", value_parser = clap::value_parser!(i32).range(0..=7))]
    perm: i32,
}

impl Command for UpdateTopicPerm {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let route = admin.examine_topic_route_info(&self.topic).await?;
        match (&self.target.broker_addr, &self.target.cluster_name) {
            (Some(addr), _) => {
                if !masters(&route.broker_datas).contains(addr) {
                    let known = masters(&route.broker_datas);
                    return Err(Failure::UnknownBroker { asked: addr.clone(), known });
                }
                self.update(admin, out, &route, addr).await
            }
            (None, Some(cluster)) => {
                let known = admin.examine_broker_cluster_info().await?;
                for addr in masters(&brokers_of(&known, cluster)?) {
                    match self.update(admin, out, &route, &addr).await {
                        Err(Failure::Admin(error)) => out.problem(error),
                        outcome => outcome?,
                    }
                }
                Ok(())
            }
            // The group of options is required.
            (None, None) => Err(Failure::Usage("give -b ADDR or -c CLUSTER".to_owned())),
        }
    }
}

impl UpdateTopicPerm {
    async fn update(
        &self,
        admin: &DefaultMqAdminExt,
        out: &mut Output,
        route: &RouteData,
        addr: &str,
    ) -> Result<(), Failure> {
        let mut config = settings(admin, route, &self.topic, addr).await?;
        let (old, new) = (config.perm, self.perm);
        let one = self.target.broker_addr.is_some();
        if one && old == new {
            let json = json!({ "addr": addr, "from": old, "to": new });
            return out.say("new perm equals to the old one!", json);
        }
        config.perm = new;
        admin.create_and_update_topic_config(addr, &config).await?;
        let mut text = format!("update topic perm from {old} to {new} in {addr} success.\n");
        if one {
            text.push_str(&format!("{}.\n", topic_config(&config)));
        }
        let config = json_of(|out| config.write(out));
        out.say(text, json!({ "addr": addr, "from": old, "to": new, "config": config }))
    }
}

/// The settings of a topic at a broker, with no change of its attributes: what the broker says, or with one that cannot be
/// asked (before 5.0) what the route tells, as in Java.
async fn settings(
    admin: &DefaultMqAdminExt,
    route: &RouteData,
    topic: &str,
    addr: &str,
) -> Result<TopicConfig, AdminError> {
    match admin.examine_topic_config(addr, topic).await {
        Ok(config) => Ok(TopicConfig { attributes: Default::default(), ..config }),
        Err(error) if error.code() == Some(response::REQUEST_CODE_NOT_SUPPORTED) => {
            let is_master = |name: &str| {
                let mut brokers = route.broker_datas.iter().filter(|b| b.broker_name == name);
                brokers.any(|b| b.broker_addrs.get(&MASTER_ID).is_some_and(|a| a == addr))
            };
            let queues = route.queue_datas.iter().find(|data| is_master(&data.broker_name));
            let queues = queues.ok_or(error)?;
            Ok(TopicConfig {
                topic_name: topic.to_owned(),
                read_queue_nums: queues.read_queue_nums,
                write_queue_nums: queues.write_queue_nums,
                perm: queues.perm,
                topic_sys_flag: queues.topic_sys_flag,
                ..TopicConfig::default()
            })
        }
        Err(error) => Err(error),
    }
}
