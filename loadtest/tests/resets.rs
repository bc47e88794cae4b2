//! Goal: a group that is told to go on elsewhere goes on there, whether it is online or not, and nothing that its consumers
//! commit late undoes it. Method: our own client against brokers of two shards, killed where something has to last.

use client::{
    Answer, Connection, ExtValue, Heartbeat, Message, NewTopic, PullRequest, PullStatus, Pulled,
    Subscription,
};
use loadtest::harness::{connect, our_broker::OurBroker, wait_until};
use proto::{
    body::ConsumerStatus,
    code::{request, response},
};
use serde_json::Value;
use std::{
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 8;
const TOPIC: &str = "orders";
const GROUP: &str = "workers";

/// A broker with ten messages in each queue, of which the group has consumed all.
fn start() -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut connection = connect(broker.broker_addr(), PATIENCE);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    connection.create_group(GROUP).unwrap();
    for number in 0..10 {
        for queue in 0..QUEUES {
            connection.send(&Message::new(TOPIC, queue, &[number])).unwrap();
        }
    }
    (0..QUEUES).for_each(|queue| connection.commit_offset(GROUP, TOPIC, queue, 10).unwrap());
    (broker, connection)
}

/// Asks for a reset with these fields besides topic and group.
fn ask(connection: &mut Connection, fields: &[(&str, i64)]) -> Answer {
    let mut ext: Vec<(&str, ExtValue<'_>)> = vec![("topic", TOPIC.into()), ("group", GROUP.into())];
    ext.extend(fields.iter().map(|(name, value)| match *name {
        "isForce" => (*name, ExtValue::from(*value == 1)),
        _ => (*name, (*value).into()),
    }));
    connection.call(request::INVOKE_BROKER_TO_RESET_OFFSET, &ext, &[]).unwrap()
}

/// Resets, and returns what the answer says of each queue.
fn reset(connection: &mut Connection, fields: &[(&str, i64)]) -> Vec<(i64, i64)> {
    let body: Value = ask(connection, fields).success().unwrap().json().unwrap();
    let table = body["offsetTable"].as_object().unwrap();
    let mut rows: Vec<(i64, i64)> = table
        .iter()
        .map(|(key, offset)| {
            let key: Value = serde_json::from_str(key).unwrap();
            assert_eq!(key["topic"], TOPIC);
            (key["queueId"].as_i64().unwrap(), offset.as_i64().unwrap())
        })
        .collect();
    rows.sort_unstable();
    rows
}

/// Resets all queues to an offset, the same in each.
fn reset_all(connection: &mut Connection, offset: i64) {
    for queue in 0..QUEUES.into() {
        let fields = [("timestamp", 0), ("queueId", queue), ("offset", offset)];
        assert_eq!(reset(connection, &fields), [(queue, offset)]);
    }
}

fn committed(connection: &mut Connection) -> Vec<i64> {
    let of_queue = |queue| connection.consumer_offset(GROUP, TOPIC, queue).unwrap();
    (0..QUEUES).map(of_queue).collect()
}

fn pull(connection: &mut Connection, queue: i32, offset: i64) -> Pulled {
    connection.pull(&PullRequest::new(GROUP, TOPIC, queue, offset)).unwrap()
}

#[test]
fn a_running_group_goes_where_it_is_told_and_late_commits_do_not_count() {
    let (_broker, mut connection) = start();
    let mut consumer = connect(_broker.broker_addr(), PATIENCE);
    let parked = PullRequest::new(GROUP, TOPIC, 0, 10).parked(PATIENCE);
    let waiting = consumer.start_pull(&parked).unwrap();
    // The broker has it before the reset, which comes on another connection.
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    reset_all(&mut connection, 4);
    let told = consumer.finish_pull(waiting).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "who waits is told at once");
    assert_eq!((told.status, told.next_offset), (PullStatus::OffsetMoved, 4));
    assert_eq!((told.min_offset, told.max_offset), (0, 10));

    for queue in 0..QUEUES {
        consumer.commit_offset(GROUP, TOPIC, queue, 10).unwrap();
    }
    assert_eq!(committed(&mut connection), [4; QUEUES as usize], "they speak of before");
    // A commit comes along with a pull, too, and the pull is told.
    let with_commit =
        PullRequest { commit_offset: Some(10), ..PullRequest::new(GROUP, TOPIC, 1, 10) };
    let told = consumer.pull(&with_commit).unwrap();
    assert_eq!((told.status, told.next_offset), (PullStatus::OffsetMoved, 4));
    consumer.commit_offset(GROUP, TOPIC, 1, 10).unwrap();
    assert_eq!(committed(&mut connection)[1], 4);

    // One commits where it is to go on, as Java's clients do, the other pulls from there.
    consumer.commit_offset(GROUP, TOPIC, 0, 4).unwrap();
    assert_eq!(pull(&mut consumer, 0, 4).messages.len(), 6);
    assert_eq!(pull(&mut consumer, 1, 4).messages.len(), 6);
    for queue in 0..2 {
        consumer.commit_offset(GROUP, TOPIC, queue, 9).unwrap();
        assert_eq!(pull(&mut consumer, queue, 9).messages.len(), 1, "it is told once");
    }
    assert_eq!(committed(&mut connection)[..3], [9, 9, 4]);
}

