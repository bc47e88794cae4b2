//! Small files that must survive a crash: replaced as a whole, with the previous content beside them.
//!
//! These functions block; on an executor they run on the blocking pool ([`crate::server`] does that before it answers).
//! After any crash the file, or else its `.bak`, holds one whole content that was once written.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Replaces the content of `path`: temporary file, sync, the old content to `.bak`, rename, sync the directory. Missing
/// directories are made.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = directory(path);
    fs::create_dir_all(dir)?;
    let temporary = with_suffix(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    // A second name for the old content; the rename below then takes only the first one away.
    let backup = with_suffix(path, ".bak");
    match fs::remove_file(&backup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::hard_link(path, &backup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            // File systems without hard links: a copy serves as well, it is only less cheap.
            fs::copy(path, &backup)?;
        }
        _ => {}
    }
    fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}

/// What [`load`] found.
pub struct Loaded<T> {
    /// The parsed content; None when neither the file nor its backup exists.
    pub value: Option<T>,
    /// What an operator should know: the file was unusable and why.
    pub warning: Option<String>,
}

/// Reads and parses `path`; when it is missing, empty or unparsable, its `.bak`. Nothing usable although one
/// is there with content: an error, because starting with an empty table would overwrite what an operator could still repair.
pub fn load<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> io::Result<Loaded<T>> {
    let (mut warning, mut damaged) = (None, false);
    for candidate in [path.to_owned(), with_suffix(path, ".bak")] {
        let bytes = match fs::read(&candidate) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(named(&candidate, &error, error.kind())),
        };
        if bytes.trim_ascii().is_empty() {
            warning = Some(format!("{} is empty", candidate.display()));
            continue;
        }
        match parse(&bytes) {
            Ok(value) => return Ok(Loaded { value: Some(value), warning }),
            Err(error) => {
                warning = Some(format!("{}: {error}", candidate.display()));
                damaged = true;
            }
        }
    }
    match warning {
        Some(why) if damaged => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{why}; there is no usable backup (.bak) either"),
        )),
        warning => Ok(Loaded { value: None, warning }),
    }
}

fn named(path: &Path, error: &io::Error, kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, format!("{}: {error}", path.display()))
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, &'static str> {
        String::from_utf8(bytes.to_vec()).map_err(|_| "not text")
    }

    /// Two contents in a row: the newer is read, the older is the backup and steps in when the newer is damaged.
    #[test]
    fn the_backup_steps_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/kv.json");
        assert!(load(&path, text).unwrap().value.is_none());
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(load(&path, text).unwrap().value.as_deref(), Some("two"));
        assert_eq!(fs::read(dir.path().join("a/b/kv.json.bak")).unwrap(), b"one");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let loaded = load(&path, text).unwrap();
        assert_eq!(loaded.value.as_deref(), Some("one"));
        assert!(loaded.warning.unwrap().contains("kv.json: not text"));
        fs::write(dir.path().join("a/b/kv.json.bak"), [0xff]).unwrap();
        assert!(load(&path, text).is_err());
    }
}
