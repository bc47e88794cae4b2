//! Stories of an operator with a configuration file.

use super::*;
use crate::config::{FlushDiskType, Level};
use clap::Parser;

fn machine() -> Machine {
    Machine {
        host_name: "host-a".to_owned(),
        address: "10.1.2.3".parse().unwrap(),
        processors: vec![0, 1, 2, 3],
        memory_bytes: 8 << 30,
        memory_limit_bytes: None,
    }
}

fn given(arguments: &[&str], file: Option<&str>) -> Given {
    let mut all = vec!["mqbroker"];
    all.extend(arguments);
    Given {
        command_line: CommandLine::parse_from(all),
        file: file.map(str::to_owned),
        namesrv_env: None,
        log_dir_env: None,
        home: Some(PathBuf::from("/home/op")),
        overrides: None,
        rocketmq_home: None,
    }
}

fn loaded(arguments: &[&str], file: Option<&str>) -> Loaded {
    load(&given(arguments, file), &machine()).unwrap()
}

fn problems(file: &str) -> Vec<String> {
    match load(&given(&["-c", "broker.conf"], Some(file)), &machine()) {
        Err(ConfigError::Problems { problems, .. }) => {
            problems.iter().map(Problem::to_string).collect()
        }
        other => panic!("{file:?} should have been refused: {other:?}"),
    }
}

fn notices(file: &str) -> Vec<(Level, String)> {
    let loaded = loaded(&["-c", "broker.conf", "-n", "ns:9876"], Some(file));
    loaded.notices.into_iter().map(|notice| (notice.level, notice.text)).collect()
}

/// A newcomer types `mqbroker` and gets everything in one process.
#[test]
fn nothing_given_is_standalone() {
    let start = loaded(&[], None);
    assert!(start.standalone);
    let config = start.config;
    assert_eq!(config.store_path_root_dir, "./ringmq-data");
    assert_eq!(config.store_path_commit_log, "./ringmq-data/commitlog");
    assert_eq!(config.broker_name, "host-a");
    assert_eq!(config.client_address(), "10.1.2.3:10911");
    assert_eq!(config.broker_ip2, "10.1.2.3");
    assert_eq!(config.vip_port(), 10_909);
    assert_eq!(config.flush_disk_type, FlushDiskType::SyncFlush);
    assert_eq!(start.notices, vec![]);
    assert_eq!(start.print, None);
}

/// The sample file of a Java two-master cluster starts our broker.
#[test]
fn javas_sample_file_is_enough() {
    let file = "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\ndeleteWhen=04\n\
                fileReservedTime=48 \nbrokerRole=ASYNC_MASTER\nflushDiskType=ASYNC_FLUSH\n";
    let start = loaded(&["-c", "broker.conf", "-n", "ns-1:9876;ns-2:9876"], Some(file));
    assert!(!start.standalone);
    assert_eq!(start.config.broker_name, "broker-a");
    assert_eq!(start.config.file_reserved_time_hours, 48);
    assert_eq!(start.config.flush_disk_type, FlushDiskType::AsyncFlush);
    assert_eq!(start.config.name_servers().collect::<Vec<_>>(), ["ns-1:9876", "ns-2:9876"]);
    assert_eq!(start.config.store_path_root_dir, "/home/op/ringmq-data");
}

#[test]
fn the_command_line_goes_before_the_file_and_the_file_before_the_environment() {
    let file = Some("namesrvAddr=file:1");
    let mut given = given(&["-c", "b.conf", "-n", "line:1"], file);
    given.namesrv_env = Some("env:1".to_owned());
    let addr = |given: &Given| load(given, &machine()).unwrap().config.namesrv_addr;
    assert_eq!(addr(&given), "line:1");
    given.command_line.namesrv_addr = None;
    assert_eq!(addr(&given), "file:1");
    given.file = None;
    assert_eq!(addr(&given), "env:1");
    given.command_line.config_file = None;
    assert!(!load(&given, &machine()).unwrap().standalone, "a name server is known");
}

