//! `benchmark/producer.sh`: single messages from many threads, or without waiting from one.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{ArgAction, Args};
use client::send::now_ms;

use super::{
    counts::{self, Counts, Span},
    options::{self, Common},
};
use crate::programs::{
    PAUSE_AFTER_FAILURE, ProgramError,
    cluster::NameServers,
    producer::{Outgoing, Producer, UnderWay},
    shown,
};

const GROUP: &str = "benchmark_producer";
/// Messages that are under way at most when nobody waits for their answers, and bytes: neither side's buffers fill up.
const WINDOW: usize = 1_024;
const WINDOW_BYTES: usize = 2 << 20;

/// Java's options.
#[derive(Clone, Copy, Debug, Args)]
struct Shape {
    /// Threads, each with a message at a time.
    #[arg(short = 'w', long = "threadCount", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    threads: u32,
    /// Bytes of a message's body.
    #[arg(short = 's', long = "messageSize", default_value_t = 128)]
    size: usize,
    /// Whether messages have a key: the second in which they are sent.
    #[arg(short = 'k', long = "keyEnable", default_value_t = false, action = ArgAction::Set)]
    key: bool,
    /// Number of different tags; 0: none.
    #[arg(short = 'l', long = "tagCount", default_value_t = 0)]
    tags: u64,
    /// How many messages; 0: without end.
    #[arg(short = 'q', long = "messageQuantity", default_value_t = 0)]
    quantity: i64,
    /// Whether messages are delayed.
    #[arg(short = 'd', long = "delayEnable", default_value_t = false, action = ArgAction::Set)]
    delay: bool,
    /// Their delay level.
    #[arg(short = 'e', long = "delayLevel", default_value_t = 1)]
    delay_level: u32,
    /// One thread that does not wait for answers.
    #[arg(short = 'y', long = "asyncEnable", default_value_t = false, action = ArgAction::Set)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct ProducerArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    shape: Shape,
}

/// What all threads share.
struct Run {
    servers: NameServers,
    topic: String,
    shape: Shape,
    body: Vec<u8>,
    counts: Arc<Counts>,
    /// Messages that may still be begun.
    left: AtomicI64,
}

pub(super) fn run(args: &ProducerArgs) -> Result<(), ProgramError> {
    let mut shape = args.shape;
    if shape.no_wait {
        shape.threads = 1;
    }
    let run = Arc::new(Run {
        servers: args.common.servers()?,
        topic: args.common.topic.clone(),
        shape,
        body: options::body(shape.size),
        counts: Arc::default(),
        left: AtomicI64::new(if shape.quantity > 0 { shape.quantity } else { i64::MAX }),
    });
    println!("{}", run.head());
    // Nobody to send to is a mistake that is told at once, not by each thread every three seconds.
    run.servers.writable(&run.topic)?;
    let ended = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let threads: Vec<_> = (0..shape.threads)
        .map(|_| {
            let run = Arc::clone(&run);
            thread::spawn(move || if run.shape.no_wait { run.send_on() } else { run.send_each() })
        })
        .collect();
    let ending = Arc::clone(&ended);
    let waiter = thread::spawn(move || {
        threads.into_iter().for_each(|thread| drop(thread.join()));
        ending.store(true, Ordering::Relaxed);
    });
    let counts = Arc::clone(&run.counts);
    counts::report(&run.counts, args.common.report_every(), &ended, |span| {
        let _ = writeln!(std::io::stdout(), "{}", line(&counts, span));
    });
    drop(waiter.join());
    println!("{}", run.complete(begun.elapsed()));
    Ok(())
}

fn line(counts: &Counts, span: &Span) -> String {
    format!(
        "Current Time: {} Send TPS: {} Max RT(ms): {} Average RT(ms): {:7.3} Send Failed: {} Response Failed: {}",
        shown::now(),
        span.per_second(|at| at.done),
        Counts::get(&counts.max_ms),
        span.average_ms(|at| at.micros, |at| at.done),
        Counts::get(&counts.failed),
        Counts::get(&counts.refused),
    )
}

