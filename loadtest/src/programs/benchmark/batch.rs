//! `benchmark/batchproducer.sh`: batches from many threads.

use std::{
    io::Write,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Instant,
};

use clap::{ArgAction, Args};
use client::send::now_ms;

use super::{
    counts::{self, Counts, Span},
    options::{self, Common},
};
use crate::programs::{PAUSE_AFTER_FAILURE, ProgramError, producer::Producer};

const GROUP: &str = "benchmark_batch_producer";

#[derive(Debug, Args)]
pub(super) struct BatchArgs {
    #[command(flatten)]
    common: Common,
    /// Threads, each with a batch at a time.
    #[arg(short = 'w', long = "threadCount", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    threads: u32,
    /// Bytes of a message's body.
    #[arg(short = 's', long = "messageSize", default_value_t = 128)]
    size: usize,
    /// Messages of a batch.
    #[arg(short = 'b', long = "batchSize", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    batch: u32,
    /// Whether messages have a key: the second in which they are sent.
    #[arg(short = 'k', long = "keyEnable", default_value_t = false, action = ArgAction::Set)]
    key: bool,
    /// Number of different tags; 0: none.
    #[arg(short = 'l', long = "tagCount", default_value_t = 0)]
    tags: u64,
    /// Bytes of a property that each message has; 0: none.
    #[arg(short = 'p', long = "propertySize", default_value_t = 0)]
    property: usize,
}

pub(super) fn run(args: &BatchArgs) -> Result<(), ProgramError> {
    let servers = args.common.servers()?;
    let BatchArgs { threads, size, batch, key, tags, property, .. } = *args;
    let topic = args.common.topic.clone();
    println!(
        "topic: {topic} threadCount: {threads} messageSize: {size} batchSize: {batch} keyEnable: {key} propertySize: {property} \
         tagCount: {tags} traceEnable: false aclEnable: false"
    );
    servers.writable(&topic)?;
    let counts: Arc<Counts> = Arc::default();
    let body = Arc::new(options::body(size));
    let filling = Arc::new(String::from_utf8_lossy(&options::body(property)).into_owned());
    for _ in 0..threads {
        let (servers, topic) = (servers.clone(), topic.clone());
        let (counts, body, filling) =
            (Arc::clone(&counts), Arc::clone(&body), Arc::clone(&filling));
        thread::spawn(move || {
            let mut producer = Producer::new(servers, GROUP);
            let bodies: Vec<&[u8]> = (0..batch).map(|_| body.as_slice()).collect();
            loop {
                let now = now_ms();
                let second = (now / 1_000).to_string();
                let tag = (now as u64).checked_rem(tags).map(|tag| format!("tag{tag}"));
                let mut properties: Vec<(&str, &str)> = Vec::with_capacity(3);
                properties.extend(key.then_some(("KEYS", second.as_str())));
                properties.extend(tag.as_deref().map(|tag| ("TAGS", tag)));
                properties.extend((!filling.is_empty()).then_some(("benchmark", filling.as_str())));
                let at = Instant::now();
                match producer.send_batch(&topic, &bodies, &properties) {
                    Ok(_) => counts.sent(at.elapsed(), batch.into()),
                    Err(error) => {
                        Counts::add(&counts.failed, 1);
                        Counts::add(&counts.refused, batch.into());
                        eprintln!("mqbench: {error}");
                        thread::sleep(PAUSE_AFTER_FAILURE);
                    }
                }
            }
        });
    }
    counts::report(&counts, args.common.report_every(), &AtomicBool::new(false), |span| {
        let _ = writeln!(std::io::stdout(), "{}", line(&counts, span));
    });
    Ok(())
}

fn line(counts: &Counts, span: &Span) -> String {
    format!(
        "Current Time: {} Send TPS: {} Send MPS: {} Max RT(ms): {} Average RT(ms): {:7.3} Average Message RT(ms): {:7.3} Send \
         Failed: {} Send Message Failed: {}",
        now_ms(),
        span.per_second(|at| at.done),
        span.per_second(|at| at.messages),
        Counts::get(&counts.max_ms),
        span.average_ms(|at| at.micros, |at| at.done),
        span.average_ms(|at| at.micros, |at| at.messages),
        Counts::get(&counts.failed),
        Counts::get(&counts.refused),
    )
}
