//! Goal: a transactional message is there when its producer has committed it, once, as it was sent, and never otherwise; who
//! has not decided is asked. Method: our own client against brokers of one and two shards, SIGKILL in the middle.

use client::{
    Answer, ClientError, Connection, ExtValue, Heartbeat, Message, NewTopic, Received, Sent,
    ServerRequest,
};
use loadtest::harness::{
    connect, has_passed,
    ledger::{await_figure, runtime_info},
    our_broker::OurBroker,
    read_all, wait_until,
};
use proto::code::{request, response};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 4;
const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;
const GROUP: &str = "paying";
const HALF: [(&str, &str); 3] = [("TRAN_MSG", "true"), ("PGROUP", GROUP), ("KEYS", "k")];
const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

fn start(extra: &[(&str, &str)]) -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[&[("shards", "2")], extra].concat());
    let mut connection = connect(broker.broker_addr(), PATIENCE);
    connection.create_topic(&NewTopic::new("orders", QUEUES)).unwrap();
    (broker, connection)
}

/// A connection that may be asked.
fn producer(broker: &OurBroker, client_id: &str) -> Connection {
    let mut connection = connect(broker.broker_addr(), PATIENCE);
    let heartbeat = Heartbeat {
        client_id,
        consumer_group: None,
        subscriptions: &[],
        producer_group: Some(GROUP),
    };
    connection.heartbeat(&heartbeat).unwrap().success().unwrap();
    connection
}

fn half<'a>(queue: i32, body: &'a [u8], properties: &'a [(&'a str, &'a str)]) -> Message<'a> {
    Message { sys_flag: 4, flag: 7, ..Message::new("orders", queue, body) }
        .with_properties(properties)
}

/// The physical offset in a message id.
fn position(sent: &Sent) -> i64 {
    let (_, offset) = proto::message_id::decode(&sent.message_id).unwrap();
    offset
}

/// END_TRANSACTION, answered.
fn end(connection: &mut Connection, at: (i64, i64), outcome: i32, group: &str) -> Answer {
    connection.call(request::END_TRANSACTION, &end_header(at, outcome, group), &[]).unwrap()
}

fn end_header(
    (offset, queue_offset): (i64, i64),
    outcome: i32,
    group: &str,
) -> Vec<(&'static str, ExtValue<'_>)> {
    vec![
        ("producerGroup", group.into()),
        ("tranStateTableOffset", ExtValue::I64(queue_offset)),
        ("commitLogOffset", ExtValue::I64(offset)),
        ("commitOrRollback", outcome.into()),
        ("fromTransactionCheck", "false".into()),
        ("msgId", "u".into()),
    ]
}

fn place(sent: &Sent) -> (i64, i64) {
    (position(sent), sent.queue_offset)
}

fn await_check(producer: &mut Connection) -> ServerRequest {
    producer.server_request(request::CHECK_TRANSACTION_STATE, PATIENCE).unwrap()
}

/// The half message that a check asks for: where it lies, and the message.
fn asked(check: &ServerRequest) -> ((i64, i64), Received) {
    let number = |name: &str| check.ext(name).unwrap().parse().unwrap();
    let messages = client::messages(&check.body).unwrap();
    let [message] = <[Received; 1]>::try_from(messages).unwrap();
    ((number("commitLogOffset"), number("tranStateTableOffset")), message)
}

#[test]
fn a_message_is_there_when_it_is_committed_and_never_when_it_is_rolled_back() {
    let (_broker, mut connection) = start(&[]);
    for queue in 0..QUEUES {
        let sent = connection.send(&half(queue, b"paid", &HALF)).unwrap();
        assert_eq!(sent.queue_id, queue, "the answer names the queue that was asked for");
        let lost = connection.send(&half(queue, b"not paid", &HALF)).unwrap();
        assert_eq!(end(&mut connection, place(&lost), ROLLBACK, GROUP).code, response::SUCCESS);
        assert!(read_all(&mut connection, "orders", QUEUES).len() == queue as usize);
        assert_eq!(end(&mut connection, place(&sent), COMMIT, GROUP).code, response::SUCCESS);
        // The first decision counts, and a later one is no fault.
        for outcome in [COMMIT, ROLLBACK] {
            for sent in [&sent, &lost] {
                let again = end(&mut connection, place(sent), outcome, GROUP);
                assert_eq!(again.code, response::SUCCESS, "{:?}", again.remark);
            }
        }
        let messages = read_all(&mut connection, "orders", QUEUES);
        assert_eq!(messages.len(), queue as usize + 1, "once");
        let message = messages.iter().find(|message| message.queue_id == queue).unwrap();
        assert_eq!((&message.body[..], message.flag, message.sys_flag & 0xC), (&b"paid"[..], 7, 8));
        assert_eq!(message.prepared_transaction_offset, position(&sent));
        let queue = queue.to_string();
        for (name, value) in [
            ("TRAN_MSG", "true"),
            ("PGROUP", GROUP),
            ("KEYS", "k"),
            ("REAL_TOPIC", "orders"),
            ("REAL_QID", &queue),
        ] {
            assert_eq!(message.property(name), Some(value));
        }
        assert_eq!(connection.view_message(&sent.message_id).unwrap().topic, HALF_TOPIC);
    }
    await_figure(&mut connection, "ringmq.halfMessages", 0);
    await_figure(&mut connection, "ringmq.halfMessagesCommitted", QUEUES.into());
    await_figure(&mut connection, "ringmq.halfMessagesRolledBack", QUEUES.into());
}

