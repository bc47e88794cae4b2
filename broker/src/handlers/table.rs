//! The one table of requests: what the broker serves, where, by which right, and by what. A code that is missing here
//! is refused with code 3, see [`super::refused_codes`].

use super::{
    ask_client, assignment, auth_admin, broker_config, broker_stats, cleanups, client_lifecycle,
    clone_offsets, consume_queue, consume_stats, consumer_offset, consumer_status, corrections,
    end_transaction, explain_access, group_queries, groups, plain_accounts, pop, producers, pull,
    query_message, queue_locks, recall, reset_offsets, resume_check, runtime_info, send, send_back,
    send_reply, topics, view_message, whole_table,
};
use crate::{
    control::{Control, MetadataSnapshot},
    draining,
    error::Refusal,
    request::{QueuePlace, Request},
    response::{Answering, Responder, Response},
    worker::Worker,
};
use proto::code::request;
use std::rc::Rc;
use store::StoreState;

/// Which worker serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedBy {
    /// The one of its connection.
    Here,
    /// The host of the shard that owns the queue in its header.
    Queue,
    /// The host of the shard whose log holds the position in its header.
    LogPosition,
    /// The control worker.
    Control,
}

/// What its sender must be allowed to do, in a word; what that means for a request's fields says [`super::rights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Anybody who may connect.
    None,
    /// Read from the topic in its header.
    TopicRead,
    /// Write to the topic in its header.
    TopicWrite,
    /// Act as a member of the group in its header.
    Group,
    /// Administer the broker.
    Admin,
}

/// A function on the state of a queue's shard, and on the metadata as its worker knows them: a topic or a group of which
/// the shard was told that it is deleted is not among them.
pub type QueueFunction = fn(
    &mut StoreState,
    &MetadataSnapshot,
    QueuePlace<'_>,
    &Request<'_>,
) -> Result<Response, Refusal>;

