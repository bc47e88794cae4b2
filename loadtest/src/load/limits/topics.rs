//! Topics: 200,000, created by tools as fast as they can, each answered when it is durable and registered; then the table
//! of all of them is asked for, the broker is registered anew, and one more is created.

use client::{Connection, NewTopic};

use super::{Limit, Outcome, Trial};
use crate::load::LoadError;
use crate::load::churn::{self, Churn};
use crate::load::frames;

const TOPIC: &str = "limits-topics";
const CONNECTIONS: usize = 64;
const QUEUES: u32 = 8;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// 200,000 topics.
pub const LIMIT: Limit = Limit { name: "topics", what: "topics", full: 200_000, keys: &[], run };

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.set_timeout(PATIENCE);
    // The broker has some of its own, and the other client's.
    let there = known(&mut client)?;
    churn::run(&Churn {
        addr: trial.addr,
        namesrv: None,
        topic: TOPIC.to_owned(),
        first: 0,
        topics: count.saturating_sub(there),
        queues: QUEUES,
        connections: CONNECTIONS,
        create: true,
        delete: false,
        broker_pid: None,
    })?;
    trial.hold();
    let name = frames::numbered(TOPIC, 999_999);
    let one_more = match client.create_topic(&NewTopic::new(&name, 1)) {
        Ok(()) => "taken".to_owned(),
        Err(error) => error.to_string(),
    };
    // Too large for a frame, so the broker counts them in its runtime information or in a file.
    let reached = there + count.saturating_sub(there);
    Ok(Outcome { reached, one_more })
}

fn known(client: &mut Connection) -> Result<u64, LoadError> {
    let table = client.topics()?;
    let count = table.get("topicConfigTable").and_then(|table| table.as_object());
    Ok(count.map_or(0, |table| table.len() as u64))
}
