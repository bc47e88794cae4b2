//! Where a record lives among all logs of one broker.

/// Bits of the shard number.
pub const SHARD_BITS: u32 = 15;
/// Bits of the byte position in that shard's log.
pub const POSITION_BITS: u32 = 48;
/// Positions end here: 256 TiB of log per shard.
pub const POSITION_MAX: u64 = (1 << POSITION_BITS) - 1;

const _: () = assert!(SHARD_BITS + POSITION_BITS == 63);

/// Place of a record among all logs of this broker: 15 bits shard, 48 bits byte position. The sign bit stays 0,
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
        let offset = PhysicalOffset::new(32_767, POSITION_MAX);
        assert_eq!((offset.shard(), offset.position()), (32_767, POSITION_MAX));
        assert_eq!(offset.to_wire(), i64::MAX);
        assert_eq!(PhysicalOffset::from_wire(offset.to_wire()), Some(offset));
        assert_eq!(PhysicalOffset::from_wire(-1), None);
        assert_eq!(PhysicalOffset::new(0, 4096).to_wire(), 4096);
    }
}
