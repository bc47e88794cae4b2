//! The settings of a name server: Java's `NamesrvConfig` and `NettyServerConfig` keys that mean something here.
//!
//! One table ([`KEYS`]) declares every key with its default and meaning; files, `-p`, `GET_NAMESRV_CONFIG` and
//! `UPDATE_NAMESRV_CONFIG` all go through it. Keys of Java that have no counterpart here are accepted in a file and echoed, never acted on.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use daemon::{
    bind_address::BindAddress,
    config::{ConfigKind, Effect, Key, find, nearest_key},
    config_body::{UnknownKeys, told},
    config_keys,
    key_list::{KeyList, KeyRow, Told, WithoutMeaning},
    log_file::LogPlace,
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
    /// What ports do with a connection: take plain ones only (disabled), both kinds by their first byte (permissive), those in TLS only (enforcing). Empty: -Dtls.server.mode of JAVA_OPT, else permissive.
    tls_server_mode: String = String::new(), "tls.server.mode", ConfigKind::Choice(&["disabled", "permissive", "enforcing"]), "", Start;
    /// File with settings of TLS, which go before those given here; keyPassword may stand only there. Empty: /etc/rocketmq/tls.properties, if there is one.
    tls_config_file: String = String::new(), "tls.config.file", ConfigKind::Text, "", Start;
    /// Whether ports show a throw-away certificate that proves nothing. Empty: as long as no certificate is named.
    tls_test_mode_enable: Option<bool> = None, "tls.test.mode.enable", ConfigKind::Bool, "", Start;
    /// Certificate chain that clients get, PEM. Its content may change while the process runs.
    tls_server_cert_path: String = String::new(), "tls.server.certPath", ConfigKind::Text, "", Start;
    /// Its private key, PEM: PKCS#8, encrypted or not, PKCS#1 or SEC1.
    tls_server_key_path: String = String::new(), "tls.server.keyPath", ConfigKind::Text, "", Start;
    /// Whether clients are asked for certificates: none, optional or require.
    tls_server_need_client_auth: String = String::new(), "tls.server.need.client.auth", ConfigKind::Choice(&["none", "optional", "require"]), "", Start;
    /// Whether certificates of clients are checked; else any is taken.
    tls_server_auth_client: Option<bool> = None, "tls.server.authClient", ConfigKind::Bool, "", Start;
    /// Certificates to check those of clients by, PEM.
    tls_server_trust_cert_path: String = String::new(), "tls.server.trustCertPath", ConfigKind::Text, "", Start;
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
    /// Directory of namesrv.log, and of former ones in otherdays below it. Empty: standard error. The launchers of the archive name
    /// $HOME/logs/rocketmqlogs (RINGMQ_LOG_DIR) where nothing is configured.
    log_dir: String = String::new(), "logDir", ConfigKind::Text, "", Start;
    /// Size at which a log file ends. It ends at midnight, too.
    log_file_mib: u32 = 128, "logFileMiB", ConfigKind::Whole { min: 1, max: 65_536 }, "MiB", Start;
    /// Log files that have ended and are kept.
    log_files_max: u32 = 20, "logFilesMax", ConfigKind::Whole { min: 1, max: 10_000 }, "", Start;
    /// Whether requests that change or show settings and routes must be signed by an administrator's account of plain_acl.yml.
    acl_enable: bool = false, "aclEnable", ConfigKind::Bool, "", Start;
    /// Whether registrations of brokers must be, too: those of brokers with innerClientAuthenticationCredentials are signed.
    acl_registration_enable: bool = false, "aclRegistrationEnable", ConfigKind::Bool, "", Start;
    /// Directory below which conf/acl and aclPlainFile are looked for. Empty: ROCKETMQ_HOME of the environment, else the present one.
    rocketmq_home: String = String::new(), "rocketmqHome", ConfigKind::Text, "", Start;
    /// The file of accounts, below rocketmqHome or absolute.
    acl_plain_file: String = "conf/plain_acl.yml".to_owned(), "aclPlainFile", ConfigKind::Text, "", Start;
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

/// Why they have none.
const WITHOUT_EFFECT: &str = "nothing here is built in the way that this key adjusts";

/// Why the next ones have none.
const CONNECTS_TO_NOBODY: &str =
    "a name server connects to nobody; its ports follow tls.server.mode";

/// Keys of connections that a name server would make.
const KEYS_OF_CONNECTIONS_MADE: &[&str] = &[
    "tls.client.authServer",
    "tls.client.certPath",
    "tls.client.keyPath",
    "tls.client.trustCertPath",
    "tls.enable",
    "useTLS",
];

