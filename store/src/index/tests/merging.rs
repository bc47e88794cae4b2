//! Runs of a segment become its sealed index, with queues born and gone in between.

use super::*;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::ready,
};

/// A shard that fills a segment, and what an index of each part of it should say.
pub(super) struct Shard {
    rng: Rng,
    position: u64,
    next_number: u32,
    /// Next queue offset by number.
    queues: BTreeMap<u32, i64>,
}

impl Shard {
    pub(super) fn new(seed: u64) -> Shard {
        let rng = Rng::with_seed(seed);
        Shard { rng, position: SEGMENT, next_number: 0, queues: BTreeMap::new() }
    }

    pub(super) fn add_queues(&mut self, count: u32) {
        for _ in 0..count {
            self.queues.insert(self.next_number, self.rng.i64(0..1_000));
            self.next_number += 1;
        }
    }

    fn drop_queues(&mut self, one_in: u32) {
        let rng = &mut self.rng;
        self.queues.retain(|_, _| rng.u32(0..one_in) > 0);
    }

    /// Takes messages for half of the queues. Those that are deleted before the run ends are not in it.
    pub(super) fn run(&mut self, messages: u32) -> Model {
        let from = self.position;
        let mut entries: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
        let mut keys = Vec::new();
        let numbers = self.queues.keys().copied().collect::<Vec<_>>();
        for _ in 0..messages {
            let number = numbers[self.rng.usize(0..numbers.len().div_ceil(2))];
            *self.queues.get_mut(&number).expect("alive") += 1;
            let entry = Entry::new(self.position, 100, i64::from(number));
            entries.entry(number).or_default().push(entry);
            let at = (self.position - SEGMENT) as u32;
            keys.push(Key { hash: self.rng.u32(..), at });
            self.position += 100;
        }
        keys.sort();
        self.drop_queues(10);
        let row = |(number, next): (&u32, &i64)| Row {
            number: *number,
            topic: 0,
            queue_id: *number,
            count: entries.get(number).map_or(0, Vec::len) as u32,
            first: 0,
            next: *next,
            last_store_ms: 5,
        };
        let rows = self.queues.iter().map(row).collect::<Vec<_>>();
        let of_row = |row: &Row| entries.get(&row.number).cloned().unwrap_or_default();
        let entries = rows.iter().map(of_row).collect();
        let head = Head {
            shard: SHARD,
            log_id: LOG_ID,
            segment: SEGMENT,
            from,
            to: self.position,
            epoch: 1,
            first_store_ms: if messages > 0 { from as i64 } else { 0 },
            last_store_ms: if messages > 0 { self.position as i64 } else { 0 },
            clock_ms: self.position as i64,
            messages: u64::from(messages),
            next_number: self.next_number,
            influenced_by: self.position + 1_000,
        };
        let states = states(vec![self.position.to_be_bytes().to_vec()]);
        Model { outline: Outline { head, topics: vec!["t".into()], rows, states }, entries, keys }
    }
}

/// What the merge of these should be.
fn expected(runs: &[Model]) -> Model {
    let last = runs.last().expect("a run");
    let mut model = last.clone();
    let mut with_messages = runs.iter().filter(|run| !run.keys.is_empty());
    if let Some(first) = with_messages.next() {
        let last = with_messages.next_back().unwrap_or(first);
        model.outline.head.first_store_ms = first.outline.head.first_store_ms;
        model.outline.head.last_store_ms = last.outline.head.last_store_ms;
    }
    model.outline.head.from = runs[0].outline.head.from;
    model.outline.head.messages = runs.iter().map(|run| run.outline.head.messages).sum();
    for (row, entries) in model.outline.rows.iter_mut().zip(&mut model.entries) {
        entries.clear();
        for run in runs {
            let at = run.outline.rows.binary_search_by_key(&row.number, |row| row.number);
            entries.extend(at.map_or(&[][..], |at| &run.entries[at]));
        }
        row.count = entries.len() as u32;
    }
    model.keys = runs.iter().flat_map(|run| run.keys.iter().copied()).collect();
    model.keys.sort();
    model
}

fn write_all(disk: &SimDisk, runs: &[Model]) -> Vec<Index<SimDisk>> {
    let path = |run: &Model| run_path(DIR.as_ref(), SEGMENT, run.outline.head.from);
    let write = |run: &Model| now(run.write(disk, &path(run))).expect("a healthy disk");
    runs.iter().map(write).collect()
}

#[test]
fn runs_become_the_index_of_the_segment() {
    for (seed, count, queues, messages) in [
        (1, 1, 10, 1_000),
        (2, 5, 10, 3_000),
        (3, 5, 2_000, 5_000),
        (4, 5, 300, 0),
        (5, 30, 200, 900),
    ] {
        let mut shard = Shard::new(seed);
        let mut runs = Vec::new();
        for at in 0..count {
            shard.add_queues(queues);
            // Every third run has queues only.
            runs.push(shard.run(if at % 3 == 2 { 0 } else { messages }));
        }
        let disk = disk(seed);
        let indexes = write_all(&disk, &runs);
        let pauses = Cell::new(0);
        let pause = || {
            pauses.set(pauses.get() + 1);
            ready(())
        };
        let merged = now(merge(&disk, &sealed(), &indexes.iter().collect::<Vec<_>>(), pause))
            .expect("a healthy disk");
        let expected = expected(&runs);
        now(expected.compare(&merged, &mut Rng::with_seed(seed)));
        assert_eq!(now(all(merged.all_entries())), expected.entries.concat());
        assert_eq!(now(all(merged.all_keys())), expected.keys);
        assert!(pauses.get() > expected.keys.len() / 4_096);
        assert_eq!(disk.dropped_calls(), 0);
        // And the merged file is a run like any other.
        let again = now(merge(&disk, &sealed(), &[&merged], || ready(()))).expect("a healthy disk");
        now(expected.compare(&again, &mut Rng::with_seed(seed)));
    }
}

