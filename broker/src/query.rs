//! QUERY_MESSAGE: messages by one of their keys, or by the unique key that their producer gave them, over every shard.
//!
//! The executor of the connection asks all executors. Each looks into the logs that it hosts, as a reader of cold data,
//! and tells what it found; when the last one has told, the newest of all are answered, ascending by physical offset as
//! Java does. Only so many queries of an executor are open at once, and each holds a bounded number of bytes: the rest
//! waits in a line. Codes are those of `QueryMessageProcessor` (4.9.8); times are compared to the millisecond, where
//! Java's index knows whole seconds.

use crate::{
    config::BrokerConfig,
    error::Refusal,
    front::dispatch::Request,
    letter::{Answer, Letter, Reply},
    shard::Shard,
};
use ahash::AHashMap;
use proto::{code::response, record::RecordView, request::QueryMessageHeader};
use std::{cmp::Reverse, collections::VecDeque, rc::Rc};
use store::{PhysicalOffset, StoreError, lookup::KeyQuery};

/// Queries of one executor's connections that may be open at once.
const OPEN_MAX: usize = 8;
/// Queries that may wait for that; more are refused.
const LINE_MAX: usize = 1_024;
/// Bytes of the records of an answer, but for a single one that is larger: half of a frame, so that eight open queries
/// of two shards hold 128 MiB at most.
const BODY_BYTES_MAX: usize = proto::frame::FRAME_BYTES_MAX / 2;
/// What a query counts for in its connection's limit besides its own bytes: its answer may be large.
const QUERY_BYTES: u32 = 256 * 1024;

/// A message that was found.
pub struct Hit {
    store_ms: i64,
    physical: i64,
    record: Vec<u8>,
}

/// What one executor, or several together, know.
#[derive(Default)]
pub struct Findings {
    hits: Vec<Hit>,
    /// Store time and place up to which messages can be found, of the shard that was written last.
    indexed: (i64, i64),
}

impl Findings {
    /// Takes in what others know, and keeps the newest that one answer may have.
    fn merge(&mut self, other: Findings, query: &KeyQuery) {
        self.indexed = self.indexed.max(other.indexed);
        self.hits.extend(other.hits);
        self.hits.sort_unstable_by_key(|hit| Reverse((hit.store_ms, hit.physical)));
        let mut bytes = 0;
        let mut count = 0;
        self.hits.retain(|hit| {
            bytes += hit.record.len();
            count += 1;
            count == 1 || (count <= query.count_max && bytes <= query.bytes_max)
        });
    }

    fn into_answer(mut self) -> Answer {
        if self.hits.is_empty() {
            let remark = "no message has this key in this range of time";
            return Refusal::new(response::QUERY_NOT_FOUND, remark).into();
        }
        self.hits.sort_unstable_by_key(|hit| hit.physical);
        let body = self.hits.into_iter().flat_map(|hit| hit.record).collect();
        let (time, place) = self.indexed;
        let ext = vec![
            ("indexLastUpdateTimestamp", time.to_string()),
            ("indexLastUpdatePhyoffset", place.to_string()),
        ];
        Answer::Body(body, ext)
    }
}

struct Open {
    reply: Reply,
    query: Box<KeyQuery>,
    missing: usize,
    findings: Result<Findings, Refusal>,
}

/// The queries of one executor's connections.
#[derive(Default)]
pub struct Queries {
    open: AHashMap<u64, Open>,
    line: VecDeque<(Reply, Box<KeyQuery>)>,
    next: u64,
}

impl Queries {
    fn open(&mut self, reply: Reply, query: Box<KeyQuery>, executors: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        let open = Open { reply, query, missing: executors, findings: Ok(Findings::default()) };
        self.open.insert(number, open);
        number
    }

    /// Takes in what one executor told. Returns reply and answer when it was the last.
    fn told(&mut self, number: u64, told: Result<Findings, Refusal>) -> Option<(Reply, Answer)> {
        let open = self.open.get_mut(&number)?;
        match (&mut open.findings, told) {
            (Ok(findings), Ok(more)) => findings.merge(more, &open.query),
            (findings @ Ok(_), Err(refusal)) => *findings = Err(refusal),
            (Err(_), _) => {}
        }
        open.missing -= 1;
        if open.missing > 0 {
            return None;
        }
        let Open { reply, findings, .. } = self.open.remove(&number)?;
        Some((reply, findings.map_or_else(Answer::from, Findings::into_answer)))
    }
}

/// Serves the request from its connection's executor.
pub fn serve(shard: &Rc<Shard>, request: &Request<'_>, mut reply: Reply) {
    let query = match admit(&shard.config, request) {
        Ok(query) => Box::new(query),
        Err(refusal) => return shard.answer(reply, refusal.into()),
    };
    if let Some(outbox) = shard.front.borrow().get(reply.connection) {
        outbox.charge(QUERY_BYTES as usize);
        reply.charge = reply.charge.saturating_add(QUERY_BYTES);
    }
    let mut queries = shard.queries.borrow_mut();
    if queries.line.len() >= LINE_MAX {
        drop(queries);
        let remark = format!("[OVERLOAD] reason=key-queries waiting={LINE_MAX} limit={LINE_MAX}");
        return shard.answer(reply, Refusal::new(response::SYSTEM_BUSY, remark).into());
    }
    queries.line.push_back((reply, query));
    drop(queries);
    open_waiting(shard);
}

