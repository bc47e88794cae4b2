//! Reads in the middle of a life: they see exactly what is committed, whatever happens beside them.
//!
//! What a read must return is known when it begins. While it waits, its topic may be deleted or its segment retired:
//! then it may find less, but never something else.

use super::{
    book::{Placed, QueueName, QueueState},
    compare::{query, with_key},
    work::{KEYS, Life},
};
use futures_lite::future::yield_now;
use runtime::sim::Outcome;
use store::{
    error::StoreError,
    read::{Planned, PullLimits, PullPlan, PullStatus},
    settings::FlushPolicy,
};

/// What was found, as far as it is to be compared.
type Found = Result<Vec<u8>, StoreError>;

/// A read under way and what it must return.
pub(super) struct Reading {
    what: &'static str,
    outcome: Outcome<Found>,
    expected: Vec<u8>,
    /// Nothing that it needs lies before.
    first: u64,
    /// Removals of topics when it began.
    removals: u32,
}

impl Life<'_> {
    fn reading(
        &mut self,
        what: &'static str,
        expected: Vec<u8>,
        first: u64,
        read: impl Future<Output = Found> + 'static,
    ) {
        let outcome = self.stepper.spawn(what, read);
        let removals = self.removals.get();
        self.readings.push(Reading { what, outcome, expected, first, removals });
    }

    /// The committed part of a queue.
    fn committed(&self, name: &QueueName) -> QueueState {
        let committed = self.store.state().log.committed();
        let mut queue = self.state.queues.get(name).cloned().unwrap_or_default();
        let visible = |m: &Option<Placed>| m.as_ref().is_none_or(|m| m.end <= committed);
        let count = queue.messages.iter().take_while(|message| visible(message)).count();
        queue.messages.truncate(count);
        queue
    }

    /// From memory at once, or from the disk later.
    pub(super) fn pull(&mut self) -> Result<(), String> {
        let name = self.queue();
        let queue = self.committed(&name);
        let max = queue.next();
        let offset = self.history.rng.i64(queue.floor..=max.max(queue.floor));
        let count_max = self.history.rng.usize(1..40);
        let limits = PullLimits { offset, count_max, bytes_max: 1 << 15, scan_max: 64 };
        let planned = self.store.state().plan_pull(&name.0, name.1, limits, Vec::new(), |_| true);
        let Planned::Now(plan) = planned else {
            self.pull_on_disk(name, limits, queue);
            return Ok(());
        };
        self.check_plan(&name, &queue, &plan)?;
        if plan.status != PullStatus::Found {
            return Ok(());
        }
        let expected = queue.bytes(offset, plan.next_offset);
        if self.store.state().is_cached(&plan) {
            let mut bytes = Vec::new();
            self.store.state().copy_cached(&plan, &mut bytes);
            let right = bytes == expected;
            return if right { Ok(()) } else { Err("the tail cache lies".into()) };
        }
        let first = plan.pieces.iter().map(|entry| entry.position()).min().unwrap_or(0);
        let store = self.store.clone();
        self.reading("cold read", expected, first, async move {
            let mut bytes = Vec::new();
            store.read_cold(&plan.pieces, &mut bytes).await.map(|_| bytes)
        });
        Ok(())
    }

    fn check_plan(
        &self,
        name: &QueueName,
        queue: &QueueState,
        plan: &PullPlan,
    ) -> Result<(), String> {
        let max = queue.next();
        // Under ASYNC_FLUSH the gate may have been crossed by a commit that still syncs before it publishes.
        let publishing = self.store.settings().flush != FlushPolicy::Sync;
        if plan.max_offset > max || (plan.max_offset < max && !publishing) {
            return Err(format!("{name:?} ends at {}, not at {max}", plan.max_offset));
        }
        let (least, most) = (queue.min(self.history.retired).0, queue.min(self.retiring.get()).1);
        let min = plan.min_offset;
        if plan.max_offset > 0 && (min < least || min > most.max(least)) && !self.blind {
            return Err(format!("{name:?} begins at {min}, not at {least} to {most}"));
        }
        Ok(())
    }

    /// How far it goes is known when it is done.
    fn pull_on_disk(&mut self, name: QueueName, limits: PullLimits, queue: QueueState) {
        let store = self.store.clone();
        let messages = queue.messages.get(limits.offset as usize..).unwrap_or_default();
        let first = messages.iter().flatten().map(|m| m.position).next().unwrap_or(0);
        self.reading("pull on disk", Vec::new(), first, async move {
            let plan = store.plan_pull_on_disk(&name.0, name.1, limits, |_| true).await?;
            let mut bytes = Vec::new();
            store.read_cold(&plan.pieces, &mut bytes).await?;
            if plan.next_offset <= limits.offset {
                return Ok(b"it got nowhere".to_vec());
            }
            let wanted = queue.bytes(limits.offset, plan.next_offset);
            // Messages may have come since.
            let more = plan.next_offset > queue.next();
            let right = if more { bytes.starts_with(&wanted) } else { bytes == wanted };
            Ok(if right { Vec::new() } else { b"not what was meant".to_vec() })
        });
    }

    /// Any readable message that is committed.
    fn any_message(&mut self) -> Option<(QueueName, i64, Placed)> {
        let committed = self.store.state().log.committed();
        let all = self.state.queues.iter().flat_map(|(name, queue)| {
            let placed = queue.messages.iter().enumerate();
            placed.filter_map(move |(at, m)| Some((name, at as i64, m.as_ref()?)))
        });
        let there: Vec<_> = all.filter(|(_, _, m)| m.end <= committed).collect();
        let (name, at, message) = self.history.rng.choice(there)?;
        Some((name.clone(), at, message.clone()))
    }

    /// A message by its position, or nothing where none begins.
    pub(super) fn read_record(&mut self) {
        let Some((_, _, message)) = self.any_message() else { return };
        let wrong = self.history.rng.u8(0..4) == 0 || message.record.is_none();
        let position = message.position + if wrong { self.history.rng.u64(1..60) } else { 0 };
        let expected =
            message.record.filter(|_| !wrong).map_or(Vec::new(), |record| record.to_vec());
        let store = self.store.clone();
        self.reading("read record", expected, message.position, async move {
            store.read_record(position).await.map(Option::unwrap_or_default)
        });
    }

    /// The entry of a message, from memory or from an index file.
    pub(super) fn look_up_entry(&mut self) {
        let Some((name, offset, message)) = self.any_message() else { return };
        if self.publishing(&name) {
            return;
        }
        let expected = message.position.to_be_bytes().to_vec();
        let store = self.store.clone();
        self.reading("look up entry", expected, message.position, async move {
            let entry = store.entry_at(&name.0, name.1, offset).await?;
            Ok(entry.map_or(Vec::new(), |entry| entry.position().to_be_bytes().to_vec()))
        });
    }

    fn publishing(&self, name: &QueueName) -> bool {
        let max = self.store.state().queue(&name.0, name.1).map_or(0, |queue| queue.max());
        max != self.committed(name).next()
    }

    /// Messages by key: at least those that are there when the search begins, and no others.
    pub(super) fn find_key(&mut self) {
        if !self.store.settings().index_keys {
            return;
        }
        let (topic, key) = (self.topic(), self.history.rng.u8(0..KEYS));
        let committed = self.store.state().log.committed();
        let wanted = with_key(&self.state, &topic, key, self.retiring.get());
        let names: Vec<QueueName> = (0..3).map(|queue| (topic.clone(), queue)).collect();
        if names.iter().any(|name| self.publishing(name)) {
            return;
        }
        let wanted: Vec<Placed> = wanted.into_iter().filter(|m| m.end <= committed).collect();
        let first = wanted.first().map_or(0, |message| message.position);
        let earlier = with_key(&self.state, &topic, key, 0).len() - wanted.len();
        let store = self.store.clone();
        self.reading("find by key", Vec::new(), first, async move {
            let found = store.find_by_key(&query(&topic, key, 1_000), &yield_now).await?;
            let found: Vec<Vec<u8>> = found.into_iter().map(|(_, record)| record).collect();
            // Before them may stand what is being retired, behind them what came since.
            let skipped = wanted.first().and_then(|first| {
                found.iter().position(|record| first.record.as_deref() == Some(&record[..]))
            });
            let skipped = skipped.unwrap_or(0);
            let same = wanted.iter().zip(found.iter().skip(skipped));
            let same =
                same.filter(|(own, record)| own.record.as_deref() == Some(&record[..])).count();
            let right = same == wanted.len() && skipped <= earlier;
            Ok(if right {
                Vec::new()
            } else {
                format!("{same} of {}, behind {skipped}", wanted.len()).into()
            })
        });
    }

    /// What has returned since.
    pub(super) fn check_readings(&mut self) -> Result<(), String> {
        let readings = std::mem::take(&mut self.readings);
        let (done, open) = readings.into_iter().partition(|r: &Reading| r.outcome.is_ready());
        self.readings = open;
        done.into_iter().try_for_each(|reading: Reading| self.check_reading(&reading))
    }

    fn check_reading(&mut self, reading: &Reading) -> Result<(), String> {
        self.history.summary.cold_reads += 1;
        let what = reading.what;
        let found = reading.outcome.take().ok_or("a read was taken twice")?;
        let retired = reading.first < self.retiring.get();
        let changed = retired || reading.removals != self.removals.get() || self.blind;
        match found {
            Ok(bytes) if bytes == reading.expected => Ok(()),
            Ok(_) if changed => Ok(()),
            Ok(bytes) => Err(format!("{what}: other bytes, {}", String::from_utf8_lossy(&bytes))),
            Err(StoreError::Io { .. }) if self.reads_fail => Ok(()),
            Err(StoreError::Malformed { .. }) if self.index_rotten => Ok(()),
            Err(_) if changed => Ok(()),
            Err(error) => Err(format!("{what} failed: {error}")),
        }
    }
}
