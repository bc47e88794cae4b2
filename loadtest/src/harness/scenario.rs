//! The stories that every client library must live through, against any broker.
//!
//! Each creates its own topic and group, so that stories of one broker run side by side. A story returns nothing: what
//! it promises is asserted here, in the words of a user (none lost, none doubled).

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{
    Peer, Side,
    program::{Program, Received, Running, Sent},
    unique, wait_until,
};
use client::PullRequest;
use proto::code::response;

/// How long messages may take to arrive. Go and Node look for a new route or group member every 30 s.
pub(super) const ARRIVE_WAIT_MAX: Duration = Duration::from_secs(180);
/// How long messages of level 3 wait, see [`super::LEVELS`].
const LEVEL_3: Duration = Duration::from_secs(3);
/// How often a consumer is started against Java's broker.
const JAVA_START_ATTEMPTS: u32 = 3;
/// Something that should not arrive gets this long to do so.
pub(super) const QUIET: Duration = Duration::from_millis(700);
/// What was consumed is committed by then, or is not going to be.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(5);
/// More queues than shards, so that each shard owns several.
pub(super) const QUEUES: i32 = 8;

/// A producer sends while a push consumer listens: all arrive, once, at the queue and offset that the producer got,
/// and all queues of the topic take part.
pub fn quickstart(program: &Program, peer: &Peer, count: usize) {
    let topic = peer.new_topic("quickstart", QUEUES);
    let group = unique("group");
    let consumer = start_consumer(program, peer, "consume", (&topic, &group), None);
    let sent = produce(program, peer, &topic, count, None);
    assert_all_queues_sent(&sent);
    await_all(&consumer, sent.len(), peer);
    std::thread::sleep(QUIET);
    assert_same(&sent, &consumer.finish());
}

/// Messages that were there before the first consumer of a group: it begins at the first one.
pub fn consume_later(program: &Program, peer: &Peer, count: usize) {
    let topic = peer.new_topic("later", QUEUES);
    let sent = produce(program, peer, &topic, count, None);
    let received =
        consume_exactly(program, peer, "consume", (&topic, &unique("group")), sent.len());
    assert_same(&sent, &received);
}

/// A consumer stops and comes back: it gets what was sent meanwhile and nothing twice.
pub fn restart_resumes(program: &Program, peer: &Peer, count: usize) {
    let topic = peer.new_topic("resume", QUEUES);
    let group = unique("group");
    keep_offsets(peer, &topic, &group);
    let first = produce(program, peer, &topic, count, None);
    let (received, committed) =
        consume_and_commit(program, peer, "consume", (&topic, &group), first.len());
    assert_same(&first, &received);
    let mut expected = produce(program, peer, &topic, count, None);
    if program.forgets {
        let is_open = |sent: &&Sent| sent.offset >= committed[sent.queue as usize];
        expected.extend(first.iter().filter(is_open).cloned());
    }
    let received = consume_exactly(program, peer, "consume", (&topic, &group), expected.len());
    assert_same(&expected, &received);
}

/// Two consumers of a group divide the queues; when one leaves, the other gets everything.
pub fn share_and_take_over(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("share", QUEUES);
    let group = unique("group");
    let start = || start_consumer(program, peer, "consume", (&topic, &group), None);
    let (one, two) = (start(), start());
    let round = |count| produce(program, peer, &topic, count, None);
    let (mut sent, _) = divide(peer, [&one, &two], round);
    let mut received = one.finish();
    let before_leaving = two.received().len();
    let alone = produce(program, peer, &topic, 100, None);
    sent.extend(alone.iter().cloned());
    let took_over =
        wait_until(ARRIVE_WAIT_MAX, || two.received().len() >= before_leaving + alone.len());
    assert!(
        took_over,
        "one of two consumers left, the other did not take over\n{}",
        peer.log_tail()
    );
    std::thread::sleep(QUIET);
    received.extend(two.finish());
    // What was in flight when queues changed hands may come again: seen with every broker.
    drop_redelivered(&mut received);
    assert_same(&sent, &received);
}

