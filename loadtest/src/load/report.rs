//! The figures of a send run: a latency histogram, counts, the broker's cost; as text for people, as JSON for `compare`.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::process::Memory;
use super::slowest::Moment;

const LATENCY_NANOS_MAX: u64 = 120_000_000_000;

/// Latencies from 1 ns to 120 s with three significant digits.
pub struct Latency(Histogram<u64>);

impl Latency {
    /// Empty.
    pub fn new() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, 3);
        Latency(histogram.expect("constant bounds that the library accepts"))
    }

    /// Counts one; longer than 120 s counts as 120 s.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    /// Microseconds below which this share (0.0 to 1.0) of all values lies; 0 when empty.
    pub fn micros_at(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }

    /// The longest, in microseconds; 0 when empty.
    pub fn micros_max(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

/// What a send run found, the warm-up not included.
pub struct SendReport {
    /// Length of the measurement.
    pub seconds: f64,
    /// Messages (not requests) answered with code 0.
    pub acked: u64,
    /// Requests answered otherwise, by code.
    pub refused: BTreeMap<i32, u64>,
    /// The first refusal's remark.
    pub remark: Option<String>,
    /// Answers that belong to no request. Anything but 0 is a bug of the broker (or of this loader).
    pub strays: u64,
    /// Of acknowledged requests.
    pub latency: Latency,
    /// When the run started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Its slowest tenths of a second, the slowest first.
    pub slowest: Vec<Moment>,
    /// Our own CPU time; close to `seconds` without spinning means that the loader was the limit.
    pub loader_cpu_seconds: f64,
    /// The broker's CPU time, if its process was named.
    pub broker_cpu_seconds: Option<f64>,
    /// The broker's memory at the end, if its process was named.
    pub broker_memory: Option<Memory>,
}

impl SendReport {
    /// Acknowledged messages per second.
    pub fn acked_per_second(&self) -> f64 {
        ratio(self.acked as f64, self.seconds)
    }

    /// Acknowledged messages per second of the broker's CPU time.
    pub fn acked_per_broker_cpu_second(&self) -> Option<f64> {
        self.broker_cpu_seconds.map(|cpu| ratio(self.acked as f64, cpu))
    }

    /// One JSON object; `label` names the run for `mqbench compare`.
    pub fn to_json(&self, label: &str) -> Value {
        json!({
            "label": label,
            "seconds": self.seconds,
            "acked": self.acked,
            "acked_per_second": self.acked_per_second(),
            "refused": self.refused.iter().map(|(k, v)| (k.to_string(), json!(v))).collect::<serde_json::Map<_, _>>(),
            "remark": self.remark,
            "strays": self.strays,
            "p50_us": self.latency.micros_at(0.5),
            "p99_us": self.latency.micros_at(0.99),
            "p999_us": self.latency.micros_at(0.999),
            "max_us": self.latency.micros_max(),
            "slowest": self.slowest.iter().map(|moment| moment.to_json(self.started_ms)).collect::<Vec<_>>(),
            "loader_cpu_seconds": self.loader_cpu_seconds,
            "broker_cpu_seconds": self.broker_cpu_seconds,
            "acked_per_broker_cpu_second": self.acked_per_broker_cpu_second(),
            "broker_resident_bytes": self.broker_memory.map(|m| m.resident_bytes),
            "broker_anonymous_bytes": self.broker_memory.map(|m| m.anonymous_bytes),
        })
    }
}

impl fmt::Display for SendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = &self.latency;
        writeln!(
            f,
            "acked     {:>12} messages in {:.2} s = {:.0}/s",
            self.acked,
            self.seconds,
            self.acked_per_second()
        )?;
        writeln!(
            f,
            "latency   p50 {:.0} us   p99 {:.0} us   p99.9 {:.0} us   max {:.0} us",
            latency.micros_at(0.5),
            latency.micros_at(0.99),
            latency.micros_at(0.999),
            latency.micros_max()
        )?;
        for (code, count) in &self.refused {
            let name = proto::code::response::name(*code).unwrap_or("unknown code");
            writeln!(f, "refused   {count:>12} with code {code} ({name})")?;
        }
        if let Some(remark) = &self.remark {
            writeln!(f, "          first remark: {remark}")?;
        }
        if self.strays > 0 {
            writeln!(f, "STRAYS    {:>12} answers that nobody waited for", self.strays)?;
        }
        if let (Some(cpu), Some(per)) =
            (self.broker_cpu_seconds, self.acked_per_broker_cpu_second())
        {
            writeln!(f, "broker    {cpu:.2} CPU seconds = {per:.0} acked per CPU second")?;
        }
        if let Some(memory) = self.broker_memory {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let (all, own) = (mib(memory.resident_bytes), mib(memory.anonymous_bytes));
            writeln!(f, "          {all:.1} MiB resident, of which {own:.1} MiB anonymous")?;
        }
        write!(f, "loader    {:.2} CPU seconds", self.loader_cpu_seconds)
    }
}

/// `a / b`, 0 where there is nothing to divide by.
pub fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}
