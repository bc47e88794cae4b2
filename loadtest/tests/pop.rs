//! Goal: consumers that pop get each message, in hand of one of them at a time, again when nobody acknowledges it in time, and
//! never again when somebody did; waiting costs no time and is answered at once. Method: our own client against brokers of two
//! shards, SIGKILL in the middle.

use client::{
    Answer, ClientError, Connection, ExtValue, Message, NewTopic, Received, pull, send::now_ms,
};
use loadtest::harness::{connect, our_broker::OurBroker, wait_until};
use proto::code::{request, response};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
const QUEUES: i32 = 4;
const TOPIC: &str = "orders";
const GROUP: &str = "workers";

fn start(extra: &[(&str, &str)]) -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(&[&[("shards", "2")], extra].concat());
    let mut connection = connect(broker.broker_addr(), PATIENCE);
    connection.create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    connection.create_group(GROUP).unwrap();
    (broker, connection)
}

fn send(connection: &mut Connection, queue: i32, body: &str, tag: &str) {
    let properties = [("TAGS", tag), ("own", tag)];
    let message = Message::new(TOPIC, queue, body.as_bytes()).with_properties(&properties);
    connection.send(&message).unwrap();
}

/// What a pop asks for.
#[derive(Clone, Copy)]
struct Pop<'a> {
    topic: &'a str,
    group: &'a str,
    queue: i64,
    count: i64,
    invisible_ms: i64,
    poll_ms: i64,
    from_max: bool,
    filter: Option<(&'a str, &'a str)>,
    attempt: Option<&'a str>,
}

/// All there is, at once, for a minute.
const POP: Pop<'static> = Pop {
    topic: TOPIC,
    group: GROUP,
    queue: -1,
    count: 32,
    invisible_ms: 60_000,
    poll_ms: 0,
    from_max: false,
    filter: None,
    attempt: None,
};

impl Pop<'_> {
    fn ext(&self) -> Vec<(&str, ExtValue<'_>)> {
        let mut ext: Vec<(&str, ExtValue<'_>)> = vec![
            ("consumerGroup", self.group.into()),
            ("topic", self.topic.into()),
            ("queueId", self.queue.into()),
            ("maxMsgNums", self.count.into()),
            ("invisibleTime", self.invisible_ms.into()),
            ("pollTime", self.poll_ms.into()),
            ("bornTime", now_ms().into()),
            ("initMode", i64::from(self.from_max).into()),
            ("order", self.attempt.is_some().into()),
        ];
        if let Some((language, text)) = self.filter {
            ext.extend([("expType", language.into()), ("exp", text.into())]);
        }
        if let Some(attempt) = self.attempt {
            ext.push(("attemptId", attempt.into()));
        }
        ext
    }
}

/// A message in hand, with its receipt.
#[derive(Clone, Debug)]
struct Popped {
    message: Received,
    receipt: String,
    /// How often it was popped before, as consumers in order learn it.
    order_count: Option<u32>,
}

impl Popped {
    fn body(&self) -> String {
        String::from_utf8(self.message.body.clone()).unwrap()
    }

    fn id(&self) -> (i32, i64) {
        (self.message.queue_id, self.message.queue_offset)
    }
}

/// `0 queue value;...` by queue.
fn by_queue(text: &str) -> BTreeMap<String, String> {
    let items = text.split(';').filter(|item| !item.is_empty());
    let parts = items.map(|item| {
        let words: Vec<&str> = item.split(' ').collect();
        assert_eq!((words.len(), words[0]), (3, "0"), "{text}");
        (words[1].to_owned(), words[2].to_owned())
    });
    parts.collect()
}

/// What an answer brings, read as Java's client reads it.
fn popped(answer: &Answer) -> Vec<Popped> {
    let ext = |name| answer.ext(name).unwrap_or_else(|| panic!("{name}: {answer:?}"));
    if answer.code != response::SUCCESS {
        let known = [response::POLLING_TIMEOUT, response::POLLING_FULL];
        assert!(known.contains(&answer.code), "{answer:?}");
        if is_late(answer) {
            return Vec::new();
        }
        assert!(ext("restNum").parse::<i64>().is_ok() && answer.body.is_empty());
        return Vec::new();
    }
    let starts = by_queue(ext("startOffsetInfo"));
    let mut offsets = by_queue(ext("msgOffsetInfo"));
    let counts = answer.ext("orderCountInfo").map(by_queue);
    let messages = pull::messages(&answer.body).unwrap();
    let mut all = Vec::new();
    for message in messages {
        let queue = message.queue_id.to_string();
        let of_queue = offsets.get_mut(&queue).unwrap();
        let (first, rest) = of_queue.split_once(',').unwrap_or((of_queue.as_str(), ""));
        assert_eq!(first, message.queue_offset.to_string(), "{answer:?}");
        *of_queue = rest.to_owned();
        let receipt = format!(
            "{} {} {} {} 0 broker {queue} {}",
            starts[&queue],
            ext("popTime"),
            ext("invisibleTime"),
            ext("reviveQid"),
            message.queue_offset
        );
        let key = format!("qo{queue}%{}", message.queue_offset);
        let count = counts.as_ref().map(|counts| {
            counts.get(&key).or_else(|| counts.get(&queue)).unwrap().parse().unwrap()
        });
        all.push(Popped { message, receipt, order_count: count });
    }
    assert!(offsets.values().all(String::is_empty), "{answer:?}");
    assert!(!all.is_empty());
    all
}

