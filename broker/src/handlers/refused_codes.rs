//! Requests that Java's brokers of some release serve and this one does not, each with the reason, beside the table of those
//! that it serves ([`super::table`]). The code is that of all unknown requests: tools go on alike. What a later version serves
//! moves from here into that table.

use crate::error::Refusal;
use proto::code::request as asked;

const SECRETS: &str =
    "it would answer all accounts with their secrets: read them in the files of accounts";
const REPLICATION: &str = "this broker has no slaves and is none: replication is not supported";
const CONTROLLER: &str = "this is a broker, and no controller is inside";
const CONTAINER: &str = "this process is one broker, and no container of several";
const ROCKSDB: &str = "consume queues and configurations are not kept in RocksDB here";
const COLD_READS: &str =
    "reads of old messages are limited for each core (coldReadMiBPerSecondMax), not for each group";
const STATIC_TOPICS: &str =
    "static topics, whose queues move between brokers (updateStaticTopic), are not supported";
const READ_AHEAD: &str =
    "the log is read without the page cache: there is no read-ahead of mapped files to set";
const PROXY: &str = "no client or tool of a release asks it, only a proxy may";
const TIMERS: &str =
    "messages that name their time wait in the log: there is no timer wheel to tell of";

/// Code 54 of 4.6 to 4.9.7, GET_BROKER_CLUSTER_ACL_CONFIG: no release of the table has it.
const GET_BROKER_CLUSTER_ACL_CONFIG: i32 = 54;

/// Code and reason, by code.
const REASONS: &[(i32, &str)] = &[
    (asked::GET_ALL_CONSUMER_OFFSET, REPLICATION),
    (asked::GET_ALL_DELAY_OFFSET, REPLICATION),
    (GET_BROKER_CLUSTER_ACL_CONFIG, SECRETS),
    (asked::GET_TIMER_CHECK_POINT, TIMERS),
    (asked::GET_TIMER_METRICS, TIMERS),
    (asked::CHECK_ROCKSDB_CQ_WRITE_PROGRESS, ROCKSDB),
    (asked::EXPORT_ROCKSDB_CONFIG_TO_JSON, ROCKSDB),
    (asked::UPDATE_AND_CREATE_STATIC_TOPIC, STATIC_TOPICS),
    (asked::ADD_BROKER, CONTAINER),
    (asked::REMOVE_BROKER, CONTAINER),
    (asked::NOTIFY_MIN_BROKER_ID_CHANGE, REPLICATION),
    (asked::EXCHANGE_BROKER_HA_INFO, REPLICATION),
    (asked::GET_BROKER_HA_STATUS, REPLICATION),
    (asked::RESET_MASTER_FLUSH_OFFSET, REPLICATION),
    (asked::CONTROLLER_ALTER_SYNC_STATE_SET, CONTROLLER),
    (asked::CONTROLLER_ELECT_MASTER, CONTROLLER),
    (asked::CONTROLLER_REGISTER_BROKER, CONTROLLER),
    (asked::CONTROLLER_GET_REPLICA_INFO, CONTROLLER),
    (asked::CONTROLLER_GET_METADATA_INFO, CONTROLLER),
    (asked::CONTROLLER_GET_SYNC_STATE_DATA, CONTROLLER),
    (asked::GET_BROKER_EPOCH_CACHE, REPLICATION),
    (asked::NOTIFY_BROKER_ROLE_CHANGED, REPLICATION),
    (asked::UPDATE_CONTROLLER_CONFIG, CONTROLLER),
    (asked::GET_CONTROLLER_CONFIG, CONTROLLER),
    (asked::CLEAN_BROKER_DATA, CONTROLLER),
    (asked::CONTROLLER_GET_NEXT_BROKER_ID, CONTROLLER),
    (asked::CONTROLLER_APPLY_BROKER_ID, CONTROLLER),
    (asked::UPDATE_COLD_DATA_FLOW_CTR_CONFIG, COLD_READS),
    (asked::REMOVE_COLD_DATA_FLOW_CTR_CONFIG, COLD_READS),
    (asked::GET_COLD_DATA_FLOW_CTR_INFO, COLD_READS),
    (asked::SET_COMMITLOG_READ_MODE, READ_AHEAD),
    (asked::PEEK_MESSAGE, PROXY),
    (asked::NOTIFICATION, PROXY),
    (asked::POLLING_INFO, PROXY),
    (asked::POP_ROLLBACK, ROCKSDB),
];

/// The refusal of a code that has no line in the table.
pub fn refusal(code: i32) -> Refusal {
    let refusal = Refusal::unsupported(code);
    match REASONS.iter().find(|(known, _)| *known == code) {
        Some((_, why)) => Refusal { remark: format!("{}: {why}", refusal.remark), ..refusal },
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::table::line_of;
    use proto::code::response;

    #[test]
    fn reasons_are_given_in_order_for_codes_that_are_not_served() {
        assert!(REASONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, why) in REASONS {
            assert!(line_of(*code).is_none(), "{code} is served");
            let refusal = refusal(*code);
            assert_eq!(refusal.code, response::REQUEST_CODE_NOT_SUPPORTED);
            let expected = format!(" request type {code} not supported: {why}");
            assert_eq!(refusal.remark, expected);
        }
    }

    #[test]
    fn what_nobody_knows_is_refused_as_java_does() {
        for code in [0, -1, 211, 9_999, i32::MAX] {
            assert_eq!(refusal(code), Refusal::unsupported(code));
        }
    }
}
