//! The name server over real sockets, as brokers, clients, operators and hostile peers use it.

use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use client::{Connection, ExtValue, admin::BrokerIdentity};
use namesrv::{config::Config, server};
use proto::{
    body::{DataVersion, RegisterBrokerBody, TopicConfig},
    code::{request, response},
    command::Language,
    frame::HeaderKind,
    record::body_crc,
};
use remoting::Listener;
use runtime::{Executor, Mesh, Settings, Stop};

/// A name server on a free port, in a thread of this process; ends with the value.
struct Running {
    addr: SocketAddr,
    stop: Stop,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(dir: &Path, change: impl FnOnce(&mut Config)) -> Running {
        let mut config = Config {
            listen_port: 0,
            kv_config_path: dir.join("kvConfig.json"),
            config_store_path: dir.join("namesrv.properties"),
            ..Config::default()
        };
        change(&mut config);
        let stop = Stop::new();
        let (bound, addr) = mpsc::channel();
        let thread = {
            let stop = stop.clone();
            thread::spawn(move || {
                let main = move |executor: Executor, _: Mesh<()>| {
                    let (config, bound) = (config.clone(), bound.clone());
                    async move {
                        let listener =
                            Listener::bind(&executor, SocketAddr::from(([127, 0, 0, 1], 0)))
                                .expect("a port");
                        let state = namesrv::open(&executor, config).await.expect("files");
                        bound.send(listener.local_addr()).expect("the test waits");
                        let state = Rc::new(RefCell::new(state));
                        let served =
                            server::serve(&executor, vec![listener], Rc::clone(&state)).await;
                        state.borrow().routes().check();
                        served.map_err(|error| error.to_string())
                    }
                };
                runtime::run(Settings::unpinned("namesrv-test", 1), stop, main).expect("runs");
            })
        };
        let addr = addr.recv_timeout(Duration::from_secs(30)).expect("starts");
        Running { addr, stop, thread: Some(thread) }
    }

    fn connect(&self) -> Connection {
        Connection::connect(self.addr).expect("connects")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the name server ends in order");
        }
    }
}

const BROKER: BrokerIdentity<'static> = BrokerIdentity {
    cluster: "c1",
    name: "broker-a",
    id: 0,
    addr: "10.0.0.1:10911",
    ha_addr: "10.0.0.1:10912",
};

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

/// Asks until the answer has this code; for what happens a moment after its cause.
fn wait_for_route(connection: &mut Connection, topic: &str, code: i32) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = connection.route_answer(topic, false).expect("an answer");
        if answer.code == code {
            return;
        }
        assert!(Instant::now() < until, "route of {topic} stays at code {}", answer.code);
        thread::sleep(Duration::from_millis(20));
    }
}

/// A broker registers, clients of all ages read the route in their flavour of JSON, the broker unregisters.
#[test]
fn one_life_of_a_broker() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let mut broker = server.connect();
    let mut client = server.connect();
    broker.register_broker(&BROKER, &[("orders", 4), ("TBW102", 8)], 1).expect("registers");

    client.set_identity(Language::Go, 317);
    let bare = client.route_answer("orders", false).expect("route");
    let expected = r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"c1"}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#;
    assert_eq!(text(&bare.body), expected);
    let quoted = r#""brokerAddrs":{"0":"10.0.0.1:10911"}"#;
    let asked = client.route_answer("orders", true).expect("route");
    assert!(text(&asked.body).contains(quoted), "{}", text(&asked.body));
    client.set_identity(Language::Java, 401);
    let standard = client.route_answer("orders", false).expect("route");
    assert!(text(&standard.body).contains(quoted));
    assert!(text(&standard.body).contains(r#""enableActingMaster":false"#));
    client.set_header_kind(HeaderKind::Rocketmq);
    let binary = client.route_answer("orders", false).expect("route");
    assert_eq!((binary.kind, &binary.body), (HeaderKind::Rocketmq, &standard.body));

    let info = client.call(request::GET_BROKER_CLUSTER_INFO, &[], &[]).expect("cluster info");
    assert_eq!(
        text(&info.body),
        r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"c1"}},"clusterAddrTable":{"c1":["broker-a"]}}"#
    );
    assert_eq!(client.topic_names().expect("topics"), ["TBW102", "orders"]);
    let missing = client.route_answer("nothing", false).expect("an answer");
    assert_eq!(missing.code, response::TOPIC_NOT_EXIST);
    broker.unregister_broker(&BROKER).expect("unregisters");
    assert_eq!(client.route_answer("orders", false).expect("an answer").code, 17);
}

