//! Which clock decides what: syncs are due by the monotonic clock, and retention does not take a wall clock that was set for
//! age, nor messages from the future for young ones for ever. Method: a store over a simulated disk, whose two clocks move
//! apart as the tests say.

use runtime::sim::{SimDisk, Stepper, block_on};
use simulated::{now, record, settings};
use std::{
    future::{Future, ready},
    pin::pin,
    rc::Rc,
    task::{Context, Waker},
};
use store::{FlushPolicy, Settings, Store, retention::Policy, store_state::Append};

mod simulated;

const SEGMENT: u64 = 1 << 16;
const HOUR: i64 = 3_600_000;
const YEAR: i64 = 365 * 24 * HOUR;
const BY_AGE: Policy = Policy {
    reserved_ms: HOUR,
    used_max_percent: 100,
    forcible_percent: 100,
    closed_percent: 100,
    forcibly: false,
};

struct Fixture {
    disk: SimDisk,
    store: Rc<Store<SimDisk>>,
    stepper: Stepper,
    rng: fastrand::Rng,
}

impl Fixture {
    fn open(disk: &SimDisk, settings: Settings) -> Fixture {
        let opened = now(block_on(Store::open(disk.clone(), settings)));
        let store = Rc::new(opened.expect("a healthy disk").0);
        store.watch_clock(disk.clock().now());
        let mut stepper = Stepper::new();
        let indexing = Rc::clone(&store);
        stepper.spawn("index loop", async move { indexing.index_loop(|| ready(())).await });
        Fixture { disk: disk.clone(), store, stepper, rng: fastrand::Rng::with_seed(1) }
    }

    fn again(&self) -> Fixture {
        Fixture::open(&self.disk, self.store.settings().clone())
    }

    fn append(&self) {
        let fields = record(0, &[7; 4_000]);
        let (bytes, ms) = (fields.encoded_len(), self.disk.clock().now());
        let slot = self.store.state_mut().queue_slot("t", 0);
        let message = Append { slot, bytes, tags_code: 0, keys: &[] };
        self.store.state_mut().append(message, ms, |placed, out| {
            fields.encode_into(out);
            proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), ms);
        });
    }

    /// Fills so many segments and writes their index files.
    fn fill(&mut self, segments: u64) {
        let end = self.store.extent().end + segments * SEGMENT;
        while self.store.extent().end < end {
            self.append();
            while now(block_on(self.store.commit_once())).expect("a healthy disk") {}
            now(block_on(self.store.provide_wanted()));
            self.stepper.run_until_idle(&mut self.rng);
        }
    }

    /// Lets go of what is old by now; returns where the log begins then.
    fn retain(&self) -> u64 {
        let pause = || ready(());
        let wall = self.disk.clock().now();
        let usage = now(block_on(self.store.usage())).expect("healthy");
        while now(block_on(self.store.retain(&BY_AGE, usage, 0, wall, true, &pause)))
            .expect("healthy")
        {}
        self.store.extent().begin
    }

    fn pass(&self, ms: i64) {
        self.disk.clock().advance_micros(u64::try_from(ms).expect("time passes") * 1_000);
    }
}

#[test]
fn a_clock_that_is_set_makes_nothing_old() {
    let mut fixture = Fixture::open(&SimDisk::new(1), settings(SEGMENT));
    fixture.fill(4);
    let begin = fixture.store.extent().begin;
    fixture.disk.clock().jump(100 * HOUR);
    assert_eq!(fixture.retain(), begin);
    assert!(fixture.store.doubts_clock());
    fixture.fill(1);
    fixture.disk.clock().jump(-100 * HOUR);
    assert_eq!(fixture.retain(), begin);
    assert!(!fixture.store.doubts_clock());
    fixture.pass(HOUR + 1_000 + 1);
    assert!(fixture.retain() > begin, "they are old by now");
}

#[test]
fn a_clock_that_stays_ahead_is_believed_when_everything_is_as_old_as_it_must_be() {
    let mut fixture = Fixture::open(&SimDisk::new(1), settings(SEGMENT));
    fixture.fill(3);
    let begin = fixture.store.extent().begin;
    fixture.disk.clock().jump(100 * HOUR);
    assert_eq!(fixture.retain(), begin);
    fixture.pass(HOUR - 1);
    assert_eq!(fixture.retain(), begin);
    fixture.pass(1);
    assert!(fixture.retain() > begin);
}

#[test]
fn a_start_two_years_ahead_deletes_nothing_and_what_it_stored_goes_in_its_time() {
    let disk = SimDisk::new(1);
    let mut fixture = Fixture::open(&disk, settings(SEGMENT));
    fixture.fill(2);
    let begin = fixture.store.extent().begin;
    disk.clock().jump(2 * YEAR);
    fixture = fixture.again();
    assert_eq!(fixture.retain(), begin);
    assert!(fixture.store.doubts_clock());
    fixture.fill(3);
    let from_the_future = fixture.store.extent().end;
    assert_eq!(fixture.retain(), begin);
    disk.clock().jump(-2 * YEAR);
    assert_eq!(fixture.retain(), begin);
    assert!(!fixture.store.doubts_clock());
    fixture.fill(2);
    fixture.pass(HOUR / 2);
    assert_eq!(fixture.retain(), begin, "nothing is old");
    fixture = fixture.again();
    fixture.pass(HOUR);
    assert!(fixture.retain() >= from_the_future - SEGMENT, "as old as what was stored behind it");
}

