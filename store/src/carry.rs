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

/// Records of a segment that are carried at most.
const RECORDS_MAX: usize = 250_000;
/// Records that are read and appended at once.
const AT_ONCE: usize = 64;

/// A record that waits on at another place.
pub struct Carried<'a> {
    /// Where its control entry stands.
    pub control_at: u64,
    /// The control entry.
    pub entry: ControlEntry<'a>,
    /// Where the record is now.
    pub placed: Placed,
    /// Its bytes there.
    pub record: &'a [u8],
}

/// Why no more is carried now.
enum Stop {
    /// The log refuses it.
    Refused(Refused),
    /// The disk fails.
    Failed(StoreError),
}

impl<D: Disk> Store<D> {
    /// Whether retention waits for records to be carried on. Says so once for each time that it looked.
    pub fn wants_carry(&self) -> bool {
        self.carry_wanted.take() && self.state.borrow().log.leads()
    }

    /// Carries on what waits in the oldest segment. Returns whether nothing is left there: then it can go. `seen` hears
    /// of each record that was appended. Errors: the disk's.
    pub async fn carry_on<P, F>(
        &self,
        now: i64,
        mut seen: impl FnMut(Carried<'_>),
        pause: &P,
    ) -> Result<bool, StoreError>
    where
        P: Fn() -> F,
        F: Future<Output = ()>,
    {
        let Some(index) = self.oldest_whole() else { return Ok(false) };
        let to = index.head().to;
        let for_good = self.state.borrow().derived.holds_back_for_good();
        if for_good.is_some_and(|held| held < to) {
            return Ok(false);
        }
        let Some(all) = self.waiting_in(&index, pause).await? else { return Ok(false) };
        for some in all.chunks(AT_ONCE) {
            match self.carry_some(some, now, &mut seen).await {
                Ok(()) => {}
                Err(Stop::Refused(refused)) => {
                    let shard = self.settings.shard;
                    tracing::debug!(shard, %refused, "records wait to be carried on");
                    return Ok(false);
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
            let appended = self.state.borrow().log.appended();
            self.wait_durable(appended).await?;
        }
        // Somebody may have taken one, to deliver it.
        let left = self.waiting_in(&index, pause).await?;
        if left.is_none_or(|left| !left.is_empty()) {
            return Ok(false);
        }
        self.state.borrow_mut().derived.deferred.free_before(to);
        if !all.is_empty() {
            let (shard, segment) = (self.settings.shard, index.head().segment);
            tracing::info!(shard, segment, records = all.len(), "what waits was carried on");
        }
        Ok(true)
    }

    /// The records that wait in the segment of an index. `None`: so many that carrying them frees nothing.
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
        let (mut all, mut bytes, mut too_many) = (Vec::new(), 0, false);
        let visit = |record: Due| {
            if self.state.borrow().derived.deferred.waits((record.due, record.position)) {
                bytes += u64::from(record.bytes);
                too_many |= bytes > bytes_max || all.len() == RECORDS_MAX;
                if !too_many {
                    all.push(record);
                }
            }
        };
        self.visit_file(index, visit, pause).await?;
        Ok((!too_many).then_some(all))
    }

    async fn carry_some(
        &self,
        some: &[Due],
        now: i64,
        seen: &mut impl FnMut(Carried<'_>),
    ) -> Result<(), Stop> {
        let begin = |due: &&Due| {
            let deferred = &mut self.state.borrow_mut().derived.deferred;
            deferred.begin_carry((due.due, due.position))
        };
        let begun: Vec<Due> = some.iter().filter(begin).copied().collect();
        let records = self.read_due(&begun).await;
        let mut stop = None;
        for (due, record) in begun.iter().zip(records) {
            let carried = match record {
                _ if stop.is_some() => false,
                Ok(Some(record)) => match self.carry_one(due, record, now, seen) {
                    Ok(()) => true,
                    Err(refused) => {
                        stop = Some(Stop::Refused(refused));
                        false
                    }
                },
                // Who delivers it notes that it is lost.
                Ok(None) => false,
                Err(error) => {
                    stop = Some(Stop::Failed(error));
                    false
                }
            };
            if !carried {
                self.state.borrow_mut().derived.deferred.keep(due.due, due.position);
            }
        }
        self.appended();
        stop.map_or(Ok(()), Err)
    }

    fn carry_one(
        &self,
        due: &Due,
        mut record: Vec<u8>,
        now: i64,
        seen: &mut impl FnMut(Carried<'_>),
    ) -> Result<(), Refused> {
        let entry = ControlEntry::Carried { due: due.due, position: due.position };
        let mut state = self.state.borrow_mut();
        state.admit_group(&entry, record.len())?;
        let view = RecordView::parse(&record).expect("it was checked when it was read");
        let (topic, queue_id) = (view.topic(), view.queue_id().cast_unsigned());
        let slot = state.queue_slot(topic, queue_id);
        let hashes: Vec<u32> = match self.settings.index_keys {
            true => keys_of(view.properties_text()).map(|key| key_hash(topic, key)).collect(),
            false => Vec::new(),
        };
        let message = Append { slot, bytes: record.len(), tags_code: due.due, keys: &hashes };
        let (control_at, placed) = state.append_group(&entry, message, now, |placed, out| {
            proto::record::patch(&mut record, placed.queue_offset, placed.physical.to_wire(), now);
            out.copy_from_slice(&record);
        });
        drop(state);
        seen(Carried { control_at, entry, placed, record: &record });
        Ok(())
    }
}
