//! What arrives at a worker from others: each message to whom it is for. The one receiver of the mesh.

use crate::{
    handlers::{self, pull, send},
    mailbox::CoreMessage,
    worker::Worker,
};
use std::rc::Rc;

/// Begins to receive. Messages that came before are received now.
pub fn open(worker: &Rc<Worker>) {
    let receiver = Rc::downgrade(worker);
    worker.mesh.receive(move |_, message| {
        if let Some(worker) = receiver.upgrade() {
            on_message(&worker, message);
        }
    });
}

fn on_message(worker: &Rc<Worker>, message: CoreMessage) {
    match message {
        CoreMessage::Request(request) => handlers::serve_kept(worker, *request),
        CoreMessage::Append(op) => {
            let shard = worker.hosted_shard(op.shard);
            send::run(worker, shard, *op, worker.executor.now());
        }
        CoreMessage::Pull(op) => {
            let shard = worker.hosted_shard(op.pull.shard);
            pull::run_forwarded(worker, shard, *op, worker.executor.uptime());
        }
        CoreMessage::Respond(responder, response) => worker.respond(responder, response),
        CoreMessage::Notice(notice) => worker.on_notice(notice),
        CoreMessage::Push(connection, frame) => worker.push(connection, &frame),
        CoreMessage::Call(address, run) => run(worker, address),
        CoreMessage::Return(number, value) => {
            worker.pending_returns.borrow_mut().complete(number, value);
        }
    }
}
