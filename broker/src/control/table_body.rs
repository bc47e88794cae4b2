//! The body of an answer that names a whole table (all topics, all groups), encoded once for all who ask.
//!
//! A table of 50,000 topics is eight megabytes of JSON. It is kept in one piece per bucket of the [`SharedTable`], so that
//! a change makes one piece in 256 stale, and is brought up to date one bucket at a time ([`TableBody::encode_bucket`]), so
//! that who does it can let others run in between. What is handed out ([`SharedBody`]) holds the pieces and copies nothing.
//! Pure: no I/O, no clock, no tasks; `handlers::whole_table` calls it. What always holds: a body belongs to one version
//! of the table and fits a frame; bodies of former versions that slow readers still hold are bounded.

use super::shared_table::{BUCKETS, Bucket, SharedTable, entries};
use crate::error::Refusal;
use proto::{
    body::{
        DataVersion,
        pieces::{TABLE_END, begin_table, table_entry},
    },
    code::response,
    frame::FRAME_BYTES_MAX,
};
use remoting::{BodyPiece, BodyWatch, SharedBody};
use std::sync::Arc;

/// Entries of a body, bytes: what a frame holds besides its header, the version and the member's name, for which this is
/// more than enough.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64 * 1024;
/// Bodies of former versions that somebody may still hold, bytes. Beyond it nobody gets a newer one.
const FORMER_BYTES_MAX: usize = 256 << 20;

/// The encoded form of one table.
pub struct TableBody<V> {
    /// Name of the table in the body.
    member: &'static str,
    write: fn(&V, &mut Vec<u8>),
    body_bytes_max: usize,
    /// By bucket; none at all when nothing is encoded.
    pieces: Vec<Piece<V>>,
    /// Bytes of all entries.
    entry_bytes: usize,
    /// Entries encoded since the start.
    encoded: u64,
    last: Option<Last<V>>,
    former: Vec<BodyWatch>,
}

/// The encoded entries of a bucket, each with a comma before it.
struct Piece<V> {
    bucket: Arc<Bucket<V>>,
    bytes: usize,
    /// Not there when the table is too large for an answer anyway.
    json: Option<Arc<[u8]>>,
}

/// What was put together last.
struct Last<V> {
    table: SharedTable<V>,
    version: DataVersion,
    body: SharedBody,
}

impl<V> TableBody<V> {
    /// Nothing is encoded yet. `member` names the table in the body, `write` appends a value.
    pub fn new(member: &'static str, write: fn(&V, &mut Vec<u8>)) -> TableBody<V> {
        TableBody {
            member,
            write,
            body_bytes_max: BODY_BYTES_MAX,
            pieces: Vec::new(),
            entry_bytes: 0,
            encoded: 0,
            last: None,
            former: Vec::new(),
        }
    }

    /// The body of this version, if it was put together already.
    pub fn current(&self, table: &SharedTable<V>, version: DataVersion) -> Option<SharedBody> {
        let last = self.last.as_ref()?;
        let same = last.version == version && last.table.is_same(table);
        same.then(|| last.body.clone())
    }

    /// Numbers of the buckets that have to be encoded before a body of `table` can be put together.
    pub fn stale_buckets(&self, table: &SharedTable<V>) -> Vec<usize> {
        (0..BUCKETS).filter(|index| self.is_stale(table.bucket(*index), *index)).collect()
    }

    fn is_stale(&self, bucket: &Arc<Bucket<V>>, index: usize) -> bool {
        self.pieces.get(index).is_none_or(|piece| {
            let missing = piece.json.is_none() && self.fits();
            missing || !Arc::ptr_eq(&piece.bucket, bucket)
        })
    }

    fn fits(&self) -> bool {
        self.entry_bytes <= self.body_bytes_max
    }

    /// Encodes one bucket of `table`, if that is necessary: a few hundred entries at most.
    pub fn encode_bucket(&mut self, table: &SharedTable<V>, index: usize) {
        if self.pieces.is_empty() {
            let none = |_| Piece { bucket: Arc::default(), bytes: 0, json: Some([].into()) };
            self.pieces = (0..BUCKETS).map(none).collect();
        }
        let bucket = table.bucket(index);
        if !self.is_stale(bucket, index) {
            return;
        }
        let mut json = Vec::with_capacity(self.pieces[index].bytes);
        for (name, value) in entries(bucket) {
            table_entry(&mut json, name, |out| (self.write)(value, out));
            self.encoded += 1;
        }
        let before = self.pieces[index].bytes;
        self.entry_bytes = self.entry_bytes - before + json.len();
        let piece =
            Piece { bucket: Arc::clone(bucket), bytes: json.len(), json: Some(json.into()) };
        self.pieces[index] = piece;
        if !self.fits() {
            // Only counted from now on.
            self.pieces.iter_mut().for_each(|piece| piece.json = None);
            self.last = None;
        }
    }

