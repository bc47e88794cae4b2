//! What arrives at a worker from others: each message to whom it is for. The one receiver of the mesh.

use crate::{
    gather::ShardReport,
    handlers::{self, pull, query_message, send},
    mailbox::CoreMessage,
    shard::Shard,
    worker::Worker,
};
use std::rc::Rc;

/// Begins to receive. Messages that came before are received now.
pub fn open(worker: &Rc<Worker>) {
    let receiver = Rc::downgrade(worker);
    worker.mesh.receive(move |from, message| {
        if let Some(worker) = receiver.upgrade() {
            on_message(&worker, from, message);
        }
    });
}

fn on_message(worker: &Rc<Worker>, from: usize, message: CoreMessage) {
    match message {
        CoreMessage::Request(forwarded) => handlers::serve_forwarded(worker, *forwarded),
        CoreMessage::Append(op) => {
            let shard = hosted(worker, op.shard);
            send::run(worker, shard, *op, worker.executor.now());
        }
        CoreMessage::Pull(op) => {
            let shard = hosted(worker, op.shard);
            pull::run(worker, shard, *op, worker.executor.now());
        }
        CoreMessage::Respond(responder, response) => worker.respond(responder, response),
        CoreMessage::Notice(notice) => worker.on_notice(notice),
        CoreMessage::Push(connection, frame) => worker.push(connection, &frame),
        CoreMessage::Query(number, query) => {
            let mut report = ShardReport::default();
            for shard in &worker.hosted {
                report.add(&query, shard);
            }
            worker.send(from, CoreMessage::Report(number, Box::new(report)));
        }
        CoreMessage::Report(number, report) => {
            if let Some(plane) = &worker.control {
                plane.on_report(worker, number, *report);
            }
        }
        CoreMessage::FindKey(number, query) => query_message::look(worker, from, number, query),
        CoreMessage::KeyReport(number, found) => {
            query_message::on_report(worker, number, *found);
        }
    }
}

fn hosted(worker: &Worker, shard: u16) -> &Rc<Shard> {
    worker.shard(shard).expect("workers agree on who hosts a shard")
}
