//! Going through a shard's log batch by batch, as a start does, without filling tables.
//!
//! Whether a place that holds no whole batch is damage or the end is decided by recovery's own code: a later batch
//! that proves it was durable, or an index file that covers it. Beside a running broker a place may be
//! written while it is looked at, so it is looked at again after its witness was found: by then it is whole.

use crate::data_dir::{InspectError, Segments, io_at};
use std::ops::Range;
use store::{
    batch::{HEADER_BYTES, Header, Kind},
    error::StoreError,
    recovery::{scan::Scan, window::Window},
    settings::Settings,
};

/// What is met on the way.
pub(crate) enum Step<'a> {
    /// A whole batch.
    Batch {
        /// Its header.
        header: Header,
        /// What is behind it.
        payload: &'a [u8],
    },
    /// Damage in this range of the log. `false`: the whole segment is missing.
    Damage {
        /// Positions.
        range: Range<u64>,
        /// Whether there is a file.
        file: bool,
    },
}

/// Where the log ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Behind the last whole batch.
    pub(crate) position: u64,
    /// Bytes behind it, as far as they are not zero: a torn write, or what a segment held in an earlier use.
    pub(crate) remains_bytes: u64,
    /// A batch of this log begins right at the end and is not whole.
    pub(crate) torn: bool,
}

/// Goes through the log from `from` on, where a batch begins, as long as `visit` returns `true`. Everything before
/// `known_durable` is known to have been on disk.
pub(crate) async fn walk(
    settings: &Settings,
    segments: &Segments,
    from: u64,
    known_durable: u64,
    mut visit: impl FnMut(Step<'_>) -> bool,
) -> Result<End, InspectError> {
    let mut scan = Scan::new(settings);
    scan.begin_at(from);
    loop {
        let segment = settings.layout.start_of(scan.position);
        let segment_end = settings.layout.end_of(segment);
        if let Some(file) = segments.get(&segment) {
            let mut window = Window::new(&**file, segment, settings.layout);
            let taken = batches(&mut scan, &mut window, settings, &mut visit).await;
            if !taken.map_err(io_at(&settings.segment_path(segment)))? {
                return Ok(End { position: scan.position, remains_bytes: 0, torn: false });
            }
            if scan.position == segment_end && segments.contains_key(&segment_end) {
                continue;
            }
        }
        let place = scan.position;
        let next = match find_witness(&scan, segments, settings).await? {
            Some(next) => next,
            None if place < known_durable => {
                let next = first_behind(&scan, segments, settings).await?;
                next.unwrap_or(segment_end).min(known_durable)
            }
            None => return end(&scan, segments, settings).await,
        };
        let segment = settings.layout.start_of(place);
        if whole_now(&scan, segments, settings).await? {
            continue;
        }
        scan.position = next;
        if !visit(Step::Damage { range: place..next, file: segments.contains_key(&segment) }) {
            return Ok(End { position: next, remains_bytes: 0, torn: false });
        }
    }
}

async fn find_witness(
    scan: &Scan,
    segments: &Segments,
    settings: &Settings,
) -> Result<Option<u64>, InspectError> {
    let found = scan.find_witness(segments, settings).await.map_err(|error| match error {
        StoreError::Io { path, source, .. } => InspectError::Io { path, source },
        other => InspectError::Store(other),
    })?;
    Ok(found.map(|damage| damage.next))
}

/// Takes whole batches as far as they go; `false` when the visitor wants no more. Behind the mark that ends a segment it goes on with the next.
async fn batches(
    scan: &mut Scan,
    window: &mut Window<'_, crate::file_disk::PlainFile>,
    settings: &Settings,
    visit: &mut impl FnMut(Step<'_>) -> bool,
) -> std::io::Result<bool> {
    let segment = settings.layout.start_of(scan.position);
    let segment_end = settings.layout.end_of(segment);
    while scan.position + HEADER_BYTES as u64 <= segment_end {
        let position = scan.position;
        let Some(header) = scan.whole_batch(window, position, settings).await? else {
            return Ok(true);
        };
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        let payload = &window.at(position, whole).await?[HEADER_BYTES..];
        let goes_on = visit(Step::Batch { header, payload });
        scan.epoch = header.epoch;
        scan.position = match header.kind {
            Kind::Entries => header.end(),
            Kind::SegmentEnd => segment_end,
        };
        if !goes_on {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The first whole batch behind the place, in its segment.
async fn first_behind(
    scan: &Scan,
    segments: &Segments,
    settings: &Settings,
) -> Result<Option<u64>, InspectError> {
    let segment = settings.layout.start_of(scan.position);
    let Some(file) = segments.get(&segment) else { return Ok(None) };
    let mut window = Window::new(&**file, segment, settings.layout);
    let seen = scan.walk(&mut window, scan.position + 1, settings).await;
    Ok(seen.map_err(io_at(&settings.segment_path(segment)))?.first)
}

async fn whole_now(
    scan: &Scan,
    segments: &Segments,
    settings: &Settings,
) -> Result<bool, InspectError> {
    let position = scan.position;
    let segment = settings.layout.start_of(position);
    let Some(file) = segments.get(&segment) else { return Ok(false) };
    if position + HEADER_BYTES as u64 > settings.layout.end_of(segment) {
        return Ok(false);
    }
    let mut window = Window::new(&**file, segment, settings.layout);
    let whole = scan.whole_batch(&mut window, position, settings).await;
    Ok(whole.map_err(io_at(&settings.segment_path(segment)))?.is_some())
}

/// Looks at what stands behind the end, as far as a torn write may reach.
async fn end(scan: &Scan, segments: &Segments, settings: &Settings) -> Result<End, InspectError> {
    let position = scan.position;
    let segment = settings.layout.start_of(position);
    let mut end = End { position, remains_bytes: 0, torn: false };
    let Some(file) = segments.get(&segment) else { return Ok(end) };
    let mut window = Window::new(&**file, segment, settings.layout);
    let reach = (store::log::WRITE_BYTES_MAX as usize) + settings.record_bytes_max;
    let bytes = window.at(position, reach).await;
    let bytes = bytes.map_err(io_at(&settings.segment_path(segment)))?;
    let last = bytes.iter().rposition(|byte| *byte != 0);
    end.remains_bytes = last.map_or(0, |last| last as u64 + 1);
    end.torn = Header::decode(bytes, position, settings.log_id)
        .is_ok_and(|header| header.epoch >= scan.epoch);
    Ok(end)
}
