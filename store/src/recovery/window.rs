//! A window of a segment that slides forward, for who reads a segment from one place on to its end.
//!
//! Where [`Window::reading_ahead`] was asked for, the next pieces are on their way while the present one is looked at: a
//! start would otherwise wait for the disk and for its own processor in turns. It begins with the second piece, since
//! most looks at a segment are short. What was read and is not wanted is waited for by [`Window::finish`]. What the disk
//! cannot read is zeros (`readable`).

use super::SCAN_READ_BYTES;
use crate::{
    layout::Layout,
    readable::{Blocks, read_around},
};
use runtime::{BLOCK_BYTES, DiskFile};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::Poll,
};

/// Pieces under way behind the one that is waited for: with 1 MiB each, what a window holds stays below 4 MiB but for
/// a batch that is larger.
const PIECES_AHEAD: usize = 2;

/// The window.
pub struct Window<'f, F: DiskFile> {
    file: &'f F,
    /// Start of the segment.
    pub(super) segment: u64,
    pub(super) segment_bytes: u64,
    /// Position of `bytes[0]`.
    start: u64,
    bytes: Vec<u8>,
    /// What follows `bytes`, in order.
    ahead: VecDeque<Piece<'f, F::Buf>>,
    /// Everything before was read or is on its way.
    asked: u64,
    piece_bytes: u64,
    ahead_max: usize,
}

enum Piece<'f, B> {
    Reading(Pin<Box<dyn Future<Output = io::Result<Blocks<B>>> + 'f>>),
    Read(io::Result<Blocks<B>>),
}

