//! `mqbench half-checks`: what does it cost to check a million open half messages, and does anybody else notice?
//!
//! Starts our broker, sends it half messages that nobody decides on, and watches it for two phases: all are open and none is
//! due, then they are due, and producers are asked and answer "unknown" each time. An
//! [`OtherClient`] sends and pulls in both. They are checked in the order and at about
//! the pace in which they were sent, if the broker keeps up.

pub mod producers;
pub mod report;

use std::time::{Duration, Instant};

use client::{Connection, Message, NewTopic};

use super::LoadError;
use super::frames::check_range;
use super::limits::other_client::OtherClient;
use super::limits::pipeline;
use super::process;
use super::report::ratio;
use crate::harness::our_broker::{OurBroker, with_asked};
use producers::Producers;
use report::{HalfChecksReport, Phase};

const TOPIC: &str = "half-checks";
const QUEUES: u64 = 8;
const GROUP: &str = "half-checks-producers";
const HALF: [(&str, &str); 2] = [("TRAN_MSG", "true"), ("PGROUP", GROUP)];
/// Of `sysFlag`: a half message.
const PREPARED: i32 = 4;
const BODY: [u8; 128] = [b'x'; 128];
/// More checks than any run has: none is given up.
const CHECKS_MAX: &str = "1000000";
/// How long the first check may be late.
const FIRST_CHECK_LATE_MAX: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Clone, Debug)]
pub struct HalfChecks {
    /// Half messages.
    pub count: u64,
    /// Producers of their group that are online.
    pub producers: usize,
    /// Age at which a half message is checked first. All shall be sent and the quiet phase be over by then.
    pub first_check: Duration,
    /// Time between two checks of a half message.
    pub interval: Duration,
    /// Length of the phase in which none is due.
    pub quiet: Duration,
    /// Length of the phase in which they are checked, from the first check on.
    pub measure: Duration,
    /// Core that we are pinned to once the broker has started, which would else be pinned to it as well.
    pub core: Option<usize>,
    /// Lines of `broker.conf` that win over those of the run.
    pub keys: Vec<(String, String)>,
}

/// Runs it. Errors: connection trouble, a refused send, or no check in time.
pub fn run(run: &HalfChecks) -> Result<HalfChecksReport, LoadError> {
    check_range("count", "1..=100000000", run.count, 1, 100_000_000)?;
    check_range("producers", "1..=1000", run.producers as u64, 1, 1_000)?;
    let broker = start_broker(run);
    run.core.map_or(Ok(()), process::pin_to)?;
    let (addr, pid) = (broker.broker_addr(), broker.pid());
    let mut client = Connection::connect(addr)?;
    client.set_timeout(pipeline::PATIENCE);
    client.create_topic(&NewTopic::new(TOPIC, QUEUES as i32))?;
    let memory_before = process::memory(pid)?;
    let began = Instant::now();
    send_halves(&mut client, run.count)?;
    let sent_per_second = ratio(run.count as f64, began.elapsed().as_secs_f64());
    let mut producers = Producers::connect(addr, GROUP, run.producers)?;
    let quiet = phase(&broker, &mut producers, run.quiet)?;
    if quiet.asked.checks == 0 {
        await_first_check(&mut producers, run.first_check + FIRST_CHECK_LATE_MAX)?;
    }
    let checked = phase(&broker, &mut producers, run.measure)?;
    // Another one: the broker has closed a connection that was silent for so long.
    let open_after = open_now(&mut Connection::connect(addr)?)?;
    Ok(HalfChecksReport {
        open: run.count,
        producers: run.producers,
        first_check_seconds: run.first_check.as_secs_f64(),
        interval_seconds: run.interval.as_secs_f64(),
        sent_per_second,
        memory_before,
        quiet,
        checked,
        peak_bytes: process::peak_resident_bytes(pid)?,
        open_after,
    })
}

fn start_broker(run: &HalfChecks) -> OurBroker {
    let count = run.count.to_string();
    let first_check = run.first_check.as_millis().to_string();
    let interval = run.interval.as_millis().to_string();
    let own = [
        ("shards", "1"),
        ("shardOpenTransactionsMax", count.as_str()),
        ("transactionTimeOut", first_check.as_str()),
        ("transactionCheckInterval", interval.as_str()),
        ("transactionCheckMax", CHECKS_MAX),
    ];
    let keys = with_asked(&own, &run.keys);
    OurBroker::standalone(&keys)
}

fn send_halves(client: &mut Connection, count: u64) -> Result<(), LoadError> {
    pipeline::run(client, count, |client, number| {
        let queue = (number % QUEUES) as i32;
        let half = Message { sys_flag: PREPARED, ..Message::new(TOPIC, queue, &BODY) };
        client.start_send(&half.with_properties(&HALF))
    })
}

/// Watches the broker for a while, producers and the other client being there.
fn phase(
    broker: &OurBroker,
    producers: &mut Producers,
    length: Duration,
) -> Result<Phase, LoadError> {
    let pid = broker.pid();
    let other = OtherClient::start(broker.broker_addr())?;
    let (cpu, written) = (process::cpu_seconds(pid)?, process::written_bytes(pid));
    let started = Instant::now();
    producers.answer_until(|_| started.elapsed() >= length)?;
    let seconds = started.elapsed().as_secs_f64();
    let broker_cpu_seconds = process::cpu_seconds(pid)? - cpu;
    let written_after = process::written_bytes(pid);
    Ok(Phase {
        seconds,
        broker_cpu_seconds,
        written_bytes: written_after.zip(written).map(|(after, before)| after - before),
        asked: producers.asked,
        memory: process::memory(pid)?,
        seen: other.stop()?,
    })
}

fn await_first_check(producers: &mut Producers, patience: Duration) -> Result<(), LoadError> {
    let started = Instant::now();
    let mut has_come = false;
    producers.answer_until(|asked| {
        has_come = asked.checks > 0;
        has_come || started.elapsed() > patience
    })?;
    let silent = LoadError::Silent { seconds: patience.as_secs(), in_flight: 0 };
    if has_come { Ok(()) } else { Err(silent) }
}

/// Half messages that are open, as the broker says.
fn open_now(client: &mut Connection) -> Result<Option<u64>, LoadError> {
    let info = client.runtime_info()?;
    let figure = info.iter().find(|(name, _)| name == "ringmq.halfMessages");
    Ok(figure.and_then(|(_, value)| value.parse().ok()))
}
