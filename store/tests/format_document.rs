//! `FORMAT.md` says what the code writes. Each table of the document that has a name is read, and its offsets, sizes,
//! numbers and magic words are compared with the constants of the code or with an example that the code has encoded.

use proto::record::{MAGIC_V1, RecordFields};
use runtime::{
    Disk,
    sim::{SimDisk, block_on},
};
use std::{collections::BTreeMap, path::Path};
use store::{
    Layout,
    batch::{self, CONTROL_HEADER_BYTES, HEADER_BYTES, Header, Kind},
    consume_queue::Entry,
    format::{self, Format},
    index::{
        self, Head, Index, IndexWriter, Item, Key, Outline, Row, SectionKind, StateSection,
        sealed_path,
    },
    metadata::journal::Journal,
    replica_file,
    state::control,
};

const DOCUMENT: &str = include_str!("../FORMAT.md");

/// Cells of the rows of the table with this name.
fn table(name: &str) -> Vec<Vec<&'static str>> {
    let mark = format!("<!-- table: {name} -->");
    let (_, behind) = DOCUMENT.split_once(&mark).unwrap_or_else(|| panic!("no table {name}"));
    let lines = behind.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The table lists these fields of an encoded example in this order, without gaps, each with the bytes that it has
/// there. A field of the size `n` ends it; what follows has no fixed place. Returns the bytes of fields of fixed size.
fn check_fields(name: &str, example: &[u8], fields: &[(&str, &[u8])]) -> usize {
    let rows = table(name);
    let mut end = 0;
    let fixed = rows.iter().take_while(|row| row[1] != "n" && row[0] != "..");
    let fixed: Vec<_> = fixed.collect();
    let named: Vec<&str> = fixed.iter().map(|row| row[2]).collect();
    let wanted: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, wanted, "fields of the table {name}");
    for (row, (field, bytes)) in fixed.iter().zip(fields) {
        let number =
            |cell: &str| cell.parse::<usize>().unwrap_or_else(|_| panic!("{name}: {row:?}"));
        let (offset, size) = (number(row[0]), number(row[1]));
        assert_eq!((offset, size), (end, bytes.len()), "{name}: {field}");
        assert_eq!(&example[offset..offset + size], *bytes, "{name}: {field}");
        // A text in backquotes, and a number at the beginning, are the field's only value.
        let value = row.get(3).copied().unwrap_or_default();
        if let Some(text) = value.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
            assert_eq!(text.as_bytes(), *bytes, "{name}: {field}");
        } else if let Ok(constant) = value.parse::<i64>() {
            let stored = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            let negative = bytes[0] & 0x80 != 0 && constant < 0;
            let sign = if negative { u64::MAX << (8 * bytes.len() as u32) } else { 0 };
            assert_eq!((stored | sign) as i64, constant, "{name}: {field}");
        }
        end = offset + size;
    }
    if let Some(rest) = rows.get(fixed.len()) {
        assert_eq!(rest[0].parse(), Ok(end), "{name}: {rest:?}");
    }
    end
}

/// Numbers of kinds by name, and another cell of the row.
fn kinds(name: &str, cell: usize) -> BTreeMap<String, (u16, String)> {
    let row = |row: Vec<&str>| {
        let number = row[0].parse().unwrap_or_else(|_| panic!("{name}: {row:?}"));
        (row[1].to_owned(), (number, row[cell].to_owned()))
    };
    table(name).into_iter().map(row).collect()
}

#[test]
fn the_header_of_a_batch() {
    let header = Header {
        kind: Kind::SegmentEnd,
        payload_bytes: 7,
        position: 0x0102_0304_0506,
        durable_until: 0x0102_0304_0406,
        writer: 0x2021_2223_2425_2627,
        epoch: 0x0A0B_0C0D,
        entry_count: 0x0E0F,
        first_store_ms: 0x0111_1213_1415,
        last_store_ms: 0x0111_1213_1617,
        log_id: 0x1819_1A1B_1C1D_1E1F,
    };
    let bytes = header.encode((b"pay", b"load"));
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[12..]), b"payload");
    let fields: &[(&str, &[u8])] = &[
        ("magic", &batch::MAGIC),
        ("version", &batch::VERSION.to_be_bytes()),
        ("kind", &[0, 2]),
        ("crc", &crc.to_be_bytes()),
        ("payload bytes", &7u32.to_be_bytes()),
        ("position", &header.position.to_be_bytes()),
        ("log id", &header.log_id.to_be_bytes()),
        ("writer", &header.writer.to_be_bytes()),
        ("epoch", &header.epoch.to_be_bytes()),
        ("undurable", &0x100u32.to_be_bytes()),
        ("entry count", &header.entry_count.to_be_bytes()),
        ("last store ms", &0x202u32.to_be_bytes()),
        ("first store ms", &header.first_store_ms.to_be_bytes()),
    ];
    assert_eq!(check_fields("batch header", &bytes, fields), HEADER_BYTES);
}

