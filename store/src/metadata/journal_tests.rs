//! The journal on the simulated disk: a small table with two files, changed, checkpointed, cut off and damaged everywhere.

use super::*;
use runtime::durable_file::read;
use runtime::sim::{Lies, SimDisk, block_on};
use std::collections::BTreeMap;

const DIR: &str = "/data/config";
const FILES: [&str; 2] = ["even.json", "odd.json"];
/// Some fourteen changes.
const ROOM_BYTES: u64 = 8192;

/// Keys and values; even keys live in the first file, odd ones in the second.
#[derive(Clone, Debug, Default, PartialEq)]
struct Table {
    version: u64,
    values: BTreeMap<u8, u8>,
}

/// Key and new value; `None` removes it.
type Change = (u8, Option<u8>);

impl Table {
    /// Changes, and returns how the journal keeps that.
    fn change(&mut self, (key, value): Change) -> Vec<u8> {
        self.version += 1;
        match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        let mut record = self.version.to_le_bytes().to_vec();
        record.extend([key, value.unwrap_or(0)]);
        record.resize(500, 0);
        record
    }

    /// One of the files: version, pairs, a sum that damage does not survive.
    fn file(&self, which: u8) -> Vec<u8> {
        let mut content = self.version.to_le_bytes().to_vec();
        let own = self.values.iter().filter(|(key, _)| *key % 2 == which);
        content.extend(own.flat_map(|(key, value)| [*key, *value]));
        let sum = crc32c::crc32c(&content).to_le_bytes();
        content.extend(sum);
        content
    }

    fn parse(bytes: &[u8]) -> Result<Table, &'static str> {
        let (content, sum) = bytes.split_last_chunk::<4>().ok_or("short")?;
        if crc32c::crc32c(content).to_le_bytes() != *sum {
            return Err("damaged");
        }
        let (version, pairs) = content.split_first_chunk::<8>().ok_or("short")?;
        let values = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Ok(Table { version: u64::from_le_bytes(*version), values })
    }

    fn replay(&mut self, record: &[u8]) {
        let version = u64::from_le_bytes(*record.first_chunk().expect("eight bytes"));
        if version > self.version {
            self.version = version;
            match record[9] {
                0 => self.values.remove(&record[8]),
                value => self.values.insert(record[8], value),
            };
        }
    }
}

/// A table with its journal, as the broker runs it.
struct Life {
    table: Table,
    journal: Journal<SimDisk>,
    found: Found,
}

impl Life {
    /// A start. `None`: the power went.
    fn begin(disk: &SimDisk) -> Option<Life> {
        block_on(async {
            disk.create_dir_all(Path::new(DIR)).await.expect("room");
            let (journal, found) =
                Journal::open(disk.clone(), Path::new(DIR)).await.expect("readable");
            let mut table = Table::default();
            for (which, name) in FILES.iter().enumerate() {
                let path = Path::new(DIR).join(name);
                let loaded = read(disk, &path, Table::parse).await.expect("one name is whole");
                let (mut part, from_backup) = match loaded {
                    Some(loaded) => (loaded.content, loaded.from_backup),
                    None => (Table::default(), false),
                };
                found.changes(from_backup).for_each(|record| part.replay(record));
                part.values.retain(|key, _| usize::from(*key % 2) == which);
                table.version = table.version.max(part.version);
                table.values.extend(part.values);
            }
            Life { table, journal, found }
        })
    }

    async fn checkpoint(&mut self, changes: &[Vec<u8>], room_bytes: u64) -> Result<(), StoreError> {
        let (even, odd) = (self.table.file(0), self.table.file(1));
        self.journal.checkpoint(&[(FILES[0], &even), (FILES[1], &odd)], changes, room_bytes).await
    }

    fn decide(&mut self, changes: &[Change]) -> Vec<Vec<u8>> {
        changes.iter().map(|change| self.table.change(*change)).collect()
    }

    async fn save(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let records = self.decide(changes);
        self.keep(&records).await
    }

    async fn keep(&mut self, records: &[Vec<u8>]) -> Result<(), StoreError> {
        if self.journal.fits(records) {
            self.journal.append(records).await
        } else {
            self.checkpoint(records, ROOM_BYTES).await
        }
    }
}

fn some_changes(random: &mut fastrand::Rng) -> Vec<Change> {
    let change = |random: &mut fastrand::Rng| {
        let value = (random.u8(..3) > 0).then(|| random.u8(1..));
        (random.u8(..12), value)
    };
    (0..random.usize(1..4)).map(|_| change(random)).collect()
}

/// Every key has its promised value, or the one that was on its way when the power went.
fn check_kept(found: &Table, promised: &Table, on_the_way: &[Change]) -> Result<(), String> {
    for key in 0..12 {
        let now = found.values.get(&key);
        let wanted = on_the_way.iter().filter(|change| change.0 == key);
        let known = now == promised.values.get(&key)
            || wanted.into_iter().any(|change| change.1.as_ref() == now);
        if !known {
            return Err(format!("key {key} is {now:?} in {found:?}, promised {promised:?}"));
        }
    }
    Ok(())
}

