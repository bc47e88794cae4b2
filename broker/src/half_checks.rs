//! Asks the producers of half messages what becomes of them, and gives up those that nobody decides. One loop per shard,
//! started by [`crate::boot`].
//!
//! A half message is checked first when it is `transactionTimeOut` old, or as old as it asks for itself, and then every
//! `transactionCheckInterval`: a connection of its producer group gets CHECK_TRANSACTION_STATE, one-way, and answers with
//! END_TRANSACTION. How often it was checked is noted in the log. Not counted is what nobody is online for, what the producer's
//! connection does not take, and what was decided while the log refused that. After `transactionCheckMax` checks without a
//! decision, or when messages of its age are deleted (`fileReservedTime`), it ends: a copy of it goes to
//! [`TRANS_CHECK_MAX_TOPIC`], from where RESUME_CHECK_HALF_MESSAGE takes it back.

use crate::{
    client_calls::write_to_client,
    control::{Control, names::TRANS_CHECK_MAX_TOPIC},
    error::Refusal,
    handlers::{
        make_topic,
        send::append_ended,
        waiting::{copied_fields, real_queue, with},
    },
    properties::Scanned,
    request::first_queue_on,
    shard::{Shard, due_clock::wait_for_due},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    code::request,
    message_id,
    properties::{PGROUP, TRANSACTION_CHECK_TIMES, UNIQ_KEY, get},
    record::{self, RecordFields, RecordView},
};
use remoting::ConnectionId;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};
use store::{
    Refused,
    state::{
        ControlEntry,
        deferred::Portion,
        half_messages::{Ending, HalfCheck, HalfChecks, HalfOutcome, OpenHalf},
    },
};

/// What is read and checked in one step.
const AT_ONCE: Portion = Portion { records: 256, bytes: 1 << 20 };
/// Pause while the log takes no notes.
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// When one is looked at again that cannot be read, or whose end or check the log does not take.
const REFUSED_PAUSE_MS: i64 = 5_000;
/// When the producers of what waits for them are looked for again: longest time, and while some read slowly.
const ABSENT_MS_MAX: i64 = 5_000;
const SLOW_MS: i64 = 200;
/// Most half messages of a group that are looked at again at once when its producers are there.
const RELEASED_MAX: usize = 16_384;
/// Groups that are looked for in one piece of work.
const GROUPS_AT_ONCE: usize = 256;

/// Producers of a group that are asked one after the other while they do not take a question.
const PRODUCERS_TRIED: usize = 4;

/// A half message that was handed out, and what it is.
type Read<'a> = (OpenHalf, RecordView<'a>);

/// Checks until the shard takes no more appends.
pub async fn check_loop(worker: Rc<Worker>, shard: Rc<Shard>) {
    worker.first_metadata().await;
    let checks = Checks {
        worker,
        shard,
        opaque: Cell::new(0),
        waiting: RefCell::default(),
        waiting_count: Cell::new(0),
        looked_until: Cell::new(0),
    };
    // Answers are not read any more when the broker stops.
    while !checks.is_over() {
        let time = checks.time();
        // Nobody is asked, and nothing is given up, what the log could not take.
        if checks.shard.store.state().log.admit_control(HalfChecks::ENTRY_BYTES_MAX).is_err() {
            checks.wait(time).await;
            checks.worker.executor.sleep(LONG_PAUSE).await;
            continue;
        }
        checks.look_for_producers(time).await;
        let mut due = Vec::new();
        checks.shard.store.state_mut().derived.half_messages.take_due(time, AT_ONCE, &mut due);
        if due.is_empty() {
            checks.wait(time).await;
            continue;
        }
        checks.look_at(&due, time).await;
        checks.worker.executor.yield_now().await;
    }
}

fn group_of<'a>(half: &RecordView<'a>) -> &'a str {
    get(half.properties_text(), PGROUP).unwrap_or_default()
}

struct Checks {
    worker: Rc<Worker>,
    shard: Rc<Shard>,
    /// Of the last request.
    opaque: Cell<i32>,
    /// Half messages by producer groups of which nobody was online, or whose connection did not take more. They are looked
    /// at when somebody is, or when it is time to give them up: to read them again and again would tell nothing.
    waiting: RefCell<BTreeMap<String, Waiting>>,
    /// How many positions are there, those of ended half messages among them.
    waiting_count: Cell<usize>,
    /// When these groups are looked for again.
    looked_until: Cell<i64>,
}

/// What waits for the producers of a group.
struct Waiting {
    positions: VecDeque<u64>,
    /// How many are looked at again at once: more when all were taken that were released last, fewer when not.
    at_once: usize,
    /// Some were not taken since.
    came_back: bool,
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting { positions: VecDeque::new(), at_once: AT_ONCE.records, came_back: false }
    }
}

