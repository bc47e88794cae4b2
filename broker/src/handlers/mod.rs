//! From a frame to its response: routing, forwarding, the check of rights and answering are here, once for all
//! requests; [`table`] lists them, one file per family does what they ask for.
//!
//! A request is admitted where its socket is, run where its queue is, and answered where its socket is. Sends and pulls
//! have typed operations of their own, without a task (but to create a topic or a group, and to read from the disk). A pop is
//! a task without a permit, because it may wait: [`crate::pop_waits`] says how many there may be.
//! Everything else is a plain function on its owner, or one task.

pub mod allocation;
pub mod ask_client;
pub mod assignment;
pub mod auth_admin;
pub mod broker_config;
pub mod broker_stats;
pub mod cleanups;
pub mod client_lifecycle;
pub mod clone_offsets;
pub mod consume_queue;
pub mod consume_stats;
pub mod consume_times;
pub mod consumer_offset;
pub mod consumer_status;
pub mod corrections;
#[cfg(test)]
mod deletion_tests;
pub mod end_transaction;
pub mod explain_access;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod group_queries;
pub mod groups;
mod large_body;
pub(crate) mod patience;
pub mod plain_accounts;
pub mod pop;
pub mod producers;
pub mod pull;
pub mod query_message;
pub mod queue_locks;
pub mod recall;
pub mod refused_codes;
pub mod reset_offsets;
pub mod resume_check;
pub mod rights;
pub mod runtime_info;
pub mod send;
pub mod send_back;
pub mod send_reply;
pub mod shard_report;
pub mod table;
#[cfg(test)]
mod tests;
pub mod topics;
pub mod view_message;
pub mod waiting;
pub mod whole_table;

use crate::{
    control::{Control, turns::Turn},
    error::Refusal,
    request::{KeptRequest, Request},
    response::{Responder, Response},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    command::decode,
    frame::{Frame, next_frame},
};
use remoting::Peer;
use runtime::Moment;
use std::{future::Future, rc::Rc};
use table::{Line, Run, ServedBy};

/// What a request counts for at least that the control worker or a task serves: by default sixteen are in flight.
const LONG_REQUEST_BYTES: usize = 512 * 1024;

/// What a request with a large response counts for in its connection's limit besides its own bytes.
const LARGE_RESPONSE_BYTES: usize = 256 * 1024;

/// What a request that waits until metadata is durable counts for in its connection's limit besides its own bytes: no
/// less than one that another worker sent on.
const DURABILITY_BYTES: usize = 16 * 1024;

/// The frame's header cannot be read; the connection is out of step and must end.
#[derive(Debug)]
pub struct OutOfStep(pub String);

/// Serves a frame that came from a connection of this worker. `acquire` is called with how much it counts for
/// until it is answered.
pub fn serve_frame(
    worker: &Rc<Worker>,
    peer: &Peer,
    frame: &Frame<'_>,
    bytes: &[u8],
    now: Moment,
    acquire: impl FnOnce(u32),
) -> Result<(), OutOfStep> {
    let mut arena = worker.arena.borrow_mut();
    let header = decode(frame.kind, frame.header, &mut arena)
        .map_err(|error| OutOfStep(error.to_string()))?;
    if header.is_response() {
        worker.client_calls.borrow_mut().on_response(peer.connection, &header, frame.body);
        return Ok(());
    }
    let line = table::line_of(header.code);
    let weight = weight_of(line, frame.wire_bytes);
    acquire(weight);
    let responder =
        Responder::new(peer.connection, header.opaque, frame.kind, header.is_oneway(), weight);
    let Moment { wall: now, uptime } = now;
    let request = Request { header, body: frame.body, frame: bytes, peer, now, uptime };
    let Some(line) = line else {
        worker.respond(responder, refused_codes::refusal(request.header.code).into());
        return Ok(());
    };
    match rights::check(worker, line, &request) {
        Ok(()) => serve(worker, line, &request, responder),
        Err(refusal) => worker.respond(responder, refusal.into()),
    }
    Ok(())
}

