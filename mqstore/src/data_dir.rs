//! The data directory as a tool finds it: its format, its shards, who holds it.
//!
//! Nothing here takes the lock or creates a file. When `format.json` cannot be read, or contradicts the log, what it must
//! have said is read from the segments: their length, their headers, the number of their directories.

use crate::{
    file_disk::{FileDisk, PlainFile},
    finding::{Findings, damage, note},
};
use runtime::{BLOCK_BYTES, Disk, Open, sim::block_on};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    rc::Rc,
};
use store::{
    batch::{HEADER_BYTES, Header},
    format::{self, Format, VERSION, text},
    layout::{Layout, USUAL_SEGMENT_BYTES},
    offset::{POSITION_MAX, SHARDS_MAX},
    replica_file::{REPLICA_FILE, Slot},
    segments::segment_start,
    settings::{FlushPolicy, Settings},
};

/// Largest record that the witness rule reckons with, bytes: the broker's default.
const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;

/// Open segments by the position that they start at.
pub(crate) type Segments = BTreeMap<u64, Rc<PlainFile>>;

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The operating system refused something.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no store, or nothing tells how it was formatted.
    #[error("{path}: {what}", path = path.display())]
    NoStore {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// A copy would not fit.
    #[error("{path}: {wanted} bytes are to be copied, {free} are free; nothing was written", path = path.display())]
    NoRoom {
        /// Where to.
        path: PathBuf,
        /// Bytes of the copy.
        wanted: u64,
        /// Bytes that are free there.
        free: u64,
    },
    /// A repair while a broker runs, or one that the store's own code refused.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> InspectError {
    let path = path.to_owned();
    move |source| InspectError::Io { path, source }
}

/// The directory that `storePathRootDir` names, or one whose log lies elsewhere.
#[derive(Clone, Debug)]
pub struct DataDir {
    pub(crate) root: PathBuf,
    /// Directory of the shards' directories.
    pub(crate) log_root: PathBuf,
    pub(crate) format: Format,
    /// Shards to look at.
    pub(crate) shards: Vec<u16>,
}

impl DataDir {
    /// Opens the store below `root`; its log is in `log_root`, by default `commitlog` below. `shard`: only this one.
    /// What is wrong with `format.json` goes into `findings`.
    pub fn open(
        root: &Path,
        log_root: Option<&Path>,
        shard: Option<u16>,
        findings: &mut Findings,
    ) -> Result<DataDir, InspectError> {
        let log_root = log_root.map_or_else(|| root.join("commitlog"), Path::to_owned);
        let format = read_format(root, &log_root, findings)?;
        let shards = match shard {
            Some(shard) if shard >= format.shards => {
                let what = "has no such shard";
                return Err(InspectError::NoStore { path: root.to_owned(), what });
            }
            Some(shard) => vec![shard],
            None => (0..format.shards).collect(),
        };
        Ok(DataDir { root: root.to_owned(), log_root, format, shards })
    }

    /// Whether some process holds the directory's lock at this moment. Taking it to find out would keep a broker from
    /// starting; the kernel's list of locks tells, too.
    pub fn is_held(&self) -> bool {
        is_held(&self.root)
    }

    /// Settings of a shard's store, as far as they matter to a reader.
    pub(crate) fn settings(&self, shard: u16) -> Settings {
        Settings {
            shard,
            dir: shard_dir(&self.log_root, shard),
            log_id: self.format.log_id(shard),
            store_id: self.format.store_id,
            layout: self.format.layout,
            tail_cache_bytes: 1 << 15,
            inflight_bytes_max: 0,
            record_bytes_max: RECORD_BYTES_MAX,
            flush: FlushPolicy::Sync,
            index_entries_max: u64::MAX,
            group_offset_bytes_max: usize::MAX,
            deferred_max: usize::MAX,
            deferred_in_memory_max: usize::MAX,
            half_messages_max: usize::MAX,
            popped_max: usize::MAX,
            unindexed_entries_max: u64::MAX,
            index_keys: true,
            cold_cache_bytes: 0,
            zero_ahead_bytes: 0,
            progress: Default::default(),
        }
    }
}

pub(crate) fn is_held(root: &Path) -> bool {
    let Ok(meta) = fs::metadata(root.join("lock")) else { return false };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = format!(":{}", meta.ino());
    locks.lines().any(|line| {
        line.contains("FLOCK") && line.split_whitespace().any(|word| word.ends_with(&inode))
    })
}

pub(crate) fn shard_dir(log_root: &Path, shard: u16) -> PathBuf {
    log_root.join(format!("shard-{shard:03}"))
}

/// Directories of shards, by number.
fn shard_dirs(log_root: &Path) -> Result<Vec<u16>, InspectError> {
    let names = match now(FileDisk::read_only().list(log_root)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(io_at(log_root))?,
    };
    let number = |name: &str| name.strip_prefix("shard-")?.parse::<u16>().ok();
    let mut found: Vec<u16> =
        names.iter().filter(|entry| entry.is_dir).filter_map(|entry| number(&entry.name)).collect();
    found.retain(|shard| *shard < SHARDS_MAX);
    found.sort_unstable();
    Ok(found)
}

