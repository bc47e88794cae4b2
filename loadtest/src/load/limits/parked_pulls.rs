//! Waiting pulls of a shard: 100,000 of one queue, which a single message answers all at once, and then again 100,000,
//! whose time ends for all at once.

use std::time::{Duration, Instant};

use client::{Connection, Message, NewTopic};
use proto::code::request;
use proto::command::{self, Language, RequestHead};
use proto::frame::HeaderKind;

use super::crowd::Crowd;
use super::{Limit, Outcome, Trial};
use crate::load::LoadError;
use crate::load::frames::OPAQUE_MIN;

const TOPIC: &str = "limits-parked";
const GROUP: &str = "limits-parked";
/// Pulls of one connection. Each counts for its connection until it is answered.
const PER_CONNECTION: u64 = 500;
/// Pulls that are sent before the broker is asked whether they wait by now: fewer than a lane between cores takes.
const WAVE: u64 = 10_000;
/// How long the first pulls of the first round wait; longer than the round.
const LONG_MS: i64 = 60_000;
/// When the time of all pulls of the second round ends, from its beginning.
const SHORT_MS: i64 = 30_000;
const PATIENCE: Duration = Duration::from_secs(90);
const NOT_FOUND: i32 = 19;

/// 100,000 pulls.
pub const LIMIT: Limit =
    Limit { name: "parked-pulls", what: "waiting pulls of a shard", full: 100_000, keys: &[], run };

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    client.create_topic(&NewTopic::new(TOPIC, 1))?;
    client.create_group(GROUP)?;
    let mut crowd = Crowd::connect(trial.addr, count.div_ceil(PER_CONNECTION) as usize)?;
    park(&mut crowd, &mut client, count, 0, LONG_MS)?;
    trial.hold();
    // A single pull more is answered at once when the limit is reached: nothing is there.
    let one_more =
        if count == LIMIT.full { one_more(&mut client)? } else { "not asked".to_owned() };
    client.send(&Message::new(TOPIC, 0, b"for everybody"))?;
    let found = answered(&mut crowd, count, 0)?;
    park(&mut crowd, &mut client, count, 1, SHORT_MS)?;
    let not_found = answered(&mut crowd, count, NOT_FOUND)?;
    trial.hold();
    Ok(Outcome { reached: found.min(not_found), one_more })
}

/// Sends `count` pulls from `offset`, where nothing is yet, whose time ends for all `end_ms` from now.
fn park(
    crowd: &mut Crowd,
    client: &mut Connection,
    count: u64,
    offset: i64,
    end_ms: i64,
) -> Result<(), LoadError> {
    let began = Instant::now();
    for first in (0..count).step_by(WAVE as usize) {
        let end = (first + WAVE).min(count);
        let park_ms = end_ms - began.elapsed().as_millis() as i64;
        for number in first..end {
            let socket = &mut crowd.sockets[(number / PER_CONNECTION) as usize];
            let opaque = OPAQUE_MIN as i32 + number as i32;
            append_waiting_pull(socket.unsent(), opaque, offset, park_ms);
        }
        crowd.flush()?;
        wait_until_parked(client, end)?;
    }
    Ok(())
}

fn append_waiting_pull(out: &mut Vec<u8>, opaque: i32, offset: i64, park_ms: i64) {
    let ext = [
        ("queueId", 0.into()),
        ("maxMsgNums", 32.into()),
        // Wait; the subscription is carried along.
        ("sysFlag", 6.into()),
        ("suspendTimeoutMillis", park_ms.into()),
        ("commitOffset", 0.into()),
        ("topic", TOPIC.into()),
        ("queueOffset", offset.into()),
        ("expressionType", "TAG".into()),
        ("subVersion", 0.into()),
        ("consumerGroup", GROUP.into()),
        ("subscription", "*".into()),
    ];
    let head = RequestHead {
        code: request::PULL_MESSAGE,
        language: Language::Java,
        version: 409,
        opaque,
        oneway: false,
        remark: None,
        ext: &ext,
    };
    command::write_request(out, HeaderKind::Json, &head, &[]);
}

/// Takes an answer to each pull; returns how many had this code.
fn answered(crowd: &mut Crowd, count: u64, code: i32) -> Result<u64, LoadError> {
    let (mut answers, mut right) = (0, 0);
    crowd.receive_until(PATIENCE, |_, mark, _| {
        answers += 1;
        right += u64::from(mark.code == code);
        answers == count
    })?;
    Ok(right)
}

/// Asks the broker how many pulls wait.
fn wait_until_parked(client: &mut Connection, count: u64) -> Result<(), LoadError> {
    for _ in 0..600 {
        let info = client.runtime_info()?;
        let parked = info.iter().find(|(key, _)| key == "ringmq.parkedPulls");
        if parked
            .and_then(|(_, value)| value.parse().ok())
            .is_some_and(|parked: u64| parked >= count)
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(LoadError::Silent { seconds: 60, in_flight: count as usize })
}

fn one_more(client: &mut Connection) -> Result<String, LoadError> {
    let pull =
        client::PullRequest::new(GROUP, TOPIC, 0, 0).parked(Duration::from_millis(LONG_MS as u64));
    let asked = Instant::now();
    let pulled = client.pull(&pull)?;
    Ok(format!("{:?} after {} ms", pulled.status, asked.elapsed().as_millis()))
}
