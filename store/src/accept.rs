//! A log that follows another one: whole batches of its leader are taken at its end, byte for byte.
//!
//! What a batch holds goes through the same tables as at a start; it becomes visible when it is committed. The leader may
//! be wrong, or an old one: nothing of a batch is believed before its place, its log, its epoch and its checksum fit.

use crate::{
    batch::{Entries, Entry, HEADER_BYTES, Header},
    error::StoreError,
    lineage::EpochStart,
    replica_file::Bounds,
    state::{ControlEntry, ControlError},
    store::Store,
    store_state::StoreState,
};
use runtime::Disk;

/// Why bytes were not accepted. Nothing of the batch in question was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The disk is behind, or the next segment is not there yet: the same bytes may be offered again.
    #[error("shard={shard} reason=log-inflight")]
    Busy {
        /// Shard whose log it is.
        shard: u16,
    },
    /// The log takes no more bytes until restart.
    #[error("shard={shard} reason=log-poisoned cause={reason}")]
    Poisoned {
        /// Shard whose log it is.
        shard: u16,
        /// The first failure.
        reason: String,
    },
    /// This store leads its log.
    #[error("log of shard {shard} is led here in epoch {epoch}")]
    Leads {
        /// Shard whose log it is.
        shard: u16,
        /// Its epoch.
        epoch: u32,
    },
    /// The bytes are not a batch that may follow.
    #[error("log of shard {shard}, position {position}: {what}")]
    Unfit {
        /// Shard whose log it is.
        shard: u16,
        /// Where the batch should have stood: the log's end.
        position: u64,
        /// What does not fit.
        what: &'static str,
    },
}

impl StoreState {
    /// Takes the batch at the front of `bytes` at the end of the log. `keys`: its messages are to be found by key. Returns
    /// its length.
    pub fn accept(&mut self, bytes: &[u8], keys: bool) -> Result<usize, NotAccepted> {
        let (shard, position) = (self.shard(), self.log.appended());
        let unfit = |what| NotAccepted::Unfit { shard, position, what };
        if let Some(reason) = self.log.poisoned() {
            return Err(NotAccepted::Poisoned { shard, reason: reason.to_owned() });
        }
        if self.log.leads() {
            return Err(NotAccepted::Leads { shard, epoch: self.log.epoch() });
        }
        let header = Header::decode(bytes, position, self.log.shape().log_id)
            .map_err(|_| unfit("no batch of this log that belongs here"))?;
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        let batch = bytes.get(..whole).ok_or_else(|| unfit("a batch is cut"))?;
        let (head, payload) = batch.split_at(HEADER_BYTES);
        Header::check_payload(head, payload).map_err(|_| unfit("a batch fails its checksum"))?;
        self.check_epoch(&header, payload).map_err(unfit)?;
        check_known(payload, position).map_err(unfit)?;
        if !self.log.fits_batch(&header).map_err(unfit)? {
            return Err(NotAccepted::Busy { shard });
        }
        self.log.append_batch(&header, batch);
        self.replay_batch(&header, payload, None, keys);
        Ok(whole)
    }

    /// A batch is of the current epoch, or of a later one that begins with it.
    fn check_epoch(&self, header: &Header, payload: &[u8]) -> Result<(), &'static str> {
        let current = self.lineage().last();
        let (epoch, writer) = current.map_or((0, 0), |current| (current.epoch, current.writer));
        if header.epoch < self.log.epoch().max(epoch) {
            return Err("a batch of an older epoch");
        }
        if current.is_some() && header.epoch == epoch {
            return if header.writer == writer { Ok(()) } else { Err("another writer's epoch") };
        }
        match EpochStart::of_batch(header, payload) {
            Some(begun) if begun.start == header.position => Ok(()),
            _ => Err("an epoch does not begin with its start batch"),
        }
    }
}

/// A control entry that a newer broker wrote is refused: the state would be wrong without it.
fn check_known(payload: &[u8], position: u64) -> Result<(), &'static str> {
    for entry in Entries::new(payload, position) {
        if let Ok(Entry::Control { kind, content, .. }) = entry
            && let Err(ControlError::Unknown { .. }) = ControlEntry::decode(kind, content)
        {
            return Err("a control entry that this broker does not know: a newer one wrote it");
        }
    }
    Ok(())
}

impl<D: Disk> Store<D> {
    /// Takes whole batches of the leader, one behind the other, at the end of a log that follows. The commit loop
    /// writes them; they become visible once they are committed. Returns how many bytes were taken: after
    /// [`NotAccepted::Busy`] fewer, and none is an error.
    pub fn accept(&self, bytes: &[u8]) -> Result<usize, NotAccepted> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let accepted = self.state_mut().accept(rest, self.index_keys());
            match accepted {
                Ok(batch) => taken += batch,
                Err(NotAccepted::Busy { .. }) if taken > 0 => break,
                Err(error) => {
                    self.after_accepting(taken);
                    return Err(error);
                }
            }
        }
        self.after_accepting(taken);
        Ok(taken)
    }

    fn after_accepting(&self, taken: usize) {
        if taken > 0 {
            self.appended();
        }
        self.look_ahead();
    }

    /// What was durable here once and is not in the log: a follower that rotted must fetch it again before it may lead.
    /// Positions from the log's end on.
    pub fn lacking(&self) -> Option<std::ops::Range<u64>> {
        let until = self.lacking_until.get();
        let flushed = self.state().log.flushed();
        (flushed < until).then_some(flushed..until)
    }

    /// A follower leads from now on, in a new epoch that is larger than each before. Serve nothing before it is committed
    /// up to the position that is returned. An error when something is to be fetched again first, or no room.
    pub fn begin_epoch(&self, epoch: u32, now: i64) -> Result<u64, StoreError> {
        if let Some(lacking) = self.lacking() {
            return Err(StoreError::Corrupt {
                shard: self.settings.shard,
                position: lacking.start,
                what: "damaged from here on; fetch it from another replica before this one leads",
            });
        }
        let end = self.state_mut().begin_epoch(epoch, now)?;
        self.appended();
        Ok(end)
    }

    /// A follower notes how far its log is durable and committed, for the next start. For the tick, about once a second,
    /// and before an orderly end; nothing is written when nothing has changed.
    pub async fn note_bounds(&self) -> Result<(), StoreError> {
        let Some(mut file) = self.replica.borrow_mut().take() else { return Ok(()) };
        let bounds = {
            let state = self.state();
            let durable = state.log.flushed().max(self.lacking_until.get());
            Bounds { committed: state.log.committed().min(durable), durable, cut_to: None }
        };
        let written = if bounds == file.bounds() { Ok(()) } else { file.write(bounds).await };
        *self.replica.borrow_mut() = Some(file);
        written
    }
}
