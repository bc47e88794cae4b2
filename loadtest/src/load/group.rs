//! `mqbench group`: does the broker keep within the memory of a control group, or say that it cannot?
//!
//! Starts our broker in a group of its own, opens many connections that stay, and has the broker work meanwhile: sends of
//! small and of large messages, and pulls of all of them from the beginning, which leave the tail cache. A broker that
//! the kernel kills loses its connections, which is an error here.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::LoadError;
use super::drain::{self, Drain};
use super::drive::{self, Plan, Until};
use super::frames::{self, OPAQUE_MIN, SendFrames, SendShape};
use super::limits::crowd::Crowd;
use crate::harness::control_group::ControlGroup;
use crate::harness::our_broker::{OurBroker, with_asked};
use client::{Connection, NewTopic};

const QUEUES: u32 = 8;
/// Connections besides those that stay open.
const OTHER_CONNECTIONS: usize = 100;
const ANSWERS_MAX: Duration = Duration::from_secs(60);
/// Topic, bytes of a body, connections, window.
const SENDS: [(&str, usize, usize, usize); 3] =
    [("small", 100, 8, 64), ("middle", 1_024, 8, 32), ("large", 500_000, 4, 2)];

/// What to do.
#[derive(Clone, Debug)]
pub struct GroupRun {
    /// Limit of the group, MiB.
    pub mib: u64,
    /// Connections that stay open, each of which has asked something.
    pub connections: usize,
    /// How long the broker works, about.
    pub duration: Duration,
    /// Lines of `broker.conf`.
    pub keys: Vec<(String, String)>,
}

/// What came of it.
pub struct GroupReport {
    /// Limit of the group, MiB.
    pub mib: u64,
    /// Its sentence, when the broker refused to start; else what it did.
    pub outcome: Result<Served, String>,
}

/// What the broker did.
#[derive(Default)]
pub struct Served {
    /// Messages that it acknowledged.
    pub acked: u64,
    /// Messages that were read.
    pub received: u64,
    /// Requests that it refused, such as sends beyond what may be in flight.
    pub refused: u64,
    /// The most bytes that the kernel counted for the group.
    pub peak_bytes: u64,
    /// How long all that took.
    pub seconds: f64,
}

/// Runs it. The outer error: no group can be made, or the broker did not live through it.
pub fn run(run: &GroupRun) -> Result<GroupReport, LoadError> {
    let unmade =
        |reason: String| LoadError::io("making a control group")(std::io::Error::other(reason));
    let group = ControlGroup::new(run.mib << 20).map_err(unmade)?;
    super::process::raise_open_files()?;
    // Else its memory decides how many it takes.
    let connections_max = (run.connections + OTHER_CONNECTIONS).to_string();
    // On a busy machine reading everything back takes longer than an idle connection is kept.
    let idle = ("serverChannelMaxIdleTimeSeconds", "3600");
    let own = [("connectionsMax", connections_max.as_str()), idle];
    let keys = with_asked(&own, &run.keys);
    let outcome = match OurBroker::in_group(&group.procs(), &keys) {
        Err(said) => Err(said.trim().to_owned()),
        Ok(mut broker) => {
            let served = serve(run, &broker, &group)?;
            // Before the group goes.
            broker.stop();
            Ok(served)
        }
    };
    Ok(GroupReport { mib: run.mib, outcome })
}

fn serve(run: &GroupRun, broker: &OurBroker, group: &ControlGroup) -> Result<Served, LoadError> {
    let addr = broker.broker_addr();
    let started = Instant::now();
    let mut crowd = Crowd::connect(addr, run.connections)?;
    ask_all(&mut crowd)?;
    let mut client = Connection::connect(addr)?;
    for (topic, ..) in SENDS {
        client.create_topic(&NewTopic::new(topic, QUEUES as i32))?;
    }
    // Each of three kinds sends, and all that it sent is read.
    let piece = (run.duration / 12).clamp(Duration::from_secs(1), Duration::from_secs(10));
    let mut served = Served::default();
    while started.elapsed() < run.duration {
        for (topic, body_bytes, connections, window) in SENDS {
            let shape = SendShape {
                topic: topic.to_owned(),
                topics: 1,
                random: false,
                queues: QUEUES,
                body_bytes,
                batch: 1,
            };
            let plan = Plan {
                addr,
                connections,
                window,
                rate: None,
                until: Until::Time { warmup: Duration::ZERO, measure: piece },
                spin: false,
                broker_pid: None,
            };
            let report = drive::run(&plan, &mut SendFrames::new(&shape)?)?;
            served.acked += report.acked;
            served.refused += report.refused.values().sum::<u64>();
            let drain = Drain {
                addr,
                topic: topic.to_owned(),
                queues: QUEUES,
                connections: 4,
                batch: 32,
                repeat: 1,
                broker_pid: None,
            };
            served.received += drain::run(&drain)?.messages;
            ask_all(&mut crowd)?;
        }
    }
    served.peak_bytes = group.peak_bytes().or_else(|| group.bytes()).unwrap_or(0);
    served.seconds = started.elapsed().as_secs_f64();
    Ok(served)
}

/// Each connection asks something and is answered. Errors: one of them is closed, or silence.
fn ask_all(crowd: &mut Crowd) -> Result<(), LoadError> {
    for socket in &mut crowd.sockets {
        frames::append_min_offset(socket.unsent(), "TBW102", 0, OPAQUE_MIN);
    }
    crowd.flush()?;
    crowd.receive_from_each(ANSWERS_MAX, |_| true)
}

impl GroupReport {
    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        match &self.outcome {
            Err(refused) => json!({ "label": label, "mib": self.mib, "refused": refused }),
            Ok(served) => json!({
                "label": label,
                "mib": self.mib,
                "acked": served.acked,
                "received": served.received,
                "refused_requests": served.refused,
                "peak_bytes": served.peak_bytes,
                "seconds": served.seconds,
            }),
        }
    }
}

impl fmt::Display for GroupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Err(said) => write!(f, "{} MiB: refused: {said}", self.mib),
            Ok(served) => write!(
                f,
                "{} MiB: at most {} MiB in {:.0} s; {} messages acknowledged, {} read, {} requests refused",
                self.mib,
                served.peak_bytes.div_ceil(1 << 20),
                served.seconds,
                served.acked,
                served.received,
                served.refused
            ),
        }
    }
}
