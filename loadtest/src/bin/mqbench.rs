//! `mqbench`: how fast, how slow at worst, and at which cost does a broker serve?
//!
//! `send` loads it and measures (closed loop with a window, or open loop at a rate), `fill` writes a number of
//! messages as fast as it can, `pull` reads a topic through, `pop` pops and acknowledges one, `follow` has consumers with
//! filters follow a topic that grows at a rate, `idle` prices connections that do nothing, `topics` creates and deletes many
//! topics, `find` looks for messages by key and time, `filters` prices SQL92 expressions, `limits` goes to the README's
//! limits and watches another client meanwhile, `half-checks` does so while half messages are checked, `group` runs the
//! broker in a control group, `compare` turns the JSON lines of several runs into one table; `quickstart` and `benchmark` are the
//! programs of those names that come with Java's RocketMQ. All but `limits`, `half-checks`
//! and `group`, which start our broker, work against any broker of this protocol. What runs is in `loadtest::load` and `loadtest::programs`; here is
//! only the command line.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, atomic::AtomicBool};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use client::{Connection, NewTopic};
use loadtest::harness::our_broker;
use loadtest::load::churn::{self, Churn};
use loadtest::load::drain::{self, Drain};
use loadtest::load::drive::{self, Plan, Until};
use loadtest::load::filters;
use loadtest::load::find::{self, Find};
use loadtest::load::follow::{self, Follow};
use loadtest::load::frames::{SendFrames, SendShape};
use loadtest::load::group::{self, GroupRun};
use loadtest::load::half_checks::{self, HalfChecks};
use loadtest::load::idle::{self, Idle};
use loadtest::load::limits::{self, Limit};
use loadtest::load::pop::{self, Ack, Pop};
use loadtest::load::secured;
use loadtest::load::waiting::{self, Waiting};
use loadtest::load::{LoadError, compare, process};
use loadtest::programs::ProgramError;
use loadtest::programs::benchmark::{self, BenchmarkArgs};
use loadtest::programs::quickstart::{self, QuickstartArgs};
use serde_json::Value;

#[derive(Parser)]
#[command(name = "mqbench", version, about = "Load generator for RocketMQ-compatible brokers")]
struct CommandLine {
    /// Connections that bear the load are in TLS and take any certificate; those that prepare it stay plain.
    #[arg(long, global = true)]
    tls: bool,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// How many messages per second are acknowledged, and how long does one take?
    Send(SendArgs),
    /// Write a number of messages as fast as possible (for memory and boot measurements).
    Fill(FillArgs),
    /// How fast can a topic be read from its beginning to its end?
    Pull(PullArgs),
    /// How fast is a topic popped and acknowledged, and what does that cost the broker?
    Pop(PopArgs),
    /// What do consumers with filters cost the broker while messages come at a fixed rate?
    Follow(FollowArgs),
    /// What does a connection cost that does nothing?
    Idle(IdleArgs),
    /// How fast are topics created and deleted, each acknowledged?
    Topics(TopicsArgs),
    /// How long does it take to find a message by its key, and an offset by its time?
    Find(FindArgs),
    /// Does the broker keep within the memory of a control group, or say that it cannot? Starts one in a group.
    Group(GroupArgs),
    /// Are the README's limits reached, and does another client notice? Starts a broker for each.
    Limits(LimitsArgs),
    /// What does it cost to check a million open half messages, and does another client notice? Starts a broker.
    HalfChecks(HalfChecksArgs),
    /// What do messages cost that wait for their time, what does a start with them cost, and do they come in time? Starts
    /// a broker.
    Waiting(WaitingArgs),
    /// What does it cost to evaluate an SQL92 filter over a message? Needs no broker.
    Filters,
    /// Java's quickstart: sends a thousand messages, or shows what comes.
    Quickstart(QuickstartArgs),
    /// Java's benchmark programs, with their options and lines.
    Benchmark(BenchmarkArgs),
    /// Medians of several runs side by side, from files of JSON lines with labels `system/work`.
    Compare {
        /// Besides: what each system reached in comparison with this one, round by round.
        #[arg(long, value_name = "SYSTEM")]
        against: Option<String>,
        /// Files with lines that `send --json --label system/work` printed.
        #[arg(required = true)]
        files: Vec<String>,
    },
}

