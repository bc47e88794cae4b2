//! Two stores of one log: what a follower takes, keeps, gives up and gets back.

use super::{tests::settings, *};
use crate::{NotAccepted, batch::HEADER_BYTES, lineage::EPOCH_ENTRY_BYTES, log::CommitRule};
use runtime::sim::{SimDisk, block_on};

/// Bytes of a start batch.
const START: u64 = (HEADER_BYTES + EPOCH_ENTRY_BYTES) as u64;
const FOLLOW: Opening = Opening { role: Role::Follower, end: None };

fn of(store_id: u64) -> Settings {
    Settings { store_id, ..settings() }
}

fn open(disk: &SimDisk, store_id: u64, opening: Opening) -> (Store<SimDisk>, Report) {
    let opening = Store::open_as(disk.clone(), of(store_id), opening);
    block_on(opening).expect("power").expect("a log")
}

/// Sets a group's offset in a batch of its own.
fn set(store: &Store<SimDisk>, offset: i64) {
    store.state_mut().derived.group_offsets.set("group", "topic", 0, offset).expect("room");
    store.state_mut().append_group_offsets(5).expect("room");
    write(store);
}

fn write(store: &Store<SimDisk>) {
    while block_on(store.commit_once()).expect("power").expect("a healthy disk") {}
}

fn offset(store: &Store<SimDisk>) -> Option<i64> {
    store.state().derived.group_offsets.get("group", "topic", 0)
}

fn end(store: &Store<SimDisk>) -> u64 {
    store.state().log.appended()
}

/// Everything that the leader has and the follower has not.
fn missing(leader: &Store<SimDisk>, follower: &Store<SimDisk>) -> Vec<u8> {
    let state = leader.state();
    let batches = state.log.cached_batches(end(follower), 1 << 20).expect("in the tail cache");
    [batches.bytes.0, batches.bytes.1].concat()
}

/// The follower catches up and commits all.
fn follow(leader: &Store<SimDisk>, follower: &Store<SimDisk>) {
    follower.accept(&missing(leader, follower)).expect("batches that fit");
    write(follower);
    follower.limit_commit(leader.state().log.committed());
    assert_eq!(end(follower), end(leader));
    assert_eq!(follower.state().log.committed(), leader.state().log.committed());
    assert_eq!(follower.state().lineage(), leader.state().lineage());
    follower.state().check();
}

fn flip(disk: &SimDisk, position: u64) {
    assert!(disk.flip_bit(&settings().segment_path(0), position, 0));
}

#[test]
fn a_follower_has_what_its_leader_committed_and_shows_no_more_after_a_restart() {
    let (disks, ids) = ([SimDisk::new(1), SimDisk::new(2)], [50, 60]);
    let (leader, _) = open(&disks[0], ids[0], Opening { role: Role::Leader, end: None });
    let (follower, report) = open(&disks[1], ids[1], FOLLOW);
    assert_eq!((end(&follower), report.scanned_bytes), (0, 0), "no start batch");
    set(&leader, 7);
    follow(&leader, &follower);
    assert_eq!(offset(&follower), Some(7));
    let committed = end(&follower);
    block_on(follower.note_bounds()).expect("power").expect("a healthy disk");
    set(&leader, 8);
    follower.accept(&missing(&leader, &follower)).expect("a batch that fits");
    write(&follower);
    drop(follower);
    let (follower, report) = open(&disks[1].after_crash(3), ids[1], FOLLOW);
    assert_eq!((end(&follower), report.lacking_bytes), (end(&leader), 0));
    assert_eq!(follower.state().log.committed(), committed);
    assert!(follower.limit_commit(u64::MAX));
    assert_eq!(offset(&follower), Some(8));
    assert_eq!(follower.state().lineage(), leader.state().lineage());
    assert!(follower.state_mut().remove_group("group", 5).is_err(), "it follows");
}