/// Sends until two consumers of a group have divided the queues. Returns what was sent, all of which has arrived, and the
/// queues of the first one.
pub(super) fn divide(
    peer: &Peer,
    [one, two]: [&Running; 2],
    round: impl Fn(usize) -> Vec<Sent>,
) -> (Vec<Sent>, HashSet<i32>) {
    let (mut sent, mut queues_of_one) = (Vec::new(), HashSet::new());
    // They see each other after a notification or a timer: rounds of two messages per queue until the work is divided.
    let divided = wait_until(ARRIVE_WAIT_MAX, || {
        let round = round(QUEUES as usize * 2);
        let bodies: HashSet<String> = round.iter().map(|s| s.body.clone()).collect();
        sent.extend(round);
        let arrived = |consumer: &Running| {
            consumer.received().into_iter().filter(|r| bodies.contains(&r.body)).collect::<Vec<_>>()
        };
        wait_until(ARRIVE_WAIT_MAX, || arrived(one).len() + arrived(two).len() >= bodies.len());
        let of = [queues(&arrived(one)), queues(&arrived(two))];
        let divided = of.iter().all(|queues| queues.len() == 4);
        [queues_of_one, _] = of;
        divided
    });
    assert!(divided, "the queues were never divided 4 and 4\n{}", peer.log_tail());
    (sent, queues_of_one)
}

/// Our broker is restarted under a listening consumer, which goes on by itself; what came before does not come again,
/// not even to the next consumer of the group.
pub fn broker_restart(program: &Program, peer: &mut Peer) {
    let topic = peer.new_topic("restart", QUEUES);
    let group = unique("group");
    let consumer = start_consumer(program, peer, "consume", (&topic, &group), None);
    let before = produce(program, peer, &topic, 100, None);
    await_all(&consumer, before.len(), peer);
    peer.stop();
    peer.start_again();
    let after = produce(program, peer, &topic, 100, None);
    await_all(&consumer, before.len() + after.len(), peer);
    std::thread::sleep(QUIET);
    assert_same(&[before, after].concat(), &consumer.finish());
    peer.stop();
    peer.start_again();
    let last = produce(program, peer, &topic, 20, None);
    assert_same(&last, &consume_exactly(program, peer, "consume", (&topic, &group), last.len()));
}

/// A consumer dies without a word: the other one of its group takes over when the connection breaks, and nothing is
/// lost. What the dead one had not committed may come again.
pub fn killed_consumer_is_replaced(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("killed", QUEUES);
    let group = unique("group");
    let start = || start_consumer(program, peer, "consume", (&topic, &group), None);
    let (mut one, two) = (start(), start());
    let before = produce(program, peer, &topic, 80, None);
    wait_until(ARRIVE_WAIT_MAX, || one.received().len() + two.received().len() >= before.len());
    one.kill();
    let after = produce(program, peer, &topic, 80, None);
    let mut wanted: HashSet<String> = before.iter().chain(&after).map(|s| s.body.clone()).collect();
    let complete = wait_until(ARRIVE_WAIT_MAX, || {
        let arrived = [one.received(), two.received()].concat();
        wanted.retain(|body| arrived.iter().all(|r| r.body != *body));
        wanted.is_empty()
    });
    assert!(complete, "{} messages lost after a consumer died\n{}", wanted.len(), peer.log_tail());
}

/// Messages with a delay level: all arrive once, and none before its time, however long sending them took.
pub fn delayed(program: &Program, peer: &Peer) {
    const LEVEL: &str = "3";
    let topic = peer.new_topic("delayed", QUEUES);
    let namesrv = peer.namesrv_addr.as_str();
    let consumer = start_consumer(program, peer, "consume", (&topic, &unique("group")), None);
    let began = Instant::now();
    let sent = program.send("delayed", &[namesrv, &topic, &unique("producers"), "20", LEVEL]);
    assert_eq!(sent.len(), 20);
    let early = consumer.received().len();
    assert!(early == 0 || began.elapsed() >= LEVEL_3, "{early} messages came early");
    await_all(&consumer, sent.len(), peer);
    std::thread::sleep(QUIET);
    assert_same(&sent, &consumer.finish());
}