#[derive(Args)]
struct Target {
    /// The broker's address.
    #[arg(long, default_value = "127.0.0.1:10911")]
    addr: SocketAddr,
    /// Pin this process to a core (choose another one than the broker's).
    #[arg(long)]
    core: Option<usize>,
    /// The broker's process id: reports its CPU seconds and its memory.
    #[arg(long)]
    broker_pid: Option<u32>,
    #[command(flatten)]
    output: Output,
}

/// How a run tells what it found.
#[derive(Args)]
struct Output {
    /// One JSON object, of each run if there are several, instead of text.
    #[arg(long)]
    json: bool,
    /// Name of the run in the JSON object; `system/work` for `compare`.
    #[arg(long, default_value = "")]
    label: String,
}

#[derive(Args)]
struct Messages {
    /// Topic; created (or widened) with the given number of queues before the run.
    #[arg(long, default_value = "mqbench")]
    topic: String,
    /// More than 1: send to as many topics, which `topics` has created before.
    #[arg(long, default_value_t = 1)]
    topics: u32,
    /// Pick queues (of all topics) at random instead of in turn.
    #[arg(long)]
    random: bool,
    /// Leave the topic as it is.
    #[arg(long)]
    keep_topic: bool,
    /// Queues of the topic, used in turn.
    #[arg(long, default_value_t = 8)]
    queues: u32,
    /// Bytes of a message's body.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Messages per request (more than 1: SEND_BATCH_MESSAGE).
    #[arg(long, default_value_t = 1)]
    batch: u32,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Requests in flight per connection. An open loop uses it as its limit (default there: 8192).
    #[arg(long)]
    window: Option<usize>,
}

#[derive(Args)]
struct SendArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    messages: Messages,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds of load before that.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// Requests per second (open loop); latency then counts from the intended moment.
    #[arg(long)]
    rate: Option<f64>,
    /// Never sleep while waiting for answers (a closed loop with a small window measures its own wake-ups otherwise).
    #[arg(long)]
    spin: bool,
}

#[derive(Args)]
struct FillArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    shape: Messages,
    /// How many messages.
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
}

#[derive(Args)]
struct PullArgs {
    #[command(flatten)]
    target: Target,
    /// Topic.
    #[arg(long, default_value = "mqbench")]
    topic: String,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8)]
    queues: u32,
    /// Connections; the queues are dealt over them.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Messages asked for per pull.
    #[arg(long, default_value_t = 32)]
    batch: u32,
    /// How often the whole topic is read.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
}

#[derive(Args)]
struct PopArgs {
    #[command(flatten)]
    target: Target,
    /// The broker's name, as its configuration says: Java's finds nothing to acknowledge under another one.
    #[arg(long, default_value = "broker-a")]
    broker_name: String,
    /// Topic.
    #[arg(long, default_value = "mqbench")]
    topic: String,
    /// Group; the broker creates it (default: mqbench-pop and the process id, so that each run starts anew).
    #[arg(long)]
    group: Option<String>,
    /// Connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Pops out at a time, per connection.
    #[arg(long, default_value_t = 8)]
    window: usize,
    /// Messages asked for per pop, at most 32.
    #[arg(long, default_value_t = 32)]
    batch: u32,
    /// How messages are acknowledged.
    #[arg(long, value_enum, default_value_t = Ack::Each)]
    ack: Ack,
    /// Stop after so many seconds, even if there is more.
    #[arg(long)]
    seconds: Option<f64>,
}

