//! One life of a store: random work, and what must hold at every step of it.

use super::{
    book::{OffsetName, Placed, QueueName, QueueState, State, What},
    lives::History,
    mutant::MutantDisk,
    rot,
};
use crate::{
    core::Append,
    error::{Refused, StoreError},
    read::{Planned, PullLimits, PullStatus},
    store::{FlushPolicy, Store},
};
use proto::record::RecordFields;
use runtime::sim::{Outcome, Stepper};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    io::ErrorKind,
    net::SocketAddr,
    rc::Rc,
    task::Poll,
};

/// How a life ends.
#[derive(Debug)]
pub(super) enum End {
    /// The power goes; what was not synced may be lost.
    Power,
    /// The process ends; what was written stays as it is.
    Kill,
}

/// A cold read under way and what it must return.
struct Reading {
    outcome: Outcome<Result<Vec<u8>, StoreError>>,
    expected: Vec<u8>,
}

/// A life.
pub(super) struct Life<'h> {
    history: &'h mut History,
    store: Rc<Store<MutantDisk>>,
    stepper: Stepper,
    /// What is readable now or will be once it is committed.
    state: State,
    /// Group offsets committed and not yet in the log.
    dirty: BTreeMap<OffsetName, i64>,
    commit_error: Rc<RefCell<Option<String>>>,
    readings: Vec<Reading>,
    ticking: Option<Outcome<Result<(), StoreError>>>,
    /// Topics deleted in this life.
    removals: Rc<Cell<u32>>,
    reads_fail: bool,
    faults: bool,
}