/// Messages that name the time of their delivery: all arrive once, none before its time, and none that was recalled.
pub fn timed(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("timed", QUEUES);
    let namesrv = peer.namesrv_addr.as_str();
    let consumer = start_consumer(program, peer, "consume", (&topic, &unique("group")), None);
    let began = Instant::now();
    let delay_ms = LEVEL_3.as_millis().to_string();
    let output = program.run(&["timed", namesrv, &topic, &unique("producers"), "18", &delay_ms]);
    let sent: Vec<Sent> = output.lines().filter_map(Sent::from_line).collect();
    let recalled = output.lines().filter(|line| line.starts_with("RECALLED "));
    let recalled: Vec<&str> = recalled.collect();
    assert_eq!((sent.len(), recalled.len()), (12, 6), "{output}");
    assert!(recalled.iter().all(|line| line.ends_with(" true")), "{output}");
    let early = consumer.received().len();
    // Java's broker delivers when the second begins in which a message is due.
    let least = if peer.side == Side::Ours { LEVEL_3 } else { LEVEL_3 - Duration::from_secs(2) };
    assert!(early == 0 || began.elapsed() >= least, "{early} messages came early");
    await_all(&consumer, sent.len(), peer);
    std::thread::sleep(QUIET);
    assert_same(&sent, &consumer.finish());
}

/// A listener fails each message once: each comes again, later, and none is lost.
pub fn retried(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("retried", QUEUES);
    let group = unique("group");
    let consumer = start_consumer(program, peer, "failing", (&topic, &group), Some("1"));
    let sent = produce(program, peer, &topic, 20, None);
    await_all(&consumer, sent.len(), peer);
    std::thread::sleep(QUIET);
    let failed = consumer.lines_with("FAIL ");
    let mut received = consumer.finish();
    // They come from the group's retry topic, at places of its own.
    received.iter_mut().for_each(|received| (received.queue, received.offset) = (-1, -1));
    let sent: Vec<Sent> =
        sent.into_iter().map(|sent| Sent { queue: -1, offset: -1, ..sent }).collect();
    assert_same(&sent, &received);
    assert_eq!(failed.len(), sent.len(), "each was failed once: {failed:?}");
}

/// A listener fails each message until it may no more: each is among the dead letters of the group, once.
pub fn given_up(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("given-up", QUEUES);
    let group = unique("group");
    let consumer = start_consumer(program, peer, "failing", (&topic, &group), Some("9/1"));
    let sent = produce(program, peer, &topic, 10, None);
    let mut wanted: Vec<&str> = sent.iter().map(|sent| sent.body.as_str()).collect();
    wanted.sort_unstable();
    let dead = format!("%DLQ%{group}");
    let mut broker = peer.connect_broker();
    let mut bodies = Vec::new();
    let complete = wait_until(ARRIVE_WAIT_MAX, || {
        let pulled = broker.pull(&PullRequest::new(&unique("readers"), &dead, 0, 0));
        bodies = pulled.map_or(Vec::new(), |pulled| pulled.messages);
        bodies.len() >= sent.len()
    });
    let mut found: Vec<String> =
        bodies.iter().map(|dead| String::from_utf8_lossy(&dead.body).into_owned()).collect();
    found.sort_unstable();
    assert!(complete, "{found:?} of {wanted:?}\n{}", peer.log_tail());
    assert_eq!(found, wanted);
    assert!(bodies.iter().all(|dead| dead.property("RETRY_TOPIC") == Some(topic.as_str())));
    assert_eq!(consumer.lines_with("FAIL ").len(), 2 * sent.len(), "tried twice each");
    assert!(consumer.finish().is_empty());
}

