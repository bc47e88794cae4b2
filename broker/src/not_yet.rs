//! What this version does not serve yet and refuses: every such check and its sentence, so that who builds it finds here
//! what to take away. Nothing of it is accepted and then done differently. What attributes of topics promise is beside
//! them: `not_yet` in `control/attributes.rs`.

use crate::{control::names, error::Refusal, properties::Scanned};
use proto::{code::response, record::SYS_FLAG_TRANSACTION_MASK};

/// Transactions and timers, by the properties of a message and the flags that its header has. What only
/// Java's broker itself says of a message, no client may say.
pub fn check_message(scanned: &Scanned<'_>, sys_flag: i32) -> Result<(), Refusal> {
    if scanned.transaction {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            "transactional messages are not supported by this version of the broker",
        ));
    }
    let phase = sys_flag & SYS_FLAG_TRANSACTION_MASK;
    if phase != 0 {
        // Java stores a prepared one where no consumer sees it, and nobody can ever commit it.
        return Err(Refusal::new(
            response::NO_PERMISSION,
            format!(
                "transactional messages are not supported by this version of the broker: sysFlag {sys_flag} says that \
                 this is one ({phase})"
            ),
        ));
    }
    match scanned.timer {
        // A delivered one carries them on; Java does not look at them either then.
        Some(name) if !scanned.timer_delivered => Err(Refusal::new(
            response::MESSAGE_ILLEGAL,
            format!("timer messages ({name}) are not supported by this version of the broker"),
        )),
        _ => Ok(()),
    }
}

/// Topics that belong to what is not served yet: what a client put there would be taken for the broker's own later.
pub fn is_internal_topic(topic: &str) -> bool {
    topic == names::TIMER_TOPIC || topic.starts_with(names::REVIVE_TOPIC_PREFIX)
}

/// Filters by classes on filter servers, which no release has any more; Java does not filter such a subscription at all.
pub fn class_filter() -> Refusal {
    Refusal::system_error("filtering by a class (classFilterMode) is not supported by this broker")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(properties: &str, sys_flag: i32) -> Result<(), (i32, String)> {
        let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
        check_message(&Scanned::of(&properties), sys_flag)
            .map_err(|refusal| (refusal.code, refusal.remark))
    }

    #[test]
    fn messages_of_kinds_that_come_later_are_refused_by_what_makes_them_so() {
        let refused = [
            ("TRAN_MSG=true;", 0, response::NO_PERMISSION, "transactional"),
            ("TRAN_MSG=true;", 4, response::NO_PERMISSION, "transactional"),
            ("", 4, response::NO_PERMISSION, "sysFlag 4"),
            ("TAGS=a;", 0x308, response::NO_PERMISSION, "(8)"),
            ("", 12, response::NO_PERMISSION, "(12)"),
            ("TIMER_DELAY_SEC=5;", 0, response::MESSAGE_ILLEGAL, "TIMER_DELAY_SEC"),
            ("TIMER_DELAY_MS=5;", 0, response::MESSAGE_ILLEGAL, "TIMER_DELAY_MS"),
            ("TIMER_DELIVER_MS=1;", 0, response::MESSAGE_ILLEGAL, "TIMER_DELIVER_MS"),
        ];
        for (properties, sys_flag, code, part) in refused {
            let (found, remark) = check(properties, sys_flag).expect_err(properties);
            assert_eq!(found, code, "{properties} {sys_flag}");
            assert!(remark.contains(part) && remark.contains("not supported"), "{remark}");
        }
        let kept = [
            ("", 0),
            ("TAGS=a;KEYS=b;", 0x301),
            ("TRAN_MSG=false;", 0),
            ("DELAY=0;", 0),
            ("DELAY=3;", 0),
            ("TIMER_DELAY_SEC=5;TIMER_OUT_MS=99;", 0),
            ("TIMER_OUT_MS=99;", 0),
            ("__STARTDELIVERTIME=99;", 0),
        ];
        for (properties, sys_flag) in kept {
            assert_eq!(check(properties, sys_flag), Ok(()), "{properties} {sys_flag}");
        }
    }
}
