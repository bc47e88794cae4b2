//! The settings of a name server: Java's `NamesrvConfig` and `NettyServerConfig` keys that mean something here.
//!
//! One table ([`KEYS`]) declares every key with its default and meaning; files, `-p`, `GET_NAMESRV_CONFIG` and
//! `UPDATE_NAMESRV_CONFIG` all go through it. Keys of Java that have no counterpart here are accepted and echoed, never acted on.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use daemon::{
    bind_address::BindAddress,
    config::{ConfigKind, find, nearest_key},
    config_keys,
    key_list::{KeyList, KeyRow, Told, WithoutMeaning},
    metrics_port::MetricsPort,
    properties_file::{self, Entry},
};

const PORT: ConfigKind = ConfigKind::Whole { min: 0, max: 65_535 };

/// A file of the name server below `~/namesrv`.
fn below_home(file: &str) -> PathBuf {
    std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join("namesrv").join(file)
}

config_keys! {
/// All settings. Defaults are Java's, except that files live below `~/namesrv` only when no other place was named.
pub struct Config {
    /// TCP port; 0 asks the system for a free one (tests).
    listen_port: u16 = 9876, "listenPort", PORT, "", Start;
    /// Local address that is listened on. Empty: every address of IPv4 and IPv6; 0.0.0.0: of IPv4 alone.
    bind_address: BindAddress = BindAddress::default(), "bindAddress", ConfigKind::BindAddress, "", Start;
    /// Port of metrics and health over HTTP: /metrics, /health, /ready. Empty: 5558 where it is free, none where it is not; 0: none.
    metrics_port: MetricsPort = MetricsPort::Usual, "metricsPort", ConfigKind::OptionalPort, "", Start;
    /// Local address of that port: who reaches it sees names. Empty: every address of IPv4 and IPv6.
    metrics_bind_address: BindAddress = BindAddress::from(IpAddr::V4(Ipv4Addr::LOCALHOST)), "metricsBindAddress", ConfigKind::BindAddress, "", Start;
    /// File of the KV table.
    kv_config_path: PathBuf = below_home("kvConfig.json"), "kvConfigPath", ConfigKind::Path, "", Start;
    /// File that `UPDATE_NAMESRV_CONFIG` writes: the one given with `-c`, if any.
    config_store_path: PathBuf = below_home("namesrv.properties"), "configStorePath", ConfigKind::Path, "", Start;
    /// Whether routes carry the order-topic configuration.
    order_message_enable: bool = false, "orderMessageEnable", ConfigKind::Bool, "", Live;
    /// Whether anybody who asks gets the list of all topics (206).
    enable_all_topic_list: bool = true, "enableAllTopicList", ConfigKind::Bool, "", Live;
    /// Whether brokers get the order-topic configuration when they register.
    return_order_topic_config_to_broker: bool = true, "returnOrderTopicConfigToBroker", ConfigKind::Bool, "", Live;
    /// Pause between two looks for silent brokers.
    scan_not_active_broker_interval_ms: u64 = 5_000, "scanNotActiveBrokerInterval", ConfigKind::Whole { min: 100, max: 60_000 }, "ms", Live;
    /// Connections without a byte in either direction are closed after this.
    server_channel_max_idle_time_seconds: u64 = 120, "serverChannelMaxIdleTimeSeconds", ConfigKind::Whole { min: 1, max: 86_400 }, "s", Live;
    /// Most connections at once; further ones are closed as soon as they are accepted.
    connections_max: usize = 20_000, "connectionsMax", ConfigKind::Whole { min: 0, max: i64::MAX }, "", Live;
    /// Keys, separated by `;`, that `UPDATE_NAMESRV_CONFIG` refuses.
    config_black_list: String = "configBlackList;configStorePath;kvConfigPath".to_owned(), "configBlackList", ConfigKind::Text, "", Live;
}
besides {
    /// Keys of Java without meaning here, as they were given.
    ignored: Vec<(String, String)> = Vec::new();
}
}

