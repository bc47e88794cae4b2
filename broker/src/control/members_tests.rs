//! Stories of clients that come, change their mind, fall silent and go.

use super::*;
use proto::body::{ProducerData, SubscriptionData};

const NOW: Uptime = Uptime::from_ms(1_700_000_000_000);

fn connection(number: u64) -> ConnectionId {
    ConnectionId::new(0, 0, number as usize)
}

fn peer(number: u64) -> ClientConnection {
    ClientConnection {
        connection: connection(number),
        address: format!("10.0.0.9:{}", 5000 + number).parse().unwrap(),
        language: Language::Java,
        version: 409,
    }
}

fn wish(topic: &str, sub_string: &str, sub_version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        sub_string: sub_string.to_owned(),
        sub_version,
        ..SubscriptionData::default()
    }
}

fn consumer(group: &str, wishes: &[SubscriptionData]) -> ConsumerData {
    ConsumerData {
        group_name: group.to_owned(),
        consume_type: ConsumeType::ConsumePassively,
        message_model: MessageModel::Clustering,
        consume_from_where: ConsumeFromWhere::LastOffset,
        subscription_data_set: wishes.to_vec(),
        unit_mode: false,
    }
}

fn beat(client_id: &str, consumers: &[ConsumerData], producers: &[&str]) -> HeartbeatData {
    let producer = |group: &&str| ProducerData { group_name: (*group).to_owned() };
    HeartbeatData {
        client_id: client_id.to_owned(),
        consumer_data_set: consumers.to_vec(),
        producer_data_set: producers.iter().map(producer).collect(),
        ..HeartbeatData::default()
    }
}

/// Names of the groups whose members are to hear of it.
fn changed(changes: &Changes) -> Vec<String> {
    changes.groups.iter().map(|group| group.to_string()).collect()
}

fn consumers(members: &Members, group: &str) -> Vec<u64> {
    members.consumers_after(group, None, usize::MAX).iter().map(|id| id.to_u64()).collect()
}

/// Two consumers of one group meet, and both are notified of each change.
#[test]
fn members_hear_of_each_other() {
    let mut members = Members::default();
    let data = |id| beat(id, &[consumer("cg", &[wish("orders", "*", 1)])], &[]);
    assert_eq!(changed(&members.heartbeat(NOW, &peer(1), &data("a"))), ["cg"]);
    assert_eq!(changed(&members.heartbeat(NOW, &peer(2), &data("b"))), ["cg"]);
    assert_eq!(changed(&members.heartbeat(NOW + 1, &peer(1), &data("a"))), [""; 0]);
    assert_eq!(members.consumer_ids("cg"), Some(vec!["a", "b"]));
    let found = members.consumer_by_id("cg", "b").map(|(connection, _)| connection);
    assert_eq!(found, Some(connection(2)));
    members.check();
    assert_eq!(changed(&members.unregister(connection(1), Some(""), Some("cg"))), ["cg"]);
    members.check();
    assert_eq!(
        changed(&members.connection_closed(connection(2))),
        [""; 0],
        "nobody is left to hear it"
    );
    assert_eq!(members.consumer_ids("cg"), None);
    assert_eq!(members.counts(), (0, 0, 0));
    members.check();
}

#[test]
fn the_same_connection_may_change_its_client_id_quietly() {
    let mut members = Members::default();
    let data = |id| beat(id, &[consumer("cg", &[])], &["pg"]);
    members.heartbeat(NOW, &peer(1), &data("a"));
    assert_eq!(changed(&members.heartbeat(NOW, &peer(1), &data("b"))), [""; 0]);
    assert_eq!(members.consumer_ids("cg"), Some(vec!["b"]));
    members.check();
}

/// A member of group `cg` wants this from `orders`.
fn wants(members: &mut Members, number: u64, text: &str, version: i64) -> Vec<String> {
    let client_id = format!("c{number}");
    let data = beat(&client_id, &[consumer("cg", &[wish("orders", text, version)])], &[]);
    let changes = members.heartbeat(NOW, &peer(number), &data);
    members.check();
    changed(&changes)
}