/// The format from its file, corrected by what the log says.
fn read_format(
    root: &Path,
    log_root: &Path,
    findings: &mut Findings,
) -> Result<Format, InspectError> {
    let path = root.join("format.json");
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.map_err(io_at(&path))?),
    };
    let from_log = format_of_log(log_root)?;
    let parsed = match &bytes {
        None => Err("is missing".to_owned()),
        Some(bytes) => parse_format(bytes),
    };
    let (format, what) = match (parsed, from_log) {
        (Ok(format), None) => return Ok(format),
        (Ok(format), Some(log)) if log.agrees(&format) => return Ok(format),
        (Ok(format), Some(log)) => {
            let what = format!("says {}, but the log was written with other facts", text(&format));
            (log.format, what)
        }
        (Err(what), Some(log)) => (log.format, what),
        (Err(what), None) if bytes.is_some() => {
            return Err(store::StoreError::Malformed { path, what }.into());
        }
        (Err(_), None) => {
            let what = "is no data directory of a broker: no format.json, no segments";
            return Err(InspectError::NoStore { path: root.to_owned(), what });
        }
    };
    let costs = "no message; the broker refuses to start, or looks for queues in wrong shards";
    let remedy = format!("stop the broker and write {} into it", text(&format));
    findings.push(damage(&path, None, what).costing(costs).then(remedy));
    Ok(format)
}

fn parse_format(bytes: &[u8]) -> Result<Format, String> {
    format::parse(bytes)
}

/// What the segments say about how the store was formatted.
struct LogFacts {
    format: Format,
    /// Start and bytes of the segments of this log.
    segments: Vec<(u64, u64)>,
}

impl LogFacts {
    /// Whether the log was written under these facts. The store's own id is not among them: the segments of a replica name
    /// other writers. Segments fit more than one layout.
    fn agrees(&self, file: &Format) -> bool {
        let fitting = |format: &Format| format.layout.fitting(&self.segments);
        file.log_id == self.format.log_id
            && file.shards == self.format.shards
            && fitting(file) >= fitting(&self.format)
    }
}

/// `None`: there is no batch in any segment.
fn format_of_log(log_root: &Path) -> Result<Option<LogFacts>, InspectError> {
    let dirs = shard_dirs(log_root)?;
    let Some(last) = dirs.last() else { return Ok(None) };
    let mut votes: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    let mut own: Option<u64> = None;
    let mut writer = 0;
    for shard in &dirs {
        let dir = shard_dir(log_root, *shard);
        let names = now(FileDisk::read_only().list(&dir)).map_err(io_at(&dir))?;
        for entry in &names {
            let Some(start) = segment_start(Path::new(&entry.name)) else { continue };
            if let Some(header) = first_header(&dir.join(&entry.name)) {
                let log_id = Format::common_log_id(header.log_id, *shard);
                votes.entry(log_id).or_default().push((start, entry.bytes));
                writer = header.writer;
            }
        }
        own = own.or(own_id(&dir.join(REPLICA_FILE)));
    }
    let best = votes.into_iter().max_by_key(|(_, segments)| segments.len());
    Ok(best.and_then(|(log_id, segments)| {
        let layout = Layout::of_segments(&segments, USUAL_SEGMENT_BYTES)?;
        // A store that never followed another one wrote all of its batches itself.
        let store_id = own.unwrap_or(writer);
        let format = Format { version: VERSION, shards: last + 1, layout, store_id, log_id };
        Some(LogFacts { format, segments })
    }))
}

/// The id of a store that follows another one, or once did.
fn own_id(path: &Path) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    bytes.chunks(BLOCK_BYTES).find_map(Slot::decode).map(|slot| slot.store_id)
}

/// The header of the first batch of a segment, if it names the segment's place. A segment that vanishes or cannot be
/// read has no vote, nor has one that still holds what it was used for before.
fn first_header(path: &Path) -> Option<Header> {
    let mut header = [0; HEADER_BYTES];
    fs::File::open(path).ok()?.read_exact_at(&mut header, 0).ok()?;
    let place = Header::place_of(&header)?;
    Header::decode(&header, segment_start(path)?, place.log_id).ok()
}

/// Opens the segments of a shard. Those of a wrong length are found to be damaged and left out.
pub(crate) async fn open_segments(
    settings: &Settings,
    findings: &mut Findings,
) -> Result<Segments, InspectError> {
    let disk = FileDisk::read_only();
    let dir = &settings.dir;
    let names = match disk.list(dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(io_at(dir))?,
    };
    let mut segments = Segments::new();
    for entry in names.iter().filter(|entry| !entry.is_dir) {
        let Some(start) = segment_start(Path::new(&entry.name)) else { continue };
        let path = dir.join(&entry.name);
        let possible = start <= POSITION_MAX - settings.layout.segment_bytes();
        if !possible || !settings.layout.fits(start, entry.bytes) {
            findings.about_existing(wrong_length(settings, &path, start, entry.bytes));
            continue;
        }
        match disk.open(&path, Open::Read).await {
            Ok(file) => drop(segments.insert(start, Rc::new(file))),
            // Retired in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_at(&path)(error)),
        }
    }
    Ok(segments)
}

fn wrong_length(
    settings: &Settings,
    path: &Path,
    start: u64,
    bytes: u64,
) -> crate::finding::Finding {
    let blank = first_header(path).is_none();
    let layout = settings.layout;
    let expected = layout.bytes_of(start);
    if blank && bytes < expected && layout.is_start(start) {
        let what = format!("{bytes} bytes of a segment that was being created; nothing is in it");
        return note(path, None, what).then("removed at the next start");
    }
    damage(path, None, format!("{bytes} bytes at {start}; the segment there has {expected}"))
        .costing("all messages in it, until its length is right")
        .then("the broker refuses to start; put the file back from a copy, or move it away")
}

/// The value of a future over ordinary files, which never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    block_on(future).expect("ordinary files never wait")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_document_names_the_directory_of_a_shard() {
        let dir = shard_dir(Path::new(""), 0);
        let line = format!("\n    {}/ ", dir.display());
        assert!(include_str!("../../store/FORMAT.md").contains(&line), "{line}");
    }
}
