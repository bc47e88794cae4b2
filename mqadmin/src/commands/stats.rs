//! `statsAll`: how much goes into each topic and out of it to each group.

use std::fmt::Write as _;

use client::admin_ext::{GROUP_GET_NUMS, TOPIC_PUT_NUMS, compute_24_hour_sum};
use client::{AdminError, DefaultMqAdminExt};
use serde_json::{Value, json};

use crate::text::cut;
use crate::{Command, Failure, Output};

/// Before the names of topics that belong to groups.
const OF_GROUPS: [&str; 2] = ["%RETRY%", "%DLQ%"];
/// The broker that writes.
const MASTER_ID: i64 = 0;

/// Shows rates and daily totals of topics and of the groups that consume them.
#[derive(clap::Args)]
pub(crate) struct StatsAll {
    /// Only where messages went in or out
    #[arg(short = 'a', long = "activeTopic")]
    active_topic: bool,
    /// One topic
    #[arg(short = 't', long = "topic", value_name = "TOPIC")]
    topic: Option<String>,
}

impl Command for StatsAll {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let mut topics = admin.fetch_all_topic_list().await?.topic_list;
        topics.retain(|topic| {
            !OF_GROUPS.iter().any(|prefix| topic.starts_with(prefix))
                && self.topic.as_ref().is_none_or(|wanted| wanted == topic)
        });
        out.text(&format!(
            "{:<64}  {:<64} {:>12} {:>11} {:>11} {:>14} {:>14}",
            "#Topic",
            "#Consumer Group",
            "#Accumulation",
            "#InTPS",
            "#OutTPS",
            "#InMsg24Hour",
            "#OutMsg24Hour"
        ))?;
        let progress = out.progress(topics.len());
        for topic in &topics {
            match self.of_topic(admin, topic).await {
                Ok((text, json)) if !json.is_empty() => out.say(text, json.into())?,
                Ok(_) => {}
                // Names of the name server's own that no broker has; Java leaves them out as well.
                Err(error) if error.code().is_some() => {}
                Err(error) => out.problem(error),
            }
            progress.step();
        }
        Ok(())
    }
}

/// What went in or out.
#[derive(Clone, Copy, Default)]
struct Flow {
    tps: f64,
    day: i64,
}

impl StatsAll {
    async fn of_topic(
        &self,
        admin: &DefaultMqAdminExt,
        topic: &str,
    ) -> Result<(String, Vec<Value>), AdminError> {
        let route = admin.examine_topic_route_info(topic).await?;
        let groups = admin.query_topic_consume_by_who(topic).await?.group_list;
        let masters = route.broker_datas.iter().filter_map(|b| b.broker_addrs.get(&MASTER_ID));
        let masters: Vec<&String> = masters.collect();
        let inflow = flow(admin, &masters, TOPIC_PUT_NUMS, topic).await?;
        let (mut text, mut rows) = (String::new(), Vec::new());
        let shown = |flows: &[Flow]| !self.active_topic || flows.iter().any(|flow| flow.day > 0);
        if groups.is_empty() && shown(&[inflow]) {
            let _ = writeln!(
                text,
                "{:<64}  {:<64} {:>12} {:>11.2} {:>11} {:>14} {:>14}",
                cut(topic, 64),
                "",
                0,
                inflow.tps,
                "",
                inflow.day,
                "NO_CONSUMER"
            );
            let json = json!({"topic": topic, "inTps": inflow.tps, "inMsg24Hour": inflow.day});
            rows.push(json);
        }
        for group in groups {
            let key = format!("{topic}@{group}");
            let outflow = flow(admin, &masters, GROUP_GET_NUMS, &key).await?;
            let left = admin.examine_consume_stats(&group, Some(topic)).await;
            let left = left.map_or(0, |stats| stats.diffs().0.max(0));
            if !shown(&[inflow, outflow]) {
                continue;
            }
            let _ = writeln!(
                text,
                "{:<64}  {:<64} {left:>12} {:>11.2} {:>11.2} {:>14} {:>14}",
                cut(topic, 64),
                cut(&group, 64),
                inflow.tps,
                outflow.tps,
                inflow.day,
                outflow.day
            );
            rows.push(json!({
                "topic": topic, "group": group, "accumulation": left, "inTps": inflow.tps,
                "outTps": outflow.tps, "inMsg24Hour": inflow.day, "outMsg24Hour": outflow.day,
            }));
        }
        Ok((text, rows))
    }
}

/// Of all masters together. A broker that has counted nothing under this key refuses.
async fn flow(
    admin: &DefaultMqAdminExt,
    masters: &[&String],
    name: &str,
    key: &str,
) -> Result<Flow, AdminError> {
    let mut flow = Flow::default();
    for addr in masters {
        match admin.view_broker_stats_data(addr, name, key).await {
            Ok(data) => {
                flow.tps += data.stats_minute.tps;
                flow.day += compute_24_hour_sum(&data);
            }
            Err(error) if error.code().is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(flow)
}
