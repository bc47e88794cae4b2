//! The figures of a run: what was popped and acknowledged, how long it took, what it cost; as text and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::load::process::Memory;
use crate::load::report::{Latency, ratio};

/// What a run found.
pub struct PopReport {
    /// Length of the measurement.
    pub seconds: f64,
    /// Messages received.
    pub messages: u64,
    /// Bytes of the bodies of answers.
    pub body_bytes: u64,
    /// Pops answered, empty ones included.
    pub pops: u64,
    /// Those of them that got nothing.
    pub empty_pops: u64,
    /// Those of them that the broker sent away without a look.
    pub put_off: u64,
    /// Acknowledgements answered: requests, not messages.
    pub acks: u64,
    /// Messages that nobody had popped when a pop got nothing the last time.
    pub left: Option<i64>,
    /// Of one pop.
    pub pop_latency: Latency,
    /// Of one acknowledgement.
    pub ack_latency: Latency,
    /// Our own CPU time; close to `seconds` means that the loader was the limit.
    pub loader_cpu_seconds: f64,
    /// The broker's CPU time, if its process was named.
    pub broker_cpu_seconds: Option<f64>,
    /// The broker's memory at the end, if its process was named.
    pub broker_memory: Option<Memory>,
}

impl PopReport {
    /// Nothing yet.
    pub(super) fn new() -> PopReport {
        PopReport {
            seconds: 0.0,
            messages: 0,
            body_bytes: 0,
            pops: 0,
            empty_pops: 0,
            put_off: 0,
            acks: 0,
            left: None,
            pop_latency: Latency::new(),
            ack_latency: Latency::new(),
            loader_cpu_seconds: 0.0,
            broker_cpu_seconds: None,
            broker_memory: None,
        }
    }

    fn messages_per_second(&self) -> f64 {
        ratio(self.messages as f64, self.seconds)
    }

    fn megabytes_per_second(&self) -> f64 {
        ratio(self.body_bytes as f64 / 1e6, self.seconds)
    }

    /// Messages per second of the broker's CPU time, if that was measured.
    fn messages_per_broker_cpu_second(&self) -> Option<f64> {
        self.broker_cpu_seconds.map(|cpu| ratio(self.messages as f64, cpu))
    }

    /// One JSON object. The latency that `mqbench compare` shows is that of pops.
    pub fn to_json(&self, label: &str) -> Value {
        json!({
            "label": label,
            "seconds": self.seconds,
            "messages": self.messages,
            "messages_per_second": self.messages_per_second(),
            "body_bytes": self.body_bytes,
            "megabytes_per_second": self.megabytes_per_second(),
            "pops": self.pops,
            "empty_pops": self.empty_pops,
            "put_off": self.put_off,
            "acks": self.acks,
            "left": self.left,
            "p50_us": self.pop_latency.micros_at(0.5),
            "p99_us": self.pop_latency.micros_at(0.99),
            "p999_us": self.pop_latency.micros_at(0.999),
            "max_us": self.pop_latency.micros_max(),
            "ack_p50_us": self.ack_latency.micros_at(0.5),
            "ack_p99_us": self.ack_latency.micros_at(0.99),
            "ack_p999_us": self.ack_latency.micros_at(0.999),
            "ack_max_us": self.ack_latency.micros_max(),
            "loader_cpu_seconds": self.loader_cpu_seconds,
            "broker_cpu_seconds": self.broker_cpu_seconds,
            "messages_per_broker_cpu_second": self.messages_per_broker_cpu_second(),
            "broker_resident_bytes": self.broker_memory.map(|m| m.resident_bytes),
        })
    }
}

impl fmt::Display for PopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percentiles = |latency: &Latency| {
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| latency.micros_at(share));
            let max = latency.micros_max();
            format!("p50 {p50:.0} us   p99 {p99:.0} us   p99.9 {p999:.0} us   max {max:.0} us")
        };
        writeln!(
            f,
            "popped    {:>12} messages in {:.2} s = {:.0}/s, {:.1} MB/s",
            self.messages,
            self.seconds,
            self.messages_per_second(),
            self.megabytes_per_second()
        )?;
        let (pops, empty) = (self.pops, self.empty_pops);
        let of_pops = percentiles(&self.pop_latency);
        writeln!(f, "pops      {of_pops} of {pops}, {empty} of them empty")?;
        if self.acks > 0 {
            writeln!(f, "acks      {} of {}", percentiles(&self.ack_latency), self.acks)?;
        }
        if self.put_off > 0 {
            writeln!(f, "PUT OFF   {:>12} pops without a look at the queues", self.put_off)?;
        }
        if let Some(left) = self.left.filter(|left| *left > 0) {
            writeln!(f, "LEFT      {left:>12} messages when a pop got nothing the last time")?;
        }
        if let (Some(cpu), Some(per)) =
            (self.broker_cpu_seconds, self.messages_per_broker_cpu_second())
        {
            writeln!(f, "broker    {cpu:.2} CPU seconds = {per:.0} messages per CPU second")?;
        }
        if let Some(memory) = self.broker_memory {
            let mib = memory.resident_bytes as f64 / f64::from(1 << 20);
            writeln!(f, "          {mib:.1} MiB resident")?;
        }
        write!(f, "loader    {:.2} CPU seconds", self.loader_cpu_seconds)
    }
}
