//! Goal: operators see what a broker does, for whom, and whether it serves, and nobody who reaches their port disturbs it. Method:
//! brokers as processes, scraped over HTTP with a strict reader while clients work, restarted, and attacked; and every
//! metric that the dashboard and the alerts in `deploy/` name is in a scrape.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use client::{Answer, Connection, ExtValue, Message, NewTopic, PullRequest};
use loadtest::harness::{
    certificates::Authority,
    our_broker::OurBroker,
    scrape::{HttpAnswer, Scrape, get, read_answer},
    wait_until,
};
use proto::code::request;
use serde_json::Value;

const TOPIC: &str = "seen";
const GROUP: &str = "watchers";
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(broker: &OurBroker) -> Connection {
    Connection::connect_patiently(broker.broker_addr(), PATIENCE).unwrap()
}

fn ready(addr: SocketAddr) -> Option<(u16, Value)> {
    let HttpAnswer { status, body, .. } = get(addr, "/ready").ok()?;
    let document: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
    assert_eq!(document["ready"] == true, status == 200, "{status} {body}");
    Some((status, document))
}

/// The status; the disk of this machine may be rather full, which keeps nobody from serving.
fn word_of(document: &Value) -> String {
    let word = document["status"].as_str().unwrap_or_default();
    if word == "disk-low" { "serving".to_owned() } else { word.to_owned() }
}

/// Waits until a scrape is as it should be, and returns it.
fn scraped(broker: &OurBroker, is_right: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut last = Scrape::default();
    let came = wait_until(PATIENCE, || {
        last = Scrape::of(broker.metrics_addr());
        is_right(&last)
    });
    assert!(came, "{:#?}", last.numbers);
    last
}

#[test]
fn a_scrape_counts_what_clients_do() {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let before = scraped(&broker, |scrape| scrape.sum("ringmq_ready") == 1.0);
    assert_eq!(before.sum("ringmq_put_messages_total"), 0.0);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 4)).unwrap();
    for number in 0..40 {
        connection.send(&Message::new(TOPIC, number % 4, b"body")).unwrap();
    }
    let pulled = connection.pull(&PullRequest::new(GROUP, TOPIC, 1, 0)).unwrap();
    assert_eq!(pulled.messages.len(), 10);
    connection.commit_offset(GROUP, TOPIC, 1, 4).unwrap();
    connection.commit_offset(GROUP, TOPIC, 2, 10).unwrap();
    let refused = connection.send(&Message::new("no such topic%", 0, b"body")).unwrap_err();
    let refused = refused.code().expect("an answer").to_string();
    let pair = [("group", GROUP), ("topic", TOPIC)];
    let scrape = scraped(&broker, |scrape| {
        scrape.sum("ringmq_put_messages_total") == 40.0
            && scrape.number("ringmq_group_lag_messages", &pair) == Some(6.0)
    });
    assert_eq!(scrape.sum("ringmq_got_messages_total"), 10.0);
    assert_eq!(scrape.sum("ringmq_send_seconds_count"), 40.0, "each send once");
    assert!(scrape.sum("ringmq_send_seconds_sum") > 0.0);
    let commits = scrape.sum("ringmq_commit_seconds_count");
    assert!(commits >= 1.0, "{commits}");
    assert_eq!(scrape.sum("ringmq_delivery_seconds_count"), 1.0, "one answer with messages");
    assert!(scrape.sum("ringmq_loop_lag_seconds_count") > 0.0);
    let seconds = scrape.number("ringmq_group_lag_seconds", &pair).expect("in memory");
    assert!((0.0..3_600.0).contains(&seconds), "{seconds}");
    let code = [("code", refused.as_str()), ("reason", "")];
    assert_eq!(scrape.number("ringmq_refused_requests_total", &code), Some(1.0));
    assert!(scrape.sum("ringmq_connections") >= 1.0);
    assert_eq!(scrape.sum("ringmq_shards"), 2.0);
    // Which, depends on how full the disk of this machine is.
    assert_eq!(scrape.sum("ringmq_shard_condition"), 2.0, "each shard is in one condition");
    assert_eq!(scrape.sum("ringmq_status"), 1.0, "one status at a time");
    assert!(scrape.number("ringmq_memory_limit_bytes", &[("part", "tables")]).is_some());
    assert!(scrape.sum("ringmq_disk_total_bytes") > scrape.sum("ringmq_disk_free_bytes"));
    assert_eq!(scrape.sum("ringmq_namesrv_brokers"), 1.0, "the name server inside");
    assert_eq!(scrape.sum("ringmq_name_servers_registered"), 1.0);
    assert_eq!(scrape.sum("ringmq_scrape_complete"), 1.0);
    assert!(scrape.sum("process_resident_memory_bytes") > 1e6);
    let kinds = [&before, &scrape].map(|scrape| scrape.families.clone());
    assert!(kinds[0] == kinds[1], "families do not come and go: {kinds:?}");
    for ((name, labels), number) in &before.numbers {
        if before.families.get(name).is_some_and(|kind| kind == "counter") {
            let after = scrape.numbers.get(&(name.clone(), labels.clone()));
            assert!(after.is_some_and(|after| after >= number), "{name} {labels:?} went back");
        }
    }
}

