//! Many requests on one connection, some hundreds of them under way, each answered with success.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use client::{Answer, ClientError, Connection, Ticket};

use crate::load::LoadError;

/// Requests under way.
const WINDOW: usize = 512;
/// How long one answer, or a figure, may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Starts requests 0 to `count` and takes their answers.
pub fn run(
    client: &mut Connection,
    count: u64,
    start: impl FnMut(&mut Connection, u64) -> Result<Ticket, ClientError>,
) -> Result<(), LoadError> {
    run_with(client, count, start, |_| Ok(()))
}

/// The same; looks at each answer, in order.
pub fn run_with(
    client: &mut Connection,
    count: u64,
    mut start: impl FnMut(&mut Connection, u64) -> Result<Ticket, ClientError>,
    mut on_answer: impl FnMut(Answer) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut under_way = VecDeque::new();
    let mut finish = |client: &mut Connection, under_way: &mut VecDeque<Ticket>| {
        let Some(first) = under_way.pop_front() else { return Ok(()) };
        on_answer(client.finish(first)?.success()?)
    };
    for number in 0..count {
        if under_way.len() == WINDOW {
            finish(client, &mut under_way)?;
        }
        under_way.push_back(start(client, number)?);
    }
    while !under_way.is_empty() {
        finish(client, &mut under_way)?;
    }
    Ok(())
}

/// Asks the broker until a figure of its runtime information is at least `wanted`.
pub fn wait_for_figure(client: &mut Connection, key: &str, wanted: u64) -> Result<(), LoadError> {
    let since = Instant::now();
    loop {
        let info = client.runtime_info()?;
        let value = info.iter().find(|(name, _)| name == key).map(|(_, value)| value.parse());
        if value.is_some_and(|value| value.is_ok_and(|value: u64| value >= wanted)) {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            return Err(LoadError::Silent { seconds: PATIENCE.as_secs(), in_flight: 0 });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
