//! `benchmark/tproducer.sh`: half messages from many threads, decided at once or when the broker asks.
//!
//! What shall become of a message stands in its body, as in Java's program: batch, number, the decision after sending, and one for
//! each check. So a check of any process can be answered, and one that should not have come is seen.

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use client::{ClientError, Heartbeat, ServerRequest, messages, send::now_ms};
use proto::code::request;

use super::{
    counts::{self, Counts, Span},
    options::{self, Common},
};
use crate::programs::{
    PAUSE_AFTER_FAILURE, ProgramError,
    cluster::NameServers,
    producer::{Outgoing, Producer, SendResult},
};

const GROUP: &str = "benchmark_transaction_producer";
/// `sysFlag` of a half message.
const PREPARED: i32 = 4;
/// Decisions as they stand in END_TRANSACTION.
const UNKNOWN: i32 = 0;
const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;
/// Bytes of a body that hold its plan: batch, number, one decision, twenty for checks.
const PLAN_BYTES: usize = 8 + 8 + 1 + CHECKS;
const CHECKS: usize = 20;
/// Decisions in a body, one byte each: places in this table.
const DECISIONS: [i32; 3] = [COMMIT, ROLLBACK, UNKNOWN];
const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// Messages whose checks are counted; later ones begin the table anew.
const COUNTED_MAX: usize = 1 << 20;
/// How long a thread that sends nothing waits for checks at a time.
const LISTEN: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct TransactionArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Clone, Copy, Debug, Args)]
struct Shape {
    /// Threads, each with a message at a time.
    #[arg(short = 'w', long = "threadCount", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    threads: u32,
    /// Bytes of a message's body, at least 37.
    #[arg(short = 's', long = "messageSize", default_value_t = 2_048)]
    size: usize,
    /// Share that is rolled back after sending (also -sr), from 0.0 to 1.0.
    #[arg(long = "sendRollbackRate", default_value_t = 0.0)]
    send_rollback: f64,
    /// Share that is left open after sending (also -su).
    #[arg(long = "sendUnknownRate", default_value_t = 0.0)]
    send_unknown: f64,
    /// Share that is rolled back at a check (also -cr).
    #[arg(long = "checkRollbackRate", default_value_t = 0.0)]
    check_rollback: f64,
    /// Share that is left open at a check (also -cu).
    #[arg(long = "checkUnknownRate", default_value_t = 0.0)]
    check_unknown: f64,
    /// Number of this run; checks of other runs are answered and not counted (default: now).
    #[arg(short = 'b', long = "batchId")]
    batch: Option<i64>,
    /// Pause of a thread between two messages, ms.
    #[arg(short = 'i', long = "interval", default_value_t = 0)]
    interval: u64,
}

/// What all threads share.
struct Run {
    servers: NameServers,
    topic: String,
    shape: Shape,
    batch: i64,
    numbers: AtomicU64,
    counts: Arc<Counts>,
}

pub(super) fn run(args: &TransactionArgs) -> Result<(), ProgramError> {
    let shape = args.shape;
    if shape.size < PLAN_BYTES {
        let reason = format!("at least {PLAN_BYTES}: the body holds what shall become of it");
        return Err(ProgramError::Option { option: "-s", reason });
    }
    let run = Arc::new(Run {
        servers: args.common.servers()?,
        topic: args.common.topic.clone(),
        shape,
        batch: shape.batch.unwrap_or_else(now_ms),
        numbers: AtomicU64::new(0),
        counts: Arc::default(),
    });
    println!(
        "topic: {} threadCount: {} messageSize: {} sendRollbackRate: {} sendUnknownRate: {} checkRollbackRate: {} \
         checkUnknownRate: {} batchId: {} interval: {}",
        run.topic,
        shape.threads,
        shape.size,
        shape.send_rollback,
        shape.send_unknown,
        shape.check_rollback,
        shape.check_unknown,
        run.batch,
        shape.interval
    );
    run.servers.writable(&run.topic)?;
    for index in 0..shape.threads {
        let run = Arc::clone(&run);
        thread::spawn(move || run.send_all(index));
    }
    counts::report(&run.counts, args.common.report_every(), &AtomicBool::new(false), |span| {
        let _ = writeln!(std::io::stdout(), "{}", line(&run.counts, span));
    });
    Ok(())
}