#[test]
fn only_the_producer_that_sent_it_decides_on_a_half_message() {
    let (_broker, mut connection) = start(&[]);
    let sent = connection.send(&half(1, b"paid", &HALF)).unwrap();
    let plain = connection.send(&Message::new("orders", 1, b"plain")).unwrap();
    let (offset, queue_offset) = place(&sent);
    for (at, outcome, group, part) in [
        ((offset, queue_offset), COMMIT, "others", "producer group wrong"),
        ((offset, queue_offset + 1), COMMIT, GROUP, "state table offset wrong"),
        ((offset + 1, queue_offset), COMMIT, GROUP, "message failed"),
        ((offset + 1_000_000, queue_offset), ROLLBACK, GROUP, "message failed"),
        ((-1, queue_offset), ROLLBACK, GROUP, "can not find message"),
        (place(&plain), COMMIT, GROUP, "message failed"),
        ((offset, queue_offset), 4, GROUP, "no decision"),
    ] {
        let refused = end(&mut connection, at, outcome, group);
        let remark = refused.remark.unwrap_or_default();
        assert_eq!(refused.code, response::SYSTEM_ERROR, "{at:?} {outcome} {group}: {remark}");
        assert!(remark.contains(part), "{remark}");
    }
    assert_eq!(read_all(&mut connection, "orders", QUEUES).len(), 1, "it is open");
    // Who does not know yet gets no answer.
    let header = end_header((offset, queue_offset), 0, GROUP);
    let ticket = connection.start(request::END_TRANSACTION, &header, &[]).unwrap();
    assert_eq!(end(&mut connection, place(&sent), COMMIT, GROUP).code, response::SUCCESS);
    connection.set_timeout(Duration::from_millis(300));
    assert!(matches!(connection.finish(ticket), Err(ClientError::Timeout(_))));
    connection.set_timeout(PATIENCE);
    assert_eq!(read_all(&mut connection, "orders", QUEUES).len(), 2);
}

#[test]
fn what_cannot_be_transactional_is_refused() {
    let (_broker, mut connection) = start(&[]);
    let refused =
        |connection: &mut Connection, message: &Message<'_>| match connection.send(message) {
            Err(ClientError::Refused { code, remark, .. }) => (code, remark),
            other => panic!("{other:?}"),
        };
    for group in ["", "no group"] {
        let nobody = [("TRAN_MSG", "true"), ("PGROUP", group)];
        let (code, remark) = refused(&mut connection, &half(0, b"x", &nobody));
        assert_eq!(code, response::MESSAGE_ILLEGAL);
        assert!(remark.contains("PGROUP"), "{remark}");
    }
    let (code, remark) = refused(&mut connection, &half(0, b"x", &[]));
    assert_eq!(code, response::MESSAGE_ILLEGAL);
    assert!(remark.contains("sysFlag 4"), "{remark}");
    let (_broker, mut connection) = start(&[("rejectTransactionMessage", "true")]);
    let (code, remark) = refused(&mut connection, &half(0, b"x", &HALF));
    assert_eq!(code, response::NO_PERMISSION);
    assert!(remark.contains("rejectTransactionMessage"), "{remark}");
}