#[test]
fn standalone_takes_a_file_with_all_keys() {
    let start = loaded(
        &["--standalone", "-c", "b.conf"],
        Some("shards=2\nshardCores=0,2-3\nstandaloneNamesrvPort=19876"),
    );
    assert!(start.standalone);
    assert_eq!(start.config.shards, 2);
    assert_eq!(start.config.shard_cores.0, vec![0, 2, 3]);
    assert_eq!(start.config.standalone_namesrv_port, 19_876);
}

/// One start reports everything that is wrong, not one thing per start.
#[test]
fn all_problems_are_listed_at_once() {
    let file = "# a bad day\nlistenPort=70000\nautoCreateTopicEnable=yes\n\nflushDiskType=SYNC\nbrokerRole=SLAVE\n\
                brokerId=1\nshardCores=0,9\nmappedFileSizeCommitLog=4194305\nnamesrvAddr=ns\n";
    let all = problems(file);
    let expected = [
        "line 2: listenPort=70000: expected a whole number from 3 to 65535",
        "line 3: autoCreateTopicEnable=yes: expected true or false",
        "line 5: flushDiskType=SYNC: expected one of SYNC_FLUSH, ASYNC_FLUSH",
        "line 10: namesrvAddr=ns: expected host:port, several separated by ';', such as 10.0.0.1:9876;ns-2:9876 \
         (IPv6 in brackets: [::1]:9876)",
        "brokerRole=SLAVE: expected ASYNC_MASTER: there is no replication yet, and acknowledgements must not promise it",
        "brokerId=1: expected 0: every broker here is a master",
        "mappedFileSizeCommitLog=4194305: expected a multiple of 4096, because of direct I/O",
        "mappedFileSizeCommitLog=4194305: expected at least maxMessageSize and 1114112 bytes more",
        "shardCores=0,9: expected processors out of the 4 that this process may use here, 0-3: 9 is none of them",
    ];
    assert_eq!(all, expected);
}

#[test]
fn limits_must_fit_each_other() {
    let all = problems("maxMessageSize=10485760\nshardInflightBytesMax=2097152\ntailCacheMiB=7000");
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].starts_with("connectionInflightBytesMax=8388608: expected at least 10551296"));
    assert!(all[1].starts_with(
        "shardInflightBytesMax=2097152: expected at least connectionInflightBytesMax"
    ));
    assert!(
        all[2].starts_with(
            "tailCacheMiB=7000: expected at most half of the memory budget of 4096 MiB"
        )
    );
    let clash = given(&["--standalone"], Some("standaloneNamesrvPort=10909"));
    assert!(
        matches!(load(&clash, &machine()), Err(ConfigError::Problems { problems, .. }) if problems.len() == 1)
    );
}

#[test]
fn a_limit_below_which_nothing_is_popped_starts_nothing() {
    assert!(problems("shardPoppedMax=63\n")[0].contains("at least 64"));
    assert_eq!(loaded(&["-c", "b", "-n", "ns:9876"], Some("shardPoppedMax=64\n")).notices, vec![]);
}

#[test]
fn a_mistyped_key_is_told_with_its_neighbour() {
    let read = notices("brokrName=a\nautoCreateTopicEnabel=true\nsomethingElseEntirely=1");
    let texts: Vec<_> = read.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "line 1: brokrName is not a known key and has no effect; did you mean brokerName?",
            "line 2: autoCreateTopicEnabel is not a known key and has no effect; did you mean autoCreateTopicEnable?",
            "line 3: somethingElseEntirely is not a known key and has no effect",
        ]
    );
    assert!(read.iter().all(|(level, _)| *level == Level::Warn));
}

