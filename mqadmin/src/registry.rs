//! The one table of all commands: name, what it does, who does it, or why it does not exist here.

use std::future::Future;
use std::pin::Pin;

use clap::ArgMatches;
use client::DefaultMqAdminExt;

use crate::commands::{
    accounts, broker, cleaning, cluster, cold_data, consume_queue, controller, dead_letters,
    doctor, drain, explain, export, export_metrics, group, group_admin, lag, lists, members,
    message, monitor, namesrv, offsets, policies, print, progress, query, replicas, running,
    send_probe, stats, tail, topic, topic_perm, topic_queues, trace, users,
};
use crate::{Command, Failure, Output};

/// A command.
pub struct Entry {
    /// Java's name of it; found in any case.
    pub name: &'static str,
    /// Another name of it.
    pub alias: Option<&'static str>,
    /// What it does, in a line.
    pub about: &'static str,
    pub(crate) kind: Kind,
}

impl Entry {
    /// Why it does not exist here, if it does not.
    pub fn absent(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Served(_) => None,
            Kind::Absent(reason) => Some(reason),
        }
    }

    const fn or(mut self, alias: &'static str) -> Entry {
        self.alias = Some(alias);
        self
    }
}

pub(crate) enum Kind {
    Served(Served),
    /// Known, and of no meaning here: why.
    Absent(&'static str),
}

pub(crate) struct Served {
    pub(crate) augment: fn(clap::Command) -> clap::Command,
    pub(crate) run: for<'a> fn(&'a ArgMatches, &'a DefaultMqAdminExt, &'a mut Output) -> Run<'a>,
    /// Words behind the name.
    pub(crate) examples: &'static [&'static str],
}

type Run<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

const fn served<C: Command>(
    name: &'static str,
    about: &'static str,
    examples: &'static [&'static str],
) -> Entry {
    let run = run::<C>;
    let kind = Kind::Served(Served { augment: C::augment_args, run, examples });
    Entry { name, alias: None, about, kind }
}

fn run<'a, C: Command>(
    matches: &'a ArgMatches,
    admin: &'a DefaultMqAdminExt,
    out: &'a mut Output,
) -> Run<'a> {
    Box::pin(async move {
        let command = C::from_arg_matches(matches);
        command.map_err(|error| Failure::Usage(error.to_string()))?.run(admin, out).await
    })
}

const fn absent(name: &'static str, about: &'static str, reason: &'static str) -> Entry {
    Entry { name, alias: None, about, kind: Kind::Absent(reason) }
}

const STATIC_TOPICS: &str = "static topics, whose queues move between brokers, do not exist here";
const CONTAINERS: &str =
    "brokers run in their own processes, not in containers; start one with mqbroker -c FILE";
const ROCKSDB: &str = "nothing is kept in RocksDB here";
const POP_RECORDS: &str =
    "it takes records of pop out of RocksDB before a downgrade; nothing is kept in RocksDB here";

