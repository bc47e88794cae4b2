//! One life of a store: random work, and what must hold at every step of it.

use super::{
    book::{OffsetName, Placed, QueueName, State, What},
    carries::Carries,
    hasty::Haste,
    lives::{Bent, History},
    mutant::{MutantDisk, Mutation},
    pops::Pops,
    reads::Reading,
    resets::Resets,
    rot,
    space::Retirement,
};
use crate::record::record;
use futures_lite::future::yield_now;
use proto::record::RecordFields;
use runtime::sim::{FaultClass, Outcome, Stepper};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io::ErrorKind,
    path::PathBuf,
    rc::Rc,
};
use store::{
    batch::control_entry,
    error::{Refused, StoreError},
    index::key_hash,
    lookup::keys_of,
    settings::FlushPolicy,
    state::{
        ControlEntry, WaitsFor,
        deferred::Due,
        group_offsets::{OffsetChange, OffsetChanges},
    },
    store::Store,
    store_state::Append,
};

/// How a life ends.
#[derive(Debug)]
pub(super) enum End {
    /// The power goes; what was not synced may be lost.
    Power,
    /// The process ends; what was written stays as it is.
    Kill,
}

/// Topics of all lives.
pub(super) const TOPICS: [&str; 3] = ["topic0", "topic1", "topic2"];
/// The offset that is committed in groups: of nothing that the other operations know.
const GROUPED: (&str, &str, u32) = ("grouped", "elsewhere", 0);
/// Messages wait until a time below this.
pub(super) const DUE_MAX: i64 = 20;
/// Keys of all messages.
pub(super) const KEYS: u8 = 5;

/// A key by its number.
pub(super) fn key_name(key: u8) -> String {
    format!("key{key}")
}

/// A life.
pub(super) struct Life<'h> {
    pub(super) history: &'h mut History,
    pub(super) store: Rc<Store<MutantDisk>>,
    pub(super) stepper: Stepper,
    /// What is readable now or will be once it is committed.
    pub(super) state: State,
    /// Group offsets committed and not yet in the log.
    dirty: BTreeMap<OffsetName, i64>,
    pub(super) resets: Resets,
    pub(super) pops: Pops,
    pub(super) carries: Carries,
    commit_error: Rc<RefCell<Option<String>>>,
    /// Records that are due and were not delivered yet.
    pub(super) handed_out: Vec<Due>,
    pub(super) readings: Vec<Reading>,
    ticking: Option<Outcome<Result<(), StoreError>>>,
    /// Topics deleted in this life.
    pub(super) removals: Rc<Cell<u32>>,
    /// The log begins here.
    pub(super) begin: u64,
    /// It begins here at most.
    pub(super) retiring: Rc<Cell<u64>>,
    pub(super) retirement: Option<Retirement>,
    /// Changes of group offsets and topics, counted.
    pub(super) changes: u64,
    pub(super) reads_fail: bool,
    /// An index file rotted, in this life or before.
    pub(super) index_rotten: bool,
    /// An index file rotted that alone knew what had rotted in the log: what can be read is open.
    pub(super) blind: bool,
    /// There may be no room, by the disk or by the policy.
    pub(super) scarce: bool,
    pub(super) faults: bool,
    /// The power goes at a moment that few calls make up, if this life comes to one.
    moment: bool,
    /// It came to one.
    seized: bool,
}

