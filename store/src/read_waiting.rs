//! Records that are due, read together: those that left the tail cache cost one trip to the disk each, side by side.

use crate::{error::StoreError, join_bounded::join_bounded, store::Store};
use runtime::Disk;

/// Reads in flight.
const READS: usize = 32;

impl<D: Disk> Store<D> {
    /// The records at these positions, of so many bytes, in order. `None`: it is lost to damage. Errors are logged: the disk
    /// fails, and nothing is known of the record.
    pub async fn read_waiting(
        &self,
        places: impl Iterator<Item = (u64, u32)>,
    ) -> Vec<Result<Option<Vec<u8>>, StoreError>> {
        let reads = places.map(|(position, bytes)| self.read_one_waiting(position, bytes));
        join_bounded(reads, READS).await
    }

    /// One such record.
    pub async fn read_one_waiting(
        &self,
        position: u64,
        bytes: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        {
            let state = self.state();
            let ring = state.log.ring();
            if ring.holds(position, bytes as usize) {
                let mut record = vec![0; bytes as usize];
                ring.copy_to(position, &mut record);
                return Ok(Some(record));
            }
        }
        let read = self.read_record(position).await;
        if let Err(error) = &read {
            let shard = self.settings().shard;
            tracing::error!(shard, position, %error, "a message that waits cannot be read now");
        }
        read
    }
}
