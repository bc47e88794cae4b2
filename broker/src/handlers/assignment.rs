//! Which queues of a topic a client consumes, and how: QUERY_ASSIGNMENT, SET_MESSAGE_REQUEST_MODE,
//! GET_ALL_MESSAGE_REQUEST_MODE. For clients of 5.x that leave the division of queues to the broker.
//!
//! Served by the control owner, which knows who is online. Nothing is remembered of an answer: it follows from the
//! members, the topic's queues in the cluster and the mode, so that each member is told what fits what the others are
//! told. Source: Apache RocketMQ 5.3.3, `QueryAssignmentProcessor`.

use super::{
    allocation::{Part, Place, Strategy, part_of},
    large_body,
};
use crate::{
    cluster_queues::{Found, TopicQueues},
    config::BrokerConfig,
    control::{Control, ModeSet, RequestMode, is_readable, names},
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use ahash::AHashSet;
use proto::{
    body::{
        MessageModel, MessageQueue, MessageRequestMode, QueryAssignmentRequest,
        QueryAssignmentResponse, QueueAssignment, SetRequestModeRequest,
    },
    code::response,
};
use std::rc::Rc;

/// Number of a queue that stands for all queues of its broker.
const ALL_QUEUES: i32 = -1;
/// Characters of a strategy's name that are logged.
const LOGGED_CHARS: usize = 64;

/// SET_MESSAGE_REQUEST_MODE.
pub fn set_mode(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let asked = SetRequestModeRequest::read(request.body)?;
    let topic = named("topic", asked.topic)?;
    if names::is_retry_topic(&topic) {
        let remark = format!("the mode of the retry topic [{topic}] cannot be set: it is pulled");
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    let group = named("consumerGroup", asked.consumer_group)?;
    let mode = MessageRequestMode::from_name(&asked.mode).ok_or_else(|| {
        Refusal::system_error(format!("mode is {:?}, expected PULL or POP", asked.mode))
    })?;
    let mode = RequestMode { mode, pop_share_queue_num: asked.pop_share_queue_num };
    match control.set_request_mode(request.now, &topic, &group, mode)? {
        ModeSet::Done => Ok(Response::Done),
        ModeSet::NoTopic => Err(Refusal::topic_not_exist(&topic)),
        ModeSet::NoGroup => Err(Refusal::group_not_exist(&group)),
    }
}

/// GET_ALL_MESSAGE_REQUEST_MODE. As from Java's broker, no modes are an empty table.
pub fn all_modes(worker: Rc<Worker>, _request: &Request<'_>) -> Answering {
    Box::pin(async move {
        let modes = worker.control_plane().control.borrow().request_modes().all();
        let entries = modes.count();
        let make = move || {
            let mut body = Vec::new();
            modes.to_table().write(&mut body);
            body
        };
        let body = large_body::made(&worker, entries, make).await;
        // A slave keeps what it is told.
        worker.control_plane().durable().await?;
        Ok(Response::body(body))
    })
}

/// QUERY_ASSIGNMENT. Always a success: where nothing can be said the answer names no list, and the client keeps what it
/// has; an empty list takes everything from it.
pub fn query(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let asked = QueryAssignmentRequest::read(request.body).map_err(Refusal::from);
    let asked = asked.and_then(Asked::of);
    Box::pin(async move { answer(&worker, asked?).await })
}

/// What a client wants to know.
struct Asked {
    topic: String,
    group: String,
    client: String,
    broadcasting: bool,
    strategy: String,
}

impl Asked {
    fn of(body: QueryAssignmentRequest) -> Result<Asked, Refusal> {
        let model = body.message_model.ok_or_else(|| {
            Refusal::system_error("messageModel in the body is not BROADCASTING or CLUSTERING")
        })?;
        Ok(Asked {
            topic: named("topic", body.topic)?,
            group: named("consumerGroup", body.consumer_group)?,
            client: body.client_id.unwrap_or_default(),
            broadcasting: model == MessageModel::Broadcasting,
            strategy: body.strategy_name.unwrap_or_default(),
        })
    }
}

/// A member of a body that must be there.
fn named(name: &str, value: Option<String>) -> Result<String, Refusal> {
    value.ok_or_else(|| Refusal::system_error(format!("{name} is missing in the body")))
}

async fn answer(worker: &Rc<Worker>, asked: Asked) -> Result<Response, Refusal> {
    let queues = queues_of(worker, &asked.topic).await;
    let (mode, part) = {
        let control = worker.control_plane().control.borrow();
        let mode = mode_of(&control, &worker.config(), &asked);
        let count = queues.as_ref().map(TopicQueues::count);
        (mode.mode, count.and_then(|count| divide(worker, &control, &asked, mode, count)))
    };
    let (Some(queues), Some(part)) = (queues, part) else {
        return Ok(Response::body(encoded(None)));
    };
    let (topic, entries) = (asked.topic, queues.count());
    let make = move || encoded(Some(assignments(&topic, &queues, &part, mode)));
    Ok(Response::body(large_body::made(worker, entries, make).await))
}

fn encoded(message_queue_assignments: Option<Vec<QueueAssignment>>) -> Vec<u8> {
    let mut body = Vec::new();
    QueryAssignmentResponse { message_queue_assignments }.write(&mut body);
    body
}

/// The queues of a topic in the cluster, as consumers see them. `None`: nobody knows the topic. All that is said about
/// assignments stands on what this returns: name servers say it, and where none is configured, this broker is the
/// cluster. Where none answers, nothing is said.
async fn queues_of(worker: &Rc<Worker>, topic: &str) -> Option<TopicQueues> {
    names::check_consumed_topic(topic).ok()?;
    let plane = worker.control_plane();
    let registrar = plane.registrar.borrow().clone();
    let belief_ms = worker.config().load_balance_poll_name_server_interval_ms;
    let belief_ms = i64::try_from(belief_ms).unwrap_or(i64::MAX);
    let Some(registrar) = &registrar else {
        return own_queues(&plane.control.borrow(), &worker.config().broker_name, topic);
    };
    match plane.cluster_queues.find(registrar, topic, belief_ms).await {
        Found::Queues(queues) => Some(queues),
        // A client that is told nothing keeps what it has. Told of this broker's queues alone it would give back the others.
        Found::Unknown | Found::Silence => None,
    }
}

/// The queues of a topic here, as a route would show them.
fn own_queues(control: &Control, broker_name: &str, topic: &str) -> Option<TopicQueues> {
    let config = control.durable().topics.get(topic)?;
    let may_read = is_readable(config.perm & control.broker_permission());
    let count = if may_read { config.read_queue_nums } else { 0 };
    Some(TopicQueues::on_broker(broker_name, count))
}

/// How a client gets messages. A mode that is not on the disk yet may be seen here: losing it harms nobody, for it is asked
/// for again every few seconds.
fn mode_of(control: &Control, config: &BrokerConfig, asked: &Asked) -> RequestMode {
    if names::is_retry_topic(&asked.topic) {
        return RequestMode { mode: MessageRequestMode::Pull, pop_share_queue_num: 0 };
    }
    control.request_modes().get(&asked.topic, &asked.group).unwrap_or(RequestMode {
        mode: config.default_message_request_mode.0,
        pop_share_queue_num: config.default_pop_share_queue_num,
    })
}

/// The client's part of so many queues. `None`: nothing can be said.
fn divide(
    worker: &Worker,
    control: &Control,
    asked: &Asked,
    mode: RequestMode,
    queues: usize,
) -> Option<Part> {
    if asked.broadcasting || !worker.config().server_load_balancer_enable {
        return Some(Part::All);
    }
    let place = place_among(control.members().consumer_ids(&asked.group)?, &asked.client);
    let Some(strategy) = Strategy::of_name(&asked.strategy) else {
        if let Some(held_back) = worker.control_plane().unknown_strategies.note() {
            let strategy: String = asked.strategy.chars().take(LOGGED_CHARS).collect();
            tracing::warn!(
                strategy,
                group = asked.group.as_str(),
                topic = asked.topic.as_str(),
                held_back,
                "a consumer gets no queues: it asks for them by a strategy other than AVG and AVG_BY_CIRCLE"
            );
        }
        return None;
    };
    let part = part_of(strategy, mode, queues, place)?;
    // Nobody has a part of its own without a name.
    (!asked.client.is_empty() || part == Part::WholeBrokers).then_some(part)
}

/// A client among the members of its group, in the order of their ids. One that has lost a connection and made another is
/// there twice for a while, and counts once: nobody would consume the second part.
fn place_among(ids: Vec<&str>, client: &str) -> Place {
    let ids: AHashSet<&str> = ids.into_iter().collect();
    let before = ids.iter().filter(|id| **id < client).count();
    Place { members: ids.len(), own: ids.contains(client).then_some(before) }
}

fn assignments(
    topic: &str,
    queues: &TopicQueues,
    part: &Part,
    mode: MessageRequestMode,
) -> Vec<QueueAssignment> {
    let assignment = |(broker_name, queue_id): (&str, i32)| QueueAssignment {
        message_queue: MessageQueue {
            broker_name: broker_name.to_owned(),
            queue_id,
            topic: topic.to_owned(),
        },
        mode,
        ..QueueAssignment::default()
    };
    match part {
        Part::All => queues.iter().map(assignment).collect(),
        Part::WholeBrokers => {
            queues.brokers().map(|broker_name| assignment((broker_name, ALL_QUEUES))).collect()
        }
        Part::Queues(numbers) => {
            let all: Vec<(&str, i32)> = queues.iter().collect();
            let own = numbers.iter().filter_map(|number| all.get(*number).copied());
            own.map(assignment).collect()
        }
    }
}

#[cfg(test)]
#[path = "assignment_tests.rs"]
mod tests;
