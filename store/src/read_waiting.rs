//! Records that are due, read together: those that left the tail cache cost one trip to the disk each, side by side.

use crate::{
    consume_queue::record_check, error::StoreError, join_bounded::join_bounded,
    state::deferred::Due, store::Store,
};
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

    /// Records that are due. What one says of itself proves that it is whole; else its entry and its batch are asked for.
    pub async fn read_due(&self, all: &[Due]) -> Vec<Result<Option<Vec<u8>>, StoreError>> {
        join_bounded(all.iter().map(|due| self.read_one_due(due)), READS).await
    }

    async fn read_one_due(&self, due: &Due) -> Result<Option<Vec<u8>>, StoreError> {
        let Due { position, bytes, check, .. } = *due;
        let read = self.read_log(position, bytes as usize).await;
        if let Ok(Some(record)) = read
            && record_check(&record) == check
            && self.check_record(position, &record).is_ok()
        {
            return Ok(Some(record));
        }
        self.read_one_waiting(position, bytes).await
    }

    /// A record that waits, whatever for.
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
