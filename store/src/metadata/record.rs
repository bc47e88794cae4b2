//! Records of the journal of metadata: how one change lies in the file, and what of a file can be believed. Pure.
//!
//! A record names its generation, its number, and how many records were durable when it was written. The last is what
//! tells a torn tail, which nobody was promised, from damage in the middle: a gap below the largest such number was
//! promised and is reported as lost; at a gap above it the journal ends.
//!
//! | offset | bytes | name | |
//! |---|---|---|---|
//! | 0 | 4 | magic | `RQF1` |
//! | 4 | 4 | crc | CRC-32C of everything behind it, the content included |
//! | 8 | 4 | bytes | of the content |
//! | 12 | 4 | number | from 0 in each journal |
//! | 16 | 4 | durable | records below this number were on disk before this one was written |
//! | 20 | 4 | zero | |
//! | 24 | 8 | generation | of the journal |
//! | 32 | n | content | then zeros up to a multiple of 8 |
//!
//! All numbers are little-endian.

const MAGIC: [u8; 4] = *b"RQF1";
const HEADER_BYTES: usize = 32;
const ALIGN: usize = 8;
/// Where the part that the CRC covers begins.
const COVERED_FROM: usize = 8;
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGN));

/// Bytes that a content takes in the file.
pub(super) fn bytes_of(content: &[u8]) -> usize {
    HEADER_BYTES + content.len().next_multiple_of(ALIGN)
}

/// Appends a record.
pub(super) fn encode(
    out: &mut Vec<u8>,
    generation: u64,
    number: u32,
    durable: u32,
    content: &[u8],
) {
    assert!(durable <= number);
    assert!(out.len().is_multiple_of(ALIGN));
    let start = out.len();
    let mut covered = Vec::with_capacity(bytes_of(content));
    covered.extend_from_slice(&(content.len() as u32).to_le_bytes());
    covered.extend_from_slice(&number.to_le_bytes());
    covered.extend_from_slice(&durable.to_le_bytes());
    covered.extend_from_slice(&[0; 4]);
    covered.extend_from_slice(&generation.to_le_bytes());
    covered.extend_from_slice(content);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
    out.extend_from_slice(&covered);
    out.resize(start + bytes_of(content), 0);
}

/// What of a journal can be believed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan<'a> {
    /// Contents in the order in which they were written.
    pub contents: Vec<&'a [u8]>,
    /// Records that were durable once and are damaged now.
    pub lost: u32,
    /// Whole records of a torn tail, which nobody was promised; they are not in `contents`.
    pub cut: u32,
}

/// Reads the bytes of a whole journal, whatever they are.
pub(super) fn scan(bytes: &[u8], generation: u64) -> Scan<'_> {
    let found = find(bytes, generation);
    let promised = found.iter().map(|record| record.durable).max().unwrap_or(0);
    let mut scan = Scan::default();
    let mut expected = 0;
    for (index, record) in found.iter().enumerate() {
        // A damaged place may hide a number that then seems to come twice; the first is the one in order.
        if record.number < expected {
            continue;
        }
        if record.number > expected {
            if expected >= promised {
                scan.cut = (found.len() - index) as u32;
                break;
            }
            scan.lost += record.number.min(promised) - expected;
            if record.number > promised {
                scan.cut = (found.len() - index) as u32;
                break;
            }
        }
        scan.contents.push(record.content);
        expected = record.number + 1;
    }
    scan
}

struct Record<'a> {
    number: u32,
    durable: u32,
    content: &'a [u8],
}

/// All whole records; what lies between them is stepped over.
fn find(bytes: &[u8], generation: u64) -> Vec<Record<'_>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while rest.len() >= HEADER_BYTES {
        let step = match decode(rest, generation) {
            Some(record) => {
                let step = bytes_of(record.content);
                found.push(record);
                step
            }
            None => ALIGN,
        };
        rest = rest.get(step..).unwrap_or_default();
    }
    found
}

