//! What can go wrong with an index file, and how the store reports it.

use crate::error::StoreError;
use std::{io, path::PathBuf};

/// Why an index file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The operating system refused something.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a verb ("open", "write").
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not what was written. The file is worth nothing; its segment can be scanned instead.
    #[error("{path}: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit, with the block where that is known.
        what: String,
    },
    /// The file is whole and says what this code does not know. It must not be made again: what it says may not be
    /// said anywhere else.
    #[error("{path}: {what}", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
}

impl IndexError {
    /// Whether another attempt is pointless because the content is wrong.
    pub fn is_damage(&self) -> bool {
        matches!(self, IndexError::Damaged { .. })
    }
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> StoreError {
        match error {
            IndexError::Io { path, action, source } => StoreError::Io { action, path, source },
            IndexError::Damaged { path, what } => StoreError::Malformed { path, what },
            IndexError::Newer { path, what } => StoreError::Newer { path, what },
        }
    }
}
