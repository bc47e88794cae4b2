//! The files of accounts (access control of RocketMQ 4.9) on the disk: which there are, whether they have changed, what they say
//! together, and how one is replaced. Ordinary system calls, which block: for a start, and for threads that may wait.
//!
//! As in Java: all `*.yml` and `*.yaml` below `conf/acl` of the home directory, `tools.yml` left out, in the order of their names, and
//! then the default file, which may be absent.

use acl::{
    FILE_BYTES_MAX,
    plain::{self, Plain, PlainFile, Version},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Directory of further files, below the home directory.
const DIRECTORY: &str = "conf/acl";
/// Accounts of the tools themselves, which are no rules.
const NOT_OURS: &str = "tools.yml";
/// Directories within each other, and files, at most.
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 1_000;
/// Secrets are nobody else's business.
const MODE: u32 = 0o600;

/// Where the files are.
#[derive(Clone, Debug)]
pub struct AccountFiles {
    directory: PathBuf,
    default: PathBuf,
}

/// What tells whether files have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// Time of modification, length and inode: replacing a file changes one of them whatever the clock says.
type Stamp = (i64, i64, u64, u64);

/// What the files say.
#[derive(Clone, Debug)]
pub struct LoadedAccounts {
    /// Together.
    pub plain: Plain,
    /// The version of each.
    pub versions: Vec<(String, Version)>,
    /// What is odd and counts all the same.
    pub notices: Vec<String>,
}

impl AccountFiles {
    /// Of a home directory, with the path of the default file, absolute or below the home directory.
    pub fn new(home: &Path, default: &str) -> AccountFiles {
        AccountFiles { directory: home.join(DIRECTORY), default: home.join(default) }
    }

    /// The default file.
    pub fn default_file(&self) -> &Path {
        &self.default
    }

    /// All files that are there, and the default one.
    pub fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        list(&self.directory, 0, &mut found)?;
        found.retain(|path| *path != self.default);
        found.sort();
        found.push(self.default.clone());
        Ok(found)
    }

    /// How the files are now. To be taken before they are read, so that a change meanwhile is seen.
    pub fn stamps(&self) -> io::Result<Stamps> {
        let stamp = |path: PathBuf| {
            let stamp = fs::metadata(&path)
                .ok()
                .map(|found| (found.mtime(), found.mtime_nsec(), found.len(), found.ino()));
            (path, stamp)
        };
        Ok(Stamps(self.paths()?.into_iter().map(stamp).collect()))
    }

    /// Reads all files. The error names each that has a mistake, and all its mistakes.
    pub fn load(&self) -> Result<LoadedAccounts, String> {
        let paths =
            self.paths().map_err(|error| format!("{}: {error}", self.directory.display()))?;
        let (mut files, mut mistakes, mut notices) = (Vec::new(), Vec::new(), Vec::new());
        for path in paths {
            let name = path.display().to_string();
            match self.read(&path).map(|text| plain::read(&text)) {
                Ok(Ok(file)) => files.push((name, file)),
                Ok(Err(problems)) => mistakes.push(format!("{name}: {problems}")),
                Err(error) => mistakes.push(format!("{name}: {error}")),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes.join("; "));
        }
        let version =
            |(name, file): &(String, PlainFile)| (name.clone(), file.version.unwrap_or_default());
        let versions = files.iter().map(version).collect();
        let (plain, repeated) = Plain::of(files);
        notices.extend(repeated.into_iter().map(|account| {
            format!("the account {account} stands in an earlier file, too, which counts")
        }));
        if plain.account_count() == 0 {
            notices.push(format!(
                "there is no account in {} or below {}: nobody is let in but who is on a white list",
                self.default.display(),
                self.directory.display()
            ));
        }
        Ok(LoadedAccounts { plain, versions, notices })
    }

    /// The text of a file. A default file that is not there is an empty one.
    pub fn read(&self, path: &Path) -> io::Result<String> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path == self.default => {
                return Ok(String::new());
            }
            opened => opened?,
        };
        let mut text = String::new();
        // One byte more, so that a larger file is seen to be one.
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
        Ok(text)
    }

    /// The file that a tool names, if it is one of ours; an empty name means the default one.
    pub fn named(&self, name: &str) -> Option<PathBuf> {
        if name.trim().is_empty() {
            return Some(self.default.clone());
        }
        let wanted = fs::canonicalize(name.trim()).ok()?;
        let ours = self.paths().ok()?;
        ours.into_iter().find(|path| fs::canonicalize(path).is_ok_and(|path| path == wanted))
    }

    /// Replaces a file: written beside it, synced, renamed, and the directory synced. Whenever the power goes, there is the former
    /// content or this one. Its mode stays.
    pub fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        // What a link leads to, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let beside = PathBuf::from(beside);
        // One of a crash may have another mode.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
        file.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(dir)?.sync_all()
    }
}

