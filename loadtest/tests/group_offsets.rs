//! Goal: offsets of groups cannot harm: those of what does not exist are refused, so that a topic that is made again begins
//! with its first message; names of any length end nothing; what they take up is bounded; the widest topic and many keys
//! are served, and what cannot be indexed is refused before memory is full. Method: real brokers, some with the smallest
//! limits that the configuration allows, and requests as long as a frame's header.

use std::{fs, time::Duration};

use client::{
    ClientError, Connection, Heartbeat, KeyLookup, Message, NewTopic, PullRequest, PullStatus,
    Subscription,
};
use loadtest::{
    harness::{ledger::runtime_info, our_broker::OurBroker, wait_until},
    load::limits::pipeline,
};
use proto::code::response;

const PATIENCE: Duration = Duration::from_secs(120);
const TOPIC: &str = "consumed";
const GROUP: &str = "consumers";
/// As much as a name in a header may have.
const LONGEST: usize = 65_535;

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

/// A broker with one topic and one group.
fn start(keys: &[(&str, &str)], queues: i32) -> (OurBroker, Connection) {
    let broker = OurBroker::standalone(keys);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, queues)).unwrap();
    connection.create_group(GROUP).unwrap();
    (broker, connection)
}

fn code<T>(answer: Result<T, ClientError>) -> Option<i32> {
    answer.err().map(|error| error.code().unwrap_or_else(|| panic!("{error}")))
}

fn figure(connection: &mut Connection, key: &str) -> u64 {
    runtime_info(connection, key).parse().unwrap()
}

#[test]
fn a_topic_that_is_made_again_begins_with_its_first_message() {
    for shards in ["1", "2"] {
        let (broker, mut connection) = start(&[("shards", shards)], 4);
        // Queue 3 never has a message: its offset stands alone.
        for queue in 0..3 {
            (0..20)
                .for_each(|_| drop(connection.send(&Message::new(TOPIC, queue, b"old")).unwrap()));
        }
        (0..4).for_each(|queue| connection.commit_offset(GROUP, TOPIC, queue, 15).unwrap());
        connection.delete_topic(TOPIC).unwrap();
        for queue in 0..4 {
            // The consumer has not heard of it.
            let committed = connection.commit_offset(GROUP, TOPIC, queue, 17);
            assert_eq!(code(committed), Some(response::TOPIC_NOT_EXIST));
            connection.commit_offset_oneway(GROUP, TOPIC, queue, 18).unwrap();
            let pull = PullRequest::new(GROUP, TOPIC, queue, 18);
            let pull = PullRequest { commit_offset: Some(18), ..pull };
            assert_eq!(code(connection.pull(&pull)), Some(response::TOPIC_NOT_EXIST));
        }
        connection.create_topic(&NewTopic::new(TOPIC, 4)).unwrap();
        for queue in 0..4 {
            let offset = connection.consumer_offset(GROUP, TOPIC, queue).unwrap();
            assert_eq!(offset, 0, "a young queue is read from its beginning");
            (0..20)
                .for_each(|_| drop(connection.send(&Message::new(TOPIC, queue, b"new")).unwrap()));
            let pulled = connection.pull(&PullRequest::new(GROUP, TOPIC, queue, offset)).unwrap();
            assert_eq!((pulled.status, pulled.messages.len()), (PullStatus::Found, 20));
        }
        let refused =
            wait_until(PATIENCE, || figure(&mut connection, "ringmq.groupOffsetsRefused") >= 8);
        assert!(refused, "one-way or not, they are counted");
        drop(broker);
    }
}

