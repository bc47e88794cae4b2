//! Where the ext fields of a header live: spans into the header's own bytes, or into the arena's text for what had to be
//! rewritten (escapes, binary headers). A span costs 8 bytes and no allocation, and resolving it is one checked slice.

use super::{EXT_FIELDS_MAX, HeaderError};

/// Arena memory kept between headers; what a larger header needed is given back before the next one.
const KEEP_BYTES_MAX: usize = 64 * 1024;

/// Memory reused from header to header of one connection.
#[derive(Debug, Default)]
pub struct HeaderArena {
    entries: Vec<Entry>,
    /// One bit per key seen, chosen by [`key_bit`]: a clear bit proves a key new without comparing.
    seen: u64,
    /// Text that is not a piece of the input.
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Span,
    value: Span,
}

/// A piece of text: in the header's bytes, or in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// First byte; [`IN_ARENA`] tells which text.
    start: u32,
    bytes: u32,
}

const IN_ARENA: u32 = 1 << 31;
const _: () = assert!(crate::frame::HEADER_BYTES_MAX < IN_ARENA as usize);

impl Span {
    /// A piece of the input. Its length was checked against the header limit, so both numbers fit.
    pub(super) fn input(start: usize, end: usize) -> Self {
        debug_assert!(start <= end);
        Self { start: narrow(start), bytes: narrow(end - start) }
    }

    /// A piece of the arena's text.
    pub(super) fn arena(start: usize, end: usize) -> Self {
        let span = Self::input(start, end);
        Self { start: span.start | IN_ARENA, ..span }
    }

    pub(super) fn of<'a>(self, input: &'a str, text: &'a str) -> &'a str {
        let source = if self.start & IN_ARENA == 0 { input } else { text };
        let start = (self.start & !IN_ARENA) as usize;
        source.get(start..start + self.bytes as usize).unwrap_or_default()
    }
}

/// Positions stay below 2^31: a header has at most 2^24 bytes and decoding at most doubles it.
fn narrow(position: usize) -> u32 {
    debug_assert!(position < IN_ARENA as usize);
    position as u32
}

impl HeaderArena {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.entries.shrink_to(EXT_FIELDS_MAX);
        self.text.clear();
        if self.text.capacity() > KEEP_BYTES_MAX {
            self.text.shrink_to(KEEP_BYTES_MAX);
        }
        self.seen = 0;
    }

    /// Copies `text` into the arena.
    pub(super) fn keep(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span::arena(start, self.text.len())
    }

    /// Appends a field whose key was not seen before; `false` when it was or when there are too many.
    pub(super) fn push_new(&mut self, input: &str, key: Span, value: Span) -> bool {
        let name = key.of(input, &self.text);
        let bit = key_bit(name);
        let known = self.seen & bit != 0 && self.position(input, name).is_some();
        if known || self.entries.len() >= EXT_FIELDS_MAX {
            return false;
        }
        self.seen |= bit;
        self.entries.push(Entry { key, value });
        true
    }

    /// Puts a field in place of an earlier one of that name, or at the end.
    pub(super) fn put(&mut self, key: &str, value: &str) -> Result<(), HeaderError> {
        let value = self.keep(value);
        let bit = key_bit(key);
        let known = if self.seen & bit == 0 { None } else { self.position("", key) };
        if let Some(entry) = known.and_then(|index| self.entries.get_mut(index)) {
            entry.value = value;
        } else if self.entries.len() < EXT_FIELDS_MAX {
            self.seen |= bit;
            let key = self.keep(key);
            self.entries.push(Entry { key, value });
        } else {
            return Err(HeaderError::TooManyFields);
        }
        Ok(())
    }

    /// Takes a field out again: a later null hides it.
    pub(super) fn remove(&mut self, key: &str) {
        if let Some(index) = self.position("", key) {
            self.entries.remove(index);
        }
    }

    fn position(&self, input: &str, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key.of(input, &self.text) == name)
    }

    pub(super) fn view<'a>(&'a self, input: &'a str) -> Ext<'a> {
        Ext { input, text: &self.text, entries: &self.entries }
    }

    /// Ext fields from pairs, for callers that have no header bytes (tests, an embedded name server). A repeated key
    /// keeps its last value; pairs beyond [`EXT_FIELDS_MAX`] are refused.
    pub fn ext_from<'a>(&'a mut self, pairs: &[(&str, &str)]) -> Result<Ext<'a>, HeaderError> {
        self.clear();
        for (key, value) in pairs {
            self.put(key, value)?;
        }
        Ok(self.view(""))
    }
}

/// Spreads the keys that occur over 64 bits. Neighbouring one-letter keys of V2 sends get different bits, because their
/// letter counts 1 + 6 times, which is odd.
fn key_bit(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let first = bytes.first().copied().unwrap_or_default();
    let last = bytes.last().copied().unwrap_or_default();
    let length = bytes.len() as u8;
    let mix = first.wrapping_add(last.wrapping_mul(6)).wrapping_add(length.wrapping_mul(13));
    1 << (mix & 63)
}

/// The ext fields of a header, in the order of the wire. Numbers and booleans are given as text, null values are gone,
/// and no key occurs twice (the last one won).
#[derive(Clone, Copy, Debug, Default)]
pub struct Ext<'a> {
    input: &'a str,
    text: &'a str,
    entries: &'a [Entry],
}

impl<'a> Ext<'a> {
    /// The value of `key`. A typed header reads all fields in one pass instead.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let Self { input, text, entries } = *self;
        entries.iter().map(move |entry| (entry.key.of(input, text), entry.value.of(input, text)))
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
