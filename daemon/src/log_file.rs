//! The file below `logDir` that a program's log goes to, as Java's logback has it: `NAME.log`, and former ones in `otherdays/`.
//!
//! A file ends when it has reached its size, or when the day of the machine's time zone ends; of those that ended, a number is
//! kept. Two processes never write one file: who finds it taken writes into a directory of its own below. Written by the log's own
//! thread, which may wait for a disk; what the disk does not take is counted and told when it takes lines again. Crates that roll
//! files by size and by day rename each kept file each time, or know one of the two limits.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use rustix::fs::Access;

/// Directory of files that ended, below that of the log; Java's name for it.
const FORMER_DIR: &str = "otherdays";
/// How often the writer looks whether its file is still where it was made: somebody may have moved or removed it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a file could not be ended, it is written on for so many bytes.
const RETRY_BYTES: u64 = 1 << 20;

/// Where a log goes, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// The directory, made when it is missing.
    pub dir: PathBuf,
    /// Name of the file, without `.log`.
    pub name: &'static str,
    /// Directory below that is used with [`isolated`](Self::isolated), and when another process writes the file.
    pub own_dir: String,
    /// Whether the log always goes to `own_dir` (`isolateLogEnable`).
    pub isolated: bool,
    /// Bytes at which a file ends.
    pub file_bytes_max: u64,
    /// Files that ended and are kept.
    pub former_max: usize,
}

/// Why there is no log file.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// A file or directory cannot be made or opened.
    #[error("logDir: {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process writes it, and the one beside it.
    #[error("logDir: another process writes {}: give this one a logDir of its own", path.display())]
    Taken {
        /// Which one.
        path: PathBuf,
    },
}

/// An open log file that ends and begins anew by itself.
#[derive(Debug)]
pub struct LogFile {
    place: LogPlace,
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Bytes at which it ends.
    bytes_end: u64,
    /// When its day ends. `None`: it cannot be told.
    day_end: Option<Timestamp>,
    looked_at: Instant,
    lost: Lost,
    /// Held until the end: nobody else writes here.
    _lock: File,
}

/// Lines that the disk did not take.
#[derive(Debug, Default)]
struct Lost {
    lines: u64,
    why: String,
}