/// Tags: a subscription of two of three gets exactly those.
pub fn tags(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("tags", QUEUES);
    let group = unique("group");
    let red = produce(program, peer, &topic, 20, Some("red"));
    let green = produce(program, peer, &topic, 20, Some("green"));
    let blue = produce(program, peer, &topic, 20, Some("blue"));
    let consumer = start_consumer(program, peer, "consume", (&topic, &group), Some("red || blue"));
    await_all(&consumer, red.len() + blue.len(), peer);
    std::thread::sleep(QUIET);
    let received = consumer.finish();
    assert_same(&[red, blue].concat(), &received);
    assert!(green.iter().all(|s| received.iter().all(|r| r.body != s.body)));
}

/// SQL92 over the properties of messages: what matches arrives, nothing else. Before, and while the consumer listens.
pub fn matching(program: &Program, peer: &Peer, verb: &str) {
    let topic = peer.new_topic(verb, QUEUES);
    let before = produce(program, peer, &topic, 60, None);
    let filter = Some("n BETWEEN 10 AND 19 AND KEYS IS NOT NULL OR n = '40' OR nothing > 5");
    let consumer = start_consumer(program, peer, verb, (&topic, &unique("group")), filter);
    let matches = |sent: &Sent| {
        let number = sent.body.rsplit('-').next().and_then(|number| number.parse().ok());
        number.is_some_and(|number: u32| (10..20).contains(&number) || number == 40)
    };
    let mut wanted: Vec<Sent> = before.into_iter().filter(matches).collect();
    await_all(&consumer, wanted.len(), peer);
    wanted.extend(produce(program, peer, &topic, 60, None).into_iter().filter(matches));
    await_all(&consumer, wanted.len(), peer);
    std::thread::sleep(QUIET);
    assert_same(&wanted, &consumer.finish());
}

/// Requests and their replies: each request is consumed, and its reply comes back to who asked.
pub fn requested(program: &Program, peer: &Peer) {
    const COUNT: usize = 20;
    let topic = peer.new_topic("requests", QUEUES);
    let (group, asking) = (unique("group"), unique("producers"));
    let consumer = start_consumer(program, peer, "replying", (&topic, &group), None);
    let output = program.run(&["request", &peer.namesrv_addr, &topic, &asking, &COUNT.to_string()]);
    let replies: Vec<(&str, &str)> =
        output.lines().filter_map(|line| line.strip_prefix("REPLY ")?.split_once(' ')).collect();
    assert_eq!(replies.len(), COUNT, "{output}\n{}", consumer.errors());
    for (request, reply) in &replies {
        assert_eq!(*reply, format!("reply-to-{request}"));
    }
    let consumed: HashSet<String> = consumer.finish().into_iter().map(|it| it.body).collect();
    let asked: HashSet<String> =
        replies.into_iter().map(|(request, _)| request.to_owned()).collect();
    assert_eq!(consumed, asked);
}

/// Transactional messages, of which half are decided when the broker asks: those that are committed are consumed, once, and no
/// others.
pub fn transacted(program: &Program, peer: &Peer) {
    const COUNT: usize = 20;
    let topic = peer.new_topic("transactions", QUEUES);
    let consumer = start_consumer(program, peer, "consume", (&topic, &unique("group")), None);
    let (namesrv, group, count) = (&peer.namesrv_addr, unique("producers"), COUNT.to_string());
    let output = program.run(&["transact", namesrv, &topic, &group, &count]);
    let halves: Vec<(&str, &str)> =
        output.lines().filter_map(|line| line.strip_prefix("HALF ")?.split_once(' ')).collect();
    assert_eq!(halves.len(), COUNT, "{output}");
    let committed: HashSet<String> = halves
        .iter()
        .filter(|(decision, _)| *decision == "COMMIT_MESSAGE")
        .map(|(_, body)| (*body).to_owned())
        .collect();
    assert_eq!(committed.len(), COUNT / 2);
    for check in output.lines().filter_map(|line| line.strip_prefix("CHECK ")) {
        assert!(check.starts_with(&format!("{topic} ")), "{check}");
    }
    await_all(&consumer, committed.len(), peer);
    std::thread::sleep(QUIET);
    let received = consumer.finish();
    // Java's 5.3.3 broker notes decisions seconds later, and asks meanwhile: what is committed again is there again.
    let once = received.len() == committed.len();
    assert!(once || peer.side != Side::Ours, "once: {received:?}");
    let received: HashSet<String> = received.into_iter().map(|received| received.body).collect();
    assert_eq!(received, committed);
}

