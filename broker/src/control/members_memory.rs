//! Memory of members, groups that are online, and their subscriptions: how much there is, and how much there may be.
//! Kept up by [`super::members`]. Sizes per piece were measured, allocator included, and are on the large side.

/// Of one connection in one group, its client id aside.
const MEMBER_BYTES: usize = 512;
/// Of a group that is online, with its first member.
const GROUP_BYTES: usize = 1_024;

/// Bytes that members take up.
#[derive(Debug)]
pub(super) struct MembersMemory {
    bytes: usize,
    bytes_max: usize,
}

impl Default for MembersMemory {
    /// Without a limit: tests, and before the budget is known.
    fn default() -> MembersMemory {
        MembersMemory { bytes: 0, bytes_max: usize::MAX }
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

    /// Bytes that may still be taken up.
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes)
    }

    /// Something that took up `before` takes up `after`. False: it does not fit, and nothing has changed. What shrinks
    /// always fits.
    pub(super) fn replace(&mut self, before: usize, after: usize) -> bool {
        if after.saturating_sub(before) > self.room() {
            return false;
        }
        self.bytes = self.bytes + after - before;
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
