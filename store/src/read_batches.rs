//! Whole batches for who keeps a copy of the log: from any batch on, up to what is durable here.
//!
//! What is not durable yet is not read: a replica must never have what its leader may lose. Bytes come from the tail cache
//! in two slices, or from the disk, where each batch is checked before it is passed on.

use crate::{
    batch::{HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_LIMIT},
    error::StoreError,
    layout::Layout,
    log::CommitLog,
    readable::read_around,
    store::Store,
};
use runtime::{BLOCK_BYTES, Disk};

/// Batches that lie one behind the other within a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches<B> {
    /// The bytes of the batches, and nothing else.
    pub bytes: B,
    /// Where the log goes on behind them: at the next segment, when the last of them ends one.
    pub next: u64,
}

/// The walk over batches from one place on.
struct Run {
    from: u64,
    /// Behind the last batch taken.
    to: u64,
    next: u64,
    ended: bool,
}

impl Run {
    fn new(from: u64) -> Run {
        Run { from, to: from, next: from, ended: false }
    }

    /// Whether a batch with this header is taken, too.
    fn take(&mut self, header: &Header, end: u64, bytes_max: usize, layout: Layout) -> bool {
        let fits = header.end() - self.from <= bytes_max as u64 || self.to == self.from;
        if self.ended || !fits || header.end() > end {
            return false;
        }
        self.to = header.end();
        self.ended = header.kind == Kind::SegmentEnd;
        self.next = if self.ended { layout.end_behind(self.from) } else { self.to };
        true
    }

    fn bytes(&self) -> usize {
        (self.to - self.from) as usize
    }
}

impl CommitLog {
    /// Whole batches from `from` on, where a batch begins, of `bytes_max` in all or one larger one, up to what is durable.
    /// No bytes: nothing more is durable. `None`: they have left the tail cache, see [`Store::read_batches`].
    pub fn cached_batches(&self, from: u64, bytes_max: usize) -> Option<Batches<(&[u8], &[u8])>> {
        let (end, layout) = (self.flushed(), self.shape().layout);
        let mut run = Run::new(from);
        while run.to + HEADER_BYTES as u64 <= end && !run.ended {
            if !self.ring().holds(run.to, HEADER_BYTES) {
                return None;
            }
            let mut head = [0; HEADER_BYTES];
            self.ring().copy_to(run.to, &mut head);
            let header = Header::decode(&head, run.to, self.shape().log_id).ok()?;
            if !run.take(&header, end, bytes_max, layout) {
                break;
            }
        }
        let bytes = run.bytes();
        let parts = if bytes == 0 { (&[][..], &[][..]) } else { self.ring().parts(from, bytes) };
        Some(Batches { bytes: parts, next: run.next })
    }
}

impl<D: Disk> Store<D> {
    /// As [`CommitLog::cached_batches`], from the disk. `Ok(None)`: the segment was retired. An error when no whole batch
    /// stands at `from`.
    pub async fn read_batches(
        &self,
        from: u64,
        bytes_max: usize,
    ) -> Result<Option<Batches<Vec<u8>>>, StoreError> {
        let segment = self.settings.layout.start_of(from);
        let segment_end = self.settings.layout.end_of(segment);
        let end = self.state().log.flushed().min(segment_end);
        if from + HEADER_BYTES as u64 > end {
            return Ok(Some(Batches { bytes: Vec::new(), next: from }));
        }
        let Some(file) = self.segments.files.borrow().get(&segment).cloned() else {
            return Ok(None);
        };
        let corrupt = StoreError::Corrupt {
            shard: self.settings.shard,
            position: from,
            what: "no whole batch is here to be copied",
        };
        let mut wanted = bytes_max.max(HEADER_BYTES) as u64;
        loop {
            let start = from - from % BLOCK_BYTES as u64;
            let to = (from + wanted).min(end).next_multiple_of(BLOCK_BYTES as u64);
            let to = to.min(segment_end);
            let read = read_around(&*file, start - segment, (to - start) as usize).await;
            let blocks = read.map_err(|source| {
                StoreError::io("read", self.settings.segment_path(segment), source)
            })?;
            let bytes = &blocks.as_ref()[(from - start) as usize..];
            match self.whole_batches(from, bytes, end, bytes_max) {
                Ok(batches) => return Ok(Some(batches)),
                Err(Some(more)) if more as u64 > wanted => wanted = more as u64,
                Err(_) => return Err(corrupt),
            }
        }
    }

    /// The whole batches at the front of `bytes`. `Err`: the first one is not whole, perhaps because it takes so many
    /// bytes.
    fn whole_batches(
        &self,
        from: u64,
        bytes: &[u8],
        end: u64,
        bytes_max: usize,
    ) -> Result<Batches<Vec<u8>>, Option<usize>> {
        let mut run = Run::new(from);
        let mut wanted = None;
        while let Some(rest) = bytes.get(run.bytes()..).filter(|rest| rest.len() >= HEADER_BYTES) {
            let Ok(header) = Header::decode(rest, run.to, self.settings.log_id) else { break };
            let whole = HEADER_BYTES + header.payload_bytes as usize;
            let Some(batch) = rest.get(..whole) else {
                wanted = Some(whole).filter(|_| header.end() <= end);
                break;
            };
            let (head, payload) = batch.split_at(HEADER_BYTES);
            let is_whole = Header::check_payload(head, payload).is_ok();
            if !is_whole || !run.take(&header, end, bytes_max, self.settings.layout) {
                break;
            }
        }
        if run.bytes() == 0 {
            return Err(wanted.filter(|whole| *whole <= HEADER_BYTES + PAYLOAD_BYTES_LIMIT));
        }
        Ok(Batches { bytes: bytes[..run.bytes()].to_vec(), next: run.next })
    }
}