/// Keys of Java's `NamesrvConfig` and `NettyServerConfig` (4.9.8 and 5.3.3) that have no counterpart here.
const JAVA_KEYS_WITHOUT_EFFECT: &[&str] = &[
    "clientRequestThreadPoolNums",
    "clientRequestThreadPoolQueueCapacity",
    "clusterTest",
    "controllerRequestThreadPoolQueueCapacity",
    "defaultThreadPoolNums",
    "defaultThreadPoolQueueCapacity",
    "deleteTopicWithBrokerRegistration",
    "enableShutdownGracefully",
    "needWaitForService",
    "notifyMinBrokerIdChanged",
    "productEnvName",
    "rocketmqHome",
    "serverAsyncSemaphoreValue",
    "serverCallbackExecutorThreads",
    "serverNettyWorkerGroupEnable",
    "serverOnewaySemaphoreValue",
    "serverPooledByteBufAllocatorEnable",
    "serverSelectorThreads",
    "serverSocketBacklog",
    "serverSocketRcvBufSize",
    "serverSocketSndBufSize",
    "serverWorkerThreads",
    "shutdownWaitTimeSeconds",
    "supportActingMaster",
    "unRegisterBrokerQueueCapacity",
    "useEpollNativeSelector",
    "useEpoll",
    "waitSecondsForService",
    "writeBufferHighWaterMark",
    "writeBufferLowWaterMark",
];

/// Keys of Java that change what a name server is for; nothing starts with them.
const JAVA_KEYS_REFUSED: &[(&str, &str)] = &[
    ("enableControllerInNamesrv", "this key to be left out: there is no controller in here"),
    ("useTLS", "this key to be left out: TLS is not built yet"),
    ("tlsEnable", "this key to be left out: TLS is not built yet"),
];

/// All keys as an operator reads them: `--keys`, and the page `deploy/configuration.md`. They are the same for everybody.
pub fn key_list() -> KeyList {
    let home = Path::new("$HOME").join("namesrv");
    let defaults = Config {
        kv_config_path: home.join("kvConfig.json"),
        config_store_path: home.join("namesrv.properties"),
        ..Config::default()
    };
    let refused = |(name, expected): &(&'static str, &'static str)| WithoutMeaning {
        names: vec![*name],
        reason: expected.split_once(": ").map_or(*expected, |(_, reason)| reason),
        told: Told::Refused,
    };
    let accepted = WithoutMeaning {
        names: JAVA_KEYS_WITHOUT_EFFECT.to_vec(),
        reason: "nothing here is built in the way that this key adjusts",
        told: Told::Accepted,
    };
    let without_meaning = std::iter::once(accepted).chain(JAVA_KEYS_REFUSED.iter().map(refused));
    KeyList {
        program: "mqnamesrv",
        remark: "They stand in the file of -c. Those that are live act at once when they are changed while the name server runs \
                 (updateNamesrvConfig of mqadmin); the others act from its next start on.",
        keys: KEYS.iter().map(|key| KeyRow::of(key, &defaults)).collect(),
        without_meaning: without_meaning.collect(),
    }
}

/// A value that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value}: expected {expected}")]
pub struct BadValue {
    /// The key.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What would have been right.
    pub expected: String,
}

/// A key that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The key as given.
    pub key: String,
    /// The known key that looks most like it, if one does.
    pub nearest: Option<&'static str>,
}

impl std::fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown key {}", self.key)?;
        match self.nearest {
            Some(nearest) => write!(f, " (did you mean {nearest}?)"),
            None => Ok(()),
        }
    }
}

/// Everything that was wrong with a text of properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Values that were not taken; the old ones stay.
    pub bad: Vec<BadValue>,
    /// Keys that were passed over.
    pub unknown: Vec<UnknownKey>,
}

impl Config {
    /// Takes every entry that can be taken and reports all others.
    pub fn apply(&mut self, entries: &[Entry]) -> Findings {
        let mut findings = Findings::default();
        for Entry { key: name, value, .. } in entries {
            if let Some(key) = find(KEYS, name) {
                if !(key.set)(self, value.trim()) {
                    let (key, expected) = (name.clone(), key.kind.expectation());
                    findings.bad.push(BadValue { key, value: value.clone(), expected });
                }
            } else if let Some((_, expected)) = refused(name)
                && value.eq_ignore_ascii_case("true")
            {
                let (key, expected) = (name.clone(), (*expected).to_owned());
                findings.bad.push(BadValue { key, value: value.clone(), expected });
            } else if refused(name).is_some() || JAVA_KEYS_WITHOUT_EFFECT.contains(&name.as_str()) {
                self.ignored.retain(|(known, _)| known != name);
                self.ignored.push((name.clone(), value.clone()));
            } else if !findings.unknown.iter().any(|unknown| unknown.key == *name) {
                let known = KEYS.iter().map(|key| key.name);
                let known = known.chain(JAVA_KEYS_WITHOUT_EFFECT.iter().copied());
                let nearest = nearest_key(name, known);
                findings.unknown.push(UnknownKey { key: name.clone(), nearest });
            }
        }
        findings
    }

