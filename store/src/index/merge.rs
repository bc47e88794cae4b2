//! Merging the runs of a segment into its sealed index.
//!
//! Queues, topics and states are those of the last run. Entries go over queue by queue, those of queues that the
//! last run does not know are left behind (their topics were deleted); where a run does not go on where the one before
//! ended, damage took the messages between along, and entries that say so take their places; keys go over in one merge, all of them, because
//! readers check the record anyway. Memory: the rows of the last run, and a few MiB of buffers whatever the number of
//! entries. The work makes way for others every 100 us or so.

use super::{
    cursor::{Cursor, Entries, Keys, READ_BLOCKS_MAX, Rows},
    error::IndexError,
    head::Head,
    item::Row,
    key::Key,
    open::Index,
    outline::Outline,
    write::IndexWriter,
};
use crate::consume_queue::{Entry, LOST_MAX};
use runtime::Disk;
use std::{future::Future, path::Path};

/// Items moved between two pauses: about 100 us.
const PIECE_ITEMS: usize = 2_048;
/// Blocks that all cursors of a kind hold together: 4 MiB.
const BUFFER_BLOCKS: usize = 1_024;
/// Blocks of the largest read: 256 KiB. The check of a larger one would take too long at a time.
const READ_BLOCKS: u32 = 64;
const _: () = assert!(READ_BLOCKS <= READ_BLOCKS_MAX);

/// Merges runs that follow each other without gaps, oldest first, into the index file `path`. `pause` is awaited
/// between pieces of work. The runs stay as they are.
///
/// Errors: the disk's, or damage of a run; there is no file `path` then, or what was there before.
///
/// # Panics
/// When there are no runs, or they do not follow each other in one segment of one log.
pub async fn merge<D, P, F>(
    disk: &D,
    path: &Path,
    runs: &[&Index<D>],
    pause: P,
) -> Result<Index<D>, IndexError>
where
    D: Disk,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let (first, last) = (runs.first().expect("a run"), runs.last().expect("a run"));
    for pair in runs.windows(2) {
        let (one, next) = (pair[0].head(), pair[1].head());
        assert!(one.to == next.from, "a gap between runs");
        assert!((one.log_id, one.segment) == (next.log_id, next.segment));
    }
    let mut outline = last.outline_paced(&pause).await?;
    outline.head = merged_head(first.head(), last.head(), runs);
    let mut pace = Pace { pause, left: PIECE_ITEMS };
    sum_counts(&mut outline, runs, &mut pace).await?;
    let queues = outline.rows.iter().map(|row| (row.number, row.count)).collect::<Vec<_>>();
    let key_count: u64 = runs.iter().map(|run| run.key_count()).sum();
    if key_count > u64::from(u32::MAX) {
        return Err(last.damaged(format!("{key_count} keys in all runs, more than can be")));
    }
    let mut writer = IndexWriter::create_paced(disk, path, outline, key_count, &pace.pause).await?;
    copy_entries(&mut writer, &queues, runs, &mut pace).await?;
    merge_keys(&mut writer, runs, &mut pace).await?;
    writer.finish().await
}

/// Makes way for others after every [`PIECE_ITEMS`].
struct Pace<P> {
    pause: P,
    left: usize,
}

impl<P: Fn() -> F, F: Future<Output = ()>> Pace<P> {
    async fn work(&mut self, items: usize) {
        match self.left.checked_sub(items) {
            Some(left) if left > 0 => self.left = left,
            _ => {
                self.left = PIECE_ITEMS;
                (self.pause)().await;
            }
        }
    }
}

fn merged_head<D: Disk>(first: &Head, last: &Head, runs: &[&Index<D>]) -> Head {
    let heads = || runs.iter().map(|run| run.head()).filter(|head| head.messages > 0);
    Head {
        from: first.from,
        // A clock that was set meanwhile makes neither the first nor the last run the one with these times.
        first_store_ms: heads().map(|head| head.first_store_ms).min().unwrap_or(0),
        last_store_ms: heads().map(|head| head.last_store_ms).max().unwrap_or(0),
        influenced_by: runs.iter().map(|run| run.head().influenced_by).max().unwrap_or(last.to),
        messages: heads().fold(0, |sum, head| sum.saturating_add(head.messages)),
        ..*last
    }
}

