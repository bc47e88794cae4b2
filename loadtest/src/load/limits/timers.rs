//! Messages that wait for their time: ten million wait in one shard, most of them not in memory, one more is refused, and
//! 100,000 of them, which are due in one second, come in time.

use client::{Connection, Message, NewTopic, send::now_ms};

use super::{Limit, Outcome, Trial, pipeline, said};
use crate::{
    harness::read_all,
    load::{LoadError, process},
};

const TOPIC: &str = "limits-timers";
const QUEUES: i32 = 8;
const KEYS: &[(&str, &str)] = &[("shards", "1"), ("shardTimersMax", "10000000")];
/// Most that are due in one second.
const NEAR_MAX: u64 = 100_000;
/// How long it is until then when their sending begins.
const AHEAD_MS: i64 = 10_000;
const FAR: (&str, &str) = ("TIMER_DELAY_SEC", "36000");

/// Ten million.
pub const LIMIT: Limit = Limit {
    name: "timers",
    what: "messages of a shard that wait for their time",
    full: 10_000_000,
    keys: KEYS,
    run,
};

/// More than memory holds, due in another order than they were sent in: each is read from the disk by itself, beside the
/// commits, which go first.
pub const STEADY: Limit = Limit {
    name: "timers-steady",
    what: "messages that wait, due one after the other, a tenth of them in memory",
    full: 600_000,
    keys: &[("shards", "1"), ("shardTimersInMemoryMax", "60000")],
    run: run_steady,
};

/// How far apart the first and the last are due.
const STEADY_MS: u64 = 60_000;
/// So long before the first is due their sending begins, for each 100,000.
const STEADY_AHEAD_MS: i64 = 1_500;
/// Each message of so many is looked at when it has come.
const STEADY_SAMPLE: u64 = 100;
const SAMPLE_TOPIC: &str = "limits-timers-sample";

/// What is sent first is due last in part: the order of sending says nothing about the order of delivery.
fn run_steady(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.set_timeout(pipeline::PATIENCE);
    client.create_topic(&NewTopic::new(TOPIC, QUEUES))?;
    client.create_topic(&NewTopic::new(SAMPLE_TOPIC, QUEUES))?;
    let body = [b'x'; 128];
    let due = now_ms() + STEADY_AHEAD_MS * (count / 100_000 + 2).cast_signed();
    pipeline::run(&mut client, count, |client, number| {
        let at = (due + scattered(number, STEADY_MS)).to_string();
        let topic = if number % STEADY_SAMPLE == 0 { SAMPLE_TOPIC } else { TOPIC };
        let message = Message { topic, ..message(&body, number) };
        client.start_send(&message.with_properties(&[("TIMER_DELIVER_MS", &at)]))
    })?;
    let left_ms = due - now_ms();
    let cpu = process::cpu_seconds(trial.pid)?;
    pipeline::wait_for_figure(&mut client, "ringmq.deferredDelivered", count)?;
    let cpu = process::cpu_seconds(trial.pid)? - cpu;
    let (seen, late) = lateness(&mut client, SAMPLE_TOPIC);
    let said = in_words(late);
    let one_more = format!(
        "not asked; {seen} looked at of those due within {} s ({left_ms} ms after the last was sent), {said}; {cpu:.1} s of CPU",
        STEADY_MS / 1_000
    );
    Ok(Outcome { reached: count, one_more })
}

/// Where between 0 and `spread_ms` a message is due: a prime number of milliseconds walks through all of them, so that the
/// order of sending says nothing about the order of delivery.
pub(crate) fn scattered(number: u64, spread_ms: u64) -> i64 {
    (number * 7_919 % spread_ms).cast_signed()
}

/// How many messages have come that say when they were due, and how late, ms: p50, p99, max.
pub(crate) fn lateness(client: &mut Connection, topic: &str) -> (usize, [i64; 3]) {
    let mut late: Vec<i64> = read_all(client, topic, QUEUES)
        .iter()
        .filter_map(|message| {
            let at: i64 = message.property("TIMER_DELIVER_MS")?.parse().ok()?;
            Some(message.store_timestamp - at)
        })
        .collect();
    late.sort_unstable();
    let of = |permille: usize| late.get((late.len() * permille / 1_000).min(late.len().max(1) - 1));
    let of = |permille: usize| of(permille).copied().unwrap_or(-1);
    (late.len(), [500, 990, 1_000].map(of))
}

fn in_words([p50, p99, max]: [i64; 3]) -> String {
    format!("ms late: p50 {p50}, p99 {p99}, max {max}")
}

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.set_timeout(pipeline::PATIENCE);
    client.create_topic(&NewTopic::new(TOPIC, QUEUES))?;
    let body = [b'x'; 128];
    let near = NEAR_MAX.min(count / 10);
    pipeline::run(&mut client, count - near, |client, number| {
        client.start_send(&message(&body, number).with_properties(&[FAR]))
    })?;
    let due = now_ms() + AHEAD_MS;
    pipeline::run(&mut client, near, |client, number| {
        let at = (due + (number % 1_000) as i64).to_string();
        client.start_send(&message(&body, number).with_properties(&[("TIMER_DELIVER_MS", &at)]))
    })?;
    let left_ms = due - now_ms();
    let more = match count >= LIMIT.full {
        true => said(client.send(&message(&body, 0).with_properties(&[FAR])))?,
        false => "not asked".to_owned(),
    };
    trial.hold();
    pipeline::wait_for_figure(&mut client, "ringmq.deferredDelivered", near)?;
    let (seen, late) = lateness(&mut client, TOPIC);
    let said = in_words(late);
    let one_more = format!(
        "{more}; of {seen} due in one second ({left_ms} ms after the last was sent) {said}"
    );
    Ok(Outcome { reached: count, one_more })
}

fn message<'a>(body: &'a [u8], number: u64) -> Message<'a> {
    Message::new(TOPIC, (number % QUEUES as u64) as i32, body)
}
