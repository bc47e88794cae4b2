//! The one table of all commands: name, what it does, who does it, or why it does not exist here.

use std::future::Future;
use std::pin::Pin;

use clap::ArgMatches;
use client::DefaultMqAdminExt;

use crate::commands::{broker, cluster, group, message, progress, topic};
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

    #[expect(dead_code, reason = "the first command with an alias is deleteAclConfig")]
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
    // Consumer groups.
    served::<group::UpdateSubGroup>(
        "updateSubGroup",
        "Update or create subscription group",
        &["-n 127.0.0.1:9876 -c DefaultCluster -g billing", "-b 127.0.0.1:10911 -g billing -r 3"],
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
];

/// The command of a name or alias, in any case.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    COMMANDS.iter().find(|entry| is(entry.name) || entry.alias.is_some_and(is))
}
