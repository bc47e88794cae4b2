//! Response codes: one table, in numeric order, of every answer a 4.9.8 or 5.3.3 peer can give.
//!
//! Source: Apache RocketMQ 4.9.8 and 5.3.3, remoting `RemotingSysResponseCode` and `ResponseCode`. The numbers 209 to
//! 211 mean different things in the two releases; [`name`] gives the 5.x meaning, because 4.9 uses its own only for
//! access control. Clients decide by these numbers alone: 10, 11 and 12 count as sent, 13 is never retried.

super::table! {
    RPC_TIME_OUT = -1006, Only5, "inside a broker, never on the wire";
    RPC_SEND_TO_CHANNEL_FAILED = -1004, Only5, "inside a broker, never on the wire";
    RPC_ADDR_IS_NULL = -1002, Only5, "inside a broker, never on the wire";
    RPC_UNKNOWN = -1000, Only5, "inside a broker, never on the wire";
    SUCCESS = 0, Both, "done";
    SYSTEM_ERROR = 1, Both, "anything unexpected";
    SYSTEM_BUSY = 2, Both, "flow control: try again, elsewhere or later";
    REQUEST_CODE_NOT_SUPPORTED = 3, Both, "nobody here handles this request code";
    TRANSACTION_FAILED = 4, Both, "never on the wire";
    FLUSH_DISK_TIMEOUT = 10, Both, "stored, but the synchronous flush took too long; a success for the sender";
    SLAVE_NOT_AVAILABLE = 11, Both, "stored, but no usable slave; a success for the sender";
    FLUSH_SLAVE_TIMEOUT = 12, Both, "stored, but the slave did not confirm in time; a success for the sender";
    MESSAGE_ILLEGAL = 13, Both, "body, properties or topic too long; senders do not retry";
    SERVICE_NOT_AVAILABLE = 14, Both, "store not writeable: disk full, slave, shutdown";
    VERSION_NOT_SUPPORTED = 15, Both, "only the 5.x proxy answers it";
    NO_PERMISSION = 16, Both, "broker, topic or group is not readable or writeable";
    TOPIC_NOT_EXIST = 17, Both, "unknown topic; for routes the only way to say so";
    TOPIC_EXIST_ALREADY = 18, Both, "never on the wire";
    PULL_NOT_FOUND = 19, Both, "nothing at this offset yet";
    PULL_RETRY_IMMEDIATELY = 20, Both, "nothing matched; go on at nextBeginOffset";
    PULL_OFFSET_MOVED = 21, Both, "offset out of range; go on at nextBeginOffset";
    QUERY_NOT_FOUND = 22, Both, "no match, no stored offset, no such key";
    SUBSCRIPTION_PARSE_FAILED = 23, Both, "bad filter expression";
    SUBSCRIPTION_NOT_EXIST = 24, Both, "group or topic not in the broker's heartbeat data";
    SUBSCRIPTION_NOT_LATEST = 25, Both, "the broker's subVersion is older than the request's";
    SUBSCRIPTION_GROUP_NOT_EXIST = 26, Both, "unknown consumer group";
    FILTER_DATA_NOT_EXIST = 27, Both, "SQL filter without compiled filter";
    FILTER_DATA_NOT_LATEST = 28, Both, "compiled SQL filter too old";
    INVALID_PARAMETER = 29, Only5, "bad argument, where 4.9.8 says 1";
    TRANSACTION_SHOULD_COMMIT = 200, Both, "never on the wire";
    TRANSACTION_SHOULD_ROLLBACK = 201, Both, "never on the wire";
    TRANSACTION_STATE_UNKNOW = 202, Both, "never on the wire";
    TRANSACTION_STATE_GROUP_WRONG = 203, Both, "never on the wire";
    NO_BUYER_ID = 204, Both, "never sent by the shipped brokers; senders retry on it";
    NOT_IN_CURRENT_UNIT = 205, Both, "never sent by the shipped brokers; senders retry on it";
    CONSUMER_NOT_ONLINE = 206, Both, "no member of the group is connected";
    CONSUME_MSG_TIMEOUT = 207, Both, "a relayed call to a consumer was not answered";
    NO_MESSAGE = 208, Both, "offset outside the queue";
    UPDATE_AND_CREATE_ACL_CONFIG_FAILED = 209, Only4, "access control of 4.9";
    POLLING_FULL = 209, Only5, "too many waiting pops";
    DELETE_ACL_CONFIG_FAILED = 210, Only4, "access control of 4.9";
    POLLING_TIMEOUT = 210, Only5, "nothing arrived within pollTime";
    UPDATE_GLOBAL_WHITE_ADDRS_CONFIG_FAILED = 211, Only4, "access control of 4.9";
    BROKER_NOT_EXIST = 211, Only5, "broker container";
    BROKER_DISPATCH_NOT_COMPLETE = 212, Only5, "never on the wire";
    BROADCAST_CONSUMPTION = 213, Only5, "inside the admin tool, never on the wire";
    FLOW_CONTROL = 215, Both, "consumers pause the queue for 20 ms";
    NOT_LEADER_FOR_QUEUE = 501, Only5, "static topics";
    ILLEGAL_OPERATION = 604, Only5, "transaction end or recall refused";
    GO_AWAY = 1500, Only5, "server shutting down; only to request versions above 475";
    CONTROLLER_FENCED_MASTER_EPOCH = 2000, Only5, "controller";
    CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH = 2001, Only5, "controller";
    CONTROLLER_INVALID_MASTER = 2002, Only5, "controller";
    CONTROLLER_INVALID_REPLICAS = 2003, Only5, "controller";
    CONTROLLER_MASTER_NOT_AVAILABLE = 2004, Only5, "controller";
    CONTROLLER_INVALID_REQUEST = 2005, Only5, "controller";
    CONTROLLER_BROKER_NOT_ALIVE = 2006, Only5, "controller";
    CONTROLLER_NOT_LEADER = 2007, Only5, "controller";
    CONTROLLER_BROKER_METADATA_NOT_EXIST = 2008, Only5, "controller";
    CONTROLLER_INVALID_CLEAN_BROKER_METADATA = 2009, Only5, "controller";
    CONTROLLER_BROKER_NEED_TO_BE_REGISTERED = 2010, Only5, "controller";
    CONTROLLER_MASTER_STILL_EXIST = 2011, Only5, "controller";
    CONTROLLER_ELECT_MASTER_FAILED = 2012, Only5, "controller";
    CONTROLLER_ALTER_SYNC_STATE_SET_FAILED = 2013, Only5, "controller";
    CONTROLLER_BROKER_ID_INVALID = 2014, Only5, "controller";
    CONTROLLER_JRAFT_INTERNAL_ERROR = 2015, Only5, "controller";
    CONTROLLER_BROKER_LIVE_INFO_NOT_EXISTS = 2016, Only5, "controller";
    USER_NOT_EXIST = 3001, Only5, "never on the wire";
    POLICY_NOT_EXIST = 3002, Only5, "never on the wire";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_order_and_names_the_newer_meaning() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code <= pair[1].code));
        assert_eq!(name(SUCCESS), Some("SUCCESS"));
        assert_eq!(name(209), Some("POLLING_FULL"));
        assert_eq!(name(-1000), Some("RPC_UNKNOWN"));
        assert_eq!(name(5), None);
    }
}
