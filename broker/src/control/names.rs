//! What may be the name of a topic or a group, and which topics belong to the broker itself.
//!
//! Used by `admit` on every shard and by the tables here. Source: Apache RocketMQ 4.9.8, `TopicValidator`.

use std::collections::BTreeSet;
use std::sync::Arc;
pub use store::state::{
    deferred::{SCHEDULE_TOPIC, TIMER_TOPIC},
    half_messages::HALF_TOPIC as TRANS_HALF_TOPIC,
};

/// Longest topic name, in characters; its length is one signed byte in the stored record.
pub const TOPIC_CHARS_MAX: usize = 127;
/// Longest group name, in characters.
pub const GROUP_CHARS_MAX: usize = 255;

/// Prefix of a group's topic for messages to be consumed again.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of a group's topic for messages that are given up.
pub const DLQ_PREFIX: &str = "%DLQ%";
/// Topic whose configuration automatically created topics take.
pub const AUTO_CREATE_TOPIC: &str = "TBW102";
/// Topic of Java's self test.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Topic of Java's benchmark.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Topic of what clients trace, unless they are told another one. The broker's whether tracing is on or not.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Topic of events about offsets that were moved.
pub const OFFSET_MOVED_TOPIC: &str = "OFFSET_MOVED_EVENT";
/// Topic of the decisions on half messages.
pub const TRANS_OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Topic of half messages that were checked too often.
pub const TRANS_CHECK_MAX_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Prefix of the topic of 5.x for messages that POP consumers have not acknowledged.
pub const REVIVE_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// Prefix of topics and, in capitals with `CID_`, groups that belong to the broker.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Prefix of groups that come into being even when automatic creation is off.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Group as which Java's broker keeps how far it is with half messages.
pub const TRANS_GROUP: &str = "CID_RMQ_SYS_TRANS";

/// Bytes of a client id; a heartbeat with a longer one is left out and counted.
pub const CLIENT_ID_BYTES_MAX: usize = 1_024;

/// Topics that clients must not send to.
const NOT_SENDABLE: &[&str] = &[
    SCHEDULE_TOPIC,
    TIMER_TOPIC,
    TRANS_HALF_TOPIC,
    TRANS_OP_TOPIC,
    TRANS_CHECK_MAX_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_TOPIC,
];

/// Why a text is not a name. `Display` is the remark that a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or blanks only.
    #[error("the specified {what} is blank")]
    Blank {
        /// "topic" or "group".
        what: &'static str,
    },
    /// A character outside `% | - _ 0-9 a-z A-Z`.
    #[error(
        "the specified {what} contains the illegal character {found:?}, allowed are ^[%|a-zA-Z0-9_-]+$"
    )]
    IllegalCharacter {
        /// "topic" or "group".
        what: &'static str,
        /// The first such character.
        found: char,
    },
    /// Longer than the limit.
    #[error("the specified {what} is longer than {max} characters: {count}")]
    TooLong {
        /// "topic" or "group".
        what: &'static str,
        /// Its length in characters.
        count: usize,
        /// The limit in characters.
        max: usize,
    },
}

/// Checks the name of a topic: 1 to 127 characters of `% | - _ 0-9 a-z A-Z`.
pub fn check_topic(name: &str) -> Result<(), NameError> {
    check("topic", name, TOPIC_CHARS_MAX)
}

/// Checks the name of a group: 1 to 255 characters of the same set.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check("group", name, GROUP_CHARS_MAX)
}

/// Checks the name of a topic as consumers subscribe to it: the retry topic of a group is as long as its group's name makes it.
pub fn check_consumed_topic(name: &str) -> Result<(), NameError> {
    match name.strip_prefix(RETRY_PREFIX) {
        Some(group) => check_group(group),
        None => check_topic(name),
    }
}