/// What group `cg` wants from `orders`, and which version that is.
fn wanted(members: &Members) -> (String, i64) {
    let subscription = members.subscription("cg", "orders").unwrap();
    (subscription.sub_string.clone(), subscription.sub_version)
}

fn is(text: &str, version: i64) -> (String, i64) {
    (text.to_owned(), version)
}

#[test]
fn a_subscription_gives_way_to_a_larger_version() {
    let mut members = Members::default();
    wants(&mut members, 1, "a", 5);
    let seen = members.subscriptions().clone();
    wants(&mut members, 1, "a", 4);
    assert_eq!(wanted(&members), is("a", 5));
    assert!(members.subscriptions().is_same(&seen), "nothing to publish");
    assert_eq!(wants(&mut members, 1, "b", 6), [""; 0], "a new expression is no rebalance");
    assert_eq!(wanted(&members), is("b", 6));
    assert!(!members.subscriptions().is_same(&seen), "but all shards must hear of it");
}

/// A client's clock went back, or it counts no versions.
#[test]
fn who_alone_wants_something_else_gets_it_whatever_its_version_is() {
    let mut members = Members::default();
    wants(&mut members, 1, "a", 5);
    wants(&mut members, 1, "b", 4);
    assert_eq!(wanted(&members), is("b", 4));
    wants(&mut members, 1, "c", 4);
    assert_eq!(wanted(&members), is("c", 4));
}

/// Members that disagree do not take turns: the newest version wins, with which one or the other came first.
#[test]
fn the_newest_version_wins_while_somebody_wants_it() {
    let mut members = Members::default();
    wants(&mut members, 1, "a", 5);
    for _ in 0..3 {
        wants(&mut members, 2, "b", 7);
        assert_eq!(wanted(&members), is("b", 7));
        wants(&mut members, 1, "a", 5);
        assert_eq!(wanted(&members), is("b", 7));
    }
    // One of those that want it changes its mind, by a clock that went back: the others have not.
    wants(&mut members, 3, "b", 6);
    wants(&mut members, 2, "c", 4);
    assert_eq!(wanted(&members), is("b", 7));
    wants(&mut members, 3, "c", 3);
    assert_eq!(wanted(&members), is("c", 3), "nobody wants the former one any more");
    wants(&mut members, 1, "a", 5);
    assert_eq!(wanted(&members), is("a", 5), "now that is the newest");
}

/// A clock was ahead, is set right, and the members of the group are restarted one by one with another expression.
#[test]
fn what_nobody_wants_any_more_gives_way_when_the_last_one_has_left() {
    let mut members = Members::default();
    wants(&mut members, 1, "a", 900);
    wants(&mut members, 2, "a", 900);
    members.connection_closed(connection(1));
    wants(&mut members, 3, "b", 5);
    assert_eq!(wanted(&members), is("a", 900), "one of two still wants it");
    members.unregister(connection(2), None, Some("cg"));
    wants(&mut members, 3, "b", 5);
    assert_eq!(wanted(&members), is("b", 5));
    // One that dies without a word wants it until it was silent for too long.
    wants(&mut members, 4, "c", 900);
    let late = NOW + SILENCE_MS_MAX + 1;
    let data = beat("c3", &[consumer("cg", &[wish("orders", "b", 5)])], &[]);
    members.heartbeat(late, &peer(3), &data);
    assert_eq!(wanted(&members), is("c", 900));
    members.expire(late, SILENCE_MS_MAX);
    members.heartbeat(late, &peer(3), &data);
    assert_eq!(wanted(&members), is("b", 5));
    members.check();
}

/// What is not remembered for lack of memory is neither lost nor counted twice.
#[test]
fn who_wants_what_takes_up_memory_and_gives_it_back() {
    let mut members = Members::default();
    let topics = |count: usize| (0..count).map(|n| wish(&format!("t{n}"), "a", 1));
    for count in [5, 0, 3] {
        let wishes: Vec<SubscriptionData> = topics(count).collect();
        members.heartbeat(NOW, &peer(1), &beat("a", &[consumer("cg", &wishes)], &[]));
        members.check();
    }
    // The group's memory is full: another member of it joins, and its topics stay.
    let (full, _) = members.memory();
    members.limit_memory(full + 600);
    let wishes: Vec<SubscriptionData> = topics(3).collect();
    let joins = beat("b", &[consumer("cg", &wishes)], &[]);
    let changes = members.heartbeat(NOW, &peer(2), &joins);
    assert_eq!((changes.left_out, changed(&changes)), (0, vec!["cg".to_owned()]));
    members.check();
    assert!(members.memory().0 <= full + 600);
    (1..3).for_each(|number| drop(members.connection_closed(connection(number))));
    assert_eq!(members.memory().0, 0);
}

