//! `mqbench limits`: are the README's limits reached, and does anybody else notice?
//!
//! Each limit is a file with one [`Limit`]: it goes as far as the README promises, asks for one more, and says what came
//! of that. Meanwhile an [`other_client::OtherClient`] sends and pulls every millisecond on connections of
//! its own, counted from the intended moment: its worst wait is what the limit costs others. Every limit has a broker
//! and a data directory of its own. Added by: a file, a line in [`LIMITS`].

pub mod batch;
pub mod connections;
pub mod crowd;
pub mod groups;
pub mod members;
pub mod other_client;
pub mod parked_pulls;
pub mod pipeline;
pub mod quiet;
pub mod timers;
pub mod topics;
pub mod transactions;
pub mod wide_topic;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::ClientError;
use serde_json::{Value, json};

use super::LoadError;
use super::process::{self, Memory};
use crate::harness::our_broker::{OurBroker, with_asked};
use other_client::{OtherClient, Seen};

/// All of them, in the order in which they run.
pub const LIMITS: &[&Limit] = &[
    &quiet::LIMIT,
    &batch::LIMIT,
    &parked_pulls::LIMIT,
    &members::LIMIT,
    &connections::LIMIT,
    &topics::LIMIT,
    &wide_topic::LIMIT,
    &groups::LIMIT,
    &transactions::LIMIT,
    &timers::LIMIT,
    &timers::STEADY,
];

/// How long the other client runs alone before a limit begins, so that what it sees first is no start.
const ALONE: Duration = Duration::from_millis(500);

/// A limit of the README.
pub struct Limit {
    /// What `mqbench limits NAME` calls it.
    pub name: &'static str,
    /// What is counted, in words.
    pub what: &'static str,
    /// How many the README promises.
    pub full: u64,
    /// Lines of `broker.conf` that the run needs.
    pub keys: &'static [(&'static str, &'static str)],
    /// Goes to `count` and asks for one more. Whatever has to stay open meanwhile lives as long as the call.
    pub run: fn(&Trial, u64) -> Result<Outcome, LoadError>,
}

/// What a limit runs against.
pub struct Trial {
    /// The broker.
    pub addr: SocketAddr,
    /// Its process.
    pub pid: u32,
    hold: Duration,
}

impl Trial {
    /// To be called at the limit: others are watched for a while.
    pub fn hold(&self) {
        std::thread::sleep(self.hold);
    }
}

/// How far a limit went.
pub struct Outcome {
    /// How many there were.
    pub reached: u64,
    /// What the broker said to one more.
    pub one_more: String,
}

/// What the broker said to one more, in words. Errors: it said nothing.
fn said<T>(answer: Result<T, ClientError>) -> Result<String, LoadError> {
    match answer {
        Ok(_) => Ok("taken".to_owned()),
        Err(ClientError::Refused { code, remark }) => Ok(format!("code {code}, {remark}")),
        Err(other) => Err(other.into()),
    }
}

/// What a run is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Goes so far instead of to the limit (and asks for one more than the limit all the same where that is cheap).
    pub count: Option<u64>,
    /// How long others are watched at the limit.
    pub hold: Duration,
    /// Lines of `broker.conf` besides those of the limit.
    pub keys: Vec<(String, String)>,
}

/// What one limit showed.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What is counted.
    pub what: &'static str,
    /// How many were asked for.
    pub asked: u64,
    /// How far it went, or why it failed.
    pub outcome: Result<Outcome, String>,
    /// What the other client saw.
    pub seen: Seen,
    /// Memory of the broker before.
    pub before: Memory,
    /// Memory of the broker at the end.
    pub after: Memory,
    /// The most resident memory that the broker had.
    pub peak_bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What all of them showed.
pub struct LimitsReport {
    /// In the order in which they ran.
    pub rows: Vec<Row>,
}

