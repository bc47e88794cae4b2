//! A message by its place in the log, which its id names. Clients may name any place.
//!
//! The CRC that a record brings along covers only its body, and a body may hold what looks like a record of this very
//! place. So it is compared with its entry; where that says nothing (its topic was deleted, or what is damaged are the
//! fields that lead to the entry) the batch that it lies in has to be whole.

use crate::{
    batch::{Entries, Entry, HEADER_BYTES, Header, MAGIC, PAYLOAD_BYTES_MAX},
    consume_queue::record_check,
    error::StoreError,
    store::Store,
};
use proto::record::RecordView;
use runtime::Disk;

/// What is known of what looks like a record.
enum Verdict {
    Whole,
    Damaged,
    /// It is part of something else.
    NoMessage,
    /// It has no entry.
    Open,
    /// Its entry is in an index file that is damaged.
    Unreadable(StoreError),
}

impl<D: Disk> Store<D> {
    /// The record at `position`, if one begins exactly there and is what was appended. Errors: the disk's; a damaged
    /// index file without which nobody can tell.
    pub async fn read_record(&self, position: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(record) = self.record_at(position).await? else { return Ok(None) };
        let mut verdict = self.by_entry(position, &record).await?;
        if let Verdict::Open | Verdict::Unreadable(_) = verdict {
            verdict = match (self.by_batch(position, &record).await?, verdict) {
                (Verdict::Damaged, Verdict::Unreadable(error)) => return Err(error),
                (verdict, _) => verdict,
            };
        }
        if matches!(verdict, Verdict::Damaged) && self.is_in_segment(position) {
            let shard = self.settings.shard;
            tracing::error!(shard, position, "a message is lost to damage on disk");
            self.tally.damaged_records.set(self.tally.damaged_records.get() + 1);
        }
        Ok(matches!(verdict, Verdict::Whole).then_some(record))
    }

    /// What looks like a record of this place: its size and its body are right, everything else is yet to be checked.
    pub(crate) async fn record_at(&self, position: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let segment = self.settings.layout.start_of(position);
        let segment_bytes = self.settings.layout.bytes_of(segment);
        let within = position - segment;
        if within < HEADER_BYTES as u64 || within + 64 > segment_bytes {
            return Ok(None);
        }
        let Some(prefix) = self.read_log(position, 8).await? else { return Ok(None) };
        let Some((size, magic)) = prefix.split_first_chunk::<4>() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*size) as usize;
        let possible = magic == proto::record::MAGIC_V1.to_be_bytes()
            && bytes <= self.settings.record_bytes_max
            && within + bytes as u64 <= segment_bytes;
        if !possible {
            return Ok(None);
        }
        let Some(record) = self.read_log(position, bytes).await? else { return Ok(None) };
        Ok(self.check_record(position, &record).is_ok().then_some(record))
    }

    /// What the entry says that the record itself names. One of another place belongs to a topic of the same name that
    /// was made later, or the record names the wrong one.
    async fn by_entry(&self, position: u64, record: &[u8]) -> Result<Verdict, StoreError> {
        let Ok(view) = RecordView::parse(record) else { return Ok(Verdict::Damaged) };
        let Ok(queue_id) = u32::try_from(view.queue_id()) else { return Ok(Verdict::Damaged) };
        let entry = match self.entry_at(view.topic(), queue_id, view.queue_offset()).await {
            Ok(entry) => entry.filter(|entry| entry.position() == position && entry.bytes() > 0),
            Err(error @ StoreError::Malformed { .. }) => return Ok(Verdict::Unreadable(error)),
            Err(error) => return Err(error),
        };
        Ok(match entry {
            None => Verdict::Open,
            Some(entry) => {
                let same = entry.bytes() as usize == record.len();
                let whole = same && entry.check() == record_check(record);
                if whole { Verdict::Whole } else { Verdict::Damaged }
            }
        })
    }

    /// What the batch around the record says, if it is whole itself.
    async fn by_batch(&self, position: u64, record: &[u8]) -> Result<Verdict, StoreError> {
        let Some(header) = self.batch_around(position, record.len()).await? else {
            return Ok(Verdict::Damaged);
        };
        let whole = HEADER_BYTES + header.payload_bytes as usize;
        let batch = self.read_log(header.position, whole).await?.unwrap_or_default();
        let Some((head, payload)) = batch.split_at_checked(HEADER_BYTES) else {
            return Ok(Verdict::NoMessage);
        };
        if Header::check_payload(head, payload).is_err() {
            return Ok(Verdict::Damaged);
        }
        let begins_here = |entry: Result<Entry<'_>, _>| match entry {
            Ok(Entry::Record { position: at, bytes }) => at == position && bytes == record,
            _ => false,
        };
        let found = Entries::new(payload, header.position).any(begins_here);
        Ok(if found { Verdict::Whole } else { Verdict::NoMessage })
    }

    /// The header of the batch that holds `bytes` at `position`. Only one that holds a single record may reach further
    /// than [`PAYLOAD_BYTES_MAX`].
    async fn batch_around(
        &self,
        position: u64,
        bytes: usize,
    ) -> Result<Option<Header>, StoreError> {
        let segment = self.settings.layout.start_of(position);
        let reach = (HEADER_BYTES + PAYLOAD_BYTES_MAX) as u64;
        let from = position.saturating_sub(reach).max(segment);
        let Some(before) = self.read_log(from, (position - from) as usize).await? else {
            return Ok(None);
        };
        let end = position + bytes as u64;
        let found = memchr::memmem::rfind_iter(&before, &MAGIC).find_map(|at| {
            let header = Header::decode(&before[at..], from + at as u64, self.settings.log_id);
            header.ok().filter(|header| header.end() >= end)
        });
        Ok(found)
    }
}
