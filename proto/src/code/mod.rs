//! The numbers of the protocol and their names for logs.
//!
//! Two tables, one file each: [`request`] (what a peer asks) and [`response`] (what it is answered). A row gives the
//! constant, the number, the releases that know it and one phrase of meaning; constants, [`Row`]s and the lookup by
//! number are all made from that row, so they cannot drift apart.

pub mod request;
pub mod response;

/// Which reference releases know a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 4.9.8 and 5.3.3.
    Both,
    /// 4.9.8 only; removed or renumbered in 5.3.3.
    Only4,
    /// 5.3.3 only.
    Only5,
}

/// One line of a code table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number on the wire.
    pub code: i32,
    /// The name Apache RocketMQ gives it, as logs show it.
    pub name: &'static str,
    /// Releases that know it.
    pub release: Release,
}

macro_rules! table {
    ($($name:ident = $code:literal, $release:ident, $meaning:literal;)*) => {
        use super::{Release, Row};

        $(
            #[doc = concat!("`", stringify!($name), "` (", $code, "): ", $meaning, ".")]
            pub const $name: i32 = $code;
        )*

        /// Every code, by ascending number.
        pub const TABLE: &[Row] =
            &[$(Row { code: $code, name: stringify!($name), release: Release::$release },)*];

        /// The name of a code, for logs; where two releases disagree, the newer one's.
        pub fn name(code: i32) -> Option<&'static str> {
            let after = TABLE.partition_point(|row| row.code <= code);
            let row = TABLE.get(after.checked_sub(1)?)?;
            (row.code == code).then_some(row.name)
        }
    };
}
use table;