/// The queue was another member's when the pull was parked that waits there, and that one's is not the last word.
#[test]
fn all_that_pull_from_a_queue_are_told() {
    let (broker, mut connection) = start();
    let mut members = [(); 2].map(|()| connect(broker.broker_addr(), PATIENCE));
    let parked = PullRequest::new(GROUP, TOPIC, 0, 10).parked(PATIENCE);
    let tickets: Vec<_> =
        members.iter_mut().map(|member| member.start_pull(&parked).unwrap()).collect();
    thread::sleep(Duration::from_millis(200));
    reset_all(&mut connection, 4);
    for (member, ticket) in members.iter_mut().zip(tickets) {
        let told = member.finish_pull(ticket).unwrap();
        assert_eq!((told.status, told.next_offset), (PullStatus::OffsetMoved, 4));
        member.commit_offset(GROUP, TOPIC, 0, 10).unwrap();
    }
    assert_eq!(committed(&mut connection)[0], 4);
    // The new owner goes on there; a message that it had in hand is done late.
    let request = PullRequest { messages_max: 2, ..PullRequest::new(GROUP, TOPIC, 0, 4) };
    assert_eq!(members[1].pull(&request).unwrap().messages.len(), 2);
    members[1].commit_offset(GROUP, TOPIC, 0, 10).unwrap();
    assert_eq!(committed(&mut connection)[0], 4);
    members[1].commit_offset(GROUP, TOPIC, 0, 6).unwrap();
    assert_eq!(committed(&mut connection)[0], 6);
    // One that skips what is there.
    reset_all(&mut connection, 10);
    assert_eq!(pull(&mut members[1], 0, 6).next_offset, 10);
    assert_eq!(pull(&mut members[1], 0, 10).status, PullStatus::NotFound);
    members[1].commit_offset(GROUP, TOPIC, 0, 6).unwrap();
    assert_eq!(committed(&mut connection)[0], 10, "what it had in hand");
}

#[test]
fn a_reset_lasts_until_it_was_heard_however_the_broker_ends() {
    let (mut broker, mut connection) = start();
    reset_all(&mut connection, 4);
    for round in 0..2 {
        match round {
            0 => broker.kill9(),
            _ => assert!(broker.stop().is_some_and(|status| status.success())),
        }
        broker.restart();
        connection = connect(broker.broker_addr(), PATIENCE);
        assert_eq!(committed(&mut connection), [4; QUEUES as usize]);
        (0..QUEUES).for_each(|queue| connection.commit_offset(GROUP, TOPIC, queue, 10).unwrap());
        assert_eq!(committed(&mut connection), [4; QUEUES as usize]);
    }
    for queue in 0..QUEUES {
        assert_eq!(pull(&mut connection, queue, 4).messages.len(), 6, "it goes on there");
        connection.commit_offset(GROUP, TOPIC, queue, 10).unwrap();
    }
    assert!(broker.stop().is_some_and(|status| status.success()));
    broker.restart();
    connection = connect(broker.broker_addr(), PATIENCE);
    assert_eq!(committed(&mut connection), [10; QUEUES as usize]);
    let pulled = pull(&mut connection, 0, 10);
    assert_eq!(pulled.status, PullStatus::NotFound, "the group has heard it");
}