/// Keys of the Java broker that have no counterpart are explained; a promise that is not kept is loud.
#[test]
fn keys_without_meaning_here_are_explained() {
    let read = notices(
        "sendMessageThreadPoolNums=16\nhaMasterAddress=10.0.0.1:10912\nslaveReadEnable=false\n\
         maxTransferCountOnMessageInDisk=4\nstorePathConsumeQueue=/q\nstorePathIndex=/i\nstoreCheckpoint=/c\nabortFile=/a\n\
         enableDLegerCommitLog=false\nminInSyncReplicas=1\ntimerPrecisionMs=1000",
    );
    assert_eq!(read.len(), 11, "{read:?}");
    // Old spellings, and what is on by default in Java, are explained and not loud.
    let explained = |(level, text): &(Level, String)| {
        *level == Level::Info && text.contains(" has no effect here: ")
    };
    assert!(read[4..].iter().all(explained), "{read:?}");
    assert_eq!(read[0].0, Level::Info);
    assert!(
        read[0]
            .1
            .starts_with("sendMessageThreadPoolNums has no effect here: each core runs one shard")
    );
    assert_eq!(read[1].0, Level::Warn);
    assert_eq!(read[2].0, Level::Info);
    assert_eq!(
        read[3].1,
        "maxTransferCountOnMessageInDisk is understood, but nothing acts on it yet"
    );
}

/// What a group of replicas, access control or a second place of messages promises is not dropped for a warning.
#[test]
fn a_promise_that_cannot_be_kept_starts_nothing() {
    for line in [
        "enableDLegerCommitLog=true",
        "enableControllerMode=true",
        "enableSlaveActingMaster=true",
        "asyncLearner=true",
        "duplicationEnable=true",
        "allAckInSyncStateSet=true",
        "enableAutoInSyncReplicas=true",
        "totalReplicas=3",
        "inSyncReplicas=2",
        "minInSyncReplicas=2",
        "brokerRole=SLAVE",
        "brokerRole=SYNC_MASTER",
        "brokerId=1",
        "authorizationEnabled=TRUE",
        "migrateAuthFromV1Enabled=true",
        "aclEnable=true\nauthenticationEnabled=true",
        "authenticationWhitelist=10,send",
        "initAuthenticationUser={\"username\":\"root\"}",
        "tls.server.keyPassword=secret",
        "readOnlyCommitLogStorePaths=/old",
        "storePathCommitLog=/a,/b",
        "messageStorePlugIn=org.apache.rocketmq.tieredstore.TieredMessageStore",
        "fetchNameSrvAddrByDnsLookup=true",
        "enableMultiDispatch=true",
    ] {
        let all = problems(&format!("brokerName=n0\n{line}\n"));
        let (key, _) = line.split_once('=').unwrap();
        assert!(all.len() == 1 && all[0].contains(key) && all[0].contains("expected "), "{all:?}");
    }
}

/// Each list and address that could not work is refused with its value and the right form.
#[test]
fn addresses_that_cannot_work_start_nothing() {
    for (line, form) in [
        ("namesrvAddr=a:1,b:2", "separated by ';'"),
        ("namesrvAddr=http://localhost:9876", "host:port"),
        ("namesrvAddr=a:9876 b:9876", "separated by ';'"),
        ("brokerIP1=0.0.0.0", "an IP address or a host name"),
        ("brokerIP1=10.0.0.1:10911", "without a port"),
        ("bindAddress=eth0", "an IP address of this machine"),
        ("bindAddress=0.0.0.0\nbrokerIP1=::1", "bindAddress=0.0.0.0 covers IPv4 only"),
        ("bindAddress=::1\nbrokerIP1=10.0.0.1", "bindAddress=::1 covers IPv6 only"),
    ] {
        let all = problems(line);
        let value = line.rsplit('=').next().unwrap();
        assert!(all.len() == 1 && all[0].contains(value) && all[0].contains(form), "{all:?}");
    }
    let empty = given(&["-n", ""], None);
    assert!(
        matches!(load(&empty, &machine()), Err(ConfigError::Problems { problems, .. }) if problems.len() == 1)
    );
}

