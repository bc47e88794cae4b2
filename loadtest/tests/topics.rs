//! Goal: a topic that was acknowledged as created is there after `kill -9`, one acknowledged as deleted is not, and
//! tools that delete at the broker and then at the name server do not see it come back.
//! Method: four tools create, change and delete two hundred topics while others send; the broker is killed in between
//! (and once stopped in order), started again, and its table and routes are compared with what was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{ClientError, Connection, Message, NewTopic};
use loadtest::harness::{our_broker::OurBroker, wait_until};
use proto::code::{request, response};

const TOOLS: usize = 4;
const TOPICS_PER_TOOL: usize = 50;
const ROUNDS: u32 = 8;
/// Acknowledged changes before each kill, on average: less load would mean nothing.
const CHANGES_PER_ROUND: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(60);
const STEADY: &str = "topics-steady";

/// What is known of one topic.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Its queues by the last acknowledgement, or that it is gone.
    acked: Option<i32>,
    /// What was asked when the broker died: it may have happened or not.
    asked: Option<Option<i32>>,
}

type Notes = BTreeMap<String, Known>;

#[test]
fn acknowledged_topics_survive_kill_9_and_deleted_ones_stay_away() {
    let mut broker = OurBroker::standalone(&[]);
    let names: Vec<String> =
        (0..TOOLS * TOPICS_PER_TOOL).map(|number| format!("topics-{number:03}")).collect();
    let mut notes: Vec<Notes> = names
        .chunks(TOPICS_PER_TOOL)
        .map(|own| own.iter().map(|name| (name.clone(), Known::default())).collect())
        .collect();
    connect(broker.broker_addr()).create_topic(&NewTopic::new(STEADY, 4)).unwrap();
    let changes = AtomicU64::new(0);
    for round in 0..ROUNDS {
        let wanted = CHANGES_PER_ROUND * u64::from(round + 1);
        churn_until_dead(&mut broker, &mut notes, (&changes, wanted), round == ROUNDS - 1);
        broker.restart();
        compare(&broker, &mut notes, round);
    }
    assert!(!broker.log().contains("changes of metadata replayed"), "the last end was in order");
    let changes = changes.into_inner();
    println!("topics: rounds={ROUNDS} acknowledged changes={changes} lost=0 came back=0");
}

/// Goal: a sender that was let in before is checked again once its topic was made smaller or deleted, also when
/// another topic takes the place of the deleted one.
#[test]
fn a_sender_that_was_let_in_notices_what_changes() {
    for shards in ["1", "2"] {
        let keys = [("shards", shards), ("autoCreateTopicEnable", "false")];
        let broker = OurBroker::standalone(&keys);
        let mut connection = connect(broker.broker_addr());
        let send = |connection: &mut Connection, topic: &str, queue_id| {
            let sent = connection.send(&Message::new(topic, queue_id, b"let in?"));
            sent.map(|sent| sent.queue_offset).map_err(|error| error.code())
        };
        for topic in ["changes", "goes"] {
            connection.create_topic(&NewTopic::new(topic, 4)).unwrap();
            for queue_id in 0..4 {
                assert_eq!(send(&mut connection, topic, queue_id), Ok(0));
                assert_eq!(send(&mut connection, topic, queue_id), Ok(1));
            }
            assert_eq!(send(&mut connection, topic, 4), Err(Some(response::SYSTEM_ERROR)));
        }
        connection.create_topic(&NewTopic::new("changes", 2)).unwrap();
        assert_eq!(send(&mut connection, "changes", 1), Ok(2));
        assert_eq!(send(&mut connection, "changes", 2), Err(Some(response::SYSTEM_ERROR)));
        connection.delete_topic("goes").unwrap();
        assert_eq!(send(&mut connection, "goes", 0), Err(Some(response::TOPIC_NOT_EXIST)));
        connection.create_topic(&NewTopic::new("comes", 1)).unwrap();
        assert_eq!(send(&mut connection, "comes", 0), Ok(0));
        assert_eq!(send(&mut connection, "comes", 1), Err(Some(response::SYSTEM_ERROR)));
        connection.create_topic(&NewTopic::new("goes", 8)).unwrap();
        assert_eq!(send(&mut connection, "goes", 7), Ok(0));
        assert_eq!(send(&mut connection, "goes", 0), Ok(0), "a new topic, not the old one");
        assert_eq!(send(&mut connection, "comes", 0), Ok(1));
    }
}

