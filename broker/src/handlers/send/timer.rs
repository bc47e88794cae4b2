//! Messages that name the time of their delivery (5.x): how far it is away.

use super::encode::illegal;
use crate::{config::BrokerConfig, delay_levels::Until, error::Refusal, properties::Scanned};
use proto::properties::{
    self, TIMER_DEL_UNIQKEY, TIMER_DELAY_MS, TIMER_DELAY_SEC, TIMER_DELIVER_MS,
};

/// When a message is to be delivered that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handlers) struct Timer {
    /// By the wall clock, ms.
    pub deliver_ms: i64,
    /// Until when it waits.
    pub until: Until,
}

/// When a message is to be delivered; `None`: now. Of several properties the first counts, as in Java: TIMER_DELAY_SEC,
/// TIMER_DELAY_MS, TIMER_DELIVER_MS. One that was delivered so already carries them on.
pub(in crate::handlers) fn wanted(
    config: &BrokerConfig,
    scanned: &Scanned<'_>,
    text: &str,
    now: i64,
) -> Result<Option<Timer>, Refusal> {
    let Some(timer) = named(scanned, text, now)? else { return Ok(None) };
    if properties::get(text, TIMER_DEL_UNIQKEY).is_some() {
        return Err(illegal(
            "a message that recalls another one (TIMER_DEL_UNIQKEY) is not supported, ask for RECALL_MESSAGE".to_owned(),
        ));
    }
    if !config.timer_wheel_enable {
        return Err(Refusal::system_error("timer messages are switched off (timerWheelEnable)"));
    }
    let (away, limit) = (timer.deliver_ms.saturating_sub(now), config.timer_max_delay_sec);
    if away > limit.saturating_mul(1_000) {
        let name = scanned.timer.unwrap_or_default();
        return Err(illegal(format!(
            "the time of its delivery ({name}) is {away} ms away, the limit is {limit} s (timerMaxDelaySec)"
        )));
    }
    Ok(Some(timer))
}

/// The same whatever the configuration allows: for what was taken already.
pub(in crate::handlers) fn named(
    scanned: &Scanned<'_>,
    text: &str,
    now: i64,
) -> Result<Option<Timer>, Refusal> {
    if scanned.timer.is_none() || scanned.timer_delivered {
        return Ok(None);
    }
    let names =
        [(TIMER_DELAY_SEC, Some(1_000)), (TIMER_DELAY_MS, Some(1)), (TIMER_DELIVER_MS, None)];
    let found =
        names.into_iter().find_map(|(name, unit)| Some((name, unit, properties::get(text, name)?)));
    let Some((name, unit, value)) = found else { return Ok(None) };
    let number: Option<i64> = value.trim().parse().ok();
    let delay_ms = number.and_then(|number| match unit {
        Some(unit) => number.checked_mul(unit),
        None => number.checked_sub(now),
    });
    let delay_ms = delay_ms.ok_or_else(|| illegal(format!("{name}={value:?} is no time")))?;
    if delay_ms <= 0 {
        return Ok(None);
    }
    let deliver_ms = now.saturating_add(delay_ms);
    let until = if unit.is_some() { Until::After(delay_ms) } else { Until::At(deliver_ms) };
    Ok(Some(Timer { deliver_ms, until }))
}

/// Messages of batches, and replies, wait for nothing.
pub(in crate::handlers) fn check_none(scanned: &Scanned<'_>) -> Result<(), Refusal> {
    match scanned.timer.filter(|_| !scanned.timer_delivered) {
        Some(name) => Err(illegal(format!(
            "a message of a batch, or a reply, cannot be delivered later ({name})"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::code::response;

    const NOW: i64 = 1_000_000;

    fn ask(config: &BrokerConfig, text: &str) -> Result<Option<Timer>, (i32, String)> {
        let text = text.replace('=', "\u{1}").replace(';', "\u{2}");
        wanted(config, &Scanned::of(&text), &text, NOW)
            .map_err(|refusal| (refusal.code, refusal.remark))
    }

    #[test]
    fn the_first_of_three_properties_says_when() {
        let config = BrokerConfig::default();
        let after = |ms| Ok(Some(Timer { deliver_ms: NOW + ms, until: Until::After(ms) }));
        assert_eq!(ask(&config, "TIMER_DELAY_SEC=5;"), after(5_000));
        assert_eq!(ask(&config, "TIMER_DELAY_MS=5;"), after(5));
        let at = Ok(Some(Timer { deliver_ms: 1_000_007, until: Until::At(1_000_007) }));
        assert_eq!(ask(&config, "TIMER_DELIVER_MS=1000007;"), at);
        let all = "TIMER_DELIVER_MS=1000007;TIMER_DELAY_MS=9;TIMER_DELAY_SEC=1;";
        assert_eq!(ask(&config, all), after(1_000));
        let most = config.timer_max_delay_sec;
        assert_eq!(ask(&config, &format!("TIMER_DELAY_SEC={most};")), after(most * 1_000));
    }

    #[test]
    fn what_is_due_or_was_delivered_does_not_wait() {
        let config = BrokerConfig::default();
        for now in [
            "",
            "TIMER_DELAY_SEC=0;",
            "TIMER_DELAY_MS=-5;",
            "TIMER_DELIVER_MS=1000000;",
            "TIMER_DELIVER_MS=3;",
            "TIMER_DELAY_SEC=5;TIMER_OUT_MS=99;",
            "TIMER_OUT_MS=99;",
            "__STARTDELIVERTIME=99;",
        ] {
            assert_eq!(ask(&config, now), Ok(None), "{now}");
        }
    }

    #[test]
    fn what_is_no_time_or_too_far_away_is_refused_with_the_value() {
        let config = BrokerConfig::default();
        for (text, part) in [
            ("TIMER_DELAY_SEC=1.5;", "\"1.5\""),
            ("TIMER_DELAY_SEC=9223372036854775807;", "is no time"),
            ("TIMER_DELIVER_MS=-9223372036854775808;", "is no time"),
            ("TIMER_DELIVER_MS=9223372036854775807;", "the limit is 259200 s (timerMaxDelaySec)"),
            ("TIMER_DELAY_SEC=259201;", "259201000 ms away"),
            ("TIMER_DELAY_MS=5;TIMER_DEL_UNIQKEY=t+u;", "RECALL_MESSAGE"),
        ] {
            let (code, remark) = ask(&config, text).expect_err(text);
            assert_eq!(code, response::MESSAGE_ILLEGAL, "{text}");
            assert!(remark.contains(part), "{remark}");
        }
        let off = BrokerConfig { timer_wheel_enable: false, ..BrokerConfig::default() };
        let (code, remark) = ask(&off, "TIMER_DELAY_MS=5;").expect_err("off");
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(remark.contains("timerWheelEnable"), "{remark}");
        let text = "TIMER_DELAY_MS\u{1}5\u{2}";
        assert!(check_none(&Scanned::of(text)).is_err());
        assert!(check_none(&Scanned::of("TIMER_DELAY_MS\u{1}5\u{2}TIMER_OUT_MS\u{1}6")).is_ok());
    }
}
