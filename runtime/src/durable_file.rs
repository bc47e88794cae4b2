//! Small files that are replaced as a whole and survive a crash: metadata of the store, configuration of a name server.
//!
//! A replacement is written beside the file and made durable there; then the file becomes `.bak` and the replacement
//! takes its name. So at any moment one whole content is durable under one of three names, even if the file itself has
//! rotted and what is kept as `.bak` is worthless. Reading tries the file, the replacement, the backup. It lives in this
//! crate, because all who use it have the [`Disk`] already, and its tests the simulated one.

use crate::disk::{Disk, is_unreadable};
use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a file could not be replaced or read.
#[derive(Debug, thiserror::Error)]
pub enum DurableFileError {
    /// The operating system refused something.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb ("write", "sync").
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are contents, and none of them is whole.
    #[error(
        "{path} is damaged, and there is no whole backup of it ({reasons}): put it back from a copy, or move it away to \
         begin without what was in it",
        path = path.display(),
        reasons = reasons(contents)
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What was found under its names.
        contents: Vec<UnusableContent>,
    },
}

/// A content that could not be parsed.
#[derive(Debug)]
pub struct UnusableContent {
    /// The file, its replacement or its backup.
    pub path: PathBuf,
    /// It holds nothing but blanks.
    pub blank: bool,
    /// What the parser said.
    pub reason: String,
}

impl fmt::Display for UnusableContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// The reasons in one line.
fn reasons(contents: &[UnusableContent]) -> String {
    contents.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DurableFileError {
    move |source| DurableFileError::Io { action, path: path.to_owned(), source }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory of a file; a bare name lies in the present one.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces the content of `path`, durably. Its directory must exist.
pub async fn replace<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> Result<(), DurableFileError> {
    let new = beside(path, ".tmp");
    let backup = beside(path, ".bak");
    let dir = directory_of(path);
    disk.write_file(&new, bytes).await.map_err(failed("write", &new))?;
    disk.sync_dir(dir).await.map_err(failed("sync", dir))?;
    match disk.rename(path, &backup).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed.map_err(failed("rename", path))?,
    }
    disk.rename(&new, path).await.map_err(failed("rename", &new))?;
    disk.sync_dir(dir).await.map_err(failed("sync", dir))
}

/// A content that was read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What was parsed.
    pub content: T,
    /// It is the content before the last one: nothing better was whole.
    pub from_backup: bool,
}

/// Reads a file with `parse`. `Ok(None)`: there is none. An unreadable file whose replacement or backup is good is
/// logged and replaced by that content in memory; all unreadable is an error that names the reasons.
pub async fn read<D: Disk, T, E: fmt::Display>(
    disk: &D,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<Loaded<T>>, DurableFileError> {
    let mut search = Search::of(path);
    let new = beside(path, ".tmp");
    let backup = beside(path, ".bak");
    for candidate in [path, &new, &backup] {
        let bytes = disk.read_file(candidate).await;
        if let Some(content) = search.look(candidate, bytes, &parse)? {
            if candidate == new {
                finish(disk, &new, path).await?;
            }
            return Ok(Some(Loaded { content, from_backup: candidate == backup }));
        }
    }
    search.end()
}

/// What [`read`] would find, with ordinary system calls: it blocks, and finishes no replacement.
pub fn look<T, E: fmt::Display>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, DurableFileError> {
    let mut search = Search::of(path);
    for candidate in [path, &beside(path, ".tmp"), &beside(path, ".bak")] {
        if let Some(content) = search.look(candidate, std::fs::read(candidate), &parse)? {
            return Ok(Some(content));
        }
    }
    search.end()
}

/// The search for a whole content under the names of a file, in their order.
struct Search<'a> {
    path: &'a Path,
    unusable: Vec<UnusableContent>,
}