#[derive(Args)]
struct FollowArgs {
    #[command(flatten)]
    target: Target,
    /// Topic; created (or widened) with the given number of queues before the run.
    #[arg(long, default_value = "mqbench-follow")]
    topic: String,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8)]
    queues: u32,
    /// Bytes of a message's body, at least 16; its properties take some 90 more.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Messages per second.
    #[arg(long, default_value_t = 100_000.0)]
    rate: f64,
    /// Messages per request.
    #[arg(long, default_value_t = 32)]
    batch: u32,
    /// Connections of the producer.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Consumers, each in a group of its own, with a connection of its own, on all queues.
    #[arg(long, default_value_t = 4)]
    consumers: usize,
    /// Messages asked for per pull.
    #[arg(long, default_value_t = 32)]
    pull_batch: u32,
    /// Seconds to measure, per case.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds of load before that, per case.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// Cases (default: all): alone, all, tags-1, tags-50, tags-100, sql-1, sql-50, sql-100. The number: percent that match.
    #[arg(long = "case", value_name = "CASE", value_delimiter = ',')]
    cases: Vec<String>,
}

#[derive(Args)]
struct IdleArgs {
    #[command(flatten)]
    target: Target,
    /// How many.
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// Leave them untouched instead of sending one small request on each.
    #[arg(long)]
    untouched: bool,
    /// Seconds to wait before memory is read.
    #[arg(long, default_value_t = 2.0)]
    hold: f64,
}

#[derive(Args)]
struct TopicsArgs {
    #[command(flatten)]
    target: Target,
    /// Names are this, a dash and six digits.
    #[arg(long, default_value = "mqbench")]
    topic: String,
    /// Number of the first topic.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many topics.
    #[arg(long, default_value_t = 10_000)]
    topics: u64,
    /// Queues of each.
    #[arg(long, default_value_t = 8)]
    queues: u32,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Delete them after that, at the broker.
    #[arg(long)]
    delete: bool,
    /// Do not create them first.
    #[arg(long)]
    keep: bool,
    /// Delete them there, too, as mqadmin does.
    #[arg(long)]
    namesrv: Option<SocketAddr>,
}

