//! What a pop takes of the queues of one shard, on the worker that hosts it.
//!
//! Of each queue what is visible again goes out first, then what was never popped. All of it is decided in one step with what
//! the tail cache holds; when something has to be read from the disk, other pops pass the queue meanwhile.

use super::{
    admit::{self, Pop},
    note_left_out,
};
use crate::{
    error::Refusal,
    handlers::pull::{limits_of, plan_of, plan_on_disk},
    mailbox::Notice,
    shard::{Shard, group_pulls::Gets, pop_interest::Grown},
    worker::Worker,
};
use proto::record;
use remoting::ConnectionId;
use std::{rc::Rc, sync::Arc};
use store::{
    PopAsk, PopPlace, PopRead, PopStart, PullPlan, PullStatus, StoreError, StoreState,
    consume_queue::Entry,
    read::{Planned, PullLimits},
    state::popped,
};

/// What was taken of one queue.
#[derive(Debug)]
pub(super) struct TakenQueue {
    pub(super) queue_id: u32,
    /// Where the look began.
    pub(super) start: i64,
    /// Offset of each message, and how often it was popped before.
    pub(super) messages: Vec<(i64, u32)>,
}

/// What was taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) queues: Vec<TakenQueue>,
    /// Records, one behind the other.
    pub(super) records: Vec<u8>,
    /// The time that receipts say, ms. 0: nothing was looked at.
    pub(super) popped_at: i64,
    /// The time of the shard, ms.
    pub(super) now: i64,
    /// Messages that are there and were not taken, about.
    pub(super) rest: i64,
    /// Why nothing new is given out, if a limit is reached.
    pub(super) limited: Option<String>,
    /// A filter has passed as many messages as one look goes over: there may be more behind them.
    pub(super) has_passed: bool,
}

impl Taken {
    /// How many messages.
    pub(super) fn count(&self) -> usize {
        self.queues.iter().map(|queue| queue.messages.len()).sum()
    }

    /// Adds what was taken elsewhere.
    pub(super) fn add(&mut self, other: Taken) {
        if self.queues.is_empty() {
            self.popped_at = other.popped_at;
        }
        self.queues.extend(other.queues);
        self.records.extend_from_slice(&other.records);
        self.rest += other.rest;
        self.has_passed |= other.has_passed;
        self.limited = self.limited.take().or(other.limited);
    }
}

/// Where a pop looks, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) shard: u16,
    pub(super) queues: Vec<u32>,
    /// Messages and bytes that may still be taken.
    pub(super) count_left: usize,
    pub(super) bytes_left: usize,
    /// The time that receipts say, if another shard has given something.
    pub(super) popped_at: Option<i64>,
    /// The worker that is told when there may be more.
    pub(super) waits: Option<usize>,
    pub(super) asker: ConnectionId,
}

/// What was read of a queue.
#[derive(Default)]
struct Read {
    records: Vec<u8>,
    found: Vec<i64>,
    lost: Vec<i64>,
    cursor: i64,
    has_passed: bool,
}

/// Takes what there is.
pub(super) async fn take(there: Rc<Worker>, pop: Arc<Pop>, look: Look) -> Result<Taken, Refusal> {
    let shard = Rc::clone(there.hosted_shard(look.shard));
    let (topic, group) = (&*pop.topic.topic_name, &*pop.group.group_name);
    check_again(&there, topic, group)?;
    if let Some(worker) = look.waits {
        shard.pop_interest.borrow_mut().arm(topic, pop.queue_id, worker);
    }
    let now = shard.due_time(there.executor.moment());
    let popped_at = look.popped_at.unwrap_or(now);
    let mut taken = Taken { popped_at, now, ..Taken::default() };
    for queue_id in &look.queues {
        let place = PopPlace { group, topic, queue_id: *queue_id };
        let count_left = look.count_left - taken.count();
        let bytes_left = look.bytes_left.saturating_sub(taken.records.len());
        // What lies behind a batch that is in hand is not there for a pop in order.
        let mut is_counted = true;
        if count_left > 0 && (bytes_left > 0 || taken.records.is_empty()) {
            let (before, limits) = (taken.count(), (count_left, bytes_left));
            let (bytes_before, began) = (taken.records.len(), there.executor.uptime());
            let took =
                take_queue(&there, &shard, &pop, place, limits, look.asker, &mut taken).await;
            match took {
                Ok(looked) => is_counted = looked || !pop.in_order,
                Err(refusal) if taken.count() == 0 => return Err(refusal),
                Err(refusal) => {
                    taken.rest += 1;
                    note_left_out(look.shard, &refusal);
                }
            }
            if taken.count() > before {
                let (count, bytes) = (taken.count() - before, taken.records.len() - bytes_before);
                let gets = Gets::of(count, bytes, there.executor.uptime() - began);
                note_popped(&there, &shard, place, gets);
            }
        }
        if is_counted {
            taken.rest += rest_of(&shard.store.state(), place);
        }
        if there.executor.budget_spent() {
            there.executor.yield_now().await;
        }
    }
    note_visible(&shard, &pop, &look.queues);
    match taken.count() {
        0 => {
            shard.tally.missed();
            taken.limited = limit_reached(&shard.store.state(), look.shard);
        }
        count => shard.tally.pulled(count as u64, taken.records.len() as u64),
    }
    Ok(taken)
}

