//! `backup` and `restore`: a copy of a data directory, taken while the broker runs, that a broker could start from.
//!
//! What always holds: the copy is a state that a crash of the broker could have left at some moment between the beginning
//! and the end of the backup. All that was acknowledged before its beginning is in it. Logs are copied first, up to
//! where each is whole; then tables and journals, which name every topic that the logs have messages of. `backup.json` is written last, with a
//! checksum for each file; without it nothing is restored.

mod copy;
mod manifest;
mod restore;
mod shard;
mod tables;

pub use self::{
    manifest::{FileEntry, Manifest, ShardSpan},
    restore::{Restored, restore},
};

use self::{
    copy::{Copier, make_empty_dir, sync_names, write_durably},
    manifest::{MANIFEST, Previous},
    shard::ShardCopy,
    tables::SmallFile,
};
use crate::{
    data_dir::{DataDir, InspectError, io_at, now},
    file_disk::FileDisk,
    finding::{Findings, note},
    progress::Progress,
    verify::{Verified, verify},
};
use runtime::Disk;
use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use store::settings::Settings;

/// Rounds until no topic or group is deleted in the course of one.
const ROUNDS_MAX: usize = 20;

/// How a backup is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackupOptions<'a> {
    /// Where the log is if not in `commitlog` below the data directory.
    pub log_root: Option<&'a Path>,
    /// A backup of before, on the file system of the new one: its complete segments are linked instead of copied.
    pub previous: Option<&'a Path>,
    /// Bytes read a second; `None`: as fast as it goes.
    pub bytes_per_second: Option<u64>,
}

/// A backup that was taken.
#[derive(Debug)]
pub struct BackedUp {
    /// What it holds.
    pub manifest: Manifest,
    /// Bytes that were copied; the others were linked.
    pub copied_bytes: u64,
    /// What a look at the copy found.
    pub verified: Verified,
}

/// Copies the store below `root` into `target`, which is made or is empty, and verifies the copy.
pub fn backup(
    root: &Path,
    target: &Path,
    options: &BackupOptions<'_>,
    progress: &dyn Fn() -> Progress,
) -> Result<BackedUp, InspectError> {
    let mut findings = Findings::default();
    let dir = DataDir::open(root, options.log_root, None, &mut findings)?;
    let previous = options.previous.map(|old| Previous::open(old, &dir.format)).transpose()?;
    refuse_within(&dir, target)?;
    make_empty_dir(target)?;
    refuse_without_room(&dir, target, previous.is_some())?;
    let copying = progress();
    let mut copier = Copier::new(&copying, options.bytes_per_second);
    let settings: Vec<Settings> = dir.shards.iter().map(|shard| dir.settings(*shard)).collect();
    let copies = settings.iter().map(|of| ShardCopy::new(of, target, previous.as_ref()));
    let mut copies = copies.collect::<Result<Vec<_>, _>>()?;
    let mut manifest = Manifest::new(&dir.format);
    let files = copy_all(&dir, &mut copies, &mut copier, &mut manifest, &mut findings)?;
    copying.finish();
    for (path, bytes) in files {
        write_durably(&target.join(&path), &bytes)?;
        manifest.files.push(small_entry(path.to_string_lossy().into_owned(), &bytes));
    }
    manifest.files.extend(copies.iter().flat_map(ShardCopy::entries));
    sync_names(target)?;
    manifest.taken_at_ms = wall_ms();
    let text = serde_json::to_vec_pretty(&manifest).expect("plain structs are JSON");
    write_durably(&target.join(MANIFEST), &text)?;
    sync_names(target)?;
    let mut verified = verify(target, None, None, &progress())?;
    findings.iter().for_each(|found| verified.findings.push(found.clone()));
    Ok(BackedUp { manifest, copied_bytes: copier.bytes, verified })
}

/// Logs, then the small files that go with them, in one round without a deletion.
fn copy_all(
    dir: &DataDir,
    copies: &mut [ShardCopy<'_>],
    copier: &mut Copier<'_>,
    manifest: &mut Manifest,
    findings: &mut Findings,
) -> Result<Vec<SmallFile>, InspectError> {
    for round in 1..=ROUNDS_MAX {
        let before = tables::deletions(&dir.root)?;
        manifest.shards.clear();
        for copy in copies.iter_mut() {
            manifest.shards.push(now(copy.update(copier, findings))?);
        }
        let files = tables::read(&dir.root, &dir.log_root)?;
        if let Some(files) = files.filter(|_| tables::deletions(&dir.root).ok() == Some(before)) {
            if round > 1 {
                let what = format!("taken in {round} rounds: topics or groups were deleted");
                findings.push(note(&dir.root, None, what));
            }
            return Ok(files);
        }
    }
    let what = "topics or groups are deleted again and again; take the backup when nobody does";
    Err(InspectError::NoStore { path: dir.root.clone(), what })
}

pub(crate) fn small_entry(path: String, bytes: &[u8]) -> FileEntry {
    let (length, crc32c) = (bytes.len() as u64, crc32c::crc32c(bytes));
    FileEntry { path, bytes: length, written: length, crc32c, complete: false }
}

/// A copy below what is copied would never end.
fn refuse_within(dir: &DataDir, target: &Path) -> Result<(), InspectError> {
    let absolute = std::path::absolute(target).map_err(io_at(target))?;
    let existing = absolute.ancestors().find_map(|part| part.canonicalize().ok());
    for source in [&dir.root, &dir.log_root] {
        let source = source.canonicalize().map_err(io_at(source))?;
        if existing.as_ref().is_some_and(|existing| existing.starts_with(&source)) {
            let what = "lies in the data directory itself; nothing was written";
            return Err(InspectError::NoStore { path: target.to_owned(), what });
        }
    }
    Ok(())
}

/// A full disk is found before hours of copying. What is linked takes no room, so with a backup of before nobody knows.
fn refuse_without_room(dir: &DataDir, target: &Path, links: bool) -> Result<(), InspectError> {
    let free = now(FileDisk::read_only().usage(target)).map_err(io_at(target))?.free;
    let mut wanted = 0;
    for shard in &dir.shards {
        let place = dir.settings(*shard).dir;
        for entry in now(FileDisk::read_only().list(&place)).map_err(io_at(&place))? {
            let path = place.join(&entry.name);
            let blocks =
                fs::metadata(&path).map_or(0, |meta| std::os::unix::fs::MetadataExt::blocks(&meta));
            wanted += if entry.name.ends_with(".spare") { 0 } else { blocks * 512 };
        }
    }
    if links || wanted <= free {
        return Ok(());
    }
    let path = target.to_owned();
    Err(InspectError::NoRoom { path, wanted, free })
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
