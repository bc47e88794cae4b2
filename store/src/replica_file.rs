//! What a store that follows another one must remember beside its log: how far it was once durable and committed here.
//!
//! The batches of a follower were closed by others and say nothing about this disk. The file `replica` in the shard's
//! directory does: what lies before `durable` and is not whole has rotted, what lies behind it may be the torn end of a
//! write; what lies before `committed` may be shown before the leader was heard. Both are lower bounds, written about once
//! a second by a follower, never by a leader. The file also says that a cut has begun, so that the next start ends it.
//!
//! | offset | bytes | name | |
//! |---|---|---|---|
//! | 0 | 4 | magic | `RMQF` |
//! | 4 | 2 | version | 1 |
//! | 6 | 2 | shard | |
//! | 8 | 8 | log id | |
//! | 16 | 8 | store id | |
//! | 24 | 8 | sequence | the slot with the larger one counts |
//! | 32 | 8 | committed | |
//! | 40 | 8 | durable | |
//! | 48 | 8 | cut to | all ones: no cut has begun |
//! | 56 | 4036 | zero | |
//! | 4092 | 4 | crc | CRC-32C over bytes 0..4092 |
//!
//! Two such slots of a block each, big-endian, written in turns: a torn write leaves the other one.

use crate::{error::StoreError, settings::Settings};
use runtime::{BLOCK_BYTES, Disk, DiskFile, Open, is_unreadable};
use std::{io::ErrorKind, path::PathBuf};

/// Name of the file.
pub const REPLICA_FILE: &str = "replica";

const MAGIC: [u8; 4] = *b"RMQF";
const VERSION: u16 = 1;
const SLOTS: u64 = 2;
const CRC_AT: usize = BLOCK_BYTES - 4;
const NO_CUT: u64 = u64::MAX;

/// What is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Everything before was committed here.
    pub committed: u64,
    /// Everything before was durable here.
    pub durable: u64,
    /// A cut to this position has begun.
    pub cut_to: Option<u64>,
}

/// A slot as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Shard whose log it is about.
    pub shard: u16,
    /// That log.
    pub log_id: u64,
    /// The store that wrote it: the directory's own.
    pub store_id: u64,
    /// Larger than that of the slot before.
    pub sequence: u64,
    /// What it says.
    pub bounds: Bounds,
}

/// The open file.
pub(crate) struct ReplicaFile<D: Disk> {
    disk: D,
    file: D::File,
    path: PathBuf,
    newest: Slot,
}

impl Slot {
    /// Writes the slot to exactly a block.
    pub fn encode(&self, block: &mut [u8]) {
        let Bounds { committed, durable, cut_to } = self.bounds;
        block.fill(0);
        block[0..4].copy_from_slice(&MAGIC);
        block[4..6].copy_from_slice(&VERSION.to_be_bytes());
        block[6..8].copy_from_slice(&self.shard.to_be_bytes());
        let numbers = [
            self.log_id,
            self.store_id,
            self.sequence,
            committed,
            durable,
            cut_to.unwrap_or(NO_CUT),
        ];
        for (number, out) in numbers.iter().zip(block[8..].chunks_exact_mut(8)) {
            out.copy_from_slice(&number.to_be_bytes());
        }
        let crc = crc32c::crc32c(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    }

    /// Reads a slot; `None` when it is not whole.
    pub fn decode(block: &[u8]) -> Option<Slot> {
        let block: &[u8; BLOCK_BYTES] = block.try_into().ok()?;
        let (content, crc) = block.split_last_chunk::<4>()?;
        let (head, rest) = content.split_first_chunk::<8>()?;
        let [m0, m1, m2, m3, v0, v1, s0, s1] = *head;
        let known = [m0, m1, m2, m3] == MAGIC && u16::from_be_bytes([v0, v1]) == VERSION;
        if !known || crc32c::crc32c(content) != u32::from_be_bytes(*crc) {
            return None;
        }
        let mut numbers = rest.as_chunks::<8>().0.iter().map(|bytes| u64::from_be_bytes(*bytes));
        let (log_id, store_id, sequence) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let (committed, durable, cut_to) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let cut_to = (cut_to != NO_CUT).then_some(cut_to);
        let bounds = Bounds { committed, durable, cut_to };
        Some(Slot { shard: u16::from_be_bytes([s0, s1]), log_id, store_id, sequence, bounds })
    }
}

impl<D: Disk> ReplicaFile<D> {
    /// Opens the file, if the store ever followed. One that rotted as a whole is as one that knows nothing.
    pub(crate) async fn open(
        disk: &D,
        settings: &Settings,
    ) -> Result<Option<ReplicaFile<D>>, StoreError> {
        let path = settings.dir.join(REPLICA_FILE);
        let file = match disk.open(&path, Open::ReadWrite).await {
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| StoreError::io("open", path.clone(), source))?,
        };
        let remove = |source| StoreError::io("remove", path.clone(), source);
        if file.len() != SLOTS * BLOCK_BYTES as u64 {
            // It was being created when the machine stopped.
            disk.remove(&path).await.map_err(remove)?;
            return Ok(None);
        }
        let mut newest = first_slot(settings);
        let mut whole = false;
        for slot in 0..SLOTS {
            let read = file.read_at(slot * BLOCK_BYTES as u64, BLOCK_BYTES).await;
            let block = match read {
                // As a slot that is not whole.
                Err(source) if is_unreadable(&source) => continue,
                read => read.map_err(|source| StoreError::io("read", path.clone(), source))?,
            };
            let Some(slot) = Slot::decode(block.as_ref()) else { continue };
            if (slot.shard, slot.log_id) != (settings.shard, settings.log_id) {
                continue;
            }
            whole = true;
            if slot.sequence > newest.sequence {
                newest = slot;
            }
        }
        if !whole {
            tracing::warn!(path = %path.display(), "says nothing about what was durable here");
        }
        newest.store_id = settings.store_id;
        Ok(Some(ReplicaFile { disk: disk.clone(), file, path, newest }))
    }