    /// Puts the body together, whose buckets are all encoded; or says why there is none.
    pub fn assemble(
        &mut self,
        table: &SharedTable<V>,
        version: DataVersion,
    ) -> Result<SharedBody, Refusal> {
        if let Some(body) = self.current(table, version) {
            return Ok(body);
        }
        assert!(self.pieces.len() == BUCKETS, "encoded before it is put together");
        if !self.fits() {
            return Err(too_large(self.member, table.len(), self.entry_bytes, self.body_bytes_max));
        }
        self.former.retain(|body| body.held_bytes() > 0);
        let former: usize = self.former.iter().map(BodyWatch::held_bytes).sum();
        if former > FORMER_BYTES_MAX {
            return Err(Refusal::new(
                response::SYSTEM_BUSY,
                format!(
                    "[OVERLOAD] reason=slow-readers held={former} limit={FORMER_BYTES_MAX}: former answers with \
                     {} are still being read",
                    self.member
                ),
            ));
        }
        let mut beginning = Vec::new();
        begin_table(&mut beginning, &version, self.member);
        let mut pieces = vec![BodyPiece::new(beginning.into(), 0)];
        let mut comma_bytes = 1;
        for json in self.pieces.iter().filter_map(|piece| piece.json.as_ref()) {
            if !json.is_empty() {
                pieces.push(BodyPiece::new(Arc::clone(json), std::mem::take(&mut comma_bytes)));
            }
        }
        pieces.push(BodyPiece::new(TABLE_END.into(), 0));
        let body = SharedBody::new(pieces);
        self.former.push(body.watch());
        self.last = Some(Last { table: table.clone(), version, body: body.clone() });
        Ok(body)
    }

    /// Gives back all memory.
    pub fn forget(&mut self) {
        self.pieces = Vec::new();
        self.entry_bytes = 0;
        self.last = None;
    }

    /// Entries that were encoded since the start: what all answers together have cost.
    pub fn encoded_entries(&self) -> u64 {
        self.encoded
    }
}

