//! The body of an answer that names a whole table (all topics, all groups), encoded once for all who ask.
//!
//! A table of 50,000 topics is eight megabytes of JSON. It is kept in one piece per bucket of the [`SharedTable`], so that
//! a change makes one piece in 256 stale, and is brought up to date one bucket at a time ([`TableBody::encode_bucket`]), so
//! that who does it can let others run in between. What is handed out ([`SharedBody`]) holds the pieces and copies nothing.
//! Pure: no I/O, no clock, no tasks; `handlers::whole_table` calls it. What always holds: a body belongs to one version
//! of the table and fits a frame; nothing of a former version is kept for its own sake. What slow readers still hold of
//! former bodies is counted, each piece once, in [`TableMemory`]: beyond its share nobody gets a newer body.

use super::shared_table::{BUCKETS, Bucket, SharedTable, entries};
use crate::{error::Refusal, table_memory::TableMemory};
use proto::{
    body::{
        DataVersion,
        pieces::{TABLE_END, begin_table, table_entry},
    },
    code::response,
    frame::FRAME_BYTES_MAX,
};
use remoting::{BodyPiece, SharedBody};
use std::{
    rc::Rc,
    sync::{Arc, Weak},
};

/// Entries of a body, bytes: what a frame holds besides its header, the version and the member's name, for which this is
/// more than enough.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - 64 * 1024;
/// Of a body, its entries aside: the list of its pieces, the version.
const BODY_LIST_BYTES: usize = (BUCKETS + 2) * size_of::<BodyPiece>() + 256;

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
    last: Option<Last>,
    former: Former,
    memory: Rc<TableMemory>,
}

/// What is no part of the present body and was held by somebody when it ceased to be one.
#[derive(Default)]
struct Former {
    bodies: Vec<SharedBody>,
    pieces: Vec<Arc<[u8]>>,
    /// Of both, as [`TableMemory`] counts them.
    bytes: usize,
}

/// The encoded entries of a bucket, each with a comma before it.
struct Piece<V> {
    /// What was encoded. It is not kept: entries that are gone from the table are gone.
    bucket: Weak<Bucket<V>>,
    bytes: usize,
    /// Not there when the table is too large for an answer anyway.
    json: Option<Arc<[u8]>>,
}

impl<V> Piece<V> {
    /// Of nothing.
    fn none() -> Piece<V> {
        Piece { bucket: Weak::new(), bytes: 0, json: Some([].into()) }
    }
}

/// What was put together last, of the pieces that are there.
struct Last {
    version: DataVersion,
    body: SharedBody,
}

impl<V> TableBody<V> {
    /// Nothing is encoded yet. `member` names the table in the body, `write` appends a value.
    pub fn new(
        member: &'static str,
        write: fn(&V, &mut Vec<u8>),
        memory: Rc<TableMemory>,
    ) -> TableBody<V> {
        TableBody {
            member,
            write,
            body_bytes_max: BODY_BYTES_MAX,
            pieces: Vec::new(),
            entry_bytes: 0,
            encoded: 0,
            last: None,
            former: Former::default(),
            memory,
        }
    }

    /// The body of this version, if it was put together already.
    pub fn current(&self, table: &SharedTable<V>, version: DataVersion) -> Option<SharedBody> {
        let last = self.last.as_ref()?;
        let fresh = |index| !self.is_stale(table.bucket(index), index);
        let same = last.version == version && (0..BUCKETS).all(fresh);
        same.then(|| last.body.clone())
    }

    /// Numbers of the buckets that have to be encoded before a body of `table` can be put together.
    pub fn stale_buckets(&self, table: &SharedTable<V>) -> Vec<usize> {
        (0..BUCKETS).filter(|index| self.is_stale(table.bucket(*index), *index)).collect()
    }

    fn is_stale(&self, bucket: &Arc<Bucket<V>>, index: usize) -> bool {
        self.pieces.get(index).is_none_or(|piece| {
            let missing = piece.json.is_none() && self.fits();
            missing || piece.bucket.as_ptr() != Arc::as_ptr(bucket)
        })
    }

    fn fits(&self) -> bool {
        self.entry_bytes <= self.body_bytes_max
    }

