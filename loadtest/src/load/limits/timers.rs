//! Messages that wait for their time: a million wait in one shard, one more is refused, and a tenth of them, which are due in one
//! second, come in time.

use client::{Connection, Message, NewTopic, send::now_ms};

use super::{Limit, Outcome, Trial, pipeline, said};
use crate::{harness::read_all, load::LoadError};

const TOPIC: &str = "limits-timers";
const QUEUES: i32 = 8;
const KEYS: &[(&str, &str)] = &[("shards", "1"), ("shardTimersInMemoryMax", "1000000")];
/// Most that are due in one second.
const NEAR_MAX: u64 = 100_000;
/// How long it is until then when their sending begins.
const AHEAD_MS: i64 = 10_000;
const FAR: (&str, &str) = ("TIMER_DELAY_SEC", "36000");

/// A million.
pub const LIMIT: Limit = Limit {
    name: "timers",
    what: "messages of a shard that wait for their time",
    full: 1_000_000,
    keys: KEYS,
    run,
};

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
    let mut late: Vec<i64> = read_all(&mut client, TOPIC, QUEUES)
        .iter()
        .filter_map(|message| {
            let at: i64 = message.property("TIMER_DELIVER_MS")?.parse().ok()?;
            Some(message.store_timestamp - at)
        })
        .collect();
    late.sort_unstable();
    let of = |permille: usize| late.get((late.len() * permille / 1_000).min(late.len().max(1) - 1));
    let [p50, p99, max] = [500, 990, 1_000].map(|permille| of(permille).copied().unwrap_or(-1));
    let one_more = format!(
        "{more}; of {} due in one second ({left_ms} ms after the last was sent) ms late: p50 {p50}, p99 {p99}, max {max}",
        late.len()
    );
    Ok(Outcome { reached: count, one_more })
}

fn message<'a>(body: &'a [u8], number: u64) -> Message<'a> {
    Message::new(TOPIC, (number % QUEUES as u64) as i32, body)
}
