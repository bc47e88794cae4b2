//! Stories of brokers that come, change and go.

use super::*;

const MINUTE: Millis = 60_000;

fn at(ms: Millis) -> Uptime {
    Uptime::from_ms(ms)
}

/// Routes with a few words for brokers; checks the tables after each event.
#[derive(Default)]
struct Fixture {
    routes: Routes,
    now: Millis,
}

/// One broker as the stories tell it.
#[derive(Clone, Copy)]
struct Broker {
    cluster: &'static str,
    name: &'static str,
    addr: &'static str,
    id: i64,
    connection: usize,
    version: i64,
}

fn id_of(connection: usize) -> ConnectionId {
    ConnectionId::new(0, 0, connection)
}

const MASTER_A: Broker = Broker {
    cluster: "c1",
    name: "broker-a",
    addr: "10.0.0.1:10911",
    id: 0,
    connection: 1,
    version: 1,
};
const SLAVE_A: Broker = Broker {
    cluster: "c1",
    name: "broker-a",
    addr: "10.0.0.2:10911",
    id: 1,
    connection: 2,
    version: 1,
};
const MASTER_B: Broker = Broker {
    cluster: "c1",
    name: "broker-b",
    addr: "10.0.0.3:10911",
    id: 0,
    connection: 3,
    version: 1,
};

fn topic(name: &str, queues: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: PERM_READ | PERM_WRITE,
        ..TopicConfig::default()
    }
}

fn version(counter: i64) -> DataVersion {
    DataVersion { timestamp: 1_700_000_000_000, counter }
}

impl Fixture {
    fn register(&mut self, broker: Broker, topics: &[TopicConfig]) -> Registered {
        let ha = format!("{}-ha", broker.addr);
        let topics = topics.iter().map(|topic| (topic.topic_name.clone(), topic.clone())).collect();
        let registration = Registration {
            cluster: broker.cluster,
            broker_name: broker.name,
            broker_addr: broker.addr,
            broker_id: broker.id,
            ha_server_addr: &ha,
            data_version: version(broker.version),
            topics: &topics,
            expiry_ms: None,
        };
        let registered =
            self.routes.register(&registration, id_of(broker.connection), at(self.now));
        self.routes.check();
        registered.expect("within the limits")
    }

    fn expire_at(&mut self, now: Millis) -> Vec<String> {
        self.now = now;
        let dropped = self.routes.expire(at(now));
        self.routes.check();
        dropped.into_iter().map(|broker| broker.broker_addr).collect()
    }

    fn close(&mut self, connection: usize) -> Vec<String> {
        let dropped = self.routes.connection_closed(id_of(connection), at(self.now));
        self.routes.check();
        dropped.into_iter().map(|broker| broker.broker_addr).collect()
    }

    fn unregister(&mut self, broker: Broker) {
        self.routes.unregister(broker.name, broker.addr);
        self.routes.check();
    }

    /// `name:read/write/perm` of every queue data, and `name[id=addr]` of every broker data.
    fn route(&self, topic: &str) -> Option<(Vec<String>, Vec<String>)> {
        let route = self.routes.route(topic)?;
        let queues = route.queue_datas.iter().map(|q| {
            format!("{}:{}/{}/{}", q.broker_name, q.read_queue_nums, q.write_queue_nums, q.perm)
        });
        let brokers = route.broker_datas.iter().map(|b| {
            let addrs: Vec<String> =
                b.broker_addrs.iter().map(|(id, addr)| format!("{id}={addr}")).collect();
            format!("{}[{}]", b.broker_name, addrs.join(","))
        });
        Some((queues.collect(), brokers.collect()))
    }

    fn queues(&self, topic: &str) -> Vec<String> {
        self.route(topic).map(|(queues, _)| queues).unwrap_or_default()
    }
}

