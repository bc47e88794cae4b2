//! What can go wrong at the border of the store, with what an operator needs to know.

use runtime::durable_file::DurableFileError;
use std::{io, path::PathBuf};

/// A failure of the store itself.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused something.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb ("open", "write").
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes at this place are not what was written.
    #[error("log of shard {shard}, position {position}: {what}")]
    Corrupt {
        /// Shard whose log it is.
        shard: u16,
        /// Position in that log.
        position: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// A file of the store does not have the shape it must have.
    #[error("{path}: {what}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// A file of the store is whole and says what this code does not know. Nothing was changed.
    #[error(
        "{path}: {what}; a newer version of RingMQ wrote it: start that one, or put back a copy of the data directory \
         from before",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
    /// Another process holds the data directory.
    #[error("{path} is held by {holder}; two brokers must not share a data directory", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into it.
        holder: String,
    },
    /// The log takes nothing now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// An earlier write or sync failed. The log takes no more bytes until restart.
    #[error("log of shard {shard} is poisoned since: {reason}")]
    Poisoned {
        /// Shard whose log it is.
        shard: u16,
        /// The first failure.
        reason: String,
    },
}

impl From<DurableFileError> for StoreError {
    fn from(error: DurableFileError) -> StoreError {
        match error {
            DurableFileError::Io { action, path, source } => {
                StoreError::Io { action, path, source }
            }
            DurableFileError::Unusable { path, contents } => {
                let reasons: Vec<String> = contents.iter().map(ToString::to_string).collect();
                let what = format!(
                    "damaged, and there is no whole backup of it ({}): put it back from a copy",
                    reasons.join("; ")
                );
                StoreError::Malformed { path, what }
            }
        }
    }
}

impl StoreError {
    /// Wraps what the system said.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> StoreError {
        StoreError::Io { action, path: path.into(), source }
    }

    /// Whether the disk had no room, or this user's share of it.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if runtime::is_lack_of_room(source))
    }
}

/// Why an append was not accepted. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is waiting for the disk.
    #[error("shard={shard} reason=log-inflight inflight={inflight} limit={limit}")]
    Busy {
        /// Shard whose log it is.
        shard: u16,
        /// Bytes appended and not yet committed.
        inflight: u64,
        /// Most bytes that may be so.
        limit: u64,
    },
    /// The next segment of the log is on its way.
    #[error("shard={shard} reason=log-room room_left={left} wanted={wanted}")]
    RoomAwaited {
        /// Shard whose log it is.
        shard: u16,
        /// Bytes that are left.
        left: u64,
        /// Bytes that are wanted, with the reserve for control entries.
        wanted: u64,
    },
    /// The log is poisoned.
    #[error("shard={shard} reason=log-poisoned cause={reason}")]
    Poisoned {
        /// Shard whose log it is.
        shard: u16,
        /// The first failure.
        reason: String,
    },
    /// The log follows that of another store, where entries are appended.
    #[error("shard={shard} reason=replica")]
    Replica {
        /// Shard whose log it is.
        shard: u16,
    },
    /// There is no room for messages. Offsets of groups are still taken, and messages again when there is room.
    #[error("shard={shard} reason=disk-full {reason}")]
    DiskFull {
        /// Shard whose log it is.
        shard: u16,
        /// How full, and what the limits are.
        reason: String,
    },
    /// The log has been given nearly as many bytes in its life as there are positions. Nothing makes room again.
    #[error(
        "shard={shard} reason=positions-used-up position={position} limit={limit}; this store takes no more: consume \
         what it holds and begin a new one"
    )]
    PositionsUsedUp {
        /// Shard whose log it is.
        shard: u16,
        /// Where the next entry would go.
        position: u64,
        /// Where such entries end.
        limit: u64,
    },
    /// Memory holds too many messages that no index file covers.
    #[error(
        "shard={shard} reason=index-behind entries={entries} limit={entries_max} keys={keys} limit={keys_max} \
         (shardIndexEntriesMax) cause={}",
        cause.as_deref().unwrap_or("index files are being written")
    )]
    IndexBehind {
        /// Shard whose log it is.
        shard: u16,
        /// Entries of consume queues.
        entries: u64,
        /// Most of them.
        entries_max: u64,
        /// Keys of messages.
        keys: u64,
        /// Most of them.
        keys_max: u64,
        /// Why the last index file could not be written, if it could not.
        cause: Option<String>,
    },
    /// Too many records wait until they are due.
    #[error("shard={shard} reason=timers waiting={waiting} limit={limit} (shardTimersMax)")]
    TooManyWait {
        /// Shard where they wait.
        shard: u16,
        /// How many wait.
        waiting: usize,
        /// Most that may.
        limit: usize,
    },
    /// Too many half messages are open.
    #[error(
        "shard={shard} reason=transactions open={open} limit={limit} (shardOpenTransactionsMax)"
    )]
    TooManyHalves {
        /// Shard where they lie.
        shard: u16,
        /// How many are open.
        open: usize,
        /// Most that may be.
        limit: usize,
    },
    /// The record is larger than the log can hold.
    #[error("record of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Size of the record.
        bytes: usize,
        /// Largest record.
        limit: usize,
    },
}
