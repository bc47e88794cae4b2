//! The figures of `mqbench follow`, a row for each case; as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::{Case, Follow};
use crate::load::process::Memory;
use crate::load::report::{Latency, ratio};

/// What one case showed.
pub struct CaseReport {
    /// Which.
    pub case: &'static Case,
    /// Consumers.
    pub consumers: usize,
    /// Length of the measurement.
    pub seconds: f64,
    /// Messages that were acknowledged meanwhile.
    pub sent: u64,
    /// Send requests refused, by code, the warm-up included.
    pub refused: BTreeMap<i32, u64>,
    /// The first refusal's remark.
    pub remark: Option<String>,
    /// Messages that consumers got meanwhile, all together.
    pub delivered: u64,
    /// Messages that were due meanwhile and that a consumer did not get, also not a while later. What was refused or never
    /// left is among them.
    pub missing: u64,
    /// Messages that a filter should have kept back, and of others.
    pub unwanted: u64,
    /// Pulls answered meanwhile.
    pub pulls: u64,
    /// Those of them without messages.
    pub empty_pulls: u64,
    /// From when a message was to be sent until a consumer had it.
    pub latency: Latency,
    /// From when a batch was to be sent until it was acknowledged.
    pub send_latency: Latency,
    /// How late batches left.
    pub late: Latency,
    /// Share of the time in which we had something to do; close to 1 means that the loader was the limit.
    pub loader_busy: f64,
    /// The broker's CPU time meanwhile, if its process was named.
    pub broker_cpu_seconds: Option<f64>,
    /// The broker's memory at the end, if its process was named.
    pub broker_memory: Option<Memory>,
}

/// What all of them showed.
pub struct FollowReport {
    /// What was asked for.
    pub follow: Follow,
    /// In the order in which they ran.
    pub cases: Vec<CaseReport>,
}

impl CaseReport {
    fn broker_cpu_per_second(&self) -> Option<f64> {
        self.broker_cpu_seconds.map(|cpu| ratio(cpu, self.seconds))
    }

    fn sent_per_second(&self) -> f64 {
        ratio(self.sent as f64, self.seconds)
    }

    fn delivered_per_second(&self) -> f64 {
        ratio(self.delivered as f64, self.seconds)
    }

    fn to_json(&self) -> Value {
        let of_messages = |micros: f64| (self.latency.count() > 0).then_some(micros);
        let refused: Map<String, Value> =
            self.refused.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
        json!({
            "case": self.case.name,
            "expression": self.case.expression,
            "matching_percent": self.case.share_percent,
            "consumers": self.consumers,
            "seconds": self.seconds,
            "broker_cpu_seconds": self.broker_cpu_seconds,
            "broker_cpu_per_second": self.broker_cpu_per_second(),
            "broker_resident_bytes": self.broker_memory.map(|memory| memory.resident_bytes),
            "sent_per_second": self.sent_per_second(),
            "delivered_per_second": self.delivered_per_second(),
            "p50_us": of_messages(self.latency.micros_at(0.5)),
            "p99_us": of_messages(self.latency.micros_at(0.99)),
            "p999_us": of_messages(self.latency.micros_at(0.999)),
            "max_us": of_messages(self.latency.micros_max()),
            "send_p50_us": self.send_latency.micros_at(0.5),
            "send_p99_us": self.send_latency.micros_at(0.99),
            "send_max_us": self.send_latency.micros_max(),
            "late_p99_us": self.late.micros_at(0.99),
            "late_max_us": self.late.micros_max(),
            "pulls": self.pulls,
            "empty_pulls": self.empty_pulls,
            "missing": self.missing,
            "unwanted": self.unwanted,
            "refused": refused,
            "remark": self.remark,
            "loader_busy": self.loader_busy,
        })
    }
}

/// What the columns of a [`CaseReport`] are.
pub const HEAD: &str = "\
case     broker CPU     sent  delivered      end to end, us                       send, us   loader
          seconds/s       /s         /s       p50       p99     p99.9       max       p99     busy";

/// One line, and more of them for what should not be.
impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = self.broker_cpu_per_second().map_or("-".to_owned(), |cpu| format!("{cpu:.3}"));
        write!(
            f,
            "{:<8} {cpu:>9} {:>9.0} {:>10.0}",
            self.case.name,
            self.sent_per_second(),
            self.delivered_per_second()
        )?;
        let latency = &self.latency;
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| latency.micros_at(share));
        for micros in [p50, p99, p999, latency.micros_max()] {
            match latency.count() {
                0 => write!(f, " {:>9}", "-")?,
                _ => write!(f, " {micros:>9.0}")?,
            }
        }
        write!(f, " {:>9.0} {:>7.0}%", self.send_latency.micros_at(0.99), self.loader_busy * 1e2)?;
        for (code, count) in &self.refused {
            let remark = self.remark.as_deref().unwrap_or_default();
            write!(f, "\n    REFUSED  {count} batches with code {code}, the first: {remark}")?;
        }
        if self.missing > 0 {
            write!(f, "\n    MISSING  {} messages were due and not delivered", self.missing)?;
        }
        if self.unwanted > 0 {
            write!(f, "\n    UNWANTED {} messages were not asked for", self.unwanted)?;
        }
        Ok(())
    }
}

impl FollowReport {
    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        let cases: Vec<Value> = self.cases.iter().map(CaseReport::to_json).collect();
        json!({
            "label": label,
            "rate": self.follow.rate,
            "batch": self.follow.batch,
            "queues": self.follow.queues,
            "body_bytes": self.follow.body_bytes,
            "pull_batch": self.follow.pull_batch,
            "cases": cases,
        })
    }
}