#[derive(Args)]
struct FindArgs {
    #[command(flatten)]
    target: Target,
    /// Names are this, a dash and six digits.
    #[arg(long, default_value = "mqbench")]
    topic: String,
    /// How many topics, as `topics` created and `fill` filled them.
    #[arg(long, default_value_t = 1)]
    topics: u64,
    /// Queues of each.
    #[arg(long, default_value_t = 8)]
    queues: u32,
    /// Messages to draw and to look for.
    #[arg(long, default_value_t = 1_000)]
    count: u32,
    /// Seed of the draw.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The broker that a work starts for itself.
#[derive(Args)]
struct OwnBroker {
    /// A line for the broker's configuration, `key=value`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The broker to start; else the one that was built beside this program.
    #[arg(long = "broker", value_name = "BROKER")]
    binary: Option<std::path::PathBuf>,
}

#[derive(Args)]
struct LimitsArgs {
    /// Which limits (all when none is named); `list` names them.
    names: Vec<String>,
    /// Go so far instead of to the limit.
    #[arg(long)]
    count: Option<u64>,
    /// Seconds that the other client is watched at the limit.
    #[arg(long, default_value_t = 5.0)]
    hold: f64,
    #[command(flatten)]
    broker: OwnBroker,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct HalfChecksArgs {
    /// Half messages.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Producers of their group that are online, and answer each check with "unknown".
    #[arg(long, default_value_t = 1)]
    producers: usize,
    /// Age in seconds at which a half message is checked first: more than it takes to send all of them, and the quiet phase.
    #[arg(long, default_value_t = 60.0)]
    first_check: f64,
    /// Seconds between two checks of a half message.
    #[arg(long, default_value_t = 60.0)]
    interval: f64,
    /// Seconds to measure while all are open and none is due.
    #[arg(long, default_value_t = 10.0)]
    quiet: f64,
    /// Seconds to measure from the first check on.
    #[arg(long, default_value_t = 120.0)]
    seconds: f64,
    /// Pin this process to a core, but not the broker, which has `shardCores`.
    #[arg(long)]
    core: Option<usize>,
    #[command(flatten)]
    broker: OwnBroker,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct WaitingArgs {
    /// Messages.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Seconds between the first and the last that is due.
    #[arg(long, default_value_t = 3_600.0)]
    spread: f64,
    /// Seconds to measure from the first one on.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Kill the broker and start it again before that.
    #[arg(long)]
    restart: bool,
    /// Pin this process to a core, but not the broker, which has `shardCores`.
    #[arg(long)]
    core: Option<usize>,
    #[command(flatten)]
    broker: OwnBroker,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct GroupArgs {
    /// Limits of the groups, MiB, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 96, 128, 256])]
    mib: Vec<u64>,
    /// Connections that stay open.
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// Seconds that the broker works in each.
    #[arg(long, default_value_t = 600.0)]
    seconds: f64,
    #[command(flatten)]
    broker: OwnBroker,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    // A pipe that nobody reads any more ends the process, as it does with other tools of the command line.
    let _ = signal_hook::flag::register_conditional_default(
        signal_hook::consts::SIGPIPE,
        Arc::new(AtomicBool::new(true)),
    );
    let arguments = benchmark::with_long_names(std::env::args_os());
    let command_line = CommandLine::parse_from(arguments);
    if command_line.tls
        && let Err(error) = secured::all_connections()
    {
        eprintln!("mqbench: {error}");
        return ExitCode::FAILURE;
    }
    let outcome = match command_line.work {
        Work::Send(args) => send(&args),
        Work::Fill(args) => fill(&args),
        Work::Pull(args) => pull(&args),
        Work::Pop(args) => pop_messages(&args),
        Work::Follow(args) => follow_topic(&args),
        Work::Idle(args) => idle(&args),
        Work::Topics(args) => topics(&args),
        Work::Find(args) => find_messages(&args),
        Work::Group(args) => run_groups(&args),
        Work::Limits(args) => run_limits(&args),
        Work::HalfChecks(args) => check_halves(&args),
        Work::Waiting(args) => wait_for_time(&args),
        Work::Filters => price_filters(),
        Work::Quickstart(args) => return ended(quickstart::run(&args)),
        Work::Benchmark(args) => return ended(benchmark::run(&args)),
        Work::Compare { against, files } => compare(&files, against.as_deref()),
    };
    match outcome {
        Ok(text) => {
            // Whoever has read enough and gone misses nothing.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mqbench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Of a program that prints while it runs.
fn ended(outcome: Result<(), ProgramError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mqbench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn price_filters() -> Result<String, LoadError> {
    let priced = filters::run()?;
    let line = |it: &filters::Priced| {
        let verdict = if it.matches { "matches" } else { "no match" };
        format!("{:7.1} ns  {verdict:8}  {}", it.nanoseconds, it.expression)
    };
    Ok(priced.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn send(args: &SendArgs) -> Result<String, LoadError> {
    let mut frames = args.messages.prepare(args.target.addr)?;
    let plan = Plan {
        addr: args.target.addr,
        connections: args.messages.connections,
        window: args.messages.window.unwrap_or(if args.rate.is_some() { 8192 } else { 64 }),
        rate: args.rate,
        until: Until::Time { warmup: seconds(args.warmup)?, measure: seconds(args.seconds)? },
        spin: args.spin,
        broker_pid: args.target.broker_pid,
    };
    args.target.pin()?;
    let report = drive::run(&plan, &mut frames)?;
    Ok(args.target.output.show(&report, |label| report.to_json(label)))
}

fn fill(args: &FillArgs) -> Result<String, LoadError> {
    let mut frames = args.shape.prepare(args.target.addr)?;
    let plan = Plan {
        addr: args.target.addr,
        connections: args.shape.connections,
        window: args.shape.window.unwrap_or(64),
        rate: None,
        until: Until::Acked(args.messages),
        spin: false,
        broker_pid: args.target.broker_pid,
    };
    args.target.pin()?;
    let report = drive::run(&plan, &mut frames)?;
    Ok(args.target.output.show(&report, |label| report.to_json(label)))
}

fn pull(args: &PullArgs) -> Result<String, LoadError> {
    args.target.pin()?;
    let report = drain::run(&Drain {
        addr: args.target.addr,
        topic: args.topic.clone(),
        queues: args.queues,
        connections: args.connections,
        batch: args.batch,
        repeat: args.repeat,
        broker_pid: args.target.broker_pid,
    })?;
    Ok(args.target.output.show(&report, |label| report.to_json(label)))
}

fn pop_messages(args: &PopArgs) -> Result<String, LoadError> {
    args.target.pin()?;
    let of_this_run = || format!("mqbench-pop-{}", std::process::id());
    let report = pop::run(&Pop {
        addr: args.target.addr,
        broker_name: args.broker_name.clone(),
        topic: args.topic.clone(),
        group: args.group.clone().unwrap_or_else(of_this_run),
        connections: args.connections,
        window: args.window,
        batch: args.batch,
        ack: args.ack,
        time_max: args.seconds.map(seconds).transpose()?,
        broker_pid: args.target.broker_pid,
    })?;
    Ok(args.target.output.show(&report, |label| report.to_json(label)))
}

fn follow_topic(args: &FollowArgs) -> Result<String, LoadError> {
    let plan = Follow {
        addr: args.target.addr,
        topic: args.topic.clone(),
        queues: args.queues,
        body_bytes: args.body,
        batch: args.batch,
        rate: args.rate,
        connections: args.connections,
        consumers: args.consumers,
        pull_batch: args.pull_batch,
        warmup: seconds(args.warmup)?,
        measure: seconds(args.seconds)?,
        cases: follow::find(&args.cases)?,
        broker_pid: args.target.broker_pid,
    };
    args.target.pin()?;
    let json = args.target.output.json;
    if !json {
        println!("{}", follow::report::HEAD);
    }
    let show = |row: &follow::report::CaseReport| {
        if !json {
            println!("{row}");
        }
    };
    let report = follow::run(&plan, show)?;
    Ok(args.target.output.show(&"", |label| report.to_json(label)))
}

fn idle(args: &IdleArgs) -> Result<String, LoadError> {
    args.target.pin()?;
    let broker_pid = args.target.broker_pid.ok_or(LoadError::Range {
        what: "--broker-pid",
        range: "given: it is the broker's memory that is measured",
        value: 0,
    })?;
    let report = idle::run(&Idle {
        addr: args.target.addr,
        connections: args.connections,
        touch: !args.untouched,
        hold: seconds(args.hold)?,
        broker_pid,
    })?;
    Ok(args.target.output.show(&report, |label| report.to_json(label)))
}

fn topics(args: &TopicsArgs) -> Result<String, LoadError> {
    args.target.pin()?;
    let report = churn::run(&Churn {
        addr: args.target.addr,
        namesrv: args.namesrv,
        topic: args.topic.clone(),
        first: args.first,
        topics: args.topics,
        queues: args.queues,
        connections: args.connections,
        create: !args.keep,
        delete: args.delete,
        broker_pid: args.target.broker_pid,
    })?;
    Ok(args.target.output.show(&report, |label| report.to_json(label)))
}

fn find_messages(args: &FindArgs) -> Result<String, LoadError> {
    args.target.pin()?;
    let report = find::run(&Find {
        addr: args.target.addr,
        topic: args.topic.clone(),
        topics: args.topics,
        queues: args.queues,
        count: args.count,
        seed: args.seed,
    })?;
    Ok(args.target.output.show(&report, |label| report.to_json(label)))
}

impl OwnBroker {
    /// Chooses the program, and returns the lines of its configuration.
    fn prepare(&self) -> Result<Vec<(String, String)>, LoadError> {
        if let Some(binary) = &self.binary {
            our_broker::use_binary(binary);
        }
        let keys = self.set.iter().map(|line| {
            let (key, value) = line.split_once('=').ok_or_else(|| LoadError::Name {
                what: "a line KEY=VALUE, whose parts",
                value: line.clone(),
            })?;
            Ok((key.to_owned(), value.to_owned()))
        });
        keys.collect()
    }
}

fn run_groups(args: &GroupArgs) -> Result<String, LoadError> {
    let keys = args.broker.prepare()?;
    for mib in &args.mib {
        let report = group::run(&GroupRun {
            mib: *mib,
            connections: args.connections,
            duration: seconds(args.seconds)?,
            keys: keys.clone(),
        })?;
        println!("{}", args.output.show(&report, |label| report.to_json(label)));
    }
    Ok(String::new())
}

fn run_limits(args: &LimitsArgs) -> Result<String, LoadError> {
    if args.names == ["list"] {
        let line = |limit: &&Limit| format!("{:<14} {:>9} {}", limit.name, limit.full, limit.what);
        return Ok(limits::LIMITS.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    let keys = args.broker.prepare()?;
    let options = limits::Options { count: args.count, hold: seconds(args.hold)?, keys };
    if !args.output.json {
        println!("{}", limits::HEAD);
    }
    let show = |row: &limits::Row| {
        if !args.output.json {
            println!("{row}");
        }
    };
    let report = limits::run(&limits::find(&args.names)?, &options, show)?;
    // Its rows were shown as they came.
    Ok(args.output.show(&"", |label| report.to_json(label)))
}

fn check_halves(args: &HalfChecksArgs) -> Result<String, LoadError> {
    let report = half_checks::run(&HalfChecks {
        count: args.count,
        producers: args.producers,
        first_check: seconds(args.first_check)?,
        interval: seconds(args.interval)?,
        quiet: seconds(args.quiet)?,
        measure: seconds(args.seconds)?,
        core: args.core,
        keys: args.broker.prepare()?,
    })?;
    Ok(args.output.show(&report, |label| report.to_json(label)))
}

fn wait_for_time(args: &WaitingArgs) -> Result<String, LoadError> {
    let report = waiting::run(&Waiting {
        count: args.count,
        spread: seconds(args.spread)?,
        measure: seconds(args.seconds)?,
        restart: args.restart,
        core: args.core,
        keys: args.broker.prepare()?,
    })?;
    Ok(args.output.show(&report, |label| report.to_json(label)))
}

fn compare(files: &[String], against: Option<&str>) -> Result<String, LoadError> {
    let mut all = String::new();
    for path in files {
        let text = std::fs::read_to_string(path).map_err(|e| LoadError::Results {
            path: path.clone(),
            line: 0,
            reason: e.to_string(),
        })?;
        all.push_str(&text);
        all.push('\n');
    }
    let path = files.join("+");
    let mut out = compare::table(&path, &all)?;
    if let Some(base) = against {
        out.push('\n');
        out.push_str(&compare::ratios(&path, &all, base)?);
    }
    Ok(out)
}

impl Target {
    fn pin(&self) -> Result<(), LoadError> {
        self.core.map_or(Ok(()), process::pin_to)
    }
}

impl Output {
    fn show(&self, report: &impl std::fmt::Display, json: impl FnOnce(&str) -> Value) -> String {
        if self.json { json(&self.label).to_string() } else { report.to_string() }
    }
}

impl Messages {
    /// Encodes the requests and sees to the topic, which otherwise might have fewer queues than we use.
    fn prepare(&self, addr: SocketAddr) -> Result<SendFrames, LoadError> {
        let frames = SendFrames::new(&SendShape {
            topic: self.topic.clone(),
            topics: self.topics,
            random: self.random,
            queues: self.queues,
            body_bytes: self.body,
            batch: self.batch,
        })?;
        if !self.keep_topic && self.topics == 1 {
            let queues = i32::try_from(self.queues).unwrap_or(i32::MAX);
            Connection::connect(addr)?.create_topic(&NewTopic::new(&self.topic, queues))?;
        }
        Ok(frames)
    }
}

fn seconds(value: f64) -> Result<Duration, LoadError> {
    Duration::try_from_secs_f64(value).map_err(|_| LoadError::Range {
        what: "a duration",
        range: "a number of seconds from 0",
        value: 0,
    })
}