/// Broadcasting consumers of one group get all messages each, and go on by themselves where they were: the broker keeps
/// nothing for them.
pub fn broadcast(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("broadcast", QUEUES);
    let (group, names) = (unique("group"), [unique("one"), unique("two")]);
    let start =
        |name: &str| start_consumer(program, peer, "broadcast", (&topic, &group), Some(name));
    let [one, two] = [&names[0], &names[1]].map(|name| start(name));
    let first = produce(program, peer, &topic, 40, None);
    await_all(&one, first.len(), peer);
    await_all(&two, first.len(), peer);
    std::thread::sleep(QUIET);
    assert_same(&first, &one.finish());
    let second = produce(program, peer, &topic, 20, None);
    let one = start(&names[0]);
    await_all(&one, second.len(), peer);
    await_all(&two, first.len() + second.len(), peer);
    std::thread::sleep(QUIET);
    assert_same(&second, &one.finish());
    assert_same(&[first, second].concat(), &two.finish());
    let mut broker = peer.connect_broker();
    for queue in 0..QUEUES {
        match broker.consumer_offset(&group, &topic, queue) {
            Ok(committed) => assert_eq!(committed, 0, "nobody commits"),
            Err(refused) => assert_eq!(refused.code(), Some(response::QUERY_NOT_FOUND)),
        }
    }
}

/// Java's other consumer classes: they get all, and what they committed is where the next one begins.
pub fn pull_and_resume(program: &Program, peer: &Peer, verb: &str) {
    let topic = peer.new_topic(verb, QUEUES);
    let group = unique("group");
    keep_offsets(peer, &topic, &group);
    let first = produce(program, peer, &topic, 50, None);
    let (mut received, _) = consume_and_commit(program, peer, verb, (&topic, &group), first.len());
    drop_what_a_seek_doubles(verb, &mut received);
    assert_same(&first, &received);
    let second = produce(program, peer, &topic, 50, None);
    // `liteassign` seeks to the beginning each time; the others go on.
    let expected = if verb == "liteassign" { [first, second].concat() } else { second };
    let mut received = consume_exactly(program, peer, verb, (&topic, &group), expected.len());
    drop_what_a_seek_doubles(verb, &mut received);
    assert_same(&expected, &received);
}

/// Assigned queues are pulled at once, from the committed offset or the beginning. The client looks whether a seek cancelled
/// that pull before it takes the queue's lock, so that an answer in between is delivered beside the seek's own.
fn drop_what_a_seek_doubles(verb: &str, received: &mut Vec<Received>) {
    if verb == "liteassign" {
        drop_redelivered(received);
    }
}

/// Java: batches arrive as single messages at consecutive offsets, one-way sends arrive.
pub fn batch_and_oneway(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("batch", QUEUES);
    let producers = unique("producers");
    let batched = program.send("batch", &[&peer.namesrv_addr, &topic, &producers, "60", "20"]);
    assert_eq!(batched.len(), 60);
    let received = consume_exactly(program, peer, "consume", (&topic, &unique("group")), 60);
    assert_same(&batched, &received);
    let topic = peer.new_topic("oneway", QUEUES);
    let oneway = program.send("oneway", &[&peer.namesrv_addr, &topic, &producers, "40"]);
    let received = consume_exactly(program, peer, "consume", (&topic, &unique("group")), 40);
    assert_same(&oneway, &received);
}