fn admit(config: &BrokerConfig, request: &Request<'_>) -> Result<KeyQuery, Refusal> {
    let header = QueryMessageHeader::from_ext(&request.header.ext)?;
    if !config.message_index_enable {
        let remark = "messages of this broker cannot be found by key: messageIndexEnable=false";
        return Err(Refusal::system_error(remark));
    }
    let wanted = if header.unique_key_query {
        config.default_query_max_num
    } else {
        u32::try_from(header.max_num).unwrap_or(0)
    };
    Ok(KeyQuery {
        topic: header.topic.into(),
        key: header.key.into(),
        store_ms: (header.begin_timestamp, header.end_timestamp),
        count_max: wanted.min(config.max_msgs_num_batch) as usize,
        bytes_max: BODY_BYTES_MAX,
    })
}

/// Asks for what waits in the line, as far as there is room.
fn open_waiting(shard: &Rc<Shard>) {
    loop {
        let mut queries = shard.queries.borrow_mut();
        if queries.open.len() >= OPEN_MAX {
            return;
        }
        let Some((reply, query)) = queries.line.pop_front() else { return };
        let executors = shard.executor.count();
        let number = queries.open(reply, query.clone(), executors);
        drop(queries);
        for executor in 0..executors {
            ask(shard, executor, number, query.clone());
        }
    }
}

fn ask(shard: &Rc<Shard>, executor: usize, number: u64, query: Box<KeyQuery>) {
    if executor == shard.executor.index() {
        return look(shard, executor, number, query);
    }
    if shard.post_request(executor, Letter::Find(number, query)).is_err() {
        take(shard, number, Err(Refusal::lane_full(executor)));
    }
}

/// Executor `asker` asks what the shards here know.
pub fn look(shard: &Rc<Shard>, asker: usize, number: u64, query: Box<KeyQuery>) {
    let home = Rc::clone(shard);
    let submitted = shard.cold.submit((), move |()| {
        Box::pin(async move {
            let found = find(&home, &query).await.map_err(|error| {
                tracing::error!(%error, "a query by key failed");
                Refusal::from(error)
            });
            home.deliver_or_take(asker, Letter::Found(number, Box::new(found)));
        })
    });
    let Err(((), refusal)) = submitted else { return };
    if asker == shard.executor.index() {
        take(shard, number, Err(refusal));
    } else {
        shard.deliver(asker, Letter::Found(number, Box::new(Err(refusal))));
    }
}

async fn find(shard: &Shard, query: &KeyQuery) -> Result<Findings, StoreError> {
    let mut all = Findings::default();
    for queues in &shard.hosted {
        let extent = queues.store.extent();
        let found = queues.store.find_by_key(query, &|| shard.executor.turn()).await?;
        let hits = found.into_iter().filter_map(|(store_ms, record)| {
            let physical = RecordView::parse(&record).ok()?.physical_offset();
            Some(Hit { store_ms, physical, record })
        });
        let place = PhysicalOffset::new(queues.shard, extent.end).to_wire();
        let part = Findings { hits: hits.collect(), indexed: (extent.last_ms, place) };
        all.merge(part, query);
    }
    Ok(all)
}

/// An executor has told what its shards know.
pub fn told(shard: &Rc<Shard>, number: u64, found: Result<Findings, Refusal>) {
    take(shard, number, found);
    open_waiting(shard);
}

fn take(shard: &Rc<Shard>, number: u64, found: Result<Findings, Refusal>) {
    let concluded = shard.queries.borrow_mut().told(number, found);
    let Some((reply, answer)) = concluded else { return };
    let clogged =
        shard.front.borrow().get(reply.connection).is_some_and(|outbox| outbox.is_clogged());
    if clogged && matches!(answer, Answer::Body(..)) {
        let remark = "[OVERLOAD] reason=connection-clogged: its answers are not read";
        return shard.answer(reply, Refusal::new(response::SYSTEM_BUSY, remark).into());
    }
    shard.answer(reply, answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(count_max: usize, bytes_max: usize) -> KeyQuery {
        KeyQuery {
            topic: "t".into(),
            key: "k".into(),
            store_ms: (0, i64::MAX),
            count_max,
            bytes_max,
        }
    }

    fn part(hits: &[(i64, i64, u8)], indexed: (i64, i64)) -> Findings {
        let hit = |&(store_ms, physical, bytes)| Hit {
            store_ms,
            physical,
            record: vec![physical as u8; usize::from(bytes)],
        };
        Findings { hits: hits.iter().map(hit).collect(), indexed }
    }

    fn merged(query: &KeyQuery) -> Findings {
        let mut all = Findings::default();
        all.merge(part(&[(10, 1, 1), (30, 2, 1), (50, 3, 1)], (50, 4)), query);
        all.merge(part(&[(20, 101, 1), (40, 102, 1)], (40, 103)), query);
        all
    }

    #[test]
    fn the_newest_of_all_shards_are_answered_in_order_of_place() {
        let Answer::Body(body, ext) = merged(&query(3, 100)).into_answer() else {
            panic!("there are messages")
        };
        assert_eq!(body, [2, 3, 102], "times 30, 50 and 40");
        let expected = [
            ("indexLastUpdateTimestamp", "50".to_owned()),
            ("indexLastUpdatePhyoffset", "4".to_owned()),
        ];
        assert_eq!(ext, expected);
    }

    #[test]
    fn an_answer_has_a_bound_in_bytes_but_one_message_always_fits() {
        let Answer::Body(body, _) = merged(&query(5, 2)).into_answer() else {
            panic!("there are messages")
        };
        assert_eq!(body, [3, 102]);
        let mut large = Findings::default();
        large.merge(part(&[(1, 1, 9), (2, 2, 9)], (2, 3)), &query(5, 2));
        assert!(matches!(large.into_answer(), Answer::Body(body, _) if body == [2; 9]));
    }

    #[test]
    fn nothing_found_is_java_s_code() {
        let Answer::Refused(refusal) = Findings::default().into_answer() else {
            panic!("there is no message")
        };
        assert_eq!(refusal.code, response::QUERY_NOT_FOUND);
    }
}
