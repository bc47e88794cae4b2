//! POP consumption (5.x): POP_MESSAGE, ACK_MESSAGE, BATCH_ACK_MESSAGE and CHANGE_MESSAGE_INVISIBLETIME.
//!
//! A pop is checked where its socket is (`admit`). From there it asks the shards that have queues of its topic in turn
//! (`take`), and answers with what it got (`answer`). When there is nothing it waits on its worker ([`crate::pop_waits`])
//! and looks again when a shard says that there may be something. What is in flight, and with which receipt, is a state of the
//! shard ([`store::state::popped`]).

mod ack;
mod admit;
mod answer;
mod take;
#[cfg(test)]
mod tests;

pub use ack::{ack, ack_many, change_invisible};
pub(crate) use take::tell_grown;

use super::{create_group_and_serve_again, pull::admit::may_create_group};
use crate::{
    error::Refusal,
    pop_waits::{Full, Limit, Wait, Wake},
    request::Request,
    response::{PopAnswer, Responder, Response},
    shard::Shard,
    worker::{Worker, discard},
};
use admit::Pop;
use proto::{code::response, request::PopHeader};
use remoting::ConnectionId;
use runtime::{Moment, Uptime};
use std::{rc::Rc, sync::Arc, time::Duration};
use take::{Look, Taken, take};

/// What Java says when there is nothing.
const NOTHING: &str = "NO_MESSAGE_IN_QUEUE";
/// How long a pop that may not wait looks behind messages that do not match, ms.
const PASS_MS: i64 = 2_000;
/// Pause of a pop whose connection does not read its answers.
const CLOGGED_PAUSE: Duration = Duration::from_millis(200);

/// Serves a pop from its connection's worker.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    if request.peer.vip || responder.oneway {
        // As with pulls: a client that consumes over the second port is misconfigured. Without an answer nobody gets anything.
        let refusal = Refusal::unsupported(request.header.code);
        return worker.respond(responder, refusal.into());
    }
    let header = match PopHeader::from_ext(&request.header.ext) {
        Ok(header) => header,
        Err(error) => return worker.respond(responder, Refusal::from(error).into()),
    };
    let metadata = Arc::clone(&worker.metadata.borrow());
    if may_create_group(&metadata, header.consumer_group) {
        return create_group_and_serve_again(worker, request, responder, header.consumer_group);
    }
    if responder.connection.worker() != worker.executor.index() {
        // It came to the control worker to have its group made; its connection is elsewhere.
        let home = responder.connection.worker();
        return worker.forward(home, request, responder, Response::from);
    }
    let checked =
        admit::check(&worker.config(), &metadata, &worker.expressions, &header, request.now);
    let mut pop = match checked {
        Ok(pop) => pop,
        Err(refusal) => return worker.respond(responder, refusal.into()),
    };
    if pop.count_max == 0 {
        let answer = nothing(&pop, response::POLLING_TIMEOUT, NOTHING.to_owned(), 0);
        return worker.respond(responder, answer);
    }
    if let Some(behind) = worker.first_behind() {
        return worker.respond(responder, Refusal::lane_full(behind).into());
    }
    if let Some(bytes_max) = worker.connections.borrow().unsent().answer_bytes_max() {
        pop.bytes_max = pop.bytes_max.min(bytes_max);
    }
    let connection = responder.connection;
    let begun = worker.pop_waits.borrow_mut().begin(connection);
    if let Err(full) = begun {
        let answer = nothing(&pop, response::POLLING_FULL, full_text(full), 0);
        return worker.respond(responder, answer);
    }
    let running = Running { worker: Rc::clone(worker), connection };
    let deadline = request.uptime + pop.wait_ms;
    worker.executor.spawn(run(running, Arc::new(pop), deadline, responder));
}

/// A pop, from its checks to its answer.
struct Running {
    worker: Rc<Worker>,
    connection: ConnectionId,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.pop_waits.borrow_mut().end(self.connection);
    }
}

/// A pop that waits, until it is over.
struct Waiting {
    worker: Rc<Worker>,
    number: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.worker.pop_waits.borrow_mut().leave(self.number);
    }
}

