//! Goal: messages with a delay level, messages that a consumer has failed and messages that it gives up arrive when they
//! should, where they should, once, with the properties that clients go by. Method: our own client against a broker of
//! two shards with short levels, SIGKILL in the middle.

use client::{Answer, Connection, ExtValue, Message, NewTopic, Received, Ticket};
use loadtest::harness::{
    connect, has_passed, ledger::await_figure, our_broker::OurBroker, read_all, wait_until,
};
use proto::code::{request, response};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Level 1 is 1 s, and so on.
const LEVELS: &str = "1s 2s 3s 4s";
const QUEUES: i32 = 4;

fn start() -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[("shards", "2"), ("messageDelayLevel", LEVELS)]);
    let connection = connect(broker.broker_addr(), PATIENCE);
    (broker, connection)
}

/// Waits for so many messages of a topic.
fn await_all(connection: &mut Connection, topic: &str, queues: i32, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    let arrived = wait_until(PATIENCE, || {
        all = read_all(connection, topic, queues);
        all.len() >= count
    });
    assert!(arrived, "{} of {count} messages of {topic}", all.len());
    all
}

/// CONSUMER_SEND_MSG_BACK.
fn send_back(
    connection: &mut Connection,
    group: &str,
    offset: i64,
    delay_level: i32,
    tries_max: Option<i32>,
) -> Answer {
    let mut ext: Vec<(&str, ExtValue<'_>)> = vec![
        ("offset", ExtValue::I64(offset)),
        ("group", group.into()),
        ("delayLevel", delay_level.into()),
        ("originMsgId", "id".into()),
        ("originTopic", "orders".into()),
        ("unitMode", "false".into()),
    ];
    ext.extend(tries_max.map(|most| ("maxReconsumeTimes", most.into())));
    connection.call(request::CONSUMER_SEND_MSG_BACK, &ext, &[]).unwrap()
}

/// Messages that are being sent back.
struct SendingBack(Vec<Option<Ticket>>);

fn start_all(connection: &mut Connection, messages: &[Received]) -> SendingBack {
    let start = |message: &Received| {
        let ext = [
            ("offset", ExtValue::I64(message.physical_offset)),
            ("group", "workers".into()),
            ("delayLevel", 1.into()),
            ("originTopic", "orders".into()),
        ];
        connection.start(request::CONSUMER_SEND_MSG_BACK, &ext, &[]).ok()
    };
    SendingBack(messages.iter().map(start).collect())
}

impl SendingBack {
    /// Which were answered with success.
    fn finish(self, connection: &mut Connection) -> Vec<bool> {
        let mut answered = |ticket| connection.finish(ticket).is_ok_and(|answer| answer.code == 0);
        self.0.into_iter().map(|ticket| ticket.is_some_and(&mut answered)).collect()
    }
}

#[test]
fn a_delayed_message_arrives_after_its_time_once_and_as_it_was() {
    let (_broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("orders", QUEUES)).unwrap();
    let began = Instant::now();
    for queue in 0..QUEUES {
        for level in ["1", "3", "9"] {
            let properties = [("TAGS", "a"), ("KEYS", "k"), ("DELAY", level), ("own", "x")];
            let body = format!("{queue}-{level}");
            let message = Message { flag: 7, ..Message::new("orders", queue, body.as_bytes()) };
            let sent = connection.send(&message.with_properties(&properties)).unwrap();
            assert_eq!(sent.queue_id, queue, "the answer names the queue that was asked for");
        }
    }
    assert!(
        began.elapsed() > Duration::from_millis(900)
            || read_all(&mut connection, "orders", QUEUES).is_empty()
    );
    let messages = await_all(&mut connection, "orders", QUEUES, 3 * QUEUES as usize);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(read_all(&mut connection, "orders", QUEUES).len(), messages.len(), "once");
    let mut late_max = 0;
    for message in &messages {
        let body = String::from_utf8(message.body.clone()).unwrap();
        let (queue, level) = body.split_once('-').unwrap();
        assert_eq!(message.queue_id.to_string(), queue);
        // A level beyond the last is the last.
        let seconds = level.parse::<i64>().unwrap().min(4);
        let waited = message.store_timestamp - message.born_timestamp;
        assert!(waited >= seconds * 1_000, "{body} came after {waited} ms");
        late_max = late_max.max(waited - seconds * 1_000);
        let expected_level = seconds.to_string();
        for (name, value) in [
            ("TAGS", "a"),
            ("own", "x"),
            ("DELAY", expected_level.as_str()),
            ("REAL_TOPIC", "orders"),
            ("REAL_QID", queue),
        ] {
            assert_eq!(message.property(name), Some(value), "{body}");
        }
        assert_eq!((message.flag, message.reconsume_times), (7, 0));
    }
    println!("at most {late_max} ms late");
    await_figure(&mut connection, "ringmq.deferredDelivered", messages.len() as i64);
    await_figure(&mut connection, "ringmq.deferred", 0);
}

