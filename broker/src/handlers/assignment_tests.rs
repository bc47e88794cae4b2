//! Unit tests of assignments: refusals of modes, who gets what, and the shape of answers. How queues are divided is tested
//! in `allocation`.

use super::*;
use crate::{
    control::ClientConnection,
    handlers::{
        fixtures::{NOW, control, with_request},
        tests::Served,
    },
    mailbox::CoreMessage,
};
use proto::{
    body::{ConsumerData, HeartbeatData, RequestModeTable, TopicConfig},
    code::request,
    command::Language,
};
use remoting::ConnectionId;
use runtime::{Mesh, Settings, Stop};

fn topic(name: &str, queues: i32) -> TopicConfig {
    TopicConfig { topic_name: name.to_owned(), read_queue_nums: queues, ..TopicConfig::default() }
}

fn set(control: &mut Control, body: &str) -> Result<(), (i32, String)> {
    let code = request::SET_MESSAGE_REQUEST_MODE;
    let set = with_request(code, &[], body.as_bytes(), |request| set_mode(control, request));
    match set {
        Ok(Response::Done) => Ok(()),
        Ok(other) => panic!("{other:?}"),
        Err(Refusal { code, remark }) => Err((code, remark)),
    }
}

#[test]
fn a_mode_is_set_for_a_topic_and_a_group_that_exist() {
    let mut control = control();
    control.update_topic(NOW, topic("t", 4)).expect("a good topic");
    let body = r#"{"consumerGroup":"g","mode":"POP","popShareQueueNum":3,"topic":"t"}"#;
    assert_eq!(set(&mut control, body), Ok(()));
    let mode = RequestMode { mode: MessageRequestMode::Pop, pop_share_queue_num: 3 };
    assert_eq!(control.request_modes().get("t", "g"), Some(mode));
    assert!(control.groups().get("g").is_some(), "it comes into being, as in Java");
    assert_eq!(control.effects().mode_changes.len(), 1, "durable before it is answered");
    assert_eq!(set(&mut control, body), Ok(()));
    assert!(control.effects().mode_changes.is_empty(), "nothing has changed");
    assert_eq!(set(&mut control, r#"{"consumerGroup":"g","topic":"t"}"#), Ok(()));
    let mode = RequestMode { mode: MessageRequestMode::Pull, pop_share_queue_num: 0 };
    assert_eq!(control.request_modes().get("t", "g"), Some(mode), "Java's defaults");
}

#[test]
fn a_mode_that_cannot_be_is_refused_and_changes_nothing() {
    let config = BrokerConfig { auto_create_subscription_group: false, ..BrokerConfig::default() };
    let mut control = Control::new(&config, NOW);
    control.update_topic(NOW, topic("t", 4)).expect("a good topic");
    control.saved_effects();
    assert_eq!(set(&mut control, r#"{topic:"t",consumerGroup:"a b"}"#).map_err(|it| it.0), Err(26));
    for (body, code, says) in [
        (r#"{topic:"%RETRY%g",consumerGroup:"g",mode:"PUSH"}"#, response::NO_PERMISSION, "retry"),
        (r#"{topic:"u",consumerGroup:"g",mode:"POP"}"#, response::TOPIC_NOT_EXIST, "topic[u]"),
        (
            r#"{topic:"t",consumerGroup:"g",mode:"POP"}"#,
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            "[g]",
        ),
        (r#"{topic:"t",consumerGroup:"g",mode:"PUSH"}"#, response::SYSTEM_ERROR, "\"PUSH\""),
        (r#"{topic:"t",mode:"POP"}"#, response::SYSTEM_ERROR, "consumerGroup is missing"),
        (r#"{consumerGroup:"g",mode:"POP"}"#, response::SYSTEM_ERROR, "topic is missing"),
        ("", response::SYSTEM_ERROR, "JSON"),
    ] {
        let (found, remark) = set(&mut control, body).expect_err(body);
        assert_eq!(found, code, "{body}: {remark}");
        assert!(remark.contains(says), "{body}: {remark}");
    }
    let effects = control.saved_effects();
    assert!(effects.mode_changes.is_empty() && effects.group_changes.is_empty());
    assert_eq!(control.request_modes().count(), 0);
}

/// Who makes a topic or a group again meets no mode of its predecessor.
#[test]
fn a_mode_goes_with_its_topic_and_with_its_group() {
    let mut control = control();
    let body = r#"{"consumerGroup":"g","mode":"POP","topic":"t"}"#;
    for with_offsets in [false, true] {
        control.update_topic(NOW, topic("t", 4)).expect("a good topic");
        assert_eq!(set(&mut control, body), Ok(()));
        control.effects();
        assert_eq!(control.delete_topic(NOW, "t"), Ok(true));
        control.update_topic(NOW, topic("t", 4)).expect("again");
        assert_eq!(control.request_modes().get("t", "g"), None);
        assert_eq!(control.effects().mode_changes.len(), 1);
        assert_eq!(set(&mut control, body), Ok(()));
        assert_eq!(control.delete_group(NOW, "g", with_offsets), Ok(true));
        assert_eq!(control.request_modes().get("t", "g"), None);
        assert_eq!(control.effects().mode_changes.len(), 2);
    }
}

#[test]
fn members_are_in_the_order_of_their_ids_and_count_once() {
    let place = |client| place_among(vec!["c", "a", "b", "c", "a"], client);
    assert_eq!(place("a"), Place { members: 3, own: Some(0) });
    assert_eq!(place("b"), Place { members: 3, own: Some(1) });
    assert_eq!(place("c"), Place { members: 3, own: Some(2) });
    assert_eq!(place("d"), Place { members: 3, own: None });
    assert_eq!(place(""), Place { members: 3, own: None });
    assert_eq!(place_among(Vec::new(), "a"), Place { members: 0, own: None });
}

#[test]
fn queues_that_do_not_exist_here_are_named_too() {
    let route = proto::body::RouteData {
        queue_datas: [("b-b", 2), ("b-a", 1)]
            .map(|(broker_name, read_queue_nums)| proto::body::QueueData {
                broker_name: broker_name.to_owned(),
                read_queue_nums,
                perm: 6,
                ..Default::default()
            })
            .into(),
        ..Default::default()
    };
    let queues = TopicQueues::in_route(&route);
    let of = |part| {
        let assigned = assignments("t", &queues, &part, MessageRequestMode::Pop);
        assert!(assigned.iter().all(|it| it.mode == MessageRequestMode::Pop));
        let named = assigned.into_iter().map(|it| {
            assert_eq!(it.message_queue.topic, "t");
            (it.message_queue.broker_name, it.message_queue.queue_id)
        });
        named.collect::<Vec<_>>()
    };
    let named = |queues: &[(&str, i32)]| -> Vec<(String, i32)> {
        queues.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect()
    };
    assert_eq!(of(Part::All), named(&[("b-a", 0), ("b-b", 0), ("b-b", 1)]));
    assert_eq!(of(Part::Queues(vec![0, 2])), named(&[("b-a", 0), ("b-b", 1)]));
    assert_eq!(of(Part::WholeBrokers), named(&[("b-a", -1), ("b-b", -1)]));
    assert_eq!(of(Part::Queues(Vec::new())), named(&[]));
}

/// A worker without name servers, and topic `t` with four queues.
fn on_worker<Fut: Future<Output = ()> + 'static>(
    test: impl Fn(Rc<Worker>) -> Fut + Clone + Send + 'static,
) {
    let settings = Settings::unpinned("assignment", 1);
    let ran = runtime::run(settings, Stop::new(), move |executor, mesh: Mesh<CoreMessage>| {
        let test = test.clone();
        async move {
            let dir = tempfile::tempdir().expect("a directory");
            let served = Served::start(dir.path(), Vec::new(), executor, mesh).await;
            let worker = Rc::clone(&served.worker);
            let plane = worker.control_plane();
            let made = plane.change(&worker, |control| control.update_topic(NOW, topic("t", 4)));
            made.expect("a good topic");
            plane.durable().await.expect("a healthy disk");
            test(Rc::clone(&worker)).await;
            Ok(())
        }
    });
    ran.expect("the executor runs");
}

/// A client is a member of group `g` from now on.
async fn join(worker: &Rc<Worker>, number: usize, client_id: &str) {
    let client = ClientConnection {
        connection: ConnectionId::new(0, 0, 100 + number),
        address: ([10, 0, 0, 9], 5_000).into(),
        language: Language::Java,
        version: 479,
    };
    let consumer = ConsumerData { group_name: "g".to_owned(), ..ConsumerData::default() };
    let data = HeartbeatData {
        client_id: client_id.to_owned(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    let now = worker.executor.moment();
    let plane = worker.control_plane();
    assert_eq!(plane.change(worker, |control| control.heartbeat(now, &client, &data)), 0);
    plane.durable().await.expect("a healthy disk");
}

async fn asked(worker: &Rc<Worker>, body: &str) -> Result<QueryAssignmentResponse, Refusal> {
    let code = request::QUERY_ASSIGNMENT;
    let answering =
        with_request(code, &[], body.as_bytes(), |request| query(Rc::clone(worker), request));
    match answering.await? {
        Response::Body(body, _) => Ok(QueryAssignmentResponse::read(&body).expect("our own")),
        other => panic!("{other:?}"),
    }
}

/// What a client of group `g` is told: numbers of queues and modes. `None`: nothing.
async fn told(
    worker: &Rc<Worker>,
    topic: &str,
    client: &str,
    model: &str,
    strategy: &str,
) -> Option<Vec<(i32, MessageRequestMode)>> {
    let body = format!(
        r#"{{"clientId":"{client}","consumerGroup":"g","messageModel":"{model}","strategyName":"{strategy}","topic":"{topic}"}}"#
    );
    let answer = asked(worker, &body).await.expect("always a success");
    let assigned = answer.message_queue_assignments?.into_iter();
    Some(assigned.map(|it| (it.message_queue.queue_id, it.mode)).collect())
}

const PULL: MessageRequestMode = MessageRequestMode::Pull;
const POP: MessageRequestMode = MessageRequestMode::Pop;

#[test]
fn members_share_the_queues_of_a_topic() {
    on_worker(|worker| async move {
        let worker = &worker;
        let avg = async |topic, client| told(worker, topic, client, "CLUSTERING", "AVG").await;
        assert_eq!(avg("t", "c1").await, None, "nobody is online");
        join(worker, 1, "c1").await;
        join(worker, 2, "c2").await;
        assert_eq!(avg("t", "c1").await, Some(vec![(0, PULL), (1, PULL)]));
        assert_eq!(avg("t", "c2").await, Some(vec![(2, PULL), (3, PULL)]));
        assert_eq!(avg("t", "c3").await, Some(vec![]), "it is no member");
        assert_eq!(avg("t", "").await, None);
        assert_eq!(avg("u", "c1").await, None, "there is no such topic");
        assert_eq!(avg("no topic", "c1").await, None);
        assert_eq!(avg("%RETRY%g", "c1").await, Some(vec![(0, PULL)]));
        assert_eq!(avg("%RETRY%g", "c2").await, Some(vec![]));
        let circle = told(worker, "t", "c2", "CLUSTERING", "AVG_BY_CIRCLE").await;
        assert_eq!(circle, Some(vec![(1, PULL), (3, PULL)]));
        assert_eq!(told(worker, "t", "c1", "CLUSTERING", "CONFIG").await, None);
        let all = Some((0..4).map(|id| (id, PULL)).collect());
        assert_eq!(told(worker, "t", "c9", "BROADCASTING", "CONFIG").await, all);
    });
}

#[test]
fn popping_members_share_all_brokers_or_the_queues_of_their_neighbours() {
    on_worker(|worker| async move {
        let worker = &worker;
        for number in 1..=4 {
            join(worker, number, &format!("c{number}")).await;
        }
        let set_share = |share: i32| {
            let body = format!(
                r#"{{"consumerGroup":"g","mode":"POP","popShareQueueNum":{share},"topic":"t"}}"#
            );
            let plane = worker.control_plane();
            plane.change(worker, |control| set(control, &body)).expect("they exist");
        };
        let avg = async |topic, client| told(worker, topic, client, "CLUSTERING", "AVG").await;
        for share in [-1, 0, 3] {
            set_share(share);
            assert_eq!(avg("t", "c2").await, Some(vec![(-1, POP)]), "{share}");
        }
        set_share(1);
        assert_eq!(avg("t", "c1").await, Some(vec![(0, POP), (1, POP)]));
        assert_eq!(avg("t", "c4").await, Some(vec![(0, POP), (3, POP)]));
        assert_eq!(avg("%RETRY%g", "c1").await, Some(vec![(0, PULL)]), "always pulled");
        let code = request::GET_ALL_MESSAGE_REQUEST_MODE;
        let answering =
            with_request(code, &[], b"", |request| all_modes(Rc::clone(worker), request));
        let Ok(Response::Body(body, _)) = answering.await else { panic!("a table") };
        let table = RequestModeTable::read(&body).expect("our own");
        assert_eq!(table.counter, 0, "it stands in our file alone");
        let entry = &table.message_request_mode_map["t"]["g"];
        assert_eq!((entry.mode, entry.pop_share_queue_num), (POP, 1));
        assert!(worker.control_plane().is_current(), "what is told is on the disk");
    });
}

#[test]
fn what_is_missing_in_a_question_is_said() {
    on_worker(|worker| async move {
        for (body, says) in [
            ("", "JSON"),
            (r#"{messageModel:"CLUSTERING",consumerGroup:"g"}"#, "topic is missing"),
            (r#"{messageModel:"CLUSTERING",topic:"t"}"#, "consumerGroup is missing"),
            (r#"{topic:"t",consumerGroup:"g"}"#, "messageModel"),
            (r#"{topic:"t",consumerGroup:"g",messageModel:"SOMETIMES"}"#, "messageModel"),
        ] {
            let refusal = asked(&worker, body).await.expect_err(body);
            assert_eq!(refusal.code, response::SYSTEM_ERROR, "{body}");
            assert!(refusal.remark.contains(says), "{body}: {}", refusal.remark);
        }
    });
}
