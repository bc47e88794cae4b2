//! Commands about topics: `topicList`, `topicRoute`, `topicStatus`, `updateTopic`, `deleteTopic`.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use clap::ArgAction::Set;
use client::{AdminError, DefaultMqAdminExt};
use proto::body::{ClusterInfo, MessageQueue, QueueBounds, RouteData, TopicConfig};
use serde::Serialize;
use serde_json::Value;

use crate::commands::json_of;
use crate::target::{Target, broker_name, brokers_of, masters};
use crate::text::{self, boolean, cut};
use crate::{Command, Failure, Output, fastjson_pretty};

/// Before the names of retry topics and of dead letters, which belong to groups.
const OF_GROUPS: [&str; 2] = ["%RETRY%", "%DLQ%"];

/// Lists all topics, with -c the groups of each, too.
#[derive(clap::Args)]
pub(crate) struct TopicList {
    /// With cluster and consumer groups of each
    #[arg(short = 'c', long = "clusterModel")]
    cluster_model: bool,
}

impl Command for TopicList {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        if !self.cluster_model {
            return out.show(&Names(admin.fetch_all_topic_list().await?.topic_list));
        }
        let known = admin.examine_broker_cluster_info().await?;
        let mut topics = admin.fetch_all_topic_list().await?.topic_list;
        topics.retain(|topic| !OF_GROUPS.iter().any(|prefix| topic.starts_with(prefix)));
        let progress = out.progress(topics.len());
        let mut rows = Vec::new();
        for topic in topics {
            match consumed_by(admin, &known, &topic).await {
                Ok((cluster, groups)) => rows.push(Consumed { cluster, topic, groups }),
                Err(error) => {
                    // Its row is there nevertheless, as in Java.
                    rows.push(Consumed { cluster: None, topic, groups: Vec::new() });
                    out.problem(error);
                }
            }
            progress.step();
        }
        drop(progress);
        out.show(&ByCluster(rows))
    }
}

/// The cluster of a topic's first broker, and the groups that consume it.
async fn consumed_by(
    admin: &DefaultMqAdminExt,
    known: &ClusterInfo,
    topic: &str,
) -> Result<(Option<String>, Vec<String>), AdminError> {
    let route = admin.examine_topic_route_info(topic).await?;
    let broker = route.broker_datas.first().map(|broker| broker.broker_name.as_str());
    let mut clusters = known.cluster_addr_table.iter();
    let cluster = clusters.find(|(_, names)| names.iter().any(|n| Some(n.as_str()) == broker));
    let groups = admin.query_topic_consume_by_who(topic).await?.group_list;
    Ok((cluster.map(|(name, _)| name.clone()), groups))
}

#[derive(Serialize)]
struct Names(Vec<String>);

impl Display for Names {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|name| writeln!(f, "{name}"))
    }
}

#[derive(Serialize)]
struct ByCluster(Vec<Consumed>);

#[derive(Serialize)]
struct Consumed {
    cluster: Option<String>,
    topic: String,
    groups: Vec<String>,
}

impl Display for ByCluster {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20}  {:<48}  {:<48}", "#Cluster Name", "#Topic", "#Consumer Group")?;
        for row in &self.0 {
            let cluster = row.cluster.as_deref().unwrap_or_default();
            let none = [String::new()];
            let groups = if row.groups.is_empty() { &none[..] } else { &row.groups };
            for group in groups {
                let (topic, group) = (cut(&row.topic, 64), cut(group, 64));
                writeln!(f, "{:<20}  {topic:<64}  {group:<64}", cut(cluster, 20))?;
            }
        }
        Ok(())
    }
}

/// Shows which brokers have which queues of a topic.
#[derive(clap::Args)]
pub(crate) struct TopicRoute {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// As a table
    #[arg(short = 'l', long = "list")]
    list: bool,
}

impl Command for TopicRoute {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let route = admin.examine_topic_route_info(&self.topic).await?;
        if self.list { out.show(&RouteTable::of(&route)) } else { out.show(&Route(route)) }
    }
}

struct Route(RouteData);

impl Route {
    fn json(&self) -> Value {
        json_of(|out| self.0.write_default(out))
    }
}

impl Serialize for Route {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl Display for Route {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", fastjson_pretty::text(&self.json()))
    }
}