fn too_large(member: &str, count: usize, bytes: usize, limit: usize) -> Refusal {
    Refusal::system_error(format!(
        "{member} with {count} entries takes {bytes} bytes, an answer holds {limit}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::body::{TopicConfig, TopicConfigTable};

    fn table(count: usize) -> SharedTable<TopicConfig> {
        let mut table = SharedTable::default();
        (0..count).for_each(|number| put(&mut table, &format!("topic-{number}"), 4));
        table
    }

    fn put(table: &mut SharedTable<TopicConfig>, name: &str, queues: i32) {
        let config = TopicConfig {
            topic_name: name.to_owned(),
            read_queue_nums: queues,
            ..TopicConfig::default()
        };
        table.insert(name, Arc::new(config));
    }

    fn topics() -> TableBody<TopicConfig> {
        TableBody::new("topicConfigTable", TopicConfig::write)
    }

    fn version(counter: i64) -> DataVersion {
        DataVersion { timestamp: 1, counter }
    }

    /// As the task does it that builds a body; returns how many buckets were encoded.
    fn refresh(body: &mut TableBody<TopicConfig>, table: &SharedTable<TopicConfig>) -> usize {
        let mut encoded = 0;
        loop {
            let stale = body.stale_buckets(table);
            if stale.is_empty() {
                return encoded;
            }
            encoded += stale.len();
            stale.into_iter().for_each(|index| body.encode_bucket(table, index));
        }
    }

    fn read(body: &SharedBody) -> TopicConfigTable {
        TopicConfigTable::read(&body.to_vec()).expect("our own body")
    }

    #[test]
    fn a_body_has_the_version_and_every_entry() {
        for count in [0, 1, 2, 3_000] {
            let (mut topics, table) = (topics(), table(count));
            refresh(&mut topics, &table);
            let body = topics.assemble(&table, version(5)).unwrap();
            let read = read(&body);
            assert_eq!(read.data_version, version(5));
            assert_eq!(read.topic_config_table.len(), count);
            for (name, config) in table.iter() {
                assert_eq!(read.topic_config_table.get(name), Some(&**config));
            }
        }
    }

    #[test]
    fn a_change_costs_one_bucket_and_asking_again_nothing() {
        let (mut topics, mut table) = (topics(), table(3_000));
        refresh(&mut topics, &table);
        let first = topics.assemble(&table, version(1)).unwrap();
        assert_eq!(topics.encoded_entries(), 3_000);
        for _ in 0..1_000 {
            assert!(topics.current(&table, version(1)).is_some());
            assert_eq!(refresh(&mut topics, &table), 0);
        }
        let mut encoded = topics.encoded_entries();
        put(&mut table, "topic-7", 8);
        assert!(topics.current(&table, version(2)).is_none());
        assert_eq!(refresh(&mut topics, &table), 1);
        assert!(topics.encoded_entries() - encoded < 100, "{}", topics.encoded_entries());
        let second = topics.assemble(&table, version(2)).unwrap();
        assert_eq!(read(&first).topic_config_table["topic-7"].read_queue_nums, 4);
        assert_eq!(read(&second).topic_config_table["topic-7"].read_queue_nums, 8);

        encoded = topics.encoded_entries();
        table.remove("topic-8");
        refresh(&mut topics, &table);
        let third = topics.assemble(&table, version(3)).unwrap();
        assert_eq!(read(&third).topic_config_table.len(), 2_999);
        assert!(topics.encoded_entries() - encoded < 100);
        // The version moves without a change of the table, too.
        let fourth = topics.assemble(&table, version(4)).unwrap();
        assert_eq!(read(&fourth).data_version, version(4));
        assert_eq!(refresh(&mut topics, &table), 0);
    }

    #[test]
    fn buckets_that_change_while_others_are_encoded_do_not_mix_versions() {
        let (mut topics, mut table) = (topics(), table(500));
        let seen = table.clone();
        for index in 0..BUCKETS {
            topics.encode_bucket(&seen, index);
            put(&mut table, &format!("topic-{index}"), 9);
        }
        assert!(topics.stale_buckets(&seen).is_empty());
        let body = topics.assemble(&seen, version(1)).unwrap();
        assert!(read(&body).topic_config_table.values().all(|config| config.read_queue_nums == 4));
        refresh(&mut topics, &table);
        let body = topics.assemble(&table, version(2)).unwrap();
        let nines = read(&body).topic_config_table;
        assert_eq!(nines.values().filter(|config| config.read_queue_nums == 9).count(), BUCKETS);
    }

    #[test]
    fn a_table_that_fits_no_frame_is_refused_with_numbers_until_it_does() {
        let (mut topics, mut table) = (topics(), table(1_000));
        topics.body_bytes_max = 100_000;
        refresh(&mut topics, &table);
        let refusal = topics.assemble(&table, version(1)).unwrap_err();
        assert_eq!(refusal.code, response::SYSTEM_ERROR);
        let bytes = topics.entry_bytes.to_string();
        for part in ["topicConfigTable", "1000 entries", bytes.as_str(), "100000"] {
            assert!(refusal.remark.contains(part), "{part} in {}", refusal.remark);
        }
        assert!(topics.pieces.iter().all(|piece| piece.json.is_none()), "nothing is kept in vain");
        assert_eq!(refresh(&mut topics, &table), 0, "refusing again costs nothing");
        (0..600).for_each(|number| drop(table.remove(&format!("topic-{number}"))));
        refresh(&mut topics, &table);
        let body = topics.assemble(&table, version(2)).unwrap();
        assert_eq!(read(&body).topic_config_table.len(), 400);
        assert!(body.len() <= 100_000 + 200);
    }

    #[test]
    fn former_bodies_that_are_held_are_bounded() {
        let (mut topics, mut table) = (topics(), table(60_000));
        let mut held = Vec::new();
        let refused = (0..1_000).find_map(|number| {
            put(&mut table, "topic-1", number);
            refresh(&mut topics, &table);
            let assembled = topics.assemble(&table, version(i64::from(number)));
            assembled.map(|body| held.push(body)).err()
        });
        let refusal = refused.expect("refused some day");
        assert_eq!(refusal.code, response::SYSTEM_BUSY);
        assert!(refusal.remark.contains("reason=slow-readers"), "{}", refusal.remark);
        let bytes: usize = held.iter().map(SharedBody::len).sum();
        assert!((FORMER_BYTES_MAX..FORMER_BYTES_MAX + BODY_BYTES_MAX).contains(&bytes), "{bytes}");
        held.clear();
        assert!(topics.assemble(&table, version(0)).is_ok());
        topics.forget();
        assert_eq!(refresh(&mut topics, &table), BUCKETS);
    }
}