#[test]
fn where_to_is_a_time_an_end_or_an_offset() {
    let (_broker, mut connection) = start();
    let everywhere = |offset: i64| (0..QUEUES.into()).map(|queue| (queue, offset)).collect();
    let all: fn(i64) -> [(&'static str, i64); 2] = |time| [("timestamp", time), ("isForce", 1)];
    let zero: Vec<(i64, i64)> = everywhere(0);
    let ten: Vec<(i64, i64)> = everywhere(10);
    assert_eq!(reset(&mut connection, &all(0)), zero);
    assert_eq!(committed(&mut connection), [0; QUEUES as usize]);
    assert_eq!(reset(&mut connection, &all(-1)), ten);
    assert_eq!(reset(&mut connection, &all(1)), zero);
    // In the middle of what was stored.
    thread::sleep(Duration::from_millis(20));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    thread::sleep(Duration::from_millis(20));
    connection.send(&Message::new(TOPIC, 3, b"later")).unwrap();
    assert_eq!(reset(&mut connection, &all(now)), ten, "the eleventh of one is behind it");
    assert_eq!(reset(&mut connection, &all(i64::MAX))[3], (3, 11));
    // Unless it is forced, nobody skips anything.
    (0..QUEUES).for_each(|queue| drop(pull(&mut connection, queue, 5)));
    reset_all(&mut connection, 5);
    let gently = [("timestamp", -1), ("isForce", 0)];
    assert_eq!(reset(&mut connection, &gently), everywhere(5));
    assert_eq!(reset(&mut connection, &[("timestamp", 0), ("isForce", 0)]), zero);

    let one = |queue: i64, offset: i64| [("timestamp", -1), ("queueId", queue), ("offset", offset)];
    assert_eq!(reset(&mut connection, &one(2, 7)), [(2, 7)]);
    assert_eq!(reset(&mut connection, &one(3, -1)), [(3, 11)], "no offset is the time's");
    for (queue, offset, code, part) in [
        (2, 11, response::SYSTEM_ERROR, "Target offset 11 not in consume queue range [0-10]"),
        (2, -2, response::SYSTEM_ERROR, "Target offset -2 not in"),
        (8, 0, response::INVALID_PARAMETER, "queueId[8] does not exist"),
    ] {
        let refused = ask(&mut connection, &one(queue, offset));
        assert_eq!(refused.code, code);
        assert!(refused.remark.as_deref().unwrap_or_default().contains(part), "{refused:?}");
    }
}

#[test]
fn who_cannot_be_told_is_not() {
    let (_broker, mut connection) = start();
    let asked = |topic: &'static str, group: &'static str| {
        [("topic", topic.into()), ("group", group.into()), ("timestamp", 0i64.into())]
    };
    let code = request::INVOKE_BROKER_TO_RESET_OFFSET;
    let mut refused = |topic, group| connection.call(code, &asked(topic, group), &[]).unwrap();
    assert_eq!(refused("nowhere", GROUP).code, response::TOPIC_NOT_EXIST);
    assert_eq!(refused(TOPIC, "nobody").code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    let missing = connection.call(code, &[("topic", TOPIC.into())], &[]).unwrap();
    assert_eq!(missing.code, response::SYSTEM_ERROR);

    // A topic that is deleted takes its resets along.
    reset_all(&mut connection, 4);
    connection.delete_topic(TOPIC).unwrap();
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    connection.send(&Message::new(TOPIC, 0, b"new")).unwrap();
    assert_eq!(pull(&mut connection, 0, 0).messages.len(), 1);
    connection.commit_offset(GROUP, TOPIC, 0, 1).unwrap();
    assert_eq!(connection.consumer_offset(GROUP, TOPIC, 0).unwrap(), 1);
}

#[test]
fn a_topic_of_65_535_queues_is_reset_while_others_work() {
    let (broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("wide", 65_535)).unwrap();
    let addr = broker.broker_addr();
    let resetting = thread::spawn(move || {
        let mut tool = connect(addr, PATIENCE);
        tool.set_timeout(PATIENCE);
        let ext = [("topic", "wide".into()), ("group", GROUP.into()), ("timestamp", 0i64.into())];
        let code = request::INVOKE_BROKER_TO_RESET_OFFSET;
        let body: Value = tool.call(code, &ext, &[]).unwrap().success().unwrap().json().unwrap();
        body["offsetTable"].as_object().unwrap().len()
    });
    let mut slowest = Duration::ZERO;
    while !resetting.is_finished() {
        let began = Instant::now();
        connection.send(&Message::new(TOPIC, 0, b"beside")).unwrap();
        slowest = slowest.max(began.elapsed());
    }
    assert_eq!(resetting.join().unwrap(), 65_535);
    eprintln!("a send beside it took {slowest:?} at most");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(pull(&mut connection, 0, 10).status, PullStatus::Found);
    let wide = PullRequest::new(GROUP, "wide", 40_000, 0);
    assert_eq!(connection.pull(&wide).unwrap().status, PullStatus::NotFound, "it is there already");
}

#[test]
fn consumers_say_how_far_they_are() {
    let (broker, mut connection) = start();
    let code = request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS;
    let ext = [("topic", TOPIC.into()), ("group", GROUP.into())];
    let nobody = connection.call(code, &ext, &[]).unwrap();
    assert_eq!(nobody.code, response::SYSTEM_ERROR);
    let says = "No Any Consumer online in the consumer group: [workers]";
    assert_eq!(nobody.remark.as_deref(), Some(says));
    let mut consumers = ["one", "two"].map(|client_id| {
        let mut consumer = connect(broker.broker_addr(), PATIENCE);
        let heartbeat = Heartbeat {
            client_id,
            consumer_group: Some(GROUP),
            subscriptions: &[Subscription { topic: TOPIC, expression: "*", version: 1 }],
            producer_group: None,
        };
        consumer.heartbeat(&heartbeat).unwrap().success().unwrap();
        consumer
    });
    let ticket = connection.start(code, &ext, &[]).unwrap();
    // One of them answers, the other does not.
    let mut asked = Vec::new();
    let got = wait_until(PATIENCE, || {
        consumers[0].max_offset(TOPIC, 0).unwrap();
        let requests = consumers[0].take_server_requests();
        let of_status =
            |it: &client::ServerRequest| it.code == request::GET_CONSUMER_STATUS_FROM_CLIENT;
        asked.extend(requests.into_iter().filter(of_status));
        !asked.is_empty()
    });
    assert!(got, "it is asked");
    assert_eq!((asked[0].ext("topic"), asked[0].ext("group")), (Some(TOPIC), Some(GROUP)));
    let said = br#"{"messageQueueTable":{{"brokerName":"b","queueId":3,"topic":"orders"}:7}}"#;
    consumers[0].answer(&asked[0], response::SUCCESS, &[], said).unwrap();
    let body = connection.finish(ticket).unwrap();
    let body = ConsumerStatus::read(&body.success().unwrap().body).unwrap();
    assert_eq!(body.consumer_table.keys().collect::<Vec<_>>(), ["one"]);
    let of_one: Vec<(i32, i64)> = body.consumer_table["one"]
        .iter()
        .map(|(queue, offset)| (queue.queue_id, *offset))
        .collect();
    assert_eq!(of_one, [(3, 7)]);
}