/// Goal: a table that fits no frame is registered whole, and a broker with it starts. Method: topics with names of 120
/// characters, 50,000 of them, 18 MB of JSON; the broker and the name server inside it start again, so that all is
/// registered at once; every route is there, and what is asked for as a whole is refused with numbers.
#[test]
fn more_topics_than_a_frame_holds_are_registered_in_parts() {
    const TOPICS: usize = 50_000;
    let name = |number: usize| format!("{number:06}{}", "x".repeat(114));
    let mut broker = OurBroker::standalone(&[]);
    let mut connection = connect(broker.broker_addr());
    let mut tickets = std::collections::VecDeque::new();
    let mut done = 0;
    for number in 0..TOPICS {
        let name = name(number);
        let ext = [
            ("topic", name.as_str().into()),
            ("defaultTopic", "TBW102".into()),
            ("readQueueNums", 4.into()),
            ("writeQueueNums", 4.into()),
            ("perm", 6.into()),
            ("topicFilterType", "SINGLE_TAG".into()),
        ];
        tickets.push_back(connection.start(request::UPDATE_AND_CREATE_TOPIC, &ext, &[]).unwrap());
        while tickets.len() > if number + 1 == TOPICS { 0 } else { 400 } {
            let ticket = tickets.pop_front().expect("some wait");
            connection.finish(ticket).unwrap().success().unwrap();
            done += 1;
        }
    }
    assert_eq!(done, TOPICS);
    assert!(broker.stop().is_some_and(|status| status.success()));
    broker.restart();
    let mut namesrv = connect(broker.namesrv_addr().parse().unwrap());
    let mut known = 0;
    let registered = wait_until(PATIENCE, || {
        known = namesrv.topic_names().map_or(0, |names| names.len());
        known > TOPICS
    });
    assert!(registered, "{known} of {TOPICS} topics: {}", broker.log_tail());
    for number in [0, 1, TOPICS / 2, TOPICS - 1] {
        let route = namesrv.route(&name(number), true).unwrap();
        assert_eq!(route["queueDatas"][0]["readQueueNums"], 4, "{route}");
    }
    let mut connection = connect(broker.broker_addr());
    let refused = connection.topics().map(drop).expect_err("no frame holds it").to_string();
    for part in ["topicConfigTable with 500", "an answer holds"] {
        assert!(refused.contains(part), "{refused}");
    }
    // One topic more costs one topic more.
    connection.create_topic(&NewTopic::new("one-more", 3)).unwrap();
    assert_eq!(namesrv.route("one-more", true).unwrap()["queueDatas"][0]["readQueueNums"], 3);
}

fn connect(addr: SocketAddr) -> Connection {
    Connection::connect_patiently(addr, Duration::from_secs(10)).unwrap()
}

fn churn_until_dead(
    broker: &mut OurBroker,
    notes: &mut [Notes],
    (changes, wanted): (&AtomicU64, u64),
    in_order: bool,
) {
    let addr = broker.broker_addr();
    let namesrv: SocketAddr = broker.namesrv_addr().parse().unwrap();
    let dead = AtomicBool::new(false);
    let connections: Vec<_> = notes.iter().map(|_| (connect(addr), connect(namesrv))).collect();
    std::thread::scope(|scope| {
        for (own, (mut broker, mut namesrv)) in notes.iter_mut().zip(connections) {
            let dead = &dead;
            scope.spawn(move || {
                while !dead.load(Ordering::Relaxed) {
                    if change_one(&mut broker, &mut namesrv, own).is_err() {
                        return;
                    }
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| send_until_dead(addr, &dead));
        std::thread::sleep(Duration::from_millis(fastrand::u64(100..=500)));
        let enough = wait_until(PATIENCE, || changes.load(Ordering::Relaxed) >= wanted);
        assert!(enough, "{changes:?} of {wanted} changes");
        if in_order {
            dead.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(300));
            broker.stop();
        } else {
            broker.kill9();
            dead.store(true, Ordering::Relaxed);
        }
    });
}

/// Creates, changes or deletes one topic, and notes what was acknowledged.
fn change_one(
    broker: &mut Connection,
    namesrv: &mut Connection,
    own: &mut Notes,
) -> Result<(), ClientError> {
    let which = fastrand::usize(..own.len());
    let Some((name, known)) = own.iter_mut().nth(which) else { unreachable!("it is below") };
    let wanted = fastrand::bool().then(|| fastrand::i32(1..=8));
    known.asked = Some(wanted);
    match wanted {
        Some(queues) => {
            broker.create_topic(&NewTopic::new(name, queues))?;
            *known = Known { acked: wanted, asked: None };
            assert_eq!(routed_queues(namesrv, name)?, Some(queues), "{name}: its route");
        }
        None => {
            broker.delete_topic(name)?;
            *known = Known { acked: None, asked: None };
            let ext = [("topic", name.as_str().into())];
            namesrv.call(request::DELETE_TOPIC_IN_NAMESRV, &ext, &[])?.success()?;
            assert_eq!(routed_queues(namesrv, name)?, None, "{name} came back");
        }
    }
    Ok(())
}

/// Read queues by the route, if there is one.
fn routed_queues(namesrv: &mut Connection, topic: &str) -> Result<Option<i32>, ClientError> {
    let answer = namesrv.route_answer(topic, true)?;
    if answer.code == response::TOPIC_NOT_EXIST {
        return Ok(None);
    }
    let route = answer.success()?.json()?;
    let queues = route["queueDatas"][0]["readQueueNums"].as_i64().unwrap();
    Ok(i32::try_from(queues).ok())
}

fn send_until_dead(addr: SocketAddr, dead: &AtomicBool) {
    let mut connection = connect(addr);
    while !dead.load(Ordering::Relaxed) {
        let message = Message::new(STEADY, 0, b"while topics come and go");
        if connection.send(&message).is_err() {
            return;
        }
    }
}

/// What was acknowledged holds; what was asked at the end may have happened; then what is there counts.
fn compare(broker: &OurBroker, notes: &mut [Notes], round: u32) {
    let table = connect(broker.broker_addr()).topics().unwrap();
    let mut namesrv = connect(broker.namesrv_addr().parse().unwrap());
    for (name, known) in notes.iter_mut().flatten() {
        let found = table["topicConfigTable"][name.as_str()]["readQueueNums"].as_i64();
        let found = found.map(|queues| i32::try_from(queues).unwrap());
        let expected = found == known.acked || known.asked == Some(found);
        assert!(expected, "round {round}: {name} has {found:?}, {known:?}\n{}", broker.log_tail());
        assert_eq!(routed_queues(&mut namesrv, name).unwrap(), found, "round {round}: {name}");
        *known = Known { acked: found, asked: None };
    }
}
