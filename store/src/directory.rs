//! What a directory holds before a store is formatted in it. Called by the broker before it takes the lock or writes
//! anything: neither another broker's store nor the remains of one of ours may be taken for an empty directory.
//!
//! A directory with `format.json` is ours, whatever else lies there. Without one it must hold neither the files of
//! Java's broker nor a log or journal of ours: new facts beside an old log would make all of it foreign. Tables of
//! topics and groups alone (`config/*.json`, which both brokers write) are no obstacle.

use crate::{error::StoreError, metadata::journal::generation_of, segments::segment_start};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What Java's broker leaves in its `storePathRootDir`, besides `config` and `lock`.
const JAVA_NAMES: [&str; 6] =
    ["checkpoint", "abort", "consumequeue", "index", "timerwheel", "timercheckpoint"];
/// Files of Java's broker in `config`.
const JAVA_CONFIG: [&str; 2] = ["config/consumerOffset.json", "config/delayOffset.json"];
/// Names that a sentence lists at most.
const LISTED_MAX: usize = 3;

/// Refuses a directory in which no store may be formatted. `log_root`: where the directories of the shards are or will
/// be.
///
/// Errors: the system's; [`StoreError::Malformed`] with what was found and what to do.
pub fn check_before_format(root: &Path, log_root: &Path) -> Result<(), StoreError> {
    if exists(&root.join("format.json"))? {
        return Ok(());
    }
    let ours = ours(root, log_root)?;
    if !ours.is_empty() {
        return Err(StoreError::Malformed {
            path: root.join("format.json"),
            what: missing(root, &ours),
        });
    }
    let java = java(root, log_root)?;
    if !java.is_empty() {
        return Err(StoreError::Malformed { path: root.to_owned(), what: of_java(&java) });
    }
    Ok(())
}

fn missing(root: &Path, found: &[PathBuf]) -> String {
    format!(
        "is missing, but a log or journal that was written with it is there ({}), and no broker could read that with a \
         new one; put the file back from a copy, or write into it what `mqstore verify {}` tells from the log (with \
         --log, where storePathCommitLog names another place); to begin anew, move all of these away first",
        listed(found),
        root.display()
    )
}

fn of_java(found: &[PathBuf]) -> String {
    format!(
        "holds a store of Apache RocketMQ's Java broker ({}), which this broker cannot read and will not touch; give it \
         an empty directory (storePathRootDir, and storePathCommitLog if that is set), and let the Java broker serve \
         what it holds until it is consumed",
        listed(found)
    )
}

fn listed(found: &[PathBuf]) -> String {
    let shown: Vec<String> =
        found.iter().take(LISTED_MAX).map(|path| path.display().to_string()).collect();
    let more = found.len().saturating_sub(LISTED_MAX);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// Segments and journals of a store of ours.
fn ours(root: &Path, log_root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for dir in names(log_root)? {
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_prefix("shard-").is_some_and(|number| number.parse::<u16>().is_ok()) {
            found.extend(names(&dir)?.into_iter().filter(|path| segment_start(path).is_some()));
        }
    }
    let config = names(&root.join("config"))?;
    found.extend(config.into_iter().filter(|path| generation_of(path).is_some()));
    Ok(found)
}

/// What only Java's broker makes: a segment right in the directory of the log is one of its.
fn java(root: &Path, log_root: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for name in JAVA_NAMES.iter().chain(&JAVA_CONFIG) {
        let path = root.join(name);
        if exists(&path)? {
            found.push(path);
        }
    }
    for dir in [root.join("commitlog"), log_root.to_owned()] {
        found.extend(names(&dir)?.into_iter().filter(|path| segment_start(path).is_some()));
    }
    found.dedup();
    Ok(found)
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(|source| StoreError::io("look for", path, source))
}

/// What is in a directory, sorted; nothing if it is not there, or is a file.
fn names(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let error = |source| StoreError::io("list", dir, source);
    let entries = match fs::read_dir(dir) {
        Err(source)
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        listed => listed.map_err(error)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.push(entry.map_err(error)?.path());
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files; a name that ends with a slash is a directory.
    fn holding(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        for name in files {
            let path = dir.path().join(name);
            let made = if name.ends_with('/') {
                fs::create_dir_all(&path)
            } else {
                fs::create_dir_all(path.parent().expect("a directory"))
                    .and_then(|()| fs::write(&path, b"x"))
            };
            made.expect("room");
        }
        dir
    }

    fn refusal(files: &[&str]) -> Option<String> {
        let dir = holding(files);
        let log_root = dir.path().join("commitlog");
        let checked = check_before_format(dir.path(), &log_root);
        checked
            .err()
            .map(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
    }

    #[test]
    fn a_store_of_javas_broker_is_refused_and_its_topics_alone_are_not() {
        for files in [
            &["commitlog/00000000000000000000"][..],
            &["consumequeue/"],
            &["checkpoint"],
            &["abort", "lock"],
            &["config/consumerOffset.json"],
            &["index/"],
        ] {
            let refused = refusal(files).unwrap_or_else(|| panic!("{files:?}"));
            assert!(refused.contains("a store of Apache RocketMQ's Java broker"), "{refused}");
            assert!(refused.contains("an empty directory (storePathRootDir"), "{refused}");
        }
        let named = refusal(&["checkpoint", "abort", "consumequeue/", "index/"]);
        let named = named.expect("a store of Java's");
        assert!(
            named.contains("(DIR/checkpoint, DIR/abort, DIR/consumequeue and 1 more)"),
            "{named}"
        );
        for files in [
            &[][..],
            &["lock"],
            &["config/topics.json", "config/subscriptionGroup.json", "config/topics.json.bak"],
            &["commitlog/", "commitlog/shard-000/"],
            &["format.json", "checkpoint", "commitlog/00000000000000000000"],
        ] {
            assert_eq!(refusal(files), None, "{files:?}");
        }
    }

    #[test]
    fn a_log_of_another_place_is_looked_at_too() {
        let (root, log) = (holding(&[]), holding(&["00000000001073741824"]));
        let error = check_before_format(root.path(), log.path()).expect_err("Java's segments");
        assert!(error.to_string().contains("00000000001073741824"), "{error}");
    }

    #[test]
    fn a_log_or_journal_without_its_format_is_refused() {
        for file in
            ["commitlog/shard-000/00000000000000000000", "config/changes-0000000007.journal"]
        {
            let refused = refusal(&[file]).unwrap_or_else(|| panic!("{file}"));
            assert!(refused.starts_with("DIR/format.json: is missing, but"), "{refused}");
            assert!(refused.contains(&format!("DIR/{file}")), "{refused}");
            assert!(refused.contains("mqstore verify DIR"), "{refused}");
            assert_eq!(refusal(&[file, "format.json"]), None);
        }
    }
}
