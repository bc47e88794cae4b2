//! CONSUMER_SEND_MSG_BACK (36): levels, the last try, groups without retries, offsets where no message is. Level 3 is 3 s on
//! all brokers here.

use crate::{
    ask::{Ask, log_offset, send_with, update_group},
    case::{Case, Known, case},
    play::Play,
};
use proto::code::request;

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("level_*", "*/properties/WAIT: ours nothing", WAITS),
    ("twice", "*/properties/WAIT: ours nothing", WAITS),
    ("same_message_twice", "*/properties/WAIT: ours nothing", WAITS),
    ("no_try_left", "*/properties/WAIT: ours nothing", WAITS),
    ("no_try_left_for_the_group", "*/properties/WAIT: ours nothing", WAITS),
    ("tries_of_an_old_client", "*/properties/WAIT: ours nothing", WAITS),
    ("group_that_is_not_there", "*/properties/WAIT: ours nothing", WAITS),
    ("of_a_unit", "*/properties/WAIT: ours nothing", WAITS),
    ("without_what_is_optional", "*/properties/WAIT: ours nothing", WAITS),
    ("one_way", "*/properties/WAIT: ours nothing", WAITS),
    ("level_-*", "*/properties/DELAY: ours nothing", NO_LEVEL),
    ("no_try_left", "*/properties/DELAY: ours nothing", NO_LEVEL),
    ("no_try_left_for_the_group", "*/properties/DELAY: ours nothing", NO_LEVEL),
    ("level_-*", "*/properties/DLQ_ORIGIN_MESSAGE_ID: ours", DEAD),
    ("no_try_left", "*/properties/DLQ_ORIGIN_MESSAGE_ID: ours", DEAD),
    ("no_try_left_for_the_group", "*/properties/DLQ_ORIGIN_MESSAGE_ID: ours", DEAD),
    ("level_-*", "*/properties/DLQ_ORIGIN_TOPIC: ours", DEAD),
    ("no_try_left", "*/properties/DLQ_ORIGIN_TOPIC: ours", DEAD),
    ("no_try_left_for_the_group", "*/properties/DLQ_ORIGIN_TOPIC: ours", DEAD),
    ("without_offset", "state/topic %RETRY%g/config: ours null", FIRST),
    ("without_delayLevel", "state/topic %RETRY%g/config: ours null", FIRST),
    ("group_with_an_illegal_name", "give back/code: ours 1, Java's 0", NAMES),
];

const WAITS: &str = "WAIT belongs to a send, and is not stored";
const DEAD: &str = "a dead letter says where it came from, as in 5.x";
const NO_LEVEL: &str = "a dead letter waits for no level, which DELAY says by not being there; Java writes 0, and means the same";
const FIRST: &str = "fields are checked before anything is made";
const NAMES: &str = "names that clients refuse make no groups, as in 5.x";

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [levels(), tries(), refused()].into_iter().flatten().collect()
}

/// Topic `t` with a message that a consumer of group `g` gives back.
fn given_back(p: &mut Play) -> Ask {
    p.topic("<t>", 1);
    let sent = p.prepare_send(&send_with("<t>", "TAGS=a;KEYS=k;UNIQ_KEY=u1;own=x"));
    back(log_offset(&sent))
}

fn back(offset: i64) -> Ask {
    Ask::new(request::CONSUMER_SEND_MSG_BACK)
        .set("offset", offset)
        .set("group", "<g>")
        .set("delayLevel", 1)
        .set("originMsgId", "u1")
        .set("originTopic", "<t>")
        .set("unitMode", false)
        .set("maxReconsumeTimes", 16)
}

fn levels() -> Vec<Case> {
    let mut cases = Vec::new();
    for level in [0, 1, 2, 77] {
        cases.push(case(format!("level_{level}"), move |p| {
            p.group("<g>");
            let ask = given_back(p).set("delayLevel", level);
            p.ask("give back", &ask);
            p.await_max("%RETRY%<g>", 0, 1);
        }));
    }
    for level in [-1, -7] {
        cases.push(case(format!("level_{level}"), move |p| {
            p.group("<g>");
            let ask = given_back(p).set("delayLevel", level);
            p.ask("give back", &ask);
            p.await_max("%DLQ%<g>", 0, 1);
        }));
    }
    cases
}

