//! Cutting a log to an earlier end: what a replica wrote and its leader does not have goes, durably, before anything new
//! is taken.
//!
//! The file `replica` says first, durably, that a cut has begun and where it ends; from then on the order of the steps
//! does not matter, because whoever opens the store after a crash takes them all again. Then go index files that know of
//! what lies behind the end, the segments behind, and, as zeros, the rest of the segment that the log now ends in: nothing
//! of it may ever be taken for a later batch, nor for a proof that what is zeroed was durable.

use super::{
    SCAN_READ_BYTES, Segments,
    scan::{Scan, read_error},
    window::Window,
};
use crate::{
    batch::{HEADER_BYTES, Kind},
    error::StoreError,
    index::{Index, Named, named},
    readable::read_around,
    replica_file::{Bounds, ReplicaFile},
    settings::Settings,
};
use runtime::{BLOCK_BYTES, Disk, DiskFile};
use std::path::PathBuf;

/// Ends a cut that has begun, and cuts to `end`, if one is wanted.
pub(super) async fn cut_to<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    replica: &mut Option<ReplicaFile<D>>,
    end: Option<u64>,
) -> Result<(), StoreError> {
    if let Some(file) = replica
        && let Some(begun) = file.bounds().cut_to
    {
        take_steps(disk, settings, segments, begun).await?;
        file.write_both(Bounds { cut_to: None, ..file.bounds() }).await?;
    }
    let Some(end) = end else { return Ok(()) };
    check_end(disk, settings, segments, end).await?;
    let file = match replica {
        Some(file) => file,
        None => replica.insert(ReplicaFile::create(disk, settings).await?),
    };
    let Bounds { committed, durable, .. } = file.bounds();
    let (committed, durable) = (committed.min(end), durable.min(end));
    file.write_both(Bounds { committed, durable, cut_to: Some(end) }).await?;
    take_steps(disk, settings, segments, end).await?;
    file.write_both(Bounds { committed, durable, cut_to: None }).await
}

/// Refuses an end where no batch ends, and one before which nobody would know what retired segments said.
async fn check_end<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
    end: u64,
) -> Result<(), StoreError> {
    let refuse = |what: &str| {
        Err(StoreError::Malformed {
            path: settings.dir.clone(),
            what: format!("the log cannot be cut to {end}: {what}"),
        })
    };
    let first = *segments.keys().next().expect("a log has a segment");
    if end < first || end == first && first > 0 {
        return refuse("its first segment begins there or behind that");
    }
    if !is_end_of_batch::<D>(settings, segments, first, end).await? {
        return refuse("no batch ends there");
    }
    if first > 0 {
        let files = index_files(disk, settings).await?;
        let kept = files.iter().any(|file| !file.knows_behind(end));
        if !kept {
            return refuse(
                "no index file is old enough to know what the retired segments said; start this \
                 replica over from an empty directory",
            );
        }
    }
    Ok(())
}

async fn is_end_of_batch<D: Disk>(
    settings: &Settings,
    segments: &Segments<D>,
    first: u64,
    end: u64,
) -> Result<bool, StoreError> {
    if end == first {
        return Ok(true);
    }
    // The end of a segment is the beginning of the next one.
    let segment = settings.layout.start_of(end - 1);
    let Some(file) = segments.get(&segment) else { return Ok(false) };
    let mut scan = Scan::new(settings);
    scan.begin_at(segment);
    let mut window = Window::reading_ahead(&**file, segment, settings.layout);
    let found = walk_to(&mut scan, &mut window, settings, end).await;
    window.finish().await;
    found.map_err(|source| read_error(settings, segment, source))
}

/// Goes from batch to batch, over damage, until one ends at `end` or behind it.
async fn walk_to<F, B>(
    scan: &mut Scan,
    window: &mut Window<'_, F>,
    settings: &Settings,
    end: u64,
) -> std::io::Result<bool>
where
    F: DiskFile<Buf = B>,
    B: AsRef<[u8]> + 'static,
{
    let segment_end = settings.layout.end_of(window.segment);
    while scan.position < end && scan.position + HEADER_BYTES as u64 <= segment_end {
        match scan.whole_batch(window, scan.position, settings).await? {
            Some(header) if header.kind == Kind::SegmentEnd => return Ok(end == segment_end),
            Some(header) => {
                scan.epoch = header.epoch;
                scan.position = header.end();
            }
            None => match scan.walk(window, scan.position + 1, settings).await?.first {
                Some(next) => scan.position = next,
                None => return Ok(false),
            },
        }
    }
    Ok(scan.position == end)
}

/// An index file that may know more than is kept.
struct IndexFile {
    path: PathBuf,
    /// Behind the last position that it covers or was influenced by.
    knows_to: u64,
}

impl IndexFile {
    fn knows_behind(&self, end: u64) -> bool {
        self.knows_to > end
    }
}

async fn index_files<D: Disk>(disk: &D, settings: &Settings) -> Result<Vec<IndexFile>, StoreError> {
    let dir = &settings.dir;
    let names = disk.list(dir).await.map_err(|source| StoreError::io("list", dir, source))?;
    let mut files = Vec::new();
    for name in names {
        if matches!(named(&name.name), None | Some(Named::Temporary)) {
            continue;
        }
        let path = dir.join(&name.name);
        match Index::open(disk, &path, settings.shard, settings.log_id).await {
            Ok(index) => files.push(IndexFile { path, knows_to: index.head().influenced_by }),
            // It is made again when it is missed.
            Err(error) if error.is_damage() => files.push(IndexFile { path, knows_to: u64::MAX }),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(files)
}

/// Everything that makes the log end at `end`. May be taken again after each crash.
async fn take_steps<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &mut Segments<D>,
    end: u64,
) -> Result<(), StoreError> {
    let remove = async |path: PathBuf| {
        disk.remove(&path).await.map_err(|source| StoreError::io("remove", path, source))
    };
    for file in index_files(disk, settings).await? {
        if file.knows_behind(end) {
            remove(file.path).await?;
        }
    }
    let last = settings.layout.start_of(end);
    let behind: Vec<u64> = segments.range(last + 1..).map(|(start, _)| *start).collect();
    for start in behind {
        segments.remove(&start);
        remove(settings.segment_path(start)).await?;
    }
    let error = |source| StoreError::io("sync", settings.dir.clone(), source);
    disk.sync_dir(&settings.dir).await.map_err(error)?;
    if let Some(file) = segments.get(&last) {
        let error = |source| StoreError::io("cut", settings.segment_path(last), source);
        clear(disk, &**file, end - last, settings.layout.bytes_of(last)).await.map_err(error)?;
    }
    Ok(())
}

/// Zeroes and syncs a file from `from` to `to`, where it is not zero already.
async fn clear<D: Disk>(disk: &D, file: &D::File, from: u64, to: u64) -> std::io::Result<()> {
    let mut at = from - from % BLOCK_BYTES as u64;
    while at < to {
        let bytes = (to - at).min(SCAN_READ_BYTES as u64);
        let read = read_around(file, at, bytes as usize).await?;
        let kept = from.saturating_sub(at) as usize;
        if read.unreadable() > 0 || read.as_ref()[kept..].iter().any(|byte| *byte != 0) {
            let mut blocks = disk.alloc(bytes as usize);
            blocks.as_mut().fill(0);
            blocks.as_mut()[..kept].copy_from_slice(&read.as_ref()[..kept]);
            file.write_at(blocks, at).await?;
        }
        at += bytes;
    }
    file.sync().await
}