/// Why a shard gives out nothing new.
fn limit_reached(state: &StoreState, shard: u16) -> Option<String> {
    let popped = &state.derived.popped;
    (popped.left() < popped::QUEUE_COST).then(|| {
        let (messages, queues) = (popped.in_flight(), popped.len());
        format!(
            "POLLING_LIMITED shard={shard} popped={messages} queues={queues} key=shardPoppedMax"
        )
    })
}

fn check_again(there: &Worker, topic: &str, group: &str) -> Result<(), Refusal> {
    admit::check_again(&there.config(), &there.metadata.borrow(), topic, group)
}

/// Notes how far the group has popped, and what it got, for tools.
fn note_popped(there: &Worker, shard: &Shard, place: PopPlace<'_>, gets: Gets) {
    let PopPlace { group, topic, queue_id } = place;
    let state = shard.store.state();
    let popped = state.derived.popped.get(group, topic, queue_id);
    if let Some(cursor) = popped.and_then(|queue| queue.cursor()) {
        let (mut pulls, now) = (shard.group_pulls.borrow_mut(), there.executor.uptime());
        pulls.note((group, topic, queue_id), cursor, gets, now);
    }
}

/// Messages of a queue that were never popped.
fn rest_of(state: &StoreState, place: PopPlace<'_>) -> i64 {
    let PopPlace { group, topic, queue_id } = place;
    let Some(queue) = state.queue(topic, queue_id) else { return 0 };
    let popped = state.derived.popped.get(group, topic, queue_id);
    let cursor = popped.and_then(|queue| queue.cursor());
    // Of a queue that is not popped now the group's offset says it.
    let from = cursor.or_else(|| state.derived.group_offsets.get(group, topic, queue_id));
    (queue.max() - from.unwrap_or(0).max(queue.min())).max(0)
}

/// Whoever waits is told when something is visible again.
fn note_visible(shard: &Shard, pop: &Pop, queues: &[u32]) {
    let mut interest = shard.pop_interest.borrow_mut();
    if interest.is_empty() {
        return;
    }
    let (topic, group) = (&*pop.topic.topic_name, &*pop.group.group_name);
    let state = shard.store.state();
    let next = |id: &u32| Some((*id, state.derived.popped.get(group, topic, *id)?.next_visible()?));
    let popped = queues.iter().filter_map(next);
    for (queue_id, next) in popped {
        // It is visible to a pop of a later millisecond.
        interest.visible_at(topic, queue_id, next.saturating_add(1));
    }
}

/// Takes what there is of a queue. False: nobody may look at it now.
async fn take_queue(
    there: &Rc<Worker>,
    shard: &Rc<Shard>,
    pop: &Arc<Pop>,
    place: PopPlace<'_>,
    (count_max, bytes_max): (usize, usize),
    asker: ConnectionId,
    taken: &mut Taken,
) -> Result<bool, Refusal> {
    let attempt = pop.in_order.then_some(pop.attempt.as_deref());
    // Others had their turn since the last queue.
    check_again(there, place.topic, place.group)?;
    let (now, popped_at) = (taken.now, taken.popped_at);
    let ask = PopAsk { now, popped_at, count_max, in_order: attempt };
    let first = |state: &StoreState| first_offset(state, place, pop.from_max);
    let begun = shard.store.state_mut().begin_pop(place, ask, first);
    let Some(start) = begun else { return Ok(false) };
    let in_memory = read_cached(&shard.store.state(), pop, place, &start, bytes_max);
    let read = match in_memory {
        Some(read) => read,
        None => {
            let busy = Busy::begin(shard, pop, place.queue_id);
            let (reading, wanted) = (Rc::clone(shard), Arc::clone(pop));
            let (again, limits) = (start.again.clone(), (start.count_max, bytes_max));
            let (cursor, queue_id) = (start.cursor, place.queue_id);
            let read =
                async move { read_cold(&reading, &wanted, queue_id, &again, cursor, limits).await };
            let read = there.cold_reads.read(asker, read).await;
            drop(busy);
            tell_grown(there, shard);
            read??
        }
    };
    give_out(shard, pop, place, &start, read, taken);
    Ok(true)
}