#[test]
fn what_waits_survives_a_kill_and_is_delivered_once() {
    const COUNT: i32 = 10_000;
    let (mut broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("orders", QUEUES)).unwrap();
    let tickets: Vec<_> = (0..COUNT)
        .map(|number| {
            let level = (number % 3 + 1).to_string();
            let properties = [("DELAY", level.as_str())];
            let body = number.to_string();
            let message = Message::new("orders", number % QUEUES, body.as_bytes());
            connection.start_send(&message.with_properties(&properties)).unwrap()
        })
        .collect();
    for ticket in tickets {
        connection.finish_send(ticket).unwrap();
    }
    // In the middle of deliveries, twice.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(900));
        broker.kill9();
        broker.restart();
        connection = connect(broker.broker_addr(), PATIENCE);
    }
    let messages = await_all(&mut connection, "orders", QUEUES, COUNT as usize);
    std::thread::sleep(Duration::from_secs(1));
    let mut seen: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for message in read_all(&mut connection, "orders", QUEUES) {
        *seen.entry(message.body).or_default() += 1;
    }
    assert_eq!(seen.len(), messages.len(), "none lost");
    assert!(seen.values().all(|times| *times == 1), "none doubled");
    await_figure(&mut connection, "ringmq.deferred", 0);
}

/// Consumers that fail everything, and a kill in the middle of their sending back, again and again. Who has no answer sends
/// back once more; what was answered comes again, once.
#[test]
fn a_storm_of_retries_loses_nothing_over_kills() {
    const COUNT: usize = 3_000;
    const ROUNDS: usize = 3;
    let (mut broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("orders", QUEUES)).unwrap();
    connection.create_group("workers").unwrap();
    let tickets: Vec<_> = (0..COUNT)
        .map(|number| {
            let (queue, body) = (number as i32 % QUEUES, number.to_string());
            connection.start_send(&Message::new("orders", queue, body.as_bytes())).unwrap()
        })
        .collect();
    for ticket in tickets {
        connection.finish_send(ticket).unwrap();
    }
    let messages = await_all(&mut connection, "orders", QUEUES, COUNT);
    let (mut at_once, mut interrupted) = (BTreeSet::new(), 0);
    for part in messages.chunks(COUNT / ROUNDS) {
        // A third is answered; the broker is killed as soon as it has been asked for the others.
        let (first, rest) = part.split_at(part.len() / 3);
        let mut answered = start_all(&mut connection, first).finish(&mut connection);
        let asked = start_all(&mut connection, rest);
        broker.kill9();
        answered.extend(asked.finish(&mut connection));
        let (done, open): (Vec<_>, Vec<_>) =
            part.iter().zip(answered).partition(|(_, answered)| *answered);
        at_once.extend(done.iter().map(|(it, _)| it.body.clone()));
        interrupted += open.len();
        broker.restart();
        connection = connect(broker.broker_addr(), PATIENCE);
        for (it, _) in open {
            let answer = send_back(&mut connection, "workers", it.physical_offset, 1, None);
            assert_eq!((answer.code, answer.remark), (0, None));
        }
    }
    let mut seen: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    let arrived = wait_until(PATIENCE, || {
        seen.clear();
        for message in read_all(&mut connection, "%RETRY%workers", 1) {
            assert_eq!(message.reconsume_times, 1);
            *seen.entry(message.body).or_default() += 1;
        }
        seen.len() == COUNT
    });
    assert!(arrived, "{} of {COUNT} came again", seen.len());
    await_figure(&mut connection, "ringmq.deferred", 0);
    println!("{} were answered before a kill, {interrupted} were not", at_once.len());
    assert!(!at_once.is_empty() && interrupted > 0, "the kills were not in the middle");
    let doubled = seen.iter().filter(|(body, times)| at_once.contains(*body) && **times > 1);
    assert_eq!(doubled.count(), 0, "what was answered came more than once");
    assert!(seen.values().all(|times| *times <= 2));
}