/// A master and its slave serve a topic; the slave learns its master; when the master falls silent the slave still
/// carries the route; when the last one goes, topic, name and cluster are gone.
#[test]
fn a_group_lives_as_long_as_one_member() {
    let mut fixture = Fixture::default();
    let joined = Registered { master_addr: None, ha_server_addr: None, change: Change::Joined };
    assert_eq!(fixture.register(SLAVE_A, &[topic("orders", 4)]), joined);
    assert_eq!(fixture.route("orders"), None, "topics of a slave are not taken");
    assert_eq!(fixture.register(MASTER_A, &[topic("orders", 4)]), joined);
    let answer = fixture.register(SLAVE_A, &[]);
    assert_eq!(answer.master_addr.as_deref(), Some("10.0.0.1:10911"));
    assert_eq!(answer.ha_server_addr.as_deref(), Some("10.0.0.1:10911-ha"));
    let (queues, brokers) = fixture.route("orders").unwrap();
    assert_eq!(queues, ["broker-a:4/4/6"]);
    assert_eq!(brokers, ["broker-a[0=10.0.0.1:10911,1=10.0.0.2:10911]"]);

    fixture.now = MINUTE;
    fixture.register(SLAVE_A, &[]);
    assert_eq!(
        fixture.expire_at(2 * MINUTE),
        [] as [&str; 0],
        "exactly at the limit is not silent"
    );
    assert_eq!(fixture.expire_at(2 * MINUTE + 1), ["10.0.0.1:10911"]);
    assert_eq!(fixture.route("orders").unwrap().1, ["broker-a[1=10.0.0.2:10911]"]);
    assert_eq!(fixture.close(2), ["10.0.0.2:10911"]);
    assert_eq!(fixture.route("orders"), None);
    assert_eq!(fixture.routes.topics(), [] as [&str; 0]);
    assert_eq!(fixture.routes.cluster_info().cluster_addr_table.len(), 0);
}

/// Only a changed data version replaces facts; a topic that was deleted here comes back with any registration.
#[test]
fn facts_follow_the_data_version() {
    let mut fixture = Fixture::default();
    fixture.register(MASTER_A, &[topic("orders", 4), topic("bills", 1)]);
    assert_eq!(fixture.routes.wipe_write_perm("broker-a"), 2);
    assert_eq!(fixture.queues("orders"), ["broker-a:4/4/4"]);
    assert_eq!(fixture.routes.wipe_write_perm("nobody"), 0);

    fixture.register(MASTER_A, &[topic("orders", 8), topic("bills", 1)]);
    assert_eq!(
        fixture.queues("orders"),
        ["broker-a:4/4/4"],
        "the wipe survives an unchanged registration"
    );
    fixture.routes.delete_topic("bills", None);
    assert_eq!(fixture.route("bills"), None);
    fixture.register(MASTER_A, &[topic("orders", 8), topic("bills", 1)]);
    assert_eq!(fixture.queues("bills"), ["broker-a:1/1/6"]);

    fixture.register(Broker { version: 2, ..MASTER_A }, &[topic("orders", 8)]);
    assert_eq!(
        fixture.queues("orders"),
        ["broker-a:8/8/6"],
        "a changed version replaces everything"
    );
    assert_eq!(fixture.queues("bills"), ["broker-a:1/1/6"], "what a registration leaves out stays");
    fixture.routes.wipe_write_perm("broker-a");
    assert_eq!(fixture.routes.add_write_perm("broker-a"), 2);
    assert_eq!(fixture.queues("orders"), ["broker-a:8/8/6"]);
}

/// A broker restarts within seconds: it registers over a new connection before the old one's end is noticed.
#[test]
fn a_late_close_does_not_hurt_the_restarted() {
    let mut fixture = Fixture::default();
    fixture.register(MASTER_A, &[topic("orders", 4)]);
    fixture.register(Broker { connection: 9, ..MASTER_A }, &[topic("orders", 4)]);
    assert_eq!(fixture.close(1), [] as [&str; 0]);
    assert_eq!(fixture.queues("orders"), ["broker-a:4/4/6"]);
    assert_eq!(fixture.close(9), ["10.0.0.1:10911"]);
}

/// The broker came back under another address; unregistering its old address does not remove it.
#[test]
fn a_late_farewell_does_not_hurt_the_successor() {
    let mut fixture = Fixture::default();
    fixture.register(MASTER_A, &[topic("orders", 4)]);
    let answer = fixture.register(
        Broker { addr: "10.0.0.9:10911", connection: 9, ..MASTER_A },
        &[topic("orders", 4)],
    );
    assert_eq!(answer.change, Change::TookOver { previous: MASTER_A.addr.to_owned() });
    fixture.unregister(MASTER_A);
    assert_eq!(fixture.route("orders").unwrap().1, ["broker-a[0=10.0.0.9:10911]"]);
    assert_eq!(fixture.close(1), [] as [&str; 0]);
    fixture.unregister(Broker { addr: "10.0.0.9:10911", ..MASTER_A });
    assert_eq!(fixture.route("orders"), None);
}