#[test]
fn advertised_addresses_are_what_clients_read() {
    let client = |file: &str| loaded(&["-n", "ns:1"], Some(file)).config;
    assert_eq!(client("brokerIP1=::1").client_address(), "[::1]:10911");
    assert_eq!(client("brokerIP1=[fd00::2]").client_address(), "[fd00::2]:10911");
    assert_eq!(client("brokerIP1=broker-0.broker").client_address(), "broker-0.broker:10911");
    assert_eq!(client("brokerIP1=broker-0.broker").ha_address(), "broker-0.broker:10912");
    let bound = client("bindAddress=10.9.9.9");
    assert_eq!(bound.client_address(), "10.9.9.9:10911");
    assert_eq!(bound.own_name_server(), "10.9.9.9:9876");
    assert_eq!(client("").own_name_server(), "127.0.0.1:9876");
    let apart = loaded(&["-n", "ns:1"], Some("bindAddress=10.9.9.9\nbrokerIP1=broker.example"));
    assert!(apart.notices[0].text.starts_with("clients get broker.example (brokerIP1)"));
}

#[test]
fn doubled_keys_and_bounds_are_told() {
    let read = notices("listenPort=1234\nlistenPort=2345\nregisterNameServerPeriod=1000");
    assert_eq!(read[0].1, "line 1: listenPort is given again in line 2, which counts");
    assert_eq!(read[1].1, "registerNameServerPeriod=1000 is outside its bounds and acts as 10000");
}

/// `-p` prints a file that gives the same configuration again.
#[test]
fn what_is_printed_can_be_read() {
    let file = "brokerName=b\nstorePathRootDir=C:\\\\data \\\\ x\nshardCores=1-3\nflushDiskType=async_flush";
    let first = loaded(&["-c", "b.conf", "-n", "ns:9876", "-p"], Some(file));
    assert_eq!(first.print, Some(Print::All));
    assert_eq!(first.config.store_path_root_dir, "C:\\data \\ x");
    let again = loaded(&["-c", "b.conf"], Some(&first.config.to_properties()));
    assert_eq!(again.config, first.config);
    let important = first.config.important_properties();
    assert!(important.contains("listenPort=10911\n"));
    assert!(!important.contains("shortPollingTimeMills"));
}

/// What was changed while a broker ran goes before the file, and both values are told.
#[test]
fn overrides_go_before_the_file_and_are_told() {
    let with = |overrides: &str| {
        let file = "fileReservedTime=72\ntraceOn=true";
        let given = given(&["-c", "/etc/broker.conf", "-n", "ns:9876"], Some(file));
        load(&Given { overrides: Some(overrides.to_owned()), ..given }, &machine())
    };
    let loaded = with("fileReservedTime=48\ntraceOn=true\n").unwrap();
    assert_eq!(loaded.config.file_reserved_time_hours, 48);
    assert_eq!(loaded.configured.file_reserved_time_hours, 72);
    let told = "overrides.properties sets fileReservedTime=48, broker.conf says 72";
    assert_eq!(loaded.overridden, [told]);
    assert!(loaded.notices.contains(&Notice::info(told.to_owned())), "{:?}", loaded.notices);
    assert!(loaded.overrides_outdated, "the file says the same of traceOn");
    assert_eq!(loaded.overrides.values.len(), 1);
    let refused = with("fileReservedTime=0\nfileReservdTime=1").unwrap_err().to_string();
    assert!(refused.starts_with("2 problems in the configuration:"), "{refused}");
    assert!(
        refused.contains("overrides.properties line 1: fileReservedTime=0: expected"),
        "{refused}"
    );
}

#[test]
fn what_else_is_odd_is_told_beside_the_problems() {
    let file = "listenPort=0\nbrokerNam=b\nuseEpollNativeSelector=true\n";
    let refused = load(&given(&["-c", "broker.conf", "-n", "ns:9876"], Some(file)), &machine());
    let refused = refused.expect_err("there is no such port");
    let texts: Vec<&str> = refused.notices().iter().map(|notice| notice.text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("did you mean brokerName?")), "{texts:?}");
    assert!(texts.iter().any(|text| text.starts_with("useEpollNativeSelector")), "{texts:?}");
    assert!(!refused.to_string().contains("brokerNam="), "{refused}");
}

