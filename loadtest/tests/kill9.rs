//! Goal: what was acknowledged survives `kill -9` at any moment, at its offset, with its bytes.
//! Method: writers keep many sends in flight and note each acknowledgement; the broker is killed after 50 to 400 ms
//! and started again; then each queue is read and compared with the notes: from a little before where it ended at the last
//! look, and from offset 0 after every 20th round and the last. So a round costs what it wrote. Damage further back
//! would not be overlooked, only reported later: what a round loses stays lost, and the last look sees everything.
//! 20 times, half of them with one shard, half with two; `RINGMQ_KILL9_ROUNDS` sets another number.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{ClientError, Connection, Message, NewTopic, PullRequest, PullStatus};
use loadtest::harness::{our_broker::OurBroker, wait_until};

const TOPICS: [&str; 2] = ["kill9-a", "kill9-b"];
const QUEUES: i32 = 4;
const WRITERS: usize = 4;
const WINDOW: usize = 32;
const GROUP: &str = "kill9-readers";
const PATIENCE: Duration = Duration::from_secs(60);
/// A committed offset is written once a second, on a busy machine a few seconds later; younger ones may be lost.
const OFFSET_AGE_MS: i64 = 15_000;
/// Acknowledgements before each kill, on average: less load would mean nothing.
const ACKED_PER_ROUND: u64 = 100;
/// Rounds from one look at everything to the next.
const WHOLE_EVERY: u32 = 20;
/// Messages of a queue that are read again although the last look saw them: about as many as a segment has of each queue,
/// so all that a start scans, and what it makes index files of.
const OVERLAP: i64 = 3_000;

/// A queue of a topic.
type Queue = (&'static str, i32);

/// An acknowledged message.
struct Acked {
    queue: Queue,
    queue_offset: i64,
    message_id: String,
    body: Vec<u8>,
}

/// What all rounds on one data directory know.
#[derive(Default)]
struct Notes {
    /// By unique id.
    acked: HashMap<String, Acked>,
    /// Unique ids by the place where each was acknowledged.
    by_place: HashMap<Queue, BTreeMap<i64, String>>,
    /// Ids without acknowledgement that were found, and where.
    unacked: HashMap<String, (Queue, i64)>,
    /// Ends of the queues at the last look.
    seen: HashMap<Queue, i64>,
    /// Offsets that the broker confirmed for the group, with the time of the confirmation, per queue in order.
    committed: HashMap<Queue, Vec<(i64, i64)>>,
}

/// What reading back found.
#[derive(Default, Debug)]
struct Findings {
    read: u64,
    lost: u64,
    unacked_doubled: u64,
}

#[test]
fn one_shard_loses_nothing_acknowledged() {
    play("1", rounds());
}

#[test]
fn two_shards_lose_nothing_acknowledged() {
    play("2", rounds());
}

fn rounds() -> u32 {
    let all = std::env::var("RINGMQ_KILL9_ROUNDS").ok().and_then(|text| text.parse().ok());
    all.unwrap_or(20u32).div_ceil(2)
}

fn play(shards: &str, rounds: u32) {
    // Small segments and index files, so that a life of a few hundred milliseconds sees many of each.
    let settings = [
        ("shards", shards),
        ("maxMessageSize", "65536"),
        ("mappedFileSizeCommitLog", "4194304"),
        ("shardIndexEntriesMax", "1000"),
    ];
    let mut broker = OurBroker::standalone(&settings);
    let mut notes = Notes::default();
    create_topics(broker.broker_addr());
    let mut last = Findings::default();
    for round in 0..rounds {
        let killed_at_ms = write_until_killed(&mut broker, &mut notes, round);
        broker.restart();
        let log = broker.log();
        assert!(
            tells_scan_and_cut(&log),
            "round {round}: the boot log does not tell what was scanned and cut:\n{log}"
        );
        let whole = (round + 1) % WHOLE_EVERY == 0 || round + 1 == rounds;
        last = read_back(broker.broker_addr(), &mut notes, round, whole);
        assert_eq!(last.lost, 0, "round {round}, {shards} shard(s): {last:?}\n{log}");
        check_offsets(broker.broker_addr(), &mut notes, killed_at_ms, round);
    }
    println!(
        "kill9: shards={shards} rounds={rounds} acked={} lost={} dup={} (of unacknowledged ids) kept without acknowledgement={}, {} read by the last look",
        notes.acked.len(),
        last.lost,
        last.unacked_doubled,
        notes.unacked.len(),
        last.read
    );
}

fn create_topics(addr: SocketAddr) {
    let mut connection = connect(addr);
    for topic in TOPICS {
        connection.create_topic(&NewTopic::new(topic, QUEUES)).unwrap();
    }
    connection.create_group(GROUP).unwrap();
}

fn connect(addr: SocketAddr) -> Connection {
    Connection::connect_patiently(addr, Duration::from_secs(10)).unwrap()
}

/// Runs the writers, kills the broker under them, and files what they saw. Returns when it was killed.
fn write_until_killed(broker: &mut OurBroker, notes: &mut Notes, round: u32) -> i64 {
    let addr = broker.broker_addr();
    let dead = AtomicBool::new(false);
    let pause = Duration::from_millis(fastrand::u64(50..=400));
    let acked_before = notes.acked.len() as u64;
    let acked_now = AtomicU64::new(0);
    // Before the clock runs: on a busy machine a connection takes longer than the broker has to live.
    let connections: Vec<_> = (0..WRITERS).map(|_| connect(addr)).collect();
    let committing = connect(addr);
    let (killed_at_ms, seen) = std::thread::scope(|scope| {
        let (dead, acked_now) = (&dead, &acked_now);
        let writers: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(writer, link)| {
                scope.spawn(move || write(link, (round, writer), dead, acked_now))
            })
            .collect();
        let committer = scope.spawn(move || commit(committing, dead));
        std::thread::sleep(pause);
        let wanted = ACKED_PER_ROUND * u64::from(round + 1);
        let enough =
            wait_until(PATIENCE, || acked_before + acked_now.load(Ordering::Relaxed) >= wanted);
        assert!(enough, "too little load to mean anything: {acked_before} and {acked_now:?}");
        let killed_at_ms = client::send::now_ms();
        broker.kill9();
        dead.store(true, Ordering::Relaxed);
        let acked: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        (killed_at_ms, (acked, committer.join().unwrap()))
    });
    let (acked, committed) = seen;
    for (id, message) in acked {
        let Acked { queue, queue_offset, .. } = message;
        let end = notes.seen.get(&queue).copied().unwrap_or(0);
        assert!(
            queue_offset >= end,
            "round {round}: {id} was acknowledged at {queue_offset} of {queue:?}, which ends at {end}"
        );
        let other = notes.by_place.entry(queue).or_default().insert(queue_offset, id.clone());
        assert_eq!(other, None, "round {round}: acknowledged at the place of {id}");
        assert!(
            notes.acked.insert(id, message).is_none(),
            "a unique id was used twice by this test"
        );
    }
    for (queue, at_ms, offset) in committed {
        notes.committed.entry(queue).or_default().push((at_ms, offset));
    }
    killed_at_ms
}

