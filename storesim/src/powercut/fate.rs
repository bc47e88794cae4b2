//! What becomes of writes and names that no sync covered when the power goes.
//!
//! Everything is decided per cut by a [`Mood`], because independent coins alone would hardly ever lose everything,
//! keep everything, or keep exactly what came first. Writes tear at sectors of 512 bytes or at blocks of 4 KiB.

use fastrand::Rng;
use std::ops::Range;

/// How a cut treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing of it survives.
    Lost,
    /// All of it survives.
    Kept,
    /// What ended before the moment survives, what was under way then is torn, the rest is lost.
    Until(usize),
    /// Each has its own fate, in no order.
    Scattered,
}

/// What survives of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    Whole,
    /// Some of its units.
    Torn,
}

impl Mood {
    /// A mood for a cut at which moments of `since` are undecided.
    pub(super) fn any(since: Range<usize>, rng: &mut Rng) -> Mood {
        match rng.u8(0..8) {
            0 | 1 => Mood::Lost,
            2 => Mood::Kept,
            3 | 4 if !since.is_empty() => Mood::Until(rng.usize(since)),
            _ => Mood::Scattered,
        }
    }

    /// The fate of a write that began and ended at these moments.
    pub(super) fn write(self, begun: usize, ended: Option<usize>, rng: &mut Rng) -> Fate {
        match self {
            Mood::Lost => Fate::Lost,
            Mood::Kept => Fate::Whole,
            Mood::Until(cut) if ended.is_some_and(|ended| ended < cut) => Fate::Whole,
            Mood::Until(cut) if begun >= cut => Fate::Lost,
            Mood::Until(_) => Fate::Torn,
            Mood::Scattered => [Fate::Lost, Fate::Whole, Fate::Torn, Fate::Torn][rng.usize(0..4)],
        }
    }

    /// Whether a change of names survives that began at this moment.
    pub(super) fn change(self, begun: usize, rng: &mut Rng) -> bool {
        match self {
            Mood::Lost => false,
            Mood::Kept => true,
            Mood::Until(cut) => begun < cut,
            Mood::Scattered => rng.bool(),
        }
    }

    /// How much of a length of `bytes` survives.
    pub(super) fn length(self, bytes: u64, rng: &mut Rng) -> u64 {
        match self {
            Mood::Lost => 0,
            Mood::Kept => bytes,
            Mood::Until(_) | Mood::Scattered => match rng.u8(0..4) {
                0 => 0,
                1 => rng.u64(0..=bytes),
                2 => rng.u64(0..=bytes / 4096) * 4096,
                _ => bytes,
            },
        }
    }
}

/// The parts of a write of `bytes` that survive when it is torn.
pub(super) fn torn(bytes: usize, rng: &mut Rng) -> Vec<Range<usize>> {
    let unit = if rng.bool() { 512 } else { 4096 };
    let units = bytes.div_ceil(unit);
    let at = rng.usize(0..=units);
    let form = rng.u8(0..3);
    let survives = |index: usize, rng: &mut Rng| match form {
        0 => index < at,
        1 => index >= at,
        _ => rng.bool(),
    };
    (0..units)
        .filter(|index| survives(*index, rng))
        .map(|index| index * unit..((index + 1) * unit).min(bytes))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_lies_within_the_write_and_breaks_at_sectors() {
        let mut rng = Rng::with_seed(1);
        let (mut whole, mut nothing) = (0, 0);
        for _ in 0..1_000 {
            let parts = torn(8192, &mut rng);
            assert!(parts.iter().all(|part| part.start % 512 == 0 && part.end % 512 == 0));
            assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let kept: usize = parts.iter().map(|part| part.len()).sum();
            assert!(kept <= 8192);
            whole += usize::from(kept == 8192);
            nothing += usize::from(kept == 0);
        }
        assert!(whole > 10 && nothing > 10);
    }

    #[test]
    fn a_moment_parts_what_was_finished_from_what_was_not() {
        let mut rng = Rng::with_seed(1);
        let mood = Mood::Until(10);
        assert_eq!(mood.write(3, Some(9), &mut rng), Fate::Whole);
        assert_eq!(mood.write(3, Some(10), &mut rng), Fate::Torn);
        assert_eq!(mood.write(3, None, &mut rng), Fate::Torn);
        assert_eq!(mood.write(10, None, &mut rng), Fate::Lost);
    }
}
