//! `mqbench find`: how long does it take to find a message by its key, and an offset by its time?
//!
//! Messages are drawn at random from all queues (a pull of one message each, not measured); then the broker is asked for
//! each by its unique key (QUERY_MESSAGE over all of time), by a key that nobody has, and for the offset at its store
//! time (SEARCH_OFFSET_BY_TIMESTAMP). One connection, one request at a time. Every answer is checked.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use client::{Answer, Connection, PullRequest, PullStatus, Received};
use proto::code::{request, response};
use serde_json::{Value, json};

use super::LoadError;
use super::frames::{self, TOPICS_MAX};
use super::report::Latency;

/// What to ask.
#[derive(Clone, Debug)]
pub struct Find {
    /// The broker.
    pub addr: SocketAddr,
    /// Topics are called [`frames::numbered`] after this.
    pub topic: String,
    /// How many topics, from number 0.
    pub topics: u64,
    /// Queues of each.
    pub queues: u32,
    /// Messages to draw.
    pub count: u32,
    /// Seed of the draw.
    pub seed: u64,
}

/// What it took.
pub struct FindReport {
    /// A message by its unique key.
    pub by_key: Latency,
    /// Nothing, by a key that nobody has.
    pub by_unknown_key: Latency,
    /// The offset at a message's store time.
    pub by_time: Latency,
    /// Messages whose key or time gave something else.
    pub wrong: u64,
}

/// Draws and asks. Errors: the broker cannot be reached, or refuses.
pub fn run(find: &Find) -> Result<FindReport, LoadError> {
    frames::check_name("topic", &find.topic)?;
    frames::check_range("topics", "1 to 999999", find.topics, 1, TOPICS_MAX)?;
    let mut connection = Connection::connect(find.addr)?;
    let mut rng = fastrand::Rng::with_seed(find.seed);
    let mut report = FindReport {
        by_key: Latency::new(),
        by_unknown_key: Latency::new(),
        by_time: Latency::new(),
        wrong: 0,
    };
    for _ in 0..find.count {
        let topic = frames::numbered(&find.topic, rng.u64(0..find.topics));
        let queue = rng.i32(0..find.queues as i32);
        let Some(message) = draw(&mut connection, &topic, queue, &mut rng)? else { continue };
        let key = message.property("UNIQ_KEY").unwrap_or_default().to_owned();
        let answer = timed(&mut report.by_key, || by_key(&mut connection, &topic, &key))?;
        report.wrong += u64::from(answer.code != response::SUCCESS || !contains(&answer, &message));
        let unknown = format!("{key}?");
        let answer =
            timed(&mut report.by_unknown_key, || by_key(&mut connection, &topic, &unknown))?;
        report.wrong += u64::from(answer.code != response::QUERY_NOT_FOUND);
        let time = message.store_timestamp;
        let answer = timed(&mut report.by_time, || by_time(&mut connection, &topic, queue, time))?;
        // The first message of that millisecond or one before: never behind the one that was drawn.
        report.wrong += u64::from(answer.number("offset")? > message.queue_offset);
    }
    Ok(report)
}

/// Some message of a queue; `None` when it is empty.
fn draw(
    connection: &mut Connection,
    topic: &str,
    queue: i32,
    rng: &mut fastrand::Rng,
) -> Result<Option<Received>, LoadError> {
    let ext = [("topic", topic.into()), ("queueId", queue.into())];
    let max = connection.call(request::GET_MAX_OFFSET, &ext, &[])?.success()?.number("offset")?;
    if max == 0 {
        return Ok(None);
    }
    let mut pull = PullRequest::new("mqbench-find", topic, queue, rng.i64(0..max));
    pull.messages_max = 1;
    let pulled = connection.pull(&pull)?;
    let found = pulled.status == PullStatus::Found;
    Ok(pulled.messages.into_iter().next().filter(|_| found))
}

fn timed(
    latency: &mut Latency,
    ask: impl FnOnce() -> Result<Answer, LoadError>,
) -> Result<Answer, LoadError> {
    let since = Instant::now();
    let answer = ask()?;
    latency.record(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
    Ok(answer)
}

fn by_key(connection: &mut Connection, topic: &str, key: &str) -> Result<Answer, LoadError> {
    let ext = [
        ("topic", topic.into()),
        ("key", key.into()),
        ("maxNum", 32.into()),
        ("beginTimestamp", 0.into()),
        ("endTimestamp", i64::MAX.into()),
        ("_UNIQUE_KEY_QUERY", "true".into()),
    ];
    Ok(connection.call(request::QUERY_MESSAGE, &ext, &[])?)
}

fn by_time(
    connection: &mut Connection,
    topic: &str,
    queue: i32,
    time: i64,
) -> Result<Answer, LoadError> {
    let ext = [("topic", topic.into()), ("queueId", queue.into()), ("timestamp", time.into())];
    Ok(connection.call(request::SEARCH_OFFSET_BY_TIMESTAMP, &ext, &[])?.success()?)
}

/// Whether the record that was drawn is among those of an answer.
fn contains(answer: &Answer, message: &Received) -> bool {
    let offset = message.physical_offset;
    let mut records = proto::record::records(&answer.body);
    records.any(|record| record.is_ok_and(|record| record.physical_offset() == offset))
}

impl FindReport {
    fn rows(&self) -> [(&'static str, &Latency); 3] {
        [
            ("by key", &self.by_key),
            ("by unknown key", &self.by_unknown_key),
            ("by time", &self.by_time),
        ]
    }

    /// One JSON object.
    pub fn to_json(&self, label: &str) -> Value {
        let mut json = json!({ "label": label, "wrong": self.wrong });
        for (name, latency) in self.rows() {
            json[name.replace(' ', "_")] = json!({
                "count": latency.count(),
                "p50_us": latency.micros_at(0.5),
                "p99_us": latency.micros_at(0.99),
                "max_us": latency.micros_max(),
            });
        }
        json
    }
}

impl fmt::Display for FindReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, latency) in self.rows() {
            writeln!(
                f,
                "{name:<15} {} asked   p50 {:.0} us   p99 {:.0} us   max {:.0} us",
                latency.count(),
                latency.micros_at(0.5),
                latency.micros_at(0.99),
                latency.micros_max()
            )?;
        }
        write!(f, "{} wrong answers", self.wrong)
    }
}