    /// Creates the file; it knows nothing yet.
    pub(crate) async fn create(
        disk: &D,
        settings: &Settings,
    ) -> Result<ReplicaFile<D>, StoreError> {
        let path = settings.dir.join(REPLICA_FILE);
        let bytes = SLOTS * BLOCK_BYTES as u64;
        let error = |source| StoreError::io("create", path.clone(), source);
        let file = disk.open(&path, Open::Create { bytes }).await.map_err(error)?;
        file.sync().await.map_err(error)?;
        disk.sync_dir(&settings.dir).await.map_err(error)?;
        Ok(ReplicaFile { disk: disk.clone(), file, path, newest: first_slot(settings) })
    }

    /// What it says.
    pub(crate) fn bounds(&self) -> Bounds {
        self.newest.bounds
    }

    /// Makes new bounds durable. The older slot is overwritten; the newer one stays until the next call.
    pub(crate) async fn write(&mut self, bounds: Bounds) -> Result<(), StoreError> {
        let slot = Slot { sequence: self.newest.sequence + 1, bounds, ..self.newest };
        let error = |source| StoreError::io("write", self.path.clone(), source);
        let mut block = self.disk.alloc(BLOCK_BYTES);
        slot.encode(block.as_mut());
        let position = slot.sequence % SLOTS * BLOCK_BYTES as u64;
        self.file.write_durably(block, position).await.map_err(error)?;
        self.newest = slot;
        Ok(())
    }

    /// As [`ReplicaFile::write`], into both slots: whichever of them rots, nothing older counts again.
    pub(crate) async fn write_both(&mut self, bounds: Bounds) -> Result<(), StoreError> {
        for _ in 0..SLOTS {
            self.write(bounds).await?;
        }
        Ok(())
    }
}

fn first_slot(settings: &Settings) -> Slot {
    Slot {
        shard: settings.shard,
        log_id: settings.log_id,
        store_id: settings.store_id,
        sequence: 0,
        bounds: Bounds::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_back_whole_or_not_at_all() {
        let bounds = Bounds { committed: 5, durable: 1 << 40, cut_to: Some(77) };
        let slot = Slot { shard: 3, log_id: 9, store_id: 11, sequence: 4, bounds };
        let mut block = vec![1; BLOCK_BYTES];
        slot.encode(&mut block);
        assert_eq!(Slot::decode(&block), Some(slot));
        for byte in (0..64).chain(CRC_AT - 1..BLOCK_BYTES) {
            block[byte] ^= 4;
            assert_eq!(Slot::decode(&block), None, "byte {byte}");
            block[byte] ^= 4;
        }
        let none = Slot { bounds: Bounds::default(), ..slot };
        none.encode(&mut block);
        assert_eq!(Slot::decode(&block).map(|slot| slot.bounds.cut_to), Some(None));
        assert_eq!(Slot::decode(&[0; BLOCK_BYTES]), None);
    }
}
