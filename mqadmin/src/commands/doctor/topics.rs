//! Topics: the same at each name server, the same on each broker, and wanted by somebody.

use std::collections::BTreeSet;

use client::DefaultMqAdminExt;
use proto::body::RouteData;

use super::servers::View;
use super::{Findings, listed};
use crate::{Failure, Output};

/// Before the names of topics that belong to groups.
const OF_GROUPS: [&str; 2] = ["%RETRY%", "%DLQ%"];
/// Topics of the servers, whose consumers are within them or do not exist.
const SYSTEM: [&str; 12] = [
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "TBW102",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "rmq_sys_wheel_timer",
    "DefaultHeartBeatSyncerTopic",
    "rmq_sys_SYNC_BROKER_MEMBER",
];
const SYSTEM_PREFIXES: [&str; 2] = ["rmq_sys_", "RMQ_SYS_"];
/// Ends the name of a topic in which a cluster's replies travel.
const REPLY_SUFFIX: &str = "_REPLY_TOPIC";

pub(super) async fn look(
    admin: &DefaultMqAdminExt,
    views: &[View],
    findings: &mut Findings,
    out: &Output,
) -> Result<(), Failure> {
    compare_lists(views, findings);
    let known = admin.examine_broker_cluster_info().await?;
    let servers: BTreeSet<&String> =
        known.broker_addr_table.keys().chain(known.cluster_addr_table.keys()).collect();
    let topics = admin.fetch_all_topic_list().await?.topic_list;
    let users = topics.iter().filter(|topic| is_users(topic) && !servers.contains(topic));
    let users: Vec<&String> = users.collect();
    let progress = out.progress(users.len());
    let mut unwanted = Vec::new();
    for topic in users {
        match admin.examine_topic_route_info(topic).await {
            Ok(route) => {
                compare_queues(findings, topic, &route);
                compare_routes(views, findings, topic, &route).await;
                match admin.query_topic_consume_by_who(topic).await {
                    Ok(groups) if groups.group_list.is_empty() => unwanted.push(topic.clone()),
                    Ok(_) => {}
                    Err(error) => findings.problem(
                        ("topic", topic),
                        error.to_string(),
                        "its broker has to answer",
                    ),
                }
            }
            Err(error) if error.code().is_some() => findings.note(
                ("topic-without-broker", topic),
                "the name server knows it, and no broker that is there has it",
                "deleteTopic forgets it, unless its broker comes back",
            ),
            Err(error) => {
                findings.problem(("topic", topic), error.to_string(), "a name server has to answer")
            }
        }
        progress.step();
    }
    if !unwanted.is_empty() {
        findings.note(
            ("no-subscriber", &listed(&unwanted)),
            "no group has ever consumed",
            "deleteTopic, if nobody is meant to",
        );
    }
    Ok(())
}

fn is_users(topic: &str) -> bool {
    !OF_GROUPS.iter().chain(&SYSTEM_PREFIXES).any(|prefix| topic.starts_with(prefix))
        && !topic.ends_with(REPLY_SUFFIX)
        && !SYSTEM.contains(&topic)
}

fn compare_lists(views: &[View], findings: &mut Findings) {
    let Some((first, others)) = views.split_first() else { return };
    for view in others {
        let missing: Vec<String> = first.topics.difference(&view.topics).cloned().collect();
        let more: Vec<String> = view.topics.difference(&first.topics).cloned().collect();
        let advice =
            "it passes within a heartbeat of the brokers (30 s); if not, compare their namesrvAddr";
        for (names, verb) in [(missing, "does not know"), (more, "alone knows")] {
            if !names.is_empty() {
                let what = format!("{verb} the topics {} (beside {})", listed(&names), first.addr);
                findings.problem(("name-servers-differ", &view.addr), what, advice);
            }
        }
    }
}

