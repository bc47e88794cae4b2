//! Copies of a store: whole, beside a writer that retires and recycles segments, linked to a copy of before, damaged.

use crate::written::{
    Messages, NOW, SHARDS, append, files, format, mqstore, now, open, served, settle, shard_dir,
    written,
};
use fastrand::Rng;
use mqstore::{BackupOptions, InspectError, Progress, backup, restore};
use std::{
    fs,
    future::ready,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use store::{consume_queue::ConsumeQueue, format};
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn back_up(root: &Path, target: &Path, previous: Option<&Path>) -> mqstore::BackedUp {
    let options = BackupOptions { previous, ..BackupOptions::default() };
    backup(root, target, &options, &Progress::silent).expect("a backup")
}

/// What a start from a restored copy serves, and the smallest offset of each queue.
fn restored(copy: &Path, shards: u16) -> (Messages, Vec<(String, u32, i64)>) {
    let place = dir();
    let root = place.path().join("data");
    let done = restore(copy, &root, None, &Progress::silent).expect("restored");
    assert!(done.verified.is_clean(), "{}", done.verified);
    let mut all = Messages::new();
    let mut smallest = Vec::new();
    for shard in 0..shards {
        let (store, _) = open(&root, shard).expect("a start");
        settle(&store);
        let (found, left_out) = served(&store);
        assert_eq!(left_out, 0);
        all.extend(found);
        for queue in 0..8 {
            let min = store.state().queue("orders", queue).map(ConsumeQueue::min);
            smallest.extend(min.map(|min| ("orders".to_owned(), queue, min)));
        }
    }
    (all, smallest)
}

#[test]
fn a_copy_is_the_store() {
    let (root, written) = written();
    let before = files(root.path());
    let place = dir();
    let copy = place.path().join("copies/monday");
    let taken = back_up(root.path(), &copy, None);
    assert!(taken.verified.is_clean(), "{}", taken.verified);
    assert_eq!(files(root.path()), before, "nothing is written where it was taken from");
    let (all, _) = restored(&copy, SHARDS);
    let expected: Messages = written.into_iter().flatten().collect();
    assert_eq!(all.len(), expected.len());
    assert!(all == expected);
}

#[test]
fn the_program_says_what_it_did() {
    let (root, _) = written();
    let place = dir();
    let (copy, new) = (place.path().join("copy"), place.path().join("new"));
    let (copy, new) = (copy.to_str().expect("text"), new.to_str().expect("text"));
    let (code, text) = mqstore(&["backup", copy, "--mib-per-second", "500"], root.path());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("no damage") && text.contains("shard 1: positions 0 to "), "{text}");
    let (code, text) = mqstore(&["backup", copy], root.path());
    assert!(code == 2 && text.contains("is not empty; nothing was written"), "{code}: {text}");
    let (code, text) = mqstore(&["restore", new], Path::new(copy));
    assert!(code == 0 && text.contains("can be started from"), "{code}: {text}");
    let (code, text) = mqstore(&["restore", new], Path::new(copy));
    assert!(code == 2 && text.contains("is not empty"), "{code}: {text}");
    let (code, text) = mqstore(&["restore", copy], root.path());
    assert!(code == 2 && text.contains("is no backup"), "{code}: {text}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let (root, _) = written();
    let place = dir();
    let within = root.path().join("commitlog/copy");
    let refused = backup(root.path(), &within, &BackupOptions::default(), &Progress::silent);
    assert!(refused.expect_err("within").to_string().contains("in the data directory itself"));
    assert!(!within.exists());
    let copy = place.path().join("copy");
    let options = BackupOptions { previous: Some(root.path()), ..BackupOptions::default() };
    let refused = backup(root.path(), &copy, &options, &Progress::silent);
    assert!(matches!(refused, Err(InspectError::NoStore { .. })), "{refused:?}");
    assert!(!copy.exists());
}

#[test]
fn a_backup_of_before_spares_what_it_has() {
    let (root, written) = written();
    let place = dir();
    let (monday, tuesday) = (place.path().join("monday"), place.path().join("tuesday"));
    let first = back_up(root.path(), &monday, None);
    let second = back_up(root.path(), &tuesday, Some(&monday));
    assert!(second.copied_bytes < first.copied_bytes / 2, "{}", second.copied_bytes);
    let segment = "commitlog/shard-000/00000000000000000000";
    let inode = |dir: &Path| fs::metadata(dir.join(segment)).expect("a segment").ino();
    assert_eq!(inode(&monday), inode(&tuesday));
    fs::remove_dir_all(&monday).expect("ours");
    let expected: Messages = written.into_iter().flatten().collect();
    assert!(restored(&tuesday, SHARDS).0 == expected);
    // One of another store has other messages under the same names.
    let mut other = format();
    other.store_id ^= 1;
    other.log_id ^= 1;
    let another = dir();
    format::read_or_create(another.path(), other).expect("room");
    let options = BackupOptions { previous: Some(&tuesday), ..BackupOptions::default() };
    let refused = backup(another.path(), &monday, &options, &Progress::silent);
    assert!(refused.expect_err("another").to_string().contains("of another store"));
}

#[test]
fn a_copy_that_changed_is_not_restored() {
    let (root, _) = written();
    let place = dir();
    let copy = place.path().join("copy");
    let taken = back_up(root.path(), &copy, None);
    for entry in taken.manifest.files.iter().filter(|entry| entry.written > 0) {
        let path = copy.join(&entry.path);
        let whole = fs::read(&path).expect("a file");
        let mut bytes = whole.clone();
        let middle = usize::try_from(entry.written / 2).expect("small");
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).expect("room");
        let new = place.path().join("new");
        let refused = restore(&copy, &new, None, &Progress::silent);
        let text = refused.expect_err("it changed").to_string();
        assert!(text.contains(&entry.path) || entry.path == "format.json", "{text}");
        assert!(!new.join("format.json").exists() || entry.path == "format.json");
        fs::write(&path, &whole).expect("room");
        let _ = fs::remove_dir_all(&new);
    }
}