#[test]
fn a_message_that_is_sent_back_comes_again_and_is_given_up_in_the_end() {
    let (_broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("orders", QUEUES)).unwrap();
    connection.create_group("workers").unwrap();
    let properties = [("TAGS", "a"), ("UNIQ_KEY", "u1"), ("own", "x")];
    connection.send(&Message::new("orders", 1, b"fail me").with_properties(&properties)).unwrap();
    let first = await_all(&mut connection, "orders", QUEUES, 1).remove(0);
    let origin_id = first.message_id();

    let answer = send_back(&mut connection, "workers", first.physical_offset, 1, Some(2));
    assert_eq!((answer.code, answer.remark), (0, None));
    let again = await_all(&mut connection, "%RETRY%workers", 1, 1).remove(0);
    assert!(again.store_timestamp - first.store_timestamp >= 1_000);
    assert_eq!((again.reconsume_times, again.body.as_slice()), (1, &b"fail me"[..]));
    assert_eq!(again.born_timestamp, first.born_timestamp);
    for (name, value) in [
        ("RETRY_TOPIC", "orders"),
        ("ORIGIN_MESSAGE_ID", origin_id.as_str()),
        ("TAGS", "a"),
        ("UNIQ_KEY", "u1"),
        ("DELAY", "1"),
        ("REAL_TOPIC", "%RETRY%workers"),
    ] {
        assert_eq!(again.property(name), Some(value), "{}", again.properties);
    }
    // The broker chooses the level: 3 and one more for each time.
    let asked = Instant::now();
    assert_eq!(send_back(&mut connection, "workers", again.physical_offset, 0, Some(3)).code, 0);
    let third = await_all(&mut connection, "%RETRY%workers", 1, 2).remove(1);
    let after = asked.elapsed();
    assert!(has_passed(Duration::from_secs(4), after), "{after:?}");
    assert_eq!((third.reconsume_times, third.property("DELAY")), (2, Some("4")));

    assert_eq!(send_back(&mut connection, "workers", third.physical_offset, 0, Some(2)).code, 0);
    let dead = await_all(&mut connection, "%DLQ%workers", 1, 1).remove(0);
    assert_eq!((dead.reconsume_times, dead.property("DELAY")), (3, None));
    for (name, value) in [
        ("RETRY_TOPIC", "orders"),
        ("DLQ_ORIGIN_TOPIC", "orders"),
        ("ORIGIN_MESSAGE_ID", origin_id.as_str()),
        ("DLQ_ORIGIN_MESSAGE_ID", origin_id.as_str()),
        ("own", "x"),
    ] {
        assert_eq!(dead.property(name), Some(value), "{}", dead.properties);
    }
    // A consumer may give up at once.
    assert_eq!(send_back(&mut connection, "workers", first.physical_offset, -1, None).code, 0);
    await_all(&mut connection, "%DLQ%workers", 1, 2);
}

#[test]
fn a_consumer_that_sends_again_by_itself_ends_at_the_dead_letters_too() {
    let (_broker, mut connection) = start();
    connection.create_group("workers").unwrap();
    let send = |connection: &mut Connection, tries: i32| {
        let (tries, most) = (tries.to_string(), 2.to_string());
        let ext: Vec<(&str, ExtValue<'_>)> = vec![
            ("producerGroup", "workers".into()),
            ("topic", "%RETRY%workers".into()),
            ("defaultTopic", "TBW102".into()),
            ("defaultTopicQueueNums", 4.into()),
            ("queueId", 0.into()),
            ("sysFlag", 0.into()),
            ("bornTimestamp", ExtValue::I64(client::send::now_ms())),
            ("flag", 0.into()),
            ("properties", "DELAY\u{1}1\u{2}RETRY_TOPIC\u{1}orders\u{2}".into()),
            ("reconsumeTimes", tries.as_str().into()),
            ("maxReconsumeTimes", most.as_str().into()),
        ];
        connection.call(request::SEND_MESSAGE, &ext, b"again").unwrap()
    };
    // Its retry topic comes into being with the first send.
    assert_eq!(send(&mut connection, 1).code, 0);
    let again = await_all(&mut connection, "%RETRY%workers", 1, 1).remove(0);
    assert_eq!(again.reconsume_times, 1);
    assert_eq!(send(&mut connection, 2).code, 0);
    let dead = await_all(&mut connection, "%DLQ%workers", 1, 1).remove(0);
    assert_eq!((dead.reconsume_times, dead.body.as_slice()), (2, &b"again"[..]));
}

#[test]
fn what_cannot_be_sent_back_says_why_and_what_has_no_topic_is_let_go() {
    let (_broker, mut connection) = start();
    connection.create_topic(&NewTopic::new("orders", QUEUES)).unwrap();
    connection.create_group("workers").unwrap();
    for offset in [-1, i64::MAX, 123_456_789] {
        let answer = send_back(&mut connection, "workers", offset, 0, None);
        assert_eq!(answer.code, response::SYSTEM_ERROR);
        assert_eq!(answer.remark, Some(format!("look message by offset failed, {offset}")));
    }
    let error = connection
        .send(&Message::new("orders", 0, b"x").with_properties(&[("DELAY", "soon")]))
        .expect_err("no level");
    assert_eq!(error.code(), Some(response::MESSAGE_ILLEGAL));

    connection.create_topic(&NewTopic::new("short-lived", 1)).unwrap();
    let delayed = Message::new("short-lived", 0, b"x").with_properties(&[("DELAY", "1")]);
    connection.send(&delayed).unwrap();
    connection.delete_topic("short-lived").unwrap();
    await_figure(&mut connection, "ringmq.deferredUndeliverable", 1);
    await_figure(&mut connection, "ringmq.deferred", 0);
}