/// A deflated registration is taken, one with a wrong checksum is not; the version question knows the difference.
#[test]
fn compressed_and_checked() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let mut broker = server.connect();
    let mut body = RegisterBrokerBody::default();
    let version = DataVersion { timestamp: 7, counter: 3 };
    body.topic_config.data_version = version;
    let topic = TopicConfig { topic_name: "zipped".to_owned(), ..TopicConfig::default() };
    body.topic_config.topic_config_table.insert("zipped".to_owned(), topic);
    let mut bytes = Vec::new();
    body.write_compressed(&mut bytes);
    let who: [(&str, ExtValue<'_>); 4] = [
        ("brokerName", "broker-a".into()),
        ("brokerAddr", "10.0.0.1:10911".into()),
        ("clusterName", "c1".into()),
        ("brokerId", 0.into()),
    ];
    let mut ext = who.to_vec();
    ext.push(("haServerAddr", "10.0.0.1:10912".into()));
    ext.push(("compressed", true.into()));
    let crc = i64::from(body_crc(&bytes));
    let mut wrong = ext.clone();
    wrong.push(("bodyCrc32", (crc ^ 1).into()));
    let refused = broker.call(request::REGISTER_BROKER, &wrong, &bytes).expect("an answer");
    assert_eq!(refused.code, response::SYSTEM_ERROR);
    assert!(refused.remark.expect("a reason").contains("crc32 not match"));
    ext.push(("bodyCrc32", crc.into()));
    let taken = broker.call(request::REGISTER_BROKER, &ext, &bytes).expect("an answer");
    assert_eq!((taken.code, taken.body.len()), (0, 0));
    assert!(broker.route("zipped", true).is_ok());

    let mut ask = |version: DataVersion| {
        let mut question = Vec::new();
        version.write(&mut question);
        let answer = broker.call(request::QUERY_DATA_VERSION, &who, &question).expect("an answer");
        (answer.ext("changed").map(str::to_owned), text(&answer.body).to_owned())
    };
    let known = r#"{"counter":3,"timestamp":7}"#.to_owned();
    assert_eq!(ask(version), (Some("false".to_owned()), known.clone()));
    assert_eq!(ask(DataVersion { counter: 4, ..version }), (Some("true".to_owned()), known));
    for (code, ext) in [(request::BROKER_HEARTBEAT, &who), (request::GET_BROKER_MEMBER_GROUP, &who)]
    {
        let answer = broker.call(code, ext, &[]).expect("an answer");
        assert_eq!(answer.code, 0);
        if code == request::GET_BROKER_MEMBER_GROUP {
            let expected = r#"{"brokerMemberGroup":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"c1"}}"#;
            assert_eq!(text(&answer.body), expected);
        }
    }
}

/// The broker's process dies: its connection ends, and with it the route, within moments. A slave gets its master's address before.
#[test]
fn routes_end_with_the_connection() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let mut client = server.connect();
    let mut master = server.connect();
    master.register_broker(&BROKER, &[("orders", 4)], 1).expect("registers");
    let slave = BrokerIdentity { id: 1, addr: "10.0.0.2:10911", ..BROKER };
    let answer = client.register_broker(&slave, &[], 1).expect("registers");
    assert_eq!(answer.ext("masterAddr"), Some("10.0.0.1:10911"));
    assert_eq!(answer.ext("haServerAddr"), Some("10.0.0.1:10912"));
    client.unregister_broker(&slave).expect("unregisters");
    wait_for_route(&mut client, "orders", 0);
    drop(master);
    wait_for_route(&mut client, "orders", response::TOPIC_NOT_EXIST);
}

