//! VIEW_MESSAGE_BY_ID: one record by its physical offset, which routes itself to the shard whose log holds it.

use crate::{
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::request::ViewMessageHeader;
use remoting::ConnectionId;
use std::rc::Rc;
use store::PhysicalOffset;

/// The place that the request names, in a store of `shards`.
pub fn place(shards: u16, request: &Request<'_>) -> Result<PhysicalOffset, Refusal> {
    place_at(shards, ViewMessageHeader::from_ext(&request.header.ext)?.offset)
}

/// The place of a physical offset as clients know it.
pub(super) fn place_at(shards: u16, offset: i64) -> Result<PhysicalOffset, Refusal> {
    let place = PhysicalOffset::from_wire(offset).filter(|place| place.shard() < shards);
    place.ok_or_else(|| not_found(offset))
}

fn not_found(offset: i64) -> Refusal {
    Refusal::system_error(format!("can not find message by the offset, {offset}"))
}

/// Serves the request where the log is.
pub fn view(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let place = place(worker.shard_count, request);
    let asker = request.peer.connection;
    Box::pin(async move { read(worker, asker, place?).await.map(Response::body) })
}

/// A record that a worker's shard holds, read for a connection.
pub(super) async fn read(
    worker: Rc<Worker>,
    asker: ConnectionId,
    place: PhysicalOffset,
) -> Result<Vec<u8>, Refusal> {
    let store = Rc::clone(&worker.hosted_shard(place.shard()).store);
    let record = async move { store.read_record(place.position()).await };
    let record = worker.cold_reads.read(asker, record).await??;
    record.ok_or_else(|| not_found(place.to_wire()))
}