    /// Encodes one bucket of `table`, if that is necessary: a few hundred entries at most. Refused while slow readers hold
    /// too much of former bodies.
    pub fn encode_bucket(&mut self, table: &SharedTable<V>, index: usize) -> Result<(), Refusal> {
        if self.pieces.is_empty() {
            self.pieces = (0..BUCKETS).map(|_| Piece::none()).collect();
        }
        let bucket = table.bucket(index);
        if !self.is_stale(bucket, index) {
            return Ok(());
        }
        self.retire_last();
        let held = |json: &&Arc<[u8]>| Arc::strong_count(json) > 1;
        if let Some(json) = self.pieces[index].json.as_ref().filter(held) {
            self.check_former(json.len())?;
        }
        self.retire_piece(index);
        let mut json = Vec::new();
        for (name, value) in entries(bucket) {
            table_entry(&mut json, name, |out| (self.write)(value, out));
            self.encoded += 1;
        }
        self.entry_bytes += json.len();
        let (bucket, bytes) = (Arc::downgrade(bucket), json.len());
        self.pieces[index] = Piece { bucket, bytes, json: Some(json.into()) };
        if !self.fits() {
            // Only counted from now on.
            for index in 0..BUCKETS {
                let Piece { bucket, bytes, .. } = self.retire_piece(index);
                self.entry_bytes += bytes;
                self.pieces[index] = Piece { bucket, bytes, json: None };
            }
        }
        Ok(())
    }

    /// The last body is not the present one any more.
    fn retire_last(&mut self) {
        if let Some(Last { body, .. }) = self.last.take()
            && body.holders() > 1
        {
            self.former.bodies.push(body);
            self.count_former(BODY_LIST_BYTES);
        }
    }

    /// Takes a piece out. No last body has it.
    fn retire_piece(&mut self, index: usize) -> Piece<V> {
        assert!(self.last.is_none(), "retired first");
        let piece = std::mem::replace(&mut self.pieces[index], Piece::none());
        self.entry_bytes -= piece.bytes;
        if let Some(json) = &piece.json
            && Arc::strong_count(json) > 1
        {
            self.former.pieces.push(Arc::clone(json));
            self.count_former(json.len());
        }
        piece
    }

    fn count_former(&mut self, more: usize) {
        self.memory.replace_former_answers(self.former.bytes, self.former.bytes + more);
        self.former.bytes += more;
    }

    /// Refuses when slow readers hold so much that `more` is too much.
    fn check_former(&mut self, more: usize) -> Result<(), Refusal> {
        let fits = |memory: &TableMemory| {
            let (bytes, share) = memory.former_answers();
            bytes.saturating_add(more) <= share
        };
        if fits(&self.memory) {
            return Ok(());
        }
        self.release_former();
        if fits(&self.memory) {
            return Ok(());
        }
        let (bytes, share) = self.memory.former_answers();
        Err(Refusal::new(
            response::SYSTEM_BUSY,
            format!(
                "[OVERLOAD] reason=slow-readers held={bytes} limit={share} (memoryBudgetMiB): former answers with {} \
                 are still being read",
                self.member
            ),
        ))
    }

    /// Housekeeping: lets go what nobody reads any more.
    pub fn release_former(&mut self) {
        let Former { bodies, pieces, bytes } = &mut self.former;
        // Bodies first: they hold pieces.
        bodies.retain(|body| body.holders() > 1);
        pieces.retain(|piece| Arc::strong_count(piece) > 1);
        let held: usize = pieces.iter().map(|piece| piece.len()).sum();
        let held = held + bodies.len() * BODY_LIST_BYTES;
        self.memory.replace_former_answers(*bytes, held);
        *bytes = held;
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
        self.retire_last();
        self.check_former(0)?;
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
        self.last = Some(Last { version, body: body.clone() });
        Ok(body)
    }

    /// Gives back all memory, but for what is still being read.
    pub fn forget(&mut self) {
        self.retire_last();
        (0..self.pieces.len()).for_each(|index| drop(self.retire_piece(index)));
        self.pieces = Vec::new();
    }

