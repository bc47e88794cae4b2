//! Keys of messages, as index files hold them: a hash and where the message lies.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Longest topic and key, together with the separator, that are put together before hashing.
const SHORT_BYTES: usize = 256;

/// One key of one message. Ordered by hash, then by place. Different keys may share a hash: the reader checks the
/// record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// [`key_hash`] of topic and key.
    pub hash: u32,
    /// Position of the record behind the beginning of its segment, bytes.
    pub at: u32,
}

impl Key {
    /// Hash and place as one number of the same order.
    pub(super) fn rank(self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.at)
    }
}

/// Hash of a key within its topic: the low 32 bits of XXH3-64 (seed 0) over the topic, `#`, and the key, as UTF-8.
/// Part of the file format, the same for ever.
pub fn key_hash(topic: &str, key: &str) -> u32 {
    let bytes = topic.len() + 1 + key.len();
    let mut short = [0; SHORT_BYTES];
    if let Some(room) = short.get_mut(..bytes) {
        let (front, back) = room.split_at_mut(topic.len());
        let (separator, back) = back.split_at_mut(1);
        front.copy_from_slice(topic.as_bytes());
        separator.copy_from_slice(b"#");
        back.copy_from_slice(key.as_bytes());
        return xxh3_64(room) as u32;
    }
    let mut state = Xxh3::new();
    for part in [topic.as_bytes(), b"#", key.as_bytes()] {
        state.update(part);
    }
    state.digest() as u32
}
