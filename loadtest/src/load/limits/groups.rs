//! Groups: 200,000 of them, each with an offset on one of eight queues of the same topic, and what tools ask about it.

use client::{Connection, Message, NewTopic};
use proto::code::request;
use serde_json::Value;

use super::{Limit, Outcome, Trial, pipeline, said};
use crate::load::LoadError;

const TOPIC: &str = "limits-groups";
const QUEUES: u64 = 8;

/// 200,000 groups, those that a broker has from its beginning included.
pub const LIMIT: Limit = Limit {
    name: "groups",
    what: "groups, each with an offset on one topic",
    full: 200_000,
    // Half a kilobyte each, whatever the machine's memory is.
    keys: &[("shardGroupOffsetsMiB", "256")],
    run,
};

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.set_timeout(pipeline::PATIENCE);
    client.create_topic(&NewTopic::new(TOPIC, QUEUES as i32))?;
    pipeline::run(&mut client, QUEUES * 10, |client, number| {
        client.start_send(&Message::new(TOPIC, (number % QUEUES) as i32, b"x"))
    })?;
    let table = client.groups()?;
    let there =
        table.get("subscriptionGroupTable").and_then(Value::as_object).map_or(0, |t| t.len());
    let new = count.saturating_sub(there as u64);
    pipeline::run(&mut client, new, |client, number| client.start_create_group(&name(number)))?;
    pipeline::run(&mut client, new, |client, number| {
        client.start_commit(&name(number), TOPIC, (number % QUEUES) as i32, 7)
    })?;
    pipeline::wait_for_figure(&mut client, "ringmq.groupOffsets", new)?;
    trial.hold();
    let topic = [("topic", TOPIC.into())];
    client.call(request::QUERY_TOPIC_CONSUME_BY_WHO, &topic, &[])?.success()?;
    for number in (0..new).step_by(1_000) {
        let group = name(number);
        let ext = [("consumerGroup", group.as_str().into())];
        client.call(request::GET_CONSUME_STATS, &ext, &[])?.success()?;
    }
    let one_more = said(client.create_group(&name(new)))?;
    client.delete_topic(TOPIC)?;
    trial.hold();
    Ok(Outcome { reached: new + there as u64, one_more })
}

fn name(number: u64) -> String {
    format!("limits-group-{number:06}")
}
