//! Opening a store: go on from what index files say, read the rest of the log, cut a torn tail.
//!
//! Index files cover the log from its first segment on (`indexes`); behind them it is scanned batch by batch
//! (`scan`). At the first batch that is not whole there are two cases, distinguished by what
//! stands behind it: a later batch that says `durable_until` beyond that place proves that the place was durable once,
//! so it is damage (what it held is lost and reported, the rest goes on); without such a witness it is the tail of a
//! write that nobody was promised, and the log is cut there. A batch is a witness on the disk of the store that wrote it
//! only; how far the batches of others were durable here, the file `replica` says ([`crate::replica_file`]).
//!
//! The order of what follows (`settle`) matters at each crash in between: what was read and not proven durable is
//! written again; the start batch, which carries the new epoch and witnesses everything before, is made
//! durable; only then is zeroed what stands behind it. Only after that anything is appended or served.
//!
//! A store that follows another one writes no start batch: its log holds what its leader wrote and nothing else. It steps
//! over damage only where it wrote itself what is damaged; elsewhere the log ends before, and the leader sends the rest
//! again. What stands in `replica` is durable before anything behind the end is zeroed.
//!
//! A place that cannot be read is damage like one whose checksum is wrong (`readable`).

mod cut;
#[cfg(test)]
mod follow_tests;
mod indexes;
pub mod progress;
#[doc(hidden)]
pub mod scan;
mod segments;
mod settle;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod window;

use crate::{
    error::StoreError,
    log::{CommitLog, Resume},
    replica_file::{Bounds, ReplicaFile},
    ring::TailRing,
    segments::create_segment,
    settings::Settings,
    store::Store,
};
use indexes::Chain;
use runtime::{BLOCK_BYTES, Disk};
use scan::Scan;
use segments::{open_segments, refuse_dead_device, refuse_foreign_log};
use settle::{clear_behind, make_durable, read_tail, settle_segments, write_start};
use std::{collections::BTreeMap, rc::Rc, time::Instant};

/// Bytes of one read of the scan.
const SCAN_READ_BYTES: usize = 1024 * 1024;

/// What opening a store found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments of the log.
    pub segments: u64,
    /// Index files that the start goes on from.
    pub indexes: u64,
    /// Of those, made again from their segments.
    pub rebuilt_indexes: u64,
    /// Bytes of whole batches read.
    pub scanned_bytes: u64,
    /// Message records found.
    pub messages: u64,
    /// Bytes behind the last whole batch that were written and not promised, as far as they can be distinguished from zeros.
    pub cut_bytes: u64,
    /// Bytes of damaged places in the middle.
    pub damaged_bytes: u64,
    /// Position of the first of them that was scanned.
    pub damaged_from: Option<u64>,
    /// Bytes behind the end of a follower's log that were durable here once and are to be fetched again.
    pub lacking_bytes: u64,
    /// Time it took, ms.
    pub took_ms: u64,
}

/// Open segments by the position that they start at.
pub type Segments<D> = BTreeMap<u64, Rc<<D as Disk>::File>>;

/// Makes missing index files again and removes what is left over of them, as a start does, and no more. Returns how many
/// were made. For tools that hold the data directory's lock.
///
/// Errors: the disk's.
pub async fn rebuild_chain<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
) -> Result<u64, StoreError> {
    let mut scan = Scan::new(settings);
    let rebuilt = Chain::open(disk, settings, segments, &mut scan).await?.rebuilt;
    let error = |source| StoreError::io("sync", settings.dir.clone(), source);
    disk.sync_dir(&settings.dir).await.map_err(error)?;
    Ok(rebuilt)
}

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A new epoch begins, and entries are appended here.
    Leader,
    /// The log goes on with batches of its leader, until [`Store::begin_epoch`].
    Follower,
}

/// What is wanted of an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Who writes the log.
    pub role: Role,
    /// The log is cut to this position first, for good. It must be where a batch ends.
    pub end: Option<u64>,
}

