//! Goal: a broker that is drained leaves the routes of producers while its consumers finish, says what is left, and goes back
//! when it is told so; a restart ends it. Method: our client's requests and SIGUSR1, the routes at the name server inside.

use std::time::Duration;

use client::{Connection, Message, NewTopic};
use loadtest::harness::{our_broker::OurBroker, wait_until};
use proto::{code::request, command::ExtValue};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "drained";
const GROUP: &str = "drained-readers";

fn connect(addr: std::net::SocketAddr) -> Connection {
    Connection::connect_patiently(addr, PATIENCE).unwrap()
}

fn drain(connection: &mut Connection, action: &str) -> Value {
    let ext: [(&str, ExtValue<'_>); 1] = [("action", action.into())];
    let answer = connection.call(request::DRAIN_BROKER, &ext, &[]).unwrap();
    assert_eq!(answer.code, 0, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// What the route says that may be done with the topic here.
fn permission(broker: &OurBroker) -> i64 {
    let mut routes = connect(broker.namesrv_addr().parse().unwrap());
    routes.route(TOPIC, true).unwrap()["queueDatas"][0]["perm"].as_i64().unwrap()
}

#[test]
fn producers_are_sent_elsewhere_until_consumers_have_finished() {
    let mut broker = OurBroker::standalone(&[]);
    let mut connection = connect(broker.broker_addr());
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    for _ in 0..7 {
        connection.send(&Message::new(TOPIC, 0, b"x")).unwrap();
    }
    connection.create_group(GROUP).unwrap();
    connection.commit_offset(GROUP, TOPIC, 0, 2).unwrap();
    assert_eq!(permission(&broker), 6);
    let before = drain(&mut connection, "status");
    assert_eq!((&before["draining"], &before["sinceMs"]), (&json!(false), &json!(0)));

    let begun = drain(&mut connection, "start");
    assert_eq!(begun["draining"], json!(true));
    assert_eq!(permission(&broker), 4, "name servers know it when it is answered");
    // A group without members is told of, and not waited for.
    let behind = json!([{ "group": GROUP, "topic": TOPIC, "messages": 5, "online": false }]);
    assert_eq!((&begun["groups"], &begun["messages"]), (&behind, &json!(0)));
    assert_eq!(begun["drained"], json!(true));
    // What producers with an old route send is taken, as under brokerPermission=4.
    connection.send(&Message::new(TOPIC, 0, b"late")).unwrap();
    let again = drain(&mut connection, "start");
    assert_eq!(again["sinceMs"], begun["sinceMs"], "it is one draining");

    assert_eq!(drain(&mut connection, "stop")["draining"], json!(false));
    assert_eq!(permission(&broker), 6);
    let wrong: [(&str, ExtValue<'_>); 1] = [("action", "begin".into())];
    let refused = connection.call(request::DRAIN_BROKER, &wrong, &[]).unwrap();
    assert!(refused.remark.unwrap().contains("expected start, stop or status"));

    // The signal does the same; the log tells how far it is, and a start begins without.
    let pid = i32::try_from(broker.pid()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::USR1).unwrap();
    assert!(wait_until(PATIENCE, || permission(&broker) == 4), "{}", broker.log_tail());
    let told = wait_until(PATIENCE, || {
        let log = broker.log();
        log.contains("of_groups_without_members=6") && log.contains("drained=true")
    });
    assert!(told, "{}", broker.log_tail());
    assert!(broker.stop().is_some_and(|status| status.success()));
    broker.restart();
    assert!(wait_until(PATIENCE, || permission(&broker) == 6), "{}", broker.log_tail());
}