/// The slave takes over as master under its own address, and later a broker moves to another name and cluster.
#[test]
fn roles_names_and_clusters_change() {
    let mut fixture = Fixture::default();
    fixture.register(MASTER_A, &[topic("orders", 4)]);
    fixture.register(SLAVE_A, &[]);
    fixture.close(1);
    fixture.register(Broker { id: 0, ..SLAVE_A }, &[topic("orders", 4)]);
    assert_eq!(fixture.route("orders").unwrap().1, ["broker-a[0=10.0.0.2:10911]"]);

    fixture.register(Broker { id: 0, cluster: "c2", ..SLAVE_A }, &[topic("orders", 4)]);
    assert_eq!(fixture.routes.topics_of_cluster("c1"), [] as [&str; 0]);
    assert_eq!(fixture.routes.topics_of_cluster("c2"), ["orders"]);
    fixture.register(
        Broker { id: 0, cluster: "c2", name: "broker-z", ..SLAVE_A },
        &[topic("orders", 2)],
    );
    assert_eq!(fixture.queues("orders"), ["broker-z:2/2/6"]);
    assert_eq!(
        fixture.routes.system_topics(),
        (vec!["c2".into(), "broker-z".into()], Some("10.0.0.2:10911".into()))
    );
}

/// Asking for the data version is a sign of life while nothing changed, and otherwise a call to register.
#[test]
fn questions_about_the_version_keep_alive() {
    let mut fixture = Fixture::default();
    let ask = |fixture: &mut Fixture, counter| {
        let now = at(fixture.now);
        fixture.routes.query_version("broker-a", MASTER_A.addr, version(counter), now)
    };
    assert_eq!(ask(&mut fixture, 1), VersionAnswer { changed: true, known: None });
    fixture.register(MASTER_A, &[topic("orders", 4)]);
    fixture.now = 2 * MINUTE;
    assert_eq!(ask(&mut fixture, 1), VersionAnswer { changed: false, known: Some(version(1)) });
    fixture.now = 4 * MINUTE;
    assert_eq!(fixture.expire_at(4 * MINUTE), [] as [&str; 0]);
    assert_eq!(ask(&mut fixture, 2), VersionAnswer { changed: true, known: Some(version(1)) });
    assert!(fixture.routes.heartbeat(MASTER_A.addr, at(4 * MINUTE)));
    assert!(!fixture.routes.heartbeat("10.9.9.9:1", at(4 * MINUTE)));
    assert_eq!(fixture.expire_at(6 * MINUTE), [] as [&str; 0]);
    assert_eq!(fixture.expire_at(6 * MINUTE + 1), [MASTER_A.addr]);
}

/// Two brokers of one cluster share a topic; deleting it in one cluster, listing by cluster and by unit.
#[test]
fn lists_tell_the_tables() {
    let mut fixture = Fixture::default();
    fixture.register(
        MASTER_A,
        &[topic("orders", 4), TopicConfig { topic_sys_flag: 3, ..topic("unit", 1) }],
    );
    fixture.register(
        MASTER_B,
        &[topic("orders", 2), TopicConfig { topic_sys_flag: 2, ..topic("sub", 1) }],
    );
    assert_eq!(fixture.queues("orders"), ["broker-a:4/4/6", "broker-b:2/2/6"]);
    assert_eq!(fixture.routes.topics(), ["orders", "sub", "unit"]);
    assert_eq!(fixture.routes.topics_by_unit(UnitFilter::Unit), ["unit"]);
    assert_eq!(fixture.routes.topics_by_unit(UnitFilter::UnitSub), ["sub", "unit"]);
    assert_eq!(fixture.routes.topics_by_unit(UnitFilter::UnitSubNotUnit), ["sub"]);
    fixture.register(Broker { cluster: "c2", ..MASTER_B }, &[topic("orders", 2)]);
    fixture.routes.delete_topic("orders", Some("c2"));
    assert_eq!(fixture.queues("orders"), ["broker-a:4/4/6"]);
    fixture.routes.delete_topic("orders", Some("elsewhere"));
    assert_eq!(fixture.queues("orders"), ["broker-a:4/4/6"]);
    fixture.routes.delete_topic("orders", None);
    fixture.routes.delete_topic("never", None);
    fixture.routes.check();
    assert_eq!(fixture.route("orders"), None);
}

/// A broker that asks before it registers learns that a topic of it was deleted here; others are not bothered.
#[test]
fn a_deleted_topic_makes_its_brokers_register_again() {
    let mut fixture = Fixture::default();
    fixture.register(MASTER_A, &[topic("orders", 4)]);
    fixture.register(MASTER_B, &[topic("bills", 2)]);
    let known = |fixture: &Fixture, addr: &str| fixture.routes.live[addr].data_version;
    let (a, b) = (known(&fixture, MASTER_A.addr), known(&fixture, MASTER_B.addr));
    fixture.routes.delete_topic("orders", None);
    assert!(fixture.routes.query_version(MASTER_A.name, MASTER_A.addr, a, at(1)).changed);
    assert!(!fixture.routes.query_version(MASTER_B.name, MASTER_B.addr, b, at(1)).changed);
}