fn list(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_yaml = name.ends_with(".yml") || name.ends_with(".yaml");
        if path.is_dir() {
            if depth < DEPTH_MAX {
                list(&path, depth + 1, found)?;
            }
        } else if is_yaml && name != NOT_OURS {
            if found.len() >= FILES_MAX {
                let why = format!("more than {FILES_MAX} files of accounts");
                return Err(io::Error::other(why));
            }
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ACCOUNT: &str = "accounts:\n- accessKey: account\n  secretKey: 12345678\n";

    #[test]
    fn files_are_found_read_together_and_seen_to_change() {
        let home = tempfile::tempdir().expect("a directory");
        let files = AccountFiles::new(home.path(), "conf/plain_acl.yml");
        let nothing = files.load().expect("no file is an empty one");
        assert_eq!((nothing.plain.account_count(), nothing.notices.len()), (0, 1));
        let before = files.stamps().expect("nothing to fail");
        let deep = home.path().join("conf/acl/team");
        fs::create_dir_all(&deep).expect("ours");
        fs::write(deep.join("a.yaml"), ACCOUNT).expect("ours");
        fs::write(deep.join("tools.yml"), "accessKey: x").expect("ours");
        fs::write(deep.join("notes.txt"), "?").expect("ours");
        assert_ne!(files.stamps().expect("fine"), before);
        fs::write(files.default_file(), ACCOUNT).expect("ours");
        let loaded = files.load().expect("good");
        assert_eq!((loaded.plain.account_count(), loaded.versions.len()), (1, 2));
        assert!(loaded.notices[0].contains("stands in an earlier file"), "{:?}", loaded.notices);
        assert!(loaded.plain.file_of("account").is_some_and(|file| file.ends_with("team/a.yaml")));
        let before = files.stamps().expect("fine");
        assert_eq!(files.stamps().expect("fine"), before);
        files.replace(files.default_file(), ACCOUNT).expect("room");
        assert_ne!(files.stamps().expect("fine"), before, "the same text in another file");
    }

    #[test]
    fn mistakes_name_their_files() {
        let home = tempfile::tempdir().expect("a directory");
        let files = AccountFiles::new(home.path(), "accounts.yml");
        fs::create_dir_all(home.path().join("conf/acl")).expect("ours");
        fs::write(home.path().join("conf/acl/b.yml"), "accounts: 1").expect("ours");
        fs::write(files.default_file(), "acounts: []").expect("ours");
        let error = files.load().expect_err("two mistakes");
        assert!(
            error.contains("b.yml: line 1:") && error.contains("accounts.yml: line 1:"),
            "{error}"
        );
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_a_new_one_is_private() {
        let home = tempfile::tempdir().expect("a directory");
        let files = AccountFiles::new(home.path(), "conf/plain_acl.yml");
        let mode =
            || fs::metadata(files.default_file()).expect("there").permissions().mode() & 0o777;
        files.replace(files.default_file(), ACCOUNT).expect("room");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(files.default_file(), fs::Permissions::from_mode(0o640)).expect("ours");
        files.replace(files.default_file(), "accounts: []\n").expect("room");
        assert_eq!(mode(), 0o640);
        assert_eq!(files.read(files.default_file()).expect("there"), "accounts: []\n");
        assert_eq!(files.named(""), Some(files.default_file().to_owned()));
        let name = files.default_file().display().to_string();
        assert_eq!(files.named(&name), Some(files.default_file().to_owned()));
        assert_eq!(files.named("/etc/passwd"), None);
    }
}
