//! The end of positions: a log that comes near it refuses with a sentence, keeps what it has, and never dies of it.
//! Method: a store over a simulated disk whose only segment begins right before one of the limits.

use proto::record::RecordView;
use runtime::{
    Disk, DiskFile, Open,
    sim::{SimDisk, block_on},
};
use simulated::{now, record, settings};
use store::{
    PhysicalOffset, Refused, Store, StoreError,
    offset::{CONTROL_END, MESSAGES_END, POSITION_MAX, STARTS_END},
    read::{PullLimits, PullStatus},
    store_state::Append,
};

mod simulated;

const SEGMENT: u64 = 1 << 16;
const BODY: &[u8] = &[7; 900];

/// A disk on which the log begins this far before `limit`.
fn disk_before(limit: u64, bytes: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let settings = settings(SEGMENT);
    let start = limit - bytes;
    assert!(start.is_multiple_of(SEGMENT));
    now(block_on(async {
        disk.create_dir_all(&settings.dir).await.expect("room");
        let path = settings.segment_path(start);
        let file = disk.open(&path, Open::Create { bytes: SEGMENT }).await.expect("room");
        file.sync().await.expect("healthy");
        disk.sync_dir(&settings.dir).await.expect("healthy");
    }));
    disk
}

fn open(disk: &SimDisk) -> Result<Store<SimDisk>, StoreError> {
    now(block_on(Store::open(disk.clone(), settings(SEGMENT)))).map(|(store, _)| store)
}

/// Appends messages until one is refused.
fn fill(store: &Store<SimDisk>) -> (i64, Refused) {
    let (mut count, fields) = (0, record(0, BODY));
    let bytes = fields.encoded_len();
    loop {
        if let Err(refused) = store.state().admit(bytes, bytes) {
            return (count, refused);
        }
        let slot = store.state_mut().queue_slot("t", 0);
        let message = Append { slot, bytes, tags_code: 0, keys: &[] };
        store.state_mut().append(message, 1, |placed, out| {
            fields.encode_into(out);
            proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), 1);
        });
        count += 1;
        commit(store);
    }
}

fn commit(store: &Store<SimDisk>) {
    while now(block_on(store.commit_once())).expect("healthy") {}
    now(block_on(store.provide_wanted()));
}

#[test]
fn messages_end_first_and_offsets_go_on() {
    let disk = disk_before(MESSAGES_END, 2 * SEGMENT);
    let store = open(&disk).expect("it begins before the end");
    let (count, refused) = fill(&store);
    assert!(count > 100, "{count} messages");
    let Refused::PositionsUsedUp { shard: 2, position, limit } = refused else {
        panic!("{refused}");
    };
    assert!(position <= limit && limit == MESSAGES_END);
    assert!(refused.to_string().contains("reason=positions-used-up"), "{refused}");
    store.state_mut().derived.group_offsets.set("group", "t", 0, 9).expect("room");
    store.state_mut().append_group_offsets(1).expect("control entries go on");
    commit(&store);
    drop(store);
    let store = open(&disk).expect("it starts again");
    assert_eq!(store.state().derived.group_offsets.get("group", "t", 0), Some(9));
    let limits = PullLimits { offset: 0, count_max: 1, bytes_max: 1 << 20, scan_max: 8 };
    let plan = now(block_on(store.plan_pull_on_disk("t", 0, limits, |_| true))).expect("healthy");
    assert_eq!((plan.status, plan.max_offset), (PullStatus::Found, count));
    let piece = plan.pieces.first().expect("a message");
    assert!(piece.position() > MESSAGES_END - 2 * SEGMENT);
    let mut bytes = Vec::new();
    assert_eq!(now(block_on(store.read_cold(&plan.pieces, &mut bytes))).expect("healthy"), 0);
    let view = RecordView::parse(&bytes).expect("a record");
    let place = PhysicalOffset::from_wire(view.physical_offset()).expect("not negative");
    assert_eq!((place.shard(), place.position()), (2, piece.position()));
}

#[test]
fn control_entries_end_before_starts_do() {
    let disk = disk_before(CONTROL_END, SEGMENT);
    let store = open(&disk).expect("starts go on");
    assert!(matches!(fill(&store), (0, Refused::PositionsUsedUp { limit: MESSAGES_END, .. })));
    let refused = (0..10_000).find_map(|offset| {
        store.state_mut().derived.group_offsets.set("group", "t", 0, offset).expect("room");
        let refused = store.state_mut().append_group_offsets(1).err();
        commit(&store);
        refused
    });
    let limit = CONTROL_END;
    assert!(matches!(refused, Some(Refused::PositionsUsedUp { limit: l, .. }) if l == limit));
    drop(store);
    open(&disk).expect("it starts again");
}

#[test]
fn a_start_that_finds_no_position_is_refused() {
    let disk = disk_before(STARTS_END + SEGMENT, SEGMENT);
    let error = open(&disk).err().expect("no position is left");
    let expected = format!("reason=positions-used-up position={STARTS_END}");
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn a_file_with_an_impossible_name_is_refused() {
    let disk = disk_before((POSITION_MAX + 1).next_multiple_of(SEGMENT) + SEGMENT, SEGMENT);
    let error = open(&disk).err().expect("no segment begins there");
    assert!(error.to_string().contains("positions end at 9007199254740991"), "{error}");
}
