//! Finding the next byte of a JSON string that is not itself, eight at a time: quote, backslash or control character.
//! Reader and writer share it, because both copy or skip the run before it.

/// Position of the first quote, backslash or byte below 0x20 at or after `from`, or the length of `bytes`.
#[inline]
pub(super) fn special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(is_special))
        .map_or(bytes.len(), |ahead| at + ahead)
}

fn is_special(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks bytes below `limit` (at most 0x80) by their high bit.
const fn below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(ONES * limit) & !word & HIGHS
}

/// Sets the high bit of special bytes. A borrow may mark bytes above the first hit wrongly, never below it, so the lowest
/// mark is exact.
const fn marks(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let slash = word ^ (ONES * b'\\' as u64);
    below(word, 0x20) | below(quote, 1) | below(slash, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_plain_search() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.usize(..40))
                .map(|_| if random.u8(..) < 20 { random.u8(..) } else { random.u8(0x1E..=0xFF) })
                .collect();
            let from = random.usize(..=bytes.len());
            let plain =
                bytes[from..].iter().position(is_special).map_or(bytes.len(), |ahead| from + ahead);
            assert_eq!(special(&bytes, from), plain, "{bytes:x?} from {from}");
        }
    }
}
