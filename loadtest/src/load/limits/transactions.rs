//! Half messages: a million are open in one shard, one more is refused, and each is committed in the end.

use std::time::Instant;

use client::{Answer, Connection, ExtValue, Message, NewTopic};
use proto::{code::request, message_id};

use super::{Limit, Outcome, Trial, pipeline, said};
use crate::load::LoadError;

const TOPIC: &str = "limits-transactions";
const QUEUES: i32 = 8;
const GROUP: &str = "limits-producers";
const HALF: [(&str, &str); 2] = [("TRAN_MSG", "true"), ("PGROUP", GROUP)];
/// Nobody is asked meanwhile.
const KEYS: &[(&str, &str)] =
    &[("shards", "1"), ("shardOpenTransactionsMax", "1000000"), ("transactionTimeOut", "36000000")];
const COMMIT: i32 = 8;

/// A million.
pub const LIMIT: Limit = Limit {
    name: "transactions",
    what: "half messages of a shard",
    full: 1_000_000,
    keys: KEYS,
    run,
};

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.set_timeout(pipeline::PATIENCE);
    client.create_topic(&NewTopic::new(TOPIC, QUEUES))?;
    let body = [b'x'; 128];
    let half = |number: u64| {
        let queue = (number % QUEUES as u64) as i32;
        Message { sys_flag: 4, ..Message::new(TOPIC, queue, &body) }.with_properties(&HALF)
    };
    let began = Instant::now();
    let mut places = Vec::new();
    let send = |client: &mut Connection, number| client.start_send(&half(number));
    pipeline::run_with(&mut client, count, send, |answer| {
        places.push(place(&answer)?);
        Ok(())
    })?;
    let sent = per_second(count, began);
    let more =
        if count >= LIMIT.full { said(client.send(&half(0)))? } else { "not asked".to_owned() };
    trial.hold();
    let began = Instant::now();
    pipeline::run(&mut client, count, |client, number| {
        let (offset, queue_offset) = places[number as usize];
        let ext: [(&str, ExtValue<'_>); 6] = [
            ("producerGroup", GROUP.into()),
            ("tranStateTableOffset", ExtValue::I64(queue_offset)),
            ("commitLogOffset", ExtValue::I64(offset)),
            ("commitOrRollback", COMMIT.into()),
            ("fromTransactionCheck", "false".into()),
            ("msgId", "u".into()),
        ];
        client.start(request::END_TRANSACTION, &ext, &[])
    })?;
    let committed = per_second(count, began);
    pipeline::wait_for_figure(&mut client, "ringmq.halfMessagesCommitted", count)?;
    let one_more = format!("{more}; {sent}/s sent, {committed}/s committed");
    Ok(Outcome { reached: count, one_more })
}

/// Where a half message lies that was sent.
fn place(answer: &Answer) -> Result<(i64, i64), LoadError> {
    let id = answer.ext("msgId").unwrap_or_default();
    let offset = message_id::decode(id).map(|(_, offset)| offset);
    let what = "the id of a half message";
    let offset = offset.map_err(|_| LoadError::Name { what, value: id.to_owned() })?;
    Ok((offset, answer.number("queueOffset")?))
}

fn per_second(count: u64, since: Instant) -> u64 {
    (count as f64 / since.elapsed().as_secs_f64()) as u64
}