/// The members of a group disagree: the last heartbeat wins, and topics vanish.
#[test]
fn the_last_heartbeat_wins() {
    let mut members = Members::default();
    let one = beat("a", &[consumer("cg", &[wish("t1", "*", 1), wish("t2", "*", 1)])], &[]);
    let two = beat("b", &[consumer("cg", &[wish("t2", "*", 1), wish("t3", "*", 1)])], &[]);
    members.heartbeat(NOW, &peer(1), &one);
    members.heartbeat(NOW, &peer(2), &two);
    assert!(members.subscription("cg", "t1").is_none());
    assert!(members.subscription("cg", "t3").is_some());
    assert_eq!(members.groups_of_topic("t3"), ["cg"]);
    assert_eq!(changed(&members.heartbeat(NOW, &peer(1), &one)), ["cg"]);
    assert!(members.subscription("cg", "t3").is_none());
    let broadcast = ConsumerData {
        message_model: MessageModel::Broadcasting,
        ..consumer("cg", &[wish("t1", "*", 1), wish("t2", "*", 1)])
    };
    members.heartbeat(NOW, &peer(1), &beat("a", &[broadcast], &[]));
    assert!(members.subscriptions().get("cg").unwrap().broadcast);
    members.check();
}

#[test]
fn silence_and_a_closed_connection_are_the_same_event() {
    let mut members = Members::default();
    let data = |id| beat(id, &[consumer("cg", &[wish("orders", "*", 1)])], &["pg"]);
    members.heartbeat(NOW, &peer(1), &data("a"));
    members.heartbeat(NOW + 60_000, &peer(2), &data("b"));
    let (changes, close) = members.expire(NOW + SILENCE_MS_MAX, SILENCE_MS_MAX);
    assert_eq!(changed(&changes), [""; 0], "exactly 120 s are still allowed");
    assert_eq!(close, []);
    let (changes, close) = members.expire(NOW + SILENCE_MS_MAX + 1, SILENCE_MS_MAX);
    assert_eq!(changed(&changes), ["cg"]);
    assert_eq!(consumers(&members, "cg"), [connection(2).to_u64()]);
    assert_eq!(close, [connection(1)]);
    members.check();
    assert_eq!(
        members.connection_closed(connection(1)),
        Changes::default(),
        "reported again, nothing happens"
    );
    assert_eq!(members.any_producer("pg", &BTreeSet::new()), Some(connection(2)));
}

/// One of two groups of a client falls silent: the client stays.
#[test]
fn a_group_that_is_no_longer_named_expires_alone() {
    let mut members = Members::default();
    members.heartbeat(
        NOW,
        &peer(1),
        &beat("a", &[consumer("cg1", &[]), consumer("cg2", &[])], &[]),
    );
    members.heartbeat(NOW + 100_000, &peer(1), &beat("a", &[consumer("cg1", &[])], &[]));
    let (_, close) = members.expire(NOW + 130_000, SILENCE_MS_MAX);
    assert_eq!(close, []);
    assert!(members.is_online("cg1") && !members.is_online("cg2"));
    members.check();
}

