//! The chain of index files that a start goes on from, and what is missing of it.

use super::{Segments, scan::Scan};
use crate::{
    error::StoreError,
    index::{Index, IndexError, Named, named, run_path, sealed_path},
    rebuild::Missing,
    settings::Settings,
};
use ahash::AHashMap;
use runtime::Disk;
use std::{collections::BTreeMap, future::ready, ops::Range, path::Path, rc::Rc};

/// Index files by the position where they begin, then the longest last.
type Found<D> = BTreeMap<u64, Vec<Index<D>>>;

/// The index files that cover the log from its first segment without a gap.
pub(super) struct Chain<D: Disk> {
    files: Vec<Index<D>>,
    /// The index file of the segment that was retired last, when it outlived it: it knows how the log stood at its
    /// first segment, should no file of the chain be whole.
    base: Option<Index<D>>,
    /// How many had to be made again.
    pub(super) rebuilt: u64,
    /// Bytes of the log that turned out to be damaged then.
    pub(super) damaged_bytes: u64,
}

impl<D: Disk> Chain<D> {
    /// Opens what is there, makes again what is missing between, and fills the tables of `scan` with the state at the
    /// end of the chain. What is left over is removed.
    pub(super) async fn open(
        disk: &D,
        settings: &Settings,
        segments: &Segments<D>,
        scan: &mut Scan,
    ) -> Result<Chain<D>, StoreError> {
        let first = *segments.keys().next().expect("a log has a segment");
        let (mut found, base) = open_files(disk, settings, segments, first).await?;
        let mut left_over = Vec::new();
        let mut chain = Chain { files: Vec::new(), base, rebuilt: 0, damaged_bytes: 0 };
        let mut position = first;
        loop {
            let mut here = found.remove(&position).unwrap_or_default();
            if let Some(longest) = here.pop() {
                position = longest.head().to;
                chain.files.push(longest);
                left_over.extend(here);
                continue;
            }
            let gap = gap(&found, segments, settings, position);
            if let Some(end) = gap.last().map(|range| range.end) {
                position = match chain.fill(disk, settings, segments, &found, gap).await {
                    Ok(()) => end,
                    Err(StoreError::Malformed { path, what }) => {
                        let back = chain
                            .drop_neighbour(disk, (&path, &what), &mut found, position)
                            .await?;
                        give_back(&mut left_over, &mut found, back);
                        back
                    }
                    Err(error) => return Err(error),
                };
                continue;
            }
            match chain.load(scan, first).await {
                Ok(()) => break,
                Err((_, error)) if !error.is_damage() => return Err(error.into()),
                Err(error) => {
                    // The newest or the oldest is damaged inside. It is made again, or the log is scanned from there.
                    position = chain.drop_damaged(disk, error, &mut found).await?;
                    give_back(&mut left_over, &mut found, position);
                }
            }
        }
        left_over.extend(found.into_values().flatten());
        if !chain.files.is_empty() {
            left_over.extend(chain.base.take());
        }
        for index in left_over {
            remove(disk, &index).await?;
        }
        Ok(chain)
    }

    /// The files, oldest first.
    pub(super) fn into_files(self) -> Vec<Rc<Index<D>>> {
        self.files.into_iter().map(Rc::new).collect()
    }