#[test]
fn keys_of_the_command_line_go_before_the_file() {
    let file = Some("autoCreateTopicEnable=false\nlistenPort=11911");
    let arguments =
        ["-n", "a:1", "autoCreateTopicEnable=true", "brokrName=b", "fileReservedTime=9"];
    let loaded = loaded(&arguments, file);
    assert!(loaded.config.auto_create_topic_enable);
    assert_eq!((loaded.config.listen_port, loaded.config.file_reserved_time_hours), (11_911, 9));
    let texts: Vec<&str> = loaded.notices.iter().map(|notice| notice.text.as_str()).collect();
    assert!(
        texts.contains(
            &"command line: brokrName is not a known key and has no effect; did you mean brokerName?"
        ),
        "{texts:?}"
    );
    let refused = load(&given(&["listenPort=x", "enableDLegerCommitLog=true"], None), &machine());
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("command line: listenPort=x: expected a whole number"), "{text}");
    assert!(text.contains("command line: enableDLegerCommitLog=true: expected this key"), "{text}");
}

#[test]
fn a_log_directory_is_the_launchers_unless_one_is_configured() {
    let mut given = given(&["-c", "broker.conf"], Some("brokerName=broker/a"));
    let place = |given: &Given| load(given, &machine()).unwrap().config.log_place();
    assert_eq!(place(&given), None);
    given.log_dir_env = Some("/home/op/logs/rocketmqlogs".to_owned());
    let from_launcher = place(&given).unwrap();
    assert_eq!(from_launcher.dir, Path::new("/home/op/logs/rocketmqlogs"));
    assert_eq!((from_launcher.own_dir.as_str(), from_launcher.isolated), ("broker_a_0", false));
    assert_eq!((from_launcher.file_bytes_max, from_launcher.former_max), (128 << 20, 20));
    given.file = Some("logDir=/var/log/mq\nisolateLogEnable=true\nlogFileMiB=1".to_owned());
    let configured = place(&given).unwrap();
    assert_eq!((configured.dir.as_path(), configured.isolated), (Path::new("/var/log/mq"), true));
    // Standard error, although the launcher names a directory.
    given.file = Some("logDir=".to_owned());
    assert_eq!(place(&given), None);
}

#[test]
fn keys_of_java_say_where_metrics_are() {
    use daemon::metrics_port::MetricsPort;
    let config = |file: &str| loaded(&["-c", "broker.conf", "-n", "ns:9876"], Some(file)).config;
    let port = |file: &str| config(file).metrics_port;
    assert_eq!(port("metricsPromExporterPort=6000"), MetricsPort::At(6_000));
    assert_eq!(port("metricsExporterType=PROM"), MetricsPort::Usual);
    assert_eq!(port("metricsExporterType=disable"), MetricsPort::Off);
    for both in [
        "metricsExporterType=DISABLE\nmetricsPromExporterPort=6000",
        "metricsPromExporterPort=6000\nmetricsExporterType=DISABLE",
    ] {
        assert_eq!(port(both), MetricsPort::Off);
    }
    let ours = "metricsPromExporterPort=6000\nmetricsPort=6001\nmetricsExporterType=DISABLE";
    assert_eq!(port(ours), MetricsPort::At(6_001), "ours goes first");
    let everywhere = config("metricsPromExporterHost=0.0.0.0").metrics_bind_address;
    assert_eq!(everywhere, std::net::IpAddr::from([0, 0, 0, 0]).into());
    for bad in ["metricsExporterType=GRAPHITE", "metricsPromExporterPort=70000"] {
        assert!(problems(bad)[0].starts_with(&format!("line 1: {bad}: expected ")), "{bad}");
    }
    let told = notices("metricsExporterType=OTLP_GRPC");
    assert!(told.iter().any(|(level, text)| *level == Level::Warn && text.contains("metricsPort")));
}
