//! Messages of a batch: 32,768 in one request, a few times, then one more.

use client::{Connection, Message, NewTopic};

use super::{Limit, Outcome, Trial, said};
use crate::load::LoadError;

const TOPIC: &str = "limits-batch";
const ROUNDS: u32 = 20;

/// 32,768 messages.
pub const LIMIT: Limit =
    Limit { name: "batch", what: "messages of a batch", full: 32_768, keys: &[], run };

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.create_topic(&NewTopic::new(TOPIC, 1))?;
    // As small as messages are: all of them have to fit maxMessageSize.
    let message = Message::new(TOPIC, 0, b"x");
    let batch = vec![message.clone(); count as usize];
    for _ in 0..ROUNDS {
        client.send_batch(&batch)?;
    }
    let more = vec![message; LIMIT.full as usize + 1];
    let one_more = said(client.send_batch(&more))?;
    Ok(Outcome { reached: count, one_more })
}
