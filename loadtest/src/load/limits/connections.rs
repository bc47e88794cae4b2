//! Connections: 50,000 that have been served once and stay open, and one more. The limit of open files decides how many
//! of them this process and the broker can have.

use std::time::Duration;

use super::crowd::{self, Crowd};
use super::{Limit, Outcome, Trial};
use crate::load::LoadError;
use crate::load::frames::{self, OPAQUE_MIN};
use client::Connection;

const PATIENCE: Duration = Duration::from_secs(60);
/// Opened and asking at once, before the answers of all are awaited.
const HERD: usize = 2_000;
/// The broker is told so: else its memory decides.
const KEYS: &[(&str, &str)] = &[("connectionsMax", "50000"), ("memoryBudgetMiB", "4096")];
/// Connections of the other client, and the one that starts it.
const OTHERS: u64 = 3;

/// 50,000 connections.
pub const LIMIT: Limit =
    Limit { name: "connections", what: "connections", full: 50_000, keys: KEYS, run };

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    let possible = crowd::connections_possible(count)?;
    let wanted = possible.min(LIMIT.full - OTHERS) as usize;
    let mut crowds = Vec::new();
    let mut opened = 0;
    while opened < wanted {
        let herd = HERD.min(wanted - opened);
        let ask = |out: &mut Vec<u8>, _| frames::append_min_offset(out, "TBW102", 0, OPAQUE_MIN);
        let mut crowd = Crowd::connect_from(trial.addr, opened, herd, ask)?;
        crowd.receive_from_each(PATIENCE, |_| true)?;
        opened += herd;
        crowds.push(crowd);
    }
    trial.hold();
    let one_more = if wanted as u64 + OTHERS < LIMIT.full {
        format!("not asked: {possible} are what the limit of open files allows")
    } else {
        one_more(trial)
    };
    let reached = if wanted as u64 + OTHERS == LIMIT.full { LIMIT.full } else { wanted as u64 };
    Ok(Outcome { reached, one_more })
}

/// The limit may have been left by a connection that ended: some are tried.
fn one_more(trial: &Trial) -> String {
    let mut kept = Vec::new();
    for _ in 0..10 {
        let asked = Connection::connect(trial.addr).and_then(|mut connection| {
            connection.min_offset("TBW102", 0)?;
            Ok(connection)
        });
        match asked {
            Ok(connection) => kept.push(connection),
            Err(error) => return error.to_string(),
        }
    }
    "served".to_owned()
}