impl<D: Disk> Store<D> {
    /// Opens the log below `settings.dir`, which may be empty, as one that is led here. Nothing may be appended before it
    /// returns.
    pub async fn open(disk: D, settings: Settings) -> Result<(Store<D>, Report), StoreError> {
        Store::open_as(disk, settings, Opening { role: Role::Leader, end: None }).await
    }

    /// Opens the log below `settings.dir`, which may be empty. What a follower shows at first is what it knows to have
    /// been committed; the rest waits for its leader.
    pub async fn open_as(
        disk: D,
        settings: Settings,
        opening: Opening,
    ) -> Result<(Store<D>, Report), StoreError> {
        let started = Instant::now();
        let error = |action, source| StoreError::io(action, settings.dir.clone(), source);
        disk.create_dir_all(&settings.dir).await.map_err(|source| error("create", source))?;
        let mut segments = open_segments(&disk, &settings).await?;
        if segments.is_empty() {
            let file = create_segment(&disk, &settings, 0).await?;
            segments.insert(0, Rc::new(file));
        }
        let (first, last) = (segments.keys().next(), segments.keys().next_back());
        if let (Some(first), Some(last)) = (first, last) {
            settings.progress.begin(*first, settings.layout.end_of(*last));
        }
        refuse_dead_device(&segments, &settings).await?;
        let mut replica = ReplicaFile::open(&disk, &settings).await?;
        cut::cut_to(&disk, &settings, &mut segments, &mut replica, opening.end).await?;
        let follows = opening.role == Role::Follower;
        if follows && replica.is_none() {
            replica = Some(ReplicaFile::create(&disk, &settings).await?);
        }
        let known = replica.as_ref().map(ReplicaFile::bounds).unwrap_or_default();
        let mut scan = Scan::new(&settings);
        (scan.follows, scan.known_durable) = (follows, known.durable);
        let chain = Chain::open(&disk, &settings, &segments, &mut scan).await?;
        if follows {
            scan.committed = known.committed.max(scan.position);
        }
        scan.segments(&segments, &settings).await?;
        if scan.report.scanned_bytes == 0 && chain.is_empty() {
            refuse_foreign_log(&segments, &settings).await?;
        }
        scan.report.segments = segments.len() as u64;
        let Scan { mut state, position, proven, epoch, committed, mut report, .. } = scan;
        settle_segments(&disk, &settings, &mut segments, position).await?;
        make_durable(&disk, &settings, &segments, proven.min(position)..position).await?;
        let tail = read_tail(&segments, &settings, position).await?;
        let slot_bytes_max = settings.record_bytes_max.max(BLOCK_BYTES);
        let ring = TailRing::new(settings.tail_cache_bytes, slot_bytes_max);
        let committed = committed.min(position);
        let from = Resume { position, tail: &tail, committed, epoch, leads: !follows };
        state.log = CommitLog::resume(settings.shape(), ring, from);
        if follows {
            let durable = known.durable.max(position + report.lacking_bytes);
            let bounds = Bounds { committed, durable, cut_to: None };
            let file = replica.as_mut().expect("a follower has one");
            file.write(bounds).await?;
            report.lacking_bytes = durable - position;
        } else {
            write_start(&disk, &settings, &mut segments, &mut state, epoch + 1).await?;
        }
        state.take_published(|_| {});
        report.cut_bytes = clear_behind(&disk, &settings, &segments, state.log.appended()).await?;
        report.rebuilt_indexes = chain.rebuilt;
        report.damaged_bytes += chain.damaged_bytes;
        let indexes = chain.into_files();
        report.indexes = indexes.len() as u64;
        let lacking = report.lacking_bytes;
        let store = Store::assemble(settings, disk, state, segments, indexes, replica, lacking);
        store.find_spares().await?;
        store.provide_wanted().await;
        store.settings.progress.finish();
        report.took_ms = started.elapsed().as_millis() as u64;
        Ok((store, report))
    }
}
