//! Memory of members, groups that are online, and their subscriptions: how much there is, and how much there may be.
//! Kept up by [`super::members`]. Sizes per piece were measured, allocator included, and are on the large side.
//!
//! Who takes up much leaves more for others: a connection gets more only while it holds at most an eighth of what is free
//! then. One that names groups without end so gets a ninth of the memory, the next a ninth of the rest; after sixteen of
//! them 15 % are free for who comes then. Small holdings are not refused by that. (Dynamic thresholds, as switches divide
//! their buffers: A. Choudhury and E. Hahne, 1998.)

/// Of one connection in one group, its client id aside.
const MEMBER_BYTES: usize = 512;
/// Of a group that is online, with its first member.
const GROUP_BYTES: usize = 1_024;
/// A connection may hold the part 1 of so many of what is free.
const FREE_PARTS: usize = 8;
/// A connection may hold so much while there is room at all: two groups with a few topics.
const SMALL_HOLDING_BYTES: usize = 6 * 1_024;

/// Bytes that members take up.
#[derive(Debug)]
pub(super) struct MembersMemory {
    bytes: usize,
    bytes_max: usize,
    /// Of these, what the connection holds whose heartbeat is taken in.
    held: usize,
}

impl Default for MembersMemory {
    /// Without a limit: tests, and before the budget is known.
    fn default() -> MembersMemory {
        MembersMemory { bytes: 0, bytes_max: usize::MAX, held: 0 }
    }
}

impl MembersMemory {
    /// Takes no more in from now on than fits `bytes_max`.
    pub(super) fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// Bytes that are taken up, and the most that may be.
    pub(super) fn level(&self) -> (usize, usize) {
        (self.bytes, self.bytes_max)
    }

    /// A connection that holds so much sends a heartbeat.
    pub(super) fn begin(&mut self, held: usize) {
        self.held = held;
    }

    /// Bytes that the connection may take up beside what it holds.
    pub(super) fn room(&self) -> usize {
        let free = self.bytes_max.saturating_sub(self.bytes);
        let small = SMALL_HOLDING_BYTES.saturating_sub(self.held);
        // With so many more it holds its part of what is free then.
        let fair = free.saturating_sub(FREE_PARTS * self.held) / (FREE_PARTS + 1);
        free.min(fair.max(small))
    }

    /// Something that took up `before` takes up `after`. False: it does not fit, and nothing has changed. What shrinks
    /// always fits.
    pub(super) fn replace(&mut self, before: usize, after: usize) -> bool {
        if after.saturating_sub(before) > self.room() {
            return false;
        }
        self.bytes = self.bytes + after - before;
        self.held = (self.held + after).saturating_sub(before);
        true
    }

    /// Something is gone.
    pub(super) fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }
}

/// Bytes of a member.
pub(super) fn member_bytes(client_id: &str) -> usize {
    MEMBER_BYTES + client_id.len()
}

/// Bytes of a group.
pub(super) fn group_bytes(group: &str) -> usize {
    GROUP_BYTES + group.len()
}
