//! The one table of configuration keys. The struct, its defaults, reading, `-p`, `-m` and `GET_BROKER_CONFIG` come from it.
//!
//! Names and defaults are Java's (4.9.8) where the key is Java's; our defaults differ in `flushDiskType` (we flush
//! before we answer), `storePathRootDir` (never Java's own directory by accident) and `enablePropertyFilter` (a filter costs
//! nobody else anything). Keys of our own carry their unit
//! in the name. Keys that mean nothing here are in `ignored.rs`.

use super::value::{
    BROKER_ROLES, BrokerRole, CodeList, CoreList, Credentials, DefaultRequestMode,
    FLUSH_DISK_TYPES, FlushDiskType, REQUEST_MODES,
};
use daemon::{
    bind_address::BindAddress, config::ConfigKind, config_keys, metrics_port::MetricsPort,
};
use proto::body::MessageRequestMode;
use std::net::{IpAddr, Ipv4Addr};

/// One key of `broker.conf`.
pub type Key = daemon::config::Key<BrokerConfig>;

const fn whole(min: i64, max: i64) -> ConfigKind {
    ConfigKind::Whole { min, max }
}

/// A quantity without a useful upper limit.
const ANY: ConfigKind = whole(0, i64::MAX);
const PORT: ConfigKind = whole(1, 65_535);
/// The VIP port is two below, and must exist.
const LISTEN_PORT: ConfigKind = whole(3, 65_535);
/// Whatever a number of Java's may be.
const ANY_INT: ConfigKind = whole(i32::MIN as i64, i32::MAX as i64);
/// Bits of a permission: 1 inherit, 2 write, 4 read, 8 priority.
const PERMISSION: ConfigKind = whole(0, 15);
const PERCENT: ConfigKind = whole(0, 100);
/// A day in milliseconds: longer periods are typing errors.
const PERIOD_MS: ConfigKind = whole(1, 86_400_000);
const MIB: i64 = 1024 * 1024;
/// A message of this size still fits a frame of 16 MiB with its properties and header.
pub const MESSAGE_BYTES_MAX: u64 = (16 * MIB - 256 * 1024) as u64;
const MESSAGE_BYTES: ConfigKind = whole(1, MESSAGE_BYTES_MAX as i64);
/// Index files hold places within a segment in 32 bits.
const SEGMENT_BYTES: ConfigKind = whole(4 * MIB, 4 * 1024 * MIB);