/// Java: looking up a message by its id, and the offsets of queues.
pub fn look(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("look", 4);
    let sent = produce(program, peer, &topic, 20, None);
    let ids: Vec<&str> = sent.iter().map(|s| s.message_id.as_str()).collect();
    let viewed = program.run(&[&["view", &peer.namesrv_addr, &topic], &ids[..5]].concat());
    let expected: Vec<String> =
        sent[..5].iter().map(|s| format!("VIEW {} {} {}", s.queue, s.offset, s.body)).collect();
    assert_eq!(viewed.lines().collect::<Vec<_>>(), expected);

    let output = program.run(&["offsets", &peer.namesrv_addr, &topic, &unique("group")]);
    let rows = rows_of_numbers(&output, "OFFSETS ");
    assert_eq!(rows.len(), 4, "{output}");
    for row in rows {
        let [queue, min, max, earliest, search_begin, search_end] = row[..] else {
            panic!("{output}")
        };
        let count = sent.iter().filter(|s| i64::from(s.queue) == queue).count() as i64;
        assert_eq!((min, max, search_begin), (0, count, 0), "{output}");
        // 4.9 answers the last message, 5.x the end.
        assert!(search_end == count || search_end == count - 1, "{output}");
        assert!(earliest > 1_500_000_000_000, "{output}");
    }
}

/// Java: how far a group is in time, and another one that goes on where it is.
pub fn progress(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("progress", QUEUES);
    let (group, other) = (unique("group"), unique("other"));
    keep_offsets(peer, &topic, &group);
    peer.connect_broker().create_group(&other).expect("a group");
    let sent = produce(program, peer, &topic, 40, None);
    consume_and_commit(program, peer, "consume", (&topic, &group), sent.len());
    let namesrv = peer.namesrv_addr.as_str();
    let output = program.run(&["spans", namesrv, &topic, &group]);
    let spans = rows_of_numbers(&output, "SPAN ");
    assert_eq!(spans.len(), QUEUES as usize, "{output}");
    for span in spans {
        let [_, first, last, consumed, delay] = span[..] else { panic!("{output}") };
        assert!(first > 1_500_000_000_000 && first <= last, "{output}");
        assert_eq!((consumed, delay), (last, 0), "all is consumed: {output}");
    }
    program.run(&["clone", namesrv, &topic, &group, &other]);
    let committed = |group: &str| program.run(&["committed", namesrv, &topic, group]);
    let cloned = committed(&other);
    assert_eq!(cloned, committed(&group));
    assert!(!cloned.contains("-1"), "{cloned}");
}

/// The numbers behind `prefix`, line by line.
fn rows_of_numbers(output: &str, prefix: &str) -> Vec<Vec<i64>> {
    let numbers = |row: &str| row.split(' ').map(|word| word.parse().expect("numbers")).collect();
    output.lines().filter_map(|line| line.strip_prefix(prefix)).map(numbers).collect()
}

/// What a Java client finds by a message's key: one row of `HIT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Id that the producer gave it.
    pub unique_id: String,
    /// Queue, queue offset and body in one text, as `view` prints them.
    pub place: String,
}

/// Java: looking up messages by key, and by the unique id that is found so.
pub fn query(program: &Program, peer: &Peer) {
    let topic = peer.new_topic("query", 4);
    let sent = produce(program, peer, &topic, 12, None);
    let hits = query_all(program, peer, &topic, &sent[..6]);
    let ids: Vec<&str> = hits.iter().map(|hit| hit.unique_id.as_str()).collect();
    let viewed = program.run(&[&["view", &peer.namesrv_addr, &topic], &ids[..]].concat());
    let expected: Vec<String> = hits.iter().map(|hit| format!("VIEW {}", hit.place)).collect();
    assert_eq!(viewed.lines().collect::<Vec<_>>(), expected);
    let missing = program.run(&["query", &peer.namesrv_addr, &topic, "nobody-has-this-key"]);
    assert_eq!(missing, "NONE nobody-has-this-key");
}

