//! What each request needs of access control: its topics, groups and actions. Checked where the request arrives, before anything
//! of it is cached or forwarded, and once.
//!
//! The table of requests says in one word what a line needs; here is what that means for its header or body. Names are read from the
//! fields that the handlers read. With access control off this is one look at an empty place.
//!
//! Rights of 5.x are Java's (5.3.3: explicit ones, and those that header classes are annotated with). Where Java asks for nothing
//! and a request changes something, it is the right to update the cluster, also for what will be added to the table. In the rules
//! of 4.9 all requests of administrators need such an account.

use super::table::{Line, Right};
use crate::{error::Refusal, request::Request, worker::Worker};
use acl::{Action, Call, Caller, Engine, Needs, Question, Resource, ResourceKind};
use proto::{
    body::{
        BatchAckBody, HeartbeatData, LockBatchRequest, QueryAssignmentRequest,
        SetRequestModeRequest, SubscriptionGroupConfig,
    },
    code::request,
    command::Ext,
};
use std::net::IpAddr;

const PUB: &[Action] = &[Action::Pub];
const SUB: &[Action] = &[Action::Sub];
const GET: &[Action] = &[Action::Get];
const LIST: &[Action] = &[Action::List];
const CREATE: &[Action] = &[Action::Create];
const UPDATE: &[Action] = &[Action::Update];
const DELETE: &[Action] = &[Action::Delete];
const SUB_OR_GET: &[Action] = &[Action::Sub, Action::Get];
const SUB_OR_UPDATE: &[Action] = &[Action::Sub, Action::Update];
const SUB_OR_PUB_OR_GET: &[Action] = &[Action::Sub, Action::Pub, Action::Get];