#[test]
fn who_has_not_decided_is_asked_until_it_decides() {
    let (broker, mut connection) =
        start(&[("transactionTimeOut", "300"), ("transactionCheckInterval", "700")]);
    let mut producers = [producer(&broker, "one"), producer(&broker, "two")];
    let properties = [HALF[0], HALF[1], ("UNIQ_KEY", "unique")];
    let began = Instant::now();
    let sent = connection.send(&half(2, b"paid", &properties)).unwrap();
    let mut checks: Vec<(Duration, ServerRequest)> = Vec::new();
    let asked_all = wait_until(PATIENCE, || {
        for producer in &mut producers {
            // What was pushed is taken in with the next answer.
            producer.max_offset("orders", 0).unwrap();
            let requests = producer.take_server_requests();
            checks.extend(requests.into_iter().map(|check| (began.elapsed(), check)));
        }
        checks.len() >= 4
    });
    assert!(asked_all, "{} checks", checks.len());
    let times = |check: &ServerRequest| -> u64 {
        let (_, message) = asked(check);
        message.property("TRANSACTION_CHECK_TIMES").unwrap().parse().unwrap()
    };
    checks.sort_by_key(|(_, check)| times(check));
    for (number, (after, check)) in (1..).zip(&checks) {
        assert_eq!(times(check), number);
        let least = Duration::from_millis(300 + 700 * (number - 1));
        assert!(has_passed(least, *after), "check {number} after {after:?}");
        let (at, message) = asked(check);
        assert_eq!(at, place(&sent), "the numbers of the first copy stay");
        assert_eq!(
            (check.ext("msgId"), check.ext("transactionId")),
            (Some("unique"), Some("unique"))
        );
        assert_eq!(check.ext("offsetMsgId"), Some(&*sent.message_id));
        let found = (&*message.topic, message.queue_id, &*message.body);
        assert_eq!(found, ("orders", 2, &b"paid"[..]));
        assert_eq!(message.property("PGROUP"), Some(GROUP));
    }
    let (at, _) = asked(&checks[3].1);
    assert_eq!(end(&mut producers[0], at, COMMIT, GROUP).code, response::SUCCESS);
    assert_eq!(read_all(&mut connection, "orders", QUEUES).len(), 1);
    await_figure(&mut connection, "ringmq.halfMessages", 0);
}

/// Nobody is asked before the time that a message asks for, whoever else decides on it meanwhile.
#[test]
fn a_message_may_say_when_its_producer_is_asked_first() {
    let (broker, mut connection) = start(&[("transactionTimeOut", "100")]);
    let mut asked_first = producer(&broker, "one");
    let patient = [HALF[0], HALF[1], ("CHECK_IMMUNITY_TIME_IN_SECONDS", "2")];
    let began = Instant::now();
    let sent = connection.send(&half(0, b"patient", &patient)).unwrap();
    for _ in 0..3 {
        assert_eq!(
            end(&mut connection, place(&sent), COMMIT, "others").code,
            response::SYSTEM_ERROR
        );
    }
    connection.send(&half(0, b"hasty", &HALF)).unwrap();
    let bodies = [(); 2].map(|()| asked(&await_check(&mut asked_first)).1.body);
    assert_eq!(bodies, [b"hasty".to_vec(), b"patient".to_vec()]);
    let after = began.elapsed();
    assert!(has_passed(Duration::from_secs(2), after), "{after:?}");
}

