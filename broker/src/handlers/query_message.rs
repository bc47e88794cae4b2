//! QUERY_MESSAGE: messages by one of their keys, or by the unique key that their producer gave them, over every shard.
//!
//! The worker of the connection asks all workers. Each looks into the logs that it hosts, as a reader of cold data; the
//! newest of all messages found are answered, ascending by physical offset as Java does. Only so many queries of a
//! worker are open at once, and each holds a bounded number of bytes: the rest waits. Codes are those of
//! `QueryMessageProcessor` (4.9.8); times are compared to the millisecond, where Java's index knows whole seconds.

use crate::{
    config::BrokerConfig,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{code::response, record::RecordView, request::QueryMessageHeader};
use remoting::{Clogged, ConnectionId};
use std::{cmp::Reverse, rc::Rc};
use store::{PhysicalOffset, StoreError, lookup::KeyQuery};

/// Bytes of the records of an answer, but for a single one that is larger: half of a frame, so that eight open queries
/// of two shards hold 128 MiB at most.
const BODY_BYTES_MAX: usize = proto::frame::FRAME_BYTES_MAX / 2;
/// A message that was found.
pub struct Hit {
    store_ms: i64,
    physical: i64,
    record: Vec<u8>,
}

/// What one worker, or several together, have found.
#[derive(Default)]
pub struct FoundMessages {
    hits: Vec<Hit>,
    /// Store time and place up to which messages can be found, of the shard that was written last.
    indexed: (i64, i64),
}

impl FoundMessages {
    /// Takes in what others know, and keeps the newest that one answer may have.
    fn merge(&mut self, other: FoundMessages, query: &KeyQuery) {
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

    /// The response, unless it is too large for what the connection takes now. That nothing was found is small.
    fn into_response(
        mut self,
        clogged: impl Fn(usize) -> Option<Clogged>,
    ) -> Result<Response, Refusal> {
        if self.hits.is_empty() {
            let remark = "no message has this key in this range of time";
            return Err(Refusal::new(response::QUERY_NOT_FOUND, remark));
        }
        let bytes = self.hits.iter().map(|hit| hit.record.len()).sum();
        if let Some(clogged) = clogged(bytes) {
            let remark = format!("[OVERLOAD] reason=connection-clogged {clogged}");
            return Err(Refusal::new(response::SYSTEM_BUSY, remark));
        }
        self.hits.sort_unstable_by_key(|hit| hit.physical);
        let body = self.hits.into_iter().flat_map(|hit| hit.record).collect();
        let (time, place) = self.indexed;
        let ext = vec![
            ("indexLastUpdateTimestamp", time.to_string()),
            ("indexLastUpdatePhyoffset", place.to_string()),
        ];
        Ok(Response::Body(body, ext))
    }
}

/// Serves the request from its connection's worker.
pub fn query(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let admitted = admit(&worker.config(), request);
    let connection = request.peer.connection;
    Box::pin(async move {
        let (query, by_unique_key) = admitted?;
        let _permit = worker.key_queries.acquire().await.map_err(|limit| {
            let remark = format!("[OVERLOAD] reason=key-queries waiting={limit} limit={limit}");
            Refusal::new(response::SYSTEM_BUSY, remark)
        })?;
        let mut all = look_everywhere(&worker, connection, &query).await?;
        if all.hits.is_empty() && by_unique_key {
            // Clients ask for times from that of the producer's clock on, which the key holds; it may have been ahead.
            let (begin, end) = query.store_ms;
            let earlier = (i64::MIN, end.min(begin.saturating_sub(1)));
            let earlier = KeyQuery { store_ms: earlier, ..query };
            all = look_everywhere(&worker, connection, &earlier).await?;
        }
        let write_buffer = worker.connections.borrow().get(connection).cloned();
        all.into_response(|bytes| write_buffer.as_ref()?.takes(bytes).err())
    })
}

/// What all workers know.
async fn look_everywhere(
    worker: &Rc<Worker>,
    asker: ConnectionId,
    query: &KeyQuery,
) -> Result<FoundMessages, Refusal> {
    let asked = query.clone();
    let mut all = FoundMessages::default();
    for found in worker.gather_from_workers(move |there| look(there, asker, asked)).await {
        all.merge(found?, query);
    }
    Ok(all)
}

/// What is looked for, and whether by unique key.
fn admit(config: &BrokerConfig, request: &Request<'_>) -> Result<(KeyQuery, bool), Refusal> {
    let header = QueryMessageHeader::from_ext(&request.header.ext)?;
    if !config.message_index_enable {
        let remark = "messages of this broker cannot be found by key: messageIndexEnable=false";
        return Err(Refusal::system_error(remark));
    }
    let wanted = if header.unique_key_query {
        config.default_query_max_num
    } else {
        // Java answers a negative number with the failure of an allocation (code 1), 0 with "not found".
        let max_num = header.max_num;
        u32::try_from(max_num).map_err(|_| {
            Refusal::system_error(format!("maxNum={max_num}: expected a number of messages"))
        })?
    };
    let query = KeyQuery {
        topic: header.topic.into(),
        key: header.key.into(),
        store_ms: (header.begin_timestamp, header.end_timestamp),
        count_max: wanted.min(config.max_msgs_num_batch) as usize,
        bytes_max: BODY_BYTES_MAX,
    };
    Ok((query, header.unique_key_query))
}

/// What the shards here know.
async fn look(
    worker: Rc<Worker>,
    asker: ConnectionId,
    query: KeyQuery,
) -> Result<FoundMessages, Refusal> {
    let reading = Rc::clone(&worker);
    let found = worker.cold_reads.read(asker, async move { find(&reading, &query).await }).await?;
    found.map_err(|error| {
        tracing::error!(%error, "a query by key failed");
        Refusal::from(error)
    })
}

async fn find(worker: &Worker, query: &KeyQuery) -> Result<FoundMessages, StoreError> {
    let mut all = FoundMessages::default();
    for shard in &worker.hosted {
        let extent = shard.store.extent();
        let found = shard.store.find_by_key(query, &|| worker.executor.yield_now()).await?;
        let hits = found.into_iter().filter_map(|(store_ms, record)| {
            let physical = RecordView::parse(&record).ok()?.physical_offset();
            Some(Hit { store_ms, physical, record })
        });
        let place = PhysicalOffset::new(shard.number, extent.end).to_wire();
        let part = FoundMessages { hits: hits.collect(), indexed: (extent.last_ms, place) };
        all.merge(part, query);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{with_request, write_buffer};

    fn query(count_max: usize, bytes_max: usize) -> KeyQuery {
        KeyQuery {
            topic: "t".into(),
            key: "k".into(),
            store_ms: (0, i64::MAX),
            count_max,
            bytes_max,
        }
    }

    fn clogged() -> Clogged {
        let unread = write_buffer();
        unread.write(|out| out.resize(1 << 20, 0));
        unread.takes(1).expect_err("it reads nothing")
    }

    fn part(hits: &[(i64, i64, u8)], indexed: (i64, i64)) -> FoundMessages {
        let hit = |&(store_ms, physical, bytes)| Hit {
            store_ms,
            physical,
            record: vec![physical as u8; usize::from(bytes)],
        };
        FoundMessages { hits: hits.iter().map(hit).collect(), indexed }
    }

    fn merged(query: &KeyQuery) -> FoundMessages {
        let mut all = FoundMessages::default();
        all.merge(part(&[(10, 1, 1), (30, 2, 1), (50, 3, 1)], (50, 4)), query);
        all.merge(part(&[(20, 101, 1), (40, 102, 1)], (40, 103)), query);
        all
    }

    #[test]
    fn a_number_of_messages_that_is_none_is_refused() {
        let admitted = |max_num: &str, unique: &str| {
            let fields = [
                ("topic", "t"),
                ("key", "k"),
                ("maxNum", max_num),
                ("beginTimestamp", "0"),
                ("endTimestamp", "9"),
                ("_UNIQUE_KEY_QUERY", unique),
            ];
            with_request(12, &fields, b"", |request| admit(&BrokerConfig::default(), request))
        };
        let refused = admitted("-1", "false").map(drop).expect_err("less than none");
        assert_eq!(refused.code, response::SYSTEM_ERROR);
        assert_eq!(refused.remark, "maxNum=-1: expected a number of messages");
        let count = |max_num, unique| admitted(max_num, unique).map(|(query, _)| query.count_max);
        assert_eq!([count("0", "false"), count("5", "false")], [Ok(0), Ok(5)]);
        assert_eq!([count("1000", "false"), count("-1", "true")], [Ok(64), Ok(32)]);
    }

    #[test]
    fn the_newest_of_all_shards_are_answered_in_order_of_place() {
        let Ok(Response::Body(body, ext)) = merged(&query(3, 100)).into_response(|_| None) else {
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
        let Ok(Response::Body(body, _)) = merged(&query(5, 2)).into_response(|_| None) else {
            panic!("there are messages")
        };
        assert_eq!(body, [3, 102]);
        let mut large = FoundMessages::default();
        large.merge(part(&[(1, 1, 9), (2, 2, 9)], (2, 3)), &query(5, 2));
        assert!(
            matches!(large.into_response(|_| None), Ok(Response::Body(body, _)) if body == [2; 9])
        );
    }

    #[test]
    fn nothing_found_is_java_s_code() {
        let Err(refusal) = FoundMessages::default().into_response(|_| Some(clogged())) else {
            panic!("there is no message")
        };
        assert_eq!(refusal.code, response::QUERY_NOT_FOUND, "however clogged");
    }

    #[test]
    fn messages_are_kept_from_a_connection_that_does_not_read() {
        let found = merged(&query(3, 100)).into_response(|bytes| {
            assert_eq!(bytes, 3);
            Some(clogged())
        });
        let refused = found.expect_err("refused");
        assert_eq!(refused.code, response::SYSTEM_BUSY);
        assert!(refused.remark.contains("memoryBudgetMiB"), "{}", refused.remark);
    }
}
