//! `benchmark/consumer.sh`: consumes, and tells how long messages were on their way.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use clap::{ArgAction, Args, ValueEnum};
use client::send::now_ms;

use super::{
    counts::{self, Counts, Span},
    options::Common,
};
use crate::programs::{
    ProgramError,
    consumer::{Consumer, From},
    stop_flag,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FilterType {
    #[value(name = "TAG")]
    Tag,
    #[value(name = "SQL92")]
    Sql92,
}

#[derive(Debug, Args)]
pub(super) struct ConsumerArgs {
    #[command(flatten)]
    common: Common,
    /// Threads of Java's consumer; here each broker has one, whatever stands here.
    #[arg(short = 'w', long = "threadCount", default_value_t = 20)]
    threads: u32,
    /// Group.
    #[arg(short = 'g', long = "group", default_value = "benchmark_consumer")]
    group: String,
    /// Whether the group gets a number behind its name, so that each run begins anew.
    #[arg(short = 'p', long = "groupPrefixEnable", default_value_t = false, action = ArgAction::Set)]
    suffix: bool,
    /// Kind of the filter.
    #[arg(short = 'f', long = "filterType", value_enum)]
    filter: Option<FilterType>,
    /// File that holds the expression.
    #[arg(short = 'e', long = "expression", requires = "filter")]
    expression: Option<std::path::PathBuf>,
    /// Share of the messages that fail, from 0.0 to 1.0.
    #[arg(short = 'r', long = "failRate", default_value_t = 0.0)]
    fail_rate: f64,
}

pub(super) fn run(args: &ConsumerArgs) -> Result<(), ProgramError> {
    let servers = args.common.servers()?;
    let topic = args.common.topic.clone();
    let mut group = args.group.clone();
    if args.suffix {
        group = format!("{group}_{}", now_ms() % 100);
    }
    let mut consumer = Consumer::new(servers, &group, &topic, From::Last);
    if let (Some(filter), Some(file)) = (args.filter, &args.expression) {
        let text = std::fs::read_to_string(file).map_err(|error| ProgramError::Option {
            option: "-e",
            reason: format!("{}: {error}", file.display()),
        })?;
        consumer.expression = text.trim().to_owned();
        consumer.expression_type = if filter == FilterType::Tag { "TAG" } else { "SQL92" };
    }
    println!(
        "topic: {topic}, threadCount {}, group: {group}, suffix: {}, filterType: {}, expression: {}, msgTraceEnable: false, \
         aclEnable: false",
        args.threads, args.suffix, consumer.expression_type, consumer.expression
    );
    let stop = stop_flag()?;
    let counts: Arc<Counts> = Arc::default();
    let (reported, ended) = (Arc::clone(&counts), Arc::clone(&stop));
    let every = args.common.report_every();
    println!("Consumer Started.");
    let reporter = thread::spawn(move || {
        let mut failed = 0;
        counts::report(&reported, every, &ended, |span| {
            let line = line(&reported, span, &mut failed);
            let _ = writeln!(std::io::stdout(), "{line}");
        });
    });
    let fail_rate = args.fail_rate;
    consumer.run(
        &stop,
        Arc::new(move |_, message| {
            if fail_rate > 0.0 && fastrand::f64() < fail_rate {
                Counts::add(&counts.failed, 1);
                return false;
            }
            let now = now_ms();
            Counts::add(&counts.done, 1);
            add(&counts.micros, &counts.max_ms, now - message.born_timestamp);
            let stored = (&counts.since_stored_micros, &counts.since_stored_max_ms);
            add(stored.0, stored.1, now - message.store_timestamp);
            true
        }),
    )?;
    // A panic of it was told when it happened.
    let _ = reporter.join();
    Ok(())
}

/// Clocks may differ: what comes before it was made took no time.
fn add(sum: &AtomicU64, max: &AtomicU64, took_ms: i64) {
    let took_ms = u64::try_from(took_ms).unwrap_or(0);
    Counts::add(sum, took_ms * 1_000);
    max.fetch_max(took_ms, Ordering::Relaxed);
}

/// The longest delays begin anew with each line, as Java's do; failures are those since the last line.
fn line(counts: &Counts, span: &Span, failed: &mut u64) -> String {
    let before = std::mem::replace(failed, span.end.failed);
    format!(
        "Current Time: {} TPS: {} FAIL: {} AVG(B2C) RT(ms): {:7.3} AVG(S2C) RT(ms): {:7.3} MAX(B2C) RT(ms): {} MAX(S2C) RT(ms): {}",
        now_ms(),
        span.per_second(|at| at.done),
        span.end.failed - before,
        span.average_ms(|at| at.micros, |at| at.done),
        span.average_ms(|at| at.since_stored_micros, |at| at.done),
        counts.max_ms.swap(0, Ordering::Relaxed),
        counts.since_stored_max_ms.swap(0, Ordering::Relaxed),
    )
}