#[test]
fn what_nobody_decides_is_given_up_and_can_be_taken_back() {
    let (broker, mut connection) = start(&[
        ("transactionTimeOut", "100"),
        ("transactionCheckInterval", "2000"),
        ("transactionCheckMax", "2"),
    ]);
    // Nobody is online: nothing is counted.
    let sent = connection.send(&half(1, b"paid", &HALF)).unwrap();
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(runtime_info(&mut connection, "ringmq.halfMessageChecks"), "0");
    let mut producer = producer(&broker, "one");
    for times in ["1", "2"] {
        let (at, message) = asked(&await_check(&mut producer));
        assert_eq!((at, message.property("TRANSACTION_CHECK_TIMES")), (place(&sent), Some(times)));
    }
    await_figure(&mut connection, "ringmq.halfMessagesGivenUp", 1);
    await_figure(&mut connection, "ringmq.halfMessages", 0);
    // Too late, and no fault.
    assert_eq!(end(&mut connection, place(&sent), COMMIT, GROUP).code, response::SUCCESS);
    assert!(read_all(&mut connection, "orders", QUEUES).is_empty());
    let given_up = read_all(&mut connection, GIVEN_UP, 2);
    let [given_up] = &given_up[..] else { panic!("{given_up:?}") };
    assert_eq!(given_up.body, b"paid");
    for (name, value) in [
        ("REAL_TOPIC", "orders"),
        ("REAL_QID", "1"),
        ("TRANSACTION_CHECK_TIMES", "2"),
        ("PGROUP", GROUP),
    ] {
        assert_eq!(given_up.property(name), Some(value));
    }
    let resume = |connection: &mut Connection, id: &str| {
        connection.call(request::RESUME_CHECK_HALF_MESSAGE, &[("msgId", id.into())], &[]).unwrap()
    };
    for nothing in [&sent.message_id, "7F00000100002A9F00000000000F4240", "x"] {
        assert_eq!(resume(&mut connection, nothing).code, response::SYSTEM_ERROR, "{nothing}");
    }
    assert_eq!(resume(&mut connection, &given_up.message_id()).code, response::SUCCESS);
    let (at, message) = asked(&await_check(&mut producer));
    assert_eq!(message.property("TRANSACTION_CHECK_TIMES"), Some("1"), "from the beginning");
    let refused = resume(&mut connection, &message.message_id());
    assert_eq!(refused.code, response::SYSTEM_ERROR, "it is open");
    assert_eq!(end(&mut producer, at, COMMIT, GROUP).code, response::SUCCESS);
    let messages = read_all(&mut connection, "orders", QUEUES);
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((message.queue_id, &*message.body, message.flag), (1, &b"paid"[..], 7));
}

/// What is added to it later has room, or it is refused: the longest that is taken is checked, given up, and read.
#[test]
fn a_half_message_with_the_longest_properties_is_checked_and_given_up() {
    let (broker, mut connection) = start(&[
        ("transactionTimeOut", "100"),
        ("transactionCheckInterval", "100"),
        ("transactionCheckMax", "1"),
    ]);
    let mut producer = producer(&broker, "one");
    let fits = |connection: &mut Connection, bytes: usize| {
        let long = "x".repeat(bytes);
        let properties = [HALF[0], HALF[1], ("own", &long)];
        connection.send(&half(0, b"x", &properties)).is_ok()
    };
    // Some hundred bytes are ours.
    let (mut least, mut over) = (32_000, 32_768);
    while over - least > 1 {
        let middle = (least + over) / 2;
        if fits(&mut connection, middle) { least = middle } else { over = middle }
    }
    assert!(fits(&mut connection, least) && !fits(&mut connection, least + 1));
    loop {
        let (_, message) = asked(&await_check(&mut producer));
        if message.property("own").unwrap().len() == least {
            break;
        }
    }
    let given_up = wait_until(PATIENCE, || {
        let given_up = read_all(&mut connection, GIVEN_UP, 2);
        given_up.iter().any(|message| message.property("own").unwrap().len() == least)
    });
    assert!(given_up);
}

/// A producer that comes back reads slower than the broker could ask: it is asked for each half message in the end, and none
/// is given up unasked.
#[test]
fn a_producer_is_asked_for_all_of_many_large_half_messages() {
    const COUNT: usize = 400;
    let (broker, mut connection) =
        start(&[("transactionTimeOut", "0"), ("transactionCheckInterval", "2000")]);
    let mut sent: BTreeMap<(i64, i64), ()> = BTreeMap::new();
    for number in 0..COUNT {
        let body = vec![b'x'; 20_000];
        let queue = number as i32 % QUEUES;
        sent.insert(place(&connection.send(&half(queue, &body, &HALF)).unwrap()), ());
    }
    let mut producer = producer(&broker, "back");
    let decided = wait_until(PATIENCE, || {
        producer.max_offset("orders", 0).unwrap();
        for check in producer.take_server_requests() {
            let (at, _) = asked(&check);
            sent.remove(&at);
            let header = end_header(at, COMMIT, GROUP);
            producer.start_oneway(request::END_TRANSACTION, &header, &[]).unwrap();
        }
        sent.is_empty()
    });
    assert!(decided, "{} of {COUNT} were not asked for", sent.len());
    await_figure(&mut connection, "ringmq.halfMessages", 0);
    await_figure(&mut connection, "ringmq.halfMessagesGivenUp", 0);
    assert_eq!(read_all(&mut connection, "orders", QUEUES).len(), COUNT, "each once");
}

