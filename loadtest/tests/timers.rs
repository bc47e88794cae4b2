//! Goal: a message that names the time of its delivery arrives then, once, as 5.x clients expect it, and never when its
//! producer has recalled it. Method: our own client against brokers of two shards, SIGKILL in the middle.

use client::{
    Answer, ClientError, Connection, ExtValue, Message, NewTopic, Received, Sent, send::now_ms,
};
use loadtest::harness::{
    connect, ledger::await_figure, our_broker::OurBroker, read_all, wait_until,
};
use proto::{
    code::{request, response},
    recall_handle::RecallHandle,
};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 4;
const TOPIC: &str = "orders";
const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";

fn start(extra: &[(&str, &str)]) -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[&[("shards", "2")], extra].concat());
    let mut connection = connect(broker.broker_addr(), PATIENCE);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    (broker, connection)
}

fn send(
    connection: &mut Connection,
    queue: i32,
    body: &str,
    properties: &[(&str, &str)],
) -> Result<Sent, ClientError> {
    connection.send(&Message::new(TOPIC, queue, body.as_bytes()).with_properties(properties))
}

fn await_all(connection: &mut Connection, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    let arrived = wait_until(PATIENCE, || {
        all = read_all(connection, TOPIC, QUEUES);
        all.len() >= count
    });
    assert!(arrived, "{} of {count} messages", all.len());
    all
}