/// Looks up each message by its key, with one program; a broker may need a moment to index what is new.
pub fn query_all(program: &Program, peer: &Peer, topic: &str, sent: &[Sent]) -> Vec<Hit> {
    let keys: Vec<String> = sent.iter().map(|s| format!("key-{}", s.body)).collect();
    let mut args = vec!["query", peer.namesrv_addr.as_str(), topic];
    args.extend(keys.iter().map(String::as_str));
    let mut output = String::new();
    let found = wait_until(ARRIVE_WAIT_MAX, || {
        output = program.run(&args);
        !output.contains("NONE ")
    });
    assert!(found, "{output}\n{}", peer.log_tail());
    let hits: Vec<Hit> = output
        .lines()
        .filter_map(|line| line.strip_prefix("HIT ")?.split_once(' '))
        .filter_map(|(_, rest)| rest.split_once(' '))
        .map(|(id, place)| Hit { unique_id: id.to_owned(), place: place.to_owned() })
        .collect();
    let places: Vec<&str> = hits.iter().map(|hit| hit.place.as_str()).collect();
    let expected: Vec<String> =
        sent.iter().map(|s| format!("{} {} {}", s.queue, s.offset, s.body)).collect();
    assert_eq!(places, expected, "{output}");
    hits
}

/// Sends `count` messages with the program's plain producer.
pub fn produce(
    program: &Program,
    peer: &Peer,
    topic: &str,
    count: usize,
    tag: Option<&str>,
) -> Vec<Sent> {
    let (group, count_text) = (unique("producers"), count.to_string());
    let mut args = vec![peer.namesrv_addr.as_str(), topic, &group, &count_text];
    args.extend(tag);
    let sent = program.send("produce", &args);
    assert_eq!(sent.len(), count, "a SENT line for each message");
    sent
}

/// Starts a consumer, waits for `count` messages and a quiet moment, ends it cleanly and returns what it got.
pub fn consume_exactly(
    program: &Program,
    peer: &Peer,
    verb: &str,
    names: (&str, &str),
    count: usize,
) -> Vec<Received> {
    consume(program, peer, verb, names, count).0
}

/// The same, and what the consumer wrote to standard error.
fn consume(
    program: &Program,
    peer: &Peer,
    verb: &str,
    names: (&str, &str),
    count: usize,
) -> (Vec<Received>, String) {
    let consumer = start_consumer(program, peer, verb, names, None);
    await_all(&consumer, count, peer);
    std::thread::sleep(QUIET);
    consumer.finish_with_errors()
}

/// Starts a consuming verb. On a busy machine Java's name server sometimes ends a new connection, and Java's client then gives
/// up; it is tried again there. Not with ours.
pub fn start_consumer(
    program: &Program,
    peer: &Peer,
    verb: &str,
    (topic, group): (&str, &str),
    expression: Option<&str>,
) -> Running {
    let attempts = if peer.side == Side::Ours { 1 } else { JAVA_START_ATTEMPTS };
    let start = || program.start_consumer(verb, &peer.namesrv_addr, topic, group, expression);
    let mut started = start();
    for _ in 1..attempts {
        match &started {
            Err(failed) if failed.contains("RemotingSendRequestException") => started = start(),
            _ => break,
        }
    }
    started.unwrap_or_else(|failed| panic!("{failed}\n{}", peer.log_tail()))
}

pub(super) fn await_all(consumer: &Running, count: usize, peer: &Peer) {
    let complete = consumer.wait_received(count, ARRIVE_WAIT_MAX);
    let arrived = consumer.received().len();
    let (errors, log) = (consumer.errors(), peer.log_tail());
    assert!(
        complete,
        "{arrived} of {count} messages arrived\n-- client:\n{errors}\n-- broker:\n{log}"
    );
}

