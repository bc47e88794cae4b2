//! The settings of a name server: Java's `NamesrvConfig` and `NettyServerConfig` keys that mean something here.
//!
//! One table ([`KEYS`]) lists every key with its getter, setter and meaning; files, `-p`, `GET_NAMESRV_CONFIG` and
//! `UPDATE_NAMESRV_CONFIG` all go through it. Keys of Java that have no counterpart here are accepted and echoed, never acted on.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::properties_file::{self, Entry};

/// All settings. Defaults are Java's, except that files live below `~/namesrv` only when no other place was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// TCP port; 0 asks the system for a free one (tests).
    pub listen_port: u16,
    /// Local address that is listened on.
    pub bind_address: IpAddr,
    /// File of the KV table.
    pub kv_config_path: PathBuf,
    /// File that `UPDATE_NAMESRV_CONFIG` writes: the one given with `-c`, if any.
    pub config_store_path: PathBuf,
    /// Whether routes carry the order-topic configuration.
    pub order_message_enable: bool,
    /// Whether the list of all topics (206) is told to anybody who asks.
    pub enable_all_topic_list: bool,
    /// Whether brokers get the order-topic configuration when they register.
    pub return_order_topic_config_to_broker: bool,
    /// Pause between two looks for silent brokers, ms.
    pub scan_not_active_broker_interval_ms: u64,
    /// Connections without a byte in either direction are closed after this, s.
    pub server_channel_max_idle_time_seconds: u64,
    /// Most connections at once; further ones are closed as soon as they are accepted.
    pub connections_max: usize,
    /// Keys, separated by `;`, that `UPDATE_NAMESRV_CONFIG` refuses.
    pub config_black_list: String,
    /// Keys of Java without meaning here, as they were given.
    pub ignored: Vec<(String, String)>,
}

impl Default for Config {
    fn default() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join("namesrv");
        Self {
            listen_port: 9876,
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            kv_config_path: home.join("kvConfig.json"),
            config_store_path: home.join("namesrv.properties"),
            order_message_enable: false,
            enable_all_topic_list: true,
            return_order_topic_config_to_broker: true,
            scan_not_active_broker_interval_ms: 5_000,
            server_channel_max_idle_time_seconds: 120,
            connections_max: 20_000,
            config_black_list: "configBlackList;configStorePath;kvConfigPath".to_owned(),
            ignored: Vec::new(),
        }
    }
}

/// One key: how it is called, read and set. `set` returns what would have been right when the text is not.
pub struct Key {
    /// The name in files.
    pub name: &'static str,
    get: fn(&Config) -> String,
    set: fn(&mut Config, &str) -> Result<(), &'static str>,
}

/// Parses into a field; the error says what was expected.
fn put<T: std::str::FromStr>(
    field: &mut T,
    text: &str,
    expected: &'static str,
) -> Result<(), &'static str> {
    *field = text.parse().map_err(|_| expected)?;
    Ok(())
}

/// Java takes everything but `true` for false; a typing error should rather be told.
fn put_bool(field: &mut bool, text: &str) -> Result<(), &'static str> {
    *field = match text {
        _ if text.eq_ignore_ascii_case("true") => true,
        _ if text.eq_ignore_ascii_case("false") => false,
        _ => return Err("true or false"),
    };
    Ok(())
}

fn put_in_range(
    field: &mut u64,
    text: &str,
    range: std::ops::RangeInclusive<u64>,
    expected: &'static str,
) -> Result<(), &'static str> {
    let value = text.parse().map_err(|_| expected)?;
    if !range.contains(&value) {
        return Err(expected);
    }
    *field = value;
    Ok(())
}

fn put_path(field: &mut PathBuf, text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("a path");
    }
    *field = PathBuf::from(text);
    Ok(())
}

