//! Many topics or groups at once, of a file: `updateTopicList`, `updateSubGroupList`. Brokers of 5.x and ours take them.

use std::fs;
use std::path::{Path, PathBuf};

use client::DefaultMqAdminExt;
use proto::body::{BodyError, GroupConfigList, TopicConfigList};
use serde_json::json;

use crate::target::Target;
use crate::{Command, Failure, Output};

/// Creates topics, or gives them these settings.
#[derive(clap::Args)]
pub(crate) struct UpdateTopicList {
    #[command(flatten)]
    target: Target,
    /// File with a JSON list of topics: topicName, readQueueNums, writeQueueNums, perm, order, attributes
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filename: PathBuf,
}

impl Command for UpdateTopicList {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let list = read_list(&self.filename, "topicConfigList", TopicConfigList::read)?;
        let topics = &list.topic_config_list;
        let names = topics.iter().map(|topic| topic.topic_name.as_str());
        let names = checked_names(&self.filename, "topicName", names.collect())?;
        for addr in self.target.masters(admin).await? {
            match admin.create_and_update_topic_config_list(&addr, &list).await {
                Ok(()) => out.say(
                    format!(
                        "submit batch of topic config to {addr} success, please check the result later."
                    ),
                    json!({ "addr": addr, "topics": names }),
                )?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

/// Creates consumer groups, or gives them these settings.
#[derive(clap::Args)]
pub(crate) struct UpdateSubGroupList {
    #[command(flatten)]
    target: Target,
    /// File with a JSON list of groups: groupName, consumeEnable, retryMaxTimes and the like
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filename: PathBuf,
}

impl Command for UpdateSubGroupList {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let list = read_list(&self.filename, "groupConfigList", GroupConfigList::read)?;
        let groups = &list.group_config_list;
        let names = groups.iter().map(|group| group.group_name.as_str());
        let names = checked_names(&self.filename, "groupName", names.collect())?;
        // As Java has it, whose two texts differ.
        let what = match self.target.broker_addr {
            Some(_) => "group config",
            None => "subscription group config",
        };
        for addr in self.target.masters(admin).await? {
            match admin.create_and_update_subscription_group_config_list(&addr, &list).await {
                Ok(()) => out.say(
                    format!(
                        "submit batch of {what} to {addr} success, please check the result later."
                    ),
                    json!({ "addr": addr, "groups": names }),
                )?,
                Err(error) => out.problem(error),
            }
        }
        Ok(())
    }
}

/// Reads the list of a file as the body that it becomes.
fn read_list<T>(
    path: &Path,
    member: &str,
    read: impl FnOnce(&[u8]) -> Result<T, BodyError>,
) -> Result<T, Failure> {
    let list = fs::read(path).map_err(|source| Failure::File { path: path.into(), source })?;
    let body = [format!("{{\"{member}\":").as_bytes(), &list, b"}"].concat();
    read(&body).map_err(|source| Failure::List { path: path.into(), source })
}

fn checked_names<'a>(
    path: &Path,
    member: &str,
    names: Vec<&'a str>,
) -> Result<Vec<&'a str>, Failure> {
    let path = path.display();
    let nameless: Vec<String> = names
        .iter()
        .enumerate()
        .filter(|(_, name)| name.is_empty())
        .map(|(index, _)| (index + 1).to_string())
        .collect();
    if names.is_empty() {
        return Err(Failure::Usage(format!("{path}: the list is empty")));
    }
    if !nameless.is_empty() {
        let nameless = nameless.join(", ");
        return Err(Failure::Usage(format!("{path}: entries without {member}: {nameless}")));
    }
    Ok(names)
}
