//! One bit flipped in each kind of place: what `mqstore verify` says, and what a start and reads do afterwards. Nothing
//! that was not written is ever served; what is lost is named.

use crate::written::{
    Messages, SEGMENT, SHARDS, files, format, mqstore, now, open, restore, served, shard_dir,
    written,
};
use mqstore::FileDisk;
use proto::record::RecordView;
use runtime::durable_file;
use std::{
    fs,
    path::{Path, PathBuf},
};
use store::{
    batch::{Entries, Entry, HEADER_BYTES, Header, Kind},
    format::read_or_create,
    metadata::journal::Journal,
};

/// Where a bit is flipped, and what is expected of it.
struct Case {
    name: &'static str,
    path: PathBuf,
    byte: usize,
    /// Exit code of `verify`.
    code: i32,
    /// A word of what it says.
    says: &'static str,
    /// Whether messages may be lost.
    loses: bool,
}

/// Batches of a segment: where they begin, and what they are.
fn batches(root: &Path, shard: u16, segment: u64) -> Vec<(usize, Header)> {
    let bytes = fs::read(segment_path(root, shard, segment)).expect("a segment");
    let (mut found, mut at) = (Vec::new(), 0);
    let log_id = format().log_id(shard);
    while let Ok(header) = Header::decode(&bytes[at..], segment + at as u64, log_id) {
        found.push((at, header));
        if header.kind == Kind::SegmentEnd {
            break;
        }
        at = (header.end() - segment) as usize;
    }
    found
}

fn segment_path(root: &Path, shard: u16, segment: u64) -> PathBuf {
    shard_dir(root, shard).join(format!("{segment:020}"))
}

/// Where a record of the first batches lies in its segment, and its bytes.
fn a_record(root: &Path, segment: u64) -> (usize, Vec<u8>) {
    let bytes = fs::read(segment_path(root, 0, segment)).expect("a segment");
    for (at, header) in batches(root, 0, segment).iter().skip(3) {
        let payload = &bytes[at + HEADER_BYTES..][..header.payload_bytes as usize];
        for entry in Entries::new(payload, segment + *at as u64).flatten() {
            if let Entry::Record { position, bytes } = entry
                && bytes.len() > 400
                && RecordView::parse(bytes).is_ok_and(|view| view.topic() == "orders")
            {
                return ((position - segment) as usize, bytes.to_vec());
            }
        }
    }
    unreachable!("a segment has a large record")
}

fn a_control_entry(root: &Path) -> usize {
    let bytes = fs::read(segment_path(root, 0, 0)).expect("a segment");
    for (at, header) in batches(root, 0, 0).iter().skip(3) {
        let payload = &bytes[at + HEADER_BYTES..][..header.payload_bytes as usize];
        for entry in Entries::new(payload, *at as u64).flatten() {
            if let Entry::Control { content, .. } = entry {
                return content.as_ptr() as usize - bytes.as_ptr() as usize + 5;
            }
        }
    }
    unreachable!("a segment has offsets of groups")
}

fn log_cases(root: &Path) -> Vec<Case> {
    let case = |name, segment: u64, byte, says, loses| {
        let path = segment_path(root, 0, segment);
        Case { name, path, byte, code: 1, says, loses }
    };
    let header = batches(root, 0, 0)[5].0;
    let (record, bytes) = a_record(root, SEGMENT);
    let (tail, tail_bytes) = a_record(root, 3 * SEGMENT);
    let ends = batches(root, 0, 2 * SEGMENT);
    let last = batches(root, 0, 3 * SEGMENT);
    let (end, _) = *last.last().expect("the start's batch");
    let damage = "not what was written";
    let mut cases = vec![
        case("batch header, magic", 0, header + 1, damage, true),
        case("batch header, checksum", 0, header + 9, damage, true),
        case("batch header, length", 0, header + 14, damage, true),
        case("batch header, epoch", 0, header + 35, damage, true),
        case("record, body", SEGMENT, record + 100, damage, true),
        case("record, properties", SEGMENT, record + bytes.len() - 3, damage, true),
        case("record, queue offset", SEGMENT, record + 27, damage, true),
        case("control entry (group offsets)", 0, a_control_entry(root), damage, true),
        case("mark of a segment's end", 2 * SEGMENT, ends[ends.len() - 1].0 + 9, damage, false),
        case(
            "record behind all index files",
            3 * SEGMENT,
            tail + tail_bytes.len() / 2,
            damage,
            true,
        ),
    ];
    let quiet = |name, byte, says| Case { code: 0, ..case(name, 3 * SEGMENT, byte, says, false) };
    cases.push(quiet("last batch of the log", end + 9, "not whole"));
    cases.push(quiet("zeros behind the end, next block", end + 9_000, "not zero"));
    cases.push(quiet("zeros behind the end, far", SEGMENT as usize - 5, "not zero"));
    cases
}

fn index_cases(root: &Path) -> Vec<Case> {
    let sealed = shard_dir(root, 0).join(format!("{SEGMENT:020}.index"));
    let bytes = fs::read(&sealed).expect("sealed");
    let block = |section: usize| {
        let at = 96 + section * 16 + 4;
        u32::from_be_bytes(*bytes[at..].first_chunk().expect("a head")) as usize * 4096
    };
    let case = |name, byte| {
        let says = "no message: the segment holds";
        Case { name, path: sealed.clone(), byte, code: 1, says, loses: false }
    };
    let mut cases = vec![case("index, head", 33), case("index, unused part of the head", 3_000)];
    let names = [
        "index, fence",
        "index, row",
        "index, topic",
        "index, group offset",
        "index, entry",
        "index, key",
    ];
    cases.extend(names.iter().enumerate().map(|(section, name)| case(name, block(section) + 5)));
    let last = fs::read_dir(shard_dir(root, 0)).expect("a directory").flatten();
    let run =
        last.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "run"));
    if let Some(path) = run {
        cases.push(Case { path, ..case("run of the newest segment, entry", 4_096 * 4 + 5) });
    }
    cases
}