/// Every key that has an effect, in the order in which it is printed.
pub const KEYS: &[Key] = &[
    Key {
        name: "listenPort",
        get: |c| c.listen_port.to_string(),
        set: |c, text| put(&mut c.listen_port, text, "a port, 0 to 65535"),
    },
    Key {
        name: "bindAddress",
        get: |c| c.bind_address.to_string(),
        set: |c, text| put(&mut c.bind_address, text, "an IP address such as 0.0.0.0"),
    },
    Key {
        name: "kvConfigPath",
        get: |c| c.kv_config_path.display().to_string(),
        set: |c, text| put_path(&mut c.kv_config_path, text),
    },
    Key {
        name: "configStorePath",
        get: |c| c.config_store_path.display().to_string(),
        set: |c, text| put_path(&mut c.config_store_path, text),
    },
    Key {
        name: "orderMessageEnable",
        get: |c| c.order_message_enable.to_string(),
        set: |c, text| put_bool(&mut c.order_message_enable, text),
    },
    Key {
        name: "enableAllTopicList",
        get: |c| c.enable_all_topic_list.to_string(),
        set: |c, text| put_bool(&mut c.enable_all_topic_list, text),
    },
    Key {
        name: "returnOrderTopicConfigToBroker",
        get: |c| c.return_order_topic_config_to_broker.to_string(),
        set: |c, text| put_bool(&mut c.return_order_topic_config_to_broker, text),
    },
    Key {
        name: "scanNotActiveBrokerInterval",
        get: |c| c.scan_not_active_broker_interval_ms.to_string(),
        set: |c, text| {
            put_in_range(
                &mut c.scan_not_active_broker_interval_ms,
                text,
                100..=60_000,
                "milliseconds, 100 to 60000",
            )
        },
    },
    Key {
        name: "serverChannelMaxIdleTimeSeconds",
        get: |c| c.server_channel_max_idle_time_seconds.to_string(),
        set: |c, text| {
            put_in_range(
                &mut c.server_channel_max_idle_time_seconds,
                text,
                1..=86_400,
                "seconds, 1 to 86400",
            )
        },
    },
    Key {
        name: "connectionsMax",
        get: |c| c.connections_max.to_string(),
        set: |c, text| put(&mut c.connections_max, text, "a number of connections"),
    },
    Key {
        name: "configBlackList",
        get: |c| c.config_black_list.clone(),
        set: |c, text| {
            text.clone_into(&mut c.config_black_list);
            Ok(())
        },
    },
];

/// Keys of Java's `NamesrvConfig` and `NettyServerConfig` (4.9.8 and 5.3.3) that have no counterpart here.
const JAVA_KEYS_WITHOUT_EFFECT: &[&str] = &[
    "clientRequestThreadPoolNums",
    "clientRequestThreadPoolQueueCapacity",
    "clusterTest",
    "controllerRequestThreadPoolQueueCapacity",
    "defaultThreadPoolNums",
    "defaultThreadPoolQueueCapacity",
    "deleteTopicWithBrokerRegistration",
    "enableControllerInNamesrv",
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

/// A value that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value}: expected {expected}")]
pub struct BadValue {
    /// The key.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What would have been right.
    pub expected: &'static str,
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
            if let Some(key) = KEYS.iter().find(|key| key.name == name) {
                if let Err(expected) = (key.set)(self, value.trim()) {
                    findings.bad.push(BadValue {
                        key: name.clone(),
                        value: value.clone(),
                        expected,
                    });
                }
            } else if JAVA_KEYS_WITHOUT_EFFECT.contains(&name.as_str()) {
                self.ignored.retain(|(known, _)| known != name);
                self.ignored.push((name.clone(), value.clone()));
            } else if !findings.unknown.iter().any(|unknown| unknown.key == *name) {
                findings.unknown.push(UnknownKey { key: name.clone(), nearest: nearest_key(name) });
            }
        }
        findings
    }

    /// All settings as properties text, one line per key: what `-p` prints, 319 answers and 318 stores.
    pub fn to_properties(&self) -> String {
        let mut text = String::new();
        for key in KEYS {
            properties_file::write_entry(&mut text, key.name, &(key.get)(self));
        }
        for (name, value) in &self.ignored {
            properties_file::write_entry(&mut text, name, value);
        }
        text
    }

    /// The address to listen on.
    pub fn listen_address(&self) -> SocketAddr {
        SocketAddr::new(self.bind_address, self.listen_port)
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

/// The known key that a mistyped one probably means.
fn nearest_key(name: &str) -> Option<&'static str> {
    const LIKENESS_MIN: f64 = 0.75;
    let known = KEYS.iter().map(|key| key.name).chain(JAVA_KEYS_WITHOUT_EFFECT.iter().copied());
    let lower = name.to_lowercase();
    let scored =
        known.map(|key| (strsim::normalized_damerau_levenshtein(&lower, &key.to_lowercase()), key));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
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
             listenport=1\nlistenport=2\nkvconfigpth=/x\ncompletelyElse=1\nscanNotActiveBrokerInterval=250 \n",
        );
        let bad: Vec<&str> = findings.bad.iter().map(|bad| bad.key.as_str()).collect();
        assert_eq!(bad, ["listenPort", "orderMessageEnable"]);
        let unknown: Vec<String> = findings.unknown.iter().map(ToString::to_string).collect();
        assert_eq!(
            unknown,
            [
                "unknown key listenport (did you mean listenPort?)",
                "unknown key kvconfigpth (did you mean kvConfigPath?)",
                "unknown key completelyElse"
            ]
        );
        assert_eq!(config.bind_address, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(config.scan_not_active_broker_interval_ms, 250);
        assert_eq!(config.listen_port, 9876);
        assert_eq!(bad_values_text(&findings.bad).unwrap().lines().count(), 2);
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
}