#[derive(Serialize)]
struct RouteTable(Vec<RouteRow>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteRow {
    cluster_name: String,
    broker_name: String,
    broker_addrs: BTreeMap<i64, String>,
    read_queue_nums: i32,
    write_queue_nums: i32,
    perm: i32,
}

impl RouteTable {
    fn of(route: &RouteData) -> RouteTable {
        let mut brokers: Vec<_> = route.broker_datas.iter().collect();
        brokers.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        let row = |broker: &proto::body::BrokerData| {
            let queues = route.queue_datas.iter().find(|q| q.broker_name == broker.broker_name);
            let queues = queues.cloned().unwrap_or_default();
            RouteRow {
                cluster_name: broker.cluster.clone(),
                broker_name: broker.broker_name.clone(),
                broker_addrs: broker.broker_addrs.clone(),
                read_queue_nums: queues.read_queue_nums,
                write_queue_nums: queues.write_queue_nums,
                perm: queues.perm,
            }
        };
        RouteTable(brokers.into_iter().map(row).collect())
    }
}

impl Display for RouteTable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut row = |a: &str, b: &str, c: &str, d: &str, e: &str, g: &str| {
            writeln!(f, "{a:<45} {b:<32} {c:<50} {d:<10} {e:<11} {g:<5}")
        };
        row("#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm")?;
        for r in &self.0 {
            let addrs = text::map(&r.broker_addrs);
            let (reads, writes) = (r.read_queue_nums.to_string(), r.write_queue_nums.to_string());
            row(&r.cluster_name, &r.broker_name, &addrs, &reads, &writes, &r.perm.to_string())?;
        }
        let (mut reads, mut writes) = (0_i64, 0_i64);
        for r in &self.0 {
            reads += i64::from(r.read_queue_nums);
            writes += i64::from(r.write_queue_nums);
        }
        let count = self.0.len().to_string();
        writeln!(f, "{}", "-".repeat(158))?;
        writeln!(f, "{:<45} {count:<32} {:<50} {reads:<10} {writes:<11} {:<5}", "Total:", "", "")
    }
}

/// Shows what each queue of a topic holds.
#[derive(clap::Args)]
pub(crate) struct TopicStatus {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
}

impl Command for TopicStatus {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let stats = admin.examine_topic_stats(&self.topic).await?;
        out.show(&Queues(stats.offset_table.iter().map(QueueRow::of).collect()))
    }
}

#[derive(Serialize)]
struct Queues(Vec<QueueRow>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow {
    broker_name: String,
    queue_id: i32,
    min_offset: i64,
    max_offset: i64,
    last_update_timestamp: i64,
}

impl QueueRow {
    fn of((queue, bounds): (&MessageQueue, &QueueBounds)) -> QueueRow {
        QueueRow {
            broker_name: queue.broker_name.clone(),
            queue_id: queue.queue_id,
            min_offset: bounds.min_offset,
            max_offset: bounds.max_offset,
            last_update_timestamp: bounds.last_update_timestamp,
        }
    }
}

impl Display for Queues {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<32}  {:<4}  {:<20}  {:<20}    #Last Updated",
            "#Broker Name", "#QID", "#Min Offset", "#Max Offset"
        )?;
        for q in &self.0 {
            let updated = match q.last_update_timestamp {
                ..=0 => String::new(),
                ms => text::millis(ms),
            };
            writeln!(
                f,
                "{:<32}  {:<4}  {:<20}  {:<20}    {updated}",
                cut(&q.broker_name, 32),
                q.queue_id,
                q.min_offset,
                q.max_offset
            )?;
        }
        Ok(())
    }
}

/// Creates a topic, or gives it these settings.
#[derive(clap::Args)]
pub(crate) struct UpdateTopic {
    #[command(flatten)]
    target: Target,
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// Queues that consumers see
    #[arg(short = 'r', long = "readQueueNums", value_name = "NUMBER", default_value_t = 8)]
    read_queue_nums: i32,
    /// Queues that producers see
    #[arg(short = 'w', long = "writeQueueNums", value_name = "NUMBER", default_value_t = 8)]
    write_queue_nums: i32,
    /// 2 write, 4 read, 6 both
    #[arg(short = 'p', long = "perm", value_name = "PERM", default_value_t = 6)]
    perm: i32,
    /// An ordered topic, whose queues name servers keep a list of
    #[arg(short = 'o', long = "order", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    order: bool,
    /// A topic of a unit
    #[arg(short = 'u', long = "unit", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    unit: bool,
    /// Has subscribers in units
    #[arg(short = 's', long = "hasUnitSub", value_name = "BOOL", value_parser = boolean, action = Set, default_value = "false")]
    has_unit_sub: bool,
    /// 5.x: changes of attributes, +name=value,-name
    #[arg(short = 'a', long = "attributes", value_name = "CHANGES", allow_hyphen_values = true)]
    attributes: Option<String>,
}

impl Command for UpdateTopic {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let config = self.config()?;
        let mut updated =
            Updated { brokers: Vec::new(), of_cluster: false, order_conf: None, config };
        for addr in self.target.masters(admin).await? {
            match admin.create_and_update_topic_config(&addr, &updated.config).await {
                Ok(()) => updated.brokers.push(addr),
                Err(error) => out.problem(error),
            }
        }
        // A list of queues that do not all exist would mislead producers.
        if self.order && out.problems() == 0 {
            self.set_order(admin, &mut updated).await?;
        }
        if updated.brokers.is_empty() { Ok(()) } else { out.show(&updated) }
    }
}