/// What an administrative request touches.
#[derive(Clone, Copy)]
enum Touches {
    /// The topic in this field, if it is there.
    Topic(&'static str),
    /// The group in this field, if it is there.
    Group(&'static str),
    /// All topics.
    Topics,
    /// What concerns no single topic or group.
    Cluster,
    /// The cluster, if this field is not there: then all topics are meant, or any.
    Without(&'static str),
    /// The group in the body.
    GroupInBody,
}

use Touches::{Cluster, Group, GroupInBody, Topic, Topics, Without};

type Rights = &'static [(Touches, &'static [Action])];

/// By code. What is not here needs the right to update the cluster.
const ADMINISTRATION: &[(i32, Rights)] = &[
    (request::UPDATE_AND_CREATE_TOPIC, &[(Topic("topic"), CREATE)]),
    (request::DELETE_TOPIC_IN_BROKER, &[(Topic("topic"), DELETE)]),
    (request::GET_ALL_TOPIC_CONFIG, &[(Topics, LIST)]),
    (request::GET_TOPIC_CONFIG, &[(Topic("topic"), GET)]),
    (request::GET_TOPIC_STATS_INFO, &[(Topic("topic"), GET)]),
    (request::QUERY_TOPIC_CONSUME_BY_WHO, &[(Topic("topic"), GET)]),
    (request::QUERY_CONSUME_QUEUE, &[(Topic("topic"), GET), (Group("consumerGroup"), GET)]),
    // Java believes the topic that the sender names; the message may be of any.
    (request::VIEW_MESSAGE_BY_ID, &[(Cluster, GET)]),
    (request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[(GroupInBody, UPDATE)]),
    (request::DELETE_SUBSCRIPTIONGROUP, &[(Group("groupName"), DELETE)]),
    (request::GET_SUBSCRIPTIONGROUP_CONFIG, &[(Group("group"), GET)]),
    (request::GET_CONSUMER_CONNECTION_LIST, &[(Group("consumerGroup"), GET)]),
    (request::GET_PRODUCER_CONNECTION_LIST, &[(Cluster, GET)]),
    (request::GET_ALL_PRODUCER_INFO, &[(Cluster, GET)]),
    (request::GET_CONSUME_STATS, &[(Group("consumerGroup"), GET), (Topic("topic"), GET)]),
    (request::QUERY_TOPICS_BY_CONSUMER, &[(Group("group"), GET)]),
    (request::QUERY_SUBSCRIPTION_BY_CONSUMER, &[(Group("group"), GET), (Topic("topic"), GET)]),
    (request::QUERY_CONSUME_TIME_SPAN, &[(Group("group"), GET), (Topic("topic"), GET)]),
    (request::QUERY_CORRECTION_OFFSET, &[(Topic("topic"), GET), (Group("compareGroup"), GET)]),
    (
        request::CLONE_GROUP_OFFSET,
        &[(Group("srcGroup"), UPDATE), (Group("destGroup"), UPDATE), (Topic("topic"), UPDATE)],
    ),
    (request::INVOKE_BROKER_TO_RESET_OFFSET, &[(Group("group"), UPDATE), (Topic("topic"), UPDATE)]),
    (
        request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
        &[(Group("group"), GET), (Topic("topic"), GET)],
    ),
    (request::GET_CONSUMER_RUNNING_INFO, &[(Group("consumerGroup"), GET)]),
    (request::CONSUME_MESSAGE_DIRECTLY, &[(Group("consumerGroup"), SUB), (Cluster, GET)]),
    (request::RESUME_CHECK_HALF_MESSAGE, &[(Topic("topic"), UPDATE), (Without("topic"), UPDATE)]),
    (request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[(Cluster, GET)]),
    (request::GET_ALL_MESSAGE_REQUEST_MODE, &[(Cluster, GET)]),
    (request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &[(Cluster, GET)]),
    (request::GET_BROKER_RUNTIME_INFO, &[(Cluster, GET)]),
    (request::GET_BROKER_CONFIG, &[(Cluster, GET)]),
    (request::VIEW_BROKER_STATS_DATA, &[(Cluster, GET)]),
    (request::GET_BROKER_CONSUME_STATS, &[(Cluster, GET)]),
    (request::AUTH_GET_USER, &[(Cluster, GET)]),
    (request::AUTH_LIST_USER, &[(Cluster, GET)]),
    (request::AUTH_GET_ACL, &[(Cluster, GET)]),
    (request::AUTH_LIST_ACL, &[(Cluster, GET)]),
    (request::EXPLAIN_ACCESS, &[(Cluster, GET)]),
];

/// Whether the sender may ask for this.
pub fn check(worker: &Worker, line: &Line, request: &Request<'_>) -> Result<(), Refusal> {
    let engine = worker.access.engine.borrow();
    match engine.as_deref() {
        None => Ok(()),
        Some(engine) => check_by(engine, worker, line, request),
    }
}

fn check_by(
    engine: &Engine,
    worker: &Worker,
    line: &Line,
    request: &Request<'_>,
) -> Result<(), Refusal> {
    let call = Call {
        code: line.code,
        source: request.peer.addr.ip(),
        ext: request.header.ext,
        body: request.body,
    };
    let refuse = |decision| worker.access.refuse(engine, &call, &decision);
    let caller = engine.authenticate(&call).map_err(refuse)?;
    if let Caller::Free(_) = caller {
        return Ok(());
    }
    // Bodies of unknown senders are not read.
    let named = Named::read(line.code, request.body)?;
    let config = worker.config();
    let needs = needs_of(line, request, &named, &config.broker_cluster_name);
    let decision = engine.authorize(caller, &call, &needs);
    if decision.is_allowed() { Ok(()) } else { Err(refuse(decision)) }
}

/// Who sent a request that is checked again when more is known of what it touches.
pub struct Sender {
    account: String,
    source: IpAddr,
}

impl Sender {
    /// Of a request, whose signature was checked.
    pub fn of(request: &Request<'_>) -> Sender {
        let account = request.header.ext.get(acl::ACCESS_KEY).unwrap_or_default().trim().to_owned();
        Sender { account, source: request.peer.addr.ip() }
    }
}

/// Whether a sender may consume the messages of a topic.
pub fn check_consumes(worker: &Worker, sender: &Sender, topic: &str) -> Result<(), Refusal> {
    let engine = worker.access.engine.borrow();
    // Who has no account and came here is on a white list.
    let Some(engine) = engine.as_deref().filter(|_| !sender.account.is_empty()) else {
        return Ok(());
    };
    let resource = Resource::topic(topic);
    let mut needs = Needs::default();
    needs.add(resource, SUB);
    let question = Question {
        account: &sender.account,
        resource,
        action: Action::Sub,
        source: Some(sender.source),
    };
    let decision = engine.explain(&question, &needs);
    if decision.is_allowed() {
        return Ok(());
    }
    let code = request::CONSUMER_SEND_MSG_BACK;
    let call = Call { code, source: sender.source, ext: Ext::default(), body: &[] };
    Err(worker.access.refuse(engine, &call, &decision))
}

/// Topics and groups that a body names.
#[derive(Default)]
struct Named {
    topics: Vec<String>,
    groups: Vec<String>,
}

impl Named {
    fn read(code: i32, body: &[u8]) -> Result<Named, Refusal> {
        let mut named = Named::default();
        match code {
            request::HEART_BEAT => {
                for data in HeartbeatData::read(body)?.consumer_data_set {
                    named.groups.push(data.group_name);
                    let topics = data.subscription_data_set.into_iter().map(|data| data.topic);
                    named.topics.extend(topics);
                }
            }
            request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ => {
                let body = LockBatchRequest::read(body)?;
                named.groups.push(body.consumer_group);
                named.topics.extend(body.mq_set.into_iter().map(|queue| queue.topic));
            }
            request::BATCH_ACK_MESSAGE => {
                for ack in BatchAckBody::read(body)?.acks {
                    named.groups.push(ack.consumer_group);
                    named.topics.push(ack.topic);
                }
            }
            request::QUERY_ASSIGNMENT => {
                let body = QueryAssignmentRequest::read(body)?;
                named.groups.extend(body.consumer_group);
                named.topics.extend(body.topic);
            }
            request::SET_MESSAGE_REQUEST_MODE => {
                let body = SetRequestModeRequest::read(body)?;
                named.groups.extend(body.consumer_group);
                named.topics.extend(body.topic);
            }
            request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => {
                named.groups.push(SubscriptionGroupConfig::read(body)?.group_name);
            }
            _ => {}
        }
        named.topics.sort_unstable();
        named.topics.dedup();
        named.groups.sort_unstable();
        named.groups.dedup();
        Ok(named)
    }
}

fn needs_of<'a>(
    line: &Line,
    request: &Request<'a>,
    named: &'a Named,
    cluster: &'a str,
) -> Needs<'a> {
    let field = |name: &str| request.header.ext.get(name).filter(|text| !text.trim().is_empty());
    if line.needs == Right::Admin {
        return administration(line.code, field, named, cluster);
    }
    let mut needs = Needs::default();
    let topic = match line.code {
        request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE | request::SEND_REPLY_MESSAGE_V2 => {
            field("b")
        }
        _ => field("topic"),
    };
    let actions = match line.needs {
        Right::TopicWrite => PUB,
        _ => topic_read_actions(line.code),
    };
    let topics = topic.into_iter().chain(named.topics.iter().map(String::as_str));
    for resource in topics.map(Resource::topic) {
        // What a consumer wants again goes to the topic of its group's retries: that is consuming.
        let is_retry = resource.kind == ResourceKind::Group;
        needs
            .add(resource, if is_retry && line.needs == Right::TopicWrite { SUB } else { actions });
    }
    let group = match line.code {
        request::CONSUMER_SEND_MSG_BACK => field("group"),
        _ if line.needs == Right::TopicWrite => None,
        _ => field("consumerGroup"),
    };
    let groups = group.into_iter().chain(named.groups.iter().map(String::as_str));
    groups.for_each(|group| needs.add(Resource::group(group), actions));
    needs
}