impl LogFile {
    /// Opens the file, or the one in the directory of its own when that is asked for or the other one is taken.
    pub fn open(place: LogPlace) -> Result<LogFile, LogFileError> {
        let own = place.dir.join(&place.own_dir);
        let shared = if place.isolated { None } else { lock(&place.dir, place.name)? };
        let (dir, lock) = match shared {
            Some(lock) => (place.dir.clone(), lock),
            None => {
                let path = own.join(format!("{}.log", place.name));
                let lock = lock(&own, place.name)?.ok_or(LogFileError::Taken { path })?;
                (own, lock)
            }
        };
        let path = dir.join(format!("{}.log", place.name));
        let file = open(&path).map_err(of_path(&path))?;
        let about = file.metadata().map_err(of_path(&path))?;
        let written = about.modified().unwrap_or_else(|_| SystemTime::now());
        let mut log = LogFile {
            bytes_end: place.file_bytes_max,
            place,
            path,
            file,
            bytes: about.len(),
            day_end: day_end(written),
            looked_at: Instant::now(),
            lost: Lost::default(),
            _lock: lock,
        };
        log.roll_if_due(0);
        Ok(log)
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What [`open`](Self::open) would refuse, as far as it can be seen without making anything.
    pub fn look(place: &LogPlace) -> Result<(), LogFileError> {
        let there = place.dir.ancestors().find(|dir| dir.exists() || dir.as_os_str().is_empty());
        let dir = there.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let about = fs::metadata(dir).map_err(of_path(dir))?;
        if !about.is_dir() {
            return Err(of_path(dir)(io::ErrorKind::NotADirectory.into()));
        }
        let access = rustix::fs::access(dir, Access::WRITE_OK | Access::EXEC_OK);
        access.map_err(|error| of_path(dir)(error.into()))
    }

    fn roll_if_due(&mut self, more: usize) {
        let full = self.bytes > 0 && self.bytes + more as u64 > self.bytes_end;
        let over = self.day_end.is_some_and(|end| Timestamp::now() >= end);
        if over && self.bytes == 0 {
            self.day_end = day_end(SystemTime::now());
        } else if full || over {
            match self.roll() {
                Ok(()) => {
                    self.bytes_end = self.place.file_bytes_max;
                    if let Err(error) = self.remove_oldest() {
                        self.tell(&format!("files that are too old stay: {error}"));
                    }
                }
                Err(error) => {
                    // Better a file that is too long than none.
                    self.bytes_end = self.bytes + RETRY_BYTES;
                    self.day_end = day_end(SystemTime::now());
                    self.tell(&format!(
                        "{} goes on, it cannot be ended: {error}",
                        self.path.display()
                    ));
                }
            }
        }
    }

    /// A line of our own. Without room for it nobody could be told.
    fn tell(&mut self, what: &str) {
        let _ = self.append(format!("log: {what}\n").as_bytes());
    }

    fn former_dir(&self) -> PathBuf {
        self.path.with_file_name(FORMER_DIR)
    }

    /// Moves the file away and begins the next one.
    fn roll(&mut self) -> io::Result<()> {
        let former = self.former_dir();
        fs::create_dir_all(&former)?;
        let stamp = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
        // Names sort by age: the number tells apart what ends within a second.
        let begins = format!("{}.{stamp}.", self.place.name);
        let number = |name: &String| name.strip_prefix(&begins)?.strip_suffix(".log")?.parse().ok();
        let last: Option<u32> = self.former_names(&former)?.iter().filter_map(number).max();
        let number = last.map_or(0, |last| last + 1);
        fs::rename(&self.path, former.join(format!("{begins}{number:04}.log")))?;
        self.begin()
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let former = self.former_dir();
        let names = self.former_names(&former)?;
        let extra = names.len().saturating_sub(self.place.former_max);
        names[..extra].iter().try_for_each(|name| fs::remove_file(former.join(name)))
    }

    /// Our files that have ended, the oldest first.
    fn former_names(&self, former: &Path) -> io::Result<Vec<String>> {
        let begins = format!("{}.", self.place.name);
        let ours = |name: &String| {
            name.strip_prefix(&begins).is_some_and(|rest| {
                rest.ends_with(".log") && rest.starts_with(|first: char| first.is_ascii_digit())
            })
        };
        let entries = fs::read_dir(former)?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(ours).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        self.bytes = self.file.metadata()?.len();
        self.day_end = day_end(SystemTime::now());
        Ok(())
    }

    /// Begins anew where somebody has moved or removed the file.
    fn follow_removal(&mut self) {
        if self.looked_at.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked_at = Instant::now();
        let ours = self.file.metadata().map(|about| (about.dev(), about.ino()));
        let there = fs::metadata(&self.path).map(|about| (about.dev(), about.ino()));
        if ours.is_ok() && ours.ok() != there.ok() {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            // Without success the old file takes the lines, and this is tried again.
            let _ = fs::create_dir_all(dir).and_then(|()| self.begin());
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Write for LogFile {
    /// Takes the whole line, whatever becomes of it: nobody could be told of an error.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.follow_removal();
        self.roll_if_due(line.len());
        if self.lost.lines > 0 {
            let Lost { lines, why } = &self.lost;
            let told = format!("log: {lines} lines could not be written: {why}\n");
            if self.append(told.as_bytes()).is_ok() {
                self.lost = Lost::default();
            }
        }
        if let Err(error) = self.append(line) {
            self.lost.lines += 1;
            self.lost.why = error.to_string();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The right to write this log: held while the file is open, and gone with the process. `None`: another one has it.
fn lock(dir: &Path, name: &str) -> Result<Option<File>, LogFileError> {
    fs::create_dir_all(dir).map_err(of_path(dir))?;
    let path = dir.join(format!(".{name}.lock"));
    let file = open(&path).map_err(of_path(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(LogFileError::Io { path, source }),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn of_path(path: &Path) -> impl FnOnce(io::Error) -> LogFileError {
    move |source| LogFileError::Io { path: path.to_owned(), source }
}

/// The midnight after a moment, in the machine's time zone.
fn day_end(at: SystemTime) -> Option<Timestamp> {
    let at = Timestamp::try_from(at).ok()?.to_zoned(TimeZone::system());
    let end = at.tomorrow().ok()?.start_of_day().ok()?;
    Some(end.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path) -> LogPlace {
        LogPlace {
            dir: dir.to_owned(),
            name: "broker",
            own_dir: "broker-a_0".to_owned(),
            isolated: false,
            file_bytes_max: 64,
            former_max: 2,
        }
    }

    fn former(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir.join(FORMER_DIR)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_full_file_moves_away_whole_and_the_newest_of_them_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(place(dir.path())).unwrap();
        fs::create_dir_all(dir.path().join(FORMER_DIR)).unwrap();
        // Somebody else's, which no rule of ours touches.
        for name in ["broker.notes", "brokers.1.log", "broker.old.log"] {
            fs::write(dir.path().join(FORMER_DIR).join(name), "").unwrap();
        }
        for number in 0..5 {
            log.write_all(format!("{number}{}\n", "x".repeat(40)).as_bytes()).unwrap();
        }
        assert!(text(log.path()).starts_with('4'), "{}", text(log.path()));
        let names = former(dir.path());
        let ours: Vec<&String> = names.iter().filter(|name| name.starts_with("broker.2")).collect();
        assert_eq!((ours.len(), names.len()), (2, 5), "{names:?}");
        let kept: Vec<char> = ours
            .iter()
            .filter_map(|name| text(&dir.path().join(FORMER_DIR).join(name)).chars().next())
            .collect();
        assert_eq!(kept, ['2', '3']);
    }

    #[test]
    fn a_file_of_an_earlier_day_moves_away_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broker.log");
        fs::write(&path, "of yesterday\n").unwrap();
        let yesterday = SystemTime::now() - Duration::from_secs(26 * 3_600);
        File::options().append(true).open(&path).unwrap().set_modified(yesterday).unwrap();
        let mut log = LogFile::open(place(dir.path())).unwrap();
        log.write_all(b"of today\n").unwrap();
        assert_eq!(text(&path), "of today\n");
        assert_eq!(former(dir.path()).len(), 1);
        drop(log);
        // The same day goes on in the same file.
        let mut log = LogFile::open(place(dir.path())).unwrap();
        log.write_all(b"still\n").unwrap();
        assert_eq!(text(&path), "of today\nstill\n");
    }

    #[test]
    fn two_processes_never_share_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let first = LogFile::open(place(dir.path())).unwrap();
        let second = LogFile::open(place(dir.path())).unwrap();
        assert_eq!(first.path(), dir.path().join("broker.log"));
        assert_eq!(second.path(), dir.path().join("broker-a_0/broker.log"));
        let refused = LogFile::open(place(dir.path())).unwrap_err().to_string();
        assert!(refused.contains("another process writes"), "{refused}");
        drop(first);
        let isolated = LogPlace { isolated: true, own_dir: "b_0".into(), ..place(dir.path()) };
        let alone = LogFile::open(isolated).unwrap();
        assert_eq!(alone.path(), dir.path().join("b_0/broker.log"));
    }

    #[test]
    fn a_file_that_somebody_took_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(place(dir.path())).unwrap();
        log.write_all(b"before\n").unwrap();
        fs::rename(log.path(), dir.path().join("taken")).unwrap();
        log.looked_at = Instant::now().checked_sub(LOOK_EVERY).unwrap();
        log.write_all(b"after\n").unwrap();
        assert_eq!(text(log.path()), "after\n");
        assert_eq!(text(&dir.path().join("taken")), "before\n");
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_told_when_it_has_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(place(dir.path())).unwrap();
        let disk = std::mem::replace(
            &mut log.file,
            File::options().write(true).open("/dev/full").unwrap(),
        );
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        log.file = disk;
        log.write_all(b"three\n").unwrap();
        let text = text(log.path());
        assert!(text.starts_with("log: 2 lines could not be written: No space left"), "{text}");
        assert!(text.ends_with("\nthree\n"), "{text}");
    }

    #[test]
    fn a_place_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("file");
        fs::write(&taken, "").unwrap();
        let looked = LogFile::look(&place(&taken.join("logs"))).unwrap_err().to_string();
        assert!(looked.contains("/file: "), "{looked}");
        LogFile::look(&place(&dir.path().join("not/yet"))).unwrap();
        assert!(!dir.path().join("not").exists());
        let refused = LogFile::open(place(&taken.join("logs"))).unwrap_err().to_string();
        assert!(refused.starts_with("logDir: ") && refused.contains("file/logs"), "{refused}");
    }
}
