//! Consumer groups: somebody there while messages wait, all of one mind, nobody stuck.

use std::collections::BTreeMap;

use client::admin_ext::is_system_group;
use client::{AdminError, DefaultMqAdminExt};
use proto::body::ConsumerRunningInfo;

use super::{Findings, listed};
use crate::commands::running::{same_subscription, stuck_queues};
use crate::moment::now_ms;
use crate::{Failure, Output};

/// Before the name of a group: its retry topic.
const RETRY_TOPIC_PREFIX: &str = "%RETRY%";

pub(super) async fn look(
    admin: &DefaultMqAdminExt,
    findings: &mut Findings,
    out: &Output,
) -> Result<(), Failure> {
    let topics = admin.fetch_all_topic_list().await?.topic_list;
    let groups = topics.iter().filter_map(|topic| topic.strip_prefix(RETRY_TOPIC_PREFIX));
    let groups: Vec<&str> = groups.filter(|group| !is_system_group(group)).collect();
    let progress = out.progress(groups.len());
    for group in groups {
        if let Err(error) = of_group(admin, findings, group).await {
            findings.problem(("group", group), error.to_string(), "its broker has to answer");
        }
        progress.step();
    }
    Ok(())
}

async fn of_group(
    admin: &DefaultMqAdminExt,
    findings: &mut Findings,
    group: &str,
) -> Result<(), AdminError> {
    let left = match admin.examine_consume_stats(group, None).await {
        Ok(stats) => stats.diffs().0,
        // It has consumed nothing yet.
        Err(error) if error.code().is_some() => 0,
        Err(error) => return Err(error),
    };
    let members = match admin.examine_consumer_connection_info(group).await {
        Ok(members) => members.connection_set,
        Err(error) if error.code().is_some() => Vec::new(),
        Err(error) => return Err(error),
    };
    if members.is_empty() && left > 0 {
        findings.problem(
            ("nobody-consumes", group),
            format!("{left} messages wait for it, and no member is connected"),
            "start its consumers, or deleteSubGroup if it is no longer wanted",
        );
    }
    let mut infos = BTreeMap::new();
    for member in members {
        // Pull consumers and clients of other languages may not answer: they are left out.
        if let Ok(info) = admin.get_consumer_running_info(group, &member.client_id, false).await {
            infos.insert(member.client_id, info);
        }
    }
    look_at_members(findings, group, &infos);
    Ok(())
}

fn look_at_members(
    findings: &mut Findings,
    group: &str,
    infos: &BTreeMap<String, ConsumerRunningInfo>,
) {
    if !same_subscription(infos, now_ms()) {
        let each = infos.iter().map(|(id, info)| {
            let wanted = info.subscription_set.iter();
            let wanted: Vec<String> =
                wanted.map(|wanted| format!("{}:{}", wanted.topic, wanted.sub_string)).collect();
            format!("{id} wants {}", wanted.join(" "))
        });
        findings.problem(
            ("subscriptions-differ", group),
            listed(&each.collect::<Vec<_>>()),
            "members of a group have to subscribe to the same topics with the same tags: messages are lost to it otherwise",
        );
    }
    let stuck: Vec<String> =
        infos.iter().flat_map(|(id, info)| stuck_queues(id, info, now_ms())).collect();
    if !stuck.is_empty() {
        findings.problem(
            ("stuck", group),
            listed(&stuck),
            "consumerStatus -g GROUP -i CLIENT -s shows what its threads do",
        );
    }
}