    /// Whether there is a file.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    async fn fill(
        &mut self,
        disk: &D,
        settings: &Settings,
        segments: &Segments<D>,
        found: &Found<D>,
        ranges: Vec<Range<u64>>,
    ) -> Result<(), StoreError> {
        let before = match self.files.last().or(self.base.as_ref()) {
            Some(before) => Some(before.outline().await?),
            None => None,
        };
        let end = ranges.last().map_or(0, |range| range.end);
        let after = found.range(end..).next().and_then(|(_, files)| files.last());
        let after = after.expect("a gap ends at a file").outline().await?;
        let is_there = &|_| true;
        let missing = Missing { disk, settings, segments, ranges, before, after, is_there };
        let made = missing.rebuild(&|| ready(())).await?;
        self.rebuilt += made.indexes.len() as u64;
        self.damaged_bytes += made.damaged_bytes;
        self.files.extend(made.indexes);
        Ok(())
    }

    /// Fills the tables from the last file, and first offsets from the first.
    async fn load(&self, scan: &mut Scan, first: u64) -> Result<(), (usize, IndexError)> {
        let Some(last) = self.files.last() else { return self.load_base(scan, first).await };
        let at = |number: usize| move |error: IndexError| (number, error);
        let oldest = self.files[0].outline().await.map_err(at(0))?;
        let starts: AHashMap<u32, i64> =
            oldest.rows.iter().map(|row| (row.number, row.start())).collect();
        let outline = if self.files.len() == 1 {
            oldest
        } else {
            last.outline().await.map_err(at(self.files.len() - 1))?
        };
        scan.go_on_from(outline, &starts);
        scan.state.earliest_store_ms = self.earliest_store_ms();
        Ok(())
    }

    /// Without a chain the log begins where the segment that was retired last ended, or nobody knows how.
    async fn load_base(&self, scan: &mut Scan, first: u64) -> Result<(), (usize, IndexError)> {
        let outline = match &self.base {
            Some(base) => base.outline().await,
            None => {
                scan.begin_at(first);
                return Ok(());
            }
        };
        match outline {
            Ok(outline) => {
                let gone = outline.rows.iter().map(|row| (row.number, row.next)).collect();
                scan.go_on_from(outline, &gone);
            }
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "the index file of a retired segment is damaged");
                scan.begin_at(first);
            }
            Err(error) => return Err((0, error)),
        }
        Ok(())
    }

    fn earliest_store_ms(&self) -> Option<i64> {
        let with_messages = self.files.iter().find(|index| index.head().messages > 0);
        with_messages.map(|index| index.head().first_store_ms)
    }

    /// A file before or behind a gap turned out to be damaged when the gap was to be filled: it goes, and the gap grows.
    /// Returns where to go on.
    async fn drop_neighbour(
        &mut self,
        disk: &D,
        (path, what): (&Path, &str),
        found: &mut Found<D>,
        position: u64,
    ) -> Result<u64, StoreError> {
        tracing::error!(path = %path.display(), what, "an index file is damaged");
        if let Some(before) = self.files.pop_if(|before| before.path() == path) {
            remove(disk, &before).await?;
            return Ok(before.head().from);
        }
        if let Some(base) = self.base.take_if(|base| base.path() == path) {
            remove(disk, &base).await?;
        }
        for files in found.values_mut() {
            if let Some(at) = files.iter().position(|index| index.path() == path) {
                remove(disk, &files.remove(at)).await?;
            }
        }
        found.retain(|_, files| !files.is_empty());
        Ok(position)
    }

    /// Removes the file that failed, and gives back those behind it. Returns where to go on.
    async fn drop_damaged(
        &mut self,
        disk: &D,
        (number, error): (usize, IndexError),
        found: &mut Found<D>,
    ) -> Result<u64, StoreError> {
        tracing::error!(%error, "an index file is damaged");
        let mut behind = self.files.split_off(number).into_iter();
        let damaged = behind.next().expect("the file that failed is in the chain");
        for index in behind {
            found.entry(index.head().from).or_default().push(index);
        }
        remove(disk, &damaged).await?;
        Ok(damaged.head().from)
    }
}

/// Files that a longer one had made needless are wanted again when that turns out to be damaged.
fn give_back<D: Disk>(left_over: &mut Vec<Index<D>>, found: &mut Found<D>, position: u64) {
    for index in left_over.extract_if(.., |index| index.head().from >= position) {
        let files = found.entry(index.head().from).or_default();
        files.push(index);
        files.sort_by_key(|index| index.head().to);
    }
}

/// What no index file covers from `position` on although later ones exist, segment by segment.
fn gap<D: Disk>(
    found: &Found<D>,
    segments: &Segments<D>,
    settings: &Settings,
    position: u64,
) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let Some((next, _)) = found.range(position..).next() else { return ranges };
    let mut from = position;
    while from < *next {
        let segment = settings.layout.start_of(from);
        if !segments.contains_key(&segment) {
            break;
        }
        let to = (*next).min(settings.layout.end_of(segment));
        ranges.push(from..to);
        from = to;
    }
    ranges
}

/// Opens all index files of segments that are there, and that of the segment before `first`. What cannot be opened is
/// removed: it is made again.
async fn open_files<D: Disk>(
    disk: &D,
    settings: &Settings,
    segments: &Segments<D>,
    first: u64,
) -> Result<(Found<D>, Option<Index<D>>), StoreError> {
    let dir = &settings.dir;
    let names = disk.list(dir).await.map_err(|source| StoreError::io("list", dir, source))?;
    let mut found: Found<D> = BTreeMap::new();
    let mut base = None;
    for name in names {
        let (path, segment) = match named(&name.name) {
            None => continue,
            Some(Named::Temporary) => (dir.join(&name.name), None),
            Some(Named::Sealed { segment }) => (sealed_path(dir, segment), Some(segment)),
            Some(Named::Run { segment, from }) => (run_path(dir, segment, from), Some(segment)),
        };
        let remove = |source| StoreError::io("remove", path.clone(), source);
        let before_first = segment.is_some_and(|segment| settings.layout.end_of(segment) == first);
        let whole = matches!(named(&name.name), Some(Named::Sealed { .. }));
        let is_base = segment.is_some() && before_first && whole;
        if !is_base && segment.is_none_or(|segment| !segments.contains_key(&segment)) {
            disk.remove(&path).await.map_err(remove)?;
            continue;
        }
        match Index::open(disk, &path, settings.shard, settings.log_id).await {
            Ok(index) if is_base => base = Some(index),
            Ok(index) => {
                let files = found.entry(index.head().from).or_default();
                files.push(index);
                files.sort_by_key(|index| index.head().to);
            }
            Err(error) if error.is_damage() => {
                tracing::error!(shard = settings.shard, %error, "an index file cannot be used");
                disk.remove(&path).await.map_err(remove)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((found, base))
}

async fn remove<D: Disk>(disk: &D, index: &Index<D>) -> Result<(), StoreError> {
    let path = index.path().to_owned();
    disk.remove(&path).await.map_err(|source| StoreError::io("remove", path, source))
}