impl Checks {
    fn is_over(&self) -> bool {
        self.shard.is_draining() || self.worker.stopping.get()
    }

    fn time(&self) -> i64 {
        self.shard.due_time(self.worker.executor.moment())
    }

    /// Waits until something may be due.
    async fn wait(&self, time: i64) {
        let next = {
            let state = self.shard.store.state();
            let halves = &state.derived.half_messages;
            halves.next_look().or((!halves.is_empty()).then_some(i64::MAX))
        };
        let changed = &self.shard.half_due_changed;
        wait_for_due(&self.worker.executor, changed, next, time).await;
    }

    /// What waits for producers of a group is looked at when one is online.
    async fn look_for_producers(&self, time: i64) {
        if time < self.looked_until.get() || self.waiting.borrow().is_empty() {
            return;
        }
        let groups: Vec<String> = self.waiting.borrow().keys().cloned().collect();
        let mut pause = self.interval().min(ABSENT_MS_MAX);
        for piece in groups.chunks(GROUPS_AT_ONCE) {
            for (group, producer) in self.producers(piece.to_vec(), BTreeSet::new()).await {
                if producer.is_some() && self.release(&group, time) {
                    pause = pause.min(SLOW_MS);
                }
            }
            self.pause().await;
        }
        self.looked_until.set(time.saturating_add(pause));
    }

    /// Looks at some again that wait for this group. Whether more wait.
    fn release(&self, group: &str, time: i64) -> bool {
        let mut all = self.waiting.borrow_mut();
        let Some(waiting) = all.get_mut(group) else { return false };
        waiting.at_once = match std::mem::take(&mut waiting.came_back) {
            true => (waiting.at_once / 2).max(1),
            false => (waiting.at_once * 2).min(RELEASED_MAX),
        };
        let count = waiting.at_once.min(waiting.positions.len());
        waiting.positions.drain(..count).for_each(|position| self.look_again(position, time));
        self.waiting_count.set(self.waiting_count.get() - count);
        let more = !waiting.positions.is_empty();
        // An empty one goes when its turn comes again: what was released may come back.
        if count == 0 {
            all.remove(group);
        }
        more
    }

    /// Notes that a half message waits for producers of its group. It is looked at when it is as old as messages get.
    fn wait_for_producers(&self, group: String, position: u64, view: &RecordView<'_>, slow: bool) {
        let old = view.store_timestamp().saturating_add(self.worker.config().file_reserved_ms());
        // Not again at once, if the clock is not believed.
        self.look_again(position, old.max(self.time().saturating_add(self.interval())));
        let mut all = self.waiting.borrow_mut();
        let waiting = all.entry(group).or_default();
        waiting.positions.push_back(position);
        waiting.came_back |= slow;
        self.waiting_count.set(self.waiting_count.get() + 1);
        // Those that ended meanwhile are forgotten when they are as many as those that are open.
        let halves = &self.shard.store.state().derived.half_messages;
        if self.waiting_count.get() > 2 * halves.len() + AT_ONCE.records {
            all.values_mut().for_each(|waiting| waiting.positions.retain(|at| halves.is_open(*at)));
            all.retain(|_, waiting| !waiting.positions.is_empty());
            self.waiting_count.set(all.values().map(|waiting| waiting.positions.len()).sum());
        }
    }

    async fn look_at(&self, due: &[OpenHalf], time: i64) {
        let places = due.iter().map(|half| (half.position, half.bytes));
        let records = self.shard.store.read_waiting(places).await;
        let mut asked = Vec::new();
        let mut refused = false;
        for (half, record) in due.iter().zip(&records) {
            let Ok(record) = record else {
                self.look_later(half.position, time);
                continue;
            };
            let view = record.as_deref().and_then(|record| RecordView::parse(record).ok());
            match view {
                Some(view) if !self.is_given_up(half, &view, time) => asked.push((*half, view)),
                // What one was refused, others are.
                _ if refused || self.is_over() => self.look_later(half.position, time),
                view => refused = !self.give_up(half.position, view.as_ref(), time).await,
            }
        }
        self.ask_all(&asked, time).await;
    }

    /// Whether it was checked often enough, or is as old as messages get.
    fn is_given_up(&self, half: &OpenHalf, view: &RecordView<'_>, time: i64) -> bool {
        let config = &self.worker.config();
        let age = time.saturating_sub(view.store_timestamp());
        let is_old = age >= config.file_reserved_ms();
        (!half.refused && half.checks >= config.transaction_check_max)
            || (is_old && !self.shard.store.doubts_clock())
    }

    fn interval(&self) -> i64 {
        i64::try_from(self.worker.config().transaction_check_interval_ms).unwrap_or(i64::MAX)
    }