/// A function on the control owner.
pub type ControlFunction = fn(&mut Control, &Request<'_>) -> Result<Response, Refusal>;

/// What begins the task of a request.
pub type Begin = fn(Rc<Worker>, &Request<'_>) -> Answering;

/// How a request is served.
#[derive(Clone, Copy)]
pub enum Run {
    /// By an operation of its own, which answers: the message path.
    Message(fn(&Rc<Worker>, &Request<'_>, Responder)),
    /// By a function that answers by itself and takes as long as a task: it counts like one, and is refused for load by itself alone.
    Patient(fn(&Rc<Worker>, &Request<'_>, Responder)),
    /// By a function on the state of the queue's shard.
    OnQueue(QueueFunction),
    /// By a function on the control owner; answered when what it changed is durable.
    OnControl(ControlFunction),
    /// By a function that looks at the worker.
    OnWorker(fn(&Worker, &Request<'_>) -> Result<Response, Refusal>),
    /// By a task. What the request changes is changed before the function returns.
    Task(Begin),
    /// The same, with a response that may be large: it counts for its connection while it is made.
    LargeTask(Begin),
}

/// One line of the table.
#[derive(Clone, Copy)]
pub struct Line {
    /// Request code.
    pub code: i32,
    /// Its name.
    pub name: &'static str,
    /// Who serves it.
    pub served_by: ServedBy,
    /// What right it needs.
    pub needs: Right,
    /// How.
    pub run: Run,
}

macro_rules! lines {
    ($($code:ident: $served_by:ident, $needs:ident, $run:expr;)*) => {
        &[$(Line {
            code: request::$code,
            name: stringify!($code),
            served_by: ServedBy::$served_by,
            needs: Right::$needs,
            run: $run,
        }),*]
    };
}

use Run::{LargeTask, Message, OnControl, OnQueue, OnWorker, Patient, Task};

/// Every request.
pub const LINES: &[Line] = lines! {
    SEND_MESSAGE: Here, TopicWrite, Message(send::serve_v1);
    SEND_MESSAGE_V2: Here, TopicWrite, Message(send::serve_v2);
    SEND_BATCH_MESSAGE: Here, TopicWrite, Message(send::serve_batch);
    PULL_MESSAGE: Here, TopicRead, Message(pull::serve);
    LITE_PULL_MESSAGE: Here, TopicRead, Message(pull::serve);
    POP_MESSAGE: Here, TopicRead, Message(pop::serve);
    ACK_MESSAGE: Here, TopicRead, Message(pop::ack);
    BATCH_ACK_MESSAGE: Here, TopicRead, Task(pop::ack_many);
    CHANGE_MESSAGE_INVISIBLETIME: Here, TopicRead, Message(pop::change_invisible);
    CONSUMER_SEND_MSG_BACK: Here, Group, Patient(send_back::serve);
    RECALL_MESSAGE: Here, TopicWrite, Task(recall::recall);
    END_TRANSACTION: Here, TopicWrite, Patient(end_transaction::serve);
    SEND_REPLY_MESSAGE: Here, TopicWrite, Patient(send_reply::serve_v1);
    SEND_REPLY_MESSAGE_V2: Here, TopicWrite, Patient(send_reply::serve_v2);

    QUERY_CONSUMER_OFFSET: Queue, Group, OnQueue(consumer_offset::query);
    UPDATE_CONSUMER_OFFSET: Queue, Group, OnQueue(consumer_offset::update);
    GET_MAX_OFFSET: Queue, TopicRead, OnQueue(consumer_offset::max);
    GET_MIN_OFFSET: Queue, TopicRead, OnQueue(consumer_offset::min);
    SEARCH_OFFSET_BY_TIMESTAMP: Queue, TopicRead, Task(consumer_offset::search);
    GET_EARLIEST_MSG_STORETIME: Queue, TopicRead, Task(consumer_offset::earliest);
    QUERY_CONSUME_QUEUE: Queue, Admin, LargeTask(consume_queue::query);

    QUERY_MESSAGE: Here, TopicRead, LargeTask(query_message::query);
    VIEW_MESSAGE_BY_ID: LogPosition, Admin, Task(view_message::view);

    HEART_BEAT: Control, Group, OnControl(client_lifecycle::heartbeat);
    UNREGISTER_CLIENT: Control, Group, OnControl(client_lifecycle::unregister);
    GET_CONSUMER_LIST_BY_GROUP: Control, Group, OnControl(client_lifecycle::consumer_list);
    CHECK_CLIENT_CONFIG: Control, None, OnControl(client_lifecycle::check_client_config);
    GET_CONSUMER_CONNECTION_LIST: Control, Admin, OnControl(client_lifecycle::consumer_connections);
    GET_PRODUCER_CONNECTION_LIST: Control, Admin, OnControl(client_lifecycle::producer_connections);
    GET_ALL_PRODUCER_INFO: Control, Admin, LargeTask(producers::all);
    LOCK_BATCH_MQ: Control, Group, OnControl(queue_locks::lock);
    UNLOCK_BATCH_MQ: Control, Group, OnControl(queue_locks::unlock);
    QUERY_ASSIGNMENT: Control, Group, Task(assignment::query);
    SET_MESSAGE_REQUEST_MODE: Control, Admin, OnControl(assignment::set_mode);
    GET_ALL_MESSAGE_REQUEST_MODE: Control, Admin, LargeTask(assignment::all_modes);

    GET_CONSUMER_RUNNING_INFO: Control, Admin, LargeTask(ask_client::running_info);
    CONSUME_MESSAGE_DIRECTLY: Control, Admin, Task(ask_client::consume_directly);

    UPDATE_AND_CREATE_TOPIC: Control, Admin, Task(topics::update);
    UPDATE_AND_CREATE_TOPIC_LIST: Control, Admin, Task(topics::update_list);
    DELETE_TOPIC_IN_BROKER: Control, Admin, Task(topics::delete);
    GET_ALL_TOPIC_CONFIG: Control, Admin, Task(whole_table::all_topics);
    GET_TOPIC_CONFIG: Control, Admin, OnControl(topics::one);
    GET_TOPIC_STATS_INFO: Control, Admin, Task(topics::stats);
    GET_SYSTEM_TOPIC_LIST_FROM_BROKER: Control, Admin, OnControl(topics::system);

    UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: Control, Admin, OnControl(groups::update);
    UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: Control, Admin, OnControl(groups::update_list);
    GET_ALL_SUBSCRIPTIONGROUP_CONFIG: Control, Admin, Task(whole_table::all_groups);
    GET_SUBSCRIPTIONGROUP_CONFIG: Control, Admin, OnControl(groups::one);
    UPDATE_AND_GET_GROUP_FORBIDDEN: Control, Admin, OnControl(groups::forbidden);
    DELETE_SUBSCRIPTIONGROUP: Control, Admin, Task(groups::delete);
    GET_CONSUME_STATS: Control, Admin, Task(consume_stats::of_group);
    QUERY_TOPIC_CONSUME_BY_WHO: Control, Admin, Task(groups::consumed_by);
    QUERY_TOPICS_BY_CONSUMER: Control, Admin, Task(group_queries::topics);
    QUERY_SUBSCRIPTION_BY_CONSUMER: Control, Admin, OnControl(group_queries::subscription);
    QUERY_CONSUME_TIME_SPAN: Control, Admin, Task(group_queries::time_spans);
    CLONE_GROUP_OFFSET: Control, Admin, Task(clone_offsets::clone);
    QUERY_CORRECTION_OFFSET: Control, Admin, Task(corrections::query);
    INVOKE_BROKER_TO_RESET_OFFSET: Control, Admin, LargeTask(reset_offsets::reset);
    INVOKE_BROKER_TO_GET_CONSUMER_STATUS: Control, Admin, LargeTask(consumer_status::status);
    RESUME_CHECK_HALF_MESSAGE: Control, Admin, Task(resume_check::resume);

    UPDATE_AND_CREATE_ACL_CONFIG: Control, Admin, Task(plain_accounts::put);
    DELETE_ACL_CONFIG: Control, Admin, Task(plain_accounts::delete);
    GET_BROKER_CLUSTER_ACL_INFO: Control, Admin, OnWorker(plain_accounts::versions);
    UPDATE_GLOBAL_WHITE_ADDRS_CONFIG: Control, Admin, Task(plain_accounts::put_white_addresses);
    AUTH_CREATE_USER: Control, Admin, Task(auth_admin::create_user);
    AUTH_UPDATE_USER: Control, Admin, Task(auth_admin::update_user);
    AUTH_DELETE_USER: Control, Admin, Task(auth_admin::delete_user);
    AUTH_GET_USER: Control, Admin, OnWorker(auth_admin::user);
    AUTH_LIST_USER: Control, Admin, OnWorker(auth_admin::users);
    AUTH_CREATE_ACL: Control, Admin, Task(auth_admin::put_acl);
    AUTH_UPDATE_ACL: Control, Admin, Task(auth_admin::put_acl);
    AUTH_DELETE_ACL: Control, Admin, Task(auth_admin::delete_acl);
    AUTH_GET_ACL: Control, Admin, OnWorker(auth_admin::acl);
    AUTH_LIST_ACL: Control, Admin, OnWorker(auth_admin::acls);
    EXPLAIN_ACCESS: Control, Admin, OnWorker(explain_access::explain);

    GET_BROKER_CONSUME_STATS: Control, Admin, LargeTask(consume_stats::of_all_groups);
    VIEW_BROKER_STATS_DATA: Control, Admin, Task(broker_stats::view);
    GET_BROKER_RUNTIME_INFO: Control, Admin, OnWorker(runtime_info::runtime_info);
    DRAIN_BROKER: Control, Admin, Task(draining::serve);
    UPDATE_BROKER_CONFIG: Control, Admin, Task(broker_config::update);
    GET_BROKER_CONFIG: Control, Admin, OnWorker(broker_config::get);

    CLEAN_EXPIRED_CONSUMEQUEUE: Control, Admin, OnWorker(cleanups::nothing_to_clean);
    CLEAN_UNUSED_TOPIC: Control, Admin, OnWorker(cleanups::nothing_to_clean);
    DELETE_EXPIRED_COMMITLOG: Control, Admin, Task(cleanups::delete_expired);
};

/// Codes below this are found by one look.
const DENSE: usize = 512;
/// No line.
const NONE: u8 = u8::MAX;

/// By code: number of its line.
static NUMBERS: [u8; DENSE] = {
    let mut numbers = [NONE; DENSE];
    let mut number = 0;
    assert!(LINES.len() < NONE as usize);
    while number < LINES.len() {
        let code = LINES[number].code;
        if code >= 0 && (code as usize) < DENSE {
            assert!(numbers[code as usize] == NONE, "a code has one line");
            numbers[code as usize] = number as u8;
        }
        number += 1;
    }
    numbers
};

/// The line of a request code.
pub fn line_of(code: i32) -> Option<&'static Line> {
    let index = usize::try_from(code).ok()?;
    match NUMBERS.get(index) {
        Some(&number) => LINES.get(usize::from(number)),
        None => LINES.iter().find(|line| line.code == code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_by_its_code_alone() {
        for line in LINES {
            let found = line_of(line.code).expect("it is in the table");
            assert_eq!((found.code, found.name), (line.code, line.name));
        }
        let served: Vec<i32> = (-1..300_000).filter(|code| line_of(*code).is_some()).collect();
        assert_eq!(served.len(), LINES.len(), "nothing else is");
    }

    #[test]
    fn who_serves_fits_how_it_is_served() {
        for line in LINES {
            let fits = match line.run {
                Run::Message(_) | Run::Patient(_) => line.served_by == ServedBy::Here,
                Run::OnQueue(_) => line.served_by == ServedBy::Queue,
                Run::OnControl(_) | Run::OnWorker(_) => line.served_by == ServedBy::Control,
                Run::Task(_) | Run::LargeTask(_) => true,
            };
            assert!(fits, "{}", line.name);
        }
    }
}
