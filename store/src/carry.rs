//! Records that wait for longer than their segment is kept: they are appended again, at the end of the log, and wait on
//! there, so that the segment can go. Each is one group of the log with the note that it waits no more where it was.
//!
//! Retention says when that is wanted ([`Store::wants_carry`]), and retires the segment when it looks again. A segment of
//! which most still waits stays: carrying it would free nothing.

use crate::{
    error::{Refused, StoreError},
    index::{Index, key_hash},
    lookup::keys_of,
    state::{ControlEntry, deferred::Due},
    store::Store,
    store_state::{Append, Placed},
};
use proto::record::RecordView;
use runtime::Disk;
use std::future::Future;

/// Records that are looked for at once; when there are more, the rest comes with the next look.
const RECORDS_MAX: usize = 50_000;
/// Bytes that are read and appended at once; one record always is.
const BYTES_AT_ONCE: u64 = 1 << 20;
/// Tries to append one, each behind what was in flight at the one before.
const TRIES_MAX: u32 = 100;
/// A segment that cannot be made free now is left alone for so long.
const PAUSE_MICROS: u64 = 10_000_000;

/// What was appended.
pub enum Noted<'a> {
    /// A record waits on at another place, with its bytes there.
    Carried {
        /// Where its control entry stands.
        control_at: u64,
        /// The control entry.
        entry: ControlEntry<'a>,
        /// Where the record is now.
        placed: Placed,
        /// Its bytes there.
        record: &'a [u8],
    },
    /// A record is lost to damage, and waits no more.
    Lost {
        /// Where its control entry stands.
        control_at: u64,
        /// The control entry.
        entry: ControlEntry<'a>,
    },
}

/// Where the time and the end of appends come from.
pub trait Carrier {
    /// The wall clock, ms.
    fn now(&self) -> i64;
    /// Whether the log may still be appended to.
    fn may_append(&self) -> bool;
    /// Hears what was appended.
    fn noted(&self, noted: Noted<'_>);
}

impl<D: Disk> Store<D> {
    /// Whether retention waits for records to be carried on, and it may be tried now. Says so once for each time that
    /// retention looked.
    pub fn wants_carry(&self) -> bool {
        let rested = self.disk.uptime_micros() >= self.carry_again.get();
        self.carry_wanted.take() && rested
    }

    /// Carries on what waits in the oldest segment. Returns whether nothing holds it any more: then it can go. Else it is
    /// left alone for a while. Errors: the disk's.
    pub async fn carry_on<C, P, F>(&self, carrier: &C, pause: &P) -> Result<bool, StoreError>
    where
        C: Carrier,
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let carried = self.carry_oldest(carrier, pause).await;
        if !matches!(carried, Ok(true)) {
            self.carry_again.set(self.disk.uptime_micros() + PAUSE_MICROS);
        }
        carried
    }