/// An operator drains a broker, opens it again, deletes a topic.
#[test]
fn permissions_and_deletion() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let mut broker = server.connect();
    broker.register_broker(&BROKER, &[("orders", 4), ("bills", 4)], 1).expect("registers");
    let mut perm = |code, field: &str| {
        let ext = [("brokerName", "broker-a".into())];
        let answer = broker.call(code, &ext, &[]).expect("an answer");
        let route = broker.route("orders", true).expect("route");
        let perm = route["queueDatas"][0]["perm"].as_i64().expect("a number");
        (answer.ext(field).map(str::to_owned), perm)
    };
    let two = Some("2".to_owned());
    assert_eq!(perm(request::WIPE_WRITE_PERM_OF_BROKER, "wipeTopicCount"), (two.clone(), 4));
    assert_eq!(perm(request::ADD_WRITE_PERM_OF_BROKER, "addTopicCount"), (two, 6));
    let mut delete = |cluster: &str| {
        let ext = [("topic", "orders".into()), ("clusterName", cluster.into())];
        assert_eq!(
            broker.call(request::DELETE_TOPIC_IN_NAMESRV, &ext, &[]).expect("answer").code,
            0
        );
        broker.route_answer("orders", true).expect("an answer").code
    };
    assert_eq!(delete("elsewhere"), 0);
    assert_eq!(delete("c1"), 17);
    let ext = [("cluster", "c1".into())];
    let list = broker.call(request::GET_TOPICS_BY_CLUSTER, &ext, &[]).expect("an answer");
    assert_eq!(text(&list.body), r#"{"topicList":["bills"]}"#);
    let list = broker.call(request::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[], &[]).expect("an answer");
    assert_eq!(
        text(&list.body),
        r#"{"brokerAddr":"10.0.0.1:10911","topicList":["c1","broker-a"]}"#
    );
    for code in [311, 312, 313] {
        let list = broker.call(code, &[], &[]).expect("an answer");
        assert_eq!(text(&list.body), r#"{"topicList":[]}"#);
    }
}

fn kv(connection: &mut Connection, code: i32, value: Option<&str>) -> client::Answer {
    let mut ext: Vec<(&str, ExtValue<'_>)> =
        vec![("namespace", "ORDER_TOPIC_CONFIG".into()), ("key", "orders".into())];
    if let Some(value) = value {
        ext.push(("value", value.into()));
    }
    connection.call(code, &ext, &[]).expect("an answer")
}

/// The order-topic configuration survives a restart, is sent to brokers, and to clients where that is switched on.
#[test]
fn order_topics_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let conf = "broker-a:4;broker-b:4";
    {
        let server = Running::start(dir.path(), |_| {});
        let mut admin = server.connect();
        assert_eq!(kv(&mut admin, request::GET_KV_CONFIG, None).code, response::QUERY_NOT_FOUND);
        assert_eq!(kv(&mut admin, request::PUT_KV_CONFIG, None).code, response::SYSTEM_ERROR);
        assert_eq!(kv(&mut admin, request::PUT_KV_CONFIG, Some("old")).code, 0);
        assert_eq!(kv(&mut admin, request::PUT_KV_CONFIG, Some(conf)).code, 0);
        admin.register_broker(&BROKER, &[("orders", 4)], 1).expect("registers");
        let route = admin.route("orders", true).expect("route");
        assert_eq!(route.get("orderTopicConf"), None, "switched off by default");
    }
    let server = Running::start(dir.path(), |config| config.order_message_enable = true);
    let mut admin = server.connect();
    assert_eq!(kv(&mut admin, request::GET_KV_CONFIG, None).ext("value"), Some(conf));
    let answer = admin.register_broker(&BROKER, &[("orders", 4)], 1).expect("registers");
    assert_eq!(text(&answer.body), format!(r#"{{"table":{{"orders":"{conf}"}}}}"#));
    assert_eq!(admin.route("orders", true).expect("route")["orderTopicConf"], conf);
    let ext = [("namespace", "ORDER_TOPIC_CONFIG".into())];
    let list = admin.call(request::GET_KVLIST_BY_NAMESPACE, &ext, &[]).expect("an answer");
    assert_eq!(list.body, answer.body);
    assert_eq!(kv(&mut admin, request::DELETE_KV_CONFIG, None).code, 0);
    // Brokers keep an order that no table takes back.
    let list = admin.call(request::GET_KVLIST_BY_NAMESPACE, &ext, &[]).expect("an answer");
    assert_eq!((list.code, text(&list.body)), (response::SUCCESS, r#"{"table":{}}"#));
    let answer = admin.register_broker(&BROKER, &[("orders", 4)], 1).expect("registers");
    assert_eq!(answer.body, list.body);
    let backup = std::fs::read_to_string(dir.path().join("kvConfig.json.bak")).expect("a backup");
    assert!(backup.contains(conf));
}

/// Settings are read and changed over the wire, all or none, and kept in the file; some are protected.
#[test]
fn settings_over_the_wire() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let mut admin = server.connect();
    let mut update = |text: &str| {
        let answer = admin.call(request::UPDATE_NAMESRV_CONFIG, &[], text.as_bytes());
        let answer = answer.expect("an answer");
        (answer.code, answer.remark.unwrap_or_default())
    };
    assert_eq!(update("kvConfigPath=/else\n").0, response::NO_PERMISSION);
    let (code, remark) = update("orderMessageEnable=true\nlistenPort=x\nordermessageenable=1\n");
    assert_eq!(code, response::SYSTEM_ERROR);
    assert!(remark.contains("listenPort=x") && remark.contains("did you mean orderMessageEnable"));
    assert!(!dir.path().join("namesrv.properties").exists(), "nothing was changed");
    let (code, remark) = update("listenPort=1\nserverWorkerThreads=8\nuseTLS=true\n");
    assert_eq!(code, response::SYSTEM_ERROR);
    for reason in [
        "listenPort=1: needs a restart",
        "serverWorkerThreads=8: has no effect here",
        "useTLS=true: has no effect here: a name server connects to nobody",
    ] {
        assert!(remark.contains(reason), "{reason}: {remark}");
    }
    let many: String = (0..2_000).map(|number| format!("orderMessageEnabl{number}=1\n")).collect();
    let (code, remark) = update(&many);
    assert_eq!(code, response::SYSTEM_ERROR);
    assert!(remark.ends_with("; and 1936 more"), "{remark}");
    assert!(update(&"x".repeat(1 << 20)).1.contains("at most 131072 are taken"));
    assert!(!dir.path().join("namesrv.properties").exists(), "nothing was changed");
    assert_eq!(update("orderMessageEnable=true\n"), (0, String::new()));
    let config = admin.call(request::GET_NAMESRV_CONFIG, &[], &[]).expect("an answer");
    assert!(text(&config.body).contains("orderMessageEnable=true\n"));
    let kept = std::fs::read_to_string(dir.path().join("namesrv.properties")).expect("a file");
    assert_eq!(kept, text(&config.body));
    // Tools send back what they were shown, but for what is protected.
    let shown = text(&config.body).lines().map(|line| format!("{line}\n"));
    let protected = ["configBlackList", "configStorePath", "kvConfigPath"];
    let shown: String =
        shown.filter(|line| !protected.iter().any(|key| line.starts_with(key))).collect();
    let answer = admin.call(request::UPDATE_NAMESRV_CONFIG, &[], shown.as_bytes());
    assert_eq!(answer.expect("an answer").code, 0);
}

/// Unknown codes are answered at once, one-way requests and stray responses never, missing fields with a reason.
#[test]
fn what_nobody_handles() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let mut peer = server.connect();
    let unknown = peer.call(999_999, &[], &[]).expect("an answer");
    assert_eq!(unknown.code, response::REQUEST_CODE_NOT_SUPPORTED);
    assert!(unknown.remark.expect("a reason").starts_with(" request type 999999 not supported"));
    peer.start_oneway(request::GET_BROKER_CLUSTER_INFO, &[], &[]).expect("sent");
    let missing = peer.call(request::GET_ROUTEINFO_BY_TOPIC, &[], &[]).expect("an answer");
    assert_eq!(missing.code, response::SYSTEM_ERROR);
    assert!(missing.remark.expect("a reason").contains("topic"));
    let garbage = peer.call(request::QUERY_DATA_VERSION, &[("brokerId", "x".into())], b"{{{");
    assert_eq!(garbage.expect("an answer").code, response::SYSTEM_ERROR);
    assert_eq!(peer.strays(), 0);
}

/// A peer that asks thousands of questions before it reads: its requests wait, and every answer arrives in order.
#[test]
fn answers_wait_for_a_slow_reader() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let topics: Vec<String> =
        (0..2_000).map(|i| format!("topic-with-a-long-name-{i:06}")).collect();
    let topics: Vec<(&str, i32)> = topics.iter().map(|name| (name.as_str(), 4)).collect();
    let mut broker = server.connect();
    broker.register_broker(&BROKER, &topics, 1).expect("registers");
    let mut slow = server.connect();
    let ask = request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER;
    // About 60 MB of answers, far more than sockets and the limit of one connection hold.
    let tickets: Vec<_> = (0..1_000).map(|_| slow.start(ask, &[], &[]).expect("sent")).collect();
    thread::sleep(Duration::from_millis(300));
    assert!(broker.route("topic-with-a-long-name-000001", true).is_ok(), "others do not wait");
    for ticket in tickets {
        let (first, answer) = slow.finish_any().expect("an answer");
        assert_eq!(first, ticket);
        assert!(answer.body.len() > 50_000);
    }
}

/// Random bytes, absurd lengths, slow drips, half-closed sockets and broken headers on many connections at once, while
/// an honest client keeps asking.
#[test]
fn hostile_bytes_hurt_nobody_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |_| {});
    let mut honest = server.connect();
    honest.register_broker(&BROKER, &[("orders", 4)], 1).expect("registers");
    let addr = server.addr;
    let attackers: Vec<_> = (0..8_u64)
        .map(|seed| {
            thread::spawn(move || (0..60).for_each(|round| attack(addr, seed * 1_000 + round)))
        })
        .collect();
    while attackers.iter().any(|attacker| !attacker.is_finished()) {
        assert!(honest.route("orders", true).is_ok());
        thread::sleep(Duration::from_millis(5));
    }
    for attacker in attackers {
        attacker.join().expect("attackers only fail at their sockets");
    }
    assert!(honest.route("orders", true).is_ok());
}