/// Sends over all queues with a full window until the connection breaks; returns what was acknowledged.
fn write(
    mut connection: Connection,
    (round, writer): (u32, usize),
    dead: &AtomicBool,
    acked_now: &AtomicU64,
) -> Vec<(String, Acked)> {
    let mut acked = Vec::new();
    let mut out: HashMap<client::Ticket, (String, Queue, Vec<u8>)> = HashMap::new();
    let mut number = 0u32;
    loop {
        while out.len() < WINDOW {
            let id = format!("{round:04}-{writer:02}-{number:08}");
            let queue = queue_of(number as usize + writer);
            let body = body_of(&id);
            let properties = [("UNIQ_KEY", id.as_str()), ("WAIT", "true"), ("TAGS", "TagA")];
            let message = Message::new(queue.0, queue.1, &body).with_properties(&properties);
            number += 1;
            match connection.start_send(&message) {
                Ok(ticket) => out.insert(ticket, (id, queue, body)),
                Err(_) => return acked,
            };
        }
        let answer = match connection.finish_any() {
            Ok((ticket, answer)) => {
                out.remove(&ticket).map(|sent| (sent, client::send::sent(answer)))
            }
            Err(ClientError::Closed | ClientError::Io(_)) => return acked,
            Err(error) if dead.load(Ordering::Relaxed) => {
                // A reply cut in two by the kill shows as a closed connection; anything else is the broker's fault.
                panic!("writer {writer} of round {round}: {error}");
            }
            Err(error) => panic!("writer {writer} of round {round}, broker alive: {error}"),
        };
        let ((id, queue, body), outcome) = answer.expect("an answer to a request of this writer");
        match outcome {
            Ok(sent) => {
                assert_eq!(sent.queue_id, queue.1);
                let (queue_offset, message_id) = (sent.queue_offset, sent.message_id);
                acked.push((id, Acked { queue, queue_offset, message_id, body }));
                acked_now.fetch_add(1, Ordering::Relaxed);
            }
            // A refusal under load is allowed; it promises nothing.
            Err(ClientError::Refused { code: 2, .. }) => {}
            Err(error) => panic!("writer {writer} of round {round}: {error}"),
        }
    }
}

/// Commits ever larger offsets for one group; returns (queue, when confirmed, offset).
fn commit(mut connection: Connection, dead: &AtomicBool) -> Vec<(Queue, i64, i64)> {
    let mut confirmed = Vec::new();
    let mut step = 0usize;
    while !dead.load(Ordering::Relaxed) {
        let queue = queue_of(step);
        step += 1;
        let Ok(offset) = connection.max_offset(queue.0, queue.1) else { return confirmed };
        if connection.commit_offset(GROUP, queue.0, queue.1, offset).is_err() {
            return confirmed;
        }
        confirmed.push((queue, client::send::now_ms(), offset));
        std::thread::sleep(Duration::from_millis(2));
    }
    confirmed
}