    /// Asks the producers of these, and notes which were asked. What one does not take, others of its group may.
    async fn ask_all(&self, halves: &[Read<'_>], time: i64) {
        let mut left: Vec<&Read<'_>> = halves.iter().collect();
        let mut tried = BTreeSet::new();
        for _ in 0..PRODUCERS_TRIED {
            if left.is_empty() || self.is_over() {
                break;
            }
            left = self.ask_some(&left, &mut tried, time).await;
        }
        for (half, view) in left {
            self.wait_for_producers(group_of(view).to_owned(), half.position, view, true);
        }
    }

    /// Asks one producer of each that was not tried. Returns what these do not take.
    async fn ask_some<'a, 'r>(
        &self,
        halves: &[&'a Read<'r>],
        tried: &mut BTreeSet<ConnectionId>,
        time: i64,
    ) -> Vec<&'a Read<'r>> {
        let groups: BTreeSet<String> =
            halves.iter().map(|(_, view)| group_of(view).to_owned()).collect();
        let producers = self.producers(groups.into_iter().collect(), tried.clone()).await;
        let mut questions: BTreeMap<ConnectionId, (Vec<&Read<'_>>, Vec<Vec<u8>>)> = BTreeMap::new();
        for read in halves {
            let (half, view) = read;
            let group = group_of(view);
            match producers.get(group).copied().flatten() {
                Some(connection) => {
                    let (asked, frames) = questions.entry(connection).or_default();
                    asked.push(read);
                    frames.push(self.request(half, view));
                }
                None => {
                    let slow = !tried.is_empty();
                    self.wait_for_producers(group.to_owned(), half.position, view, slow);
                }
            }
            self.pause().await;
        }
        let mut not_taken = Vec::new();
        for (connection, (halves, frames)) in questions {
            let push = move |there: &Rc<Worker>| there.push_readable(connection, &frames);
            let taken = match self.is_over() {
                true => 0,
                false => self.worker.on(connection.worker(), push).await,
            };
            let (asked, others) = halves.split_at(taken.min(halves.len()));
            if !others.is_empty() {
                tried.insert(connection);
                not_taken.extend_from_slice(others);
            }
            asked.chunks(HalfChecks::COUNT_MAX).for_each(|piece| self.note(piece, time));
        }
        not_taken
    }

    /// A connection of each of these producer groups but those, if somebody is online.
    async fn producers(
        &self,
        groups: Vec<String>,
        but: BTreeSet<ConnectionId>,
    ) -> BTreeMap<String, Option<ConnectionId>> {
        let find = move |there: &Rc<Worker>| {
            let control = there.control_plane().control.borrow();
            let members = control.members();
            let found = groups.into_iter().map(|group| {
                let producer = members.any_producer(&group, &but);
                (group, producer)
            });
            found.collect()
        };
        self.worker.on(CONTROL_WORKER, find).await
    }

    /// CHECK_TRANSACTION_STATE: the message as it would be committed, and by which numbers the half message is known.
    fn request(&self, half: &OpenHalf, view: &RecordView<'_>) -> Vec<u8> {
        let opaque = self.opaque.get().wrapping_add(1) & i32::MAX;
        self.opaque.set(opaque);
        let text = view.properties_text();
        let mut properties = text.to_owned();
        let checks = half.checks.saturating_add(1);
        with(&mut properties, TRANSACTION_CHECK_TIMES, &checks.to_string());
        let (topic, queue_id) = real_queue(view).unwrap_or_default();
        let fields = RecordFields {
            properties: [properties.as_bytes(), b"", b""],
            ..copied_fields(view, topic, queue_id)
        };
        let mut body = fields.encode();
        let (queue_offset, offset) = (view.queue_offset(), view.physical_offset());
        record::patch(&mut body, queue_offset, offset, view.store_timestamp());
        let id = get(text, UNIQ_KEY).unwrap_or_default();
        let (offset_id, offset) =
            (message_id::encode(view.store_host(), offset), offset.to_string());
        let queue_offset = queue_offset.to_string();
        let ext = [
            ("tranStateTableOffset", queue_offset.as_str().into()),
            ("commitLogOffset", offset.as_str().into()),
            ("msgId", id.into()),
            ("transactionId", id.into()),
            ("offsetMsgId", offset_id.as_str().into()),
            ("topic", topic.into()),
        ];
        let mut frame = Vec::new();
        let code = request::CHECK_TRANSACTION_STATE;
        write_to_client(code, opaque, true, &ext, &body, &mut frame);
        frame
    }

    /// Notes what was checked. What the log does not take is checked again soon, and not counted.
    fn note(&self, asked: &[&Read<'_>], time: i64) {
        let due = time.saturating_add(self.interval());
        let check = |(half, _): &&Read<'_>| {
            let checks = half.checks.saturating_add(u32::from(!half.refused));
            HalfCheck { position: half.position, due, checks }
        };
        let rows = HalfChecks::encode(&asked.iter().map(check).collect::<Vec<_>>());
        let rows = HalfChecks::decode(&rows).expect("whole rows");
        let entry = ControlEntry::HalfChecked(rows);
        let now = self.worker.executor.now();
        asked.iter().for_each(|_| self.shard.tally.half_checked());
        let noted = self.shard.store.state_mut().append_control(&entry, now);
        match noted {
            Ok(_) => {
                let halves = &mut self.shard.store.state_mut().derived.half_messages;
                asked.iter().for_each(|(half, _)| halves.asked_again(half.position));
                self.shard.store.appended();
            }
            Err(refused) => {
                tracing::debug!(shard = self.shard.number, %refused, "checks are not noted");
                asked.iter().for_each(|(half, _)| self.look_later(half.position, time));
            }
        }
    }

    fn look_again(&self, position: u64, look: i64) {
        self.shard.store.state_mut().derived.half_messages.look_again(position, look);
    }

    fn look_later(&self, position: u64, time: i64) {
        self.look_again(position, time.saturating_add(REFUSED_PAUSE_MS));
    }

    async fn pause(&self) {
        if self.worker.executor.budget_spent() {
            self.worker.executor.yield_now().await;
        }
    }

    /// Ends it, unless somebody is about to or it was decided meanwhile. `None`: it is lost to damage. False: it cannot be
    /// ended now.
    async fn give_up(&self, position: u64, view: Option<&RecordView<'_>>, time: i64) -> bool {
        if view.is_some()
            && let Err(refusal) = self.ensure_topic().await
        {
            let (shard, why) = (self.shard.number, refusal.remark);
            tracing::debug!(shard, position, why, "a half message cannot be given up yet");
            self.look_later(position, time);
            return false;
        }
        let begun = self.shard.store.state_mut().derived.half_messages.begin_end(position);
        let Ending::Begun(half) = begun else { return true };
        let is_given_up = view.is_none_or(|view| self.is_given_up(&half, view, time));
        let ended = if is_given_up { self.append_end(&half, view) } else { Ok(()) };
        let is_ended = is_given_up && ended.is_ok();
        if !is_ended {
            self.look_later(position, time);
            self.shard.store.state_mut().derived.half_messages.keep(position);
        }
        self.pause().await;
        ended.is_ok()
    }

    fn append_end(&self, half: &OpenHalf, view: Option<&RecordView<'_>>) -> Result<(), Refused> {
        let Checks { worker, shard, .. } = self;
        let position = half.position;
        let entry = ControlEntry::HalfEnded { position, outcome: HalfOutcome::GivenUp };
        let Some(view) = view else {
            shard.store.state_mut().append_control(&entry, worker.executor.now())?;
            shard.store.appended();
            shard.tally.half_lost();
            tracing::error!(shard = shard.number, position, "a half message is lost to damage");
            return Ok(());
        };
        let mut properties = view.properties_text().to_owned();
        with(&mut properties, TRANSACTION_CHECK_TIMES, &half.checks.to_string());
        let scanned = Scanned::of(&properties);
        let topic = TRANS_CHECK_MAX_TOPIC;
        let queue_id = first_queue_on(shard.number, topic, worker.shard_count);
        let fields = RecordFields {
            properties: [properties.as_bytes(), b"", b""],
            ..copied_fields(view, topic, queue_id)
        };
        let (index_keys, now) = (shard.store.index_keys(), worker.executor.now());
        let state = &mut shard.store.state_mut();
        append_ended(state, index_keys, &entry, &scanned, &fields, now)?;
        shard.store.appended();
        shard.tally.gave_up_half();
        tracing::debug!(
            shard = shard.number,
            position,
            checks = half.checks,
            topic = real_queue(view).map_or("", |(topic, _)| topic),
            "a half message is given up"
        );
        Ok(())
    }

    /// Each shard has a queue of the topic for what is given up.
    async fn ensure_topic(&self) -> Result<(), Refusal> {
        let shards = self.worker.shard_count;
        let queues = {
            let metadata = self.worker.metadata.borrow();
            metadata.topic(TRANS_CHECK_MAX_TOPIC).map_or(0, |config| config.queues())
        };
        if queues >= u32::from(shards) {
            return Ok(());
        }
        let topic = TRANS_CHECK_MAX_TOPIC.to_owned();
        let raise = move |control: &mut Control, now| {
            Ok(control.raise_queues(now, TRANS_CHECK_MAX_TOPIC, shards.into())?)
        };
        make_topic(&self.worker, topic, raise).await
    }
}
