//! JSON bodies as structs, one file per family: what Java, Go, C++ and mqadmin put into requests and read from answers.
//!
//! Each is declared once, as a table of its members (`member::body!`). Reading is as lenient as fastjson: unquoted and object keys, numbers as strings and the reverse, enums as names or
//! ordinals, absent and null fields take their defaults, unknown fields are skipped. Writing is Java's shape: compact,
//! members in alphabetical order, integer and object keys unquoted, null members left out; tables are sorted by key.
//! The files under `config/` have the same shapes, only pretty-printed, and are read by the same readers.
//! Always holds: what `write` wrote `read` gives back; a limit is checked before memory is spent on foreign bytes.

mod access;
mod assignment;
mod client;
mod cluster;
mod connection;
mod consume_queue;
mod fields;
mod group;
mod heartbeat;
mod kv;
mod lock;
mod member;
mod offset;
pub mod pieces;
mod pop;
mod queue;
mod register;
mod replication;
mod route;
mod running;
mod stats;
mod streamed;
mod subscription;
#[cfg(test)]
mod tests;
mod topic;
mod version;
mod writer;

pub use access::{AclInfo, PolicyEntryInfo, PolicyInfo, UserInfo};
pub use assignment::{
    GroupRequestMode, MessageRequestMode, QueryAssignmentRequest, QueryAssignmentResponse,
    QueueAssignment, RequestModeTable, SetRequestModeRequest,
};
pub use client::{CheckClientRequest, ConsumerIdList};
pub use cluster::ClusterInfo;
pub use connection::{
    Connection, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTable,
};
pub use consume_queue::{ConsumeQueueAnswer, ConsumeQueueEntry, ConsumerFilter};
pub use group::{
    GroupConfigList, GroupForbidden, GroupList, SubscriptionGroupConfig, SubscriptionGroupTable,
};
pub use heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData,
};
pub use kv::KvTable;
pub use lock::{LockBatchRequest, LockBatchResponse, LockedQueues, QueueLockTable};
pub use member::Json;
pub use offset::{ConsumerOffsetTable, CorrectionOffsets, DelayOffsetTable};
pub use pop::{AckBits, BatchAck, BatchAckBody};
pub use queue::MessageQueue;
pub use register::{INFLATED_BYTES_MAX, RegisterBrokerBody};
pub use replication::{
    BrokerMemberGroup, BrokerReplicasInfo, EpochCache, EpochEntry, HaClientInfo, HaConnectionInfo,
    HaRuntimeInfo, ReplicaIdentity, ReplicasInfo,
};
pub use route::{BrokerData, QueueData, RouteData};
pub use running::{
    ConsumeMessageDirectlyResult, ConsumeStatus, ConsumerRunningInfo, ProcessQueueInfo,
};
pub use stats::{
    BrokerStatsData, ConsumeProgress, ConsumeStats, ConsumeStatsList, ConsumeStatsWriter,
    ConsumeTimeSpans, ConsumerStatus, QueueBounds, QueueTimeSpan, ResetOffsets, StatsWindow,
    TopicStatsTable,
};
pub use subscription::{GroupSubscription, SubscriptionData};
pub use topic::{TopicConfig, TopicConfigList, TopicConfigTable, TopicFilterType, TopicList};
pub use version::DataVersion;

use thiserror::Error;

use crate::fastjson::JsonError;

/// Why bytes are not the body that was expected.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The body is longer than its family may be, in bytes. Nothing was read.
    #[error("body of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Length found; for a compressed body a lower bound of the inflated length.
        bytes: usize,
        /// Limit applied.
        bytes_max: usize,
    },
    /// The values of the body would take up too much memory, estimated before it is spent.
    #[error("body holds values of {tree_bytes} bytes in memory, the limit is {tree_bytes_max}")]
    TooManyValues {
        /// Estimated bytes.
        tree_bytes: usize,
        /// Limit applied.
        tree_bytes_max: usize,
    },
    /// Not JSON, not even fastjson's.
    #[error("body is not JSON: {0}")]
    Json(#[from] JsonError),
    /// A number is out of every range.
    #[error("body holds a value that cannot be read: {0}")]
    Value(#[from] serde_json::Error),
    /// A member has the wrong kind of value.
    #[error("{name} in the body is not {expected}")]
    Member {
        /// Name of the member; `body` for the whole.
        name: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
    /// A compressed body is not a zlib stream.
    #[error("body does not inflate: {0}")]
    Inflate(#[source] std::io::Error),
    /// A compressed body's parts are cut short or have impossible lengths.
    #[error("inflated body is cut short in its {part}")]
    Incomplete {
        /// Which part.
        part: &'static str,
    },
    /// A compressed body's topic line is not `name reads writes perm filter`.
    #[error("inflated body has a topic line that is none")]
    TopicLine,
}

/// Declares an enum of Java's whose values travel as names or ordinals. An unknown one counts as absent, so that new values
/// never break a reader; `#[default]` marks what an absent one means.
macro_rules! java_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All values in Java's ordinal order.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// Name as Java writes it.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The value of that name or, written in digits, ordinal.
            pub fn from_name(text: &str) -> Option<Self> {
                let named = Self::ALL.iter().copied().find(|value| value.name() == text);
                named.or_else(|| Self::ALL.get(text.parse::<usize>().ok()?).copied())
            }
        }

        impl $crate::body::member::Member for $name {
            fn from_value(
                value: &serde_json::Value,
                name: &'static str,
            ) -> Result<Option<Self>, $crate::body::BodyError> {
                let text = $crate::body::fields::text(value, name).ok();
                Ok(text.and_then(|text| Self::from_name(&text)))
            }

            fn write_value(&self, out: &mut Vec<u8>, dialect: $crate::body::writer::Dialect) {
                $crate::body::writer::text(out, self.name(), dialect);
            }
        }
    };
}
pub(crate) use java_enum;