config_keys! {
/// All settings of a broker. Built at start, passed by reference, never global.
pub struct BrokerConfig {
    /// Cluster that the broker belongs to. Also the name of a topic with 16 queues.
    broker_cluster_name: String = "DefaultCluster".to_owned(), "brokerClusterName", ConfigKind::Name, "", Start, important;
    /// Name of the broker (of its replica group). Empty until the machine has been asked: the host name.
    broker_name: String = String::new(), "brokerName", ConfigKind::Name, "", Start, important;
    /// 0 is the master. Other numbers are slaves, which do not exist here.
    broker_id: u32 = 0, "brokerId", whole(0, u32::MAX as i64), "", Start, important;
    /// Address or host name that clients get. The address stands in offsetMsgId, too; that of a name is looked up at start. Empty until the machine has been asked.
    broker_ip1: String = String::new(), "brokerIP1", ConfigKind::Host, "", Start, important;
    /// Address for replication, as name servers get it. Empty: the same as brokerIP1.
    broker_ip2: String = String::new(), "brokerIP2", ConfigKind::Host, "", Start;
    /// Role in the replica group; only ASYNC_MASTER works here.
    broker_role: BrokerRole = BrokerRole::AsyncMaster, "brokerRole", ConfigKind::Choice(BROKER_ROLES), "", Start, important;
    /// Port for clients. Two below it is the VIP port that Java clients use when asked to.
    listen_port: u16 = 10_911, "listenPort", LISTEN_PORT, "", Start, important;
    /// Local address that is listened on. Empty: every address of IPv4 and IPv6; 0.0.0.0: of IPv4 alone.
    bind_address: BindAddress = BindAddress::default(), "bindAddress", ConfigKind::BindAddress, "", Start, important;
    /// Name servers to register with.
    namesrv_addr: String = String::new(), "namesrvAddr", ConfigKind::Addresses, "", Start, important;
    /// Whether name servers are asked of an address server over HTTP when namesrvAddr is empty: at the start and every two minutes.
    fetch_namesrv_addr_by_address_server: bool = false, "fetchNamesrvAddrByAddressServer", ConfigKind::Bool, "", Start, important;
    /// Host of the address server, or host:port; without a port it is 8080. It is asked for /rocketmq/ and rmqAddressServerSubGroup.
    rmq_address_server_domain: String = "jmenv.tbsite.net".to_owned(), "rmqAddressServerDomain", ConfigKind::Text, "", Start;
    /// Last part of the path at the address server.
    rmq_address_server_sub_group: String = "nsaddr".to_owned(), "rmqAddressServerSubGroup", ConfigKind::Text, "", Start;
    /// What ports do with a connection: take plain ones only (disabled), both kinds by their first byte (permissive), those in TLS only (enforcing). Empty: -Dtls.server.mode of JAVA_OPT, else permissive.
    tls_server_mode: String = String::new(), "tls.server.mode", ConfigKind::Choice(&["disabled", "permissive", "enforcing"]), "", Start;
    /// Whether connections to name servers use TLS. Empty: useTLS, else whether tls.server.mode is enforcing.
    tls_enable: Option<bool> = None, "tls.enable", ConfigKind::Bool, "", Start;
    /// The same, as Java's broker.conf says it.
    use_tls: Option<bool> = None, "useTLS", ConfigKind::Bool, "", Start;
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
    /// Certificate chain that name servers get when they ask for one, PEM.
    tls_client_cert_path: String = String::new(), "tls.client.certPath", ConfigKind::Text, "", Start;
    /// Its private key.
    tls_client_key_path: String = String::new(), "tls.client.keyPath", ConfigKind::Text, "", Start;
    /// Whether certificates of name servers are checked; else any is taken.
    tls_client_auth_server: Option<bool> = None, "tls.client.authServer", ConfigKind::Bool, "", Start;
    /// Certificates to check those of name servers by, PEM.
    tls_client_trust_cert_path: String = String::new(), "tls.client.trustCertPath", ConfigKind::Text, "", Start;
    /// Permission of the whole broker; without read no pull, without write no send to order topics.
    broker_permission: i32 = 6, "brokerPermission", PERMISSION, "bits", Live, important;
    /// Region that clients get for message trace.
    region_id: String = "DefaultRegion".to_owned(), "regionId", ConfigKind::Text, "", Live;
    /// Whether clients that trace may trace messages of this broker. When false each message says so, too, to its consumers.
    trace_on: bool = true, "traceOn", ConfigKind::Bool, "", Live;
    /// Whether requests must be signed by an account of plain_acl.yml, as with RocketMQ 4.9. The files are read again when they change.
    acl_enable: bool = false, "aclEnable", ConfigKind::Bool, "", Start;
    /// Directory below which conf/acl and aclPlainFile are looked for. Empty: ROCKETMQ_HOME of the environment, else storePathRootDir.
    rocketmq_home: String = String::new(), "rocketmqHome", ConfigKind::Text, "", Start;
    /// The file of accounts, below rocketmqHome or absolute; Java's system property rocketmq.acl.plain.file.
    acl_plain_file: String = "conf/plain_acl.yml".to_owned(), "aclPlainFile", ConfigKind::Text, "", Start;
    /// Whether requests must be signed by a user, as with RocketMQ 5.
    authentication_enabled: bool = false, "authenticationEnabled", ConfigKind::Bool, "", Start;
    /// Whether users need policies for what they do; else each may do everything but manage users.
    authorization_enabled: bool = false, "authorizationEnabled", ConfigKind::Bool, "", Start;
    /// Request codes that need no user.
    authentication_whitelist: CodeList = CodeList::default(), "authenticationWhitelist", ConfigKind::Text, "", Start;
    /// Request codes that need no policy.
    authorization_whitelist: CodeList = CodeList::default(), "authorizationWhitelist", ConfigKind::Text, "", Start;
    /// A super user, made at start if there is none of that name: {"username":"..","password":".."}.
    init_authentication_user: Credentials = Credentials::default(), "initAuthenticationUser", ConfigKind::Text, "", Start;
    /// With what the broker signs its own requests to name servers; also a super user: {"accessKey":"..","secretKey":".."}.
    inner_client_authentication_credentials: Credentials = Credentials::default(), "innerClientAuthenticationCredentials", ConfigKind::Text, "", Start;
    /// Whether accounts of plain_acl.yml become users at start, those that are not there yet.
    migrate_auth_from_v1_enabled: bool = false, "migrateAuthFromV1Enabled", ConfigKind::Bool, "", Start;
    /// Epoch time before which sends are refused.
    start_accept_send_request_time_stamp: i64 = 0, "startAcceptSendRequestTimeStamp", ANY, "ms", Live;
    /// Names that UPDATE_BROKER_CONFIG may not touch, besides itself.
    config_black_list: String = "configBlackList;brokerConfigPath".to_owned(), "configBlackList", ConfigKind::Text, "", Start;

    /// Whether a send to an unknown topic creates it from TBW102.
    auto_create_topic_enable: bool = true, "autoCreateTopicEnable", ConfigKind::Bool, "", Live, important;
    /// Queues of TBW102: the most that an automatically created topic can have.
    default_topic_queue_nums: i32 = 8, "defaultTopicQueueNums", whole(1, 65_535), "", Live, important;
    /// Whether the topic with the cluster's name can be read and written.
    cluster_topic_enable: bool = true, "clusterTopicEnable", ConfigKind::Bool, "", Live;
    /// Whether the topic with the broker's name can be read and written.
    broker_topic_enable: bool = true, "brokerTopicEnable", ConfigKind::Bool, "", Live;
    /// Whether the topic for message trace is created at start. Each message then names its region, without which consumers of 5.x trace none.
    trace_topic_enable: bool = false, "traceTopicEnable", ConfigKind::Bool, "", Start;
    /// Name of the topic for message trace.
    msg_trace_topic_name: String = "RMQ_SYS_TRACE_TOPIC".to_owned(), "msgTraceTopicName", ConfigKind::Name, "", Start;
    /// Whether a consumer group comes into being when it is first used.
    auto_create_subscription_group: bool = true, "autoCreateSubscriptionGroup", ConfigKind::Bool, "", Live, important;
    /// Whether half messages of transactions are refused.
    reject_transaction_message: bool = false, "rejectTransactionMessage", ConfigKind::Bool, "", Live;
    /// Age at which the producer of a half message is first asked what becomes of it.
    transaction_time_out_ms: u64 = 6_000, "transactionTimeOut", whole(0, 315_360_000_000), "ms", Live;
    /// How often a half message is checked before it is given up.
    transaction_check_max: u32 = 15, "transactionCheckMax", whole(1, 1_000_000), "", Live;
    /// Time between two checks of a half message.
    transaction_check_interval_ms: u64 = 60_000, "transactionCheckInterval", PERIOD_MS, "ms", Live;
    /// Waiting time of each delay level. While the broker runs more levels may be added behind these; other changes need a restart.
    message_delay_level: String = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".to_owned(), "messageDelayLevel", ConfigKind::Text, "", Live;
    /// Whether messages may name the time of their delivery.
    timer_wheel_enable: bool = true, "timerWheelEnable", ConfigKind::Bool, "", Live;
    /// How far away that time may be. The segment that holds such a message stays as long.
    timer_max_delay_sec: i64 = 259_200, "timerMaxDelaySec", whole(1, 315_360_000), "s", Live;
    /// Whether producers may recall a message that has named the time of its delivery.
    recall_message_enable: bool = true, "recallMessageEnable", ConfigKind::Bool, "", Live;
    /// Whether consumers may filter by SQL92 expressions.
    enable_property_filter: bool = true, "enablePropertyFilter", ConfigKind::Bool, "", Live;
    /// Whether what a group failed is filtered again before it gets it again, by what it wants from the topic it came from.
    filter_support_retry: bool = false, "filterSupportRetry", ConfigKind::Bool, "", Live;
    /// Whether replies of request-reply are stored beside being delivered.
    store_reply_message_enable: bool = true, "storeReplyMessageEnable", ConfigKind::Bool, "", Live;

    /// Pause between two registrations with the name servers; kept within 10,000 to 60,000.
    register_name_server_period_ms: u64 = 30_000, "registerNameServerPeriod", PERIOD_MS, "ms", Live;
    /// How long a name server may take to answer a registration.
    register_broker_timeout_ms: u64 = 6_000, "registerBrokerTimeoutMills", PERIOD_MS, "ms", Live;
    /// Register each time in full, without asking whether the name server already knows.
    force_register: bool = true, "forceRegister", ConfigKind::Bool, "", Live;
    /// Send registrations compressed.
    compressed_register: bool = false, "compressedRegister", ConfigKind::Bool, "", Live;

    /// Whether a pull that finds nothing waits for the next message.
    long_polling_enable: bool = true, "longPollingEnable", ConfigKind::Bool, "", Live, important;
    /// How long such a pull waits when long polling is off.
    short_polling_time_ms: u64 = 1_000, "shortPollingTimeMills", PERIOD_MS, "ms", Live;
    /// Whether members of a group are notified at once when others come or go.
    notify_consumer_ids_changed_enable: bool = true, "notifyConsumerIdsChangedEnable", ConfigKind::Bool, "", Live;
    /// Whether the broker divides a topic's queues among the members of a group that ask it for theirs. False: each gets all.
    server_load_balancer_enable: bool = true, "serverLoadBalancerEnable", ConfigKind::Bool, "", Live;
    /// How such members get messages where nobody has set it for their topic and group.
    default_message_request_mode: DefaultRequestMode = DefaultRequestMode(MessageRequestMode::Pull), "defaultMessageRequestMode", ConfigKind::Choice(REQUEST_MODES), "", Live;
    /// With POP, so many members behind a member share its queues. All share all queues if it is not above 0, or there are not more members.
    default_pop_share_queue_num: i32 = -1, "defaultPopShareQueueNum", ANY_INT, "", Live;
    /// How long the broker believes what a name server has said of a topic's queues in the cluster, which it divides.
    load_balance_poll_name_server_interval_ms: u64 = 30_000, "loadBalancePollNameServerInterval", PERIOD_MS, "ms", Live;
    /// Whether the queues that an orderly consumer has locked are free as soon as its connection ends, by whatever. False: it may
    /// still consume for 30 s, and they are free after 31. True: somebody else has them at once, and where only the connection
    /// was lost, two consumers work on a queue for a while.
    orderly_release_on_close: bool = false, "orderlyReleaseOnClose", ConfigKind::Bool, "", Live;
    /// Most bytes of one pull answer that is served from memory.
    max_transfer_bytes_on_message_in_memory: u32 = 262_144, "maxTransferBytesOnMessageInMemory", whole(1, 8 * MIB), "B", Live;
    /// Most messages of one pull answer that is served from memory.
    max_transfer_count_on_message_in_memory: u32 = 32, "maxTransferCountOnMessageInMemory", whole(1, 65_535), "", Live;
    /// Most bytes of one pull answer that has to be read from the disk.
    max_transfer_bytes_on_message_in_disk: u32 = 65_536, "maxTransferBytesOnMessageInDisk", whole(1, 8 * MIB), "B", Later;
    /// Most messages of one pull answer that has to be read from the disk.
    max_transfer_count_on_message_in_disk: u32 = 8, "maxTransferCountOnMessageInDisk", whole(1, 65_535), "", Later;
    /// Most bytes of a message body, and of all bodies of a batch. While the broker runs it can be raised as far as the tail cache
    /// of a shard has room.
    max_message_size: u32 = 4 * 1024 * 1024, "maxMessageSize", MESSAGE_BYTES, "B", Live, important;

    /// Directory of all data. Empty until the start mode is known: ./ringmq-data when standalone, else $HOME/ringmq-data.
    store_path_root_dir: String = String::new(), "storePathRootDir", ConfigKind::Text, "", Start, important;
    /// Directory of the commit logs. Empty: commitlog below storePathRootDir.
    store_path_commit_log: String = String::new(), "storePathCommitLog", ConfigKind::Text, "", Start, important;
    /// Length of a segment of the commit log, allocated ahead of need.
    mapped_file_size_commit_log: u64 = 1_073_741_824, "mappedFileSizeCommitLog", SEGMENT_BYTES, "B", Start, important;
    /// When a send is answered: after the disk has it, or before.
    flush_disk_type: FlushDiskType = FlushDiskType::SyncFlush, "flushDiskType", ConfigKind::Choice(FLUSH_DISK_TYPES), "", Live, important;
    /// Longest time that an answered message may be in memory only, under ASYNC_FLUSH.
    flush_interval_commit_log_ms: u64 = 500, "flushIntervalCommitLog", whole(1, 60_000), "ms", Live, important;
    /// Hours of the day at which expired segments are deleted, local time. Empty: as soon as they expire.
    delete_when: String = String::new(), "deleteWhen", ConfigKind::Hours, "h", Live, important;
    /// Age at which a segment may be deleted.
    file_reserved_time_hours: u32 = 72, "fileReservedTime", whole(1, 876_000), "h", Live, important;
    /// Use of the disk above which old segments are deleted at any hour; kept within 10 to 95.
    disk_max_used_space_ratio: u32 = 75, "diskMaxUsedSpaceRatio", PERCENT, "%", Live;
    /// Use of the disk above which sends are refused.
    disk_space_warning_level_ratio: u32 = 90, "diskSpaceWarningLevelRatio", PERCENT, "%", Live;
    /// Use of the disk above which segments are deleted whatever their age.
    disk_space_clean_forcibly_ratio: u32 = 85, "diskSpaceCleanForciblyRatio", PERCENT, "%", Live;
    /// Whether a full disk may delete segments that are not old enough.
    clean_file_forcibly_enable: bool = true, "cleanFileForciblyEnable", ConfigKind::Bool, "", Live;
    /// Whether keys of messages are indexed.
    message_index_enable: bool = true, "messageIndexEnable", ConfigKind::Bool, "", Live;
    /// Most messages of one answer to a query by key.
    max_msgs_num_batch: u32 = 64, "maxMsgsNumBatch", whole(1, 10_000), "", Live;
    /// Most messages of one answer to a query by unique key.
    default_query_max_num: u32 = 32, "defaultQueryMaxNum", whole(1, 10_000), "", Live;

    /// A connection without a byte in either direction for this long is closed.
    server_channel_max_idle_time_seconds: u32 = 120, "serverChannelMaxIdleTimeSeconds", whole(1, 86_400), "s", Live;

    /// Number of shards, each with its own log. 0: one per core. Fixed when the store is formatted.
    shards: u32 = 0, "shards", whole(0, 1_024), "", Format, important;
    /// Cores to run on. Empty: all that the process may use.
    shard_cores: CoreList = CoreList::default(), "shardCores", ConfigKind::Cores, "", Start, important;
    /// Port of the name server inside a standalone broker.
    standalone_namesrv_port: u16 = 9_876, "standaloneNamesrvPort", PORT, "", Start, important;
    /// Memory that the process may use. 0: 7/8 of the control group's limit, else half of the machine. Refused when it does
    /// not suffice for the rest of the configuration.
    memory_budget_mib: u64 = 0, "memoryBudgetMiB", whole(0, 64 * MIB), "MiB", Start, important;
    /// Latest bytes of the logs kept in memory, over all shards. 0: from the memory budget, at most 256 per shard.
    tail_cache_mib: u64 = 0, "tailCacheMiB", whole(0, 64 * MIB), "MiB", Start, important;
    /// Entries of consume queues that one shard keeps in memory before it writes an index file, besides those in the tail cache.
    /// 0: from the memory budget, at most 1,000,000.
    shard_index_entries_max: u64 = 0, "shardIndexEntriesMax", whole(0, 1_000_000_000), "", Start;
    /// Memory of one shard for offsets of groups; more of them are refused. 0: from the memory budget, 1 to 256.
    shard_group_offsets_mib: u64 = 0, "shardGroupOffsetsMiB", whole(0, 64 * MIB), "MiB", Start;
    /// Messages per shard that may wait until they are due: delayed ones, and those that are to be consumed again. 0: a hundred times
    /// what is in memory, at most 10,000,000.
    shard_timers_max: u32 = 0, "shardTimersMax", whole(0, 1_000_000_000), "", Start;
    /// Of those, what a shard keeps in memory, the ones that are due first; the others are read when their time comes near. 0: from
    /// the memory budget, at most 1,000,000.
    shard_timers_in_memory_max: u32 = 0, "shardTimersInMemoryMax", whole(0, 100_000_000), "", Start;
    /// Most half messages of a shard that nobody has decided. 0: by the memory budget.
    shard_open_transactions_max: u32 = 0, "shardOpenTransactionsMax", whole(0, 100_000_000), "", Start;
    /// Most messages of a shard that groups have popped and not acknowledged; more are not given out. 0: by the memory budget.
    shard_popped_max: u32 = 0, "shardPoppedMax", whole(0, 100_000_000), "", Start;
    /// Most pops of a group on a topic that wait for messages, on one executor.
    pop_polling_size: u32 = 1_024, "popPollingSize", whole(1, 1_000_000), "", Live;
    /// Most pops that wait for messages, over all executors. The memory budget may allow fewer.
    max_pop_polling_size: u32 = 100_000, "maxPopPollingSize", whole(1, 10_000_000), "", Live;
    /// Memory of one shard for reads of old messages. 0: from the memory budget, at most 16.
    shard_cold_cache_mib: u32 = 0, "shardColdCacheMiB", whole(0, 65_536), "MiB", Start;
    /// Bytes of old messages that one executor reads per second at most. 0: as many as consumers want.
    cold_read_mib_per_second_max: u32 = 0, "coldReadMiBPerSecondMax", whole(0, 1_000_000), "MiB/s", Live;
    /// Requests of one connection that may be unanswered before its socket is read no further.
    connection_inflight_bytes_max: u64 = 8 * 1024 * 1024, "connectionInflightBytesMax", whole(4_096, 1024 * MIB), "B", Live;
    /// Requests of one shard that may be unanswered before sends are refused with SYSTEM_BUSY.
    shard_inflight_bytes_max: u64 = 128 * 1024 * 1024, "shardInflightBytesMax", whole(MIB, 1024 * 1024 * MIB), "B", Live;
    /// Whether the process ends, with a code other than 0, when a write or sync of a log has failed. False: it goes on serving reads and refuses sends.
    exit_on_log_failure: bool = false, "exitOnLogFailure", ConfigKind::Bool, "", Start;
    /// Connections over all shards; more are closed as soon as they are accepted. 0: from the memory budget, at most 50,000.
    connections_max: u32 = 0, "connectionsMax", whole(0, 10_000_000), "", Start;
    /// Pulls of one shard that may wait for messages; more are answered at once. 0: from the memory budget, at most 100,000.
    shard_parked_pulls_max: u32 = 0, "shardParkedPullsMax", whole(0, 10_000_000), "", Start;
    /// How long a shard looks for work before it sleeps. 0: it sleeps at once.
    spin_before_park_micros: u32 = 0, "spinBeforeParkMicros", whole(0, 10_000), "us", Start;
    /// Pause between two lines of statistics in the log, when there was traffic.
    stats_interval_seconds: u32 = 10, "statsIntervalSeconds", whole(1, 3_600), "s", Live;
    /// Port of metrics and health over HTTP: /metrics, /health, /ready. Empty: 5557 where it is free, none where it is not; 0: none.
    metrics_port: MetricsPort = MetricsPort::Usual, "metricsPort", ConfigKind::OptionalPort, "", Start, important;
    /// Local address of that port: who reaches it sees names of topics and groups. Empty: every address of IPv4 and IPv6.
    metrics_bind_address: BindAddress = BindAddress::from(IpAddr::V4(Ipv4Addr::LOCALHOST)), "metricsBindAddress", ConfigKind::BindAddress, "", Start;
    /// Most combinations of labels of one metric, such as pairs of a group and a topic; ringmq_metrics_left_out says how many more there are.
    metrics_otel_cardinality_limit: u32 = 50_000, "metricsOtelCardinalityLimit", whole(1_000, 1_000_000), "", Start;
    /// Sends, pulls of old messages and changes of topics and groups that take longer are told in the log, with the parts of their time,
    /// one line a second for each shard. 0: none.
    slow_operation_ms: u32 = 500, "slowOperationMs", whole(0, 3_600_000), "ms", Live;
    /// Longest time that a shutdown takes: answers that are on their way have three fifths of it, the disk has the rest.
    /// Whatever has not ended then is ended with the process, with an exit code of its own.
    shutdown_seconds_max: u32 = 5, "shutdownSecondsMax", whole(1, 300), "s", Start;
    /// What is logged: a level (error, warn, info, debug, trace) or a filter such as info,broker=debug. RUST_LOG goes first.
    log_filter: String = "info".to_owned(), "logFilter", ConfigKind::Text, "", Live;
    /// Directory of broker.log, and of former ones in otherdays below it. Empty: standard error. The launchers of the archive name
    /// $HOME/logs/rocketmqlogs (RINGMQ_LOG_DIR) where nothing is configured.
    log_dir: String = String::new(), "logDir", ConfigKind::Text, "", Start, important;
    /// Whether broker.log lies in a directory of its own below logDir, brokerName_brokerId. So it does, too, where another process
    /// writes the one in logDir.
    isolate_log_enable: bool = false, "isolateLogEnable", ConfigKind::Bool, "", Start;
    /// Size at which a log file ends. It ends at midnight, too.
    log_file_mib: u32 = 128, "logFileMiB", whole(1, 65_536), "MiB", Start;
    /// Log files that have ended and are kept.
    log_files_max: u32 = 20, "logFilesMax", whole(1, 10_000), "", Start;
}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is the only place where a key is described, so the table itself is tested.
    #[test]
    fn every_key_is_named_once_documented_and_reads_its_own_text() {
        let defaults = BrokerConfig::default();
        for (index, key) in KEYS.iter().enumerate() {
            assert!(
                !KEYS[..index].iter().any(|other| other.name == key.name),
                "{} twice",
                key.name
            );
            assert!(key.doc.trim().ends_with('.'), "{} has no sentence", key.name);
            let text = (key.text)(&defaults);
            let mut changed = defaults.clone();
            let filled_by_the_machine = key.name == "brokerName" && text.is_empty();
            assert!(filled_by_the_machine || (key.set)(&mut changed, &text), "{}={text}", key.name);
            assert_eq!(changed, defaults, "{} reads its own text as something else", key.name);
        }
    }

    #[test]
    fn a_refused_text_changes_nothing() {
        let mut config = BrokerConfig::default();
        let key = daemon::config::find(KEYS, "listenPort").unwrap();
        assert!(!(key.set)(&mut config, "2"));
        assert!(!(key.set)(&mut config, "port"));
        assert_eq!(config, BrokerConfig::default());
        assert!((key.set)(&mut config, "11911"));
        assert_eq!(config.listen_port, 11_911);
    }
}