#[test]
fn messages_from_the_future_that_nothing_follows_are_as_old_as_the_notice_of_them() {
    let disk = SimDisk::new(1);
    disk.clock().jump(2 * YEAR);
    let mut fixture = Fixture::open(&disk, settings(SEGMENT));
    fixture.fill(4);
    let begin = fixture.store.extent().begin;
    disk.clock().jump(-2 * YEAR);
    assert_eq!(fixture.retain(), begin);
    fixture.pass(HOUR);
    assert_eq!(fixture.retain(), begin);
    fixture.pass(1);
    assert!(fixture.retain() >= fixture.store.extent().end - 2 * SEGMENT);
}

#[test]
fn a_sync_is_due_by_the_monotonic_clock_and_one_at_a_time() {
    let flush = FlushPolicy::Async { interval_ms: 500 };
    let disk = SimDisk::new(1);
    let fixture = Fixture::open(&disk, Settings { flush, ..settings(SEGMENT) });
    assert!(!fixture.store.is_sync_due(), "nothing was written");
    fixture.append();
    while now(block_on(fixture.store.commit_once())).expect("a healthy disk") {}
    assert!(!fixture.store.is_sync_due());
    disk.clock().jump(-HOUR);
    disk.clock().jump(3 * HOUR);
    assert!(!fixture.store.is_sync_due(), "the wall clock says nothing");
    fixture.pass(500);
    assert!(fixture.store.is_sync_due());
    let flushed = || fixture.store.state().log.flushed();
    let before = flushed();
    let mut syncing = pin!(fixture.store.sync_if_due());
    let mut context = Context::from_waker(Waker::noop());
    assert!(syncing.as_mut().poll(&mut context).is_pending(), "the disk takes its time");
    assert!(!fixture.store.is_sync_due(), "one is under way: nobody is woken for it");
    assert_eq!(flushed(), before);
    fixture.append();
    while syncing.as_mut().poll(&mut context).is_pending() {}
    assert!(flushed() > before);
}

/// The policy changes while bytes are on their way: what was written without a sync counts as safe under SYNC_FLUSH only when
/// it is durable, and then at once; nothing that counted goes back.
#[test]
fn the_flush_policy_changes_under_messages() {
    let disk = SimDisk::new(1);
    let fixture = Fixture::open(&disk, settings(SEGMENT));
    let store = &fixture.store;
    let ends = || (store.state().log.committed(), store.state().log.flushed());
    let write = || while now(block_on(store.commit_once())).expect("a healthy disk") {};
    fixture.append();
    write();
    let (committed, flushed) = ends();
    assert_eq!(committed, flushed, "SYNC_FLUSH");

    store.set_flush_policy(FlushPolicy::Async { interval_ms: 500 });
    fixture.append();
    write();
    let (written, still_flushed) = ends();
    assert!(written > committed, "it counts when it is written");
    assert_eq!((still_flushed, store.has_unsynced()), (flushed, true));
    assert!(!store.is_sync_due());

    store.set_flush_policy(FlushPolicy::Sync);
    assert_eq!(ends(), (written, flushed), "nothing goes back");
    assert!(store.is_sync_due(), "what was written before is to be durable now");
    assert!(!now(block_on(store.sync_if_due())).expect("a healthy disk"), "it counted before");
    assert_eq!(ends(), (written, written));
    assert!(!store.has_unsynced() && !store.is_sync_due());

    // A write that was begun under the other policy.
    store.set_flush_policy(FlushPolicy::Async { interval_ms: 500 });
    fixture.append();
    let mut context = Context::from_waker(Waker::noop());
    let mut writing = pin!(store.commit_once());
    assert!(writing.as_mut().poll(&mut context).is_pending(), "the disk takes its time");
    store.set_flush_policy(FlushPolicy::Sync);
    while writing.as_mut().poll(&mut context).is_pending() {}
    assert_eq!(ends(), (written, written), "it is written, and not durable");
    assert!(store.is_sync_due());
    assert!(now(block_on(store.sync_if_due())).expect("a healthy disk"), "it counts now");
    let (committed, flushed) = ends();
    assert!(committed > written && committed == flushed);

    // The next write takes along what was left by the time before.
    store.set_flush_policy(FlushPolicy::Async { interval_ms: 500 });
    fixture.append();
    write();
    store.set_flush_policy(FlushPolicy::Sync);
    fixture.append();
    write();
    let (committed, flushed) = ends();
    assert_eq!((committed, store.has_unsynced()), (flushed, false));
    assert_eq!(committed, store.state().log.appended());
}