fn call(connection: &mut Connection, code: i32, ext: &[(&str, &str)]) -> Answer {
    let ext: Vec<(&str, ExtValue<'_>)> =
        ext.iter().map(|(name, value)| (*name, (*value).into())).collect();
    connection.call(code, &ext, &[]).unwrap()
}

/// POP_MESSAGE of one message of a queue; none where it waits for its turn.
fn pop(connection: &mut Connection, queue: &str) -> Option<Answer> {
    let now = client::send::now_ms().to_string();
    let ext = [
        ("consumerGroup", GROUP),
        ("topic", TOPIC),
        ("queueId", queue),
        ("maxMsgNums", "1"),
        ("invisibleTime", "60000"),
        ("pollTime", "0"),
        ("bornTime", &now),
        ("initMode", "0"),
        ("exp", "*"),
        ("expType", "TAG"),
        ("order", "false"),
    ];
    Some(call(connection, request::POP_MESSAGE, &ext)).filter(|answer| !answer.body.is_empty())
}

/// ACK_MESSAGE of the one message of a pop.
fn acknowledge(connection: &mut Connection, popped: &Answer, queue: &str) {
    let message = client::pull::messages(&popped.body).unwrap().remove(0);
    let ext = |name| popped.ext(name).unwrap_or_else(|| panic!("{name}: {popped:?}"));
    let (time, invisible, revive) = (ext("popTime"), ext("invisibleTime"), ext("reviveQid"));
    let offset = message.queue_offset.to_string();
    let receipt = format!("{offset} {time} {invisible} {revive} 0 broker {queue} {offset}");
    let ext = [
        ("consumerGroup", GROUP),
        ("topic", TOPIC),
        ("queueId", queue),
        ("extraInfo", receipt.as_str()),
        ("offset", offset.as_str()),
    ];
    call(connection, request::ACK_MESSAGE, &ext).success().unwrap();
}

/// On two shards; each number is there once it was collected from both.
#[test]
fn topics_and_groups_have_counters_of_their_own() {
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut connection = connect(&broker);
    for topic in [TOPIC, "other"] {
        connection.create_topic(&NewTopic::new(topic, 4)).unwrap();
    }
    connection.create_group(GROUP).unwrap();
    for number in 0..12 {
        connection.send(&Message::new(TOPIC, number % 4, b"body")).unwrap();
    }
    connection.send(&Message::new("other", 0, b"body")).unwrap();
    let mut first = None;
    for queue in 1..4 {
        let pulled = connection.pull(&PullRequest::new(GROUP, TOPIC, queue, 0)).unwrap();
        assert_eq!(pulled.messages.len(), 3);
        first = pulled.messages.first().map(|message| message.physical_offset.to_string());
    }
    let mut popped = None;
    assert!(wait_until(PATIENCE, || {
        popped = pop(&mut connection, "0");
        popped.is_some()
    }));
    acknowledge(&mut connection, &popped.expect("it has come"), "0");
    let offset = first.expect("it was pulled");
    for _ in 0..2 {
        let ext = [("group", GROUP), ("offset", offset.as_str()), ("delayLevel", "-1")];
        call(&mut connection, request::CONSUMER_SEND_MSG_BACK, &ext).success().unwrap();
    }
    let (topic, pair) = ([("topic", TOPIC)], [("group", GROUP), ("topic", TOPIC)]);
    let scrape = scraped(&broker, |scrape| {
        scrape.number("ringmq_topic_put_messages_total", &topic) == Some(12.0)
            && scrape.number("ringmq_group_got_messages_total", &pair) == Some(10.0)
            && scrape.number("ringmq_group_acknowledged_messages_total", &pair) == Some(1.0)
            && scrape.number("ringmq_group_sent_back_messages_total", &pair) == Some(2.0)
    });
    let other = [("topic", "other")];
    assert_eq!(scrape.number("ringmq_topic_put_messages_total", &other), Some(1.0));
    let dead = format!("%DLQ%{GROUP}");
    let dead = scrape.number("ringmq_topic_put_messages_total", &[("topic", &dead)]);
    assert_eq!(dead, Some(2.0));
    let put = scrape.number("ringmq_topic_put_bytes_total", &topic).expect("it has traffic");
    let got = scrape.number("ringmq_group_got_bytes_total", &pair).expect("it has traffic");
    assert_eq!(put / 12.0, got / 10.0, "records of one size");
    assert_eq!(scrape.sum("ringmq_traffic_left_out_total"), 0.0);
    let part = [("part", "traffic")];
    let [used, most] = ["used", "limit"]
        .map(|what| scrape.number(&format!("ringmq_memory_{what}_bytes"), &part).expect(what));
    assert!(0.0 < used && used < most, "{used} of {most}");
    call(&mut connection, request::DELETE_TOPIC_IN_BROKER, &other).success().unwrap();
    scraped(&broker, |scrape| scrape.number("ringmq_topic_put_bytes_total", &other).is_none());
}

#[test]
fn ends_of_certificates_are_shown_and_follow_their_files() {
    const ENDS_2100: f64 = 4_102_444_800.0;
    const ENDS_2101: f64 = 4_133_980_800.0;
    const EXPIRY: &str = "ringmq_tls_certificate_expiry_seconds";
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ours");
    let (server, client) = (authority.pair("server", 2100), authority.pair("client", 2101));
    let broker = OurBroker::standalone(&[
        ("shards", "1"),
        ("tls.enable", "true"),
        ("tls.server.certPath", server.cert()),
        ("tls.server.keyPath", server.key()),
        ("tls.client.certPath", client.cert()),
        ("tls.client.keyPath", client.key()),
    ]);
    let shown = |scrape: &Scrape, setting| scrape.number(EXPIRY, &[("certificate", setting)]);
    let scrape = Scrape::of(broker.metrics_addr());
    assert_eq!(shown(&scrape, "tls.server.certPath"), Some(ENDS_2100));
    assert_eq!(shown(&scrape, "tls.client.certPath"), Some(ENDS_2101));
    assert_eq!(scrape.count(EXPIRY), 2);
    let next = authority.pair("next", 2101);
    fs::copy(&next.cert, &server.cert).unwrap();
    fs::copy(&next.key, &server.key).unwrap();
    scraped(&broker, |scrape| shown(scrape, "tls.server.certPath") == Some(ENDS_2101));
    let without = OurBroker::standalone(&[("shards", "1")]);
    let scrape = Scrape::of(without.metrics_addr());
    assert!(scrape.families.contains_key(EXPIRY));
    assert_eq!(scrape.count(EXPIRY), 0, "nobody cares when a throw-away certificate ends");
}

#[test]
fn refusals_of_access_control_are_counted_by_reason() {
    const ACCOUNTS: &str =
        "accounts:\n  - accessKey: operator\n    secretKey: operators-secret\n    admin: true\n";
    const REFUSED: &str = "ringmq_acl_refused_requests_total";
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("conf")).unwrap();
    let file = home.path().join("conf/plain_acl.yml");
    fs::write(&file, ACCOUNTS).unwrap();
    let directory = home.path().display().to_string();
    let keys = [("shards", "1"), ("aclEnable", "true"), ("rocketmqHome", directory.as_str())];
    let broker = OurBroker::standalone(&keys);
    let before = Scrape::of(broker.metrics_addr());
    assert_eq!(
        before.count(REFUSED),
        7,
        "each reason from the start on, that rates have a beginning"
    );
    let number = |scrape: &Scrape, reason| scrape.number(REFUSED, &[("reason", reason)]);
    let of_harness = number(&before, "noCredentials").expect("a number");
    let mut nobody = connect(&broker);
    for _ in 0..3 {
        assert!(nobody.runtime_info().is_err());
    }
    let mut forger = connect(&broker);
    forger.sign_as("operator", "another-secret");
    assert!(forger.runtime_info().is_err());
    let after = Scrape::of(broker.metrics_addr());
    assert_eq!(number(&after, "noCredentials"), Some(of_harness + 3.0));
    assert_eq!(number(&after, "badSignature"), Some(1.0));
    assert_eq!(number(&after, "denied"), Some(0.0));
    fs::write(&file, "accounts: 7\n").unwrap();
    scraped(&broker, |scrape| scrape.sum("ringmq_acl_failed_reloads_total") == 1.0);
    let reloads = Scrape::of(broker.metrics_addr()).sum("ringmq_acl_reloads_total");
    fs::write(&file, format!("# mended\n{ACCOUNTS}")).unwrap();
    scraped(&broker, |scrape| scrape.sum("ringmq_acl_reloads_total") > reloads);
}

