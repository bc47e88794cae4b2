//! Goal: a backup that is taken beside a broker under load has everything that was acknowledged before it began, and no
//! message of a topic that was deleted in the topic that was made again. Method: one client sends, another creates and
//! deletes the same topic over and over; copies are taken meanwhile, each is restored and a broker started from it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use client::{ClientError, Connection, Message, NewTopic, PullRequest, PullStatus};
use loadtest::harness::{
    ledger::{Ledger, ReadBack},
    our_broker::OurBroker,
};
use mqstore::{BackupOptions, Progress, backup, restore};

const PATIENCE: Duration = Duration::from_secs(60);
const KEPT: &str = "kept";
const PASSING: &str = "passing";
const QUEUES: i32 = 4;
/// Small segments, so that several are complete.
const KEYS: [(&str, &str); 4] = [
    ("shards", "2"),
    ("mappedFileSizeCommitLog", "4194304"),
    ("maxMessageSize", "65536"),
    ("tailCacheMiB", "1"),
];
const COPIES: usize = 4;

fn connect(addr: SocketAddr) -> Connection {
    Connection::connect_patiently(addr, PATIENCE).unwrap()
}

#[test]
fn a_copy_beside_a_broker_under_load_can_be_started_from() {
    let broker = OurBroker::standalone(&KEYS);
    let mut connection = connect(broker.broker_addr());
    connection.create_topic(&NewTopic::new(KEPT, QUEUES)).unwrap();
    let mut ledger = Ledger::new(KEPT, QUEUES, 1_000);
    ledger.send(&mut connection, 10_000).unwrap();
    let place = tempfile::tempdir().unwrap();
    let copies: Vec<_> = (0..COPIES).map(|n| place.path().join(format!("copy-{n}"))).collect();
    let enough = AtomicBool::new(false);
    let addr = broker.broker_addr();
    thread::scope(|scope| {
        let passing = scope.spawn(|| create_and_delete(addr, &enough));
        for (number, copy) in copies.iter().enumerate() {
            ledger.send(&mut connection, 2_000).unwrap();
            let sending = AtomicBool::new(true);
            thread::scope(|inner| {
                inner.spawn(|| send_beside(addr, &sending));
                let previous = copies.first().filter(|first| *first != copy);
                let previous = previous.map(PathBuf::as_path);
                let options = BackupOptions { previous, ..BackupOptions::default() };
                let data = broker.dir().join("data");
                let taken = backup(&data, copy, &options, &Progress::silent);
                sending.store(false, Ordering::Relaxed);
                let taken = taken.unwrap();
                assert!(taken.verified.is_clean(), "{}", taken.verified);
            });
            check(copy, &place.path().join(format!("data-{number}")), &ledger);
        }
        enough.store(true, Ordering::Relaxed);
        let rounds = passing.join().unwrap();
        assert!(rounds > 3, "{rounds} rounds of deletions in all");
    });
}

/// Sends what no one looks for, as load.
fn send_beside(addr: SocketAddr, sending: &AtomicBool) {
    let mut connection = connect(addr);
    let body = [b'x'; 1_000];
    while sending.load(Ordering::Relaxed) {
        match connection.send(&Message::new("beside", 0, &body)) {
            Ok(_) | Err(ClientError::Refused { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Makes the topic, sends some messages that name its round, deletes it. Returns the number of rounds.
fn create_and_delete(addr: SocketAddr, enough: &AtomicBool) -> u32 {
    let mut connection = connect(addr);
    let mut round = 0;
    while !enough.load(Ordering::Relaxed) {
        round += 1;
        connection.create_topic(&NewTopic::new(PASSING, QUEUES)).unwrap();
        for number in 0..40 {
            let body = round.to_string();
            connection.send(&Message::new(PASSING, number % QUEUES, body.as_bytes())).unwrap();
        }
        // Most copies see no deletion, some do.
        thread::sleep(Duration::from_millis(300));
        connection.delete_topic(PASSING).unwrap();
    }
    round
}

fn check(copy: &Path, data: &Path, ledger: &Ledger) {
    let restored = restore(copy, data, None, &Progress::silent).unwrap();
    assert!(restored.verified.is_clean(), "{}", restored.verified);
    let data = data.display().to_string();
    let keys = [KEYS.as_slice(), &[("storePathRootDir", data.as_str())]].concat();
    let broker = OurBroker::standalone(&keys);
    let mut connection = connect(broker.broker_addr());
    let read = ledger.read_back(&mut connection, "readers");
    let acked = ledger.acked() as u64;
    assert_eq!(read, ReadBack { found: acked, lost: 0, retired: 0 });
    let rounds = rounds_of(&mut connection);
    assert!(rounds.len() <= 1, "messages of deleted topics: {rounds:?}");
    // It goes on as any other broker.
    connection.send(&Message::new(KEPT, 0, b"more")).unwrap();
}

/// The rounds that messages of the passing topic name.
fn rounds_of(connection: &mut Connection) -> BTreeSet<Vec<u8>> {
    let mut rounds = BTreeSet::new();
    for queue in 0..QUEUES {
        let mut offset = match connection.min_offset(PASSING, queue) {
            Ok(min) => min,
            Err(_) => return rounds,
        };
        loop {
            let pulled = connection.pull(&PullRequest::new("readers", PASSING, queue, offset));
            let Ok(pulled) = pulled else { break };
            if pulled.status != PullStatus::Found {
                break;
            }
            offset = pulled.next_offset;
            rounds.extend(pulled.messages.into_iter().map(|message| message.body));
        }
    }
    rounds
}