impl UpdateTopic {
    fn config(&self) -> Result<TopicConfig, Failure> {
        Ok(TopicConfig {
            attributes: attribute_changes(self.attributes.as_deref())?,
            order: self.order,
            perm: self.perm,
            read_queue_nums: self.read_queue_nums,
            topic_name: self.topic.clone(),
            topic_sys_flag: i32::from(self.unit) | i32::from(self.has_unit_sub) << 1,
            write_queue_nums: self.write_queue_nums,
            ..TopicConfig::default()
        })
    }

    /// Writes down the queues of an ordered topic at the name servers.
    async fn set_order(
        &self,
        admin: &DefaultMqAdminExt,
        updated: &mut Updated,
    ) -> Result<(), Failure> {
        let known = admin.examine_broker_cluster_info().await?;
        let names = match (&self.target.cluster_name, updated.brokers.first()) {
            (Some(cluster), _) => {
                updated.of_cluster = true;
                brokers_of(&known, cluster)?.into_iter().map(|b| b.broker_name).collect()
            }
            (None, Some(addr)) => vec![broker_name(&known, addr)?],
            (None, None) => return Ok(()),
        };
        let part = |name: &String| format!("{name}:{}", self.write_queue_nums);
        let conf = names.iter().map(part).collect::<Vec<_>>().join(";");
        let of_cluster = updated.of_cluster;
        admin.create_or_update_order_conf(&self.topic, &conf, of_cluster).await?;
        updated.order_conf = Some(conf);
        Ok(())
    }
}

/// `+name=value,-name` as the changes that brokers take.
pub(crate) fn attribute_changes(text: Option<&str>) -> Result<BTreeMap<String, String>, Failure> {
    let changes = text.unwrap_or_default().split(',').map(str::trim);
    let changes = changes.filter(|change| !change.is_empty());
    let change = |change: &str| {
        let (name, value) = change.split_once('=').unwrap_or((change, ""));
        let valid = match name.chars().next() {
            Some('+') => !value.is_empty(),
            Some('-') => value.is_empty(),
            _ => false,
        };
        let wrong =
            || Failure::Usage(format!("attribute {change:?} is neither +name=value nor -name"));
        valid.then(|| (name.to_owned(), value.to_owned())).ok_or_else(wrong)
    };
    changes.map(change).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    brokers: Vec<String>,
    #[serde(skip)]
    of_cluster: bool,
    order_conf: Option<String>,
    #[serde(serialize_with = "as_json")]
    config: TopicConfig,
}

fn as_json<S: serde::Serializer>(config: &TopicConfig, serializer: S) -> Result<S::Ok, S::Error> {
    json_of(|out| config.write(out)).serialize(serializer)
}

impl Display for Updated {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // Java closes neither of these lines.
        let order =
            self.order_conf.as_ref().map(|conf| format!("isOrder=true, orderConf=[{conf}]"));
        if let Some(order) = order.as_ref().filter(|_| !self.of_cluster) {
            write!(f, "set broker orderConf. {order}")?;
        }
        for addr in &self.brokers {
            writeln!(f, "create topic to {addr} success.")?;
        }
        if let Some(order) = order.filter(|_| self.of_cluster) {
            write!(f, "set cluster orderConf. {order}")?;
        }
        write!(f, "{}", topic_config(&self.config))
    }
}

/// The settings of a topic as Java prints them.
pub(crate) fn topic_config(config: &TopicConfig) -> String {
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType={}, \
         topicSysFlag={}, order={}]",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        text::perm(config.perm),
        config.topic_filter_type.name(),
        config.topic_sys_flag,
        config.order
    )
}

/// Deletes a topic at all masters of a cluster, then at the name servers.
#[derive(clap::Args)]
pub(crate) struct DeleteTopic {
    /// The topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: String,
    /// The cluster
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster_name: String,
}

impl Command for DeleteTopic {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let (topic, cluster) = (&self.topic, &self.cluster_name);
        let known = admin.examine_broker_cluster_info().await?;
        let addrs = masters(&brokers_of(&known, cluster)?);
        admin.delete_topic_in_broker(&addrs, topic).await?;
        out.show(&Deleted { topic, from: From::Cluster(cluster) })?;
        admin.delete_topic_in_name_server(None, topic, Some(cluster)).await?;
        out.show(&Deleted { topic, from: From::NameServer })
    }
}

#[derive(Serialize)]
struct Deleted<'a> {
    topic: &'a str,
    from: From<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum From<'a> {
    Cluster(&'a str),
    NameServer,
}

impl Display for Deleted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "delete topic [{}] from ", self.topic)?;
        match self.from {
            From::Cluster(cluster) => writeln!(f, "cluster [{cluster}] success."),
            From::NameServer => writeln!(f, "NameServer success."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::attribute_changes;

    #[test]
    fn changes_of_attributes_are_checked() {
        let found = attribute_changes(Some("+message.type=FIFO,-a")).expect("good ones");
        let found: Vec<_> = found.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(found, [("+message.type", "FIFO"), ("-a", "")]);
        assert!(attribute_changes(None).expect("none").is_empty());
        for bad in ["a=b", "+a", "-a=b"] {
            assert!(attribute_changes(Some(bad)).is_err(), "{bad}");
        }
    }
}
