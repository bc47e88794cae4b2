//! Names of index files. They lie beside the segments, whose names are 20 digits without a suffix.

use std::path::{Path, PathBuf};

/// Digits of a position in a file name.
const DIGITS: usize = 20;
const SEALED: &str = ".index";
const RUN: &str = ".run";
/// Behind the name of a file that is being written.
const TEMPORARY: &str = ".tmp";

/// What the name of a file says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The index of a whole segment.
    Sealed {
        /// Position of the segment.
        segment: u64,
    },
    /// The index of a part of a segment.
    Run {
        /// Position of the segment.
        segment: u64,
        /// First position that it covers.
        from: u64,
    },
    /// What a writer left behind that did not come to its end. Worth nothing.
    Temporary,
}

/// The index of a whole segment: `{segment}.index`.
pub fn sealed_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:020}{SEALED}"))
}

/// The index of the part of a segment that begins at `from`: `{segment}.{from}.run`.
pub fn run_path(dir: &Path, segment: u64, from: u64) -> PathBuf {
    dir.join(format!("{segment:020}.{from:020}{RUN}"))
}

/// Reads a file's name; `None` when it is no index file's.
pub fn named(file_name: &str) -> Option<Named> {
    if let Some(name) = file_name.strip_suffix(TEMPORARY) {
        let ours = matches!(named(name)?, Named::Sealed { .. } | Named::Run { .. });
        return ours.then_some(Named::Temporary);
    }
    if let Some(digits) = file_name.strip_suffix(SEALED) {
        return Some(Named::Sealed { segment: position(digits)? });
    }
    let (segment, from) = file_name.strip_suffix(RUN)?.split_once('.')?;
    Some(Named::Run { segment: position(segment)?, from: position(from)? })
}

/// The name under which a file is written before it is complete.
pub(super) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    PathBuf::from(name)
}

fn position(digits: &str) -> Option<u64> {
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}