/// Lives that end by a power cut at any call, the start included; now and then by an orderly stop. `hasty`: changes are
/// acknowledged before the journal is synced; the files are replaced as they should be.
fn play(seed: u64, hasty: bool) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut disk = SimDisk::new(seed);
    let (mut promised, mut on_the_way) = (Table::default(), Vec::new());
    for life in 0..4 {
        disk.crash_after(random.u64(..90));
        if let Some(mut now) = Life::begin(&disk) {
            let context = |what: String| format!("seed {seed}, life {life}: {what}");
            if now.found.lost > 0 {
                return Err(context(format!("{} changes are damaged", now.found.lost)));
            }
            check_kept(&now.table, &promised, &on_the_way).map_err(context)?;
            promised = now.table.clone();
            on_the_way.clear();
            for _ in 0..40 {
                let changes = some_changes(&mut random);
                on_the_way.clone_from(&changes);
                let records = now.decide(&changes);
                let lies =
                    if hasty && now.journal.fits(&records) { Lies::Syncs } else { Lies::None };
                disk.lie(lies);
                match block_on(now.keep(&records)) {
                    None => break,
                    Some(saved) => saved.expect("room"),
                }
                promised = now.table.clone();
                on_the_way.clear();
            }
            disk.lie(Lies::None);
            if random.bool() {
                let _ = block_on(now.checkpoint(&[], 0));
            }
        }
        disk = disk.after_crash(seed * 31 + life);
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_call() {
    (0..400).for_each(|seed| play(seed, false).expect("it was acknowledged"));
}

/// The seeds above would notice it.
#[test]
fn an_acknowledgement_before_the_sync_is_noticed() {
    let noticed = (0..400).find(|seed| play(*seed, true).is_err());
    println!("noticed by seed {noticed:?}");
    assert!(noticed.is_some());
}

/// A life of 60 changes without an orderly end.
fn long_life(seed: u64) -> (SimDisk, Table) {
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = SimDisk::new(seed);
    let mut life = Life::begin(&disk).expect("power");
    for _ in 0..30 {
        block_on(life.save(&some_changes(&mut random))).expect("power").expect("room");
    }
    (disk, life.table)
}

/// One damaged bit in a file costs nothing: its backup and two journals have everything.
#[test]
fn a_rotten_file_is_rebuilt_from_its_backup_and_the_journals() {
    for seed in 0..60 {
        let (disk, table) = long_life(seed);
        for name in FILES {
            assert!(disk.flip_bit(&Path::new(DIR).join(name), seed % 12, 5));
        }
        let life = Life::begin(&disk).expect("power");
        assert_eq!(life.table, table, "seed {seed}");
    }
}

/// One damaged bit in a backup costs nothing, and neither does one in the older journal.
#[test]
fn rot_in_what_is_kept_besides_costs_nothing() {
    for seed in 0..60 {
        let (disk, table) = long_life(seed);
        let (_, found) = block_on(Journal::open(disk.clone(), Path::new(DIR))).unwrap().unwrap();
        assert!(!found.older.is_empty());
        let journal = oldest_journal(&disk);
        assert!(disk.flip_bit(&journal, 40 + seed * 7, 2));
        assert!(disk.flip_bit(&Path::new(DIR).join("odd.json.bak"), 3, 2));
        assert_eq!(Life::begin(&disk).expect("power").table, table, "seed {seed}");
    }
}

fn oldest_journal(disk: &SimDisk) -> PathBuf {
    let paths = disk.files().into_iter().map(|(path, _)| path);
    let mut journals: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "journal")).collect();
    journals.sort();
    assert_eq!(journals.len(), 2, "the newest and the one before are kept");
    journals.swap_remove(0)
}

/// A damaged bit in the newest journal costs the change in which it lies, and that is said.
#[test]
fn rot_in_the_newest_journal_costs_one_change_and_is_told() {
    let mut reported = 0;
    for seed in 0..60 {
        let (disk, table) = long_life(seed);
        let life = Life::begin(&disk).expect("power");
        let newest = life.journal.path(life.journal.generation);
        let before = life.found.newest.len();
        if before < 5 {
            continue;
        }
        assert!(disk.flip_bit(&newest, 536 + seed * 3, 1), "in the second record");
        let after = Life::begin(&disk).expect("power");
        if after.found.lost == 0 {
            // The record was of the last batch, or the bit in the padding behind a content.
            continue;
        }
        reported += 1;
        assert_eq!((after.found.lost, after.found.newest.len()), (1, before - 1));
        let same = (0..12).filter(|key| after.table.values.get(key) == table.values.get(key));
        assert!(same.count() >= 11, "at most one key differs");
    }
    assert!(reported > 20, "{reported}");
}

/// After a failed write or sync the next change writes the files whole, and nothing is lost.
#[test]
fn a_failed_write_or_sync_ends_the_journal_only() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new(seed);
        let mut life = Life::begin(&disk).expect("power");
        for round in 0..40 {
            if round == 10 {
                let nth = random.u64(1..7);
                let failed = ErrorKind::Other;
                if random.bool() {
                    disk.fail_write(nth, failed)
                } else {
                    disk.fail_sync(nth, failed)
                }
            }
            let changes = some_changes(&mut random);
            if block_on(life.save(&changes)).expect("power").is_err() {
                // The caller tries again with everything.
                block_on(life.checkpoint(&[], ROOM_BYTES))
                    .expect("power")
                    .expect("one failure only");
            }
        }
        let table = life.table.clone();
        let again = disk.after_crash(seed);
        assert_eq!(Life::begin(&again).expect("power").table, table, "seed {seed}");
    }
}