#[test]
fn only_a_batch_that_belongs_there_is_accepted() {
    let disks = [SimDisk::new(1), SimDisk::new(2)];
    let (leader, _) = open(&disks[0], 50, Opening { role: Role::Leader, end: None });
    let (follower, _) = open(&disks[1], 60, FOLLOW);
    let refused = |bytes: &[u8]| match follower.accept(bytes) {
        Err(NotAccepted::Unfit { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    set(&leader, 7);
    let bytes = missing(&leader, &follower);
    assert_eq!(refused(&bytes[START as usize..]), "no batch of this log that belongs here");
    assert_eq!(refused(&bytes[..70]), "a batch is cut");
    let mut rotten = bytes.clone();
    rotten[80] ^= 1;
    assert_eq!(refused(&rotten), "a batch fails its checksum");
    follow(&leader, &follower);
    // The same epoch of another writer, an older one, one without its beginning.
    let other = |epoch, writer| {
        let header = crate::batch::Header {
            kind: crate::batch::Kind::Entries,
            payload_bytes: 0,
            position: end(&follower),
            durable_until: 0,
            writer,
            epoch,
            entry_count: 0,
            first_store_ms: 0,
            last_store_ms: 0,
            log_id: settings().log_id,
        };
        header.encode((b"", b""))
    };
    assert_eq!(refused(&other(0, 50)), "a batch of an older epoch");
    assert_eq!(refused(&other(1, 51)), "another writer's epoch");
    assert_eq!(refused(&other(2, 50)), "an epoch does not begin with its start batch");
    assert!(matches!(leader.accept(&bytes), Err(NotAccepted::Leads { epoch: 1, .. })));
}

#[test]
fn what_others_say_of_their_disks_proves_nothing_here() {
    let disks = [SimDisk::new(1), SimDisk::new(2)];
    let (leader, _) = open(&disks[0], 50, Opening { role: Role::Leader, end: None });
    let (follower, _) = open(&disks[1], 60, FOLLOW);
    let mut ends = vec![];
    for offset in 1..=4 {
        set(&leader, offset);
        ends.push(end(&leader));
    }
    follow(&leader, &follower);
    drop(follower);
    flip(&disks[1], ends[1] + 70);
    let before = disks[1].snapshot();
    // Nothing says that it was durable here: a torn tail.
    let (follower, report) = open(&disks[1], 60, FOLLOW);
    assert_eq!((end(&follower), report.lacking_bytes, report.damaged_bytes), (ends[1], 0, 0));
    follow(&leader, &follower);
    assert_eq!(offset(&follower), Some(4));
    block_on(follower.note_bounds()).expect("power").expect("a healthy disk");
    drop(follower);
    // Now it is known to have been durable: it rotted.
    flip(&disks[1], ends[1] + 70);
    let (follower, report) = open(&disks[1], 60, FOLLOW);
    assert_eq!((end(&follower), report.lacking_bytes), (ends[1], ends[3] - ends[1]));
    drop(follower);
    let (follower, report) = open(&disks[1], 60, FOLLOW);
    assert_eq!(report.lacking_bytes, ends[3] - ends[1], "it does not forget");
    assert!(follower.begin_epoch(9, 5).is_err(), "it may not lead");
    follow(&leader, &follower);
    assert_eq!(follower.lacking(), None);
    follower.limit_commit(CommitRule::ALONE);
    follower.begin_epoch(9, 5).expect("it has all");
    write(&follower);
    assert_eq!(follower.state().log.committed(), ends[3] + START);
    // The same damage under a store that wrote the batches itself is damage.
    let (own, report) = open(&SimDisk::restore(&before), 50, FOLLOW);
    assert_eq!(report.damaged_bytes, ends[2] - ends[1]);
    own.limit_commit(CommitRule::ALONE);
    assert_eq!((offset(&own), report.damaged_from), (Some(4), Some(ends[1])));
}

/// A leader with one offset that its follower has and one that it has not; the follower leads on. Returns both disks and
/// where their histories part.
fn parted() -> ([SimDisk; 2], u64) {
    let disks = [SimDisk::new(1), SimDisk::new(2)];
    let (old, _) = open(&disks[0], 50, Opening { role: Role::Leader, end: None });
    let (new, _) = open(&disks[1], 60, FOLLOW);
    set(&old, 1);
    follow(&old, &new);
    set(&old, 2);
    set(&old, 3);
    new.limit_commit(CommitRule::ALONE);
    new.begin_epoch(2, 6).expect("it has all");
    set(&new, 4);
    let lineage = old.state().lineage().clone();
    let parted = lineage.common_end(end(&old), new.state().lineage(), end(&new));
    (disks, parted.expect("a common beginning"))
}

#[test]
fn a_deposed_leader_is_cut_where_the_histories_part_and_follows() {
    let (disks, parted) = parted();
    let (new, _) = open(&disks[1], 60, Opening { role: Role::Leader, end: None });
    let (old, _) = open(&disks[0], 50, FOLLOW);
    assert_eq!(old.state().log.epoch(), 1);
    drop(old);
    let (old, _) = open(&disks[0], 50, Opening { role: Role::Follower, end: Some(parted) });
    assert_eq!(end(&old), parted);
    follow(&new, &old);
    assert_eq!(offset(&old), Some(4));
    drop(old);
    let wrong = Opening { role: Role::Follower, end: Some(parted + 1) };
    let error = block_on(Store::open_as(disks[0].clone(), of(50), wrong)).expect("power").err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.ends_with("no batch ends there"), "{text}");
    assert_eq!(end(&open(&disks[0], 50, FOLLOW).0), end(&new), "and nothing was changed");
}

#[test]
fn a_cut_holds_at_each_crash_within_it() {
    let (disks, parted) = parted();
    let whole = disks[0].snapshot();
    let full = end(&open(&SimDisk::restore(&whole), 50, FOLLOW).0);
    for calls in 0.. {
        let disk = SimDisk::restore(&whole);
        disk.crash_after(calls);
        let cut = Opening { role: Role::Follower, end: Some(parted) };
        let opened = block_on(Store::open_as(disk.clone(), of(50), cut));
        if opened.is_some() {
            assert!(calls > 10, "each step is a call");
            break;
        }
        for seed in 0..8 {
            let after = disk.after_crash(seed);
            after.crash_after(u64::MAX / 2);
            let (store, report) = open(&after, 50, FOLLOW);
            let found = end(&store);
            assert!(found == full || found == parted, "{found} after {calls} calls");
            assert_eq!(report.damaged_bytes, 0, "what was cut is not damage");
            drop(store);
            let (store, _) = open(&after, 50, cut);
            assert_eq!(end(&store), parted);
        }
    }
}