    /// All settings as properties text, one line per key: what `-p` prints, 319 answers and 318 stores.
    pub fn to_properties(&self) -> String {
        let mut text = String::new();
        for key in KEYS {
            properties_file::write_entry(&mut text, key.name, &(key.text)(self));
        }
        for (name, value) in &self.ignored {
            properties_file::write_entry(&mut text, name, value);
        }
        text
    }

    /// Whether `UPDATE_NAMESRV_CONFIG` must not change this key.
    pub fn is_blacklisted(&self, key: &str) -> bool {
        // The list itself is protected whatever it says.
        key == "configBlackList" || self.config_black_list.split(';').any(|name| name.trim() == key)
    }

    /// Idle connections are closed after this.
    pub fn idle_max(&self) -> Duration {
        Duration::from_secs(self.server_channel_max_idle_time_seconds)
    }
}

fn refused(name: &str) -> Option<&'static (&'static str, &'static str)> {
    JAVA_KEYS_REFUSED.iter().find(|(key, _)| *key == name)
}

/// All findings as one text for people, one line each; None when there is nothing to say.
pub fn bad_values_text(bad: &[BadValue]) -> Option<String> {
    let mut text = String::new();
    for value in bad {
        let _ = writeln!(text, "  {value}");
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(config: &mut Config, text: &str) -> Findings {
        config.apply(&properties_file::entries(text).unwrap())
    }

    #[test]
    fn takes_what_it_can_and_lists_all_the_rest() {
        let mut config = Config::default();
        let findings = apply(
            &mut config,
            "listenPort=70000\norderMessageEnable=yes\nbindAddress=127.0.0.1\nserverWorkerThreads=8\n\
             enableControllerInNamesrv=true\nuseTLS=false\nlistenport=1\nlistenport=2\nkvconfigpth=/x\ncompletelyElse=1\nscanNotActiveBrokerInterval=250 \n",
        );
        let bad: Vec<&str> = findings.bad.iter().map(|bad| bad.key.as_str()).collect();
        assert_eq!(bad, ["listenPort", "orderMessageEnable", "enableControllerInNamesrv"]);
        let unknown: Vec<String> = findings.unknown.iter().map(ToString::to_string).collect();
        assert_eq!(
            unknown,
            [
                "unknown key listenport (did you mean listenPort?)",
                "unknown key kvconfigpth (did you mean kvConfigPath?)",
                "unknown key completelyElse"
            ]
        );
        assert_eq!(config.bind_address, BindAddress::from(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(config.scan_not_active_broker_interval_ms, 250);
        assert_eq!(config.listen_port, 9876);
        assert_eq!(bad_values_text(&findings.bad).unwrap().lines().count(), 3);
    }

    #[test]
    fn prints_what_it_reads() {
        let mut config = Config::default();
        apply(
            &mut config,
            "listenPort=1234\nconnectionsMax=7\nproductEnvName=center\nkvConfigPath=/a b/kv.json\n",
        );
        let mut again = Config::default();
        let findings = apply(&mut again, &config.to_properties());
        assert_eq!(findings, Findings::default());
        assert_eq!(again, config);
        assert!(config.is_blacklisted("kvConfigPath"));
        assert!(config.is_blacklisted("configBlackList"));
        assert!(!config.is_blacklisted("listenPort"));
    }

    #[test]
    fn every_key_is_named_once_documented_and_reads_its_own_text() {
        let defaults = Config::default();
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..index].iter().all(|other| other.name != key.name), "{} twice", key.name);
            assert!(key.doc.trim().ends_with('.'), "{} has no sentence", key.name);
            let mut changed = defaults.clone();
            assert!((key.set)(&mut changed, &(key.text)(&defaults)), "{}", key.name);
            assert_eq!(changed, defaults, "{} reads its own text as something else", key.name);
        }
    }
}