/// A group that has consumed all is behind by nothing; one that has not is as far behind as its oldest message is old, also
/// where that has left memory.
#[test]
fn a_lag_grows_with_the_time() {
    let small = [("shards", "1"), ("tailCacheMiB", "1"), ("maxMessageSize", "65536")];
    let broker = OurBroker::standalone(&small);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let body = vec![1; 60_000];
    // More than memory holds.
    for _ in 0..100 {
        connection.send(&Message::new(TOPIC, 0, &body)).unwrap();
    }
    connection.pull(&PullRequest::new(GROUP, TOPIC, 0, 0)).unwrap();
    connection.commit_offset(GROUP, TOPIC, 0, 0).unwrap();
    let pair = [("group", GROUP), ("topic", TOPIC)];
    let seconds = |scrape: &Scrape| scrape.number("ringmq_group_lag_seconds", &pair);
    let first = scraped(&broker, |scrape| seconds(scrape).is_some_and(|seconds| seconds > 0.0));
    assert_eq!(first.number("ringmq_group_lag_messages", &pair), Some(100.0));
    let begun = seconds(&first).unwrap_or_default();
    scraped(&broker, |scrape| seconds(scrape).is_some_and(|seconds| seconds >= begun + 1.0));
    connection.commit_offset(GROUP, TOPIC, 0, 100).unwrap();
    scraped(&broker, |scrape| seconds(scrape) == Some(0.0));
}

