//! Members of a group: 20,000 clients join one consumer group, each on a connection of its own, hear of each other, are
//! listed, and leave all at once.

use std::time::Duration;

use client::{ClientError, Connection, Heartbeat, Subscription};
use proto::code::request;
use proto::command::{self, Language, RequestHead};
use proto::frame::HeaderKind;

use super::crowd::{self, Crowd};
use super::{Limit, Outcome, Trial};
use crate::load::LoadError;
use crate::load::frames::OPAQUE_MIN;

const GROUP: &str = "limits-members";
const TOPIC: &str = "other-client";
const PATIENCE: Duration = Duration::from_secs(120);
/// Joining at once, before the answers of all are awaited.
const HERD: usize = 1_000;
const KEYS: &[(&str, &str)] = &[("connectionsMax", "50000"), ("memoryBudgetMiB", "4096")];

/// 20,000 members.
pub const LIMIT: Limit =
    Limit { name: "members", what: "members of a group", full: 20_000, keys: KEYS, run };

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let possible = crowd::connections_possible(count)?;
    let mut client = Connection::connect(trial.addr)?;
    client.create_group(GROUP)?;
    let mut crowds = Vec::new();
    let possible = possible as usize;
    for first in (0..possible).step_by(HERD) {
        let herd = HERD.min(possible - first);
        let mut crowd = Crowd::connect_from(trial.addr, first, herd, append_heartbeat)?;
        // Hints of the broker come in between; their opaques are its own.
        crowd.receive_from_each(PATIENCE, |mark| mark.opaque == OPAQUE_MIN && mark.code == 0)?;
        crowds.push(crowd);
    }
    client.set_timeout(PATIENCE);
    let listed = client.consumer_ids(GROUP)?.len() as u64;
    trial.hold();
    let one_more = if listed < LIMIT.full {
        format!("not asked: {possible} are what the limit of open files allows")
    } else {
        one_more(trial)?
    };
    drop(crowds);
    // All leave at once, and the broker is to notice.
    for _ in 0..600 {
        if client.consumer_ids(GROUP).is_err() {
            return Ok(Outcome { reached: listed, one_more });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(LoadError::Silent { seconds: 60, in_flight: 0 })
}

fn one_more(trial: &Trial) -> Result<String, LoadError> {
    let mut client = Connection::connect(trial.addr)?;
    let wishes = [Subscription { topic: TOPIC, expression: "*", version: 1 }];
    match client.heartbeat(&heartbeat("one-more", &wishes)) {
        Ok(_) => Ok("taken".to_owned()),
        Err(ClientError::Refused { code, remark }) => Ok(format!("code {code}: {remark}")),
        Err(other) => Err(other.into()),
    }
}

fn heartbeat<'a>(client_id: &'a str, wishes: &'a [Subscription<'a>]) -> Heartbeat<'a> {
    Heartbeat {
        client_id,
        consumer_group: Some(GROUP),
        subscriptions: wishes,
        producer_group: None,
    }
}

fn append_heartbeat(out: &mut Vec<u8>, number: usize) {
    let id = format!("10.0.0.1@{number}");
    let wishes = [Subscription { topic: TOPIC, expression: "*", version: 1 }];
    let body = heartbeat(&id, &wishes).to_json().to_string();
    let head = RequestHead {
        code: request::HEART_BEAT,
        language: Language::Java,
        version: 409,
        opaque: OPAQUE_MIN as i32,
        oneway: false,
        remark: None,
        ext: &[],
    };
    command::write_request(out, HeaderKind::Json, &head, body.as_bytes());
}