/// Makes the table of a group's offsets on a topic. Java's broker makes it at the first commit, and of two first commits
/// at the same time it loses one, with its queue: here that comes before the consumer's.
pub fn keep_offsets(peer: &Peer, topic: &str, group: &str) {
    if peer.side != Side::Ours {
        let mut connection = peer.connect(peer.broker_addr).expect("the broker is there");
        connection.create_group(group).expect("a group");
        connection.commit_offset(group, topic, 0, 0).expect("a commit");
    }
}

/// As [`consume_exactly`], and waits until the group's offsets are there. Clients commit one-way when they end, and a broker
/// may still be at work on that when the next consumer asks (Java's is, on a busy machine). What is not committed by then
/// shows in what the next consumer gets. Returns what was committed, too, by queue.
fn consume_and_commit(
    program: &Program,
    peer: &Peer,
    verb: &str,
    (topic, group): (&str, &str),
    count: usize,
) -> (Vec<Received>, Vec<i64>) {
    let (received, errors) = consume(program, peer, verb, (topic, group), count);
    let mut connection = peer.connect(peer.broker_addr).expect("the broker is there");
    let mut committed = Vec::new();
    let all = wait_until(COMMIT_WAIT_MAX, || {
        let of_queue = |queue| connection.consumer_offset(group, topic, queue).unwrap_or(0);
        committed = (0..QUEUES).map(of_queue).collect::<Vec<i64>>();
        committed.iter().sum::<i64>() >= count as i64
    });
    if !all {
        let log = peer.log_tail();
        eprintln!("of {count} messages on {topic}, {group} has committed, by queue: {committed:?}");
        eprintln!("-- client:\n{errors}\n-- broker:\n{log}");
    }
    (received, committed)
}

fn queues(received: &[Received]) -> HashSet<i32> {
    received.iter().map(|r| r.queue).collect()
}

fn assert_all_queues_sent(sent: &[Sent]) {
    let queues: HashSet<i32> = sent.iter().map(|s| s.queue).collect();
    // Libraries that do not tell the queue say -1 each time.
    assert!(
        queues == HashSet::from([-1]) || queues.len() == QUEUES as usize,
        "queues used: {queues:?}"
    );
}

/// Takes out what came again from the same place. A message stored twice stays: it has two places.
pub(super) fn drop_redelivered(received: &mut Vec<Received>) {
    let mut places: HashSet<(String, i32, i64)> = HashSet::new();
    received.retain(|r| places.insert((r.body.clone(), r.queue, r.offset)));
}

/// Every message once, and at the place that its producer got.
pub(super) fn assert_same(sent: &[Sent], received: &[Received]) {
    let mut places: HashMap<&str, Vec<&Received>> = HashMap::new();
    received.iter().for_each(|r| places.entry(&r.body).or_default().push(r));
    let lost: Vec<&Sent> = sent.iter().filter(|s| !places.contains_key(s.body.as_str())).collect();
    let doubled: Vec<_> = places.values().filter(|p| p.len() > 1).take(5).collect();
    assert!(lost.is_empty(), "{} lost, among them {:?}", lost.len(), &lost[..lost.len().min(5)]);
    assert!(doubled.is_empty(), "doubled, among others: {doubled:?}");
    let known: HashSet<&str> = sent.iter().map(|s| s.body.as_str()).collect();
    let foreign: Vec<_> = received.iter().filter(|r| !known.contains(r.body.as_str())).collect();
    assert!(foreign.is_empty(), "{} that were not expected: {foreign:?}", foreign.len());
    for s in sent {
        let r = places[s.body.as_str()][0];
        assert!(s.queue < 0 || s.queue == r.queue, "queue: {s:?} became {r:?}");
        assert!(s.offset < 0 || s.offset == r.offset, "offset: {s:?} became {r:?}");
    }
}
