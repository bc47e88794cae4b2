//! Where segments begin and end.
//!
//! All segments are of one size, but for those of the first such size of a log: they begin small, and each is as large as
//! all before it. A log that is not used much takes little of the disk, and one that is used is soon in large segments.
//!
//! ```text
//! 0       f       2f              4f                              8f = s          2s
//! | first | first | 2 x first     | 4 x first                     | segment       | segment
//! ```
//!
//! The layout is fixed when the store is formatted, so that a segment's place tells its length.

use runtime::BLOCK_BYTES;

/// Bytes of a segment where nobody chooses otherwise.
pub const USUAL_SEGMENT_BYTES: u64 = 1 << 30;

/// Where the segments of a log begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    first_bytes: u64,
    segment_bytes: u64,
}

impl Layout {
    /// A first segment of `first_bytes`, others that grow to `segment_bytes`. `None`: segments are of whole blocks, and
    /// the first one doubled some times must be `segment_bytes`.
    pub fn new(first_bytes: u64, segment_bytes: u64) -> Option<Layout> {
        let whole = first_bytes > 0 && first_bytes.is_multiple_of(BLOCK_BYTES as u64);
        let times = segment_bytes.checked_div(first_bytes)?;
        let doubled = times.is_power_of_two() && segment_bytes.is_multiple_of(first_bytes);
        (whole && doubled).then_some(Layout { first_bytes, segment_bytes })
    }

    /// All segments of this size.
    pub const fn even(segment_bytes: u64) -> Layout {
        Layout { first_bytes: segment_bytes, segment_bytes }
    }

    /// Bytes of the first segment.
    pub fn first_bytes(&self) -> u64 {
        self.first_bytes
    }

    /// Bytes of the largest segments, and of all but the first ones.
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Start of the segment that `position` lies in.
    pub fn start_of(&self, position: u64) -> u64 {
        if position >= self.segment_bytes {
            position - position % self.segment_bytes
        } else if position < self.first_bytes {
            0
        } else {
            self.first_bytes << (position / self.first_bytes).ilog2()
        }
    }

    /// Bytes of the segment that begins at `start`.
    pub fn bytes_of(&self, start: u64) -> u64 {
        start.clamp(self.first_bytes, self.segment_bytes)
    }

    /// End of the segment that begins at `start`, and start of the next.
    pub fn end_of(&self, start: u64) -> u64 {
        start + self.bytes_of(start)
    }

    /// End of the segment that `position` lies in.
    pub fn end_behind(&self, position: u64) -> u64 {
        self.end_of(self.start_of(position))
    }

    /// Whether a segment begins at `position`.
    pub fn is_start(&self, position: u64) -> bool {
        self.start_of(position) == position
    }

    /// Whether a segment of so many bytes begins there.
    pub fn fits(&self, start: u64, bytes: u64) -> bool {
        self.is_start(start) && self.bytes_of(start) == bytes
    }

    /// End of the segments, from the beginning of the log on, that hold less than `bytes`; 0: there are none.
    pub fn end_of_smaller(&self, bytes: u64) -> u64 {
        let mut start = 0;
        while self.bytes_of(start) < bytes.min(self.segment_bytes) {
            start = self.end_of(start);
        }
        start
    }

    /// A layout of most of these segments, given as start and bytes, when nothing else tells it. There may be more than
    /// one: they differ in segments that are yet to come, or gone.
    pub fn of_segments(segments: &[(u64, u64)], usual_bytes: u64) -> Option<Layout> {
        let fitting = |layout: &Layout| layout.fitting(segments);
        let mut firsts: Vec<u64> = segments.iter().map(|(_, bytes)| *bytes).collect();
        firsts.sort_unstable();
        firsts.dedup();
        let layouts = firsts.iter().flat_map(|first| {
            let sizes = (0..u64::BITS).map_while(|times| first.checked_mul(1 << times));
            sizes
                .take_while(|bytes| *bytes <= usual_bytes.max(*first))
                .filter_map(|bytes| Layout::new(*first, bytes))
        });
        let best = layouts.max_by_key(|layout| (fitting(layout), layout.segment_bytes))?;
        (fitting(&best) > 0).then_some(best)
    }

    /// How many of these segments, given as start and bytes, are of this layout.
    pub fn fitting(&self, segments: &[(u64, u64)]) -> usize {
        segments.iter().filter(|(start, bytes)| self.fits(*start, *bytes)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn each_segment_begins_where_the_one_before_ends() {
        for layout in [
            Layout::new(64 * MIB, 1_024 * MIB).expect("doubled four times"),
            Layout::new(BLOCK_BYTES as u64, 16 * BLOCK_BYTES as u64).expect("the smallest"),
            Layout::even(12 * MIB),
        ] {
            let mut start = 0;
            for _ in 0..20 {
                let end = layout.end_of(start);
                assert!(layout.is_start(start), "{layout:?} {start}");
                for inside in [start + 1, start + layout.bytes_of(start) / 2, end - 1] {
                    assert_eq!(layout.start_of(inside), start, "{layout:?} {inside}");
                    assert_eq!(layout.end_behind(inside), end, "{layout:?} {inside}");
                    assert!(!layout.is_start(inside), "{layout:?} {inside}");
                }
                start = end;
            }
            assert!(start > 15 * layout.segment_bytes(), "{layout:?} {start}");
        }
        let starts = |layout: Layout| {
            std::iter::successors(Some(0), move |start| Some(layout.end_of(*start)))
                .map(|start| start / MIB)
        };
        let layout = Layout::new(64 * MIB, 1_024 * MIB).expect("doubled four times");
        assert_eq!(
            starts(layout).take(8).collect::<Vec<_>>(),
            [0, 64, 128, 256, 512, 1_024, 2_048, 3_072]
        );
    }

    #[test]
    fn a_size_that_does_not_double_to_the_other_is_refused() {
        assert_eq!(Layout::new(64 * MIB, 96 * MIB), None);
        assert_eq!(Layout::new(64 * MIB, 32 * MIB), None);
        assert_eq!(Layout::new(0, 32 * MIB), None);
        assert_eq!(Layout::new(1_000, 2_000), None);
        assert_eq!(Layout::new(MIB, MIB), Some(Layout::even(MIB)));
    }

    #[test]
    fn segments_tell_a_layout_that_they_fit() {
        let layout = Layout::new(64 * MIB, 256 * MIB).expect("doubled twice");
        let all: Vec<(u64, u64)> = std::iter::successors(Some(0), |s| Some(layout.end_of(*s)))
            .map(|start| (start, layout.bytes_of(start)))
            .take(8)
            .collect();
        assert_eq!(Layout::of_segments(&all, 1_024 * MIB), Some(layout));
        for from in 0..all.len() {
            for to in from + 1..=all.len() {
                let some = &all[from..to];
                let told = Layout::of_segments(some, 1_024 * MIB).expect("there are segments");
                assert_eq!(told.fitting(some), some.len(), "{told:?} {some:?}");
            }
        }
        let torn = [&all[..], &[(512 * MIB, 3 * MIB)]].concat();
        assert_eq!(Layout::of_segments(&torn, 1_024 * MIB), Some(layout));
        assert_eq!(Layout::of_segments(&[], 1_024 * MIB), None);
    }
}