/// The port answers while the logs are read, and says so.
#[test]
fn a_start_is_not_ready_until_it_serves() {
    let mut broker = OurBroker::standalone(&[("shards", "1")]);
    let addr = broker.metrics_addr();
    let (status, document) = ready(addr).expect("it serves");
    assert_eq!((status, word_of(&document)), (200, "serving".to_owned()));
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let messages = vec![Message::new(TOPIC, 0, b"0123456789"); 1_000];
    for _ in 0..300 {
        connection.send_batch(&messages).unwrap();
    }
    broker.kill9();
    let gone = || TcpStream::connect(addr).is_err();
    assert!(wait_until(PATIENCE, gone), "the killed broker still listens");
    let over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let Some((status, document)) = ready(addr) else { continue };
                let word = word_of(&document);
                if word == "recovering" {
                    let recovery = &document["recovery"];
                    assert!(recovery["percent"].as_u64().is_some_and(|it| it <= 100), "{document}");
                    assert_eq!(recovery["shards"], 1, "{document}");
                    let scrape = Scrape::of(addr);
                    assert!(scrape.families.contains_key("ringmq_recovery_left_bytes"));
                    assert_eq!(get(addr, "/health").map(|it| it.status).ok(), Some(200));
                }
                seen.push((status, word));
            }
            seen
        });
        broker.restart();
        over.store(true, Ordering::Relaxed);
        watcher.join().expect("the watcher is content")
    });
    let mut seen = seen;
    seen.dedup();
    println!("seen while it started: {seen:?}");
    assert!(seen.contains(&(503, "recovering".to_owned())), "{seen:?}");
    let order = ["recovering", "starting", "serving"];
    let places: Vec<_> =
        seen.iter().map(|(_, word)| order.iter().position(|it| it == word)).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{seen:?}");
    assert!(wait_until(PATIENCE, || ready(addr).is_some_and(|(status, _)| status == 200)));
}

#[test]
fn a_broker_that_no_name_server_knows_is_not_ready() {
    // It accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let broker = OurBroker::registered_with(&addr, &[("shards", "1")]);
    let mut last = None;
    let unregistered = wait_until(PATIENCE, || {
        last = ready(broker.metrics_addr());
        last.as_ref().is_some_and(|(status, it)| *status == 503 && it["status"] == "unregistered")
    });
    assert!(unregistered, "{last:?}");
    assert_eq!(get(broker.metrics_addr(), "/health").unwrap().status, 200, "it lives");
    let scrape = Scrape::of(broker.metrics_addr());
    assert_eq!(scrape.sum("ringmq_name_servers_failing"), 1.0);
    assert_eq!(scrape.sum("ringmq_ready"), 0.0);
    drop(silent);
}