fn attack(addr: SocketAddr, seed: u64) {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let Ok(mut socket) = TcpStream::connect(addr) else {
        return;
    };
    let header = br#"{"code":103,"extFields":{"brokerName":"x","brokerAddr":"y","clusterName":"z","brokerId":"0","compressed":"true"},"flag":0,"language":"JAVA","opaque":1,"version":409}"#;
    let mut bytes: Vec<u8> = match next() % 5 {
        0 => (0..next() % 4_000).map(|_| next().to_le_bytes()[0]).collect(),
        // Lengths up to the end of the range, then nothing.
        1 => (next() as u32 | 0x0100_0000).to_be_bytes().to_vec(),
        2 => [vec![0, 0xFF, 0xFF, 0xFF], vec![0; 64]].concat(),
        _ => {
            let body: Vec<u8> = (0..next() % 300).map(|_| next().to_le_bytes()[0]).collect();
            let length = u32::try_from(4 + header.len() + body.len()).expect("short");
            let header_length = u32::try_from(header.len()).expect("short");
            let mut frame = length.to_be_bytes().to_vec();
            frame.extend(header_length.to_be_bytes());
            frame.extend(header);
            frame.extend(body);
            frame
        }
    };
    if next() % 2 == 0 && !bytes.is_empty() {
        let at = usize::try_from(next()).expect("64 bits") % bytes.len();
        bytes[at] ^= 1 << (next() % 8);
    }
    for drip in bytes.chunks(1 + usize::try_from(next() % 700).expect("small")) {
        if socket.write_all(drip).is_err() {
            return;
        }
    }
    if next() % 2 == 0 {
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.set_read_timeout(Some(Duration::from_millis(500)));
        let _ = socket.read_to_end(&mut Vec::new());
    }
}

/// Idle connections are closed after their time; a connection too many is refused.
#[test]
fn idle_and_surplus_connections_are_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Running::start(dir.path(), |config| {
        config.server_channel_max_idle_time_seconds = 1;
        config.connections_max = 1;
    });
    let mut idle = TcpStream::connect(server.addr).expect("connects");
    idle.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let mut surplus = TcpStream::connect(server.addr).expect("connects");
    surplus.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let ended = |socket: &mut TcpStream| matches!(socket.read(&mut [0; 1]), Ok(0));
    assert!(ended(&mut surplus));
    assert!(ended(&mut idle));
}