impl Run {
    fn head(&self) -> String {
        let Shape { threads, size, key, tags, quantity, delay, delay_level, no_wait } = self.shape;
        format!(
            "topic: {} threadCount: {threads} messageSize: {size} keyEnable: {key} propertySize: 0 tagCount: {tags} \
             traceEnable: false aclEnable: false messageQuantity: {quantity}\ndelayEnable: {delay} delayLevel: {delay_level}\n\
             asyncEnable: {no_wait}",
            self.topic
        )
    }

    fn complete(&self, took: Duration) -> String {
        let counts = &self.counts;
        let done = Counts::get(&counts.done);
        let average = Counts::get(&counts.micros) as f64 / 1e3 / done.max(1) as f64;
        format!(
            "[Complete] Send Total: {} Send TPS: {} Max RT(ms): {} Average RT(ms): {average:7.3} Send Failed: {} Response \
             Failed: {}",
            done + Counts::get(&counts.failed) + Counts::get(&counts.refused),
            (done as f64 / took.as_secs_f64()) as u64,
            Counts::get(&counts.max_ms),
            Counts::get(&counts.failed),
            Counts::get(&counts.refused),
        )
    }

    /// The right to one more message.
    fn take(&self) -> bool {
        self.shape.quantity == 0 || self.left.fetch_sub(1, Ordering::Relaxed) > 0
    }

    fn with_message<T>(&self, act: impl FnOnce(&Outgoing<'_>) -> T) -> T {
        let now = now_ms();
        let key = (now / 1_000).to_string();
        let tag = (now as u64).checked_rem(self.shape.tags).map(|tag| format!("tag{tag}"));
        let level = self.shape.delay_level.to_string();
        let mut properties = Vec::with_capacity(3);
        properties.extend(self.shape.key.then_some(("KEYS", key.as_str())));
        properties.extend(tag.as_deref().map(|tag| ("TAGS", tag)));
        properties.extend(self.shape.delay.then_some(("DELAY", level.as_str())));
        let message =
            Outgoing { topic: &self.topic, body: &self.body, properties: &properties, sys_flag: 0 };
        act(&message)
    }

    fn send_each(&self) {
        let mut producer = Producer::new(self.servers.clone(), GROUP);
        while self.take() {
            let at = Instant::now();
            let outcome = self.with_message(|message| producer.send(message));
            self.count(outcome.map(|_| at.elapsed()));
        }
    }

    /// Sends without waiting: an answer is taken when too much is under way.
    fn send_on(&self) {
        let mut producer = Producer::new(self.servers.clone(), GROUP);
        let mut under_way: VecDeque<(Instant, UnderWay)> = VecDeque::new();
        let window = WINDOW.min(WINDOW_BYTES / (self.shape.size + 256)).max(1);
        while self.take() {
            if under_way.len() >= window
                && let Some((at, oldest)) = under_way.pop_front()
            {
                self.count(producer.finish(oldest).map(|_| at.elapsed()));
            }
            let at = Instant::now();
            match self.with_message(|message| producer.start(message)) {
                Ok(begun) => under_way.push_back((at, begun)),
                Err(error) => self.count(Err(error)),
            }
        }
        for (at, begun) in under_way {
            self.count(producer.finish(begun).map(|_| at.elapsed()));
        }
    }

    fn count(&self, outcome: Result<Duration, ProgramError>) {
        match outcome {
            Ok(took) => self.counts.sent(took, 1),
            Err(ProgramError::Client(error)) if error.code().is_some() => {
                Counts::add(&self.counts.refused, 1);
                eprintln!("mqbench: {error}");
                thread::sleep(PAUSE_AFTER_FAILURE);
            }
            Err(error) => {
                Counts::add(&self.counts.failed, 1);
                eprintln!("mqbench: {error}");
                thread::sleep(PAUSE_AFTER_FAILURE);
            }
        }
    }
}