#[test]
fn runs_that_contradict_each_other_are_not_merged() {
    let mut shard = Shard::new(1);
    shard.add_queues(20);
    let mut runs = vec![shard.run(2_000), shard.run(2_000)];
    let shared = runs[1].outline.rows.iter_mut().find(|row| row.count > 0).expect("written");
    shared.next -= 1;
    let disk = disk(1);
    let indexes = write_all(&disk, &runs);
    let error = now(merge(&disk, &sealed(), &indexes.iter().collect::<Vec<_>>(), || ready(())))
        .err()
        .expect("an overlap");
    assert!(error.is_damage() && error.to_string().contains("does not go on"), "{error}");
    assert!(disk.files().iter().all(|(path, _)| *path != sealed()));
}

#[test]
fn a_queue_that_had_no_entries_yet_may_begin_anywhere() {
    let mut shard = Shard::new(1);
    shard.add_queues(2);
    let mut runs = vec![shard.run(0)];
    shard.queues.values_mut().for_each(|next| *next += 70);
    runs.push(shard.run(50));
    let disk = disk(1);
    let merged =
        now(merge(&disk, &sealed(), &write_all(&disk, &runs).iter().collect::<Vec<_>>(), || {
            ready(())
        }));
    now(expected(&runs).compare(&merged.expect("no contradiction"), &mut Rng::with_seed(1)));
}

#[test]
fn messages_lost_between_runs_keep_their_queue_offsets() {
    let mut shard = Shard::new(1);
    shard.add_queues(60);
    let mut runs = vec![shard.run(300)];
    shard.queues.values_mut().for_each(|next| *next += 3);
    runs.push(shard.run(50));
    let mut model = expected(&runs);
    let lost = [Entry::lost(runs[1].outline.head.from); 3];
    let mut begun = 0;
    for (row, entries) in model.outline.rows.iter_mut().zip(&mut model.entries) {
        let of_first = &runs[0].outline.rows;
        let before = of_first.iter().find(|first| first.number == row.number && first.count > 0);
        if let Some(before) = before {
            let at = before.count as usize;
            entries.splice(at..at, lost);
            row.count += 3;
            begun += 1;
        }
    }
    assert!((1..60).contains(&begun), "queues with and without entries: {begun}");
    let disk = disk(1);
    let indexes = write_all(&disk, &runs);
    let merged = now(merge(&disk, &sealed(), &indexes.iter().collect::<Vec<_>>(), || ready(())));
    let merged = merged.expect("lost messages are no contradiction");
    assert_eq!(now(all(merged.all_entries())), model.entries.concat());
    now(model.compare(&merged, &mut Rng::with_seed(1)));
}

#[test]
fn a_power_cut_while_merging_leaves_the_runs_or_the_whole_index() {
    let mut shard = Shard::new(1);
    shard.add_queues(30);
    let runs = [shard.run(500), shard.run(500), shard.run(500)];
    let mut ends = BTreeSet::new();
    for seed in 0..120 {
        let disk = disk(seed);
        let indexes = write_all(&disk, &runs);
        disk.crash_after(seed % 60);
        let _ =
            block_on(merge(&disk, &sealed(), &indexes.iter().collect::<Vec<_>>(), || ready(())));
        let disk = disk.after_crash(seed);
        for run in &runs {
            let path = run_path(DIR.as_ref(), SEGMENT, run.outline.head.from);
            let index = now(Index::open(&disk, &path, SHARD, LOG_ID)).expect("written before");
            now(run.compare(&index, &mut Rng::with_seed(seed)));
        }
        let merged = now(Index::open(&disk, &sealed(), SHARD, LOG_ID));
        ends.insert(merged.is_ok());
        match merged {
            Ok(index) => now(expected(&runs).compare(&index, &mut Rng::with_seed(seed))),
            Err(error) => assert!(!error.is_damage(), "seed {seed}: {error}"),
        }
    }
    assert_eq!(ends.len(), 2, "the cuts were all before, or all behind the end");
}

#[test]
fn memory_of_a_merge_does_not_grow_with_its_entries() {
    // Reads are the measure: none is larger than 256 KiB, so that no cursor can hold more.
    let mut shard = Shard::new(1);
    shard.add_queues(5);
    let runs = [shard.run(100_000), shard.run(100_000)];
    let disk = disk(1);
    let indexes = write_all(&disk, &runs);
    disk.keep_log();
    let largest = RefCell::new(0);
    now(merge(&disk, &sealed(), &indexes.iter().collect::<Vec<_>>(), || ready(())))
        .expect("a healthy disk");
    for call in disk.log() {
        let mut largest = largest.borrow_mut();
        if call.kind == runtime::sim::CallKind::Read {
            *largest = call.bytes.max(*largest);
        }
    }
    assert_eq!(*largest.borrow(), 256 << 10);
}