#[test]
fn a_half_message_with_a_delay_waits_from_its_commit_on() {
    let (_broker, mut connection) = start(&[("messageDelayLevel", "1s 2s")]);
    let delayed = [HALF[0], HALF[1], ("DELAY", "2")];
    let sent = connection.send(&half(3, b"later", &delayed)).unwrap();
    let committed = Instant::now();
    assert_eq!(end(&mut connection, place(&sent), COMMIT, GROUP).code, response::SUCCESS);
    assert!(read_all(&mut connection, "orders", QUEUES).is_empty());
    let mut messages = Vec::new();
    wait_until(PATIENCE, || {
        messages = read_all(&mut connection, "orders", QUEUES);
        !messages.is_empty()
    });
    let after = committed.elapsed();
    assert!(has_passed(Duration::from_secs(2), after), "{after:?}");
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((message.queue_id, &*message.body, message.sys_flag & 0xC), (3, &b"later"[..], 8));
}

#[test]
fn a_half_message_of_a_deleted_topic_becomes_nothing() {
    let (_broker, mut connection) = start(&[]);
    let sent = connection.send(&half(1, b"paid", &HALF)).unwrap();
    connection.delete_topic("orders").unwrap();
    let refused = end(&mut connection, place(&sent), COMMIT, GROUP);
    assert_eq!(refused.code, response::TOPIC_NOT_EXIST, "{:?}", refused.remark);
    connection.create_topic(&NewTopic::new("orders", QUEUES)).unwrap();
    assert_eq!(end(&mut connection, place(&sent), COMMIT, GROUP).code, response::SUCCESS);
    assert!(read_all(&mut connection, "orders", QUEUES).is_empty());
    await_figure(&mut connection, "ringmq.halfMessagesLost", 1);
    await_figure(&mut connection, "ringmq.halfMessages", 0);
}

/// Two connections decide on the same half messages, at the same time and differently: one of them wins.
#[test]
fn a_race_of_decisions_has_one_winner() {
    const COUNT: usize = 200;
    let (broker, mut connection) = start(&[]);
    let mut other = connect(broker.broker_addr(), PATIENCE);
    let places: Vec<(i64, i64)> = (0..COUNT)
        .map(|number| {
            let queue = number as i32 % QUEUES;
            place(&connection.send(&half(queue, number.to_string().as_bytes(), &HALF)).unwrap())
        })
        .collect();
    let mut tickets = Vec::new();
    for at in &places {
        let begin = |connection: &mut Connection, outcome| {
            let header = end_header(*at, outcome, GROUP);
            connection.start(request::END_TRANSACTION, &header, &[]).unwrap()
        };
        let first = begin(&mut connection, COMMIT);
        let second = begin(&mut connection, COMMIT);
        tickets.push(([first, second], begin(&mut other, ROLLBACK)));
    }
    for (commits, rollback) in tickets {
        for commit in commits {
            assert_eq!(connection.finish(commit).unwrap().code, response::SUCCESS);
        }
        assert_eq!(other.finish(rollback).unwrap().code, response::SUCCESS);
    }
    let mut seen: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for message in read_all(&mut connection, "orders", QUEUES) {
        *seen.entry(message.body).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "none doubled");
    await_figure(&mut connection, "ringmq.halfMessages", 0);
    await_figure(&mut connection, "ringmq.halfMessagesCommitted", seen.len() as i64);
    await_figure(&mut connection, "ringmq.halfMessagesRolledBack", (COUNT - seen.len()) as i64);
}