impl<'f, F: DiskFile<Buf = B>, B: AsRef<[u8]> + 'static> Window<'f, F> {
    /// A window that reads what it is asked for.
    pub fn new(file: &'f F, segment: u64, layout: Layout) -> Window<'f, F> {
        let segment_bytes = layout.bytes_of(segment);
        Window {
            file,
            segment,
            segment_bytes,
            start: segment,
            bytes: Vec::new(),
            ahead: VecDeque::new(),
            asked: segment,
            // Even a small segment has something to read ahead, so that simulations of small ones do.
            piece_bytes: (segment_bytes / 4)
                .next_multiple_of(BLOCK_BYTES as u64)
                .min(SCAN_READ_BYTES as u64),
            ahead_max: 0,
        }
    }

    /// A window that reads ahead: [`Window::finish`] follows.
    pub fn reading_ahead(file: &'f F, segment: u64, layout: Layout) -> Window<'f, F> {
        Window { ahead_max: PIECES_AHEAD, ..Window::new(file, segment, layout) }
    }

    /// The `bytes` at `position`, read as needed; fewer at the segment's end. What lies before `position` is never
    /// asked for again.
    pub async fn at(&mut self, position: u64, bytes: usize) -> io::Result<&[u8]> {
        let end = (position + bytes as u64).min(self.segment_end());
        if position >= self.asked {
            self.finish().await;
            self.bytes.clear();
            self.start = position - position % BLOCK_BYTES as u64;
            self.asked = self.start;
        }
        while self.held() < end {
            let used = (position.max(self.start) - self.start) as usize;
            let used = (used - used % BLOCK_BYTES).min(self.bytes.len());
            self.bytes.drain(..used);
            self.start += used as u64;
            let blocks = self.next_piece().await?;
            self.bytes.extend_from_slice(blocks.as_ref());
        }
        let from = (position - self.start) as usize;
        Ok(&self.bytes[from..(end - self.start) as usize])
    }

    /// Waits for reads that nobody wants any more: none is dropped half-way.
    pub async fn finish(&mut self) {
        for piece in self.ahead.drain(..) {
            if let Piece::Reading(read) = piece {
                // Nobody asked for it, so it may fail.
                let _ = read.await;
            }
        }
        self.asked = self.held();
    }

    fn segment_end(&self) -> u64 {
        self.segment + self.segment_bytes
    }

    /// Position behind the last byte that is here.
    fn held(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What follows the bytes that are here; there is something.
    async fn next_piece(&mut self) -> io::Result<Blocks<B>> {
        let ahead = if self.bytes.is_empty() { 0 } else { self.ahead_max };
        while self.ahead.len() <= ahead && self.asked < self.segment_end() {
            let left = self.segment_end() - self.asked;
            let bytes = left.min(self.piece_bytes);
            let read = read_around(self.file, self.asked - self.segment, bytes as usize);
            self.ahead.push_back(Piece::Reading(Box::pin(read)));
            self.asked += bytes;
        }
        let ahead = &mut self.ahead;
        poll_fn(|context| {
            for piece in ahead.iter_mut() {
                if let Piece::Reading(read) = piece
                    && let Poll::Ready(done) = read.as_mut().poll(context)
                {
                    *piece = Piece::Read(done);
                }
            }
            if let Some(Piece::Reading(_)) = ahead.front() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        match self.ahead.pop_front() {
            Some(Piece::Read(Ok(blocks))) => Ok(blocks),
            Some(Piece::Read(Err(error))) => {
                self.finish().await;
                Err(error)
            }
            Some(Piece::Reading(_)) | None => unreachable!("the first piece was waited for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::yield_now;
    use runtime::sim::block_on;
    use std::cell::{Cell, RefCell};

    const SEGMENT: u64 = 1 << 20;
    const PIECE: u64 = SCAN_READ_BYTES as u64;
    const BYTES: u64 = 9 * PIECE + 5 * BLOCK_BYTES as u64;

    /// A file whose every byte says where it is, and whose reads take time.
    #[derive(Default)]
    struct Slow {
        running: Cell<usize>,
        most: Cell<usize>,
        reads: RefCell<Vec<u64>>,
        /// Reads from here on fail.
        broken: Option<u64>,
    }

    fn byte_at(position: u64) -> u8 {
        (position ^ position >> 8 ^ position >> 16) as u8
    }

    impl DiskFile for Slow {
        type Buf = Vec<u8>;

        async fn write_at(&self, _: Vec<u8>, _: u64) -> io::Result<()> {
            unreachable!("a window only reads")
        }

        async fn sync(&self) -> io::Result<()> {
            unreachable!("a window only reads")
        }

        async fn read_at(&self, position: u64, bytes: usize) -> io::Result<Vec<u8>> {
            self.reads.borrow_mut().push(position);
            self.running.set(self.running.get() + 1);
            self.most.set(self.most.get().max(self.running.get()));
            // Later reads are done first.
            for _ in 0..20u64.saturating_sub(position / PIECE) {
                yield_now().await;
            }
            self.running.set(self.running.get() - 1);
            if self.broken.is_some_and(|broken| position >= broken) {
                return Err(io::ErrorKind::Other.into());
            }
            Ok((position..position + bytes as u64).map(byte_at).collect())
        }

        fn len(&self) -> u64 {
            BYTES
        }

        async fn close(self) -> io::Result<()> {
            Ok(())
        }
    }

    fn check(bytes: &[u8], position: u64, count: u64) {
        let from = position - SEGMENT;
        assert_eq!(bytes.len() as u64, count.min(BYTES - from));
        assert!((from..).zip(bytes).all(|(at, byte)| *byte == byte_at(at)));
    }

    #[test]
    fn pieces_are_on_their_way_while_one_is_looked_at() {
        let file = Slow::default();
        let scanned = block_on(async {
            let mut window = Window::reading_ahead(&file, SEGMENT, Layout::even(BYTES));
            let mut rng = fastrand::Rng::with_seed(3);
            let mut at = SEGMENT;
            while at < SEGMENT + BYTES {
                let count = rng.u64(1..3 * PIECE / 2);
                check(window.at(at, count as usize).await.expect("it is whole"), at, count);
                assert!(window.bytes.len() as u64 <= 3 * PIECE);
                at += rng.u64(1..=count);
            }
            window.finish().await;
        });
        assert!(scanned.is_some(), "it hangs");
        assert_eq!((file.most.get(), file.running.get()), (1 + PIECES_AHEAD, 0));
        let all: Vec<u64> = (0..BYTES).step_by(SCAN_READ_BYTES).collect();
        assert_eq!(*file.reads.borrow(), all, "each once and in order");
    }

    #[test]
    fn a_look_at_the_middle_reads_nothing_before_it_and_nothing_ahead() {
        let file = Slow::default();
        let place = SEGMENT + 5 * PIECE + 3 * BLOCK_BYTES as u64 + 17;
        let looked = block_on(async {
            let mut window = Window::reading_ahead(&file, SEGMENT, Layout::even(BYTES));
            check(window.at(place, 64).await.expect("it is whole"), place, 64);
            check(window.at(place + 9, 3_000).await.expect("it is whole"), place + 9, 3_000);
        });
        assert!(looked.is_some(), "it hangs");
        let first = place - SEGMENT - 17;
        assert_eq!(*file.reads.borrow(), [first]);
    }

    #[test]
    fn a_piece_that_fails_is_told_when_it_is_wanted_and_nothing_stays_under_way() {
        let file = Slow { broken: Some(3 * PIECE), ..Slow::default() };
        let looked = block_on(async {
            let mut window = Window::reading_ahead(&file, SEGMENT, Layout::even(BYTES));
            for piece in 0..3 {
                let at = SEGMENT + piece * PIECE;
                check(window.at(at, SCAN_READ_BYTES).await.expect("it is whole"), at, PIECE);
            }
            assert!(window.at(SEGMENT + 3 * PIECE, 1).await.is_err());
            assert_eq!(file.running.get(), 0);
            window.finish().await;
        });
        assert!(looked.is_some(), "it hangs");
    }
}