#[test]
fn a_producer_is_found_by_its_client_id_while_it_is_in_a_group() {
    let mut members = Members::default();
    let beats = |members: &mut Members, number: u64, client_id: &str, groups: &[&str]| {
        members.heartbeat(NOW, &peer(number), &beat(client_id, &[], groups));
        members.check();
    };
    let leaves = |members: &mut Members, number: u64, group: &str| {
        members.unregister(connection(number), Some(group), None);
        members.check();
    };
    members.heartbeat(NOW, &peer(9), &beat("c", &[consumer("g", &[])], &[]));
    assert_eq!(members.producer_by_id("c"), None, "it only consumes");
    beats(&mut members, 1, "c", &["p", "q"]);
    assert_eq!(members.producer_by_id("c"), Some(connection(1)));
    leaves(&mut members, 1, "p");
    assert_eq!(members.producer_by_id("c"), Some(connection(1)), "it is in another group");
    // It comes back through another connection before the end of the first one is known.
    beats(&mut members, 2, "c", &["p"]);
    assert_eq!(members.producer_by_id("c"), Some(connection(2)));
    members.connection_closed(connection(1));
    members.check();
    assert_eq!(members.producer_by_id("c"), Some(connection(2)));
    // A connection that says that it is somebody else is no longer the one it was.
    beats(&mut members, 2, "d", &["p"]);
    let found = ["c", "d"].map(|client_id| members.producer_by_id(client_id));
    assert_eq!(found, [None, Some(connection(2))]);
    leaves(&mut members, 2, "p");
    assert_eq!(members.producer_by_id("d"), None);
    // Under two names in two groups.
    beats(&mut members, 4, "x", &["p"]);
    beats(&mut members, 4, "y", &["q"]);
    leaves(&mut members, 4, "p");
    let found = ["x", "y"].map(|client_id| members.producer_by_id(client_id));
    assert_eq!(found, [None, Some(connection(4))]);
    // Who is silent is not there.
    beats(&mut members, 3, "e", &["p", "q"]);
    members.expire(NOW + SILENCE_MS_MAX + 1, SILENCE_MS_MAX);
    members.check();
    assert_eq!(members.producer_by_id("e"), None);
}

#[test]
fn tools_see_who_is_connected() {
    let mut members = Members::default();
    members.heartbeat(
        NOW,
        &peer(1),
        &beat("a", &[consumer("cg", &[wish("orders", "x||y", 3)])], &["pg"]),
    );
    let seen = members.consumer_connection("cg").unwrap();
    assert_eq!(seen.connection_set.len(), 1);
    let client = &seen.connection_set[0];
    assert_eq!((client.client_id.as_str(), client.client_addr.as_str()), ("a", "10.0.0.9:5001"));
    assert_eq!((client.language.as_str(), client.version), ("JAVA", 409));
    assert_eq!(seen.subscription_table["orders"].tags_set, ["x", "y"]);
    assert_eq!(members.producer_connection("pg").unwrap().connection_set, seen.connection_set);
    assert!(members.consumer_connection("pg").is_none());
    assert!(members.producer_connection("cg").is_none());
}

