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
    mailbox::CoreMessage,
    request::Request,
    response::{Responder, Response},
    worker::Worker,
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
pub struct KeyReport {
    hits: Vec<Hit>,
    /// Store time and place up to which messages can be found, of the shard that was written last.
    indexed: (i64, i64),
}

impl KeyReport {
    /// Takes in what others know, and keeps the newest that one answer may have.
    fn merge(&mut self, other: KeyReport, query: &KeyQuery) {
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

    fn into_answer(mut self) -> Response {
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
        Response::Body(body, ext)
    }
}

struct Open {
    responder: Responder,
    query: Box<KeyQuery>,
    missing: usize,
    report: Result<KeyReport, Refusal>,
}

/// The queries of one executor's connections.
#[derive(Default)]
pub struct Queries {
    open: AHashMap<u64, Open>,
    line: VecDeque<(Responder, Box<KeyQuery>)>,
    next: u64,
}

impl Queries {
    fn open(&mut self, responder: Responder, query: Box<KeyQuery>, executors: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        let open = Open { responder, query, missing: executors, report: Ok(KeyReport::default()) };
        self.open.insert(number, open);
        number
    }

    /// Takes in what one executor told. Returns reply and answer when it was the last.
    fn on_report(
        &mut self,
        number: u64,
        reported: Result<KeyReport, Refusal>,
    ) -> Option<(Responder, Response)> {
        let open = self.open.get_mut(&number)?;
        match (&mut open.report, reported) {
            (Ok(report), Ok(more)) => report.merge(more, &open.query),
            (report @ Ok(_), Err(refusal)) => *report = Err(refusal),
            (Err(_), _) => {}
        }
        open.missing -= 1;
        if open.missing > 0 {
            return None;
        }
        let Open { responder, report, .. } = self.open.remove(&number)?;
        Some((responder, report.map_or_else(Response::from, KeyReport::into_answer)))
    }
}

/// Serves the request from its connection's executor.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, mut responder: Responder) {
    let query = match admit(&worker.config, request) {
        Ok(query) => Box::new(query),
        Err(refusal) => return worker.respond(responder, refusal.into()),
    };
    if let Some(write_buffer) = worker.connections.borrow().get(responder.connection) {
        write_buffer.acquire(QUERY_BYTES as usize);
        responder.charge = responder.charge.saturating_add(QUERY_BYTES);
    }
    let mut queries = worker.queries.borrow_mut();
    if queries.line.len() >= LINE_MAX {
        drop(queries);
        let remark = format!("[OVERLOAD] reason=key-queries waiting={LINE_MAX} limit={LINE_MAX}");
        return worker.respond(responder, Refusal::new(response::SYSTEM_BUSY, remark).into());
    }
    queries.line.push_back((responder, query));
    drop(queries);
    open_waiting(worker);
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
fn open_waiting(worker: &Rc<Worker>) {
    loop {
        let mut queries = worker.queries.borrow_mut();
        if queries.open.len() >= OPEN_MAX {
            return;
        }
        let Some((responder, query)) = queries.line.pop_front() else { return };
        let executors = worker.executor.count();
        let number = queries.open(responder, query.clone(), executors);
        drop(queries);
        for executor in 0..executors {
            ask(worker, executor, number, query.clone());
        }
    }
}

fn ask(worker: &Rc<Worker>, executor: usize, number: u64, query: Box<KeyQuery>) {
    if executor == worker.executor.index() {
        return look(worker, executor, number, query);
    }
    if worker.try_send_request(executor, CoreMessage::FindKey(number, query)).is_err() {
        take(worker, number, Err(Refusal::lane_full(executor)));
    }
}

/// Executor `asker` asks what the shards here know.
pub fn look(worker: &Rc<Worker>, asker: usize, number: u64, query: Box<KeyQuery>) {
    let reading = Rc::clone(worker);
    let submitted = worker.cold_reads.submit((), move |()| {
        Box::pin(async move {
            let found = find(&reading, &query).await.map_err(|error| {
                tracing::error!(%error, "a query by key failed");
                Refusal::from(error)
            });
            if asker == reading.executor.index() {
                on_report(&reading, number, found);
            } else {
                reading.send(asker, CoreMessage::KeyReport(number, Box::new(found)));
            }
        })
    });
    let Err(((), refusal)) = submitted else { return };
    if asker == worker.executor.index() {
        take(worker, number, Err(refusal));
    } else {
        worker.send(asker, CoreMessage::KeyReport(number, Box::new(Err(refusal))));
    }
}

async fn find(worker: &Worker, query: &KeyQuery) -> Result<KeyReport, StoreError> {
    let mut all = KeyReport::default();
    for shard in &worker.hosted {
        let extent = shard.store.extent();
        let found = shard.store.find_by_key(query, &|| worker.executor.yield_now()).await?;
        let hits = found.into_iter().filter_map(|(store_ms, record)| {
            let physical = RecordView::parse(&record).ok()?.physical_offset();
            Some(Hit { store_ms, physical, record })
        });
        let place = PhysicalOffset::new(shard.number, extent.end).to_wire();
        let part = KeyReport { hits: hits.collect(), indexed: (extent.last_ms, place) };
        all.merge(part, query);
    }
    Ok(all)
}

/// A worker has reported what its shards know.
pub fn on_report(worker: &Rc<Worker>, number: u64, found: Result<KeyReport, Refusal>) {
    take(worker, number, found);
    open_waiting(worker);
}

fn take(worker: &Rc<Worker>, number: u64, found: Result<KeyReport, Refusal>) {
    let concluded = worker.queries.borrow_mut().on_report(number, found);
    let Some((responder, response)) = concluded else { return };
    let full = worker
        .connections
        .borrow()
        .get(responder.connection)
        .is_some_and(|write_buffer| write_buffer.above_high_watermark());
    if full && matches!(response, Response::Body(..)) {
        let remark = "[OVERLOAD] reason=connection-clogged: its answers are not read";
        return worker.respond(responder, Refusal::new(response::SYSTEM_BUSY, remark).into());
    }
    worker.respond(responder, response);
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

    fn part(hits: &[(i64, i64, u8)], indexed: (i64, i64)) -> KeyReport {
        let hit = |&(store_ms, physical, bytes)| Hit {
            store_ms,
            physical,
            record: vec![physical as u8; usize::from(bytes)],
        };
        KeyReport { hits: hits.iter().map(hit).collect(), indexed }
    }

    fn merged(query: &KeyQuery) -> KeyReport {
        let mut all = KeyReport::default();
        all.merge(part(&[(10, 1, 1), (30, 2, 1), (50, 3, 1)], (50, 4)), query);
        all.merge(part(&[(20, 101, 1), (40, 102, 1)], (40, 103)), query);
        all
    }

    #[test]
    fn the_newest_of_all_shards_are_answered_in_order_of_place() {
        let Response::Body(body, ext) = merged(&query(3, 100)).into_answer() else {
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
        let Response::Body(body, _) = merged(&query(5, 2)).into_answer() else {
            panic!("there are messages")
        };
        assert_eq!(body, [3, 102]);
        let mut large = KeyReport::default();
        large.merge(part(&[(1, 1, 9), (2, 2, 9)], (2, 3)), &query(5, 2));
        assert!(matches!(large.into_answer(), Response::Body(body, _) if body == [2; 9]));
    }

    #[test]
    fn nothing_found_is_java_s_code() {
        let Response::Refused(refusal) = KeyReport::default().into_answer() else {
            panic!("there is no message")
        };
        assert_eq!(refusal.code, response::QUERY_NOT_FOUND);
    }
}
