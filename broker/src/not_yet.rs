//! What this version does not serve yet and refuses: every such check and its sentence, so that who builds it finds here
//! what to take away. Nothing of it is accepted and then done differently. What attributes of topics promise is beside
//! them: `not_yet` in `control/attributes.rs`.

use crate::{control::names, error::Refusal, properties::Scanned};
use proto::code::response;

/// Timers, by the properties of a message.
pub fn check_message(scanned: &Scanned<'_>) -> Result<(), Refusal> {
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

    fn check(properties: &str) -> Result<(), (i32, String)> {
        let properties = properties.replace('=', "\u{1}").replace(';', "\u{2}");
        check_message(&Scanned::of(&properties)).map_err(|refusal| (refusal.code, refusal.remark))
    }

    #[test]
    fn messages_of_kinds_that_come_later_are_refused_by_what_makes_them_so() {
        for name in ["TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"] {
            let (found, remark) = check(&format!("{name}=5;")).expect_err(name);
            assert_eq!(found, response::MESSAGE_ILLEGAL, "{name}");
            assert!(remark.contains(name) && remark.contains("not supported"), "{remark}");
        }
        for kept in [
            "",
            "TAGS=a;KEYS=b;",
            "TRAN_MSG=true;",
            "DELAY=3;",
            "TIMER_DELAY_SEC=5;TIMER_OUT_MS=99;",
            "TIMER_OUT_MS=99;",
            "__STARTDELIVERTIME=99;",
        ] {
            assert_eq!(check(kept), Ok(()), "{kept}");
        }
    }
}
