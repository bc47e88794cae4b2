//! The operator's tool for data directories: `verify`, `dump`, `stat`, `backup`, `restore`.
//!
//! Reads them only and takes no lock, but for `verify --repair`; safe beside a running broker. Needs no io_uring.
//! Exit code: 0 when everything is as it was written, 1 when damage was found, 2 when nothing could be looked at.

use clap::{Args, Parser, Subcommand};
use mqstore::{
    BackupOptions, DataDir, Filter, Findings, InspectError, Manifest, Progress, Stat, backup, dump,
    repair, restore, stat, verify,
};
use std::{
    io::{BufWriter, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

const DAMAGE: u8 = 1;
const NOT_LOOKED_AT: u8 = 2;

/// Looks at a RingMQ data directory.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks every byte that means something: log, index files, tables.
    Verify {
        #[command(flatten)]
        place: Place,
        /// Make damaged index files again. The broker must be stopped.
        #[arg(long)]
        repair: bool,
    },
    /// Writes records as JSON lines.
    Dump {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Counts segments, messages, topics, groups and their lag.
    Stat {
        #[command(flatten)]
        place: Place,
        /// One JSON object with everything.
        #[arg(long)]
        json: bool,
        /// Topics and groups to show in the table.
        #[arg(long, default_value_t = 20)]
        top: usize,
    },
    /// Copies a data directory, also of a running broker, so that a broker can start from the copy.
    Backup {
        /// Data directory: storePathRootDir of the broker.
        dir: PathBuf,
        /// Where to; made, or empty.
        target: PathBuf,
        /// Directory of the log, if storePathCommitLog names another than DIR/commitlog.
        #[arg(long)]
        log: Option<PathBuf>,
        /// A backup of before on the same file system: segments that it holds are linked instead of copied.
        #[arg(long, value_name = "BACKUP")]
        previous: Option<PathBuf>,
        /// Read at most so many MiB a second, to leave the disk to the broker.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..1 << 20))]
        mib_per_second: Option<u64>,
    },
    /// Makes a data directory of a backup.
    Restore {
        /// Directory of the backup.
        backup: PathBuf,
        /// New data directory; made, or empty.
        dir: PathBuf,
        /// Where the log goes, if storePathCommitLog names another directory than DIR/commitlog; made, or empty.
        #[arg(long)]
        log: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Place {
    /// Data directory: storePathRootDir of the broker.
    dir: PathBuf,
    /// Directory of the log, if storePathCommitLog names another than DIR/commitlog.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Only this shard.
    #[arg(long)]
    shard: Option<u16>,
}

#[derive(Args)]
struct Wanted {
    /// Only of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Only of queues with this id.
    #[arg(long)]
    queue: Option<u32>,
    /// Only from this queue offset on.
    #[arg(long)]
    from_offset: Option<i64>,
    /// At most so many lines.
    #[arg(long)]
    max: Option<u64>,
    /// Only stored at this time or later, ms since 1970.
    #[arg(long)]
    since: Option<i64>,
    /// Only stored before this time, ms since 1970.
    #[arg(long)]
    until: Option<i64>,
    /// Also control entries: offsets of groups, deleted topics and groups.
    #[arg(long)]
    control: bool,
    /// Bodies that are text as "bodyText" instead of "body" in base64.
    #[arg(long)]
    text: bool,
}

fn main() -> ExitCode {
    runtime::end_on_broken_pipe();
    // A start logs what it repairs; here the findings say it.
    let done = match Cli::parse().command {
        Command::Verify { place, repair: false } => run_verify(&place),
        Command::Verify { place, repair: true } => run_repair(&place),
        Command::Dump { place, wanted } => run_dump(&place, wanted),
        Command::Stat { place, json, top } => run_stat(&place, json, top),
        Command::Backup { dir, target, log, previous, mib_per_second } => {
            let bytes_per_second = mib_per_second.map(|mib| mib << 20);
            let (log_root, previous) = (log.as_deref(), previous.as_deref());
            run_backup(&dir, &target, &BackupOptions { log_root, previous, bytes_per_second })
        }
        Command::Restore { backup, dir, log } => run_restore(&backup, &dir, log.as_deref()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DAMAGE),
        Err(error) => {
            eprintln!("mqstore: {error}");
            ExitCode::from(NOT_LOOKED_AT)
        }
    }
}

fn run_verify(place: &Place) -> Result<bool, InspectError> {
    let verified = verify(&place.dir, place.log.as_deref(), place.shard, &Progress::visible())?;
    println!("{verified}");
    Ok(verified.is_clean())
}

fn run_repair(place: &Place) -> Result<bool, InspectError> {
    let repaired = repair(&place.dir, place.log.as_deref(), place.shard, &Progress::visible)?;
    println!("before:\n{}", repaired.before);
    for path in &repaired.removed {
        println!("removed {}", path.display());
    }
    println!("{} index files made again", repaired.rebuilt);
    println!("now:\n{}", repaired.after);
    Ok(repaired.after.is_clean())
}

fn run_backup(
    dir: &Path,
    target: &Path,
    options: &BackupOptions<'_>,
) -> Result<bool, InspectError> {
    let backed_up = backup(dir, target, options, &Progress::visible)?;
    println!("{}", backed_up.verified);
    print_spans(&backed_up.manifest);
    println!("{} copied to {}", megabytes(backed_up.copied_bytes), target.display());
    Ok(backed_up.verified.is_clean())
}

fn run_restore(backup: &Path, dir: &Path, log: Option<&Path>) -> Result<bool, InspectError> {
    let restored = restore(backup, dir, log, &Progress::visible)?;
    println!("{}", restored.verified);
    print_spans(&restored.manifest);
    println!("{} can be started from", dir.display());
    Ok(restored.verified.is_clean())
}

fn print_spans(manifest: &Manifest) {
    for span in &manifest.shards {
        println!("shard {}: positions {} to {}", span.shard, span.from, span.end);
    }
}

fn run_dump(place: &Place, wanted: Wanted) -> Result<bool, InspectError> {
    let filter = Filter {
        topic: wanted.topic,
        queue_id: wanted.queue,
        from_offset: wanted.from_offset,
        max: wanted.max,
        since_ms: wanted.since,
        until_ms: wanted.until,
        control: wanted.control,
        text: wanted.text,
    };
    let mut findings = Findings::default();
    let dir = DataDir::open(&place.dir, place.log.as_deref(), place.shard, &mut findings)?;
    dump(&dir, &filter, &mut BufWriter::new(stdout().lock()), &mut findings)?;
    Ok(print_all(&findings))
}

/// Findings on standard error. Whether there was no damage.
fn print_all(findings: &Findings) -> bool {
    for finding in findings.iter() {
        eprintln!("{finding}");
    }
    findings.damage() == 0
}

fn run_stat(place: &Place, json: bool, top: usize) -> Result<bool, InspectError> {
    let mut findings = Findings::default();
    let dir = DataDir::open(&place.dir, place.log.as_deref(), place.shard, &mut findings)?;
    let counted = stat(&dir, &mut findings)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&counted).expect("plain structs are JSON"));
    } else {
        print_stat(&counted, top);
    }
    Ok(print_all(&findings))
}

fn print_stat(stat: &Stat, top: usize) {
    let free = stat.disk_free_bytes;
    println!(
        "disk: {} of {} free{}",
        megabytes(free),
        megabytes(stat.disk_total_bytes),
        if stat.held { "; a broker is running" } else { "" }
    );
    println!(
        "\nshard  segments  spares  index       unindexed   positions  queues    messages      oldest      newest"
    );
    for shard in &stat.shards {
        let first = shard.segments.iter().find(|segment| segment.messages > 0);
        let last = shard.segments.iter().rev().find(|segment| segment.messages > 0);
        println!(
            "{:>5}  {:>8}  {:>6}  {:<10}  {:<10}  {:<9}  {:<8}  {:<12}  {:<10}  {}",
            shard.shard,
            shard.segments.len(),
            shard.spares,
            megabytes(shard.index_bytes),
            megabytes(shard.unindexed_bytes),
            format!("{:.3} %", shard.positions_used_percent),
            shard.queues,
            shard.messages,
            first.map_or("-".to_owned(), |segment| age(segment.first_store_ms)),
            last.map_or("-".to_owned(), |segment| age(segment.last_store_ms)),
        );
    }
    println!("\ntopics: {}, with queues: {}", stat.topics.len(), queues(stat));
    for topic in stat.topics.iter().take(top) {
        println!(
            "  {:<40} {:>5} queues  {:>12} messages  {:>10}  last {} ago",
            topic.topic,
            topic.queues,
            topic.messages,
            megabytes(topic.bytes),
            age(topic.last_store_ms)
        );
    }
    println!("\ngroups and topics: {}", stat.groups.len());
    let mut groups: Vec<_> = stat.groups.iter().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.lag));
    for group in groups.iter().take(top) {
        let name = format!("{} on {}", group.group, group.topic);
        println!("  {name:<60} {:>5} queues  lag {}", group.queues, group.lag);
    }
}

fn queues(stat: &Stat) -> u64 {
    stat.topics.iter().map(|topic| topic.queues).sum()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// How long ago, in the largest unit that says something.
fn age(stored_ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let seconds = (i64::try_from(now).unwrap_or(i64::MAX) - stored_ms).max(0) / 1_000;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