/// Tells the workers of those that wait that there may be something to pop.
pub(crate) fn tell_grown(worker: &Rc<Worker>, shard: &Shard) {
    let grown = shard.pop_interest.borrow_mut().take_grown();
    for Grown { topic, wanted, workers } in grown {
        for to in workers {
            if to == worker.executor.index() {
                worker.pop_waits.borrow_mut().tell(&topic, wanted);
            } else {
                worker.notify(to, Notice::PopGrew(Arc::from(&*topic), wanted));
            }
        }
    }
}

/// Others pass a queue while this is there.
struct Busy {
    shard: Rc<Shard>,
    pop: Arc<Pop>,
    queue_id: u32,
}

impl Busy {
    fn begin(shard: &Rc<Shard>, pop: &Arc<Pop>, queue_id: u32) -> Busy {
        let busy = Busy { shard: Rc::clone(shard), pop: Arc::clone(pop), queue_id };
        busy.set(true);
        busy
    }

    fn set(&self, is_busy: bool) {
        let (topic, group) = (&*self.pop.topic.topic_name, &*self.pop.group.group_name);
        let place = PopPlace { group, topic, queue_id: self.queue_id };
        self.shard.store.state_mut().set_pop_busy(place, is_busy);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.set(false);
        // Who passed it meanwhile looks again.
        let topic = &self.pop.topic.topic_name;
        self.shard.pop_interest.borrow_mut().grew(topic, self.queue_id);
    }
}

/// Where a group begins that has no offset yet. As Java does, one that begins at the end gets the last message, and all of a
/// queue whose first message is still in memory: nobody misses what was sent before its first pop.
fn first_offset(state: &StoreState, place: PopPlace<'_>, from_max: bool) -> i64 {
    let Some(queue) = state.queue(place.topic, place.queue_id) else { return 0 };
    let is_cached = |entry: Entry| state.log.ring().holds(entry.position(), entry.bytes() as usize);
    if !from_max || (queue.min() == 0 && queue.get(0).is_some_and(is_cached)) {
        return queue.min();
    }
    (queue.max() - 1).max(queue.min())
}

/// How many of these fit, at least one.
fn within(bytes_max: usize, entries: &[Entry]) -> (usize, usize) {
    let mut bytes = 0;
    for (index, entry) in entries.iter().enumerate() {
        let more = bytes + entry.bytes() as usize;
        if index > 0 && more > bytes_max {
            return (index, bytes);
        }
        bytes = more;
    }
    (entries.len(), bytes)
}

/// Limits of what is new, behind `again` messages of `bytes` that are given out again.
fn limits(
    cursor: i64,
    (count_max, bytes_max): (usize, usize),
    again: (usize, usize),
) -> Option<PullLimits> {
    let (count, bytes) = again;
    let has_room = count < count_max && (count == 0 || bytes < bytes_max);
    let count_max = count_max - count;
    has_room.then(|| limits_of(cursor, count_max, bytes_max.saturating_sub(bytes)))
}

/// Everything from the tail cache. `None`: something has to be read from the disk.
fn read_cached(
    state: &StoreState,
    pop: &Pop,
    place: PopPlace<'_>,
    start: &PopStart,
    bytes_max: usize,
) -> Option<Read> {
    let mut read = Read { cursor: start.cursor, ..Read::default() };
    let queue = state.queue(place.topic, place.queue_id);
    let mut entries = Vec::with_capacity(start.again.len());
    for offset in &start.again {
        entries.push(queue?.get(*offset).filter(|entry| entry.bytes() > 0)?);
    }
    let (count, bytes) = within(bytes_max, &entries);
    entries.truncate(count);
    let mut plan = plan_again(entries, bytes);
    if let Some(limits) = limits(start.cursor, (start.count_max, bytes_max), (count, bytes)) {
        match plan_of(state, place.topic, place.queue_id, limits, &pop.filter) {
            Planned::Now(new) => read.behind(&mut plan, new),
            Planned::OnDisk => return None,
        }
    }
    if !state.is_cached(&plan) {
        return None;
    }
    read.records.reserve_exact(plan.bytes);
    state.copy_cached(&plan, &mut read.records);
    read.found = offsets_of(&read.records);
    Some(read)
}

