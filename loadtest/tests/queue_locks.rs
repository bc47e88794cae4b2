//! Goal: a queue has one holder in a group, whatever happens to clients and broker, and who waits for one hears of it at once.
//! Method: real brokers, one of which is killed, and clients that speak the protocol of orderly consumers, fifty of which
//! come and go.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use client::{Connection, Heartbeat, NewTopic, Subscription};
use loadtest::harness::{our_broker::OurBroker, wait_until};
use proto::code::request;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "ordered";
const GROUP: &str = "orderly";
const QUEUES: i32 = 64;
/// Clients that come and go.
const CLIENTS: usize = 50;
/// Those with smaller numbers come once and stay to the end.
const STAY: usize = 5;
/// How long they come and go.
const TRAFFIC: Duration = Duration::from_secs(6);

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

fn join(connection: &mut Connection, client_id: &str) {
    let subscriptions = [Subscription { topic: TOPIC, expression: "*", version: 1 }];
    let heartbeat = Heartbeat {
        client_id,
        consumer_group: Some(GROUP),
        subscriptions: &subscriptions,
        producer_group: None,
    };
    connection.heartbeat(&heartbeat).unwrap();
}

fn lock(connection: &mut Connection, client_id: &str, queues: &[i32]) -> Vec<i32> {
    connection.lock_queues((GROUP, client_id), TOPIC, queues).unwrap()
}

#[test]
fn holders_are_known_after_the_broker_was_killed() {
    let mut broker = OurBroker::standalone(&[("shards", "2")]);
    let all: Vec<i32> = (0..QUEUES).collect();
    let mut one = connect(&broker);
    assert_eq!(lock(&mut one, "one", &all), all);
    one.unlock_queues((GROUP, "one"), TOPIC, &all[60..]).unwrap();
    broker.kill9();
    for _ in 0..2 {
        broker.restart();
        let (mut one, mut two) = (connect(&broker), connect(&broker));
        assert_eq!(lock(&mut two, "two", &all), all[60..], "the others have a holder");
        assert_eq!(lock(&mut one, "one", &all), all[..60], "which goes on");
        two.unlock_queues((GROUP, "two"), TOPIC, &all).unwrap();
        // The second time it has ended in order.
        broker.stop();
    }
}

#[test]
fn who_was_refused_a_queue_hears_when_it_is_free() {
    let broker = OurBroker::standalone(&[("shards", "1"), ("orderlyReleaseOnClose", "true")]);
    let mut waiting = connect(&broker);
    join(&mut waiting, "waiting");
    let refused = |waiting: &mut Connection| {
        assert_eq!(lock(waiting, "waiting", &[3]), [0; 0]);
        waiting.take_server_requests();
    };
    let hears = |waiting: &mut Connection| {
        let code = request::NOTIFY_CONSUMER_IDS_CHANGED;
        waiting.server_request(code, PATIENCE).unwrap();
        assert_eq!(lock(waiting, "waiting", &[3]), [3]);
        waiting.unlock_queues((GROUP, "waiting"), TOPIC, &[3]).unwrap();
    };
    // No member, so that its coming and going is no news to the group.
    let mut holder = connect(&broker);
    assert_eq!(lock(&mut holder, "holder", &[3]), [3]);
    refused(&mut waiting);
    holder.unlock_queues((GROUP, "holder"), TOPIC, &[3]).unwrap();
    hears(&mut waiting);
    assert_eq!(lock(&mut holder, "holder", &[3]), [3]);
    refused(&mut waiting);
    drop(holder);
    hears(&mut waiting);
}

/// What the clients of one group know of each other.
struct Group {
    broker: OurBroker,
    /// By queue, from its grant on until before its holder gives it away.
    holders: Mutex<HashMap<i32, usize>>,
    phase: AtomicU8,
}

const COMING_AND_GOING: u8 = 0;
const SETTLING: u8 = 1;
const OVER: u8 = 2;

#[test]
fn fifty_consumers_that_come_and_go_never_share_a_queue() {
    let broker = OurBroker::standalone(&[("shards", "2"), ("orderlyReleaseOnClose", "true")]);
    connect(&broker).create_topic(&NewTopic::new(TOPIC, QUEUES)).unwrap();
    let (holders, phase) = (Mutex::default(), AtomicU8::new(COMING_AND_GOING));
    let group = Group { broker, holders, phase };
    let (settled, held) = thread::scope(|scope| {
        for number in 0..CLIENTS {
            let group = &group;
            scope.spawn(move || group.come_and_go(number));
        }
        thread::sleep(TRAFFIC);
        group.phase.store(SETTLING, Ordering::Release);
        let since = Instant::now();
        let settled = wait_until(PATIENCE, || {
            let holders = group.holders.lock().unwrap();
            holders.len() == QUEUES as usize && holders.values().all(|client| *client < STAY)
        });
        eprintln!("all queues have one of {STAY} owners after {:?}", since.elapsed());
        let held = group.holders.lock().unwrap().clone();
        group.phase.store(OVER, Ordering::Release);
        (settled, held)
    });
    assert!(settled, "{held:?}\n{}", group.broker.log_tail());
}

impl Group {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    fn come_and_go(&self, number: usize) {
        let id = format!("c{number:02}");
        let ends_in = if number < STAY { OVER } else { SETTLING };
        for life in 0.. {
            let mut connection = connect(&self.broker);
            join(&mut connection, &id);
            let rounds = if number < STAY { usize::MAX } else { 1 + (number + life) % 4 };
            for _ in 0..rounds {
                self.rebalance(&mut connection, number, &id);
                if self.phase() >= ends_in {
                    break;
                }
                let news = Duration::from_millis(if number < STAY { 200 } else { 20 });
                let _ = connection.server_request(request::NOTIFY_CONSUMER_IDS_CHANGED, news);
                connection.take_server_requests();
            }
            self.holders.lock().unwrap().retain(|_, holder| *holder != number);
            // One end in two is that of a connection.
            if (number + life).is_multiple_of(2) {
                connection.unregister(&id, None, Some(GROUP)).unwrap();
            }
            if self.phase() >= ends_in {
                return;
            }
        }
    }

    /// Looks who else is there, gives away what is no more its share, and locks its share.
    fn rebalance(&self, connection: &mut Connection, number: usize, id: &str) {
        let mut ids = connection.consumer_ids(GROUP).unwrap();
        ids.sort_unstable();
        let Some(place) = ids.iter().position(|other| other == id) else { return };
        let is_mine = |queue: &i32| *queue as usize % ids.len() == place;
        let (mine, mut others): (Vec<i32>, Vec<i32>) = (0..QUEUES).partition(is_mine);
        others.retain(|queue| {
            let mut holders = self.holders.lock().unwrap();
            let is_held = holders.get(queue) == Some(&number);
            is_held && holders.remove(queue).is_some()
        });
        connection.unlock_queues((GROUP, id), TOPIC, &others).unwrap();
        for queue in lock(connection, id, &mine) {
            let before = self.holders.lock().unwrap().insert(queue, number);
            assert!(before.is_none_or(|it| it == number), "{id} and {before:?} hold {queue}");
        }
    }
}
