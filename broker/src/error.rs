//! Refusals. What the store, headers and metadata refuse becomes a wire code here; checks that a handler makes name
//! theirs where they are. Codes are those of the Java 4.9 broker, so that clients
//! retry and report as they are used to; remarks are ours and name cause, value and limit.

use crate::control::{ListError, MetadataError};
use proto::{body::BodyError, code::response, command::HeaderError, request::FieldError};
use store::{Refused, StoreError, state::group_offsets::OffsetRefused};

/// A request that is not served, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Response code.
    pub code: i32,
    /// What the client reads.
    pub remark: String,
}

impl Refusal {
    /// A refusal with a remark.
    pub fn new(code: i32, remark: impl Into<String>) -> Refusal {
        Refusal { code, remark: remark.into() }
    }

    /// The request code is unknown or not served yet.
    pub fn unsupported(code: i32) -> Refusal {
        Refusal::new(
            response::REQUEST_CODE_NOT_SUPPORTED,
            format!(" request type {code} not supported"),
        )
    }

    /// Java's answer to whatever went wrong.
    pub fn system_error(remark: impl Into<String>) -> Refusal {
        Refusal::new(response::SYSTEM_ERROR, remark)
    }

    /// The lane to another worker is full.
    pub fn lane_full(to: usize) -> Refusal {
        Refusal::new(response::SYSTEM_BUSY, format!("[OVERLOAD] reason=lane-full executor={to}"))
    }

    /// A group that does not exist and is not made.
    pub fn group_not_exist(group: &str) -> Refusal {
        Refusal::new(
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("subscription group [{group}] does not exist"),
        )
    }

    /// Filtering by anything but tags, which `enablePropertyFilter` switches off; the text is Java's, which clients print.
    pub fn filter_unsupported(expression_type: &str) -> Refusal {
        Refusal::system_error(format!(
            "The broker does not support consumer to filter message by {expression_type}"
        ))
    }

    /// A topic that does not exist and is not made.
    pub fn topic_not_exist(topic: &str) -> Refusal {
        Refusal::new(
            response::TOPIC_NOT_EXIST,
            format!("topic[{topic}] not exist, apply first please!"),
        )
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Refusal {
        Refusal::system_error(error.to_string())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        Refusal::system_error(error.to_string())
    }
}

impl From<MetadataError> for Refusal {
    fn from(error: MetadataError) -> Refusal {
        let code = match &error {
            MetadataError::Unsaved { .. } => response::SYSTEM_BUSY,
            _ => response::SYSTEM_ERROR,
        };
        Refusal::new(code, error.to_string())
    }
}

impl From<ListError> for Refusal {
    fn from(error: ListError) -> Refusal {
        match error {
            ListError::NoRoom(error) => error.into(),
            _ => Refusal::system_error(error.to_string()),
        }
    }
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Refusal {
        Refusal::system_error(error.to_string())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let code = match &refused {
            Refused::Busy { .. }
            | Refused::RoomAwaited { .. }
            | Refused::TooManyWait { .. }
            | Refused::TooManyHalves { .. } => response::SYSTEM_BUSY,
            Refused::Poisoned { .. }
            | Refused::DiskFull { .. }
            | Refused::PositionsUsedUp { .. }
            | Refused::Replica { .. } => response::SERVICE_NOT_AVAILABLE,
            // Index files catch up, or cannot be written.
            Refused::IndexBehind { cause: None, .. } => response::SYSTEM_BUSY,
            Refused::IndexBehind { .. } => response::SERVICE_NOT_AVAILABLE,
            Refused::TooLarge { .. } => response::MESSAGE_ILLEGAL,
        };
        let remark = match &refused {
            Refused::Busy { .. }
            | Refused::RoomAwaited { .. }
            | Refused::TooManyWait { .. }
            | Refused::TooManyHalves { .. }
            | Refused::IndexBehind { cause: None, .. } => {
                format!("[OVERLOAD] {refused}")
            }
            _ => refused.to_string(),
        };
        Refusal { code, remark }
    }
}

impl From<OffsetRefused> for Refusal {
    fn from(refused: OffsetRefused) -> Refusal {
        Refusal::system_error(refused.to_string())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::system_error(error.to_string())
    }
}