/// The same route from each name server; brokers and queues in any order.
async fn compare_routes(views: &[View], findings: &mut Findings, topic: &str, route: &RouteData) {
    let expected = parts(route);
    for view in views.iter().filter(|view| views.len() > 1 && view.topics.contains(topic)) {
        let Ok(found) = view.admin.examine_topic_route_info(topic).await else { continue };
        if parts(&found) != expected {
            findings.problem(
                ("routes-differ", topic),
                format!("{} has another route of it than the first name server", view.addr),
                "it passes within a heartbeat of the brokers (30 s); if not, look into the brokers' logs",
            );
        }
    }
}

fn parts(route: &RouteData) -> BTreeSet<String> {
    let queues = route.queue_datas.iter().map(|q| {
        format!("{} {} {} {}", q.broker_name, q.read_queue_nums, q.write_queue_nums, q.perm)
    });
    let brokers = route.broker_datas.iter();
    queues.chain(brokers.map(|b| format!("{} {:?}", b.broker_name, b.broker_addrs))).collect()
}

fn compare_queues(findings: &mut Findings, topic: &str, route: &RouteData) {
    let each = |text: fn(&proto::body::QueueData) -> String| -> BTreeSet<String> {
        route.queue_datas.iter().map(text).collect()
    };
    let counts = each(|q| format!("{}/{}", q.read_queue_nums, q.write_queue_nums));
    let of_brokers = || {
        let all = route.queue_datas.iter();
        let all = all.map(|q| {
            let (reads, writes) = (q.read_queue_nums, q.write_queue_nums);
            format!("{} {reads}/{writes} {}", q.broker_name, crate::text::perm(q.perm))
        });
        all.collect::<Vec<_>>().join(", ")
    };
    if counts.len() > 1 {
        findings.note(
            ("queues-differ", topic),
            format!("brokers have different numbers of queues (read/write): {}", of_brokers()),
            "updateTopic -c CLUSTER -r N -w N makes them the same",
        );
    }
    if each(|q| q.perm.to_string()).len() > 1 {
        findings.note(
            ("permissions-differ", topic),
            format!("brokers have different permissions: {}", of_brokers()),
            "updateTopicPerm, unless a broker is being emptied",
        );
    }
    for queues in route.queue_datas.iter().filter(|q| q.write_queue_nums > q.read_queue_nums) {
        findings.problem(
            ("unread-queues", topic),
            format!(
                "{} takes messages in {} queues, of which consumers see {}",
                queues.broker_name, queues.write_queue_nums, queues.read_queue_nums
            ),
            "updateTopic -r with at least the number of -w",
        );
    }
}

#[cfg(test)]
mod tests {
    use proto::body::QueueData;

    use super::*;

    #[test]
    fn topics_of_servers_and_groups_are_left_out() {
        for topic in ["%RETRY%g", "%DLQ%g", "TBW102", "rmq_sys_x", "DefaultCluster_REPLY_TOPIC"] {
            assert!(!is_users(topic), "{topic}");
        }
        assert!(is_users("orders"));
    }

    #[test]
    fn brokers_have_to_agree_on_queues() {
        let queues = |name: &str, reads: i32, writes: i32, perm: i32| QueueData {
            broker_name: name.to_owned(),
            read_queue_nums: reads,
            write_queue_nums: writes,
            perm,
            ..QueueData::default()
        };
        let found = |queue_datas: Vec<QueueData>| -> Vec<&'static str> {
            let mut findings = Findings::default();
            let route = RouteData { queue_datas, ..RouteData::default() };
            compare_queues(&mut findings, "t", &route);
            findings.all.iter().map(|finding| finding.check).collect()
        };
        assert!(found(vec![queues("a", 4, 4, 6), queues("b", 4, 4, 6)]).is_empty());
        assert_eq!(found(vec![queues("a", 4, 4, 6), queues("b", 8, 8, 6)]), ["queues-differ"]);
        assert_eq!(found(vec![queues("a", 4, 4, 6), queues("b", 4, 4, 4)]), ["permissions-differ"]);
        assert_eq!(found(vec![queues("a", 2, 4, 6)]), ["unread-queues"]);
    }
}