fn open(addr: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn ask(addr: SocketAddr, bytes: &[u8]) -> HttpAnswer {
    let mut connection = open(addr);
    connection.get_mut().write_all(bytes).unwrap();
    read_answer(&mut connection, true).unwrap()
}

#[test]
fn strangers_at_the_port_disturb_nobody() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let addr = broker.metrics_addr();
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();

    // Ends with a reason: another method, another path, nonsense, a body, a head without an end.
    assert_eq!(ask(addr, b"POST /metrics HTTP/1.1\r\n\r\n").status, 405);
    assert_eq!(ask(addr, b"GET /nothing HTTP/1.1\r\n\r\n").status, 404);
    assert_eq!(ask(addr, b"\x00\x01\x02\x03 hello\r\n\r\n").status, 400);
    assert_eq!(ask(addr, b"GET /ready HTTP/1.1\r\nContent-Length: 9\r\n\r\n").status, 413);
    let huge = format!("GET /ready HTTP/1.1\r\nX: {}", "x".repeat(100_000));
    assert_eq!(ask(addr, huge.as_bytes()).status, 431);

    // HEAD has the length of what it does not bring; requests behind each other are answered in turn.
    let mut pipelined = open(addr);
    let requests = "HEAD /ready HTTP/1.1\r\n\r\nGET /ready HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\n\
                    GET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
    pipelined.get_mut().write_all(requests.as_bytes()).unwrap();
    let head = read_answer(&mut pipelined, false).unwrap();
    let whole = read_answer(&mut pipelined, true).unwrap();
    assert_eq!((head.status, whole.status), (200, 200));
    assert_eq!(head.headers["content-length"], whole.body.len().to_string());
    assert_eq!(read_answer(&mut pipelined, true).unwrap().status, 404);
    assert_eq!(read_answer(&mut pipelined, true).unwrap().status, 200);
    assert_eq!(pipelined.read(&mut [0]).unwrap(), 0, "it was asked to close");

    // A head that comes byte by byte ends in time, a thousand that say nothing keep nobody out.
    let mut slow = open(addr);
    slow.get_mut().write_all(b"GET /rea").unwrap();
    assert_eq!(read_answer(&mut slow, true).unwrap().status, 408);
    let mut crowd = Vec::new();
    for number in 0..1_000 {
        let mut stream = TcpStream::connect(addr).unwrap();
        if number % 2 == 0 {
            // Some of them are gone already.
            let _ = stream.write_all(b"GET /met");
        }
        crowd.push(stream);
        if number % 100 == 0 {
            connection.send(&Message::new(TOPIC, 0, b"body")).unwrap();
            assert_eq!(get(addr, "/ready").map(|answer| answer.status).ok(), Some(200));
        }
    }
    let scrape = scraped(&broker, |scrape| scrape.sum("ringmq_put_messages_total") == 10.0);
    let files = scrape.sum("process_open_fds");
    assert!(files < 300.0, "{files} files are open with 1,000 strangers at the port");
    drop(crowd);
    assert_eq!(Scrape::of(addr).sum("ringmq_scrape_complete"), 1.0);
}

#[test]
fn ten_thousand_topics_are_all_there_while_somebody_sends() {
    const TOPICS: usize = 10_000;
    let broker = OurBroker::standalone(&[("shards", "2")]);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 2)).unwrap();
    let names: Vec<String> = (0..TOPICS).map(|number| format!("many-{number:05}")).collect();
    for piece in names.chunks(100) {
        let started: Vec<_> = piece
            .iter()
            .map(|name| connection.start_create_topic(&NewTopic::new(name, 1)))
            .collect();
        for ticket in started {
            connection.finish(ticket.unwrap()).unwrap().success().unwrap();
        }
    }
    connection.create_group(GROUP).unwrap();
    let before = Scrape::of(broker.metrics_addr()).sum("process_resident_memory_bytes");
    for name in &names {
        connection.commit_offset_oneway(GROUP, name, 0, 0).unwrap();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut connection = connect(&broker);
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                connection.send(&Message::new(TOPIC, sent % 2, b"body")).unwrap();
                sent += 1;
            }
            sent
        });
        let began = Instant::now();
        let scrape = scraped(&broker, |scrape| scrape.count("ringmq_group_lag_messages") == TOPICS);
        let took = began.elapsed();
        over.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("the sender is content");
        assert_eq!(scrape.count("ringmq_group_lag_seconds"), TOPICS);
        assert_eq!(scrape.count("ringmq_metrics_left_out"), 0);
        assert_eq!(scrape.sum("ringmq_scrape_complete"), 1.0);
        let after = scrape.sum("process_resident_memory_bytes");
        println!(
            "{TOPICS} topics: scraped in {took:?} with {sent} sends beside it; {:.1} MiB more memory",
            (after - before) / f64::from(1 << 20)
        );
    });
}