/// The machine was so busy that the request was not served.
fn is_late(answer: &Answer) -> bool {
    answer.remark.as_deref().is_some_and(|remark| remark.ends_with("timeout too much"))
}

fn pop(connection: &mut Connection, pop: Pop<'_>) -> Vec<Popped> {
    loop {
        let answer = connection.call(request::POP_MESSAGE, &pop.ext(), &[]).unwrap();
        if !is_late(&answer) {
            return popped(&answer);
        }
    }
}

/// Pops until nothing comes.
fn pop_all(connection: &mut Connection, of: Pop<'_>) -> Vec<Popped> {
    let mut all = Vec::new();
    loop {
        let some = pop(connection, of);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

fn receipt_ext<'a>(of: &'a Popped, group: &'a str) -> Vec<(&'a str, ExtValue<'a>)> {
    vec![
        ("consumerGroup", group.into()),
        ("topic", of.message.topic.as_str().into()),
        ("queueId", i64::from(of.message.queue_id).into()),
        ("extraInfo", of.receipt.as_str().into()),
        ("offset", of.message.queue_offset.into()),
    ]
}

fn ack(connection: &mut Connection, of: &Popped) {
    let answer = connection.call(request::ACK_MESSAGE, &receipt_ext(of, GROUP), &[]).unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{answer:?}");
}

/// Keeps a message for so long from now on. The new receipt.
fn change(connection: &mut Connection, of: &Popped, invisible_ms: i64) -> Popped {
    let mut ext = receipt_ext(of, GROUP);
    ext.push(("invisibleTime", invisible_ms.into()));
    let answer = connection.call(request::CHANGE_MESSAGE_INVISIBLETIME, &ext, &[]).unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{answer:?}");
    let words: Vec<&str> = of.receipt.split(' ').collect();
    let ext = |name| answer.ext(name).unwrap().to_owned();
    let start = [words[0].to_owned(), ext("popTime"), ext("invisibleTime"), ext("reviveQid")];
    let receipt = [&start.join(" "), &words[4..].join(" ")].map(String::as_str).join(" ");
    Popped { receipt, ..of.clone() }
}

fn times_of(all: &[Popped], of: &Popped) -> i32 {
    all.iter().find(|one| one.id() == of.id()).unwrap().message.reconsume_times
}

fn bodies(popped: &[Popped]) -> BTreeSet<String> {
    popped.iter().map(Popped::body).collect()
}

fn offsets(connection: &mut Connection) -> Vec<i64> {
    let of = |queue| connection.consumer_offset(GROUP, TOPIC, queue).unwrap();
    (0..QUEUES).map(of).collect()
}

#[test]
fn each_message_is_in_one_hand_at_a_time_and_comes_again_when_nobody_acknowledges_it() {
    let (_broker, mut connection) = start(&[]);
    for number in 0..20 {
        send(&mut connection, number % QUEUES, &number.to_string(), "a");
    }
    let short = Pop { invisible_ms: 1_000, count: 8, ..POP };
    let began = Instant::now();
    let mut all = pop_all(&mut connection, short);
    assert_eq!(bodies(&all).len(), 20);
    if began.elapsed() < Duration::from_millis(900) {
        assert_eq!(all.len(), 20);
        assert!(all.iter().all(|one| one.message.reconsume_times == 0));
    } else {
        // The machine was busy: some have come again already.
        thread::sleep(Duration::from_millis(1_100));
        all = pop_all(&mut connection, POP);
    }
    let is_done = |one: &Popped| one.message.queue_offset % 2 == 1;
    all.iter().filter(|one| is_done(one)).for_each(|one| ack(&mut connection, one));
    all.iter().filter(|one| !is_done(one)).for_each(|one| drop(change(&mut connection, one, 0)));
    thread::sleep(Duration::from_millis(100));
    let again = pop_all(&mut connection, POP);
    assert_eq!(again.len(), 3 * QUEUES as usize);
    for one in &again {
        assert!(!is_done(one), "{one:?}");
        assert_eq!(one.message.reconsume_times, times_of(&all, one) + 1);
        assert_eq!(one.message.property("own"), Some("a"));
        assert_eq!(one.message.topic, TOPIC, "it never went elsewhere");
    }
    // A receipt of before is somebody else's by now.
    let stale = all.iter().find(|one| one.id() == again[0].id()).unwrap();
    ack(&mut connection, stale);
    let kept = change(&mut connection, &again[0], 500);
    let time_of = |one: &Popped| one.receipt.split(' ').nth(1).unwrap().to_owned();
    assert_ne!(time_of(&kept), time_of(&again[0]), "so it was not done");
    again[1..].iter().for_each(|one| ack(&mut connection, one));
    ack(&mut connection, &again[0]);
    thread::sleep(Duration::from_millis(600));
    let last = pop_all(&mut connection, POP);
    assert_eq!(last.len(), 1);
    let times = again[0].message.reconsume_times + 1;
    assert_eq!((last[0].id(), last[0].message.reconsume_times), (again[0].id(), times));
    ack(&mut connection, &last[0]);
    assert_eq!(offsets(&mut connection), [5; QUEUES as usize], "all is consumed");
    assert!(pop_all(&mut connection, POP).is_empty());
}

#[test]
fn who_waits_is_answered_at_once_and_each_message_wakes_one() {
    let (broker, mut connection) = start(&[]);
    let addr = broker.broker_addr();
    let waiting = Pop { poll_ms: 20_000, ..POP };
    let (came, comes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..4 {
            let came = came.clone();
            scope.spawn(move || {
                let mut consumer = connect(addr, PATIENCE);
                loop {
                    let popped = pop(&mut consumer, waiting);
                    popped.iter().for_each(|one| ack(&mut consumer, one));
                    let ends = popped.iter().any(|one| one.body() == "end") || popped.is_empty();
                    let at = now_ms();
                    popped.into_iter().for_each(|one| came.send((at, one)).unwrap());
                    if ends {
                        return;
                    }
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        let mut late: Vec<i64> = Vec::new();
        for number in 0..200 {
            let sent = now_ms();
            send(&mut connection, number % QUEUES, &sent.to_string(), "a");
            let (at, one) = comes.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(one.body(), sent.to_string());
            late.push(at - sent);
        }
        late.sort_unstable();
        println!("a message that is waited for: median {} ms, worst {} ms", late[100], late[199]);
        assert!(late[100] < 50, "nobody waits for a tick: {late:?}");
        // One at a time: each end ends one of them.
        for _ in 0..4 {
            send(&mut connection, 0, "end", "a");
            assert_eq!(comes.recv_timeout(Duration::from_secs(10)).unwrap().1.body(), "end");
        }
    });
    assert_eq!(offsets(&mut connection).iter().sum::<i64>(), 204);
}

#[test]
fn who_waits_gets_what_nobody_acknowledged_when_its_time_is_over() {
    let (broker, mut connection) = start(&[]);
    send(&mut connection, 1, "m", "a");
    let first = pop(&mut connection, Pop { invisible_ms: 1_500, ..POP });
    assert_eq!(first.len(), 1);
    let mut other = connect(broker.broker_addr(), PATIENCE);
    let began = Instant::now();
    let got = pop(&mut other, Pop { poll_ms: 20_000, ..POP });
    let took = began.elapsed();
    assert_eq!((got.len(), got[0].id()), (1, first[0].id()));
    assert!(took > Duration::from_millis(1_000) && took < Duration::from_secs(6), "{took:?}");
    // It gives it back sooner than it said at first.
    let waiting = Pop { poll_ms: 20_000, ..POP };
    let ticket = connection.start(request::POP_MESSAGE, &waiting.ext(), &[]).unwrap();
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    change(&mut other, &got[0], 200);
    let again = popped(&connection.finish(ticket).unwrap());
    assert_eq!((again.len(), again[0].message.reconsume_times), (1, 2));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn who_waits_for_one_queue_is_told_of_it_whoever_waits_for_others() {
    let (broker, mut connection) = start(&[]);
    let mut consumers: Vec<Connection> =
        (0..=QUEUES).map(|_| connect(broker.broker_addr(), PATIENCE)).collect();
    let mut tickets = Vec::new();
    for (queue, consumer) in consumers.iter_mut().enumerate().take(QUEUES as usize) {
        let of = Pop { queue: queue as i64, poll_ms: 20_000, ..POP };
        tickets.push(consumer.start(request::POP_MESSAGE, &of.ext(), &[]).unwrap());
    }
    // One of another group waits for any.
    let of = Pop { group: "others", poll_ms: 20_000, ..POP };
    let any = consumers[QUEUES as usize].start(request::POP_MESSAGE, &of.ext(), &[]).unwrap();
    thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    for queue in 0..QUEUES {
        send(&mut connection, queue, &queue.to_string(), "a");
        thread::sleep(Duration::from_millis(50));
    }
    for (queue, ticket) in tickets.into_iter().enumerate() {
        let got = popped(&consumers[queue].finish(ticket).unwrap());
        assert_eq!(bodies(&got), BTreeSet::from([queue.to_string()]));
    }
    assert_eq!(popped(&consumers[QUEUES as usize].finish(any).unwrap())[0].body(), "0");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn receipts_of_a_pop_that_took_from_all_shards_count() {
    let (_broker, mut connection) = start(&[]);
    for number in 0..200 {
        send(&mut connection, number % QUEUES, &number.to_string(), "a");
    }
    let mut shards_of_pops = BTreeSet::new();
    loop {
        let some = pop(&mut connection, Pop { count: 7, invisible_ms: 1_000, ..POP });
        if some.is_empty() {
            break;
        }
        shards_of_pops.extend(some.iter().map(|one| one.message.queue_id % 2));
        some.iter().for_each(|one| ack(&mut connection, one));
    }
    assert_eq!(shards_of_pops.len(), 2);
    thread::sleep(Duration::from_millis(1_100));
    assert!(pop_all(&mut connection, POP).is_empty(), "each was done");
    assert_eq!(offsets(&mut connection), [50; QUEUES as usize]);
}

#[test]
fn a_group_that_is_told_to_go_back_pops_from_there_also_while_it_waits() {
    let (broker, mut connection) = start(&[]);
    (0..40).for_each(|number| send(&mut connection, number % QUEUES, &number.to_string(), "a"));
    let all = pop_all(&mut connection, POP);
    all[..30].iter().for_each(|one| ack(&mut connection, one));
    let mut consumer = connect(broker.broker_addr(), PATIENCE);
    let waiting = Pop { poll_ms: 20_000, ..POP };
    let ticket = consumer.start(request::POP_MESSAGE, &waiting.ext(), &[]).unwrap();
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let ext: [(&str, ExtValue<'_>); 4] = [
        ("topic", TOPIC.into()),
        ("group", GROUP.into()),
        ("timestamp", 0_i64.into()),
        ("isForce", true.into()),
    ];
    let answer = connection.call(request::INVOKE_BROKER_TO_RESET_OFFSET, &ext, &[]).unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{answer:?}");
    let mut got = popped(&consumer.finish(ticket).unwrap());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    got.extend(pop_all(&mut consumer, POP));
    assert_eq!((got.len(), bodies(&got).len()), (40, 40));
    all[30..].iter().for_each(|one| ack(&mut connection, one));
    assert_eq!(offsets(&mut connection), [0; QUEUES as usize], "receipts of before are void");
    got.iter().for_each(|one| ack(&mut consumer, one));
    assert_eq!(offsets(&mut connection), [10; QUEUES as usize]);
}

#[test]
fn a_wait_ends_in_time_and_with_its_connection() {
    let (broker, mut connection) = start(&[("popPollingSize", "3")]);
    let began = Instant::now();
    let nothing = Pop { poll_ms: 700, ..POP };
    let answer = connection.call(request::POP_MESSAGE, &nothing.ext(), &[]).unwrap();
    assert_eq!(answer.code, response::POLLING_TIMEOUT, "{answer:?}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(650) && took < Duration::from_secs(5), "{took:?}");

    // Each of two executors lets three wait; the kernel deals connections out as it likes, all to one of them if it must.
    let mut others: Vec<Connection> =
        (0..40).map(|_| connect(broker.broker_addr(), PATIENCE)).collect();
    let wait = |other: &mut Connection, poll_ms| {
        other.start(request::POP_MESSAGE, &Pop { poll_ms, ..POP }.ext(), &[]).unwrap()
    };
    let tickets: Vec<_> = others.iter_mut().map(|other| wait(other, 3_000)).collect();
    let tickets = others.iter_mut().zip(tickets);
    let answers: Vec<_> = tickets.map(|(other, ticket)| other.finish(ticket).unwrap()).collect();
    let (waited, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.code == response::POLLING_TIMEOUT);
    assert!((3..=6).contains(&waited.len()), "{} waited", waited.len());
    for answer in refused {
        assert_eq!(answer.code, response::POLLING_FULL, "{answer:?}");
        assert!(answer.remark.as_deref().is_some_and(|it| it.contains("key=popPollingSize")));
    }
    for other in &mut others {
        let _ticket = wait(other, 20_000);
    }
    thread::sleep(Duration::from_millis(300));
    drop(others);
    let free = wait_until(Duration::from_secs(10), || {
        let answer = connection.call(request::POP_MESSAGE, &nothing.ext(), &[]).unwrap();
        answer.code == response::POLLING_TIMEOUT
    });
    assert!(free, "connections that ended wait no more");
    // Each executor hears of it by itself.
    thread::sleep(Duration::from_millis(500));
    send(&mut connection, 0, "m", "a");
    assert_eq!(pop(&mut connection, POP).len(), 1, "nobody who is gone has it");
}

#[test]
fn in_order_a_queue_gives_nothing_while_something_is_in_flight() {
    let (broker, mut connection) = start(&[]);
    for number in 0..5 {
        send(&mut connection, 2, &number.to_string(), "a");
    }
    let ordered = Pop { count: 2, queue: 2, attempt: Some("one"), ..POP };
    let first = pop(&mut connection, ordered);
    assert_eq!(first.iter().map(Popped::body).collect::<Vec<_>>(), ["0", "1"]);
    assert!(first[0].receipt.contains(" 999 "), "{}", first[0].receipt);
    assert!(pop(&mut connection, Pop { attempt: Some("two"), ..ordered }).is_empty());
    let repeated = pop(&mut connection, ordered);
    assert_eq!(repeated.iter().map(Popped::body).collect::<Vec<_>>(), ["0", "1"]);
    assert_eq!(repeated[0].order_count, Some(0), "an attempt that is repeated is the same");
    ack(&mut connection, &repeated[0]);
    assert_eq!(connection.consumer_offset(GROUP, TOPIC, 2).unwrap(), 1);
    // Whoever waits gets the next ones when these are done.
    let mut other = connect(broker.broker_addr(), PATIENCE);
    let waiting = Pop { attempt: Some("two"), poll_ms: 20_000, ..ordered };
    let ticket = other.start(request::POP_MESSAGE, &waiting.ext(), &[]).unwrap();
    thread::sleep(Duration::from_millis(300));
    let kept = change(&mut connection, &repeated[1], 30_000);
    let began = Instant::now();
    ack(&mut connection, &kept);
    let next = popped(&other.finish(ticket).unwrap());
    assert_eq!(next.iter().map(Popped::body).collect::<Vec<_>>(), ["2", "3"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // One fails: it comes again, with its count, before what follows.
    ack(&mut other, &next[0]);
    change(&mut other, &next[1], 300);
    assert!(pop(&mut connection, Pop { attempt: Some("three"), ..ordered }).is_empty());
    thread::sleep(Duration::from_millis(400));
    let again = pop(&mut connection, Pop { attempt: Some("three"), ..ordered });
    assert_eq!(again.iter().map(Popped::body).collect::<Vec<_>>(), ["3", "4"]);
    assert_eq!(again[0].order_count, Some(1));
    assert_eq!(again[1].order_count, Some(0));
    again.iter().for_each(|one| ack(&mut connection, one));
    assert_eq!(connection.consumer_offset(GROUP, TOPIC, 2).unwrap(), 5);
}

#[test]
fn what_does_not_match_is_passed_and_does_not_come_back() {
    let (_broker, mut connection) = start(&[]);
    // A filter that looks at large messages goes over few of them at once.
    connection.create_topic(&NewTopic::new("large", 1)).unwrap();
    for number in 0..600 {
        let properties = [("own", if number == 599 { "rare" } else { "many" })];
        let message = Message::new("large", 0, &[b'x'; 8_000]).with_properties(&properties);
        connection.send(&message).unwrap();
    }
    let filter = Some(("SQL92", "own = 'rare'"));
    let of = Pop { topic: "large", filter, poll_ms: 20_000, ..POP };
    let began = Instant::now();
    assert_eq!(pop(&mut connection, of)[0].message.queue_offset, 599);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    for number in 0..3_000 {
        let tag = if number % 1_000 == 999 { "rare" } else { "many" };
        send(&mut connection, 0, &number.to_string(), tag);
    }
    for (group, filter) in
        [("by-tag", ("TAG", "rare || other")), ("by-sql", ("SQL92", "own = 'rare'"))]
    {
        connection.create_group(group).unwrap();
        let of = Pop { group, filter: Some(filter), ..POP };
        let got = pop_all(&mut connection, of);
        let bodies: Vec<String> = got.iter().map(Popped::body).collect();
        assert_eq!(bodies, ["999", "1999", "2999"], "{group}");
        for one in &got {
            let answer = connection.call(request::ACK_MESSAGE, &receipt_ext(one, group), &[]);
            assert_eq!(answer.unwrap().code, response::SUCCESS);
        }
        assert_eq!(connection.consumer_offset(group, TOPIC, 0).unwrap(), 3_000);
    }
    for filter in [("SQL92", "own ="), ("SQL92", "own in ("), ("TAG", "||")] {
        let of = Pop { filter: Some(filter), ..POP };
        let answer = connection.call(request::POP_MESSAGE, &of.ext(), &[]).unwrap();
        assert_eq!(answer.code, response::SUBSCRIPTION_PARSE_FAILED, "{filter:?}: {answer:?}");
    }
}

/// A receipt of a time that nobody has popped at.
const SMALLEST: &str = "0 -9223372036854775808 1 999 0 b 0 0";

#[test]
fn requests_that_cannot_be_are_refused_with_javas_codes() {
    let (_broker, mut connection) = start(&[("autoCreateSubscriptionGroup", "false")]);
    send(&mut connection, 0, "m", "a");
    let code = |connection: &mut Connection, of: Pop<'_>| {
        connection.call(request::POP_MESSAGE, &of.ext(), &[]).unwrap().code
    };
    for (of, expected) in [
        (Pop { count: 33, ..POP }, response::INVALID_PARAMETER),
        (Pop { queue: i64::from(QUEUES), ..POP }, response::INVALID_PARAMETER),
        (Pop { invisible_ms: 0, ..POP }, response::INVALID_PARAMETER),
        (Pop { invisible_ms: i64::MAX, ..POP }, response::INVALID_PARAMETER),
        (Pop { topic: "unknown", ..POP }, response::TOPIC_NOT_EXIST),
        (Pop { group: "unknown", ..POP }, response::SUBSCRIPTION_GROUP_NOT_EXIST),
        (Pop { count: i64::from(i32::MIN), ..POP }, response::INVALID_PARAMETER),
        (Pop { count: 0, ..POP }, response::POLLING_TIMEOUT),
    ] {
        assert_eq!(code(&mut connection, of), expected);
    }
    let late = [("bornTime", ExtValue::from(now_ms() - 60_000))];
    let mut ext = POP.ext();
    ext.retain(|(name, _)| *name != "bornTime");
    ext.extend(late);
    let answer = connection.call(request::POP_MESSAGE, &ext, &[]).unwrap();
    assert_eq!(answer.code, response::POLLING_TIMEOUT);
    let got = pop(&mut connection, POP);
    for (name, value, expected) in [
        ("topic", ExtValue::from("unknown"), response::TOPIC_NOT_EXIST),
        ("queueId", ExtValue::from(i64::from(QUEUES)), response::MESSAGE_ILLEGAL),
        ("queueId", ExtValue::from(-1_i64), response::MESSAGE_ILLEGAL),
        ("offset", ExtValue::from(2_i64), response::NO_MESSAGE),
        ("offset", ExtValue::from(-1_i64), response::NO_MESSAGE),
        ("extraInfo", ExtValue::from("no receipt"), response::SYSTEM_ERROR),
        ("extraInfo", ExtValue::from("0 1 2 3 0 b 0"), response::SYSTEM_ERROR),
        ("extraInfo", ExtValue::from(SMALLEST), response::SUCCESS),
    ] {
        for asked in [request::ACK_MESSAGE, request::CHANGE_MESSAGE_INVISIBLETIME] {
            let mut ext = receipt_ext(&got[0], GROUP);
            ext.retain(|(of, _)| *of != name);
            ext.extend([(name, value), ("invisibleTime", 1_000_i64.into())]);
            let answer = connection.call(asked, &ext, &[]).unwrap();
            assert_eq!(answer.code, expected, "{asked} {name}: {answer:?}");
        }
    }
    let mut ext = receipt_ext(&got[0], GROUP);
    ext.push(("invisibleTime", ExtValue::from(-1_i64)));
    let answer = connection.call(request::CHANGE_MESSAGE_INVISIBLETIME, &ext, &[]).unwrap();
    assert_eq!(answer.code, response::INVALID_PARAMETER);
    for body in [&b""[..], b"{}", br#"{"acks":[]}"#] {
        let answer = connection.call(request::BATCH_ACK_MESSAGE, &[], body).unwrap();
        assert_eq!(answer.code, response::NO_MESSAGE, "{answer:?}");
    }
}

#[test]
fn many_receipts_come_back_in_one_request() {
    let (_broker, mut connection) = start(&[]);
    for number in 0..40 {
        send(&mut connection, number % QUEUES, &number.to_string(), "a");
    }
    let all = pop_all(&mut connection, Pop { count: 20, ..POP });
    // A bit for each message, counted from the first of its pop.
    let mut sets: BTreeMap<(String, String, i32), Vec<u8>> = BTreeMap::new();
    for one in &all {
        let words: Vec<&str> = one.receipt.split(' ').collect();
        let (start, queue) = (words[0], one.message.queue_id);
        let bits = sets.entry((start.to_owned(), words[1].to_owned(), queue)).or_default();
        let bit = (one.message.queue_offset - start.parse::<i64>().unwrap()) as usize;
        bits.resize(bits.len().max(bit / 8 + 1), 0);
        bits[bit / 8] |= 1 << (bit % 8);
    }
    let acks: Vec<serde_json::Value> = sets
        .iter()
        .map(|((start, popped_at, queue), bits)| {
            serde_json::json!({
                "c": GROUP, "t": TOPIC, "r": "0", "so": start.parse::<i64>().unwrap(), "q": queue,
                "rq": 0, "pt": popped_at.parse::<i64>().unwrap(), "it": 60_000,
                "b": base64(bits),
            })
        })
        .collect();
    let body = serde_json::json!({ "brokerName": "b", "acks": acks }).to_string();
    let answer = connection.call(request::BATCH_ACK_MESSAGE, &[], body.as_bytes()).unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{answer:?}");
    assert_eq!(offsets(&mut connection), [10; QUEUES as usize]);
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        let number = number << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

/// What consumers have acknowledged, or tried to. When, if the answer came while the message was theirs.
type Acked = Mutex<BTreeMap<String, Option<Instant>>>;

/// Pops and acknowledges until it is told to end or the broker is gone; fails some.
fn consume(
    addr: SocketAddr,
    stop: &AtomicBool,
    acked: &Acked,
    seed: u64,
) -> Result<(), ClientError> {
    let mut consumer = Connection::connect(addr)?;
    let mut turn = seed;
    while !stop.load(Relaxed) {
        let of = Pop { count: 8, invisible_ms: INVISIBLE_MS, poll_ms: 500, ..POP };
        let answer = consumer.call(request::POP_MESSAGE, &of.ext(), &[])?;
        for one in popped(&answer) {
            turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if turn >> 60 == 0 {
                continue;
            }
            acked.lock().unwrap().entry(one.body()).or_insert(None);
            let popped_at: i64 = one.receipt.split(' ').nth(1).unwrap().parse().unwrap();
            let answer = consumer.call(request::ACK_MESSAGE, &receipt_ext(&one, GROUP), &[])?;
            // One that comes late may be answered with success although somebody else has the message.
            let in_time = now_ms() - popped_at < INVISIBLE_MS - 300;
            if answer.code == response::SUCCESS && in_time {
                acked.lock().unwrap().insert(one.body(), Some(Instant::now()));
            }
        }
    }
    Ok(())
}

const INVISIBLE_MS: i64 = 1_500;

#[test]
fn a_kill_loses_nothing_and_forgets_at_most_the_last_second_of_acknowledgements() {
    let (mut broker, mut connection) = start(&[]);
    let (mut sent, mut forgotten, mut acknowledged) = (0, 0, 0);
    for round in 0..3 {
        let (addr, first) = (broker.broker_addr(), sent);
        let (stop, acked) = (AtomicBool::new(false), Acked::default());
        let killed_at = thread::scope(|scope| {
            for seed in 0..4 {
                let (stop, acked) = (&stop, &acked);
                scope.spawn(move || drop(consume(addr, stop, acked, round * 10 + seed)));
            }
            let until = Instant::now() + Duration::from_secs(6);
            while Instant::now() < until {
                send(&mut connection, sent % QUEUES, &format!("m{sent}"), "a");
                sent += 1;
            }
            let killed_at = Instant::now();
            broker.kill9();
            stop.store(true, Relaxed);
            killed_at
        });
        broker.restart();
        connection = connect(broker.broker_addr(), PATIENCE);
        let acked = acked.into_inner().unwrap();
        // All that was not acknowledged comes, as soon as it is visible.
        let mut got = BTreeSet::new();
        let arrived = wait_until(PATIENCE, || {
            let some = pop_all(&mut connection, POP);
            some.iter().for_each(|one| ack(&mut connection, one));
            got.extend(bodies(&some));
            let is_there = |body: &String| got.contains(body) || acked.contains_key(body);
            (first..sent).all(|number| is_there(&format!("m{number}")))
        });
        let (all, done) = (sent - first, acked.values().flatten().count());
        assert!(arrived, "round {round}: of {all} {done} were acknowledged, {} came", got.len());
        for (body, at) in got.iter().filter_map(|body| Some((body, (*acked.get(body)?)?))) {
            let before = killed_at.saturating_duration_since(at);
            forgotten += 1;
            assert!(before < FORGOTTEN_MAX, "{body} was acknowledged {before:?} before the kill");
        }
        acknowledged += done;
        // Those whose acknowledgement was lost with the last second come, too, before the next round.
        thread::sleep(Duration::from_millis(INVISIBLE_MS as u64));
        pop_all(&mut connection, POP).iter().for_each(|one| ack(&mut connection, one));
    }
    println!("{sent} sent, {acknowledged} acknowledged before a kill, {forgotten} of them again");
}

/// What is written once a second, with some patience for a machine that is busy.
const FORGOTTEN_MAX: Duration = Duration::from_secs(3);

#[test]
fn an_orderly_stop_forgets_nothing_and_receipts_outlast_it() {
    let (mut broker, mut connection) = start(&[]);
    for number in 0..40 {
        send(&mut connection, number % QUEUES, &number.to_string(), "a");
    }
    let mut other = connect(broker.broker_addr(), PATIENCE);
    let waiting = Pop { topic: TOPIC, group: GROUP, poll_ms: 30_000, ..POP };
    let all = pop_all(&mut connection, POP);
    assert_eq!(all.len(), 40);
    all[..20].iter().for_each(|one| ack(&mut connection, one));
    let ticket = other.start(request::POP_MESSAGE, &waiting.ext(), &[]).unwrap();
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    assert_eq!(broker.stop().and_then(|status| status.code()), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "who waits does not hold it up");
    let answer = other.finish(ticket).unwrap();
    assert_eq!(answer.code, response::POLLING_TIMEOUT, "{answer:?}");
    broker.restart();
    connection = connect(broker.broker_addr(), PATIENCE);
    assert!(pop_all(&mut connection, POP).is_empty(), "it is in hand, or done");
    all[20..].iter().for_each(|one| ack(&mut connection, one));
    assert_eq!(offsets(&mut connection), [10; QUEUES as usize]);
}

#[test]
fn what_is_old_is_popped_from_the_disk() {
    let keys =
        [("tailCacheMiB", "4"), ("maxMessageSize", "65536"), ("shardIndexEntriesMax", "1000")];
    let (_broker, mut connection) = start(&keys);
    let body = "x".repeat(4_000);
    for number in 0..4_000 {
        send(&mut connection, number % QUEUES, &format!("{number} {body}"), "a");
    }
    let began = Instant::now();
    let all = pop_all(&mut connection, Pop { invisible_ms: 3_000, ..POP });
    println!("4,000 old messages in {:?}", began.elapsed());
    let number = |one: &Popped| one.body().split(' ').next().unwrap().parse::<i64>().unwrap();
    let first: BTreeSet<i64> = all.iter().map(number).collect();
    assert_eq!(first.len(), 4_000);
    all.iter().filter(|one| number(one) % 100 != 0).for_each(|one| ack(&mut connection, one));
    thread::sleep(Duration::from_millis(3_100));
    // Far apart by now, and each by itself.
    let again = pop_all(&mut connection, POP);
    let again: BTreeSet<i64> = again.iter().map(number).filter(|it| it % 100 == 0).collect();
    assert_eq!(again.len(), 40);
}

#[test]
fn a_new_group_begins_where_it_says() {
    let keys = [("tailCacheMiB", "4"), ("maxMessageSize", "65536")];
    let (_broker, mut connection) = start(&keys);
    send(&mut connection, 0, "first", "a");
    send(&mut connection, 1, "young", "a");
    let from_max = Pop { group: "young", from_max: true, ..POP };
    assert_eq!(pop_all(&mut connection, from_max).len(), 2, "the first messages are in memory");
    let body = "x".repeat(4_000);
    (0..3_000).for_each(|_| send(&mut connection, 0, &body, "a"));
    send(&mut connection, 0, "last", "a");
    let got = pop_all(&mut connection, Pop { group: "late", queue: 0, from_max: true, ..POP });
    assert_eq!(bodies(&got), BTreeSet::from(["last".to_owned()]));
    let got = pop(&mut connection, Pop { group: "early", queue: 0, ..POP });
    assert_eq!(got[0].body(), "first");
}