#[test]
fn control_entries() {
    let mut bytes = vec![0; CONTROL_HEADER_BYTES + 3];
    batch::encode_control(&mut bytes, 0x0102, b"abc");
    let fields: &[(&str, &[u8])] =
        &[("bytes", &13u32.to_be_bytes()), ("magic", b"RQCT"), ("kind", &[1, 2])];
    assert_eq!(check_fields("control entry", &bytes, fields), CONTROL_HEADER_BYTES);

    let known = [
        ("group offsets", control::KIND_GROUP_OFFSETS),
        ("topic removed", control::KIND_TOPIC_REMOVED),
        ("group removed", control::KIND_GROUP_REMOVED),
        ("delivered", control::KIND_DELIVERED),
        ("cancelled", control::KIND_CANCELLED),
        ("carried", control::KIND_CARRIED),
        ("half ended", control::KIND_HALF_ENDED),
        ("half checked", control::KIND_HALF_CHECKED),
        ("offsets reset", control::KIND_OFFSETS_RESET),
        ("pop progress", control::KIND_POP_PROGRESS),
        ("epoch", control::KIND_EPOCH),
    ];
    let listed = kinds("control kinds", 2);
    assert_eq!(listed.len(), known.len());
    for (name, kind) in known {
        assert_eq!(listed.get(name).map(|(number, _)| *number), Some(kind), "{name}");
    }
    for kind in 0..=u16::MAX {
        let unknown = control::ControlEntry::decode(kind, &[0xff; 3])
            == Err(control::ControlError::Unknown { kind });
        let listed = listed.values().any(|(number, _)| *number == kind);
        assert_eq!(unknown, !listed, "kind {kind}");
    }
}

#[test]
fn a_record() {
    let fields = RecordFields {
        queue_id: 0x0102,
        flag: 0x0304,
        sys_flag: 0x01,
        born_timestamp: 0x0506_0708,
        born_host: "10.1.2.3:4660".parse().expect("an address"),
        store_host: "10.4.5.6:22136".parse().expect("an address"),
        reconsume_times: 0x0B0C,
        prepared_transaction_offset: 0x0D0E_0F10,
        body: b"body",
        topic: "topic",
        properties: [b"a\x01b\x02", b"", b""],
    };
    let mut bytes = vec![0; fields.encoded_len()];
    fields.encode_into(&mut bytes);
    let physical = store::PhysicalOffset::new(3, 0x11_1213).to_wire();
    proto::record::patch(&mut bytes, 0x1415, physical, 0x1617_1819);
    let body_crc = crc32fast_of(b"body") & 0x7FFF_FFFF;
    let expected: &[(&str, &[u8])] = &[
        ("total size", &(bytes.len() as u32).to_be_bytes()),
        ("magic", &MAGIC_V1.to_be_bytes()),
        ("body checksum", &body_crc.to_be_bytes()),
        ("queue id", &0x0102u32.to_be_bytes()),
        ("flag", &0x0304u32.to_be_bytes()),
        ("queue offset", &0x1415u64.to_be_bytes()),
        ("physical offset", &[0, 0x60, 0, 0, 0, 0x11, 0x12, 0x13]),
        ("sys flag", &1u32.to_be_bytes()),
        ("born timestamp", &0x0506_0708u64.to_be_bytes()),
        ("born host", &[10, 1, 2, 3, 0, 0, 0x12, 0x34]),
        ("store timestamp", &0x1617_1819u64.to_be_bytes()),
        ("store host", &[10, 4, 5, 6, 0, 0, 0x56, 0x78]),
        ("reconsume times", &0x0B0Cu32.to_be_bytes()),
        ("prepared transaction offset", &0x0D0E_0F10u64.to_be_bytes()),
        ("body length", &4u32.to_be_bytes()),
    ];
    let end = check_fields("record", &bytes, expected);
    let names: Vec<&str> = table("record").iter().skip(expected.len()).map(|row| row[2]).collect();
    let rest = ["body", "topic length", "topic", "properties length", "properties"];
    assert_eq!(names, rest);
    assert_eq!(bytes[end..], *b"body\x05topic\0\x04a\x01b\x02");
}

