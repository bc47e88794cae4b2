//! Opening a store: go on from what index files say, read the rest of the log, cut a torn tail.
//!
//! Index files cover the log from its first segment on (`indexes`); behind them it is scanned batch by batch
//! (`scan`). At the first batch that is not whole there are two cases, told apart by what
//! stands behind it: a later batch that says `durable_until` beyond that place proves that the place was durable once,
//! so it is damage (what it held is lost and reported, the rest goes on); without such a witness it is the tail of a
//! write that nobody was promised, and the log is cut there.
//!
//! The order of what follows (`settle`) matters at each crash in between: what was read and not proven durable is
//! written again; a batch without entries, which carries the new epoch and witnesses everything before, is made
//! durable; only then is zeroed what stands behind it. Only after that anything is appended or served.

mod indexes;
#[doc(hidden)]
pub mod scan;
mod segments;
mod settle;
#[cfg(test)]
mod tests;
#[doc(hidden)]
pub mod window;

use crate::{
    error::StoreError, log::CommitLog, ring::TailRing, segments::create_segment,
    settings::Settings, store::Store,
};
use indexes::Chain;
use runtime::{BLOCK_BYTES, Disk};
use scan::Scan;
use segments::{open_segments, refuse_foreign_log};
use settle::{cut, make_durable, read_tail, settle_segments, write_start};
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
    /// Bytes behind the last whole batch that were written and not promised, as far as they can be told from zeros.
    pub cut_bytes: u64,
    /// Bytes of damaged places in the middle.
    pub damaged_bytes: u64,
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

impl<D: Disk> Store<D> {
    /// Opens the log below `settings.dir`, which may be empty. Nothing may be appended before it returns.
    pub async fn open(disk: D, settings: Settings) -> Result<(Store<D>, Report), StoreError> {
        let started = Instant::now();
        let error = |action, source| StoreError::io(action, settings.dir.clone(), source);
        disk.create_dir_all(&settings.dir).await.map_err(|source| error("create", source))?;
        let mut segments = open_segments(&disk, &settings).await?;
        if segments.is_empty() {
            let file = create_segment(&disk, &settings, 0).await?;
            segments.insert(0, Rc::new(file));
        }
        let mut scan = Scan::new(&settings);
        let chain = Chain::open(&disk, &settings, &segments, &mut scan).await?;
        scan.segments(&segments, &settings).await?;
        if scan.report.scanned_bytes == 0 && chain.is_empty() {
            refuse_foreign_log(&scan, &segments, &settings).await?;
        }
        scan.report.segments = segments.len() as u64;
        let Scan { mut state, position, proven, epoch, last_store_ms, mut report, .. } = scan;
        settle_segments(&disk, &settings, &mut segments, position).await?;
        make_durable(&disk, &settings, &segments, proven.min(position)..position).await?;
        let tail = read_tail(&segments, &settings, position).await?;
        let slot_bytes_max = settings.record_bytes_max.max(BLOCK_BYTES);
        let ring = TailRing::new(settings.tail_cache_bytes, slot_bytes_max);
        state.log = CommitLog::resume(settings.shape(epoch + 1), ring, position, &tail);
        state.begin_epoch(position, epoch + 1);
        write_start(&disk, &settings, &mut segments, &mut state.log, last_store_ms).await?;
        report.cut_bytes = cut(&disk, &settings, &segments, state.log.appended()).await?;
        report.rebuilt_indexes = chain.rebuilt;
        report.damaged_bytes += chain.damaged_bytes;
        let indexes = chain.into_files();
        report.indexes = indexes.len() as u64;
        let store = Store::assemble(settings, disk, state, segments, indexes);
        store.find_spares().await?;
        store.provide_wanted().await;
        report.took_ms = started.elapsed().as_millis() as u64;
        Ok((store, report))
    }
}