#[test]
fn a_metric_with_too_many_label_sets_is_cut_and_says_so() {
    let broker = OurBroker::standalone(&[("shards", "1"), ("metricsOtelCardinalityLimit", "1000")]);
    let mut connection = connect(&broker);
    connection.create_group(GROUP).unwrap();
    let names: Vec<String> = (0..1_010).map(|number| format!("many-{number:04}")).collect();
    for topic in &names {
        connection.create_topic(&NewTopic::new(topic, 1)).unwrap();
        connection.commit_offset_oneway(GROUP, topic, 0, 0).unwrap();
    }
    for piece in names.chunks(100) {
        let tickets: Vec<_> = piece
            .iter()
            .map(|topic| connection.start_send(&Message::new(topic, 0, b"body")).unwrap())
            .collect();
        tickets.into_iter().for_each(|ticket| drop(connection.finish_send(ticket).unwrap()));
    }
    let cut = ["ringmq_group_lag_messages", "ringmq_topic_put_messages_total"];
    let scrape = scraped(&broker, |scrape| {
        cut.iter().all(|metric| {
            let left_out = scrape.number("ringmq_metrics_left_out", &[("metric", metric)]);
            left_out.is_some_and(|count| count >= 10.0)
        })
    });
    cut.iter().for_each(|metric| assert_eq!(scrape.count(metric), 1_000, "{metric}"));
    assert!(broker.log().contains("metricsOtelCardinalityLimit"), "{}", broker.log_tail());
}

#[test]
fn what_is_slow_is_told_once_a_second() {
    let broker = OurBroker::standalone(&[("shards", "1"), ("slowOperationMs", "1")]);
    let mut connection = connect(&broker);
    connection.create_topic(&NewTopic::new(TOPIC, 1)).unwrap();
    let began = Instant::now();
    let body = vec![1; 32 * 1_024];
    let slow = wait_until(PATIENCE, || {
        let tickets: Vec<_> = (0..200)
            .map(|_| connection.start_send(&Message::new(TOPIC, 0, &body)).unwrap())
            .collect();
        tickets.into_iter().for_each(|ticket| drop(connection.finish_send(ticket).unwrap()));
        Scrape::of(broker.metrics_addr()).sum("ringmq_slow_operations_total") > 10.0
    });
    assert!(slow, "{}", broker.log_tail());
    let log = broker.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("slow sends")).collect();
    let seconds = began.elapsed().as_secs_f64();
    assert!(!lines.is_empty() && lines.len() as f64 <= seconds + 1.0, "{seconds} s: {lines:#?}");
    for part in ["longest_ms=", "on_way_ms=", "queued_ms=", "commit_ms=", "not_told=", "shard=0"] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
}

/// Words of a file that look like metrics of ours.
fn metrics_named_in(path: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("ringmq_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_what_is_there() {
    let broker = OurBroker::standalone(&[("shards", "1")]);
    let names = Scrape::of(broker.metrics_addr()).names();
    for path in ["deploy/prometheus/alerts.yml", "deploy/grafana/ringmq.json"] {
        let named = metrics_named_in(path);
        assert!(named.len() > 10, "{path} names {named:?}");
        let unknown: Vec<_> = named.difference(&names).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}, which no scrape has");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dashboard = fs::read(root.join("deploy/grafana/ringmq.json")).unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().expect("panels");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].as_str().unwrap_or_default();
        let targets = panel["targets"].as_array().map_or(0, Vec::len);
        assert!(!title.is_empty() && targets > 0, "{panel}");
    }
    let alerts = fs::read_to_string(root.join("deploy/prometheus/alerts.yml")).unwrap();
    let count = |what: &str| alerts.lines().filter(|it| it.trim_start().starts_with(what)).count();
    let rules = count("- alert: ");
    assert!(rules >= 9, "{rules}");
    for part in ["expr: ", "summary: ", "what_to_do: ", "severity: "] {
        assert_eq!(count(part), rules, "each alert has one {part}");
    }
}
