//! Goal: a wall clock that is set, however far, deletes, closes and drops nothing that it should not. Method: real brokers
//! and name servers with a small library in front of the system's that shifts their wall clock while they run
//! (`clock_steps.c`, compiled here; without a C compiler the tests are not run).

use std::{
    fs,
    os::unix::fs::FileExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use client::{Connection, KeyLookup, Message, NewTopic, PullRequest, PullStatus};
use loadtest::harness::{ledger::runtime_info, our_broker::OurBroker, wait_until};
use proto::code::request;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const YEAR: i64 = 365 * 24 * HOUR;
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "steps";
const GROUP: &str = "readers";
/// Sixty of them fill most of a segment.
const BODY_BYTES: usize = 60_000;
const SMALL_SEGMENTS: [(&str, &str); 6] = [
    ("shards", "1"),
    ("mappedFileSizeCommitLog", "4194304"),
    ("shardIndexEntriesMax", "1000"),
    ("maxMessageSize", "65536"),
    ("tailCacheMiB", "1"),
    // A disk that is rather full is another reason to delete, and another line of the health.
    ("diskMaxUsedSpaceRatio", "95"),
];

/// The shift of a process's wall clock.
struct Shift {
    dir: tempfile::TempDir,
    file: fs::File,
}

impl Shift {
    /// None: there is no C compiler.
    fn new() -> Option<Shift> {
        let dir = tempfile::tempdir().unwrap();
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clock_steps.c");
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(dir.path().join("shift.so"));
        match compiler.arg(source).status() {
            Ok(status) => assert!(status.success(), "the C compiler failed"),
            Err(error) => {
                println!("NOT RUN: no C compiler: {error}");
                return None;
            }
        }
        let file = dir.path().join("shift");
        fs::write(&file, 0i64.to_ne_bytes()).unwrap();
        let file = fs::OpenOptions::new().write(true).open(file).unwrap();
        Some(Shift { dir, file })
    }

    fn set(&self, ms: i64) {
        self.file.write_all_at(&ms.to_ne_bytes(), 0).unwrap();
    }

    fn start(&self, keys: &[(&str, &str)]) -> OurBroker {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (library, file) = (path("shift.so"), path("shift"));
        let env = [
            ("LD_PRELOAD", library.as_str()),
            ("CLOCK_SHIFT_FILE", file.as_str()),
            // Hours of the day are those of where the machine stands.
            ("TZ", "UTC0"),
        ];
        OurBroker::standalone_with_env(keys, &env)
    }
}

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// Sends messages enough for so many segments.
fn fill(connection: &mut Connection, segments: usize) {
    let body = vec![7; BODY_BYTES];
    for _ in 0..segments * 70 {
        connection.send(&Message::new(TOPIC, 0, &body)).unwrap();
    }
}

fn first(connection: &mut Connection) -> i64 {
    connection.min_offset(TOPIC, 0).unwrap()
}

#[test]
fn a_clock_that_is_ahead_for_seconds_deletes_nothing() {
    let Some(shift) = Shift::new() else { return };
    let broker = shift.start(&SMALL_SEGMENTS);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    fill(&mut connection, 6);
    let health = |connection: &mut Connection| runtime_info(connection, "ringmq.health");
    assert_eq!(health(&mut connection), "healthy");
    shift.set(100 * HOUR);
    let noticed = wait_until(PATIENCE, || health(&mut connection) == "clock-parted");
    assert!(noticed, "{}", broker.log_tail());
    std::thread::sleep(Duration::from_secs(12));
    fill(&mut connection, 1);
    assert_eq!(first(&mut connection), 0, "{}", broker.log_tail());
    shift.set(0);
    let believed = wait_until(PATIENCE, || health(&mut connection) == "healthy");
    assert!(believed, "{}", broker.log_tail());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(first(&mut connection), 0, "{}", broker.log_tail());
    let warnings = broker.log().matches("the wall clock has moved ahead").count();
    assert_eq!(warnings, 1, "once, not each second: {}", broker.log_tail());
}

#[test]
fn a_start_two_years_ahead_deletes_nothing_and_does_not_stop_retention() {
    let Some(shift) = Shift::new() else { return };
    let mut broker = shift.start(&[&SMALL_SEGMENTS[..], &[("fileReservedTime", "1")]].concat());
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    fill(&mut connection, 3);
    assert!(broker.stop().is_some());
    shift.set(2 * YEAR);
    broker.restart();
    let mut connection = connect(&broker);
    fill(&mut connection, 3);
    let ahead = connection.max_offset(TOPIC, 0).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(first(&mut connection), 0, "{}", broker.log_tail());
    shift.set(0);
    fill(&mut connection, 3);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(first(&mut connection), 0, "{}", broker.log_tail());
    // Two hours later everything is older than an hour, also what says that it is still to come.
    assert!(broker.stop().is_some());
    shift.set(2 * HOUR);
    broker.restart();
    let mut connection = connect(&broker);
    let went = wait_until(PATIENCE, || first(&mut connection) >= ahead - 70);
    assert!(
        went,
        "from {} on, {ahead} came from the future: {}",
        first(&mut connection),
        broker.log_tail()
    );
}

#[test]
fn expired_segments_go_out_of_hours_when_an_operator_asks() {
    let Some(shift) = Shift::new() else { return };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let later = ((seconds / 3_600 + 8) % 24).to_string();
    let rules = [("fileReservedTime", "1"), ("deleteWhen", later.as_str())];
    let mut broker = shift.start(&[&SMALL_SEGMENTS[..], &rules].concat());
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    fill(&mut connection, 3);
    assert!(broker.stop().is_some());
    shift.set(2 * HOUR);
    broker.restart();
    let mut connection = connect(&broker);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(first(&mut connection), 0, "it is not the hour: {}", broker.log_tail());
    connection.call(request::DELETE_EXPIRED_COMMITLOG, &[], &[]).unwrap().success().unwrap();
    let went = wait_until(PATIENCE, || first(&mut connection) >= 70);
    assert!(went, "from {} on: {}", first(&mut connection), broker.log_tail());
}

/// What is kept for three days is to be kept for an hour, and two have passed: it goes while the broker runs, when it is
/// also the hour.
#[test]
fn segments_go_by_a_time_that_was_changed_while_the_broker_runs() {
    let Some(shift) = Shift::new() else { return };
    let mut broker = shift.start(&SMALL_SEGMENTS);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    fill(&mut connection, 3);
    assert!(broker.stop().is_some());
    shift.set(2 * HOUR);
    broker.restart();
    let mut connection = connect(&broker);
    let change = |connection: &mut Connection, line: &str| {
        let code = request::UPDATE_BROKER_CONFIG;
        connection.call(code, &[], line.as_bytes()).unwrap().success().unwrap();
    };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let later = (seconds / 3_600 + 8) % 24;
    change(&mut connection, &format!("fileReservedTime=1\ndeleteWhen={later}"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(first(&mut connection), 0, "it is not the hour: {}", broker.log_tail());
    change(&mut connection, "deleteWhen=");
    let went = wait_until(PATIENCE, || first(&mut connection) >= 70);
    assert!(went, "from {} on: {}", first(&mut connection), broker.log_tail());
}

#[test]
fn a_clock_that_is_set_closes_nothing_drops_nobody_and_delays_no_answer() {
    let Some(shift) = Shift::new() else { return };
    let broker = shift.start(&[("shards", "1")]);
    let namesrv = broker.namesrv_addr().parse().unwrap();
    let mut names = Connection::connect(namesrv).unwrap();
    let mut connection = connect(&broker);
    let mut idle = connect(&broker);
    idle.runtime_info().unwrap();
    connection.create_topic(&NewTopic::new(TOPIC, 2)).unwrap();
    connection.create_group(GROUP).unwrap();
    assert!(wait_until(PATIENCE, || names.route(TOPIC, true).is_ok()));
    for step in [180 * SECOND, 100 * HOUR, -HOUR, 0] {
        let mut waiting = connect(&broker);
        let end = connection.max_offset(TOPIC, 0).unwrap();
        let pull = PullRequest::new(GROUP, TOPIC, 0, end).parked(Duration::from_secs(50));
        let parked = waiting.start_pull(&pull).unwrap();
        let mut brief = connect(&broker);
        let pull = PullRequest::new(GROUP, TOPIC, 1, 0).parked(Duration::from_secs(4));
        let expiring = brief.start_pull(&pull).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        shift.set(step);
        // Longer than the name server takes to look for silent brokers.
        let started = Instant::now();
        let nothing = brief.finish_pull(expiring).unwrap();
        assert_eq!(nothing.status, PullStatus::NotFound, "step {step}");
        assert!(started.elapsed() < Duration::from_secs(40), "step {step}");
        std::thread::sleep(Duration::from_secs(6).saturating_sub(started.elapsed()));
        assert!(names.route(TOPIC, true).is_ok(), "step {step}: {}", broker.log_tail());
        connection.send(&Message::new(TOPIC, 0, b"now")).unwrap();
        let found = waiting.finish_pull(parked).unwrap();
        assert_eq!((found.status, found.messages.len()), (PullStatus::Found, 1), "step {step}");
    }
    idle.runtime_info().unwrap();
    let log = broker.log();
    assert!(!log.contains("silent connection") && !log.contains("dropped"), "{log}");
}

#[test]
fn a_message_of_a_producer_with_a_fast_clock_is_found_by_its_unique_key() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let properties = [("UNIQ_KEY", "0A000001000118B4AAC2000000000001")];
    connection.send(&Message::new(TOPIC, 0, b"fast").with_properties(&properties)).unwrap();
    let mut lookup = KeyLookup::new(TOPIC, properties[0].1);
    // Clients ask from the time on that the key holds, less a second.
    lookup.store_ms.0 = client::send::now_ms() + HOUR;
    assert!(connection.query_messages(&lookup).is_err(), "by an ordinary key");
    lookup.unique = true;
    let found = connection.query_messages(&lookup).unwrap();
    assert_eq!(found.len(), 1);
}
