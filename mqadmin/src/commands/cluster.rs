//! `clusterList`: all brokers of all clusters, with what they do.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::DefaultMqAdminExt;
use proto::body::{ClusterInfo, KvTable};
use serde::Serialize;

use crate::target::brokers_of;
use crate::text::or_null;
use crate::{Command, Failure, Output};

/// Lists the brokers of all clusters, or of one.
#[derive(clap::Args)]
pub(crate) struct ClusterList {
    /// Totals of yesterday and today instead
    #[arg(short = 'm', long = "moreStats")]
    more_stats: bool,
    /// Again every so many seconds
    #[arg(short = 'i', long = "interval", value_name = "SECONDS")]
    interval: Option<u64>,
    /// One cluster only
    #[arg(short = 'c', long = "clusterName", value_name = "CLUSTER")]
    cluster_name: Option<String>,
}

impl Command for ClusterList {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        loop {
            let rows = self.rows(admin, out).await?;
            match self.more_stats {
                true => out.show(&Totals(rows.iter().map(Total::of).collect()))?,
                false => out.show(&Brokers(rows.iter().map(Broker::of).collect()))?,
            }
            let Some(seconds) = self.interval else { return Ok(()) };
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }
}

/// One broker, and its figures if it could be asked.
struct Row {
    cluster: String,
    broker: String,
    id: i64,
    addr: String,
    figures: Option<KvTable>,
}

impl ClusterList {
    async fn rows(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<Vec<Row>, Failure> {
        let known = admin.examine_broker_cluster_info().await?;
        let mut rows = addrs(&known, self.cluster_name.as_deref())?;
        for row in &mut rows {
            match admin.fetch_broker_runtime_stats(&row.addr).await {
                Ok(figures) => row.figures = Some(figures),
                Err(error) => out.problem(error),
            }
        }
        Ok(rows)
    }
}

fn addrs(known: &ClusterInfo, only: Option<&str>) -> Result<Vec<Row>, Failure> {
    let clusters: Vec<&str> = match only {
        Some(cluster) => vec![cluster],
        None => known.cluster_addr_table.keys().map(String::as_str).collect(),
    };
    let mut rows = Vec::new();
    for cluster in clusters {
        for broker in brokers_of(known, cluster)? {
            rows.extend(broker.broker_addrs.iter().map(|(id, addr)| Row {
                cluster: cluster.to_owned(),
                broker: broker.broker_name.clone(),
                id: *id,
                addr: addr.clone(),
                figures: None,
            }));
        }
    }
    Ok(rows)
}

impl Row {
    /// A figure as the broker writes it. Java prints `null` for one that is missing, nothing when the broker did not answer.
    fn text(&self, name: &str) -> String {
        let figures = self.figures.as_ref();
        figures
            .map_or_else(String::new, |f| or_null(f.table.get(name).map(String::as_str)).to_owned())
    }

    /// The first number of a figure.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        let figure = self.figures.as_ref()?.table.get(name)?;
        figure.split_whitespace().next()?.parse().ok()
    }
}

#[derive(Serialize)]
struct Brokers(Vec<Broker>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Broker {
    cluster_name: String,
    broker_name: String,
    broker_id: i64,
    addr: String,
    answered: bool,
    version: String,
    in_tps: f64,
    send_queue_size: String,
    send_queue_head_wait_ms: String,
    out_tps: f64,
    pull_queue_size: String,
    pull_queue_head_wait_ms: String,
    page_cache_lock_ms: String,
    /// How old the oldest message is.
    hours: f64,
    disk_ratio: f64,
}

impl Broker {
    fn of(row: &Row) -> Broker {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64;
        let earliest = row.number::<f64>("earliestMessageTimeStamp");
        // 4.9 spells it with one r, 5.x with two.
        let out_tps = row.number("getTransferedTps").or_else(|| row.number("getTransferredTps"));
        Broker {
            cluster_name: row.cluster.clone(),
            broker_name: row.broker.clone(),
            broker_id: row.id,
            addr: row.addr.clone(),
            answered: row.figures.is_some(),
            version: row.text("brokerVersionDesc"),
            in_tps: row.number("putTps").unwrap_or(0.0),
            send_queue_size: row.text("sendThreadPoolQueueSize"),
            send_queue_head_wait_ms: row.text("sendThreadPoolQueueHeadWaitTimeMills"),
            out_tps: out_tps.unwrap_or(0.0),
            pull_queue_size: row.text("pullThreadPoolQueueSize"),
            pull_queue_head_wait_ms: row.text("pullThreadPoolQueueHeadWaitTimeMills"),
            page_cache_lock_ms: row.text("pageCacheLockTimeMills"),
            hours: earliest.map_or(0.0, |earliest| (now - earliest) / 3_600_000.0),
            disk_ratio: row.number("commitLogDiskRatio").unwrap_or(0.0),
        }
    }
}

impl Display for Brokers {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16}  {:<22}  {:<4}  {:<22} {:<16} {:>19} {:>19} {:>10} {:>5} {:>6}",
            "#Cluster Name",
            "#Broker Name",
            "#BID",
            "#Addr",
            "#Version",
            "#InTPS(LOAD)",
            "#OutTPS(LOAD)",
            "#PCWait(ms)",
            "#Hour",
            "#SPACE"
        )?;
        for b in &self.0 {
            let load = |tps: f64, size: &str, wait: &str| format!("{tps:9.2}({size},{wait}ms)");
            writeln!(
                f,
                "{:<16}  {:<22}  {:<4}  {:<22} {:<16} {:>19} {:>19} {:>10} {:>5} {:>6}",
                b.cluster_name,
                b.broker_name,
                b.broker_id,
                b.addr,
                b.version,
                load(b.in_tps, &b.send_queue_size, &b.send_queue_head_wait_ms),
                load(b.out_tps, &b.pull_queue_size, &b.pull_queue_head_wait_ms),
                b.page_cache_lock_ms,
                format!("{:.2}", b.hours),
                format!("{:.4}", b.disk_ratio),
            )?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Totals(Vec<Total>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Total {
    cluster_name: String,
    broker_name: String,
    addr: String,
    in_total_yesterday: i64,
    out_total_yesterday: i64,
    in_total_today: i64,
    out_total_today: i64,
}

impl Total {
    fn of(row: &Row) -> Total {
        let between = |from: &str, to: &str| {
            let numbers = row.number::<i64>(from).zip(row.number::<i64>(to));
            numbers.map_or(0, |(from, to)| to.saturating_sub(from))
        };
        Total {
            cluster_name: row.cluster.clone(),
            broker_name: row.broker.clone(),
            addr: row.addr.clone(),
            in_total_yesterday: between("msgPutTotalYesterdayMorning", "msgPutTotalTodayMorning"),
            out_total_yesterday: between("msgGetTotalYesterdayMorning", "msgGetTotalTodayMorning"),
            in_total_today: between("msgPutTotalTodayMorning", "msgPutTotalTodayNow"),
            out_total_today: between("msgGetTotalTodayMorning", "msgGetTotalTodayNow"),
        }
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
            "#Cluster Name",
            "#Broker Name",
            "#InTotalYest",
            "#OutTotalYest",
            "#InTotalToday",
            "#OutTotalToday"
        )?;
        for t in &self.0 {
            writeln!(
                f,
                "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
                t.cluster_name,
                t.broker_name,
                t.in_total_yesterday,
                t.out_total_yesterday,
                t.in_total_today,
                t.out_total_today
            )?;
        }
        Ok(())
    }
}
