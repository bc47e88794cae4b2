//! The figures of `mqbench half-checks`: the broker with the half messages open and nobody asked, and while it asks.

use std::fmt;

use serde_json::{Value, json};

use super::producers::Asked;
use crate::load::limits::other_client::Seen;
use crate::load::process::Memory;
use crate::load::report::ratio;

/// What was seen in one phase.
pub struct Phase {
    /// How long it was.
    pub seconds: f64,
    /// The broker's CPU time.
    pub broker_cpu_seconds: f64,
    /// Bytes that it had written to its disk, where the kernel tells.
    pub written_bytes: Option<u64>,
    /// Questions that came to producers.
    pub asked: Asked,
    /// Memory of the broker at the end.
    pub memory: Memory,
    /// What the other client saw.
    pub seen: Seen,
}

/// What a run found.
pub struct HalfChecksReport {
    /// Half messages that are open.
    pub open: u64,
    /// Producers that are online.
    pub producers: usize,
    /// When a half message is checked first, and how often after that.
    pub first_check_seconds: f64,
    /// See `first_check_seconds`.
    pub interval_seconds: f64,
    /// Half messages sent per second, before all phases.
    pub sent_per_second: f64,
    /// Memory of the broker without half messages.
    pub memory_before: Memory,
    /// All are open, none is due.
    pub quiet: Phase,
    /// They are checked.
    pub checked: Phase,
    /// The most resident memory that the broker had.
    pub peak_bytes: u64,
    /// Half messages that are open at the end, as the broker says.
    pub open_after: Option<u64>,
}

impl Phase {
    fn broker_cpu_per_second(&self) -> f64 {
        ratio(self.broker_cpu_seconds, self.seconds)
    }

    fn checks_per_second(&self) -> f64 {
        ratio(self.asked.checks as f64, self.seconds)
    }

    fn to_json(&self) -> Value {
        let Phase { asked, seen, memory, .. } = self;
        let mut json = json!({
            "seconds": self.seconds,
            "broker_cpu_seconds": self.broker_cpu_seconds,
            "broker_cpu_per_second": self.broker_cpu_per_second(),
            "written_bytes": self.written_bytes,
            "checks": asked.checks,
            "checks_per_second": self.checks_per_second(),
            "checks_in_a_second_max": asked.per_second_max,
            "resident_bytes": memory.resident_bytes,
            "anonymous_bytes": memory.anonymous_bytes,
        });
        seen.add_to(&mut json);
        json
    }
}

impl HalfChecksReport {
    /// Of the broker's CPU time, what a check takes: the other client's share, known from the quiet phase, is taken off.
    fn broker_cpu_us_per_check(&self) -> Option<f64> {
        let Phase { seconds, broker_cpu_seconds, asked, .. } = &self.checked;
        let more = broker_cpu_seconds - self.quiet.broker_cpu_per_second() * seconds;
        (asked.checks > 0).then(|| more * 1e6 / asked.checks as f64)
    }

    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        json!({
            "label": label,
            "open": self.open,
            "producers": self.producers,
            "first_check_seconds": self.first_check_seconds,
            "interval_seconds": self.interval_seconds,
            "sent_per_second": self.sent_per_second,
            "broker_cpu_us_per_check": self.broker_cpu_us_per_check(),
            "resident_bytes_before": self.memory_before.resident_bytes,
            "resident_bytes_peak": self.peak_bytes,
            "open_after": self.open_after,
            "quiet": self.quiet.to_json(),
            "checked": self.checked.to_json(),
        })
    }
}

impl fmt::Display for HalfChecksReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let open_after = self.open_after.map_or("?".to_owned(), |count| count.to_string());
        writeln!(
            f,
            "open      {:>12} half messages, sent at {:.0}/s; {open_after} are open at the end",
            self.open, self.sent_per_second
        )?;
        for (name, phase) in [("quiet", &self.quiet), ("checked", &self.checked)] {
            writeln!(
                f,
                "{name:<9} {:>12} checks in {:.1} s = {:.0}/s, at most {} in a second",
                phase.asked.checks,
                phase.seconds,
                phase.checks_per_second(),
                phase.asked.per_second_max
            )?;
            let written = phase.written_bytes.map_or("?".to_owned(), |it| mib(it).to_string());
            writeln!(
                f,
                "  broker  {:.2} CPU seconds = {:.3} a second, {written} MiB written, {} MiB resident",
                phase.broker_cpu_seconds,
                phase.broker_cpu_per_second(),
                mib(phase.memory.resident_bytes)
            )?;
            writeln!(f, "  {}", phase.seen)?;
        }
        if self.quiet.asked.checks > 0 {
            writeln!(f, "NOT QUIET: checks fell due before the others were sent (--first-check)")?;
        }
        let cost = self.broker_cpu_us_per_check().map_or("-".to_owned(), |us| format!("{us:.1}"));
        write!(
            f,
            "a check   {cost} us of broker CPU; memory {} MiB before, {} MiB at most",
            mib(self.memory_before.resident_bytes),
            mib(self.peak_bytes)
        )
    }
}