    /// Gives back what is no part of `table` any more.
    pub fn forget_stale(&mut self, table: &SharedTable<V>) {
        if self.pieces.is_empty() || !self.fits() {
            return;
        }
        for index in self.stale_buckets(table) {
            self.retire_last();
            self.retire_piece(index);
        }
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
    use crate::table_memory::TableLimits;
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
        TableBody::new("topicConfigTable", TopicConfig::write, Rc::default())
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
            stale.into_iter().for_each(|index| body.encode_bucket(table, index).expect("room"));
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
            topics.encode_bucket(&seen, index).expect("room");
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

    /// A share of `bytes` for former bodies.
    fn limited(bytes: usize) -> (TableBody<TopicConfig>, Rc<TableMemory>) {
        let memory = Rc::<TableMemory>::default();
        memory.limit(TableLimits { former_answers_bytes: bytes, ..TableLimits::NONE });
        let body = TableBody::new("topicConfigTable", TopicConfig::write, Rc::clone(&memory));
        (body, memory)
    }

    fn build(
        body: &mut TableBody<TopicConfig>,
        table: &SharedTable<TopicConfig>,
        counter: i64,
    ) -> Result<SharedBody, Refusal> {
        for index in body.stale_buckets(table) {
            body.encode_bucket(table, index)?;
        }
        body.assemble(table, version(counter))
    }

    /// Goal: slow readers of as many versions as they like hold no more than the share, counted as the memory that it is;
    /// the present version is answered meanwhile, and the next ones once they are gone.
    #[test]
    fn former_bodies_that_are_held_are_bounded() {
        let share = 300_000;
        let (mut topics, memory) = limited(share);
        let mut table = table(60_000);
        let mut held = Vec::new();
        let refused = (0..10_000).find_map(|number| {
            put(&mut table, &format!("topic-{number}"), 9);
            let built = build(&mut topics, &table, number);
            let (bytes, _) = memory.former_answers();
            // The list of the last body is what it is.
            assert!(bytes <= share + BODY_LIST_BYTES, "{bytes}");
            built.map(|body| held.push(body)).err()
        });
        let refusal = refused.expect("refused some day");
        assert_eq!(refusal.code, response::SYSTEM_BUSY);
        for part in ["reason=slow-readers", "limit=300000", "memoryBudgetMiB"] {
            assert!(refusal.remark.contains(part), "{}", refusal.remark);
        }
        // Versions of ten megabytes share nearly everything.
        assert!(held.len() > 3, "{}", held.len());
        assert!(held[0].len() > 20 * share);
        let (before, _) = memory.former_answers();
        assert!(build(&mut topics, &table, 10_001).is_err(), "as long as they are held");
        assert_eq!(memory.former_answers().0, before, "refusing takes nothing");
        held.clear();
        assert!(build(&mut topics, &table, 10_002).is_ok());
        assert_eq!(memory.former_answers().0, 0);
        topics.forget();
        assert_eq!(refresh(&mut topics, &table), BUCKETS);
    }

    /// Goal: what is gone from the table is not kept by answers, unless it is being read: then it counts.
    #[test]
    fn what_is_gone_is_given_back() {
        let (mut topics, memory) = limited(0);
        let mut table = table(3_000);
        let reader = build(&mut topics, &table, 1).unwrap();
        let entry = Arc::downgrade(table.get("topic-7").expect("it is there"));
        assert!(topics.current(&table, version(1)).is_some());
        (0..3_000).for_each(|number| drop(table.remove(&format!("topic-{number}"))));
        assert!(entry.upgrade().is_none(), "no entry is kept");
        topics.forget_stale(&table);
        let (held, _) = memory.former_answers();
        assert!(held > reader.len() && held < reader.len() + 2 * BODY_LIST_BYTES, "{held}");
        assert_eq!(memory.level().0, held, "beyond their share they count");
        assert!(build(&mut topics, &table, 2).is_err());
        drop(reader);
        topics.release_former();
        assert_eq!(memory.level().0, 0);
        let empty = build(&mut topics, &table, 2).unwrap();
        topics.forget();
        assert_eq!(memory.former_answers().0, BODY_LIST_BYTES, "who reads it still holds it");
        drop(empty);
    }
}
