//! Names across power cuts, and what calls on names answer.

use std::{collections::BTreeSet, io::ErrorKind};

use super::*;
use crate::Entry;

fn names_after_crashes(disk: &SimDisk) -> BTreeSet<Vec<String>> {
    let names = |seed| {
        let files = disk.after_crash(seed).files();
        files.into_iter().map(|(path, _)| path.to_string_lossy().into_owned()).collect()
    };
    (0..SEEDS).map(names).collect()
}

fn sets(expected: &[&[&str]]) -> BTreeSet<Vec<String>> {
    expected.iter().map(|set| set.iter().map(|name| name.to_string()).collect()).collect()
}

#[test]
fn a_new_name_is_durable_after_the_sync_of_its_directory() {
    let disk = SimDisk::new(1);
    now(disk.create_dir_all(Path::new("/a/b"))).unwrap();
    let file = now(disk.open(&path("/a/b/x"), Open::Create { bytes: BLOCK })).unwrap();
    now(file.sync()).unwrap();
    assert_eq!(names_after_crashes(&disk), sets(&[&[], &["/a/b/x"]]));
    now(disk.sync_dir(Path::new("/a"))).unwrap();
    assert_eq!(names_after_crashes(&disk).len(), 2, "another directory's sync does not help");
    assert!(disk.durable_files().is_empty());
    now(disk.sync_dir(Path::new("/a/b"))).unwrap();
    assert_eq!(names_after_crashes(&disk), sets(&[&["/a/b/x"]]));
    assert_eq!(disk.durable_files(), [path("/a/b/x")]);
}

#[test]
fn changes_of_names_survive_as_a_prefix_or_each_for_itself() {
    let disk = SimDisk::new(1);
    for name in ["/1", "/2"] {
        now(disk.open(&path(name), Open::Create { bytes: 0 })).unwrap();
    }
    assert_eq!(names_after_crashes(&disk), sets(&[&[], &["/1"], &["/2"], &["/1", "/2"]]));
}

#[test]
fn a_rename_replaces_atomically() {
    let disk = SimDisk::new(1);
    now(disk.write_file(&path("/conf"), b"old")).unwrap();
    now(disk.sync_dir(Path::new("/"))).unwrap();
    now(disk.write_file(&path("/conf.tmp"), b"new")).unwrap();
    now(disk.rename(&path("/conf.tmp"), &path("/conf"))).unwrap();
    assert_eq!(now(disk.read_file(&path("/conf"))).unwrap(), b"new");
    let conf = |seed| disk.after_crash(seed).live_bytes(&path("/conf")).expect("never neither");
    let seen: BTreeSet<Vec<u8>> = (0..SEEDS).map(conf).collect();
    assert_eq!(seen, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
    now(disk.sync_dir(Path::new("/"))).unwrap();
    assert!((0..SEEDS).all(|seed| conf(seed) == b"new"));
    assert_eq!(names_after_crashes(&disk), sets(&[&["/conf"]]));
}

#[test]
fn a_file_moved_between_directories_always_has_a_name() {
    let disk = SimDisk::new(1);
    for dir in ["/a", "/b"] {
        now(disk.create_dir_all(Path::new(dir))).unwrap();
    }
    let file = now(disk.open(&path("/a/x"), Open::Create { bytes: BLOCK })).unwrap();
    now(file.sync()).unwrap();
    now(disk.sync_dir(Path::new("/a"))).unwrap();
    now(disk.rename(&path("/a/x"), &path("/b/y"))).unwrap();
    assert_eq!(names_after_crashes(&disk), sets(&[&["/a/x"], &["/b/y"]]));
    now(disk.sync_dir(Path::new("/b"))).unwrap();
    assert_eq!(names_after_crashes(&disk), sets(&[&["/b/y"]]));
}

#[test]
fn a_removed_name_may_come_back_with_its_content_until_the_directory_is_synced() {
    let (disk, log) = disk_with_log(1, 1);
    now(log.write_at(filled(&disk, 4, 1), 0)).unwrap();
    now(log.sync()).unwrap();
    now(log.close()).unwrap();
    now(disk.remove(&path("/d/log"))).unwrap();
    assert_eq!(disk.used_bytes(), 0);
    assert_eq!(names_after_crashes(&disk), sets(&[&[], &["/d/log"]]));
    let back = (0..SEEDS).filter_map(|seed| disk.after_crash(seed).live_bytes(&path("/d/log")));
    assert!(back.into_iter().all(|bytes| bytes == vec![4; BLOCK_BYTES]));
    now(disk.sync_dir(Path::new("/d"))).unwrap();
    assert_eq!(names_after_crashes(&disk), sets(&[&[]]));
    assert!(disk.state.borrow().files.is_empty(), "the content is forgotten");
}

#[test]
fn write_file_makes_content_durable_and_an_interrupted_one_anything_between() {
    let disk = SimDisk::new(1);
    let name = path("/offsets");
    let (old, new) = (vec![1; 1000], vec![2; 9000]);
    now(disk.write_file(&name, &old)).unwrap();
    assert_eq!(names_after_crashes(&disk), sets(&[&[], &["/offsets"]]), "not its name");
    now(disk.sync_dir(Path::new("/"))).unwrap();
    assert!((0..SEEDS).all(|seed| disk.after_crash(seed).live_bytes(&name).unwrap() == old));
    disk.crash_after(0);
    assert!(block_on(disk.write_file(&name, &new)).is_none());
    let (mut olds, mut news, mut cut, mut holes) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let found = disk.after_crash(seed).live_bytes(&name).unwrap();
        match () {
            () if found == old => olds += 1,
            () if found == new => news += 1,
            () if found.len() < new.len() && found.iter().all(|b| *b == 2) => cut += 1,
            () => {
                assert!(found.len() == new.len() && found.iter().all(|b| *b == 2 || *b == 0));
                holes += 1;
            }
        }
    }
    assert!(olds > 20 && news > 20 && cut > 20 && holes > 20, "{olds} {news} {cut} {holes}");
}

