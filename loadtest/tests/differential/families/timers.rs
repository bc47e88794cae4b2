//! What 5.x adds for messages that come later: timers to the second or to a time, and taking them back
//! (RECALL_MESSAGE, 370). Compared with 5.3.3 alone.

use crate::{
    ask::{Ask, properties, send_with},
    case::{Case, Known, case},
    play::now_ms,
};
use proto::code::{request, response};

const TRANSACTION_ID: &str =
    "5.x answers every send with the unique key as transactionId, which its client has already";
const REGION: &str = "our answers to a recall carry no MSG_REGION, which no client reads";
const OWN_TIME: &str = "each side is given a time of its own";
const NO_BATCH: &str =
    "Java delivers a batch at once whatever its properties ask for; ours refuses it";
const NO_FIELD: &str = "ours names the field that is missing, with code 1";

/// Differences that stay.
pub(crate) const KNOWN: &[Known] = &[
    ("in_2_seconds", "send/ext/transactionId", TRANSACTION_ID),
    ("in_1500_milliseconds", "send/ext/transactionId", TRANSACTION_ID),
    ("at_a_time", "send/ext/transactionId", TRANSACTION_ID),
    ("at_a_time", "state/topic t/queues/1/messages/0/properties/TIMER_DELIVER_MS", OWN_TIME),
    ("in_0_seconds", "send/ext/transactionId", TRANSACTION_ID),
    ("negative_delay", "send/ext/transactionId", TRANSACTION_ID),
    ("time_that_has_passed", "send/ext/transactionId", TRANSACTION_ID),
    ("beside_a_delay_level", "send/ext/transactionId", TRANSACTION_ID),
    ("batch_with_a_timer", "send/", NO_BATCH),
    ("recalled", "recall/ext", REGION),
    ("recalled_of_an_unknown_topic", "recall/ext", REGION),
    ("recalled_with_garbage", "garbage/ext", REGION),
    ("recalled_with_garbage", "empty/ext", REGION),
    ("recalled_with_garbage", "absent/ext", REGION),
    ("recalled_with_garbage", "absent/code", NO_FIELD),
];

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    [due(), refused(), plain(), recalled()].into_iter().flatten().collect()
}

fn due() -> Vec<Case> {
    let timed = |name: &str, property: &'static str, value: fn() -> i64| {
        case(name, move |p| {
            p.topic("<t>", 2);
            let ask =
                send_with("<t>", &format!("{property}={};UNIQ_KEY=u1;TAGS=a", value())).set("e", 1);
            let sent = p.ask("send", &ask.hide("queueOffset").hide("recallHandle"));
            if sent.code == response::SUCCESS {
                p.await_max("<t>", 1, 1);
            }
        })
        .java5()
    };
    vec![
        timed("in_2_seconds", "TIMER_DELAY_SEC", || 2),
        timed("in_1500_milliseconds", "TIMER_DELAY_MS", || 1500),
        timed("at_a_time", "TIMER_DELIVER_MS", || now_ms() + 2_500),
    ]
}

fn refused() -> Vec<Case> {
    let cases = [
        ("delay_that_is_no_number", "TIMER_DELAY_SEC=soon"),
        ("time_that_is_no_number", "TIMER_DELIVER_MS=soon"),
        ("delay_of_4_days", "TIMER_DELAY_SEC=345600"),
        ("time_far_away", "TIMER_DELIVER_MS=99999999999999"),
    ];
    let case_of = |(name, own): (&str, &'static str)| {
        case(name, move |p| {
            p.topic("<t>", 1);
            p.ask("send", &send_with("<t>", own));
        })
        .java5()
    };
    cases.into_iter().map(case_of).collect()
}

fn plain() -> Vec<Case> {
    let timers_at_once = |name: &str, own: &'static str| {
        case(name, move |p| {
            p.topic("<t>", 1);
            let sent = p.ask("send", &send_with("<t>", own).hide("queueOffset"));
            if sent.code == response::SUCCESS {
                p.await_max("<t>", 0, 1);
            }
        })
        .java5()
    };
    vec![
        timers_at_once("in_0_seconds", "TIMER_DELAY_SEC=0"),
        timers_at_once("time_that_has_passed", "TIMER_DELIVER_MS=1000"),
        timers_at_once("negative_delay", "TIMER_DELAY_SEC=-5"),
        timers_at_once("beside_a_delay_level", "DELAY=1;TIMER_DELAY_SEC=3600"),
        case("batch_with_a_timer", |p| {
            p.topic("<t>", 1);
            let ask = crate::ask::send_batch("<t>", &[("one", ""), ("two", "")]);
            let ask = ask.set("i", properties("TIMER_DELAY_SEC=1"));
            p.ask("send", &ask.hide("queueOffset"));
        })
        .java5(),
    ]
}

fn recalled() -> Vec<Case> {
    let recall = |handle: &str| {
        Ask::new(request::RECALL_MESSAGE)
            .set("producerGroup", "<producers>")
            .set("topic", "<t>")
            .set("recallHandle", handle)
    };
    vec![
        case("recalled", move |p| {
            p.topic("<t>", 1);
            let sent = p.try_to(&send_with("<t>", "TIMER_DELAY_SEC=60;UNIQ_KEY=u1"));
            let handle = sent.ext("recallHandle").unwrap_or_default().to_owned();
            p.ask("recall", &recall(&handle));
        })
        .java5(),
        case("recalled_with_garbage", move |p| {
            p.topic("<t>", 1);
            p.ask("garbage", &recall("garbage"));
            p.ask("empty", &recall(""));
            p.ask("absent", &recall("x").without("recallHandle"));
        })
        .java5(),
        case("recalled_of_an_unknown_topic", move |p| {
            p.ask("recall", &recall("garbage"));
        })
        .java5(),
    ]
}