/// Blocks that each of the cursors of a kind may hold.
fn read_blocks(cursors: usize) -> u32 {
    (BUFFER_BLOCKS / cursors).clamp(1, READ_BLOCKS as usize) as u32
}

/// Rows of one run, looked up by ascending numbers.
struct RunRows<'a, D: Disk> {
    run: &'a Index<D>,
    rows: Rows<'a, D>,
    last_number: Option<u32>,
    /// Entries of the rows passed so far.
    entries: u64,
}

impl<'a, D: Disk> RunRows<'a, D> {
    fn of(runs: &[&'a Index<D>]) -> Vec<RunRows<'a, D>> {
        let blocks = read_blocks(runs.len());
        let rows = |run| Cursor::new(run, blocks);
        let all = runs.iter();
        all.map(|run| RunRows { run, rows: rows(run), last_number: None, entries: 0 }).collect()
    }

    /// The row of a queue, if the run has it. Rows with smaller numbers are passed by.
    async fn find<P, F>(
        &mut self,
        number: u32,
        pace: &mut Pace<P>,
    ) -> Result<Option<Row>, IndexError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        while self.rows.fill().await? {
            let row = self.rows.rest()[0];
            if self.last_number.is_some_and(|last| last >= row.number) {
                return Err(self.run.damaged(format!("row {} is out of order", row.number)));
            }
            if u64::from(row.first) != self.entries {
                let what = format!("row {} has entries of another row", row.number);
                return Err(self.run.damaged(what));
            }
            if row.number > number {
                break;
            }
            self.rows.consume(1);
            self.last_number = Some(row.number);
            self.entries += u64::from(row.count);
            pace.work(1).await;
            if row.number == number {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// The rows of one queue in all runs, one behind the other.
#[derive(Default)]
struct Line {
    /// Entries, those for lost messages among them.
    count: u64,
    next: i64,
}

impl Line {
    /// Goes on with the row of the next run. Returns how many messages between were lost, or what is wrong.
    fn go_on(&mut self, row: &Row) -> Result<u64, String> {
        // A queue without entries so far may begin anywhere: what came before was lost with a part of the log.
        let begins = if self.count > 0 { self.next } else { row.start().max(self.next) };
        let lost = row.start() - begins;
        if !(0..=LOST_MAX).contains(&lost) {
            return Err(format!("row {} does not go on where the run before ends", row.number));
        }
        self.count += (row.next - begins) as u64;
        self.next = row.next;
        Ok(lost as u64)
    }
}

/// Counts for each row of the last run the entries that all runs have of its queue.
async fn sum_counts<D, P, F>(
    outline: &mut Outline,
    runs: &[&Index<D>],
    pace: &mut Pace<P>,
) -> Result<(), IndexError>
where
    D: Disk,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let mut of_runs = RunRows::of(runs);
    let mut all = 0u64;
    for sum in &mut outline.rows {
        let mut line = Line::default();
        for rows in &mut of_runs {
            let Some(row) = rows.find(sum.number, pace).await? else { continue };
            line.go_on(&row).map_err(|what| rows.run.damaged(what))?;
            if u32::try_from(all + line.count).is_err() {
                return Err(rows.run.damaged("more entries than can be".into()));
            }
        }
        all += line.count;
        sum.count = line.count as u32;
    }
    Ok(())
}

/// Copies the entries of `queues` (number, and how many), queue by queue.
async fn copy_entries<D, P, F>(
    writer: &mut IndexWriter<D>,
    queues: &[(u32, u32)],
    runs: &[&Index<D>],
    pace: &mut Pace<P>,
) -> Result<(), IndexError>
where
    D: Disk,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let mut of_runs = RunRows::of(runs);
    let blocks = read_blocks(runs.len());
    let mut sources: Vec<Entries<'_, D>> =
        runs.iter().map(|run| Cursor::new(run, blocks)).collect();
    for (number, count) in queues {
        let mut line = Line::default();
        let changed = || format!("row {number} changed meanwhile");
        for (rows, source) in of_runs.iter_mut().zip(&mut sources) {
            let Some(row) = rows.find(*number, pace).await? else { continue };
            let lost = line.go_on(&row).map_err(|what| rows.run.damaged(what))?;
            if line.count > u64::from(*count) {
                return Err(rows.run.damaged(changed()));
            }
            write_lost(writer, rows.run.head().from, lost, pace).await?;
            source.skip(u64::from(row.first) - source.position());
            copy(writer, source, row.count as usize, pace).await?;
        }
        if line.count < u64::from(*count) {
            return Err(runs[runs.len() - 1].damaged(changed()));
        }
    }
    Ok(())
}

/// Writes entries for messages that were lost somewhere before `position`.
async fn write_lost<D, P, F>(
    writer: &mut IndexWriter<D>,
    position: u64,
    count: u64,
    pace: &mut Pace<P>,
) -> Result<(), IndexError>
where
    D: Disk,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    for _ in 0..count {
        writer.entries(&[Entry::lost(position)]).await?;
        pace.work(1).await;
    }
    Ok(())
}

async fn copy<D, P, F>(
    writer: &mut IndexWriter<D>,
    source: &mut Entries<'_, D>,
    count: usize,
    pace: &mut Pace<P>,
) -> Result<(), IndexError>
where
    D: Disk,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let mut left = count;
    while left > 0 {
        let more = source.fill().await?;
        assert!(more, "rows lie within the section of entries");
        let rest = source.rest();
        let part = &rest[..left.min(rest.len()).min(PIECE_ITEMS)];
        let copied = part.len();
        writer.entries(part).await?;
        source.consume(copied);
        left -= copied;
        pace.work(copied).await;
    }
    Ok(())
}

/// A run's keys that are not yet merged; never without any.
struct Source<'a, D: Disk> {
    run: &'a Index<D>,
    keys: Keys<'a, D>,
    /// The first of them.
    key: Key,
}