/// The longest round trip begins anew with each line, as Java's does.
fn line(counts: &Counts, span: &Span) -> String {
    format!(
        "Current Time: {} Send TPS: {} Max RT(ms): {:4} AVG RT(ms):{:3.1} Send Failed: {} check: {} unexpectedCheck: {} \
         duplicatedCheck: {} ",
        now_ms(),
        span.per_second(|at| at.done),
        counts.max_ms.swap(0, Ordering::Relaxed),
        span.average_ms(|at| at.micros, |at| at.done),
        Counts::get(&counts.failed),
        Counts::get(&counts.checks),
        Counts::get(&counts.unexpected_checks),
        Counts::get(&counts.duplicated_checks),
    )
}

impl Run {
    fn send_all(&self, index: u32) {
        let client_id = format!("{}@{:08x}-{index}", std::process::id(), fastrand::u32(..));
        let mut producer = Producer::new(self.servers.clone(), GROUP);
        // Of each message of this run, how often it was checked here.
        let mut checked: HashMap<i64, usize> = HashMap::new();
        let mut heartbeat_at: Option<Instant> = None;
        loop {
            if heartbeat_at.is_none_or(|at| at.elapsed() > HEARTBEAT_EVERY) {
                heartbeat_at = Some(Instant::now());
                self.or_pause(self.register(&mut producer, &client_id));
            }
            self.or_pause(self.send_one(&mut producer));
            self.or_pause(self.answer_checks(&mut producer, &mut checked));
        }
    }

    fn or_pause(&self, outcome: Result<(), ProgramError>) {
        if let Err(error) = outcome {
            Counts::add(&self.counts.failed, 1);
            eprintln!("mqbench: {error}");
            thread::sleep(PAUSE_AFTER_FAILURE);
        }
    }

    /// On every connection: the broker asks whoever of the group has said that it is there.
    fn register(&self, producer: &mut Producer, client_id: &str) -> Result<(), ProgramError> {
        producer.connect_all(&self.topic)?;
        for connection in producer.connections() {
            let heartbeat = Heartbeat {
                client_id,
                consumer_group: None,
                subscriptions: &[],
                producer_group: Some(GROUP),
            };
            connection.heartbeat(&heartbeat)?;
        }
        Ok(())
    }