impl<'a> Search<'a> {
    fn of(path: &'a Path) -> Search<'a> {
        Search { path, unusable: Vec::new() }
    }

    /// The content of `candidate`, if it is whole.
    fn look<T, E: fmt::Display>(
        &mut self,
        candidate: &Path,
        bytes: io::Result<Vec<u8>>,
        parse: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, DurableFileError> {
        let path = candidate.to_owned();
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // As good as a content that is not whole: another one may be.
            Err(error) if is_unreadable(&error) => {
                let reason = error.to_string();
                self.unusable.push(UnusableContent { path, blank: false, reason });
                return Ok(None);
            }
            Err(error) => return Err(failed("read", candidate)(error)),
        };
        match parse(&bytes) {
            Ok(content) => {
                for unusable in &self.unusable {
                    tracing::error!(reason = %unusable, instead = %candidate.display(), "reading other content");
                }
                Ok(Some(content))
            }
            // A replacement that was not finished when the machine stopped was promised to nobody.
            Err(_) if candidate == beside(self.path, ".tmp") => Ok(None),
            Err(error) => {
                let (blank, reason) = (bytes.trim_ascii().is_empty(), error.to_string());
                self.unusable.push(UnusableContent { path, blank, reason });
                Ok(None)
            }
        }
    }

    /// No name holds a whole content: there is none, or the error.
    fn end<T>(self) -> Result<Option<T>, DurableFileError> {
        if self.unusable.is_empty() {
            return Ok(None);
        }
        Err(DurableFileError::Unusable { path: self.path.to_owned(), contents: self.unusable })
    }
}

/// Ends a replacement that a crash interrupted, before the next one writes over it.
async fn finish<D: Disk>(disk: &D, new: &Path, path: &Path) -> Result<(), DurableFileError> {
    let dir = directory_of(path);
    disk.rename(new, path).await.map_err(failed("rename", new))?;
    disk.sync_dir(dir).await.map_err(failed("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{SimDisk, block_on};

    const FILE: &str = "/data/config/topics.json";

    /// Whole contents begin and end with a brace.
    fn parse(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        let whole = bytes.first() == Some(&b'{') && bytes.last() == Some(&b'}');
        if whole && !bytes.contains(&0) { Ok(bytes.to_vec()) } else { Err("not whole") }
    }

    fn content(letter: u8) -> Vec<u8> {
        let mut text = vec![letter; 6_000];
        text[0] = b'{';
        text[5_999] = b'}';
        text
    }

    fn disk(seed: u64) -> SimDisk {
        let disk = SimDisk::new(seed);
        block_on(disk.create_dir_all(Path::new("/data/config"))).expect("power").expect("room");
        disk
    }

    #[test]
    fn a_look_says_what_reading_would_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("topics.json");
        assert!(look(&file, parse).unwrap().is_none());
        std::fs::write(&file, "torn").unwrap();
        let refused = look(&file, parse).unwrap_err().to_string();
        assert!(refused.contains("topics.json is damaged"), "{refused}");
        std::fs::write(beside(&file, ".tmp"), content(b'n')).unwrap();
        assert_eq!(look(&file, parse).unwrap(), Some(content(b'n')));
        assert_eq!(std::fs::read(&file).unwrap(), b"torn");
        assert!(beside(&file, ".tmp").exists());
    }

    fn read_back(disk: &SimDisk) -> Option<Vec<u8>> {
        let found = block_on(read(disk, Path::new(FILE), parse)).expect("power");
        found.expect("one name is whole").map(|loaded| loaded.content)
    }

    /// Power cuts after each call of a replacement, and of the reading after it: the old or the new content is there.
    fn replace_under_power_cuts(prepare: impl Fn(&SimDisk) -> Option<Vec<u8>>) {
        for seed in 0..600 {
            let first = disk(seed);
            let old = prepare(&first);
            let new = content(b'n');
            first.crash_after(seed % 12);
            let done = block_on(replace(&first, Path::new(FILE), &new)).is_some();
            let second = first.after_crash(seed);
            second.crash_after(seed / 12 % 5);
            let _ = block_on(read(&second, Path::new(FILE), parse));
            let third = second.after_crash(seed + 1);
            let found = read_back(&third);
            assert!(found == old || found.as_ref() == Some(&new), "seed {seed}");
            assert!(!done || found.as_ref() == Some(&new), "seed {seed}: promised");
            let last = content(b'l');
            block_on(replace(&third, Path::new(FILE), &last)).expect("power").expect("room");
            assert_eq!(read_back(&third.after_crash(seed)), Some(last), "seed {seed}");
        }
    }

    #[test]
    fn a_file_is_the_old_one_or_the_new_one_whenever_the_power_goes() {
        replace_under_power_cuts(|_| None);
        replace_under_power_cuts(|disk| {
            for letter in [b'a', b'b'] {
                let old = content(letter);
                block_on(replace(disk, Path::new(FILE), &old)).expect("power").expect("room");
            }
            Some(content(b'b'))
        });
    }

    #[test]
    fn a_file_that_rotted_falls_back_and_is_never_copied_over_the_good_one() {
        replace_under_power_cuts(|disk| {
            for letter in [b'a', b'b'] {
                let old = content(letter);
                block_on(replace(disk, Path::new(FILE), &old)).expect("power").expect("room");
            }
            assert!(disk.flip_bit(Path::new(FILE), 0, 3));
            let found = read_back(disk);
            assert_eq!(found, Some(content(b'a')));
            found
        });
    }

    #[test]
    fn when_nothing_is_whole_the_reasons_are_named() {
        let disk = disk(1);
        for name in [FILE.to_owned(), format!("{FILE}.bak")] {
            block_on(disk.write_file(Path::new(&name), b"{")).expect("power").expect("room");
        }
        let error = block_on(read(&disk, Path::new(FILE), parse)).expect("power");
        let error = error.expect_err("nothing is whole").to_string();
        assert!(error.contains("topics.json: not whole; "), "{error}");
        assert!(error.contains("topics.json.bak: not whole"), "{error}");
    }

    #[test]
    fn blank_files_are_told_from_damaged_ones() {
        let disk = disk(1);
        for (name, content, blank) in [("a", &b" \n"[..], true), ("b", b"x", false)] {
            let path = Path::new("/data/config").join(name);
            block_on(disk.write_file(&path, content)).expect("power").expect("room");
            let read = block_on(read(&disk, &path, parse)).expect("power");
            let Err(DurableFileError::Unusable { contents, .. }) = read else { panic!("{name}") };
            assert_eq!(contents.iter().map(|one| one.blank).collect::<Vec<_>>(), [blank]);
        }
    }
}