/// Everything, from wherever it is.
async fn read_cold(
    shard: &Shard,
    pop: &Pop,
    queue_id: u32,
    again: &[i64],
    cursor: i64,
    (count_max, bytes_max): (usize, usize),
) -> Result<Read, StoreError> {
    let topic = &*pop.topic.topic_name;
    let (store, mut read) = (&shard.store, Read { cursor, ..Read::default() });
    let mut entries = Vec::with_capacity(again.len());
    let mut wanted = Vec::with_capacity(again.len());
    for offset in again {
        match store.entry_at(topic, queue_id, *offset).await? {
            Some(entry) if entry.bytes() > 0 => {
                entries.push(entry);
                wanted.push(*offset);
            }
            _ => read.lost.push(*offset),
        }
    }
    let (count, bytes) = within(bytes_max, &entries);
    entries.truncate(count);
    wanted.truncate(count);
    let mut plan = plan_again(entries, bytes);
    if let Some(limits) = limits(cursor, (count_max, bytes_max), (count, bytes)) {
        let now = plan_of(&store.state(), topic, queue_id, limits, &pop.filter);
        let new = match now {
            Planned::Now(new) => new,
            Planned::OnDisk => plan_on_disk(shard, topic, queue_id, limits, &pop.filter).await?,
        };
        read.behind(&mut plan, new);
    }
    store.read_cold(&plan.pieces, &mut read.records).await?;
    read.found = offsets_of(&read.records);
    // What is damaged was left out, and will never be acknowledged.
    wanted.retain(|offset| !read.found.contains(offset));
    read.lost.extend(wanted);
    Ok(read)
}

fn plan_again(pieces: Vec<Entry>, bytes: usize) -> PullPlan {
    let (next_offset, min_offset, max_offset) = (0, 0, 0);
    PullPlan { status: PullStatus::Found, next_offset, min_offset, max_offset, pieces, bytes }
}

impl Read {
    /// Adds what was never popped.
    fn behind(&mut self, plan: &mut PullPlan, new: PullPlan) {
        match new.status {
            PullStatus::Found | PullStatus::NoMatchedMessage => {
                self.cursor = new.next_offset;
                self.has_passed = new.pieces.is_empty() && new.next_offset < new.max_offset;
                plan.pieces.extend(new.pieces);
                plan.bytes += new.bytes;
            }
            // The queue has ended, or lost what was there.
            _ => {}
        }
    }
}

/// Queue offsets of records that stand one behind the other.
fn offsets_of(records: &[u8]) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut rest = records;
    while let Some((size, offset)) = record::size_and_queue_offset_of(rest)
        && let Some(behind) = rest.get(size..)
    {
        offsets.push(offset);
        rest = behind;
    }
    offsets
}

/// What was read is popped: receipts are valid from now on.
fn give_out(
    shard: &Shard,
    pop: &Pop,
    place: PopPlace<'_>,
    start: &PopStart,
    mut read: Read,
    taken: &mut Taken,
) {
    let popped_at = taken.popped_at;
    let visible_at = taken.now.saturating_add(pop.invisible_ms);
    let (found, lost, cursor) = (&*read.found, &*read.lost, read.cursor);
    let said = PopRead { found, lost, cursor, popped_at, visible_at };
    let Some(given) = shard.store.state_mut().end_pop(place, start, said) else { return };
    taken.has_passed |= read.has_passed;
    let mut messages = Vec::with_capacity(given.len());
    let mut at = 0;
    for (offset, again) in read.found.iter().zip(given) {
        let Some((size, _)) = record::size_and_queue_offset_of(&read.records[at..]) else { break };
        match again {
            Some(again) => {
                if again > 0 {
                    record::add_reconsume_times(&mut read.records[at..at + size], again);
                }
                messages.push((*offset, again));
                at += size;
            }
            None => drop(read.records.drain(at..at + size)),
        }
    }
    if messages.is_empty() {
        // All of it was somebody's already: there may be more behind it.
        taken.has_passed |= !read.found.is_empty();
        return;
    }
    let start = start.again.first().copied().unwrap_or(start.cursor);
    taken.queues.push(TakenQueue { queue_id: place.queue_id, start, messages });
    if taken.records.is_empty() {
        taken.records = read.records;
    } else {
        taken.records.extend_from_slice(&read.records);
    }
}
