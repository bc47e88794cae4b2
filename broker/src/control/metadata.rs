//! What the tables of topics and groups have in common: their version, their limits, their refusals, their files.

use proto::body::{BodyError, DataVersion};

use super::attributes::AttributeError;
use super::names::NameError;
use crate::table_memory::TableMemory;

/// Topics that one broker takes; more are refused. A topic is a few hundred bytes in every snapshot and registration.
pub const TOPICS_MAX: usize = 200_000;
/// Groups that one broker takes; more are refused.
pub const GROUPS_MAX: usize = 200_000;
/// JSON of one group, whose retry policy and subscriptions are kept as they come, bytes.
pub(super) const GROUP_BYTES_MAX: usize = 16 * 1024;
/// Names that were deleted and that shards have yet to drop; more deletions are refused. A log that takes nothing more
/// keeps them until the next start.
pub(super) const DELETED_MAX: usize = 10_000;
/// Read or write queues of one topic.
pub const QUEUES_MAX: i32 = 65_535;
/// All permission bits: priority 8, read 4, write 2, inherit 1.
pub const PERM_BITS: i32 = 15;
/// Consumers may pull.
pub const PERM_READ: i32 = 4;
/// Producers may send.
pub const PERM_WRITE: i32 = 2;
/// The topic may serve as default topic of an automatic creation.
pub const PERM_INHERIT: i32 = 1;
/// Topic of a unit.
pub const SYS_FLAG_UNIT: i32 = 1;
/// Retry topic of a unit's group.
pub const SYS_FLAG_UNIT_SUB: i32 = 2;

/// Why a change of topics or groups was refused. `Display` is the remark; the wire code is chosen where answers are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The topic belongs to the broker.
    #[error("the topic[{topic}] is conflict with system topic")]
    SystemTopic {
        /// Its name.
        topic: String,
    },
    /// A number is outside its range.
    #[error("{field}={value} is not in the range {min} to {max}")]
    OutOfRange {
        /// Name of the request's field.
        field: &'static str,
        /// Its value.
        value: i32,
        /// Smallest value.
        min: i32,
        /// Largest value.
        max: i32,
    },
    /// Its attributes are none.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// The configuration is larger than one may be.
    #[error("configuration of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Bytes of its JSON.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many deletions wait for shards.
    #[error(
        "{count} deleted {what} wait to be dropped by their shards, the limit: a log takes nothing, or is very busy"
    )]
    Undropped {
        /// "topics" or "groups".
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// Memory has no room for it.
    #[error(
        "no room in the table of {what} for {name}, which takes {more} bytes: topics, their queues and groups take up \
         {bytes} bytes, the limit is {limit} (memoryBudgetMiB)"
    )]
    NoRoom {
        /// "topics" or "groups".
        what: &'static str,
        /// What does not fit.
        name: String,
        /// What it would take up, or more than before.
        more: usize,
        /// What there is takes up.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// There are too many locks of queues.
    #[error("no room for {name}: {there} of {limit} {unit} are there")]
    LocksFull {
        /// What does not fit.
        name: String,
        /// How much there is.
        there: usize,
        /// The limit.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// Changes come faster than the disk takes them.
    #[error(
        "[OVERLOAD] reason=metadata-unsaved bytes={bytes} limit={limit}: changes of topics and groups wait for the disk"
    )]
    Unsaved {
        /// Bytes of changes that wait.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The table is full.
    #[error("this broker holds {count} {what}, its limit")]
    Full {
        /// "topics" or "groups".
        what: &'static str,
        /// How many there are.
        count: usize,
    },
}

/// A file of metadata that cannot be read. The shell then tries the previous file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {cause}")]
pub struct MetadataFileError {
    /// Name of the file below `config/`.
    pub file: &'static str,
    /// What is wrong with it.
    pub cause: BodyError,
}

/// Refuses while changes of before wait for the disk, too many of them.
pub(super) fn check_unsaved(memory: &TableMemory) -> Result<(), MetadataError> {
    let (bytes, limit) = memory.unsaved();
    if bytes < limit { Ok(()) } else { Err(MetadataError::Unsaved { bytes, limit }) }
}

/// Refuses a number outside `min..=max`.
pub(super) fn check_range(
    field: &'static str,
    value: i32,
    min: i32,
    max: i32,
) -> Result<(), MetadataError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(MetadataError::OutOfRange { field, value, min, max })
}

/// Refuses one more deletion when too many wait.
pub(super) fn check_deleted(what: &'static str, count: usize) -> Result<(), MetadataError> {
    if count >= DELETED_MAX {
        return Err(MetadataError::Undropped { what, count });
    }
    Ok(())
}

/// The version after a change at `now` (ms). Differs from every earlier one, whatever the clock does.
pub(super) fn next_version(version: DataVersion, now: i64) -> DataVersion {
    DataVersion { timestamp: now, counter: version.counter.wrapping_add(1) }
}