/// CRC-32 of the IEEE polynomial, bit by bit.
fn crc32fast_of(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

const LOG_ID: u64 = 0x2122_2324_2526_2728;
const SEGMENT: u64 = 3 << 30;

fn example() -> (Outline, Vec<Entry>, Vec<Key>) {
    let head = Head {
        shard: 0x0102,
        log_id: LOG_ID,
        segment: SEGMENT,
        from: SEGMENT,
        to: SEGMENT + 0x0304,
        epoch: 0x0506,
        first_store_ms: 0x0708,
        last_store_ms: 0x090A,
        clock_ms: 0x0B0C,
        messages: 1,
        next_number: 0x0D0E,
        influenced_by: SEGMENT + 0x0F10,
    };
    let (number, queue_id, last_store_ms) = (0x0D0D, 0x11, 0x1213);
    let row = Row { number, topic: 0, queue_id, count: 1, first: 0, next: 0x1415, last_store_ms };
    let state = |kind| StateSection { kind, pieces: vec![b"piece".to_vec()] };
    let states = SectionKind::ALL.into_iter().filter(|kind| kind.is_state());
    let states = states.map(state).collect();
    let outline = Outline { head, topics: vec!["name".into()], rows: vec![row], states };
    let entry = Entry::new(SEGMENT + 0x16, 0x17, 0x1819_1A1B_1C1D).with_check(0x1E1F);
    (outline, vec![entry], vec![Key { hash: 0x2021_2223, at: 0x24 }])
}

/// An index file as it lies on the disk.
fn index_file() -> Vec<u8> {
    let disk = SimDisk::new(1);
    let path = sealed_path(Path::new("/log"), SEGMENT);
    let write = async {
        disk.create_dir_all(Path::new("/log")).await.expect("a healthy disk");
        let (outline, entries, keys) = example();
        let mut writer =
            IndexWriter::create(&disk, &path, outline, 1).await.expect("a healthy disk");
        writer.entries(&entries).await.expect("a healthy disk");
        writer.keys(&keys).await.expect("a healthy disk");
        let index: Index<SimDisk> = writer.finish().await.expect("a healthy disk");
        index.close().await.expect("a healthy disk");
    };
    block_on(write).expect("power");
    disk.live_bytes(&path).expect("written")
}

#[test]
fn the_head_and_the_blocks_of_an_index_file() {
    let bytes = index_file();
    let (Outline { head, .. }, ..) = example();
    let first = &table("section kinds").len().to_be_bytes()[6..];
    let fields: &[(&str, &[u8])] = &[
        ("magic", b"RMQI"),
        ("version", &index::VERSION.to_be_bytes()),
        ("shard", &head.shard.to_be_bytes()),
        ("log id", &head.log_id.to_be_bytes()),
        ("segment", &head.segment.to_be_bytes()),
        ("from", &head.from.to_be_bytes()),
        ("to", &head.to.to_be_bytes()),
        ("epoch", &head.epoch.to_be_bytes()),
        ("next number", &head.next_number.to_be_bytes()),
        ("first store ms", &head.first_store_ms.to_be_bytes()),
        ("last store ms", &head.last_store_ms.to_be_bytes()),
        ("clock ms", &head.clock_ms.to_be_bytes()),
        ("messages", &head.messages.to_be_bytes()),
        ("influenced by", &head.influenced_by.to_be_bytes()),
        ("section count", first),
        ("zero", &[0; 6]),
        ("sections", &bytes[96..112]),
    ];
    assert_eq!(check_fields("index head", &bytes, fields), 112);

    for number in 0..bytes.len() / runtime::BLOCK_BYTES {
        let block = &bytes[number * runtime::BLOCK_BYTES..][..runtime::BLOCK_BYTES];
        let crc = crc32c::crc32c_append(crc32c::crc32c(&SEGMENT.to_be_bytes()), &block[..4_092]);
        let fields: &[(&str, &[u8])] = &[
            ("payload", &block[..4_080]),
            ("log id", &LOG_ID.to_be_bytes()),
            ("number", &(number as u32).to_be_bytes()),
            ("crc", &crc.to_be_bytes()),
        ];
        assert_eq!(check_fields("block", block, fields), runtime::BLOCK_BYTES);
    }
}

#[test]
fn sections_of_an_index_file() {
    let listed = kinds("section kinds", 2);
    assert_eq!(listed.len(), SectionKind::ALL.len());
    let name = |kind: SectionKind| match kind {
        SectionKind::Fences => "fences",
        SectionKind::Rows => "rows",
        SectionKind::Topics => "topics",
        SectionKind::Entries => "entries",
        SectionKind::Keys => "keys",
        SectionKind::GroupOffsets => "group offsets",
        SectionKind::Lineage => "lineage",
        SectionKind::Deferred => "deferred",
        SectionKind::HalfMessages => "half messages",
        SectionKind::OffsetResets => "offset resets",
        SectionKind::Popped => "popped",
    };
    for kind in SectionKind::ALL {
        let said = (kind.number(), kind.item_bytes().to_string());
        assert_eq!(listed.get(name(kind)), Some(&said), "{kind:?}");
        assert_eq!(kind.is_state(), kind.number() >= 32);
    }

    let bytes = index_file();
    let (_, entries, keys) = example();
    let mut row = [0; Row::BYTES];
    let (Outline { rows, .. }, ..) = example();
    rows[0].encode(&mut row);
    let (mut entry, mut key) = ([0; Entry::BYTES], [0; Key::BYTES]);
    entries[0].encode(&mut entry);
    keys[0].encode(&mut key);
    let content = |kind: SectionKind| match kind {
        SectionKind::Fences => rows[0].number.to_be_bytes().to_vec(),
        SectionKind::Rows => row.to_vec(),
        SectionKind::Topics => b"\0\x04name".to_vec(),
        SectionKind::Entries => entry.to_vec(),
        SectionKind::Keys => key.to_vec(),
        SectionKind::GroupOffsets
        | SectionKind::Lineage
        | SectionKind::Deferred
        | SectionKind::HalfMessages
        | SectionKind::OffsetResets
        | SectionKind::Popped => b"\0\0\0\x05piece".to_vec(),
    };
    let mut first = 1u32;
    for at in 0..SectionKind::ALL.len() {
        let section = &bytes[96 + at * 16..][..16];
        let number = u16::from_be_bytes([section[0], section[1]]);
        let kind = SectionKind::of(number).expect("a kind that is known");
        let content = content(kind);
        let count = (content.len() / kind.item_bytes()) as u64;
        let fields: &[(&str, &[u8])] = &[
            ("kind", &number.to_be_bytes()),
            ("item bytes", &(kind.item_bytes() as u16).to_be_bytes()),
            ("first block", &first.to_be_bytes()),
            ("count", &count.to_be_bytes()),
        ];
        assert_eq!(check_fields("section", section, fields), 16);
        let block = &bytes[first as usize * runtime::BLOCK_BYTES..];
        assert_eq!(block[..content.len()], content, "{kind:?}");
        assert!(block[content.len()..4_080].iter().all(|byte| *byte == 0), "{kind:?}");
        first += 1;
    }
    assert_eq!(bytes.len(), first as usize * runtime::BLOCK_BYTES);
}

#[test]
fn items_of_an_index_file() {
    let (Outline { rows, .. }, entries, keys) = example();
    let row = rows[0];
    let mut bytes = [0; Row::BYTES];
    row.encode(&mut bytes);
    let fields: &[(&str, &[u8])] = &[
        ("number", &row.number.to_be_bytes()),
        ("topic", &row.topic.to_be_bytes()),
        ("queue id", &row.queue_id.to_be_bytes()),
        ("count", &row.count.to_be_bytes()),
        ("first", &row.first.to_be_bytes()),
        ("next", &row.next.to_be_bytes()),
        ("last store ms", &row.last_store_ms.to_be_bytes()),
    ];
    assert_eq!(check_fields("row", &bytes, fields), Row::BYTES);

    let entry = entries[0];
    let mut bytes = [0; Entry::BYTES];
    entry.encode(&mut bytes);
    let check = u64::from(entry.check());
    let position = (check << 53 | entry.position()).to_be_bytes();
    let size = (u32::from(entry.check()) >> 11 << 27 | entry.bytes()).to_be_bytes();
    let fields: &[(&str, &[u8])] = &[
        ("position", &position),
        ("size", &size),
        ("tags code", &entry.tags_code().to_be_bytes()),
    ];
    assert_eq!(check_fields("entry", &bytes, fields), Entry::BYTES);

    let mut bytes = [0; Key::BYTES];
    keys[0].encode(&mut bytes);
    let fields: &[(&str, &[u8])] =
        &[("hash", &keys[0].hash.to_be_bytes()), ("at", &keys[0].at.to_be_bytes())];
    assert_eq!(check_fields("key", &bytes, fields), Key::BYTES);
}

#[test]
fn format_json_and_versions() {
    let (version, log_id) = (format::VERSION, 8u64);
    let layout = Layout::new(4_096, 16_384).expect("doubled twice");
    let format = Format { version, shards: 3, layout, store_id: 7, log_id };
    let text = format::text(&format);
    let members: Vec<&str> = table("format.json").iter().map(|row| row[0]).collect();
    let written: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    assert_eq!(written, members);
    let (facts, rest) = text.split_once(",\"crc32c\":").expect("a checksum");
    let (crc, rest) = rest.split_once(',').expect("more members");
    let crc: u32 = crc.parse().expect("a number");
    assert_eq!(crc32c::crc32c(format!("{facts}}}").as_bytes()), crc);
    let (_, own) = rest.split_once(",\"logIdCrc32c\":").expect("a checksum");
    let own_facts =
        [&crc.to_be_bytes()[..], &log_id.to_be_bytes(), &4_096u64.to_be_bytes()].concat();
    assert_eq!(crc32c::crc32c(&own_facts).to_string(), own.trim_end_matches('}'));

    let versions: BTreeMap<&str, &str> =
        table("versions").into_iter().map(|row| (row[0], row[1])).collect();
    let wanted = [
        ("data directory", format::VERSION.to_string()),
        ("batch", batch::VERSION.to_string()),
        ("index file", index::VERSION.to_string()),
    ];
    for (what, version) in &wanted {
        assert_eq!(versions.get(what), Some(&version.as_str()), "{what}");
    }
}

#[test]
fn a_slot_of_the_replica_file() {
    let slot = replica_file::Slot {
        shard: 0x0102,
        log_id: 0x0304,
        store_id: 0x0506,
        sequence: 0x0708,
        bounds: replica_file::Bounds { committed: 0x090A, durable: 0x0B0C, cut_to: None },
    };
    let mut block = vec![0; runtime::BLOCK_BYTES];
    slot.encode(&mut block);
    let crc = crc32c::crc32c(&block[..4_092]);
    let fields: &[(&str, &[u8])] = &[
        ("magic", b"RMQF"),
        ("version", &1u16.to_be_bytes()),
        ("shard", &slot.shard.to_be_bytes()),
        ("log id", &slot.log_id.to_be_bytes()),
        ("store id", &slot.store_id.to_be_bytes()),
        ("sequence", &slot.sequence.to_be_bytes()),
        ("committed", &slot.bounds.committed.to_be_bytes()),
        ("durable", &slot.bounds.durable.to_be_bytes()),
        ("cut to", &u64::MAX.to_be_bytes()),
        ("zero", &[0; 4_036]),
        ("crc", &crc.to_be_bytes()),
    ];
    assert_eq!(check_fields("replica", &block, fields), runtime::BLOCK_BYTES);
}

#[test]
fn a_record_of_the_journal() {
    let disk = SimDisk::new(1);
    let dir = Path::new("/config");
    let write = async {
        disk.create_dir_all(dir).await.expect("a healthy disk");
        let (mut journal, _) = Journal::open(disk.clone(), dir).await.expect("a healthy disk");
        journal.checkpoint(&[], &[], 8_192).await.expect("a healthy disk");
        journal.append(&[b"first".to_vec()]).await.expect("a healthy disk");
        journal.append(&[b"second one".to_vec()]).await.expect("a healthy disk");
    };
    block_on(write).expect("power");
    let name = "changes-0000000001.journal";
    assert!(DOCUMENT.contains("changes-0000000007.journal"), "the name has ten digits");
    let bytes = disk.live_bytes(&dir.join(name)).expect("written");
    // Behind the first record, whose content is filled up to 8 bytes.
    let second = &bytes[40..];
    let crc = crc32c::crc32c(&second[8..42]);
    let fields: &[(&str, &[u8])] = &[
        ("magic", b"RQF1"),
        ("crc", &crc.to_le_bytes()),
        ("bytes", &10u32.to_le_bytes()),
        ("number", &1u32.to_le_bytes()),
        ("durable", &1u32.to_le_bytes()),
        ("zero", &[0; 4]),
        ("generation", &1u64.to_le_bytes()),
    ];
    let end = check_fields("journal record, little-endian", second, fields);
    assert_eq!(second[end..end + 10], *b"second one");
}
