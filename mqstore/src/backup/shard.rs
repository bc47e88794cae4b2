//! Copying the log of one shard, beside a broker that appends, merges index files and retires segments.
//!
//! Files are opened first, then it is found out how far the log is whole: all that the open index files cover lies before
//! that. What is before never changes any more, so it can be copied for as long as it takes, unless its segment is
//! retired meanwhile and becomes another one. Then what waited there was carried on to the log's end, and the shard is
//! looked at again; what was copied stays.

use super::{
    copy::{Copier, Part},
    manifest::{FileEntry, Previous, ShardSpan},
};
use crate::{
    data_dir::{InspectError, Segments, io_at, open_segments},
    finding::Findings,
    index_chain::Chain,
    log_walk::walk,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use store::{
    index::{Named, named},
    replica_file::REPLICA_FILE,
    segments::segment_start,
    settings::Settings,
};

/// Looks at a shard whose files change meanwhile.
const LOOKS_MAX: usize = 100;

/// The copy of a shard's log, as far as it has come.
pub(crate) struct ShardCopy<'a> {
    settings: &'a Settings,
    /// Directory of the copy.
    target: PathBuf,
    /// The same, below the backup's directory.
    below: String,
    /// By name.
    copied: BTreeMap<String, Copied>,
    previous: Option<&'a Previous>,
}

/// A file that was copied, and of what.
struct Copied {
    entry: FileEntry,
    inode: u64,
}

/// What there is to copy.
struct Opened {
    segments: Segments,
    /// Name and file.
    indexes: Vec<(String, File)>,
    replica: Option<Vec<u8>>,
    span: ShardSpan,
}