    async fn carry_oldest<C, P, F>(&self, carrier: &C, pause: &P) -> Result<bool, StoreError>
    where
        C: Carrier,
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let Some(index) = self.oldest_whole() else { return Ok(false) };
        let to = index.head().to;
        let for_good = self.state.borrow().derived.holds_back_for_good();
        if for_good.is_some_and(|held| held < to) {
            return Ok(false);
        }
        let leads = self.state.borrow().log.leads();
        let mut records = 0;
        loop {
            let Some(found) = self.waiting_in(&index, pause).await? else { return Ok(false) };
            if found.is_empty() {
                break;
            }
            // What a follower carries its leader does.
            let carried = if leads { self.carry_all(&found, carrier).await? } else { 0 };
            if carried == 0 {
                // Somebody has taken what is left, or the log takes no more.
                return Ok(false);
            }
            records += carried;
        }
        self.state.borrow_mut().derived.deferred.free_before(to);
        if records > 0 {
            let (shard, segment) = (self.settings.shard, index.head().segment);
            tracing::info!(shard, segment, records, "what waits was carried on");
        }
        Ok(!self.is_held(&index))
    }

    /// Records that wait in the segment of an index, as many as are looked for at once. `None`: so many bytes that carrying
    /// them frees little.
    async fn waiting_in<P, F>(
        &self,
        index: &Index<D>,
        pause: &P,
    ) -> Result<Option<Vec<Due>>, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let bytes_max = self.settings.layout.bytes_of(index.head().segment) / 2;
        let (mut found, mut bytes) = (Vec::new(), 0);
        let visit = |record: Due| {
            if self.state.borrow().derived.deferred.waits((record.due, record.position)) {
                bytes += u64::from(record.bytes);
                if found.len() < RECORDS_MAX {
                    found.push(record);
                }
            }
        };
        self.visit_file(index, visit, pause).await?;
        Ok((bytes <= bytes_max).then_some(found))
    }

    /// Returns how many wait no more where they were.
    async fn carry_all<C: Carrier>(&self, all: &[Due], carrier: &C) -> Result<usize, StoreError> {
        let (mut rest, mut carried) = (all, 0);
        while let Some(first) = rest.first() {
            let mut bytes = u64::from(first.bytes);
            let behind = rest.iter().skip(1).take_while(|due| {
                bytes += u64::from(due.bytes);
                bytes <= BYTES_AT_ONCE
            });
            let (some, more) = rest.split_at(1 + behind.count());
            let (done, stopped) = self.carry_some(some, carrier).await?;
            carried += done;
            let appended = self.state.borrow().log.appended();
            self.wait_durable_by(appended, &self.gate_moved_for_carry).await?;
            if stopped {
                break;
            }
            rest = more;
        }
        Ok(carried)
    }

    /// Returns how many were carried, and whether the log takes no more.
    async fn carry_some<C: Carrier>(
        &self,
        some: &[Due],
        carrier: &C,
    ) -> Result<(usize, bool), StoreError> {
        let begin = |due: &&Due| {
            let deferred = &mut self.state.borrow_mut().derived.deferred;
            deferred.begin_carry((due.due, due.position))
        };
        let begun: Vec<Due> = some.iter().filter(begin).copied().collect();
        let records = self.read_due(&begun).await;
        let (mut carried, mut stopped, mut failed) = (0, false, None);
        for (due, record) in begun.iter().zip(records) {
            let taken = match record {
                _ if stopped || failed.is_some() => false,
                Ok(record) => self.carry_patiently(due, record, carrier).await?,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            };
            if taken {
                carried += 1;
            } else {
                stopped |= failed.is_none();
                self.state.borrow_mut().derived.deferred.keep(due.due, due.position);
            }
        }
        self.appended();
        failed.map_or(Ok((carried, stopped)), Err)
    }

    /// Whether the log took it.
    async fn carry_patiently<C: Carrier>(
        &self,
        due: &Due,
        mut record: Option<Vec<u8>>,
        carrier: &C,
    ) -> Result<bool, StoreError> {
        for _ in 0..TRIES_MAX {
            if !carrier.may_append() {
                return Ok(false);
            }
            let tried = match &mut record {
                Some(record) => self.carry_one(due, record, carrier),
                None => self.give_up(due, carrier),
            };
            match tried {
                Ok(()) => return Ok(true),
                Err(Refused::Busy { .. } | Refused::RoomAwaited { .. }) => {
                    self.appended();
                    let appended = self.state.borrow().log.appended();
                    self.wait_durable_by(appended, &self.gate_moved_for_carry).await?;
                }
                Err(refused) => {
                    let shard = self.settings.shard;
                    tracing::debug!(shard, %refused, "records wait to be carried on");
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    /// A record is lost: who would deliver it had to say so, too.
    fn give_up<C: Carrier>(&self, due: &Due, carrier: &C) -> Result<(), Refused> {
        let Due { due, position, .. } = *due;
        let control_at = self.state.borrow_mut().append_lost(due, position, carrier.now())?;
        let entry = ControlEntry::Delivered { due, position };
        carrier.noted(Noted::Lost { control_at, entry });
        Ok(())
    }

    fn carry_one<C: Carrier>(
        &self,
        due: &Due,
        record: &mut [u8],
        carrier: &C,
    ) -> Result<(), Refused> {
        let entry = ControlEntry::Carried { due: due.due, position: due.position };
        let (now, mut state) = (carrier.now(), self.state.borrow_mut());
        state.admit_behind_sends(record.len())?;
        state.admit_group(&entry, record.len())?;
        let view = RecordView::parse(record).expect("it was checked when it was read");
        let (topic, queue_id) = (view.topic(), view.queue_id().cast_unsigned());
        let slot = state.queue_slot(topic, queue_id);
        let hashes: Vec<u32> = match self.index_keys() {
            true => keys_of(view.properties_text()).map(|key| key_hash(topic, key)).collect(),
            false => Vec::new(),
        };
        let message = Append { slot, bytes: record.len(), tags_code: due.due, keys: &hashes };
        let (control_at, placed) = state.append_group(&entry, message, now, |placed, out| {
            proto::record::patch(record, placed.queue_offset, placed.physical.to_wire(), now);
            out.copy_from_slice(record);
        });
        drop(state);
        carrier.noted(Noted::Carried { control_at, entry, placed, record });
        Ok(())
    }
}