async fn run(running: Running, pop: Arc<Pop>, deadline: Uptime, responder: Responder) {
    let worker = &running.worker;
    match find(worker, &pop, deadline, responder.connection).await {
        Some(answer) => worker.respond(responder, answer.unwrap_or_else(Response::from)),
        None => discard(responder),
    }
}

/// The answer to a pop. `None`: nobody is there for it.
async fn find(
    worker: &Rc<Worker>,
    pop: &Arc<Pop>,
    deadline: Uptime,
    connection: ConnectionId,
) -> Option<Result<Response, Refusal>> {
    let mut waiting: Option<Waiting> = None;
    let passes_until = deadline.max(worker.executor.uptime() + PASS_MS);
    let is_over = |until| worker.executor.uptime() >= until || worker.stopping.get();
    loop {
        let room = worker.connections.borrow().get(connection)?.takes(pop.bytes_max);
        if let Err(clogged) = room {
            // Nothing is popped for a peer that does not read.
            if let Some(Waiting { number, .. }) = &waiting {
                worker.pop_waits.borrow_mut().pass_on(*number);
            }
            if is_over(deadline) {
                let why = format!("CONNECTION_CLOGGED {clogged}");
                return Some(Ok(nothing(pop, response::POLLING_TIMEOUT, why, 0)));
            }
            worker.executor.sleep(CLOGGED_PAUSE).await;
            continue;
        }
        if let Some(Waiting { number, .. }) = &waiting {
            worker.pop_waits.borrow_mut().looks(*number);
        }
        // What a look needs is not kept while the pop waits.
        let looked = Box::pin(look(worker, pop, waiting.is_some(), connection)).await;
        let tell_next = || {
            let key = (Rc::from(pop.group.group_name.as_str()), pop.queue_id);
            worker.pop_waits.borrow_mut().tell_next(&pop.topic.topic_name, key);
        };
        let taken = match looked {
            Ok(taken) => taken,
            Err(refusal) => {
                drop(waiting.take());
                tell_next();
                return Some(Err(refusal));
            }
        };
        if taken.count() > 0 {
            drop(waiting.take());
            if taken.rest > 0 {
                tell_next();
            }
            return Some(Ok(answer::found(pop, taken)));
        }
        let why_nothing = taken.limited.as_deref().unwrap_or(NOTHING);
        let over = |code, why: &str| Some(Ok(nothing(pop, code, why.to_owned(), taken.rest)));
        worker.connections.borrow().get(connection)?;
        if taken.has_passed && !is_over(passes_until) {
            worker.executor.yield_now().await;
            continue;
        }
        let Some(Waiting { number, .. }) = &waiting else {
            if is_over(deadline) {
                return over(response::POLLING_TIMEOUT, why_nothing);
            }
            match enter(worker, pop, deadline, connection) {
                Ok(entered) => waiting = Some(entered),
                Err(full) => return over(response::POLLING_FULL, &full_text(full)),
            }
            continue;
        };
        let wake = worker.pop_waits.borrow_mut().waits(*number);
        let wake = match wake {
            Ok(wake) => wake,
            Err(wake) => wake.wait().await,
        };
        match wake {
            Wake::Look => {}
            Wake::Over => return over(response::POLLING_TIMEOUT, why_nothing),
            Wake::Gone => return None,
        }
    }
}

fn enter(
    worker: &Rc<Worker>,
    pop: &Pop,
    deadline: Uptime,
    connection: ConnectionId,
) -> Result<Waiting, Full> {
    let (topic, group) = (&*pop.topic.topic_name, &*pop.group.group_name);
    let wait = Wait { topic, group, wanted: pop.queue_id, connection, deadline };
    let entered = worker.pop_waits.borrow_mut().enter(&wait);
    let worker = Rc::clone(worker);
    entered.map(|number| Waiting { worker, number })
}

