//! A Java broker at our name server: it registers, refreshes, takes new topics along, says goodbye; Java's mqadmin reads
//! the routes. And our broker at Java's name servers. What is checked is what a client would see.

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use client::{Answer, Connection, Ticket, admin::NewTopic};
use libtest_mimic::Trial;
use loadtest::{
    harness::{Peer, mqadmin::Mqadmin, program::Library, scenario},
    java_peer::{JavaPeer, VERSION_4_9, VERSION_5_3, available_or_skip, free_ports},
};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Our `mqnamesrv` as a process of its own.
struct OurNamesrv {
    child: Child,
    addr: SocketAddr,
    _dir: TempDir,
}

impl OurNamesrv {
    /// Starts it and waits for the boot line. Expiry is shortened only by what brokers ask for, as in production.
    fn start() -> OurNamesrv {
        let dir = tempfile::tempdir().expect("a directory");
        let port = free_ports(1);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let conf = dir.path().join("namesrv.conf");
        let kv = dir.path().join("kvConfig.json");
        let keys =
            format!("listenPort={port}\nbindAddress=127.0.0.1\nkvConfigPath={}\n", kv.display());
        fs::write(&conf, keys).expect("a file");
        let out = dir.path().join("out");
        let printed = File::create(&out).expect("a file");
        let child = Command::new(binary())
            .arg("-c")
            .arg(&conf)
            .stdin(Stdio::null())
            .stderr(printed.try_clone().expect("a descriptor"))
            .stdout(printed)
            .spawn()
            .expect("mqnamesrv starts");
        let started = OurNamesrv { child, addr, _dir: dir };
        wait(|| {
            fs::read_to_string(&out).unwrap_or_default().contains("The Name Server boot success")
        });
        started
    }
}

impl Drop for OurNamesrv {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary of the running test's profile, built first: `cargo test -p loadtest` alone does not build it.
/// `RINGMQ_NAMESRV` names another one.
fn binary() -> PathBuf {
    if let Some(named) = env::var_os("RINGMQ_NAMESRV") {
        return PathBuf::from(named);
    }
    let exe = env::current_exe().expect("a path");
    let profile_dir = exe.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "-q", "-p", "namesrv", "--bin", "mqnamesrv"]).arg("--target-dir");
    build.arg(profile_dir.parent().expect("the target directory"));
    if profile_dir.ends_with("release") {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(built.success(), "mqnamesrv does not build");
    profile_dir.join("mqnamesrv")
}

