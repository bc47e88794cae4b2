//! Offsets that groups committed, as bytes: the content of a control entry, and of a piece of their section in index
//! files. Source of the layout: [`super::control`].

use super::{
    control::{ControlError, KIND_GROUP_OFFSETS},
    fields::{Fields, write_texts},
};

/// Bytes of a queue id with its offset.
pub(super) const PAIR_BYTES: usize = size_of::<u32>() + size_of::<i64>();
/// Most pairs under one pair of names.
pub(super) const PAIRS_MAX: usize = u16::MAX as usize;
/// Bytes of two names' lengths and of the number of pairs that follows them.
pub(super) const COUNTS_BYTES: usize = 3 * size_of::<u16>();

/// Content of a control entry of offsets, and of a piece of their section in index files: whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetChanges<'a>(&'a [u8]);

/// One offset that a group committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetChange<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The queue's id within the topic.
    pub queue_id: u32,
    /// The offset.
    pub offset: i64,
}

impl<'a> OffsetChanges<'a> {
    /// Reads a content; all of it is checked.
    pub fn decode(content: &'a [u8]) -> Result<OffsetChanges<'a>, ControlError> {
        OffsetChanges::decode_of(KIND_GROUP_OFFSETS, content)
    }

    /// The same of an entry of another kind, with the same layout.
    pub fn decode_of(kind: u16, content: &'a [u8]) -> Result<OffsetChanges<'a>, ControlError> {
        let walk = Walk::new(content);
        for change in walk {
            change.map_err(|what| ControlError::Malformed { kind, what })?;
        }
        Ok(OffsetChanges(content))
    }

    /// The content of a control entry that says so.
    pub fn encode(changes: &[OffsetChange<'_>]) -> Vec<u8> {
        let mut content = Vec::new();
        for change in changes {
            let OffsetChange { group, topic, queue_id, offset } = *change;
            write_pairs(&mut content, group, topic, std::iter::once((queue_id, offset)));
        }
        content
    }

    /// The offsets, in their order.
    pub fn iter(&self) -> impl Iterator<Item = OffsetChange<'a>> {
        Walk::new(self.0).map(|change| change.expect("checked when it was decoded"))
    }

    /// The bytes.
    pub fn content(&self) -> &'a [u8] {
        self.0
    }
}

/// Walks a content offset by offset; ends with the first error.
struct Walk<'a> {
    rest: Fields<'a>,
    group: &'a str,
    topic: &'a str,
    /// Pairs that follow under these names.
    pairs: u16,
}

impl<'a> Walk<'a> {
    fn new(content: &'a [u8]) -> Walk<'a> {
        Walk { rest: Fields(content), group: "", topic: "", pairs: 0 }
    }

    fn step(&mut self) -> Result<Option<OffsetChange<'a>>, &'static str> {
        while self.pairs == 0 {
            if self.rest.is_empty() {
                return Ok(None);
            }
            self.group = self.rest.text()?;
            self.topic = self.rest.text()?;
            self.pairs = u16::from_be_bytes(self.rest.take()?);
        }
        self.pairs -= 1;
        let queue_id = u32::from_be_bytes(self.rest.take()?);
        let offset = i64::from_be_bytes(self.rest.take()?);
        Ok(Some(OffsetChange { group: self.group, topic: self.topic, queue_id, offset }))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<OffsetChange<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            (self.rest, self.pairs) = (Fields(&[]), 0);
        }
        step.transpose()
    }
}

pub(super) fn write_pairs(
    out: &mut Vec<u8>,
    group: &str,
    topic: &str,
    pairs: impl Iterator<Item = (u32, i64)>,
) {
    write_texts(out, [group, topic]);
    let count_at = out.len();
    out.extend_from_slice(&[0; 2]);
    let mut count = 0u16;
    for (queue_id, offset) in pairs {
        out.extend_from_slice(&queue_id.to_be_bytes());
        out.extend_from_slice(&offset.to_be_bytes());
        count += 1;
    }
    out[count_at..count_at + 2].copy_from_slice(&count.to_be_bytes());
}