#[test]
fn names_answer_as_a_file_system_does() {
    let disk = SimDisk::new(1);
    let kind = |error: std::io::Error| error.kind();
    let create = Open::Create { bytes: BLOCK };
    assert_eq!(now(disk.list(Path::new("/d"))).map_err(kind), Err(ErrorKind::NotFound));
    let orphan = now(disk.open(&path("/d/x"), create)).map(|_| ()).map_err(kind);
    assert_eq!(orphan, Err(ErrorKind::NotFound));
    now(disk.create_dir_all(Path::new("/d/e"))).unwrap();
    now(disk.create_dir_all(Path::new("/d/e"))).unwrap();
    now(disk.open(&path("/d/x"), create)).unwrap();
    now(disk.write_file(&path("/d/a"), b"12345")).unwrap();
    now(disk.write_file(&path("/d/e/below"), b"1")).unwrap();
    let entry = |name: &str, bytes, is_dir| Entry { name: name.into(), bytes, is_dir };
    let expected = [entry("a", 5, false), entry("e", 0, true), entry("x", BLOCK, false)];
    assert_eq!(now(disk.list(Path::new("/d"))).unwrap(), expected);
    let taken = now(disk.open(&path("/d/x"), create)).map(|_| ()).map_err(kind);
    assert_eq!(taken, Err(ErrorKind::AlreadyExists));
    let missing = path("/d/y");
    let open = now(disk.open(&missing, Open::Read)).map(|_| ()).map_err(kind);
    assert_eq!(open, Err(ErrorKind::NotFound));
    assert_eq!(now(disk.remove(&missing)).map_err(kind), Err(ErrorKind::NotFound));
    assert_eq!(now(disk.read_file(&missing)).map_err(kind), Err(ErrorKind::NotFound));
    assert_eq!(now(disk.rename(&missing, &path("/d/z"))).map_err(kind), Err(ErrorKind::NotFound));
    now(disk.write_file(&path("/d/a"), b"1")).unwrap();
    assert_eq!(disk.files()[0], (path("/d/a"), 1));
}

#[test]
fn directories_are_durable_once_created() {
    let disk = SimDisk::new(1);
    now(disk.create_dir_all(Path::new("/a/b/c"))).unwrap();
    for seed in 0..20 {
        let boot = disk.after_crash(seed);
        assert_eq!(now(boot.list(Path::new("/a/b"))).unwrap().len(), 1);
    }
}
