//! Whole stores: clean, counted, dumped record by record, and not changed by any of it.

use crate::written::{
    Messages, SHARDS, files, mqstore, mqstore_unread, now, open, settle, shard_dir, written,
};
use mqstore::{Progress, repair, verify};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};
use store::format;

#[test]
fn a_whole_store_is_clean_and_nothing_changes_it() {
    let (root, messages) = written();
    let before = files(root.path());
    let verified = verify(root.path(), None, None, &Progress::silent()).expect("looked at");
    assert!(verified.is_clean(), "{verified}");
    assert_eq!(verified.findings.iter().count(), 0, "{verified}");
    assert!(verified.messages >= messages.iter().map(|shard| shard.len() as u64).sum());
    assert!(verified.indexes >= 6 && verified.segments >= 8 && verified.config_files >= 6);
    let (code, text) = mqstore(&["verify"], root.path());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("no damage"), "{text}");
    for words in [&["dump"][..], &["stat"], &["stat", "--json"], &["verify", "--shard", "1"]] {
        assert_eq!(mqstore(words, root.path()).0, 0);
    }
    assert!(files(root.path()) == before, "looking changes nothing");
}

#[test]
fn what_is_no_store_cannot_be_looked_at() {
    let empty = tempfile::tempdir().expect("a directory");
    for words in [&["verify"][..], &["dump"], &["stat"], &["verify", "--repair"]] {
        assert_eq!(mqstore(words, empty.path()).0, 2);
        assert_eq!(mqstore(words, Path::new("/nowhere/at/all")).0, 2);
    }
    assert_eq!(fs::read_dir(empty.path()).expect("a directory").count(), 0, "left as it was");
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let used = group.iter().filter(|letter| **letter != b'=').count();
        let bits = group
            .iter()
            .take(used)
            .fold(0u32, |bits, letter| bits << 6 | u32::from(value(*letter)));
        let bits = bits << (6 * (4 - used));
        out.extend_from_slice(&bits.to_be_bytes()[1..used]);
    }
    out
}

#[test]
fn a_dump_has_every_record_with_its_bytes() {
    let (root, messages) = written();
    let (_, text) = mqstore(&["dump"], root.path());
    let mut dumped: BTreeMap<(u64, String, i64, i64), Value> = BTreeMap::new();
    for line in lines(&text) {
        let number = |name: &str| line[name].as_i64().expect("a number");
        let topic = line["topic"].as_str().expect("text").to_owned();
        let key = (number("shard") as u64, topic, number("queueId"), number("queueOffset"));
        dumped.insert(key, line);
    }
    for (shard, messages) in messages.iter().enumerate() {
        for ((topic, queue_id, offset), record) in messages {
            let key = (shard as u64, topic.clone(), i64::from(*queue_id), *offset);
            let line = dumped.get(&key).expect("every message is there");
            let view = proto::record::RecordView::parse(record).expect("ours");
            assert_eq!(line["physicalOffset"].as_i64(), Some(view.physical_offset()));
            assert_eq!(line["storeTimestamp"].as_i64(), Some(view.store_timestamp()));
            assert_eq!(decode_base64(line["body"].as_str().expect("a body")), view.body());
            let tags = proto::properties::get(view.properties_text(), proto::properties::TAGS);
            assert_eq!(line["properties"]["TAGS"].as_str(), tags);
        }
    }
    let filters = ["dump", "--topic", "orders", "--queue", "1", "--from-offset", "5", "--max", "3"];
    let offsets: Vec<_> = lines(&mqstore(&filters, root.path()).1)
        .iter()
        .map(|line| line["queueOffset"].as_i64())
        .collect();
    assert_eq!(offsets, [Some(5), Some(6), Some(7)]);
    let (_, text) = mqstore(&["dump", "--control", "--max", "100000"], root.path());
    assert!(text.contains("groupOffsets") && text.contains("topicRemoved"));
}

#[test]
fn counting_agrees_with_what_is_served() {
    let (root, messages) = written();
    let (_, text) = mqstore(&["stat", "--json"], root.path());
    let stat: Value = serde_json::from_str(&text).expect("JSON");
    let count = |topic: &str| -> u64 {
        let named =
            |shard: &Messages| shard.keys().filter(|(name, ..)| name == topic).count() as u64;
        messages.iter().map(named).sum()
    };
    for topic in stat["topics"].as_array().expect("a list") {
        let name = topic["topic"].as_str().expect("a name");
        assert_eq!(topic["messages"].as_u64(), Some(count(name)), "{name}");
    }
    assert_eq!(stat["shards"].as_array().map(Vec::len), Some(usize::from(SHARDS)));
    assert_eq!(stat["groups"][0]["group"].as_str(), Some("readers"));
    assert!(stat["groups"][0]["lag"].as_u64() > Some(0));
}

#[test]
fn a_repair_needs_the_lock_and_makes_index_files_again() {
    let (root, _) = written();
    let held = format::lock(root.path()).expect("nobody else");
    let (code, text) = mqstore(&["verify", "--repair"], root.path());
    assert_eq!(code, 2);
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert_eq!(mqstore(&["verify"], root.path()).0, 0, "looking needs no lock");
    drop(held);
    let segments = || -> Vec<Vec<u8>> {
        let files = files(root.path()).into_iter();
        files.filter(|(path, _)| path.extension().is_none()).map(|(_, bytes)| bytes).collect()
    };
    let before = segments();
    let index = shard_dir(root.path(), 0).join(format!("{:020}.index", 0));
    let mut bytes = fs::read(&index).expect("sealed");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&index, &bytes).expect("room");
    fs::write(shard_dir(root.path(), 1).join(format!("{:020}.index.tmp", 0)), b"x").expect("room");
    let missing = shard_dir(root.path(), 1).join(format!("{:020}.index", 0));
    fs::remove_file(&missing).expect("sealed");
    assert_eq!(mqstore(&["verify"], root.path()).0, 1);
    let repaired = repair(root.path(), None, None, &Progress::silent).expect("nobody else");
    assert!(repaired.after.is_clean(), "{}", repaired.after);
    assert!(!repaired.after.held, "the lock is our own");
    assert_eq!((repaired.rebuilt, repaired.removed), (2, vec![index]));
    let changed = before.iter().zip(segments()).filter(|(old, new)| *old != new).count();
    assert!(changed <= 1, "only the lock's text changes");
    for shard in 0..SHARDS {
        let (store, report) = open(root.path(), shard).expect("a start");
        assert_eq!((report.rebuilt_indexes, report.damaged_bytes), (0, 0));
        settle(&store);
        now(store.sync_now()).expect("a healthy disk");
    }
    assert_eq!(mqstore(&["verify"], root.path()).0, 0);
}

/// As with `mqstore ... | head`: it ends like other tools, by SIGPIPE, and says nothing.
#[test]
fn who_wants_no_more_is_left_in_peace() {
    let (root, _) = written();
    let root = root.path().to_str().expect("a plain path");
    let verify = ["verify", root];
    let (json, repair) = (["stat", root, "--json"], ["verify", root, "--repair"]);
    let (dump, stat) = (["dump", root], ["stat", root]);
    for words in [&verify[..], &dump, &stat, &json, &repair, &["--help"]] {
        let (signal, errors) = mqstore_unread(words);
        assert_eq!((signal, errors.as_str()), (Some(13), ""), "{words:?}");
    }
}
