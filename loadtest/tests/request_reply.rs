//! Goal: the reply to a request reaches the client that waits for it, wherever it is connected, and whoever replies learns
//! whether it did. Method: real brokers, and connections that speak the protocol of both ends.

use std::time::{Duration, Instant};

use client::{
    ClientError, Connection, Heartbeat, Message, NewTopic, PullRequest, PullStatus, Sent,
    ServerRequest,
};
use loadtest::harness::our_broker::OurBroker;
use proto::code::{request, response};

const PATIENCE: Duration = Duration::from_secs(60);
const REPLY_TOPIC: &str = "DefaultCluster_REPLY_TOPIC";
/// How long a broker waits for a requester.
const PUSH_WAIT: Duration = Duration::from_secs(10);
/// How exactly it does that.
const TICK: Duration = Duration::from_millis(50);

fn connect(broker: &OurBroker) -> Connection {
    let mut connection = Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap();
    connection.set_timeout(PATIENCE);
    connection
}

/// A connection of a client that waits for replies.
fn requester(broker: &OurBroker, client_id: &str) -> Connection {
    let mut connection = connect(broker);
    let heartbeat = Heartbeat {
        client_id,
        consumer_group: None,
        subscriptions: &[],
        producer_group: Some("asking"),
    };
    connection.heartbeat(&heartbeat).unwrap().success().unwrap();
    connection
}

fn properties(client_id: &str) -> [(&str, &str); 4] {
    [
        ("MSG_TYPE", "reply"),
        ("CORRELATION_ID", "c-1"),
        ("REPLY_TO_CLIENT", client_id),
        ("PUSH_REPLY_TIME", "1"),
    ]
}

fn pushed(requester: &mut Connection) -> ServerRequest {
    requester.server_request(request::PUSH_REPLY_MESSAGE_TO_CLIENT, PATIENCE).unwrap()
}