impl<'h> Life<'h> {
    pub(super) fn new(
        history: &'h mut History,
        store: Rc<Store<MutantDisk>>,
        state: State,
    ) -> Life<'h> {
        let retiring = Rc::new(Cell::new(history.retiring));
        let resets = Resets::found(&store.state().derived.offset_resets);
        let pops = Pops::found(&store.state());
        // A disturbed start may not have found room for the next segment.
        let scarce = store.state().log.is_starved();
        let index_rotten = history.summary.rotten_indexes > 0;
        let moment = history.rng.u8(0..5) < 2 || history.bent == Bent::Rot;
        // One that rotted before this life may still be made again in it, without what had rotted in the log.
        let rotten = |(_, whole): &(PathBuf, bool)| !whole;
        let blind = history.book.is_unsettled()
            && rot::wholeness(&history.disk, &history.settings).iter().any(rotten);
        let begin = Self::first_segment(&store);
        Life {
            history,
            store,
            stepper: Stepper::new(),
            state,
            dirty: BTreeMap::new(),
            resets,
            pops,
            carries: Carries::default(),
            commit_error: Rc::default(),
            handed_out: Vec::new(),
            readings: Vec::new(),
            ticking: None,
            removals: Rc::default(),
            begin,
            retiring,
            retirement: None,
            changes: 0,
            reads_fail: false,
            index_rotten,
            blind,
            scarce,
            faults: false,
            moment,
            seized: false,
        }
    }

    /// Works until the life ends.
    pub(super) fn play(mut self) -> Result<End, String> {
        self.spawn_loops();
        let power = self.history.rng.u8(0..4) > 0;
        if power {
            self.history.disk.sim.crash_after(self.history.rng.u64(0..250));
        }
        self.plan_faults();
        let busy = self.history.rng.usize(1..16);
        for _ in 0..self.history.rng.usize(10..160) {
            self.act()?;
            for _ in 0..self.history.rng.usize(0..busy) {
                self.stepper.step(&mut self.history.rng);
                self.observe()?;
            }
            if self.history.disk.sim.crashed() {
                break;
            }
        }
        if self.history.disk.sim.crashed() {
            return Ok(End::Power);
        }
        if power && self.history.rng.bool() {
            self.history.disk.sim.crash();
            return Ok(End::Power);
        }
        self.come_to_rest()?;
        let crashed = self.history.disk.sim.crashed();
        Ok(if crashed || self.history.rng.bool() { End::Power } else { End::Kill })
    }

    fn spawn_loops(&mut self) {
        let (store, error) = (self.store.clone(), self.commit_error.clone());
        self.stepper.spawn("commit loop", async move {
            loop {
                store.work().await;
                loop {
                    match store.commit_once().await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(failed) => {
                            error.replace(Some(failed.to_string()));
                            // A loop that goes on must not do harm.
                            assert!(store.commit_once().await.is_err());
                            return;
                        }
                    }
                }
            }
        });
        let store = self.store.clone();
        self.stepper.spawn("work ahead", async move { store.work_ahead().await });
        let store = self.store.clone();
        match self.history.disk.mutation.and_then(Haste::of) {
            None => {
                self.stepper.spawn("index loop", async move { store.index_loop(yield_now).await })
            }
            Some(haste) => self.stepper.spawn("index loop", async move { haste.run(&store).await }),
        };
    }

    fn plan_faults(&mut self) {
        let rng = &mut self.history.rng;
        let disk = &self.history.disk.sim;
        let kind = ErrorKind::Other;
        match rng.u8(0..18) {
            0 => disk.fail_write(rng.u64(1..40), kind),
            1 => disk.fail_sync(rng.u64(1..30), kind),
            2 => disk.fail(FaultClass::Name, rng.u64(1..12), kind),
            3 => {
                (1..5).for_each(|_| disk.fail_read(rng.u64(1..20), kind));
                self.reads_fail = true;
            }
            4 => return disk.slow_down(rng.u32(2..20)),
            _ => return,
        }
        self.faults = true;
    }

    /// Lets the power go soon when an index file is being written, behind something that influences the file and is not
    /// durable, when files are merged, or when a segment is retired.
    fn seize_moment(&mut self) {
        let merging = |(path, _): &(PathBuf, u64)| path.to_string_lossy().ends_with("index.tmp");
        let is_now = match self.history.bent {
            Bent::Rot => self.history.disk.sim.files().iter().any(merging),
            Bent::Retirement => self.retirement.is_some() && self.store.extent().index_files > 1,
            Bent::Nothing => self.store.wanted_index().is_some(),
        };
        if !self.moment || !is_now || self.history.rng.bool() {
            return;
        }
        if self.history.bent == Bent::Nothing {
            self.remove_topic();
            self.commit_offset();
            self.append_offsets();
        }
        if !std::mem::replace(&mut self.seized, true) {
            self.history.disk.sim.crash_after(self.history.rng.u64(0..24));
        }
    }

    fn act(&mut self) -> Result<(), String> {
        self.seize_moment();
        if self.history.halves && self.history.rng.u8(0..4) == 0 {
            self.work_on_halves();
            return Ok(());
        }
        if self.history.timers && self.history.rng.u8(0..4) == 0 {
            self.work_on_timers();
            return Ok(());
        }
        if self.history.resets && self.history.rng.u8(0..4) == 0 {
            self.work_on_resets();
            return Ok(());
        }
        if self.history.pops && self.history.rng.u8(0..4) == 0 {
            self.work_on_pops();
            return Ok(());
        }
        match (self.history.bent, self.history.rng.u8(0..24)) {
            (Bent::Retirement, 0..4) => self.retire(),
            (Bent::Retirement, 4) => {
                self.rot_index();
                self.retire();
            }
            (Bent::Retirement | Bent::Rot, 5..12) => self.append_some(),
            _ => {}
        }
        match self.history.rng.u8(0..79) {
            0..34 => self.append(),
            34..38 => self.append_some(),
            38..44 => self.commit_offset(),
            44..48 => self.append_offsets(),
            48 => self.remove_topic(),
            49 => self.remove_group(),
            50..57 => return self.pull(),
            57 => self.read_record(),
            58 => self.look_up_entry(),
            60..62 => self.find_key(),
            62 if self.history.bent != Bent::Retirement => self.change_room(),
            63..66 => self.retire(),
            67..71 => self.append_group(),
            66 => self.rot_index(),
            59 => self.set_clock(),
            71..75 => self.append_waiting(),
            75..78 => self.deliver(),
            _ => self.tick(),
        }
        Ok(())
    }

    pub(super) fn now(&self) -> i64 {
        self.history.disk.sim.clock().now()
    }

    pub(super) fn topic(&mut self) -> String {
        TOPICS[self.history.rng.usize(0..TOPICS.len())].into()
    }

    fn group(&mut self) -> String {
        format!("group{}", self.history.rng.u8(0..2))
    }

    pub(super) fn queue(&mut self) -> QueueName {
        (self.topic(), self.history.rng.u32(0..3))
    }

    fn append_some(&mut self) {
        (0..self.history.rng.u32(2..12)).for_each(|_| self.append());
    }

    fn append(&mut self) {
        let queue = self.queue();
        self.append_behind(&queue, None);
    }

    /// A message together with an offset of a group, which nobody else commits.
    fn append_group(&mut self) {
        self.changes += 1;
        let (group, topic, queue_id) = (GROUPED.0, GROUPED.1, GROUPED.2);
        let offset = self.changes as i64;
        let content = OffsetChanges::encode(&[OffsetChange { group, topic, queue_id, offset }]);
        let entry = ControlEntry::GroupOffsets(OffsetChanges::decode(&content).expect("our own"));
        let name = (group.to_owned(), topic.to_owned(), queue_id);
        let queue = self.queue();
        self.append_behind(&queue, Some((entry, What::Offsets(vec![(name, offset)]))));
    }

    /// Appends a message, alone or in a group with a control entry. Whether the log took it.
    pub(super) fn append_behind(
        &mut self,
        queue: &QueueName,
        control: Option<(ControlEntry<'_>, What)>,
    ) -> bool {
        let key = self.history.rng.u8(0..KEYS);
        let properties =
            format!("KEYS\u{1}{} spice\u{2}UNIQ_KEY\u{1}{}\u{2}", key_name(key), self.changes);
        let body = self.body();
        let fields = RecordFields {
            properties: [properties.as_bytes(), b"", b""],
            ..record((&queue.0, queue.1), self.now(), &body)
        };
        let bytes = fields.encoded_len();
        let now = self.now();
        let (entry, what) = control.unzip();
        let waits_for = WaitsFor::of(&queue.0);
        let admitted = match (&entry, waits_for) {
            (None, Some(waits_for)) => self.store.state().admit_waiting(waits_for, bytes),
            (None, None) => self.store.state().admit(bytes, bytes),
            (Some(entry), _) => self.store.state().admit_group(entry, bytes),
        };
        if let Err(refused) = admitted {
            self.check_refused(&refused);
            return false;
        }
        let hashes: Vec<u32> = if self.store.settings().index_keys {
            keys_of(&properties).map(|key| key_hash(&queue.0, key)).collect()
        } else {
            Vec::new()
        };
        let waits = waits_for.is_some();
        let tags_code = if waits { self.history.rng.i64(0..DUE_MAX) } else { bytes as i64 };
        let slot = self.store.state_mut().queue_slot(&queue.0, queue.1);
        let message = Append { slot, bytes, tags_code, keys: &hashes };
        let mut record = Vec::new();
        let encode = |placed: &store::Placed, out: &mut [u8]| {
            fields.encode_into(out);
            proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
            if waits {
                proto::record::patch_prepared_transaction_offset(out, tags_code);
            }
            record = out.to_vec();
        };
        let split = self.history.disk.mutation == Some(Mutation::SplitGroups);
        let mut state = self.store.state_mut();
        let (control_at, placed) = match &entry {
            None => (None, state.append(message, now, encode)),
            Some(entry) if split => {
                let Ok(at) = state.append_control(entry, now) else { return false };
                (Some(at), state.append(message, now, encode))
            }
            Some(entry) => {
                let (at, placed) = state.append_group(entry, message, now, encode);
                (Some(at), placed)
            }
        };
        drop(state);
        self.store.appended();
        if let (Some(at), Some(what), Some(entry)) = (control_at, what, &entry) {
            self.history.book.add(at, at + entry.bytes() as u64, what);
            self.history.book.add_group(at, placed.end);
            self.history.summary.groups += 1;
        }
        let record: Rc<[u8]> = record.into();
        let position = placed.physical.position();
        let offset = placed.queue_offset;
        let what = What::Message { queue: queue.clone(), offset, record: record.clone(), key };
        self.history.book.add(position, placed.end, what);
        let next = self.state.queues.get(queue).map_or(0, |queue| queue.next());
        assert_eq!(offset, next, "queue offsets are dense");
        let message = Placed { position, end: placed.end, record: Some(record), key };
        self.state.append(queue, offset, message);
        self.history.summary.messages += 1;
        true
    }

    /// Mostly small; sometimes as large as a record may be; sometimes a whole batch of this very log, which a broker
    /// carries when somebody backs up its files through it.
    fn body(&mut self) -> Vec<u8> {
        let largest = self.history.settings.record_bytes_max - 256;
        if self.history.rng.u8(0..24) == 0 {
            let committed = self.store.state().log.committed();
            let segment = self.store.state().log.segment_of(committed.saturating_sub(1));
            let batches = rot::batches(&self.history.disk, &self.history.settings, segment);
            if let Some(last) = batches.last().filter(|batch| batch.bytes.len() <= largest) {
                return last.bytes.clone();
            }
        }
        let rng = &mut self.history.rng;
        let bytes = match rng.u8(0..12) {
            0 => rng.usize(0..=largest),
            1..4 => rng.usize(0..=largest.min(4_096)),
            _ => rng.usize(0..200),
        };
        let mut body = vec![0; bytes];
        rng.fill(&mut body);
        body
    }

    pub(super) fn offset_name(&mut self) -> OffsetName {
        (self.group(), self.topic(), self.history.rng.u32(0..3))
    }

    fn commit_offset(&mut self) {
        let name = self.offset_name();
        let offset = self.history.rng.i64(0..1_000) >> self.history.rng.u32(0..6);
        self.commit(name, offset);
    }

    /// An offset of a group is another one now.
    pub(super) fn note_offset(&mut self, name: OffsetName, offset: i64) {
        if self.state.offsets.insert(name.clone(), offset) != Some(offset) {
            self.dirty.insert(name, offset);
        }
    }

    pub(super) fn append_offsets(&mut self) {
        let now = self.now();
        let result = self.store.state_mut().append_group_offsets(now);
        let Ok(Some(end)) = result else { return };
        self.store.appended();
        let closed = matches!(self.store.state().admit(1, 1), Err(Refused::DiskFull { .. }));
        self.history.summary.offsets_while_full += u64::from(closed);
        let entry = self.store.state().last_control().map(|(_, bytes)| bytes.to_vec());
        let entry = entry.expect("it was appended");
        let (kind, content) = control_entry(&entry).expect("our own");
        let what = match ControlEntry::decode(kind, content).expect("our own") {
            ControlEntry::PopProgress(progress) => self.note_progress(progress),
            ControlEntry::OffsetsReset(_) => {
                let what = self.resets.take().expect("somebody was told");
                self.pops.reset(&what);
                what
            }
            _ => What::Offsets(std::mem::take(&mut self.dirty).into_iter().collect()),
        };
        self.history.book.add(end - 1, end, what);
    }

    fn remove_topic(&mut self) {
        self.removals.set(self.removals.get() + 1);
        self.changes += 1;
        let topic = self.topic();
        let now = self.now();
        let result = self.store.state_mut().remove_topic(&topic, now);
        let Ok(Some(end)) = result else { return };
        self.store.appended();
        self.state.remove_topic(&topic);
        self.dirty.retain(|name, _| name.1 != topic);
        self.resets.forget(|name| name.1 == topic);
        self.pops.forget(|name| name.1 == topic);
        self.history.book.add(end - 1, end, What::TopicRemoved(topic));
    }

    fn remove_group(&mut self) {
        let group = self.group();
        self.remove_group_of(&group);
    }

    pub(super) fn remove_group_of(&mut self, group: &str) {
        self.changes += 1;
        let now = self.now();
        let result = self.store.state_mut().remove_group(group, now);
        let Ok(Some(end)) = result else { return };
        self.store.appended();
        self.state.remove_group(group);
        self.dirty.retain(|name, _| name.0 != group);
        self.resets.forget(|name| name.0 == group);
        self.pops.forget(|name| name.0 == group);
        self.history.book.add(end - 1, end, What::GroupRemoved(group.to_owned()));
    }

    /// Somebody sets the wall clock, by minutes or by years.
    fn set_clock(&mut self) {
        const HOUR_MS: i64 = 3_600_000;
        let rng = &mut self.history.rng;
        let jump = match rng.u8(0..4) {
            0 => rng.i64(0..100) * HOUR_MS,
            1 => rng.i64(-2..3) * 365 * 24 * HOUR_MS,
            _ => rng.i64(-2 * HOUR_MS..2 * HOUR_MS),
        };
        self.history.clock_set_back |= jump < 0;
        self.history.clock_set = true;
        self.history.disk.sim.clock().jump(jump);
    }

    fn tick(&mut self) {
        if self.ticking.as_ref().is_some_and(|ticking| !ticking.is_ready()) {
            return;
        }
        self.store.each_second();
        let store = self.store.clone();
        let ticking =
            self.stepper.spawn("tick", async move { store.sync_if_due().await.map(drop) });
        self.ticking = Some(ticking);
    }

    /// What holds after every step.
    pub(super) fn observe(&mut self) -> Result<(), String> {
        self.note_carried()?;
        let (committed, flushed) = {
            let state = self.store.state();
            state.check();
            (state.log.committed(), state.log.flushed())
        };
        let sync = self.store.settings().flush == FlushPolicy::Sync;
        let durable = if sync { committed } else { flushed };
        if committed < self.history.committed || durable < self.history.durable {
            return Err("a position moved back".into());
        }
        if !self.history.disk.sim.crashed() {
            self.history.committed = committed;
            self.history.durable = durable;
        }
        self.check_retirement()?;
        self.check_readings()
    }

    /// Lets everything that is under way come to its end: nothing may be stuck.
    fn come_to_rest(&mut self) -> Result<(), String> {
        self.stepper.run_until_idle(&mut self.history.rng);
        self.observe()?;
        if self.history.disk.sim.crashed() {
            return Ok(());
        }
        let error = self.commit_error.borrow().clone();
        if let Some(error) = error {
            self.history.summary.poisoned += 1;
            let refused = self.store.state().admit(1, 1);
            let poisoned = matches!(refused, Err(Refused::Poisoned { .. }));
            assert!(poisoned, "a poisoned log refuses");
            return if self.faults { Ok(()) } else { Err(format!("poisoned by nothing: {error}")) };
        }
        if !self.readings.is_empty() || self.retirement.is_some() || self.carries.is_under_way() {
            return Err("a read, a retirement or a carry never returned".into());
        }
        let state = self.store.state();
        if state.log.poisoned().is_some() {
            return if self.faults { Ok(()) } else { Err("poisoned by nothing".into()) };
        }
        if state.log.committed() != state.log.appended() {
            return Err("the commit loop sleeps although there is work".into());
        }
        let behind = matches!(state.admit(1, 1), Err(Refused::IndexBehind { .. }));
        if behind && !self.faults && !self.scarce && !self.index_rotten {
            return Err("the index loop sleeps although messages are refused".into());
        }
        drop(state);
        self.recover_room()?;
        self.sync_by_time()
    }

    /// ASYNC_FLUSH: everything is durable an interval later, whatever the wall clock did.
    fn sync_by_time(&mut self) -> Result<(), String> {
        let FlushPolicy::Async { interval_ms } = self.store.settings().flush else { return Ok(()) };
        if self.history.rng.bool() {
            return Ok(());
        }
        self.history.disk.sim.clock().advance_micros(interval_ms as u64 * 1_000);
        self.tick();
        self.stepper.run_until_idle(&mut self.history.rng);
        self.observe()?;
        let state = self.store.state();
        let late = state.log.flushed() != state.log.appended();
        if late && !self.history.disk.sim.crashed() && state.log.poisoned().is_none() {
            return Err("not durable after the interval".into());
        }
        Ok(())
    }
}
