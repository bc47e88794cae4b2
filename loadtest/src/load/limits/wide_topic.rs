//! Queues of a topic: 65,535 of them, a message in each, and offsets of a group on all of them, committed twice; then what
//! tools ask about such a topic, and its end.

use client::{Connection, Message, NewTopic};
use proto::code::request;

use super::{Limit, Outcome, Trial, pipeline, said};
use crate::load::LoadError;

const TOPIC: &str = "limits-wide";
const GROUP: &str = "limits-wide";

/// 65,535 queues.
pub const LIMIT: Limit = Limit {
    name: "wide-topic",
    what: "queues of a topic, with offsets on all of them",
    full: 65_535,
    keys: &[],
    run,
};

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.set_timeout(pipeline::PATIENCE);
    client.create_topic(&NewTopic::new(TOPIC, count as i32))?;
    client.create_group(GROUP)?;
    pipeline::run(&mut client, count, |client, queue| {
        client.start_send(&Message::new(TOPIC, queue as i32, b"x"))
    })?;
    for offset in [0, 1] {
        pipeline::run(&mut client, count, |client, queue| {
            client.start_commit(GROUP, TOPIC, queue as i32, offset)
        })?;
        pipeline::wait_for_figure(&mut client, "ringmq.groupOffsets", count)?;
        trial.hold();
    }
    let group = [("consumerGroup", GROUP.into())];
    let topic = [("topic", TOPIC.into())];
    client.call(request::GET_CONSUME_STATS, &group, &[])?.success()?;
    client.call(request::GET_TOPIC_STATS_INFO, &topic, &[])?.success()?;
    client.call(request::QUERY_TOPIC_CONSUME_BY_WHO, &topic, &[])?.success()?;
    let mut reached = 0;
    for queue in 0..count as i32 {
        reached += u64::from(client.consumer_offset(GROUP, TOPIC, queue)? == 1);
    }
    let one_more =
        said(client.create_topic(&NewTopic::new("limits-wider", LIMIT.full as i32 + 1)))?;
    client.delete_topic(TOPIC)?;
    trial.hold();
    Ok(Outcome { reached, one_more })
}