/// All commands, those of a family together.
pub static COMMANDS: &[Entry] = &[
    // Topics.
    served::<topic::UpdateTopic>(
        "updateTopic",
        "Update or create topic",
        &[
            "-n 127.0.0.1:9876 -c DefaultCluster -t orders -r 8 -w 8",
            "-b 127.0.0.1:10911 -t orders -p 4",
        ],
    ),
    served::<topic::DeleteTopic>(
        "deleteTopic",
        "Delete topic from broker and NameServer.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -t orders"],
    ),
    served::<topic::TopicRoute>(
        "topicRoute",
        "Examine topic route info",
        &["-n 127.0.0.1:9876 -t orders", "-n 127.0.0.1:9876 -t orders -l"],
    ),
    served::<topic::TopicStatus>(
        "topicStatus",
        "Examine topic Status info",
        &["-n 127.0.0.1:9876 -t orders"],
    ),
    served::<topic::TopicList>(
        "topicList",
        "Fetch all topic list from name server",
        &["-n 127.0.0.1:9876", "-n 127.0.0.1:9876 -c"],
    ),
    served::<topic_perm::UpdateTopicPerm>(
        "updateTopicPerm",
        "Update topic perm",
        &[
            "-n 127.0.0.1:9876 -c DefaultCluster -t orders -p 4",
            "-n 127.0.0.1:9876 -b 127.0.0.1:10911 -t orders -p 6",
        ],
    ),
    served::<topic_queues::TopicClusterList>(
        "topicClusterList",
        "Get cluster info for topic",
        &["-n 127.0.0.1:9876 -t orders"],
    ),
    served::<namesrv::UpdateOrderConf>(
        "updateOrderConf",
        "Create or update or delete order conf",
        &[
            "-n 127.0.0.1:9876 -t orders -m get",
            "-n 127.0.0.1:9876 -t orders -m put -v broker-a:4;broker-b:4",
        ],
    ),
    served::<topic_queues::AllocateMq>(
        "allocateMQ",
        "Allocate MQ",
        &["-n 127.0.0.1:9876 -t orders -i 10.0.0.7,10.0.0.8"],
    ),
    served::<lists::UpdateTopicList>(
        "updateTopicList",
        "Create or update topics in batch",
        &["-n 127.0.0.1:9876 -c DefaultCluster -f topics.json"],
    ),
    absent("updateStaticTopic", "Update or create static topic", STATIC_TOPICS),
    absent("remappingStaticTopic", "Remap static topic", STATIC_TOPICS),
    // Clusters and brokers.
    served::<cluster::ClusterList>(
        "clusterList",
        "List all of clusters",
        &["-n 127.0.0.1:9876", "-n 127.0.0.1:9876 -m", "-n 127.0.0.1:9876 -i 5"],
    ),
    served::<broker::BrokerStatus>(
        "brokerStatus",
        "Fetch broker runtime status data",
        &["-b 127.0.0.1:10911", "-n 127.0.0.1:9876 -c DefaultCluster"],
    ),
    served::<broker::GetBrokerConfig>(
        "getBrokerConfig",
        "Get broker config by cluster or special broker!",
        &["-b 127.0.0.1:10911", "-n 127.0.0.1:9876 -c DefaultCluster"],
    ),
    served::<broker::UpdateBrokerConfig>(
        "updateBrokerConfig",
        "Update broker's config",
        &[
            "-b 127.0.0.1:10911 -k fileReservedTime -v 72",
            "-n 127.0.0.1:9876 -c DefaultCluster -k traceOn -v false",
        ],
    ),
    served::<cleaning::CleanExpiredCq>(
        "cleanExpiredCQ",
        "Clean expired ConsumeQueue on broker.",
        &["-b 127.0.0.1:10911", "-n 127.0.0.1:9876 -c DefaultCluster"],
    ),
    served::<cleaning::DeleteExpiredCommitLog>(
        "deleteExpiredCommitLog",
        "Delete expired CommitLog files",
        &["-b 127.0.0.1:10911", "-n 127.0.0.1:9876 -c DefaultCluster"],
    ),
    served::<cleaning::CleanUnusedTopic>(
        "cleanUnusedTopic",
        "Clean unused topic on broker.",
        &["-b 127.0.0.1:10911", "-n 127.0.0.1:9876"],
    ),
    served::<send_probe::SendMsgStatus>(
        "sendMsgStatus",
        "Send msg to broker.",
        &["-n 127.0.0.1:9876 -b broker-a -c 10"],
    ),
    served::<send_probe::ClusterRt>(
        "clusterRT",
        "List All clusters Message Send RT",
        &["-n 127.0.0.1:9876 -c DefaultCluster --rounds 1"],
    ),
    served::<replicas::HaStatus>(
        "haStatus",
        "Fetch ha runtime status data",
        &["-b 127.0.0.1:10911", "-n 127.0.0.1:9876 -c DefaultCluster -i 3"],
    ),
    served::<replicas::GetBrokerEpoch>(
        "getBrokerEpoch",
        "Fetch broker epoch entries",
        &["-n 127.0.0.1:9876 -b broker-a"],
    ),
    served::<replicas::ResetMasterFlushOffset>(
        "resetMasterFlushOffset",
        "Reset master flush offset in slave",
        &["-b 127.0.0.1:10921 -o 1073741824"],
    ),
    served::<cold_data::GetColdDataFlowCtrInfo>(
        "getColdDataFlowCtrInfo",
        "Get cold data flow ctr info",
        &["-b 127.0.0.1:10911"],
    ),
    served::<cold_data::UpdateColdDataFlowCtrGroupConfig>(
        "updateColdDataFlowCtrGroupConfig",
        "Add or update cold data flow ctr group config",
        &["-b 127.0.0.1:10911 -g billing -v 10485760"],
    ),
    served::<cold_data::RemoveColdDataFlowCtrGroupConfig>(
        "removeColdDataFlowCtrGroupConfig",
        "Remove consumer from cold ctr config",
        &["-b 127.0.0.1:10911 -g billing"],
    ),
    absent("addBroker", "Add a broker to a container", CONTAINERS),
    absent("removeBroker", "Remove a broker from a container", CONTAINERS),
    absent("exportMetadataInRocksDB", "Export metadata of RocksDB", ROCKSDB),
    absent("rocksDBConfigToJson", "Convert RocksDB configuration to JSON", ROCKSDB),
    absent("checkRocksdbCqWriteProgress", "Compare queues in RocksDB with files", ROCKSDB),
    absent(
        "dumpCompactionLog",
        "Parse a compaction log to messages",
        "compaction topics do not exist here; mqstore dump shows what a log holds",
    ),
    absent(
        "setCommitLogReadAheadMode",
        "Set read ahead mode of all commit log files",
        "the log is not mapped into memory, so there is no mode to set; readahead is the broker's own",
    ),
    // Name servers and controllers.
    served::<namesrv::UpdateKvConfig>(
        "updateKvConfig",
        "Create or update KV config.",
        &["-n 127.0.0.1:9876 -s NAMESPACE -k key -v value"],
    ),
    served::<namesrv::DeleteKvConfig>(
        "deleteKvConfig",
        "Delete KV config.",
        &["-n 127.0.0.1:9876 -s NAMESPACE -k key"],
    ),
    served::<namesrv::WipeWritePerm>(
        "wipeWritePerm",
        "Wipe write perm of broker in all name server you defined in the -n param",
        &["-n 127.0.0.1:9876 -b broker-a"],
    ),
    served::<namesrv::AddWritePerm>(
        "addWritePerm",
        "Add write perm of broker in all name server you defined in the -n param",
        &["-n 127.0.0.1:9876 -b broker-a"],
    ),
    served::<namesrv::GetNamesrvConfig>(
        "getNamesrvConfig",
        "Get configs of name server.",
        &["-n 127.0.0.1:9876"],
    ),
    served::<namesrv::UpdateNamesrvConfig>(
        "updateNamesrvConfig",
        "Update configs of name server.",
        &["-n 127.0.0.1:9876 -k orderMessageEnable -v true"],
    ),
    served::<controller::GetSyncStateSet>(
        "getSyncStateSet",
        "Fetch syncStateSet for target brokers",
        &["-a 127.0.0.1:9878 -b broker-a"],
    ),
    served::<controller::GetControllerMetaData>(
        "getControllerMetaData",
        "Get controller cluster's metadata",
        &["-a 127.0.0.1:9878"],
    ),
    served::<controller::GetControllerConfig>(
        "getControllerConfig",
        "Get controller config",
        &["-a 127.0.0.1:9878;127.0.0.1:9868"],
    ),
    served::<controller::UpdateControllerConfig>(
        "updateControllerConfig",
        "Update controller config",
        &["-a 127.0.0.1:9878 -k enableElectUncleanMaster -v false"],
    ),
    served::<controller::ElectMaster>(
        "electMaster",
        "Re-elect the specified broker as master",
        &["-a 127.0.0.1:9878 -b 2 -bn broker-a -c DefaultCluster"],
    ),
    served::<controller::CleanBrokerMetadata>(
        "cleanBrokerMetadata",
        "Clean metadata of broker on controller",
        &["-a 127.0.0.1:9878 -b 2 -bn broker-a -c DefaultCluster"],
    ),
    // Consumer groups.
    served::<group::UpdateSubGroup>(
        "updateSubGroup",
        "Update or create subscription group",
        &["-n 127.0.0.1:9876 -c DefaultCluster -g billing", "-b 127.0.0.1:10911 -g billing -r 3"],
    ),
    served::<lists::UpdateSubGroupList>(
        "updateSubGroupList",
        "Create or update subscription groups in batch",
        &["-n 127.0.0.1:9876 -c DefaultCluster -f groups.json"],
    ),
    served::<progress::ConsumerProgress>(
        "consumerProgress",
        "Query consumers's progress, speed",
        &[
            "-n 127.0.0.1:9876",
            "-n 127.0.0.1:9876 -g billing",
            "-n 127.0.0.1:9876 -g billing -s true",
        ],
    ),
    served::<group_admin::DeleteSubGroup>(
        "deleteSubGroup",
        "Delete subscription group from broker.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -g billing -r true"],
    ),
    served::<group_admin::GetConsumerConfig>(
        "getConsumerConfig",
        "Get consumer config by subscription group name!",
        &["-n 127.0.0.1:9876 -g billing"],
    ),
    served::<group_admin::SetConsumeMode>(
        "setConsumeMode",
        "Set consume message mode. pull/pop etc.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -t orders -g billing -m POP -q 8"],
    ),
    served::<members::ConsumerConnections>(
        "consumerConnection",
        "Query consumer's socket connection, client version and subscription",
        &["-n 127.0.0.1:9876 -g billing"],
    ),
    served::<members::ProducerConnections>(
        "producerConnection",
        "Query producer's socket connection and client version",
        &["-n 127.0.0.1:9876 -g shop -t orders"],
    ),
    served::<members::Producers>(
        "producer",
        "Query producer's instances, connection, status, etc.",
        &["-b 127.0.0.1:10911"],
    ),
    served::<running::ConsumerStatus>(
        "consumerStatus",
        "Query consumer's internal data structure",
        &["-n 127.0.0.1:9876 -g billing", "-n 127.0.0.1:9876 -g billing -i 10.0.0.7@4711 -s"],
    ),
    served::<offsets::CloneGroupOffset>(
        "cloneGroupOffset",
        "Clone offset from other group.",
        &["-n 127.0.0.1:9876 -s billing -d billing2 -t orders"],
    ),
    served::<offsets::ResetOffsetByTime>(
        "resetOffsetByTime",
        "Reset consumer offset by timestamp(without client restart).",
        &[
            "-n 127.0.0.1:9876 -g billing -t orders -s 2026-01-05#09:30:00:000",
            "-n 127.0.0.1:9876 -g billing -t orders -s now -b 127.0.0.1:10911 -q 0 -o 1000",
        ],
    ),
    served::<offsets::SkipAccumulatedMessage>(
        "skipAccumulatedMessage",
        "Skip all messages that are accumulated (not consumed) currently",
        &["-n 127.0.0.1:9876 -g billing -t orders"],
    ),
    served::<group_admin::BrokerConsumeStats>(
        "brokerConsumeStats",
        "Fetch broker consume stats data",
        &["-b 127.0.0.1:10911", "-b 127.0.0.1:10911 -l 1000"],
    ),
    served::<stats::StatsAll>(
        "statsAll",
        "Topic and Consumer tps stats",
        &["-n 127.0.0.1:9876", "-n 127.0.0.1:9876 -t orders"],
    ),
    served::<monitor::StartMonitoring>(
        "startMonitoring",
        "Start Monitoring",
        &["-n 127.0.0.1:9876", "-n 127.0.0.1:9876 --once"],
    ),
    // Access control of 4.9, of 5.x, and why it decides as it does.
    served::<accounts::UpdateAclConfig>(
        "updateAclConfig",
        "Update acl config yaml file in broker",
        &["-n 127.0.0.1:9876 -c DefaultCluster -a shop -s 12345678 -t orders=PUB -g billing=SUB"],
    ),
    served::<accounts::DeleteAclConfig>(
        "deleteAclConfig",
        "Delete Acl Config Account in broker",
        &["-n 127.0.0.1:9876 -c DefaultCluster -a shop"],
    )
    .or("deleteAccessConfig"),
    served::<accounts::ClusterAclConfigVersion>(
        "clusterAclConfigVersion",
        "List all of acl config version information in cluster",
        &["-n 127.0.0.1:9876 -c DefaultCluster"],
    ),
    served::<accounts::UpdateGlobalWhiteAddr>(
        "updateGlobalWhiteAddr",
        "Update global white address for acl Config File in broker",
        &["-n 127.0.0.1:9876 -c DefaultCluster -g 10.10.103.*,192.168.0.*"],
    ),
    served::<users::CreateUser>(
        "createUser",
        "Create user to cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -u shop -p secret -t Normal"],
    ),
    served::<users::UpdateUser>(
        "updateUser",
        "Update user to cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -u shop -s disable"],
    ),
    served::<users::DeleteUser>(
        "deleteUser",
        "Delete user from cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -u shop"],
    ),
    served::<users::GetUser>(
        "getUser",
        "Get user from cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -u shop"],
    ),
    served::<users::ListUser>(
        "listUser",
        "List user from cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster", "-b 127.0.0.1:10911 -f sh"],
    ),
    served::<users::CopyUser>(
        "copyUser",
        "Copy user to cluster.",
        &["-f 10.0.0.1:10911 -t 10.0.0.2:10911", "-f 10.0.0.1:10911 -t 10.0.0.2:10911 -u shop"],
    ),
    served::<policies::CreateAcl>(
        "createAcl",
        "Create acl to cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -s User:shop -r Topic:orders -a Pub -d Allow"],
    ),
    served::<policies::UpdateAcl>(
        "updateAcl",
        "Update acl to cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -s User:shop -r Topic:orders -a Pub,Sub -d Allow"],
    ),
    served::<policies::DeleteAcl>(
        "deleteAcl",
        "Delete acl from cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -s User:shop -r Topic:orders"],
    ),
    served::<policies::GetAcl>(
        "getAcl",
        "Get acl from cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster -s User:shop"],
    ),
    served::<policies::ListAcl>(
        "listAcl",
        "List acl from cluster.",
        &["-n 127.0.0.1:9876 -c DefaultCluster", "-b 127.0.0.1:10911 -r orders"],
    ),
    served::<policies::CopyAcl>(
        "copyAcl",
        "Copy acl to cluster.",
        &["-f 10.0.0.1:10911 -t 10.0.0.2:10911"],
    ),
    served::<drain::Drain>(
        "drain",
        "Take a broker out of the routes of producers before it is stopped, and wait for its consumers",
        &["-b 127.0.0.1:10911", "-b 127.0.0.1:10911 -w 600", "-b 127.0.0.1:10911 --undo"],
    ),
    served::<explain::Explain>(
        "explain",
        "Say which rule lets an account do something, or does not",
        &["-n 127.0.0.1:9876 -c DefaultCluster -u shop -t orders -a Pub"],
    ),
    // Exports.
    served::<export::ExportMetadata>(
        "exportMetadata",
        "Export metadata",
        &["-n 127.0.0.1:9876 -c DefaultCluster -f /tmp/export", "-b 127.0.0.1:10911 -t"],
    ),
    served::<export::ExportConfigs>(
        "exportConfigs",
        "Export configs",
        &["-n 127.0.0.1:9876 -c DefaultCluster -f /tmp/export"],
    ),
    served::<export_metrics::ExportMetrics>(
        "exportMetrics",
        "Export metrics",
        &["-n 127.0.0.1:9876 -c DefaultCluster -f /tmp/export"],
    ),
    absent("exportPopRecord", "Export pop consumer record", POP_RECORDS),
    // What Java's tool does not have.
    served::<doctor::Doctor>(
        "doctor",
        "Say what is wrong with a cluster, and what to do",
        &["-n 127.0.0.1:9876", "-n 127.0.0.1:9876 -s -q"],
    ),
    served::<lag::Lag>(
        "lag",
        "Show how far groups are behind, in messages and seconds, the worst first",
        &["-n 127.0.0.1:9876", "-n 127.0.0.1:9876 -g billing -t orders -w 5"],
    ),
    served::<dead_letters::DeadLetters>(
        "dlq",
        "Count, show and send again the dead letters of a group",
        &[
            "list -n 127.0.0.1:9876",
            "look -n 127.0.0.1:9876 -g billing -b 2h",
            "resend -n 127.0.0.1:9876 -g billing -k order-1 --dry-run",
            "resend -n 127.0.0.1:9876 -g billing --yes -r 10",
        ],
    ),
    // Messages.
    served::<message::SendMessage>(
        "sendMessage",
        "Send a message",
        &["-n 127.0.0.1:9876 -t orders -p hello -k order-1 -c created"],
    ),
    served::<message::QueryMsgById>(
        "queryMsgById",
        "Query Message by Id",
        &["-n 127.0.0.1:9876 -i 7F00000100002A9F00000000000004D2"],
    ),
    served::<query::QueryMsgByKey>(
        "queryMsgByKey",
        "Query Message by Key",
        &["-n 127.0.0.1:9876 -t orders -k order-1"],
    ),
    served::<query::QueryMsgByUniqueKey>(
        "queryMsgByUniqueKey",
        "Query Message by Unique key",
        &["-n 127.0.0.1:9876 -t orders -i 7F0000010A2C18B4AAC21C1FD4D70000"],
    ),
    served::<query::QueryMsgByOffset>(
        "queryMsgByOffset",
        "Query Message by offset",
        &["-n 127.0.0.1:9876 -t orders -b broker-a -i 0 -o 42"],
    ),
    served::<trace::QueryMsgTraceById>(
        "queryMsgTraceById",
        "Query a message trace",
        &["-n 127.0.0.1:9876 -i 7F0000010A2C18B4AAC21C1FD4D70000"],
    ),
    served::<print::PrintMsg>(
        "printMsg",
        "Print Message Detail",
        &[
            "-n 127.0.0.1:9876 -t orders",
            "-n 127.0.0.1:9876 -t orders -b 2026-01-05#09:30:00:000 -d false",
        ],
    ),
    served::<print::PrintMsgByQueue>(
        "printMsgByQueue",
        "Print Message Detail",
        &[
            "-n 127.0.0.1:9876 -t orders -a broker-a -i 0 -p true -d true",
            "-n 127.0.0.1:9876 -t orders -a broker-a -i 0 -f true",
        ],
    ),
    served::<print::ConsumeMessage>(
        "consumeMessage",
        "Consume message",
        &[
            "-n 127.0.0.1:9876 -t orders -c 10",
            "-n 127.0.0.1:9876 -t orders -b broker-a -i 0 -o 42 -c 1",
        ],
    ),
    served::<send_probe::CheckMsgSendRt>(
        "checkMsgSendRT",
        "Check message send response time",
        &["-n 127.0.0.1:9876 -t orders -a 10 -s 1024"],
    ),
    served::<consume_queue::QueryCq>(
        "queryCq",
        "Query cq command.",
        &["-n 127.0.0.1:9876 -t orders -q 0 -i 0 -c 3"],
    ),
    served::<tail::Tail>(
        "tail",
        "Follow new messages of a topic",
        &[
            "-n 127.0.0.1:9876 orders",
            "-n 127.0.0.1:9876 orders --since 15m --tags created --json",
            "-n 127.0.0.1:9876 orders -f --no-follow -c 100",
        ],
    ),
];

/// The command of a name or alias, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    COMMANDS.iter().find(|entry| is(entry.name) || entry.alias.is_some_and(is))
}