/// A hostile client names more than anybody needs: the rest works on.
#[test]
fn limits_leave_out_and_count() {
    let mut members = Members::default();
    let names: Vec<String> = (0..CONNECTION_GROUPS_MAX + 2).map(|n| format!("pg{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(members.heartbeat(NOW, &peer(1), &beat("a", &[], &names)).left_out, 2);
    let wishes: Vec<_> =
        (0..GROUP_TOPICS_MAX + 3).map(|n| wish(&format!("t{n}"), "*", 1)).collect();
    let greedy = members.heartbeat(NOW, &peer(2), &beat("b", &[consumer("cg", &wishes)], &[]));
    assert_eq!(greedy.left_out, 3);
    assert_eq!(members.subscriptions().get("cg").unwrap().topics.len(), GROUP_TOPICS_MAX);
    let bad = members.heartbeat(NOW, &peer(3), &beat("c", &[consumer("no good", &[])], &["pg"]));
    assert_eq!(bad.left_out, 1);
    assert_eq!(changed(&bad), [""; 0]);
    let long = "x".repeat(CLIENT_ID_BYTES_MAX + 1);
    assert_eq!(
        members.heartbeat(NOW, &peer(4), &beat(&long, &[consumer("cg", &[])], &[])).left_out,
        1
    );
    assert_eq!(members.consumer_ids("cg"), Some(vec!["b"]));
    members.check();
}

/// However much clients say of themselves, it takes up no more than was allowed; what is there is not lost for what comes.
#[test]
fn what_members_take_up_is_bounded_and_given_back() {
    let mut members = Members::default();
    let topic = |number: usize| wish(&format!("topic-{number}"), &"tag || ".repeat(10), 1);
    members.limit_memory(60_000);
    let first = beat("c1", &[consumer("g", &[topic(0)])], &["p"]);
    assert_eq!(members.heartbeat(NOW, &peer(1), &first).left_out, 0);
    let (before, limit) = members.memory();
    assert!(before > 700 && limit == 60_000, "{before}");
    // A subscription with very many topics: some fit, and the one that was there stays.
    let wishes: Vec<SubscriptionData> = (0..50).rev().map(topic).collect();
    let changes = members.heartbeat(NOW, &peer(1), &beat("c1", &[consumer("g", &wishes)], &["p"]));
    let topics = members.subscriptions().get("g").unwrap().topics.len();
    assert!((2..50).contains(&topics), "{topics}");
    assert_eq!(changes.left_out, 50 - topics);
    assert!(members.subscription("g", "topic-0").is_some());
    members.check();
    // What it left is for others, until they have taken it: more groups of either kind, and a longer id.
    let more = beat("c2", &[consumer("h", &[])], &["q"]);
    assert_eq!(members.heartbeat(NOW, &peer(2), &more).left_out, 0);
    let one = beat("c", &[consumer("z", &[])], &[]);
    (20..200).for_each(|other| drop(members.heartbeat(NOW, &peer(other), &one)));
    let late = beat("c9", &[consumer("late", &[])], &[]);
    assert_eq!(members.heartbeat(NOW, &peer(9), &late).left_out, 1);
    assert!(!members.is_online("late"));
    let long = "c".repeat(CLIENT_ID_BYTES_MAX);
    assert_eq!(members.heartbeat(NOW, &peer(1), &beat(&long, &[], &["p"])).left_out, 1);
    assert_eq!(members.any_producer("p", &BTreeSet::new()), Some(connection(1)));
    members.check();
    assert!(members.memory().0 <= 60_000);
    // Fewer topics: there is room again, and at the end nothing is left.
    let full = members.memory().0;
    members.heartbeat(NOW, &peer(1), &first);
    assert!(members.memory().0 < full);
    assert_eq!(members.heartbeat(NOW, &peer(9), &late).left_out, 0);
    members.check();
    (1..200).for_each(|other| drop(members.connection_closed(connection(other))));
    members.check();
    assert_eq!(members.memory().0, 0);
}

/// Connections that name groups without end leave room for one that names few, each of them and all together.
#[test]
fn who_names_groups_without_end_leaves_room_for_others() {
    const LIMIT: usize = 1_000_000;
    for floods in [1, 4, 16] {
        let mut members = Members::default();
        members.limit_memory(LIMIT);
        for round in 0..8 {
            for flood in 0..floods {
                let groups = (0..200).map(|at| consumer(&format!("f-{flood}-{round}-{at}"), &[]));
                let groups: Vec<ConsumerData> = groups.collect();
                members.heartbeat(NOW, &peer(flood), &beat("flood", &groups, &[]));
            }
        }
        // Eight ninths are left by each.
        let left = (0..floods).fold(LIMIT, |left, _| left * 8 / 9);
        let free = LIMIT - members.memory().0;
        assert!(free >= left && free < left + LIMIT / 10, "{floods}: {free} of {left}");
        let topics: Vec<SubscriptionData> =
            (0..5).map(|at| wish(&format!("t{at}"), "*", 1)).collect();
        let few = beat("few", &[consumer("few", &topics)], &["few"]);
        assert_eq!(members.heartbeat(NOW, &peer(99), &few).left_out, 0, "{floods}");
        members.check();
    }
    // Many small holdings fill all of it.
    let mut members = Members::default();
    members.limit_memory(LIMIT);
    let all = (0..10_000).map(|other| {
        members.heartbeat(NOW, &peer(other), &beat("c", &[consumer("g", &[])], &[])).left_out
    });
    let taken = all.take_while(|left_out| *left_out == 0).count();
    assert!(taken > LIMIT / 520, "{taken}");
    assert!(members.memory().0 > LIMIT - 1_000);
}
