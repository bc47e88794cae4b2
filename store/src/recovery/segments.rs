//! Opening the segments that are there, and refusing what is not ours.

use super::{Segments, scan::read_error, window::Window};
use crate::{
    batch::{self, HEADER_BYTES, Header},
    error::StoreError,
    offset::POSITION_MAX,
    readable::read_around,
    segments::segment_start,
    settings::Settings,
};
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open, is_unreadable};
use std::{collections::BTreeMap, path::Path, rc::Rc};

/// A log of which nothing is ours is not an empty one when it begins with a whole batch of another: `format.json` was
/// lost or exchanged, and going on would overwrite somebody's messages.
pub(super) async fn refuse_foreign_log<F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static>(
    segments: &BTreeMap<u64, Rc<F>>,
    settings: &Settings,
) -> Result<(), StoreError> {
    let Some((start, file)) = segments.first_key_value() else { return Ok(()) };
    let mut window = Window::new(&**file, *start, settings.layout);
    let error = |source| read_error(settings, *start, source);
    let header = window.at(*start, HEADER_BYTES).await.map_err(error)?;
    let Some(place) = Header::place_of(header) else { return Ok(()) };
    let whole = HEADER_BYTES + place.payload_bytes as usize;
    let possible = place.position == *start && whole as u64 <= settings.layout.bytes_of(*start);
    // The checksum does not cover the version: a bit of it that rotted is no other version, but an older one is known.
    let older = (1..batch::VERSION).contains(&place.version);
    let other = place.version == batch::VERSION && place.log_id != settings.log_id;
    if !possible || !(older || other) {
        return Ok(());
    }
    let bytes = window.at(*start, whole).await.map_err(error)?;
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES).unwrap_or((bytes, &[]));
    if Header::check_payload(header, payload).is_err() {
        return Ok(());
    }
    let what = if place.version == batch::VERSION {
        format!(
            "belongs to log {:016x}, this store's is {:016x}; put back the format.json that was \
             written with it, or move the segments away",
            place.log_id, settings.log_id
        )
    } else {
        format!(
            "holds batches of version {}, this broker reads version {}; let the broker that wrote \
             them serve what they hold, or move the segments away",
            place.version,
            batch::VERSION
        )
    };
    Err(StoreError::Malformed { path: settings.segment_path(*start), what })
}

/// Ends a start on a device that reads nothing, before anything is concluded from what cannot be read: index files
/// would be removed, and the log cut.
pub(super) async fn refuse_dead_device<F: DiskFile<Buf = B>, B: AsRef<[u8]>>(
    segments: &BTreeMap<u64, Rc<F>>,
    settings: &Settings,
) -> Result<(), StoreError> {
    let mut failed = None;
    for (start, file) in segments {
        match read_around(&**file, 0, BLOCK_BYTES).await {
            Ok(_) => return Ok(()),
            Err(source) => failed = Some(read_error(settings, *start, source)),
        }
    }
    failed.map_or(Ok(()), Err)
}

pub(super) async fn open_segments<D: Disk>(
    disk: &D,
    settings: &Settings,
) -> Result<Segments<D>, StoreError> {
    let names = disk
        .list(&settings.dir)
        .await
        .map_err(|source| StoreError::io("list", settings.dir.clone(), source))?;
    let mut segments = BTreeMap::new();
    for entry in names.iter().filter(|entry| !entry.is_dir) {
        let Some(start) = segment_start(Path::new(&entry.name)) else { continue };
        let path = settings.segment_path(start);
        let malformed = |what: String| StoreError::Malformed { path: path.clone(), what };
        if start > POSITION_MAX - settings.layout.segment_bytes() {
            let what = format!("no segment begins there; positions end at {POSITION_MAX}");
            return Err(malformed(what));
        }
        if !settings.layout.fits(start, entry.bytes) {
            let unborn = is_unborn(disk, settings, start, entry.bytes).await;
            if unborn.map_err(|source| StoreError::io("read", path.clone(), source))? {
                disk.remove(&path)
                    .await
                    .map_err(|source| StoreError::io("remove", path.clone(), source))?;
                continue;
            }
            return Err(malformed(format!(
                "segment of {} bytes; the store was formatted with segments of {} bytes, of which this one has {}, and \
                 format.json must stay what it was",
                entry.bytes,
                settings.layout.segment_bytes(),
                settings.layout.bytes_of(start)
            )));
        }
        let file = disk
            .open(&path, Open::ReadWrite)
            .await
            .map_err(|source| StoreError::io("open", path.clone(), source))?;
        segments.insert(start, Rc::new(file));
    }
    Ok(segments)
}

/// Whether a segment was being created when the machine stopped: its length was not durable yet, so nothing is in it.
/// A segment of another size that holds something belongs to a store that was formatted otherwise.
async fn is_unborn<D: Disk>(
    disk: &D,
    settings: &Settings,
    start: u64,
    bytes: u64,
) -> std::io::Result<bool> {
    if bytes >= settings.layout.bytes_of(start) || !settings.layout.is_start(start) {
        return Ok(false);
    }
    if bytes < BLOCK_BYTES as u64 {
        return Ok(true);
    }
    let file = disk.open(&settings.segment_path(start), Open::Read).await?;
    let block = file.read_at(0, BLOCK_BYTES).await;
    file.close().await?;
    match block {
        Ok(block) => Ok(block.as_ref().iter().all(|byte| *byte == 0)),
        // It was written once, or it could be read.
        Err(error) if is_unreadable(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