/// The limits of these names; all when there are none.
pub fn find(names: &[String]) -> Result<Vec<&'static Limit>, LoadError> {
    if names.is_empty() {
        return Ok(LIMITS.to_vec());
    }
    let find = |name: &String| {
        let known = LIMITS.iter().copied().find(|limit| limit.name == name);
        known.ok_or_else(|| LoadError::Name { what: "a limit", value: name.clone() })
    };
    names.iter().map(find).collect()
}

/// Runs these limits one after the other. `on_row` hears of each as it ends.
pub fn run(
    limits: &[&'static Limit],
    options: &Options,
    mut on_row: impl FnMut(&Row),
) -> Result<LimitsReport, LoadError> {
    process::raise_open_files()?;
    let mut rows = Vec::new();
    for limit in limits {
        let row = run_one(limit, options)?;
        on_row(&row);
        rows.push(row);
    }
    Ok(LimitsReport { rows })
}

/// Runs one limit against a broker of its own.
pub fn run_one(limit: &Limit, options: &Options) -> Result<Row, LoadError> {
    let broker = OurBroker::standalone(&with_asked(limit.keys, &options.keys));
    let trial = Trial { addr: broker.broker_addr(), pid: broker.pid(), hold: options.hold };
    let other = OtherClient::start(trial.addr)?;
    std::thread::sleep(ALONE);
    let before = process::memory(trial.pid)?;
    let asked = options.count.unwrap_or(limit.full);
    let started = Instant::now();
    let outcome = (limit.run)(&trial, asked);
    let seconds = started.elapsed().as_secs_f64();
    let after = process::memory(trial.pid)?;
    let seen = other.stop()?;
    Ok(Row {
        name: limit.name,
        what: limit.what,
        asked,
        outcome: outcome.map_err(|error| error.to_string()),
        seen,
        before,
        after,
        peak_bytes: process::peak_resident_bytes(trial.pid)?,
        seconds,
    })
}

impl Row {
    fn to_json(&self) -> Value {
        let (reached, one_more, failed) = match &self.outcome {
            Ok(outcome) => (Some(outcome.reached), Some(outcome.one_more.as_str()), None),
            Err(reason) => (None, None, Some(reason.as_str())),
        };
        let mut json = json!({
            "name": self.name,
            "what": self.what,
            "asked": self.asked,
            "reached": reached,
            "one_more": one_more,
            "failed": failed,
            "seconds": self.seconds,
            "resident_bytes_before": self.before.resident_bytes,
            "resident_bytes_after": self.after.resident_bytes,
            "resident_bytes_peak": self.peak_bytes,
        });
        self.seen.add_to(&mut json);
        json
    }
}

/// One line; under it what was said to one more.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let ms = |micros: f64| micros / 1e3;
        let (reached, said) = match &self.outcome {
            Ok(outcome) => (outcome.reached.to_string(), format!("one more: {}", outcome.one_more)),
            Err(reason) => ("failed".to_owned(), reason.clone()),
        };
        write!(
            f,
            "{:<14} {:>9} {:>9} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>6} {:>6} {:>6} {:>7.1}\n    {}",
            self.name,
            self.asked,
            reached,
            ms(self.seen.sends.micros_max()),
            ms(self.seen.sends.micros_at(0.999)),
            ms(self.seen.pulls.micros_max()),
            ms(self.seen.pulls.micros_at(0.999)),
            ms(self.seen.own_delay.micros_max()),
            mib(self.before.resident_bytes),
            mib(self.peak_bytes),
            mib(self.after.resident_bytes),
            self.seconds,
            said
        )?;
        if self.seen.refused > 0 {
            write!(f, "; {} requests of the other client were refused", self.seen.refused)?;
        }
        Ok(())
    }
}

/// What the columns of a [`Row`] are.
pub const HEAD: &str = concat!(
    "                                      send, ms          pull, ms       own delay   resident, MiB   seconds\n",
    "limit              asked   reached    worst   99.9 %    worst   99.9 %    worst before   peak  after"
);

impl LimitsReport {
    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::to_json).collect();
        json!({ "label": label, "limits": rows })
    }
}

impl fmt::Display for LimitsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        self.rows.iter().try_for_each(|row| write!(f, "\n{row}"))
    }
}
