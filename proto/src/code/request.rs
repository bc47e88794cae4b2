//! Request codes: one table, in numeric order, of everything a 4.9.8 or 5.3.3 peer can ask.
//!
//! Source: Apache RocketMQ 4.9.8 and 5.3.3, remoting `RequestCode`. Being listed here says nothing about being served:
//! what a server answers stands in its own table of requests.
//!
//! Binary headers carry the code in 16 bits, so the POP family (200050 and up) arrives truncated; see [`widen`].

super::table! {
    SEND_MESSAGE = 10, Both, "producer to broker";
    PULL_MESSAGE = 11, Both, "consumer to broker";
    QUERY_MESSAGE = 12, Both, "admin or client to broker";
    QUERY_BROKER_OFFSET = 13, Both, "never on the wire";
    QUERY_CONSUMER_OFFSET = 14, Both, "consumer to broker";
    UPDATE_CONSUMER_OFFSET = 15, Both, "consumer to broker one-way";
    UPDATE_AND_CREATE_TOPIC = 17, Both, "admin to broker";
    UPDATE_AND_CREATE_TOPIC_LIST = 18, Only5, "admin to broker";
    GET_ALL_TOPIC_CONFIG = 21, Both, "slave or admin to broker";
    GET_TOPIC_CONFIG_LIST = 22, Both, "never on the wire";
    GET_TOPIC_NAME_LIST = 23, Both, "never on the wire";
    UPDATE_BROKER_CONFIG = 25, Both, "admin to broker";
    GET_BROKER_CONFIG = 26, Both, "admin to broker";
    TRIGGER_DELETE_FILES = 27, Both, "never on the wire";
    GET_BROKER_RUNTIME_INFO = 28, Both, "admin to broker";
    SEARCH_OFFSET_BY_TIMESTAMP = 29, Both, "consumer or admin to broker";
    GET_MAX_OFFSET = 30, Both, "consumer or admin to broker";
    GET_MIN_OFFSET = 31, Both, "consumer or admin to broker";
    GET_EARLIEST_MSG_STORETIME = 32, Both, "admin to broker";
    VIEW_MESSAGE_BY_ID = 33, Both, "admin or client to broker";
    HEART_BEAT = 34, Both, "client to broker";
    UNREGISTER_CLIENT = 35, Both, "client to broker";
    CONSUMER_SEND_MSG_BACK = 36, Both, "consumer to broker";
    END_TRANSACTION = 37, Both, "producer to broker one-way";
    GET_CONSUMER_LIST_BY_GROUP = 38, Both, "consumer to broker";
    CHECK_TRANSACTION_STATE = 39, Both, "broker to producer one-way";
    NOTIFY_CONSUMER_IDS_CHANGED = 40, Both, "broker to consumer one-way";
    LOCK_BATCH_MQ = 41, Both, "consumer to broker";
    UNLOCK_BATCH_MQ = 42, Both, "consumer to broker";
    GET_ALL_CONSUMER_OFFSET = 43, Both, "slave to broker";
    GET_ALL_DELAY_OFFSET = 45, Both, "slave to broker";
    CHECK_CLIENT_CONFIG = 46, Both, "consumer to broker";
    GET_CLIENT_CONFIG = 47, Only5, "never on the wire";
    UPDATE_AND_CREATE_ACL_CONFIG = 50, Only4, "admin to broker";
    DELETE_ACL_CONFIG = 51, Only4, "admin to broker";
    GET_BROKER_CLUSTER_ACL_INFO = 52, Only4, "admin to broker";
    UPDATE_GLOBAL_WHITE_ADDRS_CONFIG = 53, Only4, "admin to broker";
    GET_TIMER_CHECK_POINT = 60, Only5, "slave to broker";
    GET_TIMER_METRICS = 61, Only5, "slave to broker";
    PUT_KV_CONFIG = 100, Both, "admin to name server";
    GET_KV_CONFIG = 101, Both, "admin to name server";
    DELETE_KV_CONFIG = 102, Both, "admin to name server";
    REGISTER_BROKER = 103, Both, "broker to name server";
    UNREGISTER_BROKER = 104, Both, "broker to name server";
    GET_ROUTEINFO_BY_TOPIC = 105, Both, "client or admin or broker to name server";
    GET_BROKER_CLUSTER_INFO = 106, Both, "admin or broker to name server";
    UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200, Both, "admin to broker";
    GET_ALL_SUBSCRIPTIONGROUP_CONFIG = 201, Both, "slave or admin to broker";
    GET_TOPIC_STATS_INFO = 202, Both, "admin to broker";
    GET_CONSUMER_CONNECTION_LIST = 203, Both, "admin to broker";
    GET_PRODUCER_CONNECTION_LIST = 204, Both, "admin to broker";
    WIPE_WRITE_PERM_OF_BROKER = 205, Both, "admin to name server";
    GET_ALL_TOPIC_LIST_FROM_NAMESERVER = 206, Both, "admin to name server";
    DELETE_SUBSCRIPTIONGROUP = 207, Both, "admin to broker";
    GET_CONSUME_STATS = 208, Both, "admin to broker";
    SUSPEND_CONSUMER = 209, Both, "never on the wire";
    RESUME_CONSUMER = 210, Both, "never on the wire";
    RESET_CONSUMER_OFFSET_IN_CONSUMER = 211, Both, "never on the wire";
    RESET_CONSUMER_OFFSET_IN_BROKER = 212, Both, "never on the wire";
    ADJUST_CONSUMER_THREAD_POOL = 213, Both, "never on the wire";
    WHO_CONSUME_THE_MESSAGE = 214, Both, "never on the wire";
    DELETE_TOPIC_IN_BROKER = 215, Both, "admin to broker";
    DELETE_TOPIC_IN_NAMESRV = 216, Both, "admin to name server";
    REGISTER_TOPIC_IN_NAMESRV = 217, Only5, "broker to name server";
    GET_KVLIST_BY_NAMESPACE = 219, Both, "admin to name server";
    RESET_CONSUMER_CLIENT_OFFSET = 220, Both, "broker to consumer one-way";
    GET_CONSUMER_STATUS_FROM_CLIENT = 221, Both, "broker to consumer within 5 s";
    INVOKE_BROKER_TO_RESET_OFFSET = 222, Both, "admin to broker";
    INVOKE_BROKER_TO_GET_CONSUMER_STATUS = 223, Both, "admin to broker";
    GET_TOPICS_BY_CLUSTER = 224, Both, "admin to name server";
    UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST = 225, Only5, "admin to broker";
    QUERY_TOPIC_CONSUME_BY_WHO = 300, Both, "admin to broker";
    REGISTER_FILTER_SERVER = 301, Both, "never on the wire";
    REGISTER_MESSAGE_FILTER_CLASS = 302, Both, "never on the wire";
    QUERY_CONSUME_TIME_SPAN = 303, Both, "admin to broker";
    GET_SYSTEM_TOPIC_LIST_FROM_NS = 304, Both, "admin to name server";
    GET_SYSTEM_TOPIC_LIST_FROM_BROKER = 305, Both, "admin to broker";
    CLEAN_EXPIRED_CONSUMEQUEUE = 306, Both, "admin to broker";
    GET_CONSUMER_RUNNING_INFO = 307, Both, "admin to broker, broker to consumer within 10 s";
    QUERY_CORRECTION_OFFSET = 308, Both, "admin to broker";
    CONSUME_MESSAGE_DIRECTLY = 309, Both, "admin to broker, broker to consumer within 10 s";
    SEND_MESSAGE_V2 = 310, Both, "producer to broker";
    GET_UNIT_TOPIC_LIST = 311, Both, "admin to name server";
    GET_HAS_UNIT_SUB_TOPIC_LIST = 312, Both, "admin to name server";
    GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST = 313, Both, "admin to name server";
    CLONE_GROUP_OFFSET = 314, Both, "admin to broker";
    VIEW_BROKER_STATS_DATA = 315, Both, "admin to broker";
    CLEAN_UNUSED_TOPIC = 316, Both, "admin to broker";
    GET_BROKER_CONSUME_STATS = 317, Both, "admin to broker";
    UPDATE_NAMESRV_CONFIG = 318, Both, "admin to name server";
    GET_NAMESRV_CONFIG = 319, Both, "admin to name server";
    SEND_BATCH_MESSAGE = 320, Both, "producer to broker";
    QUERY_CONSUME_QUEUE = 321, Both, "admin to broker";
    QUERY_DATA_VERSION = 322, Both, "broker to name server";
    RESUME_CHECK_HALF_MESSAGE = 323, Both, "admin to broker";
    SEND_REPLY_MESSAGE = 324, Both, "producer to broker";
    SEND_REPLY_MESSAGE_V2 = 325, Both, "producer to broker";
    PUSH_REPLY_MESSAGE_TO_CLIENT = 326, Both, "broker to producer within 10 s";
    ADD_WRITE_PERM_OF_BROKER = 327, Both, "admin to name server";
    GET_ALL_PRODUCER_INFO = 328, Both, "admin to broker";
    DELETE_EXPIRED_COMMITLOG = 329, Both, "admin to broker";
    QUERY_TOPICS_BY_CONSUMER = 343, Only5, "admin to broker";
    QUERY_SUBSCRIPTION_BY_CONSUMER = 345, Only5, "admin to broker";
    GET_TOPIC_CONFIG = 351, Only5, "admin to broker";
    GET_SUBSCRIPTIONGROUP_CONFIG = 352, Only5, "admin to broker";
    UPDATE_AND_GET_GROUP_FORBIDDEN = 353, Only5, "admin to broker";
    CHECK_ROCKSDB_CQ_WRITE_PROGRESS = 354, Only5, "admin to broker";
    EXPORT_ROCKSDB_CONFIG_TO_JSON = 355, Only5, "admin to broker";
    LITE_PULL_MESSAGE = 361, Only5, "consumer to broker";
    RECALL_MESSAGE = 370, Only5, "producer to broker";
    QUERY_ASSIGNMENT = 400, Only5, "consumer to broker";
    SET_MESSAGE_REQUEST_MODE = 401, Only5, "admin to broker";
    GET_ALL_MESSAGE_REQUEST_MODE = 402, Only5, "slave to broker";
    UPDATE_AND_CREATE_STATIC_TOPIC = 513, Only5, "admin to broker";
    GET_BROKER_MEMBER_GROUP = 901, Only5, "broker to name server";
    ADD_BROKER = 902, Only5, "admin to container";
    REMOVE_BROKER = 903, Only5, "admin to container";
    BROKER_HEARTBEAT = 904, Only5, "broker to name server, broker to controller";
    NOTIFY_MIN_BROKER_ID_CHANGE = 905, Only5, "name server to broker one-way";
    EXCHANGE_BROKER_HA_INFO = 906, Only5, "slave to broker, broker to slave";
    GET_BROKER_HA_STATUS = 907, Only5, "admin to broker";
    RESET_MASTER_FLUSH_OFFSET = 908, Only5, "admin to slave";
    CONTROLLER_ALTER_SYNC_STATE_SET = 1001, Only5, "broker to controller";
    CONTROLLER_ELECT_MASTER = 1002, Only5, "broker or admin to controller";
    CONTROLLER_REGISTER_BROKER = 1003, Only5, "broker to controller";
    CONTROLLER_GET_REPLICA_INFO = 1004, Only5, "broker or admin to controller";
    CONTROLLER_GET_METADATA_INFO = 1005, Only5, "broker or admin to controller";
    CONTROLLER_GET_SYNC_STATE_DATA = 1006, Only5, "admin to controller";
    GET_BROKER_EPOCH_CACHE = 1007, Only5, "admin to broker";
    NOTIFY_BROKER_ROLE_CHANGED = 1008, Only5, "controller to broker";
    UPDATE_CONTROLLER_CONFIG = 1009, Only5, "admin to controller";
    GET_CONTROLLER_CONFIG = 1010, Only5, "admin to controller";
    CLEAN_BROKER_DATA = 1011, Only5, "admin to controller";
    CONTROLLER_GET_NEXT_BROKER_ID = 1012, Only5, "broker to controller";
    CONTROLLER_APPLY_BROKER_ID = 1013, Only5, "broker to controller";
    UPDATE_COLD_DATA_FLOW_CTR_CONFIG = 2001, Only5, "admin to broker";
    REMOVE_COLD_DATA_FLOW_CTR_CONFIG = 2002, Only5, "admin to broker";
    GET_COLD_DATA_FLOW_CTR_INFO = 2003, Only5, "admin to broker";
    SET_COMMITLOG_READ_MODE = 2004, Only5, "admin to broker";
    AUTH_CREATE_USER = 3001, Only5, "admin to broker";
    AUTH_UPDATE_USER = 3002, Only5, "admin to broker";
    AUTH_DELETE_USER = 3003, Only5, "admin to broker";
    AUTH_GET_USER = 3004, Only5, "admin to broker";
    AUTH_LIST_USER = 3005, Only5, "admin to broker";
    AUTH_CREATE_ACL = 3006, Only5, "admin to broker";
    AUTH_UPDATE_ACL = 3007, Only5, "admin to broker";
    AUTH_DELETE_ACL = 3008, Only5, "admin to broker";
    AUTH_GET_ACL = 3009, Only5, "admin to broker";
    AUTH_LIST_ACL = 3010, Only5, "admin to broker";
    POP_MESSAGE = 200050, Only5, "consumer to broker";
    ACK_MESSAGE = 200051, Only5, "consumer to broker";
    PEEK_MESSAGE = 200052, Only5, "consumer to broker";
    CHANGE_MESSAGE_INVISIBLETIME = 200053, Only5, "consumer to broker";
    NOTIFICATION = 200054, Only5, "proxy or consumer to broker";
    POLLING_INFO = 200055, Only5, "admin to broker";
    POP_ROLLBACK = 200056, Only5, "admin to broker";
    BATCH_ACK_MESSAGE = 200151, Only5, "proxy or consumer to broker";
}