async fn merge_keys<D, P, F>(
    writer: &mut IndexWriter<D>,
    runs: &[&Index<D>],
    pace: &mut Pace<P>,
) -> Result<(), IndexError>
where
    D: Disk,
    P: Fn() -> F,
    F: Future<Output = ()>,
{
    let blocks = read_blocks(runs.len());
    let mut sources = Vec::new();
    for run in runs {
        let mut keys: Keys<'_, D> = Cursor::new(run, blocks);
        if keys.fill().await? {
            let key = keys.rest()[0];
            sources.push(Source { run, keys, key });
        }
    }
    let mut merged = Vec::with_capacity(PIECE_ITEMS);
    while !sources.is_empty() {
        let used_up = take_least(&mut sources, &mut merged)?;
        if merged.len() == PIECE_ITEMS {
            writer.keys(&merged).await?;
            pace.work(merged.len()).await;
            merged.clear();
        }
        let Some(at) = used_up else { continue };
        let source = &mut sources[at];
        if source.keys.fill().await? {
            source.go_on()?;
        } else {
            sources.swap_remove(at);
        }
    }
    writer.keys(&merged).await
}

/// Moves the least keys to `merged` until that is full, or until the source returned has none decoded any more.
fn take_least<D: Disk>(
    sources: &mut [Source<'_, D>],
    merged: &mut Vec<Key>,
) -> Result<Option<usize>, IndexError> {
    while merged.len() < PIECE_ITEMS {
        // There are few runs: looking at each is faster than keeping a heap.
        let least = (0..sources.len()).min_by_key(|at| sources[*at].key.rank());
        let least = least.expect("there are sources");
        let source = &mut sources[least];
        merged.push(source.key);
        source.keys.consume(1);
        if source.keys.rest().is_empty() {
            return Ok(Some(least));
        }
        source.go_on()?;
    }
    Ok(None)
}

impl<D: Disk> Source<'_, D> {
    /// Looks at the next key, which must not be smaller than the last.
    fn go_on(&mut self) -> Result<(), IndexError> {
        let next = self.keys.rest()[0];
        if next < self.key {
            return Err(self.run.damaged(format!("key {next:?} is out of order")));
        }
        self.key = next;
        Ok(())
    }
}