impl<'a> ShardCopy<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        backup: &Path,
        previous: Option<&'a Previous>,
    ) -> Result<ShardCopy<'a>, InspectError> {
        let name = settings.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let below = format!("commitlog/{name}");
        let target = backup.join(&below);
        fs::create_dir_all(&target).map_err(io_at(&target))?;
        Ok(ShardCopy { settings, target, below, copied: BTreeMap::new(), previous })
    }

    /// Copies what is new. Findings are those of the last look.
    pub(crate) async fn update(
        &mut self,
        copier: &mut Copier<'_>,
        findings: &mut Findings,
    ) -> Result<ShardSpan, InspectError> {
        for _ in 0..LOOKS_MAX {
            let mut found = Findings::default();
            let Some(opened) = self.open(&mut found).await? else { continue };
            self.copy(&opened, copier)?;
            if self.is_still_there(&opened)? {
                found.iter().for_each(|finding| findings.about_existing(finding.clone()));
                return Ok(opened.span);
            }
        }
        let what = "its files are replaced faster than they can be copied";
        Err(InspectError::NoStore { path: self.settings.dir.clone(), what })
    }

    /// The files that are copied.
    pub(crate) fn entries(&self) -> impl Iterator<Item = FileEntry> {
        self.copied.values().map(|copied| copied.entry.clone())
    }

    /// `None`: something changed while it was opened.
    async fn open(&self, findings: &mut Findings) -> Result<Option<Opened>, InspectError> {
        let dir = &self.settings.dir;
        let names = names(dir)?;
        let path = dir.join(REPLICA_FILE);
        let replica = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            read => Some(read.map_err(io_at(&path))?),
        };
        let mut indexes = Vec::new();
        for name in &names {
            if !matches!(named(name), Some(Named::Sealed { .. } | Named::Run { .. })) {
                continue;
            }
            let path = dir.join(name);
            match File::open(&path) {
                Ok(file) => indexes.push((name.clone(), file)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(io_at(&path)(error)),
            }
        }
        let segments = open_segments(self.settings, findings).await?;
        if self::names(dir)? != names {
            return Ok(None);
        }
        let from = segments.keys().next().copied().unwrap_or(0);
        let chain = Chain::open(self.settings, &segments, findings).await?;
        let covered = chain.end(from);
        let end = walk(self.settings, &segments, covered, covered, |_| true).await?.position;
        let span = ShardSpan { shard: self.settings.shard, from, end };
        Ok(Some(Opened { segments, indexes, replica, span }))
    }

    fn copy(&mut self, opened: &Opened, copier: &mut Copier<'_>) -> Result<(), InspectError> {
        self.drop_left(opened)?;
        let layout = self.settings.layout;
        let end = opened.span.end;
        let written = |start: u64| end.min(layout.end_of(start)).saturating_sub(start);
        copier.expect(opened.segments.keys().map(|start| written(*start)).sum());
        for (start, file) in &opened.segments {
            let path = self.settings.segment_path(*start);
            let complete = end >= layout.end_of(*start);
            let wanted = Wanted { bytes: layout.bytes_of(*start), to: written(*start), complete };
            self.copy_file(&path, file.file(), wanted, copier)?;
        }
        for (name, file) in &opened.indexes {
            let path = self.settings.dir.join(name);
            let bytes = file.metadata().map_err(io_at(&path))?.len();
            self.copy_file(&path, file, Wanted { bytes, to: bytes, complete: false }, copier)?;
        }
        if let Some(bytes) = &opened.replica {
            super::copy::write_durably(&self.target.join(REPLICA_FILE), bytes)?;
            let entry = super::small_entry(format!("{}/{REPLICA_FILE}", self.below), bytes);
            self.copied.insert(REPLICA_FILE.to_owned(), Copied { entry, inode: 0 });
        }
        Ok(())
    }

    /// Removes from the copy what is not there any more.
    fn drop_left(&mut self, opened: &Opened) -> Result<(), InspectError> {
        let segments = opened.segments.keys().map(|start| self.settings.segment_path(*start));
        let file_name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let mut there: BTreeSet<String> = segments.filter_map(file_name).collect();
        there.extend(opened.indexes.iter().map(|(name, _)| name.clone()));
        there.extend(opened.replica.iter().map(|_| REPLICA_FILE.to_owned()));
        let left: Vec<String> =
            self.copied.keys().filter(|name| !there.contains(*name)).cloned().collect();
        for name in left {
            let path = self.target.join(&name);
            fs::remove_file(&path).map_err(io_at(&path))?;
            self.copied.remove(&name);
        }
        Ok(())
    }

    fn copy_file(
        &mut self,
        path: &Path,
        file: &File,
        wanted: Wanted,
        copier: &mut Copier<'_>,
    ) -> Result<(), InspectError> {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let inode = file.metadata().map_err(io_at(path))?.ino();
        let target = self.target.join(name);
        let mut from = (0, 0);
        match self.copied.get(name) {
            Some(Copied { entry, inode: of }) if *of == inode && entry.bytes == wanted.bytes => {
                if entry.written == wanted.to {
                    return Ok(());
                }
                if entry.written < wanted.to {
                    from = (entry.written, entry.crc32c);
                }
            }
            Some(_) => {}
            None => {
                let below = format!("{}/{name}", self.below);
                let link = |previous: &Previous| previous.link(&below, &target);
                if let Some(entry) = self.previous.filter(|_| wanted.complete).and_then(link) {
                    self.copied.insert(name.to_owned(), Copied { entry, inode });
                    return Ok(());
                }
            }
        }
        let Wanted { bytes, to, complete } = wanted;
        let (from, crc) = from;
        let source_path = path;
        let part = Part { source: file, source_path, target: &target, from, to, bytes, crc };
        let crc32c = copier.copy(&part)?;
        let path = format!("{}/{name}", self.below);
        let entry = FileEntry { path, bytes, written: to, crc32c, complete };
        self.copied.insert(name.to_owned(), Copied { entry, inode });
        Ok(())
    }

    /// Whether each segment still is what it was when it was opened: a retired one becomes another.
    fn is_still_there(&self, opened: &Opened) -> Result<bool, InspectError> {
        for (start, file) in &opened.segments {
            let path = self.settings.segment_path(*start);
            let inode = file.file().metadata().map_err(io_at(&path))?.ino();
            match fs::metadata(&path) {
                Ok(meta) if meta.ino() == inode => {}
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io_at(&path)(error));
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// How much of a file is wanted.
#[derive(Clone, Copy)]
struct Wanted {
    /// Its length.
    bytes: u64,
    /// What is worth copying.
    to: u64,
    /// A segment to which nothing will be added.
    complete: bool,
}

/// Names of segments and index files, in order.
fn names(dir: &Path) -> Result<Vec<String>, InspectError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let name = entry.map_err(io_at(dir))?.file_name().to_string_lossy().into_owned();
        let is_index = matches!(named(&name), Some(Named::Sealed { .. } | Named::Run { .. }));
        if is_index || segment_start(Path::new(&name)).is_some() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