/// Keys of Java that change what a name server is for; nothing starts with them.
const JAVA_KEYS_REFUSED: &[(&str, &str)] = &[
    ("enableControllerInNamesrv", "this key to be left out: there is no controller in here"),
    (
        "tls.server.keyPassword",
        "this key in the file of tls.config.file: everybody may ask for what stands here",
    ),
    ("tls.client.keyPassword", "this key to be left out: a name server connects to nobody"),
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
        reason: WITHOUT_EFFECT,
        told: Told::Accepted,
    };
    let made = WithoutMeaning {
        names: KEYS_OF_CONNECTIONS_MADE.to_vec(),
        reason: CONNECTS_TO_NOBODY,
        told: Told::Accepted,
    };
    let without_meaning = [accepted, made].into_iter().chain(JAVA_KEYS_REFUSED.iter().map(refused));
    KeyList {
        program: "mqnamesrv",
        remark: "They stand in the file of -c. Those that are live act at once when they are changed while the name server runs \
                 (updateNamesrvConfig of mqadmin); the others act from its next start on.",
        keys: KEYS.iter().map(|key| KeyRow::of(key, &defaults)).collect(),
        without_meaning: without_meaning.collect(),
    }
}

/// A key that has changed, its value before and its value after.
pub type Difference = (&'static str, String, String);

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
                && (value.eq_ignore_ascii_case("true") || name.ends_with("Password"))
            {
                let (key, expected) = (name.clone(), (*expected).to_owned());
                findings.bad.push(BadValue { key, value: shown(name, value), expected });
            } else if refused(name).is_some()
                || JAVA_KEYS_WITHOUT_EFFECT.contains(&name.as_str())
                || KEYS_OF_CONNECTIONS_MADE.contains(&name.as_str())
            {
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

    /// The settings with a change of 318, and which keys differ by it: name, value before, value after. Only keys that are live
    /// change; others may be given as they are. The error is every reason against it.
    pub fn changed_by(&self, entries: &[Entry]) -> Result<(Config, Vec<Difference>), Vec<String>> {
        let mut changed = self.clone();
        let mut reasons = Vec::new();
        let mut unknown = UnknownKeys::default();
        for Entry { key: name, value, .. } in entries {
            let set = match find(KEYS, name) {
                Some(key) => self.set_live(key, value, &mut changed),
                None => self.check_without_meaning(name, value, &mut unknown),
            };
            reasons.extend(set.err());
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let texts = KEYS.iter().map(|key| (key.name, (key.text)(self), (key.text)(&changed)));
        let differences = texts.filter(|(_, from, to)| from != to).collect();
        Ok((changed, differences))
    }

    fn set_live(&self, key: &Key<Config>, value: &str, changed: &mut Config) -> Result<(), String> {
        let (name, mut wanted) = (key.name, self.clone());
        if !(key.set)(&mut wanted, value) {
            return Err(format!("{name}={}: expected {}", told(value), key.kind.expectation()));
        }
        let now = (key.text)(self);
        if (key.text)(&wanted) == now {
            return Ok(());
        }
        if key.effect != Effect::Live {
            return Err(format!(
                "{name}={}: needs a restart, it is {now:?} now: set it in the configuration file and start the name server \
                 again",
                told(value)
            ));
        }
        (key.set)(changed, value);
        Ok(())
    }

    fn check_without_meaning(
        &self,
        name: &str,
        value: &str,
        unknown: &mut UnknownKeys,
    ) -> Result<(), String> {
        let is_given = |(key, text): &(String, String)| key == name && text == value;
        if self.ignored.iter().any(is_given) {
            return Ok(());
        }
        if let Some((_, expected)) = refused(name) {
            let asks_for_nothing = value.eq_ignore_ascii_case("false");
            let reason = || format!("{name}={}: expected {expected}", told(value));
            return if asks_for_nothing { Ok(()) } else { Err(reason()) };
        }
        if JAVA_KEYS_WITHOUT_EFFECT.contains(&name) {
            return Err(format!("{name}={}: has no effect here: {WITHOUT_EFFECT}", told(value)));
        }
        if KEYS_OF_CONNECTIONS_MADE.contains(&name) {
            return Err(format!(
                "{name}={}: has no effect here: {CONNECTS_TO_NOBODY}",
                told(value)
            ));
        }
        let known = KEYS.iter().map(|key| key.name);
        let known = known.chain(JAVA_KEYS_WITHOUT_EFFECT.iter().copied());
        Err(unknown.tell(name, known.chain(KEYS_OF_CONNECTIONS_MADE.iter().copied())))
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

    /// Where the log goes, if not to standard error. Where another process writes the file, `namesrv_PORT` below has one.
    pub fn log_place(&self) -> Option<LogPlace> {
        (!self.log_dir.is_empty()).then(|| LogPlace {
            dir: PathBuf::from(&self.log_dir),
            name: "namesrv",
            own_dir: format!("namesrv_{}", self.listen_port),
            isolated: false,
            file_bytes_max: u64::from(self.log_file_mib) << 20,
            former_max: self.log_files_max as usize,
        })
    }

    /// Settings of TLS as this configuration gives them; empty ones are left to others.
    pub fn tls_settings(&self) -> Vec<(String, String)> {
        let of_tls = KEYS.iter().filter(|key| key.name.starts_with("tls."));
        of_tls.map(|key| (key.name.to_owned(), (key.text)(self))).collect()
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

/// A value as messages show it.
fn shown(name: &str, value: &str) -> String {
    if name.ends_with("Password") { "***".to_owned() } else { value.to_owned() }
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