/// Checks the id of a client: 1 to [`CLIENT_ID_BYTES_MAX`] bytes.
pub fn check_client(id: &str) -> Result<(), NameError> {
    let what = "client id";
    match id.len() {
        0 => Err(NameError::Blank { what }),
        count if count > CLIENT_ID_BYTES_MAX => {
            Err(NameError::TooLong { what, count, max: CLIENT_ID_BYTES_MAX })
        }
        _ => Ok(()),
    }
}

fn check(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank { what });
    }
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'-' | b'_');
    if !name.bytes().all(legal) {
        let found = name.chars().find(|c| !u8::try_from(*c).is_ok_and(legal)).unwrap_or('?');
        return Err(NameError::IllegalCharacter { what, found });
    }
    // All characters are ASCII here, so bytes are characters.
    if name.len() > max {
        return Err(NameError::TooLong { what, count: name.len(), max });
    }
    Ok(())
}

/// `%RETRY%<group>`.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

/// `%DLQ%<group>`.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_PREFIX}{group}")
}

/// Whether the topic is some group's retry topic.
pub fn is_retry_topic(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

/// `<cluster>_REPLY_TOPIC`.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_REPLY_TOPIC")
}

/// Topics that the broker owns: they cannot be changed or deleted, and some not sent to. Fixed at start.
#[derive(Clone, Debug, Default)]
pub struct SystemTopics {
    names: Arc<BTreeSet<String>>,
}

impl SystemTopics {
    /// The fixed names and those that `more` adds (cluster, broker, reply, trace).
    pub fn with(more: impl IntoIterator<Item = String>) -> SystemTopics {
        let sendable = [AUTO_CREATE_TOPIC, BENCHMARK_TOPIC, TRACE_TOPIC];
        let fixed = sendable.iter().chain(NOT_SENDABLE);
        let names = fixed.map(|name| (*name).to_owned()).chain(more).collect();
        SystemTopics { names: Arc::new(names) }
    }

    /// Whether the broker owns this topic.
    pub fn contains(&self, topic: &str) -> bool {
        topic.starts_with(SYSTEM_TOPIC_PREFIX) || self.names.contains(topic)
    }

    /// Whether clients must not send to this topic (code 16).
    pub fn is_send_forbidden(topic: &str) -> bool {
        NOT_SENDABLE.contains(&topic)
    }

    /// All names, sorted, as `GET_SYSTEM_TOPIC_LIST_FROM_BROKER` lists them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_java_does() {
        for good in ["a", "%RETRY%group", "a|b", "A-Z_0-9", &"x".repeat(127)] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        assert_eq!(check_topic(" "), Err(NameError::Blank { what: "topic" }));
        assert_eq!(
            check_topic("a.b"),
            Err(NameError::IllegalCharacter { what: "topic", found: '.' })
        );
        assert_eq!(
            check_topic("caf\u{e9}"),
            Err(NameError::IllegalCharacter { what: "topic", found: '\u{e9}' })
        );
        let long = NameError::TooLong { what: "topic", count: 128, max: 127 };
        assert_eq!(check_topic(&"x".repeat(128)), Err(long));
        assert_eq!(long.to_string(), "the specified topic is longer than 127 characters: 128");
        assert_eq!(check_group(&"x".repeat(255)), Ok(()));
        assert!(check_group(&"x".repeat(256)).is_err());
    }

    #[test]
    fn the_broker_knows_its_own_topics() {
        let system = SystemTopics::with(["c1".to_owned()]);
        for own in ["TBW102", "c1", "BenchmarkTest", "RMQ_SYS_TRACE_TOPIC", "SCHEDULE_TOPIC_XXXX"] {
            assert!(system.contains(own), "{own}");
            assert!(system.names().any(|name| name == own), "{own}");
        }
        assert!(system.contains("rmq_sys_anything"));
        assert!(!system.contains("orders"));
        assert!(SystemTopics::is_send_forbidden("SCHEDULE_TOPIC_XXXX"));
        assert!(!SystemTopics::is_send_forbidden("TBW102"), "Java lets clients send to it");
        assert!(!SystemTopics::is_send_forbidden("RMQ_SYS_TRACE_TOPIC"), "clients trace there");
    }
}