fn wait(mut done: impl FnMut() -> bool) {
    let until = Instant::now() + WAIT_MAX;
    while !done() {
        assert!(Instant::now() < until, "waited in vain for {WAIT_MAX:?}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Code of the route's answer, and the route's text.
fn route(namesrv: &mut Connection, topic: &str) -> (i32, String) {
    let answer = namesrv.route_answer(topic, false).expect("an answer");
    (answer.code, String::from_utf8_lossy(&answer.body).into_owned())
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        crate::trial("name_servers::a_java_broker_at_ours".to_owned(), a_java_broker_at_ours),
        crate::trial("name_servers::our_broker_at_java_s".to_owned(), our_broker_at_java_s),
    ]
}

fn a_java_broker_at_ours(test: &str) {
    if !available_or_skip(test) {
        return;
    }
    let ours = OurNamesrv::start();
    let mut java = JavaPeer::new(VERSION_4_9).expect("jars");
    java.namesrv_addr = Some(ours.addr.to_string());
    let broker_addr =
        java.start_broker(&[("registerNameServerPeriod", "10000")]).expect("a broker");
    let mut namesrv = Connection::connect(ours.addr).expect("connects");
    wait(|| route(&mut namesrv, "TBW102").0 == 0);
    let (_, text) = route(&mut namesrv, "TBW102");
    let expected = format!(r#""brokerAddrs":{{"0":"{broker_addr}"}},"brokerName":"broker-a""#);
    assert!(text.contains(&expected), "{text}");

    // A topic made at the broker is registered at once.
    let mut broker = Connection::connect(broker_addr).expect("connects");
    broker.create_topic(&NewTopic::new("made-in-java", 3)).expect("a topic");
    wait(|| route(&mut namesrv, "made-in-java").1.contains(r#""readQueueNums":3"#));

    // Forgotten here, the topic comes back with the next periodic registration: the broker refreshes.
    let topic = [("topic", "made-in-java".into())];
    assert_eq!(namesrv.call(216, &topic, &[]).expect("an answer").code, 0);
    assert_eq!(route(&mut namesrv, "made-in-java").0, 17);
    wait(|| route(&mut namesrv, "made-in-java").0 == 0);

    // Java's tools understand what we say.
    let addr = ours.addr.to_string();
    let list = java.mqadmin(&["clusterList", "-n", &addr]).expect("mqadmin");
    assert!(list.contains("broker-a") && list.contains(&broker_addr.to_string()), "{list}");
    let routes = java.mqadmin(&["topicRoute", "-n", &addr, "-t", "made-in-java"]).expect("mqadmin");
    assert!(routes.contains(&broker_addr.to_string()), "{routes}");
    let wiped = java.mqadmin(&["wipeWritePerm", "-n", &addr, "-b", "broker-a"]).expect("mqadmin");
    assert!(wiped.contains("OK,"), "{wiped}");
    wait(|| route(&mut namesrv, "made-in-java").1.contains(r#""perm":4"#));

    java.stop_brokers();
    assert_eq!(route(&mut namesrv, "TBW102").0, 17, "the broker has unregistered at its end");
}

/// UPDATE_AND_CREATE_TOPIC that is not waited for.
fn start_creating(broker: &mut Connection, name: &str) -> Ticket {
    let ext = [
        ("topic", name.into()),
        ("defaultTopic", "TBW102".into()),
        ("readQueueNums", 5.into()),
        ("writeQueueNums", 5.into()),
        ("perm", 6.into()),
        ("topicFilterType", "SINGLE_TAG".into()),
    ];
    broker.start(17, &ext, &[]).expect("sent")
}

/// Our broker serves two name servers at once, one of each Java release; a client of each release finds it there.
fn our_broker_at_java_s(test: &str) {
    if !available_or_skip(test) {
        return;
    }
    let start = |version| {
        let mut java = JavaPeer::new(version).expect("jars");
        let addr = java.start_namesrv().expect("a name server");
        (java, addr)
    };
    let ((_java4, addr4), (_java5, addr5)) = (start(VERSION_4_9), start(VERSION_5_3));
    let mut ours = Peer::own_registered_with(&[addr4.to_string(), addr5.to_string()]);
    for (addr, release) in [(addr4, "4.9.8"), (addr5, "5.3.3")] {
        ours.namesrv_addr = addr.to_string();
        let program = Library::Java(release).program(test);
        let program = program.expect("the tools were looked for above");
        scenario::quickstart(&program, &ours, 100);
        let list = Mqadmin::start(&program).run(&["clusterList", "-n", &ours.namesrv_addr]);
        assert!(list.contains(&format!(" {} ", ours.broker_addr)), "{list}");
    }

    let mut namesrvs = [addr4, addr5].map(|addr| Connection::connect(addr).expect("connects"));
    ours.create_topic("seen-by-both", 3);
    for namesrv in &mut namesrvs {
        wait(|| route(namesrv, "seen-by-both").1.contains(r#""readQueueNums":3"#));
    }
    // More than one registration holds: both releases take every part of the next one, also what they know a version of.
    let many: Vec<String> =
        (0..4_000).map(|number| format!("part-{number}-{}", "x".repeat(100))).collect();
    let mut broker = Connection::connect(ours.broker_addr).expect("connects");
    for names in many.chunks(200) {
        let tickets: Vec<_> = names.iter().map(|name| start_creating(&mut broker, name)).collect();
        for ticket in tickets {
            broker.finish(ticket).and_then(Answer::success).expect("created");
        }
    }
    for namesrv in &mut namesrvs {
        for name in [&many[0], &many[1_999], &many[3_999]] {
            wait(|| route(namesrv, name).0 == 0);
            assert_eq!(namesrv.call(216, &[("topic", name.as_str().into())], &[]).unwrap().code, 0);
            assert_eq!(route(namesrv, name).0, 17);
        }
    }
    for namesrv in &mut namesrvs {
        for name in [&many[0], &many[1_999], &many[3_999]] {
            wait(|| route(namesrv, name).1.contains(r#""readQueueNums":5"#));
        }
    }
    ours.stop();
    for namesrv in &mut namesrvs {
        assert_eq!(route(namesrv, "seen-by-both").0, 17, "our broker unregisters at its end");
    }
}