#[test]
fn offsets_of_what_does_not_exist_are_refused() {
    let (_broker, mut connection) = start(&[("shards", "2")], 4);
    let commit = |connection: &mut Connection, group: &str, topic: &str, queue| {
        code(connection.commit_offset(group, topic, queue, 5))
    };
    let no_group = Some(response::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_eq!(commit(&mut connection, "nobody", TOPIC, 0), no_group);
    assert_eq!(commit(&mut connection, GROUP, "nowhere", 0), Some(response::TOPIC_NOT_EXIST));
    assert_eq!(commit(&mut connection, GROUP, TOPIC, 4), Some(response::INVALID_PARAMETER));
    assert_eq!(commit(&mut connection, GROUP, TOPIC, 3), None);
    connection.delete_group(GROUP, true).unwrap();
    assert_eq!(commit(&mut connection, GROUP, TOPIC, 3), no_group);
    connection.create_group(GROUP).unwrap();
    assert_eq!(connection.consumer_offset(GROUP, TOPIC, 3).unwrap(), 0, "its offsets are gone");
}

/// A single request with the longest names must not become a control entry that the log cannot take.
#[test]
fn the_longest_names_end_nothing() {
    let keys = [("shards", "2"), ("maxMessageSize", "1"), ("mappedFileSizeCommitLog", "4194304")];
    let (mut broker, mut connection) = start(&keys, 2);
    let long = "n".repeat(LONGEST);
    for (group, topic) in [(GROUP, &*long), (&*long, TOPIC), (&*long, &*long)] {
        assert!(code(connection.commit_offset(group, topic, 0, 1)).is_some());
        connection.commit_offset_oneway(group, topic, 0, 1).unwrap();
    }
    assert!(code(connection.create_topic(&NewTopic::new(&long, 1))).is_some());
    assert!(code(connection.create_group(&long)).is_some());
    // To delete what does not exist is no mistake, as in Java.
    let _ = connection.delete_topic(&long);
    let _ = connection.delete_group(&long, true);
    // The longest that exist, many of them at once.
    let topic = "t".repeat(127);
    connection.create_topic(&NewTopic::new(&topic, 64)).unwrap();
    let groups: Vec<String> = (0..50).map(|number| format!("{number:0>255}")).collect();
    for group in &groups {
        connection.create_group(group).unwrap();
        for queue in 0..64 {
            connection.commit_offset_oneway(group, &topic, queue, i64::from(queue) + 1).unwrap();
        }
    }
    for group in &groups {
        for queue in 0..64 {
            let offset = connection.consumer_offset(group, &topic, queue).unwrap();
            assert_eq!(offset, i64::from(queue) + 1);
        }
    }
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    broker.restart();
    let mut connection = connect(&broker);
    let offset = connection.consumer_offset(&groups[49], &topic, 63).unwrap();
    assert_eq!(offset, 64);
    connection.delete_group(&groups[0], true).unwrap();
    connection.delete_topic(&topic).unwrap();
    assert_eq!(connection.max_offset(TOPIC, 0).unwrap(), 0, "still there");
}

#[test]
fn memory_of_offsets_is_bounded_and_known() {
    const GROUPS: usize = 20_000;
    let keys = [("shards", "1"), ("shardGroupOffsetsMiB", "1")];
    let (_broker, mut connection) = start(&keys, 4);
    let mut refused = Vec::new();
    let groups: Vec<String> = (0..GROUPS).map(|number| format!("group-{number}")).collect();
    for some in groups.chunks(500) {
        let create = |connection: &mut Connection, number: u64| {
            connection.start_create_group(&some[number as usize])
        };
        pipeline::run(&mut connection, some.len() as u64, create).unwrap();
        let commit = |group: &String| connection.start_commit(group, TOPIC, 0, 7).unwrap();
        let tickets: Vec<_> = some.iter().map(commit).collect();
        for ticket in tickets {
            if let Err(ClientError::Refused { code, remark }) =
                connection.finish(ticket).unwrap().success()
            {
                assert_eq!(code, response::SYSTEM_ERROR);
                refused.push(remark);
            }
        }
    }
    let taken = GROUPS - refused.len();
    assert!(taken > 1_000 && !refused.is_empty(), "{taken} of {GROUPS} offsets fit 1 MiB");
    let remark = &refused[0];
    assert!(remark.contains("1048576") && remark.contains("shardGroupOffsetsMiB"), "{remark}");
    connection.commit_offset("group-0", TOPIC, 0, 8).unwrap();
    assert_eq!(connection.consumer_offset("group-0", TOPIC, 0).unwrap(), 8);
    let counted = wait_until(PATIENCE, || {
        figure(&mut connection, "ringmq.groupOffsets") == taken as u64
            && figure(&mut connection, "ringmq.groupOffsetsRefused") == refused.len() as u64
    });
    assert!(counted && figure(&mut connection, "ringmq.groupOffsetBytes") <= 1 << 20);
    println!("group offsets: {taken} groups with one queue fit 1 MiB");
}

#[test]
fn a_message_with_too_many_keys_is_refused() {
    let (_broker, mut connection) = start(&[("shards", "2")], 4);
    let send = |connection: &mut Connection, count: usize, queue| {
        let keys: Vec<String> = (0..count).map(|number| format!("key{number}")).collect();
        let keys = keys.join(" ");
        let properties = [("KEYS", keys.as_str())];
        let message = Message::new(TOPIC, queue, b"many keys").with_properties(&properties);
        let batch = connection.send_batch(std::slice::from_ref(&message)).map(drop);
        (batch, connection.send(&message).map(drop))
    };
    for queue in 0..4 {
        let (batch, single) = send(&mut connection, 128, queue);
        assert!(batch.is_ok() && single.is_ok(), "{batch:?} {single:?}");
        for refused in <[_; 2]>::from(send(&mut connection, 129, queue)) {
            match refused {
                Err(ClientError::Refused { code: response::MESSAGE_ILLEGAL, remark }) => {
                    assert!(remark.contains("129") && remark.contains("128"), "{remark}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let found = connection.query_messages(&KeyLookup::new(TOPIC, "key127")).unwrap();
    assert_eq!(found.len(), 8, "the last of them is a key as the first");
}

/// Index files cannot be written, because something stands in their place: sends are refused when memory holds as many
/// entries as it may, and taken again when the place is free.
#[test]
fn what_cannot_be_indexed_is_refused_before_memory_is_full() {
    const LIMIT: usize = 60_000;
    let keys = [("shards", "1"), ("shardIndexEntriesMax", "1000")];
    let (broker, mut connection) = start(&keys, 1);
    let dir = broker.dir().join("data/commitlog/shard-000");
    let blocked = dir.join("00000000000000000000.00000000000000000000.run.tmp");
    fs::create_dir(&blocked).unwrap();
    let batch: Vec<Message<'_>> = (0..500).map(|_| Message::new(TOPIC, 0, b"x")).collect();
    let mut sent = 0;
    let remark = loop {
        match connection.send_batch(&batch) {
            Ok(_) => sent += batch.len(),
            Err(ClientError::Refused { code: response::SERVICE_NOT_AVAILABLE, remark }) => {
                break remark;
            }
            Err(error) => panic!("{error} after {sent}"),
        }
        assert!(sent < LIMIT + 10_000, "nothing is refused");
    };
    assert!(sent >= LIMIT, "{sent}: {remark}");
    let named = ["index-behind", "60000", "run.tmp"].iter().all(|part| remark.contains(part));
    assert!(named, "{remark}");
    connection.commit_offset(GROUP, TOPIC, 0, sent as i64).unwrap();
    let healthy = |connection: &mut Connection| runtime_info(connection, "ringmq.health");
    let told = wait_until(PATIENCE, || healthy(&mut connection) == "index-behind");
    assert!(told, "{}", healthy(&mut connection));
    fs::remove_dir(&blocked).unwrap();
    let again = wait_until(PATIENCE, || connection.send_batch(&batch).is_ok());
    assert!(again, "{}", broker.log_tail());
    let well = wait_until(PATIENCE, || healthy(&mut connection) == "healthy");
    assert!(well, "{}", healthy(&mut connection));
}

#[test]
fn the_widest_topic_keeps_offsets_of_all_its_queues() {
    const QUEUES: i32 = 65_535;
    let (mut broker, mut connection) = start(&[("shards", "2")], QUEUES);
    for round in 1..=2 {
        let commit = |connection: &mut Connection, queue: u64| {
            connection.start_commit(GROUP, TOPIC, queue as i32, queue as i64 + round)
        };
        pipeline::run(&mut connection, QUEUES as u64, commit).unwrap();
    }
    let all =
        wait_until(PATIENCE, || figure(&mut connection, "ringmq.groupOffsets") == QUEUES as u64);
    assert!(all, "{}", figure(&mut connection, "ringmq.groupOffsets"));
    assert!(broker.stop().is_some_and(|status| status.success()), "{}", broker.log_tail());
    broker.restart();
    let mut connection = connect(&broker);
    for queue in (0..QUEUES).step_by(97) {
        let offset = connection.consumer_offset(GROUP, TOPIC, queue).unwrap();
        assert_eq!(offset, i64::from(queue) + 2);
    }
    connection.delete_topic(TOPIC).unwrap();
    let gone = wait_until(PATIENCE, || figure(&mut connection, "ringmq.groupOffsets") == 0);
    assert!(gone, "{}", figure(&mut connection, "ringmq.groupOffsets"));
}

/// Clients commit one-way as they end, and do not read what is still on its way to them, so that their end comes as a reset.
/// What they said before counts.
#[test]
fn what_a_client_commits_as_it_ends_is_kept() {
    const QUEUES: i32 = 8;
    const CLIENTS: i64 = 40;
    let (broker, mut connection) = start(&[("shards", "2")], QUEUES);
    for client in 1..=CLIENTS {
        let mut ending = connect(&broker);
        let client_id = format!("ending-{client}");
        let heartbeat = Heartbeat {
            client_id: &client_id,
            consumer_group: Some(GROUP),
            subscriptions: &[Subscription { topic: TOPIC, expression: "*", version: client }],
            producer_group: None,
        };
        ending.heartbeat(&heartbeat).unwrap().success().unwrap();
        for queue in 0..QUEUES {
            // Answered while the client ends, and never read.
            let pull = PullRequest::new(GROUP, TOPIC, queue, client % 2);
            let _ =
                ending.start_pull(&PullRequest { park: Duration::from_secs(20), ..pull }).unwrap();
        }
        if client % 2 == 0 {
            ending.unregister(&client_id, None, Some(GROUP)).unwrap();
        }
        (0..QUEUES).for_each(|queue| {
            drop(connection.send(&Message::new(TOPIC, queue, b"new")).unwrap());
        });
        for queue in 0..QUEUES {
            ending.commit_offset_oneway(GROUP, TOPIC, queue, client).unwrap();
        }
        drop(ending);
        let mut committed = Vec::new();
        let all = wait_until(Duration::from_secs(5), || {
            let offset = |queue| connection.consumer_offset(GROUP, TOPIC, queue).unwrap_or(-1);
            committed = (0..QUEUES).map(offset).collect();
            committed.iter().all(|offset| *offset == client)
        });
        assert!(
            all,
            "client {client} committed itself for each of {QUEUES} queues, kept are {committed:?}"
        );
    }
}
