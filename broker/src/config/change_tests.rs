//! Stories of an operator who changes a broker that runs.

use super::*;
use daemon::{
    config::ConfigKind,
    config_body::{ENTRIES_MAX, entries_of},
};

fn running(configured: BrokerConfig) -> Running {
    let mut now = configured.clone();
    now.connections_max = 500;
    Running {
        configured,
        now: Arc::new(now),
        overrides: Overrides::default(),
        unused: vec![("sendMessageThreadPoolNums".to_owned(), "64".to_owned())],
        machine: Machine {
            host_name: "host-a".to_owned(),
            address: "10.1.2.3".parse().unwrap(),
            processors: vec![0, 1],
            memory_bytes: 8 << 30,
            memory_limit_bytes: None,
        },
        shards: 2,
        standalone: true,
        record_bytes_max: 6 << 20,
    }
}

fn change(running: &Running, body: &str) -> Result<(BrokerConfig, Vec<Changed>), Refused> {
    running.change(&entries_of(body.as_bytes()).unwrap())
}

fn ours() -> Running {
    running(BrokerConfig { broker_name: "broker-a".to_owned(), ..BrokerConfig::default() })
}

fn reasons(body: &str) -> Vec<String> {
    change(&ours(), body).unwrap_err().reasons
}

#[test]
fn a_change_says_what_differs() {
    let (changed, differ) =
        change(&ours(), "fileReservedTime=48\ntraceOn=true\nfileReservedTime=24").unwrap();
    assert_eq!(changed.file_reserved_time_hours, 24, "the last one counts");
    let (from, to) = ("72".to_owned(), "24".to_owned());
    assert_eq!(differ, [Changed { key: "fileReservedTime", from, to }]);
}

/// Tools send back what they were shown, and scripts the file that the broker was started with.
#[test]
fn whole_files_are_taken_back() {
    let running = ours();
    let shown = running.to_properties();
    let without_list: String = shown
        .lines()
        .filter(|line| !line.starts_with("configBlackList"))
        .map(|line| format!("{line}\n"))
        .collect();
    let file = "connectionsMax=0\nsendMessageThreadPoolNums=64\nbrokerName=broker-a\n";
    for body in [without_list.as_str(), file, ""] {
        let (changed, differ) = change(&running, body).unwrap();
        assert_eq!((&changed, differ), (&*running.now, vec![]), "{body}");
    }
}

#[test]
fn every_reason_is_told_and_nothing_is_changed() {
    let body = "traceOn=false\nlistenPort=1000\nshards=3\nmaxTransferCountOnMessageInDisk=9\nfileReservedTime=0\n\
                fileReservdTime=48\nsendMessageThreadPoolNums=65\nuseTLS=true\n";
    let told = reasons(body);
    assert_eq!(told.len(), 7, "{told:#?}");
    for (reason, expected) in told.iter().zip([
        "listenPort=1000: expected",
        "shards=3: is fixed when the store is formatted",
        "maxTransferCountOnMessageInDisk=9: nothing acts on it yet, it is \"8\"",
        "fileReservedTime=0: expected a whole number from 1 to 876000",
        "fileReservdTime is not a known key (did you mean fileReservedTime?)",
        "sendMessageThreadPoolNums=65: has no effect here: each core runs one shard",
        "useTLS=true: needs a restart, it is \"\" now",
    ]) {
        let is_told =
            reason.starts_with(expected) || reason.starts_with("listenPort=1000: needs a restart");
        assert!(is_told, "{reason}, {expected}");
    }
}

#[test]
fn rules_between_keys_hold_after_a_change() {
    let one = |body: &str| {
        let told = reasons(body);
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    };
    assert!(one("diskMaxUsedSpaceRatio=96").contains("the nearest value is 95"));
    assert!(
        one("diskSpaceCleanForciblyRatio=95").contains("at most diskSpaceWarningLevelRatio (90)")
    );
    assert!(
        one("maxMessageSize=7000000").contains("expected at most 6225920 while the broker runs")
    );
    assert!(
        one("connectionInflightBytesMax=4096")
            .contains("so that a message of maxMessageSize can be taken")
    );
    let small = one("messageDelayLevel=1s 5s");
    assert!(small.contains("expected the present levels (1s 5s 10s"), "{small}");
    assert!(one("messageDelayLevel=1 week").contains("1 to 60 waiting times"));
    let more = format!("messageDelayLevel={} 3h", BrokerConfig::default().message_delay_level);
    assert_eq!(change(&ours(), &more).unwrap().1.len(), 1);
    if std::env::var_os("RUST_LOG").is_none() {
        assert!(one("logFilter=broker=loud").contains("is not a log filter"));
    }
}

#[test]
fn the_black_list_protects_itself_and_what_it_names() {
    let listed = BrokerConfig {
        config_black_list: "traceOn; regionId".to_owned(),
        ..BrokerConfig::default()
    };
    let running = running(listed);
    for body in ["configBlackList=", "traceOn=true", "regionId=x\nfileReservedTime=0"] {
        let refused = change(&running, body).unwrap_err();
        assert!(refused.black_listed, "{body}");
        assert_eq!(refused.reasons.len(), body.lines().count());
    }
    assert!(change(&running, "brokerPermission=4").is_ok());
}

#[test]
fn hostile_bodies_are_refused_with_the_limit() {
    let many: String = (0..ENTRIES_MAX).map(|number| format!("k{number}=1\n")).collect();
    let refused = change(&ours(), &many).unwrap_err();
    assert_eq!(refused.reasons.len(), ENTRIES_MAX);
    assert!(refused.text().ends_with("; and 1936 more") && refused.text().len() < 8_192);
    let wide = format!("{}=1\ntraceOn={}", "k".repeat(60_000), "v".repeat(60_000));
    assert!(change(&ours(), &wide).unwrap_err().text().len() < 512);
}

/// A live key takes any value that its kind takes, alone, unless a rule that names the limit is in the way.
#[test]
fn every_live_key_can_be_changed_alone() {
    for key in KEYS.iter().filter(|key| key.effect == Effect::Live) {
        let now = (key.text)(&BrokerConfig::default());
        let other = match (key.name, key.kind) {
            ("messageDelayLevel", _) => format!("{now} 3h"),
            ("logFilter", _) if std::env::var_os("RUST_LOG").is_some() => continue,
            ("logFilter", _) => "warn".to_owned(),
            ("maxMessageSize", _) => "65536".to_owned(),
            ("diskSpaceCleanForciblyRatio", _) => "80".to_owned(),
            ("diskMaxUsedSpaceRatio", _) => "50".to_owned(),
            ("registerNameServerPeriod", _) => "20000".to_owned(),
            (_, ConfigKind::Bool) => (now == "false").to_string(),
            (_, ConfigKind::Choice(words)) => {
                words.iter().find(|word| **word != now).unwrap().to_string()
            }
            (_, ConfigKind::Hours) => "04".to_owned(),
            (_, ConfigKind::Whole { max, .. }) => {
                let now: i64 = now.parse().unwrap();
                if now < max { now + 1 } else { now - 1 }.to_string()
            }
            _ => "changed".to_owned(),
        };
        let changed = change(&ours(), &format!("{}={other}", key.name));
        let (_, differ) =
            changed.unwrap_or_else(|refused| panic!("{}: {}", key.name, refused.text()));
        let change: Vec<_> = differ.iter().map(|it| (it.key, it.to.as_str())).collect();
        assert_eq!(change, [(key.name, other.as_str())]);
    }
}