/// What a writer has made durable, in order.
type Durable = Mutex<Messages>;

#[test]
fn a_copy_beside_a_writer_has_all_of_before() {
    let root = dir();
    let root = root.path();
    format::read_or_create(root, format::Format { shards: 1, ..format() }).expect("room");
    let durable = Durable::default();
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| write(root, &durable, &enough));
        let failed = take_copies(root, &durable);
        enough.store(true, Relaxed);
        if let Err(what) = failed {
            panic!("{what}");
        }
    });
}

fn write(root: &Path, durable: &Durable, enough: &AtomicBool) {
    let _lock = format::lock(root).expect("nobody else");
    let (store, _) = open(root, 0).expect("a new log");
    let mut rng = Rng::with_seed(2);
    let mut number = 0;
    while !enough.load(Relaxed) {
        let mut placed = Messages::new();
        for _ in 0..rng.u32(1..20) {
            let (place, record) = append(&store, "orders", rng.u32(0..4), number, &mut rng);
            placed.insert(place, record);
            number += 1;
        }
        let mut state = store.state_mut();
        state.derived.group_offsets.set("readers", "orders", 0, number as i64).expect("room");
        state.append_group_offsets(NOW).expect("room");
        drop(state);
        settle(&store);
        durable.lock().expect("whole").extend(placed);
        if fs::read_dir(shard_dir(root, 0)).expect("a directory").count() > 14 {
            now(store.retire_oldest(true, &|| ready(()))).expect("a healthy disk");
        }
    }
}

fn take_copies(root: &Path, durable: &Durable) -> Result<(), String> {
    while durable.lock().expect("whole").len() < 1_000 {
        thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    let mut copies = 0;
    let mut old: Option<TempDir> = None;
    while started.elapsed() < Duration::from_secs(4) || copies < 3 {
        let acked = durable.lock().expect("whole").clone();
        let copy = dir();
        let options =
            BackupOptions { previous: old.as_ref().map(TempDir::path), ..BackupOptions::default() };
        let taken = backup(root, copy.path(), &options, &Progress::silent);
        let taken = taken.map_err(|error| error.to_string())?;
        if !taken.verified.is_clean() {
            return Err(taken.verified.to_string());
        }
        let (found, smallest) = restored(copy.path(), 1);
        let mut there = 0;
        for ((topic, queue, offset), record) in acked {
            let min = smallest.iter().find(|(_, of, _)| *of == queue).map_or(0, |(_, _, min)| *min);
            match found.get(&(topic, queue, offset)) {
                Some(bytes) if *bytes == record => there += 1,
                None if offset < min => {}
                _ => return Err(format!("copy {copies}: {queue}/{offset} is not there")),
            }
        }
        if there == 0 {
            return Err("everything was retired".to_owned());
        }
        copies += 1;
        old = Some(copy);
    }
    Ok(())
}
