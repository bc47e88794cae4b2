//! Records that are due, read together: those that left the tail cache cost one trip to the disk each, side by side.

use crate::{join_bounded::join_bounded, state::deferred::Due, store::Store};
use runtime::Disk;

/// Reads in flight.
const READS: usize = 32;

impl<D: Disk> Store<D> {
    /// The records that were handed out, in order. `None`: it is lost to damage, or the disk does not give it, which is
    /// logged.
    pub async fn read_waiting(&self, due: &[Due]) -> Vec<Option<Vec<u8>>> {
        join_bounded(due.iter().map(|due| self.read_one_waiting(*due)), READS).await
    }

    async fn read_one_waiting(&self, Due { position, bytes, .. }: Due) -> Option<Vec<u8>> {
        {
            let state = self.state();
            let ring = state.log.ring();
            if ring.holds(position, bytes as usize) {
                let mut record = vec![0; bytes as usize];
                ring.copy_to(position, &mut record);
                return Some(record);
            }
        }
        match self.read_record(position).await {
            Ok(record) => record,
            Err(error) => {
                let shard = self.settings().shard;
                tracing::error!(shard, position, %error, "a message that is due cannot be read");
                None
            }
        }
    }
}
