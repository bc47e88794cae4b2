//! `exportMetrics`: what the masters of a cluster hold and how much goes through them, into a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use client::DefaultMqAdminExt;
use client::admin_ext::{TOPIC_PUT_NUMS, compute_24_hour_sum};
use proto::body::SubscriptionGroupTable;
use serde_json::{Map, Value, json};

use crate::commands::export::{DIRECTORY, write};
use crate::commands::group_admin::named_masters;
use crate::{Command, Failure, Output};

/// Where transactional messages wait.
const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Where delayed messages wait.
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// Writes figures of a cluster's masters.
#[derive(clap::Args)]
pub(crate) struct ExportMetrics {
    /// The cluster
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster_name: String,
    /// Directory to write into
    #[arg(short = 'f', long = "filePath", value_name = "DIR", default_value = DIRECTORY)]
    file_path: PathBuf,
}

impl Command for ExportMetrics {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut report = Map::new();
        let (mut tps, mut day) = ([0.0; 4], [0; 4]);
        for (name, addr) in named_masters(admin, &self.cluster_name).await? {
            let found = of_broker(admin, &addr).await?;
            for at in 0..4 {
                tps[at] += found.tps[at];
                day[at] += found.day[at];
            }
            report.insert(name, found.json);
        }
        let total_tps =
            ["totalNormalInTps", "totalNormalOutTps", "totalTransInTps", "totalScheduleInTps"];
        let total = json!({"totalTps": named(total_tps, tps), "totalOneDayNum": named(DAY, day)});
        let whole = json!({"evaluateReport": report, "totalData": total});
        write(out, &self.file_path, "metrics.json", &whole)
    }
}

const TPS: [&str; 4] = ["normalInTps", "normalOutTps", "transInTps", "scheduleInTps"];
const DAY: [&str; 4] =
    ["normalOneDayInNum", "normalOneDayOutNum", "transOneDayInNum", "scheduleOneDayInNum"];

fn named<T: Into<Value>>(names: [&str; 4], values: [T; 4]) -> Value {
    let pairs = names.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.into()));
    pairs.collect::<Map<_, _>>().into()
}

struct OfBroker {
    tps: [f64; 4],
    day: [i64; 4],
    json: Value,
}

async fn of_broker(admin: &DefaultMqAdminExt, addr: &str) -> Result<OfBroker, Failure> {
    let figures = admin.fetch_broker_runtime_stats(addr).await?.table;
    let config = admin.get_broker_config(addr).await?;
    let groups = admin.get_user_subscription_group(addr).await?;
    let topics = admin.get_user_topic_config(addr, false).await?.topic_config_table.len();
    let (trans_tps, trans_day) = waiting(admin, addr, HALF_TOPIC).await?;
    let (schedule_tps, schedule_day) = waiting(admin, addr, SCHEDULE_TOPIC).await?;
    // 5.x has corrected the spelling.
    let outflow = ["getTransferedTps", "getTransferredTps"].map(|name| first(&figures, name));
    let tps = [
        first(&figures, "putTps").unwrap_or(0.0),
        outflow.into_iter().flatten().next().unwrap_or(0.0),
        trans_tps,
        schedule_tps,
    ];
    let day = [
        yesterday(&figures, "msgPutTotal"),
        yesterday(&figures, "msgGetTotal"),
        trans_day,
        schedule_day,
    ];
    let figure = |name: &str| figures.get(name);
    let quota = json!({
        "diskRatio": {
            "commitLogDiskRatio": figure("commitLogDiskRatio"),
            "consumeQueueDiskRatio": figure("consumeQueueDiskRatio"),
        },
        "tps": named(TPS, tps),
        "oneDayNum": named(DAY, day),
        "messageAverageSize": figure("putMessageAverageSize"),
        "topicSize": topics,
        "groupSize": groups.subscription_group_table.len(),
    });
    let json = json!({
        "runtimeEnv": {
            "cpuNum": config.get("clientCallbackExecutorThreads"),
            "totalMemKBytes": figure("totalMemKBytes"),
        },
        "runtimeQuota": quota,
        "runtimeVersion": {
            "rocketmqVersion": figure("brokerVersionDesc"),
            "clientInfo": clients(admin, &groups).await?,
        },
    });
    Ok(OfBroker { tps, day, json })
}

/// Per second and day, of a topic in which messages wait. A broker that has counted nothing there refuses.
async fn waiting(
    admin: &DefaultMqAdminExt,
    addr: &str,
    topic: &str,
) -> Result<(f64, i64), Failure> {
    match admin.view_broker_stats_data(addr, TOPIC_PUT_NUMS, topic).await {
        Ok(data) => Ok((data.stats_minute.tps, compute_24_hour_sum(&data))),
        Err(error) if error.code().is_some() => Ok((0.0, 0)),
        Err(error) => Err(error.into()),
    }
}

/// The first of several numbers.
fn first(figures: &BTreeMap<String, String>, name: &str) -> Option<f64> {
    figures.get(name)?.split_whitespace().next()?.parse().ok()
}

/// Messages of yesterday: between two mornings.
fn yesterday(figures: &BTreeMap<String, String>, name: &str) -> i64 {
    let at = |morning: &str| -> i64 {
        let figure = figures.get(&format!("{name}{morning}"));
        figure.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    at("TodayMorning") - at("YesterdayMorning")
}

/// `LANGUAGE%VERSION` of all members of these groups.
async fn clients(
    admin: &DefaultMqAdminExt,
    groups: &SubscriptionGroupTable,
) -> Result<BTreeSet<String>, Failure> {
    let mut all = BTreeSet::new();
    for group in groups.subscription_group_table.keys() {
        match admin.examine_consumer_connection_info(group).await {
            Ok(members) => all.extend(members.connection_set.iter().map(|member| {
                format!("{}%{}", member.language, proto::version::name(member.version))
            })),
            // Nobody is there.
            Err(error) if error.code().is_some() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_brokers_write_them() {
        let figures = [
            ("putTps", "12.5 3 1"),
            ("msgPutTotalTodayMorning", "100"),
            ("msgPutTotalYesterdayMorning", "40"),
        ];
        let figures = figures.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(first(&figures, "putTps"), Some(12.5));
        assert_eq!(first(&figures, "getTps"), None);
        assert_eq!(yesterday(&figures, "msgPutTotal"), 60);
        assert_eq!(yesterday(&figures, "msgGetTotal"), 0);
        assert_eq!(named(["a", "b", "c", "d"], [1, 2, 3, 4])["c"], 3);
    }
}
