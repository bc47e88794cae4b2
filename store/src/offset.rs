//! Where a record lives among all logs of one broker.

/// Bits of the shard number: as many shards as a store may have.
pub const SHARD_BITS: u32 = 10;
/// Most shards of a store.
pub const SHARDS_MAX: u16 = 1 << SHARD_BITS;
/// Bits of the byte position in that shard's log.
pub const POSITION_BITS: u32 = 53;
/// Positions end here: 8 PiB of log in a shard's life, 2.8 years of 100 MB/s.
pub const POSITION_MAX: u64 = (1 << POSITION_BITS) - 1;

/// From here on a log takes no messages, 16 GiB before its positions end: segments have at most 4 GiB, and what follows
/// must have room.
pub const MESSAGES_END: u64 = (1 << POSITION_BITS) - (16 << 30);
/// From here on it takes no control entries either: 8 GiB of offsets of groups are some years.
pub const CONTROL_END: u64 = (1 << POSITION_BITS) - (8 << 30);
/// From here on it takes nothing and is opened no more: 4 GiB of starts of some 150 bytes each.
pub const STARTS_END: u64 = (1 << POSITION_BITS) - (4 << 30);
/// From here on somebody should be warned: 90 % of what messages may use.
pub const POSITIONS_LOW: u64 = MESSAGES_END / 10 * 9;

const _: () = assert!(SHARD_BITS + POSITION_BITS == 63);
const _: () = assert!(MESSAGES_END < CONTROL_END && CONTROL_END < STARTS_END);

/// Place of a record among all logs of this broker: 10 bits shard, 53 bits byte position. The sign bit stays 0,
/// because Java clients carry it as a signed long (message id, transaction end, send-back).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysicalOffset(u64);

impl PhysicalOffset {
    /// The offset of `position` in the log of `shard`.
    ///
    /// # Panics
    /// When either does not fit: both come from our own log, never from a peer.
    pub fn new(shard: u16, position: u64) -> PhysicalOffset {
        assert!(u32::from(shard) < 1 << SHARD_BITS);
        assert!(position <= POSITION_MAX);
        PhysicalOffset(u64::from(shard) << POSITION_BITS | position)
    }

    /// What a client sent; `None` when negative.
    pub fn from_wire(value: i64) -> Option<PhysicalOffset> {
        u64::try_from(value).ok().map(PhysicalOffset)
    }

    /// As clients and records carry it.
    pub fn to_wire(self) -> i64 {
        self.0 as i64
    }

    /// The shard whose log holds the record.
    pub fn shard(self) -> u16 {
        (self.0 >> POSITION_BITS) as u16
    }

    /// Byte position in that shard's log.
    pub fn position(self) -> u64 {
        self.0 & POSITION_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_physical_offset_carries_shard_and_position_and_stays_positive() {
        let offset = PhysicalOffset::new(1_023, POSITION_MAX);
        assert_eq!((offset.shard(), offset.position()), (1_023, POSITION_MAX));
        assert_eq!(offset.to_wire(), i64::MAX);
        assert_eq!(PhysicalOffset::from_wire(offset.to_wire()), Some(offset));
        assert_eq!(PhysicalOffset::from_wire(-1), None);
        assert_eq!(PhysicalOffset::new(0, 4096).to_wire(), 4096);
    }
}