fn recall(connection: &mut Connection, topic: &str, handle: &str) -> Answer {
    let ext: [(&str, ExtValue<'_>); 3] =
        [("producerGroup", "p".into()), ("topic", topic.into()), ("recallHandle", handle.into())];
    connection.call(request::RECALL_MESSAGE, &ext, &[]).unwrap()
}

fn number(message: &Received, name: &str) -> i64 {
    let value = message.property(name).unwrap_or_else(|| panic!("{name}: {}", message.properties));
    value.parse().unwrap()
}

#[test]
fn a_message_arrives_at_the_time_that_it_names_once_and_as_it_was() {
    let (_broker, mut connection) = start(&[]);
    let began = now_ms();
    let at = (began + 1_300).to_string();
    for queue in 0..QUEUES {
        for (name, value) in [
            ("TIMER_DELAY_SEC", "2"),
            ("TIMER_DELAY_MS", "1700"),
            ("TIMER_DELIVER_MS", at.as_str()),
            ("TIMER_DELIVER_MS", "1000"),
            ("TIMER_DELAY_SEC", "0"),
        ] {
            let properties =
                [("TAGS", "a"), ("KEYS", "k"), ("UNIQ_KEY", "unique"), ("own", "x"), (name, value)];
            let body = format!("{queue}-{value}");
            let sent = send(&mut connection, queue, &body, &properties).unwrap();
            assert_eq!(sent.queue_id, queue, "the answer names the queue that was asked for");
            let waits = !["1000", "0"].contains(&value);
            assert_eq!(sent.recall_handle.is_some(), waits, "{name}={value}");
            let stored = connection.view_message(&sent.message_id).unwrap();
            assert_eq!(stored.topic, if waits { TIMER_TOPIC } else { TOPIC }, "{name}={value}");
        }
    }
    let now = read_all(&mut connection, TOPIC, QUEUES);
    assert!(now.len() == 2 * QUEUES as usize || now_ms() > began + 1_200, "{}", now.len());
    let all = await_all(&mut connection, 5 * QUEUES as usize);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(read_all(&mut connection, TOPIC, QUEUES).len(), all.len(), "once");
    let mut late_max = 0;
    for message in all.iter().filter(|message| message.property("REAL_TOPIC").is_some()) {
        let body = String::from_utf8(message.body.clone()).unwrap();
        let (queue, value) = body.split_once('-').unwrap();
        assert_eq!(message.queue_id.to_string(), queue);
        let out = number(message, "TIMER_OUT_MS");
        match value {
            "2" => assert!(out >= began + 2_000, "{body}"),
            "1700" => assert!(out >= began + 1_700, "{body}"),
            at => assert_eq!(out.to_string(), at),
        }
        assert!(
            message.store_timestamp >= out,
            "{body} came {} ms early",
            out - message.store_timestamp
        );
        late_max = late_max.max(message.store_timestamp - out);
        let (from, to) = (number(message, "TIMER_ENQUEUE_MS"), number(message, "TIMER_DEQUEUE_MS"));
        assert!(began <= from && from < to && to >= out, "{from} {to}");
        for (name, value) in
            [("TAGS", "a"), ("own", "x"), ("REAL_TOPIC", TOPIC), ("REAL_QID", queue)]
        {
            assert_eq!(message.property(name), Some(value), "{body}");
        }
    }
    println!("at most {late_max} ms late");
    await_figure(&mut connection, "ringmq.deferredDelivered", 3 * i64::from(QUEUES));
    await_figure(&mut connection, "timerCongestNum", 0);
}

#[test]
fn a_recalled_message_never_arrives() {
    let (broker, mut connection) = start(&[]);
    let properties = [("UNIQ_KEY", "unique"), ("TIMER_DELAY_MS", "1500")];
    let sent = send(&mut connection, 1, "recalled", &properties).unwrap();
    let other = send(&mut connection, 1, "delivered", &properties).unwrap();
    let later = [("UNIQ_KEY", "later"), ("TIMER_DELAY_SEC", "100")];
    let later = send(&mut connection, 2, "later", &later).unwrap().recall_handle.unwrap();
    await_figure(&mut connection, "timerCongestNum", 3);
    let handle = sent.recall_handle.unwrap();
    let said = RecallHandle::decode(&handle).unwrap();
    assert_eq!((said.topic.as_str(), said.unique_key.as_str()), (TOPIC, "unique"));

    // Many at the same time, and again.
    let addr = broker.broker_addr();
    let answers = thread::scope(|scope| {
        let ask = |handle| move || recall(&mut connect(addr, PATIENCE), TOPIC, handle);
        let asked = [&handle, &handle, &later, &later].map(|handle| scope.spawn(ask(handle)));
        asked.map(|asked| asked.join().unwrap())
    });
    for (answer, key) in answers.iter().zip(["unique", "unique", "later", "later"]) {
        assert_eq!(
            (answer.code, answer.ext("msgId")),
            (response::SUCCESS, Some(key)),
            "{answer:?}"
        );
    }
    assert_eq!(recall(&mut connection, TOPIC, &handle).code, response::SUCCESS);
    await_figure(&mut connection, "ringmq.deferredRecalled", 2);

    let all = await_all(&mut connection, 1);
    assert_eq!(all[0].body, b"delivered");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(read_all(&mut connection, TOPIC, QUEUES).len(), 1);
    let late = recall(&mut connection, TOPIC, &other.recall_handle.unwrap());
    assert_eq!(late.code, response::ILLEGAL_OPERATION, "{late:?}");
    await_figure(&mut connection, "timerCongestNum", 0);
}

#[test]
fn what_no_handle_is_for_is_refused() {
    let (_broker, mut connection) = start(&[]);
    connection.create_topic(&NewTopic::new("another", 1)).unwrap();
    let properties = [("UNIQ_KEY", "unique"), ("TIMER_DELAY_SEC", "100")];
    let sent = send(&mut connection, 0, "waits", &properties).unwrap();
    let plain = send(&mut connection, 0, "plain", &[("UNIQ_KEY", "unique")]).unwrap();
    assert_eq!(plain.recall_handle, None);
    let keyless = send(&mut connection, 0, "keyless", &[("TIMER_DELAY_SEC", "100")]).unwrap();
    assert_eq!(keyless.recall_handle, None);
    let handle = sent.recall_handle.unwrap();
    let said = RecallHandle::decode(&handle).unwrap();
    let with = |change: &dyn Fn(&mut RecallHandle)| {
        let mut other = said.clone();
        change(&mut other);
        other.encode().unwrap()
    };
    let place = said.place.unwrap();
    for (topic, handle, code) in [
        ("nowhere", handle.clone(), response::TOPIC_NOT_EXIST),
        ("another", handle.clone(), response::ILLEGAL_OPERATION),
        (TOPIC, "no handle".to_owned(), response::ILLEGAL_OPERATION),
        (TOPIC, with(&|it| it.broker_name = "b".to_owned()), response::ILLEGAL_OPERATION),
        (TOPIC, with(&|it| it.unique_key = "other".to_owned()), response::ILLEGAL_OPERATION),
        (TOPIC, with(&|it| it.place = None), response::ILLEGAL_OPERATION),
        (TOPIC, with(&|it| it.place = Some(-1)), response::ILLEGAL_OPERATION),
        (TOPIC, with(&|it| it.place = Some(i64::MAX)), response::ILLEGAL_OPERATION),
        (TOPIC, with(&|it| it.place = Some(place + 8)), response::ILLEGAL_OPERATION),
    ] {
        let answer = recall(&mut connection, topic, &handle);
        assert_eq!(answer.code, code, "{topic} {answer:?}");
        assert!(answer.remark.is_some());
    }
    await_figure(&mut connection, "timerCongestNum", 2);
}

#[test]
fn what_waits_and_what_is_recalled_survives_kills() {
    survive_kills(&[]);
}

#[test]
fn so_does_what_memory_has_no_room_for() {
    survive_kills(&[("shardTimersInMemoryMax", "40")]);
}

fn survive_kills(extra: &[(&str, &str)]) {
    const COUNT: i32 = 2_000;
    let (mut broker, mut connection) = start(extra);
    let tickets: Vec<_> = (0..COUNT)
        .map(|number| {
            let (key, delay) = (format!("k{number}"), (2_000 + number % 2_500).to_string());
            let properties = [("UNIQ_KEY", key.as_str()), ("TIMER_DELAY_MS", delay.as_str())];
            let body = number.to_string();
            let message = Message::new(TOPIC, number % QUEUES, body.as_bytes());
            connection.start_send(&message.with_properties(&properties)).unwrap()
        })
        .collect();
    let handles: Vec<String> = tickets
        .into_iter()
        .map(|ticket| connection.finish_send(ticket).unwrap().recall_handle.unwrap())
        .collect();
    let mut recalled = BTreeSet::new();
    // What was too late is delivered; what was answered with success is not.
    let mut recall_some = |connection: &mut Connection, from: usize| {
        for number in (from..COUNT as usize).step_by(20) {
            match recall(connection, TOPIC, &handles[number]).code {
                response::SUCCESS => assert!(recalled.insert(number)),
                code => assert_eq!(code, response::ILLEGAL_OPERATION),
            }
        }
    };
    recall_some(&mut connection, 0);
    for round in 0..2 {
        broker.kill9();
        broker.restart();
        connection = connect(broker.broker_addr(), PATIENCE);
        recall_some(&mut connection, 7 + round);
        thread::sleep(Duration::from_millis(700));
    }
    let expected = COUNT as usize - recalled.len();
    let all = await_all(&mut connection, expected);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(read_all(&mut connection, TOPIC, QUEUES).len(), all.len(), "nothing comes later");
    let numbers: BTreeSet<usize> = all
        .iter()
        .map(|message| String::from_utf8(message.body.clone()).unwrap().parse().unwrap())
        .collect();
    assert_eq!((all.len(), numbers.len()), (expected, expected), "each once");
    assert!(numbers.is_disjoint(&recalled), "and none that was recalled");
    assert!(recalled.len() >= 100, "{}", recalled.len());
    await_figure(&mut connection, "timerCongestNum", 0);
}

#[test]
fn a_half_message_waits_for_its_time_from_its_commit_on() {
    let (_broker, mut connection) = start(&[]);
    let properties = [("TRAN_MSG", "true"), ("PGROUP", "p"), ("TIMER_DELAY_MS", "1500")];
    let half = Message::new(TOPIC, 3, b"paid").with_properties(&properties);
    let sent = connection.send(&Message { sys_flag: 4, ..half }).unwrap();
    assert_eq!(sent.recall_handle, None);
    thread::sleep(Duration::from_millis(300));
    let committed = Instant::now();
    let (_, place) = proto::message_id::decode(&sent.message_id).unwrap();
    let ext: [(&str, ExtValue<'_>); 6] = [
        ("producerGroup", "p".into()),
        ("tranStateTableOffset", sent.queue_offset.into()),
        ("commitLogOffset", place.into()),
        ("commitOrRollback", 8.into()),
        ("fromTransactionCheck", false.into()),
        ("msgId", sent.message_id.as_str().into()),
    ];
    let answer = connection.call(request::END_TRANSACTION, &ext, &[]).unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{answer:?}");
    assert!(read_all(&mut connection, TOPIC, QUEUES).is_empty());
    let all = await_all(&mut connection, 1);
    let after = committed.elapsed();
    assert!(loadtest::harness::has_passed(Duration::from_millis(1_500), after), "{after:?}");
    assert_eq!((all[0].queue_id, all[0].body.as_slice()), (3, &b"paid"[..]));
    assert!(all[0].store_timestamp >= number(&all[0], "TIMER_OUT_MS"));
}

#[test]
fn an_operator_says_how_far_away_and_whether_at_all() {
    let (_broker, mut connection) =
        start(&[("timerMaxDelaySec", "10"), ("recallMessageEnable", "false")]);
    let far = send(&mut connection, 0, "far", &[("TIMER_DELAY_SEC", "11")]).expect_err("too far");
    assert_eq!(far.code(), Some(response::MESSAGE_ILLEGAL));
    assert!(far.to_string().contains("11000 ms away, the limit is 10 s"), "{far}");
    let properties = [("UNIQ_KEY", "unique"), ("TIMER_DELAY_SEC", "10")];
    let handle = send(&mut connection, 0, "near", &properties).unwrap().recall_handle.unwrap();
    let refused = recall(&mut connection, TOPIC, &handle);
    assert_eq!(refused.code, response::NO_PERMISSION);
    connection.delete_topic(TOPIC).unwrap();
    await_figure(&mut connection, "ringmq.deferredUndeliverable", 1);

    let (_broker, mut connection) = start(&[("timerWheelEnable", "false")]);
    let off = send(&mut connection, 0, "off", &[("TIMER_DELAY_MS", "5")]).expect_err("off");
    assert_eq!(off.code(), Some(response::SYSTEM_ERROR));
}