/// The record at the beginning of `bytes`, if it is whole and of this journal.
fn decode(bytes: &[u8], generation: u64) -> Option<Record<'_>> {
    if !bytes.starts_with(&MAGIC) {
        return None;
    }
    let word = |at: usize| {
        let word = bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*word))
    };
    let content_bytes = usize::try_from(word(8)?).ok()?;
    let covered = bytes.get(COVERED_FROM..HEADER_BYTES.checked_add(content_bytes)?)?;
    if crc32c::crc32c(covered) != word(4)? {
        return None;
    }
    let (number, durable) = (word(12)?, word(16)?);
    let written = u64::from_le_bytes(*bytes.get(24..)?.first_chunk()?);
    if written != generation || durable > number {
        return None;
    }
    let content = bytes.get(HEADER_BYTES..)?.get(..content_bytes)?;
    Some(Record { number, durable, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: u64 = 7;

    /// Batches of these sizes; returns the bytes and where each record begins.
    fn journal(batches: &[u32]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts, mut number) = (Vec::new(), Vec::new(), 0);
        for batch in batches {
            let durable = number;
            for _ in 0..*batch {
                starts.push(bytes.len());
                let content = vec![number as u8; 5 + number as usize];
                encode(&mut bytes, GENERATION, number, durable, &content);
                number += 1;
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4096) + 4096, 0);
        (bytes, starts)
    }

    fn seen(bytes: &[u8]) -> (Vec<u8>, u32, u32) {
        let scan = scan(bytes, GENERATION);
        let firsts = scan.contents.iter().filter_map(|content| content.first().copied()).collect();
        (firsts, scan.lost, scan.cut)
    }

    #[test]
    fn what_was_written_is_read_and_other_journals_are_not() {
        let (bytes, _) = journal(&[1, 3, 2]);
        assert_eq!(seen(&bytes), (vec![0, 1, 2, 3, 4, 5], 0, 0));
        assert_eq!(scan(&bytes, GENERATION + 1), Scan::default());
        assert_eq!(scan(&[], GENERATION), Scan::default());
        assert_eq!(scan(&[0xff; 5000], GENERATION), Scan::default());
    }

    /// A damaged record that a later batch saw durable is lost; one of the last batch ends the journal.
    #[test]
    fn damage_in_the_middle_is_counted_and_a_torn_tail_is_cut() {
        let (bytes, starts) = journal(&[1, 3, 2]);
        let damaged = |which: usize, at: usize| {
            let mut bytes = bytes.clone();
            bytes[starts[which] + at] ^= 0x10;
            seen(&bytes)
        };
        for at in [0, 4, 8, 9, 11, 12, 16, 24, 33] {
            assert_eq!(damaged(0, at), (vec![1, 2, 3, 4, 5], 1, 0), "byte {at}");
            assert_eq!(damaged(2, at), (vec![0, 1, 3, 4, 5], 1, 0), "byte {at}");
            assert_eq!(damaged(4, at), (vec![0, 1, 2, 3], 0, 1), "byte {at}: torn");
            assert_eq!(damaged(5, at), (vec![0, 1, 2, 3, 4], 0, 0), "byte {at}: torn");
        }
        let mut bytes = bytes.clone();
        bytes[starts[3]..starts[5]].fill(0xa5);
        assert_eq!(seen(&bytes), (vec![0, 1, 2], 1, 1), "one was promised, the other not");
    }

    /// Whatever bytes are there: no panic, and nothing that was not written.
    #[test]
    fn no_bytes_break_the_scan() {
        let mut random = fastrand::Rng::with_seed(5);
        let (whole, _) = journal(&[2, 5, 9, 1]);
        for _ in 0..3_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..40) {
                let at = random.usize(..bytes.len().min(1200));
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            let (firsts, ..) = seen(&bytes);
            assert!(firsts.is_sorted() && firsts.iter().all(|first| *first < 17));
        }
    }
}
