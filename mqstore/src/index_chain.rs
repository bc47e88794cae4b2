//! The index files of a shard: opening them, checking each by itself, and the chain that they make.
//!
//! The chain is the one that a start would take: from the first segment on, the longest file at each position. A file
//! beside it is superseded (the runs of a sealed segment, after a crash). A gap is damage, since a later file was
//! written when the one before it was durable.

use crate::{
    data_dir::{InspectError, Segments},
    file_disk::FileDisk,
    finding::{Findings, damage, note},
    progress::Progress,
};
use runtime::Disk;
use std::{
    collections::BTreeMap, io::ErrorKind, ops::Range, path::PathBuf, thread, time::Duration,
};
use store::{
    index::{Index, IndexError, Named, Outline, named},
    settings::Settings,
};

/// Listings of a directory in which a running broker replaces files, until one shows a chain without gaps.
const LISTINGS_MAX: usize = 4;
/// Time between two of them.
const LISTING_PAUSE: Duration = Duration::from_millis(100);

const NO_MESSAGE: &str = "no message: the segment holds what the file said";
const MADE_AGAIN: &str =
    "made again from the segment when it is read or at the next start; or mqstore verify --repair";

/// An index file that a start would go on from.
pub(crate) struct Link {
    pub(crate) index: Index<FileDisk>,
    /// Whether it was found to be damaged inside.
    pub(crate) damaged: bool,
}

/// What covers the log from its first segment on.
#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
    /// Parts of the log without an index file before others that have one.
    pub(crate) gaps: Vec<Range<u64>>,
    /// Bytes of all index files, superseded ones included.
    pub(crate) bytes: u64,
    bad: Vec<PathBuf>,
}

impl Chain {
    /// Behind the last position covered. Everything before was durable once.
    pub(crate) fn end(&self, first: u64) -> u64 {
        self.links.last().map_or(first, |link| link.index.head().to)
    }

    /// Opens the index files of segments that are there, without looking inside.
    pub(crate) async fn open(
        settings: &Settings,
        segments: &Segments,
        findings: &mut Findings,
    ) -> Result<Chain, InspectError> {
        let mut listing = 1;
        loop {
            let mut found = Findings::default();
            let chain = Chain::open_once(settings, segments, &mut found).await?;
            if chain.gaps.is_empty() || !chain.bad.is_empty() || listing == LISTINGS_MAX {
                found.iter().for_each(|finding| findings.about_existing(finding.clone()));
                chain.report_gaps(settings, findings);
                return Ok(chain);
            }
            thread::sleep(LISTING_PAUSE);
            listing += 1;
        }
    }

    async fn open_once(
        settings: &Settings,
        segments: &Segments,
        findings: &mut Findings,
    ) -> Result<Chain, InspectError> {
        let mut chain = Chain::default();
        let mut found = chain.open_files(settings, segments, findings).await?;
        let mut position = segments.keys().next().copied().unwrap_or(0);
        loop {
            let mut here = found.remove(&position).unwrap_or_default();
            if let Some(longest) = here.pop() {
                position = longest.head().to;
                chain.links.push(Link { index: longest, damaged: false });
            } else if let Some((next, _)) = found.range(position..).next() {
                let segment = settings.layout.start_of(position);
                let end = (*next).min(settings.layout.end_of(segment));
                chain.gaps.push(position..end);
                position = end;
            } else {
                return Ok(chain);
            }
        }
    }