/// A 5.x broker registers one topic by itself; brokers that nobody registered are passed over.
#[test]
fn single_topics_can_be_added() {
    let mut fixture = Fixture::default();
    fixture.register(MASTER_A, &[]);
    let queue = |name: &str| QueueData {
        broker_name: name.to_owned(),
        read_queue_nums: 3,
        write_queue_nums: 3,
        perm: 6,
        ..QueueData::default()
    };
    assert_eq!(
        fixture.routes.register_topic("new", &[queue("broker-a"), queue("stranger")]),
        Ok(1)
    );
    assert_eq!(fixture.routes.register_topic("ghost", &[queue("stranger")]), Ok(0));
    fixture.routes.check();
    assert_eq!(fixture.queues("new"), ["broker-a:3/3/6"]);
    assert!(fixture.routes.register_topic("", &[]).is_err());
}

/// A broker may ask for a shorter life, not for a longer one; nameless brokers are refused.
#[test]
fn wishes_have_bounds() {
    let mut fixture = Fixture::default();
    let mut wish = Registration {
        cluster: "c1",
        broker_name: "broker-a",
        broker_addr: "10.0.0.1:10911",
        broker_id: 0,
        ha_server_addr: "",
        data_version: version(1),
        topics: &BTreeMap::new(),
        expiry_ms: Some(10_000),
    };
    fixture.routes.register(&wish, id_of(1), at(0)).unwrap();
    assert_eq!(fixture.routes.expire(at(10_000)), []);
    assert_eq!(fixture.routes.expire(at(10_001)).len(), 1);
    wish.expiry_ms = Some(i64::MAX);
    fixture.routes.register(&wish, id_of(1), at(0)).unwrap();
    assert_eq!(fixture.routes.expire(at(BROKER_EXPIRY_MS + 1)).len(), 1);
    wish.broker_addr = "";
    assert_eq!(
        fixture.routes.register(&wish, id_of(1), at(0)),
        Err(RegisterError::Missing("a broker address"))
    );
    fixture.routes.check();
}

/// All lists of topics.
fn lists(routes: &Routes) -> Vec<Vec<String>> {
    let units = [UnitFilter::Unit, UnitFilter::UnitSub, UnitFilter::UnitSubNotUnit];
    let of_clusters = ["c1", "c2"].map(|cluster| routes.topics_of_cluster(cluster));
    let by_unit = units.map(|filter| routes.topics_by_unit(filter));
    [vec![routes.topics()], of_clusters.to_vec(), by_unit.to_vec()].concat()
}

/// Many random events: the tables never contradict each other, lists of topics change only with the generation, and in
/// the end nobody is left.
#[test]
fn random_lives_keep_the_tables_whole() {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % bound
    };
    let names = ["broker-a", "broker-b", "broker-c"];
    let addrs = ["h1:1", "h2:1", "h3:1", "h4:1", "h5:1"];
    let topics: Vec<TopicConfig> = ["t1", "t2", "t3", "t4"].map(|name| topic(name, 2)).to_vec();
    let mut fixture = Fixture::default();
    let pick =
        |values: &[&'static str], at: u64| values[usize::try_from(at).unwrap() % values.len()];
    let mut before = (0, lists(&fixture.routes));
    for _ in 0..20_000 {
        fixture.now += Millis::try_from(next(20_000)).unwrap();
        let broker = Broker {
            cluster: pick(&["c1", "c2"], next(2)),
            name: pick(&names, next(3)),
            addr: pick(&addrs, next(5)),
            id: i64::try_from(next(3)).unwrap(),
            connection: usize::try_from(next(6)).unwrap(),
            version: i64::try_from(next(3)).unwrap(),
        };
        match next(8) {
            0..=3 => {
                let count = usize::try_from(next(5)).unwrap();
                fixture.register(broker, &topics[..count]);
            }
            4 => fixture.unregister(broker),
            5 => drop(fixture.close(broker.connection)),
            6 => drop(fixture.expire_at(fixture.now)),
            _ => {
                fixture
                    .routes
                    .delete_topic(pick(&["t1", "t2", "t3"], next(3)), Some(broker.cluster));
                fixture.routes.wipe_write_perm(broker.name);
                fixture.routes.check();
            }
        }
        let after = (fixture.routes.generation(), lists(&fixture.routes));
        assert!(before.0 != after.0 || before.1 == after.1);
        before = after;
    }
    fixture.expire_at(fixture.now + BROKER_EXPIRY_MS + 1);
    assert_eq!(fixture.routes.topics(), [] as [&str; 0]);
    assert_eq!(fixture.routes.cluster_info().broker_addr_table.len(), 0);
}