fn config_cases(root: &Path) -> Vec<Case> {
    let config = root.join("config");
    let case =
        |name, path: PathBuf, byte, code, says| Case { name, path, byte, code, says, loses: false };
    let journal = config.join("changes-0000000002.journal");
    let older = config.join("changes-0000000001.journal");
    let text = fs::read_to_string(root.join("format.json")).expect("a file");
    let of = |word: &str| text.find(word).expect("a field") + word.len();
    let format = root.join("format.json");
    vec![
        case(
            "topics.json, structure",
            config.join("topics.json"),
            0,
            1,
            "the broker reads the backup",
        ),
        case("topics.json, within a name", config.join("topics.json"), 4, 0, "no damage"),
        case("topics.json.bak, structure", config.join("topics.json.bak"), 0, 1, "replaced when"),
        case(
            "subscriptionGroup.json, structure",
            config.join("subscriptionGroup.json"),
            1,
            1,
            "backup",
        ),
        case(
            "a table without backup",
            config.join("consumerFilter.json"),
            0,
            1,
            "refuses to start",
        ),
        case("newest journal, first change", journal.clone(), 40, 1, "1 changes"),
        case("newest journal, last change", journal, 2 * 72 + 40, 0, "not whole"),
        case("older journal, first change", older, 40, 1, "nothing while"),
        case("format.json, structure", format.clone(), 0, 1, "write {"),
        case("format.json, store id", format.clone(), of("\"storeId\":"), 1, "write {"),
        case("format.json, shards", format.clone(), of("\"shards\":"), 1, "write {"),
        case("format.json, segment bytes", format, of("\"segmentBytes\":") + 1, 1, "write {"),
    ]
}

/// What a start and reads do about it.
fn start(root: &Path, messages: &[Messages], case: &Case) -> String {
    let mut seen = Vec::new();
    for name in ["topics.json", "subscriptionGroup.json", "consumerFilter.json"] {
        let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
        match now(durable_file::read(&FileDisk::writable(), &root.join("config").join(name), parse))
        {
            Ok(Some(loaded)) if loaded.from_backup => seen.push(format!("{name} from its backup")),
            Ok(_) => {}
            Err(_) => seen.push(format!("refuses to start over {name}")),
        }
    }
    let (_, found) = now(Journal::open(FileDisk::writable(), &root.join("config"))).expect("opens");
    if found.lost > 0 {
        seen.push(format!("{} changes of facts reported as lost", found.lost));
    }
    match read_or_create(root, format()) {
        Err(_) => return "refuses to start: format.json cannot be read".to_owned(),
        Ok(read) => assert_eq!(read, format(), "{}: a wrong format is believed", case.name),
    }
    let (mut lost, mut cut, mut damaged, mut rebuilt) = (0, 0, 0, 0);
    for shard in 0..SHARDS {
        let (store, report) = open(root, shard).expect("a start");
        (cut, damaged) = (cut + report.cut_bytes, damaged + report.damaged_bytes);
        let written = &messages[usize::from(shard)];
        let (found, _) = served(&store);
        for (place, record) in &found {
            assert!(written.get(place).is_none_or(|old| old == record), "{}: {place:?}", case.name);
        }
        lost += written.keys().filter(|place| !found.contains_key(*place)).count();
        rebuilt += report.rebuilt_indexes + store.tally().rebuilt_indexes.get();
    }
    assert!(case.loses || lost == 0, "{}: {lost} messages are lost", case.name);
    if damaged > 0 {
        seen.push(format!("steps over {damaged} bytes"));
    }
    if cut > 0 {
        seen.push(format!("cuts {cut} bytes"));
    }
    if rebuilt > 0 {
        seen.push(format!("makes {rebuilt} index files again"));
    }
    seen.push(if lost == 0 { "serves all".to_owned() } else { format!("serves all but {lost}") });
    seen.join("; ")
}

/// Run with `--nocapture` for the table.
#[test]
fn one_flipped_bit_is_named_and_nothing_wrong_is_served() {
    let (root, messages) = written();
    let root = root.path();
    let before = files(root);
    let mut cases = log_cases(root);
    cases.extend(index_cases(root));
    cases.extend(config_cases(root));
    println!("| bit flipped in | exit | verify | start and reads |\n|---|---|---|---|");
    let mut wrong = Vec::new();
    for case in &cases {
        let mut bytes = fs::read(&case.path).expect("a file");
        bytes[case.byte] ^= 1;
        fs::write(&case.path, &bytes).expect("room");
        let (code, text) = mqstore(&["verify"], root);
        if code != case.code || !text.contains(case.says) {
            wrong.push(format!("{}: exit {code}, not {}: {text}", case.name, case.code));
        }
        let costs = text.lines().find_map(|line| line.trim().strip_prefix("costs: "));
        let costs = costs.unwrap_or("-");
        println!("| {} | {code} | {costs} | {} |", case.name, start(root, &messages, case));
        restore(root, &before);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