/// What is done with the topic and the group of a request that reads, or acts as a member.
fn topic_read_actions(code: i32) -> &'static [Action] {
    match code {
        request::QUERY_MESSAGE
        | request::QUERY_CONSUMER_OFFSET
        | request::GET_CONSUMER_LIST_BY_GROUP => SUB_OR_GET,
        request::UPDATE_CONSUMER_OFFSET => SUB_OR_UPDATE,
        // Java: Get alone, which no consumer's policy names; a consumer asks them when it begins, a producer's tool, too.
        request::GET_MAX_OFFSET
        | request::GET_MIN_OFFSET
        | request::SEARCH_OFFSET_BY_TIMESTAMP
        | request::GET_EARLIEST_MSG_STORETIME => SUB_OR_PUB_OR_GET,
        _ => SUB,
    }
}

fn administration<'a>(
    code: i32,
    field: impl Fn(&str) -> Option<&'a str>,
    named: &'a Named,
    cluster: &'a str,
) -> Needs<'a> {
    let mut needs = Needs::of_admin();
    needs.users = (request::AUTH_CREATE_USER..=request::AUTH_LIST_ACL).contains(&code);
    let found = ADMINISTRATION.iter().find(|(known, _)| *known == code);
    let rights = found.map_or(&[(Cluster, UPDATE)] as Rights, |(_, rights)| *rights);
    for (touches, actions) in rights {
        let resource = match touches {
            Topic(name) => field(name).map(Resource::topic),
            Group(name) => field(name).map(Resource::group),
            Topics => Some(Resource { kind: ResourceKind::Topic, name: "*" }),
            Cluster => Some(Resource::cluster(cluster)),
            Without(name) if field(name).is_some() => None,
            Without(_) => Some(Resource::cluster(cluster)),
            GroupInBody => None,
        };
        if let Some(resource) = resource {
            needs.add(resource, actions);
        }
        if let GroupInBody = touches {
            named.groups.iter().for_each(|group| needs.add(Resource::group(group), actions));
        }
    }
    // Without the names that it must have a handler refuses it; until then it is like what has no line.
    if needs.is_empty() {
        needs.add(Resource::cluster(cluster), UPDATE);
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_there_once() {
        for (index, (code, rights)) in ADMINISTRATION.iter().enumerate() {
            assert!(!rights.is_empty(), "{code}");
            assert!(ADMINISTRATION[..index].iter().all(|(other, _)| other != code), "{code} twice");
        }
    }
}
