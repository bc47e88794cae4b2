//! How much room the file system of the log has left, as far as it changes what the store does.

/// How the file system of the log is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// There is room.
    #[default]
    Enough,
    /// More is used than `diskMaxUsedSpaceRatio`.
    Scarce,
    /// No messages are taken.
    Closed,
}