fn tries() -> Vec<Case> {
    vec![
        case("twice", |p| {
            p.group("<g>");
            let ask = given_back(p);
            p.ask("first", &ask);
            p.await_max("%RETRY%<g>", 0, 1);
            let pulled = p.first_log_offset("%RETRY%<g>");
            p.ask("second", &back(pulled));
            p.await_max("%RETRY%<g>", 0, 2);
        }),
        case("same_message_twice", |p| {
            p.group("<g>");
            let ask = given_back(p);
            p.ask("first", &ask);
            p.ask("second", &ask);
            p.await_max("%RETRY%<g>", 0, 2);
        }),
        case("no_try_left", |p| {
            p.group("<g>");
            let ask = given_back(p).set("maxReconsumeTimes", 0);
            p.ask("give back", &ask);
            p.await_max("%DLQ%<g>", 0, 1);
        }),
        case("no_try_left_for_the_group", |p| {
            p.prepare(&update_group("<g>", "").text(
                r#"{"groupName":"<g>","consumeEnable":true,"retryQueueNums":1,"retryMaxTimes":0}"#,
            ));
            p.watch_group("<g>");
            let ask = given_back(p).without("maxReconsumeTimes");
            p.ask("give back", &ask);
            p.await_max("%DLQ%<g>", 0, 1);
        }),
        case("tries_of_an_old_client", |p| {
            p.group("<g>");
            let ask = given_back(p).set("maxReconsumeTimes", 0).version(100);
            p.ask("give back", &ask);
            p.await_max("%RETRY%<g>", 0, 1);
        }),
        case("group_without_retry_queues", |p| {
            p.prepare(&update_group("<g>", "").text(
                r#"{"groupName":"<g>","consumeEnable":true,"retryQueueNums":0,"retryMaxTimes":16}"#,
            ));
            p.watch_group("<g>");
            let ask = given_back(p);
            p.ask("give back", &ask);
        }),
        case("group_that_is_not_there", |p| {
            p.watch_group("<g>");
            let ask = given_back(p);
            p.ask("give back", &ask);
            p.await_max("%RETRY%<g>", 0, 1);
        }),
        case("of_a_unit", |p| {
            p.watch_group("<g>");
            let ask = given_back(p).set("unitMode", true);
            p.ask("give back", &ask);
            p.await_max("%RETRY%<g>", 0, 1);
        }),
        case("without_what_is_optional", |p| {
            p.group("<g>");
            let ask = given_back(p);
            let ask = ["originMsgId", "originTopic", "unitMode", "maxReconsumeTimes"]
                .into_iter()
                .fold(ask, |ask, field| ask.without(field));
            p.ask("give back", &ask);
            p.await_max("%RETRY%<g>", 0, 1);
        }),
        case("one_way", |p| {
            p.group("<g>");
            let ask = given_back(p);
            p.ask_oneway(&ask);
            p.await_max("%RETRY%<g>", 0, 1);
        }),
    ]
}

fn refused() -> Vec<Case> {
    let mut cases = Vec::new();
    for offset in [-1, i64::MAX, 1 << 40] {
        cases.push(case(format!("offset_{offset}"), move |p| {
            p.group("<g>");
            p.ask("give back", &back(offset));
        }));
    }
    cases.push(case("offset_within_a_message", |p| {
        p.group("<g>");
        let ask = given_back(p);
        let offset: i64 = ask.field("offset").and_then(|text| text.parse().ok()).expect("a number");
        p.ask("give back", &ask.set("offset", offset + 1));
    }));
    for field in ["offset", "group", "delayLevel"] {
        cases.push(case(format!("without_{field}"), move |p| {
            p.group("<g>");
            let ask = given_back(p).without(field);
            p.ask("give back", &ask);
        }));
    }
    cases.push(case("group_with_an_illegal_name", |p| {
        let ask = given_back(p).set("group", "a b");
        p.ask("give back", &ask);
    }));
    cases
}
