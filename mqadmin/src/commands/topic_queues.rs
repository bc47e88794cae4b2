//! Where a topic is, and who would get which of its queues: `topicClusterList`, `allocateMQ`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use client::DefaultMqAdminExt;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Command, Failure, Output};

/// Lists the clusters that have a topic.
#[derive(clap::Args)]
pub(crate) struct TopicClusterList {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
}

impl Command for TopicClusterList {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let clusters = admin.get_topic_cluster_list(&self.topic).await?;
        let text: String = clusters.iter().map(|name| format!("{name}\n")).collect();
        out.say(text, json!(clusters))
    }
}

/// Shows which member of a group would get which queue, when queues are shared out evenly.
#[derive(clap::Args)]
pub(crate) struct AllocateMq {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Members in their order, with commas between
    #[arg(
        short = 'i',
        long = "ipList",
        value_name = "IPS",
        required = true,
        value_delimiter = ','
    )]
    ip_list: Vec<String>,
}

impl Command for AllocateMq {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let queues = admin.fetch_subscribe_message_queues(&self.topic).await?;
        let queues: Vec<Value> = queues
            .iter()
            .map(|at| {
                let queue = &at.queue;
                json!({
                    "brokerName": queue.broker_name,
                    "queueId": queue.queue_id,
                    "topic": queue.topic,
                })
            })
            .collect();
        let shares = self.ip_list.iter().map(|ip| {
            let index = self.ip_list.iter().position(|other| other == ip).unwrap_or(0);
            (ip.clone(), share(&queues, index, self.ip_list.len()).to_vec())
        });
        out.show(&Allocation { result: shares.collect() })
    }
}

/// The share of member `index` among so many: shares are as even as can be, the first members have one more. Source: Apache
/// RocketMQ 4.9.8, `AllocateMessageQueueAveragely`.
fn share<T>(queues: &[T], index: usize, members: usize) -> &[T] {
    let (each, rest) = (queues.len() / members, queues.len() % members);
    let begin = index * each + index.min(rest);
    let count = each + usize::from(index < rest);
    queues.get(begin..begin + count).unwrap_or_default()
}

#[derive(Serialize)]
struct Allocation {
    result: BTreeMap<String, Vec<Value>>,
}

impl Display for Allocation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", json!(self))
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_even_and_cover_all() {
        let queues: Vec<usize> = (0..10).collect();
        for members in 1..14 {
            let shares = (0..members).map(|index| share(&queues, index, members));
            let sizes: Vec<usize> = shares.clone().map(<[usize]>::len).collect();
            assert_eq!(shares.collect::<Vec<_>>().concat(), queues);
            assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
            assert!(sizes[0] - sizes[members - 1] <= 1, "{sizes:?}");
        }
    }
}
