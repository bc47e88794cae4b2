//! `queryMsgTraceById`: what producer and consumers wrote down about a message.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use client::admin_ext::{KeyQuery, TraceKind, TraceView, traces_of};
use client::{AdminError, DefaultMqAdminExt};
use proto::code::response;
use serde::Serialize;
use serde_json::json;

use crate::moment::now_ms;
use crate::text::{or_null, seconds};
use crate::{Command, Failure, Output};

/// Shows the traces of a message.
#[derive(clap::Args)]
pub(crate) struct QueryMsgTraceById {
    /// The id that the producer gave the message
    #[arg(short = 'i', long = "msgId", value_name = "ID")]
    msg_id: String,
    /// The topic where traces are kept
    #[arg(
        short = 't',
        long = "traceTopic",
        value_name = "TOPIC",
        default_value = "RMQ_SYS_TRACE_TOPIC"
    )]
    trace_topic: String,
    /// 5.x: traces stored at this time or later, ms since the epoch
    #[arg(short = 'b', long = "beginTimestamp", value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    begin_timestamp: i64,
    /// 5.x: traces stored at this time or before, ms since the epoch; without it now
    #[arg(short = 'e', long = "endTimestamp", value_name = "MS", value_parser = clap::value_parser!(i64).range(0..))]
    end_timestamp: Option<i64>,
    /// 5.x: most messages with traces of each broker
    #[arg(short = 'c', long = "maxNum", value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(i32).range(1..))]
    max_num: i32,
}

impl Command for QueryMsgTraceById {
    async fn run(&self, admin: &DefaultMqAdminExt, out: &mut Output) -> Result<(), Failure> {
        let query = KeyQuery {
            topic: &self.trace_topic,
            key: &self.msg_id,
            max_num: self.max_num,
            begin_ms: self.begin_timestamp,
            end_ms: self.end_timestamp.unwrap_or_else(now_ms),
            unique: false,
        };
        let found = admin.query_message(&query).await?;
        if found.is_empty() {
            let what =
                format!("topic {} has no trace of message {}", self.trace_topic, self.msg_id);
            return Err(AdminError::NotFound { what, code: response::QUERY_NOT_FOUND }.into());
        }
        let mut traces = Vec::new();
        for message in &found {
            match traces_of(&self.msg_id, message) {
                Ok(more) => traces.extend(more),
                Err(error) => out.problem(error),
            }
        }
        out.show(&Traces(traces))
    }
}

struct Traces(Vec<TraceView>);

impl Serialize for Traces {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.0.iter().map(|trace| {
            json!({
                "type": kind(trace),
                "group": trace.group,
                "clientHost": trace.client_host,
                "timestamp": trace.time_ms,
                "costMs": trace.cost_ms,
                "success": trace.success,
            })
        });
        serializer.collect_seq(rows)
    }
}

fn kind(trace: &TraceView) -> &'static str {
    match trace.kind {
        TraceKind::Pub => "Pub",
        TraceKind::SubAfter => "Sub",
    }
}

impl Display for Traces {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<Option<&str>, Vec<&TraceView>> = BTreeMap::new();
        for trace in &self.0 {
            match trace.kind {
                TraceKind::Pub => {
                    header(f, "#ProducerGroup", "#SendTime")?;
                    row(f, trace)?;
                    writeln!(f)?;
                }
                TraceKind::SubAfter => {
                    groups.entry(trace.group.as_deref()).or_default().push(trace);
                }
            }
        }
        for traces in groups.values() {
            header(f, "#ConsumerGroup", "#ConsumerTime")?;
            traces.iter().try_for_each(|trace| row(f, trace))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

fn header(f: &mut Formatter<'_>, group: &str, time: &str) -> fmt::Result {
    writeln!(
        f,
        "{:<10} {group:<20} {:<20} {time:<20} {:<10} {:<10}",
        "#Type", "#ClientHost", "#CostTimes", "#Status"
    )
}

fn row(f: &mut Formatter<'_>, trace: &TraceView) -> fmt::Result {
    writeln!(
        f,
        "{:<10} {:<20} {:<20} {:<20} {:<10} {:<10}",
        kind(trace),
        or_null(trace.group.as_deref()),
        trace.client_host,
        seconds(trace.time_ms),
        format!("{}ms", trace.cost_ms),
        if trace.success { "success" } else { "failed" }
    )
}