    fn send_one(&self, producer: &mut Producer) -> Result<(), ProgramError> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) as i64;
        let Shape { send_rollback, send_unknown, check_rollback, check_unknown, .. } = self.shape;
        let mut body = Vec::with_capacity(self.shape.size);
        body.extend_from_slice(&self.batch.to_be_bytes());
        body.extend_from_slice(&number.to_be_bytes());
        body.push(drawn(send_rollback, send_unknown));
        body.extend((0..CHECKS).map(|_| drawn(check_rollback, check_unknown)));
        body.extend(options::body(self.shape.size - PLAN_BYTES));
        let message = Outgoing {
            topic: &self.topic,
            body: &body,
            properties: &[("TRAN_MSG", "true"), ("PGROUP", GROUP)],
            sys_flag: PREPARED,
        };
        let at = Instant::now();
        let sent = producer.send(&message)?;
        self.counts.sent(at.elapsed(), 1);
        self.decide(producer, &sent, DECISIONS[usize::from(body[16])])
    }

    fn decide(
        &self,
        producer: &mut Producer,
        sent: &SendResult,
        decision: i32,
    ) -> Result<(), ProgramError> {
        let id = &sent.sent.message_id;
        let place = proto::message_id::decode(id)
            .map_err(|_| ClientError::Field { field: "msgId", value: Some(id.clone()) })?;
        let transaction = sent.sent.transaction_id.as_deref().unwrap_or(&sent.unique_key);
        let ext = [
            ("producerGroup", GROUP.into()),
            ("tranStateTableOffset", sent.sent.queue_offset.into()),
            ("commitLogOffset", place.1.into()),
            ("commitOrRollback", decision.into()),
            ("fromTransactionCheck", false.into()),
            ("msgId", sent.unique_key.as_str().into()),
            ("transactionId", transaction.into()),
        ];
        let connection = producer.connection_of(&sent.queue)?;
        Ok(connection.start_oneway(request::END_TRANSACTION, &ext, &[])?)
    }

    /// Answers what has been asked; between two messages, as long as the pause lasts.
    fn answer_checks(
        &self,
        producer: &mut Producer,
        checked: &mut HashMap<i64, usize>,
    ) -> Result<(), ProgramError> {
        let until = Instant::now() + Duration::from_millis(self.shape.interval);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            for connection in producer.connections() {
                let mut asked = connection.take_server_requests();
                if asked.is_empty() && !left.is_zero() {
                    let code = request::CHECK_TRANSACTION_STATE;
                    match connection.server_request(code, left.min(LISTEN)) {
                        Ok(request) => asked.push(request),
                        Err(ClientError::Timeout(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                for check in asked {
                    if check.code == request::CHECK_TRANSACTION_STATE {
                        let decision = self.decision_at_check(&check, checked)?;
                        answer(connection, &check, decision)?;
                    }
                }
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// What stands in the body for this check.
    fn decision_at_check(
        &self,
        check: &ServerRequest,
        checked: &mut HashMap<i64, usize>,
    ) -> Result<i32, ProgramError> {
        let found = messages(&check.body)?;
        let Some((batch, number, plan)) = found.first().and_then(|half| plan_of(&half.body)) else {
            // Somebody else's message of this group: nobody here knows what became of it.
            return Ok(UNKNOWN);
        };
        if batch != self.batch {
            return Ok(decision(plan[1]));
        }
        Counts::add(&self.counts.checks, 1);
        if checked.len() >= COUNTED_MAX {
            checked.clear();
        }
        let times = checked.entry(number).or_default();
        let before = *times;
        *times += 1;
        if decision(plan[0]) != UNKNOWN {
            Counts::add(&self.counts.unexpected_checks, 1);
            return Ok(decision(plan[0]));
        }
        let earlier =
            plan[1..=before.min(CHECKS)].iter().any(|planned| decision(*planned) != UNKNOWN);
        if earlier {
            Counts::add(&self.counts.duplicated_checks, 1);
        }
        Ok(decision(plan[1 + before.min(CHECKS - 1)]))
    }
}

fn answer(
    connection: &mut client::Connection,
    check: &ServerRequest,
    decision: i32,
) -> Result<(), ProgramError> {
    let field = |name: &'static str| check.ext(name).unwrap_or_default();
    let ext = [
        ("producerGroup", GROUP.into()),
        ("tranStateTableOffset", field("tranStateTableOffset").into()),
        ("commitLogOffset", field("commitLogOffset").into()),
        ("commitOrRollback", decision.into()),
        ("fromTransactionCheck", true.into()),
        ("msgId", field("msgId").into()),
        ("transactionId", field("transactionId").into()),
    ];
    Ok(connection.start_oneway(request::END_TRANSACTION, &ext, &[])?)
}

/// A place in [`DECISIONS`].
fn drawn(rollback: f64, unknown: f64) -> u8 {
    let draw = fastrand::f64();
    if draw < rollback {
        1
    } else if draw < rollback + unknown {
        2
    } else {
        0
    }
}

fn decision(planned: u8) -> i32 {
    DECISIONS.get(usize::from(planned)).copied().unwrap_or(UNKNOWN)
}

/// Batch, number, and the planned decisions: the one after sending, then those of checks.
fn plan_of(body: &[u8]) -> Option<(i64, i64, &[u8])> {
    let number = |at: usize| Some(i64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?));
    Some((number(0)?, number(8)?, body.get(16..PLAN_BYTES)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_from_a_body() {
        let mut body = Vec::new();
        body.extend_from_slice(&7_i64.to_be_bytes());
        body.extend_from_slice(&9_i64.to_be_bytes());
        body.extend([2, 0, 1]);
        assert_eq!(plan_of(&body), None);
        body.resize(100, 2);
        let (batch, number, plan) = plan_of(&body).unwrap();
        assert_eq!((batch, number, plan.len()), (7, 9, 1 + CHECKS));
        assert_eq!([plan[0], plan[1], plan[2]].map(decision), [UNKNOWN, COMMIT, ROLLBACK]);
        assert_eq!(decision(200), UNKNOWN);
    }

    #[test]
    fn what_is_drawn_follows_the_shares() {
        assert_eq!((drawn(0.0, 0.0), drawn(1.0, 0.0), drawn(0.0, 1.0)), (0, 1, 2));
    }
}