/// Bytes that a request counts for until it is answered. What the control worker does, or a task, takes longer than its
/// size says: with some in flight the connection is not read, so that a client that sends them back to back makes others
/// wait for some of them, not for all.
fn weight_of(line: Option<&Line>, wire_bytes: usize) -> u32 {
    let long = (16 * wire_bytes).max(LONG_REQUEST_BYTES);
    let weight = match line.map(|line| &line.run) {
        Some(Run::OnControl(_)) => long + DURABILITY_BYTES,
        Some(Run::LargeTask(_)) => long + LARGE_RESPONSE_BYTES,
        Some(Run::Task(_) | Run::Patient(_) | Run::OnWorker(_)) => long,
        _ => wire_bytes,
    };
    u32::try_from(weight).unwrap_or(u32::MAX)
}

/// Serves a request whose whole frame was kept: another worker sent it on, or it waited for something. Its sender's rights
/// were checked when it arrived.
pub fn serve_kept(worker: &Rc<Worker>, kept: KeptRequest) {
    with_request(worker, kept, |request, responder| {
        let line = table::line_of(request.header.code).expect("only what has a line is kept");
        serve(worker, line, request, responder);
    });
}

fn with_request(
    worker: &Rc<Worker>,
    kept: KeptRequest,
    serve: impl FnOnce(&Request<'_>, Responder),
) {
    let KeptRequest { responder, peer, frame: bytes } = kept;
    let frame = match next_frame(&bytes) {
        Ok(Some(frame)) => frame,
        _ => unreachable!("only whole frames are sent on"),
    };
    let mut arena = worker.arena.borrow_mut();
    match decode(frame.kind, frame.header, &mut arena) {
        Ok(header) => {
            let Moment { wall: now, uptime } = worker.executor.moment();
            let (body, frame) = (frame.body, &bytes[..]);
            serve(&Request { header, body, frame, peer: &peer, now, uptime }, responder);
        }
        Err(error) => worker.respond(responder, Refusal::from(error).into()),
    }
}

fn serve(worker: &Rc<Worker>, line: &Line, request: &Request<'_>, responder: Responder) {
    match line.run {
        Run::Message(serve) | Run::Patient(serve) => serve(worker, request, responder),
        _ => match host_of(worker, line, request) {
            Ok(host) if host == worker.executor.index() => run(worker, line, request, responder),
            Ok(host) => worker.forward(host, request, responder, Response::from),
            Err(refusal) => worker.respond(responder, refusal.into()),
        },
    }
}

/// Number of the worker that serves a request.
fn host_of(worker: &Worker, line: &Line, request: &Request<'_>) -> Result<usize, Refusal> {
    Ok(match line.served_by {
        ServedBy::Here => worker.executor.index(),
        ServedBy::Control => CONTROL_WORKER,
        ServedBy::Queue => {
            let place = request.queue()?;
            worker.host_of(worker.owner_of(place.topic, place.queue_id))
        }
        ServedBy::LogPosition => {
            worker.host_of(view_message::place(worker.shard_count, request)?.shard())
        }
    })
}

fn run(worker: &Rc<Worker>, line: &Line, request: &Request<'_>, responder: Responder) {
    match line.run {
        Run::OnQueue(run) => {
            let ran = run_on_queue(worker, request, run);
            worker.respond(responder, ran.unwrap_or_else(Response::from));
        }
        Run::OnControl(run) => {
            let turns = &worker.control_plane().turns;
            if turns.must_wait(&worker.executor) {
                return turns.push(request.keep(responder));
            }
            run_on_control(worker, request, responder, run);
        }
        Run::OnWorker(run) => {
            let ran = run(worker, request);
            worker.respond(responder, ran.unwrap_or_else(Response::from));
        }
        Run::Task(begin) | Run::LargeTask(begin) => begin_task(worker, request, responder, begin),
        Run::Message(_) | Run::Patient(_) => unreachable!("served already"),
    }
}

/// Only requests that are tasks from their beginning need a permit, and have it before they change anything: nothing
/// that was changed is answered "busy".
fn begin_task(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    responder: Responder,
    begin: table::Begin,
) {
    let open = match worker.open_request() {
        Ok(open) => open,
        Err(refusal) => return worker.respond(responder, refusal.into()),
    };
    let answering = begin(Rc::clone(worker), request);
    spawn(worker, responder, async move {
        let response = answering.await;
        drop(open);
        response
    });
}

/// Serves what waits for its turn at the control worker, until the end.
pub async fn serve_turns(worker: Rc<Worker>) {
    let plane = worker.control_plane();
    let serve = |turn| match turn {
        Turn::End(connection) => plane.connection_closed(&worker, connection),
        Turn::Request(kept) => with_request(&worker, kept, |request, responder| {
            match table::line_of(request.header.code).map(|line| line.run) {
                Some(Run::OnControl(run)) => run_on_control(&worker, request, responder, run),
                _ => unreachable!("only requests of the control worker wait there"),
            }
        }),
    };
    plane.turns.serve(&worker.executor, serve).await;
}

fn run_on_queue(
    worker: &Worker,
    request: &Request<'_>,
    run: table::QueueFunction,
) -> Result<Response, Refusal> {
    let place = request.queue()?;
    let shard = worker.hosted_shard(worker.owner_of(place.topic, place.queue_id));
    run(&mut shard.store.state_mut(), &worker.metadata.borrow(), place, request)
}

/// Answers once everything that was decided so far is durable: mostly at once.
///
/// Who waits for that needs no permit: the change is made, and a heartbeat that is refused ends a member. What waits is
/// bounded all the same: each counts for its connection, which is not read above its limit, and one write of the
/// metadata ends the wait of all.
fn run_on_control(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    responder: Responder,
    run: table::ControlFunction,
) {
    let plane = worker.control_plane();
    let ran = plane.change(worker, |control| run(control, request));
    if plane.is_shown() {
        return worker.respond(responder, ran.unwrap_or_else(Response::from));
    }
    let shown = Rc::clone(worker);
    spawn(worker, responder, async move {
        shown.control_plane().shown(None, None).await?;
        ran
    });
}

/// The task of one administrative request.
fn spawn(
    worker: &Rc<Worker>,
    responder: Responder,
    answering: impl Future<Output = Result<Response, Refusal>> + 'static,
) {
    let answered = Rc::clone(worker);
    worker.executor.spawn(async move {
        let response = answering.await;
        answered.respond(responder, response.unwrap_or_else(Response::from));
    });
}

/// What a message needs and the metadata snapshot does not show.
enum Needed<'a> {
    Topic(&'a str),
    Group(&'a str),
}

/// Has the control worker make a topic, and waits until it is durable and shown.
pub(crate) async fn make_topic(
    worker: &Rc<Worker>,
    topic: String,
    make: impl FnOnce(&mut Control, i64) -> Result<(), Refusal> + Send + 'static,
) -> Result<(), Refusal> {
    worker
        .on_task(CONTROL_WORKER, move |there| async move {
            let now = there.executor.now();
            let plane = there.control_plane();
            plane.change(&there, |control| make(control, now))?;
            plane.shown(Some(&topic), None).await
        })
        .await
}

/// The group of a pull or a pop is unknown here: the control owner creates it, and the request goes on from there.
fn create_group_and_serve_again(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    responder: Responder,
    group: &str,
) {
    let create = |control: &mut Control| {
        let found = control.group(request.now, group)?;
        found.map(drop).ok_or_else(|| Refusal::group_not_exist(group))
    };
    let needed = Needed::Group(group);
    create_and_serve_again(worker, request, responder, needed, create, Response::from);
}

/// Has the control worker create what a message needs, and serves the message again when that is durable and shown. `refused`
/// makes the answer to a message of this kind that is not served.
fn create_and_serve_again(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    responder: Responder,
    needed: Needed<'_>,
    create: impl FnOnce(&mut Control) -> Result<(), Refusal>,
    refused: fn(Refusal) -> Response,
) {
    let Some(plane) = &worker.control else {
        return worker.forward(CONTROL_WORKER, request, responder, refused);
    };
    let open = worker.open_request();
    let created = open.and_then(|open| plane.change(worker, create).map(|()| open));
    let open = match created {
        Ok(open) => open,
        Err(refusal) => return worker.respond(responder, refused(refusal)),
    };
    let kept = request.keep(responder);
    let created = Rc::clone(worker);
    let (topic, group) = match needed {
        Needed::Topic(topic) => (Some(topic.to_owned()), None),
        Needed::Group(group) => (None, Some(group.to_owned())),
    };
    worker.executor.spawn(async move {
        let shown = created.control_plane().shown(topic.as_deref(), group.as_deref()).await;
        drop(open);
        match shown {
            Ok(()) => serve_kept(&created, kept),
            Err(refusal) => created.respond(kept.responder, refused(refusal)),
        }
    });
}