    /// Opens what is there, by the position where it begins, then the longest last.
    async fn open_files(
        &mut self,
        settings: &Settings,
        segments: &Segments,
        findings: &mut Findings,
    ) -> Result<BTreeMap<u64, Vec<Index<FileDisk>>>, InspectError> {
        let disk = FileDisk::read_only();
        let names = match disk.list(&settings.dir).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            listed => listed.map_err(crate::data_dir::io_at(&settings.dir))?,
        };
        let mut found: BTreeMap<u64, Vec<Index<FileDisk>>> = BTreeMap::new();
        for entry in names {
            let path = settings.dir.join(&entry.name);
            let segment = match named(&entry.name) {
                Some(Named::Sealed { segment } | Named::Run { segment, .. }) => segment,
                Some(Named::Temporary) => {
                    let what = "an index file that was not finished";
                    findings.push(note(&path, None, what).then("removed at the next start"));
                    continue;
                }
                None => continue,
            };
            self.bytes += entry.bytes;
            if !segments.contains_key(&segment) {
                let what = "an index file without its segment";
                findings.push(note(&path, None, what).then("removed at the next start"));
                continue;
            }
            match Index::open(&disk, &path, settings.shard, settings.log_id).await {
                Ok(index) => {
                    let files = found.entry(index.head().from).or_default();
                    files.push(index);
                    files.sort_by_key(|index| index.head().to);
                }
                Err(error) => self.take_error(error, findings)?,
            }
        }
        Ok(found)
    }

    fn take_error(
        &mut self,
        error: IndexError,
        findings: &mut Findings,
    ) -> Result<(), InspectError> {
        match error {
            IndexError::Damaged { path, what } => {
                findings.push(damaged_index(&path, &what));
                self.bad.push(path);
                Ok(())
            }
            // Merged or retired since the directory was listed.
            IndexError::Io { source, .. } if source.kind() == ErrorKind::NotFound => Ok(()),
            IndexError::Io { path, source, .. } => Err(InspectError::Io { path, source }),
            newer @ IndexError::Newer { .. } => Err(InspectError::Store(newer.into())),
        }
    }

    fn report_gaps(&self, settings: &Settings, findings: &mut Findings) {
        for gap in &self.gaps {
            let segment = settings.layout.start_of(gap.start);
            let prefix = format!("{segment:020}.");
            let explained = self.bad.iter().any(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with(&prefix))
            });
            if explained {
                continue;
            }
            let path = settings.segment_path(segment);
            let what = format!("no index file covers {} to {} of the log", gap.start, gap.end);
            let finding = damage(&path, gap.start - segment, what).costing(NO_MESSAGE);
            // A segment that was retired since it was listed has no index file any more, rightly.
            findings.about_existing(finding.then(MADE_AGAIN));
        }
    }

    /// Reads all of each file. What fails is reported and marked.
    pub(crate) async fn verify(
        &mut self,
        findings: &mut Findings,
        progress: &Progress,
    ) -> Result<(), InspectError> {
        for number in 0..self.links.len() {
            let link = &mut self.links[number];
            let verified = link.index.verify().await;
            progress.add(link.index.bytes());
            if let Err(error) = verified {
                link.damaged = true;
                let mut found = Findings::default();
                self.take_error(error, &mut found)?;
                found.iter().for_each(|finding| findings.about_existing(finding.clone()));
            }
        }
        Ok(())
    }

    /// Everything but entries and keys of a file; `None` when it is damaged.
    pub(crate) async fn outline(&self, number: usize) -> Result<Option<Outline>, InspectError> {
        let Some(link) = self.links.get(number).filter(|link| !link.damaged) else {
            return Ok(None);
        };
        unless_damaged(link.index.outline().await)
    }
}

/// What an index file said; `None` when it is damaged, which was or will be reported by [`Chain::verify`].
pub(crate) fn unless_damaged<T>(read: Result<T, IndexError>) -> Result<Option<T>, InspectError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(IndexError::Damaged { .. }) => Ok(None),
        Err(IndexError::Io { path, source, .. }) => Err(InspectError::Io { path, source }),
        Err(newer @ IndexError::Newer { .. }) => Err(InspectError::Store(newer.into())),
    }
}

pub(crate) fn damaged_index(path: &std::path::Path, what: &str) -> crate::finding::Finding {
    damage(path, block_offset(what), what).costing(NO_MESSAGE).then(MADE_AGAIN)
}

/// Where the block lies that a report begins with ("block 7 fails its checksum").
fn block_offset(what: &str) -> Option<u64> {
    let number = what.strip_prefix("block ")?.split(' ').next()?;
    Some(number.parse::<u64>().ok()? * runtime::BLOCK_BYTES as u64)
}