/// A thousand open transactions, and a kill in the middle of their decisions, twice: each is decided as its producer said,
/// also those that it says when it is asked.
#[test]
fn transactions_are_decided_as_their_producers_said_over_kills() {
    const COUNT: i32 = 1_000;
    let (mut broker, mut connection) = start(&[
        ("transactionTimeOut", "500"),
        ("transactionCheckInterval", "500"),
        ("transactionCheckMax", "1000"),
    ]);
    let tickets: Vec<_> = (0..COUNT)
        .map(|number| {
            let body = number.to_string();
            connection.start_send(&half(number % QUEUES, body.as_bytes(), &HALF)).unwrap()
        })
        .collect();
    let places: Vec<(i64, i64)> =
        tickets.into_iter().map(|ticket| place(&connection.finish_send(ticket).unwrap())).collect();
    // Some are decided while the broker dies, the others when it asks; each fifth is rolled back.
    let outcome = |number: usize| if number.is_multiple_of(5) { ROLLBACK } else { COMMIT };
    for round in 0..2 {
        for (number, at) in places.iter().enumerate().skip(round * 200).take(200) {
            let header = end_header(*at, outcome(number), GROUP);
            connection.start_oneway(request::END_TRANSACTION, &header, &[]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
        broker.kill9();
        broker.restart();
        connection = connect(broker.broker_addr(), PATIENCE);
    }
    let mut producer = producer(&broker, "asked");
    let answered = wait_until(PATIENCE, || {
        producer.max_offset("orders", 0).unwrap();
        for check in producer.take_server_requests() {
            let (at, message) = asked(&check);
            let number: usize = String::from_utf8(message.body).unwrap().parse().unwrap();
            assert_eq!(at, places[number]);
            let header = end_header(at, outcome(number), GROUP);
            producer.start_oneway(request::END_TRANSACTION, &header, &[]).unwrap();
        }
        runtime_info(&mut connection, "ringmq.halfMessages") == "0"
    });
    assert!(answered, "some are still open");
    let mut seen: BTreeMap<usize, u32> = BTreeMap::new();
    for message in read_all(&mut connection, "orders", QUEUES) {
        let number = String::from_utf8(message.body).unwrap().parse().unwrap();
        *seen.entry(number).or_default() += 1;
    }
    let expected: Vec<usize> =
        (0..COUNT as usize).filter(|number| outcome(*number) == COMMIT).collect();
    assert!(seen.values().all(|times| *times == 1), "none doubled");
    assert!(seen.keys().copied().eq(expected), "{} of {COUNT} were committed", seen.len());
}

#[test]
fn no_more_half_messages_are_open_than_may_be() {
    let (_broker, mut connection) = start(&[("shardOpenTransactionsMax", "10")]);
    let mut open = Vec::new();
    let refusal = loop {
        match connection.send(&half(0, b"x", &HALF)) {
            Ok(sent) => open.push(sent),
            Err(ClientError::Refused { code, remark, .. }) => break (code, remark),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!((open.len(), refusal.0), (10, response::SYSTEM_BUSY));
    assert!(refusal.1.contains("open=10 limit=10 (shardOpenTransactionsMax)"), "{}", refusal.1);
    connection.send(&Message::new("orders", 0, b"others are taken")).unwrap();
    assert_eq!(end(&mut connection, place(&open[3]), COMMIT, GROUP).code, response::SUCCESS);
    connection.send(&half(0, b"x", &HALF)).unwrap();
}

/// What GET_CONSUME_STATS says of the topic of half messages: its queues, and the sums of their ends and of a group's offsets.
fn progress(connection: &mut Connection, ext: &[(&str, ExtValue<'_>)]) -> (usize, i64, i64) {
    let answer = connection.call(request::GET_CONSUME_STATS, ext, &[]).unwrap();
    let stats = answer.success().unwrap().json().unwrap();
    let table = stats["offsetTable"].as_object().expect("a table");
    assert!(table.keys().all(|queue| queue.contains(HALF_TOPIC)), "{stats}");
    let of = |name: &str| table.values().map(|queue| queue[name].as_i64().unwrap()).sum::<i64>();
    (table.len(), of("brokerOffset"), of("consumerOffset"))
}

/// Operators ask Java's broker how far it is with half messages by the group that it has for them.
#[test]
fn the_progress_of_the_brokers_own_group_says_how_many_are_open() {
    let (mut broker, mut connection) = start(&[]);
    let own = ("consumerGroup", "CID_RMQ_SYS_TRANS".into());
    assert_eq!(progress(&mut connection, &[own]), (2, 0, 0), "a queue on each shard");
    let sent: Vec<Sent> =
        (0..10).map(|n| connection.send(&half(n % QUEUES, b"x", &HALF)).unwrap()).collect();
    let on_theirs = ("topic", HALF_TOPIC.into());
    assert_eq!(progress(&mut connection, &[own, on_theirs]), (2, 10, 0));
    for (number, outcome) in [(9, COMMIT), (4, ROLLBACK), (0, COMMIT)] {
        let ended = end(&mut connection, place(&sent[number]), outcome, GROUP);
        assert_eq!(ended.code, response::SUCCESS);
    }
    for life in 0..2 {
        assert_eq!(progress(&mut connection, &[own]), (2, 10, 3), "seven are open, life {life}");
        let others = [("consumerGroup", "others".into()), on_theirs];
        assert_eq!(progress(&mut connection, &others), (2, 10, 0), "it has consumed none");
        broker.stop();
        broker.restart();
        connection = connect(broker.broker_addr(), PATIENCE);
    }
}