impl<'h> Life<'h> {
    pub(super) fn new(
        history: &'h mut History,
        store: Rc<Store<MutantDisk>>,
        state: State,
    ) -> Life<'h> {
        Life {
            history,
            store,
            stepper: Stepper::new(),
            state,
            dirty: BTreeMap::new(),
            commit_error: Rc::default(),
            readings: Vec::new(),
            ticking: None,
            removals: Rc::default(),
            reads_fail: false,
            faults: false,
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
        let clock = self.history.disk.sim.clock();
        self.stepper.spawn("commit loop", async move {
            loop {
                store.work().await;
                loop {
                    match store.commit_once(|| clock.now()).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(failed) => {
                            error.replace(Some(failed.to_string()));
                            // A loop that goes on must not do harm.
                            assert!(store.commit_once(|| clock.now()).await.is_err());
                            return;
                        }
                    }
                }
            }
        });
        let store = self.store.clone();
        self.stepper.spawn("work ahead", async move { store.work_ahead().await });
        let store = self.store.clone();
        self.stepper.spawn("index loop", async move { store.index_loop(breathe).await });
    }

    fn plan_faults(&mut self) {
        let rng = &mut self.history.rng;
        let disk = &self.history.disk.sim;
        let kind = ErrorKind::Other;
        match rng.u8(0..16) {
            0 => disk.fail_write(rng.u64(1..40), kind),
            1 => disk.fail_sync(rng.u64(1..30), kind),
            2 => disk.full_after(rng.u64(0..2) * self.history.settings.segment_bytes),
            3 => {
                (1..5).for_each(|_| disk.fail_read(rng.u64(1..20), kind));
                self.reads_fail = true;
            }
            4 => return disk.slow_down(rng.u32(2..20)),
            _ => return,
        }
        self.faults = true;
    }

    fn act(&mut self) -> Result<(), String> {
        match self.history.rng.u8(0..64) {
            0..34 => self.append(),
            34..38 => (0..self.history.rng.u32(2..12)).for_each(|_| self.append()),
            38..44 => self.commit_offset(),
            44..48 => self.append_offsets(),
            48 => self.remove_topic(),
            49 => self.remove_group(),
            50..57 => return self.pull(),
            57..59 => self.read_record(),
            59 => {
                let jump = self.history.rng.i64(-7_200_000..7_200_000);
                self.history.disk.sim.clock().jump(jump);
            }
            _ => self.tick(),
        }
        Ok(())
    }

    fn now(&self) -> i64 {
        self.history.disk.sim.clock().now()
    }

    fn topic(&mut self) -> String {
        format!("topic{}", self.history.rng.u8(0..3))
    }

    fn group(&mut self) -> String {
        format!("group{}", self.history.rng.u8(0..2))
    }

    fn queue(&mut self) -> QueueName {
        (self.topic(), self.history.rng.u32(0..3))
    }

    fn append(&mut self) {
        let queue = self.queue();
        let body = self.body();
        let fields = RecordFields {
            queue_id: queue.1 as i32,
            flag: 0,
            sys_flag: 0,
            born_timestamp: self.now(),
            born_host: SocketAddr::from(([10, 0, 0, 1], 5_000)),
            store_host: SocketAddr::from(([10, 0, 0, 2], 10_911)),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            topic: &queue.0,
            properties: [b"", b"", b""],
        };
        let bytes = fields.encoded_len();
        let now = self.now();
        let mut core = self.store.core_mut();
        if let Err(refused) = core.admit(bytes, bytes) {
            let busy = matches!(refused, Refused::Busy { .. } | Refused::DiskFull { .. });
            assert!(busy || core.log.poisoned().is_some(), "{refused}");
            return;
        }
        let tags_code = bytes as i64;
        let message = Append { topic: &queue.0, queue_id: queue.1, bytes, tags_code, keys: &[] };
        let mut record = Vec::new();
        let placed = core.append(message, now, |placed, out| {
            fields.encode_into(out);
            proto::record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
            record = out.to_vec();
        });
        drop(core);
        self.store.appended();
        let record: Rc<[u8]> = record.into();
        let position = placed.physical.position();
        let offset = placed.queue_offset;
        let what = What::Message { queue: queue.clone(), offset, record: record.clone() };
        self.history.book.add(position, placed.end, what);
        let next = self.state.queues.get(&queue).map_or(0, |queue| queue.next());
        assert_eq!(offset, next, "queue offsets are dense");
        self.state.append(&queue, offset, Some(Placed { position, end: placed.end, record }));
        self.history.summary.messages += 1;
    }

    /// Mostly small; sometimes as large as a record may be; sometimes a whole batch of this very log, which a broker
    /// carries when somebody backs up its files through it.
    fn body(&mut self) -> Vec<u8> {
        let largest = self.history.settings.record_bytes_max - 128;
        if self.history.rng.u8(0..24) == 0 {
            let committed = self.store.core().log.committed();
            let segment = self.store.core().log.segment_of(committed.saturating_sub(1));
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

    fn commit_offset(&mut self) {
        let name = (self.group(), self.topic(), self.history.rng.u32(0..3));
        let offset = self.history.rng.i64(0..1_000);
        self.store.core_mut().offsets.set(&name.0, &name.1, name.2, offset);
        if self.state.offsets.insert(name.clone(), offset) != Some(offset) {
            self.dirty.insert(name, offset);
        }
    }

    fn append_offsets(&mut self) {
        let now = self.now();
        let result = self.store.core_mut().append_group_offsets(now);
        let Ok(Some(end)) = result else { return };
        self.store.appended();
        let changes = std::mem::take(&mut self.dirty).into_iter().collect();
        self.history.book.add(end - 1, end, What::Offsets(changes));
    }

    fn remove_topic(&mut self) {
        self.removals.set(self.removals.get() + 1);
        let topic = self.topic();
        let now = self.now();
        let result = self.store.core_mut().remove_topic(&topic, now);
        let Ok(Some(end)) = result else { return };
        self.store.appended();
        self.state.remove_topic(&topic);
        self.dirty.retain(|name, _| name.1 != topic);
        self.history.book.add(end - 1, end, What::TopicRemoved(topic));
    }

    fn remove_group(&mut self) {
        let group = self.group();
        let now = self.now();
        let result = self.store.core_mut().remove_group(&group, now);
        let Ok(end) = result else { return };
        self.store.appended();
        self.state.remove_group(&group);
        self.dirty.retain(|name, _| name.0 != group);
        self.history.book.add(end - 1, end, What::GroupRemoved(group));
    }

    /// A pull sees exactly what is committed, from memory at once or from the disk later.
    fn pull(&mut self) -> Result<(), String> {
        let name = self.queue();
        let committed = self.store.core().log.committed();
        let queue = self.state.queues.get(&name).cloned().unwrap_or_default();
        let visible =
            |message: &Option<Placed>| message.as_ref().is_none_or(|m| m.end <= committed);
        let count = queue.messages.iter().take_while(|message| visible(message)).count();
        let max = queue.min + count as i64;
        let offset = self.history.rng.i64(queue.min..=max);
        let count_max = self.history.rng.usize(1..40);
        let limits = PullLimits { offset, count_max, bytes_max: 1 << 15, scan_max: 64 };
        let planned = self.store.core().plan_pull(&name.0, name.1, limits, Vec::new(), |_| true);
        let Planned::Now(plan) = planned else {
            self.pull_on_disk(name, limits, &queue);
            return Ok(());
        };
        if plan.max_offset != max && !self.publishing() {
            return Err(format!("{name:?} ends at {}, not at {max}", plan.max_offset));
        }
        if plan.max_offset > max {
            return Err(format!("{name:?} shows what is not committed"));
        }
        if plan.status != PullStatus::Found {
            return Ok(());
        }
        let range = (offset - queue.min) as usize..(plan.next_offset - queue.min) as usize;
        let wanted = queue.messages[range].iter().flatten();
        let expected: Vec<u8> = wanted.flat_map(|message| message.record.iter().copied()).collect();
        if self.store.core().is_cached(&plan) {
            let mut bytes = Vec::new();
            self.store.core().copy_cached(&plan, &mut bytes);
            return if bytes == expected { Ok(()) } else { Err("the tail cache lies".into()) };
        }
        let store = self.store.clone();
        let outcome = self.stepper.spawn("cold read", async move {
            let mut bytes = Vec::new();
            store.read_cold(&plan.pieces, &mut bytes).await.map(|_| bytes)
        });
        self.readings.push(Reading { outcome, expected });
        Ok(())
    }

    /// The same from index files: how far it goes is known when it is done.
    fn pull_on_disk(&mut self, name: QueueName, limits: PullLimits, queue: &QueueState) {
        let (store, removals) = (self.store.clone(), self.removals.clone());
        let before = removals.get();
        let messages = queue.messages[(limits.offset - queue.min) as usize..].to_vec();
        let outcome = self.stepper.spawn("pull on disk", async move {
            let plan = store.plan_pull_on_disk(&name.0, name.1, limits, |_| true).await?;
            if removals.get() != before {
                return Ok(Vec::new());
            }
            let mut bytes = Vec::new();
            store.read_cold(&plan.pieces, &mut bytes).await?;
            let count = (plan.next_offset - limits.offset) as usize;
            let wanted = messages.iter().take(count).flatten();
            let wanted: Vec<u8> =
                wanted.flat_map(|message| message.record.iter().copied()).collect();
            // Messages may have come since.
            let right =
                if count > messages.len() { bytes.starts_with(&wanted) } else { bytes == wanted };
            Ok(if right { Vec::new() } else { b"not what was meant".to_vec() })
        });
        self.readings.push(Reading { outcome, expected: Vec::new() });
    }

    /// Under ASYNC_FLUSH the gate may have been crossed by a commit that still syncs before it publishes.
    fn publishing(&self) -> bool {
        self.store.settings().flush != FlushPolicy::Sync
    }

    /// A message by its position, or nothing where none begins.
    fn read_record(&mut self) {
        let committed = self.store.core().log.committed();
        let messages = self.state.queues.values().flat_map(|queue| queue.messages.iter().flatten());
        let messages: Vec<&Placed> = messages.filter(|message| message.end <= committed).collect();
        let Some(message) = self.history.rng.choice(messages) else { return };
        let wrong = self.history.rng.u8(0..4) == 0;
        let position = message.position + if wrong { self.history.rng.u64(1..60) } else { 0 };
        let expected = if wrong { Vec::new() } else { message.record.to_vec() };
        let store = self.store.clone();
        let outcome = self.stepper.spawn("read record", async move {
            store.read_record(position).await.map(Option::unwrap_or_default)
        });
        self.readings.push(Reading { outcome, expected });
    }

    fn tick(&mut self) {
        if self.ticking.as_ref().is_some_and(|ticking| !ticking.is_ready()) {
            return;
        }
        let (store, now) = (self.store.clone(), self.now());
        let ticking = self.stepper.spawn("tick", async move { store.sync_if_due(now).await });
        self.ticking = Some(ticking);
    }

    /// What holds after every step.
    fn observe(&mut self) -> Result<(), String> {
        let (committed, flushed) = {
            let core = self.store.core();
            core.check();
            (core.log.committed(), core.log.flushed())
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
        let (done, open) = std::mem::take(&mut self.readings)
            .into_iter()
            .partition(|reading: &Reading| reading.outcome.is_ready());
        self.readings = open;
        done.into_iter().try_for_each(|reading: Reading| self.check_reading(&reading))
    }

    fn check_reading(&mut self, reading: &Reading) -> Result<(), String> {
        self.history.summary.cold_reads += 1;
        match reading.outcome.take() {
            Some(Ok(bytes)) if bytes == reading.expected => Ok(()),
            Some(Ok(_)) => Err("a cold read returned other bytes".into()),
            Some(Err(StoreError::Io { .. })) if self.reads_fail => Ok(()),
            Some(Err(error)) => Err(format!("a cold read failed: {error}")),
            None => Err("a cold read was taken twice".into()),
        }
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
            let refused = self.store.core().admit(1, 1);
            let poisoned = matches!(refused, Err(Refused::Poisoned { .. }));
            assert!(poisoned, "a poisoned log refuses");
            return if self.faults { Ok(()) } else { Err(format!("poisoned by nothing: {error}")) };
        }
        if !self.readings.is_empty() {
            return Err("a cold read never returned".into());
        }
        let core = self.store.core();
        if core.log.poisoned().is_some() {
            return if self.faults { Ok(()) } else { Err("poisoned by nothing".into()) };
        }
        if core.log.committed() != core.log.appended() {
            return Err("the commit loop sleeps although there is work".into());
        }
        drop(core);
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
        let core = self.store.core();
        let late = core.log.flushed() != core.log.appended();
        if late && !self.history.disk.sim.crashed() && core.log.poisoned().is_none() {
            return Err("not durable after the interval".into());
        }
        Ok(())
    }
}

/// Lets others run once.
async fn breathe() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