/// `EXPLAIN_ACCESS` (19101), a request of our own: which rule of access control decides what an account may do. Ext fields:
/// `user`; `topic`, `group`, or neither for the cluster; `action`, as 5.x names it; `sourceIp`, optional. The answer's body is JSON:
/// `decision` (`Allow` or `Deny`), `reason`, `rule`, `account`, `file`. No release of Apache RocketMQ has a code between 10,000 and
/// 200,000; it fits the 16 bits of a binary header.
pub const EXPLAIN_ACCESS: i32 = 19_101;

const _: () = assert!(widen(EXPLAIN_ACCESS) == EXPLAIN_ACCESS && EXPLAIN_ACCESS <= i16::MAX as i32);

/// Undoes the truncation of a binary header: Java writes code 200050 as the 16 bit number 3442. No other code lives at
/// those numbers, so the mapping is safe; every other value comes back unchanged.
pub const fn widen(code: i32) -> i32 {
    const LOST: i32 = 3 << 16;
    match code {
        3442..=3448 | 3543 => code + LOST,
        _ => code,
    }
}

const _: () = assert!(widen(POP_MESSAGE as i16 as i32) == POP_MESSAGE);
const _: () = assert!(widen(BATCH_ACK_MESSAGE as i16 as i32) == BATCH_ACK_MESSAGE);
const _: () = assert!(widen(SEND_MESSAGE_V2) == SEND_MESSAGE_V2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_complete_and_in_order() {
        assert_eq!(TABLE.len(), 157);
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert_eq!(TABLE.iter().filter(|row| row.release != Release::Only5).count(), 95);
        assert_eq!(TABLE.iter().filter(|row| row.release != Release::Only4).count(), 153);
    }

    #[test]
    fn names_are_found_by_number() {
        assert_eq!(name(SEND_MESSAGE_V2), Some("SEND_MESSAGE_V2"));
        assert_eq!(name(200_151), Some("BATCH_ACK_MESSAGE"));
        assert_eq!(name(0), None);
        assert_eq!(name(i32::MIN), None);
    }

    #[test]
    fn every_truncated_code_widens_back() {
        for row in TABLE {
            assert_eq!(widen(i32::from(row.code as i16)), row.code, "{}", row.name);
        }
    }
}