fn refused(answer: Result<Sent, ClientError>) -> String {
    match answer {
        Err(ClientError::Refused { code: response::SYSTEM_ERROR, remark, .. }) => remark,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_reaches_its_requester_and_the_log() {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    // Connections of both workers.
    for number in 0..8 {
        let client_id = format!("10.0.0.1@{number}");
        let (mut asking, mut replying) = (requester(&broker, &client_id), connect(&broker));
        let properties = properties(&client_id);
        let reply = Message { flag: 7, sys_flag: 1, ..Message::new(REPLY_TOPIC, -1, b"an answer") };
        let reply = reply.with_properties(&properties);
        let ticket = replying.start_reply(&reply).unwrap();
        let push = pushed(&mut asking);
        assert_eq!(push.body, b"an answer");
        let field = |name: &str| push.ext(name).unwrap_or_else(|| panic!("{name}: {push:?}"));
        let own = [
            ("producerGroup", reply.group),
            ("topic", REPLY_TOPIC),
            ("defaultTopic", "TBW102"),
            ("defaultTopicQueueNums", "4"),
            ("queueId", "-1"),
            ("sysFlag", "1"),
            ("flag", "7"),
            ("reconsumeTimes", "0"),
            ("unitMode", "false"),
        ];
        own.iter().for_each(|(name, value)| assert_eq!(field(name), *value, "{name}"));
        assert_eq!(field("bornTimestamp"), reply.born_timestamp.to_string());
        assert_eq!(field("bornHost"), replying.local_addr().unwrap().to_string());
        assert_eq!(field("storeHost"), broker.broker_addr().to_string());
        let stored_at = field("storeTimestamp");
        let (before, when) = field("properties").rsplit_once("PUSH_REPLY_TIME\u{1}").unwrap();
        assert_eq!(when.trim_end_matches('\u{2}'), stored_at);
        let known = format!("CORRELATION_ID\u{1}c-1\u{2}REPLY_TO_CLIENT\u{1}{client_id}\u{2}");
        assert!(before.contains(&known) && !before.contains("PUSH_REPLY_TIME"), "{before:?}");
        asking.answer(&push, response::SUCCESS, &[], &[]).unwrap();
        let sent = replying.finish_send(ticket).unwrap();
        assert_eq!((sent.queue_id, sent.queue_offset), (0, number));
        let stored = replying.view_message(&sent.message_id).unwrap();
        assert_eq!((&*stored.topic, &*stored.body), (REPLY_TOPIC, &b"an answer"[..]));
        assert_eq!(stored.property("REPLY_TO_CLIENT"), Some(&*client_id));
        assert_eq!(stored.property("CLUSTER"), Some("DefaultCluster"));
    }
}

/// As Go clients send it.
#[test]
fn a_reply_with_long_names_is_the_same() {
    let broker = OurBroker::standalone(&[("storeReplyMessageEnable", "false")]);
    let (mut asking, mut replying) = (requester(&broker, "asking"), connect(&broker));
    let asks = std::thread::spawn(move || {
        let push = pushed(&mut asking);
        asking.answer(&push, response::SUCCESS, &[], &[]).unwrap();
        push
    });
    let reply = Message::new(REPLY_TOPIC, 0, b"an answer");
    let sent = replying.reply_v1(&reply.with_properties(&properties("asking"))).unwrap();
    assert_eq!(asks.join().unwrap().body, b"an answer");
    // Not stored, as the configuration says.
    assert_eq!((&*sent.message_id, sent.queue_id, sent.queue_offset), ("0", 0, 0));
    assert_eq!(replying.max_offset(REPLY_TOPIC, 0).unwrap(), 0);
}

/// Who replies is told, and the reply can be looked up all the same.
#[test]
fn a_reply_that_does_not_reach_its_requester() {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut replying = connect(&broker);
    let reply = |properties| Message::new(REPLY_TOPIC, 0, b"late").with_properties(properties);

    let nobody = properties("nobody");
    let remark = refused(replying.reply_v1(&reply(&nobody)));
    assert_eq!(remark, "push reply message fail, channel of <nobody> not found.");
    let remark = refused(replying.reply_v1(&reply(&[("MSG_TYPE", "reply")])));
    assert_eq!(remark, "reply message properties[REPLY_TO_CLIENT] is null");

    // It does not want the reply; it goes away instead of answering; it does not answer.
    let to_asking = properties("asking");
    let mut asking = requester(&broker, "asking");
    let ticket = replying.start_reply(&reply(&to_asking)).unwrap();
    let push = pushed(&mut asking);
    asking.answer(&push, response::SYSTEM_ERROR, &[], &[]).unwrap();
    let remark = refused(replying.finish_send(ticket));
    assert_eq!(remark, "push reply message to asking fail: it answered 1");
    let ticket = replying.start_reply(&reply(&to_asking)).unwrap();
    pushed(&mut asking);
    drop(asking);
    let remark = refused(replying.finish_send(ticket));
    assert!(remark.contains("connection has ended"), "{remark}");
    let mut asking = requester(&broker, "asking");
    let began = Instant::now();
    let ticket = replying.start_reply(&reply(&to_asking)).unwrap();
    pushed(&mut asking);
    // Others do not wait for it.
    replying.max_offset(REPLY_TOPIC, 0).unwrap();
    assert!(began.elapsed() < PUSH_WAIT / 2, "{:?}", began.elapsed());
    let remark = refused(replying.finish_send(ticket));
    assert!(remark.contains("did not answer in time"), "{remark}");
    assert!(began.elapsed() >= PUSH_WAIT - TICK, "{:?}", began.elapsed());

    let all = PullRequest::new("readers", REPLY_TOPIC, 0, 0);
    replying.create_group("readers").unwrap();
    let pulled = replying.pull(&all).unwrap();
    assert_eq!((pulled.status, pulled.messages.len()), (PullStatus::Found, 5));
}

/// A client that comes back is found at its new connection, with the old one still open.
#[test]
fn a_requester_that_comes_back_gets_the_reply() {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut replying = connect(&broker);
    let to_asking = properties("asking");
    let reply = Message::new(REPLY_TOPIC, 0, b"an answer").with_properties(&to_asking);
    let old = requester(&broker, "asking");
    let mut new = requester(&broker, "asking");
    for round in 0..2 {
        let ticket = replying.start_reply(&reply).unwrap();
        let push = pushed(&mut new);
        new.answer(&push, response::SUCCESS, &[], &[]).unwrap();
        assert_eq!(replying.finish_send(ticket).unwrap().queue_offset, round);
        drop(old.stream().shutdown(std::net::Shutdown::Both));
    }
    new.unregister("asking", Some("asking"), None).unwrap();
    let remark = refused(replying.reply_v1(&reply));
    assert!(remark.contains("not found"), "{remark}");
}

/// What a send would be refused for, a reply is refused for, and nobody gets it.
#[test]
fn a_reply_is_checked_as_a_send() {
    let broker = OurBroker::standalone(&[("maxMessageSize", "1024")]);
    let (mut asking, mut replying) = (requester(&broker, "asking"), connect(&broker));
    let to_asking = properties("asking");
    let large = vec![0; 1_025];
    let long = "x".repeat(128);
    let code = |answer: Result<Sent, ClientError>| answer.err().and_then(|error| error.code());
    for (topic, queue, body, expected) in [
        (REPLY_TOPIC, 0, &large[..], response::MESSAGE_ILLEGAL),
        (REPLY_TOPIC, 9, b"", response::SYSTEM_ERROR),
        ("SCHEDULE_TOPIC_XXXX", 0, b"", response::NO_PERMISSION),
        (&long, 0, b"", response::SYSTEM_ERROR),
    ] {
        let reply = Message::new(topic, queue, body).with_properties(&to_asking);
        assert_eq!(code(replying.reply_v1(&reply)), Some(expected), "{topic} {queue}");
    }
    let half = [&to_asking[..], &[("TRAN_MSG", "true")]].concat();
    let reply = Message::new(REPLY_TOPIC, 0, b"").with_properties(&half);
    assert_eq!(code(replying.reply_v1(&reply)), Some(response::MESSAGE_ILLEGAL));
    let none =
        asking.server_request(request::PUSH_REPLY_MESSAGE_TO_CLIENT, Duration::from_millis(300));
    assert!(none.is_err(), "{none:?}");
}

/// A reply does not bring back a topic that was deleted while it was on its way.
#[test]
fn a_topic_that_is_deleted_meanwhile_stays_deleted() {
    let mut broker = OurBroker::standalone(&[("shards", "2")]);
    let (mut asking, mut replying) = (requester(&broker, "asking"), connect(&broker));
    let mut admin = connect(&broker);
    admin.create_topic(&NewTopic::new("answers", 4)).unwrap();
    let to_asking = properties("asking");
    let reply = Message::new("answers", 3, b"late").with_properties(&to_asking);
    let ticket = replying.start_reply(&reply).unwrap();
    let push = pushed(&mut asking);
    admin.delete_topic("answers").unwrap();
    asking.answer(&push, response::SUCCESS, &[], &[]).unwrap();
    let sent = replying.finish_send(ticket).unwrap();
    assert_eq!((&*sent.message_id, sent.queue_offset), ("0", 0), "given, and not stored");
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    broker.restart();
    let topics = connect(&broker).topics().unwrap();
    assert!(topics["topicConfigTable"].get("answers").is_none(), "{topics}");
}

/// Replies to somebody who does not take them hold a bounded part of memory; others are served meanwhile.
#[test]
fn replies_on_their_way_are_bounded() {
    let broker = OurBroker::standalone(&[("shards", "1"), ("memoryBudgetMiB", "128")]);
    let mut asking = requester(&broker, "asking");
    let body = vec![0; 256 << 10];
    let to_asking = properties("asking");
    let reply = Message::new(REPLY_TOPIC, 0, &body).with_properties(&to_asking);
    // One connection is not read any more with one of them under way.
    let mut replying: Vec<Connection> = (0..8).map(|_| connect(&broker)).collect();
    let tickets: Vec<_> = replying.iter_mut().map(|it| it.start_reply(&reply).unwrap()).collect();
    let taken: Vec<_> = (0..2).map(|_| pushed(&mut asking)).collect();
    replying[0].set_timeout(PATIENCE);
    let began = Instant::now();
    connect(&broker).send(&Message::new(REPLY_TOPIC, 0, b"others")).unwrap();
    assert!(began.elapsed() < PUSH_WAIT / 2, "{:?}", began.elapsed());
    taken.iter().for_each(|it| asking.answer(it, response::SUCCESS, &[], &[]).unwrap());
    let answers: Vec<_> =
        replying.iter_mut().zip(tickets).map(|(it, ticket)| it.finish_send(ticket)).collect();
    let busy = answers.iter().filter(|it| {
        matches!(it, Err(ClientError::Refused { code: response::SYSTEM_BUSY, remark })
            if remark.contains("reason=replies"))
    });
    assert!(answers.iter().filter(|it| it.is_ok()).count() >= 2, "{answers:?}");
    assert!(busy.count() >= 4, "{answers:?}");
}