fn full_text(Full { pops, limit }: Full) -> String {
    let (of, key) = match limit {
        Limit::Group => ("of the group wait for the same", "popPollingSize"),
        Limit::Connection => ("of the connection are here", "maxPopPollingSize, memoryBudgetMiB"),
        Limit::All => ("are here", "maxPopPollingSize, memoryBudgetMiB"),
    };
    format!("POLLING_FULL {pops} pops {of} already, key={key}")
}

fn nothing(pop: &Pop, code: i32, remark: String, rest: i64) -> Response {
    let fields = answer::fields(pop, 0, rest);
    Response::Popped(Box::new(PopAnswer { code, remark: remark.into(), fields, body: Vec::new() }))
}

/// Looks at all queues of a pop, shard by shard. Few do so at once: each may bring as much as an answer holds.
async fn look(
    worker: &Rc<Worker>,
    pop: &Arc<Pop>,
    waits: bool,
    asker: ConnectionId,
) -> Result<Taken, Refusal> {
    let _turn = worker.pop_looks.take(asker).await;
    if worker.connections.borrow().get(asker).is_none() {
        // Nobody is there any more for what would be found; the next look at the connection says so.
        return Ok(Taken::default());
    }
    let mut all = Taken::default();
    for (shard, queues) in shards_of(worker, pop) {
        let look = Look {
            shard,
            queues,
            count_left: pop.count_max - all.count(),
            bytes_left: pop.bytes_max.saturating_sub(all.records.len()),
            popped_at: (all.count() > 0).then_some(all.popped_at),
            waits: waits.then(|| worker.executor.index()),
            asker,
        };
        if look.count_left == 0 || look.bytes_left == 0 {
            // Nobody knows what is there: whoever waits looks.
            all.rest += 1;
            break;
        }
        let host = worker.host_of(shard);
        let popped = Arc::clone(pop);
        let taken = worker.on_task(host, move |there| take(there, popped, look)).await;
        match taken {
            Ok(taken) => all.add(taken),
            // What others gave is in flight already.
            Err(refusal) if all.count() == 0 => return Err(refusal),
            Err(refusal) => {
                all.rest += 1;
                note_left_out(shard, &refusal);
            }
        }
    }
    Ok(all)
}

/// A part of an answer could not be read: the others are in flight, and go out without it.
fn note_left_out(shard: u16, refusal: &Refusal) {
    let Refusal { code, remark } = refusal;
    if [response::TOPIC_NOT_EXIST, response::SUBSCRIPTION_GROUP_NOT_EXIST].contains(code) {
        // It was deleted meanwhile.
        return;
    }
    tracing::warn!(shard, code, remark, "a pop is answered without some queues");
}

/// The queues of a pop by their shards, each time beginning with another one.
fn shards_of(worker: &Worker, pop: &Pop) -> Vec<(u16, Vec<u32>)> {
    let topic = &*pop.topic.topic_name;
    if let Some(queue_id) = pop.queue_id {
        return vec![(worker.owner_of(topic, queue_id), vec![queue_id])];
    }
    let count = u32::try_from(pop.topic.read_queue_nums).unwrap_or(0).max(1);
    let turn = worker.pop_turn.get();
    worker.pop_turn.set(turn.wrapping_add(1));
    let first = turn % count;
    let mut places: Vec<Option<usize>> = vec![None; usize::from(worker.shard_count)];
    let mut all: Vec<(u16, Vec<u32>)> = Vec::new();
    for queue_id in (first..count).chain(0..first) {
        let shard = worker.owner_of(topic, queue_id);
        let place = &mut places[usize::from(shard)];
        let place = *place.get_or_insert_with(|| {
            all.push((shard, Vec::new()));
            all.len() - 1
        });
        all[place].1.push(queue_id);
    }
    all
}

/// Messages that nobody has acknowledged in time can be popped again: tells who waits.
pub(crate) fn tell_visible(worker: &Rc<Worker>, shard: &Shard, now: Moment) {
    if shard.pop_interest.borrow().is_empty() {
        return;
    }
    let time = shard.due_time(now);
    shard.pop_interest.borrow_mut().look_at_alarms(time);
    tell_grown(worker, shard);
}