fn queue_of(index: usize) -> Queue {
    let queue = (index / TOPICS.len()) as i32 % QUEUES;
    (TOPICS[index % TOPICS.len()], queue)
}

/// A body that its id determines, 20 to 2000 bytes.
fn body_of(id: &str) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(proto::record::string_hash(id) as u64);
    let bytes =
        if random.u32(0..20) == 0 { random.usize(1000..2000) } else { random.usize(20..200) };
    id.bytes().cycle().take(bytes).collect()
}

/// Reads the queues, from their beginnings or from a little before where they ended at the last look, and compares with
/// the notes. Density, placement, bytes and CRC are asserted on the way; what is missing is counted.
fn read_back(addr: SocketAddr, notes: &mut Notes, round: u32, whole: bool) -> Findings {
    let mut connection = connect(addr);
    let mut findings = Findings::default();
    for index in 0..TOPICS.len() * QUEUES as usize {
        let queue = queue_of(index);
        let seen = notes.seen.get(&queue).copied().unwrap_or(0);
        let from = if whole { 0 } else { (seen - OVERLAP).max(0) };
        let (mut offset, mut found_acked) = (from, 0);
        loop {
            let request = PullRequest::new("kill9-check", queue.0, queue.1, offset);
            let pulled = connection
                .pull(&request)
                .unwrap_or_else(|e| panic!("round {round}, {queue:?} at {offset}: {e}"));
            if pulled.status != PullStatus::Found {
                assert_eq!(
                    offset, pulled.max_offset,
                    "round {round}, {queue:?}: reading stopped before the end"
                );
                break;
            }
            for message in &pulled.messages {
                assert_eq!(
                    message.queue_offset, offset,
                    "round {round}, {queue:?}: queue offsets are not dense"
                );
                assert_eq!((message.topic.as_str(), message.queue_id), queue);
                let id =
                    message.property("UNIQ_KEY").expect("every message of this test has an id");
                assert_eq!(
                    message.body,
                    body_of(id),
                    "round {round}: torn or foreign bytes in {id}"
                );
                if let Some(acked) = notes.acked.get(id) {
                    assert_eq!(acked.queue, queue, "{id}");
                    assert_eq!(
                        acked.queue_offset, message.queue_offset,
                        "round {round}: {id} is not where it was acknowledged, or twice"
                    );
                    assert_eq!(acked.message_id, message.message_id(), "round {round}: {id}");
                    assert_eq!(acked.body, message.body);
                    found_acked += 1;
                } else {
                    let place = notes.unacked.entry(id.to_string()).or_insert((queue, offset));
                    findings.unacked_doubled += u64::from(*place != (queue, offset));
                }
                offset += 1;
            }
            assert_eq!(pulled.next_offset, offset);
        }
        assert!(offset >= seen, "round {round}, {queue:?}: ends at {offset}, it ended at {seen}");
        notes.seen.insert(queue, offset);
        let acked = notes.by_place.get(&queue).map_or(0, |places| places.range(from..).count());
        // Each offset was met once, and an acknowledged message counts at its own alone.
        findings.lost += (acked - found_acked) as u64;
        findings.read += (offset - from) as u64;
    }
    findings
}

/// The group's offsets never go back, are little older than the kill, and never ahead of what was confirmed.
fn check_offsets(addr: SocketAddr, notes: &mut Notes, killed_at_ms: i64, round: u32) {
    let mut connection = connect(addr);
    for (queue, confirmed) in &mut notes.committed {
        let kept = match connection.consumer_offset(GROUP, queue.0, queue.1) {
            Ok(offset) => offset,
            // The group has no offset here: only right if its first commit is younger than a second.
            Err(ClientError::Refused { code: 22, .. }) => 0,
            Err(error) => panic!("round {round}, {queue:?}: {error}"),
        };
        let must = confirmed.iter().filter(|(at, _)| *at < killed_at_ms - OFFSET_AGE_MS);
        let must = must.map(|(_, offset)| *offset).max().unwrap_or(0);
        let may = confirmed.iter().map(|(_, offset)| *offset).max().unwrap_or(0);
        assert!(
            kept >= must,
            "round {round}, {queue:?}: offset {kept} is too far back, {must} was confirmed"
        );
        // The commit in flight at the kill may have been stored without being confirmed to us.
        let end = connection.max_offset(queue.0, queue.1).unwrap();
        assert!(
            kept <= may.max(end),
            "round {round}, {queue:?}: offset {kept} was never committed (newest {may}, end {end})"
        );
        // From here on what was read back counts: it is durable now.
        confirmed.clear();
        confirmed.push((0, kept));
    }
}

/// The boot log says how many bytes were scanned and what was cut.
fn tells_scan_and_cut(log: &str) -> bool {
    let lower = log.to_lowercase();
    lower.contains("scanned") && lower.contains("cut")
}
